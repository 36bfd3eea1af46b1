"""What runs of one unchanged source show: whether seeds matter, how large the noise is, whether the values drift."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from nightlab.config import JudgeSettings
from nightlab.judge.model import Noise, Row, distinct, noise
from nightlab.types import ExperimentId

KNOWN_WITHIN = 2.0
"""Factor between the estimate of the noise and the upper end of its interval from which more runs tell little.

With half the true noise the race makes 8 % false promotions instead of 1 %, with one and a half times it loses an
eighth of its gain (statistics.md, section 3): a factor of two is where an error begins to matter. Nine runs do where
the value follows its seed, some twenty where the machine may drift: neighbours tell less of what an hour changes.
"""

DRIFT_P = 0.01  # below which a trend over the order of the runs is told; it is looked for once
_ONE = ExperimentId("the command")


class Behaviour(StrEnum):
    """What a seed does to the command."""

    CONSTANT = "constant"  # one value on every seed: nothing that repeats could show
    SEEDED = "seeded"  # the same value on the same seed, others on others
    FREE = "free"  # different values on the same seed
    UNKNOWN = "unknown"  # too few runs to tell


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """Values that rise or fall with the order of the runs."""

    step: float  # median change from one run to the next, units of the metric
    p: float  # two-sided, of Mann's test for a trend


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    mean: float  # units of the metric; a run that only repeats another one bit by bit is not counted twice
    behaviour: Behaviour
    noise: Noise | None  # None where the runs say nothing of it
    drift: Drift | None  # None without evidence of one

    @property
    def is_known(self) -> bool:
        """Whether the noise is known within a factor of `KNOWN_WITHIN`."""
        return self.noise is not None and self.noise.high <= KNOWN_WITHIN * self.noise.sd


def repeats(runs: Sequence[tuple[int, float]]) -> Repeats:
    """What the runs show.

    Args:
        runs: (seed, value) in the order in which they happened, at least one.

    Raises:
        MetricError: a value is not finite.
    """
    behaviour = _behaviour(runs)
    follows = behaviour in (Behaviour.CONSTANT, Behaviour.SEEDED)  # its seed alone: no state of the machine moves it
    rows = distinct(Row(_ONE, seed, place, value, drifts=not follows) for place, (seed, value) in enumerate(runs))
    values = [value for _, value in runs]
    return Repeats(
        mean=statistics.fmean(row.value for row in rows),
        behaviour=behaviour,
        noise=None if behaviour is Behaviour.CONSTANT else noise(rows, JudgeSettings()),
        drift=None if follows else _drift(values),
    )


def _behaviour(runs: Sequence[tuple[int, float]]) -> Behaviour:
    by_seed: dict[int, list[float]] = {}
    for seed, value in runs:
        by_seed.setdefault(seed, []).append(value)
    if any(len(set(values)) > 1 for values in by_seed.values()):
        return Behaviour.FREE
    if len(by_seed) == 1:
        return Behaviour.UNKNOWN
    if len({value for _, value in runs}) == 1:
        return Behaviour.CONSTANT
    return Behaviour.SEEDED if len(runs) > len(by_seed) else Behaviour.UNKNOWN


# --- drift ------------------------------------------------------------------------------------------------------


def _drift(values: Sequence[float]) -> Drift | None:
    """Mann's test: the number of pairs in ascending order against all orders of n runs, which are equally likely.

    H. B. Mann, Nonparametric tests against trend, Econometrica 13 (1945). Ties count half, which makes the exact
    distribution (that of values without ties) a cautious one.
    """
    n = len(values)
    pairs = [(b > a) + 0.5 * (b == a) for place, a in enumerate(values) for b in values[place + 1 :]]
    extreme = max(sum(pairs), len(pairs) - sum(pairs))
    p = min(1.0, 2.0 * _share_from(n, extreme))
    if p >= DRIFT_P:
        return None
    steps = [(b - a) / (j - i) for i, a in enumerate(values) for j, b in enumerate(values) if j > i]
    return Drift(step=statistics.median(steps), p=p)


def _share_from(n: int, ascending: float) -> float:
    """Share of the orders of `n` different values with at least so many ascending pairs."""
    counts = [1]
    for k in range(2, n + 1):  # the k-th value may stand before 0 ... k - 1 of the earlier ones
        longer = [0] * (len(counts) + k - 1)
        for place, count in enumerate(counts):
            for more in range(k):
                longer[place + more] += count
        counts = longer
    return sum(count for pairs, count in enumerate(counts) if pairs >= ascending) / sum(counts)
