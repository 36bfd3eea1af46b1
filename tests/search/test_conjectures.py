"""What the lab's runs say of each kind of change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nightlab.search.conjectures import conjectures
from nightlab.types import Conjecture, Plan
from tests import builders
from tests.builders import experiment_name
from tests.search.histories import Story, crash, edit, knob

LR = knob("MATRIX_LR", "1", "2")
DEEPER = knob("DEPTH", "8", "9")


def claims(story: Story) -> dict[str, Conjecture]:
    return {claim.change: claim for claim in conjectures(story.told())}


def test_a_lab_that_has_tried_nothing_claims_nothing() -> None:
    """Neither before a night nor after its baseline is there a claim."""
    assert conjectures(Story().told(1)) == ()
    assert conjectures(Story().told()) == ()


def test_the_same_history_makes_the_same_claims_and_their_names_stay() -> None:
    """Claims are a function of the history; more evidence changes the effect, never the name."""
    story = Story().idea("b", LR, gain=-0.02).idea("c", LR, gain=-0.03)
    before = claims(story)["MATRIX_LR up"]
    assert conjectures(story.told()) == conjectures(story.told())
    after = claims(story.idea("d", LR, gain=-0.04))["MATRIX_LR up"]
    assert before.id == after.id
    assert after.gain is not None and before.gain is not None and after.gain < before.gain


def test_support_and_contradiction_follow_the_sign_of_the_effect() -> None:
    """Who went the claimed way supports, oldest first; who went the other way contradicts."""
    story = Story().idea("b", LR, gain=-0.02).idea("c", LR, gain=0.004).idea("d", LR, gain=-0.03)
    claim = claims(story)["MATRIX_LR up"]
    assert claim.gain is not None and claim.gain < 0.0
    assert claim.support == (experiment_name("b"), experiment_name("d"))
    assert claim.against == (experiment_name("c"),)


def test_the_precise_verdict_weighs_more() -> None:
    """Between two verdicts the mean lies nearer to the one with the narrower interval."""
    sure = Story().idea("b", LR, gain=-0.02, spread=0.001).idea("c", LR, gain=-0.04, spread=0.02)
    unsure = Story().idea("b", LR, gain=-0.02, spread=0.02).idea("c", LR, gain=-0.04, spread=0.001)
    first, second = claims(sure)["MATRIX_LR up"].gain, claims(unsure)["MATRIX_LR up"].gain
    assert first is not None and second is not None and first > second


def test_effects_are_shrunk_to_none() -> None:
    """The claimed effect is never larger than the mean of the gains it rests on, and its interval holds it."""
    story = Story().idea("b", LR, gain=-0.02).idea("c", LR, gain=-0.02)
    claim = claims(story)["MATRIX_LR up"]
    assert claim.gain is not None and claim.low is not None and claim.high is not None
    assert -0.02 < claim.gain < 0.0
    assert claim.low < claim.gain < claim.high


def test_a_single_vague_verdict_claims_nothing_and_a_clear_one_does() -> None:
    """One experiment is a claim only where its interval excludes no effect at all."""
    vague = Story().idea("b", LR, gain=-0.002, spread=0.01)
    assert "MATRIX_LR up" not in claims(vague)
    clear = Story().idea("b", LR, gain=-0.1, spread=0.01)
    assert "MATRIX_LR up" in claims(clear)


def test_several_changes_at_once_speak_of_no_knob() -> None:
    """A stack of two changes counts for its kind and its emitter, never for one of its parts."""
    story = Story().idea("b", LR, DEEPER, gain=-0.1).idea("c", LR, DEEPER, gain=-0.1)
    assert set(claims(story)) == {"mixed changes", "ideas by local_tuner"}


def test_lanes_edits_and_less_code() -> None:
    """There are claims for an edit, for a kind of change, for an emitter, and for patches that shrink the source."""
    plan = Plan(emitter="simplifier")
    shrinks = "--- a/t\n+++ b/t\n@@ -1,2 +1 @@\n-x = norm(x)\n y = 1\n"
    story = Story()
    for name in "bc":
        story.idea(name, edit("no-qk-norm"), gain=0.01, probability=0.7, plan=plan, patch=shrinks)
    assert set(claims(story)) == {"no-qk-norm", "attention changes", "ideas by simplifier", "less code"}


def test_a_diverged_run_says_bad_and_not_how_bad() -> None:
    """One run that went through the roof counts for no more than a clearly bad one."""
    story = Story()
    for number in range(8):
        story.idea(f"b{number}", LR, gain=-0.01, spread=0.004)
    calm = claims(story)["MATRIX_LR up"]
    story.idea("wild", LR, gain=-50.0, spread=0.01)
    shaken = claims(story)["MATRIX_LR up"]
    assert calm.gain is not None and shaken.gain is not None
    assert 2 * calm.gain < shaken.gain < calm.gain


def test_a_removal_is_evidence_of_nothing() -> None:
    """Leaving a change out again asks whether it was worth keeping; it speaks of no way of changing."""
    story = Story().idea("b", LR, gain=-0.02).idea("c", LR, gain=-0.02)
    before = claims(story)
    story.idea("d", LR, gain=0.5, plan=Plan(emitter="ablation", without=experiment_name("b")))
    assert claims(story) == before


def test_contexts_are_kept_apart() -> None:
    """What was seen on another kind of device is another claim under another name."""
    story = Story().idea("b", LR, gain=-0.02).idea("c", LR, gain=-0.02)
    story.environment = replace(builders.ENVIRONMENT, device="cuda:0")
    story.idea("d", LR, gain=0.02).idea("e", LR, gain=0.02)
    found = [claim for claim in conjectures(story.told()) if claim.change == "MATRIX_LR up"]
    assert sorted(claim.context.partition(",")[0] for claim in found) == ["cpu", "cuda"]
    assert len({claim.id for claim in found}) == 2


def test_two_crashes_are_a_no_fly_zone_until_the_base_changes() -> None:
    """One crash is none; two are; what flew the same way contradicts; a promotion makes the claim expire."""
    story = Story().idea("b", DEEPER, outcome=crash("out of memory"))
    assert not [claim for claim in conjectures(story.told()) if claim.is_no_fly]
    story.idea("c", DEEPER, outcome=crash("out of memory")).idea("d", DEEPER)
    (zone,) = [claim for claim in conjectures(story.told()) if claim.is_no_fly]
    assert zone.change == "crash: out of memory (DEPTH up)"
    assert zone.support == (experiment_name("b"), experiment_name("c"))
    assert zone.against == (experiment_name("d"),)
    assert not zone.has_expired
    story.keep("e", LR)
    (later,) = [claim for claim in conjectures(story.told()) if claim.is_no_fly]
    assert later.has_expired
    assert later.id == zone.id


@pytest.mark.parametrize(("tried", "is_plateau"), [(4, False), (5, True)])
def test_five_fruitless_experiments_are_a_plateau(tried: int, is_plateau: bool) -> None:
    """A plateau is claimed from the fifth experiment without a promotion on, with those experiments."""
    story = Story()
    for number in range(tried):
        story.idea(f"b{number}", LR)
    plateau = claims(story).get("plateau")
    assert (plateau is not None) is is_plateau
    assert plateau is None or len(plateau.support) == tried
