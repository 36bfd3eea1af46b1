"""results/discovery: files that follow the ledger, whatever somebody does to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nightlab.agent.workbench import mirrored
from nightlab.config import Settings, load_settings
from nightlab.discovering import Places, catch_up
from nightlab.errors import LedgerError
from nightlab.memory import open_ledger
from tests.builders import EPOCH, Repo, powerless, shared_directory
from tests.cli.shell import Shell
from tests.search.histories import Story, crash, knob

LR = knob("MATRIX_LR", "0.04", "0.05")


def tell(settings: Settings, story: Story, since: int = 0) -> None:
    """Record a story's events, from the `since`-th on."""
    with open_ledger(settings) as ledger:
        ledger.append(*story.events[since:])


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(Repo.make(tmp_path / "lab").root)


def lines(settings: Settings) -> list[dict[str, object]]:
    return [json.loads(line) for line in Places(settings.root).events.read_text().splitlines()]


def test_a_lab_that_has_done_nothing_has_no_files(settings: Settings) -> None:
    """Nothing is made before there is something to tell."""
    catch_up(settings, EPOCH)
    assert not Places(settings.root).directory.exists()


def test_every_plan_and_every_review_is_one_line_for_ever(settings: Settings) -> None:
    """events.jsonl only grows: what was written stays byte for byte, and nothing is written twice."""
    story = Story().idea("b", LR)
    tell(settings, story)
    catch_up(settings, EPOCH)
    catch_up(settings, EPOCH + 60)
    before = Places(settings.root).events.read_bytes()
    kinds = [line["event"] for line in lines(settings)]
    assert kinds == ["experiment_recorded", "plan_selected", "experiment_recorded"]
    told = len(story.events)
    tell(settings, story.idea("c", LR, outcome=crash()), told)
    catch_up(settings, EPOCH + 120)
    after = Places(settings.root).events.read_bytes()
    assert after.startswith(before)
    assert len(lines(settings)) == 5


def test_the_state_is_what_the_ledger_says_and_is_not_rewritten_for_its_stamp(settings: Settings) -> None:
    """state.json is sorted and follows the ledger; a second time with nothing new leaves it untouched."""
    tell(settings, Story().idea("b", LR))
    catch_up(settings, EPOCH)
    places = Places(settings.root)
    state = json.loads(places.state.read_text())
    assert (state["experiment_count"], state["phase"]) == (2, "explore")
    assert list(state) == sorted(state)
    assert json.loads(places.plan.read_text()) == {}
    assert places.review.read_text().startswith("Discovery review:\n")
    before = places.state.stat().st_mtime_ns
    catch_up(settings, EPOCH + 60)
    assert places.state.stat().st_mtime_ns == before


def test_a_plan_in_the_file_is_gone_when_its_run_has_ended(settings: Settings) -> None:
    """current_plan.json is cleared together with the state's, so that no plan is taken for the next run's."""
    before, story = len(Story().events), Story().idea("b", LR)
    with open_ledger(settings) as ledger:
        ledger.append(*story.events[: before + 1])
    catch_up(settings, EPOCH)
    places = Places(settings.root)
    assert json.loads(places.plan.read_text())["emitter"] == "local_tuner"
    with open_ledger(settings) as ledger:
        ledger.append(*story.events[before + 1 :])
    catch_up(settings, EPOCH)
    assert json.loads(places.plan.read_text()) == {}
    assert json.loads(places.state.read_text())["current_plan"] is None


def test_what_was_said_of_autonomy_stays(settings: Settings) -> None:
    """autonomy_enabled and its reason are a user's word in state.json and are kept."""
    tell(settings, Story())
    places = Places(settings.root)
    places.directory.mkdir(parents=True)
    places.state.write_text('{"autonomy_enabled": true, "autonomy_reason": "go on", "phase": "setup"}')
    catch_up(settings, EPOCH)
    state = json.loads(places.state.read_text())
    assert (state["autonomy_enabled"], state["autonomy_reason"], state["phase"]) == (True, "go on", "explore")


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"autonomy_enabled": "maybe"}', "\xff\x00"])
def test_a_torn_state_is_written_anew(settings: Settings, text: str) -> None:
    """A state that cannot be read is replaced, with autonomy off."""
    tell(settings, Story())
    places = Places(settings.root)
    places.directory.mkdir(parents=True)
    places.state.write_bytes(text.encode("latin-1"))
    catch_up(settings, EPOCH)
    assert json.loads(places.state.read_text())["autonomy_enabled"] is False


def test_a_torn_line_loses_nobody_anything(settings: Settings) -> None:
    """After half a line the next event begins on a line of its own, and what was lost is written again."""
    tell(settings, Story().idea("b", LR))
    catch_up(settings, EPOCH)
    path = Places(settings.root).events
    path.write_bytes(path.read_bytes()[:-600])
    catch_up(settings, EPOCH)
    whole = [line for line in path.read_text().splitlines() if line.endswith("}")]
    names = [json.loads(line)["experiment"]["experiment_id"] for line in whole if '"experiment_recorded"' in line]
    assert sorted(names) == ["-a", "-b"]


def test_repair_brings_lost_files_back(settings: Settings) -> None:
    """`doctor --repair` makes all four files again."""
    tell(settings, Story().idea("b", LR))
    Shell(settings.root).at_lab("doctor", "--repair")
    places = Places(settings.root)
    assert all(path.is_file() for path in (places.state, places.events, places.plan, places.review))


def test_the_end_of_a_command_that_runs_writes_them(settings: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """What `run`, `try` and `replicate` have done is in the files when they end; a file that refuses ends no night."""
    places = Places(settings.root)
    with mirrored(settings):
        tell(settings, Story())
    assert places.state.is_file()
    places.state.unlink()
    places.state.mkdir()
    with mirrored(settings):
        pass
    assert "note:" in capsys.readouterr().err


def test_a_run_that_was_logged_by_hand_has_its_authors_words(settings: Settings) -> None:
    """The commit that was checked out, its branch, and an author's keep counts as an improvement."""
    shell = Shell(settings.root)
    shell.log("raise LR", "keep", 0.99)
    catch_up(settings, EPOCH)
    places = Places(settings.root)
    state = json.loads(places.state.read_text())
    (row,) = state["recent_experiments"]
    head = Repo(settings.root).git("rev-parse", "HEAD")
    assert (row["commit"], row["branch"], row["description"]) == (head[:7], "main", "raise LR")
    assert state["emitter_stats"]["local_tuner"]["improvements"] == 1
    assert (state["best_val_bpb"], state["results_tsv_exists"]) == (0.99, True)


def test_a_disk_that_refuses_is_said(settings: Settings) -> None:
    """Where the files cannot be written it says which and what to do; the ledger has everything."""
    with shared_directory() as shared:
        lab = load_settings(Repo.make(shared / "lab").root)
        story = Story()
        begun = len(story.events)
        tell(lab, story)
        catch_up(lab, EPOCH)
        tell(lab, story.idea("b", LR), begun)
        places = Places(lab.root)
        for path in lab.root.rglob("*"):
            path.chmod(0o777)
        places.directory.chmod(0o555)
        with powerless(), pytest.raises(LedgerError) as caught:
            catch_up(lab, EPOCH)
        assert "results/discovery" in str(caught.value)
        assert caught.value.hint
