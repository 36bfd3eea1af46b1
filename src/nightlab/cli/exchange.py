"""`import` and `export`: histories in and out."""

from __future__ import annotations

import argparse
import csv
import io
import itertools
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nightlab.cli.compose import add_lab_option, settings_of
from nightlab.cli.views import hint, print_json
from nightlab.config import IGNORED
from nightlab.errors import NoRepositoryError, UsageError
from nightlab.ledger import surface
from nightlab.ledger.mirrors import Mirrors, writing

if TYPE_CHECKING:
    from nightlab.config import Settings
    from nightlab.ledger import Ledger
    from nightlab.ledger.records import Record
    from nightlab.report.lessons import Lessons
    from nightlab.takeover import Taken

FORMATS = ("tsv", "jsonl", "csv")
FAR = 0.1  # of a first value: files of one kind of run begin nearer to each other
FAR_NOISE = 5.0  # noises of one run, where that is known: two equal runs differ by more four times in ten thousand
_SHOWN = 3  # refused lines that are quoted


class Told(NamedTuple):
    """What one history tells."""

    name: str
    lessons: Lessons


_IMPORT = """\
Take in other histories, each row once, and say what they already tell. PATH is a results.tsv of any fork (other
columns, no header, another metric's name), a file of JSON lines, or a branch of experiment commits of this repository.
A file goes before a branch of its name: write refs/heads/NAME for that branch.

Rows are their author's word: remembered, compared with new ideas, ranked as provisional, never proven. --elsewhere
keeps their values out of the ranking: say so for another machine, budget or data, and the first time: what is on record
as ranked stays so. Values of another metric are never ranked. Importing again, a longer version too, takes in what is
new.

Of a branch every commit is an experiment that changes an editable file, from where the branch left main; values come
from its results.tsv, from the lab's, or from messages that state them (val_bpb: 0.9931).

examples:
  nightlab import results.tsv
  nightlab import --elsewhere ~/h100/results.tsv ~/h200/results.tsv
  nightlab import autoresearch/mar5
"""
_EXPORT = """\
Print every record, oldest first: as results.tsv, as the JSON lines of experiments.jsonl, or as CSV with all columns.
`nightlab import` reads all three. A results.tsv has room for the lab's own metric only, to six digits: records of
other metrics or from elsewhere are in the other two.

examples:
  nightlab export --format csv --output night.csv
  nightlab export --format jsonl | jq -r .description
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    form = argparse.RawDescriptionHelpFormatter
    taking = commands.add_parser(
        "import", help="take in other histories and say what they tell", description=_IMPORT, formatter_class=form
    )
    add_lab_option(taking)
    taking.add_argument("places", nargs="+", metavar="PATH", help="a file, or a branch of this repository")
    taking.add_argument("--elsewhere", action="store_true", help="made under other conditions: values are not ranked")
    taking.add_argument("--json", action="store_true", help="one JSON object")
    taking.set_defaults(handler=cmd_import)

    giving = commands.add_parser("export", help="print every record", description=_EXPORT, formatter_class=form)
    add_lab_option(giving)
    giving.add_argument("--format", choices=FORMATS, default="tsv", help="results.tsv (default), JSON lines, or CSV")
    giving.add_argument("--output", default="", metavar="PATH", help="write this file instead of printing")
    giving.set_defaults(handler=cmd_export)


# --- import -----------------------------------------------------------------------------------------------------


def cmd_import(args: argparse.Namespace) -> int:
    """Exit 1 if there is a file of which not one line is a row."""
    from nightlab.git import Git
    from nightlab.takeover import take_over

    settings = settings_of(args.lab)
    with suppress(NoRepositoryError):  # a lab that is under no version control has nothing to hide from it
        Git(settings.root).ignore(IGNORED)
    taken = take_over(settings, args.places, ranked=not args.elsewhere, now=time.time())
    told = _lessons(taken, settings)
    _warn(taken, told, settings)
    if args.json:
        lessons = [{"name": name, **asdict(lesson)} for name, lesson in told]
        print_json({"taken": [_counts(one) for one in taken], "lessons": lessons})
    else:
        _say(taken, told)
    return 1 if any(one.refused and not one.rows for one in taken) else 0


def _lessons(taken: Iterable[Taken], settings: Settings) -> list[Told]:
    """What the histories tell, one by one: they may come from labs that have nothing to do with each other."""
    from nightlab.report.lessons import lessons

    told = []
    for one in taken:
        if one.rows:
            metric = one.metric or settings.metric.name
            direction = one.direction if one.metric else settings.metric.direction
            told.append(Told(one.name, lessons(one.rows, direction=direction, metric=metric)))
    return told


def _counts(one: Taken) -> dict[str, object]:
    return {
        "name": one.name,
        "rows": len(one.rows),
        "new": one.new,
        "known": one.known,
        "refused": [{"line": r.line, "text": r.text, "why": r.why} for r in one.refused],
        "metric": one.metric,
        "unranked": one.unranked,
    }


def _say(taken: Iterable[Taken], told: Iterable[Told]) -> None:
    from nightlab.report.lessons import render
    from nightlab.report.text import plain

    for one in taken:
        _say_one(one)
    for name, lesson in told:
        print(f"\nWhat {plain(name)} already tells you ({plain(lesson.metric, 60)})")
        for line in render(lesson):
            print(line if line.startswith(" ") else f"- {line}")


def _say_one(one: Taken) -> None:
    from nightlab.report.text import plain

    name = plain(one.name)
    print(f"{name}: {one.new} new rows taken in, {one.known} known already, {len(one.refused)} refused")
    if not one.rows:
        hint(f"{name} holds no row: a row has a commit, a number, a status or a description")
    for metric, values in one.unranked.items():
        hint(f"{name}: values of {plain(metric, 60)} are remembered, not ranked: {values} of {len(one.rows)} rows")
    if one.no_number:
        hint(f"{name}: {one.no_number} of the new rows had no usable number and count as crashed")
    if one.taken_back:
        hint(f"{name}: {one.taken_back} values that were ranked before are ranked no longer")
    for refused in one.refused[:_SHOWN]:
        hint(f"refused: line {refused.line}: {plain(refused.why)}: {plain(refused.text, 80)}")
    if len(one.refused) > _SHOWN:
        hint(f"refused: and {len(one.refused) - _SHOWN} more; --json lists them all")


def _warn(taken: Sequence[Taken], told: Sequence[Told], settings: Settings) -> None:
    """Say on stderr where values may have been made under other conditions than those they are ranked with."""
    from nightlab.report.text import plain

    asked = "if it was made on another machine, budget or data, import it again with --elsewhere"
    sign = settings.metric.direction.sign
    for one in taken:
        if one.best is not None and one.stood is not None and sign * (one.stood - one.best) > 0:
            better = f"{one.best:g} is better than {one.stood:g}, the best that was on record"
            hint(f"note: {plain(one.name)}: {better}: {asked}")
    noise = {name: lesson.noise.sd for name, lesson in told if lesson.noise is not None}
    begun = [one for one in taken if one.first is not None]
    for one in begun[1:]:
        first, here = begun[0], one.first or 0.0
        there = first.first or 0.0
        known = [noise[name] for name in (first.name, one.name) if name in noise]
        bar = FAR_NOISE * max(known) if known else FAR * max(abs(there), abs(here))
        if abs(here - there) > bar and (one.new or first.new):
            begin = f"begins at {here:g}, far from {there:g} of {plain(first.name)}"
            hint(f"note: {plain(one.name)} {begin}: {asked}")


# --- export -----------------------------------------------------------------------------------------------------


def cmd_export(args: argparse.Namespace) -> int:
    from nightlab.mirroring import reading

    settings = settings_of(args.lab)
    path = _target(args.output, settings) if args.output else None
    with reading(settings, time.time()) as ledger:
        lines = _lines(ledger, settings, args.format)
        if path is None:
            sys.stdout.writelines(lines)
        else:
            _write(path, lines)
    if path is not None:
        print(f"Wrote {path}")
    return 0


def _target(name: str, settings: Settings) -> Path:
    """The file to be written.

    Raises:
        UsageError: it is a directory, or one of the lab's own files.
    """
    path = Path(name).absolute()
    mirrors = Mirrors(settings.root)
    own = (mirrors.tsv, mirrors.ledger, mirrors.registry, settings.database)
    if path.resolve() in {one.resolve() for one in own}:
        raise UsageError(f"{path} is the lab's own and kept up to date by itself", hint="name another file")
    if path.is_dir():
        raise UsageError(f"{path} is a directory", hint="name a file in it")
    return path


def _write(path: Path, lines: Iterable[str]) -> None:
    """All lines or none of them: a reader sees the old file or the whole new one."""
    with writing(path):
        if path.exists() and not path.is_file():  # a pipe or a device can only be written to
            with path.open("w", encoding="utf-8", newline="") as file:
                file.writelines(lines)
            return
        path = path.resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name[:200]}.{os.getpid()}")
        try:
            with scratch.open("w", encoding="utf-8", newline="") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)


def _lines(ledger: Ledger, settings: Settings, form: str) -> Iterator[str]:
    from nightlab.mirroring import json_lines

    if form == "jsonl":
        return _by_its_name(json_lines(ledger, settings), settings.metric.name)
    records = ledger.records.all()
    return _table(records, settings) if form == "tsv" else _comma_separated(records, settings)


def _by_its_name(lines: Iterable[str], metric: str) -> Iterator[str]:
    """Lines whose metric goes by the lab's own name: in the lab's mirrors every metric has the older surface's."""
    if metric == surface.METRIC:
        yield from lines
        return
    for line in lines:
        row = json.loads(line)
        row["metrics"] = {metric if name == surface.METRIC else name: value for name, value in row["metrics"].items()}
        yield json.dumps(row, sort_keys=True) + "\n"


def _table(records: Iterable[Record], settings: Settings) -> Iterator[str]:
    """Lines of a results.tsv whose header says which metric it is."""
    yield surface.TSV_HEADER.replace(surface.METRIC, settings.metric.name)
    left_out = 0
    for record in records:
        if record.ranked or record.value is None:
            yield surface.tsv_row(replace(record, table_line="")) + "\n"  # its own line has the columns of its own file
        else:
            left_out += 1
    if left_out:
        hint(f"{left_out} records of another metric or from elsewhere have no place in a results.tsv: see --format csv")


def _comma_separated(records: Iterable[Record], settings: Settings) -> Iterator[str]:
    """All columns, the value's called by the metric's name."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    rows: Iterable[list[object]] = itertools.chain([_names(settings)], map(_cells, records))
    for row in rows:
        writer.writerow(row)
        yield out.getvalue()
        out.seek(0)
        out.truncate()


def _names(settings: Settings) -> list[object]:
    return [
        "run", "at", "origin", "experiment", "source_hash", "commit", "parent", "branch", "status",
        settings.metric.name, "memory_mb", "ranked", "crash", "signature", "description", "hypothesis", "family",
        "tags", "lineage",
    ]  # fmt: skip


def _cells(r: Record) -> list[object]:
    return [
        r.run, r.stamp, r.origin, r.experiment, r.source_hash, r.commit, r.parent, r.branch, r.status, r.value,
        r.memory_mb, "true" if r.ranked else "false", r.crash, r.signature, r.description, r.hypothesis, r.family,
        ",".join(r.tags), r.lineage,
    ]  # fmt: skip
