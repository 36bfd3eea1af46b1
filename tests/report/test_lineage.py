"""The family tree's layout: lanes, the chain, and how it folds when it is long."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightlab.config import Settings
from nightlab.report.lineage import LANES, SINGLE, tree
from nightlab.types import Finished, Judged, Metrics, Purpose
from tests.report.stories import Story
from tests.report.test_figures import told, verdict

SETTINGS = Settings(root=Path("/lab"))


def test_each_champion_opens_a_lane() -> None:
    """Ideas lie on the lane of what they were built on, in the order of time; the chain joins the champions."""
    shown = tree(told(7, keep=3, crash=5).history)
    assert [(m.number, m.lane, m.status) for m in sorted(shown.marks, key=lambda m: m.number)] == [
        (1, 0, "baseline"),
        (2, 0, "discard"),
        (3, 0, "discard"),
        (4, 0, "keep"),
        (5, 1, "discard"),
        (6, 1, "crash"),
        (7, 1, "keep"),
        (8, 2, "discard"),
    ]
    assert [[m.number for m in path] for path in shown.path] == [[1, 4, 7]]
    assert [(r.start, r.above, r.lane, r.low, r.high) for r in shown.rails] == [
        (1, 0, 0, 1, 4),
        (4, 0, 1, 4, 7),
        (7, 1, 2, 7, 8),
    ]


def test_an_idea_on_a_discarded_one_is_a_side_branch() -> None:
    """It has a lane of its own, below the lane that its parent hangs from."""
    story = told(2, keep=99)
    parent = list(story.history.experiments)[1]
    child = story.experiment("on top of it", parent=parent)
    story.runs(child, 1.0)
    shown = tree(story.history)
    rail = next(r for r in shown.rails if r.start == 2)
    assert rail.hangs
    assert (rail.above, rail.lane) == (0, 1)
    assert next(m for m in shown.marks if m.number == 4).status == "undecided"


def test_what_was_taken_back_is_not_on_the_kept_path() -> None:
    """A person's word against a promotion: its mark says so, and the path leaves it out."""
    story = told(3, keep=3)
    baseline, *_, kept = story.history.experiments
    story.tell(Judged(verdict=verdict(baseline, kept, 0.0, kept=True)))
    shown = tree(story.history)
    assert [[m.number for m in path] for path in shown.path] == [[1]]
    assert next(m for m in shown.marks if m.number == 4).status == "taken-back"


def test_few_experiments_have_a_mark_each() -> None:
    """Two hundred and more are drawn one by one."""
    shown = tree(told(SINGLE - 1).history)
    assert len(shown.marks) == SINGLE
    assert all(mark.count == 1 for mark in shown.marks)


def test_a_long_history_is_counted_instead() -> None:
    """A thousand: neighbours that came to nothing share a mark that says how many; nothing is lost."""
    shown = tree(told(1000, keep=40).history)
    assert sum(mark.count for mark in shown.marks) == 1001
    assert len(shown.marks) < 250
    kept = [mark for mark in shown.marks if mark.status == "keep"]
    assert [mark.count for mark in kept] == [1] * 25
    assert sum(m.count for m in shown.marks if m.status == "crash") == 1000 // 9 - 1000 // 360


@pytest.mark.parametrize("keep", [1, 7, 40, 2000])
def test_a_page_has_room_for_every_lane(keep: int) -> None:
    """However many champions: several in a row share a lane before the page becomes too long."""
    shown = tree(told(400, keep=keep).history)
    assert 1 <= shown.lanes <= LANES
    assert {mark.lane for mark in shown.marks} <= set(range(shown.lanes))
    lanes = [mark.lane for path in shown.path for mark in path]
    assert lanes == sorted(lanes)


def test_many_side_branches_go_back_to_the_lane_they_left() -> None:
    """They are counted, and their experiments stay in the picture."""
    story = told(60, keep=30, crash=99)
    for name in list(story.history.experiments)[1:60:2]:
        child = story.experiment("a branch", parent=name)
        story.runs(child, 1.0)
    shown = tree(story.history)
    assert shown.lanes <= LANES
    assert shown.folded == 30
    assert sum(mark.count for mark in shown.marks) == len(story.history.experiments)


def test_many_baselines_share_lanes() -> None:
    """A lab whose every night began from another source is still a page."""
    story = Story(SETTINGS)
    for number in range(60):
        story.night(1.0, 1.0, description=f"source {number}")
        story.idea(f"idea {number}", 1.1)
        story.dawn()
    assert tree(story.history).lanes <= LANES


def test_what_belongs_to_no_line_has_a_lane_without_a_rail() -> None:
    """Commands recorded by `exec` are experiments without a parent and without a child."""
    story = told(1)
    for number in range(3):
        lone = story.experiment(f"lone {number}", parent=None, emitter="exec")
        story.end(story.start(lone, Purpose.EXEC), Finished(metrics=Metrics(primary=1.0)))
    shown = tree(story.history)
    assert shown.lanes == 2
    assert len(shown.rails) == 1
