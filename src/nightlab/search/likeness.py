"""How one idea relates to another: the claims of two descriptions paired, the closest first, and added up.

The same change in other words is the same idea, the opposite direction never is. Where words leave it open, ideas count
as different: to block a new idea costs more than to repeat an old one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from nightlab.search.amounts import Way
from nightlab.search.forms import Claim
from nightlab.search.pairs import Pair, compare
from nightlab.search.words import NO_LEXICON, Lexicon, told


class Relation(StrEnum):
    """What an idea is to an earlier one."""

    SAME = "same"
    OPPOSITE = "opposite"  # the same thing moved the other way
    OTHER_VALUE = "other_value"  # the same thing, at another value
    REFINEMENT = "refinement"  # the same and more, or the same put more exactly; or a part of it
    NEW_BASE = "new_base"  # the same change to another source
    OTHER = "other"

    @property
    def is_same_idea(self) -> bool:
        return self in (Relation.SAME, Relation.NEW_BASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """An idea as its author wrote it."""

    description: str
    family: str = ""
    tags: tuple[str, ...] = ()
    hypothesis: str = ""


@dataclass(frozen=True, slots=True)
class Likeness:
    """How one idea relates to an earlier one. `score` is in [0, 1]; each kind of relation has a band of its own."""

    relation: Relation
    score: float
    why: str


@dataclass(frozen=True, slots=True)
class Reading:
    """A description as it was read."""

    claims: tuple[Claim, ...]
    words: frozenset[str]
    wholes: tuple[Claim, ...] = ()  # a structural idea as one claim, in several ways

    @classmethod
    def of(cls, description: str, lexicon: Lexicon = NO_LEXICON) -> Reading:
        found = told(description)
        if not lexicon.terms:
            return cls(found.claims, found.words, found.wholes)
        return cls(tuple(lexicon.understood(claim) for claim in found.claims), found.words, found.wholes)


def likeness(new: Reading, old: Reading) -> Likeness:
    """How an idea relates to an earlier one."""
    either = len(new.words | old.words)
    shared = len(new.words & old.words) / either if either else 0.0
    if new.claims and old.claims:
        found = _related(new.claims, old.claims, shared)
        if found.relation is Relation.OTHER or found.relation is Relation.REFINEMENT:
            return _as_wholes(new, old, shared) or found
        return found
    if new.words and new.words == old.words and not (new.claims or old.claims):
        return Likeness(Relation.SAME, band(0.90, 0.99, shared), "the same words")
    return Likeness(Relation.OTHER, round(0.6 * shared, 3), _little(shared))


def _as_wholes(new: Reading, old: Reading, shared: float) -> Likeness | None:
    """Structural ideas that are cut up differently, yet say the same."""
    for ours in _singles(new):
        for theirs in _singles(old):
            if compare(ours, theirs) is Pair.SAME:
                return Likeness(Relation.SAME, band(0.90, 0.99, shared), f"both {_both(ours, theirs)}")
            if compare(ours, theirs) is Pair.OPPOSITE:
                name = name_of(ours, theirs)
                return Likeness(Relation.OPPOSITE, band(0.62, 0.65, shared), f"moves {name} the other way")
    return None


def _singles(reading: Reading) -> list[Claim]:
    """The ways to take a reading as one claim without a size."""
    alone = reading.claims if len(reading.claims) == 1 else ()
    return [claim for claim in (*alone, *reading.wholes) if not claim.is_sized]


def _little(shared: float) -> str:
    return "it shares some words only" if shared else "nothing in common"


_CLOSEST = {pair: place for place, pair in enumerate(Pair)}


def _related(new: Sequence[Claim], old: Sequence[Claim], shared: float) -> Likeness:
    """Pair the claims of two ideas, closest first, and say what the pairs add up to."""
    found = [(compare(a, b), i, j) for i, a in enumerate(new) for j, b in enumerate(old)]
    found = [item for item in found if item[0] is not Pair.OTHER]
    if not found:
        return Likeness(Relation.OTHER, round(0.6 * shared, 3), _little(shared))
    if len(found) > 1:  # ties are broken by what is said, so that it does not matter which idea came first
        said = {id(claim): repr(_claim_key(claim)) for claim in (*new, *old)}
        found.sort(key=lambda item: (_CLOSEST[item[0]], *sorted((said[id(new[item[1]])], said[id(old[item[2]])]))))
    ours: set[int] = set()
    theirs: set[int] = set()
    pairs: list[tuple[Pair, Claim, Claim]] = []
    for pair, i, j in found:
        if i not in ours and j not in theirs:
            ours.add(i)
            theirs.add(j)
            pairs.append((pair, new[i], old[j]))
    given_up = {claim.former for _, a, b in pairs for claim in (a, b) if claim.former}
    more = [claim for claim in _unpaired(new, ours, pairs) if not (claim.way is Way.OFF and claim.subject in given_up)]
    less = [
        claim for claim in _unpaired(old, theirs, pairs) if not (claim.way is Way.OFF and claim.subject in given_up)
    ]
    return _summed(pairs, more, less, shared)


def _claim_key(claim: Claim) -> tuple[object, ...]:
    """A claim as something that sorts the same in every process."""
    return (
        sorted(claim.subject),
        claim.way.value,
        claim.value,
        claim.factor,
        sorted(claim.marks),
        sorted(claim.choice),
    )


def _unpaired(claims: Sequence[Claim], paired: set[int], pairs: Sequence[tuple[Pair, Claim, Claim]]) -> list[Claim]:
    """Claims without a counterpart; values of a row that only repeat where something stood do not count."""
    same = any(pair is Pair.SAME and (a.in_row or b.in_row) for pair, a, b in pairs)
    return [claim for i, claim in enumerate(claims) if i not in paired and not (claim.in_row and same)]


def _summed(
    pairs: Sequence[tuple[Pair, Claim, Claim]], more: Sequence[Claim], less: Sequence[Claim], shared: float
) -> Likeness:
    kinds = {pair for pair, _, _ in pairs}
    if Pair.OPPOSITE in kinds:
        name = next(name_of(a, b) for pair, a, b in pairs if pair is Pair.OPPOSITE)
        return Likeness(Relation.OPPOSITE, band(0.62, 0.65, shared), f"moves {name} the other way")
    if Pair.VALUE in kinds:
        a, b = next((a, b) for pair, a, b in pairs if pair is Pair.VALUE)
        if more and less:
            return _overlap(pairs, shared)
        return Likeness(Relation.OTHER_VALUE, band(0.66, 0.70, shared), _other_value(a, b))
    both = "; ".join(_both(a, b) for _, a, b in pairs[:4])
    if kinds == {Pair.SAME} and not more and not less:
        return Likeness(Relation.SAME, band(0.90, 0.99, shared), f"both {both}")
    if (more and less) or (Pair.FINER in kinds and (less or Pair.COARSER in kinds)):
        return _overlap(pairs, shared)
    if Pair.COARSER in kinds or less:
        what = f"only {_listed(less)} is missing" if less else f"{both}, put more broadly"
        return Likeness(Relation.REFINEMENT, band(0.70, 0.80, shared), f"a part of the earlier idea: {what}")
    if more:
        return Likeness(Relation.REFINEMENT, band(0.75, 0.85, shared), f"the same and more: it adds {_listed(more)}")
    return Likeness(Relation.REFINEMENT, band(0.70, 0.85, shared), f"the same put more exactly: {both}")


def _overlap(pairs: Sequence[tuple[Pair, Claim, Claim]], shared: float) -> Likeness:
    """Ideas that share a change and differ in others."""
    names = ", ".join(dict.fromkeys(name_of(a, b) for _, a, b in pairs))
    return Likeness(
        Relation.OTHER, round(0.3 + 0.29 * shared, 3), f"both touch {names}, each with other changes besides"
    )


# --- why, in plain words ----------------------------------------------------------------------------------------


def name_of(a: Claim, b: Claim) -> str:
    return a.knob or b.knob or a.shown or b.shown or a.title or ", ".join(sorted(a.choice))


def _both(a: Claim, b: Claim) -> str:
    """What two claims of the same thing say, as the end of "both ..."."""
    name = name_of(a, b)
    if a.choice or b.choice:
        chosen = ", ".join(sorted(word.lstrip("=") for word in a.choice or b.choice))
        return f"choose {chosen}" + (f" for {name}" if a.subject else "")
    value = a.value if a.value is not None else b.value
    if value is not None:
        return f"set {name} to {value:.6g}"
    factor = a.factor if a.factor is not None else b.factor
    if factor is not None:
        return f"multiply {name} by {factor:.4g}"
    delta = a.delta if a.delta is not None else b.delta
    if delta is not None:
        return f"change {name} by {delta:+g}"
    way = a.way or b.way
    verb = {Way.UP: "raise", Way.DOWN: "lower", Way.ON: "bring in", Way.OFF: "do without", Way.UNSAID: "are about"}[way]
    return f"{verb} {name}"


def _other_value(a: Claim, b: Claim) -> str:
    name = name_of(a, b)
    if a.choice and b.choice:
        ours, theirs = (", ".join(sorted(word.lstrip("=") for word in side)) for side in (a.choice, b.choice))
        return f"chooses {ours} for {name}, not {theirs}"
    ours, theirs = _size(a), _size(b)
    return f"moves {name} {ours}, not {theirs}" if ours and theirs else f"moves {name} by another amount"


def _size(claim: Claim) -> str:
    if claim.value is not None:
        return f"to {claim.value:.6g}"
    if claim.factor is not None:
        return f"by a factor of {claim.factor:.4g}"
    return f"by {claim.delta:+g}" if claim.delta is not None else "to nothing" if claim.way is Way.OFF else ""


def _listed(claims: Sequence[Claim]) -> str:
    return ", ".join(name_of(claim, claim) for claim in claims[:4])


def band(low: float, high: float, share: float) -> float:
    return round(low + (high - low) * share, 3)
