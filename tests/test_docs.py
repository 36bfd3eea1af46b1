"""What the documentation says of commands, columns and fields is what the code has."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from nightlab.cli.main import build_parser
from nightlab.judge.packets import NextAction
from nightlab.ledger import Ledger
from nightlab.ledger.schema import VIEWS
from nightlab.ledger.surface import ChampionRow, ExperimentRow, PacketRow, RegistryRow
from nightlab.search.novelty import Category, Mode, Policy, Relation, policy

if TYPE_CHECKING:
    import msgspec

TEXT = (Path(__file__).parents[1] / "docs" / "memory.md").read_text(encoding="utf-8")


def section(heading: str) -> str:
    """The text under a heading, up to the next."""
    found = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def words(text: str) -> set[str]:
    return set(re.findall(r"`([^`]+)`", text))


def flags(command: str) -> set[str]:
    """The long options of a command."""
    parser = build_parser()
    (subs,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    actions = subs.choices[command]._actions
    return {option for action in actions for option in action.option_strings if option.startswith("--")} - {"--help"}


@pytest.mark.parametrize("command", ["check", "log", "report"])
def test_every_flag_is_told_and_none_is_invented(command: str) -> None:
    """The table of a command names its flags."""
    table = "\n".join(line.split("|")[1] for line in section(command).splitlines() if line.startswith("| `--"))
    assert words(table) == flags(command)


@pytest.mark.parametrize("command", ["check", "log", "report"])
def test_both_doors_have_the_same_flags(command: str) -> None:
    """`memorylab.py X` takes what `nightlab X` takes."""
    parser = build_parser()
    (subs,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
    (inner,) = (a for a in subs.choices["memory"]._actions if isinstance(a, argparse._SubParsersAction))
    found = {o for a in inner.choices[command]._actions for o in a.option_strings if o.startswith("--")} - {"--help"}
    assert found == flags(command)


@pytest.mark.parametrize("view", VIEWS)
def test_every_column_is_told(view: str) -> None:
    """The documented views have the documented columns, in their order."""
    with Ledger.open(Path(":memory:"), durable=False) as ledger, ledger.questioned() as db:
        columns = [row[1] for row in db.execute(f"PRAGMA table_info({view})")]
    text = section("The views")
    if view == "records":
        table = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
        told = re.findall(r"`([^`]+)`", " ".join(table))
    else:
        (line,) = (line for line in text.splitlines() if line.startswith(f"`{view}`:"))
        told = re.findall(r"`([^`]+)`", line)[1:]
    assert told == columns


@pytest.mark.parametrize(
    ("start", "shape"),
    [
        ("A line of", ExperimentRow),
        ("The registry:", RegistryRow),
        ("The registry's champion:", ChampionRow),
        ("A decision packet:", PacketRow),
    ],
)
def test_every_field_is_told(start: str, shape: type[msgspec.Struct]) -> None:
    """The rows that scripts parse have the documented fields."""
    (line,) = (line for line in section("Files").splitlines() if line.startswith(start))
    told = words(line.partition(". Its action")[0]) - {"experiments.jsonl"}
    assert told == set(shape.__struct_fields__)
    if shape is PacketRow:
        assert words(line.partition(". Its action")[2]) == set(map(str, NextAction))


def test_the_policy_table_is_the_one_that_holds() -> None:
    """Each cell of the table is what the guard answers; every relation is named."""
    for category in Category:
        (row,) = (line for line in section("check").splitlines() if line.startswith(f"| `{category}`"))
        cells = [cell.strip() for cell in row.split("|")[2:5]]
        assert [Policy(cell) for cell in cells] == [
            policy(mode, category)[0] for mode in (Mode.EXPLORE, Mode.EXPLOIT, Mode.REPLICATE)
        ]
    table = [line for line in section("check").splitlines() if re.match(r"\| `\w+` \| (the|it) ", line)]
    assert {re.findall(r"`([^`]+)`", line)[0] for line in table} == set(map(str, Relation))
