"""Git by plumbing: objects and refs are made, but no tracked file, index or checked-out branch of the user is moved.

Trees are built in a temporary index, refs move by compare-and-swap, and every experiment's commit is kept alive by a
ref of its own under `refs/nightlab/`.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nightlab.errors import GitError, NoRepositoryError

_MARK = "\x1f"  # a line that no text has by itself: the unit separator
_HEX = re.compile(r"[0-9a-f]{7,64}")  # fewer digits are as likely a number of somebody's own
EXPERIMENTS = "refs/nightlab/experiments/"

# Commits of the lab carry the lab's name, so that a machine without a configured git identity works too.
_IDENTITY = {
    "GIT_AUTHOR_NAME": "nightlab",
    "GIT_AUTHOR_EMAIL": "nightlab@localhost",
    "GIT_COMMITTER_NAME": "nightlab",
    "GIT_COMMITTER_EMAIL": "nightlab@localhost",
}
_HARMLESS = {"GIT_EXEC_PATH", "GIT_SSL_CAINFO", "GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_NOSYSTEM"}
# Programs of the user that git would start by itself; none of them may see or stop what the lab does.
_UNHOOKED = ("-c", f"core.hooksPath={os.devnull}", "-c", "core.fsmonitor=false")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitFacts:
    """A commit without its tree."""

    id: str
    parent: str | None  # the first
    at: float  # UTC seconds since the epoch
    message: str


class Git:
    """Plumbing for the repository around `root`; `root` may be a subdirectory of it.

    Paths in and out are relative to `root`, with POSIX separators.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        done = self._call(("rev-parse", "--show-prefix", "--absolute-git-dir", "--git-common-dir"), b"", None, None)
        if done.returncode != 0:
            said = done.stderr.decode("utf-8", "replace").strip()
            if (root / ".git").exists() or "safe.directory" in said:  # there is one, and git will not have it
                raise GitError(f"git refuses the repository at {root}: {said}", hint="do what git says there")
            raise NoRepositoryError(
                f"no git repository at {root}", hint="run `git init` and commit your files, or `nightlab new DIR`"
            )
        top = done.stdout.decode("utf-8", "surrogateescape")
        self.prefix, git_dir, common = top.split("\n")[:3]
        self.git_dir = Path(git_dir)
        self.common_dir = (root / common).resolve()

    # --- reading --------------------------------------------------------------------------------------------

    def resolve(self, revision: str) -> str | None:
        """Full commit id of `revision`, or None if there is no such commit."""
        found = self._probe("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
        return found.strip() if found else None

    def head(self) -> str:
        """Commit id of HEAD.

        Raises:
            NoRepositoryError: the repository has no commit yet.
        """
        commit = self.resolve("HEAD")
        if commit is None:
            raise NoRepositoryError(
                f"{self.root} has no commit yet", hint="commit the files first: git add -A && git commit -m start"
            )
        return commit

    def branch(self) -> str:
        """Name of the checked-out branch; "HEAD" when detached."""
        name = self._probe("symbolic-ref", "--quiet", "--short", "HEAD")
        return name.strip() if name else "HEAD"

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Whether `newer` is `older` or comes after it."""
        return self._probe("merge-base", "--is-ancestor", older, newer) is not None

    def parent(self, commit: str) -> str | None:
        return self.resolve(f"{commit}^")

    def trailers(self, commit: str, name: str) -> frozenset[str]:
        """Values of a trailer in the messages of `commit` and all its ancestors."""
        listed = self._run("log", f"--format=%(trailers:key={name},valueonly)", commit)
        return frozenset(line.strip() for line in listed.splitlines() if line.strip())

    def known(self, commits: Iterable[str]) -> dict[str, CommitFacts]:
        """Those of the named commits (abbreviations too) that the repository has, under the names they were asked by.

        One git process, however many there are.
        """
        asked = list(dict.fromkeys(c for c in commits if _HEX.fullmatch(c)))
        if not asked:
            return {}
        # cat-file tells a missing or ambiguous name apart from a known one, which `git log` would die of.
        listed = self._run("cat-file", "--batch-check=%(objectname) %(objecttype)", stdin="\n".join(asked).encode())
        full = dict(zip(asked, (line.split(" ") for line in listed.splitlines()), strict=True))
        ids = {name: words[0] for name, words in full.items() if words[1:] == ["commit"]}
        if not ids:
            return {}
        facts = self._facts("--no-walk=unsorted", "--stdin", stdin="\n".join(ids.values()).encode())
        by_id = {fact.id: fact for fact in facts}
        return {name: by_id[commit] for name, commit in ids.items() if commit in by_id}

    def line(self, revision: str) -> tuple[CommitFacts, ...]:
        """The commits that lead to `revision` by first parents, oldest first."""
        return tuple(self._facts("--first-parent", "--reverse", revision, "--"))

    def fork(self, one: str, other: str) -> str | None:
        """The last commit that two revisions have in common; None if there is none, or no such revision."""
        found = self._probe("merge-base", "--", one, other)
        return found.strip() if found else None

    def _facts(self, *arguments: str, stdin: bytes = b"") -> Iterator[CommitFacts]:
        form = "--format=%H%x1f%P%x1f%ct%x1f%B"
        listed = self._run("log", "-z", "--no-show-signature", form, *arguments, stdin=stdin)
        for entry in listed.split("\0"):
            if entry.strip():
                commit, parents, moment, message = entry.split("\x1f", 3)
                parent = parents.split(" ")[0] or None
                yield CommitFacts(id=commit.strip(), parent=parent, at=float(moment), message=message.strip())

    def files(self, commit: str) -> tuple[str, ...]:
        """All paths of `commit` below the lab's root."""
        listed = self._run("ls-tree", "-r", "-z", "--name-only", commit)
        return tuple(path for path in listed.split("\0") if path)

    def blobs(self, commit: str) -> dict[str, str]:
        """Path -> object id of every regular file of `commit` below the lab's root; links are left out."""
        found = {}
        for entry in self._run("ls-tree", "-r", "-z", commit).split("\0"):
            if entry.startswith("100"):
                facts, _, path = entry.partition("\t")
                found[path] = facts.split(" ")[2]
        return found

    def blobs_of(self, commits: Iterable[str]) -> Iterator[tuple[str, dict[str, str]]]:
        """The same of many commits, one after another, by as many git processes as directories are nested."""
        asked = list(dict.fromkeys(commits))
        below = self.prefix.rstrip("/")
        tops = [_entries(data) for data in self._objects([f"{commit}:{below}" for commit in asked])]
        trees: dict[str, list[_Entry]] = {}
        level = tops
        while names := list({e.id for tree in level for e in tree if e.is_tree} - trees.keys()):
            level = [_entries(data) for data in self._objects(names)]
            trees.update(zip(names, level, strict=True))
        for commit, top in zip(asked, tops, strict=True):
            yield commit, dict(_flat(top, trees, ""))

    def contents(self, blobs: Iterable[str]) -> dict[str, bytes]:
        """Bytes of many blobs by their object ids, by one git process; those that are missing are left out."""
        asked = list(dict.fromkeys(blobs))
        found = zip(asked, self._objects(asked), strict=True)
        return {blob: data for blob, (name, data) in found if name}

    def _objects(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Id and bytes of each object; nothing of one that is not there."""
        if not names:
            return
        stdin = "".join(f"{name}\n" for name in names).encode("utf-8", "surrogateescape")
        arguments = ("cat-file", "--batch=%(objectname) %(objectsize)")
        done = self._call(arguments, stdin, None, None)
        if done.returncode != 0:
            raise self._failure(arguments, done)
        place = 0
        for _ in names:
            end = done.stdout.index(b"\n", place)
            name, _, size = done.stdout[place:end].rpartition(b" ")
            place = end + 1
            if size.isdigit():
                yield name.decode(), done.stdout[place : place + int(size)]
                place += int(size) + 1
            else:  # "missing"
                yield "", b""

    def read(self, commit: str, path: str) -> bytes:
        """Bytes of one file of `commit`."""
        return self._run("cat-file", "blob", f"{commit}:{self.prefix}{path}").encode("utf-8", "surrogateescape")

    def dirty(self, paths: Sequence[str]) -> tuple[str, ...]:
        """Those of `paths` (literal) that differ from HEAD, or that HEAD does not have."""
        if not paths:
            return ()
        literal = [f":(top,literal){self.prefix}{path}" for path in paths]
        status = self._run("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--", *literal)
        return tuple(entry[3:].removeprefix(self.prefix) for entry in status.split("\0") if entry)

    def worktree_of(self, branch: str) -> str | None:
        """Directory in which `branch` is checked out, or None."""
        listed = self._run("worktree", "list", "--porcelain")
        where = ""
        for line in listed.splitlines():
            if line.startswith("worktree "):
                where = line.removeprefix("worktree ")
            elif line == f"branch refs/heads/{branch}":
                return where
        return None

    def free_branch(self, branch: str) -> str:
        """`branch`, with as many -lab behind it as make a branch that is checked out nowhere."""
        while self.worktree_of(branch):
            branch += "-lab"
        return branch

    # --- objects --------------------------------------------------------------------------------------------

    def tree_with(self, base: str, files: Mapping[str, str], removed: Sequence[str] = ()) -> str:
        """Tree object of commit `base` with `files` put in its place and `removed` taken out."""
        with _scratch_index() as index:
            self._run("read-tree", base, env=index)
            entries = [f"0 {'0' * len(self.head())}\t{self.prefix}{path}\0" for path in removed]
            for path, text in files.items():
                blob = self._run("hash-object", "-w", "--stdin", stdin=text.encode()).strip()
                mode = self._mode(base, path)
                entries.append(f"{mode} {blob}\t{self.prefix}{path}\0")
            self._run("update-index", "-z", "--index-info", env=index, stdin="".join(entries).encode())
            return self._run("write-tree", env=index).strip()

    def commit(self, tree: str, parent: str | None, message: str, *, merged: str | None = None) -> str:
        """Commit object over `tree`; no ref points to it yet. `merged` is a second parent."""
        parents = [word for commit in (parent, merged) if commit for word in ("-p", commit)]
        said = message.replace("\0", "").encode("utf-8", "replace")  # git refuses a zero byte; a model may write one
        return self._run("commit-tree", tree, *parents, stdin=said, env=_IDENTITY).strip()

    def merge(self, base: str, ours: str, theirs: str) -> str | None:
        """Text of `ours` with what leads from `base` to `theirs`; None where both changed the same lines.

        Lines are set apart by a mark before they are merged, since git holds changes of neighbouring lines for a
        conflict, and in a block of constants every line has neighbours.
        """
        with _scratch_directory() as name:
            paths = [Path(name) / side for side in ("ours", "base", "theirs")]
            for path, text in zip(paths, (ours, base, theirs), strict=True):
                spaced = "".join(f"{line}\n{_MARK}\n" for line in text.split("\n"))
                path.write_bytes(spaced.encode("utf-8", "surrogateescape"))
            arguments = ("merge-file", "-p", "--quiet", *(str(path) for path in paths))
            done = self._call(arguments, b"", None, None)
        if 0 < done.returncode < 128:  # so many conflicts
            return None
        if done.returncode != 0:
            raise self._failure(arguments, done)
        lines = done.stdout.decode("utf-8", "surrogateescape").split("\n")[:-1]
        return "\n".join(lines[::2]) if lines[1::2] == [_MARK] * (len(lines) // 2) else None

    def tree_of(self, commit: str) -> str:
        return self._run("rev-parse", f"{commit}^{{tree}}").strip()

    def checkout(self, tree: str, destination: Path) -> None:
        """Write the files of `tree` (those below the lab's root) into `destination`, which must not exist yet."""
        try:
            destination.mkdir(parents=True)
        except OSError as exc:
            raise _unwritable(destination, exc) from exc
        with _scratch_index() as index:
            env = {**index, "GIT_WORK_TREE": str(destination)}
            source = f"{tree}:{self.prefix.rstrip('/')}" if self.prefix else tree
            self._run("--git-dir", str(self.git_dir), "read-tree", source, env=env, cwd=destination)
            self._run("--git-dir", str(self.git_dir), "checkout-index", "--all", "--force", env=env, cwd=destination)

    # --- refs -----------------------------------------------------------------------------------------------

    def move(self, ref: str, new: str, old: str | None) -> bool:
        """Move `ref` from `old` (None: it must not exist) to `new`; False if somebody else moved it first.

        Raises:
            GitError: git refuses for another reason, so that trying again would not help.
        """
        arguments = ("update-ref", "-m", "nightlab", ref, new, old or "")
        done = self._call(arguments, b"", None, None)
        if done.returncode == 0:
            return True
        if self.resolve(ref) != old:
            return False
        raise self._failure(arguments, done)

    def keep(self, name: str, commit: str) -> None:
        """Keep an experiment's commit alive for ever.

        A ref that keeps another commit of the same source is left alone: that commit may be in the records. Ours is
        then kept beside it.
        """
        ref = f"{EXPERIMENTS}{name}"
        if not self.move(ref, commit, None) and self.resolve(ref) != commit:
            self.move(f"{ref}-{commit[:12]}", commit, None)

    def kept(self) -> dict[str, str]:
        """What `keep` has kept: name of each ref below EXPERIMENTS -> full commit id."""
        listed = self._run("for-each-ref", "--format=%(objectname) %(refname)", EXPERIMENTS)
        pairs = (line.split(" ", 1) for line in listed.splitlines())
        return {name.removeprefix(EXPERIMENTS): commit for commit, name in pairs}

    def ignore(self, patterns: Sequence[str]) -> None:
        """List our untracked outputs in .git/info/exclude, once."""
        path = self.common_dir / "info" / "exclude"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            text = path.read_text(encoding="utf-8", errors="surrogateescape") if path.exists() else ""
            missing = [f"/{self.prefix}{p}" for p in patterns if f"/{self.prefix}{p}" not in text.splitlines()]
            if missing:
                glue = "" if not text or text.endswith("\n") else "\n"
                with path.open("a", encoding="utf-8", errors="surrogateescape") as file:
                    file.write(glue + "".join(f"{pattern}\n" for pattern in missing))
        except OSError as exc:
            raise _unwritable(path, exc, self._hint()) from exc

    # --- machinery ------------------------------------------------------------------------------------------

    def _mode(self, base: str, path: str) -> str:
        listed = self._run("ls-tree", base, "--", path)
        return listed.split(" ", 1)[0] if listed else "100644"

    def _run(
        self, *arguments: str, stdin: bytes = b"", env: Mapping[str, str] | None = None, cwd: Path | None = None
    ) -> str:
        """Output of a git command that must succeed."""
        done = self._call(arguments, stdin, env, cwd)
        if done.returncode != 0:
            raise self._failure(arguments, done)
        return done.stdout.decode("utf-8", "surrogateescape")

    def _probe(self, *arguments: str) -> str | None:
        """Output of a git command for which failing is an answer too."""
        done = self._call(arguments, b"", None, None)
        return done.stdout.decode("utf-8", "surrogateescape") if done.returncode == 0 else None

    def _failure(self, arguments: Sequence[str], done: subprocess.CompletedProcess[bytes]) -> GitError:
        said = done.stderr.decode("utf-8", "replace").strip()
        return GitError(
            f"git {arguments[0]} failed in {self.root}: {said or f'exit code {done.returncode}'}",
            hint=self._hint() or "`git status` there may say more; nothing of nightlab's records is lost",
        )

    def _hint(self) -> str:
        """What to do where the repository cannot be written at all, as inside the sandboxes of coding agents."""
        if os.access(self.common_dir, os.W_OK, effective_ids=os.access in os.supports_effective_ids):
            return ""
        return (
            f"{self.common_dir} may not be written from here. In a coding agent's sandbox use the tools `try` and "
            "`wait` of the MCP server `nightlab`, which works outside it; else get the permission"
        )

    def _call(
        self, arguments: Sequence[str], stdin: bytes, env: Mapping[str, str] | None, cwd: Path | None
    ) -> subprocess.CompletedProcess[bytes]:
        # A caller inside a git hook has GIT_DIR and GIT_INDEX_FILE set: they would point our plumbing at his index.
        clean = {k: v for k, v in os.environ.items() if not k.startswith("GIT_") or k in _HARMLESS}
        clean["GIT_OPTIONAL_LOCKS"] = "0"  # `git status` would write the user's index, only to be faster next time
        try:
            return subprocess.run(
                ["git", *_UNHOOKED, *arguments],
                cwd=cwd or self.root,
                input=stdin,
                capture_output=True,
                env={**clean, **(env or {})},
                check=False,
            )
        except OSError as exc:
            if not (cwd or self.root).is_dir():
                raise NoRepositoryError(f"{cwd or self.root} is no directory that can be entered") from exc
            if not isinstance(exc, FileNotFoundError):
                raise GitError(f"git cannot be started: {exc.strerror}", hint="`ulimit -a` may say more") from exc
            raise GitError("git is not installed, or not on PATH", hint="install git and try again") from exc


@dataclass(frozen=True, slots=True)
class _Entry:
    """One entry of a tree object."""

    name: str
    id: str
    is_tree: bool
    is_file: bool  # a regular one, no link


def _entries(tree: tuple[str, bytes]) -> list[_Entry]:
    """What a tree object lists, each entry as mode, name, a zero byte and the bytes of its id."""
    width, data = len(tree[0]) // 2, tree[1]  # ids are longer in a repository of SHA-256
    found, place = [], 0
    while place < len(data):
        end = data.index(b"\0", place)
        mode, _, name = data[place:end].partition(b" ")
        place = end + 1 + width
        entry = _Entry(
            name.decode("utf-8", "surrogateescape"),
            data[end + 1 : place].hex(),
            is_tree=mode == b"40000",
            is_file=mode.startswith(b"100"),
        )
        found.append(entry)
    return found


def _flat(tree: Iterable[_Entry], trees: Mapping[str, Sequence[_Entry]], above: str) -> Iterator[tuple[str, str]]:
    """Path and object id of every regular file below a directory."""
    for entry in tree:
        if entry.is_tree:
            yield from _flat(trees.get(entry.id, ()), trees, f"{above}{entry.name}/")
        elif entry.is_file:
            yield f"{above}{entry.name}", entry.id


@contextmanager
def _scratch_index() -> Iterator[Mapping[str, str]]:
    """An index file of our own, as a variable for git."""
    with _scratch_directory() as name:
        yield {"GIT_INDEX_FILE": os.path.join(name, "index")}


@contextmanager
def _scratch_directory() -> Iterator[str]:
    try:
        directory = tempfile.TemporaryDirectory(prefix="nightlab-index-", ignore_cleanup_errors=True)
    except OSError as exc:
        raise _unwritable(Path(exc.filename or tempfile.gettempdir()), exc) from exc
    with directory as name:
        yield name


def _unwritable(path: Path, exc: OSError, hint: str = "") -> GitError:
    hint = hint or "free some disk space, or make it writable"
    return GitError(f"{path} cannot be written: {exc.strerror}", hint=hint)
