"""The frontier alone: each proven champion by its idea, with its level and the interval of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from nightlab.config import Settings
from nightlab.history import History
from nightlab.report.canvas import FAINT, GRID, INK, MUTED, PROVEN, SMALL, Sheet, bare, empty, heading, inches, legend
from nightlab.report.progress import Step, progress
from nightlab.report.text import plain
from nightlab.report.words import count, decimals, number, signed
from nightlab.types import Direction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ROWS = 29  # champions that are drawn at most: more than fit a page are read by nobody
_ROW = 0.34  # inches
_HEAD, _FOOT, _LEFT, _RIGHT = 1.05, 0.75, 4.1, 1.7  # inches around the axes: names on the left, gains on the right
_GAIN = 112  # points from the axes to the end of the gains
_LENGTH = 48  # characters of a name


@dataclass(frozen=True, slots=True)
class Row:
    """A champion on the frontier."""

    step: Step
    gain: float | None  # over the champion before it, as judged when it was kept; positive is better
    is_first: bool = False  # whether it is the baseline that the line began from
    skipped: int = 0  # champions between this and the row before that are not drawn


def frontier(history: History, settings: Settings) -> tuple[tuple[Row, ...], ...]:
    """The rows of each baseline's line of champions, oldest first.

    Of more than fit, a line's first and last are drawn and those that gained most; the others are counted.
    """
    gains = {history.state(v.experiment).number: v.gain for v in reversed(history.promotions)}
    lines = [
        [Row(step, gains.get(step.number) if place else None, is_first=place == 0) for place, step in enumerate(line)]
        for line in progress(history, settings).lines
    ]
    if sum(map(len, lines)) <= _ROWS:
        return tuple(map(tuple, lines))
    lines = lines[-_ROWS // 2 :]  # the newest baselines, where there are as many as rows
    ends = {id(row) for line in lines for row in (line[0], line[-1])}
    between = [row for line in lines for row in line if id(row) not in ends]
    between.sort(key=lambda row: (-(row.gain or 0.0), row.step.number))
    drawn = ends | {id(row) for row in between[: _ROWS - len(ends)]}
    return tuple(tuple(_thinned(line, drawn)) for line in lines)


def _thinned(line: list[Row], drawn: set[int]) -> list[Row]:
    found, skipped = [], 0
    for row in line:
        if id(row) in drawn:
            found.append(replace(row, skipped=skipped))
            skipped = 0
        else:
            skipped += 1
    return found


def frontier_chart(history: History, settings: Settings) -> Sheet:
    """One row for each champion, the newest at the foot: its idea, its level with the 95 % interval, its step."""
    lines = frontier(history, settings)
    rows = sum(map(len, lines)) + len(lines) - 1 if lines else 0  # a row between the lines of two baselines
    return Sheet(_HEAD + _FOOT + _ROW * max(rows, 3), lambda figure: _paint(figure, lines, settings))


def _paint(figure: Figure, lines: tuple[tuple[Row, ...], ...], settings: Settings) -> None:
    better = "lower" if settings.metric.direction is Direction.MINIMIZE else "higher"
    kept = sum((not row.is_first) + row.skipped for line in lines for row in line)
    facts = [f"{plain(settings.metric.name, 40)}, {better} is better", f"{count(kept, 'promotion')}"]
    if kept:
        facts.append("gains are over the champion before, as judged when kept")
    if len(lines) > 1:
        facts.append(count(len(lines), "baseline"))
    heading(figure, "The champions, one after the other", facts)
    if not lines:
        empty(figure, "no champion yet")
        return
    axes = figure.add_axes(inches(figure, _LEFT, _HEAD, _RIGHT, _FOOT))
    last = _rows(axes, lines)
    bare(axes)
    axes.set_ylim(max(last, 3) - 0.5, -0.5)
    _beside(axes, -0.75, 1.0, 10, "left", "level", MUTED, "normal")
    if kept:
        _beside(axes, -0.75, 1.0, _GAIN, "right", "gain", MUTED, "normal")
    axes.set_yticks([])
    axes.margins(x=0.06)
    axes.grid(axis="x", color=GRID, linewidth=0.8)
    _scale(axes, lines)
    axes.set_xlabel(f"level of {plain(settings.metric.name, 40)}", color=MUTED, size=9.5, loc="right", parse_math=False)
    _legend(axes, has_champions=kept > 0)


def _rows(axes: Axes, lines: tuple[tuple[Row, ...], ...]) -> int:
    """Draw the rows; how many places they take."""
    place = 0
    for index, line in enumerate(lines):
        if index:
            axes.axhline(place, color=FAINT, lw=0.8, ls=(0, (2, 3)))
            place += 1
        places = range(place, place + len(line))
        axes.step([r.step.value for r in line], places, where="post", color=PROVEN, lw=1.2, alpha=0.45, zorder=2)
        newest = index == len(lines) - 1
        for here, row in zip(places, line, strict=True):
            _row(axes, here, row, is_best=newest and row is line[-1])
        place += len(line)
    return place


def _row(axes: Axes, place: int, row: Row, *, is_best: bool) -> None:
    step = row.step
    half = 0.5 * (step.high - step.low)
    digits = decimals(half if half > 0 else None, step.value)
    colour = MUTED if row.is_first else PROVEN
    axes.plot([step.low, step.high], [place, place], color=colour, lw=4.5, alpha=0.28, solid_capstyle="butt", zorder=3)
    axes.plot([step.value], [place], marker="s" if row.is_first else "o", ms=7 if is_best else 6, color=colour,
              mec="white", mew=1.0, zorder=4)  # fmt: skip
    name = f"#{step.number} {plain(step.description, _LENGTH)}"
    weight = "bold" if is_best else "normal"
    _beside(axes, place, 0.0, -10, "right", name, INK, weight)
    told = number(step.value, digits)
    _beside(axes, place, 1.0, 10, "left", told, colour, weight)
    if row.gain is not None:
        _beside(axes, place, 1.0, _GAIN, "right", signed(row.gain, digits), MUTED, "normal")
    if row.skipped:
        axes.annotate(f"{count(row.skipped, 'smaller step')} between", (0.0, place - 0.5),
                      xycoords=("axes fraction", "data"), xytext=(-10, 0), textcoords="offset points", ha="right",
                      va="center", size=7, color=MUTED, annotation_clip=False)  # fmt: skip


def _beside(axes: Axes, place: float, edge: float, away: float, side: str, text: str, colour: str, weight: str) -> None:
    axes.annotate(text, (edge, place), xycoords=("axes fraction", "data"), xytext=(away, 0),
                  textcoords="offset points", ha=side, va="center", size=SMALL, color=colour, weight=weight,
                  parse_math=False, annotation_clip=False)  # fmt: skip


def _scale(axes: Axes, lines: tuple[tuple[Row, ...], ...]) -> None:
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    axes.xaxis.set_major_locator(MaxNLocator(nbins=6))
    formatter = ScalarFormatter(useOffset=False)
    formatter.set_scientific(max(abs(row.step.value) for line in lines for row in line) >= 1e7)
    axes.xaxis.set_major_formatter(formatter)


def _legend(axes: Axes, *, has_champions: bool) -> None:
    from matplotlib.lines import Line2D

    looks = [(MUTED, "s", "baseline, bar: 95 % interval")]
    if has_champions:
        looks.append((PROVEN, "o", "champion"))
    legend(
        axes,
        [Line2D([], [], color=c, lw=4.5, marker=m, ms=6, mec="white", alpha=0.8, label=what) for c, m, what in looks],
    )
