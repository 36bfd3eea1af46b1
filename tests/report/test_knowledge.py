"""The report's section on what the search has learnt."""

from __future__ import annotations

from nightlab.report.knowledge import learnt_lines
from nightlab.types import Forecast, Plan
from tests.search.histories import Story, crash, edit, knob

LR = knob("MATRIX_LR", "0.04", "0.05")


def test_nothing_learnt_has_no_section() -> None:
    """Before there is an idea with a verdict the section is not there."""
    assert learnt_lines(Story().told(1)) == []
    assert learnt_lines(Story().told()) == []


def test_what_gains_what_is_clear_and_what_crashes_is_told() -> None:
    """Niches that gain, clear claims, and what crashes on this champion; what only leans somewhere is counted."""
    story = Story().keep("b", LR, gain=0.02).idea("c", edit("swiglu"), gain=-0.2).idea("d", edit("swiglu"), gain=-0.2)
    story.idea("e", edit("z-loss"), gain=0.0001, spread=0.05).idea("f", edit("z-loss"), gain=-0.0001, spread=0.05)
    story.idea("x", knob("DEPTH", "8", "9"), outcome=crash("out of memory | <b>"))
    text = "\n".join(learnt_lines(story.told()))
    assert "#2 idea b, +0.02 (1 experiment, the champion)" in text
    assert "swiglu hurts" in text
    assert "not clear yet: `nightlab conjectures`" in text
    assert "1 experiment: `DEPTH up` ends in" in text
    assert "z-loss lean" not in text


def test_a_niche_whose_best_is_clearly_worse_is_left_out() -> None:
    """What stands far below the champion is no news, though it stands above the baseline."""
    story = Story().keep("b", LR, gain=0.5).idea("c", edit("no-qk-norm"), gain=-0.2)
    story.idea("d", knob("DEPTH", "8", "9"), gain=-0.001, spread=0.01)
    text = "\n".join(learnt_lines(story.told()))
    assert "idea c" not in text
    assert "idea d, +0.499 (1 experiment, open)" in text


def test_crashes_of_an_earlier_champion_are_left_out() -> None:
    """What crashed before the base changed is no news for the morning."""
    story = Story().idea("x", knob("DEPTH", "8", "9"), outcome=crash("out of memory")).keep("b", LR)
    assert "out of memory" not in "\n".join(learnt_lines(story.told()))


def test_forecasts_are_scored_by_emitter_and_together() -> None:
    """A table with what was foretold, what came, both scores and the share inside; a dash where no gain is known."""
    told = Forecast(gain=-0.01, deviation=0.01, chance=0.25, model="history")
    story = Story().idea("b", LR, gain=-0.01, probability=0.5, plan=Plan(emitter="contrarian", forecast=told))
    story.idea("c", knob("DEPTH", "8", "9"), outcome=crash(), plan=Plan(emitter="simplifier", forecast=told))
    lines = learnt_lines(story.told())
    start = next(place for place, line in enumerate(lines) if line.startswith("Forecasts stored before the runs"))
    assert lines[start - 1] == ""
    assert lines[start + 2].startswith("| emitter | ideas | foretold better |")
    assert lines[start + 4 :] == [
        "| simplifier | 1 | 25% | 0% | 0.062 (0.000) | - |",
        "| contrarian | 1 | 25% | 50% | 0.312 (0.250) | 100% |",
        "| all | 2 | 25% | 25% | 0.188 (0.188) | 100% |",
    ]


def test_without_forecasts_there_is_no_table() -> None:
    """Ideas that nobody foretold anything of are not scored."""
    assert "Forecasts" not in "\n".join(learnt_lines(Story().keep("b", LR).told()))
