"""A mixture of normal distributions whose two sides of zero may weigh differently."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

MAX_STEPS = 64  # of the search for a quantile; a dozen are usual
PRECISION = 1e-6  # of a quantile, in units of the median component's standard deviation
TINY = 1e-300  # keeps a division defined where the density underflows
SAME_SD = 0.1  # components are put together when the logarithms of their standard deviations share a bin this wide ...
SAME_MEAN = 0.25  # ... and their means one so wide, in standard deviations (see `compressed`)
REACH = 9.0  # standard deviations around each component; a normal has 1e-19 of its mass outside

# erf(x) = 1 - (a1 t + ... + a5 t^5) exp(-x^2), t = 1 / (1 + p x), |error| <= 1.5e-7.
# Abramowitz and Stegun, Handbook of Mathematical Functions, 7.1.26.
_ERF_P = 0.3275911
_ERF_A = (0.254829592, -0.284496736, 1.421413741, -1.453152027, 1.061405429)


def normal_cdf(z: FloatArray) -> FloatArray:
    """Standard normal distribution function, element by element, to 1e-7 (numpy has no erf)."""
    x = np.abs(z) / math.sqrt(2.0)
    t = 1.0 / (1.0 + _ERF_P * x)
    polynomial = np.zeros_like(t)
    for coefficient in reversed(_ERF_A):
        polynomial = (polynomial + coefficient) * t
    tail = 0.5 * polynomial * np.exp(-x * x)
    return np.where(z < 0, tail, 1.0 - tail)


def normal_density(z: FloatArray) -> FloatArray:
    """Standard normal density, element by element."""
    return np.asarray(np.exp(-0.5 * z * z) / math.sqrt(2.0 * math.pi), dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Mixture:
    """The posterior of a difference: sum_k weights[k] N(means[k], sds[k]^2), then tilted towards one side of zero.

    The tilt multiplies the density below zero by `below` and above it by `1 - below`, and normalises. It turns the
    posterior under a symmetric prior into the one under a prior with the same shape on both sides and the mass
    `below` on the lower one. 0.5 changes nothing.
    """

    weights: FloatArray  # (K,), sums to 1
    means: FloatArray  # (K,)
    sds: FloatArray  # (K,), positive
    below: float = 0.5

    def compressed(self) -> Mixture:
        """The same with fewer components: near ones become one of their weight, mean and variance.

        A posterior over a grid has ten thousand components, and a few hundred describe it: P(below zero) moves by less
        than 5e-4 and the quantiles by less than 0.01 standard deviations (checked in the tests).
        """
        smallest = self.sds.min()  # what the bins are counted from, so that they do not depend on the unit
        by_sd = np.floor(np.log(self.sds / smallest) / SAME_SD)
        by_mean = np.floor(self.means / (SAME_MEAN * smallest * np.exp(by_sd * SAME_SD)))
        order = by_sd - by_sd.min() + (by_sd.max() - by_sd.min() + 1.0) * (by_mean - by_mean.min())
        keys, place = np.unique(order, return_inverse=True)

        def summed(values: FloatArray) -> FloatArray:
            return np.asarray(np.bincount(place, values, len(keys)), dtype=np.float64)

        weights = summed(self.weights)
        means = summed(self.weights * self.means) / weights
        squares = summed(self.weights * (self.sds**2 + (self.means - means[place]) ** 2))
        return Mixture(weights, means, np.sqrt(squares / weights), self.below)

    def _side_masses(self) -> tuple[float, float]:
        """Masses below and above zero after the tilt, before they are made to sum to 1."""
        plain = min(max(float(normal_cdf(-self.means / self.sds) @ self.weights), 0.0), 1.0)
        return self.below * plain, (1.0 - self.below) * (1.0 - plain)

    def below_zero(self) -> float:
        """Probability of a difference below zero."""
        low, high = self._side_masses()
        return low / (low + high)

    def mass_below(self, point: float) -> float:
        """Probability of a difference below `point`."""
        low, high = self._side_masses()
        plain = min(max(float(normal_cdf((point - self.means) / self.sds) @ self.weights), 0.0), 1.0)
        if point <= 0.0:
            return self.below * plain / (low + high)
        middle = plain - float(normal_cdf(-self.means / self.sds) @ self.weights)
        return (low + (1.0 - self.below) * max(middle, 0.0)) / (low + high)

    def mean(self) -> float:
        z = self.means / self.sds
        low_part = float(np.dot(self.weights, self.means * normal_cdf(-z) - self.sds * normal_density(z)))
        plain = float(np.dot(self.weights, self.means))
        low, high = self._side_masses()
        return (self.below * low_part + (1.0 - self.below) * (plain - low_part)) / (low + high)

    def quantiles(self, probabilities: FloatArray) -> FloatArray:
        """The points below which `probabilities` (Q,) of the mass lie: Newton's method inside a shrinking bracket."""
        low_mass, high_mass = self._side_masses()
        mass = probabilities * (low_mass + high_mass)
        over = np.maximum(mass - low_mass, 0.0)  # what lies above zero
        target = np.minimum(mass, low_mass) / self.below + over / (1.0 - self.below)
        low = np.full(len(target), float(np.min(self.means - REACH * self.sds)))
        high = np.full(len(target), float(np.max(self.means + REACH * self.sds)))
        width = float(np.median(self.sds))
        points = np.full(len(target), float(self.weights @ self.means))
        for _ in range(MAX_STEPS):
            z = (points[:, None] - self.means) / self.sds  # (Q, K)
            missing = target - normal_cdf(z) @ self.weights
            density = normal_density(z) @ (self.weights / self.sds)
            low, high = np.where(missing > 0, points, low), np.where(missing > 0, high, points)
            step = points + missing / np.maximum(density, TINY)
            following = np.where((step > low) & (step < high), step, 0.5 * (low + high))
            moved = np.abs(following - points).max()
            points = following
            if moved < PRECISION * width:
                break
        return points
