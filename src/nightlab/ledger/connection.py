"""Connections that know damage when they meet it: a broken page is told as such, whoever was asking.

SQLite reads lazily, so a broken page may show itself in any statement and while any of its rows is fetched.
"""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from nightlab.errors import LedgerDamagedError

if TYPE_CHECKING:
    from typing import Self

_P = ParamSpec("_P")
_T = TypeVar("_T")

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_NOTHING_LIKE_IT = re.compile(r"\bno such (?:table|column|index|view|module)\b|\bhas no column\b")
_SHORT = 522  # SQLITE_IOERR_SHORT_READ: the file ends in the middle of a page


def is_damage(exc: sqlite3.Error) -> bool:
    """Whether an error says that what lies in the file is broken, and not that it may not be read or written now."""
    code = getattr(exc, "sqlite_errorcode", None)
    if code is None:  # a text that is none: Python's own word, not SQLite's
        return type(exc) is sqlite3.OperationalError and "decode" in str(exc)
    return code & 0xFF in _DAMAGE or code == _SHORT


def damaged(path: Path | str, why: object) -> LedgerDamagedError:
    return LedgerDamagedError(
        f"{path} cannot be read as a ledger: {why}",
        hint="`nightlab doctor --repair` moves it aside and rebuilds it from what else is there",
    )


class Connection(sqlite3.Connection):
    """A connection to a ledger's file."""

    path = Path()
    is_asked_by_others = False  # whose question may well be about what is not there

    def is_damage(self, exc: sqlite3.Error) -> bool:
        """The same for a statement of this connection's: we ask for nothing that is not in a sound file."""
        return is_damage(exc) or (not self.is_asked_by_others and _NOTHING_LIKE_IT.search(str(exc)) is not None)

    def cursor(self, factory: object = None) -> sqlite3.Cursor:  # type: ignore[override]  # whoever asks gets ours
        return super().cursor(_Cursor)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        return self.cursor().execute(sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> sqlite3.Cursor:
        return self.cursor().executemany(sql, parameters)


class _Cursor(sqlite3.Cursor):
    def _told(self, act: Callable[_P, _T], *given: _P.args, **named: _P.kwargs) -> _T:
        try:
            return act(*given, **named)
        except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:  # SQLite quotes what it cannot make sense of
            assert isinstance(self.connection, Connection)
            if isinstance(exc, sqlite3.DatabaseError) and not self.connection.is_damage(exc):
                raise
            raise damaged(self.connection.path, exc) from exc

    def execute(self, sql: str, parameters: Any = (), /) -> Self:
        return self._told(super().execute, sql, parameters)

    def executemany(self, sql: str, parameters: Any, /) -> Self:
        return self._told(super().executemany, sql, parameters)

    def fetchone(self) -> Any:
        return self._told(super().fetchone)

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        return self._told(super().fetchmany, size)

    def fetchall(self) -> list[Any]:
        return self._told(super().fetchall)

    def __next__(self) -> Any:
        return self._told(super().__next__)


def connect(path: Path | str, *, timeout: float = 0.0, uri: bool = False, named: Path | None = None) -> Connection:
    """Open a file (or an address of one) in autocommit mode; `named` is what it is called in errors."""
    connection = sqlite3.connect(path, timeout=timeout, uri=uri, isolation_level=None, factory=Connection)
    connection.path = named or Path(path)
    return connection
