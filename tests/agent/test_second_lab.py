"""An agent that a night asked for one idea works in a checkout that looks like a lab, and makes no second lab of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightlab.agent.service import Service
from nightlab.agent.written import Written
from nightlab.config import load_settings
from nightlab.errors import LabError
from nightlab.root import FOR_LAB, refuse_second_lab
from tests.e2e.labs import UserLab, make


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> UserLab:
    monkeypatch.setenv(FOR_LAB, str(tmp_path / "lab"))
    return make(tmp_path / "checkout")


@pytest.mark.parametrize(
    "words",
    [
        ("run", "--runs", "1"),
        ("try", "--description", "x"),
        ("wait",),
        ("replicate", "champion"),
        ("replicate", "champion", "--no-wait"),
        ("exec", "--", "python", "train.py"),
        ("log", "--description", "x", "--status", "crash"),
        ("undo", "1"),
        ("stop",),
    ],
    ids=" ".join,
)
def test_no_command_makes_a_second_lab(checkout: UserLab, words: tuple[str, ...]) -> None:
    """What would run or record something there is refused with the reason, and leaves nothing."""
    said = checkout.nightlab(*words)
    assert said.code == 1
    assert "asked you for one idea: edit the files, run nothing" in said.err
    assert not (checkout.root / "results").exists()


def test_no_tool_makes_a_second_lab(checkout: UserLab) -> None:
    """The same of the calls behind MCP; what only looks is answered."""
    service = Service(settings=load_settings(checkout.root))
    with pytest.raises(LabError, match="one idea"):
        service.start("x")
    with pytest.raises(LabError, match="one idea"):
        service.log(
            Written(
                status="crash", description="x", hypothesis="", family="", tags=(), notes="", error="",
                mode="exploit", threshold=0.62, log="", summary="",
            )
        )  # fmt: skip
    assert not (checkout.root / "results").exists()
    assert service.plan().phase == "baseline"
    assert service.check("x").classification == "novel"
    assert checkout.nightlab("status").code == 0


def test_the_lab_that_asked_is_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By whatever path it is named; and whom no night asked may work anywhere."""
    (tmp_path / "lab").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "lab")
    monkeypatch.setenv(FOR_LAB, str(tmp_path / "link"))
    refuse_second_lab(tmp_path / "lab")
    monkeypatch.delenv(FOR_LAB)
    refuse_second_lab(tmp_path)
