"""Which side of a comparison to run next, and how many more runs it takes: the side whose run tells more goes first.

What a run tells depends on what it would run beside. On a machine that drifts a champion that last ran hours ago says
little of how good it would be now, however often it ran, and one run of it beside the challenger says much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from statistics import NormalDist, fmean, stdev

from nightlab.config import JudgeSettings
from nightlab.judge.covariance import Grid, Row, variance_of_difference
from nightlab.judge.model import noise, posterior
from nightlab.judge.prior import Prior
from nightlab.judge.wording import FAR
from nightlab.types import ExperimentId

Design = tuple[tuple[bool, Row], ...]
"""Runs of a pair: (whether the challenger's, the run)."""

_NO_SEED = -1  # of a run whose seed nobody shares
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


# --- how many more runs -----------------------------------------------------------------------------------------


def runs_until_kept(
    challenger: ExperimentId,
    champion: ExperimentId,
    rows: Sequence[Row],
    gain: float,
    settings: JudgeSettings,
    prior: Prior,
    *,
    point: Grid,
    fewest: int,
) -> int | None:
    """How many more runs, on either side, it takes until the judge believes in the challenger, if `gain` is true.

    The judge is asked itself, over runs that are made up: around the champion's mean on one side and `gain` below it on
    the other, scattered as much as runs of the lab do that follow each other, each on a seed of its own. Each goes to
    the side that tells more, as in the race.

    Args:
        rows: the judge's evidence, in which the champion has run; the challenger need not have.
        gain: units of the metric.
        point: how runs vary together, a grid of one point (`Posterior.point`).
        fewest: distinct seeds that the challenger must have.

    Returns:
        None if it is no gain, the noise is unknown, or `FAR` runs will not do.
    """
    spread = noise(rows, settings)
    if gain <= 0.0 or spread is None:
        return None
    beside = spread.sd * math.sqrt(1.0 - spread.drift_share)  # what drifts hardly changes from one run to the next
    level = fmean(row.value for row in rows if row.arm == champion)
    means = {challenger: level - gain, champion: level}
    lacking = fewest - len({row.seed for row in rows if row.arm == challenger})
    sides: list[ExperimentId] = []
    for total in range(1, FAR + 1):
        so_far = [*rows, *made_up(rows, [(arm, 0.0) for arm in sides])]
        sides.append(challenger if total <= lacking else more_telling(challenger, champion, so_far, point))
        if total < lacking:
            continue
        scatter = {arm: iter(_scatter(sides.count(arm))) for arm in means}
        made = [(arm, means[arm] + beside * next(scatter[arm])) for arm in sides]
        belief = posterior(challenger, champion, [*rows, *made_up(rows, made)], settings, prior)
        if belief is not None and belief.better >= settings.promote:
            return total
    return None


def made_up(rows: Sequence[Row], made: Sequence[tuple[ExperimentId, float]]) -> list[Row]:
    """Rows that follow the newest one on its machine, one a slot, each on a seed that nobody shares."""
    newest = max(rows, key=lambda row: row.slot)
    return [
        replace(newest, arm=arm, seed=_NO_SEED - place, slot=newest.slot + 1.0 + place, value=value, speed=None)
        for place, (arm, value) in enumerate(made)
    ]


def _scatter(count: int) -> list[float]:
    """`count` numbers that lie as draws of a standard normal do, with mean 0 and, from two on, standard deviation 1.

    High and low in turn, from the outside in: in ascending order they would pass for a machine that drifts.
    """
    if count < 2:
        return [0.0] * count
    steps = [NormalDist().inv_cdf((place + 0.5) / count) for place in range(count)]
    width = stdev(steps)
    return [steps[-1 - place // 2 if place % 2 else place // 2] / width for place in range(count)]
