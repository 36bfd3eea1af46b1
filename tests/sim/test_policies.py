"""The ways of keeping, in nights of which the right answer is known."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest

from nightlab.config import JudgeSettings, MetricSettings, Settings
from nightlab.history import History
from nightlab.sim.night import BASELINE, Night
from nightlab.sim.policies import BY_NAME, Chain, Played, Policy, Site, nightlab
from nightlab.sim.tally import mean
from nightlab.sim.world import Crashes, Effects, Luck, Noise, World, load_world
from nightlab.types import Direction, Finished, Purpose

REFERENCE = msgspec.structs.replace(load_world("reference"), slots=30.0)
POLICIES: dict[str, Policy] = {**BY_NAME, "nightlab": nightlab(JudgeSettings())}


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("night", range(3))
def test_without_noise_nothing_is_kept_that_is_no_better(name: str, night: int) -> None:
    """Whatever the rule: where a run is the truth, no promotion is false, and the report is right to the last digit."""
    calm = msgspec.structs.replace(REFERENCE, noise=Noise(), effects=Effects(helps=0.3))
    played = POLICIES[name](calm, Luck(calm, night, 1))
    assert played.promotions > 0
    assert (played.false, played.late_false, played.harmful) == (0, 0, 0)
    assert played.reported == pytest.approx(played.true_gain, abs=2e-6)


def test_greedy_in_an_a_a_test_keeps_each_record() -> None:
    """Of 100 like runs in pure noise 1/2 + 1/3 + ... + 1/100 = 4.19 are new bests, and each is false."""
    world = World(name="A/A", slots=100.0, decimals=None, effects=Effects(helps=0.0), noise=Noise(white=1.0))
    played = [BY_NAME["greedy"](world, Luck(world, night, 1)) for night in range(400)]
    found = mean([night.promotions for night in played])
    assert found.value == pytest.approx(sum(1 / place for place in range(2, 101)), abs=4 * found.se)
    assert all(night.false == night.promotions and night.ideas == 99 for night in played)
    assert all(night.true_gain == 0.0 < night.reported for night in played if night.promotions)


def test_thresholds_keep_less_and_repeats_cost_slots() -> None:
    """In the same nights: the fixed margin and discovery's rule keep less than greedy, memorylab tries fewer ideas."""
    total = {
        name: [sum(values) for values in zip(*((p.promotions, p.ideas, p.repeats) for p in played), strict=True)]
        for name in BY_NAME
        if (played := [BY_NAME[name](REFERENCE, Luck(REFERENCE, night, 2)) for night in range(100)])
    }
    assert total["threshold"][0] < total["discovery"][0] < total["greedy"][0]
    assert total["memorylab"][1] < total["greedy"][1]
    assert total["memorylab"][2] > 0 == total["greedy"][2]


def test_crashes_cost_their_time() -> None:
    """Where all crash: one baseline, then a crash each half slot as long as a whole run would still fit into ten."""
    world = World(name="w", slots=10.0, crashes=Crashes(share=1.0, cost=0.5))
    played = BY_NAME["greedy"](world, Luck(world, 0, 0))
    assert (played.ideas, played.promotions) == (17, 0)


def test_false_and_late_are_counted_from_the_truths() -> None:
    """Steps that lose or change nothing are false, those beyond 0.0002 harmful; removals are no promotions of ideas."""
    chain = Chain([0.0, -1.0, -1.0, -0.9, -0.9001, -1.5], [2.0, 5.0, 11.0, 12.0, 20.0], removals={4})
    played = chain.played(World(name="w", unit=2.0), ideas=9, reported=0.0, repeats=1)
    assert (played.promotions, played.false, played.harmful) == (4, 2, 1)
    assert (played.late, played.late_false) == (2, 1)
    assert played.true_gain == pytest.approx(3.0)


# --- the lab ----------------------------------------------------------------------------------------------------


def lab_night(world: World, night: int, *, ablate: bool = True) -> tuple[History, Site]:
    site = Site(world, Luck(world, night, 1))
    settings = Settings(
        root=Path(),
        metric=MetricSettings(direction=world.direction, low=None, high=None),
        judge=JudgeSettings(ablate=ablate),
    )
    return Night(site, settings).play(world.slots), site


def test_a_night_has_all_its_slots_and_no_more() -> None:
    """Where nothing crashes or stops: as many steering runs as slots, and the final block on top."""
    world = msgspec.structs.replace(REFERENCE, crashes=Crashes(), effects=Effects(helps=0.3), slots=20.0)
    world = msgspec.structs.replace(world, curve=World(name="w").curve)
    for night in range(4):
        history, _ = lab_night(world, night, ablate=False)
        steering = [r for r in history.runs.values() if r.run.purpose.steers]
        final = [r for r in history.runs.values() if r.run.purpose is Purpose.FINAL]
        # A race under way is seen to its end: it may take up to four runs beyond.
        assert 20 <= len(steering) <= 24
        assert len(final) == (8 if history.promotions else 0)


def test_the_same_seed_is_the_same_night() -> None:
    """For the lab too: every field; another night is another."""
    play = POLICIES["nightlab"]
    first = play(REFERENCE, Luck(REFERENCE, 0, 1))
    assert play(REFERENCE, Luck(REFERENCE, 0, 1)) == first
    assert play(REFERENCE, Luck(REFERENCE, 1, 1)) != first


UNITS: dict[str, dict[str, float | Direction]] = {
    "a loss around 3": {"start": 3.0, "unit": 3.2},
    "an accuracy": {"start": 0.9, "unit": 0.4, "direction": Direction.MAXIMIZE},
    "3.2, maximised": {"start": 3.0, "unit": 3.2, "direction": Direction.MAXIMIZE},
    "seconds": {"start": 600.0, "unit": 5e4},
}


@pytest.mark.parametrize("units", UNITS)
def test_units_do_not_decide(units: str) -> None:
    """A world of the same shape in other units gives the very same verdicts and runs, and its gains in those units."""
    plain = msgspec.structs.replace(REFERENCE, decimals=None, effects=Effects(helps=0.2))
    other = msgspec.structs.replace(plain, **UNITS[units])
    promotions = 0
    for night in range(3):
        (one, here), (two, there) = lab_night(plain, night), lab_night(other, night)
        assert [v.experiment for v in one.promotions] == [v.experiment for v in two.promotions]
        assert here.truths == there.truths
        runs = [[(r.run.experiment, r.run.seed, r.run.purpose) for r in h.runs.values()] for h in (one, two)]
        assert runs[0] == runs[1]
        verdicts = [
            [(v.champion, v.decision, v.replicate, v.runs_used) for s in h.experiments.values() for v in s.verdicts]
            for h in (one, two)
        ]
        assert verdicts[0] == verdicts[1]
        promotions += len(one.promotions)
        played = [POLICIES["nightlab"](world, Luck(world, night, 1)) for world in (plain, other)]
        assert played[1].true_gain == pytest.approx(other.unit * played[0].true_gain, rel=1e-9)
        assert played[1].reported == pytest.approx(other.unit * played[0].reported, rel=1e-5)
        assert (played[1].promotions, played[1].covered) == (played[0].promotions, played[0].covered)
    assert promotions > 2


def test_the_lab_is_told_nothing_of_the_truth() -> None:
    """What it sees of an idea: printed values around the truth, in the world's direction and decimals."""
    world = msgspec.structs.replace(REFERENCE, start=0.5, unit=0.1, direction=Direction.MAXIMIZE, decimals=3)
    history, site = lab_night(world, 0)
    for state in history.runs.values():
        if isinstance(state.outcome, Finished):
            value = state.outcome.metrics.primary
            assert value == round(value, 3)
            assert value == pytest.approx(0.5 - 0.1 * site.truths[state.run.experiment], abs=0.0005 + 0.1 * 0.004)
    assert site.truths[BASELINE] == 0.0


def test_removals_give_back_what_the_link_gave() -> None:
    """Effects add up in a world: the champion without a link is worth what it is worth, less that link's step."""
    site = Site(REFERENCE, Luck(REFERENCE, 0, 1))
    first = site.propose(BASELINE)
    second = site.propose(first.id)
    made = site.without(first.id, second.id)
    step = site.truths[second.id] - site.truths[first.id]
    assert site.truths[made.id] == pytest.approx(step)
    assert (made.parent, made.plan.without) == (second.id, first.id)


def test_stopped_winners_are_counted() -> None:
    """`lost` counts the stopped ideas that were better than the champion: none where curves tell the end exactly."""
    exact = msgspec.structs.replace(
        REFERENCE,
        noise=Noise(),
        slots=60.0,
        curve=msgspec.structs.replace(REFERENCE.curve, noise=(0.0, 0.0), comparable=1.0),
    )
    played: list[Played] = [POLICIES["nightlab"](exact, Luck(exact, night, 1)) for night in range(2)]
    assert sum(night.stopped for night in played) > 0
    assert sum(night.lost for night in played) == 0
    unstopped = nightlab(JudgeSettings(), early=False)(exact, Luck(exact, 0, 1))
    assert unstopped.stopped == 0
    assert math.isfinite(unstopped.true_gain)
