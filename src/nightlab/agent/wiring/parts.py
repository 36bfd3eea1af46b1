"""Our part of a file that may be somebody else's as well: put in, taken out, told from the rest. Text in, text out.

Four kinds of file: JSON in which we have members and list elements, TOML and Markdown in which we have a block between
two marks, and files that are ours as a whole. All of them keep what they do not know.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol

from nightlab.agent.wiring import jsontext
from nightlab.agent.wiring.jsontext import Json, ShapeError

BEGIN, END = "nightlab:begin", "nightlab:end"


class RefusedError(ValueError):
    """A file into which our part cannot be put, or from which it cannot be told.

    Args:
        message: what is wrong with it, without its name.
        line: where, counted from 1; 0 where that is not known.
        hint: what to do about it.
    """

    def __init__(self, message: str, line: int = 0, hint: str = "") -> None:
        super().__init__(message)
        self.line = line
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Put:
    """A file with our part in it, and what of ours gave way to something of the user's."""

    text: str
    kept: tuple[str, ...] = ()


class Part(Protocol):
    """One kind of file."""

    def put(self, text: str | None) -> Put:
        """The file with our part in it, as this version writes it; None stands for a file that does not exist.

        Putting it in twice is putting it in once.

        Raises:
            RefusedError: that cannot be done without harm.
        """
        ...

    def take(self, text: str) -> str | None:
        """The file without our part, of whatever version; None if nothing else is in it.

        Raises:
            RefusedError: our part cannot be told from the rest.
        """
        ...


# --- JSON -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Member:
    """A value of ours in an object. What has our mark in it is ours; any other value there is the user's and stays.

    Args:
        path: keys from the top.
        value: what shall be there.
        common: the file needs it whoever writes there, such as a version: it stays as long as anything does.
    """

    path: jsontext.Path
    value: Json
    common: bool = False


@dataclass(frozen=True, slots=True)
class Element:
    """An element of ours in a list, known again by our mark. Others may stand before and behind it."""

    path: jsontext.Path
    value: Json


@dataclass(frozen=True, slots=True)
class JsonPart:
    """Members and elements in a JSON file, with or without comments.

    Args:
        entries: what is ours, in the order in which it is written.
        mark: a text that every value of ours carries, whatever version wrote it, and no value of anybody else.
    """

    entries: Sequence[Member | Element]
    mark: str

    def put(self, text: str | None) -> Put:
        text = "{}\n" if text is None or _is_blank(text) else text
        self._read(text)
        kept: list[str] = []
        for entry in self.entries:
            try:
                if isinstance(entry, Element):
                    text = self._put_element(text, entry)
                    continue
                found = jsontext.find(text, entry.path)
                if found is not None and not self._is_ours(found, entry):
                    kept.append(f"`{'.'.join(entry.path)}` is yours and stays as it is")
                elif found != entry.value:
                    text = jsontext.set_member(text, entry.path, entry.value)
            except ShapeError as exc:
                raise RefusedError(str(exc), exc.line, "mend that, then the same again") from exc
        return Put(text, tuple(kept))

    def take(self, text: str) -> str | None:
        if _is_blank(text):
            return text
        self._read(text)
        taken = text
        for entry in self.entries:
            if isinstance(entry, Element):
                for index in reversed(self._ours(taken, entry)):
                    taken = jsontext.remove(taken, entry.path, index)
            elif not entry.common and self._is_ours(jsontext.find(taken, entry.path), entry):
                taken = jsontext.remove(taken, entry.path)
        common = {entry.path[0]: entry.value for entry in self.entries if isinstance(entry, Member) and entry.common}
        left = jsontext.load(taken)
        return None if taken != text and (not left or left == common) else taken

    def _read(self, text: str) -> None:
        try:
            found = jsontext.load(text)
        except json.JSONDecodeError as exc:
            raise RefusedError(f"no JSON: {exc.msg}", exc.lineno, "mend that, then the same again") from exc
        except RecursionError as exc:
            raise RefusedError("nested too deeply to be read", 0, "mend that, then the same again") from exc
        if not isinstance(found, Mapping):
            raise RefusedError("no JSON object", 1, "mend that, then the same again")

    def _put_element(self, text: str, entry: Element) -> str:
        ours = self._ours(text, entry)
        for index in reversed(ours[1:]):
            text = jsontext.remove(text, entry.path, index)
        if not ours:
            return jsontext.append(text, entry.path, entry.value)
        found = jsontext.find(text, entry.path)
        assert isinstance(found, Sequence)
        same = found[ours[0]] == entry.value
        return text if same else jsontext.set_element(text, entry.path, ours[0], entry.value)

    def _ours(self, text: str, entry: Element) -> list[int]:
        found = jsontext.find(text, entry.path)
        if not isinstance(found, list):
            return []
        return [index for index, value in enumerate(found) if self._is_ours(value, entry)]

    def _is_ours(self, value: Json, entry: Member | Element) -> bool:
        return value == entry.value or self.mark in json.dumps(value, ensure_ascii=False)


# --- marked blocks ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Comment:
    """How a kind of file writes a comment of one line."""

    begin: str
    end: str

    def block(self, body: str, newline: str) -> str:
        return "".join(f"{line}{newline}" for line in (self.begin, *body.strip("\n").split("\n"), self.end))

    def without_blocks(self, text: str) -> str:
        """The text without any block of ours and the empty line that sets it apart.

        Raises:
            RefusedError: a mark has lost its other half.
        """
        before: list[str] = []
        after = re.findall(r"[^\n]*\n|[^\n]+", text)
        number, opened = 0, 0  # lines read; the line of a begin that waits for its end
        while after:
            line, number = after.pop(0), number + 1
            mark = line.strip()
            if mark == (self.end if not opened else self.begin):
                raise _lone(mark, number)
            if mark == self.begin:
                opened = number
            elif not opened:
                before.append(line)
            elif mark == self.end:
                opened = 0
                if before and not before[-1].strip() and not (after and after[0].strip()):
                    before.pop()
                elif not before and after and not after[0].strip():
                    after.pop(0)
                    number += 1
        if opened:
            raise _lone(self.begin, opened)
        return "".join(before)

    def has_just(self, text: str, blocks: Sequence[str]) -> bool:
        """Whether these blocks are in the text, and no other of ours."""
        marks = sum(line.strip() == self.begin for line in text.split("\n"))
        return marks == len(blocks) and all(f"\n{block}" in f"\n{text}" for block in blocks)


def _lone(mark: str, line: int) -> RefusedError:
    hint = "take out what is left of our block by hand, then the same again"
    return RefusedError(f"`{mark}` has lost its other half", line, hint)


def _newline(text: str) -> str:
    """How most of its lines end."""
    return "\r\n" if 2 * text.count("\r\n") > text.count("\n") else "\n"


def _is_blank(text: str | None) -> bool:
    return text is None or not text.strip("\ufeff \t\r\n")


@dataclass(frozen=True, slots=True)
class SectionPart:
    """A section at the end of a Markdown file.

    Args:
        body: Markdown, several lines.
        unless: a line that makes it needless.
    """

    body: str
    unless: str = ""
    _marks: ClassVar[_Comment] = _Comment(f"<!-- {BEGIN} -->", f"<!-- {END} -->")

    def put(self, text: str | None) -> Put:
        if not text:
            return Put(self._marks.block(self.body, "\n"))
        rest = self._marks.without_blocks(text)
        if self.unless and self.unless in map(str.strip, rest.splitlines()):
            return Put(rest)
        block = self._marks.block(self.body, _newline(text))
        return Put(text if self._marks.has_just(text, [block]) else _joined(rest, block))

    def take(self, text: str) -> str | None:
        rest = self._marks.without_blocks(text)
        return None if rest != text and _is_blank(rest) else rest


def _joined(text: str, block: str) -> str:
    newline = _newline(text)
    if _is_blank(text):
        return block
    return f"{text}{'' if text.endswith(newline) else newline}{newline}{block}"


@dataclass(frozen=True, slots=True)
class TomlPart:
    """Two blocks of TOML: keys of the top before everything else, tables after it. Comments and order stay.

    Args:
        top: key -> its value as TOML writes it.
        tables: name of a table, dotted -> its lines.
    """

    top: Mapping[str, str]
    tables: Mapping[str, str]
    _marks: ClassVar[_Comment] = _Comment(f"# {BEGIN}", f"# {END}")

    def put(self, text: str | None) -> Put:
        bom = "\ufeff" if text and text.startswith("\ufeff") else ""
        text = (text or "").removeprefix(bom)
        rest = self._marks.without_blocks(text)
        _read_toml(text)  # as a whole first: its lines are those of the file
        users = _read_toml(rest)
        top = [f"{key} = {value}" for key, value in self.top.items() if key not in users]
        tables = [f"[{name}]\n{lines.strip()}" for name, lines in self.tables.items() if not _has(users, name)]
        gone = [*(key for key in self.top if key in users), *(name for name in self.tables if _has(users, name))]
        newline = _newline(text)
        blocks = [self._marks.block(body, newline) for body in ("\n".join(top), "\n\n".join(tables)) if body]
        if not self._marks.has_just(text, blocks):
            text = rest
            if top:
                text = f"{blocks[0]}{newline if rest.strip() else ''}{rest}"
            if tables:
                text = _joined(text, blocks[-1])
            self._check(text, rest)
        return Put(bom + text, tuple(f"`{name}` is yours and stays as it is" for name in gone))

    def take(self, text: str) -> str | None:
        bom = "\ufeff" if text.startswith("\ufeff") else ""
        rest = bom + self._marks.without_blocks(text.removeprefix(bom))
        return None if rest != text and _is_blank(rest) else rest

    def _check(self, made: str, rest: str) -> None:
        """Raise unless what we made can be read: a table may be spelt so that nothing can be added to it."""
        try:
            tomllib.loads(made)
        except tomllib.TOMLDecodeError as exc:
            name = next(iter(self.tables)).partition(".")[0]
            at = re.search(rf"(?m)^\s*\[*\s*{re.escape(name)}\b", rest)
            raise RefusedError(
                f"no table can be added to `{name}` as it is written ({exc})",
                rest.count("\n", 0, at.start() + len(at[0])) + 1 if at else 0,
                f"write each of its entries as a table of its own, `[{name}.NAME]`, then the same again",
            ) from exc


def _read_toml(text: str) -> Mapping[str, object]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        found = re.search(r"at line (\d+)", str(exc))
        raise RefusedError(f"no TOML: {exc}", int(found[1]) if found else 0, "mend that, then the same again") from exc


def _has(users: Mapping[str, object], name: str) -> bool:
    found: object = users
    for key in name.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found is not None


# --- whole files ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WholePart:
    """A file that is ours as a whole.

    Args:
        text: what is in it.
        mark: a text that it carries in every version, and no file of anybody else.
    """

    text: str
    mark: str

    def put(self, text: str | None) -> Put:
        if not _is_blank(text) and self.mark not in (text or ""):
            raise RefusedError("another file of that name is there", 0, "move it away, then the same again")
        return Put(self.text)

    def take(self, text: str) -> str | None:
        return None if self.mark in text else text
