"""What a lab knows, in one frozen object: pure, and the same for the terminal, the report, the chart and `--json`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from nightlab import ablation, audit, decide
from nightlab.config import Settings
from nightlab.history import ExperimentState, History, RunState
from nightlab.ledger import RunRow
from nightlab.ledger.records import CRASH, DISCARD, KEEP, Told
from nightlab.report.early import early_stops
from nightlab.report.levels import Levels
from nightlab.report.nouns import (
    ActiveRun,
    ChainLink,
    Cost,
    Gain,
    IdeaCounts,
    LabSummary,
    Metric,
    Night,
    Promotion,
    RunCounts,
    RunLine,
)
from nightlab.report.proposers import proposer_lines
from nightlab.report.words import iso
from nightlab.types import Decision, Verdict

RUNNING = "running"


def summarise(
    history: History, settings: Settings, now: float, told: Told | None = None, levels: Levels | None = None
) -> LabSummary:
    """All of it.

    Args:
        history: the lab's own runs.
        settings: the lab.
        now: UTC seconds since the epoch.
        told: what is known by somebody's word only.
        levels: of this history and `told`, if they are worked out already.
    """
    told = told or Told()
    levels = levels or Levels(history, settings, told=told)
    steps = history.links(history.night.began.baseline) if history.night else []
    keeps = audit.keeps(history)
    champion = levels.champion(steps)
    promotions = tuple(_promotion(history, verdict) for verdict in steps)
    return LabSummary(
        lab=str(settings.root),
        generated_at=iso(now),
        metric=Metric(name=settings.metric.name, direction=settings.metric.direction.value),
        runs=_with_told(count_runs(list(history.runs.values())), told),
        ideas=_ideas_with_told(count_ideas(history), told),
        baseline=levels.arm(levels.baseline) if levels.baseline else None,
        champion=champion,
        provisional=levels.provisional(champion),
        noise=levels.noise,
        night=_night(history, now),
        branch=settings.branch,
        promotions=promotions,
        chain=tuple(_link(history, link) for link in audit.chain(history, settings)),
        expected_false_keeps=keeps.expected_false,
        keeps=keeps,
        keeps_tonight=audit.keeps(history, history.night.began.night) if history.night else keeps,
        cost=_cost(history),
        active=tuple(_active(history, run, now) for run in history.running.values()),
        early=early_stops(history),
        proposers=proposer_lines(history),
    )


# --- counts -----------------------------------------------------------------------------------------------------


def count_runs(runs: Sequence[RunState]) -> RunCounts:
    found = Counter(outcome_of(run) for run in runs)
    return RunCounts(total=len(runs), **found)


def _with_told(counts: RunCounts, told: Told) -> RunCounts:
    crashed = told.by_hand.get(CRASH, 0)
    finished = sum(told.by_hand.values()) - crashed
    return replace(
        counts,
        total=counts.total + finished + crashed,
        finished=counts.finished + finished,
        crashed=counts.crashed + crashed,
        imported=told.imported,
    )


def _ideas_with_told(counts: IdeaCounts, told: Told) -> IdeaCounts:
    """Ideas of people count as their author says, one a run, unless the lab has judged them itself."""
    kept, discarded, crashed = (
        told.by_hand.get(status, 0) - told.judged.get(status, 0) for status in (KEEP, DISCARD, CRASH)
    )
    return replace(
        counts,
        tried=counts.tried + kept + discarded + crashed,
        kept=counts.kept + kept,
        discarded=counts.discarded + discarded,
        crashed=counts.crashed + crashed,
    )


def outcome_of(run: RunState) -> str:
    """How a run ended in one word: the outcome's name in lower case, or running."""
    return RUNNING if run.outcome is None else type(run.outcome).__name__.lower()


def status_of(history: History, state: ExperimentState) -> str:
    """What has become of an experiment: baseline, keep, discard, crash, undecided, or recorded (by `exec` only).

    The judge's word counts, else that of whoever wrote the run down.
    """
    verdict = state.verdict
    if verdict is not None and verdict.decision.is_final:
        return verdict.decision.value
    if any(night.began.baseline == state.experiment.id for night in history.nights):
        return "baseline"
    logged = [run.logged for run in state.runs if run.logged is not None]
    if logged and verdict is None:
        return logged[-1].status
    return {"baseline": "baseline", "exec": "recorded"}.get(state.experiment.plan.emitter, "undecided")


def count_ideas(history: History) -> IdeaCounts:
    ideas = (state for state in history.experiments.values() if not ablation.is_removal(state.experiment))
    found = Counter(status_of(history, state) for state in ideas)
    counts = {"kept": Decision.KEEP, "discarded": Decision.DISCARD, "crashed": Decision.CRASH, "undecided": "undecided"}
    by_name = {name: found[status] for name, status in counts.items()}
    return IdeaCounts(tried=sum(by_name.values()), **by_name)


def _promotion(history: History, verdict: Verdict) -> Promotion:
    state = history.state(verdict.experiment)
    return Promotion(
        experiment=verdict.experiment,
        number=state.number,
        description=state.experiment.description,
        commit=state.experiment.commit,
        gain=verdict.gain,
        low=verdict.low,
        high=verdict.high,
        probability=verdict.probability,
        runs=verdict.runs_used,
    )


def _link(history: History, link: audit.Link) -> ChainLink:
    step = _promotion(history, link.verdict)
    now, without = link.now, link.removal
    return ChainLink(
        **{name: getattr(step, name) for name in Promotion.__dataclass_fields__},
        now=None if now is None else Gain(
            mean=now.gain, low=now.low, high=now.high, probability=now.probability, runs=now.runs,
            runs_against=now.runs_against,
        ),
        worth=link.worth.value,
        without_gain=without.gain if without else None,
        without_low=without.low if without else None,
        without_high=without.high if without else None,
        removed_by=history.state(link.removed_by).number if link.removed_by is not None else None,
        discovery=link.discovery,
    )  # fmt: skip


def _night(history: History, now: float) -> Night | None:
    night = history.night
    if night is None:
        return None
    return Night(
        night=night.began.night,
        number=night.number,
        state="ended" if night.ended else RUNNING,
        because=night.ended.reason if night.ended else "",
        seed=night.began.seed,
        mode=night.began.mode,
        ideas_done=decide.ideas_tried(history),
        ideas_target=night.began.ideas,
        hours_target=night.began.hours,
        cost_target=night.began.cost,
        began_at=iso(night.at),
        ended_at=iso(night.ended_at) if night.ended_at is not None else None,
        elapsed_minutes=max((night.ended_at or now) - night.at, 0.0) / 60,
    )


def _active(history: History, state: RunState, now: float) -> ActiveRun:
    experiment = history.state(state.run.experiment)
    return ActiveRun(
        run=state.run.id,
        experiment=state.run.experiment,
        number=experiment.number,
        description=experiment.experiment.description,
        seed=state.run.seed,
        purpose=state.run.purpose.value,
        device=state.run.environment.device,
        started_at=iso(state.started_at),
        minutes=max(now - state.started_at, 0.0) / 60,
    )


def _cost(history: History) -> Cost:
    used = [run.usage for run in history.runs.values() if run.usage is not None]
    wall, cpu = sum(u.wall_s for u in used), sum(u.cpu_s for u in used)
    return Cost(runs=len(used), wall_minutes=wall / 60, cpu_minutes=cpu / 60)


def run_line(row: RunRow) -> RunLine:
    """A run of the ledger's table with its moments as text."""
    named = {name: getattr(row, name) for name in RunLine.__dataclass_fields__}
    named |= {
        "started_at": iso(row.started_at),
        "ended_at": iso(row.ended_at) if row.ended_at is not None else None,
    }
    return RunLine(**named)
