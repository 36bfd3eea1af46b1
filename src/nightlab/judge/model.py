"""The one statistical model of the lab: how noisy a run is, and what runs say of the difference of two experiments.

How runs vary together is in `covariance`, what is believed before them in `prior`; sigma, the standard deviation of
one run, is integrated over a grid here. Arm means have flat priors, so an arm with a single run says nothing of the
noise and costs nothing: only the two arms compared and the arms with two or more runs enter. Nothing depends on the
metric's scale, unless a prior is given in its units.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from types import EllipsisType

import numpy as np

from nightlab.config import JudgeSettings
from nightlab.errors import MetricError, NotFoundError
from nightlab.judge.covariance import Grid, Row, Statistics, grid, mean_point, standardised, statistics
from nightlab.judge.mixture import FloatArray, Mixture
from nightlab.judge.prior import SHIPPED, Prior
from nightlab.types import ExperimentId

__all__ = ["Noise", "Posterior", "Row", "distinct", "noise", "noise_floor", "posterior", "resolution"]

SIGMA_POINTS = 24  # of the grid over log sigma; against 400 points P(better) moves by less than 1e-4 (measured)
NEGLIGIBLE = 1e-6  # grid points with less than this share of the largest weight are dropped
MAX_NOISE_ARMS = 16  # the most recent replicated arms that inform the noise; bounds the work of a verdict
MAX_ARM_ROWS = 32  # the most recent rows of one arm
MAX_ROWS = 160  # in all: the work grows with their cube
DIGITS = 12  # significant digits of a value that are trusted to be more than rounding of binary floats
SMALLEST = 1e-250  # values below are zero: their last digit would no longer be a float
FLOOR_SHARE = 0.1  # smallest sigma believed, in units of the last digit printed
SLACK = 1e-9  # of comparisons with the floor


def distinct(rows: Iterable[Row]) -> list[Row]:
    """Rows in their order, without those that repeat an earlier one's arm, seed and value.

    A deterministic command gives the same value for the same source and seed however often it runs. Counting that
    as new evidence would shrink the interval by running the same thing again.

    Raises:
        MetricError: a value is not finite.
    """
    kept: dict[tuple[ExperimentId, int, float], Row] = {}
    for row in rows:
        if not math.isfinite(row.value):
            raise MetricError(f"{row.arm} has the value {row.value} with seed {row.seed}, which cannot be judged")
        kept.setdefault((row.arm, row.seed, row.value), row)
    return list(kept.values())


def resolution(values: Sequence[float]) -> float:
    """The power of ten that all values are multiples of: how finely the metric was printed, in its units.

    Judged at 12 significant digits of the largest value, so that binary rounding does not hide the decimals. 0.0 if
    all values are zero (or as good as).
    """
    largest = max((abs(value) for value in values), default=0.0)
    if largest < SMALLEST:
        return 0.0
    exponent = math.floor(math.log10(largest)) - DIGITS + 1
    common = math.gcd(*(round(value / 10.0**exponent) for value in values))
    while common and common % 10 == 0:
        common //= 10
        exponent += 1
    return float(10.0**exponent)


def noise_floor(values: Sequence[float]) -> float:
    """Smallest sigma that is believed, in units of the metric.

    Values that are equal to the last printed digit show that the noise is below it, but not that there is none.
    """
    return FLOOR_SHARE * (resolution(values) or 1.0)


def _relevant(rows: Iterable[Row], always: tuple[ExperimentId, ...], effect: float = 0.0) -> list[Row]:
    """Rows of the arms `always` and of the most recent replicated arms, each arm bounded; rows are oldest first."""
    clean = standardised(distinct(rows), effect)
    counts = Counter(row.arm for row in clean)
    recent = dict.fromkeys(row.arm for row in reversed(clean) if counts[row.arm] > 1 and row.arm not in always)
    arms, total = set(always), sum(min(counts[arm], MAX_ARM_ROWS) for arm in always)
    for arm in list(recent)[:MAX_NOISE_ARMS]:
        total += min(counts[arm], MAX_ARM_ROWS)
        if total > MAX_ROWS:
            break
        arms.add(arm)
    seen: Counter[ExperimentId] = Counter()
    kept = []
    for row in reversed(clean):
        seen[row.arm] += 1
        if row.arm in arms and seen[row.arm] <= MAX_ARM_ROWS:
            kept.append(row)
    return kept[::-1]


def _points(rows: Sequence[Row]) -> Grid:
    return grid(any(row.drifts for row in rows) or not rows, any(row.speed is not None for row in rows))


# --- sigma ------------------------------------------------------------------------------------------------------


def _guess_dof(settings: JudgeSettings) -> float:
    return 0.0 if settings.noise is None else settings.noise_runs


def _guess_squares(settings: JudgeSettings) -> float:
    """Sum of squares that the first guess of the noise stands for."""
    return 0.0 if settings.noise is None else settings.noise_runs * settings.noise**2


def _sigma_grid(residual: FloatArray, dof: float, settings: JudgeSettings, floor: float) -> FloatArray:
    """(G, Q) grid of sigma, evenly spaced in its logarithm, around the estimate for each point of the variance grid.

    `residual` (G,) are the sums of squares, `dof` > 0 their degrees of freedom, the guess included. log sigma has a
    standard deviation near 1 / sqrt(2 dof) and a longer upper tail; four of them, and 8 / dof above, leave out less
    than 1e-4 of a scaled inverse chi distribution for every dof >= 1 (checked in the tests).
    """
    centre = np.maximum(np.sqrt((residual + _guess_squares(settings)) / dof), floor)
    width = 4.0 / math.sqrt(2.0 * dof)
    steps = np.linspace(-width, width + 8.0 / dof, SIGMA_POINTS)
    return np.asarray(centre[:, None] * np.exp(steps), dtype=np.float64)


def _log_noise(
    stats: Statistics, points: Grid, sigma: FloatArray, settings: JudgeSettings, contrasts: int, floor: float
) -> FloatArray:
    """(G, Q) log prior of (variance grid, log sigma) plus the terms of the likelihood that do not depend on delta.

    The prior of sigma is flat in its logarithm, or with a first guess the scaled inverse chi square (Gelman et al.,
    Bayesian Data Analysis, 3rd ed., section 3.2) with `noise_runs` degrees of freedom. Below the floor nothing.
    """
    by_point = np.log(points.weight) - 0.5 * stats.logdet
    powers = -(contrasts + _guess_dof(settings)) * np.log(sigma)
    total = by_point[:, None] + powers - _guess_squares(settings) / (2.0 * sigma**2)
    return np.where(sigma < floor * (1.0 - SLACK), -np.inf, total)


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How much a run repeated with another seed at another time differs."""

    sd: float  # posterior median of sigma, units of the metric
    low: float  # 95 % interval of sigma
    high: float
    seed_share: float  # posterior mean of the share of the variance without drift that runs of one seed have in common
    drift_share: float  # posterior mean of the share of the variance that drifts
    dof: float  # degrees of freedom behind it: replicated runs minus their arms, plus what the first guess is worth


def noise(rows: Iterable[Row], settings: JudgeSettings) -> Noise | None:
    """What the lab's replicated runs (and its first guess) say of the noise; None if they say nothing."""
    used = _relevant(rows, (), settings.speed_effect)
    points = _points(used)
    if used:
        stats = statistics(used, None, None, points)
    else:
        zeros = np.zeros(len(points.weight))
        stats = Statistics(zeros, zeros, zeros, zeros, 0)
    dof = stats.contrasts + _guess_dof(settings)
    if dof <= 0:
        return None
    floor = noise_floor([row.value for row in used]) if used else 0.0
    sigma = _sigma_grid(stats.rss, dof, settings, floor)
    logs = _log_noise(stats, points, sigma, settings, stats.contrasts, floor) - stats.rss[:, None] / (2.0 * sigma**2)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    low, middle, high = (_weighted_quantile(sigma.ravel(), weights.ravel(), p) for p in (0.025, 0.5, 0.975))
    by_point = weights.sum(axis=1)
    return Noise(
        sd=middle,
        low=low,
        high=high,
        seed_share=float(by_point @ points.shared),
        drift_share=float(by_point @ points.drift),
        dof=dof,
    )


def _weighted_quantile(values: FloatArray, weights: FloatArray, probability: float) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order]) - 0.5 * weights[order]
    return float(np.exp(np.interp(probability, cumulative, np.log(values[order]))))


# --- the difference of two arms ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Challenger minus champion as losses: negative is better. Units of the metric."""

    better: float  # P(difference < 0)
    mean: float
    low: float  # 95 % interval
    high: float
    sigma: float  # posterior mean of the standard deviation of one run
    dof: float  # degrees of freedom behind sigma
    point: Grid = field(compare=False, repr=False)  # posterior mean of how runs vary together, a grid of one point
    mixture: Mixture = field(compare=False, repr=False)

    @property
    def seed_share(self) -> float:
        """Posterior mean of the share of the variance without drift that runs of one seed have in common."""
        return float(self.point.shared[0])


def posterior(
    challenger: ExperimentId,
    champion: ExperimentId,
    rows: Iterable[Row],
    settings: JudgeSettings,
    prior: Prior | EllipsisType | None = ...,
) -> Posterior | None:
    """Posterior of the difference between two arms, the noise integrated out.

    Args:
        rows: all rows of the lab, oldest first; those that say nothing are passed over.
        prior: what is believed of ideas beforehand, that of the settings unless another is given; None for a flat one
            (an estimate that is not shrunk, with Student-like intervals).

    Returns:
        None if nothing is known of the noise: no arm has two distinct runs and there is no first guess.

    Raises:
        NotFoundError: one of the two arms has no run.
        MetricError: a value is not finite.
        ValueError: both are the same arm.
    """
    if prior is ...:
        prior = SHIPPED[settings.prior]
    if challenger == champion:
        raise ValueError(f"{challenger} cannot be compared with itself")
    used = _relevant(rows, (challenger, champion), settings.speed_effect)
    for arm in (challenger, champion):
        if all(row.arm != arm for row in used):
            raise NotFoundError(f"{arm} has no finished run to judge", hint="run it first: `nightlab replicate`")
    points = _points(used)
    stats = statistics(used, challenger, champion, points)
    dof = stats.contrasts - 1 + _guess_dof(settings)
    if dof <= 0:
        return None
    floor = noise_floor([row.value for row in used if row.arm in (challenger, champion)])
    residual = np.maximum(stats.rss - stats.score**2 / stats.information, 0.0)
    sigma = _sigma_grid(residual, dof, settings, floor)  # (G, Q)
    logs, precision = _log_weights(stats, points, sigma, settings, prior, floor)  # (G, Q, K), (G, Q or 1, K)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    below = 0.5 if prior is None else prior.helps
    mixture = _mixture(weights, stats.score[:, None, None] / precision, sigma, precision, below)
    low, high = mixture.quantiles(np.array([0.025, 0.975]))
    return Posterior(
        better=mixture.below_zero(),
        mean=mixture.mean(),
        low=float(low),
        high=float(high),
        sigma=float((weights.sum(axis=2) * sigma).sum()),
        dof=dof,
        point=mean_point(points, weights.sum(axis=(1, 2))),
        mixture=mixture,
    )


def _log_weights(
    stats: Statistics, points: Grid, sigma: FloatArray, settings: JudgeSettings, prior: Prior | None, floor: float
) -> tuple[FloatArray, FloatArray]:
    """Log weights (G, Q, K) over variance, sigma and the prior's scales, delta integrated out; and delta's precision.

    Given them delta is normal with mean score / precision and variance sigma^2 / precision.
    """
    if prior is None:
        precision = stats.information[:, None, None]
        scale_terms = -0.5 * np.log(precision)
        contrasts = stats.contrasts - 1
    else:
        # (1, 1, K), or (G, Q, K) for scales in units of the metric
        scales = np.array(prior.scales) / (sigma[:, :, None] if prior.absolute else np.ones((1, 1, 1)))
        precision = stats.information[:, None, None] + scales**-2.0
        scale_terms = np.log(np.array(prior.weights)) - 0.5 * np.log(precision * scales**2)
        contrasts = stats.contrasts
    left = np.maximum(stats.rss[:, None, None] - stats.score[:, None, None] ** 2 / precision, 0.0)
    logs = _log_noise(stats, points, sigma, settings, contrasts, floor)[:, :, None] + scale_terms
    return logs - left / (2.0 * sigma[:, :, None] ** 2), precision


def _mixture(weights: FloatArray, means: FloatArray, sigma: FloatArray, precision: FloatArray, below: float) -> Mixture:
    """The mixture of normals over the grid, without its negligible points."""
    keep = weights > NEGLIGIBLE * weights.max()
    spread = np.broadcast_to(sigma[:, :, None] / np.sqrt(precision), weights.shape)
    everywhere = np.broadcast_to(means, weights.shape)
    kept = weights[keep]
    return Mixture(kept / kept.sum(), everywhere[keep], spread[keep], below).compressed()
