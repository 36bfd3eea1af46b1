"""The seven emitters: weightings over a handful of mechanisms, each with the brief that a model or an agent gets.

A mechanism draws one proposal, a set of pieces to put into the base: a step of one constant, a jump of several, an
edit of the catalogue, something switched off, two near misses at once, a stepping stone of the archive with a step
from there, a part of what surprised, or what Optuna asks for. Drawing costs next to nothing; which proposal becomes
an idea is decided by `propose`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Final

from nightlab.search.edits import Edit
from nightlab.search.evidence import Evidence, Near
from nightlab.search.knobs import Knob
from nightlab.search.moves import Move, drawn_move, switched_off
from nightlab.search.pieces import Piece, clash
from nightlab.types import ExperimentId

OPTIMIZER = frozenset({"learning-rate", "optimizer", "schedule", "regularization", "loss"})
ARCHITECTURE = frozenset(
    {"model-size", "attention", "architecture", "activation", "normalization", "initialization", "numerics"}
)
SIMPLER = "simplify"  # the tag of edits that delete or compress

COMPOSED = frozenset({"merge", "stone", "part", "numeric"})  # mechanisms that say themselves where they start
NEAREST = 6  # of the best near misses are paired with each other
COUNTS = (2, 2, 3)  # changes of a jump


@dataclass(frozen=True, slots=True, kw_only=True)
class Emitter:
    """One way of proposing."""

    name: str
    brief: str  # for a model or an agent: what to propose, and what not
    mechanisms: Mapping[str, float]  # mechanism -> weight
    families: frozenset[str] = frozenset()  # of constants and edits that it may touch; empty: all
    width: float = 1.0  # standard deviation of a step, in doublings


EMITTERS: Final[tuple[Emitter, ...]] = (
    Emitter(
        name="local_tuner",
        brief="Stay near the champion: move one to three constants by less than a factor of two, where neighbouring "
        "values have paid or have not been tried.",
        mechanisms={"step": 0.5, "jump": 0.3, "numeric": 0.2},
        width=0.6,
    ),
    Emitter(
        name="optimizer_hacker",
        brief="Change how the weights are updated: an optimiser's mechanics, momenta, decay, or the schedule of a "
        "rate. Leave the model's shape alone.",
        mechanisms={"step": 0.4, "jump": 0.3, "edit": 0.3},
        families=OPTIMIZER,
    ),
    Emitter(
        name="architecture_mutator",
        brief="Make one structural change of the model: its shape, attention, activation, normalisation or residual "
        "paths. One change, so that its effect can be told.",
        mechanisms={"step": 0.5, "edit": 0.5},
        families=ARCHITECTURE,
    ),
    Emitter(
        name="simplifier",
        brief="Delete or compress: take out a mechanism, switch something off, replace several lines by one. As good "
        "and shorter counts as a gain.",
        mechanisms={"simpler": 0.6, "off": 0.4},
    ),
    Emitter(
        name="contrarian",
        brief="Go against the recent trend: turn round what was moved lately, or take up what nobody has touched, "
        "with a large step.",
        mechanisms={"against": 0.6, "jump": 0.2, "edit": 0.2},
        width=1.6,
    ),
    Emitter(
        name="recombinator",
        brief="Put together changes that each fell short of proof, from different niches; where such a stack failed, "
        "try a part of it.",
        mechanisms={"merge": 0.5, "stone": 0.3, "part": 0.2},
    ),
    Emitter(
        name="anomaly_chaser",
        brief="Follow what surprised: isolate the part of a change that did it, take half of a step that crashed or "
        "lost against expectation.",
        mechanisms={"part": 0.7, "stone": 0.3},
        width=0.6,
    ),
)

BY_NAME: Final[Mapping[str, Emitter]] = {emitter.name: emitter for emitter in EMITTERS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """One thing to try, before anybody asked whether it is any good."""

    pieces: tuple[Piece, ...]
    emitter: str
    brief: str
    parents: tuple[ExperimentId, ...] = ()  # experiments whose changes it takes over


@dataclass(frozen=True, slots=True, kw_only=True)
class Stone:
    """An experiment besides the champion, as what it has and the base lacks; edits of the base's own stay."""

    experiment: ExperimentId
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kit:
    """All that mechanisms draw from."""

    knobs: Sequence[Knob]
    edits: Sequence[Edit]  # that the base lacks and that have not crashed
    evidence: Evidence
    near: Sequence[tuple[Near, tuple[Piece, ...]]]  # near misses that can be made on this base, likeliest first
    stones: Sequence[Stone]
    start: Callable[[], Stone | None]  # where one proposal starts from; None: the champion
    surprises: Sequence[Stone]  # what went otherwise than foretold and stacks that failed, latest first
    numeric: Callable[[], tuple[Piece, ...]]  # what Optuna asks for; empty if it has nothing


def draw(emitter: Emitter, kit: Kit, rng: random.Random, wider: float) -> Proposal | None:
    """One proposal of an emitter; None if its mechanism has nothing to offer here.

    Args:
        emitter: who proposes.
        kit: what there is to change.
        rng: of this proposal.
        wider: factor on the size of steps: the longer nothing new is found, the wilder.
    """
    names = list(emitter.mechanisms)
    mechanism = rng.choices(names, [emitter.mechanisms[name] for name in names])[0]
    proposal = _MECHANISMS[mechanism](emitter, kit, rng, emitter.width * wider)
    start = None if proposal is None or mechanism in COMPOSED else kit.start()
    return proposal if proposal is None or start is None else _from_stone(proposal, start)


def _from_stone(proposal: Proposal, stone: Stone) -> Proposal:
    """The same, but from another elite of the archive instead of the champion."""
    kept = [piece for piece in stone.pieces if not clash([piece], proposal.pieces)]
    return replace(
        proposal,
        pieces=(*kept, *proposal.pieces),
        brief=f"{proposal.brief}, from {stone.experiment}, an elite of its niche",
        parents=(stone.experiment,),
    )


# --- mechanisms -------------------------------------------------------------------------------------------------


def _step(emitter: Emitter, kit: Kit, rng: random.Random, width: float) -> Proposal | None:
    pieces = _moves(_knobs(emitter, kit), 1, rng, width)
    return _proposal(emitter, pieces, "one constant, one step")


def _jump(emitter: Emitter, kit: Kit, rng: random.Random, width: float) -> Proposal | None:
    knobs = _knobs(emitter, kit)
    pieces = _moves(knobs if len(knobs) > 1 else kit.knobs, rng.choice(COUNTS), rng, width)
    edits = _edits(emitter, kit)
    if edits and rng.random() < len(edits) / (len(edits) + 4 * len(kit.knobs)):
        pieces = (Piece(rng.choice(edits)), *pieces[1:])
    return _proposal(emitter, pieces, "several changes at once")


def _edit(emitter: Emitter, kit: Kit, rng: random.Random, width: float) -> Proposal | None:
    edits = _edits(emitter, kit)
    return _proposal(emitter, (Piece(rng.choice(edits)),) if edits else (), "one structural change of the catalogue")


def _simpler(emitter: Emitter, kit: Kit, rng: random.Random, width: float) -> Proposal | None:
    edits = [edit for edit in kit.edits if SIMPLER in edit.tags]
    return _proposal(emitter, (Piece(rng.choice(edits)),) if edits else (), "less code for the same work")


def _off(emitter: Emitter, kit: Kit, rng: random.Random, width: float) -> Proposal | None:
    moves = [move for knob in kit.knobs if (move := switched_off(knob)) is not None]
    return _proposal(emitter, (Piece(rng.choice(moves)),) if moves else (), "is this one needed at all?")


def _against(emitter: Emitter, kit: Kit, rng: random.Random, width: float) -> Proposal | None:
    """What was tried least, by a large step, and against the way that paid last."""
    if not kit.knobs:
        return None
    knob = rng.choices(list(kit.knobs), [1.0 / (1.0 + kit.evidence.tries.get(knob.name, 0.0)) for knob in kit.knobs])[0]
    move = drawn_move(knob, rng, width)
    if move is not None and (knob.name, move.way.value) in kit.evidence.paid:
        turned = [m for _ in range(8) if (m := drawn_move(knob, rng, width)) is not None and m.way is not move.way]
        move = turned[0] if turned else move
    return _proposal(emitter, (Piece(move),) if move is not None else (), "against the trend, or where nobody looked")


def _merge(emitter: Emitter, kit: Kit, rng: random.Random, width: float) -> Proposal | None:
    """A near miss of an older champion again, or two at once."""
    again = [(near, pieces) for near, pieces in kit.near if near.age]
    fresh = [(near, pieces) for near, pieces in kit.near if not near.stacked][:NEAREST]
    pairs = [(a, b) for a, b in combinations(fresh, 2) if not clash(a[1], b[1])]
    if not again and not pairs:
        return None
    if pairs and (not again or rng.random() < len(pairs) / (len(pairs) + len(again))):
        (one, first), (two, second) = rng.choice(pairs)
        brief = f"{one.experiment} and {two.experiment} each fell short of proof: both at once"
        return _proposal(emitter, (*first, *second), brief, (one.experiment, two.experiment))
    near, pieces = rng.choice(again)
    brief = f"{near.experiment} was {near.probability:.0%} likely better than an older champion"
    return _proposal(emitter, pieces, brief, (near.experiment,))


def _stone(emitter: Emitter, kit: Kit, rng: random.Random, width: float) -> Proposal | None:
    """From another elite of the archive, one step on."""
    if not kit.stones:
        return None
    stone = rng.choice(kit.stones)
    free = [knob for knob in kit.knobs if all(piece.name != knob.name for piece in stone.pieces)]
    pieces = (*stone.pieces, *_moves(free, 1, rng, width)) if rng.random() < 0.7 else stone.pieces
    return _proposal(emitter, pieces, f"from {stone.experiment}, an elite of its niche", (stone.experiment,))


def _part(emitter: Emitter, kit: Kit, rng: random.Random, width: float) -> Proposal | None:
    """Part of what surprised: some of its changes, or half of its step."""
    if not kit.surprises:
        return None
    stone = rng.choice(kit.surprises)
    if len(stone.pieces) > 1:
        pieces = tuple(rng.sample(stone.pieces, rng.randint(1, len(stone.pieces) - 1)))
        brief = f"{stone.experiment} failed, or went otherwise than foretold: a part of it alone"
    else:
        half = stone.pieces[0].halved()
        pieces = (half,) if half is not None else ()
        brief = f"{stone.experiment} went otherwise than foretold: half of that step"
    return _proposal(emitter, pieces, brief, (stone.experiment,))


def _numeric(emitter: Emitter, kit: Kit, rng: random.Random, width: float) -> Proposal | None:
    return _proposal(emitter, kit.numeric(), "what Optuna asks for, from the lab's history")


_Mechanism = Callable[[Emitter, Kit, random.Random, float], Proposal | None]

_MECHANISMS: Final[Mapping[str, _Mechanism]] = {
    "step": _step,
    "jump": _jump,
    "edit": _edit,
    "simpler": _simpler,
    "off": _off,
    "against": _against,
    "merge": _merge,
    "stone": _stone,
    "part": _part,
    "numeric": _numeric,
}


def _proposal(
    emitter: Emitter, pieces: Sequence[Piece], brief: str, parents: tuple[ExperimentId, ...] = ()
) -> Proposal | None:
    return Proposal(pieces=tuple(pieces), emitter=emitter.name, brief=brief, parents=parents) if pieces else None


def _knobs(emitter: Emitter, kit: Kit) -> Sequence[Knob]:
    return [knob for knob in kit.knobs if not emitter.families or knob.kind.family in emitter.families]


def _edits(emitter: Emitter, kit: Kit) -> list[Edit]:
    return [edit for edit in kit.edits if not emitter.families or edit.family in emitter.families]


def _moves(knobs: Sequence[Knob], count: int, rng: random.Random, width: float) -> tuple[Piece, ...]:
    """Moves of so many different constants, drawn evenly."""
    chosen = rng.sample(list(knobs), min(count, len(knobs)))
    return tuple(Piece(move) for knob in chosen if (move := drawn_move(knob, rng, width)) is not None)


def blocked(pieces: Sequence[Piece], evidence: Evidence) -> bool:
    """Whether a part of it has crashed, is there already, or is under way."""
    for piece in pieces:
        what = piece.what
        if isinstance(what, Edit):
            if what.name in evidence.made or what.name in evidence.crashed_edits:
                return True
        elif isinstance(what, Move) and evidence.crashes(what.knob.name, what.way, what.value):
            return True
    return any(piece.key in evidence.pending for piece in pieces)
