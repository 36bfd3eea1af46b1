"""Whole nights in memory: a tiny repository, runs that answer from a table, ideas from a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from nightlab.config import BudgetSettings, JudgeSettings, MetricSettings, Settings
from nightlab.git import Git
from nightlab.history import History
from nightlab.ledger import Ledger
from nightlab.loop import Lab, Listener
from nightlab.runner.fake import FakeBackend
from nightlab.types import (
    Backend,
    Conditions,
    Direction,
    Event,
    Exhausted,
    ExperimentId,
    Files,
    Finished,
    Idea,
    Metrics,
    Outcome,
    Plan,
    Recorded,
    Run,
    RunId,
    Usage,
)
from tests.builders import EPOCH, Clock, Repo

BASELINE = "LR = 0\n"


def recorded(*events: Event) -> list[Recorded]:
    """Events in the order given, a minute apart."""
    return [Recorded(seq=place, at=EPOCH + 60 * place, event=event) for place, event in enumerate(events, start=1)]


def fold(*events: Event) -> History:
    return History.fold(recorded(*events))


@dataclass
class Listed:
    """Proposes the sources of a list, in order, each once; what the lab knows is not proposed again."""

    sources: Sequence[str]
    seeds: int = 1
    asked: list[tuple[ExperimentId, float]] = field(default_factory=list)  # base and random number of each request

    def propose(self, history: History, base: ExperimentId, files: Files, rng: Random) -> Idea | Exhausted:
        self.asked.append((base, rng.random()))
        known = {state.experiment.description for state in history.experiments.values()}
        for source in self.sources:
            if source.strip() not in known:
                plan = Plan(emitter="listed", seeds=self.seeds)
                return Idea(description=source.strip(), files={**files, "train.py": source}, plan=plan)
        return Exhausted(reason="the list is at its end")


Answer = float | Outcome | Callable[[Run], Outcome | float | None]


@dataclass
class Bench:
    """A lab whose runs take a minute of a clock of our own and measure what `table` says of their source."""

    root: Path
    table: Mapping[str, Answer]
    noise: float = 0.001  # standard deviation of a run
    scale: float = 1.0
    direction: Direction = Direction.MINIMIZE
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    seconds: float = 60.0
    places: tuple[str, ...] = ("cpu:0",)
    clock: Clock = field(default_factory=Clock)
    seeds: int = 1
    conditions: Callable[[Run], Conditions | None] = lambda run: None
    begun: dict[RunId, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.repo = Repo(self.root) if self.root.exists() else Repo.make(self.root, {"train.py": BASELINE})
        self.git = Git(self.root)
        self.settings = Settings(
            root=self.root,
            command="python train.py",
            metric=MetricSettings(name="loss", direction=self.direction, low=None, high=None),
            judge=self.judge,
            budget=BudgetSettings(slots=len(self.places)),
        )
        self.proposer = Listed([source for source in self.table if source != BASELINE], seeds=self.seeds)

    def measure(self, run: Run, commit: str) -> Outcome | None:
        """What the table says, once the run's time is over."""
        if self.clock.now < self.begun.setdefault(run.id, self.clock.now) + self.seconds:
            return None
        return self.says(self.git.read(commit, "train.py").decode(), run)

    def says(self, source: str, run: Run) -> Outcome | None:
        """What a run of a source measures."""
        answer = self.table[source]
        if callable(answer):
            told = answer(run)
            if told is None:
                return None
            answer = told
        if not isinstance(answer, float):
            return answer
        loss = answer + Random(f"{source}:{run.seed}").gauss(0.0, self.noise)
        return Finished(metrics=Metrics(primary=round(loss, 6) * self.scale * self.direction.sign))

    @contextmanager
    def lab(self, *, listener: Listener | None = None, backend: Backend | None = None) -> Iterator[Lab]:
        """A lab as a new process would open it: over the same ledger, knowing nothing else."""
        with Ledger.open(self.settings.database, clock=self.clock) as ledger:
            fake = FakeBackend(
                self.measure,
                ledger.append,
                places=self.places,
                usage=Usage(wall_s=self.seconds, cpu_s=self.seconds),
                conditions=self.conditions,
            )
            yield Lab(
                self.settings,
                ledger,
                self.git,
                backend or fake,
                self.proposer,
                listener=listener,
                clock=self.clock,
                sleep=self.clock.sleep,
            )

    def night(self, *, ideas: int | None = None, hours: float | None = None) -> History:
        """One night from beginning to end."""
        with self.lab() as lab:
            lab.sources.check()
            lab.begin(ideas=ideas, hours=hours, seed=1)
            lab.run_night()
            return lab.history

    def history(self) -> History:
        with Ledger.read(self.settings.database) as ledger:
            return ledger.history()

    def source(self, experiment: ExperimentId | None) -> str:
        """The train.py of an experiment."""
        assert experiment is not None
        return self.git.read(self.history().state(experiment).experiment.commit, "train.py").decode()


def story(bench: Bench) -> list[tuple[str, str, str, str | None]]:
    """Every verdict in words that do not depend on the metric's units: idea, champion, decision, side to run again."""
    names = {name: state.experiment.description for name, state in bench.history().experiments.items()}
    with Ledger.read(bench.settings.database) as ledger:
        verdicts = [r.event.verdict for r in ledger.since() if hasattr(r.event, "verdict")]
    return [
        (names[v.experiment], names[v.champion], v.decision.value, names[v.replicate] if v.replicate else None)
        for v in verdicts
    ]
