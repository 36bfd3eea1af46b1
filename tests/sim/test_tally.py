"""Sums over nights, with their errors worked out by hand."""

from __future__ import annotations

import math

import pytest

from nightlab.sim.policies import Played
from nightlab.sim.tally import mean, share, tally


def night(promotions: int, false: int, *, gain: float = 1.0, covered: bool | None = None) -> Played:
    return Played(
        ideas=10, promotions=promotions, false=false, harmful=0, true_gain=gain, reported=gain + 0.5, repeats=2,
        covered=covered, late=promotions, late_false=false, stopped=3, lost=1,
    )  # fmt: skip


def test_a_mean_has_the_standard_error_of_a_mean() -> None:
    """1, 2, 3: mean 2, standard deviation 1, so 1/sqrt(3). One night alone tells no error."""
    found = mean([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert found.se == pytest.approx(1.0 / math.sqrt(3.0))
    assert mean([4.0]).se == 0.0


def test_a_share_is_a_ratio_of_sums() -> None:
    """1 of 2 and 0 of 4: 1/6 of all, not 1/4.

    What is left over is 1 - 2/6 = 2/3 and 0 - 4/6 = -2/3, of standard deviation 2/3 sqrt(2); over the mean
    whole of 3 and sqrt(2) nights that is 2/9.
    """
    found = share([1, 0], [2, 4])
    assert found is not None
    assert found.value == pytest.approx(1 / 6)
    assert found.se == pytest.approx(2 / 9)
    assert share([0, 0], [0, 0]) is None


def test_a_row_adds_up_its_nights() -> None:
    """Each field from its own count; coverage over the nights that claimed something."""
    row = tally("p", [night(2, 1, covered=True), night(4, 0, gain=3.0, covered=False), night(0, 0)])
    assert (row.policy, row.nights) == ("p", 3)
    assert (row.ideas.value, row.promotions.value, row.repeats.value) == (10, 2, 2)
    assert (row.stopped.value, row.lost.value) == (3, 1)
    assert row.false_share is not None
    assert row.late_false_share == row.false_share
    assert row.false_share.value == pytest.approx(1 / 6)
    assert row.nights_with_false.value == pytest.approx(1 / 3)
    assert row.true_gain.value == pytest.approx(5 / 3)
    assert row.optimism.value == pytest.approx(0.5)
    assert row.optimism.se == pytest.approx(0.0)
    assert row.coverage is not None
    assert row.coverage.value == 0.5
    assert row.coverage.se == pytest.approx(0.5)


def test_nothing_of_the_kind_is_none() -> None:
    """No promotion has no share, no claim no coverage."""
    row = tally("p", [night(0, 0), night(0, 0)])
    assert (row.false_share, row.late_false_share, row.coverage) == (None, None, None)
