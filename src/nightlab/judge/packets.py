"""Decision packets: what a run means for the person or agent who comes next, as one action with its reason.

A table, tried from top to bottom (surface-contract.md, 1.6 and Part 4, items 2 and 3), over plain facts. How older
surfaces spell the fields is not known here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from nightlab.judge.wording import more_runs
from nightlab.types import Decision, Direction, Stand, Standing

CLOSE = 0.0015  # units of the metric: a loss to the champion up to here may be noise (contract, 1.6; val_bpb)
CLOSE_SLACK = 1e-9  # so that a difference of two printed decimals equal to CLOSE counts as close (contract, Part 4)
_MEMORY = re.compile(
    r"(?<![a-z0-9-])(?:oom|out[ _]of[ _]memory|vram|memory|\w*OutOfMemory\w*|MemoryError)(?![a-z0-9])", re.IGNORECASE
)
"""Whole words ("boom" and "in-memory" are none), and the names that CUDA, Python and torch give to the error."""


class NextAction(StrEnum):
    PROMOTE = "promote"
    REPLICATE = "replicate"
    BRANCH_FOLLOWUP = "branch_followup"
    RETRY = "retry"
    ABANDON = "abandon"
    FIX_AND_RETRY = "fix_and_retry"
    INVESTIGATE_CRASH = "investigate_crash"


class Priority(StrEnum):
    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"

    @property
    def rank(self) -> int:
        """0 for what should be looked at first."""
        return list(Priority).index(self)


class HypothesisStatus(StrEnum):
    NOT_STATED = "not_stated"
    SUPPORTED = "supported"
    MIXED = "mixed"
    UNSUPPORTED = "unsupported"
    INCONCLUSIVE = "inconclusive"


class NoveltyClass(StrEnum):
    """How an idea relates to what was tried before."""

    NOVEL = "novel"
    DUPLICATE_RUN = "duplicate_run"
    REPEAT_FAILURE = "repeat_failure"
    INCREMENTAL_FOLLOWUP = "incremental_followup"
    KNOWN_SUCCESS = "known_success"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChampionRef:
    """The best run known at some moment."""

    run: str
    value: float  # the metric, in its own units and direction


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What is known of one run when its packet is written."""

    run: str
    status: Decision  # RETEST: the race is not over
    novelty: NoveltyClass
    hypothesis: str = ""
    value: float | None = None  # None for a crash
    error: str = ""  # one line, for a crash
    prior: ChampionRef | None = None  # champion before this run
    current: ChampionRef | None = None  # champion including it
    metric: str = "val_bpb"
    direction: Direction = Direction.MINIMIZE
    close: float = CLOSE
    stand: Stand | None = None  # of a kept run

    @property
    def is_new_champion(self) -> bool:
        return self.current is not None and self.current.run == self.run

    @property
    def delta_to_prior(self) -> float | None:
        """This value minus the earlier champion's, in units of the metric."""
        return self._delta(self.prior)

    @property
    def delta_to_current(self) -> float | None:
        """This value minus the present champion's. None for a discard that had no champion to be compared with."""
        if self.status is Decision.DISCARD and self.prior is None:
            return None
        return self._delta(self.current)

    @property
    def is_close(self) -> bool:
        """Whether the run is at most `close` worse than the present champion."""
        delta = self.delta_to_current
        return delta is not None and delta * self.direction.sign <= self.close + CLOSE_SLACK

    def _delta(self, champion: ChampionRef | None) -> float | None:
        return None if champion is None or self.value is None else self.value - champion.value


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionPacket:
    """What happened, what it means, what to do next."""

    action: NextAction
    priority: Priority
    summary: str  # one sentence: the run, its metric, the difference to the champion it was compared with
    rationale: str  # one sentence: why this action
    hypothesis: HypothesisStatus
    is_new_champion: bool
    delta_to_prior: float | None  # units of the metric, in its own direction
    delta_to_current: float | None
    stand: Stand | None  # how far a kept run is proven; None for any other


def decide_next(facts: RunFacts) -> DecisionPacket:
    """The packet of a run. Total: every combination of facts has exactly one action."""
    action, priority, rationale = _advice(facts)
    return DecisionPacket(
        action=action,
        priority=priority,
        summary=_summary(action, facts),
        rationale=rationale,
        hypothesis=_hypothesis(facts),
        is_new_champion=facts.is_new_champion,
        delta_to_prior=facts.delta_to_prior,
        delta_to_current=facts.delta_to_current,
        stand=facts.stand,
    )


_Advice = tuple[NextAction, Priority, str]


def _advice(facts: RunFacts) -> _Advice:
    match facts.status:
        case Decision.CRASH:
            return _after_crash(facts)
        case Decision.KEEP:
            return _after_keep(facts)
        case Decision.RETEST:
            why = "The difference is not settled; the race asks for another seed."
            return NextAction.REPLICATE, Priority.MEDIUM, why
        case Decision.DISCARD:
            return _after_discard(facts)


def _after_crash(facts: RunFacts) -> _Advice:
    if _MEMORY.search(facts.error):
        why = "It ran out of memory, which says nothing of the idea: make it smaller and run it again."
        return NextAction.FIX_AND_RETRY, Priority.HIGH, why
    why = "It ended without a metric for a reason that nobody has named yet: read the log before running it again."
    return NextAction.INVESTIGATE_CRASH, Priority.HIGH, why


def _after_keep(facts: RunFacts) -> _Advice:
    if facts.is_new_champion:
        proven = facts.stand is None or facts.stand.standing is Standing.PROVEN
        why = "build the next ideas on it." if proven else "the lab builds on it when more seeds have proven it."
        return NextAction.PROMOTE, Priority.HIGH, f"It leads the lab: {why}"
    if facts.novelty is NoveltyClass.NOVEL:
        return NextAction.REPLICATE, Priority.MEDIUM, "Nothing like it was tried before and it stands on few runs."
    if facts.novelty is NoveltyClass.DUPLICATE_RUN:
        return NextAction.REPLICATE, Priority.MEDIUM, "It repeats an earlier run: together they show the noise."
    if facts.is_close:
        return NextAction.BRANCH_FOLLOWUP, Priority.HIGH, "It was kept beside a champion that it nearly equals."
    return NextAction.BRANCH_FOLLOWUP, Priority.MEDIUM, "It was kept, and the champion is still well ahead of it."


def _after_discard(facts: RunFacts) -> _Advice:
    if facts.novelty in (NoveltyClass.REPEAT_FAILURE, NoveltyClass.DUPLICATE_RUN):
        return NextAction.ABANDON, Priority.LOW, "The same idea was tried before and this run adds no reason to go on."
    if facts.is_close:
        return NextAction.RETRY, Priority.MEDIUM, "The difference is no larger than noise: another seed may tell."
    followup = facts.novelty in (NoveltyClass.INCREMENTAL_FOLLOWUP, NoveltyClass.KNOWN_SUCCESS)
    if followup and facts.prior is not None:
        return NextAction.BRANCH_FOLLOWUP, Priority.MEDIUM, "What it builds on was kept: try another step from there."
    return NextAction.ABANDON, Priority.LOW, "It is clearly no better, and nothing kept stands behind it."


def _hypothesis(facts: RunFacts) -> HypothesisStatus:
    if not facts.hypothesis.strip():
        return HypothesisStatus.NOT_STATED
    if facts.status is Decision.CRASH:
        return HypothesisStatus.INCONCLUSIVE
    if facts.status is Decision.KEEP:
        return HypothesisStatus.SUPPORTED if facts.is_new_champion else HypothesisStatus.MIXED
    if facts.status is Decision.RETEST or facts.is_close:
        return HypothesisStatus.MIXED
    return HypothesisStatus.UNSUPPORTED


# --- sentences --------------------------------------------------------------------------------------------------

_SENTENCES = {
    NextAction.PROMOTE: "Promote run {run}: {value}, {against}",
    NextAction.REPLICATE: "Repeat run {run} with another seed: {value}, {against}",
    NextAction.BRANCH_FOLLOWUP: "Try a follow-up of run {run}: {value}, {against}",
    NextAction.RETRY: "Give run {run} another try: {value}, {against}",
    NextAction.ABANDON: "Leave the idea of run {run}: {value}, {against}",
    NextAction.FIX_AND_RETRY: "Fix the memory use of run {run} and start it again: {value}, {against}",
    NextAction.INVESTIGATE_CRASH: "Find out why run {run} crashed: {value}, {against}",
}


def _summary(action: NextAction, facts: RunFacts) -> str:
    """One sentence; a provisional run's ends in what is lacking, without a full stop, so that scripts find it there."""
    told = _SENTENCES[action].format(run=facts.run, value=_value(facts), against=_against(facts))
    if facts.stand is not None and facts.stand.standing is Standing.PROVISIONAL:
        return f"{told}; not proven yet: {more_runs(facts.stand.runs_needed)}"
    return f"{told}."


def _value(facts: RunFacts) -> str:
    return f"no {facts.metric}" if facts.value is None else f"{facts.metric} {facts.value:.6f}"


def _against(facts: RunFacts) -> str:
    """The signed difference to the champion that the action rests on: the earlier one for a new champion."""
    champion = facts.prior if facts.is_new_champion else facts.current
    delta = facts.delta_to_prior if facts.is_new_champion else facts.delta_to_current
    if champion is None or delta is None:
        return "nothing to compare it with"
    role = "the champion before it" if facts.is_new_champion else "the champion"
    return f"{delta:+.6f} to {role} ({champion.run})"
