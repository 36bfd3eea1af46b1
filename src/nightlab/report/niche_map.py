"""Where the search has looked: kinds of change against what they cost, and the best gain found in each cell."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nightlab.config import Settings
from nightlab.history import History
from nightlab.report.canvas import (
    CRASH,
    FAINT,
    INK,
    LOSS,
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
_GAP = 0.45  # columns between two costs
AXES = (
    ("parameters", "size", SIZE),
    ("memory", "memory", MEMORY),
    ("speed", "pace", tuple(reversed(PACE))),
    ("source", "code", CODE),
)
"""The costs: what each is called, its field of a niche, and its words, cheapest first."""
_PALE = "#e8ecf1"  # a cell that was tried, without a gain that is known


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
    return Sheet(_HEAD + _FOOT + _ROW * max(rows, 4), lambda figure: _paint(figure, shown, history, settings))


def _paint(figure: Figure, shown: tuple[Cell, ...], history: History, settings: Settings) -> None:
    tried = sum(cell.experiments for cell in shown if cell.cost == AXES[0][1])
    facts = [f"{count(tried, 'experiment')} by the kind of change and by what they cost against the baseline"]
    heading(figure, "Where the search has looked", facts)
    if not shown:
        empty(figure, "no idea has run yet")
        return
    axes = figure.add_axes(inches(figure, _LEFT, _HEAD, _RIGHT, _FOOT))
    kinds = list(dict.fromkeys(cell.kind for cell in shown))
    columns = _columns(shown)
    top = max((cell.best for cell in shown if cell.best is not None), default=0.0)
    for cell in shown:
        _square(axes, columns[cell.cost, cell.word], kinds.index(cell.kind), cell, top)
    axes.set_xlim(-0.5, max(columns.values()) + 0.5)
    axes.set_ylim(max(len(kinds), 4) - 0.5, -0.5)
    bare(axes, keep=())
    axes.set_yticks(range(len(kinds)), [plain(kind, 22) for kind in kinds])
    axes.set_xticks(list(columns.values()), [word for _, word in columns])
    axes.xaxis.tick_top()
    axes.tick_params(axis="x", length=0, labelsize=SMALL, colors=MUTED)
    axes.tick_params(axis="y", labelsize=9.5, labelcolor=INK)
    for title, cost, _ in AXES:
        places = [place for (of, _), place in columns.items() if of == cost]
        axes.annotate(title, ((places[0] + places[-1]) / 2, 1.0), xycoords=("data", "axes fraction"), xytext=(0, 24),
                      textcoords="offset points", ha="center", size=9.5, weight="bold", color=INK,
                      annotation_clip=False)  # fmt: skip
    _key(figure, axes, top, settings, has_crashes=any(cell.crashed == cell.experiments for cell in shown))


def _columns(shown: tuple[Cell, ...]) -> dict[tuple[str, str], float]:
    """Where each word of each cost lies; what nobody measured has a column only if it is needed."""
    used = {(cell.cost, cell.word) for cell in shown}
    places: dict[tuple[str, str], float] = {}
    at = 0.0
    for _, cost, words in AXES:
        for word in (*words, UNKNOWN):
            if word != UNKNOWN or (cost, word) in used:
                places[cost, word] = at
                at += 1.0
        at += _GAP
    return places


def _square(axes: Axes, x: float, y: int, cell: Cell, top: float) -> None:
    from matplotlib.patches import Rectangle

    dead = cell.crashed == cell.experiments
    face, ink = (_PALE, INK) if cell.best is None else _shade(cell.best, top)
    axes.add_patch(Rectangle((x - 0.47, y - 0.44), 0.94, 0.88, facecolor="white" if dead else face,
                             edgecolor=CRASH if dead else "none", lw=1.0, ls=(0, (2, 2)) if dead else "-"))  # fmt: skip
    axes.text(x, y, f"{cell.experiments}", ha="center", va="center", size=10, color=CRASH if dead else ink)


def _shade(gain: float, top: float) -> tuple[str, str]:
    """Colour of a cell and of the number in it."""
    from matplotlib.colors import to_hex

    if gain <= 0.0:
        return LOSS, INK
    share = gain / top if top > 0 else 0.0
    return to_hex(_ramp(share)), "white" if share > 0.55 else INK


def _ramp(share: float) -> tuple[float, float, float]:
    """From a light tint to the colour of what is proven."""
    from matplotlib.colors import to_rgb

    light, dark = to_rgb("#d9efec"), to_rgb(PROVEN)
    red, green, blue = (a + share * (b - a) for a, b in zip(light, dark, strict=True))
    return red, green, blue


def _key(figure: Figure, axes: Axes, top: float, settings: Settings, *, has_crashes: bool) -> None:
    """The legend: what colour and number mean."""
    from matplotlib.patches import Patch

    digits = decimals(top / 10 if top > 0 else None, None)
    entries = [Patch(facecolor=_ramp(share), label=f"best gain {signed(share * top, digits)}")
               for share in (1.0, 0.5, 0.1)] if top > 0 else []  # fmt: skip
    entries += [
        Patch(facecolor=LOSS, label="nothing better"),
        Patch(facecolor=_PALE, label="not judged yet"),
    ]
    if has_crashes:
        entries.append(Patch(facecolor="white", edgecolor=CRASH, ls=(0, (2, 2)), label="every one crashed"))
    axes.legend(handles=entries, loc="upper left", bbox_to_anchor=(1.01, 1.02), frameon=False, fontsize=SMALL,
                labelcolor=MUTED, title="number: experiments", title_fontsize=SMALL, alignment="left")  # fmt: skip
    height = figure.get_size_inches()[1]
    words = f"gain: in {plain(settings.metric.name, 40)} over the champion of its moment, the judge's estimate"
    figure.text(0.02, 0.25 / height, words, size=SMALL, color=MUTED, parse_math=False)
