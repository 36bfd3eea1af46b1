"""Ideas compared by what each changed in its base (`types.Change`), where their sources are known."""

from __future__ import annotations

from collections.abc import Sequence

from nightlab.search.likeness import Likeness, Reading, Relation, band
from nightlab.search.pairs import Pair
from nightlab.search.words import Lexicon, setting
from nightlab.types import Change, ChangeKind


def comparable(ours: Sequence[Change], theirs: Sequence[Change]) -> bool:
    """Whether both sides' changes are of one making: an edit's name says nothing of a free change's signature."""
    if not ours or not theirs:
        return False
    kinds = {change.kind for change in (*ours, *theirs)}
    return not {ChangeKind.EDIT, ChangeKind.FREE} <= kinds


def by_changes(new: Sequence[Change], old: Sequence[Change], *, on_new_base: bool) -> Likeness:
    """Two sources compared by what each changed in its base."""
    ours, theirs = {_key(c): c for c in new}, {_key(c): c for c in old}
    shared = len(ours.keys() & theirs.keys()) / len(ours.keys() | theirs.keys())
    if not shared:
        return Likeness(Relation.OTHER, 0.0, "the sources change different things")
    for key in sorted(ours.keys() & theirs.keys()):
        pair = _compare_changes(ours[key], theirs[key])
        if pair is Pair.OPPOSITE:
            return Likeness(Relation.OPPOSITE, band(0.62, 0.65, shared), f"moves {ours[key].name} the other way")
    values = [
        key for key in sorted(ours.keys() & theirs.keys()) if _compare_changes(ours[key], theirs[key]) is Pair.VALUE
    ]
    more, less = ours.keys() - theirs.keys(), theirs.keys() - ours.keys()
    if more and less:
        names = ", ".join(ours[key].name for key in sorted(ours.keys() & theirs.keys()))
        return Likeness(
            Relation.OTHER, round(0.3 + 0.29 * shared, 3), f"both touch {names}, each with other changes besides"
        )
    if values:
        a, b = ours[values[0]], theirs[values[0]]
        return Likeness(Relation.OTHER_VALUE, band(0.66, 0.70, shared), f"sets {a.name} to {a.new}, not {b.new}")
    if more or less:
        names = ", ".join((ours | theirs)[key].name for key in sorted(more or less))
        why = f"the same and more: it adds {names}" if more else f"a part of the earlier idea: only {names} is missing"
        return Likeness(Relation.REFINEMENT, band(0.70, 0.85, shared), why)
    why = "both " + ", ".join(_said(change) for change in new[:4])
    if on_new_base:
        return Likeness(Relation.NEW_BASE, 0.95, f"{why}, but on another base")
    return Likeness(Relation.SAME, 0.99, why)


def _literal(text: str) -> bool | int | float | str | None:
    """The value of a knob's text. `knobs` parses source, which a `check` in words never needs: it is imported late."""
    from nightlab.search.knobs import literal

    return literal(text)


def _key(change: Change) -> tuple[str, str]:
    """What must be equal for two changes to be about one thing: a free one is known by its signature alone."""
    return change.kind.value, change.new if change.kind is ChangeKind.FREE else change.name


def _said(change: Change) -> str:
    return f"set {change.name} to {change.new}" if change.kind is ChangeKind.KNOB else f"change {change.name}"


def _compare_changes(ours: Change, theirs: Change) -> Pair:
    if ours.kind is not ChangeKind.KNOB:
        return Pair.SAME
    before, after = _literal(ours.old), _literal(ours.new)
    earlier, later = _literal(theirs.old), _literal(theirs.new)
    if ours.new == theirs.new or (after is not None and after == later and type(after) is type(later)):
        return Pair.SAME
    numbers = [value for value in (before, after, earlier, later) if isinstance(value, int | float)]
    if len(numbers) == 4 and (numbers[1] - numbers[0]) * (numbers[3] - numbers[2]) < 0:
        return Pair.OPPOSITE
    return Pair.VALUE


def rendered(changes: Sequence[Change], reading: Reading, lexicon: Lexicon) -> Reading:
    """An idea's source as a reading: its knobs as claims. Where more than knobs changed, its words tell better."""
    if not changes or any(change.kind is not ChangeKind.KNOB for change in changes):
        return reading
    claims = [setting(change.name, _literal(change.old), _literal(change.new)) for change in changes]
    if lexicon.terms:
        claims = [lexicon.understood(claim) for claim in claims]
    return Reading(tuple(claims), reading.words)
