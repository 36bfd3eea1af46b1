"""The lab that an event happens in, as far as every hook must know it, read without loading the lab.

What nightlab.toml says is kept beside the ledger as a few lines of JSON and read again whenever the file has changed:
making sense of the file itself costs more than all the rest of a hook.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from nightlab.errors import NightlabError
from nightlab.root import CONFIG_NAME, find_root

_SHAPE = 1  # of the JSON that is kept; another one is made anew
_REF = "ref: refs/heads/"
NOTED = "seen-"  # how files of noted commands begin
AUTORESEARCH = "autoresearch/"  # what branches of an agent's own begin with


class Rule(NamedTuple):
    """A command that the lab refuses to agents."""

    command: str
    reason: str


class Rulebook(NamedTuple):
    """What nightlab.toml says under [policy]."""

    enabled: bool = True
    protect: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    deny: tuple[Rule, ...] = ()


class Place(NamedTuple):
    """A lab, and where its files lie."""

    root: Path
    command: str
    editable: tuple[str, ...]
    protected: tuple[str, ...]
    policy: Rulebook = Rulebook()

    @property
    def results(self) -> Path:
        return self.root / "results" / "nightlab"

    @property
    def database(self) -> Path:
        return self.results / "lab.db"

    @property
    def own(self) -> Path:
        """What hooks keep from one event to the next; nothing of it is a fact."""
        return self.results / "hooks"

    @property
    def state(self) -> Path:
        """The older control plane's state.json."""
        return self.root / "results" / "discovery" / "state.json"

    @property
    def stop(self) -> Path:
        """While this file exists no agent is asked to go on."""
        return self.results / "stop"


def root_of(cwd: str) -> Path | None:
    """Root of the lab that a directory lies in, or None; the directory need not be a usable lab."""
    try:
        return find_root(Path(cwd)) if cwd and os.path.isdir(cwd) else None
    except NightlabError:
        return None


def place_at(root: Path) -> Place | None:
    """The lab at a root; None where there is nothing to edit.

    Raises:
        ConfigError: its nightlab.toml cannot be used.
        OSError: it cannot be read.
    """
    kept = root / "results" / "nightlab" / "hooks" / "lab.json"
    stamp = _stamp(root / CONFIG_NAME)
    found = _kept(kept, root, stamp)
    if found is None:
        found = _read(root)
        if _is_lab(found):
            _keep(kept, found, stamp)
    return found if _is_lab(found) else None


def _is_lab(place: Place) -> bool:
    return any(next(place.root.glob(name), None) if "*" in name or "?" in name or "[" in name
               else (place.root / name).exists() for name in place.editable)  # fmt: skip


def _stamp(path: Path) -> list[int]:
    """By which a file is known to be as it was; [] where there is none."""
    try:
        found = path.stat()
    except OSError:
        return []
    return [_SHAPE, found.st_size, found.st_mtime_ns, found.st_ino]


def _kept(path: Path, root: Path, stamp: list[int]) -> Place | None:
    try:
        told = json.loads(path.read_bytes())
        if told["stamp"] != stamp:
            return None
        enabled, protect, allow, deny = told["policy"]
        rules = Rulebook(enabled is not False, tuple(protect), tuple(allow), tuple(Rule(*rule) for rule in deny))
        return Place(root, str(told["command"]), tuple(told["editable"]), tuple(told["protected"]), rules)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(root: Path) -> Place:
    from nightlab.config import load_settings

    settings = load_settings(root)
    told = settings.policy
    deny = tuple(Rule(rule.command, rule.reason) for rule in told.deny)
    rules = Rulebook(told.enabled, told.protect, tuple(told.allow), deny)
    return Place(root, settings.command, settings.editable, settings.protected, rules)


def _keep(path: Path, place: Place, stamp: list[int]) -> None:
    told = {**place._asdict(), "stamp": stamp}
    del told["root"]
    write(path, json.dumps(told))


def write(path: Path, text: str) -> None:
    """Put a text at a path, whole or not at all. A directory that refuses costs time at the next hook, no more."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if not path.parent.is_dir():
            _make(path.parent)
        scratch.write_text(text, encoding="utf-8", errors="replace")
        os.replace(scratch, path)
    except OSError:
        scratch.unlink(missing_ok=True)


def _make(directory: Path) -> None:
    """Make our directory, and keep it out of the user's commits."""
    from nightlab.git import Git

    root = directory.parents[2]
    try:
        Git(root).ignore(("results/",))
    except NightlabError:
        return
    directory.mkdir(parents=True, exist_ok=True)


@contextmanager
def locked(place: Place) -> Iterator[None]:
    """Be the only hook that changes what hooks keep; two agents at once wait for each other."""
    if not place.own.is_dir():
        write(place.own / "lock", "")
    handle = os.open(place.own / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def has_noted(place: Place) -> bool:
    """Whether a training command was noted that is not settled yet (`witness`)."""
    return place.own.is_dir() and any(name.startswith(NOTED) for name in os.listdir(place.own))


class Checkout(NamedTuple):
    """What is checked out: "HEAD" as branch when detached, "" for what cannot be told."""

    branch: str = ""
    commit: str = ""


def checkout(root: Path) -> Checkout:
    """Branch and commit of the repository around `root`, from git's own files; by git where those do not tell."""
    for directory in (root, *root.parents):
        if (directory / ".git").exists():
            try:
                return _of_files(directory / ".git") or _of_git(root)
            except OSError:
                return _of_git(root)
    return Checkout()


def _of_files(git: Path) -> Checkout | None:
    if git.is_file():  # a worktree, or a submodule
        git = (git.parent / git.read_text(encoding="utf-8").removeprefix("gitdir: ").strip()).resolve()
    head = (git / "HEAD").read_text(encoding="utf-8").strip()
    if not head.startswith("ref: "):
        return Checkout("HEAD", head)
    if not head.startswith(_REF) or head == f"{_REF}.invalid":  # the second: refs lie in another kind of store
        return None
    branch, ref = head.removeprefix(_REF), head.removeprefix("ref: ")
    common = git
    if (git / "commondir").is_file():
        common = (git / (git / "commondir").read_text(encoding="utf-8").strip()).resolve()
    if (common / ref).is_file():
        return Checkout(branch, (common / ref).read_text(encoding="utf-8").strip())
    if (common / "packed-refs").is_file():
        for line in (common / "packed-refs").read_text(encoding="utf-8").splitlines():
            if line.endswith(f" {ref}"):
                return Checkout(branch, line.split(" ")[0])
    return Checkout(branch)  # a branch without a commit yet


def _of_git(root: Path) -> Checkout:
    from nightlab.git import Git

    try:
        git = Git(root)
        return Checkout(git.branch(), git.resolve("HEAD") or "")
    except NightlabError:
        return Checkout()
