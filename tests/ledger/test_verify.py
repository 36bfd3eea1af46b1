"""Whether the log is what was recorded: the first thing that does not fit is named."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given

from nightlab.errors import LedgerDamagedError
from nightlab.ledger import Ledger, journal
from nightlab.ledger.store import chain
from nightlab.ledger.verify import Verified, verify, verify_journal
from nightlab.types import (
    Decision,
    Event,
    Imported,
    Judged,
    Logged,
    Metrics,
    NightBegan,
    NightId,
    Noted,
    Proposed,
    RunId,
    Started,
    Verdict,
)
from tests.builders import EPOCH, Clock, ended, experiment, experiment_name, finished, run
from tests.ledger.events import logs

EVENTS: tuple[Event, ...] = (
    Proposed(experiment=experiment("a")),
    NightBegan(night=NightId("n1"), seed=1, ideas=3, hours=None, baseline=experiment_name("a")),
    Started(run=run("r1", "a")),
    ended("r1", finished(1.0)),
    Proposed(experiment=experiment("b", parent="a")),
    Started(run=run("r2", "b")),
    ended("r2", finished(0.9)),
    Judged(
        verdict=Verdict(
            experiment=experiment_name("b"), champion=experiment_name("a"), decision=Decision.KEEP, because="better",
            gain=0.1,
        )
    ),
    Logged(run=RunId("r2"), status="keep", description="b by hand"),
    Imported(
        run=RunId("i1"), origin="x", digest="d1", status="keep", at=EPOCH, description="from elsewhere",
        metrics=Metrics(primary=0.95),
    ),
    Noted(topic="x", text="y"),
)  # fmt: skip


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "lab.db"
    with Ledger.open(path, clock=Clock()) as ledger:
        for event in EVENTS:
            ledger.append(event)
    return path


def look(path: Path, head: str = "") -> Verified:
    with Ledger.read(path) as ledger:
        return verify(ledger, head)


def tamper(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


def rechain(path: Path, start: int) -> None:
    """What somebody does who knows how digests are made."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        (before,) = db.execute("SELECT digest FROM events WHERE seq = ?", (start - 1,)).fetchone()
        asked = "SELECT seq, at, kind, key, body FROM events WHERE seq >= ? ORDER BY seq"
        for seq, at, kind, key, body in db.execute(asked, (start,)).fetchall():
            before = chain(before, seq=seq, at=at, kind=kind, key=key, body=body)
            db.execute("UPDATE events SET digest = ? WHERE seq = ?", (before, seq))


def test_an_untouched_ledger_is_sound(database: Path) -> None:
    """All events fit; the head is the last one's digest, and every earlier head is part of the log."""
    found = look(database)
    assert (found.events, found.problem, found.is_sound) == (len(EVENTS), "", True)
    with Ledger.read(database) as ledger:
        heads = [line.digest.hex() for line in ledger.lines()]
    assert found.head == heads[-1]
    assert all(look(database, head).is_sound for head in (heads[0], heads[4][:8], heads[-1].upper()))


def test_an_empty_ledger_is_sound(tmp_path: Path) -> None:
    assert look(tmp_path / "none.db") == Verified(events=0, head="")


@given(logs())
def test_whatever_was_recorded_is_sound(events: list[Event]) -> None:
    """One by one or many at once, the tables say what the events say."""
    for bulk in (False, True):
        with TemporaryDirectory() as scratch, Ledger.open(Path(scratch) / "lab.db", durable=False) as ledger:
            if bulk:
                ledger.append(*events)
            else:
                for event in events:
                    ledger.append(event)
            assert verify(ledger).problem == ""


def test_a_log_of_a_hundred_at_once_is_sound(tmp_path: Path) -> None:
    """Lineages are worked out once for many: that is no difference."""
    rows = [
        Imported(
            run=RunId(f"i{place}"), origin="x", digest=str(place), status="discard", at=EPOCH,
            commit=f"{place:07x}", parent_commit=f"{(place * 7 + 1) % 200:07x}", description=f"idea {place % 9}",
        )
        for place in range(200)
    ]  # fmt: skip
    with Ledger.open(tmp_path / "lab.db") as ledger:
        ledger.append(*rows[:3])
        ledger.append(*rows[3:])
        assert verify(ledger).problem == ""


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE events SET body = replace(CAST(body AS TEXT), '1.0', '0.5') WHERE seq = 4", "event 4 (ended of r1)"),
        ("UPDATE events SET at = at - 1 WHERE seq = 7", "event 7 (ended of r2)"),
        ("UPDATE events SET kind = 'noted' WHERE seq = 10", "event 10 (noted of d1)"),
        ("UPDATE events SET key = 'other' WHERE seq = 10", "event 10 (imported of other)"),
        ("UPDATE events SET digest = zeroblob(32) WHERE seq = 5", "event 5 (proposed of e-b)"),
        ("DELETE FROM events WHERE seq = 5", "event 6 (started of r2) stands where event 5 should"),
        ("DELETE FROM events WHERE seq = 1", "event 2 (night_began of n1) stands where event 1 should"),
        ("INSERT INTO events VALUES (12, 1.0, 'noted', NULL, x'7b7d', zeroblob(32))", "event 12 (noted) does not fit"),
    ],
)
def test_the_first_event_that_does_not_fit_is_named(database: Path, statement: str, problem: str) -> None:
    """A changed body, moment, kind, key or digest; one that is gone, or was put in."""
    tamper(database, statement.replace("replace(CAST(body AS TEXT), '1.0', '0.5')",
                                       "CAST(replace(CAST(body AS TEXT), '1.0', '0.5') AS BLOB)"))  # fmt: skip
    found = look(database)
    assert problem in found.problem
    assert not found.is_sound
    assert "doctor --repair" in found.hint
    assert found.events == int(problem.split()[1]) - (2 if "stands where" in problem else 1)


def test_swapped_events_are_named(database: Path) -> None:
    tamper(
        database,
        "UPDATE events SET seq = 100 WHERE seq = 4",
        "UPDATE events SET seq = 4 WHERE seq = 7",
        "UPDATE events SET seq = 7 WHERE seq = 100",
    )
    assert "event 4 (ended of r2)" in look(database).problem


def test_one_event_rewritten_with_its_digest_is_named_by_the_next(database: Path) -> None:
    """Its own digest fits it; the one after it tells."""
    with closing(sqlite3.connect(database, isolation_level=None)) as db:
        (before,) = db.execute("SELECT digest FROM events WHERE seq = 9").fetchone()
        _, at, kind, key, body, _ = db.execute("SELECT * FROM events WHERE seq = 10").fetchone()
        body = body.replace(b"0.95", b"0.85")
        digest = chain(before, seq=10, at=at, kind=kind, key=key, body=body)
        db.execute("UPDATE events SET body = ?, digest = ? WHERE seq = 10", (body, digest))
    assert "event 11 (noted) does not fit: it, or the one before it, was changed" in look(database).problem


def test_a_log_rewritten_to_its_end_is_known_by_its_head(database: Path) -> None:
    """Whoever makes all digests anew makes a log that fits, but not the head that somebody noted."""
    head = look(database).head
    journal.path_of(database).unlink()
    tamper(database, "UPDATE events SET at = at - 3600 WHERE seq = 11")
    rechain(database, 11)
    assert look(database).is_sound
    found = look(database, head)
    assert f"the head {head} is no part of the log" in found.problem


def test_an_end_that_was_cut_off_is_known_by_the_journal(database: Path) -> None:
    """The last event gone, the chain fits; the journal beside it tells."""
    tamper(database, "DELETE FROM events WHERE seq = 11")
    assert "the journal beside the ledger tells of event 11 (noted)" in look(database).problem
    journal.path_of(database).unlink()
    assert look(database).is_sound  # nothing that was said of a run is missing


def rows_of(database: Path) -> list[bytes]:
    return journal.path_of(database).read_bytes().splitlines(keepends=True)


def write_rows(database: Path, *rows: bytes) -> None:
    journal.path_of(database).write_bytes(b"".join(rows))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda r: [*r[:4], *r[5:]], "lacks event 5 (proposed of e-b), and has what came after it"),
        (lambda r: [*r[:4], b"not a line\n", *r[5:]], "lacks event 5 (proposed of e-b)"),
        (lambda r: r[1:], "lacks event 1 (proposed of e-a)"),
        (lambda r: [*r[:3], r[3].replace(b"1.0", b"0.5"), *r[4:]], "tells event 4 (ended of r1) otherwise"),
        (lambda r: [*r[:4], r[3].replace(b"1.0", b"0.5"), *r[4:]], "tells event 4 (ended of r1) otherwise"),
        (lambda r: [*r[:4], r[4].replace(b"[5,", b"[99,"), *r[4:]], "tells of an event 99, which the ledger lacks"),
    ],
)
def test_a_journal_that_tells_otherwise_is_named(
    database: Path, change: Callable[[list[bytes]], list[bytes]], problem: str
) -> None:
    """A gap, a changed line, one that is there twice with another content, one that was put in."""
    write_rows(database, *change(rows_of(database)))
    found = look(database)
    assert f"the journal beside the ledger {problem}" in found.problem
    assert "writes the journal anew" in found.hint
    assert found.events == len(EVENTS)


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda r: r[:4], "goes to event 4 of 11"),
        (lambda r: [*r[:-1], r[-1][:20]], "goes to event 10 of 11"),
        (lambda r: [], "is not there"),
        (lambda r: [*r[:5], *r[4:]], ""),
        (lambda r: [*r[:4], r[4][:9] + b"\n", *r[4:]], ""),
        (lambda r: [*r[:6], r[4], *r[6:]], ""),
    ],
)
def test_a_journal_as_killed_writers_leave_it_is_sound(
    database: Path, change: Callable[[list[bytes]], list[bytes]], note: str
) -> None:
    """Behind at its end, absent, lines twice or torn: no fault, and what is lacking is said."""
    write_rows(database, *change(rows_of(database)))
    found = look(database)
    assert (found.is_sound, note in found.note, bool(found.note)) == (True, True, bool(note))


@pytest.mark.parametrize(
    ("change", "events", "problem"),
    [
        (lambda r: r, 11, ""),
        (lambda r: [*r[:5], *r[3:]], 11, ""),
        (lambda r: [*r[:4], r[4][:9] + b"\n", *r[4:]], 11, ""),
        (lambda r: [*r[:-1], r[-1][:20]], 10, ""),
        (lambda r: [*r[:4], *r[5:]], 4, "event 6 (started of r2) in line 5 of the journal stands where event 5 should"),
        (lambda r: [*r[:4], b"nothing\n", *r[5:]], 4, "line 5 of the journal cannot be read"),
        (lambda r: [*r[:-1], b"nothing\n"], 10, "line 11 of the journal cannot be read"),
        (lambda r: [*r[:3], r[3].replace(b"1.0", b"0.5"), *r[4:]], 3, "event 4 (ended of r1) in line 4 of the journal"),
        (lambda r: [*r[:4], r[3].replace(b"1.0", b"0.5"), *r[4:]], 4, "in line 5 of the journal is told otherwise"),
    ],
)
def test_a_journal_without_its_database_is_checked_line_by_line(
    database: Path, change: Callable[[list[bytes]], list[bytes]], events: int, problem: str
) -> None:
    """The first line that does not fit is named; what a killed writer leaves is no fault."""
    write_rows(database, *change(rows_of(database)))
    found = verify_journal(journal.path_of(database))
    assert (found.events, found.is_sound) == (events, not problem)
    assert problem in found.problem


def test_an_earlier_head_is_looked_for_in_a_journal_too(database: Path) -> None:
    head = look(database).head
    path = journal.path_of(database)
    assert verify_journal(path, head).is_sound
    write_rows(database, *rows_of(database)[:-1])
    assert f"the head {head} is no part of the journal" in verify_journal(path, head).problem


def test_what_cannot_be_read_is_named(database: Path) -> None:
    """An event that fits the chain and is none."""
    tamper(database, "UPDATE events SET body = x'7b7d' WHERE seq = 10")
    rechain(database, 10)
    assert "event 10 (imported of d1) cannot be read" in look(database).problem


def test_an_event_about_nothing_is_named(database: Path) -> None:
    tamper(database, "UPDATE events SET body = CAST(replace(CAST(body AS TEXT), '\"r2\"', '\"r9\"') AS BLOB)"
           " WHERE seq = 7")  # fmt: skip
    rechain(database, 7)
    assert "event 7 (ended of r2) cannot be read: r9 never started" in look(database).problem


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("UPDATE _record SET value = 0.1 WHERE run = 'i1'", "record i1 has value 0.1 in the tables, and 0.95 by the"),
        ("UPDATE _record SET ranked = 0 WHERE run = 'i1'", "record i1 has ranked 0"),
        ("UPDATE _record SET status = 'discard' WHERE run = 'r2'", "record r2 has status 'discard'"),
        ("DELETE FROM _record WHERE run = 'i1'", "the events tell of record i1, and the tables do not"),
        ("UPDATE _idea SET description = 'better' WHERE description = 'from elsewhere'", "record i1 has description"),
        ("UPDATE _run SET metric = 0.1 WHERE id = 'r1'", "run r1 has metric 0.1"),
        ("UPDATE _run SET ended = NULL WHERE id = 'r1'", "the tables say something else than the events"),
        ("UPDATE _verdict SET gain = 9.0", "verdict of e-b has gain 9.0"),
        ("UPDATE _experiment SET decision = 'discard' WHERE id = 'e-b'", "experiment e-b has decision 'discard'"),
        ("UPDATE _night SET reason = 'x'", "night n1 has reason 'x'"),
        ("INSERT INTO _patch VALUES ('e-b', 'x')", "the tables tell of patch e-b, and the events do not"),
        ("UPDATE _run SET id = 'r0' WHERE id = 'r1'", "the tables tell of run r0 where the events tell of r1"),
    ],
)
def test_tables_changed_by_hand_are_named(database: Path, statement: str, problem: str) -> None:
    """What was changed, from what to what; refolding makes it good."""
    tamper(database, "PRAGMA foreign_keys = OFF", statement)
    found = look(database)
    assert problem in found.problem
    assert found.events == len(EVENTS)
    assert "makes the tables anew" in found.hint
    with Ledger.open(database) as ledger:
        ledger.refold()
        assert verify(ledger).is_sound


@pytest.mark.parametrize("damage", [lambda n: 4096, lambda n: n - 4096])
def test_a_damaged_page_is_no_forgery(database: Path, damage: Callable[[int], int]) -> None:
    """It is told as damage, which can be repaired."""
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    with database.open("r+b") as file:
        file.seek(damage(database.stat().st_size))
        file.write(b"\xa5" * 4096)
    with pytest.raises(LedgerDamagedError):
        look(database)
