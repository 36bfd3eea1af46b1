"""What all charts share: colours, headings, legends, and turning a drawing into an SVG and a PNG.

Drawn with matplotlib's own objects: nothing global is touched, and equal histories give equal bytes. The colours stay
apart for colour-blind readers; what matters is told by shape or weight as well.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.runner.files import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.backend_bases import RendererBase
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Bbox

WIDTH = 12.0  # inches
DPI = 150
FORMATS = ("svg", "png")
INK, MUTED, FAINT, GRID = "#1f2933", "#6b7785", "#b4bdc9", "#e6e9ee"
PROVEN, OPEN, CRASH = "#0f766e", "#d97706", "#dc2626"
SMALL = 8.5  # points, of names beside marks


@dataclass(frozen=True, slots=True)
class Sheet:
    """A chart before it is drawn: its height in inches, and what draws it onto an empty figure."""

    height: float
    paint: Callable[[Figure], None]


def images(sheet: Sheet, formats: Sequence[str] = FORMATS) -> dict[str, bytes]:
    """The chart as the bytes of files, by format (svg, png)."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = {}
    with (
        matplotlib.rc_context({"font.family": "DejaVu Sans", "font.size": 10, "svg.hashsalt": "nightlab"}),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")  # characters that the font lacks: a box is drawn, that is enough
        figure = Figure(figsize=(WIDTH, sheet.height), dpi=DPI, facecolor="white")
        FigureCanvasAgg(figure)
        sheet.paint(figure)
        for form in formats:
            out = BytesIO()
            nothing = {"Date": None, "Creator": None} if form == "svg" else {"Software": None}
            figure.savefig(out, format=form, metadata=nothing)
            found[form] = out.getvalue()
    return found


def save(sheet: Sheet, path: Path) -> Path:
    """Draw a chart into `path`: a PNG, or an SVG where the name ends in .svg. Replaces it atomically.

    Raises:
        OSError: it cannot be written.
    """
    form = "svg" if path.suffix.lower() == ".svg" else "png"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, images(sheet, (form,))[form])
    return path


def inches(figure: Figure, left: float, top: float, right: float, foot: float) -> tuple[float, float, float, float]:
    """Where axes lie, given the margins around them in inches."""
    width, height = figure.get_size_inches()
    return (left / width, foot / height, 1 - (left + right) / width, 1 - (top + foot) / height)


def heading(figure: Figure, title: str, facts: Sequence[str]) -> None:
    """A title, and one line of facts below it."""
    height = figure.get_size_inches()[1]
    # parse_math: a dollar sign in somebody's words is a dollar sign.
    figure.text(0.02, 1 - 0.308 / height, title, size=14, weight="bold", color=INK, parse_math=False)
    figure.text(0.02, 1 - 0.6 / height, " · ".join(facts), size=10, color=MUTED, parse_math=False)


def empty(figure: Figure, words: str) -> None:
    """A sheet with nothing to show says so."""
    figure.text(0.5, 0.45, words, ha="center", color=MUTED, size=13)


def bare(axes: Axes, *, keep: Sequence[str] = ("bottom",)) -> None:
    """Axes without a frame but for the named sides, and without ticks' marks."""
    for side in ("top", "right", "left", "bottom"):
        axes.spines[side].set_visible(side in keep)
        axes.spines[side].set_color(FAINT)
    axes.tick_params(colors=MUTED, length=0, labelsize=9)
    axes.set_axisbelow(True)


def dot(face: str, edge: str, label: str, size: float = 6.0, marker: str = "o") -> Line2D:
    """A mark for a legend."""
    from matplotlib.lines import Line2D

    return Line2D([], [], ls="", marker=marker, ms=size, mfc=face, mec=edge, label=label)


def legend(axes: Axes, entries: Sequence[Line2D]) -> None:
    """One line of marks with their meanings, above the axes on the right."""
    axes.legend(handles=list(entries), loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(entries), frameon=False,
                fontsize=9, labelcolor=MUTED, handletextpad=0.6, columnspacing=1.4, borderaxespad=0.2)  # fmt: skip


def renderer_of(figure: Figure) -> RendererBase:
    """What measures text as it will be drawn."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    assert isinstance(figure.canvas, FigureCanvasAgg)
    found: RendererBase = figure.canvas.get_renderer()  # type: ignore[no-untyped-call]  # untyped in matplotlib
    return found


def is_free(box: Bbox, room: Bbox, taken: Sequence[Bbox]) -> bool:
    """Whether a box lies inside a room and covers nothing that is there already."""
    inside = room.contains(box.x0, box.y0) and room.contains(box.x1, box.y1)
    return inside and not any(box.overlaps(other) for other in taken)
