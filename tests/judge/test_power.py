"""How small a gain can be shown: the told sizes are held against the judge's own verdicts on simulated runs."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from nightlab.config import JudgeSettings
from nightlab.judge import power, race
from nightlab.judge.model import Row
from nightlab.types import Decision, ExperimentId

SETTINGS = JudgeSettings()
KNOWN = replace(SETTINGS, noise=0.01, noise_runs=1000.0)
A, B = ExperimentId("champion"), ExperimentId("idea")
IDEAS = 120
EXACT = 0.11  # three standard errors of a share of 0.8 among so many


def kept_by_the_rule(runs: int, gain: float, *, shared: bool = False, drifts: bool = False) -> float:
    """Share of ideas of this true gain (in sd) that `runs` runs of each side, taken in turn, prove.

    Neither seeds (`shared`) nor the machine (`drifts`) do anything to the values, but the judge does not know it.
    """
    rng = np.random.default_rng(runs)
    found = 0
    for _ in range(IDEAS):
        values = rng.normal(3.0, 0.01, (2, runs))
        rows = []
        for k in range(runs):
            rows.append(Row(A, k, 2 * k, float(values[0, k]), drifts=drifts))
            value = float(values[1, k]) - 0.01 * gain
            rows.append(Row(B, k if shared else 100 + k, 2 * k + 1, value, drifts=drifts))
        found += race.judge(B, A, rows, KNOWN).decision is Decision.KEEP
    return found / IDEAS


def kept_by_the_race(gain: float, *, shared: bool = False, drifts: bool = False) -> float:
    """The same by the race as it is run: verdict after verdict."""
    rng = np.random.default_rng(9)
    found = 0
    for _ in range(IDEAS):
        rows = [Row(A, k, k, float(rng.normal(3.0, 0.01)), drifts=drifts) for k in range(2)]
        side, steps = B, 0
        while True:
            seed = sum(row.arm == side for row in rows) + (0 if shared or side == A else 100)
            value = float(rng.normal(3.0, 0.01)) - (0.01 * gain if side == B else 0.0)
            rows.append(Row(side, seed, len(rows), value, drifts=drifts))
            verdict = race.judge(B, A, rows, KNOWN, steps)
            if verdict.replicate is None:
                break
            side, steps = verdict.replicate, steps + 1
        found += verdict.decision is Decision.KEEP
    return found / IDEAS


@pytest.mark.parametrize("runs", [2, 4, 8])
def test_the_told_gain_is_proven_in_four_of_five_cases(runs: int) -> None:
    """By the judge itself, in another unit; with shared seeds, or where the machine might drift, not less often."""
    gain = power.fixed(runs, SETTINGS).gain
    assert kept_by_the_rule(runs, gain) == pytest.approx(power.POWER, abs=EXACT)
    assert kept_by_the_rule(runs, gain, shared=True) >= power.POWER - EXACT
    assert kept_by_the_rule(runs, gain, drifts=True) >= power.POWER - EXACT


def test_the_race_shows_what_is_told_of_it() -> None:
    """The lab's rule, run verdict by verdict, proves the told gain as often, and half of it much more rarely."""
    gain = power.raced(SETTINGS).gain
    assert kept_by_the_race(gain) == pytest.approx(power.POWER, abs=EXACT)
    assert kept_by_the_race(gain, shared=True) >= power.POWER - EXACT
    assert kept_by_the_race(gain, drifts=True) >= power.POWER - EXACT
    assert kept_by_the_race(0.5 * gain) < 0.5


def test_more_runs_show_smaller_gains_at_a_higher_price() -> None:
    """2, 4 and 8 runs; the race costs little more than one run an idea and shows more than two runs of each."""
    two, four, eight = (power.fixed(runs, SETTINGS) for runs in (2, 4, 8))
    told = power.raced(SETTINGS)
    assert two.gain > four.gain > eight.gain > 0
    assert 1.0 < told.runs < 1.2 and told.most == 5
    assert told.gain < two.gain


def test_a_stricter_lab_shows_less() -> None:
    """The thresholds are those of the settings, not constants of this module."""
    strict = replace(SETTINGS, promote=0.999)
    assert power.fixed(4, strict).gain > power.fixed(4, SETTINGS).gain
    assert power.raced(strict).gain > power.raced(SETTINGS).gain
    assert power.raced(replace(SETTINGS, max_steps=1)).most == 2


def test_a_night_holds_its_baseline_and_final_runs_too() -> None:
    """8 h of 10-minute runs: 48, of which 4 + 8 are not for ideas; a night that is too short holds none."""
    four = power.fixed(4, SETTINGS)
    assert power.night(four, 600.0, SETTINGS) == power.Night(48, 9)
    assert power.night(four, 7200.0, SETTINGS) == power.Night(4, 0)


@pytest.mark.parametrize("ideas", [1, 2, 30])
def test_luck_is_what_simulated_greed_finds(ideas: int) -> None:
    """Records and maximum of normal values, against 20 000 simulated nights; one idea is known exactly."""
    values = np.random.default_rng(ideas).standard_normal((20_000, ideas + 1))
    best = np.maximum.accumulate(values, axis=1)
    told = power.luck(ideas)
    assert told.keeps == pytest.approx(float((np.diff(best) > 0).sum(axis=1).mean()), abs=0.05)
    assert told.gain == pytest.approx(float(best[:, -1].mean()), abs=0.03)
    if ideas == 1:
        assert told.keeps == 0.5
        assert told.gain == pytest.approx(1.0 / math.sqrt(math.pi), abs=1e-5)


def test_the_stages_are_those_that_a_race_goes_through() -> None:
    """Runs of idea and champion in the order in which the race spends them; no keep on one run, none undecided last."""
    stages = power._stages(SETTINGS)
    assert [(stage.ours, stage.theirs) for stage in stages] == [(1, 2), (2, 2), (3, 2), (3, 3), (4, 3)]
    assert stages[0].kept == math.inf
    assert stages[-1].kept == stages[-1].goes_on
