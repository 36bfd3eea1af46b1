"""One change that can be made to a base: a move of a constant, or an edit of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nightlab.errors import EditError
from nightlab.search.edits import Edit, apply_edit
from nightlab.search.evidence import EDIT, Key
from nightlab.search.knobs import set_knobs
from nightlab.search.moves import Move, halfway
from nightlab.search.phrases import describe
from nightlab.types import Change, ChangeKind, Files


@dataclass(frozen=True, slots=True)
class Piece:
    """A move, or an edit."""

    what: Move | Edit

    @property
    def name(self) -> str:
        return self.what.name if isinstance(self.what, Edit) else self.what.knob.name

    @property
    def key(self) -> Key:
        return (self.what.name, EDIT) if isinstance(self.what, Edit) else (self.what.knob.name, self.what.way.value)

    @property
    def family(self) -> str:
        return self.what.family if isinstance(self.what, Edit) else self.what.knob.kind.family

    @property
    def change(self) -> Change:
        if isinstance(self.what, Edit):
            return Change(kind=ChangeKind.EDIT, name=self.what.name)
        return Change(kind=ChangeKind.KNOB, name=self.what.knob.name, old=self.what.knob.text, new=self.what.text)

    @property
    def title(self) -> str:
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
    changed = set_knobs(files, [(p.what.knob, p.what.value) for p in pieces if isinstance(p.what, Move)])
    try:
        for piece in pieces:
            if isinstance(piece.what, Edit):
                changed = apply_edit(changed, piece.what)
    except EditError:
        return None
    return changed
