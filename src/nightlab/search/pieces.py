"""One change that can be made to a base: a move of a constant, an edit of the catalogue, or another source's edit."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from nightlab.errors import EditError
from nightlab.search.edits import Edit, apply_edit
from nightlab.search.evidence import EDIT, GRAFT, Key
from nightlab.search.knobs import set_knobs
from nightlab.search.moves import Move, halfway
from nightlab.search.phrases import describe
from nightlab.types import Change, ChangeKind, ExperimentId, Files


@dataclass(frozen=True, slots=True, kw_only=True)
class Graft:
    """What an experiment changed by hand in its own base, to be merged into another: three ways, line by line."""

    experiment: ExperimentId
    change: Change
    family: str
    title: str
    before: Files = field(repr=False, compare=False)  # its own base
    after: Files = field(repr=False, compare=False)

    def put_in(self, files: Files) -> Files | None:
        """The files with that change; None where both sides changed the same lines."""
        merged = dict(files)
        for path in sorted({*self.before, *self.after}):
            old, new = self.before.get(path), self.after.get(path)
            if old == new:
                continue
            if old is None or new is None or path not in files:  # a whole file came or went: nothing to merge with
                return None
            text = merge_lines(old, files[path], new)
            if text is None or not _parses(path, text):  # lines that fit side by side may still make no program
                return None
            merged[path] = text
        return merged


def _parses(path: str, text: str) -> bool:
    if not path.endswith(".py"):
        return True
    try:
        ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


def merge_lines(base: str, ours: str, theirs: str) -> str | None:
    """The text with what both sides changed in the base; None where they conflict."""
    from merge3 import Merge3

    old, left, right = (text.splitlines(keepends=True) for text in (base, ours, theirs))
    merged: list[str] = []
    for region in Merge3(old, left, right).merge_groups():
        if region[0] == "conflict":
            return None
        merged += region[1]
    return "".join(merged)


@dataclass(frozen=True, slots=True)
class Piece:
    """A move, an edit or a graft."""

    what: Move | Edit | Graft

    @property
    def name(self) -> str:
        if isinstance(self.what, Graft):
            return self.what.experiment
        return self.what.name if isinstance(self.what, Edit) else self.what.knob.name

    @property
    def key(self) -> Key:
        if isinstance(self.what, Graft):
            return (self.what.experiment, GRAFT)
        return (self.what.name, EDIT) if isinstance(self.what, Edit) else (self.what.knob.name, self.what.way.value)

    @property
    def family(self) -> str:
        return self.what.family if isinstance(self.what, Edit | Graft) else self.what.knob.kind.family

    @property
    def change(self) -> Change:
        if isinstance(self.what, Graft):
            return self.what.change
        if isinstance(self.what, Edit):
            return Change(kind=ChangeKind.EDIT, name=self.what.name)
        return Change(kind=ChangeKind.KNOB, name=self.what.knob.name, old=self.what.knob.text, new=self.what.text)

    @property
    def title(self) -> str:
        if isinstance(self.what, Graft):
            return self.what.title
        return (self.what.title or self.what.name) if isinstance(self.what, Edit) else describe(self.what)

    def halved(self) -> Piece | None:
        """Half of the step; None for what has no half."""
        move = halfway(self.what) if isinstance(self.what, Move) else None
        return None if move is None else Piece(move)


def clash(one: Iterable[Piece], other: Iterable[Piece]) -> bool:
    """Whether both touch the same constant or edit."""
    return bool({piece.name for piece in one} & {piece.name for piece in other})


def put_in(files: Files, pieces: Sequence[Piece]) -> Files | None:
    """The files with the pieces made; None if one does not fit."""
    changed: Files | None = set_knobs(files, [(p.what.knob, p.what.value) for p in pieces if isinstance(p.what, Move)])
    try:
        for piece in pieces:
            if isinstance(piece.what, Edit) and changed is not None:
                changed = apply_edit(changed, piece.what)
    except EditError:
        return None
    for piece in pieces:
        if isinstance(piece.what, Graft) and changed is not None:
            changed = piece.what.put_in(changed)
    return changed
