"""The chain in the report, on the status screen and in `show`: plain words, no more confidence than there is."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console, RenderableType

from nightlab.config import Settings
from nightlab.report.advice import advise
from nightlab.report.dossier import dossier
from nightlab.report.findings import find
from nightlab.report.morning import render
from nightlab.report.summary import count_ideas, summarise
from nightlab.report.terminal import show_screen, status_screen
from nightlab.types import Forecast, NightBegan, NightId, Purpose
from tests.report.stories import Story
from tests.report.test_morning import sections
from tests.test_audit import by_hand, leave_out, named, story

SETTINGS = Settings(root=Path("/lab"))


def report(told: Story) -> dict[str, str]:
    return sections(render(told.own, told.records, SETTINGS, told.now))


def shown(screen: RenderableType) -> str:
    out = io.StringIO()
    Console(file=out, width=200).print(screen)
    return out.getvalue()


def test_kept_changes_and_how_many_may_be_noise() -> None:
    """In a sentence with the number of the night, and a second one once there were others."""
    told = story()
    short = report(told)["## In Short"]
    assert "- Of 2 kept changes of this night about 0.0" in short or "fewer than 0.001 are expected" in short
    assert "over all nights" not in short
    night = told.history.night
    assert night is not None
    told.dawn()
    told.tell(NightBegan(night=NightId("n2"), seed=0, ideas=9, hours=None, baseline=night.began.baseline))
    told.idea("third", 0.94, 0.941)
    short = report(told)["## In Short"]
    assert "- Of 1 kept change of this night" in short
    assert "- Of 3 kept changes over all nights" in short


def test_the_chain_has_each_link_with_then_and_now() -> None:
    """A row a link, the gain when it was kept and now; without a link there is no section."""
    told = story()
    chain = report(told)["## The Chain"]
    assert "| 2 | first | +0.0" in chain
    assert "| 3 | second | +0.0" in chain
    assert "No kept change is a discovery yet (of all that this lab ever calls so, at most 10 %" in chain
    alone = Story(SETTINGS)
    alone.night(0.998, 0.9985)
    assert "## The Chain" not in report(alone)


def test_the_chain_says_what_leaving_out_told() -> None:
    """Beside the link: what is lost without it, or which step took it out."""
    told = story()
    leave_out(told, "first", 0.975)
    assert "| earns its place |" in report(told)["## The Chain"]
    assert "minus is a loss" in report(told)["## The Chain"]
    told = story()
    leave_out(told, "first", 0.958, 0.9585)
    assert "| dead weight, taken out by #5 |" in report(told)["## The Chain"]
    assert "| 5 | without first |" in report(told)["## The Chain"]


def test_discoveries_are_named() -> None:
    """By number, in the report and on the status screen, with what the word promises."""
    told = Story(SETTINGS)
    base = told.night(0.9980, 0.9985, 0.9982)
    idea = told.idea("wins", 0.98, 0.981)
    for index in range(4):
        told.runs(idea, 0.9805 + 1e-4 * index, purpose=Purpose.FINAL)
        told.runs(base, 0.9981 + 1e-4 * (index % 2), purpose=Purpose.FINAL)
    assert "#2 is a discovery (of all" in report(told)["## The Chain"]
    assert "| kept; discovery |" in report(told)["## The Chain"]
    assert "#2 is a discovery" in shown(status_screen(summarise(told.history, SETTINGS, told.now)))
    sheet = dossier(told.history, SETTINGS, told.history.state(idea), None)
    assert sheet.strict is not None
    assert "discovery in the strict test: e-value" in shown(show_screen(sheet, ""))


def test_show_says_what_is_missing_to_a_discovery() -> None:
    """An idea that was only looked at has its e-value and the one that was needed; a baseline has neither."""
    told = story()
    state = told.history.state(named(told, "worse"))
    text = shown(show_screen(dossier(told.history, SETTINGS, state, None), ""))
    assert "no discovery in the strict test: e-value" in text
    assert "needed, from 1 pair of runs side by side" in text
    baseline = dossier(told.history, SETTINGS, told.history.state(named(told, "baseline")), None)
    assert baseline.strict is None


def test_show_says_what_was_foretold() -> None:
    """An idea that the search had a forecast of has it on its page, before what came; another has no such line."""
    told = story()
    foretold = Forecast(gain=0.012, deviation=0.02, chance=0.72, crash=0.08, model="history")
    idea = told.experiment("wider", parent=told.history.champion, forecast=foretold)
    text = shown(show_screen(dossier(told.history, SETTINGS, told.history.state(idea), None), ""))
    assert "foretold gain 0.012, give or take 0.02; 72% likely better, 8% to crash" in re.sub(r" +", " ", text)
    other = dossier(told.history, SETTINGS, told.history.state(named(told, "worse")), None)
    assert "foretold" not in shown(show_screen(other, ""))


def test_status_has_the_numbers_as_json_fields() -> None:
    """Keeps of the night and of all, and the chain link by link."""
    lab = summarise(story().history, SETTINGS, 0.0)
    assert lab.keeps.kept == lab.keeps_tonight.kept == 2
    assert lab.expected_false_keeps == lab.keeps.expected_false
    assert [link.number for link in lab.chain] == [p.number for p in lab.promotions] == [2, 3]
    assert all(link.now is not None and link.worth == "kept" for link in lab.chain)


def test_what_was_taken_back_is_no_longer_told_as_kept() -> None:
    """Neither in the list of what was kept nor in the chain; the champion is the one that came back."""
    told = story()
    by_hand(told, "first")
    found = report(told)
    assert "second" not in found["## Kept"]
    assert "| 2 | first | +0.0" in found["## Kept"]
    assert "second" not in found["## The Chain"]
    lab = summarise(told.history, SETTINGS, told.now)
    assert lab.champion is not None
    assert lab.champion.number == 2
    assert lab.champion.probability is not None
    by_hand(told, "baseline")
    assert "No idea was proven better than the baseline" in report(told)["## In Short"]


def test_removals_are_no_ideas() -> None:
    """Leaving something out is counted neither as tried nor as kept, nor listed as what did not help."""
    told = story()
    before = count_ideas(told.history)
    leave_out(told, "first", 0.975)
    assert count_ideas(told.history) == before
    found = find(told.history, SETTINGS, told.now, 16.0)
    assert [one.description for one in found.worse] == ["worse"]
    assert found.tried == 3


def test_a_doubtful_champion_comes_with_the_way_out() -> None:
    """The advice names the command that takes it back."""
    told = story()
    told.runs(named(told, "second"), 0.999, 0.998, 0.999, 0.9985, 0.999, purpose=Purpose.REPLICATE)
    advice = advise(find(told.history, SETTINGS, told.now, 16.0))
    assert any("#3 no longer looks better" in line and "`nightlab undo 3`" in line for line in advice)
