"""Which link of the chain is left out next, and what a night spends on it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nightlab import ablation, decide
from nightlab.decide import Ablate, Done, Execute, Propose
from nightlab.types import Decision, Event, ExperimentId, Judged, Lost, Plan, Proposed, Purpose, Verdict
from tests.builders import EPOCH, experiment, experiment_name, finished
from tests.nights import fold
from tests.test_decide import BASE, LAB, began, finals, proposed, ran, step

A, B, C, D, X = (experiment_name(name) for name in "abcdx")


def keep(name: str, champion: str, *, probability: float | None = 0.99, gain: float | None = 0.01) -> Judged:
    verdict = Verdict(
        experiment=experiment_name(name), champion=experiment_name(champion), decision=Decision.KEEP,
        because="better", gain=gain, low=gain, high=gain, probability=probability,
    )  # fmt: skip
    return Judged(verdict=verdict)


def kept(name: str, parent: str, value: float, *, probability: float | None = 0.99) -> tuple[Event, ...]:
    """An idea with two runs that was kept."""
    return (
        proposed(name, parent),
        *ran(f"{name}1", name, finished(value)),
        *ran(f"{name}2", name, finished(value + 0.0005), seed=43),
        keep(name, parent, probability=probability),
    )


def removal(name: str, parent: str, without: ExperimentId) -> Proposed:
    plan = Plan(emitter=ablation.ABLATION, without=without)
    return Proposed(experiment=replace(experiment(name, parent=parent), plan=plan))


CHAIN = (*BASE, *kept("b", "a", 0.9), *kept("c", "b", 0.8), *kept("d", "c", 0.7, probability=0.96))


def after(*events: Event) -> ExperimentId | None:
    return ablation.next_link(fold(*CHAIN, *events))


def worse(name: str, champion: str, high: float) -> Judged:
    verdict = Verdict(
        experiment=experiment_name(name), champion=experiment_name(champion), decision=Decision.DISCARD,
        because="it earns its place", gain=high - 1.0, low=high - 2.0, high=high, probability=0.1,
    )  # fmt: skip
    return Judged(verdict=verdict)


def test_every_link_but_the_last_has_its_turn() -> None:
    """The champion without its last link is its parent, which has runs of its own; each other is left out once."""
    assert after() == B
    assert after(removal("x", "d", B)) == C
    assert after(removal("x", "d", B), removal("y", "d", C)) is None
    assert ablation.next_link(fold(*BASE, *kept("b", "a", 0.9))) is None


def test_the_least_certain_comes_first() -> None:
    """What was kept with the smaller probability is the likelier dead weight."""
    events = (*BASE, *kept("b", "a", 0.9), *kept("c", "b", 0.8, probability=0.951), *kept("d", "c", 0.7))
    assert ablation.next_link(fold(*events)) == C


def test_a_new_champion_is_asked_anew_but_not_what_is_settled() -> None:
    """A link whose removal was clearly worse stays; one that was left undecided is asked of the next champion."""
    clear = (removal("x", "d", B), worse("x", "d", high=-0.01))
    unclear = (removal("x", "d", B), worse("x", "d", high=0.01))
    following = kept("e", "d", 0.6)
    assert after(*clear, *following) == D
    assert after(*unclear, *following) == D
    assert after(*unclear, *following, removal("y", "e", D)) == B
    assert after(*clear, *following, removal("y", "e", D)) == C


def test_what_is_gone_or_by_hand_is_not_left_out() -> None:
    """Neither a removal, nor what it removed, nor what a person decided."""
    gone = (removal("x", "d", B), *ran("x1", "x", finished(0.7)), keep("x", "d"))
    assert after(*gone) == D
    assert after(*gone, removal("y", "x", D)) == C
    assert after(*gone, removal("y", "x", D), removal("z", "x", C)) is None
    by_hand = (*CHAIN, proposed("e", "d"), keep("e", "d", probability=None), *kept("f", "e", 0.5))
    asked = [removal(name, "f", experiment_name(of)) for name, of in zip("uvw", "bcd", strict=True)]
    assert ablation.next_link(fold(*by_hand, *asked)) is None


def test_what_cannot_be_built_is_passed_over() -> None:
    """The next one is tried."""
    assert ablation.next_link(fold(*CHAIN), {B}) == C


@pytest.mark.parametrize(("ideas", "runs"), [(0, 2), (12, 2), (29, 2), (30, 3), (100, 10)])
def test_a_tenth_of_the_ideas_may_be_spent(ideas: int, runs: int) -> None:
    """In runs, and two in a short night: on one seed nothing can be concluded."""
    assert ablation.runs_allowed(ideas) == runs


def test_margin_is_half_the_gain_and_at_most_the_noise() -> None:
    """A link of 0.01 may lose 0.005, or one standard deviation of a run where that is less."""
    history = fold(*CHAIN)
    assert ablation.margin(history, B, 0.1) == 0.005
    assert ablation.margin(history, B, 0.001) == 0.001
    assert ablation.margin(history, A, 0.001) == 0.001


# --- in the night -----------------------------------------------------------------------------------------------


def test_links_are_left_out_between_the_ideas_and_the_final_block() -> None:
    """While ideas are to be had they come first; then the removal; then the fresh seeds."""
    assert step(*CHAIN) == Propose()
    assert step(*CHAIN, exhausted=True) == Ablate(link=B)
    first = (*CHAIN, removal("x", "d", B))
    assert step(*first, exhausted=True) == Execute(experiment=X, seed=42, purpose=Purpose.IDEA)
    assert step(*first, *ran("x1", "x"), exhausted=True) == Ablate(link=C)  # an idle place is used
    done = (*first, *ran("x1", "x", finished(0.9)), worse("x", "d", high=-0.1))
    assert step(*done, exhausted=True) == Ablate(link=C)
    more = (*done, removal("y", "d", C), *ran("y1", "y", finished(0.9)), worse("y", "d", high=-0.1))
    final = step(*more, exhausted=True)
    assert isinstance(final, Execute)
    assert final.purpose is Purpose.FINAL


def test_lost_runs_are_not_charged() -> None:
    """What the machine lost is made again; the allowance is for what was learned."""
    lost = ran("x1", "x", Lost(reason="gone"))
    history = fold(*CHAIN, removal("x", "d", B), *lost, *ran("x2", "x", finished(0.7)))
    assert history.night is not None
    assert ablation.runs_spent(history, history.night.began.night) == 1


def test_the_allowance_ends_a_race() -> None:
    """With its two runs spent an undecided removal is dropped, so that the night can end."""
    events = (
        *CHAIN, removal("x", "d", B), *ran("x1", "x", finished(0.7001)), *ran("x2", "x", finished(0.7006), seed=43)
    )  # fmt: skip
    verdict = decide.judge(fold(*events), LAB, X)
    assert verdict.decision is Decision.DISCARD
    assert verdict.because.startswith("not shown to be dead weight")
    assert isinstance(step(*events, Judged(verdict=verdict), *finals(8), exhausted=True), Execute)


def test_hours_are_kept() -> None:
    """Time for removals is set aside, and where it is gone the final block comes at once."""
    events = [*CHAIN]
    events[1] = began(ideas=None, hours=2.0)
    end = EPOCH + 120 + 7200
    spent = decide.next_step(fold(*events), LAB, now=end - 11.5 * 60)
    assert spent == Propose()  # a run, two removals and eight final runs of a minute fit
    assert decide.next_step(fold(*events), LAB, now=end - 10.5 * 60) == Ablate(link=B)
    late = decide.next_step(fold(*events), LAB, now=end - 8.5 * 60)
    assert isinstance(late, Execute)
    assert late.purpose is Purpose.FINAL


def test_money_is_kept() -> None:
    """Removals are paid for while the final block can be paid as well; after that it comes at once."""
    lab = replace(LAB, budget=replace(LAB.budget, hour_price=60.0))  # one a minute; eight runs were made
    events = [*CHAIN]

    def after_spending(cost: float) -> decide.Step:
        events[1] = replace(began(ideas=None), cost=cost)
        return decide.next_step(fold(*events), lab, now=EPOCH)

    assert after_spending(19.5) == Propose()
    assert after_spending(18.5) == Ablate(link=B)
    late = after_spending(16.5)
    assert isinstance(late, Execute)
    assert late.purpose is Purpose.FINAL


def test_a_new_champion_closes_removals_of_the_old_one() -> None:
    """Their question is about a source that nobody builds on any more; they are closed without a run."""
    events = (*CHAIN, removal("x", "d", B), *kept("e", "d", 0.6))
    history = fold(*events)
    assert decide.due(history) == [X]
    verdict = decide.judge(history, LAB, X)
    assert verdict.decision is Decision.DISCARD
    assert verdict.because == "the champion that it was taken from has been replaced"
    assert isinstance(step(*events, Judged(verdict=verdict), exhausted=True), Ablate | Done)


def test_removals_are_not_counted_as_ideas() -> None:
    """The night's count is of what the search proposed."""
    history = fold(*CHAIN)
    assert decide.ideas_tried(fold(*CHAIN, removal("x", "d", B))) == decide.ideas_tried(history) == 3
