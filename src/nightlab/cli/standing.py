"""`next`, `replicate` and `compare`: what is not proven yet, proving it, and two experiments side by side."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from nightlab.agent.workbench import open_lab
from nightlab.cli.compose import add_lab_option, settings_of
from nightlab.errors import BusyError, NotFoundError, UsageError
from nightlab.root import refuse_second_lab

if TYPE_CHECKING:
    from nightlab.config import Settings
    from nightlab.history import ExperimentState, History
    from nightlab.ledger import Ledger
    from nightlab.loop import Lab
    from nightlab.replicate import Replicated

SEEDS = 2  # no single run proves anything
_SHORTEST = 3  # characters from which the beginning of a run's name counts

_Raw = argparse.RawDescriptionHelpFormatter
_NEXT = """\
What the lab would do now and why: first the replicates that something unproven needs, then how the night goes on,
each with the command that does it, and what the search would try if it were asked now. Starts nothing.

examples:
  nightlab next
  nightlab next --json | jq -r '.todo[0].command'
"""
_REPLICATE = """\
Run a known experiment on N further seeds, of the champion's where it has any left, and judge it by all its runs. NAME
is as for `show`, or `provisional`: the best keep behind which there is its author's word only. Proven, it is the
champion. It says why where an experiment cannot be judged.

examples:
  nightlab replicate provisional
  nightlab replicate 12 --seeds 3
  nightlab replicate 20260311T043000Z-abc1234 --no-wait
"""
_COMPARE = """\
Two experiments side by side: pairs of runs with the same seed first, then the others, the difference with its 95 %
interval, and the chance that it is noise. Names as for `show`. Nothing is shrunk and neither side is favoured.

--json: metric, direction, a, b (experiment, number, description, runs, mean), pairs (seed, a, b, difference),
unpaired (side, run, seed, value, uncounted), difference (A - B), low, high, probability (that A is better), sentence.

examples:
  nightlab compare champion baseline
  nightlab compare 3 7 --json | jq .probability
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    coming = commands.add_parser("next", help="what the lab would do now, and why", description=_NEXT,
                                 formatter_class=_Raw)  # fmt: skip
    add_lab_option(coming)
    coming.add_argument("--json", action="store_true", help="one JSON object")
    coming.set_defaults(handler=cmd_next)

    again = commands.add_parser("replicate", help="run an experiment on further seeds and judge it",
                                description=_REPLICATE, formatter_class=_Raw)  # fmt: skip
    add_lab_option(again)
    again.add_argument("name", metavar="NAME", help="experiment or run, champion, provisional")
    again.add_argument("--seeds", type=_seeds, default=SEEDS, metavar="N", help=f"how many (default {SEEDS})")
    again.add_argument("--no-wait", action="store_true", help="start it and return; `nightlab status` shows it")
    again.set_defaults(handler=cmd_replicate)

    compare = commands.add_parser("compare", help="two experiments side by side, seed by seed", description=_COMPARE,
                                  formatter_class=_Raw)  # fmt: skip
    add_lab_option(compare)
    compare.add_argument("a", metavar="A", help="experiment or run, named as for `show`")
    compare.add_argument("b", metavar="B", help="what it is compared with")
    compare.add_argument("--json", action="store_true", help="one JSON object")
    compare.set_defaults(handler=cmd_compare)


def _seeds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seeds from 1 to 1000")
    return int(text)


# --- next -------------------------------------------------------------------------------------------------------


def cmd_next(args: argparse.Namespace) -> int:
    """Show what comes, as `decide` says it; reads only."""
    from nightlab.agent.looking import is_worked
    from nightlab.cli.views import print_json, show
    from nightlab.git import Git
    from nightlab.mirroring import reading
    from nightlab.planned import planned
    from nightlab.report.outlook import look_ahead, next_idea

    settings, now = settings_of(args.lab), time.time()
    with reading(settings, now) as ledger:
        told = ledger.records.told(settings.metric.direction.sign)
        history = ledger.history(own=True)
    outlook = look_ahead(history, settings, now, told, is_worked=is_worked(settings) is True)
    if any(todo.what in ("propose", "night") for todo in outlook.todo):
        answer = planned(history, settings, Git(settings.root))
        if answer is not None:
            outlook = replace(outlook, idea=next_idea(history, answer))
    if args.json:
        print_json(outlook)
        return 0
    from nightlab.report.standing_screens import outlook_screen

    show(outlook_screen(outlook))
    return 0


# --- replicate --------------------------------------------------------------------------------------------------


def cmd_replicate(args: argparse.Namespace) -> int:
    """Run an experiment on further seeds and print the verdict."""
    settings = settings_of(args.lab)
    refuse_second_lab(settings.root)
    try:
        return _replicate_later(settings, args) if args.no_wait else _replicate(settings, args)
    except BusyError as exc:
        hint = "wait for its end, or stop it there (Ctrl-C), then the same again; `nightlab run` goes on with it after"
        raise BusyError(str(exc.args[0]), hint=hint) from exc


def _replicate_later(settings: Settings, args: argparse.Namespace) -> int:
    from nightlab.agent.workbench import start_in_background
    from nightlab.loop import lease
    from nightlab.replicate import find
    from nightlab.report.words import count

    with lease(settings), open_lab(settings) as lab:
        number = find(lab, args.name).number
    start_in_background(settings, "replicate", str(number), "--seeds", str(args.seeds))
    print(f"#{number} runs on {count(args.seeds, 'more seed')}; `nightlab show {number}` will know more")
    return 0


def _replicate(settings: Settings, args: argparse.Namespace) -> int:
    from nightlab.agent.workbench import mirrored
    from nightlab.cli.night import stoppable
    from nightlab.cli.screen import Screen
    from nightlab.loop import lease
    from nightlab.replicate import replicate

    with lease(settings), Screen(settings) as screen, mirrored(settings), open_lab(settings, screen) as lab:
        try:
            with stoppable():
                done = replicate(lab, args.name, args.seeds)
        except KeyboardInterrupt:
            screen.stopped(lab)
            return 130
        _say(lab, done)
    return 1 if done.failed else 0


def _say(lab: Lab, done: Replicated) -> None:
    """The verdict in a line, and what it means for what comes."""
    from nightlab import decide, judging
    from nightlab.judge import race
    from nightlab.report.text import plain
    from nightlab.report.words import more_runs
    from nightlab.types import Decision

    state = lab.history.state(done.experiment)
    name = f"#{state.number} {done.experiment}"
    if done.failed:
        print(f"{name}: {plain(done.failed)}", file=sys.stderr)
    if done.verdict is None:
        values = ", ".join(f"{run.value:.6g} on seed {run.run.seed}" for run in done.runs if run.value is not None)
        print(f"{name}: {lab.settings.metric.name} {values or 'no value'}; no verdict: {done.unjudged}")
        return
    print(f"{name} {done.verdict.decision}: {plain(done.verdict.because)}")
    if done.verdict.decision is Decision.KEEP:
        branch = lab.git.free_branch(lab.settings.branch)
        print(f"kept: it is the proven champion now, and the tip of {branch}")
    elif done.verdict.decision is Decision.RETEST and lab.history.champion is not None:
        rows, judge = judging.rows(lab.history, lab.settings), decide.thresholds(lab.history, lab.settings)
        needed = race.runs_needed(done.experiment, lab.history.champion, rows, judge)
        print(f"not proven yet: needs {more_runs(needed)} if its estimate is right; `nightlab next` says which")


# --- compare ----------------------------------------------------------------------------------------------------


def cmd_compare(args: argparse.Namespace) -> int:
    """Print two experiments side by side."""
    from nightlab.cli.views import print_json, show
    from nightlab.mirroring import reading_alone
    from nightlab.report.pairwise import compare

    settings = settings_of(args.lab)
    with reading_alone(settings) as ledger:
        history = ledger.history(patches=False)
        sides = [_experiment(history, ledger, name) for name in (args.a, args.b)]
    found = compare(history, settings, *sides)
    if args.json:
        print_json(found)
        return 0
    from nightlab.report.standing_screens import pairwise_screen

    show(pairwise_screen(found))
    return 0


def _experiment(history: History, ledger: Ledger, name: str) -> ExperimentState:
    """What a name means.

    Raises:
        NotFoundError: nothing, or several things.
        UsageError: a run of another ledger, which has one value here and no source.
    """
    from nightlab.report.dossier import look_up

    try:
        return look_up(history, name)[0]
    except NotFoundError:
        found = ledger.records.beginning(name) if len(name) >= _SHORTEST else []
        if len(found) != 1 or found[0].experiment is not None:
            raise
    ranked = "" if found[0].ranked else ", made under other conditions"
    raise UsageError(
        f"{found[0].run} was told by another ledger{ranked}: one value, of which the lab has neither seed nor source",
        hint="check its commit out and `nightlab try` it"
        if found[0].commit
        else "make that edit and `nightlab try` it",
    )
