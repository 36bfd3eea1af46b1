"""The race of a removal: is the champion without one of its changes no worse?

A non-inferiority test (the term and the margin are those of clinical trials: Piaggio et al., CONSORT extension for
noninferiority trials, JAMA 2012): the removal wins when the probability that it is worse by more than a margin has
become small. Equal and simpler wins; a change that earns its place stays. The prior is flat: the link has had its
prior once, when it was kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from nightlab.config import JudgeSettings
from nightlab.judge.model import Posterior, Row, distinct, posterior
from nightlab.judge.planning import more_telling
from nightlab.judge.race import MIN_SEEDS
from nightlab.types import Decision, ExperimentId, Verdict


def judge(
    removal: ExperimentId,
    champion: ExperimentId,
    rows: Iterable[Row],
    settings: JudgeSettings,
    *,
    margin: float,
    steps_taken: int = 0,
) -> Verdict:
    """What the runs so far say of the champion without one of its changes.

    Args:
        rows: as for `race.judge`.
        margin: by how much the removal may be worse, units of the metric, not negative.
        steps_taken: extra runs that this race has cost so far, on either side.

    Returns:
        A verdict whose `probability` is P(not worse by more than the margin); gain and interval are those of the
        removal over the champion, not shrunk.

    Raises:
        NotFoundError: one of the two has no run.
        ValueError: both are the same experiment.
        MetricError: a value is not finite.
    """
    clean = distinct(rows)
    # P(gain > -margin) of the rows is P(gain > 0) of rows in which the removal is better by the margin.
    moved = [replace(row, value=row.value - margin) if row.arm == removal else row for row in clean]
    belief = posterior(removal, champion, moved, settings, prior=None)
    ours, theirs = (sum(row.arm == arm for row in clean) for arm in (removal, champion))
    seeds = len({row.seed for row in clean if row.arm == removal})
    decision = _decide(belief, seeds, settings, steps_taken)
    side = _side(removal, champion, clean, belief, seeds) if decision is Decision.RETEST else None
    runs = "1 run" if ours == 1 else f"{ours} runs"
    return Verdict(
        experiment=removal,
        champion=champion,
        decision=decision,
        because=f"{_reason(decision, belief, settings, margin)}; {runs} against {theirs}",
        gain=None if belief is None else -belief.mean - margin,
        low=None if belief is None else -belief.high - margin,
        high=None if belief is None else -belief.low - margin,
        probability=None if belief is None else belief.better,
        runs_used=ours,
        replicate=side,
    )


def _side(
    removal: ExperimentId, champion: ExperimentId, rows: Sequence[Row], belief: Posterior | None, seeds: int
) -> ExperimentId:
    """The side to run again: the removal while it may not win for want of a seed, else the one that tells more."""
    if belief is None:
        return champion
    return removal if seeds < MIN_SEEDS else more_telling(removal, champion, rows, belief.point)


def _decide(belief: Posterior | None, seeds: int, settings: JudgeSettings, steps_taken: int) -> Decision:
    if belief is not None:
        if belief.better >= settings.promote and seeds >= MIN_SEEDS:
            return Decision.KEEP
        if belief.better <= settings.discard:
            return Decision.DISCARD
    return Decision.DISCARD if steps_taken >= settings.max_steps else Decision.RETEST


def _reason(decision: Decision, belief: Posterior | None, settings: JudgeSettings, margin: float) -> str:
    """One plain sentence, without its final full stop."""
    if belief is None:
        return "not known: nothing is known of the noise"
    half = 0.5 * (belief.high - belief.low)
    digits = min(max(1 - math.floor(math.log10(half)), 0), 12) if half > 0.0 else 6  # two of the half width
    shown = (value - margin for value in (-belief.mean, -belief.high, -belief.low))
    gain, low, high = (f"{round(value, digits) + 0.0:.{digits}f}" for value in shown)
    numbers = f"without it the gain is {gain}, 95 % interval {low} to {high}"
    if decision is Decision.KEEP:
        return f"no worse without it: P(worse by more than {margin:.2g}) is {1.0 - belief.better:.2g} ({numbers})"
    if decision is Decision.RETEST:
        return f"not settled yet: P(worse by more than {margin:.2g}) is {1.0 - belief.better:.2f} ({numbers})"
    if -belief.low < margin:  # the whole interval lies below zero
        return f"it earns its place ({numbers})"
    return f"not shown to be dead weight: P(worse by more than {margin:.2g}) is {1.0 - belief.better:.2f} ({numbers})"
