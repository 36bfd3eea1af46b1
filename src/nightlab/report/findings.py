"""What a stretch of time taught: ideas kept, nearly proven, clearly worse, failed. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from nightlab import ablation, decide, judging
from nightlab.config import Settings
from nightlab.history import ExperimentState, History, RunState
from nightlab.judge import race
from nightlab.ledger.records import Told
from nightlab.report.levels import Levels
from nightlab.report.nouns import LabSummary
from nightlab.report.summary import outcome_of, status_of, summarise
from nightlab.types import Crashed, Decision, ExperimentId, Lost, Purpose, StoppedEarly, TimedOut, Voided

SHOWN = 5  # entries of a list that somebody skims


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An idea with what the judge said of it last."""

    experiment: str
    number: int
    description: str
    hypothesis: str
    runs: int
    gain: float | None
    low: float | None
    high: float | None
    probability: float | None
    against: int  # number of the champion it was compared with
    against_is_champion: bool  # whether that one still is
    runs_needed: int | None = None  # more runs that would prove it, if its estimate is right


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Runs that ended without a metric in the same way."""

    what: str
    runs: int
    experiments: tuple[int, ...]  # their numbers, without repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Doubt:
    """Runs that are not believed for the same reason; they decide nothing and are made again."""

    why: str
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    summary: LabSummary
    since_hours: float
    tried: int  # ideas with a run that ended in the window
    last_activity: float | None  # UTC seconds
    kept: tuple[Finding, ...]  # oldest first
    open: tuple[Finding, ...]  # not proven, the most promising first
    worse: tuple[Finding, ...]  # clearly worse, the largest effects first
    failures: tuple[Failure, ...]  # the most frequent first
    doubts: tuple[Doubt, ...]  # the most frequent first


def find(
    history: History,
    settings: Settings,
    now: float,
    since_hours: float,
    branch: str | None = None,
    told: Told | None = None,
    levels: Levels | None = None,
) -> Findings:
    """What the last `since_hours` taught.

    Args:
        history: the lab's own runs.
        settings: the lab.
        now: UTC seconds since the epoch.
        since_hours: length of the window.
        branch: where promotions really go, if not to the settings' branch.
        told: what is known by somebody's word only.
        levels: of this history and `told`, if they are worked out already.
    """
    summary = summarise(history, settings, now, told, levels)
    if branch is not None:
        summary = replace(summary, branch=branch)
    start = now - 3600 * since_hours
    recent = [s for s in history.experiments.values() if (last_moment(s) or 0.0) >= start]
    ideas = [
        s
        for s in recent
        if status_of(history, s) not in ("baseline", "recorded") and not ablation.is_removal(s.experiment)
    ]
    taken_back = _taken_back(history)
    ended = [r for r in history.runs.values() if r.ended_at is not None and r.run.purpose is not Purpose.VERIFY]
    fresh = [r for r in ended if (r.ended_at or 0.0) >= start]
    return Findings(
        summary=summary,
        since_hours=since_hours,
        tried=len(ideas),
        last_activity=max((r.ended_at for r in ended if r.ended_at is not None), default=None),
        kept=tuple(_finding(history, s) for s in ideas if _is_kept(s) and s.experiment.id not in taken_back),
        open=_open(history, settings, ideas),
        worse=_worse(history, ideas),
        failures=_failures(history, [r for r in fresh if r.is_believed]),
        doubts=tuple(Doubt(why=why, runs=n) for why, n in Counter(r.trouble for r in fresh if r.trouble).most_common()),
    )


def last_moment(state: ExperimentState) -> float | None:
    """When an experiment's last run ended."""
    return max((r.ended_at for r in state.runs if r.ended_at is not None), default=None)


def _is_kept(state: ExperimentState) -> bool:
    return state.verdict is not None and state.verdict.decision is Decision.KEEP


def _taken_back(history: History) -> set[ExperimentId]:
    """Champions of the latest night's line that somebody has taken back by hand."""
    if history.night is None:
        return set()
    baseline = history.night.began.baseline
    stands = {baseline, *(link.experiment for link in history.links(baseline))}
    return {step.experiment for step in history.steps(baseline)} - stands


def _finding(history: History, state: ExperimentState, needed: int | None = None) -> Finding:
    # What the race said when it was kept: one that came back by hand has a later verdict, without numbers.
    verdict = next((v for v in state.verdicts if v.decision is Decision.KEEP), state.verdict)
    assert verdict is not None
    return Finding(
        experiment=state.experiment.id,
        number=state.number,
        description=state.experiment.description,
        hypothesis=state.experiment.hypothesis,
        runs=verdict.runs_used,
        gain=verdict.gain,
        low=verdict.low,
        high=verdict.high,
        probability=verdict.probability,
        against=history.state(verdict.champion).number,
        against_is_champion=verdict.champion == history.champion,
        runs_needed=needed,
    )


def _open(history: History, settings: Settings, ideas: Sequence[ExperimentState]) -> tuple[Finding, ...]:
    """Ideas that look better and are not proven: still in the race, or dropped because their runs were used up."""

    def rank(state: ExperimentState) -> tuple[bool, float]:
        assert state.verdict is not None
        return state.verdict.champion != history.champion, -(state.verdict.probability or 0.0)

    near = [
        s
        for s in ideas
        if s.verdict and (s.verdict.decision is Decision.RETEST or race.is_near_miss(s.verdict, settings.judge))
    ]
    rows = judging.rows(history, settings) if near else []
    comparable = {state.experiment.id for state in history.line}
    measured = {row.arm for row in rows}
    found = []
    for state in sorted(near, key=rank)[:SHOWN]:
        assert state.verdict is not None
        sides = (state.experiment.id, state.verdict.champion)
        needed = (
            race.runs_needed(*sides, rows, decide.thresholds(history, settings))
            if comparable.issuperset(sides) and measured.issuperset(sides)
            else None
        )
        found.append(_finding(history, state, needed))
    return tuple(found)


def _worse(history: History, ideas: Sequence[ExperimentState]) -> tuple[Finding, ...]:
    """Clear losses, the largest first, one for each thing changed: a knob that hurts this much is one that matters."""
    losses = [s for s in ideas if s.verdict and s.verdict.high is not None and s.verdict.high < 0]
    losses.sort(key=lambda s: (s.verdict.gain if s.verdict and s.verdict.gain is not None else 0.0, s.number))
    found: dict[str, ExperimentState] = {}
    for state in losses:
        changes = state.experiment.changes
        found.setdefault(changes[0].name if changes else state.experiment.description, state)
    return tuple(_finding(history, state) for state in list(found.values())[:SHOWN])


def _failures(history: History, runs: Sequence[RunState]) -> tuple[Failure, ...]:
    groups: dict[str, list[RunState]] = {}
    for run in runs:
        if run.value is None and not isinstance(run.outcome, StoppedEarly):
            groups.setdefault(_kind(run), []).append(run)
    found = []
    for what, members in groups.items():
        numbers = dict.fromkeys(history.state(run.run.experiment).number for run in members)
        found.append(Failure(what=what, runs=len(members), experiments=tuple(numbers)))
    return tuple(sorted(found, key=lambda failure: -failure.runs))


def _kind(run: RunState) -> str:
    """What the failure has in common with others like it."""
    outcome = run.outcome
    if isinstance(outcome, Crashed):
        return outcome.signature or outcome.summary
    if isinstance(outcome, TimedOut):
        return f"still running at its limit of {outcome.limit_s / 60:g} minutes"
    if isinstance(outcome, Voided):
        return f"changed a protected file: {', '.join(outcome.paths)}"
    if isinstance(outcome, Lost):
        return f"lost: {outcome.reason}"
    return outcome_of(run)
