"""One clause read as a claim: what is moved, which way, to what value, or what is chosen instead of what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import NamedTuple

from nightlab.search.amounts import WAYS, Sizes, Way, sizes_of
from nightlab.search.book import Kind, Token, book
from nightlab.search.clauses import AMOUNT, PLACES, SUBJECT, has
from nightlab.search.forms import MOVING, Claim, plain
from nightlab.search.vocabulary import GATED, HINTS


class _Topic(NamedTuple):
    """What a claim is about."""

    subject: frozenset[str]
    marks: frozenset[str]
    extra: frozenset[str]
    measures: frozenset[str]


Bag = dict[str, Kind]
"""The names of a clause with their kinds, in its order."""


_FROM = frozenset({Kind.FROM})
_TO = frozenset({Kind.TO})


def claims_of(clause: Sequence[Token]) -> list[Claim]:
    """The claims of a clause: one, but for rows of values."""
    leading = next((token for token in clause if token.kind in WAYS), None)
    verb, way = (leading.name, WAYS[leading.kind]) if leading is not None else ("", Way.UNSAID)
    sizes = sizes_of(clause)
    bag, marks = bag_of(clause, verb)
    kinds = {token.kind for token in clause}
    named = [token for token in clause if token.shown and token.kind is not Kind.CHOICE]
    shown = next((token.shown for token in named if "_" in token.shown), "") if named else ""
    if Kind.ROW in kinds:
        row = next(token for token in reversed(clause) if token.kind is Kind.ROW)
        return _row(clause, row, bag, marks, shown)
    if Kind.COMPLEMENT in kinds:
        sizes.turn_over()
        way = Way.UNSAID
    choice, former, bag = _choices(clause, bag, sizes)
    topic = topic_of(bag, marks, sizes)
    if way is Way.ON and sizes.value is None and sizes.factor is not None:
        sizes.value, sizes.factor = sizes.factor, None  # "add 1e-5 times the squared logsumexp"
    if topic.measures == {"lr"} and sizes.base is None and any(token.name == "multiplier" for token in clause):
        sizes.value, sizes.factor = None, sizes.factor or sizes.value
    if way is Way.OFF and not choice and (topic.marks | topic.subject) & MOVING and topic.measures - MOVING:
        sizes = Sizes()  # "no longer anneal it to zero"
    way, topic = _turned_off(_settled(way, verb, sizes), topic)
    if not shown and len(named) == 1 and topic.subject == {named[0].name}:
        shown = named[0].shown  # DEPTH, but not the MLP of "MLP dropout"
    claim = Claim(
        topic.subject, way, sizes.value, sizes.factor, sizes.base, sizes.delta, sizes.others,
        choice, former, topic.marks, topic.extra, topic.measures, shown=shown,
    )  # fmt: skip
    if not claim.choice and (claim.value == 0 or (claim.value == 1 and claim.subject == {"accumulation"})):
        return [_at_zero(claim)]
    return [plain(claim)]


def _at_zero(claim: Claim) -> Claim:
    """What is set to nothing is off; but to start at nothing is a way to start."""
    if "init" in claim.subject and len(claim.subject) > 1:
        return replace(claim, subject=claim.subject - {"init"} | {"zeroinit"}, measures=claim.measures - {"init"},
                       value=None, factor=None, way=Way.UNSAID)  # fmt: skip
    way = Way.UNSAID if "annealed" in claim.marks else Way.OFF  # it only ends there
    return plain(replace(claim, way=way, value=None, factor=None))


def _turned_off(way: Way, topic: _Topic) -> tuple[Way, _Topic]:
    """ "No decay" is told of the learning rate where nothing else is named."""
    if topic.subject == {"decay"} and way is Way.OFF:
        return way, topic._replace(subject=frozenset({"warmdown"}), measures=frozenset({"warmdown"}))
    return way, topic


def bag_of(clause: Sequence[Token], verb: str = "") -> tuple[Bag, set[str]]:
    """The names of a clause, and its marks with their numbers; marks of a place that something leaves do not count."""
    bag: Bag = {}
    marks: set[str] = set()
    moves = has(clause, _FROM) and has(clause, _TO) and not has(clause, AMOUNT)
    leaving = False
    for token in clause:
        if moves and token.kind in (Kind.FROM, Kind.TO):
            leaving = token.kind is Kind.FROM
        elif token.kind is Kind.INSTEAD:
            leaving = True
        elif token.kind is Kind.MARK and not leaving:
            marks.add(f"{token.name}{token.values[0]:g}" if token.values else token.name)
        elif token.kind in SUBJECT or (token.kind is Kind.WEAK and token.name):
            bag.setdefault(token.name, token.kind)
    if any(token.name in ("untie", "unshare") for token in clause):
        bag["tie"] = Kind.PART
    hint = HINTS.get(verb, "")
    if verb in ("slower", "faster") and bag and not {Kind.PROPERTY, Kind.CHOICE} & set(bag.values()):
        bag["lr"] = Kind.PROPERTY
    if hint == "depth" or (hint and not {Kind.PROPERTY, Kind.PART, Kind.CHOICE} & set(bag.values())):
        bag[hint] = Kind.PROPERTY
    return bag, marks


# --- choices ----------------------------------------------------------------------------------------------------

_CHOSEN = frozenset({Kind.CHOICE})
_OFF = frozenset({Kind.OFF})
_LEADS = frozenset({Kind.TO, Kind.INSTEAD})
_Chosen = tuple[frozenset[str], frozenset[str], Bag]  # what is chosen, instead of what, and the bag without them


def _choices(clause: Sequence[Token], bag: Bag, sizes: Sizes) -> _Chosen:
    """What is chosen instead of what, where one of a kind is chosen at all."""
    here = book()
    if _is_off(clause):
        norms = {name for name in bag if here.slots.get(name) == "normtype"}
        return _no_choice(_as_one(bag, norms, "norm") if norms and len(bag) > 1 else bag)
    if Kind.CHOICE not in bag.values() and not has(clause, _CHOSEN):
        return _turned(clause, bag)
    new, old = _sides(clause)
    if "gate" in bag and len(new) == 1 and new <= GATED.keys():
        (plain,) = new
        bag = {name: kind for name, kind in bag.items() if name not in ("gate", plain)}
        new = {GATED[plain]}
    if not (new or old):
        return _turned(clause, bag)
    kinds = {here.slots.get(name, "") for name in new | old}
    if len(kinds) > 1 and "optimizer" in kinds:  # "adam's moments in bf16": the optimiser only says whose
        new, old = ({name for name in side if here.slots.get(name) != "optimizer"} for side in (new, old))
    slot = next((here.slots[name] for name in sorted(new or old) if name in here.slots), "windowpattern")
    if slot == "normtype" and any(token.name in ("before", "after") for token in clause):
        return _no_choice(_as_one(bag, new | old, "norm"))  # where it stands is the point, not which kind it is
    if new | old == {"linear"} and bag.keys() & _PROJECTED:
        return _no_choice(_as_one(bag, {"linear"}, "linearlayer"))
    rest = {name: kind for name, kind in bag.items() if name not in new and name not in old}
    implied = here.implied.get(slot, frozenset())
    if slot == "schedule" and sizes.value == 0:
        sizes.value = None  # where every schedule ends
    if slot == "normtype" and "gain" in rest:
        return _no_choice(_as_one(bag, new | old, "norm"))
    if sizes.value is not None or sizes.factor is not None or _says_whose(slot, rest, implied):
        # "muon momentum" chooses nothing; and a model has one norm: its epsilon is that of the norm
        return _turned(clause, _as_one(bag, new | old, "norm") if slot == "normtype" else bag)
    rest[slot] = Kind.PART
    left = {name: kind for name, kind in rest.items() if name not in implied or name == slot}
    return frozenset(new or old), frozenset(old if new else ()), left


def _no_choice(bag: Bag) -> _Chosen:
    return frozenset(), frozenset(), bag


def _sides(clause: Sequence[Token]) -> tuple[set[str], set[str]]:
    """Members of choices that come, and those that go."""
    new: set[str] = set()
    old: set[str] = set()
    switches = any(token.kind is Kind.SWITCH for token in clause)
    leaves = any(token.kind is Kind.TO for token in clause) and not has(clause, AMOUNT)
    for token in clause:
        if token.kind is Kind.TO:
            leaves = False
        elif token.kind in (Kind.INSTEAD, Kind.FROM):
            leaves = True
        elif token.kind is Kind.BY and switches:
            leaves = False
            old, new = old | new, set()
        elif token.kind is Kind.CHOICE:
            (old if leaves else new).add(token.name)
    return new, old


def _says_whose(slot: str, rest: Bag, implied: frozenset[str]) -> bool:
    """Whether the rest of the clause has a point of its own, so that the name only says whose."""
    if any(kind is Kind.PROPERTY and name not in implied and name != slot for name, kind in rest.items()):
        return True
    places = book().places
    return slot == "optimizer" and any(kind is Kind.PART and name not in places for name, kind in rest.items())


def _as_one(bag: Bag, names: set[str], name: str) -> Bag:
    """The bag with `name` in the place of `names`."""
    return {name if own in names else own: Kind.PART if own in names else kind for own, kind in bag.items()}


_PROJECTED = frozenset({"qkv", "q", "k", "v", "kv", "projection", "bias", "fused", "embedding"})


def _is_off(clause: Sequence[Token]) -> bool:
    return has(clause, _OFF) and not has(clause, _LEADS)


def _turned(clause: Sequence[Token], bag: Bag) -> _Chosen:
    """Words on both sides of an arrow, "instead of" or "replace ... with": what goes is no part of the subject."""
    kinds = {token.kind for token in clause}
    instead, goes = Kind.INSTEAD in kinds, Kind.FROM in kinds
    arrow = any(token.name == "->" for token in clause)
    switched = Kind.SWITCH in kinds and bool(kinds & {Kind.TO, Kind.BY})
    if kinds & AMOUNT or not (instead or goes or arrow or switched):
        return _no_choice(bag)
    sides: dict[str, set[str]] = {"rest": set(), "old": set(), "new": set()}
    side = "new" if instead else "rest" if goes else "old"
    for token in clause:
        if token.kind in (Kind.TO, Kind.BY):
            side = "new"
        elif token.kind in (Kind.FROM, Kind.INSTEAD):
            side = "old"
        elif token.kind in SUBJECT:
            sides[side].add(token.name)
    if not sides["new"] or not sides["old"]:
        return _no_choice(bag)
    former = sides["old"] - sides["new"]
    gone = former - sides["rest"]
    return frozenset(), frozenset(former), {name: kind for name, kind in bag.items() if name not in gone}


# --- what a claim is about --------------------------------------------------------------------------------------

_KNOWN = (Kind.PROPERTY, Kind.PART, Kind.CHOICE)
_GLUE = frozenset({"as", "same", "at", "of"})
# A subject that is no more than the first is about the second.
_MEANT = {
    frozenset({"tie"}): "tieembeddings",
    frozenset({"clip"}): "gradclip",
    frozenset({"muon", "step"}): "nssteps",
}


def topic_of(bag: Bag, marks: set[str], sizes: Sizes) -> _Topic:
    """Subject, marks, words nobody has heard of, and measures. A number among the marks may end up in `sizes`."""
    _fuse(bag, marks)
    if "all" in marks and len(bag) > 1 and "depth" not in bag:
        bag.pop("layer", None)
    absorbed: set[str] = set()
    for name, kind in bag.items():
        if kind in _KNOWN and name not in absorbed:
            absorbed |= book().implied.get(name, frozenset()) - {name}
    subject = frozenset(name for name, kind in bag.items() if kind in _KNOWN and name not in absorbed)
    extra = frozenset(name for name, kind in bag.items() if kind is Kind.WORD and name not in absorbed)
    left = frozenset(mark for mark in marks if mark not in absorbed and not _in_period(mark, absorbed))
    for mark in sorted(marks - left):
        _take_period(mark, sizes)
    known, (subject, extra) = subject, _meant(subject, extra, left, sizes)
    if subject == {"warmdown"} and known != subject:
        periods = frozenset(mark for mark in left if mark.rstrip("0123456789.") in PLACES)
        for mark in sorted(periods):
            _take_period(mark, sizes)  # "decay the rate in the last 20%"
        left -= periods
    measures = subject & measures_known()
    _take_counts(subject, measures, sizes)
    if not subject and not extra:
        extra = frozenset(name for name, kind in bag.items() if kind is Kind.WEAK and name not in _GLUE)
    if not subject:
        return _Topic(extra, left, frozenset(), frozenset())
    return _Topic(subject, left, extra, measures)


_DECAYING = frozenset({"embedding", "unembedding", "matrix", "scalar", "bias", "valueembed", "rmsnormgain", "gain"})


def _meant(
    subject: frozenset[str], extra: frozenset[str], marks: frozenset[str], sizes: Sizes
) -> tuple[frozenset[str], frozenset[str]]:
    """What a short way of speaking is about."""
    for said, meant in _MEANT.items():
        if subject | (extra & {"step"}) == said:
            return frozenset({meant}), extra - said
    if subject == {"decay", "lr"}:
        return frozenset({"finallr" if sizes.is_set else "warmdown"}), extra
    if "decay" in subject and len(subject) == 2 and subject & _DECAYING:
        return subject - {"decay"} | {"weightdecay"}, extra
    if subject == {"layer"} and not marks - {"all"}:
        return frozenset({"depth"}), extra
    if subject == {"hidden"} and sizes.value is not None:
        return frozenset({"mlpratio"}), extra
    if subject == {"mlp"} and (sizes.value is not None or (sizes.factor or 0) > 1):
        return frozenset({"mlpratio"}), extra
    if "layer" in subject and (subject & measures_known() or subject - book().places):
        return subject - {"layer"}, extra
    if "rope" in subject and sizes.value is not None and sizes.value >= 1000:
        return subject - {"rope"} | {"ropebase"}, extra
    return subject, extra


def _take_counts(subject: frozenset[str], measures: frozenset[str], sizes: Sizes) -> None:
    """A "3x MLP" has three hidden units a channel; "one projection for all three" sets nothing to one."""
    if "mlpratio" in measures and sizes.value is None and (sizes.factor or 0) > 1 and not sizes.is_set:
        sizes.value, sizes.factor = sizes.factor, None
    if "finallr" in measures and sizes.is_part and sizes.value is None and not sizes.base:
        sizes.value, sizes.factor = sizes.factor, None  # "a tenth of the peak"
    if subject and not measures and sizes.value == 1 and sizes.base is None:
        sizes.value = None


def _fuse(bag: dict[str, Kind], marks: set[str]) -> None:
    """Concepts that together are another one become it."""
    fusions = book().fusions
    for _ in range(4):  # what was made may be part of another
        here = bag.keys() | marks
        fitting = [item for name in here if name in fusions for item in fusions[name] if item[1] <= here]
        if not fitting:
            return
        _, together, made = min(fitting)
        if "untieembeddings" in made and any(kind is Kind.PROPERTY for kind in bag.values()):
            return
        kept = together & made & marks
        marks -= together - kept
        for name in together:
            bag.pop(name, None)
        for name in sorted(made - kept):
            bag[name] = Kind.PROPERTY if name in measures_known() else Kind.PART
        if made <= together:
            return


@cache
def measures_known() -> frozenset[str]:
    """The concepts that can be more or less."""
    return frozenset(
        token.name for entries in book().phrases.values() for _, token in entries if token.kind is Kind.PROPERTY
    )


def _in_period(mark: str, absorbed: set[str]) -> bool:
    name = mark.rstrip("0123456789.")
    if name.startswith("per") and name[3:] in absorbed:
        return True
    return name in PLACES and name in absorbed


def _take_period(mark: str, sizes: Sizes) -> None:
    """ "decay over the last 30%": the mark holds the value."""
    number = mark.lstrip("abcdefghijklmnopqrstuvwxyz")
    if number and number[0].isdigit() and sizes.value is None:
        sizes.value = float(number)


def _settled(way: Way, verb: str, sizes: Sizes) -> Way:
    """The way that verb and numbers agree on; numbers decide."""
    if sizes.base is not None and sizes.value is not None:
        if sizes.base:
            sizes.factor = sizes.value / sizes.base
        return Way.UP if sizes.value > sizes.base else Way.DOWN if sizes.value < sizes.base else way
    if sizes.base is not None and sizes.factor is not None:
        sizes.value = sizes.base * sizes.factor
    if way is Way.OFF and sizes.value is not None:
        if verb == "drop" or sizes.is_set:
            return Way.DOWN
        sizes.base, sizes.value, sizes.others = sizes.value, None, ()  # "remove the 0.1 dropout"
    moved = sizes.factor - 1 if sizes.factor is not None else sizes.delta
    return Way.UP if moved and moved > 0 else Way.DOWN if moved else way


def _row(clause: Sequence[Token], row: Token, bag: Bag, marks: set[str], shown: str) -> list[Claim]:
    """A row of values: each is a claim of its own, named by its place where the field has names for the places."""
    rows = [token.values for token in clause if token.kind is Kind.ROW]
    before = rows[0] if len(rows) > 1 and len(rows[0]) == len(row.values) else ()
    rest = {name: kind for name, kind in bag.items() if name != "betas"}
    claims = []
    for place, value in enumerate(row.values):
        name = f"beta{place + 1}" if "betas" in bag and place < 2 else ""
        sizes = Sizes(value=value, base=before[place] if before else None)
        if before and before[place] == value:
            continue
        topic = topic_of({**rest, **({name: Kind.PROPERTY} if name else {})}, set(marks), sizes)
        left = topic.marks if name else topic.marks | {f"item{place + 1}"}
        way = _settled(Way.UNSAID, "", sizes)
        claims.append(
            Claim(topic.subject, way, value, sizes.factor, sizes.base, marks=left, extra=topic.extra,
                  measures=topic.measures, in_row=not before, shown=f"{shown}[{place}]" if shown else "")
        )  # fmt: skip
    return claims
