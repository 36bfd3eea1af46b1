"""Where the experiments lie in the picture of the family tree. Worked out without drawing.

The tree is a staircase: whatever was built on one experiment lies on one lane, in the order of time, and a kept
experiment opens the next lane. A champion's lane is so long as it was the champion.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from nightlab.history import ExperimentState, History
from nightlab.report.summary import status_of
from nightlab.types import ExperimentId

LANES = 24  # that a page takes
SINGLE = 250  # experiments up to which each has a mark of its own
BINS = 40  # along the axis, where they have not


@dataclass(frozen=True, slots=True)
class Mark:
    """An experiment, or several of one lane that lie close together and came to nothing."""

    number: float  # place along the axis: the experiment's number; of several their mean
    lane: int
    status: str  # baseline, keep, taken-back, discard, crash or undecided
    count: int = 1
    description: str = ""  # of one that was kept
    gain: float | None = None  # of one that was kept, as its verdict says; units of the metric, positive is better


@dataclass(frozen=True, slots=True)
class Rail:
    """What experiments of one lane hang from: it comes down from their parent and goes along the axis."""

    start: float  # number of the parent
    above: int  # lane of the parent's mark
    lane: int
    low: float  # first and last number on it
    high: float
    hangs: bool  # whether the parent's mark hangs from its lane instead of lying on it


@dataclass(frozen=True, slots=True)
class Edge:
    """From a stepping stone to the experiment that took a change of it over."""

    start: Mark
    end: Mark


@dataclass(frozen=True, slots=True)
class Tree:
    marks: tuple[Mark, ...]
    rails: tuple[Rail, ...]
    path: tuple[tuple[Mark, ...], ...]  # the chain of each baseline, oldest first
    stones: tuple[Edge, ...]
    lanes: int
    last: int  # number of the newest experiment
    folded: int  # side branches that have no lane of their own


def tree(history: History) -> Tree:
    """The layout of a history's experiments."""
    children: dict[ExperimentId, list[ExperimentState]] = defaultdict(list)
    for state in history.experiments.values():
        if state.experiment.parent in history.experiments:
            children[state.experiment.parent].append(state)
    paths = _paths(history)
    lane_of, lanes, folded = _lanes(history, paths, set(children))
    kept = {name for path in paths for name in path}
    marks, places = _marks(history, kept, set(children), lane_of)
    rails = []
    for parent, found in children.items():
        own, lane, numbers = places[parent], lane_of[parent], [child.number for child in found]
        rails.append(Rail(own.number, own.lane, lane, min(own.number, *numbers), max(own.number, *numbers), hangs(own)))
    stones = [
        Edge(places[stone], places[name])
        for name, state in history.experiments.items()
        for stone in state.experiment.plan.parents
        if stone in places and places[name].count == 1
    ]
    return Tree(
        marks=tuple(marks),
        rails=tuple(rails),
        path=tuple(tuple(places[name] for name in path) for path in paths),
        stones=tuple(stones),
        lanes=lanes,
        last=len(history.experiments),
        folded=folded,
    )


def hangs(mark: Mark) -> bool:
    """Whether a mark hangs from its lane; what was kept lies on it."""
    return mark.status not in ("baseline", "keep")


def _paths(history: History) -> list[list[ExperimentId]]:
    """Each baseline with the champions that followed it and still count; no experiment is on two."""
    paths: list[list[ExperimentId]] = []
    known: set[ExperimentId] = set()
    for baseline in dict.fromkeys(night.began.baseline for night in history.nights):
        names = [baseline, *(link.experiment for link in history.links(baseline))]
        path = [name for place, name in enumerate(names) if place == 0 or name not in known]
        paths.append(path)
        known.update(path)
    return paths


def _lanes(
    history: History, paths: list[list[ExperimentId]], parents: set[ExperimentId]
) -> tuple[dict[ExperimentId, int], int, int]:
    """The lane on which the children of each experiment lie, how many lanes, and how many side branches have none.

    If the page has no room for them all, side branches go to the lane that they began from, then several champions in
    a row share one, then several baselines.
    """
    step = {name: (line, place) for line, path in enumerate(paths) for place, name in enumerate(path)}
    roots = [s for s in history.experiments.values() if s.experiment.parent not in history.experiments]
    lonely = {s.experiment.id for s in roots if s.experiment.id not in parents and s.experiment.id not in step}

    def lay(side: bool, champions: int, baselines: int) -> dict[ExperimentId, tuple[object, ...]]:
        keys: dict[ExperimentId, tuple[object, ...]] = {}
        for name, state in history.experiments.items():
            above = state.experiment.parent
            if name in lonely:
                keys[name] = ("lonely",)
            elif name in step:
                line, place = step[name]
                keys[name] = ("path", line // baselines, place // champions if baselines == 1 else 0)
            elif side or above not in keys:
                keys[name] = ("side", name if side else "roots")
            else:
                keys[name] = keys[above]
        return keys

    def used(keys: dict[ExperimentId, tuple[object, ...]]) -> list[tuple[object, ...]]:
        opens = parents | lonely | {s.experiment.id for s in roots}
        return list(dict.fromkeys(keys[name] for name in history.experiments if name in opens))

    keys = _first_that_fits(lay, used, longest=max(map(len, paths), default=1), lines=len(paths))
    order = {key: place for place, key in enumerate(used(keys))}
    sides = [name for name in parents if name not in step]
    folded = sum(keys[name] != ("side", name) for name in sides)
    return {name: order[key] for name, key in keys.items() if key in order}, len(order), folded


_Keys = dict[ExperimentId, tuple[object, ...]]


def _first_that_fits(
    lay: Callable[[bool, int, int], _Keys], used: Callable[[_Keys], list[tuple[object, ...]]], longest: int, lines: int
) -> _Keys:
    keys = lay(True, 1, 1)
    if len(used(keys)) <= LANES:
        return keys
    for champions in range(1, longest + 1):
        keys = lay(False, champions, 1)
        if len(used(keys)) <= LANES:
            return keys
    return lay(False, longest, max(math.ceil(lines / (LANES - 2)), 1))


def _marks(
    history: History, kept: set[ExperimentId], parents: set[ExperimentId], lane_of: dict[ExperimentId, int]
) -> tuple[list[Mark], dict[ExperimentId, Mark]]:
    """The marks, and the one that each experiment is told by."""
    last = len(history.experiments)
    width = max(math.ceil(last / BINS), 1)
    places: dict[ExperimentId, Mark] = {}
    bins: dict[tuple[int, str, int], list[ExperimentState]] = defaultdict(list)
    for name, state in history.experiments.items():
        above = state.experiment.parent
        lane = lane_of[above] if above is not None and above in history.experiments else lane_of[name]
        status = _status(history, state, kept)
        if last > SINGLE and status in ("discard", "crash") and name not in parents:
            bins[lane, status, state.number // width].append(state)
            continue
        verdict = next((v for v in history.promotions if v.experiment == name), None) if status == "keep" else None
        places[name] = Mark(
            state.number,
            lane,
            status,
            description=state.experiment.description if verdict is not None else "",
            gain=verdict.gain if verdict is not None else None,
        )
    marks = list(places.values())
    for (lane, status, _), states in bins.items():
        mark = Mark(sum(s.number for s in states) / len(states), lane, status, len(states))
        marks.append(mark)
        places.update((s.experiment.id, mark) for s in states)
    return marks, places


def _status(history: History, state: ExperimentState, kept: set[ExperimentId]) -> str:
    name = state.experiment.id
    status = status_of(history, state)
    if name in kept:
        return "baseline" if status == "baseline" or not state.verdicts else "keep"
    if status == "keep":
        return "taken-back"
    if state.experiment.parent is None:
        return "crash" if status == "crash" else "baseline"
    return status if status in ("discard", "crash") else "undecided"
