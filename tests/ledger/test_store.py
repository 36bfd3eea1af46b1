"""The ledger's file: what is written is there, once, in order, whoever writes, dies or fills the disk."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings

from nightlab.errors import AlreadyRecordedError, LedgerError, LedgerUnreadableError
from nightlab.history import History
from nightlab.ledger import Ledger, codec
from nightlab.ledger.query import ask
from nightlab.ledger.store import SCHEMA_VERSION, chain
from nightlab.types import (
    Decision,
    Ended,
    Event,
    Finished,
    Judged,
    Logged,
    Metrics,
    NightBegan,
    NightId,
    Noted,
    Proposed,
    RunId,
    Started,
    Usage,
    Verdict,
)
from tests.builders import (
    EPOCH,
    Clock,
    conditions,
    crashed,
    ended,
    experiment,
    experiment_name,
    finished,
    powerless,
    run,
    shared_directory,
)
from tests.ledger.events import logs

ROOT = Path(__file__).parents[2]
A_RUN: tuple[Event, ...] = (Proposed(experiment=experiment("a")), Started(run=run("r1", "a")))


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "results" / "nightlab" / "lab.db"


@pytest.fixture
def ledger(database: Path) -> Iterator[Ledger]:
    with Ledger.open(database, clock=Clock()) as opened:
        yield opened


def check(path: Path) -> list[tuple[int, str, str | None]]:
    """Recompute the chain and compare the tables with the events; (seq, kind, key) of every row."""
    connection = sqlite3.connect(path)
    rows = connection.execute("SELECT seq, at, kind, key, body, digest FROM events ORDER BY seq").fetchall()
    runs = dict(connection.execute("SELECT id, outcome FROM runs").fetchall())
    proposed = {row[0] for row in connection.execute("SELECT id FROM experiments").fetchall()}
    (state,) = connection.execute("PRAGMA integrity_check").fetchone()
    connection.close()
    assert state == "ok"
    before = b""
    for place, (seq, at, kind, key, body, digest) in enumerate(rows, start=1):
        assert seq == place
        assert digest == chain(before, seq=seq, at=at, kind=kind, key=key, body=body)
        before = digest
    events = [codec.decode(kind, body) for _, _, kind, _, body, _ in rows]
    assert proposed == {e.experiment.id for e in events if isinstance(e, Proposed)}
    endings = {e.run: codec.outcome_kind(e.outcome) for e in events if isinstance(e, Ended)}
    assert runs == {e.run.id: endings.get(e.run.id) for e in events if isinstance(e, Started)}
    return [(seq, kind, key) for seq, _, kind, key, _, _ in rows]


def writer(database: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.writer", str(database), name, str(count)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- writing and reading ----------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(events=logs())
def test_what_is_appended_is_read_back(events: list[Event]) -> None:
    """Any log comes back whole and in order, by this process and by the next; chain and tables agree with it."""
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / "lab.db"
        with Ledger.open(path) as ledger:
            appended = [one for event in events for one in ledger.append(event)]
            assert list(ledger.since()) == appended
        with Ledger.read(path) as ledger:
            assert list(ledger.since()) == appended
        assert [one.event for one in appended] == events
        check(path)


@settings(max_examples=30)
@given(events=logs())
def test_folding_step_by_step_is_folding_at_once(events: list[Event]) -> None:
    """A history that follows the ledger is the one that a new process folds from the whole of it."""
    with tempfile.TemporaryDirectory() as place, Ledger.open(Path(place) / "lab.db") as ledger:
        following = History()
        for event in events:
            ledger.append(event)
            for recorded in ledger.since(following.seq):
                following.apply(recorded)
        assert following == History.fold(ledger.since()) == ledger.history()


def test_since_gives_what_is_new_in_order(ledger: Ledger) -> None:
    """Only events after the given place come, oldest first, with the clock's time."""
    ledger.append(*A_RUN, ended("r1"))
    assert [one.seq for one in ledger.since(1)] == [2, 3]
    assert list(ledger.since(3)) == []
    assert {one.at for one in ledger.since()} == {EPOCH}


def test_reading_goes_on_while_the_reader_writes(ledger: Ledger) -> None:
    """Whoever appends while he iterates disturbs neither; the news come with the next look."""
    ledger.append(*A_RUN)
    seen = [(one.seq, ledger.append(Noted(topic="seen", text=str(one.seq)))[0].seq) for one in ledger.since()]
    assert seen == [(1, 3), (2, 4)]


def test_appending_nothing_is_nothing(ledger: Ledger) -> None:
    """An append without events records none."""
    assert ledger.append() == ()
    assert list(ledger.since()) == []


def test_run_rows_tell_a_run_with_its_experiment(ledger: Ledger) -> None:
    """A line per run, oldest first, with outcome and verdict; running while it has none."""
    ledger.append(*A_RUN, ended("r1", finished(0.5)), Proposed(experiment=experiment("b", parent="a")))
    ledger.append(Started(run=run("r2", "b", seed=7)), Started(run=run("r0", "a")), ended("r2", crashed()))
    verdict = Verdict(
        experiment=experiment_name("b"), champion=experiment_name("a"), decision=Decision.CRASH, because="boom"
    )
    ledger.append(Judged(verdict=verdict))
    rows = ledger.run_rows()
    assert [(r.run, r.number, r.outcome, r.metric, r.decision) for r in rows] == [
        ("r1", 1, "finished", 0.5, None),
        ("r2", 2, "crashed", None, "crash"),
        ("r0", 1, "running", None, None),
    ]
    assert [r.run for r in ledger.run_rows(experiment_name("b"))] == ["r2"]
    assert ledger.is_over(RunId("r2"))
    assert not ledger.is_over(RunId("r0"))


def test_a_run_that_is_not_believed_makes_no_record(ledger: Ledger) -> None:
    """It is in the table of runs with its reason, for `query` too; nobody's memory says that the idea was tried."""
    baseline, night = experiment_name("a"), NightId("n1")
    ledger.append(*A_RUN, NightBegan(night=night, seed=0, ideas=1, hours=None, baseline=baseline))
    ledger.append(ended("r1", finished(0.5), conditions=conditions("others used the GPU", speed=8.0)))
    ledger.append(Started(run=run("r2", "a")), ended("r2", finished(0.6), conditions=conditions()))
    assert [(r.run, r.speed, r.trouble) for r in ledger.run_rows()] == [
        ("r1", 8.0, "others used the GPU"),
        ("r2", 10.0, ""),
    ]
    with ask(ledger, "SELECT run FROM records") as answer:
        assert list(answer.rows) == [("r2",)]
    with ask(ledger, "SELECT id FROM runs WHERE trouble <> ''") as answer:
        assert list(answer.rows) == [("r1",)]
    first = ledger.history().runs[RunId("r1")]
    assert (first.is_believed, first.value) == (False, 0.5)


# --- what is refused --------------------------------------------------------------------------------------------


def test_several_events_are_recorded_together_or_not_at_all(ledger: Ledger, database: Path) -> None:
    """If the last of several events is refused, none is recorded, and the tables know of none."""
    ledger.append(*A_RUN, ended("r1"))
    with pytest.raises(AlreadyRecordedError):
        ledger.append(Proposed(experiment=experiment("b")), Started(run=run("r2", "b")), ended("r1"))
    assert len(check(database)) == 3
    ledger.append(Proposed(experiment=experiment("b")))


@pytest.mark.parametrize("again", [*A_RUN, ended("r1", crashed()), Logged(run=RunId("r1"), status="keep")])
def test_what_has_happened_cannot_happen_again(ledger: Ledger, again: Event) -> None:
    """A second proposal, start, ending or log entry of the same name is refused, and the first one stands."""
    ledger.append(*A_RUN, ended("r1"), Logged(run=RunId("r1"), status="discard"))
    before = list(ledger.since())
    with pytest.raises(AlreadyRecordedError, match="recorded already"):
        ledger.append(again)
    assert list(ledger.since()) == before


def judged(name: str, champion: str, *, replicate: str | None = None) -> Judged:
    return Judged(
        verdict=Verdict(
            experiment=experiment_name(name),
            champion=experiment_name(champion),
            decision=Decision.RETEST,
            because="",
            replicate=experiment_name(replicate) if replicate else None,
        )
    )


STRANGE: tuple[Event, ...] = (
    ended("r9"),
    Started(run=run("r9", "nobody")),
    Logged(run=RunId("r9"), status="keep"),
    NightBegan(night=NightId("n1"), seed=0, ideas=1, hours=None, baseline=experiment_name("nobody")),
    judged("nobody", "a"),
    judged("a", "nobody"),
    judged("a", "a", replicate="nobody"),
)


@pytest.mark.parametrize("event", STRANGE, ids=lambda event: type(event).__name__)
def test_nothing_is_said_of_the_unknown(ledger: Ledger, event: Event) -> None:
    """An event about a run or an experiment that was never recorded is refused: no history could be folded from it."""
    ledger.append(*A_RUN)
    with pytest.raises(LedgerError):
        ledger.append(event)
    assert len(ledger.history().runs) == 1
    ledger.append(ended("r1"))


@pytest.mark.parametrize(
    "event",
    [
        Ended(
            run=RunId("r1"),
            outcome=Finished(metrics=Metrics(primary=1.0, extra={"loss": float("nan")})),
            usage=Usage(wall_s=1.0, cpu_s=1.0),
        ),
        ended("r1", Finished(metrics=Metrics(primary=float("inf")))),
        ended("r1", Finished(metrics=Metrics(primary=1.0, steps=2**70))),
        Started(run=run("r2", "a", seed=2**70)),
    ],
    ids=["nan", "inf", "steps", "seed"],
)
def test_what_could_not_be_read_again_is_not_written(ledger: Ledger, event: Event) -> None:
    """A number that the file cannot hold is refused when it is written: one bad row would close the lab for ever."""
    ledger.append(*A_RUN)
    try:
        ledger.append(event)
    except LedgerError:
        assert len(list(ledger.since())) == 2
    else:
        assert next(iter(ledger.since(2))).event == event


def test_two_endings_race_and_one_stands(database: Path) -> None:
    """Of two processes that end the same runs, each run's ending is written by exactly one; the other is told."""
    with Ledger.open(database) as ledger:
        ledger.append(Proposed(experiment=experiment("a")), *(Started(run=run(f"r{n}", "a")) for n in range(40)))
    script = (
        "import sys\nfrom pathlib import Path\nfrom nightlab.errors import AlreadyRecordedError\n"
        "from nightlab.ledger import Ledger\nfrom tests.builders import ended\n"
        "ledger = Ledger.open(Path(sys.argv[1]))\nprint('ready', flush=True)\nsys.stdin.readline()\nwon = 0\n"
        "for n in range(40):\n    try:\n        ledger.append(ended(f'r{n}'))\n        won += 1\n"
        "    except AlreadyRecordedError:\n        pass\nprint(won)\n"
    )
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(database)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout
        racer.stdout.readline()
    won = [int(racer.communicate("go\n")[0]) for racer in racers]
    assert sum(won) == 40
    assert sum(kind == "ended" for _, kind, _ in check(database)) == 40


# --- files that are no ledger -----------------------------------------------------------------------------------


def test_reading_an_absent_ledger_makes_nothing(database: Path) -> None:
    """A lab without a ledger reads as an empty one, and looking at it leaves no file behind."""
    with Ledger.read(database) as ledger:
        assert list(ledger.since()) == []
        assert ledger.run_rows() == []
    assert not database.parent.exists()


def test_reading_does_not_write(ledger: Ledger, database: Path) -> None:
    """A ledger opened for reading refuses to append."""
    ledger.append(*A_RUN)
    with Ledger.read(database) as reader, pytest.raises(LedgerError):
        reader.append(ended("r1"))
    assert not ledger.is_over(RunId("r1"))


@pytest.mark.parametrize("mode", ["open", "read"])
@pytest.mark.parametrize("content", [b"hello, I am a text file\n" * 200, b"SQLite format 3\x00" + b"\xff" * 4096])
def test_a_file_that_is_no_ledger_is_left_alone(tmp_path: Path, content: bytes, mode: str) -> None:
    """A foreign or damaged file is named with what to do, and not one byte of it is changed."""
    path = tmp_path / "lab.db"
    path.write_bytes(content)
    with pytest.raises(LedgerUnreadableError, match=str(path)) as caught:
        (Ledger.open if mode == "open" else Ledger.read)(path)
    assert "aside" in caught.value.hint
    assert path.read_bytes() == content


@pytest.mark.parametrize("mode", ["open", "read"])
def test_a_database_of_something_else_is_left_alone(tmp_path: Path, mode: str) -> None:
    """Somebody else's SQLite file gets no tables of ours."""
    path = tmp_path / "lab.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE events (mine TEXT)")
    connection.close()
    with pytest.raises(LedgerUnreadableError, match="no ledger"):
        (Ledger.open if mode == "open" else Ledger.read)(path)
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("events",)]
    connection.close()


@pytest.mark.parametrize("mode", ["open", "read"])
def test_a_newer_ledger_is_left_alone(database: Path, mode: str) -> None:
    """A ledger of a newer nightlab is refused with the advice to update, also for reading."""
    Ledger.open(database).close()
    with sqlite3.connect(database) as connection:
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(LedgerUnreadableError, match="newer nightlab") as caught:
        (Ledger.open if mode == "open" else Ledger.read)(database)
    assert "update nightlab" in str(caught.value)


def test_a_ledger_that_is_being_made_reads_as_empty(tmp_path: Path) -> None:
    """Between the making of the file and of its tables a reader sees an empty lab, no error."""
    (tmp_path / "lab.db").touch()
    with Ledger.read(tmp_path / "lab.db") as ledger:
        assert list(ledger.since()) == []


@pytest.mark.parametrize("mode", ["open", "read"])
def test_a_directory_in_its_place_is_an_error(tmp_path: Path, mode: str) -> None:
    """A directory where the ledger should be is named, not a traceback of SQLite's."""
    (tmp_path / "lab.db").mkdir()
    with pytest.raises(LedgerError, match=r"lab\.db"):
        (Ledger.open if mode == "open" else Ledger.read)(tmp_path / "lab.db")


def test_a_torn_page_is_called_damage(database: Path) -> None:
    """Zeros in the middle of the file give an error that says to keep the file, not half a history."""
    with Ledger.open(database) as ledger:
        for index in range(300):
            ledger.append(Noted(topic="filler", text=str(index) * 40))
    data = bytearray(database.read_bytes())
    data[4096 * 2 :] = bytes(len(data) - 4096 * 2)
    database.write_bytes(data)
    with pytest.raises(LedgerUnreadableError, match="cannot be read"), Ledger.read(database) as ledger:
        list(ledger.since())


def test_any_change_of_a_row_breaks_the_chain(database: Path) -> None:
    """A value that is edited in the file afterwards no longer fits its digest."""
    with Ledger.open(database) as ledger:
        ledger.append(*A_RUN, ended("r1", finished(1.0)))
    check(database)
    with sqlite3.connect(database) as connection:
        connection.execute(
            "UPDATE events SET body = CAST(replace(CAST(body AS TEXT), '1.0', '0.9') AS BLOB) WHERE kind = 'ended'"
        )
    connection.close()
    with pytest.raises(AssertionError):
        check(database)


# --- places that cannot be written ------------------------------------------------------------------------------


@pytest.mark.parametrize("left", ["closed", "killed"])
def test_a_ledger_in_a_read_only_directory_is_read_whole(left: str) -> None:
    """Where nothing may be written every acknowledged event is read, also those of a writer that was killed."""
    with shared_directory() as place:
        source = place / "source" / "lab.db"
        with Ledger.open(source) as ledger:
            ledger.append(*A_RUN, ended("r1"))
            if left == "killed":  # the file and its log as they lie there before the writer has tidied up
                shutil.copytree(source.parent, place / "copy", ignore=shutil.ignore_patterns("*-shm"))
        if left == "closed":
            shutil.copytree(source.parent, place / "copy")
        path = place / "copy" / "lab.db"
        for file in path.parent.iterdir():
            file.chmod(0o444)
        path.parent.chmod(0o555)
        listed = sorted(os.listdir(path.parent))
        with powerless(), Ledger.read(path) as reader:
            assert [one.seq for one in reader.since()] == [1, 2, 3]
        assert sorted(os.listdir(path.parent)) == listed
        path.parent.chmod(0o755)


@pytest.mark.parametrize("existing", [True, False])
def test_writing_in_a_read_only_directory_is_an_error(existing: bool) -> None:
    """A lab that cannot be written says so, with the file's name and what to do."""
    with shared_directory() as place:
        path = place / "results" / "lab.db"
        path.parent.mkdir()
        if existing:
            Ledger.open(path).close()
            path.chmod(0o444)
        path.parent.chmod(0o555)
        with powerless(), pytest.raises(LedgerError, match=str(path)) as caught, Ledger.open(path) as ledger:
            ledger.append(*A_RUN)
        assert "writ" in caught.value.hint
        path.parent.chmod(0o755)


def test_a_ledger_that_may_not_be_read_is_an_error() -> None:
    """Without the right to read the file the error names it."""
    with shared_directory() as place:
        path = place / "lab.db"
        Ledger.open(path).close()
        path.chmod(0o000)
        with powerless(), pytest.raises(LedgerError, match=str(path)):
            Ledger.read(path)


# --- many processes, and their deaths ---------------------------------------------------------------------------


def test_sixteen_writers_lose_nothing(database: Path) -> None:
    """Sixteen processes that open a new ledger at once and write into it: everything is there, once, in one chain."""
    writers = [writer(database, f"w{index}", 5) for index in range(16)]
    acknowledged = []
    for one in writers:
        out, err = one.communicate(timeout=120)
        assert (one.returncode, err) == (0, "")
        acknowledged += [int(seq) for seq in out.split()]
    assert sorted(acknowledged) == [seq for seq, _, _ in check(database)]
    assert len(acknowledged) == 16 * 5 * 4


def test_reading_while_another_process_writes(database: Path) -> None:
    """A reader sees a growing log without gaps, and never half of a transaction."""
    Ledger.open(database).close()
    process = writer(database, "w", 60)
    with Ledger.read(database) as reader:
        history = History()
        while process.poll() is None:
            for recorded in reader.since(history.seq):
                assert recorded.seq == history.seq + 1
                history.apply(recorded)
            # the writer proposes and starts in one transaction
            assert len(history.experiments) == len(history.runs)
        _, err = process.communicate()
        assert (process.returncode, err) == (0, "")
        assert reader.history().seq == 60 * 4


def test_a_killed_writer_leaves_what_it_acknowledged(database: Path) -> None:
    """However often a writer is killed at a moment of its own, all that it acknowledged is there and nothing half."""
    rng = random.Random(0)
    acknowledged: list[int] = []
    for attempt in range(8):
        process = writer(database, f"w{attempt}", 1_000_000)
        assert process.stdout
        acknowledged += [int(seq) for seq in process.stdout.readline().split()]
        time.sleep(rng.uniform(0.0, 0.1))
        process.kill()
        out, _ = process.communicate()
        lines = out.splitlines(keepends=True)
        acknowledged += [int(seq) for line in lines if line.endswith("\n") for seq in line.split()]
        recorded = check(database)
        assert set(acknowledged) <= {seq for seq, _, _ in recorded}
        proposals = sum(kind == "proposed" for _, kind, _ in recorded)
        assert proposals == sum(kind == "started" for _, kind, _ in recorded)
    assert len(acknowledged) > 8


# --- a full disk ------------------------------------------------------------------------------------------------

FILL = """
import json, resource, sys
from pathlib import Path
from nightlab.errors import LedgerError
from nightlab.ledger import Ledger
from nightlab.types import Noted

path, limit = Path(sys.argv[1]), int(sys.argv[2])
said, written = "", 0
with Ledger.open(path) as ledger:
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        while written < 2000:
            ledger.append(Noted(topic="filler", text="x" * 2000), Noted(topic="filler", text="y" * 2000))
            written += 2
    except LedgerError as exc:
        said = str(exc)
    after = sum(1 for _ in ledger.since())
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        (path.parent / "ballast").unlink()
    ledger.append(Noted(topic="room", text="again"))
print(json.dumps({"said": said, "written": written, "after": after}))
"""


def fill(path: Path, limit: int) -> dict[str, object]:
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path), str(limit)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, object] = json.loads(done.stdout)
    return told


def check_filled(told: dict[str, object], path: Path) -> None:
    assert "free disk space" in str(told["said"])
    assert str(path) in str(told["said"])
    assert told["after"] == told["written"]
    assert len(check(path)) == told["written"] + 1  # type: ignore[operator]


@pytest.mark.skipif(not hasattr(resource, "RLIMIT_FSIZE"), reason="this system cannot limit the size of files")
def test_a_file_that_may_not_grow(database: Path) -> None:
    """Where the file may not grow an append fails with a clear error, records nothing, and works again later."""
    check_filled(fill(database, 300_000), database)


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of one megabyte, half of it taken by a file called ballast."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this user may not mount a file system")
    try:
        (place / "ballast").write_bytes(bytes(400_000))
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk(tiny_disk: Path) -> None:
    """On a full disk an append fails with a clear error, records nothing, and works again once there is room."""
    check_filled(fill(tiny_disk / "lab.db", 0), tiny_disk / "lab.db")
