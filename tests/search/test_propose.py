"""The built-in proposer: always something new, learning from verdicts, one answer for one history and seed."""

from __future__ import annotations

import random
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from nightlab.history import History
from nightlab.search import priors
from nightlab.search.propose import Proposer
from nightlab.search.source import experiment_id, source_hash
from nightlab.types import (
    Change,
    ChangeKind,
    Decision,
    Event,
    Exhausted,
    Experiment,
    ExperimentId,
    Files,
    Idea,
    Judged,
    NightBegan,
    NightId,
    Plan,
    Proposed,
    Recorded,
    Verdict,
)

ROOT = Path(__file__).parents[2]
SMALL: Files = {
    "t.py": "LR = 0.01\nBATCH_SIZE = 32\nDEPTH = 4\nWEIGHT_DECAY = 0.1\nprint(LR, BATCH_SIZE, DEPTH, WEIGHT_DECAY)\n"
}
SHIPPED: Files = {"train.py": (ROOT / "train.py").read_text()}


def a_proposer() -> Proposer:
    return Proposer(settings_digest="s", on_gpu=False)


@dataclass
class Night:
    """A lab in memory whose verdicts the test decides."""

    files: Files
    history: History = field(default_factory=History)
    sources: dict[ExperimentId, Files] = field(default_factory=dict)

    def __post_init__(self) -> None:
        baseline = self.propose(Idea(description="baseline", files=self.files, plan=Plan(emitter="baseline")), None)
        self.put(NightBegan(night=NightId("n"), seed=0, ideas=None, hours=None, baseline=baseline))

    def put(self, event: Event) -> None:
        self.history.apply(Recorded(seq=self.history.seq + 1, at=0.0, event=event))

    @property
    def champion(self) -> ExperimentId:
        assert self.history.champion is not None
        return self.history.champion

    def propose(self, idea: Idea, parent: ExperimentId | None) -> ExperimentId:
        digest = source_hash(idea.files, "s")
        name = experiment_id(digest)
        self.sources[name] = idea.files
        self.put(
            Proposed(
                experiment=Experiment(
                    id=name, source_hash=digest, commit="0" * 40, parent_commit=None, parent=parent, patch="",
                    description=idea.description, plan=idea.plan, family=idea.family, changes=idea.changes,
                )
            )
        )  # fmt: skip
        return name

    def judge(self, experiment: ExperimentId, probability: float, *, decision: Decision | None = None) -> None:
        kept = Decision.KEEP if probability >= 0.95 else Decision.DISCARD
        gain = probability - 0.5
        self.put(
            Judged(
                verdict=Verdict(
                    experiment=experiment, champion=self.champion, decision=decision or kept, because="test",
                    probability=probability, gain=gain, low=gain - 0.4, high=gain + 0.4,
                )
            )
        )  # fmt: skip

    def ask(self, proposer: Proposer, seed: int = 0, running: tuple[ExperimentId, ...] = ()) -> Idea | Exhausted:
        return proposer.propose(self.history, self.champion, self.sources[self.champion], random.Random(seed), running)

    def tried(
        self, name: str, old: str, new: str, probability: float, decision: Decision | None = None
    ) -> ExperimentId:
        """A move that somebody has made, judged."""
        path, text = next(iter(self.sources[self.champion].items()))
        assert f"{name} = {old}\n" in text
        idea = Idea(
            description=f"{name} {old} -> {new}",
            files={path: text.replace(f"{name} = {old}\n", f"{name} = {new}\n")},
            plan=Plan(emitter="person"),
            changes=(Change(kind=ChangeKind.KNOB, name=name, old=old, new=new),),
        )
        experiment = self.propose(idea, self.champion)
        self.judge(experiment, probability, decision=decision)
        return experiment

    def singles(self, count: int = 60) -> list[Change]:
        """What is proposed first under many seeds, where it is one change."""
        ideas = [self.ask(a_proposer(), seed) for seed in range(count)]
        return [idea.changes[0] for idea in ideas if isinstance(idea, Idea) and len(idea.changes) == 1]


def play(night: Night, proposer: Proposer, ideas: int, keep: float) -> list[Idea]:
    out = []
    for number in range(ideas):
        idea = night.ask(proposer, number)
        assert isinstance(idea, Idea), (number, idea)
        luck = random.Random(number).random()
        night.judge(night.propose(idea, night.champion), 0.97 if luck < keep else luck * 0.7)
        out.append(idea)
    return out


@pytest.mark.parametrize("keep", [0.0, 0.03])
def test_four_knobs_give_a_thousand_experiments(keep: float) -> None:
    """A lab with four constants never runs dry, and never meets a source twice."""
    night = Night(SMALL)
    ideas = play(night, a_proposer(), 1000, keep)
    assert len({source_hash(idea.files, "s") for idea in ideas}) == 1000
    assert len(night.history.experiments) == 1001  # the baseline was never proposed either


def test_same_history_same_seed_same_idea() -> None:
    """What a proposer has parsed before never changes what it answers: a lab restarted goes on alike."""
    night, old_hand = Night(SHIPPED), a_proposer()
    for number in range(25):
        idea = night.ask(old_hand, number)
        assert idea == night.ask(a_proposer(), number)
        assert isinstance(idea, Idea)
        night.judge(night.propose(idea, night.champion), 0.97 if number % 9 == 8 else 0.3)


def test_seeds_differ_and_ideas_are_told() -> None:
    """Another seed gives another order; each idea says what it changes, why, and who asks for it."""
    night = Night(SHIPPED)
    ideas = [idea for seed in range(30) if isinstance(idea := night.ask(a_proposer(), seed), Idea)]
    assert len({idea.description for idea in ideas}) > 10
    assert {idea.changes[0].kind for idea in ideas} == {ChangeKind.KNOB, ChangeKind.EDIT}
    for idea in ideas:
        assert idea.hypothesis.endswith(".")
        assert idea.family
        assert idea.changes
        assert len(idea.description) < 120
        assert "\n" not in idea.plan.brief
        assert idea.plan.emitter in {"local_tuner", "optimizer_hacker", "architecture_mutator", "simplifier"}


def test_goes_on_where_it_paid() -> None:
    """After a kept halving, going on down by the same ratio is proposed more than before, and going back is not."""
    before = sum(c.name == "BATCH_SIZE" for c in Night(SMALL).singles())
    night = Night(SMALL)
    night.tried("BATCH_SIZE", "32", "16", 0.99)
    after = [change for change in night.singles() if change.name == "BATCH_SIZE"]
    assert [c.new for c in after].count("8") > before / 2
    assert "32" not in {change.new for change in after}


def test_settles_a_knob_that_lost_both_ways() -> None:
    """A knob whose both directions lost on this base waits until the others are spent."""
    night = Night(SMALL)
    night.tried("LR", "0.01", "0.02", 0.01)
    night.tried("LR", "0.01", "0.005", 0.01)
    assert "LR" not in {change.name for change in night.singles()}


def test_smaller_steps_after_a_loss() -> None:
    """A step that lost rules out larger ones the same way on the same base."""
    night = Night(SMALL)
    night.tried("LR", "0.01", "0.02", 0.1)
    ups = {float(c.new) for c in night.singles() if c.name == "LR" and float(c.new) > 0.01}
    assert ups <= {0.015, 0.0125}


def test_keeps_away_from_crashes() -> None:
    """A value that crashed, and those beyond it, are not proposed again, on any base."""
    night = Night(SMALL)
    night.tried("DEPTH", "4", "8", 0.0, Decision.CRASH)
    night.tried("LR", "0.01", "0.02", 0.99)
    for number in range(80):
        idea = night.ask(a_proposer(), number)
        assert isinstance(idea, Idea)
        assert not any(c.name == "DEPTH" and int(c.new) >= 8 for c in idea.changes)
        night.judge(night.propose(idea, night.champion), 0.2)


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


def test_near_misses_get_a_second_chance_and_company() -> None:
    """What nearly won is tried again on a new champion, and two near misses are tried together."""
    night = Night(SMALL)
    first = night.tried("LR", "0.01", "0.015", 0.9)
    second = night.tried("WEIGHT_DECAY", "0.1", "0.2", 0.9)
    ideas = [night.ask(a_proposer(), seed) for seed in range(40)]
    stacks = [idea for idea in ideas if isinstance(idea, Idea) and idea.plan.emitter == "recombinator"]
    assert stacks
    assert {change.name for change in stacks[0].changes} == {"LR", "WEIGHT_DECAY"}
    assert stacks[0].plan.predicted_gain == pytest.approx(0.8)
    night.tried("DEPTH", "4", "3", 0.99)
    briefs = " ".join(i.plan.brief for s in range(60) if isinstance(i := night.ask(a_proposer(), s), Idea))
    assert first in briefs or second in briefs


def test_says_when_it_has_nothing() -> None:
    """Files without Python or without constants end with a sentence, not an error."""
    for files, word in (({"config.yaml": "lr: 1\n"}, "no Python"), ({"t.py": "x = 1\n"}, "no constant")):
        answer = Night(files).ask(a_proposer())
        assert isinstance(answer, Exhausted)
        assert word in answer.reason


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
    assert [derived[n] for n in ("CASES", "LOGS", "OVERALL", "ECHO")] == [
        priors.CASES, priors.LOGS, priors.OVERALL, priors.ECHO,
    ]  # fmt: skip


def test_beliefs_move_with_verdicts() -> None:
    """A prior is a proper chance, and a verdict moves it towards what was seen."""
    start = priors.prior("batch", "down")
    assert 0 < start.mean < 1
    assert start.after(1, 0).mean > start.mean > start.after(0, 1).mean
    assert priors.prior("no such kind", "up").mean == pytest.approx(priors.OVERALL)
