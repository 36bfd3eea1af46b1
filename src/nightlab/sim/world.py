"""A world: what ideas do, how noisy a run is, how the machine drifts. Read from a file; docs/simulate.md is the format.

The judge is never told anything of it. All lengths of time are in slots: one slot is one full run.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from nightlab.errors import ConfigError
from nightlab.types import Conditions, Curve, Direction, Reading

SHIPPED = Path(__file__).with_name("worlds")
SLOPE = 0.058
"""Loss that one unit of the log of the machine's speed saves, small units of the world: how far a probe moves.

H200 machines: 888 reruns of one configuration, bpb against the log of their steps. A lab is not told of it."""


class Effects(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an idea does to the truth of the source that it is built on. Losses: lower is better."""

    helps: float = 0.07  # share of ideas that truly help
    gain: float = 0.0023  # mean of their gains, exponentially distributed, at full head-room
    headroom: float | None = 0.03  # gains shrink in proportion to what is left of it; none: they never do
    loss_shares: tuple[float, ...] = (0.0, 1.0)  # cumulative shares of the other ideas ...
    losses: tuple[float, ...] = (0.0, 0.0)  # ... and how much those lose, drawn between the points


class Noise(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Standard deviations of what one run adds to the truth."""

    drift: float = 0.0  # of the machine, an AR(1) process
    memory: float = 0.94  # its correlation from slot to slot
    white: float = 0.0
    seed: float = 0.0
    shared: float = 0.5  # share of the seed's variance that all experiments with this seed have in common


class Probe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A fixed throughput probe beside each run."""

    r2: float = 0.0  # squared correlation of its log speed with the drift; 0: there is no probe


class Crashes(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    share: float = 0.0  # of ideas
    cost: float = 0.15  # slots


class Curves(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How well a run's loss on the way tells its end; none: the world has no curves."""

    at: tuple[float, ...] = ()  # shares of the budget, ascending
    noise: tuple[float, ...] = ()  # standard deviation of (lag there - lag at the end), for each
    fall: tuple[float, ...] = ()  # by how much the loss still falls from each to the end
    comparable: float = 1.0  # share of ideas whose curve may be compared with the champion's


class World(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A world with its units. The truth of an experiment is its mean over seeds at the machine's reference speed."""

    name: str
    about: str = ""
    slots: float = 100.0  # of one night
    start: float = 1.0  # the baseline's metric
    unit: float = 1.0  # of the metric, that all losses below are multiplied by
    direction: Direction = Direction.MINIMIZE
    decimals: int | None = 6  # to which the metric is printed; none: as it is
    effects: Effects = Effects()
    noise: Noise = Noise()
    probe: Probe = Probe()
    crashes: Crashes = Crashes()
    curve: Curves = Curves()


def load_world(name: str) -> World:
    """A shipped world by its name, or a world's file (TOML).

    Raises:
        ConfigError: there is none, or it cannot be understood.
    """
    path = Path(name)
    if not path.suffix and not path.exists():
        path = SHIPPED / f"{name}.toml"
        if not path.is_file():
            raise ConfigError(
                f"there is no world called {name}", hint=f"shipped are {', '.join(shipped())}; or name a file"
            )
    try:
        world = msgspec.toml.decode(path.read_bytes(), type=World)
    except (OSError, tomllib.TOMLDecodeError, msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path} is no world: {exc}", hint="docs/simulate.md says what a world's file holds") from exc
    _check(world, path)
    return world


def shipped() -> tuple[str, ...]:
    """Names of the worlds that travel with nightlab."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.toml")))


def _check(world: World, path: Path) -> None:
    effects, noise, curve = world.effects, world.noise, world.curve
    noises = (noise.drift, noise.white, noise.seed, *curve.noise)
    sizes = (effects.gain, *effects.losses, *noises, *curve.fall, world.crashes.cost)
    shares = (effects.helps, *effects.loss_shares, noise.shared, world.probe.r2, world.crashes.share, *curve.at)
    shares = (*shares, curve.comparable)
    problems = {
        "a number is infinite or NaN": not all(
            map(math.isfinite, (*sizes, *shares, world.slots, world.start, world.unit))
        ),
        "a size (gain, loss, noise, fall, cost) is negative": any(size < 0 for size in sizes),
        "a share lies outside 0 to 1": any(not 0 <= share <= 1 for share in shares),
        "noise.memory must lie between 0 and 1, 1 left out": not 0 <= noise.memory < 1,
        "probe.r2 must be below 1": not world.probe.r2 < 1,
        "slots must be at least 3": not world.slots >= 3,
        "unit must be positive": not world.unit > 0,
        "crashes.cost must be positive": not world.crashes.cost > 0,
        "effects.headroom must be positive": effects.headroom is not None and not effects.headroom > 0,
        "effects.losses and loss_shares differ in length": len(effects.losses) != len(effects.loss_shares),
        "effects.loss_shares must ascend from 0 to 1": not _spans(effects.loss_shares),
        "effects.losses must ascend": list(effects.losses) != sorted(effects.losses),
        "curve.at, curve.noise and curve.fall differ in length": len({*map(len, (curve.at, curve.noise, curve.fall))})
        > 1,
        "curve.fall must descend": list(curve.fall) != sorted(curve.fall, reverse=True),
        "curve.at must ascend": list(curve.at) != sorted(set(curve.at)),
    }
    for problem, found in problems.items():
        if found:
            raise ConfigError(f"{path}: {problem}", hint="docs/simulate.md says what a world's file holds")


def _spans(shares: tuple[float, ...]) -> bool:
    return len(shares) > 1 and shares[0] == 0.0 and shares[-1] == 1.0 and list(shares) == sorted(set(shares))


@dataclass(frozen=True, slots=True)
class Draw:
    """One idea as the world drew it."""

    effect: float  # loss added at full head-room, negative is better; in the world's own small units
    crashes: bool
    comparable: bool  # whether its loss curve may be compared with the champion's


class Luck:
    """One night's random streams. The k-th idea and the k-th slot are the same whoever plays the night.

    The streams are drawn apart and by place, so that policies that try, repeat and skip differently still meet the
    same ideas, the same drift and the same seeds (common random numbers).
    """

    LENGTH = 512  # ideas and slots drawn at a time

    def __init__(self, world: World, night: int, seed: int) -> None:
        self.world = world
        self._key = (seed, night)
        self._drift: list[float] = []
        self._ideas: list[Draw] = []
        self._parts: dict[tuple[str, int], float] = {}
        self._normals: dict[str, np.random.Generator] = {}

    def _generator(self, purpose: str) -> np.random.Generator:
        if purpose not in self._normals:
            self._normals[purpose] = np.random.default_rng((*self._key, *purpose.encode()))
        return self._normals[purpose]

    def idea(self, place: int) -> Draw:
        """The `place`-th idea of the night."""
        while place >= len(self._ideas):
            self._ideas += self._draw_ideas()
        return self._ideas[place]

    def _draw_ideas(self) -> list[Draw]:
        effects = self.world.effects
        uniform = self._generator("ideas").random((self.LENGTH, 4))
        gains = -effects.gain * np.log1p(-uniform[:, 1])
        losses = np.interp(uniform[:, 1], effects.loss_shares, effects.losses)
        effect = np.where(uniform[:, 0] < effects.helps, -gains, losses)
        crashed = uniform[:, 2] < self.world.crashes.share
        comparable = uniform[:, 3] < self.world.curve.comparable
        return [Draw(float(e), bool(c), bool(k)) for e, c, k in zip(effect, crashed, comparable, strict=True)]

    def moved(self, truth: float, draw: Draw) -> float:
        """Truth of an idea on top of a source whose truth is `truth` (loss relative to the baseline's)."""
        headroom = self.world.effects.headroom
        if draw.effect >= 0.0 or headroom is None:
            return truth + draw.effect
        return truth + draw.effect * max(1.0 + truth / headroom, 0.0)

    def drift(self, at: float) -> float:
        """The machine's state at a moment, slots since the night began; linear between whole slots."""
        place = int(at)
        while place + 1 >= len(self._drift):
            self._draw_drift()
        share = at - place
        return (1.0 - share) * self._drift[place] + share * self._drift[place + 1]

    def _draw_drift(self) -> None:
        noise = self.world.noise
        fresh = self._generator("drift").standard_normal(self.LENGTH)
        state = self._drift[-1] if self._drift else noise.drift * float(fresh[0])
        if not self._drift:
            self._drift.append(state)
            fresh = fresh[1:]
        for step in fresh:
            state = noise.memory * state + math.sqrt(1.0 - noise.memory**2) * noise.drift * float(step)
            self._drift.append(state)

    def noise(self, arm: str, seed: int, at: float, turn: int) -> float:
        """What the `turn`-th run of the night adds to the truth of `arm`."""
        noise = self.world.noise
        white = noise.white * self._part(f"white {arm} {turn}", seed)
        own = noise.seed * math.sqrt(1.0 - noise.shared) * self._part(f"own {arm}", seed)
        common = noise.seed * math.sqrt(noise.shared) * self._part("common", seed)
        return self.drift(at) + white + own + common

    def conditions(self, at: float) -> Conditions | None:
        """What the probe says at a moment; None where there is no probe."""
        r2, drift = self.world.probe.r2, self.world.noise.drift
        if r2 == 0.0 or drift == 0.0:
            return None
        error = drift * math.sqrt(1.0 / r2 - 1.0) * self._part("probe", round(at * 1000))
        speed = math.exp(-(self.drift(at) + error) / SLOPE)
        return Conditions(before=Reading(speed=speed), after=Reading(), timed=True)

    def device(self, turn: int) -> str:
        """Where the `turn`-th run of the night happens."""
        return "sim:0"

    def curve(self, arm: str, seed: int, loss: float) -> Curve:
        """The curve of a run that ends at `loss`, in the world's small units."""
        world = self.world.curve
        if not world.at:
            return Curve(())
        lags = [noise * self._part(f"curve {look} {arm}", seed) for look, noise in enumerate(world.noise)]
        looks = [(at, loss + fall + lag) for at, fall, lag in zip(world.at, world.fall, lags, strict=True)]
        return Curve(((0.01, loss + 2.0 * world.fall[0]), *looks, (1.0, loss)))

    def _part(self, name: str, index: int) -> float:
        key = (name, index)
        if key not in self._parts:
            generator = np.random.default_rng((*self._key, index & 0xFFFFFFFF, *name.encode()))
            self._parts[key] = float(generator.standard_normal())
        return self._parts[key]
