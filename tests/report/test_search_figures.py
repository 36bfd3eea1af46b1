"""What the figures of the search show, before they are drawn: credit, niches, the frontier's rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nightlab.config import MetricSettings, Settings
from nightlab.report.credit import credit_over_time
from nightlab.report.emitters import REST, accounts
from nightlab.report.frontier import frontier
from nightlab.report.niche_map import cells
from nightlab.types import Crashed, Direction, Judged, Purpose
from tests.report.stories import Story
from tests.report.test_figures import told, verdict

SETTINGS = Settings(root=Path("/lab"))


# --- credit -----------------------------------------------------------------------------------------------------


def test_credit_is_the_promoted_gain_for_all_runs_of_the_emitters_ideas() -> None:
    """Repeats cost their emitter; discards cost and earn nothing; the baseline is nobody's."""
    story = Story(SETTINGS, minutes=5.0)
    base = story.night(1.0, 1.0)
    good = story.experiment("good", parent=base, emitter="contrarian")
    story.runs(good, 0.9)
    story.runs(good, 0.9, purpose=Purpose.REPLICATE)
    story.tell(Judged(verdict=verdict(good, base, 0.08, kept=True)))
    bad = story.experiment("bad", parent=good, emitter="simplifier")
    story.end(story.start(bad), Crashed(summary="boom"))
    story.tell(Judged(verdict=verdict(bad, good, 0.0, crashed=True)))
    found = credit_over_time(story.history)
    assert [(c.emitter, c.gain, c.minutes, c.runs) for c in found] == [
        ("contrarian", 0.0, 5.0, 1),
        ("contrarian", 0.0, 10.0, 2),
        ("contrarian", 0.08, 10.0, 2),
        ("simplifier", 0.0, 5.0, 1),
    ]
    assert [c.at for c in found] == sorted(c.at for c in found)
    assert found[2].at == found[1].at


def test_final_runs_and_running_ones_cost_nobody() -> None:
    """Runs that choose nothing are the lab's; what still goes on has no price yet."""
    story = told(1, keep=1)
    kept = story.history.champion
    assert kept is not None
    before = credit_over_time(story.history)
    story.runs(kept, 0.9, purpose=Purpose.FINAL)
    story.start(story.experiment("under way", parent=kept, emitter="simplifier"))
    assert credit_over_time(story.history) == before


def test_credit_goes_to_the_emitter_that_the_description_names() -> None:
    """An agent says whose idea it was as the older control plane had it."""
    story = Story(SETTINGS)
    base = story.night(1.0)
    story.runs(story.experiment("try [emitter=contrarian]", parent=base, emitter="agent"), 1.0)
    assert [c.emitter for c in credit_over_time(story.history)] == ["contrarian"]


def test_time_is_that_of_running_and_every_line_ends_with_it() -> None:
    """A day without runs takes no room; all lines go to the end."""
    story = told(3, keep=99)
    story.now += 86400.0
    story.runs(story.experiment("later", parent=story.history.champion, emitter="simplifier"), 1.0)
    shown = accounts(story.history)
    assert [account.hours[-1] for account in shown] == pytest.approx([4 * 5 / 60] * len(shown))
    assert all(list(account.hours) == sorted(account.hours) for account in shown)


def test_more_emitters_than_colours_are_told_as_others() -> None:
    """No two lines look the same, and no run is lost."""
    story = Story(SETTINGS)
    base = story.night(1.0)
    for number in range(14):
        story.runs(story.experiment(f"idea {number}", parent=base, emitter=f"agent {number:02}"), 1.0)
    shown = accounts(story.history)
    assert len(shown) == 10
    assert shown[-1].emitter == REST
    assert sum(account.runs[-1] for account in shown) == 14
    assert list(shown[-1].runs) == sorted(shown[-1].runs)


# --- niches -----------------------------------------------------------------------------------------------------


def test_every_experiment_lies_in_one_cell_of_each_cost() -> None:
    """Counts add up; the best gain is a posterior mean of a verdict; crashes are counted."""
    story = told(40)
    shown = cells(story.history)
    for cost in ("size", "memory", "pace", "code"):
        assert sum(cell.experiments for cell in shown if cell.cost == cost) == 40
        assert max(cell.best for cell in shown if cell.cost == cost and cell.best is not None) == 0.002
    unknown = [cell for cell in shown if cell.cost == "memory" and cell.word == "unknown"]
    assert sum(cell.crashed for cell in unknown) == sum(cell.experiments for cell in unknown) == 3
    assert all(cell.best is None for cell in unknown)


def test_a_lucky_run_colours_no_niche() -> None:
    """The best value ever measured is not the best gain: the judge has taken the luck out."""
    story = Story(SETTINGS)
    base = story.night(1.0, 1.001, 0.999)
    lucky = story.experiment("lucky", parent=base)
    story.runs(lucky, 0.9)
    story.tell(Judged(verdict=verdict(lucky, base, 0.0001)))
    assert {cell.best for cell in cells(story.history)} == {0.0001}


# --- the frontier -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", Direction)
def test_gains_of_the_frontier_are_positive_whichever_way_is_better(direction: Direction) -> None:
    """Rows are the champions in order; a gain is what the verdict that kept it says, as in the report's text."""
    settings = replace(SETTINGS, metric=MetricSettings(direction=direction))
    story = Story(settings)
    story.night(*(direction.sign * value for value in (1.0, 1.001, 0.999)))
    story.idea("wins", direction.sign * 0.9, direction.sign * 0.901)
    (line,) = frontier(story.history, settings)
    assert [(row.step.number, row.is_first) for row in line] == [(1, True), (2, False)]
    assert line[0].gain is None
    assert line[1].gain == story.history.promotions[0].gain
    assert line[1].gain == pytest.approx(0.1, abs=0.01)


def test_a_long_frontier_keeps_its_ends_and_its_largest_steps() -> None:
    """What is left out is counted at its place."""
    story = told(200, keep=2, crash=999)
    (line,) = frontier(story.history, SETTINGS)
    assert len(line) == 29
    assert line[0].step.number == 1
    assert line[-1].step.number == 201
    assert sum(row.skipped for row in line) + len(line) == 101
