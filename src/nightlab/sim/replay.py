"""Recorded runs of one unchanged source played back: an A/A test on real noise. docs/simulate.md is the format."""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from nightlab.errors import ConfigError
from nightlab.sim.world import Draw, Effects, Luck, World
from nightlab.types import Conditions, Reading

_HINT = "docs/simulate.md says what a replay holds: columns metric, probe, session, one run a row"
LEAST = 20  # runs, or there is nothing to play


@dataclass(frozen=True, slots=True)
class Replay:
    """Runs in the order in which they ran."""

    world: World  # without effects and noise of its own
    metrics: tuple[float, ...]
    probes: tuple[float | None, ...]  # work per second
    sessions: tuple[str, ...]


def read_replay(path: Path, slots: float | None = None) -> Replay:
    """A replay's file.

    Args:
        path: TSV with a head line.
        slots: length of a night; a hundred, or as many as there are runs.

    Raises:
        ConfigError: it cannot be read, lacks the column metric, or holds a value that is no number.
    """
    rows = _rows(path)
    metrics = tuple(_number(row, "metric", path, place) for place, row in enumerate(rows, start=2))
    if len(metrics) < LEAST:
        raise ConfigError(f"{path} holds {len(metrics)} runs, and a night needs {LEAST}", hint=_HINT)
    probes = tuple(
        _number(row, "probe", path, place) if (row.get("probe") or "").strip() else None
        for place, row in enumerate(rows, start=2)
    )
    if any(probe is not None and probe <= 0.0 for probe in probes):
        raise ConfigError(f"{path}: a probe is no speed: it must be positive", hint=_HINT)
    world = World(
        name=path.stem,
        slots=slots or min(100.0, float(len(metrics))),
        start=sum(metrics) / len(metrics),
        decimals=None,
        effects=Effects(helps=0.0),
    )
    return Replay(world, metrics, probes, tuple((row.get("session") or "").strip() for row in rows))


def convert(sources: Sequence[Path], target: Path) -> int:
    """Make a replay of reruns that counted their steps; returns how many runs it holds.

    Of all finished runs those of the configuration (column `config`) that was run most often are taken, with
    `num_steps` as probe and each file as a session.

    Raises:
        ConfigError: a file cannot be read, or lacks a column; the target is there already, or cannot be written.
    """
    found = [
        (f"{place} {source.stem}", row)  # files of one name are sessions of their own
        for place, source in enumerate(sources, start=1)
        for row in _rows(source, "val_bpb", "num_steps")
        if row.get("status") != "crash" and (row.get("num_steps") or "").strip()
    ]
    counts = Counter(row.get("config") or "" for _, row in found)
    if not counts:
        raise ConfigError(f"{sources[0]} holds no finished run", hint=_HINT)
    most = counts.most_common(1)[0][0]
    kept = [(row["val_bpb"], row["num_steps"], session) for session, row in found if (row.get("config") or "") == most]
    try:
        with target.open("x", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, delimiter="\t", lineterminator="\n")
            writer.writerow(("metric", "probe", "session"))
            writer.writerows(kept)
    except FileExistsError as exc:
        raise ConfigError(f"{target} is there already", hint="the last file is the one to make: name another") from exc
    except OSError as exc:
        raise ConfigError(f"{target} cannot be written: {exc.strerror}", hint="name a file that can") from exc
    return len(kept)


def _rows(path: Path, *columns: str) -> list[dict[str, str]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file, delimiter="\t")
            missing = [name for name in columns or ("metric",) if name not in (reader.fieldnames or ())]
            if missing:
                raise ConfigError(f"{path} lacks the column {missing[0]}", hint=_HINT)
            return list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}", hint=_HINT) from exc


def _number(row: dict[str, str], name: str, path: Path, line: int) -> float:
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ConfigError(f"{path}, line {line}: {name} is {row[name]!r}, which is no number", hint=_HINT)
    return value


class Replayed(Luck):
    """A night of a replay: whatever is asked for takes the next recorded run, from a place that the night draws."""

    def __init__(self, replay: Replay, night: int, seed: int, *, slots: float | None = None) -> None:
        super().__init__(msgspec.structs.replace(replay.world, slots=slots or replay.world.slots), night, seed)
        self._replay = replay
        self._start = int(np.random.default_rng((seed, night)).integers(len(replay.metrics)))
        self._place = self._start

    def idea(self, place: int) -> Draw:
        """It changes nothing."""
        return Draw(effect=0.0, crashes=False, comparable=False)

    def moved(self, truth: float, draw: Draw) -> float:
        return truth

    def noise(self, arm: str, seed: int, at: float, turn: int) -> float:
        """How far the next recorded run lay from the mean of all."""
        self._place = (self._start + turn) % len(self._replay.metrics)
        return self._replay.metrics[self._place] - self.world.start

    def conditions(self, at: float) -> Conditions | None:
        probe = self._replay.probes[self._place]
        if probe is None:
            return None
        return Conditions(before=Reading(speed=probe), after=Reading(), timed=True)

    def device(self, turn: int) -> str:
        """Runs of other sessions happened on another machine, or after a break."""
        return self._replay.sessions[(self._start + turn) % len(self._replay.sessions)]
