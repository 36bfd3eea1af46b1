"""`query` and `verify`: asking the ledger in SQL, and asking whether it can be believed."""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import re
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from nightlab.agent.workbench import open_lab
from nightlab.cli.compose import add_lab_option, settings_of
from nightlab.cli.views import hint, print_json
from nightlab.errors import NotFoundError, UsageError
from nightlab.report.text import plain

if TYPE_CHECKING:
    from nightlab.config import Settings
    from nightlab.ledger.query import Cell
    from nightlab.ledger.verify import Verified
    from nightlab.repeat import Repeated

ROWS = 1000
TABLE_ROWS = 10_000  # beyond that nobody reads a table, and it has to be in memory to be laid out
_DIGEST = re.compile(r"[0-9a-fA-F]{8,64}")
_FITS = "every one fits its predecessor"
_QUERY = """\
Ask the ledger in SQL; nothing can be changed. The views (docs/memory.md says what their columns mean):
  records      every run with a result that somebody stands for: the lab's, hand-logged, imported
  experiments, runs, verdicts, nights    the lab's own nouns
  events       the log itself

examples:
  nightlab query "SELECT status, COUNT(*), MIN(value) FROM records GROUP BY status"
  nightlab query --json "SELECT description, value FROM records WHERE family = 'optimizer' ORDER BY value LIMIT 5"
"""
_VERIFY = """\
Check the chain of digests over every event, and name the first that does not fit; check that nothing is missing that
the journal beside the ledger tells of, and that tables and journal say what the events say. Of a database that is lost
the journal is checked as it lies there. With RUN also execute that run once
more, from its own source and seed, and compare the values within the lab's noise. --head checks that an earlier head,
noted elsewhere, is still part of the log: what came before it was not rewritten since. Exit 1 if anything does not fit.

examples:
  nightlab verify
  nightlab verify --head 5f0c9f...
  nightlab verify 20260311T043000Z-abc1234
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    form = argparse.RawDescriptionHelpFormatter
    query = commands.add_parser(
        "query", help="ask the ledger in SQL, reading only", description=_QUERY, formatter_class=form
    )
    add_lab_option(query)
    query.add_argument("sql", metavar="SQL", help="one SELECT")
    query.add_argument(
        "--limit", type=int, default=ROWS, metavar="N", help=f"rows shown ({ROWS}); 0: all (a table: {TABLE_ROWS})"
    )
    shape = query.add_mutually_exclusive_group()
    shape.add_argument("--json", action="store_true", help="a JSON list of objects")
    shape.add_argument("--csv", action="store_true", help="CSV with a header")
    query.set_defaults(handler=cmd_query)

    verify = commands.add_parser(
        "verify",
        help="check that no record was changed, and that a run repeats",
        description=_VERIFY,
        formatter_class=form,
    )
    add_lab_option(verify)
    verify.add_argument("run", nargs="?", metavar="RUN", help="execute this run again and compare")
    verify.add_argument("--head", default="", metavar="DIGEST", help="a head that was noted earlier")
    verify.add_argument("--json", action="store_true", help="one JSON object")
    verify.set_defaults(handler=cmd_verify)


# --- query ------------------------------------------------------------------------------------------------------


def cmd_query(args: argparse.Namespace) -> int:
    from nightlab.ledger.query import ask
    from nightlab.mirroring import reading

    settings = settings_of(args.lab)
    if args.limit < 0:
        raise UsageError(f"--limit {args.limit} is no number of rows", hint="0 shows all")
    with reading(settings, time.time()) as ledger, ask(ledger, args.sql) as answer:
        rows = itertools.islice(answer.rows, args.limit) if args.limit else answer.rows
        if args.json:
            _print_json(answer.columns, rows)
        elif args.csv:
            writer = csv.writer(sys.stdout, lineterminator="\n")
            writer.writerow(answer.columns)
            writer.writerows(rows)
        else:
            shown = list(itertools.islice(rows, TABLE_ROWS))
            _print_table(answer.columns, shown)
            if len(shown) == TABLE_ROWS and next(rows, None) is not None:
                hint(f"a table ends after {TABLE_ROWS} rows; --json and --csv go on")
        if args.limit and next(answer.rows, None) is not None:
            hint(f"the first {args.limit} rows; --limit 0 shows all")
    return 0


def _print_json(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    """A list with an object a line: rows are printed as they come, however many there are."""
    separator = "[\n"
    for row in rows:
        sys.stdout.write(separator + "  " + json.dumps(dict(zip(columns, row, strict=True))))
        separator = ",\n"
    print("[]" if separator == "[\n" else "\n]")


def _print_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
    from rich.table import Table

    from nightlab.cli.views import show

    table = Table(*[plain(name) for name in columns], box=None, header_style="bold", pad_edge=False)
    for row in rows:
        table.add_row(*("" if cell is None else plain(str(cell), 200) for cell in row))
    show(table)


# --- verify -----------------------------------------------------------------------------------------------------


def cmd_verify(args: argparse.Namespace) -> int:
    """Exit 0 if everything fits, 1 if not."""
    settings = settings_of(args.lab)
    head = args.head.strip()
    if head and not _DIGEST.fullmatch(head):
        raise UsageError(f"--head {head} is no digest", hint="give 8 to 64 hexadecimal digits, as `verify` prints them")
    found = _verified(settings, head)
    again = _repeat(settings, args.run) if args.run and found.is_sound else None
    if args.json:
        print_json(
            {
                "events": found.events,
                "head": found.head,
                "sound": found.is_sound,
                "problem": found.problem,
                "repeat": again,
            }
        )
    else:
        print(f"{found.events} events, head {found.head or '-'}: {plain(found.problem, 500) or _FITS}")
        if again is not None:
            print(plain(again.because, 500))
    if found.note:
        hint(f"note: {found.note}")
    if found.hint:
        hint(f"hint: {found.hint}")
    if args.run and not found.is_sound:
        hint(f"{args.run} was not executed: a record that may have been changed proves nothing")
    return 0 if found.is_sound and (again is None or again.holds) else 1


def _repeat(settings: Settings, name: str) -> Repeated:
    from nightlab.repeat import find, repeat

    with open_lab(settings) as lab:
        _, run = find(lab, name)
        hint(f"{run.run.id} is executed once more: {settings.budget.timeout_minutes:g} minutes at most")
        return repeat(lab, run.run.id)


def _verified(settings: Settings, head: str) -> Verified:
    """What is to be said of the ledger as it lies there; where it is lost, of its journal."""
    from nightlab.ledger import Ledger, journal
    from nightlab.ledger.verify import verify, verify_journal
    from nightlab.memory import is_lost

    if is_lost(settings):
        path = journal.path_of(settings.database)
        if journal.last(path) is None:
            raise NotFoundError(
                f"there is no ledger at {settings.database}, and no journal: nothing is left that could be checked",
                hint="`nightlab doctor --repair` makes it anew from the runs' directories and the mirrors",
            )
        hint(f"the database is lost; checked is its journal, {path}")
        return verify_journal(path, head)
    if not settings.database.exists():
        raise NotFoundError(
            f"there is no ledger at {settings.database}", hint="`nightlab run` or `nightlab log` makes one"
        )
    with Ledger.read(settings.database) as ledger:
        return verify(ledger, head)
