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
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.cli.compose import IGNORED, add_lab_option, settings_of
from nightlab.cli.handwritten import one_line
from nightlab.ledger import Ledger, surface
from nightlab.ledger.mirrors import Mirrors, replace
from nightlab.ledger.records import STATUSES, records
from nightlab.search.novelty import Category, Guard, Mode, Policy, Words

if TYPE_CHECKING:
    from nightlab.cli.written import Entry
    from nightlab.config import Settings
    from nightlab.ledger.records import Record

THRESHOLD = 0.62
LIMIT = 3
SINCE_HOURS = 16
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
    report = inner.add_parser("report", help="write the morning report")
    add_lab_option(report)
    report.add_argument("--since-hours", type=_hours, default=SINCE_HOURS, metavar="H", help="length of the night (16)")
    report.add_argument("--output", default="", metavar="PATH", help="write this one file only")
    report.set_defaults(handler=cmd_report)


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
    parser.add_argument("--since-hours", type=_hours, default=SINCE_HOURS, metavar="H", help="for the report (16)")
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


def _hours(text: str) -> int:
    value = int(text)
    if not 0 <= value <= 1_000_000:
        raise argparse.ArgumentTypeError(f"{text} is no number of hours")
    return value


def tags_of(text: str) -> tuple[str, ...]:
    """A comma list as tags: lower case, of letters, digits, `_` and `-`, each once."""
    tags = (re.sub(r"[^a-z0-9_-]+", "-", part.lower()).strip("-") for part in text.split(","))
    return tuple(dict.fromkeys(tag for tag in tags if tag))


# --- init -------------------------------------------------------------------------------------------------------


def cmd_init(args: argparse.Namespace) -> int:
    """Make the memory of the lab around the directory."""
    settings = settings_of(args.lab)
    init_memory(settings)
    mirrors = Mirrors(settings.root)
    print(f"Initialized MemoryLab in {mirrors.directory}")
    print(f"Ledger: {mirrors.ledger}")
    print(f"Registry: {mirrors.registry}")
    print(f"Results TSV: {mirrors.tsv}")
    return 0


def init_memory(settings: Settings) -> None:
    """Make the ledger and its empty mirrors; what exists stays as it is. Prints nothing."""
    from nightlab.git import Git

    Git(settings.root).ignore(IGNORED)
    with Ledger.open(settings.database):
        surface.make(Mirrors(settings.root))


# --- check ------------------------------------------------------------------------------------------------------


def cmd_check(args: argparse.Namespace) -> int:
    """Say whether the idea, or one like it, is on record. Writes nothing anywhere."""
    from nightlab.cli.dossier import compare

    settings = settings_of(args.lab)
    with Ledger.read(settings.database) as ledger:
        found = records(ledger.history())
    idea = Words(
        description=one_line(args.description),
        hypothesis=one_line(args.hypothesis),
        family=one_line(args.family),
        tags=tags_of(args.tags),
    )
    guard = compare(idea, found, settings, mode=args.mode, threshold=args.threshold)
    shown = max(args.limit, 0)
    print(_check_json(guard, shown) if args.json else _check_text(guard, shown))
    return BLOCKED if args.fail_on_similar and guard.policy is Policy.BLOCK else 0


def _check_text(guard: Guard[Record], limit: int) -> str:
    from nightlab.cli.dossier import COUNTED

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
    from nightlab.cli.dossier import COUNTED

    matches = [
        {
            "run_id": match.prior.item.run,
            "commit": match.prior.item.commit,
            "category": match.category,
            "score": match.score,
            "relation": match.relation,
            "same_idea": match.same_idea,
            "status": match.prior.item.status,
            "val_bpb": match.prior.item.value,
            "description": match.prior.item.description,
            "why": match.why,
        }
        for match in guard.matches[:limit]
    ]
    answer = {
        "classification": guard.category,
        "decision": guard.policy,
        "rationale": guard.rationale,
        "mode": guard.mode,
        "threshold": round(guard.threshold, 6),
        "counts": {category: guard.count(category) for category in COUNTED},
        "top_matches": matches,
    }
    return json.dumps(answer, indent=2)


# --- log --------------------------------------------------------------------------------------------------------


def cmd_log(args: argparse.Namespace) -> int:
    """Record a run by hand: in the ledger first, then in the mirrors."""
    from nightlab.cli.written import Written, write_down

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
        for path in _write_report(settings, args.since_hours, output=""):
            print(f"Wrote report to {path}", file=out)
    print(surface.dumps(entry.row) if args.json else _log_text(entry))
    if entry.foreign:
        print(
            f"note: {entry.foreign} row(s) of experiments.jsonl are of another origin: kept, and not counted",
            file=sys.stderr,
        )
    champion = entry.told.champion
    if champion is not None and champion.by_hand:
        print("standing: provisional; a hand-logged value, and only the lab's own runs prove one", file=sys.stderr)
    return 0


def _log_text(entry: Entry) -> str:
    record, guard, packet = entry.record, entry.told.guard, entry.told.packet
    memory = surface.number(surface.memory_gb(record), 1)
    lines = [
        f"Logged run={record.run} commit={record.commit} status={record.status}"
        f" val_bpb={surface.number(record.value, 6)} mem_gb={memory}"
    ]
    if record.crash:
        lines.append(f"Crash summary: {record.crash.summary}")
    if guard.category is not Category.NOVEL:
        lines.append(f"Novelty guard: mode={guard.mode} classification={guard.category} decision={guard.policy}")
    lines.append(f"Decision packet: action={packet.action} priority={packet.priority} summary={packet.summary}")
    if champion := entry.told.champion:
        value = surface.number(champion.value, 6)
        lines.append(f"Champion: {champion.run} {champion.commit} {value} {one_line(champion.description)}")
    return "\n".join(lines)


# --- report -----------------------------------------------------------------------------------------------------


def cmd_report(args: argparse.Namespace) -> int:
    """Write the morning report: latest.md and a stamped copy, or one named file."""
    for path in _write_report(settings_of(args.lab), args.since_hours, output=args.output):
        print(f"Wrote report to {path}")
    return 0


def _write_report(settings: Settings, since_hours: int, *, output: str) -> tuple[Path, ...]:
    from nightlab.report.morning import render, write_report

    with Ledger.read(settings.database) as ledger:
        history = ledger.history()
    now = time.time()
    if output:
        path = Path(output).absolute()
        replace(path, render(history, settings, now, since_hours, chart=None))
        return (path,)
    mirrors = Mirrors(settings.root)
    written = write_report(history, settings, now=now, since_hours=since_hours, directory=mirrors.reports)
    return written[:2]  # the chart beside them is part of both
