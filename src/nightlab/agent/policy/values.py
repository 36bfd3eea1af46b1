"""What a word can be once the shell has expanded it: text with holes.

A value is a plain `str` in which a few private characters stand for what is not known: anything at all, anything in one
directory, what came from the network. Text operations (joining, cutting a suffix, splitting) work on it as they are,
and a value is held against a path by turning it into a regular expression.
"""

from __future__ import annotations

import re
from functools import lru_cache

UNKNOWN = "\ue000"  # any text
PIECE = "\ue001"  # any text without a slash: a date, a number, a temporary name
FETCHED = "\ue002"  # text that came from the network
STAR = "\ue003"  # `*` of a pattern, one directory
MARK = "\ue004"  # `?` or `[...]` of a pattern
DEEP = "\ue005"  # whatever lies below, as `find` and `**` see it
BREAK = "\ue006"  # where an unquoted value falls into two words
OPEN, COMMA, CLOSE = "\ue007", "\ue008", "\ue009"  # `{a,b}` before it is spread
BRACKET = "\ue00a"  # an unquoted `[`
TRAINED = "\ue00b"  # the text of the file that is trained

HOLES = frozenset({UNKNOWN, PIECE, FETCHED, STAR, MARK, DEEP, TRAINED})
_ALL = re.compile("[\ue000-\ue00f]")
_SHOWN = {STAR: "*", MARK: "?", OPEN: "{", COMMA: ",", CLOSE: "}", BRACKET: "[", BREAK: " "}
_MAX_HOLES = 4  # of one value held against a path: more are read as one, which keeps matching cheap
MAX_FIELDS = 256  # that braces may make
MAX_BRACES = 12  # in one word
MAX_TEXT = 200_000  # characters of one value; longer ones are not known


def cleaned(text: str) -> str:
    """`text` without characters that mean something here."""
    return _ALL.sub("?", text)


def holes(text: str) -> bool:
    return _ALL.search(text) is not None


def shown(text: str) -> str:
    """The value as a person would write it."""
    return _ALL.sub(lambda match: _SHOWN.get(match[0], "..."), text)


def unknowable(text: str) -> bool:
    """Whether nothing of the value is known but slashes and dots."""
    return bool({UNKNOWN, FETCHED, DEEP} & set(text)) and not _ALL.sub("", text).strip("/.")


@lru_cache(maxsize=512)
def pattern(text: str) -> re.Pattern[str]:
    """What the value may be, for `fullmatch`; letters of either case, since some file systems do not tell."""
    found = list(_ALL.finditer(text))
    if len(found) > _MAX_HOLES:
        text = text[: found[0].start()] + DEEP + text[found[-1].end() :]
    rules = {PIECE: "[^/]*", STAR: "[^/]*", MARK: "[^/]", DEEP: ".*"}
    out = []
    for place, char in enumerate(text):
        if char in {UNKNOWN, FETCHED}:
            out.append(".*" if place == 0 else "[^/]*")
        else:
            out.append(rules.get(char) or re.escape(_SHOWN.get(char, char)))
    return re.compile("".join(out), re.DOTALL | re.IGNORECASE)


def known_start(text: str) -> str:
    """The directories before the first hole."""
    match = _ALL.search(text)
    return text if match is None else text[: match.start()].rpartition("/")[0]


def spread(text: str) -> list[str]:
    """Brace expansion: `a{b,c}` -> `ab`, `ac`; `{1..3}` is a hole. Braces that mean nothing stay."""
    if text.count(OPEN) > MAX_BRACES:
        return [UNKNOWN]
    start = text.find(OPEN)
    if start < 0:
        return [text.replace(CLOSE, "}").replace(COMMA, ",")]
    head = text[:start].replace(CLOSE, "}").replace(COMMA, ",")
    end, parts = _brace_parts(text, start)
    if end < 0:
        return spread(f"{head}{{{text[start + 1 :]}")
    if len(parts) == 1:
        inner = PIECE if ".." in parts[0] else "{" + parts[0] + "}"
        return spread(head + inner + text[end + 1 :])
    found: list[str] = []
    for part in parts:
        found.extend(spread(head + part + text[end + 1 :]))
        if len(found) > MAX_FIELDS:
            return [UNKNOWN]
    return found


def _brace_parts(text: str, start: int) -> tuple[int, list[str]]:
    """Where the brace that opens at `start` closes (-1: nowhere), and what its own commas part."""
    level, begin = 0, start + 1
    parts: list[str] = []
    for place in range(start, len(text)):
        char = text[place]
        level += {OPEN: 1, CLOSE: -1}.get(char, 0)
        if level == 0:
            return place, [*parts, text[begin:place]]
        if level == 1 and char == COMMA:
            parts.append(text[begin:place])
            begin = place + 1
    return -1, []


def fields(text: str, *, quoted: bool) -> list[str]:
    """The arguments that an expanded word becomes: braces spread, brackets read, split where values fell apart.

    Args:
        text: the value, with marks for what was not quoted.
        quoted: whether any of the word was, so that an empty result is an argument too.
    """
    found: list[str] = []
    for piece in spread(text):
        marked = re.sub(BRACKET + "[^\ue00a/\\]]+\\]", MARK, piece).replace(BRACKET, "[")
        found.extend(part for part in marked.split(BREAK) if part or (quoted and BREAK not in marked))
    return found
