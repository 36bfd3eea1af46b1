"""What a shell knows while a command is followed: variables, directory, streams."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from nightlab.agent.policy.noun import altered, noun
from nightlab.agent.policy.nouns import Sink
from nightlab.agent.policy.syntax import Node

Value = tuple[str, ...]  # an array; a plain variable has one element
MAX_CHOICES = 24  # values that one variable is followed with


@noun
class Streams:
    """Where a command's input comes from and its output goes. `stdin` is the text itself; None: nothing is sent."""

    stdin: str | None = None
    out: Sink = Sink()
    err: Sink = Sink()
    source: str = ""  # the file that standard input was redirected from

    def captured(self) -> Streams:
        return altered(self, out=Sink("kept"))


@noun
class Call:
    """One program with its arguments, after expansion. `argv[0]` is its plain name."""

    argv: tuple[str, ...]
    io: Streams
    env: Mapping[str, str] = MappingProxyType({})

    @property
    def args(self) -> tuple[str, ...]:
        return self.argv[1:]


class State:
    """What a subshell copies. A variable may have one of several values: one for each way that led here."""

    def __init__(self, cwd: str, previous: str) -> None:
        self.cwd = cwd
        self.previous = previous
        self.variables: dict[str, tuple[Value, ...]] = {}
        self.functions: dict[str, Node] = {}
        self.aliases: dict[str, str] = {}
        self.lasting: Streams | None = None  # what `exec > file` has set

    def fork(self) -> State:
        made = State(self.cwd, self.previous)
        made.variables, made.functions, made.aliases = dict(self.variables), dict(self.functions), dict(self.aliases)
        made.lasting = self.lasting
        return made

    def join(self, other: State, unknown: str) -> None:
        """Go on from either of two states."""
        for name, values in other.variables.items():
            mine = self.variables.get(name, ())
            self.variables[name] = tuple(dict.fromkeys((*mine, *values)))[:MAX_CHOICES]
        self.functions |= other.functions
        self.aliases |= other.aliases
        self.lasting = other.lasting or self.lasting
        if other.cwd != self.cwd:
            self.cwd = unknown
