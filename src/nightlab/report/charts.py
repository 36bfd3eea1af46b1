"""The progress chart: every experiment, what was kept, and the champion's level with its interval."""

from __future__ import annotations

from itertools import pairwise, product
from typing import TYPE_CHECKING

from nightlab.config import Settings
from nightlab.history import History
from nightlab.report.canvas import (
    CRASH,
    FAINT,
    GRID,
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
from nightlab.report.progress import Progress, Step, progress
from nightlab.report.text import plain
from nightlab.report.words import count, decimals, number
from nightlab.types import Direction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation
    from matplotlib.transforms import Bbox

_HEIGHT = 5.6  # inches
_LABELS = 12  # champions that are named at most
_LABEL_LENGTH = 34
_AWAY = (15, 28, 41, 56, 74, 96)  # points between a champion and its name, the nearest that fits
_FEW = 200  # experiments up to which single runs are drawn too
_RIM = 0.035  # share of the height that the crash marks at the foot take


def progress_chart(history: History, settings: Settings) -> Sheet:
    """The whole history: every experiment, and the level of the best so far with its 95 % interval."""
    shown = progress(history, settings)
    return Sheet(_HEIGHT, lambda figure: _paint(figure, shown, settings))


def _paint(figure: Figure, shown: Progress, settings: Settings) -> None:
    if shown.points or shown.failed:
        axes = figure.add_axes(inches(figure, 0.78, 0.87, 1.38, 0.59))
        _frame(axes, shown)
        _points(axes, shown)
        _failures(axes, shown)
        _champions(axes, shown)
        _names(figure, axes, shown, settings)
        _legend(axes, shown)
    else:
        empty(figure, "no finished run yet")
    _title(figure, shown, settings)


def _frame(axes: Axes, shown: Progress) -> None:
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    span = shown.high - shown.low
    axes.set_xlim(1 - 0.02 * shown.last - 0.3, shown.last + 0.01 * shown.last + 0.3)
    axes.set_ylim(shown.low - _RIM * span, shown.high)
    axes.xaxis.set_major_locator(MaxNLocator(nbins=10, integer=True, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(nbins=7))
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(max(abs(shown.low), abs(shown.high)) >= 1e7)
    axes.yaxis.set_major_formatter(formatter)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    bare(axes)
    axes.set_xlabel("experiment", color=MUTED, size=9.5, loc="right")


def _points(axes: Axes, shown: Progress) -> None:
    """Every experiment as a dot; what lies outside the range as an arrowhead at the rim."""
    size = min(max(2600 / max(shown.last, 1), 7.0), 34.0)
    if shown.last <= _FEW:
        single = [(p.number, v) for p in shown.points if len(p.runs) > 1 for v in p.runs if _inside(v, shown)]
        axes.scatter([x for x, _ in single], [y for _, y in single], s=0.4 * size, c=MUTED, alpha=0.35, lw=0, zorder=2)
    looks = {"discard": (FAINT, "full"), "crash": (FAINT, "full"), "undecided": (OPEN, "open")}
    for status, (colour, fill) in looks.items():
        found = [p for p in shown.points if p.status == status and _inside(p.value, shown)]
        face = "white" if fill == "open" else colour
        x, y = [p.number for p in found], [p.value for p in found]
        axes.scatter(x, y, s=size, c=face, edgecolors=colour, lw=1.2 if fill == "open" else 0, zorder=3, alpha=0.9)
    kept = [p for p in shown.points if p.status in ("keep", "baseline") and _inside(p.value, shown)]
    axes.scatter([p.number for p in kept], [p.value for p in kept], s=max(1.7 * size, 26), c=PROVEN,
                 edgecolors="white", lw=1.3, zorder=6)  # fmt: skip
    _outside(axes, shown, size)


def _inside(value: float, shown: Progress) -> bool:
    return shown.low <= value <= shown.high


def _outside(axes: Axes, shown: Progress, size: float) -> None:
    span = shown.high - shown.low
    for marker, edge, found in (
        ("^", shown.high - 0.015 * span, [p for p in shown.points if p.value > shown.high]),
        ("v", shown.low + 0.015 * span, [p for p in shown.points if p.value < shown.low]),
    ):
        axes.scatter([p.number for p in found], [edge] * len(found), s=size, marker=marker, c=FAINT, lw=0, zorder=3)
        if found:
            vertical = "top" if marker == "^" else "bottom"
            axes.annotate(f"{len(found)} off the scale", (1.0, edge), xycoords=("axes fraction", "data"), xytext=(6, 0),
                          textcoords="offset points", color=MUTED, size=8, va=vertical,
                          annotation_clip=False)  # fmt: skip


def _failures(axes: Axes, shown: Progress) -> None:
    size = min(max(2600 / max(shown.last, 1), 7.0), 26.0)
    axes.scatter(shown.failed, [0.5 * _RIM] * len(shown.failed), transform=axes.get_xaxis_transform(), marker="x",
                 s=size, c=CRASH, lw=min(0.28 * size**0.5, 1.4), zorder=4)  # fmt: skip


def _champions(axes: Axes, shown: Progress) -> None:
    """The level of each champion for as long as it was one, with its interval."""
    starts = [line[0].number for line in shown.lines]
    edge = shown.last + 0.01 * shown.last + 0.3
    for index, line in enumerate(shown.lines):
        end = starts[index + 1] if index + 1 < len(starts) and starts[index + 1] > line[-1].number else edge
        x = [s.number for s in line] + [end]
        steps = [*line, line[-1]]
        axes.step(x, [s.value for s in steps], where="post", color=PROVEN, lw=1.8, zorder=5)
        axes.fill_between(x, [s.low for s in steps], [s.high for s in steps], step="post", color=PROVEN, alpha=0.13,
                          lw=0, zorder=1)  # fmt: skip
    if shown.lines:
        first, last = shown.lines[-1][0], shown.lines[-1][-1]
        digits = decimals(last.high - last.value, last.value)
        if last is not first:
            axes.axhline(first.value, color=MUTED, lw=0.9, ls=(0, (2, 3)), zorder=1)
            _beside(axes, first.value, f"baseline\n{number(first.value, digits)}", MUTED, "normal")
        _beside(axes, last.value, f"{'best' if last is not first else 'baseline'}\n{number(last.value, digits)}",
                PROVEN, "bold")  # fmt: skip


def _beside(axes: Axes, value: float, text: str, colour: str, weight: str) -> None:
    axes.annotate(text, (1.0, value), xycoords=("axes fraction", "data"), xytext=(6, 0), textcoords="offset points",
                  color=colour, size=9.5, weight=weight, va="center", linespacing=1.25,
                  annotation_clip=False)  # fmt: skip


def _names(figure: Figure, axes: Axes, shown: Progress, settings: Settings) -> None:
    """Name champions, the newest and the largest steps first, where there is room on the better side of the line."""
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    renderer = renderer_of(figure)
    whole = axes.get_window_extent(renderer)
    room = Bbox([[whole.x0, whole.y0 + _RIM * whole.height], [whole.x1, whole.y1]])
    down = -1 if settings.metric.direction is Direction.MINIMIZE else 1
    taken = _obstacles(axes, shown)
    leaders: list[tuple[float, float]] = []  # points on the thin lines that are drawn already
    for step in _worth_naming(shown)[:_LABELS]:
        for away, side in product(_AWAY, ("right", "left")):
            label = _label(axes, step, down * away, side)
            label.update_positions(renderer)
            box = Text.get_window_extent(label, renderer)  # an annotation's own extent would include its line
            leader = _leader(axes, step, box, side, down)
            crossed = any(box.contains(*p) for p in leaders) or any(o.contains(*p) for o in taken for p in leader)
            if is_free(box, room, taken) and not crossed:
                taken.append(box)
                leaders.extend(leader)
                break
            label.remove()


def _leader(axes: Axes, step: Step, box: Bbox, side: str, down: int) -> list[tuple[float, float]]:
    """Points on the thin line between a name and its dot, a little off the dot."""
    x0, y0 = axes.transData.transform((step.number, step.value))
    x1, y1 = box.x1 if side == "right" else box.x0, box.y1 if down < 0 else box.y0
    return [(x0 + part * (x1 - x0), y0 + part * (y1 - y0)) for part in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)]


def _obstacles(axes: Axes, shown: Progress) -> list[Bbox]:
    """What a name may not cover: kept dots and the champion's line."""
    from matplotlib.transforms import Bbox

    found = []
    for line in shown.lines:
        for here, after in zip(line, (*line[1:], None), strict=True):
            x0, y0 = axes.transData.transform((here.number, here.value))
            x1 = axes.transData.transform((after.number if after else shown.last, here.value))[0]
            found.append(Bbox([[x0 - 6, y0 - 4], [max(x1, x0 + 6), y0 + 4]]))
            if after is not None:
                y1 = axes.transData.transform((after.number, after.value))[1]
                found.append(Bbox([[x1 - 3, min(y0, y1)], [x1 + 3, max(y0, y1)]]))
    return found


def _worth_naming(shown: Progress) -> list[Step]:
    """Champions, the newest first, then by how far they moved the line."""
    if not shown.lines:
        return []
    moves = {s: abs(s.value - before.value) for line in shown.lines for before, s in pairwise(line)}
    ordered = sorted(moves, key=lambda s: (-moves[s], s.number))
    newest = [s for s in ordered if s is shown.lines[-1][-1]]
    return [*newest, *(s for s in ordered if s not in newest)]


def _label(axes: Axes, step: Step, dy: float, side: str) -> Annotation:
    # parse_math: a dollar sign in somebody's description is a dollar sign.
    return axes.annotate(
        f"#{step.number} {plain(step.description, _LABEL_LENGTH)}",
        (step.number, step.value),
        xytext=(-5 if side == "right" else 5, dy),
        textcoords="offset points",
        ha=side,
        va="center",
        size=SMALL,
        color=INK,
        zorder=7,
        parse_math=False,
        arrowprops={
            "arrowstyle": "-",
            "color": FAINT,
            "lw": 0.7,
            "shrinkA": 0,
            "shrinkB": 4,
            "relpos": (1.0 if side == "right" else 0.0, 1.0 if dy < 0 else 0.0),
        },
    )


def _legend(axes: Axes, shown: Progress) -> None:
    from matplotlib.lines import Line2D

    statuses = {p.status for p in shown.points}
    entries = []
    if shown.lines:
        line = Line2D([], [], color=PROVEN, lw=1.8, marker="o", ms=6, mec="white", label="best so far, 95 % interval")
        entries.append(line)
    if statuses & {"discard", "crash"}:
        entries.append(dot(FAINT, FAINT, "discarded"))
    if "undecided" in statuses:
        entries.append(dot("white", OPEN, "not proven yet"))
    if shown.failed:
        entries.append(dot(CRASH, CRASH, "crashed or no result", marker="x"))
    legend(axes, entries)


def _title(figure: Figure, shown: Progress, settings: Settings) -> None:
    better = "lower" if settings.metric.direction is Direction.MINIMIZE else "higher"
    tried = [p for p in shown.points if p.status != "baseline"]
    kept = sum(p.status == "keep" for p in tried)
    facts = [f"{count(len(tried) + len(shown.failed), 'idea')} tried", f"{kept} kept"]
    if shown.sd is not None:
        facts.append(f"one run varies by ±{number(shown.sd, decimals(shown.sd, None))}")
    heading(figure, f"{plain(settings.metric.name, 40)}, {better} is better", facts)
