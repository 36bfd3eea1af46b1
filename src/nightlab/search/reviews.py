"""What each experiment did and taught, once its first run has ended. Pure; derived from the history, never stored.

The terms are the older control plane's (surface contract 2.3), with three differences. Fitness is the judge's chance
of being better, not the value of one run. What only describes is bounded, so that a promotion always scores above a
crash. And surprise is measured against the forecast that was stored before the run, where there is one. They describe;
what steers is the verdict, and an emitter's credit is its expected gain per minute.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

from nightlab.config import Settings
from nightlab.errors import NotFoundError
from nightlab.history import ExperimentState, History, RunState
from nightlab.search.archive import chance_of, failure_of, is_idea
from nightlab.search.conjectures import conjectures, error_of
from nightlab.search.niches import Survey, emitter_of
from nightlab.search.phases import STALLED, is_near_miss
from nightlab.search.source import code_lines
from nightlab.types import (
    Conjecture,
    Decision,
    Experiment,
    ExperimentId,
    Finished,
    Niche,
    Purpose,
    Review,
    Terms,
    Verdict,
    is_infrastructure,
)

MOVED = 3  # conjectures that a review tells of (2.3)
FITTEST = 2.0  # fitness of a sure gain: above all that a crash can teach, less all that a gain can cost
KEPT = 1.6  # of a promotion at the least, however boldly a lab keeps: a crash teaches 0.7 at most
COSTLIEST = 0.4  # complexity and memory at most take so much each, or a large true gain would count as a loss
CRASHED_SURPRISE = 0.15  # (2.3)

PREDICTED = {
    "local_tuner": "likely improve",
    "optimizer_hacker": "improve",
    "architecture_mutator": "risky",
    "simplifier": "flat",
    "contrarian": "uncertain",
    "recombinator": "improve",
    "anomaly_chaser": "uncertain",
}
"""What each emitter promises by its nature (2.2); a forecast says it better."""


def review(history: History, settings: Settings, experiment: ExperimentId) -> Review:
    """The review of one experiment, with the conjectures that it moved.

    Raises:
        NotFoundError: none of its runs has ended with something to review.
    """
    survey = Survey(history)
    for found in reviews(history, settings, survey):
        if found.experiment == experiment:
            root = history.state(experiment).root
            on_line = history.champion is not None and history.state(history.champion).root == root
            claims = conjectures(history, None if on_line else root, survey)
            return replace(found, conjectures=moved(claims).get(experiment, ()))
    raise NotFoundError(
        f"{experiment} has no run that has ended and says something of it",
        hint="`nightlab runs` lists what ran",
    )


def reviews(history: History, settings: Settings, survey: Survey | None = None) -> Iterator[Review]:
    """Every experiment's review, in the order in which their first runs ended; conjectures are left out.

    Args:
        history: folded up to now.
        settings: the lab, for the metric's direction.
        survey: niches that were reckoned already, of the same history.
    """
    told = _Told(settings.metric.direction.sign, survey or Survey(history))
    ended = [run for run in history.runs.values() if run.ended_seq is not None and _is_reviewed(run)]
    for run in sorted(ended, key=lambda run: run.ended_seq or 0):
        state = history.state(run.run.experiment)
        if run.run.experiment not in told.reviewed:
            told.reviewed.add(run.run.experiment)
            yield _review(state, run, told)
        told.value(state, run)


def newest(history: History) -> ExperimentId | None:
    """The experiment that was reviewed last; None before there is one."""
    first: dict[ExperimentId, int] = {}
    for run in history.runs.values():
        if run.ended_seq is not None and _is_reviewed(run):
            first[run.run.experiment] = min(run.ended_seq, first.get(run.run.experiment, run.ended_seq))
    return max(first, key=first.__getitem__, default=None)


def moved(claims: Iterable[Conjecture]) -> dict[ExperimentId, tuple[Conjecture, ...]]:
    """Experiment -> the claims that it speaks of, those of the fewest experiments first: it moved them the most."""
    found: dict[ExperimentId, list[Conjecture]] = {}
    for claim in sorted(claims, key=lambda claim: (claim.weight, claim.id)):
        for experiment in (*claim.support, *claim.against):
            told = found.setdefault(experiment, [])
            if len(told) < MOVED:
                told.append(claim)
    return {experiment: tuple(told) for experiment, told in found.items()}


def predicted(experiment: Experiment) -> str:
    """What its emitter promised by its nature; "" for what nobody of the search proposed."""
    return PREDICTED.get(emitter_of(experiment), "")


@dataclass(slots=True)
class _Told:
    """What was known before each run, told run by run."""

    sign: int
    survey: Survey
    reviewed: set[ExperimentId] = field(default_factory=set)
    best: dict[str, float] = field(default_factory=dict)  # line -> lowest loss
    first: dict[str, float] = field(default_factory=dict)  # line -> loss of its first run: the baseline's
    niches: Counter[Niche] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    emitters: Counter[str] = field(default_factory=Counter)
    signatures: set[str] = field(default_factory=set)
    stall: int = 0

    def value(self, state: ExperimentState, run: RunState) -> None:
        """Take in a run's value."""
        if run.value is not None:
            loss, line = self.sign * run.value, _line(state, run)
            self.first.setdefault(line, loss)
            self.best[line] = min(loss, self.best.get(line, math.inf))


def _is_reviewed(run: RunState) -> bool:
    """Whether the run may be an experiment's review: it says something of it, and chose or was somebody's own."""
    said = run.outcome is not None and not is_infrastructure(run.outcome) and run.is_believed
    return said and run.run.purpose not in (Purpose.FINAL, Purpose.VERIFY)


def _line(state: ExperimentState, run: RunState) -> str:
    """What a value may be compared with: its line of parents; runs by hand, which have none, with each other."""
    by_hand = run.run.purpose in (Purpose.EXEC, Purpose.LOG)
    return "by hand" if by_hand else str(state.root)


def _review(state: ExperimentState, run: RunState, told: _Told) -> Review:
    experiment, verdict = state.experiment, state.verdict
    niche, emitter, line = told.survey.niche(experiment.id), emitter_of(experiment), _line(state, run)
    loss = None if run.value is None else told.sign * run.value
    best, first = told.best.get(line), told.first.get(line)
    crash = "" if run.value is not None else failure_of(run)
    terms = _terms(state, run, told, niche, crash)
    found = Review(
        experiment=experiment.id,
        run=run.run.id,
        emitter=emitter,
        phase=experiment.plan.phase,
        niche=niche,
        summary="; ".join(str(change) for change in experiment.changes) or experiment.description,
        crash=crash,
        value=run.value,
        gain_vs_best=None if loss is None or best is None else best - loss,
        gain_vs_baseline=None if loss is None or first is None else first - loss,
        terms=terms,
        recommendation="",
        verdict=verdict,
        conjectures=(),
    )
    told.kinds[niche.kind] += 1
    told.emitters[emitter] += 1
    if crash:
        told.signatures.add(crash)
    else:
        told.niches[niche] += 1
    if is_idea(experiment):
        told.stall = 0 if verdict is not None and verdict.decision is Decision.KEEP else told.stall + 1
    return replace(found, recommendation=_recommendation(state, found))


def _terms(state: ExperimentState, run: RunState, told: _Told, niche: Niche, crash: str) -> Terms:
    experiment = state.experiment
    emitter = emitter_of(experiment)
    unknown = 1 / math.sqrt(told.kinds[niche.kind] + 1)
    novelty = 0.35 / math.sqrt(told.niches[niche] + 1) + 0.2 * unknown + 0.1 / math.sqrt(told.emitters[emitter] + 1)
    news = 0.2 if crash and crash not in told.signatures else 0.0
    cost = _complexity(experiment) if is_idea(experiment) else 0.0
    return Terms(
        fitness=0.0 if crash or not is_idea(experiment) else _fitness(state.verdict),
        novelty=0.0 if crash else novelty,  # it reached no cell
        information=0.25 * unknown + news + (0.1 if told.stall >= STALLED else 0.0),
        surprise=_surprise(experiment, state.verdict, crash),
        complexity=max(0.0, cost) if crash else cost,  # nothing was made simpler by what does not run
        memory=_memory(run, told.survey.baseline(state).memory_mb),
    )


def _fitness(verdict: Verdict | None) -> float:
    """From 0 where it is no more likely better than not, to `FITTEST` where it surely is."""
    if verdict is None:
        return 0.0
    least = KEPT if verdict.decision is Decision.KEEP else 0.0
    return max(least, FITTEST * (2.0 * chance_of(verdict) - 1.0))


def _surprise(experiment: Experiment, verdict: Verdict | None, crash: str) -> float:
    """How far what happened was from what was expected: at most 0.2, a crash 0.15."""
    forecast = experiment.plan.forecast
    if crash:
        return CRASHED_SURPRISE * (1.0 - forecast.crash if forecast is not None else 1.0)
    if verdict is None or not is_idea(experiment):
        return 0.0
    error = error_of(verdict)
    if forecast is not None and verdict.gain is not None and error is not None:
        z = (verdict.gain - forecast.gain) / math.hypot(forecast.deviation, error)
        return 0.2 * (1.0 - math.exp(-0.5 * z * z))
    is_better, promise = chance_of(verdict) > 0.5, predicted(experiment)
    if is_better and promise in ("flat", "uncertain", "risky"):
        return 0.2
    if not is_better and promise in ("improve", "likely improve"):
        return 0.15
    is_clear = verdict.low is not None and verdict.high is not None and not verdict.low <= 0.0 <= verdict.high
    return 0.1 if is_clear else 0.0


def _complexity(experiment: Experiment) -> float:
    """What the patch adds: lines, hunks, and work left for later; a credit for lines that went."""
    lines = code_lines(experiment.patch)
    added = " ".join(line.lower() for line in experiment.patch.splitlines() if line.startswith("+"))
    unfinished = any(word in added.replace("#", " ").replace(":", " ").split() for word in ("todo", "hack", "fixme"))
    cost = 0.02 * max(0, lines) + 0.05 * experiment.patch.count("@@") + 0.15 * unfinished - 0.01 * max(0, -lines)
    return min(max(cost, -COSTLIEST), COSTLIEST)


def _memory(run: RunState, baseline: float | None) -> float:
    peak = run.outcome.metrics.memory_mb if isinstance(run.outcome, Finished) else None
    return min(0.5 * max(0.0, peak / baseline - 1.0), COSTLIEST) if peak and baseline else 0.0


def _recommendation(state: ExperimentState, found: Review) -> str:
    """Advice: what the verdict says, and where there is none, that a better value wants another run."""
    verdict = found.verdict
    if found.crash or (verdict is not None and verdict.decision is Decision.CRASH):
        return "discard"
    if not is_idea(state.experiment) and found.gain_vs_best is None:
        return "keep"  # a first value: everything else is measured against it
    if verdict is None or not verdict.decision.is_final:
        promising = verdict is not None or (found.gain_vs_best or 0.0) > 0.0
        return "investigate" if promising else "discard"
    if verdict.decision is Decision.KEEP:
        return "keep"
    simpler = found.niche.code == "shrinking" and verdict.high is not None and verdict.high >= 0.0
    return "investigate" if is_near_miss(state) or simpler else "discard"
