"""How long the search takes from a history to its next plan.

    uv run python benchmarks/proposal_time.py [--experiments 1000 10000] [--free SHARE]

A made-up history over the shipped train.py: moves, edits and free changes of a champion that is promoted now and then,
each run once or twice. Prints CPU seconds of the first `Proposer.propose` of a process, which works everything out,
and of the following ones, each after one more experiment, as in a night; the median of five.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

from nightlab.history import History
from nightlab.search.catalogue import CATALOGUE
from nightlab.search.knobs import Knob, find_knobs
from nightlab.search.moves import drawn_move
from nightlab.search.propose import Proposer
from nightlab.types import (
    EMITTERS,
    Change,
    ChangeKind,
    Crashed,
    Decision,
    Ended,
    Environment,
    Event,
    Experiment,
    ExperimentId,
    Files,
    Finished,
    Forecast,
    Judged,
    Metrics,
    NightBegan,
    NightId,
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

TRAIN = Path(__file__).resolve().parents[1] / "train.py"
ENVIRONMENT = Environment(device="cuda:0", machine="made up", python="", platform="")
KEPT_EACH = 100  # experiments for one promotion
CRASHED, EDITED = 0.08, 0.2  # shares of experiments


class Made:
    """A history that grows by one experiment at a time."""

    def __init__(self, free: float, seed: int = 0) -> None:
        self.history = History()
        self.files: Files = {"train.py": TRAIN.read_text(encoding="utf-8")}
        self.knobs = find_knobs(self.files, on_gpu=True)
        self._rng, self._free = random.Random(seed), free
        self.champion = ExperimentId("e0")
        self._tell(Proposed(experiment=self._experiment(self.champion, None, (), Plan(emitter="baseline"))))
        self._tell(NightBegan(night=NightId("n"), seed=0, ideas=None, hours=None, baseline=self.champion))
        for number in range(2):
            self._run(self.champion, 1.0, number, Purpose.BASELINE)

    def _tell(self, event: Event) -> None:
        self.history.apply(Recorded(seq=self.history.seq + 1, at=300.0 * self.history.seq, event=event))

    def _experiment(
        self, name: ExperimentId, parent: ExperimentId | None, changes: tuple[Change, ...], plan: Plan
    ) -> Experiment:
        return Experiment(
            id=name, source_hash=f"made:{name}", commit="0" * 40, parent_commit=None, parent=parent, patch="",
            description=name, plan=plan, changes=changes,
        )  # fmt: skip

    def _changes(self) -> Iterator[Change]:
        drawn = self._rng.random()
        if drawn < self._free:
            yield Change(kind=ChangeKind.FREE, name=f"GPT.forward: {len(self.history.experiments)}", new="ab")
        elif drawn < self._free + EDITED:
            yield Change(kind=ChangeKind.EDIT, name=self._rng.choice(CATALOGUE).name)
        else:
            knobs: list[Knob] = self._rng.sample(self.knobs, self._rng.choice((1, 1, 2, 3)))
            for knob in knobs:
                move = drawn_move(knob, self._rng, 1.0)
                if move is not None:
                    yield Change(kind=ChangeKind.KNOB, name=knob.name, old=knob.text, new=move.text)

    def grow(self) -> None:
        """One more experiment, run and judged."""
        rng, number = self._rng, len(self.history.experiments)
        name = ExperimentId(f"e{number}")
        forecast = Forecast(gain=0.0, deviation=0.01, chance=0.4, crash=0.1, model="history")
        plan = Plan(emitter=rng.choice(EMITTERS), forecast=forecast)
        self._tell(Proposed(experiment=self._experiment(name, self.champion, tuple(self._changes()), plan)))
        crashed, gain = rng.random() < CRASHED, rng.gauss(-0.005, 0.01)
        kept = not crashed and number % KEPT_EACH == 0
        for run in range(1 if crashed or rng.random() < 0.7 else 2):
            self._run(name, None if crashed else 1.0 - gain, run, Purpose.IDEA)
        decision = Decision.CRASH if crashed else Decision.KEEP if kept else Decision.DISCARD
        verdict = Verdict(experiment=name, champion=self.champion, decision=decision, because="made up")
        if not crashed:
            probability = 0.99 if kept else min(0.9, max(0.01, 0.4 + 30.0 * gain))
            verdict = replace(verdict, gain=gain, low=gain - 0.01, high=gain + 0.01, probability=probability)
        self._tell(Judged(verdict=verdict))

    def _run(self, of: ExperimentId, value: float | None, number: int, purpose: Purpose) -> None:
        run = Run(
            id=RunId(f"r{len(self.history.runs)}"), experiment=of, seed=42 + number, purpose=purpose, slot=0,
            limit_s=600.0, command=(), environment=ENVIRONMENT, night=NightId("n"),
        )  # fmt: skip
        self._tell(Started(run=run))
        crash = Crashed(summary="RuntimeError: boom", exit_code=1, signature="RuntimeError: boom")
        metrics = Metrics(primary=0.0 if value is None else value + self._rng.gauss(0.0, 0.001), params_m=50.0)
        outcome = crash if value is None else Finished(metrics=metrics)
        self._tell(Ended(run=run.id, outcome=outcome, usage=Usage(wall_s=300.0, cpu_s=300.0)))

    def ask(self, proposer: Proposer, seed: int) -> float:
        """CPU seconds of one proposal."""
        before = time.process_time()
        proposer.propose(self.history, self.champion, self.files, random.Random(seed))
        return time.process_time() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--free", type=float, default=0.2, help="share of experiments that are free changes")
    options = parser.parse_args()
    for count in options.experiments:
        made = Made(options.free)
        while len(made.history.experiments) < count:
            made.grow()
        proposer = Proposer(settings_digest="made up", on_gpu=True)
        first = made.ask(proposer, 0)
        following = []
        for seed in range(1, 6):
            made.grow()
            following.append(made.ask(proposer, seed))
        print(f"{count} experiments: {first:.2f} s cold, {median(following):.2f} s warm (most {max(following):.2f})")


if __name__ == "__main__":
    main()
