"""What a lab knows, in one object."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from nightlab.config import MetricSettings, Settings
from nightlab.report.levels import student_975
from nightlab.report.summary import summarise
from nightlab.types import (
    Crashed,
    Direction,
    Disputed,
    Finished,
    Lost,
    Metrics,
    NightBegan,
    NightId,
    Purpose,
    StoppedEarly,
    TimedOut,
    Voided,
)
from tests.report.stories import Story

SETTINGS = Settings(root=Path("/lab"))
BASE = (0.9980, 0.9985, 0.9982)


def test_empty_lab_has_a_summary() -> None:
    """Nothing recorded is no error: zeros and nulls, and it can be written as JSON."""
    lab = summarise(Story(SETTINGS).history, SETTINGS, now=0.0)
    assert lab.runs.total == lab.ideas.tried == 0
    assert [lab.champion, lab.baseline, lab.noise, lab.night] == [None] * 4
    assert msgspec.json.decode(msgspec.json.encode(lab))["champion"] is None


def test_runs_are_counted_by_every_outcome() -> None:
    """All seven endings and the runs still open add up to the total."""
    story = Story(SETTINGS)
    base = story.night(*BASE)
    for outcome in (Crashed(summary="x"), TimedOut(limit_s=1), StoppedEarly(reason="x"), Lost(reason="x"),
                    Voided(paths=("prepare.py",)), Disputed(because="x")):  # fmt: skip
        story.end(story.start(base), outcome)
    story.start(base)
    counts = summarise(story.history, SETTINGS, story.now).runs
    assert (counts.total, counts.finished, counts.running) == (10, 3, 1)
    assert counts.crashed == counts.timedout == counts.stoppedearly == 1
    assert counts.lost == counts.voided == counts.disputed == 1


def test_ideas_are_counted_by_verdict() -> None:
    """Kept, discarded, crashed and undecided ideas; the baseline is none of them."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.idea("wins", 0.98, 0.981)
    story.idea("loses", 1.2)
    story.crash("crashes")
    story.idea("open", 0.9795, judged=False)
    ideas = summarise(story.history, SETTINGS, story.now).ideas
    assert (ideas.tried, ideas.kept, ideas.discarded, ideas.crashed, ideas.undecided) == (4, 1, 1, 1, 1)


def test_champion_shows_a_shrunk_mean_and_not_its_luckiest_run() -> None:
    """The level lies within its interval, on the baseline's side of the plain mean."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.idea("wins", 0.9955, 0.9960)
    lab = summarise(story.history, SETTINGS, story.now)
    champion, baseline = lab.champion, lab.baseline
    assert champion is not None
    assert baseline is not None
    assert champion.mean is not None
    assert champion.low is not None
    assert champion.high is not None
    assert 0.99575 < champion.mean < 0.99825
    assert champion.low < champion.mean < champion.high
    assert (champion.number, champion.runs, champion.standing) == (2, 2, "proven")
    assert champion.gain_in_search is not None
    assert champion.gain_in_search.mean > 0
    assert champion.gain_on_fresh_seeds is None
    assert (baseline.runs, baseline.standing) == (3, "proven")
    assert lab.promotions[0].experiment == champion.experiment
    assert 0 <= lab.expected_false_keeps <= 0.05


def test_fresh_seeds_give_the_headline_and_do_not_move_the_level() -> None:
    """Final runs measure the gain; they are not among the runs that the level rests on."""
    story = Story(SETTINGS)
    base = story.night(*BASE)
    best = story.idea("wins", 0.98, 0.981)
    before = summarise(story.history, SETTINGS, story.now).champion
    story.runs(base, 0.9981, 0.9984, purpose=Purpose.FINAL)
    story.runs(best, 0.9812, 0.9815, purpose=Purpose.FINAL)
    after = summarise(story.history, SETTINGS, story.now).champion
    assert before is not None
    assert after is not None
    assert after.mean == before.mean
    assert after.runs == 2
    assert after.gain_on_fresh_seeds is not None
    assert after.gain_on_fresh_seeds.mean == pytest.approx(0.0169, abs=1e-3)
    assert after.gain_on_fresh_seeds.runs == after.gain_on_fresh_seeds.runs_against == 2


def test_direction_turns_levels_and_not_gains() -> None:
    """A maximised metric is shown in its own units, and better is positive all the same."""
    settings = Settings(root=Path("/lab"), metric=MetricSettings(name="accuracy", direction=Direction.MAXIMIZE))
    story = Story(settings)
    story.night(0.90, 0.901, 0.902)
    story.idea("wins", 0.95, 0.951)
    lab = summarise(story.history, settings, story.now)
    assert lab.champion is not None
    assert lab.champion.mean == pytest.approx(0.9503, abs=2e-3)
    assert lab.champion.gain_in_search is not None
    assert lab.champion.gain_in_search.mean > 0.03


def test_hand_logged_keep_is_provisional() -> None:
    """Without a night the best hand-logged keep leads, as its author's word."""
    story = Story(SETTINGS)
    story.log("good", Finished(metrics=Metrics(primary=0.99)), "keep")
    story.log("worse", Finished(metrics=Metrics(primary=0.995)), "keep")
    story.log("best of all, discarded", Finished(metrics=Metrics(primary=0.98)), "discard")
    lab = summarise(story.own, SETTINGS, story.now, story.records.told(1))
    assert lab.champion is not None
    assert (lab.champion.description, lab.champion.standing, lab.champion.mean) == ("good", "provisional", 0.99)
    assert lab.ideas.kept == 2


def test_better_hand_logged_keep_stands_beside_the_proven_champion() -> None:
    """A run written down by hand never takes the proven champion's place; it is shown as provisional."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.log("too good", Finished(metrics=Metrics(primary=0.9)), "keep")
    lab = summarise(story.own, SETTINGS, story.now, story.records.told(1))
    assert lab.champion is not None
    assert lab.champion.number == 1
    assert lab.provisional is not None
    assert (lab.provisional.description, lab.provisional.standing) == ("too good", "provisional")


def test_single_run_baseline_is_provisional_and_has_no_interval() -> None:
    """With one run nothing is known of the noise: a value, no interval."""
    story = Story(SETTINGS)
    story.night(0.998)
    lab = summarise(story.history, SETTINGS, story.now)
    assert lab.champion is not None
    assert (lab.champion.mean, lab.champion.low, lab.champion.standing) == (0.998, None, "provisional")
    assert lab.noise is None


def test_night_cost_and_running_runs() -> None:
    """Targets, elapsed time, minutes spent, what runs now."""
    story = Story(SETTINGS, minutes=10)
    story.night(*BASE, ideas=7)
    story.start(story.experiment("under way", parent=story.history.champion))
    lab = summarise(story.history, SETTINGS, story.now + 60)
    assert lab.night is not None
    assert (lab.night.state, lab.night.ideas_done, lab.night.ideas_target) == ("running", 1, 7)
    assert lab.night.elapsed_minutes == pytest.approx(31)
    assert (lab.cost.runs, lab.cost.wall_minutes) == (3, 30)
    assert [(r.number, r.minutes) for r in lab.active] == [(2, 1.0)]
    story.dawn("enough")
    ended = summarise(story.history, SETTINGS, story.now + 999).night
    assert ended is not None
    assert (ended.state, ended.because) == ("ended", "enough")
    assert ended.elapsed_minutes == pytest.approx(30)


def test_second_night_measures_against_its_own_baseline() -> None:
    """When the committed source changes, gains are over the new night's baseline."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.idea("wins", 0.98, 0.981)
    story.dawn()
    base = story.night(0.97, 0.9701, description="new source")
    lab = summarise(story.history, SETTINGS, story.now)
    assert lab.baseline is not None
    assert lab.champion is not None
    assert lab.baseline.experiment == lab.champion.experiment == base
    assert lab.promotions == ()
    assert lab.ideas.tried == 1


def test_baseline_without_runs_has_no_level() -> None:
    """A night that has only begun."""
    story = Story(SETTINGS)
    base = story.experiment("baseline", parent=None, emitter="baseline")
    story.tell(NightBegan(night=NightId("n"), seed=0, ideas=None, hours=8.0, baseline=base))
    lab = summarise(story.history, SETTINGS, story.now)
    assert lab.champion is not None
    assert lab.champion.mean is None
    assert lab.champion.runs == 0


@pytest.mark.parametrize(("dof", "exact"), [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (100, 1.984)])
def test_student_quantile(dof: float, exact: float) -> None:
    """Within one per cent of the tables."""
    assert student_975(dof) == pytest.approx(exact, rel=0.01)
