"""One night in memory: `decide` asks, a site answers. What the loop does with git and processes, without them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from nightlab import decide, early
from nightlab.config import Settings
from nightlab.history import History
from nightlab.types import (
    Again,
    Bounds,
    Change,
    Conditions,
    Curve,
    Decision,
    Ended,
    Environment,
    Event,
    Exhausted,
    Experiment,
    ExperimentId,
    Judged,
    NightBegan,
    NightEnded,
    NightId,
    Outcome,
    Plan,
    Proposed,
    Recorded,
    Run,
    RunId,
    Started,
    Usage,
    Verdict,
)

SLOT_S = 300.0  # of the virtual clock; nothing depends on it
ROUNDING = 1e-6  # slots: a run that ends with the night belongs to it, however its hours are rounded
BASELINE = ExperimentId("baseline")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one run."""

    outcome: Outcome
    slots: float  # that it took
    conditions: Conditions | None = None
    curve: Curve | None = None


class Site(Protocol):
    """Where a simulated night happens: what ideas there are, and what runs give."""

    @property
    def device(self) -> str:
        """Where the next run happens."""
        ...

    def propose(self, base: ExperimentId) -> Experiment | Again | Exhausted:
        """One idea on top of `base`, or a settled one to be run again."""
        ...

    def without(self, link: ExperimentId, champion: ExperimentId) -> Experiment | None:
        """The champion without the change of one of its links; None if that cannot be made."""
        ...

    def run(self, run: Run, at: float, bounds: Bounds | None) -> Answer:
        """Execute a run that starts at `at` (slots since the night began)."""
        ...


def experiment(
    name: str,
    parent: ExperimentId | None,
    emitter: str = "sim",
    *,
    changes: tuple[Change, ...] = (),
    without: ExperimentId | None = None,
) -> Experiment:
    """An experiment without a source."""
    return Experiment(
        id=ExperimentId(name),
        source_hash=name,
        commit=name,
        parent_commit=parent,
        parent=parent,
        description=name,
        patch="",
        plan=Plan(emitter=emitter, without=without),
        changes=changes,
    )


class Night:
    """A lab in memory, one run at a time."""

    def __init__(self, site: Site, settings: Settings) -> None:
        self.history = History()
        self.at = 0.0  # slots since the night began
        self._curves: dict[RunId, Curve] = {}
        self._unbuildable: set[ExperimentId] = set()
        self._site, self._settings = site, settings

    def play(self, slots: float, *, ideas: int | None = None) -> History:
        """The night from its baseline to its end.

        Args:
            slots: full runs that the search may take; the final block comes on top.
            ideas: at most so many, where that ends the night sooner.
        """
        final = 2 * self._settings.judge.final_runs
        hours = (slots + final + ROUNDING) * SLOT_S / 3600  # `decide` keeps the final block back
        self._tell(Proposed(experiment=experiment(BASELINE, None, "baseline")))
        self._tell(NightBegan(night=NightId("n1"), seed=0, ideas=ideas, hours=hours, baseline=BASELINE))
        done = self._work()
        self._tell(NightEnded(night=NightId("n1"), reason=done.reason))
        return self.history

    def _work(self) -> decide.Done:
        exhausted = False
        while True:
            while due := decide.due(self.history):
                self._rule(decide.judge(self.history, self._settings, due[0]))
            now = self.at * SLOT_S
            step = decide.next_step(
                self.history, self._settings, now=now, exhausted=exhausted, unbuildable=self._unbuildable
            )
            if isinstance(step, decide.Done):
                return step
            if isinstance(step, decide.Propose):
                assert self.history.champion is not None
                answer = self._site.propose(self.history.champion)
                if isinstance(answer, Exhausted):
                    exhausted = True
                elif isinstance(answer, Again):
                    self._rule(decide.retest(self.history, self._settings, answer.experiment, answer.because))
                else:
                    self._tell(Proposed(experiment=answer))
            elif isinstance(step, decide.Ablate):
                self._leave_out(step.link)
            elif isinstance(step, decide.Execute):
                self._execute(step)
            else:
                raise AssertionError("nothing runs, so there is nothing to wait for")

    def _rule(self, verdict: Verdict) -> None:
        self._tell(Judged(verdict=verdict))
        if verdict.decision is Decision.KEEP:
            self._unbuildable.clear()

    def _leave_out(self, link: ExperimentId) -> None:
        assert self.history.champion is not None
        made = self._site.without(link, self.history.champion)
        if made is None or made.id in self.history.experiments:
            self._unbuildable.add(link)
        else:
            self._tell(Proposed(experiment=made))

    def _execute(self, step: decide.Execute) -> None:
        run = Run(
            id=RunId(f"r{len(self.history.runs) + 1}"),
            experiment=step.experiment,
            seed=step.seed,
            purpose=step.purpose,
            slot=0,
            limit_s=2 * SLOT_S,
            command=(),
            environment=Environment(device=self._site.device, machine="simulated", python="", platform=""),
            night=NightId("n1"),
        )
        bounds = early.bounds(self.history, self._settings, run.experiment, run.seed, run.purpose, self._curves.get)
        self._tell(Started(run=run))
        answer = self._site.run(run, self.at, bounds)
        if answer.curve is not None:
            self._curves[run.id] = answer.curve
        self.at += answer.slots
        usage = Usage(wall_s=answer.slots * SLOT_S, cpu_s=answer.slots * SLOT_S)
        self._tell(Ended(run=run.id, outcome=answer.outcome, usage=usage, conditions=answer.conditions))

    def _tell(self, event: Event) -> None:
        self.history.apply(Recorded(seq=self.history.seq + 1, at=self.at * SLOT_S, event=event))
