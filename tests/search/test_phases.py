"""What the search is about at the moment."""

from __future__ import annotations

from nightlab.search.phases import near_misses, phase, stall
from nightlab.types import Decision, Phase, Plan
from tests.builders import experiment_name
from tests.search.histories import Story, crash


def near(story: Story, name: str) -> Story:
    return story.idea(name, probability=0.8, gain=0.001)


def test_nothing_is_known_before_the_base_has_run() -> None:
    """Before the baseline has a value the phase is `baseline`; with the first value it is `explore`."""
    story = Story()
    assert phase(story.told(2), story.base) is Phase.BASELINE
    assert phase(story.told(), story.base) is Phase.EXPLORE


def test_two_crashes_among_the_last_five_stabilize() -> None:
    """Two crashes of five ask for calm, and are forgotten when five others have followed."""
    story = Story().idea("b", outcome=crash()).idea("c")
    assert phase(story.told(), story.base) is Phase.EXPLORE
    story.idea("d", outcome=crash())
    assert phase(story.told(), story.base) is Phase.STABILIZE
    for name in "efgh":
        story.idea(name)
    assert phase(story.told(), story.base) is Phase.EXPLORE


def test_what_pays_is_gone_on_with() -> None:
    """Two better ones of the last five are exploited, until four in a row were fruitless."""
    story = Story().keep("b").keep("c")
    assert phase(story.told(), story.base) is Phase.EXPLOIT
    for name in "def":
        story.idea(name)
    assert phase(story.told(), story.base) is Phase.EXPLOIT
    story.idea("g")
    assert phase(story.told(), story.base) is Phase.EXPLORE


def test_near_misses_are_put_together_once_six_were_fruitless() -> None:
    """At six experiments without a promotion two near misses make it `recombine`; one does not."""
    story = near(Story(), "b")
    for name in "cdef":
        story.idea(name)
    close = near(near(Story(), "b"), "c").idea("d").idea("e").idea("f")
    assert phase(close.told(), close.base) is Phase.EXPLORE
    assert phase(near(story, "g").told(), story.base) is Phase.RECOMBINE
    lonely = near(Story(), "b")
    for name in "cdefg":
        lonely.idea(name)
    assert phase(lonely.told(), lonely.base) is Phase.EXPLORE


def test_a_stall_counts_crashes_and_ends_with_a_promotion() -> None:
    """Discards and crashes since the last promotion are counted, a promotion begins anew, open ideas do not count."""
    story = Story().idea("b").idea("c", outcome=crash())
    assert stall(story.told()) == 2
    story.keep("d")
    assert stall(story.told()) == 0
    story.idea("e").idea("f", decision=Decision.RETEST, probability=0.7)
    assert stall(story.told()) == 1


def test_an_idea_of_before_the_promotion_that_was_settled_after_it_counts() -> None:
    """What counts is when an idea was settled, not when it was proposed: places run side by side."""
    story = Story().idea("b").idea("c", decision=None).keep("d").judge("c", Decision.DISCARD, probability=0.1)
    assert stall(story.told()) == 1


def test_a_removal_is_no_idea() -> None:
    """Leave-one-out at a night's end moves neither stall nor near misses."""
    story = Story().keep("b")
    story.idea("c", probability=0.9, gain=0.001, plan=Plan(emitter="ablation", without=experiment_name("b")))
    history = story.told()
    assert stall(history) == 0
    assert not list(near_misses(history, story.base))


def test_near_misses_come_newest_first_and_are_never_kept_ones() -> None:
    """A near miss looked better to the end; a kept idea and a plain loser are none."""
    story = near(near(Story(), "b").idea("c").keep("d"), "e")
    assert [s.experiment.description for s in near_misses(story.told(), story.base)] == ["idea e", "idea b"]
