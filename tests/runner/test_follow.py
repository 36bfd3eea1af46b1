"""Following a run: what ends it at once, what does not, and when a look is taken."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path

import pytest

from nightlab.runner.follow import SILENT_S, SLOW, STALL_S, STEADY, Follower
from nightlab.runner.log import LineReader, Printed
from nightlab.runner.progress import ProgressFile
from nightlab.types import Bounds, Crashed, Look, StoppedEarly
from tests.builders import Clock

LOOKS = (Look(fraction=0.4, champion=3.0, margin=0.5),)


class Run:
    """A run whose progress and output are written by the test, on a clock of its own."""

    def __init__(
        self, tmp_path: Path, bounds: Bounds | None = None, *, limit_s: float = 1800.0, crowded: bool = False
    ) -> None:
        self.path, self.clock, self.printed = tmp_path / "progress.jsonl", Clock(), Printed()
        self.reader = LineReader("val_bpb", self.printed)
        self.follower = Follower(
            ProgressFile(self.path), bounds or Bounds(), limit_s, self.printed, self.clock, lambda: crowded
        )

    def tell(self, *points: tuple[float, float], every: float = 1.0) -> str | None:
        """Points one after another, each looked at."""
        reason = None
        for fraction, loss in points:
            self.clock.sleep(every)
            with self.path.open("a") as file:
                file.write(json.dumps({"fraction": fraction, "loss": loss}) + "\n")
            reason = reason or self.follower.look()
        return reason

    def wait(self, seconds: float) -> str | None:
        """Nothing happens, and it is looked at twice a second."""
        reason = None
        for _ in range(round(2 * seconds)):
            self.clock.sleep(0.5)
            reason = reason or self.follower.look()
        return reason

    def say(self, text: str) -> None:
        self.reader.feed(text.encode())

    @property
    def signature(self) -> str:
        assert isinstance(self.follower.outcome, Crashed)
        return self.follower.outcome.signature


def line(*losses: float) -> Iterable[tuple[float, float]]:
    return [(place / 100, loss) for place, loss in enumerate(losses, start=1)]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_no_number_ends_the_run(tmp_path: Path, bad: float) -> None:
    """After a few in a row: a single one may be a slip of the reporting."""
    run = Run(tmp_path)
    assert run.tell(*line(5.0, bad, bad, 4.9)) is None
    reason = run.tell(*line(*[bad] * STEADY))
    assert reason is not None
    assert "no number" in reason
    assert run.signature == "loss is no number"


def test_a_printed_nan_ends_the_run(tmp_path: Path) -> None:
    """Also where nothing but the output tells of the loss; other words that hold `nan` are nothing."""
    run = Run(tmp_path)
    run.say("step 1 loss: nan\nstep 2 loss: 5.5\nval_loss: nan\nval_loss: nan\nval_loss: nan\nfinance loss nanometre\n")
    assert run.follower.look() is None
    run.say("step 3 loss: nan\rstep 4 loss: NaN\rtrain_loss=inf\r")
    assert run.follower.look() is not None


CHAMPIONS = Bounds(ceiling=10.0)


def test_divergence_ends_the_run(tmp_path: Path) -> None:
    """Above the ceiling and above its own beginning, for some points in a row."""
    run = Run(tmp_path, CHAMPIONS)
    assert run.tell(*line(7.0, 11.0, 11.0, 6.0)) is None
    assert run.tell(*line(*[12.0] * STEADY)) is not None
    assert run.signature == "loss diverged"


def test_who_begins_high_and_falls_has_not_diverged(tmp_path: Path) -> None:
    """Another start is no divergence."""
    assert Run(tmp_path, CHAMPIONS).tell(*line(30.0, 25.0, 20.0, 15.0, 12.0, 11.0)) is None


def test_who_hangs_without_memory_is_ended(tmp_path: Path) -> None:
    """It said that memory ran out, and then nothing for long."""
    run = Run(tmp_path)
    run.say("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB\n")
    assert run.wait(SILENT_S - 1) is None
    assert run.wait(2) is not None
    assert run.signature == "out of memory"


def test_who_makes_do_with_less_memory_goes_on(tmp_path: Path) -> None:
    """A command that tries a smaller batch says so, or goes on."""
    run = Run(tmp_path)
    run.say("CUDA out of memory\n")
    assert run.wait(SILENT_S - 1) is None
    run.say("trying again with 4 rows\n")
    assert run.wait(SILENT_S - 1) is None
    assert run.tell(*line(5.0, 4.9, 4.8)) is None


def test_a_standstill_ends_the_run(tmp_path: Path) -> None:
    """For long, and for many times its own longest pause."""
    run = Run(tmp_path)
    run.tell(*line(5.0, 4.9, 4.8))
    assert run.wait(STALL_S - 1) is None
    assert run.wait(2) is not None
    assert run.signature == "no progress"


@pytest.mark.parametrize(
    "told",
    [
        pytest.param([], id="never told of any progress"),
        pytest.param([(0.5, 4.0), (0.99, 3.0)], id="is being evaluated"),
    ],
)
def test_silence_that_may_be_right_is_no_standstill(tmp_path: Path, told: list[tuple[float, float]]) -> None:
    """A slow start, or the evaluation at the end."""
    run = Run(tmp_path)
    run.tell(*told)
    assert run.wait(2 * STALL_S) is None


def test_long_pauses_are_its_own_way(tmp_path: Path) -> None:
    """Who reports once a minute is given twenty of them; who is like the champion's hour, a quarter of it."""
    slow = Run(tmp_path)
    slow.tell(*line(5.0, 4.9), every=60.0)
    assert slow.wait(2 * STALL_S) is None
    hourly = Run(tmp_path, Bounds(usual_s=3600.0))
    hourly.tell(*line(5.0, 4.9))
    assert hourly.wait(2 * STALL_S) is None


def test_hopeless_slowness_ends_the_run(tmp_path: Path) -> None:
    """Once it has had the champion's time, at a pace that would take ten times that."""
    run = Run(tmp_path, Bounds(usual_s=100.0))
    pace = 1.0 / (SLOW * 100.0 * 1.5)
    points = [(second * pace, 5.0) for second in range(1, 202)]
    assert run.tell(*points[:99]) is None
    assert run.tell(*points[99:]) is not None
    assert run.signature == "too slow"


def test_who_cannot_meet_the_limit_is_ended(tmp_path: Path) -> None:
    """Its limit would end it anyway."""
    points = [(second / 2000, 5.0) for second in range(1, 100)]
    assert Run(tmp_path, limit_s=1800.0).tell(*points) is not None


def test_on_a_crowded_machine_nobody_is_slow(tmp_path: Path) -> None:
    """The pace is the machine's then."""
    points = [(second / 2000, 5.0) for second in range(1, 100)]
    assert Run(tmp_path, limit_s=1800.0, crowded=True).tell(*points) is None


def test_a_slow_start_is_no_slowness(tmp_path: Path) -> None:
    """The pace is that of its points: minutes of compiling before them are no part of it."""
    run = Run(tmp_path, Bounds(usual_s=100.0))
    run.wait(300)
    assert run.tell(*[(second / 100, 5.0) for second in range(1, 101)]) is None


def test_a_look_ends_a_run_that_is_too_far_behind(tmp_path: Path) -> None:
    """At its moment, as stopped early; what was asked for once is not asked for again."""
    run = Run(tmp_path, Bounds(looks=LOOKS))
    assert run.tell(*line(*[3.6] * 39)) is None
    assert run.tell((0.4, 3.6)) is not None
    assert isinstance(run.follower.outcome, StoppedEarly)
    assert run.follower.outcome.fraction == 0.4
    assert run.follower.look() is None


def test_an_audited_run_goes_on(tmp_path: Path) -> None:
    """What the look would have said is kept for its ending."""
    run = Run(tmp_path, Bounds(looks=LOOKS, spared=True))
    assert run.tell(*line(*[3.6] * 100)) is None
    assert run.follower.outcome is None
    assert run.follower.spared is not None
    assert run.follower.spared.fraction == 0.4


def test_a_run_that_is_near_goes_on(tmp_path: Path) -> None:
    """Within its margin nothing happens."""
    run = Run(tmp_path, Bounds(looks=LOOKS))
    assert run.tell(*line(*[3.4] * 100)) is None
    assert run.follower.outcome is None
