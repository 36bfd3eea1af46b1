"""The report's figures: that each can always be drawn, what its legend says, and where the files lie."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from nightlab.config import Settings
from nightlab.errors import LedgerError
from nightlab.history import History
from nightlab.report.canvas import FORMATS, Sheet, images
from nightlab.report.charts import progress_chart
from nightlab.report.emitters import emitters_chart
from nightlab.report.family import family_chart
from nightlab.report.figures import SHOWS, addresses, draw_figures
from nightlab.report.frontier import frontier_chart
from nightlab.report.morning import write_report
from nightlab.report.niche_map import niche_chart
from nightlab.types import (
    EMITTERS,
    Crashed,
    Decision,
    ExperimentId,
    Finished,
    Judged,
    Metrics,
    Outcome,
    Verdict,
)
from tests.report.stories import Story

SETTINGS = Settings(root=Path("/lab"))
Chart = Callable[[History, Settings], Sheet]
CHARTS: dict[str, Chart] = {
    "history": progress_chart,
    "frontier": frontier_chart,
    "lineage": family_chart,
    "niches": niche_chart,
    "emitters": emitters_chart,
}
FAMILIES = ("learning rate", "schedule", "attention", "depth", "weight decay")


def told(ideas: int, *, keep: int = 12, crash: int = 9) -> Story:
    """A night whose verdicts are invented: every `keep`-th idea is kept and every `crash`-th crashes."""
    story = Story(SETTINGS)
    champion = story.night(1.0, 1.001)
    level = 1.0
    for number in range(1, ideas + 1):
        emitter = EMITTERS[number % len(EMITTERS)]
        words = f"change {FAMILIES[number % 5]} {number}"
        name = story.experiment(words, parent=champion, emitter=emitter)
        gain = 0.002 if number % keep == 0 else -0.0005 * (number % 7)
        crashes = number % crash == 0 and number % keep != 0
        outcome: Outcome = Crashed(summary="CUDA out of memory", exit_code=1)
        if not crashes:
            memory, size = 4000.0 + 500 * (number % 3), 50.0 + 9 * (number % 2)
            metrics = Metrics(primary=level - gain, throughput=1e5, memory_mb=memory, params_m=size)
            outcome = Finished(metrics=metrics)
        story.end(story.start(name), outcome)
        story.tell(Judged(verdict=verdict(name, champion, gain, kept=number % keep == 0, crashed=crashes)))
        if number % keep == 0:
            champion, level = name, level - gain
    return story


def verdict(
    name: ExperimentId, champion: ExperimentId, gain: float, *, kept: bool = False, crashed: bool = False
) -> Verdict:
    decision = Decision.CRASH if crashed else Decision.KEEP if kept else Decision.DISCARD
    return Verdict(
        experiment=name,
        champion=champion,
        decision=decision,
        because="told",
        gain=None if crashed else gain,
        low=None if crashed else gain - 0.001,
        high=None if crashed else gain + 0.001,
        probability=None if crashed else 0.99 if kept else 0.1,
    )


def make(kind: str) -> Story:
    story = Story(SETTINGS)
    if kind == "one run":
        story.night(1.0)
    elif kind == "crashes":
        story.night(1.0, 1.001)
        for number in range(3):
            story.crash(f"boom {number}")
    elif kind == "baseline crashed":
        baseline = story.night()
        story.end(story.start(baseline), Crashed(summary="boom"))
    elif kind == "hostile":
        story.night(1e100, 1.1e100)
        story.idea(
            "$\\frac{1}{0}$ \x1b[31m <script> 日本語 \ud800 $", 1e-100, 1e-99, emitter="$x$ <script>", family="$y"
        )
    elif kind == "1000":
        return told(1000)
    return story


@pytest.fixture(scope="module")
def thousand() -> Story:
    return told(1000)


@pytest.mark.parametrize("chart", CHARTS)
@pytest.mark.parametrize("kind", ["empty", "one run", "crashes", "baseline crashed", "hostile"])
def test_every_figure_of_every_small_history(kind: str, chart: str) -> None:
    """No warning, no error, both formats, and nothing of a run's text becomes markup."""
    found = images(CHARTS[chart](make(kind).history, SETTINGS))
    assert found["png"].startswith(b"\x89PNG\r\n")
    assert b"<svg" in found["svg"]
    assert b"<script" not in found["svg"]


@pytest.mark.parametrize("chart", CHARTS)
def test_every_figure_of_a_thousand_experiments(chart: str, thousand: Story) -> None:
    """However long the history, a figure is a page: not taller than it is wide, and small enough to be sent."""
    sheet = CHARTS[chart](thousand.history, SETTINGS)
    assert sheet.height <= 12.0
    assert len(images(sheet, ("svg",))["svg"]) < 1 << 20


@pytest.mark.parametrize("chart", CHARTS)
def test_equal_histories_give_equal_bytes(chart: str) -> None:
    """No dates, no random names: a figure under version control changes only with its data."""
    first, second = told(30, keep=5), told(30, keep=5)
    assert images(CHARTS[chart](first.history, SETTINGS)) == images(CHARTS[chart](second.history, SETTINGS))


def words_of(sheet: Sheet) -> set[str]:
    """What the one legend of a figure says."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

    figure = Figure(figsize=(12.0, sheet.height))
    FigureCanvasAgg(figure)
    sheet.paint(figure)
    legends = figure.findobj(Legend)
    assert len(legends) == 1
    return {text.get_text().partition("\n")[0] for text in legends[0].get_texts()}


def test_legends_name_what_is_there() -> None:
    """One legend for a figure; what does not occur has no entry."""
    names = [name.replace("_", " ") for name in EMITTERS]
    calm, wild = told(4, keep=4, crash=99).history, told(30).history
    expected = {
        "history": ({"best so far, 95 % interval", "discarded"}, {"crashed or no result"}),
        "frontier": ({"baseline, bar: 95 % interval", "champion"}, set()),
        "lineage": ({"baseline", "kept", "discarded"}, {"crashed"}),
        "emitters": ({names[place] for place in (1, 2, 3, 4)}, {names[place] for place in (0, 5, 6)}),
    }
    for name, (both, more) in expected.items():
        assert words_of(CHARTS[name](calm, SETTINGS)) == both, name
        assert words_of(CHARTS[name](wild, SETTINGS)) == both | more, name
    assert "nothing better" in words_of(niche_chart(wild, SETTINGS))
    assert "best gain +0.00200" in words_of(niche_chart(wild, SETTINGS))


def test_a_stepping_stone_is_drawn_and_named() -> None:
    """What took another idea's change over is joined to it, and the legend says what that line is."""
    story = told(6, keep=99)
    stone = next(name for name, s in story.history.experiments.items() if s.number == 3)
    state = story.history.state(list(story.history.experiments)[-1])
    state.experiment = replace(state.experiment, plan=replace(state.experiment.plan, parents=(stone,)))
    assert "took a change over" in words_of(family_chart(story.history, SETTINGS))


# --- files ------------------------------------------------------------------------------------------------------


def test_each_figure_is_written_in_both_formats(tmp_path: Path) -> None:
    """Five figures as SVG and PNG, the history's once more under its older name, and every address leads to one."""
    written = draw_figures(told(6).history, SETTINGS, tmp_path)
    assert written[0] == tmp_path / "progress.png"
    assert written[0].read_bytes() == (tmp_path / "figures" / "history.png").read_bytes()
    assert set(written[1:]) == {tmp_path / "figures" / f"{name}.{form}" for name in SHOWS for form in FORMATS}
    assert all((tmp_path / address).read_bytes().startswith(b"\x89PNG") for address in addresses())


def test_figures_that_cannot_be_written_are_an_error_with_a_hint(tmp_path: Path) -> None:
    """The user is told which directory, and what else works."""
    story = told(2)
    place = tmp_path / "results" / "memorylab" / "reports"
    place.mkdir(parents=True)
    (place / "figures").write_text("in the way")
    with pytest.raises(LedgerError, match="report cannot be written") as caught:
        write_report(story.own, story.records, Settings(root=tmp_path), now=story.now, figures=True)
    assert "--output" in str(caught.value.hint)


def test_a_page_shows_its_figures(tmp_path: Path) -> None:
    """As HTML the figures are images of the page."""
    story = told(2)
    written = write_report(story.own, story.records, Settings(root=tmp_path), now=story.now, figures=True, form="html")
    text = written[0].read_text()
    assert '<img src="progress.png"' in text
    assert '<img src="figures/niches.png"' in text
