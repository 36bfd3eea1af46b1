"""A night in the simulator is a night of the lab: the same table of sources gives the same decisions in both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from math import floor
from pathlib import Path
from random import Random

import pytest

from nightlab.config import EarlySettings
from nightlab.history import History
from nightlab.ledger import Ledger
from nightlab.runner.fake import FakeBackend
from nightlab.search.changes import changes_between
from nightlab.sim.night import BASELINE as SIM_BASELINE
from nightlab.sim.night import Answer as Answered
from nightlab.sim.night import Night, experiment
from nightlab.types import (
    Bounds,
    Curve,
    Decision,
    Direction,
    Exhausted,
    Experiment,
    ExperimentId,
    Files,
    Finished,
    Idea,
    Lost,
    Outcome,
    Purpose,
    Run,
    StoppedEarly,
    Usage,
)
from tests.builders import EPOCH, Clock, Repo, crashed
from tests.nights import Answer, Bench, Listed

SECONDS = 60.0  # of the lab's clock: one slot


def source(lr: int = 0, width: int = 0) -> str:
    """Two knobs, far enough from each other that git can take one of them back alone."""
    return f"LR = {lr}\na = 1\nb = 2\nc = 3\nd = 4\nWIDTH = {width}\n"


def lost_once() -> Callable[[Run], Outcome | float | None]:
    """A run that is lost, and one that is well, of a source worth 0.97."""
    seen: list[Run] = []

    def answer(run: Run) -> Outcome | float:
        seen.append(run)
        return Lost(reason="the machine went down") if len(seen) == 1 else 0.97

    return answer


REMOVALS = {source(6): 0.9401, source(7): 0.9396, source(0, 1): 0.9502}
"""What the champions are without one of their changes: nobody proposes these."""


def table() -> dict[str, Answer]:
    """Sources in the order in which they are proposed, after the baseline; then the removals."""
    return {
        source(): 1.0,
        source(1): 1.02,
        source(2): 0.985,
        source(3): crashed("ZeroDivisionError: division by zero"),
        source(4): 0.9848,
        source(2, 1): 0.95,
        source(2, 2): Lost(reason="no such device"),
        source(2, 3): lost_once(),
        source(2, 4): 0.949,
        **{source(5, width): 0.952 + 0.001 * width for width in range(5, 13)},
        source(2, 13): 1.4,
        source(6, 1): 0.94,
        source(7, 1): 0.9395,
        **REMOVALS,
    }


@dataclass
class Ticking(Clock):
    """A clock on which whoever sleeps sleeps to the end of the slot, as time passes in the simulator."""

    def sleep(self, seconds: float) -> None:
        self.now = EPOCH + SECONDS * (floor((self.now - EPOCH) / SECONDS) + 1)


def falling(loss: float) -> Curve:
    """The curve of a run that ends at `loss`."""
    return Curve.of((step / 50, loss + (1 - step / 50) ** 2) for step in range(1, 51))


def curve_of(bench: Bench, text: str, run: Run) -> Curve:
    """What a run's curve would be; empty where the table has no number for it."""
    if not isinstance(bench.table[text], float):
        return Curve(())
    outcome = bench.says(text, run)
    return falling(outcome.metrics.primary) if isinstance(outcome, Finished) else Curve(())


class Telling(Listed):
    """Says what its ideas change, so that their curves may be compared."""

    def propose(self, history: History, base: ExperimentId, files: Files, rng: Random) -> Idea | Exhausted:
        idea = super().propose(history, base, files, rng)
        return idea if isinstance(idea, Exhausted) else replace(idea, changes=changes_between(files, idea.files))


@dataclass
class Tabled:
    """A simulated night's site that answers from the same table; effects do not add up here."""

    bench: Bench
    with_curves: bool
    device: str = "cpu:0"
    sources: dict[ExperimentId, str] = field(default_factory=lambda: {SIM_BASELINE: source()})
    parents: dict[ExperimentId, ExperimentId] = field(default_factory=dict)

    def propose(self, base: ExperimentId) -> Experiment | Exhausted:
        text = next((s for s in self.bench.proposer.sources if s not in self.sources.values()), None)
        if text is None:
            return Exhausted(reason="the list is at its end")
        return self._add(text, base, None)

    def without(self, link: ExperimentId, champion: ExperimentId) -> Experiment | None:
        """Line by line what git makes of it."""
        old, new, now = (self.sources[n].splitlines() for n in (self.parents[link], link, champion))
        if any(a != b != c for a, b, c in zip(old, new, now, strict=True)):
            return None
        text = "".join(f"{c if a == b else a}\n" for a, b, c in zip(old, new, now, strict=True))
        return None if text in self.sources.values() else self._add(text, champion, link)

    def run(self, run: Run, at: float, bounds: Bounds | None) -> Answered:
        text = self.sources[run.experiment]
        curve = curve_of(self.bench, text, run) if self.with_curves else Curve(())
        given_up = bounds.given_up(curve) if bounds is not None else None
        outcome = given_up or self.bench.says(text, run)
        assert outcome is not None
        return Answered(outcome, 1.0, curve=curve if curve.points else None)

    def _add(self, text: str, base: ExperimentId, link: ExperimentId | None) -> Experiment:
        changes = changes_between({"train.py": self.sources[base]}, {"train.py": text})
        made = experiment(f"s{len(self.sources)}", base, "listed", changes=changes, without=link)
        self.sources[made.id], self.parents[made.id] = text, base
        return made


@dataclass(frozen=True)
class Told:
    """A night in words that depend on neither side's names."""

    verdicts: list[tuple[str, str, str, str, str | None, int]]
    runs: list[tuple[str, int, str, str]]


def tell(history: History, source_of: Callable[[ExperimentId], str]) -> Told:
    verdicts = [
        (
            source_of(v.experiment),
            source_of(v.champion),
            v.decision.value,
            v.because.replace(str(v.experiment), "it"),
            source_of(v.replicate) if v.replicate else None,
            v.runs_used,
        )
        for state in history.experiments.values()
        for v in state.verdicts
    ]
    runs = [
        (source_of(r.run.experiment), r.run.seed, r.run.purpose.value, type(r.outcome).__name__)
        for r in history.runs.values()
    ]
    return Told(verdicts, runs)


def bench_at(root: Path, noise: float, direction: Direction) -> Bench:
    Repo.make(root, {"train.py": source()})
    told = table()
    bench = Bench(root, told, noise=noise, direction=direction, seconds=SECONDS, clock=Ticking())
    bench.settings = replace(bench.settings, early=EarlySettings(audit=0.0))  # by lot over names, which differ
    bench.proposer = Telling([text for text in told if text != source() and text not in REMOVALS])
    return bench


def lab_night(root: Path, noise: float, direction: Direction, slots: float | None, curves: bool) -> History:
    bench = bench_at(root, noise, direction)
    final = 2 * bench.settings.judge.final_runs

    def text(commit: str) -> str:
        return bench.git.read(commit, "train.py").decode()

    def respond(run: Run, commit: str) -> Outcome | None:
        """At the first look, which is a slot after the start."""
        return bench.says(text(commit), run)

    def trace(run: Run, commit: str) -> Curve:
        """The whole curve, which is written down as its supervisor would have it."""
        curve = curve_of(bench, text(commit), run) if curves else Curve(())
        lines = "".join(f'{{"fraction": {share}, "loss": {loss}}}\n' for share, loss in curve.points)
        if lines:
            (bench.settings.runs / run.id / "progress.jsonl").write_text(lines)
        return curve

    with Ledger.open(bench.settings.database, clock=bench.clock) as ledger:
        usage = Usage(wall_s=SECONDS, cpu_s=SECONDS)
        backend = FakeBackend(respond, ledger.append, trace=trace, usage=usage)
        with bench.lab(backend=backend) as lab:
            hours = None if slots is None else (slots + final) * SECONDS / 3600
            lab.begin(ideas=99 if slots is None else None, hours=hours, seed=1)
            lab.run_night()
            return lab.history


def sim_night(
    root: Path, noise: float, direction: Direction, slots: float | None, curves: bool
) -> tuple[History, Tabled]:
    bench = bench_at(root, noise, direction)
    site = Tabled(bench, curves)
    history = Night(site, bench.settings).play(1e4 if slots is None else slots)
    return history, site


def both(tmp_path: Path, noise: float, direction: Direction, slots: float | None, curves: bool) -> tuple[Told, Told]:
    lab = lab_night(tmp_path / "lab", noise, direction, slots, curves)
    bench = Bench(tmp_path / "lab", {})
    sim, site = sim_night(tmp_path / "sim", noise, direction, slots, curves)
    read = {
        name: bench.git.read(state.experiment.commit, "train.py").decode() for name, state in lab.experiments.items()
    }
    return tell(lab, read.__getitem__), tell(sim, site.sources.__getitem__)


CASES = {
    "quiet": (0.0005, Direction.MINIMIZE, None, False),
    "noisy": (0.004, Direction.MINIMIZE, None, False),
    "very noisy": (0.02, Direction.MINIMIZE, None, False),
    "maximised": (0.004, Direction.MAXIMIZE, None, False),
    "by the hours": (0.004, Direction.MINIMIZE, 24.5, False),
    "with curves": (0.001, Direction.MINIMIZE, None, True),
}


@pytest.fixture(scope="module", params=CASES.values(), ids=list(CASES))
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Told, Told]:
    return both(tmp_path_factory.mktemp("both"), *request.param)


def test_the_same_verdicts(pair: tuple[Told, Told]) -> None:
    """Idea, champion, decision, sentence, side to run again and runs, verdict by verdict."""
    lab, sim = pair
    assert sim.verdicts == lab.verdicts


def test_the_same_runs(pair: tuple[Told, Told]) -> None:
    """Source, seed, purpose and ending, run by run."""
    lab, sim = pair
    assert sim.runs == lab.runs


def test_the_cases_meet_what_a_night_can_meet(tmp_path: Path) -> None:
    """Among them are every decision, lost and stopped runs, a removal and a final block: or little were compared."""
    quiet, _ = sim_night(tmp_path / "quiet", *CASES["quiet"])
    curved, _ = sim_night(tmp_path / "curved", *CASES["with curves"])
    verdicts = [v.decision for s in quiet.experiments.values() for v in s.verdicts]
    assert set(verdicts) == set(Decision)
    assert {Purpose.BASELINE, Purpose.IDEA, Purpose.REPLICATE, Purpose.FINAL} == {
        r.run.purpose for r in quiet.runs.values()
    }
    assert any(isinstance(r.outcome, Lost) for r in quiet.runs.values())
    assert any(s.experiment.plan.without is not None for s in quiet.experiments.values())
    assert any(isinstance(r.outcome, StoppedEarly) for r in curved.runs.values())
