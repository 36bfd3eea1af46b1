"""The adapters of benchmarks/rivals.py, as far as they can be held without the packages they drive."""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmarks.rival_servers.wire import NewNight, ProtocolError, Wire
from benchmarks.rivals import RIVALS, Event, Rival, RivalError, acceptors, main, python_option

# A package of autojudge's shape: 0.1 better is sure, anything else that is not worse wants a retest.
STAND_IN = """\
from dataclasses import dataclass
from enum import Enum
from types import SimpleNamespace

Status = Enum("Status", "KEEP DISCARD CRASH")
Verdict = Enum("Verdict", "STRONG_KEEP KEEP MARGINAL RETEST DISCARD CRASH")

@dataclass
class Experiment:
    index: int
    commit: str
    val_bpb: float
    memory_gb: float
    status: Status
    description: str

def analyze(rows):
    print("a package may print")
    best = min((row.val_bpb for row in rows[:-1] if row.status is Status.KEEP), default=rows[-1].val_bpb + 1)
    gain = best - rows[-1].val_bpb
    sure = Verdict.KEEP if gain >= 0.1 else Verdict.RETEST
    return SimpleNamespace(value=SimpleNamespace(verdict=Verdict.DISCARD if gain < 0 else sure))
"""


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The Python of an environment with the stand-in for autojudge 1.0.1."""
    packages = tmp_path / "packages"
    (packages / "autojudge-1.0.1.dist-info").mkdir(parents=True)
    (packages / "autojudge-1.0.1.dist-info/METADATA").write_text(
        "Metadata-Version: 2.1\nName: autojudge\nVersion: 1.0.1\n"
    )
    (packages / "auto_judge.py").write_text(STAND_IN)
    script = tmp_path / "python"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{packages}" exec "{sys.executable}" "$@"\n')
    script.chmod(0o755)
    return script


def rule(variant: str) -> Rival:
    (found,) = (rival for rival in RIVALS if rival.arguments == (variant,))
    return found


def wire(*events: str) -> tuple[Wire, io.StringIO]:
    """A wire that is told these events, with values 0, 1, 2 ..., and what it answers."""
    told = "".join(json.dumps({"event": event, "value": k}) + "\n" for k, event in enumerate(events))
    answers = io.StringIO()
    return Wire(io.StringIO(told), answers), answers


def answered(answers: io.StringIO) -> Sequence[str]:
    return [json.loads(line)["answer"] for line in answers.getvalue().splitlines()]


def test_a_run_that_a_package_wants_is_the_answer_to_the_one_before() -> None:
    """Asking for another run of an arm answers the last event by that wish; a verdict answers it too."""
    rival, answers = wire("baseline", "baseline", "candidate", "candidate_again", "champion_again", "candidate")
    assert [rival.value("baseline"), rival.value("baseline")] == [0, 1]
    rival.answer("ok")
    assert [rival.value("candidate"), rival.value("candidate"), rival.value("champion")] == [2, 3, 4]
    rival.answer("keep")
    assert rival.value("candidate") == 5
    assert answered(answers) == ["more_baseline", "ok", "rerun_candidate", "rerun_champion", "keep"]


def test_an_ideas_first_run_waits_for_a_package_that_runs_the_champion_first() -> None:
    """No value is lost and no run is asked for twice where a package begins an idea with the champion."""
    rival, answers = wire("candidate", "champion_again", "candidate_again")
    assert [rival.value("champion"), rival.value("candidate"), rival.value("candidate")] == [1, 0, 2]
    assert answered(answers) == ["rerun_champion", "rerun_candidate"]


def test_a_night_may_end_in_the_middle_of_an_idea() -> None:
    """A new night leaves nothing of the old one: neither a value in waiting nor an answer owed."""
    rival, answers = wire("candidate", "begin", "baseline", "candidate")
    with pytest.raises(NewNight):
        rival.value("champion")
    assert rival.value("baseline") == 2
    rival.answer("ok")
    assert rival.value("candidate") == 3
    assert answered(answers) == ["rerun_champion", "ok", "ok"]


def test_a_run_that_was_not_asked_for_is_refused() -> None:
    """A benchmark that reruns the wrong side is an error, not a number for the wrong arm."""
    rival, _ = wire("candidate", "champion_again")
    rival.value("candidate")
    with pytest.raises(ProtocolError, match="'champion_again' where 'candidate_again'"):
        rival.value("candidate")


@pytest.mark.parametrize(
    ("variant", "fourth", "expected"),
    [
        ("exit-code", "candidate", ["ok", "discard", "keep", "keep", "keep"]),
        ("keep-only", "candidate", ["ok", "discard", "discard", "discard", "keep"]),
        ("suggestions", "candidate_again", ["ok", "discard", "rerun_candidate", "discard", "keep"]),
    ],
)
def test_what_becomes_of_a_packages_verdicts(python: Path, variant: str, fourth: Event, expected: list[str]) -> None:
    """Each reading of autojudge's verdicts keeps, discards and reruns as its server says, every night anew."""
    events: list[Event] = ["baseline", "candidate", "candidate", fourth, "candidate"]
    with acceptors({"autojudge": python}, [rule(variant)]) as ((acceptor,), skipped):
        assert (skipped, acceptor.baseline_runs()) == ([], 1)
        for _ in range(2):
            acceptor.begin()
            values = zip(events, (1.0, 1.1, 0.95, 0.94, 0.8), strict=True)
            assert [acceptor.decide(event, value) for event, value in values] == expected


def test_a_rule_that_cannot_go_on_says_why(python: Path) -> None:
    """The child's last words are in the error, and so is which rule it was."""
    with acceptors({"autojudge": python}, [rule("keep-only")]) as ((acceptor,), _):
        acceptor.begin()
        with pytest.raises(RivalError, match=r"autojudge, KEEP only gave no answer: .*'candidate' where 'baseline'"):
            acceptor.decide("candidate", 1.0)


def test_a_missing_package_is_skipped_with_the_command_that_installs_it(python: Path, tmp_path: Path) -> None:
    """No environment, no such Python, no package, another version: each is named once, and the others still play."""
    pythons = {"autojudge": python, "labloop": Path(sys.executable), "hillclimbanything": tmp_path / "nowhere"}
    other = Rival("other", "pytest", "0", ())
    with acceptors(pythons | {"pytest": Path(sys.executable)}, [*RIVALS, other]) as (found, skipped):
        assert {acceptor.rival.package for acceptor in found} == {"autojudge"}
    labloop, climb, pytests = skipped
    assert labloop.startswith(f"labloop: skipped, {sys.executable} does not have it; install it with: uv venv ")
    assert "uv pip install --python ../rivals/labloop/bin/python labloop==1.0.5" in labloop
    assert climb.startswith(f"hillclimbanything: skipped, {tmp_path}/nowhere cannot be run (No such file or directory)")
    assert f"has {importlib.metadata.version('pytest')}" in pytests
    with acceptors({}) as (found, skipped):
        assert (found, len(skipped)) == ([], 3)


def test_an_option_names_one_of_the_packages() -> None:
    """`--python` with an unknown package or without a path is told what there is."""
    assert python_option("labloop=/x/python") == ("labloop", Path("/x/python"))
    for wrong in ("labloops=/x", "labloop"):
        with pytest.raises(argparse.ArgumentTypeError, match="autojudge, hillclimbanything, labloop"):
            python_option(wrong)


def test_the_demonstration_plays_what_is_there(
    python: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every rule of a package that is installed decides about every idea; the rest is skipped on stderr."""
    monkeypatch.setattr(sys, "argv", ["rivals.py", "--demo", "--python", f"autojudge={python}"])
    main()
    said = capsys.readouterr()
    assert said.out.count("worse by 0.01     discard") == 3
    assert said.out.count("decisions a second") == 3
    assert [line.split(":")[0] for line in said.err.splitlines()] == ["labloop", "hillclimbanything"]
