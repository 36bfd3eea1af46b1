"""What a run is in `cpu_nights`: the shipped recipe on the CPU profile, as the lab of `nightlab demo` runs it.

A run spends a fixed amount of arithmetic on one thread, so the same source and seed give the same bits. Each is
therefore made once and kept: nights, methods and the runs on fresh seeds share one store.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import msgspec

from nightlab.cli.labs import make_lab
from nightlab.config import EarlySettings, Settings, load_settings
from nightlab.errors import BackendError, UsageError
from nightlab.git import Git
from nightlab.runner.files import write_atomic
from nightlab.runner.hashes import hash_files
from nightlab.runner.log import LineReader, Printed
from nightlab.runner.machine import visible_gpus
from nightlab.runner.order import Order, RunFiles
from nightlab.runner.result import read_outcome
from nightlab.runner.tend import Cause, Finish
from nightlab.runner.workspace import command_env, pinned
from nightlab.search.source import source_hash
from nightlab.sources import Sources
from nightlab.types import (
    Crashed,
    Disputed,
    Environment,
    ExperimentId,
    Files,
    Finished,
    Metrics,
    Outcome,
    Purpose,
    Run,
    RunId,
    TimedOut,
    Voided,
)

DEVICE = "cpu:0"
COMMAND = (sys.executable, "train.py")
LAST = 64 << 10  # bytes of the output in which a failure says why


class Trainer(Protocol):
    """Runs a source with a seed."""

    def __call__(self, files: Files, seed: int) -> Finished | Crashed: ...


@dataclass(frozen=True, slots=True)
class DemoLab:
    """A lab as `nightlab demo` makes it, with its curves unwatched, and what its experiments start from."""

    settings: Settings
    sources: Sources
    start: Files  # the shipped train.py

    @property
    def digest(self) -> str:
        """What makes runs comparable beside their source: prepare.py, the profile, the locked packages."""
        return self.settings.digest


def demo_lab(directory: Path) -> DemoLab:
    """Make the lab.

    Raises:
        UsageError: there is a GPU here, on which a run is something else.
    """
    if visible_gpus():
        raise UsageError(
            "these are nights of the CPU profile, and there is a GPU", hint="CUDA_VISIBLE_DEVICES= hides it"
        )
    make_lab(directory)
    git = Git(directory)
    settings = replace(load_settings(directory), early=EarlySettings(enabled=False))
    sources = Sources(pinned(settings, git), git)
    return DemoLab(sources.settings, sources, sources.at(git.head()))


def prepare_data(lab: DemoLab) -> None:
    """Fetch and pack what the benchmark trains on, unless that is there.

    Raises:
        BackendError: prepare.py fails.
    """
    done = subprocess.run([sys.executable, "prepare.py"], cwd=lab.settings.root, stdout=sys.stderr, check=False)
    if done.returncode != 0:
        raise BackendError("prepare.py failed", hint="see its message above")


@dataclass(frozen=True, slots=True)
class OnCpu:
    """Runs sources in workspaces of that lab, and reads what they leave behind as the lab does."""

    lab: DemoLab

    def __call__(self, files: Files, seed: int) -> Finished | Crashed:
        settings, git = self.lab.settings, self.lab.sources.git
        with tempfile.TemporaryDirectory(prefix="nightlab-cpu-night-") as name:
            workspace, run_dir = Path(name) / "work", Path(name) / "run"
            run_dir.mkdir()
            git.checkout(git.tree_of(git.head()), workspace)
            for path, text in files.items():
                (workspace / path).write_text(text, encoding="utf-8")
            run = _run(seed, 60 * settings.budget.timeout_minutes)
            guarded = hash_files(workspace, (*settings.protected, *settings.editable))
            order = Order(
                run=run, cwd=workspace, run_dir=run_dir, database=None, metric=settings.metric,
                editable=tuple(files), guarded=guarded,
            )  # fmt: skip
            env = os.environ | command_env(settings, run, RunFiles(run_dir), workspace, Path(sys.prefix))
            return _read(order, env)


def _run(seed: int, limit_s: float) -> Run:
    environment = Environment(device=DEVICE, machine="", python="", platform="")
    return Run(
        id=RunId("r"), experiment=ExperimentId("e"), seed=seed, purpose=Purpose.IDEA, slot=0, limit_s=limit_s,
        command=COMMAND, environment=environment,
    )  # fmt: skip


def _read(order: Order, env: dict[str, str]) -> Finished | Crashed:
    """Run the command and say how it ended; every failure of its own counts as a crash, as the search takes it.

    Raises:
        BackendError: something else ended it.
    """
    begun = time.monotonic()
    try:
        done = subprocess.run(
            order.run.command, cwd=order.cwd, env=env, timeout=order.run.limit_s, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        output, cause, code = done.stdout, Cause.ENDED, done.returncode
    except subprocess.TimeoutExpired:
        output, cause, code = b"", Cause.LIMIT, None
    wall = time.monotonic() - begun
    printed = Printed()
    reader = LineReader(order.metric.name, printed)
    reader.feed(output)
    reader.finish()
    return taken(read_outcome(order, Finish(cause=cause, code=code, wall_s=wall, cpu_s=wall), printed, output[-LAST:]))


def taken(outcome: Outcome) -> Finished | Crashed:
    """An outcome as the search takes it: a value, or a failure that speaks against the source.

    Raises:
        BackendError: the run was lost, which says nothing of the source.
    """
    if isinstance(outcome, Finished | Crashed):
        return outcome
    if isinstance(outcome, TimedOut):
        return Crashed(summary=f"no end within {outcome.limit_s:g} s", signature="no end within its limit")
    if isinstance(outcome, Disputed | Voided):
        return Crashed(summary=str(outcome), signature=type(outcome).__name__)
    raise BackendError(f"a run was lost: {outcome.reason}", hint="start again: what ran before is kept")


# --- the store ----------------------------------------------------------------------------------------------------


class Kept(msgspec.Struct, frozen=True):
    """One run as it is stored: metrics, or how it crashed."""

    metrics: Metrics | None
    crashed: Crashed | None
    seconds: float


@dataclass(slots=True)
class Store:
    """Runs on disk by source and seed, and the sources themselves. A run that is there is not made again."""

    directory: Path
    trainer: Trainer
    digest: str  # of what else makes runs comparable
    made: int = 0  # runs that were not there

    def __post_init__(self) -> None:
        for name in ("runs", "sources"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)

    def name(self, files: Files) -> str:
        """What a source is called here."""
        return source_hash(files, self.digest).rpartition(":")[2]

    def run(self, files: Files, seed: int) -> Finished | Crashed:
        """The run of a source with a seed: from the store, else made now."""
        name = self.name(files)
        known = self.find(name, seed)
        if known is not None:
            return known
        begun = time.monotonic()
        outcome = self.trainer(files, seed)
        self.made += 1
        kept = Kept(
            outcome.metrics if isinstance(outcome, Finished) else None,
            outcome if isinstance(outcome, Crashed) else None,
            round(time.monotonic() - begun, 1),
        )
        write_atomic(self._source(name), msgspec.json.encode(files))
        write_atomic(self._run(name, seed), msgspec.json.encode(kept))
        return outcome

    def find(self, name: str, seed: int) -> Finished | Crashed | None:
        """The run of a source with a seed, if it is there."""
        path = self._run(name, seed)
        if not path.is_file():
            return None
        kept = msgspec.json.decode(path.read_bytes(), type=Kept)
        return kept.crashed if kept.metrics is None else Finished(metrics=kept.metrics)

    def files(self, name: str) -> Files:
        """A source that ran."""
        return msgspec.json.decode(self._source(name).read_bytes(), type=dict[str, str])

    def _run(self, name: str, seed: int) -> Path:
        return self.directory / "runs" / f"{name}-{seed}.json"

    def _source(self, name: str) -> Path:
        return self.directory / "sources" / f"{name}.json"
