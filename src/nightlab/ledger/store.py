"""One SQLite file: the log of events, hash-chained, and the tables that each event updates in its own transaction."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from nightlab.errors import AlreadyRecordedError, LedgerError, LedgerUnreadableError
from nightlab.history import History
from nightlab.ledger import codec
from nightlab.types import (
    Adopted,
    Ended,
    Event,
    ExperimentId,
    Finished,
    Judged,
    Logged,
    NightBegan,
    Proposed,
    Recorded,
    RunId,
    Started,
)

SCHEMA_VERSION = 1
_BUSY_S = 30.0  # how long a writer waits for another before it gives up
_NO_SHARED_MEMORY = frozenset({"SQLITE_CANTOPEN", "SQLITE_READONLY_CANTINIT", "SQLITE_READONLY_DIRECTORY"})

_SCHEMA = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, key TEXT, body BLOB NOT NULL, digest BLOB NOT NULL,
    UNIQUE (kind, key)
) STRICT;
CREATE TABLE experiments (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL, proposed_at REAL NOT NULL, source_hash TEXT NOT NULL UNIQUE,
    commit_id TEXT NOT NULL, parent TEXT, parent_commit TEXT, emitter TEXT NOT NULL, family TEXT NOT NULL,
    description TEXT NOT NULL, decision TEXT, gain REAL, low REAL, high REAL, probability REAL, because TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE runs (
    id TEXT PRIMARY KEY, seq INTEGER NOT NULL, experiment TEXT NOT NULL REFERENCES experiments(id),
    seed INTEGER NOT NULL, purpose TEXT NOT NULL, slot INTEGER NOT NULL, night TEXT, device TEXT NOT NULL,
    started_at REAL NOT NULL, ended_at REAL, outcome TEXT, metric REAL, wall_s REAL, cpu_s REAL
) STRICT, WITHOUT ROWID;
CREATE INDEX runs_in_order ON runs (seq);
CREATE INDEX runs_of_experiment ON runs (experiment);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRow:
    """One line of `nightlab runs`: a run with what is known of its experiment."""

    run: str
    experiment: str
    number: int
    seed: int
    purpose: str
    outcome: str  # "running" while it has none
    metric: float | None
    source_hash: str
    parent: str | None
    commit: str
    parent_commit: str | None
    decision: str | None
    emitter: str
    family: str
    description: str
    device: str
    night: str | None
    started_at: float
    ended_at: float | None
    wall_s: float | None
    cpu_s: float | None


class Ledger:
    """Append events, read them back. Safe for any number of processes at once.

    Every append is one transaction that is on disk when the call returns. Events are never changed or removed.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._db = connection
        self._clock = clock
        self.path = path

    @classmethod
    def open(cls, path: Path, *, clock: Callable[[], float] = time.time) -> Ledger:
        """Open the ledger for writing; make it if it does not exist.

        Raises:
            LedgerUnreadableError: the file is no ledger, damaged, or of a newer nightlab.
            LedgerError: the directory or the disk refuses.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)
        except (OSError, sqlite3.Error) as exc:
            raise LedgerError(
                f"{path} cannot be opened: {exc}", hint="check that the directory exists and can be written"
            ) from exc
        ledger = cls(connection, path, clock)
        try:
            with ledger._translated():
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
                ledger._migrate()
        except BaseException:
            connection.close()
            raise
        return ledger

    @classmethod
    def read(cls, path: Path) -> Ledger:
        """Open the ledger for reading only; an absent file reads as an empty ledger and is not made.

        Raises:
            LedgerUnreadableError: the file is no ledger, damaged, or of a newer nightlab.
            LedgerError: it may not be read.
        """
        if not path.exists():
            return cls._empty(path)
        ledger = cls(sqlite3.connect(":memory:", isolation_level=None), path)
        with ledger._translated():
            ledger._db = _connect_reading(path)
            try:
                version = ledger._version()
            except BaseException:
                ledger.close()
                raise
        if version == 0:  # somebody is making it at this moment
            ledger.close()
            return cls._empty(path)
        return ledger

    @classmethod
    def _empty(cls, path: Path) -> Self:
        empty = cls(sqlite3.connect(":memory:", isolation_level=None), path)
        empty._migrate()
        return empty

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- writing --------------------------------------------------------------------------------------------

    def append(self, *events: Event) -> tuple[Recorded, ...]:
        """Record events in one transaction: all of them or none.

        Raises:
            AlreadyRecordedError: one of them has happened already (a run ends once).
            LedgerError: the disk is full or the file cannot be written; nothing was recorded.
        """
        with self._translated():
            try:
                self._db.execute("BEGIN IMMEDIATE")  # inside: Ctrl-C while waiting for another writer arrives here
                recorded = tuple(self._append(event) for event in events)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        return recorded

    def _append(self, event: Event) -> Recorded:
        kind, key, body = codec.encode(event)
        try:
            event = codec.decode(kind, body)
        except LedgerUnreadableError as exc:  # what cannot be read again is never written
            raise LedgerError(f"{kind} of {key} cannot be recorded: {exc.__cause__}") from exc
        at = self._clock()
        last = self._db.execute("SELECT seq, digest FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        seq, before = (last[0] + 1, last[1]) if last else (1, b"")
        try:
            self._db.execute(
                "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)",
                (seq, at, kind, key, body, chain(before, seq=seq, at=at, kind=kind, key=key, body=body)),
            )
        except sqlite3.IntegrityError as exc:
            raise AlreadyRecordedError(
                f"{kind} of {key} is recorded already", hint="nothing to do: the first record stands"
            ) from exc
        try:
            self._fold(event, seq, at)
        except (sqlite3.IntegrityError, OverflowError) as exc:
            raise LedgerError(f"{kind} of {key} does not fit what is recorded: {exc}") from exc
        return Recorded(seq=seq, at=at, event=event)

    def _fold(self, event: Event, seq: int, at: float) -> None:
        """Bring the tables up to date with one event."""
        if isinstance(event, Proposed):
            e = event.experiment
            self._db.execute(
                "INSERT INTO experiments (id, number, proposed_at, source_hash, commit_id, parent, parent_commit,"
                " emitter, family, description) SELECT ?, COUNT(*) + 1, ?, ?, ?, ?, ?, ?, ?, ? FROM experiments",
                (e.id, at, e.source_hash, e.commit, e.parent, e.parent_commit, e.plan.emitter, e.family, e.description),
            )
        elif isinstance(event, Adopted):
            done = self._db.execute(
                "UPDATE experiments SET parent = ?, emitter = ?, description = ? WHERE id = ?",
                (event.parent, event.plan.emitter, event.description, event.experiment),
            )
            if done.rowcount != 1:
                raise LedgerError(f"experiment {event.experiment} is not known, so it cannot be adopted")
        elif isinstance(event, Started):
            r = event.run
            row = (r.id, seq, r.experiment, r.seed, r.purpose, r.slot, r.night, r.environment.device, at)
            self._db.execute(
                "INSERT INTO runs (id, seq, experiment, seed, purpose, slot, night, device, started_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                row,
            )
        elif isinstance(event, Ended):
            value = event.outcome.metrics.primary if isinstance(event.outcome, Finished) else None
            self._require("runs", event.run)
            self._db.execute(
                "UPDATE runs SET ended_at = ?, outcome = ?, metric = ?, wall_s = ?, cpu_s = ? WHERE id = ?",
                (at, codec.outcome_kind(event.outcome), value, event.usage.wall_s, event.usage.cpu_s, event.run),
            )
        elif isinstance(event, Logged):
            self._require("runs", event.run)
        elif isinstance(event, NightBegan):
            self._require("experiments", event.baseline)
        elif isinstance(event, Judged):
            v = event.verdict
            self._require("experiments", v.experiment, v.champion, v.replicate or v.champion)
            self._db.execute(
                "UPDATE experiments SET decision = ?, gain = ?, low = ?, high = ?, probability = ?, because = ?"
                " WHERE id = ?",
                (v.decision, v.gain, v.low, v.high, v.probability, v.because, v.experiment),
            )

    def _require(self, table: str, *names: str) -> None:
        """Refuse an event about something that was never recorded: nothing could be folded from it."""
        for name in names:
            if self._db.execute(f"SELECT 1 FROM {table} WHERE id = ?", (name,)).fetchone() is None:  # noqa: S608
                what = "never started" if table == "runs" else "was never proposed"
                raise LedgerError(f"{name} {what}", hint="nothing was recorded; `nightlab runs` lists what is there")

    # --- reading --------------------------------------------------------------------------------------------

    def since(self, seq: int = 0) -> Iterator[Recorded]:
        """Events after `seq`, in order, as they stand now: those that are appended meanwhile come the next time."""
        with self._translated():
            asked = self._db.execute("SELECT seq, at, kind, body FROM events WHERE seq > ? ORDER BY seq", (seq,))
            rows = asked.fetchall()
        for number, at, kind, body in rows:
            yield Recorded(seq=number, at=at, event=codec.decode(kind, body))

    def history(self) -> History:
        return History.fold(self.since(0))

    def is_over(self, run: RunId) -> bool:
        """Whether the run's ending is recorded."""
        with self._translated():
            asked = self._db.execute("SELECT 1 FROM events WHERE kind = 'ended' AND key = ?", (run,))
            return asked.fetchone() is not None

    def run_rows(self, experiment: ExperimentId | None = None) -> list[RunRow]:
        """All runs (of one experiment), oldest first."""
        with self._translated():
            rows = self._db.execute(
                "SELECT r.id, r.experiment, e.number, r.seed, r.purpose, COALESCE(r.outcome, 'running'), r.metric,"
                " e.source_hash, e.parent, e.commit_id, e.parent_commit, e.decision, e.emitter, e.family,"
                " e.description, r.device, r.night, r.started_at, r.ended_at, r.wall_s, r.cpu_s"
                " FROM runs r JOIN experiments e ON e.id = r.experiment"
                " WHERE ?1 IS NULL OR r.experiment = ?1 ORDER BY r.seq",
                (experiment,),
            ).fetchall()
        names = RunRow.__dataclass_fields__
        return [RunRow(**dict(zip(names, row, strict=True))) for row in rows]

    # --- machinery ------------------------------------------------------------------------------------------

    def _version(self) -> int:
        """Version of the file's schema; 0 if it has none yet."""
        # Tables first: they and the version come in one transaction, so that tables without a version are foreign.
        has_tables = self._db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone() is not None
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise LedgerUnreadableError(
                f"{self.path} was written by a newer nightlab (schema {version}, this one knows {SCHEMA_VERSION})",
                hint="update nightlab",
            )
        if version == 0 and has_tables:
            raise LedgerUnreadableError(f"{self.path} is a database, but no ledger", hint="move it aside")
        return version

    def _migrate(self) -> None:
        if self._version() == SCHEMA_VERSION:
            return
        self._db.execute("BEGIN IMMEDIATE")
        # Two processes may both find an empty file; the second one finds the first one's work here.
        if self._version() == 0:
            for statement in _SCHEMA.split(";\n"):
                self._db.execute(statement)
            self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        self._db.execute("COMMIT")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.OperationalError as exc:
            raise LedgerError(
                f"{self.path} refuses: {exc}", hint="free disk space or make the directory writable, then go on"
            ) from exc
        except sqlite3.DatabaseError as exc:
            raise _unreadable(self.path, exc) from exc
        except OSError as exc:
            raise LedgerError(f"{self.path} cannot be read: {exc}", hint="check its permissions") from exc


def _connect_reading(path: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S, isolation_level=None)
    try:
        connection.execute("SELECT 1 FROM sqlite_master LIMIT 1")
    except sqlite3.OperationalError as exc:
        connection.close()
        if exc.sqlite_errorname not in _NO_SHARED_MEMORY:
            raise
        return _snapshot(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _snapshot(path: Path) -> sqlite3.Connection:
    """The ledger as it stands, in memory: reading needs files beside it, and here they cannot be made."""
    with tempfile.TemporaryDirectory(prefix="nightlab-ledger-") as scratch:
        for name in (path.name, f"{path.name}-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(path.with_name(name), Path(scratch) / name)
        memory = sqlite3.connect(":memory:", isolation_level=None)
        with closing(sqlite3.connect(Path(scratch) / path.name)) as copy:
            copy.backup(memory)
    return memory


def chain(before: bytes, *, seq: int, at: float, kind: str, key: str | None, body: bytes) -> bytes:
    """Digest of an event that also covers every event before it (SHA-256 over the previous digest and the row)."""
    row = f"{seq}\0{at!r}\0{kind}\0{key or ''}\0".encode()
    return hashlib.sha256(before + row + body).digest()


def _unreadable(path: Path, exc: sqlite3.Error) -> LedgerUnreadableError:
    return LedgerUnreadableError(
        f"{path} cannot be read as a ledger: {exc}",
        hint="keep the file, move it aside, and rebuild from results/nightlab/runs/",
    )
