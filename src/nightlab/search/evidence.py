"""What this lab's own verdicts say of each change, seen from the source that the next idea starts from.

A *key* names a change without its size: (knob, way), (edit, "edit"), or (experiment, "graft") for what was merged. An
experiment of several changes counts for each of them by an equal share. Verdicts are facts of the ledger; nothing here
judges a number.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from nightlab.history import ExperimentState, History
from nightlab.search.archive import chance_of
from nightlab.search.knobs import Value, literal
from nightlab.search.moves import Way, way_of
from nightlab.types import Change, ChangeKind, Decision, ExperimentId, Verdict

Key = tuple[str, str]
EDIT, GRAFT = "edit", "graft"

RECOMBINED = "recombinator"  # the emitter that puts near misses together

HOPEFUL = 0.8
"""Chance of being better from which on a step counts as one that paid, and the same way is gone on."""

FADING = 0.5
"""What is left of a verdict's weight after each promotion since: another champion, another landscape."""


@dataclass(frozen=True, slots=True)
class Near:
    """An experiment that was more likely better than not and yet is no part of the base."""

    experiment: ExperimentId
    changes: tuple[Change, ...]
    probability: float
    stacked: bool  # made of near misses itself: these are tried again, but not stacked further
    age: int  # promotions since its judgement; 0: judged against the base itself


@dataclass(slots=True)
class Evidence:
    """All that the proposer asks of the history, in one pass over it."""

    hashes: set[str] = field(default_factory=set)  # every source that the lab has
    tried: set[frozenset[str]] = field(default_factory=set)  # changes tried on this very base
    pending: set[Key] = field(default_factory=set)  # under way
    made: set[str] = field(default_factory=set)  # edits that the base holds already
    tries: dict[str, float] = field(default_factory=dict)  # weight of the verdicts on a knob or edit, whichever way
    paid: set[Key] = field(default_factory=set)  # ways that were gone and paid
    crashed: dict[Key, list[Value]] = field(default_factory=dict)  # values of a knob that crashed, moving that way
    ran: dict[Key, list[Value]] = field(default_factory=dict)  # values that did not
    crashed_edits: set[str] = field(default_factory=set)
    near: list[Near] = field(default_factory=list)

    def crashes(self, name: str, way: Way, value: Value) -> bool:
        """Whether that value has crashed, or a milder one the same way and nothing beyond that ran."""
        ran = self.ran.get((name, way), ())
        return any(
            value == bad or (_reaches(value, bad, way) and not any(_reaches(fine, bad, way) for fine in ran))
            for bad in self.crashed.get((name, way), ())
        )


def gather(history: History, base: ExperimentId, running: Collection[ExperimentId] = ()) -> Evidence:
    """The evidence for changes of `base`. `running`: experiments under way beyond those the history knows of."""
    evidence = Evidence()
    ages = {member: age for age, member in enumerate(history.made_of(base))}  # promotions since each
    for member in ages:
        if member in history.experiments:
            changes = history.state(member).experiment.changes
            evidence.made |= {change.name for change in changes if change.kind is ChangeKind.EDIT}
    for state in history.experiments.values():
        experiment = state.experiment
        evidence.hashes.add(experiment.source_hash)
        if experiment.parent == base:
            evidence.tried.add(label(experiment.changes))
        verdict = state.verdict
        if experiment.plan.without is not None:
            continue  # a removal asks whether a change was worth keeping: its verdicts weigh no way of changing
        if state.is_running or experiment.id in running:
            evidence.pending |= {key for key, _ in keyed(experiment.changes)}
            evidence.pending |= {(parent, GRAFT) for parent in experiment.plan.parents}
        if verdict is not None and (verdict.decision.is_final or not state.is_running):
            _weigh(evidence, state, verdict, ages)
    return evidence


def reopened(states: Iterable[ExperimentState]) -> int:
    """How often settled ideas among these were opened again for another run."""
    return sum(
        before.decision.is_final and after.decision is Decision.RETEST
        for state in states
        for before, after in pairwise(state.verdicts)
    )


def label(changes: Collection[Change]) -> frozenset[str]:
    """What a set of changes does, regardless of order."""
    return frozenset(f"{change.name}={change.new}" for change in changes)


def keyed(changes: Collection[Change]) -> Iterator[tuple[Key, Value | None]]:
    """Key and new value of each change that we know how to make."""
    for change in changes:
        if change.kind is ChangeKind.EDIT:
            yield (change.name, EDIT), None
        elif change.kind is ChangeKind.KNOB:
            old, new = literal(change.old), literal(change.new)
            if old is not None and new is not None:
                yield (change.name, way_of(old, new).value), new


def _weigh(evidence: Evidence, state: ExperimentState, verdict: Verdict, ages: dict[ExperimentId, int]) -> None:
    experiment = state.experiment
    kept_here = verdict.decision is Decision.KEEP and experiment.id in ages
    age = ages[experiment.id] if kept_here else ages.get(verdict.champion, len(ages))
    crashed = verdict.decision is Decision.CRASH
    probability = 0.0 if crashed else chance_of(verdict)
    known = list(keyed(experiment.changes))
    weight = FADING**age / max(1, len(experiment.changes))
    for key, value in known:
        evidence.tries[key[0]] = evidence.tries.get(key[0], 0.0) + weight
        if probability >= HOPEFUL:
            evidence.paid.add(key)
        if len(experiment.changes) == 1:
            _bound(evidence, key, value, crashed=crashed)
    racing = verdict.decision is Decision.RETEST and age == 0  # its race may go on
    near = not crashed and not racing and probability >= 0.5 and experiment.id not in ages
    if near and experiment.changes:
        again = experiment.plan.emitter == RECOMBINED and len(experiment.changes) > 1
        evidence.near.append(Near(experiment.id, experiment.changes, probability, stacked=again, age=age))


def _bound(evidence: Evidence, key: Key, value: Value | None, *, crashed: bool) -> None:
    """What a single change says about where crashes begin."""
    if not crashed and value is not None:
        evidence.ran.setdefault(key, []).append(value)
    if crashed and value is not None:
        evidence.crashed.setdefault(key, []).append(value)
    elif crashed:
        evidence.crashed_edits.add(key[0])


def _reaches(value: Value, bad: Value, way: Way) -> bool:
    """Whether going that way one meets `bad` at or before `value`."""
    if way is Way.SWITCH or isinstance(value, str) or isinstance(bad, str):
        return value == bad
    return value >= bad if way is Way.UP else value <= bad
