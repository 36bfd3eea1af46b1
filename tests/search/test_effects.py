"""The published recipe's response surface: known where it belongs, and nowhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nightlab.search.effects import Effects, Surface, laid_over
from nightlab.search.knobs import find_knobs
from nightlab.search.recipe import RECIPE, RUNS
from tests.search.labs import ROOT, SHIPPED

PUBLISHED = {
    "ASPECT_RATIO": "64", "DEPTH": "8", "DEVICE_BATCH_SIZE": "128", "EMBEDDING_LR": "0.6", "FINAL_LR_FRAC": "0.0",
    "HEAD_DIM": "128", "MATRIX_LR": "0.04", "SCALAR_LR": "0.5", "TOTAL_BATCH_SIZE": "2**19",
    "UNEMBEDDING_LR": "0.004", "WARMDOWN_RATIO": "0.5", "WARMUP_RATIO": "0.0", "WEIGHT_DECAY": "0.2",
    "WINDOW_PATTERN": '"SSSL"',
}  # fmt: skip


def laid(baseline: dict[str, str]) -> Effects:
    effects = laid_over(RECIPE, baseline)
    assert effects is not None
    return effects


def test_the_published_recipe_is_recognised() -> None:
    """By kinds, not by names; three in four of its constants are enough, fewer are not."""
    assert len(laid(PUBLISHED).kinds) == len(RECIPE.recipe)
    renamed = {name.replace("MATRIX_LR", "MUON_LR"): text for name, text in PUBLISHED.items()}
    assert len(laid(renamed).kinds) == len(RECIPE.recipe)
    assert laid_over(RECIPE, {**PUBLISHED, "DEPTH": "12", "MATRIX_LR": "0.02"}) is not None
    assert laid_over(RECIPE, dict(list(PUBLISHED.items())[:9])) is None
    assert laid_over(RECIPE, dict.fromkeys(PUBLISHED, "7")) is None
    assert laid_over(RECIPE, {}) is None


def test_the_shipped_benchmark_is_the_recipe_on_a_gpu_and_another_one_on_a_cpu() -> None:
    """What was measured in five minutes of an H200 says nothing of a small model on two cores."""
    gpu, cpu = ({k.name: k.text for k in find_knobs(SHIPPED, on_gpu)} for on_gpu in (True, False))
    assert laid_over(RECIPE, gpu) is not None
    assert laid_over(RECIPE, cpu) is None


def test_halving_the_batch_is_foretold_to_gain() -> None:
    """The best known of all moves of the recipe: more steps; doubling it, or the depth alone, to cost."""
    effects = laid(PUBLISHED)
    assert effects.loss({}) == 0.0
    assert effects.loss({"TOTAL_BATCH_SIZE": "2**18"}) < -0.005
    assert effects.loss({"TOTAL_BATCH_SIZE": "2**20"}) > 0.005
    assert effects.loss({"DEPTH": "16"}) > 0.02


def test_what_is_no_constant_of_the_recipe_is_passed_over() -> None:
    """Other constants, words, and a constant that stood elsewhere in the baseline cost nothing."""
    assert laid(PUBLISHED).loss({"PURPLE": "2", "WINDOW_PATTERN": '"L"'}) == 0.0
    assert laid({**PUBLISHED, "DEPTH": "12"}).loss({"DEPTH": "14"}) == 0.0


def test_a_surface_is_lines_squares_and_products() -> None:
    """Worked by hand: two doublings of a rate and one of the batch."""
    surface = Surface(
        recipe={"matrix-lr": 0.04, "batch": 64.0},
        lines={"matrix-lr": 0.1, "batch": -0.2},
        products={("matrix-lr", "matrix-lr"): 0.01, ("matrix-lr", "batch"): 0.5, ("batch", "batch"): 0.03},
    )
    effects = laid_over(surface, {"MATRIX_LR": "0.04", "BATCH_SIZE": "64"})
    assert effects is not None
    wanted = 0.1 * 2 - 0.2 * 1 + 0.01 * 4 + 0.5 * 2 + 0.03
    assert effects.loss({"MATRIX_LR": "0.16", "BATCH_SIZE": "128"}) == pytest.approx(wanted)
    assert effects.loss({"MATRIX_LR": "0.16"}) == pytest.approx(0.2 + 0.04)


def test_the_table_is_what_the_public_runs_say() -> None:
    """The shipped numbers are what the script derives from the public sessions, to the digit."""
    sessions = sorted((ROOT.parent / "shared/data/histories").glob("ferreirafabio__*.tsv"))
    if not sessions:
        pytest.skip("the public histories are not here")
    script = [sys.executable, str(ROOT / "benchmarks/knob_effects.py"), *map(str, sessions)]
    environment = {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(script, env=environment, capture_output=True, text=True, check=True)
    derived: dict[str, object] = {"Surface": Surface}
    exec(done.stdout, derived)  # noqa: S102  our own script's output
    assert derived["RECIPE"] == RECIPE
    assert derived["RUNS"] == RUNS
