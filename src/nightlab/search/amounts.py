"""The numbers of a clause: where a knob is said to stand, where it goes, by what ratio or by how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from nightlab.search.book import Kind, Token
from nightlab.search.clauses import AMOUNT, DIRECTIONS, LINKS, SUBJECT, has


class Way(StrEnum):
    """Which way a subject is moved."""

    UNSAID = ""
    UP = "up"
    DOWN = "down"
    ON = "on"
    OFF = "off"

    def against(self, other: Way) -> bool:
        """Whether the two contradict each other."""
        return (self, other) in _AGAINST


_AGAINST = frozenset(
    pair for a, b in ((Way.UP, Way.DOWN), (Way.ON, Way.OFF), (Way.UP, Way.OFF)) for pair in ((a, b), (b, a))
)
WAYS = {Kind.UP: Way.UP, Kind.DOWN: Way.DOWN, Kind.ON: Way.ON, Kind.OFF: Way.OFF}


@dataclass(slots=True)
class Sizes:
    """The numbers of a clause, by what they are."""

    base: float | None = None
    value: float | None = None
    others: tuple[float, ...] = ()  # other readings of the value
    factor: float | None = None
    delta: float | None = None
    is_part: bool = False  # the ratio stands in front of what it is a part of: "a tenth of the peak"
    is_set: bool = False  # the value stands behind "to", an arrow or "="

    def turn_over(self) -> None:
        """What is said of one minus the subject, said of the subject."""
        if self.base is not None and self.value is None and self.factor is not None:
            self.value = self.base * self.factor
        self.value = None if self.value is None else 1 - self.value
        self.base = None if self.base is None else 1 - self.base
        self.factor = None


def way_of(clause: Sequence[Token]) -> Way:
    """The direction that the clause's first verb or comparative gives."""
    return next((WAYS[token.kind] for token in clause if token.kind in WAYS), Way.UNSAID)


def shares(part: float, whole: float) -> tuple[float, ...]:
    """The other reading of "2% of 5000" and of "64 of 128"."""
    if 0 < part < 1 < whole:
        return (part * whole,)
    return (part / whole,) if 0 < part < whole else ()


def sizes_of(clause: Sequence[Token]) -> Sizes:
    """Place the numbers of a clause."""
    placing = _Placing(clause)
    for at, token in enumerate(clause):
        if token.kind in LINKS:
            placing.take_link(at, token)
        elif token.kind is Kind.NUMBER:
            placing.take_number(at, token)
        elif token.kind is not Kind.MARK or not token.values:
            placing.pass_by(token)
    return placing.sizes


_COUNTS = frozenset({"layer", "nssteps", "depth", "heads", "kvheads", "experts", "epochs"})
_MORE = frozenset({"more", "fewer", "less", "extra", "additional"})
_EXTENTS = frozenset({"size", "length", "number", "count", "value", "amount"})
_SHARES = frozenset({"labelsmooth", "dropout", "droppath"})
_COUNTING = frozenset({"add", "insert", "remove", "drop", "append", "delete", "cut"})


class _Placing:
    """A clause whose numbers are being placed, from left to right."""

    def __init__(self, clause: Sequence[Token]) -> None:
        self.sizes = Sizes()
        self._clause = clause
        self._link: Kind | None = None  # "to", "from", "by" ... in front of the number
        self._way = way_of(clause)
        scale = next((token for token in clause if token.kind is Kind.SCALE), None)
        self._scales = scale is not None
        self._divides = scale is not None and scale.name.startswith("divid")
        compared = next((token.kind for token in clause if token.kind in (Kind.UP, Kind.DOWN)), None)
        self._down = self._way in (Way.DOWN, Way.OFF) or self._divides or compared is Kind.DOWN

    def take_link(self, at: int, token: Token) -> None:
        sizes = self.sizes
        leads = token.kind is Kind.TO and has(self._clause[at + 1 :], AMOUNT)  # but not "0.1 to every block"
        if leads and sizes.value is not None and sizes.base is None and not sizes.is_set:
            sizes.base, sizes.value, sizes.others = sizes.value, None, ()
        elif token.name == "->" and sizes.factor is not None and sizes.value is None:
            before = self._clause[at - 1]
            if before.kind is Kind.NUMBER and before.unit == "x":  # "MLP 4x -> 3x"
                sizes.base, sizes.factor = before.values[0], None
        self._link = token.kind

    def pass_by(self, token: Token) -> None:
        """Anything between a link and its number: words may stand there, but not after "=" or "by"."""
        held = self._link in (Kind.FROM, Kind.INSTEAD, Kind.BY, Kind.TO) and token.kind not in DIRECTIONS
        if self._link is Kind.EQUALS or (held and not (self._link is Kind.BY and token.kind in SUBJECT)):
            return
        self._link = None

    def take_number(self, at: int, token: Token) -> None:
        number, unit = token.values[0], token.unit
        before, after = self._beside(at)
        sizes = self.sizes
        if unit == "/":
            self._take_part(at, number)
        elif unit == "x" and self._link not in (Kind.TO, Kind.EQUALS, Kind.FROM):
            sizes.factor = self._ratio(number)
        elif unit in ("+%", "-%"):
            sizes.factor = 1 + number
        elif unit == "%" and self._link is Kind.BY and self._way is Way.UNSAID and self._is_share(at):
            sizes.value = number  # "targets smoothed by 5%"
        elif unit == "%" and (self._link is Kind.BY or _moves(before) or after.kind in (Kind.UP, Kind.DOWN)):
            sizes.factor = 1 - number if self._down or after.kind is Kind.DOWN else 1 + number
        elif self._link is Kind.BY:
            self._take_by(at, number)
        elif self._link is None and self._take_plain(at, number, unit):
            pass
        else:
            self._set(token)
        self._link = self._link if self._link is Kind.FROM else None

    def _is_share(self, at: int) -> bool:
        """Whether what is told in per cent is a share by itself."""
        return any(token.name in _SHARES for token in self._clause[:at])

    def _beside(self, at: int) -> tuple[Token, Token]:
        before = self._clause[at - 1] if at else _NONE
        return before, self._clause[at + 1] if at + 1 < len(self._clause) else _NONE

    def _ratio(self, number: float) -> float:
        """ "10x lower" is a tenth."""
        return 1 / number if self._down and number > 1 else number

    def _take_by(self, at: int, number: float) -> None:
        said = any(token.name == "factor" for token in self._clause[max(0, at - 3) : at])
        if self._scales or self._beside(at)[1].unit == "x":
            self.sizes.factor = 1 / number if self._divides and number else number
        elif said:
            self.sizes.factor = self._ratio(number)
        else:
            self.sizes.delta = -number if self._down else number

    def _take_plain(self, at: int, number: float, unit: str) -> bool:
        """A number that nothing leads up to, if it is no value."""
        before, after = self._beside(at)
        sizes = self.sizes
        if before.name == "of" and sizes.value is not None:
            sizes.others = (*sizes.others, *shares(sizes.value, number))
        elif sizes.factor is not None and after.kind in SUBJECT and not unit:
            sizes.base = number if sizes.base is None else sizes.base  # "quadruple the 64 KiB buffer"
        elif unit == "+":
            sizes.delta = number
        elif self._counts(at) and number.is_integer():
            fewer = any(t.kind in (Kind.DOWN, Kind.OFF) for t in (*self._clause[:at], *self._clause[at + 1 : at + 3]))
            sizes.delta = -number if fewer else number
        else:
            return False
        return True

    def _counts(self, at: int) -> bool:
        """Whether what follows is added or taken away: "two more layers", "add 2 layers", "remove one layer"."""
        after = self._beside(at)[1]
        if after.kind in (Kind.UP, Kind.DOWN, Kind.WEAK) and after.name in _MORE:
            return True
        verb = next((token for token in self._clause[:at] if token.kind in DIRECTIONS), _NONE)
        deeper = len(self._clause) > at + 2 and self._clause[at + 2].kind in (Kind.UP, Kind.DOWN)  # "two layers deeper"
        return after.name in _COUNTS and (verb.name in _COUNTING or deeper)

    def _take_part(self, at: int, number: float) -> None:
        """ "half" and its like: what is left, or what is taken away."""
        link, way = self._link, self._way
        is_value = link is Kind.EQUALS or (link is Kind.TO and self._clause[at].name[:1].isdigit())
        is_last = way is Way.UNSAID and link is None and not has(self._clause[at + 1 :], SUBJECT)
        is_last = is_last and self._beside(at)[1].name not in _EXTENTS  # "of half the size"
        if link is Kind.BY:
            self.sizes.factor = 1 - number if self._down else 1 + number
        elif way is Way.OFF and link is not Kind.TO:
            self.sizes.factor = 1 - number
        elif is_value or (is_last and has(self._clause[:at], SUBJECT)):
            self.sizes.value = number  # "dropout one eighth"
        else:
            self.sizes.factor = number
            self.sizes.is_part = self._clause[at].name[-1:] not in "ed" and self._beside(at)[1].kind is Kind.PROPERTY

    def _set(self, token: Token) -> None:
        sizes, link, number = self.sizes, self._link, token.values[0]
        if link in (Kind.FROM, Kind.INSTEAD) and sizes.base is None:
            sizes.base = number
        elif sizes.value is None or (link is Kind.TO and not sizes.is_set):
            if sizes.value is not None and sizes.base is None:
                sizes.base = sizes.value
            sizes.value, sizes.others = number, token.values[1:]
            sizes.is_set = link in (Kind.TO, Kind.EQUALS)
        elif link is Kind.TO and sizes.base is None:
            sizes.base, sizes.value = sizes.value, number


_NONE = Token(Kind.WEAK, "")


def _moves(token: Token) -> bool:
    """Whether a percentage behind it is an amount of moving: "up 33%"."""
    return token.kind in (Kind.UP, Kind.DOWN) and token.name in ("up", "down")
