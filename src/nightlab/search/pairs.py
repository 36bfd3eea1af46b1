"""One claim against another: the same, put more exactly or more broadly, at another value, the opposite, or another.

Pure comparison of what two texts say of one thing. Where they leave it open, the answer is the one that blocks nothing.
"""

from __future__ import annotations

from enum import StrEnum

from nightlab.search.amounts import Way
from nightlab.search.book import book
from nightlab.search.forms import Claim


class Pair(StrEnum):
    """What one claim is to another; the closest first."""

    SAME = "same"
    FINER = "finer"  # the same, put more exactly
    COARSER = "coarser"
    VALUE = "value"
    OPPOSITE = "opposite"
    OTHER = "other"


def _same_cut(a: Claim, b: Claim) -> bool:
    """Whether heads and their size tell one change of a width that stays: twice as many heads are half as wide."""
    if a.subject != {"heads"} or b.subject != {"headdim"} or a.marks - _FAINT or b.marks - _FAINT:
        return False
    return a.factor is not None and b.factor is not None and _near(a.factor * b.factor, 1.0)


class _Fit(StrEnum):
    """How two subjects relate."""

    EQUAL = "equal"
    NARROWER = "narrower"  # the first is the second, narrowed down
    WIDER = "wider"
    CONTRARY = "contrary"  # equal but for one word that excludes the other: "frozen" and "learnable"
    OTHER = "other"


_FAINT = frozenset({"all", "inside", "during", "across", "between", "nonzero", "warm", "smooth", "causal"})
_RATIO = 32  # no hidden layer is wider than so many times its input
_STRAY = 3  # words nobody has heard of that an explanation may have more, beside a technique with a name


def compare(a: Claim, b: Claim) -> Pair:
    if a.former and a.former == b.subject and not b.way.against(Way.ON) and not a.way.against(Way.ON):
        return Pair.OPPOSITE
    if b.former and b.former == a.subject and not a.way.against(Way.ON) and not b.way.against(Way.ON):
        return Pair.OPPOSITE
    fit = _fit(a, b)
    if fit is _Fit.OTHER:
        return Pair.SAME if _same_cut(a, b) or _same_cut(b, a) else Pair.OTHER
    sized = _sizes(a, b)
    if sized in (Pair.OPPOSITE, Pair.OTHER):
        return sized
    if fit is _Fit.CONTRARY:
        return Pair.OPPOSITE
    if fit is _Fit.EQUAL:
        return sized
    if sized is Pair.VALUE:
        return Pair.OTHER  # another value of something narrower is another thing
    narrower = fit is _Fit.NARROWER
    if sized is (Pair.COARSER if narrower else Pair.FINER):
        return Pair.OTHER
    return Pair.FINER if narrower else Pair.COARSER


def _fit(a: Claim, b: Claim) -> _Fit:
    if a.knob and b.knob:
        return _Fit.EQUAL if a.knob == b.knob else _Fit.OTHER
    if a.measures != b.measures:
        return _Fit.OTHER
    sized = a.is_sized and b.is_sized
    ours, theirs = _marks(a, sized), _marks(b, sized)
    if "fixed" not in ours | theirs and (a.subject | b.subject) & book().learnt:
        ours, theirs = ours - {"learnable"}, theirs - {"learnable"}
    if a.subject == b.subject:
        if ours == theirs:
            return _equal_but_for_words(a, b, sized)
        if (ours ^ theirs) in book().exclusive and a.extra == b.extra:
            return _Fit.CONTRARY
    mine, yours = a.subject | ours, b.subject | theirs
    if a.subject & b.subject:
        if yours <= mine and b.extra <= a.extra | mine:
            return _Fit.NARROWER
        if mine <= yours and a.extra <= b.extra | yours:
            return _Fit.WIDER
    if (mine ^ yours) in book().exclusive and a.extra == b.extra:
        return _Fit.CONTRARY
    return _Fit.OTHER


def _marks(claim: Claim, sized: bool) -> frozenset[str]:
    """What narrows the claim down; "everywhere" is meant anyway where a value is told or something is taken out."""
    faint = sized or claim.choice or claim.way is Way.OFF
    return claim.marks - _FAINT if faint else claim.marks - (_FAINT - {"all"})


def _equal_but_for_words(a: Claim, b: Claim, sized: bool) -> _Fit:
    """Equal subjects: whether the words beside them, which nobody has heard of, matter."""
    more, less = a.extra - b.extra, b.extra - a.extra
    if not more and not less:
        return _Fit.EQUAL
    named = _is_named(a)
    moved = {Way.UP, Way.DOWN, Way.OFF} & {a.way, b.way}
    measured = bool(a.measures - book().shared) and (sized or moved)
    if not (more and less) and (measured or named) and len(more | less) <= _STRAY:
        return _Fit.EQUAL  # filling words
    if named and not a.measures and not (a.is_sized or b.is_sized) and max(len(more), len(less)) <= _STRAY:
        return _Fit.EQUAL  # a technique by its name, explained in other words
    if more and less:
        return _Fit.OTHER
    return _Fit.NARROWER if more else _Fit.WIDER


def _is_named(claim: Claim) -> bool:
    """Whether the subject is a technique that one name tells."""
    return bool(claim.subject - claim.measures - book().places - claim.extra) and not claim.measures


def _sizes(a: Claim, b: Claim) -> Pair:
    """Claims of one subject: where each of them moves it."""
    if a.choice or b.choice:
        return _choices(a, b)
    if _contrary(a, b):
        return Pair.OPPOSITE
    if Way.OFF in (a.way, b.way):
        return _switched(a, b)
    start, other = (a.base if a.base is not None else b.base), (b.base if b.base is not None else a.base)
    here, there = target(a, start), target(b, other)
    if here is not None and there is not None:
        if any(_close(x, y) for x in _readings(a, here) for y in _readings(b, there)):
            return Pair.SAME
        if "mlpratio" in a.subject and max(here, there) > _RATIO >= min(here, there):
            return Pair.VALUE  # a width and a multiple of another width
        if start is not None and other is not None and (here - start) * (there - other) < 0:
            return Pair.OPPOSITE
        return Pair.VALUE
    if a.factor is not None and b.factor is not None:
        return Pair.SAME if _near(a.factor, b.factor) else Pair.VALUE
    if a.delta is not None and b.delta is not None:
        return Pair.SAME if a.delta == b.delta else Pair.VALUE
    if a.is_sized and b.is_sized:
        return Pair.VALUE  # a value and a ratio of nobody knows what
    if _contradicts(here, start, b.way) or _contradicts(there, other, a.way):
        return Pair.OPPOSITE
    if a.is_sized or b.is_sized:
        return Pair.FINER if a.is_sized else Pair.COARSER
    return _unsized(a.way, b.way)


def _contrary(a: Claim, b: Claim) -> bool:
    """Whether the ways contradict each other. Without a window everything is seen, as with an ever wider one."""
    if a.subject == {"window"} and Way.OFF in (a.way, b.way):
        return Way.DOWN in (a.way, b.way) or Way.ON in (a.way, b.way)
    return a.way.against(b.way)


def _contradicts(target: float | None, base: float | None, way: Way) -> bool:
    """Whether a value lies on the other side of the base than a mere direction says."""
    if target is None or base is None:
        return False
    return (way is Way.UP and target < base) or (way is Way.DOWN and target > base)


def _unsized(ours: Way, theirs: Way) -> Pair:
    plain = (Way.UNSAID, Way.ON)
    if ours is theirs or (ours in plain and theirs in plain):
        return Pair.SAME
    if Way.UNSAID in (ours, theirs):
        return Pair.FINER if theirs is Way.UNSAID else Pair.COARSER
    return Pair.VALUE


def _switched(a: Claim, b: Claim) -> Pair:
    """At least one of the two switches the subject off."""
    if a.way is b.way:
        return Pair.SAME
    on = b if a.way is Way.OFF else a
    if on.way is Way.UP and a.subject == {"window"}:
        return Pair.VALUE
    if on.way in (Way.UP, Way.ON):
        return Pair.OPPOSITE
    if on.way is Way.DOWN:
        return Pair.VALUE
    off = a if on is b else b
    base = on.base if on.base is not None else off.base
    if on.value is not None:
        return Pair.OPPOSITE if base is not None and on.value > base else Pair.VALUE
    return Pair.OPPOSITE


def _choices(a: Claim, b: Claim) -> Pair:
    if a.choice == b.choice:
        return Pair.OPPOSITE if a.way.against(b.way) else Pair.SAME
    if a.choice and b.choice:
        back = a.former == b.choice and b.former == a.choice
        if back or (not b.former and a.former == b.choice) or (not a.former and b.former == a.choice):
            return Pair.OPPOSITE
        if a.choice < b.choice or b.choice < a.choice:
            return Pair.FINER if b.choice < a.choice else Pair.COARSER
        return Pair.VALUE if a.subject else Pair.OTHER
    return Pair.FINER if a.choice else Pair.COARSER


def target(claim: Claim, base: float | None) -> float | None:
    """Where the claim puts its subject, if that can be known."""
    if claim.value is not None:
        return claim.value
    start = claim.base if claim.base is not None else base
    if start is None:
        return None
    if claim.factor is not None:
        return start * claim.factor
    return start + claim.delta if claim.delta is not None else None


def _readings(claim: Claim, target: float) -> tuple[float, ...]:
    return (target,) if claim.value is None else (target, *claim.others)


def _close(a: float, b: float) -> bool:
    """Equal up to rounding: 262k is 2**18. Next to one it is the distance from one that counts: 0.999 is not 0.9995."""
    near = a == b or abs(a - b) <= 0.002 * min(abs(a), abs(b))
    return near and (not (0.9 < a < 1 and 0.9 < b < 1) or abs(a - b) <= 0.01 * min(1 - a, 1 - b))


def _near(a: float, b: float) -> bool:
    """Ratios are told more loosely: a third is 0.33."""
    return a == b or abs(a - b) <= 0.011 * min(abs(a), abs(b))
