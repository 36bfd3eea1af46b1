"""The baselines of the search benchmark, written from their descriptions: random, greedy, TPE and CMA-ES.

Each spends the runs of a sitting, the default start first. A crash costs a run like any other.
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

from benchmarks.spaces import Axis, Config, Sitting, Value

if TYPE_CHECKING:
    import optuna

CRASHED = 1e9
"""What Optuna is told of a crash: worse than anything measured. Both samplers look at ranks alone. (Told as failed,
TPE forgets the place: 0.9862 instead of 0.9859 after 100 runs of the first surrogate, 12 seeds.)"""

MUTATIONS = 100  # attempts at a configuration that differs from its parent


def search_random(sitting: Sitting) -> None:
    """Anywhere in the space, every time."""
    rng = random.Random(f"{sitting.seed}:random")
    space = sitting.objective.space
    sitting.measure(space.start)
    while not sitting.spent:
        sitting.measure(space.draw(rng))


def search_greedy(sitting: Sitting) -> None:
    """Hill climbing, as an unattended agent does it: one or two knobs of the best so far by usual factors."""
    rng = random.Random(f"{sitting.seed}:greedy")
    sitting.measure(sitting.objective.space.start)
    while not sitting.spent:
        sitting.measure(mutated(sitting, sitting.incumbent, rng))


def mutated(sitting: Sitting, parent: Config, rng: random.Random, knobs: int | None = None) -> dict[str, Value]:
    """The parent with one or two knobs moved; never the parent itself while there is anything else."""
    space = sitting.objective.space
    changed = dict(parent)
    for _ in range(MUTATIONS):
        count = min(knobs or rng.choice((1, 2)), len(space.axes))
        for axis in rng.sample(space.axes, count):
            changed[axis.name] = axis.step(parent[axis.name], rng)
        if space.changed(parent, changed):
            break
    return changed


# --- Optuna -----------------------------------------------------------------------------------------------------


def search_tpe(sitting: Sitting) -> None:
    """Optuna's TPESampler with its defaults."""
    import optuna

    _search_optuna(sitting, lambda: optuna.samplers.TPESampler(seed=sitting.seed))


def search_cma(sitting: Sitting) -> None:
    """Optuna's CmaEsSampler, begun at the start; what has no order is TPE's, as CMA-ES has no names."""
    import optuna

    start = sitting.objective.space.start
    ordered = [axis for axis in sitting.objective.space.axes if not axis.choices]
    _search_optuna(
        sitting,
        lambda: optuna.samplers.CmaEsSampler(
            x0={axis.name: _told(axis, start[axis.name]) for axis in ordered},
            seed=sitting.seed,
            independent_sampler=optuna.samplers.TPESampler(seed=sitting.seed),
            warn_independent_sampling=False,
        ),
    )


def _search_optuna(sitting: Sitting, sampler: Callable[[], optuna.samplers.BaseSampler]) -> None:
    """Ask and tell, the default start first."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    space = sitting.objective.space
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # samplers and arguments that Optuna calls experimental
        study = optuna.create_study(sampler=sampler())
        study.enqueue_trial({axis.name: _told(axis, space.start[axis.name]) for axis in space.axes})
        while not sitting.spent:
            trial = study.ask()
            result = sitting.measure({axis.name: _suggested(axis, trial) for axis in space.axes})
            study.tell(trial, result.value if result.value is not None else CRASHED)


def _suggested(axis: Axis, trial: optuna.Trial) -> Value:
    if axis.choices:
        return str(trial.suggest_categorical(axis.name, axis.choices))
    if axis.grid:
        return axis.grid[trial.suggest_int(axis.name, 0, len(axis.grid) - 1)]
    if axis.whole:
        return trial.suggest_int(axis.name, int(axis.low), int(axis.high), log=axis.log)
    return trial.suggest_float(axis.name, axis.low, axis.high, log=axis.log)


def _told(axis: Axis, value: Value) -> Value:
    """A value as Optuna has it: its place, on a grid."""
    return axis.grid.index(value) if axis.grid and not isinstance(value, str) else value
