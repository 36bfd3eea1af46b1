"""From words to arguments: quote removal, variables, substitutions, braces, tilde; see `values` for what comes out."""

from __future__ import annotations

import fnmatch
import re
from typing import TYPE_CHECKING

from nightlab.agent.policy.syntax import Arithmetic, Literal, Part, Substitution, Variable, Word
from nightlab.agent.policy.values import (
    BRACKET,
    BREAK,
    CLOSE,
    COMMA,
    DEEP,
    FETCHED,
    MARK,
    MAX_TEXT,
    OPEN,
    PIECE,
    STAR,
    UNKNOWN,
    fields,
    holes,
    shown,
)

if TYPE_CHECKING:
    from nightlab.agent.policy.machine import Machine

_UNQUOTED = str.maketrans({"*": STAR, "?": MARK, "[": BRACKET, "{": OPEN, ",": COMMA, "}": CLOSE})
_VALUE = str.maketrans({"*": STAR, "?": MARK, "[": BRACKET})
_NUMBERS = frozenset(
    {"?", "$", "!", "#", "RANDOM", "SECONDS", "EPOCHSECONDS", "LINENO", "UID", "EUID", "BASHPID", "PPID"}
)
_MARKS = {STAR: "*", MARK: "?", OPEN: "{", COMMA: ",", CLOSE: "}", BRACKET: "[", BREAK: " "}


def as_text(value: str) -> str:
    """The value as text that is read again: patterns as they were written, other holes kept."""
    for mark, char in _MARKS.items():
        if mark in value:
            value = value.replace(mark, char)
    return value


class Expander:
    """Expansion in one machine. `chosen` picks one of several values of a variable while a command is followed."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.chosen: dict[str, int] = {}

    def arguments(self, words: tuple[Word, ...]) -> list[str]:
        return [field for word in words for field in fields(self.text(word), quoted=word.quoted)]

    def one(self, word: Word) -> str:
        """The word where no splitting happens: values of assignments, targets of redirections."""
        return " ".join(fields(self.text(word).replace(BREAK, " "), quoted=True))

    def value(self, word: Word) -> str:
        """What an assignment stores: patterns and braces mean nothing yet."""
        return as_text(self.text(word))

    def text(self, word: Word) -> str:
        out = [self._part(part, first=place == 0) for place, part in enumerate(word.parts)]
        text = "".join(out)
        return text if len(text) <= MAX_TEXT else UNKNOWN

    def _part(self, part: Part, *, first: bool) -> str:
        if isinstance(part, Literal):
            if part.quoted:
                return part.text
            text = part.text
            if first and text.startswith("~"):
                text = self._tilde(text)
            return text.replace("**", DEEP).translate(_UNQUOTED)
        if isinstance(part, Arithmetic):
            self.text(part.inner)
            return PIECE
        if isinstance(part, Substitution):
            if part.file:
                return self.machine.process_file(part)
            return self._split(self.machine.capture(part.script).rstrip("\n"), part.quoted)
        return self._variable(part)

    def _tilde(self, text: str) -> str:
        name, slash, rest = text[1:].partition("/")
        state = self.machine.state
        start = {"": self.machine.places.home, "+": state.cwd, "-": state.previous}.get(name, f"/home/{name}")
        return start + slash + rest

    def elements(self, name: str) -> tuple[str, ...] | None:
        """A variable's elements; None where it is not known whether it is set."""
        state, places = self.machine.state, self.machine.places
        if name in state.variables:
            choices = state.variables[name]
            return choices[min(self.chosen.get(name, 0), len(choices) - 1)]
        if name in _NUMBERS:
            return (PIECE,)
        if name.isdigit() or name in {"@", "*"}:
            given = state.variables.get("@", ((),))[0]
            if name in {"@", "*"}:
                return given
            place = int(name)
            return ("bash",) if place == 0 else given[place - 1 : place]
        known = {
            "HOME": places.home,
            "PWD": state.cwd,
            "OLDPWD": state.previous,
            "TMPDIR": "/tmp",  # noqa: S108 - what it is where it is unset
            "SHELL": "/bin/bash",
            "IFS": " \t\n",
            "-": "",
            "USER": PIECE,
            "LOGNAME": PIECE,
            "HOSTNAME": PIECE,
        }
        return (known[name],) if name in known else None

    def _variable(self, part: Variable) -> str:
        if part.op == "#" and part.operand is not None and not part.operand.parts:
            return PIECE
        found = self.elements(part.name)
        if part.op == "!":
            target = found[0] if found else UNKNOWN
            found = self.elements(target) if re.fullmatch(r"\w+", target) else None
        text = self._picked(found, part)
        if part.op and part.op != "!":
            text = self._operated(part, text, known=found is not None)
        if part.name in {"@", "*"} or part.index in {"@", "*"}:
            return text if part.quoted else self._split(text, quoted=False)
        return self._split(text, part.quoted)

    def _split(self, text: str, quoted: bool) -> str:
        """A value as it stands in a word: unquoted, what IFS names parts it and patterns come alive."""
        if quoted:
            return text
        marks = (self.elements("IFS") or (" \t\n",))[0]
        if marks and not holes(marks):
            text = re.sub(f"[{re.escape(marks)}]+", BREAK, text)
        return text.translate(_VALUE)

    def _picked(self, found: tuple[str, ...] | None, part: Variable) -> str:
        if found is None:
            return UNKNOWN
        every = part.index in {"@", "*"} or part.name in {"@", "*"}
        if every:
            star = "*" in {part.index, part.name} and part.quoted
            return (" " if star else BREAK).join(found)
        if part.index:
            if not part.index.isdigit():
                return UNKNOWN
            return found[int(part.index)] if int(part.index) < len(found) else ""
        return found[0] if found else ""

    def _operated(self, part: Variable, text: str, *, known: bool) -> str:
        op = part.op
        operand = self.text(part.operand or Word())
        if op in {"-", ":-", "=", ":=", "?", ":?"}:
            use = not known or (op.startswith(":") and not text)
            if use and "=" in op:
                self.machine.state.variables[part.name] = ((as_text(operand),),)
            return operand if use and "?" not in op else text
        if op in {"+", ":+"}:
            return operand if not known or text else ""
        if not known or holes(text.replace(BREAK, "")):
            return UNKNOWN if FETCHED not in text else FETCHED
        return _transformed(op, text, shown(operand))


def _transformed(op: str, text: str, operand: str) -> str:
    """`${name<op>operand}` of a known value, or a hole where it is not worked out."""
    if op in {"^", "^^", ",", ",,"}:
        change = str.upper if "^" in op else str.lower
        return change(text) if len(op) == 2 else change(text[:1]) + text[1:]
    if op in {"#", "##", "%", "%%"}:
        ends = range(len(text) + 1)
        if "#" in op:
            cuts = [end for end in ends if fnmatch.fnmatchcase(text[:end], operand)]
            return text[(cuts[-1] if op == "##" else cuts[0]) :] if cuts else text
        cuts = [start for start in ends if fnmatch.fnmatchcase(text[start:], operand)]
        return text[: cuts[0] if op == "%%" else cuts[-1]] if cuts else text
    if op.startswith("/"):
        old, _, new = operand.partition("/")
        if any(char in old for char in "*?[") or not old:
            return UNKNOWN
        if op in {"/#", "/%"}:
            edge = text.startswith(old) if op == "/#" else text.endswith(old)
            return text if not edge else new + text[len(old) :] if op == "/#" else text[: -len(old)] + new
        return text.replace(old, new, -1 if op == "//" else 1)
    if op == ":":
        match = re.fullmatch(r"\s*(-?\d+)\s*(?::\s*(-?\d+)\s*)?", operand)
        if match is None:
            return UNKNOWN
        start = int(match[1])
        rest = text[start:]
        return rest if match[2] is None else rest[: int(match[2])]
    return text if op == "@" else UNKNOWN
