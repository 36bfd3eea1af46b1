"""A history's rows in their order: what each stands on, what it changes, and which are runs of the same thing. Pure."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nightlab.report.taught import Mark
from nightlab.search.book import book, stem
from nightlab.search.likeness import Reading
from nightlab.search.words import Claim
from nightlab.types import Direction, Imported

KEEP, CRASH = "keep", "crash"


@dataclass(frozen=True, slots=True)
class Try:
    """A row with what stands before it."""

    row: Imported
    number: int
    value: float | None
    base: float | None  # the value that was kept last before it
    gain: float | None  # over that one, positive is better
    same: str  # key of what ran: equal for runs of the same thing
    config: Mapping[str, object] | None
    reading: Reading | None  # of its description; None of a configuration, and where it says that nothing is changed
    subjects: tuple[str, ...]

    @property
    def is_untold(self) -> bool:
        """Whether nobody tells its value, though it is no crash: whether it was ever measured is not known."""
        return self.row.metrics is None and self.row.status != CRASH

    @property
    def mark(self) -> Mark:
        assert self.value is not None
        return Mark(row=self.number, value=self.value, description=self.row.description, commit=self.row.commit)


def tries_of(rows: Sequence[Imported], direction: Direction) -> list[Try]:
    """The rows in their order. Files are told apart; values of another metric are left aside."""
    any_ranked = any(r.ranked and r.metrics for r in rows)
    bases: dict[str, _Base] = defaultdict(_Base)
    spelling = _spelling(row.description for row in rows)
    found = []
    for index, row in enumerate(rows, 1):
        base = bases[row.origin]
        value = row.metrics.primary if row.metrics and (row.ranked or not any_ranked) else None
        config = _config(row)
        is_idea = config is None and row.description and not names_control(row.description)
        reading = Reading.of(row.description) if is_idea else None  # once: with many rows this is what takes the time
        gain = direction.sign * (base.value - value) if value is not None and base.value is not None else None
        same = base.key(row, config)
        subjects = (
            () if base.is_new else _subjects_of(row, config, reading, spelling)
        )  # what runs first changes nothing
        found.append(Try(row, index, value, base.value, gain, f"{row.origin}\0{same}", config, reading, subjects))
        base.pass_on(row, value, same)
    return found


class _Base:
    """What a chain of ideas stands on: the last thing kept. The loop goes back to it before each idea."""

    def __init__(self) -> None:
        self.value: float | None = None
        self._keeps = 0
        self._kept = ("", "")  # key and commit of what was kept last
        self._first = ("", "")  # and of what ran first

    @property
    def is_new(self) -> bool:
        return not self._first[0]

    def key(self, row: Imported, config: Mapping[str, object] | None) -> str:
        """Equal for rows that are runs of the same thing, as far as they tell."""
        if row.source_hash:
            return f"source {row.source_hash}"
        if config is not None:
            return f"config {json.dumps(config, sort_keys=True)}"
        if words := names_control(row.description):
            key, commit = self._first if words & _OF_FIRST else self._kept
            if key and not (_HEX.fullmatch(row.commit) and _HEX.fullmatch(commit) and row.commit != commit):
                return key
        text = " ".join(row.description.lower().split())
        # Without a commit it is the same only on the same base: "halve it" twice is a quarter.
        return f"commit {row.commit} {text}" if row.commit else f"text {self._keeps} {text}"

    def pass_on(self, row: Imported, value: float | None, same: str) -> None:
        if not self._first[0]:
            self._first = (same, row.commit)
        if row.status == KEEP:
            self.value = value if value is not None else self.value
            self._keeps += same != self._kept[0]
            self._kept = (same, row.commit)


_HEX = re.compile(r"[0-9a-f]{5,40}")
_WORD = re.compile(r"[a-z]+")
_FIRST_TEXT = "baseline base default defaults original unmodified"
_AGAIN_TEXT = "rerun repeat repeated replicate replication reproduce unchanged control"
_BESIDE_TEXT = (
    "re run runs again seed seeds same no change changes current best champion reference check noise variance confirm "
    "of the with a for as is on first second third configuration measured"
)
_OF_FIRST = frozenset(_FIRST_TEXT.split())
_NAMING = _OF_FIRST | frozenset(_AGAIN_TEXT.split())
_CONTROL = _NAMING | frozenset(_BESIDE_TEXT.split())


def names_control(description: str) -> frozenset[str]:
    """The words of a row that says it runs what is there already; none if it says anything else."""
    words = frozenset(_WORD.findall(description.lower()))
    return words if words <= _CONTROL and words & _NAMING else frozenset()


def _config(row: Imported) -> Mapping[str, object] | None:
    text = row.read.get("config", "")
    if not text.startswith("{"):
        return None
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


# --- what a row changes -----------------------------------------------------------------------------------------

_MOVED = re.compile(r"(?:^|, )([^\s,]+) [^,=]{1,128}? -> ")
_OF_BASELINE = re.compile(r"\W*(?:\w+\W+){0,3}baseline\b")
_SPELT = re.compile(r"[a-z]+\d?")
_NAMING_WORDS = 3  # of a subject: more are a sentence


def _spelling(descriptions: Iterable[str]) -> Mapping[str, str]:
    """Concept or stem -> how the rows spell it; only concepts that are one word there, or are none to us."""
    words = dict.fromkeys(word for text in descriptions for word in _SPELT.findall(text.lower()))
    found: dict[str, str] = {}
    for word in words:
        found.setdefault(stem(word), word)
    known = {name: name if name in words else spelt for name, spelt in book().spelt.items()}
    return {**found, **known}


def _subjects_of(
    row: Imported, config: Mapping[str, object] | None, reading: Reading | None, spelling: Mapping[str, str]
) -> tuple[str, ...]:
    """What a row changes, in its own words: knobs by their names, else as the search reads it."""
    if config is not None:
        return tuple(dict.fromkeys(_MOVED.findall(row.description)))
    if reading is None or _OF_BASELINE.match(row.description[:200].lower()):
        return ()
    named = (_name_of(claim, spelling) for claim in reading.claims)
    return tuple(dict.fromkeys(name for name in named if name))


def _name_of(claim: Claim, spelling: Mapping[str, str]) -> str:
    """What a claim is about, the measured thing last: matrix lr, weight decay."""
    names = sorted(claim.subject | claim.choice, key=lambda name: (name in claim.measures, name))
    plain = [name.lstrip("=") for name in names[-_NAMING_WORDS:]]
    return " ".join(spelling.get(name, name) for name in plain)
