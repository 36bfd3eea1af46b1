"""The built-in proposer: no model, no key, no network; a pure function of the history, the source and the seed.

Every change the source offers is an *arm*: a knob one way, an edit, an idea that nearly won against an older champion,
two near misses at once. Each has a belief, a beta distribution from the public histories (`priors`) updated by this
lab's verdicts (`evidence`), and a reach, how far its kind moves the metric; the arm with the highest product of a draw
and its reach is tried (Thompson sampling of the expected gain), so knobs and edits compete by the same weights. When
all plain changes of a base are spent, finer values and several changes at once go on for ever, drawn in the same way.
A source that the lab has had is never proposed again.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

from nightlab.errors import EditError
from nightlab.history import History
from nightlab.search.catalogue import BY_NAME, CATALOGUE
from nightlab.search.edits import Edit, apply_edit
from nightlab.search.evidence import EDIT, RECOMBINED, Evidence, Key, Near, gather, label, stacked
from nightlab.search.knobs import Knob, find_knobs, literal, set_knobs
from nightlab.search.moves import Move, Way, moves, random_move, size_of, way_of
from nightlab.search.phrases import describe, hope
from nightlab.search.priors import Belief, belief, prior, reach
from nightlab.search.source import source_hash
from nightlab.types import Change, ChangeKind, Exhausted, ExperimentId, Files, Idea, Plan

TRIES = 400
"""Draws of finer or combined changes before a source counts as exhausted."""

NEAREST = 6
"""So many of the best near misses are paired with each other."""

REMEMBERED = 500
"""Changed sources that are kept between calls."""

OPTIMIZER = frozenset({"learning-rate", "optimizer", "schedule", "regularization", "loss"})
ARCHITECTURE = frozenset({"model-size", "attention", "architecture", "activation", "normalization", "initialization"})


@dataclass(frozen=True, slots=True)
class Piece:
    """One change that can be made to the base: a move of a knob, or an edit."""

    what: Move | Edit

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Something to try, how likely it is held to pay, and in which words it is asked for."""

    options: tuple[tuple[Piece, ...], ...]  # in order of preference; one is tried
    belief: Belief
    emitter: str
    brief: str
    reach: float = 1.0  # how far it may move the metric, against the average change
    predicted_gain: float | None = None


@dataclass(frozen=True, slots=True)
class Made:
    """A changed source and its identity."""

    files: Files
    hash: str


class Proposer:
    """Chooses the next idea. Holds caches of what it has parsed; they never change what it answers.

    Args:
        settings_digest: of the lab's settings, part of every source hash.
        on_gpu: whether runs see a GPU: which side of a device's `if` holds the knobs.
        catalogue: the structural edits to draw from.
    """

    def __init__(self, *, settings_digest: str, on_gpu: bool, catalogue: Sequence[Edit] = CATALOGUE) -> None:
        self._digest = settings_digest
        self._on_gpu = on_gpu
        self._catalogue = tuple(catalogue)
        self._files: Files = {}
        self._knobs: tuple[Knob, ...] = ()
        self._made: dict[tuple[str, ...], Made | None] = {}  # None: it cannot be made of these files

    def propose(
        self,
        history: History,
        base: ExperimentId,
        files: Files,
        rng: random.Random,
        running: Collection[ExperimentId] = (),
    ) -> Idea | Exhausted:
        """The next idea: a change of `base`, whose editable files are `files`.

        `running` names experiments under way that the history does not show as running yet. Whatever lies in the
        history counts as tried.
        """
        self._look_at(files)
        if not any(path.endswith(".py") for path in files):
            names = ", ".join(sorted(files))
            return Exhausted(reason=f"{names}: no Python, so only agents and models can propose here")
        evidence = gather(history, base, running)
        arms = [*self._knob_arms(evidence), *self._edit_arms(evidence), *self._second_chances(evidence)]
        for arm in _by_draw(arms, rng):
            for pieces in arm.options:
                idea = self._idea(evidence, pieces, arm)
                if idea is not None:
                    return idea
        return self._finer(evidence, rng)

    def _look_at(self, files: Files) -> None:
        if files != self._files:
            self._files = dict(files)
            self._knobs = find_knobs(files, self._on_gpu)
            self._made = {}

    # --- arms ---------------------------------------------------------------------------------------------------

    def _knob_arms(self, evidence: Evidence) -> Iterator[Arm]:
        for knob in self._knobs:
            ways: dict[Way, list[Move]] = {}
            for move in moves(knob):
                ways.setdefault(move.way, []).append(move)
            if all((knob.name, way.value) in evidence.limit for way in ways):
                continue  # every way has lost here: settled, until the base moves
            for way, steps in ways.items():
                key = (knob.name, way.value)
                good = [move for move in steps if _may(evidence, key, move)]
                paid = evidence.paid.get(key)
                if paid is not None and math.isfinite(paid):
                    good = _nearest(good, paid)
                if good and key not in evidence.pending:
                    yield Arm(
                        options=tuple((Piece(move),) for move in good),
                        belief=evidence.belief(key, prior(knob.kind.name, way.value)),
                        reach=reach(knob.kind.name, way.value),
                        emitter=_emitter(knob.kind.family) if paid is None else "local_tuner",
                        brief=_knob_brief(key, evidence),
                    )

    def _edit_arms(self, evidence: Evidence) -> Iterator[Arm]:
        for edit in self._catalogue:
            key = (edit.name, EDIT)
            if edit.name not in evidence.made | evidence.crashed_edits and key not in evidence.pending:
                yield Arm(
                    options=((Piece(edit),),),
                    belief=evidence.belief(key, prior(edit.family, EDIT)),
                    reach=reach(edit.family, EDIT),
                    emitter="simplifier" if "simplify" in edit.tags else _emitter(edit.family),
                    brief=f"{edit.family}: a structural change of the catalogue",
                )

    def _second_chances(self, evidence: Evidence) -> Iterator[Arm]:
        """Ideas that were more likely better than not: again on a new champion, and two at a time."""
        usable: list[tuple[Near, tuple[Piece, ...]]] = []
        for near in evidence.near:
            pieces = self._pieces(near.changes, evidence)
            if pieces:
                if not near.stacked:
                    usable.append((near, pieces))
                if near.age:
                    yield Arm(
                        options=(pieces,), belief=evidence.belief(RECOMBINED, belief(near.probability)),
                        reach=_farthest(pieces),
                        emitter="recombinator",
                        predicted_gain=near.gain,
                        brief=f"{near.experiment} was {near.probability:.0%} likely better than an older champion",
                    )  # fmt: skip
        usable.sort(key=lambda pair: (-pair[0].probability, pair[0].experiment))
        for (a, first), (b, second) in combinations(usable[:NEAREST], 2):
            if not {piece.key[0] for piece in first} & {piece.key[0] for piece in second}:
                chance, gain, held = stacked(a, b)
                yield Arm(
                    options=((*first, *second),), belief=evidence.belief(RECOMBINED, held), emitter="recombinator",
                    reach=_farthest((*first, *second)),
                    predicted_gain=gain,
                    brief=f"{a.experiment} and {b.experiment} each fell short; together {chance:.0%} likely better",
                )  # fmt: skip

    def _pieces(self, changes: Iterable[Change], evidence: Evidence) -> tuple[Piece, ...]:
        """Those changes, to be made on the present base; empty if one of them cannot be, or is there already."""
        by_name = {knob.name: knob for knob in self._knobs}
        out: list[Piece] = []
        for change in changes:
            if change.kind is ChangeKind.EDIT and change.name in BY_NAME and change.name not in evidence.made:
                out.append(Piece(BY_NAME[change.name]))
                continue
            knob, value = by_name.get(change.name), literal(change.new)
            if knob is None or value is None or knob.text != change.old:
                return ()
            size = size_of(knob.kind.scale, knob.value, value)
            way = way_of(knob.value, value)
            out.append(Piece(Move(knob=knob, value=value, text=change.new, way=way, size=size)))
        return tuple(out)

    def _finer(self, evidence: Evidence, rng: random.Random) -> Idea | Exhausted:
        """Values off the coarse grid, and several changes at once, each drawn by its belief."""
        for attempt in range(TRIES):
            chosen = self._drawn_pieces(evidence, rng, attempt)
            against = any(piece.key in evidence.limit for piece in chosen)
            arm = Arm(
                options=(chosen,),
                belief=belief(0.5),
                emitter="contrarian" if against else "local_tuner",
                brief="against what was learnt here" if against else "between and beyond the values tried",
            )
            free = len(chosen) > 1 or not any(piece.key in evidence.pending for piece in chosen)
            idea = self._idea(evidence, chosen, arm) if chosen and free else None
            if idea is not None:
                return idea
        names = ", ".join(sorted(self._files))
        if not self._knobs:
            return Exhausted(
                reason=f"{names}: no constant in capitals to move, and no edit fits; only agents and models can propose"
            )
        return Exhausted(reason=f"{names}: {TRIES} draws from {len(self._knobs)} knobs gave no source that is new")

    def _drawn_pieces(self, evidence: Evidence, rng: random.Random, attempt: int) -> tuple[Piece, ...]:
        """Changes of different knobs, those with the highest draws; more and wilder ones the longer nothing is new."""
        count = rng.choice((1, 1, 2, 2, 3)) + attempt // 50
        bold = attempt > TRIES // 4  # a crash may have been another change's fault
        pieces = {edit.name: Piece(edit) for edit in self._drawn_edits(evidence, rng, count)}
        drawn: list[tuple[float, Knob, Way]] = []
        for knob in self._knobs:
            for way in (Way.SWITCH,) if isinstance(knob.value, bool | str) else (Way.UP, Way.DOWN):
                held = evidence.belief((knob.name, way.value), prior(knob.kind.name, way.value))
                drawn.append((rng.betavariate(held.won, held.lost) * reach(knob.kind.name, way.value), knob, way))
        for _, knob, way in sorted(drawn, key=lambda triple: -triple[0]):
            if len(pieces) >= count:
                break
            move = random_move(knob, way, rng, 4.0 + attempt / 50) if knob.name not in pieces else None
            if move is not None and (bold or not evidence.crashes(knob.name, way, move.value)):
                pieces[knob.name] = Piece(move)
        return tuple(pieces.values())

    def _drawn_edits(self, evidence: Evidence, rng: random.Random, count: int) -> list[Edit]:
        """At most one edit to go with a move: edits mix badly with each other."""
        free = [edit for edit in self._catalogue if edit.name not in evidence.made | evidence.crashed_edits]
        share = len(free) / (len(free) + 2 * len(self._knobs)) if free else 0.0
        return [rng.choice(free)] if count > 1 and rng.random() < share else []

    # --- ideas --------------------------------------------------------------------------------------------------

    def _idea(self, evidence: Evidence, pieces: Sequence[Piece], arm: Arm) -> Idea | None:
        """The idea, or None if its source is known, it cannot be made, or part of it has crashed."""
        changes = tuple(piece.change for piece in pieces)
        if label(changes) in evidence.tried:
            return None
        made = self._make(pieces)
        if made is None or made.hash in evidence.hashes:
            return None
        families = list(dict.fromkeys(piece.family for piece in pieces))
        edits = [piece.what for piece in pieces if isinstance(piece.what, Edit)]
        hopes = [p.what.hypothesis if isinstance(p.what, Edit) else hope(p.what) for p in pieces]
        return Idea(
            description=" + ".join(piece.title for piece in pieces),
            files=made.files,
            plan=Plan(emitter=arm.emitter, brief=arm.brief, predicted_gain=arm.predicted_gain),
            hypothesis=" ".join(dict.fromkeys(hopes)),
            family=families[0] if len(families) == 1 else "mixed",
            tags=tuple(dict.fromkeys([*(tag for edit in edits for tag in edit.tags), *_kinds(pieces)])),
            changes=changes,
        )

    def _make(self, pieces: Sequence[Piece]) -> Made | None:
        """The base with the pieces put in, or None if an edit does not fit. Remembered, because parsing is slow."""
        name = tuple(f"{piece.change.name}={piece.change.new}" for piece in pieces)
        if name not in self._made:
            if len(self._made) >= REMEMBERED:
                self._made.clear()
            # an edit that does not fit the base itself is not worth trying in company: that is asked once
            edits = [piece for piece in pieces if isinstance(piece.what, Edit)] if len(pieces) > 1 else []
            files = self._changed(pieces) if all(self._make((edit,)) is not None for edit in edits) else None
            self._made[name] = None if files is None else Made(files, source_hash(files, self._digest))
        return self._made[name]

    def _changed(self, pieces: Sequence[Piece]) -> Files | None:
        values = [(piece.what.knob, piece.what.value) for piece in pieces if isinstance(piece.what, Move)]
        files = set_knobs(self._files, values)
        try:
            for piece in pieces:
                if isinstance(piece.what, Edit):
                    files = apply_edit(files, piece.what)
        except EditError:
            return None
        return files


def _by_draw(arms: Iterable[Arm], rng: random.Random) -> list[Arm]:
    """The arms by expected gain under one draw from each belief, highest first."""
    drawn = [(rng.betavariate(arm.belief.won, arm.belief.lost) * arm.reach, arm) for arm in arms]
    return [arm for _, arm in sorted(drawn, key=lambda pair: -pair[0])]


def _farthest(pieces: Iterable[Piece]) -> float:
    """Reach of several changes at once: that of the one that reaches farthest."""
    keys = [
        (piece.what.family, EDIT) if isinstance(piece.what, Edit) else (piece.what.knob.kind.name, piece.what.way.value)
        for piece in pieces
    ]
    return max(reach(kind, way) for kind, way in keys)


def _may(evidence: Evidence, key: Key, move: Move) -> bool:
    """Whether the step is smaller than any that lost that way on this base, and beyond no crash."""
    limit = evidence.limit.get(key)
    inside = limit is None or move.way is Way.SWITCH or move.size < limit
    return inside and not evidence.crashes(move.knob.name, move.way, move.value)


def _nearest(steps: list[Move], size: float) -> list[Move]:
    """The steps with those of about the same size first."""
    return sorted(steps, key=lambda move: abs(move.size - size))


def _emitter(family: str) -> str:
    if family in OPTIMIZER:
        return "optimizer_hacker"
    return "architecture_mutator" if family in ARCHITECTURE else "local_tuner"


def _knob_brief(key: Key, evidence: Evidence) -> str:
    name, way = key
    if key in evidence.paid:
        return f"{name} {way} paid before: go on that way"
    if key in evidence.limit:
        return f"{name} {way} lost by a larger step: try a smaller one"
    return f"{name} {way}: as likely to pay as its kind has in public histories"


def _kinds(pieces: Iterable[Piece]) -> list[str]:
    return [piece.what.knob.kind.name for piece in pieces if isinstance(piece.what, Move)]
