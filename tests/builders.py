"""Makers of nouns, clocks and repositories that tests share; every argument has a default that makes sense."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nightlab.types import (
    Conditions,
    Crashed,
    Ended,
    Environment,
    Experiment,
    ExperimentId,
    Finished,
    Metrics,
    NightId,
    Outcome,
    Plan,
    Purpose,
    Reading,
    Run,
    RunId,
    Usage,
)

EPOCH = 1_770_000_000.0  # seconds UTC; where the tests' clocks start
ENVIRONMENT = Environment(device="cpu:0", machine="test", python="3.11.7", platform="linux")


# --- nouns ------------------------------------------------------------------------------------------------------


def experiment(name: str = "a", *, parent: str | None = None, seeds: int = 1, emitter: str = "knob") -> Experiment:
    """An experiment whose identity follows from `name`; `parent` is the name of another."""
    return Experiment(
        id=experiment_name(name),
        source_hash=f"nl1:{name}",
        commit=name.encode().hex().ljust(40, "0"),
        parent_commit=parent.encode().hex().ljust(40, "0") if parent else None,
        parent=experiment_name(parent) if parent else None,
        description=f"idea {name}",
        patch="",
        plan=Plan(emitter=emitter if parent else "baseline", seeds=seeds),
    )


def experiment_name(name: str) -> ExperimentId:
    return ExperimentId(f"e-{name}")


def run(
    name: str = "r1",
    of: str = "a",
    *,
    seed: int = 42,
    purpose: Purpose = Purpose.IDEA,
    slot: int = 0,
    night: str | None = None,
) -> Run:
    return Run(
        id=RunId(name),
        experiment=experiment_name(of),
        seed=seed,
        purpose=purpose,
        slot=slot,
        limit_s=1800.0,
        command=("python", "train.py"),
        environment=ENVIRONMENT,
        night=NightId(night) if night else None,
    )


def finished(value: float = 1.0) -> Finished:
    return Finished(metrics=Metrics(primary=value))


def crashed(summary: str = "RuntimeError: boom") -> Crashed:
    return Crashed(summary=summary, exit_code=1)


def ended(
    name: str = "r1",
    outcome: Outcome | None = None,
    *,
    wall_s: float = 60.0,
    conditions: Conditions | None = None,
) -> Ended:
    usage = Usage(wall_s=wall_s, cpu_s=wall_s)
    return Ended(run=RunId(name), outcome=outcome or finished(), usage=usage, conditions=conditions)


def conditions(trouble: str = "", *, speed: float | None = 10.0, timed: bool | None = True) -> Conditions:
    """Of a run whose device was equally fast before and after."""
    reading = Reading(speed=speed, clock_mhz=1980.0, busy=0.25)
    return Conditions(before=reading, after=reading, timed=timed, trouble=trouble)


# --- time -------------------------------------------------------------------------------------------------------


@dataclass
class Clock:
    """Time that passes only when somebody sleeps, or when the test says so."""

    now: float = EPOCH

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


# --- repositories -----------------------------------------------------------------------------------------------


@dataclass
class Repo:
    """A git repository with files to commit."""

    root: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def make(cls, root: Path, files: Mapping[str, str] | None = None, *, options: tuple[str, ...] = ()) -> Repo:
        """A repository at `root` with `files` (by default a train.py and a prepare.py) in its first commit."""
        root.mkdir(parents=True, exist_ok=True)
        repo = cls(root)
        repo.git("init", "--quiet", "--initial-branch=main", *options)
        repo.commit(files if files is not None else {"train.py": "LR = 0.1\n", "prepare.py": "BUDGET = 1\n"})
        return repo

    def git(self, *arguments: str) -> str:
        """Output of a git command, run as a user with a name of his own."""
        identity = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
        done = subprocess.run(
            ["git", *identity, *arguments],
            cwd=self.root,
            env={**os.environ, **self.environment},
            capture_output=True,
            check=True,
        )
        return done.stdout.decode("utf-8", "surrogateescape").rstrip("\n")

    def write(self, files: Mapping[str, str]) -> None:
        for path, text in files.items():
            target = self.root / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(text.encode())

    def commit(self, files: Mapping[str, str], message: str = "start") -> str:
        """Write `files`, commit everything and return the commit's id."""
        self.write(files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.git("rev-parse", "HEAD")


# --- rights -----------------------------------------------------------------------------------------------------


@contextmanager
def powerless() -> Iterator[None]:
    """Without root's right to write everywhere; for anybody else, as he is."""
    if os.geteuid() != 0:
        yield
        return
    nobody = 65534
    os.setegid(nobody)
    os.seteuid(nobody)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)


@contextmanager
def shared_directory() -> Iterator[Path]:
    """A directory that anybody may reach; pytest's own are closed to all but their owner."""
    with tempfile.TemporaryDirectory(prefix="nightlab-test-") as name:
        place = Path(name)
        place.chmod(0o777)
        yield place
