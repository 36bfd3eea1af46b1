"""A run that an agent made itself, in the open: noted before its command, believed only if all of it lies in between.

Before the command the source is hashed (editable and protected files), the other committed files are marked, and
run.log is looked at. Once nobody writes the log any more it is taken if it was begun and ended since, by that very
source, and that very command came back or was seen at work. Nothing is read from what a tool printed, a command that is
left running is looked at again at every later event, and what cannot be vouched for is refused with the one command
that records it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from nightlab.agent.hooks.events import SHELL, Speaker, Tool
from nightlab.agent.hooks.holders import begun_since, writers
from nightlab.agent.hooks.place import NOTED, Place, checkout, write
from nightlab.errors import NightlabError
from nightlab.runner.hashes import hash_files

LOG = "run.log"
_BEGINNING = 1 << 20  # bytes of a log by whose digest it is known to have been begun anew
_START_S = 2.0  # in which a command has opened its log, or a hook that follows it has told of its end
_ABANDONED_S = 3600.0  # after which a command that never came back and has begun nothing is no more waited for
_FORGOTTEN_S = 24 * 3600.0  # after which one whose log is still written is no more waited for
_RECEIPT = re.compile(r"\bAUTORESEARCH_RECEIPT_PATH=([\w./~-]+)")


class Log(NamedTuple):
    """A log as it lay there."""

    inode: int
    size: int
    mtime_ns: int
    beginning: str  # digest of its first bytes

    def same_file(self, other: Log) -> bool:
        return self[:3] == other[:3]


class Note(NamedTuple):
    """What was seen before the command began, and of it since."""

    session: str
    agent: str  # of a subagent
    call: str
    command: str
    at_ns: int  # UTC, nanoseconds since the epoch
    head: str  # commit that was checked out
    files: Mapping[str, tuple[object, ...]]  # path -> digest and the marks by which a change in between is seen
    others: Mapping[str, tuple[int, ...]]  # path of every other committed file -> the same marks
    log: Log | None
    receipt: str = ""  # path of the receipt, where the command or the environment names one
    objection: str = ""  # what is amiss with the command itself, or was done to its log since
    has_returned: bool = False  # whether the tool has; the command may go on
    was_open: bool = False  # whether the log was seen in the hands of a process that began after the note
    is_past: bool = False  # whether its own agent has used another tool since
    is_shared: bool = False  # whether another run wrote the same log at the same time

    @property
    def key(self) -> str:
        """By which the note is known again, whoever settles it how often."""
        told = "\0".join((self.session, self.call, self.command, str(self.at_ns)))
        return hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()


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
    _leave_behind(place, speaker, mine)
    log, held = look_at(place.root / LOG), writers(place.root / LOG)
    _drop_the_past(place, now_ns / 1e9, log, held)
    files = look_at_files(place)
    made = Note(
        session=speaker.session,
        agent=speaker.agent,
        call=tool.call,
        command=tool.command,
        at_ns=now_ns,
        head=checkout(place.root).commit,
        files=files,
        others=look_at_others(place, files),
        log=log,
        receipt=str(place.root / os.path.expanduser(receipt)) if receipt else "",
        objection=amiss,
    )
    write(mine, json.dumps(made))


def _drop_the_past(place: Place, now: float, log: Log | None, held: tuple[float, ...] | None) -> None:
    """Forget what the agent that uses the next tool had noted and never began."""
    for path, one in pending(place):
        if one.is_past and not held and _is_same(log, one.log) and now - one.at_ns / 1e9 >= _START_S:
            path.unlink(missing_ok=True)
        elif one.is_past:
            write(path, json.dumps(one._replace(is_past=False)))


def look_at_files(place: Place) -> dict[str, tuple[object, ...]]:
    """The lab's editable and protected files: content, and what changes with any writing to them and back."""
    found: dict[str, tuple[object, ...]] = {}
    for path, digest in hash_files(place.root, (*place.editable, *place.protected)).items():
        found[path] = (digest, *marks((place.root / path).stat()))
    return found


def look_at_others(place: Place, files: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The committed files beside `files`: what changes with any writing to them and back. Which of them matter is
    asked when a run is taken (`recording`); that a file is not what was committed is seen then too."""
    from nightlab.git import Git

    found: dict[str, tuple[int, ...]] = {}
    with suppress(NightlabError):
        git = Git(place.root)
        for path in set(git.files(git.head())).difference(files):
            found[path] = look_at_marks(place.root / path)
    return found


def look_at_marks(path: Path) -> tuple[int, ...]:
    """What changes with any writing to a file; () where there is none."""
    try:
        return marks(path.lstat())
    except OSError:
        return ()


def marks(seen: os.stat_result) -> tuple[int, ...]:
    return (seen.st_ino, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns)


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
    """A tool has come back. If it is a noted one, its command is over, unless it left something running.

    If it is another one, the commands that its agent had noted are past, and if it may have written the log, what
    stands there is nobody's result.
    """
    mine = _path(place, speaker, tool)
    if (found := _read(mine)) is not None:
        write(mine, json.dumps(found._replace(has_returned=True)))
        return
    _leave_behind(place, speaker, mine)
    if tool.kind != SHELL or not (waiting := list(pending(place))):
        return
    from nightlab.agent.hooks.guarding import writes_log

    if writes_log(tool.command, place, Path(speaker.cwd) / os.path.expanduser(tool.cwd)):
        for path, one in waiting:
            write(path, json.dumps(one._replace(objection=one.objection or f"another command wrote {LOG} meanwhile")))


def _leave_behind(place: Place, speaker: Speaker, mine: Path) -> None:
    """Mark what the same agent had noted and did not see come back: it does something else now."""
    for path, one in pending(place):
        if path != mine and not one.has_returned and (one.session, one.agent) == (speaker.session, speaker.agent):
            write(path, json.dumps(one._replace(is_past=True)))


def settle(place: Place, now: float, speaker: Speaker | None = None) -> list[Settled]:
    """Take or refuse every noted command that is over. The caller holds the lock.

    A kill between the record and the end of its note is made good: the run is known by the note's key.

    Args:
        place: the lab.
        now: UTC, seconds since the epoch.
        speaker: whose event it is, where that ends what it had noted before (it stops, or uses another tool).
    """
    if speaker is not None:
        _leave_behind(place, speaker, place.own)
    _tell_apart(place, now)
    found = []
    for path, one in pending(place):
        settled = _settle(place, path, one, now)
        if settled is None:
            if one.is_past:  # it was so for this moment: what asks its user for leave may lie beside other tools
                write(path, json.dumps(one._replace(is_past=False)))
            continue
        path.unlink(missing_ok=True)
        if settled.run or settled.refused:
            found.append(settled)
    return found


def _tell_apart(place: Place, now: float) -> None:
    """See who is at work on the log, and which runs wrote it at the same time.

    One that has not begun shares nothing: its user may never give leave.
    """
    held = writers(place.root / LOG)
    waiting = list(pending(place))
    silent = [(path, one) for path, one in waiting if not one.has_returned and not one.was_open]
    if held and len(silent) == 1 and len(waiting) == 1 and begun_since(held, silent[0][1].at_ns):
        write(silent[0][0], json.dumps(silent[0][1]._replace(was_open=True)))
    seen = [(path, one) for path, one in waiting if one.has_returned or one.was_open]
    if len(seen) > 1:
        for path, one in seen:
            write(path, json.dumps(one._replace(is_shared=True)))


def _settle(place: Place, path: Path, one: Note, now: float) -> Settled | None:
    """What has become of a command; None while that is open."""
    age_s = now - one.at_ns / 1e9
    log = look_at(place.root / LOG)
    held = writers(place.root / LOG)
    if held:
        return Settled(one) if age_s > _FORGOTTEN_S else None
    is_over = age_s > _ABANDONED_S or (one.is_past and age_s >= _START_S)
    if log is None or _is_same(log, one.log):
        if not one.has_returned:  # not begun yet, or never: it was denied, or interrupted
            return Settled(one) if is_over else None
        return Settled(one, refused=f"it wrote no {LOG}") if age_s >= _START_S else None
    rest_s = now - log.mtime_ns / 1e9
    if not one.has_returned and not one.was_open:
        if not is_over or rest_s < _START_S:
            return None
        why = one.objection or "it never came back, so that nobody can say what wrote the log"
        return Settled(one, refused=why)
    others = [(where, other) for where, other in pending(place) if where != path and not other.has_returned]
    if others and (rest_s < _START_S or held is None):
        return None  # one that ran beside it may be about to come back, or at work where nobody says so
    settled = _judged(place, one, log, now)
    for where, other in others:  # what was this one's is what the others find before them
        write(where, json.dumps(other._replace(log=log)))
    return settled


def _judged(place: Place, one: Note, log: Log, now: float) -> Settled:
    why = _objection(place, one, log, now)
    if why:
        return Settled(one, refused=why)
    from nightlab.agent.hooks.recording import record

    return record(place, one, log.mtime_ns)


def _is_same(log: Log | None, before: Log | None) -> bool:
    return log is before if log is None or before is None else log.same_file(before)


def _objection(place: Place, one: Note, log: Log, now: float) -> str:
    """Why a log that has changed is not believed to be that of the noted source; "" if nothing speaks against it."""
    if one.is_shared:
        return f"two runs at once wrote to {LOG}"
    if one.objection:
        return one.objection
    if not one.at_ns <= log.mtime_ns <= now * 1e9 + 1e9:
        return f"the last change of {LOG} is not of its time"
    if one.log is not None and log.size > one.log.size and _goes_on(place.root / LOG, one.log):
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
        files = {name: tuple(seen) for name, seen in told.files.items()}
        others = {name: tuple(seen) for name, seen in told.others.items()}
        return told._replace(files=files, others=others, log=Log(*told.log) if told.log else None)
    except (OSError, ValueError, TypeError, AttributeError):
        return None
