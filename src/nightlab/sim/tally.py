"""What many nights come to: one row a policy, every number with its standard error over nights."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nightlab.sim.policies import Played


@dataclass(frozen=True, slots=True)
class Estimate:
    """A mean over nights, or a ratio of sums, with its standard error."""

    value: float
    se: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One policy's nights. None: nothing of the kind happened in any of them."""

    policy: str
    nights: int
    ideas: Estimate
    promotions: Estimate
    false_share: Estimate | None  # of all promotions
    late_false_share: Estimate | None  # of those after a night's first ten slots
    nights_with_false: Estimate
    true_gain: Estimate
    optimism: Estimate  # what the policy reports as the night's gain, minus the truth
    coverage: Estimate | None  # of the 95 % intervals that it reports
    repeats: Estimate
    stopped: Estimate
    lost: Estimate  # runs stopped early that were truly better


def tally(policy: str, nights: Sequence[Played]) -> Row:
    """Add up the nights of one policy."""
    covered = [n.covered for n in nights if n.covered is not None]
    return Row(
        policy=policy,
        nights=len(nights),
        ideas=mean([n.ideas for n in nights]),
        promotions=mean([n.promotions for n in nights]),
        false_share=share([n.false for n in nights], [n.promotions for n in nights]),
        late_false_share=share([n.late_false for n in nights], [n.late for n in nights]),
        nights_with_false=mean([n.false > 0 for n in nights]),
        true_gain=mean([n.true_gain for n in nights]),
        optimism=mean([n.reported - n.true_gain for n in nights]),
        coverage=mean(covered) if covered else None,
        repeats=mean([n.repeats for n in nights]),
        stopped=mean([n.stopped for n in nights]),
        lost=mean([n.lost for n in nights]),
    )


def mean(values: Sequence[float]) -> Estimate:
    array = np.array(values, dtype=np.float64)
    spread = float(array.std(ddof=1)) if len(array) > 1 else 0.0
    return Estimate(float(array.mean()), spread / math.sqrt(len(array)))


def share(parts: Sequence[float], wholes: Sequence[float]) -> Estimate | None:
    """Ratio of sums, with the standard error of a ratio estimator (Cochran, Sampling Techniques, section 2.11)."""
    part, whole = np.array(parts, dtype=np.float64), np.array(wholes, dtype=np.float64)
    if whole.sum() == 0.0:
        return None
    ratio = float(part.sum() / whole.sum())
    left = part - ratio * whole
    spread = float(left.std(ddof=1)) if len(left) > 1 else 0.0
    return Estimate(ratio, spread / math.sqrt(len(left)) / float(whole.mean()))
