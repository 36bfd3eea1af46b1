"""What the service answers: frozen, and the keys of the structured output that agents get.

Without slots: the MCP server takes the descriptors that slots leave in a class for defaults, and then gives no schema.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Edit:
    """A piece of one editable file, and what stands there instead."""

    path: str  # relative to the lab's root
    old: str  # occurs exactly once
    new: str


@dataclass(frozen=True, kw_only=True)
class Level:
    """An experiment with its posterior mean over all its runs, never its luckiest one."""

    experiment: str
    number: int  # 0 where only another ledger tells of it
    description: str
    mean: float | None  # units of the metric
    low: float | None  # 95 % interval
    high: float | None
    standing: str  # proven or provisional
    commit: str


@dataclass(frozen=True, kw_only=True)
class RunState:
    """One run of an experiment."""

    run: str
    seed: int
    state: str  # running, or how it ended
    metric: float | None
    share: float | None  # of its budget, while it goes on and says so
    because: str  # why there is no metric


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far an experiment is."""

    experiment: str
    number: int
    description: str
    state: str  # waiting, running, decided, or stopped by somebody before it was decided
    decision: str  # keep, discard, retest or crash; "" before the first verdict
    because: str  # the judge's sentence
    gain: float | None  # over the champion it was judged against, units of the metric, positive is better
    low: float | None  # 95 % interval
    high: float | None
    probability: float | None  # P(better)
    runs: tuple[RunState, ...]
    is_champion: bool
    review: str  # what its first run did and taught, once it has ended and somebody waits or asks for it
    note: str  # what is on record of the same change; "" if nothing
    next: str  # what to call now


@dataclass(frozen=True, kw_only=True)
class PlanNow:
    """What the search asks for next."""

    plan_id: str
    phase: str
    emitter: str
    niche: str
    hypothesis: str
    predicted_direction: str
    rationale: str
    champion: str  # what to build on
    avoid: tuple[str, ...]  # what crashes on this base
    prompt: str  # the same as one text for a model


@dataclass(frozen=True, kw_only=True)
class Context:
    """What somebody has to know who joins the lab now."""

    lab: str
    branch: str  # that is checked out
    metric: str
    direction: str  # minimize or maximize
    command: str  # how the lab runs an experiment
    editable: tuple[str, ...]
    protected: tuple[str, ...]
    phase: str
    is_worked: bool  # whether a process decides for this lab right now
    experiments: int
    champion: Level | None
    open: tuple[Progress, ...]  # experiments without their last verdict
    summary: str  # the same in words, with conjectures, elites and what crashes
    rules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Resembling:
    """A run on record that resembles an idea; the keys are those of `check --json`."""

    run_id: str
    commit: str
    category: str
    score: float
    relation: str
    same_idea: bool
    status: str
    val_bpb: float | None
    description: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Checked:
    """Whether an idea is on record; the keys are those of `check --json`."""

    classification: str
    decision: str  # allow, caution or block
    rationale: str
    mode: str
    threshold: float
    counts: dict[str, int]
    top_matches: tuple[Resembling, ...]


@dataclass(frozen=True, kw_only=True)
class WrittenDown:
    """A run that was made by hand and is on record now."""

    run: str
    status: str
    metric: float | None
    action: str  # what the judge says to do next
    priority: str
    summary: str
    standing: str  # of the champion that results: proven or provisional; "" if there is none


@dataclass(frozen=True, kw_only=True)
class Morning:
    """The morning report."""

    markdown: str
    shortened: bool  # whether the end was left out


@dataclass(frozen=True, kw_only=True)
class ChampionNow:
    """What is best now."""

    champion: Level | None
    because: str  # the sentence with which it was promoted
    gain: float | None  # over the night's baseline, on fresh seeds where there are any, else in the search
    low: float | None
    high: float | None
    on_fresh_seeds: bool
    branch: str  # where promotions lie
    patch: str  # from the night's baseline
    files: dict[str, str]  # its editable files, where they were asked for


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A conjecture: what changes of one kind do."""

    id: str
    sentence: str
    gain: float | None  # units of the metric, positive is better
    low: float | None
    high: float | None
    support: tuple[int, ...]  # numbers of experiments
    against: tuple[int, ...]
    is_no_fly: bool


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """All that is known of one experiment, bounded."""

    experiment: str
    number: int
    description: str
    hypothesis: str
    emitter: str
    changes: tuple[str, ...]
    status: str
    standing: str
    mean: float | None
    low: float | None
    high: float | None
    progress: Progress
    patch: str
    log_tail: str  # of the latest run: data, never instructions


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """What was asked to end."""

    was_worked: bool  # whether a process was deciding for this lab
    running: int  # runs under way at that moment
    was_autonomous: bool  # whether agents had been told to go on by themselves, and are told so no longer
    next: str
