"""`nightlab exec` outside a lab: nothing is recorded, the command only runs within bounds and leaves nothing behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from nightlab.runner.guard import Launch
from nightlab.runner.tend import Cause, StopSignals, Terms, tend


def watch(
    command: Sequence[str],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    limit_s: float | None = None,
    grace_s: float = 5.0,
) -> int:
    """Run a command with our own stdin, stdout and stderr. For the main thread.

    Args:
        command: program and arguments, not empty.
        cwd: where; None: here.
        env: variables on top of our own environment.
        limit_s: wall-clock seconds after which the whole process tree is ended; None: no limit.
        grace_s: seconds between asking the tree to end and killing it.

    Returns:
        The command's exit code; 128 + n if signal n ended it or us, 124 after the limit, 127 if it cannot be run.
    """
    launch = Launch(
        command=tuple(command),
        cwd=cwd or Path.cwd(),
        env=os.environ | dict(env or {}),
        stdin=0,
        stdout=1,
        stderr=2,
        grace_s=grace_s,
        foreground=True,
    )
    sys.stdout.flush()
    with StopSignals() as signals:
        finish = tend(launch, tuple, signals, Terms(limit_s=limit_s))
    if finish.cause is Cause.NOT_STARTED:
        print(f"nightlab: {finish.why}", file=sys.stderr)
    elif finish.cause is Cause.LIMIT:
        print(f"nightlab: ended after {limit_s:g} s, its limit", file=sys.stderr)
    return finish.exit_code
