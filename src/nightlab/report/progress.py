"""What the progress chart shows, worked out without drawing: points, champions, a range that outliers leave alone."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median, quantiles

from nightlab.config import Settings
from nightlab.history import ExperimentState, History
from nightlab.report.levels import Levels
from nightlab.report.summary import status_of
from nightlab.types import ExperimentId


@dataclass(frozen=True, slots=True)
class Point:
    """An experiment that has finished runs."""

    number: int
    value: float  # of a champion its level; of what was judged its posterior mean; else the mean of its runs
    runs: tuple[float, ...]
    status: str  # baseline, keep, discard or undecided


@dataclass(frozen=True, slots=True)
class Step:
    """A champion from the moment it became one."""

    number: int
    value: float
    low: float
    high: float
    description: str


@dataclass(frozen=True, slots=True)
class Progress:
    points: tuple[Point, ...]
    failed: tuple[int, ...]  # numbers of experiments without any result
    lines: tuple[tuple[Step, ...], ...]  # one line of champions per baseline, its first step
    last: int  # number of the newest experiment
    low: float  # range of the metric that is worth showing
    high: float
    sd: float | None  # of one run


def progress(history: History, settings: Settings) -> Progress:
    """Read the chart's contents from a history."""
    sign = settings.metric.direction.sign
    lines, levels = _lines(history, settings)
    points, failed = [], []
    for name, state in history.experiments.items():
        values = tuple(r.value for r in state.finished() if r.value is not None and r.run.purpose.steers)
        values = values or tuple(r.value for r in state.runs if r.value is not None and r.logged is not None)
        if values:
            value = levels.get(name, _judged(state, levels, sign, sum(values) / len(values)))
            points.append(Point(state.number, value, values, status_of(history, state)))
        elif status_of(history, state) == "crash" or _has_failed(state):
            failed.append(state.number)
    noise = Levels(history, settings).noise
    sd = noise.sd if noise is not None else None
    steps = [step for line in lines for step in line]
    low, high = _range([sign * p.value for p in points], [sign * step.value for step in steps], sd)
    if steps and len(points) == len(steps):  # nothing but champions: their intervals are what there is to see
        ends = [sign * end for step in steps for end in (step.low, step.high)]
        margin = 0.1 * (max(ends) - min(ends))
        low, high = min(low, min(ends) - margin), max(high, max(ends) + margin)
    return Progress(
        points=tuple(points),
        failed=tuple(failed),
        lines=lines,
        last=len(history.experiments),
        low=min(sign * low, sign * high),
        high=max(sign * low, sign * high),
        sd=sd,
    )


def _judged(state: ExperimentState, levels: dict[ExperimentId, float], sign: int, mean: float) -> float:
    """Where the judge's estimate puts an experiment: its champion's level and its gain over it, luck taken out."""
    verdict = state.verdict
    if verdict is None or verdict.gain is None or verdict.champion not in levels:
        return mean
    return levels[verdict.champion] - sign * verdict.gain


def _has_failed(state: ExperimentState) -> bool:
    """Whether it ran and no run gave a value, of whatever purpose."""
    return bool(state.runs) and not state.is_running and all(run.value is None for run in state.runs)


def _lines(history: History, settings: Settings) -> tuple[tuple[tuple[Step, ...], ...], dict[ExperimentId, float]]:
    """The champions of each baseline that a night has started from, and their levels."""
    lines: list[tuple[Step, ...]] = []
    known: dict[ExperimentId, float] = {}
    for baseline in dict.fromkeys(night.began.baseline for night in history.nights):
        levels = Levels(history, settings, baseline)
        steps = []
        for name in (baseline, *(v.experiment for v in history.links(baseline))):
            mean, low, high = levels.level(name)
            if mean is not None:
                state = history.state(name)
                band = (low if low is not None else mean, high if high is not None else mean)
                steps.append(Step(state.number, mean, *band, state.experiment.description))
                known[name] = mean
        if steps:
            lines.append(tuple(steps))
    return tuple(lines), known


def _range(losses: list[float], champions: list[float], sd: float | None) -> tuple[float, float]:
    """Where the interesting losses lie: all champions, and the bulk of the others; single disasters are left out."""
    if not losses:
        return 0.0, 1.0
    best = min(champions, default=min(losses))
    worst = max(champions, default=median(losses))
    bulk = quantiles(losses, n=4)[2] if len(losses) > 1 else losses[0]
    least = max(6 * sd if sd else 0.0, 1e-3 * abs(best), 1e-9)
    span = max(min(bulk, best + 4 * max(worst - best, least)) - best, worst - best, least)
    near = [loss for loss in losses if best - 0.5 * span <= loss <= best]  # better by luck, and not far off
    return min([best, *near]) - 0.18 * span, max(worst, best + span) + 0.22 * span
