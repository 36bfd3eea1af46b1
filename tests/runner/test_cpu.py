"""The CPU around a run: its clock, and how it was shared, from files as kernels write them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nightlab.runner import cpu
from nightlab.runner.cpu import Shares, Ticks

STAT = "cpu  1 2 3\n{rows}intr 5\nctxt 6\n"


def stat(path: Path, *rows: str) -> Path:
    path.write_text(STAT.format(rows="".join(f"cpu{core} {row}\n" for core, row in enumerate(rows))))
    return path


@pytest.fixture
def two_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    monkeypatch.setattr(os, "sysconf", lambda name: 100)


def test_the_probe_gives_a_speed() -> None:
    """A positive finite number of work per second."""
    assert 0 < cpu.speed() < 1e9


@pytest.mark.usefixtures("two_cores")
def test_used_time_is_what_is_neither_idle_nor_waiting(tmp_path: Path) -> None:
    """User, nice, system, interrupts and stolen time of the cores that we may use; idle, disk and guests not again."""
    rows = ("100 10 20 5000 4000 3 7 60 100 10", "0 0 0 9000 0 0 0 100 0 0", "9999 0 0 0 0 0 0 0 0 0")
    found = cpu.ticks(stat(tmp_path / "stat", *rows))
    assert found is not None
    assert (found.used_s, found.cores) == (3.0, 2)


@pytest.mark.parametrize("text", ["", "cpu  1 2 3 4\n", "cpu0 one two\n"])
def test_a_kernel_that_counts_nothing_tells_nothing(tmp_path: Path, text: str) -> None:
    """No file, or one that holds no cores."""
    (tmp_path / "stat").write_text(text)
    assert cpu.ticks(tmp_path / "stat") is None
    assert cpu.ticks(tmp_path / "absent") is None


@pytest.mark.parametrize(
    ("used", "own", "neighbours", "others", "all_"),
    [
        pytest.param(10.0, 10.0, 0, 0.0, 0.5, id="alone on one of two cores"),
        pytest.param(16.0, 10.0, 0, 0.3, 0.8, id="others use more than half of the other core"),
        pytest.param(20.0, 8.0, 0, 0.6, 1.0, id="others take the core away"),
        pytest.param(20.0, 10.0, 1, 0.0, 1.0, id="the lab's other place has its core"),
        pytest.param(20.0, 7.0, 1, 0.15, 1.0, id="others beside both places"),
        pytest.param(9.9, 10.0, 0, 0.0, 0.495, id="two clocks that do not quite agree"),
    ],
)
def test_what_others_used_is_what_is_left(used: float, own: float, neighbours: int, others: float, all_: float) -> None:
    """All that was used less the run itself and one core for each neighbour, as a share of all cores."""
    found = cpu.shares(Ticks(100.0, 2, 50.0), Ticks(100.0 + used, 2, 60.0), own_s=own, neighbours=neighbours)
    assert found is not None
    assert [found.others, found.all] == pytest.approx([others, all_])


def test_shares_of_a_moment_are_not_told() -> None:
    """A kernel that counts hundredths of a second says nothing of a tenth; nor does one that says nothing."""
    assert cpu.shares(Ticks(1.0, 2, 5.0), Ticks(1.1, 2, 5.1), own_s=0.1, neighbours=0) is None
    assert cpu.shares(None, Ticks(1.1, 2, 50.1), own_s=0.1, neighbours=0) is None
    assert cpu.shares(Ticks(0.0, 2, 0.0), Ticks(4.0, 2, 2.0), own_s=0.0, neighbours=0) == Shares(others=1.0, all=1.0)


@pytest.mark.usefixtures("two_cores")
def test_the_clock_is_that_of_the_fastest_core_we_may_use(tmp_path: Path) -> None:
    """From cpufreq, in kilohertz, where it is there; else from cpuinfo; else unknown."""
    for core, kilohertz in enumerate((1_200_000, 3_400_000, 5_000_000)):
        place = tmp_path / f"cpu{core}" / "cpufreq"
        place.mkdir(parents=True)
        (place / "scaling_cur_freq").write_text(f"{kilohertz}\n")
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\ncpu MHz\t\t: 2599.998\nprocessor\t: 1\ncpu MHz\t\t: 2700.5\n")
    assert cpu.clock_mhz(tmp_path, info) == 3400.0
    assert cpu.clock_mhz(tmp_path / "none", info) == 2700.5
    assert cpu.clock_mhz(tmp_path / "none", tmp_path / "none") is None
