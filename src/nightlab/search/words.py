"""An idea's words read as changes: what is moved, which way, to what value.

Only what is plain is read: a verb or comparative gives the direction, numbers give the value, the rest names the
subject. What cannot be read keeps its words, and two such texts are the same only if their words are.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace
from enum import StrEnum


class Way(StrEnum):
    """Which way a subject is moved."""

    UNSAID = ""
    UP = "up"
    DOWN = "down"
    ON = "on"
    OFF = "off"

    def against(self, other: Way) -> bool:
        """Whether the two contradict each other."""
        return {self, other} in ({Way.UP, Way.DOWN}, {Way.ON, Way.OFF}, {Way.UP, Way.OFF})


@dataclass(frozen=True, slots=True)
class Claim:
    """One change that a text speaks of."""

    subject: frozenset[str]
    way: Way = Way.UNSAID
    value: float | None = None  # what it is set to
    factor: float | None = None  # what it is multiplied with

    @property
    def is_bare(self) -> bool:
        """Whether nothing is said of direction or size."""
        return self.way in (Way.UNSAID, Way.ON) and self.value is None and self.factor is None


_WAYS: dict[Way, str] = {
    Way.UP: "increase increasing increased raise raising raised higher more larger bigger greater longer extend "
    "lengthen widen wider deepen deeper boost bump grow enlarge up double triple stronger faster",
    Way.DOWN: "decrease decreasing decreased lower lowering lowered reduce reducing reduced less fewer smaller shorter "
    "shorten shortening shrink narrow narrower shallower cut down halve weaker slower",
    Way.ON: "enable enabling add adding introduce tie",
    Way.OFF: "disable disabling remove removing drop dropping delete without eliminate omit off no untie",
}
_WAY_OF = {word: way for way, words in _WAYS.items() for word in words.split()}
_SUBJECTS_TOO = {"tie": "tie", "untie": "tie"}  # verbs that also say what is changed
_FACTORS = {"double": 2.0, "triple": 3.0, "halve": 0.5}
_EMPTY_TEXT = (
    "a an the of to in on at by for from as is be it its into this that we will our use using set setting try trying "
    "test change changing make making size number count training model network transformer"
)
_EMPTY = frozenset(_EMPTY_TEXT.split())
# Words whose neighbours may not change places.
_ORDERED_TEXT = "before after instead rather than over into between replace replacing swap swapping versus vs"
_ORDERED = frozenset(_ORDERED_TEXT.split())
# Several spellings of one thing. Compounds that only people's words have; constants' names are cut at underscores.
_SAME_THING = tuple(
    (re.compile(rf"\b(?:{pattern})\b"), name)
    for pattern, name in (
        (r"(?:learning|step)[\s_-]?(?:rate|size)s?|lrs", "lr"),
        (r"(?:cool|warm|ramp)[\s_-]?downs?", "warmdown"),
        (r"(?:warm|ramp)[\s_-]?ups?", "warmup"),
        (r"muon[\s_]lr", "matrix lr"),
        (r"batch[\s_-]sizes?", "batch"),
        (r"(?:gradient|grad)[\s_-]accum(?:ulation)?", "accumulation"),
        (r"(?:gradient|grad)[\s_-](?:norm[\s_-])?clip(?:ping)?", "gradient clip"),
        (r"head[\s_-]dim(?:ension)?s?", "head dim"),
        (r"(?:wte|token embeddings?)", "embedding"),
        (r"aspect[\s_]ratio", "aspect"),
        (r"(warmup|warmdown)[\s_]ratio", r"\1"),
    )
)
_TOKEN = re.compile(
    r"(?P<to>->|=>|\u2192|\bto\b)|(?P<join>[;,&]|\s\+\s|\band\b)|(?P<with>\b(?:with|then|while|plus)\b)|(?P<by>\bby\b)"
    r"|(?P<number>(?<![\w.])[-+]?(?:\d[\d_]*\.?\d*|\.\d+)(?:e[-+]?\d+)?(?:\*\*\d+)?)(?P<unit>%|[kmx]\b)?"
    r"|(?P<word>[^\W\d]\w*)"
)
_UNITS = {"%": 0.01, "k": 1e3, "m": 1e6, "x": 1.0, "": 1.0}


def normalise(text: str) -> str:
    """Lower case, one space between words, one spelling for hyphens and things with several names."""
    text = re.sub(r"(?<=[^\W\d_])-(?=[^\W\d_])", " ", text.lower())
    for pattern, name in _SAME_THING:
        text = pattern.sub(name, text)
    return " ".join(text.split())


def words(text: str) -> frozenset[str]:
    """The words and numbers that carry meaning, directions left in."""
    found = [m for m in _TOKEN.finditer(normalise(text)) if m["word"] or m["number"]]
    return frozenset(w for m in found for w in (_stems(m["word"]) if m["word"] else [m["number"]])) - _EMPTY


def read(text: str) -> tuple[Claim, ...]:
    """The changes that a description speaks of, in its order."""
    claims: list[Claim] = []
    clause = _Clause()
    for match in _TOKEN.finditer(normalise(text)):
        if match["join"] or match["with"]:
            claims.append(clause.claim())
            # "increase A and B" moves both; "more A with B" says nothing of how B moves
            clause = _Clause(inherited=clause.way if match["join"] else Way.UNSAID)
        else:
            clause.take(match)
    claims.append(clause.claim())
    return tuple(claim for claim in claims if claim.subject)


class _Clause:
    """A clause under way."""

    def __init__(self, inherited: Way = Way.UNSAID) -> None:
        self.way = Way.UNSAID
        self._inherited = inherited
        self._subject: list[str] = []
        self._numbers: list[float] = []
        self._factor: float | None = None
        self._by = False
        self._moves = False  # "0.04 -> 0.06": the first number is where it comes from
        self._to = False

    def take(self, match: re.Match[str]) -> None:
        if match["to"]:
            self._to = True
            self._moves = len(self._numbers) == 1
        elif match["by"]:
            self._by = True
        elif match["number"]:
            self._take_number(match["number"], match["unit"] or "")
        elif match["word"] in _WAY_OF and self.way is Way.UNSAID:
            self.way = _WAY_OF[match["word"]]
            self._factor = _FACTORS.get(match["word"], self._factor)
            self._subject += [_SUBJECTS_TOO[match["word"]]] if match["word"] in _SUBJECTS_TOO else []
        elif match["word"] and _WAY_OF.get(match["word"]) is not self.way:
            self._subject += _stems(match["word"])

    def _take_number(self, text: str, unit: str) -> None:
        number = _number(text) * _UNITS[unit]
        if unit == "x":
            self._factor = number
        elif self._by:
            self._factor = _relative(number, unit == "%", down=self.way in (Way.DOWN, Way.OFF))
        else:
            self._numbers.append(number)

    def claim(self) -> Claim:
        subject = frozenset(self._subject) - _EMPTY
        if subject & _ORDERED or (self._to and not self._numbers and len(subject) > 1):
            subject = frozenset({" ".join(word for word in self._subject if word not in _EMPTY)})
        way, factor, value = self.way, self._factor, None
        if len(self._numbers) == 2 and self._moves:
            old, value = self._numbers
            way = Way.UP if value > old else Way.DOWN if value < old else way
            factor = value / old if old else factor
        elif len(self._numbers) == 1:
            value = self._numbers[0]
        elif self._numbers:
            subject |= {f"{number:g}" for number in self._numbers}
        claim = Claim(subject, way, value, factor)
        self.way = way if way is not Way.UNSAID else self._inherited
        return replace(claim, way=self._inherited) if claim.is_bare and way is Way.UNSAID else claim


def _relative(number: float, is_share: bool, *, down: bool) -> float:
    """The factor of "by 20%" and "by 2"."""
    if is_share:
        return 1 - number if down else 1 + number
    return 1 / number if down and number else number


def _stems(word: str) -> list[str]:
    parts = [part for part in word.split("_") if part]
    return [p[:-1] if len(p) > 3 and p.endswith("s") and not p.endswith(("ss", "us")) else p for p in parts]


def _number(text: str) -> float:
    base, _, power = text.replace("_", "").partition("**")
    try:
        return float(base) ** int(power) if power else float(base)
    except (ValueError, OverflowError):
        return math.inf
