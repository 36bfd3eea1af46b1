"""The report's figures: what there is, drawing them all beside the report, and which of them still tell the truth."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nightlab.config import Settings
from nightlab.history import History
from nightlab.ledger.records import Records
from nightlab.runner.files import write_atomic

PROGRESS = "progress.png"  # beside the report; the name that older reports link to
FOLDER = "figures"  # beside the report: all figures, each in both formats
HISTORY = "history"
SHOWS: Mapping[str, str] = {
    HISTORY: "Every experiment, and the champion's level with its 95 % interval",
    "frontier": "The champions, one after the other, with their 95 % intervals",
    "lineage": "What was built on what: the chain, and what came to nothing",
    "niches": "Kinds of change against their costs: how many experiments, and the best gain",
    "emitters": "The gain that each way of proposing found, and the runs that it used",
}
"""What each figure shows, by the name of its files."""


def draw_figures(history: History, settings: Settings, place: Path) -> tuple[Path, ...]:
    """Draw all figures into `place`/figures as SVG and PNG, and the history's once more as `place`/progress.png.

    Args:
        history: the lab's own runs, with their patches: the kind of a change is read from them.
        settings: the lab.
        place: the reports' directory.

    Returns:
        What was written, progress.png first.

    Raises:
        OSError: something cannot be written.
    """
    from nightlab.report.canvas import images
    from nightlab.report.charts import progress_chart
    from nightlab.report.emitters import emitters_chart
    from nightlab.report.family import family_chart
    from nightlab.report.frontier import frontier_chart
    from nightlab.report.niche_map import niche_chart

    charts = dict(zip(SHOWS, (progress_chart, frontier_chart, family_chart, niche_chart, emitters_chart), strict=True))
    (place / FOLDER).mkdir(parents=True, exist_ok=True)
    written = []
    for name, chart in charts.items():
        drawn = images(chart(history, settings))
        for form, content in drawn.items():
            write_atomic(place / FOLDER / f"{name}.{form}", content)
            written.append(place / FOLDER / f"{name}.{form}")
        if name == HISTORY:
            write_atomic(place / PROGRESS, drawn["png"])
            written.insert(0, place / PROGRESS)
    return tuple(written)


def addresses() -> dict[str, str]:
    """Address as seen from the report -> what it shows, of all figures. That of the history is progress.png."""
    return {PROGRESS if name == HISTORY else f"{FOLDER}/{name}.png": words for name, words in SHOWS.items()}


def fresh_figures(place: Path, history: History, records: Records) -> dict[str, str]:
    """The same of those that show all there is.

    A figure that is older than the last thing that happened would tell another story than the text.
    """
    newest = records.recent(1)
    moments = [run.ended_at or run.started_at for run in history.runs.values()]
    last = max([*moments, *(record.at for record in newest)], default=0.0)
    return {address: words for address, words in addresses().items() if _drawn_at(place / address) >= last}


def _drawn_at(figure: Path) -> float:
    try:
        return figure.stat().st_mtime
    except OSError:
        return float("-inf")
