"""A lab in memory whose proposer is the product's, and whose runs and verdicts the test decides."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

from nightlab.history import History
from nightlab.search.propose import Proposer
from nightlab.search.source import experiment_id, source_hash
from nightlab.types import (
    Again,
    Change,
    ChangeKind,
    Crashed,
    Decision,
    Direction,
    Event,
    Exhausted,
    Experiment,
    ExperimentId,
    Files,
    Finished,
    Idea,
    Judged,
    Metrics,
    NightBegan,
    NightId,
    Outcome,
    Plan,
    Proposed,
    Purpose,
    Recorded,
    RunId,
    Started,
    Verdict,
)
from tests import builders

ROOT = Path(__file__).parents[2]
SMALL: Files = {
    "t.py": "LR = 0.01\nBATCH_SIZE = 32\nDEPTH = 4\nWEIGHT_DECAY = 0.1\nprint(LR, BATCH_SIZE, DEPTH, WEIGHT_DECAY)\n"
}
SHIPPED: Files = {"train.py": (ROOT / "train.py").read_text()}
SPREAD = 0.004  # half of a verdict's interval


def a_proposer(without: Collection[str] = (), direction: Direction = Direction.MINIMIZE) -> Proposer:
    return Proposer(settings_digest="s", on_gpu=False, without=without, direction=direction)


@dataclass
class Night:
    """Its baseline has run twice and lost 1.0; `units` and `direction` say in what the metric is told."""

    files: Files
    units: float = 1.0
    direction: Direction = Direction.MINIMIZE
    history: History = field(default_factory=History)
    sources: dict[ExperimentId, Files] = field(default_factory=dict)

    def __post_init__(self) -> None:
        baseline = self.propose(Idea(description="baseline", files=self.files, plan=Plan(emitter="baseline")), None)
        self.put(NightBegan(night=NightId("n"), seed=0, ideas=None, hours=None, baseline=baseline))
        for seed, value in ((42, 1.0), (43, 1.0005)):
            self.run(baseline, value, seed=seed, purpose=Purpose.BASELINE)

    def put(self, event: Event) -> None:
        self.history.apply(Recorded(seq=self.history.seq + 1, at=60.0 * self.history.seq, event=event))

    @property
    def champion(self) -> ExperimentId:
        assert self.history.champion is not None
        return self.history.champion

    def level(self, experiment: ExperimentId) -> float:
        """Its mean loss."""
        values = [run.value for run in self.history.state(experiment).finished() if run.value is not None]
        return self.direction.sign * sum(values) / len(values) / self.units

    def propose(self, idea: Idea, parent: ExperimentId | None) -> ExperimentId:
        digest = source_hash(idea.files, "s")
        name = experiment_id(digest)
        assert name not in self.history.experiments, "a known source was proposed"
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

    def run(
        self,
        experiment: ExperimentId,
        loss: float,
        *,
        outcome: Outcome | None = None,
        seed: int = 42,
        purpose: Purpose = Purpose.IDEA,
    ) -> None:
        """One run with that loss, in the lab's units and direction."""
        name = f"r{len(self.history.runs)}"
        value = self.direction.sign * self.units * loss
        self.put(Started(run=replace(builders.run(name, night="n", seed=seed, purpose=purpose), experiment=experiment)))
        self.put(builders.ended(RunId(name), outcome or Finished(metrics=Metrics(primary=value))))

    def judge(
        self,
        experiment: ExperimentId,
        probability: float,
        *,
        gain: float | None = None,
        decision: Decision | None = None,
    ) -> None:
        """Run it once, with a loss by `gain` below the champion's, and judge it; a crash runs and fails.

        Without a gain it follows from the chance.
        """
        decision = decision or (Decision.KEEP if probability >= 0.95 else Decision.DISCARD)
        gain = 0.01 * (probability - 0.5) if gain is None else gain
        crashed = decision is Decision.CRASH
        failure = Crashed(summary="RuntimeError: boom", exit_code=1, signature="RuntimeError: boom")
        self.run(experiment, self.level(self.champion) - gain, outcome=failure if crashed else None)
        told = None if crashed else self.units * gain
        self.put(
            Judged(
                verdict=Verdict(
                    experiment=experiment, champion=self.champion, decision=decision, because="test",
                    probability=None if crashed else probability, gain=told,
                    low=None if told is None else told - self.units * SPREAD,
                    high=None if told is None else told + self.units * SPREAD,
                )
            )
        )  # fmt: skip

    def ask(
        self, proposer: Proposer, seed: int = 0, running: tuple[ExperimentId, ...] = ()
    ) -> Idea | Again | Exhausted:
        return proposer.propose(self.history, self.champion, self.sources[self.champion], random.Random(seed), running)

    def tried(
        self,
        name: str,
        old: str,
        new: str,
        probability: float,
        *,
        gain: float | None = None,
        decision: Decision | None = None,
        plan: Plan | None = None,
    ) -> ExperimentId:
        """A move that somebody has made on the champion, run and judged."""
        path, text = next(iter(self.sources[self.champion].items()))
        assert f"{name} = {old}\n" in text
        idea = Idea(
            description=f"{name} {old} -> {new}",
            files={path: text.replace(f"{name} = {old}\n", f"{name} = {new}\n")},
            plan=plan or Plan(emitter="person"),
            changes=(Change(kind=ChangeKind.KNOB, name=name, old=old, new=new),),
        )
        experiment = self.propose(idea, self.champion)
        self.judge(experiment, probability, gain=gain, decision=decision)
        return experiment

    def ideas(self, count: int = 40, without: Collection[str] = ()) -> list[Idea]:
        """What is proposed next under many seeds, where it is something new."""
        answers = [self.ask(a_proposer(without, self.direction), seed) for seed in range(count)]
        return [answer for answer in answers if isinstance(answer, Idea)]

    def new(self, proposer: Proposer, seed: int) -> Idea:
        """The next new idea; a settled one that is asked for again is passed over."""
        for attempt in range(50):
            answer = self.ask(proposer, 1000 * attempt + seed)
            if not isinstance(answer, Again):
                break
        assert isinstance(answer, Idea), answer
        return answer


def play(night: Night, proposer: Proposer, ideas: int, chance: Callable[[int, Idea], float]) -> list[Idea]:
    """That many ideas of the proposer, each judged with the chance that it gets."""
    out = []
    for number in range(ideas):
        idea = night.new(proposer, number)
        night.judge(night.propose(idea, night.champion), chance(number, idea))
        out.append(idea)
    return out
