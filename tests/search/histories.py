"""Histories in memory for tests of what the search remembers: a baseline, ideas, what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from nightlab.history import History
from nightlab.types import (
    Change,
    ChangeKind,
    Crashed,
    Decision,
    Environment,
    Event,
    Experiment,
    ExperimentId,
    Finished,
    Judged,
    Metrics,
    NightBegan,
    NightId,
    Outcome,
    Plan,
    Proposed,
    Purpose,
    Recorded,
    Started,
    Verdict,
)
from tests import builders


def knob(name: str, old: str, new: str) -> Change:
    return Change(kind=ChangeKind.KNOB, name=name, old=old, new=new)


def edit(name: str) -> Change:
    return Change(kind=ChangeKind.EDIT, name=name)


def free(name: str) -> Change:
    return Change(kind=ChangeKind.FREE, name=name)


def metrics(value: float = 1.0, **more: float) -> Metrics:
    return Metrics(primary=value, **more)  # type: ignore[arg-type]


def crash(signature: str = "RuntimeError: boom") -> Crashed:
    return Crashed(summary=signature, exit_code=1, signature=signature)


@dataclass
class Story:
    """A lab's events, told one idea at a time; the baseline `a` has run twice before the first."""

    events: list[Event] = field(default_factory=list)
    champion: str = "a"
    baseline: Metrics = field(default_factory=metrics)
    environment: Environment = builders.ENVIRONMENT

    def __post_init__(self) -> None:
        night = NightId("n1")
        self.events.append(Proposed(experiment=builders.experiment("a")))
        self.events.append(
            NightBegan(night=night, seed=1, ideas=50, hours=None, baseline=builders.experiment_name("a"))
        )
        for seed in (42, 43):
            self._run("a", f"a-{seed}", Finished(metrics=self.baseline), Purpose.BASELINE, seed)

    def idea(
        self,
        name: str,
        *changes: Change,
        decision: Decision | None = Decision.DISCARD,
        probability: float | None = 0.1,
        gain: float | None = -0.01,
        spread: float = 0.01,
        outcome: Outcome | None = None,
        plan: Plan | None = None,
        patch: str = "",
        family: str = "",
        parent: str | None = None,
    ) -> Story:
        """Propose, run and judge one; `spread` is half its interval, `decision` None leaves it open."""
        base = parent or self.champion
        made: Experiment = replace(
            builders.experiment(name, parent=base),
            changes=changes,
            patch=patch,
            family=family,
            plan=plan or Plan(emitter="local_tuner"),
        )
        self.events.append(Proposed(experiment=made))
        self._run(name, f"{name}-42", outcome or Finished(metrics=metrics(1.0 - (gain or 0.0))), Purpose.IDEA, 42)
        if isinstance(outcome, Crashed):
            self.judge(name, Decision.CRASH)
        elif decision is not None:
            self.judge(name, decision, probability=probability, gain=gain, spread=spread)
        return self

    def keep(self, name: str, *changes: Change, gain: float = 0.02, **more: object) -> Story:
        return self.idea(name, *changes, decision=Decision.KEEP, probability=0.99, gain=gain, **more)  # type: ignore[arg-type]

    def judge(
        self,
        name: str,
        decision: Decision,
        *,
        probability: float | None = None,
        gain: float | None = None,
        spread: float = 0.01,
    ) -> Story:
        verdict = Verdict(
            experiment=builders.experiment_name(name),
            champion=builders.experiment_name(self.champion),
            decision=decision,
            because="as the test says",
            gain=gain,
            low=None if gain is None else gain - spread,
            high=None if gain is None else gain + spread,
            probability=probability,
            runs_used=1,
        )
        self.events.append(Judged(verdict=verdict))
        if decision is Decision.KEEP:
            self.champion = name
        return self

    def _run(self, of: str, name: str, outcome: Outcome, purpose: Purpose, seed: int) -> None:
        run = replace(builders.run(name, of, seed=seed, purpose=purpose, night="n1"), environment=self.environment)
        self.events += [Started(run=run), builders.ended(name, outcome)]

    def told(self, upto: int | None = None) -> History:
        """The history after the first `upto` events, or after all."""
        chosen: Sequence[Event] = self.events[:upto]
        return History.fold(
            Recorded(seq=place, at=builders.EPOCH + 60 * place, event=event) for place, event in enumerate(chosen, 1)
        )

    @property
    def base(self) -> ExperimentId:
        return builders.experiment_name(self.champion)
