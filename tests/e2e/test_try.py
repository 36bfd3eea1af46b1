"""`nightlab try`: a person's or an agent's edit as one experiment."""

from __future__ import annotations

import time
from pathlib import Path

from tests.e2e.labs import UserLab, make


def edit(lab: UserLab, old: str, new: str) -> None:
    path = lab.root / "train.py"
    path.write_text(path.read_text().replace(old, new))


def test_the_untouched_source_is_the_baseline(tmp_path: Path) -> None:
    """`try` on committed source measures the baseline on two seeds and says so."""
    lab = make(tmp_path / "lab")
    answer = lab.nightlab("try", "--description", "baseline")
    assert answer.code == 0, answer.err
    assert "committed source" in answer.out
    assert [run["purpose"] for run in lab.runs()] == ["baseline", "baseline"]


def test_a_better_edit_becomes_champion(tmp_path: Path) -> None:
    """The dirty file is run as it lies there, proven on several seeds, promoted; the working tree stays."""
    lab = make(tmp_path / "lab")
    edit(lab, "WIDTH = 128", "WIDTH = 256")
    answer = lab.nightlab("try", "--description", "twice the width", "--hypothesis", "more room")
    assert answer.code == 0, answer.err
    assert " keep: better by" in answer.out
    status = lab.json("status")
    assert status["champion"]["description"] == "twice the width"
    assert status["champion"]["standing"] == "proven"
    assert len({run["seed"] for run in lab.runs() if run["description"] == "twice the width"}) >= 2
    assert "WIDTH = 256" in lab.git("show", f"{status['branch']}:train.py")
    assert "WIDTH = 256" in (lab.root / "train.py").read_text()
    assert lab.git("status", "--porcelain").strip() == "M train.py"


def test_the_same_source_again_is_refused(tmp_path: Path) -> None:
    """Comments and white space make no new experiment; the answer names the one that the lab has had."""
    lab = make(tmp_path / "lab")
    edit(lab, "RATE = 0.02", "RATE = 0.9")
    first = lab.nightlab("try", "--description", "a rate too high", "--seeds", "2")
    assert first.code == 0, first.err
    assert " discard: " in first.out
    edit(lab, "RATE = 0.9", "RATE = 0.9  # surely now")
    again = lab.nightlab("try", "--description", "the same in other words")
    assert again.code == 2
    assert "a rate too high" in again.err
    assert len([run for run in lab.runs() if run["purpose"] == "try"]) == 2


def test_without_waiting(tmp_path: Path) -> None:
    """`--no-wait` returns once the experiment is recorded; the verdict comes by itself."""
    lab = make(tmp_path / "lab", seconds=0.3)
    edit(lab, "DECAY = 0.1", "DECAY = 0.2")
    assert lab.nightlab("try", "--no-wait").code == 0
    for _ in range(100):
        if lab.runs():
            break
        time.sleep(0.1)
    assert lab.nightlab("wait").code == 0
    assert any(run["decision"] in ("keep", "discard") for run in lab.runs())


def test_a_protected_file_may_not_change(tmp_path: Path) -> None:
    """An edit of a protected file is no experiment."""
    lab = make(tmp_path / "lab")
    toml = (lab.root / "nightlab.toml").read_text().replace("protected = []", 'protected = ["prepare.py"]')
    (lab.root / "nightlab.toml").write_text(toml)
    (lab.root / "prepare.py").write_text("DATA = 1\n")
    lab.git("add", "-A")
    lab.git("commit", "-qm", "protected")
    (lab.root / "prepare.py").write_text("DATA = 2\n")
    answer = lab.nightlab("try")
    assert answer.code == 1
    assert "prepare.py" in answer.err
    assert lab.runs() == []


def test_replicates_without_waiting(tmp_path: Path) -> None:
    """`replicate --no-wait` returns at once, and the verdict comes by itself; a name that means nothing starts none."""
    lab = make(tmp_path / "lab")
    edit(lab, "RATE = 0.02", "RATE = 0.05")
    (lab.root / "summary.json").write_text('{"loss": 1.5}')
    logged = lab.nightlab("log", "--description", "a better rate", "--status", "keep", "--summary", "summary.json")
    assert logged.code == 0, logged.err
    assert lab.nightlab("replicate", "nobody", "--no-wait").code == 1
    assert not (lab.root / "results" / "nightlab" / "background.log").exists()
    answer = lab.nightlab("replicate", "provisional", "--no-wait")
    assert answer.code == 0, answer.err
    assert answer.out.startswith("#1 runs on 2 more seeds;")
    for _ in range(100):
        champion = lab.json("status")["champion"]
        if champion["standing"] == "proven" and champion["number"] == 1:
            return
        time.sleep(0.2)
    raise AssertionError((lab.root / "results" / "nightlab" / "background.log").read_text())
