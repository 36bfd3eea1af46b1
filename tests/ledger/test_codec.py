"""Events to JSON and back."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given

from nightlab.errors import LedgerError, LedgerUnreadableError
from nightlab.ledger import codec
from nightlab.types import (
    OUTCOMES,
    Ended,
    Event,
    Finished,
    Metrics,
    NightBegan,
    NightEnded,
    NightId,
    Noted,
    Outcome,
    Proposed,
    RunId,
    Started,
    Usage,
    Voided,
)
from tests.builders import ended, experiment, run
from tests.ledger.events import outcomes, single_events


@given(event=single_events)
def test_every_event_comes_back_as_it_was(event: Event) -> None:
    """What is encoded decodes to an equal event, whatever its words and numbers."""
    kind, _, body = codec.encode(event)
    assert codec.decode(kind, body) == event


@given(outcome=outcomes)
def test_every_outcome_comes_back_as_it_was(outcome: Outcome) -> None:
    """An ending keeps its type and all that it says."""
    kind, _, body = codec.encode(ended(outcome=outcome))
    decoded = codec.decode(kind, body)
    assert isinstance(decoded, Ended)
    assert decoded.outcome == outcome
    assert type(decoded.outcome) is type(outcome)


def test_a_plan_of_an_older_ledger_is_read_without_what_plans_no_longer_say() -> None:
    """A proposal that still carries `predicted_gain`, and nothing that came later, loads: ledgers outlive fields."""
    proposed = Proposed(experiment=experiment("a", parent="b"))
    kind, _, body = codec.encode(proposed)
    told = json.loads(body)
    assert told["experiment"]["plan"]["emitter"] == "knob"
    told["experiment"]["plan"] = {"emitter": "knob", "brief": "", "niche": "", "predicted_gain": 0.25, "seeds": 1}
    assert codec.decode(kind, json.dumps(told).encode()) == proposed


def test_words_for_outcomes_are_distinct() -> None:
    """Each type of ending is stored under a word of its own."""
    assert len(codec.OUTCOME_KINDS) == len(OUTCOMES)


def test_keys_name_what_happens_once() -> None:
    """A proposal, a start, an ending and a night have the key of their noun; a note may come again and again."""
    events: dict[str | None, Event] = {
        experiment("a").id: Proposed(experiment=experiment("a")),
        "r1": Started(run=run("r1")),
        "n1": NightEnded(night=NightId("n1"), reason=""),
        None: Noted(topic="", text=""),
    }
    assert [codec.encode(event)[1] for event in events.values()] == list(events)
    began = NightBegan(night=NightId("n1"), seed=0, ideas=1, hours=None, baseline=experiment("a").id)
    assert codec.encode(began)[:2] == ("night_began", "n1")
    assert codec.encode(ended("r1"))[:2] == ("ended", "r1")


def test_half_a_surrogate_pair_is_mended() -> None:
    """A file name that is no UTF-8 does not keep a breach from being recorded."""
    kind, _, body = codec.encode(ended(outcome=Voided(paths=("caf\udce9.py", "ok.py"))))
    decoded = codec.decode(kind, body)
    assert isinstance(decoded, Ended)
    assert decoded.outcome == Voided(paths=("caf?.py", "ok.py"))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("invented", b"{}"),
        ("ended", b'{"run":"r","kind":"exploded","outcome":{},"usage":{"wall_s":1,"cpu_s":1}}'),
        ("ended", b'{"run":"r","kind":"finished","outcome":{},"usage":{"wall_s":1,"cpu_s":1}}'),
        ("noted", b'{"topic":"x"}'),
        ("noted", b"no JSON"),
        ("noted", b'{"topic":"\xff","text":""}'),
        ("noted", b""),
    ],
)
def test_what_we_cannot_read_is_called_so(kind: str, body: bytes) -> None:
    """A row of a newer nightlab or a damaged one is named with its kind and a way out."""
    with pytest.raises(LedgerUnreadableError, match=kind) as caught:
        codec.decode(kind, body)
    assert "nightlab doctor" in caught.value.hint


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_a_number_that_json_cannot_hold_cannot_be_read(number: float) -> None:
    """NaN among the numbers of a run is noticed by decoding, which the ledger does before it writes."""
    outcome = Finished(metrics=Metrics(primary=1.0, extra={"loss": number}))
    kind, _, body = codec.encode(Ended(run=RunId("r1"), outcome=outcome, usage=Usage(wall_s=1.0, cpu_s=1.0)))
    with pytest.raises(LedgerError):
        codec.decode(kind, body)
