"""Which changes forbid holding a run's curve against the champion's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nightlab.search.catalogue import CATALOGUE
from nightlab.search.changes import changes_between
from nightlab.search.comparable import MAX_LINES, incomparable
from nightlab.search.source import patch
from nightlab.types import Change, ChangeKind, Experiment
from tests.builders import experiment


def knob(name: str) -> Experiment:
    change = Change(kind=ChangeKind.KNOB, name=name, old="1", new="2")
    return replace(experiment("b", parent="a"), changes=(change,))


def free(before: str, after: str) -> Experiment:
    old, new = {"train.py": before}, {"train.py": after}
    return replace(experiment("b", parent="a"), changes=changes_between(old, new), patch=patch(old, new))


@pytest.mark.parametrize("name", ["MATRIX_LR", "DEPTH", "HEAD_SIZE", "MLP_RATIO", "ADAM_BETAS[1]", "VALUE_EMBEDDINGS"])
def test_model_and_optimiser_knobs_can_be_compared(name: str) -> None:
    """Most of what a night tries."""
    assert incomparable(knob(name)) == ""


@pytest.mark.parametrize(
    "name",
    ["WARMUP_RATIO", "WARMDOWN_RATIO", "FINAL_LR_FRAC", "TOTAL_BATCH", "DEVICE_BATCH_SIZE", "SEQUENCE_LENGTH",
     "GRAD_ACCUM_STEPS", "WEIGHT_DECAY", "DROPOUT", "LABEL_SMOOTHING", "Z_LOSS_WEIGHT", "LOSS_SCALE", "AUX_LOSS_COEF",
     "DATASET_MIX", "SHUFFLE_BUFFER"],
)  # fmt: skip
def test_schedules_batches_and_losses_cannot(name: str) -> None:
    """What moves when things happen, what a step is, or what the reported loss measures."""
    assert incomparable(knob(name))


def test_the_catalogue_is_sorted_by_family_and_tag() -> None:
    """Edits of schedule, batch, loss or regularisation are not compared; the others are."""
    apart = {"schedule", "batch-size", "loss", "regularization"}
    for edit in CATALOGUE:
        change = Change(kind=ChangeKind.EDIT, name=edit.name)
        made = replace(experiment("b", parent="a"), changes=(change,), family=edit.family, tags=edit.tags)
        assert bool(incomparable(made)) == bool(apart & {edit.family, *edit.tags}), edit.name


BASE = """
def lr_at(fraction):
    return 1.0 if fraction < 0.5 else 2.0 - 2.0 * fraction

class Block:
    def forward(self, x):
        return x + self.mlp(norm(x))

def evaluate(model, inputs):
    return F.cross_entropy(model(inputs), inputs)
"""


@pytest.mark.parametrize(
    ("old", "new", "can"),
    [
        pytest.param("self.mlp(norm(x))", "self.mlp(x)", True, id="architecture"),
        pytest.param("0.5 else", "0.7 else", False, id="schedule, told by its line"),
        pytest.param("model(inputs), inputs)", "model(inputs), inputs, label_smoothing=0.1)", False, id="loss"),
        pytest.param("self.mlp(norm(x))", "F.dropout(self.mlp(norm(x)))", False, id="dropout"),
        pytest.param("x + self.mlp", "warm_gate * x + self.mlp", False, id="a part of a name tells"),
    ],
)
def test_free_code_is_read_by_the_names_it_touches(old: str, new: str, can: bool) -> None:
    """What speaks of schedule, batch, loss or data is not compared."""
    assert bool(incomparable(free(BASE, BASE.replace(old, new)))) is not can


def test_the_place_of_a_change_tells_too() -> None:
    """A bare number changes inside a schedule whose name stands on no changed line."""
    before = "def schedule(x):\n    y = 1\n    return 3 * x\n"
    assert incomparable(free(before, before.replace("3 * x", "4 * x")))


def test_in_doubt_nothing_is_compared() -> None:
    """No known change, a free one without its patch, or one too large to tell."""
    assert "nobody knows" in incomparable(experiment("b", parent="a"))
    unseen = replace(free(BASE, BASE.replace("x + self", "x - self")), patch="")
    assert "nobody knows" in incomparable(unseen)
    many = "".join(f"value_{n} = {n}.0 * other\n" for n in range(MAX_LINES + 1))
    assert "too much" in incomparable(free("x = other\n", "x = other\n" + many))


def test_one_apart_among_several_is_enough() -> None:
    """A stack of changes is as comparable as the worst of them."""
    both = (*knob("DEPTH").changes, *knob("TOTAL_BATCH").changes)
    assert incomparable(replace(experiment("b", parent="a"), changes=both)) == "it changes what a step is"
