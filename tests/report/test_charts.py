"""The progress chart: what it shows, and that it can always be drawn."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightlab.config import MetricSettings, Settings
from nightlab.report.canvas import save
from nightlab.report.charts import progress_chart
from nightlab.report.progress import progress
from nightlab.types import Crashed, Direction, Finished, Metrics, Purpose
from tests.report.stories import Story, invented_night

SETTINGS = Settings(root=Path("/lab"))
BASE = (0.9980, 0.9985, 0.9982)


def test_line_follows_the_proven_champions_level() -> None:
    """Steps are promotions; their values are levels, not the best single run."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.idea("lucky", 0.9974)
    story.idea("wins", 0.98, 0.981)
    shown = progress(story.history, SETTINGS)
    assert [step.number for step in shown.lines[0]] == [1, 3]
    assert 0.9804 < shown.lines[0][1].value < 0.982
    assert shown.lines[0][1].low < shown.lines[0][1].value < shown.lines[0][1].high


def test_a_discarded_idea_lies_where_the_judge_puts_it() -> None:
    """A lucky single run is drawn at its posterior mean, nearer to the champion than it looked."""
    story = Story(SETTINGS)
    story.night(*BASE)
    lucky = story.idea("lucky", 0.9974)
    verdict = story.history.state(lucky).verdict
    assert verdict is not None
    assert verdict.gain is not None
    shown = progress(story.history, SETTINGS)
    assert shown.points[1].runs == (0.9974,)
    assert shown.points[1].value == pytest.approx(shown.lines[0][0].value - verdict.gain)
    assert 0.9974 < shown.points[1].value < shown.lines[0][0].value + 0.001


def test_each_new_baseline_starts_a_line() -> None:
    """Levels of different sources are not joined."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.dawn()
    story.night(0.5, 0.51, description="another source")
    shown = progress(story.history, SETTINGS)
    assert [[step.number for step in line] for line in shown.lines] == [[1], [2]]


@pytest.mark.parametrize("sign", [1, -1])
def test_disasters_do_not_flatten_the_chart(sign: int) -> None:
    """One value far off leaves the range to the others, whichever way is better."""
    direction = Direction.MINIMIZE if sign == 1 else Direction.MAXIMIZE
    settings = Settings(root=Path("/lab"), metric=MetricSettings(direction=direction))
    story = Story(settings)
    story.night(*(sign * value for value in BASE))
    for index in range(8):
        story.idea(f"idea {index}", sign * (0.999 + index / 2000))
    story.idea("diverged", sign * 900.0)
    shown = progress(story.history, settings)
    assert shown.high - shown.low < 0.05
    assert shown.low < min(sign * value for value in BASE) < shown.high


def test_a_baseline_alone_is_shown_with_its_whole_interval() -> None:
    """Before any idea has a value, how unsure the baseline is is all there is to see."""
    story = Story(SETTINGS)
    story.night(0.998, 0.9985)
    story.crash("boom")
    shown = progress(story.history, SETTINGS)
    ((step,),) = shown.lines
    assert shown.low < step.low < step.high < shown.high


def test_runs_without_a_value_are_marks() -> None:
    """A crash has a place on the axis and no value; an open run has neither."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.crash("boom")
    story.start(story.experiment("under way", parent=story.history.champion))
    assert progress(story.history, SETTINGS).failed == (2,)


def test_a_recorded_command_with_a_value_has_not_failed() -> None:
    """What `exec` recorded is no try of the search; it gave a value, so it is no mark of a failure either."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.runs(story.experiment("by exec", parent=None, emitter="exec"), 1.0, purpose=Purpose.EXEC)
    assert progress(story.history, SETTINGS).failed == ()


def make(kind: str) -> Story:
    if kind == "night":
        return invented_night(SETTINGS, 40)
    story = Story(SETTINGS)
    if kind == "hostile":
        story.night(1.0, 1.001)
        story.idea("$\\frac{1}{0}$ \x1b[31m <b> 日本語 \ud800 $", 0.8, 0.81)
    elif kind == "one value":
        story.night(1.0)
    elif kind == "equal values":
        story.night(1.0, 1.0, 1.0)
        story.idea("same", 1.0)
    elif kind == "only crashes":
        story.log("x", Crashed(summary="x"), "crash")
    elif kind == "by hand":
        story.log("x", Finished(metrics=Metrics(primary=1.0)), "keep")
    elif kind == "zeros":
        story.night(0.0, 0.0)
    elif kind == "huge":
        story.night(1e100, 1.1e100)
        story.idea("tiny", 1e-100)
    return story


@pytest.mark.parametrize(
    "kind", ["empty", "night", "hostile", "one value", "equal values", "only crashes", "by hand", "zeros", "huge"]
)
def test_every_history_can_be_drawn(kind: str, tmp_path: Path) -> None:
    """No warning, no error, a real image."""
    story = make(kind)
    path = save(progress_chart(story.history, SETTINGS), tmp_path / "deep" / "progress.png")
    assert path.read_bytes().startswith(b"\x89PNG\r\n")


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_equal_histories_give_equal_bytes(suffix: str, tmp_path: Path) -> None:
    """No dates, no random names: a chart under version control changes only with its data."""
    story = invented_night(SETTINGS, 15)
    first = save(progress_chart(story.history, SETTINGS), tmp_path / f"a.{suffix}").read_bytes()
    assert save(progress_chart(story.history, SETTINGS), tmp_path / f"b.{suffix}").read_bytes() == first
    assert b"<script" not in first
