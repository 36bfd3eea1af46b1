"""The archive: the best experiment of each niche, near misses, stepping stones, and what crashes. Pure.

An elite is best by the judge's posterior: the gain over its champion as the verdict states it, plus the gains of the
promotions that led from the baseline to that champion. A single lucky value makes nobody an elite.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nightlab.history import ExperimentState, History, RunState
from nightlab.search.knobs import literal
from nightlab.search.moves import Way, way_of
from nightlab.search.niches import Survey, kind_of_change
from nightlab.search.phases import is_near_miss
from nightlab.types import (
    Change,
    ChangeKind,
    Crashed,
    Decision,
    Disputed,
    Elite,
    Experiment,
    ExperimentId,
    Niche,
    TimedOut,
    Verdict,
    Voided,
)

NEAR_MISSES = 12  # the latest that are kept (surface contract 2.1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoFly:
    """A way to crash: one signature under one kind of change, on one base."""

    signature: str
    change: str  # "DEPTH up", "swiglu", "attention by hand"
    kind: str  # of change
    base: ExperimentId  # the champion that it was a change of, the last time
    experiments: tuple[ExperimentId, ...]  # that crashed so, oldest first; the last is the example
    last_seen: float  # UTC seconds since the epoch
    has_expired: bool  # the base has changed since: it may fly again

    @property
    def count(self) -> int:
        return len(self.experiments)

    @property
    def example(self) -> ExperimentId:
        return self.experiments[-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """What the search may build on, seen from `base`."""

    base: ExperimentId | None  # None: no night has begun
    elites: tuple[Elite, ...] = ()  # best first
    near_misses: tuple[ExperimentId, ...] = ()  # oldest first
    stones: tuple[ExperimentId, ...] = ()  # elites besides the base's chain that may be as good as the base, best first
    no_fly: tuple[NoFly, ...] = ()  # most frequent first


def archive(history: History, base: ExperimentId | None = None, survey: Survey | None = None) -> Archive:
    """The archive of the line that `base` (the champion, unless another is named) lies on.

    Args:
        history: folded up to now.
        base: the experiment that the next idea starts from.
        survey: niches that were reckoned already, of the same history.
    """
    base = base if base is not None else history.champion
    if base is None or base not in history.experiments:
        return Archive(base=None)
    survey = survey or Survey(history)
    levels = levels_of(history)
    root = history.state(base).root
    best: dict[Niche, Elite] = {}
    reach: dict[ExperimentId, float] = {}  # up to which gain over the baseline an experiment's interval goes
    near: list[ExperimentId] = []
    for state in history.experiments.values():
        verdict, experiment = state.verdict, state.experiment
        if state.root != root or not is_idea(experiment) or verdict is None or verdict.decision is Decision.CRASH:
            continue
        niche = survey.niche(experiment.id)
        elite = _elite(niche, experiment.id, verdict, levels)
        before = best.get(niche)
        count = before.count + 1 if before is not None else 1
        best[niche] = replace(elite if before is None or _rank(elite) > _rank(before) else before, count=count)
        if elite.gain is not None and verdict.gain is not None and verdict.high is not None:
            reach[experiment.id] = elite.gain - verdict.gain + verdict.high
        if is_near_miss(state):
            near.append(experiment.id)
    elites = tuple(sorted(best.values(), key=_rank, reverse=True))
    chain = history.made_of(base)
    level = levels.get(base, 0.0)
    stones = (e.experiment for e in elites if e.experiment not in chain and reach.get(e.experiment, level - 1) >= level)
    return Archive(
        base=base,
        elites=elites,
        near_misses=tuple(near[-NEAR_MISSES:]),
        stones=tuple(stones),
        no_fly=no_fly(history, base),
    )


def is_idea(experiment: Experiment) -> bool:
    """Whether it is a change that somebody proposed: no baseline, and no removal, which undoes one."""
    return experiment.parent is not None and experiment.plan.without is None


def levels_of(history: History) -> dict[ExperimentId, float]:
    """Each champion's gain over the baseline of its line: the sum of its links' gains, units of the metric."""
    levels: dict[ExperimentId, float] = {}
    for verdict in history.promotions:
        below = levels.setdefault(verdict.champion, 0.0)
        levels.setdefault(verdict.experiment, below + (verdict.gain or 0.0))  # one that is put back is where it was
    return levels


def chance_of(verdict: Verdict) -> float:
    """P(better than its champion), as the verdict has it; what a person decided counts as certain."""
    if verdict.probability is not None:
        return verdict.probability
    return 1.0 if verdict.decision is Decision.KEEP else 0.0


def _elite(niche: Niche, name: ExperimentId, verdict: Verdict, levels: dict[ExperimentId, float]) -> Elite:
    gain = None if verdict.gain is None else levels.get(verdict.champion, 0.0) + verdict.gain
    return Elite(niche=niche, experiment=name, probability=chance_of(verdict), gain=gain, count=1)


def _rank(elite: Elite) -> tuple[bool, float, float]:
    """By posterior gain over the baseline, then by chance; the first of equals stays."""
    return elite.gain is not None, elite.gain or 0.0, elite.probability


# --- crashes ----------------------------------------------------------------------------------------------------


def no_fly(history: History, base: ExperimentId) -> tuple[NoFly, ...]:
    """Crashes by signature and change on the line of `base`: the most frequent first, the latest of equals."""
    root = history.state(base).root
    found: dict[tuple[str, str], NoFly] = {}
    for state in history.experiments.values():
        verdict = state.verdict
        if state.root != root or verdict is None or verdict.decision is not Decision.CRASH:
            continue
        signature, at = crash_of(state)
        change = change_of(state.experiment)
        before = found.get((signature, change))
        found[signature, change] = NoFly(
            signature=signature,
            change=change,
            kind=_kind(state.experiment),
            base=verdict.champion,
            experiments=(*(before.experiments if before is not None else ()), state.experiment.id),
            last_seen=at,
            has_expired=verdict.champion != base,
        )
    return tuple(sorted(found.values(), key=lambda p: (p.has_expired, -p.count, -p.last_seen, p.signature, p.change)))


def crash_of(state: ExperimentState) -> tuple[str, float]:
    """Signature and moment of an experiment's latest failure; ("", 0) where none of its runs failed."""
    for run in reversed(state.runs):
        if run.run.purpose.steers and run.is_believed and (signature := failure_of(run)):
            return signature, run.ended_at or 0.0
    return "", 0.0


def failure_of(run: RunState) -> str:
    """How a run failed, without what differs from run to run; "" where it did not, or the machine was to blame."""
    outcome = run.outcome
    if isinstance(outcome, Crashed):
        return outcome.signature or outcome.summary or "unknown"
    if isinstance(outcome, TimedOut):
        return "timed out"
    if isinstance(outcome, Voided):
        return "changed protected files"
    return "disputed by its receipt" if isinstance(outcome, Disputed) else ""


def change_of(experiment: Experiment) -> str:
    """What an experiment changed in its parent, without sizes: "DEPTH up", "swiglu", "attention by hand"."""
    return " + ".join(sorted({named(change, experiment.patch) for change in experiment.changes})) or "unknown change"


def named(change: Change, patch: str = "") -> str:
    """A change without its size, as claims and no-fly patterns speak of it."""
    if change.kind is ChangeKind.EDIT:
        return change.name
    if change.kind is ChangeKind.FREE:
        return f"{kind_of_change(change, patch)} by hand"
    old, new = literal(change.old), literal(change.new)
    if old is None or new is None:
        return f"{change.name} changed"
    way = way_of(old, new)
    return f"{change.name} changed" if way is Way.SWITCH else f"{change.name} {way}"


def _kind(experiment: Experiment) -> str:
    kinds = {kind_of_change(change, experiment.patch) for change in experiment.changes}
    return next(iter(kinds)) if len(kinds) == 1 else "mixed"
