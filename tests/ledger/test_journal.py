"""The events as text beside the database: whole, in order, and mended by whoever writes next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nightlab.errors import LedgerDamagedError, LedgerError
from nightlab.ledger import Ledger, journal
from nightlab.types import Noted
from tests.builders import Clock

NOTE = Noted(topic="n", text="x")


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "lab.db"


def written(database: Path, *texts: str) -> list[journal.Line]:
    """Notes appended one by one; returns the events as they lie in the database."""
    with Ledger.open(database, clock=Clock()) as ledger:
        for text in texts:
            ledger.append(Noted(topic="n", text=text))
        return list(ledger.lines())


def test_every_event_has_its_line(database: Path) -> None:
    """The journal says what the database says, with the digests."""
    lines = written(database, "a", 'quoted " and \n', "Ω" * 50_000)
    path = journal.path_of(database)
    assert list(journal.read(path)) == lines
    assert journal.last(path) == lines[-1]
    assert all(json.loads(row)[0] == place for place, row in enumerate(path.read_bytes().splitlines(), 1))


def test_without_a_file_there_is_no_last_line(tmp_path: Path) -> None:
    """Nothing, a directory or an empty file tell nothing."""
    (tmp_path / "empty").touch()
    assert [journal.last(tmp_path / name) for name in ("absent", "empty", ".")] == [None] * 3
    assert [list(journal.read(tmp_path / name)) for name in ("absent", "empty", ".")] == [[]] * 3
    assert journal.last_seq(tmp_path / "absent") == 0


@pytest.mark.parametrize("torn", [b"", b"[", b"\xff\xfe\0\0\n", b'[3, 1.0, "noted"', b'{"a": 1}\n', b"\n\n\n"])
def test_a_torn_end_is_mended(database: Path, torn: bytes) -> None:
    """What a killed writer left is passed over, and what it did not get to write comes with the next event."""
    lines = written(database, "a", "b", "c")
    path = journal.path_of(database)
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(rows[:2]) + (torn or rows[2][:-9]))
    assert journal.last(path) == lines[1]
    lines = written(database, "d")
    assert len(lines) == 4
    assert list(journal.read(path)) == lines


def test_a_lost_journal_is_written_again(database: Path) -> None:
    """The next event brings all that came before it."""
    written(database, "a", "b")
    journal.path_of(database).unlink()
    lines = written(database, "c")
    assert list(journal.read(journal.path_of(database))) == lines


def test_a_journal_is_written_anew_as_a_whole(database: Path) -> None:
    """Exactly the events that are given; where the disk refuses, the old file stands."""
    lines = written(database, "a", "b", "c")
    path = journal.path_of(database)
    path.write_bytes(b"rotten\n" + path.read_bytes()[5:])
    journal.write_anew(path, lines)
    assert [(row.place, row.line, row.is_ended) for row in journal.rows(path)] == [
        (place, line, True) for place, line in enumerate(lines, 1)
    ]
    (path.parent / "taken").mkdir()
    with pytest.raises(LedgerError):
        journal.write_anew(path.parent / "taken", lines)
    assert {one.name for one in path.parent.iterdir() if one.name.startswith(".")} == set()


def test_a_journal_that_cannot_be_written_stops_nobody(database: Path) -> None:
    """It is a second copy: the event is on record without it."""
    journal.path_of(database).mkdir()
    assert len(written(database, "a", "b")) == 2


def test_a_database_that_lacks_what_the_journal_has_is_not_written(database: Path, tmp_path: Path) -> None:
    """An older copy in its place, an empty file or none at all is damage: a new event would take an old one's place."""
    written(database, "a")
    older = database.read_bytes()
    written(database, "b", "c")
    for content in (older, b"", None):
        database.unlink()
        if content is not None:
            database.write_bytes(content)
        with pytest.raises(LedgerDamagedError, match=r"lab\.db"):
            Ledger.open(database)
        assert (database.read_bytes() if database.exists() else None) == content


def test_a_file_that_was_taken_away_is_not_written(database: Path) -> None:
    """Whoever has the file open while it is deleted or replaced is told, instead of writing where nobody reads."""
    with Ledger.open(database) as ledger:
        ledger.append(NOTE)
        database.rename(database.with_name("elsewhere"))
        with pytest.raises(LedgerError, match="taken away"):
            ledger.append(NOTE)
        database.write_bytes(database.with_name("elsewhere").read_bytes())
        with pytest.raises(LedgerError, match="taken away"):
            ledger.append(NOTE)
        assert ledger.seq == 1
