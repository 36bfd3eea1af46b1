"""What an agent that would stop is asked, and that it is asked no more once it gets nowhere."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path

import pytest

from nightlab.agent.hooks.asking import BUDGET, HOURS
from nightlab.agent.hooks.door import answer
from nightlab.agent.hooks.place import place_at
from nightlab.autonomy import Autonomy, look, text_of, wish
from nightlab.config import load_settings
from nightlab.discovering import Places
from nightlab.git import Git
from nightlab.ledger.glance import AUTONOMY
from nightlab.memory import open_ledger
from nightlab.root import FOR_LAB
from nightlab.runner import lock
from nightlab.types import STOP, Exhausted, NightBegan, NightId, Noted
from tests.agent.hooks.agents import COMMAND, TRAIN, Agent, Listed, make
from tests.builders import Repo
from tests.cli.shell import Shell
from tests.search.histories import Story, edit, knob

LR = knob("MATRIX_LR", "0.04", "0.05")


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """In a lab with its data fetched, whose user wants the loop to go on."""
    (tmp_path / "home" / ".cache" / "autoresearch").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    made = make(tmp_path / "lab")
    made.prompts("never stop")
    return made


def with_history(agent: Agent) -> Agent:
    """With a baseline, a keep and a loser on record."""
    with open_ledger(load_settings(agent.root)) as ledger:
        ledger.append(*Story().keep("b", LR).idea("c", edit("swiglu"), gain=-0.1).events)
    return agent


def autonomy(agent: Agent) -> Autonomy:
    place = place_at(agent.root)
    assert place is not None
    return look(place.database, place.state)


def events(agent: Agent, kind: str) -> list[dict[str, object]]:
    told = [json.loads(line) for line in Places(agent.root).events.read_text().splitlines()]
    return [event for event in told if event["event"] == kind]


# --- autonomy ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("prompt", "wanted"),
    [
        ("Never stop.", True),
        ("please continue autonomously", True),
        ("go autonomy", True),
        ("continue the loop", True),
        ("Resume the autonomous research loop", True),
        ("restart experiment loop", True),
        ("start the autoresearch loop, please", True),
        ("kick off a new experiment", True),
        ("kick off new experiments", True),
        ("start the experiment loops", True),
        ("discontinue the loop", None),
        ("pauses are fine", None),
        ("pause", False),
        ("stop after this one", False),
        ("don't continue", False),
        ("don\u2019t\ncontinue", False),
        ("do not continue", False),
        ("summarize only", False),
        ("hold here", False),
        ("stop the loop", False),
        ("end the loop", False),
        ("disable autonomy", False),
        ("never stop the loop", False),
        ("never stop, but pause now", False),
        ("what is the best so far?", None),
        ("unpause the video", None),
        ("the loop variable", None),
    ],
)
def test_the_sentences_of_the_contract(prompt: str, wanted: bool | None) -> None:
    """Each sentence switches the loop on or off, the off ones first; other words change nothing."""
    assert wish(prompt) is wanted


def test_a_users_word_is_in_the_ledger_and_in_the_files(agent: Agent) -> None:
    """autonomy_enabled and its event are written at once, and a lost state.json takes nothing from it."""
    places = Places(agent.root)
    assert json.loads(places.state.read_text())["autonomy_enabled"] is True
    assert [event["prompt"] for event in events(agent, "autonomy_preference")] == ["never stop"]
    places.state.unlink()
    assert autonomy(agent).enabled
    assert "ON" in agent.prompts("hello")
    agent.prompts("hold here")
    assert not autonomy(agent).enabled
    assert json.loads(places.state.read_text())["autonomy_enabled"] is False


def test_what_an_older_program_wrote_counts_until_the_user_speaks(tmp_path: Path) -> None:
    """A state.json from before the ledger knew of it is the user's word."""
    agent = make(tmp_path / "lab")
    places = Places(agent.root)
    places.directory.mkdir(parents=True)
    places.state.write_text('{"autonomy_enabled": true, "autonomy_reason": "go on"}')
    assert autonomy(agent) == Autonomy(True, "go on")
    agent.prompts("pause")
    assert not autonomy(agent).enabled


@pytest.mark.parametrize(
    "prompt",
    ["<hook_context>you may stop the loop</hook_context>\n\nhello", '<hook_prompt hook_run_id="1">pause</hook_prompt>'],
)
def test_words_that_hooks_put_into_a_prompt_are_not_the_users(agent: Agent, prompt: str) -> None:
    """What a client hands on of hooks, ours or others', switches nothing."""
    agent.prompts(prompt)
    assert autonomy(agent).enabled


def test_our_own_ask_as_a_prompt_and_a_subagents_prompt_switch_nothing(agent: Agent) -> None:
    """Gemini gives a continuation as the next prompt, and Codex tells of its subagents' prompts."""
    agent.prompts(agent.stops() + "\npause")
    agent.prompts("stop the loop", agent_id="a-1")
    assert autonomy(agent).enabled


# --- the five asks, in their order ------------------------------------------------------------------------------


def test_without_autonomy_an_agent_may_stop(agent: Agent) -> None:
    """Off is the beginning and the end; neither writes anything of an ask."""
    agent.prompts("stop the loop")
    assert agent.stops() == ""
    assert not events(agent, "stop_continue")


def test_an_agent_that_a_night_asked_for_an_idea_is_led_by_nobody_else(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the environment that `--proposer 'agent ...'` gives it hooks say nothing, but for what the policy refuses."""
    with_history(agent)
    assert agent.stops()
    monkeypatch.setenv(FOR_LAB, str(agent.root))
    assert agent.stops() == ""
    assert agent.tell("SessionStart", source="startup") is None
    assert agent.prompts("never stop") == ""
    assert agent.before("ls") == ""
    assert agent.before("git push")


def test_a_branch_of_somebody_elses_is_asked_for_once(agent: Agent) -> None:
    """On main the agent is asked to set up its branch; one that does not is let go, and was told so."""
    Repo(agent.root).git("switch", "-q", "main")
    asked = agent.stops()
    assert "The branch that is checked out is main;" in asked
    assert "git switch -c autoresearch/" in asked
    assert "~/.cache/autoresearch" in asked
    assert "asked once" in asked
    assert agent.stops() == ""


def test_missing_data_are_asked_for_once(agent: Agent, tmp_path: Path) -> None:
    """The sentence that scripts look for; nothing if the agent says so itself, or was told before."""
    (tmp_path / "home" / ".cache" / "autoresearch").rmdir()
    assert agent.stops("I cannot: run `uv run prepare.py` yourself, please") == ""
    assert "run `uv run prepare.py`" in agent.stops()
    assert agent.stops() == ""


def test_the_baseline_comes_before_ideas(agent: Agent) -> None:
    """With nothing measured the committed source is run first."""
    assert 'nightlab try --description "baseline"' in agent.stops()


def test_a_baseline_that_was_only_recorded_is_run_unchanged(agent: Agent) -> None:
    """A run that judges nothing leaves the search without a baseline: none is edited for it, none is to improve."""
    agent.does(COMMAND)
    asked = agent.stops()
    assert "Phase: baseline" in asked
    assert 'nightlab try --description "baseline"' in asked
    assert "Edit " not in asked
    assert "Predicted effect: flat" in asked


def test_a_row_of_results_tsv_is_a_measurement(agent: Agent) -> None:
    """A table that another program filled counts as one that we did."""
    row = "abc1234\t1.100000\t0.0\tkeep\tbaseline\n"
    (agent.root / "results.tsv").write_text("commit\tval_bpb\tmemory_gb\tstatus\tdescription\n" + row)
    assert "Phase: " in agent.stops()


def test_a_commit_that_was_not_run_is_in_flight(agent: Agent) -> None:
    """HEAD is `exp:` and its source has no run: it is named by its commit, and no longer once it has one."""
    agent.does(COMMAND)
    commit = Repo(agent.root).commit({"train.py": TRAIN.replace("0.1", "0.2")}, "exp: raise the rate")
    asked = agent.stops()
    assert "existing in-flight experiment" in asked
    assert commit[:7] in asked
    assert 'git reset --soft HEAD~1\nnightlab try --description "raise the rate"' in asked
    agent.does(COMMAND)
    assert "in-flight" not in agent.stops()


def test_a_command_that_still_runs_is_in_flight(agent: Agent) -> None:
    """A training command of the session's own that has not ended is waited for; no other session is told it is its."""
    agent.does(COMMAND)
    agent.before(COMMAND)
    with (agent.root / "run.log").open("w") as log, subprocess.Popen(["sleep", "60"], stdout=log) as running:
        asked, other = agent.stops(), Agent(agent.root, session="s2").stops()
        running.kill()
    assert "existing in-flight experiment: the training command of yours still runs" in asked
    assert other
    assert "of yours" not in other


def test_a_command_that_never_began_is_not_in_flight(agent: Agent) -> None:
    """The user said no to it, so that no tool came back: nobody is told to wait for it."""
    agent.does(COMMAND)
    agent.before(COMMAND)
    assert "in-flight" not in agent.stops()


def test_an_idea_without_a_verdict_is_in_flight(agent: Agent) -> None:
    """What was proposed and is not decided is seen through first."""
    story = Story().keep("b", LR).idea("c", edit("swiglu"), gain=-0.1)
    with open_ledger(load_settings(agent.root)) as ledger:
        ledger.append(*story.events[:-1])
    asked = agent.stops()
    assert "existing in-flight experiment: #3" in asked
    assert "nightlab wait" in asked


def test_a_plan_has_its_labels_and_stays_until_it_is_carried_out(agent: Agent) -> None:
    """The plan is persisted: the same one at the next stop, in current_plan.json and once in events.jsonl."""
    with_history(agent)
    asked = agent.stops()
    for label in ("Phase: ", "Emitter: ", "Niche: ", "Hypothesis: ", "nightlab try --description"):
        assert label in asked
    plan = json.loads(Places(agent.root).plan.read_text())
    assert f"Emitter: {plan['emitter']}" in asked
    assert agent.stops() == asked
    assert [event["plan"] for event in events(agent, "plan_selected")][-1] == plan
    assert len([e for e in events(agent, "plan_selected") if e["plan"] == plan]) == 1
    assert [event["plan_id"] for event in events(agent, "stop_continue")] == [plan["plan_id"]] * 2
    agent.does(COMMAND)
    assert json.loads(Places(agent.root).plan.read_text()) == {}


def test_a_user_who_ends_the_loop_ends_its_plan(agent: Agent) -> None:
    """Disabling clears the plan that was to be carried out."""
    with_history(agent)
    agent.stops()
    agent.prompts("stop the loop")
    assert json.loads(Places(agent.root).plan.read_text()) == {}


def test_a_reason_needs_no_escaping(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codex hands the reason on as XML: none of its three signs is in it, whatever the plan says."""
    with_history(agent)
    answer = Exhausted(reason="LR 0.1 -> 0.2 & 5 < x >= 3 <b>\x1b[31m")
    monkeypatch.setattr("nightlab.planned.planned", lambda history, settings, git: answer)
    asked = agent.stops()
    assert "LR 0.1 to 0.2 and 5" in asked
    assert not set("<>&\x1b") & set(asked)


# --- the budget -------------------------------------------------------------------------------------------------


def test_fifty_stops_without_progress_end_by_themselves(agent: Agent) -> None:
    """A client that never ends a turn by itself is let go after a few asks, for good."""
    with_history(agent)
    asked = [agent.stops() for _ in range(50)]
    assert all(asked[:BUDGET])
    assert not any(asked[BUDGET:])


def test_only_progress_gives_asks_back(agent: Agent) -> None:
    """A prompt, a tool, lost files and a new process give nothing; an experiment does. Another session has its own."""
    with_history(agent)
    for _ in range(BUDGET):
        agent.stops()
    agent.does("ls")
    agent.prompts("hello")
    Places(agent.root).state.unlink()
    for path in (agent.root / "results" / "nightlab" / "hooks").iterdir():
        path.unlink()
    assert agent.stops() == ""
    assert Agent(agent.root, session="s2").stops() != ""
    agent.does(COMMAND)
    assert agent.stops() != ""


def test_the_same_source_again_is_no_progress(agent: Agent) -> None:
    """A further run of what has run, and a row that somebody wrote into a mirror, give no ask back."""
    agent.does(COMMAND)
    for _ in range(BUDGET):
        assert agent.stops() != ""
    (agent.root / "run.log").unlink()
    time.sleep(1.0)  # a run is named by its second
    agent.does(COMMAND)
    assert len(agent.values()) == 2
    assert agent.stops() == ""
    row = "abc1234\t1.100000\t0.0\tdiscard\tanother lab\n"
    (agent.root / "results.tsv").write_text("commit\tval_bpb\tmemory_gb\tstatus\tdescription\n" + row)
    assert agent.stops() == ""
    (agent.root / "train.py").write_text(TRAIN.replace("0.1", "0.2"))
    agent.does(COMMAND)
    assert agent.stops() != ""


def test_the_last_ask_says_so_and_a_persons_word_begins_anew(agent: Agent) -> None:
    """Agent and onlooker hear that it is the last one and what begins the count anew; that very sentence does."""
    with_history(agent)
    told = [agent.tell("Stop") for _ in range(BUDGET)]
    assert ["last ask" in one["reason"] for one in told] == [False] * (BUDGET - 1) + [True]
    assert {one["systemMessage"] for one in told[:-1]} == {"Autoresearch loop continuing."}
    assert told[-1]["systemMessage"].startswith("Autoresearch loop continuing. For the last time")
    assert agent.stops() == ""
    assert wish(told[-1]["reason"]) is None
    assert wish(told[-1]["systemMessage"]) is True
    agent.prompts("continue autonomously")
    assert [bool(agent.stops()) for _ in range(BUDGET + 1)] == [True] * BUDGET + [False]


def test_a_session_is_asked_so_often_and_no_more(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress or not: all asks of a session have a bound, and its last one says so."""
    with_history(agent)
    monkeypatch.setattr("nightlab.agent.hooks.asking.MOST", 3)
    asked = []
    for rate in range(5):
        asked.append(agent.stops())
        (agent.root / "train.py").write_text(TRAIN.replace("0.1", f"0.{rate + 2}"))
        agent.does(COMMAND)
    assert [bool(one) for one in asked] == [True, True, True, False, False]
    assert "last ask (3 in all)" in asked[2]


def test_a_session_ends_after_its_hours(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first ask after a session's hours is its last one, and says so."""
    with_history(agent)
    assert "last" not in agent.stops()
    agent.now = time.time() + HOURS * 3600.0 - 60.0
    assert "last" not in agent.stops()
    monkeypatch.setattr("nightlab.agent.hooks.asking.HOURS", 0.1 / 3600.0)
    time.sleep(0.2)
    agent.now = None
    assert "hours are over" in agent.stops()
    assert agent.stops() == ""


def test_the_stop_file_ends_it_and_the_users_word_takes_it_away(agent: Agent) -> None:
    """results/nightlab/stop lets every agent stop; a user who starts the loop again removes it."""
    stop = agent.root / "results" / "nightlab" / "stop"
    stop.touch()
    assert agent.stops() == ""
    agent.prompts("continue the loop")
    assert not stop.exists()
    assert agent.stops() != ""


def test_only_a_persons_stop_ends_it(agent: Agent) -> None:
    """A person's `nightlab stop` says so in a note on autonomy; an agent that ends a night speaks for nobody."""
    with open_ledger(load_settings(agent.root)) as ledger:
        ledger.append(Noted(topic=STOP, text="asked to stop by an agent"))
    assert agent.stops() != ""
    with open_ledger(load_settings(agent.root)) as ledger:
        ledger.append(
            Noted(topic=STOP, text="asked to stop by a person"),
            Noted(topic=AUTONOMY, text=text_of(Autonomy(enabled=False, reason="stopped by a person"))),
        )
    assert agent.stops() == ""
    agent.prompts("continue the loop")
    assert agent.stops() != ""


def test_while_a_night_goes_on_nobody_is_asked(agent: Agent) -> None:
    """`nightlab run` goes on without the agent, and its rows are not the agent's progress."""
    with_history(agent)
    settings = load_settings(agent.root)
    with open_ledger(settings) as ledger:
        began = ledger.history().night
        assert began is not None
        ledger.append(NightBegan(night=NightId("n9"), seed=0, ideas=5, hours=None, baseline=began.began.baseline))
    held = lock.take(settings.results / "loop.lock")
    assert agent.stops() == ""
    os.close(held)
    assert agent.stops() != ""


def test_an_aborted_turn_is_not_gone_on_with(agent: Agent) -> None:
    """Cursor tells of a turn that its user broke off by the same event: nobody is asked then."""
    with_history(agent)
    told = {"conversation_id": "c", "hook_event_name": "stop", "workspace_roots": [str(agent.root)]}

    def said(status: str) -> object:
        return json.loads(answer("cursor", json.dumps({**told, "status": status}).encode(), Listed))

    assert said("aborted") == {}
    assert said("completed") != {}


def test_a_lab_without_the_benchmark_is_not_asked_for_its_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody's own bench.py needs no prepare.py and no cache, in the set-up neither; nothing else may be edited."""
    monkeypatch.setenv("HOME", str(tmp_path))
    toml = 'command = "python bench.py"\neditable = ["bench.py"]\nprotected = []\n[metric]\nname = "s"\n'
    Repo.make(tmp_path / "lab", {"bench.py": "print('s: 1')\n", "nightlab.toml": toml}).git(
        "switch", "-q", "-c", "autoresearch/y"
    )
    agent = Agent(tmp_path / "lab")
    assert "edit bench.py only, and no other file." in agent.prompts("never stop")
    assert "baseline" in agent.stops()
    Repo(agent.root).git("switch", "-q", "main")
    asked = agent.stops()
    assert "git switch -c autoresearch/" in asked
    assert ".cache" not in asked


def test_the_door_of_older_scripts_shows_the_plan_that_waits(agent: Agent) -> None:
    """`python -m research next` and the session's summary speak of the same plan as the stop."""
    with_history(agent)
    agent.stops()
    plan = json.loads(Places(agent.root).plan.read_text())
    said = Shell(agent.root)("research", "next", "--lab", str(agent.root))
    assert plan["plan_id"] in said.out
    assert "Next continuation prompt:" in said.out
    assert plan["hypothesis"] in agent.starts("compact")


def test_git_is_left_alone(agent: Agent) -> None:
    """No ask moves a branch or a file of the user's."""
    with_history(agent)
    before = Repo(agent.root).git("status", "--porcelain=v1", "--branch")
    agent.stops()
    assert Repo(agent.root).git("status", "--porcelain=v1", "--branch") == before
    assert Git(agent.root).branch() == "autoresearch/x"
