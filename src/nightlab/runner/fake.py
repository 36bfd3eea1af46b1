"""A backend that runs nothing: for the simulator's contract test, for tests, and for trying out a loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from nightlab.errors import BackendError
from nightlab.types import (
    Bounds,
    Conditions,
    Curve,
    Ended,
    Environment,
    Finished,
    Outcome,
    Run,
    RunId,
    StoppedEarly,
    Usage,
)

Respond = Callable[[Run, str], Outcome | None]
Trace = Callable[[Run, str], Curve]
Record = Callable[[Ended], object]


class FakeBackend:
    """Answers each run by a function.

    Args:
        respond: the outcome of a run of a commit; None: it is still running, ask again at the next poll.
        record: takes each ending, once.
        places: devices of the parallel places.
        usage: what each run is said to have cost.
        conditions: how each run found its device; None, or an answer of None: nobody looked.
        trace: the whole curve that a run of a commit takes, which its bounds are held against before it is asked for
            its outcome.
    """

    def __init__(
        self,
        respond: Respond,
        record: Record,
        *,
        places: tuple[str, ...] = ("cpu:0",),
        usage: Usage | None = None,
        conditions: Callable[[Run], Conditions | None] = lambda run: None,
        trace: Trace = lambda run, commit: Curve(()),
    ) -> None:
        self._respond, self._record, self._places, self._trace = respond, record, places, trace
        self._conditions = conditions
        self._usage = usage or Usage(wall_s=0.0, cpu_s=0.0)
        self._jobs: dict[RunId, FakeJob] = {}

    @property
    def places(self) -> tuple[str, ...]:
        return self._places

    def environment(self, slot: int) -> Environment:
        return Environment(device=self._places[slot], machine="fake", python="0", platform="fake")

    def start(self, run: Run, commit: str, bounds: Bounds | None = None) -> FakeJob:
        """Take a run; its outcome is decided when the job is polled.

        Raises:
            BackendError: this run was started before.
        """
        if run.id in self._jobs:
            raise BackendError(f"run {run.id} was started before", hint="each run is started once")
        self._jobs[run.id] = FakeJob(
            run.id,
            lambda: self._answer(run, commit, bounds or Bounds()),
            lambda outcome: self._end(run, outcome),
        )
        return self._jobs[run.id]

    def _answer(self, run: Run, commit: str, bounds: Bounds) -> Outcome | None:
        found = bounds.given_up(self._trace(run, commit))
        if found is not None and not bounds.spared:
            return found
        outcome = self._respond(run, commit)
        return replace(outcome, spared=found) if isinstance(outcome, Finished) else outcome

    def is_alive(self, run: RunId) -> bool:
        """Whether the run was started here and is not over."""
        return run in self._jobs and not self._jobs[run].is_over

    def stop(self, run: RunId, reason: str) -> None:
        """End a run as stopped."""
        if run in self._jobs:
            self._jobs[run].cancel(reason)

    def clear(self, run: RunId) -> None:
        """Nothing is ever left behind."""

    def _end(self, run: Run, outcome: Outcome) -> None:
        self._record(Ended(run=run.id, outcome=outcome, usage=self._usage, conditions=self._conditions(run)))


class FakeJob:
    """A run that exists only in what it answers."""

    def __init__(self, run: RunId, respond: Callable[[], Outcome | None], end: Callable[[Outcome], None]) -> None:
        self._run, self._respond, self._end_run = run, respond, end
        self.is_over = False

    @property
    def run(self) -> RunId:
        return self._run

    def poll(self) -> bool:
        """Whether the ending is recorded."""
        if not self.is_over:
            self._end(self._respond())
        return self.is_over

    def cancel(self, reason: str = "stopped by the operator") -> None:
        """End at once as stopped; nothing happens if it is over."""
        if not self.is_over:
            self._end(StoppedEarly(reason=reason))

    def _end(self, outcome: Outcome | None) -> None:
        if outcome is not None:
            self.is_over = True
            self._end_run(outcome)
