"""What runs of one unchanged source show."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nightlab.errors import MetricError
from nightlab.judge.repeats import Behaviour, _share_from, repeats


@pytest.mark.parametrize(
    ("runs", "behaviour"),
    [
        ([(42, 1.0), (42, 1.0)], Behaviour.UNKNOWN),
        ([(42, 1.0), (43, 1.5)], Behaviour.UNKNOWN),
        ([(42, 1.0), (42, 1.0), (43, 1.0)], Behaviour.CONSTANT),
        ([(42, 1.0), (42, 1.0), (43, 1.5)], Behaviour.SEEDED),
        ([(42, 1.0), (42, 1.1), (43, 1.5)], Behaviour.FREE),
    ],
)
def test_what_a_seed_does(runs: list[tuple[int, float]], behaviour: Behaviour) -> None:
    """Told from a seed that has run twice and others; with less, nothing is claimed."""
    assert repeats(runs).behaviour is behaviour


def test_a_bitwise_repeat_is_no_evidence() -> None:
    """A deterministic command's further runs on a seed change neither mean nor noise."""
    once = repeats([(42, 1.0), (42, 1.0), (43, 2.0), (44, 4.0)])
    twice = repeats([(42, 1.0), (42, 1.0), (43, 2.0), (42, 1.0), (43, 2.0), (44, 4.0)])
    assert (twice.mean, twice.noise) == (once.mean, once.noise)


def test_what_follows_its_seed_has_no_drift_in_its_noise() -> None:
    """One repeat that agrees to the digit rules the machine out, and the noise is known better."""
    unknown, known = repeats([(42, 1.0), (43, 2.0), (44, 4.0)]), repeats([(42, 1.0), (42, 1.0), (43, 2.0), (44, 4.0)])
    assert unknown.noise is not None and unknown.noise.drift_share > 0.0
    assert known.noise is not None and known.noise.drift_share == 0.0
    assert known.noise.high < unknown.noise.high


def test_without_noise_none_is_claimed() -> None:
    """Equal values give no noise and no certainty, whatever their number."""
    said = repeats([(42 + k, 3.0) for k in range(20)])
    assert said.noise is None and not said.is_known


def test_the_noise_is_found_and_its_interval_holds_it() -> None:
    """Of 200 commands with known noise the 95 % interval of 4 runs holds it about as often as it says."""
    rng = np.random.default_rng(3)
    held = 0
    for _ in range(200):
        noise = repeats([(k, float(v)) for k, v in enumerate(rng.normal(5.0, 0.02, 4))]).noise
        assert noise is not None
        held += noise.low <= 0.02 <= noise.high
    assert 180 <= held <= 198


def test_a_few_runs_are_known_to_be_few() -> None:
    """Three seeds never tell the noise within a factor of two; nine do, and more are needed where it may drift."""
    values = [0.1, -1.2, 0.7, 1.1, -0.3, -0.9, 0.4, 1.5, -0.6]
    again = (0, values[0])  # the first seed once more, with the same value
    assert not repeats([*enumerate(values[:3]), again]).is_known
    assert repeats([*enumerate(values), again]).is_known
    assert not repeats(list(enumerate(values))).is_known
    rng = np.random.default_rng(6)
    assert repeats(list(enumerate(map(float, rng.normal(size=24))))).is_known


def test_drift_is_told_where_it_is_and_only_there() -> None:
    """A warm-up shows with its step; 5 values cannot show any, and pure noise rarely does."""
    rising = repeats([(42, 1.0), *((42 + k, 1.0 + 0.5 * k) for k in range(1, 8))]).drift
    assert rising is not None
    assert rising.step == pytest.approx(0.5) and rising.p < 0.001
    assert repeats([(k, float(k)) for k in range(5)]).drift is None
    rng = np.random.default_rng(4)
    hints = sum(repeats(list(enumerate(map(float, rng.normal(size=10))))).drift is not None for _ in range(400))
    assert hints <= 12


def test_what_follows_its_seed_cannot_drift() -> None:
    """Where the same seed gives the same value, a trend over the runs is one over the seeds."""
    assert repeats([(42, 0.0), (42, 0.0), *((42 + k, float(k)) for k in range(1, 9))]).drift is None


def test_the_distribution_of_ascending_pairs_is_that_of_all_orders() -> None:
    """Checked against counting every permutation of five values."""
    counts = [sum(b > a for a, b in itertools.combinations(order, 2)) for order in itertools.permutations(range(5))]
    for pairs in range(11):
        assert _share_from(5, pairs) == pytest.approx(sum(c >= pairs for c in counts) / len(counts))


def test_a_value_that_is_not_finite_is_refused() -> None:
    """As everywhere in the judge."""
    with pytest.raises(MetricError):
        repeats([(42, 1.0), (43, float("nan"))])
