"""A GPU around a run, as nvidia-smi tells it. Whatever it does not say is None; nothing here ever fails."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from nightlab.runner.tree import RUN_VARIABLE

BUSY = 0.1
"""Share of the time in which others' kernels ran that is no longer nothing: an idle notebook and a desktop stay below,
a training run is far above. One per cent fewer steps costs as much as the noise of a run already (statistics.md 2b)."""

SLOWED: Mapping[int, str] = {
    0x08: "slowed down by its hardware",
    0x20: "too hot",
    0x40: "too hot",
    0x80: "short of power",
}
"""Bits of the reasons for lower clocks (NVML, nvmlClocksEventReasons) that make a run worth less. The power cap (0x04),
which a training run on a sound card reaches all the time, idling and clocks set by hand are none of them."""

_TIMEOUT_S = 20.0
_SETTLE_S = 1.1  # utilization is a mean over up to a second: after that nothing of a run that has ended is left in it
_REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active", None)  # as drivers call them, new to old


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One GPU at one moment while no run of this place is on it."""

    clock_mhz: float | None = None
    busy: float | None = None  # share of the last second in which somebody's kernels ran
    slowed: str = ""  # why its clocks are lower than they could be
    strangers: int = 0  # processes that compute on it and are none of the lab's
    held: float | None = None  # share of its memory that they hold
    shared: bool = False  # whether other runs of a lab are on it

    @property
    def is_taken(self) -> bool:
        """Whether others use it. Beside runs of the lab's own they cannot be told apart: then nothing is said."""
        if self.shared:
            return False
        return self.strangers > 0 if self.busy is None else self.busy > BUSY


def look(key: str, *, sleep: Callable[[float], object] = time.sleep) -> Gpu | None:
    """What nvidia-smi says of the GPU `key` (index or UUID), and whether others use it; None if it says nothing.

    Where it looks taken it is asked again a second later, since that may be the end of a run that is over.
    """
    found = ask(key)
    if found is None or not found.is_taken:
        return found
    sleep(_SETTLE_S)
    again = ask(key)
    return found if again is None else replace(again, clock_mhz=found.clock_mhz, slowed=found.slowed)


def ask(key: str) -> Gpu | None:
    """What nvidia-smi says at this moment."""
    for reasons in _REASONS:
        fields = ["clocks.sm", "utilization.gpu", "memory.total", *([reasons] if reasons else [])]
        rows = _rows(key, f"--query-gpu={','.join(fields)}")
        if rows and len(rows[0]) == len(fields):
            clock, busy, memory = (_number(text) for text in rows[0][:3])
            slowed = _slowed(rows[0][3]) if reasons else ""
            return _with_processes(key, Gpu(clock_mhz=clock, busy=None if busy is None else busy / 100, slowed=slowed),
                                   memory)  # fmt: skip
    return None


def _with_processes(key: str, gpu: Gpu, memory_mb: float | None) -> Gpu:
    rows = _rows(key, "--query-compute-apps=pid,used_memory") or []
    strangers, held, shared = 0, 0.0, False
    for row in rows:
        if row[0].isdecimal():
            if _is_of_a_lab(row[0]):
                shared = True
                continue
            strangers += 1
            held += (_number(row[1]) if len(row) > 1 else None) or 0.0
    share = held / memory_mb if memory_mb else None
    return replace(gpu, strangers=strangers, held=share, shared=shared)


def _rows(key: str, query: str) -> list[list[str]] | None:
    import subprocess  # a run on a CPU need not pay for it

    try:
        asked = subprocess.run(
            ["nvidia-smi", f"--id={key}", query, "--format=csv,noheader,nounits"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None
    if asked.returncode != 0:
        return None
    return [[cell.strip() for cell in line.split(",")] for line in asked.stdout.splitlines() if line.strip()]


def _number(text: str) -> float | None:
    """A number as nvidia-smi prints one; None for [N/A] and the like."""
    try:
        return float(text)
    except ValueError:
        return None


def _slowed(text: str) -> str:
    """In words, which of the reasons that matter are set in a mask such as 0x0000000000000044."""
    try:
        mask = int(text, 16)
    except ValueError:
        return ""
    return " and ".join(dict.fromkeys(words for bit, words in SLOWED.items() if mask & bit))


def _is_of_a_lab(pid: str) -> bool:
    """Whether a process was started for a run of nightlab's."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
        return any(entry.startswith(f"{RUN_VARIABLE}=".encode()) for entry in file.read().split(b"\0"))
    return False
