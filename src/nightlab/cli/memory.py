"""The older MemoryLab commands over our ledger: `init`, `check`, `log`, `report`.

`check` and `log` are commands of their own; `memory` holds all four as the door `memorylab.py` knows them.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import time
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING

from nightlab.agent.handwritten import one_line
from nightlab.agent.looking import write_reports
from nightlab.cli.compose import add_lab_option, settings_of
from nightlab.cli.views import add_report, hours
from nightlab.config import IGNORED
from nightlab.errors import LedgerDamagedError, LedgerError
from nightlab.ledger import surface
from nightlab.ledger.cells import NO_NUMBER
from nightlab.ledger.mirrors import Mirrors
from nightlab.ledger.records import STATUSES
from nightlab.search.novelty import Category, Guard, Mode, Policy, Words
from nightlab.types import Standing

if TYPE_CHECKING:
    from nightlab.agent.written import Entry
    from nightlab.config import Settings
    from nightlab.ledger.records import Record
    from nightlab.mirroring import Unseen

THRESHOLD = 0.62
LIMIT = 3
SINCE_HOURS = 16
TAGS, TAG = 64, 100  # how many, and characters of one: what is longer is no tag
BLOCKED = 2  # exit code of `check --fail-on-similar` for a blocked idea


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    _add_check(commands)
    _add_log(commands)
    memory = commands.add_parser("memory", prog="memorylab.py", description="Remember experiments; look before trying.")
    inner = memory.add_subparsers(dest="memory_command", metavar="COMMAND", required=True)
    init = inner.add_parser("init", help="make the empty memory; what exists stays")
    add_lab_option(init)
    init.set_defaults(handler=cmd_init)
    _add_check(inner)
    _add_log(inner)
    add_report(inner)


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("check", help="has this idea been tried before?")
    _add_idea(parser)
    parser.add_argument("--limit", type=int, default=LIMIT, metavar="N", help="matches shown (3)")
    parser.add_argument("--fail-on-similar", action="store_true", help="exit 2 if the idea is blocked")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(handler=cmd_check)


def _add_log(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("log", help="write down a run that was made by hand")
    _add_idea(parser)
    parser.add_argument("--status", required=True, choices=STATUSES, help="what its author makes of it")
    parser.add_argument("--notes", default="", help="anything else worth keeping")
    parser.add_argument("--error", default="", help="why it crashed")
    parser.add_argument("--log", default="", metavar="PATH", help="what the run printed")
    parser.add_argument("--summary", default="", metavar="PATH", help="its summary as JSON")
    parser.add_argument("--skip-archive", action="store_true", help="no run directory, no copies")
    parser.add_argument("--report", action="store_true", help="write the morning report too")
    parser.add_argument("--since-hours", type=hours, default=SINCE_HOURS, metavar="H", help="for the report (16)")
    parser.add_argument("--json", action="store_true", help="the record as one JSON object")
    parser.set_defaults(handler=cmd_log)


def _add_idea(parser: argparse.ArgumentParser) -> None:
    add_lab_option(parser)
    parser.add_argument("--description", required=True, help="the idea in a sentence")
    parser.add_argument("--hypothesis", default="", help="why it should help")
    parser.add_argument("--family", default="", help="the kind of idea")
    parser.add_argument("--tags", default="", help="comma list")
    parser.add_argument("--mode", choices=list(map(str, Mode)), default=str(Mode.EXPLOIT), help="how you mean to work")
    parser.add_argument(
        "--threshold", type=_threshold, default=THRESHOLD, metavar="X", help="what counts as close (0.62)"
    )


def _threshold(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"{text} is no threshold")
    return value


def tags_of(text: str) -> tuple[str, ...]:
    """A comma list as tags: lower case, of letters, digits, `_` and `-`, each once."""
    tags = (re.sub(r"[^a-z0-9_-]+", "-", part.lower()).strip("-") for part in text.split(","))
    return tuple(dict.fromkeys(tag[:TAG] for tag in tags if tag))[:TAGS]


# --- init -------------------------------------------------------------------------------------------------------


def cmd_init(args: argparse.Namespace) -> int:
    """Make the memory of the lab around the directory."""
    settings = settings_of(args.lab)
    init_memory(settings)
    return 0


def init_memory(settings: Settings) -> None:
    """Make the ledger and its mirrors, or adopt those that are there, and say where they lie."""
    from nightlab.git import Git
    from nightlab.takeover import adopt

    Git(settings.root).ignore(IGNORED)
    mirrors = Mirrors(settings.root)
    surface.make(mirrors)
    say_unseen(adopt(settings, time.time()))
    print(f"Initialized MemoryLab in {mirrors.directory}")
    print(f"Ledger: {mirrors.ledger}")
    print(f"Registry: {mirrors.registry}")
    print(f"Results TSV: {mirrors.tsv}")


# --- check ------------------------------------------------------------------------------------------------------


def cmd_check(args: argparse.Namespace) -> int:
    """Say whether the idea, or one like it, is on record. Writes nothing anywhere."""
    from nightlab.memory import Question, guard, lexicon_of
    from nightlab.mirroring import reading

    settings = settings_of(args.lab)
    idea = Words(
        description=one_line(args.description),
        hypothesis=one_line(args.hypothesis),
        family=one_line(args.family),
        tags=tags_of(args.tags),
    )
    question = Question(words=idea, mode=args.mode, threshold=args.threshold)
    with reading(settings, time.time()) as ledger:
        told = guard(ledger.records, question, settings, lexicon_of(settings, ledger))
    shown = max(args.limit, 0)
    print(_check_json(told, shown) if args.json else _check_text(told, shown))
    return BLOCKED if args.fail_on_similar and told.policy is Policy.BLOCK else 0


def _check_text(guard: Guard[Record], limit: int) -> str:
    from nightlab.older import COUNTED

    counts = ", ".join(f"{category}={guard.count(category)}" for category in COUNTED)
    lines = [
        f"Novelty guard [{guard.mode}]: {guard.category} -> {guard.policy}"
        f" ({guard.rationale}; threshold={guard.threshold:.2f}) ({counts})."
    ]
    for match in guard.matches[:limit]:
        record = match.prior.item
        lines.append(
            f"- category={match.category} score={match.score:.3f} run={record.run or '-'} commit={record.commit}"
            f" status={record.status} val_bpb={surface.number(record.value, 6)} desc={one_line(record.description)}"
        )
    if not guard.matches:
        lines.append("- No close prior runs are on record.")
    return "\n".join(lines)


def _check_json(guard: Guard[Record], limit: int) -> str:
    from nightlab.agent.service import checked

    return json.dumps(asdict(checked(guard, limit)), indent=2)


# --- log --------------------------------------------------------------------------------------------------------


def cmd_log(args: argparse.Namespace) -> int:
    """Record a run by hand: in the ledger first, then in the mirrors."""
    from nightlab.agent.written import Written, write_down

    settings = settings_of(args.lab)
    written = Written(
        status=args.status,
        description=one_line(args.description),
        hypothesis=one_line(args.hypothesis),
        family=one_line(args.family),
        tags=tags_of(args.tags),
        notes=one_line(args.notes),
        error=one_line(args.error),
        mode=args.mode,
        threshold=args.threshold,
        log=args.log,
        summary=args.summary,
    )
    entry = write_down(settings, written, archive=not args.skip_archive, now=time.time())
    out = sys.stderr if args.json else sys.stdout
    if args.report:
        try:
            written_to = write_reports(settings, args.since_hours)
        except LedgerDamagedError as exc:  # the run is on record: this must not be done once more from the beginning
            hint = f"run {entry.record.run} is recorded all the same; `nightlab report` mends the file"
            raise LedgerError(str(exc.args[0]), hint=hint) from exc
        for path in written_to:
            print(f"Wrote report to {path}", file=out)
    print(surface.dumps(entry.row) if args.json else _log_text(entry))
    say_unseen(entry.unseen)
    if entry.stand is not None and entry.stand.standing is Standing.PROVISIONAL:
        from nightlab.judge import wording

        print(f"standing: {wording.stand(entry.stand)}; only the lab's own runs prove it: `nightlab next`",
              file=sys.stderr)  # fmt: skip
    return 0


def say_unseen(unseen: Unseen) -> None:
    """Tell on stderr what others had written into the mirrors."""
    if unseen.rows:
        print(f"note: {len(unseen.rows)} row(s) that others wrote are on record now too", file=sys.stderr)
    if odd := sum(row.crash is not None and row.crash.signature == NO_NUMBER for row in unseen.rows):
        print(f"note: {odd} of them had no usable number and count as crashed", file=sys.stderr)
    for name, count in Counter(name for name, _ in unseen.refused).items():
        print(f"note: {count} line(s) of {name} are no rows; they are kept in {name}.refused", file=sys.stderr)


def _log_text(entry: Entry) -> str:
    record, guard, packet = entry.record, entry.guard, entry.packet
    memory = surface.number(surface.gigabytes(record.memory_mb), 1)
    lines = [
        f"Logged run={record.run} commit={record.commit} status={record.status}"
        f" val_bpb={surface.number(record.value, 6)} mem_gb={memory}"
    ]
    if record.crash:
        lines.append(f"Crash summary: {record.crash}")
    if guard.category is not Category.NOVEL:
        lines.append(f"Novelty guard: mode={guard.mode} classification={guard.category} decision={guard.policy}")
    lines.append(f"Decision packet: action={packet.action} priority={packet.priority} summary={packet.summary}")
    if champion := entry.champion:
        value = surface.number(champion.value, 6)
        lines.append(f"Champion: {champion.run} {champion.commit} {value} {one_line(champion.description)}")
    return "\n".join(lines)
