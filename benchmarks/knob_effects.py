"""The response surface of search/effects.py, from public runs of the five-minute recipe.

    uv run python benchmarks/knob_effects.py FILE... [--holdout FILE...]

FILEs are TSVs with columns config (JSON object), val_bpb, status, as in the public histories of
ferreirafabio/autoresearch-automl. Prints the table as Python. With --holdout the surface is fitted to FILEs alone and
asked of the others.

Ridge regression on lines, squares and products of the constants' coordinates relative to the recipe, each feature
divided by its standard deviation; the penalty by generalised cross-validation. Only runs below LIMIT count: a second
order tells of the neighbourhood of the recipe, not of models that do not learn.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import numpy.typing as npt
from scipy.stats import spearmanr
from sklearn.linear_model import RidgeCV

from nightlab.search.effects import Effects, Surface, laid_over
from nightlab.search.kinds import kind_of
from nightlab.search.space import coordinate

RECIPE = {
    "ASPECT_RATIO": 64, "DEPTH": 8, "DEVICE_BATCH_SIZE": 128, "EMBEDDING_LR": 0.6, "FINAL_LR_FRAC": 0.0,
    "HEAD_DIM": 128, "MATRIX_LR": 0.04, "SCALAR_LR": 0.5, "TOTAL_BATCH_SIZE": 524288, "UNEMBEDDING_LR": 0.004,
    "WARMDOWN_RATIO": 0.5, "WARMUP_RATIO": 0.0, "WEIGHT_DECAY": 0.2,
}  # fmt: skip
"""Constants of the published train.py and their values there."""

LIMIT = 1.0  # bpb; the recipe has 0.9914
DIGITS = 3  # of a coefficient

Run = tuple[Mapping[str, float], float]


def runs(files: Iterable[Path]) -> list[Run]:
    """Configuration and value of every finished run below LIMIT that names all constants."""
    found: list[Run] = []
    for path in files:
        with path.open(encoding="utf-8") as lines:
            for row in csv.DictReader(lines, delimiter="\t"):
                if row["status"] != "ok" or not 0.0 < float(row["val_bpb"]) < LIMIT:
                    continue
                config = json.loads(row["config"])
                if all(isinstance(config.get(name), int | float) for name in RECIPE):
                    found.append((config, float(row["val_bpb"])))
    return found


def fit(files: Iterable[Path]) -> Surface:
    """The surface that those files tell of.

    Raises:
        ValueError: they hold too few runs.
    """
    known = runs(files)
    if len(known) < 200:
        raise ValueError(f"{len(known)} runs tell too little of {len(_pairs())} products")
    features = _features([config for config, _ in known])
    spread = features.std(axis=0) + 1e-12
    model = RidgeCV(np.logspace(-3, 5, 33)).fit(features / spread, np.array([value for _, value in known]))
    weights = [float(f"{w:.{DIGITS}g}") for w in model.coef_ / spread]
    kinds = [kind_of(name).name for name in RECIPE]
    pairs = [(kind_of(a).name, kind_of(b).name) for a, b in _pairs()]
    return Surface(
        recipe={kind_of(name).name: float(value) for name, value in RECIPE.items()},
        lines=dict(zip(kinds, weights, strict=False)),
        products=dict(zip(pairs, weights[len(kinds) :], strict=True)),
    )


def over_recipe(surface: Surface) -> Effects:
    """The surface over the recipe's own constants."""
    laid = laid_over(surface, {name: repr(value) for name, value in RECIPE.items()})
    assert laid is not None
    return laid


def _pairs() -> list[tuple[str, str]]:
    return list(combinations_with_replacement(RECIPE, 2))


def _features(configs: Sequence[Mapping[str, float]]) -> npt.NDArray[np.float64]:
    moved = np.array(
        [[coordinate(kind_of(n), c[n]) - coordinate(kind_of(n), start) for n, start in RECIPE.items()] for c in configs]
    )
    place = {name: at for at, name in enumerate(RECIPE)}
    products = [moved[:, place[a]] * moved[:, place[b]] for a, b in _pairs()]
    return np.column_stack([moved, *products])


def _printed(surface: Surface, count: int) -> str:
    lines = [f"RUNS = {count}", "", "RECIPE = Surface(", f"    recipe={dict(surface.recipe)!r},"]
    lines += ["    lines={", *(f'        "{k}": {v!r},' for k, v in surface.lines.items()), "    },"]
    lines += [
        "    products={",
        *(f'        ("{a}", "{b}"): {v!r},' for (a, b), v in surface.products.items()),
        "    },",
    ]
    return "\n".join([*lines, ")"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the response surface of the published recipe.")
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--holdout", nargs="*", type=Path, default=[])
    options = parser.parse_args()
    surface = fit(options.files)
    if not options.holdout:
        print(_printed(surface, len(runs(options.files))))
        return
    effects, unseen = over_recipe(surface), runs(options.holdout)
    told = [effects.loss({name: repr(value) for name, value in config.items()}) for config, _ in unseen]
    rank = spearmanr(told, [value for _, value in unseen])[0]
    print(f"{len(runs(options.files))} runs fitted, {len(unseen)} unseen: Spearman {rank:.3f}")


if __name__ == "__main__":
    main()
