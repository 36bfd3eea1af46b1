"""What events add up to."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given

from nightlab.history import History
from nightlab.types import (
    Consulted,
    Decision,
    Event,
    ExperimentId,
    Judged,
    Logged,
    NightBegan,
    NightEnded,
    NightId,
    Proposed,
    Purpose,
    RunId,
    Started,
    Verdict,
)
from tests.builders import EPOCH, crashed, ended, experiment, experiment_name, finished, run
from tests.ledger.events import logs
from tests.nights import fold, recorded


def began(number: int = 1, *, baseline: str = "a", ideas: int | None = 9) -> NightBegan:
    return NightBegan(night=NightId(f"n{number}"), seed=0, ideas=ideas, hours=None, baseline=experiment_name(baseline))


def judged(name: str, decision: Decision, champion: str = "a", *, replicate: str | None = None) -> Judged:
    return Judged(
        verdict=Verdict(
            experiment=experiment_name(name),
            champion=experiment_name(champion),
            decision=decision,
            because="so it is",
            replicate=experiment_name(replicate) if replicate else None,
        )
    )


def proposed(name: str, parent: str | None = "a") -> Proposed:
    return Proposed(experiment=experiment(name, parent=parent))


BASE = (proposed("a", None), began())


@given(events=logs())
def test_step_by_step_is_at_once(events: list[Event]) -> None:
    """Applying events one by one gives the history that folding them together gives."""
    history = History()
    for place in recorded(*events):
        history.apply(place)
        assert history.seq == place.seq
    assert history == History.fold(recorded(*events))


@given(events=logs())
def test_what_runs_has_no_outcome(events: list[Event]) -> None:
    """The runs under way are exactly those without an outcome, and every run belongs to its experiment."""
    history = fold(*events)
    assert set(history.running) == {name for name, state in history.runs.items() if state.outcome is None}
    listed = [state.run.id for owner in history.experiments.values() for state in owner.runs]
    assert sorted(listed) == sorted(history.runs)
    assert [state.number for state in history.experiments.values()] == [n + 1 for n in range(len(history.experiments))]


def test_an_empty_history() -> None:
    """Nothing recorded: no night, no champion, no runs."""
    history = History()
    assert (history.night, history.champion, history.seq) == (None, None, 0)


def test_a_run_from_start_to_end() -> None:
    """A run knows when it began and ended, what it cost and what its author said of it."""
    history = fold(*BASE, Started(run=run("r1")), ended("r1", finished(0.5)), Logged(run=RunId("r1"), status="keep"))
    state = history.runs[RunId("r1")]
    assert (state.seq, state.ended_seq) == (3, 4)
    assert (state.started_at, state.ended_at) == (EPOCH + 180, EPOCH + 240)
    assert state.value == 0.5
    assert state.logged is not None
    assert state.logged.status == "keep"


def test_only_finished_runs_have_a_value() -> None:
    """A crash, or a run under way, has no value that anybody could compare."""
    history = fold(*BASE, Started(run=run("r1")), ended("r1", crashed()), Started(run=run("r2")))
    assert [state.value for state in history.runs.values()] == [None, None]
    assert history.state(experiment_name("a")).is_running


def test_finished_runs_by_purpose() -> None:
    """Finished runs can be asked for by what they were made for."""
    events: list[Event] = [*BASE]
    for name, purpose in (("r1", Purpose.BASELINE), ("r2", Purpose.FINAL), ("r3", Purpose.IDEA)):
        events += [Started(run=run(name, purpose=purpose)), ended(name)]
    state = fold(*events).state(experiment_name("a"))
    assert [r.run.id for r in state.finished()] == ["r1", "r2", "r3"]
    assert [r.run.id for r in state.finished(Purpose.FINAL, Purpose.IDEA)] == ["r2", "r3"]


def test_ideas_belong_to_the_night_that_proposed_them() -> None:
    """What is proposed before, between and after nights belongs to none."""
    over = NightEnded(night=NightId("n1"), reason="done")
    history = fold(*BASE, proposed("b"), over, proposed("c"), began(2), proposed("d"))
    assert [state.night for state in history.experiments.values()] == [None, "n1", None, "n2"]
    assert [night.number for night in history.nights] == [1, 2]
    assert history.nights[0].ended == over


@pytest.mark.parametrize("decision", Decision)
def test_an_idea_is_open_until_it_is_decided(decision: Decision) -> None:
    """A baseline is never open; an idea is until its latest verdict is final."""
    history = fold(*BASE, proposed("b"))
    assert [state.is_open for state in history.experiments.values()] == [False, True]
    history = fold(*BASE, proposed("b"), judged("b", Decision.RETEST), judged("b", decision))
    assert history.state(experiment_name("b")).is_open is (decision is Decision.RETEST)
    assert history.state(experiment_name("b")).judged_seq == 5


CHAINS: dict[str, tuple[tuple[Event, ...], str]] = {
    "the baseline": ((), "a"),
    "one promotion": ((judged("b", Decision.KEEP),), "b"),
    "two": ((judged("b", Decision.KEEP), judged("c", Decision.KEEP, "b")), "c"),
    "no promotion": ((judged("b", Decision.DISCARD), judged("c", Decision.RETEST)), "a"),
    "of another lineage": ((judged("c", Decision.KEEP, "z"),), "a"),
    "a new baseline": ((judged("b", Decision.KEEP), began(2, baseline="z")), "z"),
    "the old baseline again": (
        (judged("b", Decision.KEEP), began(2, baseline="z"), judged("c", Decision.KEEP, "z"), began(3)),
        "b",
    ),
}


@pytest.mark.parametrize("case", CHAINS)
def test_the_champion_follows_from_baseline_and_promotions(case: str) -> None:
    """The champion is the end of the chain of promotions that starts at the latest night's baseline."""
    events, champion = CHAINS[case]
    known = (proposed("a", None), proposed("z", None), proposed("b"), proposed("c"))
    assert fold(*known, began(), *events).champion == ExperimentId(f"e-{champion}")


LINKS: dict[str, tuple[str, str]] = {
    "b": ("bc", "bc"),
    "taken back": ("bcb", "b"),
    "put back": ("bcbc", "bc"),
    "all of it": ("bca", ""),
    "from the start again": ("bcac", "c"),
    "an earlier one": ("bcda", ""),
    "to the middle": ("bcdbe", "be"),
}


@pytest.mark.parametrize("case", LINKS)
def test_what_was_taken_back_is_no_link(case: str) -> None:
    """Champions one after another, and those that the last one rests on: who comes back takes back all since."""
    champions, links = LINKS[case]
    events: list[Event] = [proposed("a", None), *(proposed(name) for name in "bcde"), began()]
    events += [judged(name, Decision.KEEP, before) for name, before in zip(champions, "a" + champions, strict=False)]
    history = fold(*events)
    assert history.champion == experiment_name(champions[-1])
    assert [link.experiment for link in history.links(experiment_name("a"))] == [experiment_name(n) for n in links]


def test_a_link_that_was_put_back_has_the_verdict_of_its_race() -> None:
    """The word of whoever put it back is no evidence."""
    known = (proposed("a", None), proposed("b"), proposed("c"), began(), judged("b", Decision.KEEP))
    race = judged("c", Decision.KEEP, "b")
    history = fold(*known, race, judged("b", Decision.KEEP, "c"), judged("c", Decision.KEEP, "b", replicate="b"))
    assert history.links(experiment_name("a"))[-1] == race.verdict


def test_a_proposer_s_calls_are_spent_on_its_next_idea() -> None:
    """What a proposer cost goes to its next idea of the same night, failures included; nobody pays for another's."""
    mine, theirs = (Consulted(proposer=name, purpose="ideas", seconds=2.0) for name in ("mine", "theirs"))
    failed = Consulted(proposer="mine", purpose="edit", seconds=1.0, failure="it was no diff")

    def idea(name: str, proposer: str) -> Proposed:
        made = experiment(name, parent="a")
        return Proposed(experiment=replace(made, plan=replace(made.plan, proposer=proposer)))

    history = fold(
        Proposed(experiment=experiment("a")),
        mine,  # before a night
        began(),
        failed,
        theirs,
        mine,
        idea("b", ""),
        idea("c", "mine"),
        mine,
        idea("d", "mine"),
        failed,
    )
    spent = [(call.said, call.experiment, call.after) for call in history.consulted]
    assert spent == [
        (mine, None, 1),
        (failed, experiment_name("c"), 1),
        (theirs, None, 1),
        (mine, experiment_name("c"), 1),
        (mine, experiment_name("d"), 3),
        (failed, None, 4),
    ]
