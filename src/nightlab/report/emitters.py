"""What each way of proposing has earned and used, over the hours of running."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nightlab.config import Settings
from nightlab.history import History
from nightlab.report.canvas import GRID, MUTED, Sheet, bare, empty, heading, inches
from nightlab.report.credit import Credit, credit_over_time
from nightlab.report.text import plain
from nightlab.report.words import count, decimals, duration, signed
from nightlab.types import EMITTERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_HEIGHT = 6.2  # inches
_HEAD, _FOOT, _LEFT, _RIGHT = 0.95, 0.7, 0.9, 3.3  # inches around both axes
_BETWEEN = 0.35  # inches
_SHORT = 120.0  # minutes of running below which the axis counts minutes
_LOOKS = (
    ("#0072b2", "-"),
    ("#d55e00", "-"),
    ("#009e73", "-"),
    ("#cc79a7", "-"),
    ("#e69f00", "-"),
    ("#56b4e9", "-"),
    ("#1f2933", "-"),
    ("#0072b2", (0, (4, 2))),
    ("#d55e00", (0, (4, 2))),
    ("#009e73", (0, (4, 2))),
)
"""Colour and dash of each line: Okabe and Ito's palette, whose colours colour-blind readers tell apart."""
REST = "others"


@dataclass(frozen=True, slots=True)
class Account:
    """An emitter's line: what it had at each moment, in the order of time."""

    emitter: str
    hours: tuple[float, ...]  # that all emitters together had used at that moment
    gains: tuple[float, ...]  # units of the metric, positive is better
    runs: tuple[int, ...]
    minutes: float  # that it used in all


def accounts(history: History) -> tuple[Account, ...]:
    """One for each emitter that ran something, in the order of the emitters; the least used that no look is left for
    are one.

    Time is that of running, summed over all: nights lie side by side, without the days between them.
    """
    moments = credit_over_time(history)
    final = {credit.emitter: credit for credit in moments}
    by_use = sorted(final, key=lambda name: (-final[name].runs, name))
    if len(by_use) > len(_LOOKS):
        by_use = by_use[: len(_LOOKS) - 1]
        moments = _folded(moments, set(by_use))
        by_use.append(REST)
    order = {name: place for place, name in enumerate(EMITTERS)}
    names = sorted(by_use, key=lambda name: (name == REST, order.get(name, len(order)), name))
    used: dict[str, float] = {}
    lines: dict[str, list[tuple[float, float, int]]] = {name: [(0.0, 0.0, 0)] for name in names}
    for credit in moments:
        used[credit.emitter] = credit.minutes
        lines[credit.emitter].append((sum(used.values()) / 60, credit.gain, credit.runs))
    total = sum(used.values()) / 60
    return tuple(
        Account(
            name,
            (*(hours for hours, _, _ in lines[name]), total),
            (*(gain for _, gain, _ in lines[name]), lines[name][-1][1]),
            (*(runs for _, _, runs in lines[name]), lines[name][-1][2]),
            used[name],
        )
        for name in names
    )


def _folded(moments: list[Credit], apart: set[str]) -> list[Credit]:
    """The same with all emitters but some as one."""
    last: dict[str, Credit] = {}
    found = []
    for credit in moments:
        if credit.emitter in apart:
            found.append(credit)
            continue
        last[credit.emitter] = credit
        each = last.values()
        gain, minutes, runs = sum(c.gain for c in each), sum(c.minutes for c in each), sum(c.runs for c in each)
        found.append(Credit(credit.at, REST, gain, minutes, runs))
    return found


def emitters_chart(history: History, settings: Settings) -> Sheet:
    """Two charts over one axis: the gain that each emitter got promoted, and the runs that it used for it."""
    shown = accounts(history)
    return Sheet(_HEIGHT, lambda figure: _paint(figure, shown, settings))


def _paint(figure: Figure, shown: tuple[Account, ...], settings: Settings) -> None:
    minutes = sum(account.minutes for account in shown)
    facts = [f"gains in {plain(settings.metric.name, 40)}, as the judge estimates them; positive is better"]
    if shown:
        facts.append(f"{duration(60 * minutes)} of running for {count(sum(a.runs[-1] for a in shown), 'run')}")
    heading(figure, "Who found the gains, and what it took", facts)
    if not shown:
        empty(figure, "no idea has run yet")
        return
    height = (_HEIGHT - _HEAD - _FOOT - _BETWEEN) / 2
    gains = figure.add_axes(inches(figure, _LEFT, _HEAD, _RIGHT, _FOOT + height + _BETWEEN))
    runs = figure.add_axes(inches(figure, _LEFT, _HEAD + height + _BETWEEN, _RIGHT, _FOOT), sharex=gains)
    unit, per_hour = ("minutes", 60.0) if minutes < _SHORT else ("hours", 1.0)
    for (colour, dash), account in zip(_LOOKS, shown, strict=False):
        x = [per_hour * hours for hours in account.hours]
        gains.step(x, account.gains, where="post", color=colour, ls=dash, lw=1.8)
        runs.step(x, account.runs, where="post", color=colour, ls=dash, lw=1.8)
    runs.set_xlabel(f"{unit} of running, all together", color=MUTED, size=9.5, loc="right")
    for axes, words in ((gains, "gain promoted"), (runs, "runs used")):
        bare(axes)
        axes.grid(axis="y", color=GRID, linewidth=0.8)
        axes.set_ylabel(words, color=MUTED, size=9.5)
        axes.yaxis.set_label_coords(-0.075, 0.5)
    _scales(gains, runs, shown)
    _legend(gains, shown)


def _scales(gains: Axes, runs: Axes, shown: tuple[Account, ...]) -> None:
    from matplotlib.ticker import MaxNLocator, ScalarFormatter

    gains.tick_params(labelbottom=False)
    if not any(any(account.gains) for account in shown):
        gains.set_ylim(-0.05, 1.0)
        gains.set_yticks([0.0])
        gains.text(0.5, 0.5, "nothing has been kept yet", transform=gains.transAxes, ha="center", color=MUTED)
    else:
        gains.yaxis.set_major_locator(MaxNLocator(nbins=5))
        gains.yaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    runs.yaxis.set_major_locator(MaxNLocator(nbins=5, integer=True))
    runs.set_ylim(bottom=0)
    runs.set_xlim(left=0)


def _legend(axes: Axes, shown: tuple[Account, ...]) -> None:
    """Beside both charts: each emitter with what it had in the end."""
    from matplotlib.lines import Line2D

    steps = [abs(account.gains[-1]) for account in shown if account.gains[-1]]
    digits = decimals(0.1 * min(steps) if steps else None, None)
    entries = []
    for (colour, dash), account in zip(_LOOKS, shown, strict=False):
        gain = signed(account.gains[-1], digits) if account.gains[-1] else "no gain"
        told = f"{gain}, {count(account.runs[-1], 'run')}, {duration(60 * account.minutes)}"
        name = plain(account.emitter, 30).replace("_", " ")
        entries.append(Line2D([], [], color=colour, ls=dash, lw=1.8, label=f"{name}\n{told}"))
    found = axes.legend(handles=entries, loc="upper left", bbox_to_anchor=(1.03, 1.02), frameon=False, fontsize=8.5,
                        labelcolor=MUTED, labelspacing=0.9)  # fmt: skip
    for text in found.get_texts():
        text.set_parse_math(False)
