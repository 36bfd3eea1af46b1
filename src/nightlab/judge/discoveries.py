"""Discoveries: which gains hold up however many ideas a lab tries over its life. Online control of false discoveries.

The race steers; with its prior some 5 % of what it keeps may be noise, and that is good enough to build on. To *claim*
a gain more is asked here: of all that is called a discovery, at most `FALSE_SHARE` is expected to be false, whatever
the prior, however long the lab runs and whenever somebody looks.

Each idea is the hypothesis "no better than its champion". Its evidence is an *e-value*: a number that is at most 1 on
average while the hypothesis is true, so that 50 means what odds of 50 to 1 mean at a betting table. The e-values meet
the levels of e-LOND (Xu & Ramdas, Online multiple testing with e-values, AISTATS 2024), which holds whatever the
dependence between them.

What is assumed: differences of two runs side by side are independent and normal around the gain with one unknown
standard deviation. Drift of the machine would break that for runs far apart, so only runs at most `REACH` slots apart
are paired, each run once. Two arms on the same seed differ less than on different ones, which errs on the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nightlab.judge.model import Row
from nightlab.types import ExperimentId

FALSE_SHARE = 0.10  # expected share of false ones among the discoveries (issue: alpha = 0.10)

REACH = 6
"""Slots within which two runs are side by side: half an hour of five-minute runs.

On one H200 the standard deviation of a run, as differences show it, is 0.00017 within eight minutes, 0.00024 within
half an hour and 0.00043 beyond ten hours (statistics.md, 2b: adjacent reruns).
"""

EFFECTS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Gains that the e-value bets on, in standard deviations of a difference of two runs, a fifth of the stake on each.

Doublings around the median effect of an idea, 1.4 of them (2 standard deviations of a run, `model.EFFECT_SCALE`). Any
fixed bets give an e-value; these decide only for which gains it grows fast.
"""

LARGEST = 700.0  # logarithm of an e-value beyond which it is cut off: floats end there

_NODES = 512  # of the integral over the noise; against 8192 the e-value moves by at most 1e-5 of itself (measured)
_WIDTH = 12.0  # standard deviations of its integrand on either side of its peak


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Differences of runs side by side, units of the metric."""

    gains: tuple[float, ...]  # champion minus challenger as losses: positive is better
    noise: tuple[float, ...]  # of two runs of one source each: their mean is zero whatever is true


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """What e-LOND asked of one hypothesis, and whether it was met."""

    needed: float  # the e-value from which it is a discovery
    passed: bool


class SideBySide:
    """The runs of a lab, to be paired for one comparison after another.

    A run takes the nearest earlier one that is free and at most `REACH` slots away. Those of the two arms compared pair
    with each other; those of any other arm, and those of these two for which it is too late to find a partner, pair
    with their own kind. Which runs meet depends on slots only, never on values, and a later run undoes no pair: this
    is what lets anybody look at any time.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        """`rows`: every finished run, oldest first."""
        self._rows: dict[ExperimentId, list[Row]] = {}
        self._last = -math.inf
        for row in rows:
            self._rows.setdefault(row.arm, []).append(row)
            self._last = row.slot
        self._noise = {arm: _own_kind(own) for arm, own in self._rows.items()}

    def pairs(self, challenger: ExperimentId, champion: ExperimentId) -> Pairs:
        """The evidence for the challenger's gain over the champion."""
        gains: list[float] = []
        waiting: list[Row] = []
        late: dict[ExperimentId, list[Row]] = {challenger: [], champion: []}
        both = [*self._rows.get(challenger, ()), *self._rows.get(champion, ())]
        for row in sorted(both, key=lambda one: one.slot):
            for other in [w for w in waiting if row.slot - w.slot > REACH]:
                waiting.remove(other)
                late[other.arm].append(other)
            partner = next((other for other in reversed(waiting) if other.arm != row.arm), None)
            if partner is None:
                waiting.append(row)
                continue
            waiting.remove(partner)
            ours, theirs = (row, partner) if row.arm == challenger else (partner, row)
            gains.append(theirs.value - ours.value)
        if not gains:
            return Pairs(gains=(), noise=())
        for other in waiting:
            if self._last - other.slot > REACH:
                late[other.arm].append(other)
        noise = [d for arm, found in self._noise.items() if arm not in late for d in found]
        return Pairs(gains=tuple(gains), noise=(*noise, *(d for own in late.values() for d in _own_kind(own))))


def _own_kind(rows: Iterable[Row]) -> list[float]:
    """Differences of one arm's runs, each run once; the same seed again is no new evidence of the noise."""
    found: list[float] = []
    alone: Row | None = None
    for row in rows:
        if alone is not None and row.slot - alone.slot <= REACH and row.seed != alone.seed:
            found.append(row.value - alone.value)
            alone = None
        else:
            alone = row
    return found


def e_value(pairs: Pairs) -> float:
    """Evidence for a gain: at most 1 on average if there is none. 1 without a pair.

    The safe t-test (Perez-Ortiz, Lardy, de Heide & Grunwald, E-statistics, group invariance and anytime-valid testing,
    Annals of Statistics 2024): the likelihood ratio of "the gain is d standard deviations" to "it is zero" with the
    right Haar prior 1/s on the standard deviation s, averaged over `EFFECTS`. It depends on the data through the ratio
    sum(gains) / root(sum of all squares) only, which every lowering of the gains makes smaller: a negative gain is no
    easier to mistake for a positive one than none at all.
    """
    squares = sum(d * d for d in (*pairs.gains, *pairs.noise))
    if not pairs.gains or not squares > 0.0:
        return 1.0
    count, pulled = len(pairs.gains), sum(pairs.gains) / math.sqrt(squares)
    whole = count + len(pairs.noise)
    nothing = (0.5 * whole - 1.0) * math.log(2.0) + math.lgamma(0.5 * whole)  # the integral without a slope
    bets = [math.exp(min(_log_integral(whole, d * pulled) - nothing - 0.5 * count * d * d, LARGEST)) for d in EFFECTS]
    return sum(bets) / len(bets)


def _log_integral(count: int, slope: float) -> float:
    """Logarithm of the integral of u^(count-1) exp(-u^2/2 + slope u) over u > 0, by the trapezoidal rule."""
    power = count - 1
    peak = 0.5 * (slope + math.sqrt(slope * slope + 4.0 * power)) if power else max(slope, 0.0)
    width = _WIDTH / math.sqrt(1.0 + (power / (peak * peak) if peak > 0.0 and power else 0.0))
    u = np.linspace(max(peak - width, 0.0), peak + width, _NODES)
    with np.errstate(divide="ignore"):
        logs = (power * np.log(u) if power else 0.0) - 0.5 * u * u + slope * u
    top = float(logs.max())
    heights = np.exp(logs - top)
    area = float((heights[1:] + heights[:-1]).sum()) * 0.5 * float(u[1] - u[0])
    return top + math.log(area)


def gamma(place: int) -> float:
    """The share of `FALSE_SHARE` that goes to the hypothesis at a place from 1 on.

    Proportional to log(max(t, 2)) / (t exp(sqrt(log t))), the usual sequence of online testing (Javanmard & Montanari,
    Online rules for control of false discovery rate and false discovery exceedance, Annals of Statistics 2018): it
    falls slowly, so that a late idea still has a chance. With this factor all shares together make 0.98.
    """
    return 0.0772 * math.log(max(place, 2)) / (place * math.exp(math.sqrt(math.log(place))))


def e_lond(evidence: Iterable[float]) -> list[Level]:
    """The level that each e-value met, in the order in which the hypotheses were put up.

    The t-th hypothesis is a discovery if its e-value reaches 1 / (FALSE_SHARE gamma(t) (discoveries before it + 1)).
    """
    levels: list[Level] = []
    found = 0
    for place, value in enumerate(evidence, start=1):
        needed = 1.0 / (FALSE_SHARE * gamma(place) * (found + 1))
        levels.append(Level(needed=needed, passed=value >= needed))
        found += value >= needed
    return levels
