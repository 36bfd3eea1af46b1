"""Retrieval of ideas by their words, and failures grouped by likeness as they come in.

What a text's terms are, and which failures are alike, is the search's to say (`TextIndex`); here is only where that is
kept. An idea that no writer has indexed yet is found all the same: readers take those that are left as candidates.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Protocol

from nightlab.ledger import codec

NEAREST = 24  # groups of failures that a new one is compared with
_KEY = "index"


class TextIndex(Protocol):
    """How texts are indexed."""

    @property
    def version(self) -> str:
        """Name of the form; with another one everything is indexed anew."""
        ...

    def terms(self, description: str, hypothesis: str, family: str, tags: Sequence[str]) -> Sequence[str]:
        """Canonical words of an idea, each of [a-z0-9_.]."""
        ...

    def joins(self, description: str, groups: Sequence[str]) -> int | None:
        """Which of the groups, each told by its first failure, a failed idea belongs to; None: to none of them."""
        ...


def index_new(db: sqlite3.Connection, index: TextIndex) -> None:
    """Index what is not indexed yet, inside the caller's transaction."""
    known = db.execute("SELECT value FROM _meta WHERE name = ?", (_KEY,)).fetchone()
    if known is None or known[0] != index.version:
        for table in ("_idea_text", "_cluster_text"):
            db.execute(f"INSERT INTO {table} ({table}) VALUES ('delete-all')")  # noqa: S608
        db.execute("UPDATE _idea SET indexed = ''")
        db.execute("UPDATE _record SET cluster = NULL")
        db.execute("INSERT OR REPLACE INTO _meta VALUES (?, ?)", (_KEY, index.version))
    _index_ideas(db, index)
    _group_failures(db, index)


def _index_ideas(db: sqlite3.Connection, index: TextIndex) -> None:
    new = db.execute("SELECT id, description, hypothesis, family, tags FROM _idea WHERE indexed = ''").fetchall()
    for idea, description, hypothesis, family, tags in new:
        terms = " ".join(index.terms(description, hypothesis, family, tags_of(tags)))
        db.execute("INSERT INTO _idea_text (rowid, terms) VALUES (?, ?)", (idea, terms))
        db.execute("UPDATE _idea SET indexed = ? WHERE id = ?", (index.version, idea))


def _group_failures(db: sqlite3.Connection, index: TextIndex) -> None:
    new = db.execute(
        "SELECT r.seq, r.run, r.idea, i.description FROM _record r JOIN _idea i ON i.id = r.idea"
        " WHERE r.cluster IS NULL AND r.status <> 'keep' ORDER BY r.seq"
    ).fetchall()
    for seq, run, idea, description in new:
        db.execute(
            "UPDATE _record SET cluster = ? WHERE seq = ?", (_group(db, index, seq, run, idea, description), seq)
        )


def _group(db: sqlite3.Connection, index: TextIndex, seq: int, run: str, idea: int, description: str) -> str:
    """The group of a failure: that of an earlier one of the same text, that of the most alike, or one of its own."""
    same = db.execute("SELECT cluster FROM _record WHERE idea = ? AND cluster IS NOT NULL LIMIT 1", (idea,)).fetchone()
    if same is not None:
        return str(same[0])
    terms = index.terms(description, "", "", ())
    near = db.execute(
        "SELECT r.run, i.description FROM _cluster_text t JOIN _record r ON r.seq = t.rowid"
        " JOIN _idea i ON i.id = r.idea WHERE _cluster_text MATCH ? ORDER BY t.rank LIMIT ?",
        (match_any(terms), NEAREST),
    ).fetchall() if terms else []  # fmt: skip
    found = index.joins(description, [text for _, text in near])
    if found is not None:
        return str(near[found][0])
    db.execute("INSERT INTO _cluster_text (rowid, terms) VALUES (?, ?)", (seq, " ".join(terms)))
    return run


def match_any(terms: Sequence[str]) -> str:
    """A full-text query for texts with any of the terms."""
    return " OR ".join(f'"{term}"' for term in dict.fromkeys(terms))


def tags_of(stored: str) -> tuple[str, ...]:
    """Tags as they lie in a table."""
    return codec.stored(stored, tuple[str, ...]) if stored != "[]" else ()
