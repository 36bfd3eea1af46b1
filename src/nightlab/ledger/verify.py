"""Whether the log is what was recorded: the chain of digests, and tables and journal against the events."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from nightlab.errors import LedgerDamagedError, LedgerError
from nightlab.history import History
from nightlab.ledger import codec, journal, schema
from nightlab.ledger.journal import Line, Row
from nightlab.ledger.store import Ledger, chain
from nightlab.ledger.tables import Tables
from nightlab.types import Recorded

_BACKUP = "`nightlab doctor --repair` puts back what the journal beside the ledger still tells"
_REPAIR = "`nightlab doctor --repair` makes the tables anew from the events"
_ANEW = "`nightlab doctor --repair` writes the journal anew from the database"
_REST = "`nightlab doctor --repair` makes the ledger anew from what fits, and says what it had to leave out"
# What the tables say, by place in the log. Left out is what is worked out anew now and then: lineages, groups, indexes.
_TOLD = {
    "experiment": "SELECT id, number, proposed_at, source_hash, commit_id, parent, parent_commit, root, night, emitter,"
    " family, description, hypothesis, tags, changes, decision, gain, low, high, probability, because"
    " FROM _experiment ORDER BY number",
    "patch": "SELECT experiment, patch FROM _patch ORDER BY experiment",
    "run": "SELECT id, seq, experiment, seed, purpose, slot, night, device, dirty, started_at, ended_at, outcome,"
    " metric, memory_mb, wall_s, cpu_s FROM _run ORDER BY seq",
    "verdict of": "SELECT experiment, seq, champion, decision, gain, low, high, probability, runs_used, because"
    " FROM _verdict ORDER BY seq",
    "night": "SELECT id, number, began_at, baseline, ended_at, reason FROM _night ORDER BY number",
    "record": "SELECT r.run, r.seq, r.at, r.origin, r.experiment, r.source_hash, r.commit_id, r.parent, r.branch,"
    " r.status, r.value, r.memory_mb, r.ranked, r.crash, r.signature, r.action, r.priority, r.advice, r.in_table,"
    " r.table_line, i.description, i.hypothesis, i.family, i.tags"
    " FROM _record r JOIN _idea i ON i.id = r.idea ORDER BY r.seq",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    events: int
    head: str  # digest of the last event that fits, hexadecimal; it covers all before it
    problem: str = ""  # the first thing that does not fit
    hint: str = ""  # what to do about it
    note: str = ""  # what is no fault, and good to know

    @property
    def is_sound(self) -> bool:
        return not self.problem


def verify(ledger: Ledger, head: str = "") -> Verified:
    """Walk the chain from its beginning, then hold the tables and the journal against what the events say.

    Args:
        ledger: to be verified.
        head: a digest (or its beginning) that was noted earlier and must still be part of the chain.

    Raises:
        LedgerDamagedError: a page cannot be read.
    """
    if not ledger.is_sound():
        raise LedgerDamagedError(f"{ledger.path} has damaged pages", hint="`nightlab doctor --repair` rebuilds it")
    last = journal.last(journal.path_of(ledger.path))  # first: others may append while we read
    beside = Beside(journal.path_of(ledger.path))
    before, count, met = b"", 0, not head
    with closing(_Told()) as told:
        for line in ledger.lines():
            problem = _misfit(line, count, before) or told.take(line)
            if problem:
                return Verified(events=count, head=before.hex(), problem=f"{_name(line)} {problem}", hint=_BACKUP)
            beside.compare(line)
            before, count = line.digest, line.seq
            met = met or before.hex().startswith(head.lower())
        problem, hint = "", ""
        if not met:
            problem, hint = f"the head {head} is no part of the log: what came before it was rewritten", _BACKUP
        elif last is not None and not ledger.holds(last):
            problem, hint = f"the journal beside the ledger tells of {_name(last)}, which the ledger lacks", _BACKUP
        elif wrong := told.differs(ledger):
            problem, hint = wrong, _REPAIR
        elif beside.problem:
            problem, hint = beside.problem, _ANEW
    note = ""
    if not problem and beside.last < count:
        reach = f"goes to event {beside.last} of {count}" if beside.last else "is not there"
        note = f"the journal beside the ledger {reach}; the next event that is recorded brings the rest"
    return Verified(events=count, head=before.hex(), problem=problem, hint=hint, note=note)


def verify_journal(path: Path, head: str = "") -> Verified:
    """Walk the chain over a journal whose database is lost, line by line as it lies there.

    Lines that are there twice, and what killed writers left of one that was written again, are no fault.

    Args:
        path: of the journal.
        head: as of `verify`.
    """
    before, count, met, problem = b"", 0, not head, ""
    known: dict[int, int] = {}
    unreadable: Row | None = None  # since the last line that fits
    with closing(_Told()) as told:
        for row in journal.rows(path):
            if (line := row.line) is None:
                unreadable = unreadable or row
            elif known.get(line.seq) == hash(line):
                continue
            elif line.seq in known:
                problem = f"{_name(line)} in line {row.place} of the journal is told otherwise than before"
            elif unreadable is not None and line.seq != count + 1:
                break
            elif misfit := _misfit(line, count, before) or told.take(line):
                problem = f"{_name(line)} in line {row.place} of the journal {misfit}"
            else:
                known[line.seq], unreadable = hash(line), None
                before, count = line.digest, line.seq
                met = met or before.hex().startswith(head.lower())
            if problem:
                return Verified(events=count, head=before.hex(), problem=problem, hint=_REST)
        else:
            if unreadable is not None and not unreadable.is_ended:
                unreadable = None  # the last one, of a writer that was killed
    if unreadable is not None:
        problem = f"line {unreadable.place} of the journal cannot be read"
    elif not met:
        problem = f"the head {head} is no part of the journal: what came before it was rewritten, or is gone"
    return Verified(events=count, head=before.hex(), problem=problem, hint=_REST if problem else "")


class Beside:
    """The journal beside a ledger, held against the ledger's events; made before these are read."""

    def __init__(self, path: Path) -> None:
        self._told: dict[int, set[int]] = {}  # what is told of each place; a number a line, for there are many
        for line in journal.read(path):
            self._told.setdefault(line.seq, set()).add(hash(line))
        self.last = max(self._told, default=0)
        self._wrong = ""

    def compare(self, line: Line) -> None:
        """Hold an event against what the journal tells of its place."""
        told = self._told.pop(line.seq, None)
        if self._wrong or told == {hash(line)}:
            return
        if told is not None:
            self._wrong = f"the journal beside the ledger tells {_name(line)} otherwise than the ledger"
        elif line.seq < self.last:
            self._wrong = f"the journal beside the ledger lacks {_name(line)}, and has what came after it"

    @property
    def problem(self) -> str:
        """The first thing that the journal tells otherwise, once all events were compared; "" if there is none."""
        if self._wrong or not self._told:
            return self._wrong
        return f"the journal beside the ledger tells of an event {min(self._told)}, which the ledger lacks"


def _name(line: Line) -> str:
    return f"event {line.seq} ({line.kind}{f' of {line.key}' if line.key else ''})"


def _misfit(line: Line, count: int, before: bytes) -> str:
    """Why a line of the log cannot follow what came before it; "" if it can."""
    if line.seq != count + 1:
        return f"stands where event {count + 1} should"
    digest = chain(before, seq=line.seq, at=line.at, kind=line.kind, key=line.key, body=line.body)
    return "" if digest == line.digest else "does not fit: it, or the one before it, was changed"


class _Told:
    """What the events say, folded once more: into tables in memory, and into a history by another way."""

    def __init__(self) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        for statement in schema.STATEMENTS:
            self._db.execute(statement)
        self._tables = Tables(self._db)
        self._tables.deferred = True
        self._history = History()

    def close(self) -> None:
        self._db.close()

    def take(self, line: Line) -> str:
        """Take an event in; says why if that cannot be done."""
        try:
            recorded = Recorded(seq=line.seq, at=line.at, event=codec.decode(line.kind, line.body))
            self._tables.fold(recorded)
            self._history.apply(recorded)
        except (LedgerError, KeyError, sqlite3.Error) as exc:
            return f"cannot be read: {exc.args[0] if exc.args else exc}"
        return ""

    def differs(self, ledger: Ledger) -> str:
        """The first thing that a ledger's tables say otherwise; "" if there is none."""
        with ledger.questioned() as db:
            for what, asked in _TOLD.items():
                stored, fresh = db.execute(asked), self._db.execute(asked)
                columns = [column[0] for column in fresh.description]
                for is_, should_be in itertools.zip_longest(stored, fresh):
                    if is_ != should_be:
                        return _difference(what, columns, is_, should_be)
        if self._history != ledger.history():
            return "the tables say something else than the events"
        return ""


def _difference(
    what: str, columns: Sequence[str], stored: Sequence[object] | None, fresh: Sequence[object] | None
) -> str:
    if stored is None:
        assert fresh is not None
        return f"the events tell of {what} {fresh[0]}, and the tables do not"
    if fresh is None:
        return f"the tables tell of {what} {stored[0]}, and the events do not"
    if stored[0] != fresh[0]:
        return f"the tables tell of {what} {stored[0]} where the events tell of {fresh[0]}"
    name, is_, should_be = next(
        (name, one, other) for name, one, other in zip(columns, stored, fresh, strict=True) if one != other
    )
    return f"{what} {stored[0]} has {name} {is_!r} in the tables, and {should_be!r} by the events"
