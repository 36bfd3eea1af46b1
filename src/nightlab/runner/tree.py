"""Process trees: who descends from whom, and how all of them are ended.

On Linux a *subreaper* inherits the orphans below it, so that even a daemon that forked twice and made a session of its
own stays a descendant. Elsewhere (macOS) such daemons can slip away; children and process groups are still ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Collection

IS_LINUX = sys.platform == "linux"

RUN_VARIABLE = "NIGHTLAB_RUN_ID"  # by which the strays of a run are known when its process tree has fallen apart

# Processes in an uninterruptible wait (a dead network disk, a GPU driver) cannot be killed; the lab goes on without.
UNKILLABLE_S = 10.0

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def set_subreaper(*, on: bool) -> bool:
    """Make orphans below this process its children (or stop doing so); False where the system cannot."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, int(on))


def die_with_parent() -> bool:
    """Have the kernel kill this process when the thread that forked it ends; False where the system cannot."""
    return _prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _prctl(option: int, value: int) -> bool:
    if not IS_LINUX:
        return False
    done: int = ctypes.CDLL(None).prctl(option, ctypes.c_ulong(value), 0, 0, 0)
    return done == 0


def children(parent: int) -> frozenset[int]:
    """Process ids of the direct children, the dead but uncollected ones too."""
    return frozenset(pid for pid, its_parent in _parents(zombies=True).items() if its_parent == parent)


def descendants(root: int, *, spare: Collection[int] = ()) -> list[int]:
    """Process ids of everything alive below `root`, parents first; `spare` and what is below it left out."""
    below: dict[int, list[int]] = {}
    for pid, parent in _parents().items():
        below.setdefault(parent, []).append(pid)
    found: list[int] = []
    queue = [root]
    while queue:
        fresh = [pid for pid in below.get(queue.pop(0), ()) if pid not in spare]
        found += fresh
        queue += fresh
    return found


def _parents(*, zombies: bool = False) -> dict[int, int]:
    """Process id -> parent of every process; zombies, which nothing more can be done to, only if asked for."""
    if not IS_LINUX:
        import psutil  # 45 ms of CPU that a supervisor on Linux need not spend

        ids = {process.pid: process.info["ppid"] for process in psutil.process_iter(["ppid", "status"])}
        return {pid: parent for pid, parent in ids.items() if parent is not None}
    found: dict[int, int] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError):  # it ended while we were looking
                state, parent = _stat(name)
                if zombies or state not in "ZX":
                    found[int(name)] = parent
    return found


def _stat(pid: str) -> tuple[str, int]:
    handle = os.open(f"/proc/{pid}/stat", os.O_RDONLY)
    try:
        text = os.read(handle, 4096)
    finally:
        os.close(handle)
    fields = text[text.rindex(b")") + 2 :].split()  # the name before it may hold spaces and parentheses
    return fields[0].decode(), int(fields[1])


def end_tree(
    root: int,
    *,
    first: int | None,
    grace_s: float,
    spare: Collection[int] = (),
    reap: Callable[[], None] = lambda: None,
    hurry: Callable[[], bool] = lambda: False,
) -> bool:
    """End everything below `root`.

    Args:
        first: signal that asks politely; None if somebody else has asked already.
        grace_s: seconds between asking and SIGKILL.
        spare: children of `root` that are none of our business.
        reap: called often, to collect the dead.
        hurry: called often; once true, the grace is over.

    Returns:
        Whether nothing is left alive.
    """
    asked = time.monotonic()
    if first is not None:
        _signal(descendants(root, spare=spare), first)
    pause = 0.002
    while time.monotonic() < asked + grace_s and not hurry():
        reap()
        if not descendants(root, spare=spare):
            return True
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
    return _kill_all(root, spare, reap)


def _kill_all(root: int, spare: Collection[int], reap: Callable[[], None]) -> bool:
    """SIGKILL in rounds, because a process may fork between the look and the signal."""
    until = time.monotonic() + UNKILLABLE_S
    pause = 0.0
    while time.monotonic() < until:
        reap()
        left = descendants(root, spare=spare)
        if not left:
            return True
        _signal(left, signal.SIGKILL)
        time.sleep(pause)
        pause = min(pause + 0.001, 0.02)
    return False


def _signal(pids: Collection[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has gone, or has become another user's
            os.kill(pid, number)


def reap_children(*, spare: Collection[int] = ()) -> list[tuple[int, int]]:
    """Collect dead children, but none of `spare`: (process id, wait status)."""
    dead: list[tuple[int, int]] = []
    for pid in children(os.getpid()).difference(spare) if spare else (-1,):
        with contextlib.suppress(ChildProcessError):
            while True:
                found, status = os.waitpid(pid, os.WNOHANG)
                if found == 0:
                    break
                dead.append((found, status))
    return dead


def with_variable(name: str, value: str) -> list[int]:
    """Process ids of the user's living processes, other than this one, that were started with `name=value`."""
    if not IS_LINUX:
        import psutil

        found = psutil.process_iter(["environ"])
        return [p.pid for p in found if (p.info["environ"] or {}).get(name) == value and p.pid != os.getpid()]
    wanted = f"{name}={value}".encode()
    pids = []
    for pid in _parents():
        with contextlib.suppress(OSError), open(f"/proc/{pid}/environ", "rb") as file:
            if wanted in file.read().split(b"\0") and pid != os.getpid():
                pids.append(pid)
    return pids


def kill_marked(name: str, value: str) -> int:
    """Kill the user's processes that were started with `name=value` in their environment; returns how many."""
    killed: set[int] = set()
    for _ in range(100):  # what forks while we look is found in the next round
        found = with_variable(name, value)
        if not found:
            break
        _signal(found, signal.SIGKILL)
        killed.update(found)
    return len(killed)
