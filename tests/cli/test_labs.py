"""What `nightlab new` writes for the machine that it is on."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from nightlab.cli.labs import BENCHMARK, make_lab
from nightlab.config import load_settings
from nightlab.runner import machine


@pytest.mark.parametrize(
    ("gpus", "command"), [(("NVIDIA H100",), "uv run prepare.py --probe"), ((), "")], ids=["a GPU", "none"]
)
def test_a_new_lab_has_a_probe_where_speed_matters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: tuple[str, ...], command: str
) -> None:
    """On a GPU the budget is in seconds; on a CPU it counts work. Either way the receipt says so of each run."""
    monkeypatch.setattr(machine, "visible_gpus", lambda: gpus)
    make_lab(tmp_path / "lab")
    settings = load_settings(tmp_path / "lab")
    assert settings.probe.command == command
    assert settings.metric.timed == "auto"


@pytest.mark.parametrize(
    ("gpus", "noise", "speed"), [(("NVIDIA H100",), 0.0005, 0.058), ((), 0.008, 0.0)], ids=["a GPU", "none"]
)
def test_a_new_lab_begins_with_what_is_known_of_its_kind_of_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: tuple[str, ...], noise: float, speed: float
) -> None:
    """Noise of one run, and on a GPU what its speed does to it, from public reruns; the prior is the generic one."""
    monkeypatch.setattr(machine, "visible_gpus", lambda: gpus)
    make_lab(tmp_path / "lab")
    judge = load_settings(tmp_path / "lab").judge
    assert (judge.noise, judge.speed_effect, judge.prior) == (noise, speed, "generic")


def test_a_new_lab_has_all_that_travels_in_the_wheel(tmp_path: Path) -> None:
    """Benchmark and doors lie in a new lab as they lie here, and the wheel brings each of them."""
    make_lab(tmp_path / "lab")
    root = Path(__file__).parents[2]
    assert all((tmp_path / "lab" / name).read_bytes() == (root / name).read_bytes() for name in BENCHMARK)
    assert "research/__main__.py" in BENCHMARK
    build = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]
    assert build["wheel"]["force-include"] == {name: f"nightlab/benchmark/{name}" for name in BENCHMARK}
    assert {name.partition("/")[0] for name in BENCHMARK} <= set(build["sdist"]["include"])
