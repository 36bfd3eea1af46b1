"""Mirrors and ledger: whatever somebody does to the one, the other loses nothing; and what hostile text becomes."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nightlab.ledger import Ledger
from nightlab.ledger.surface import TSV_HEADER
from tests.builders import Repo, powerless, shared_directory
from tests.e2e.labs import command, environment
from tests.memories import Memory

PAGE = 4096


def settle(memory: Memory) -> None:
    """Bring everything into the one file."""
    with sqlite3.connect(memory.database) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Memory:
    """A lab with runs of each status; not to be changed."""
    memory = Memory.make(tmp_path_factory.mktemp("filled") / "lab")
    memory.fill(9)
    settle(memory)
    memory.check()
    return memory


@pytest.fixture
def memory(filled: Memory, tmp_path: Path) -> Memory:
    """A copy of it."""
    return copied(filled, tmp_path / "lab")


def copied(memory: Memory, root: Path) -> Memory:
    shutil.copytree(memory.root, root, symlinks=True)
    return Memory(root)


def mirror(memory: Memory, name: str) -> Path:
    return {"lines": memory.lines, "table": memory.table, "registry": memory.registry}[name]


def without(data: bytes, *places: int) -> bytes:
    return b"".join(line for place, line in enumerate(data.splitlines(keepends=True)) if place not in places)


# --- mirrors that were changed ----------------------------------------------------------------------------------

CHANGES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda data: b"",
    "torn at its end": lambda data: data[:-7],
    "without a final newline": lambda data: data[:-1],
    "torn in the middle": lambda data: data[: len(data) * 6 // 10],
    "lines taken out": lambda data: without(data, 1, 4),
    "begins in the middle of a line": lambda data: data[len(data) // 3 :],
    "CRLF": lambda data: data.replace(b"\n", b"\r\n"),
    "CR only": lambda data: data.replace(b"\n", b"\r"),
    "UTF-16": lambda data: data.decode().encode("utf-16"),
    "marked as UTF-8": lambda data: b"\xef\xbb\xbf" + data,
    "a line of garbage": lambda data: without(data, 4) + b"\xff\xfe\0garbage\n",
    "zeros at its end": lambda data: data + bytes(5000),
    "nested deep": lambda data: data + b"[" * 100_000 + b"\n",
    "a line of three megabytes": lambda data: data + b"x" * (3 << 20) + b"\n",
    "in another order": lambda data: b"".join(sorted(data.splitlines(keepends=True))),
    "blank lines": lambda data: data.replace(b"\n", b"\n\n \t\n"),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", ["lines", "table", "registry"])
def test_a_changed_mirror_costs_nothing(memory: Memory, name: str, change: str) -> None:
    """The next commands work, every record stays as it was, none comes twice, and the mirrors are whole again."""
    told, path = memory.told(), mirror(memory, name)
    path.write_bytes(CHANGES[change](path.read_bytes()))
    left = path.read_bytes()
    assert memory("check", "--description", "idea 3").code == 0
    assert memory("status", "--json").code == 0
    assert path.read_bytes() == left
    after = memory.log("after", "discard", 1.5)
    assert after.code == 0, after.err
    found = memory.told()
    assert {run: row for run, row in found.items() if run != after.run} == told
    memory.check()
    size = path.stat().st_size
    again = memory.log("again", "discard", 1.6)
    assert "note:" not in again.err
    assert path.stat().st_size < size + 6000
    memory.check()


@pytest.mark.parametrize("name", ["lines", "table", "registry"])
def test_a_mirror_that_is_gone(memory: Memory, name: str) -> None:
    """It is written again from the ledger, all of it."""
    before = mirror(memory, name).read_text()
    mirror(memory, name).unlink()
    assert memory("check", "--description", "idea 3").code == 0
    assert not mirror(memory, name).exists()
    assert memory("memory", "init").code == 0
    after = mirror(memory, name).read_text()
    if name != "registry":
        assert after == before
    memory.check()


@pytest.mark.parametrize("name", ["lines", "table", "registry"])
def test_a_directory_in_a_mirrors_place(memory: Memory, name: str) -> None:
    """A `log` says which file it is; once it is away everything is there, also what could not be mirrored."""
    told, path = memory.told(), mirror(memory, name)
    path.unlink()
    path.mkdir()
    said = memory.log("meanwhile")
    assert (said.code, said.run) == (1, "")
    assert str(path) in said.err
    path.rmdir()
    after = memory.log("after")
    assert after.code == 0, after.err
    found = memory.told()
    assert told.items() <= found.items()
    assert ("meanwhile" in {row[2] for row in found.values()}) == ("is recorded all the same" in said.err)
    memory.check()


@pytest.mark.parametrize("name", ["lines", "table"])
def test_a_pipe_in_a_mirrors_place(memory: Memory, name: str) -> None:
    """Nobody waits for ever on a named pipe."""
    path = mirror(memory, name)
    path.unlink()
    os.mkfifo(path)
    for said in (memory("check", "--description", "x"), memory.log("x")):
        assert said.code == 1
        assert str(path) in said.err


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
@pytest.mark.parametrize("name", ["lines", "table"])
def test_a_mirror_that_may_not_be_read(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Reading and writing commands say which file it is, and nothing is recorded that they do not tell."""
    with shared_directory() as place:
        (place / "gitconfig").write_text("[safe]\n\tdirectory = *\n")
        monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(place / "gitconfig"))
        memory = Memory.make(place / "lab")
        memory.fill(2)
        told = memory.told()
        for directory, _, names in os.walk(memory.root):
            for one in (directory, *(os.path.join(directory, file) for file in names)):
                os.chown(one, 65534, 65534)
        with mirror(memory, name).open("a") as file:
            file.write("\n")  # it is not as we left it, so that it has to be read
        mirror(memory, name).chmod(0o000)
        with powerless():
            for words in (("check", "--description", "x"), ("log", "--description", "x", "--status", "crash")):
                said = memory(*words)
                assert said.code == 1
                assert str(mirror(memory, name)) in said.err
        mirror(memory, name).chmod(0o666)
        assert memory.told() == told
        assert memory.log("after").code == 0
        memory.check()


def test_a_linked_mirror_stays_a_link(memory: Memory) -> None:
    """Who keeps results.tsv elsewhere keeps it there."""
    elsewhere = memory.root / "elsewhere.tsv"
    memory.table.rename(elsewhere)
    memory.table.symlink_to(elsewhere)
    assert memory.log("after").code == 0
    assert memory.table.is_symlink()
    elsewhere.write_bytes(elsewhere.read_bytes().replace(b"\n", b"\r"))
    assert memory.log("and after").code == 0
    assert memory.table.is_symlink()
    memory.check()


def test_rows_of_others_come_in_once(memory: Memory) -> None:
    """Well-formed rows in either mirror are on record after the next `log`; malformed ones are set aside."""
    told = memory.told()
    row = json.loads(memory.lines.read_bytes().splitlines()[0])
    row |= {"run_id": "20260311T043000Z-abc1234", "commit": "abc1234", "description": "from elsewhere"}
    with memory.lines.open("a") as file:
        file.write(json.dumps(row) + "\nnonsense\n")
    with memory.table.open("a") as file:
        file.write("abc1235\t0.970000\t1.0\tkeep\tby an agent\nno row\n")
    for number in range(3):
        assert memory.log(f"after {number}").code == 0
        found = memory.told()
        assert len(found) == len(told) + 3 + number
        assert found["20260311T043000Z-abc1234"][2] == "from elsewhere"
        assert [row[2] for row in found.values()].count("by an agent") == 1
        memory.check()
    assert memory.lines.with_name("experiments.jsonl.refused").read_text() == "nonsense\n"
    assert memory.table.with_name("results.tsv.refused").read_text() == "no row\n"


# --- a database that is lost or broken --------------------------------------------------------------------------


def lose(memory: Memory, *patterns: str) -> None:
    for pattern in patterns:
        for path in memory.root.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()


DATABASE = "results/nightlab/lab.db*"
COMMANDS = {
    "check": ("check", "--description", "idea 3"),
    "report": ("report", "--output", "report.md"),
    "status": ("status", "--json"),
    "runs": ("runs", "--json"),
    "init": ("memory", "init"),
    "import": ("import", "other.tsv"),
    "doctor": ("doctor", "--repair"),
    "verify": ("verify",),
    "query": ("query", "SELECT COUNT(*) FROM records"),
    "log": ("log", "--description", "idea 10", "--status", "crash"),
}
LOST = {
    "the database": (DATABASE,),
    "the database without its log": ("results/nightlab/lab.db",),
    "database and journal": (DATABASE, "results/nightlab/events.jsonl"),
    "all of results/nightlab": ("results/nightlab",),
    "all but experiments.jsonl": ("results/nightlab", "results.tsv", "results/memorylab/runs", "results/**/*.json"),
    "all but results.tsv": ("results/nightlab", "results/memorylab"),
    "all but the packets": ("results/nightlab", "results.tsv", "results/memorylab/*.json*"),
}  # fmt: skip


def told_alike(memory: Memory) -> list[tuple[str, str, str]]:
    """Records without their names, as results.tsv would tell them."""
    rows = memory.told().values()
    return sorted((status, f"{value or 0:.6f}", text) for status, value, text in rows if text.startswith("idea "))


@pytest.mark.parametrize("lost", LOST)
def test_every_command_works_after_a_loss(filled: Memory, tmp_path: Path, lost: str) -> None:
    """Whichever command is the next: it works, and no record that anything still tells is lost, doubled or invented."""
    for name, words in COMMANDS.items():
        memory = copied(filled, tmp_path / name)
        (memory.root / "other.tsv").write_text(TSV_HEADER + "abc9999\t0.770000\t1.0\tkeep\tfrom elsewhere\n")
        lose(memory, *LOST[lost])
        said = memory(*words)
        nothing_to_verify = name == "verify" and "there is no ledger" in said.err
        assert said.code == 0 or nothing_to_verify, (name, said)
        if name == "query":
            assert "9" in said.out
        after = memory.log("after")
        assert after.code == 0, (name, after)
        expected = told_alike(filled) + ([("crash", "0.000000", "idea 10")] if name == "log" else [])
        assert told_alike(memory) == sorted(expected), name
        if lost != "all but results.tsv":
            assert filled.told().keys() <= memory.told().keys()
        memory.check()


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut in half": lambda data: data[: len(data) // 2],
    "cut in a page": lambda data: data[: len(data) // 2 + 1234],
    "garbage": lambda data: b"no database\n" * 2000,
    "zeros": lambda data: bytes(len(data)),
    "its first page broken": lambda data: data[:100] + bytes(PAGE - 100) + data[PAGE:],
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("journal", [True, False])
def test_every_command_works_with_a_broken_file(filled: Memory, tmp_path: Path, broken: str, journal: bool) -> None:
    """The file is made anew, the broken one is kept, and every record is there, with and without the journal."""
    for name in ("log", "check", "doctor", "verify"):
        memory = copied(filled, tmp_path / name)
        memory.database.write_bytes(BROKEN[broken](memory.database.read_bytes()))
        if not journal:
            memory.journal.unlink()
        said = memory(*COMMANDS[name])
        assert said.code == 0 or (name == "verify" and broken == "empty" and not journal), (name, said)
        after = memory.log("after")
        assert after.code == 0, (name, after)
        assert filled.told().items() <= memory.told().items()
        assert len(memory.told()) == len(filled.told()) + 1 + (name == "log")
        if broken != "empty":
            assert list(memory.database.parent.glob("lab.db.damaged-*"))
        memory.check()


def break_pages(filled: Memory, place: Path, *, every: int, journal: bool) -> None:
    """Break each page in turn; some commands, then a repair: everything is there."""
    rng = random.Random(every)
    data = filled.database.read_bytes()
    for page in range(0, len(data) // PAGE, every):
        memory = copied(filled, place / str(page))
        (memory.root / "other.tsv").write_text(TSV_HEADER + "abc9999\t0.770000\t1.0\tkeep\tfrom elsewhere\n")
        memory.database.write_bytes(data[: page * PAGE] + rng.randbytes(PAGE) + data[(page + 1) * PAGE :])
        if not journal:
            memory.journal.unlink()
        names = rng.sample(sorted(COMMANDS), 3)
        for name in names:
            said = memory(*COMMANDS[name])
            assert said.code == 0 or (name == "verify" and "event" in said.out), (page, name, said)
        assert memory("doctor", "--repair").code == 0
        assert filled.told().items() <= memory.told().items()
        assert len(memory.told()) == len(filled.told()) + ("log" in names) + ("import" in names)
        memory.check()
        shutil.rmtree(memory.root)


@pytest.mark.parametrize("journal", [True, False])
def test_broken_pages(filled: Memory, tmp_path: Path, journal: bool) -> None:
    """A page of random bytes anywhere in the file stops no command and costs no record."""
    break_pages(filled, tmp_path, every=15, journal=journal)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("journal", [True, False])
def test_each_page_broken(tmp_path: Path, journal: bool) -> None:
    """The same with each page of a database of a hundred records."""
    memory = Memory.make(tmp_path / "filled")
    memory.fill(100)
    settle(memory)
    break_pages(memory, tmp_path, every=1, journal=journal)


def flip_bits(filled: Memory, place: Path, count: int) -> None:
    rng = random.Random(count)
    for flip in range(count):
        memory = copied(filled, place / str(flip))
        assert memory("memory", "init").code == 0  # the mirrors are where the database says
        settle(memory)
        changed = bytearray(memory.database.read_bytes())
        where = rng.randrange(len(changed))
        changed[where] ^= 1 << rng.randrange(8)
        memory.database.write_bytes(changed)
        (memory.root / "other.tsv").write_text(TSV_HEADER + "abc9999\t0.770000\t1.0\tkeep\tfrom elsewhere\n")
        names = rng.sample(sorted(COMMANDS), 2)
        for name in names:
            said = memory(*COMMANDS[name])
            assert said.code == 0 or name == "verify", (where, name, said)
        assert memory("doctor", "--repair").code == 0
        assert filled.told().items() <= memory.told().items()
        assert len(memory.told()) == len(filled.told()) + ("log" in names) + ("import" in names)
        memory.check()
        shutil.rmtree(memory.root)


def test_flipped_bits(filled: Memory, tmp_path: Path) -> None:
    """One bit that is wrong anywhere stops no command, and a repair has everything as it was."""
    flip_bits(filled, tmp_path, 10)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_many_flipped_bits(filled: Memory, tmp_path: Path) -> None:
    """The same at three hundred places."""
    flip_bits(filled, tmp_path, 300)


def test_damage_that_only_the_report_meets(filled: Memory, tmp_path: Path) -> None:
    """`log --report` records its run once, says so, and the next command mends the file."""
    memory = copied(filled, tmp_path / "lab")
    with sqlite3.connect(memory.database) as db:
        ((root,),) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = '_verdict'").fetchall()
    db.close()
    data = bytearray(memory.database.read_bytes())
    data[(root - 1) * PAGE : root * PAGE] = bytes(PAGE)
    memory.database.write_bytes(data)
    said = memory.log("once", "discard", 1.5, "--report")
    assert said.code == 1
    assert "is recorded all the same" in said.err
    assert memory("report").code == 0
    assert [text for _, _, text in memory.told().values()].count("once") == 1
    assert memory.log("after").code == 0
    memory.check()


def test_an_older_copy_of_the_database(filled: Memory, tmp_path: Path) -> None:
    """Where somebody puts an older copy back, what came since is taken from the journal, and nothing is renumbered."""
    memory = copied(filled, tmp_path / "lab")
    run = memory.log("since then").run
    for part in ("-wal", "-shm"):
        memory.database.with_name(f"lab.db{part}").unlink(missing_ok=True)
    shutil.copyfile(filled.database, memory.database)
    assert "since then" in memory("check", "--description", "since then").out
    assert memory.log("after").code == 0
    assert memory.told()[run][2] == "since then"
    memory.check()


def test_a_copied_database_without_its_lab(filled: Memory, tmp_path: Path) -> None:
    """A database beside a journal of another lab: what both tell is there."""
    memory = Memory.make(tmp_path / "lab")
    own = memory.log("our own").run
    for part in ("-wal", "-shm"):
        memory.database.with_name(f"lab.db{part}").unlink(missing_ok=True)
    shutil.copyfile(filled.database, memory.database)
    assert memory.log("after").code == 0
    assert {own, *filled.told()} <= memory.told().keys()
    memory.check()


# --- clocks and places ------------------------------------------------------------------------------------------


def test_a_clock_that_goes_backwards(memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs keep the order in which they were recorded; names and moments are what the clock said; nothing is lost."""
    told = memory.told()
    later = []
    for moment in (2_000_000_000.0, 1_000_000_000.0, 1_000_000_000.0, 0.0):
        monkeypatch.setattr(time, "time", lambda moment=moment: moment)
        said = memory.log(f"at {moment}")
        assert said.code == 0, said.err
        later.append(said.run)
    monkeypatch.undo()
    assert len(set(later)) == 4
    assert [r.run for r in memory.records()] == [*told, *later]
    assert memory("report", "--output", "report.md").code == 0
    memory.check()


def test_a_lab_in_a_lab(memory: Memory) -> None:
    """The nearest lab counts: what is logged in the inner one is no business of the outer one, and the reverse."""
    inner = Memory.make(memory.root / "inner")
    (inner.root / "nightlab.toml").write_text('[metric]\nname = "val_bpb"\n')
    before = memory.told()
    run = inner.log("inside").run
    assert memory.told() == before
    assert list(inner.told()) == [run]
    assert "inside" not in memory.log("outside").out
    assert memory.told().keys() - before.keys() != {run}
    inner.check()
    memory.check()


# --- text that means harm ---------------------------------------------------------------------------------------

ANSI = "\x1b[31mred\x1b[0m\x1b]0;title\x07\x9b2J"
HOSTILE = {
    "ansi": f"before {ANSI} after",
    "html": "<script>alert(1)</script><img src=x onerror=alert(1)>&amp;",
    "markdown": "a | b | c\n|---|---|\n`x` [l](javascript:alert(1)) # head",
    "right to left": "abc\u202egnp.exe\u2066\u2069\u200f",
    "long": "x" * 100_000,
    "long words": "word " * 20_000,
    "surrogates": "lone \ud800 and \udcff",
    "controls": "a\0b\x01\x02\x7f\x85\u2028\u2029\ufeff",
    "tabs and lines": "a\tb\rc\vd\fe\n\n\nf",
    "json": '"},{"run_id":"20260311T043000Z-abc1234"}',
    "csv": "=cmd|'/c calc'!A1,\"quoted",
}
FORBIDDEN = ("\x1b", "\x9b", "\x07", "\0", "\u202e", "\u2066", "\u2069")


def check_inert(memory: Memory, printed: str) -> None:
    """Nothing that was printed or written steers a terminal, breaks a table, or is markup; everything is bounded."""
    assert memory("report").code == 0
    assert memory("report", "--format", "html").code == 0
    html = next(memory.store.glob("reports/*.html")).read_text()
    assert "<script>alert" not in html
    assert "<img src=x" not in html
    texts = [printed, html, *(path.read_text() for path in memory.store.rglob("*.md"))]
    texts += [path.read_text() for path in (memory.lines, memory.registry, memory.table)]
    for text in texts:
        assert not [char for char in FORBIDDEN if char in text]
        assert len(text) < 400_000
    table = memory.table.read_text().splitlines()
    assert {line.count("\t") for line in table} == {4}
    for line in (memory.store / "reports" / "latest.md").read_text().splitlines():
        assert line.count(" | ") < 20
    memory.check()


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_words(tmp_path: Path, kind: str) -> None:
    """In each field of `log`, and again where `check` and the report show it: bounded and inert."""
    memory, text = Memory.make(tmp_path / "lab"), HOSTILE[kind]
    fields = ("--hypothesis", text, "--family", text, "--tags", text, "--notes", text)
    said = memory.log(text, "keep", 0.99, *fields)
    assert said.code == 0, said.err
    crash = memory("log", "--description", text, "--status", "crash", "--error", text, *fields)
    assert crash.code == 0, crash.err
    asked = memory("check", "--description", text, "--hypothesis", text, "--tags", text)
    assert asked.code == 0
    assert "run=" in asked.out
    runs = memory("runs").out + memory("status").out
    check_inert(memory, said.out + crash.out + asked.out + runs + said.err)
    assert memory.lines.stat().st_size < 200_000


def test_bytes_that_are_no_text_as_arguments(tmp_path: Path) -> None:
    """What the shell passes on that is no UTF-8 is recorded as far as it is text."""
    memory = Memory.make(tmp_path / "lab")
    words = [*map(os.fsencode, command("log", "--status", "crash", "--description")), b"caf\xe9 \xff\xfe\xed\xa0\x80"]
    done = subprocess.run(words, cwd=memory.root, env=environment(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    ((_, _, description),) = memory.told().values()
    assert description.startswith("caf")
    check_inert(memory, done.stdout.decode())


LOGS: dict[str, bytes] = {
    "no text": b"\xff\xfe\xed\xa0\x80 val_bpb: 0.5\n" + bytes(range(256)) + b"\nval_bpb: 0.91\npeak_vram_mb: 10\n",
    "zeros": bytes(100_000) + b"\nval_bpb: 0.91\npeak_vram_mb: 10\n",
    "one line": b"x" * (50 << 20) + b"\nval_bpb: 0.91\npeak_vram_mb: 10\n",
    "many lines": b"step 1 loss 2.0 \x1b[31m\n" * ((50 << 20) // 22) + b"val_bpb: 0.91\npeak_vram_mb: 10\n",
    "many names": b"".join(b"k%s: 1\n" % bytes([97 + n % 26] * (n // 26 + 1)) for n in range(2000))
    + b"val_bpb: 0.91\npeak_vram_mb: 10\n",
}


@pytest.mark.parametrize("kind", LOGS)
def test_hostile_logs(tmp_path: Path, kind: str) -> None:
    """A run's log may be anything: its numbers are found at its end, and what is kept of it is bounded."""
    memory = Memory.make(tmp_path / "lab")
    (memory.root / "run.log").write_bytes(LOGS[kind])
    said = memory("log", "--description", "x", "--status", "keep", "--log", "run.log")
    assert said.code == 0, said.err
    assert "val_bpb=0.910000" in said.out
    (memory.root / "run.log").write_bytes(LOGS[kind].partition(b"\nval_bpb")[0] + b"\nError: \x1b[2Jboom \xff\n")
    crash = memory("log", "--description", "x", "--status", "crash", "--log", "run.log")
    assert crash.code == 0, crash.err
    assert "boom" in crash.out
    assert memory.database.stat().st_size < 2 << 20
    check_inert(memory, said.out + crash.out)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        '{"val_bpb": ' + "[" * 50_000,
        "[1, 2]",
        '"x"',
        "{" * 3,
        '{"val_bpb": 0.99' + " " * (2 << 20) + "}",
    ],
)
def test_hostile_summaries(tmp_path: Path, text: str) -> None:
    """A summary that is none is refused by name, and nothing is recorded."""
    memory = Memory.make(tmp_path / "lab")
    (memory.root / "summary.json").write_text(text)
    said = memory("log", "--description", "x", "--status", "keep", "--summary", "summary.json")
    assert said.code == 1
    assert "summary.json" in said.err
    assert not (memory.root / "results").exists()


def test_a_summary_with_all_sorts(tmp_path: Path) -> None:
    """What stands beside the metric is kept as far as it can be: bounded, and never as a number that is none."""
    memory = Memory.make(tmp_path / "lab")
    extra = ", ".join(f'"k{n}": "{"y" * 1000}"' for n in range(400))
    deep = '{"a":' * 200 + "1" + "}" * 200
    odd = r'"n": NaN, "i": -Infinity, "b": 1e999, "\u001b[31m": 1, "\ud800": "\udfff"'
    (memory.root / "summary.json").write_text(f'{{"val_bpb": 0.99, "peak_vram_mb": 1, {odd}, "d": {deep}, {extra}}}')
    said = memory("log", "--description", "x", "--status", "keep", "--summary", "summary.json")
    assert said.code == 0, said.err
    row = json.loads(memory.lines.read_text())
    assert row["metrics"]["n"] is None
    assert memory.lines.stat().st_size < 200_000
    check_inert(memory, said.out)


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_rows(tmp_path: Path, kind: str) -> None:
    """In rows that somebody writes into the mirrors: taken in or set aside, and shown inert."""
    memory, text = Memory.make(tmp_path / "lab"), HOSTILE[kind]
    assert memory("memory", "init").code == 0
    with memory.table.open("a", errors="surrogatepass") as file:
        file.write(f"abc1234\t0.985\t1.0\tkeep\t{text}\n{text}\t0.9\t{text}\tdiscard\t{text}\n")
    row = {"run_id": "20260311T043000Z-abc1234", "timestamp_utc": "2026-03-11T04:30:00Z", "commit": text,
           "status": "keep",
           "description": text, "hypothesis": text, "family": text, "tags": [text], "notes": text, "branch": text,
           "metrics": {"val_bpb": 0.98, text[:50]: text}, "error": {"summary": text, "tail": [text], "source": text},
           "decision_packet": {"summary": text, "next_action": text, "priority": text}}  # fmt: skip
    memory.lines.write_text(json.dumps(row) + "\n" + json.dumps({**row, "run_id": text}) + "\n")
    asked = memory("check", "--description", text)
    said = memory.log("x")
    assert said.code == 0, said.err
    assert len(memory.told()) >= 3
    shown = asked.out + asked.err + said.out + said.err + memory("runs").out + memory("status").out
    assert not [char for char in FORBIDDEN if char in shown]
    for form in ("md", "html"):
        assert memory("report", "--format", form, "--output", f"report.{form}").code == 0
        report = (memory.root / f"report.{form}").read_text()
        assert not [char for char in FORBIDDEN if char in report]
        assert form == "md" or "<script>alert" not in report
    with Ledger.read(memory.database) as ledger:
        assert ledger.is_sound()
    again = memory.log("y")
    assert again.code == 0
    assert "note:" not in again.err


# --- numbers that are none --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "row",
    ["nan", "inf", "-inf", "0.99x", "true", "", "0", "-1", "1e-9", "1e12", "1_0", "\u0661", "0x1", "1e400"],
)
@pytest.mark.parametrize("status", ["keep", "discard"])
def test_rows_with_numbers_that_are_none(tmp_path: Path, row: str, status: str) -> None:
    """In a row of the table such a value is no metric: it never leads, and it never comes out again as one."""
    memory = Memory.make(tmp_path / "lab")
    memory.log("ours", "keep", 0.99)
    with memory.table.open("a") as file:
        file.write(f"abc1234\t{row}\t1.0\t{status}\tfrom elsewhere\n")
    assert memory.log("after", "discard", 1.0).code == 0
    assert {record.value for record in memory.records()} <= {0.99, 1.0, None}
    registry = json.loads(memory.registry.read_text())
    assert registry["champion"]["description"] == "ours"


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"0.99"', "true", "0", "-1", "null", "[0.9]", "{}", "1e400"])
def test_lines_with_numbers_that_are_none(tmp_path: Path, value: str) -> None:
    """The same in a line of experiments.jsonl."""
    memory = Memory.make(tmp_path / "lab")
    memory.log("ours", "keep", 0.995)
    with memory.lines.open("a") as file:
        file.write(
            '{"run_id": "20260311T043000Z-abc1234", "timestamp_utc": "2026-03-11T04:30:00Z", "commit": "abc1234",'
            f' "status": "keep", "description": "elsewhere", "metrics": {{"val_bpb": {value}}}}}\n'
        )
    assert memory.log("after", "discard", 1.0).code == 0
    found = {record.value for record in memory.records()}
    assert found <= {0.995, 1.0, None} | ({0.99} if value == '"0.99"' else set())
    assert "NaN" not in memory.registry.read_text()


def test_repositories_without_the_lab(tmp_path: Path) -> None:
    """The lab of a subdirectory writes its mirrors there, and the outer repository stays clean."""
    repo = Repo.make(tmp_path / "outer", {"a/train.py": "LR = 1\n", "a/nightlab.toml": '[metric]\nname = "val_bpb"\n'})
    memory = Memory(repo.root / "a")
    assert memory.log("x").code == 0
    memory.check()
    (memory.root / "summary.json").unlink()
    assert repo.git("status", "--porcelain") == ""
