"""What the judge is given of a history: rows on one clock, the lab's prior, and what an idea costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nightlab import decide, judging
from nightlab.config import JudgeSettings, Settings
from nightlab.judge import race
from nightlab.judge.prior import GENERIC, HELPS, LEARN_FROM, SHIPPED
from nightlab.search.source import code_lines
from nightlab.types import (
    Conditions,
    Decision,
    Ended,
    Environment,
    Finished,
    Metrics,
    Purpose,
    Reading,
    Recorded,
    Started,
    Usage,
    Verdict,
)
from tests.report.stories import START, Story

SETTINGS = Settings(root=Path("/lab"))
BASE = (0.9980, 0.9985, 0.9982)
SIGMA = 0.0005
KNOWN = replace(SETTINGS, judge=JudgeSettings(noise=SIGMA, noise_runs=1000.0))


# --- rows -------------------------------------------------------------------------------------------------------


def on(told: Story, device: str) -> None:
    """The newest run is one on another device, as a night on several has them."""
    started = told.recorded[-1]
    assert isinstance(started.event, Started)
    here = Environment(device=device, machine="story", python="3.11", platform="linux")
    event = Started(run=replace(started.event.run, environment=here))
    told.recorded[-1] = Recorded(seq=started.seq, at=started.at, event=event)
    told.history = type(told.history).fold(told.recorded)


def test_a_slot_is_a_usual_run_long() -> None:
    """Runs one after the other lie a slot apart, an hour's pause counts as the runs that it had room for."""
    for minutes in (5.0, 0.25):
        told = Story(SETTINGS, minutes=minutes)
        base = told.night(0.998, 0.9985)
        told.now += 60 * 12 * minutes
        told.runs(base, 0.9982, purpose=Purpose.REPLICATE)
        slots = [row.slot for row in judging.rows(told.history, SETTINGS)]
        assert [slot - slots[0] for slot in slots] == pytest.approx([0.0, 1.0, 14.0])


def test_values_are_losses_from_runs_that_may_steer() -> None:
    """Final runs are rows of their own, or stand among the others where all evidence is asked for, on one clock."""
    told = Story(SETTINGS)
    base = told.night(*BASE)
    told.runs(base, 0.9, purpose=Purpose.FINAL)
    steering, final, both = (judging.rows(told.history, SETTINGS, final=final) for final in (False, True, None))
    assert [row.value for row in steering] == list(BASE)
    assert [row.value for row in final] == [0.9]
    assert both == [*steering, *final]


def test_a_device_has_one_number_whatever_is_asked_for() -> None:
    """Runs of two devices share no drift, and rows of several calls can be put together."""
    told = Story(SETTINGS)
    base = told.night(*BASE)
    for purpose in (Purpose.REPLICATE, Purpose.FINAL):
        run = told.start(base, purpose)
        on(told, "cuda:1")
        told.end(run, Finished(metrics=Metrics(primary=0.99)))
    steering, final = (judging.rows(told.history, SETTINGS, final=final) for final in (False, True))
    assert [row.session for row in steering] == [0, 0, 0, 1]
    assert [row.session for row in final] == [1]


def test_the_speed_of_the_device_is_told_as_its_logarithm() -> None:
    """Of runs whose probe read one; the others have none."""
    told = Story(SETTINGS)
    base = told.night(0.998)
    run, reading = told.start(base, Purpose.BASELINE), Reading(speed=10.0)
    met = Conditions(before=reading, after=reading, timed=True)
    told.tell(Ended(run=run, outcome=Finished(metrics=Metrics(primary=0.997)), usage=Usage(wall_s=300, cpu_s=1),
                    conditions=met))  # fmt: skip
    rows = judging.rows(told.history, SETTINGS)
    assert [row.speed for row in rows] == [None, pytest.approx(2.302585)]


def test_nothing_drifts_where_a_run_repeats_to_the_digit() -> None:
    """A lab whose same seed gave the same value twice has no drift; one that has not shown it may have."""
    told = Story(SETTINGS)
    base = told.night(0.998, 0.9985)
    assert all(row.drifts for row in judging.rows(told.history, SETTINGS))
    for value in (0.998, 0.9981):  # the baseline's first seed once more
        again = Story(SETTINGS)
        again.tell(*(recorded.event for recorded in told.recorded))
        run = again.start(base, Purpose.REPLICATE)
        started = again.recorded[-1]
        assert isinstance(started.event, Started)
        event = Started(run=replace(started.event.run, seed=decide.FIRST_SEED))
        again.recorded[-1] = Recorded(seq=started.seq, at=started.at, event=event)
        again.history = type(again.history).fold(again.recorded)
        again.end(run, Finished(metrics=Metrics(primary=value)))
        assert {row.drifts for row in judging.rows(again.history, SETTINGS)} == {value != 0.998}


# --- the prior --------------------------------------------------------------------------------------------------


def tried(gains: list[float]) -> Story:
    """A lab that has judged an idea of each gain."""
    told = Story(KNOWN, start=START)
    told.night(*BASE)
    level = BASE[0]
    for gain in gains:
        told.idea(f"by {gain:+.4f}", level - gain, level - gain - 0.0001)
        if told.history.champion == list(told.history.experiments)[-1]:
            level -= gain
    return told


def test_the_prior_is_the_shipped_one_until_enough_is_judged() -> None:
    """One idea fewer than that and nothing has moved, whatever the ideas did; it is the one that the settings name."""
    told = tried([0.02] * (LEARN_FROM - 1))
    rows = judging.rows(told.history, KNOWN)
    assert judging.prior(told.history, KNOWN, rows) == GENERIC
    gpu = replace(KNOWN, judge=replace(KNOWN.judge, prior="gpu-5min"))
    assert judging.prior(told.history, gpu, rows) == SHIPPED["gpu-5min"]


def test_from_twenty_judged_ideas_on_the_lab_s_own_shape_the_prior() -> None:
    """Where many ideas help, more is expected of the next one; where all hurt, less."""
    found = []
    for gains in ([0.02, -0.02] * (LEARN_FROM // 2), [-0.02] * LEARN_FROM):
        told = tried(gains)
        found.append(judging.prior(told.history, KNOWN, judging.rows(told.history, KNOWN)).helps)
    assert found[0] > 3 * HELPS > HELPS > found[1]


def test_ideas_without_a_verdict_teach_nothing() -> None:
    """Twenty ideas of which the last is still open are nineteen."""
    told = tried([0.02] * (LEARN_FROM - 1))
    told.idea("open", 0.5, judged=False)
    assert judging.prior(told.history, KNOWN, judging.rows(told.history, KNOWN)) == GENERIC


# --- what an idea costs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patch", "lines"),
    [
        ("", 0),
        ("--- a/x\n+++ b/x\n@@ -1 +1 @@\n-x = 0\n+x = 1\n", 0),
        ("--- a/x\n+++ b/x\n@@ -1 +1,4 @@\n x = 0\n+y = 1\n+\n+  # why\n+z = 2\n", 2),
        ("--- a/x\n+++ b/x\n@@ -1,3 +1 @@\n-x = 0\n-# why\n-y = 1\n z = 1\n", -2),
    ],
    ids=["nothing", "a changed line", "two lines, a blank, a comment", "two lines fewer"],
)
def test_code_lines(patch: str, lines: int) -> None:
    """Lines of code that a patch adds, less those that it takes away."""
    assert code_lines(patch) == lines


def patch_of(lines: int) -> str:
    sign = "+" if lines > 0 else "-"
    return "--- a/train.py\n+++ b/train.py\n@@ @@\n" + "".join(f"{sign}x = {k}\n" for k in range(abs(lines)))


def bar_of(lines: int = 0, memory: float = 4321.0, settings: Settings = SETTINGS) -> race.Bar:
    told = Story(settings)
    base = told.night(*BASE)
    name = told.experiment("idea", parent=base, patch=patch_of(lines) if lines else "")
    told.end(told.start(name), Finished(metrics=Metrics(primary=0.99, memory_mb=memory)))
    return judging.bar(told.history, settings, name, base)


@pytest.mark.parametrize(
    ("lines", "memory", "sigmas", "why"),
    [
        (0, 4321.0, 0.0, ""),
        (30, 4321.0, 3.0, "30 lines more"),
        (1, 4321.0, 0.1, "1 line more"),
        (-4, 4321.0, -0.4, "4 lines fewer"),
        (-40, 4321.0, -1.0, "40 lines fewer"),
        (90, 4321.0, 3.0, "90 lines more"),
        (0, 1.2 * 4321.0, 2.0, "20 % more memory"),
        (0, 2 * 4321.0, 3.0, "100 % more memory"),
        (10, 0.9 * 4321.0, 0.0, "10 lines more and 10 % less memory"),
        (0, 1.04 * 4321.0, 0.0, ""),
    ],
)
def test_what_an_idea_must_gain(lines: int, memory: float, sigmas: float, why: str) -> None:
    """A tenth of a standard deviation a line, one a tenth more memory, at most three; what saves may lose one."""
    found = bar_of(lines, memory)
    assert found.sigmas == pytest.approx(sigmas)
    assert (found.gain, found.why) == (0.0, why)


def test_a_gain_must_be_useful_and_no_less_may_be_lost() -> None:
    """`judge.useful_gain` is what every idea must gain; one that saves need not, and may lose no more for it."""
    useful = replace(SETTINGS, judge=JudgeSettings(useful_gain=0.002))
    assert bar_of(0, settings=useful).gain == 0.002
    assert bar_of(0, settings=useful).why == "being useful"
    assert bar_of(-4, settings=useful).gain == 0.0


def decided(lines: int, *values: float) -> Verdict:
    """The lab's verdict on an idea with these values that adds so many lines."""
    told = Story(KNOWN)
    told.night(*BASE)
    name = told.experiment("idea", parent=told.history.champion, patch=patch_of(lines))
    told.runs(name, *values)
    return decide.judge(told.history, KNOWN, name)


def test_the_verdict_knows_the_price() -> None:
    """What is a proven gain for one line is no evidence of enough for sixty."""
    good = tuple(value - 3 * SIGMA for value in BASE)
    assert decided(1, *good).decision is Decision.KEEP
    dear = decided(60, *good)
    assert dear.decision is not Decision.KEEP
    assert "it must gain" in dear.because and "for 60 lines more" in dear.because
