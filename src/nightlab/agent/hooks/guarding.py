"""The policy of `agent.policy` as the hooks ask it: may the command run, and is it a training run in the open."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from nightlab.agent import policy
from nightlab.agent.hooks import shape
from nightlab.agent.hooks.place import Checkout, Place
from nightlab.agent.policy.machine import Machine
from nightlab.agent.policy.nouns import Ground, Train, Write
from nightlab.agent.policy.places import Places, absolute
from nightlab.agent.policy.rules import Rules
from nightlab.agent.policy.shell import parse
from nightlab.agent.policy.state import Streams
from nightlab.agent.policy.syntax import ParserError, UnreadableError
from nightlab.agent.policy.values import UNKNOWN, cleaned, pattern

LOG = "run.log"
_DOORS = frozenset({"nightlab", "memorylab.py", "run_experiment.py", "modal_gpu.py"})  # which record what they run


class ParsedPolicy:
    """Judges commands by what a shell would make of them."""

    def refusal(self, command: str, place: Place, cwd: Path, here: Checkout) -> str:
        """Why it must not run, and what to do instead; "" if it may."""
        found = policy.judge(command, _ground(place, cwd, here))
        return "" if found is None else found.text

    def edit(self, paths: Sequence[str], place: Place, cwd: Path, here: Checkout) -> str:
        """The same of a tool that would write those files; relative ones are relative to `cwd`."""
        ground = _ground(place, cwd, here)
        rules = Rules(ground, Places(ground))
        for name in paths if ground.enabled else ():
            found = rules.judge(Write(absolute(os.path.expanduser(name), str(cwd))))
            if found is not None:
                return found.text
        return ""

    def training(self, command: str, place: Place, cwd: Path, here: Checkout) -> str | None:
        """Whether it runs the lab's training itself: None if it does not, or one of our doors records what it runs.

        "" if it is the lab's own command, word for word, in the lab's root, with its output in run.log there, and
        nothing beside it that could make another source run or another number stand in the log (`shape`); else what
        is amiss.
        """
        if not any(word.rpartition("/")[2] in command for word in place.command.split()[-1:]):
            return None  # saves following every command twice: who hides the words is not vouched for
        watcher = _Watcher(_ground(place, cwd, here), place)
        try:
            tree = parse(cleaned(command))
            why = shape.amiss(tree, place.command.split(), str(cwd), str(place.root / LOG))
            if not why:
                return ""
            watcher.run(tree, Streams())
        except (ParserError, UnreadableError, RecursionError):
            return None  # the policy has refused it
        if watcher.in_the_open:
            return f"it {why}"
        if any(isinstance(act, Train) for act in watcher.acts):
            return f"it is not `{place.command} > {LOG} 2>&1`, word for word, in the lab's root"
        return None


def writes_log(command: str, place: Place, cwd: Path) -> bool:
    """Whether a command may write or replace the lab's run.log; one that cannot be followed may not, as far as we know.

    What the policy does not see through (a program of the agent's own that opens the file) is not seen here either.
    """
    machine = Machine(_ground(place, cwd, Checkout()), policy.HANDLERS)
    log = str(place.root / LOG)
    with suppress(ParserError, UnreadableError, RecursionError):
        machine.run(parse(cleaned(command)), Streams())
    written = [act.path for act in machine.acts if isinstance(act, Write)]
    return any(path == log or (Path(path).name and pattern(path).fullmatch(log)) for path in written)


class _Watcher(Machine):
    """Follows a command and looks for the lab's own; what our doors start is their affair."""

    def __init__(self, ground: Ground, place: Place) -> None:
        super().__init__(ground, policy.HANDLERS)
        self.in_the_open = False
        self._words = tuple(place.command.split())
        self._root = os.path.realpath(place.root)

    def dispatch(self, argv: tuple[str, ...], io: Streams, env: Mapping[str, str] | None = None) -> str:
        """Follow one program with its arguments."""
        if any(word.rpartition("/")[2] in _DOORS for word in argv[:5]):
            return UNKNOWN
        if argv == self._words and os.path.realpath(self.state.cwd) == self._root:
            log = os.path.join(self._root, LOG)
            self.in_the_open |= io.out.kind == "file" and os.path.realpath(io.out.path) == log and io.out == io.err
        return super().dispatch(argv, io, env)


def _ground(place: Place, cwd: Path, here: Checkout) -> Ground:
    return policy.ground_of(place, cwd, Path(os.path.expanduser("~")), here.branch)
