"""What a user sees when something is wrong: what, where, what to do next; and nothing is lost."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.e2e.labs import TOML, UserLab, command, environment, make

PRINTS = "import os\nRATE = 0.02\n{body}\n"
RUN = ("run", "--runs", "1")


def outcome_of(lab: UserLab) -> dict[str, str]:
    """The one kind of ending that this lab's runs had, and how `show` explains it."""
    # The other place's run is stopped as soon as the first one shows that the baseline does not run.
    first = next(run for run in lab.runs() if run["outcome"] != "stoppedearly")
    assert first["metric"] is None
    shown = lab.nightlab("show", first["run"])
    assert shown.code == 0, shown.err
    return {"outcome": first["outcome"], "text": shown.out}


def test_no_repository(tmp_path: Path) -> None:
    """Outside any repository every command says so and what to do, and makes nothing."""
    for words in (RUN, ("status",), ("try",), ("doctor",), ("report",)):
        answer = UserLab(tmp_path).nightlab(*words)
        assert answer.code == 1
        assert "no git repository" in answer.err + answer.out
        assert "nightlab new" in answer.err + answer.out
    assert list(tmp_path.iterdir()) == []


def test_a_repository_without_a_commit(tmp_path: Path) -> None:
    """A night needs committed source to start from."""
    lab = UserLab(tmp_path)
    lab.git("init", "-q")
    answer = lab.nightlab(*RUN)
    assert answer.code == 1
    assert "no commit yet" in answer.err


def test_dirty_editable_file(tmp_path: Path) -> None:
    """`run` refuses uncommitted changes by name and leaves them alone; `try` is the way to run them."""
    lab = make(tmp_path / "lab")
    edited = (lab.root / "train.py").read_text().replace("0.02", "0.03")
    (lab.root / "train.py").write_text(edited)
    answer = lab.nightlab(*RUN)
    assert answer.code == 1
    assert "uncommitted changes in train.py" in answer.err
    assert "nightlab try" in answer.err
    assert (lab.root / "train.py").read_text() == edited


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("command = \n", "cannot be read"),
        ("comand = 'x'\n", "comand"),
        ("[budget]\nslots = 'many'\n", "slots"),
        ("[metric]\ndirection = 'sideways'\n", "direction"),
    ],
)
def test_broken_settings(tmp_path: Path, toml: str, said: str) -> None:
    """A nightlab.toml that cannot be used is named, with the key that is wrong."""
    lab = make(tmp_path / "lab", toml=toml)
    answer = lab.nightlab(*RUN)
    assert answer.code == 1
    assert said in answer.err
    assert "nightlab.toml" in answer.err
    assert "hint:" in answer.err


def test_no_settings_and_nothing_to_edit(tmp_path: Path) -> None:
    """A repository that is not described and has no train.py: the missing file is named."""
    lab = make(tmp_path / "lab", toml="# nothing\n")
    lab.git("rm", "-q", "train.py", "nightlab.toml")
    lab.git("commit", "-qm", "gone", "--allow-empty")
    answer = lab.nightlab(*RUN)
    assert answer.code == 1
    assert "train.py" in answer.err


@pytest.mark.parametrize(
    ("body", "outcome", "said"),
    [
        ("pass", "crashed", "loss"),
        ("print('loss: nan')", "crashed", "nan"),
        ("print('loss: inf')", "crashed", "inf"),
        ("print('loss: lots')", "crashed", "lots"),
        ("print('loss: 1.0'); print('loss: 1.1')", "crashed", "2 times"),
        ("print('loss: 1.0'); raise SystemExit(3)", "crashed", "3"),
        ("open('prepare.py', 'a').write('#'); print('loss: 1.0')", "voided", "prepare.py"),
        ("open('train.py', 'a').write('#'); print('loss: 1.0')", "voided", "train.py"),
    ],
)
def test_a_baseline_without_a_usable_metric(tmp_path: Path, body: str, outcome: str, said: str) -> None:
    """The night ends at once with exit 1, the run is recorded without a metric, and the reason can be read."""
    toml = TOML.format(minutes=1).replace("protected = []", 'protected = ["prepare.py"]')
    lab = make(tmp_path / "lab", script=PRINTS.format(body=body), toml=toml)
    (lab.root / "prepare.py").write_text("# protected\n")
    lab.git("add", "-A")
    lab.git("commit", "-qm", "protected")
    answer = lab.nightlab(*RUN)
    assert answer.code == 1
    assert said in answer.err
    found = outcome_of(lab)
    assert found["outcome"] == outcome
    assert said in found["text"]
    assert (lab.root / "prepare.py").read_text() == "# protected\n"


@pytest.mark.parametrize("value", ["0.0", "-1.2", "1e-9", "1e12"])
def test_values_outside_the_bounds(tmp_path: Path, value: str) -> None:
    """val_bpb is believed only where bits per byte can lie."""
    toml = TOML.format(minutes=1).replace('"loss"', '"val_bpb"')
    lab = make(tmp_path / "lab", script=PRINTS.format(body=f"print('val_bpb: {value}')"), toml=toml)
    answer = lab.nightlab(*RUN)
    assert answer.code == 1
    assert "believes only values" in answer.err


def test_a_value_in_the_runs_own_file(tmp_path: Path) -> None:
    """Any command may write NIGHTLAB_RESULT_PATH, and then print what it likes, as often as it likes."""
    body = "print('loss: 3'); print('loss: 4'); open(os.environ['NIGHTLAB_RESULT_PATH'], 'w').write('{\"loss\": 2.5}')"
    lab = make(tmp_path / "lab", script=PRINTS.format(body=body))
    assert lab.nightlab(*RUN).code == 0
    assert {run["metric"] for run in lab.runs()} == {2.5}


def test_a_printout_without_its_receipt(tmp_path: Path) -> None:
    """Where the lab asks for a receipt, a printed number alone is disputed."""
    toml = TOML.format(minutes=1).replace('name = "loss"', 'name = "loss"\nreceipt = true')
    lab = make(tmp_path / "lab", script=PRINTS.format(body="print('loss: 1.0')"), toml=toml)
    assert lab.nightlab(*RUN).code == 1
    assert outcome_of(lab)["outcome"] == "disputed"


def test_a_module_that_hides_one_of_pythons(tmp_path: Path) -> None:
    """A json.py beside the edited file is refused by name before anything runs."""
    lab = make(tmp_path / "lab")
    (lab.root / "json.py").write_text("raise SystemExit('mine')\n")
    lab.git("add", "-A")
    lab.git("commit", "-qm", "json")
    answer = lab.nightlab(*RUN)
    assert answer.code == 1
    assert "json.py" in answer.err
    assert lab.runs() == []


def test_a_run_that_forks_and_hangs(tmp_path: Path) -> None:
    """The whole tree is ended at the limit, and the run is a time-out."""
    body = "import time\nif os.fork() == 0:\n    os.setsid()\ntime.sleep(600)"
    lab = make(tmp_path / "lab", script=PRINTS.format(body=body), minutes=0.02)
    answer = lab.nightlab(*RUN)
    assert answer.code == 1
    assert outcome_of(lab)["outcome"] == "timedout"


def test_a_full_disk(tmp_path: Path) -> None:
    """When the ledger cannot grow the night stops with the reason; with room again it goes on."""
    lab = make(tmp_path / "lab")
    assert lab.nightlab(*RUN).code == 0
    before = lab.runs()
    size = (lab.root / "results/nightlab/lab.db").stat().st_size

    def little_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    done = subprocess.run(
        command("run", "--runs", "30"),
        cwd=lab.root,
        env=environment(),
        capture_output=True,
        preexec_fn=little_room,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert b"error:" in done.stderr
    assert b"disk" in done.stderr
    after = lab.runs()
    assert after[: len(before)] == before
    assert lab.nightlab("run", "--runs", "1").code == 0
    assert all(run["outcome"] != "running" for run in lab.runs())


def test_a_night_needs_an_end(tmp_path: Path) -> None:
    """`run` with neither count nor hours asks for one; it is a usage error."""
    answer = make(tmp_path / "lab").nightlab("run")
    assert answer.code == 2
    assert "--runs" in answer.err


def test_two_labs_at_once(tmp_path: Path) -> None:
    """A second `run` on the same lab is refused and told who works there."""
    lab = make(tmp_path / "lab", seconds=2.0)
    first = lab.start("run", "--runs", "1")
    try:
        for _ in range(100):
            if (lab.root / "results/nightlab/lab.db").exists() and lab.runs():
                break
            time.sleep(0.1)
        answer = lab.nightlab(*RUN)
        assert answer.code == 1
        assert f"pid {first.pid}" in answer.err
    finally:
        first.terminate()
        assert first.wait(timeout=60) == 130


def test_new_does_not_overwrite(tmp_path: Path) -> None:
    """`new` refuses a directory that has something in it, and leaves it as it was."""
    (tmp_path / "mine").write_text("x")
    answer = UserLab(tmp_path).nightlab("new", str(tmp_path))
    assert answer.code == 1
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_exec_without_a_command(tmp_path: Path) -> None:
    """Nothing after -- is a usage error."""
    assert UserLab(tmp_path).nightlab("exec", "--").code == 2


def test_exec_passes_on_the_exit_code_and_keeps_the_limit(tmp_path: Path) -> None:
    """Outside a lab the command is only watched; its exit code is ours, 124 after the limit."""
    lab = UserLab(tmp_path)
    assert lab.nightlab("exec", "--", sys.executable, "-c", "raise SystemExit(7)").code == 7
    assert lab.nightlab("exec", "--timeout", "0.01", "--", "sleep", "60").code == 124
    assert os.listdir(tmp_path) == []


def test_exec_in_a_lab_is_a_recorded_run(tmp_path: Path) -> None:
    """Inside a lab the output passes through, and the run is in the ledger with the source as it lay there."""
    lab = make(tmp_path / "lab")
    answer = lab.nightlab("exec", "--", sys.executable, "train.py")
    assert answer.code == 0
    assert "loss:" in answer.out
    (run,) = lab.runs()
    assert run["purpose"] == "exec"
    assert run["outcome"] == "finished"


def test_the_door_runs_a_command(tmp_path: Path) -> None:
    """`python scripts/run_experiment.py --timeout 1 -- CMD` from the lab's directory, as older scripts type it."""
    door = Path(__file__).resolve().parents[2] / "scripts" / "run_experiment.py"
    words = [sys.executable, str(door), "--backend", "local", "--timeout", "1", "--"]
    done = subprocess.run([*words, "echo", "hello"], cwd=tmp_path, env=environment(), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"hello\n")
    assert subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, check=False).returncode == 2
    for asked in (["-h"], [*words[2:-1], "-h"], ["--", "-h"]):
        helped = subprocess.run([*words[:2], *asked], cwd=tmp_path, env=environment(), capture_output=True, check=False)
        assert (helped.returncode, b"--timeout" in helped.stdout) == (0, True)


def test_the_doors_help_leaves_the_commands_own_alone(tmp_path: Path) -> None:
    """`-- echo -h` is a word of the command, not a question to us."""
    door = Path(__file__).resolve().parents[2] / "scripts" / "run_experiment.py"
    words = [sys.executable, str(door), "--", "printf", "%s.", "-h"]
    done = subprocess.run(words, cwd=tmp_path, env=environment(), capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"-h.")


def test_commands_of_the_same_second_are_all_recorded(tmp_path: Path) -> None:
    """Several `exec` at once on one commit get names of their own."""
    lab = make(tmp_path / "lab")
    words = command("exec", "--", "sh", "-c", "sleep 1; echo loss: 1")
    started = [
        subprocess.Popen(words, cwd=lab.root, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    assert [(process.communicate()[1], process.returncode) for process in started] == [(b"", 0)] * 4
    assert sorted(run["outcome"] for run in lab.runs()) == ["finished"] * 4


def test_a_night_outlives_who_reads_its_lines(tmp_path: Path) -> None:
    """`nightlab run 2>&1 | tee` whose tee dies: the night goes on to its end, unseen."""
    lab = make(tmp_path / "lab")
    night = subprocess.Popen(
        command(*RUN), cwd=lab.root, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert night.stdout is not None
    night.stdout.close()
    assert night.wait(timeout=120) == 0
    assert (lab.root / "results/memorylab/reports/latest.md").exists()
    assert all(run["outcome"] == "finished" for run in lab.runs())


def test_a_night_outlives_a_full_disk_under_its_lines(tmp_path: Path) -> None:
    """`nightlab run 2> file` with no room for the file: the night goes on to its end, unseen."""
    lab = make(tmp_path / "lab")
    with open("/dev/full", "wb") as full:
        night = subprocess.run(command(*RUN), cwd=lab.root, env=environment(), stderr=full, timeout=120, check=False)
    assert night.returncode == 0
    assert all(run["outcome"] == "finished" for run in lab.runs())


def test_output_on_a_full_disk(tmp_path: Path) -> None:
    """`nightlab runs > file` with no room left is one sentence and exit 1, no traceback."""
    lab = make(tmp_path / "lab")
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            command("runs", "--json"), cwd=lab.root, env=environment(), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert (
        done.stderr == b"error: No space left on device\n\nhint: free some disk space (`df -h`), then the same again\n"
    )


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """What the system says, with the path; no traceback."""
    (tmp_path / "file").write_text("")
    answer = UserLab(tmp_path).nightlab("new", "file/lab")
    assert answer.code == 1
    assert answer.err == "error: Not a directory: file/lab\n"


def test_what_an_error_quotes_cannot_steer_the_terminal(tmp_path: Path) -> None:
    """Escape sequences in names that agents or commits gave are taken out."""
    name = "x\x1b]0;owned\x07\x1b[2Jy"
    make(tmp_path / name)
    answer = UserLab(tmp_path).nightlab("new", name)
    assert answer.code == 1
    assert answer.err.startswith("error: xy exists and is not empty\n")


def bare(root: Path, *names: str) -> UserLab:
    """A repository without settings, with these files."""
    lab = make(root)
    lab.git("rm", "-q", "train.py", "nightlab.toml")
    for name in names:
        (root / name).write_text("print('loss: 1')\n")
    return lab


def test_init_with_a_bad_value_writes_nothing(tmp_path: Path) -> None:
    """So that the corrected command is not told that the file is there already."""
    lab = bare(tmp_path / "lab", "bench.py")
    flags = ("--editable", "bench.py", "--metric", "loss")
    for bad in ("python 'bench.py", " ", "python\x7f bench.py"):
        answer = lab.nightlab("init", "--command", bad, *flags)
        assert answer.code == 1
        assert "was not written" in answer.err
        assert "nightlab-init" not in answer.err
        assert not (lab.root / "nightlab.toml").exists()
    assert lab.nightlab("init", "--command", "python bench.py # é 🌙", *flags).code == 0
    assert lab.nightlab("doctor").out.count("é 🌙") == 1
    again = lab.nightlab("init", "--command", "python bench.py", *flags)
    assert again.code == 2
    assert "exists already" in again.err


def test_init_beside_a_train_py_needs_only_what_differs(tmp_path: Path) -> None:
    """The command and the editable file are then the usual ones."""
    lab = bare(tmp_path / "lab", "train.py")
    assert lab.nightlab("init", "--metric", "loss").code == 0
    said = lab.nightlab("doctor").out
    assert "command `uv run train.py`, metric loss" in said
    toml = (lab.root / "nightlab.toml").read_text()
    assert 'editable = ["train.py"]' in toml
    assert "protected = []" in toml


def test_init_names_the_flags_that_are_missing(tmp_path: Path) -> None:
    """Where there is no train.py to stand in for them."""
    lab = bare(tmp_path / "lab", "bench.py")
    answer = lab.nightlab("init", "--command", "python bench.py")
    assert answer.code == 2
    assert "--editable, --metric are missing" in answer.err
    assert not (lab.root / "nightlab.toml").exists()
