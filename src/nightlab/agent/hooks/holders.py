"""Who has a file open for writing, asked of the kernel, and since when."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path


def writers(path: Path) -> tuple[float, ...] | None:
    """When the processes began (UTC, seconds since the epoch) that have the file open for writing.

    None where the system does not say. A process whose beginning is not told began at 0.
    """
    if not os.path.isdir("/proc/self/fd"):
        return None
    try:
        seen = path.stat()
    except OSError:
        return ()
    if os.getuid() not in (0, seen.st_uid):  # a process of somebody else's may hold it, and would not be shown
        return None
    found = []
    for process in os.listdir("/proc"):
        if process.isdigit() and process != str(os.getpid()):
            with suppress(OSError):  # it has ended, or is somebody else's
                if any(_writes(process, number, seen) for number in os.listdir(f"/proc/{process}/fd")):
                    found.append(_began(process))
    return tuple(found)


def begun_since(held: tuple[float, ...] | None, at_ns: int) -> bool:
    """Whether one of them began after a moment. The kernel counts a process's beginning down to a clock tick."""
    return any(began + 1 / os.sysconf("SC_CLK_TCK") >= at_ns / 1e9 for began in held or ())


def _began(process: str) -> float:
    with suppress(OSError, ValueError, IndexError):
        told = Path(f"/proc/{process}/stat").read_text(encoding="utf-8", errors="replace")
        ticks = int(told.rpartition(")")[2].split()[19])  # field 22; the second may hold blanks
        booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
        return booted + ticks / os.sysconf("SC_CLK_TCK")
    return 0.0


def _writes(process: str, number: str, seen: os.stat_result) -> bool:
    with suppress(OSError):
        held = os.stat(f"/proc/{process}/fd/{number}")
        if (held.st_dev, held.st_ino) == (seen.st_dev, seen.st_ino):
            text = Path(f"/proc/{process}/fdinfo/{number}").read_text(encoding="ascii")
            flags = int(re.search(r"^flags:\s*(\d+)", text, re.MULTILINE)[1], 8)  # type: ignore[index]  # always there
            return flags & (os.O_WRONLY | os.O_RDWR) != 0
    return False
