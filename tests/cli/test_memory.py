"""The older MemoryLab commands over our ledger: lines, files, fields, exit codes; and what must never be recorded."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from nightlab.cli.main import main
from nightlab.cli.memory import tags_of
from nightlab.ledger import Ledger
from nightlab.ledger.tables import lineage_roots
from nightlab.types import Purpose
from tests.cli.shell import Said

REPOSITORY = Path(__file__).resolve().parents[2]
RUN_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{7}(-\d+)?")
OLD_PYTHON = Path.home() / ".pyenv/versions/3.10.13/bin/python"


@dataclass
class Place:
    """A lab in a directory of its own, used through the command line."""

    root: Path
    capture: pytest.CaptureFixture[str]

    @property
    def store(self) -> Path:
        return self.root / "results" / "memorylab"

    def __call__(self, *words: str) -> Said:
        self.capture.readouterr()
        try:
            code = main(["memory", *words])
        except SystemExit as exc:
            code = exc.code if isinstance(exc.code, int) else 1
        said = self.capture.readouterr()
        return Said(code, said.out, said.err)

    def log(self, description: str, status: str, value: object = None, *words: str, memory: object = 2048.0) -> Said:
        """Log a run whose summary holds `value`."""
        summary = self.root / "summary.json"
        summary.write_text(json.dumps({"val_bpb": value, "peak_vram_mb": memory}))
        given = ["--summary", str(summary)] if status != "crash" else []
        return self("log", "--description", description, "--status", status, *given, *words)

    def rows(self) -> list[dict[str, object]]:
        text = (self.store / "experiments.jsonl").read_text()
        return [json.loads(line) for line in text.splitlines()]

    def registry(self) -> dict[str, object]:
        found: dict[str, object] = json.loads((self.store / "champion_challenger.json").read_text())
        return found

    def commit(self, text: str) -> str:
        """Commit `text` as train.py; returns the short id."""
        (self.root / "train.py").write_text(text)
        return commit_all(self.root)


def git(root: Path, *words: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *words], cwd=root, check=True, capture_output=True, text=True).stdout


def commit_all(root: Path) -> str:
    git(root, "add", "-A")
    git(root, "commit", "-qm", "change")
    return git(root, "rev-parse", "--short=7", "HEAD").strip()


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Place:
    root = tmp_path / "lab"
    root.mkdir()
    git(root, "init", "-q", "-b", "main")
    (root / "train.py").write_text("LR = 1\n")
    commit_all(root)
    monkeypatch.chdir(root)
    return Place(root, capsys)


def field(row: object, *path: str) -> object:
    """A value deep in JSON."""
    for key in path:
        assert isinstance(row, dict)
        row = row[key]
    return row


# --- init -------------------------------------------------------------------------------------------------------


def test_init_says_four_absolute_paths_and_keeps_what_exists(place: Place) -> None:
    """Four lines; a second `init` truncates nothing; the files are hidden from git."""
    said = place("init")
    heads = ["Initialized MemoryLab in ", "Ledger: ", "Registry: ", "Results TSV: "]
    assert said.code == 0
    assert [line[: len(head)] for line, head in zip(said.lines, heads, strict=True)] == heads
    assert all(Path(line[len(head) :]).exists() for line, head in zip(said.lines, heads, strict=True))
    assert place.registry() == {
        "updated_at": None, "num_experiments": 0, "status_counts": {"crash": 0, "discard": 0, "keep": 0},
        "champion": None, "challengers": [], "best_lineages": [], "failure_clusters": [],
    }  # fmt: skip
    place.log("first", "keep", 0.99)
    before = {path: path.read_bytes() for path in place.store.glob("*.json*")}
    assert place("init").code == 0
    assert before == {path: path.read_bytes() for path in place.store.glob("*.json*")}
    (place.root / "summary.json").unlink()
    assert git(place.root, "status", "--porcelain") == ""


@pytest.mark.parametrize(
    "words", [(), ("check",), ("log", "--description", "x"), ("check", "--mode", "odd"), ("frob",)]
)
def test_usage_errors_exit_2(place: Place, words: tuple[str, ...]) -> None:
    """No subcommand, a missing required flag or an unknown word is a usage error."""
    assert place(*words).code == 2


# --- check ------------------------------------------------------------------------------------------------------


def test_check_creates_nothing(place: Place) -> None:
    """`check` in a fresh repository answers and leaves no file behind."""
    said = place("check", "--description", "depth 10")
    assert said.lines[0].startswith("Novelty guard [exploit]: novel -> caution (")
    assert said.lines[0].endswith(
        "; threshold=0.62) (duplicate_run=0, repeat_failure=0, incremental_followup=0, known_success=0)."
    )
    assert said.lines[1].startswith("- No close prior runs")
    assert sorted(path.name for path in place.root.iterdir()) == [".git", "train.py"]


def test_case_1_repeat_of_a_failure_is_blocked(place: Place) -> None:
    """Other words for a discarded idea: repeat_failure, listed with its record, exit 2 only when asked to fail."""
    place.log("raise muon step size and reduce cooldown", "discard", 1.01,
              "--tags", "optimizer,schedule", "--family", "optimizer-sweep")  # fmt: skip
    words = ("check", "--description", "increase muon learning rate and shorten warmdown", "--threshold", "0.5")
    said = place(*words)
    assert said.code == 0
    assert "Novelty guard [exploit]: repeat_failure -> block (" in said.lines[0]
    (row,) = place.rows()
    assert re.fullmatch(
        rf"- category=repeat_failure score=\d\.\d{{3}} run={row['run_id']} commit={row['commit']} status=discard "
        r"val_bpb=1\.010000 desc=raise muon step size and reduce cooldown",
        said.lines[1],
    )
    assert place(*words, "--fail-on-similar").code == 2


def test_case_2_followup_of_a_keep_depends_on_the_mode(place: Place) -> None:
    """Exploit allows building on a keep of the family, explore does not."""
    place.log("increase matrix lr", "keep", 0.99, "--family", "optimizer-sweep", "--tags", "optimizer,lr")
    words = ("check", "--description", "raise matrix learning rate and reduce cooldown", "--family", "optimizer-sweep",
             "--tags", "optimizer,schedule", "--threshold", "0.5", "--fail-on-similar")  # fmt: skip
    said = place(*words)
    assert said.code == 0
    assert "incremental_followup -> allow" in said.lines[0]
    assert place(*words, "--mode", "explore").code == 2


def test_case_3_nothing_to_replicate(place: Place) -> None:
    """In an empty memory there is nothing to replicate: blocked."""
    assert place("check", "--description", "depth 10", "--mode", "replicate", "--fail-on-similar").code == 2


def test_check_json(place: Place) -> None:
    """One object with the fields of the contract, and as many matches as asked for."""
    place.log("depth 10", "keep", 0.99)
    place.log("DEPTH = 10", "keep", 0.98)
    found = json.loads(place("check", "--description", "depth 10", "--json", "--limit", "1").out)
    assert set(found) == {"classification", "decision", "rationale", "mode", "threshold", "counts", "top_matches"}
    assert found["counts"] == {
        "duplicate_run": 1, "repeat_failure": 0, "incremental_followup": 0, "known_success": 1
    }  # fmt: skip
    (match,) = found["top_matches"]
    assert set(match) == {
        "run_id", "commit", "category", "score", "relation", "same_idea", "status", "val_bpb", "description", "why"
    }  # fmt: skip
    assert (match["relation"], match["same_idea"]) == ("same", True)


def test_check_sees_only_reading(place: Place) -> None:
    """The database is unchanged by `check`, and a hypothesis matters only where it is given."""
    place.log("depth 10", "keep", 0.99, "--hypothesis", "deeper is better")
    database = place.root / "results" / "nightlab" / "lab.db"
    before = database.read_bytes()
    assert "duplicate_run ->" in place("check", "--description", "depth 10").lines[0]
    assert "known_success ->" in place("check", "--description", "depth 10", "--hypothesis", "other").lines[0]
    assert database.read_bytes() == before


def test_check_loads_nothing_heavy(place: Place) -> None:
    """A door is a process start: `check` loads neither numpy nor libcst, matplotlib, scipy or sqlite's rivals."""
    code = (
        "import sys; from nightlab.cli.main import main; main(['memory', 'check', '--description', 'depth 10']);"
        "print(sorted({m.partition('.')[0] for m in sys.modules}"
        " & {'numpy', 'libcst', 'matplotlib', 'scipy', 'sklearn', 'optuna', 'torch', 'rich', 'psutil'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.splitlines()[-1] == "[]"


# --- log --------------------------------------------------------------------------------------------------------


def test_log_prints_its_lines_and_writes_every_file(place: Place) -> None:
    """The session's `log`: report lines first, then run, packet and champion; all files and fields are there."""
    commit = place.commit("LR = 2\n")
    (place.root / "run.log").write_text("noise\nnum_steps:        953\n")
    said = place.log("increase matrix LR and shorten warmdown", "keep", 0.991234, "--family", "optimizer-sweep",
                     "--hypothesis", "more progress", "--tags", "optimizer, LR,optimizer", "--log", "run.log",
                     "--report", memory=45060.2)  # fmt: skip
    assert said.code == 0, said.err
    latest, stamped, logged, packet, champion = said.lines
    assert latest == f"Wrote report to {place.store}/reports/latest.md"
    assert re.fullmatch(rf"Wrote report to {re.escape(str(place.store))}/reports/\d{{8}}T\d{{6}}Z\.md", stamped)
    (row,) = place.rows()
    run = row["run_id"]
    assert RUN_ID.fullmatch(str(run))
    assert logged == f"Logged run={run} commit={commit} status=keep val_bpb=0.991234 mem_gb=44.0"
    assert packet.startswith("Decision packet: action=promote priority=high summary=")
    assert champion == f"Champion: {run} {commit} 0.991234 increase matrix LR and shorten warmdown"
    assert "provisional" in said.err
    assert set(row) == {
        "run_id", "timestamp_utc", "branch", "commit", "parent_commit", "family", "status", "description", "hypothesis",
        "tags", "notes", "metrics", "error", "artifacts", "novelty_guard", "decision_packet", "lineage_root", "dirty",
    }  # fmt: skip
    assert row["tags"] == ["optimizer", "lr"]
    assert row["branch"] == "main"
    assert row["lineage_root"] == row["parent_commit"]
    directory = place.store / "runs" / str(run)
    assert {path.name for path in directory.iterdir()} == {
        "run.log", "summary.json", "train.patch", "decision_packet.json", "decision_packet.md"
    }  # fmt: skip
    assert "+LR = 2" in (directory / "train.patch").read_text()
    assert json.loads((directory / "decision_packet.json").read_text()) == row["decision_packet"]
    artifacts = row["artifacts"]
    assert isinstance(artifacts, dict)
    assert set(artifacts) == {
        "source_log_path", "source_summary_path", "run_dir", "archived_log_path", "archived_summary_path",
        "train_diff_path", "decision_packet_json_path", "decision_packet_md_path",
    }  # fmt: skip
    assert all((place.root / path).exists() for path in artifacts.values())
    tsv = (place.root / "results.tsv").read_text().splitlines()
    assert tsv[0] == "commit\tval_bpb\tmemory_gb\tstatus\tdescription"
    assert tsv[1] == f"{commit}\t0.991234\t44.0\tkeep\tincrease matrix LR and shorten warmdown"


def test_case_4_out_of_memory_crash(place: Place) -> None:
    """A crash has no metric, says what its log's last line says, and asks for a fix before another try."""
    (place.root / "run.log").write_bytes(
        b"\xff\xfe val\nval_bpb: 0.5\nTraceback (most recent call last):\n\nRuntimeError: CUDA out of memory\n"
    )
    said = place.log("depth 64", "crash", None, "--log", "run.log", "--hypothesis", "deeper is better")
    (row,) = place.rows()
    assert said.code == 0
    assert said.lines[1] == "Crash summary: RuntimeError: CUDA out of memory"
    assert said.lines[2].startswith("Decision packet: action=fix_and_retry priority=high summary=")
    assert not any(line.startswith("Champion:") for line in said.lines)
    assert row["metrics"] == {"val_bpb": None, "peak_vram_mb": None}
    assert field(row, "decision_packet", "hypothesis_status") == "inconclusive"
    assert field(row, "error", "source") == "run.log"
    assert (place.root / "results.tsv").read_text().endswith(f"{row['commit']}\t0.000000\t0.0\tcrash\tdepth 64\n")


@pytest.mark.parametrize(
    ("words", "source", "summary"),
    [
        (("--error", "lost\n the  node"), "cli", "lost the node"),
        ((), "missing-log", None),
        (("--log", "absent.log"), "missing-log", None),
        (("--log", "empty.log"), "run.log", None),
    ],
)
def test_a_crash_says_where_its_reason_comes_from(
    place: Place, words: tuple[str, ...], source: str, summary: str | None
) -> None:
    """The author's word, else the log's; without either a sentence that says so."""
    (place.root / "empty.log").write_text("\n")
    assert place.log("x", "crash", None, *words).code == 0
    error = place.rows()[0]["error"]
    assert field(error, "source") == source
    assert field(error, "summary")
    assert summary is None or field(error, "summary") == summary


def test_case_5_novel_keep_behind_the_champion(place: Place) -> None:
    """A kept, novel run that is no new champion wants another seed."""
    place.log("depth 10", "keep", 0.991)
    place.commit("LR = 3\n")
    said = place.log("cosine warmdown", "keep", 0.994)
    assert "action=replicate priority=medium" in said.out
    comparison = field(place.rows()[1], "decision_packet", "comparison")
    assert field(comparison, "delta_to_current_champion") == 0.003
    assert field(comparison, "delta_to_prior_champion") == 0.003
    assert field(comparison, "current_champion_val_bpb") == 0.991
    assert field(comparison, "is_new_champion") is False


def test_case_6_champion_and_challengers_are_runs(place: Place) -> None:
    """Three runs on two commits: the second run of the champion's commit is the first challenger."""
    for value, text in ((0.99, None), (0.992, None), (0.995, "LR = 4\n")):
        if text:
            place.commit(text)
        place.log(f"run at {value}", "keep", value)
    a, b, c = (row["run_id"] for row in place.rows())
    registry = place.registry()
    challengers = registry["challengers"]
    assert isinstance(challengers, list)
    assert field(registry, "champion", "run_id") == a
    assert [challenger["run_id"] for challenger in challengers] == [b, c]
    assert field(registry, "champion", "commit") == challengers[0]["commit"]
    assert challengers[0]["delta_to_champion"] == 0.002
    assert registry["num_experiments"] == 3
    assert registry["status_counts"] == {"crash": 0, "discard": 0, "keep": 3}


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), 0, -1.0, 1e-9, 1e12, "0.99", True, None, [1], 10**400]
)
def test_a_value_that_cannot_be_the_metric_is_refused(place: Place, value: object) -> None:
    """No such value is recorded anywhere; the error names the metric."""
    said = place.log("x", "keep", value)
    assert said.code == 1
    assert said.err.startswith("error: ")
    assert "val_bpb" in said.err
    assert not (place.root / "results").exists()
    assert not (place.root / "results.tsv").exists()


@pytest.mark.parametrize("memory", [float("nan"), float("inf"), -1, "12", True])
def test_memory_that_cannot_be_is_refused(place: Place, memory: object) -> None:
    """Memory is a finite number from 0 on; nothing is recorded otherwise."""
    said = place.log("x", "discard", 0.99, memory=memory)
    assert (said.code, "peak_vram_mb" in said.err) == (1, True)
    assert not (place.root / "results").exists()


def test_memory_may_be_zero(place: Place) -> None:
    """A CPU run has no GPU memory at all."""
    assert "mem_gb=0.0" in place.log("x", "keep", 0.99, memory=0).out


@pytest.mark.parametrize(
    "text", ["val_bpb: nan\npeak_vram_mb: 1\n", "val_bpb: high\npeak_vram_mb: 1\n", "peak_vram_mb: 1\n", ""]
)
def test_a_log_without_a_believable_metric_is_refused(place: Place, text: str) -> None:
    """The same holds for numbers that are read from the log; the file is named where something is missing."""
    (place.root / "run.log").write_text(text)
    said = place("log", "--description", "x", "--status", "keep", "--log", "run.log", "--summary", "absent.json")
    assert said.code == 1
    assert "val_bpb" in said.err
    assert not (place.root / "results").exists()
    if "val_bpb" not in text:
        assert "peak_vram_mb" in said.err
        assert "run.log" in said.err
        assert "absent.json" in said.err


def test_metrics_come_from_the_log_where_the_summary_has_none(place: Place) -> None:
    """All `key: value` lines are kept under their names; whole numbers stay whole."""
    (place.root / "run.log").write_text(
        "step 1\r\x1b[32mval_bpb:          0.9979\x1b[0m\npeak_vram_mb:     45060.2\ndepth: 8.0\ndevice: cuda:0\n"
    )
    said = place("log", "--description", "x", "--status", "discard", "--log", "run.log")
    assert said.code == 0, said.err
    assert place.rows()[0]["metrics"] == {"val_bpb": 0.9979, "peak_vram_mb": 45060.2, "depth": 8, "device": "cuda:0"}


def test_one_commit_logged_twice_has_two_runs(place: Place) -> None:
    """The second run of a commit within a second gets a suffix and a directory of its own."""
    for number in range(3):
        assert place.log(f"try {number}", "discard", 1.0 + number).code == 0
    runs = [str(row["run_id"]) for row in place.rows()]
    assert len(set(runs)) == 3
    assert sorted(path.name for path in (place.store / "runs").iterdir()) == sorted(runs)


def test_a_dirty_tree_is_recorded_with_its_edit(place: Place) -> None:
    """The record says that it is dirty, keeps the edit, and stands for the source that really ran."""
    place.log("clean", "keep", 0.99)
    (place.root / "train.py").write_text("LR = 77\n")
    assert "duplicate_run" not in place.log("dirty", "keep", 0.98).out
    clean, dirty = place.rows()
    assert (clean["dirty"], dirty["dirty"]) == (False, True)
    assert clean["commit"] == dirty["commit"]
    patch = place.store / "runs" / str(dirty["run_id"]) / "uncommitted.patch"
    assert "+LR = 77" in patch.read_text()
    with Ledger.read(place.root / "results" / "nightlab" / "lab.db") as ledger:
        history = ledger.history()
    assert len(history.experiments) == 2
    commit = list(history.experiments.values())[1].experiment.commit
    assert git(place.root, "show", f"{commit}:train.py") == "LR = 77\n"
    assert (place.root / "train.py").read_text() == "LR = 77\n"


def test_seed_and_device_are_kept_where_the_run_tells_them(place: Place) -> None:
    """They are read from what the run printed; a run that tells neither has none, and is recorded all the same."""
    (place.root / "run.log").write_text("val_bpb: 0.99\npeak_vram_mb: 1\nseed: 7\ndevice: cuda:0\n")
    place("log", "--description", "x", "--status", "keep", "--log", "run.log")
    place.log("y", "keep", 0.98)
    with Ledger.read(place.root / "results" / "nightlab" / "lab.db") as ledger:
        runs = [state.run for state in ledger.history().runs.values()]
    assert [(run.seed, run.environment.device) for run in runs] == [(7, "cuda:0"), (-1, "unknown")]
    assert all(run.environment.python and run.environment.machine for run in runs)


def test_hand_logged_runs_do_not_steer(place: Place) -> None:
    """They are in the ledger as what they are: their author's word, and no idea that waits for its runs."""
    place.log("x", "keep", 0.99)
    with Ledger.read(place.root / "results" / "nightlab" / "lab.db") as ledger:
        history = ledger.history()
    (run,) = history.runs.values()
    assert run.run.purpose is Purpose.LOG
    assert not run.run.purpose.steers
    assert history.champion is None
    assert all(state.experiment.parent is None for state in history.experiments.values())


def test_the_same_source_is_a_duplicate_whatever_it_is_called(place: Place) -> None:
    """The guard's line appears as soon as a run is no novelty."""
    place.log("depth 10", "discard", 1.0)
    said = place.log("a new name", "discard", 1.1, "--mode", "replicate")
    assert "Novelty guard: mode=replicate classification=duplicate_run decision=allow" in said.lines
    assert "action=abandon priority=low" in said.out


def test_skip_archive_writes_no_run_directory(place: Place) -> None:
    """Neither copies nor packet files, and no paths of them in the record."""
    place.log("x", "keep", 0.99, "--skip-archive")
    assert not (place.store / "runs").exists()
    assert field(place.rows()[0], "artifacts") == {"source_summary_path": "summary.json"}


def test_log_json_is_the_record(place: Place) -> None:
    """`log --json` prints the mirror's row and nothing else on stdout."""
    said = place.log("x", "keep", 0.99, "--json", "--report")
    assert json.loads(said.out) == place.rows()[0]


def test_mirrors_are_healed_by_the_next_log(place: Place) -> None:
    """Rows that the mirror lost come back, a torn last line is set aside, whole rows stay byte for byte."""
    for value in (1.0, 1.1, 1.2):
        place.log(f"value {value}", "discard", value)
    mirror = place.store / "experiments.jsonl"
    first, second, third = mirror.read_bytes().splitlines(keepends=True)
    mirror.write_bytes(first + third + second[:40])
    (place.store / "champion_challenger.json").write_text("{")
    place.log("value 1.3", "discard", 1.3)
    lines = mirror.read_bytes().splitlines(keepends=True)
    assert lines[:3] == [first, third, second]
    assert json.loads(lines[3])["description"] == "value 1.3"
    assert (place.store / "experiments.jsonl.refused").read_bytes() == second[:40] + b"\n"
    assert place.registry()["num_experiments"] == 4


def test_lines_of_the_table_come_back_and_those_of_others_stay(place: Place) -> None:
    """results.tsv regains what it lost, once each; a line that somebody else wrote is left alone."""
    place.log("one", "discard", 1.0)
    place.log("one", "discard", 1.0)
    table = place.root / "results.tsv"
    header, line, twin = table.read_text().splitlines(keepends=True)
    assert line == twin
    other = "abc1234\t0.9\t1.0\tkeep\tby an agent\n"
    for torn in ("", line.rstrip("\n"), line[:-3], line[:10]):
        table.write_text(header + other + torn)
        place.log("two", "discard", 1.1)
        lines = table.read_text().splitlines(keepends=True)
        assert lines[:2] == [header, other]
        assert lines[2:].count(line) == 2
        assert all(found == line or found.endswith("\ttwo\n") for found in lines[2:])


def test_rows_of_another_origin_are_taken_in(place: Place) -> None:
    """A well-formed row that the ledger lacks is on record from now on, once, and stays as it was written."""
    place("init")
    mirror = place.store / "experiments.jsonl"
    row = {"run_id": "20260311T043000Z-abc1234", "commit": "abc1234", "parent_commit": "0000aaa", "status": "keep",
           "description": "depth 10", "timestamp_utc": "2026-03-11T04:30:00Z",
           "metrics": {"val_bpb": 0.98, "peak_vram_mb": 10.0}}  # fmt: skip
    mirror.write_text(json.dumps(row) + "\n")
    assert "duplicate_run=1" in place("check", "--description", "depth 10").out
    said = place.log("x", "keep", 0.99)
    assert "1 row(s) that others wrote" in said.err
    assert mirror.read_text().startswith(json.dumps(row) + "\n{")
    assert place.registry()["num_experiments"] == 2
    assert field(place.registry(), "champion", "run_id") == "20260311T043000Z-abc1234"
    assert "others" not in place.log("y", "keep", 0.995).err
    assert len(place.rows()) == 3


def test_lines_that_are_no_rows_are_set_aside(place: Place) -> None:
    """They stay where they are and are kept in a file of their own, once; the run is recorded all the same."""
    place("init")
    mirror = place.store / "experiments.jsonl"
    mirror.write_text('{"run_id": "20260311T043000Z-abc1234"}\nnonsense\n')
    assert "2 line(s) of experiments.jsonl are no rows" in place.log("x", "keep", 0.99).err
    place.log("y", "keep", 0.99)
    aside = (place.store / "experiments.jsonl.refused").read_text()
    assert aside == '{"run_id": "20260311T043000Z-abc1234"}\nnonsense\n'
    assert mirror.read_text().startswith(aside)
    assert place.registry()["num_experiments"] == 2


def test_a_row_written_into_the_table_counts(place: Place) -> None:
    """What an agent appends to results.tsv by hand is on record with the next `log`, and `check` knows it before."""
    place.log("depth 9", "keep", 0.99)
    table = place.root / "results.tsv"
    with table.open("a") as file:
        file.write("abc1234\t0.985000\t44.0\tkeep\tdepth 10\nabc1235\t0.000000\t0.0\tcrash\tdepth 64 (OOM)\n")
    before = table.read_bytes()
    assert "run=" in place("check", "--description", "depth 10").lines[1]
    assert "abc1234" in place("check", "--description", "depth 10").lines[1]
    assert "Champion: " in place.log("depth 8", "discard", 1.0).out
    assert field(place.registry(), "champion", "commit") == "abc1234"
    assert place.registry()["status_counts"] == {"crash": 1, "discard": 1, "keep": 2}
    assert table.read_bytes().startswith(before)
    assert len(table.read_text().splitlines()) == 5


def test_an_old_store_without_a_database_is_adopted(place: Place) -> None:
    """Reading merges its rows and writes nothing; the first command that writes takes them in."""
    for number in range(3):
        place.log(f"depth {number}", "keep", 0.99 - number / 1000)
    rows = place.rows()
    shutil.rmtree(place.root / "results" / "nightlab")
    before = {path: path.read_bytes() for path in place.root.rglob("*") if path.is_file() and ".git" not in path.parts}
    assert "duplicate_run=1" in place("check", "--description", "depth 2").out
    assert place("report", "--output", str(place.root.parent / "report.md")).code == 0
    assert "at 0.988000" in (place.root.parent / "report.md").read_text()
    assert before == {
        path: path.read_bytes() for path in place.root.rglob("*") if path.is_file() and ".git" not in path.parts
    }
    place.log("depth 7", "discard", 1.1)
    assert place.rows()[:3] == rows
    assert place.registry()["num_experiments"] == 4
    assert len((place.root / "results.tsv").read_text().splitlines()) == 5
    assert field(place.registry(), "champion", "run_id") == rows[2]["run_id"]


def test_a_protected_edit_makes_the_tree_dirty_too(place: Place) -> None:
    """The record of a run beside an edited prepare.py says so and keeps that edit."""
    (place.root / "prepare.py").write_text("A = 1\n")
    commit_all(place.root)
    (place.root / "prepare.py").write_text("A = 2\n")
    place.log("x", "keep", 0.99)
    (row,) = place.rows()
    assert row["dirty"] is True
    patch = (place.store / "runs" / str(row["run_id"]) / "uncommitted.patch").read_text()
    assert "+A = 2" in patch
    git(place.root, "checkout", "-q", "prepare.py")
    subprocess.run(["git", "apply", "--check"], cwd=place.root, input=patch, text=True, check=True)


def test_words_are_made_harmless(place: Place) -> None:
    """Tabs, newlines and escape sequences reach neither the terminal nor the table."""
    said = place.log("a\tb\nc \x1b[31mred", "keep", 0.99, "--notes", "x\n\ny")
    (row,) = place.rows()
    assert (row["description"], row["notes"]) == ("a b c red", "x y")
    assert len((place.root / "results.tsv").read_text().splitlines()) == 2
    assert "\x1b" not in said.out


def test_simultaneous_logs_are_all_recorded(place: Place) -> None:
    """Several processes at once: every run has its row, in ledger and mirrors, and the registry knows all."""
    (place.root / "s.json").write_text('{"val_bpb": 0.99, "peak_vram_mb": 1}')
    words = [sys.executable, "-m", "nightlab.cli.main", "log", "--status", "keep", "--summary", "s.json"]
    started = [
        subprocess.Popen([*words, "--description", f"n {n}"], env=environment(), stdout=subprocess.DEVNULL)
        for n in range(4)
    ]
    assert [process.wait() for process in started] == [0, 0, 0, 0]
    assert len({str(row["run_id"]) for row in place.rows()}) == 4
    assert place.registry()["num_experiments"] == 4
    assert len((place.root / "results.tsv").read_text().splitlines()) == 5


def test_without_a_commit_nothing_is_recorded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository without a commit is refused by name."""
    git(tmp_path, "init", "-q")
    monkeypatch.chdir(tmp_path)
    said = Place(tmp_path, capsys).log("x", "keep", 0.99)
    assert said.code == 1
    assert "commit" in said.err
    assert not (tmp_path / "results").exists()


def test_words_govern_what_is_logged_again(place: Place) -> None:
    """The same text is the same run again whatever a diff shows; other words for a failure repeat it."""
    place.commit("print('v1')\n")
    place.log("increase matrix lr", "keep", 0.991, "--family", "optim")
    place.commit("print('v2')\n")
    assert "classification=duplicate_run" in place.log("increase matrix lr", "keep", 0.998, "--family", "optim").out
    place.log("shorten warmdown", "discard", 1.1)
    place.commit("print('v3')\n")
    said = place.log("reduce the cooldown", "discard", 1.2)
    assert "classification=repeat_failure" in said.out
    assert "action=abandon priority=low" in said.out


def test_what_says_nothing_repeats_nothing(place: Place) -> None:
    """Two empty descriptions are no duplicates of each other."""
    place.log("", "discard", 0.94)
    assert place("check", "--description", "", "--fail-on-similar").code == 0


def test_a_row_with_an_unlike_neighbour_says_what_is_nearest(place: Place) -> None:
    """Where something is listed, the reason names what it is to the idea instead of saying that nothing is near."""
    place.log("DEPTH 10", "keep", 0.99)
    first = place("check", "--description", "DEPTH 16", "--mode", "explore").lines[0]
    assert "novel -> allow (what comes nearest on record is another idea: " in first
    assert "nothing like it" not in first


# --- report -----------------------------------------------------------------------------------------------------


def test_report_writes_latest_and_a_stamped_copy_or_one_file(place: Place) -> None:
    """One line a file; `--output` writes that file only and makes its parents."""
    place.log("x", "keep", 0.99)
    said = place("report")
    assert [line.startswith(f"Wrote report to {place.store}/reports/") for line in said.lines] == [True, True]
    text = (place.store / "reports" / "latest.md").read_text()
    assert text.startswith("# Morning Report\n")
    assert "- Experiments recorded overnight: 1" in text
    assert "- Keep / discard / crash: 1 / 0 / 0" in text
    assert f"run `{place.rows()[0]['run_id']}` on commit `{place.rows()[0]['commit']}` at 0.990000" in text
    (place.store / "reports" / "latest.md").unlink()
    said = place("report", "--output", "deep/er/report.md", "--since-hours", "1")
    assert said.lines == [f"Wrote report to {place.root}/deep/er/report.md"]
    assert not (place.store / "reports" / "latest.md").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_reading_works_where_results_cannot_be_written(place: Place, tmp_path: Path) -> None:
    """`check` and `report --output` need no write access to the lab."""
    place.log("depth 10", "keep", 0.99)
    locked = [path for path in (place.root / "results").rglob("*") if path.is_dir()]
    for path in locked:
        path.chmod(0o555)
    try:
        assert "duplicate_run" in place("check", "--description", "depth 10").out
        assert place("report", "--output", str(tmp_path / "report.md")).code == 0
        assert place.log("y", "keep", 0.99).code == 1
    finally:
        for path in locked:
            path.chmod(0o755)


# --- pure parts -------------------------------------------------------------------------------------------------


def test_tags() -> None:
    """Commas split; odd characters become one dash; each tag once, in order."""
    assert tags_of(" LR, warm  down!,lr,,--,a_b,Ü ") == ("lr", "warm-down", "a_b")


def test_lineage_roots() -> None:
    """First ancestor that is not on record, else the last one that is; a loop ends where it was noticed."""
    assert lineage_roots({"b": "a", "c": "b", "d": None, "e": "d"}) == {"b": "a", "c": "a", "d": "d", "e": "d"}
    assert lineage_roots({"x": "y", "y": "x", "z": "z"}) == {"x": "y", "y": "x", "z": "z"}


@pytest.mark.parametrize(("direction", "best"), [("minimize", "b"), ("maximize", "a")])
def test_champion_is_the_best_keep_else_the_best_of_all(place: Place, direction: str, best: str) -> None:
    """A better discard loses to a keep; without any keep the best value leads; crashes never do."""
    (place.root / "nightlab.toml").write_text(f'[metric]\nname = "val_bpb"\ndirection = "{direction}"\n')
    place.log("f", "crash", None, "--error", "x")
    assert place.registry()["champion"] is None
    for description, value in (("d", 0.1), ("e", 9.0)):
        place.log(description, "discard", value)
    assert field(place.registry(), "champion", "description") == ("d" if direction == "minimize" else "e")
    for description, value in (("a", 1.0), ("b", 0.5)):
        place.log(description, "keep", value)
    assert field(place.registry(), "champion", "description") == best


# --- doors ------------------------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(REPOSITORY / "src")}


def through(python: Path | str, door: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [str(python), str(REPOSITORY / door), *words]
    return subprocess.run(command, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)


DOORS = ["memorylab.py", "scripts/run_experiment.py", "research/__main__.py"]
OpenDoor = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.parametrize("door", DOORS)
def test_doors_are_short(door: str) -> None:
    """A door holds no logic: twenty lines at most."""
    assert len((REPOSITORY / door).read_text().splitlines()) <= 20


def test_door_continues_in_the_running_python(place: Place) -> None:
    """With nightlab at hand the door is the command itself, exit codes included."""
    done = through(sys.executable, "memorylab.py", "check", "--description", "x", cwd=place.root)
    assert (done.returncode, done.stdout.splitlines()[1][:25]) == (0, "- No close prior runs are")
    blocked = ("check", "--description", "x", "--mode", "replicate", "--fail-on-similar")
    assert through(sys.executable, "memorylab.py", *blocked, cwd=place.root).returncode == 2
    assert through(sys.executable, "memorylab.py", cwd=place.root).returncode == 2


needs_old_python = pytest.mark.skipif(not OLD_PYTHON.exists(), reason=f"no {OLD_PYTHON} on this machine")


@needs_old_python
@pytest.mark.parametrize("door", DOORS)
def test_door_goes_on_in_the_labs_environment(place: Place, door: str) -> None:
    """A Python without nightlab hands over to the lab's own, found upwards from the current directory."""
    (place.root / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    inside = place.root / "deep" / "er"
    inside.mkdir(parents=True)
    done = through(OLD_PYTHON, door, "--help", cwd=inside)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


@needs_old_python
@pytest.mark.parametrize("door", DOORS)
def test_door_says_how_to_make_an_environment(place: Place, door: str) -> None:
    """With nightlab nowhere to be found the door says what to do, exit 1."""
    done = through(OLD_PYTHON, door, "--help", cwd=place.root)
    assert done.returncode == 1
    assert "uv sync" in done.stderr
    assert "Traceback" not in done.stderr


@needs_old_python
def test_door_never_runs_in_circles(place: Place) -> None:
    """An environment that lacks nightlab too is named, once."""
    subprocess.run([str(OLD_PYTHON), "-m", "venv", "--without-pip", str(place.root / ".venv")], check=True)
    done = through(OLD_PYTHON, "memorylab.py", "check", "--description", "x", cwd=place.root)
    assert done.returncode == 1
    assert "uv sync" in done.stderr
