"""Worlds: what a file may say, and that the luck drawn from it is what it says."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from nightlab.errors import ConfigError
from nightlab.sim.world import SLOPE, Crashes, Curves, Effects, Luck, Noise, Probe, World, load_world, shipped
from nightlab.types import Direction

MANY = 4000


def written(path: Path, text: str) -> str:
    file = path / "world.toml"
    file.write_text(f'name = "w"\n{text}\n', encoding="utf-8")
    return str(file)


REFUSED = {
    "start = nan": "infinite or NaN",
    "crashes.cost = inf": "infinite or NaN",
    "effects.losses = [0.0, inf]": "infinite or NaN",
    "noise.drift = -0.1": "negative",
    "effects.gain = -0.1": "negative",
    "effects.helps = 1.1": "outside 0 to 1",
    "curve.comparable = 5.0": "outside 0 to 1",
    "noise.memory = 1.0": "noise.memory",
    "probe.r2 = 1.0": "probe.r2",
    "slots = 2": "slots",
    "unit = 0.0": "unit",
    "crashes.cost = 0.0": "crashes.cost",
    "effects.headroom = 0.0": "effects.headroom",
    "effects.headroom = nan": "effects.headroom",
    "effects.losses = [0.0]": "differ in length",
    "effects.loss_shares = [0.1, 1.0]": "loss_shares must ascend from 0 to 1",
    "effects.loss_shares = [0.0, 0.9]": "loss_shares must ascend from 0 to 1",
    "effects.loss_shares = [0.0, 0.5, 0.5, 1.0]\neffects.losses = [0.0, 0.1, 0.2, 0.3]": "loss_shares must ascend",
    "effects.losses = [0.2, 0.1]": "losses must ascend",
    "curve.at = [0.4]\ncurve.noise = [0.1]": "curve.fall differ in length",
    "curve.at = [0.4, 0.6]\ncurve.noise = [0.1, 0.1]\ncurve.fall = [0.1, 0.2]": "curve.fall must descend",
    "curve.at = [0.6, 0.4]\ncurve.noise = [0.1, 0.1]\ncurve.fall = [0.2, 0.1]": "curve.at must ascend",
    "noise.dirft = 0.1": "dirft",
    "wind = 1": "wind",
    'direction = "up"': "up",
    'start = "one"': "start",
    "start = ": "is no world",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_a_world_cannot_be_is_refused(tmp_path: Path, text: str) -> None:
    """With the file's name, what is amiss, and the page that says what may stand there."""
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_world(path)
    assert path in str(caught.value)
    assert REFUSED[text] in str(caught.value)
    assert "docs/simulate.md" in (caught.value.hint or "")


@pytest.mark.parametrize("data", [b"", b"\xff\xfe"], ids=["without a name", "no text"])
def test_a_file_that_is_no_world(tmp_path: Path, data: bytes) -> None:
    """Not even a name, or no text at all."""
    path = tmp_path / "w.toml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="is no world"):
        load_world(str(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Is said to be missing."""
    with pytest.raises(ConfigError, match="No such file"):
        load_world(str(tmp_path / "w.toml"))


def test_an_unknown_name_lists_the_shipped_ones() -> None:
    """So that a slip of the pen costs one look."""
    with pytest.raises(ConfigError, match="no world called refrence") as caught:
        load_world("refrence")
    assert all(name in (caught.value.hint or "") for name in shipped())


@pytest.mark.parametrize("name", shipped())
def test_shipped_worlds_are_worlds(name: str) -> None:
    """Each can be read, under its own name, and says where it comes from."""
    world = load_world(name)
    assert world.name == name
    assert world.about


# --- luck -------------------------------------------------------------------------------------------------------

WORLD = World(
    name="w",
    effects=Effects(helps=0.3, gain=0.02, headroom=0.1, loss_shares=(0.0, 0.5, 1.0), losses=(0.0, 0.01, 0.05)),
    noise=Noise(drift=0.4, memory=0.9, white=0.1, seed=0.3, shared=0.25),
    probe=Probe(r2=0.64),
    crashes=Crashes(share=0.2),
    curve=Curves(at=(0.4, 0.6), noise=(0.2, 0.1), fall=(0.5, 0.25), comparable=0.75),
)


def test_the_same_seed_gives_the_same_luck() -> None:
    """In every stream; another seed or another night gives another."""

    def streams(night: int, seed: int) -> list[float]:
        luck = Luck(WORLD, night, seed)
        return [luck.idea(3).effect, luck.drift(7.5), luck.noise("a", 1, 2.0, 3)]

    assert streams(0, 1) == streams(0, 1)
    for other in (streams(1, 1), streams(0, 2)):
        assert all(a != b for a, b in zip(streams(0, 1), other, strict=True))


def test_luck_is_common_whoever_plays() -> None:
    """The k-th idea, the drift at a moment and the effect of a seed do not depend on what was asked before."""
    busy, idle = Luck(WORLD, 0, 1), Luck(WORLD, 0, 1)
    for place in range(700):
        busy.noise(f"arm{place}", place, 0.9 * place, place)
        busy.conditions(0.9 * place)
        busy.curve(f"arm{place}", place, 0.0)
        busy.idea(place)
    assert idle.idea(600) == busy.idea(600)
    assert idle.drift(512.25) == busy.drift(512.25)
    assert idle.noise("arm5", 5, 3.0, 1) == busy.noise("arm5", 5, 3.0, 1)


def test_ideas_are_what_the_world_says() -> None:
    """Share that helps, mean gain, losses between their points, crashes, comparable curves: within 4 standard errors.

    Losses: half lie below 0.01 evenly, half between 0.01 and 0.05, so their mean is 0.0175.
    """
    luck = Luck(WORLD, 0, 1)
    draws = [luck.idea(place) for place in range(MANY)]
    gains = np.array([-draw.effect for draw in draws if draw.effect < 0.0])
    losses = np.array([draw.effect for draw in draws if draw.effect >= 0.0])
    for share, wanted in (
        (len(gains) / MANY, 0.3),
        (sum(draw.crashes for draw in draws) / MANY, 0.2),
        (sum(draw.comparable for draw in draws) / MANY, 0.75),
        (float(np.mean(losses <= 0.01)), 0.5),
    ):
        assert share == pytest.approx(wanted, abs=4 * math.sqrt(0.25 / (0.7 * MANY)))
    assert gains.mean() == pytest.approx(0.02, abs=4 * 0.02 / math.sqrt(len(gains)))
    assert losses.mean() == pytest.approx(0.0175, abs=4 * losses.std() / math.sqrt(len(losses)))
    assert losses.max() <= 0.05


def test_gains_shrink_with_the_head_room_and_losses_do_not() -> None:
    """Half of the head-room gone, half of the gain left; nothing left, no gain at all."""
    luck = Luck(WORLD, 0, 1)
    draws = [luck.idea(place) for place in range(50)]
    better, worse = (next(d for d in draws if (d.effect < 0.0) is helps) for helps in (True, False))
    assert luck.moved(0.0, better) == better.effect
    assert luck.moved(-0.05, better) == pytest.approx(-0.05 + 0.5 * better.effect)
    assert luck.moved(-0.2, better) == -0.2
    assert luck.moved(-0.05, worse) == pytest.approx(-0.05 + worse.effect)


def test_the_drift_is_an_ar1_process() -> None:
    """Of the world's standard deviation and memory, over many nights; linear between two slots."""
    paths = np.array([[luck.drift(float(at)) for at in range(60)] for luck in (Luck(WORLD, n, 1) for n in range(400))])
    assert paths.std() == pytest.approx(0.4, rel=0.1)
    assert np.corrcoef(paths[:, :-1].ravel(), paths[:, 1:].ravel())[0, 1] == pytest.approx(0.9, abs=0.02)
    assert np.corrcoef(paths[:, 0], paths[:, 20])[0, 1] == pytest.approx(0.9**20, abs=4 / math.sqrt(400))
    luck = Luck(WORLD, 0, 1)
    assert luck.drift(4.25) == pytest.approx(0.75 * luck.drift(4.0) + 0.25 * luck.drift(5.0))


def test_the_noise_of_a_run_has_its_parts() -> None:
    """White anew for each run, a seed's effect for ever, its shared part for all arms; sizes as the world says."""
    calm = World(name="w", noise=Noise(white=0.1, seed=0.3, shared=0.25))
    luck = Luck(calm, 0, 1)
    values = np.array([[luck.noise("a", s, 0.0, 0), luck.noise("b", s, 1.0, 1)] for s in range(MANY)])
    assert values.std() == pytest.approx(math.hypot(0.1, 0.3), rel=0.05)
    shared = 0.25 * 0.09 / (0.01 + 0.09)
    assert np.corrcoef(values.T)[0, 1] == pytest.approx(shared, abs=4 / math.sqrt(MANY))
    turns = np.array([luck.noise("a", 0, 0.0, turn) for turn in range(MANY)])
    assert turns.std() == pytest.approx(0.1, rel=0.05)


def test_the_probe_tells_as_much_of_the_drift_as_the_world_says() -> None:
    """Squared correlation of its log speed with the drift, and the slope between the two; none where there is none."""
    drifts, speeds = [], []
    for night in range(1500):
        luck = Luck(WORLD, night, 1)
        for at in (0.0, 30.0):
            found = luck.conditions(at)
            assert found is not None
            assert found.speed is not None
            drifts.append(luck.drift(at))
            speeds.append(math.log(found.speed))
    assert np.corrcoef(drifts, speeds)[0, 1] ** 2 == pytest.approx(0.64, abs=0.042)  # 4 standard errors
    assert np.polyfit(drifts, speeds, 1)[0] == pytest.approx(-1.0 / SLOPE, rel=0.05)
    assert Luck(World(name="w", noise=Noise(drift=1.0)), 0, 1).conditions(0.0) is None
    assert Luck(World(name="w", probe=Probe(r2=0.5)), 0, 1).conditions(0.0) is None


def test_curves_tell_of_their_ends() -> None:
    """A curve ends at its run's loss, lies above it by the fall on the way, and lags by the world's noise."""
    luck = Luck(WORLD, 0, 1)
    curves = [luck.curve(f"arm{place}", 0, 1.0) for place in range(1000)]
    assert all(curve.points[-1] == (1.0, 1.0) for curve in curves)
    for at, fall, noise in ((0.4, 0.5, 0.2), (0.6, 0.25, 0.1)):
        looks = np.array([dict(curve.points)[at] for curve in curves])
        assert looks.mean() == pytest.approx(1.0 + fall, abs=4 * noise / math.sqrt(1000))
        assert looks.std() == pytest.approx(noise, rel=0.1)
    assert Luck(World(name="w"), 0, 1).curve("a", 0, 1.0).points == ()


def test_direction_defaults_to_a_loss() -> None:
    """A world that says nothing of it is minimised."""
    assert World(name="w").direction is Direction.MINIMIZE
