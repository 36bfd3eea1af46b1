"""What the lab's verdicts say of each change: removals and a person's word say nothing of ways of changing."""

from __future__ import annotations

from dataclasses import replace

from nightlab.search.evidence import gather
from nightlab.types import (
    Change,
    ChangeKind,
    Decision,
    Event,
    Experiment,
    ExperimentId,
    Judged,
    Plan,
    Proposed,
    Verdict,
)
from tests.builders import experiment, experiment_name
from tests.nights import fold
from tests.search.histories import Story, free
from tests.test_decide import began, proposed

A, B, C = (experiment_name(name) for name in "abc")


def changed(name: str, parent: str, kind: ChangeKind, what: str, without: ExperimentId | None = None) -> Proposed:
    made: Experiment = experiment(name, parent=parent)
    change = Change(kind=kind, name=what, old="1", new="2")
    return Proposed(experiment=replace(made, changes=(change,), plan=Plan(emitter="knob", without=without)))


def verdict(name: str, champion: str, decision: Decision, probability: float | None) -> Judged:
    return Judged(
        verdict=Verdict(
            experiment=experiment_name(name),
            champion=experiment_name(champion),
            decision=decision,
            because="so",
            probability=probability,
        )
    )


START: tuple[Event, ...] = (proposed("a", None), began())


def test_a_removal_weighs_no_way_of_changing() -> None:
    """Its probability is that of being no worse: it would make a near miss of what nobody should try again."""
    left_out = changed("x", "a", ChangeKind.KNOB, "LR", without=B)
    idea = changed("x", "a", ChangeKind.KNOB, "LR")
    judged = verdict("x", "a", Decision.DISCARD, 0.9)
    assert gather(fold(*START, idea, judged), A).near
    evidence = gather(fold(*START, left_out, judged), A)
    assert not evidence.near
    assert not evidence.tries
    assert "nl1:x" in evidence.hashes  # its source is known all the same


def test_the_base_holds_what_its_chain_made_and_nothing_that_was_taken_back() -> None:
    """After c was taken back the champion b holds its own edit, not that of c."""
    events = (
        *START, changed("b", "a", ChangeKind.EDIT, "first"), verdict("b", "a", Decision.KEEP, 0.99),
        changed("c", "b", ChangeKind.EDIT, "second"), verdict("c", "b", Decision.KEEP, 0.99),
    )  # fmt: skip
    assert gather(fold(*events), C).made == {"first", "second"}
    back = fold(*events, verdict("b", "c", Decision.KEEP, None))
    assert gather(back, B).made == {"first"}
    assert gather(fold(*events, verdict("a", "c", Decision.KEEP, None)), A).made == set()


def test_what_is_being_merged_is_under_way() -> None:
    """While an idea runs that takes over what others wrote, the same is not merged a second time."""
    parents = (experiment_name("b"), experiment_name("c"))
    story = Story().idea("b", free("by hand")).idea("c", free("by hand too"))
    story.idea("d", free("by hand"), free("by hand too"), plan=Plan(emitter="recombinator", parents=parents))
    d = experiment_name("d")
    assert {(parent, "graft") for parent in parents} <= gather(story.told(), story.base, running=(d,)).pending
    assert not gather(story.told(), story.base).pending
