"""A ledger made anew: every event that is told anywhere, each once, in its place, and none that was changed."""

from __future__ import annotations

import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightlab.errors import LedgerDamagedError
from nightlab.ledger import Ledger, journal, restore
from nightlab.ledger.journal import Line
from nightlab.ledger.verify import verify
from nightlab.types import Event, Noted, Proposed, Started
from tests.builders import Clock, ended, experiment, run
from tests.ledger.events import logs

PAGE = 4096


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "lab.db"


def a_ledger(path: Path, count: int = 40) -> list[Line]:
    clock = Clock()
    with Ledger.open(path, clock=clock) as ledger:
        for n in range(count):
            clock.sleep(1.0)
            ledger.append(Proposed(experiment=experiment(f"x{n}")), Started(run=run(f"r{n}", f"x{n}")), ended(f"r{n}"))
            ledger.append(Noted(topic="n", text=str(n) * 300))
        return list(ledger.lines())


def made_of(lines: Iterable[Line]) -> tuple[list[Line], int]:
    """What a new ledger holds that is made of these lines, and how many of them could not be checked."""
    with tempfile.TemporaryDirectory() as place, restore.past(Path(place) / "new.db", None, durable=False) as past:
        unsure = restore.restore(past, lines).unsure
        assert verify(past.ledger).is_sound
        return list(past.ledger.lines()), unsure


def cold(database: Path) -> bytearray:
    """The file with all that is in its log."""
    with sqlite3.connect(database) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    return bytearray(database.read_bytes())


@settings(max_examples=25)
@given(events=logs(), seed=st.integers(0, 1 << 16))
def test_events_in_any_order_and_number_give_the_same_ledger(events: list[Event], seed: int) -> None:
    """Lines may come twice and from anywhere: the new log is the old one, digests and moments included."""
    with tempfile.TemporaryDirectory() as place:
        clock = Clock()
        with Ledger.open(Path(place) / "old.db", clock=clock) as ledger:
            for event in events:
                clock.sleep(1.5)
                ledger.append(event)
            lines = list(ledger.lines())
        shuffled = [*lines, *lines[::2]]
        random.Random(seed).shuffle(shuffled)
        assert made_of(shuffled) == (lines, 0)


def test_a_changed_line_is_left_out_where_another_tells_the_truth(database: Path) -> None:
    """Of a changed copy and a true one the true one is recorded, whichever comes first."""
    lines = a_ledger(database)
    for place in (0, 7, 30, len(lines) - 1):
        line = lines[place]
        for wrong in (
            replace(line, body=line.body.replace(b'"', b"'", 1)),
            replace(line, at=line.at + 1),
            replace(line, digest=bytes(32)),
            replace(line, kind="noted"),
        ):
            assert made_of([wrong, *lines]) == (lines, 0)


@pytest.mark.parametrize("place", [0, 7, 31])
def test_a_broken_digest_costs_no_event(database: Path, place: int) -> None:
    """Where only the digest of an event was changed, the next one vouches for it."""
    lines = a_ledger(database)
    broken = [*lines[:place], replace(lines[place], digest=bytes(32)), *lines[place + 1 :]]
    assert made_of(broken) == (lines, 0)


def test_a_gap_is_told(database: Path) -> None:
    """What follows a lost event is recorded, and counted as not to be checked."""
    lines = a_ledger(database)
    made, unsure = made_of([*lines[:3], *lines[4:]])
    assert unsure == 1
    assert [line.body for line in made] == [line.body for line in lines if line is not lines[3]]


@pytest.mark.parametrize(
    ("change", "left_out", "unsure"),
    [
        (lambda x: x, 0, 0),
        (lambda x: [*x, *x[3:9]], 0, 0),
        (lambda x: [*x[:2], *x[3:]], 0, 1),  # an ending is gone
        (lambda x: [*x[:2], replace(x[2], at=0.0), *x[3:]], 1, 0),  # it was changed
        (lambda x: [x[0], *x[2:]], 1, 1),  # a beginning is gone: its ending is about nothing
        (lambda x: [*x, replace(x[2], at=0.0)], 1, 0),  # one more was put in
    ],
)
def test_what_had_to_be_left_out_is_counted(
    database: Path, change: Callable[[list[Line]], list[Line]], left_out: int, unsure: int
) -> None:
    """Events that were told and are not on record, and those that nothing vouches for."""
    lines = change(a_ledger(database, 3))
    with tempfile.TemporaryDirectory() as place, restore.past(Path(place) / "new.db", None, durable=False) as past:
        found = restore.restore(past, lines)
    assert (found.left_out, found.unsure) == (left_out, unsure)


def test_two_logs_that_grew_from_one(database: Path, tmp_path: Path) -> None:
    """An older copy that was worked with: what both tell is recorded, what is common to them once."""
    a_ledger(database, 3)
    other = tmp_path / "other.db"
    other.write_bytes(cold(database))
    told = []
    for path in (database, other):
        with Ledger.open(path, clock=Clock(), durable=False) as ledger:
            ledger.append(Noted(topic="only", text=path.name))
            ledger.append(Proposed(experiment=experiment(path.stem)), Started(run=run(f"r-{path.stem}", path.stem)))
            told.append(list(ledger.lines()))
    made, unsure = made_of([*told[0], *told[1]])
    assert unsure == 0
    assert sorted(x.body for x in made) == sorted({x.body for lines in told for x in lines})


# --- broken files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("broken", [b"\0" * PAGE, b"\xff" * PAGE, random.Random(3).randbytes(PAGE)])
def test_what_a_broken_page_leaves(database: Path, tmp_path: Path, broken: bytes) -> None:
    """With each page in turn broken, what can be read is what was written, and with the journal it is everything."""
    lines = a_ledger(database)
    data = cold(database)
    known = {(line.seq, line.body) for line in lines}
    most = 0
    for page in range(0, len(data) // PAGE, 3):
        damaged = tmp_path / "damaged.db"
        damaged.write_bytes(data[: page * PAGE] + broken + data[(page + 1) * PAGE :])
        left = list(restore.salvage(damaged))
        most = max(most, len(left))
        made, _ = made_of(left)
        assert {(line.seq, line.body) for line in left if line in lines} <= known
        assert {line.body for line in made} <= {line.body for line in lines}
        assert made_of([*left, *journal.read(journal.path_of(database))]) == (lines, 0)
    assert most == len(lines)


@pytest.mark.parametrize("size", [0, 100, PAGE, 0.5, 0.9])
def test_what_a_truncated_file_leaves(database: Path, tmp_path: Path, size: float) -> None:
    """Its beginning is read as far as it goes, without an error of SQLite's."""
    lines = a_ledger(database)
    data = cold(database)
    (tmp_path / "cut.db").write_bytes(data[: int(size if size >= 1 else size * len(data))])
    left = list(restore.salvage(tmp_path / "cut.db"))
    assert [line for line in left if line not in lines] == []


def test_damage_is_named_whoever_meets_it(database: Path) -> None:
    """A broken page is told as damage by every question, also while rows are fetched."""
    a_ledger(database)
    data = cold(database)
    with sqlite3.connect(database) as db:
        roots = [root for (root,) in db.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 0")]
    db.close()
    for page in roots:
        data[(page - 1) * PAGE : page * PAGE] = bytes(PAGE)
    database.write_bytes(data)
    journal.path_of(database).unlink()
    with Ledger.read(database) as ledger:
        for ask in (
            lambda: list(ledger.since()),
            ledger.records.counts,
            lambda: list(ledger.records.all()),
            lambda: ledger.records.champion(1),
            lambda: ledger.records.unmirrored(1),
            ledger.history,
            ledger.run_rows,
        ):
            with pytest.raises(LedgerDamagedError, match=r"lab\.db"):
                ask()
        assert not ledger.is_sound()


# --- in its place -----------------------------------------------------------------------------------------------


def test_the_new_ledger_takes_the_place_at_the_end_only(database: Path) -> None:
    """If making it fails, the old file and its journal are untouched; afterwards both are the new ones."""
    lines = a_ledger(database, 3)
    before = {path.name: path.read_bytes() for path in (database, journal.path_of(database))}

    def fail() -> None:
        with restore.in_place_of(database, None) as past:
            restore.restore(past, lines[:4])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert before == {path.name: path.read_bytes() for path in (database, journal.path_of(database))}
    with restore.in_place_of(database, None) as past:
        restore.restore(past, lines, "for a test")
    with Ledger.open(database) as ledger:
        assert list(ledger.lines())[:-1] == lines
        assert list(journal.read(journal.path_of(database))) == list(ledger.lines())


def test_a_database_behind_its_journal_is_known_as_such(database: Path) -> None:
    """None, an empty one, an older copy; not one that is ahead of it, and not where there is no journal."""
    a_ledger(database, 2)
    older = bytes(cold(database))
    a_lines = journal.path_of(database).read_bytes()
    with Ledger.open(database) as ledger:
        ledger.append(Noted(topic="n", text="more"))
    assert not restore.is_behind(database)
    journal.path_of(database).write_bytes(a_lines)
    assert not restore.is_behind(database)
    with Ledger.open(database) as ledger:
        ledger.append(Noted(topic="n", text="and more"))
    for part in ("-wal", "-shm"):
        database.with_name(f"lab.db{part}").unlink(missing_ok=True)
    database.write_bytes(older)
    assert restore.is_behind(database)
    database.write_bytes(b"")
    assert restore.is_behind(database)
    database.unlink()
    assert restore.is_behind(database)
    journal.path_of(database).unlink()
    assert not restore.is_behind(database)
