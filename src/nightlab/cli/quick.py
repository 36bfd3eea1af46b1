"""`quick -- CMD`: how noisy is the number that a command prints, and what could a night show? No lab, nothing kept."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.cli.amounts import minutes
from nightlab.errors import BackendError, MetricError, NightlabError, UsageError
from nightlab.report import text as safe

if TYPE_CHECKING:
    from rich.live import Live

    from nightlab.report.quick import QuickRun
    from nightlab.runner.numbers import Found
    from nightlab.runner.sample import Sample

LEAST = 3  # runs without --runs: the first seed twice, and another one
ALIKE = 5  # runs after which a value that never changes is believed to be constant
MINUTES = 2.0  # that the runs may take together without --runs, once LEAST of them are made
TIMEOUT = 10.0  # minutes of one run, as `exec` has it

_DESCRIPTION = """\
Run COMMAND several times, one after another, and say how much the number that it prints varies by itself, the
smallest gain that can be proven in 2, 4 and 8 runs an idea, and how many ideas a night holds. It works in any
directory, needs no set-up, and leaves nothing behind.

Every run gets a seed in AUTORESEARCH_SEED: the first one twice, then a new one each time. The number is what COMMAND
prints as `NAME: value` on a line of its own, as a number of a JSON object, or as the only number on its last such
line. COMMAND is run as it stands, without a shell.

examples:
  nightlab quick -- python train.py
  nightlab quick --metric val_loss --runs 10 -- python train.py
  nightlab quick -- sh -c './bench | tail -1'
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "quick",
        help="how noisy is the number that a command prints, and what could a night show? no set-up",
        usage="nightlab quick [--runs N] [--metric NAME] [--minutes M] [--timeout M] [--json] -- COMMAND...",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=_runs, metavar="N", help="exactly so many, at least 2")
    parser.add_argument("--metric", metavar="NAME", help="the number to take, where several are printed")
    parser.add_argument(
        "--minutes", type=minutes, default=MINUTES, metavar="M",
        help="without --runs: stop once the noise is known within a factor of two, or after so long (default 2), "
        "but not before 3 runs",
    )  # fmt: skip
    parser.add_argument(
        "--timeout", type=minutes, default=TIMEOUT, metavar="M", help="of one run, fractions allowed (default 10)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the command and its arguments")
    parser.set_defaults(handler=cmd_quick)


def cmd_quick(args: argparse.Namespace) -> int:
    """Tell what is known once two runs are done, however it ended; 130 after Ctrl-C, 1 where a run failed."""
    command: list[str] = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not command:
        raise UsageError("no command after --", hint="nightlab quick -- python train.py")
    from nightlab.runner.sample import sample
    from nightlab.runner.tend import StopSignals

    env = dict(os.environ)
    # The runner forks. numpy, which the estimate needs, would start threads that nobody uses and a fork cannot take.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    progress = Progress()
    with StopSignals() as signals, progress:

        def take(seed: int) -> Sample:
            return sample(command, seed=seed, env=env, signals=signals, limit_s=60.0 * args.timeout, tick=progress.tick)

        measured = measure(take, progress, Wanted(metric=args.metric, runs=args.runs, seconds=60.0 * args.minutes))
        interrupted = signals.got
    if measured.found is not None and len(measured.runs) > 1:
        _tell(command, measured, as_json=args.json)
    if measured.problem is not None:
        raise measured.problem
    if interrupted is None:
        return 0
    if len(measured.runs) < 2:
        progress.say("stopped before two runs were done: nothing can be said yet")
    return 128 + interrupted


def _tell(command: Sequence[str], measured: Measured, *, as_json: bool) -> None:
    from nightlab.report.quick import lines, quick

    assert measured.found is not None
    found = quick(command, measured.found, measured.others, measured.runs, measured.ended)
    if as_json:
        from nightlab.cli.views import print_json

        print_json(found)
        return
    editable = next((word for word in command if word.endswith(".py") and Path(word).is_file()), "FILE")
    print("\n".join(safe.clean(line) for line in lines(found, editable)))


# --- measuring --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the user asks for."""

    metric: str | None = None
    runs: int | None = None  # None: as many as it takes
    seconds: float = 60.0 * MINUTES  # that they may take together


@dataclass(slots=True, kw_only=True)
class Measured:
    """What the runs have given."""

    runs: list[QuickRun] = field(default_factory=list)
    found: Found | None = None  # which number is taken
    others: tuple[str, ...] = ()
    ended: str = ""
    problem: NightlabError | None = None  # what made an end of it


def measure(
    take: Callable[[int], Sample], progress: Progress, wanted: Wanted, clock: Callable[[], float] = time.monotonic
) -> Measured:
    """Run until enough is known, or as often as was asked for; what fails ends it and is told in `problem`."""
    from nightlab.report.quick import QuickRun, first_estimate, taken_line
    from nightlab.runner.numbers import choose, same
    from nightlab.runner.tend import Cause

    began, done = clock(), Measured()
    while not (ended := _enough(done.runs, wanted, clock() - began)):
        seed = _seed(len(done.runs), wanted.runs)
        number = len(done.runs) + 1
        progress.begin(number, seed)
        try:
            got = take(seed)
            if got.finish.cause is Cause.STOPPED:
                done.ended = "somebody stopped it"
                return done
            _check(got)
            if done.found is None:
                done.found, done.others = choose(got.output, wanted.metric)
                progress.say(taken_line(done.found, done.others))
                found = done.found
            else:
                found = same(got.output, done.found)
        except (BackendError, MetricError) as exc:
            done.problem = type(exc)(f"run {number} (seed {seed}): {exc.args[0]}", hint=exc.hint)
            done.ended = "a run failed"
            return done
        run = QuickRun(seed=seed, value=found.value, text=found.text, seconds=round(got.finish.wall_s, 3))
        done.runs.append(run)
        progress.say(f"run {number}  seed {seed}  {safe.plain(found.label, 64)} {found.text}  {run.seconds:.1f} s")
        if number == LEAST:
            progress.say(first_estimate(done.runs))
    done.ended = ended
    return done


def _seed(index: int, runs: int | None) -> int:
    """The first seed twice, then new ones; two runs alone tell more of the noise on two seeds."""
    from nightlab.decide import search_seed

    return search_seed(index if index == 0 or runs == 2 else index - 1)


def _enough(runs: Sequence[QuickRun], wanted: Wanted, spent_s: float) -> str:
    """Why no more runs are made; "" if one more is."""
    if wanted.runs is not None:
        return "so many were asked for" if len(runs) >= wanted.runs else ""
    if len(runs) < LEAST:
        return ""
    from nightlab.judge.repeats import Behaviour, repeats

    said = repeats([(run.seed, run.value) for run in runs])
    if said.is_known:
        return "the noise is known within a factor of two"
    if said.behaviour is Behaviour.CONSTANT and len(runs) >= ALIKE:
        return "the value never changes"
    if spent_s * (1.0 + 1.0 / len(runs)) > wanted.seconds:
        return "the time for them was over"
    return ""


def _check(got: Sample) -> None:
    """Whether the command has ended well.

    Raises:
        BackendError: it has not, or could not be started.
    """
    from nightlab.runner.tend import Cause
    from nightlab.runner.trouble import last_lines, signal_name

    finish = got.finish
    if finish.cause is Cause.NOT_STARTED:
        raise BackendError(
            finish.why, hint="what stands after -- is run as it is; for the words of a shell: -- sh -c '...'"
        )
    if finish.cause is Cause.LIMIT:
        raise BackendError(f"ended after {finish.wall_s:.0f} s, its limit", hint="--timeout MINUTES gives it longer")
    if finish.cause is Cause.GUARD_LOST or finish.code is None:
        raise BackendError("the process that guards the command was killed", hint="the same again")
    if finish.code != 0:
        how = f"exit code {finish.code}" if finish.code > 0 else f"killed by {signal_name(-finish.code)}"
        said = "".join(f"\n  | {line}" for line in last_lines(got.end)) or ", and nothing was printed"
        raise BackendError(f"the command failed, {how}{said}", hint="let it run well by itself, then the same again")


# --- showing it -------------------------------------------------------------------------------------------------


class Progress:
    """What happens, on stderr: a line for each thing, and on a terminal what runs now."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._what = ""
        self._since = 0.0

    def __enter__(self) -> Progress:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            # No thread of rich's own: the runner forks.
            self._live = Live(console=Console(stderr=True, highlight=False), auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            with suppress(OSError, ValueError):
                self._live.update("", refresh=True)
                self._live.stop()

    def begin(self, number: int, seed: int) -> None:
        self._what, self._since = f"run {number}, seed {seed}", time.monotonic()
        self.tick()

    def tick(self) -> None:
        if self._live is not None:
            with suppress(OSError, ValueError):
                self._live.update(f"{self._what}: {time.monotonic() - self._since:.0f} s", refresh=True)

    def say(self, line: str) -> None:
        with suppress(OSError, ValueError):  # nobody reads it: the report is what counts
            if self._live is not None:
                self._live.console.print(safe.clean(line), markup=False, soft_wrap=True)
            else:
                print(safe.clean(line), file=sys.stderr, flush=True)


def _runs(text: str) -> int:
    value = int(text)
    if value < 2:
        raise argparse.ArgumentTypeError("two runs are the least that can differ")
    return value
