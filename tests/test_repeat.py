"""A cited run executed once more, and what is said of its value."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nightlab.errors import BusyError, NightlabError, NotFoundError, UsageError
from nightlab.loop import Lab, lease
from nightlab.repeat import Repeated, repeat
from nightlab.types import (
    NO_SLOT,
    Ended,
    Environment,
    ExperimentId,
    Finished,
    Imported,
    Logged,
    Lost,
    Metrics,
    Outcome,
    Purpose,
    Run,
    RunId,
    Started,
    Usage,
)
from tests.builders import EPOCH, conditions, crashed
from tests.nights import BASELINE, Bench

ANSWER = Callable[[Run], Outcome | float | None]


def bench(tmp_path: Path, again: Outcome | float | None = None, *, noise: float = 0.001) -> Bench:
    """A lab whose runs scatter by `noise` and whose verifying runs answer `again`, or as they did before."""

    def measured(run: Run) -> Outcome | float:
        if run.purpose is Purpose.VERIFY and again is not None:
            return again if not isinstance(again, float) else Finished(metrics=Metrics(primary=again))
        return 1.0

    return Bench(tmp_path / "lab", {BASELINE: measured, "LR = 1\n": 2.0}, noise=noise)


def verified(one: Bench, name: str | None = None) -> Repeated:
    """The first run, or the named one, once more."""
    with one.lab() as lab:
        return repeat(lab, name or next(iter(lab.history.runs)))


def refusal(one: Bench, name: str) -> NightlabError:
    with pytest.raises(NightlabError) as caught:
        verified(one, name)
    assert one.history().running == {}
    return caught.value


def test_the_same_source_and_seed_give_the_same_value(tmp_path: Path) -> None:
    """The run is made again from its own source on its own seed; it decides nothing and is on record as what it is."""
    one = bench(tmp_path)
    before = one.night(ideas=1)
    first = next(iter(before.runs.values()))
    found = verified(one)
    assert (found.holds, found.measured, found.run) == (True, first.value, first.run.id)
    assert "the same to the last digit" in found.because
    after = one.history()
    again = after.runs[RunId(found.again)]
    assert (again.run.purpose, again.run.seed, again.run.experiment) == (
        Purpose.VERIFY, first.run.seed, first.run.experiment
    )  # fmt: skip
    assert (after.champion, after.promotions) == (before.champion, before.promotions)


def test_a_value_within_the_noise_holds(tmp_path: Path) -> None:
    """As far apart as two runs are; the sentence says how far that is."""
    one = bench(tmp_path, again=1.0005)
    one.night(ideas=1)
    found = verified(one)
    assert found.allowed is not None
    assert abs(found.recorded - 1.0005) < found.allowed
    assert (found.holds, "within the noise of two runs" in found.because) == (True, True)


def test_a_value_beyond_the_noise_does_not_hold(tmp_path: Path) -> None:
    one = bench(tmp_path, again=1.5)
    one.night(ideas=1)
    found = verified(one)
    assert (found.holds, found.measured) == (False, 1.5)
    assert "farther apart than the noise of two runs explains" in found.because


def test_a_crash_does_not_hold(tmp_path: Path) -> None:
    one = bench(tmp_path, again=crashed("RuntimeError: boom"))
    one.night(ideas=1)
    found = verified(one)
    assert (found.holds, found.measured) == (False, None)
    assert "did not repeat: crashed on seed 42: RuntimeError: boom" in found.because


def test_a_run_that_was_lost_says_nothing(tmp_path: Path) -> None:
    """A machine that failed is no proof against the record; the answer is not yes either."""
    one = bench(tmp_path, again=Lost(reason="the machine went down"))
    one.night(ideas=1)
    found = verified(one)
    assert not found.holds
    assert "could not be run again, which says nothing of it" in found.because


def test_a_repeat_that_is_not_believed_says_nothing(tmp_path: Path) -> None:
    """Neither the same value nor another one from a contended device is an answer."""
    one = bench(tmp_path)
    first = next(iter(one.night(ideas=1).runs.values()))
    one.conditions = lambda run: conditions("others used the GPU")
    found = verified(one)
    assert (found.holds, found.measured) == (False, first.value)
    assert "which says nothing of it: not to be believed, others used the GPU" in found.because


def test_without_noise_a_difference_cannot_be_weighed(tmp_path: Path) -> None:
    """A lab that has run nothing twice says so; the very same value holds all the same."""
    one = bench(tmp_path, again=1.01)
    with one.lab() as lab:
        baseline = lab.baseline()
        a_run(lab, baseline, 1.0)
        found = repeat(lab, "r1")
    assert (found.holds, found.allowed) == (False, None)
    assert "cannot be weighed" in found.because


def a_run(lab: Lab, experiment: ExperimentId, value: float, *, purpose: Purpose = Purpose.BASELINE, seed: int = 7,
          command: tuple[str, ...] = ("python", "train.py"), sourced: bool | None = None) -> None:  # fmt: skip
    """Record a run r1 that was made elsewhere."""
    run = Run(
        id=RunId("r1"), experiment=experiment, seed=seed, purpose=purpose, slot=NO_SLOT, limit_s=1.0, command=command,
        environment=Environment(device="cpu:0", machine="m", python="3", platform="p"),
    )  # fmt: skip
    outcome = Finished(metrics=Metrics(primary=value))
    lab.ledger.append(Started(run=run), Ended(run=run.id, outcome=outcome, usage=Usage(wall_s=1.0, cpu_s=1.0)))
    if sourced is not None:
        lab.ledger.append(Logged(run=run.id, status="keep", sourced=sourced))
    lab.history = lab.ledger.history()


def test_a_run_logged_by_hand(tmp_path: Path) -> None:
    """Its seed was not told, so it runs on the first; without a source there is nothing to run."""
    one = bench(tmp_path, noise=0.0)
    with one.lab() as lab:
        a_run(lab, lab.baseline(), 1.0, purpose=Purpose.LOG, seed=-1, command=(), sourced=True)
        found = repeat(lab, "r1")
        assert (found.holds, lab.history.runs[RunId(found.again)].run.seed) == (True, 42)
    two = bench(tmp_path / "two")
    with two.lab() as lab:
        a_run(lab, lab.baseline(), 1.0, purpose=Purpose.LOG, seed=-1, command=(), sourced=False)
    assert "without an editable file" in str(refusal(two, "r1"))


def test_exec_runs_are_not_repeated(tmp_path: Path) -> None:
    """They were other commands in other directories; an experiment's other runs are."""
    one = bench(tmp_path)
    with one.lab() as lab:
        baseline = lab.baseline()
        a_run(lab, baseline, 1.0, purpose=Purpose.EXEC, command=("make", "it"))
    error = refusal(one, "r1")
    assert isinstance(error, UsageError)
    assert "another command in its caller's directory" in str(error)
    assert isinstance(refusal(one, baseline), NotFoundError)


def test_another_command_is_not_compared(tmp_path: Path) -> None:
    """Two commands measure two things; the sentence names both."""
    one = bench(tmp_path)
    with one.lab() as lab:
        a_run(lab, lab.baseline(), 1.0, command=("python", "old.py"))
    error = refusal(one, "r1")
    assert "ran `python old.py`, and this lab runs `python train.py` now" in str(error)
    assert "nightlab.toml" in error.hint


def test_imported_runs_cannot_be_repeated(tmp_path: Path) -> None:
    """The lab has their author's word and no source."""
    one = bench(tmp_path)
    with one.lab() as lab:
        lab.ledger.append(
            Imported(
                run=RunId("20260311T043000Z-abc1234"), origin="x", digest="d", status="keep", at=EPOCH,
                commit="abc1234", metrics=Metrics(primary=1.0),
            )
        )  # fmt: skip
    error = refusal(one, "20260311T043000Z-abc1234")
    assert isinstance(error, UsageError)
    assert "was imported" in str(error)
    assert "nightlab try" in error.hint


def test_names_that_mean_nothing_to_compare(tmp_path: Path) -> None:
    """No such run, and a run that gave no value."""
    one = Bench(tmp_path / "lab", {BASELINE: crashed()})
    one.night(ideas=1)
    assert isinstance(refusal(one, "nothing"), NotFoundError)
    crash = next(iter(one.history().runs))
    assert "has no value that could be compared" in str(refusal(one, crash))


def test_an_experiment_stands_for_its_latest_finished_run(tmp_path: Path) -> None:
    one = bench(tmp_path)
    history = one.night(ideas=1)
    found = verified(one, "baseline")
    assert history.night is not None
    runs = history.state(history.night.began.baseline).finished()
    assert found.run == runs[-1].run.id


def test_while_a_night_is_under_way(tmp_path: Path) -> None:
    """Whoever holds the lease decides; a verification waits for its end."""
    one = bench(tmp_path)
    one.night(ideas=1)
    with lease(one.settings):
        error = refusal(one, next(iter(one.history().runs)))
    assert isinstance(error, BusyError)
    assert "nightlab status" in error.hint
