"""How runs of one lab vary together, and what they say of a difference under every way in which they might.

    y_i = mean of the arm + drift of the machine + effect of the seed + noise,   variance sigma^2 for one run

    V = sigma^2 [ b x x' + (1 - b) (l D + (1 - l) ((1 - r) I + r S)) ]

S has ones where two runs share a seed, D the correlation exp(-distance / length) of a machine that drifts (an
Ornstein-Uhlenbeck process over the order of runs, each session and device for itself), x the log speed of a fixed
probe. How much the machine drifts (l), for how long (length), how much seeds have in common (r) and how much the
speed tells (b) are unknown: everything here is worked out for each point of a grid over them, as arrays (G, ...).

That one run after another says nothing of the drift is why it must be in the model: two baseline runs side by side
agree better than the lab's runs do an hour apart, and a judge that takes them for the whole noise sees gains
everywhere (5 to 13 % false promotions where sigma is halved: statistics.md, 2d and 3).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from nightlab.judge.mixture import FloatArray
from nightlab.types import ExperimentId


@dataclass(frozen=True, slots=True)
class Row:
    """One finished run, as the judge sees it."""

    arm: ExperimentId
    seed: int
    slot: float  # when it ran, in units of a usual run's length
    value: float  # a loss, lower is better, in units of the metric
    session: int = 0  # runs of other sessions or devices share no drift
    drifts: bool = True  # whether the machine's state can move the value; False where a run repeats to the last digit
    speed: float | None = None  # log speed of a fixed probe beside the run; in V standardised (see `standardised`)


_OWN = (1.0, 0.7, 0.45, 0.25, 0.13, 0.06, 0.025, 0.006, 0.0005)  # 1 - r: finer near r = 1, where pairs are nearly exact
_DRIFTS = (0.0, 0.3, 0.6, 0.8, 0.93)  # l; H200 machines: 0.96 of the variance of reruns is their speed
_LENGTHS = (4.0, 20.0)  # slots; H200 machines: consecutive reruns correlate by 0.94
_SPEEDS = (0.0, 0.3, 0.6, 0.85)  # b; H200 machines: up to 0.96
MIN_SPEEDS = 5  # readings below which what counts as a usual change of speed is not known, and no correction is made


@dataclass(frozen=True, slots=True)
class Grid:
    """Points over what is unknown of the variance, each (G,)."""

    shared: FloatArray  # r
    drift: FloatArray  # l
    length: FloatArray  # slots; any number where l is 0
    speed: FloatArray  # b
    weight: FloatArray  # prior mass, sums to 1


def _edges(points: Sequence[float]) -> list[float]:
    """Shares of a uniform prior on [0, 1] that each of the ascending points stands for."""
    middle = [(a + b) / 2 for a, b in itertools.pairwise(points)]
    return [b - a for a, b in itertools.pairwise([0.0, *middle, 1.0])]


@cache
def grid(drifts: bool, probed: bool) -> Grid:
    """The grid with or without drift (a run that repeats to the last digit has none), with or without a probe."""
    shares = [1.0 - own for own in _OWN]
    levels = list(zip(_DRIFTS, _edges(_DRIFTS), strict=True)) if drifts else [(0.0, 1.0)]
    speeds = list(_SPEEDS) if probed else [0.0]
    points = [
        (r, level, length, b, by_r * by_level / (len(lengths) * len(speeds)))
        for r, by_r in zip(shares, _edges(shares), strict=True)
        for level, by_level in levels
        for lengths in [_LENGTHS if level else _LENGTHS[:1]]
        for length in lengths
        for b in speeds
    ]
    columns = np.array(points).T
    return Grid(*columns)


def covariance(rows: Sequence[Row], points: Grid) -> FloatArray:
    """(G, n, n): V of the rows at each point of the grid, with sigma = 1."""
    seeds = np.array([row.seed for row in rows])
    slots = np.array([row.slot for row in rows])
    sessions = np.array([row.session for row in rows])
    distance = np.where(sessions[:, None] == sessions[None, :], np.abs(slots[:, None] - slots[None, :]), np.inf)
    drift = np.exp(-distance[None, :, :] / points.length[:, None, None])
    steady = points.shared[:, None, None] * (seeds[:, None] == seeds[None, :])
    steady = steady + (1.0 - points.shared)[:, None, None] * np.eye(len(rows))
    level = points.drift[:, None, None]
    total = level * drift + (1.0 - level) * steady
    if points.speed.any():
        speeds = np.array([row.speed or 0.0 for row in rows])
        told = points.speed[:, None, None]
        total = told * (speeds[:, None] * speeds[None, :]) + (1.0 - told) * total
    return np.asarray(total, dtype=np.float64)


def standardised(rows: Sequence[Row], effect: float = 0.0) -> list[Row]:
    """Rows corrected by a first guess of what speed does, with speeds of mean 0 and standard deviation 1.

    What the guess leaves over is for the model to find. Speeds are None where none is to be used.

    Args:
        rows: all rows that were read, so that a usual change of speed is known.
        effect: loss that one unit of log speed saves, units of the metric.
    """
    known = np.array([row.speed for row in rows if row.speed is not None])
    if not len(known):
        return list(rows)
    middle, spread = float(known.mean()), float(known.std())
    enough = len(known) >= MIN_SPEEDS and spread > 0.0
    found = []
    for row in rows:
        if row.speed is None:
            found.append(row)
            continue
        faster = row.speed - middle
        found.append(replace(row, value=row.value + effect * faster, speed=faster / spread if enough else None))
    return found


def indicator(labels: Sequence[object]) -> FloatArray:
    """(n, k) indicator of k distinct labels, in order of first appearance."""
    index = {label: column for column, label in enumerate(dict.fromkeys(labels))}
    matrix = np.zeros((len(labels), len(index)))
    matrix[np.arange(len(labels)), [index[label] for label in labels]] = 1.0
    return matrix


@dataclass(frozen=True, slots=True)
class Statistics:
    """All that rows say at each point of the grid, with sigma = 1 and the arm means integrated out (flat priors).

    The density of the data given delta and sigma is, up to a constant,
    sigma^-contrasts exp(-logdet / 2 - (rss - 2 delta score + delta^2 information) / (2 sigma^2)).
    """

    rss: FloatArray  # (G,), squared units of the metric
    score: FloatArray  # (G,), units of the metric
    information: FloatArray  # (G,), no unit; 1 / information is the variance of the estimate of delta
    logdet: FloatArray  # (G,)
    contrasts: int  # rows minus means


def statistics(
    rows: Sequence[Row], challenger: ExperimentId | None, champion: ExperimentId | None, points: Grid
) -> Statistics:
    """Reduce rows to `Statistics`. Challenger and champion share one free mean, and delta shifts the challenger.

    With L L' = V and everything seen through L^-1, the means are taken out by an orthogonal basis of theirs.
    """
    means = indicator([champion if row.arm == challenger else row.arm for row in rows])
    shift = np.array([[1.0] if row.arm == challenger else [0.0] for row in rows])
    values = np.array([[row.value] for row in rows])
    centred = values - means @ ((means.T @ values) / means.sum(axis=0)[:, None])  # small numbers: no digits are lost
    total = covariance(rows, points)  # (G, n, n)
    root = np.linalg.cholesky(total)
    seen = np.linalg.solve(
        root, np.broadcast_to(np.hstack([means, centred, shift]), (len(root), len(rows), means.shape[1] + 2))
    )
    inner = np.swapaxes(seen, 1, 2) @ seen  # (G, g + 2, g + 2)
    count = means.shape[1]
    among, across = inner[:, :count, :count], inner[:, :count, count:]
    rest = inner[:, count:, count:] - np.swapaxes(across, 1, 2) @ np.linalg.solve(among, across)
    logdet = 2.0 * np.log(np.diagonal(root, axis1=1, axis2=2)).sum(axis=1) + np.linalg.slogdet(among)[1]
    return Statistics(
        rss=np.maximum(rest[:, 0, 0], 0.0),
        score=rest[:, 0, 1],
        information=np.maximum(rest[:, 1, 1], 0.0),
        logdet=logdet,
        contrasts=len(rows) - count,
    )


def variance_of_difference(rows: Sequence[tuple[bool, Row]], point: Grid) -> float:
    """Variance of the estimated difference (generalised least squares) at one point, in units of sigma squared.

    Args:
        rows: whether it is the challenger's, and the run (its value is not read).
        point: a grid of one point.
    """
    side = np.array([[1.0, 1.0] if ours else [1.0, 0.0] for ours, _ in rows])
    total = covariance([row for _, row in rows], point)[0]
    information = side.T @ np.linalg.solve(total, side)
    return float(np.linalg.inv(information)[1, 1])


def mean_point(points: Grid, weights: FloatArray) -> Grid:
    """The grid's posterior mean (lengths geometrically, weighted by the drift), as a grid of one point."""
    by_drift = weights * points.drift
    log_length = float(by_drift @ np.log(points.length)) / float(by_drift.sum()) if by_drift.sum() > 0 else 0.0
    return Grid(
        shared=np.array([float(weights @ points.shared)]),
        drift=np.array([float(weights @ points.drift)]),
        length=np.array([math.exp(log_length)]),
        speed=np.zeros(1),
        weight=np.ones(1),
    )
