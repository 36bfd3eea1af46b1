"""What a history already tells: how sure its best value is, what was tried, what failed, what was done twice. Pure.

It works on other people's rows, of which nothing is known but what they say. So it estimates the noise from repeats
alone, says so where there are none, and calls nothing proven. `render` tells it in sentences.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from heapq import nlargest
from itertools import pairwise
from statistics import median

from nightlab.ledger.cells import NO_NUMBER
from nightlab.report.retell import render, steps
from nightlab.report.taught import (
    MANY_CHANGES,
    TWICE,
    Best,
    Failure,
    Gains,
    Leaning,
    Lessons,
    Missed,
    Noise,
    Plateau,
    Repeated,
    Repeats,
    Subject,
)
from nightlab.report.tries import CRASH, KEEP, Try, tries_of
from nightlab.report.words import decimals
from nightlab.search.novelty import Reading, Relation, likeness
from nightlab.types import Direction, Imported

__all__ = ["Lessons", "lessons", "render"]

SHOWN = 5
STEPS = 3
STRAY = 4.0  # robust standard deviations: farther off than chance brings one run in ten thousand
TRIM_FROM = 20  # runs from which strays can be told from noise
FEW = 0.1  # share of strays beyond which they are no strays but how these runs scatter
ENOUGH = 30  # repeats that tell the noise to some 13 %
LEAN = 0.3  # difference of two shares that is worth a line
LEAN_RUNS = 20  # runs on each side of it, at least
HOPELESS = 4  # tries of one thing without a keep after which it is left alone
CANDIDATES = 12  # earlier ideas that one idea is compared with
RAREST = 8  # of its words, by which they are found
POSTINGS = 200  # of the ideas that share a word, the newest

_ENDED = frozenset(f'"{word}"' for word in ("ok", "done", "success", "finished", "complete", "completed"))


def lessons(rows: Sequence[Imported], *, direction: Direction, metric: str) -> Lessons:
    """What the rows tell, in their order.

    Args:
        rows: a history, or several one after the other (told apart by their origin).
        direction: which way the metric is better.
        metric: what it is called.
    """
    tries = tries_of(rows, direction)
    noise, copies = _noise(tries, direction.sign)
    best, gains = _best(tries, noise, direction.sign), _gains(tries, noise)
    told = [t for t in tries if not t.is_untold]
    subjects = _subjects(told, _things)
    found = Lessons(
        metric=metric,
        direction=direction,
        rows=len(rows),
        kept=sum(t.row.status == KEEP for t in told),
        discarded=sum(t.row.status not in (KEEP, CRASH) for t in told),
        crashed=sum(r.status == CRASH for r in rows),
        untold=len(tries) - len(told),
        no_number=sum(r.crash is not None and r.crash.signature == NO_NUMBER for r in rows),
        other_metric=sum(r.metrics is not None for r in rows) - sum(t.value is not None for t in tries),
        told_by_order=_is_told_by_order(rows),
        nameless=sum(not (r.commit or r.source_hash) for r in rows),
        best=best,
        noise=noise,
        copies=copies,
        gains=gains,
        changes=float(median([len(t.subjects) for t in tries if t.subjects] or [0])),
        subjects=tuple(subjects[:SHOWN]),
        families=tuple(_subjects(told, _families)[:SHOWN]),
        hopeless=tuple(s for s in subjects if s.tries >= HOPELESS and not s.kept)[:STEPS],
        missed=_missed(tries),
        in_best=_in_best(tries, direction.sign),
        in_crashes=_in_crashes(tries),
        failures=_failures(rows),
        repeats=_repeats(tries),
        plateau=_plateau(tries),
        digits=_digits(tries, noise, gains, best),
        steps=(),
    )
    return replace(found, steps=tuple(steps(found))[:STEPS])


def _is_told_by_order(rows: Sequence[Imported]) -> bool:
    """Whether most rows say only that they ended well, so that keeps were read from the order of the values.

    Where a ledger has other words for what was not kept, ending well is its word for keeping.
    """
    ended = [row for row in rows if row.status != CRASH and row.read.get("status", "").lower() in _ENDED]
    others = sum(row.status != CRASH for row in rows) - len(ended)
    return len(ended) > others and (not others or any(row.status != KEEP for row in ended))


# --- noise, and what it makes of the values ---------------------------------------------------------------------


def _noise(tries: Sequence[Try], sign: int) -> tuple[Noise | None, int]:
    """The noise, and how many repeats are mere copies: a deterministic run, or a row that was written down twice."""
    found: dict[str, list[float]] = defaultdict(list)
    for one in tries:
        if one.value is not None:
            found[one.same].append(one.value)
    repeated = [values for values in found.values() if len(values) > 1]
    groups = [values for values in repeated if len(set(values)) > 1]
    copies = sum(len(values) - 1 for values in repeated) - sum(len(values) - 1 for values in groups)
    if not groups:
        return None, copies
    good = _nearest_best(groups, sign)
    kept = _without_strays(good)
    left = sum(len(values) - 1 for values in kept)
    squares = sum((value - sum(values) / len(values)) ** 2 for values in kept for value in values)
    sd = math.sqrt(squares / left)
    low, high = _interval(sd, left)
    strays = sum(map(len, good)) - sum(map(len, kept))
    return Noise(sd=sd, low=low, high=high, repeats=left, groups=len(kept), strays=strays), copies


def _nearest_best(groups: Sequence[Sequence[float]], sign: int) -> list[Sequence[float]]:
    """As many groups as tell enough, the best first: runs that do badly scatter more, and that is not asked."""
    found: list[Sequence[float]] = []
    for group in sorted(groups, key=lambda values: sign * median(values)):
        found.append(group)
        if sum(len(values) - 1 for values in found) >= ENOUGH:
            break
    return found


def _without_strays(groups: Sequence[Sequence[float]]) -> list[Sequence[float]]:
    """The groups without the few values that lie farther off than noise does; all of them if there are many such."""
    widths = [math.sqrt(len(g) / (len(g) - 1)) for g in groups]
    distances = [abs(v - median(g)) * w for g, w in zip(groups, widths, strict=True) for v in g]
    limit = STRAY * 1.4826 * median(distances)
    total = len(distances)
    strays = sum(distance > limit for distance in distances)
    if total < TRIM_FROM or limit == 0 or strays > FEW * total:
        return list(groups)
    kept = [[v for v in g if abs(v - median(g)) * w <= limit] for g, w in zip(groups, widths, strict=True)]
    return [g for g in kept if len(g) > 1]


def _interval(sd: float, repeats: int) -> tuple[float | None, float | None]:
    """95 % interval of a standard deviation, by the cube-root approximation of chi-square."""
    if repeats < 3:
        return None, None
    spread = math.sqrt(2 / (9 * repeats))
    ends = [repeats * (1 - 2 / (9 * repeats) + z * spread) ** 3 for z in (1.96, -1.96)]
    return sd * math.sqrt(repeats / ends[0]), sd * math.sqrt(repeats / ends[1])


def _best(tries: Sequence[Try], noise: Noise | None, sign: int) -> Best | None:
    valued = [t for t in tries if t.value is not None]
    top = min((t for t in valued if t.row.status == KEEP), key=lambda t: sign * (t.value or 0.0), default=None)
    if top is None or top.value is None:
        return None
    here = [t for t in valued if t.row.origin == top.row.origin]
    runs = [t.value for t in here if t.same == top.same and t.value is not None]
    others: dict[str, Try] = {}
    for one in sorted((t for t in here if t.same != top.same), key=lambda t: sign * (t.value or 0.0)):
        others.setdefault(one.same, one)
    first, following = here[0], next(iter(others.values()), None)
    bar = None if noise is None else sign * top.value + TWICE * noise.sd
    return Best(
        mark=top.mark,
        runs=len(runs),
        mean=sum(runs) / len(runs),
        gain=sign * ((first.value or 0.0) - top.value) if first is not top else None,
        first=first.mark if first is not top else None,
        rivals=None if bar is None else sum(sign * (t.value or 0.0) <= bar for t in others.values()),
        next_best=following.mark if following else None,
    )


def _gains(tries: Sequence[Try], noise: Noise | None) -> Gains | None:
    gains = [t.gain for t in tries if t.row.status == KEEP and t.gain is not None]
    better = [gain for gain in gains if gain > 0]
    if not gains:
        return None
    return Gains(
        keeps=len(gains),
        better=len(better),
        small=None if noise is None else sum(gain < TWICE * noise.sd for gain in better),
        middle=median(better) if better else None,
        least=min(better) if better else None,
    )


def _missed(tries: Sequence[Try]) -> Missed | None:
    """The run that came nearest to what was kept then, or was better, and was not kept itself."""
    dropped = [t for t in tries if t.row.status not in (KEEP, CRASH) and t.gain is not None]
    near = max(dropped, key=lambda t: t.gain or 0.0, default=None)
    return None if near is None or near.gain is None else Missed(mark=near.mark, gain=near.gain)


def _digits(tries: Sequence[Try], noise: Noise | None, gains: Gains | None, best: Best | None) -> int:
    """Digits after the point that mean something: of the noise, or of the smallest gain, and no more than are told."""
    told = max((_decimals(t.value) for t in tries if t.value is not None), default=0)
    scale = noise.sd if noise else round(gains.least, told) if gains and gains.least else None
    return min(decimals(scale, best.mark.value if best else None), max(told, 1))


def _decimals(value: float) -> int:
    """Digits after the point that a value was told with."""
    exponent = Decimal(repr(value)).as_tuple().exponent
    return max(-exponent, 0) if isinstance(exponent, int) else 0


# --- what was tried ---------------------------------------------------------------------------------------------


def _subjects(tries: Sequence[Try], names: Callable[[Try], Sequence[str]]) -> list[Subject]:
    """What was tried more than once, the most tried first."""
    groups: dict[str, list[Try]] = defaultdict(list)
    for one in tries:
        for name in names(one):
            groups[name].append(one)
    found = [
        Subject(
            name=name,
            tries=len(members),
            kept=sum(t.row.status == KEEP for t in members),
            crashed=sum(t.row.status == CRASH for t in members),
            best_gain=max((t.gain for t in members if t.gain is not None and _counts(t, members)), default=None),
        )
        for name, members in groups.items()
        if len(members) > 1
    ]
    return sorted(found, key=lambda s: (-s.tries, s.name))


def _things(one: Try) -> Sequence[str]:
    """What a row changes, unless it changes so much that none of it can be credited."""
    return one.subjects if len(one.subjects) <= MANY_CHANGES else ()


def _families(one: Try) -> Sequence[str]:
    return (one.row.family,) if one.row.family else ()


def _counts(one: Try, members: Sequence[Try]) -> bool:
    """Whether a gain is what became of the subject: of keeps if there are any."""
    return one.row.status == KEEP or not any(t.row.status == KEEP for t in members)


def _in_best(tries: Sequence[Try], sign: int) -> tuple[Leaning, ...]:
    ranked = sorted((t for t in tries if t.config and t.value is not None), key=lambda t: sign * (t.value or 0.0))
    tenth = len(ranked) // 10
    return _leanings(ranked[:tenth], ranked[tenth:])


def _in_crashes(tries: Sequence[Try]) -> tuple[Leaning, ...]:
    told = [t for t in tries if t.config]
    return _leanings([t for t in told if t.row.status == CRASH], [t for t in told if t.row.status != CRASH])


def _leanings(some: Sequence[Try], others: Sequence[Try]) -> tuple[Leaning, ...]:
    """Knobs that `some` moved one way much more often than `others`, against the first configuration of each file."""
    if min(len(some), len(others)) < LEAN_RUNS:
        return ()
    firsts: dict[str, Mapping[str, object]] = {}
    for one in sorted((*some, *others), key=lambda t: t.number):
        assert one.config is not None
        firsts.setdefault(one.row.origin, one.config)
    found = []
    for knob in sorted({name for first in firsts.values() for name in first}):
        for way in (1, -1):
            here, there = (sum(_moved(t, firsts, knob) == way for t in side) / len(side) for side in (some, others))
            if here - there >= LEAN:
                found.append(Leaning(knob=knob, raised=way > 0, share=here, others=there))
    return tuple(sorted(found, key=lambda leaning: leaning.others - leaning.share)[:STEPS])


def _moved(one: Try, firsts: Mapping[str, Mapping[str, object]], knob: str) -> int:
    """Which way a row moves a knob: up, down or not at all."""
    assert one.config is not None
    first, here = firsts[one.row.origin].get(knob), one.config.get(knob)
    if not isinstance(first, int | float) or not isinstance(here, int | float):
        return 0
    return (here > first) - (here < first)


def _failures(rows: Sequence[Imported]) -> tuple[Failure, ...]:
    kinds = Counter(r.crash.signature for r in rows if r.crash is not None and r.crash.signature != NO_NUMBER)
    return tuple(Failure(what=what, runs=runs) for what, runs in kinds.most_common(STEPS))


# --- what was done twice ----------------------------------------------------------------------------------------


def _repeats(tries: Sequence[Try]) -> Repeats:
    """Rows that repeat an idea which was not kept, or a configuration which had been run."""
    known, leaders, members, later = _Known(), dict[str, int](), defaultdict[int, list[Try]](list), 0
    for one in tries:
        if one.is_untold or (one.config is None and one.reading is None):
            continue
        key = one.same if one.config is not None else " ".join(one.row.description.lower().split())
        if key not in leaders:
            leaders[key] = known.place(one) if one.reading is not None else one.number
        earlier = tries[leaders[key] - 1]
        if earlier is not one and (one.config is not None or earlier.row.status != KEEP):
            members[earlier.number].append(one)
            later += one.base != earlier.base
    worst = sorted(members.items(), key=lambda item: (-len(item[1]), item[0]))[:SHOWN]
    again = [one for group in members.values() for one in group]
    return Repeats(
        runs=len(again),
        kept=sum(t.row.status == KEEP for t in again),
        later=later,
        worst=tuple(
            Repeated(
                description=tries[first - 1].row.description,
                again=len(group),
                kept=sum(t.row.status == KEEP for t in group),
            )
            for first, group in worst
        ),
    )


class _Known:
    """Ideas so far, found again by the words that they share."""

    def __init__(self) -> None:
        self._readings: dict[int, Reading] = {}
        self._sharing: dict[str, list[int]] = defaultdict(list)

    def place(self, one: Try) -> int:
        """The number of the earlier idea that is the same; else its own, under which it is known from now on."""
        assert one.reading is not None
        terms = _terms(one.row.description)
        for idea in self._near(terms):
            if likeness(one.reading, self._readings[idea]).relation is Relation.SAME:
                return idea
        self._readings[one.number] = one.reading
        for word in terms:
            self._sharing[word].append(one.number)
        return one.number

    def _near(self, terms: Sequence[str]) -> list[int]:
        """Those that share the rarest words, the most telling first."""
        shared = sorted((self._sharing[word] for word in terms if word in self._sharing), key=len)
        weights: dict[int, int] = {}
        for ideas in shared[:RAREST]:
            weight = 1_000_000 // len(ideas)  # whole numbers: sums do not depend on their order
            for idea in ideas[-POSTINGS:]:
                weights[idea] = weights.get(idea, 0) + weight
        return nlargest(CANDIDATES, weights, key=lambda idea: (weights[idea], -idea))


def _terms(description: str) -> list[str]:
    """Words and numbers by which an idea is found again, each once."""
    return list(dict.fromkeys(re.findall(r"[a-z]+|\d+\.?\d*", description[:1000].lower().replace("_", " "))))


def _plateau(tries: Sequence[Try]) -> Plateau:
    last = next((t for t in reversed(tries) if t.row.status == KEEP and t.value is not None), None)
    rest = [t for t in (tries[last.number :] if last else tries) if not t.is_untold]
    return Plateau(since=last.mark if last else None, runs=len(rest), seconds=_passed([last, *rest]) if last else None)


def _passed(some: Sequence[Try]) -> float | None:
    """Seconds from the first to the last, where the rows tell one story in its order; rows may not know their time."""
    moments = [one.row.at for one in some]
    in_order = all(a <= b for a, b in pairwise(moments)) and len({one.row.origin for one in some}) == 1
    return (moments[-1] - moments[0] or None) if in_order else None
