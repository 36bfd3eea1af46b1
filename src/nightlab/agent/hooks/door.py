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

from nightlab.agent.hooks.clients import CLIENTS, Client, Told
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
    told: Told = {}
    try:
        spoken = CLIENTS[client]
        told = _object(given)
        return _answer(spoken, told, policy, clock)
    except Exception:  # whatever it is: an agent that is stopped by its lab's hook is worse than one without a hook
        from traceback import format_exc

        _complain(told, clock(), format_exc())
        return b""


def _answer(client: Client, told: Told, policy: Callable[[], Policy], clock: Callable[[], float]) -> bytes:
    event = client.read(client, told)
    if event is None:
        return b""
    said = client.write(client, told, event, Responder(policy, clock).answer(event))
    return b"" if said is None else json.dumps(said).encode() + b"\n"


def _object(given: bytes) -> Told:
    """The JSON object on stdin; {} where there is none, which is no event of anybody's."""
    if len(given) > LONGEST:
        return {}
    try:
        found = json.loads(given.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _complain(told: Told, now: float, trouble: str) -> None:
    """Write an error down where the lab's owner finds it, if there is a lab."""
    try:
        cwd = told.get("cwd")
        root = root_of(cwd) if isinstance(cwd, str) else None
        directory = (root or Path("/nonexistent")) / "results" / "nightlab"
        if not directory.is_dir():
            return
        path = directory / "hooks.log"
        if path.exists() and path.stat().st_size > LOG_SIZE:
            os.replace(path, path.with_name("hooks.log.1"))
        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now))
        event = str(told.get("hook_event_name") or told.get("event"))[:80]
        with path.open("a", encoding="utf-8", errors="replace") as file:
            file.write(f"{moment} {event!r}\n{trouble[-8000:]}\n")
    except Exception:  # nowhere is left to say it
        return
