"""What the public histories say of each sort of change, as numbers.

Derived by `benchmarks/knob_priors.py` from 50 public logs of autoresearch nights (12,664 runs on H100, H200, GH200,
RTX 2060 and 5070 and Apple silicon, all under MIT), of which 35 hold usable cases; the method is told there. No number
is set by hand. Most cells lean on few cases and lie close to no effect: the table orders the first dozen ideas, after
that the lab's own verdicts do. The size of a step made no difference (its spread is at the floor of the grid), so no
size is preferred.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cell:
    """One kind of change in one way, over all logs."""

    cases: int
    shares: float  # cases weighed by one over the number of things they changed
    paid: float  # shares that beat the best so far, or were kept
    expected: float  # shares that would have, at their logs' own rates
    shift: float  # of the log-odds against those rates, shrunk towards none
    deviation: float  # standard deviation of that shift


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of the chance that a sort of change pays: a beta distribution."""

    won: float
    lost: float

    @property
    def mean(self) -> float:
        return self.won / (self.won + self.lost)

    def after(self, won: float, lost: float) -> Belief:
        return Belief(self.won + won, self.lost + lost)


def prior(kind: str, way: str) -> Belief:
    """Belief before the lab has tried it: the table's chance at the average log, worth `STRENGTH` verdicts."""
    return belief(chance(kind, way))


def belief(probability: float) -> Belief:
    """A chance as firmly held as the table's."""
    inside = min(0.99, max(0.01, probability))
    return Belief(inside * STRENGTH, (1 - inside) * STRENGTH)


def chance(kind: str, way: str) -> float:
    """Chance that such a change pays in the average log; that log's own rate where the table is silent."""
    cell = TABLE.get((kind, way))
    odds = math.log(OVERALL / (1 - OVERALL)) + (cell.shift if cell else 0.0)
    return 1 / (1 + math.exp(-odds))


CASES = 1895
"""Runs that differ in at most three known things from the best before them."""

LOGS = 35
"""Logs that hold such runs."""

OVERALL = 0.3290
"""Mean over the logs of the share of cases that paid."""

SPREAD = 0.476
"""Standard deviation of the shifts between cells, in log-odds: the most likely one."""

ECHO = 0.184
"""Correlation of a case with the one before of the same cell and log, over 1566 pairs: what the last try foretells."""

STRENGTH = 1 / ECHO - 1
"""Verdicts that a belief of the table is worth: under a beta prior of strength s two tries correlate by 1 / (s + 1)."""

TABLE: dict[tuple[str, str], Cell] = {
    ("accumulation", "down"): Cell(10, 10.0, 9.0, 7.4, +0.28, 0.42),
    ("accumulation", "up"): Cell(61, 61.0, 56.0, 48.6, +0.60, 0.30),
    ("activation", "edit"): Cell(27, 27.0, 8.0, 9.8, -0.18, 0.32),
    ("architecture", "edit"): Cell(14, 14.0, 0.0, 3.2, -0.50, 0.40),
    ("attention", "edit"): Cell(13, 13.0, 3.0, 4.5, -0.23, 0.40),
    ("batch", "down"): Cell(22, 22.0, 14.0, 9.7, +0.49, 0.33),
    ("batch", "up"): Cell(13, 11.0, 2.0, 3.4, -0.23, 0.41),
    ("batch-size", "edit"): Cell(20, 20.0, 13.0, 11.8, +0.16, 0.36),
    ("beta1", "down"): Cell(3, 3.0, 1.0, 1.4, -0.07, 0.46),
    ("beta1", "up"): Cell(2, 2.0, 0.0, 0.4, -0.09, 0.46),
    ("beta2", "down"): Cell(5, 5.0, 1.0, 1.1, -0.03, 0.43),
    ("beta2", "up"): Cell(1, 1.0, 0.0, 0.2, -0.05, 0.47),
    ("depth", "down"): Cell(121, 81.7, 8.0, 8.7, -0.08, 0.34),
    ("depth", "up"): Cell(141, 86.7, 4.5, 6.5, -0.21, 0.33),
    ("device-batch", "down"): Cell(89, 48.5, 5.0, 3.9, +0.16, 0.37),
    ("device-batch", "up"): Cell(66, 33.2, 0.0, 1.0, -0.20, 0.44),
    ("embedding-lr", "down"): Cell(109, 62.2, 5.5, 5.8, -0.04, 0.36),
    ("embedding-lr", "up"): Cell(114, 69.0, 5.0, 6.8, -0.21, 0.34),
    ("eps", "up"): Cell(2, 2.0, 1.0, 0.4, +0.12, 0.46),
    ("final-lr", "down"): Cell(2, 2.0, 0.0, 0.4, -0.08, 0.46),
    ("final-lr", "up"): Cell(8, 8.0, 4.0, 3.0, +0.18, 0.43),
    ("fraction", "up"): Cell(2, 2.0, 1.0, 0.5, +0.10, 0.46),
    ("grad-clip", "up"): Cell(1, 1.0, 0.0, 0.8, -0.18, 0.47),
    ("heads", "down"): Cell(12, 9.5, 2.0, 2.9, -0.17, 0.42),
    ("heads", "up"): Cell(7, 3.8, 0.0, 0.3, -0.06, 0.46),
    ("init", "up"): Cell(3, 3.0, 0.0, 0.6, -0.12, 0.45),
    ("initialization", "edit"): Cell(4, 4.0, 0.0, 0.9, -0.19, 0.45),
    ("loss", "edit"): Cell(14, 14.0, 4.0, 4.4, -0.05, 0.38),
    ("lr", "down"): Cell(1, 1.0, 0.0, 0.8, -0.18, 0.47),
    ("lr", "up"): Cell(2, 2.0, 0.0, 1.6, -0.34, 0.46),
    ("matrix-lr", "down"): Cell(144, 105.5, 17.0, 10.9, +0.58, 0.29),
    ("matrix-lr", "up"): Cell(258, 149.2, 10.5, 11.3, -0.07, 0.29),
    ("mlp", "down"): Cell(5, 5.0, 3.0, 1.3, +0.32, 0.43),
    ("mlp", "up"): Cell(2, 2.0, 1.0, 0.8, +0.05, 0.45),
    ("momentum", "down"): Cell(1, 1.0, 1.0, 0.9, +0.02, 0.47),
    ("normalization", "edit"): Cell(7, 7.0, 2.0, 2.6, -0.11, 0.44),
    ("optimizer", "edit"): Cell(13, 13.0, 6.0, 8.6, -0.42, 0.40),
    ("regularization", "edit"): Cell(2, 2.0, 0.0, 0.5, -0.11, 0.46),
    ("rope", "down"): Cell(2, 2.0, 0.0, 0.3, -0.07, 0.46),
    ("rope", "up"): Cell(2, 2.0, 1.0, 0.4, +0.12, 0.46),
    ("scalar-lr", "down"): Cell(6, 5.5, 3.0, 1.3, +0.31, 0.43),
    ("scalar-lr", "up"): Cell(10, 6.5, 2.0, 2.0, +0.01, 0.44),
    ("schedule", "edit"): Cell(6, 6.0, 1.0, 2.2, -0.21, 0.42),
    ("softcap", "down"): Cell(6, 6.0, 1.0, 1.9, -0.16, 0.43),
    ("softcap", "up"): Cell(5, 5.0, 0.0, 2.2, -0.42, 0.44),
    ("unembedding-lr", "down"): Cell(9, 6.3, 0.0, 1.2, -0.22, 0.44),
    ("unembedding-lr", "up"): Cell(7, 5.2, 0.0, 0.9, -0.17, 0.45),
    ("warmdown", "down"): Cell(24, 22.8, 11.0, 9.0, +0.24, 0.34),
    ("warmdown", "up"): Cell(9, 7.8, 2.0, 1.9, +0.02, 0.42),
    ("warmup", "down"): Cell(19, 11.5, 1.0, 1.7, -0.13, 0.42),
    ("warmup", "up"): Cell(27, 19.2, 2.5, 2.5, +0.00, 0.39),
    ("weight-decay", "down"): Cell(165, 133.2, 10.0, 12.9, -0.24, 0.29),
    ("weight-decay", "up"): Cell(181, 125.8, 11.5, 8.2, +0.29, 0.29),
    ("width", "down"): Cell(9, 6.0, 1.0, 1.2, -0.05, 0.46),
    ("width", "up"): Cell(56, 38.0, 1.5, 4.3, -0.40, 0.39),
    ("window", "down"): Cell(3, 3.0, 1.0, 0.6, +0.08, 0.45),
    ("window", "switch"): Cell(27, 19.0, 0.0, 0.4, -0.08, 0.46),
    ("window", "up"): Cell(1, 1.0, 0.0, 0.2, -0.05, 0.47),
}
