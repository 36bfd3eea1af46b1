"""A witnessed run on record: as `nightlab exec` would have recorded it, remembered and never deciding anything."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from nightlab.agent.hooks.place import Place
from nightlab.agent.hooks.witness import LOG, Note, Settled, look_at_marks
from nightlab.config import Settings, load_settings
from nightlab.errors import AlreadyRecordedError, LabError, NightlabError
from nightlab.foreground import source_here
from nightlab.git import Git
from nightlab.history import run_names
from nightlab.ledger import Ledger
from nightlab.memory import open_ledger
from nightlab.runner import machine
from nightlab.runner.files import read_small, remove_tree, write_atomic
from nightlab.runner.hashes import matching
from nightlab.runner.log import RECENT, LineReader, Printed
from nightlab.runner.order import Order, RunFiles, write_ended, write_order
from nightlab.runner.receipt import dispute
from nightlab.runner.result import read_outcome
from nightlab.runner.tend import Cause, Finish
from nightlab.runner.workspace import lab_environment, pinned, pinned_by
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
_MARKER = "witnessed"  # file in a run's directory: the key of the note that it is recorded from
_AT_ONCE = 500  # paths that git is asked of in one go: the system bounds the length of a command
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
    _refuse_other_edits(settings, git, one)
    return found


def _refuse_other_edits(settings: Settings, git: Git, one: Note) -> None:
    """Refuse a run under which a committed file that its identity counts in was not the committed one.

    It is not now, or something was done to it since the note: a helper that was edited, run and put back.
    """
    blobs = git.blobs(git.head())
    editable = set(matching(blobs, settings.editable))
    listed = [path for path in blobs if path not in editable]
    chunks = [listed[start : start + _AT_ONCE] for start in range(0, len(listed), _AT_ONCE)]
    dirty = {path for chunk in chunks for path in git.dirty(chunk)}
    touched = {path for path, seen in one.others.items() if look_at_marks(settings.root / path) != seen}
    told = pinned_by(settings, blobs).pinned
    for suspects, what in ((dirty, "is not as it was committed"), (touched, "changed while it ran or since")):
        # The identity itself says which files it counts in: those without which it is another one.
        found = [
            path
            for path in sorted(suspects & blobs.keys())
            if pinned_by(settings, {name: blob for name, blob in blobs.items() if name != path}).pinned != told
        ]
        if found:
            raise _RefusedError(f"{', '.join(found)} {what}, and what runs under other files is another experiment")


def _record(settings: Settings, git: Git, ledger: Ledger, one: Note, wall_s: float) -> str:
    """Append the run, once: its directory is marked with the note before the ledger has it."""
    log = _log(settings.root)
    receipt, seed = _receipt(one)
    if receipt is None and settings.metric.receipt:
        raise _RefusedError("this lab asks for a receipt, and the command left none")
    subject = git.known([git.head()])[git.head()].message.partition("\n")[0]
    experiment = source_here(settings, git, ledger, subject=subject)
    for name in run_names(one.at_ns / 1e9, experiment.commit):
        is_ours = _claim(settings.runs / name, one)
        if is_ours is None:
            continue
        order = _order(settings, _run(settings, experiment, name, seed), one)
        usage = Usage(wall_s=round(wall_s, 3), cpu_s=0.0)
        try:
            ended = Ended(run=name, outcome=_outcome(order, log, receipt), usage=usage)
            ledger.append(Started(run=order.run), ended)
        except _RefusedError:
            if not is_ours:
                remove_tree(order.run_dir)
            raise
        except AlreadyRecordedError:
            if is_ours:  # a hook that was killed before it could forget the note
                return name
            remove_tree(order.run_dir)  # another run's, whose directory was gone
            continue
        _leave(order, ended, log, receipt)
        return name
    raise AssertionError("names never run out")


def _claim(directory: Path, one: Note) -> bool | None:
    """Take a run's directory for a note: whether it was this note's already; None if it is another run's.

    Raises:
        _RefusedError: it cannot be made.
    """
    marker = directory / _MARKER
    try:
        directory.mkdir(parents=True)
        write_atomic(marker, one.key.encode("ascii"))
    except FileExistsError:
        with suppress(OSError):
            return True if marker.read_text(encoding="ascii") == one.key else None
        return None
    except (OSError, NightlabError) as exc:
        raise _RefusedError(f"the run's directory cannot be written: {exc}") from exc
    return False


def _order(settings: Settings, run: Run, one: Note) -> Order:
    return Order(
        run=run,
        cwd=settings.root,
        run_dir=settings.runs / run.id,
        database=settings.database,
        metric=replace(settings.metric, receipt=False),  # a receipt lies where its run was told to put it, not here
        root=settings.root,
        editable=matching(one.files, settings.editable),
        guarded={path: str(marks[0]) for path, marks in one.files.items()},
    )


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
