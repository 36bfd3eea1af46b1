"""Who is alive: a file lock held by a run's supervisor for its whole life.

The kernel drops the lock when the last holder dies, however it dies, so there is no process id to be reused and
nothing to clean up. The starter takes the lock and hands it to the supervisor: a run is never started and unlocked.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from nightlab.errors import BackendError


def take(path: Path, *, patience_s: float = 1.0) -> int:
    """Lock `path` and return the descriptor that holds the lock.

    A probe by `is_held` may be in the way for a moment, hence the patience.

    Raises:
        BackendError: somebody else holds it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            if time.monotonic() >= until:
                os.close(handle)
                raise BackendError(
                    f"another supervisor is in charge of {path.parent}", hint="each run is started once"
                ) from exc
            time.sleep(0.01)
        else:
            return handle


def is_held(path: Path) -> bool:
    """Whether a supervisor (or the guard that cleans up after it) is alive."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who look at the same time do not take each other for the supervisor.
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(handle)
