"""The older control plane's search, written from its description: seven emitters chosen by its UCB rule.

The rule (rewards, phases, biases, penalties) is taken over with its numbers. What an emitter does to knobs its
description leaves to the agent; here each is given the move that its name and its one sentence promise.
"""

from __future__ import annotations

import math
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.searchers import MUTATIONS, mutated
from benchmarks.spaces import Axis, Config, Result, Sitting, Value
from nightlab.search.kinds import kind_of
from nightlab.types import EMITTERS

BIAS = {
    "baseline": {"local_tuner": 0.2, "simplifier": 0.1},
    "exploit": {"local_tuner": 0.35, "optimizer_hacker": 0.25, "simplifier": 0.15},
    "explore": {"architecture_mutator": 0.35, "contrarian": 0.25, "optimizer_hacker": 0.1},
    "recombine": {"recombinator": 0.4, "contrarian": 0.2, "architecture_mutator": 0.1},
    "stabilize": {"anomaly_chaser": 0.4, "simplifier": 0.2, "local_tuner": 0.1},
}
HOPEFUL = frozenset({"local_tuner", "optimizer_hacker", "recombinator"})  # predicted to improve
KEYWORDS = {
    "optimizer": "lr learning_rate warmup decay adamw muon beta momentum weight_decay scheduler clip",
    "architecture": "depth n_head n_heads d_model dim ffn mlp embed width residual block layer",
    "attention": "attention attn window_pattern rope flash kv qk causal",
    "batch": "batch device_batch_size total_batch_size grad_accum accum tokens_per_step microbatch",
    "normalization": "norm rmsnorm layernorm",
    "regularization": "dropout stochastic drop_path label_smoothing",
}
CATEGORIES = (*KEYWORDS, "mixed", "simplification")
TUNED = frozenset({"learning-rate", "optimizer", "schedule", "regularization"})
SMALL, LARGE = (1.05, 1.1, 1.2), (1.5, 2.0, 3.0)


@dataclass(slots=True)
class Standing:
    """What has come of an emitter or a category."""

    attempts: int = 0
    reward: float = 0.0
    last_used: int = -1


@dataclass(frozen=True, slots=True)
class Past:
    """One recorded run."""

    config: Config
    parent: Config
    value: float | None
    gain: float | None  # over the best before; None where unknown


@dataclass(slots=True)
class ControlPlane:
    """The state that the older system keeps, as far as it steers."""

    emitters: dict[str, Standing] = field(default_factory=lambda: {name: Standing() for name in EMITTERS})
    categories: dict[str, Standing] = field(default_factory=dict)
    niches: Counter[str] = field(default_factory=Counter)
    signatures: set[str] = field(default_factory=set)
    near: deque[tuple[float, Config, str]] = field(default_factory=lambda: deque(maxlen=12))
    recent: deque[Past] = field(default_factory=lambda: deque(maxlen=20))
    used: deque[str] = field(default_factory=lambda: deque(maxlen=8))
    count: int = 0
    stall: int = 0
    streak: int = 0
    best: float | None = None

    @property
    def phase(self) -> str:
        if self.count == 0:
            return "baseline"
        last = list(self.recent)[-5:]
        if sum(past.value is None for past in last) >= 2:
            return "stabilize"
        if self.stall >= 6 and len(self.near) >= 2:
            return "recombine"
        if self.stall >= 4:
            return "explore"
        return "exploit" if sum(past.gain is not None and past.gain > 0 for past in last) >= 2 else "explore"

    def choose(self) -> str:
        """The emitter with the highest score; ties by the order of the list."""
        turn, last = max(1, self.count), self.used[-1] if self.used else ""
        free = [name for name in EMITTERS if not (self.streak >= 3 and name == last)]
        return max(free, key=lambda name: self._score(name, turn, last))

    def _score(self, name: str, turn: int, last: str) -> float:
        own = self.emitters[name]
        score = own.reward / max(1, own.attempts) + math.sqrt(2 * math.log(turn + 2) / (own.attempts + 1))
        score += BIAS[self.phase].get(name, 0.0)
        score += 0.35 if self.stall >= 4 and name not in list(self.used)[-4:] else 0.0
        score -= 0.05 if own.last_used == turn else 0.0
        score -= 0.08 * self.used.count(name)
        return score - (0.15 * max(0, self.streak - 1) if name == last else 0.0)

    def niche(self) -> str:
        """The niche that a plan asks for."""
        tried = self.categories
        if self.phase == "exploit" and tried:
            return f"{max(tried, key=lambda name: tried[name].reward / tried[name].attempts)}/exploit"
        if self.phase == "recombine":
            names = dict.fromkeys(category for _, _, category in list(self.near)[-2:])
            return f"{'+'.join(names)}/recombine"
        order = CATEGORIES if tried else ("optimizer",)
        return f"{min(order, key=lambda name: tried.get(name, Standing()).attempts)}/{self.phase}"

    def record(self, emitter: str, niche: str, parent: Config, config: Config, result: Result) -> None:
        """Take in one run with the older system's reward."""
        changed = [name for name in config if config[name] != parent[name]]
        category = category_of(changed)
        before, value = self.best, result.value
        gain = round(before - value, 6) if before is not None and value is not None else None
        improved = gain is not None and gain > 0
        reward = self._reward(emitter, niche, category, gain, result, hunks=len(changed))
        self.count += 1
        own, kind = self.emitters[emitter], self.categories.setdefault(category, Standing())
        for standing in (own, kind):
            standing.attempts += 1
            standing.reward += reward
            standing.last_used = self.count
        self.niches[niche] += 1
        if value is None:
            self.signatures.add(result.reason)
        else:
            if (gain is None or gain <= 0) and value <= (before if before is not None else value) + 0.0015:
                self.near.append((value, config, category))
            self.best = value if before is None else min(before, value)
        self.stall = 0 if improved else self.stall + 1
        self.streak = self.streak + 1 if self.used and self.used[-1] == emitter else 1
        self.used.append(emitter)
        self.recent.append(Past(config, parent, value, gain))

    def _reward(
        self, emitter: str, niche: str, category: str, gain: float | None, result: Result, *, hunks: int
    ) -> float:
        own = self.emitters[emitter].attempts
        kind = self.categories.get(category, Standing()).attempts
        fitness = 100 * max(0.0, gain or 0.0)
        novelty = 0.35 / math.sqrt(self.niches[niche] + 1) + 0.2 / math.sqrt(kind + 1) + 0.1 / math.sqrt(own + 1)
        information = 0.25 / math.sqrt(kind + 1) + (0.1 if self.stall >= 4 else 0.0)
        surprise = 0.0
        if result.value is None:
            information += 0.2 if result.reason not in self.signatures else 0.0
            surprise = 0.15
        elif gain is not None:
            hoped = emitter in HOPEFUL
            surprise = (0.0 if hoped else 0.2) if gain > 0 else (0.15 if hoped else 0.0)
            surprise += 0.1 if abs(gain) > 0.0015 else 0.0
        return fitness + novelty + information + surprise - 0.05 * 2 * hunks  # numbers change, no lines come or go


def category_of(knobs: list[str]) -> str:
    """By counting keywords in what changed, as the older system does."""
    text = " ".join(knobs).lower()
    hits = {name: sum(text.count(word) for word in words.split()) for name, words in KEYWORDS.items()}
    best = max(hits, key=lambda name: hits[name])
    return best if hits[best] else "mixed"


# --- what the emitters do to knobs ------------------------------------------------------------------------------


def search_ucb(sitting: Sitting) -> None:
    """The whole rule: choose an emitter, let it change the best so far, record the reward."""
    rng = random.Random(f"{sitting.seed}:ucb")
    plane = ControlPlane()
    start = sitting.objective.space.start
    niche = plane.niche()
    plane.record(plane.choose(), niche, start, start, sitting.measure(start))
    while not sitting.spent:
        emitter, niche, parent = plane.choose(), plane.niche(), sitting.incumbent
        config = sitting.objective.space.fit(MOVES[emitter](sitting, plane, rng))
        if not sitting.objective.space.changed(parent, config):
            config = mutated(sitting, parent, rng)
        plane.record(emitter, niche, parent, config, sitting.measure(config))


Moved = dict[str, Value]


def _of(sitting: Sitting, wanted: Callable[[Axis], bool]) -> list[Axis]:
    axes = sitting.objective.space.axes
    return [axis for axis in axes if wanted(axis)] or list(axes)


def _is_tuned(axis: Axis) -> bool:
    return kind_of(axis.name).family in TUNED


def _local(sitting: Sitting, plane: ControlPlane, rng: random.Random) -> Moved:
    """A nearby configuration: one knob by a little."""
    axis = rng.choice(sitting.objective.space.axes)
    return {**sitting.incumbent, axis.name: axis.step(sitting.incumbent[axis.name], rng, SMALL)}


def _optimizer(sitting: Sitting, plane: ControlPlane, rng: random.Random) -> Moved:
    """One or two knobs of the optimizer, its schedule or its regularisation."""
    best = dict(sitting.incumbent)
    axes = _of(sitting, _is_tuned)
    for axis in rng.sample(axes, min(rng.choice((1, 2)), len(axes))):
        best[axis.name] = axis.step(best[axis.name], rng)
    return best


def _architecture(sitting: Sitting, plane: ControlPlane, rng: random.Random) -> Moved:
    """One knob of the model's shape by a large step."""
    axis = rng.choice(_of(sitting, lambda axis: not _is_tuned(axis)))
    return {**sitting.incumbent, axis.name: axis.step(sitting.incumbent[axis.name], rng, LARGE)}


def _simplify(sitting: Sitting, plane: ControlPlane, rng: random.Random) -> Moved:
    """Less of something: a part of the model smaller, or a mechanism that can be zero set to it."""
    best = sitting.incumbent
    axes = _of(sitting, lambda axis: not axis.choices and (axis.low == 0 or not _is_tuned(axis)))
    axis = rng.choice(axes)
    if not axis.choices and axis.low == 0:
        return {**best, axis.name: 0}
    return {**best, axis.name: axis.step(best[axis.name], rng, LARGE, way=-1)}


def _contrary(sitting: Sitting, plane: ControlPlane, rng: random.Random) -> Moved:
    """Against the recent trend: a knob that was moved lately, from the best the other way and far."""
    best = sitting.incumbent
    trend = {
        axis.name: (axis, past.config[axis.name], past.parent[axis.name])
        for past in plane.recent
        for axis in sitting.objective.space.changed(past.parent, past.config)
    }
    if not trend:
        return mutated(sitting, best, rng)
    axis, new, old = rng.choice(list(trend.values()))
    way = 0 if isinstance(new, str) or isinstance(old, str) else (-1 if new > old else 1)
    return {**best, axis.name: axis.step(best[axis.name], rng, LARGE, way=way)}


def _recombine(sitting: Sitting, plane: ControlPlane, rng: random.Random) -> Moved:
    """The best with half of what distinguishes a near miss from it."""
    best = sitting.incumbent
    others = [config for _, config, _ in plane.near if sitting.objective.space.changed(best, config)]
    for _ in range(MUTATIONS if others else 0):
        other = rng.choice(others)
        taken = [axis for axis in sitting.objective.space.changed(best, other) if rng.random() < 0.5]
        if taken:
            return {**best, **{axis.name: other[axis.name] for axis in taken}}
    return mutated(sitting, best, rng, 2)


def _chase(sitting: Sitting, plane: ControlPlane, rng: random.Random) -> Moved:
    """After the last surprise: half-way to what crashed, once more what won, the opposite of what lost."""
    best = dict(sitting.incumbent)
    odd = [past for past in plane.recent if past.value is None or abs(past.gain or 0.0) > 0.0015]
    if not odd:
        return _local(sitting, plane, rng)
    past = odd[-1]
    for axis in sitting.objective.space.changed(past.parent, past.config):
        new, old, now = past.config[axis.name], past.parent[axis.name], best[axis.name]
        if isinstance(new, str) or isinstance(old, str) or isinstance(now, str):
            best[axis.name] = axis.step(now, rng)
        elif past.value is None:
            best[axis.name] = axis.moved(now, (float(now) + float(new)) / 2)
        else:
            won = (past.gain or 0.0) > 0
            best[axis.name] = axis.moved(now, float(now) + (float(new) - float(old)) * (1 if won else -1))
    return best


MOVES: dict[str, Callable[[Sitting, ControlPlane, random.Random], Moved]] = {
    "local_tuner": _local,
    "optimizer_hacker": _optimizer,
    "architecture_mutator": _architecture,
    "simplifier": _simplify,
    "contrarian": _contrary,
    "recombinator": _recombine,
    "anomaly_chaser": _chase,
}
