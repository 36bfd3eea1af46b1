"""One night in memory: `decide` asks, a site answers. What the loop does with git and processes, without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from nightlab import decide
from nightlab.config import Settings
from nightlab.history import History
from nightlab.types import (
    Conditions,
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
)

SLOT_S = 300.0  # of the virtual clock; nothing depends on it
ENVIRONMENT = Environment(device="sim:0", machine="simulated", python="", platform="")
BASELINE = ExperimentId("baseline")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one run."""

    outcome: Outcome
    slots: float  # that it took
    conditions: Conditions | None = None


class Site(Protocol):
    """Where a simulated night happens: what ideas there are, and what runs give."""

    def propose(self, base: ExperimentId) -> Experiment | Exhausted:
        """One idea on top of `base`."""
        ...

    def run(self, run: Run, at: float, history: History) -> Answer:
        """Execute a run that starts at `at` (slots since the night began)."""
        ...


def experiment(name: str, parent: ExperimentId | None, emitter: str = "sim") -> Experiment:
    """An experiment without a source."""
    return Experiment(
        id=ExperimentId(name),
        source_hash=name,
        commit=name,
        parent_commit=parent,
        parent=parent,
        description=name,
        patch="",
        plan=Plan(emitter=emitter),
    )


class Night:
    """A lab in memory, one run at a time."""

    def __init__(self, site: Site, settings: Settings) -> None:
        self.history = History()
        self.at = 0.0  # slots since the night began
        self._site, self._settings = site, settings

    def play(self, slots: float, *, ideas: int | None = None) -> History:
        """The night from its baseline to its end.

        Args:
            slots: full runs that the search may take; the final block comes on top.
            ideas: at most so many, where that ends the night sooner.
        """
        final = 2 * self._settings.judge.final_runs
        hours = (slots + final) * SLOT_S / 3600  # `decide` keeps the final block back
        self._tell(Proposed(experiment=experiment(BASELINE, None, "baseline")))
        self._tell(NightBegan(night=NightId("n1"), seed=0, ideas=ideas, hours=hours, baseline=BASELINE))
        done = self._work()
        self._tell(NightEnded(night=NightId("n1"), reason=done.reason))
        return self.history

    def _work(self) -> decide.Done:
        exhausted = False
        while True:
            while due := decide.due(self.history):
                self._tell(Judged(verdict=decide.judge(self.history, self._settings, due[0])))
            step = decide.next_step(self.history, self._settings, now=self.at * SLOT_S, exhausted=exhausted)
            if isinstance(step, decide.Done):
                return step
            if isinstance(step, decide.Propose):
                assert self.history.champion is not None
                answer = self._site.propose(self.history.champion)
                if isinstance(answer, Exhausted):
                    exhausted = True
                else:
                    self._tell(Proposed(experiment=answer))
            elif isinstance(step, decide.Execute):
                self._execute(step)
            else:
                raise AssertionError("nothing runs, so there is nothing to wait for")

    def _execute(self, step: decide.Execute) -> None:
        run = Run(
            id=RunId(f"r{len(self.history.runs) + 1}"),
            experiment=step.experiment,
            seed=step.seed,
            purpose=step.purpose,
            slot=0,
            limit_s=2 * SLOT_S,
            command=(),
            environment=ENVIRONMENT,
            night=NightId("n1"),
        )
        self._tell(Started(run=run))
        answer = self._site.run(run, self.at, self.history)
        self.at += answer.slots
        usage = Usage(wall_s=answer.slots * SLOT_S, cpu_s=answer.slots * SLOT_S)
        self._tell(Ended(run=run.id, outcome=answer.outcome, usage=usage, conditions=answer.conditions))

    def _tell(self, event: Event) -> None:
        self.history.apply(Recorded(seq=self.history.seq + 1, at=self.at * SLOT_S, event=event))


Progress = Callable[[int], None]
