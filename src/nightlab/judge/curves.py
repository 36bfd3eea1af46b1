"""When a run's own loss curve says that it can no longer become the champion's equal.

An idea's loss at a share f of its budget is held against the champion's at the same share, on the same seed. The
question is how far behind a run may lie there that ends as good as the champion. The lab's own finished runs tell:
each lies `lag` behind the champion's curve at f and ends `difference` worse in the metric. With a slope k that turns
differences of the metric into those of the loss at f, lag - k * difference is how far behind it would have been, had
it ended as the champion's equal. The margin is what at most a share `RISK` of such runs exceeds, over all looks.

Nothing depends on the units of loss or metric, nor on where either has its zero.

The rule is that of statistics.md, section 4: on 30 real curves "stop at 60 % if 0.02 nats above the champion" saved a
quarter of the minutes and lost no new best, at 40 % it lost 1 %, and a margin of 0.005 lost 14 to 33 %.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median

from nightlab.types import Curve, Look

RISK = 0.01
"""Share of the runs as good as the champion that all looks together may cost: the reference's 99 % quantile."""

MIN_PAIRS = 5
"""Finished runs beside the champion on a common seed before anything is stopped. With fewer, the 99.5 % point of
Student's t lies at 4.6 standard deviations or beyond (3 runs: 5.8; 2: 9.9), and the luck of the estimate is the margin.
"""

FLOOR = 0.02
"""No margin is smaller than this share of what the champion itself still gains from the look to its end. It ends a
vicious circle: what is stopped never tells whether it would have caught up, so a margin that had become too narrow
could not find out. On 778 real cases (LOG.md) the quantile alone lay above it, and above five times as much."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Companion:
    """A finished run beside a run of the champion on the same seed."""

    curve: Curve
    champion: Curve
    difference: float  # its metric minus the champion's, as losses: positive is worse


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The looks that a run has to pass; without any, `because` says why its curve is no reason to end it."""

    looks: tuple[Look, ...] = ()
    because: str = ""


def limits(champion: Curve, companions: Sequence[Companion], fractions: Sequence[float]) -> Limits:
    """The looks at a run that starts now.

    Args:
        champion: the champion's curve on the seed of that run.
        companions: the lab's finished runs that may be compared with the champion's by their curves.
        fractions: of the budget, when to look.
    """
    looks = []
    for fraction in sorted(set(fractions)):
        here, end = champion.at(fraction), champion.at(champion.reached)
        if here is None or end is None or champion.reached < fraction:
            return Limits(because=f"the champion's own curve does not tell of {fraction:.0%} of its budget")
        if not end < here:
            return Limits(because=f"the champion's own loss falls no more after {fraction:.0%} of its budget")
        pairs = [pair for pair in (_pair(companion, fraction) for companion in companions) if pair is not None]
        if len(pairs) < MIN_PAIRS:
            return Limits(because=f"{len(pairs)} finished runs can be compared with the champion's, not {MIN_PAIRS}")
        margin = max(FLOOR * (here - end), _margin(pairs, RISK / len(set(fractions))))
        looks.append(Look(fraction=fraction, champion=here, margin=margin))
    return Limits(looks=tuple(looks))


# --- the margin -------------------------------------------------------------------------------------------------

_Pair = tuple[float, float]
"""(lag behind the champion's curve at the look, difference of the metric at the end)."""


def _pair(companion: Companion, fraction: float) -> _Pair | None:
    ours, theirs = companion.curve.at(fraction), companion.champion.at(fraction)
    return None if ours is None or theirs is None else (ours - theirs, companion.difference)


def _margin(pairs: Sequence[_Pair], risk: float) -> float:
    """How far behind a run as good as the champion may lie, but for a share `risk` of them.

    Only the nearer half of the runs, by their end, is asked: how a run that ended far off lay is another question,
    and what becomes of such runs is no matter of one margin or another. From 1 / risk runs on the margin is their
    conformal quantile (one more run exceeds it with at most that probability, whatever their distribution); before, it
    is Student's quantile of their root mean square, and at least what any of them, or any run that ended as good as
    the champion, was behind.
    """
    slope = _slope(pairs)
    nearest = sorted(pairs, key=lambda pair: abs(pair[1]))[: max(MIN_PAIRS, math.ceil(len(pairs) / 2))]
    behind = sorted(lag - slope * difference for lag, difference in nearest)
    count = len(behind)
    place = math.ceil((count + 1) * (1.0 - risk))
    if place <= count:
        return behind[place - 1]
    spread = math.sqrt(sum(x * x for x in behind) / count)
    as_good = [lag for lag, difference in pairs if difference <= 0.0]
    return max([student(1.0 - risk, count) * spread, behind[-1], *as_good])


def _slope(pairs: Sequence[_Pair]) -> float:
    """Loss at the look for a difference of one in the metric: a median of the ratios.

    Each is weighted by its difference, as least absolute deviations through the origin have it, but by no more than
    the median one: the ratios of near runs are mostly noise, and one wild run must not rule.
    """
    most = median([abs(difference) for _, difference in pairs])
    ratios = sorted((lag / difference, min(abs(difference), most)) for lag, difference in pairs if difference != 0.0)
    half = 0.5 * sum(weight for _, weight in ratios)
    for ratio, weight in ratios:
        half -= weight
        if half <= 0.0:
            return max(ratio, 0.0)
    return 0.0


def student(share: float, freedom: int) -> float:
    """Quantile of Student's t, within 2 % for five degrees of freedom and more (Abramowitz and Stegun, 26.7.5)."""
    z = NormalDist().inv_cdf(share)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / float(freedom) ** power for power, term in enumerate(terms))
