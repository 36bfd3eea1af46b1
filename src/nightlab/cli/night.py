"""`run`, `demo` and `try`: the commands that make experiments happen."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from nightlab.agent.service import known_already
from nightlab.agent.workbench import mirrored, open_lab, see_through, start_in_background
from nightlab.cli.amounts import count_of, hours, money
from nightlab.cli.compose import add_lab_option, settings_of
from nightlab.root import refuse_second_lab

if TYPE_CHECKING:
    from nightlab.config import Settings
    from nightlab.loop import Lab

DEMO_IDEAS = 12


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    run = commands.add_parser("run", help="work: propose, run, judge, keep", description=_RUN, formatter_class=_Raw)
    add_lab_option(run)
    run.add_argument("--runs", type=count_of, metavar="N", help="ideas to try in this night")
    run.add_argument("--hours", type=hours, metavar="H", help="wall-clock hours after which no new idea is begun")
    run.add_argument(
        "--cost", type=money, metavar="MONEY", help="what the night's runs may cost, at budget.hour_price an hour"
    )
    run.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the search (default 0)")
    run.add_argument(
        "--mode",
        choices=("explore", "exploit"),
        default="exploit",
        help="explore: keep from judge.explore on instead of judge.promote (default exploit)",
    )
    run.add_argument(
        "--proposer",
        action="append",
        metavar="NAME",
        help="who has the ideas: builtin, openai:MODEL or an agent's command line; may be given several times "
        "(default: proposer.use in nightlab.toml, else builtin)",
    )
    run.add_argument(
        "--model-cost", type=money, metavar="MONEY", help="what models may cost in this night, at the prices of [model]"
    )
    run.set_defaults(handler=cmd_run)

    demo = commands.add_parser("demo", help="a night in miniature, no set-up", description=_DEMO, formatter_class=_Raw)
    demo.add_argument("--runs", type=count_of, default=DEMO_IDEAS, metavar="N", help=f"ideas (default {DEMO_IDEAS})")
    demo.add_argument("--dir", type=Path, default=Path("nightlab-demo"), metavar="DIR", help="where the lab goes")
    demo.add_argument("--seed", type=int, default=0, metavar="S", help="seed of the search (default 0)")
    demo.set_defaults(handler=cmd_demo)

    trial = commands.add_parser("try", help="run the working tree's edit as one experiment", description=_TRY)
    add_lab_option(trial)
    trial.add_argument("--description", default="", metavar="TEXT", help="what the edit does, in one line")
    trial.add_argument("--hypothesis", default="", metavar="TEXT", help="why it should help")
    trial.add_argument(
        "--seeds", type=count_of, default=1, metavar="N", help="runs before the first verdict (default 1)"
    )
    trial.add_argument("--no-wait", action="store_true", help="start it and return; `nightlab wait` joins it again")
    trial.set_defaults(handler=cmd_try)

    wait = commands.add_parser("wait", help="see every recorded idea to its verdict", description=_WAIT)
    add_lab_option(wait)
    wait.set_defaults(handler=cmd_wait)


def cmd_run(args: argparse.Namespace) -> int:
    settings = settings_of(args.lab)
    return _night(
        settings,
        ideas=args.runs,
        hours=args.hours,
        seed=args.seed,
        mode=args.mode,
        cost=args.cost,
        proposers=args.proposer or settings.proposer.use,
        model_cost=args.model_cost,
    )


def cmd_demo(args: argparse.Namespace) -> int:
    from nightlab.cli import labs

    directory: Path = args.dir
    if (directory / "nightlab.toml").is_file():
        print(f"going on in {directory}", file=sys.stderr)
    else:
        labs.make_lab(directory)
        print(f"made a lab in {directory}", file=sys.stderr)
    settings = settings_of(directory)
    labs.prepare_environment(settings)
    labs.prepare_data(settings)
    return _night(settings, ideas=args.runs, hours=None, seed=args.seed)


def _night(
    settings: Settings,
    *,
    ideas: int | None,
    hours: float | None,
    seed: int,
    mode: str = "exploit",
    cost: float | None = None,
    proposers: Sequence[str] = (),
    model_cost: float | None = None,
) -> int:
    """Run one night and show it; 130 after Ctrl-C, 1 if the night could not be worked."""
    from nightlab.cli.screen import Screen
    from nightlab.loop import lease

    refuse_second_lab(settings.root)
    with lease(settings), Screen(settings) as screen, mirrored(settings), open_lab(settings, screen) as lab:
        lab.sources.check()
        if proposers:
            appoint(lab, proposers, model_cost)
        if lab.begin(ideas=ideas, hours=hours, seed=seed, mode=mode, cost=cost):
            screen.resumed(lab.history)
        try:
            with stoppable():
                done = lab.run_night()
        except KeyboardInterrupt:
            screen.stopped(lab)
            return 130
        screen.finished(lab, done)
        return 1 if done.failed else 0


def appoint(lab: Lab, proposers: Sequence[str], model_cost: float | None) -> None:
    """Let those have the ideas who are named. The caller holds the lease.

    Raises:
        UsageError: one of them cannot be asked.
    """
    from nightlab.agent.proposing.team import proposer_of
    from nightlab.planned import built_in

    search = built_in(lab.settings, lab.git, on_gpu=lab.on_gpu)
    lab.proposer = proposer_of(
        proposers, lab.settings, lab.ledger, lab.git, search, on_gpu=lab.on_gpu, model_cost=model_cost
    )


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM and a closed terminal stop a night as cleanly as Ctrl-C does."""

    def stop(signum: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {name: signal.signal(name, stop) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(name, handler)


def cmd_try(args: argparse.Namespace) -> int:
    """Record the working tree's editable files as an experiment and see it to a verdict."""
    from nightlab.cli.screen import Screen

    settings = settings_of(args.lab)
    with Screen(settings) as screen, mirrored(settings), open_lab(settings, screen) as lab:
        experiment = lab.take_working_tree(description=args.description, hypothesis=args.hypothesis, seeds=args.seeds)
        if note := known_already(lab, experiment):
            print(f"note: {note}", file=sys.stderr)
        if args.no_wait:
            start_in_background(settings, "wait")
            print(f"{experiment.id} is recorded; `nightlab show {experiment.id}` will know more")
            return 0
        try:
            with stoppable():
                see_through(lab, settings)
        except KeyboardInterrupt:
            screen.stopped(lab)
            return 130
        return screen.verdict(lab, experiment)


def cmd_wait(args: argparse.Namespace) -> int:
    """Work until no idea is open, or look on while another process does."""
    from nightlab.cli.screen import Screen

    settings = settings_of(args.lab)
    with Screen(settings) as screen, open_lab(settings, screen) as lab:
        if lab.history.champion is not None and not any(state.is_open for state in lab.history.line):
            print("nothing is open", file=sys.stderr)
            return 0
        try:
            with stoppable():
                return 0 if see_through(lab, settings) else 1
        except KeyboardInterrupt:
            screen.stopped(lab)
            return 130


_Raw = argparse.RawDescriptionHelpFormatter
_RUN = """\
Propose ideas, run them, judge them against the champion, keep what is proven better.

Starts from the committed champion. Ctrl-C ends the runs under way and records that; `nightlab run` goes on
where the night stopped. Runs of the baseline, replicates and the final block on fresh seeds come on top of --runs.
Models and agents may have ideas too (docs/models.md); say the same --proposer again to go on with a night.
"""
_DEMO = """\
Make a lab with the shipped benchmark in DIR and work one small night on it: `nightlab new` and `nightlab run`.

Trains a small language model for real, on the CPU if there is no GPU. Again with the same DIR: goes on there.
"""
_WAIT = "Run what recorded ideas still need, or look on while another process does, until each has its verdict."
_TRY = "Run the working tree's editable files as one experiment and judge it against the champion."
