"""Two experiments side by side, seed by seed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nightlab.config import MetricSettings, Settings
from nightlab.errors import NightlabError, NotFoundError, UsageError
from nightlab.report.pairwise import Pairwise, compare
from nightlab.types import Conditions, Direction, Ended, Finished, Metrics, Purpose, Reading, Usage
from tests.report.stories import Story

SETTINGS = Settings(root=Path("/lab"))
BASE = (0.9980, 0.9985, 0.9982)


def side_by_side(story: Story, a: int, b: int) -> Pairwise:
    states = {state.number: state for state in story.history.experiments.values()}
    return compare(story.history, story.settings, states[a], states[b])


def refusal(story: Story, a: int, b: int) -> NightlabError:
    with pytest.raises(NightlabError) as caught:
        side_by_side(story, a, b)
    return caught.value


def two(sign: int = 1) -> Story:
    """A baseline (1) on three seeds, and a better idea (2) on two of them."""
    direction = Direction.MINIMIZE if sign > 0 else Direction.MAXIMIZE
    settings = replace(SETTINGS, metric=MetricSettings(name="m", direction=direction, low=None, high=None))
    story = Story(settings)
    story.night(*(sign * value for value in BASE))
    story.idea("wins", sign * 0.98, sign * 0.981)
    return story


def test_pairs_come_by_seed_and_the_rest_alone() -> None:
    """Both sides' values on a seed that both have had, with their difference; any other run with its side."""
    story = two()
    found = side_by_side(story, 2, 1)
    assert [pair.seed for pair in found.pairs] == sorted(pair.seed for pair in found.pairs)
    assert [(pair.a, pair.b) for pair in found.pairs] == [(0.98, 0.998), (0.981, 0.9985)]
    assert found.pairs[0].difference == pytest.approx(-0.018)
    assert [(one.side, one.value, one.uncounted) for one in found.unpaired] == [("b", 0.9982, "")]
    assert (found.a.runs, found.b.runs) == (2, 3)
    assert found.a.mean == pytest.approx(0.9805)
    assert found.b.mean == pytest.approx(sum(BASE) / 3)


def test_the_difference_is_not_shrunk() -> None:
    """It is about that of the means, within its interval; the other way round it is the same with another sign."""
    story = two()
    found, back = side_by_side(story, 2, 1), side_by_side(story, 1, 2)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.difference < found.high < 0
    assert found.difference == pytest.approx(found.a.mean - found.b.mean, abs=5e-4)
    assert back.difference == pytest.approx(-found.difference)
    assert back.low == pytest.approx(-found.high)
    assert back.high == pytest.approx(-found.low)
    assert found.probability is not None
    assert found.probability > 0.99
    assert back.probability == pytest.approx(1 - found.probability)
    assert found.sentence == back.sentence
    assert found.sentence.startswith("#2 is better than #1 by 0.01")
    assert "chance in" in found.sentence
    assert found.sentence.endswith("of being noise")


def test_more_may_be_better() -> None:
    """The sign of the difference stays the metric's; who is better follows the direction."""
    low, high = side_by_side(two(), 2, 1), side_by_side(two(-1), 2, 1)
    assert high.difference == pytest.approx(-low.difference)
    assert high.probability == pytest.approx(low.probability)
    assert high.sentence == low.sentence
    assert high.low is not None
    assert high.high is not None
    assert 0 < high.low < high.difference < high.high


def test_an_unclear_difference_only_looks_better() -> None:
    """No more is said than the runs say."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.idea("much the same", 0.9981, 0.9983)
    sentence = side_by_side(story, 1, 2).sentence
    assert " looks better than " in sentence
    assert "about 1 chance in" in sentence


def test_without_noise_there_is_no_interval() -> None:
    """Two runs on two sides: their difference, and what would tell more."""
    story = Story(SETTINGS)
    story.night(0.998)
    story.idea("one run", 0.99, judged=False)
    found = side_by_side(story, 2, 1)
    assert found.difference == pytest.approx(-0.008)
    assert (found.low, found.high, found.probability) == (None, None, None)
    assert "nothing is known of the noise" in found.sentence


def test_a_value_by_word_is_shown_and_does_not_count() -> None:
    """A hand-logged run of the same source changes nothing of the difference."""
    story = two()
    before = side_by_side(story, 2, 1)
    name = next(s.experiment.id for s in story.history.experiments.values() if s.number == 2)
    story.runs(name, 0.5, purpose=Purpose.LOG)
    after = side_by_side(story, 2, 1)
    assert (after.difference, after.a) == (before.difference, before.a)
    assert [one.uncounted for one in after.unpaired if one.value == 0.5] == ["its author's word"]


def test_fresh_seeds_count() -> None:
    """Runs of the final block pair as any others."""
    story = two()
    before = side_by_side(story, 2, 1)
    for state in list(story.history.experiments.values()):
        story.runs(state.experiment.id, 0.97, purpose=Purpose.FINAL)
    after = side_by_side(story, 2, 1)
    assert after.pairs[-1].seed == 1_000_000
    assert after.a.runs == before.a.runs + 1


def test_what_cannot_be_compared() -> None:
    """One with itself, one that never ran here, and two of different lines: each says why and what to do."""
    story = two()
    assert isinstance(refusal(story, 1, 1), UsageError)
    story.log("by hand", Finished(metrics=Metrics(primary=0.9)), "keep")
    error = refusal(story, 3, 1)
    assert isinstance(error, NotFoundError)
    assert "nightlab replicate 3 --seeds 2" in error.hint
    story.dawn()
    story.night(*BASE, description="another")
    error = refusal(story, 4, 1)
    assert isinstance(error, UsageError)
    assert "different lines of parents" in str(error)


def test_a_run_that_may_not_be_believed_does_not_count() -> None:
    """On a device that others used: shown with the reason, and no part of the difference."""
    story = two()
    before = side_by_side(story, 2, 1)
    name = next(s.experiment.id for s in story.history.experiments.values() if s.number == 2)
    run = story.start(name)
    trouble = Conditions(before=Reading(), after=Reading(), trouble="contended")
    usage = Usage(wall_s=1.0, cpu_s=1.0)
    story.tell(Ended(run=run, outcome=Finished(metrics=Metrics(primary=0.5)), usage=usage, conditions=trouble))
    after = side_by_side(story, 2, 1)
    assert (after.difference, after.a) == (before.difference, before.a)
    (uncounted,) = (one.uncounted for one in after.unpaired if one.value == 0.5)
    assert "not fit to be measured on" in uncounted
