"""What a benchmarked search sees: a space of knobs, a start, and runs that give a number or crash.

Losses throughout: lower is better. A run's luck is a function of the search's seed and the run's number alone, so that
all methods meet the same noise at the same run (common random numbers) and their differences can be paired.
"""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

Value = int | float | str
Config = Mapping[str, Value]

WIDE = 10.0
"""Ratio of the largest to the smallest value from which on a positive knob is taken on a log scale."""

FACTORS = (1.1, 1.25, 1.5, 2.0)
"""Ratios by which people and agents usually move a number."""


@dataclass(frozen=True, slots=True)
class Axis:
    """One knob: numbers between two ends, a few numbers in order, or names without one."""

    name: str
    low: float = 0.0
    high: float = 0.0
    whole: bool = False
    grid: tuple[int | float, ...] = ()  # ascending; nothing lies between
    choices: tuple[str, ...] = ()

    @property
    def log(self) -> bool:
        return self.low > 0 and self.high / self.low >= WIDE

    def scaled(self, value: float) -> float:
        """The number on the axis's own scale."""
        return math.log(value) if self.log else value

    def fit(self, value: Value) -> Value:
        """The nearest value that the axis has; its first choice for a name that it does not know."""
        if self.choices:
            return value if value in self.choices else self.choices[0]
        number = min(max(float(value), self.low), self.high)
        if self.grid:
            return min(self.grid, key=lambda known: abs(self.scaled(known) - self.scaled(number)))
        return round(number) if self.whole else number

    def moved(self, old: Value, new: Value) -> Value:
        """`new` on the axis, and never `old` again while there is a value on that side of it."""
        fitted = self.fit(new)
        if fitted != old or self.choices or new == old:
            return fitted
        up = float(new) > float(old)
        if self.grid:
            place = self.grid.index(self._number(fitted)) + (1 if up else -1)
            return self.grid[place] if 0 <= place < len(self.grid) else fitted
        return self.fit(self._number(fitted) + (1 if up else -1)) if self.whole else fitted

    def draw(self, rng: random.Random) -> Value:
        """Anywhere on the axis, on its own scale."""
        if self.choices or self.grid:
            return rng.choice(self.choices or self.grid)
        place = rng.uniform(self.scaled(self.low), self.scaled(self.high))
        return self.fit(math.exp(place) if self.log else place)

    def step(self, value: Value, rng: random.Random, factors: Sequence[float] = FACTORS, way: int = 0) -> Value:
        """A usual move from `value`: another name, a neighbour on the grid, or a number times or by a factor.

        Args:
            value: where it starts.
            rng: of the search.
            factors: ratios to choose from.
            way: 1 upwards, -1 downwards, 0 either.
        """
        if self.choices:
            return rng.choice([name for name in self.choices if name != value] or [str(value)])
        up = rng.random() < 0.5 if way == 0 else way > 0
        number, factor = self._number(value), rng.choice(factors)
        if self.grid:
            place = bisect_left(self.grid, number) + (1 if up else -1)
            return self.grid[min(max(place, 0), len(self.grid) - 1)]
        if number == 0:  # where a ratio leads nowhere: a share of the range
            return self.moved(
                value, rng.choice((0.05, 0.1, 0.25, 0.5)) * (self.high if up or self.low == 0 else self.low)
            )
        if not up and self.low == 0 and rng.random() < 0.2:
            return self.fit(0.0)  # off is a usual move too
        return self.moved(value, number * factor if up == (number > 0) else number / factor)

    @staticmethod
    def _number(value: Value) -> int | float:
        assert not isinstance(value, str)
        return value


@dataclass(frozen=True, slots=True)
class Space:
    """All knobs, and where every search starts."""

    axes: tuple[Axis, ...]
    start: Config

    def fit(self, config: Config) -> dict[str, Value]:
        return {axis.name: axis.fit(config[axis.name]) for axis in self.axes}

    def draw(self, rng: random.Random) -> dict[str, Value]:
        return {axis.name: axis.draw(rng) for axis in self.axes}

    def key(self, config: Config) -> tuple[Value, ...]:
        """The configuration as something that can be looked up."""
        return tuple(config[axis.name] for axis in self.axes)

    def changed(self, old: Config, new: Config) -> list[Axis]:
        return [axis for axis in self.axes if old[axis.name] != new[axis.name]]


@dataclass(frozen=True, slots=True)
class Result:
    """What one run gave."""

    value: float | None  # measured loss; None: it crashed
    reason: str = ""  # of a crash


class Objective(Protocol):
    """Something to search in."""

    @property
    def name(self) -> str: ...

    @property
    def space(self) -> Space: ...

    def run(self, config: Config, seed: int, number: int) -> Result:
        """Run number `number` (from 1) of the search with that seed."""
        ...

    def truth(self, config: Config) -> float:
        """The loss without noise; infinite where every run crashes."""
        ...


def luck(seed: int, number: int, what: str = "") -> random.Random:
    """The random numbers of one run: the same for every method."""
    return random.Random(f"{seed}:{number}:{what}")


@dataclass(slots=True)
class Sitting:
    """One search's runs. Its incumbent is the configuration with the best measured value so far."""

    objective: Objective
    seed: int
    budget: int
    tried: list[tuple[Config, Result]] = field(default_factory=list)
    incumbents: list[Config] = field(default_factory=list)  # after each run
    best: float = math.inf  # measured
    unused: int = 0  # runs that the search had no use for

    @property
    def spent(self) -> bool:
        return len(self.tried) >= self.budget

    @property
    def incumbent(self) -> Config:
        return self.incumbents[-1] if self.incumbents else self.objective.space.start

    def stop(self) -> None:
        """The search is over: what it has is what it has to the end."""
        self.unused = self.budget - len(self.tried)
        self.incumbents += [self.incumbent] * self.unused

    def measure(self, config: Config) -> Result:
        """Spend one run."""
        assert not self.spent
        fitted = self.objective.space.fit(config)
        result = self.objective.run(fitted, self.seed, len(self.tried) + 1)
        self.tried.append((fitted, result))
        better = result.value is not None and result.value < self.best
        if better and result.value is not None:
            self.best = result.value
        self.incumbents.append(fitted if better else self.incumbent)
        return result
