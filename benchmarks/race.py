"""How good are the decisions of a night? Keeping every best-so-far against the race, in a simulated world.

    uv run python benchmarks/race.py [--nights 200] [--seed 11]

The world is that of statistics.md, section 3, rebuilt from its published figures: a hundred slots; 7 % of ideas truly
help, by 0.0023 on average, shrinking with the head-room of 0.03 that is left; the others hurt, with the quantiles
published there (section 2a); 7 % of runs crash after 0.15 of a slot; noise is a drift of the machine's speed, white
noise and seed effects. The truth of an experiment is its mean over seeds at reference speed. The judge is told
nothing: it learns the noise from the runs it asks for. The rows of a table share the nights' ideas and random streams.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np

from nightlab.config import JudgeSettings
from nightlab.judge.model import Row
from nightlab.judge.race import compare, judge, next_seed, standing
from nightlab.types import Decision, ExperimentId

SLOTS = 100.0  # full runs that fit into a night
CRASHES = 0.07  # share of runs that crash
CRASH_COST = 0.15  # slots
HELPS = 0.07  # share of ideas that truly help
MEAN_GAIN = 0.0023  # of those, at full head-room (bpb)
HEADROOM = 0.03  # bpb
HARMFUL = 0.0002  # true loss from which a false promotion is called harmful (bpb)
SEEDS = tuple(range(1000))
FINAL_SEED = 5000

# Losses by cumulative share of all ideas: 23 % lie within 0.0005 of zero, of which gains take 1.4 %; median and upper
# quartile from section 2a. The last two points (the tail beyond it) are ours.
LOSS_SHARES = (HELPS, 0.286, 0.50, 0.75, 0.95, 1.0)
LOSSES = (0.0, 0.0005, 0.00103, 0.00247, 0.010, 0.05)  # bpb


@dataclass(frozen=True)
class World:
    """Standard deviations in bpb."""

    name: str
    drift: float = 0.00046  # of the machine, AR(1)
    drift_memory: float = 0.94  # per slot
    white: float = 0.00012
    seed: float = 0.0003
    seed_shared: float = 0.5  # share of the seed's variance that all arms have in common; ours, not published
    effects: bool = True  # False: no idea changes anything


RAW = World("raw noise, with drift")
PROBE = World("drift reduced by a speed probe (r2 0.8)", drift=0.00046 * 0.2**0.5)
STEADY = World("no drift, deterministic (fixed tokens)", drift=0.0, white=0.0, seed=0.0005)


@dataclass
class Night:
    """One night's luck, played by one policy: effects and noise come from their own streams."""

    world: World
    seed: int
    used: float = 0.0
    tried: int = 0
    runs: int = 0
    truth: dict[ExperimentId, float] = field(default_factory=dict)
    _drift: float = 0.0
    _at: float = 0.0
    _seed_parts: dict[tuple[str, int], float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._ideas = np.random.default_rng((self.seed, 1))
        self._noise = np.random.default_rng((self.seed, 2))
        self._drift = self.world.drift * float(self._noise.standard_normal())

    @property
    def over(self) -> bool:
        return self.used + 1.0 > SLOTS + 1e-9

    def baseline(self) -> ExperimentId:
        arm = ExperimentId("baseline")
        self.truth[arm] = 0.0
        return arm

    def idea(self, parent: ExperimentId) -> ExperimentId | None:
        """A new idea on top of `parent`, or None if its run crashes."""
        crash, kind, size = self._ideas.random(3)
        self.tried += 1
        if crash < CRASHES:
            self.used += CRASH_COST
            return None
        arm = ExperimentId(f"idea{self.tried}")
        left = max(1.0 + self.truth[parent] / HEADROOM, 0.0)
        gain = -MEAN_GAIN * np.log1p(-size) * left
        loss = np.interp(HELPS + (1.0 - HELPS) * size, LOSS_SHARES, LOSSES)
        effect = 0.0 if not self.world.effects else -gain if kind < HELPS else loss
        self.truth[arm] = self.truth[parent] + float(effect)
        return arm

    def run(self, arm: ExperimentId, seed: int) -> Row:
        """Spend a slot; the value is a loss relative to the baseline's truth, printed to six decimals."""
        world = self.world
        memory = world.drift_memory ** (self.used - self._at)
        fresh = (1.0 - memory * memory) ** 0.5 * world.drift
        self._drift = memory * self._drift + fresh * float(self._noise.standard_normal())
        self._at = self.used
        self.used += 1.0
        self.runs += 1
        own = world.seed * (1.0 - world.seed_shared) ** 0.5 * self._part(arm, seed)
        common = world.seed * world.seed_shared**0.5 * self._part("", seed)
        white = world.white * float(self._noise.standard_normal())
        value = 1.0 + self.truth[arm] + self._drift + white + own + common
        return Row(arm, seed, self.runs, round(value, 6))

    def _part(self, arm: str, seed: int) -> float:
        key = (arm, seed)
        if key not in self._seed_parts:
            self._seed_parts[key] = float(self._noise.standard_normal())
        return self._seed_parts[key]


@dataclass(frozen=True)
class Played:
    """What came of a night. Gains in bpb, positive is better."""

    tried: int
    promoted: int
    false: int
    harmful: int
    gain: float
    reported: float
    replicates: int = 0
    final_error: float | None = None  # final estimate minus truth
    covered: bool | None = None  # whether the final interval holds the truth


def _played(night: Night, chain: Sequence[ExperimentId], reported: float, replicates: int = 0) -> Played:
    steps = [night.truth[b] - night.truth[a] for a, b in pairwise(chain)]
    return Played(
        tried=night.tried,
        promoted=len(steps),
        false=sum(step >= 0.0 for step in steps),
        harmful=sum(step > HARMFUL for step in steps),
        gain=-night.truth[chain[-1]],
        reported=reported,
        replicates=replicates,
    )


def greedy(night: Night) -> Played:
    """Keep every run that beats the best one; always the same seed, as upstream does."""
    chain = [night.baseline()]
    first = best = night.run(chain[0], SEEDS[0]).value
    while not night.over:
        arm = night.idea(chain[-1])
        if arm is not None:
            value = night.run(arm, SEEDS[0]).value
            if value < best:
                best = value
                chain.append(arm)
    return _played(night, chain, first - best)


def race(night: Night, settings: JudgeSettings) -> Played:
    """The judge's rule, then fresh seeds for the headline (beyond the hundred slots)."""
    chain = [night.baseline()]
    rows = [night.run(chain[0], seed) for seed in SEEDS[: settings.baseline_runs]]
    replicates = len(rows) - 1
    while not night.over:
        arm = night.idea(chain[-1])
        if arm is None:
            continue
        rows.append(night.run(arm, SEEDS[0]))
        steps = 0
        verdict = judge(arm, chain[-1], rows, settings, steps)
        while verdict.decision is Decision.RETEST and not night.over:
            side = verdict.replicate or arm
            other = chain[-1] if side == arm else arm
            own, theirs = (frozenset(row.seed for row in rows if row.arm == a) for a in (side, other))
            rows.append(night.run(side, next_seed(own, theirs, lambda k: SEEDS[k])))
            steps += 1
            verdict = judge(arm, chain[-1], rows, settings, steps)
        replicates += steps
        if verdict.decision is Decision.KEEP:
            chain.append(arm)
    if len(chain) == 1:
        return _played(night, chain, 0.0, replicates)
    believed = standing(chain[-1], chain[0], rows, settings)
    assert believed is not None
    return _final(night, chain, rows, settings, _played(night, chain, believed.gain, replicates))


def _final(
    night: Night, chain: Sequence[ExperimentId], rows: Sequence[Row], settings: JudgeSettings, played: Played
) -> Played:
    fresh = [night.run(arm, FINAL_SEED + k) for k in range(settings.final_runs) for arm in (chain[-1], chain[0])]
    headline = compare(chain[-1], chain[0], fresh, settings, noise_rows=rows)
    assert headline is not None
    covered = headline.low <= played.gain <= headline.high
    return replace(played, final_error=headline.gain - played.gain, covered=covered)


# --- tables -----------------------------------------------------------------------------------------------------


def _mean(values: Sequence[float], factor: float = 1.0, digits: int = 1) -> str:
    array = factor * np.array(values, dtype=float)
    if len(array) < FEW:
        return "-"
    return f"{array.mean():.{digits}f} ± {array.std(ddof=1) / len(array) ** 0.5:.{digits}f}"


def _share(parts: Sequence[float], wholes: Sequence[float]) -> str:
    """Ratio of sums in per cent with the standard error of a ratio estimator."""
    part, whole = np.array(parts, dtype=float), np.array(wholes, dtype=float)
    if whole.sum() == 0 or len(whole) < FEW:
        return "-"
    ratio = part.sum() / whole.sum()
    error = (part - ratio * whole).std(ddof=1) / len(part) ** 0.5 / whole.mean()
    return f"{100 * ratio:.1f} ± {100 * error:.1f} %"


FEW = 5  # nights below which a cell stays empty

HEADER = (
    "| policy | ideas tried | promotions | false | harmful | nights with a false one | true gain x1e4 "
    "| reported - true gain x1e4 | slots on replicates | final - true x1e4 | 95 % interval holds |\n"
    + "|---" * 11
    + "|"
)


def line(name: str, nights: Sequence[Played]) -> str:
    promoted = [n.promoted for n in nights]
    finals = [n for n in nights if n.final_error is not None]
    cells = (
        name,
        _mean([n.tried for n in nights]),
        _mean(promoted, digits=2),
        _share([n.false for n in nights], promoted),
        _share([n.harmful for n in nights], promoted),
        _share([n.false > 0 for n in nights], [1.0] * len(nights)),
        _mean([n.gain for n in nights], 1e4),
        _mean([n.reported - n.gain for n in nights], 1e4, 2),
        _mean([n.replicates for n in nights]),
        _mean([n.final_error or 0.0 for n in finals], 1e4, 2),
        _share([bool(n.covered) for n in finals], [1.0] * len(finals)),
    )
    return "| " + " | ".join(cells) + " |"


Policy = Callable[[Night], Played]


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the decisions of simulated nights.")
    parser.add_argument("--nights", type=int, default=200)
    parser.add_argument("--seed", type=int, default=11)
    options = parser.parse_args()
    blind, guess = JudgeSettings(), JudgeSettings(noise=0.0005)
    unknown: tuple[str, Policy] = ("race, noise unknown", lambda night: race(night, blind))
    guessed: tuple[str, Policy] = ("race, first guess 0.0005", lambda night: race(night, guess))
    table: list[tuple[World, list[tuple[str, Policy]]]] = [
        (RAW, [("greedy", greedy), unknown, guessed]),
        (replace(RAW, effects=False), [("greedy", greedy), unknown]),
        (PROBE, [("greedy", greedy), unknown]),
        (STEADY, [("greedy", greedy), unknown]),
        (replace(STEADY, effects=False), [("greedy", greedy), unknown]),
    ]
    for world, policies in table:
        kind = "" if world.effects else ", A/A: no idea changes anything"
        print(f"\n### {world.name}{kind}; {options.nights} nights\n")
        print(HEADER)
        for name, policy in policies:
            nights = [policy(Night(world, options.seed * 100_000 + k)) for k in range(options.nights)]
            print(line(name, nights), flush=True)


if __name__ == "__main__":
    main()
