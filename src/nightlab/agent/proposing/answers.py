"""Lists of ideas as a model writes them, read into lines; and which of them only set constants. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nightlab.report.text import plain
from nightlab.search.knobs import Knob, literal
from nightlab.search.moves import move_to
from nightlab.search.pieces import Piece
from nightlab.types import Change

MOST = 8  # ideas of one answer that are looked at
LONGEST = 160  # characters of an idea: one line, as a commit's subject has it
REASON = 400  # characters of why it should help

_THOUGHT = re.compile(r"<(think|thinking|reasoning)>.*?(</\1>|\Z)", re.DOTALL | re.IGNORECASE)
_ITEM = re.compile(r"^\s*(?:[*_]{2})?(?:\(?\d{1,2}[.):]|[-*•])(?:[*_]{2})?\s+(?P<text>\S.*)$")
_SEPARATOR = re.compile(r"\s+[|\u2013\u2014]\s+|\s+\|\s*|\s+-{1,2}\s+(?=[A-Za-z])")
_ARROW = r"(?:=|:=|->|→|\bto\b)"
_VALUE = r"[-+]?[\d.]+[eE][-+]?\d+|[-+]?[\w.]+|\"[^\"]*\"|'[^']*'"
_SETTING = re.compile(rf"(?P<name>[A-Z][A-Z0-9_]*)\s*(?:(?:=|:|from)?\s*(?:{_VALUE})\s*)??{_ARROW}\s*(?P<new>{_VALUE})")
_BETWEEN = re.compile(r"(?:set|with|and|change|raise|lower|move|increase|decrease|[\s,;.`*+&])*", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One idea of a list."""

    text: str  # what is changed
    reason: str = ""  # why it should help


def without_thoughts(answer: str) -> str:
    """An answer without what a model thought aloud before it."""
    return _THOUGHT.sub("", answer).strip()


def ideas_of(answer: str) -> tuple[Line, ...]:
    """The ideas of a list: numbered or bulleted lines `change | reason`, or a JSON list; at most `MOST`, each once."""
    found = _as_json(answer) or [m["text"] for line in answer.split("\n") if (m := _ITEM.match(line))]
    lines: dict[str, Line] = {}
    for text in found:
        change, *reason = _SEPARATOR.split(text, maxsplit=1)
        bare = plain(re.sub(r"[`*]{1,3}", "", change).strip().strip(":"), LONGEST)
        if bare:
            lines.setdefault(bare.lower(), Line(text=bare, reason=plain(reason[0], REASON) if reason else ""))
    return tuple(lines.values())[:MOST]


def _as_json(answer: str) -> list[str]:
    """A list of texts, or of objects with a text each; empty where the answer is none."""
    start, end = answer.find("["), answer.rfind("]")
    if start < 0 or end < start:
        return []
    try:
        found = json.loads(answer[start : end + 1])
    except (ValueError, RecursionError):
        return []
    items = [" | ".join(map(str, item.values())) if isinstance(item, Mapping) else item for item in found]
    return [item for item in items if isinstance(item, str)]


def settings_in(text: str, knobs: Sequence[Knob]) -> tuple[Change, ...]:
    """The changes of an idea that does nothing but set constants of the source; empty for any other.

    Args:
        text: the idea in one line, constants by name: `MATRIX_LR = 0.05, DEPTH 8 -> 6`.
        knobs: the constants there are.
    """
    by_name = {knob.name: knob for knob in knobs}
    changes: list[Change] = []
    rest = 0
    for match in _SETTING.finditer(text):
        knob, value = by_name.get(match["name"]), literal(match["new"].rstrip("."))
        move = move_to(knob, match["new"].rstrip("."), value) if knob is not None and value is not None else None
        if move is None or not _BETWEEN.fullmatch(text[rest : match.start()]):
            return ()
        changes.append(Piece(move).change)
        rest = match.end()
    return tuple(changes) if changes and _BETWEEN.fullmatch(text[rest:]) else ()
