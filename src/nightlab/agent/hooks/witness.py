"""A run that an agent made itself, in the open: noted before its command, believed only if all of it lies in between.

Before the command the source is hashed (editable and protected files) and run.log looked at. Once nobody writes the log
any more it is taken if it was begun and ended since, by that very source. Nothing is read from what a tool printed, a
command that is left running is looked at again at every later event, and what cannot be vouched for is refused with
the one command that records it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from nightlab.agent.hooks.events import Speaker, Tool
from nightlab.agent.hooks.place import NOTED, Place, checkout, write
from nightlab.runner.hashes import hash_files

LOG = "run.log"
_BEGINNING = 1 << 20  # bytes of a log by whose digest it is known to have been begun anew
_START_S = 2.0  # in which a command that was put in the background has opened its log
_FORGOTTEN_S = 24 * 3600.0  # after which a command that was never seen to end is no more waited for
_SET = re.compile(r"\b(AUTORESEARCH_\w+)=")
_RECEIPT = re.compile(r"\bAUTORESEARCH_RECEIPT_PATH=([\w./~-]+)")
_PATHS = frozenset({"AUTORESEARCH_SUMMARY_PATH", "AUTORESEARCH_PROGRESS_PATH", "AUTORESEARCH_RECEIPT_PATH"})


class Log(NamedTuple):
    """A log as it lay there."""

    inode: int
    size: int
    mtime_ns: int
    beginning: str  # digest of its first bytes

    def same_file(self, other: Log) -> bool:
        return self[:3] == other[:3]


class Note(NamedTuple):
    """What was seen before the command began."""

    session: str
    call: str
    command: str
    at_ns: int  # UTC, nanoseconds since the epoch
    head: str  # commit that was checked out
    files: Mapping[str, tuple[object, ...]]  # path -> digest and the marks by which a change in between is seen
    log: Log | None
    receipt: str = ""  # path of the receipt, where the command or the environment names one
    objection: str = ""  # what is amiss with the command itself
    has_returned: bool = False  # whether the tool has; the command may go on
    is_shared: bool = False  # whether another run was to write the same log at the same time


class Settled(NamedTuple):
    """What has become of a noted command."""

    note: Note
    run: str = ""  # its name in the ledger
    refused: str = ""  # why it is not on record


# --- before -----------------------------------------------------------------------------------------------------


def note(place: Place, speaker: Speaker, tool: Tool, now_ns: int, amiss: str = "") -> None:
    """Note that a command is about to run the training; `amiss` is why it will not be believed whatever it does.

    The caller holds the lock.
    """
    named = _RECEIPT.findall(tool.command)
    receipt = str(named[-1]) if named else os.environ.get("AUTORESEARCH_RECEIPT_PATH", "")
    mine = _path(place, speaker, tool)
    others = [(path, other) for path, other in pending(place) if path != mine]
    made = Note(
        session=speaker.session,
        call=tool.call,
        command=tool.command,
        at_ns=now_ns,
        head=checkout(place.root).commit,
        files=look_at_files(place),
        log=look_at(place.root / LOG),
        receipt=str(place.root / os.path.expanduser(receipt)) if receipt else "",
        objection=amiss or _settings(tool.command),
        is_shared=bool(others),
    )
    for path, other in others:
        write(path, json.dumps(other._replace(is_shared=True)))
    write(mine, json.dumps(made))


def _settings(command: str) -> str:
    """What is amiss with the variables that a command sets."""
    names = sorted({*_SET.findall(command)} - _PATHS)
    return f"it set {' and '.join(names)}, which makes another experiment" if names else ""


def look_at_files(place: Place) -> dict[str, tuple[object, ...]]:
    """The lab's editable and protected files: content, and what changes with any writing to them and back."""
    found: dict[str, tuple[object, ...]] = {}
    for path, digest in hash_files(place.root, (*place.editable, *place.protected)).items():
        seen = (place.root / path).stat()
        found[path] = (digest, seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)
    return found


def look_at(path: Path) -> Log | None:
    """A log as it lies there; None where there is none, or it is no file."""
    try:
        with path.open("rb") as file:
            seen = os.fstat(file.fileno())
            return Log(seen.st_ino, seen.st_size, seen.st_mtime_ns, hashlib.sha256(file.read(_BEGINNING)).hexdigest())
    except OSError:
        return None


# --- after ------------------------------------------------------------------------------------------------------


def returned(place: Place, speaker: Speaker, tool: Tool) -> None:
    """A tool has come back: its command is over, unless it left something running."""
    path = _path(place, speaker, tool)
    if (found := _read(path)) is not None:
        write(path, json.dumps(found._replace(has_returned=True)))


def settle(place: Place, now: float) -> list[Settled]:
    """Take or refuse every noted command that is over. The caller holds the lock.

    A kill between the record and the end of its note is made good: the run has the name that it would be given again.
    """
    found = []
    for path, one in pending(place):
        settled = _settle(place, one, now)
        if settled is not None:
            path.unlink(missing_ok=True)
            if settled.run or settled.refused:
                found.append(settled)
    return found


def _settle(place: Place, one: Note, now: float) -> Settled | None:
    """What has become of a command; None while that is open."""
    age_s = now - one.at_ns / 1e9
    log = look_at(place.root / LOG)
    busy = is_written(place.root / LOG)
    if busy or (busy is None and not one.has_returned):
        return Settled(one) if age_s > _FORGOTTEN_S else None
    if log is None or (one.log is not None and log.same_file(one.log)):
        if not one.has_returned or age_s < _START_S:  # not begun yet, or never
            return Settled(one) if age_s > _FORGOTTEN_S else None
        return Settled(one, refused=f"it wrote no {LOG}")
    why = _objection(place, one, log, now)
    if why:
        return Settled(one, refused=why)
    from nightlab.agent.hooks.recording import record

    return record(place, one, log.mtime_ns)


def _objection(place: Place, one: Note, log: Log, now: float) -> str:
    """Why a log that has changed is not believed to be that of the noted source; "" if nothing speaks against it."""
    if one.is_shared:
        return f"two runs at once wrote to {LOG}"
    if one.objection:
        return one.objection
    if not one.at_ns <= log.mtime_ns <= now * 1e9 + 1e9:
        return f"the last change of {LOG} is not of its time"
    if one.log is not None and _goes_on(place.root / LOG, one.log):
        return f"{LOG} was not begun anew"
    touched = changed(place, one)
    if touched:
        return f"{', '.join(touched)} changed while it ran or since, so that nobody can say which source ran"
    return ""


def _goes_on(path: Path, before: Log) -> bool:
    """Whether the file still begins with all that it held before."""
    if before.size == 0:
        return False
    with path.open("rb") as file:
        start = file.read(min(before.size, _BEGINNING))
    return hashlib.sha256(start).hexdigest() == before.beginning


def changed(place: Place, one: Note) -> tuple[str, ...]:
    """Files that are no longer as they were noted."""
    now = look_at_files(place)
    return tuple(sorted(path for path in {*now, *one.files} if now.get(path) != one.files.get(path)))


def is_written(path: Path) -> bool | None:
    """Whether a process has the file open for writing; None where the system does not say."""
    if not os.path.isdir("/proc/self/fd"):
        return None
    try:
        seen = path.stat()
    except OSError:
        return False
    if os.getuid() not in (0, seen.st_uid):  # a process of somebody else's may hold it, and would not be shown
        return None
    for process in os.listdir("/proc"):
        if process.isdigit() and process != str(os.getpid()):
            with suppress(OSError):  # it has ended, or is somebody else's
                for number in os.listdir(f"/proc/{process}/fd"):
                    if _writes(process, number, seen):
                        return True
    return False


def _writes(process: str, number: str, seen: os.stat_result) -> bool:
    with suppress(OSError):
        held = os.stat(f"/proc/{process}/fd/{number}")
        if (held.st_dev, held.st_ino) == (seen.st_dev, seen.st_ino):
            text = Path(f"/proc/{process}/fdinfo/{number}").read_text(encoding="ascii")
            flags = int(re.search(r"^flags:\s*(\d+)", text, re.MULTILINE)[1], 8)  # type: ignore[index]  # always there
            return flags & (os.O_WRONLY | os.O_RDWR) != 0
    return False


# --- files ------------------------------------------------------------------------------------------------------


def pending(place: Place) -> Iterator[tuple[Path, Note]]:
    """Commands that were noted and not settled yet, oldest first."""
    notes = [(path, _read(path)) for path in place.own.glob(f"{NOTED}*.json")]
    known = [(path, found) for path, found in notes if found is not None]
    yield from sorted(known, key=lambda pair: pair[1].at_ns)


def _path(place: Place, speaker: Speaker, tool: Tool) -> Path:
    told = "\0".join((speaker.session, tool.call, tool.command))
    return place.own / f"{NOTED}{hashlib.sha256(told.encode('utf-8', 'replace')).hexdigest()[:16]}.json"


def _read(path: Path) -> Note | None:
    try:
        told = Note(*json.loads(path.read_bytes()))
        files = {name: tuple(marks) for name, marks in told.files.items()}
        return told._replace(files=files, log=Log(*told.log) if told.log else None)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
