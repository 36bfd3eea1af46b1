"""`query`, `verify`, `doctor --repair` and the report as a page: what they print, and their exit codes."""

from __future__ import annotations

import csv
import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from nightlab.cli.care import ROWS, TABLE_ROWS
from nightlab.ledger import Ledger
from tests.builders import Repo
from tests.cli.shell import Shell
from tests.e2e.labs import make

ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 20000) SELECT x FROM n"


@pytest.fixture
def lab(tmp_path: Path) -> Shell:
    """A lab with two runs that were logged by hand."""
    shell = Shell.make(tmp_path / "lab")
    shell.log("baseline", "keep", 0.9979)
    shell.log("a\tbetter \x1b[31mone", "keep", 0.9931, "--family", "lr")
    return shell


def tamper(lab: Shell, *statements: str) -> None:
    with closing(sqlite3.connect(lab.database, isolation_level=None)) as db:
        for statement in statements:
            db.execute(statement)


# --- query ------------------------------------------------------------------------------------------------------


def test_query_prints_a_table(lab: Shell) -> None:
    """Columns under their names, safe words; nothing but the answer on stdout."""
    said = lab.at_lab("query", "SELECT description, value, NULL AS empty FROM records ORDER BY value")
    assert (said.code, said.err) == (0, "")
    assert [line.split() for line in said.lines] == [
        ["description", "value", "empty"], ["a", "better", "one", "0.9931"], ["baseline", "0.9979"]
    ]  # fmt: skip


def test_query_as_json_and_csv(lab: Shell) -> None:
    """The whole cells; every column of an object, though two are called the same."""
    asked = "SELECT value, description, value FROM records ORDER BY value"
    assert lab.at_lab("query", "--json", asked).json == [
        {"value": 0.9931, "description": "a better one", "value_2": 0.9931},
        {"value": 0.9979, "description": "baseline", "value_2": 0.9979},
    ]
    assert list(csv.reader(lab.at_lab("query", "--csv", asked).lines)) == [
        ["value", "description", "value_2"], ["0.9931", "a better one", "0.9931"], ["0.9979", "baseline", "0.9979"]
    ]  # fmt: skip
    assert lab.at_lab("query", "--json", "SELECT 1 WHERE 0").json == []
    assert lab.at_lab("query", "--json", "SELECT 9e999 AS x").json == [{"x": "inf"}]


def test_query_shows_so_many_rows(lab: Shell) -> None:
    """A thousand unless told otherwise, and says that there are more; 0 is all."""
    said = lab.at_lab("query", "--csv", ENDLESS)
    assert len(said.lines) == 1 + ROWS
    assert said.err == f"the first {ROWS} rows; --limit 0 shows all\n"
    said = lab.at_lab("query", "--csv", "--limit", "2", "SELECT 1 UNION SELECT 2")
    assert (len(said.lines), said.err) == (3, "")
    said = lab.at_lab("query", "--csv", "--limit", "0", ENDLESS)
    assert (len(said.lines), said.err) == (20001, "")
    said = lab.at_lab("query", "--limit", "0", ENDLESS)
    assert (len(said.lines), said.err) == (
        1 + TABLE_ROWS,
        f"a table ends after {TABLE_ROWS} rows; --json and --csv go on\n",
    )
    assert lab.at_lab("query", "--limit", "-1", "SELECT 1").code == 2


def test_query_refuses_with_a_hint(lab: Shell) -> None:
    """A usage error: what is wrong, and what to do."""
    for sql, words in (("DELETE FROM events", "only SELECT"), ("SELECT x FROM y", "the views are"), ("", "begin with")):
        said = lab.at_lab("query", sql)
        assert (said.code, said.out, words in said.err) == (2, "", True)
    assert lab.at_lab("query").code == 2
    assert lab.at_lab("query", "--json", "--csv", "SELECT 1").code == 2


def test_query_of_an_empty_lab_makes_nothing(tmp_path: Path) -> None:
    lab = Shell.make(tmp_path / "lab")
    assert lab.at_lab("query", "--json", "SELECT * FROM records").json == []
    assert not (lab.root / "results").exists()


def test_query_sees_what_others_wrote(lab: Shell) -> None:
    """Rows of the mirrors that are not on record yet are asked too."""
    with (lab.root / "results.tsv").open("a") as file:
        file.write("abcabca\t0.9\t1.0\tkeep\tby an older script\n")
    assert lab.at_lab("query", "--json", "SELECT MIN(value) AS best FROM records").json == [{"best": 0.9}]


# --- verify -----------------------------------------------------------------------------------------------------


def test_verify_says_how_many_events_fit(lab: Shell) -> None:
    """With the head that may be noted elsewhere, and which is asked for later."""
    said = lab.at_lab("verify")
    assert (said.code, said.err) == (0, "")
    assert said.out.endswith(": every one fits its predecessor\n")
    found = lab.at_lab("verify", "--json").json
    assert isinstance(found, dict)
    assert found == {"events": found["events"], "head": found["head"], "sound": True, "problem": "", "repeat": None}
    lab.log("another", "discard", 1.0)
    assert lab.at_lab("verify", "--head", found["head"]).code == 0
    assert lab.at_lab("verify", "--head", found["head"][:12]).code == 0
    said = lab.at_lab("verify", "--head", "0" * 64)
    assert (said.code, "is no part of the log" in said.out) == (1, True)


@pytest.mark.parametrize("head", ["5", "not hex digits", "g" * 64, "0" * 65])
def test_verify_asks_for_a_head_that_means_one(lab: Shell, head: str) -> None:
    """The beginning of a digest says nothing if it is too short."""
    said = lab.at_lab("verify", "--head", head)
    assert (said.code, "8 to 64 hexadecimal digits" in said.err) == (2, True)


def test_verify_names_what_was_changed(lab: Shell) -> None:
    """Exit 1, the event by its place, kind and key; a run is not executed on such a record."""
    tamper(lab, "UPDATE events SET at = at + 1 WHERE seq = 3")
    said = lab.at_lab("verify", "anything")
    assert said.code == 1
    assert "2 events, head" in said.out
    assert "event 3 (ended of " in said.out
    assert "hint: `nightlab doctor --repair`" in said.err
    assert "anything was not executed" in said.err
    found = lab.at_lab("verify", "--json").json
    assert isinstance(found, dict)
    assert (found["sound"], "event 3" in found["problem"]) == (False, True)


def test_verify_without_a_ledger(tmp_path: Path) -> None:
    lab = Shell.make(tmp_path / "lab")
    said = lab.at_lab("verify")
    assert (said.code, "there is no ledger at" in said.err, "makes one" in said.err) == (1, True, True)
    assert not (lab.root / "results").exists()


def journal_of(lab: Shell) -> Path:
    return lab.database.with_name("events.jsonl")


def drop_line(path: Path, place: int) -> None:
    rows = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*rows[:place], *rows[place + 1 :]]))


def lose(lab: Shell) -> None:
    for part in ("", "-wal", "-shm"):
        lab.database.with_name(lab.database.name + part).unlink(missing_ok=True)


def test_verify_of_a_lost_database(lab: Shell) -> None:
    """The journal is checked, and said to be that; nothing is made."""
    lose(lab)
    said = lab.at_lab("verify")
    assert (said.code, "the database is lost" in said.err) == (0, True)
    assert "every one fits" in said.out
    drop_line(journal_of(lab), 2)
    said = lab.at_lab("verify")
    assert (said.code, "in line 3 of the journal stands where event 3 should" in said.out) == (1, True)
    assert "hint: `nightlab doctor --repair`" in said.err
    journal_of(lab).unlink()
    said = lab.at_lab("verify")
    assert (said.code, "nothing is left that could be checked" in said.err) == (1, True)
    assert not lab.database.exists()


def test_verify_says_that_the_journal_is_behind(lab: Shell) -> None:
    """No fault, and a line on stderr."""
    journal_of(lab).unlink()
    said = lab.at_lab("verify")
    assert (said.code, "note: the journal beside the ledger is not there" in said.err) == (0, True)
    assert "; the journal beside the ledger is not there" in lab.at_lab("doctor").out


@pytest.mark.parametrize("words", [("check", "--description", "x"), ("status",), ("log",), ("doctor", "--repair")])
def test_a_lost_database_is_told_of_by_whoever_meets_it(lab: Shell, words: tuple[str, ...]) -> None:
    """One line on stderr: how many events the rest tells of, and how many lines of the journal did not fit."""
    path = journal_of(lab)
    changed = path.read_bytes().replace(b"0.9931", b"0.1931")
    path.write_bytes(changed)
    lose(lab)
    said = lab.log("after", "discard", 1.5) if words == ("log",) else lab.at_lab(*words)
    (line,) = (line for line in said.err.splitlines() if line.startswith(f"note: {lab.database}"))
    assert ("was made anew" in line) == (words[0] in ("log", "doctor"))
    assert " events; " in line
    assert "line(s) of its journal told of events that do not fit and were left out" in line


def test_a_lost_database_with_a_whole_journal(lab: Shell) -> None:
    """Nothing is said to be wrong; where the journal is lost too, that is said."""
    lose(lab)
    said = lab.at_lab("check", "--description", "x")
    (line,) = said.err.splitlines()
    assert line.endswith(" events")
    journal_of(lab).unlink()
    assert "without its journal, which is lost too" in lab.at_lab("check", "--description", "x").err


def test_verify_executes_a_run_again(tmp_path: Path) -> None:
    """A real script in a clean workspace, as it was committed then: the same value; after a change of luck another."""
    lab = make(tmp_path / "lab")
    assert lab.nightlab("try", "--description", "baseline").code == 0
    run = lab.runs()[0]
    (lab.root / "train.py").write_text("raise SystemExit('edited since')\n")
    said = lab.nightlab("verify", run["run"])
    assert said.code == 0, said.err
    assert "every one fits its predecessor" in said.out
    assert f"{run['run']} recorded loss" in said.out
    assert "the same to the last digit" in said.out
    assert "is executed once more: 1 minutes at most" in said.err
    assert [one["purpose"] for one in lab.runs()] == ["baseline", "baseline", "verify"]
    found = json.loads(lab.nightlab("verify", "--json", run["run"]).out)["repeat"]
    assert (found["holds"], found["recorded"], found["measured"]) == (True, run["metric"], run["metric"])
    assert lab.nightlab("verify", "nothing").code == 1


def test_verify_of_a_hand_logged_run_that_does_not_repeat(tmp_path: Path) -> None:
    """Exit 1, and both values."""
    lab = make(tmp_path / "lab")
    (lab.root / "summary.json").write_text('{"val_bpb": 0.5, "loss": 0.5, "peak_vram_mb": 1.0}')
    logged = lab.nightlab("log", "--description", "x", "--status", "keep", "--summary", "summary.json", "--json")
    run = json.loads(logged.out)["run_id"]
    said = lab.nightlab("verify", run)
    assert said.code == 1
    assert f"{run} recorded loss 0.5, and 1." in said.out
    assert "cannot be weighed" in said.out


def test_verify_of_an_imported_run(lab: Shell, tmp_path: Path) -> None:
    """It says that there is no source to run."""
    path = tmp_path / "a.tsv"
    path.write_text("commit\tval_bpb\tmemory_gb\tstatus\tdescription\nabcabca\t0.9\t1.0\tkeep\tx\n")
    lab.at_lab("import", str(path))
    with Ledger.read(lab.database) as ledger:
        run = ledger.records.recent(1)[0].run
    said = lab.at_lab("verify", run)
    assert (said.code, "was imported" in said.err) == (2, True)


# --- doctor -----------------------------------------------------------------------------------------------------


def test_doctor_says_when_memory_is_not_sound(lab: Shell) -> None:
    """A line that fails, with what to do; --repair does it, says what it did, and then all is well."""
    assert "ok    memory: " in lab.at_lab("doctor").out
    tamper(lab, "UPDATE _record SET value = 0.1 WHERE value < 0.995")
    said = lab.at_lab("doctor")
    assert said.code == 1
    assert "FAIL  memory: record " in said.out
    assert "in the tables, and 0.9931 by the events" in said.out
    assert "hint: `nightlab doctor --repair`" in said.out
    said = lab.at_lab("doctor", "--repair")
    assert "ok    repaired: " in said.out
    assert "ok    memory: " in said.out
    with Ledger.read(lab.database) as ledger:
        assert [r.value for r in ledger.records.all()] == [0.9979, 0.9931]


def test_repair_finds_the_commits_of_rows(lab: Shell) -> None:
    """Rows that others wrote come in as any other command takes them in: with their commits' parents and sources."""
    repo = Repo(lab.root)
    root = repo.git("rev-parse", "HEAD")
    here = repo.commit({"train.py": "LR = 0.2\n"}, "higher")
    with (lab.root / "results.tsv").open("a") as table:
        table.write(f"{here[:7]}\t0.985000\t44.0\tkeep\thigher\n")
    assert lab.at_lab("doctor", "--repair").code == 0
    with Ledger.read(lab.database) as ledger:
        (record,) = [record for record in ledger.records.all() if record.description == "higher"]
    assert (record.parent, record.source_hash[:4]) == (root[:7], "nl1:")


def test_doctor_repairs_a_damaged_database(lab: Shell) -> None:
    """It tells where the damaged file lies now; every run is on record."""
    with closing(sqlite3.connect(lab.database)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    data = lab.database.read_bytes()
    lab.database.write_bytes(data[:4096] + b"\xa5" * (len(data) - 4096))
    said = lab.at_lab("doctor")
    assert (said.code, "FAIL  memory: " in said.out) == (1, True)
    said = lab.at_lab("doctor", "--repair")
    assert "the damaged database lies in " in said.err
    assert "ok    memory: " in said.out
    assert lab.at_lab("query", "--json", "SELECT COUNT(*) AS n FROM records").json == [{"n": 2}]


def test_doctor_mends_a_rotten_journal(lab: Shell) -> None:
    """It is named, written anew from the database, and kept; a database that is lost later comes back as it was."""
    path = journal_of(lab)
    whole = path.read_bytes()
    drop_line(path, 4)
    rotten = path.read_bytes()
    said = lab.at_lab("doctor")
    assert (said.code, "FAIL  memory: the journal beside the ledger lacks event 5" in said.out) == (1, True)
    assert "hint: `nightlab doctor --repair` writes the journal anew" in said.out
    said = lab.at_lab("doctor", "--repair")
    assert (path.read_bytes(), "ok    memory: " in said.out) == (whole, True)
    (aside,) = path.parent.glob("events.jsonl.damaged-*")
    assert (aside.read_bytes(), str(aside) in said.err) == (rotten, True)
    before = lab.at_lab("query", "--json", "SELECT run, value, description FROM records").json
    lose(lab)
    assert lab.at_lab("query", "--json", "SELECT run, value, description FROM records").json == before


def test_doctor_writes_what_the_journal_lacks(lab: Shell) -> None:
    """One that is only behind is filled, and nothing is put aside."""
    path = journal_of(lab)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", None):
        path.unlink()
        if content is not None:
            path.write_bytes(content)
        said = lab.at_lab("doctor", "--repair")
        assert (path.read_bytes(), "journal" in said.err) == (whole, False)
    assert list(path.parent.glob("events.jsonl.damaged-*")) == []


MIRRORS = {
    "results.tsv": "results.tsv",
    "experiments.jsonl": "results/memorylab/experiments.jsonl",
    "champion_challenger.json": "results/memorylab/champion_challenger.json",
}


@pytest.mark.parametrize("name", MIRRORS)
def test_doctor_names_a_mirror_that_is_gone_or_was_changed(lab: Shell, name: str) -> None:
    """A line that fails; --repair writes what was there, each line once."""
    assert "ok    mirrors: they say what the ledger says" in lab.at_lab("doctor").out
    path = lab.root / MIRRORS[name]
    whole = path.read_text()
    cut = "".join(line for line in whole.splitlines(keepends=True) if "baseline" not in line)
    assert cut != whole
    for content, problem in ((None, f"{name} is gone"), (cut, name)):
        path.unlink()
        if content is not None:
            path.write_text(content)
        said = lab.at_lab("doctor")
        (line,) = (line for line in said.lines if " mirrors: " in line)
        assert (said.code, line.startswith("FAIL "), problem in line) == (1, True, True)
        assert "hint: `nightlab doctor --repair`" in said.out
        assert "ok    mirrors: they say what the ledger says" in lab.at_lab("doctor", "--repair").out
        there, before = (sorted(line for line in text.splitlines() if "updated_at" not in line)
                         for text in (path.read_text(), whole))  # fmt: skip
        assert there == before


def test_doctor_counts_what_others_wrote_into_the_mirrors(lab: Shell) -> None:
    """Rows that are not taken in yet are no fault; they are counted, with what takes them in."""
    with (lab.root / "results.tsv").open("a") as file:
        file.write("abc9999\t0.770000\t1.0\tkeep\tfrom elsewhere\nnonsense\n")
    said = lab.at_lab("doctor").out
    assert "ok    mirrors: 1 row(s) that others wrote into results.tsv are not taken in yet; 1 line(s) are no" in said
    assert "or `nightlab doctor --repair`" in said
    assert "ok    mirrors: they say what the ledger says" in lab.at_lab("doctor", "--repair").out


def test_doctor_says_when_the_database_is_lost(lab: Shell) -> None:
    lab.database.unlink()
    said = lab.at_lab("doctor")
    assert (said.code, "lab.db is lost" in said.out) == (1, True)
    assert "ok    repaired: " in lab.at_lab("doctor", "--repair").out
    assert lab.at_lab("verify").code == 0


def test_doctor_of_a_lab_without_memory(tmp_path: Path) -> None:
    """Nothing is on record, which is no fault."""
    lab = Shell.make(tmp_path / "lab")
    said = lab.at_lab("doctor").out
    assert "ok    memory: 0 events" in said
    assert "ok    mirrors: none are there yet" in said


# --- report -----------------------------------------------------------------------------------------------------


def test_report_as_a_page(lab: Shell, tmp_path: Path) -> None:
    """One file, whole HTML, words of runs inert; only that file is written, and its directory."""
    lab.log("<script>alert(1)</script> & <b>bold</b>", "keep", 0.99)
    target = tmp_path / "deep" / "morning.html"
    said = lab.at_lab("report", "--format", "html", "--output", str(target))
    assert (said.code, said.out) == (0, f"Wrote report to {target}\n")
    page = target.read_text()
    assert page.lstrip().lower().startswith("<!doctype html>")
    assert "Morning Report" in page
    assert "<script>alert" not in page
    assert "<b>bold" not in page
    assert not (lab.root / "results" / "memorylab" / "reports").exists()
    assert lab.at_lab("report", "--format", "pdf").code == 2
    said = lab.at_lab("report", "--output", str(tmp_path))
    assert (said.code, "cannot be written" in said.err) == (1, True)
