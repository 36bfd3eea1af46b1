"""How forecasts are scored against what the judge made of the ideas."""

from __future__ import annotations

import pytest

from nightlab.search.calibration import Calibration, calibration
from nightlab.types import Decision, Forecast, Plan
from tests.search.histories import Story, crash, knob


def foretold(chance: float = 0.5, gain: float = 0.0, deviation: float = 0.01) -> Forecast:
    return Forecast(gain=gain, deviation=deviation, chance=chance, model="history")


def tell(story: Story, emitter: str, said: Forecast | None, **more: object) -> Story:
    name = f"i{len(story.events)}"
    return story.idea(name, knob("LR", "1", name), plan=Plan(emitter=emitter, forecast=said), **more)  # type: ignore[arg-type]


def scored(story: Story) -> tuple[Calibration, ...]:
    return calibration(story.told().line)


def test_nothing_is_scored_before_there_is_a_forecast_with_a_final_verdict() -> None:
    """No ideas, ideas without forecasts, and ideas whose race goes on give no row."""
    story = Story()
    assert scored(story) == ()
    tell(story, "contrarian", None)
    tell(story, "contrarian", foretold(), decision=Decision.RETEST)
    tell(story, "contrarian", foretold(), decision=None)
    assert scored(story) == ()


def test_rows_come_in_the_emitters_order_and_everybody_last() -> None:
    """Whoever scored, in the order in which emitters are always named, then all together; people only there."""
    story = Story()
    for emitter in ("contrarian", "simplifier", "contrarian", "somebody"):
        tell(story, emitter, foretold())
    assert [(row.emitter, row.scored) for row in scored(story)] == [("simplifier", 1), ("contrarian", 2), ("", 4)]


def test_the_brier_score_is_the_expected_squared_error() -> None:
    """By hand: 0.8 said of what is 0.6 likely better is 0.6 * 0.04 + 0.4 * 0.64; a crash is certainly no better."""
    story = tell(Story(), "contrarian", foretold(0.8), probability=0.6)
    tell(story, "contrarian", foretold(0.3), outcome=crash())
    (row, everybody) = scored(story)
    assert row.brier == pytest.approx((0.6 * 0.04 + 0.4 * 0.64 + 0.09) / 2)
    assert row.foretold == pytest.approx(0.55)
    assert row.better == pytest.approx(0.3)
    assert row.even == pytest.approx((0.6 * 0.49 + 0.4 * 0.09 + 0.09) / 2)
    assert (everybody.brier, everybody.even) == (row.brier, row.even)


def test_who_tells_good_from_bad_scores_below_the_mean() -> None:
    """Skill is a lower score than always saying the mean; saying it upside down is a higher one."""
    good, bad = Story(), Story()
    for probability in (0.9, 0.1, 0.9, 0.1):
        tell(good, "contrarian", foretold(probability), probability=probability)
        tell(bad, "contrarian", foretold(1.0 - probability), probability=probability)
    (one, *_), (other, *_) = scored(good), scored(bad)
    assert one.even == other.even
    assert one.brier < one.even < other.brier


def test_gains_lie_inside_by_both_deviations() -> None:
    """What was foretold is widened by the verdict's own interval; a verdict without a gain is not counted."""
    story = tell(Story(), "contrarian", foretold(gain=0.0, deviation=0.01), gain=-0.019, spread=1e-6)
    tell(story, "contrarian", foretold(gain=0.0, deviation=0.01), gain=-0.021, spread=1e-6)
    tell(story, "contrarian", foretold(gain=0.0, deviation=0.01), gain=-0.021, spread=0.02)
    tell(story, "contrarian", foretold(), outcome=crash())
    assert scored(story)[0].inside == pytest.approx(2 / 3)
    assert scored(tell(Story(), "contrarian", foretold(), outcome=crash()))[0].inside is None
