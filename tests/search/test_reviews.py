"""What each experiment did and taught."""

from __future__ import annotations

import pytest

from nightlab.config import MetricSettings, Settings
from nightlab.errors import NotFoundError
from nightlab.search.reviews import review, reviews
from nightlab.types import Decision, Direction, Finished, Forecast, Lost, Plan, Review
from tests.builders import experiment_name
from tests.search.histories import Story, crash, edit, knob, metrics

LR = knob("MATRIX_LR", "1", "2")
DEEPER = knob("DEPTH", "8", "9")


@pytest.fixture
def settings(tmp_path):  # type: ignore[no-untyped-def]
    return Settings(root=tmp_path, command="true", metric=MetricSettings(name="loss"))


def told(story: Story, name: str, settings: Settings) -> Review:
    return review(story.told(), settings, experiment_name(name))


def test_deltas_are_to_what_was_known_before_the_run(settings: Settings) -> None:
    """The best and the baseline are those before this very run; a later better one changes no review."""
    story = Story()
    story.idea("b", LR, outcome=Finished(metrics=metrics(0.98)))
    story.idea("c", LR, outcome=Finished(metrics=metrics(0.99)))
    story.idea("d", LR, outcome=Finished(metrics=metrics(0.5)))
    found = told(story, "c", settings)
    assert found.gain_vs_best == pytest.approx(-0.01)
    assert found.gain_vs_baseline == pytest.approx(0.01)
    first = told(story, "a", settings)
    assert (first.gain_vs_best, first.recommendation) == (None, "keep")


def test_a_higher_metric_may_be_the_better_one(settings: Settings) -> None:
    """Positive is better also where the metric is maximised."""
    up = Settings(root=settings.root, command="true", metric=MetricSettings(name="acc", direction=Direction.MAXIMIZE))
    story = Story().idea("b", LR, outcome=Finished(metrics=metrics(1.5)))
    assert told(story, "b", up).gain_vs_best == pytest.approx(0.5)


def test_no_crash_scores_above_a_promotion(settings: Settings) -> None:
    """The dearest promotion there can be scores above the most instructive crash there can be."""
    dear = "--- a/t\n+++ b/t\n" + "@@ -1 +1,9 @@\n" * 20 + "+x = 1  # TODO\n" * 200
    shrinks = "--- a/t\n+++ b/t\n@@ -9 +1 @@\n" + "-x = 1\n" * 200
    story = Story(baseline=metrics(1.0, memory_mb=100.0))
    for number in range(6):
        story.idea(f"x{number}", edit("swiglu"), gain=-0.01)
    story.idea("boom", LR, outcome=crash("never seen"), patch=shrinks)
    story.keep("win", DEEPER, outcome=Finished(metrics=metrics(0.9, memory_mb=9000.0)), patch=dear)
    win, boom = told(story, "win", settings).terms, told(story, "boom", settings).terms
    assert win.score > boom.score
    assert (boom.fitness, boom.novelty, boom.complexity) == (0.0, 0.0, 0.0)


def test_a_bold_lab_values_its_promotions_as_any_does(settings: Settings) -> None:
    """A lab that keeps from a low chance on has promotions that score above crashes all the same."""
    story = Story().idea("b", LR, decision=Decision.KEEP, probability=0.6, gain=0.001)
    assert told(story, "b", settings).terms.fitness == pytest.approx(1.6)


def test_news_and_a_stall_are_information(settings: Settings) -> None:
    """A signature that was never seen is worth 0.2, the same again nothing; after four fruitless ones all is."""
    story = Story().idea("b", LR, outcome=crash("x")).idea("c", LR, outcome=crash("x")).idea("d", LR).idea("e", LR)
    story.idea("f", LR)
    found = [told(story, name, settings).terms.information for name in "bcdef"]
    kind = [0.25 / (tried + 1) ** 0.5 for tried in range(5)]
    assert [round(a - b, 6) for a, b in zip(found, kind, strict=True)] == [0.2, 0.0, 0.0, 0.0, 0.1]


def test_a_lucky_value_makes_no_fitness(settings: Settings) -> None:
    """Fitness follows the judge's chance: a splendid value that the judge does not believe in is worth none."""
    story = Story().idea("lucky", LR, probability=0.3, outcome=Finished(metrics=metrics(0.2)))
    assert told(story, "lucky", settings).terms.fitness == 0.0


def test_the_first_of_its_kind_is_new_and_the_fifth_is_not(settings: Settings) -> None:
    """Novelty and information fall with what was tried in the same niche, kind and emitter before."""
    story = Story()
    for name in "bcdef":
        story.idea(name, LR)
    terms = [told(story, name, settings).terms for name in "bf"]
    assert terms[0].novelty == pytest.approx(0.65)
    assert terms[1].novelty == pytest.approx(0.65 / 5**0.5)
    assert terms[0].information > terms[1].information - 0.1


def test_surprise_is_measured_against_the_forecast(settings: Settings) -> None:
    """What came as forecast is no surprise, what came far from it is; without a forecast the emitter's word counts."""
    sure = Plan(emitter="local_tuner", forecast=Forecast(gain=-0.01, deviation=0.002, chance=0.1, crash=0.9))
    wrong = Plan(emitter="local_tuner", forecast=Forecast(gain=0.05, deviation=0.002, chance=0.9))
    story = Story().idea("b", LR, gain=-0.01, plan=sure).idea("c", LR, gain=-0.01, plan=wrong)
    story.idea("d", LR, gain=-0.01).idea("e", LR, outcome=crash(), plan=sure).idea("f", LR, outcome=crash())
    found = [round(told(story, name, settings).terms.surprise, 3) for name in "bcdef"]
    assert found == [0.0, 0.2, 0.15, 0.015, 0.15]


@pytest.mark.parametrize(
    ("decision", "probability", "advice"),
    [
        (Decision.KEEP, 0.97, "keep"),
        (Decision.DISCARD, 0.1, "discard"),
        (Decision.DISCARD, 0.8, "investigate"),
        (Decision.RETEST, 0.7, "investigate"),
        (None, None, "investigate"),
    ],
)
def test_the_recommendation_follows_the_verdict(
    decision: Decision | None, probability: float | None, advice: str, settings: Settings
) -> None:
    """A keep is kept; a near miss, an open race and a better value without a verdict are looked into."""
    story = Story().idea("b", LR, decision=decision, probability=probability, gain=0.01, spread=0.02)
    assert told(story, "b", settings).recommendation == advice


def test_what_crashed_is_never_recommended(settings: Settings) -> None:
    """A crash is discarded, with or without a verdict and a signature."""
    story = Story().idea("b", LR, outcome=crash("")).idea("c", LR, outcome=crash("x"), decision=None)
    assert [told(story, name, settings).recommendation for name in "bc"] == ["discard", "discard"]
    assert told(story, "b", settings).crash


def test_equal_with_less_code_is_looked_into(settings: Settings) -> None:
    """A patch that shrinks the source and is not clearly worse is worth another look."""
    shrinks = "--- a/t\n+++ b/t\n@@ -1,2 +1 @@\n-x = 1\n y = 1\n"
    story = Story().idea("b", LR, gain=-0.001, spread=0.01, patch=shrinks)
    story.idea("c", LR, gain=-0.1, spread=0.01, patch=shrinks)
    assert [told(story, name, settings).recommendation for name in "bc"] == ["investigate", "discard"]


def test_what_says_nothing_is_not_reviewed(settings: Settings) -> None:
    """An experiment whose only run was lost has no review, and asking for it says what to do."""
    story = Story().idea("b", LR, outcome=Lost(reason="the machine went away"), decision=None)
    assert [found.experiment for found in reviews(story.told(), settings)] == [experiment_name("a")]
    with pytest.raises(NotFoundError) as caught:
        told(story, "b", settings)
    assert "nightlab runs" in caught.value.hint


def test_a_review_tells_the_claims_that_it_moved(settings: Settings) -> None:
    """At most three, those with the least evidence first, and only such as the experiment speaks of."""
    story = Story().idea("x", DEEPER, gain=-0.05).idea("b", LR, gain=-0.05).idea("c", LR, gain=-0.05)
    found = told(story, "c", settings).conjectures
    assert [claim.change for claim in found][-1] == "ideas by local_tuner"
    assert all(experiment_name("c") in claim.support for claim in found)
    assert len(found) <= 3
