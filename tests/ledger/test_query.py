"""Asking the ledger in SQL: any question is answered, nothing is changed, and everything ends."""

from __future__ import annotations

import itertools
import os
import sqlite3
from pathlib import Path

import pytest

from nightlab.errors import LedgerDamagedError, UsageError
from nightlab.ledger import Ledger
from nightlab.ledger.query import Cell, ask
from nightlab.ledger.schema import VIEWS
from nightlab.types import Consulted, Imported, Metrics, Proposed, RunId, Started
from tests.builders import EPOCH, Clock, ended, experiment, run

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
ENDLESS_COUNT = ENDLESS.replace("SELECT x FROM", "SELECT COUNT(*) FROM")


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    path = tmp_path / "lab.db"
    with Ledger.open(path, clock=Clock()) as made:
        made.append(Proposed(experiment=experiment("a")), Started(run=run("r1", "a")), ended("r1"))
        made.append(
            *(
                Imported(
                    run=RunId(f"i{place}"), origin="x", digest=f"{place}", status="keep", at=EPOCH,
                    description=f"idea {place}", metrics=Metrics(primary=1.0 + place),
                )
                for place in range(5)
            )
        )  # fmt: skip
    return Ledger.read(path)


def answer(ledger: Ledger, sql: str, count: int = 100, *, seconds: float = 60.0) -> list[tuple[Cell, ...]]:
    with ask(ledger, sql, seconds=seconds) as found:
        return list(itertools.islice(found.rows, count))


def refusal(ledger: Ledger, sql: str, *, seconds: float = 60.0) -> str:
    with pytest.raises(UsageError) as caught:
        answer(ledger, sql, seconds=seconds)
    assert caught.value.hint
    return str(caught.value)


def test_every_view_answers(ledger: Ledger) -> None:
    """The views that the help names are there, and say what was recorded."""
    counts = {view: len(answer(ledger, f"SELECT * FROM {view}")) for view in VIEWS}  # noqa: S608  # names of our own
    assert counts == {
        "events": 8,
        "experiments": 1,
        "runs": 1,
        "verdicts": 0,
        "nights": 0,
        "consultations": 0,
        "records": 5,
    }
    asked = "SELECT description, value FROM records WHERE status = 'keep' ORDER BY value DESC LIMIT 2"
    assert answer(ledger, asked) == [("idea 4", 5.0), ("idea 3", 4.0)]


def test_what_else_is_worth_knowing_of_a_consultation_can_be_asked_for(tmp_path: Path) -> None:
    """Files that an agent changed and that were left out are named; also in a ledger of before that column."""
    path, sql = tmp_path / "lab.db", "SELECT proposer, note FROM consultations"
    with Ledger.open(path, clock=Clock()) as made:
        made.append(Consulted(proposer="agent", purpose="agent", seconds=1.0, note="left out: helper.py"))
    assert answer(Ledger.read(path), sql) == [("agent", "left out: helper.py")]
    connection = sqlite3.connect(path)
    connection.executescript(
        "DROP VIEW consultations; ALTER TABLE _consultation DROP COLUMN note;"
        "CREATE VIEW consultations AS SELECT proposer FROM _consultation; PRAGMA user_version = 4;"
    )
    connection.close()
    with Ledger.open(path, clock=Clock()) as ledger:
        assert answer(ledger, sql) == [("agent", "left out: helper.py")]


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO _meta VALUES ('a', 'b')",
        "UPDATE events SET at = 0",
        "DELETE FROM events",
        "WITH a AS (SELECT 1) INSERT INTO _meta SELECT 1, 2 FROM a",
        "INSERT INTO _idea_text (_idea_text) VALUES ('delete-all')",
        "CREATE TABLE x (a)",
        "CREATE TEMP TABLE x (a)",
        "DROP TABLE events",
        "DROP VIEW records",
        "ATTACH '{path}' AS y",
        "DETACH main",
        "PRAGMA user_version",
        "PRAGMA writable_schema = 1",
        "SELECT * FROM pragma_database_list",
        "SELECT load_extension('x')",
        "BEGIN IMMEDIATE",
        "SAVEPOINT a",
        "VACUUM",
        "VACUUM INTO '{path}'",
        "REINDEX",
        "ANALYZE",
    ],
)
def test_only_reading(tmp_path: Path, ledger: Ledger, sql: str) -> None:
    """What would change anything is refused, on a connection that could write too, and leaves nothing behind."""
    stray = tmp_path / "stray.db"
    words = refusal(ledger, sql.format(path=stray))
    assert "only SELECT is allowed" in words
    with Ledger.open(ledger.path) as writer:
        assert "only SELECT is allowed" in refusal(writer, sql.format(path=stray))
        assert writer.seq == 8
        writer.append(Proposed(experiment=experiment("b")))  # and the connection is as it was
    assert not stray.exists()


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("SELECT 1; SELECT 2", "one question at a time"),
        ("", "begin with SELECT"),
        ("-- nothing", "begin with SELECT"),
        ("SELEC 1", "docs/memory.md"),
        ("SELECT * FROM nowhere", "records"),
        ("SELECT frob FROM records", "no such column: frob"),
        ("SELECT ?", "in single quotes"),
        ("SELECT '\udcff'", "plain text"),
        ("SELECT 1\0", "null character"),
        ("SELECT zeroblob(100000000)", "64 MiB"),
    ],
)
def test_errors_say_what_to_do(ledger: Ledger, sql: str, words: str) -> None:
    assert words in refusal(ledger, sql)


def test_what_does_not_end_is_given_up(ledger: Ledger) -> None:
    """After its seconds, before the first row and between rows alike; what ends in time is answered."""
    assert "longer than 0.2 s" in refusal(ledger, ENDLESS_COUNT, seconds=0.2)
    with (
        pytest.raises(UsageError, match="longer than"),
        ask(ledger, ENDLESS, seconds=0.2) as found,
    ):
        for _ in found.rows:
            pass
    assert answer(ledger, ENDLESS, 3) == [(1,), (2,), (3,)]


def test_cells_can_be_written_anywhere(ledger: Ledger) -> None:
    """Bytes are text or hexadecimal, what is not finite is a word, broken text is marked."""
    asked = "SELECT body, digest FROM events WHERE seq = 1"
    ((body, digest),) = answer(ledger, asked)
    assert isinstance(body, str)
    assert body.startswith("{")
    assert isinstance(digest, str)
    assert len(digest) == 64
    assert answer(ledger, "SELECT 9e999, -9e999, NULL, CAST(x'61ff' AS TEXT), x'00ff'") == [
        ("inf", "-inf", None, "a\ufffd", "00ff")
    ]


def test_columns_have_names_of_their_own(ledger: Ledger) -> None:
    """A name that comes twice is numbered, so that no value hides another."""
    with ask(ledger, "SELECT 1 AS a, 2 AS a, 3 AS a_2, 4 AS b") as found:
        assert len(set(found.columns)) == 4
        assert found.columns[:2] == ("a", "a_2")


def test_questions_follow_each_other(ledger: Ledger) -> None:
    """One that was left in the middle, or refused, is no obstacle to the next."""
    answer(ledger, ENDLESS, 1)
    refusal(ledger, "DROP TABLE events")
    assert ledger.seq == 8
    assert answer(ledger, "SELECT 'é 🌙'") == [("é 🌙",)]


def test_a_damaged_page_is_told_as_such(ledger: Ledger) -> None:
    """So that the lab is repaired, and nobody looks for a slip in the question."""
    path = ledger.path
    ledger.close()
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(path.stat().st_size - 4096))
    with pytest.raises(LedgerDamagedError), Ledger.read(path) as damaged:
        answer(damaged, "SELECT * FROM events")
