"""What went otherwise than foretold, and stacks that failed: parts of them are worth a look."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import islice

from nightlab.history import ExperimentState, History
from nightlab.search.archive import is_idea
from nightlab.search.credit import INTERVAL
from nightlab.types import Decision, ExperimentId

SURPRISES = 8  # latest surprises that are followed
SURPRISED = 2.0  # standard deviations between what was foretold and what came
LATEST = 60  # settled experiments that surprises are looked for in


def surprises(history: History, base: ExperimentId) -> list[ExperimentId]:
    """The latest such experiments on the line of `base`, latest first."""
    settled = [state for state in history.line_of(base) if is_idea(state.experiment)]
    return list(islice(surprising(reversed(settled[-LATEST:])), SURPRISES))


def surprising(states: Iterable[ExperimentState]) -> Iterator[ExperimentId]:
    """Those of the experiments, in their order."""
    return (state.experiment.id for state in states if has_surprised(state) or is_failed_stack(state))


def is_failed_stack(state: ExperimentState) -> bool:
    """Whether it put several changes together, taken over from others, and was not kept."""
    plan, verdict = state.experiment.plan, state.verdict
    lost = verdict is not None and verdict.decision in (Decision.DISCARD, Decision.CRASH)
    return lost and len(plan.parents) > 0 and len(state.experiment.changes) > 1


def has_surprised(state: ExperimentState) -> bool:
    """Whether what came of an experiment is far from what was foretold of it."""
    verdict, forecast = state.verdict, state.experiment.plan.forecast
    if verdict is None or not verdict.decision.is_final or forecast is None:
        return False
    if verdict.decision is Decision.CRASH:
        return forecast.crash < 0.5
    if verdict.gain is None or verdict.low is None or verdict.high is None:
        return False
    spread = math.hypot(forecast.deviation, (verdict.high - verdict.low) / INTERVAL)
    return abs(verdict.gain - forecast.gain) > SURPRISED * spread
