"""Against what a run is held: which runs, which of the lab's curves, and whose lot it is to be audited."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nightlab import early
from nightlab.config import EarlySettings, MetricSettings, Settings
from nightlab.history import History
from nightlab.judge.curves import MIN_PAIRS
from nightlab.types import (
    Bounds,
    Change,
    ChangeKind,
    Conditions,
    Curve,
    Decision,
    Direction,
    Ended,
    Event,
    ExperimentId,
    Judged,
    NightBegan,
    NightId,
    Proposed,
    Purpose,
    Reading,
    RunId,
    Started,
    Verdict,
)
from tests.builders import ended, experiment, experiment_name, finished, run
from tests.nights import fold

LAB = Settings(
    root=Path("/lab"),
    metric=MetricSettings(name="loss", low=None, high=None),
    early=EarlySettings(audit=0.0),
)


def curve(level: float) -> Curve:
    """Falls by one, to `level`."""
    return Curve.of((step / 100, level + (1 - step / 100) ** 2) for step in range(1, 101))


def idea(name: str, knob: str = "DEPTH", *, parent: str = "a", seeds: int = 1) -> Proposed:
    change = Change(kind=ChangeKind.KNOB, name=knob, old="1", new=name)
    return Proposed(experiment=replace(experiment(name, parent=parent, seeds=seeds), changes=(change,)))


class Night:
    """A night told in a few words; run names are the experiment's with the seed."""

    def __init__(self) -> None:
        self.events: list[Event] = [
            Proposed(experiment=experiment("a")),
            NightBegan(night=NightId("n1"), seed=0, ideas=99, hours=None, baseline=experiment_name("a")),
        ]
        self.curves: dict[RunId, Curve] = {}
        self.ran("a", 1.0, purpose=Purpose.BASELINE)
        self.ran("a", 1.01, seed=43, purpose=Purpose.BASELINE)

    def ran(
        self, of: str, value: float, *, seed: int = 42, purpose: Purpose = Purpose.IDEA, conditions: str = ""
    ) -> None:
        """A finished run whose curve ends at its value."""
        name = f"{of}-{seed}"
        self.curves[RunId(name)] = curve(value)
        quiet = Reading()
        ending: Ended = replace(ended(name, finished(value)), conditions=Conditions(
            before=quiet, after=quiet, trouble=conditions))  # fmt: skip
        self.events += [Started(run=run(name, of, seed=seed, purpose=purpose, night="n1")), ending]

    def tried(self, count: int = MIN_PAIRS, knob: str = "DEPTH", **more: str) -> None:
        """Ideas that have run and lost a little."""
        for number in range(count):
            self.events.append(idea(f"{knob}{number}", knob))
            self.ran(f"{knob}{number}", 1.02 + 0.01 * number, **more)  # type: ignore[arg-type]

    @property
    def history(self) -> History:
        return fold(*self.events)

    def bounds(
        self, of: str = "new", *, seed: int = 42, purpose: Purpose = Purpose.IDEA, settings: Settings = LAB
    ) -> Bounds | None:
        return early.bounds(self.history, settings, experiment_name(of), seed, purpose, self.curves.get)


def with_idea(knob: str = "HEADS", **more: int) -> Night:
    night = Night()
    night.tried()
    night.events.append(idea("new", knob, seeds=more.get("seeds", 1)))
    return night


def found(bounds: Bounds | None) -> Bounds:
    assert bounds is not None
    return bounds


def test_an_ideas_first_run_is_looked_at_twice() -> None:
    """At the settings' shares, against the champion's curve on the same seed."""
    bounds = found(with_idea().bounds())
    assert [look.fraction for look in bounds.looks] == [0.4, 0.6]
    at = curve(1.0).at(0.6)
    assert bounds.looks[1].champion == at
    assert bounds.given_up(curve(1.5)) is not None
    assert bounds.given_up(curve(1.0)) is None


@pytest.mark.parametrize("purpose", [Purpose.REPLICATE, Purpose.TRY, Purpose.FINAL, Purpose.BASELINE])
def test_runs_for_their_number_are_not(purpose: Purpose) -> None:
    """But what can come to nothing is still ended."""
    bounds = found(with_idea().bounds(purpose=purpose))
    assert bounds.looks == ()
    assert bounds.ceiling is not None
    assert bounds.usual_s == 60.0


def test_an_idea_that_wants_several_runs_is_not_looked_at() -> None:
    """Whoever asks for several seeds wants their mean."""
    assert found(with_idea(seeds=2).bounds()).looks == ()


def test_switched_off_nobody_follows() -> None:
    """The lab wants no run ended early."""
    assert with_idea().bounds(settings=replace(LAB, early=EarlySettings(enabled=False))) is None


@pytest.mark.parametrize("knob", ["WARMDOWN_RATIO", "TOTAL_BATCH", "LOSS_SCALE", "WEIGHT_DECAY"])
def test_what_cannot_be_compared_is_not_looked_at(knob: str) -> None:
    """Nor does it have a ceiling: its loss may mean another thing."""
    bounds = found(with_idea(knob).bounds())
    assert bounds.looks == ()
    assert bounds.because
    assert bounds.ceiling is None


def test_what_cannot_be_compared_is_no_companion() -> None:
    """Margins rest on comparable runs alone."""
    night = Night()
    night.tried(knob="TOTAL_BATCH")
    night.events.append(idea("new"))
    assert found(night.bounds()).because.startswith("0 finished runs")


def test_what_is_not_believed_is_no_companion() -> None:
    """A contended device's run has a number that nobody believes, and a curve likewise."""
    night = Night()
    night.tried(conditions="contended")
    night.events.append(idea("new"))
    assert found(night.bounds()).because.startswith("0 finished runs")


def test_without_a_curve_on_the_seed_nobody_looks() -> None:
    """The champion's other seeds are another story."""
    assert "no curve on this seed" in found(with_idea().bounds(seed=77)).because


def test_a_champion_from_afar_is_compared_by_the_whole_way() -> None:
    """After a batch change was kept, an idea of the old line differs from the champion in what a step is."""
    night = with_idea()
    night.events.append(idea("best", "TOTAL_BATCH"))
    night.ran("best", 0.5)
    verdict = Verdict(
        experiment=experiment_name("best"), champion=experiment_name("a"), decision=Decision.KEEP, because="better"
    )
    night.events.append(Judged(verdict=verdict))
    assert found(night.bounds()).because == "it changes what a step is"
    night.events.append(idea("next", "HEADS", parent="best"))
    assert found(night.bounds("next")).because.startswith("0 finished runs")  # all others are of the old batch


def test_the_direction_of_the_metric_does_not_matter() -> None:
    """A metric that is maximised gives the margins that its negative gives."""
    night = with_idea()
    turned = replace(LAB, metric=replace(LAB.metric, direction=Direction.MAXIMIZE))
    history = night.history
    for state in history.runs.values():
        if state.value is not None:
            state.outcome = finished(-state.value)
    there = early.bounds(history, turned, experiment_name("new"), 42, Purpose.IDEA, night.curves.get)
    assert found(there).looks == found(night.bounds()).looks


def test_the_lot_is_fair_and_always_the_same() -> None:
    """About one in twenty, by night and experiment, in every process the same."""

    def share(part: float) -> int:
        return sum(early.is_audited(ExperimentId(f"e{n}"), NightId("n1"), part) for n in range(4000))

    assert 140 <= share(0.05) <= 260
    assert (share(0.0), share(1.0)) == (0, 4000)
    assert early.is_audited(ExperimentId("e7"), None, 1.0)


def test_an_audited_run_is_spared() -> None:
    """Its looks stay, and it is let finish."""
    bounds = found(with_idea().bounds(settings=replace(LAB, early=EarlySettings(audit=1.0))))
    assert bounds.spared
    assert bounds.looks


def test_an_unfinished_champion_stops_nothing() -> None:
    """Before its first value there is nothing to be held against."""
    history = fold(
        Proposed(experiment=experiment("a")),
        NightBegan(night=NightId("n1"), seed=0, ideas=9, hours=None, baseline=experiment_name("a")),
    )
    bounds = early.bounds(history, LAB, experiment_name("a"), 42, Purpose.BASELINE, lambda name: None)
    assert bounds == Bounds(because="it is the champion")
