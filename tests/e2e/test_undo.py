"""Kept changes re-tested and taken back through the real command line, with real runs."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.labs import make
from tests.e2e.test_try import edit


def test_a_link_is_left_out_and_taken_back(tmp_path: Path) -> None:
    """Two edits are kept; the night leaves the first out and says that it earns its place; undo takes it out, and back.

    The night may find something better on the way: what is told of the first link holds all the same.
    """
    lab = make(tmp_path / "lab")
    edit(lab, "WIDTH = 128", "WIDTH = 300")
    assert lab.nightlab("try", "--description", "wider", "--seeds", "2").code == 0
    edit(lab, "RATE = 0.02", "RATE = 0.05")
    assert lab.nightlab("try", "--description", "faster", "--seeds", "2").code == 0
    lab.git("checkout", "-q", "train.py")
    assert [link["description"] for link in lab.json("status")["chain"]] == ["wider", "faster"]

    night = lab.nightlab("run", "--runs", "1")
    assert night.code == 0, night.err
    status = lab.json("status")
    assert status["chain"][0]["worth"] == "earns its place"
    assert status["chain"][0]["without_high"] < 0
    assert "## The Chain" in (lab.root / "results" / "memorylab" / "reports" / "latest.md").read_text()

    known = lab.json("check", "--description", "WIDTH 300")
    assert known["decision"] != "block", known  # the memory holds the removal for the way back that it is

    taken = lab.nightlab("undo", "2")
    assert taken.code == 0, taken.err
    source = lab.git("show", "autoresearch/nightlab:train.py")
    assert "WIDTH = 128" in source
    assert "RATE = 0.02" not in source
    assert lab.nightlab("undo", "2", "--back").code == 0
    assert lab.json("status")["champion"]["number"] == status["champion"]["number"]
    assert lab.nightlab("verify").code == 0
