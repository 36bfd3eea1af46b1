"""The one statistical model of the lab: y = mean of the arm + effect of the seed + noise.

    y_ij = mu_i + b_j + e_ij,   b_j ~ N(0, rho sigma^2),   e_ij ~ N(0, (1 - rho) sigma^2)

for a run of arm i (an experiment) with seed j. sigma is the standard deviation of one run, rho the share of its
variance that all arms with the same seed have in common. Comparing seed by seed (rho near 1) and comparing pooled
means (rho near 0) are two cases of it, and the data say which one holds.

Both are unknown and integrated over a grid. Arm means have flat priors, so an arm with a single run says nothing of
the noise and costs nothing: only the two arms compared and the arms with two or more runs enter. The difference of
the two arms has a heavy-tailed prior in units of sigma (see `PRIOR`), so nothing depends on the metric's scale.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nightlab.config import JudgeSettings
from nightlab.errors import MetricError, NotFoundError
from nightlab.judge.mixture import FloatArray, Mixture
from nightlab.types import ExperimentId

# --- rows -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """One finished run, as the judge sees it."""

    arm: ExperimentId
    seed: int
    slot: int  # place in the lab's order of runs; reserved for a model of drift, not read yet
    value: float  # a loss, lower is better, in units of the metric


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


# --- priors and grids -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Prior:
    """What is believed of challenger minus champion (as losses) before the runs.

    A mixture of zero-mean normals with standard deviations `scales` (in units of sigma), the mass `helps` on the
    side where the challenger is better and the rest on the other; the two sides have the same shape.
    """

    helps: float
    scales: tuple[float, ...]
    weights: tuple[float, ...]


HELPS = 0.07
"""Share of ideas that truly help: 217 H100 agent runs, noise deconvolved (statistics.md, 2a and 3).

This is what pays for a night of a hundred ideas: each idea starts at odds of 13 to 1 against, so that a posterior of
0.95 needs evidence of about 250 to 1, and the share of false ones among those promoted is 5 % at most as long as the
prior holds, however many ideas are tried and however often one looks. Where ideas help more often (34 % new bests in
24 logs of small GPUs) they also help by 10 to 100 times the noise, and this prior then costs nothing.
"""

EFFECT_SCALE = 2.0
"""Median size of an effect, in units of sigma.

A Cauchy distribution of this scale with 7 % below zero has the quartiles 0.6, 1.8 and 4.5 sigma; the H100 agents'
deltas have 0.7, 2.1 and 4.9 (statistics.md, 2a, with sigma = 0.0005 from 2b).
"""


def cauchy_mixture(
    scale: float, points: int = 10, first: float = 2.0**-1.5
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """A Cauchy distribution as a mixture of `points` normals: their standard deviations and weights.

    A Cauchy variable is scale * L * N with N standard normal and L = 1 / |N'|, whose density over log L is
    2 phi(1/L) / L. L is taken at `first` and its doublings.
    """
    factors = [first * 2.0**k for k in range(points)]
    weights = [math.exp(-0.5 / (factor * factor)) / factor for factor in factors]
    total = sum(weights)
    return tuple(scale * factor for factor in factors), tuple(weight / total for weight in weights)


PRIOR = Prior(HELPS, *cauchy_mixture(EFFECT_SCALE))

_OWN_SHARES = (1.0, 0.85, 0.7, 0.55, 0.4, 0.28, 0.2, 0.13, 0.085, 0.055, 0.035, 0.02, 0.01, 0.004, 0.0015, 0.0005)
SEED_SHARES = 1.0 - np.array(_OWN_SHARES)  # the grid over rho, (R,); finer near 1, where 1 - rho is what matters
_EDGES = np.concatenate(([0.0], 0.5 * (SEED_SHARES[1:] + SEED_SHARES[:-1]), [1.0]))
SEED_SHARE_WEIGHTS = np.diff(_EDGES)  # a uniform prior on rho: nothing is known, (R,)

SIGMA_POINTS = 24  # of the grid over log sigma; against 400 points P(better) moves by less than 1e-4 (measured)
NEGLIGIBLE = 1e-6  # grid points with less than this share of the largest weight are dropped
MAX_NOISE_ARMS = 40  # the most recent replicated arms that inform the noise; bounds the work of a verdict
MAX_ARM_ROWS = 64  # the most recent rows of one arm; beyond, its mean is known to an eighth of sigma
DIGITS = 12  # significant digits of a value that are trusted to be more than rounding of binary floats
SMALLEST = 1e-250  # values below are zero: their last digit would no longer be a float
FLOOR_SHARE = 0.1  # smallest sigma believed, in units of the last digit printed
RANK_TOLERANCE = 1e-9  # eigenvalues of the seeds' design below this share of the largest are zero


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


# --- sufficient statistics --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Statistics:
    """All that the rows say, for each rho of the grid, with sigma = 1 and the arm means integrated out.

    The density of the data given delta and sigma is, up to a constant,
    sigma^-contrasts exp(-logdet / 2 - (rss - 2 delta score + delta^2 information) / (2 sigma^2)).
    """

    rss: FloatArray  # (R,), squared units of the metric
    score: FloatArray  # (R,), units of the metric
    information: FloatArray  # (R,), no unit; 1 / information is the variance of the estimate of delta
    logdet: FloatArray  # (R,)
    contrasts: int  # rows minus means
    floor: float  # smallest sigma believed


def _centred(matrix: FloatArray, groups: FloatArray) -> FloatArray:
    """Columns of `matrix` (n, k) minus their mean in each group; `groups` is the (n, g) indicator."""
    means: FloatArray = (groups.T @ matrix) / groups.sum(axis=0)[:, None]
    return matrix - groups @ means


def _indicator(labels: Sequence[object]) -> FloatArray:
    """(n, k) indicator of k distinct labels, in order of first appearance."""
    index = {label: column for column, label in enumerate(dict.fromkeys(labels))}
    matrix = np.zeros((len(labels), len(index)))
    matrix[np.arange(len(labels)), [index[label] for label in labels]] = 1.0
    return matrix


def _statistics(rows: Sequence[Row], challenger: ExperimentId | None, champion: ExperimentId | None) -> _Statistics:
    """Reduce rows to `_Statistics`. Challenger and champion share one free mean, and delta shifts the challenger.

    With P the projection that takes out the means, P V P = (1 - rho) P + rho P Z Z' P; one eigendecomposition of
    Z' P Z (seeds by seeds) serves every rho.
    """
    groups = _indicator([champion if row.arm == challenger else row.arm for row in rows])
    seeds = _centred(_indicator([row.seed for row in rows]), groups)
    shift = np.array([[1.0] if row.arm == challenger else [0.0] for row in rows])
    values = np.array([[row.value] for row in rows])
    both = _centred(np.hstack([_centred(values, groups), shift]), groups)  # (n, 2)
    contrasts = len(rows) - groups.shape[1]

    eigenvalues, vectors = np.linalg.eigh(seeds.T @ seeds)
    used = eigenvalues > RANK_TOLERANCE * max(float(eigenvalues[-1]), 1.0)
    spread = eigenvalues[used]  # (r,)
    along = (seeds @ (vectors[:, used] / np.sqrt(spread))).T @ both  # (r, 2)
    rest = both - (seeds @ (vectors[:, used] / spread)) @ (vectors[:, used].T @ (seeds.T @ both))
    alone = 1.0 - SEED_SHARES  # (R,)
    shared = alone[:, None] + SEED_SHARES[:, None] * spread  # (R, r)

    def form(i: int, j: int) -> FloatArray:
        inside: FloatArray = (along[:, i] * along[:, j] / shared).sum(axis=1)
        return inside + float(rest[:, i] @ rest[:, j]) / alone

    logdet = (contrasts - len(spread)) * np.log(alone) + np.log(shared).sum(axis=1)
    pair = [row.value for row in rows if row.arm in (challenger, champion)]
    floor = noise_floor(pair or [row.value for row in rows])
    return _Statistics(form(0, 0), form(1, 0), form(1, 1), logdet, contrasts, floor)


def _no_statistics() -> _Statistics:
    """Of no rows: every sum is zero."""
    zeros = np.zeros(len(SEED_SHARES))
    return _Statistics(zeros, zeros, zeros, zeros, 0, 0.0)


def _relevant(rows: Iterable[Row], always: tuple[ExperimentId, ...]) -> list[Row]:
    """Rows of the arms `always` and of the most recent replicated arms, each arm bounded; rows are oldest first."""
    clean = distinct(rows)
    counts = Counter(row.arm for row in clean)
    recent = dict.fromkeys(row.arm for row in reversed(clean) if counts[row.arm] > 1 and row.arm not in always)
    arms = {*always, *list(recent)[:MAX_NOISE_ARMS]}
    seen: Counter[ExperimentId] = Counter()
    kept = []
    for row in reversed(clean):
        seen[row.arm] += 1
        if row.arm in arms and seen[row.arm] <= MAX_ARM_ROWS:
            kept.append(row)
    return kept[::-1]


# --- noise ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """How much a run repeated with another seed differs."""

    sd: float  # posterior median of sigma, units of the metric
    low: float  # 95 % interval of sigma
    high: float
    seed_share: float  # posterior mean of rho, between 0 and 1
    dof: float  # degrees of freedom behind it: replicated runs minus their arms, plus what the first guess is worth


def _guess_dof(settings: JudgeSettings) -> float:
    return 0.0 if settings.noise is None else settings.noise_runs


def _guess_squares(settings: JudgeSettings) -> float:
    """Sum of squares that the first guess of the noise stands for."""
    return 0.0 if settings.noise is None else settings.noise_runs * settings.noise**2


def _sigma_grid(residual: FloatArray, dof: float, settings: JudgeSettings, floor: float) -> FloatArray:
    """(R, G) grid of sigma, evenly spaced in its logarithm, around the estimate for each rho.

    `residual` (R,) are the sums of squares, `dof` > 0 their degrees of freedom, the guess included. log sigma has a
    standard deviation near 1 / sqrt(2 dof) and a longer upper tail; four of them, and 8 / dof above, leave out less
    than 1e-4 of a scaled inverse chi distribution for every dof >= 1 (checked in the tests).
    """
    centre = np.maximum(np.sqrt((residual + _guess_squares(settings)) / dof), floor)
    width = 4.0 / math.sqrt(2.0 * dof)
    steps = np.linspace(-width, width + 8.0 / dof, SIGMA_POINTS)
    return np.asarray(centre[:, None] * np.exp(steps), dtype=np.float64)


def _log_noise(stats: _Statistics, sigma: FloatArray, settings: JudgeSettings, contrasts: int) -> FloatArray:
    """(R, G) log prior of (rho, log sigma) plus the terms of the likelihood that do not depend on delta.

    The prior of sigma is flat in its logarithm, or with a first guess the scaled inverse chi square (Gelman et al.,
    Bayesian Data Analysis, 3rd ed., section 3.2) with `noise_runs` degrees of freedom. Below the floor nothing.
    """
    by_share = np.log(SEED_SHARE_WEIGHTS) - 0.5 * stats.logdet
    powers = -(contrasts + _guess_dof(settings)) * np.log(sigma)
    total = by_share[:, None] + powers - _guess_squares(settings) / (2.0 * sigma**2)
    return np.where(sigma < stats.floor * (1.0 - RANK_TOLERANCE), -np.inf, total)


def _weighted_quantile(values: FloatArray, weights: FloatArray, probability: float) -> float:
    order = np.argsort(values)
    cumulative = np.cumsum(weights[order]) - 0.5 * weights[order]
    return float(np.exp(np.interp(probability, cumulative, np.log(values[order]))))


def noise(rows: Iterable[Row], settings: JudgeSettings) -> Noise | None:
    """What the lab's replicated runs (and its first guess) say of the noise; None if they say nothing."""
    used = _relevant(rows, ())
    stats = _statistics(used, None, None) if used else _no_statistics()
    dof = stats.contrasts + _guess_dof(settings)
    if dof <= 0:
        return None
    sigma = _sigma_grid(stats.rss, dof, settings, stats.floor)
    logs = _log_noise(stats, sigma, settings, stats.contrasts) - stats.rss[:, None] / (2.0 * sigma**2)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    low, middle, high = (_weighted_quantile(sigma.ravel(), weights.ravel(), p) for p in (0.025, 0.5, 0.975))
    share = float(weights.sum(axis=1) @ SEED_SHARES)
    return Noise(sd=middle, low=low, high=high, seed_share=share, dof=dof)


# --- the difference of two arms ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Challenger minus champion as losses: negative is better. Units of the metric."""

    better: float  # P(difference < 0)
    mean: float
    low: float  # 95 % interval
    high: float
    sigma: float  # posterior mean of the standard deviation of one run
    seed_share: float  # posterior mean of rho
    dof: float  # degrees of freedom behind sigma


def posterior(
    challenger: ExperimentId,
    champion: ExperimentId,
    rows: Iterable[Row],
    settings: JudgeSettings,
    prior: Prior | None = PRIOR,
) -> Posterior | None:
    """Posterior of the difference between two arms, the noise integrated out.

    Args:
        rows: all rows of the lab, oldest first; those that say nothing are passed over.
        prior: None for a flat one (an estimate that is not shrunk, with Student-like intervals).

    Returns:
        None if nothing is known of the noise: no arm has two distinct runs and there is no first guess.

    Raises:
        NotFoundError: one of the two arms has no run.
        MetricError: a value is not finite.
        ValueError: both are the same arm.
    """
    if challenger == champion:
        raise ValueError(f"{challenger} cannot be compared with itself")
    used = _relevant(rows, (challenger, champion))
    for arm in (challenger, champion):
        if all(row.arm != arm for row in used):
            raise NotFoundError(f"{arm} has no finished run to judge", hint="run it first: `nightlab replicate`")
    stats = _statistics(used, challenger, champion)
    dof = stats.contrasts - 1 + _guess_dof(settings)
    if dof <= 0:
        return None
    residual = np.maximum(stats.rss - stats.score**2 / stats.information, 0.0)
    sigma = _sigma_grid(residual, dof, settings, stats.floor)  # (R, G)
    logs, precision = _log_weights(stats, sigma, settings, prior)  # (R, G, K), (R, K)
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    below = 0.5 if prior is None else prior.helps
    mixture = _mixture(weights, stats.score[:, None] / precision, sigma, precision, below)
    low, high = mixture.quantiles(np.array([0.025, 0.975]))
    return Posterior(
        better=mixture.below_zero(),
        mean=mixture.mean(),
        low=float(low),
        high=float(high),
        sigma=float((weights.sum(axis=2) * sigma).sum()),
        seed_share=float(weights.sum(axis=(1, 2)) @ SEED_SHARES),
        dof=dof,
    )


def _log_weights(
    stats: _Statistics, sigma: FloatArray, settings: JudgeSettings, prior: Prior | None
) -> tuple[FloatArray, FloatArray]:
    """Log weights (R, G, K) over rho, sigma and the prior's scales, delta integrated out; and the precision of delta.

    Given them delta is normal with mean score / precision and variance sigma^2 / precision, precision (R, K).
    """
    if prior is None:
        precision = stats.information[:, None]
        scale_terms = -0.5 * np.log(precision)
        contrasts = stats.contrasts - 1
    else:
        scales = np.array(prior.scales)
        precision = stats.information[:, None] + scales**-2.0
        scale_terms = np.log(np.array(prior.weights)) - 0.5 * np.log(precision * scales**2)
        contrasts = stats.contrasts
    left = np.maximum(stats.rss[:, None] - stats.score[:, None] ** 2 / precision, 0.0)  # (R, K)
    logs = _log_noise(stats, sigma, settings, contrasts)[:, :, None] + scale_terms[:, None, :]
    return logs - left[:, None, :] / (2.0 * sigma[:, :, None] ** 2), precision


def _mixture(weights: FloatArray, means: FloatArray, sigma: FloatArray, precision: FloatArray, below: float) -> Mixture:
    """The mixture of normals over the grid, without its negligible points."""
    keep = weights > NEGLIGIBLE * weights.max()
    spread = sigma[:, :, None] / np.sqrt(precision)[:, None, :]
    everywhere = np.broadcast_to(means[:, None, :], weights.shape)
    kept = weights[keep]
    return Mixture(kept / kept.sum(), everywhere[keep], spread[keep], below)
