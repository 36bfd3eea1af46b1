"""Nights that follow nights: what is taken up again, what is begun anew, and from which source."""

from __future__ import annotations

import json
import signal
import sys
import time
from pathlib import Path

from tests.e2e.labs import SCRIPT, TOML, UserLab, make

HELPED = """\
import helper
WIDTH = 128
RATE = 0.02
print("loss:", helper.level() - RATE)
"""


def begun(lab: UserLab, runs: int) -> None:
    """Wait until so many runs have started."""
    for _ in range(300):
        if (lab.root / "results/nightlab/lab.db").exists() and len(lab.runs()) >= runs:
            return
        time.sleep(0.1)
    raise AssertionError("the night does not begin")


def stopped_night(lab: UserLab, *words: str) -> None:
    """A night that is interrupted after its baseline."""
    night = lab.start("run", *words)
    begun(lab, 3)
    night.send_signal(signal.SIGINT)
    assert night.wait(timeout=60) == 130


def test_another_helper_module_is_another_baseline(tmp_path: Path) -> None:
    """A committed change outside the editable files is never ignored: the next night measures it afresh."""
    lab = make(tmp_path / "lab", script=HELPED)
    (lab.root / "helper.py").write_text("def level(): raise RuntimeError('not written yet')\n")
    lab.git("add", "-A")
    lab.git("commit", "-qm", "helper")
    assert lab.nightlab("run", "--runs", "1").code == 1
    (lab.root / "helper.py").write_text("def level(): return 3.0\n")
    lab.git("commit", "-qam", "helper works")
    assert lab.nightlab("run", "--runs", "1").code == 0
    assert lab.json("status")["baseline"]["mean"] == 2.98
    (lab.root / "NOTES.md").write_text("prose changes nothing\n")
    lab.git("add", "-A")
    lab.git("commit", "-qm", "notes")
    before = lab.json("status")["baseline"]["experiment"]
    assert lab.nightlab("run", "--runs", "1").code == 0
    assert lab.json("status")["baseline"]["experiment"] == before


def test_another_profile_is_another_baseline(tmp_path: Path) -> None:
    """Values under different budgets are never pooled."""
    lab = make(tmp_path / "lab")
    assert lab.nightlab("run", "--runs", "0").code == 0
    first = lab.json("status")["baseline"]["experiment"]
    assert lab.nightlab("run", "--runs", "0", AUTORESEARCH_PROFILE="long").code == 0
    assert lab.json("status")["baseline"]["experiment"] != first


def test_an_interrupted_night_goes_on(tmp_path: Path) -> None:
    """Ctrl-C ends the runs under way and exits 130; a bare `run` takes the night up and says so."""
    lab = make(tmp_path / "lab", seconds=0.6)
    stopped_night(lab, "--runs", "2")
    assert all(run["outcome"] != "running" for run in lab.runs())
    answer = lab.nightlab("run")
    assert answer.code == 0, answer.err
    assert "going on with night 1" in answer.err
    assert len({run["experiment"] for run in lab.runs() if run["purpose"] == "idea"}) == 2


def test_a_night_whose_source_changed_is_not_gone_on_with(tmp_path: Path) -> None:
    """A bare `run` after the committed source changed asks for an end of its own, and begins nothing without one."""
    lab = make(tmp_path / "lab", seconds=0.6)
    stopped_night(lab, "--runs", "3")
    path = lab.root / "train.py"
    path.write_text(path.read_text().replace("WIDTH = 128", "WIDTH = 200"))
    lab.git("commit", "-qam", "wider")
    answer = lab.nightlab("run")
    assert answer.code == 2
    assert "source has changed" in answer.err
    assert lab.nightlab("run", "--runs", "1").code == 0
    assert lab.json("status")["baseline"]["description"] == "baseline"


def test_ctrl_c_ends_runs_of_an_earlier_process(tmp_path: Path) -> None:
    """Runs that outlived a killed lab are the next one's to stop."""
    lab = make(tmp_path / "lab", seconds=30.0)
    night = lab.start("run", "--runs", "1")
    begun(lab, 2)
    night.kill()
    night.wait(timeout=60)
    again = lab.start("run")
    while f"pid {again.pid} " not in (lab.root / "results/nightlab/loop.lock").read_text():
        time.sleep(0.1)
    time.sleep(2.0)
    again.send_signal(signal.SIGINT)
    assert again.wait(timeout=60) == 130
    assert {run["outcome"] for run in lab.runs()} == {"stoppedearly"}


def test_try_leaves_an_unfinished_night_alone(tmp_path: Path) -> None:
    """`try` sees its own idea to a verdict and proposes nothing for the night that was interrupted."""
    lab = make(tmp_path / "lab", seconds=0.6)
    stopped_night(lab, "--runs", "6")
    path = lab.root / "train.py"
    path.write_text(path.read_text().replace("DECAY = 0.1", "DECAY = 0.7"))
    assert lab.nightlab("try", "--description", "mine").code == 0
    ideas = {run["experiment"] for run in lab.runs() if run["purpose"] == "idea"}
    assert len(ideas) < 6
    assert lab.json("status")["night"]["state"] == "interrupted"


def test_a_source_seen_by_exec_can_be_tried(tmp_path: Path) -> None:
    """What ran by hand decided nothing; `try` has the same source judged."""
    lab = make(tmp_path / "lab")
    path = lab.root / "train.py"
    path.write_text(path.read_text().replace("WIDTH = 128", "WIDTH = 256"))
    toml = lab.root / "nightlab.toml"
    toml.write_text(toml.read_text().replace('"python train.py"', f'"{sys.executable} train.py"'))
    lab.git("commit", "-qm", "the same command in both", "nightlab.toml")
    assert lab.nightlab("exec", "--", sys.executable, "train.py").code == 0
    answer = lab.nightlab("try", "--description", "wider")
    assert answer.code == 0, answer.err
    assert " keep: " in answer.out
    assert lab.json("status")["champion"]["description"] == "wider"


def test_promotions_follow_the_source_they_build_on(tmp_path: Path) -> None:
    """After the committed files moved on, the next promotion's tree has them too, and both lines as parents."""
    lab = make(tmp_path / "lab", script=HELPED)
    (lab.root / "helper.py").write_text("def level(): return 3.0\n")
    lab.git("add", "-A")
    lab.git("commit", "-qm", "helper")
    path = lab.root / "train.py"
    path.write_text(path.read_text().replace("RATE = 0.02", "RATE = 0.5"))
    assert " keep: " in lab.nightlab("try", "--description", "faster").out
    lab.git("commit", "-qam", "taken over")
    (lab.root / "helper.py").write_text("def level(): return 2.0\n")
    lab.git("commit", "-qam", "another helper")
    path.write_text(path.read_text().replace("RATE = 0.5", "RATE = 0.9"))
    assert " keep: " in lab.nightlab("try", "--description", "faster still").out
    branch = lab.json("status")["branch"]
    assert "return 2.0" in lab.git("show", f"{branch}:helper.py")
    assert "RATE = 0.9" in lab.git("show", f"{branch}:train.py")
    assert lab.git("merge-base", "--is-ancestor", "HEAD", branch) == ""


def test_a_night_ends_with_the_commits_of_rows(tmp_path: Path) -> None:
    """Rows that others write while it works are on record with their commits' parents, as at its beginning."""
    lab = make(
        tmp_path / "lab",
        script='import os\nopen(os.environ["TABLE"], "a").write(os.environ["ROW"])\n' + SCRIPT.format(seconds=0),
    )
    first = lab.git("rev-parse", "HEAD")
    lab.git("commit", "--allow-empty", "-qm", "second")
    row = f"{lab.git('rev-parse', 'HEAD')[:7]}\t1.100000\t0.5\tkeep\tby another\n"
    env = f"[env]\nTABLE = {json.dumps(str(lab.root / 'results.tsv'))}\nROW = {json.dumps(row)}\n"
    (lab.root / "nightlab.toml").write_text(TOML.format(minutes=1) + env)
    done = lab.nightlab("run", "--runs", "0")
    assert done.code == 0, done.err
    told = lab.nightlab("query", "--json", "SELECT DISTINCT parent FROM records WHERE description = 'by another'")
    assert json.loads(told.out) == [{"parent": first[:7]}]
