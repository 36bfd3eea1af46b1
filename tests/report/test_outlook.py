"""What the lab would do now: the order, the reasons and the commands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from nightlab.config import JudgeSettings, Settings
from nightlab.report.outlook import Outlook, look_ahead
from nightlab.types import Finished, Imported, Metrics, RunId, StoppedEarly
from tests.report.stories import START, Story

SETTINGS = Settings(root=Path("/lab"))
BASE = (0.9980, 0.9985, 0.9982)


def ahead(story: Story, *, is_worked: bool = False) -> Outlook:
    with story.ledger as ledger:
        told = ledger.records.told(1)
        return look_ahead(ledger.history(own=True), story.settings, story.now, told, is_worked=is_worked)


def whats(outlook: Outlook) -> list[tuple[str, str]]:
    return [(todo.what, todo.command) for todo in outlook.todo]


def logged(story: Story, value: float) -> None:
    story.log("by hand", Finished(metrics=Metrics(primary=value)), "keep")


def test_an_empty_lab_begins_a_night() -> None:
    """One thing to do, with the seeds of its first runs."""
    found = ahead(Story(SETTINGS))
    (todo,) = found.todo
    assert (todo.what, todo.command, todo.seeds, found.champion) == ("night", "nightlab run --runs 20", (42, 43), "")
    assert "no night has run yet" in todo.why


def test_a_hand_logged_champion_comes_first() -> None:
    """Without a night it needs two seeds of its own, and the command says so."""
    story = Story(SETTINGS)
    logged(story, 0.99)
    first, second = ahead(story).todo
    assert (first.what, first.command) == ("replicate", "nightlab replicate 1 --seeds 2")
    assert (first.number, first.seeds, first.runs) == (1, (42, 43), 2)
    assert "needs 2 more runs" in first.why
    assert second.what == "night"


def test_a_provisional_keep_takes_the_champions_seeds() -> None:
    """It names the champion that it has to beat, the probability so far, and seeds that pair."""
    story = Story(SETTINGS)
    base = story.night(*BASE)
    story.dawn()
    logged(story, 0.95)
    first = ahead(story).todo[0]
    assert "over the champion #1" in first.why
    assert "chance in" in first.why
    seeds = sorted(run.run.seed for run in story.history.state(base).runs)
    assert first.seeds == tuple(seeds[: first.runs])


def test_a_keep_behind_the_champion_is_not_offered() -> None:
    """It would not be the champion if it were proven."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.dawn()
    logged(story, 1.0)
    assert [what for what, _ in whats(ahead(story))] == ["night"]


def test_what_another_ledger_told_is_made_here_first() -> None:
    """The lab has no source of it, so its commit is checked out and tried."""
    story = Story(SETTINGS)
    story.tell(
        Imported(
            run=RunId("20260311T043000Z-abc1234"), origin="x", digest="d", status="keep", at=START, commit="abc1234",
            metrics=Metrics(primary=0.9), description="theirs",
        )
    )  # fmt: skip
    first = ahead(story).todo[0]
    assert first.command == "git checkout abc1234, then nightlab try --seeds 2"
    assert (first.experiment, first.description) == ("", "theirs")


def test_an_undecided_idea_needs_runs() -> None:
    """How many would prove it, on which seed the next one is, and how likely it is better so far."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.idea("perhaps", 0.9970)
    verdict = story.history.state(story.history.runs[next(reversed(story.history.runs))].run.experiment).verdict
    assert verdict is not None
    assert verdict.decision == "retest"
    first, second = ahead(story).todo
    assert (first.what, first.number, first.probability) == ("replicate", 2, verdict.probability)
    assert "not proven yet" in first.why
    assert first.seeds
    assert (second.what, second.command) == ("night", "nightlab run")


def test_runs_without_a_verdict() -> None:
    """They are judged first; then the night goes on."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.idea("unjudged", 0.9970, judged=False)
    assert whats(ahead(story)) == [("judge", "nightlab wait"), ("night", "nightlab run")]


def test_an_idea_that_has_not_run() -> None:
    story = Story(SETTINGS)
    story.night(*BASE)
    story.experiment("new", parent=story.history.champion)
    first = ahead(story).todo[0]
    assert (first.what, first.command, first.number) == ("idea", "nightlab wait", 2)


def test_the_night_goes_on() -> None:
    """Baseline first, then ideas, then the final block, then its end: as the loop would."""
    story = Story(SETTINGS)
    story.night(0.998)
    assert whats(ahead(story)) == [("baseline", "nightlab run")]
    story = Story(SETTINGS)
    story.night(*BASE, ideas=1)
    (todo,) = ahead(story).todo
    assert (todo.what, todo.experiment) == ("propose", "")
    assert "on top of the champion #1" in todo.why
    story.idea("wins", 0.95, 0.951)
    (todo,) = ahead(story).todo
    assert todo.what == "final"
    story.settings = replace(SETTINGS, judge=JudgeSettings(final_runs=0))
    (todo,) = ahead(story).todo
    assert "nothing left to do but to end" in todo.why


def test_a_night_that_is_over() -> None:
    """Why it ended, and what a new one builds on."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.dawn("the hours are over")
    (todo,) = ahead(story).todo
    assert "the hours are over" in todo.why
    assert todo.command == "nightlab run --runs 20"


def test_while_somebody_works() -> None:
    """Nothing of it is left to a person."""
    story = Story(SETTINGS)
    story.night(*BASE)
    found = ahead(story, is_worked=True)
    assert whats(found) == [("wait", "nightlab status")]


def test_a_run_that_was_stopped_is_wanted_again() -> None:
    """An ending that says nothing of the idea leaves its seed free."""
    story = Story(SETTINGS)
    story.night(*BASE)
    name = story.experiment("stopped", parent=story.history.champion)
    story.end(story.start(name), StoppedEarly(reason="Ctrl-C"))
    first = ahead(story).todo[0]
    assert (first.what, first.seeds) == ("idea", (42,))
