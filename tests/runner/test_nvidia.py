"""What nvidia-smi says of a GPU, whatever driver it belongs to, and whether others use the card."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightlab.runner import nvidia
from nightlab.runner.nvidia import Gpu
from nightlab.runner.tree import RUN_VARIABLE
from tests.runner.smi import Smi

STRANGER = 4_000_000_000  # no process has such an id


@pytest.fixture
def smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Smi:
    return Smi.installed(tmp_path, monkeypatch)


def test_a_quiet_card(smi: Smi) -> None:
    """Clock, use and reasons of the one card that is asked for."""
    assert nvidia.look("GPU-a") == Gpu(clock_mhz=1980.0, busy=0.0, held=0.0)
    assert all("--id=GPU-a" in asked for asked in smi.asked)
    assert len(smi.asked) == 2


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        ("0x0000000000000001", ""),  # idle
        ("0x0000000000000004", ""),  # at its power cap, as under any load
        ("0x0000000000000020", "too hot"),
        ("0x0000000000000048", "slowed down by its hardware and too hot"),
        ("0x0000000000000060", "too hot"),
        ("0x0000000000000084", "short of power"),
        ("[N/A]", ""),
        ("Active", ""),
    ],
)
def test_the_reasons_that_matter_are_told(smi: Smi, mask: str, words: str) -> None:
    """Heat and a power brake; neither an idle card nor one at its cap is in trouble."""
    smi.say(gpu=[f"1200, 3, 81559, {mask}"])
    found = nvidia.look("0")
    assert found is not None
    assert found.slowed == words


@pytest.mark.parametrize(
    ("unknown", "slowed"),
    [
        pytest.param(["clocks_event_reasons"], "too hot", id="an older driver"),
        pytest.param(["clocks_event_reasons", "clocks_throttle_reasons"], "", id="one without reasons"),
    ],
)
def test_a_field_that_the_driver_does_not_know_spoils_no_other(smi: Smi, unknown: list[str], slowed: str) -> None:
    """It is asked for by its older name, then left out."""
    with_reasons = ", 0x0000000000000020" if slowed else ""
    smi.say(gpu=[f"1500, 4, 81559{with_reasons}"], unknown=unknown)
    assert nvidia.look("0") == Gpu(clock_mhz=1500.0, busy=0.04, slowed=slowed, held=0.0)


def test_what_is_not_available_is_not_known(smi: Smi) -> None:
    """Cards that are divided, and consumer ones, leave cells open; a stranger's memory too."""
    smi.say(gpu=["[N/A], [N/A], [Not Supported], [N/A]"], apps=[f"{STRANGER}, [N/A]"])
    found = nvidia.look("0", sleep=lambda seconds: None)
    assert found == Gpu(strangers=1)
    assert found.is_taken


@pytest.mark.parametrize("body", ["exit 9", "echo", "echo 'No devices were found'", "echo '1, 2'", "printf '\\377'"])
def test_a_tool_that_does_not_answer_is_no_error(smi: Smi, body: str) -> None:
    """Nothing is known then."""
    (smi.place / "nvidia-smi").write_text(f"#!/bin/sh\n{body}\n")
    assert nvidia.look("0") is None


def test_no_tool_is_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without nvidia-smi."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert nvidia.look("0") is None


def test_the_end_of_a_run_is_waited_out(smi: Smi) -> None:
    """Use is a mean over a second: what was the run's own is gone when asked again; clock and reasons are kept."""
    smi.say(gpu=["1755, 100, 81559, 0x0000000000000020", "345, 0, 81559, 0x0000000000000001"])
    pauses: list[float] = []
    found = nvidia.look("0", sleep=pauses.append)
    assert found == Gpu(clock_mhz=1755.0, busy=0.0, slowed="too hot", held=0.0)
    assert not found.is_taken
    assert len(pauses) == 1


def test_others_who_stay_are_seen(smi: Smi) -> None:
    """Kernels that still run when the run has been over for a second are somebody else's."""
    smi.say(gpu=["1755, 100, 81559, 0x0"], apps=[f"{STRANGER}, 20000\n{STRANGER + 1}, 400"])
    found = nvidia.look("0", sleep=lambda seconds: None)
    assert found is not None
    assert found.is_taken
    assert (found.busy, found.strangers) == (1.0, 2)
    assert found.held == pytest.approx(20400 / 81559)


def test_an_idle_notebook_does_not_take_the_card(smi: Smi) -> None:
    """A process that holds a context and computes nothing costs no run anything."""
    smi.say(apps=[f"{STRANGER}, 500"])
    found = nvidia.look("0")
    assert found is not None
    assert not found.is_taken


@pytest.fixture
def own_run() -> Iterator[int]:
    """A process that was started for a run of a lab."""
    env = {**os.environ, RUN_VARIABLE: "r1"}
    with subprocess.Popen([sys.executable, "-S", "-c", "input()"], stdin=subprocess.PIPE, env=env) as process:
        yield process.pid
        process.kill()


def test_runs_of_a_lab_are_no_strangers(smi: Smi, own_run: int) -> None:
    """Places that share a card are the lab's own choice; beside them nobody can be told apart."""
    smi.say(gpu=["1755, 100, 81559, 0x0"], apps=[f"{own_run}, 20000"])
    found = nvidia.look("0")
    assert found is not None
    assert (found.strangers, found.shared, found.is_taken, found.held) == (0, True, False, 0.0)
