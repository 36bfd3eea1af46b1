"""Runs that an agent makes itself: what is believed, and everything that is not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nightlab.agent.hooks import witness
from nightlab.agent.hooks.events import Speaker
from nightlab.agent.hooks.place import Place, has_noted, place_at
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
    ((path, note),) = witness.pending(place)
    agent.after(COMMAND)
    path.write_text(json.dumps(note._replace(has_returned=True)))
    agent.before("ls")
    assert agent.values() == [1.1]
    assert not has_noted(place)


def test_a_name_that_is_taken_is_no_retry(agent: Agent) -> None:
    """Two runs of one commit in one second, and another process's directory of that name: each run has its own."""
    agent.now = float(int(time.time()))
    for call in range(3):
        agent.before(COMMAND)
        place = place_at(agent.root)
        assert place is not None
        ((_, note),) = witness.pending(place)
        assert note.at_ns == agent.now * 1e9
        if call == 1:  # another process has taken the next name and not yet recorded its run
            (run,) = agent.history().runs
            (place.results / "runs" / f"{run}-2").mkdir()
        agent.shell(COMMAND)
        agent.now += 5  # its last change is before now, whatever the clock says
        agent.after(COMMAND)
        agent.now -= 5
    first, second, third = agent.history().runs
    assert (second, third) == (f"{first}-3", f"{first}-4")


def test_a_refused_run_leaves_no_directory(agent: Agent) -> None:
    """A log without a result is found out after the name was taken; the name is free again."""
    (agent.root / "train.py").write_text("print('hello')\n")
    assert "shows no result" in agent.does(COMMAND)
    assert list((agent.root / "results" / "nightlab" / "runs").glob("*")) == []


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
    assert agent.after(COMMAND) == ""  # the other may be about to come back
    assert "two runs at once" in other.after(COMMAND)
    agent.before("ls")
    assert "two runs at once" in agent.after("ls")
    assert agent.values() == []


def test_a_run_that_begins_while_another_writes_is_not_believed(agent: Agent) -> None:
    """A second command that is noted while the first one's process holds the log: neither's number is on record."""
    other = Agent(agent.root, session="s2")
    with working(agent) as finish:
        agent.after(COMMAND)
        other.before(COMMAND)
        finish()
    other.shell(COMMAND)
    assert "two runs at once" in other.after(COMMAND)
    agent.before("ls")
    assert "two runs at once" in agent.after("ls")
    assert agent.values() == []


def test_who_waits_for_leave_beside_a_run_that_works_shares_nothing(agent: Agent) -> None:
    """A second command is asked for while the first writes the log, and denied: the first counts."""
    other = Agent(agent.root, session="s2")
    with working(agent) as finish:
        agent.after(COMMAND)
        other.before(COMMAND)
        finish()
    agent.now = time.time() + 3
    agent.before("ls")
    assert agent.values() == [9.0]


def test_where_nobody_says_who_writes_only_tools_end_runs(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without /proc: a run counts when its tool comes back, and not while another may be writing its log."""
    monkeypatch.setattr(witness, "writers", lambda path: None)
    other = Agent(agent.root, session="s2")
    agent.before(COMMAND)
    other.before(COMMAND)
    agent.shell(COMMAND)
    agent.now = time.time() + 3
    assert agent.after(COMMAND) == ""
    assert "two runs at once" in other.after(COMMAND)
    agent.now = None
    agent.does(COMMAND)
    assert agent.values() == [1.1]


def test_a_command_that_never_ran_does_not_stand_in_the_way(agent: Agent) -> None:
    """One session waits for its user's leave: another's run counts, and the first is told nothing of it."""
    other = Agent(agent.root, session="s2")
    other.before(COMMAND)
    agent.before(COMMAND)
    agent.shell(COMMAND)
    agent.now = time.time() + 3
    agent.after(COMMAND)
    assert agent.values() == [1.1]
    other.now = time.time() + 6
    other.calls += 1
    assert "not on record" not in other.after("ls")
    assert not has_noted(of(agent))


def test_another_command_that_writes_the_log_spoils_it(agent: Agent) -> None:
    """The training was denied and a number written by hand, or it ran and was improved: neither is its result."""
    agent.before(COMMAND)
    agent.does("echo 'loss: 0.001' > run.log")
    agent.now = time.time() + 3
    agent.calls += 1
    assert "another command" in agent.after("ls")
    agent.now = None
    agent.before(COMMAND)
    agent.shell(COMMAND)
    Agent(agent.root, session="s2").does("sed -i 's/1.1/0.1/' run.log")
    assert "another command" in agent.after(COMMAND)
    assert agent.values() == []


def test_who_only_reads_the_log_spoils_nothing(agent: Agent) -> None:
    """Another agent looks at the log while the run goes on."""
    agent.before(COMMAND)
    agent.shell(COMMAND)
    Agent(agent.root, session="s2").does("tail -n 3 run.log")
    agent.after(COMMAND)
    assert agent.values() == [1.1]


def test_a_log_from_nowhere_is_not_that_of_a_command_that_never_came_back(agent: Agent) -> None:
    """What no hook saw wrote the log while a denied command was noted: it is refused once its agent goes on."""
    agent.before(COMMAND)
    (agent.root / "run.log").write_text("loss: 0.001\n")
    agent.now = time.time() + 3
    agent.calls += 1
    assert "never came back" in agent.after("ls")
    assert agent.values() == []


def of(agent: Agent) -> Place:
    place = place_at(agent.root)
    assert place is not None
    return place


@contextmanager
def working(agent: Agent) -> Iterator[Callable[[], None]]:
    """The noted command at work, its log open, until what is yielded is called."""
    (agent.root / "train.py").write_text("import sys\nsys.stdin.readline()\nprint('loss: 9.0')\n")
    agent.before(COMMAND)
    with (agent.root / "run.log").open("wb") as log:
        running = subprocess.Popen([sys.executable, "train.py"], cwd=agent.root, stdin=subprocess.PIPE, stdout=log)
    yield lambda: running.communicate(b"\n") and None
    running.communicate()


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


@pytest.mark.parametrize(
    ("before", "between", "why"),
    [
        ("echo 'X = 2' > helper.py", "true", "helper.py is not as it was committed"),
        ("true", "echo 'X = 2' > helper.py", "helper.py is not as it was committed"),
        ("true", "cp helper.py h; echo 'X = 2' > helper.py; cat h > helper.py", "helper.py changed while"),
        ("true", "echo > helper.py; git checkout -q helper.py", "helper.py changed while"),
        ("rm helper.py", "true", "helper.py is not as it was committed"),
        ("echo more >> notes.md", "echo most >> notes.md", ""),
    ],
)
def test_a_committed_helper_is_the_committed_one(agent: Agent, before: str, between: str, why: str) -> None:
    """A file that nobody edits for an experiment but every one runs with: dirty, or dirty for a while, is refused."""
    Repo(agent.root).commit({"helper.py": "X = 1\n", "notes.md": "a\n"}, "a helper")
    agent.shell(before)
    agent.before(COMMAND)
    agent.shell(f"{between}; {COMMAND}")
    assert why in agent.after(COMMAND)
    assert agent.values() == ([] if why else [1.1])


def test_the_same_bytes_again_are_a_run(agent: Agent) -> None:
    """A deterministic program run again prints what it printed; its log was begun anew all the same."""
    agent.does(COMMAND)
    agent.does(COMMAND)
    assert agent.values() == [1.1, 1.1]


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
    """A command that was seen at work, and whose end no tool told of, is on record by the next start, stop or tool."""
    with working(agent) as finish:
        Agent(agent.root, session="s2").before("ls")
        finish()
    agent.tell(event, source="resume", tool_name="Bash", tool_input={"command": "ls"}, tool_use_id="c")
    assert agent.values() == [9.0]


def test_a_process_from_before_is_not_the_command(agent: Agent) -> None:
    """The log is in the hands of a program that ran already when the command was noted: it vouches for nothing."""
    with working(agent) as finish:
        place = of(agent)
        ((path, note),) = witness.pending(place)
        time.sleep(0.05)  # the kernel counts in ticks of 10 ms
        path.write_text(json.dumps(note._replace(at_ns=time.time_ns())))
        agent.starts("resume")
        finish()
    agent.starts("resume")
    assert agent.values() == []


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
    """A denied command is waited for while its own agent does nothing else, an hour at most; then it is dropped
    without a word, and at the next tool or stop of its own agent once it had the time to begin."""
    other = Agent(agent.root, session="s2")
    agent.before(COMMAND)
    for seconds, is_kept in ((60, True), (3700, False)):
        other.now = time.time() + seconds
        assert other.before("ls") == other.after("ls") == ""
        assert has_noted(of(agent)) is is_kept
    agent.before(COMMAND)
    agent.calls += 1
    for seconds, is_kept in ((0, True), (3, False)):
        agent.now = time.time() + seconds
        assert agent.after("ls") == ""
        assert has_noted(of(agent)) is is_kept


def test_a_stop_ends_what_was_denied(agent: Agent) -> None:
    """Who would end the turn does not wait for a command any more; others' stops say nothing of it."""
    agent.before(COMMAND)
    place = of(agent)
    ((_, note),) = witness.pending(place)
    later = note.at_ns / 1e9 + 3
    assert witness.settle(place, later, Speaker("s2", str(agent.root))) == []
    assert witness.settle(place, later, Speaker("s1", str(agent.root), agent="a subagent")) == []
    assert has_noted(place)
    assert witness.settle(place, later, Speaker("s1", str(agent.root))) == []
    assert not has_noted(place)


def test_a_denied_command_is_forgotten_when_it_is_asked_for_again(agent: Agent) -> None:
    """The second try is its own: its run is on record at once, beside nothing."""
    agent.before(COMMAND)
    agent.now = time.time() + 3
    agent.before(COMMAND)
    assert len(list(witness.pending(of(agent)))) == 1
    agent.shell(COMMAND)
    agent.now += 2
    os.utime(agent.root / "run.log", (agent.now - 1, agent.now - 1))
    agent.after(COMMAND)
    assert agent.values() == [1.1]
