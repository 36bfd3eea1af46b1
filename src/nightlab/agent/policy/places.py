"""Which paths are guarded, and whether a path with holes could be one of them. Lexical, unless the ground resolves."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from nightlab.agent.policy.noun import noun
from nightlab.agent.policy.nouns import Ground
from nightlab.agent.policy.values import DEEP, FETCHED, STAR, UNKNOWN, holes, known_start, pattern, unknowable


class Kind(StrEnum):
    """Why a path is guarded."""

    PROTECTED = "protected"
    CONTROL = "control"
    DEPENDENCY = "dependency"
    UNKNOWN = "unknown"  # nothing of the path is known


# Files that say which packages there are.
_DEPENDENCIES = (
    "Pipfile",
    "Pipfile.lock",
    "environment.yml",
    "package.json",
    "poetry.lock",
    "pyproject.toml",
    "requirements*.txt",
    "uv.lock",
)
_HOME_CONTROL = (".claude", ".claude.json", ".codex", ".config/opencode", ".cursor", ".gemini")
# Files in guarded directories that matter most, for patterns whose directory is not known (`find -name state.json`).
_INSIDE = (
    "state.json",
    "hooks.json",
    "config.toml",
    "settings.json",
    "experiments.jsonl",
    "lab.db",
    "core.py",
    "config",
)
_CACHES = re.compile(r"(^|/)(__pycache__|\.(pytest|ruff|mypy)_cache|[^/]*\.py[co])(/|$)|/\.git/(.*/)?[^/]*\.lock$")
_SYSTEM = frozenset(
    ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "opt", "proc", "root", "run", "sbin", "sys", "usr", "var")
) | {"System", "Library"}  # the last two are Apple's
_SYSTEM_EXEMPT = ("/var/tmp/", "/var/folders/", "/dev/shm/", "/run/user/")  # noqa: S108 - names, not files of ours
# Directories of most repositories that hold what people wrote or gathered.
_SOURCES = frozenset((".git", ".github", "benchmarks", "data", "docs", "results", "scripts", "src", "test", "tests"))
_DEVICE = re.compile(r"/dev/(sd|hd|nvme|vd|xvd|mapper/|disk|mem\b)")


@noun
class Entry:
    path: str  # absolute
    kind: Kind
    name: str  # as the lab writes it
    glob: bool
    inside: re.Pattern[str]  # the path itself or what lies in it


def normal(path: str) -> str:
    """`path` without `.`, `..` and doubled slashes; `..` behind a hole makes all before it unknown."""
    parts: list[str] = []
    for part in path.split("/"):
        if part in {"", "."}:
            continue
        if part != "..":
            parts.append(part)
        elif parts and holes(parts[-1]):
            parts = [UNKNOWN]
        elif parts:
            parts.pop()
    rooted = path.startswith("/") and not (parts and parts[0] == UNKNOWN)
    return "/" * rooted + "/".join(parts) or "/"


def absolute(path: str, cwd: str) -> str:
    """`path` as seen from `cwd`; one whose start is not known may lie anywhere."""
    if path.startswith(("/", UNKNOWN, FETCHED, DEEP)):
        return normal(path)
    return normal(f"{cwd}/{path}")


def _translate(glob: str) -> str:
    """A pattern of nightlab.toml as a regular expression."""
    out = re.escape(glob).replace(r"\*\*", ".*").replace(r"\*", "[^/]*").replace(r"\?", "[^/]")
    return out.replace(r"\[", "[").replace(r"\]", "]")


class Places:
    """The guarded paths of one ground."""

    def __init__(self, ground: Ground) -> None:
        self.root = normal(str(ground.root))
        self.home = normal(str(ground.home))
        self.editable = [_entry(self.root, name, Kind.PROTECTED) for name in ground.editable]
        named = [(self.root, name, Kind.PROTECTED) for name in ground.protected]
        named += [(self.root, name, Kind.CONTROL) for name in ground.control]
        named += [(self.root, name, Kind.DEPENDENCY) for name in _DEPENDENCIES]
        named += [(self.home, name, Kind.CONTROL) for name in _HOME_CONTROL]
        named += [(self.home, ".cache/autoresearch", Kind.PROTECTED)]  # the data that every run is judged by
        self.entries = [_entry(*one) for one in named]
        self.resolve = ground.resolve

    def guarded(self, path: str) -> tuple[Kind, str] | None:
        """Why an edit of `path` matters, and the guarded thing's name; None where it does not."""
        if unknowable(path):
            return Kind.UNKNOWN, ""
        for candidate in self._candidates(path):
            if any(entry.inside.fullmatch(candidate) for entry in self.editable):
                return None
            for entry in self.entries:
                if _touches(candidate, entry) and not (entry.kind is Kind.CONTROL and _CACHES.search(candidate)):
                    return entry.kind, entry.name
        return None

    def holds_guarded(self, path: str) -> bool:
        """Whether the repository, the home directory or something guarded lies in `path`, or is it."""
        below = re.compile(f"(?:{pattern(path).pattern})(?:/.*)?", re.DOTALL | re.IGNORECASE)
        return (
            path == "/"
            or below.fullmatch(self.root) is not None
            or below.fullmatch(self.home) is not None
            or any(not entry.glob and below.fullmatch(entry.path) for entry in self.entries if entry.name != ".git")
            or below.fullmatch(f"{self.root}/.git") is not None
        )

    def precious(self, path: str, *, recursive: bool) -> bool:
        """Whether deleting `path` would take more than a named thing of the agent's own."""
        if self.holds_guarded(path):
            return True
        parts = path.strip("/").split("/")
        if path.startswith(f"{self.root}/"):
            inner = path[len(self.root) + 1 :]
            return recursive and inner in _SOURCES
        if path.startswith(f"{self.home}/"):
            return recursive
        if parts[0] in _SYSTEM and path.startswith("/"):
            return not path.startswith(_SYSTEM_EXEMPT) or (len(parts) < 3 and recursive)
        if not recursive:
            return False
        if parts[0] in {"home", "Users"}:
            return True
        return path.startswith("/") and (len(parts) == 1 or (len(parts) == 2 and parts[1].strip(STAR + ".") == ""))

    def _candidates(self, path: str) -> list[str]:
        if self.resolve is None or holes(path):
            return [path]
        try:
            return [path, str(self.resolve(Path(path)))]
        except (OSError, RuntimeError, ValueError):
            return [path]


def is_device(path: str) -> bool:
    return _DEVICE.match(path) is not None


def _entry(base: str, name: str, kind: Kind) -> Entry:
    return _cached_entry(base, name.rstrip("/"), kind)


@lru_cache(maxsize=256)
def _cached_entry(base: str, name: str, kind: Kind) -> Entry:
    glob = any(char in name for char in "*?[")
    try:
        inside = re.compile(f"{re.escape(base)}/{_translate(name)}(?:/.*)?", re.DOTALL | re.IGNORECASE)
    except re.error:  # brackets that are no class: the name as it stands
        inside = re.compile(f"{re.escape(base)}/{re.escape(name)}(?:/.*)?", re.DOTALL | re.IGNORECASE)
    return Entry(f"{base}/{name}", kind, name, glob, inside)


def _touches(path: str, entry: Entry) -> bool:
    if not holes(path):
        return entry.inside.fullmatch(path) is not None
    if (start := known_start(path)) and entry.inside.fullmatch(start):
        return True
    may = pattern(path)
    spelt = entry.path.replace("*", "x").replace("?", "x")
    return may.fullmatch(spelt) is not None or (
        entry.kind is Kind.CONTROL and any(may.fullmatch(f"{entry.path}/{name}") for name in _INSIDE)
    )
