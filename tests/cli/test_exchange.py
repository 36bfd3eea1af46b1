"""`import` and `export`: what they print, their exit codes, and that what goes out comes in again as it was."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from pathlib import Path

import pytest

from nightlab.cli.exchange import FORMATS
from nightlab.ledger import Ledger
from nightlab.ledger.records import Record
from tests.builders import Repo
from tests.cli.shell import Shell
from tests.e2e.labs import command, environment

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
TABLE = (
    HEADER
    + "aaaaaaa\t0.997900\t44.0\tkeep\tbaseline\n"
    + "bbbbbbb\t0.993200\t44.2\tkeep\tincrease LR to 0.04\n"
    + "ccccccc\t1.005000\t44.0\tdiscard\tswitch to GeLU\n"
    + "ddddddd\t0.000000\t0.0\tcrash\tdouble width\n"
)


@pytest.fixture
def lab(tmp_path: Path) -> Shell:
    return Shell.make(tmp_path / "lab")


def write(path: Path, text: str | bytes) -> str:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def records(lab: Shell) -> list[Record]:
    with Ledger.read(lab.database) as ledger:
        return list(ledger.records.all())


# --- import -----------------------------------------------------------------------------------------------------


def test_import_says_what_came_in_and_what_it_tells(lab: Shell, tmp_path: Path) -> None:
    """A line a file, then the lessons; the second time all is known and told again."""
    path = write(tmp_path / "results.tsv", TABLE)
    said = lab.at_lab("import", path)
    assert said.code == 0
    assert said.lines[:4] == [
        f"{path}: 4 new rows taken in, 0 known already, 0 refused",
        "",
        f"What {path} already tells you (val_bpb)",
        "- 4 rows: 2 kept, 1 discarded, 1 crashed.",
    ]
    assert said.err == ""
    again = lab.at_lab("import", path)
    assert again.lines[0] == f"{path}: 0 new rows taken in, 4 known already, 0 refused"
    assert again.lines[1:] == said.lines[1:]


def test_import_as_json(lab: Shell, tmp_path: Path) -> None:
    """What was taken in of each file, refused lines with their reasons, and the lessons of each."""
    one = write(tmp_path / "a.tsv", TABLE + "one cell\n")
    other = write(tmp_path / "b.tsv", TABLE.replace("val_bpb", "accuracy"))
    found = lab.at_lab("import", one, other, "--json").json
    assert isinstance(found, dict)
    assert found["taken"] == [
        {
            "name": one, "rows": 4, "new": 4, "known": 0, "metric": "val_bpb", "unranked": {},
            "refused": [{"line": 6, "text": "one cell", "why": found["taken"][0]["refused"][0]["why"]}],
        },
        {"name": other, "rows": 4, "new": 0, "known": 4, "metric": "accuracy", "unranked": {"accuracy": 3},
         "refused": []},
    ]  # fmt: skip
    assert [(lesson["name"], lesson["metric"], lesson["direction"]) for lesson in found["lessons"]] == [
        (one, "val_bpb", "minimize"), (other, "accuracy", "maximize")
    ]  # fmt: skip


def test_import_says_that_another_metric_is_not_ranked(lab: Shell, tmp_path: Path) -> None:
    """On stderr, by its name; its lessons are told under it, and better is what is better of it."""
    said = lab.at_lab("import", write(tmp_path / "a.tsv", TABLE.replace("val_bpb", "val_accuracy")))
    assert "a.tsv: values of val_accuracy are remembered, not ranked: 3 of 4 rows" in said.err
    assert "- Best kept val_accuracy (higher is better): " in said.out


def test_import_counts_values_by_metric(lab: Shell, tmp_path: Path) -> None:
    """Where some values of a file can be ranked and some cannot, each metric is named with its count."""
    rows = [{"sha": f"abc123{n}", name: 0.9, "status": "keep", "description": f"{name} {n}"}
            for n, name in enumerate(["val_bpb", "val_bpb", "val_loss", "accuracy", "val_loss"])]  # fmt: skip
    said = lab.at_lab("import", write(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows)))
    assert [line.split(": ", 1)[1] for line in said.err.splitlines()] == [
        "values of val_loss are remembered, not ranked: 2 of 5 rows",
        "values of accuracy are remembered, not ranked: 1 of 5 rows",
    ]


def test_each_history_is_told_by_itself(lab: Shell, tmp_path: Path) -> None:
    """A block a file under its name, rows numbered as they stand there, lists set in."""
    names = [write(tmp_path / name, TABLE.replace("aaaaaaa", "1111111")) for name in ("a.tsv", "b.tsv")]
    said = lab.at_lab("import", *names)
    blocks = said.out.split("\n\n")[1:]
    assert [block.splitlines()[0] for block in blocks] == [f"What {name} already tells you (val_bpb)" for name in names]
    for block in blocks:
        assert "- 4 rows: " in block
        assert "(row 2, bbbbbbb)" in block
        assert "\n- What to do next:\n  1. " in block
        assert "-  " not in block


def test_import_says_where_values_may_come_from_elsewhere(lab: Shell, tmp_path: Path) -> None:
    """Better than all on record, or files that begin far apart: a note names the file; with --elsewhere none does."""
    lab.log("ours", "keep", 0.999)
    worse = HEADER + "1111111\t1.0500\t1.0\tkeep\tbaseline\n"
    assert "--elsewhere" not in lab.at_lab("import", write(tmp_path / "worse.tsv", worse)).err
    path = write(tmp_path / "a.tsv", TABLE)
    first = lab.at_lab("import", path).err
    assert f"note: {path}: 0.9932 is better than 0.999, the best that was on record: if it was made on" in first
    assert "note" not in lab.at_lab("import", path).err
    far = write(tmp_path / "far.tsv", HEADER + "2222222\t1.2000\t1.0\tkeep\tbaseline\n")
    said = lab.at_lab("import", path, far)
    assert f"note: {far} begins at 1.2, far from 0.9979 of {path}: if it was made on" in said.err
    best = write(tmp_path / "best.tsv", HEADER + "3333333\t0.5\t1.0\tkeep\tbaseline\n")
    assert "note" not in lab.at_lab("import", "--elsewhere", best, far).err


def test_files_that_begin_farther_apart_than_the_noise(lab: Shell, tmp_path: Path) -> None:
    """Where a file tells the noise, five times that counts instead of a tenth."""
    seeds = "".join(f"aaaaaaa\t{value}\t1.0\tdiscard\tbaseline\n" for value in (1.0, 1.001, 0.999))
    near, far = (
        write(tmp_path / f"{value}.tsv", f"{HEADER}bbbbbbb\t{value}\t1.0\tkeep\tbaseline\n") for value in (1.004, 1.02)
    )
    said = lab.at_lab("import", write(tmp_path / "seeds.tsv", HEADER + seeds), near, far)
    assert f"{far} begins at 1.02, far from 1 of " in said.err
    assert near not in said.err


def test_elsewhere_can_be_said_later(lab: Shell, tmp_path: Path) -> None:
    """Values that were ranked are ranked no longer, once; they stay remembered, and the champion is another."""
    path = write(tmp_path / "a.tsv", TABLE)
    lab.log("ours", "keep", 5.0)
    lab.at_lab("import", path)
    taken_back = "values that were ranked before are ranked no longer"
    assert f"3 {taken_back}" in lab.at_lab("import", "--elsewhere", path).err
    assert lab.at_lab("import", "--elsewhere", path).err == ""
    assert json.loads(
        lab.at_lab("query", "--json", "SELECT SUM(ranked) AS n FROM records WHERE value IS NOT NULL").out
    ) == [{"n": 1}]
    assert "ours" in lab.at_lab("show", "champion").out
    assert lab.at_lab("verify").code == 0
    other = write(tmp_path / "b.tsv", HEADER + "eeeeeee\t0.5\t1.0\tkeep\tother\n")
    for _ in range(2):
        assert lab.at_lab("import", "--elsewhere", other).err == ""


def test_rows_without_a_usable_number_are_counted(lab: Shell, tmp_path: Path) -> None:
    """`import`, `init` and `log` say how many count as crashed for that."""
    bad = HEADER + "aaaaaaa\t0.99\t1.0\tkeep\tfine\neeeeeee\tNaN\t1.0\tkeep\tnot a number\n"
    said = lab.at_lab("import", write(tmp_path / "a.tsv", bad))
    assert "a.tsv: 1 of the new rows had no usable number and count as crashed" in said.err
    table = lab.root / "results.tsv"
    for number in range(2):
        table.write_text((table.read_text() if number else "") + bad.replace("a number", f"number {number}"))
        said = lab("memory", "init", "--lab", str(lab.root)) if number else lab.log("ours", "keep", 0.99)
        assert "note: 1 of them had no usable number and count as crashed" in said.err


def test_import_shows_some_refused_lines(lab: Shell, tmp_path: Path) -> None:
    """Three with their reasons, inert, and how many more there are."""
    bad = "".join(f"\x1b[31mline{place}\n" for place in range(5))
    said = lab.at_lab("import", write(tmp_path / "a.tsv", TABLE + bad))
    assert said.code == 0
    assert said.err.count("refused: line ") == 3
    assert "refused: and 2 more; --json lists them all" in said.err
    assert "\x1b" not in said.err


@pytest.mark.parametrize(("data", "code"), [(b"", 0), (HEADER.encode(), 0), (b"# Notes\n\nwords\nmore\n", 1)])
def test_import_of_a_file_without_rows(lab: Shell, tmp_path: Path, data: bytes, code: int) -> None:
    """An empty history is no failure; a file of something else is."""
    said = lab.at_lab("import", write(tmp_path / "a", data))
    assert (said.code, "holds no row" in said.err) == (code, True)


def test_import_errors_name_what_to_do(lab: Shell, tmp_path: Path) -> None:
    """No such file, a directory, no lab: one sentence each, exit 1, nothing recorded."""
    for place, words in (("nowhere", "neither a file nor a branch"), (str(tmp_path), "is a directory")):
        said = lab.at_lab("import", place)
        assert (said.code, words in said.err, "hint: " in said.err) == (1, True, True)
    assert lab("import", "--lab", str(tmp_path), "x").code == 1
    assert lab.at_lab("import").code == 2
    assert not lab.database.exists()


def test_import_hides_the_results_from_git(lab: Shell, tmp_path: Path) -> None:
    """Nothing new shows up as untracked."""
    lab.at_lab("import", write(tmp_path / "a.tsv", TABLE))
    status = subprocess.run(["git", "status", "--porcelain"], cwd=lab.root, capture_output=True, text=True, check=True)
    assert status.stdout == ""


def test_init_adopts_what_older_commands_left(lab: Shell) -> None:
    """Both spellings print the four lines; rows of a results.tsv are on record, with their commits' parents."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=lab.root, capture_output=True, text=True, check=True)
    (lab.root / "results.tsv").write_text(HEADER + f"{commit.stdout[:7]}\t0.9979\t44.0\tkeep\tbaseline\n")
    store = lab.root / "results" / "memorylab"
    four = [
        f"Initialized MemoryLab in {store}",
        f"Ledger: {store / 'experiments.jsonl'}",
        f"Registry: {store / 'champion_challenger.json'}",
        f"Results TSV: {lab.root / 'results.tsv'}",
    ]
    here = os.getcwd()
    os.chdir(lab.root)
    try:
        said = lab("init")
    finally:
        os.chdir(here)
    assert (said.code, said.lines) == (0, four)
    assert "1 row(s) that others wrote are on record now too" in said.err
    (record,) = records(lab)
    assert (record.value, record.source_hash[:4]) == (0.9979, "nl1:")
    door = Path(__file__).parents[2] / "memorylab.py"
    done = subprocess.run(
        [sys.executable, str(door), "init"], cwd=lab.root, env=environment(), capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == four


# --- export -----------------------------------------------------------------------------------------------------

HOSTILE = "tab\there  =cmd|' /C calc'!A1 \"quotes\", comma, <b>é 漢 🌙 \u202ebidi"


def a_history(lab: Shell, tmp_path: Path) -> None:
    """Runs of all kinds: logged, imported, unranked, crashed, with hostile words."""
    lab.log("baseline", "keep", 0.9979, "--hypothesis", "none, really", "--family", "base", "--tags", "a,b")
    lab.log(HOSTILE, "discard", 1.0012345678)
    lab.log("too wide", "crash", None, "--error", 'CUDA "out of memory", 5" disk')
    lab.at_lab("import", write(tmp_path / "a.tsv", TABLE + 'eeeeeee\tnan\t1.0\tdiscard\t"half a quote\n'))
    lab.at_lab("import", "--elsewhere", write(tmp_path / "b.tsv", HEADER + "\t0.5\t\tkeep\twithout a commit\n"))


def told(found: Iterable[Record], form: str) -> list[tuple[object, ...]]:
    """What a form tells of records: a results.tsv tells less."""
    if form == "tsv":
        return [
            (r.commit, r.status, None if r.value is None else round(r.value, 6), r.description)
            for r in found
            if r.ranked or r.value is None
        ]
    return [
        (r.run, r.stamp, r.commit, r.parent, r.branch, r.status, r.value, r.memory_mb, r.ranked, r.crash, r.description,
         r.hypothesis, r.family, r.tags)
        for r in found
    ]  # fmt: skip


@pytest.mark.parametrize("form", FORMATS)
def test_what_was_exported_comes_in_as_it_was(lab: Shell, tmp_path: Path, form: str) -> None:
    """Into an empty lab the same records; into its own lab nothing."""
    a_history(lab, tmp_path)
    target = tmp_path / f"out.{form}"
    said = lab.at_lab("export", "--format", form, "--output", str(target))
    assert (said.code, said.out) == (0, f"Wrote {target}\n")
    other = Shell.make(tmp_path / "other")
    assert other.at_lab("import", str(target)).code == 0
    assert told(records(other), form) == told(records(lab), form)
    assert len(told(records(lab), form)) == (8 if form == "tsv" else 9)
    assert ": 0 new rows taken in" in lab.at_lab("import", str(target)).out


@pytest.mark.parametrize("form", FORMATS)
def test_a_commit_that_nobody_measured_comes_in_once(lab: Shell, tmp_path: Path, form: str) -> None:
    """What a branch told without a value is known in every form of the lab's own export, and a keep in another lab."""
    repo = Repo(lab.root)
    repo.git("checkout", "--quiet", "-b", "autoresearch/mar5")
    repo.commit({"train.py": "LR = 0.2\n"}, "increase LR")
    said = lab.at_lab("import", "autoresearch/mar5")
    assert "- 2 rows: 0 kept, 0 discarded, 0 crashed, 2 with no value told." in said.lines
    target = tmp_path / f"out.{form}"
    lab.at_lab("export", "--format", form, "--output", str(target))
    assert ": 0 new rows taken in, 2 known already" in lab.at_lab("import", str(target)).out
    other = Shell.make(tmp_path / "other")
    other.at_lab("import", str(target))
    assert [r.status for r in records(other)] == ["crash" if form == "tsv" else "keep"] * 2  # 0.000000 may be anything


def test_export_of_a_lab_with_another_metric(tmp_path: Path) -> None:
    """The metric goes by its own name, so that a lab of the same metric ranks it and another one does not."""
    toml = '[metric]\nname = "loss"\n'
    lab = Shell.make(tmp_path / "lab", toml)
    lab.at_lab("import", write(tmp_path / "a.tsv", "commit\tloss\tstatus\tdescription\naaaaaaa\t1234.5\tkeep\tx\n"))
    for form in FORMATS:
        target = tmp_path / f"out.{form}"
        lab.at_lab("export", "--format", form, "--output", str(target))
        same, other = Shell.make(tmp_path / f"same-{form}", toml), Shell.make(tmp_path / f"other-{form}")
        for one, ranked in ((same, True), (other, False)):
            one.at_lab("import", str(target))
            assert [(r.value, r.ranked) for r in records(one)] == [(1234.5, ranked)]


def test_export_prints_each_form(lab: Shell, tmp_path: Path) -> None:
    """results.tsv by default; JSON lines with the older fields; CSV with all columns."""
    a_history(lab, tmp_path)
    table = lab.at_lab("export")
    assert table.lines[0] == HEADER.rstrip("\n")
    assert all(line.count("\t") == 4 for line in table.lines)
    assert "1 records of another metric or from elsewhere" in table.err
    rows = [json.loads(line) for line in lab.at_lab("export", "--format", "jsonl").lines]
    assert len(rows) == 9
    assert {"run_id", "timestamp_utc", "metrics", "lineage_root"} <= rows[0].keys()
    cells = list(csv.DictReader(lab.at_lab("export", "--format", "csv").lines))
    assert [row["ranked"] for row in cells] == ["true"] * 8 + ["false"]
    assert cells[0]["tags"] == "a,b"
    assert float(cells[1]["val_bpb"]) == 1.0012345678


def test_export_of_nothing(lab: Shell) -> None:
    """An empty lab has a header and no more; nothing is made in it."""
    assert lab.at_lab("export").out == HEADER
    assert lab.at_lab("export", "--format", "jsonl").out == ""
    assert lab.at_lab("export", "--format", "csv").out.count("\n") == 1
    assert not (lab.root / "results").exists()


def test_export_replaces_a_file_whole(lab: Shell, tmp_path: Path) -> None:
    """Directories are made, a link is written through, nothing else is left lying about."""
    lab.log("baseline", "keep", 0.9979)
    target = tmp_path / "deep" / "er" / "out.tsv"
    link = tmp_path / "link.tsv"
    link.symlink_to(target)
    assert lab.at_lab("export", "--output", str(link)).code == 0
    assert link.is_symlink()
    assert target.read_text().endswith("baseline\n")
    assert [path.name for path in target.parent.iterdir()] == ["out.tsv"]


def test_export_into_a_pipe(lab: Shell, tmp_path: Path) -> None:
    """What is no file is written to, and stays what it is."""
    lab.log("baseline", "keep", 0.9979)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    got: list[str] = []
    reader = threading.Thread(target=lambda: got.append(pipe.read_text()))
    reader.start()
    assert lab.at_lab("export", "--output", str(pipe)).code == 0
    reader.join(10)
    assert got[0].startswith(HEADER)
    assert pipe.is_fifo()


def test_export_refuses_what_would_do_harm(lab: Shell, tmp_path: Path) -> None:
    """The lab's own files, and a directory: a usage error, and nothing is changed."""
    lab.log("baseline", "keep", 0.9979)
    own = ("results.tsv", "results/memorylab/experiments.jsonl", "results/nightlab/lab.db")
    before = [(lab.root / name).read_bytes() for name in own]
    for name in own:
        said = lab.at_lab("export", "--output", str(lab.root / name))
        assert (said.code, "the lab's own" in said.err) == (2, True)
    assert [(lab.root / name).read_bytes() for name in own] == before
    assert lab.at_lab("export", "--output", str(tmp_path)).code == 2
    said = lab.at_lab("export", "--output", str(lab.root / "train.py" / "x"))
    assert (said.code, "cannot be written" in said.err) == (1, True)
    assert lab.at_lab("export", "--format", "xlsx").code == 2


def test_export_to_a_reader_who_goes(lab: Shell, tmp_path: Path) -> None:
    """`export | head -1` is no error."""
    rows = "".join(f"{place:07x}\t1.0\t1.0\tdiscard\t{'x' * 300}\n" for place in range(2000))
    lab.at_lab("import", write(tmp_path / "a.tsv", HEADER + rows))
    words = command("export", "--lab", str(lab.root))
    with subprocess.Popen(words, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as export:
        assert export.stdout is not None
        assert export.stderr is not None
        assert export.stdout.readline().decode() == HEADER
        export.stdout.close()
        assert export.stderr.read() == b""
        assert export.wait(20) == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, a disk that is always full")
def test_export_to_a_full_disk(lab: Shell) -> None:
    """It says so and fails."""
    said = lab.at_lab("export", "--output", "/dev/full")
    assert (said.code, "cannot be written: No space left" in said.err) == (1, True)
