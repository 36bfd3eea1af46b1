"""Whether an agent may go on by itself, as the person it works for said last (surface contract 2.6).

The ledger is where that is kept, as a note; `autonomy_enabled` in results/discovery/state.json is its mirror. A mirror
that an older program wrote counts as long as the ledger has no word of it.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import NamedTuple

from nightlab.ledger.glance import AUTONOMY, Glance

REASON = 240  # characters of the words that are kept as the reason (2.1)
WORDS = 500  # characters of them that are kept at all (2.1)

_LOOP = r"(?:autoresearch|experiment|research) loop"
_DISABLE = re.compile(
    r"\b(?:pause|stop after|don't continue|do not continue|summarize only|hold here|stop the loop|end the loop"
    r"|disable autonomy)\b"
)
_ENABLE = re.compile(
    r"\b(?:(?:continue|go) autonom(?:ous|ously|y)|never stop|continue the loop"
    rf"|(?:resume|start) (?:the )?(?:autonomous )?{_LOOP}|restart (?:the )?{_LOOP}|kick off (?:a )?new experiment)"
)
_ON, _OFF = "on", "off"


class Autonomy(NamedTuple):
    """What was said last."""

    enabled: bool = False
    reason: str = ""  # the words that said so


def wish(prompt: str) -> bool | None:
    """What a person's words ask for: True, go on by itself; False, do not; None, nothing is said of it.

    Who says both is taken to mean the second: a loop that ends too early costs less than one that cannot be ended.
    """
    said = " ".join(prompt.lower().replace("\u2019", "'").split())
    if _DISABLE.search(said):
        return False
    return True if _ENABLE.search(said) else None


def text_of(said: Autonomy) -> str:
    """The note that keeps it."""
    return f"{_ON if said.enabled else _OFF}: {said.reason[:WORDS]}"


def of_note(text: str) -> Autonomy:
    """What a note says."""
    word, _, reason = text.partition(": ")
    return Autonomy(word == _ON, reason)


def said(glance: Glance, mirror: bytes) -> Autonomy:
    """What was said last, by the ledger's notes of it, else by what state.json holds.

    A person's `nightlab stop` leaves such a note. An agent that ends a night says nothing for its user.
    """
    notes = glance.notes(AUTONOMY)
    return of_note(notes[-1].text) if notes else _of_mirror(mirror)


def look(database: Path, mirror: Path) -> Autonomy:
    """The same of a ledger that nobody has opened."""
    with Glance(database) as glance:
        return said(glance, mirror.read_bytes() if mirror.is_file() else b"")


def _of_mirror(data: bytes) -> Autonomy:
    try:
        state = json.loads(data)
        enabled, reason = state["autonomy_enabled"], state.get("autonomy_reason", "")
    except (ValueError, KeyError, TypeError, AttributeError):  # none, torn, or another program's
        return Autonomy()
    return Autonomy(enabled, reason) if isinstance(enabled, bool) and isinstance(reason, str) else Autonomy()
