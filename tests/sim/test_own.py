"""A world made of a lab's own history."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from nightlab.config import JudgeSettings, MetricSettings, Settings
from nightlab.errors import NotFoundError
from nightlab.history import History
from nightlab.sim.night import Night
from nightlab.sim.own import LEAST, world_of
from nightlab.sim.policies import Site
from nightlab.sim.world import Crashes, Effects, Luck, Noise, World, load_world
from nightlab.types import Direction

TRUE = World(
    name="true",
    slots=250.0,
    start=0.8,
    unit=0.5,
    direction=Direction.MAXIMIZE,
    decimals=None,
    effects=Effects(helps=0.15, gain=0.02, headroom=None, loss_shares=(0.0, 1.0), losses=(0.0, 0.02)),
    noise=Noise(white=0.001, seed=0.003, shared=0.5),
    crashes=Crashes(share=0.1),
)


def lab(world: World) -> tuple[History, Settings]:
    """A night of that world, and the settings of the lab that it is in."""
    metric = MetricSettings(direction=world.direction, low=None, high=None)
    settings = Settings(root=Path("/labs/mine"), metric=metric, judge=JudgeSettings())
    return Night(Site(world, Luck(world, 0, 1)), settings).play(world.slots), settings


def test_a_lab_finds_its_own_world() -> None:
    """Noise, what ideas do and how many crash come back about as they were, in units of the metric."""
    found = world_of(*lab(TRUE))
    assert (found.name, found.direction, found.decimals) == ("mine", Direction.MAXIMIZE, None)
    assert found.start == pytest.approx(0.8, abs=0.005)
    sd = (found.noise.drift**2 + found.noise.seed**2) ** 0.5
    assert sd == pytest.approx(0.5 * 0.00316, rel=0.5)
    assert found.effects.helps == pytest.approx(0.15, abs=0.08)
    assert found.effects.gain == pytest.approx(0.5 * 0.02, rel=0.5)
    assert found.effects.losses[2] == pytest.approx(0.5 * 0.01, rel=0.5)
    assert found.effects.headroom is None
    assert found.crashes.share == pytest.approx(0.1, abs=0.07)


def test_its_own_world_can_be_played(tmp_path: Path) -> None:
    """It is a world like any other: a file of it is accepted as it stands."""
    found = world_of(*lab(msgspec.structs.replace(TRUE, slots=30.0)))
    plain = {key: value for key, value in msgspec.to_builtins(found).items() if key != "decimals"}
    del plain["effects"]["headroom"]
    path = tmp_path / "own.toml"
    lines = [f"{key} = {value!r}" for key, value in flat(plain)]
    path.write_text("\n".join(lines).replace("'", '"').replace("(", "[").replace(")", "]") + "\n", encoding="utf-8")
    again = load_world(str(path))
    assert (again.noise, again.effects.losses) == (found.noise, found.effects.losses)


def flat(tree: dict[str, object], before: str = "") -> list[tuple[str, object]]:
    """Dotted keys and values of a tree."""
    found: list[tuple[str, object]] = []
    for key, value in tree.items():
        found += flat(value, f"{before}{key}.") if isinstance(value, dict) else [(before + key, value)]
    return found


def test_removals_are_no_ideas() -> None:
    """What a night's end takes out again says nothing of what ideas do: shares are of ideas alone."""
    history, settings = lab(msgspec.structs.replace(TRUE, slots=60.0))
    removals = [s for s in history.experiments.values() if s.experiment.plan.without is not None and s.verdicts]
    assert removals
    before = world_of(history, settings)
    for state in removals:
        state.verdicts = [replace(verdict, gain=-9.0) for verdict in state.verdicts]
    assert world_of(history, settings) == before


@pytest.mark.parametrize("slots", [0.0, 5.0])
def test_too_little_history_is_no_world(slots: float) -> None:
    """A new lab, or one of three ideas: it says how many there are and how many it takes."""
    history, settings = lab(msgspec.structs.replace(TRUE, slots=slots or 3.0))
    if not slots:
        history = History()
    with pytest.raises(NotFoundError, match=r"has judged \d ideas") as caught:
        world_of(history, settings)
    assert str(LEAST) in (caught.value.hint or "")
