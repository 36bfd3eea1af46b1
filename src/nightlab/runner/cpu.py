"""The CPU around a run: how fast it is, how it is clocked, how much of it others used. Nothing here ever fails."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

SHORTEST_S = 1.0  # of a run whose neighbours are told: the kernel counts hundredths of a second a core
FULL = 0.95  # share of all cores from which nobody has one to spare: counting and idle gaps take the rest

_NUMBERS = 40_000  # sorted by one repetition: some 5 ms, in the caches of any core
_REPEATS = 5  # the best of them: one falls into an interruption easily, five hardly


def speed() -> float:
    """How often a second this machine does a fixed piece of work: sorting the same numbers, the best of five times.

    Some 30 ms by the wall clock, in this process: a run's own times do not hold it. Only ratios mean anything.
    """
    numbers = [(index * 48_271) % 65_537 for index in range(_NUMBERS)]
    best = min(_timed(numbers) for _ in range(_REPEATS))
    return 1.0 / max(best, 1e-9)


def _timed(numbers: list[int]) -> float:
    began = time.perf_counter()
    sorted(numbers)
    return time.perf_counter() - began


def clock_mhz(system: Path = Path("/sys/devices/system/cpu"), info: Path = Path("/proc/cpuinfo")) -> float | None:
    """Clock of the fastest core that we may use: right after `speed` that is the one which worked."""
    found = [_number(system / f"cpu{core}" / "cpufreq" / "scaling_cur_freq") for core in _cores()]
    known = [kilohertz / 1000 for kilohertz in found if kilohertz]
    if not known:
        text = _text(info)
        known = [float(value) for value in re.findall(r"^cpu MHz\s*:\s*(\d+(?:\.\d+)?)$", text, re.MULTILINE)]
    return max(known, default=None)


@dataclass(frozen=True, slots=True)
class Ticks:
    """CPU time that has been used so far on the cores that we may use, by anybody."""

    used_s: float
    cores: int
    at: float  # monotonic seconds


def ticks(path: Path = Path("/proc/stat")) -> Ticks | None:
    """What the kernel has counted up to now; None where it does not say.

    Used is what is neither idle nor waiting for a disk. Stolen time, in which a hypervisor ran somebody else, counts.
    """
    mine = _cores()
    per_second = os.sysconf("SC_CLK_TCK")
    used = cores = 0
    for name, row in re.findall(r"^cpu(\d+) ((?:\d+ ?){8,})", _text(path), re.MULTILINE):
        if int(name) in mine:
            user, nice, system, _, _, irq, softirq, steal = map(int, row.split()[:8])
            used += user + nice + system + irq + softirq + steal
            cores += 1
    return Ticks(used / per_second, cores, time.monotonic()) if cores else None


@dataclass(frozen=True, slots=True)
class Shares:
    """Of all cores that we may use, over a run."""

    others: float  # used by processes that are none of the lab's
    all: float  # used by anybody


def shares(before: Ticks | None, after: Ticks | None, *, own_s: float, neighbours: int) -> Shares | None:
    """How the CPU was shared between two moments; None if that is not known, or they are too close.

    Args:
        before: at the start of the run.
        after: at its end.
        own_s: CPU seconds of the run itself.
        neighbours: other places of the lab, for each of which one core is allowed.
    """
    if before is None or after is None or after.at - before.at < SHORTEST_S or before.cores != after.cores:
        return None
    wall = after.at - before.at
    used = max(after.used_s - before.used_s, 0.0)
    others = used - own_s - neighbours * wall
    return Shares(others=min(max(others / (wall * after.cores), 0.0), 1.0), all=min(used / (wall * after.cores), 1.0))


def _cores() -> frozenset[int]:
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(path: Path) -> float | None:
    try:
        return float(_text(path))
    except ValueError:
        return None
