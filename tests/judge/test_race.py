"""What `judge.race` promises."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightlab.config import JudgeSettings
from nightlab.judge.model import Row
from nightlab.judge.race import Bar, compare, is_near_miss, judge, next_seed, runs_needed, standing
from nightlab.types import Decision, ExperimentId, Verdict

A, B, C = ExperimentId("champion"), ExperimentId("challenger"), ExperimentId("other")
BLIND = JudgeSettings()
GUESS = JudgeSettings(noise=0.01, noise_runs=10.0)
SEEDS = tuple(range(100))


def rows_of(arm: ExperimentId, values: list[float], first_seed: int = 0) -> list[Row]:
    return [Row(arm, first_seed + k, k, value) for k, value in enumerate(values)]


def verdict_of(champion: list[float], challenger: list[float], judge_by: JudgeSettings, steps: int = 0) -> Verdict:
    return judge(B, A, [*rows_of(A, champion), *rows_of(B, challenger)], judge_by, steps)


# --- decisions --------------------------------------------------------------------------------------------------


def test_worse_is_dropped_after_one_run() -> None:
    """An idea that is plainly worse costs one run."""
    verdict = verdict_of([1.0, 1.01], [1.05], GUESS)
    assert verdict.decision is Decision.DISCARD
    assert verdict.gain is not None and verdict.gain < 0
    assert verdict.because.startswith("no evidence of a gain")
    assert not is_near_miss(verdict, GUESS)


def test_no_single_seed_is_kept() -> None:
    """However large the gain, one seed is not proof: the challenger itself runs again."""
    verdict = verdict_of([1.0, 1.01, 0.995], [0.5], GUESS)
    assert verdict.probability is not None and verdict.probability > 0.99
    assert (verdict.decision, verdict.replicate) == (Decision.RETEST, B)


def test_the_same_seed_twice_is_one_seed() -> None:
    """Two runs with one seed, even with different values, do not make a challenger proven."""
    rows = [*rows_of(A, [1.0, 1.01]), Row(B, 0, 2, 0.5), Row(B, 0, 3, 0.5001)]
    assert judge(B, A, rows, GUESS, 1).decision is Decision.RETEST


def test_a_proven_gain_is_kept_in_plain_words() -> None:
    """Two good seeds prove a gain of many standard deviations, and the reason gives size, doubt and runs."""
    verdict = verdict_of([1.0, 1.01], [0.9, 0.91], GUESS, 1)
    assert verdict.decision is Decision.KEEP
    assert verdict.replicate is None
    assert verdict.gain == pytest.approx(0.1, abs=0.01)
    assert verdict.low is not None and verdict.high is not None and 0 < verdict.low < 0.1 < verdict.high
    assert verdict.because.startswith("better by 0.0")
    assert "of being noise" in verdict.because
    assert verdict.because.endswith("2 runs against 2")


def test_unproven_ends_as_near_miss() -> None:
    """A gain that stays between the thresholds costs `max_steps` extra runs and then ends as inconclusive."""
    champion, challenger = [1.0, 1.01, 0.99, 1.005], [0.988, 0.979, 0.983]
    waiting = verdict_of(champion, challenger, GUESS, GUESS.max_steps - 1)
    ended = verdict_of(champion, challenger, GUESS, GUESS.max_steps)
    assert waiting.decision is Decision.RETEST
    assert ended.decision is Decision.DISCARD
    assert ended.because.startswith("not proven in 4 runs beyond the first: P(better) is 0.")
    assert is_near_miss(ended, GUESS)


def test_unknown_noise_asks_for_the_champion() -> None:
    """With one run a side and no guess nothing can be said: the champion runs again, and without steps left it ends."""
    asked, ended = verdict_of([1.0], [0.9], BLIND), verdict_of([1.0], [0.9], BLIND, BLIND.max_steps)
    assert (asked.decision, asked.replicate) == (Decision.RETEST, A)
    assert asked.probability is None
    assert ended.decision is Decision.DISCARD


def test_an_unlucky_baseline_does_not_stop_all_learning() -> None:
    """Two baseline runs far apart must not make the lab drop better-looking ideas before it knows its noise."""
    assert verdict_of([1.0, 1.02], [0.985], BLIND).decision is Decision.RETEST
    assert verdict_of([1.0, 1.02], [1.04], BLIND).decision is Decision.DISCARD


def test_racing_oneself_is_a_mistake() -> None:
    """The caller is told."""
    with pytest.raises(ValueError, match="itself"):
        judge(A, A, rows_of(A, [1.0, 1.1]), BLIND)


def seeds_of(arm: ExperimentId, rows: Sequence[Row]) -> frozenset[int]:
    return frozenset(row.seed for row in rows if row.arm == arm)


def play(champion: list[float], values: list[float], judge_by: JudgeSettings) -> list[Verdict]:
    """A race on common seeds in which both sides' next values are known beforehand."""
    rows = [*rows_of(A, champion[: judge_by.baseline_runs]), Row(B, 0, 2.0, values[0])]
    verdicts = [judge(B, A, rows, judge_by, 0)]
    while verdicts[-1].decision is Decision.RETEST:
        side = verdicts[-1].replicate
        assert side is not None
        seed = next_seed(seeds_of(side, rows), seeds_of(A if side == B else B, rows), lambda k: SEEDS[k])
        rows.append(Row(side, seed, float(len(rows)), (values if side == B else champion)[seed]))
        verdicts.append(judge(B, A, rows, judge_by, len(verdicts)))
    return verdicts


@given(
    champion=st.lists(st.integers(-9, 9), min_size=8, max_size=8),
    challenger=st.lists(st.integers(-9, 9), min_size=8, max_size=8),
    guess=st.sampled_from([None, 0.001]),
)
@settings(max_examples=60, deadline=None)
def test_every_race_ends(champion: list[int], challenger: list[int], guess: float | None) -> None:
    """Whatever the values (ties included), a race ends within `max_steps` extra runs, and a keep has two seeds."""
    by = JudgeSettings(noise=guess)
    verdicts = play([1 + k / 1000 for k in champion], [1 + k / 1000 for k in challenger], by)
    assert len(verdicts) <= by.max_steps + 1
    assert verdicts[-1].decision.is_final
    if verdicts[-1].decision is Decision.KEEP:
        assert verdicts[-1].runs_used >= 2
        assert (verdicts[-1].probability or 0.0) >= by.promote


def test_ties_are_dropped_at_once() -> None:
    """A command without noise and an edit without effect: one run, then discard; the words are not "no effect"."""
    (verdict,) = play([0.913] * 8, [0.913] * 8, BLIND)
    assert verdict.decision is Decision.DISCARD
    assert "no evidence of a gain" in verdict.because


def test_a_gain_without_noise_takes_two_runs() -> None:
    """A command without noise proves a gain with the challenger's second run."""
    verdicts = play([0.913] * 8, [0.905] * 8, BLIND)
    assert [v.decision for v in verdicts] == [Decision.RETEST, Decision.KEEP]
    assert verdicts[0].replicate == B


def test_noise_alone_is_seldom_kept() -> None:
    """Of 250 ideas that change nothing, each raced in a lab that knows two baseline runs only, under 4 % are kept."""
    rng = np.random.default_rng(4)
    luck = [[1.0 + float(v) for v in rng.normal(0, 0.005, 8)] for _ in range(500)]
    kept = sum(play(a, b, BLIND)[-1].decision is Decision.KEEP for a, b in zip(luck[::2], luck[1::2], strict=True))
    assert kept < 10


# --- which run next ---------------------------------------------------------------------------------------------


def test_the_thinner_side_runs_again() -> None:
    """With seeds all different, the side with fewer runs is run again; with equal numbers the challenger."""
    good = [0.972, 0.968, 0.97, 0.971]
    base = [1.0, 1.01, 0.99, 1.0]

    def side(theirs: int, ours: int) -> ExperimentId | None:
        runs = [*rows_of(A, base[:theirs], 0), *rows_of(B, good[:ours], 50)]
        rows = [replace(row, drifts=False) for row in runs]
        verdict = judge(B, A, rows, JudgeSettings(noise=0.015, noise_runs=30.0, promote=0.9999), 1)
        assert verdict.decision is Decision.RETEST
        return verdict.replicate

    assert side(4, 2) == B
    assert side(2, 3) == A
    assert side(2, 2) == B


def test_common_seeds_are_completed_first() -> None:
    """Where seeds matter, the run that completes a pair is preferred to a fresh one on the thinner side."""
    shared = [0.0, 0.05, -0.04, 0.03, -0.05]
    others = [
        Row(ExperimentId(f"x{arm}"), seed, 0, 2.0 + arm + effect + 0.002 * ((arm + seed) % 3))
        for arm in range(9)
        for seed, effect in enumerate(shared)
    ]
    rows = [*others, *rows_of(A, [1.0 + s for s in shared[:2]]), *rows_of(B, [0.9965 + s for s in shared[:3]])]
    verdict = judge(B, A, rows, BLIND, 1)
    assert (verdict.decision, verdict.replicate) == (Decision.RETEST, A)
    assert next_seed(seeds_of(A, rows), seeds_of(B, rows), lambda k: k) == 2


def test_next_seed() -> None:
    """First the other side's seeds, then the lab's sequence; never one that the side has had."""
    assert next_seed(frozenset({42}), frozenset({42, 7}), lambda k: 42 + k) == 7
    assert next_seed(frozenset({42, 7}), frozenset({42}), lambda k: 42 + k) == 43
    assert next_seed(frozenset(), frozenset(), lambda k: 42 + k) == 42


# --- estimates --------------------------------------------------------------------------------------------------


def test_runs_needed() -> None:
    """Nothing for what is proven, few for what is nearly so, None for what looks no better or needs too many."""
    settled = [*rows_of(A, [1.0, 1.01]), *rows_of(B, [0.9, 0.91])]
    assert runs_needed(B, A, settled, GUESS) == 0
    assert runs_needed(B, A, [*rows_of(A, [1.0, 1.01]), *rows_of(B, [0.9])], GUESS) == 1
    assert runs_needed(B, A, [*rows_of(A, [1.0, 1.01]), *rows_of(B, [1.1])], GUESS) is None
    unsettled = [*rows_of(A, [1.0, 1.01, 0.99, 1.005]), *rows_of(B, [0.988, 0.979, 0.983])]
    more = runs_needed(B, A, unsettled, GUESS)
    assert more is not None and 1 <= more <= 16


def test_the_headline_is_not_shrunk() -> None:
    """The final comparison is the plain difference of means; noise rows only tell how sure it is."""
    rows = [*rows_of(A, [1.0, 1.02, 0.99, 1.01], 900), *rows_of(B, [0.99, 1.0, 0.98, 0.995], 900)]
    alone = compare(B, A, rows, BLIND)
    rng = np.random.default_rng(0)
    calm = [Row(C, k, k, float(v)) for k, v in enumerate(rng.normal(5.0, 0.012, 40))]
    helped = compare(B, A, rows, BLIND, noise_rows=[*calm, Row(B, 0, 0, 0.5), Row(A, 0, 0, 1.5)])
    assert alone is not None and helped is not None
    assert alone.gain == pytest.approx(0.01375)
    assert helped.gain == pytest.approx(0.01375)
    assert alone.low < 0.01375 < alone.high
    assert (helped.runs, helped.runs_against) == (4, 4)
    assert compare(B, A, [Row(A, 0, 0, 1.0), Row(B, 0, 0, 0.9)], BLIND) is None


def test_standing_is_shrunk_a_little() -> None:
    """Between the final blocks, the champion's gain is the posterior mean: less than its runs say, and not by much."""
    rows = [*rows_of(A, [1.0, 1.01]), *rows_of(B, [0.95, 0.96, 0.955])]
    believed = standing(B, A, rows, GUESS)
    assert believed is not None
    assert 0.04 < believed.gain < 0.05


# --- prices -----------------------------------------------------------------------------------------------------

SURE = JudgeSettings(noise=0.01, noise_runs=1000.0)
DEAR = Bar(sigmas=3.0, why="30 lines more")
SAVING = Bar(sigmas=-1.0, why="40 lines fewer")


def priced(gain: float, bar: Bar, runs: int = 4, steps: int = 3) -> Verdict:
    """Of a challenger whose runs are better by `gain` standard deviations than the champion's, one by one in turn."""
    noise = [0.0, 0.01, -0.005, 0.004, 0.002, -0.008, 0.006, -0.003, 0.001, -0.007][:runs]
    rows = [Row(A, k, 2 * k, 1.0 + n, drifts=False) for k, n in enumerate(noise)]
    rows += [Row(B, 50 + k, 2 * k + 1, 1.0 + n - 0.01 * gain, drifts=False) for k, n in enumerate(noise)]
    return judge(B, A, rows, SURE, steps, bar=bar)


def test_what_costs_must_gain_more_than_it_costs() -> None:
    """Thirty lines must gain three standard deviations: seven do, two and a half that would be kept without do not."""
    assert priced(2.5, Bar(), runs=6).decision is Decision.KEEP
    assert priced(2.5, DEAR, runs=6).decision is Decision.DISCARD
    assert priced(7.0, DEAR, runs=6).decision is Decision.KEEP


def test_equal_and_cheaper_is_kept() -> None:
    """An idea that saves and is no worse is kept for what it saves; one that is worse is not; nor one on one seed."""
    equal = priced(0.0, SAVING, runs=10)
    assert equal.decision is Decision.KEEP
    assert equal.because.startswith("no worse and cheaper; it may cost 0.0099 for 40 lines fewer: gain ")
    assert "of being worse; 10 runs against 10" in equal.because
    assert priced(0.0, Bar(), runs=10).decision is Decision.DISCARD
    assert priced(-3.0, SAVING, runs=6).decision is Decision.DISCARD
    assert priced(0.0, SAVING, runs=1).decision is not Decision.KEEP


def test_the_price_stands_in_the_sentence() -> None:
    """Why it must gain so much, in plain words; without a price no word of one."""
    kept, dropped = priced(7.0, DEAR, runs=6), priced(2.0, DEAR, runs=6)
    assert "; it must gain 0.030 for 30 lines more, about 1 chance in" in kept.because.replace("less than", "about")
    assert dropped.because.startswith("no evidence that it gains enough (gain 0.0")
    assert "for 30 lines more" in dropped.because
    assert "must gain" not in priced(2.5, Bar(), runs=6).because


def test_a_price_is_in_units_of_the_noise() -> None:
    """The probability of being worth it is that of a gain above so many standard deviations, or above a plain gain."""
    by_noise, plain = priced(5.0, DEAR, runs=6), priced(5.0, Bar(gain=0.03, why="being useful"), runs=6)
    assert by_noise.probability == pytest.approx(plain.probability, abs=0.01)
    assert by_noise.gain == plain.gain
