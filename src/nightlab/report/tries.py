"""A history's rows in their order: what each stands on, what it changes, and which are runs of the same thing. Pure."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from nightlab.report.taught import MANY_CHANGES, Mark
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
    subjects: tuple[str, ...]

    @property
    def mark(self) -> Mark:
        assert self.value is not None
        return Mark(row=self.number, value=self.value, description=self.row.description, commit=self.row.commit)


def tries_of(rows: Sequence[Imported], direction: Direction) -> list[Try]:
    """The rows in their order. Files are told apart; values of another metric are left aside."""
    any_ranked = any(r.ranked and r.metrics for r in rows)
    bases: dict[str, _Base] = defaultdict(_Base)
    found = []
    for index, row in enumerate(rows, 1):
        base = bases[row.origin]
        value = row.metrics.primary if row.metrics and (row.ranked or not any_ranked) else None
        config = _config(row)
        gain = direction.sign * (base.value - value) if value is not None and base.value is not None else None
        same = base.key(row, config)
        subjects = () if base.is_new else _subjects_of(row, config)  # what runs first changes nothing
        found.append(Try(row, index, value, base.value, gain, f"{row.origin}\0{same}", config, subjects))
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

_KNOB = re.compile(r"\b[A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+\b|\b[A-Z]{4,}\b(?=\s*(?:[=\d]|->|\u2192))")
_MOVED = re.compile(r"(?:^|, )([^\s,]+) [^,=]{1,128}? -> ")
_REMARK = re.compile(
    r"\s[-\u2013\u2014]+\s|\s*[(;]|: (?=[a-z])|\.\s|\b(?:because|so that|hypothesis|worse|slower|timed out|finished|"
    r"failed|instead of|rather than|crashed|improved|regressed|diverged)\b"
)
_BEFORE = re.compile(r"^(?:\s*\[[^\]]*\]\s*|\s*\w{1,16}\d:\s*)+")  # [Phase1], gpu0:
_JOIN = re.compile(r"\s*(?:,|;|&|\+|\band\b|\bwith\b|\bplus\b|\bon top of\b)\s*")
_TOKEN = re.compile(r"[^\W\d_]+\d?(?=\b|_)", re.ASCII)
_SAID_OTHERWISE = (
    (re.compile(r"learning[ -]rates?|step[ -]sizes?|\blrs\b"), "lr"),
    (re.compile(r"cool[ -]?down|warm[ -]down"), "warmdown"),
    (re.compile(r"warm[ -]up"), "warmup"),
    (re.compile(r"\bwd\b"), "weight decay"),
    (re.compile(r"\bembed\b|\bembeddings\b"), "embedding"),
    (re.compile(r"\bactivations\b"), "activation"),
)
_EMPTY_TEXT = (
    "a an the of to in on at by for from as is be it its into this that we our use uses using set setting try "
    "trying test change changing make making size ratio number count value total fraction frac factor more less "
    "fewer higher lower larger smaller bigger longer shorter wider narrower deeper stronger weaker faster increase "
    "increased raise raised boost bump lengthen shorten extend decrease decreased reduce reduced cut halve halved "
    "half double doubled triple add added remove removed drop enable disable replace replaced instead switch "
    "switched swap swapped no not without only all up down back again k m x step steps then than per each new old "
    "first second best baseline base default slightly min minute minutes hour budget time measured current likely "
    "once much too very slight further even full model training run config configuration vs over via was were are "
    "has have keep keeping kept"
)
_OF_BASELINE = re.compile(r"\W*(?:\w+\W+){0,3}baseline\b")
_NO_SUBJECT = frozenset(_EMPTY_TEXT.split())
_GENERAL = frozenset({"activation", "function", "layer"})  # say nothing beside a name


def _subjects_of(row: Imported, config: Mapping[str, object] | None) -> tuple[str, ...]:
    """What a row changes, in its own words: knobs by their names, else the first words of each clause."""
    if config is not None:
        return tuple(dict.fromkeys(_MOVED.findall(row.description)))
    if names_control(row.description) or _OF_BASELINE.match(row.description[:200].lower()):
        return ()
    return _named(row.description[:400])


@lru_cache(maxsize=4096)
def _named(text: str) -> tuple[str, ...]:
    text = _BEFORE.sub("", text)
    stated = _REMARK.split(text, maxsplit=1)[0] or text
    found: dict[str, None] = {}
    for clause in _JOIN.split(stated):
        knobs = [match.group() for match in _KNOB.finditer(clause)]
        for words in knobs or [clause]:
            if subject := _subject(words):
                found.setdefault(subject)
    return tuple(found)[: MANY_CHANGES * 2]


def _subject(words: str) -> str:
    text = words.lower().replace("_", " ").replace("-", " ")
    for pattern, name in _SAID_OTHERWISE:
        text = pattern.sub(name, text)
    tokens = [w[:-1] if len(w) > 4 and w.endswith("s") and not w.endswith(("ss", "us")) else w
              for w in _TOKEN.findall(text)]  # fmt: skip
    named = [w for w in tokens if w not in _NO_SUBJECT and len(w) > 1]
    return " ".join([w for w in named if w not in _GENERAL or len(named) == 1][:3])
