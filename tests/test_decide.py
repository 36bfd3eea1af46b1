"""What the night asks for next, and what it concludes: pure functions of a history."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightlab import decide, judging
from nightlab.config import JudgeSettings, MetricSettings, Settings
from nightlab.decide import (
    FINAL_SEEDS,
    FIRST_SEED,
    MAX_LOST,
    MAX_LOST_IN_A_ROW,
    TRY,
    Done,
    Execute,
    Propose,
    Step,
    Wait,
    final_seed,
)
from nightlab.history import History
from nightlab.types import (
    Conditions,
    Decision,
    Direction,
    Disputed,
    Ended,
    Environment,
    Event,
    Judged,
    Lost,
    NightBegan,
    NightEnded,
    NightId,
    Outcome,
    Proposed,
    Purpose,
    Reading,
    Recorded,
    RunId,
    Started,
    StoppedEarly,
    TimedOut,
    Usage,
    Verdict,
    Voided,
    is_infrastructure,
)
from tests.builders import (
    ENVIRONMENT,
    EPOCH,
    conditions,
    crashed,
    ended,
    experiment,
    experiment_name,
    finished,
    run,
)
from tests.nights import fold

LAB = Settings(root=Path("/lab"), metric=MetricSettings(name="loss", low=None, high=None))
A, B, C = (experiment_name(name) for name in "abc")
LOST = Lost(reason="gone")
SHARED = conditions("others used the GPU")


def began(number: int = 1, *, ideas: int | None = 9, hours: float | None = None, baseline: str = "a") -> NightBegan:
    return NightBegan(night=NightId(f"n{number}"), seed=0, ideas=ideas, hours=hours, baseline=experiment_name(baseline))


def ran(
    name: str,
    of: str,
    outcome: Outcome | None = None,
    *,
    seed: int = 42,
    purpose: Purpose = Purpose.IDEA,
    night: str = "n1",
    met: Conditions | None = None,
) -> tuple[Event, ...]:
    """A run from start to end; `outcome` None: it is still under way."""
    started = Started(run=run(name, of, seed=seed, purpose=purpose, night=night))
    return (started,) if outcome is None else (started, ended(name, outcome, conditions=met))


def proposed(name: str, parent: str | None = "a", *, seeds: int = 1, emitter: str = "knob") -> Proposed:
    return Proposed(experiment=experiment(name, parent=parent, seeds=seeds, emitter=emitter))


def judged(name: str, decision: Decision = Decision.RETEST, champion: str = "a", *, side: str | None = None) -> Judged:
    verdict = Verdict(
        experiment=experiment_name(name),
        champion=experiment_name(champion),
        decision=decision,
        because="so it is",
        replicate=experiment_name(side) if side else None,
    )
    return Judged(verdict=verdict)


START = (proposed("a", None), began())
BASE = (
    *START,
    *ran("a1", "a", finished(1.000), purpose=Purpose.BASELINE),
    *ran("a2", "a", finished(1.001), seed=43, purpose=Purpose.BASELINE),
)


def step(*events: Event, lab: Settings = LAB, now: float = EPOCH, exhausted: bool = False) -> Step:
    return decide.next_step(fold(*events), lab, now=now, exhausted=exhausted)


# --- the baseline -----------------------------------------------------------------------------------------------


def test_a_night_begins_with_two_runs_of_the_baseline() -> None:
    """Upstream's seed first, then the next one; both may go at the same time."""
    first = Execute(experiment=A, seed=FIRST_SEED, purpose=Purpose.BASELINE)
    assert step(*START) == first
    assert step(*START, *ran("a1", "a", purpose=Purpose.BASELINE)) == replace(first, seed=FIRST_SEED + 1)


def test_ideas_wait_for_the_first_value_only() -> None:
    """Nothing is proposed before the baseline has a value, and nothing waits for its last."""
    both = (*ran("a1", "a", purpose=Purpose.BASELINE), *ran("a2", "a", seed=43, purpose=Purpose.BASELINE))
    assert step(*START, *both) == Wait()
    assert step(*START, *both, ended("a2")) == Propose()


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (crashed("out of memory"), "crashed on seed 42: out of memory"),
        (TimedOut(limit_s=1800.0), "was ended at its limit of 30 minutes"),
        (Voided(paths=("prepare.py", "data.bin")), "changed what it may not touch: prepare.py, data.bin"),
        (Disputed(because="0.9 is not 1.1"), "printed one thing, and the receipt says another: 0.9 is not 1.1"),
    ],
)
def test_a_baseline_that_fails_ends_the_night_with_its_reason(outcome: Outcome, words: str) -> None:
    """The reason is told in one sentence."""
    done = step(*START, *ran("a1", "a", outcome, purpose=Purpose.BASELINE))
    assert done == Done(f"the baseline {words}", failed=True)


def test_a_failure_of_an_earlier_night_is_forgiven() -> None:
    """What was amiss may have been mended outside the source: the next night runs the baseline again."""
    failed = ran("a1", "a", crashed(), purpose=Purpose.BASELINE)
    again = step(*START, *failed, NightEnded(night=NightId("n1"), reason="failed"), began(2))
    assert again == Execute(experiment=A, seed=FIRST_SEED, purpose=Purpose.BASELINE)


def test_losses_over_many_nights_do_not_add_up() -> None:
    """A lab whose machine went down now and then is as good as any other."""
    losses = [event for n in range(9) for event in ran(f"l{n}", "a", LOST, purpose=Purpose.BASELINE, night=f"n{n}")]
    assert step(proposed("a", None), *losses, began(10)) == Execute(
        experiment=A, seed=FIRST_SEED, purpose=Purpose.BASELINE
    )


def test_an_early_stop_is_no_loss() -> None:
    """Runs stopped by the operator are made again however often he stops them."""
    stops = [
        event for n in range(9) for event in ran(f"s{n}", "a", StoppedEarly(reason="Ctrl-C"), purpose=Purpose.BASELINE)
    ]
    assert step(*START, *stops) == Execute(experiment=A, seed=FIRST_SEED, purpose=Purpose.BASELINE)


# --- ideas ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("emitter", "purpose"), [("knob", Purpose.IDEA), (TRY, Purpose.TRY)])
def test_an_idea_runs_first_on_the_first_seed(emitter: str, purpose: Purpose) -> None:
    """A new idea shares its first seed with the baseline; one that a person brought is marked as his."""
    assert step(*BASE, proposed("b", emitter=emitter)) == Execute(experiment=B, seed=FIRST_SEED, purpose=purpose)


def test_an_idea_that_asks_for_seeds_gets_them() -> None:
    """The wanted seeds may run side by side; a failure among them ends the series."""
    idea = (*BASE, proposed("b", seeds=3), *ran("b1", "b"))
    assert step(*idea) == Execute(experiment=B, seed=43, purpose=Purpose.IDEA)
    assert not isinstance(step(*idea, ended("b1", crashed())), Execute)


def test_a_lost_run_is_made_again_on_its_seed() -> None:
    """The seed of a lost run is free again."""
    assert step(*BASE, proposed("b"), *ran("b1", "b", LOST)) == Execute(
        experiment=B, seed=FIRST_SEED, purpose=Purpose.IDEA
    )


def test_while_an_idea_runs_the_next_is_proposed() -> None:
    """A free place is not left idle."""
    assert step(*BASE, proposed("b"), *ran("b1", "b")) == Propose()


@pytest.mark.parametrize(("side", "seed"), [("b", 43), ("a", 44)])
def test_a_replicate_takes_the_oldest_seed_that_the_other_side_has(side: str, seed: int) -> None:
    """Side and seed follow the verdict: a shared seed where there is one, else the next new one."""
    events = (*BASE, proposed("b"), *ran("b1", "b", finished(0.99)), judged("b", side=side))
    wanted = Execute(experiment=experiment_name(side), seed=seed, purpose=Purpose.REPLICATE)
    assert step(*events) == wanted
    under_way = ran("x", side, seed=seed, purpose=Purpose.REPLICATE)
    assert step(*events, *under_way) == Propose()


def test_a_final_runs_seed_does_not_count() -> None:
    """Seeds of final runs are no seeds that the other side could share."""
    final = ran("f1", "a", finished(1.0), seed=final_seed(1, 0), purpose=Purpose.FINAL)
    events = (*BASE, *final, proposed("b"), *ran("b1", "b", finished(0.99)), judged("b", side="b"))
    assert step(*events) == Execute(experiment=B, seed=43, purpose=Purpose.REPLICATE)


def test_an_undecided_idea_that_became_the_baseline_is_no_idea() -> None:
    """Who commits an undecided idea starts from it: the night does not wait for a verdict on its own champion."""
    events = (*BASE, proposed("b"), *ran("b1", "b", finished(0.99)), judged("b", side="b"))
    over = NightEnded(night=NightId("n1"), reason="the committed source changed")
    more = ran("b2", "b", finished(0.99), seed=43, purpose=Purpose.BASELINE, night="n2")
    assert step(*events, over, began(2, baseline="b", ideas=0), *more) == Done("all ideas are tried")


# --- the end ----------------------------------------------------------------------------------------------------

KEPT = (
    *BASE,
    proposed("b"),
    *ran("b1", "b", finished(0.90)),
    judged("b", side="b"),
    *ran("b2", "b", finished(0.90), seed=43, purpose=Purpose.REPLICATE),
    judged("b", Decision.KEEP),
)


def test_the_night_is_over_when_its_ideas_are_tried() -> None:
    """As many ideas as asked, all decided: done."""
    one = (*START[:1], began(ideas=1), *BASE[2:], proposed("b"))
    assert step(*one, *ran("b1", "b", finished(1.1)), judged("b", Decision.DISCARD)) == Done("all ideas are tried")
    assert step(*one, *ran("b1", "b")) == Wait()


def test_only_ideas_count_as_ideas() -> None:
    """Recorded commands, new baselines and what a person brings do not use up what the night may propose."""
    history = fold(*BASE, proposed("b"), proposed("x", None), proposed("c", emitter=TRY))
    assert decide.ideas_tried(history) == 1


def test_an_exhausted_search_still_finishes_what_is_open() -> None:
    """Without new ideas the open ones are decided first, then the night is done."""
    open_idea = (*BASE, proposed("b"))
    assert isinstance(step(*open_idea, exhausted=True), Execute)
    assert step(*open_idea, *ran("b1", "b"), exhausted=True) == Wait()
    assert step(*BASE, exhausted=True) == Done("the search has nothing left to propose")


@pytest.mark.parametrize(("after_minutes", "expected"), [(50, Propose), (52, Done)])
def test_the_last_hour_belongs_to_the_end(after_minutes: float, expected: type[Step]) -> None:
    """A new idea is proposed only while its run and the final block fit into the hours (runs of a minute here)."""
    events = (*START[:1], began(ideas=None, hours=1.0), *BASE[2:])
    began_at = EPOCH + 120
    assert isinstance(step(*events, now=began_at + 60 * after_minutes), expected)


@pytest.mark.parametrize(("cost", "expected"), [(11.5, Propose), (11.0, Done)])
def test_the_last_money_belongs_to_the_end(cost: float, expected: type[Step]) -> None:
    """A new idea is proposed only while its run and the final block can be paid (runs of a minute, one a minute)."""
    lab = replace(LAB, budget=replace(LAB.budget, hour_price=60.0))
    events = (*START[:1], replace(began(ideas=None), cost=cost), *BASE[2:])
    assert isinstance(step(*events, lab=lab), expected)


def test_runs_under_way_are_paid_too() -> None:
    """What several places have in work counts as usual runs before it has ended: no place spends it again."""
    lab = replace(LAB, budget=replace(LAB.budget, hour_price=60.0))
    events = (*START[:1], replace(began(ideas=None), cost=12.5), *BASE[2:])
    assert step(*events, proposed("b"), *ran("b1", "b"), lab=lab) == Propose()
    assert step(*events, proposed("b"), *ran("b1", "b"), proposed("c"), *ran("c1", "c"), lab=lab) == Wait()


def finals(upto: int, outcome: Outcome | None = None) -> list[Event]:
    pairs = [(index, arm) for index in range(4) for arm in (("b", "a"), ("a", "b"))[index % 2]][:upto]
    return [
        event
        for index, arm in pairs
        for event in ran(
            f"f{arm}{index}", arm, outcome or finished(0.9), seed=final_seed(1, index), purpose=Purpose.FINAL
        )
    ]


def test_the_final_block_alternates_champion_and_baseline() -> None:
    """Fresh seeds side by side, four each, the first of a pair in turns: a drift falls on both. Then it is done."""
    for upto in range(8):
        wanted = Execute(experiment=(B, A, A, B)[upto % 4], seed=final_seed(1, upto // 2), purpose=Purpose.FINAL)
        assert step(*KEPT, *finals(upto), exhausted=True) == wanted
    assert isinstance(step(*KEPT, *finals(8), exhausted=True), Done)


def test_a_final_block_on_a_bad_device_is_given_up() -> None:
    """Each of those runs costs its whole time: after so many in a row the night ends without a headline, not failed."""
    events: list[Event] = list(KEPT)
    while isinstance(wanted := step(*events, exhausted=True), Execute):
        events += ran(f"f{len(events)}", wanted.experiment[2:], finished(), seed=wanted.seed, purpose=Purpose.FINAL,
                      met=SHARED)  # fmt: skip
    assert isinstance(wanted, Done)
    assert not wanted.failed
    assert len(events) - len(KEPT) == 2 * MAX_LOST_IN_A_ROW
    assert decide.headline(fold(*events), LAB) is None


@pytest.mark.parametrize(("outcome", "repeats"), [(LOST, MAX_LOST), (crashed(), 1)])
def test_a_final_run_that_fails_does_not_hold_up_the_end(outcome: Outcome, repeats: int) -> None:
    """A lost final run is made again, a few times at most; a crashed one counts as made."""
    events: list[Event] = list(KEPT)
    made = Counter[tuple[str, int]]()
    while isinstance(wanted := step(*events, exhausted=True), Execute):
        made[wanted.experiment, wanted.seed] += 1
        events += ran(f"f{len(events)}", wanted.experiment[2:], outcome, seed=wanted.seed, purpose=Purpose.FINAL)
    assert isinstance(wanted, Done)
    assert not wanted.failed
    assert set(made.values()) == {repeats}
    assert len(made) == 8


def test_the_seeds_of_two_nights_final_blocks_differ() -> None:
    """No final seed is met twice, nor ever while searching."""
    seeds = {final_seed(night, index) for night in range(1, 20) for index in range(1000)}
    assert len(seeds) == 19_000
    assert min(seeds) >= FINAL_SEEDS > decide.search_seed(100_000)


# --- judging ----------------------------------------------------------------------------------------------------


def test_nothing_is_due_before_the_champion_has_a_value() -> None:
    """An idea that ends first waits for something to be compared with."""
    events = (*START, *ran("a1", "a", purpose=Purpose.BASELINE), proposed("b"), *ran("b1", "b", finished(0.9)))
    assert decide.due(fold(*events)) == []
    assert decide.due(fold(*events, ended("a1"))) == [B]


def test_due_once_per_news() -> None:
    """An idea is due when a run that bears on it has ended, and no more once that was judged."""
    idea = (*BASE, proposed("b"))
    assert decide.due(fold(*idea)) == []
    assert decide.due(fold(*idea, *ran("b1", "b"))) == []
    first = (*idea, *ran("b1", "b", finished(0.99)))
    assert decide.due(fold(*first)) == [B]
    waiting = (*first, judged("b", side="a"))
    assert decide.due(fold(*waiting)) == []
    other = ran("a3", "a", LOST, seed=44, purpose=Purpose.REPLICATE)
    assert decide.due(fold(*waiting, *other)) == []
    more = ran("a3", "a", finished(1.0), seed=44, purpose=Purpose.REPLICATE)
    assert decide.due(fold(*waiting, *more)) == [B]
    assert decide.due(fold(*waiting, *more, judged("b", Decision.DISCARD))) == []


def test_a_new_champion_makes_undecided_ideas_due() -> None:
    """What was compared with the old champion is compared with the new one, before anything runs."""
    events = (*KEPT[:-1], proposed("c"), *ran("c1", "c", finished(0.99)), judged("c", side="a"))
    assert decide.due(fold(*events)) == [B]
    history = fold(*events, judged("b", Decision.KEEP))
    assert decide.due(history) == [C]
    assert decide.judge(history, LAB, C).champion == B


def test_runs_that_were_lost_again_and_again_are_no_verdict_on_the_idea() -> None:
    """Given up after some losses in a row, and the sentence says that it is not the idea's fault."""
    losses = [ran(f"b{n}", "b", LOST) for n in range(MAX_LOST)]
    flat = [event for pair in losses for event in pair]
    assert decide.due(fold(*BASE, proposed("b"), *flat[:-2])) == []
    history = fold(*BASE, proposed("b"), *flat)
    assert decide.due(history) == [B]
    verdict = decide.judge(history, LAB, B)
    assert verdict.decision is Decision.DISCARD
    assert "says nothing of the idea" in verdict.because


# --- devices ----------------------------------------------------------------------------------------------------


def test_a_value_that_is_not_believed_is_no_value() -> None:
    """Of the champion, of an idea, at the end: it is no evidence, judges nothing and leaves its seed free."""
    alone = (*START, *ran("a1", "a", finished(1.0), purpose=Purpose.BASELINE, met=SHARED))
    assert step(*alone) == Execute(experiment=A, seed=FIRST_SEED, purpose=Purpose.BASELINE)
    assert judging.rows(fold(*alone), LAB) == []
    assert decide.due(fold(*alone, proposed("b"), *ran("b1", "b", finished(0.9)))) == []
    idea = (*BASE, proposed("b"), *ran("b1", "b", finished(0.9), met=SHARED))
    assert decide.due(fold(*idea)) == []
    assert step(*idea) == Execute(experiment=B, seed=FIRST_SEED, purpose=Purpose.IDEA)
    assert decide.due(fold(*idea, *ran("b2", "b", finished(0.9), met=conditions()))) == [B]


def test_a_crash_that_is_not_believed_is_no_crash() -> None:
    """Short of memory because others held it: the idea runs again, and the baseline ends no night."""
    idea = (*BASE, proposed("b"), *ran("b1", "b", crashed("out of memory"), met=SHARED))
    assert decide.due(fold(*idea)) == []
    assert step(*idea) == Execute(experiment=B, seed=FIRST_SEED, purpose=Purpose.IDEA)
    baseline = (*START, *ran("a1", "a", crashed("out of memory"), purpose=Purpose.BASELINE, met=SHARED))
    assert step(*baseline) == Execute(experiment=A, seed=FIRST_SEED, purpose=Purpose.BASELINE)


def test_both_ways_of_being_void_are_named() -> None:
    """Lost runs and doubted ones add up, and the sentence tells of both."""
    void = [*ran("b0", "b", LOST), *ran("b1", "b", finished(), met=SHARED), *ran("b2", "b", LOST)]
    verdict = decide.judge(fold(*BASE, proposed("b"), *void), LAB, B)
    assert verdict.because == (
        "its runs were lost again and again or cannot be believed (others used the GPU), "
        "which says nothing of the idea itself"
    )


COUNTED = conditions(timed=False)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        pytest.param((), False, id="nothing is known"),
        pytest.param(ran("a1", "a", finished(1.0)), False, id="one run"),
        pytest.param((*ran("a1", "a", finished(1.0)), *ran("a2", "a", finished(1.0), seed=43)), False, id="two seeds"),
        pytest.param((*ran("a1", "a", finished(1.0)), *ran("a2", "a", finished(1.0))), True, id="a repeat"),
        pytest.param(
            (*ran("a1", "a", finished(1.0)), *ran("a2", "a", finished(1.0), purpose=Purpose.VERIFY)),
            True, id="a repeat by verify",
        ),
        pytest.param((*ran("a1", "a", finished(1.0)), *ran("a2", "a", finished(1.000001))), False, id="they differ"),
        pytest.param(
            (*ran("a1", "a", finished(1.0)), *ran("a2", "a", finished(1.0), met=SHARED)), False,
            id="one of the two is not believed",
        ),
        pytest.param(
            (*ran("a1", "a", finished(1.0)), *ran("a2", "a", finished(1.0)), *ran("a3", "a", finished(1.5))), False,
            id="two agree and one does not",
        ),
        pytest.param(ran("a1", "a", finished(1.0), met=COUNTED), True, id="declared"),
        pytest.param(
            (*ran("a1", "a", finished(1.0), met=COUNTED), *ran("a2", "a", finished(1.1), met=COUNTED)), False,
            id="declared, and belied",
        ),
        pytest.param(ran("a1", "a", finished(1.0), purpose=Purpose.EXEC, met=COUNTED), False, id="another command"),
    ],
)  # fmt: skip
def test_deterministic_is_what_repeats_itself(events: tuple[Event, ...], expected: bool) -> None:
    """Equal values for equal source, seed and environment, and none that differ; before that what the lab declares."""
    assert judging.is_deterministic(fold(*START, *events).line) is expected


def test_a_gpu_has_to_show_that_it_is_deterministic() -> None:
    """Counted work is no promise that a GPU adds in the same order; and another machine is no repeat."""
    gpu = replace(ENVIRONMENT, device="cuda:0")

    def on(name: str, environment: Environment) -> tuple[Event, ...]:
        started = Started(run=replace(run(name, "a"), environment=environment))
        return started, ended(name, finished(float(len(name))), conditions=COUNTED)

    assert not judging.is_deterministic(fold(*START, *on("a1", gpu)).line)
    assert judging.is_deterministic(fold(*START, *on("a1", gpu), *on("a2", replace(gpu, device="cuda:1"))).line)
    moved = replace(ENVIRONMENT, versions={"torch": "3.0"})
    assert judging.is_deterministic(fold(*START, *on("a1", ENVIRONMENT), *on("a10", moved)).line)


@pytest.mark.parametrize(("timed", "speed"), [(True, 10.0), (False, None), (None, None)])
def test_speed_is_handed_on_where_the_value_depends_on_it(timed: bool | None, speed: float | None) -> None:
    """A value that does not depend on speed, or of which nobody knows, is not to be corrected by it."""
    history = fold(*START, *ran("a1", "a", finished(), met=conditions(timed=timed)), *ran("a2", "a", finished()))
    assert [state.speed for state in history.runs.values()] == [speed, None]


def test_a_failure_decides_whatever_else_ran() -> None:
    """One crash among several seeds is a crash."""
    events = (*BASE, proposed("b", seeds=2), *ran("b1", "b", finished(0.5)), *ran("b2", "b", crashed("boom"), seed=43))
    verdict = decide.judge(fold(*events), LAB, B)
    assert (verdict.decision, verdict.because) == (Decision.CRASH, "crashed on seed 43: boom")


@pytest.mark.parametrize("purpose", Purpose)
def test_only_runs_that_steer_are_evidence(purpose: Purpose) -> None:
    """Final runs, recorded commands and hand-logged runs never choose anything."""
    history = fold(*START, *ran("x", "a", finished(0.1), purpose=purpose), *ran("y", "a", crashed(), purpose=purpose))
    assert len(judging.rows(history, LAB)) == purpose.steers
    assert len(judging.rows(history, LAB, final=True)) == (purpose is Purpose.FINAL)


def test_evidence_is_a_loss() -> None:
    """A metric that is better when larger is turned around before it is judged."""
    upward = replace(LAB, metric=MetricSettings(name="acc", direction=Direction.MAXIMIZE, low=None, high=None))
    assert [row.value for row in judging.rows(fold(*BASE), LAB)] == [1.0, 1.001]
    assert [row.value for row in judging.rows(fold(*BASE), upward)] == [-1.0, -1.001]


def test_the_headline_is_from_final_runs_alone() -> None:
    """The night's number is champion against baseline on seeds that chose nothing; without them there is none."""
    assert decide.headline(fold(*BASE), LAB) is None
    assert decide.headline(fold(*KEPT), LAB) is None
    arms = (("b", 0.97), ("a", 1.0))
    events = [
        event
        for index in range(4)
        for arm, value in arms
        for event in ran(
            f"f{arm}{index}",
            arm,
            finished(value + 0.001 * index),
            seed=final_seed(1, index),
            purpose=Purpose.FINAL,
        )
    ]
    headline = decide.headline(fold(*KEPT, *events), LAB)
    assert headline is not None
    assert headline.gain == pytest.approx(0.03, abs=1e-3)
    assert (headline.runs, headline.runs_against) == (4, 4)


# --- every night ends -------------------------------------------------------------------------------------------


class Player:
    """Plays a night against dice: any run may end in any way, in any order."""

    def __init__(self, seed: int, *, slots: int, ideas: int, lost: float, failed: float) -> None:
        self.rng = Random(seed)
        self.slots, self.lost, self.failed = slots, lost, failed
        self.history = History()
        self.lab = replace(LAB, judge=JudgeSettings(final_runs=2, max_steps=3, ablate=False))
        self.effects = {"a": 0.0}
        self.tell(proposed("a", None))
        self.tell(began(ideas=ideas))

    def tell(self, event: Event) -> None:
        self.history.apply(Recorded(seq=self.history.seq + 1, at=EPOCH + self.history.seq, event=event))

    def outcome(self, name: str, seed: int) -> Outcome:
        dice = self.rng.random()
        if dice < self.lost:
            return LOST if self.rng.random() < 0.7 else StoppedEarly(reason="stop")
        if dice < self.lost + self.failed and name != "a":
            return crashed() if self.rng.random() < 0.5 else TimedOut(limit_s=1.0)
        return finished(1.0 + self.effects[name] + Random(seed).gauss(0, 0.001) + self.rng.gauss(0, 0.001))

    def end_one(self) -> None:
        state = self.rng.choice(list(self.history.running.values()))
        outcome = self.outcome(state.run.experiment[2:], state.run.seed)
        self.tell(Ended(run=state.run.id, outcome=outcome, usage=Usage(wall_s=60.0, cpu_s=60.0)))

    def start(self, wanted: Execute) -> None:
        state = self.history.state(wanted.experiment)
        used = {r.run.seed for r in state.runs if r.outcome is None or not is_infrastructure(r.outcome)}
        assert wanted.seed not in used, "the same source on the same seed tells nothing new"
        name = f"r{len(self.history.runs)}"
        self.tell(Started(run=run(name, wanted.experiment[2:], seed=wanted.seed, purpose=wanted.purpose, night="n1")))

    def play(self, limit: int) -> Done:
        for _ in range(limit):
            while names := decide.due(self.history):
                self.tell(Judged(verdict=decide.judge(self.history, self.lab, names[0])))
            if len(self.history.running) < self.slots:
                wanted = decide.next_step(self.history, self.lab, now=EPOCH)
                if isinstance(wanted, Done):
                    return wanted
                if isinstance(wanted, Propose):
                    name = f"i{len(self.effects)}"
                    self.effects[name] = self.rng.choice([0.02, 0.001, -0.0005, -0.01])
                    self.tell(proposed(name, self.history.champion[2:] if self.history.champion else None))
                    continue
                if isinstance(wanted, Execute):
                    self.start(wanted)
                    continue
            assert self.history.running, "the night waits, and nothing is under way"
            self.end_one()
        raise AssertionError(f"the night has not ended after {limit} steps")


@settings(max_examples=100)
@given(
    seed=st.integers(0, 2**32),
    slots=st.integers(1, 4),
    ideas=st.integers(0, 5),
    lost=st.sampled_from([0.0, 0.1, 0.5, 1.0]),
    failed=st.sampled_from([0.0, 0.3]),
)
def test_every_night_ends(seed: int, slots: int, ideas: int, lost: float, failed: float) -> None:
    """Whatever runs do, in whatever order: no waiting for nothing, no run for nothing, and an end."""
    player = Player(seed, slots=slots, ideas=ideas, lost=lost, failed=failed)
    done = player.play(limit=2000)
    if not done.failed:
        assert decide.ideas_tried(player.history) == ideas
        assert not player.history.running
        for state in player.history.experiments.values():
            assert not state.is_open
            assert decide._steps(state.verdicts, player.history.champion or state.experiment.id) <= 3


# --- nights that explore ----------------------------------------------------------------------------------------


def test_a_night_that_explores_keeps_from_a_lower_probability_on() -> None:
    """The same runs are kept in one night and not yet in the other; `judge.explore` is where the difference lies."""
    found = []
    for mode in ("exploit", "explore"):
        begun = (proposed("a", None), replace(began(), mode=mode))
        base = (
            *ran("a1", "a", finished(1.000), purpose=Purpose.BASELINE),
            *ran("a2", "a", finished(1.001), seed=43, purpose=Purpose.BASELINE),
            *ran("a3", "a", finished(1.0005), seed=44, purpose=Purpose.BASELINE),
        )
        idea = (
            proposed("b"),
            *ran("b1", "b", finished(0.9968)),
            *ran("b2", "b", finished(0.9979), seed=43),
        )
        history = fold(*begun, *base, *idea)
        assert decide.due(history) == [B]
        found.append(decide.judge(history, LAB, B))
    strict, bold = found
    assert strict.probability == bold.probability
    assert strict.probability is not None
    assert LAB.judge.explore <= strict.probability < LAB.judge.promote
    assert (strict.decision, bold.decision) == (Decision.RETEST, Decision.KEEP)


# --- further seeds ----------------------------------------------------------------------------------------------


def test_coming_seeds_pair_first() -> None:
    """The champion's seeds that an experiment lacks, then the lab's own sequence; one that nobody has run begins it."""
    history = fold(*BASE, proposed("b"), *ran("b1", "b", finished(0.9)))
    assert decide.coming_seeds(history, B, 3) == (43, 44, 45)
    assert decide.coming_seeds(history, None, 3) == (42, 43, 44)
    assert decide.coming_seeds(history, A, 1) == (44,)
    assert decide.coming_seeds(fold(), None, 2) == (42, 43)


def test_replicates_that_may_not_be_believed_end() -> None:
    """On a device that others use a run is made again, and not for ever."""
    troubled = replace(
        ended("x", finished(0.9)), conditions=Conditions(before=Reading(), after=Reading(), trouble="contended")
    )
    events: list[Event] = [*BASE, proposed("b")]
    since = fold(*events).seq
    for attempt in range(decide.MAX_LOST):
        step = decide.replicate_step(fold(*events), LAB, B, since=since, count=1)
        assert step == Execute(experiment=B, seed=42, purpose=Purpose.REPLICATE)
        events += [
            Started(run=run(f"b{attempt}", "b", seed=42, purpose=Purpose.REPLICATE)),
            replace(troubled, run=RunId(f"b{attempt}")),
        ]
    last = decide.replicate_step(fold(*events), LAB, B, since=since, count=1)
    assert isinstance(last, Done)
    assert last.failed
    assert "not fit to be measured on" in last.reason


# --- given up by its curve --------------------------------------------------------------------------------------

GIVEN_UP = StoppedEarly(reason="its loss at 60% of its budget was 0.2 above the champion's", fraction=0.6, behind=0.2)


def test_what_its_curve_has_ended_is_dropped_and_not_run_again() -> None:
    """A censored run: a discard without a gain or a probability, no row for the race, and the night goes on."""
    events = [*BASE, proposed("b"), *ran("b1", "b", GIVEN_UP)]
    history = fold(*events)
    assert decide.due(history) == [B]
    verdict = decide.judge(history, LAB, B)
    assert verdict.decision is Decision.DISCARD
    assert (verdict.gain, verdict.low, verdict.probability, verdict.replicate) == (None, None, None, None)
    assert "0.2 above the champion's" in verdict.because
    assert "no measurement" in verdict.because
    assert B not in {row.arm for row in judging.rows(history, LAB)}
    assert step(*events, Judged(verdict=verdict)) == Propose()


def test_it_is_dropped_also_where_more_runs_were_wanted() -> None:
    """One seed that is hopeless is enough."""
    history = fold(*BASE, proposed("b", seeds=2), *ran("b1", "b", GIVEN_UP))
    assert decide.due(history) == [B]
    assert decide.judge(history, LAB, B).decision is Decision.DISCARD


def test_a_run_that_somebody_stopped_is_run_again() -> None:
    """Without a curve as its reason an early end says nothing of the idea."""
    history = fold(*BASE, proposed("b"), *ran("b1", "b", StoppedEarly(reason="Ctrl-C")))
    assert decide.due(history) == []
