"""Which side of a comparison to run next: the one whose run tells more of the difference.

What a run tells depends on what it would run beside. On a machine that drifts a champion that last ran hours ago says
little of how good it would be now, however often it ran, and one run of it beside the challenger says much.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nightlab.judge.covariance import Grid, Row, variance_of_difference
from nightlab.types import ExperimentId

Design = tuple[tuple[bool, Row], ...]
"""Runs of a pair: (whether the challenger's, the run)."""

_TIE = 1e-9  # share by which a variance must be smaller to be more than rounding


def pair_design(challenger: ExperimentId, champion: ExperimentId, rows: Sequence[Row]) -> Design:
    """The pair's runs out of all."""
    return tuple((row.arm == challenger, row) for row in rows if row.arm in (challenger, champion))


def with_next(design: Design, ours: bool) -> Design:
    """The design after one more run on one side, right after the newest, with the seed that `race.next_seed` takes."""
    own = {row.seed for side, row in design if side is ours}
    unpaired = [row.seed for side, row in design if side is not ours and row.seed not in own]
    latest = max((row for _, row in design), key=lambda row: row.slot)
    seed = unpaired[0] if unpaired else max(row.seed for _, row in design) + 1
    return (*design, (ours, replace(latest, seed=seed, slot=latest.slot + 1.0)))


def more_telling(challenger: ExperimentId, champion: ExperimentId, rows: Sequence[Row], point: Grid) -> ExperimentId:
    """The side whose next run leaves the smaller variance of the difference; the challenger if both do alike.

    Args:
        rows: in which both have run.
        point: how runs vary together, a grid of one point (`Posterior.point`).
    """
    design = pair_design(challenger, champion, rows)
    ours, theirs = (variance_of_difference(with_next(design, side), point) for side in (True, False))
    return champion if theirs < ours * (1.0 - _TIE) else challenger
