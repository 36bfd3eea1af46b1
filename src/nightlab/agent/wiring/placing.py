"""Wiring in a lab's files: what would change, the change itself, and the way back to the very bytes of before.

What was there before is remembered in the repository's git directory, which no commit and no clone carries. A file that
is still what we wrote gets its old bytes back; from one that was edited since, and in a clone, our part is taken out
and the rest stays.
"""

from __future__ import annotations

import contextlib
import difflib
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import msgspec

from nightlab.agent.names import NAMES
from nightlab.agent.wiring import clients
from nightlab.agent.wiring.clients import Client
from nightlab.agent.wiring.parts import Part, RefusedError
from nightlab.errors import ConfigError
from nightlab.git import Git
from nightlab.runner.files import read_small, write_atomic

_LIMIT = 2**20  # bytes of a settings file or instructions; a larger one is neither


@dataclass(frozen=True, slots=True)
class Change:
    """One file of the lab, as it is and as it shall be.

    Args:
        path: relative to the lab.
        before: its bytes; None if it does not exist.
        after: the same when all is done.
        kept: what of ours gave way to something of the user's.
    """

    path: str
    before: bytes | None
    after: bytes | None
    kept: tuple[str, ...] = ()

    @property
    def is_one(self) -> bool:
        return self.before != self.after

    def diff(self) -> str:
        """As `git apply` takes it."""
        old, new = _lines(self.before), _lines(self.after)
        name_of = {True: "/dev/null"}
        lines = difflib.unified_diff(
            old,
            new,
            name_of.get(self.before is None, f"a/{self.path}"),
            name_of.get(self.after is None, f"b/{self.path}"),
        )
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


class State(StrEnum):
    """How our part of a file is found."""

    HERE = "as this version writes it"
    OTHER = "differs from what this version writes"
    MISSING = "missing"


class _File(msgspec.Struct, frozen=True):
    before: bytes | None
    written: str  # SHA-256 of what we put there


class _Memory(msgspec.Struct):
    files: dict[str, _File] = msgspec.field(default_factory=dict)  # by path in the repository
    directories: list[str] = msgspec.field(default_factory=list)  # that we made


@dataclass(frozen=True, slots=True)
class Wiring:
    """The wiring of one lab.

    Args:
        root: the lab.
        prefix: where in its repository the lab lies, with a slash at the end; empty at the top.
        git_dir: the repository's git directory.
    """

    root: Path
    prefix: str
    git_dir: Path
    _clients: dict[str, Client] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> Wiring:
        """The wiring of the lab at `root`.

        Raises:
            NoRepositoryError: it lies in no git repository.
        """
        git = Git(root)
        return cls(root.resolve(), git.prefix, git.git_dir)

    def client(self, name: str) -> Client:
        """The entry of one client, with the lab's place in its commands."""
        if name not in self._clients:
            self._clients[name] = clients.client(name, self.prefix)
        return self._clients[name]

    # --- looking ------------------------------------------------------------------------------------------------

    def wired(self) -> tuple[str, ...]:
        """The clients that have something of ours in a file of their own."""
        return tuple(name for name in NAMES if self._is_wired(self.client(name)))

    def _is_wired(self, client: Client) -> bool:
        shared = {self._place(path) for path in clients.SHARED}
        try:
            return any(
                self._state(path, part, with_ours=True) is not State.MISSING
                for path, part in client.own.items()
                if self._place(path) not in shared
            )
        except ConfigError:  # what cannot be read may hold something of ours
            return True

    def states(self, name: str) -> Mapping[str, State]:
        """How each file of a client's wiring is found.

        Raises:
            ConfigError: one cannot be read.
        """
        return {path: self._state(path, part) for path, part in self._chosen([name]).items()}

    def _state(self, path: str, part: Part, *, with_ours: bool = False) -> State:
        """`with_ours`: only what is in the file counts, not that nothing would have to be put there."""
        text = self._text(path)
        if text is None:
            return State.MISSING
        try:
            if part.take(text) == text and (with_ours or part.put(text).text != text):
                return State.MISSING
            return State.HERE if part.put(text).text == text else State.OTHER
        except RefusedError as exc:
            raise self._refusal(path, exc) from exc

    # --- changing -----------------------------------------------------------------------------------------------

    def installing(self, names: Iterable[str]) -> tuple[Change, ...]:
        """What it takes to wire these clients.

        Raises:
            ConfigError: a file cannot take our part; it is named with its line.
        """
        return tuple(self._putting(path, part) for path, part in self._chosen(names).items())

    def _putting(self, path: str, part: Part) -> Change:
        text = self._text(path)
        try:
            put = part.put(text)
        except RefusedError as exc:
            raise self._refusal(path, exc) from exc
        before = None if text is None else text.encode()
        return Change(path, before, put.text.encode(), put.kept)

    def uninstalling(self, names: Sequence[str]) -> tuple[Change, ...]:
        """What it takes to leave nothing of these clients; what other clients share stays while there are any.

        Raises:
            ConfigError: our part of a file cannot be told from the rest; it is named with its line.
        """
        others = [name for name in self.wired() if name not in names]
        shared = {self._place(path) for path in self._chosen(others)} if others else set()
        memory = self._remembered()
        return tuple(
            self._taking(path, part, memory.files.get(self.prefix + path))
            for path, part in self._chosen(names).items()
            if self._place(path) not in shared
        )

    def _taking(self, path: str, part: Part, known: _File | None) -> Change:
        text = self._text(path)
        if text is None:
            return Change(path, None, None)
        before = text.encode()
        if known is not None and _digest(before) == known.written:
            return Change(path, before, known.before)
        try:
            left = part.take(text)
        except RefusedError as exc:
            raise self._refusal(path, exc) from exc
        return Change(path, before, None if left is None else left.encode())

    def install(self, names: Sequence[str]) -> tuple[Change, ...]:
        """Wire these clients; either every file is written or, where one refuses, none.

        Raises:
            ConfigError: as `installing`.
            OSError: a file cannot be written.
        """
        changes, memory = self.installing(names), self._remembered()
        chosen = self._chosen(names)
        for change in filter(lambda each: each.is_one, changes):
            assert change.after is not None
            before = self._original(change, chosen[change.path], memory.files.get(self.prefix + change.path))
            memory.files[self.prefix + change.path] = _File(before, _digest(change.after))
            for directory in reversed(Path(change.path).parents):
                if str(directory) != "." and not os.path.lexists(self.root / directory):
                    memory.directories.append(f"{self.prefix}{directory}")
        memory.directories = sorted(set(memory.directories))
        if any(change.is_one for change in changes):
            self._remember(memory)  # first: a file that we wrote and know nothing of would be somebody else's
        for change in changes:
            self._write(change)
        return changes

    def _original(self, change: Change, part: Part, known: _File | None) -> bytes | None:
        """What was there before anything of ours was."""
        if change.before is None:
            return None
        if known is not None and _digest(change.before) == known.written:
            return known.before
        text = change.before.decode()
        left = part.take(text)
        return None if left is None else change.before if left == text else left.encode()

    def uninstall(self, names: Sequence[str]) -> tuple[Change, ...]:
        """Take these clients' wiring out again, with the directories that were made for it.

        Raises:
            ConfigError: as `uninstalling`; nothing was changed.
            OSError: a file cannot be written.
        """
        changes, memory = self.uninstalling(names), self._remembered()
        ours = set(memory.directories)
        for change in changes:
            self._write(change)
            if memory.files.pop(self.prefix + change.path, None) is None and change.is_one and change.after is None:
                ours |= {f"{self.prefix}{above}" for above in Path(change.path).parents if str(above) != "."}
        for directory in sorted(ours, key=len, reverse=True):
            with contextlib.suppress(OSError):  # not empty, so it is not ours alone, or gone already
                (self.root / directory.removeprefix(self.prefix)).rmdir()
        there = [each for each in memory.directories if (self.root / each.removeprefix(self.prefix)).is_dir()]
        memory.directories = there if memory.files else []
        self._remember(memory)
        return changes

    # --- files --------------------------------------------------------------------------------------------------

    def _chosen(self, names: Iterable[str]) -> dict[str, Part]:
        """The files of these clients. Of two names for one file (CLAUDE.md is a link to AGENTS.md) the last counts."""
        found = {path: part for name in names for path, part in self.client(name).files.items()}
        by_place: dict[Path, str] = {}
        order = {path: number for number, path in enumerate(clients.SHARED)}
        for path in sorted(found, key=lambda path: order.get(path, -1)):
            by_place[self._place(path)] = path
        return {path: part for path, part in found.items() if path in by_place.values()}

    def _place(self, path: str) -> Path:
        """The file itself, where a name of it is a link.

        Raises:
            ConfigError: it lies outside the lab.
        """
        place = (self.root / path).resolve()
        if not place.is_relative_to(self.root):
            raise ConfigError(
                f"{self.root / path} is a link to {place}, outside the lab",
                hint="put a file of the lab's own there, then the same again",
            )
        return place

    def _text(self, path: str) -> str | None:
        place = self._place(path)
        try:
            data = read_small(place, _LIMIT)
            return None if data is None else data.decode()
        except UnicodeDecodeError as exc:
            line = exc.object[: exc.start].count(b"\n") + 1
            raise ConfigError(
                f"{self.root / path}, line {line}: not UTF-8", hint="save it as UTF-8, then the same again"
            ) from exc
        except (ValueError, OSError) as exc:
            why = exc.strerror if isinstance(exc, OSError) else exc
            raise ConfigError(f"{self.root / path}: {why}", hint="move it away, then the same again") from exc

    def _refusal(self, path: str, exc: RefusedError) -> ConfigError:
        where = f", line {exc.line}" if exc.line else ""
        return ConfigError(f"{self.root / path}{where}: {exc}", hint=exc.hint)

    def _write(self, change: Change) -> None:
        place = self._place(change.path)
        if change.before == change.after:
            return
        if change.after is None:
            place.unlink()
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        mode = stat.S_IMODE(place.stat().st_mode) if change.before is not None else None
        write_atomic(place, change.after)
        if mode is not None:
            place.chmod(mode)

    # --- memory -------------------------------------------------------------------------------------------------

    @property
    def _memory_file(self) -> Path:
        return self.git_dir / "nightlab-wiring.json"

    def _remembered(self) -> _Memory:
        try:
            return msgspec.json.decode(self._memory_file.read_bytes(), type=_Memory)
        except (FileNotFoundError, msgspec.MsgspecError):  # a broken one tells nothing, and taking out needs none
            return _Memory()

    def _remember(self, memory: _Memory) -> None:
        if memory.files or memory.directories:
            write_atomic(self._memory_file, msgspec.json.encode(memory))
        else:
            self._memory_file.unlink(missing_ok=True)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _lines(data: bytes | None) -> list[str]:
    return [] if data is None else re.findall(r"[^\n]*\n|[^\n]+", data.decode())
