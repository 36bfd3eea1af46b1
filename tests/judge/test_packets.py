"""What `judge.packets` promises: the decision table of the surface contract, 1.6 and Part 4."""

from __future__ import annotations

import itertools

import pytest

from nightlab.judge.packets import (
    ChampionRef,
    HypothesisStatus,
    NextAction,
    NoveltyClass,
    Priority,
    RunFacts,
    decide_next,
)
from nightlab.types import Decision, Direction, Stand, Standing

LEADER = ChampionRef(run="leader", value=1.0)


def facts(status: Decision, novelty: str = "novel", value: float | None = 1.01, **more: object) -> RunFacts:
    given = {"prior": LEADER, "current": LEADER, "hypothesis": "it helps", **more}
    return RunFacts(run="this", status=status, novelty=NoveltyClass(novelty), value=value, **given)  # type: ignore[arg-type]


KEEP, DISCARD, CRASH = Decision.KEEP, Decision.DISCARD, Decision.CRASH
ME = ChampionRef(run="this", value=0.9)

TABLE = [
    (facts(CRASH, value=None, error="CUDA out of memory"), "fix_and_retry", "high", "inconclusive"),
    (facts(CRASH, value=None, error="killed: OOM"), "fix_and_retry", "high", "inconclusive"),
    (facts(CRASH, value=None, error="MemoryError"), "fix_and_retry", "high", "inconclusive"),
    (facts(CRASH, value=None, error="CUDA_ERROR_OUT_OF_MEMORY"), "fix_and_retry", "high", "inconclusive"),
    (facts(CRASH, value=None, error="kaboom: boom"), "investigate_crash", "high", "inconclusive"),
    (facts(CRASH, value=None, error="in-memory cache lacks a key"), "investigate_crash", "high", "inconclusive"),
    (facts(CRASH, value=None), "investigate_crash", "high", "inconclusive"),
    (facts(KEEP, value=0.9, current=ME), "promote", "high", "supported"),
    (facts(KEEP, value=0.9, current=ME, prior=None), "promote", "high", "supported"),
    (facts(KEEP, "novel"), "replicate", "medium", "mixed"),
    (facts(KEEP, "duplicate_run"), "replicate", "medium", "mixed"),
    (facts(KEEP, "known_success", 1.0015), "branch_followup", "high", "mixed"),
    (facts(KEEP, "known_success", 1.0016), "branch_followup", "medium", "mixed"),
    (facts(KEEP, "repeat_failure", 1.01), "branch_followup", "medium", "mixed"),
    (facts(DISCARD, "repeat_failure", 1.0001), "abandon", "low", "mixed"),
    (facts(DISCARD, "duplicate_run", 1.01), "abandon", "low", "unsupported"),
    (facts(DISCARD, "novel", 1.0015), "retry", "medium", "mixed"),
    (facts(DISCARD, "known_success", 1.0015), "retry", "medium", "mixed"),
    (facts(DISCARD, "known_success", 1.01), "branch_followup", "medium", "unsupported"),
    (facts(DISCARD, "incremental_followup", 1.01), "branch_followup", "medium", "unsupported"),
    (facts(DISCARD, "novel", 1.01), "abandon", "low", "unsupported"),
    (facts(DISCARD, "known_success", prior=None, current=ME), "abandon", "low", "unsupported"),
    (facts(Decision.RETEST, value=0.99), "replicate", "medium", "mixed"),
]


@pytest.mark.parametrize(("given", "action", "priority", "hypothesis"), TABLE)
def test_decision_table(given: RunFacts, action: str, priority: str, hypothesis: str) -> None:
    """Each row of the table gives its action, priority and word on the hypothesis."""
    packet = decide_next(given)
    assert (packet.action, packet.priority, packet.hypothesis) == (action, priority, hypothesis)


def test_every_combination_has_an_answer() -> None:
    """The function is total: one action, one sentence with the run and the metric, whatever the facts."""
    seen = set()
    champions = (None, LEADER, ME)
    for status, novelty, prior, current in itertools.product(Decision, NoveltyClass, champions, champions):
        value = None if status is CRASH else 0.9
        packet = decide_next(
            RunFacts(run="this", status=status, novelty=novelty, value=value, prior=prior, current=current)
        )
        seen.add(packet.action)
        assert "run this" in packet.summary and "val_bpb" in packet.summary
        assert packet.summary.endswith(".")
        assert packet.hypothesis is HypothesisStatus.NOT_STATED
    assert {NextAction.PROMOTE, NextAction.REPLICATE, NextAction.ABANDON, NextAction.BRANCH_FOLLOWUP} <= seen


def test_sentences_carry_the_difference() -> None:
    """A new champion is compared with the one before it, anything else with the present one."""
    promoted = decide_next(facts(KEEP, value=0.9, current=ME))
    assert promoted.summary == "Promote run this: val_bpb 0.900000, -0.100000 to the champion before it (leader)."
    dropped = decide_next(facts(DISCARD))
    assert dropped.summary == "Leave the idea of run this: val_bpb 1.010000, +0.010000 to the champion (leader)."
    assert promoted.delta_to_prior == pytest.approx(-0.1)
    assert promoted.delta_to_current == 0.0


def test_a_first_discard_is_compared_with_nothing() -> None:
    """Without a champion before it both differences of a discard are None, even if it leads for want of another."""
    packet = decide_next(facts(DISCARD, prior=None, current=ChampionRef(run="this", value=1.01)))
    assert (packet.delta_to_prior, packet.delta_to_current) == (None, None)
    assert packet.hypothesis is HypothesisStatus.UNSUPPORTED
    assert "nothing to compare it with" in packet.summary


def test_close_follows_the_direction() -> None:
    """Where more is better, a little less than the champion is close and much less is not."""
    little = facts(DISCARD, value=0.999, direction=Direction.MAXIMIZE)
    much = facts(DISCARD, value=0.9, direction=Direction.MAXIMIZE)
    assert decide_next(little).action is NextAction.RETRY
    assert decide_next(much).action is NextAction.ABANDON


def test_priorities_have_an_order() -> None:
    """The decision queue sorts by rank."""
    assert sorted([Priority.LOW, Priority.HIGH, Priority.MEDIUM], key=lambda p: p.rank) == ["high", "medium", "low"]


@pytest.mark.parametrize(("needed", "end"), [(1, "1 more run"), (2, "2 more runs"), (None, "more than 16 more runs")])
@pytest.mark.parametrize("current", [ME, LEADER])
def test_a_provisional_summary_ends_in_what_is_lacking(needed: int | None, end: str, current: ChampionRef) -> None:
    """Scripts and people find at the end of the sentence how many runs would prove it; the action is the table's."""
    stand = Stand(standing=Standing.PROVISIONAL, probability=0.9, runs_needed=needed)
    given = facts(KEEP, value=0.9, current=current, stand=stand)
    packet = decide_next(given)
    assert packet.summary.endswith(f"(leader); not proven yet: {end}")
    assert packet.stand == stand
    assert packet.action is decide_next(facts(KEEP, value=0.9, current=current)).action


def test_a_proven_keep_lacks_nothing() -> None:
    """No word of what is not proven, and the lab builds on it; what is unproven it does not yet build on."""
    proven = decide_next(facts(KEEP, value=0.9, current=ME, stand=Stand(standing=Standing.PROVEN)))
    assert "not proven" not in proven.summary
    assert "build the next ideas on it" in proven.rationale
    open_yet = decide_next(facts(KEEP, value=0.9, current=ME, stand=Stand(standing=Standing.PROVISIONAL)))
    assert "when more seeds have proven it" in open_yet.rationale
