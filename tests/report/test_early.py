"""What early ends have saved, and what the audit says of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightlab.config import Settings
from nightlab.report.dossier import dossier
from nightlab.report.early import early_stops, in_words
from nightlab.report.morning import render
from nightlab.report.nouns import EarlyStops
from nightlab.report.summary import summarise
from nightlab.types import Ended, Finished, Metrics, StoppedEarly, Usage
from tests.report.stories import Story

SETTINGS = Settings(root=Path("/lab"))
GIVEN_UP = StoppedEarly(reason="its loss at 60% of its budget was 0.2 above the champion's", fraction=0.6, behind=0.2)


def story() -> Story:
    """One idea is stopped after two of five minutes; two are audited, of which one is kept."""
    told = Story(SETTINGS)
    told.night(0.9980, 0.9985, 0.9982)
    stopped = told.experiment("hopeless", parent=told.history.champion)
    told.tell(Ended(run=told.start(stopped), outcome=GIVEN_UP, usage=Usage(wall_s=120.0, cpu_s=120.0)))
    told.judge()
    for description, value in (("audited and worse", 1.2), ("audited and better", 0.95)):
        name = told.experiment(description, parent=told.history.champion)
        told.end(told.start(name), Finished(metrics=Metrics(primary=value), spared=GIVEN_UP))
        told.judge()
        told.runs(name, value)
        told.judge()
    return told


def test_stops_audits_and_lost_winners_are_counted() -> None:
    """Minutes against the median run that finished in the same night; the operator's stops are none."""
    told = story()
    told.end(told.start(told.history.night.began.baseline), StoppedEarly(reason="Ctrl-C"))  # type: ignore[union-attr]
    found = early_stops(told.history)
    assert (found.stopped, found.audited, found.audited_kept) == (1, 2, 1)
    assert found.minutes_saved == pytest.approx(3.0)
    assert summarise(told.history, SETTINGS, told.now).early == found


def test_the_report_tells_of_them() -> None:
    """In the short facts; the stopped idea is no failure, and its verdict says that nothing was measured."""
    told = story()
    text = render(told.history, told.records, SETTINGS, told.now)
    assert "1 run ended early" in text
    assert "about 3 min saved" in text
    assert "2 runs, 1 of 2 kept in the end" in text
    assert "## What Failed" not in text
    (verdict,) = (s.verdict for s in told.history.experiments.values() if s.experiment.description == "hopeless")
    assert verdict is not None
    assert "no measurement" in verdict.because


def test_a_spared_run_says_so() -> None:
    """Whoever looks at it sees that the looks were against it."""
    told = story()
    (state,) = (s for s in told.history.experiments.values() if s.experiment.description == "audited and better")
    runs = dossier(told.history, SETTINGS, state, None).runs
    assert [run.because.startswith("let finish as an audit: its loss") for run in runs] == [True, False]


def test_nothing_is_said_of_nothing() -> None:
    """A night in which nothing was stopped has no such line."""
    assert in_words(EarlyStops()) == ""
    assert "none kept" in in_words(EarlyStops(audited=1))
