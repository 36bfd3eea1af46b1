"""An idea's words read as changes: what is moved, which way, to what value, by what ratio.

`tokens` finds the concepts and numbers, `clauses` cuts a description into pieces, `claims` reads each of them; here
they are put together to what one text tells. A `Lexicon` of the lab's own knobs says what a name means there and
where it stands now; without one the words alone must do.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import NamedTuple, Protocol

from nightlab.search.amounts import WAYS, Sizes, Way, shares, sizes_of
from nightlab.search.book import Kind, Token, book
from nightlab.search.claims import bag_of, claims_of, measures_known, topic_of
from nightlab.search.clauses import AMOUNT, JOIN, LINKS, SUBJECT, clauses, has, placed
from nightlab.search.definitions import named
from nightlab.search.forms import Claim, plain, without_schedule
from nightlab.search.prose import parts
from nightlab.search.tokens import tokens

__all__ = ["NO_LEXICON", "Claim", "Lexicon", "Told", "Way", "normalise", "read", "setting", "subject_of", "told"]

MAX_CLAIMS = 16
MAX_WHOLE = 24  # tokens of a text that is read as one claim


class Told(NamedTuple):
    """All that is read from one text."""

    claims: tuple[Claim, ...]  # in its order
    words: frozenset[str]  # the words and numbers that carry meaning, directions left in
    wholes: tuple[Claim, ...]  # a structural idea as one claim, in several ways


def read(text: str) -> tuple[Claim, ...]:
    """The changes that a description speaks of, in its order."""
    return told(text).claims


@lru_cache(maxsize=8192)
def told(text: str) -> Told:
    """A description, read."""
    main, remarks = parts(text)
    named_tokens, by_definition = named(tokens(main))
    found = placed(named_tokens)
    claims = _claims_of_text(found)
    beside = [(remark, tokens(remark)) for remark in remarks]
    other = _aliases(found, beside) if claims else ()
    for _, remark in beside:
        more = _claims_of_text(placed(named(remark)[0]))
        if claims and not more:
            at = next((i for i, claim in enumerate(claims) if claim.measures), 0)
            claims[at] = _noted(claims[at], remark)
        claims = more if _is_vague(claims) and _is_exact(more) else _filled(claims, more) if claims else more
    one = _whole(found) if len(claims) != 1 or has(found, LINKS) else None
    wholes = other if one is None else (one, *other)
    return Told(tuple(_distinct(claims, by_definition=by_definition)), _words(found), wholes)


def _is_vague(claims: Sequence[Claim]) -> bool:
    """Whether a text only says which way: "a narrower model (ASPECT_RATIO 48)" says in its remark what it does."""
    return len(claims) == 1 and not claims[0].is_sized and claims[0].way in (Way.UP, Way.DOWN)


def _is_exact(claims: Sequence[Claim]) -> bool:
    return len(claims) == 1 and claims[0].value is not None and bool(claims[0].shown)


def _aliases(main: Sequence[Token], remarks: Sequence[tuple[str, Sequence[Token]]]) -> tuple[Claim, ...]:
    """Other names for the idea that stand beside it: "the sign-of-momentum optimiser (Lion)"."""
    if len(remarks) != 1 or has(main, AMOUNT):
        return ()
    found = _claims_of_text(placed(remarks[0][1]))
    return tuple(found) if len(found) == 1 and not found[0].is_sized else ()


def _whole(found: Sequence[Token]) -> Claim | None:
    """A structural idea as one claim over all its words; None where sizes are told, or two ways."""
    ways = {WAYS[token.kind] for token in found if token.kind in WAYS}
    if len(found) > MAX_WHOLE or len(ways) > 1:
        return None
    if any(token.kind is Kind.ROW or (token.kind is Kind.NUMBER and token.values[0] != 1) for token in found):
        return None
    dropped = JOIN | {Kind.NUMBER}
    claims = claims_of([token for token in found if token.kind not in dropped])
    return claims[0] if len(claims) == 1 and (claims[0].subject or claims[0].choice) else None


def _words(found: Iterable[Token]) -> frozenset[str]:
    out: set[str] = set()
    for token in found:
        if token.kind is Kind.NUMBER:
            out.add(f"{token.values[0]:g}")
        elif token.kind in SUBJECT or token.kind is Kind.MARK:
            out.add(token.name)
        elif token.kind in WAYS and token.name != "tail":
            out.add(token.kind.name.lower())
    return frozenset(out)


def normalise(text: str) -> str:
    """Lower case, one space between words, hyphens as spaces, no full stop: how texts are compared as texts."""
    return " ".join(text.lower().replace("-", " ").split()).rstrip(" .;,")


def _claims_of_text(found: Sequence[Token]) -> list[Claim]:
    claims: list[Claim] = []
    way, factor = Way.UNSAID, None
    for join, clause in clauses(found):
        own = claims_of(clause)
        vague = claims and claims[-1].way in (Way.UP, Way.DOWN) and not claims[-1].is_sized
        if vague and join is Kind.COLON and any(claim.is_sized for claim in own):
            claims.pop()  # "slower second moment: beta2 0.98"
        for claim in own:
            held = without_schedule(claims[-1], claim) if claims else None
            if held is not None:
                claims[-1] = held
                continue
            told = claim
            # "increase A and B" moves both; "more A with B" says nothing of how B moves
            if join in (Kind.AND, Kind.COMMA) and claim.way is Way.UNSAID and not claim.is_sized and not claim.choice:
                told = replace(claim, way=way, factor=factor)
            if claims and told.subject and told.subject <= book().weak:
                told = replace(told, subject=frozenset())  # "dropout with probability 0.1"
            if told.subject or told.choice:
                claims.append(told)
            elif claims:
                claims[-1] = _continued(claims[-1], told)
        if own:
            way = own[0].way if own[0].way is not Way.UNSAID or own[0].is_sized else way
            factor = own[0].factor if own[0].value is None else None
        if len(claims) > MAX_CLAIMS:
            break
    return claims[:MAX_CLAIMS]


def _continued(claim: Claim, told: Claim) -> Claim:
    """A claim with what a clause without a subject adds: "dropout 0.2, down by 75%", "4 heads (was 8)"."""
    if told.base is not None and told.value is None and told.factor is None and claim.base is None:
        return _based(claim, told.base)
    if told.factor is not None and claim.value is not None and claim.factor is None and told.value is None:
        value = claim.value * told.factor
        return replace(claim, value=value, factor=told.factor, base=claim.value, way=told.way)
    if told.marks and not told.is_sized:
        return replace(claim, marks=claim.marks | told.marks)  # "qk norm with a learnable scale"
    if told.value is not None and claim.value is not None:
        return replace(claim, marks=claim.marks | {f"then{told.value:g}"})  # "2^17 then 2^18"
    if told.is_sized and not claim.is_sized and not claim.way.against(told.way):
        way = claim.way or told.way
        return replace(claim, way=way, value=told.value, factor=told.factor, base=told.base, delta=told.delta)
    return claim


def _noted(claim: Claim, remark: Sequence[Token]) -> Claim:
    """A claim beside which mere numbers stand: where it was, where it goes, or of how many."""
    if any(token.kind in SUBJECT for token in remark):
        return claim
    sizes = sizes_of(remark)
    came, goes = sizes.base, sizes.value
    if claim.way is Way.OFF:
        return claim
    if came is not None and goes is not None and claim.value is None and claim.base is None:
        return _based(replace(claim, value=goes, others=sizes.others), came)  # "two layers deeper (10 instead of 8)"
    if came is not None:
        return _based(claim, came) if claim.base is None else claim
    if goes is None or claim.base is not None:
        return claim
    if any(token.name == "of" for token in remark) and claim.value is not None:
        return replace(claim, others=(*claim.others, *shares(claim.value, goes)))
    if claim.factor is not None and claim.value is None:
        return replace(claim, value=goes, others=sizes.others, base=goes / claim.factor if claim.factor else None)
    if not claim.is_sized and (claim.way in (Way.UP, Way.DOWN) or (claim.measures and not claim.choice)):
        return replace(claim, value=goes, others=sizes.others)  # "a larger window (512)", "label smoothing (0.1)"
    return claim


def _based(claim: Claim, base: float) -> Claim:
    if claim.value is None:
        value = base * claim.factor if claim.factor is not None else None
        return replace(claim, base=base, value=value)
    way = Way.UP if claim.value > base else Way.DOWN if claim.value < base else claim.way
    return replace(claim, base=base, factor=claim.value / base if base else None, way=way)


# --- claims of one text -----------------------------------------------------------------------------------------

# Told together, the second only explains the first: a sized claim of one makes an unsized one of the other idle.
_ATTRIBUTES = frozenset({"init", "eps", "lossweight", "temperature"})
_KIN = ({"width", "aspect", "mlpratio"}, {"heads", "headdim"}, {"width", "heads"}, {"depth", "aspect"})


def _distinct(claims: Sequence[Claim], *, by_definition: bool = False) -> list[Claim]:
    """Each change once: repetitions are merged, and vague claims dropped that a sized one spells out."""
    if by_definition:
        claims = [claim for claim in claims if not _is_telling_how(claim)] or claims
    out: list[Claim] = []
    for claim in claims:
        for at, known in enumerate(out):
            if known.subject == claim.subject and known.marks == claim.marks and _agree(known, claim):
                out[at] = _merged(known, claim)
                break
        else:
            out.append(claim)
    return _without_idle(_with_attributes(out)) if len(out) > 1 else out


def _with_attributes(claims: Sequence[Claim]) -> list[Claim]:
    """A size told of an attribute is the thing's own: "weight EMA, decay 0.999", "layer scale, initialised at 1e-4"."""
    out = [claims[0]]
    for claim in claims[1:]:
        whose = out[-1]
        plain = claim.is_sized and not claim.choice and not claim.marks and claim.measures <= _ATTRIBUTES
        open_ = not whose.is_sized and not whose.choice and whose.way is not Way.OFF
        if plain and open_ and claim.subject <= _implied(whose.subject) | whose.subject:
            out[-1] = _merged(whose, claim)
        elif _is_place(whose) and claim.is_sized and claim.subject == claim.measures and claim.subject <= book().shared:
            out[-1] = replace(claim, subject=claim.subject | whose.subject)  # "the embeddings, trained with lr 0.5"
        elif _is_place(whose) and claim.choice and not claim.is_sized:
            out[-1] = replace(claim, subject=claim.subject | whose.subject)  # "train the lm_head with muon"
        else:
            out.append(claim)
    return out


def _is_telling_how(claim: Claim) -> bool:
    """Whether a claim beside a definition only goes on explaining: "... and add both to the stream"."""
    bare = claim.is_bare and not (claim.choice or claim.marks or claim.former)
    return bare and not claim.measures and claim.subject - claim.extra <= book().places | claim.extra


def _is_place(claim: Claim) -> bool:
    """Whether a claim only names where something happens."""
    plain_ = not (claim.choice or claim.marks - {"all"} or claim.extra)
    return claim.is_bare and plain_ and claim.subject <= book().places


def _without_idle(claims: Sequence[Claim]) -> list[Claim]:
    """Without claims that another of the text says better, or that go without saying beside it."""
    sized = [claim for claim in claims if claim.is_sized]
    out = [claim for claim in claims if not _is_spelt_out(claim, sized)]
    implied = [_implied(claim.subject | claim.former) for claim in out]

    def is_idle(place: int, claim: Claim) -> bool:
        bare = claim.is_bare and not (claim.choice or claim.marks or claim.extra)
        return bare and any(claim.subject <= words for i, words in enumerate(implied) if i != place)

    return [claim for place, claim in enumerate(out) if not is_idle(place, claim)] or out


def _implied(subject: frozenset[str]) -> frozenset[str]:
    implied = book().implied
    return frozenset(word for name in subject for word in implied.get(name, ()))


def _agree(a: Claim, b: Claim) -> bool:
    return not a.way.against(b.way) and a.choice == b.choice and not (a.value is not None and b.value is not None)


def _merged(a: Claim, b: Claim) -> Claim:
    return replace(
        a, way=a.way or b.way, value=b.value if a.value is None else a.value, factor=a.factor or b.factor,
        base=b.base if a.base is None else a.base, delta=a.delta or b.delta,
        others=b.others if a.value is None else a.others,
    )  # fmt: skip


def _is_spelt_out(claim: Claim, sized: Sequence[Claim]) -> bool:
    if claim.choice or claim.marks or claim.extra:
        return False
    if claim.subject == {"heads"} and claim.factor is not None:
        return any(other.subject == {"headdim"} and other.value is not None for other in sized)
    if claim.subject == {"accumulation"} and not claim.is_sized:
        return any(other.subject <= {"batch", "devicebatch"} for other in sized)  # it only follows
    return not claim.is_sized and any(
        claim.subject | other.subject <= kin and claim.subject != other.subject for other in sized for kin in _KIN
    )


def _filled(claims: list[Claim], remarks: Sequence[Claim]) -> list[Claim]:
    """The claims with sizes that a remark tells of the same subject."""
    out = []
    for claim in claims:
        told = claim
        for remark in remarks:
            about = remark.subject == claim.subject or remark.subject <= _implied(claim.subject)
            same = about and remark.marks == claim.marks and not claim.choice
            if same and claim.value is None and not claim.way.against(remark.way) and remark.is_sized:
                way = Way.DOWN if claim.way is Way.OFF else claim.way or remark.way
                told = replace(_merged(claim, remark), way=way)
        out.append(told)
    return out


# --- a lab's own words ------------------------------------------------------------------------------------------


class Named(Protocol):
    """A knob, as far as its words go (see `knobs.Knob`)."""

    @property
    def name(self) -> str: ...

    @property
    def value(self) -> bool | int | float | str: ...


@dataclass(frozen=True, slots=True)
class Term:
    """A lab's knob: what its name says, and where it stands."""

    name: str
    subject: frozenset[str]
    value: float | None


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The knobs of a lab's editable files, so that words are understood as they are meant there."""

    terms: tuple[Term, ...] = ()
    by_name: Mapping[str, Term] = field(default_factory=dict)

    @classmethod
    def of(cls, knobs: Iterable[Named]) -> Lexicon:
        """The words of knobs as `knobs.find_knobs` finds them."""
        terms = tuple(
            Term(knob.name, subject_of(knob.name), _amount(knob.value))
            for knob in sorted(knobs, key=lambda knob: knob.name)
        )
        return cls(terms, {term.name.lower(): term for term in terms})

    def understood(self, claim: Claim) -> Claim:
        """The claim with the lab's name for its subject, and where that stands, if the text does not say so."""
        term = self._term(claim) if self.terms else None
        if term is None:
            return claim
        base = claim.base if claim.base is not None else term.value
        return replace(
            claim, subject=term.subject, marks=frozenset(), extra=frozenset(), knob=term.name, base=base,
            measures=term.subject & measures_known(),
        )  # fmt: skip

    def _term(self, claim: Claim) -> Term | None:
        if claim.knob:
            return self.by_name.get(claim.knob.lower())
        if claim.shown and claim.shown.lower() in self.by_name:
            return self.by_name[claim.shown.lower()]
        if claim.choice or claim.marks - {"all"}:
            return None
        here = claim.subject | claim.extra
        equal = [term for term in self.terms if term.subject == here]
        if equal:  # of MOMENTUM and MOMENTUM_START the plain name is meant
            fewest = min(term.name.count("_") for term in equal)
            plain = [term for term in equal if term.name.count("_") == fewest]
            return plain[0] if len(plain) == 1 else None
        if claim.extra or not claim.measures:
            return None
        wider = [term for term in self.terms if here < term.subject]
        fewest = min((len(term.subject) for term in wider), default=0)
        nearest = [term for term in wider if len(term.subject) == fewest]
        if len(nearest) == 1 and "all" not in claim.marks:
            return nearest[0]
        narrower = [term for term in self.terms if term.subject < here and here - term.subject <= _OPTIMIZERS]
        return narrower[0] if len(narrower) == 1 else None


_OPTIMIZERS = frozenset({"adam", "adamw", "muon", "optimizer", "all", "matrix", "peak"})
NO_LEXICON = Lexicon()


@lru_cache(maxsize=4096)
def subject_of(name: str) -> frozenset[str]:
    """The concepts of a constant's name; an element of a pair of betas has a name of its own."""
    base, _, place = name.partition("[")
    text = base if base.isupper() or "_" in base else base.upper()
    bag, marks = bag_of(placed(tokens(text)))
    if "betas" in bag and place[:1] in ("0", "1"):
        del bag["betas"]
        bag[f"beta{int(place[0]) + 1}"] = Kind.PROPERTY
    topic = topic_of(bag, marks, Sizes())
    said = topic.subject | topic.marks | topic.extra
    is_place = place[:1].isdigit() and not any(name.startswith("beta") for name in said)
    return said | {f"item{int(place[0]) + 1}"} if is_place else said


def _amount(value: bool | int | float | str) -> float | None:
    if isinstance(value, bool):
        return float(value)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def setting(name: str, old: bool | int | float | str | None, new: bool | int | float | str | None) -> Claim:
    """The claim that a knob's change makes."""
    subject = subject_of(name)
    measures = subject & measures_known()
    before, after = None if old is None else _amount(old), None if new is None else _amount(new)
    if isinstance(new, str) or after is None:
        text = frozenset({"=" + str(new).lower()}) if new is not None else frozenset()
        return plain(Claim(subject, choice=text, measures=measures, knob=name, shown=name))
    if isinstance(new, bool) or after == 0:
        return Claim(subject, Way.ON if after else Way.OFF, base=before, measures=measures, knob=name, shown=name)
    way = Way.UNSAID if before is None or before == after else Way.UP if after > before else Way.DOWN
    factor = after / before if before else None
    return Claim(subject, way, after, factor, before, measures=measures, knob=name, shown=name)
