"""A claim, and the one form that the several ways of saying it share.

Full attention is no window, a flat rate has no warmdown, a pattern of one letter is the same in every layer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from nightlab.search.amounts import Way
from nightlab.search.book import book
from nightlab.search.clauses import INSTEAD


@dataclass(frozen=True, slots=True)
class Claim:
    """One change that a text speaks of."""

    subject: frozenset[str]  # concepts; where the field has none for it, words
    way: Way = Way.UNSAID
    value: float | None = None  # what it is set to
    factor: float | None = None  # what it is multiplied with
    base: float | None = None  # where it stood, if the text says so
    delta: float | None = None  # what is added
    others: tuple[float, ...] = ()  # other readings of the value: "1M" is 2**20 or 10**6, "2% of 5000" 0.02 or 100
    choice: frozenset[str] = frozenset()  # which kind is chosen
    former: frozenset[str] = frozenset()  # and instead of which
    marks: frozenset[str] = frozenset()  # what narrows the change down: "last2"
    extra: frozenset[str] = frozenset()  # words beside a known subject that nobody has heard of
    measures: frozenset[str] = frozenset()  # those of the subject that can be more or less
    in_row: bool = False  # one of several values written together, which may stand as it stood
    knob: str = ""  # the lab's own name for it
    shown: str = ""  # the name as it was written

    @property
    def is_sized(self) -> bool:
        """Whether a size is told, not only a direction."""
        return self.value is not None or self.factor is not None or self.delta is not None

    @property
    def is_bare(self) -> bool:
        """Whether nothing is said of direction or size."""
        return self.way in (Way.UNSAID, Way.ON) and not self.is_sized

    @property
    def title(self) -> str:
        """The subject in words for people."""
        if self.knob or self.shown:
            return self.knob or self.shown
        return " ".join(sorted(self.subject | self.marks, key=lambda name: (name in self.measures, name)))


_STEADY = frozenset({"steady", "constant", "fixed"})
MOVING = frozenset({"annealed", "schedule", "decay", "warmup", "warmdown", "scheduled", "progressive"})
_TELLING = _STEADY | MOVING
_SCHEDULED = frozenset({"weightdecay", "momentum", "dropout", "batch", "window", "temperature", "beta2", "beta1", "lr"})
_OPEN = (Way.UNSAID, Way.ON)


def plain(claim: Claim) -> Claim:
    """The claim in the form that all ways of saying it share."""
    if claim.is_sized:
        return claim
    if claim.choice:
        return _pattern(claim) if "windowpattern" in claim.subject else _flat(claim)
    for name, other in () if claim.subject.isdisjoint(INSTEAD) else INSTEAD.items():
        if name in claim.subject and claim.way in (*_OPEN, Way.OFF):
            return _left_out(claim, name, other)
    if claim.subject == {"posembed"} and claim.way is Way.OFF and not claim.marks:
        return replace(claim, subject=frozenset({"rope"}))  # whichever encoding there is
    if claim.subject == {"window"} and "all" in claim.marks and claim.way in _OPEN:
        return replace(claim, way=Way.ON, marks=claim.marks - {"all"})  # windows are meant for every layer
    return _given_up(_steady(claim))


def _left_out(claim: Claim, name: str, other: str) -> Claim:
    rest = claim.subject - {name} - book().implied.get(other, frozenset())
    subject = rest | {other}
    way = Way.ON if claim.way is Way.OFF else Way.OFF
    return replace(
        claim,
        subject=subject,
        way=way,
        former=claim.former - {other},
        measures=claim.measures & subject | _counted(other),
    )


def _counted(name: str) -> frozenset[str]:
    return frozenset({name}) if name == "window" else frozenset()


def _pattern(claim: Claim) -> Claim:
    """A pattern of one letter: long windows only are no windows, short ones only are windows in every layer."""
    letters = {letter for name in claim.choice for letter in name.lstrip("=")}
    if len(claim.choice) != 1 or letters not in ({"l"}, {"s"}) or claim.subject != {"windowpattern"}:
        return claim
    way = Way.OFF if letters == {"l"} else Way.ON
    window = frozenset({"window"})
    return replace(claim, subject=window, way=way, choice=frozenset(), former=frozenset(), measures=window)


def _flat(claim: Claim) -> Claim:
    """A constant learning rate: it has no warmdown."""
    if claim.choice != {"constant"} or not claim.subject <= {"schedule", "lr", "warmdown"}:
        return claim
    way = Way.UNSAID if claim.way is Way.OFF else Way.OFF
    down = frozenset({"warmdown"})
    return replace(claim, subject=down, way=way, choice=frozenset(), former=frozenset(), measures=down)


def _steady(claim: Claim) -> Claim:
    """What stays as it is over a run, also where it is told by the schedule that it does not have."""
    said = claim.subject | claim.marks
    if said.isdisjoint(_TELLING):
        return claim
    held = said & _STEADY and claim.way in _OPEN
    let = said & MOVING and claim.way is Way.OFF
    whose = claim.measures & _SCHEDULED - MOVING
    if not (held or let) or len(whose) != 1:
        return claim
    gone = _TELLING | {"all"}
    subject = claim.subject - gone
    if subject == {"lr"}:
        if not held:
            return claim  # no warmup is another thing than no warmdown
        return replace(claim, subject=frozenset({"warmdown"}), measures=frozenset({"warmdown"}), way=Way.OFF,
                       marks=claim.marks - gone, former=frozenset())  # fmt: skip
    return replace(
        claim, subject=subject | {"steady"}, measures=claim.measures - gone, marks=claim.marks - gone,
        extra=claim.extra - gone, way=Way.UNSAID, former=frozenset(),
    )  # fmt: skip


def without_schedule(claim: Claim, told: Claim) -> Claim | None:
    """ "Weight decay without the decay to zero": the two claims as one, if that is what they say."""
    whose = claim.measures & _SCHEDULED - MOVING - {"lr"}
    if not (claim.is_bare and len(whose) == 1 and claim.subject == whose and told.way is Way.OFF):
        return None
    if not told.subject or not told.subject <= MOVING | {"finallr"}:
        return None
    return replace(claim, subject=whose | {"steady"}, way=Way.UNSAID)


def _given_up(claim: Claim) -> Claim:
    """ "A rather than B" where A is only what is left without B."""
    if not claim.former or claim.way not in _OPEN or claim.marks or len(claim.former) > 2:
        return claim
    implied = frozenset(word for name in claim.former for word in book().implied.get(name, ()))
    if not claim.subject <= implied or not claim.subject:
        return claim
    measures = frozenset(claim.measures & claim.former)
    return replace(claim, subject=claim.former, former=frozenset(), way=Way.OFF, measures=measures)
