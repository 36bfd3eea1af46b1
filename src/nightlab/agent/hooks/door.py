"""`nightlab hook CLIENT`: bytes in, bytes out. Whatever goes wrong, the agent goes on: exit code 0 and silence.

What went wrong is written into hooks.log of the lab, which is bounded; never to stdout, which is the client's, and
never anything of the environment, in which clients keep their keys.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

from nightlab.agent.hooks.clients import CLIENTS, Told
from nightlab.agent.hooks.events import Event
from nightlab.agent.hooks.place import root_of
from nightlab.agent.hooks.respond import Policy, Responder

LONGEST = 8 << 20  # bytes of an event; a tool's output can be part of it
LOG_SIZE = 256 << 10  # bytes of hooks.log at which it is begun anew, the old one kept beside it


def answer(client: str, given: bytes, policy: Callable[[], Policy], clock: Callable[[], float] = time.time) -> bytes:
    """What is to be printed for one event; b"" for nothing. Never raises.

    Args:
        client: whose dialect it is.
        given: what came on stdin.
        policy: gives what judges shell commands.
        clock: UTC seconds since the epoch.
    """
    event: Event | None = None
    try:
        spoken, told = CLIENTS[client], _object(given)
        event = spoken.read(spoken, told)
        if event is None:
            return b""
        said = spoken.write(spoken, told, event, Responder(policy, clock).answer(event))
        return b"" if said is None else json.dumps(said).encode() + b"\n"
    except Exception:  # whatever it is: an agent that is stopped by its lab's hook is worse than one without a hook
        from traceback import format_exc

        _complain(event, clock(), format_exc())
        return b""


def _object(given: bytes) -> Told:
    """The JSON object on stdin; {} where there is none, which is no event of anybody's."""
    if len(given) > LONGEST:
        return {}
    try:
        found = json.loads(given.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _complain(event: Event | None, now: float, trouble: str) -> None:
    """Write an error down where the lab's owner finds it, if there is a lab."""
    try:
        root = root_of(event.speaker.cwd) if event is not None else None
        directory = (root or Path("/nonexistent")) / "results" / "nightlab"
        if not directory.is_dir():
            return
        path = directory / "hooks.log"
        if path.exists() and path.stat().st_size > LOG_SIZE:
            os.replace(path, path.with_name("hooks.log.1"))
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"{moment} {type(event).__name__}\n{trouble[-8000:]}\n")
    except Exception:  # nowhere is left to say it
        return
