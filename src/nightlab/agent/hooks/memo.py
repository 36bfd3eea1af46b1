"""What hooks remember of one session from one event to the next: how far it was told of runs, and what is still unsaid.

Nothing of it is a fact: one that is lost is begun anew, and the session is told of what ends from then on.
"""

from __future__ import annotations

import json
import time
from binascii import crc32
from pathlib import Path
from typing import NamedTuple

from nightlab.agent.hooks.place import Place, write

_KEPT_S = 14 * 24 * 3600.0  # after which a session that said nothing is forgotten


class Memo(NamedTuple):
    told: int | None = None  # place in the ledger up to which the session was told of runs; None: not begun
    unsaid: tuple[str, ...] = ()  # for it to know at the next event whose answer it hears


def read(place: Place, session: str) -> Memo:
    """What is remembered of a session."""
    try:
        told, unsaid = json.loads(_path(place, session).read_bytes())
    except (OSError, ValueError, TypeError):
        return Memo()
    return Memo(told if type(told) is int else None, tuple(str(text) for text in unsaid))


def keep(place: Place, session: str, memo: Memo) -> None:
    """Remember it; the caller holds the hooks' lock where two events of one session may come at once."""
    write(_path(place, session), json.dumps(memo))


def forget(place: Place) -> None:
    """Remove what was kept of sessions long gone."""
    for path in place.own.glob("session-*.json"):
        try:
            if time.time() - path.stat().st_mtime > _KEPT_S:
                path.unlink()
        except OSError:  # another hook was faster
            continue


def _path(place: Place, session: str) -> Path:
    """Two checksums name it: a session's own name may hold anything, and hashing in earnest costs an import."""
    name = session.encode("utf-8", "replace")
    return place.own / f"session-{crc32(name):08x}{crc32(name[::-1]):08x}.json"
