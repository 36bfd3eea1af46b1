"""What the ledger's events add up to, held in memory.

A pure fold: the loop, the simulator and every view apply the same events to the same object and see the same lab. It
holds no judgement of its own; champion and standing follow from the verdicts that were recorded.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from nightlab.types import (
    NO_SLOT,
    Adopted,
    Conditions,
    Consulted,
    Decision,
    Ended,
    Event,
    Experiment,
    ExperimentId,
    Finished,
    Judged,
    Logged,
    NightBegan,
    NightEnded,
    NightId,
    Outcome,
    Proposed,
    Purpose,
    Recorded,
    Run,
    RunId,
    Started,
    Usage,
    Verdict,
)


def run_names(at: float, commit: str) -> Iterator[RunId]:
    """Names for a run of `commit` that starts at `at` (UTC, seconds since the epoch), to be tried in order.

    The shape is that of the older ledgers, 20260311T043000Z-abc1234; who finds it taken goes on with -2, -3 ...
    """
    stem = f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}-{commit[:7]}"
    yield RunId(stem)
    for attempt in itertools.count(2):
        yield RunId(f"{stem}-{attempt}")


@dataclass(slots=True)
class RunState:
    """A run and what is known of it so far."""

    run: Run
    started_at: float
    seq: int
    outcome: Outcome | None = None
    usage: Usage | None = None
    conditions: Conditions | None = None
    ended_at: float | None = None
    ended_seq: int | None = None
    logged: Logged | None = None

    @property
    def value(self) -> float | None:
        """The metric, if the run finished."""
        return self.outcome.metrics.primary if isinstance(self.outcome, Finished) else None

    @property
    def is_believed(self) -> bool:
        """Whether the device was fit to be measured on; a value from another one is on record and decides nothing."""
        return not self.trouble

    @property
    def trouble(self) -> str:
        """What was amiss with the device, so that the ending is not believed; "" if nothing was."""
        return self.conditions.trouble if self.conditions is not None else ""

    @property
    def speed(self) -> float | None:
        """Of the device around the run, in work per second of its probe; None if the value does not depend on it."""
        return self.conditions.speed if self.conditions is not None and self.conditions.timed else None


@dataclass(slots=True)
class ExperimentState:
    """An experiment with its runs and verdicts, oldest first."""

    experiment: Experiment
    proposed_at: float
    number: int  # 1 for the first experiment the lab knows
    runs: list[RunState] = field(default_factory=list)
    verdicts: list[Verdict] = field(default_factory=list)
    judged_seq: int = 0  # place of the last verdict in the log
    night: NightId | None = None  # the night that proposed it
    root: ExperimentId | None = None  # the baseline that its line of parents begins with

    @property
    def verdict(self) -> Verdict | None:
        return self.verdicts[-1] if self.verdicts else None

    @property
    def is_open(self) -> bool:
        """Whether it is an idea that has no final verdict yet."""
        verdict = self.verdict
        return self.experiment.parent is not None and (verdict is None or not verdict.decision.is_final)

    def finished(self, *purposes: Purpose) -> list[RunState]:
        """Finished runs whose value is believed, of the given purposes or of all."""
        finished = [r for r in self.runs if r.value is not None and r.is_believed]
        return [r for r in finished if not purposes or r.run.purpose in purposes]

    @property
    def is_running(self) -> bool:
        return any(r.outcome is None and r.run.slot != NO_SLOT for r in self.runs)


@dataclass(slots=True)
class NightState:
    """One night; `baseline` is what the night is measured against."""

    began: NightBegan
    at: float
    number: int
    ended: NightEnded | None = None
    ended_at: float | None = None


@dataclass(slots=True)
class Consultation:
    """A call of a model or an agent's work, and the idea that it was spent on."""

    said: Consulted
    at: float
    seq: int
    after: int  # experiments that the lab knew by then
    night: NightId | None = None  # in which it happened
    experiment: ExperimentId | None = None  # the proposer's next idea in that night; None: there is none (yet)


@dataclass(slots=True)
class History:
    """All events up to `seq`, folded."""

    seq: int = 0
    experiments: dict[ExperimentId, ExperimentState] = field(default_factory=dict)
    runs: dict[RunId, RunState] = field(default_factory=dict)
    running: dict[RunId, RunState] = field(default_factory=dict)
    nights: list[NightState] = field(default_factory=list)
    promotions: list[Verdict] = field(default_factory=list)  # KEEP verdicts, oldest first
    consulted: list[Consultation] = field(default_factory=list)  # oldest first

    @classmethod
    def fold(cls, events: Iterable[Recorded]) -> History:
        history = cls()
        for recorded in events:
            history.apply(recorded)
        return history

    def apply(self, recorded: Recorded) -> None:
        """Take in one event. Events must come in the order of their `seq`."""
        self.seq = recorded.seq
        event: Event = recorded.event
        if isinstance(event, Proposed):
            self.experiments[event.experiment.id] = ExperimentState(
                event.experiment,
                recorded.at,
                number=len(self.experiments) + 1,
                night=self._tonight,
                root=self._root(event.experiment.id, event.experiment.parent),
            )
            self._account(event.experiment)
        elif isinstance(event, Adopted):
            known = self.experiments[event.experiment]
            known.experiment = replace(
                known.experiment, parent=event.parent, plan=event.plan, description=event.description
            )
            known.root = self._root(event.experiment, event.parent)
        elif isinstance(event, Started):
            state = RunState(event.run, recorded.at, recorded.seq)
            self.runs[event.run.id] = self.running[event.run.id] = state
            self.experiments[event.run.experiment].runs.append(state)
        elif isinstance(event, Ended):
            state = self.runs[event.run]
            state.outcome, state.usage, state.conditions = event.outcome, event.usage, event.conditions
            state.ended_at, state.ended_seq = recorded.at, recorded.seq
            self.running.pop(event.run, None)
        elif isinstance(event, Logged):
            self.runs[event.run].logged = event
        elif isinstance(event, Judged):
            judged = self.experiments[event.verdict.experiment]
            judged.verdicts.append(event.verdict)
            judged.judged_seq = recorded.seq
            if event.verdict.decision is Decision.KEEP:
                self.promotions.append(event.verdict)
        elif isinstance(event, Consulted):
            self.consulted.append(
                Consultation(event, recorded.at, recorded.seq, after=len(self.experiments), night=self._tonight)
            )
        elif isinstance(event, NightBegan):
            self.nights.append(NightState(event, recorded.at, number=len(self.nights) + 1))
        elif isinstance(event, NightEnded):
            for night in self.nights:
                if night.began.night == event.night:
                    night.ended, night.ended_at = event, recorded.at

    @property
    def _tonight(self) -> NightId | None:
        """The night that is going on."""
        return self.night.began.night if self.night and self.night.ended is None else None

    def _account(self, experiment: Experiment) -> None:
        """What its proposer has cost in this night since its last idea was spent on this one."""
        tonight = self._tonight
        if experiment.plan.proposer and tonight is not None:
            for call in reversed(self.consulted):
                if call.night != tonight:
                    break
                if call.experiment is None and call.said.proposer == experiment.plan.proposer:
                    call.experiment = experiment.id

    def _root(self, experiment: ExperimentId, parent: ExperimentId | None) -> ExperimentId:
        above = self.experiments.get(parent) if parent is not None else None
        return experiment if above is None or above.root is None else above.root

    @property
    def line(self) -> list[ExperimentState]:
        """The experiments that the latest night's baseline can be compared with: those of one line of parents."""
        return [] if self.night is None else self.line_of(self.night.began.baseline)

    def line_of(self, baseline: ExperimentId) -> list[ExperimentState]:
        """The same for any experiment."""
        root = self.experiments[baseline].root
        return [state for state in self.experiments.values() if state.root == root]

    @property
    def night(self) -> NightState | None:
        """The latest night."""
        return self.nights[-1] if self.nights else None

    @property
    def champion(self) -> ExperimentId | None:
        """The proven champion of the latest night: its last promotion, else its baseline."""
        chain = self.chain
        return chain[-1] if chain else None

    @property
    def chain(self) -> list[ExperimentId]:
        """The latest night's baseline and every champion after it."""
        if self.night is None:
            return []
        baseline = self.night.began.baseline
        return [baseline, *(verdict.experiment for verdict in self.steps(baseline))]

    def steps(self, baseline: ExperimentId) -> list[Verdict]:
        """The promotions that lead from a baseline to its champion."""
        steps: list[Verdict] = []
        for verdict in self.promotions:
            if verdict.champion == (steps[-1].experiment if steps else baseline):
                steps.append(verdict)
        return steps

    def made_of(self, base: ExperimentId) -> list[ExperimentId]:
        """The base and the champions that led to it, latest first; what was taken back on the way is none of them."""
        before: dict[ExperimentId, ExperimentId] = {}
        seen: set[ExperimentId] = set()
        for verdict in self.promotions:
            if verdict.experiment not in seen:  # else an earlier champion was put back, which adds nothing
                before[verdict.experiment] = verdict.champion
            seen |= {verdict.champion, verdict.experiment}
        chain = [base]
        while (above := before.get(chain[-1])) is not None and above not in chain:
            chain.append(above)
        return chain

    def links(self, baseline: ExperimentId) -> list[Verdict]:
        """The same without those that were taken back: the promotions that the champion's source rests on.

        A promotion of an earlier champion takes back all since. One that is put back again is the link that it was.
        """
        path: list[Verdict] = []
        first: dict[ExperimentId, Verdict] = {}
        for verdict in self.steps(baseline):
            names = [baseline, *(link.experiment for link in path)]
            if verdict.experiment in names:
                path = path[: names.index(verdict.experiment)]
            else:
                path.append(first.setdefault(verdict.experiment, verdict))
        return path

    def state(self, experiment: ExperimentId) -> ExperimentState:
        return self.experiments[experiment]
