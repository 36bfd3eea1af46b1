"""Discoveries: e-values that are honest however often one looks, and levels that hold over a lab's life."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nightlab.judge.discoveries import FALSE_SHARE, REACH, Pairs, SideBySide, e_lond, e_value, gamma
from nightlab.judge.model import Row
from nightlab.types import ExperimentId

IDEA, CHAMPION, OTHER = (ExperimentId(name) for name in ("idea", "champion", "other"))


def value_of(gains: list[float], noise: list[float]) -> float:
    return e_value(Pairs(gains=tuple(gains), noise=tuple(noise)))


# --- e-values ---------------------------------------------------------------------------------------------------


def test_no_pair_is_no_evidence() -> None:
    """1: neither for nor against. The same for runs that are equal to the last digit."""
    assert value_of([], [1.0, 2.0]) == 1.0
    assert value_of([0.0, 0.0], [0.0]) == 1.0


def test_evidence_has_no_units_and_grows_with_the_gain() -> None:
    """Only ratios count; a larger gain is more evidence, and a loss is evidence against."""
    noise = [0.5, -1.0, 0.8]
    assert value_of([3.0, 2.0], noise) == pytest.approx(value_of([3e-6, 2e-6], [1e-6 * n for n in noise]))
    values = [value_of([g, g + 0.1, g - 0.1], noise) for g in (-2.0, 0.0, 1.0, 2.0, 4.0, 8.0)]
    assert values == sorted(values)
    assert values[0] < 0.5
    assert values[3] > 1.0


def test_one_pair_is_the_likelihood_ratio_of_the_textbook() -> None:
    """Against direct integration over the noise with the weight 1/s, for one bet after another."""
    gains, noise = (2.0, 1.5), (0.7, -0.4)
    s = np.exp(np.linspace(-6, 6, 40001))
    squares = np.array(noise) ** 2

    def marginal(d: float) -> float:
        within = sum((g - d * s) ** 2 for g in gains) + squares.sum()
        return float((s**-4.0 * np.exp(-within / (2 * s**2))).sum())

    wanted = sum(marginal(d) for d in (0.5, 1.0, 2.0, 4.0, 8.0)) / 5 / marginal(0.0)
    assert e_value(Pairs(gains=gains, noise=noise)) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("gain", [0.0, -0.5])
def test_who_stops_at_the_best_moment_gains_little(gain: float) -> None:
    """Looking after every pair and stopping at e >= 20 succeeds in at most 1 of 20 cases while nothing is gained."""
    rng = np.random.default_rng(3)
    nights, hits = 800, 0
    for _ in range(nights):
        noise = list(rng.normal(size=3))
        pairs: list[float] = []
        for _ in range(8):
            pairs.append(float(rng.normal(gain)))
            if value_of(pairs, noise) >= 20:
                hits += 1
                break
    assert hits / nights <= 0.05


# --- levels -----------------------------------------------------------------------------------------------------


def test_shares_of_all_hypotheses_make_less_than_one() -> None:
    """However many ideas a lab has: the sum over a million and a bound of the rest."""
    million = sum(gamma(place) for place in range(1, 1_000_001))
    root = math.sqrt(math.log(1_000_000))
    rest = 2 * 0.0772 * math.exp(-root) * (root**3 + 3 * root**2 + 6 * root + 6)  # the integral of the tail
    assert 0.9 < million + rest < 1.0


def test_levels_follow_place_and_discoveries() -> None:
    """A later hypothesis needs more, one after a discovery half as much; reaching the level exactly is enough."""
    levels = e_lond([1.0, 1e9, 1.0])
    assert [level.passed for level in levels] == [False, True, False]
    assert levels[0].needed == pytest.approx(1 / (FALSE_SHARE * gamma(1)))
    assert levels[2].needed == pytest.approx(1 / (FALSE_SHARE * gamma(3) * 2))
    assert e_lond([levels[0].needed])[0].passed
    assert not e_lond([levels[0].needed * (1 - 1e-9)])[0].passed


def test_false_discoveries_stay_below_their_share() -> None:
    """Forty labs of 60 ideas, one in five good, each pair looked at as it comes, the race stopping where it likes.

    Ideas share their champion's noise runs, so their e-values depend on each other.
    """
    rng = np.random.default_rng(11)
    shares, found_good, good_ones = [], 0, 0
    for _ in range(40):
        noise = list(rng.normal(size=6))
        evidence, good = [], rng.random(60) < 0.2
        for is_good in good:
            pairs: list[float] = []
            best = 1.0
            for _ in range(6):
                pairs.append(float(rng.normal(6.0 if is_good else 0.0)))
                best = value_of(pairs, noise)
                if best >= 5.0 and not is_good:
                    break  # the worst that a race could do: to stop while it looks well
            evidence.append(best)
        passed = np.array([level.passed for level in e_lond(evidence)])
        shares.append(float((passed & ~good).sum() / max(passed.sum(), 1)))
        found_good += int((passed & good).sum())
        good_ones += int(good.sum())
    assert float(np.mean(shares)) <= FALSE_SHARE
    assert found_good / good_ones > 0.5  # and it is no test that finds nothing


# --- pairs ------------------------------------------------------------------------------------------------------


def lab(*runs: tuple[ExperimentId, int, float]) -> SideBySide:
    """Runs as (arm, slot, value), each on a seed of its own."""
    return SideBySide(Row(arm=arm, seed=slot, slot=slot, value=value) for arm, slot, value in runs)


def test_neighbours_are_paired_once() -> None:
    """Each run with the nearest earlier free one of the other arm; gains are losses saved."""
    runs = lab((CHAMPION, 0, 5.0), (CHAMPION, 1, 6.0), (IDEA, 2, 4.0), (IDEA, 3, 3.0), (IDEA, 4, 1.0))
    assert runs.pairs(IDEA, CHAMPION) == Pairs(gains=(2.0, 2.0), noise=())


def test_runs_far_apart_are_no_pair() -> None:
    """Beyond the reach the machine may have drifted; such runs tell of the noise with their own kind at most."""
    far = lab((CHAMPION, 0, 5.0), (CHAMPION, 1, 6.0), (IDEA, 2 + REACH, 4.0))
    assert far.pairs(IDEA, CHAMPION).gains == ()
    near = lab((CHAMPION, 0, 5.0), (CHAMPION, 1, 6.5), (IDEA, 2 + REACH, 4.0), (CHAMPION, 3 + REACH, 5.0))
    assert near.pairs(IDEA, CHAMPION) == Pairs(gains=(1.0,), noise=(1.5,))


def test_other_arms_tell_the_noise() -> None:
    """Replicates of any source, each run once, and none on the same seed: that would repeat what is known."""
    runs = lab((OTHER, 0, 1.0), (OTHER, 1, 3.0), (OTHER, 2, 9.0), (CHAMPION, 3, 5.0), (IDEA, 4, 4.0))
    assert runs.pairs(IDEA, CHAMPION) == Pairs(gains=(1.0,), noise=(2.0,))
    same = SideBySide([Row(OTHER, 1, 0, 1.0), Row(OTHER, 1, 1, 1.0), Row(CHAMPION, 1, 2, 5.0), Row(IDEA, 1, 3, 4.0)])
    assert same.pairs(IDEA, CHAMPION).noise == ()


def test_later_runs_undo_no_pair() -> None:
    """What was evidence stays evidence: the pairs of a longer history begin with those of a shorter one."""
    rng = np.random.default_rng(5)
    arms = [(IDEA, CHAMPION, OTHER)[k] for k in rng.integers(3, size=60)]
    runs = [(arm, int(slot), float(rng.normal())) for slot, arm in enumerate(arms)]
    before = Pairs(gains=(), noise=())
    for upto in range(1, len(runs)):
        now = lab(*runs[:upto]).pairs(IDEA, CHAMPION)
        assert now.gains[: len(before.gains)] == before.gains
        assert set(before.noise) <= set(now.noise)
        before = now
    assert len(before.gains) > 5
