"""The memory under kill -9, many writers, full disks and lost files, with the real command line."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightlab.ledger import Ledger
from nightlab.ledger.verify import verify
from nightlab.types import Purpose
from tests.builders import powerless, shared_directory
from tests.e2e.labs import UserLab, command, environment, make
from tests.memories import Memory


def log(memory: Memory, description: str, status: str = "keep") -> subprocess.Popen[str]:
    words = ("log", "--description", description, "--status", status, "--summary", "summary.json")
    return start(memory, *words)


def start(memory: Memory, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*words),
        cwd=memory.root,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def said_run(process: subprocess.Popen[str]) -> str:
    """The run that a process that is over said it had logged; "" if it said none."""
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err, err
    lines = [line for line in out.splitlines(keepends=True) if line.startswith("Logged run=") and line.endswith("\n")]
    return lines[0].removeprefix("Logged run=").split(" ")[0] if lines else ""


def duration(memory: Memory) -> float:
    """How long a `log` takes here, the longest of three."""
    took = []
    for attempt in range(3):
        begun = time.monotonic()
        assert said_run(log(memory, f"measured {attempt}"))
        took.append(time.monotonic() - begun)
    return max(took)


def check_kept(memory: Memory, promised: set[str], begun: set[str]) -> None:
    """All that was promised is on record, and nothing that nobody began, nor anything twice."""
    told = memory.told()
    assert promised <= told.keys()
    descriptions = Counter(description for _, _, description in told.values())
    assert set(descriptions.values()) <= {1}
    assert descriptions.keys() <= begun


def kill_logs(root: Path, kills: int, *, together: int, seed: int) -> int:
    """Kill logs at random moments; after each kill the next command works and nothing is lost. Returns promises."""
    rng = random.Random(seed)
    memory = Memory.make(root)
    span = 1.1 * duration(memory) * (1 + 0.5 * (together - 1))  # several at once are slower
    begun = {description for _, _, description in memory.told().values()}
    promised = set(memory.told())
    done = 0
    while done < kills:
        names = [f"idea {done + n}" for n in range(together)]
        begun |= set(names)
        started = [log(memory, name) for name in names]
        moments = sorted(rng.uniform(0.0, span) for _ in started)
        at = time.monotonic()
        for process, moment in zip(started, moments, strict=True):
            time.sleep(max(0.0, at + moment - time.monotonic()))
            process.kill()
        promised |= {run for process in started if (run := said_run(process))}
        whole = memory.lines.read_bytes().splitlines(keepends=True)
        assert all(json.loads(line)["run_id"] for line in whole if line.endswith(b"\n"))
        assert memory("check", "--description", "idea").code == 0
        check_kept(memory, promised, begun)
        healed = memory.log(f"after {done}")
        assert healed.code == 0, healed.err
        begun.add(f"after {done}")
        promised.add(healed.run)
        check_kept(memory, promised, begun)
        memory.check()
        done += together
    return len(promised)


def test_logs_killed_at_any_moment(tmp_path: Path) -> None:
    """What a `log` has printed is recorded once, in ledger and mirrors, whenever the next one is killed."""
    kill_logs(tmp_path / "lab", 10, together=1, seed=0)


def test_logs_killed_together(tmp_path: Path) -> None:
    """The same where several die at once."""
    kill_logs(tmp_path / "lab", 6, together=3, seed=1)


@pytest.mark.soak
@pytest.mark.parametrize(("kills", "together"), [(200, 1), (201, 3)])
def test_logs_killed_at_many_moments(tmp_path: Path, kills: int, together: int) -> None:
    """The same at two hundred moments."""
    kill_logs(tmp_path / "lab", kills, together=together, seed=2)


def test_thirty_two_logs_at_once(tmp_path: Path) -> None:
    """All are recorded, all stand in the mirrors, and the registry counts them."""
    memory = Memory.make(tmp_path / "lab")
    started = [log(memory, f"n {n}", ("keep", "discard", "crash")[n % 3]) for n in range(32)]
    runs = [said_run(process) for process in started]
    assert [process.returncode for process in started] == [0] * 32
    assert len(set(runs)) == 32
    assert set(memory.told()) == set(runs)
    memory.check()


# --- a repair that is killed ------------------------------------------------------------------------------------


def kill_repairs(root: Path, kills: int, *, records: int, seed: int) -> None:
    """Damage or lose the database, kill what makes it anew, and look whether the next command knows everything."""
    rng = random.Random(seed)
    memory = Memory.make(root / "lab")
    memory.fill(records)
    told = memory.told()
    begun = time.monotonic()
    start(memory, "doctor", "--repair").communicate()
    span = 1.2 * (time.monotonic() - begun)
    for n in range(kills):
        scratch = Memory(root / f"scratch{n}")
        shutil.copytree(memory.root, scratch.root)
        ways = ["doctor --repair", "log --description again --status crash", "memory init", "report"]
        ruin(scratch, ("lost", "half", "garbage")[n % 3])
        for _ in range(2):
            process = start(scratch, *ways[n % 4].split())
            time.sleep(rng.uniform(0.0, span))
            process.kill()
            process.communicate()
        healed = scratch.log("after")
        assert healed.code == 0, healed.err
        found = scratch.told()
        again = [run for run, (_, _, description) in found.items() if description == "again"]
        assert len(again) <= 2
        assert {run: row for run, row in found.items() if run not in (*again, healed.run)} == told
        scratch.check()
        shutil.rmtree(scratch.root)


def ruin(memory: Memory, how: str) -> None:
    """Lose the database, cut it in half, or put something else in its place."""
    for part in ("-wal", "-shm"):
        memory.database.with_name(f"lab.db{part}").unlink(missing_ok=True)
    if how == "lost":
        memory.database.unlink()
    elif how == "half":
        os.truncate(memory.database, memory.database.stat().st_size // 2)
    else:
        memory.database.write_bytes(b"not a database at all\n" * 500)


def test_repairs_killed_at_any_moment(tmp_path: Path) -> None:
    """A repair, or a command that makes the database anew, may be killed: the next one does it all the same."""
    kill_repairs(tmp_path, 4, records=12, seed=0)


@pytest.mark.soak
def test_repairs_killed_at_many_moments(tmp_path: Path) -> None:
    """The same at sixty moments and with more to do."""
    kill_repairs(tmp_path, 60, records=100, seed=1)


# --- disks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("room", [40_000, 216_000])
def test_a_disk_without_room(tmp_path: Path, room: int) -> None:
    """A `log` that the disk refuses says what and where; with room again everything works, what was said is there."""
    memory = Memory.make(tmp_path / "lab")
    names = memory.fill(3)

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))

    words = command("log", "--description", "no room", "--status", "crash", "--error", "x" * 3000)
    promised = set(names)
    for _ in range(4):
        done = subprocess.run(
            words,
            cwd=memory.root,
            env=environment(),
            capture_output=True,
            text=True,
            preexec_fn=little_room,
            check=False,
        )
        assert "Traceback" not in done.stderr
        if done.returncode == 0:
            promised.add(done.stdout.removeprefix("Logged run=").split(" ")[0])
        else:
            assert done.stderr.startswith("error: ")
            assert str(memory.root) in done.stderr
    after = memory.log("after")
    assert after.code == 0, after.err
    told = memory.told()
    assert promised <= told.keys()
    assert len(told) <= len(names) + 5
    memory.check()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes."""
    place = tmp_path / "disk"
    place.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", "size=2m", "none", str(place)]
    if subprocess.run(words, capture_output=True, check=False).returncode != 0:
        pytest.skip("this user may not mount a file system")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def test_a_disk_that_fills_up(small_disk: Path) -> None:
    """Logs go on until the disk is full, then fail by name; with room again the next one works and all is there."""
    memory = Memory.make(small_disk / "lab")
    promised = {memory.log("first").run}
    ballast = small_disk / "ballast"
    for left in (60_000, 12_000, 0):
        free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
        with ballast.open("ab") as file:
            file.write(bytes(max(0, free - left)))
        for n in range(2):
            done = log(memory, f"with {left} bytes left, {n}", "crash")
            out, err = done.communicate(timeout=60)
            assert "Traceback" not in err
            if done.returncode == 0:
                promised.add(out.removeprefix("Logged run=").split(" ")[0])
            else:
                assert err.startswith("error: "), err
        ballast.write_bytes(bytes(max(0, ballast.stat().st_size - 100_000)))
    ballast.unlink()
    after = memory.log("after")
    assert after.code == 0, after.err
    assert promised <= memory.told().keys()
    memory.check()


def test_a_lab_that_may_not_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading works and leaves nothing behind; writing says what may not be written."""
    asked = (("check", "--description", "idea 1"), ("status",), ("runs",), ("verify",), ("export",))
    with shared_directory() as place:
        (place / "gitconfig").write_text("[safe]\n\tdirectory = *\n")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(place / "gitconfig"))
        memory = Memory.make(place / "lab")
        memory.fill(3)
        said = [memory(*words).out for words in asked]
        for directory, _, names in os.walk(memory.root):
            for name in names:
                (Path(directory) / name).chmod(0o444)
            Path(directory).chmod(0o555)
        before = sorted(memory.root.rglob("*"))
        with powerless():
            assert [memory(*words).out for words in asked] == said
            refused = memory("log", "--description", "x", "--status", "crash")
        assert refused.code == 1
        assert refused.err.startswith("error: ")
        assert str(memory.root) in refused.err
        assert sorted(memory.root.rglob("*")) == before
        for directory, _, _ in os.walk(memory.root):
            Path(directory).chmod(0o755)


# --- the lab's own runs -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def a_night(tmp_path_factory: pytest.TempPathFactory) -> Memory:
    """A lab with a night, a `try`, an `exec` and two runs by hand; not to be changed."""
    lab = make(tmp_path_factory.mktemp("night") / "lab")
    assert lab.nightlab("run", "--runs", "2").code == 0
    script = lab.root / "train.py"
    script.write_text(script.read_text().replace("0.02", "0.031"))
    assert lab.nightlab("try", "--description", "by hand", "--seeds", "2").code == 0
    assert lab.nightlab("exec", "--", "python", "train.py").code == 0
    memory = Memory(lab.root)
    (lab.root / "summary.json").write_text('{"loss": 1.5}')
    for status in ("keep", "crash"):
        assert memory("log", "--description", f"a {status}", "--status", status, "--summary", "summary.json").code == 0
    memory.check()
    return memory


def copied(memory: Memory, place: Path) -> Memory:
    shutil.copytree(memory.root, place / "lab", symlinks=True)
    return Memory(place / "lab")


def own_runs(memory: Memory) -> set[tuple[object, ...]]:
    """The lab's own runs, whatever made them known."""
    rows = UserLab(memory.root).json("runs")
    names = ("run", "experiment", "outcome", "metric", "purpose", "seed", "commit", "parent")
    return {tuple(row[name] for name in names) for row in rows if row["purpose"] != Purpose.LOG}


LOSSES = {
    "database": ["nightlab/lab.db*"],
    "database and journal": ["nightlab/lab.db*", "nightlab/events.jsonl"],
    "all but runs and packets": [
        "nightlab/lab.db*", "nightlab/events.jsonl", "memorylab/*.json*", "../results.tsv"
    ],
}  # fmt: skip


@pytest.mark.parametrize("lost", LOSSES)
@pytest.mark.parametrize("first", ["log", "doctor --repair", "status"])
def test_a_lost_database_is_made_anew(a_night: Memory, tmp_path: Path, lost: str, first: str) -> None:
    """Whatever command comes first, every run is there again under its own name, with its verdict, none twice."""
    memory = copied(a_night, tmp_path)
    for pattern in LOSSES[lost]:
        for path in (memory.root / "results").glob(pattern):
            path.unlink()
    words = [*first.split(), "--description", "after", "--status", "crash"] if first == "log" else first.split()
    said = memory(*words)
    assert said.code == 0 or (first.startswith("doctor") and "ok    repaired" in said.out), said.err
    if first == "status":
        assert not memory.database.exists()
    after = memory("log", "--description", "after", "--status", "crash")
    assert after.code == 0, after.err
    found = {run: row for run, row in memory.told().items() if row[2] != "after"}
    assert found == a_night.told()
    assert own_runs(memory) == own_runs(a_night)
    memory.check()


def test_directories_of_runs_alone(a_night: Memory, tmp_path: Path) -> None:
    """Without any mirror the runs are all there; ideas wait for their verdict, and the next night gives it."""
    memory = copied(a_night, tmp_path)
    for path in (memory.database, memory.journal, memory.table):
        path.unlink()
    shutil.rmtree(memory.store)
    assert own_runs(memory) == own_runs(a_night)
    with Ledger.read(a_night.database) as ledger:
        before = ledger.history()
    UserLab(memory.root).git("checkout", "-q", "train.py")
    answer = UserLab(memory.root).nightlab("run", "--runs", "0")
    assert answer.code == 0, answer.err
    with Ledger.read(memory.database) as ledger:
        assert verify(ledger).is_sound
        after = ledger.history()
    for name, state in before.experiments.items():
        if state.verdicts and state.experiment.plan.emitter != "try":
            assert after.state(name).verdicts[-1].decision is state.verdicts[-1].decision
            assert after.state(name).experiment.source_hash == state.experiment.source_hash
            assert after.state(name).experiment.description == state.experiment.description
            assert after.state(name).experiment.changes == state.experiment.changes


def test_a_commit_that_holds_another_source_is_not_believed(a_night: Memory, tmp_path: Path) -> None:
    """A ref that was bent to another source makes no run of it: what the mirrors tell of the run is all there is."""
    memory = copied(a_night, tmp_path)
    lab = UserLab(memory.root)
    refs = lab.git("for-each-ref", "--format=%(refname)", "refs/nightlab/experiments").split()
    bent, other = sorted(refs)[:2]
    lab.git("update-ref", bent, other)
    for path in (memory.database, memory.journal):
        path.unlink()
    assert memory("log", "--description", "after", "--status", "crash").code == 0
    name = bent.rpartition("/")[2]
    assert name not in {row[1] for row in own_runs(memory)}
    assert memory.told().keys() >= a_night.told().keys()
    memory.check()


# --- an older file ----------------------------------------------------------------------------------------------

VERSION_1 = """
CREATE TABLE events (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, key TEXT, body BLOB NOT NULL, digest BLOB NOT NULL,
    UNIQUE (kind, key)
) STRICT;
CREATE TABLE experiments (id TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE runs (id TEXT PRIMARY KEY, experiment TEXT NOT NULL REFERENCES experiments(id)) STRICT, WITHOUT ROWID;
CREATE INDEX runs_of_experiment ON runs (experiment);
PRAGMA user_version = 1;
"""


def test_a_database_of_the_first_schema(a_night: Memory, tmp_path: Path) -> None:
    """It is read without being written, and the first writer brings it up to date with every event it has."""
    import sqlite3

    memory = copied(a_night, tmp_path)
    with sqlite3.connect(memory.database) as db:
        events = db.execute("SELECT * FROM events WHERE kind <> 'imported' ORDER BY seq").fetchall()
    db.close()
    for path in memory.database.parent.glob("lab.db*"):
        path.unlink()
    memory.journal.unlink()
    with sqlite3.connect(memory.database) as db:
        db.executescript(VERSION_1)
        db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?, ?)", events)
    db.close()
    before = memory.database.read_bytes()
    assert own_runs(memory) == own_runs(a_night)
    assert memory("check", "--description", "x").code == 0
    assert memory.database.read_bytes() == before
    assert memory("log", "--description", "after", "--status", "crash").code == 0
    with Ledger.read(memory.database) as ledger:
        assert [line.digest for line in ledger.lines()][: len(events)] == [event[5] for event in events]
    memory.check()
