"""The numeric lane: what Optuna asks for, from what the lab has measured."""

from __future__ import annotations

import random
import warnings

import numpy as np
import pytest

from nightlab.search.knobs import Knob, Value, find_knobs
from nightlab.search.lanes import MIN_TRIALS, REACHES, Trial, asked
from nightlab.search.moves import Move, is_power_of_two
from nightlab.search.pieces import Piece

SOURCE = (
    "LR = 0.1\nBATCH_SIZE = 2**8\nBETA2 = 0.95\nWEIGHT_DECAY = 0.0\nDROPOUT = 0.1\nHEADS = 6\nWARM = True\n"
    'ACT = "gelu"\nUSE = LR, BATCH_SIZE, BETA2, WEIGHT_DECAY, DROPOUT, HEADS, WARM, ACT\n'
)
KNOBS = find_knobs({"t.py": SOURCE}, on_gpu=False)


def trials(count: int, knobs: tuple[Knob, ...] = KNOBS, seed: int = 0) -> list[Trial]:
    """Configurations around the base, whose loss falls with the rate."""
    rng = random.Random(seed)
    found: list[Trial] = []
    for _ in range(count):
        values: dict[str, Value] = {knob.name: knob.value for knob in knobs}
        values["LR"] = 0.1 * 2.0 ** rng.uniform(-2, 2)
        values["BATCH_SIZE"] = 2 ** rng.randint(6, 10)
        values["DROPOUT"] = rng.uniform(0.0, 0.3)
        found.append((values, 1.0 + 0.1 * float(values["LR"])))
    return found


def answers(told: list[Trial], seeds: int = 16, knobs: tuple[Knob, ...] = KNOBS) -> list[tuple[Piece, ...]]:
    return [asked(knobs, told, random.Random(seed)) for seed in range(seeds)]


def test_knobs_are_those_of_the_source() -> None:
    """The other tests lean on numbers of every kind."""
    assert {"LR", "BATCH_SIZE", "BETA2", "WEIGHT_DECAY", "DROPOUT", "HEADS"} <= {knob.name for knob in KNOBS}


def test_nothing_is_asked_before_ten_are_measured() -> None:
    """Fewer than TPE's own random start tell a sampler nothing; ten open the lane."""
    assert MIN_TRIALS == 10
    assert answers(trials(9), 6) == [()] * 6
    assert any(answers(trials(10), 6))


def test_runs_outside_the_range_do_not_count() -> None:
    """Ten of which one lies further than REACHES from the base, or lacks a constant, are nine."""
    far, lacking = trials(10), trials(10)
    far[3] = ({**far[3][0], "LR": 0.1 * REACHES * 2}, 1.0)
    lacking[3] = ({name: value for name, value in lacking[3][0].items() if name != "LR"}, 1.0)
    assert answers(far, 4) == answers(lacking, 4) == [()] * 4


def test_one_number_is_not_enough() -> None:
    """With fewer than two numbers there is no space to seek in."""
    alone = find_knobs({"t.py": "LR = 0.1\nprint(LR)\n"}, on_gpu=False)
    told: list[Trial] = [({"LR": 0.1 * 1.1**k}, 1.0) for k in range(-8, 8)]
    assert answers(told, 3, alone) == [()] * 3


def test_what_is_asked_for_stays_in_range_and_kind() -> None:
    """Powers of two stay powers, counts whole and positive, shares and momenta below one, all within REACHES."""
    seen = set()
    for pieces in answers(trials(30), 30):
        for piece in pieces:
            move = piece.what
            assert isinstance(move, Move)
            old, new = move.knob.value, move.value
            seen.add(move.knob.name)
            assert not isinstance(old, bool | str)
            assert not isinstance(new, bool | str)
            if is_power_of_two(move.knob):
                assert isinstance(new, int)
                assert new & (new - 1) == 0
            if isinstance(old, int) and move.knob.name == "HEADS":
                assert isinstance(new, int)
                assert new >= 1
            if move.knob.name == "BETA2":
                assert (1 - old) / REACHES * 0.99 <= 1 - new <= (1 - old) * REACHES * 1.01
            elif old:
                assert -1e-9 <= new <= old * REACHES * 1.01
            if move.knob.name in ("DROPOUT", "BETA2"):
                assert new < 1
            assert move.text != move.knob.text
    assert {"LR", "BATCH_SIZE", "BETA2", "HEADS"} <= seen


def test_the_same_seed_asks_for_the_same() -> None:
    """One generator, one answer, whichever sampler it chooses; another generator, another answer."""
    told = trials(25)
    assert answers(told, 12) == answers(told, 12)
    assert len(set(map(str, answers(told, 12)))) > 6


def test_asking_leaves_no_trace() -> None:
    """Neither the global generators nor the warning filters are moved, and nothing is said."""
    told = trials(25)
    answers(told, 1)
    np.random.seed(7)
    random.seed(7)
    wanted = (random.random(), float(np.random.random()))
    np.random.seed(7)
    random.seed(7)
    filters = list(warnings.filters)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        answers(told, 8)
    assert (random.random(), float(np.random.random())) == wanted
    assert list(warnings.filters) == filters
    assert not said


@pytest.mark.parametrize("loss", [[1.0], [1.0, 2.0], [1e-9, 1e9]])
def test_dull_histories_break_nothing(loss: list[float]) -> None:
    """One configuration measured again and again, and losses all equal or far apart, give an answer or none."""
    base: dict[str, Value] = {knob.name: knob.value for knob in KNOBS}
    told = [(base, loss[place % len(loss)]) for place in range(15)]
    for pieces in answers(told, 12):
        assert all(isinstance(piece.what, Move) for piece in pieces)


def test_it_goes_where_it_paid() -> None:
    """Where a smaller rate is always better, a sampler asks for smaller rates more often than for larger ones."""
    moved = [p.what for pieces in answers(trials(60), 40) for p in pieces if p.name == "LR"]
    down = sum(isinstance(move, Move) and move.value < 0.1 for move in moved)  # type: ignore[operator]
    assert down > 2 * (len(moved) - down)


def test_a_text_in_place_of_a_number_is_no_measurement() -> None:
    """Somebody tried "auto" for a number and for a power of two: those trials are passed over, the others count."""
    told = trials(10)
    spoilt = [({**told[0][0], "LR": "auto"}, 1.0), ({**told[0][0], "BATCH_SIZE": "auto"}, 1.0)]
    assert answers([*spoilt, *told], 4) == answers(told, 4)
    assert answers([*spoilt, *told[2:]], 4) == [()] * 4


def test_a_momentum_below_one_half_stays_below_one() -> None:
    """Its range ends before one, where eight times the value would lie beyond."""
    knobs = find_knobs({"t.py": "MOMENTUM = 0.3\nLR = 0.1\nprint(MOMENTUM, LR)\n"}, on_gpu=False)
    told: list[Trial] = [({"MOMENTUM": 0.3 + 0.01 * i, "LR": 0.1}, 1.0 - 0.01 * i) for i in range(12)]
    pieces = [piece for answer in answers(told, 24, knobs) for piece in answer if piece.name == "MOMENTUM"]
    assert pieces
    assert all(0 <= float(piece.change.new) < 1 for piece in pieces)


def test_a_number_of_steps_does_not_close_the_lane() -> None:
    """A warm-up told in steps, not as a share, has its own range; integers beyond what samplers can count have none."""
    source = "WARMUP = 200.0\nLR = 0.1\nN = 10000000000000000000000000\nprint(WARMUP, LR, N)\n"
    knobs = find_knobs({"t.py": source}, on_gpu=False)
    told: list[Trial] = [({"WARMUP": 200.0 + i, "LR": 0.1, "N": 10**25}, 1.0) for i in range(12)]
    found = {piece.name for pieces in answers(told, 8, knobs) for piece in pieces}
    assert found == {"WARMUP", "LR"}


@pytest.mark.parametrize("odd", [0.0, -0.1])
def test_what_has_no_logarithm_is_passed_over(odd: float) -> None:
    """Somebody tried a rate of zero, or below: that trial does not count, and the others do."""
    told = trials(10)
    spoilt: list[Trial] = [({**told[0][0], "LR": odd}, 1.0)]
    assert answers([*spoilt, *told], 4) == answers(told, 4)


def test_a_momentum_of_zero_closes_nothing() -> None:
    """A constant that stands at zero is sought above it, and the others are asked for as well."""
    knobs = find_knobs({"t.py": SOURCE.replace("BETA2 = 0.95", "MOMENTUM = 0.0").replace("BETA2", "MOMENTUM")}, False)
    told = answers(trials(30, knobs), 30, knobs)
    moved = {piece.name for pieces in told for piece in pieces}
    assert {"LR", "MOMENTUM"} <= moved
    for pieces in told:
        assert all(0.0 < float(p.what.value) < 1.0 for p in pieces if p.name == "MOMENTUM" and isinstance(p.what, Move))
