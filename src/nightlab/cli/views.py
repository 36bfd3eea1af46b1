"""`status`, `runs`, `show`, `diff` and `report`: looking at a lab. Nothing here decides, and only `report` writes."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.agent.looking import branch_of, summary_of, write_reports
from nightlab.cli.compose import add_lab_option, settings_of
from nightlab.errors import GitError, NoRepositoryError, NotFoundError

if TYPE_CHECKING:
    from rich.console import RenderableType

    from nightlab.config import Settings
    from nightlab.history import History, RunState
    from nightlab.ledger.records import Record
    from nightlab.report.nouns import LabSummary
    from nightlab.types import Experiment

OUTCOMES = ("running", "finished", "crashed", "timedout", "stoppedearly", "lost", "voided", "disputed")
SCREENFUL = 50  # runs listed on a terminal unless --limit says otherwise
SHORTEST = 3  # characters from which the beginning of a name counts
TAIL_LINES = 20  # of a log in `show`
SINCE_HOURS = 16.0
_WIDE = 240  # columns where nobody looks: lines are not cut for a reader that is a program
_LOG_LIMIT = 64 << 20  # bytes of a log that are read

_Raw = argparse.RawDescriptionHelpFormatter

_STATUS = """\
What is best now and how sure that is, where the night stands, what it cost. Levels are posterior means with
95 % intervals over all runs of an experiment, never its luckiest run.

examples:
  nightlab status
  nightlab status --json | jq .champion.gain_on_fresh_seeds
"""
_RUNS = """\
Every run, oldest first.

examples:
  nightlab runs --outcome crashed
  nightlab runs --experiment 12
  nightlab runs --json | jq 'map(select(.metric != null))'
"""
_SHOW = """\
One experiment with its runs, verdicts, patch and the end of its log. NAME is a number (12), `champion`, `baseline`,
or the beginning of a run's id, an experiment's id, a commit or a source hash.

examples:
  nightlab show 12
  nightlab show champion --json
  nightlab show 20260311T043000Z-abc1234 --log
"""
_DIFF = """\
The difference between two experiments' editable files, as a patch that `git apply` takes. Without names: from the
night's baseline to the champion. With one: from its parent. With two: from the first to the second.

examples:
  nightlab diff
  nightlab diff 12
  nightlab diff baseline 12 > idea.patch
"""
_REPORT = """\
Write the morning report to results/memorylab/reports (latest.md and a copy under the moment's name), or with --output
to that one file. With --figures five figures lie beside it, each as SVG and PNG in figures/: history, frontier,
lineage, niches, emitters; progress.png is the first of them. The report shows those that are newer than the newest run.

examples:
  nightlab report --since-hours 8
  nightlab report --figures --format html
  nightlab report --output morning.md
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    status = _parser(commands, "status", "what is best, how sure that is, and where the night stands", _STATUS)
    status.add_argument("--json", action="store_true", help="one JSON object")
    status.set_defaults(handler=cmd_status)

    runs = _parser(commands, "runs", "list every run", _RUNS)
    runs.add_argument("--json", action="store_true", help="one JSON list of all runs")
    runs.add_argument("--limit", type=_limit, metavar="N", help=f"the last N runs (on a terminal {SCREENFUL}); 0: all")
    runs.add_argument("--outcome", choices=OUTCOMES, help="only runs that ended so")
    runs.add_argument("--experiment", metavar="NAME", help="only runs of this experiment")
    runs.set_defaults(handler=cmd_runs)

    show = _parser(commands, "show", "all that is known of one experiment or run", _SHOW)
    show.add_argument("name", metavar="NAME", help="number, champion, baseline, or the beginning of an id")
    form = show.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object")
    form.add_argument("--log", action="store_true", help="print the whole log of the run (or of the latest one)")
    show.set_defaults(handler=cmd_show)

    diff = _parser(commands, "diff", "what changed between two experiments", _DIFF)
    diff.add_argument("first", nargs="?", metavar="A", help="experiment or run, named as for `show`")
    diff.add_argument("second", nargs="?", metavar="B", help="experiment or run to compare A with")
    diff.set_defaults(handler=cmd_diff)

    add_report(commands)


def add_report(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """The same command under both doors."""
    report = _parser(commands, "report", "write the morning report", _REPORT)
    report.add_argument("--since-hours", type=hours, default=SINCE_HOURS, metavar="H", help="length of the night (16)")
    report.add_argument("--format", choices=("md", "html"), help="markdown (default), or one HTML page")
    beside = report.add_mutually_exclusive_group()
    beside.add_argument("--figures", action="store_true", help="draw the figures beside it, as SVG and PNG")
    beside.add_argument("--output", default="", metavar="PATH", help="write this one file only")
    report.add_argument("--json", action="store_true", help="print what it says as a JSON object, write nothing")
    report.set_defaults(handler=cmd_report)


def _parser(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, help_line: str, description: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=help_line, description=description, formatter_class=_Raw)
    add_lab_option(parser)
    return parser


# --- commands ---------------------------------------------------------------------------------------------------


def cmd_status(args: argparse.Namespace) -> int:
    settings = settings_of(args.lab)
    lab = _look(settings)
    if args.json:
        print_json(lab)
        return 0
    from nightlab.report.terminal import status_screen

    show(status_screen(lab))
    if lab.runs.total == 0 and lab.runs.imported == 0 and lab.night is None:
        hint("start with `nightlab run --runs 20`")
    elif lab.night is not None and lab.night.state == "interrupted":
        hint("nobody works on the night: `nightlab run` goes on where it was")
    return 0


def cmd_runs(args: argparse.Namespace) -> int:
    from nightlab.mirroring import reading_alone

    settings = settings_of(args.lab)
    with reading_alone(settings) as ledger:
        wanted = _experiment(ledger.history(), args.experiment).id if args.experiment is not None else None
        rows = ledger.run_rows(wanted)
        imported = ledger.records.told(settings.metric.direction.sign).imported
    rows = [row for row in rows if args.outcome in (None, row.outcome)]
    limit = args.limit
    if limit is None:
        limit = SCREENFUL if sys.stdout.isatty() and not args.json else 0
    shown = rows[-limit:] if limit else rows
    if args.json:
        from nightlab.report.summary import run_line

        print_json([run_line(row) for row in shown])
        return 0
    if not rows:
        hint("no run like that" if args.outcome or wanted else "nothing has run yet: start with `nightlab run`")
    if imported and wanted is None and args.outcome is None:
        hint(f"{imported} more told by other ledgers; `nightlab export` lists them, `nightlab show` knows them")
    if not rows:
        return 0
    from nightlab.report.terminal import runs_table

    show(runs_table(shown))
    if args.limit is None and len(shown) < len(rows):
        hint(f"the last {len(shown)} of {len(rows)} runs; `--limit 0` lists all")
    return 0


def cmd_show(args: argparse.Namespace) -> int:
    from nightlab.report.dossier import dossier, look_up
    from nightlab.report.text import block, clean

    settings = settings_of(args.lab)
    history = _history(settings)
    try:
        state, asked = look_up(history, args.name)
    except NotFoundError:
        if (record := _recorded(settings, args.name)) is None:
            raise
        if record.experiment is None:
            return _show_record(record, args)
        state, asked = look_up(history, record.run)
    sheet = dossier(history, settings, state, asked)
    if args.json:
        print_json(sheet)
        return 0
    run = asked or (state.runs[-1] if state.runs else None)
    log = _read_log(settings, run) if run else None
    if args.log:
        if run is None or log is None:
            where = f"run {run.run.id}" if run else f"experiment {state.experiment.id}"
            raise NotFoundError(f"{where} has no log", hint=f"`nightlab show {state.number}` shows what there is")
        print(clean(log), end="")
        return 0
    from nightlab.report.terminal import show_screen

    show(show_screen(sheet, block(log.rstrip(), TAIL_LINES) if log else ""))
    return 0


def _recorded(settings: Settings, name: str) -> Record | None:
    """The record that a name means where the loop's own history does not know it; None if none, or several.

    It is `champion` in a lab without a night, the beginning of a run's name, or a commit.
    """
    from nightlab.mirroring import reading

    with reading(settings, time.time()) as ledger:
        if name.strip().lower() == "champion":
            return ledger.records.champion(settings.metric.direction.sign)
        found = ledger.records.beginning(name) if len(name) >= SHORTEST else []
    return found[0] if len(found) == 1 else None


def _show_record(record: Record, args: argparse.Namespace) -> int:
    """A run that is known by another ledger's word only."""
    if args.log:
        raise NotFoundError(f"run {record.run} was told by another ledger, which has left no log here")
    if args.json:
        print_json(record)
        return 0
    from nightlab.report.terminal import record_screen

    show(record_screen(record))
    return 0


def cmd_diff(args: argparse.Namespace) -> int:
    settings = settings_of(args.lab)
    before, after = _pair(_history(settings), args.first, args.second)
    patch = "" if before == after else _patch(settings, before, after)
    if not patch:
        alone = args.first is None and before == after
        hint("no idea is proven better than the baseline yet" if alone else "no difference")
        return 0
    hint(f"from {_named(before)}\nto   {_named(after)}")
    if sys.stdout.isatty():
        from nightlab.report.terminal import diff_text

        show(diff_text(patch))
    else:
        sys.stdout.buffer.write(patch.encode("utf-8", "surrogateescape"))
    return 0


def cmd_report(args: argparse.Namespace) -> int:
    settings = settings_of(args.lab)
    if args.json:
        _report_json(settings, args)
        return 0
    form = args.format or ("html" if Path(args.output).suffix.lower() in (".html", ".htm") else "md")
    written = write_reports(settings, args.since_hours, output=args.output, form=form, figures=args.figures)
    for path in written[:2]:
        print(f"Wrote report to {path}")
    if len(written) > 2:
        hint(f"with its chart {written[2]} and all figures in {written[3].parent}")
    return 0


def _report_json(settings: Settings, args: argparse.Namespace) -> None:
    from nightlab.mirroring import reading
    from nightlab.report.advice import advise
    from nightlab.report.findings import find
    from nightlab.report.morning import ReportContents

    now = time.time()
    with reading(settings, now) as ledger:
        history = ledger.history(own=True, patches=False)
        told = ledger.records.told(settings.metric.direction.sign)
    found = find(history, settings, now, args.since_hours, branch_of(settings), told)
    print_json(ReportContents(findings=found, next_steps=advise(found)))


# --- reading ----------------------------------------------------------------------------------------------------


def _look(settings: Settings) -> LabSummary:
    from nightlab.mirroring import reading

    with reading(settings, time.time()) as ledger:
        told = ledger.records.told(settings.metric.direction.sign)
        return summary_of(settings, ledger.history(own=True, patches=False), told)


def _history(settings: Settings) -> History:
    from nightlab.mirroring import reading_alone

    with reading_alone(settings) as ledger:
        return ledger.history()


def _experiment(history: History, name: str) -> Experiment:
    from nightlab.report.dossier import look_up

    return look_up(history, name)[0].experiment


def _pair(history: History, first: str | None, second: str | None) -> tuple[Experiment | None, Experiment]:
    """What `diff` compares; None on the left: with nothing."""
    if first is None:
        if history.champion is None or history.night is None:
            raise NotFoundError("there is no champion yet", hint="name an experiment: `nightlab diff 3`")
        return history.state(history.night.began.baseline).experiment, history.state(history.champion).experiment
    if second is not None:
        return _experiment(history, first), _experiment(history, second)
    after = _experiment(history, first)
    return (history.state(after.parent).experiment if after.parent in history.experiments else None), after


def _named(experiment: Experiment | None) -> str:
    from nightlab.report.text import plain

    return f"{experiment.id} {plain(experiment.description)}" if experiment else "nothing"


def _patch(settings: Settings, before: Experiment | None, after: Experiment) -> str:
    """From `before` to `after`: from git, or the stored patch where git has lost the commits."""
    if before is None:
        return after.patch
    try:
        return _patch_by_git(settings, before.commit, after.commit)
    except (GitError, NoRepositoryError):
        if after.parent != before.id:
            raise
        return after.patch


def _patch_by_git(settings: Settings, before: str, after: str) -> str:
    from nightlab.git import Git
    from nightlab.runner.hashes import matching
    from nightlab.search.source import patch

    git = Git(settings.root)
    sides = []
    for commit in (before, after):
        names = matching(git.files(commit), settings.editable)
        sides.append({name: git.read(commit, name).decode("utf-8", "surrogateescape") for name in names})
    return patch(sides[0], sides[1])


def _read_log(settings: Settings, run: RunState) -> str | None:
    from nightlab.report.dossier import places
    from nightlab.runner.files import read_small

    try:
        data = read_small(places(settings, run.run.id, by_hand=run.logged is not None)[1], _LOG_LIMIT)
    except ValueError as exc:
        return f"[nightlab: {exc}]"
    return None if data is None else data.decode("utf-8", "replace")


# --- printing ---------------------------------------------------------------------------------------------------


def show(picture: RenderableType) -> None:
    """Print to stdout: colours and the terminal's width for a person, plain long lines for a program."""
    from io import StringIO

    from rich.console import Console

    if sys.stdout.isatty():
        Console(highlight=False, markup=False, emoji=False).print(picture)
        return
    out = StringIO()
    Console(file=out, highlight=False, markup=False, emoji=False, width=_WIDE, color_system=None).print(picture)
    print("\n".join(line.rstrip() for line in out.getvalue().rstrip("\n").split("\n")))


def hint(text: str) -> None:
    print(text, file=sys.stderr)


def print_json(data: object) -> None:
    import msgspec

    print(msgspec.json.format(msgspec.json.encode(data), indent=2).decode())


def _limit(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number of runs")
    return int(text)


def hours(text: str) -> float:
    """A window's length.

    Raises:
        argparse.ArgumentTypeError: it is no length of time.
    """
    try:
        found = float(text)
    except ValueError:
        found = -1.0
    if not 0 <= found < 1e6:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of hours from zero on")
    return found
