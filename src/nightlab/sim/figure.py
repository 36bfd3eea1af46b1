"""The picture of a simulation: what each policy truly gained, and how much of what it kept was noise."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nightlab.sim.tally import Row
    from nightlab.sim.world import World

TRUE, SAID, FALSE = "#1b7837", "#888888", "#b2182b"


def draw(rows: Sequence[Row], world: World, path: Path) -> None:
    """Draw the rows into `path`, in the format that its ending names."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 0.6 * len(rows) + 1.8), layout="constrained")
    FigureCanvasAgg(figure)
    gains, shares = figure.subplots(1, 2, sharey=True)
    places = range(len(rows))
    for place, row in zip(places, rows, strict=True):
        gain, said = row.true_gain, row.true_gain.value + row.optimism.value
        gains.errorbar(gain.value, place, xerr=2 * gain.se, fmt="o", color=TRUE, capsize=3)
        gains.plot(said, place, marker="|", markersize=14, color=SAID, linestyle="none")
        if row.false_share is not None:
            shares.errorbar(
                100 * row.false_share.value, place, xerr=200 * row.false_share.se, fmt="o", color=FALSE, capsize=3
            )
    gains.set_yticks(list(places), [row.policy for row in rows])
    gains.invert_yaxis()
    gains.set_xlabel(f"true gain (dot), what is reported (bar), {world.name}")
    shares.set_xlabel("false promotions, % of all")
    shares.set_xlim(left=-1.0)
    for axes in (gains, shares):
        axes.grid(axis="x", alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)
