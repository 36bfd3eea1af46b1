"""Experiments as points: what their changes add up to, and how far apart numbers lie."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nightlab.search.catalogue import CATALOGUE
from nightlab.search.kinds import kind_of
from nightlab.search.priors import reach
from nightlab.search.space import EDITS, Axes, Places, Point, coordinate, distance, origin
from nightlab.types import Change, ChangeKind
from tests import builders
from tests.search.histories import Story, edit, free, knob

EDIT_A, EDIT_B = (entry.name for entry in CATALOGUE[:2])


def test_a_point_adds_up_what_lies_on_the_way_from_the_baseline() -> None:
    """Constants take their latest value, edits gather, a free change counts by its signature; the baseline is zero."""
    story = (
        Story().keep("b", knob("LR", "1", "2"), edit(EDIT_A)).keep("c", knob("LR", "2", "4"), knob("DEPTH", "8", "9"))
    )
    story.idea("d", Change(kind=ChangeKind.FREE, name="GPT.forward: relu", new="ab12"), free("other"))
    history, places = story.told(), Places()
    assert places.of(history, builders.experiment_name("a")) == Point({})
    assert places.of(history, builders.experiment_name("d")) == Point(
        {"LR": "4", "DEPTH": "9"}, frozenset({EDIT_A, "GPT.forward: relu=ab12", "other="})
    )
    assert places.of(history, builders.experiment_name("b")) == Point({"LR": "2"}, frozenset({EDIT_A}))
    for name in "abcd":  # asked in another order, by others who know nothing yet
        assert Places().of(history, builders.experiment_name(name)) == places.of(
            history, builders.experiment_name(name)
        )


def test_origin_is_what_the_baseline_had() -> None:
    """Texts from before the first change of each constant, however often it was changed since."""
    story = Story().keep("b", knob("LR", "1", "2")).keep("c", knob("LR", "2", "4"), knob("DEPTH", "8", "9"))
    assert origin(story.told(), builders.experiment_name("c")) == {"LR": "1", "DEPTH": "8"}
    assert origin(story.told(), builders.experiment_name("a")) == {}


def test_a_constant_that_went_back_is_where_it_was() -> None:
    """A value restored is no distance from the baseline."""
    axes = Axes({"LR": "0.1"})
    rows = axes.array([Point({}), Point({"LR": "0.1"}), Point({"LR": "0.2"})])
    assert rows[0].tolist() == rows[1].tolist()
    assert rows[2].tolist() != rows[0].tolist()


@pytest.mark.parametrize(
    ("name", "old", "new", "doublings", "way"),
    [
        ("TOTAL_BATCH_SIZE", "2**19", "2**18", -1.0, "up"),
        ("TOTAL_BATCH_SIZE", "524288", "1048576", 1.0, "up"),
        ("MATRIX_LR", "0.04", "0.01", -2.0, "up"),
        ("BETA2", "0.9", "0.95", 1.0, "up"),  # halves the distance to one
        ("BETA2", "0.99", "0.9", -math.log2(10), "up"),
    ],
)
def test_numbers_lie_apart_by_doublings_times_reach(name: str, old: str, new: str, doublings: float, way: str) -> None:
    """A ratio of two is one doubling, of distances to one for momenta; times how far that kind moves the metric."""
    column, value = distance(name, old, new)
    assert column == name
    assert value == pytest.approx(doublings * reach(kind_of(name).name, way))


def test_zero_is_a_finite_step_from_small_values() -> None:
    """Where zero means "not used" it lies a few doublings below the smallest sensible value; else far away."""
    kind = kind_of("WEIGHT_DECAY")
    off, small, usual = (coordinate(kind, value) for value in (0.0, min(kind.enable), 0.2))
    assert off < small < usual
    assert small - off < 2.5
    assert coordinate(kind_of("DEPTH"), 1) - coordinate(kind_of("DEPTH"), 0) > 10


@pytest.mark.parametrize("name", ["BETA2", "WEIGHT_DECAY", "MATRIX_LR", "WARMUP_RATIO", "DEPTH", "PURPLE"])
def test_a_scale_rises_with_the_value(name: str) -> None:
    """More is further up on every kind's scale, below and above one half alike."""
    values = [0.0, 0.001, 0.01, 0.1, 0.3, 0.49, 0.5, 0.51, 0.9, 0.99]
    found = [coordinate(kind_of(name), value) for value in values]
    assert found == sorted(found)
    assert len(set(found)) == len(found)
    assert all(math.isfinite(one) for one in [*found, coordinate(kind_of(name), -0.1), coordinate(kind_of(name), 1.0)])


def test_what_has_no_order_has_a_column_for_each_value() -> None:
    """Two patterns are as far from each other as their columns; a switch lies its reach away."""
    axes = Axes({"WINDOW_PATTERN": '"SSSL"', "WARM": "True"})
    rows = axes.array(
        [Point({"WINDOW_PATTERN": '"LLLL"'}), Point({"WINDOW_PATTERN": '"SL"'}), Point({"WARM": "False"})]
    )
    assert (rows != 0).sum(axis=1).tolist() == [1, 1, 1]
    assert len({row.nonzero()[0][0] for row in rows}) == 3
    assert rows[0].sum() == pytest.approx(reach("window", "switch"))


def test_edits_share_a_column_besides_their_own() -> None:
    """Each edit has its column, and one more counts them: edits as such may cost or pay. Free changes do not count."""
    axes = Axes({})
    rows = axes.array([Point({}, frozenset({EDIT_A, EDIT_B})), Point({}, frozenset({"by hand=1"}))])
    assert rows[:, axes.columns[EDITS]].tolist() == [2.0, 0.0]
    assert (rows[0] != 0).sum() == 3
    assert (rows[1] != 0).sum() == 1


def test_columns_come_as_they_are_met_and_stay() -> None:
    """What was turned into an array before keeps its columns when further changes appear; nothing is global."""
    axes = Axes({"LR": "0.1", "DEPTH": "4"})
    first = axes.array([Point({"LR": "0.2"})])
    both = axes.array([Point({"LR": "0.2"}), Point({"DEPTH": "8"})])
    assert np.array_equal(both[:1, : first.shape[1]], first)
    assert both.shape[1] == first.shape[1] + 1


def test_a_change_of_a_constant_that_the_base_lacks_is_passed_over() -> None:
    """A knob that is none of the baseline's has no place to be measured from."""
    assert Axes({}).array([Point({"LR": "0.2"})]).tolist() == [[0.0]]


def test_a_small_baseline_is_no_zero() -> None:
    """A decay of 1e-4 moves by doublings as one of 0.1 does, though usual values lie far above; zero is below both."""
    (_, twice), (_, off) = distance("WEIGHT_DECAY", "1e-4", "2e-4"), distance("WEIGHT_DECAY", "1e-4", "0.0")
    assert twice == pytest.approx(distance("WEIGHT_DECAY", "0.01", "0.02")[1])
    assert off == pytest.approx(distance("WEIGHT_DECAY", "0.01", "0.0")[1])
    assert off < 0 < twice


def test_a_constant_that_starts_at_zero_can_be_moved() -> None:
    """The first values to try lie a few doublings from zero, whatever the constant is called."""
    assert 1 < distance("PURPLE", "0.0", "0.01")[1] < distance("PURPLE", "0.0", "0.1")[1] < 6


def test_another_sign_is_another_place() -> None:
    """What crosses zero has no ratio: minus one half is not where two is."""
    assert distance("OFFSET", "-0.5", "2.0")[0] == "OFFSET = 2.0"
    assert distance("OFFSET", "-0.5", "-1.0")[0] == "OFFSET"


def test_a_source_from_outside_lies_by_itself() -> None:
    """Of an experiment whose changes nobody told it is not said that it is where its parent is, nor of its children."""
    history, places = Story().keep("b").idea("c", knob("LR", "1", "2")).told(), Places()
    own = f"source {builders.experiment_name('b')}"
    assert places.of(history, builders.experiment_name("b")) == Point({}, frozenset({own}))
    assert places.of(history, builders.experiment_name("c")) == Point({"LR": "2"}, frozenset({own}))


def test_columns_do_not_depend_on_the_order_of_a_set() -> None:
    """Another process orders its sets otherwise; sums of floats must not, or the same history gives other digits."""
    axes = Axes({})
    names = [f"by hand {number}=1" for number in range(12)]
    axes.array([Point({}, frozenset(names))])
    assert [name for name in axes.columns if name != EDITS] == [f"edit {name}" for name in sorted(names)]
