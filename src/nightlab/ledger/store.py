"""One SQLite file: the log of events, hash-chained, and the tables that each event updates in its own transaction."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from nightlab.errors import AlreadyRecordedError, LedgerDamagedError, LedgerError, LedgerUnreadableError
from nightlab.history import History
from nightlab.ledger import codec, journal, schema
from nightlab.ledger.connection import Connection, connect, damaged, is_damage
from nightlab.ledger.glance import Glance
from nightlab.ledger.records import Records
from nightlab.ledger.tables import IN_LINES, Tables, load
from nightlab.ledger.text import TextIndex, index_new
from nightlab.types import Event, Experiment, ExperimentId, Recorded, RunId

SCHEMA_VERSION = schema.VERSION
BULK = 5000  # events in one append from which on lineages are worked out once, at the end
_BUSY_S = 30.0  # how long a writer waits for another before it gives up
_NO_SHARED_MEMORY = frozenset({"SQLITE_CANTOPEN", "SQLITE_READONLY_CANTINIT", "SQLITE_READONLY_DIRECTORY"})


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
    speed: float | None  # of the device around the run, in work per second of its probe
    trouble: str  # why the run is not believed; "" if it is


@dataclass(frozen=True, slots=True)
class Mirrored:
    """How a file was left by us."""

    size: int  # bytes
    mtime_ns: int
    inode: int
    tail: bytes  # its last bytes, to know it again


class Ledger:
    """Append events, read them back. Safe for any number of processes at once.

    Every append is one transaction that is on disk when the call returns. Events are never changed or removed.
    """

    def __init__(
        self,
        connection: Connection,
        path: Path,
        clock: Callable[[], float] = time.time,
        index: TextIndex | None = None,
    ) -> None:
        self._clock = clock
        self._index = index
        self._journalled = False
        self._inode = 0
        self.path = path
        self._use(connection)

    def _use(self, connection: Connection) -> None:
        self._db = connection
        self._tables = Tables(connection)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        index: TextIndex | None = None,
        durable: bool = True,
    ) -> Ledger:
        """Open the ledger for writing; make it if it does not exist.

        Args:
            path: the database.
            clock: UTC seconds since the epoch.
            index: how ideas are indexed for retrieval. Without one they are left to the next writer who has one.
            durable: whether what is appended is on disk when the call returns; not needed of a scratch copy.

        Raises:
            LedgerUnreadableError: the file is no ledger, damaged, or of a newer nightlab.
            LedgerError: the directory or the disk refuses.
        """
        last = journal.last(journal.path_of(path)) if durable else None  # before the file: it is never ahead of that
        if last is not None and not is_present(path):
            raise damaged(path, f"it is gone, and its journal goes to event {last.seq}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            connection = connect(path, timeout=_BUSY_S)
        except (OSError, sqlite3.Error) as exc:
            raise LedgerError(
                f"{path} cannot be opened: {exc}", hint="check that the directory exists and can be written"
            ) from exc
        ledger = cls(connection, path, clock, index)
        ledger._journalled = durable
        try:
            with ledger._translated():
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
                connection.execute("PRAGMA foreign_keys = ON")
                ledger._migrate()
                if last is not None and not ledger.holds(last):
                    raise damaged(path, f"it lacks event {last.seq}, which its journal has")
                ledger._inode = path.stat().st_ino if durable else 0  # a scratch copy may have no file
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
        ledger = cls(connect(":memory:"), path)
        with ledger._translated():
            ledger._use(_connect_reading(path))
            try:
                version = ledger._version()
                if 0 < version < SCHEMA_VERSION:  # its events are all there; tables of our kind are made in memory
                    ledger._use(_snapshot(path))
                    ledger._migrate()
            except BaseException:
                ledger.close()
                raise
        if version == 0:  # somebody is making it at this moment
            ledger.close()
            return cls._empty(path)
        return ledger

    @classmethod
    def _empty(cls, path: Path) -> Self:
        empty = cls(connect(":memory:"), path)
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
            with self._transaction():
                self._still_there()
                self._tables.deferred = len(events) > BULK
                recorded = tuple(self._append(event) for event in events)
                if self._tables.deferred:
                    self._tables.relineage()
                if self._index is not None:
                    index_new(self._db, self._index)
            if self._journalled:
                path = journal.path_of(self.path)
                with suppress(LedgerError):  # an older event's page is broken: this one is recorded all the same
                    journal.write(path, self.lines(journal.last_seq(path)))
        return recorded

    def _still_there(self) -> None:
        """Refuse to write into a file that was deleted or replaced since it was opened: nobody would ever read it."""
        if self._journalled and (not self.path.exists() or self.path.stat().st_ino != self._inode):
            raise LedgerError(
                f"{self.path} was taken away or replaced while it was in use",
                hint="nothing was recorded; the same command again works with the file that is there now",
            )

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
        recorded = Recorded(seq=seq, at=at, event=event)
        try:
            self._tables.fold(recorded)
        except (sqlite3.IntegrityError, OverflowError) as exc:
            raise LedgerError(f"{kind} of {key} does not fit what is recorded: {exc}") from exc
        return recorded

    # --- reading --------------------------------------------------------------------------------------------

    def since(self, seq: int = 0) -> Iterator[Recorded]:
        """Events after `seq`, in order, as they stand now: those that are appended meanwhile come the next time."""
        with self._translated():
            asked = self._db.execute("SELECT seq, at, kind, body FROM events WHERE seq > ? ORDER BY seq", (seq,))
            rows = asked.fetchall()
        for number, at, kind, body in rows:
            yield Recorded(seq=number, at=at, event=codec.decode(kind, body))

    def lines(self, seq: int = 0) -> Iterator[journal.Line]:
        """Events after `seq` as they lie in the file."""
        with self._translated():
            asked = "SELECT seq, at, kind, key, body, digest FROM events WHERE seq > ? ORDER BY seq"
            for number, at, kind, key, body, digest in self._db.execute(asked, (seq,)):
                yield journal.Line(seq=number, at=at, kind=kind, key=key, body=body, digest=digest)

    def history(self, *, own: bool = False, patches: bool = True) -> History:
        """All that is known, from the tables; what was imported is no part of it.

        Args:
            own: leave out what was only logged by hand, which never steers.
            patches: whether experiments carry their patch.
        """
        with self._translated():
            return load(self._db, self.seq, own=own, patches=patches)

    @property
    def glance(self) -> Glance:
        """Notes, and how far the lab has got."""
        return Glance.through(self._db)

    @property
    def seq(self) -> int:
        """Place of the last event; 0 before the first."""
        with self._translated():
            return int(self._db.execute("SELECT COALESCE(MAX(seq), 0) FROM events").fetchone()[0])

    @property
    def records(self) -> Records:
        """Runs as one flat list, and how they stand to each other."""
        return Records(self._db)

    def experiment(self, name: ExperimentId) -> Experiment | None:
        """A known experiment, without its patch."""
        with self._translated():
            found = self._db.execute("SELECT body FROM _experiment WHERE id = ?", (name,)).fetchone()
        return None if found is None else codec.stored(found[0], Experiment)

    def open_runs(self) -> list[RunId]:
        """Runs without an ending."""
        with self._translated():
            return [RunId(row[0]) for row in self._db.execute("SELECT id FROM _run WHERE ended IS NULL ORDER BY seq")]

    def holds(self, line: journal.Line) -> bool:
        """Whether that very event is on record at that place."""
        with self._translated():
            found = self._db.execute("SELECT digest FROM events WHERE seq = ?", (line.seq,)).fetchone()
        return found is not None and found[0] == line.digest

    def is_sound(self) -> bool:
        """Whether SQLite finds nothing wrong with the file: every page and every index is read."""
        try:
            return bool(self._db.execute("PRAGMA quick_check(1)").fetchone()[0] == "ok")
        except (sqlite3.DatabaseError, LedgerDamagedError):
            return False

    def has_run(self, name: str) -> bool:
        """Whether a run of that name is on record, under way or imported."""
        with self._translated():
            asked = "SELECT 1 FROM _run WHERE id = ?1 UNION ALL SELECT 1 FROM _record WHERE run = ?1"
            return self._db.execute(asked, (name,)).fetchone() is not None

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
                " e.description, r.device, r.night, r.started_at, r.ended_at, r.wall_s, r.cpu_s,"
                " r.speed, r.trouble"
                " FROM _run r JOIN _experiment e ON e.id = r.experiment"
                " WHERE ?1 IS NULL OR r.experiment = ?1 ORDER BY r.seq",
                (experiment,),
            ).fetchall()
        names = RunRow.__dataclass_fields__
        return [RunRow(**dict(zip(names, row, strict=True))) for row in rows]

    @contextmanager
    def questioned(self) -> Iterator[sqlite3.Connection]:
        """The connection, for whoever guards his questions himself."""
        self._db.is_asked_by_others = True
        try:
            yield self._db
        finally:
            self._db.is_asked_by_others = False

    def copy(self, path: Path) -> None:
        """A copy of the whole file, for somebody who would change it."""
        with self._translated(), closing(sqlite3.connect(path)) as target:
            self._db.backup(target)

    def note(self, name: str) -> str | None:
        """Something kept for speed alone, under a name; nothing of it is a fact of the lab."""
        with self._translated():
            found = self._db.execute("SELECT value FROM _meta WHERE name = ?", (name,)).fetchone()
        return str(found[0]) if found else None

    def set_note(self, name: str, value: str, *, instead_of: str) -> None:
        """Keep something, in place of all that was kept under names that begin like that."""
        with self._translated(), self._transaction():
            self._db.execute("DELETE FROM _meta WHERE substr(name, 1, ?) = ?", (len(instead_of), instead_of))
            self._db.execute("INSERT INTO _meta VALUES (?, ?)", (name, value))

    # --- mirrors --------------------------------------------------------------------------------------------

    def mirror(self, name: str) -> Mirrored | None:
        """How a mirror was left when we last wrote it; None if we never have."""
        with self._translated():
            asked = "SELECT size, mtime_ns, inode, tail FROM _mirror WHERE name = ?"
            found = self._db.execute(asked, (name,)).fetchone()
        return Mirrored(*found) if found else None

    def set_mirrored(
        self, name: str, state: Mirrored | None, bit: int, runs: Iterable[str], *, only: bool = False
    ) -> None:
        """Note how a mirror was left, and which records have a line in it; nothing of this is a fact of the lab.

        Args:
            name: of the mirror.
            state: of its file, None while it has none.
            bit: IN_LINES or IN_TABLE.
            runs: that have a line.
            only: whether no other record has one.
        """
        with self._translated(), self._transaction():
            if only:
                whose = "1" if bit == IN_LINES else "in_table"
                self._db.execute(f"UPDATE _record SET mirrored = mirrored & ~? WHERE {whose}", (bit,))  # noqa: S608
            self._db.executemany(
                "UPDATE _record SET mirrored = mirrored | ? WHERE run = ?", ((bit, run) for run in runs)
            )
            if state is None:
                self._db.execute("DELETE FROM _mirror WHERE name = ?", (name,))
            else:
                row = (name, state.size, state.mtime_ns, state.inode, state.tail)
                self._db.execute("INSERT OR REPLACE INTO _mirror VALUES (?, ?, ?, ?, ?)", row)

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
        with self._transaction():
            # Two processes may both find an empty or an older file; the second one finds the first one's work here.
            if self._version() < SCHEMA_VERSION:
                self._refold()

    def refold(self) -> None:
        """Make every table anew from the events."""
        with self._translated(), self._transaction():
            self._refold()

    def _refold(self) -> None:
        listed = self._db.execute("SELECT type, name FROM sqlite_master WHERE type IN ('view', 'table')").fetchall()
        virtual = [name for name in ("_idea_text", "_cluster_text") if ("table", name) in listed]
        for name in virtual:
            self._db.execute(f"DROP TABLE {name}")
        for kind, name in sorted(listed, reverse=True):  # views before the tables they look at
            if name != "events" and not name.startswith(("sqlite_", "_idea_text", "_cluster_text")):
                self._db.execute(f"DROP {kind} IF EXISTS {name}")
        for statement in schema.STATEMENTS:
            self._db.execute(statement)
        self._tables.deferred = True
        for seq, at, kind, body in self._db.execute("SELECT seq, at, kind, body FROM events ORDER BY seq").fetchall():
            self._tables.fold(Recorded(seq=seq, at=at, event=codec.decode(kind, body)))
        self._tables.relineage()
        if self._index is not None:
            index_new(self._db, self._index)
        self._db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of it is written, or nothing."""
        try:
            self._db.execute("BEGIN IMMEDIATE")  # inside: Ctrl-C while waiting for another writer arrives here
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """SQLite's errors as ours."""
        try:
            yield
        except sqlite3.OperationalError as exc:
            if is_damage(exc) or exc.sqlite_errorcode == sqlite3.SQLITE_ERROR:  # we ask nothing that is not there
                raise damaged(self.path, exc) from exc
            raise LedgerError(
                f"{self.path} refuses: {exc}", hint="free disk space or make the directory writable, then go on"
            ) from exc
        except sqlite3.DatabaseError as exc:
            raise damaged(self.path, exc) from exc
        except OSError as exc:
            raise LedgerError(f"{self.path} cannot be read: {exc}", hint="check its permissions") from exc


def is_present(path: Path) -> bool:
    """Whether there is anything in the file: an empty one is as good as none."""
    try:
        return path.stat().st_size > 0
    except OSError:
        return False


def _connect_reading(path: Path) -> Connection:
    """A connection that cannot write."""
    connection = connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=_BUSY_S, named=path)
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


def _snapshot(path: Path) -> Connection:
    """The ledger as it stands, in memory: reading needs files beside it, and here they cannot be made."""
    with tempfile.TemporaryDirectory(prefix="nightlab-ledger-") as scratch:
        for name in (path.name, f"{path.name}-wal"):
            with suppress(FileNotFoundError):
                shutil.copyfile(path.with_name(name), Path(scratch) / name)
        memory = connect(":memory:", named=path)
        with closing(sqlite3.connect(Path(scratch) / path.name)) as copy:
            copy.backup(memory)
    return memory


def chain(before: bytes, *, seq: int, at: float, kind: str, key: str | None, body: bytes) -> bytes:
    """Digest of an event that also covers every event before it (SHA-256 over the previous digest and the row)."""
    row = f"{seq}\0{at!r}\0{kind}\0{key or ''}\0".encode()
    return hashlib.sha256(before + row + body).digest()
