"""How far behind a run may lie that ends as good as the champion: units, few runs, wild ones, errors held."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random

import pytest

from nightlab.judge.curves import FLOOR, MIN_PAIRS, RISK, Companion, Limits, limits, student
from nightlab.types import Bounds, Curve

LOOKS = (0.4, 0.6)


def curve(end: float = 0.0, *, scale: float = 1.0, shift: float = 4.0, late: float = 0.0) -> Curve:
    """A loss that falls by one unit, ends at `end` above `shift`, and is `late` behind before its last third."""
    shares = [step / 100 for step in range(1, 101)]
    return Curve.of((f, shift + scale * ((1 - f) ** 2 + end + late * min(1.0, 3.0 * (1.0 - f)))) for f in shares)


def companions(
    count: int, *, late: float = 0.02, units: float = 1.0, seed: int = 1, scale: float = 1.0
) -> list[Companion]:
    """Runs that end up to 0.1 worse or better, whose curves are `late` (one standard deviation) off before the end."""
    rng = Random(seed)
    found = []
    for _ in range(count):
        end = rng.uniform(-0.1, 0.1)
        found.append(
            Companion(
                curve=curve(end, late=rng.gauss(0.0, late), scale=scale),
                champion=curve(scale=scale),
                difference=units * end,
            )
        )
    return found


def margins(found: Limits) -> list[float]:
    return [look.margin for look in found.looks]


def stopped(found: Limits, run: Curve) -> bool:
    return Bounds(looks=found.looks).given_up(run) is not None


def test_few_runs_stop_nothing() -> None:
    """Below MIN_PAIRS comparable runs no look is taken, and the reason says how many there are."""
    assert limits(curve(), companions(MIN_PAIRS), LOOKS).looks
    found = limits(curve(), companions(MIN_PAIRS - 1), LOOKS)
    assert not found.looks
    assert found.because.startswith(f"{MIN_PAIRS - 1} finished runs")


def test_a_champion_that_tells_too_little_stops_nothing() -> None:
    """Its curve must reach the look, and fall after it."""
    short = Curve.of((step / 100, 5.0 - step) for step in range(1, 31))
    assert "does not tell of 40%" in limits(short, companions(9), LOOKS).because
    flat = Curve.of((step / 100, 1.0) for step in range(1, 101))
    assert "falls no more after 40%" in limits(flat, companions(9), LOOKS).because


def test_units_and_zeros_do_not_matter() -> None:
    """A loss in other units, and a metric in others, give the same margins in the loss's units."""
    plain = margins(limits(curve(), companions(20), LOOKS))
    scaled = margins(limits(curve(scale=1000.0), companions(20, scale=1000.0), LOOKS))
    assert scaled == pytest.approx([1000.0 * margin for margin in plain])
    metric = margins(limits(curve(), companions(20, units=1e-4), LOOKS))
    assert metric == pytest.approx(plain)


def test_a_margin_has_a_floor() -> None:
    """Runs that all look alike do not make a razor of it: a tenth of what the champion has still to gain is free."""
    alike = [Companion(curve=curve(), champion=curve(), difference=0.0)] * 30
    champion = curve()
    start, end = champion.at(0.4), champion.at(1.0)
    assert start is not None
    assert end is not None
    assert margins(limits(champion, alike, LOOKS))[0] == pytest.approx(FLOOR * (start - end))


def test_margins_narrow_as_runs_come_in() -> None:
    """Five runs know their spread badly, and the margin pays for it."""
    wide = [margins(limits(curve(), companions(MIN_PAIRS, seed=s, late=0.1), LOOKS))[1] for s in range(40)]
    narrow = [margins(limits(curve(), companions(60, seed=s, late=0.1), LOOKS))[1] for s in range(40)]
    assert sum(wide) / 40 > 1.15 * sum(narrow) / 40


def test_what_ended_well_would_have_passed() -> None:
    """Before there are enough runs for a quantile, no run that ended as good as the champion lies beyond a margin."""
    for seed in range(30):
        runs = companions(25, late=0.08, seed=seed)
        found = limits(curve(), runs, LOOKS)
        assert not any(stopped(found, run.curve) for run in runs if run.difference <= 0.0)


def test_one_wild_run_rules_nothing() -> None:
    """A run that ended far off says nothing of those near the champion."""
    runs = companions(20)
    wild = Companion(curve=curve(9.0, late=5.0), champion=curve(), difference=9.0)
    before, after = margins(limits(curve(), runs, LOOKS)), margins(limits(curve(), [*runs, wild], LOOKS))
    assert after == pytest.approx(before, rel=0.25)


@pytest.mark.parametrize("count", [MIN_PAIRS, 12, 40, 400])
def test_few_equals_of_the_champion_are_lost(count: int) -> None:
    """Over labs of any size, runs that end exactly as good as the champion are given up with about RISK at most."""
    rng = Random(7)
    lost = total = 0
    for seed in range(40 if count < 100 else 4):
        found = limits(curve(), companions(count, seed=seed, late=0.1), LOOKS)
        for _ in range(30):
            lost += stopped(found, curve(0.0, late=rng.gauss(0.0, 0.1)))
            total += 1
    assert lost / total <= RISK + 3.0 * math.sqrt(RISK * (1 - RISK) / total)


def test_hopeless_runs_are_stopped() -> None:
    """What lies far behind is given up at the first look, with its distance."""
    found = limits(curve(), companions(20), LOOKS)
    told = Bounds(looks=found.looks).given_up(curve(0.8))
    assert told is not None
    assert told.fraction == 0.4
    assert told.behind == pytest.approx(0.8, abs=0.01)
    assert "40%" in told.reason


def exact(freedom: int) -> float:
    return {5: 4.0321, 6: 3.7074, 8: 3.3554, 12: 3.0545, 30: 2.7500}[freedom]


@pytest.mark.parametrize("freedom", [5, 6, 8, 12, 30])
def test_students_quantile(freedom: int) -> None:
    """The 99.5 % points of the tables."""
    assert student(0.995, freedom) == pytest.approx(exact(freedom), rel=0.02)


def test_all_looks_share_one_risk() -> None:
    """A second look costs width at the first: the risk is that of both together."""
    runs: Sequence[Companion] = companions(12, late=0.2)
    one = limits(curve(), runs, (0.4,)).looks[0].margin
    assert limits(curve(), runs, LOOKS).looks[0].margin >= one
