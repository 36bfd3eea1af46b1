"""JSON as text: one member or element put in or taken out, every other byte left alone, comments too.

Clients' settings are JSON that people write by hand, some with comments and trailing commas. Both are blanked out with
white space of the same length, so that what the standard library parses has its places where the file has them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

Json: TypeAlias = "Mapping[str, Json] | Sequence[Json] | str | int | float | bool | None"
Path: TypeAlias = tuple[str, ...]

_STRING_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_STRING_OR_LAST_COMMA = re.compile(r'"(?:\\.|[^"\\\n])*"|,(?=\s*[}\]])', re.DOTALL)
_SPACE = " \t\r\n"
_DECODER = json.JSONDecoder()


class ShapeError(ValueError):
    """The text is JSON, but something that must be an object or a list is none."""

    def __init__(self, message: str, line: int) -> None:
        super().__init__(message)
        self.line = line


@dataclass(frozen=True, slots=True)
class Child:
    """A member of an object or an element of a list, by offsets into the text."""

    start: int  # of the key, or of the element
    value: int
    end: int
    key: str = ""


def load(text: str) -> Json:
    """What the text says.

    Raises:
        json.JSONDecodeError: it is no JSON.
        RecursionError: it is nested too deeply.
    """
    found: Json = json.loads(_plain(text))
    return found


def find(text: str, path: Path) -> Json:
    """The value at a path of keys; None where there is none, or where an object on the way is something else."""
    value = load(text)
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def set_member(text: str, path: Path, value: Json) -> str:
    """Put `value` at `path`; a value that is there is replaced, objects that are lacking are made.

    Raises:
        ShapeError: something on the way is no object.
    """
    where, rest = _deepest(text, path)
    if not rest:
        _, child = _child(text, path)
        return text[: child.value] + _render(value, text, _indent_of(text, child.start)) + text[child.end :]
    if _plain(text)[where] != "{":
        raise ShapeError(f"`{'.'.join(path[: -len(rest)]) or 'the whole'}` is no object", _line(text, where))
    for key in reversed(rest[1:]):
        value = {key: value}
    return _insert(text, where, f"{json.dumps(rest[0])}: ", value)


def append(text: str, path: Path, value: Json) -> str:
    """Put `value` at the end of the list at `path`, which is made if it is lacking.

    Raises:
        ShapeError: there is something else, or something on the way is no object.
    """
    where, rest = _deepest(text, path)
    if rest:
        return set_member(text, path, [value])
    if _plain(text)[where] != "[":
        raise ShapeError(f"`{'.'.join(path)}` is no list", _line(text, where))
    return _insert(text, where, "", value)


def set_element(text: str, path: Path, index: int, value: Json) -> str:
    """Put `value` in the place of one element of the list at `path`."""
    where, _ = _deepest(text, path)
    child = _children(_plain(text), where)[index]
    return text[: child.start] + _render(value, text, _indent_of(text, child.start)) + text[child.end :]


def remove(text: str, path: Path, index: int | None = None) -> str:
    """Take out the member at `path`, or one element of the list there; what becomes empty on the way goes as well."""
    if index is None:
        where, child = _child(text, path)
        above = path[:-1]
    else:
        where, above = _deepest(text, path)[0], path
        child = _children(_plain(text), where)[index]
    alone = len(_children(_plain(text), where)) == 1
    return remove(text, above) if alone and above else _cut(text, where, child)


# --- places -----------------------------------------------------------------------------------------------------


def _plain(text: str) -> str:
    text = f" {text[1:]}" if text.startswith("\ufeff") else text
    return _blank(_STRING_OR_LAST_COMMA, _without_comments(text))


def _without_comments(text: str) -> str:
    return _blank(_STRING_OR_COMMENT, text)


def _blank(pattern: re.Pattern[str], text: str) -> str:
    """Every match that is no string becomes white space; lines stay lines."""
    return pattern.sub(lambda m: m[0] if m[0].startswith('"') else re.sub(r"[^\r\n]", " ", m[0]), text)


def _skip(plain: str, at: int) -> int:
    while plain[at] in _SPACE:
        at += 1
    return at


def _children(plain: str, where: int) -> list[Child]:
    """Members or elements of the object or list that begins at `where`."""
    found = []
    at = _skip(plain, where + 1)
    while plain[at] not in "}]":
        start, key = at, ""
        if plain[where] == "{":
            key, at = _DECODER.raw_decode(plain, at)
            at = _skip(plain, _skip(plain, at) + 1)
        _, end = _DECODER.raw_decode(plain, at)
        found.append(Child(start, at, end, key))
        at = _skip(plain, end)
        at = _skip(plain, at + 1) if plain[at] == "," else at
    return found


def _deepest(text: str, path: Path) -> tuple[int, Path]:
    """Where the value lies that `path` leads to as far as it exists, and the keys that lead on from there."""
    plain = _plain(text)
    where = _skip(plain, 0)
    for depth, key in enumerate(path):
        same = [c for c in _children(plain, where) if c.key == key] if plain[where] == "{" else []
        if not same:
            return where, path[depth:]
        where = same[-1].value  # of two members of one name, parsers take the last
    return where, ()


def _child(text: str, path: Path) -> tuple[int, Child]:
    where, _ = _deepest(text, path[:-1])
    return where, [c for c in _children(_plain(text), where) if c.key == path[-1]][-1]


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


# --- text -------------------------------------------------------------------------------------------------------


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _indent_of(text: str, at: int) -> str:
    """The white space that the line of `at` begins with."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    return line[: len(line) - len(line.lstrip(" \t"))]


def _unit(text: str) -> str:
    """One step of indentation as this text has it."""
    found = re.search(r"^[ \t]+(?=\S)", text, re.MULTILINE)
    return found[0] if found else "  "


def _render(value: Json, text: str, indent: str) -> str:
    lines = json.dumps(value, indent=_unit(text), ensure_ascii=False).split("\n")
    return (_newline(text) + indent).join(lines)


def _insert(text: str, where: int, label: str, value: Json) -> str:
    """Put a child at the end of the object or list that begins at `where`."""
    plain, newline = _plain(text), _newline(text)
    children = _children(plain, where)
    outer = _indent_of(text, where)
    if not children:
        inner = outer + _unit(text)
        close = _skip(plain, where + 1)
        rest = text[close:] if not text[where + 1 : close].strip() else text[where + 1 :]
        return f"{text[: where + 1]}{newline}{inner}{label}{_render(value, text, inner)}{newline}{outer}{rest}"
    last = children[-1]
    begins_line = not text[text.rfind("\n", 0, last.start) + 1 : last.start].strip()
    inner = _indent_of(text, last.start) if begins_line else outer + _unit(text)
    item = f"{newline}{inner}{label}{_render(value, text, inner)}"
    comma = _skip(_without_comments(text), last.end)
    has_comma = text[comma] == ","
    at = comma + 1 if has_comma else last.end
    line_end = re.compile(r"[ \t]*(?=\r?\n)").match(plain, at)  # a comment behind the last one stays behind it
    end = line_end.end() if line_end else at
    return f"{text[:at]}{'' if has_comma else ','}{text[at:end]}{item}{text[end:]}"


def _cut(text: str, where: int, child: Child) -> str:
    """Take a child out, with its comma and the white space before it."""
    commas = _without_comments(text)
    children = _children(_plain(text), where)
    index = children.index(child)
    begin = child.start
    while text[begin - 1] in _SPACE:
        begin -= 1
    after = _skip(commas, child.end)
    if index + 1 < len(children) or (not index and commas[after] == ","):
        return text[:begin] + text[after + 1 :]
    if index:
        comma = _skip(commas, children[index - 1].end)
        return text[:comma] + text[comma + 1 : begin] + text[child.end :]
    left = text[:begin] + text[child.end :]
    close = _skip(_plain(left), where + 1)
    return left[: where + 1] + left[close:] if not left[where + 1 : close].strip() else left
