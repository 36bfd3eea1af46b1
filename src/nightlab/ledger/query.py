"""SQL for people: any question, no change, and an end."""

from __future__ import annotations

import math
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from nightlab.errors import UsageError
from nightlab.ledger.schema import VIEWS
from nightlab.ledger.store import Ledger

SECONDS = 60.0  # after which a question that does not end is given up
LONGEST = 64 << 20  # bytes of one cell: the longest log that is kept is shorter, and memory is finite
_STEPS = 10_000  # of SQLite's machine between two looks at the clock
_ALLOWED = {
    sqlite3.SQLITE_SELECT,
    sqlite3.SQLITE_READ,
    sqlite3.SQLITE_FUNCTION,
    getattr(sqlite3, "SQLITE_RECURSIVE", 33),
}
_REFUSED_FUNCTIONS = {"load_extension", "writefile", "edit", "fts3_tokenizer"}

Cell = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    columns: tuple[str, ...]  # no two of one name
    rows: Iterator[tuple[Cell, ...]]  # come as they are asked for


@contextmanager
def ask(ledger: Ledger, sql: str, *, seconds: float = SECONDS) -> Iterator[Answer]:
    """The rows of one SELECT, as long as the context is open.

    Args:
        ledger: that is asked.
        sql: the question.
        seconds: after which it is given up.

    Raises:
        UsageError: it is no question, would change something, or does not end. Reading the rows may raise it too.
        LedgerDamagedError: a page that it needs cannot be read.
    """
    until = time.monotonic() + seconds
    with ledger.questioned() as db:
        db.set_authorizer(_authorize)
        db.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        db.text_factory = _text
        longest = db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST)
        cursor = db.cursor()
        try:
            with _explained(seconds):
                cursor.execute(sql)
                if cursor.description is None:
                    raise UsageError("that is no question", hint="begin with SELECT")
            columns = _distinct([column[0] for column in cursor.description])
            yield Answer(columns=columns, rows=_rows(cursor, seconds))
        finally:
            cursor.close()
            db.set_authorizer(None)
            db.set_progress_handler(None, 0)
            db.text_factory = str
            db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, longest)


def _rows(cursor: sqlite3.Cursor, seconds: float) -> Iterator[tuple[Cell, ...]]:
    with _explained(seconds):
        for row in cursor:
            yield tuple(map(_cell, row))


@contextmanager
def _explained(seconds: float) -> Iterator[None]:
    """SQLite's refusals as ours, each with what to do. Damage is told as such by the connection."""
    try:
        yield
    except (sqlite3.Error, sqlite3.Warning) as exc:
        raise UsageError(f"the ledger cannot answer: {exc}", hint=_hint(str(exc), seconds)) from exc
    except (ValueError, OverflowError) as exc:  # before SQLite sees it: a zero byte, half a surrogate pair
        raise UsageError(f"the ledger cannot answer: {exc}", hint="ask in plain text") from exc


def _authorize(action: int, first: str | None, second: str | None, database: str | None, view: str | None) -> int:
    if action not in _ALLOWED or (action == sqlite3.SQLITE_FUNCTION and second in _REFUSED_FUNCTIONS):
        return sqlite3.SQLITE_DENY
    return sqlite3.SQLITE_OK


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Names of columns, those that come again numbered: value, value_2."""
    seen: Counter[str] = Counter()
    found: list[str] = []
    for name in names:
        seen[name] += 1
        unique = name if seen[name] == 1 else f"{name}_{seen[name]}"
        while unique in found:
            unique += "_"
        found.append(unique)
    return tuple(found)


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _cell(value: object) -> Cell:
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # JSON has no number for it
    assert value is None or isinstance(value, str | int | float)
    return value


def _hint(said: str, seconds: float) -> str:
    if "interrupted" in said:
        return f"it took longer than {seconds:g} s: ask for less"
    if "authoriz" in said or "readonly" in said or "prohibited" in said:
        return "only SELECT is allowed: the ledger is changed by recording, never by hand"
    if "one statement at a time" in said:
        return "ask one question at a time"
    if "too big" in said:
        return f"a cell holds at most {LONGEST >> 20} MiB: ask for less"
    if "binding" in said:
        return "there are no parameters: write the value into the question, in single quotes if it is a text"
    return f"the views are {', '.join(VIEWS)}; docs/memory.md says what their columns mean"
