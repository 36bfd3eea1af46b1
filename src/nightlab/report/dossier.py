"""All that is known of one experiment, for `nightlab show`: the names by which it is asked for, and its nouns."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from nightlab.audit import Discovery, strict_test
from nightlab.config import Settings
from nightlab.decide import describe_failure
from nightlab.errors import NotFoundError
from nightlab.history import ExperimentState, History, RunState
from nightlab.ledger.mirrors import COPIED_LOG, Mirrors
from nightlab.report.levels import Levels
from nightlab.report.summary import outcome_of, status_of
from nightlab.report.words import iso
from nightlab.runner.order import RunFiles
from nightlab.types import Conditions, Finished, Forecast, Lost, RunId, StoppedEarly, Verdict

_SHORTEST = 3  # characters from which a prefix counts as a name


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSheet:
    """One run of the experiment."""

    run: str
    seed: int
    purpose: str
    outcome: str
    metric: float | None
    because: str  # why there is no metric, or what a finished run was spared
    status: str | None  # what its author said of it, if it was written down by hand
    device: str
    started_at: str
    ended_at: str | None
    wall_s: float | None
    cpu_s: float | None
    conditions: Conditions | None  # of its device; its `trouble` says why the run is not believed
    memory_mb: float | None
    steps: int | None
    throughput: float | None
    params_m: float | None
    directory: str
    log: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictSheet:
    """One look of the judge, oldest first."""

    decision: str
    champion: str
    champion_number: int
    gain: float | None
    low: float | None
    high: float | None
    probability: float | None
    runs: int
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    experiment: str
    number: int
    description: str
    status: str
    is_champion: bool
    standing: str
    mean: float | None
    low: float | None
    high: float | None
    hypothesis: str
    family: str
    tags: tuple[str, ...]
    emitter: str
    proposer: str  # a model or an agent; "": the built-in search, or a person
    repairs: str | None  # the crashed experiment that it mends
    brief: str
    forecast: Forecast | None
    changes: tuple[str, ...]
    source_hash: str
    commit: str
    parent_commit: str | None
    parent: str | None
    parent_number: int | None
    proposed_at: str
    asked_for: str | None  # the run that was asked for, if it was one
    runs: tuple[RunSheet, ...]
    verdicts: tuple[VerdictSheet, ...]
    strict: Discovery | None  # what the strict test says of it; None: no runs were compared, or it is no idea
    patch: str


def dossier(history: History, settings: Settings, state: ExperimentState, asked: RunState | None) -> Dossier:
    """Put together what the ledger knows."""
    e = state.experiment
    arm = Levels(history, settings).arm(e.id)
    return Dossier(
        experiment=e.id,
        number=state.number,
        description=e.description,
        status=status_of(history, state),
        is_champion=history.champion == e.id,
        standing=arm.standing,
        mean=arm.mean,
        low=arm.low,
        high=arm.high,
        hypothesis=e.hypothesis,
        family=e.family,
        tags=e.tags,
        emitter=e.plan.emitter,
        proposer=e.plan.proposer,
        repairs=e.plan.repairs,
        brief=e.plan.brief,
        forecast=e.plan.forecast,
        changes=tuple(str(change) for change in e.changes),
        source_hash=e.source_hash,
        commit=e.commit,
        parent_commit=e.parent_commit,
        parent=e.parent,
        parent_number=history.state(e.parent).number if e.parent in history.experiments else None,
        proposed_at=iso(state.proposed_at),
        asked_for=asked.run.id if asked else None,
        runs=tuple(_run(settings, run) for run in state.runs),
        verdicts=tuple(_verdict(history, verdict) for verdict in state.verdicts),
        strict=strict_test(history, settings).get(e.id),
        patch=e.patch,
    )


def _run(settings: Settings, state: RunState) -> RunSheet:
    metrics = getattr(state.outcome, "metrics", None)
    directory, log = places(settings, state.run.id, by_hand=state.logged is not None)
    return RunSheet(
        run=state.run.id,
        seed=state.run.seed,
        purpose=state.run.purpose.value,
        outcome=outcome_of(state),
        metric=state.value,
        because=_why(state),
        status=state.logged.status if state.logged else None,
        device=state.run.environment.device,
        started_at=iso(state.started_at),
        ended_at=iso(state.ended_at) if state.ended_at is not None else None,
        wall_s=state.usage.wall_s if state.usage else None,
        cpu_s=state.usage.cpu_s if state.usage else None,
        conditions=state.conditions,
        memory_mb=metrics.memory_mb if metrics else None,
        steps=metrics.steps if metrics else None,
        throughput=metrics.throughput if metrics else None,
        params_m=metrics.params_m if metrics else None,
        directory=str(directory),
        log=str(log),
    )


def places(settings: Settings, run: str, *, by_hand: bool) -> tuple[Path, Path]:
    """Where a run's files lie, and its log among them; one that was written down by hand left copies."""
    if by_hand:
        copies = Mirrors(settings.root).run(RunId(run))
        return copies, copies / COPIED_LOG
    files = RunFiles(settings.runs / run)
    return files.directory, files.log


def _why(state: RunState) -> str:
    if isinstance(state.outcome, Lost | StoppedEarly):
        return state.outcome.reason
    if isinstance(state.outcome, Finished) and state.outcome.spared is not None:
        return f"let finish as an audit: {state.outcome.spared.reason}"
    return "" if state.outcome is None or state.value is not None else describe_failure(state)


def _verdict(history: History, verdict: Verdict) -> VerdictSheet:
    return VerdictSheet(
        decision=verdict.decision.value,
        champion=verdict.champion,
        champion_number=history.state(verdict.champion).number,
        gain=verdict.gain,
        low=verdict.low,
        high=verdict.high,
        probability=verdict.probability,
        runs=verdict.runs_used,
        because=verdict.because,
    )


# --- names ------------------------------------------------------------------------------------------------------


def look_up(history: History, name: str) -> tuple[ExperimentState, RunState | None]:
    """The experiment that `name` means, and the run if it names one.

    A name is `champion`, `baseline`, an experiment's number (12 or #12), or the beginning of a run's id, an
    experiment's id, a commit or a source hash, as long as it means one thing only.

    Raises:
        NotFoundError: it means nothing, or several things.
    """
    asked = name.strip()
    special = {"champion": history.champion, "baseline": history.night.began.baseline if history.night else None}
    if (word := special.get(asked.lower())) is not None:
        return history.state(word), None
    number = asked.removeprefix("#")
    if number.isascii() and number.isdigit():
        for state in history.experiments.values():
            if state.number == int(number):
                return state, None
    for key, run in history.runs.items():
        if key == asked:
            return history.state(run.run.experiment), run
    return _by_prefix(history, asked)


def _by_prefix(history: History, asked: str) -> tuple[ExperimentState, RunState | None]:
    found: dict[str, tuple[ExperimentState, RunState | None]] = {}
    if len(asked) >= _SHORTEST:
        for key, run in history.runs.items():
            if key.startswith(asked):
                found[key] = history.state(run.run.experiment), run
        for state in history.experiments.values():
            e = state.experiment
            names = (e.id, e.commit, e.source_hash, e.source_hash.partition(":")[2])
            if any(n.startswith(asked) for n in names):
                found[e.id] = state, None
    if asked in history.experiments:
        found = {asked: (history.experiments[asked], None)}  # type: ignore[index]  # checked the line above
    if not found:
        raise NotFoundError(f"no run or experiment is called {asked!r}", hint=_close(history, asked))
    if len(found) > 1:
        several = ", ".join(sorted(found)[:4]) + (", ..." if len(found) > 4 else "")
        raise NotFoundError(f"{asked!r} means {len(found)} things: {several}", hint="give more of the name")
    return next(iter(found.values()))


def _close(history: History, asked: str) -> str:
    names: list[str] = [*history.runs, *history.experiments, "champion", "baseline"]
    close = get_close_matches(asked, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return "`nightlab runs` lists them all; a number such as 12 names an experiment"
