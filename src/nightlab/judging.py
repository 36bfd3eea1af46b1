"""What the judge is told of a history: its rows, what is believed beforehand, and what an idea must gain. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from statistics import median

from nightlab import ablation
from nightlab.config import Settings
from nightlab.history import ExperimentState, History, RunState
from nightlab.judge import model, race
from nightlab.judge.prior import LEARN_FROM, SHIPPED, Prior, Tried, learned
from nightlab.search.source import code_lines
from nightlab.types import (
    ExperimentId,
    Finished,
    Purpose,
    Run,
    StoppedEarly,
    is_infrastructure,
)

MOST_SAVED = 1.0  # standard deviations of one run that an idea may at most lose for what it saves
MOST_ASKED = 3.0  # of them that it must at most gain for what it costs: a gain that a single run shows
LITTLE_MEMORY = 0.5  # tenths: allocators differ by a few percent from run to run
SHORTEST_S = 1e-3  # no run is shorter, as far as the judge's clock goes


def rows(
    history: History, settings: Settings, *, final: bool | None = False, baseline: ExperimentId | None = None
) -> list[model.Row]:
    """The judge's evidence, oldest first: finished runs that may steer, those of the final blocks (`final`), or both
    (None).

    Only of the line that `baseline` (the latest night's, unless another is named) belongs to: under another one the
    same number may mean another thing.
    Values are turned into losses here: neither direction nor units of the metric enter the judge.
    """
    sign = settings.metric.direction.sign
    line = history.line if baseline is None else history.line_of(baseline)
    comparable = {state.experiment.id for state in line}
    usual = _usual_wall(history.runs.values())
    drifts = not is_deterministic(line)
    # Numbered over all runs, so that rows of several calls can be put together.
    devices: dict[tuple[str, str], int] = {}
    for state in history.runs.values():
        devices.setdefault(_where(state.run), len(devices))
    return [
        model.Row(
            arm=state.run.experiment,
            seed=state.run.seed,
            slot=state.started_at / usual,
            value=sign * state.value,
            session=devices[_where(state.run)],
            drifts=drifts,
            speed=math.log(state.speed) if state.speed else None,
        )
        for state in history.runs.values()
        if _is_asked(state.run.purpose, final)
        and state.value is not None
        and state.is_believed
        and state.run.experiment in comparable
    ]


def _is_asked(purpose: Purpose, final: bool | None) -> bool:
    """Whether `rows` is asked for runs of this purpose."""
    if final is None:
        return purpose.steers or purpose is Purpose.FINAL
    return purpose is Purpose.FINAL if final else purpose.steers


def _where(run: Run) -> tuple[str, str]:
    """The machine and device that a run happened on; two of them share no drift."""
    return run.environment.machine, run.environment.device


def _usual_wall(runs: Iterable[RunState]) -> float:
    """Seconds that a usual finished run takes: the unit in which the judge reckons the drift of a machine."""
    walls = sorted(state.usage.wall_s for state in runs if state.usage and state.value is not None)
    return max(walls[len(walls) // 2], SHORTEST_S) if walls else SHORTEST_S


def is_deterministic(line: Iterable[ExperimentState]) -> bool:
    """Whether the same source, seed and environment give the same value here, so that only seeds vary.

    Known from runs that repeat another one: there is such a pair, and in none do the values differ. Before there is
    one, a CPU run whose value does not depend on speed (its receipt or the lab says so) is taken for it: such a budget
    counts work, as the shipped CPU profiles' do. A GPU may add in another order each time, so it has to show it.

    Args:
        line: experiments that can be compared with each other (`History.line`).
    """
    values: dict[tuple[str, ...], list[float]] = {}
    declared = False
    for state in line:
        for run in state.finished():
            if run.run.purpose not in (Purpose.EXEC, Purpose.LOG) and run.value is not None:
                values.setdefault(_circumstances(run.run), []).append(run.value)
                counts_work = run.conditions is not None and run.conditions.timed is False
                declared = declared or (counts_work and run.run.environment.device.startswith("cpu"))
    repeated = [found for found in values.values() if len(found) > 1]
    return all(len(set(found)) == 1 for found in repeated) if repeated else declared


def _circumstances(run: Run) -> tuple[str, ...]:
    """All that is on record of what a run's value may depend on, the device's speed left out."""
    here = run.environment
    versions = (f"{name} {version}" for name, version in sorted(here.versions.items()))
    kind = here.device.partition(":")[0]
    return run.experiment, str(run.seed), kind, here.machine, here.python, here.platform, *versions


def prior(history: History, settings: Settings, evidence: list[model.Row]) -> Prior:
    """What is believed of an idea before it runs: the lab's prior, shaped by what its own ideas did."""
    believed = SHIPPED[settings.judge.prior]
    tried = []
    means: dict[ExperimentId, list[float]] = {}
    for row in evidence:
        means.setdefault(row.arm, []).append(row.value)
    settled = [
        s for s in history.line if s.verdict and s.verdict.decision.is_final and not ablation.is_removal(s.experiment)
    ]
    judged = [s for s in settled if s.experiment.id in means]
    stopped = sum(any(is_given_up(r) for r in s.runs) and s.experiment.id not in means for s in settled)
    if len(judged) + stopped < LEARN_FROM:
        return believed
    noise = model.noise(evidence, settings.judge)
    if noise is None:
        return believed
    for state in judged:
        assert state.verdict is not None
        own, other = means[state.experiment.id], means.get(state.verdict.champion)
        if other:
            difference = sum(own) / len(own) - sum(other) / len(other)
            tried.append(Tried(difference, noise.sd * math.sqrt(1.0 / len(own) + 1.0 / len(other))))
    return learned(believed, tried, noise.sd, stopped)


def bar(history: History, settings: Settings, experiment: ExperimentId, champion: ExperimentId) -> race.Bar:
    """What an idea must gain to be kept, for the lines that it adds to the champion and the memory that it takes.

    Lines are those of its patch that hold code, where that is the difference from the champion. An idea that saves may
    lose for it, but at most `MOST_SAVED`: equal and simpler wins, worse and simpler does not. None has to gain more
    than `MOST_ASKED` for what it costs: a rewrite that gains clearly is worth its lines.
    """
    judge = settings.judge
    lines = _lines_added(history, experiment, champion)
    before, after = _memory(history.state(champion)), _memory(history.state(experiment))
    tenths = 10.0 * (after / before - 1.0) if before and after else 0.0
    tenths = tenths if abs(tenths) >= LITTLE_MEMORY else 0.0
    reasons = [text for text in (_lines_in_words(lines), _memory_in_words(tenths)) if text]
    sigmas = min(max(judge.line_price * lines + judge.memory_price * tenths, -MOST_SAVED), MOST_ASKED)
    if sigmas < 0.0:
        return race.Bar(sigmas=sigmas, why=" and ".join(reasons))
    if judge.useful_gain > 0.0:
        reasons.insert(0, "being useful")
    return race.Bar(sigmas=sigmas, gain=judge.useful_gain, why=" and ".join(reasons))


def _lines_added(history: History, experiment: ExperimentId, champion: ExperimentId) -> int:
    """Lines of code that an idea adds to the champion; 0 where its patch is the difference from something else."""
    idea = history.state(experiment).experiment
    is_step = idea.parent == champion and idea.parent_commit == history.state(champion).experiment.commit
    return code_lines(idea.patch) if is_step else 0


def _lines_in_words(lines: int) -> str:
    if lines == 0:
        return ""
    return f"{abs(lines)} {'line' if abs(lines) == 1 else 'lines'} {'more' if lines > 0 else 'fewer'}"


def _memory_in_words(tenths: float) -> str:
    if tenths == 0.0:
        return ""
    return f"{abs(10 * tenths):.0f} % {'more' if tenths > 0 else 'less'} memory"


def _memory(state: ExperimentState) -> float | None:
    """Megabytes that a usual run of the experiment took at its peak; None where nobody measured it."""
    known = [
        r.outcome.metrics.memory_mb
        for r in state.runs
        if isinstance(r.outcome, Finished) and r.outcome.metrics.memory_mb
    ]
    return median(known) if known else None


def is_given_up(state: RunState) -> bool:
    """Whether its own curve ended it: no measurement, and yet a word on the idea."""
    return isinstance(state.outcome, StoppedEarly) and not is_infrastructure(state.outcome)
