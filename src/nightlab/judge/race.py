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
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from nightlab.config import JudgeSettings
from nightlab.judge.model import PRIOR, Posterior, Row, distinct, posterior
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

MAX_RUNS_AHEAD = 16  # how far `runs_needed` looks


def judge(
    challenger: ExperimentId,
    champion: ExperimentId,
    rows: Iterable[Row],
    settings: JudgeSettings,
    steps_taken: int = 0,
) -> Verdict:
    """What the runs so far say of the challenger.

    Args:
        rows: every row of the lab that may steer (no final runs), oldest first, as losses.
        steps_taken: extra runs that this challenger's race has cost so far, on either side.

    Returns:
        A verdict whose gain and interval are in units of the metric, positive is better. RETEST names the side to
        run again in `replicate`; `next_seed` says with which seed.

    Raises:
        NotFoundError: one of the two has no run.
        ValueError: both are the same experiment.
        MetricError: a value is not finite.
    """
    clean = distinct(rows)
    belief = posterior(challenger, champion, clean, settings)
    runs = sum(row.arm == challenger for row in clean)
    against = sum(row.arm == champion for row in clean)
    seeds = len({row.seed for row in clean if row.arm == challenger})
    decision = _decide(belief, seeds, settings, steps_taken)
    side = None
    if decision is Decision.RETEST:
        side = _side(challenger, champion, clean, belief, seeds, settings)
    reason = _reason(decision, belief, seeds, settings, steps_taken, side == challenger)
    return Verdict(
        experiment=challenger,
        champion=champion,
        decision=decision,
        because=f"{reason}; {_count(runs)} against {against}",
        gain=None if belief is None else -belief.mean,
        low=None if belief is None else -belief.high,
        high=None if belief is None else -belief.low,
        probability=None if belief is None else belief.better,
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


def _evidence(belief: Posterior) -> float:
    """P(better) if both sides had been equally likely beforehand."""
    odds_for = belief.better * (1.0 - PRIOR.helps)
    odds_against = (1.0 - belief.better) * PRIOR.helps
    return odds_for / (odds_for + odds_against)


def _decide(belief: Posterior | None, seeds: int, settings: JudgeSettings, steps_taken: int) -> Decision:
    exhausted = steps_taken >= settings.max_steps
    if belief is not None:
        if belief.better >= settings.promote and seeds >= MIN_SEEDS:
            return Decision.KEEP
        protected = belief.dof < MIN_DOF and _evidence(belief) >= LOOKS_BETTER
        if belief.better <= settings.discard and not protected:
            return Decision.DISCARD
    return Decision.DISCARD if exhausted else Decision.RETEST


def _side(
    challenger: ExperimentId,
    champion: ExperimentId,
    rows: Sequence[Row],
    belief: Posterior | None,
    seeds: int,
    settings: JudgeSettings,
) -> ExperimentId:
    """The side whose next run leaves the smaller variance of the difference; the challenger if both do alike."""
    if belief is None:
        return champion
    if seeds < MIN_SEEDS and belief.better >= settings.promote:
        return challenger
    design = _pair_design(challenger, champion, rows)
    ours = _variance(_with_next(design, True), belief.seed_share)
    theirs = _variance(_with_next(design, False), belief.seed_share)
    return champion if theirs < ours * (1.0 - 1e-9) else challenger


# --- planning ---------------------------------------------------------------------------------------------------

_Design = tuple[tuple[bool, int], ...]
"""Runs of a pair: (whether the challenger's, seed)."""


def _pair_design(challenger: ExperimentId, champion: ExperimentId, rows: Iterable[Row]) -> _Design:
    return tuple((row.arm == challenger, row.seed) for row in rows if row.arm in (challenger, champion))


def _with_next(design: _Design, ours: bool) -> _Design:
    """The design after one more run on one side, with the seed that `next_seed` would take."""
    own = {seed for side, seed in design if side is ours}
    unpaired = [seed for side, seed in design if side is not ours and seed not in own]
    fresh = max(seed for _, seed in design) + 1
    return (*design, (ours, unpaired[0] if unpaired else fresh))


def _variance(design: _Design, seed_share: float) -> float:
    """Variance of the estimated difference (generalised least squares), in units of sigma squared."""
    side = np.array([[1.0, 1.0] if ours else [1.0, 0.0] for ours, _ in design])
    seeds = np.array([seed for _, seed in design])
    covariance = seed_share * (seeds[:, None] == seeds[None, :]) + (1.0 - seed_share) * np.eye(len(seeds))
    information = side.T @ np.linalg.solve(covariance, side)
    return float(np.linalg.inv(information)[1, 1])


def runs_needed(
    challenger: ExperimentId, champion: ExperimentId, rows: Iterable[Row], settings: JudgeSettings
) -> int | None:
    """How many more runs, on either side, would prove the challenger if the present estimate is right.

    The posterior mean and the noise are taken as true; each run goes where it tells more. 0 if it is proven now.

    Returns:
        None if the estimate is no gain, the noise is unknown, or `MAX_RUNS_AHEAD` runs would not do.
    """
    clean = distinct(rows)
    belief = posterior(challenger, champion, clean, settings)
    if belief is None or belief.mean >= 0.0:
        return None
    odds = settings.promote / (1.0 - settings.promote) * (1.0 - PRIOR.helps) / PRIOR.helps
    needed = NormalDist().inv_cdf(odds / (1.0 + odds))
    design = _pair_design(challenger, champion, clean)
    for extra in range(MAX_RUNS_AHEAD + 1):
        ours = len({seed for side, seed in design if side})
        reached = -belief.mean >= needed * belief.sigma * math.sqrt(_variance(design, belief.seed_share))
        proven = belief.better >= settings.promote if extra == 0 else reached
        if proven and ours >= MIN_SEEDS:
            return extra
        options = (_with_next(design, True), _with_next(design, False))
        design = options[0] if proven else min(options, key=lambda option: _variance(option, belief.seed_share))
    return None


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
    others = [Row(ExperimentId(f"noise of {row.arm}"), row.seed, row.slot, row.value) for row in noise_rows]
    return _comparison(a, b, final, posterior(a, b, [*others, *final], settings, prior=None))


def standing(
    champion: ExperimentId, baseline: ExperimentId, rows: Iterable[Row], settings: JudgeSettings
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
    return _comparison(champion, baseline, clean, posterior(champion, baseline, clean, settings))


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

SHORTEST_ODDS = 10_000  # "1 chance in ..." is not spelled out beyond


def _count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"


def _chance(better: float) -> str:
    """The chance of being wrong in words, to two digits."""
    wrong = 1.0 - better
    if wrong * SHORTEST_ODDS < 1.0:
        return f"less than 1 chance in {SHORTEST_ODDS:,} of being noise"
    odds = 1.0 / wrong
    step = 10 ** max(math.floor(math.log10(odds)) - 1, 0)
    return f"about 1 chance in {round(odds / step) * step:,} of being noise"


def _numbers(belief: Posterior) -> tuple[str, str, str]:
    """Gain and interval, with two digits of the interval's half width."""
    half = 0.5 * (belief.high - belief.low)
    decimals = 6 if not half > 0.0 else min(max(1 - math.floor(math.log10(half)), 0), 12)
    mean, low, high = (round(value, decimals) + 0.0 for value in (-belief.mean, -belief.high, -belief.low))
    return f"{mean:.{decimals}f}", f"{low:.{decimals}f}", f"{high:.{decimals}f}"


def _reason(
    decision: Decision,
    belief: Posterior | None,
    seeds: int,
    settings: JudgeSettings,
    steps_taken: int,
    ours: bool,
) -> str:
    """One plain sentence, without its final full stop."""
    who = "this idea" if ours else "the champion"
    if belief is None:
        if decision is Decision.RETEST:
            return "not proven yet: nothing is known of the noise until the champion has run again"
        return "not proven: nothing is known of the noise"
    mean, low, high = _numbers(belief)
    estimate = f"gain {mean}, 95 % interval {low} to {high}"
    if decision is Decision.KEEP:
        return f"better by {mean} (95 % interval {low} to {high}), {_chance(belief.better)}"
    if decision is Decision.RETEST:
        if seeds < MIN_SEEDS and belief.better >= settings.promote:
            return f"not proven yet: one seed proves nothing, {who} runs again ({estimate})"
        return f"not proven yet: P(better) is {belief.better:.2f}, {who} runs again ({estimate})"
    if belief.better <= settings.discard:
        return f"no evidence of a gain ({estimate})"
    return f"not proven in {_count(steps_taken)} beyond the first: P(better) is {belief.better:.2f} ({estimate})"
