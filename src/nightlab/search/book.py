"""The vocabulary, compiled for looking up: stems, phrases, and what each of them is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import IntEnum, auto
from functools import cache, lru_cache
from typing import NamedTuple

from nightlab.search import vocabulary as table


class Kind(IntEnum):
    PROPERTY = auto()  # what can be more or less: "lr"
    PART = auto()  # what it belongs to, or a thing of its own: "embedding"
    CHOICE = auto()  # one of several kinds: "gelu"
    MARK = auto()  # what narrows a change down: "last"
    WORD = auto()  # any other word
    WEAK = auto()  # says nothing alone: "size"
    UP = auto()
    DOWN = auto()
    ON = auto()
    OFF = auto()
    SWITCH = auto()
    SCALE = auto()  # multiply, divide
    NUMBER = auto()
    ROW = auto()  # (0.8, 0.99)
    FROM = auto()
    TO = auto()
    EQUALS = auto()
    BY = auto()
    INSTEAD = auto()
    AND = auto()
    COMMA = auto()
    COMPLEMENT = auto()  # "1 - gamma"
    WITH = auto()
    COLON = auto()
    FOR = auto()  # "swap A for B"
    PLUS = auto()


class Token(NamedTuple):
    kind: Kind
    name: str
    values: tuple[float, ...] = ()  # of a number: its reading, and another one if it has two ("1M"); of a row: all
    unit: str = ""  # "%", "x" (times), "+" or "-" (a signed number), "/" (a part: "half")
    shown: str = ""  # the constant's name that the token begins, as it was written


_Slots = dict[str, str]


class Book(NamedTuple):
    """The vocabulary, ready for looking up."""

    phrases: dict[
        str, list[tuple[tuple[str, ...], Token]]
    ]  # first stem -> (the other stems, what it is), longest first
    slots: _Slots  # member of a choice -> what is chosen
    implied: dict[str, frozenset[str]]
    fusions: dict[str, list[tuple[int, frozenset[str], frozenset[str]]]]  # by the first of their words; place in order
    shared: frozenset[str]  # measures that many things have
    places: frozenset[str]  # parts that tell no idea by themselves
    weak: frozenset[str]  # words for an amount of whatever else is told
    learnt: frozenset[str]  # parameters, which are learnable anyway
    exclusive: frozenset[frozenset[str]]  # pairs of which one gives up the other
    spelt: dict[str, str]  # a concept -> its name in words
    near: dict[tuple[str, int], list[str]]  # long stems by first letter and length, for slips of the pen


# --- stems ------------------------------------------------------------------------------------------------------

_STEMS = {
    "added": "add", "adding": "add", "odd": "odd",
    "same": "same",
    "tie": "ti", "ties": "ti", "tied": "ti", "untie": "unti", "unties": "unti", "untied": "unti", "note": "note",
    "probe": "probe", "probes": "probe", "probing": "probe", "cute": "cute", "scrape": "scrape", "bare": "bare",
    "matrices": "matrix", "indices": "index", "indexes": "index", "tying": "ti", "untying": "unti", "data": "data",
    "embed": "embed", "embeds": "embed", "embedded": "embed", "speed": "speed", "seed": "seed", "seeds": "seed",
    "need": "need", "feed": "feed", "during": "during", "bias": "bias", "this": "this", "its": "its",
    "eps": "eps", "has": "has", "string": "string", "strings": "string", "ring": "ring", "biases": "bias",
    "vertices": "vertex", "chosen": "choos", "learnt": "learn", "used": "us", "hundred": "hundred",
    "axes": "axis", "vs": "vs", "gas": "gas", "ns": "ns", "bs": "bs", "os": "os", "lens": "len", "series": "series",
    "higher": "higher", "one": "one", "zero": "zero", "zeros": "zero", "zeroes": "zero", "dos": "do", "sensed": "sens",
    "thing": "thing", "nothing": "nothing", "something": "something", "string's": "string", "red": "red",
    "caches": "cach", "always": "always", "halves": "half", "analysis": "analysis", "shrunk": "shrink",
    "grew": "grow", "grown": "grow", "rose": "rais", "written": "write", "frozen": "freez", "froze": "freez",
    "swapped": "swap", "cuda": "cuda", "whilst": "while", "bound": "bound", "lowest": "lowest",
}  # fmt: skip
_DOUBLED = re.compile(r"([b-df-hj-km-np-rt-y])\1$")  # "clipp", but not "full" and "less"
_IZE = re.compile(r"(?<=\w{3})i[sz](?:e[drs]?|es|ers?|ing|ations?)$")  # normalise, normalized, normalisation
_NOT_IZE_TEXT = (
    "raise raised raises raising noise noised precise rise rising otherwise size sized sizes sizing "
    "resize resized concise exercise wise elementwise layerwise pairwise depthwise stepwise promise "
    "premise likewise optimizer optimiser optimizers tokenizer seize prize noises rises wiser "
)
_NOT_IZE = frozenset(_NOT_IZE_TEXT.split())


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """A word without its inflection, British spelling as American. Only good for comparing with other stems."""
    known = _STEMS.get(word)
    if known is not None:
        return known
    if len(word) < 4 or not word.isascii() or word[-1].isdigit():
        return word
    if word not in _NOT_IZE and (found := _IZE.search(word)):
        return word[: found.start()] + "iz"
    word = _verb(_singular("color" if word.endswith("colour") else word))
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "sses", "zes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us", "is", "ias")) else word


def _verb(word: str) -> str:
    if word.endswith("ing") and len(word) > 5:
        return _DOUBLED.sub(r"\1", word[:-3])
    if word.endswith("ed") and len(word) > 4 and not word.endswith("eed"):
        return _DOUBLED.sub(r"\1", word[:-2])
    return word


# --- the book ---------------------------------------------------------------------------------------------------


def _lines(text: str) -> Iterator[tuple[str, str]]:
    for line in text.replace("\n  ", " ").strip().splitlines():
        name, _, rest = line.partition(":")
        yield name.strip(), rest.strip()


def _words(text: str) -> Iterator[str]:
    return (word.replace("_", " ") for word in text.split())


@cache
def book() -> Book:
    """The vocabulary of `table`, compiled once, when the first description is read."""
    found: dict[str, Token] = {}  # phrase -> what it is; an earlier entry wins
    spelt: dict[str, str] = {}
    slots: dict[str, str] = {}
    for text, kind in ((table.PROPERTIES, Kind.PROPERTY), (table.PARTS, Kind.PART), (table.MARKS, Kind.MARK)):
        for name, rest in _lines(text):
            token, phrases = Token(kind, name.replace(" ", "")), [name, *_listed(rest, "|")]
            spelt[token.name] = next((p for p in phrases[1:] if p.replace(" ", "") == token.name), name)
            for phrase in phrases:
                found.setdefault(phrase, token)
    for slot, rest in _lines(table.CHOICES):
        for entry in _listed(rest, "|"):
            name, _, more = entry.partition("=")
            member = name.strip().replace(" ", "")
            slots[member] = slot
            for phrase in (name.strip(), *_listed(more, ",")):
                found.setdefault(phrase, Token(Kind.CHOICE, member))
    for phrase, token in _plain_words():
        found.setdefault(phrase, token)
    phrases_by_stem, near = _by_stem(found)
    return Book(
        phrases=phrases_by_stem,
        slots=slots,
        implied={name: frozenset(rest.split()) for name, rest in _lines(table.IMPLIED)},
        fusions=_fusions(),
        shared=frozenset(table.SHARED.split()),
        places=frozenset(table.PLACES.split()),
        weak=frozenset(table.MEASURES.replace("_", " ").split()),
        learnt=frozenset(table.LEARNT.split()),
        exclusive=frozenset(frozenset(pair.split()) for pair in table.EXCLUSIVE.split(",")),
        spelt=spelt,
        near=near,
    )


def _listed(text: str, separator: str) -> list[str]:
    return [item.strip() for item in text.split(separator) if item.strip()]


def _plain_words() -> Iterator[tuple[str, Token]]:
    """Directions, numbers, joins and fillers, in the order of their weight."""
    for text, kind in ((table.UP, Kind.UP), (table.DOWN, Kind.DOWN), (table.ON, Kind.ON), (table.OFF, Kind.OFF)):
        yield from ((phrase, Token(kind, phrase)) for phrase in _words(text))
    for text, kind in ((table.OFF_TAILS, Kind.OFF), (table.ON_TAILS, Kind.ON)):
        yield from ((word, Token(kind, "tail" if word in ("on", "off") else word)) for word in _words(text))
    yield from ((phrase, Token(Kind.SWITCH, phrase)) for phrase in _words(table.SWITCH))
    for text, unit in ((table.FACTORS, "x"), (table.FRACTIONS, "/"), (table.NUMBERS, "")):
        items = text.split()
        for word, number in zip(items[::2], items[1::2], strict=True):
            yield word, Token(Kind.NUMBER, word, (float(number),), unit)
    yield from ((phrase, Token(kind, phrase)) for phrase, kind in _GRAMMAR.items())
    yield from ((phrase, Token(Kind.WEAK, phrase)) for phrase in _words(table.MEASURES))
    yield from ((phrase, NOTHING) for phrase in _words(table.FILLERS + table.RESULTS))


def _by_stem(
    found: dict[str, Token],
) -> tuple[dict[str, list[tuple[tuple[str, ...], Token]]], dict[tuple[str, int], list[str]]]:
    """Phrases by the stem of their first word, the longest first; and long stems by first letter and length."""
    phrases: dict[str, list[tuple[tuple[str, ...], Token]]] = {}
    long: dict[str, None] = {}
    seen: set[tuple[str, ...]] = set()
    for phrase, token in found.items():
        stems = tuple([stem(word) for word in phrase.split() if word not in ARTICLES or phrase == word])
        if stems in seen:
            continue
        seen.add(stems)
        phrases.setdefault(stems[0], []).append((stems[1:], token))
        for word in stems:
            if len(word) >= LONG - 1:
                long[word] = None
    for entries in phrases.values():
        if len(entries) > 1:
            entries.sort(key=lambda entry: -len(entry[0]))
    near: dict[tuple[str, int], list[str]] = {}
    for word in long:
        near.setdefault((word[0], len(word)), []).append(word)
    return phrases, near


def _fusions() -> dict[str, list[tuple[int, frozenset[str], frozenset[str]]]]:
    fusions: dict[str, list[tuple[int, frozenset[str], frozenset[str]]]] = {}
    for place, line in enumerate(table.FUSIONS.strip().splitlines()):
        left, _, right = line.partition("=")
        fusions.setdefault(left.split()[0], []).append((place, frozenset(left.split()), frozenset(right.split())))
    return fusions


LONG = 6  # letters from which a word may be mended: short ones are too close to each other
ARTICLES = frozenset({"a", "an", "the", "our", "its", "your", "my"})
NOTHING = Token(Kind.WEAK, "")
_GRAMMAR = {
    "from": Kind.FROM, "was": Kind.FROM, "were": Kind.FROM, "to": Kind.TO, "into": Kind.TO, "by": Kind.BY,
    "instead of": Kind.INSTEAD, "rather than": Kind.INSTEAD, "in place of": Kind.INSTEAD, "vs": Kind.INSTEAD,
    "versus": Kind.INSTEAD, "in lieu of": Kind.INSTEAD, "as opposed to": Kind.INSTEAD, "insteadof": Kind.INSTEAD,
    "and": Kind.AND, "or": Kind.AND, "as well as": Kind.AND, "with": Kind.WITH, "plus": Kind.PLUS, "then": Kind.PLUS,
    "while": Kind.PLUS, "combined with": Kind.PLUS, "together with": Kind.PLUS, "along with": Kind.PLUS,
    "alongside": Kind.PLUS, "on top of": Kind.PLUS, "but": Kind.PLUS, "using": Kind.WITH, "via": Kind.WITH,
    "multiply": Kind.SCALE, "multiplied": Kind.SCALE, "scale": Kind.SCALE, "rescale": Kind.SCALE, "divide": Kind.SCALE,
    "for": Kind.FOR, "complementof": Kind.COMPLEMENT, "as": Kind.WEAK, "extra": Kind.WEAK, "additional": Kind.WEAK,
    "same": Kind.WEAK, "at": Kind.WEAK, "of": Kind.WEAK, "up from": Kind.FROM, "down from": Kind.FROM,
    "compared to": Kind.INSTEAD, "compared with": Kind.INSTEAD, "and then": Kind.PLUS, "in addition to": Kind.PLUS,
}  # fmt: skip


@lru_cache(maxsize=4096)
def mended(word: str) -> str:
    """The known stem that a misspelt long word stands for, or the word itself. The first letter is rarely wrong."""
    if len(word) < LONG - 1 or not word.isascii() or not word.isalpha():
        return word
    here = book()
    for known in here.near.get((word[0], len(word) + 1), ()):  # one letter too few
        if len(known) >= LONG and _is_cut(word, known):
            return known
    for known in here.near.get((word[0], len(word) - 1), ()):  # one too many
        if known in here.phrases and _is_cut(known, word):
            return known
    for known in here.near.get((word[0], len(word)), ()):
        if len(known) >= LONG and _is_slip(word, known):
            return known
    return word


def _is_cut(short: str, long: str) -> bool:
    """Whether one letter less, but the first, makes the one of the other."""
    at = next((i for i, letter in enumerate(short) if letter != long[i]), len(short))
    return at > 0 and short[at:] == long[at + 1 :]


def _is_slip(word: str, known: str) -> bool:
    """Whether one letter is wrong, or two stand in each other's place."""
    at = next((i for i, letter in enumerate(word) if letter != known[i]), 0)
    if not at:
        return False
    if word[at + 1 :] == known[at + 1 :]:
        return True
    return word[at : at + 2] == known[at + 1 : at - 1 : -1] and word[at + 2 :] == known[at + 2 :]
