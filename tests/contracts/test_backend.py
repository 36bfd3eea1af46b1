"""What every backend promises, over every backend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

from nightlab.config import BudgetSettings, Settings
from nightlab.errors import BackendError
from nightlab.git import Git
from nightlab.ledger import Ledger
from nightlab.runner.fake import FakeBackend
from nightlab.runner.local import LocalBackend
from nightlab.types import (
    Backend,
    Bounds,
    Crashed,
    Curve,
    Ended,
    Finished,
    Look,
    Metrics,
    Outcome,
    Proposed,
    Run,
    RunId,
    Started,
    StoppedEarly,
)
from tests.builders import Repo, conditions, experiment
from tests.runner.orders import make_run, wait_until

# What a commit's train.py does; the fake answers by the same names.
DEEDS = {
    "finish": "import time\ntime.sleep(0.5)\nprint('val_bpb: 0.75')\n",
    "crash": "raise RuntimeError('boom')\n",
    "hang": "import time\ntime.sleep(60)\n",
    "lag": (
        "import json, os, time\n"
        "with open(os.environ['AUTORESEARCH_PROGRESS_PATH'], 'a') as file:\n"
        "    for step in range(1, 51):\n"
        "        file.write(json.dumps({'fraction': step / 100, 'loss': 3.6}) + '\\n')\n"
        "time.sleep(3)\nprint('val_bpb: 0.75')\n"
    ),
}


class Bench(Protocol):
    """A backend with a way to see what it has recorded."""

    backend: Backend

    def commit(self, deed: str) -> str: ...
    def begin(self, run: Run) -> None: ...
    def endings(self) -> list[Ended]: ...


class FakeBench:
    def __init__(self) -> None:
        self._endings: list[Ended] = []
        self.backend: Backend = FakeBackend(self._respond, self._endings.append, trace=self._trace)

    def commit(self, deed: str) -> str:
        return deed

    def begin(self, run: Run) -> None:
        pass

    def endings(self) -> list[Ended]:
        return self._endings

    def _trace(self, run: Run, commit: str) -> Curve:
        return Curve.of((step / 100, 3.6) for step in range(1, 51)) if commit == "lag" else Curve(())

    def _respond(self, run: Run, commit: str) -> Outcome | None:
        answers: dict[str, Outcome] = {
            "finish": Finished(metrics=Metrics(primary=0.75)),
            "lag": Finished(metrics=Metrics(primary=0.75)),
            "crash": Crashed(summary="RuntimeError: boom", exit_code=1),
        }
        return answers.get(commit)


class LocalBench:
    def __init__(self, root: Path) -> None:
        self._repo = Repo.make(root, {"train.py": "", "prepare.py": ""})
        self._settings = Settings(root=root, command="python train.py", budget=BudgetSettings(grace_seconds=0.3))
        self.backend: Backend = LocalBackend(self._settings, Git(root))
        with Ledger.open(self._settings.database) as ledger:
            ledger.append(Proposed(experiment=experiment("a")))

    def commit(self, deed: str) -> str:
        return self._repo.commit({"train.py": DEEDS[deed]})

    def begin(self, run: Run) -> None:
        with Ledger.open(self._settings.database) as ledger:
            ledger.append(Started(run=run))

    def endings(self) -> list[Ended]:
        with Ledger.open(self._settings.database) as ledger:
            return [recorded.event for recorded in ledger.since() if isinstance(recorded.event, Ended)]


@pytest.fixture(params=["fake", "local"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    before = os.environ.get("XDG_CACHE_HOME")
    os.environ["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    yield FakeBench() if request.param == "fake" else LocalBench(tmp_path / "lab")
    os.environ.pop("XDG_CACHE_HOME")
    if before is not None:
        os.environ["XDG_CACHE_HOME"] = before
    left = list((tmp_path / "cache").rglob("train.py"))
    assert left == [], "a workspace was left behind"


def order(name: str = "r1") -> Run:
    return make_run(name, ("python", "train.py"))


def test_a_fake_run_meets_the_conditions_that_are_asked_for() -> None:
    """By a function of the run; without one nobody has looked at the device."""
    endings: list[Ended] = []
    met = conditions("others used the GPU")
    fake = FakeBackend(
        lambda run, commit: Crashed(summary="x"), endings.append, conditions=lambda run: met if run.id == "r1" else None
    )
    for name in ("r1", "r2"):
        fake.start(order(name), "").poll()
    FakeBackend(lambda run, commit: None, endings.append).start(order("r3"), "").cancel("enough")
    assert [ended.conditions for ended in endings] == [met, None, None]


class TestBackend:
    """The contract."""

    @pytest.mark.parametrize(
        ("deed", "kind"), [pytest.param("finish", Finished, id="finish"), pytest.param("crash", Crashed, id="crash")]
    )
    def test_the_ending_is_recorded_once(self, bench: Bench, deed: str, kind: type[Outcome]) -> None:
        """When a job is over its ending is in the records, and asking again records nothing more."""
        run = order()
        bench.begin(run)
        job = bench.backend.start(run, bench.commit(deed))
        wait_until(job.poll)
        assert job.poll()
        job.cancel("enough")
        (ended,) = bench.endings()
        assert ended.run == job.run == run.id
        assert isinstance(ended.outcome, kind)
        assert not bench.backend.is_alive(run.id)

    def test_a_finished_run_has_its_metric(self, bench: Bench) -> None:
        """The number that the command printed."""
        run = order()
        bench.begin(run)
        wait_until(bench.backend.start(run, bench.commit("finish")).poll)
        assert [ended.outcome for ended in bench.endings()] == [Finished(metrics=Metrics(primary=0.75))]

    def test_a_crash_has_a_summary(self, bench: Bench) -> None:
        """One line, and the exit code."""
        run = order()
        bench.begin(run)
        wait_until(bench.backend.start(run, bench.commit("crash")).poll)
        (ended,) = bench.endings()
        assert isinstance(ended.outcome, Crashed)
        assert (ended.outcome.summary, ended.outcome.exit_code) == ("RuntimeError: boom", 1)

    def test_a_running_job_is_alive_until_it_is_cancelled(self, bench: Bench) -> None:
        """A cancelled run was stopped early: no crash, no measurement."""
        run = order()
        bench.begin(run)
        job = bench.backend.start(run, bench.commit("hang"))
        assert not job.poll()
        assert bench.backend.is_alive(run.id)
        assert bench.endings() == []
        job.cancel("enough")
        wait_until(job.poll)
        (ended,) = bench.endings()
        assert isinstance(ended.outcome, StoppedEarly)

    @pytest.mark.parametrize("champion", [pytest.param(3.0, id="far behind"), pytest.param(3.5, id="near")])
    def test_a_run_is_held_against_its_bounds(self, bench: Bench, champion: float) -> None:
        """A look that it fails ends it, with the look's share of the budget; one that it passes changes nothing."""
        run = order()
        bench.begin(run)
        bounds = Bounds(looks=(Look(fraction=0.4, champion=champion, margin=0.5),))
        wait_until(bench.backend.start(run, bench.commit("lag"), bounds).poll)
        (ended,) = bench.endings()
        if champion == 3.0:
            assert isinstance(ended.outcome, StoppedEarly)
            assert ended.outcome.fraction == 0.4
        else:
            assert ended.outcome == Finished(metrics=Metrics(primary=0.75))

    def test_a_spared_run_tells_what_it_was_spared(self, bench: Bench) -> None:
        """It finishes, and its ending says what the look would have said."""
        run = order()
        bench.begin(run)
        bounds = Bounds(looks=(Look(fraction=0.4, champion=3.0, margin=0.5),), spared=True)
        wait_until(bench.backend.start(run, bench.commit("lag"), bounds).poll)
        (ended,) = bench.endings()
        assert isinstance(ended.outcome, Finished)
        assert ended.outcome.spared is not None
        assert ended.outcome.spared.behind == pytest.approx(0.6)

    def test_a_run_is_started_once(self, bench: Bench) -> None:
        """A second start under the same identity is refused, and does the first one no harm."""
        run = order()
        bench.begin(run)
        commit = bench.commit("finish")
        job = bench.backend.start(run, commit)
        with pytest.raises(BackendError):
            bench.backend.start(run, commit)
        wait_until(job.poll)
        with pytest.raises(BackendError):
            bench.backend.start(run, commit)
        assert [type(ended.outcome) for ended in bench.endings()] == [Finished]

    def test_a_run_that_nobody_knows_is_not_alive(self, bench: Bench) -> None:
        """And clearing what is not there does nothing."""
        assert not bench.backend.is_alive(RunId("r9"))
        bench.backend.clear(RunId("r9"))

    def test_each_place_says_what_it_is(self, bench: Bench) -> None:
        """Runs record the device of their place."""
        for slot, device in enumerate(bench.backend.places):
            assert bench.backend.environment(slot).device == device
