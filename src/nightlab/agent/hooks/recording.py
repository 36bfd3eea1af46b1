"""A witnessed run on record: as `nightlab exec` would have recorded it, remembered and never deciding anything."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from nightlab.agent.hooks.place import Place
from nightlab.agent.hooks.witness import LOG, Note, Settled
from nightlab.config import Settings, load_settings
from nightlab.errors import AlreadyRecordedError, LabError, NightlabError
from nightlab.foreground import source_here
from nightlab.git import Git
from nightlab.history import run_names
from nightlab.ledger import Ledger
from nightlab.memory import open_ledger
from nightlab.runner import machine
from nightlab.runner.files import read_small
from nightlab.runner.hashes import matching
from nightlab.runner.log import RECENT, LineReader, Printed
from nightlab.runner.order import Order, RunFiles, write_ended, write_order
from nightlab.runner.receipt import dispute
from nightlab.runner.result import read_outcome
from nightlab.runner.tend import Cause, Finish
from nightlab.runner.workspace import lab_environment, pinned
from nightlab.sources import Sources
from nightlab.types import (
    NO_SLOT,
    Crashed,
    Ended,
    Environment,
    Experiment,
    Finished,
    Purpose,
    Run,
    RunId,
    Started,
    Usage,
)

_LARGEST = 64 << 20  # bytes of a log that are read
_RECEIPT = 1 << 20
_UNKNOWN_SEED = -1
_FAILED = b"Traceback (most recent call last)"


class _RefusedError(Exception):
    """Why nothing is recorded."""


def record(place: Place, one: Note, ended_ns: int) -> Settled:
    """Record a command whose log and source were found to be of one piece.

    Args:
        place: the lab.
        one: what was noted before.
        ended_ns: the log's last change, UTC nanoseconds since the epoch.
    """
    try:
        settings = load_settings(place.root)
        git = Git(place.root)
        settings = _comparable(settings, git, one)
        with open_ledger(settings) as ledger:
            run = _record(settings, git, ledger, one, (ended_ns - one.at_ns) / 1e9)
    except (_RefusedError, NightlabError) as exc:
        return Settled(one, refused=str(exc.args[0]))
    return Settled(one, run=run)


def _comparable(settings: Settings, git: Git, one: Note) -> Settings:
    """The settings with what makes runs comparable, if that is one and the same from before the command until now."""
    found = pinned(settings, git)
    head = git.head()
    if one.head not in ("", head) and pinned(settings, git, one.head).pinned != found.pinned:
        raise _RefusedError("another commit with other files beside the editable ones was checked out meanwhile")
    try:
        Sources(found, git).refuse_protected_edits()
    except LabError as exc:
        raise _RefusedError(str(exc.args[0])) from exc
    return found


def _record(settings: Settings, git: Git, ledger: Ledger, one: Note, wall_s: float) -> str:
    """Append the run; its name follows from the note, so that nobody can record it twice."""
    log = _log(settings.root)
    receipt, seed = _receipt(one)
    if receipt is None and settings.metric.receipt:
        raise _RefusedError("this lab asks for a receipt, and the command left none")
    subject = git.known([git.head()])[git.head()].message.partition("\n")[0]
    experiment = source_here(settings, git, ledger, subject=subject)
    run = _run(settings, experiment, next(iter(run_names(one.at_ns / 1e9, experiment.commit))), seed)
    order = Order(
        run=run,
        cwd=settings.root,
        run_dir=settings.runs / run.id,
        database=settings.database,
        metric=replace(settings.metric, receipt=False),  # a receipt lies where its run was told to put it, not here
        root=settings.root,
        editable=matching(one.files, settings.editable),
        guarded={path: str(marks[0]) for path, marks in one.files.items()},
    )
    ended = Ended(run=run.id, outcome=_outcome(order, log, receipt), usage=Usage(wall_s=round(wall_s, 3), cpu_s=0.0))
    try:
        ledger.append(Started(run=run), ended)
    except AlreadyRecordedError:  # a hook that was killed before it could forget the note
        return run.id
    _leave(order, ended, log, receipt)
    return run.id


def _log(root: Path) -> bytes:
    try:
        log = read_small(root / LOG, _LARGEST)
    except ValueError as exc:
        raise _RefusedError(str(exc)) from exc
    if log is None:
        raise _RefusedError(f"{LOG} is gone")
    return log


def _receipt(one: Note) -> tuple[object, int]:
    """The receipt that was written since, and its seed; None without one."""
    path = Path(one.receipt)
    with suppress(OSError, ValueError):
        if one.receipt and path.stat().st_mtime_ns >= one.at_ns:
            receipt: object = json.loads(read_small(path, _RECEIPT) or b"null")
            seed = receipt.get("seed") if isinstance(receipt, dict) else None
            return receipt, seed if type(seed) is int and seed >= 0 else _UNKNOWN_SEED
    return None, _UNKNOWN_SEED


def _run(settings: Settings, experiment: Experiment, name: RunId, seed: int) -> Run:
    return Run(
        id=name,
        experiment=experiment.id,
        seed=seed,
        purpose=Purpose.EXEC,
        slot=NO_SLOT,
        limit_s=0.0,
        command=settings.argv,
        environment=_environment(settings),
    )


def _environment(settings: Settings) -> Environment:
    device = machine.places(replace(settings, budget=replace(settings.budget, slots=1)))[0]
    return machine.environment(device, lab_environment(settings), dirty=True)


def _outcome(order: Order, log: bytes, receipt: object) -> Finished | Crashed:
    """What the log tells: a metric that can be believed, or an error. Nobody saw the exit code.

    Raises:
        _RefusedError: it tells neither.
    """
    printed = Printed()
    reader = LineReader(order.metric.name, printed)
    reader.feed(log)
    reader.finish()
    failed = _FAILED in log[-RECENT:] and not printed.count
    finish = Finish(cause=Cause.ENDED, code=1 if failed else 0, wall_s=0.0, cpu_s=0.0)
    found = read_outcome(order, finish, printed, log[-RECENT:])
    if isinstance(found, Finished):
        _check(order, found, receipt)
        return found
    if isinstance(found, Crashed) and failed:
        return found
    why = found.summary if isinstance(found, Crashed) else "a file that no run may touch changed at the last moment"
    raise _RefusedError(f"{LOG} shows no result: {why}")


def _check(order: Order, found: Finished, receipt: object) -> None:
    if receipt is None:
        return
    metric, value = order.metric.name, found.metrics.primary
    because, _ = dispute(receipt, metric=metric, value=value, scripts=order.scripts, seed=order.run.seed)
    if because:
        raise _RefusedError(because)


def _leave(order: Order, ended: Ended, log: bytes, receipt: object) -> None:
    """The run's directory, for people and for repair; a disk that refuses it takes nothing from the record."""
    files = RunFiles(order.run_dir)
    with suppress(OSError, NightlabError):
        files.directory.mkdir(parents=True, exist_ok=True)
        files.log.write_bytes(log)
        if receipt is not None:
            files.receipt.write_text(json.dumps(receipt), encoding="utf-8")
        write_order(order)
        write_ended(files, ended)
