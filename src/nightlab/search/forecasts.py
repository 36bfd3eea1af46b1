"""What a lab's own runs foretell of an idea: a Gaussian process over the changes that were tried.

The surface is a sum of straight lines, of products of two changes, and of a smooth rest (Matern 5/2), over the
coordinates of `space`. Its mean before any run is what public histories say: how likely each kind of change pays
(`priors.TABLE`), or, where the lab's baseline is the published recipe, the response surface measured on it
(`effects`). A run far worse than the base tells little of the base's neighbourhood: differences are bent by an inverse
hyperbolic sine, so that beyond the usual size they grow like logarithms, and the deviation of a run grows with them.
Crashes are another matter: their odds are a kernel estimate over the same coordinates.

One thread does the arithmetic: the cores belong to the runs, and an answer must not depend on how many there are.
Only the scale is fitted: amplitudes are in units of the median difference between the lab's experiments and its base.
Amplitudes fitted by marginal likelihood made no difference in surrogate nights (LOG.md), and can run off in small
labs.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from nightlab.history import ExperimentState, History
from nightlab.search.catalogue import BY_NAME
from nightlab.search.effects import Effects
from nightlab.search.kinds import kind_of
from nightlab.search.knobs import Knob, literal
from nightlab.search.moves import way_of
from nightlab.search.priors import chance
from nightlab.search.space import Axes, Places, Point, distance, origin
from nightlab.types import Crashed, Direction, ExperimentId, Forecast, StoppedEarly, TimedOut

if TYPE_CHECKING:
    from sklearn.gaussian_process import GaussianProcessRegressor

    from nightlab.search.space import FloatArray

LINES, PRODUCTS, REST = 0.1, 0.01, 0.1
"""Variances of a line's slope, of a product of two changes and of the smooth rest, for one unit of the coordinates, in
units of the median difference squared: a change of one unit then moves the metric by about 0.4 of that difference."""

LENGTH = 2.0  # of the smooth rest, in the units of the coordinates: two doublings
LEVEL = 9.0  # variance of the whole surface's level: as good as unknown
MOVED = 0.4  # standard deviation of what one unit of change does, by the variances above
CURVED = 0.1
"""Loss that is expected of the square of a change, in units of the scale: one prior deviation of a square's weight.
A baseline is somebody's choice, so that its neighbourhood is more likely a valley than a ridge; without it the widest
steps would have the best chances of all before anything was measured."""

BLUR = 0.1  # deviation of a run, as a share of its (bent) distance to the base in the metric
TINY = 1e-12  # smallest scale, as a share of the base's level: where all values are equal
SURE = 1e-6  # smallest variance of a run, in squared units of the scale: keeps the matrix regular
JITTER = 1e-8  # added to the variances of a draw for the same reason, as a share of the largest, or of the scale's

FARTHEST = 6.0  # scales, on the bent axis, that a forecast is straightened to: 200 of them
MAX_ROWS = 256  # experiments that a forecast rests on, the nearest to the base: the work grows with their cube
MIN_ROWS = 3  # experiments with a value before there is a scale to speak of
CRASHES, TRIES = 0.05, 0.5  # what the odds of a crash stand for before any: one in ten (public logs: 1 to 15 %)
CRASH_WIDTH = 1.0  # how far a crash and a success speak, in the units of the coordinates


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is expected of several ideas, in the order of the ideas."""

    loss: FloatArray  # (n,) against the base, negative is better, bent; units of the metric, if there is any value yet
    deviation: FloatArray  # (n,) of the idea's own level: the base's few runs leave doubt of the gain, too
    covariance: FloatArray  # (n, n) of the losses against the base, over scale squared: neighbours go together
    crash: FloatArray  # (n,) odds of a crash
    nearest: FloatArray  # (n,) distance to the nearest experiment that was tried, infinite where there is none
    model: str  # what it rests on: "prior" or "history"
    scale: float  # beyond which differences are bent, units of the metric

    def drawn(self, rng: random.Random) -> list[float]:
        """Gains (n,), bent, in one possible world: a draw of the whole surface (Thompson sampling), not of each idea.

        Drawn each by itself, the best of sixty would be the one with the luckiest draw, however much its neighbours
        speak against it.
        """
        import numpy as np
        from threadpoolctl import threadpool_limits

        normal = np.array([rng.gauss(0.0, 1.0) for _ in self.loss])
        jitter = JITTER * max(1.0, float(np.diag(self.covariance).max()))
        with threadpool_limits(1):
            apart = np.linalg.cholesky(self.covariance + jitter * np.eye(len(normal))) @ normal
        return [float(gain) for gain in self.scale * apart - self.loss]

    def plain(self, place: int) -> tuple[float, float]:
        """Gain of one idea and its deviation, straight again (the deviation to first order)."""
        bent, deviation = -float(self.loss[place]), float(self.deviation[place])
        x = min(max(bent / self.scale, -FARTHEST), FARTHEST)
        return self.scale * math.sinh(x), deviation * math.cosh(x)

    def expected_gain(self, place: int) -> float:
        """Of running one idea and keeping it only if it is better: E[max(gain, 0)], units of the metric."""
        gain, deviation = self.plain(place)
        normal = NormalDist()
        z = gain / deviation
        return (gain * normal.cdf(z) + deviation * normal.pdf(z)) * (1.0 - float(self.crash[place]))

    def forecast(self, place: int) -> Forecast | None:
        """Of one idea; None while nothing tells how far the metric moves here."""
        if self.model != "history":
            return None
        crash = float(self.crash[place])
        better = NormalDist().cdf(-float(self.loss[place]) / float(self.deviation[place]))
        gain, deviation = self.plain(place)
        return Forecast(gain=gain, deviation=deviation, chance=better * (1.0 - crash), crash=crash, model=self.model)


def pessimism(kind: str, way: str) -> float:
    """Loss that is expected of one unit of such a change, in units of the scale, by the chance that it pays."""
    return -MOVED * NormalDist().inv_cdf(chance(kind, way))


class Screen:
    """Forecasts of changes of one base, from all that its line of parents has tried.

    Args:
        history: folded up to now.
        base: what the ideas change.
        knobs: the constants of the base.
        direction: which way the metric is better.
        places: points that were worked out before.
        effects_of: the published recipe's surface, for a baseline's constants (name -> text) that are the recipe's.
    """

    def __init__(
        self,
        history: History,
        base: ExperimentId,
        knobs: Sequence[Knob],
        direction: Direction,
        places: Places,
        effects_of: Callable[[Mapping[str, str]], Effects | None],
    ) -> None:
        import numpy as np
        from threadpoolctl import threadpool_limits

        before = origin(history, base)
        self._origin = {knob.name: before.get(knob.name, knob.text) for knob in knobs}
        self._effects = effects_of(self._origin)
        self._axes = Axes(self._origin)
        self._base = places.of(history, base)
        states = [s for s in history.line_of(base) if s.experiment.plan.without is None and s.runs]
        values = [(state, loss) for state in states if (loss := mean_loss(state, direction)) is not None]
        points = [places.of(history, state.experiment.id) for state, _ in values]
        failed = [places.of(history, state.experiment.id) for state in states if has_crashed(state)]
        chosen = self._axes.nearest(self._base, points, MAX_ROWS)
        near = [points[place] for place in chosen]
        broken = [failed[place] for place in self._axes.nearest(self._base, failed, MAX_ROWS)]
        given_up = [places.of(history, state.experiment.id) for state in states if _was_given_up(state)]
        lost = [given_up[place] for place in self._axes.nearest(self._base, given_up, MAX_ROWS)]
        everything = self._axes.array([self._base, *near, *broken, *lost])
        self._tried, rest = everything[1 : 1 + len(near)], everything[1 + len(near) :]
        self._broken, self._given_up = rest[: len(broken)], rest[len(broken) :]
        losses = np.array([loss for _, loss in values])[chosen]
        own = [loss for state, loss in values if state.experiment.id == base]
        self._process: GaussianProcessRegressor | None = None
        slope = self._effects.slope if self._effects is not None else 0.0
        self.scale = slope / MOVED or 1.0  # before there is any: what is known of the recipe counts in its own units
        if own and len(losses) >= MIN_ROWS:
            noise = _noise([state for state, _ in values], direction)
            far = np.abs(losses - own[0])
            level = abs(own[0]) or 1.0
            self.scale = max(float(np.median(far[far > 0])) if far.any() else 0.0, noise, TINY * level)
            counts = np.array([len(steering(state)) for state, _ in values])[chosen]
            apart = losses - own[0]
            bent = np.arcsinh(apart / self.scale)
            noisy = noise / np.sqrt(counts) / np.hypot(apart, self.scale)
            blurred = np.hypot(noisy, BLUR * np.abs(bent))
            expected = np.array([self._before(points[place]) for place in chosen])
            self._process = _process(blurred**2 + SURE)
            with threadpool_limits(1):
                self._process.fit(self._tried, bent - expected / self.scale)

    def outlook(self, points: Sequence[Point]) -> Outlook:
        """What is expected of sources at those points, against the base."""
        import numpy as np
        from threadpoolctl import threadpool_limits

        everywhere = [self._base, *points]
        rows = self._axes.array(everywhere)
        loss = np.array([self._before(point) for point in everywhere])
        with threadpool_limits(1):
            if self._process is None:
                unseen, covariance = rows - rows[:1], np.zeros((len(rows), len(rows)))
            else:
                # columns beyond are of changes without a run: the prior alone speaks, and as a straight line each
                known = self._tried.shape[1]
                unseen = rows[:, known:]
                told, covariance = self._process.predict(rows[:, :known], return_cov=True)
                loss = loss + self.scale * told
            covariance = covariance + MOVED**2 * unseen @ unseen.T
        against = covariance[1:, 1:] - covariance[1:, :1] - covariance[:1, 1:] + covariance[0, 0]  # the base moves too
        deviation = self.scale * np.sqrt(np.maximum(np.diag(covariance), 0.0))
        known_rows = (self._tried, self._broken, self._given_up)
        to_tried, to_broken, to_given_up = (_distances(rows[1:], _widened(old, rows)) for old in known_rows)
        ran, crashed = (np.exp(-0.5 * (d / CRASH_WIDTH) ** 2).sum(axis=1) for d in (to_tried, to_broken))
        all_of_them = np.concatenate([to_tried, to_broken, to_given_up], axis=1)
        return Outlook(
            loss=loss[1:] - loss[0],
            deviation=np.maximum(deviation[1:], TINY * self.scale),
            covariance=against,
            crash=(CRASHES + crashed) / (TRIES + crashed + ran),
            nearest=all_of_them.min(axis=1) if all_of_them.shape[1] else np.full(len(points), np.inf),
            model="prior" if self._process is None else "history",
            scale=self.scale,
        )

    def _before(self, point: Point) -> float:
        """Loss that is expected at a point before any run of this lab, relative to the line's baseline."""
        told, doubt = 0.0, 0.0
        if self._effects is not None:
            told = self._effects.loss(point.values)
        for name, text in point.values.items():
            start = self._origin.get(name)
            if start is not None and text != start and (self._effects is None or name not in self._effects.kinds):
                _, moved = distance(name, start, text)
                old, new = literal(start), literal(text)
                way = "switch" if old is None or new is None else way_of(old, new).value
                doubt += pessimism(kind_of(name).name, way) * abs(moved) + CURVED * moved**2
        for name in sorted(point.rest):  # sets have another order in another process, and sums depend on it
            edit = BY_NAME.get(name)
            doubt += pessimism(edit.family if edit is not None else "", "edit")
        return told + self.scale * doubt


def mean_loss(state: ExperimentState, direction: Direction) -> float | None:
    """Mean of an experiment's believed values, as a loss; None where it has none, or has failed."""
    values = steering(state)
    return None if not values or has_crashed(state) else direction.sign * sum(values) / len(values)


def steering(state: ExperimentState) -> list[float]:
    """Believed values of the runs that may decide something: those of a final block are kept out."""
    return [run.value for run in state.finished() if run.run.purpose.steers and run.value is not None]


def has_crashed(state: ExperimentState) -> bool:
    """Whether one of its runs failed by its own fault."""
    return any(isinstance(run.outcome, Crashed | TimedOut) and run.is_believed for run in state.runs)


def _was_given_up(state: ExperimentState) -> bool:
    """Whether its curve was the end of it: it has no value, and need not be tried again."""
    return any(isinstance(run.outcome, StoppedEarly) and run.outcome.fraction is not None for run in state.runs)


def _noise(states: Sequence[ExperimentState], direction: Direction) -> float:
    """Standard deviation of one run, pooled over the experiments with several; 0.0 if there are none.

    A forecast needs it to a factor of two: the judge has a model of its own.
    """
    squares, freedom = 0.0, 0
    for state in states:
        values = steering(state)
        if len(values) > 1:
            mean = sum(values) / len(values)
            squares += sum((value - mean) ** 2 for value in values)
            freedom += len(values) - 1
    return (squares / freedom) ** 0.5 if freedom else 0.0


def _process(variance: FloatArray) -> GaussianProcessRegressor:
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import ConstantKernel, DotProduct, Matern

    line = DotProduct(sigma_0=0.0, sigma_0_bounds="fixed")
    kernel = (
        ConstantKernel(LEVEL, "fixed")
        + ConstantKernel(LINES, "fixed") * line
        + ConstantKernel(PRODUCTS, "fixed") * line**2
        + ConstantKernel(REST, "fixed") * Matern(LENGTH, "fixed", nu=2.5)
    )
    return GaussianProcessRegressor(kernel, alpha=variance, optimizer=None)


def _widened(rows: FloatArray, like: FloatArray) -> FloatArray:
    """The rows with zeros for columns that were met later."""
    import numpy as np

    return np.pad(rows, ((0, 0), (0, like.shape[1] - rows.shape[1])))


def _distances(left: FloatArray, right: FloatArray) -> FloatArray:
    """(n, m) Euclidean distances."""
    import numpy as np

    squares: FloatArray = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1)[None, :] - 2.0 * left @ right.T
    return np.asarray(np.sqrt(np.maximum(squares, 0.0)), dtype=np.float64)
