"""The archive: elites, near misses, stepping stones, and what crashes."""

from __future__ import annotations

import pytest

from nightlab.search.archive import archive, levels_of, no_fly
from nightlab.types import Decision, Finished, Plan, TimedOut
from tests.builders import experiment_name
from tests.search.histories import Story, crash, edit, knob, metrics

LR = knob("MATRIX_LR", "1", "2")
DEEPER = knob("DEPTH", "8", "9")


def test_no_archive_before_a_night() -> None:
    """A lab without a night has an empty archive, and no error."""
    found = archive(Story().told(1))
    assert found.base is None
    assert not found.elites


def test_the_best_of_a_niche_is_so_by_its_posterior_never_by_a_lucky_value() -> None:
    """Of two ideas of one kind the one with the larger posterior gain is the elite, whatever the other's value."""
    story = Story()
    story.idea("lucky", LR, gain=0.001, probability=0.7, outcome=Finished(metrics=metrics(0.2)))
    story.idea("good", LR, gain=0.005, probability=0.6, outcome=Finished(metrics=metrics(0.9)))
    (elite,) = archive(story.told()).elites
    assert (elite.experiment, elite.gain, elite.count) == (experiment_name("good"), 0.005, 2)


def test_gains_add_up_along_the_chain() -> None:
    """An elite's gain is against the baseline: what its champion had gained, and what it gains over that."""
    story = Story().keep("b", LR, gain=0.02).idea("c", DEEPER, gain=-0.005)
    gains = {elite.experiment: elite.gain for elite in archive(story.told()).elites}
    assert gains == {experiment_name("b"): pytest.approx(0.02), experiment_name("c"): pytest.approx(0.015)}


def test_a_champion_that_was_put_back_is_where_it_was() -> None:
    """Undoing a promotion gives the earlier champion its old level, not a new one."""
    story = Story().keep("b", LR, gain=0.02).keep("c", DEEPER, gain=0.01)
    story.champion = "c"
    story.judge("b", Decision.KEEP)
    assert levels_of(story.told())[experiment_name("b")] == pytest.approx(0.02)


def test_crashes_and_removals_are_in_no_niche() -> None:
    """What crashed measured nothing, and a removal is no idea."""
    story = Story().keep("b", LR).idea("c", DEEPER, outcome=crash())
    story.idea("d", LR, plan=Plan(emitter="ablation", without=experiment_name("b")))
    assert [elite.experiment for elite in archive(story.told()).elites] == [experiment_name("b")]


def test_stepping_stones_may_be_as_good_as_the_base() -> None:
    """An elite off the champion's chain is a stone while its interval reaches the champion's level, else not."""
    story = Story().keep("b", LR, gain=0.02)
    story.idea("c", DEEPER, gain=-0.005, spread=0.01).idea("d", edit("z-loss"), gain=-0.05, spread=0.01)
    found = archive(story.told())
    assert found.stones == (experiment_name("c"),)
    assert experiment_name("b") not in found.stones


def test_near_misses_are_the_latest_twelve() -> None:
    """Ideas that looked better to the end and were not proven, oldest first, no more than twelve."""
    story = Story()
    for number in range(14):
        story.idea(f"n{number}", LR, probability=0.8, gain=0.001)
    story.idea("loser", LR)
    assert archive(story.told()).near_misses == tuple(experiment_name(f"n{number}") for number in range(2, 14))


def test_a_no_fly_pattern_is_a_signature_and_a_way_and_expires_with_its_base() -> None:
    """Crashes count by signature and change; a new champion makes them expire, a crash on it wakes them."""
    story = Story().idea("b", DEEPER, outcome=crash("out of memory")).idea("c", DEEPER, outcome=crash("out of memory"))
    story.idea("d", LR, outcome=crash("out of memory"))
    first, second = no_fly(story.told(), story.base)
    assert (first.signature, first.change, first.kind, first.count) == ("out of memory", "DEPTH up", "architecture", 2)
    assert (second.change, second.count, first.example) == ("MATRIX_LR up", 1, experiment_name("c"))
    assert not first.has_expired
    story.keep("e", edit("swiglu"))
    assert all(pattern.has_expired for pattern in no_fly(story.told(), story.base))
    story.idea("f", DEEPER, outcome=crash("out of memory"))
    awake = no_fly(story.told(), story.base)[0]
    assert (awake.change, awake.count, awake.has_expired) == ("DEPTH up", 3, False)


def test_running_out_of_time_is_a_way_to_crash() -> None:
    """A run that was ended at its limit has a pattern of its own."""
    story = Story().idea("b", DEEPER, outcome=TimedOut(limit_s=60.0), decision=None).judge("b", Decision.CRASH)
    assert no_fly(story.told(), story.base)[0].signature == "timed out"
