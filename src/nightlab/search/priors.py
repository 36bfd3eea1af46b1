"""What the public histories say of each sort of change, as numbers.

Derived by `benchmarks/knob_priors.py` from 50 public logs of autoresearch nights (12,664 runs on H100, H200, GH200,
RTX 2060 and 5070 and Apple silicon, all under MIT), of which 35 hold usable cases; the method is told there. No number
is set by hand. Most cells lean on few cases and lie close to no effect: the table orders the first dozen ideas, after
that the lab's own verdicts do. The size of a step made no difference (its spread is at the floor of the grid), so no
size is preferred. How far a kind of change moves the metric differs much more between kinds than how often it pays:
that is `REACH`, and a proposal is weighed by both.
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
class Reach:
    """How far one kind of change moves the metric, for better or worse."""

    cases: int
    mean: float  # of log(|difference to the best so far| / the log's median)
    factor: float  # against the average kind, shrunk towards 1


def reach(kind: str, way: str) -> float:
    """How far such a change moves the metric, against the average kind; 1 where the histories are silent."""
    known = REACH.get(f"{kind}/edit" if way == "edit" else kind)
    return known.factor if known else 1.0


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

REACH: dict[str, Reach] = {
    "accumulation": Reach(70, +0.23, 1.20),
    "activation/edit": Reach(24, -0.28, 0.80),
    "architecture/edit": Reach(11, +1.56, 2.31),
    "attention/edit": Reach(12, +0.14, 1.07),
    "batch": Reach(25, +1.03, 2.09),
    "batch-size/edit": Reach(13, -0.57, 0.70),
    "beta1": Reach(5, +0.26, 1.09),
    "beta2": Reach(6, -0.61, 0.78),
    "depth": Reach(86, +0.71, 1.86),
    "device-batch": Reach(15, +0.99, 1.83),
    "embedding-lr": Reach(39, -1.13, 0.39),
    "eps": Reach(2, -1.89, 0.71),
    "final-lr": Reach(8, -0.24, 0.89),
    "fraction": Reach(2, -0.22, 0.96),
    "grad-clip": Reach(1, +0.66, 1.07),
    "heads": Reach(9, +0.77, 1.45),
    "init": Reach(3, +0.41, 1.10),
    "initialization/edit": Reach(4, -0.35, 0.89),
    "loss/edit": Reach(14, -0.35, 0.80),
    "lr": Reach(3, -0.24, 0.94),
    "matrix-lr": Reach(119, -0.49, 0.62),
    "mlp": Reach(7, -0.90, 0.67),
    "normalization/edit": Reach(4, -0.06, 0.98),
    "optimizer/edit": Reach(10, +0.20, 1.10),
    "regularization/edit": Reach(2, +0.67, 1.12),
    "rope": Reach(4, -0.44, 0.87),
    "scalar-lr": Reach(8, -0.65, 0.73),
    "schedule/edit": Reach(6, -0.26, 0.89),
    "softcap": Reach(11, +0.17, 1.08),
    "unembedding-lr": Reach(8, +0.51, 1.26),
    "warmdown": Reach(25, -0.43, 0.72),
    "warmup": Reach(15, +0.15, 1.08),
    "weight-decay": Reach(193, -0.36, 0.70),
    "width": Reach(9, +1.66, 2.26),
    "window": Reach(14, +0.12, 1.06),
}
