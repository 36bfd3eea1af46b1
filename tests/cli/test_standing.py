"""`next`, `replicate`, `compare`, and what `log`, `status` and `report` say of something that is not proven."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from nightlab.config import load_settings
from nightlab.ledger import Ledger
from nightlab.loop import lease
from nightlab.mirroring import compare
from nightlab.types import Imported, Metrics, RunId
from tests.builders import EPOCH, Repo
from tests.memories import Memory, Said

SCRIPT = """\
import os
LR = 0.1
seed = int(os.environ["AUTORESEARCH_SEED"])
print("loss:", 1 + LR + seed % 7 * 1e-4)
"""
TOML = """\
command = "python train.py"
protected = []
[metric]
name = "loss"
[judge]
final_runs = 0
baseline_runs = 4
"""


@pytest.fixture
def lab(tmp_path: Path) -> Memory:
    """A lab whose runs take no time."""
    Repo.make(tmp_path / "lab", {"train.py": SCRIPT, "nightlab.toml": TOML})
    return Memory(tmp_path / "lab")


def log(lab: Memory, rate: float, value: float, *words: str, status: str = "keep") -> Said:
    """Edit the source and log a value for it."""
    (lab.root / "train.py").write_text(SCRIPT.replace("LR = 0.1", f"LR = {rate}"))
    (lab.root / "summary.json").write_text(json.dumps({"loss": value}))
    return lab("log", "--description", f"LR {rate}", "--status", status, "--summary", "summary.json", *words)


def packet(said: Said) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(said.out)["decision_packet"]
    return found


def champion(lab: Memory) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(lab.registry.read_text())["champion"]
    return found


def parsed(said: Said) -> Any:
    assert said.code == 0, said.err
    return json.loads(said.out)


# --- log --------------------------------------------------------------------------------------------------------


def test_a_hand_logged_keep_is_called_provisional_everywhere(lab: Memory) -> None:
    """Packet line, packet files and registry say it, with what is lacking; the run's own value stays."""
    said = log(lab, 0.05, 1.05)
    line = next(line for line in said.out.splitlines() if line.startswith("Decision packet: "))
    assert re.fullmatch(r"Decision packet: action=promote priority=high summary=.*; not proven yet: 2 more runs", line)
    (directory,) = (lab.store / "runs").iterdir()
    told = json.loads((directory / "decision_packet.json").read_text())
    assert (told["standing"], told["probability"], told["runs_needed"]) == ("provisional", None, 2)
    assert "- Standing: provisional, needs 2 more runs\n" in (directory / "decision_packet.md").read_text()
    best = champion(lab)
    assert (best["standing"], best["probability"], best["runs_needed"], best["val_bpb"]) == (
        "provisional", None, 2, 1.05
    )  # fmt: skip


def test_what_is_not_kept_has_no_standing(lab: Memory) -> None:
    """Neither a discard nor a crash is on its way to be a champion."""
    for words in ((0.5, 1.5, "--json"), (0.6, 1.6, "--json", "--error", "boom")):
        rate, value, *rest = words
        status = "crash" if "boom" in rest else "discard"
        found = packet(log(lab, float(rate), float(value), *map(str, rest), status=status))
        assert (found["standing"], found["probability"], found["runs_needed"]) == (None, None, None)
        assert "not proven" not in found["summary"]


def test_beside_a_proven_champion_a_keep_has_a_probability(lab: Memory) -> None:
    """Once the lab knows its noise it says how likely the value is noise, and what would prove it."""
    assert lab("run", "--runs", "0").code == 0
    likely = packet(log(lab, 0.05, 1.05, "--json"))
    assert likely["standing"] == "provisional"
    assert likely["probability"] > 0.9
    assert likely["runs_needed"] == 2
    best = champion(lab)
    assert best["probability"] == likely["probability"]
    assert best["runs_needed"] == 2


def test_a_forecast_that_has_aged_is_no_damage(lab: Memory) -> None:
    """Runs of the lab's change it before they are records; what else is changed in the registry is still found."""
    lab("run", "--runs", "0")
    log(lab, 0.05, 1.05)
    settings = load_settings(lab.root)
    text = lab.registry.read_text()
    found = []
    for old, new in (('"runs_needed": 2', '"runs_needed": 3'), ('"val_bpb": 1.05', '"val_bpb": 1.04')):
        assert old in text
        lab.registry.write_text(text.replace(old, new))
        with Ledger.read(lab.database) as ledger:
            found.append(compare(ledger, settings, EPOCH).wrong)
    assert found == [(), ("champion_challenger.json says something else than the ledger",)]


# --- replicate --------------------------------------------------------------------------------------------------


def test_replicate_proves_a_hand_logged_keep(lab: Memory) -> None:
    """It runs, it is judged, it is the champion; every door says so from then on."""
    log(lab, 0.05, 1.05)
    said = lab("replicate", "provisional", "--seeds", "2")
    assert said.code == 0, said.err
    first, second = said.out.splitlines()
    assert re.match(r"#1 e[0-9a-f]{12} keep: better by 0\.0\d+ .*; 2 runs against 4$", first)
    assert second == "kept: it is the proven champion now, and the tip of autoresearch/nightlab"
    best = champion(lab)
    assert (best["standing"], best["runs_needed"], best["val_bpb"]) == ("proven", 0, 1.05)
    status = parsed(lab("status", "--json"))
    assert (status["champion"]["number"], status["champion"]["standing"]) == (1, "proven")
    assert status["champion"]["runs_needed"] == 0
    assert status["provisional"] is None
    assert status["ideas"] == {"tried": 1, "kept": 1, "discarded": 0, "crashed": 0, "undecided": 0}


def test_replicates_that_do_not_prove_it(lab: Memory) -> None:
    """A value that was luck is discarded; its author's word stays on record and is offered no more."""
    log(lab, 0.3, 1.05)
    said = lab("replicate", "champion")
    assert said.code == 0
    assert " discard: " in said.out
    assert parsed(lab("status", "--json"))["provisional"] is None
    assert [todo["what"] for todo in parsed(lab("next", "--json"))["todo"]] == ["night"]
    best = champion(lab)
    assert (best["standing"], best["val_bpb"], best["runs_needed"]) == ("provisional", 1.05, None)
    assert best["probability"] < 0.5


def test_replicating_the_champion_gives_no_verdict(lab: Memory) -> None:
    """Values and seeds, and why there is nothing to judge."""
    lab("run", "--runs", "0")
    said = lab("replicate", "champion", "--seeds", "1")
    assert said.code == 0
    assert re.match(r"#1 e\w+: loss 1\.\d+ on seed 46; no verdict: it is what the night is measured against", said.out)


def test_while_a_night_runs_it_says_what_to_do(lab: Memory) -> None:
    """Nothing is started; also in the background, where nobody would see the error."""
    log(lab, 0.05, 1.05)
    with lease(load_settings(lab.root)):
        for words in ((), ("--no-wait",)):
            said = lab("replicate", "provisional", *words)
            assert said.code == 1
            assert "another process" in said.err
            assert "wait for its end, or stop it there" in said.err
    assert not (lab.database.parent / "background.log").exists()


@pytest.mark.parametrize("seeds", ["0", "-1", "two", "1.5", "100000"])
def test_seeds_that_are_none(lab: Memory, seeds: str) -> None:
    said = lab("replicate", "champion", f"--seeds={seeds}")
    assert said.code == 2
    assert "is no number of seeds" in said.err


# --- next -------------------------------------------------------------------------------------------------------


def test_next_offers_what_is_not_proven_first(lab: Memory) -> None:
    """The reason and the command stand on the screen; the JSON holds the seeds."""
    log(lab, 0.05, 1.05)
    said = lab("next")
    assert said.code == 0, said.err
    lines = [line.strip() for line in said.out.splitlines()]
    assert lines[0].startswith("1. replicate #1 LR 0.05")
    assert "not proven yet and needs 2 more runs" in lines[1]
    assert lines[2] == "nightlab replicate 1 --seeds 2"
    assert lines[-1] == "nightlab run --runs 20"
    found = parsed(lab("next", "--json"))
    assert set(found) == {"lab", "champion", "todo", "idea"}
    assert set(found["todo"][0]) == {
        "what", "command", "why", "experiment", "number", "description", "runs", "seeds", "probability",
    }  # fmt: skip
    assert found["todo"][0]["seeds"] == [42, 43]


def test_next_in_an_empty_lab(lab: Memory) -> None:
    """Nothing is made, and what to do is said."""
    said = lab("next")
    assert said.code == 0
    assert "no night has run yet" in said.out
    assert not lab.database.exists()


def test_next_while_a_night_runs(lab: Memory) -> None:
    lab("run", "--runs", "0")
    with lease(load_settings(lab.root)):
        assert "a night is under way" in lab("next").out


# --- status and report ------------------------------------------------------------------------------------------


def test_both_champions_are_named_where_they_differ(lab: Memory) -> None:
    """The search builds on the proven one; the provisional one stands beside it with what it needs."""
    lab("run", "--runs", "0")
    log(lab, 0.05, 1.05)
    said = lab("status")
    assert "proven (the baseline" in said.out
    assert "by hand" in said.out
    assert re.search(r"needs 2 more runs; if its value is right, .*chance in [\d,]+ of being noise", said.out)
    status = parsed(lab("status", "--json"))
    assert (status["champion"]["number"], status["provisional"]["number"]) == (1, 2)
    assert status["provisional"]["runs_needed"] == 2
    assert status["provisional"]["probability"] > 0.9
    lab("report", "--output", "report.md")
    report = (lab.root / "report.md").read_text()
    assert re.search(r"- Standing of that champion: provisional, needs 2 more runs, .*; the value is", report)
    assert re.search(r"Known by its author's word and not proven: `#2` .*; needs 2 more runs; if", report)
    assert "`nightlab replicate 2 --seeds 2`" in report


# --- compare ----------------------------------------------------------------------------------------------------


def test_compare_prints_pairs_difference_and_words(lab: Memory) -> None:
    """Seed by seed, then the difference with its interval, the probability, and one sentence."""
    log(lab, 0.05, 1.05)
    lab("replicate", "1")
    said = lab("compare", "champion", "baseline")
    assert said.code == 0, said.err
    assert re.search(r"^ *42 +1\.05 +1\.1 +-0\.05", said.out, re.MULTILINE)
    assert "not counted: its author's word" in said.out
    assert re.search(r"difference A - B +-0\.05\d* +95 % interval -0\.\d+ to -0\.0\d+", said.out)
    assert "not shrunk" in said.out
    assert re.search(r"#1 is better than #2 by 0\.05\d* loss \(95 % interval .*\), .*of being noise", said.out)
    found = parsed(lab("compare", "1", "2", "--json"))
    assert set(found) == {
        "metric", "direction", "a", "b", "pairs", "unpaired", "difference", "low", "high", "probability", "sentence",
    }  # fmt: skip
    assert [pair["seed"] for pair in found["pairs"]] == [42, 43]


def test_what_another_ledger_told_is_not_compared(lab: Memory) -> None:
    """One value without seed or source; whether it is ranked is said as well."""
    lab("run", "--runs", "0")
    names = (RunId("20260311T043000Z-abc1234"), RunId("20260312T043000Z-abd1234"))
    with Ledger.open(lab.database) as ledger:
        for name, ranked in zip(names, (True, False), strict=True):
            ledger.append(
                Imported(run=name, origin="x", digest=name, status="keep", at=EPOCH, commit=name[-7:],
                         metrics=Metrics(primary=1.0), ranked=ranked)
            )  # fmt: skip
    for name, words in zip(names, ("told by another ledger:", "made under other conditions"), strict=True):
        said = lab("compare", "champion", name)
        assert said.code == 2
        assert words in said.err
        assert "nightlab try" in said.err
    said = lab("compare", "champion", "nobody")
    assert said.code == 1
    assert "no run or experiment is called" in said.err


# --- run --mode -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("words", "mode"), [((), "exploit"), (("--mode", "explore"), "explore")])
def test_a_night_remembers_its_mode(lab: Memory, words: tuple[str, ...], mode: str) -> None:
    """It is on record with the night, so that a night that goes on judges as it began."""
    assert lab("run", "--runs", "0", *words).code == 0
    with Ledger.read(lab.database) as ledger:
        assert [night.began.mode for night in ledger.history().nights] == [mode]
    assert parsed(lab("status", "--json"))["night"]["mode"] == mode
    assert ("exploring" in lab("status").out) is (mode == "explore")
