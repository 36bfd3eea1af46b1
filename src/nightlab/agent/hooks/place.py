"""The lab that an event happens in, as far as every hook must know it, read without loading the lab.

What nightlab.toml says is kept beside the ledger as a few lines of JSON and read again whenever the file has changed:
making sense of the file itself costs more than all the rest of a hook.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from nightlab.errors import NightlabError
from nightlab.root import CONFIG_NAME, OWN_LAB, find_root
from nightlab.waiting import lock

if TYPE_CHECKING:
    from nightlab.config import Settings

_SHAPE = 1  # of the JSON that is kept; another one is made anew
_REF = "ref: refs/heads/"
NOTED = "seen-"  # how files of noted commands begin
PATIENCE_S = 3.0
"""How long a hook waits for a lock: others hold one for some tenths of a second, and an agent waits for its hook."""
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


def place_at(root: Path, *, is_guarded: bool = False) -> Place | None:
    """The lab at a root; None where there is nothing to edit.

    Args:
        root: of the lab.
        is_guarded: whether a nightlab.toml that cannot be used counts as it was when it last could, else as an empty
            one: a typing error must not switch the policy off.

    Raises:
        ConfigError: its nightlab.toml cannot be used.
        OSError: it cannot be read.
    """
    kept = root / "results" / "nightlab" / "hooks" / "lab.json"
    stamp = _stamp(root / CONFIG_NAME)
    found = _kept(kept, root, stamp)
    if found is None:
        try:
            found = _read(root)
        except NightlabError:
            if not is_guarded:
                raise
            return _kept(kept, root, None) or _by_default(root)
        if _is_lab(found):
            _keep(kept, found, stamp)
    return found if _is_lab(found) else None


def guarded_place(cwd: str) -> Place | None:
    """The lab whose policy holds for a tool that is about to be used in a directory.

    That of the directory; where that is none, or a repository inside the lab whose hook this is, the hook's own.

    Raises:
        OSError: it cannot be read.
    """
    root, own = root_of(cwd), root_of(os.environ.get(OWN_LAB, ""))
    is_inside = root is not None and own in root.parents and not (root / CONFIG_NAME).is_file()
    found = place_at(root, is_guarded=True) if root is not None and not is_inside else None
    return found if found is not None or own is None else place_at(own, is_guarded=True)


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


def _kept(path: Path, root: Path, stamp: list[int] | None) -> Place | None:
    """What was kept of a file that is as it was; with None for its stamp, of whatever it was."""
    try:
        told = json.loads(path.read_bytes())
        if stamp is not None and told["stamp"] != stamp:
            return None
        enabled, protect, allow, deny = told["policy"]
        rules = Rulebook(enabled is not False, tuple(protect), tuple(allow), tuple(Rule(*rule) for rule in deny))
        return Place(root, str(told["command"]), tuple(told["editable"]), tuple(told["protected"]), rules)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _read(root: Path) -> Place:
    from nightlab.config import load_settings

    return _of_settings(load_settings(root))


def _by_default(root: Path) -> Place:
    from nightlab.config import Settings

    return _of_settings(Settings(root=root))


def _of_settings(settings: Settings) -> Place:
    told = settings.policy
    deny = tuple(Rule(rule.command, rule.reason) for rule in told.deny)
    rules = Rulebook(told.enabled, told.protect, tuple(told.allow), deny)
    return Place(settings.root, settings.command, settings.editable, settings.protected, rules)


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
def locked(place: Place, patience_s: float = PATIENCE_S) -> Iterator[bool]:
    """Be the only hook that changes what hooks keep; two agents at once wait for each other, but not for ever.

    Yields:
        Whether it is so: False once the patience was used up, and then nothing of it is to be changed.
    """
    if not place.own.is_dir():
        write(place.own / "lock", "")
    handle = os.open(place.own / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        yield lock(handle, patience_s)
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
