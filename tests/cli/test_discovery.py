"""archive, conjectures, review, and `python -m research`: what they print, and how they fail."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nightlab.cli.discovery import NO_REVIEW, parse_run
from nightlab.config import MetricSettings, load_settings
from nightlab.discovering import Places
from nightlab.memory import open_ledger
from nightlab.types import Again, Exhausted, Plan
from tests.builders import Repo, experiment_name
from tests.cli.shell import Shell
from tests.e2e.labs import environment
from tests.nights import BASELINE, Answer, Bench
from tests.search.histories import Story, crash, edit, knob

LR = knob("MATRIX_LR", "0.04", "0.05")
DEEPER = knob("DEPTH", "8", "9")
HOSTILE = "\x1b[31mred\x1b[0m [bold]x[/bold]"
REPOSITORY = Path(__file__).parents[2]
TOML = 'command = "python train.py"\n[metric]\nname = "loss"\n'


def filled(root: Path) -> Shell:
    """A lab with a baseline (1), a keep (2), two clear losers (3, 4), two crashes (5, 6) and a near miss (7)."""
    shell = Shell.make(root)
    story = Story().keep("b", LR).idea("c", DEEPER, gain=-0.1).idea("d", DEEPER, gain=-0.1)
    story.idea("e", edit("swiglu"), outcome=crash(HOSTILE)).idea("f", edit("swiglu"), outcome=crash(HOSTILE))
    story.idea("g", knob("WARMDOWN_RATIO", "0.4", "0.5"), probability=0.8, gain=0.001)
    with open_ledger(load_settings(shell.root)) as ledger:
        ledger.append(*story.events)
    return shell


@pytest.fixture
def lab(tmp_path: Path) -> Shell:
    return filled(tmp_path / "lab")


@pytest.fixture
def empty(tmp_path: Path) -> Shell:
    return Shell.make(tmp_path / "empty")


# --- archive, conjectures, review -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "hint", "shape"),
    [
        ("archive", "no night has begun yet", dict),
        ("conjectures", "no conjecture yet", list),
        ("review", "nothing has run yet", type(None)),
    ],
)
def test_an_empty_lab_says_what_to_do(command: str, hint: str, shape: type, empty: Shell) -> None:
    """Before there is anything each command says so on stderr and exits 0; its JSON is empty and well-formed."""
    said = empty.at_lab(command)
    assert (said.code, said.out) == (0, "")
    assert hint in said.err
    assert "nightlab run" in said.err
    assert isinstance(empty.at_lab(command, "--json").json, shape)


def test_the_archive_shows_elites_near_misses_and_what_crashes(lab: Shell) -> None:
    """Niches with their best, the champion marked, near misses, and no-fly patterns; nothing steers the terminal."""
    said = lab.at_lab("archive")
    assert said.code == 0
    assert "#2 *" in said.out
    assert "near misses" in said.out
    assert "no-fly patterns" in said.out
    assert "\x1b" not in said.out
    assert "[bold]x[/bold]" in said.out


def test_the_archive_as_json(lab: Shell) -> None:
    """The same for programs: elites best first, near misses and patterns by their experiments."""
    sheet = json.loads(lab.at_lab("archive", "--json").out)
    assert [elite["number"] for elite in sheet["elites"]] == [7, 2, 3]
    assert [elite["is_champion"] for elite in sheet["elites"]] == [False, True, False]
    assert [near["number"] for near in sheet["near_misses"]] == [7]
    assert [(pattern["change"], pattern["count"]) for pattern in sheet["no_fly"]] == [("swiglu", 2)]


def test_conjectures_name_who_supports_and_contradicts(lab: Shell) -> None:
    """A claim a row with effect, interval and experiments; a crash is a no-fly zone."""
    said = lab.at_lab("conjectures")
    row = next(line for line in said.lines if "DEPTH up" in line)
    assert "#3 #4" in row
    assert "\x1b" not in said.out
    found = json.loads(lab.at_lab("conjectures", "--json").out)
    zone = next(line for line in found if line["claim"]["is_no_fly"])
    assert [one["number"] for one in zone["support"]] == [5, 6]
    assert zone["claim"]["id"] in zone["sentence"]


def test_a_review_by_name_and_the_latest_one(lab: Shell) -> None:
    """By number as for `show`; without a name the experiment that was reviewed last."""
    assert lab.at_lab("review").lines[0].startswith("#7 ")
    named = lab.at_lab("review", "5")
    assert named.lines[0].startswith("#5 ")
    assert "crashed" in named.out
    assert "\x1b" not in named.out
    sheet = json.loads(lab.at_lab("review", "2", "--json").out)
    assert (sheet["review"]["recommendation"], sheet["number"]) == ("keep", 2)


def test_a_name_that_means_nothing_is_an_error(lab: Shell) -> None:
    """An unknown experiment: exit 1 and what to do."""
    said = lab.at_lab("review", "99")
    assert said.code == 1
    assert "hint:" in said.err


# --- python -m research -----------------------------------------------------------------------------------------


def research(shell: Shell, command: str, *words: str):  # type: ignore[no-untyped-def]
    return shell("research", command, "--lab", str(shell.root), *words)


def test_summary_and_archive_work_in_any_lab(lab: Shell, empty: Shell) -> None:
    """The summary begins with its label and ends with the closing line; the archive is a JSON list; exit 0."""
    for shell in (empty, lab):
        said = research(shell, "summary")
        assert (said.code, said.lines[0]) == (0, "Autoresearch discovery state:")
        assert said.lines[-1].endswith("do not commit it.")
        assert isinstance(research(shell, "archive").json, list)
    keys = {"niche", "best_val_bpb", "commit", "emitter", "description", "count"}
    assert all(set(row) == keys for row in json.loads(research(lab, "archive").out))


def test_bad_commands_are_usage_errors(empty: Shell) -> None:
    """No command, an unknown one: exit 2."""
    assert empty("research").code == 2
    assert empty("research", "dance").code == 2


def test_last_review_is_the_latest_or_says_there_is_none(lab: Shell, empty: Shell) -> None:
    """The latest review's text; without any run of ours what another program left; else that there is none."""
    assert research(lab, "last-review").lines[0] == "Discovery review:"
    assert research(empty, "last-review").out.strip() == NO_REVIEW
    places = Places(empty.root)
    places.directory.mkdir(parents=True)
    places.review.write_text("Discovery review:\n- Result: crash (old).\n")
    assert "crash (old)" in research(empty, "last-review").out


PLAN = {
    "plan_id", "phase", "emitter", "niche", "hypothesis", "predicted_direction", "rationale", "created_at",
}  # fmt: skip


def test_next_before_anything_ran_is_the_baseline(empty: Shell) -> None:
    """The first plan is the untouched source; a preview writes nothing."""
    plan = json.loads(research(empty, "next").out)
    assert set(plan) == PLAN
    assert (plan["phase"], plan["emitter"]) == ("baseline", "local_tuner")
    assert not Places(empty.root).directory.exists()


def test_next_is_what_the_search_would_propose(tmp_path: Path) -> None:
    """On a lab with a night the plan is the built-in proposer's next idea, and with autonomy on its prompt follows."""
    table: dict[str, Answer] = {BASELINE: 1.0, "LR = 1\n": 1.1}
    Repo.make(tmp_path / "lab", {"train.py": BASELINE, "nightlab.toml": TOML})
    bench = Bench(tmp_path / "lab", table)
    bench.night(ideas=1)
    shell = Shell(bench.root)
    plan = json.loads(research(shell, "next").out)
    assert set(plan) == PLAN
    assert plan["phase"] == "explore"
    places = Places(bench.root)
    places.directory.mkdir(parents=True)
    places.state.write_text('{"autonomy_enabled": true}')
    said = research(shell, "next")
    assert "\n\nNext continuation prompt:\n\n" in said.out
    assert f"Emitter: {plan['emitter']}" in said.out


def test_next_shows_the_plan_that_waits_for_its_run(tmp_path: Path) -> None:
    """An idea that is proposed and has not run yet is the plan, whatever the search would propose besides."""
    shell = Shell.make(tmp_path / "lab")
    begun = len(Story().events)
    story = Story().idea("b", LR, plan=Plan(emitter="contrarian", brief="against the trend"))
    with open_ledger(load_settings(shell.root)) as ledger:
        ledger.append(*story.events[: begun + 1])
    plan = json.loads(research(shell, "next").out)
    assert (plan["emitter"], plan["rationale"]) == ("contrarian", "against the trend")


@pytest.mark.parametrize(
    ("answer", "hypothesis"),
    [
        (Again(experiment=experiment_name("g"), because="a stack with it won"), "Run #7 again: a stack with it won"),
        (Exhausted(reason="train.py: nothing is left"), "train.py: nothing is left"),
    ],
    ids=["a settled idea once more", "nothing"],
)
def test_next_says_so_where_no_new_idea_comes(
    lab: Shell, monkeypatch: pytest.MonkeyPatch, answer: Again | Exhausted, hypothesis: str
) -> None:
    """Another run of a settled idea, or an exhausted search, is a plan of the same shape."""
    monkeypatch.setattr("nightlab.planned.planned", lambda history, settings, git: answer)
    plan = json.loads(research(lab, "next").out)
    assert set(plan) == PLAN
    assert plan["hypothesis"] == hypothesis


# --- parse-run --------------------------------------------------------------------------------------------------

LOG = """\
step 1 loss: 9.1
val_bpb:   0.997900
peak_vram_mb: 45060.2
num_steps: 953
depth: 8
other: 12
val_bpb: 0.991000
"""


def test_a_log_is_parsed_by_its_names(empty: Shell) -> None:
    """Known names, the last value of each, counts as integers; other lines are passed over; the last twenty lines."""
    path = empty.root / "run.log"
    path.write_text("noise\n" * 30 + LOG)
    found = json.loads(research(empty, "parse-run", str(path)).out)
    assert found["metrics"] == {"val_bpb": 0.991, "peak_vram_mb": 45060.2, "num_steps": 953, "depth": 8}
    assert len(found["tail"]) == 20
    assert found["tail"][-1] == "val_bpb: 0.991000"


@pytest.mark.parametrize("line", ["val_bpb: nan", "val_bpb: 0.0", "val_bpb: -1.5", "val_bpb: 1e12", "val_bpb:", "boom"])
def test_a_log_without_a_metric_to_believe_has_none(line: str) -> None:
    """NaN, zero, negative and absurd values are no metric, and no best."""
    assert parse_run(["depth: 8", line], MetricSettings()) is None


def test_numbers_that_are_none_are_passed_over() -> None:
    """What has the shape of a number and is none does not stop the reading."""
    assert parse_run(["mfu_percent: 1e", "val_bpb: 1.0"], MetricSettings()) == {"val_bpb": 1.0}


def test_a_log_that_is_not_there_is_an_error(empty: Shell) -> None:
    """A missing log is named, exit 1."""
    said = research(empty, "parse-run", str(empty.root / "gone.log"))
    assert said.code == 1
    assert "gone.log" in said.err
    assert "hint:" in said.err


def test_the_door_is_the_command(lab: Shell) -> None:
    """`python -m research` from the lab's directory finds the lab there, exit codes included."""

    def through(*words: str) -> subprocess.CompletedProcess[str]:
        env = environment() | {"PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"}
        command = [sys.executable, "-m", "research", *words]
        return subprocess.run(command, cwd=lab.root, env=env, capture_output=True, text=True, check=False)

    assert through("summary").stdout.startswith("Autoresearch discovery state:")
    assert through("dance").returncode == 2
