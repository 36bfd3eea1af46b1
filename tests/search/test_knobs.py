"""Knobs are found in any Python source, moved in place, and never moved to nonsense."""

from __future__ import annotations

import ast
import random
from pathlib import Path

import pytest

from nightlab.errors import EditError
from nightlab.search.knobs import Knob, find_knobs, literal, set_knob, set_knobs
from nightlab.search.moves import Way, drawn_move, moves

TRAIN = Path(__file__).parents[2] / "train.py"

SOURCE = """ON_GPU = probe.cuda
SEED = 42
EVAL_EVERY = 10
EMA = 0.9  # smoothing of the loss that is shown
ASPECT = 0.5  # of é
TOTAL_BATCH_SIZE = 2**19  # tokens
CONTEXT = 8 * 256
LR: float = 1e-3
BETAS = (0.8, 0.95)
OFFSET = -0.5
TIED = False
PATTERN = "SSSL"
ACTIVATION = "relu"
TITLE = "free text"
UNREAD = 3
TWICE = 1
TWICE = 2
if not ON_GPU:
    DEPTH = 2
else:
    DEPTH = 8
WIDTH = 512 if ON_GPU else 64
if probe.big:
    LAYERS = 3
WARMUP_RATIO = 0.0
COUNTED = 1
def f():
    global COUNTED
    COUNTED = 2
    if ACTIVATION == "gelu" or ACTIVATION in ("silu", "relu"): pass
    return (EMA, ASPECT, TOTAL_BATCH_SIZE, CONTEXT, LR, BETAS, OFFSET, TIED, PATTERN, TITLE, TWICE, DEPTH, WIDTH,
            LAYERS, SEED, EVAL_EVERY, WARMUP_RATIO, COUNTED)
"""


def knobs(on_gpu: bool = False) -> dict[str, Knob]:
    return {knob.name: knob for knob in find_knobs({"t.py": SOURCE}, on_gpu)}


def test_finds_what_can_be_moved_and_nothing_else() -> None:
    """Literal constants are knobs; yardsticks, free text, conditional, repeated, unread and global names are not."""
    assert set(knobs()) == {
        "ASPECT", "TOTAL_BATCH_SIZE", "CONTEXT", "LR", "BETAS[0]", "BETAS[1]", "OFFSET", "TIED", "PATTERN",
        "ACTIVATION", "DEPTH", "WIDTH", "WARMUP_RATIO",
    }  # fmt: skip


def test_takes_the_side_of_the_device() -> None:
    """Either side of an `if` or a conditional expression that asks for a GPU counts, by the device."""
    assert (knobs(False)["DEPTH"].value, knobs(True)["DEPTH"].value) == (2, 8)
    assert (knobs(False)["WIDTH"].value, knobs(True)["WIDTH"].value) == (64, 512)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("TOTAL_BATCH_SIZE", 2**18, "TOTAL_BATCH_SIZE = 2**18  # tokens"),
        ("CONTEXT", 4096, "CONTEXT = 16 * 256"),
        ("LR", 0.0015, "LR: float = 1.5e-3"),
        ("BETAS[1]", 0.9, "BETAS = (0.8, 0.9)"),
        ("ASPECT", 1.0, "ASPECT = 1.0  # of é"),
        ("OFFSET", -1.0 / 3, "OFFSET = -0.333"),
        ("PATTERN", "SL", 'PATTERN = "SL"'),
        ("TIED", True, "TIED = True"),
        ("WIDTH", 128, "WIDTH = 512 if ON_GPU else 128"),
    ],
)
def test_moves_in_place(name: str, value: int | float | str, line: str) -> None:
    """Only the value changes, in the style it was written in; every other byte stays."""
    before = {"t.py": SOURCE}
    after = set_knob(before, knobs()[name], value)["t.py"]
    changed = [(a, b) for a, b in zip(SOURCE.splitlines(), after.splitlines(), strict=True) if a != b]
    assert [b for _, b in changed] == [line]


def test_knobs_of_another_source_are_refused() -> None:
    """A knob whose text no longer stands where it was is an error, not a wrong edit."""
    with pytest.raises(EditError, match="no longer stands"):
        set_knob({"t.py": "# a new first line\n" + SOURCE}, knobs()["LR"], 1.0)


def test_several_knobs_at_once() -> None:
    """Knobs of one source can be set together, whatever their order."""
    both = set_knobs({"t.py": SOURCE}, [(knobs()["LR"], 0.002), (knobs()["ASPECT"], 0.25)])
    found = {knob.name: literal(knob.text) for knob in find_knobs(both, False)}
    assert [found[name] for name in ("LR", "ASPECT")] == [0.002, 0.25]


def test_line_ends_and_marks_survive() -> None:
    """Windows newlines and a byte order mark are neither lost nor miscounted."""
    text = "\ufeff# é\r\nLR = 0.1\r\nprint(LR)\r\n"
    (knob,) = find_knobs({"t.py": text}, False)
    assert set_knob({"t.py": text}, knob, 0.2)["t.py"] == text.replace("0.1", "0.2")


def test_strings_move_only_where_the_source_shows_how() -> None:
    """Patterns vary within their letters, names within those the source compares them with."""
    assert {move.value for move in moves(knobs()["ACTIVATION"])} == {"gelu", "silu"}
    patterns = {str(move.value) for move in moves(knobs()["PATTERN"])}
    assert {"LLLL", "SSSS", "LSSS", "SSL"} <= patterns
    assert set("".join(patterns)) == set("SL")


def test_every_move_of_the_shipped_benchmark_is_in_range() -> None:
    """Coarse or fine, a move parses, changes the value as it says, and keeps shares, momenta and counts sensible."""
    files, rng = {"train.py": TRAIN.read_text()}, random.Random(1)
    for on_gpu in (False, True):
        found = find_knobs(files, on_gpu)
        assert len(found) >= 20
        for knob in found:
            fine = [drawn_move(knob, rng, width) for width in (0.3, 1.0, 4.0) for _ in range(20)]
            for move in [*moves(knob), *(move for move in fine if move)]:
                assert literal(move.text) == move.value != knob.value, move
                if isinstance(move.value, int | float) and isinstance(knob.value, int | float):
                    assert (move.value > knob.value) == (move.way is Way.UP) or move.way is Way.SWITCH, move
                    assert (move.value >= 0) == (knob.value >= 0), move
                    if knob.kind.scale.value == "fraction":
                        assert 0 <= move.value <= 1, move
                    if isinstance(knob.value, int) and knob.kind.family == "batch-size":
                        assert move.value & (move.value - 1) == 0, move  # type: ignore[operator]
            text = set_knob(files, knob, moves(knob)[0].value)["train.py"] if moves(knob) else TRAIN.read_text()
            ast.parse(text)


@pytest.mark.parametrize("text", ["1e999", "1e300", "-1e300", "1e-300", "9" * 400, " * ".join(["10**60"] * 6)])
def test_a_number_out_of_all_range_is_no_knob(text: str) -> None:
    """Its steps would be infinite or zero, or too large for a float: it is left alone, and nothing fails."""
    knobs = find_knobs({"t.py": f"N = {text}\nM = 3\nprint(N, M)\n"}, on_gpu=False)
    assert [knob.name for knob in knobs] == ["M"]


def test_a_momentum_never_reaches_one() -> None:
    """No move of a momentum leads to one or beyond, though it stands below one half and moves by ratios there."""
    (momentum,) = find_knobs({"t.py": "MOMENTUM = 0.4\nprint(MOMENTUM)\n"}, on_gpu=False)
    rng = random.Random(0)
    drawn = [move for _ in range(200) if (move := drawn_move(momentum, rng, 2.0)) is not None]
    assert len(drawn) > 100
    assert all(0 <= float(move.value) < 1 for move in [*moves(momentum), *drawn])
