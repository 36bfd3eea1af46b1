"""Known experiments on further seeds: which seeds, what is judged, what becomes champion, what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nightlab.errors import NightlabError, NotFoundError, UsageError
from nightlab.loop import Lab, lease
from nightlab.replicate import Replicated, replicate
from nightlab.types import (
    NO_SLOT,
    Decision,
    Ended,
    Environment,
    ExperimentId,
    Finished,
    Idea,
    Imported,
    Logged,
    Lost,
    Metrics,
    Plan,
    Proposed,
    Purpose,
    Run,
    RunId,
    Started,
    Usage,
)
from tests.builders import EPOCH, crashed
from tests.nights import BASELINE, Bench

GOOD, SAME, BAD = "LR = 1\n", "LR = 2\n", "LR = 3\n"
TABLE = {BASELINE: 1.0, GOOD: 0.95, SAME: 1.0, BAD: 1.2}


def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "lab", TABLE)


def by_hand(one: Bench, source: str, value: float, *, stay: bool = False, sourced: bool = True) -> ExperimentId:
    """Log a kept run of a source as `log` does; HEAD moves to it if it is to `stay`."""
    before = one.git.head()
    commit = one.repo.commit({"train.py": source}, message="by hand")
    if not stay:
        one.repo.git("reset", "--quiet", "--hard", before)
    with one.lab() as lab:
        idea = Idea(description="by hand", files={"train.py": source}, plan=Plan(emitter="log"))
        experiment = lab.sources.experiment(idea, commit=commit)
        known = experiment.id in lab.history.experiments
        run = Run(
            id=RunId(f"20260311T043000Z-{commit[:7]}"), experiment=experiment.id, seed=-1, purpose=Purpose.LOG,
            slot=NO_SLOT, limit_s=0.0, command=(),
            environment=Environment(device="cpu:0", machine="m", python="3", platform="p"),
        )  # fmt: skip
        outcome = Finished(metrics=Metrics(primary=value))
        lab.ledger.append(
            *([] if known else [Proposed(experiment=experiment)]),
            Started(run=run),
            Ended(run=run.id, outcome=outcome, usage=Usage(wall_s=1.0, cpu_s=1.0)),
            Logged(run=run.id, status="keep", commit=commit, sourced=sourced),
        )
        return experiment.id


def again(one: Bench, name: str, count: int = 2) -> Replicated:
    with lease(one.settings), one.lab() as lab:
        return replicate(lab, name, count)


def refusal(one: Bench, name: str) -> NightlabError:
    runs = len(one.history().runs)
    with pytest.raises(NightlabError) as caught:
        again(one, name)
    assert len(one.history().runs) == runs
    return caught.value


def seeds(done: Replicated) -> list[int]:
    return [run.run.seed for run in done.runs]


# --- what was logged by hand ------------------------------------------------------------------------------------


def test_a_hand_logged_keep_is_proven_in_a_fresh_lab(tmp_path: Path) -> None:
    """The committed source runs first, for without it there is nothing to beat; then the keep, on the same seeds."""
    one = bench(tmp_path)
    name = by_hand(one, GOOD, 0.951)
    done = again(one, "provisional")
    assert done.verdict is not None
    assert (done.verdict.decision, done.failed, done.unjudged) == (Decision.KEEP, "", "")
    assert seeds(done) == [42, 43]
    history = one.history()
    assert (history.champion, one.source(history.champion)) == (name, GOOD)
    purposes = [r.run.purpose for r in history.runs.values()]
    assert purposes == [Purpose.LOG, *[Purpose.BASELINE] * 2, *[Purpose.REPLICATE] * 2]
    assert history.night is not None
    assert history.night.ended is not None
    branch = one.git.resolve(f"refs/heads/{one.settings.branch}")
    assert branch is not None
    assert one.git.read(branch, "train.py").decode() == GOOD


def test_it_joins_the_line_of_the_night_whatever_is_committed(tmp_path: Path) -> None:
    """HEAD has moved on to the keep itself, as agents work; it races the proven champion all the same."""
    one = bench(tmp_path)
    before = one.night(ideas=0)
    name = by_hand(one, GOOD, 0.951, stay=True)
    done = again(one, name)
    assert done.verdict is not None
    assert (done.verdict.decision, done.verdict.champion) == (Decision.KEEP, before.champion)
    after = one.history()
    assert after.chain == [before.champion, name]
    assert seeds(done) == [42, 43]
    assert sum(r.run.purpose is Purpose.BASELINE for r in after.runs.values()) == 2
    with one.lab() as lab:  # and the next night goes on from there
        lab.begin(ideas=1, hours=None, seed=0)
        assert lab.history.champion == name


def test_a_keep_that_was_luck_is_refused(tmp_path: Path) -> None:
    """The author's number is no evidence: the lab's own runs decide, and then it is offered no more."""
    one = bench(tmp_path)
    one.night(ideas=0)
    by_hand(one, BAD, 0.9)
    done = again(one, "provisional")
    assert done.verdict is not None
    assert done.verdict.decision is Decision.DISCARD
    assert one.history().promotions == []
    assert isinstance(refusal(one, "provisional"), NotFoundError)


def test_its_run_names_it(tmp_path: Path) -> None:
    """By the run's name, and as `champion` where no night has run."""
    one = bench(tmp_path)
    name = by_hand(one, GOOD, 0.951)
    run = next(iter(one.history().runs))
    assert again(one, run).experiment == name
    two = bench(tmp_path / "two")
    name = by_hand(two, GOOD, 0.951)
    assert again(two, "champion").experiment == name


def test_the_committed_source_itself(tmp_path: Path) -> None:
    """Logged, committed, no night yet: it is what a night begins with. It runs on two seeds, and beats nobody."""
    one = bench(tmp_path)
    name = by_hand(one, GOOD, 0.951, stay=True)
    done = again(one, "provisional")
    assert (done.verdict, len(done.runs)) == (None, 2)
    assert "what the night is measured against" in done.unjudged
    assert one.history().champion == name
    assert [r.run.purpose for r in done.runs] == [Purpose.REPLICATE] * 2


def test_without_a_source_there_is_nothing_to_run(tmp_path: Path) -> None:
    one = bench(tmp_path)
    by_hand(one, GOOD, 0.951, sourced=False)
    assert "without an editable file" in str(refusal(one, "provisional"))


def test_what_another_ledger_told(tmp_path: Path) -> None:
    """The lab has no source of it; the best keep may well be one of those."""
    one = bench(tmp_path)
    with one.lab() as lab:
        lab.ledger.append(
            Imported(
                run=RunId("20260311T043000Z-abc1234"), origin="x", digest="d", status="keep", at=EPOCH,
                commit="abc1234", metrics=Metrics(primary=0.5),
            )
        )  # fmt: skip
    for name in ("20260311T043000Z-abc1234", "provisional", "champion"):
        error = refusal(one, name)
        assert "was imported" in str(error)
        assert "nightlab try" in error.hint


# --- the lab's own ----------------------------------------------------------------------------------------------


def test_a_discarded_idea_is_judged_anew(tmp_path: Path) -> None:
    """More seeds than its race had; the verdict counts all of its runs, and a keep counts as any."""
    one = bench(tmp_path)
    one.proposer.sources = [BAD]
    one.night(ideas=1)
    state = next(s for s in one.history().experiments.values() if s.experiment.parent is not None)
    before = len(state.verdicts)
    done = again(one, str(state.number), 3)
    assert done.verdict is not None
    assert (done.verdict.decision, done.verdict.runs_used) == (Decision.DISCARD, len(state.finished()) + 3)
    assert len(one.history().state(state.experiment.id).verdicts) == before + 1
    assert len(set(seeds(done))) == 3


def test_champion_and_baseline_have_nobody_to_beat(tmp_path: Path) -> None:
    """Their runs are made and count; no verdict is made up."""
    one = bench(tmp_path)
    one.proposer.sources = [GOOD]
    before = one.night(ideas=1)
    verdicts = len(before.promotions)
    champion = again(one, "champion", 1)
    assert (champion.verdict, champion.unjudged) == (None, "it is the champion itself")
    baseline = again(one, "baseline", 1)
    assert baseline.verdict is None
    assert "measured against" in baseline.unjudged
    after = one.history()
    assert (after.champion, len(after.promotions)) == (before.champion, verdicts)
    own = after.state(ExperimentId(champion.experiment)).finished(Purpose.REPLICATE)
    assert champion.runs[0].run.id in [r.run.id for r in own]


def test_a_crash_is_a_verdict(tmp_path: Path) -> None:
    """One crash says it; the other seeds are not spent on it."""
    one = Bench(tmp_path / "lab", {**TABLE, GOOD: crashed("RuntimeError: boom")})
    one.night(ideas=0)
    by_hand(one, GOOD, 0.951)
    done = again(one, "provisional", 5)
    assert done.verdict is not None
    assert (done.verdict.decision, len(done.runs)) == (Decision.CRASH, 1)
    assert "boom" in done.verdict.because


def test_runs_that_are_lost_end_it(tmp_path: Path) -> None:
    """After three in a row the machine needs a look; that is said, and nothing is concluded of the idea."""
    one = Bench(tmp_path / "lab", {**TABLE, GOOD: Lost(reason="gone")})
    one.night(ideas=0)
    by_hand(one, GOOD, 0.951)
    done = again(one, "provisional", 5)
    assert len(done.runs) == 3
    assert "lost again and again" in done.failed


def test_a_broken_baseline_is_said(tmp_path: Path) -> None:
    """Where the champion gives no value nothing can be judged, and the keep is not run for nothing."""
    one = Bench(tmp_path / "lab", {**TABLE, BASELINE: crashed("no data")})
    by_hand(one, GOOD, 0.951)
    done = again(one, "provisional")
    assert (done.runs, done.verdict) == ((), None)
    assert "the baseline crashed" in done.failed


def test_another_yardstick(tmp_path: Path) -> None:
    """Under another command the same source is another experiment, and its runs would say nothing of the old one."""
    one = bench(tmp_path)
    by_hand(one, GOOD, 0.951)
    one.settings = replace(one.settings, command="python train.py --longer")
    error = refusal(one, "provisional")
    assert isinstance(error, UsageError)
    assert "made under other conditions" in str(error)
    assert "nightlab try" in error.hint


def test_another_line_of_parents(tmp_path: Path) -> None:
    """What an earlier night was measured against never enters the line of the present one."""
    one = bench(tmp_path)
    one.night(ideas=0)
    one.repo.commit({"train.py": SAME})
    one.night(ideas=0)
    error = refusal(one, "1")
    assert isinstance(error, UsageError)
    assert "another line of parents" in str(error)


def test_names_that_mean_nothing(tmp_path: Path) -> None:
    one = bench(tmp_path)
    one.night(ideas=0)
    assert isinstance(refusal(one, "nothing"), NotFoundError)
    error = refusal(one, "provisional")
    assert "no keep stands on its author's word only" in str(error)
    assert "nightlab status" in error.hint


def test_one_that_was_stopped_goes_on_with_the_next_night(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C after its first run: it is an open idea, and `nightlab wait` or the next night sees it to its verdict."""
    one = bench(tmp_path)
    one.night(ideas=0)
    name = by_hand(one, GOOD, 0.951)
    real = Lab._execute
    begun: list[object] = []

    def once(self: Lab, step: object, slot: int) -> RunId:
        if begun:
            raise KeyboardInterrupt
        begun.append(step)
        return real(self, step, slot)  # type: ignore[arg-type]

    with monkeypatch.context() as patched:
        patched.setattr(Lab, "_execute", once)
        with pytest.raises(KeyboardInterrupt):
            again(one, "provisional")
    assert one.history().state(name).is_open
    with one.lab() as lab:
        lab.begin(ideas=0, hours=None, seed=0)
        lab.settle()
        assert lab.history.champion == name
