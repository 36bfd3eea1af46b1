"""What `judge.model` promises."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightlab.config import JudgeSettings
from nightlab.errors import MetricError, NotFoundError
from nightlab.judge import model
from nightlab.judge.mixture import FloatArray, Mixture, normal_cdf
from nightlab.judge.model import Posterior, Row, distinct, noise, posterior, resolution
from nightlab.judge.prior import GENERIC, HELPS, LEARN_FROM, SHIPPED, Prior, Tried, learned
from nightlab.types import ExperimentId

A, B = ExperimentId("champion"), ExperimentId("challenger")
BLIND = JudgeSettings()
GUESS = JudgeSettings(noise=0.005)

VALUES = st.integers(-30_000, 30_000).map(lambda k: round(1.0 + k * 1e-6, 6))
"""Metrics near 1, printed to six decimals, as far apart as 0.06."""


def rows_of(arm: ExperimentId, values: list[float], first_seed: int = 0) -> list[Row]:
    return [Row(arm, first_seed + k, k, value) for k, value in enumerate(values)]


def steady(rows: list[Row]) -> list[Row]:
    """The same runs of a command that repeats to the last digit."""
    return [replace(row, drifts=False) for row in rows]


def believe(rows: list[Row], judge: JudgeSettings = BLIND, prior: Prior | None = GENERIC) -> Posterior:
    belief = posterior(B, A, rows, judge, prior)
    assert belief is not None
    return belief


def drifting(rng: np.random.Generator, n: int, sd: float, length: float) -> list[float]:
    """A machine's state in `n` slots one after another."""
    keep = math.exp(-1.0 / length)
    states = [float(rng.normal(0.0, sd))]
    for _ in range(n - 1):
        states.append(keep * states[-1] + float(rng.normal(0.0, sd * math.sqrt(1.0 - keep * keep))))
    return states


def lab(
    rng: np.random.Generator, arms: int, seeds: int, sd: float, share: float, drift: float = 0.0, length: float = 8.0
) -> list[Row]:
    """Arms with the same seeds under the model, all with the mean 0, one run after another."""
    steady = sd * math.sqrt(1.0 - drift)
    common = rng.normal(0.0, steady * math.sqrt(share), seeds)
    own = rng.normal(0.0, steady * math.sqrt(1.0 - share), (arms, seeds))
    states = drifting(rng, arms * seeds, sd * math.sqrt(drift), length)
    return [
        Row(ExperimentId(f"x{i}"), j, float(i * seeds + j), common[j] + own[i, j] + states[i * seeds + j])
        for i in range(arms)
        for j in range(seeds)
    ]


# --- mixture ----------------------------------------------------------------------------------------------------


def test_normal_cdf_agrees_with_the_error_function() -> None:
    """The distribution function is right to 1e-7 everywhere."""
    z = np.linspace(-9.0, 9.0, 401)
    exact = np.array([0.5 * math.erfc(-x / math.sqrt(2.0)) for x in z])
    assert np.abs(normal_cdf(z) - exact).max() < 1.5e-7


def test_tilted_mixture_agrees_with_its_density() -> None:
    """Probability, mean and quantiles of a tilted mixture are those of its density, integrated numerically."""
    mixture = Mixture(np.array([0.3, 0.7]), np.array([-1.0, 0.5]), np.array([0.5, 2.0]), below=0.2)
    x = np.linspace(-15.0, 15.0, 300_001)

    def bell(mean: float, sd: float) -> FloatArray:
        return np.asarray(np.exp(-0.5 * ((x - mean) / sd) ** 2) / sd)

    density = (0.3 * bell(-1.0, 0.5) + 0.7 * bell(0.5, 2.0)) * np.where(x < 0, 0.2, 0.8)
    density /= density.sum()
    assert mixture.below_zero() == pytest.approx(density[x < 0].sum(), abs=1e-4)
    assert mixture.mean() == pytest.approx((density * x).sum(), abs=1e-4)
    low, high = mixture.quantiles(np.array([0.025, 0.975]))
    cumulative = density.cumsum()
    assert low == pytest.approx(x[np.searchsorted(cumulative, 0.025)], abs=1e-3)
    assert high == pytest.approx(x[np.searchsorted(cumulative, 0.975)], abs=1e-3)


# --- prior ------------------------------------------------------------------------------------------------------


def before_any_run(prior: Prior) -> Mixture:
    scales = np.array(prior.scales)
    return Mixture(np.array(prior.weights), np.zeros_like(scales), scales, prior.helps)


def test_the_generic_prior_is_a_cauchy_with_few_on_the_better_side() -> None:
    """Before any run 5 % of ideas help, half of all lie within 2 sigma, and one in twenty beyond 20."""
    mixture = before_any_run(GENERIC)
    assert mixture.below_zero() == pytest.approx(HELPS, abs=1e-6)
    low, middle, high = mixture.quantiles(np.array([0.25, 0.5, 0.95]))
    assert 0.4 < low < middle < 2.5
    assert high > 15.0


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_priors_are_distributions(name: str) -> None:
    """Every prior that nightlab.toml can name has positive scales and weights that sum to one."""
    prior = SHIPPED[name]
    assert sum(prior.weights) == pytest.approx(1.0, abs=1e-9)
    assert len(prior.scales) == len(prior.weights)
    assert min(prior.scales) > 0.0
    assert 0.0 < prior.helps < 0.5


def test_a_lab_of_large_effects_learns_their_size() -> None:
    """From twenty ideas on, a lab whose ideas move the metric by a hundred sigma expects more of them; before, not."""
    rng = np.random.default_rng(6)
    tried = [Tried(float(d), 1.4) for d in rng.normal(60.0, 100.0, 40)]
    assert learned(GENERIC, tried[: LEARN_FROM - 1], 1.0) is GENERIC
    after = before_any_run(learned(GENERIC, tried, 1.0))
    assert after.quantiles(np.array([0.75]))[0] > 4.0 * before_any_run(GENERIC).quantiles(np.array([0.75]))[0]


def test_ideas_that_help_often_raise_the_share_and_noise_does_not() -> None:
    """Clear gains in a third of the ideas raise the share that helps; ideas that are nothing but noise do not."""
    rng = np.random.default_rng(7)
    good = [Tried(-20.0 if k % 3 == 0 else 15.0, 1.4) for k in range(60)]
    noise_only = [Tried(float(d), 1.4) for d in rng.normal(0.0, 1.4, 60)]
    assert learned(GENERIC, good, 1.0).helps > 3.0 * HELPS
    assert learned(GENERIC, noise_only, 1.0).helps < 2.0 * HELPS


def test_learning_keeps_the_prior_a_distribution() -> None:
    """Whatever was tried, in units of sigma or of the metric: weights sum to one, the share stays a share."""
    tried = [Tried(1e6, 1e-6), Tried(-1e6, 1e-6), Tried(0.0, 1e3)] * 10
    for prior in SHIPPED.values():
        after = learned(prior, tried, 0.5)
        assert sum(after.weights) == pytest.approx(1.0, abs=1e-9)
        assert 0.0 < after.helps < 0.5
        assert after.absolute == prior.absolute


# --- rows -------------------------------------------------------------------------------------------------------


def test_exact_repeats_count_once() -> None:
    """The same source, seed and value again is no new evidence; another value with the same seed is."""
    base = [*rows_of(A, [1.0, 1.01, 0.99]), *rows_of(B, [0.97, 0.98])]
    assert distinct(base + base) == base
    assert believe(base + base[:4]) == believe(base)
    assert believe([*base, Row(B, 0, 9, 0.971)]) != believe(base)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_value_that_is_no_number_is_refused(value: float) -> None:
    """A non-finite value is an error that names the arm, never a NaN verdict."""
    with pytest.raises(MetricError, match="challenger"):
        posterior(B, A, [*rows_of(A, [1.0, 1.1]), Row(B, 0, 0, value)], BLIND)


def test_an_arm_without_runs_is_named() -> None:
    """Judging what has not run says so."""
    with pytest.raises(NotFoundError, match="challenger"):
        posterior(B, A, rows_of(A, [1.0, 1.1]), BLIND)


@pytest.mark.parametrize(
    ("values", "step"),
    [([0.997900, 0.9791, 1.0], 1e-4), ([997900.0, 979123.0], 1.0), ([1000.997933, 1000.9], 1e-6), ([0.0, 0.0], 0.0)],
)
def test_resolution_is_the_last_printed_digit(values: list[float], step: float) -> None:
    """The resolution is read from the values, whatever their scale and offset."""
    assert resolution(values) == pytest.approx(step)


# --- noise ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "low", "high"), [(0.0, 0.0, 0.35), (0.5, 0.2, 0.8), (0.95, 0.75, 1.0)])
def test_noise_and_its_shared_part_are_learned(share: float, low: float, high: float) -> None:
    """Enough replicated arms reveal the standard deviation and how much of it the seed explains."""
    found = noise(lab(np.random.default_rng(3), arms=30, seeds=40, sd=0.005, share=share), BLIND)
    assert found is not None
    assert 0.8 < found.sd / 0.005 < 1.25
    assert low <= found.seed_share <= high
    assert model.MAX_ROWS - model.MAX_ARM_ROWS < found.dof < model.MAX_ROWS


def test_noise_interval_holds_the_truth() -> None:
    """Over many small labs, drifting or not, the 95 % interval of sigma covers it about 95 times in 100."""
    rng = np.random.default_rng(5)
    labs = [lab(rng, 3, 3, 1.0, 0.3, drift=(0.0, 0.3, 0.6, 0.8)[k % 4]) for k in range(300)]
    found = [noise(rows, BLIND) for rows in labs]
    covered = sum(n is not None and n.low <= 1.0 <= n.high for n in found)
    assert 0.91 <= covered / 300 <= 0.99


def test_noise_unknown() -> None:
    """Single runs and no first guess say nothing of the noise, and that is said; a guess stands for itself."""
    singles = [*rows_of(A, [1.0]), *rows_of(B, [0.9])]
    assert noise(singles, BLIND) is None
    assert posterior(B, A, singles, BLIND) is None
    guessed = noise([], GUESS)
    assert guessed is not None
    assert guessed.dof == GUESS.noise_runs
    assert 0.5 < guessed.sd / 0.005 < 1.5
    assert posterior(B, A, singles, GUESS) is not None


@pytest.mark.parametrize("dof", [1, 2, 3, 5, 10, 50, 200])
def test_sigma_grid_is_wide_enough(dof: int) -> None:
    """The grid reaches past the extreme 1e-4 of what sigma can be, for few and for many degrees of freedom."""
    edges = model._sigma_grid(np.array([float(dof)]), float(dof), BLIND, 0.0)[0]
    squares = np.random.default_rng(1).chisquare(dof, 200_000)
    sigma = np.sqrt(dof / squares)
    assert np.mean(sigma < edges[0]) < 1e-4
    assert np.mean(sigma > edges[-1]) < 3e-4


# --- the difference ---------------------------------------------------------------------------------------------


def test_student_intervals_without_pairing() -> None:
    """With a flat prior, all seeds different and no drift, the interval is Student's t of the pooled runs."""
    rows = [*rows_of(A, [1.00, 1.02, 1.05], 0), *rows_of(B, [0.90, 0.95, 0.91], 10)]
    belief = posterior(B, A, steady(rows), BLIND, None)
    assert belief is not None
    pooled = math.sqrt((np.var([1.00, 1.02, 1.05]) * 3 + np.var([0.90, 0.95, 0.91]) * 3) / 4)
    half = 2.776 * pooled * math.sqrt(2.0 / 3.0)  # t with 4 degrees of freedom, 97.5 %
    assert belief.mean == pytest.approx(0.92 - 1.0233333, abs=1e-6)
    assert belief.high - belief.low == pytest.approx(2.0 * half, rel=0.01)


def test_common_seeds_sharpen_the_comparison() -> None:
    """Where the seed moves both sides alike, a small gain on common seeds is proven; on other seeds it is not."""
    seeds = [0.00, 0.04, -0.03, 0.02]
    champion = rows_of(A, [1.0 + s for s in seeds])
    gains = [0.0101, 0.0098, 0.0103, 0.0099]
    paired = rows_of(B, [1.0 + s - g for s, g in zip(seeds, gains, strict=True)])
    apart = [Row(B, row.seed + 50, row.slot, row.value) for row in paired]
    assert believe(champion + paired).better > 0.95
    assert believe(champion + apart).better < 0.2


def test_flat_intervals_cover() -> None:
    """Averaged over what seeds and drift explain, the flat 95 % interval holds the truth about 95 times in 100."""
    rng = np.random.default_rng(8)
    covered = 0
    for trial in range(300):
        share, drift = (0.1, 0.5, 0.9)[trial % 3], (0.0, 0.3, 0.6, 0.8)[trial // 3 % 4]
        rows = lab(rng, arms=2, seeds=4, sd=1.0, share=share, drift=drift)
        belief = posterior(ExperimentId("x1"), ExperimentId("x0"), rows, BLIND, None)
        assert belief is not None
        covered += belief.low <= 0.0 <= belief.high
    assert 0.91 <= covered / 300 <= 0.985


def test_two_neighbours_do_not_tell_the_whole_noise() -> None:
    """Two runs side by side that nearly agree leave room for a drift: an idea an hour later is believed less."""
    base = [Row(A, 0, 0.0, 1.000), Row(A, 1, 1.0, 1.001)]
    near, far = (believe([*base, Row(B, 0, at, 0.990)], prior=None) for at in (2.0, 60.0))
    exact = posterior(B, A, steady([*base, Row(B, 0, 60.0, 0.990)]), BLIND, None)
    assert exact is not None
    assert exact.high - exact.low < near.high - near.low < far.high - far.low


def test_flat_intervals_cover_on_a_drifting_machine() -> None:
    """On a machine whose drift is most of the noise, intervals of interleaved runs hold the truth 95 times in 100."""
    rng = np.random.default_rng(12)
    covered = 0
    for _ in range(250):
        states = drifting(rng, 24, 1.0, 16.0)
        values = [state + float(rng.normal(0.0, 0.3)) for state in states]
        noise_rows = [Row(ExperimentId(f"x{k // 2}"), k, float(k), values[k]) for k in range(16)]
        final = [Row((A, B)[k % 2], k, float(k), values[k]) for k in range(16, 24)]
        belief = posterior(B, A, [*noise_rows, *final], BLIND, None)
        assert belief is not None
        covered += belief.low <= 0.0 <= belief.high
    assert 0.91 <= covered / 250 <= 0.99


def test_a_probe_takes_the_drift_out() -> None:
    """Where a probe shows the machine's speed, a gain is seen that the drift hides without it; its unit is free."""
    rng = np.random.default_rng(13)
    states = drifting(rng, 14, 1.0, 4.0)

    def rows(factor: float | None) -> list[Row]:
        told = [None if factor is None else factor * s + 7.0 for s in states]
        base = [Row(A, k, 3.0 * k, states[k] + 0.05 * (-1) ** k, speed=told[k]) for k in range(10)]
        idea = [Row(B, 20 + k, 3.0 * k, states[k] - 1.0, speed=told[k]) for k in range(10, 14)]
        return [*base, *idea]

    blind, seen, other = (believe(rows(factor)) for factor in (None, -0.06, 3.0))
    assert seen.high - seen.low < 0.5 * (blind.high - blind.low)
    assert seen.low < -1.0 < seen.high
    assert other.mean == pytest.approx(seen.mean, abs=1e-6)


def test_a_probe_that_says_nothing_does_no_harm() -> None:
    """A speed that has nothing to do with the metric hardly widens the interval."""
    rng = np.random.default_rng(14)
    plain = [*rows_of(A, list(rng.normal(0, 1, 10))), *rows_of(B, list(rng.normal(-2, 1, 6)), 20)]
    probed = [Row(r.arm, r.seed, r.slot, r.value, speed=float(rng.normal())) for r in plain]
    before, after = believe(plain), believe(probed)
    assert after.high - after.low < 1.3 * (before.high - before.low)


def test_compressing_a_mixture_changes_next_to_nothing() -> None:
    """Ten thousand components put together give the same probability, mean and quantiles."""
    rng = np.random.default_rng(15)
    n = 10_000
    whole = Mixture(np.full(n, 1.0 / n), rng.normal(-1.0, 0.7, n), np.exp(rng.normal(0.0, 0.8, n)), 0.05)
    small = whole.compressed()
    assert len(small.means) < 1000
    assert small.below_zero() == pytest.approx(whole.below_zero(), abs=5e-4)
    assert small.mean() == pytest.approx(whole.mean(), abs=2e-3)
    ends = np.array([0.025, 0.975])
    assert small.quantiles(ends) == pytest.approx(whole.quantiles(ends), abs=0.02)


@pytest.mark.parametrize("point", [-2.0, -0.3, 0.0, 0.3, 2.0])
def test_mass_below_agrees_with_the_density(point: float) -> None:
    """The tilted mass below any point is that of the density, on both sides of zero."""
    mixture = Mixture(np.array([0.3, 0.7]), np.array([-1.0, 0.5]), np.array([0.5, 2.0]), below=0.2)
    x = np.linspace(-15.0, 15.0, 300_001)
    density = 0.3 * np.exp(-0.5 * ((x + 1.0) / 0.5) ** 2) / 0.5 + 0.7 * np.exp(-0.5 * ((x - 0.5) / 2.0) ** 2) / 2.0
    density = density * np.where(x < 0, 0.2, 0.8)
    assert mixture.mass_below(point) == pytest.approx(density[x < point].sum() / density.sum(), abs=1e-4)


def test_probabilities_are_calibrated_under_the_prior() -> None:
    """If ideas come from the prior, those that the judge calls about p likely better are so about p of the time."""
    rng = np.random.default_rng(2)
    claimed, true = [], []
    for _ in range(1500):
        scale = rng.choice(GENERIC.scales, p=GENERIC.weights)
        delta = abs(rng.normal(0.0, scale)) * (-1.0 if rng.random() < GENERIC.helps else 1.0)
        rows = [*rows_of(A, list(rng.normal(0, 1, 4))), *rows_of(B, list(rng.normal(delta, 1, 2)), 20)]
        claimed.append(believe(rows, JudgeSettings(noise=1.0, noise_runs=30.0)).better)
        true.append(delta < 0.0)
    probability, better = np.array(claimed), np.array(true)
    assert probability.mean() == pytest.approx(better.mean(), abs=0.015)
    likely = probability > 0.5
    assert better[likely].mean() == pytest.approx(probability[likely].mean(), abs=0.1)


@given(
    champion=st.lists(VALUES, min_size=2, max_size=4),
    challenger=st.lists(VALUES, min_size=1, max_size=4),
    factor=st.sampled_from([1e-3, 1e3, 1e6]),
    offset=st.sampled_from([0.0, -5.0, 1e3]),
)
@settings(max_examples=60, deadline=None)
def test_scale_and_offset_do_not_matter(
    champion: list[float], challenger: list[float], factor: float, offset: float
) -> None:
    """The metric's unit and zero change nothing of P(better), and the gain only by the unit."""
    plain = believe([*rows_of(A, champion), *rows_of(B, challenger)])
    moved = believe(
        [
            *rows_of(A, [(v + offset) * factor for v in champion]),
            *rows_of(B, [(v + offset) * factor for v in challenger]),
        ]
    )
    assert moved.better == pytest.approx(plain.better, abs=1e-5)
    assert moved.mean == pytest.approx(plain.mean * factor, rel=1e-4, abs=1e-7 * factor)


@given(
    champion=st.lists(VALUES, min_size=2, max_size=5),
    challenger=st.lists(VALUES, min_size=1, max_size=5),
    guess=st.sampled_from([None, 1e-6, 0.005, 10.0]),
)
@settings(max_examples=80, deadline=None)
def test_always_a_proper_answer(champion: list[float], challenger: list[float], guess: float | None) -> None:
    """Whatever the runs: a probability, an ordered finite interval, and no NaN."""
    belief = believe([*rows_of(A, champion), *rows_of(B, challenger)], JudgeSettings(noise=guess))
    assert 0.0 <= belief.better <= 1.0
    assert belief.low <= belief.mean <= belief.high
    assert all(math.isfinite(x) for x in (belief.low, belief.mean, belief.high, belief.sigma))


@given(value=VALUES, ours=st.integers(1, 6), theirs=st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_equal_values_are_no_gain(value: float, ours: int, theirs: int) -> None:
    """A command without any noise that gives the same value again is not called better."""
    belief = believe([*rows_of(A, [value] * theirs), *rows_of(B, [value] * ours)])
    assert belief.better == pytest.approx(HELPS, abs=1e-6)


@given(VALUES.filter(lambda v: v < 0.99999))
@settings(max_examples=40, deadline=None)
def test_without_noise_a_real_gain_is_seen(value: float) -> None:
    """Two runs a side that agree to the digit prove any difference of more than the last digits."""
    belief = believe([*rows_of(A, [1.000001, 1.000001]), *rows_of(B, [value, value])])
    assert belief.better > 0.95


@pytest.mark.parametrize("value", [1e30, -1e30, 0.0, -0.98, 1e-300])
def test_odd_values_get_an_answer(value: float) -> None:
    """A diverged run, a zero, a negated score: a probability like any other."""
    belief = believe([*rows_of(A, [1.0, 1.01, 0.99]), *rows_of(B, [value])])
    assert 0.0 <= belief.better <= 1.0
    assert math.isfinite(belief.low) and math.isfinite(belief.high)
    assert (belief.better > 0.5) == (value < 0.5)


def test_single_runs_say_nothing_of_the_noise() -> None:
    """A thousand ideas that ran once change nothing: neither the answer nor the work."""
    core = [*rows_of(A, [1.0, 1.01]), *rows_of(B, [0.97])]
    crowd = [Row(ExperimentId(f"y{k}"), k % 3, k, 1.0 + 0.001 * k) for k in range(1000)]
    assert believe([*crowd, *core]) == believe(core)


def test_work_is_bounded() -> None:
    """Only the most recent replicated arms and rows enter."""
    rng = np.random.default_rng(0)
    old = lab(rng, arms=200, seeds=3, sd=0.01, share=0.2)
    champion = rows_of(A, [float(v) for v in rng.normal(0, 0.01, 500)])
    used = model._relevant([*old, *champion, *rows_of(B, [0.0])], (B, A))
    assert len({row.arm for row in used}) == model.MAX_NOISE_ARMS + 2
    assert sum(row.arm == A for row in used) == model.MAX_ARM_ROWS
    assert {row.arm for row in used if row.arm.startswith("x")} == {f"x{k}" for k in range(184, 200)}
