"""Which emitter proposes next: by what its ideas are believed to gain for the minutes they took."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

import pytest

from nightlab.history import History
from nightlab.search.credit import BEFORE, FADING, FLOOR, IN_A_ROW, Credit, drawn, earned, promise, tired
from nightlab.types import EMITTERS, Decision, Forecast, Idea, Phase, Plan, Proposed, Verdict
from tests import builders
from tests.search.histories import Story, crash, knob
from tests.search.labs import SMALL, Night, a_proposer


def tell(story: Story, emitter: str, count: int = 1, **more: object) -> Story:
    """That many further ideas of an emitter, all judged alike."""
    for _ in range(count):
        name = f"{emitter}{len(story.events)}"
        story.idea(name, knob("LR", "1", name), plan=Plan(emitter=emitter), **more)  # type: ignore[arg-type]
    return story


def credits_of(story: Story) -> dict[str, Credit]:
    return earned(story.told(), story.base)


def shares(known: dict[str, Credit], phase: Phase = Phase.EXPLORE, draws: int = 4000) -> Counter[str]:
    rng = random.Random(1)
    return Counter(drawn(known, phase, rng) for _ in range(draws))


def slower(history: History, of: str, factor: float) -> History:
    """The same history where the runs of an emitter's ideas took longer."""
    for state in history.experiments.values():
        if state.experiment.plan.emitter == of:
            for run in state.runs:
                assert run.usage is not None
                run.usage = replace(run.usage, wall_s=factor * run.usage.wall_s)
    return history


@pytest.mark.parametrize("others", [(0.05, 0.9), (-0.05, 0.02)], ids=["where much pays", "where nothing pays"])
@pytest.mark.parametrize("before", [1, 5, 30])
def test_a_crash_never_earns_more_than_a_win(before: int, others: tuple[float, float]) -> None:
    """One more crash leaves an emitter with a lower rate than one more win by 0.0004, whatever else is on record.

    The older control plane paid a first crash more than a median win, for its novelty.
    """
    gain, probability = others
    won, lost = (tell(Story(), "contrarian", before, gain=gain, probability=probability) for _ in range(2))
    tell(won, "local_tuner", decision=Decision.KEEP, gain=0.0004, probability=0.96, spread=0.0004)
    tell(lost, "local_tuner", outcome=crash())
    assert credits_of(lost)["local_tuner"].rate < credits_of(won)["local_tuner"].rate


def test_credit_is_gain_per_minute() -> None:
    """What gains the same in half the time is worth about twice as much, and so is what gains twice as much."""
    story = Story()
    for _ in range(60):
        tell(story, "simplifier", gain=0.01, probability=0.7, spread=0.001)
        tell(story, "contrarian", gain=0.01, probability=0.7, spread=0.001)
    same = credits_of(story)
    assert same["simplifier"].rate == pytest.approx(same["contrarian"].rate, rel=0.01)
    known = earned(slower(story.told(), "simplifier", 2.0), story.base)
    assert 1.7 < known["contrarian"].rate / known["simplifier"].rate < 2.0
    richer = Story()
    for _ in range(60):
        tell(richer, "simplifier", gain=0.01, probability=0.7, spread=0.001)
        tell(richer, "contrarian", gain=0.02, probability=0.7, spread=0.001)
    known = credits_of(richer)
    assert 1.7 < known["contrarian"].rate / known["simplifier"].rate < 2.0


def test_a_gain_is_worth_its_chance_and_its_size() -> None:
    """E[max(gain, 0)]: the gain itself where it is sure, little where a loss is likely, nothing for a crash."""

    def verdict(gain: float, half: float, decision: Decision = Decision.DISCARD) -> Verdict:
        a, b = builders.experiment_name("a"), builders.experiment_name("b")
        return Verdict(
            experiment=a, champion=b, decision=decision, because="", gain=gain, low=gain - half, high=gain + half
        )

    assert promise(verdict(0.02, 0.001)) == pytest.approx(0.02)
    assert promise(verdict(0.0, 1.96)) == pytest.approx(0.398942, rel=1e-5)  # of a standard normal
    assert 0 < promise(verdict(-0.02, 0.0196)) < 0.001
    assert promise(verdict(0.02, 0.001, Decision.CRASH)) == 0.0
    assert promise(verdict(0.02, 0.0)) == 0.02
    assert promise(verdict(-0.02, 0.0)) == 0.0


def test_what_lies_back_fades() -> None:
    """An experiment weighs FADING for each that was settled since; one that paid long ago gives way to one of late."""
    story = tell(Story(), "simplifier", gain=0.02, probability=0.9)
    assert credits_of(story)["simplifier"].weight == 1.0
    tell(story, "contrarian", 10, gain=-0.01, probability=0.1)
    assert credits_of(story)["simplifier"].weight == pytest.approx(FADING**10)
    assert credits_of(story)["simplifier"].tried == 1
    old = tell(tell(tell(Story(), "simplifier", 3, gain=0.02, probability=0.9), "local_tuner", 60), "contrarian", 3,
               gain=0.02, probability=0.9)  # fmt: skip
    known = credits_of(old)
    assert known["contrarian"].rate > known["simplifier"].rate > known["local_tuner"].rate


def test_a_settled_idea_counts_when_it_was_judged() -> None:
    """Age goes by verdicts, not by proposals: the race that ended last is the freshest, an open one waits."""
    story = Story().idea("long", knob("LR", "1", "2"), decision=None, plan=Plan(emitter="simplifier"))
    tell(story, "contrarian", 5)
    assert credits_of(story)["simplifier"].tried == 0
    story.judge("long", Decision.DISCARD, probability=0.4, gain=0.0)
    assert credits_of(story)["simplifier"].weight == 1.0
    assert credits_of(story)["contrarian"].weight < 5


def test_every_emitter_is_drawn_however_poor() -> None:
    """FLOOR of the draws are even: even one whose fifty ideas all crashed beside a rich one is drawn."""
    story = Story()
    for _ in range(50):
        tell(story, "anomaly_chaser", outcome=crash())
        tell(story, "local_tuner", gain=0.05, probability=0.95)
    seen = shares(credits_of(story))
    assert set(seen) == set(EMITTERS)
    assert min(seen.values()) > 0.7 * 4000 * FLOOR / len(EMITTERS)


def test_nobody_is_favoured_while_nothing_has_gained() -> None:
    """Before any verdict, and after a dozen ideas that all look worse, no emitter has most of the draws."""
    nothing, losers, crashes = Story(), Story(), Story()
    for _ in range(4):
        for emitter in ("contrarian", "local_tuner", "simplifier"):
            tell(losers, emitter, gain=-0.001, probability=0.35)
            tell(crashes, emitter, outcome=crash())
    for story in (nothing, losers, crashes):
        assert max(shares(credits_of(story)).values()) < 0.45 * 4000


def test_the_phase_leans_the_draw() -> None:
    """With nothing known, a plateau draws more structural ideas than exploitation does, and the other way round."""
    known = credits_of(Story())
    explore, exploit = shares(known, Phase.EXPLORE), shares(known, Phase.EXPLOIT)
    assert explore["architecture_mutator"] > exploit["architecture_mutator"]
    assert exploit["local_tuner"] > explore["local_tuner"]
    assert shares(known, Phase.RECOMBINE)["recombinator"] > explore["recombinator"]


def test_what_pays_is_drawn_more() -> None:
    """Where one emitter's ideas pay and the others' do not, it gets most of the draws."""
    story = Story()
    for emitter in EMITTERS * 8:
        paid = emitter == "simplifier"
        tell(story, emitter, gain=0.02 if paid else -0.02, probability=0.9 if paid else 0.05, spread=0.005)
    assert shares(credits_of(story))["simplifier"] > 0.6 * 4000


def test_beliefs_before_any_are_weak() -> None:
    """A dozen verdicts outweigh what is believed beforehand: those of all emitters together count as two."""
    story = tell(tell(Story(), "simplifier", 12, gain=0.02, probability=0.9), "contrarian", 12, probability=0.1)
    known = credits_of(story)
    assert known["simplifier"].weight > 3 * BEFORE
    assert known["simplifier"].chance > 0.75
    assert known["contrarian"].chance < 0.25


def test_a_streak_ends_at_three() -> None:
    """Three ideas of one emitter in a row tire it, settled or not; two do not, nor does a streak that was broken."""
    story = tell(tell(Story(), "simplifier"), "contrarian", 2)
    assert tired(story.told(), story.base) is None
    story.idea("third", knob("LR", "1", "3"), decision=None, plan=Plan(emitter="contrarian"))
    assert tired(story.told(), story.base) == "contrarian"
    tell(story, "simplifier")
    assert tired(story.told(), story.base) is None
    assert IN_A_ROW == 3


def test_a_person_s_emitter_is_named_in_the_description() -> None:
    """`[emitter=NAME]` in a description earns for that emitter; a name that is none earns for nobody."""
    story = Story()
    for name, text in (("x", "wider [emitter=contrarian]"), ("y", "wider [emitter=nobody]")):
        story.idea(name, knob("LR", "1", name), plan=Plan(emitter="try"))
        told = story.events[-4]
        assert isinstance(told, Proposed)
        story.events[-4] = replace(told, experiment=replace(told.experiment, description=text))
    known = credits_of(story)
    assert known["contrarian"].tried == 1
    assert sum(credit.tried for credit in known.values()) == 1


def test_another_emitter_follows_a_streak_of_the_anomaly_chaser() -> None:
    """Acceptance case 7: after anomaly_chaser three times in a row the next idea is another's, though it has more."""

    def emitters(night: Night) -> set[str]:
        asked = (night.ask(a_proposer(["bandit", "prescreen"]), seed) for seed in range(40))
        return {answer.plan.emitter for answer in asked if isinstance(answer, Idea)}

    def plan(emitter: str) -> Plan:
        return Plan(emitter=emitter, forecast=Forecast(gain=0.05, deviation=0.001, chance=0.99))

    night = Night(SMALL)
    for name, old, new in (("LR", "0.01", "0.04"), ("WEIGHT_DECAY", "0.1", "0.4")):
        night.tried(name, old, new, 0.1, gain=-0.01, plan=plan("anomaly_chaser"))
    assert "anomaly_chaser" in emitters(night)  # what surprised is there to be followed
    night.tried("LR", "0.01", "0.08", 0.1, gain=-0.02, plan=plan("anomaly_chaser"))
    assert "anomaly_chaser" not in emitters(night)
    night.tried("LR", "0.01", "0.002", 0.1, gain=-0.02, plan=plan("local_tuner"))
    assert "anomaly_chaser" in emitters(night)


def test_gains_without_a_chance_break_nothing() -> None:
    """A verdict by numbers of old that names a gain and no chance is no division by zero."""
    story = tell(Story(), "contrarian", 2, gain=0.02, probability=None, spread=0.0)
    assert all(0 < credit.rate < 1 for credit in credits_of(story).values())
