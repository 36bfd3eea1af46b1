"""status, runs, show, diff, report: what they print, as text and as JSON, and how they fail."""

from __future__ import annotations

import argparse
import fcntl
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from nightlab.cli import views
from nightlab.config import Settings, load_settings
from nightlab.errors import GitError, LedgerError, NightlabError, NotFoundError
from nightlab.git import Git
from nightlab.ledger import Ledger
from nightlab.ledger.mirrors import Mirrors
from nightlab.runner.order import RunFiles
from nightlab.takeover import take_over
from nightlab.types import Change, ChangeKind, Crashed, Finished, Metrics, Purpose
from tests.builders import Repo, conditions, powerless, shared_directory
from tests.report.stories import START, Story

BASE = (0.9980, 0.9985, 0.9982)
HOSTILE = "\x1b[31mred\x1b[0m [bold]x[/bold] | <b>\u202e"


def call(lab: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    views.register(parser.add_subparsers(required=True))
    args = parser.parse_args([words[0], "--lab", str(lab), *words[1:]])
    code: int = args.handler(args)
    return code


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo.make(tmp_path / "lab")


def tell(story: Story, settings: Settings) -> None:
    """Write a story into the lab's ledger, at its own times."""
    now = 0.0
    with Ledger.open(settings.database, clock=lambda: now) as ledger:
        for recorded in story.recorded:
            now = recorded.at
            ledger.append(recorded.event)


@pytest.fixture
def lab(repo: Repo) -> Story:
    """A lab with a baseline (1), a keep (2), a discard (3), a crash (4)."""
    settings = load_settings(repo.root)
    story = Story(settings)
    story.night(*BASE, ideas=3)
    story.idea("wins", 0.98, 0.981, hypothesis="less is more")
    story.idea(HOSTILE, 1.2)
    story.crash("too large")
    tell(story, settings)
    return story


def run_of(story: Story, number: int) -> str:
    return next(s for s in story.history.experiments.values() if s.number == number).runs[0].run.id


def parsed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


# --- status -----------------------------------------------------------------------------------------------------


def test_status_as_json_has_its_documented_keys(lab: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """Scripts read these keys; adding one is fine, losing one is not."""
    assert call(lab.settings.root, "status", "--json") == 0
    found = parsed(capsys)
    assert set(found) >= {
        "lab", "generated_at", "metric", "runs", "ideas", "baseline", "champion", "provisional", "noise", "night",
        "branch", "promotions", "expected_false_keeps", "cost", "active", "early",
    }  # fmt: skip
    assert found["runs"]["total"] == 7
    assert set(found["champion"]) >= {
        "experiment", "number", "description", "source_hash", "commit", "parent", "runs", "standing", "mean", "low",
        "high", "probability", "because", "gain_in_search", "gain_on_fresh_seeds",
    }  # fmt: skip
    assert set(found["champion"]["gain_in_search"]) == {"mean", "low", "high", "probability", "runs", "runs_against"}
    assert found["champion"]["standing"] == "proven"
    assert found["champion"]["gain_on_fresh_seeds"] is None


def test_status_says_what_is_best_and_how_sure(lab: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """One plain screen: no control characters when nobody looks at a terminal, nothing cut off."""
    call(lab.settings.root, "status")
    out = capsys.readouterr().out
    assert "champion   #2 wins  proven" in out
    assert "in the search: better than the baseline by 0.0" in out
    assert "ideas      3: 1 kept, 1 discarded, 1 crashed" in out
    assert "\x1b" not in out


def test_status_of_an_empty_lab_is_friendly(repo: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    """No database yet is no error, and none is made by looking."""
    assert call(repo.root, "status") == 0
    said = capsys.readouterr()
    assert "nothing has run yet" in said.out
    assert "nightlab run" in said.err
    for command in (["runs"], ["runs", "--json"], ["status", "--json"]):
        assert call(repo.root, *command) == 0
    assert not (repo.root / "results").exists()


def test_a_night_that_nobody_works_on_is_interrupted(lab: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """The ledger knows a night as running until it ends; status looks at who holds the loop's lease."""
    lock = lab.settings.results / "loop.lock"
    lock.write_text("")
    call(lab.settings.root, "status", "--json")
    assert parsed(capsys)["night"]["state"] == "interrupted"
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        call(lab.settings.root, "status", "--json")
        assert parsed(capsys)["night"]["state"] == "running"


def test_status_names_the_branch_that_promotions_really_go_to(
    lab: Story, repo: Repo, capsys: pytest.CaptureFixture[str]
) -> None:
    """A branch that somebody has checked out is never moved: promotions go beside it."""
    repo.git("checkout", "--quiet", "-b", "autoresearch/nightlab")
    call(lab.settings.root, "status", "--json")
    assert parsed(capsys)["branch"] == "autoresearch/nightlab-lab"


def test_views_work_where_nothing_can_be_written() -> None:
    """A lab on a read-only disk can be looked at."""
    with shared_directory() as place:
        repo = Repo.make(place / "lab")
        story = Story(load_settings(repo.root))
        story.night(*BASE)
        tell(story, story.settings)
        story.settings.results.chmod(0o555)
        looks = (["status"], ["runs"], ["show", "1"])
        for command in looks:  # once with all rights: what Python imports on the way may lie where nobody else may read
            assert call(repo.root, *command) == 0
        with powerless():
            for command in looks:
                assert call(repo.root, *command) == 0
            with pytest.raises(LedgerError, match="cannot be written"):
                call(repo.root, "report")
        story.settings.results.chmod(0o755)


# --- runs -------------------------------------------------------------------------------------------------------


def test_runs_as_json(lab: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """Every run, oldest first, with its keys; moments are UTC text."""
    call(lab.settings.root, "runs", "--json")
    rows = parsed(capsys)
    assert [row["run"] for row in rows] == list(lab.history.runs)
    assert set(rows[0]) >= {
        "run", "experiment", "number", "seed", "metric", "outcome", "purpose", "source_hash", "parent", "commit",
        "decision", "description", "started_at", "ended_at", "wall_s", "cpu_s",
    }  # fmt: skip
    assert rows[0]["started_at"] == "2026-03-10T22:00:00Z"
    assert rows[-1]["metric"] is None


@pytest.mark.parametrize(
    ("options", "count"),
    [(["--outcome", "crashed"], 1), (["--limit", "2"], 2), (["--experiment", "2"], 2), (["--limit", "0"], 7),
     (["--experiment", "baseline", "--outcome", "crashed"], 0)],
)  # fmt: skip
def test_runs_can_be_narrowed(lab: Story, options: list[str], count: int, capsys: pytest.CaptureFixture[str]) -> None:
    """By outcome, by experiment, to the last few."""
    call(lab.settings.root, "runs", "--json", *options)
    assert len(parsed(capsys)) == count


def test_runs_as_text_are_one_line_each_and_safe(lab: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """Made for grep: a header, then a line a run; what ideas call themselves is shown and not obeyed."""
    call(lab.settings.root, "runs")
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 8
    assert "red [bold]x[/bold] | <b>" in out
    assert "\x1b" not in out
    assert "\u202e" not in out


@pytest.mark.parametrize(
    "words",
    [["runs", "--limit", "-1"], ["runs", "--outcome", "x"], ["report", "--since-hours", "-1"],
     ["report", "--since-hours", "nan"], ["show"]],
)  # fmt: skip
def test_senseless_arguments_are_usage_errors(repo: Repo, words: list[str]) -> None:
    """Exit code 2, as argparse has it."""
    with pytest.raises(SystemExit) as caught:
        call(repo.root, *words)
    assert caught.value.code == 2


# --- show -------------------------------------------------------------------------------------------------------


def test_show_by_every_kind_of_name(lab: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """Number, word, run, experiment, commit, hash, or the beginning of one."""
    e = lab.history.state(lab.history.champion).experiment if lab.history.champion else None
    assert e is not None
    names = ("2", "#2", "champion", run_of(lab, 2), run_of(lab, 2)[:-2], e.id, e.id[:8], e.commit[:7], e.source_hash)
    for name in names:
        call(lab.settings.root, "show", name, "--json")
        assert parsed(capsys)["experiment"] == e.id


def test_show_tells_everything(lab: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """Hypothesis, runs, verdicts in sentences, patch, the log's end, where the files lie."""
    files = RunFiles(lab.settings.runs / run_of(lab, 2))
    files.directory.mkdir(parents=True)
    files.log.write_bytes(b"\x1b[2Jstep 1\rstep 2\nval_bpb: 0.98\n\xff\n")
    call(lab.settings.root, "show", run_of(lab, 2))
    out = capsys.readouterr().out
    for words in ("#2 wins  keep  champion", "less is more", "0.980000", "keep against #1: better by", "+x = 2",
                  "step 2\n", "val_bpb: 0.98", str(files.directory)):  # fmt: skip
        assert words in out
    assert "\x1b" not in out
    assert "step 1" not in out


def test_show_a_crash_says_why(lab: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """The failure in one sentence; no log is no error."""
    call(lab.settings.root, "show", "4")
    assert "crashed on seed 42: RuntimeError: CUDA out of memory" in capsys.readouterr().out
    call(lab.settings.root, "show", "4", "--json")
    sheet = parsed(capsys)
    assert sheet["runs"][0]["metric"] is None
    assert sheet["verdicts"][0]["decision"] == "crash"
    assert set(sheet) >= {"experiment", "number", "description", "status", "hypothesis", "changes", "patch", "runs",
                          "verdicts", "commit", "parent", "source_hash"}  # fmt: skip


@pytest.fixture
def doubted(repo: Repo) -> Story:
    """A lab in which the only idea's first run is not believed."""
    settings = load_settings(repo.root)
    story = Story(settings)
    story.night(*BASE)
    name = story.experiment("shared", parent=story.history.champion)
    story.end(story.start(name), Finished(metrics=Metrics(primary=0.1)), conditions("others used the GPU"))
    tell(story, settings)
    return story


def test_show_tells_how_a_run_found_its_device(doubted: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """Readings in plain words, and why the value is not believed; all of it in JSON."""
    call(doubted.settings.root, "show", run_of(doubted, 2))
    out = capsys.readouterr().out
    assert "finished, not believed" in out
    assert f"{run_of(doubted, 2)} is not believed: others used the GPU" in out
    assert (
        "device: speed of the probe 10 before, 10 after; clock 1980 MHz; others used 25% of it; "
        "the value depends on its speed" in out
    )
    call(doubted.settings.root, "show", "2", "--json")
    (sheet,) = parsed(capsys)["runs"]
    assert sheet["conditions"]["trouble"] == "others used the GPU"
    assert sheet["conditions"]["before"] == {"speed": 10.0, "clock_mhz": 1980.0, "busy": 0.25}
    call(doubted.settings.root, "show", "1", "--json")
    assert parsed(capsys)["runs"][0]["conditions"] is None


def test_runs_mark_what_is_not_believed(doubted: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """In the table and in JSON; its value stays on view."""
    call(doubted.settings.root, "runs", "--experiment", "2")
    assert "finished, not believed" in capsys.readouterr().out
    call(doubted.settings.root, "runs", "--json")
    rows = parsed(capsys)
    assert [(row["speed"], row["trouble"]) for row in rows[-2:]] == [(None, ""), (10.0, "others used the GPU")]
    assert (rows[-1]["outcome"], rows[-1]["metric"]) == ("finished", 0.1)


def test_show_log_prints_all_of_it_safely(lab: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """The whole log without what a terminal would obey; an absent one is an error that says so."""
    files = RunFiles(lab.settings.runs / run_of(lab, 2))
    files.directory.mkdir(parents=True)
    files.log.write_text("".join(f"line {i}\n" for i in range(500)) + "\x1b]0;title\x07end\n")
    call(lab.settings.root, "show", run_of(lab, 2), "--log")
    out = capsys.readouterr().out
    assert out.startswith("line 0\n")
    assert out.endswith("line 499\nend\n")
    with pytest.raises(NotFoundError, match="has no log"):
        call(lab.settings.root, "show", "4", "--log")


@pytest.mark.parametrize(
    ("name", "message", "hint"),
    [("zzz", "is called 'zzz'", "nightlab runs"), ("champoin", "champoin", "did you mean champion"),
     ("2026", "means 7 things", "more of the name"), ("99", "'99'", "nightlab runs"), ("", "''", "nightlab runs")],
)  # fmt: skip
def test_unknown_names_are_answered(lab: Story, name: str, message: str, hint: str) -> None:
    """What was not found, and what may have been meant."""
    with pytest.raises(NotFoundError, match=message) as caught:
        call(lab.settings.root, "show", name)
    assert hint in caught.value.hint


# --- diff -------------------------------------------------------------------------------------------------------


@pytest.fixture
def edited(repo: Repo) -> Story:
    """A lab whose experiments are real commits: LR 0.1 (1), 0.2 (2, kept), 0.3 (3)."""
    settings = load_settings(repo.root)
    git, story = Git(repo.root), Story(settings)
    head = git.head()
    kept = git.commit(git.tree_with(head, {"train.py": "LR = 0.2\n"}), head, "LR 0.2")
    lost = git.commit(git.tree_with(kept, {"train.py": "LR = 0.3\n"}), kept, "LR 0.3")
    story.night(*BASE, commit=head)
    story.idea("LR 0.2", 0.98, 0.981, commit=kept)
    story.idea("LR 0.3", 1.2, commit=lost)
    tell(story, settings)
    return story


def diff(lab: Path, capfdbinary: pytest.CaptureFixture[bytes], *names: str) -> bytes:
    assert call(lab, "diff", *names) == 0
    return capfdbinary.readouterr().out


def test_diff_without_names_goes_from_baseline_to_champion(
    edited: Story, repo: Repo, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    """And what it prints is a patch that git takes."""
    patch = diff(repo.root, capfdbinary)
    assert b"-LR = 0.1\n+LR = 0.2\n" in patch
    subprocess.run(["git", "apply"], cwd=repo.root, input=patch, check=True)
    assert (repo.root / "train.py").read_text() == "LR = 0.2\n"


def test_diff_with_names(edited: Story, repo: Repo, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """One: from its parent. Two: from the first to the second. The same: nothing, and that is said on stderr."""
    assert b"-LR = 0.2\n+LR = 0.3\n" in diff(repo.root, capfdbinary, "3")
    assert b"-LR = 0.3\n+LR = 0.1\n" in diff(repo.root, capfdbinary, "3", "baseline")
    assert diff(repo.root, capfdbinary, "3", "3") == b""


def test_diff_falls_back_to_the_stored_patch(lab: Story, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    """Where git has lost the commits the ledger still has every step from a parent; other pairs are an error."""
    assert b"+x = 3" in diff(lab.settings.root, capfdbinary, "3")
    with pytest.raises(GitError):
        call(lab.settings.root, "diff", "3", "4")


def test_diff_before_anything_is_an_error_with_a_hint(repo: Repo) -> None:
    """There is no champion in an empty lab."""
    with pytest.raises(NotFoundError, match="no champion yet"):
        call(repo.root, "diff")


# --- report -----------------------------------------------------------------------------------------------------


def test_report_prints_a_line_for_each_file(lab: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """`Wrote report to <path>`, latest.md first; a chart that was asked for is told on stderr."""
    assert call(lab.settings.root, "report", "--figures") == 0
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert len(lines) == 2
    assert all(line.startswith("Wrote report to ") for line in lines)
    assert Path(lines[0].removeprefix("Wrote report to ")).read_text().startswith("# Morning Report")
    assert "progress.png" in said.err
    assert f"all figures in {Mirrors(lab.settings.root).reports / 'figures'}" in said.err


def test_figures_and_one_file_only_exclude_each_other(lab: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither is parsed and then ignored: the command says which two do not go together, and writes nothing."""
    with pytest.raises(SystemExit):
        call(lab.settings.root, "report", "--figures", "--output", "x.md")
    assert "not allowed with argument --figures" in capsys.readouterr().err
    assert not Mirrors(lab.settings.root).reports.exists()


def test_report_into_one_file(lab: Story, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That file alone, its directories made, without a link to a chart that is not there."""
    target = tmp_path / "a" / "b" / "morning.md"
    assert call(lab.settings.root, "report", "--output", str(target), "--since-hours", "8") == 0
    assert capsys.readouterr().out == f"Wrote report to {target}\n"
    assert "Window: last 8 hours" in target.read_text()
    assert "progress.png" not in target.read_text()
    assert not Mirrors(lab.settings.root).reports.exists()


def test_a_report_into_a_page_is_a_page(lab: Story, tmp_path: Path) -> None:
    """The name of the file says what it is to be, unless --format does."""
    for name, words, begins in (
        ("a.html", [], "<!doctype"),
        ("b.md", [], "# Morning"),
        ("c", ["--format", "html"], "<!d"),
    ):
        assert call(lab.settings.root, "report", "--output", str(tmp_path / name), *words) == 0
        assert (tmp_path / name).read_text().startswith(begins)


def test_report_as_json_writes_nothing(lab: Story, capsys: pytest.CaptureFixture[str]) -> None:
    """What the report says, for a program."""
    assert call(lab.settings.root, "report", "--json", "--since-hours", "999999") == 0
    found = parsed(capsys)
    assert found["findings"]["summary"]["champion"]["number"] == 2
    assert [one["number"] for one in found["findings"]["kept"]] == [2]
    assert found["next_steps"]
    assert not Mirrors(lab.settings.root).reports.exists()


def test_a_directory_that_is_no_lab_is_an_error(tmp_path: Path) -> None:
    """Every view names what is missing."""
    for words in (["status"], ["runs"], ["show", "1"], ["diff"], ["report"]):
        with pytest.raises(NightlabError) as caught:
            call(tmp_path, *words)
        assert caught.value.hint


def test_change_lists_are_shown(repo: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    """What an emitter changed stands in one line, old and new."""
    settings = load_settings(repo.root)
    story = Story(settings)
    story.night(*BASE)
    change = Change(kind=ChangeKind.KNOB, name="LR", old="0.1", new="0.2")
    name = story.experiment("raise LR", parent=story.history.champion, changes=(change,))
    story.end(story.start(name, Purpose.IDEA), Crashed(summary="x"))
    tell(story, settings)
    call(repo.root, "show", "2")
    assert "LR 0.1 -> 0.2" in capsys.readouterr().out


def test_a_run_of_another_ledger_can_be_looked_at(repo: Repo, capsys: pytest.CaptureFixture[str]) -> None:
    """`show` finds it by the beginning of its name; `runs` says that there are more, and how to see them."""
    repo.write({"old.tsv": "commit\tval_bpb\tmemory_gb\tstatus\tdescription\nabc1234\t0.98\t1.0\tkeep\tdepth 10\n"})
    take_over(load_settings(repo.root), [str(repo.root / "old.tsv")], ranked=True, now=START)
    with Ledger.read(repo.root / "results" / "nightlab" / "lab.db") as ledger:
        (record,) = ledger.records.all()
    capsys.readouterr()
    assert call(repo.root, "show", record.run) == 0
    assert "depth 10" in capsys.readouterr().out
    assert call(repo.root, "show", record.run, "--json") == 0
    assert parsed(capsys)["value"] == 0.98
    with pytest.raises(NotFoundError, match="no log here"):
        call(repo.root, "show", record.run, "--log")
    capsys.readouterr()
    for name in ("abc1234", "champion"):
        assert call(repo.root, "show", name) == 0
        assert "depth 10" in capsys.readouterr().out
    assert call(repo.root, "runs") == 0
    assert "1 more told by other ledgers" in capsys.readouterr().err
