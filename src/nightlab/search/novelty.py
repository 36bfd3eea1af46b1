"""Whether an idea has been tried before, and what the mode of work says about trying it again.

Pure. Ideas are compared as changes: from source where both have one (`changed`), else as their words are read
(`likeness`). A text that shares nothing with another is never held against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from nightlab.search.changed import by_changes, comparable, rendered
from nightlab.search.clusters import CLUSTER, cluster, label
from nightlab.search.likeness import Likeness, Reading, Relation, Words, likeness
from nightlab.search.terms import TERMS_VERSION, index_terms, query_terms
from nightlab.search.words import NO_LEXICON, Lexicon, normalise
from nightlab.types import Change

__all__ = [
    "CLUSTER", "TERMS_VERSION", "Category", "Guard", "Likeness", "Match", "Mode", "Policy", "Prior", "Reading",
    "Relation", "Words", "assess", "cluster", "index_terms", "label", "likeness", "policy", "query_terms",
]  # fmt: skip

FAMILY_BONUS = 0.08  # ideas of one family are listed this far below the threshold

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior(Generic[T]):
    """An idea with a result. `item` is the caller's own record of it."""

    item: T
    words: Words
    kept: bool  # else it was discarded or crashed
    loss: float | None  # lower is better
    source: str = ""  # source hash, if known
    changes: tuple[Change, ...] = ()  # what it changed in its base, if known
    base: str = ""  # source hash of what it changed


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
_ON_NEW_BASE = "the same change is on record, but on another base: what it does here is not known"


def policy(mode: Mode, category: Category) -> tuple[Policy, str]:
    """What the mode says to an idea of that category, and why in one sentence."""
    return _POLICY[mode][category]


_NEAR: Mapping[Mode, str] = {
    Mode.EXPLORE: "what comes nearest on record is another idea",
    Mode.EXPLOIT: "what comes nearest on record is another idea, so this is exploring under another name",
    Mode.REPLICATE: "what comes nearest on record is another idea, so there is nothing that it could replicate",
}
"""Reasons where nothing is the same and something is listed all the same."""


def assess(
    idea: Words,
    priors: Iterable[Prior[T]],
    *,
    mode: Mode,
    threshold: float,
    source: str = "",
    changes: tuple[Change, ...] = (),
    base: str = "",
    lexicon: Lexicon = NO_LEXICON,
) -> Guard[T]:
    """Compare an idea with everything on record.

    Args:
        idea: what somebody wants to try, or has tried.
        priors: ideas with a result.
        mode: how they mean to work.
        threshold: score from which a prior idea counts as close, before the mode's adjustment.
        source: hash of the idea's source, if there is one: the same source is a duplicate whatever it is called.
        changes: what that source changes in its base.
        base: hash of that base: the same change to another one is the same idea, but not blocked.
        lexicon: the lab's knobs.
    """
    effective = min(max(threshold + mode.adjustment, 0.0), 0.99)
    here = _Idea(idea, changes, base, source, lexicon)
    matches = []
    for prior in priors:
        match = _match(here, prior)
        near = idea.family.strip() and _same_family(idea, prior.words)
        bar = max(0.0, effective - FAMILY_BONUS) if near else effective
        if match.score >= bar or match.category is Category.DUPLICATE_RUN:
            matches.append(match)
    order = {category: place for place, category in enumerate(Category)}
    matches.sort(key=lambda m: (order[m.category], -m.score, _or_infinite(m.prior.loss)))
    category = matches[0].category if matches else Category.NOVEL
    decision, rationale = policy(mode, category)
    deciding = [match for match in matches if match.category is category]
    if decision is Policy.BLOCK and deciding and all(match.relation is Relation.NEW_BASE for match in deciding):
        decision, rationale = Policy.CAUTION, _ON_NEW_BASE
    elif category is Category.NOVEL and matches:
        rationale = f"{_NEAR[mode]}: {matches[0].why}"
    return Guard(
        mode=mode, threshold=effective, category=category, policy=decision, rationale=rationale, matches=tuple(matches)
    )


class _Idea:
    """The idea that is asked about, read once."""

    def __init__(self, words: Words, changes: tuple[Change, ...], base: str, source: str, lexicon: Lexicon) -> None:
        self.words, self.changes, self.base, self.source, self.lexicon = words, changes, base, source, lexicon
        self.text = _text(words)
        self.says = bool(self.text.strip())  # what says nothing repeats nothing
        self.reading = Reading.of(words.description, lexicon)
        self.rendered = rendered(changes, self.reading, lexicon)


def _match(here: _Idea, prior: Prior[T]) -> Match[T]:
    if here.source and here.source == prior.source:
        return _made(prior, Category.DUPLICATE_RUN, Likeness(Relation.SAME, 1.0, "the source is the same"))
    found: Likeness | None = None
    if comparable(here.changes, prior.changes):
        moved = bool(here.base and prior.base and here.base != prior.base)
        found = by_changes(here.changes, prior.changes, on_new_base=moved)
    if here.says and here.text == _text(prior.words) and _same_hypothesis(here.words, prior.words):
        if found is None:
            return _made(prior, Category.DUPLICATE_RUN, Likeness(Relation.SAME, 1.0, "the text is the same"))
        if found.relation.is_same_idea:
            return _made(prior, Category.DUPLICATE_RUN, Likeness(found.relation, 1.0, found.why))
    if found is None:
        found = _by_words(here, prior)
    if found.relation.is_same_idea and not prior.kept:
        return _made(prior, Category.REPEAT_FAILURE, found)
    if prior.kept and (found.relation.is_same_idea or found.relation is Relation.REFINEMENT):
        near = _same_family(here.words, prior.words)
        return _made(prior, Category.INCREMENTAL_FOLLOWUP if near else Category.KNOWN_SUCCESS, found)
    return _made(prior, Category.NOVEL, found)


def _by_words(here: _Idea, prior: Prior[T]) -> Likeness:
    """What is said of both; where one side's source is known too, that may show a sameness which words hide."""
    there = Reading.of(prior.words.description, here.lexicon)
    found = likeness(here.reading, there)
    if bool(prior.changes) is bool(here.changes) or found.relation in (Relation.SAME, Relation.OPPOSITE):
        return found
    if prior.changes:
        known = likeness(here.reading, rendered(prior.changes, there, here.lexicon))
    else:
        known = likeness(here.rendered, there)
    return max(found, known, key=lambda one: (one.relation.is_same_idea, one.score))


def _made(prior: Prior[T], category: Category, found: Likeness) -> Match[T]:
    return Match(
        prior=prior, category=category, relation=found.relation, same_idea=found.relation.is_same_idea,
        score=found.score, why=found.why,
    )  # fmt: skip


def _or_infinite(loss: float | None) -> float:
    return float("inf") if loss is None else loss


def _text(idea: Words) -> str:
    """What must be equal for two ideas to be one without reading them: description, family, tags."""
    return "\n".join((normalise(idea.description), normalise(idea.family), " ".join(sorted(idea.tags))))


def _same_hypothesis(idea: Words, prior: Words) -> bool:
    return not idea.hypothesis or normalise(idea.hypothesis) == normalise(prior.hypothesis)


def _same_family(idea: Words, prior: Words) -> bool:
    return bool(idea.family.strip()) and normalise(idea.family) == normalise(prior.family)
