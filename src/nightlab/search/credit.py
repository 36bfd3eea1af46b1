"""Which emitter the next proposals are drawn from, and which proposer is asked: discounted bandits over true gain per
minute.

An emitter's credit is what its ideas are believed to gain, by the judge's posterior, over the minutes that their runs
took: P(better) times the mean gain of what is better, per minute. Each is a Thompson draw; evidence fades with every
experiment since (Garivier and Moulines 2011 discount in the same way). Novelty, surprise and the other terms of the
older control plane are in the reviews and earn nothing: there they made the choice a random one (statistics.md 5).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from nightlab.history import ExperimentState, History
from nightlab.search.archive import chance_of, is_idea
from nightlab.search.niches import emitter_of
from nightlab.types import EMITTERS, Decision, ExperimentId, Phase, Verdict

FADING = 0.97
"""What is left of an experiment's weight after each one since: half after 23 (statistics.md 5)."""

BEFORE = 2.0  # experiments that the belief before any is worth: weak, for the first dozen ideas shall tell
FLOOR = 0.15  # share of proposals whose emitter is drawn evenly, so that none is given up for good
INTERVAL = 3.92  # standard deviations that a 95 % interval is wide
BUILT_IN = "builtin"  # the built-in search among the proposers
IN_A_ROW = 3  # ideas of one emitter one after another, at most

BIASES: Mapping[Phase, Mapping[str, float]] = {
    Phase.BASELINE: {"local_tuner": 0.2, "simplifier": 0.1},
    Phase.EXPLOIT: {"local_tuner": 0.35, "optimizer_hacker": 0.25, "simplifier": 0.15},
    Phase.EXPLORE: {"architecture_mutator": 0.35, "contrarian": 0.25, "optimizer_hacker": 0.1},
    Phase.RECOMBINE: {"recombinator": 0.4, "contrarian": 0.2, "architecture_mutator": 0.1},
    Phase.STABILIZE: {"anomaly_chaser": 0.4, "simplifier": 0.2, "local_tuner": 0.1},
}
"""What a phase adds to an emitter's credit, as a share of it: the phases and numbers of the older control plane, where
they were added to other terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """What an emitter, or a proposer, has earned so far, discounted."""

    emitter: str
    tried: int  # ideas, not discounted
    weight: float  # ideas, discounted
    chance: float  # P(better) of an idea of its
    gain: float  # of an idea that is better, in units of the metric
    minutes: float  # that an idea's runs take; for a proposer, and having the idea

    @property
    def rate(self) -> float:
        """Expected true gain per minute."""
        return self.chance * self.gain / self.minutes


def earned(history: History, base: ExperimentId) -> dict[str, Credit]:
    """The credit of each emitter in `EMITTERS`, by the verdicts on the base's line; order as there."""
    ideas = [s for s in history.line_of(base) if is_idea(s.experiment)]
    return _tallied(ideas, EMITTERS, lambda state: emitter_of(state.experiment), running_s)


def earned_by_proposers(history: History, base: ExperimentId, names: Sequence[str]) -> dict[str, Credit]:
    """The same for those who propose, in the order of `names`; time spent on having ideas counts, fruitless or not.

    Args:
        history: folded up to now.
        base: the experiment that the next idea changes; only its line of parents counts.
        names: of proposers, `BUILT_IN` for the built-in search.
    """
    asking: dict[ExperimentId, float] = {}
    fruitless = dict.fromkeys(names, 0.0)  # seconds that no idea has come of yet
    tonight = history.night.began.night if history.night is not None else None
    for call in history.consulted:
        if call.experiment is not None:
            asking[call.experiment] = asking.get(call.experiment, 0.0) + call.said.seconds
        elif call.night == tonight and call.said.proposer in fruitless:
            fruitless[call.said.proposer] += call.said.seconds
    ideas = [state for state in history.line_of(base) if proposer_of(state)]
    return _tallied(
        ideas, names, proposer_of, lambda state: running_s(state) + asking.get(state.experiment.id, 0.0), fruitless
    )


def proposer_of(state: ExperimentState) -> str:
    """Who had an idea: a model or agent by name, or `BUILT_IN`; "" for what people brought, and what is no idea."""
    experiment = state.experiment
    if not is_idea(experiment):
        return ""
    return experiment.plan.proposer or (BUILT_IN if experiment.plan.emitter in EMITTERS else "")


def running_s(state: ExperimentState) -> float:
    """Wall-clock seconds that an experiment's runs have taken."""
    return sum(run.usage.wall_s for run in state.runs if run.usage is not None)


def _tallied(
    ideas: Iterable[ExperimentState],
    names: Sequence[str],
    name_of: Callable[[ExperimentState], str],
    seconds_of: Callable[[ExperimentState], float],
    lost_s: Mapping[str, float] | None = None,
) -> dict[str, Credit]:
    settled = [state for state in ideas if state.verdict and state.verdict.decision.is_final]
    settled.sort(key=lambda state: state.judged_seq)
    tally = {name: _Tally(minutes=(lost_s or {}).get(name, 0.0) / 60.0) for name in names}
    all_together = _Tally()
    for age, state in enumerate(reversed(settled)):
        for each in (tally.get(name_of(state)), all_together):
            if each is not None:
                each.take(state, FADING**age, seconds_of(state) / 60.0)
    return {name: each.credit(name, all_together) for name, each in tally.items()}


def drawn(known: Mapping[str, Credit], phase: Phase, rng: random.Random) -> str:
    """The emitter of one proposal."""
    return drawn_of(known, rng, BIASES[phase])


def drawn_of(known: Mapping[str, Credit], rng: random.Random, biases: Mapping[str, float] | None = None) -> str:
    """One of those that are known: evenly now and then, else the best of a Thompson draw; the first of equals.

    Args:
        known: name -> credit, at least one.
        rng: of this draw.
        biases: what is added to a name's draw, as a share of it.
    """
    if rng.random() < FLOOR:
        return rng.choice(tuple(known))
    best, most = next(iter(known)), -1.0
    for name, credit in known.items():
        strength = credit.weight + BEFORE
        chance = rng.betavariate(credit.chance * strength, (1.0 - credit.chance) * strength)
        draw = chance * credit.gain / credit.minutes * (1.0 + (biases or {}).get(name, 0.0))
        if draw > most:
            best, most = name, draw
    return best


def tired(history: History, base: ExperimentId) -> str | None:
    """The emitter whose ideas were the last `IN_A_ROW` of the line; None where they were of several."""
    latest: list[str] = []
    for state in reversed(history.line_of(base)):
        if is_idea(state.experiment):
            latest.append(emitter_of(state.experiment))
            if len(latest) == IN_A_ROW:
                break
    return latest[0] if len(latest) == IN_A_ROW and len(set(latest)) == 1 else None


@dataclass(slots=True)
class _Tally:
    tried: int = 0
    weight: float = 0.0
    better: float = 0.0
    gain: float = 0.0
    minutes: float = 0.0

    def take(self, state: ExperimentState, weight: float, minutes: float) -> None:
        verdict = state.verdict
        assert verdict is not None
        chance = 0.0 if verdict.decision is Decision.CRASH else chance_of(verdict)
        self.tried += 1
        self.weight += weight
        self.better += weight * chance
        self.gain += weight * promise(verdict)
        self.minutes += weight * minutes

    def credit(self, emitter: str, everyone: _Tally) -> Credit:
        """With the mean of all emitters as what is believed beforehand."""
        chance, gain, minutes = everyone.means() if everyone.weight else (0.5, 1.0, 1.0)
        better = self.better + BEFORE * chance
        return Credit(
            emitter=emitter,
            tried=self.tried,
            weight=self.weight,
            chance=min(max(better / (self.weight + BEFORE), 1e-3), 1.0 - 1e-3),
            gain=(self.gain + BEFORE * chance * gain) / better if better > 0 else gain,
            minutes=max((self.minutes + BEFORE * minutes) / (self.weight + BEFORE), 1e-6),
        )

    def means(self) -> tuple[float, float, float]:
        has_gained = self.gain > 0 and self.better > 0
        gain = self.gain / self.better if has_gained else 1.0  # of nothing: then chances alone decide
        return self.better / self.weight, gain, self.minutes / self.weight


def promise(verdict: Verdict) -> float:
    """What is expected of a gain where it is one, E[max(gain, 0)] under the verdict's posterior, taken as normal.

    That is P(better) times the mean gain of what is better. Units of the metric.
    """
    if verdict.decision is Decision.CRASH or verdict.gain is None:
        return 0.0
    if verdict.low is None or verdict.high is None or verdict.high <= verdict.low:
        return max(verdict.gain, 0.0)
    spread = (verdict.high - verdict.low) / INTERVAL
    normal = NormalDist(verdict.gain, spread)
    return verdict.gain * (1.0 - normal.cdf(0.0)) + spread**2 * normal.pdf(0.0)
