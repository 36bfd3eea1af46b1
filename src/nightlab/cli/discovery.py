"""`archive`, `conjectures` and `review`; and `research`, which the door `python -m research` knows them by."""

from __future__ import annotations

import argparse
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.cli.compose import add_lab_option, settings_of
from nightlab.errors import NotFoundError

if TYPE_CHECKING:
    from nightlab.config import MetricSettings, Settings
    from nightlab.discovery.view import View
    from nightlab.history import History

TAIL = 20  # lines of a log
_LOG_LIMIT = 64 << 20  # bytes of a log that are read
_LINE = re.compile(r"^([a-zA-Z0-9_]+):\s+([-+0-9.eE]+)$")
_NUMBERS = ("training_seconds", "total_seconds", "peak_vram_mb", "mfu_percent", "total_tokens_M", "num_params_M")
_COUNTS = ("num_steps", "depth")
_METRIC = "val_bpb"
NO_REVIEW = "No experiment has been reviewed yet."

_Raw = argparse.RawDescriptionHelpFormatter
_ARCHIVE = """\
The best experiment of each niche (kind of change, and what it costs against the baseline), by the judge's posterior;
near misses, stepping stones, and the ways to crash that the search avoids.

examples:
  nightlab archive
  nightlab archive --json | jq '.elites[0]'
"""
_CONJECTURES = """\
What the lab's runs say of each kind of change: the effect with its 95 % interval, the experiments that support it, and
those that contradict it. Every verdict updates them.

examples:
  nightlab conjectures
  nightlab conjectures --json | jq '.[] | select(.claim.is_no_fly)'
"""
_REVIEW = """\
What one experiment did and taught: its niche, its value against what was known before it, its terms, the advice. NAME
is as for `show`; without it the latest experiment that has something to say.

examples:
  nightlab review
  nightlab review 12 --json
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, told, text, handler in (
        ("archive", "the best of each niche, near misses, and what crashes", _ARCHIVE, cmd_archive),
        ("conjectures", "what the runs say of each kind of change", _CONJECTURES, cmd_conjectures),
        ("review", "what one experiment did and taught", _REVIEW, cmd_review),
    ):
        parser = commands.add_parser(name, help=told, description=text, formatter_class=_Raw)
        add_lab_option(parser)
        if name == "review":
            parser.add_argument("name", nargs="?", metavar="NAME", help="experiment or run, named as for `show`")
        parser.add_argument("--json", action="store_true", help="JSON for programs")
        parser.set_defaults(handler=handler)
    _add_research(commands)


def _add_research(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    research = commands.add_parser("research", prog="python -m research", description="What the search knows.")
    inner = research.add_subparsers(dest="research_command", metavar="COMMAND", required=True)
    for name, told, handler in (
        ("summary", "the state of the search, for a session that begins", research_summary),
        ("archive", "the best of each niche as JSON", research_archive),
        ("next", "the plan for the next experiment as JSON", research_next),
        ("parse-run", "what a run's log says, as JSON", research_parse_run),
        ("last-review", "the review of the latest experiment", research_last_review),
    ):
        parser = inner.add_parser(name, help=told)
        add_lab_option(parser)
        if name == "parse-run":
            parser.add_argument("path", nargs="?", type=Path, default=Path("run.log"), help="the log (run.log)")
        parser.set_defaults(handler=handler)


# --- archive, conjectures, review -------------------------------------------------------------------------------


def cmd_archive(args: argparse.Namespace) -> int:
    """Show the archive."""
    from nightlab.cli.views import hint, print_json, show
    from nightlab.report.knowledge import archive_sheet

    sheet = archive_sheet(_history(settings_of(args.lab)))
    if args.json:
        print_json(sheet)
    elif not sheet.phase:
        hint("no night has begun yet: start with `nightlab run`")
    else:
        from nightlab.report.knowledge_screens import archive_screen

        show(archive_screen(sheet))
    return 0


def cmd_conjectures(args: argparse.Namespace) -> int:
    """Show the claims."""
    from nightlab.cli.views import hint, print_json, show
    from nightlab.report.knowledge import conjecture_lines

    lines = conjecture_lines(_history(settings_of(args.lab)))
    if args.json:
        print_json(lines)
    elif not lines:
        hint("no conjecture yet: a claim takes two judged experiments of one kind, or a clear one; `nightlab run`")
    else:
        from nightlab.report.knowledge_screens import conjectures_screen

        show(conjectures_screen(lines))
    return 0


def cmd_review(args: argparse.Namespace) -> int:
    """Show one experiment's review."""
    from nightlab.cli.views import hint, print_json, show
    from nightlab.report.dossier import look_up
    from nightlab.report.knowledge import review_sheet
    from nightlab.search.reviews import newest

    settings = settings_of(args.lab)
    history = _history(settings)
    name = newest(history) if args.name is None else look_up(history, args.name)[0].experiment.id
    if name is None:
        if args.json:
            print_json(None)
        else:
            hint("nothing has run yet: start with `nightlab run`")
        return 0
    sheet = review_sheet(history, settings, name)
    if args.json:
        print_json(sheet)
        return 0
    from nightlab.report.knowledge_screens import review_screen

    show(review_screen(sheet))
    return 0


def _history(settings: Settings) -> History:
    from nightlab.mirroring import reading_alone

    with reading_alone(settings) as ledger:
        return ledger.history()


# --- the older door ---------------------------------------------------------------------------------------------


@contextmanager
def _view(settings: Settings) -> Iterator[View]:
    """The lab as the older surface shows it; rows that others wrote into the mirrors are merged in memory."""
    from nightlab.discovering import view_of
    from nightlab.mirroring import reading

    with reading(settings, time.time()) as ledger:
        yield view_of(ledger, settings)


def research_summary(args: argparse.Namespace) -> int:
    """Print what an agent is told when its session begins."""
    from nightlab.discovery.state import session_summary
    from nightlab.report.text import block

    with _view(settings_of(args.lab)) as view:
        print(block(session_summary(view)))
    return 0


def research_archive(args: argparse.Namespace) -> int:
    """Print the elites as a JSON list."""
    from nightlab.cli.views import print_json
    from nightlab.discovery.state import archive_rows

    with _view(settings_of(args.lab)) as view:
        print_json(archive_rows(view))
    return 0


def research_next(args: argparse.Namespace) -> int:
    """Print the plan for the next experiment, and what an agent that may go on is asked. Starts and keeps nothing."""
    from nightlab.agent.plans import next_plan
    from nightlab.cli.views import print_json
    from nightlab.discovery.plans import prompt
    from nightlab.report.text import block

    settings = settings_of(args.lab)
    with _view(settings) as view:
        plan = next_plan(view, settings, time.time())
        print_json(plan)
        if view.autonomy[0]:
            print(f"\nNext continuation prompt:\n\n{block(prompt(view, plan))}")
    return 0


def research_parse_run(args: argparse.Namespace) -> int:
    """Print what a log says.

    Raises:
        NotFoundError: there is no such file.
    """
    from nightlab.cli.views import print_json
    from nightlab.report.text import clean
    from nightlab.runner.files import read_small

    try:
        data = read_small(args.path, _LOG_LIMIT)
    except ValueError as exc:
        raise NotFoundError(f"{args.path} cannot be read: {exc}", hint="name the log of a run") from exc
    if data is None:
        raise NotFoundError(f"there is no {args.path}", hint="name the log of a run: `parse-run PATH`")
    lines = clean(data.decode("utf-8", "replace")).splitlines()
    print_json({"metrics": parse_run(lines, settings_of(args.lab).metric), "tail": lines[-TAIL:]})
    return 0


def parse_run(lines: list[str], metric: MetricSettings) -> dict[str, float | int] | None:
    """The numbers of a log by the names that it gives them, the last of each; None without a metric to believe.

    A line is `name: number`; other names are passed over. A metric that the lab would not believe is none.
    """
    found: dict[str, float | int] = {}
    for line in lines:
        match = _LINE.match(line)
        if match is None or match[1] not in (_METRIC, metric.name, *_NUMBERS, *_COUNTS):
            continue
        try:
            number = float(match[2])
        except ValueError:
            continue
        name = _METRIC if match[1] == metric.name else match[1]
        found[name] = int(number) if name in _COUNTS else number
    value = found.get(_METRIC)
    return None if value is None or metric.reject(value) else found


def research_last_review(args: argparse.Namespace) -> int:
    """Print the latest review: of this lab's own runs, else what another program left."""
    from nightlab.discovering import Places
    from nightlab.discovery.review import review_text
    from nightlab.ledger import mirrors as files
    from nightlab.report.text import block

    settings = settings_of(args.lab)
    with _view(settings) as view:
        if view.reviews:
            print(block(review_text(view, view.reviews[-1]).rstrip("\n")))
            return 0
    left = files.lines(Places(settings.root).review)
    print(block("\n".join(left)) if left else NO_REVIEW)
    return 0
