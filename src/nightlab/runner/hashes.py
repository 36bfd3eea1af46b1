"""SHA-256 of the files that a run may not touch: the lab's protected and editable ones."""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

# Directories that hold no source of anybody's: what tools write there is no breach.
_SKIPPED = frozenset({".git", "__pycache__", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"})


def hash_files(root: Path, patterns: Iterable[str]) -> dict[str, str]:
    """Digests of the files below `root` that any of `patterns` names.

    `*` and `?` stay inside one directory, `**` crosses them, a directory's plain name means all in it. Links
    that stay inside `root` count with the content they lead to; of others the place they point to is hashed, so that
    turning a file into a link is noticed and nothing outside is read. Compiled and version-control files are left out.

    Args:
        root: an existing directory.
        patterns: relative, with POSIX separators.

    Returns:
        Path relative to `root` (POSIX) -> hexadecimal SHA-256, sorted by path. What does not exist is not in it.
    """
    patterns = tuple(patterns)
    found = {pattern for pattern in patterns if not _is_glob(pattern) and not (root / pattern).is_dir()}
    wanted = [_compile(pattern) for pattern in patterns if pattern not in found]
    if wanted:
        found |= {path for path in _walk(root) if any(pattern.fullmatch(path) for pattern in wanted)}
    digests = ((path, hash_file(root, path)) for path in sorted(found))
    return {path: digest for path, digest in digests if digest is not None}


def matching(paths: Iterable[str], patterns: Iterable[str]) -> tuple[str, ...]:
    """Those of `paths` that any of `patterns` names, by the rules of `hash_files`."""
    wanted = [_compile(pattern) for pattern in patterns]
    return tuple(path for path in paths if any(pattern.fullmatch(path) for pattern in wanted))


def changed(root: Path, before: Mapping[str, str]) -> tuple[str, ...]:
    """Those paths of `before` that now have other content, or none."""
    return tuple(path for path, digest in sorted(before.items()) if hash_file(root, path) != digest)


def hash_file(root: Path, path: str) -> str | None:
    """Digest of one file; None if there is no regular file there that we may read."""
    whole = root / path
    try:
        if not (target := whole.resolve()).is_relative_to(root.resolve()):
            return hashlib.sha256(b"link to " + os.fsencode(target)).hexdigest()
        handle = os.open(whole, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # never wait for a named pipe
        with open(handle, "rb") as file:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                return None
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, RuntimeError):  # RuntimeError: links in a circle, before Python 3.13
        return None


def _is_glob(pattern: str) -> bool:
    return any(letter in pattern for letter in "*?[")


def _walk(root: Path) -> Iterator[str]:
    for where, directories, names in os.walk(root):
        directories[:] = [name for name in directories if name not in _SKIPPED]
        here = os.path.relpath(where, root).replace(os.sep, "/")
        links = (name for name in directories if os.path.islink(os.path.join(where, name)))
        for name in (*names, *links):
            if not name.endswith(".pyc"):
                yield name if here == "." else f"{here}/{name}"


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    """A regular expression for whole relative paths."""
    parts = []
    rest = pattern.strip("/").removeprefix("./")
    for piece in re.findall(r"\*\*/|/\*\*$|\*\*|\*|\?|\[!?[^\]/]+\]|.", rest, re.DOTALL):
        if piece == "**/":
            parts.append("(?:.*/)?")
        elif piece == "/**":
            parts.append("/.*")
        elif piece == "**":
            parts.append(".*")
        elif piece in "*?":
            parts.append("[^/]*" if piece == "*" else "[^/]")
        elif piece.startswith("[") and len(piece) > 1:
            parts.append("[" + piece[1:-1].replace("!", "^", 1 if piece[1] == "!" else 0).replace("\\", "\\\\") + "]")
        else:
            parts.append(re.escape(piece))
    below = "" if _is_glob(pattern) else "(?:/.*)?"
    return re.compile("".join(parts) + below, re.DOTALL)
