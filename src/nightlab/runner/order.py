"""What a supervisor is told to do, and where a run keeps its files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from nightlab.config import MetricSettings
from nightlab.errors import BackendError
from nightlab.runner.files import read_small, write_atomic
from nightlab.types import OUTCOMES, Bounds, Conditions, Ended, Run, RunId, Usage

_LIMIT = 64 << 20  # bytes of an order or an ending; environments can be long, but not that long


@dataclass(frozen=True, slots=True)
class RunFiles:
    """All paths of one run."""

    directory: Path

    @property
    def order(self) -> Path:
        """What the supervisor was told."""
        return self.directory / "order.json"

    @property
    def log(self) -> Path:
        """What the command printed; the middle of a huge log is left out."""
        return self.directory / "out.log"

    @property
    def probe_log(self) -> Path:
        """What the lab's probe command printed last."""
        return self.directory / "probe.log"

    @property
    def summary(self) -> Path:
        """AUTORESEARCH_SUMMARY_PATH: a JSON object with the metric and what else the run measured."""
        return self.directory / "summary.json"

    @property
    def progress(self) -> Path:
        """AUTORESEARCH_PROGRESS_PATH: one JSON object a line while the run goes on."""
        return self.directory / "progress.jsonl"

    @property
    def receipt(self) -> Path:
        """AUTORESEARCH_RECEIPT_PATH: what the evaluation itself says of its value."""
        return self.directory / "receipt.json"

    @property
    def result(self) -> Path:
        """NIGHTLAB_RESULT_PATH: a JSON object with the metric, or the bare number."""
        return self.directory / "result.json"

    @property
    def ended(self) -> Path:
        """How the run ended, for the case that the ledger is lost or was out of reach."""
        return self.directory / "ended.json"

    @property
    def stop(self) -> Path:
        """Exists once somebody has asked for an early end; holds the reason."""
        return self.directory / "stop"

    @property
    def lock(self) -> Path:
        """Locked while the supervisor lives."""
        return self.directory / "supervisor.lock"

    @property
    def patch(self) -> Path:
        """The experiment's source as a diff from its parent."""
        return self.directory / "source.patch"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor itself had to say; empty unless something went wrong."""
        return self.directory / "supervisor.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """How a run's device is looked at, before and after."""

    probe: tuple[str, ...] = ()  # the lab's own command that prints the device's speed; (): there is none
    probe_limit_s: float = 60.0
    timed: bool | None = None  # whether the value depends on speed; None: the receipt says, or the kind of device
    neighbours: int = 0  # other places of the lab on the same CPU


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Everything a supervisor needs to know; it reads no settings and asks no ledger."""

    run: Run  # its command and limit_s are what is run
    cwd: Path
    run_dir: Path
    database: Path | None  # where the ending is recorded; None: only in ended.json
    env: Mapping[str, str] = field(default_factory=dict)  # on top of the supervisor's own environment
    grace_s: float = 5.0  # between asking the tree to end and killing it
    metric: MetricSettings = field(default_factory=MetricSettings)
    root: Path | None = None  # what the next two are relative to; None: cwd
    editable: tuple[str, ...] = ()  # a receipt must name the bytes of one of these
    guarded: Mapping[str, str] = field(default_factory=dict)  # path below root -> sha256 before the start
    workspace: Path | None = None  # deleted after the run
    bounds: Bounds | None = None  # what the run is held against while it goes on; None: nothing but its limit
    echo: bool = False  # pass the output on and stay in the caller's terminal
    inspection: Inspection | None = None  # None: nobody looks at the device

    @property
    def files(self) -> RunFiles:
        return RunFiles(self.run_dir)

    @property
    def scripts(self) -> frozenset[str]:
        """SHA-256 of the editable files as they were before the start."""
        return frozenset(digest for path, digest in self.guarded.items() if path in self.editable)


def write_order(order: Order) -> Path:
    """Write the order into its run directory, which is made if need be.

    Raises:
        BackendError: the directory cannot be written.
    """
    path = order.files.order
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, msgspec.json.encode(order, enc_hook=str))
        path.chmod(0o600)  # it holds the paths and variables of one user's environment
    except OSError as exc:
        raise BackendError(f"{path} cannot be written: {exc.strerror}", hint="free some disk space") from exc
    return path


def read_order(path: Path) -> Order:
    """Read an order back.

    Raises:
        BackendError: there is none, or it cannot be understood.
    """
    try:
        data = read_small(path, _LIMIT)
        if data is None:
            raise BackendError(f"no order at {path}", hint="orders are written by the lab when it starts a run")
        return msgspec.json.decode(data, type=Order, dec_hook=_path)
    except (ValueError, msgspec.MsgspecError) as exc:
        raise BackendError(f"{path} is no order: {exc}", hint="start the run again") from exc


def _path(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value)
    raise NotImplementedError(f"no rule to read a {kind.__name__}")


def write_ended(files: RunFiles, ended: Ended) -> None:
    """Write how a run ended, whole or not at all.

    Raises:
        OSError: the directory cannot be written.
    """
    outcome = {"type": type(ended.outcome).__name__, **msgspec.to_builtins(ended.outcome)}
    data = msgspec.json.encode(
        {"run": ended.run, "outcome": outcome, "usage": ended.usage, "conditions": ended.conditions}
    )
    write_atomic(files.ended, msgspec.json.format(data, indent=1) + b"\n")


class _EndedFile(msgspec.Struct):
    run: RunId
    outcome: dict[str, object]
    usage: Usage
    conditions: Conditions | None = None


def read_ended(files: RunFiles) -> Ended | None:
    """How the run ended according to its own directory; None if it has not ended (or nobody could write it down).

    Raises:
        BackendError: the file is damaged.
    """
    try:
        data = read_small(files.ended, _LIMIT)
        if data is None:
            return None
        file = msgspec.json.decode(data, type=_EndedFile)
        kind = next((kind for kind in OUTCOMES if kind.__name__ == file.outcome.get("type")), None)
        if kind is None:
            raise ValueError(f"no outcome is called {file.outcome.get('type')!r}")
        outcome = msgspec.convert(file.outcome, kind)
        return Ended(run=file.run, outcome=outcome, usage=file.usage, conditions=file.conditions)
    except (ValueError, msgspec.MsgspecError) as exc:
        raise BackendError(f"{files.ended} is damaged: {exc}", hint="move the file away; the run is then lost") from exc
