"""Follows a command as the shell would, without running anything, and notes what it would do.

Each side of every connector is taken, loops are gone through twice, and a variable that may have several values is
followed with each. What is not known stays a hole (`values`). The notes are `acts`; `rules` says which may not be.
"""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from nightlab.agent.policy.expand import Expander, as_text
from nightlab.agent.policy.lexer import UnreadableError
from nightlab.agent.policy.noun import altered
from nightlab.agent.policy.nouns import Act, Fetched, Forbidden, Ground, Opaque, Sink, Train, Write
from nightlab.agent.policy.options import canonical
from nightlab.agent.policy.places import Places, absolute
from nightlab.agent.policy.shell import DECLARING, parse
from nightlab.agent.policy.state import MAX_CHOICES, Call, State, Streams
from nightlab.agent.policy.syntax import (
    Assignment,
    Branch,
    Function,
    Group,
    Literal,
    Loop,
    Node,
    Pipeline,
    Redirection,
    Sequence,
    Simple,
    Substitution,
    Test,
    Variable,
    Word,
)
from nightlab.agent.policy.values import DEEP, FETCHED, HOLES, MAX_TEXT, TRAINED, UNKNOWN, holes, pattern, shown

Handler = Callable[["Machine", Call], "str | None"]
MAX_STEPS = 2000  # programs that one command may start before we stop following it
MAX_DEPTH = 12  # of programs that start programs
MAX_STAGES = 100  # of one pipeline


class Machine:
    """One judgement. `handlers` say what the programs we know do with their arguments; others do nothing."""

    def __init__(self, ground: Ground, handlers: Mapping[str, Handler]) -> None:
        self.ground = ground
        self.handlers = handlers
        self.places = Places(ground)
        self.state = State(absolute(str(ground.cwd), "/"), absolute(str(ground.cwd), "/"))
        self.expander = Expander(self)
        self.acts: list[Act] = []
        self.branch = ground.branch
        self.files: dict[str, str] = {}  # what the command itself has put into files
        self.links: dict[str, str] = {}  # copies and links that it made: new path -> old
        self.copies: dict[str, str] = {}  # programs under other names
        self.git_aliases: dict[str, str] = {}
        self.steps = 0
        self.depth = 0
        self.numbered = 0
        words = _words(ground.command)
        self.trained = frozenset(word.rpartition("/")[2] for word in words if word.endswith(".py"))
        self.command = () if self.trained else words  # a command that runs no Python file is known by its words

    # --- for handlers

    def path(self, text: str, *, follow: bool = True) -> str:
        """The absolute path that `text` names here; a link that the command made stands for its target."""
        found = absolute(as_text(text) if not holes(text) else text, self.state.cwd)
        return self.links.get(found, found) if follow else found

    def note(self, act: Act) -> None:
        if act not in self.acts:
            self.acts.append(act)

    def is_training(self, text: str) -> bool:
        """Whether `text` names a file that the lab's run command runs, here, in another tree, or a copy of it."""
        return self.path(text).rpartition("/")[2] in self.trained

    def write(self, text: str, content: str = UNKNOWN) -> None:
        path = self.path(text)
        self.note(Write(path))
        self.files[path] = content

    def content(self, text: str) -> str | None:
        """What the file holds, as far as it is known; None: a file of which nothing is known."""
        path = self.path(text)
        for place in itertools.accumulate(path.split("/"), lambda a, b: f"{a}/{b}"):
            if place in self.files and (place == path or FETCHED in self.files[place]):
                return self.files[place]
        if self.is_training(text):
            return TRAINED
        if self.ground.read is None or holes(path):
            return None
        return self.ground.read(Path(path))

    def saved_script(self, name: str, text: str, io: Streams, by: str) -> str:
        """Follow a script in a file. What the command did not write itself is let pass where it cannot be read: it
        lies in the repository for everybody to see."""
        before = len(self.acts)
        out = self.script(text, io, by)
        if self.path(name) not in self.files:
            self.acts[before:] = [act for act in self.acts[before:] if not isinstance(act, Opaque)]
        return out

    def script(self, text: str, io: Streams, by: str) -> str:
        """Follow a shell script that a program was given."""
        if FETCHED in text:
            self.note(Fetched(by))
            return UNKNOWN
        try:
            return self.run(parse(as_text(text)), io)
        except UnreadableError as exc:
            self.note(Opaque(f"what {by} would run: {exc}"))
            return UNKNOWN

    def capture(self, node: Node) -> str:
        outer, self.state = self.state, self.state.fork()
        chosen = self.expander.chosen
        self.state.lasting = None
        try:
            return self.run(node, Streams(out=Sink("kept")))
        finally:
            self.state = outer
            self.expander.chosen = chosen

    def process_file(self, part: Substitution) -> str:
        """`<(script)` and `>(script)`: the name of a file that the script writes or reads."""
        self.numbered += 1
        name = f"/dev/fd/{62 + self.numbered}"
        self.files[name] = self.capture(part.script) if part.file == "<" else UNKNOWN
        if part.file == ">":
            outer, self.state = self.state, self.state.fork()
            self.run(part.script, Streams(stdin=UNKNOWN))
            self.state = outer
        return name

    # --- nodes

    def run(self, node: Node, io: Streams) -> str:
        """Follow `node`; its output as far as it is known."""
        if isinstance(node, Sequence):
            out = "".join([self.run(item, io) for item in node.items])
            return out if len(out) <= MAX_TEXT else UNKNOWN
        if isinstance(node, Simple):
            return self._simple(node, io)
        if isinstance(node, Pipeline):
            return self._pipeline(node, io)
        if isinstance(node, Group):
            return self._group(node, io)
        if isinstance(node, Branch):
            return self._branch(node, io)
        if isinstance(node, Loop):
            return self._loop(node, io)
        if isinstance(node, Function):
            self.state.functions[node.name] = node.body
        if isinstance(node, Test):
            self.expander.arguments(node.words)
        return ""

    def _pipeline(self, node: Pipeline, io: Streams) -> str:
        text = io.stdin
        last = len(node.stages) - 1
        if last >= MAX_STAGES:
            raise UnreadableError("its pipeline is too long")
        for place, stage in enumerate(node.stages):
            out = io.out if place == last else self._pipe(node.stages[place + 1 :])
            err = out if place < last and node.both[place] else io.err
            outer, self.state = self.state, self.state.fork()
            text = self.run(stage, Streams(text, out, err))
            self.state = outer
        return text or ""

    def _pipe(self, rest: tuple[Node, ...]) -> Sink:
        """The pipe into `rest`; one into a bare `cat > file` is that file."""
        first = rest[0]
        if len(rest) == 1 and isinstance(first, Simple) and _names(first) == ["cat"] and len(first.redirections) == 1:
            redirection = first.redirections[0]
            if redirection.op in {">", ">>", ">|"} and redirection.descriptor in {None, 1}:
                return Sink("file", self.path(self.expander.one(redirection.target)))
        words = tuple(name for node in rest for name in _names(node))
        return Sink("pipe", readers=tuple(name for node in rest for name in _names(node)[:1]), words=words)

    def _group(self, node: Group, io: Streams) -> str:
        io = self._redirected(node.redirections, io)
        if not node.subshell:
            return self._stored(node.redirections, self.run(node.body, io))
        outer, self.state = self.state, self.state.fork()
        try:
            return self._stored(node.redirections, self.run(node.body, io))
        finally:
            self.state = outer

    def _branch(self, node: Branch, io: Streams) -> str:
        text = self.run(node.tests, io)
        before = self.state
        for arm in node.arms:
            self.state = before.fork()
            text += self.run(arm, io)
            after, self.state = self.state, before
            before.join(after, UNKNOWN)
        return text

    def _loop(self, node: Loop, io: Streams) -> str:
        if node.name:
            given = node.values
            values = self.expander.arguments(given) if given is not None else list(self.expander.elements("@") or ())
            if len(values) > MAX_CHOICES:
                values = [UNKNOWN]
            self.state.variables[node.name] = tuple(
                (as_text(value),) if not holes(value) else (value,) for value in values
            )
            if not values:
                self.state.variables[node.name] = (("",),)
        return self.run(node.body, io) + self.run(node.body, io)

    # --- simple commands

    def _simple(self, node: Simple, io: Streams) -> str:
        text = ""
        for chosen in self._choices(node):
            outer, self.expander.chosen = self.expander.chosen, chosen
            try:
                text += self._once(node, io)
            finally:
                self.expander.chosen = outer
        return text

    def _choices(self, node: Simple) -> Iterator[dict[str, int]]:
        """One pick of a value for each variable that the command names and that may have several."""
        words = (*node.words, *(r.target for r in node.redirections), *(w for a in node.assignments for w in a.values))
        names = {part.name for word in words for part in _variables(word)}
        many = sorted(name for name in names if len(self.state.variables.get(name, ())) > 1)
        ranges = [range(len(self.state.variables[name])) for name in many]
        total = 1
        for one in ranges:
            total *= len(one)
        if total > MAX_CHOICES * 2:
            for name in many:
                self.state.variables[name] = ((UNKNOWN,),)
            return iter([dict(self.expander.chosen)])
        base = self.expander.chosen
        return (base | dict(zip(many, picks, strict=True)) for picks in itertools.product(*ranges))

    def _once(self, node: Simple, io: Streams) -> str:
        if self.state.lasting is not None and io.out.kind == "screen":
            io = altered(io, out=self.state.lasting.out, err=self.state.lasting.err)
        values = [(one, tuple(self._assigned(one))) for one in node.assignments]
        argv = self.expander.arguments(node.words)
        io = self._redirected(node.redirections, io)
        if not argv:
            for one, value in values:
                self.assign(one.name, value, append=one.append, array=one.array)
            if node.redirections and not node.words and io.stdin is not None and not node.assignments:
                return self._stored(node.redirections, io.stdin)  # `$(< file)`
            return ""
        if argv[0] in DECLARING:
            for one, value in values:
                self.assign(one.name, value, append=one.append, array=one.array)
        if argv[0] == "exec" and len(argv) == 1:
            self.state.lasting = io
            return ""
        env = {one.name: value[0] if value else "" for one, value in values}
        return self._stored(node.redirections, self.dispatch(tuple(argv), io, env))

    def _assigned(self, one: Assignment) -> list[str]:
        if not one.array:
            return [self.expander.value(one.values[0])]
        return [as_text(field) if not holes(field) else field for field in self.expander.arguments(one.values)]

    def assign(self, name: str, value: tuple[str, ...], *, append: bool = False, array: bool = False) -> None:
        if append and (before := self.expander.elements(name)) is not None:
            value = (*before, *value) if array else ("".join((*before[:1], *value)), *before[1:])
        self.state.variables[name] = (value,)

    def _redirected(self, redirections: tuple[Redirection, ...], io: Streams) -> Streams:
        """The streams after these redirections, in order; files that are opened for writing are noted."""
        streams = {1: io.out, 2: io.err}
        for one in redirections:
            target = self.expander.one(one.target)
            if one.op in {"<<", "<<<"}:
                io = altered(io, stdin=as_text(self.expander.text(one.target)) + ("\n" if one.op == "<<<" else ""))
            elif one.op == "<":
                found = self.content(target) if one.descriptor in {None, 0} else None
                io = altered(io, stdin=UNKNOWN if found is None else found, source=self.path(target))
            elif one.op in {">&", "<&"} and (target.rstrip("-").isdigit() or target == "-"):
                source = streams.get(int(target.rstrip("-") or 9), Sink("file"))
                streams[one.descriptor if one.descriptor is not None else 1 if one.op == ">&" else 0] = source
                if one.op == "<&" and target not in {"0", "-"} and one.descriptor in {None, 0}:
                    io = altered(io, stdin=UNKNOWN)
            elif one.op != "<&":
                sink = self._opened(target, one.target)
                streams[one.descriptor if one.descriptor is not None else 1] = sink
                if one.op in {"&>", "&>>"} or (one.op == ">&" and one.descriptor is None):
                    streams[2] = sink
        return altered(io, out=streams[1], err=streams[2])

    def _opened(self, target: str, word: Word) -> Sink:
        for part in word.parts:
            if isinstance(part, Substitution) and part.file == ">":
                words = tuple(_names(part.script))
                return Sink("pipe", readers=words[:1], words=words)
        path = self.path(target)
        if path in {"/dev/null", "/dev/stdout", "/dev/stderr", "/dev/tty"}:
            return Sink("null" if path == "/dev/null" else "screen")
        self.note(Write(path))
        return Sink("file", path)

    def _stored(self, redirections: tuple[Redirection, ...], text: str) -> str:
        """Keep output that went to a file, so that the file can be followed when it is run."""
        for one in redirections:
            if one.op in {">", ">>", ">|", "&>", "&>>"} and one.descriptor in {None, 1}:
                path = self.path(self.expander.one(one.target))
                before = self.files.get(path, "") if one.op.endswith(">>") else ""
                self.files[path] = before + text
                return ""
        return text

    # --- programs

    def dispatch(self, argv: tuple[str, ...], io: Streams, env: Mapping[str, str] | None = None) -> str:
        """Follow one program with its arguments; its output as far as it is known."""
        self.steps += 1
        if self.steps > MAX_STEPS or self.depth > MAX_DEPTH:
            raise UnreadableError("it starts too many programs")
        unknown = FETCHED if io.stdin is not None and FETCHED in io.stdin else UNKNOWN
        if not argv or self._own_rule(argv):
            return unknown
        if self.command and argv[: len(self.command)] == self.command:
            self.note(Train(io.out, io.err))
            return unknown
        self.depth += 1
        try:
            text = self._program(argv, io, env or {})
        finally:
            self.depth -= 1
        return unknown if text is None else text

    def _own_rule(self, argv: tuple[str, ...]) -> bool:
        if argv in self.ground.allow:
            return True
        name = argv[0].rpartition("/")[2]
        for rule in self.ground.deny:
            if (name, *argv[1 : len(rule.words)]) == rule.words:
                self.note(Forbidden(rule))
                return True
        return False

    def _program(self, argv: tuple[str, ...], io: Streams, env: Mapping[str, str]) -> str | None:
        called = argv[0]
        if called in self.state.functions:
            outer = self.state.variables.get("@")
            self.state.variables["@"] = (argv[1:],)
            text = self.run(self.state.functions[called], io)
            self.state.variables["@"] = outer or ((),)
            return text
        if called in self.state.aliases:
            alias = self.state.aliases.pop(called)
            words = " ".join(quoted(arg) for arg in argv[1:])
            text = self.script(f"{alias} {words}", io, called)
            self.state.aliases[called] = alias
            return text
        if "/" in called and (copied := self.copies.pop(self.path(called, follow=False), "")):
            return self.dispatch((copied, *argv[1:]), io, env)
        if "/" in called and self.is_training(called):
            self.note(Train(io.out, io.err))
            return None
        if "/" in called and (interpreter := self._script_at(called)):
            return self.dispatch((interpreter, *argv), io, env)
        name = called.rpartition("/")[2].rpartition(DEEP)[2]
        if FETCHED in called:
            self.note(Fetched("the shell"))
            return None
        if any(hole in name for hole in HOLES):
            known = [one for one in self.handlers if name[:1] and pattern(name).fullmatch(one)]
            if not known or UNKNOWN in called or len(known) > MAX_CHOICES:
                self.note(Opaque(f"the program's name, {shown(called)}"))
                return None
            return "".join([self.dispatch((one, *argv[1:]), io, env) for one in known])
        handler = self.handlers.get(canonical(name))
        return None if handler is None else handler(self, Call((canonical(name), *argv[1:]), io, env))

    def _script_at(self, called: str) -> str:
        """What runs the script `called`; "" where it is no script that can be read."""
        content = None if holes(called) else self.content(called)
        if content is None:
            return ""
        first = content.partition("\n")[0]
        if FETCHED in content or "sh" in first or called.endswith(".sh") or self.path(called) in self.files:
            return "python" if "python" in first or called.endswith(".py") else "bash"
        return ""


def quoted(text: str) -> str:
    """`text` as one word of a shell script; holes stay."""
    return "'" + as_text(text).replace("'", "'\\''") + "'"


def _words(command: str) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(command))
    except ValueError:
        return tuple(command.split())


def _variables(word: Word) -> Iterator[Variable]:
    for part in word.parts:
        if isinstance(part, Variable):
            yield part
            if part.operand is not None:
                yield from _variables(part.operand)


def _names(node: Node) -> list[str]:
    """Literal words of the commands in `node`, for asking whether `tee` is among them."""
    if isinstance(node, Simple):
        return [
            "".join(part.text for part in word.parts if isinstance(part, Literal)).rpartition("/")[2]
            for word in node.words
        ]
    if isinstance(node, (Group, Loop, Function)):
        return _names(node.body)
    if isinstance(node, Sequence):
        return [name for item in node.items for name in _names(item)]
    return [name for stage in node.stages for name in _names(stage)] if isinstance(node, Pipeline) else []
