"""Backslashes as `$'...'` reads them; `echo -e`, `printf`, awk and most languages' strings do nearly the same."""

from __future__ import annotations

import re

_ANSI = re.compile(
    r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|c(.)|(.))", re.DOTALL
)
_ANSI_NAMED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v"}


def ansi(text: str) -> str:
    """What `$'text'` stands for."""

    def one(match: re.Match[str]) -> str:
        two, octal, four, eight, control, named = match.groups()
        if control:
            return chr(ord(control) & 31)
        if named:
            return _ANSI_NAMED.get(named, named)
        code = int(octal, 8) & 255 if octal else int(two or four or eight, 16)
        return chr(code) if code < 0x110000 else ""

    return _ANSI.sub(one, text)
