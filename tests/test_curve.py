"""A run's curve, and the looks at it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightlab.types import Bounds, Curve, Look


def test_a_value_is_an_average_over_the_last_twentieth() -> None:
    """Noise is averaged; nothing that comes later counts."""
    curve = Curve.of((step / 100, float(step)) for step in range(1, 101))
    assert curve.at(0.5) == pytest.approx((46 + 47 + 48 + 49 + 50) / 5)
    assert curve.at(0.04) == pytest.approx((1 + 2 + 3 + 4) / 4)


def test_between_distant_points_a_line_is_drawn() -> None:
    """A run that reports every tenth of its budget can be looked at anywhere."""
    assert Curve.of([(0.1, 3.0), (0.5, 2.0), (0.9, 1.0)]).at(0.7) == pytest.approx(1.5)


@pytest.mark.parametrize("fraction", [0.05, 0.95, 1.0])
def test_outside_its_points_nothing_is_known(fraction: float) -> None:
    """No extrapolation."""
    assert Curve.of([(0.1, 3.0), (0.5, 2.0), (0.9, 1.0)]).at(fraction) is None
    assert Curve(()).at(fraction) is None


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=60), st.floats(0, 1))
def test_any_points_make_a_curve(points: list[tuple[float, float]], fraction: float) -> None:
    """Whatever a run reports: shares rise, losses are numbers, and at most 201 points are left."""
    curve = Curve.of(points)
    shares = [share for share, _ in curve.points]
    assert shares == sorted(shares)
    assert len(shares) <= 201
    value = curve.at(fraction)
    assert value is None or not math.isnan(value)


LOOKS = (Look(fraction=0.4, champion=3.0, margin=0.5), Look(fraction=0.6, champion=2.0, margin=0.1))


@pytest.mark.parametrize(
    ("early", "late", "reached", "given_up"),
    [
        pytest.param(3.4, 2.05, 1.0, None, id="passes both"),
        pytest.param(3.6, 2.0, 1.0, 0.4, id="fails the first"),
        pytest.param(3.4, 2.2, 1.0, 0.6, id="fails the second"),
        pytest.param(3.4, 2.2, 0.5, None, id="has not come to the second"),
        pytest.param(3.6, 2.2, 0.3, None, id="has not come to the first"),
        pytest.param(3.6, 2.2, 0.39, None, id="has nearly come to the first"),
    ],
)
def test_a_look_is_taken_when_it_is_reached(early: float, late: float, reached: float, given_up: float | None) -> None:
    """And not before; the first that fails counts."""
    curve = Curve.of((s / 100, early if s <= 40 else late) for s in range(1, round(100 * reached) + 1))
    found = Bounds(looks=LOOKS).given_up(curve)
    assert (found and found.fraction) == given_up
