"""How well forecasts held: what was stored before each run against what the judge made of it afterwards.

The truth is never known, so the judge's posterior stands for it: the Brier score (Brier 1950) is the expected squared
difference between the chance that was foretold and "better" under the verdict's probability. A forecaster who always
says the emitter's own mean scores `even`; a lower score than that is skill. Scores are shown to people and never to
who forecasts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import fmean

from nightlab.history import ExperimentState
from nightlab.search.archive import chance_of
from nightlab.search.credit import INTERVAL
from nightlab.search.niches import emitter_of
from nightlab.types import EMITTERS, Decision, Forecast, Verdict

INSIDE = 1.96  # standard deviations: 95 % of what is foretold


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """One emitter's forecasts, or everybody's."""

    emitter: str  # "" for all together
    scored: int
    foretold: float  # mean chance of being better
    better: float  # mean probability of it by the verdicts
    brier: float  # expected squared error of the chance; lower is better
    even: float  # the same for always saying the mean
    inside: float | None  # share of the gains that lay within the 95 % that was foretold; None: no gain is known


def calibration(states: Iterable[ExperimentState]) -> tuple[Calibration, ...]:
    """The emitters whose forecasts were scored, in their usual order, then all together; empty before there are any."""
    scored = [
        (emitter_of(state.experiment), state.experiment.plan.forecast, state.verdict)
        for state in states
        if state.experiment.plan.forecast is not None and state.verdict is not None and state.verdict.decision.is_final
    ]
    if not scored:
        return ()
    known = [(name, forecast, verdict) for name, forecast, verdict in scored if forecast is not None and verdict]
    rows = [_row(name, [(f, v) for who, f, v in known if who == name]) for name in EMITTERS]
    return (*(row for row in rows if row is not None), *filter(None, [_row("", [(f, v) for _, f, v in known])]))


def _row(emitter: str, cases: list[tuple[Forecast, Verdict]]) -> Calibration | None:
    if not cases:
        return None
    came = [0.0 if verdict.decision is Decision.CRASH else chance_of(verdict) for _, verdict in cases]
    mean = fmean(came)
    return Calibration(
        emitter=emitter,
        scored=len(cases),
        foretold=fmean(forecast.chance for forecast, _ in cases),
        better=mean,
        brier=fmean(_score(forecast.chance, true) for (forecast, _), true in zip(cases, came, strict=True)),
        even=fmean(_score(mean, true) for true in came),
        inside=_inside(cases),
    )


def _score(said: float, true: float) -> float:
    return true * (1.0 - said) ** 2 + (1.0 - true) * said**2


def _inside(cases: list[tuple[Forecast, Verdict]]) -> float | None:
    """The verdict's own interval widens what was foretold: its gain is an estimate too."""
    hits = [
        abs(v.gain - f.gain) <= INSIDE * math.hypot(f.deviation, (v.high - v.low) / INTERVAL)
        for f, v in cases
        if v.gain is not None and v.low is not None and v.high is not None
    ]
    return fmean(hits) if hits else None
