"""Failed ideas that resemble each other, in groups, and what to call a group."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from nightlab.search.book import book, stem
from nightlab.search.likeness import Reading, likeness
from nightlab.search.words import NO_LEXICON, Lexicon, read

CLUSTER = 0.60  # a failure joins others from this score on


def cluster(descriptions: Sequence[str], lexicon: Lexicon = NO_LEXICON) -> list[list[int]]:
    """Group failed ideas by likeness to the first of each group, in order. Returns indices into `descriptions`."""
    readings = [Reading.of(text, lexicon) for text in descriptions]
    groups: list[list[int]] = []
    sharing: dict[str, list[int]] = {}  # word -> groups whose first member says it: others score far below CLUSTER
    for index, reading in enumerate(readings):
        keys = sorted(_keys(reading))
        near = sorted({group for key in keys for group in sharing.get(key, ())})
        scores = {group: likeness(reading, readings[groups[group][0]]).score for group in near}
        best = max(near, key=scores.__getitem__, default=-1)
        if best >= 0 and scores[best] >= CLUSTER:
            groups[best].append(index)
        else:
            for key in keys:
                sharing.setdefault(key, []).append(len(groups))
            groups.append([index])
    return groups


def _keys(reading: Reading) -> frozenset[str]:
    """What two readings must share to be alike."""
    found: set[str] = set() if reading.claims else set(reading.words)
    for claim in reading.claims:
        found |= claim.measures or claim.subject or claim.choice
    return frozenset(found)


def label(descriptions: Sequence[str]) -> str:
    """The three things that the texts speak of most, as they spell them; the first text where they have none."""
    counts: Counter[str] = Counter()
    spelt = dict(book().spelt)
    for text in descriptions:
        found = {name.lstrip("=") for claim in read(text) for name in claim.subject | claim.choice}
        for word in _WORD.findall(text.lower()):
            spelt.setdefault(stem(word), word)
        # Once a text, however often it says the word; in alphabetical order, so that ties do not depend on hashing.
        counts.update(sorted(name for name in found if len(name) > 1))
    common = [spelt.get(word, word) for word, _ in counts.most_common(3)]
    return ", ".join(common) or " ".join(descriptions[0].split())


_WORD = re.compile(r"[a-z]+")
