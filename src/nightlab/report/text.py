"""Text from runs and agents, made safe to show: no control characters, no markup of its own, bounded in length."""

from __future__ import annotations

import re

MAX_LINE = 2_000  # characters of one log line that are shown
_LOOK_AHEAD = 8  # times the limit: how far a bounded text is looked at, since its escape codes vanish

# OSC, DCS and their like carry text of their own up to their terminator; CSI and the two-byte escapes follow.
_ESCAPES = re.compile(
    r"\x1b[\]PX^_][^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?|(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]?|\x1b[ -/]*[0-~]?"
)
# Control characters except tab and newline, invisible ones, those that turn the direction of writing, lone surrogates
# (bytes that were no UTF-8: they cannot be printed).
_CONTROLS = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]"
)
_SURROGATES = re.compile("[\ud800-\udfff]")
_MARKUP = re.compile(r"([\\`*\[\]|~])")
_EMPHASIS = re.compile(r"(?<![0-9A-Za-z])_|_(?![0-9A-Za-z])")
_LINK = re.compile(r"(?i)\b(https?|ftp|mailto)(:)|\b(www)(\.)")


def clean(text: str) -> str:
    """Without escape sequences and control characters; line breaks and tabs stay."""
    text = text.replace("\r\n", "\n")
    if "\r" in text:
        text = "\n".join(_last_printed(line) for line in text.split("\n"))
    return _SURROGATES.sub("\ufffd", _CONTROLS.sub("", _ESCAPES.sub("", text)))


def _last_printed(line: str) -> str:
    """What a terminal shows of a line that was printed over itself, as progress bars do."""
    return line.rstrip("\r").rpartition("\r")[2]


def plain(text: str, limit: int = 200) -> str:
    """One safe line of at most `limit` characters."""
    line = " ".join(clean(text[: limit * _LOOK_AHEAD].replace("\r", "\n")).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def block(text: str, lines: int | None = None) -> str:
    """Several safe lines, the last `lines` of them (or all), each of bounded length."""
    found = clean(text).split("\n")
    kept = found if lines is None else found[-lines:]
    return "\n".join(line if len(line) <= MAX_LINE else line[: MAX_LINE - 1] + "…" for line in kept)


def markdown(text: str, limit: int = 200) -> str:
    """One line of markdown that renders as the words of `text` and nothing else; safe in a table cell too."""
    words = plain(text, limit).replace("&", "&amp;").replace("<", "&lt;")
    if words.startswith(">"):  # a quotation begins so; elsewhere the sign is harmless, and arrows stay readable
        words = "&gt;" + words[1:]
    words = _EMPHASIS.sub(r"\\_", _MARKUP.sub(r"\\\1", words))
    # An address would become a link by itself: a named entity in it reads the same and is none.
    return _LINK.sub(lambda m: f"{m[1] or m[3]}{'&#58;' if m[2] else '&#46;'}", words)


def code(text: str, limit: int = 200) -> str:
    """A markdown code span; a backtick in it becomes an apostrophe."""
    return f"`{plain(text, limit).replace('`', chr(39)).replace('|', '¦') or ' '}`"
