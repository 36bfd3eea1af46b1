"""Histories told in a few lines: what tests of the views and pictures of them are made from.

A story is events like any others: write them to a ledger, or fold them.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

from nightlab import decide
from nightlab.config import Settings
from nightlab.history import History
from nightlab.judge.packets import ChampionRef
from nightlab.ledger import Ledger
from nightlab.ledger.records import Records
from nightlab.memory import INDEX, packet, reference
from nightlab.types import (
    Change,
    Conditions,
    Crashed,
    Ended,
    Environment,
    Event,
    Experiment,
    ExperimentId,
    Finished,
    Forecast,
    Judged,
    Logged,
    Metrics,
    NightBegan,
    NightEnded,
    NightId,
    Outcome,
    Plan,
    Proposed,
    Purpose,
    Recorded,
    Run,
    RunId,
    Started,
    Usage,
    Verdict,
)

START = 1_773_180_000.0  # 2026-03-10 22:00 UTC
_ENVIRONMENT = Environment(device="cpu:0", machine="story", python="3.11", platform="linux")


class Story:
    """A lab's life, told in order; each run takes `minutes`."""

    def __init__(self, settings: Settings, *, start: float = START, minutes: float = 5.0) -> None:
        self.settings = settings
        self.now = start
        self.minutes = minutes
        self.recorded: list[Recorded] = []
        self.history = History()

    def tell(self, *events: Event) -> None:
        """Add events as they are."""
        for event in events:
            recorded = Recorded(seq=self.history.seq + 1, at=self.now, event=event)
            self.recorded.append(recorded)
            self.history.apply(recorded)

    @property
    def ledger(self) -> Ledger:
        """A ledger in memory that was told the same."""
        moments = iter(recorded.at for recorded in self.recorded)
        ledger = Ledger.open(Path(":memory:"), clock=lambda: next(moments), index=INDEX, durable=False)
        if self.recorded:
            ledger.append(*(recorded.event for recorded in self.recorded))
        return ledger

    @property
    def records(self) -> Records:
        return self.ledger.records

    @property
    def own(self) -> History:
        """What is known without the runs that were only logged by hand."""
        return self.ledger.history(own=True)

    def night(
        self, *values: float, ideas: int | None = 100, description: str = "baseline", commit: str = ""
    ) -> ExperimentId:
        """Begin a night from a new baseline that has run with these results."""
        baseline = self.experiment(description, parent=None, emitter="baseline", commit=commit)
        night = NightId(f"night-{len(self.history.nights) + 1}")
        self.tell(NightBegan(night=night, seed=0, ideas=ideas, hours=None, baseline=baseline))
        self.runs(baseline, *values, purpose=Purpose.BASELINE)
        return baseline

    def dawn(self, reason: str = "all ideas are tried") -> None:
        """End the night."""
        assert self.history.night is not None
        self.tell(NightEnded(night=self.history.night.began.night, reason=reason))

    def experiment(
        self,
        description: str,
        *,
        parent: ExperimentId | None,
        emitter: str = "knobs",
        hypothesis: str = "",
        family: str = "optimizer",
        changes: tuple[Change, ...] = (),
        forecast: Forecast | None = None,
        patch: str = "",
        commit: str = "",
        without: ExperimentId | None = None,
    ) -> ExperimentId:
        """Propose something without running it."""
        number = len(self.history.experiments) + 1
        digest = hashlib.sha256(f"{number}\0{description}".encode("utf-8", "surrogatepass")).hexdigest()
        name = ExperimentId(f"e{digest[:12]}")
        before = self.history.state(parent).experiment.commit if parent else None
        experiment = Experiment(
            id=name,
            source_hash=f"story1:{digest}",
            commit=commit or hashlib.sha1(digest.encode(), usedforsecurity=False).hexdigest(),
            parent_commit=before,
            parent=parent,
            description=description,
            patch=patch or f"--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-x = 0\n+x = {number}\n",
            plan=Plan(emitter=emitter, forecast=forecast, without=without),
            hypothesis=hypothesis,
            family=family,
            changes=changes,
        )
        self.tell(Proposed(experiment=experiment))
        return name

    def idea(self, description: str, *values: float, judged: bool = True, **more: str) -> ExperimentId:
        """An idea on top of the champion, run with these results, and judged after each as the loop would."""
        name = self.experiment(description, parent=self.history.champion, **more)  # type: ignore[arg-type]
        for value in values:
            self.runs(name, value)
            if judged:
                self.judge()
        return name

    def judge(self) -> None:
        """Judge what is due."""
        for name in decide.due(self.history):
            self.tell(Judged(verdict=decide.judge(self.history, self.settings, name)))

    def verdict(self, verdict: Verdict) -> None:
        self.tell(Judged(verdict=verdict))

    def crash(self, description: str, summary: str = "RuntimeError: CUDA out of memory", signature: str = "") -> None:
        """An idea whose only run crashes."""
        name = self.experiment(description, parent=self.history.champion)
        self.end(self.start(name), Crashed(summary=summary, exit_code=1, signature=signature or summary))
        self.judge()

    def runs(self, experiment: ExperimentId, *values: float, purpose: Purpose = Purpose.IDEA) -> None:
        """Finished runs of an experiment, one after the other."""
        for value in values:
            self.end(self.start(experiment, purpose), Finished(metrics=Metrics(primary=value, memory_mb=4321.0)))

    def start(self, experiment: ExperimentId, purpose: Purpose = Purpose.IDEA) -> RunId:
        """Start a run and leave it running."""
        runs = [r for r in self.history.state(experiment).runs if (r.run.purpose is Purpose.FINAL) is (
            purpose is Purpose.FINAL)]  # fmt: skip
        first = decide.FINAL_SEEDS if purpose is Purpose.FINAL else decide.FIRST_SEED
        name = RunId(f"20260311T{len(self.history.runs):06d}Z-{self.history.state(experiment).experiment.commit[:7]}")
        night = self.history.night
        run = Run(
            id=name,
            experiment=experiment,
            seed=first + len(runs),
            purpose=purpose,
            slot=0,
            limit_s=1800.0,
            command=self.settings.argv,
            environment=_ENVIRONMENT,
            night=night.began.night if night else None,
        )
        self.tell(Started(run=run))
        return name

    def end(self, run: RunId, outcome: Outcome, conditions: Conditions | None = None) -> None:
        """End a run; the clock moves on."""
        self.now += 60 * self.minutes
        usage = Usage(wall_s=60 * self.minutes, cpu_s=45 * self.minutes)
        self.tell(Ended(run=run, outcome=outcome, usage=usage, conditions=conditions))

    def log(self, description: str, outcome: Outcome, status: str) -> RunId:
        """A run that its author wrote down by hand."""
        name = self.experiment(description, parent=None, emitter="log")
        run = self.start(name, Purpose.LOG)
        self.end(run, outcome)
        commit = self.history.state(name).experiment.commit
        value = outcome.metrics.primary if isinstance(outcome, Finished) else None
        records, sign = self.records, self.settings.metric.direction.sign
        prior = reference(records.champion(sign))
        leads = value is not None and (prior is None or sign * value < sign * prior.value)
        _, told = packet(
            self.settings, run=run, status=status, value=value,
            error=outcome.summary if isinstance(outcome, Crashed) else "", hypothesis="", novelty_class="novel",
            prior=prior, current=ChampionRef(run=run, value=value) if leads and value is not None else prior,
        )  # fmt: skip
        self.tell(
            Logged(
                run=run, status=status, commit=commit, description=description, action=told.action,
                priority=told.priority, advice=told.summary,
            )
        )  # fmt: skip
        return run


def invented_night(settings: Settings, ideas: int, seed: int = 0, *, noise: float = 0.0005) -> Story:
    """A night like those that were measured: few ideas help, some crash, most change little."""
    rng = Random(seed)
    sign = settings.metric.direction.sign
    level = 0.9979
    story = Story(settings)
    story.night(*(sign * rng.gauss(level, noise) for _ in range(settings.judge.baseline_runs)), ideas=ideas)
    for index in range(ideas):
        what = f"{rng.choice(_WAYS)} {rng.choice(_KNOBS)}"
        if rng.random() < 0.06:
            story.crash(what)
            continue
        helps = rng.random() < 0.10 + 0.5 / (1 + index)
        truth = level - rng.expovariate(1 / 0.003) if helps else level + rng.expovariate(1 / 0.002)
        if rng.random() < 0.03:
            truth += rng.expovariate(1 / 0.3)
        name = story.experiment(what, parent=story.history.champion)
        story.runs(name, sign * rng.gauss(truth, noise))
        story.judge()
        while (side := _wanted(story, name)) is not None:
            story.runs(side, sign * rng.gauss(truth if side == name else level, noise), purpose=Purpose.REPLICATE)
            story.judge()
        if story.history.champion == name:
            level = truth
    return story


def _wanted(story: Story, name: ExperimentId) -> ExperimentId | None:
    verdict = story.history.state(name).verdict
    return verdict.replicate if verdict is not None else None


_WAYS = ("raise", "halve", "double", "lower", "anneal", "warm up", "shorten")
_KNOBS = (
    "matrix LR",
    "embedding LR",
    "weight decay",
    "warmdown share of the schedule",
    "depth",
    "head dimension",
    "batch size",
    "Adam beta2",
    "window pattern",
    "value-embedding gate",
)
