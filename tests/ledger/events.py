"""Hypothesis strategies: every kind of event, and whole logs that make sense."""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st

from nightlab.types import (
    Change,
    ChangeKind,
    Consulted,
    Crashed,
    Decision,
    Disputed,
    Ended,
    Environment,
    Event,
    Experiment,
    ExperimentId,
    Finished,
    Forecast,
    Judged,
    Logged,
    Lost,
    Metrics,
    NightBegan,
    NightEnded,
    NightId,
    Noted,
    Outcome,
    Plan,
    Proposed,
    Purpose,
    Run,
    RunId,
    Started,
    StoppedEarly,
    TimedOut,
    Unranked,
    Usage,
    Verdict,
    Voided,
)

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)  # any text but half surrogate pairs
names = st.text("abcdefghij0123456789-", min_size=1, max_size=8)
reals = st.floats(allow_nan=False, allow_infinity=False)
counts = st.integers(0, 2**53)
texts = st.lists(words, max_size=3).map(tuple)

metrics = st.builds(
    Metrics,
    primary=reals,
    memory_mb=st.none() | reals,
    steps=st.none() | counts,
    throughput=st.none() | reals,
    params_m=st.none() | reals,
    extra=st.dictionaries(words, reals, max_size=3),
)
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Finished, metrics=metrics, spared=st.none() | st.builds(StoppedEarly, reason=words, fraction=reals)),
    st.builds(Crashed, summary=words, exit_code=st.none() | st.integers(-64, 255), signature=words, tail=texts),
    st.builds(TimedOut, limit_s=reals),
    st.builds(StoppedEarly, reason=words, fraction=st.none() | reals, behind=st.none() | reals),
    st.builds(Lost, reason=words),
    st.builds(Voided, paths=texts),
    st.builds(Disputed, because=words, printed=st.none() | reals, receipt=st.none() | reals),
)
usages = st.builds(Usage, wall_s=reals, cpu_s=reals)
forecasts = st.builds(Forecast, gain=reals, deviation=reals, chance=reals, crash=reals, model=words)
plans = st.builds(
    Plan,
    emitter=words,
    brief=words,
    niche=words,
    phase=words,
    forecast=st.none() | forecasts,
    cites=texts,
    parents=st.lists(names.map(ExperimentId), max_size=2).map(tuple),
    seeds=st.integers(1, 9),
    proposer=st.sampled_from(["", "openai:small", "agent"]),
    repairs=st.none() | names.map(ExperimentId),
)
changes = st.builds(Change, kind=st.sampled_from(ChangeKind), name=words, old=words, new=words)
environments = st.builds(
    Environment,
    device=words,
    machine=words,
    python=words,
    platform=words,
    versions=st.dictionaries(words, words, max_size=2),
    dirty=st.booleans(),
)


def experiments(name: str, parent: str | None) -> st.SearchStrategy[Experiment]:
    return st.builds(
        Experiment,
        id=st.just(ExperimentId(name)),
        source_hash=st.just(f"nl1:{name}"),
        commit=names,
        parent_commit=st.none() | names,
        parent=st.just(ExperimentId(parent) if parent else None),
        description=words,
        patch=words,
        plan=plans,
        hypothesis=words,
        family=words,
        tags=texts,
        changes=st.lists(changes, max_size=2).map(tuple),
    )


def runs(name: str, experiment: str) -> st.SearchStrategy[Run]:
    return st.builds(
        Run,
        id=st.just(RunId(name)),
        experiment=st.just(ExperimentId(experiment)),
        seed=st.integers(0, 2**31),
        purpose=st.sampled_from(Purpose),
        slot=st.integers(-1, 7),
        limit_s=reals,
        command=texts,
        environment=environments,
        night=st.none() | names.map(NightId),
    )


def verdicts(experiment: str, champion: str) -> st.SearchStrategy[Verdict]:
    sides = st.sampled_from([None, ExperimentId(experiment), ExperimentId(champion)])
    return st.builds(
        Verdict,
        experiment=st.just(ExperimentId(experiment)),
        champion=st.just(ExperimentId(champion)),
        decision=st.sampled_from(Decision),
        because=words,
        gain=st.none() | reals,
        low=st.none() | reals,
        high=st.none() | reals,
        probability=st.none() | st.floats(0, 1),
        runs_used=st.integers(0, 99),
        replicate=sides,
    )


nights_began = st.builds(
    NightBegan,
    night=names.map(NightId),
    seed=st.integers(-(2**63), 2**63 - 1),
    ideas=st.none() | counts,
    hours=st.none() | reals,
    baseline=st.just(ExperimentId("e0")),
)
notes = st.builds(Noted, topic=words, text=words)
consultations = st.builds(
    Consulted,
    proposer=st.sampled_from(["openai:small", "agent"]),
    purpose=words,
    seconds=reals,
    tokens_in=counts,
    tokens_out=counts,
    estimated=st.booleans(),
    money=reals,
    failure=words,
    cut_off=st.booleans(),
    note=words,
    log=words,
)

single_events: st.SearchStrategy[Event] = st.one_of(
    st.builds(Proposed, experiment=experiments("e0", None)),
    st.builds(Started, run=runs("r0", "e0")),
    st.builds(Ended, run=names.map(RunId), outcome=outcomes, usage=usages),
    st.builds(Judged, verdict=verdicts("e1", "e0")),
    nights_began,
    st.builds(NightEnded, night=names.map(NightId), reason=words),
    st.builds(Logged, run=names.map(RunId), status=words, branch=words, mode=words, notes=words),
    st.builds(Unranked, runs=st.lists(names.map(RunId), max_size=3).map(tuple)),
    notes,
    consultations,
)
"""One event of each kind; on their own they need not make sense together."""


@st.composite
def logs(draw: st.DrawFn, max_size: int = 30) -> list[Event]:
    """Events as a lab may have recorded them: nothing ends that has not begun."""
    events: list[Event] = [Proposed(experiment=draw(experiments("e0", None)))]
    known, running, over = ["e0"], list[str](), list[str]()
    night: NightBegan | None = None
    nights = 0
    for index in range(draw(st.integers(0, max_size))):
        kind = draw(st.sampled_from(["propose", "start", "end", "judge", "night", "log", "note", "consult"]))
        if kind == "propose":
            name = f"e{len(known)}"
            events.append(Proposed(experiment=draw(experiments(name, draw(st.sampled_from(known))))))
            known.append(name)
        elif kind == "start":
            running.append(f"r{index}")
            events.append(Started(run=draw(runs(f"r{index}", draw(st.sampled_from(known))))))
        elif kind == "end" and running:
            over.append(running.pop(draw(st.integers(0, len(running) - 1))))
            events.append(Ended(run=RunId(over[-1]), outcome=draw(outcomes), usage=draw(usages)))
        elif kind == "judge":
            events.append(Judged(verdict=draw(verdicts(draw(st.sampled_from(known)), draw(st.sampled_from(known))))))
        elif kind == "night" and night is None:
            nights += 1
            night = dataclasses.replace(draw(nights_began), night=NightId(f"n{nights}"))
            events.append(night)
        elif kind == "night" and night is not None:
            events.append(NightEnded(night=night.night, reason=draw(words)))
            night = None
        elif kind == "log" and over:
            events.append(Logged(run=RunId(over.pop()), status=draw(words), notes=draw(words)))
        elif kind == "note":
            events.append(draw(notes))
        elif kind == "consult":
            events.append(draw(consultations))
    return events
