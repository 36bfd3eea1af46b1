"""The words by which an idea is found again in a large memory: what a full-text index keeps, and what is looked for."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from nightlab.search.amounts import Way
from nightlab.search.changed import rendered
from nightlab.search.likeness import Reading, Words
from nightlab.search.pairs import target
from nightlab.search.words import NO_LEXICON, Lexicon, normalise
from nightlab.types import Change

TERMS_VERSION = "nt2"
"""Name of the form of `index_terms`. Change it whenever the terms of some text would change."""


def index_terms(words: Words, changes: Sequence[Change] = ()) -> tuple[str, ...]:
    """The terms under which an idea is kept in a full-text index, whatever the lab's knobs are called.

    Ideas that `assess` relates share at least one; the same idea in other words shares most.
    """
    reading = rendered(changes, Reading.of(words.description), NO_LEXICON)
    return tuple(dict.fromkeys([*_terms_of(reading), _digest(normalise(words.description))]))


def query_terms(words: Words, lexicon: Lexicon, changes: Sequence[Change] = ()) -> tuple[str, ...]:
    """The terms to look for, any of which may do; the most telling first."""
    plain = rendered(changes, Reading.of(words.description), NO_LEXICON)
    meant = rendered(changes, Reading.of(words.description, lexicon), lexicon)
    found = [_digest(normalise(words.description)), *_terms_of(plain), *_terms_of(meant)]
    return tuple(sorted(dict.fromkeys(found), key=lambda term: -term.count(".")))


def _terms_of(reading: Reading) -> list[str]:
    """Concepts, alone and as one; what is done to them; and all words, where nothing was understood."""
    out: list[str] = []
    for claim in (*reading.claims, *reading.wholes):
        names = sorted(_plain(name) for name in claim.subject | claim.choice | claim.marks)
        whole = ".".join(sorted(_plain(name) for name in claim.subject | claim.choice))[:80]
        goal = target(claim, None)
        if goal is not None:
            out.append(f"{whole}.to.{_plain(f'{goal:.3g}')}")
        if claim.factor is not None:
            out.append(f"{whole}.by.{_plain(f'{claim.factor:.2g}')}")
        if claim.way is not Way.UNSAID:
            out.append(f"{whole}.{claim.way.value}")
        out += [whole, *names, *(_plain(name) for name in sorted(claim.extra | claim.former))]
    if not reading.claims:
        out += [_plain(word) for word in sorted(reading.words)]
    return out


_ALLOWED = frozenset("abcdefghijklmnopqrstuvwxyz0123456789_")


def _plain(name: str) -> str:
    """A name in letters that every index takes: others by their digest."""
    text = name.lstrip("=").replace(".", "p").replace("-", "m").replace("+", "")
    return text if text and set(text) <= _ALLOWED else _digest(name)


def _digest(text: str) -> str:
    return f"u{zlib.crc32(text.encode('utf-8', 'surrogatepass')):08x}"
