"""What would ending runs by their curves have saved, and which winners would it have lost? On labs' recorded nights.

    uv run python benchmarks/early_stopping.py --lab DIR [--lab DIR ...]

The labs must have run with `early.enabled = false`, so that every curve is whole. Each night is replayed in its order:
before each first run of an idea the rule knows only what had ended by then, and the curves of runs that it would have
ended are kept from it ever after. With --fixed X the lab's own margins are replaced by X units of the loss at 60 %.

With --crosswise every finished run takes the champion's place in turn, the others on its seed are held against it, each
with the margins that the rest give: many more cases from the same curves (and so not independent of each other), and
champions of every kind, also wide models that learn late.

A winner lost is a run that the rule would have ended and whose idea was kept, or whose value was better than the
champion's of that moment on the same seed. Minutes are those of training that were still to come, and the evaluation.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from nightlab import early
from nightlab.config import Settings, load_settings
from nightlab.history import History, RunState
from nightlab.judge.curves import Companion, limits
from nightlab.ledger import Ledger
from nightlab.runner.order import RunFiles
from nightlab.runner.progress import read_curve
from nightlab.types import Bounds, Curve, Decision, Finished, Look, Purpose, RunId, Started, StoppedEarly


@dataclass(frozen=True, kw_only=True)
class Case:
    """The first run of an idea, and what the rule says of it."""

    description: str
    bounds: Bounds
    curve: Curve
    wall_s: float
    left_s: float  # seconds of it after the look that would have ended it
    found: StoppedEarly | None
    kept: bool
    difference: float | None  # of the metric from the champion's on the same seed, as a loss

    @property
    def wins(self) -> bool:
        return self.kept or (self.difference is not None and self.difference < 0.0)


def replay(lab: Path, fixed: float | None) -> Iterator[Case]:
    """The first runs of the lab's ideas that finished, oldest first."""
    settings = load_settings(lab)
    with Ledger.read(settings.database) as ledger:
        events = list(ledger.since())
    whole, hidden = History.fold(events), set[RunId]()

    def curve(name: RunId) -> Curve | None:
        return None if name in hidden else read_curve(RunFiles(settings.runs / name).progress)

    past = History()
    for recorded in events:
        event = recorded.event
        if isinstance(event, Started) and event.run.purpose is Purpose.IDEA:
            case = _case(past, whole, settings, whole.runs[event.run.id], curve, fixed)
            if case is not None:
                yield case
                if case.found is not None:
                    hidden.add(event.run.id)
        past.apply(recorded)


def _case(
    past: History, whole: History, settings: Settings, run: RunState, curves: early.Curves, fixed: float | None
) -> Case | None:
    curve = curves(run.run.id)
    if curve is None or run.value is None or run.usage is None or past.champion is None:
        return None
    bounds = early.bounds(past, settings, run.run.experiment, run.run.seed, run.run.purpose, curves)
    assert bounds is not None, "the lab says early.enabled = false: say it only while the nights run"
    champion = next((r for r in past.state(past.champion).finished() if r.run.seed == run.run.seed), None)
    if fixed is not None and champion is not None and not early.unwatched(past, run.run.experiment, past.champion):
        theirs = curves(champion.run.id)
        here = theirs.at(settings.early.main) if theirs else None
        looks = (Look(fraction=settings.early.main, champion=here, margin=fixed),) if here is not None else ()
        bounds = Bounds(looks=looks)
    found = bounds.given_up(curve)
    verdict = whole.state(run.run.experiment).verdict
    difference = None
    if champion is not None and champion.value is not None:
        difference = settings.metric.direction.sign * (run.value - champion.value)
    return Case(
        description=whole.state(run.run.experiment).experiment.description,
        bounds=bounds,
        curve=curve,
        wall_s=run.usage.wall_s,
        left_s=_left_s(run, found.fraction) if found is not None and found.fraction is not None else 0.0,
        found=found,
        kept=verdict is not None and verdict.decision is Decision.KEEP,
        difference=difference,
    )


def crosswise(lab: Path, fixed: float | None) -> tuple[int, int, int, int]:
    """Every run against every other on its seed: (cases, of these better than the champion, stopped, winners lost)."""
    settings = load_settings(lab)
    with Ledger.read(settings.database) as ledger:
        history = ledger.history()
    looks = (settings.early.first, settings.early.main)
    sign = settings.metric.direction.sign
    pool = [
        (run, curve, sign * run.value)
        for run in history.runs.values()
        if run.run.purpose.steers
        and run.value is not None
        and (curve := read_curve(RunFiles(settings.runs / run.run.id).progress)) is not None
    ]
    counts = [0, 0, 0, 0]
    for champion, theirs, level in pool:
        here = [
            (run, Companion(curve=curve, champion=theirs, difference=value - level))
            for run, curve, value in pool
            if run.run.seed == champion.run.seed
            and run.run.experiment != champion.run.experiment
            and not early.unwatched(history, run.run.experiment, champion.run.experiment)
        ]
        for run, case in here:
            found = limits(theirs, [other for name, other in here if name is not run], looks).looks
            if found:
                taken = tuple(replace(look, margin=fixed) for look in found[-1:]) if fixed is not None else found
                wins, stopped = case.difference < 0.0, Bounds(looks=taken).given_up(case.curve) is not None
                for place, counted in enumerate((True, wins, stopped, wins and stopped)):
                    counts[place] += counted
    return counts[0], counts[1], counts[2], counts[3]


def _left_s(run: RunState, fraction: float) -> float:
    """Seconds that a run still had to go; where it did not say how long it trained, its share of them all."""
    assert isinstance(run.outcome, Finished)
    assert run.usage is not None
    training = run.outcome.metrics.extra.get("training_seconds", run.usage.wall_s)
    return (1.0 - fraction) * training


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lab", type=Path, action="append", required=True, metavar="DIR")
    parser.add_argument("--fixed", type=float, metavar="X", help="one margin for all, at the main look only")
    parser.add_argument("--verbose", action="store_true", help="a line for each run")
    parser.add_argument("--crosswise", action="store_true", help="every run against every other on its seed")
    args = parser.parse_args()
    if args.crosswise:
        cases, wins, stopped, lost = (
            sum(column) for column in zip(*(crosswise(lab, args.fixed) for lab in args.lab), strict=True)
        )
        print(f"{cases} cases, {wins} of them better than the champion; {stopped} stopped, {lost} winners lost")
        return
    found = []
    for lab in args.lab:
        here = list(replay(lab, args.fixed))
        _say(str(lab), here)
        found += here
        for case in here if args.verbose else ():
            print(f"    {_line(case)}")
    if len(args.lab) > 1:
        _say("all", found)
    why = Counter(_kind(case.bounds.because) for case in found if case.bounds.because)
    print("not watched: " + "; ".join(f"{number} {reason}" for reason, number in why.most_common()))


def _say(name: str, cases: list[Case]) -> None:
    watched = [case for case in cases if case.bounds.looks]
    stopped = [case for case in cases if case.found is not None]
    lost = [case for case in stopped if case.wins]
    total, saved = sum(case.wall_s for case in cases), sum(case.left_s for case in stopped)
    wins = sum(case.wins for case in watched)
    worth = sum(case.left_s / case.wall_s for case in stopped)
    print(
        f"{name}: {len(cases)} first runs, {len(watched)} watched ({wins} of them winners); {len(stopped)} stopped, "
        f"{saved / 60:.1f} of {total / 60:.1f} minutes saved ({saved / total if total else 0:.1%}), "
        f"{worth:.1f} runs' worth, "
        f"{len(lost)} winners lost{': ' + '; '.join(case.description for case in lost) if lost else ''}"
    )


def _line(case: Case) -> str:
    margins = " ".join(f"{look.margin:.3f}" for look in case.bounds.looks) or case.bounds.because
    lags = [case.curve.at(look.fraction) for look in case.bounds.looks]
    behind = " ".join(
        f"{lag - look.champion:+.3f}" for lag, look in zip(lags, case.bounds.looks, strict=True) if lag is not None
    )
    word = f"stopped at {case.found.fraction:.0%}" if case.found and case.found.fraction else "runs on"
    end = "" if case.difference is None else f"{case.difference:+.4f}"
    return f"{case.description[:44]:44} {word:14} behind {behind or '-'} (margins {margins}) ended {end}"


def _kind(because: str) -> str:
    return "too few runs to compare with" if because[:1].isdigit() else because


if __name__ == "__main__":
    main()
