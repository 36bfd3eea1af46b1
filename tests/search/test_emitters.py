"""The emitters: what each may touch, and what its mechanisms draw."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest

from nightlab.search import emitters
from nightlab.search.catalogue import BY_NAME as CATALOGUE_BY_NAME
from nightlab.search.catalogue import CATALOGUE
from nightlab.search.edits import Edit
from nightlab.search.emitters import (
    ARCHITECTURE,
    BY_NAME,
    OPTIMIZER,
    SIMPLER,
    Emitter,
    Kit,
    Proposal,
    Stone,
    blocked,
    draw,
)
from nightlab.search.evidence import EDIT, Evidence, Near
from nightlab.search.knobs import Knob, find_knobs, literal
from nightlab.search.moves import Move, Way, move_to
from nightlab.search.pieces import Piece
from nightlab.types import EMITTERS
from tests import builders
from tests.search.labs import SHIPPED

KNOBS = find_knobs(SHIPPED, on_gpu=False)


def to(name: str, factor: float = 2.0) -> Piece:
    knob = next(knob for knob in KNOBS if knob.name == name)
    assert not isinstance(knob.value, bool | str)
    value = type(knob.value)(knob.value * factor)
    move = move_to(knob, repr(value), value)
    assert move is not None
    return Piece(move)


def near(
    name: str, *pieces: Piece, probability: float = 0.8, age: int = 0, stacked: bool = False
) -> tuple[Near, tuple[Piece, ...]]:
    changes = tuple(piece.change for piece in pieces)
    return Near(builders.experiment_name(name), changes, probability, stacked=stacked, age=age), pieces


def stone(name: str, *pieces: Piece) -> Stone:
    return Stone(experiment=builders.experiment_name(name), pieces=pieces)


def kit(
    knobs: Sequence[Knob] = KNOBS,
    edits: Sequence[Edit] = CATALOGUE,
    evidence: Evidence | None = None,
    near: Sequence[tuple[Near, tuple[Piece, ...]]] = (),
    stones: Sequence[Stone] = (),
    surprises: Sequence[Stone] = (),
    numeric: tuple[Piece, ...] = (),
) -> Kit:
    return Kit(
        knobs=knobs, edits=edits, evidence=evidence or Evidence(), near=near, stones=stones, surprises=surprises,
        numeric=lambda: numeric, start=lambda: None,
    )  # fmt: skip


def only(mechanism: str, base: str = "recombinator") -> Emitter:
    """An emitter with one mechanism."""
    known = BY_NAME[base]
    return Emitter(
        name=known.name, brief=known.brief, mechanisms={mechanism: 1.0}, families=known.families, width=known.width
    )


def drawn(emitter: Emitter | str, what: Kit, count: int = 200) -> list[Proposal]:
    chosen = BY_NAME[emitter] if isinstance(emitter, str) else emitter
    rng = random.Random(4)
    return [found for _ in range(count) if (found := draw(chosen, what, rng, 1.0)) is not None]


def test_they_are_the_seven_of_the_contract() -> None:
    """Names and order as everywhere else: the order decides ties."""
    assert tuple(emitter.name for emitter in emitters.EMITTERS) == EMITTERS


def test_every_mechanism_that_is_named_exists_and_is_used() -> None:
    """Weights are proper shares; no mechanism lies idle; each emitter has a brief of its own."""
    named = {name for emitter in emitters.EMITTERS for name in emitter.mechanisms}
    assert named == set(emitters._MECHANISMS)
    for emitter in emitters.EMITTERS:
        assert sum(emitter.mechanisms.values()) == pytest.approx(1.0)
        assert min(emitter.mechanisms.values()) > 0
        assert emitter.brief.endswith(".")
    assert len({emitter.brief for emitter in emitters.EMITTERS}) == len(EMITTERS)


def test_families_are_those_that_knobs_and_edits_have() -> None:
    """A family that nothing is of would be a promise of nothing."""
    known = {edit.family for edit in CATALOGUE} | {knob.kind.family for knob in KNOBS}
    assert known | {"loss"} >= OPTIMIZER
    assert known >= ARCHITECTURE
    assert not OPTIMIZER & ARCHITECTURE


@pytest.mark.parametrize(
    ("name", "families"), [("optimizer_hacker", OPTIMIZER), ("architecture_mutator", ARCHITECTURE)]
)
def test_two_touch_only_their_families(name: str, families: frozenset[str]) -> None:
    """Every piece of every proposal is of the emitter's own; both knobs and edits come up."""
    found = drawn(name, kit())
    assert {piece.family for one in found for piece in one.pieces} <= families
    assert {type(piece.what) for one in found for piece in one.pieces} == {Move, Edit}


def test_one_without_constants_of_its_own_jumps_with_any() -> None:
    """A lab whose constants are all of the model's shape still gets jumps from the optimizer_hacker."""
    shapes = [knob for knob in KNOBS if knob.kind.family in ARCHITECTURE]
    assert drawn(only("jump", "optimizer_hacker"), kit(shapes, ()))
    assert not drawn(only("step", "optimizer_hacker"), kit(shapes, ()))


def test_the_simplifier_only_simplifies() -> None:
    """One edit that deletes or compresses, or one constant switched off; nothing is ever raised."""
    found = drawn("simplifier", kit(), 300)
    for one in found:
        (piece,) = one.pieces
        if isinstance(piece.what, Edit):
            assert SIMPLER in piece.what.tags
        else:
            assert isinstance(piece.what, Move)
            assert piece.what.value in (0.0, False)
    assert {type(one.pieces[0].what) for one in found} == {Move, Edit}


def test_the_local_tuner_stays_near() -> None:
    """Most of its moves are by less than a factor of two, the contrarian's by more; never more than thirty-two."""

    def sizes(name: str) -> list[float]:
        moves = [p.what for one in drawn(name, kit(edits=()), 400) for p in one.pieces]
        return sorted(m.size for m in moves if isinstance(m, Move) and m.way is not Way.SWITCH and m.value != 0)

    near_, far = sizes("local_tuner"), sizes("contrarian")
    assert near_[len(near_) // 2] < 2.0 <= far[len(far) // 2]
    assert max(size for size in far if size < math.inf) <= 32.0 * 1.01  # as written


def test_the_contrarian_turns_round_what_paid() -> None:
    """A way that paid is hardly gone by it, the other is; and what nobody has tried comes before what all have."""
    knob = next(knob for knob in KNOBS if knob.name == "MATRIX_LR")
    paid = Evidence(paid={("MATRIX_LR", Way.UP.value)})
    ways = [one.pieces[0].key[1] for one in drawn(only("against", "contrarian"), kit([knob], (), paid))]
    assert ways.count("down") > 10 * ways.count("up")
    both = [knob, next(knob for knob in KNOBS if knob.name == "DEPTH")]
    tried = [
        one.pieces[0].name
        for one in drawn(only("against", "contrarian"), kit(both, (), Evidence(tries={"DEPTH": 20.0})))
    ]
    assert tried.count("MATRIX_LR") > 8 * tried.count("DEPTH")


def test_merge_puts_two_near_misses_together() -> None:
    """Two that do not touch the same constant, both named as parents; a stack is not stacked further."""
    one, two = near("one", to("MATRIX_LR")), near("two", to("DEPTH"))
    same, stack = near("same", to("MATRIX_LR", 0.5)), near("stack", to("EMBEDDING_LR"), stacked=True)
    found = drawn(only("merge"), kit(near=[one, two]))
    assert {tuple(piece.name for piece in each.pieces) for each in found} == {("MATRIX_LR", "DEPTH")}
    assert found[0].parents == (one[0].experiment, two[0].experiment)
    assert not drawn(only("merge"), kit(near=[one, same]))
    assert not drawn(only("merge"), kit(near=[one, stack]))
    assert not drawn(only("merge"), kit(near=[one]))


def test_merge_tries_an_older_near_miss_again() -> None:
    """One of an older champion alone on the new one; it says how likely better it was."""
    old = near("old", to("MATRIX_LR"), probability=0.83, age=1)
    found = drawn(only("merge"), kit(near=[old]))
    assert {each.pieces for each in found} == {old[1]}
    assert found[0].parents == (old[0].experiment,)
    assert "83%" in found[0].brief


def test_only_the_best_near_misses_are_paired() -> None:
    """The first NEAREST of the list; those further down wait."""
    names = [knob.name for knob in KNOBS if isinstance(knob.value, float) and knob.value > 0][: emitters.NEAREST + 1]
    found = drawn(only("merge"), kit(near=[near(name, to(name, 1.5)) for name in names]), 400)
    assert {piece.name for each in found for piece in each.pieces} == set(names[: emitters.NEAREST])


def test_a_stone_is_a_place_to_start_from() -> None:
    """All that leads there, mostly with one further step of another constant; it is named as the parent."""
    elite = stone("elite", to("MATRIX_LR"), to("DEPTH"))
    found = drawn(only("stone"), kit(stones=[elite]))
    assert {len(each.pieces) for each in found} == {2, 3}
    for each in found:
        assert each.pieces[:2] == elite.pieces
        assert {piece.name for piece in each.pieces[2:]}.isdisjoint({"MATRIX_LR", "DEPTH"})
        assert each.parents == (elite.experiment,)


def test_a_part_is_less_than_the_whole() -> None:
    """Of several changes some, never all; of one its half; of what has no half nothing."""
    odd = stone("odd", to("MATRIX_LR"), to("DEPTH"), to("EMBEDDING_LR"))
    found = drawn(only("part"), kit(surprises=[odd]))
    assert {len(each.pieces) for each in found} == {1, 2}
    assert all(set(each.pieces) < set(odd.pieces) for each in found)
    (half,) = drawn(only("part"), kit(surprises=[stone("x", to("MATRIX_LR", 4.0))]), 1)[0].pieces
    knob = next(knob for knob in KNOBS if knob.name == "MATRIX_LR")
    assert isinstance(half.what, Move)
    assert half.what.value == pytest.approx(2.0 * float(knob.value), rel=1e-2)
    assert not drawn(only("part"), kit(surprises=[stone("x", Piece(CATALOGUE[0]))]))


@pytest.mark.parametrize("old", ["0.9", "3e-4", "7", "2**6", "-0.5"])
@pytest.mark.parametrize("factor", [0.25, 0.5, 0.9, 1.1])
def test_half_of_a_step_lies_between(old: str, factor: float) -> None:
    """On the knob's own scale, strictly between where it stands and where the step led, or there is none."""
    source = {"t.py": f"BETA2 = 0.9\nPURPLE = {old}\nprint(BETA2, PURPLE)\n"}
    knob = next(knob for knob in find_knobs(source, on_gpu=False) if knob.name == "PURPLE")
    value = literal(old)
    assert isinstance(value, int | float)
    new = type(value)(value * factor)
    move = move_to(knob, repr(new), new)
    half = Piece(move).halved() if move is not None else None
    if half is not None:
        assert isinstance(half.what, Move)
        low, high = sorted((float(value), float(new)))
        assert low < float(half.what.value) < high


def test_what_optuna_asks_for_is_passed_on() -> None:
    """All its moves at once; an empty answer is no proposal."""
    pieces = (to("MATRIX_LR"), to("DEPTH"))
    assert drawn(only("numeric", "local_tuner"), kit(numeric=pieces))[0].pieces == pieces
    assert not drawn(only("numeric", "local_tuner"), kit())


@pytest.mark.parametrize("name", EMITTERS)
def test_nothing_to_offer_is_none(name: str) -> None:
    """An emitter of a lab with no knob, no edit and no history answers None, and raises nothing."""
    assert not drawn(name, kit((), ()), 50)


@pytest.mark.parametrize("name", EMITTERS)
def test_a_proposal_never_touches_a_constant_twice(name: str) -> None:
    """Whatever is drawn can be made: its pieces are of different names."""
    odd = stone("odd", to("MATRIX_LR"), to("DEPTH"))
    everything = kit(near=[near("one", to("EMBEDDING_LR")), near("two", to("DEPTH"))], stones=[odd], surprises=[odd],
                     numeric=(to("DEPTH"),))  # fmt: skip
    for one in drawn(name, everything):
        assert len({piece.name for piece in one.pieces}) == len(one.pieces) > 0
        assert one.emitter == name
        assert one.brief


def test_what_is_refused() -> None:
    """A part that has crashed, is in the base already or is under way; a value beyond a crash too."""
    edit = next(iter(CATALOGUE_BY_NAME.values()))
    deep = to("DEPTH", 4)
    assert isinstance(deep.what, Move)
    assert isinstance(to("DEPTH", 2).what, Move)
    crashed = Evidence(crashed={("DEPTH", "up"): [to("DEPTH", 2).what.value]})  # type: ignore[union-attr]
    assert blocked([to("MATRIX_LR"), deep], crashed)
    assert not blocked([to("MATRIX_LR")], crashed)
    assert blocked([Piece(edit)], Evidence(made={edit.name}))
    assert blocked([Piece(edit)], Evidence(crashed_edits={edit.name}))
    assert blocked([Piece(edit)], Evidence(pending={(edit.name, EDIT)}))
    assert blocked([deep], Evidence(pending={("DEPTH", "up")}))
    assert not blocked([deep, Piece(edit)], Evidence())
