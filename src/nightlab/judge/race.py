"""The race: keep, discard, or run one side again.

Each idea gets one run. The posterior of the difference to the champion (see `model`) then decides: below `discard`
it is dropped, from `promote` on it is the new champion, in between one more run is spent on the side that tells more,
at most `max_steps` of them. No idea is promoted on a single seed. The champion's runs are pooled for ever.

The rule and its thresholds are those of statistics.md, section 3 ("race"), where it makes 2.6 % false promotions
against 38 % of keeping every best-so-far. A posterior may be looked at after every run without correction, and
hundreds of ideas need none either: both are paid for by the prior (see `model.HELPS`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from nightlab.config import JudgeSettings
from nightlab.judge.model import Posterior, Row, distinct, posterior
from nightlab.judge.planning import more_telling, runs_until_kept
from nightlab.judge.prior import SHIPPED, Prior
from nightlab.judge.wording import chance, chance_of_noise
from nightlab.types import Decision, ExperimentId, Verdict

MIN_SEEDS = 2
"""Distinct seeds that a challenger must have before it is kept: no single run proves anything (design, invariant 5)."""

MIN_DOF = 3.0
"""Degrees of freedom behind the noise below which an idea that looks better is run again rather than dropped.

The discard threshold asks for a first run about 1.5 standard deviations better than the champion. With one degree of
freedom (two baseline runs) the same threshold lies at 4.5 estimated ones, with two at 2.4, with three at 2.0 (the
93 % points of Student's t): a lab whose two baseline runs happen to lie far apart would drop everything, learn
nothing of its noise, and go on so all night. It costs a few runs once per lab, none where a first guess is given.
"""

LOOKS_BETTER = 0.6  # probability, with both sides equally likely beforehand, from which MIN_DOF protects an idea


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What an idea must gain to be kept: nothing, or what its code and memory cost; less than nothing if it saves."""

    gain: float = 0.0  # units of the metric
    sigmas: float = 0.0  # standard deviations of one run, on top
    why: str = ""  # in words, for the verdict

    def height(self, sigma: float) -> float:
        """In units of the metric."""
        return self.gain + self.sigmas * sigma


FREE = Bar()


def judge(
    challenger: ExperimentId,
    champion: ExperimentId,
    rows: Iterable[Row],
    settings: JudgeSettings,
    steps_taken: int = 0,
    *,
    prior: Prior | None = None,
    bar: Bar = FREE,
    insist: bool = False,
) -> Verdict:
    """What the runs so far say of the challenger.

    Args:
        rows: every row of the lab that may steer (no final runs), oldest first, as losses.
        steps_taken: extra runs that this challenger's race has cost so far, on either side.
        prior: what is believed of ideas here before they run; None: what the settings name.
        bar: what the idea must gain; the verdict's probability is that of a gain above it.
        insist: whether to run one side again whatever the numbers say.

    Returns:
        A verdict whose gain and interval are in units of the metric, positive is better. RETEST names the side to
        run again in `replicate`; `next_seed` says with which seed.

    Raises:
        NotFoundError: one of the two has no run.
        ValueError: both are the same experiment.
        MetricError: a value is not finite.
    """
    clean = distinct(rows)
    prior = prior or SHIPPED[settings.prior]
    belief = posterior(challenger, champion, clean, settings, prior)
    runs = sum(row.arm == challenger for row in clean)
    against = sum(row.arm == champion for row in clean)
    seeds = len({row.seed for row in clean if row.arm == challenger})
    height = 0.0 if belief is None else bar.height(belief.sigma)
    worth = None if belief is None else belief.mixture.mass_below(-height) if height else belief.better
    decision = Decision.RETEST if insist else _decide(belief, worth, seeds, settings, steps_taken, prior)
    side = None
    if decision is Decision.RETEST:
        side = _side(challenger, champion, clean, belief, worth, seeds, settings)
    case = _Case(decision, belief, worth, height, bar.why, seeds, steps_taken, side == challenger)
    return Verdict(
        experiment=challenger,
        champion=champion,
        decision=decision,
        because=f"{_reason(case, settings)}; {_count(runs)} against {against}",
        gain=None if belief is None else -belief.mean,
        low=None if belief is None else -belief.high,
        high=None if belief is None else -belief.low,
        probability=worth,
        runs_used=runs,
        replicate=side,
    )


def is_near_miss(verdict: Verdict, settings: JudgeSettings) -> bool:
    """Whether the idea was dropped because its runs were used up, not because it looked no better."""
    probability = verdict.probability
    return verdict.decision is Decision.DISCARD and probability is not None and probability > settings.discard


def next_seed(own: frozenset[int], other: frozenset[int], sequence: Callable[[int], int]) -> int:
    """The seed that the next run of a side should take.

    First the lowest that the other side has and this one lacks, since what a seed does to both cancels; then the first
    of the lab's `sequence` (0, 1, 2 ... -> seed) that this side has not had.
    """
    shared = sorted(other - own)
    return shared[0] if shared else next(seed for k in itertools.count() if (seed := sequence(k)) not in own)


# --- the decision -----------------------------------------------------------------------------------------------


def _evidence(worth: float, prior: Prior) -> float:
    """P(worth keeping) if both sides had been equally likely beforehand."""
    odds_for = worth * (1.0 - prior.helps)
    odds_against = (1.0 - worth) * prior.helps
    return odds_for / (odds_for + odds_against)


def _decide(
    belief: Posterior | None,
    worth: float | None,
    seeds: int,
    settings: JudgeSettings,
    steps_taken: int,
    prior: Prior,
) -> Decision:
    exhausted = steps_taken >= settings.max_steps
    if belief is not None and worth is not None:
        if worth >= settings.promote and seeds >= MIN_SEEDS:
            return Decision.KEEP
        protected = belief.dof < MIN_DOF and _evidence(worth, prior) >= LOOKS_BETTER
        if worth <= settings.discard and not protected:
            return Decision.DISCARD
    return Decision.DISCARD if exhausted else Decision.RETEST


def _side(
    challenger: ExperimentId,
    champion: ExperimentId,
    rows: Sequence[Row],
    belief: Posterior | None,
    worth: float | None,
    seeds: int,
    settings: JudgeSettings,
) -> ExperimentId:
    """The side to run again."""
    if belief is None or worth is None:
        return champion
    if seeds < MIN_SEEDS and worth >= settings.promote:
        return challenger
    return more_telling(challenger, champion, rows, belief.point)


# --- planning ---------------------------------------------------------------------------------------------------


def runs_needed(
    challenger: ExperimentId,
    champion: ExperimentId,
    rows: Iterable[Row],
    settings: JudgeSettings,
    *,
    prior: Prior | None = None,
) -> int | None:
    """How many more runs, on either side, would prove the challenger if it is as good as believed. 0 if it is proven.

    Its gain is taken to be the posterior median of those above zero: whether it is better at all is what the runs are
    for, so the doubt of that makes them no more.

    Args:
        prior: as for `judge`.

    Returns:
        None if the judge would drop it, the noise is unknown, or `FAR` runs would not do.
    """
    clean = distinct(rows)
    prior = prior or SHIPPED[settings.prior]
    belief = posterior(challenger, champion, clean, settings, prior)
    if belief is None or belief.better <= settings.discard:
        return None
    if belief.better >= settings.promote and len({row.seed for row in clean if row.arm == challenger}) >= MIN_SEEDS:
        return 0
    gain = -float(belief.mixture.quantiles(np.array([0.5 * belief.better]))[0])
    return runs_until_kept(challenger, champion, clean, gain, settings, prior, point=belief.point, fewest=MIN_SEEDS)


# --- the headline -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two experiments side by side."""

    gain: float  # by how much the first is better, units of the metric
    low: float  # 95 % interval
    high: float
    probability: float  # P(the first is better)
    runs: int
    runs_against: int


def compare(
    a: ExperimentId,
    b: ExperimentId,
    rows: Iterable[Row],
    settings: JudgeSettings,
    noise_rows: Iterable[Row] = (),
) -> Comparison | None:
    """By how much `a` is better than `b`, not shrunk: for the fresh seeds at the end of a night.

    Rows that were used to choose `a` would flatter it. Give the final rows alone as `rows`; the others may help to
    know the noise, and only that, as `noise_rows`.

    Returns:
        None if nothing is known of the noise.

    Raises:
        NotFoundError: one of the two has no run.
        ValueError: both are the same experiment.
        MetricError: a value is not finite.
    """
    final = [row for row in distinct(rows) if row.arm in (a, b)]
    others = [replace(row, arm=ExperimentId(f"noise of {row.arm}")) for row in noise_rows]
    return _comparison(a, b, final, posterior(a, b, [*others, *final], settings, None))


def standing(
    champion: ExperimentId,
    baseline: ExperimentId,
    rows: Iterable[Row],
    settings: JudgeSettings,
) -> Comparison | None:
    """By how much the champion of the moment is believed better than the baseline, from the runs that chose it.

    The posterior mean under the judge's prior: what to show while the night runs, before `compare` on fresh seeds can
    say it without flattery. Adding up the gains of the promotions instead would shrink at every step.

    Returns:
        None if nothing is known of the noise.

    Raises:
        NotFoundError: one of the two has no run.
        ValueError: both are the same experiment.
        MetricError: a value is not finite.
    """
    clean = distinct(rows)
    belief = posterior(champion, baseline, clean, settings)
    return _comparison(champion, baseline, clean, belief)


def _comparison(a: ExperimentId, b: ExperimentId, rows: Sequence[Row], belief: Posterior | None) -> Comparison | None:
    if belief is None:
        return None
    return Comparison(
        gain=-belief.mean,
        low=-belief.high,
        high=-belief.low,
        probability=belief.better,
        runs=sum(row.arm == a for row in rows),
        runs_against=sum(row.arm == b for row in rows),
    )


# --- words ------------------------------------------------------------------------------------------------------


def _count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"


def _decimals(belief: Posterior) -> int:
    half = 0.5 * (belief.high - belief.low)
    return 6 if not half > 0.0 else min(max(1 - math.floor(math.log10(half)), 0), 12)


def _numbers(belief: Posterior) -> tuple[str, str, str]:
    """Gain and interval, with two digits of the interval's half width."""
    decimals = _decimals(belief)
    mean, low, high = (round(value, decimals) + 0.0 for value in (-belief.mean, -belief.high, -belief.low))
    return f"{mean:.{decimals}f}", f"{low:.{decimals}f}", f"{high:.{decimals}f}"


@dataclass(frozen=True, slots=True)
class _Case:
    """What a verdict's sentence is made of."""

    decision: Decision
    belief: Posterior | None
    worth: float | None  # P(gain above the bar)
    height: float  # of the bar, units of the metric
    why: str  # the bar is where it is
    seeds: int  # of the challenger
    steps_taken: int
    ours: bool  # whether the challenger runs again


def _reason(case: _Case, settings: JudgeSettings) -> str:
    """One plain sentence, without its final full stop."""
    belief, worth = case.belief, case.worth
    who = "this idea" if case.ours else "the champion"
    if belief is None or worth is None:
        if case.decision is Decision.RETEST:
            return "not proven yet: nothing is known of the noise until the champion has run again"
        return "not proven: nothing is known of the noise"
    mean, low, high = _numbers(belief)
    estimate = f"gain {mean}, 95 % interval {low} to {high}"
    priced = _priced(case, belief)
    what = "P(better)" if not priced else "P(worth it)"
    if case.decision is Decision.KEEP:
        interval = f"(95 % interval {low} to {high})"
        if case.height < 0.0:
            return f"no worse and cheaper{priced}: gain {mean} {interval}, {chance(worth)} of being worse"
        return f"better by {mean} {interval}{priced}, {chance_of_noise(worth)}"
    if case.decision is Decision.RETEST:
        if case.seeds < MIN_SEEDS and worth >= settings.promote:
            return f"not proven yet: one seed proves nothing, {who} runs again ({estimate}{priced})"
        return f"not proven yet: {what} is {worth:.2f}, {who} runs again ({estimate}{priced})"
    if worth <= settings.discard:
        if priced and belief.better > settings.discard:
            return f"no evidence that it gains enough ({estimate}{priced})"
        return f"no evidence of a gain ({estimate}{priced})"
    return f"not proven in {_count(case.steps_taken)} beyond the first: {what} is {worth:.2f} ({estimate}{priced})"


def _priced(case: _Case, belief: Posterior) -> str:
    """What the bar adds to a sentence; empty where it is at zero."""
    if case.height == 0.0:
        return ""
    height = f"{abs(case.height):.{_decimals(belief)}f}"
    if case.height < 0.0:
        return f"; it may cost {height} for {case.why}"
    return f"; it must gain {height} for {case.why}"
