"""A file lock that is waited for no longer than the caller can afford."""

from __future__ import annotations

import fcntl
import time

_LOOK_S = 0.02  # between two tries


def lock(handle: int, patience_s: float | None = None) -> bool:
    """Lock an open file for its holder alone; whether that was possible in time.

    Args:
        handle: descriptor of the file; closing it gives the lock back.
        patience_s: seconds to wait for another holder; None waits for as long as it takes, 0 not at all.
    """
    if patience_s is None:
        fcntl.flock(handle, fcntl.LOCK_EX)
        return True
    until = time.monotonic() + patience_s
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                return False
            time.sleep(_LOOK_S)
        else:
            return True
