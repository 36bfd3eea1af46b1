"""The ways of keeping that are compared: the lab's own and, from their descriptions, those that are in use.

greedy: keep every run that beats the best one. threshold: keep what beats it by a fixed margin, twice the noise of a
difference. discovery: the older control plane's rule: more than 0.001 better, or any better and simple. memorylab: the
older memory's practice: as greedy, and a miss by at most 0.0015 is run again half the time. nightlab: this lab.

All but nightlab know the noise where their rule needs it, and always take the same seed, as upstream does.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from random import Random

from nightlab import decide
from nightlab.ablation import ABLATION, is_removal
from nightlab.config import EarlySettings, JudgeSettings, MetricSettings, Settings
from nightlab.history import History
from nightlab.sim.night import BASELINE, Answer, Night, experiment
from nightlab.sim.world import Luck, World
from nightlab.types import (
    Bounds,
    Change,
    ChangeKind,
    Crashed,
    Experiment,
    ExperimentId,
    Finished,
    Metrics,
    Purpose,
    Run,
)

KEEPS = 0.001  # of the discovery control plane, units of val_bpb (contract, 2.3)
SIMPLE = 0.5  # share of ideas that are simple enough for its second rule (statistics.md, 2d)
CLOSE = 0.0015  # a miss that the memory's users run again (contract, 1.6) ...
AGAIN = 0.5  # ... this often
EARLY = 10.0  # slots in which a judge that is told nothing may still be learning the noise
HARMFUL = 0.0002  # loss from which a false promotion is called harmful, units of the world


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """What came of one night. Gains are in units of the metric; positive is better."""

    ideas: int
    promotions: int
    false: int  # promotions whose truth is no better than that of what they replaced
    harmful: int
    true_gain: float  # of the last champion over the baseline
    reported: float  # what the policy says that gain is
    repeats: int  # slots that went to further runs of what had run before, without the final block
    late_false: int = 0  # of the false ones, those after the night's first ten slots
    late: int = 0  # promotions after them
    covered: bool | None = None  # whether the reported 95 % interval holds the truth; None: nothing was claimed
    stopped: int = 0  # runs stopped early
    lost: int = 0  # of them, ideas that are truly better than the champion they were stopped against


@dataclass(slots=True)
class Chain:
    """Champions as they followed each other, with their truths in units of the world."""

    truths: list[float]
    at: list[float]  # slots since the night began, of each step
    removals: set[int] = field(default_factory=set)  # steps that take an earlier one out: no promotions of ideas

    def played(self, world: World, **other: float | bool | None) -> Played:
        all_steps = [after - before for before, after in pairwise(self.truths)]
        steps = [step for place, step in enumerate(all_steps) if place not in self.removals]
        late = [step for place, step in enumerate(all_steps) if place not in self.removals and self.at[place] > EARLY]
        return Played(
            promotions=len(steps),
            false=sum(step >= 0.0 for step in steps),
            harmful=sum(step > HARMFUL for step in steps),
            true_gain=(self.truths[0] - self.truths[-1]) * world.unit,
            late=len(late),
            late_false=sum(step >= 0.0 for step in late),
            **other,  # type: ignore[arg-type]
        )


Policy = Callable[[World, Luck], Played]


def _printed(world: World, loss: float) -> float:
    value = world.start + world.direction.sign * loss * world.unit
    return value if world.decimals is None else round(value, world.decimals)


# --- keeping the best so far, in its three forms -------------------------------------------------------------------

Keeps = Callable[[float, Random], bool]
"""Whether a run is kept that is so much better (units of the world) than the best one."""


def _best_so_far(world: World, luck: Luck, keeps: Keeps, repeats: Callable[[float, Random], bool]) -> Played:
    """Nights that keep single runs by comparison with the best run."""
    rng = Random(luck.idea(0).effect)
    sign = world.direction.sign

    def run(arm: str, truth: float, at: float, turn: int) -> float:
        return sign * _printed(world, truth + luck.noise(arm, 0, at, turn)) / world.unit

    chain = Chain([0.0], [])
    first = best = run(BASELINE, 0.0, 0.0, 0)
    at, tried, turn, again = 1.0, 0, 1, 0
    while at + 1.0 <= world.slots + 1e-9:
        draw = luck.idea(tried)
        tried += 1
        if draw.crashes:
            at += world.crashes.cost
            continue
        truth, arm = luck.moved(chain.truths[-1], draw), f"idea{tried}"
        value = run(arm, truth, at, turn)
        at, turn = at + 1.0, turn + 1
        if not keeps(best - value, rng) and repeats(value - best, rng) and at + 1.0 <= world.slots + 1e-9:
            value = run(arm, truth, at, turn)
            at, turn, again = at + 1.0, turn + 1, again + 1
        if keeps(best - value, rng):
            best = value
            chain.truths.append(truth)
            chain.at.append(at)
    return chain.played(world, ideas=tried, reported=(first - best) * world.unit, repeats=again)


def _never(_miss: float, _rng: Random) -> bool:
    return False


def greedy(world: World, luck: Luck) -> Played:
    return _best_so_far(world, luck, lambda gain, _: gain > 0.0, _never)


def threshold(world: World, luck: Luck) -> Played:
    noise = world.noise
    margin = 2.0 * math.sqrt(2.0) * math.hypot(noise.drift, noise.white, noise.seed)
    return _best_so_far(world, luck, lambda gain, _: gain > margin, _never)


def discovery(world: World, luck: Luck) -> Played:
    return _best_so_far(world, luck, lambda gain, rng: gain > KEEPS or (gain > 0.0 and rng.random() < SIMPLE), _never)


def memorylab(world: World, luck: Luck) -> Played:
    return _best_so_far(
        world, luck, lambda gain, _: gain > 0.0, lambda miss, rng: miss <= CLOSE and rng.random() < AGAIN
    )


BY_NAME: dict[str, Policy] = {
    "greedy": greedy,
    "threshold": threshold,
    "discovery": discovery,
    "memorylab": memorylab,
}
"""Policies that need no settings, by their names on the command line."""


# --- the lab itself ----------------------------------------------------------------------------------------------


COMPARABLE = (Change(kind=ChangeKind.KNOB, name="MATRIX_LR", old="0.02", new="0.03"),)
INCOMPARABLE = (Change(kind=ChangeKind.KNOB, name="WARMDOWN_RATIO", old="0.5", new="0.6"),)


class Site:
    """A world as the lab's night meets it; keeps the truths that nobody is told."""

    def __init__(self, world: World, luck: Luck) -> None:
        self.world, self.luck = world, luck
        self.truths: dict[ExperimentId, float] = {BASELINE: 0.0}
        self.ideas = 0
        self.stopped: list[ExperimentId] = []
        self._parents: dict[ExperimentId, ExperimentId] = {}
        self._crashing: set[ExperimentId] = set()
        self._turn = 0

    @property
    def device(self) -> str:
        return self.luck.device(self._turn)

    def propose(self, base: ExperimentId) -> Experiment:
        draw = self.luck.idea(self.ideas)
        self.ideas += 1
        idea = experiment(f"idea{self.ideas}", base, changes=COMPARABLE if draw.comparable else INCOMPARABLE)
        self.truths[idea.id] = self.luck.moved(self.truths[base], draw)
        self._parents[idea.id] = base
        if draw.crashes:
            self._crashing.add(idea.id)
        return idea

    def without(self, link: ExperimentId, champion: ExperimentId) -> Experiment:
        """What a link changed is taken from the champion; effects add up here."""
        made = experiment(f"{champion} without {link}", champion, ABLATION, changes=COMPARABLE, without=link)
        self.truths[made.id] = self.truths[champion] - (self.truths[link] - self.truths[self._parents[link]])
        self._parents[made.id] = champion
        return made

    def run(self, run: Run, at: float, bounds: Bounds | None) -> Answer:
        if run.experiment in self._crashing:
            return Answer(Crashed(summary="the world says so"), self.world.crashes.cost)
        loss = self.truths[run.experiment] + self.luck.noise(run.experiment, run.seed, at, self._turn)
        self._turn += 1
        conditions = self.luck.conditions(at)
        curve = self.luck.curve(run.experiment, run.seed, loss)
        given_up = bounds.given_up(curve) if bounds is not None else None
        if given_up is not None and given_up.fraction is not None and bounds is not None and not bounds.spared:
            self.stopped.append(run.experiment)
            return Answer(given_up, given_up.fraction, conditions)
        return Answer(Finished(metrics=Metrics(primary=_printed(self.world, loss))), 1.0, conditions, curve)


def nightlab(judge: JudgeSettings, *, early: bool = True) -> Policy:
    """The lab with these settings of its judge, with or without early stopping (where the world has curves)."""

    def play(world: World, luck: Luck) -> Played:
        site = Site(world, luck)
        settings = Settings(
            root=Path(),
            metric=MetricSettings(direction=world.direction, low=None, high=None),
            judge=judge,
            early=EarlySettings(enabled=early and bool(world.curve.at)),
        )
        history = Night(site, settings).play(world.slots)
        return _outcome(history, settings, site)

    return play


def champion_of(history: History, name: ExperimentId) -> ExperimentId:
    """The champion that an experiment was built on."""
    return history.state(name).experiment.parent or BASELINE


def _outcome(history: History, settings: Settings, site: Site) -> Played:
    world = site.world
    steps = history.steps(BASELINE)
    chain = Chain([site.truths[name] for name in history.chain], [])
    for place, verdict in enumerate(steps):
        if is_removal(history.state(verdict.experiment).experiment):
            chain.removals.add(place)
        ended = [r.ended_at for r in history.state(verdict.experiment).runs if r.run.purpose is not Purpose.FINAL]
        chain.at.append(max(at for at in ended if at is not None) / 300.0)
    repeats = sum(r.run.purpose in (Purpose.REPLICATE, Purpose.BASELINE) for r in history.runs.values()) - 1
    lost = sum(site.truths[name] < site.truths[champion_of(history, name)] for name in site.stopped)
    headline = decide.headline(history, settings)
    played = chain.played(world, ideas=site.ideas, reported=0.0, repeats=repeats, stopped=len(site.stopped), lost=lost)
    if headline is None:
        return played
    covered = headline.low <= played.true_gain <= headline.high
    return replace(played, reported=headline.gain, covered=covered)
