"""Where experiments lie: every source of a line as a point, relative to the line's baseline.

A point is what a source's changes add up to: constants with another value, edits of the catalogue, free changes by
their signature. As an array, a number becomes its distance on the scale of its kind, in doublings, times how far that
kind of change reaches (`priors.REACH`), so that one unit means about the same for all of them.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from nightlab.history import History
from nightlab.search.catalogue import BY_NAME
from nightlab.search.kinds import Kind, Scale, kind_of
from nightlab.search.knobs import Value, literal
from nightlab.search.priors import reach
from nightlab.types import Change, ChangeKind, ExperimentId

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    FloatArray = npt.NDArray[np.float64]

EDITS = "number of edits"  # a column of its own: edits as such may cost or pay in this lab


@dataclass(frozen=True, slots=True)
class Point:
    """How a source differs from the baseline of its line."""

    values: Mapping[str, str]  # constant -> its text, where that is another
    rest: frozenset[str] = frozenset()  # edits by name, free changes by signature, sources of unknown change by name

    def moved(self, changes: Iterable[Change]) -> Point:
        """The point that is reached by further changes."""
        values, rest = dict(self.values), set(self.rest)
        for change in changes:
            if change.kind is ChangeKind.KNOB:
                values[change.name] = change.new
            else:
                rest.add(change.name if change.kind is ChangeKind.EDIT else f"{change.name}={change.new}")
        return Point(values, frozenset(rest))


class Places:
    """The points of all experiments, worked out once each."""

    def __init__(self) -> None:
        self._known: dict[tuple[ExperimentId, ExperimentId | None], Point] = {}

    def of(self, history: History, experiment: ExperimentId) -> Point:
        """The point of an experiment; the baseline of its line is the origin."""
        path: list[ExperimentId] = []
        here: ExperimentId | None = experiment
        point = Point({})
        while here is not None and here in history.experiments and here not in path:
            parent = history.state(here).experiment.parent
            known = self._known.get((here, parent))
            if known is not None:
                point = known
                break
            path.append(here)
            here = parent
        for name in reversed(path):
            described = history.state(name).experiment
            if described.parent is None:
                point = Point({})
            elif described.changes:
                point = point.moved(described.changes)
            else:  # brought from outside: nobody told what it changes, so that it lies nowhere else
                point = Point(point.values, point.rest | {f"source {name}"})
            self._known[name, described.parent] = point
        return point


def origin(history: History, base: ExperimentId) -> dict[str, str]:
    """Texts in the line's baseline of the constants that the base has changed."""
    before: dict[str, str] = {}
    here: ExperimentId | None = base
    seen: set[ExperimentId] = set()
    while here is not None and here in history.experiments and here not in seen:
        seen.add(here)
        experiment = history.state(here).experiment
        before |= {change.name: change.old for change in experiment.changes if change.kind is ChangeKind.KNOB}
        here = experiment.parent
    return before


class Axes:
    """Turns points into arrays.

    Args:
        baseline: the constants of the line's baseline, name -> text.
    """

    def __init__(self, baseline: Mapping[str, str]) -> None:
        self._origin = baseline
        self.columns: dict[str, int] = {EDITS: 0}

    def array(self, points: Sequence[Point]) -> FloatArray:
        """(n, d) coordinates; d grows with every change that was never seen before."""
        import numpy as np

        rows = [dict(self._row(point)) for point in points]
        for row in rows:
            for name in row:
                self.columns.setdefault(name, len(self.columns))
        out = np.zeros((len(points), len(self.columns)))
        for place, row in enumerate(rows):
            for name, value in row.items():
                out[place, self.columns[name]] = value
        return out

    def nearest(self, here: Point, points: Sequence[Point], count: int) -> list[int]:
        """Places of the `count` points that are nearest to one, nearest first and the first of equals.

        No array is made of them all: a lab whose every change is a free one has as many columns as experiments.
        """
        start = dict(self._row(here))
        own = sum(value * value for value in start.values())

        def apart(place: int) -> float:
            total = own
            for name, value in self._row(points[place]):
                at = start.get(name, 0.0)
                total += (value - at) ** 2 - at * at
            return total

        return heapq.nsmallest(count, range(len(points)), key=apart)

    def _row(self, point: Point) -> Iterable[tuple[str, float]]:
        edits = 0
        for name, text in point.values.items():
            start = self._origin.get(name)
            if start is not None and text != start:
                yield distance(name, start, text)
        for name in sorted(point.rest):  # sets have another order in another process, and sums depend on it
            edit = BY_NAME.get(name)
            edits += edit is not None
            yield f"edit {name}", reach(edit.family, "edit") if edit is not None else 1.0
        if edits:
            yield EDITS, float(edits)


@lru_cache(maxsize=65536)
def distance(name: str, old: str, new: str) -> tuple[str, float]:
    """Column and coordinate of a constant that is `new` where the baseline has `old`."""
    kind = kind_of(name)
    start, value = literal(old), literal(new)
    if isinstance(start, bool | str | None) or isinstance(value, bool | str | None) or start * value < 0:
        return f"{name} = {new}", reach(kind.name, "switch")
    return name, (coordinate(kind, value, start) - coordinate(kind, start, start)) * reach(kind.name, "up")


def coordinate(kind: Kind, value: Value, start: Value | None = None) -> float:
    """Where a number lies on the scale of its kind, in doublings.

    Zero is half of the smallest sensible value where it means "not used", or where the constant starts from it. A
    baseline below that value has shown that it is sensible too.

    Args:
        kind: of the constant.
        value: the number.
        start: what the baseline has, where one is at hand.
    """
    assert not isinstance(value, bool | str)
    if kind.scale is Scale.COMPLEMENT and 0 <= value < 1:
        return -math.log2(1.0 - value) if value >= 0.5 else 2.0 * value
    assert not isinstance(start, str)
    small = 0.5 * min(*kind.enable, abs(start or math.inf)) if kind.off or start == 0 else 0.0
    if value < 0 or value + small <= 0:
        return -coordinate(kind, -value) if value < 0 else math.log2(1e-9)
    return math.log2(value + small)
