"""Whole nights in which a hopeless run is given up by its curve."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from nightlab.config import EarlySettings
from nightlab.history import History, RunState
from nightlab.ledger import Ledger
from nightlab.runner.fake import FakeBackend
from nightlab.types import (
    Change,
    ChangeKind,
    Curve,
    Decision,
    Exhausted,
    ExperimentId,
    Files,
    Finished,
    Idea,
    Run,
    StoppedEarly,
    Usage,
)
from tests.nights import BASELINE, Answer, Bench, Listed


def falling(level: float) -> Curve:
    return Curve.of((step / 100, level + (1 - step / 100) ** 2) for step in range(1, 101))


class Traced:
    """A bench whose runs tell of their progress, as their supervisors would have it in their files."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench

    def trace(self, run: Run, commit: str) -> Curve:
        """The whole curve, which is written down as well; it ends where the table says."""
        level = self.bench.table[self.bench.git.read(commit, "train.py").decode()]
        assert isinstance(level, float)
        curve = falling(level)
        lines = "".join(f'{{"fraction": {share}, "loss": {loss}}}\n' for share, loss in curve.points)
        (self.bench.settings.runs / run.id / "progress.jsonl").write_text(lines)
        return curve

    def night(self, ideas: int) -> History:
        bench = self.bench
        with Ledger.open(bench.settings.database, clock=bench.clock) as ledger:
            backend = FakeBackend(bench.measure, ledger.append, trace=self.trace, usage=Usage(wall_s=60.0, cpu_s=60.0))
            with bench.lab(backend=backend) as lab:
                lab.begin(ideas=ideas, hours=None, seed=1)
                lab.run_night()
                return lab.history


def knob_table(last: float) -> dict[str, Answer]:
    """Ideas that each turn the one knob a little further, all about as good, and one more."""
    return {BASELINE: 1.0, **{f"LR = {n}\n": 1.0002 + 0.0001 * n for n in range(1, 8)}, "LR = 99\n": last}


class Turning(Listed):
    """Its ideas say what they change."""

    def propose(self, history: History, base: ExperimentId, files: Files, rng: Random) -> Idea | Exhausted:
        idea = super().propose(history, base, files, rng)
        if isinstance(idea, Exhausted):
            return idea
        new = idea.files["train.py"].partition("= ")[2].strip()
        return replace(idea, changes=(Change(kind=ChangeKind.KNOB, name="LR", old="0", new=new),))


def traced(tmp_path: Path, last: float, **early: float) -> tuple[History, RunState]:
    """A night whose last idea ends at `last`, and the run of that idea."""
    bench = Bench(tmp_path / "lab", knob_table(last))
    bench.settings = replace(bench.settings, early=EarlySettings(**early))  # type: ignore[arg-type]
    bench.proposer = Turning(bench.proposer.sources)
    history = Traced(bench).night(ideas=8)
    (state,) = (s for s in history.experiments.values() if s.experiment.description == "LR = 99")
    return history, state.runs[0]


def test_a_hopeless_idea_is_given_up_and_the_night_goes_on(tmp_path: Path) -> None:
    """Once the lab has runs to compare with: no value, one verdict, no second run; its equals are left alone."""
    history, run = traced(tmp_path, 2.0, audit=0.0)
    assert isinstance(run.outcome, StoppedEarly)
    assert run.outcome.fraction == 0.4
    state = history.state(run.run.experiment)
    assert len(state.runs) == 1
    assert [verdict.decision for verdict in state.verdicts] == [Decision.DISCARD]
    stopped = [r for r in history.runs.values() if isinstance(r.outcome, StoppedEarly)]
    assert stopped == [run]


@pytest.mark.parametrize("early", [{"enabled": False}, {"audit": 1.0}])
def test_where_nothing_is_stopped_it_runs_to_its_end(tmp_path: Path, early: dict[str, float]) -> None:
    """Switched off nobody looks; audited, its ending says what a look would have said."""
    _, run = traced(tmp_path, 2.0, **early)
    assert isinstance(run.outcome, Finished)
    assert (run.outcome.spared is not None) == ("audit" in early)
