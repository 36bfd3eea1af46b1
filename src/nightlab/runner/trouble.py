"""What went wrong, in one line: summaries and signatures of crashes."""

from __future__ import annotations

import re
import signal

SUMMARY = 300  # characters of a summary and of each line of the tail
TAIL_LINES = 8
_SIGNATURE = 160

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]+")
_SPACE = re.compile(r"\s+")

_OUT_OF_MEMORY = re.compile(
    r"\b(?:out of memory|OutOfMemoryError|MemoryError|cannot allocate memory|std::bad_alloc)\b", re.IGNORECASE
)
_VARIABLE = (
    (re.compile(r"'[^']{0,200}'|\"[^\"]{0,200}\""), "<text>"),
    (re.compile(r"(?:[A-Za-z]:)?(?:~|\.{1,2})?(?:[\\/][\w.+@-]+)+[\\/]?"), "<path>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "<address>"),
    (re.compile(r"(?<![A-Za-z_])[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"), "<n>"),
)


def clean(text: str, limit: int = SUMMARY) -> str:
    """One line without control characters, invisible or direction-changing ones, of at most `limit` characters."""
    text = text[: 4 * limit + 4096]  # a line can be 50 MB long
    text = _SPACE.sub(" ", _CONTROL.sub(" ", _ANSI.sub("", text))).strip()
    return text if len(text) <= limit else text[: limit - 1] + "\u2026"


def last_lines(log: bytes) -> tuple[str, ...]:
    """The last lines of a log that are not empty, cleaned, at most TAIL_LINES of them, the last one last.

    The end of a log is all that is needed: the line that says what went wrong is its last one, with or without a
    traceback before it.
    """
    found: list[str] = []
    for line in reversed(re.split(r"[\r\n]+", log.decode("utf-8", "replace"))):
        if cleaned := clean(line):
            found.append(cleaned)
            if len(found) == TAIL_LINES:
                break
    return tuple(reversed(found))


def summarize(exit_code: int, tail: tuple[str, ...]) -> str:
    """One line on why a command failed: its own last words, after the signal if one ended it."""
    last = tail[-1] if tail else ""
    if exit_code >= 0:
        if not last:
            return f"exit code {exit_code}, and nothing was printed"
        # Python ends with 1 after a traceback, whose last line says it all; another code was chosen by somebody.
        return last if exit_code <= 1 else clean(f"exit code {exit_code}; last line: {last}")
    name = signal_name(-exit_code)
    hint = ", as the system does when memory runs out" if -exit_code == signal.SIGKILL else ""
    return clean(f"killed by {name}{hint}; last line: {last}" if last else f"killed by {name}{hint}")


def signal_name(number: int) -> str:
    """SIGKILL for 9, and so on."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def signature(exit_code: int, tail: tuple[str, ...]) -> str:
    """What this failure has in common with others of its kind: no paths, numbers, addresses or quoted texts."""
    if any(_OUT_OF_MEMORY.search(line) for line in tail):
        return "out of memory"
    if exit_code < 0:
        return f"killed by {signal_name(-exit_code)}"
    return signature_of(tail[-1]) if tail else f"exit code {exit_code}"


def signature_of(text: str) -> str:
    """`text` without what differs from run to run."""
    for pattern, name in _VARIABLE:
        text = pattern.sub(name, text)
    return clean(text, _SIGNATURE)
