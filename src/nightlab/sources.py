"""Where source becomes experiments: what is editable, what it is called, and the commit that keeps it."""

from __future__ import annotations

from pathlib import PurePosixPath

from nightlab.config import Settings
from nightlab.errors import DirtyTreeError, LabError, ShadowError
from nightlab.git import Git
from nightlab.runner.hashes import hash_files, matching
from nightlab.runner.workspace import import_roots
from nightlab.search.source import experiment_id, patch, shadowed, source_hash
from nightlab.types import Experiment, ExperimentId, Files, Idea

TRAILER = "Nightlab-Experiment"  # in the message of every commit that holds an experiment's source


class Sources:
    """The editable files of one lab, in commits and in the working tree."""

    def __init__(self, settings: Settings, git: Git) -> None:
        self.settings = settings
        self.git = git
        self._at: dict[str, dict[str, str]] = {}  # a commit never changes, and the champion's is read for each idea

    def check(self) -> None:
        """Refuse to start from a tree that is not what the records would say.

        Raises:
            NoRepositoryError, DirtyTreeError, ShadowError, LabError
        """
        head = self.git.head()
        listed = self.git.files(head)
        editable = matching(listed, self.settings.editable)
        if not editable:
            raise LabError(
                f"no committed file matches editable = {list(self.settings.editable)} in {self.settings.root}",
                hint="commit the file to edit, or name it in nightlab.toml",
            )
        dirty = self.git.dirty((*editable, *matching(listed, self.settings.protected)))
        if dirty:
            raise DirtyTreeError(
                f"uncommitted changes in {', '.join(dirty)}",
                hint="commit them to start from them, `git stash` to start without them, "
                "or `nightlab try` to run them as one experiment",
            )
        links = sorted(set(editable) - set(self.git.blobs(head)))
        if links:
            raise LabError(
                f"{', '.join(links)} is a link, and what it points to would be edited for everybody",
                hint="name the file itself in `editable`",
            )
        hidden = shadowed(self._importable(listed, editable))
        if hidden:
            raise ShadowError(
                f"{', '.join(hidden)} would hide Python's own module of that name from every run",
                hint="rename the file",
            )

    def _importable(self, listed: tuple[str, ...], editable: tuple[str, ...]) -> tuple[str, ...]:
        """Files that a run may import by their plain name: on its path, or beside an editable file."""
        places = {
            *import_roots(self.settings.root, listed),
            *(PurePosixPath(path).parent.as_posix() for path in editable),
        }
        return tuple(path for path in listed if PurePosixPath(path).parent.as_posix() in places)

    def at(self, commit: str) -> dict[str, str]:
        """Editable files of a commit, a dict of the caller's own.

        Raises:
            LabError: one of them is no UTF-8 text.
        """
        if commit not in self._at:
            self._at[commit] = self._read(commit, self.settings.editable)
        return dict(self._at[commit])

    def protected(self, commit: str) -> dict[str, str]:
        """The same of the protected files."""
        return self._read(commit, self.settings.protected)

    def _read(self, commit: str, globs: tuple[str, ...]) -> dict[str, str]:
        paths = matching(self.git.files(commit), globs)
        return {path: text_of(path, self.git.read(commit, path)) for path in paths}

    def refuse_protected_edits(self) -> None:
        """Raise DirtyTreeError if the working tree changes a protected file."""
        protected = self.git.dirty(matching(self.git.files(self.git.head()), self.settings.protected))
        if protected:
            raise DirtyTreeError(f"{', '.join(protected)} changed, but no experiment may", hint="git restore them")

    def working(self) -> dict[str, str]:
        """Editable files as they lie in the working tree, tracked or not.

        Raises:
            LabError: one of them is no UTF-8 text.
        """
        paths = hash_files(self.settings.root, self.settings.editable)
        return {path: text_of(path, (self.settings.root / path).read_bytes()) for path in paths}

    def identify(self, files: Files) -> ExperimentId:
        """The identity of a source in this lab."""
        return experiment_id(source_hash(files, self.settings.digest))

    def commit(self, idea: Idea, parent: Experiment) -> Experiment:
        """An idea on top of `parent` as an experiment with a commit of its own.

        Raises:
            ShadowError: it brings a file that hides a module of Python's.
        """
        before = self.at(parent.commit)
        hidden = shadowed(sorted(set(idea.files) - set(before)))
        if hidden:
            raise ShadowError(f"the idea adds {', '.join(hidden)}, which would hide Python's own module")
        changed = {path: text for path, text in idea.files.items() if before.get(path) != text}
        tree = self.git.tree_with(parent.commit, changed, removed=sorted(set(before) - set(idea.files)))
        message = f"{idea.description}\n\n{idea.hypothesis}\n\n{TRAILER}: {self.identify(idea.files)}\n"
        commit = self.git.commit(tree, parent.commit, message)
        return self.experiment(idea, commit=commit, parent=parent, before=before)

    def experiment(
        self, idea: Idea, *, commit: str, parent: Experiment | None = None, before: Files | None = None
    ) -> Experiment:
        """The experiment of an idea whose source `commit` holds; keeps that commit alive.

        Args:
            idea: what it is.
            commit: a commit with its source.
            parent: what it was built on, None for a baseline.
            before: the editable files that its patch is told from; none: from nothing.
        """
        digest = source_hash(idea.files, self.settings.digest)
        experiment = Experiment(
            id=experiment_id(digest),
            source_hash=digest,
            commit=commit,
            parent_commit=parent.commit if parent else self.git.parent(commit),
            parent=parent.id if parent else None,
            description=idea.description,
            patch=patch(before or {}, idea.files),
            plan=idea.plan,
            hypothesis=idea.hypothesis,
            family=idea.family,
            tags=idea.tags,
            changes=idea.changes,
        )
        self.git.keep(experiment.id, commit)
        return experiment


def text_of(path: str, data: bytes) -> str:
    """The text of an editable or protected file.

    Raises:
        LabError: it is no UTF-8 text.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise LabError(f"{path} is no UTF-8 text, so it cannot be edited", hint="take it out of `editable`") from exc
