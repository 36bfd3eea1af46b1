"""What somebody wrote by hand, merged into another source line by line."""

from __future__ import annotations

import pytest

from nightlab.search.knobs import find_knobs
from nightlab.search.moves import move_to
from nightlab.search.pieces import Graft, Piece, clash, merge_lines, put_in
from nightlab.types import Change, ChangeKind, ExperimentId, Files

BASE = "import torch\n\nnorm = 1\nrate = 2\n\nwarm = 3\ndecay = 4\n"
ABOVE = BASE.replace("norm = 1", "norm = rms(1)")
BELOW = BASE.replace("decay = 4", "decay = cosine(4)\nfloor = 5")


def graft(before: Files, after: Files, name: str = "e1") -> Graft:
    change = Change(kind=ChangeKind.FREE, name="top level", new=name)
    return Graft(
        experiment=ExperimentId(name), change=change, family="mixed", title="by hand", before=before, after=after
    )


def test_changes_of_different_lines_are_both_there() -> None:
    """Three ways: what either side changed in the common base is in the merged text, in either order."""
    both = ABOVE.replace("decay = 4", "decay = cosine(4)\nfloor = 5")
    assert merge_lines(BASE, ABOVE, BELOW) == merge_lines(BASE, BELOW, ABOVE) == both
    assert graft({"t.py": BASE}, {"t.py": BELOW}).put_in({"t.py": ABOVE}) == {"t.py": both}


@pytest.mark.parametrize("theirs", [BASE.replace("norm = 1", "norm = layer(1)"), BASE.replace("norm = 1\n", "")])
def test_the_same_lines_changed_twice_are_no_merge(theirs: str) -> None:
    """A conflict is refused, never guessed at."""
    assert merge_lines(BASE, ABOVE, theirs) is None
    assert graft({"t.py": BASE}, {"t.py": theirs}).put_in({"t.py": ABOVE}) is None


def test_what_both_did_alike_is_there_once() -> None:
    """The same change on both sides is no conflict."""
    assert merge_lines(BASE, ABOVE, ABOVE) == ABOVE
    assert merge_lines(BASE, BASE, BELOW) == BELOW
    assert merge_lines(BASE, BELOW, BASE) == BELOW


def test_texts_survive_to_the_byte() -> None:
    """Line ends, form feeds and a missing last line end stay as they are."""
    base, theirs = "a = 1\r\n\x0cb = 2\n\n\nc = 3", "a = 1\r\n\x0cb = 2\n\n\nc = 4"
    assert merge_lines(base, base.replace("a = 1", "a = 9"), theirs) == theirs.replace("a = 1", "a = 9")
    assert merge_lines("", "", "") == ""


@pytest.mark.parametrize(
    ("before", "after", "files"),
    [
        ({"t.py": BASE}, {"t.py": BASE, "new.py": "x = 1\n"}, {"t.py": BASE}),
        ({"t.py": BASE, "old.py": "x = 1\n"}, {"t.py": BASE}, {"t.py": BASE, "old.py": "x = 1\n"}),
        ({"t.py": BASE}, {"t.py": ABOVE}, {"other.py": BASE}),
    ],
    ids=["came", "went", "is not there"],
)
def test_whole_files_are_not_merged(before: Files, after: Files, files: Files) -> None:
    """A file that came or went, or that the base lacks, has nothing to be merged with."""
    assert graft(before, after).put_in(files) is None


def test_files_that_neither_side_touched_stay() -> None:
    """What the graft did not change is the base's own, and the base itself is not written to."""
    files = {"t.py": ABOVE, "more.py": "y = 2\n"}
    merged = graft({"t.py": BASE, "more.py": "y = 1\n"}, {"t.py": BELOW, "more.py": "y = 1\n"}).put_in(files)
    assert merged is not None
    assert merged["more.py"] == "y = 2\n"
    assert files["t.py"] == ABOVE


def test_a_graft_goes_in_beside_a_move_and_another_graft() -> None:
    """Several pieces at once: constants first, then what was written by hand; all of it or nothing."""
    files = {"t.py": f"LR = 1\nprint(LR)\n{BASE}"}
    (knob,) = find_knobs(files, on_gpu=False)
    move = move_to(knob, "2", 2)
    assert move is not None
    one, two = (Piece(graft({"t.py": BASE}, {"t.py": text}, name)) for name, text in (("e1", ABOVE), ("e2", BELOW)))
    other = Piece(graft({"t.py": BASE}, {"t.py": BASE.replace("norm = 1", "norm = 0")}, "e3"))
    merged = put_in(files, (Piece(move), one, two))
    assert merged is not None
    assert all(line in merged["t.py"] for line in ("LR = 2\n", "norm = rms(1)\n", "floor = 5\n"))
    assert put_in(files, (Piece(move), one, other)) is None
    assert clash((one,), (one, two))
    assert not clash((one,), (two, Piece(move)))
    assert one.halved() is None
