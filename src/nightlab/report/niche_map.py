"""Where the search has looked: kinds of change against what they cost, and the best gain found in each cell."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nightlab.config import Settings
from nightlab.history import History
from nightlab.report.canvas import (
    CRASH,
    FAINT,
    INK,
    MUTED,
    PROVEN,
    SMALL,
    Sheet,
    bare,
    empty,
    heading,
    inches,
)
from nightlab.report.text import plain
from nightlab.report.words import count, decimals, signed
from nightlab.search.niches import CODE, MEMORY, PACE, SIZE, UNKNOWN, Survey
from nightlab.types import Decision, ExperimentId, Niche

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEAD, _FOOT, _LEFT, _RIGHT = 1.5, 0.85, 1.6, 1.75  # inches around the axes
_ROW = 0.46  # inches
_TINY = 7.5  # points: four words side by side
_GAP = 0.45  # columns between two costs
_ROWS = 4  # that the legend needs
_DASH = (0, (2, 2))
_Words = tuple[str, ...]
AXES: tuple[tuple[str, str, _Words], ...] = (
    ("parameters", "size", SIZE),
    ("memory", "memory", MEMORY),
    ("speed", "pace", tuple(reversed(PACE))),
    ("source", "code", CODE),
)
"""The costs: what each is called, its field of a niche, and its words, cheapest first."""
_PLAIN = "#e3e7ed"  # a cell without anything better
_LIGHT = "#d9efec"  # of the least gain


@dataclass(frozen=True, slots=True)
class Cell:
    """Experiments of one kind that cost alike in one respect."""

    kind: str
    cost: str  # field of the niche: size, memory, pace or code
    word: str  # of that cost
    experiments: int
    crashed: int
    best: float | None  # largest posterior mean gain over the champion of its moment; None: nothing was measured


def cells(history: History) -> tuple[Cell, ...]:
    """Every cell that was tried, kinds with most experiments first. Each experiment lies in one cell of each cost."""
    survey = Survey(history)
    niches = {
        name: survey.niche(name)
        for name, state in history.experiments.items()
        if state.experiment.parent is not None and state.runs
    }
    found: dict[tuple[str, str, str], list[ExperimentId]] = defaultdict(list)
    kinds: dict[str, int] = defaultdict(int)
    for name, niche in niches.items():
        kinds[niche.kind] += 1
        for _, cost, _ in AXES:
            found[niche.kind, cost, _word(niche, cost)].append(name)
    order = sorted(kinds, key=lambda kind: (-kinds[kind], kind))
    return tuple(
        _cell(history, kind, cost, word, found[kind, cost, word])
        for kind in order
        for _, cost, words in AXES
        for word in (*words, UNKNOWN)
        if (kind, cost, word) in found
    )


def _word(niche: Niche, cost: str) -> str:
    return {"size": niche.size, "memory": niche.memory, "pace": niche.pace, "code": niche.code}[cost]


def _cell(history: History, kind: str, cost: str, word: str, names: list[ExperimentId]) -> Cell:
    verdicts = [v for v in (history.state(name).verdict for name in names) if v is not None]
    gains = [v.gain for v in verdicts if v.gain is not None]
    crashed = sum(v.decision is Decision.CRASH for v in verdicts)
    return Cell(kind, cost, word, len(names), crashed, max(gains, default=None))


def niche_chart(history: History, settings: Settings) -> Sheet:
    """A row for each kind of change, three columns for each cost: how many experiments, and the best gain as colour."""
    shown = cells(history)
    rows = len({cell.kind for cell in shown})
    return Sheet(_HEAD + _FOOT + _ROW * max(rows, _ROWS), lambda figure: _paint(figure, shown, settings))


def _paint(figure: Figure, shown: tuple[Cell, ...], settings: Settings) -> None:
    tried = sum(cell.experiments for cell in shown if cell.cost == AXES[0][1])
    facts = [f"{count(tried, 'experiment')} by the kind of change and by what they cost against the baseline"]
    heading(figure, "Where the search has looked", facts)
    if not shown:
        empty(figure, "no idea has run yet")
        return
    axes = figure.add_axes(inches(figure, _LEFT, _HEAD, _RIGHT, _FOOT))
    kinds = list(dict.fromkeys(cell.kind for cell in shown))
    measured = [cost for cost in AXES if any(c.cost == cost[1] and c.word != UNKNOWN for c in shown)] or [AXES[-1]]
    columns = _columns(shown, measured)
    drawn = [cell for cell in shown if (cell.cost, cell.word) in columns]
    top = max((cell.best for cell in drawn if cell.best is not None), default=0.0)
    looks = [_look(cell, top) for cell in drawn]
    for cell, look in zip(drawn, looks, strict=True):
        _square(axes, columns[cell.cost, cell.word], kinds.index(cell.kind), cell, look)
    _frame(axes, kinds, columns, measured)
    _key(axes, looks, top)
    left_out = [title for title, cost, _ in AXES if all(cost != of for _, of, _ in measured)]
    words = (
        f"Gains are in {plain(settings.metric.name, 40)}, over the champion of the moment, as the judge estimates them."
    )
    if left_out:
        words += f" Not measured: {', '.join(left_out)}."
    height = figure.get_size_inches()[1]
    figure.text(0.02, 0.25 / height, words, size=SMALL, color=MUTED, parse_math=False)


def _frame(
    axes: Axes, kinds: list[str], columns: dict[tuple[str, str], float], measured: Sequence[tuple[str, str, _Words]]
) -> None:
    axes.set_xlim(-0.5, max(*columns.values(), 9.0) + 0.5)
    axes.set_ylim(max(len(kinds), _ROWS) - 0.5, -0.5)
    bare(axes, keep=())
    axes.set_yticks(range(len(kinds)), [plain(kind, 22) for kind in kinds])
    axes.set_xticks(list(columns.values()), [word for _, word in columns])
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", length=0, labelsize=_TINY, colors=MUTED)
    axes.tick_params(axis="y", labelsize=9.5, labelcolor=INK)
    for title, cost, _ in measured:
        places = [place for (of, _), place in columns.items() if of == cost]
        axes.annotate(title, ((places[0] + places[-1]) / 2, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 24),
                      textcoords="offset points", ha="center", size=9.5, weight="bold", color=INK,
                      annotation_clip=False)  # fmt: skip


def _columns(shown: tuple[Cell, ...], measured: Sequence[tuple[str, str, _Words]]) -> dict[tuple[str, str], float]:
    """Where each word of each cost lies; what a run did not measure has a column only if it is needed."""
    used = {(cell.cost, cell.word) for cell in shown}
    places: dict[tuple[str, str], float] = {}
    at = 0.0
    for _, cost, words in measured:
        for word in (*words, UNKNOWN):
            if word != UNKNOWN or (cost, word) in used:
                places[cost, word] = at
                at += 1.0
        at += _GAP
    return places


@dataclass(frozen=True, slots=True)
class _Look:
    """How a cell is drawn, and what the legend says of cells like it."""

    face: str
    edge: str = "none"
    ink: str = INK
    dashed: bool = False
    meaning: str = ""  # "" for a gain: its shade says how much


def _look(cell: Cell, top: float) -> _Look:
    if cell.crashed == cell.experiments:
        return _Look("white", CRASH, CRASH, dashed=True, meaning="every one crashed")
    if cell.best is None:
        return _Look("white", FAINT, meaning="gain unknown")
    if cell.best <= 0.0:
        return _Look(_PLAIN, meaning="nothing better")
    share = cell.best / top
    return _Look(_shade(share), ink="white" if share > 0.55 else INK)


def _shade(share: float) -> str:
    """From a light tint to the colour of what is proven."""
    from matplotlib.colors import to_hex, to_rgb

    red, green, blue = (a + share * (b - a) for a, b in zip(to_rgb(_LIGHT), to_rgb(PROVEN), strict=True))
    return to_hex((red, green, blue))


def _square(axes: Axes, x: float, y: int, cell: Cell, look: _Look) -> None:
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, facecolor=look.face, edgecolor=look.edge, lw=1.0,
                             ls=_DASH if look.dashed else "-"))  # fmt: skip
    axes.text(x, y, f"{cell.experiments:,}", ha="center", va="center", size=10, color=look.ink)


def _key(axes: Axes, looks: Sequence[_Look], top: float) -> None:
    """The legend: what colour and number mean."""
    from matplotlib.patches import Patch

    entries = []
    if top > 0:
        digits = decimals(top / 10, None)
        shares = (1.0, 0.5, 0.1)
        entries = [Patch(facecolor=_shade(s), label=f"best gain {signed(s * top, digits)}") for s in shares]
    for look in sorted({look for look in looks if look.meaning}, key=lambda look: look.meaning, reverse=True):
        dash = _DASH if look.dashed else "-"
        entries.append(Patch(facecolor=look.face, edgecolor=look.edge, ls=dash, label=look.meaning))
    found = axes.legend(handles=entries, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=SMALL,
                        labelcolor=MUTED, title="number: experiments", title_fontsize=SMALL,
                        alignment="left")  # fmt: skip
    found.get_title().set_color(MUTED)
