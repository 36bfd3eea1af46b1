"""Events to JSON and back. Only here and in the tables does an event have a spelling."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from nightlab.errors import LedgerDamagedError, LedgerUnreadableError
from nightlab.types import (
    OUTCOMES,
    Adopted,
    Conditions,
    Consulted,
    Ended,
    Event,
    Imported,
    Judged,
    Logged,
    NightBegan,
    NightEnded,
    Noted,
    Outcome,
    Proposed,
    RunId,
    Started,
    Unranked,
    Usage,
)

KINDS: dict[str, type[Event]] = {
    "proposed": Proposed,
    "adopted": Adopted,
    "started": Started,
    "ended": Ended,
    "judged": Judged,
    "night_began": NightBegan,
    "night_ended": NightEnded,
    "logged": Logged,
    "imported": Imported,
    "unranked": Unranked,
    "noted": Noted,
    "consulted": Consulted,
}
_T = TypeVar("_T")
_NAMES = {cls: name for name, cls in KINDS.items()}
OUTCOME_KINDS = {cls.__name__.lower(): cls for cls in OUTCOMES}


class _Ended(msgspec.Struct):
    """`Ended` as stored: its union of outcomes is told apart by a word of its own."""

    run: RunId
    kind: str
    outcome: msgspec.Raw
    usage: Usage
    conditions: Conditions | None = None


def outcome_kind(outcome: Outcome) -> str:
    """The word under which an outcome is stored and printed: finished, crashed, timedout ..."""
    return type(outcome).__name__.lower()


def encode(event: Event) -> tuple[str, str | None, bytes]:
    """Kind, key and JSON body of an event. Two events of one kind and key exclude each other."""
    kind = _NAMES[type(event)]
    if isinstance(event, Ended):
        raw = msgspec.Raw(_json(event.outcome))
        return (
            kind,
            event.run,
            _json(_Ended(event.run, outcome_kind(event.outcome), raw, event.usage, event.conditions)),
        )
    return kind, _key(event), _json(event)


def _json(value: object) -> bytes:
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:  # half a surrogate pair: a file name that is no UTF-8, or a model's slip
        return msgspec.json.encode(_mended(msgspec.to_builtins(value)))


def _mended(value: object) -> object:
    """`value` with a question mark for each character that UTF-8 cannot hold."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, dict):
        return {_mended(name): _mended(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_mended(item) for item in value]
    return value


def _key(event: Event) -> str | None:
    if isinstance(event, Proposed):
        return event.experiment.id
    if isinstance(event, Adopted):
        return event.experiment
    if isinstance(event, Started):
        return event.run.id
    if isinstance(event, Ended | Logged):
        return event.run
    if isinstance(event, Imported):
        return event.digest
    if isinstance(event, NightBegan | NightEnded):
        return event.night
    return None


def decode(kind: str, body: bytes) -> Event:
    """The event of a stored row.

    Raises:
        LedgerUnreadableError: the row is not one of ours, or of a newer nightlab.
    """
    try:
        if kind == "ended":
            stored = msgspec.json.decode(body, type=_Ended)
            outcome = msgspec.json.decode(stored.outcome, type=OUTCOME_KINDS[stored.kind])
            return Ended(run=stored.run, outcome=outcome, usage=stored.usage, conditions=stored.conditions)
        return msgspec.json.decode(body, type=KINDS[kind])
    except (KeyError, UnicodeDecodeError, msgspec.DecodeError) as exc:
        raise LedgerUnreadableError(
            f"the ledger holds a {kind!r} event that this nightlab cannot read: {exc}",
            hint="it may come from a newer version: update nightlab, and run `nightlab doctor`",
        ) from exc


def stored(data: bytes | str, kind: type[_T]) -> _T:
    """What a table holds as JSON; tables are folded from events that were read back before they were written.

    Raises:
        LedgerDamagedError: it was changed since.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise LedgerDamagedError(
            f"a table of the ledger holds what cannot be read: {exc}",
            hint="`nightlab doctor --repair` makes the tables anew from the events",
        ) from exc
