"""The events once more, as text: what the ledger is rebuilt from if its file is lost or damaged.

One line an event, appended after the event is on disk in the database. A writer that was killed in between leaves a
gap, which the next writer fills: it goes on from the last line that it finds. Lines may be there twice, and one that
a killed writer left may be torn; their place in the log tells.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nightlab.ledger import mirrors

_LAST = 1 << 16  # bytes from the end in which the last line is looked for first


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One event as it lies in the database."""

    seq: int
    at: float
    kind: str
    key: str | None
    body: bytes
    digest: bytes


class _Stored(msgspec.Struct, array_like=True):
    seq: int
    at: float
    kind: str
    key: str | None
    body: msgspec.Raw
    digest: str


def path_of(database: Path) -> Path:
    """Where the journal of a database lies."""
    return database.with_name("events.jsonl")


def last_seq(path: Path) -> int:
    """Place of the last event that is written down whole; 0 if there is none."""
    found = last(path)
    return 0 if found is None else found.seq


def last(path: Path) -> Line | None:
    """The last event that is written down whole."""
    with suppress(OSError), path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        window = _LAST
        while True:
            start = max(0, size - window)
            file.seek(start)
            lines = file.read(size - start).split(b"\n")
            for line in reversed(lines if start == 0 else lines[1:]):
                if (found := _line(line)) is not None:
                    return found
            if start == 0:
                return None
            window *= 8
    return None


def write(path: Path, lines: Iterable[Line]) -> None:
    """Append lines by one write. What cannot be written now is written by the next who can."""
    with suppress(OSError), path.open("a+b", buffering=0) as file:
        text = b"".join(map(_text, lines))
        if text and file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            text = text if file.read(1) == b"\n" else b"\n" + text
        file.write(text)


def _text(x: Line) -> bytes:
    digest = base64.b16encode(x.digest).decode()
    return msgspec.json.encode(_Stored(x.seq, x.at, x.kind, x.key, msgspec.Raw(x.body), digest)) + b"\n"


def write_anew(path: Path, lines: Iterable[Line]) -> None:
    """Put exactly these lines in the place of what is there; whoever reads meanwhile sees the old or the new.

    Raises:
        LedgerError: the disk refuses; the old journal stands.
    """
    mirrors.replace(path, b"".join(map(_text, lines)))


def read(path: Path) -> Iterator[Line]:
    """Every line that can be read, as they stand there."""
    return (row.line for row in rows(path) if row.line is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the file, whatever it is."""

    place: int  # in the file, from 1
    line: Line | None  # None: it cannot be read
    is_ended: bool  # a writer that was killed in the midst of a line leaves it without its end


def rows(path: Path) -> Iterator[Row]:
    """Every line of the file but empty ones; of a file that cannot be read none, as if it were not there."""
    with suppress(OSError), path.open("rb") as file:
        for place, raw in enumerate(file, 1):
            if raw.strip():
                yield Row(place=place, line=_line(raw), is_ended=raw.endswith(b"\n"))


def _line(raw: bytes) -> Line | None:
    try:
        x = msgspec.json.decode(raw, type=_Stored)
        return Line(seq=x.seq, at=x.at, kind=x.kind, key=x.key, body=bytes(x.body), digest=base64.b16decode(x.digest))
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return None
