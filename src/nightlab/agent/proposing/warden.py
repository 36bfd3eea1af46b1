"""The process that watches over one agent: `python -P -m nightlab.agent.proposing.warden LOG SECONDS COMMAND...`.

It starts the command in a session of its own, keeps what it prints within bounds in LOG, and ends it with everything
that it started when its time is up or when standard input is closed, which happens however the loop ends. The exit code
is the command's; 124 after the limit, 125 if it was no longer wanted, 127 if it could not be started.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from nightlab.runner.log import BoundedLog
from nightlab.runner.tree import end_tree, reap_children, set_subreaper

LATE, UNWANTED, NO_COMMAND = 124, 125, 127
GRACE_S = 2.0  # between asking an agent to end and killing it
LOG_HEAD, LOG_TAIL = 256 << 10, 256 << 10  # bytes of its output that are kept
_LOOK_S = 0.2


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of the process."""
    log, seconds, *command = sys.argv[1:] if arguments is None else arguments
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who wants it to end closes its input
    set_subreaper(on=True)
    bounded = BoundedLog(Path(log), head=LOG_HEAD, tail=LOG_TAIL)
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )
    except OSError as exc:
        bounded.write(f"nightlab: {command[0]} could not be started: {exc.strerror}\n".encode())
        bounded.close()
        return NO_COMMAND
    try:
        return _watch(process, bounded, time.monotonic() + float(seconds))
    finally:
        end_tree(os.getpid(), first=signal.SIGTERM, grace_s=GRACE_S, reap=_reap)
        bounded.close()


def _watch(process: subprocess.Popen[bytes], log: BoundedLog, until: float) -> int:
    """Wait for the end of the command, of its time, or of our being wanted."""
    assert process.stdout is not None
    output = process.stdout.fileno()
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        selector.register(output, selectors.EVENT_READ)
        while process.poll() is None:
            for key, _ in selector.select(_LOOK_S):
                data = os.read(key.fd, 65536)
                if key.fd == 0 and not data:
                    return UNWANTED
                if key.fd == output and data:
                    log.write(data)
                elif not data:
                    selector.unregister(output)  # it has closed its output and works on in silence
            if time.monotonic() > until:
                return LATE
        os.set_blocking(output, False)
        while data := _rest(output):
            log.write(data)
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _rest(output: int) -> bytes:
    """What still lies in the pipe."""
    try:
        return os.read(output, 65536)
    except BlockingIOError:
        return b""


def _reap() -> None:
    reap_children()


if __name__ == "__main__":
    sys.exit(main())
