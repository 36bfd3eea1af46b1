"""The morning report: the contract's sections, honest sentences, safe text, and its files."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from nightlab.config import MetricSettings, Settings
from nightlab.errors import LedgerError
from nightlab.report.morning import render, write_report
from nightlab.types import Crashed, Direction, Finished, Metrics, NightBegan, NightId, Purpose
from tests.builders import conditions, powerless, shared_directory
from tests.report.stories import START, Story, invented_night

SETTINGS = Settings(root=Path("/lab"))
BASE = (0.9980, 0.9985, 0.9982)
CONTRACT = ("## Headline", "## Decision Queue", "## Champion Board", "## Best Lineages", "## Failure Clusters",
            "## Recent Ledger")  # fmt: skip


def sections(report: str) -> dict[str, str]:
    parts = re.split(r"^(## .*)$", report, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def night() -> Story:
    story = Story(SETTINGS)
    story.night(*BASE)
    story.idea("wins", 0.98, 0.981)
    story.idea("loses", 1.2)
    story.crash("too large")
    story.idea("open", 0.978)
    return story


def test_sections_of_the_contract_in_their_order() -> None:
    """Older scripts find their headings in the order of surface-contract 1.7; ours follow the first and the last."""
    report = render(night().own, night().records, SETTINGS, night().now)
    lines = report.splitlines()
    assert lines[0] == "# Morning Report"
    assert "Generated: 2026-03-10T22:40:00+00:00" in lines
    assert "Window: last 16 hours" in lines
    headings = [line for line in lines if line.startswith("## ")]
    assert [h for h in headings if h in CONTRACT] == list(CONTRACT)
    assert headings[0] == "## Headline"
    assert headings[-6:-1] == list(CONTRACT[1:])
    assert headings[-1] == "## What The Search Has Learnt"


def test_headline_counts_and_names_the_champion() -> None:
    """Counts by status; the champion's run in backticks with its own value, its standing on a line of its own."""
    story = night()
    headline = sections(render(story.own, story.records, SETTINGS, story.now))["## Headline"]
    assert "- Experiments recorded overnight: 7" in headline
    assert "- Keep / discard / crash: 5 / 1 / 1" in headline
    assert re.search(r"- Current champion: run `\S+` on commit `\w{7}` at 0\.980000, 4\.2 GB, wins", headline)
    assert "- Standing of that champion: proven" in headline


def test_change_against_the_champion_before_the_window() -> None:
    """Present only if there was one, signed, six decimals."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.now += 20 * 3600
    story.idea("wins", 0.98, 0.981)
    assert "- Change vs prior champion: -0.018000 val_bpb" in render(story.own, story.records, SETTINGS, story.now)
    assert "Change vs prior champion" not in render(story.own, story.records, SETTINGS, story.now, since_hours=1000)


def test_first_sentence_says_what_the_night_gave() -> None:
    """Gain, interval and the chance of noise in the first bold sentence."""
    story = night()
    short = sections(render(story.own, story.records, SETTINGS, story.now))["## In Short"]
    assert re.search(r"\*\*#2 wins: val_bpb better than the baseline by 0\.0\d+ \(95 % interval .*noise\.\*\*", short)
    assert "shrunk for having been chosen" in short
    assert "](progress.png)" not in short
    figures = {"progress.png": "all", "figures/niches.png": "niches"}
    shown = sections(render(story.own, story.records, SETTINGS, story.now, figures=figures))
    assert "](progress.png)" in shown["## In Short"]
    assert shown["## Figures"].count("![") == 1
    assert "![niches](figures/niches.png)" in shown["## Figures"]


def test_fresh_seeds_are_the_number_once_they_have_run() -> None:
    """The headline gain comes from seeds that chose nothing, and says so."""
    story = night()
    assert story.history.night is not None
    champion = story.history.champion
    assert champion is not None
    story.runs(story.history.night.began.baseline, *BASE, purpose=Purpose.FINAL)
    story.runs(champion, 0.9811, 0.9812, 0.9813, purpose=Purpose.FINAL)
    assert "on 3 fresh seeds a side" in render(story.own, story.records, SETTINGS, story.now)


def test_kept_open_worse_and_failed_have_sections_of_their_own() -> None:
    """What was learned, each with its numbers; crashes grouped by what they have in common."""
    story = night()
    story.crash("too large again")
    found = sections(render(story.own, story.records, SETTINGS, story.now))
    assert "| 2 | wins | +0.0" in found["## Kept"]
    assert "#5 open" in found["## Not Proven Yet"]
    assert "likely better" in found["## Not Proven Yet"]
    assert "#3 loses: -0.2" in found["## What Did Not Help"]
    assert "2 runs: `RuntimeError: CUDA out of memory` (#4, #6)" in found["## What Failed"]
    assert "nightlab diff" in found["## What To Do Next"]


def test_runs_that_are_not_believed_are_counted_with_their_reasons() -> None:
    """How many, why, the most frequent first; they are no failures, no keeps, and no level rests on them."""
    story = night()
    before = render(story.own, story.records, SETTINGS, story.now)
    name = story.experiment("shared", parent=story.history.champion)
    for trouble in ("the GPU was too hot", "others used the GPU", "others used the GPU"):
        story.end(story.start(name), Finished(metrics=Metrics(primary=0.1)), conditions(trouble))
    story.end(story.start(name), Crashed(summary="no memory", signature="no memory"), conditions("others held memory"))
    report = render(story.own, story.records, SETTINGS, story.now)
    assert (
        "- 4 runs not believed, counted as no try and made again: "
        "others used the GPU (2); the GPU was too hot (1); others held memory (1)." in report
    )
    assert "not believed" not in before
    assert "no memory" not in report
    assert "0.100000" not in report


def test_empty_sections_are_left_out() -> None:
    """A person is not shown headings with nothing under them."""
    story = Story(SETTINGS)
    story.night(*BASE)
    headings = sections(render(story.own, story.records, SETTINGS, story.now))
    assert not {"## Kept", "## Not Proven Yet", "## What Did Not Help", "## What Failed"} & set(headings)


@pytest.mark.parametrize(
    ("values", "crashes", "words"),
    [((), 0, "Nothing has run yet."), (BASE, 0, "The baseline stands at val_bpb 0.9982"),
     (BASE, 3, "All 3 ideas crashed; the baseline stands at")],
)  # fmt: skip
def test_quiet_nights_have_a_sentence_too(values: tuple[float, ...], crashes: int, words: str) -> None:
    """No runs, only a baseline, nothing but crashes."""
    story = Story(SETTINGS)
    if values:
        story.night(*values)
    for _ in range(crashes):
        story.crash("boom")
    assert words in render(story.own, story.records, SETTINGS, story.now)


def test_broken_baseline_is_the_first_thing_to_mend() -> None:
    """The report names it and the command that shows its log."""
    story = Story(SETTINGS)
    base = story.experiment("baseline", parent=None, emitter="baseline")
    story.tell(NightBegan(night=NightId("n"), seed=0, ideas=3, hours=None, baseline=base))
    story.end(story.start(base, Purpose.BASELINE), Crashed(summary="no data"))
    report = render(story.own, story.records, SETTINGS, story.now)
    assert "**The baseline has given no result.**" in report
    assert "Mend the baseline first: `nightlab show 1 --log`" in report


def test_no_proof_is_called_no_proof() -> None:
    """Ideas without a keep: the sentence says that none was proven, and does not praise the best of them."""
    story = Story(SETTINGS)
    story.night(*BASE)
    for value in (0.999, 1.0, 0.9984):
        story.idea("no better", value)
    assert "No idea was proven better than the baseline" in render(story.own, story.records, SETTINGS, story.now)


def test_hand_logged_lab_keeps_the_older_lines() -> None:
    """Promote a hand-logged keep, fix a crash for want of memory, and call the champion provisional."""
    story = Story(SETTINGS)
    run = story.log("increase matrix lr", Finished(metrics=Metrics(primary=0.99, memory_mb=1024)), "keep")
    story.log("too large", Crashed(summary="RuntimeError: CUDA out of memory"), "crash")
    found = sections(render(story.own, story.records, SETTINGS, story.now))
    assert f"| high | `promote` | `{run}` | keep | 0.990000 |" in found["## Decision Queue"]
    assert "`fix_and_retry`" in found["## Decision Queue"]
    assert "- Standing of that champion: provisional" in found["## Headline"]
    assert f"| champion | `{run}` |" in found["## Champion Board"]
    assert "| 0.000000 | 1.0 |" in found["## Champion Board"]
    assert "Provisional: one run, not proven." in found["## In Short"]


def test_queue_has_five_rows_the_urgent_first_and_newest() -> None:
    """High before medium before low, newest first within."""
    story = Story(SETTINGS)
    story.log("good", Finished(metrics=Metrics(primary=0.9)), "keep")
    for index in range(6):
        story.log(f"worse {index}", Finished(metrics=Metrics(primary=0.95 + index / 100)), "discard")
    queue = sections(render(story.own, story.records, SETTINGS, story.now))["## Decision Queue"]
    rows = [line.split(" | ") for line in queue.strip().splitlines()[2:]]
    assert [row[0] for row in rows] == ["| high", "| low", "| low", "| low", "| low"]
    assert [row[4] for row in rows[1:]] == ["1.000000", "0.990000", "0.980000", "0.970000"]


def test_records_outside_the_window_are_not_counted() -> None:
    """An old night is on the board and in the ledger, not in the counts; the report says how long ago it was."""
    story = night()
    report = render(story.own, story.records, SETTINGS, story.now + 30 * 3600)
    assert "- Experiments recorded overnight: 0" in report
    assert "Nothing new in the last 16 hours; the last run ended 30 h ago." in report
    assert "nothing to decide in this window" in report


def test_maximised_metric_has_its_own_name_and_direction() -> None:
    """The board is ordered by the metric's direction, its column by its name."""
    settings = Settings(root=Path("/lab"), metric=MetricSettings(name="accuracy", direction=Direction.MAXIMIZE))
    story = Story(settings)
    story.night(0.90, 0.901, 0.902)
    story.idea("wins", 0.95, 0.951)
    report = render(story.own, story.records, settings, story.now)
    assert "| champion |" in report
    assert "at 0.951000" in report
    assert "accuracy better than the baseline by 0.0" in report


HOSTILE = "x | y `z` <script>alert(1)</script> \x1b[31mred\x1b[0m ![p](http://evil.example/p.png)\n## Headline\n| a |"


def test_hostile_text_stays_text() -> None:
    """Descriptions, hypotheses, crash messages and reasons cannot add headings, rows, HTML, images or colours."""
    story = Story(SETTINGS)
    story.night(*BASE, description=HOSTILE)
    story.idea(HOSTILE + " kept", 0.98, 0.981)
    story.idea(HOSTILE + " lost", 1.3)
    story.idea(HOSTILE + " open", 0.978)
    story.crash(HOSTILE, summary=HOSTILE)
    story.log(HOSTILE, Finished(metrics=Metrics(primary=0.5)), "keep")
    story.dawn(HOSTILE)
    report = render(story.own, story.records, SETTINGS, story.now, figures={"progress.png": "every experiment"})
    assert report.count("\n## Headline") == 1
    assert "\x1b" not in report
    outside = re.sub(r"`[^`\n]*`", "", report.replace("\\`", ""))
    assert len(re.findall(r"(?<!\\)\]\(", outside)) == outside.count("![") == 1
    assert "<script" not in outside
    assert "http://" not in outside
    for table in sections(report).values():
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


def test_long_night_makes_a_short_report() -> None:
    """Hundreds of ideas: lists are cut where somebody stops reading."""
    story = invented_night(SETTINGS, 150)
    assert len(render(story.own, story.records, SETTINGS, story.now).splitlines()) < 150


def test_report_is_written_with_a_stamped_copy_and_its_chart(tmp_path: Path) -> None:
    """latest.md, the same text under the moment's name, figures if asked for; no scratch files are left."""
    story = night()
    settings = Settings(root=tmp_path)
    latest, stamped, chart, *figures = write_report(story.own, story.records, settings, now=START, figures=True)
    assert latest == tmp_path / "results" / "memorylab" / "reports" / "latest.md"
    assert stamped.name == "20260310T220000Z.md"
    assert stamped.read_text() == latest.read_text()
    assert chart.read_bytes().startswith(b"\x89PNG")
    assert "progress.png" in latest.read_text()
    assert len(list(latest.parent.iterdir())) == 4
    assert sorted(figures) == sorted((latest.parent / "figures").iterdir())
    for name in ("frontier", "lineage", "niches", "emitters"):
        assert f"](figures/{name}.png)" in latest.read_text()


def test_chart_is_shown_only_while_it_shows_everything(tmp_path: Path) -> None:
    """A chart that is older than the newest run is not linked: it would tell another story than the text."""
    story = night()
    settings = Settings(root=tmp_path)
    latest, _, *figures = write_report(story.own, story.records, settings, now=story.now, figures=True)
    for figure in figures:
        os.utime(figure, (story.now, story.now))
    os.utime(latest.parent / "figures" / "niches.png", (story.now - 9, story.now - 9))
    write_report(story.own, story.records, settings, now=story.now)
    assert "progress.png" in latest.read_text()
    assert "figures/frontier.png" in latest.read_text()
    assert "figures/niches.png" not in latest.read_text()
    story.idea("one more", 0.999)
    write_report(story.own, story.records, settings, now=story.now)
    assert ".png" not in latest.read_text()


def test_page_shows_the_same_text_and_no_markup_of_a_run(tmp_path: Path) -> None:
    """As HTML: one page with tables; what a description holds stays text."""
    story = night()
    story.log(
        "<script>alert(1)</script> [x](http://evil) ![i](http://evil/a.png)",
        Finished(metrics=Metrics(primary=0.9)),
        "keep",
    )
    text = render(story.own, story.records, SETTINGS, story.now, form="html")
    assert text.startswith("<!doctype html>")
    assert "<table>" in text
    assert "<script" not in text
    assert 'evil/a.png"' not in text
    assert "href" not in text


def test_other_branch_is_the_one_that_is_named(tmp_path: Path) -> None:
    """The branch is the one that promotions really went to."""
    story = night()
    written = write_report(
        story.own, story.records, Settings(root=tmp_path), now=story.now, branch="autoresearch/x-lab"
    )
    assert "autoresearch/x-lab" in written[0].read_text()


def test_refusing_directory_is_an_error_with_a_way_out() -> None:
    """No traceback: the path, the reason, and the option that helps."""
    with shared_directory() as place:
        place.chmod(0o555)
        story = night()
        with powerless(), pytest.raises(LedgerError, match="cannot be written") as caught:
            write_report(story.own, story.records, Settings(root=place), now=START)
        assert "--output" in caught.value.hint
