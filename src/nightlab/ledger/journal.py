"""The events once more, as text: what the ledger is rebuilt from if its file is lost or damaged.

One line an event, appended after the event is on disk in the database. A writer that was killed in between leaves a
gap, which the next writer fills: it goes on from the last line that it finds. Lines may be there twice; their place
in the log tells.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

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


def read(path: Path) -> Iterator[Line]:
    """Every line that can be read, as they stand there."""
    with suppress(OSError), path.open("rb") as file:  # one that cannot be read tells as much as none
        for raw in file:
            if (found := _line(raw)) is not None:
                yield found


def _line(raw: bytes) -> Line | None:
    try:
        x = msgspec.json.decode(raw, type=_Stored)
        return Line(seq=x.seq, at=x.at, kind=x.kind, key=x.key, body=bytes(x.body), digest=base64.b16decode(x.digest))
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
        return None
