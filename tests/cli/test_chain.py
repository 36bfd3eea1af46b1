"""`nightlab undo`: what it says, as text and as JSON, and how it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightlab.config import JudgeSettings
from nightlab.loop import lease
from tests.cli.shell import Shell
from tests.test_chain import START, USEFUL, WEIGHT, bench_of, kept

TOML = """\
command = "python train.py"
protected = []
[metric]
name = "loss"
"""


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    """A lab with a baseline (1) and two keeps (2, 3), opened by the command line from its nightlab.toml."""
    bench = bench_of(tmp_path / "lab", judge=JudgeSettings(ablate=False))
    bench.night(ideas=2)
    bench.repo.write({"nightlab.toml": TOML})
    return Shell(bench.root)


def sources(shell: Shell) -> list[str]:
    return kept(bench_of(shell.root))


def test_undo_and_back(shell: Shell) -> None:
    """What is the champion now, and the command that goes back; again, and it is as before."""
    said = shell.at_lab("undo", "champion")
    assert (said.code, said.out) == (0, "#3 is taken back: the champion is #2 A = 1 B = 0\n")
    assert "`nightlab undo 3 --back` puts it back" in said.err
    assert sources(shell) == [WEIGHT]
    said = shell.at_lab("undo", "3", "--back")
    assert said.out == "#3 is put back: the champion is #3 A = 1 B = 1\n"
    assert sources(shell) == [WEIGHT, USEFUL]


def test_undo_as_json(shell: Shell) -> None:
    """One object with the numbers of what changed."""
    found = shell.at_lab("undo", "3", "--json").json
    assert found == {"change": 3, "champion": 2, "before": 3, "description": "A = 1\nB = 0", "needs_runs": False}


def test_undoing_an_earlier_change_says_that_it_has_to_run(shell: Shell) -> None:
    """The source without it has never run."""
    said = shell.at_lab("undo", "2")
    assert said.out.startswith("#2 is taken back: the champion is #4 without #2")
    assert "the next night begins with its runs" in said.err
    status = shell.at_lab("status")
    assert "champion   #4 without #2" in status.out
    assert "provisional" in status.out


def test_refusals(shell: Shell) -> None:
    """The baseline is no change, nothing was taken back, nobody is called so: exit code and words for each."""
    said = shell.at_lab("undo", "1")
    assert said.code == 2
    assert "#1 is no kept change" in said.err
    assert "those are: #2, #3" in said.err
    assert shell.at_lab("undo", "3", "--back").code == 2
    assert shell.at_lab("undo", "77").code == 1


def test_a_night_under_way_is_not_disturbed(shell: Shell) -> None:
    """While somebody works on the lab its champion is not changed under him."""
    bench = bench_of(shell.root)
    with lease(bench.settings):
        said = shell.at_lab("undo", "champion")
    assert said.code == 1
    assert "another process" in said.err
    assert sources(shell) == [WEIGHT, USEFUL]


def test_everything_can_be_undone(shell: Shell) -> None:
    """Change by change to the baseline."""
    shell.at_lab("undo", "champion")
    shell.at_lab("undo", "champion")
    assert sources(shell) == []
    assert bench_of(shell.root).source(bench_of(shell.root).history().champion) == START
    assert "#1 is no kept change" in shell.at_lab("undo", "champion").err
