"""The race of a removal: equal and simpler wins, what earns its place stays, and luck decides seldom."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest

from nightlab.config import JudgeSettings
from nightlab.judge import removal
from nightlab.judge.model import Row
from nightlab.types import Decision, ExperimentId, Verdict

SETTINGS = JudgeSettings()
CHAMPION, WITHOUT, OTHER = (ExperimentId(name) for name in ("champion", "without", "other"))


def rows(arm: ExperimentId, *values: float, first: int = 0) -> list[Row]:
    return [Row(arm=arm, seed=place, slot=first + place, value=value) for place, value in enumerate(values)]


def in_turn(*values: float, drifts: bool = True) -> list[Row]:
    """Runs of champion and removal with the same values, one after the other."""
    sides = (CHAMPION, WITHOUT)
    return [
        Row(arm=arm, seed=seed, slot=2 * seed + place, value=value, drifts=drifts)
        for seed, value in enumerate(values)
        for place, arm in enumerate(sides)
    ]


NOISE = rows(OTHER, 2.0, 1.9985, 2.001, 1.9995, 2.0012, first=90)  # what a seed does to one, it does not to another
BASE = [*rows(CHAMPION, 1.0, 1.001, 0.999, 1.0005), *NOISE]


def judge(*values: float, margin: float = 0.001, steps: int = 0, settings: JudgeSettings = SETTINGS) -> Verdict:
    found = [*BASE, *rows(WITHOUT, *values, first=50)]
    return removal.judge(WITHOUT, CHAMPION, found, settings, margin=margin, steps_taken=steps)


def test_equal_and_simpler_wins() -> None:
    """A removal that measures the same over enough seeds, in turn, is kept, with its numbers over the champion."""
    found = [*in_turn(1.0, 1.001, 0.999, 1.0005), *NOISE]
    verdict = removal.judge(WITHOUT, CHAMPION, found, SETTINGS, margin=0.002)
    assert verdict.decision is Decision.KEEP
    assert verdict.gain == pytest.approx(0.0, abs=1e-4)  # the champion's runs are the earlier ones by a slot
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low < 0 < verdict.high
    assert verdict.because.startswith("no worse without it")


def test_an_hour_between_them_leaves_a_doubt() -> None:
    """The same values, the champion's long before the removal's: the machine may hide a loss, unless it cannot."""
    apart = [*BASE, *rows(WITHOUT, 1.0, 1.001, 0.999, 1.0005, first=50)]
    steady = [replace(row, drifts=False) for row in apart]
    found = [removal.judge(WITHOUT, CHAMPION, some, SETTINGS, margin=0.002) for some in (apart, steady)]
    assert [verdict.decision for verdict in found] == [Decision.RETEST, Decision.KEEP]
    assert found[0].replicate == CHAMPION  # a fifth run beside the others' would tell little


def test_what_earns_its_place_stays() -> None:
    """A removal that is clearly worse is dropped on its first run, and the sentence says what is lost."""
    verdict = judge(1.01)
    assert verdict.decision is Decision.DISCARD
    assert verdict.because.startswith("it earns its place (without it the gain is -0.0")


def test_one_seed_decides_nothing() -> None:
    """However good the first run, a second one is asked of the removal itself."""
    verdict = judge(0.98)
    assert (verdict.decision, verdict.replicate) == (Decision.RETEST, WITHOUT)


def test_an_undecided_race_ends() -> None:
    """Between the thresholds the side that tells more goes again, until the steps are spent; then it is dropped."""
    assert judge(1.001).replicate == WITHOUT
    assert judge(1.001, 1.0002).replicate == CHAMPION
    steady = [replace(row, drifts=False) for row in [*BASE, *rows(WITHOUT, 1.001, 1.0002, first=50)]]
    assert removal.judge(WITHOUT, CHAMPION, steady, SETTINGS, margin=0.001).replicate == WITHOUT
    over = judge(1.001, 1.0002, steps=SETTINGS.max_steps)
    assert over.decision is Decision.DISCARD
    assert over.because.startswith("not shown to be dead weight")


def test_without_a_noise_nothing_is_concluded() -> None:
    """One run a side and no first guess: run again, or drop it."""
    alone = [*rows(CHAMPION, 1.0), *rows(WITHOUT, 1.0, first=9)]
    verdict = removal.judge(WITHOUT, CHAMPION, alone, SETTINGS, margin=0.0)
    assert (verdict.decision, verdict.gain, verdict.probability) == (Decision.RETEST, None, None)
    assert "nothing is known of the noise" in verdict.because


def test_the_margin_is_in_units_of_the_metric() -> None:
    """The same night in other units gives the same verdict."""
    found = [*BASE, *rows(WITHOUT, 1.0003, 1.0011, first=50)]
    large = [Row(arm=r.arm, seed=r.seed, slot=r.slot, value=1000 * r.value) for r in found]
    one = removal.judge(WITHOUT, CHAMPION, found, SETTINGS, margin=0.001)
    other = removal.judge(WITHOUT, CHAMPION, large, SETTINGS, margin=1.0)
    assert one.decision is other.decision
    assert one.probability == pytest.approx(other.probability, abs=1e-6)
    assert other.gain == pytest.approx(1000 * (one.gain or 0.0), rel=1e-6)


def raced(loss: float, rng: Random, *, drifts: bool) -> bool:
    """Whether a link of true worth `loss` (in standard deviations of a run; the margin is one) is taken out."""
    found = [
        *(Row(arm=CHAMPION, seed=s, slot=s, value=rng.gauss(0.0, 1.0), drifts=drifts) for s in range(4)),
        *(Row(arm=OTHER, seed=s, slot=20 + s, value=rng.gauss(0.0, 1.0), drifts=drifts) for s in range(6)),
    ]
    verdict = None
    for step in range(SETTINGS.max_steps + 1):
        side = WITHOUT if verdict is None else verdict.replicate
        assert side is not None
        seed = sum(row.arm == side for row in found)
        value = rng.gauss(loss if side == WITHOUT else 0.0, 1.0)
        found.append(Row(arm=side, seed=seed, slot=40 + step, value=value, drifts=drifts))
        verdict = removal.judge(WITHOUT, CHAMPION, found, SETTINGS, margin=1.0, steps_taken=step)
        if verdict.decision.is_final:
            return verdict.decision is Decision.KEEP
    raise AssertionError("the race never ended")


@pytest.mark.parametrize("drifts", [False, True], ids=["steady", "may drift"])
@pytest.mark.parametrize(("loss", "low", "high"), [(0.0, 0.25, 1.0), (1.0, 0.0, 0.15), (2.0, 0.0, 0.02)])
def test_how_often_a_link_is_taken_out(loss: float, low: float, high: float, drifts: bool) -> None:
    """Dead weight often, a link worth the margin seldom, one worth twice that hardly ever, looked at after each run.

    Whether the judge knows that the machine is steady or must find it out.
    """
    rng = Random(7)
    share = sum(raced(loss, rng, drifts=drifts) for _ in range(200)) / 200
    assert low <= share <= high
