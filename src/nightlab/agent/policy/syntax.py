"""The tree of a shell command: what `shell.parse` makes and `machine` walks. Nothing in it is expanded yet.

Structs, not dataclasses: a hook is a process start, and these take a fortieth of the time to define.
"""

from __future__ import annotations

import msgspec

MAX_WORDS = 5_000  # of one text, here-documents not counted; a long list of files is a tenth of it


class UnreadableError(Exception):
    """The text is no shell command that we can follow; the message says why."""


class ParserError(Exception):
    """The program that parses could not be asked; the message says why, with it as the subject."""


class Literal(msgspec.Struct, frozen=True):
    text: str
    quoted: bool  # inside quotes or behind a backslash: no pattern, brace or tilde


class Variable(msgspec.Struct, frozen=True):
    """`$name`, `${name[index]op operand}`; `op` "" is the plain value, "#" (first) its length, "!" indirection."""

    name: str
    quoted: bool
    op: str = ""
    operand: Word | None = None
    index: str = ""


class Substitution(msgspec.Struct, frozen=True):
    """`$(script)` and backquotes; as `<(script)` or `>(script)` it is a file whose other end the script holds."""

    script: Node
    quoted: bool
    file: str = ""  # "", "<" or ">"


class Arithmetic(msgspec.Struct, frozen=True):
    """`$((...))`: a number that nobody works out here, but substitutions in it run."""

    inner: Word


Part = Literal | Variable | Substitution | Arithmetic


class Word(msgspec.Struct, frozen=True):
    parts: tuple[Part, ...] = ()

    @property
    def quoted(self) -> bool:
        """Whether an empty value of it is still an argument."""
        return any(isinstance(part, Literal) and part.quoted for part in self.parts)


class Assignment(msgspec.Struct, frozen=True):
    name: str
    values: tuple[Word, ...]
    array: bool = False
    append: bool = False


class Redirection(msgspec.Struct, frozen=True):
    """`op` is written as in the shell; a here-document's is "<<" and a here-string's "<<<", `target` their text."""

    op: str
    target: Word
    descriptor: int | None = None  # None: the operator's own, 0 for input and 1 for output


class Simple(msgspec.Struct, frozen=True):
    assignments: tuple[Assignment, ...] = ()
    words: tuple[Word, ...] = ()
    redirections: tuple[Redirection, ...] = ()


class Pipeline(msgspec.Struct, frozen=True):
    stages: tuple[Node, ...]
    both: tuple[bool, ...]  # for each stage but the last, whether `|&` carries its errors too


class Sequence(msgspec.Struct, frozen=True):
    """What runs one after the other, whatever the connectors: each may run."""

    items: tuple[Node, ...] = ()


class Group(msgspec.Struct, frozen=True):
    body: Node
    subshell: bool
    redirections: tuple[Redirection, ...] = ()


class Branch(msgspec.Struct, frozen=True):
    """`if` and `case`: the tests run, then one of the arms."""

    tests: Node
    arms: tuple[Node, ...]


class Loop(msgspec.Struct, frozen=True):
    body: Node
    name: str = ""  # of the variable of `for` and `select`
    values: tuple[Word, ...] | None = None  # None: the positional parameters


class Function(msgspec.Struct, frozen=True):
    name: str
    body: Node


class Test(msgspec.Struct, frozen=True):
    """`[[ ... ]]` and `(( ... ))`: only what is substituted in it runs."""

    words: tuple[Word, ...]


Node = Simple | Pipeline | Sequence | Group | Branch | Loop | Function | Test
