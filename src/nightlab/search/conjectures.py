"""What the lab's runs say of each kind of change: claims with an effect, its interval, and who contradicts. Pure.

Derived from the history alone, so every run updates them and the same history makes the same claims.

An effect is the random-effects mean of its experiments' verdict gains, shrunk to no effect:

    weight_i = 1 / (s_i^2 + tau^2)        s_i: the verdict's standard deviation, a quarter of its interval (3.92)
    mean     = sum(weight * gain) / (sum(weight) + 1 / omega^2)
    variance = 1 / (sum(weight) + 1 / omega^2)

tau^2, how much experiments of one kind differ among themselves, is DerSimonian and Laird's moment estimator (1986,
Controlled Clinical Trials 7) with a mean for each kind, pooled over all knobs and edits, and over all lanes: none
alone has enough experiments. omega^2, how far kinds reach, is the moment estimator of empirical Bayes (Efron and
Morris 1975, JASA 70). Gains are winsorised at three robust deviations: a run that diverged says "bad", not how bad
the next one will be.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median

from nightlab.history import ExperimentState, History
from nightlab.search.archive import change_of, is_idea, named, no_fly
from nightlab.search.niches import UNCLEAR, Survey, emitter_of, kind_of_changes
from nightlab.search.phases import stall
from nightlab.types import NO_SLOT, ChangeKind, Conjecture, Decision, ExperimentId, Verdict

PLATEAU_CLAIM = "plateau"
PLATEAU = 5  # experiments without a promotion that are a plateau (surface contract 2.4)
ENOUGH = 2  # experiments that make a claim; a single one only where its interval excludes "no effect" (2.4)
TWO_SIDED = 1.96  # standard deviations on each side of a 95 % interval
OUTLYING = 3.0  # robust standard deviations beyond which a gain counts no further
ROBUST = 1.4826  # makes a median of absolute values a standard deviation of a normal
DIGITS = 12  # significant ones of an effect: sums differ in the last bits


@dataclass(slots=True)
class _Case:
    """One experiment as evidence."""

    experiment: ExperimentId
    gain: float | None  # None: given up early, or crashed with nothing to say but "bad"
    error: float


@dataclass(slots=True)
class _Group:
    """Experiments that made one kind of change in one context."""

    change: str
    context: str
    is_lane: bool  # whether it holds changes of many kinds, which differ more among themselves
    cases: list[_Case] = field(default_factory=list)

    @property
    def measured(self) -> list[tuple[float, float]]:
        return [(case.gain, case.error) for case in self.cases if case.gain is not None]


@dataclass(frozen=True, slots=True)
class _Scales:
    """How far effects reach in this lab, on the level of knobs and edits or of lanes; units of the metric."""

    between: float  # tau^2, within a kind
    reach: float  # omega^2, over kinds
    most: float  # gains beyond count no further


def conjectures(
    history: History, base: ExperimentId | None = None, survey: Survey | None = None
) -> tuple[Conjecture, ...]:
    """The claims that the history makes of the line that `base` (the champion, unless named) lies on.

    Surest first, then what crashes, then a plateau. A change is a knob's way ("MATRIX_LR up"), an edit ("swiglu"), all
    changes of a kind ("optimizer changes"), or all of an emitter ("ideas by simplifier"). Only single changes speak
    of knobs and edits: nobody can say which of several did it.

    Args:
        history: folded up to now.
        base: the experiment that the next idea starts from.
        survey: niches that were reckoned already, of the same history.
    """
    base = base if base is not None else history.champion
    if base is None or base not in history.experiments:
        return ()
    survey = survey or Survey(history)
    groups: dict[tuple[str, str], _Group] = {}
    for state in history.line_of(base):
        if is_idea(state.experiment) and (case := _case(state)) is not None:
            context = context_of(state)
            for change, is_lane in _changes(state, survey):
                groups.setdefault((change, context), _Group(change, context, is_lane)).cases.append(case)
    claims: list[Conjecture] = []
    for is_lane in (True, False):
        level = [group for group in groups.values() if group.is_lane is is_lane]
        scales = _scales(level)
        claims += (claim for group in level if (claim := _claim(group, scales)) is not None)
    claims.sort(key=lambda claim: (-_strength(claim), claim.id))
    return (*claims, *_crashes(history, base), *_plateau(history, base))


def context_of(state: ExperimentState) -> str:
    """Where an experiment was seen: kind of device, and the baseline, whose identity holds budget and profile too."""
    devices = [run.run.environment.device for run in state.runs if run.run.slot != NO_SLOT]
    return _context(devices[0] if devices else "", state.root)


def _context(device: str, root: ExperimentId | None) -> str:
    kind = device.partition(":")[0] or "any device"
    return f"{kind}, baseline {root}"


def conjecture_id(change: str, context: str) -> str:
    """`c` and six hex digits of what is claimed of; the same claim keeps its name whatever is learnt."""
    return "c" + hashlib.sha256(f"{change}\0{context}".encode()).hexdigest()[:6]


# --- evidence ---------------------------------------------------------------------------------------------------


def _case(state: ExperimentState) -> _Case | None:
    """What an experiment's verdict says; None where there is none yet, or it crashed (that is a claim of its own)."""
    verdict = state.verdict
    if verdict is None or verdict.decision is Decision.CRASH:
        return None
    error = error_of(verdict)
    if verdict.gain is None or error is None:
        stopped = any(run.outcome is not None and run.value is None for run in state.runs)
        return _Case(state.experiment.id, None, 0.0) if verdict.decision is Decision.DISCARD and stopped else None
    return _Case(state.experiment.id, verdict.gain, error)


def error_of(verdict: Verdict) -> float | None:
    """Standard deviation of a verdict's gain, units of the metric; None where it has no interval."""
    if verdict.low is None or verdict.high is None or verdict.high <= verdict.low:
        return None
    return (verdict.high - verdict.low) / (2 * TWO_SIDED)


def _changes(state: ExperimentState, survey: Survey) -> Iterator[tuple[str, bool]]:
    """What an experiment is evidence of, and whether that is a lane."""
    experiment = state.experiment
    kind = kind_of_changes(experiment.changes, experiment.patch)
    if kind != UNCLEAR:
        yield f"{kind} changes", True
    if survey.niche(experiment.id).code == "shrinking":
        yield "less code", True
    yield f"ideas by {emitter_of(experiment)}", True
    if len(experiment.changes) == 1 and experiment.changes[0].kind is not ChangeKind.FREE:
        yield named(experiment.changes[0]), False


# --- effects ----------------------------------------------------------------------------------------------------


def _scales(groups: list[_Group]) -> _Scales:
    """tau^2 and omega^2 of one level; omega at least a verdict's usual error, below which nothing can be told apart."""
    every = {case.experiment: case for group in groups for case in group.cases if case.gain is not None}
    if not every:
        return _Scales(0.0, 1.0, math.inf)
    error = median(case.error for case in every.values())
    spread = median(abs(case.gain) for case in every.values() if case.gain is not None)
    most = OUTLYING * max(ROBUST * spread, error)
    excess, freedom, scale = 0.0, 0, 0.0
    means: list[tuple[float, float]] = []  # of each kind: mean, variance
    for group in groups:
        pairs = [(1 / (s * s), _clipped(g, most)) for g, s in group.measured]
        if not pairs:
            continue
        total = sum(w for w, _ in pairs)
        mean = sum(w * g for w, g in pairs) / total
        means.append((mean, 1 / total))
        excess += sum(w * (g - mean) ** 2 for w, g in pairs)
        freedom += len(pairs) - 1
        scale += total - sum(w * w for w, _ in pairs) / total
    between = max(0.0, (excess - freedom) / scale) if scale > 0.0 else 0.0
    reach = sum(mean * mean - variance for mean, variance in means) / len(means)
    return _Scales(between, max(reach, error * error), most)


def _clipped(gain: float, most: float) -> float:
    return min(max(gain, -most), most)


def _claim(group: _Group, scales: _Scales) -> Conjecture | None:
    """What a group says; None where that is nothing."""
    pairs = [(1 / (s * s + scales.between), _clipped(g, scales.most)) for g, s in group.measured]
    if not pairs:
        return None
    precision = sum(w for w, _ in pairs) + 1 / scales.reach
    mean = _rounded(sum(w * g for w, g in pairs) / precision)
    half = TWO_SIDED / math.sqrt(precision)
    low, high = _rounded(mean - half), _rounded(mean + half)
    if len(group.cases) < ENOUGH and low <= 0.0 <= high:
        return None
    support = [case.experiment for case in group.cases if _agrees(case, mean)]
    against = [case.experiment for case in group.cases if not _agrees(case, mean)]
    return Conjecture(
        id=conjecture_id(group.change, group.context),
        change=group.change,
        context=group.context,
        gain=mean,
        low=low,
        high=high,
        support=tuple(support),
        against=tuple(against),
    )


def _agrees(case: _Case, mean: float) -> bool:
    """Whether an experiment went the way that is claimed; what was given up early was worse."""
    return ((case.gain if case.gain is not None else -1.0) > 0.0) == (mean > 0.0)


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


def _strength(claim: Conjecture) -> float:
    """How many standard deviations the effect is from none."""
    assert claim.gain is not None and claim.low is not None and claim.high is not None
    return round(abs(claim.gain) / (claim.high - claim.low), 9)


# --- what crashes, and a plateau --------------------------------------------------------------------------------


def _crashes(history: History, base: ExperimentId) -> Iterator[Conjecture]:
    """No-fly patterns that more than one experiment has met; who made the same change there and ran contradicts."""
    patterns = [pattern for pattern in no_fly(history, base) if pattern.count >= ENOUGH]
    flew: dict[tuple[str, ExperimentId], list[ExperimentId]] = {(p.change, p.base): [] for p in patterns}
    for state in history.experiments.values() if patterns else ():
        verdict = state.verdict
        if verdict is not None and verdict.decision is not Decision.CRASH and is_idea(state.experiment):
            flew.get((change_of(state.experiment), verdict.champion), []).append(state.experiment.id)
    for pattern in patterns:
        change = f"crash: {pattern.signature or 'unknown'} ({pattern.change})"
        context = context_of(history.state(pattern.example))
        yield Conjecture(
            id=conjecture_id(change, context),
            change=change,
            context=context,
            gain=None,
            low=None,
            high=None,
            support=pattern.experiments,
            against=tuple(flew[pattern.change, pattern.base]),
            is_no_fly=True,
            has_expired=pattern.has_expired,
        )


def _plateau(history: History, base: ExperimentId) -> Iterator[Conjecture]:
    """That nothing was promoted for a while, with the experiments that were judged against the base."""
    if stall(history, base) < PLATEAU:
        return
    context = f"{_context('', history.state(base).root)}, on {base}"
    tried = (s for s in history.experiments.values() if s.verdict is not None and s.verdict.champion == base)
    yield Conjecture(
        id=conjecture_id(PLATEAU_CLAIM, context),
        change=PLATEAU_CLAIM,
        context=context,
        gain=None,
        low=None,
        high=None,
        support=tuple(state.experiment.id for state in tried if is_idea(state.experiment)),
        against=(),
    )
