"""A settled idea may be run again, because what was tried since speaks for it; its verdict stays the judge's."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from nightlab import decide
from nightlab.config import JudgeSettings, Settings
from nightlab.history import History
from nightlab.search.evidence import reopened
from nightlab.search.propose import AGAIN_SHARE, MOST_RUNS, _Search
from nightlab.sim.night import Answer, Night, experiment
from nightlab.types import (
    Again,
    Bounds,
    Decision,
    Exhausted,
    Experiment,
    ExperimentId,
    Files,
    Finished,
    Idea,
    Judged,
    Metrics,
    Plan,
    Purpose,
    Run,
    Verdict,
)
from tests.nights import BASELINE, Bench, Listed
from tests.search.histories import Story, knob
from tests.search.labs import SMALL, a_proposer
from tests.search.labs import Night as Lab

SETTINGS = Settings(root=Path("/lab"))
NEIGHBOURS = (("0.0125", 0.6), ("0.016", 0.7), ("0.025", 0.9), ("0.03", 0.9), ("0.0335", 0.9))


def neighbours(decision: Decision = Decision.DISCARD) -> tuple[Lab, ExperimentId]:
    """A rate that was unlucky once amid rates that all did well, where runs of one source differ by more than that."""
    lab = Lab({"t.py": "LR = 0.01\nDECAY = 0.1\nprint(LR, DECAY)\n"})
    for seed, loss in enumerate((1.006, 0.994, 1.005, 0.995)):
        lab.run(lab.champion, loss, seed=50 + seed, purpose=Purpose.REPLICATE)
    unlucky = lab.tried("LR", "0.01", "0.02", 0.1, gain=-0.001, plan=Plan(emitter="local_tuner"))
    for new, probability in NEIGHBOURS:
        lab.tried("LR", "0.01", new, probability, gain=0.01, decision=decision, plan=Plan(emitter="local_tuner"))
    return lab, unlucky


def answers(lab: Lab, count: int = 60, without: tuple[str, ...] = ("numeric",)) -> list[Again]:
    asked = [lab.ask(a_proposer(without), seed) for seed in range(count)]
    return [answer for answer in asked if isinstance(answer, Again)]


def candidates(lab: Lab) -> list[ExperimentId]:
    """What may be run again, whether it looks worth it or not."""
    proposer = a_proposer()
    lab.ask(proposer)  # which looks at the files
    return _Search(proposer, lab.history, lab.champion, Random(0), ())._settled()


def test_a_settled_idea_is_asked_for_again_where_its_neighbours_speak_for_it() -> None:
    """Under some seeds, with the reason, though it lost; never without stacking, never what is open or failed."""
    lab, unlucky = neighbours(Decision.RETEST)
    broken = lab.tried("LR", "0.01", "0.0215", 0.0, decision=Decision.CRASH)
    lab.run(broken, 0.99, seed=43)  # a value beside the failure makes it no measurement
    again = answers(lab, 200)
    assert {answer.experiment for answer in again} == {unlucky}
    assert all("likely better" in answer.because for answer in again)
    assert not answers(lab, without=("numeric", "stacking"))


def test_what_lies_among_losers_is_left_alone() -> None:
    """Where all of a neighbourhood lost, none of it is run again."""
    lab = Lab(SMALL)
    for new in ("0.02", "0.0125", "0.016", "0.025", "0.03"):
        lab.tried("LR", "0.01", new, 0.05, gain=-0.01, plan=Plan(emitter="local_tuner"))
    assert not answers(lab, 40)


def reopen(lab: Lab, name: ExperimentId) -> None:
    lab.judge(name, 0.6, gain=0.001, decision=Decision.RETEST)
    lab.judge(name, 0.6, gain=0.001)


def test_never_beyond_the_share_of_the_ideas() -> None:
    """Once a quarter as many were opened again as there were ideas, no more are asked for."""
    lab, unlucky = neighbours()
    while reopened(lab.history.line) < AGAIN_SHARE * (1 + len(NEIGHBOURS)):
        assert answers(lab)
        reopen(lab, unlucky)
    assert not answers(lab)


def test_never_beyond_eight_runs() -> None:
    """An idea that has run so often is no candidate any more, however well its neighbours do; the others are."""
    lab, unlucky = neighbours()
    for seed in range(MOST_RUNS - 2):
        lab.run(unlucky, 1.0, seed=100 + seed)
    assert unlucky in candidates(lab)
    lab.run(unlucky, 1.0, seed=200)
    assert len(lab.history.state(unlucky).runs) == MOST_RUNS
    assert len(candidates(lab)) == len(NEIGHBOURS)
    assert unlucky not in candidates(lab)


def test_what_was_not_dropped_for_its_numbers_is_no_candidate() -> None:
    """Given up because its runs were lost, whatever it measured before: another request would end there again."""
    lab, unlucky = neighbours()
    assert unlucky in candidates(lab)
    lost = Verdict(experiment=unlucky, champion=lab.champion, decision=Decision.DISCARD, because="its runs were lost")
    lab.put(Judged(verdict=lost))
    assert unlucky not in candidates(lab)


def test_reopened_counts_what_was_settled_before() -> None:
    """A final verdict followed by RETEST is one; a race that goes on from RETEST to RETEST is none."""
    story = Story().idea("x", knob("LR", "1", "2"), decision=Decision.RETEST)
    story.judge("x", Decision.RETEST, probability=0.6, gain=0.0)
    story.judge("x", Decision.DISCARD, probability=0.4, gain=0.0)
    assert reopened(story.told().line) == 0
    story.judge("x", Decision.RETEST, probability=0.6, gain=0.0).judge("x", Decision.DISCARD, probability=0.4, gain=0.0)
    assert reopened(story.told().line) == 1


@dataclass
class Site:
    """Two ideas of given losses, then again and again the settled one, then nothing."""

    losses: dict[str, float]
    noise: float
    again: int
    night: Night | None = None
    asked: list[Again] = field(default_factory=list)
    device: str = "cpu:0"

    def propose(self, base: ExperimentId) -> Experiment | Again | Exhausted:
        assert self.night is not None
        history = self.night.history
        for name in self.losses:
            if name not in history.experiments:
                return experiment(name, base)
        settled = [n for n in self.losses if not history.state(ExperimentId(n)).is_open and n != history.champion]
        if len(self.asked) < self.again and settled:
            self.asked.append(Again(experiment=ExperimentId(settled[0]), because="its neighbours speak for it"))
            return self.asked[-1]
        return Exhausted(reason="no more")

    def without(self, link: ExperimentId, champion: ExperimentId) -> Experiment | None:
        return None

    def run(self, run: Run, at: float, bounds: Bounds | None) -> Answer:
        loss = self.losses.get(run.experiment, 1.0) + Random(f"{run.experiment}:{run.seed}").gauss(0.0, self.noise)
        return Answer(Finished(metrics=Metrics(primary=loss)), 1.0)


def played(losses: dict[str, float], again: int, settings: Settings = SETTINGS) -> tuple[Site, History]:
    site = Site(losses, 0.001, again)
    site.night = Night(site, settings)
    return site, site.night.play(40)


def test_a_night_runs_it_again_and_judges_it() -> None:
    """In the simulator: a RETEST against the champion that names a side, a run of that side, a final verdict."""
    site, history = played({"worse": 1.01, "other": 1.02}, 2)
    state = history.state(ExperimentId("worse"))
    decisions = [verdict.decision for verdict in state.verdicts]
    assert len(site.asked) == 2
    assert reopened(history.line) == 2
    assert decisions.count(Decision.RETEST) >= 2
    assert decisions[-1] is Decision.DISCARD
    for verdict in state.verdicts:
        if verdict.because.startswith("its neighbours speak for it: "):
            assert verdict.decision is Decision.RETEST
            assert verdict.replicate in (state.experiment.id, verdict.champion)
            assert verdict.probability is not None
    _, plain = played({"worse": 1.01, "other": 1.02}, 0)
    assert len(history.runs) >= len(plain.runs) + 2


def test_each_request_draws_with_another_generator() -> None:
    """The count that seeds the loop's generator goes up with ideas and with what was opened again."""
    _, before = played({"worse": 1.01, "other": 1.02}, 0)
    _, after = played({"worse": 1.01, "other": 1.02}, 2)
    assert decide.asked(before) == 2
    assert decide.asked(after) == 4


@pytest.mark.parametrize("loss", [0.9, 0.9985, 1.0, 1.1])
def test_a_request_never_keeps_and_never_drops(loss: float) -> None:
    """Whatever the numbers say at that moment, the verdict that the search asks for is RETEST and names a side.

    Even where a bar that was lowered since would keep the idea: what was asked for is a run, and the run decides.
    """
    strict = Settings(root=Path("/lab"), judge=JudgeSettings(promote=0.9999999, max_steps=2))
    _, history = played({"idea": loss}, 0, strict)
    name = ExperimentId("idea")
    if history.champion == name:
        pytest.skip("so good that even the strict bar kept it")
    verdict = decide.retest(history, SETTINGS, name, "why")
    assert verdict.decision is Decision.RETEST
    assert verdict.replicate in (name, history.champion)
    assert verdict.because.startswith("why: ")


@dataclass
class Insisting(Listed):
    """Proposes its list, then a settled experiment once."""

    again: int = 1
    reopened: list[ExperimentId] = field(default_factory=list)

    def propose(self, history: History, base: ExperimentId, files: Files, rng: Random) -> Idea | Exhausted:
        answer = super().propose(history, base, files, rng)
        settled = [s.experiment.id for s in history.experiments.values() if s.experiment.parent and not s.is_open]
        if isinstance(answer, Exhausted) and len(self.reopened) < self.again and settled:
            self.reopened.append(settled[0])
            return Again(experiment=settled[0], because="its neighbours speak for it")  # type: ignore[return-value]
        return answer


def test_the_loop_runs_it_again_and_judges_it(tmp_path: Path) -> None:
    """With processes and git: the same RETEST, one more run at least, and a final verdict before the night ends."""
    bench = Bench(tmp_path / "lab", {BASELINE: 1.0, "LR = 1\n": 1.02, "LR = 2\n": 1.03})
    proposer = Insisting(["LR = 1\n", "LR = 2\n"])
    bench.proposer = proposer
    history = bench.night(ideas=5)
    (name,) = proposer.reopened
    state = history.state(name)
    assert reopened(history.line) == 1
    asked = next(place for place, v in enumerate(state.verdicts) if v.because.startswith("its neighbours"))
    assert state.verdicts[asked].decision is Decision.RETEST
    assert state.verdicts[-1].decision is Decision.DISCARD
    assert len(state.verdicts) > asked + 1
    assert not state.is_open
    assert history.champion != name
