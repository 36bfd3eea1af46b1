"""Numbers in words."""

from __future__ import annotations

import pytest

from nightlab.report.words import ago, chance, count, decimals, duration, gain_in_words, iso, number, odds, signed


@pytest.mark.parametrize(
    ("step", "value", "digits"),
    [(0.0005, 1.0, 5), (1.3, 900.0, 1), (250.0, 1e4, 0), (None, 1.2345678, 5), (None, 12345.6, 1), (None, None, 6),
     (0.0, 2.0, 5), (float("inf"), 0.0, 6), (1e-15, 1.0, 10)],
)  # fmt: skip
def test_digits_follow_what_is_known(step: float | None, value: float | None, digits: int) -> None:
    """Two digits of the uncertainty are shown, never more than ten."""
    assert decimals(step, value) == digits


def test_numbers_have_no_negative_zero_and_a_dash_for_none() -> None:
    """-0.0000 is a distraction, and nothing is not zero."""
    assert number(-0.00001, 3) == "0.000"
    assert signed(-0.00001, 3) == "+0.000"
    assert signed(-1.5, 1) == "-1.5"
    assert number(None, 3) == signed(None, 3) == "-"
    assert number(1234567.0, 1) == "1,234,567.0"


@pytest.mark.parametrize(
    ("probability", "words"),
    [(0.95, "about 1 chance in 20"), (0.9975, "about 1 chance in 400"), (0.99995, "less than 1 chance in 10,000"),
     (1.0, "less than 1 chance in 10,000"), (0.5, "about 1 chance in 2")],
)  # fmt: skip
def test_chances_are_given_to_two_digits(probability: float, words: str) -> None:
    """Nobody knows that it is 1 in 401."""
    assert chance(probability) == words


def test_odds_are_short() -> None:
    """The same in a table's cell."""
    assert odds(0.975) == "1 in 40"
    assert odds(1.0) == "under 1 in 10,000"


def test_gains_claim_no_more_than_they_have() -> None:
    """Proven, promising and none are three different sentences."""
    assert gain_in_words(0.01, 0.005, 0.015, 0.9999).startswith("better by 0.0100 (95 % interval 0.0050 to 0.0150)")
    assert gain_in_words(0.01, 0.005, 0.015, 0.99, "the baseline").startswith("better than the baseline by")
    assert "not proven: about 1 chance in 5" in gain_in_words(0.01, -0.005, 0.025, 0.8)
    assert gain_in_words(-0.01, -0.02, 0.0, 0.1).startswith("no evidence of a gain (-0.010,")


def test_time_in_words() -> None:
    """Two units at most, and the smallest that says enough."""
    assert [duration(s) for s in (-1, 42, 300, 5400, 7500, 200_000)] == [
        "0 s", "42 s", "5 min", "1 h 30 min", "2 h 5 min", "2 days",
    ]  # fmt: skip
    assert ago(1) == "just now"
    assert ago(600) == "10 min ago"
    assert iso(0) == "1970-01-01T00:00:00Z"
    assert (count(1, "run"), count(0, "run"), count(2, "crash", "crashes")) == ("1 run", "0 runs", "2 crashes")
