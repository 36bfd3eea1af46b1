"""docs/statistics.md quotes the judge: what it quotes is what the judge says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks.statistics_figures import Race, races, told
from nightlab.judge.covariance import grid
from nightlab.judge.discoveries import e_lond

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def played() -> tuple[Race, Race]:
    return races()


def test_the_races_are_quoted_word_for_word(played: tuple[Race, Race]) -> None:
    """Every verdict of the worked example stands in the page (benchmarks/statistics_figures.py prints them anew)."""
    for race in played:
        lines = told(race)
        assert "\n".join(lines) in PAGE
        assert f"{race.truth:.5f}" in PAGE


def test_the_example_shows_what_it_is_there_for(played: tuple[Race, Race]) -> None:
    """One idea looked better, was run again and was refused, though it is worth nothing; a small true gain was kept."""
    lucky, real = played
    assert lucky.truth <= 0.0 < real.truth
    assert (lucky.looks[0].verdict.decision, lucky.looks[-1].verdict.decision) == ("retest", "discard")
    assert (real.looks[0].verdict.decision, real.looks[-1].verdict.decision) == ("retest", "keep")


def test_the_numbers_of_the_model_are_those_of_the_code() -> None:
    """Sizes of the grid and levels of the strict test, as the page tells them."""
    assert f"{len(grid(True, False).weight)} combinations" in PAGE
    assert f"({len(grid(True, True).weight)} with a probe)" in PAGE
    levels = [level.needed for level in e_lond([1.0] * 100)]
    assert f"{levels[0]:.0f} for a lab's first idea and {round(levels[-1], -3):,.0f} for its hundredth" in PAGE


def test_every_picture_and_page_that_is_linked_is_there() -> None:
    """Relative links of the two pages lead somewhere."""
    for page in ("statistics.md", "simulate.md"):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8")
        links = [link for link in re.findall(r"\]\(([^)#]+)\)", text) if "://" not in link]
        assert links
        assert [link for link in links if not (ROOT / "docs" / link).is_file()] == []
