"""What each way of proposing has earned, and what it has used: a fold over a history. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from nightlab.history import ExperimentState, History
from nightlab.search.niches import emitter_of
from nightlab.types import Verdict


@dataclass(frozen=True, slots=True)
class Credit:
    """Where an emitter stood at a moment: sums since the lab began."""

    at: float  # UTC, seconds since the epoch
    emitter: str
    gain: float  # that was promoted: posterior means, units of the metric, positive is better
    minutes: float  # of its ideas' runs, repeats included
    runs: int


def credit_over_time(history: History) -> list[Credit]:
    """Each emitter's account whenever it changed, oldest first.

    An emitter pays for every run of its ideas that was meant to decide something, whoever asked for the run, and earns
    the gain of each verdict that kept one of them, at that verdict. Baselines are nobody's idea; runs that still go on
    cost nothing yet. A promotion is dated by the last run that ended before it, the newest that its idea had.
    """
    moments: list[tuple[float, int, str, float, float, int]] = []
    for state in history.experiments.values():
        if state.experiment.parent is None:
            continue
        emitter = emitter_of(state.experiment)
        for run in state.runs:
            if run.ended_at is not None and run.ended_seq is not None and run.run.purpose.steers:
                minutes = run.usage.wall_s / 60 if run.usage is not None else 0.0
                moments.append((run.ended_at, run.ended_seq, emitter, 0.0, minutes, 1))
    for verdict in history.promotions:
        state = history.state(verdict.experiment)
        if verdict.gain is not None and state.experiment.parent is not None:
            at, seq = _moment(state, verdict)
            moments.append((at, seq, emitter_of(state.experiment), verdict.gain, 0.0, 0))
    sums: dict[str, tuple[float, float, int]] = defaultdict(lambda: (0.0, 0.0, 0))
    found = []
    for at, _, emitter, gain, minutes, runs in sorted(moments):
        before = sums[emitter]
        sums[emitter] = (before[0] + gain, before[1] + minutes, before[2] + runs)
        found.append(Credit(at, emitter, *sums[emitter]))
    return found


def _moment(state: ExperimentState, verdict: Verdict) -> tuple[float, int]:
    """When an idea was kept: at the end of its newest run that the verdict can have seen."""
    newest = verdict is state.verdict
    ends = [
        (run.ended_at, run.ended_seq)
        for run in state.runs
        if run.ended_at is not None and run.ended_seq is not None and run.run.purpose.steers
        if not newest or run.ended_seq < state.judged_seq
    ]
    at, seq = max(ends, key=lambda end: end[1], default=(state.proposed_at, 0))
    return at, seq
