"""A stand-in for training, fitted to the logs of real nights: knobs -> loss, and whether memory runs out.

Tables are tab-separated with the columns `config` (a JSON object of knobs), `val_bpb` and `status`. The loss is an
ExtraTrees regression on the runs that ended well, the crash an ExtraTrees classification of all runs: a configuration
crashes always or never, since memory is no matter of luck. Nothing that is fitted is kept on disk.
"""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.spaces import Axis, Config, Result, Space, Value, luck
from nightlab.errors import ConfigError
from nightlab.search.effects import Effects
from nightlab.search.propose import nothing_known

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

NOISE = 0.0005
"""Standard deviation of one run, bpb (888 reruns of one configuration on H200 machines)."""

COLUMNS = ("config", "val_bpb", "status")
WELL = frozenset({"ok", "keep", "discard"})
SHARED = 0.9  # share of a table's rows in which a knob must stand to count as one of its knobs
FEW = 8  # whole numbers with at most so many different values are a grid: batch sizes, head sizes
TREES = 60
DEPTH = 18  # of a tree: held-out R2 is the same at 60 trees of 18 levels as at 200 grown out
FOLDS = 5
TOKENS_PER_ROW = 2048  # the sequence length of the published train.py, which asserts that batches divide


EffectsOf = Callable[[Mapping[str, str]], Effects | None]


@dataclass(frozen=True, slots=True)
class Row:
    config: Config
    value: float | None  # None: it crashed
    table: str


@dataclass(frozen=True, slots=True)
class Tables:
    """The runs of some logs, as far as they tell of the knobs that all of them share."""

    rows: tuple[Row, ...]
    space: Space
    left_out: tuple[str, ...]  # knobs that some table lacks
    names: tuple[str, ...]


def read_tables(paths: Sequence[Path]) -> Tables:
    """The logs as one table.

    Raises:
        ConfigError: a file cannot be read, lacks a column, or no run of it can be used.
    """
    raw = [(path.name, _read(path)) for path in paths]
    common: set[str] | None = None
    seen: set[str] = set()
    for _, rows in raw:
        counts = Counter(name for row in rows for name in row.config)
        seen |= set(counts)
        often = {name for name, count in counts.items() if count >= SHARED * len(rows)}
        common = often if common is None else common & often
    everything = [row for _, rows in raw for row in rows]
    axes = [axis for name in sorted(common or ()) if (axis := _axis(name, [r.config.get(name) for r in everything]))]
    rows = [row for row in everything if all(_fits(axis, row.config.get(axis.name)) for axis in axes)]
    if not axes or sum(row.value is not None for row in rows) < FOLDS:
        raise ConfigError(
            f"{', '.join(path.name for path in paths)}: no knobs that all share, or hardly a run that ended well",
            hint="leave out the tables whose `config` holds other knobs",
        )
    space = Space(tuple(axes), {})
    firsts = [next(row for row in rows if row.table == name) for name in {row.table: 0 for row in rows}]
    usual = Counter(space.key(row.config) for row in firsts if row.value is not None).most_common(1)
    start = dict(zip([axis.name for axis in axes], usual[0][0], strict=True)) if usual else firsts[0].config
    kept = tuple(Row(space.fit(row.config), row.value, row.table) for row in rows)
    names = {axis.name for axis in axes}
    return Tables(kept, Space(space.axes, space.fit(start)), tuple(sorted(seen - names)), tuple(n for n, _ in raw))


def _read(path: Path) -> list[Row]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            lacking = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            lines = list(reader) if not lacking else []
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}", hint="give tab-separated logs of runs") from exc
    if lacking:
        raise ConfigError(
            f"{path} has no column {', '.join(lacking)}",
            hint="a table needs `config` (a JSON object of knobs), `val_bpb` and `status`",
        )
    rows = [row for line in lines if (row := _row(line, path.name)) is not None]
    if not rows:
        raise ConfigError(f"{path} holds no run with a `config`", hint="leave it out of --tables")
    return rows


def _row(line: dict[str, str], table: str) -> Row | None:
    try:
        config = json.loads(line["config"] or "{}")
        value = float(line["val_bpb"] or "nan")
    except (TypeError, ValueError):
        return None
    if not isinstance(config, dict) or not config:
        return None
    ended_well = line["status"] in WELL and math.isfinite(value) and value > 0
    knobs = {
        name: int(v) if isinstance(v, bool) else v for name, v in config.items() if isinstance(v, int | float | str)
    }
    return Row(knobs, value if ended_well else None, table)


def _axis(name: str, values: Sequence[Value | None]) -> Axis | None:
    """The axis that holds the values of a knob; None for one that never moves."""
    numbers = [value for value in values if isinstance(value, int | float)]
    texts = [value for value in values if isinstance(value, str)]
    if len(texts) > len(numbers):
        return Axis(name, choices=tuple(sorted(set(texts)))) if len(set(texts)) > 1 else None
    if len(set(numbers)) < 2:
        return None
    whole = all(isinstance(value, int) for value in numbers)
    grid = tuple(sorted(set(numbers))) if whole and len(set(numbers)) <= FEW else ()
    return Axis(name, min(numbers), max(numbers), whole, grid)


def _fits(axis: Axis, value: Value | None) -> bool:
    return value in axis.choices if axis.choices else isinstance(value, int | float)


# --- trees ------------------------------------------------------------------------------------------------------


class Forest:
    """A fitted ensemble as arrays: one configuration costs a fraction of a millisecond, all trees at once."""

    def __init__(self, ensemble: ExtraTreesRegressor | ExtraTreesClassifier) -> None:
        trees = [estimator.tree_ for estimator in ensemble.estimators_]
        size = max(tree.node_count for tree in trees)
        shape = (len(trees), size)
        self._feature = np.zeros(shape, dtype=np.int64)
        self._threshold = np.full(shape, np.inf)
        self._children = np.tile(np.arange(size), (2, len(trees), 1))  # a leaf is its own child
        self._value = np.zeros(shape)
        for place, tree in enumerate(trees):
            inner = tree.children_left >= 0
            nodes = np.flatnonzero(inner)
            self._feature[place, nodes] = tree.feature[inner]
            self._threshold[place, nodes] = tree.threshold[inner]
            self._children[0, place, nodes] = tree.children_left[inner]
            self._children[1, place, nodes] = tree.children_right[inner]
            self._value[place, : tree.node_count] = tree.value[:, 0, -1]  # of a classification: the share of crashes
        self._trees = np.arange(len(trees))
        self._levels = max(tree.max_depth for tree in trees)

    def at(self, features: NDArray[np.float64]) -> float:
        """The mean over all trees for one row of features."""
        row = features.astype(np.float32)  # as the trees compare
        node = np.zeros(len(self._trees), dtype=np.int64)
        for _ in range(self._levels):
            right = row[self._feature[self._trees, node]] > self._threshold[self._trees, node]
            node = self._children[right.astype(np.int64), self._trees, node]
        return float(self._value[self._trees, node].mean())


def features(space: Space, config: Config) -> NDArray[np.float64]:
    """A configuration as numbers: knobs on their own scales, names as one column each."""
    row: list[float] = []
    for axis in space.axes:
        value = config[axis.name]
        if isinstance(value, str):
            row += [float(value == choice) for choice in axis.choices]
        else:
            row.append(axis.scaled(value))
    return np.array(row)


@dataclass(frozen=True, slots=True)
class Quality:
    """How well runs that the fit has not seen are told."""

    r2: float
    spearman: float
    rows: int
    how: str


@dataclass(slots=True)
class Surrogate:
    """The fitted objective."""

    name: str
    tables: Tables
    space: Space
    _loss: Forest
    _crash: Forest | None
    _known: dict[tuple[Value, ...], float] = field(default_factory=dict)
    effects_of: EffectsOf = nothing_known  # what the product may know beforehand: of other sessions than these

    def truth(self, config: Config) -> float:
        key = self.space.key(config)
        if key not in self._known:
            self._known[key] = math.inf if self._crashes(config) else self._loss.at(features(self.space, config))
        return self._known[key]

    def run(self, config: Config, seed: int, number: int) -> Result:
        truth = self.truth(config)
        if math.isinf(truth):
            return Result(None, self._crashes(config))
        return Result(truth + NOISE * luck(seed, number).gauss(0.0, 1.0))

    def _crashes(self, config: Config) -> str:
        """Why that configuration cannot run; empty if it can."""
        total, device = config.get("TOTAL_BATCH_SIZE"), config.get("DEVICE_BATCH_SIZE")
        if isinstance(total, int) and isinstance(device, int) and total % (device * TOKENS_PER_ROW):
            return "AssertionError: the batch does not divide"
        if self._crash is not None and self._crash.at(features(self.space, config)) > 0.5:
            return "CUDA out of memory"
        return ""

    def predict(self, rows: Sequence[Row]) -> NDArray[np.float64]:
        return np.array([self._loss.at(features(self.space, row.config)) for row in rows])


def fit(name: str, tables: Tables, start: Config | None = None, effects_of: EffectsOf = nothing_known) -> Surrogate:
    """Fit loss and crash.

    Args:
        name: for people.
        tables: the runs.
        start: where searches start, if not where most of the tables do.
        effects_of: what the product may know beforehand.
    """
    from sklearn.ensemble import ExtraTreesClassifier, ExtraTreesRegressor

    space = tables.space if start is None else Space(tables.space.axes, tables.space.fit(start))
    everything = np.array([features(space, row.config) for row in tables.rows])
    crashed = np.array([row.value is None for row in tables.rows])
    values = np.array([row.value for row in tables.rows if row.value is not None])
    loss = ExtraTreesRegressor(n_estimators=TREES, max_depth=DEPTH, random_state=0, n_jobs=1)
    loss.fit(everything[~crashed], values)
    crash: Forest | None = None
    if crashed.any():
        classifier = ExtraTreesClassifier(n_estimators=TREES, max_depth=DEPTH, random_state=0, n_jobs=1)
        crash = Forest(classifier.fit(everything, crashed))
    return Surrogate(name, tables, space, Forest(loss), crash, effects_of=effects_of)


def quality(surrogate: Surrogate, unseen: Tables | None) -> Quality | None:
    """Of the loss, on sessions that were not in the fit: those of `unseen`, or by leaving out a fifth of the tables.

    Only configurations that no fitted row has count. None if there is but one session.
    """
    tables = surrogate.tables
    if unseen is not None:
        known = {tables.space.key(row.config) for row in tables.rows}
        there = [Row(tables.space.fit(row.config), row.value, row.table) for row in unseen.rows]
        new = [row for row in there if row.value is not None and tables.space.key(row.config) not in known]
        return _scored(new, surrogate.predict(new), f"{len(unseen.names)} other sessions") if new else None
    if len(tables.names) < 2:
        return None
    told: list[Row] = []
    guesses: list[NDArray[np.float64]] = []
    for fold in range(min(FOLDS, len(tables.names))):
        outside = set(tables.names[fold::FOLDS])
        inside = tuple(row for row in tables.rows if row.table not in outside)
        known = {tables.space.key(row.config) for row in inside}
        left = [r for r in tables.rows if r.table in outside and r.value is not None]
        left = [row for row in left if tables.space.key(row.config) not in known]
        if left and any(row.value is not None for row in inside):
            part = fit("fold", Tables(inside, tables.space, (), ()))
            told += left
            guesses.append(part.predict(left))
    return _scored(told, np.concatenate(guesses), f"{FOLDS} folds of sessions") if told else None


def _scored(rows: Sequence[Row], guesses: NDArray[np.float64], how: str) -> Quality:
    from scipy.stats import spearmanr

    values = np.array([row.value for row in rows], dtype=float)
    r2 = 1.0 - float(((values - guesses) ** 2).sum() / ((values - values.mean()) ** 2).sum())
    return Quality(r2, float(spearmanr(values, guesses).statistic), len(rows), how)


def described(surrogate: Surrogate, unseen: Tables | None) -> str:
    """What it was fitted on and how well it tells runs that it has not seen."""
    rows, space = surrogate.tables.rows, surrogate.space
    distinct = len({space.key(row.config) for row in rows})
    crashed = sum(row.value is None for row in rows)
    score = quality(surrogate, unseen)
    held = (
        "one session, nothing held out"
        if score is None
        else (f"R2 {score.r2:.3f}, Spearman {score.spearman:.3f} on {score.rows} unseen runs ({score.how})")
    )
    left = f"; left out, since not all tables have them: {', '.join(surrogate.tables.left_out)}"
    return (
        f"{surrogate.name}: {len(rows)} runs ({crashed} crashed), {distinct} distinct configurations, "
        f"{len(surrogate.tables.names)} sessions, {len(space.axes)} knobs, start {surrogate.truth(space.start):.4f}; "
        f"{held}{left if surrogate.tables.left_out else ''}"
    )
