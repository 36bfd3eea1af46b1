"""Techniques by what a text book's sentence says of them: "mix each token with the previous one" is a token shift.

A definition is a handful of words that must stand near each other, in any order. Where they do, the tokens between the
first and the last of them become the technique's own, so that the rest of the description is read as ever. The words
are data in `vocabulary.DEFINITIONS`; they are read by the same tokenizer as descriptions, so inflections and synonyms
need not be listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from nightlab.search import vocabulary as table
from nightlab.search.book import Kind, Token, book
from nightlab.search.tokens import words_as_tokens

SLACK = 9  # tokens that may stand between the words of a definition besides them
_BREAKS = frozenset({Kind.INSTEAD, Kind.PLUS})  # two sides of which never tell one thing
_LOOSE = frozenset({Kind.WORD, Kind.WEAK, Kind.AND, Kind.COMMA, Kind.WITH, Kind.COLON, Kind.FOR, Kind.FROM, Kind.TO,
                    Kind.BY, Kind.EQUALS, Kind.ON, Kind.SWITCH})  # fmt: skip
_IDLE = frozenset({Kind.WEAK, Kind.AND, Kind.COMMA, Kind.WITH, Kind.COLON, Kind.FOR, Kind.FROM, Kind.TO, Kind.BY})


class Definition(NamedTuple):
    """Words that together tell a technique, and the tokens that say it by name."""

    words: frozenset[str]
    means: tuple[Token, ...]
    also: frozenset[str]  # what other definitions of it, and the book, take for granted


@cache
def _known() -> dict[str, list[Definition]]:
    """Definitions by the rarest of their words, those with most words first."""
    found: list[Definition] = []
    for line in table.DEFINITIONS.replace("\n  ", " ").strip().splitlines():
        meant, _, rest = line.partition(":")
        means = tuple(_token(word) for word in meant.split())
        sets = [words for part in rest.split("|") if (words := _words_of(part.strip(), means))]
        taken = frozenset(word for token in means for word in book().implied.get(token.name, ()))
        also = taken.union(*sets)
        found += [Definition(words, means, also) for words in sets]
    count: dict[str, int] = {}
    for definition in found:
        for word in definition.words:
            count[word] = count.get(word, 0) + 1
    out: dict[str, list[Definition]] = {}
    for definition in sorted(found, key=lambda d: (-len(d.words), sorted(d.words))):
        out.setdefault(min(definition.words, key=lambda word: (count[word], word)), []).append(definition)
    return out


def _token(word: str) -> Token:
    """The token that a concept's name stands for."""
    if word.isdecimal():
        return Token(Kind.NUMBER, word, (float(word),))
    return concepts().get(word) or (Token(Kind.COMMA, ",") if word == "," else Token(Kind.PART, word))


@cache
def concepts() -> dict[str, Token]:
    """All concepts by their names."""
    return {token.name: token for entries in book().phrases.values() for _, token in entries}


def _words_of(phrase: str, means: Sequence[Token]) -> frozenset[str]:
    """The words of a definition; none where they would say too little, or only repeat the name.

    Two are enough where one of them is no concept of the field, or the table says so by "!".
    """
    found = [token for token in words_as_tokens(phrase.lstrip("!")) if token.kind not in _IDLE or token.name == "same"]
    found = [token for token in found if token.name != "tail"]
    words = frozenset(_key(token) for token in found)
    enough = len(words) > 2 or (len(words) == 2 and (phrase[0] == "!" or any(t.kind is Kind.WORD for t in found)))
    return words if enough and not words & {token.name for token in means if len(means) == 1} else frozenset()


def named(found: Sequence[Token]) -> tuple[list[Token], bool]:
    """The tokens with techniques by their names; and whether any was told by its definition."""
    known = _known()
    out, told = list(found), False
    for _ in range(3):  # what was found may be part of another
        here = {token.name for token in out}
        if not here.isdisjoint(_norms()):
            here.add("norm")
        if "0" in here:
            here.add("zero")
        fitting = [d for name in known.keys() & here for d in known[name] if d.words <= here]
        if not fitting:
            break
        fitting.sort(key=lambda d: (-len(d.words), sorted(d.words)))
        changed = next((new for d in fitting if (new := _put(out, d)) is not None), None)
        if changed is None:
            break
        out, told = changed, True
    return out, told


@cache
def _norms() -> frozenset[str]:
    return frozenset(name for name, slot in book().slots.items() if slot == "normtype")


def _key(token: Token) -> str:
    """How definitions know a token: a norm of any kind is a norm, and nought is zero."""
    if token.kind is Kind.CHOICE:
        return "norm" if book().slots.get(token.name) == "normtype" else token.name
    return "zero" if token.kind is Kind.NUMBER and token.values[0] == 0 and not token.unit else token.name


def _put(found: list[Token], definition: Definition) -> list[Token] | None:
    """The tokens with the technique in the place of its definition; None where its words stand too far apart."""
    start, end = _span(found, definition.words)
    if end < 0:
        return None
    inside = [
        token for token in found[start : end + 1] if _key(token) not in definition.also and token.kind not in _LOOSE
    ]
    if any(token.kind is Kind.PROPERTY or token.kind is Kind.INSTEAD for token in inside):
        return None  # something else is moved there
    return [*found[:start], *definition.means, *inside, *found[end + 1 :]]


def _span(found: list[Token], words: frozenset[str]) -> tuple[int, int]:
    """The shortest stretch that has all the words; (0, -1) where none is short enough."""
    best = (0, -1)
    moves = any(token.kind is Kind.SWITCH for token in found)  # "move the norm from before A to after B"
    breaks = _BREAKS | {Kind.FROM, Kind.TO} if moves else _BREAKS
    last: dict[str, int] = {}
    for at, token in enumerate(found):
        if token.kind in breaks and token.name not in words:
            last.clear()
        elif _key(token) in words:
            last[_key(token)] = at
            if len(last) == len(words):
                start = min(last.values())
                if at - start < len(words) + SLACK and (best[1] < 0 or at - start < best[1] - best[0]):
                    best = (start, at)
    return best
