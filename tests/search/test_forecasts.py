"""What a lab's own runs foretell: scale-free, learning, and as unsure as it should be."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from nightlab.history import History
from nightlab.search.effects import Surface, laid_over
from nightlab.search.forecasts import MOVED, Outlook, Screen, has_crashed, mean_loss
from nightlab.search.knobs import find_knobs
from nightlab.search.priors import reach
from nightlab.search.propose import nothing_known
from nightlab.search.space import Places, Point
from nightlab.types import Direction, Ended, Finished, Plan, Purpose, Started
from tests import builders
from tests.search.histories import Story, crash, knob, metrics

KNOBS = find_knobs({"t.py": "LR = 0.1\nDEPTH = 8\nMATRIX_LR = 0.04\nUSE = LR * DEPTH * MATRIX_LR\n"}, on_gpu=False)


A = builders.experiment_name("a")


def lr(new: float) -> Point:
    return Point({"LR": f"{new}"})


def depth(new: int) -> Point:
    return Point({"DEPTH": f"{new}"})


def ran(story: Story, name: str, point: Point, gain: float, **more: object) -> Story:
    """An idea at that point of the baseline, whose run gained so much."""
    olds = {one.name: one.text for one in KNOBS}
    changes = [knob(key, olds[key], text) for key, text in point.values.items()]
    return story.idea(name, *changes, gain=gain, parent="a", **more)  # type: ignore[arg-type]


def foretold(
    told: History | Story,
    points: Sequence[Point],
    direction: Direction = Direction.MINIMIZE,
) -> Outlook:
    history = told.told() if isinstance(told, Story) else told
    return Screen(history, A, KNOBS, direction, Places(), nothing_known).outlook(points)


def gains(outlook: Outlook) -> list[float]:
    return [-float(loss) for loss in outlook.loss]


def uphill() -> Story:
    """A smaller rate pays, a larger one costs; depth does nothing."""
    story = Story()
    for place, (new, gain) in enumerate([(0.2, -0.01), (0.4, -0.021), (0.05, 0.009)]):
        ran(story, f"lr{place}", lr(new), gain)
    return ran(story, "deep", depth(9), 0.0002)


def test_goes_on_where_it_paid() -> None:
    """Further the way that paid is foretold to gain more than the step that did; the other way to lose."""
    outlook = foretold(uphill(), [lr(0.025), lr(0.05), lr(0.2), depth(10)])
    further, known, back, other = gains(outlook)
    assert further > known > 0 > back
    assert abs(other) < further
    forecast = outlook.forecast(0)
    assert forecast is not None
    assert forecast.chance > 0.8
    assert outlook.model == "history"


@pytest.mark.parametrize(("factor", "direction"), [(1000.0, Direction.MINIMIZE), (1e-6, Direction.MINIMIZE),
                                                   (1.0, Direction.MAXIMIZE), (250.0, Direction.MAXIMIZE),
                                                   (1e-20, Direction.MAXIMIZE)])  # fmt: skip
def test_nothing_depends_on_the_metric_s_units_or_direction(factor: float, direction: Direction) -> None:
    """A metric times a thousand, or one that is maximised, gives the same chances; gains in its own units."""
    points = [lr(0.025), lr(0.3), depth(10), depth(4), Point({"LR": "0.05", "DEPTH": "10"})]
    plain = foretold(uphill(), points)
    story = uphill()
    for place, event in enumerate(story.events):
        if isinstance(event, Ended) and isinstance(event.outcome, Finished):
            value = direction.sign * factor * event.outcome.metrics.primary
            story.events[place] = replace(event, outcome=Finished(metrics=metrics(value)))
    other = foretold(story, points, direction)
    assert np.allclose(np.array(gains(other)), factor * np.array(gains(plain)), rtol=1e-4, atol=1e-9 * factor)
    for place in range(len(points)):
        one, two = plain.forecast(place), other.forecast(place)
        assert one is not None
        assert two is not None
        assert two.chance == pytest.approx(one.chance, abs=1e-4)
    assert np.argsort(other.loss).tolist() == np.argsort(plain.loss).tolist()


def test_there_is_no_forecast_before_three_experiments_have_values() -> None:
    """Until then nothing tells how far the metric moves here: the order is the public histories', without a number."""
    story = ran(Story(), "one", lr(0.2), -0.01)
    outlook = foretold(story, [lr(0.05), depth(9)])
    assert outlook.model == "prior"
    assert outlook.forecast(0) is None
    assert outlook.loss[0] != outlook.loss[1]
    assert foretold(ran(story, "two", lr(0.05), 0.01), [depth(9)]).forecast(0) is not None


def test_a_baseline_without_a_value_gives_no_forecast() -> None:
    """Ideas that ran before their base did have nothing to be compared with."""
    story = uphill()
    story.events = [e for e in story.events if not (isinstance(e, Ended) and e.run.startswith("a-"))]
    assert foretold(story, [lr(0.05)]).forecast(0) is None


def test_an_unseen_change_has_the_prior_s_deviation() -> None:
    """Where no run has had a change, its doubt is what one such change may do, and no less."""
    story = Story()
    for place, new in enumerate((0.2, 0.4, 0.05)):
        ran(story, f"lr{place}", lr(new), -0.01 * new)
    seen, unseen = foretold(story, [lr(0.1), Point({"DEPTH": "16"})]).deviation
    scale = Screen(
        story.told(), builders.experiment_name("a"), KNOBS, Direction.MINIMIZE, Places(), nothing_known
    ).scale
    assert unseen == pytest.approx(scale * MOVED * reach("depth", "up"), rel=0.1)
    assert seen < 0.5 * unseen


def noisy() -> Story:
    """The same lab, whose baseline ran four times more, and not alike."""
    story = uphill()
    for number, noise in enumerate((0.004, -0.004, 0.004, -0.004)):
        story._run("a", f"more{number}", Finished(metrics=metrics(1.0 + noise)), Purpose.BASELINE, 50 + number)
    return story


@pytest.mark.parametrize("story", [Story, uphill, noisy], ids=["before any idea", "without noise", "with noise"])
def test_a_draw_is_of_the_whole_surface(story: Callable[[], Story]) -> None:
    """In each draw the base gains nothing, and two neighbours gain alike, more so than strangers do.

    Over many draws each idea is as good as it is foretold.
    """
    outlook = foretold(story(), [lr(0.1), lr(0.03), lr(0.0299), depth(16)])
    rng = random.Random(5)
    draws = np.array([outlook.drawn(rng) for _ in range(3000)])
    spread = draws.std(axis=0)
    assert spread[0] < 0.01 * spread[3]
    together = np.corrcoef(draws[:, 1:].T)
    assert together[0, 1] > 0.99
    assert abs(together[1, 2]) < 0.5
    assert draws.mean(axis=0) == pytest.approx(gains(outlook), abs=4 * float(spread.max()) / 3000**0.5)


def test_a_draw_holds_for_ideas_that_are_one() -> None:
    """The same place many times over, the base among them, gives no singular matrix: each gains what the first does."""
    outlook = foretold(uphill(), [lr(0.1), *[lr(0.03)] * 40])
    draw = outlook.drawn(random.Random(1))
    assert draw[0] == pytest.approx(0.0, abs=1e-4)
    assert draw[2:] == pytest.approx([draw[1]] * 39, abs=1e-4)


def test_the_odds_of_a_crash_rise_near_one_and_fall_away() -> None:
    """One in ten before anything; more at a crash than a doubling from it, and least where much ran."""
    before = foretold(Story(), [depth(16)]).crash[0]
    assert before == pytest.approx(0.1, abs=0.07)
    story = Story()
    ran(story, "broken", depth(16), 0.0, outcome=crash())
    for place, new in enumerate((0.2, 0.05)):
        ran(story, f"lr{place}", lr(new), -0.01)
    at, near, far, fine = foretold(story, [depth(16), depth(12), depth(5), lr(0.1)]).crash
    assert at > near > far
    assert at > 0.3
    assert fine < 0.1


def test_a_crash_lowers_the_chance_and_has_no_value() -> None:
    """P(better) counts what crashes as not better; a crash is no loss to learn from."""
    story = ran(uphill(), "broken", depth(16), 0.0, outcome=crash())
    outlook = foretold(story, [depth(16)])
    forecast = outlook.forecast(0)
    assert forecast is not None
    assert forecast.chance < 1 - forecast.crash
    state = story.told().state(builders.experiment_name("broken"))
    assert has_crashed(state)
    assert mean_loss(state, Direction.MINIMIZE) is None


def test_a_far_loser_bends_its_neighbourhood_little() -> None:
    """A model that does not learn at three times the rate tells less of its half than a loss of the usual size does.

    Told as exactly as any other, one loss of a hundred times the usual would rule what is foretold everywhere.
    """

    def at(loss: float) -> float:
        story = Story()
        for place, (new, gain) in enumerate([(0.05, 0.01), (0.025, 0.02), (0.2, -0.01)]):
            ran(story, f"lr{place}", lr(new), gain)
        return gains(foretold(ran(story, "far", lr(0.3), -loss), [lr(0.0125)]))[0]

    assert at(2.0) == pytest.approx(at(0.016), abs=0.02)


def test_more_runs_of_an_experiment_tighten_it() -> None:
    """Ten runs that agree on an idea leave less doubt of it than one, where runs differ."""

    def doubt(extra: int) -> float:
        story = uphill()
        for number, noise in enumerate((0.004, -0.004, 0.003, -0.003)):  # what tells of the noise
            story._run("a", f"more{number}", Finished(metrics=metrics(1.0 + noise)), Purpose.BASELINE, 50 + number)
        for number in range(extra):
            noise = 0.004 if number % 2 else -0.004
            story._run("deep", f"deep{number}", Finished(metrics=metrics(1.0 + noise)), Purpose.REPLICATE, 60 + number)
        return float(foretold(story, [depth(9)]).deviation[0])

    assert doubt(10) < 0.8 * doubt(0)


def test_runs_that_decide_nothing_count_for_nothing() -> None:
    """Final seeds, and values from a device that was not fit to measure on, are no part of a forecast."""
    story, other = uphill(), uphill()
    other._run("deep", "final", Finished(metrics=metrics(0.5)), Purpose.FINAL, 99)
    run = replace(builders.run("bad", "deep", seed=98, night="n1"))
    other.events += [
        Started(run=run),
        builders.ended("bad", builders.finished(0.5), conditions=builders.conditions("hot")),
    ]
    assert gains(foretold(other, [depth(9)])) == gains(foretold(story, [depth(9)]))


def test_removals_and_other_lines_are_no_evidence() -> None:
    """A removal asks another question, and another baseline's ideas lie in another place."""
    story, other = uphill(), uphill()
    ran(other, "gone", lr(0.8), 0.2, plan=Plan(emitter="ablation", without=builders.experiment_name("deep")))
    assert gains(foretold(other, [lr(0.025)])) == gains(foretold(story, [lr(0.025)]))


def test_equal_values_give_a_forecast_and_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    """A lab whose command always prints the same number is no error: nothing is foretold to gain."""
    story = Story()
    for place, new in enumerate((0.2, 0.4, 0.05, 0.025)):
        ran(story, f"lr{place}", lr(new), 0.0)
    outlook = foretold(story, [lr(0.3), depth(9)])
    assert np.isfinite(outlook.loss).all()
    assert np.isfinite(outlook.deviation).all()
    assert (outlook.deviation > 0).all()
    assert not recwarn.list


def test_the_nearest_is_how_far_what_ran_or_crashed_lies() -> None:
    """Zero at an experiment, a base or a crash; infinite before anything ran."""
    story = ran(uphill(), "broken", depth(16), 0.0, outcome=crash())
    nearest = foretold(story, [Point({}), lr(0.2), depth(16), lr(0.21)]).nearest
    assert nearest[:3] == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    assert 0.01 < nearest[3] < 0.2


def test_runs_of_a_final_block_make_no_value_surer() -> None:
    """Their values steer nothing, and neither does their number."""
    story, other = uphill(), uphill()
    for seed in range(4):
        other._run("a", f"final-{seed}", Finished(metrics=metrics(0.5)), Purpose.FINAL, 1_000_000 + seed)
    for one in (story, other):
        one._run("lr2", "lr2-43", Finished(metrics=metrics(1.004)), Purpose.REPLICATE, 43)  # which tells the noise
    points = [lr(0.025), depth(10)]
    assert gains(foretold(other, points)) == gains(foretold(story, points))
    assert foretold(other, points).deviation.tolist() == foretold(story, points).deviation.tolist()


def test_a_known_surface_counts_before_there_are_runs_whatever_its_units() -> None:
    """The recipe's effects and the doubts beside them are told in one unit: a thousand times the one, the other too."""

    def before(factor: float) -> Outlook:
        surface = Surface(
            recipe={"lr": 0.1, "matrix-lr": 0.04},
            lines={"lr": 0.002 * factor, "matrix-lr": -0.003 * factor},
            products={("lr", "lr"): 0.001 * factor},
        )
        points = [lr(0.2), lr(0.05), Point({"MATRIX_LR": "0.08"}), depth(10)]
        story = Story()
        return Screen(
            story.told(), A, KNOBS, Direction.MINIMIZE, Places(), lambda texts: laid_over(surface, texts)
        ).outlook(points)

    small, large = before(1.0), before(1000.0)
    assert small.model == "prior"
    assert np.allclose(large.loss, 1000.0 * small.loss)
    assert np.allclose(large.deviation, 1000.0 * small.deviation)
    assert 0.0 < abs(small.loss[2]) < 0.02
