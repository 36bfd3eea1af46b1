"""How small a gain can be shown in how many runs, and what a night has room for.

All gains here are in standard deviations of one run, so one answer serves every metric. "Shown" is what the race
calls proven: P(better) of at least `promote` under the judge's prior. Nothing is derived a second time: where that
threshold lies is found by asking `model.posterior` and `race.judge` themselves, with the noise given as known, and
two sides whose runs have no seed in common, on a machine that does not drift: with a noise that is given as known,
a drift that is not would contradict it. A lab compares seed by seed, and runs near each other in time: both prove a
gain of the told size rather more often than told, even where seeds and machine do nothing (the tests hold all three).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist

import numpy as np

from nightlab.config import JudgeSettings
from nightlab.judge import race
from nightlab.judge.mixture import FloatArray
from nightlab.judge.model import Row, posterior
from nightlab.judge.prior import GENERIC
from nightlab.types import Decision, ExperimentId

POWER = 0.8  # of the true gains of the size told so many are shown: the custom of planning (Cohen 1988)
NIGHT_HOURS = 8.0

_OURS, _THEIRS = ExperimentId("an idea"), ExperimentId("the champion")
_SURE = 1e6  # runs that the given noise is worth: as good as known
_REACH = 4.0 * math.pi  # standard deviations; no round number, or the judge would think the values coarsely printed
_STEPS = 12  # of a bisection over twice that: to 0.006 standard deviations
_IDEAS = 20_000  # that are simulated: a share of 0.8 is known to 0.003
_SEED = 1  # of the simulation, fixed: the same command gets the same answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What a rule costs and shows."""

    name: str
    runs: float  # that an idea costs on average, on either side
    most: int  # that one idea can cost
    gain: float  # smallest true gain that is shown with probability POWER, in standard deviations of one run
    first: int  # runs of the champion before the first idea


@dataclass(frozen=True, slots=True)
class Night:
    """What a night on one place has room for."""

    runs: int
    ideas: int


@dataclass(frozen=True, slots=True)
class Luck:
    """What keeping every best-so-far makes of pure noise."""

    keeps: float  # expected number of false keeps
    gain: float  # expected gain believed in at the end, in standard deviations of one run


@cache
def fixed(runs: int, settings: JudgeSettings) -> Reach:
    """The rule "run each idea `runs` times, and the champion as often"; at least 2 runs.

    An idea is shown if its mean beats the champion's by the threshold of the posterior, which happens with
    probability POWER if its true gain lies POWER's quantile of the difference's standard error above it.
    """
    known = _known(settings)

    def is_shown(gain: float) -> bool:
        belief = posterior(_OURS, _THEIRS, _rows(runs, runs, gain), known)
        return belief is not None and belief.better >= settings.promote

    threshold = _smallest(is_shown)
    gain = threshold + NormalDist().inv_cdf(POWER) * math.sqrt(2.0 / runs)
    return Reach(name=f"{runs} runs an idea", runs=runs, most=runs, gain=gain, first=runs)


@cache
def raced(settings: JudgeSettings) -> Reach:
    """The lab's own rule: one run an idea, more only for those that look better.

    Where its thresholds lie after each number of runs is asked of `race.judge`; ideas are then drawn, for its cost
    from the judge's prior, for its power with one true gain, and sent through them. A champion with no more runs than
    a night begins with is assumed, so late in a night smaller gains are shown.
    """
    stages = _stages(settings)
    rng = np.random.default_rng(_SEED)
    noise = rng.standard_normal((2, _IDEAS, stages[-1].ours + stages[-1].theirs))
    scales = rng.choice(np.array(GENERIC.scales), size=_IDEAS, p=np.array(GENERIC.weights))
    side = np.where(rng.random(_IDEAS) < GENERIC.helps, 1.0, -1.0)
    _, runs = _race(stages, side * np.abs(scales * rng.standard_normal(_IDEAS)), noise)

    def is_shown(gain: float) -> bool:
        kept, _ = _race(stages, np.full(_IDEAS, gain), noise)
        return kept >= POWER

    return Reach(
        name="the lab's race",
        runs=runs,
        most=1 + settings.max_steps,
        gain=_smallest(is_shown),
        first=settings.baseline_runs,
    )


def night(reach: Reach, run_s: float, settings: JudgeSettings, hours: float = NIGHT_HOURS) -> Night:
    """How many runs and ideas `hours` hold, one run of `run_s` seconds at a time, the final block included."""
    runs = math.floor(hours * 3600.0 / run_s)
    left = runs - reach.first - 2 * settings.final_runs
    return Night(runs, max(math.floor(left / reach.runs), 0))


def luck(ideas: int) -> Luck:
    """Pure noise, one run an idea, every new best kept: records and maximum of `ideas` + 1 equal normal values.

    The k-th value is the best so far with probability 1/k. The mean of the maximum is the integral of 1 - F^n above
    zero minus that of F^n below, both taken as one sum over the upper half (midpoints 0.01 apart, up to 9).
    """
    n, step = ideas + 1, 0.01
    keeps = math.fsum(1.0 / k for k in range(2, n + 1))
    tails = [0.5 * math.erfc((k + 0.5) * step / math.sqrt(2.0)) for k in range(900)]
    return Luck(keeps, step * math.fsum(1.0 - (1.0 - tail) ** n - tail**n for tail in tails))


# --- asking the judge -------------------------------------------------------------------------------------------


def _known(settings: JudgeSettings) -> JudgeSettings:
    return replace(settings, noise=1.0, noise_runs=_SURE)


def _rows(ours: int, theirs: int, gain: float) -> list[Row]:
    """Runs whose means differ by exactly `gain`, no seed in common.

    Values that are equal side by side would pass for those of a machine that drifts slowly, so none may drift.
    """
    sides = [_THEIRS] * theirs + [_OURS] * ours
    return [
        Row(arm, seed=place, slot=place, value=0.0 if arm == _THEIRS else -gain, drifts=False)
        for place, arm in enumerate(sides)
    ]


def _smallest(holds: Callable[[float], bool]) -> float:
    """The gain from which something holds; infinite if it does not at _REACH."""
    low, high = -_REACH, _REACH
    if not holds(high):
        return math.inf
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high


@dataclass(frozen=True, slots=True)
class _Stage:
    """The race after so many runs of an idea and of the champion."""

    ours: int
    theirs: int
    goes_on: float  # observed gain from which the idea is not dropped
    kept: float  # observed gain from which it is kept


def _stages(settings: JudgeSettings) -> list[_Stage]:
    """Every stage that a race can reach, in order."""
    known = _known(settings)
    ours, theirs, found = 1, settings.baseline_runs, []
    for steps in range(settings.max_steps + 1):
        found.append(_stage(ours, theirs, known, steps))
        between = race.judge(_OURS, _THEIRS, _rows(ours, theirs, found[-1].goes_on), known, steps)
        ours, theirs = (ours, theirs + 1) if between.replicate == _THEIRS else (ours + 1, theirs)
    return found


def _stage(ours: int, theirs: int, known: JudgeSettings, steps: int) -> _Stage:
    def decision(gain: float) -> Decision:
        return race.judge(_OURS, _THEIRS, _rows(ours, theirs, gain), known, steps).decision

    return _Stage(
        ours=ours,
        theirs=theirs,
        goes_on=_smallest(lambda gain: decision(gain) is not Decision.DISCARD),
        kept=_smallest(lambda gain: decision(gain) is Decision.KEEP),
    )


def _race(stages: list[_Stage], gains: FloatArray, noise: FloatArray) -> tuple[float, float]:
    """Share of the ideas with these true `gains` (n,) that are kept, and the mean number of runs that one costs.

    `noise` (2, n, runs) are the errors of the idea's and the champion's runs in their order.
    """
    going = np.ones(len(gains), dtype=bool)
    kept = runs = 0
    for stage in stages:
        runs += int(going.sum())
        seen = gains + noise[0, :, : stage.ours].mean(axis=1) - noise[1, :, : stage.theirs].mean(axis=1)
        kept += int((going & (seen >= stage.kept)).sum())
        going = going & (seen >= stage.goes_on) & (seen < stage.kept)
    return kept / len(gains), runs / len(gains)
