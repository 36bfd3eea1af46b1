"""The tree of a shell command: what `shell.parse` makes and `machine` walks. Nothing in it is expanded yet."""

from __future__ import annotations

from nightlab.agent.policy.noun import noun


@noun
class Literal:
    text: str
    quoted: bool  # inside quotes or behind a backslash: no pattern, brace or tilde


@noun
class Variable:
    """`$name`, `${name[index]op operand}`; `op` "" is the plain value, "#" (first) its length, "!" indirection."""

    name: str
    quoted: bool
    op: str = ""
    operand: Word | None = None
    index: str = ""


@noun
class Substitution:
    """`$(script)` and backquotes; as `<(script)` or `>(script)` it is a file whose other end the script holds."""

    script: Node
    quoted: bool
    file: str = ""  # "", "<" or ">"


@noun
class Arithmetic:
    """`$((...))`: a number that nobody works out here, but substitutions in it run."""

    inner: Word


Part = Literal | Variable | Substitution | Arithmetic


@noun
class Word:
    parts: tuple[Part, ...] = ()

    @property
    def quoted(self) -> bool:
        """Whether an empty value of it is still an argument."""
        return any(isinstance(part, Literal) and part.quoted for part in self.parts)


@noun
class Assignment:
    name: str
    values: tuple[Word, ...]
    array: bool = False
    append: bool = False


@noun
class Redirection:
    """`op` is written as in the shell; a here-document's is "<<" and a here-string's "<<<", `target` their text."""

    op: str
    target: Word
    descriptor: int | None = None  # None: the operator's own, 0 for input and 1 for output


@noun
class Simple:
    assignments: tuple[Assignment, ...] = ()
    words: tuple[Word, ...] = ()
    redirections: tuple[Redirection, ...] = ()


@noun
class Pipeline:
    stages: tuple[Node, ...]
    both: tuple[bool, ...]  # for each stage but the last, whether `|&` carries its errors too


@noun
class Sequence:
    """What runs one after the other, whatever the connectors: each may run."""

    items: tuple[Node, ...] = ()


@noun
class Group:
    body: Node
    subshell: bool
    redirections: tuple[Redirection, ...] = ()


@noun
class Branch:
    """`if` and `case`: the tests run, then one of the arms."""

    tests: Node
    arms: tuple[Node, ...]


@noun
class Loop:
    body: Node
    name: str = ""  # of the variable of `for` and `select`
    values: tuple[Word, ...] | None = None  # None: the positional parameters


@noun
class Function:
    name: str
    body: Node


@noun
class Test:
    """`[[ ... ]]` and `(( ... ))`: only what is substituted in it runs."""

    words: tuple[Word, ...]


Node = Simple | Pipeline | Sequence | Group | Branch | Loop | Function | Test
