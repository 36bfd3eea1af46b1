"""Runs that an agent makes itself: what is believed, and everything that is not."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nightlab.agent.hooks import witness
from nightlab.agent.hooks.place import has_noted, place_at
from nightlab.discovering import Places
from nightlab.types import Crashed, Purpose
from tests.agent.hooks.agents import COMMAND, TRAIN, Agent, make
from tests.builders import Repo


@pytest.fixture
def agent(tmp_path: Path) -> Agent:
    made = make(tmp_path / "lab")
    made.starts()
    return made


def test_a_run_made_in_the_open_is_on_record_and_reviewed(agent: Agent) -> None:
    """The value is the log's and not the tool's text; the agent is told the review as context; it judges nothing."""
    told = agent.does(COMMAND)
    run = next(iter(agent.history().runs.values()))
    assert (run.value, run.run.purpose) == (1.1, Purpose.EXEC)
    assert "Discovery review:" in told
    assert run.run.id in told
    state = json.loads(Places(agent.root).state.read_text())
    assert state["experiment_count"] == 1


def test_the_same_event_twice_counts_once(agent: Agent) -> None:
    """A client that tells of a tool's end twice, or a hook that is run again, records and reviews one run."""
    agent.does(COMMAND)
    assert agent.after(COMMAND) == ""
    assert agent.values() == [1.1]


def test_a_kill_between_the_record_and_the_end_of_its_note_counts_once(agent: Agent) -> None:
    """The note that a killed hook left is settled again, and the run is there already."""
    agent.before(COMMAND)
    agent.shell(COMMAND)
    place = place_at(agent.root)
    assert place is not None
    ((path, _),) = witness.pending(place)
    note = path.read_bytes()
    agent.after(COMMAND)
    path.write_bytes(note)
    agent.before("ls")
    assert agent.values() == [1.1]
    assert not has_noted(place)


def test_a_stale_log_is_nobodys_result(agent: Agent) -> None:
    """A log that lay there before the command is not what the command did; the answer says what records it."""
    agent.shell(COMMAND)
    Repo(agent.root).commit({"train.py": TRAIN.replace("0.1", "0.2")}, "exp: raise the rate")
    agent.before(COMMAND)
    time.sleep(2.1)  # a command in the background would have opened its log by now
    told = agent.after(COMMAND)
    assert "wrote no run.log" in told
    assert "nightlab exec -- python train.py > run.log 2>&1" in told
    assert agent.values() == []


@pytest.mark.parametrize(
    "command",
    [
        "grep -c 'python train.py > run.log 2>&1' program.md",
        "echo python train.py; echo 'loss: 0.1' > run.log",
    ],
)
def test_words_of_the_command_are_no_run(agent: Agent, command: str) -> None:
    """What only mentions the training records nothing, whatever it does to the log."""
    assert agent.does(command) == ""
    assert agent.values() == []


@pytest.mark.parametrize(
    ("between", "why"),
    [
        ("sed -i 's/0.1/0.2/' train.py", "train.py changed"),
        ("sed -i 's/0.1/0.2/' train.py && sed -i 's/0.2/0.1/' train.py", "train.py changed"),
        ("echo 'BASE = 0.0' > prepare.py", "prepare.py changed"),
    ],
)
def test_source_that_changed_in_between_vouches_for_nothing(agent: Agent, between: str, why: str) -> None:
    """An edit of the editable or the protected file between the hooks, and one that is put back, refuse the run."""
    agent.before(COMMAND)
    agent.shell(f"{between}; {COMMAND}")
    assert why in agent.after(COMMAND)
    assert agent.values() == []


def test_an_edited_yardstick_measures_nothing(agent: Agent) -> None:
    """A prepare.py that differs from the committed one refuses the run, though nothing changed while it ran."""
    (agent.root / "prepare.py").write_text("BASE = 0.0\n")
    told = agent.does(COMMAND)
    assert "prepare.py" in told
    assert agent.values() == []


def test_a_log_that_is_written_on_is_refused(agent: Agent) -> None:
    """`>>` leaves an older run's numbers in the log."""
    (agent.root / "run.log").write_text("loss: 0.5\n")
    told = agent.does("python train.py >> run.log 2>&1")
    assert "not begun anew" in told
    assert agent.values() == []


def test_a_log_that_is_copied_from_earlier_is_refused(agent: Agent) -> None:
    """A log with a time before the command is an older run's."""
    agent.shell(COMMAND)
    agent.shell("touch -d '2 hours ago' run.log && mv run.log old.log")
    told = agent.does("python train.py > other.log 2>&1; mv old.log run.log")
    assert "not of its time" in told
    assert agent.values() == []


def test_two_agents_at_once_are_told_apart_or_not_believed(agent: Agent) -> None:
    """Two sessions that train into one log at the same time: neither's number is on record."""
    other = Agent(agent.root, session="s2")
    agent.before(COMMAND)
    other.before(COMMAND)
    agent.shell(COMMAND)
    first, second = agent.after(COMMAND), other.after(COMMAND)
    assert "two runs at once" in first
    assert "two runs at once" in second
    assert agent.values() == []


def test_one_after_another_two_agents_count_one_run_each(agent: Agent) -> None:
    """The second session's run is its own, and what the first recorded is not recorded again."""
    other = Agent(agent.root, session="s2")
    other.starts()
    agent.does(COMMAND)
    (agent.root / "train.py").write_text(TRAIN.replace("0.1", "0.3"))
    other.does(COMMAND)
    assert agent.values() == [1.1, 1.3]


def test_a_commit_elsewhere_changes_nothing(agent: Agent) -> None:
    """An agent that trains in another checkout, or commits on another branch, adds no result to this lab."""
    agent.shell(COMMAND)
    agent.shell("git worktree add -q ../other -b elsewhere && cd ../other && git commit -q --allow-empty -m 'exp: x'")
    told = agent.does("true; cd ../other && python train.py > run.log 2>&1")
    assert told == ""
    assert agent.values() == []


def test_another_commit_with_other_helpers_is_another_experiment(agent: Agent) -> None:
    """HEAD moved to a commit whose other files differ while the command ran: nobody can say what was measured."""
    agent.before(COMMAND)
    agent.shell(COMMAND)
    Repo(agent.root).commit({"helper.py": "X = 1\n"}, "a helper")
    assert "another commit" in agent.after(COMMAND)
    assert agent.values() == []


def test_the_commit_within_the_command_is_the_usual_way(agent: Agent) -> None:
    """`git commit` in the same command moves HEAD and not the source: the run counts, under the commit's subject."""
    (agent.root / "train.py").write_text(TRAIN.replace("0.1", "0.4"))
    agent.before(COMMAND)
    agent.shell(f"git -c user.name=a -c user.email=a@b commit -qam 'exp: rate [emitter=contrarian]' && {COMMAND}")
    agent.after(COMMAND)
    state = next(iter(agent.history().experiments.values()))
    assert state.experiment.description == "exp: rate [emitter=contrarian]"
    assert agent.values() == [1.4]


def test_a_command_that_goes_on_is_waited_for(agent: Agent) -> None:
    """A tool that comes back before its command: nothing is recorded while the log is written, and all of it after."""
    (agent.root / "train.py").write_text("import sys\nprint('loss: 9.0', flush=True)\nsys.stdin.readline()\n")
    agent.before(COMMAND)
    with (agent.root / "run.log").open("wb") as log:
        running = subprocess.Popen([sys.executable, "train.py"], cwd=agent.root, stdin=subprocess.PIPE, stdout=log)
    assert agent.after(COMMAND) == ""
    assert agent.values() == []
    running.communicate(b"\n")
    agent.before("ls")
    assert "Discovery review:" in agent.after("ls")
    assert agent.values() == [9.0]


@pytest.mark.parametrize("event", ["SessionStart", "Stop", "PreToolUse"])
def test_what_was_left_running_is_taken_in_at_every_later_event(agent: Agent, event: str) -> None:
    """A command whose end no tool told of is on record by the next start, stop or tool."""
    agent.before(COMMAND)
    agent.shell(COMMAND)
    agent.tell(event, source="resume", tool_name="Bash", tool_input={"command": "ls"}, tool_use_id="c")
    assert agent.values() == [1.1]


def test_a_crash_is_a_crash_and_silence_is_nothing(agent: Agent) -> None:
    """A traceback in the log is a crash on record; a log without number and error is refused."""
    (agent.root / "train.py").write_text("raise RuntimeError('boom')\n")
    agent.does(COMMAND)
    (outcome,) = [run.outcome for run in agent.history().runs.values()]
    assert isinstance(outcome, Crashed)
    assert outcome.summary == "RuntimeError: boom"
    (agent.root / "train.py").write_text("print('hello')\n")
    assert "shows no result" in agent.does(COMMAND)
    assert len(agent.values()) == 1


def test_a_seed_of_its_own_is_not_guessed(agent: Agent) -> None:
    """A command that sets the seed, or another variable of the benchmark, is another experiment: it is refused."""
    assert "AUTORESEARCH_SEED" in agent.does("AUTORESEARCH_SEED=7 python train.py > run.log 2>&1")
    assert agent.values() == []


def test_a_lab_that_asks_for_a_receipt_gets_one_or_records_nothing(agent: Agent) -> None:
    """Without the receipt nothing; with one of another script nothing; with its own the run, on the receipt's seed."""
    toml = agent.root / "nightlab.toml"
    toml.write_text(toml.read_text() + "receipt = true\n")
    assert "receipt" in agent.does(COMMAND)
    script = (
        "import hashlib, json, os\n"
        "told = {'metric': 'loss', 'value': 1.5, 'seed': 7, 'profile': 'p', 'budget': {}, 'data_sha256': 'd',\n"
        "        'tokenizer_sha256': 't', 'script_sha256': %s}\n"
        "json.dump(told, open(os.environ['AUTORESEARCH_RECEIPT_PATH'], 'w'))\n"
        "print('loss: 1.5')\n"
    )
    command = "AUTORESEARCH_RECEIPT_PATH=results/receipt.json python train.py > run.log 2>&1"
    (agent.root / "train.py").write_text(script % "'another'")
    assert "another script" in agent.does(command)
    assert agent.values() == []
    (agent.root / "train.py").write_text(
        "print('again')\n" + script % "hashlib.sha256(open('train.py', 'rb').read()).hexdigest()"
    )
    agent.does(command)
    (run,) = agent.history().runs.values()
    assert (run.value, run.run.seed) == (1.5, 7)


def test_a_protected_file_is_restored_and_runs_count_again(agent: Agent) -> None:
    """A refusal leaves nothing behind: the next honest run is on record."""
    (agent.root / "prepare.py").write_text("BASE = 0.0\n")
    agent.does(COMMAND)
    (agent.root / "prepare.py").write_text("BASE = 1.00\n")
    Repo(agent.root).commit({}, "respelt")
    agent.does(COMMAND)
    assert agent.values() == [1.1]


def test_a_command_that_was_never_run_is_forgotten(agent: Agent) -> None:
    """A note whose command nobody ran (denied by its user) is dropped after a day, without a word."""
    agent.before(COMMAND)
    agent.now = time.time() + 25 * 3600
    agent.before("ls")
    place = place_at(agent.root)
    assert place is not None
    assert not has_noted(place)
    assert agent.after("ls") == ""
