"""The built-in proposer: always something new, learning from what ran, one answer for one history and seed."""

from __future__ import annotations

import math
import random
import re
import subprocess
import sys
from collections import Counter

import pytest

from nightlab.search import priors
from nightlab.search.catalogue import BY_NAME
from nightlab.search.conjectures import conjectures
from nightlab.search.forecasts import MIN_ROWS
from nightlab.search.knobs import Knob
from nightlab.search.pieces import Piece, put_in
from nightlab.search.propose import CITED, PARTS, Proposer
from nightlab.search.source import source_hash
from nightlab.search.surprises import is_failed_stack
from nightlab.types import (
    EMITTERS,
    Again,
    Change,
    ChangeKind,
    Decision,
    Direction,
    Exhausted,
    ExperimentId,
    Files,
    Idea,
    Phase,
    Plan,
)
from tests.search.labs import ROOT, SHIPPED, SMALL, Night, a_proposer, play


@pytest.mark.parametrize("keep", [0.0, 0.03])
def test_four_knobs_do_not_run_dry(keep: float) -> None:
    """A lab with four constants does not run dry, and never meets a source twice."""

    def chance(number: int, idea: Idea) -> float:
        luck = random.Random(number).random()
        return 0.97 if luck < keep else luck * 0.7

    night = Night(SMALL)
    ideas = play(night, a_proposer(without=["numeric"]), 100, chance)
    assert len({source_hash(idea.files, "s") for idea in ideas}) == 100
    assert len(night.history.experiments) == 101  # the baseline was never proposed either


def test_same_history_same_seed_same_answer() -> None:
    """What a proposer has parsed before never changes what it answers: a lab restarted goes on alike."""
    night, old_hand = Night(SHIPPED), a_proposer()
    for number in range(25):
        assert night.ask(old_hand, number) == night.ask(a_proposer(), number)
        night.judge(night.propose(night.new(old_hand, number), night.champion), 0.97 if number % 9 == 8 else 0.3)


def test_an_answer_uses_no_randomness_but_its_own() -> None:
    """Neither does the answer depend on the global generators, nor are they moved by it."""
    night = Night(SMALL)
    play(night, a_proposer(), 14, lambda number, idea: 0.3)
    random.seed(1)
    before = random.getstate()
    first = night.ask(a_proposer(), 3)
    assert random.getstate() == before
    random.seed(2)
    assert night.ask(a_proposer(), 3) == first


def test_seeds_differ_and_ideas_are_told() -> None:
    """Another seed gives another order; each idea says what it changes, why, who asks for it and in which phase."""
    ideas = Night(SHIPPED).ideas(30)
    assert len({idea.description for idea in ideas}) > 10
    assert {change.kind for idea in ideas for change in idea.changes} == {ChangeKind.KNOB, ChangeKind.EDIT}
    for idea in ideas:
        assert idea.hypothesis.endswith(".")
        assert idea.family
        assert idea.changes
        assert len(idea.description) < 240
        assert idea.plan.brief
        assert "\n" not in idea.plan.brief
        assert idea.plan.emitter in EMITTERS
        assert Phase(idea.plan.phase)
        assert idea.plan.niche.endswith(f"/{idea.plan.phase}")
    assert len({idea.plan.emitter for idea in ideas}) >= 3


def test_a_forecast_comes_with_an_idea_once_something_has_run() -> None:
    """Before three experiments have values nothing tells how far the metric moves; from then on every idea has one."""
    night = Night(SMALL)
    assert all(idea.plan.forecast is None for idea in night.ideas(5))
    for new in ("0.02", "0.005"):
        night.tried("LR", "0.01", new, 0.2)
    assert len(night.history.experiments) == MIN_ROWS
    for idea in night.ideas(10):
        forecast = idea.plan.forecast
        assert forecast is not None
        assert forecast.model == "history"
        assert forecast.deviation > 0
        assert 0 < forecast.chance < 1
        assert 0 < forecast.crash < 0.5


def ways(ideas: list[Idea], name: str, old: float) -> Counter[bool]:
    """How often a constant is moved up and how often down."""
    return Counter(float(c.new) > old for idea in ideas for c in idea.changes if c.name == name)


def test_goes_on_where_it_paid_and_not_back() -> None:
    """After a kept halving that gained far more than anything else, the batch is moved on down far more than up."""
    night = Night(SMALL)
    night.tried("LR", "0.01", "0.02", 0.3, gain=-0.002)
    night.tried("WEIGHT_DECAY", "0.1", "0.2", 0.3, gain=-0.002)
    night.tried("BATCH_SIZE", "32", "16", 0.99, gain=0.02)
    moved = ways(night.ideas(60), "BATCH_SIZE", 16)
    assert moved[False] > 3 * moved[True]
    assert moved[False] > 10


def test_turns_away_from_what_lost() -> None:
    """After rates on one side lost far more than anything else moves the metric, the other side is tried more."""
    night = Night(SMALL)
    night.tried("WEIGHT_DECAY", "0.1", "0.2", 0.4, gain=-0.001)
    for new, gain in (("0.015", -0.004), ("0.02", -0.008), ("0.03", -0.013)):
        night.tried("LR", "0.01", new, 0.01, gain=gain)
    moved = ways(night.ideas(60), "LR", 0.01)
    assert moved[False] > 3 * moved[True]


def test_nothing_that_was_tried_is_proposed_from_next_door() -> None:
    """A proposal as good as at a place that has run, whatever its text, says nothing new."""
    night = Night({"t.py": "LR = 0.01\nDECAY = 0.1\nprint(LR, DECAY)\n"})
    for new in ("0.0125", "0.015", "0.02", "0.008", "0.0065"):
        night.tried("LR", "0.01", new, 0.6, gain=0.001)
    tried = [math.log2(float(new)) for new in ("0.01", "0.0125", "0.015", "0.02", "0.008", "0.0065")]
    for idea in night.ideas(40, without=["numeric", "prescreen"]):
        if [change.name for change in idea.changes] == ["LR"]:
            assert min(abs(math.log2(float(idea.changes[0].new)) - old) for old in tried) > 0.04


def test_keeps_away_from_crashes() -> None:
    """A value that crashed, and those beyond it, are not proposed again, on any base."""
    night = Night(SMALL)
    night.tried("DEPTH", "4", "8", 0.0, decision=Decision.CRASH)
    night.tried("LR", "0.01", "0.02", 0.99)
    for idea in play(night, a_proposer(without=["numeric"]), 40, lambda number, idea: 0.2):
        assert not any(change.name == "DEPTH" and int(change.new) >= 8 for change in idea.changes)


def test_never_two_of_a_kind_at_once() -> None:
    """While moves run unjudged, no second one of the same knob the same way is started beside them."""
    night, proposer = Night(SHIPPED), a_proposer()
    under_way: list[ExperimentId] = []
    keys: list[tuple[str, bool]] = []
    for number in range(20):
        idea = night.ask(proposer, number, tuple(under_way))
        assert isinstance(idea, Idea)
        under_way.append(night.propose(idea, night.champion))
        keys += [(c.name, float(c.new) > float(c.old)) for c in idea.changes if c.new[:1].isdigit()]
        keys += [(c.name, True) for c in idea.changes if c.kind is ChangeKind.EDIT]
    assert len(set(keys)) == len(keys) > 10


def test_near_misses_are_put_together() -> None:
    """Two that each fell short of proof are gone on with at once, and the plan names whose changes it takes over."""
    night = Night(SMALL)
    first = night.tried("LR", "0.01", "0.015", 0.9)
    second = night.tried("WEIGHT_DECAY", "0.1", "0.2", 0.9)
    both = [idea for idea in night.ideas(20) if {c.name for c in idea.changes} >= {"LR", "WEIGHT_DECAY"}]
    assert len(both) > 5
    assert all(set(idea.plan.parents) & {first, second} for idea in both)
    assert not [i for i in night.ideas(20, without=["stacking", "archive"]) if i.plan.parents]


def test_a_near_miss_gets_a_second_chance_on_a_new_champion() -> None:
    """What nearly won against an older champion is tried on the new one, which lacks it."""
    night = Night(SMALL)
    near = night.tried("LR", "0.01", "0.015", 0.9)
    night.tried("DEPTH", "4", "3", 0.99)
    again = [idea for idea in night.ideas(80, without=["bandit"]) if near in idea.plan.parents]
    assert any([(c.name, c.new) for c in idea.changes] == [("LR", "0.015")] for idea in again)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_can_be_left_out(part: str) -> None:
    """Without any one part the search still proposes, and what it proposes is another sequence."""
    night = Night(SMALL)
    play(night, a_proposer(), 12, lambda number, idea: 0.6 if number % 2 else 0.2)
    ideas = [night.new(a_proposer([part]), seed) for seed in range(12)]
    assert len({idea.description for idea in ideas}) > 2


def test_a_part_that_is_none_is_refused() -> None:
    """The message names the part and those there are."""
    with pytest.raises(ValueError, match="no part of the search: luck; there are prescreen, bandit"):
        Proposer(settings_digest="s", on_gpu=False, without=["luck"])


def test_without_the_public_surface_the_recipe_is_as_any_lab() -> None:
    """`public` leaves out what was measured on the published recipe: no effects are known of any baseline."""
    night = Night(SHIPPED)
    texts = {knob.name: knob.text for knob in _knobs(night)}
    assert a_proposer().effects_of is not a_proposer(["public"]).effects_of
    assert a_proposer(["public"]).effects_of(texts) is None


def _knobs(night: Night) -> tuple[Knob, ...]:
    proposer = a_proposer()
    night.ask(proposer)
    return proposer.knobs


@pytest.mark.parametrize(
    ("files", "word"),
    [({"config.yaml": "lr: 1\n"}, "no Python"), ({"t.py": "x = 1\n"}, "no constant"), ({}, "no Python")],
)
def test_says_when_it_has_nothing(files: Files, word: str) -> None:
    """Files without Python or without constants end with a sentence, not an error."""
    answer = Night(files).ask(a_proposer())
    assert isinstance(answer, Exhausted)
    assert word in answer.reason


def test_says_when_all_is_tried() -> None:
    """One switch has one other value: once that has run, the search says that nothing new is left, and of how many."""
    night = Night({"t.py": "WARM = True\nprint(WARM)\n"})
    idea = night.ask(a_proposer())
    assert isinstance(idea, Idea)
    night.judge(night.propose(idea, night.champion), 0.1)
    answer = night.ask(a_proposer())
    assert isinstance(answer, Exhausted)
    assert "draws from 1 knobs gave no new source" in answer.reason


def test_tables_are_those_of_the_histories() -> None:
    """The shipped priors are what the script derives from the public histories, to the digit."""
    if not (ROOT.parent / "shared/data/histories").is_dir():
        pytest.skip("the public histories are not here")
    script = [sys.executable, str(ROOT / "benchmarks/knob_priors.py")]
    environment = {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=True)
    derived: dict[str, object] = {"Cell": priors.Cell, "Reach": priors.Reach}
    exec(done.stdout, derived)  # noqa: S102  our own script's output
    assert derived["TABLE"] == priors.TABLE
    assert derived["REACH"] == priors.REACH
    known = [priors.CASES, priors.LOGS, priors.OVERALL, priors.SPREAD]
    assert [derived[name] for name in ("CASES", "LOGS", "OVERALL", "SPREAD")] == known


def test_a_chance_is_the_table_s_or_the_average_log_s() -> None:
    """What the histories are silent of pays as often as anything in the average log; what paid more has more."""
    assert priors.chance("no such kind", "up") == pytest.approx(priors.OVERALL)
    assert priors.chance("batch", "down") > priors.OVERALL > priors.chance("depth", "up")
    assert all(0 < priors.chance(*cell) < 1 for cell in priors.TABLE)


@pytest.mark.parametrize("direction", list(Direction))
def test_a_run_that_is_worth_less_than_its_price_is_not_asked_for(direction: Direction) -> None:
    """From the first forecast on the search ends where the best it can think of gains too little, and says how much."""

    def answer(worth: float, experiments: int = 3) -> Idea | Again | Exhausted:
        night = Night(SMALL, units=100.0, direction=direction)
        for new in ("0.02", "0.005", "0.04")[:experiments]:
            night.tried("LR", "0.01", new, 0.2)
        return night.ask(Proposer(settings_digest="s", on_gpu=False, direction=direction, worth=worth))

    dear = answer(50.0)
    assert isinstance(dear, Exhausted)
    assert "another run is expected to gain" in dear.reason
    assert dear.reason.endswith("at most, and search.worth asks for 50")
    assert 0 < float(dear.reason.split("gain ")[1].split()[0]) < 50
    assert isinstance(answer(1e-6), Idea)
    assert isinstance(answer(0.0), Idea)
    assert isinstance(answer(50.0, experiments=1), Idea)  # nothing tells yet how far the metric moves


def test_one_poor_pool_ends_no_night() -> None:
    """Before a search says that nothing is worth its run it has looked several times, not at one pool alone."""

    class Counted(random.Random):
        drawn = 0

        def random(self) -> float:  # what every other kind of draw comes from
            self.drawn += 1
            return super().random()

    night = Night(SMALL)
    for new in ("0.02", "0.005", "0.04"):
        night.tried("LR", "0.01", new, 0.2)
    counts = []
    for worth in (0.0, 50.0):
        rng, proposer = Counted(1), Proposer(settings_digest="s", on_gpu=False, worth=worth)
        answer = proposer.propose(night.history, night.champion, night.sources[night.champion], rng)
        assert isinstance(answer, Exhausted if worth else Idea)
        counts.append(rng.drawn)
    assert counts[1] >= 3 * counts[0]


def test_a_start_is_weighed_as_what_can_be_made_of_it() -> None:
    """An elite of an older champion comes with the base's edits, which it lacks: both may be the best there is.

    By itself it is a little behind the base, so that weighed as it ran it would hardly ever be the start.
    """
    night = Night({"train.py": re.sub(r"(?m)^FINAL_LR_FRAC = .*$", "FINAL_LR_FRAC = 0.1", SHIPPED["train.py"])})
    stone = night.tried("FINAL_LR_FRAC", "0.1", "0.2", 0.9, gain=0.047)
    night.tried("FINAL_LR_FRAC", "0.1", "0.05", 0.1, gain=-0.047)
    files = put_in(night.sources[night.champion], [Piece(BY_NAME["no-softcap"])])
    assert files is not None
    change = Change(kind=ChangeKind.EDIT, name="no-softcap")
    edited = Idea(description="no cap", files=files, plan=Plan(emitter="person"), changes=(change,))
    night.judge(night.propose(edited, night.champion), 0.99, gain=0.05)
    ideas = night.ideas(30, without=["stacking"])
    assert sum(stone in idea.plan.parents for idea in ideas) > len(ideas) / 2


def test_a_plan_names_the_conjectures_that_speak_of_it() -> None:
    """By ids that are on record, those of its own changes first, three at most; none before there are any."""
    night = Night(SMALL)
    assert all(idea.plan.cites == () for idea in night.ideas(5))
    for new in ("0.02", "0.03"):
        night.tried("LR", "0.01", new, 0.6, gain=0.001, plan=Plan(emitter="local_tuner"))
    claims = {claim.id: claim for claim in conjectures(night.history, night.champion)}
    (own,) = (claim.id for claim in claims.values() if claim.change == "LR up")
    ideas = night.ideas(60)
    assert all(set(idea.plan.cites) <= set(claims) and len(idea.plan.cites) <= CITED for idea in ideas)
    up = [i for i in ideas if any(c.name == "LR" and float(c.new) > 0.01 for c in i.changes)]
    down = [i for i in ideas if any(c.name == "LR" and float(c.new) < 0.01 for c in i.changes)]
    assert up
    assert down
    assert all(idea.plan.cites[0] == own for idea in up)
    assert all(own not in idea.plan.cites for idea in down)


def test_a_stack_that_failed_is_taken_apart() -> None:
    """A part of it is tried alone, and the plan says whose part it is; one that was kept is left alone."""
    night = Night(SMALL)
    path, text = next(iter(SMALL.items()))
    changes = (
        Change(kind=ChangeKind.KNOB, name="LR", old="0.01", new="0.02"),
        Change(kind=ChangeKind.KNOB, name="DEPTH", old="4", new="6"),
    )
    files = {path: text.replace("LR = 0.01", "LR = 0.02").replace("DEPTH = 4", "DEPTH = 6")}
    plan = Plan(emitter="recombinator", parents=(ExperimentId("e1"), ExperimentId("e2")))
    stack = night.propose(Idea(description="both", files=files, plan=plan, changes=changes), night.champion)
    night.judge(stack, 0.1)
    state = night.history.state(stack)
    assert is_failed_stack(state)
    parts = [i for i in night.ideas(120, without=["prescreen", "bandit"]) if i.plan.parents == (stack,)]
    assert any(
        len(i.changes) == 1 and (i.changes[0].name, i.changes[0].new) in {("LR", "0.02"), ("DEPTH", "6")} for i in parts
    )
    night.judge(stack, 0.99)
    assert not is_failed_stack(state)
