"""The service that hooks, MCP and commands share: what an agent asks of a lab."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

from nightlab.agent.answers import Edit, Progress
from nightlab.agent.service import LONGEST_S, Service
from nightlab.agent.written import Written
from nightlab.autonomy import Autonomy, text_of
from nightlab.config import load_settings
from nightlab.discovering import Places
from nightlab.errors import AlreadyRecordedError, EditError, NotFoundError, UsageError
from nightlab.ledger.glance import AUTONOMY
from nightlab.memory import open_ledger
from nightlab.types import Noted
from tests.e2e.labs import UserLab, make

WIDER = Edit(path="train.py", old="WIDTH = 128", new="WIDTH = 256")


def service_of(lab: UserLab) -> Service:
    return Service(settings=load_settings(lab.root))


def decided(service: Service, progress: Progress) -> Progress:
    for _ in range(3):
        progress = service.wait(str(progress.number))
        if progress.state == "decided":
            return progress
    raise AssertionError(f"not decided: {progress}")


def test_a_lab_without_runs_can_be_asked_everything(tmp_path: Path) -> None:
    """Before anything has run every question has an answer, and the plan is the baseline."""
    service = service_of(make(tmp_path / "lab"))
    context = service.context()
    assert (context.champion, context.open, context.experiments) == (None, (), 0)
    assert context.editable == ("train.py",)
    assert not context.is_worked
    plan = service.plan()
    assert plan.phase == "baseline"
    assert "unchanged" in plan.hypothesis
    assert service.check("twice the width").classification == "novel"
    assert service.champion().champion is None
    assert service.conjectures() == ()
    assert service.runs() == ()
    assert service.report().markdown.startswith("# Morning Report")


def test_looking_leaves_nothing_behind(tmp_path: Path) -> None:
    """Calls that only look make no file in the lab, not even a database."""
    lab = make(tmp_path / "lab")
    service = service_of(lab)
    service.context(), service.plan(), service.check("anything"), service.champion(), service.report()
    assert not (lab.root / "results").exists()


def test_an_edit_is_run_and_judged_without_touching_the_working_tree(tmp_path: Path) -> None:
    """Pieces replaced in the champion's source become an experiment; files and branch of the user stay as they are."""
    lab = make(tmp_path / "lab")
    service = service_of(lab)
    begun = service.start("twice the width", hypothesis="more room", edits=[WIDER])
    assert begun.state == "waiting"
    assert str(begun.number) in begun.next
    done = decided(service, begun)
    assert done.decision == "keep"
    assert done.is_champion
    assert done.probability is not None
    assert done.probability > 0.95
    assert "WIDTH 128 -> 256" in done.review
    assert "WIDTH = 128" in (lab.root / "train.py").read_text()
    assert lab.git("status", "--porcelain").strip() == ""
    champion = service.champion(files=True)
    assert champion.champion is not None
    assert champion.champion.description == "twice the width"
    assert "WIDTH = 256" in champion.files["train.py"]
    assert "+WIDTH = 256" in champion.patch
    assert service.get("champion").progress == done
    assert service.plan().phase != "baseline"


def test_the_next_edit_builds_on_the_champion(tmp_path: Path) -> None:
    """What is replaced is looked for in the champion's source, not in the working tree's."""
    lab = make(tmp_path / "lab")
    service = service_of(lab)
    decided(service, service.start("twice the width", edits=[WIDER]))
    on_top = Edit(path="train.py", old="WIDTH = 256", new="WIDTH = 300")
    assert decided(service, service.start("the optimum", edits=[on_top])).decision == "keep"


def test_the_working_tree_is_taken_without_edits(tmp_path: Path) -> None:
    """An agent that edits files itself says only what it did."""
    lab = make(tmp_path / "lab")
    path = lab.root / "train.py"
    path.write_text(path.read_text().replace("RATE = 0.02", "RATE = 0.9"))
    service = service_of(lab)
    done = decided(service, service.start("a rate far too high"))
    assert done.decision == "discard"
    assert not done.is_champion


def test_what_was_tried_is_told_by_its_number(tmp_path: Path) -> None:
    """The same source again is refused and names the experiment; the same change on another base is noted."""
    lab = make(tmp_path / "lab")
    service = service_of(lab)
    slower = Edit(path="train.py", old="RATE = 0.02", new="RATE = 0.01")
    decided(service, service.start("a lower rate", edits=[slower]))
    with pytest.raises(AlreadyRecordedError, match="a lower rate"):
        service.start("the same", edits=[slower])
    decided(service, service.start("twice the width", edits=[WIDER]))
    again = service.start("a lower rate", edits=[slower])
    assert "tried before" in again.note
    decided(service, again)


@pytest.mark.parametrize(
    ("edits", "words"),
    [
        ([Edit(path="prepare.py", old="a", new="b")], "no editable file"),
        ([Edit(path="train.py", old="WIDTH = 129", new="b")], "occurs 0 times"),
        ([Edit(path="train.py", old="0.", new="b")], "not once"),
        ([Edit(path="train.py", old="", new="b")], "occurs 0 times"),
    ],
)
def test_an_edit_that_does_not_apply_says_which_and_why(tmp_path: Path, edits: list[Edit], words: str) -> None:
    """Nothing is recorded, and the error says what to do."""
    service = service_of(make(tmp_path / "lab"))
    with pytest.raises(EditError, match=words) as told:
        service.start("an idea", edits=edits)
    assert told.value.hint
    assert [run for run in service.runs() if run.purpose == "try"] == []


def test_questions_that_make_no_sense_are_refused_by_name(tmp_path: Path) -> None:
    """An empty description, no seeds, an unknown mode or name."""
    service = service_of(make(tmp_path / "lab"))
    with pytest.raises(UsageError, match="needs a description"):
        service.start("  ")
    with pytest.raises(UsageError, match="number of seeds"):
        service.start("an idea", seeds=0)
    with pytest.raises(UsageError, match="no mode 'wild'"):
        service.check("an idea", mode="wild")
    with pytest.raises(NotFoundError, match="nobody"):
        service.wait("nobody")


def test_the_unchanged_source_is_the_baseline_once(tmp_path: Path) -> None:
    """It is measured the first time; the second time there is nothing to run, and the error says so."""
    service = service_of(make(tmp_path / "lab"))
    done = decided(service, service.start("baseline"))
    assert done.decision == ""
    assert len(done.runs) == 2
    with pytest.raises(UsageError, match="nothing was changed"):
        service.start("baseline again")


def test_waiting_ends_in_time_and_tells_each_change_once(tmp_path: Path) -> None:
    """Whatever is asked for, a call returns within its bound, with the state it is in."""
    now = [0.0]
    lab = make(tmp_path / "lab", seconds=0.2)
    begun = service_of(lab).start("twice the width", edits=[WIDER])

    def sleep(seconds: float) -> None:
        now[0] += LONGEST_S  # the ledger does not change between two looks
        assert seconds <= LONGEST_S

    told: list[Progress] = []
    patient = Service(settings=load_settings(lab.root), clock=lambda: now[0], sleep=sleep)
    patient.wait(str(begun.number), seconds=1e9, told=told.append)
    assert now[0] <= LONGEST_S
    assert 1 <= len(told) <= 2
    decided(service_of(lab), begun)


def test_waiting_starts_a_worker_that_is_gone(tmp_path: Path) -> None:
    """An experiment whose worker was killed is taken up by the next `wait`."""
    lab = make(tmp_path / "lab", seconds=1.0)
    service = service_of(lab)
    begun = service.start("twice the width", edits=[WIDER])
    held = lab.root / "results" / "nightlab" / "loop.lock"
    for _ in range(200):
        if held.exists() and (words := held.read_text().split()) and service.context().is_worked:
            os.kill(int(words[1]), signal.SIGKILL)
            break
        time.sleep(0.05)
    else:
        raise AssertionError("nobody worked")
    assert decided(service, begun).decision == "keep"


def test_a_run_written_down_is_its_authors_word(tmp_path: Path) -> None:
    """A logged keep is on record with its packet, and never proven by that."""
    lab = make(tmp_path / "lab")
    (lab.root / "run.log").write_text("loss: 1.25\n")
    written = Written(
        status="keep", description="by hand", hypothesis="", family="", tags=(), notes="", error="", mode="exploit",
        threshold=0.62, log="run.log", summary="",
    )  # fmt: skip
    told = service_of(lab).log(written)
    assert (told.status, told.metric, told.standing) == ("keep", 1.25, "provisional")
    assert told.action


@pytest.mark.parametrize(("field", "value"), [("status", "great"), ("mode", "wild")])
def test_a_status_or_mode_that_is_none_is_refused(tmp_path: Path, field: str, value: str) -> None:
    """Nothing is recorded, and the words there are are named."""
    service = service_of(make(tmp_path / "lab"))
    told = {"status": "crash", "mode": "exploit", field: value}
    written = Written(
        status=told["status"], description="by hand", hypothesis="", family="", tags=(), notes="", error="it broke",
        mode=told["mode"], threshold=0.62, log="", summary="",
    )  # fmt: skip
    with pytest.raises(UsageError, match=f"no {field} '{value}'") as refused:
        service.log(written)
    assert "exploit" in refused.value.hint or "crash" in refused.value.hint
    assert service.runs() == ()


def test_stop_ends_a_night_cleanly_and_it_can_go_on(tmp_path: Path) -> None:
    """Runs under way are ended and recorded, the night stays unfinished, `nightlab run` goes on with it."""
    lab = make(tmp_path / "lab", seconds=30)
    night = lab.start("run", "--runs", "2")
    service = service_of(lab)
    for _ in range(400):
        if any(run.outcome == "running" for run in service.runs()):
            break
        time.sleep(0.05)
    told = service.stop("a test")
    assert told.was_worked
    assert told.running >= 1
    assert night.wait(timeout=60) == 130
    assert {run.outcome for run in service.runs()} == {"stoppedearly"}
    status = lab.json("status")
    assert status["night"]["state"] == "interrupted"
    again = service.stop("a test")
    assert not again.was_worked
    assert "nightlab run" in again.next


def test_a_persons_stop_ends_autonomy_too(tmp_path: Path) -> None:
    """An agent that was told to go on by itself is told so no longer; its own stop does not end a person's night."""
    lab = make(tmp_path / "lab")
    settings = load_settings(lab.root)
    with open_ledger(settings) as ledger:
        ledger.append(Noted(topic=AUTONOMY, text=text_of(Autonomy(enabled=True, reason="go autonomous"))))
    assert "Autonomy enabled: yes" in service_of(lab).context().summary
    assert not service_of(lab).stop("an agent").was_autonomous
    assert "Autonomy enabled: yes" in service_of(lab).context().summary
    assert service_of(lab).stop("a person", is_person=True).was_autonomous
    assert "Autonomy enabled: no" in service_of(lab).context().summary
    assert json.loads(Places(lab.root).state.read_text())["autonomy_enabled"] is False


def test_the_command_says_what_stop_meant(tmp_path: Path) -> None:
    """Who works, whether agents had been sent on, and how it goes on."""
    lab = make(tmp_path / "lab")
    with open_ledger(load_settings(lab.root)) as ledger:
        ledger.append(Noted(topic=AUTONOMY, text=text_of(Autonomy(enabled=True, reason="go autonomous"))))
    said = lab.nightlab("stop")
    assert said.code == 0
    assert "nobody was working" in said.out
    assert "agents go on no longer by themselves" in said.out
    assert "`nightlab run` goes on" in said.out


def test_waiting_does_not_undo_a_stop(tmp_path: Path) -> None:
    """What was stopped on purpose is told to be so, and started again by nobody who only looks on."""
    lab = make(tmp_path / "lab", seconds=30)
    service = service_of(lab)
    begun = service.start("twice the width", edits=[WIDER])
    for _ in range(400):
        if any(run.outcome == "running" for run in service.runs()):
            break
        time.sleep(0.05)
    service.stop("a test")
    found = service.wait(str(begun.number))
    assert found.state == "stopped"
    assert "nightlab wait" in found.next
    count = len(service.runs())
    assert service.wait(str(begun.number), seconds=1.0).state == "stopped"
    assert not any(run.outcome == "running" for run in service.runs())
    assert len(service.runs()) == count


@pytest.mark.parametrize("seconds", [float("nan"), float("inf")])
def test_waiting_for_ever_is_refused(tmp_path: Path, seconds: float) -> None:
    """No client waits that long."""
    service = service_of(make(tmp_path / "lab"))
    with pytest.raises(UsageError, match="cannot be waited"):
        service.wait("1", seconds=seconds)


def test_a_baseline_that_only_exec_has_seen_is_measured(tmp_path: Path) -> None:
    """Runs that decide nothing do not stand in for the ones that do."""
    lab = make(tmp_path / "lab")
    assert lab.nightlab("exec", "--", "python", "train.py", AUTORESEARCH_SEED="42").code == 0
    service = service_of(lab)
    done = decided(service, service.start("baseline"))
    assert len([run for run in done.runs if run.metric is not None]) >= 2


def test_the_log_of_what_runs_unseen_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is begun anew from time to time, and the one before is kept."""
    monkeypatch.setattr("nightlab.agent.workbench._LOG_LIMIT", 10)
    lab = make(tmp_path / "lab")
    settings = load_settings(lab.root)
    settings.results.mkdir(parents=True)
    (settings.results / "background.log").write_text("what was said long ago\n")
    decided(service_of(lab), service_of(lab).start("twice the width", edits=[WIDER]))
    assert (settings.results / "background.log.1").read_text() == "what was said long ago\n"
    assert "long ago" not in (settings.results / "background.log").read_text()


def test_a_stop_of_yesterday_does_not_end_tonight(tmp_path: Path) -> None:
    """Only who was working when it was said is meant."""
    lab = make(tmp_path / "lab")
    service = service_of(lab)
    service.stop("a test")
    assert decided(service, service.start("twice the width", edits=[WIDER])).decision == "keep"


def test_reading_a_long_report_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What does not fit into an answer is left out, and the answer says so."""
    monkeypatch.setattr("nightlab.agent.service._TEXT", 50)
    told = service_of(make(tmp_path / "lab")).report()
    assert told.shortened
    assert "more characters are left out" in told.markdown
