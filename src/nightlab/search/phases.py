"""What the search is about at the moment, seen from what was tried lately. Pure; looks back no further than it must.

The rules are the older control plane's. What it took from single values (an improvement, a near miss) is taken from
verdicts here, so that a lucky run moves no phase.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from nightlab.history import ExperimentState, History
from nightlab.types import Decision, ExperimentId, Phase

RECENT = 5  # experiments that the rules look at (surface contract 2.2)
CRASHES = 2  # of them that crashed: first of all nothing may crash
PAYING = 2  # of them that were better: go on there
STALLED = 4  # experiments without a promotion from which on the search looks further afield
BARREN = 6  # the same from which on near misses are put together
NEAR_MISSES = 2  # there must be so many of them for that
REMEMBERED = 60  # experiments back to which a near miss counts; twelve of five, as the older state kept them
LIKELIER = 0.5  # P(better) from which on an idea is more likely better than not


def phase(history: History, base: ExperimentId) -> Phase:
    """The phase in which the next idea is made from `base`.

    Args:
        history: folded up to now.
        base: the experiment that the next idea changes; only its line of parents counts.
    """
    known = history.experiments.get(base)
    if known is None or not known.finished():
        return Phase.BASELINE
    recent = list(islice(_settled(history, base), RECENT))
    if sum(is_crash(state) for state in recent) >= CRASHES:
        return Phase.STABILIZE
    fruitless = stall(history, base)
    if fruitless >= BARREN and len(list(islice(near_misses(history, base), NEAR_MISSES))) >= NEAR_MISSES:
        return Phase.RECOMBINE
    if fruitless >= STALLED:
        return Phase.EXPLORE
    return Phase.EXPLOIT if sum(_paid(state) for state in recent) >= PAYING else Phase.EXPLORE


def stall(history: History, base: ExperimentId | None = None) -> int:
    """Experiments that got their final verdict since the last promotion, crashes counted.

    Args:
        history: folded up to now.
        base: an experiment of the line that is asked of; the champion's, unless another is named.
    """
    base = base if base is not None else history.champion
    if base is None:
        return 0
    root = history.state(base).root
    last = next((v for v in reversed(history.promotions) if history.state(v.experiment).root == root), None)
    since = history.state(last.experiment) if last is not None else None
    count = 0
    for state in _settled(history, base):
        if since is None or state.judged_seq > since.judged_seq:
            count += state is not since
        elif state.number < since.number:
            break  # proposed and settled before the promotion: what is older was settled earlier still
    return count


def near_misses(history: History, base: ExperimentId) -> Iterator[ExperimentState]:
    """Experiments of late that were more likely better than not and were not kept, newest first."""
    return (state for state in islice(_settled(history, base), REMEMBERED) if is_near_miss(state))


def is_near_miss(state: ExperimentState) -> bool:
    """Whether it looked better than its champion to the end and was not proven so."""
    verdict = state.verdict
    if verdict is None or verdict.decision is not Decision.DISCARD or verdict.probability is None:
        return False
    return verdict.probability >= LIKELIER and state.experiment.plan.without is None


def is_crash(state: ExperimentState) -> bool:
    """Whether its final verdict is that it does not run."""
    return state.verdict is not None and state.verdict.decision is Decision.CRASH


def _paid(state: ExperimentState) -> bool:
    verdict = state.verdict
    return verdict is not None and (verdict.decision is Decision.KEEP or (verdict.probability or 0.0) > LIKELIER)


def _settled(history: History, base: ExperimentId) -> Iterator[ExperimentState]:
    """Ideas on `base`'s line with a final verdict, newest first; removals are none."""
    root = history.state(base).root
    for state in reversed(history.experiments.values()):
        verdict = state.verdict
        is_idea = state.experiment.parent is not None and state.experiment.plan.without is None
        if is_idea and state.root == root and verdict is not None and verdict.decision.is_final:
            yield state
