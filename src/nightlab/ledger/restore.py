"""A ledger made once more from its events, wherever these are still to be found."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nightlab.errors import LedgerDamagedError, LedgerError, LedgerUnreadableError
from nightlab.ledger import codec, journal
from nightlab.ledger.journal import Line
from nightlab.ledger.store import Ledger, chain, is_present
from nightlab.ledger.text import TextIndex
from nightlab.types import Ended, Event, Logged, Noted, Purpose, RunId, Started

PARTS = ("", "-wal", "-shm")
"""What a database's name is followed by."""

_CHUNK = 500  # events recorded at a time
_SMALLEST = 64  # bytes that an event takes at least


def is_behind(database: Path) -> bool:
    """Whether the journal tells of events that the database lacks: it was lost, or an older copy took its place.

    Raises:
        LedgerError: the database cannot be read.
    """
    last = journal.last(journal.path_of(database))  # before the database, which is never behind it by itself
    if last is None:
        return False
    if not is_present(database):
        return True
    with Ledger.read(database) as ledger:
        return not ledger.holds(last)


@contextmanager
def alone(database: Path) -> Iterator[None]:
    """Be the only process that makes this database anew."""
    try:
        handle = os.open(database.with_name(".restore.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as exc:
        raise LedgerError(f"{database.parent} cannot be written: {exc.strerror}", hint="make it writable") from exc
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def salvage(path: Path) -> Iterator[Line]:
    """The events that can still be read of a damaged file."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            last = _ask(db, "SELECT MAX(seq) FROM events", ())
            if last is None:  # the last page is broken: there are no more events than would fit into the file
                yield from _between(db, 1, max(1, path.stat().st_size // _SMALLEST))
            elif last[0][0]:
                yield from _between(db, 1, int(last[0][0]))
    except (sqlite3.Error, OSError, ValueError):
        return  # not even its first page: then the journal has to do


def _between(db: sqlite3.Connection, low: int, high: int) -> Iterator[Line]:
    """Events of a range of places; what a damaged page holds is narrowed down and left out."""
    rows = _ask(
        db, "SELECT seq, at, kind, key, body, digest FROM events WHERE seq BETWEEN ? AND ? ORDER BY seq", (low, high)
    )
    if rows is not None:
        for seq, at, kind, key, body, digest in rows:
            sensible = isinstance(seq, int) and isinstance(at, float) and isinstance(key, str | None)
            if sensible and isinstance(kind, str) and isinstance(body, bytes) and isinstance(digest, bytes):
                yield Line(seq=seq, at=at, kind=kind, key=key, body=body, digest=digest)
    elif low < high:
        middle = (low + high) // 2
        yield from _between(db, low, middle)
        yield from _between(db, middle + 1, high)


def _ask(db: sqlite3.Connection, asked: str, given: tuple[int, ...]) -> list[tuple] | None:  # type: ignore[type-arg]  # columns of a damaged file may be anything
    try:
        return db.execute(asked, given).fetchall()
    except (sqlite3.DatabaseError, UnicodeDecodeError):
        return None


# --- made anew --------------------------------------------------------------------------------------------------


Told = tuple[float, Event]
"""An event with its moment, UTC seconds since the epoch."""


class Past:
    """A ledger that takes events with the moments at which they happened."""

    def __init__(self, ledger: Ledger, moments: deque[float]) -> None:
        self.ledger = ledger
        self._moments = moments  # of the events that are being recorded

    def record(self, told: Sequence[Told]) -> int:
        """Record what can be: not what is there already, nor what is about something that is not.

        Returns:
            How many are on record now that were not.

        Raises:
            LedgerError: the disk refuses.
        """
        return sum(self._record(told[start : start + _CHUNK]) for start in range(0, len(told), _CHUNK))

    def _record(self, told: Sequence[Told]) -> int:
        self._moments.clear()
        self._moments.extend(at for at, _ in told)
        try:
            return len(self.ledger.append(*(event for _, event in told)))
        except LedgerDamagedError:
            raise
        except LedgerError as exc:
            if isinstance(exc.__cause__, sqlite3.OperationalError):  # the disk, and nothing about an event
                raise
        return 0 if len(told) == 1 else sum(self._record([one]) for one in told)


@contextmanager
def past(path: Path, index: TextIndex | None, *, durable: bool) -> Iterator[Past]:
    """Open a ledger for what has happened before. Arguments as of `Ledger.open`."""
    moments: deque[float] = deque()
    with Ledger.open(path, clock=moments.popleft, index=index, durable=durable) as ledger:
        yield Past(ledger, moments)


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What became of the lines that a ledger was made anew from."""

    left_out: int  # events that are not on record: their lines did not fit, or what they are about is lost
    unsure: int  # events that are on record and could not be checked, what came before them being lost


def restore(target: Past, lines: Iterable[Line], note: str = "") -> Restored:
    """Record events in their order and with their moments.

    An event is checked by the digest that covers it and its predecessor, or by the one that covers its successor; one
    that was changed is left out. Where two logs have grown from one, what both tell is recorded. What is about
    something that is lost cannot be recorded.
    """
    lines = list(lines)
    told: dict[tuple[float, str, bytes], Told] = {}  # each once, also where it stands in two chains
    unsure, places = 0, {0}
    for line, is_sure in _chosen(lines):
        event = _event(line)
        if event is not None:
            told.setdefault((line.at, line.kind, line.body), (line.at, event))
            unsure += not is_sure
            places.add(line.seq)
    is_whole = max(places) + 1 == len(places)
    recorded = target.record(list(told.values()) if is_whole else _untorn(list(told.values())))
    if note and told:
        latest = max(at for at, _ in told.values())
        target.record([(latest, Noted(topic="rebuilt", text=f"{note}: {target.ledger.seq} events"))])
    left_out = len({(line.at, line.kind, line.body) for line in lines}) - recorded
    return Restored(left_out=left_out, unsure=unsure)


def _untorn(told: Sequence[Told]) -> list[Told]:
    """Without what is left of a run that was written down by hand: half of it would say something else."""
    started = {e.run.id for _, e in told if isinstance(e, Started)}
    by_hand = {e.run.id for _, e in told if isinstance(e, Started) and e.run.purpose is Purpose.LOG}
    ended = {e.run for _, e in told if isinstance(e, Ended)}
    logged = {e.run for _, e in told if isinstance(e, Logged)}
    torn = (by_hand - (ended & logged)) | (logged - (started & ended))
    return [one for one in told if _run_of(one[1]) not in torn]


def _run_of(event: Event) -> RunId | None:
    if isinstance(event, Started):
        return event.run.id
    return event.run if isinstance(event, Ended | Logged) else None


def _event(line: Line) -> Event | None:
    try:
        return codec.decode(line.kind, line.body)
    except LedgerUnreadableError:
        return None


def _chosen(lines: Iterable[Line]) -> Iterator[tuple[Line, bool]]:
    """The lines that may be believed, and whether that is sure; of one place all that differ."""
    found: dict[int, dict[bytes, Line]] = {}
    for line in lines:
        found.setdefault(line.seq, {})[_digest(line, line.digest)] = line
    stored, reckoned, is_sure = {b""}, set[bytes](), True  # how the place before ends: as it says, as it ought to
    for seq in sorted(found):
        here, after = list(found[seq].values()), list(found.get(seq + 1, {}).values())
        if seq > 1 and seq - 1 not in found:
            stored, reckoned, is_sure = set(), set(), False
        proven = [line for line in here if _fits(line, stored | reckoned)]
        # Where the next line fits to what a line's digest ought to be, it is the digest itself that was changed.
        proven += [
            line
            for line in here
            if line not in proven and any(_fits(one, {_digest(line, end) for end in stored}) for one in after)
        ]
        yield from ((line, True) for line in proven)
        if not proven and not is_sure:
            yield here[0], False
        reckoned = {_digest(line, end) for line in here for end in stored}
        stored = {line.digest for line in here}
        is_sure = bool(proven)


def _fits(line: Line, ends: Iterable[bytes]) -> bool:
    return any(_digest(line, end) == line.digest for end in ends)


def _digest(line: Line, before: bytes) -> bytes:
    return chain(before, seq=line.seq, at=line.at, kind=line.kind, key=line.key, body=line.body)


@contextmanager
def in_place_of(database: Path, index: TextIndex | None) -> Iterator[Past]:
    """A new ledger beside a database, which takes its place when the block ends well; its journal begins anew."""
    made, path = database.with_name(f"{database.name}.new"), journal.path_of(database)
    fresh = path.with_name(f"{path.name}.new")
    for old in (fresh, *(Path(f"{made}{part}") for part in PARTS)):
        old.unlink(missing_ok=True)
    with past(made, index, durable=False) as target:
        yield target
    try:
        with closing(sqlite3.connect(made)) as db:
            db.execute("PRAGMA journal_mode = DELETE")  # everything into the one file that is moved
    except sqlite3.Error as exc:
        raise LedgerError(f"{made} refuses: {exc}", hint="free disk space, then go on") from exc
    with Ledger.read(made) as ledger:
        journal.write(fresh, ledger.lines())
        if journal.last_seq(fresh) != ledger.seq:
            raise LedgerError(f"{fresh} cannot be written as a whole", hint="free disk space, then go on")
    fresh.touch()
    for new in (fresh, made):
        with new.open("rb") as file:
            os.fsync(file.fileno())
    # The journal first: whatever end this comes to, it tells of everything, and the database is seen to lack it.
    os.replace(fresh, path)
    for part in PARTS[1:]:
        Path(f"{database}{part}").unlink(missing_ok=True)
    os.replace(made, database)
