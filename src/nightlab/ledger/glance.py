"""A look at the ledger's file for whoever must answer at once: SQLite alone, a few rows, nothing decoded but notes.

Agents' hooks are process starts by the hundred; opening the ledger in earnest costs five times what they may take.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

if TYPE_CHECKING:
    import sqlite3

AUTONOMY = "autonomy"  # topics of notes: what an agent's user has said of going on by itself
PLAN = "plan"  # what an agent was asked to carry out
ASK = "ask"  # that it was asked to go on instead of stopping
OF_AGENTS = frozenset({AUTONOMY, PLAN, ASK})  # none of which is about a night


class Note(NamedTuple):
    """A recorded `Noted`."""

    seq: int
    at: float  # UTC, seconds since the epoch
    text: str


class Glance:
    """One look; the file is opened for reading only, and one that is absent or cannot be read tells nothing.

    Whoever must be told of a damaged ledger opens it in earnest.
    """

    def __init__(self, database: Path) -> None:
        self._db: sqlite3.Connection | None = None
        if database.exists():
            import sqlite3

            self._db = sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True, timeout=1.0)

    @classmethod
    def through(cls, connection: sqlite3.Connection) -> Self:
        """The same through a connection that somebody else has opened and will close."""
        glance = cls.__new__(cls)
        glance._db = connection
        return glance

    def __enter__(self) -> Glance:
        return self

    def __exit__(self, *_: object) -> None:
        if self._db is not None:
            self._db.close()

    def seq(self) -> int:
        """Place of the last event; 0 where there is none."""
        return self._place("SELECT MAX(seq) FROM events")

    def fact(self) -> int:
        """Place of the last event that is no note."""
        return self._place("SELECT seq FROM events WHERE kind <> 'noted' ORDER BY seq DESC LIMIT 1")

    def progress(self) -> int:
        """Place of the last event by which the search has got further: an experiment proposed, or its first run ended.

        A further run of the same source is none, nor is what another ledger tells of. Of an opened ledger only.
        """
        first = "SELECT MIN(ended_seq) AS seq FROM _run WHERE ended_seq IS NOT NULL GROUP BY experiment"
        return max(
            self._place("SELECT MAX(seq) FROM events WHERE kind IN ('proposed', 'adopted')"),
            self._place(f"SELECT MAX(seq) FROM ({first})"),  # noqa: S608
        )

    def activity(self) -> int:
        """Place of the last event by which anything was proposed, run or told of."""
        kinds = "('proposed', 'adopted', 'ended', 'logged', 'imported')"
        return self._place(f"SELECT seq FROM events WHERE kind IN {kinds} ORDER BY seq DESC LIMIT 1")  # noqa: S608

    def ended_since(self, seq: int) -> bool:
        """Whether a run has ended after that event."""
        return bool(self._place(f"SELECT seq FROM events WHERE seq > {int(seq)} AND kind = 'ended' LIMIT 1"))  # noqa: S608

    def notes(self, topic: str) -> list[Note]:
        """All notes of a topic, oldest first."""
        found = []
        for seq, at, body in self._rows("SELECT seq, at, body FROM events WHERE kind = 'noted' AND key IS NULL"):
            note = json.loads(bytes(body))
            if note["topic"] == topic:
                found.append(Note(seq, at, note["text"]))
        return sorted(found)

    def _place(self, question: str) -> int:
        rows = self._rows(question)
        return int(rows[0][0] or 0) if rows else 0

    def _rows(self, question: str) -> list[tuple[int, float, bytes]]:
        if self._db is None:
            return []
        import sqlite3  # many an event asks for nothing here

        try:
            return self._db.execute(question).fetchall()
        except sqlite3.Error:
            return []
