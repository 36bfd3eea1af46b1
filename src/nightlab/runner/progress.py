"""What a run tells of itself while it goes on: JSON lines with its share of the budget and its loss.

    {"step": 12, "fraction": 0.08, "loss": 4.31, "tokens_per_second": 16923.0}

Only `fraction` (0 to 1) and `loss` (lower is better) are read. The file belongs to the run: anything may stand in it.
"""

from __future__ import annotations

import json
import math
import os
import stat
from contextlib import suppress
from pathlib import Path

import msgspec

from nightlab.types import Curve

_PIECE = 1 << 20  # bytes read at one look; a run that writes faster is read later
_LINE = 64 << 10  # bytes; what is longer is no line of progress
_WHOLE = 16  # pieces of a finished run's file that are read

Point = tuple[float, float]
"""(share of the budget, loss; NaN where the run told of one that is no number)"""


class _Line(msgspec.Struct):
    fraction: float
    loss: float


_DECODER = msgspec.json.Decoder(_Line)


class ProgressFile:
    """A run's progress, read as it grows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._rest = b""

    def read(self) -> list[Point]:
        """The points that are new since the last call, at most a megabyte of them; never raises."""
        with suppress(OSError):
            # O_NONBLOCK: a run could have left a named pipe there, and opening one waits for ever.
            handle = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            with open(handle, "rb") as file:
                if stat.S_ISREG(os.fstat(handle).st_mode):
                    file.seek(self._offset)
                    return self._take(file.read(_PIECE))
        return []

    def _take(self, data: bytes) -> list[Point]:
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest if len(self._rest) <= _LINE else b""
        return [point for line in lines if (point := _point(line)) is not None]


def _point(line: bytes) -> Point | None:
    try:
        read = _DECODER.decode(line)
        return (read.fraction, read.loss)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _odd_point(line)


def _odd_point(line: bytes) -> Point | None:
    """A line that is no JSON by the book, as Python writes NaN and Infinity; null is no loss at all."""
    try:
        told = json.loads(line)
        fraction, loss = float(told["fraction"]), float(told["loss"])
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None
    return (fraction, loss) if math.isfinite(fraction) else None


def read_curve(path: Path) -> Curve | None:
    """The curve of a run that has ended; None if it told of none. Reads 16 MB at most."""
    file = ProgressFile(path)
    points: list[Point] = []
    for _ in range(_WHOLE):
        if not (piece := file.read()):
            break
        points += piece
    curve = Curve.of(points)
    return curve if curve.points else None
