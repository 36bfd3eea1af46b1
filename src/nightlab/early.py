"""Against what a run is held while it goes on: the search's and the judge's pure functions, composed over a history.

Only the first run of an idea of the search is ended by its curve. A baseline, a replicate or a final run is run for
its number; so is what a person or an agent brought (`try`): whoever asked for that run wants to see it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from statistics import median

from nightlab.config import Settings
from nightlab.history import ExperimentState, History, RunState
from nightlab.judge.curves import Companion, limits
from nightlab.search.comparable import incomparable
from nightlab.types import Bounds, Curve, ExperimentId, NightId, Purpose, RunId

Curves = Callable[[RunId], Curve | None]
"""The curve of a run that has ended, if it told of any."""

MAX_COMPANIONS = 400
"""Finished runs that a margin rests on, the latest of them: twice what its conformal quantile needs."""

USUAL = 5  # the champion's latest runs, whose median wall-clock time is the usual one


def bounds(
    history: History, settings: Settings, experiment: ExperimentId, seed: int, purpose: Purpose, curves: Curves
) -> Bounds | None:
    """What the next run of an experiment is held against; None where the lab wants no run ended early.

    Args:
        history: all that is known.
        settings: the lab.
        experiment: what is to be run.
        seed: its seed.
        purpose: why it is run.
        curves: of runs that have ended.
    """
    if not settings.early.enabled:
        return None
    champion = history.champion
    if champion is None:
        return Bounds(because="there is no champion yet")
    champions = [run for run in _measured(history.state(champion)) if run.usage is not None]
    usual = median(run.usage.wall_s for run in champions[-USUAL:] if run.usage) if champions else None
    why = unwatched(history, experiment, champion)
    theirs = next((curve for run in champions if run.run.seed == seed and (curve := curves(run.run.id))), None)
    if not why and theirs is None:
        why = "the champion has left no curve on this seed"
    if why or theirs is None:
        return Bounds(because=why, usual_s=usual)
    ceiling = _ceiling(theirs)
    if purpose is not Purpose.IDEA or history.state(experiment).experiment.plan.seeds != 1:
        return Bounds(because="it is run for its number", usual_s=usual, ceiling=ceiling)
    companions = _companions(history, settings, champion, curves)
    found = limits(theirs, companions, (settings.early.first, settings.early.main))
    night = history.night.began.night if history.night else None
    return Bounds(
        looks=found.looks,
        because=found.because,
        spared=bool(found.looks) and is_audited(experiment, night, settings.early.audit),
        usual_s=usual,
        ceiling=ceiling,
    )


def is_audited(experiment: ExperimentId, night: NightId | None, share: float) -> bool:
    """Whether a run is let finish to audit the looks: by lot, and always the same for one experiment in one night."""
    lot = int.from_bytes(hashlib.sha256(f"{night}:{experiment}".encode()).digest()[:8]) / 2.0**64
    return lot < share


def between(history: History, one: ExperimentId, other: ExperimentId) -> list[ExperimentState]:
    """The experiments whose changes lie between two of one line: those above either and not above both."""
    above = [_ancestors(history, name) for name in (one, other)]
    shared = {state.experiment.id for state in above[0]} & {state.experiment.id for state in above[1]}
    return [state for side in above for state in side if state.experiment.id not in shared]


def _ancestors(history: History, experiment: ExperimentId) -> list[ExperimentState]:
    """The experiment and its parents."""
    found: list[ExperimentState] = []
    here: ExperimentId | None = experiment
    while here is not None and here in history.experiments and len(found) < len(history.experiments):
        found.append(history.state(here))
        here = found[-1].experiment.parent
    return found


def unwatched(history: History, experiment: ExperimentId, champion: ExperimentId) -> str:
    """Why the experiment's curve cannot be held against the champion's; "" if it can."""
    if experiment == champion:
        return "it is the champion"
    if history.state(experiment).root != history.state(champion).root:
        return "it is of another line than the champion"
    return next(
        (why for state in between(history, experiment, champion) if (why := incomparable(state.experiment))), ""
    )


def _companions(history: History, settings: Settings, champion: ExperimentId, curves: Curves) -> list[Companion]:
    """The lab's latest finished runs, on seeds that the champion has run, whose curves can be held against its own."""
    sign = settings.metric.direction.sign
    theirs: dict[int, tuple[Curve, float]] = {}
    for run in _measured(history.state(champion)):
        if run.value is not None and (curve := curves(run.run.id)) is not None:
            theirs.setdefault(run.run.seed, (curve, run.value))
    others = {
        state.experiment.id: state
        for state in history.line
        if state.experiment.id != champion and not unwatched(history, state.experiment.id, champion)
    }
    found: list[Companion] = []
    for run in reversed(history.runs.values()):
        known = theirs.get(run.run.seed)
        if run.run.experiment not in others or known is None or not _is_measured(run) or run.value is None:
            continue
        if (curve := curves(run.run.id)) is not None:
            found.append(Companion(curve=curve, champion=known[0], difference=sign * (run.value - known[1])))
        if len(found) == MAX_COMPANIONS:
            break
    return found


def _measured(state: ExperimentState) -> list[RunState]:
    """The runs of an experiment whose curves count: finished, believed, and none of a final block's."""
    return [run for run in state.runs if _is_measured(run)]


def _is_measured(run: RunState) -> bool:
    return run.run.purpose.steers and run.value is not None and run.is_believed


def _ceiling(curve: Curve) -> float | None:
    """A loss that only a diverged run has: as far above the champion's beginning as its end lies below."""
    first, last = (curve.points[0][1], curve.points[-1][1]) if curve.points else (0.0, 0.0)
    return 2.0 * first - last if first > last else None
