"""The family tree of the experiments: what was built on what, the chain thick, what came to nothing faded."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from nightlab.config import Settings
from nightlab.history import History
from nightlab.report.canvas import (
    CRASH,
    FAINT,
    INK,
    MUTED,
    OPEN,
    PROVEN,
    SMALL,
    Sheet,
    bare,
    dot,
    empty,
    heading,
    inches,
    is_free,
    legend,
    renderer_of,
)
from nightlab.report.lineage import Mark, Tree, hangs, tree
from nightlab.report.text import plain
from nightlab.report.words import count, decimals, signed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.transforms import Bbox

_HEAD, _FOOT, _LEFT, _RIGHT = 0.95, 0.6, 0.3, 0.3  # inches around the axes
_LANE = 0.36  # inches
_HANG, _LOW = 0.36, 0.72  # lanes below its rail at which a mark hangs; crashes lower, where marks stand for several
_PLACES = ((9, 0.0, "left"), (9, -0.42, "left"), (-7, 1.0, "right"), (-7, 0.55, "right"))
"""Where a name may stand: points to the right of its mark, lanes below it, and the side on which it begins."""
_LENGTH = 40  # characters of a name
_EDGE = "#c9d0d9"


@dataclass(frozen=True, slots=True)
class _Look:
    """How a mark is drawn: colours, shape, share of the usual area, what it lies over, width of its lines."""

    face: str
    edge: str | None
    marker: str = "o"
    weight: float = 0.8
    order: int = 4
    line: float = 1.2


_LOOKS = {
    "discard": _Look(FAINT, None, order=2, line=0.0),
    "crash": _Look(CRASH, None, "x", weight=0.6, order=2),
    "undecided": _Look("white", OPEN),
    "taken-back": _Look("white", PROVEN, weight=1.2),
    "keep": _Look(PROVEN, "white", weight=1.9, order=5),
    "baseline": _Look(MUTED, "white", "s", weight=1.6, order=5),
}


def family_chart(history: History, settings: Settings) -> Sheet:
    """Experiments along the axis in the order of time; each kept one opens the lane on which the next ideas hang."""
    shown = tree(history)
    return Sheet(_HEAD + _FOOT + _LANE * (max(shown.lanes, 3) + 1.15), lambda figure: _paint(figure, shown, settings))


def _paint(figure: Figure, shown: Tree, settings: Settings) -> None:
    kept = sum(len(path) - 1 for path in shown.path)
    facts = [count(shown.last, "experiment"), f"{kept} kept in the chain"]
    if shown.folded:
        facts.append(f"{count(shown.folded, 'side branch', 'side branches')} drawn on the lane of a champion")
    heading(figure, "What was built on what", facts)
    if not shown.marks:
        empty(figure, "no experiment yet")
        return
    axes = figure.add_axes(inches(figure, _LEFT, _HEAD, _RIGHT, _FOOT))
    axes.set_xlim(1 - 0.02 * shown.last - 0.3, shown.last + 0.02 * shown.last + 0.3)
    axes.set_ylim(max(shown.lanes, 3) + 0.4, -0.75)
    bare(axes)
    axes.set_yticks([])
    axes.xaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    axes.set_xlabel("experiment", color=MUTED, size=9.5, loc="right")
    aggregated = any(mark.count > 1 for mark in shown.marks)
    size = min(max(5200 / max(shown.last, 1), 16.0), 40.0)
    _rails(axes, shown, aggregated)
    _path(axes, shown)
    _draw_marks(axes, shown, size, aggregated)
    _names(figure, axes, shown, settings, aggregated)
    legend(axes, _entries(shown))


def _depth(mark: Mark, aggregated: bool) -> float:
    """Where a mark lies, in lanes from the top."""
    if not hangs(mark):
        return mark.lane
    return mark.lane + (_LOW if aggregated and mark.status == "crash" else _HANG)


def _rails(axes: Axes, shown: Tree, aggregated: bool) -> None:
    for rail in shown.rails:
        top = rail.above + (_HANG if rail.hangs else 0.0)
        axes.plot([rail.start, rail.start], [top, rail.lane], color=_EDGE, lw=1.0, zorder=1)
        axes.plot([rail.low, rail.high], [rail.lane, rail.lane], color=_EDGE, lw=1.0, zorder=1)
    for mark in shown.marks:
        if hangs(mark):
            axes.plot([mark.number] * 2, [mark.lane, _depth(mark, aggregated)], color=_EDGE, lw=0.8, zorder=1)
    for edge in shown.stones:
        axes.annotate("", (edge.end.number, _depth(edge.end, aggregated)),
                      (edge.start.number, _depth(edge.start, aggregated)),
                      arrowprops={"arrowstyle": "-", "color": OPEN, "lw": 1.0, "ls": (0, (3, 2)), "shrinkA": 3,
                                  "shrinkB": 3, "connectionstyle": "arc3,rad=0.15"}, zorder=2)  # fmt: skip


def _path(axes: Axes, shown: Tree) -> None:
    """From each champion down to its lane and along it to the next."""
    for path in shown.path:
        for here, after in pairwise(path):
            axes.plot([here.number, here.number, after.number], [here.lane, after.lane, after.lane], color=PROVEN,
                      lw=2.2, solid_joinstyle="round", zorder=3)  # fmt: skip


def _draw_marks(axes: Axes, shown: Tree, size: float, aggregated: bool) -> None:
    most = max((mark.count for mark in shown.marks), default=1)
    for status, look in _LOOKS.items():
        found = [mark for mark in shown.marks if mark.status == status]
        bulky = status == "discard" and aggregated
        sizes = [40 + 150 * (m.count - 1) / max(most - 1, 1) if bulky else size * look.weight for m in found]
        axes.scatter([m.number for m in found], [_depth(m, aggregated) for m in found], s=sizes, marker=look.marker,
                     c=look.face, edgecolors=look.edge, lw=look.line, zorder=look.order,
                     clip_on=False)  # fmt: skip
    for mark in shown.marks:
        if mark.count > 1:
            beside = mark.status == "crash"
            axes.annotate(str(mark.count), (mark.number, _depth(mark, aggregated)), xytext=(4.5 if beside else 0, 0),
                          textcoords="offset points", ha="left" if beside else "center", va="center_baseline",
                          size=6.5, color=CRASH if beside else INK, zorder=6)  # fmt: skip


def _names(figure: Figure, axes: Axes, shown: Tree, settings: Settings, aggregated: bool) -> None:
    """Name what was kept, the newest and the largest gains first, beside its mark where there is room."""
    from matplotlib.transforms import Bbox

    renderer = renderer_of(figure)
    lanes_box = axes.get_window_extent(renderer)
    room = Bbox([[figure.bbox.x0, lanes_box.y0 + 3], [figure.bbox.x1, lanes_box.y1]])
    taken = _obstacles(axes, shown, aggregated)
    named = [mark for path in shown.path for mark in path if mark.status == "keep"]
    gains = [mark.gain for mark in named if mark.gain is not None]
    digits = decimals(min((abs(g) for g in gains if g), default=None), None)
    shares = {here for path in shown.path for here, after in pairwise(path) if here.lane == after.lane}
    for mark in sorted(named, key=lambda m: (m is not named[-1], -(m.gain or 0.0), m.number)):
        told = f" {signed(mark.gain, digits)}" if mark.gain is not None else ""
        words = f"#{mark.number:.0f} {plain(mark.description, _LENGTH)}{told}"
        # A name to the left of the next lane would be taken for a name of that lane, unless the mark is its corner.
        for dx, lanes, side in _PLACES[:2] if mark in shares else _PLACES:
            text = axes.annotate(words, (mark.number, mark.lane + lanes), xytext=(dx, 0), textcoords="offset points",
                                 ha=side, va="center", size=SMALL, color=INK, zorder=7, parse_math=False)  # fmt: skip
            text.update_positions(renderer)
            box = text.get_window_extent(renderer)
            if is_free(Bbox([[box.x0, box.y0 + 2], [box.x1, box.y1 - 2]]), room, taken):
                taken.append(box)
                break
            text.remove()


def _obstacles(axes: Axes, shown: Tree, aggregated: bool) -> list[Bbox]:
    """What a name may not cover: marks, and the lines of the chain and of the rails."""
    from matplotlib.transforms import Bbox

    def box(x0: float, y0: float, x1: float, y1: float, pad: float) -> Bbox:
        (a, b), (c, d) = axes.transData.transform([(x0, y0), (x1, y1)])
        return Bbox([[min(a, c) - pad, min(b, d) - pad], [max(a, c) + pad, max(b, d) + pad]])

    found = []
    for mark in shown.marks:
        depth = _depth(mark, aggregated)
        found.append(box(mark.number, depth, mark.number, depth, 13 if mark.count > 1 else 7))
    for rail in shown.rails:
        found.append(box(rail.low, rail.lane, rail.high, rail.lane, 2))
        found.append(box(rail.start, rail.above, rail.start, rail.lane, 2))
    return found


def _entries(shown: Tree) -> list[Line2D]:
    from matplotlib.lines import Line2D

    statuses = {mark.status for mark in shown.marks}
    several = ", with a number: so many" if any(mark.count > 1 for mark in shown.marks) else ""
    entries = {
        "baseline": dot(MUTED, MUTED, "baseline", marker="s"),
        "keep": Line2D([], [], color=PROVEN, lw=2.2, marker="o", ms=6.5, mec="white", label="kept"),
        "taken-back": dot("white", PROVEN, "kept, and taken back"),
        "undecided": dot("white", OPEN, "not proven yet"),
        "discard": dot(FAINT, FAINT, f"discarded{several}"),
        "crash": dot(CRASH, CRASH, "crashed", 5.0, marker="x"),
    }
    found = [entry for status, entry in entries.items() if status in statuses]
    if shown.stones:
        found.append(Line2D([], [], color=OPEN, lw=1.0, ls=(0, (3, 2)), label="took a change over"))
    return found
