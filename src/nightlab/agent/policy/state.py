"""What a shell knows while a command is followed: variables, directory, streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from nightlab.agent.policy.nouns import Sink
from nightlab.agent.policy.syntax import Node

Value = tuple[str, ...]  # an array; a plain variable has one element
MAX_CHOICES = 24  # values that one variable is followed with


@dataclass(frozen=True, slots=True)
class Streams:
    """Where a command's input comes from and its output goes. `stdin` is the text itself; None: nothing is sent."""

    stdin: str | None = None
    out: Sink = field(default_factory=Sink)
    err: Sink = field(default_factory=Sink)
    source: str = ""  # the file that standard input was redirected from

    def captured(self) -> Streams:
        return replace(self, out=Sink("kept"))


@dataclass(frozen=True, slots=True)
class Call:
    """One program with its arguments, after expansion. `argv[0]` is its plain name."""

    argv: tuple[str, ...]
    io: Streams
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def args(self) -> tuple[str, ...]:
        return self.argv[1:]


@dataclass(slots=True)
class State:
    """What a subshell copies. A variable may have one of several values: one for each way that led here."""

    cwd: str
    previous: str
    variables: dict[str, tuple[Value, ...]] = field(default_factory=dict)
    functions: dict[str, Node] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    lasting: Streams | None = None  # what `exec > file` has set

    def fork(self) -> State:
        return State(
            self.cwd, self.previous, dict(self.variables), dict(self.functions), dict(self.aliases), self.lasting
        )

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
