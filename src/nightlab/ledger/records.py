"""Runs as one flat list, each with what its author or the judge said of it, and how they stand to each other.

This is the view that hand-kept ledgers have always had: one row a run, the best kept value is the champion. It decides
nothing here: the loop builds on its own, proven champion.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nightlab.history import ExperimentState, History, RunState
from nightlab.types import Crashed, Decision, Finished, Metrics, Purpose, RunId, Verdict, is_infrastructure

KEEP, DISCARD, CRASH = "keep", "discard", "crash"
STATUSES = (CRASH, DISCARD, KEEP)
SHORT = 7  # hex digits of a commit that are shown
_SETTLED = {Decision.KEEP: KEEP, Decision.DISCARD: DISCARD, Decision.CRASH: CRASH}
_COUNTS = (Purpose.BASELINE, Purpose.IDEA, Purpose.REPLICATE, Purpose.TRY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run with a result that somebody stands for."""

    run: RunId
    seq: int
    by_hand: bool
    commit: str  # short
    parent: str | None  # short
    status: str
    description: str
    hypothesis: str
    family: str
    tags: tuple[str, ...]
    source_hash: str  # "" where the lab had no editable file
    metrics: Metrics | None
    crash: Crashed | None = None
    branch: str = ""
    notes: str = ""
    mode: str = ""
    threshold: float = 0.0
    log: str = ""
    summary: str = ""
    read: Mapping[str, str] = field(default_factory=dict)
    error_source: str = ""
    dirty: bool = False

    @property
    def value(self) -> float | None:
        return self.metrics.primary if self.metrics else None

    @property
    def stamp(self) -> str:
        """When it was recorded: 2026-03-11T04:30:00Z, as the run's name says."""
        day, time = self.run[:8], self.run[9:15]
        return f"{day[:4]}-{day[4:6]}-{day[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}Z"


def records(history: History) -> list[Record]:
    """All runs that count, oldest first: those written down by hand, and the lab's own once they are decided."""
    found = []
    for state in history.runs.values():
        experiment = history.state(state.run.experiment)
        if state.logged is not None:
            found.append(_by_hand(state, experiment))
        elif state.run.purpose in _COUNTS and (status := _status(state, experiment, history)):
            found.append(_by_lab(state, experiment, status))
    return found


def _by_hand(state: RunState, experiment: ExperimentState) -> Record:
    said = state.logged
    assert said is not None
    return Record(
        run=state.run.id,
        seq=state.seq,
        by_hand=True,
        commit=said.commit[:SHORT],
        parent=said.parent_commit[:SHORT] if said.parent_commit else None,
        status=said.status,
        description=said.description,
        hypothesis=said.hypothesis,
        family=said.family,
        tags=said.tags,
        source_hash=_source(experiment),
        metrics=state.outcome.metrics if isinstance(state.outcome, Finished) else None,
        crash=state.outcome if isinstance(state.outcome, Crashed) else None,
        branch=said.branch,
        notes=said.notes,
        mode=said.mode,
        threshold=said.threshold,
        log=said.log,
        summary=said.summary,
        read=said.read,
        error_source=said.error_source,
        dirty=state.run.environment.dirty,
    )


def _source(experiment: ExperimentState) -> str:
    return experiment.experiment.source_hash if experiment.experiment.patch else ""


def _status(state: RunState, experiment: ExperimentState, history: History) -> str | None:
    """What has become of one of the lab's own runs; None while that is open."""
    if state.outcome is None or is_infrastructure(state.outcome):
        return None
    if not isinstance(state.outcome, Finished):
        return CRASH
    if any(night.began.baseline == experiment.experiment.id for night in history.nights):
        return KEEP
    return _SETTLED.get(experiment.verdict.decision) if experiment.verdict else None


def _by_lab(state: RunState, experiment: ExperimentState, status: str) -> Record:
    idea = experiment.experiment
    verdict: Verdict | None = experiment.verdict
    crash = state.outcome if isinstance(state.outcome, Crashed) else None
    if status == CRASH and crash is None:
        crash = Crashed(summary=verdict.because if verdict else f"ended as {type(state.outcome).__name__}")
    return Record(
        run=state.run.id,
        seq=state.seq,
        by_hand=False,
        commit=idea.commit[:SHORT],
        parent=idea.parent_commit[:SHORT] if idea.parent_commit else None,
        status=status,
        description=idea.description,
        hypothesis=idea.hypothesis,
        family=idea.family,
        tags=idea.tags,
        source_hash=_source(experiment),
        metrics=state.outcome.metrics if isinstance(state.outcome, Finished) and status != CRASH else None,
        crash=crash,
        notes=verdict.because if verdict else "",
        dirty=state.run.environment.dirty,
    )


# --- standing ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Runs whose commits descend from one root."""

    root: str
    best: Record
    runs: int
    commits: int
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Who leads, who follows, and from which roots."""

    champion: Record | None
    challengers: tuple[Record, ...]
    lineages: tuple[Lineage, ...]
    roots: Mapping[RunId, str]


def champion_of(found: Iterable[Record], sign: int) -> Record | None:
    """The best value among kept runs, else among all that have one; the earliest of equals.

    Args:
        found: the runs.
        sign: of the metric's direction, as in `Direction.sign`.
    """
    ranked = ranking(found, sign)
    return next((r for r in ranked if r.status == KEEP), ranked[0] if ranked else None)


def ranking(found: Iterable[Record], sign: int) -> list[Record]:
    """Runs with a value, the best first."""
    valued = [(sign * r.value, r.stamp, r.seq, r) for r in found if r.value is not None]
    return [r for *_, r in sorted(valued, key=lambda row: row[:3])]


def standing(found: Sequence[Record], sign: int, *, challengers: int, lineages: int) -> Standing:
    """How the runs stand to each other, with so many challengers and lineages at most."""
    ranked, champion = ranking(found, sign), champion_of(found, sign)
    roots = lineage_roots(found)
    groups: dict[str, list[Record]] = {}
    for record in ranked:
        groups.setdefault(roots[record.run], []).append(record)
    lines = [
        Lineage(
            root=root,
            best=group[0],
            runs=len(group),
            commits=len({r.commit for r in group}),
            kept=sum(r.status == KEEP for r in group),
        )
        for root, group in groups.items()
    ]
    lines.sort(key=lambda line: (sign * (line.best.value or 0.0), -line.runs))
    rest = [r for r in ranked if champion is None or r.run != champion.run]
    return Standing(
        champion=champion, challengers=tuple(rest[:challengers]), lineages=tuple(lines[:lineages]), roots=roots
    )


def lineage_roots(found: Iterable[Record]) -> dict[RunId, str]:
    """For each run the first ancestor of its commit that is not on record, else the last one that is."""
    rows = list(found)
    parents = {r.commit: r.parent for r in rows}  # the last record of a commit wins
    known: dict[str, str] = {}

    def root_of(commit: str) -> str:
        path, here = {commit: None}, commit
        while here not in known:
            parent = parents.get(here)
            if parent is None or parent in path:
                break
            here = parent
            path[here] = None
        root = known.get(here, here)
        if parents.get(here) not in path:  # a loop has no root of its own: each start keeps what it reached
            known.update(dict.fromkeys(path, root))
        return root

    return {r.run: root_of(r.commit) for r in rows}
