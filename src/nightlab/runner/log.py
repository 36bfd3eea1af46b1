"""What a command prints: kept on disk within bounds, and read for the metric as it flows by."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

HEAD = 1 << 20  # bytes of a huge log that are kept from its start
TAIL = 4 << 20  # and at least as many from its end; the file never exceeds HEAD + 2 * TAIL by more than one line
RECENT = 256 << 10  # bytes of the end that are also held in memory

_LINE = 4096  # bytes; what is longer than this is no line of a summary
_NUMBERS = 64  # `key: number` lines that are remembered, the latest of them

_ANSI = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]")
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?(?:nan|inf|infinity)"
_IS_NUMBER = re.compile(_NUMBER, re.IGNORECASE)
_PAIR = re.compile(
    rb"(?m)^[ \t]*([A-Za-z_][\w./-]{0,63})[ \t]*[:=][ \t]*([+-]?(?:[\d.][\d.eE+-]{0,40}|(?i:nan|inf|infinity)))[ \t]*$"
)
_LOSS = re.compile(
    rb"(?i)(?<![a-z_])(?:train(?:ing)?[ _/-]?)?loss\b['\"]?\s*[:= ]\s*([+-]?(?:nan|inf(?:inity)?)\b|[+-]?[\d.])"
)
_OUT_OF_MEMORY = re.compile(rb"(?i)\b(?:out of memory|OutOfMemoryError|MemoryError|cannot allocate memory)\b")


class BoundedLog:
    """A log file that keeps its first and last megabytes.

    A disk that is full does not end the run: the end of the log then lives in memory only, and `problem` says so.
    """

    def __init__(self, path: Path, *, head: int = HEAD, tail: int = TAIL) -> None:
        self.path = path
        self.problem = ""
        self.recent = bytearray()  # the last RECENT bytes (or somewhat more)
        self._head, self._tail = head, tail
        self._size = 0
        self._total = 0
        self._file = -1
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError as exc:
            self._give_up(exc)

    def write(self, data: bytes) -> None:
        """Append; never raises."""
        self.recent += data
        if len(self.recent) > 2 * RECENT:
            del self.recent[:-RECENT]
        if self._file < 0:
            return
        try:
            self._write_all(data)
            self._total += len(data)
            if self._size > self._head + 2 * self._tail:
                self._shorten()
        except OSError as exc:
            self._give_up(exc)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            written = os.write(self._file, view)
            self._size += written
            view = view[written:]

    def _shorten(self) -> None:
        """Replace the middle of the file by one line that says how much is missing."""
        head = os.pread(self._file, self._head, 0)
        tail = os.pread(self._file, self._tail, self._size - self._tail)
        line_end = tail.find(b"\n", 0, 65536) + 1
        tail = tail[line_end:]
        left_out = self._total - len(head) - len(tail)
        scratch = self.path.with_name(f".{self.path.name}.new")
        self._size = 0
        old, self._file = self._file, os.open(scratch, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        os.close(old)
        self._write_all(head + f"\n[nightlab: {left_out} bytes left out here]\n".encode() + tail)
        os.replace(scratch, self.path)

    def _give_up(self, exc: OSError) -> None:
        self.problem = f"{self.path.name} could not be written on: {exc.strerror}"
        self.close()


@dataclass(slots=True)
class Printed:
    """What was read from the output as it flowed by."""

    values: list[str] = field(default_factory=list)  # texts of the metric, the first two that differ as numbers
    count: int = 0  # how often the metric was printed
    odd: str = ""  # what stood in the metric's place and was no number
    numbers: dict[str, str] = field(default_factory=dict)  # all `key: number` lines, latest last
    again: set[str] = field(default_factory=set)  # those of their keys that were printed more than once
    pieces: int = field(default=0, compare=False)  # how often anything came
    bad_losses: int = 0  # losses in a row, up to now, that were printed as nan or inf
    out_of_memory: bool = False  # whether the output says that memory ran out


class LineReader:
    """Finds `name: value` lines in one stream, however it is cut into pieces.

    `name: value`, `name = value` and `name=value` count, alone on their line, case-sensitive. A carriage return ends a
    line too (progress bars), colours do not matter, and a line of more than 4 KiB is none of these.
    """

    def __init__(self, name: str, printed: Printed) -> None:
        self._name = name.encode()
        self._metric = re.compile(rb"(?m)^[ \t]*" + re.escape(self._name) + rb"[ \t]*[:=][ \t]*(\S{1,64})[ \t]*$")
        self._printed = printed
        self._partial = b""
        self._skipping = False  # inside a line that is too long

    def feed(self, data: bytes) -> None:
        """Take in the next piece."""
        self._printed.pieces += 1
        if b"\r" in data:
            data = data.replace(b"\r", b"\n")
        if self._skipping:
            start = data.find(b"\n")
            if start < 0:
                return
            data, self._skipping = data[start:], False
        lines, newline, rest = (self._partial + data).rpartition(b"\n")
        if newline:
            self._read(lines)
        self._skipping = len(rest) > _LINE
        self._partial = b"" if self._skipping else rest

    def finish(self) -> None:
        """The stream has ended: its last line needs no newline."""
        self._read(self._partial)
        self._partial = b""

    def _read(self, block: bytes) -> None:
        if b"\x1b" in block:
            block = _ANSI.sub(b"", block)
        if self._name in block:
            for text in self._metric.findall(block):
                self._note(text.decode(errors="replace"))
        self._watch(block)
        numbers, again = self._printed.numbers, self._printed.again
        for name, value in _PAIR.findall(block)[-_NUMBERS:]:
            key = name.decode()
            if numbers.pop(key, None) is not None:
                again.add(key)
            numbers[key] = value.decode()
        while len(numbers) > _NUMBERS:
            oldest = next(iter(numbers))
            again.discard(oldest)
            del numbers[oldest]

    def _watch(self, block: bytes) -> None:
        """Signs of trouble."""
        if b"oss" in block:
            for loss in _LOSS.findall(block):
                self._printed.bad_losses = self._printed.bad_losses + 1 if loss[-1:].isalpha() else 0
        if b"emory" in block and _OUT_OF_MEMORY.search(block):
            self._printed.out_of_memory = True

    def _note(self, text: str) -> None:
        if _IS_NUMBER.fullmatch(text) is None:
            self._printed.odd = self._printed.odd or text
            return
        self._printed.count += 1
        known = self._printed.values
        if not known or (len(known) == 1 and text != known[0] and float(text) != float(known[0])):
            known.append(text)
