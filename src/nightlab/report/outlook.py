"""What the lab would do now and why, with the command that does it: first what would prove something, then the night.

Pure: it asks `decide` as the loop does and starts nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nightlab import decide, judging
from nightlab.config import Settings
from nightlab.history import ExperimentState, History
from nightlab.judge import race
from nightlab.ledger.records import Told
from nightlab.memory import FEWEST
from nightlab.report import words
from nightlab.report.levels import Levels
from nightlab.report.nouns import Champion, Provisional
from nightlab.types import Again, Decision, Exhausted, ExperimentId, Forecast, Idea


@dataclass(frozen=True, slots=True, kw_only=True)
class Todo:
    """One thing to do."""

    what: str  # judge, replicate, idea, baseline, propose, ablate, final, wait, night
    command: str  # the command line that does it
    why: str
    experiment: str = ""  # whose runs they are; "" where none is meant, or another ledger's
    number: int = 0
    description: str = ""
    runs: int | None = None  # how many it takes; None: not known
    seeds: tuple[int, ...] = ()  # the next ones it would take
    probability: float | None = None  # P(better than the champion) so far


@dataclass(frozen=True, slots=True, kw_only=True)
class NextIdea:
    """What the search would answer if it were asked now."""

    description: str
    emitter: str = ""
    phase: str = ""
    niche: str = ""
    hypothesis: str = ""
    brief: str = ""  # how it came to it
    again: str = ""  # the settled experiment that would run again instead of a new idea
    forecast: Forecast | None = None
    conjectures: tuple[str, ...] = ()  # that speak of it, by id


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """The keys of `nightlab next --json`."""

    lab: str
    champion: str  # the proven one's name (#3); "" while there is none
    todo: tuple[Todo, ...]  # the most urgent first
    idea: NextIdea | None = None  # None while nothing asks the search


def look_ahead(history: History, settings: Settings, now: float, told: Told, *, is_worked: bool) -> Outlook:
    """What the lab would do now.

    Args:
        history: the lab's own runs.
        settings: the lab.
        now: UTC seconds since the epoch, against a night's hours.
        told: what is known by somebody's word only.
        is_worked: whether a process holds the lab's lease and does all this by itself.
    """
    champion = history.champion
    todo = list(_by_word(history, settings, told))
    offered = {one.experiment for one in todo}
    todo += [one for one in _open(history, settings) if one.experiment not in offered]
    if is_worked:
        why = "a night is under way and does what follows by itself"
        todo.insert(0, Todo(what="wait", command="nightlab status", why=why))
    else:
        todo += _night(history, settings, now)
    name = f"#{history.state(champion).number}" if champion is not None else ""
    return Outlook(lab=str(settings.root), champion=name, todo=tuple(todo))


def next_idea(history: History, answer: Idea | Again | Exhausted) -> NextIdea:
    """The search's answer, as it is shown."""
    if isinstance(answer, Exhausted):
        return NextIdea(description="nothing", brief=answer.reason)
    if isinstance(answer, Again):
        state = history.state(answer.experiment)
        return NextIdea(
            description=f"#{state.number} {state.experiment.description}", again=answer.experiment, brief=answer.because
        )
    plan = answer.plan
    return NextIdea(
        description=answer.description,
        emitter=plan.emitter,
        phase=plan.phase,
        niche=plan.niche,
        hypothesis=answer.hypothesis,
        brief=plan.brief,
        forecast=plan.forecast,
        conjectures=plan.cites,
    )


def _by_word(history: History, settings: Settings, told: Told) -> Iterator[Todo]:
    """The replicates that a champion by somebody's word needs."""
    levels = Levels(history, settings, told=told)
    champion = levels.champion([])
    arm: Champion | Provisional | None = champion if history.night is None else levels.provisional(champion)
    if arm is None:
        return
    needed = arm.runs_needed if arm.runs_needed is not None else FEWEST
    over = f" over the champion #{champion.number}" if champion is not None and champion is not arm else ""
    lacks = words.lacking(arm.runs_needed, arm.probability)
    why = f"the best keep by its author's word is not proven yet and {lacks}: they would prove it{over}"
    if arm.experiment:
        command = f"nightlab replicate {arm.number} --seeds {needed}"
    else:
        where = f"git checkout {arm.commit}" if arm.commit else "make that edit"
        command = f"{where}, then nightlab try --seeds {needed}"
    name = ExperimentId(arm.experiment) if arm.experiment else None
    yield Todo(
        what="replicate",
        command=command,
        why=why,
        experiment=arm.experiment,
        number=arm.number,
        description=arm.description,
        runs=arm.runs_needed,
        seeds=decide.coming_seeds(history, name, needed),
        probability=arm.probability,
    )


def _open(history: History, settings: Settings) -> Iterator[Todo]:
    """What undecided ideas need."""
    due = frozenset(decide.due(history))
    for state, step in decide.open_steps(history):
        if state.experiment.id in due:
            yield _todo(state, what="judge", command="nightlab wait", why="its runs have ended and wait for a verdict")
        elif step is not None:
            yield _needed(history, settings, state, step)


def _needed(history: History, settings: Settings, state: ExperimentState, step: decide.Execute) -> Todo:
    verdict, side = state.verdict, history.state(step.experiment)
    if verdict is None or verdict.decision is not Decision.RETEST:
        why = "recorded, and it has not run on all its seeds yet"
        return _todo(state, what="idea", command="nightlab wait", why=why, seeds=(step.seed,))
    rows = judging.rows(history, settings)
    champion = history.champion
    assert champion is not None
    measured = {row.arm for row in rows}
    needed = (
        race.runs_needed(state.experiment.id, champion, rows, decide.thresholds(history, settings))
        if {state.experiment.id, champion} <= measured
        else None
    )
    where = "" if side is state else f", first one of the champion #{side.number}"
    why = f"not proven yet: {words.more_runs(needed)} if its estimate is right{where}"
    command = f"nightlab replicate {state.number} --seeds 1" if side is state else "nightlab wait"
    return _todo(
        state,
        what="replicate",
        command=command,
        why=why,
        runs=needed,
        seeds=(step.seed,),
        probability=verdict.probability,
    )


def _night(history: History, settings: Settings, now: float) -> Iterator[Todo]:
    """How the search goes on."""
    night, champion = history.night, history.champion
    if night is None or champion is None:
        runs = settings.judge.baseline_runs
        why = f"no night has run yet: it begins with {words.count(runs, 'run')} of the committed source"
        seeds = decide.coming_seeds(history, None, runs)
        yield Todo(what="night", command="nightlab run --runs 20", why=why, runs=runs, seeds=seeds)
        return
    on = f"on top of the champion #{history.state(champion).number}"
    if night.ended is not None:
        why = f"night {night.number} is over ({night.ended.reason}); a new one builds {on}"
        yield Todo(what="night", command="nightlab run --runs 20", why=why)
        return
    if decide.due(history):
        why = f"night {night.number} is not over and goes on when they are judged"
        yield Todo(what="night", command="nightlab run", why=why)
        return
    step = decide.next_step(history, settings, now=now)
    state = history.state(step.experiment if isinstance(step, decide.Execute) else champion)
    what, why, seeds = _said(step, night.number, on)
    bare = isinstance(step, decide.Propose | decide.Ablate | decide.Done | decide.Wait)
    yield Todo(
        what=what,
        command="nightlab run",
        why=why,
        experiment="" if bare else state.experiment.id,
        number=0 if bare else state.number,
        description="" if bare else state.experiment.description,
        seeds=seeds,
    )


def _said(step: decide.Step, night: int, on: str) -> tuple[str, str, tuple[int, ...]]:
    """What a step of the night is called, why it is taken, and its seeds."""
    if isinstance(step, decide.Execute):
        reasons = {
            "baseline": "the champion needs runs of its own before anything is compared with it",
            "final": "fresh seeds of champion and starting point for the headline",
        }
        purpose = step.purpose.value
        if purpose in reasons:
            return purpose, f"night {night} goes on: {reasons[purpose]}", (step.seed,)
        return "night", f"night {night} is not over and goes on with what is open", (step.seed,)
    if isinstance(step, decide.Propose):
        return "propose", f"night {night} goes on: the search is asked for an idea {on}", ()
    if isinstance(step, decide.Ablate):
        asked = "a change that the champion rests on is left out, to see whether it still earns its place"
        return "ablate", f"night {night} goes on: {asked}", ()
    if isinstance(step, decide.Done):
        return "night", f"night {night} has nothing left to do but to end: {step.reason}", ()
    return "wait", f"night {night} waits for runs to end", ()


def _todo(
    state: ExperimentState,
    *,
    what: str,
    command: str,
    why: str,
    runs: int | None = None,
    seeds: tuple[int, ...] = (),
    probability: float | None = None,
) -> Todo:
    return Todo(
        what=what,
        command=command,
        why=why,
        experiment=state.experiment.id,
        number=state.number,
        description=state.experiment.description,
        runs=runs,
        seeds=seeds,
        probability=probability,
    )
