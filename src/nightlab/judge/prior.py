"""What is believed of an idea before it runs: how often ideas help, and how far they reach."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """Belief about challenger minus champion (as losses) before the runs.

    A mixture of zero-mean normals with standard deviations `scales`, the mass `helps` on the side where the
    challenger is better and the rest on the other; the two sides have the same shape.
    """

    helps: float
    scales: tuple[float, ...]  # in units of sigma, the noise of one run, or of the metric
    weights: tuple[float, ...]  # sum to 1
    absolute: bool = False  # whether `scales` are in units of the metric


@dataclass(frozen=True, slots=True)
class Tried:
    """What an idea's runs said by themselves, before any belief: a difference to its champion (loss) and its error."""

    difference: float  # units of the metric, negative is better
    error: float  # its standard deviation, same units


HELPS = 0.05
"""Share of ideas that truly help, before a lab has shown its own.

Of the valid runs of twelve H200 sessions of code-editing and hybrid agents 2.5 to 6.1 % were new bests (statistics.md,
2a; the H100 sessions that the reference world is made of are not among them), on 24 small machines 34 %. Where ideas
help more often they also help by 10 to 100 times the noise, and a low share then costs nothing, while one that is too
hopeful is paid for with false promotions.
"""

EFFECT_SCALE = 2.0
"""Median size of an effect, in units of sigma.

The deltas of those H200 agents have medians of 0.0003, 0.0017 and 0.0028 bpb by group, with a sigma of 0.0005
(statistics.md, 2a and 2b): 0.6 to 5.6 sigma. A Cauchy distribution of this scale has half its mass within 2 sigma, and
the heavy tails that all groups share.
"""

LEARN_FROM = 20
"""Ideas that a lab must have judged before its own results shape its prior."""


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


def _generic() -> Prior:
    scales, weights = cauchy_mixture(EFFECT_SCALE)
    return Prior(helps=HELPS, scales=scales, weights=weights)


GENERIC = _generic()

SHIPPED = {
    "generic": GENERIC,
    "gpu-5min": Prior(
        helps=0.044,
        scales=tuple(0.0001 * 2.0**k for k in range(10)),
        weights=(0.028, 0.041, 0.069, 0.111, 0.149, 0.161, 0.150, 0.128, 0.097, 0.066),
        absolute=True,
    ),
}
"""Priors by their names in nightlab.toml.

gpu-5min, in bits per byte: 179 new configurations of four sessions of agents that edit the five-minute pretraining
script on H200 machines (github.com/ferreirafabio/autoresearch-automl, MIT), by benchmarks/effect_priors.py.
"""

CLEAR = 3.0
"""Errors from zero beyond which an idea counts as a clear gain or loss.

Only those teach how often ideas help: around zero gains and losses look alike, and a share learnt there would rise
with every idea that does nothing."""

_STRETCHES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)  # the grid over what the scales are multiplied by
_PSEUDO = 20.0  # clear ideas that the prior share is worth: as many as must be judged before anything moves
_SPREAD = 1.5  # standard deviation of log2 of the stretch: labs differ by an order of magnitude (statistics.md, 1)


def learned(prior: Prior, tried: Sequence[Tried], sigma: float, stopped: int = 0) -> Prior:
    """The prior after a lab's own ideas: how often they help, from the clear ones, and how far all of them reach.

    Args:
        prior: the belief to begin with.
        tried: all ideas judged so far, oldest first.
        sigma: noise of one run, units of the metric.
        stopped: ideas that were given up early: clear losses, of which nobody knows how large.

    Returns:
        `prior` itself below `LEARN_FROM` ideas.
    """
    if not tried or len(tried) + stopped < LEARN_FROM or sigma <= 0.0:
        return prior
    import numpy as np

    from nightlab.judge.mixture import normal_cdf

    clear = [idea.difference for idea in tried if abs(idea.difference) > CLEAR * idea.error]
    gains = sum(difference < 0.0 for difference in clear)
    helps = (gains + _PSEUDO * prior.helps) / (len(clear) + stopped + _PSEUDO)
    scales = (1.0 if prior.absolute else sigma) * np.array(prior.scales)  # (K,)
    differences = np.array([idea.difference for idea in tried])[:, None]  # (N, 1)
    errors = np.array([idea.error for idea in tried])[:, None]
    logs = []
    for stretch in _STRETCHES:
        wide = (stretch * scales) ** 2  # (K,)
        total = wide + errors**2  # (N, K)
        density = np.exp(-0.5 * differences**2 / total) / np.sqrt(total) * np.array(prior.weights)
        # Given the component the true difference is normal around a share of the seen one: its mass below zero.
        below = normal_cdf(-(differences * np.sqrt(wide / total)) / errors)
        mixed = (density * (helps * below + (1.0 - helps) * (1.0 - below))).sum(axis=1)  # (N,)
        logs.append(float(np.log(np.maximum(mixed, 1e-300)).sum()) - 0.5 * (math.log2(stretch) / _SPREAD) ** 2)
    weights = np.exp(np.array(logs) - max(logs))
    weights /= weights.sum()
    pairs = [
        (stretch * scale, float(weight) * share)
        for stretch, weight in zip(_STRETCHES, weights, strict=True)
        for scale, share in zip(prior.scales, prior.weights, strict=True)
    ]
    return _merged(helps, [scale for scale, _ in pairs], [weight for _, weight in pairs], prior.absolute)


def _merged(helps: float, scales: Sequence[float], weights: Sequence[float], absolute: bool) -> Prior:
    """Equal scales put together: doublings of doublings coincide."""
    merged: dict[float, float] = {}
    for scale, weight in zip(scales, weights, strict=True):
        merged[scale] = merged.get(scale, 0.0) + weight
    total = sum(merged.values())
    kept = {scale: weight for scale, weight in sorted(merged.items()) if weight > 1e-3 * total}
    total = sum(kept.values())
    return Prior(
        helps=helps, scales=tuple(kept), weights=tuple(weight / total for weight in kept.values()), absolute=absolute
    )
