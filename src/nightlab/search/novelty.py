"""Whether an idea has been tried before, and what the mode of work says about trying it again.

Pure. Ideas are compared as changes (`words.read`): the same change in other words is the same idea, the opposite
direction never is, and a text that shares nothing with another is never held against it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from nightlab.search.words import Claim, normalise, read, words

FAMILY_BONUS = 0.08  # ideas of one family are listed this far below the threshold
CLUSTER = 0.60  # a failure joins others from this score on

T = TypeVar("T")


class Category(StrEnum):
    """What a prior run is to the idea, or the idea to all prior runs; the weightiest first."""

    DUPLICATE_RUN = "duplicate_run"
    REPEAT_FAILURE = "repeat_failure"
    INCREMENTAL_FOLLOWUP = "incremental_followup"
    KNOWN_SUCCESS = "known_success"
    NOVEL = "novel"


class Mode(StrEnum):
    """How somebody means to work; with the adjustment of the threshold that goes with it."""

    EXPLORE = "explore"
    EXPLOIT = "exploit"
    REPLICATE = "replicate"

    @property
    def adjustment(self) -> float:
        return {Mode.EXPLORE: -0.05, Mode.EXPLOIT: 0.0, Mode.REPLICATE: -0.08}[self]


class Policy(StrEnum):
    ALLOW = "allow"
    CAUTION = "caution"
    BLOCK = "block"


class Relation(StrEnum):
    """What two ideas are to each other."""

    DUPLICATE = "duplicate"  # the same idea
    FOLLOWUP = "followup"  # the same and more, or the same at another value
    DIFFERENT = "different"  # the opposite included


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """An idea as its author wrote it."""

    description: str
    family: str = ""
    tags: tuple[str, ...] = ()
    hypothesis: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior(Generic[T]):
    """An idea with a result. `item` is the caller's own record of it."""

    item: T
    words: Words
    kept: bool  # else it was discarded or crashed
    loss: float | None  # lower is better
    source: str = ""  # source hash, if known


@dataclass(frozen=True, slots=True, kw_only=True)
class Match(Generic[T]):
    prior: Prior[T]
    category: Category
    relation: Relation
    same_idea: bool
    score: float
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Guard(Generic[T]):
    """The answer: the overall category, what the mode says to it, and every prior idea that resembles."""

    mode: Mode
    threshold: float  # after the mode's adjustment
    category: Category
    policy: Policy
    rationale: str
    matches: tuple[Match[T], ...]

    def count(self, category: Category) -> int:
        return sum(match.category is category for match in self.matches)


@dataclass(frozen=True, slots=True)
class Likeness:
    """How one idea relates to an earlier one. `score` is in [0, 1]; each kind of relation has a band of its own."""

    relation: Relation
    score: float
    why: str


_ALLOW, _CAUTION, _BLOCK = Policy.ALLOW, Policy.CAUTION, Policy.BLOCK
_POLICY: Mapping[Mode, Mapping[Category, tuple[Policy, str]]] = {
    Mode.EXPLORE: {
        Category.NOVEL: (_ALLOW, "nothing like it is on record, which is what exploring asks for"),
        Category.DUPLICATE_RUN: (_BLOCK, "this very idea is on record: exploring it again teaches nothing"),
        Category.REPEAT_FAILURE: (_BLOCK, "the same change has failed before"),
        Category.INCREMENTAL_FOLLOWUP: (_BLOCK, "it builds on a kept idea, which is exploiting and not exploring"),
        Category.KNOWN_SUCCESS: (_BLOCK, "it is close to an idea that is kept already"),
    },
    Mode.EXPLOIT: {
        Category.NOVEL: (_CAUTION, "no kept idea backs it: this is exploring under another name"),
        Category.DUPLICATE_RUN: (_BLOCK, "this very idea is on record: replicate it if its value is in doubt"),
        Category.REPEAT_FAILURE: (_BLOCK, "the same change has failed before"),
        Category.INCREMENTAL_FOLLOWUP: (_ALLOW, "it builds on a kept idea of its family"),
        Category.KNOWN_SUCCESS: (_ALLOW, "it stays close to an idea that was kept"),
    },
    Mode.REPLICATE: {
        Category.NOVEL: (_BLOCK, "there is no earlier run that it could replicate"),
        Category.DUPLICATE_RUN: (_ALLOW, "it repeats a recorded run, as replicating should"),
        Category.REPEAT_FAILURE: (_BLOCK, "it would replicate something that failed"),
        Category.INCREMENTAL_FOLLOWUP: (_ALLOW, "it stands on a kept idea of its family"),
        Category.KNOWN_SUCCESS: (_ALLOW, "it repeats an idea that was kept"),
    },
}


def policy(mode: Mode, category: Category) -> tuple[Policy, str]:
    """What the mode says to an idea of that category, and why in one sentence."""
    return _POLICY[mode][category]


def assess(idea: Words, priors: Iterable[Prior[T]], *, mode: Mode, threshold: float, source: str = "") -> Guard[T]:
    """Compare an idea with everything on record.

    Args:
        idea: what somebody wants to try, or has tried.
        priors: ideas with a result.
        mode: how they mean to work.
        threshold: score from which a prior idea counts as close, before the mode's adjustment.
        source: hash of the idea's source, if there is one: the same source is a duplicate whatever it is called.
    """
    effective = min(max(threshold + mode.adjustment, 0.0), 0.99)
    here, exact = Reading.of(idea.description), _text(idea)
    matches = []
    for prior in priors:
        match = _match(idea, here, exact, source, prior)
        near = idea.family.strip() and _same_family(idea, prior.words)
        bar = max(0.0, effective - FAMILY_BONUS) if near else effective
        if match.score >= bar or match.category is Category.DUPLICATE_RUN:
            matches.append(match)
    order = list(Category)
    matches.sort(key=lambda m: (order.index(m.category), -m.score, _or_infinite(m.prior.loss)))
    category = matches[0].category if matches else Category.NOVEL
    decision, rationale = policy(mode, category)
    return Guard(
        mode=mode, threshold=effective, category=category, policy=decision, rationale=rationale, matches=tuple(matches)
    )


def _match(idea: Words, here: Reading, exact: str, source: str, prior: Prior[T]) -> Match[T]:
    if source and source == prior.source:
        return _made(prior, Category.DUPLICATE_RUN, Likeness(Relation.DUPLICATE, 1.0, "the source is the same"))
    if exact == _text(prior.words) and _same_hypothesis(idea, prior.words):
        return _made(prior, Category.DUPLICATE_RUN, Likeness(Relation.DUPLICATE, 1.0, "the text is the same"))
    found = likeness(here, Reading.of(prior.words.description))
    if found.relation is Relation.DUPLICATE and not prior.kept:
        return _made(prior, Category.REPEAT_FAILURE, found)
    if found.relation is not Relation.DIFFERENT and prior.kept:
        near = _same_family(idea, prior.words)
        return _made(prior, Category.INCREMENTAL_FOLLOWUP if near else Category.KNOWN_SUCCESS, found)
    return _made(prior, Category.NOVEL, found)


def _made(prior: Prior[T], category: Category, found: Likeness) -> Match[T]:
    same = found.relation is Relation.DUPLICATE
    return Match(
        prior=prior, category=category, relation=found.relation, same_idea=same, score=found.score, why=found.why
    )


@dataclass(frozen=True, slots=True)
class Reading:
    """A description as it was read."""

    claims: tuple[Claim, ...]
    words: frozenset[str]

    @classmethod
    def of(cls, description: str) -> Reading:
        return cls(read(description), words(description))


def likeness(new: Reading, old: Reading) -> Likeness:
    """How an idea relates to an earlier one."""
    either = new.words | old.words
    shared = len(new.words & old.words) / len(either) if either else 0.0
    if new.claims and old.claims:
        pairs = [_best(claim, new.claims) for claim in old.claims]
        if _Pair.OPPOSITE in pairs:
            return Likeness(Relation.DIFFERENT, _band(0.62, 0.65, shared), "it moves the same thing the other way")
        if _Pair.OTHER not in pairs:
            return _related(pairs, len(new.claims), shared)
    some = "it shares some words only" if shared else "nothing in common"
    return Likeness(Relation.DIFFERENT, round(0.6 * shared, 3), some)


def _related(pairs: Sequence[_Pair], changes: int, shared: float) -> Likeness:
    """The likeness of two ideas when each change of the earlier one is found again in the new one."""
    if _Pair.VALUE in pairs:
        return Likeness(Relation.FOLLOWUP, _band(0.66, 0.70, shared), "the same thing at another value")
    if _Pair.REFINES in pairs:
        return Likeness(Relation.FOLLOWUP, _band(0.70, 0.85, shared), "the same change made more specific")
    if changes > len(pairs):
        return Likeness(Relation.FOLLOWUP, _band(0.70, 0.85, shared), "the same change and more")
    return Likeness(Relation.DUPLICATE, _band(0.90, 0.99, shared), "the same change in other words")


class _Pair(StrEnum):
    SAME = "same"
    REFINES = "refines"
    VALUE = "value"
    OPPOSITE = "opposite"
    OTHER = "other"


def _best(old: Claim, claims: Sequence[Claim]) -> _Pair:
    """What the new idea's claims make of one of the earlier idea's."""
    order = list(_Pair)
    return min((_pair(old, claim) for claim in claims), key=order.index)


def _pair(old: Claim, new: Claim) -> _Pair:
    if not old.subject <= new.subject:
        return _Pair.OTHER
    if old.way.against(new.way):
        return _Pair.OPPOSITE
    sized = _compare_size(old, new)
    if sized is _Pair.SAME:
        return _Pair.SAME if old.subject == new.subject else _Pair.REFINES
    return sized


def _compare_size(old: Claim, new: Claim) -> _Pair:
    """Claims of one direction: the same size, another one, or one where there was none."""
    for mine, theirs in ((new.value, old.value), (new.factor, old.factor)):
        if mine is not None and theirs is not None:
            return _Pair.SAME if _close(mine, theirs) else _Pair.VALUE
    if old.is_bare and new.is_bare:
        return _Pair.SAME
    if old.is_bare or (_unsized(old) and old.way is new.way and not _unsized(new)):
        return _Pair.REFINES
    if _unsized(old) and _unsized(new) and old.way is new.way:
        return _Pair.SAME
    return _Pair.OTHER


def _unsized(claim: Claim) -> bool:
    return claim.value is None and claim.factor is None


def _close(a: float, b: float) -> bool:
    """Equal up to rounding: 262k is 2**18."""
    return a == b or abs(a - b) <= 0.002 * max(abs(a), abs(b))


def _band(low: float, high: float, share: float) -> float:
    return round(low + (high - low) * share, 3)


def _or_infinite(loss: float | None) -> float:
    return float("inf") if loss is None else loss


def _text(idea: Words) -> str:
    """What must be equal for two ideas to be one without reading them: description, family, tags."""
    return "\n".join((normalise(idea.description), normalise(idea.family), " ".join(sorted(idea.tags))))


def _same_hypothesis(idea: Words, prior: Words) -> bool:
    return not idea.hypothesis or normalise(idea.hypothesis) == normalise(prior.hypothesis)


def _same_family(idea: Words, prior: Words) -> bool:
    return bool(idea.family.strip()) and normalise(idea.family) == normalise(prior.family)


# --- failures that resemble each other --------------------------------------------------------------------------


def cluster(descriptions: Sequence[str]) -> list[list[int]]:
    """Group failed ideas by likeness to the first of each group, in order. Returns indices into `descriptions`."""
    readings = [Reading.of(text) for text in descriptions]
    groups: list[list[int]] = []
    sharing: dict[str, list[int]] = {}  # word -> groups whose first member says it: others score far below CLUSTER
    for index, reading in enumerate(readings):
        near = sorted({group for word in reading.words for group in sharing.get(word, ())})
        scores = {group: likeness(reading, readings[groups[group][0]]).score for group in near}
        best = max(near, key=scores.__getitem__, default=-1)
        if best >= 0 and scores[best] >= CLUSTER:
            groups[best].append(index)
        else:
            for word in reading.words:
                sharing.setdefault(word, []).append(len(groups))
            groups.append([index])
    return groups


def label(descriptions: Sequence[str]) -> str:
    """The three words that the texts share most; the first text where they have none."""
    counts: Counter[str] = Counter()
    for text in descriptions:
        # Once a text, however often it says the word; in alphabetical order, so that ties do not depend on hashing.
        counts.update(sorted({word for claim in read(text) for word in claim.subject}))
    common = [word for word, _ in counts.most_common(3)]
    return ", ".join(common) or " ".join(descriptions[0].split())
