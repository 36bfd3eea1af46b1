"""What to do next and what results mean: the search's and the judge's pure functions, composed over a history.

The loop, the simulator and `log` ask the same functions. Nothing here reads a clock, a file or a ledger.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, takewhile

from nightlab import ablation
from nightlab.config import JudgeSettings, Settings
from nightlab.history import ExperimentState, History, RunState
from nightlab.judge import model, race, removal
from nightlab.judging import bar, is_given_up, prior, rows
from nightlab.search.evidence import reopened
from nightlab.types import (
    NO_SLOT,
    Crashed,
    Decision,
    Disputed,
    ExperimentId,
    Finished,
    Lost,
    Purpose,
    StoppedEarly,
    TimedOut,
    Verdict,
    Voided,
    is_infrastructure,
)

TRY = "try"  # the emitter of ideas that a person or an agent brought as source
EXPLORE, EXPLOIT = "explore", "exploit"  # how boldly a night keeps ideas
FIRST_SEED = 42  # upstream's seed: a lab's first run is the one that everybody's first run is
FINAL_SEEDS = 1_000_000  # final seeds start here, so that no search ever meets one
MAX_LOST_IN_A_ROW = 9  # wasted runs of any experiment, one after another, before the lab gives the night up
MAX_LOST = 3  # runs of one experiment, wasted in a row, before the lab gives it up


@dataclass(frozen=True, slots=True, kw_only=True)
class Execute:
    """Run a known experiment."""

    experiment: ExperimentId
    seed: int
    purpose: Purpose


@dataclass(frozen=True, slots=True)
class Propose:
    """Ask the search for a new idea."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablate:
    """Make the champion's source without the change of one of its links, to be judged as a removal."""

    link: ExperimentId


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing can be started until something ends."""


@dataclass(frozen=True, slots=True)
class Done:
    """The night is over."""

    reason: str
    failed: bool = False


Step = Execute | Propose | Ablate | Wait | Done


def search_seed(index: int) -> int:
    """The seed of an arm's `index`-th run while searching."""
    return FIRST_SEED + index


def final_seed(night: int, index: int) -> int:
    """The `index`-th fresh seed of the `night`-th night's final block."""
    return FINAL_SEEDS + 1_000 * night + index


# --- judging ----------------------------------------------------------------------------------------------------


def due(history: History) -> list[ExperimentId]:
    """Experiments with news that no verdict has taken into account, oldest first."""
    champion = history.champion
    if champion is None or not any(_is_evidence(r) for r in _steering(history.state(champion))):
        return []
    return [state.experiment.id for state in _open_ideas(history) if _has_news(history, state, champion)]


def wants_verdict(history: History, experiment: ExperimentId) -> bool:
    """Whether there is news of an experiment that no verdict has taken into account, though it had its final one."""
    champion = history.champion
    if champion is None or experiment in history.chain:
        return False
    measured = any(isinstance(r.outcome, Finished) for r in _steering(history.state(champion)))
    return measured and _has_news(history, history.state(experiment), champion)


def judge(history: History, settings: Settings, experiment: ExperimentId, *, insist: bool = False) -> Verdict:
    """The verdict on an experiment that is `due`, against the champion of the moment.

    With `insist` an idea that the race would settle by its numbers runs once more instead.
    """
    champion = history.champion
    assert champion is not None
    state = history.state(experiment)
    if ablation.is_stale(state, champion):
        return Verdict(
            experiment=experiment,
            champion=champion,
            decision=Decision.DISCARD,
            because="the champion that it was taken from has been replaced",
        )
    failed = [r for r in _steering(state) if _failed(r)]
    if not failed and _gave_up(history, state):
        return Verdict(
            experiment=experiment,
            champion=champion,
            decision=Decision.DISCARD,
            because=f"its runs {_how_wasted(state.runs)}, which says nothing of the idea itself",
        )
    if failed:
        return Verdict(
            experiment=experiment,
            champion=champion,
            decision=Decision.CRASH,
            because=describe_failure(failed[-1]),
            runs_used=len(state.finished()),
        )
    given_up = next((r.outcome for r in _steering(state) if is_given_up(r)), None)
    if isinstance(given_up, StoppedEarly) and not any(_is_evidence(r) for r in _steering(state)):
        return Verdict(
            experiment=experiment,
            champion=champion,
            decision=Decision.DISCARD,
            because=f"stopped early: {given_up.reason}; that is no measurement",
            runs_used=len(state.finished()),
        )
    if ablation.is_removal(state.experiment):
        return _judge_removal(history, settings, state, champion)
    evidence = rows(history, settings)
    return race.judge(
        experiment,
        champion,
        evidence,
        thresholds(history, settings),
        steps_taken=_steps(state.verdicts, champion),
        prior=prior(history, settings, evidence),
        bar=bar(history, settings, experiment, champion),
        insist=insist,
    )


def thresholds(history: History, settings: Settings) -> JudgeSettings:
    """The judge's settings in the latest night: one that explores keeps an idea from `judge.explore` on."""
    explores = history.night is not None and history.night.began.mode == EXPLORE
    return replace(settings.judge, promote=settings.judge.explore) if explores else settings.judge


def retest(history: History, settings: Settings, experiment: ExperimentId, because: str) -> Verdict:
    """The verdict that opens a settled idea again for one more run, of the side that tells more.

    What a verdict says is the judge's alone: the search can ask for another run, and for nothing else.
    """
    verdict = judge(history, settings, experiment, insist=True)
    return replace(verdict, because=f"{because}: {verdict.because}")


def asked(history: History) -> int:
    """How often the search was asked: the latest night's ideas, and the line's settled ones that were opened again."""
    return ideas_tried(history) + reopened(history.line)


def _judge_removal(history: History, settings: Settings, state: ExperimentState, champion: ExperimentId) -> Verdict:
    """The verdict on the champion without one of its links; a night's allowance of such runs ends the race too."""
    link = state.experiment.plan.without
    assert link is not None
    evidence = rows(history, settings)
    noise = model.noise(evidence, settings.judge)
    return removal.judge(
        state.experiment.id,
        champion,
        evidence,
        settings.judge,
        margin=ablation.margin(history, link, noise.sd) if noise is not None else 0.0,
        steps_taken=_steps(state.verdicts, champion) if _removals_left(history) else settings.judge.max_steps,
    )


def _removals_left(history: History) -> int:
    """Runs that the latest night may still spend on removals."""
    night = history.night
    assert night is not None
    return ablation.runs_allowed(ideas_tried(history)) - ablation.runs_spent(history, night.began.night)


def _steps(verdicts: list[Verdict], champion: ExperimentId) -> int:
    """Extra runs that an idea's race has cost: one for each retest, unless a new champion overtook it before it ran."""
    against = [*(v.champion for v in verdicts[1:]), champion]
    return sum(
        v.decision is Decision.RETEST and v.champion == following
        for v, following in zip(verdicts, against, strict=False)
    )


def headline(history: History, settings: Settings) -> race.Comparison | None:
    """Champion against the night's baseline on seeds that never chose anything; None without such runs."""
    champion, night = history.champion, history.night
    if night is None or champion is None or champion == night.began.baseline:
        return None
    pair = {champion, night.began.baseline}
    evidence = [row for row in rows(history, settings, final=True) if row.arm in pair]
    if {row.arm for row in evidence} != pair:
        return None
    return race.compare(champion, night.began.baseline, evidence, settings.judge, noise_rows=rows(history, settings))


def describe_failure(state: RunState) -> str:
    """Why a run gave no metric, in one sentence."""
    outcome = state.outcome
    if isinstance(outcome, Crashed):
        where = f" on seed {state.run.seed}" if state.run.seed >= 0 else ""  # nobody told the seed of some
        return f"crashed{where}: {outcome.summary}"
    if isinstance(outcome, TimedOut):
        return f"was ended at its limit of {outcome.limit_s / 60:g} minutes"
    if isinstance(outcome, Voided):
        return f"changed what it may not touch: {', '.join(outcome.paths)}"
    if isinstance(outcome, Disputed):
        return f"printed one thing, and the receipt says another: {outcome.because}"
    if isinstance(outcome, Lost):
        return f"was lost: {outcome.reason}"
    return "gave no result"


def _failed(state: RunState) -> bool:
    return isinstance(state.outcome, Crashed | TimedOut | Voided | Disputed) and state.is_believed


def _is_evidence(state: RunState) -> bool:
    return isinstance(state.outcome, Finished) and state.is_believed


def _is_wasted(state: RunState) -> bool:
    """Whether the run is over and the machine is to blame that it says nothing."""
    return isinstance(state.outcome, Lost) or (state.outcome is not None and not state.is_believed)


def _how_wasted(runs: Sequence[RunState]) -> str:
    """What happened to wasted runs, as it is said of them."""
    troubles = dict.fromkeys(r.trouble for r in runs if r.trouble)
    were_lost = ["were lost again and again"] if any(isinstance(r.outcome, Lost) for r in runs) or not troubles else []
    doubted = [f"cannot be believed ({'; '.join(troubles)})"] if troubles else []
    return " or ".join([*were_lost, *doubted])


def _open_ideas(history: History) -> Iterator[ExperimentState]:
    """Ideas that have no final verdict yet. One that the night builds on, unproven as it is, is none of them."""
    champion = history.champion
    return (s for s in history.line if s.is_open and s.experiment.id != champion)


def _steering(state: ExperimentState) -> list[RunState]:
    return [r for r in state.runs if r.run.purpose.steers]


def _has_news(history: History, state: ExperimentState, champion: ExperimentId) -> bool:
    if state.is_running:
        return False
    if ablation.is_stale(state, champion):
        return True
    if _gave_up(history, state):
        return True
    settled = [r for r in _steering(state) if _is_settled(r)]
    if not any(_failed(r) or is_given_up(r) for r in settled) and len(settled) < state.experiment.plan.seeds:
        return False
    if state.verdict and state.verdict.champion != champion:
        return True
    sides = [state]
    if state.verdict and state.verdict.replicate:
        sides.append(history.state(state.verdict.replicate))
    ended = (r.ended_seq for side in sides for r in _steering(side) if _is_settled(r))
    return any(seq is not None and seq > state.judged_seq for seq in ended)


def _is_settled(state: RunState) -> bool:
    """Whether the run has ended and says something about its experiment."""
    return state.outcome is not None and not is_infrastructure(state.outcome) and state.is_believed


# --- the night's next step --------------------------------------------------------------------------------------


def next_step(
    history: History,
    settings: Settings,
    *,
    now: float,
    exhausted: bool = False,
    only_open: bool = False,
    unbuildable: Collection[ExperimentId] = (),
) -> Step:
    """What the night asks for next, given all that is known. Everything that is `due` must have been judged.

    Args:
        history: folded up to now; its latest night is the one that runs.
        settings: the lab.
        now: UTC seconds since the epoch, against the night's hours.
        exhausted: whether the search said that it has nothing left to propose.
        only_open: propose nothing and run no final block: see the ideas that are open to their verdicts, then stop.
        unbuildable: links of the champion's chain that cannot be taken out of it alone.
    """
    night = history.night
    assert night is not None
    champion = history.champion
    assert champion is not None
    wasted = _wasted_in_a_row(history)
    # What the night has found is not given up for want of a headline.
    if len(wasted) >= MAX_LOST_IN_A_ROW and not any(r.run.purpose is Purpose.FINAL for r in wasted):
        return Done(
            f"the last {MAX_LOST_IN_A_ROW} runs {_how_wasted(wasted)}, so the machine needs a look", failed=True
        )
    baseline = _baseline_step(history, settings, champion)
    if baseline is not None:
        return baseline
    for state in _open_ideas(history):
        step = _idea_step(history, state, champion)
        if step is not None:
            return step
    if not only_open and not exhausted and not _ideas_spent(history, settings, now, unbuildable):
        return Propose()
    if not only_open and all(ablation.is_removal(state.experiment) for state in _open_ideas(history)):
        link = _ablation_step(history, settings, now, unbuildable)
        if link is not None:
            return link
    if any(True for _ in _open_ideas(history)):
        return Wait()
    final = None if only_open else _final_step(history, settings, champion)
    if final is not None:
        return final
    if any(state.run.slot != NO_SLOT for state in history.running.values()):
        return Wait()
    if only_open:
        return Done("every idea has its verdict")
    return Done("the search has nothing left to propose" if exhausted else _limit(history, settings, unbuildable))


def _limit(history: History, settings: Settings, unbuildable: Collection[ExperimentId]) -> str:
    """Which of its limits ends the night."""
    if _count_spent(history):
        return "all ideas are tried"
    return "its money is spent" if _money_spent(history, settings, unbuildable) else "the hours are over"


def open_steps(history: History) -> list[tuple[ExperimentState, Execute | None]]:
    """The ideas that are open, oldest first, each with the run that it needs now; None while it waits for one."""
    champion = history.champion
    if champion is None:
        return []
    return [(state, _idea_step(history, state, champion)) for state in _open_ideas(history)]


def coming_seeds(history: History, experiment: ExperimentId | None, count: int) -> tuple[int, ...]:
    """The seeds that the next `count` runs of an experiment take: first those of the champion, since they pair."""
    known = history.experiments.get(experiment) if experiment is not None else None
    own = _seeds(known) if known is not None else frozenset()
    champion = history.champion
    other = _seeds(history.state(champion)) if champion is not None and champion != experiment else frozenset()
    found: list[int] = []
    for _ in range(count):
        found.append(race.next_seed(own | frozenset(found), other, search_seed))
    return tuple(found)


def replicate_step(history: History, settings: Settings, experiment: ExperimentId, *, since: int, count: int) -> Step:
    """What `count` further runs of an experiment ask for next, until they are there; proposes nothing.

    Each takes the seed that pairs with one of the champion's, where that has one more. The champion's own first runs
    go before, since nothing is judged without them; those of a champion are replicates themselves.

    Args:
        history: folded up to now; its latest night is the one that runs.
        settings: the lab.
        experiment: what is run again.
        since: place in the log from which its replicates count.
        count: how many of them are wanted.
    """
    champion = history.champion
    assert champion is not None
    if experiment != champion and (baseline := _baseline_step(history, settings, champion)) is not None:
        return baseline
    state = history.state(experiment)
    made = [r for r in state.runs if r.seq > since and r.run.purpose is Purpose.REPLICATE]
    failed = [r for r in made if _failed(r)]
    good = [r for r in made if r.outcome is None or _is_settled(r)]
    tired = len(made) - len(good) >= MAX_LOST
    if not failed and not tired and len(good) < count:
        seed = race.next_seed(_seeds(state), _seeds(history.state(champion)), search_seed)
        return Execute(experiment=experiment, seed=seed, purpose=Purpose.REPLICATE)
    if state.is_running or history.state(champion).is_running:
        return Wait()
    if failed:
        return Done(f"it {describe_failure(failed[-1])}")  # which is an answer
    if tired:
        return Done("its runs were lost again and again, or the device was not fit to be measured on", failed=True)
    return Done("its runs are made")


def _baseline_step(history: History, settings: Settings, champion: ExperimentId) -> Step | None:
    """The champion needs runs before anything can be compared with it."""
    night = history.night
    assert night is not None
    state = history.state(champion)
    # Of this night only: what was amiss in an earlier one may have been mended outside the source.
    here = [r for r in state.runs if r.run.night == night.began.night]
    broken = [r for r in here if r.run.purpose is Purpose.BASELINE and _failed(r)]
    if broken:
        return Done(f"the baseline {describe_failure(broken[-1])}", failed=True)
    if _gave_up(history, state):
        return Done(f"the baseline's runs {_how_wasted(here)}", failed=True)
    taken = frozenset(r.run.seed for r in _steering(state) if r.outcome is None or _is_evidence(r))
    if len(taken) < settings.judge.baseline_runs:
        seed = race.next_seed(taken, frozenset(), search_seed)
        return Execute(experiment=champion, seed=seed, purpose=Purpose.BASELINE)
    # Ideas need the champion's first value to be judged, but not its last.
    return None if any(_is_evidence(r) for r in _steering(state)) else Wait()


def _idea_step(history: History, state: ExperimentState, champion: ExperimentId) -> Execute | None:
    """The run that an undecided idea needs now, if any."""
    taken = _seeds(state)
    if len(taken) < state.experiment.plan.seeds and not any(_failed(r) for r in _steering(state)):
        purpose = Purpose.TRY if state.experiment.plan.emitter == TRY else Purpose.IDEA
        seed = race.next_seed(taken, frozenset(), search_seed)
        return Execute(experiment=state.experiment.id, seed=seed, purpose=purpose)
    if state.is_running or state.verdict is None or state.verdict.replicate is None:
        return None
    side = history.state(state.verdict.replicate)
    other = history.state(champion) if side is state else state
    if any(r.outcome is None for r in _steering(side)):
        return None
    seed = race.next_seed(_seeds(side), _seeds(other), search_seed)
    return Execute(experiment=side.experiment.id, seed=seed, purpose=Purpose.REPLICATE)


def _ablation_step(
    history: History, settings: Settings, now: float, unbuildable: Collection[ExperimentId]
) -> Ablate | None:
    """The link to leave out next, while runs, hours and money for it are left once every idea has its verdict."""
    night = history.night
    assert night is not None
    waiting = sum(not state.runs for state in _open_ideas(history))
    if not settings.judge.ablate or night.began.ideas == 0 or _removals_left(history) <= waiting:
        return None
    reserve = _typical_s(history) * (1 + 2 * settings.judge.final_runs)
    if night.began.hours is not None and now + reserve >= night.at + 3600 * night.began.hours:
        return None
    if night.began.cost is not None and _price(history, settings, reserve) >= night.began.cost:
        return None
    link = ablation.next_link(history, unbuildable)
    return None if link is None else Ablate(link=link)


def _typical_s(history: History) -> float:
    """Median wall-clock seconds of the finished runs."""
    walls = [r.usage.wall_s for r in history.runs.values() if r.usage and isinstance(r.outcome, Finished)]
    return sorted(walls)[len(walls) // 2] if walls else 0.0


def _seeds(state: ExperimentState) -> frozenset[int]:
    """Seeds that an experiment has used, or is using, while steering; those of lost runs are free again."""
    return frozenset(r.run.seed for r in _steering(state) if r.outcome is None or _is_settled(r))


def _wasted_in_a_row(history: History) -> list[RunState]:
    """The night's latest runs that were wasted one after another, whatever they were; the newest MAX_LOST_IN_A_ROW."""
    night = history.night
    assert night is not None
    ended = (state for state in reversed(history.runs.values()) if state.outcome is not None)
    wasted = takewhile(lambda state: _is_wasted(state) and state.run.night == night.began.night, ended)
    return list(islice(wasted, MAX_LOST_IN_A_ROW))


def _gave_up(history: History, state: ExperimentState) -> bool:
    """Whether the experiment's latest runs of this night were all wasted."""
    night = history.night.began.night if history.night else None
    ran = [r for r in _steering(state) if r.run.night == night and not isinstance(r.outcome, StoppedEarly)]
    latest = ran[-MAX_LOST:]
    return len(latest) == MAX_LOST and all(_is_wasted(r) for r in latest)


def ideas_tried(history: History) -> int:
    """Ideas that the search has proposed in the latest night so far; neither removals nor what people brought."""
    night = history.night
    assert night is not None
    return sum(
        s.night == night.began.night
        and s.experiment.parent is not None
        and s.experiment.plan.emitter != TRY
        and not ablation.is_removal(s.experiment)
        for s in history.experiments.values()
    )


def _count_spent(history: History) -> bool:
    night = history.night
    assert night is not None
    return night.began.ideas is not None and ideas_tried(history) >= night.began.ideas


def _ideas_spent(history: History, settings: Settings, now: float, unbuildable: Collection[ExperimentId]) -> bool:
    """Whether the night may propose nothing more: by count, or because the rest of it belongs to its end."""
    night = history.night
    assert night is not None
    if _count_spent(history) or _money_spent(history, settings, unbuildable):
        return True
    if night.began.hours is None:
        return False
    return now + _reserve_s(history, settings, unbuildable) >= night.at + 3600 * night.began.hours


def _money_spent(history: History, settings: Settings, unbuildable: Collection[ExperimentId]) -> bool:
    """Whether the rest of the night's money belongs to its end."""
    night = history.night
    assert night is not None
    if night.began.cost is None:
        return False
    return _price(history, settings, _reserve_s(history, settings, unbuildable)) >= night.began.cost


def _price(history: History, settings: Settings, coming_s: float) -> float:
    """What the latest night costs with that many further seconds; runs under way count as usual ones."""
    night = history.night
    ours = [r for r in history.running.values() if night is not None and r.run.night == night.began.night]
    seconds = night_s(history) + len(ours) * _typical_s(history) + coming_s
    return seconds / 3600 * settings.budget.hour_price


def night_s(history: History) -> float:
    """Wall-clock seconds that the latest night's runs have taken, one after another."""
    night = history.night
    ours = [r for r in history.runs.values() if night is not None and r.run.night == night.began.night]
    return sum(r.usage.wall_s for r in ours if r.usage is not None)


def _reserve_s(history: History, settings: Settings, unbuildable: Collection[ExperimentId]) -> float:
    """Seconds that are kept back for one more idea, the removals and the final block."""
    removals = 0
    if settings.judge.ablate and ablation.next_link(history, unbuildable) is not None:
        removals = max(0, _removals_left(history))
    return _typical_s(history) * (1 + removals + 2 * settings.judge.final_runs)


def _final_step(history: History, settings: Settings, champion: ExperimentId) -> Step | None:
    """Fresh seeds for the headline: champion and baseline side by side, nothing chosen by them."""
    night = history.night
    assert night is not None
    baseline = night.began.baseline
    if champion == baseline or night.began.ideas == 0:
        return None
    enough = settings.judge.final_runs
    if all(len(history.state(arm).finished(Purpose.FINAL)) >= enough for arm in (champion, baseline)):
        return None
    wasted = _wasted_in_a_row(history)
    if len(wasted) >= MAX_LOST_IN_A_ROW and any(r.trouble for r in wasted):
        return None  # unlike most lost ones each has cost a whole run, and the device does not get better
    for index in range(enough):
        seed = final_seed(night.number, index)
        # The order turns round from seed to seed, so that a steady drift falls on both arms alike.
        for arm in (champion, baseline) if index % 2 == 0 else (baseline, champion):
            attempts = [r for r in history.state(arm).runs if r.run.purpose is Purpose.FINAL and r.run.seed == seed]
            open_or_done = any(r.outcome is None or _is_settled(r) for r in attempts)
            if not open_or_done and len(attempts) < MAX_LOST:
                return Execute(experiment=arm, seed=seed, purpose=Purpose.FINAL)
    return None
