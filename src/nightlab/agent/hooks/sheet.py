"""What an agent is told of the lab when its session begins, kept for the next one as long as the ledger says the same.

Reckoning it takes a second at ten thousand runs, reading it a millisecond.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from nightlab.agent.hooks.place import Checkout, Place, write
from nightlab.ledger.glance import Glance

if TYPE_CHECKING:
    from nightlab.discovery.view import View

_MIRRORS = ("results.tsv", "results/memorylab/experiments.jsonl")  # in which others may have written


class Sheet(NamedTuple):
    """The lab in a few lines."""

    key: str  # of the ledger and its mirrors
    head: str  # commit that was checked out
    best: str
    phase: str
    summary: str  # the session summary; branch and autonomy in it are those of its moment


def sheet(place: Place, here: Checkout, now: float, *, is_whole: bool) -> Sheet:
    """The lab as it stands.

    Args:
        place: the lab.
        here: what is checked out.
        now: UTC seconds since the epoch.
        is_whole: whether the summary is wanted, which speaks of the commit too.

    Raises:
        NightlabError: the ledger cannot be read.
    """
    found, key = _kept(place), key_of(place)
    if found is not None and found.key == key and (not is_whole or found.head == here.commit):
        return found
    from nightlab.config import load_settings
    from nightlab.discovering import view_of
    from nightlab.mirroring import reading

    settings = load_settings(place.root)
    with reading(settings, now) as ledger:
        return keep(place, view_of(ledger, settings), key)


def keep(place: Place, view: View, key: str) -> Sheet:
    """Keep what is to be told of a view that somebody had to make anyway; `key` was taken before it was made."""
    from nightlab.discovery.review import best_text
    from nightlab.discovery.state import session_summary

    made = Sheet(key, view.head, best_text(view), str(view.phase), session_summary(view))
    write(place.own / "sheet.json", json.dumps(made))
    return made


def key_of(place: Place) -> str:
    """By which a sheet is known to be of the ledger as it stands."""
    with Glance(place.database) as glance:
        parts = [str(glance.fact())]
    for name in _MIRRORS:
        try:
            found = (place.root / name).stat()
            parts.append(f"{found.st_size}.{found.st_mtime_ns}")
        except OSError:
            parts.append("")
    return " ".join(parts)


def _kept(place: Place) -> Sheet | None:
    try:
        return Sheet(*map(str, json.loads((place.own / "sheet.json").read_bytes())))
    except (OSError, ValueError, TypeError):
        return None
