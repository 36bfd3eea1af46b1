"""`nightlab simulate`: what it prints is what its page says, and what it cannot use it refuses at once."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from nightlab.cli.simulate import COLUMNS, POLICIES
from nightlab.sim.replay import LEAST
from tests.cli.shell import Said, Shell

PAGE = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text(encoding="utf-8")
FEW = ("--nights", "2", "--slots", "6")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    return Shell.make(tmp_path_factory.mktemp("simulate") / "lab")


@pytest.fixture(scope="module")
def rows(shell: Shell) -> list[dict[str, object]]:
    said = shell("simulate", "--json", *FEW)
    assert (said.code, said.err) == (0, "")
    found = said.json
    assert isinstance(found, list)
    return found


def documented() -> list[str]:
    """The fields that the page tells of, in its order."""
    table = PAGE.partition("## What comes out")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)


def test_json_is_what_the_page_says(rows: list[dict[str, object]]) -> None:
    """One list, a row for each policy in the order asked for; each number but `nights` has its error beside it."""
    assert [row["policy"] for row in rows] == list(POLICIES)
    numbers = [name for name in documented() if name not in ("policy", "nights")]
    for row in rows:
        assert sorted(row) == sorted(["policy", "nights", *numbers, *(f"{name}_se" for name in numbers)])
        assert row["nights"] == 2
        for name in numbers:
            value, error = row[name], row[f"{name}_se"]
            assert (value is None) == (error is None)
            if value is not None:
                assert isinstance(value, int | float)
                assert isinstance(error, int | float)
                assert math.isfinite(value)
                assert error >= 0.0
    assert all(row["coverage"] is None for row in rows if row["policy"] != "nightlab")


def test_the_same_seed_says_the_same(shell: Shell, rows: list[dict[str, object]]) -> None:
    """A policy's rows do not depend on the others, nor on the time of day; another seed gives other nights."""
    some = ("simulate", "--json", *FEW, "--policies", "greedy, memorylab")
    assert shell(*some).json == [row for row in rows if row["policy"] in ("greedy", "memorylab")]
    assert shell(*some, "--seed", "1").json != shell(*some).json


def test_the_table_has_its_columns(shell: Shell) -> None:
    """A title with world, nights and slots; a line for each policy, every number with its error."""
    said = shell("simulate", *FEW, "--policies", "nightlab,greedy")
    assert said.code == 0
    assert "reference: 2 nights of 6 slots" in said.out
    (head,) = (line for line in said.lines if "policy" in line)
    assert [cell.strip() for cell in re.split("[┃│|]", head) if cell.strip()] == list(COLUMNS)
    body = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.lines if line.startswith("│")]
    assert [cells[0] for cells in body] == ["nightlab", "greedy"]
    assert all(cell == "-" or "±" in cell for cells in body for cell in cells[1:])
    assert all(len(cells) == len(COLUMNS) for cells in body)


def test_the_examples_of_the_help_name_options_that_are_there(shell: Shell) -> None:
    """Each option of the page is in the help, and each option of the help on the page."""
    told = set(re.findall(r"^\| `(--\w+)(?: \w+)?` \|", PAGE, re.MULTILINE))
    known = set(re.findall(r"(--\w+)", shell("simulate", "--help").out)) - {"--help"}
    assert told == known


def wrong(said: Said, *words: str, code: int = 1) -> None:
    """Refused: 2 for what was typed, 1 for what was found."""
    assert said.code == code
    assert said.out == ""
    for word in words:
        assert word in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--policies", "greedy,gready"], "no policy is called gready"),
        (["--policies", ","], "no policy is called (none)"),
        (["--nights", "1"], "at least 2 nights"),
        (["--nights", "some"], "'some' is no whole number"),
        (["--slots", "2"], "between 3 and 10000 slots"),
        (["--slots", "nan"], "between 3 and 10000 slots"),
        (["--slots", "all"], "between 3 and 10000 slots"),
        (["--seed", "-1"], "a seed is 0 or more"),
        (["--figure", "night.gif"], "names no kind of figure"),
        (["--figure", "/nowhere/at/all.svg"], "there is no directory /nowhere/at"),
        (["--world", "refrence"], "there is no world called refrence"),
        (["--world", "/nowhere/w.toml"], "is no world"),
        (["--world", "/nowhere/r.tsv"], "cannot be read"),
        (["--convert", "one.tsv"], "--convert needs what to read and where to write"),
    ],
)
def test_what_it_cannot_use_it_refuses(shell: Shell, options: list[str], said: str) -> None:
    """Before a single night, in one sentence."""
    wrong(shell("simulate", *options), said, code=1 if options[0] == "--world" else 2)


def test_a_bad_world_is_said_to_be_one(shell: Shell, tmp_path: Path) -> None:
    """With the key that is amiss."""
    path = tmp_path / "w.toml"
    path.write_text('name = "w"\nnoise.dirft = 1.0\n')
    wrong(shell("simulate", "--world", str(path)), str(path), "dirft", "docs/simulate.md")


def test_a_lab_without_history_is_no_world(shell: Shell) -> None:
    """It says what is missing, and what else there is to simulate."""
    wrong(shell.at_lab("simulate", "--world", "ledger"), "has judged 0 ideas", "--world reference")


def test_a_world_of_ones_own(shell: Shell, tmp_path: Path) -> None:
    """A file's world, of its own length and units."""
    path = tmp_path / "w.toml"
    path.write_text('name = "mine"\nslots = 5\nunit = 0.01\ndirection = "maximize"\neffects.helps = 1.0\n')
    said = shell("simulate", "--world", str(path), "--nights", "2", "--policies", "greedy")
    assert "mine: 2 nights of 5 slots" in said.out
    assert said.code == 0


def test_reruns_become_a_replay_that_can_be_played(shell: Shell, tmp_path: Path) -> None:
    """--convert makes the file, --world plays it: whatever is kept there is false."""
    source, target = tmp_path / "reruns.tsv", tmp_path / "replay.tsv"
    values = [0.9 + 0.001 * (7 * place % 11) for place in range(LEAST)]
    source.write_text("val_bpb\tnum_steps\n" + "".join(f"{value}\t900\n" for value in values))
    said = shell("simulate", "--convert", str(source), str(target))
    assert (said.code, said.out) == (0, f"Wrote {LEAST} runs to {target}\n")
    wrong(shell("simulate", "--convert", str(source), str(target)), "is there already")
    played = shell("simulate", "--world", str(target), "--nights", "4", "--policies", "greedy", "--json").json
    assert isinstance(played, list)
    assert (played[0]["false_share"], played[0]["true_gain"]) == (1.0, 0.0)
    assert played[0]["ideas"] == LEAST - 1


@pytest.mark.parametrize("kind", ["svg", "png", "pdf"])
def test_a_figure_is_drawn(shell: Shell, tmp_path: Path, kind: str) -> None:
    """In the format that its name asks for; what is printed stays what it was."""
    path = tmp_path / f"night.{kind}"
    said = shell("simulate", *FEW, "--policies", "greedy,threshold", "--json", "--figure", str(path))
    assert said.code == 0
    assert isinstance(said.json, list)
    begins = {"svg": b"<?xml", "png": b"\x89PNG", "pdf": b"%PDF"}
    assert path.read_bytes().startswith(begins[kind])
    if kind == "svg":
        assert "false promotions" in path.read_text(encoding="utf-8")
