"""Taking over what other experiments changed: as pieces to be put into the base that is at hand.

Knobs and edits are made again by name; what somebody wrote by hand is merged line by line (`pieces.Graft`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence

from nightlab.history import History
from nightlab.search.catalogue import BY_NAME
from nightlab.search.emitters import Stone
from nightlab.search.knobs import Knob, literal
from nightlab.search.moves import move_to
from nightlab.search.pieces import Graft, Piece
from nightlab.search.space import Places, Point, origin
from nightlab.types import Change, ChangeKind, ExperimentId, Files


class Transfer:
    """What has to be changed in a base to get what other experiments have.

    Args:
        history: folded up to now.
        base: the experiment that is to be changed.
        knobs: its constants.
        made: the edits of the catalogue that it holds.
        places: points that were worked out before.
        files_at: the editable files of a commit, None where it is gone.
    """

    def __init__(
        self,
        history: History,
        base: ExperimentId,
        knobs: Sequence[Knob],
        made: Collection[str],
        places: Places,
        files_at: Callable[[str], Files | None],
    ) -> None:
        self._history, self._places, self._files_at = history, places, files_at
        self._knobs = {knob.name: knob for knob in knobs}
        self._made = made
        self._here = places.of(history, base)
        self._before = origin(history, base)

    def stones(self, names: Iterable[ExperimentId]) -> list[Stone]:
        """Those of the experiments that lead anywhere, in their order."""
        stones = []
        for name in names:
            pieces = self._towards(self._places.of(self._history, name)) or self.grafted(name)
            if pieces:
                stones.append(Stone(experiment=name, pieces=pieces))
        return stones

    def pieces(self, changes: Iterable[Change]) -> tuple[Piece, ...]:
        """Those changes, to be made on the base; empty if one of them cannot be, or is there already."""
        out: list[Piece] = []
        for change in changes:
            if change.kind is ChangeKind.EDIT and change.name in BY_NAME and change.name not in self._made:
                out.append(Piece(BY_NAME[change.name]))
                continue
            knob, value = self._knobs.get(change.name), literal(change.new)
            if knob is None or value is None or knob.text != change.old:
                return ()
            move = move_to(knob, change.new, value)
            if move is None:
                return ()
            out.append(Piece(move))
        return tuple(out)

    def grafted(self, name: ExperimentId) -> tuple[Piece, ...]:
        """What somebody wrote by hand, to be merged into the base; empty where its sources are not to be had."""
        experiment = self._history.state(name).experiment
        if [change.kind for change in experiment.changes] != [ChangeKind.FREE] or experiment.parent_commit is None:
            return ()
        before, after = (self._files_at(commit) for commit in (experiment.parent_commit, experiment.commit))
        if before is None or after is None:
            return ()
        graft = Graft(
            experiment=name,
            change=experiment.changes[0],
            family=experiment.family or "mixed",
            title=experiment.description,
            before=before,
            after=after,
        )
        return (Piece(graft),)

    def _towards(self, there: Point) -> tuple[Piece, ...]:
        """What leads to a point, and keeps the base's edits; empty if that cannot be made here."""
        changes: list[Change] = []
        for knob in self._knobs.values():
            text = there.values.get(knob.name, self._before.get(knob.name, knob.text))
            if text != knob.text:
                changes.append(Change(kind=ChangeKind.KNOB, name=knob.name, old=knob.text, new=text))
        changes += [Change(kind=ChangeKind.EDIT, name=name) for name in sorted(there.rest - self._here.rest)]
        return self.pieces(changes)
