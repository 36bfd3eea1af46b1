"""labloop 1.0.5: keep what beats the best kept value. Driven: `labloop.Loop`, whole.

Replaced is what lies around a decision: the commands (a proposal always changes something, a run prints the value
that the benchmark delivers), git (a `Workspace` in memory, the package's own seam) and the file under its ledger,
which it reads half a dozen times a trial: the records stay in memory, the ledger's answers are its own. The proposer's
sandbox and the brief for the proposer are off; no decision reads them.

default   `labloop run`
confirm   `labloop run --confirm`: a winner runs again and must win twice; the weaker value is the new bar
advice    what `labloop noise` tells a user with a noisy metric: five runs first, then
          `--min-delta SPREAD --confirm`, where the spread is their range
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import labloop.loop
from labloop import Completed, Experiment, Ledger, Loop, Outcome, Trial

from benchmarks.rival_servers.wire import Wire

PROPOSE, RUN = "propose", "run"
NOISE_RUNS = 5  # the default of `labloop noise --repeat`


class Tree:
    """A working tree that is either clean or holds the one proposed change."""

    def __init__(self) -> None:
        self.dirty = False

    def is_dirty(self) -> bool:
        return self.dirty

    def changed_paths(self) -> list[str]:
        return ["train.py"]

    def untracked_paths(self) -> list[str]:
        return []

    def ignored_paths(self) -> list[str]:
        return []

    def revert(self) -> None:
        self.dirty = False

    def commit(self, message: str, paths: Sequence[str] | None = None) -> str:
        self.dirty = False
        return "0" * 40


class Records(Ledger):  # type: ignore[misc]  # of no known type: installed apart
    """The package's ledger over lists instead of a file."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._trials: list[Trial] = []
        self._specs: list[Mapping[str, object]] = []

    def append(self, trial: Trial) -> None:
        self._trials.append(trial)

    def __iter__(self) -> Iterator[Trial]:
        return iter(self._trials)

    def _append(self, record: Mapping[str, object]) -> None:
        self._specs.append(record)

    def _raw_records(self) -> Iterator[Mapping[str, object]]:
        return iter(self._specs)


class Player:
    def __init__(self, wire: Wire, scratch: Path, variant: str) -> None:
        assert variant in {"default", "confirm", "advice"}, variant
        self._wire = wire
        self._scratch = scratch / "night"
        self._confirm = variant != "default"
        self._measures_noise = variant == "advice"
        self.baseline_runs = 1 + NOISE_RUNS * self._measures_noise
        self._tree = Tree()
        labloop.loop.run_command = self._command

    def play(self) -> None:
        shutil.rmtree(self._scratch, ignore_errors=True)
        self._scratch.mkdir()
        self._tree = Tree()
        min_delta = 0.0
        if self._measures_noise:
            values = self._loop(min_delta).measure_noise(NOISE_RUNS)
            min_delta = max(values) - min(values)
        loop = self._loop(min_delta)
        loop.baseline()
        loop.run(trials=sys.maxsize)

    def _loop(self, min_delta: float) -> Any:
        experiment = Experiment(
            run=RUN,
            metric="loss",
            propose=PROPOSE,
            confirm=self._confirm,
            min_delta=min_delta,
            brief=False,
            sandbox="none",
        )
        loop = Loop(experiment, workdir=self._scratch, workspace=self._tree, reporter=self._recorded)
        loop.ledger = Records(loop.ledger.path)
        return loop

    def _recorded(self, trial: Trial) -> None:
        if trial.note == "baseline":
            self._wire.answer("ok")
        else:
            self._wire.answer("keep" if trial.outcome is Outcome.KEPT else "discard")

    def _command(self, command: str, **_: object) -> Completed:
        """In the place of `labloop.runner.run_command`."""
        if command == PROPOSE:
            self._tree.dirty = True
            return Completed(0, "", 0.0, False)
        value = self._wire.value("candidate" if self._tree.dirty else "baseline")
        return Completed(0, f"loss={value!r}\n", 0.0, False)


def player(wire: Wire, scratch: Path, arguments: list[str]) -> Player:
    (variant,) = arguments
    return Player(wire, scratch, variant)
