"""Three small things that really train, a fraction of a second each, none of them a language model.

Each run has a fresh seed (of the search's seed and the run's number), so its noise is real; besides, one run in
twenty crashes, by the same seed, and so does one whose loss is no number. The first two never crash by chance: a lab
whose unchanged source does not run has no night, and no search is measured by that. The truth is the mean over fresh
seeds that no search has seen.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from statistics import fmean
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.spaces import Axis, Config, Result, Space, Value, luck
from nightlab.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

CRASHES = 0.05  # share of runs, injected
SOUND = 2  # runs at the beginning that are spared
FRESH = 5  # seeds of a truth
FIRST_FRESH = 2**31  # seeds of runs lie below

Data = tuple["NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]", "NDArray[np.float64]"]


@dataclass(slots=True)
class Trained:
    """An objective that trains: configuration and seed -> loss."""

    name: str
    space: Space
    train: Callable[[Config, int], float]
    constant: float  # loss of the best constant guess: what a run that diverges counts in a truth
    _known: dict[tuple[Value, ...], float] = field(default_factory=dict)

    def run(self, config: Config, seed: int, number: int) -> Result:
        draw = luck(seed, number)
        if draw.random() < CRASHES and number > SOUND:
            return Result(None, "RuntimeError: injected")
        loss = self._loss(config, draw.randrange(FIRST_FRESH))
        return Result(loss) if math.isfinite(loss) else Result(None, "ValueError: the loss is no number")

    def truth(self, config: Config) -> float:
        key = self.space.key(config)
        if key not in self._known:
            losses = [self._loss(config, FIRST_FRESH + i) for i in range(FRESH)]
            self._known[key] = fmean(loss if math.isfinite(loss) else self.constant for loss in losses)
        return self._known[key]

    def _loss(self, config: Config, seed: int) -> float:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # it stops before it has converged, on purpose
            return float(self.train(config, seed))


def load_objective(name: str) -> Trained:
    """One of the three.

    Raises:
        UsageError: there is no such objective.
    """
    if name not in OBJECTIVES:
        raise UsageError(f"there is no objective {name}", hint=f"objectives: all, {', '.join(OBJECTIVES)}")
    return Trained(name, *OBJECTIVES[name])


def _number(config: Config, name: str) -> float:
    value = config[name]
    assert not isinstance(value, str)
    return float(value)


# --- a perceptron on handwritten digits ---------------------------------------------------------------------------

DIGITS = Space(
    (
        Axis("LEARNING_RATE", 1e-4, 0.1),
        Axis("BATCH_SIZE", 32, 256, whole=True, grid=(32, 64, 128, 256)),
        Axis("WIDTH", 8, 64, whole=True),
        Axis("DEPTH", 1, 3, whole=True),
        Axis("WEIGHT_DECAY", 1e-6, 1.0),
        Axis("MOMENTUM", 0.5, 0.99),
        Axis("ACTIVATION", choices=("logistic", "relu", "tanh")),
        Axis("SOLVER", choices=("adam", "sgd")),
    ),
    {"LEARNING_RATE": 0.001, "BATCH_SIZE": 128, "WIDTH": 32, "DEPTH": 1, "WEIGHT_DECAY": 1e-4, "MOMENTUM": 0.9}
    | {"ACTIVATION": "relu", "SOLVER": "sgd"},
)


@cache
def _digits() -> Data:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    parts = train_test_split(images / 16.0, labels, test_size=0.4, random_state=0, stratify=labels)
    return parts[0], parts[2], parts[1], parts[3]


def train_digits(config: Config, seed: int) -> float:
    """Cross-entropy on held-out digits after ten epochs, nats."""
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    inputs, labels, unseen, wanted = _digits()
    model = MLPClassifier(
        hidden_layer_sizes=(int(_number(config, "WIDTH")),) * int(_number(config, "DEPTH")),
        activation=str(config["ACTIVATION"]), solver=str(config["SOLVER"]), max_iter=10, random_state=seed % 2**32,
        learning_rate_init=_number(config, "LEARNING_RATE"), batch_size=int(_number(config, "BATCH_SIZE")),
        alpha=_number(config, "WEIGHT_DECAY"), momentum=_number(config, "MOMENTUM"),
    )  # fmt: skip
    try:
        return float(log_loss(wanted, model.fit(inputs, labels).predict_proba(unseen)))
    except ValueError:  # it has diverged, in scikit-learn's words
        return math.inf


# --- boosted trees on the diabetes study --------------------------------------------------------------------------

BOOSTING = Space(
    (
        Axis("LEARNING_RATE", 0.005, 1.0),
        Axis("TREES", 10, 200, whole=True),
        Axis("DEPTH", 1, 6, whole=True),
        Axis("SUBSAMPLE", 0.2, 1.0),
        Axis("FEATURE_FRACTION", 0.2, 1.0),
        Axis("LEAF_SIZE", 1, 40, whole=True),
        Axis("LOSS", choices=("absolute_error", "huber", "squared_error")),
    ),
    {"LEARNING_RATE": 0.1, "TREES": 100, "DEPTH": 3, "SUBSAMPLE": 1.0, "FEATURE_FRACTION": 1.0, "LEAF_SIZE": 1}
    | {"LOSS": "squared_error"},
)


@cache
def _diabetes() -> Data:
    from sklearn.datasets import load_diabetes
    from sklearn.model_selection import train_test_split

    inputs, wanted = load_diabetes(return_X_y=True)
    parts = train_test_split(inputs, wanted, test_size=0.4, random_state=0)
    return parts[0], parts[2], parts[1], parts[3]


def train_boosting(config: Config, seed: int) -> float:
    """Share of the held-out variance that is not explained."""
    from sklearn.ensemble import GradientBoostingRegressor

    inputs, values, unseen, wanted = _diabetes()
    model = GradientBoostingRegressor(
        learning_rate=_number(config, "LEARNING_RATE"), n_estimators=int(_number(config, "TREES")),
        max_depth=int(_number(config, "DEPTH")), subsample=_number(config, "SUBSAMPLE"), loss=str(config["LOSS"]),
        max_features=_number(config, "FEATURE_FRACTION"), min_samples_leaf=int(_number(config, "LEAF_SIZE")),
        random_state=seed % 2**32,
    )  # fmt: skip
    missed = model.fit(inputs, values).predict(unseen) - wanted
    return float((missed**2).mean() / wanted.var())


# --- a network of two layers in numpy, on a known function ----------------------------------------------------------

CURVE = Space(
    (
        Axis("LR", 0.001, 1.0),
        Axis("MOMENTUM", 0.0, 0.99),
        Axis("BATCH_SIZE", 8, 128, whole=True, grid=(8, 16, 32, 64, 128)),
        Axis("WIDTH", 4, 128, whole=True),
        Axis("INIT_SCALE", 0.1, 5.0),
        Axis("WARMUP_RATIO", 0.0, 0.5),
        Axis("FINAL_LR_FRAC", 0.0, 1.0),
        Axis("WEIGHT_DECAY", 0.0, 0.1),
    ),
    {"LR": 0.01, "MOMENTUM": 0.0, "BATCH_SIZE": 32, "WIDTH": 16, "INIT_SCALE": 1.0}
    | {"WARMUP_RATIO": 0.0, "FINAL_LR_FRAC": 1.0, "WEIGHT_DECAY": 0.0},
)
SAMPLES, EPOCHS, NOISE = 800, 40, 0.1


@cache
def _friedman() -> Data:
    """Friedman's first function of five uniform inputs, standardised, with noise; the held-out values have none."""
    rng = np.random.default_rng(0)
    inputs = rng.random((2 * SAMPLES, 5))
    values = 10 * np.sin(np.pi * inputs[:, 0] * inputs[:, 1]) + 20 * (inputs[:, 2] - 0.5) ** 2
    values += 10 * inputs[:, 3] + 5 * inputs[:, 4]
    values = (values - values.mean()) / values.std()
    noisy = values[:SAMPLES] + NOISE * rng.standard_normal(SAMPLES)
    return 2 * inputs[:SAMPLES] - 1, noisy, 2 * inputs[SAMPLES:] - 1, values[SAMPLES:]


def train_curve(config: Config, seed: int) -> float:
    """Mean squared error on held-out points, in units of their variance, after plain SGD with momentum."""
    inputs, values, unseen, wanted = _friedman()
    rng = np.random.default_rng(seed)
    width, batch = int(_number(config, "WIDTH")), int(_number(config, "BATCH_SIZE"))
    rate, momentum = _number(config, "LR"), _number(config, "MOMENTUM")
    warm, last, decay = (_number(config, name) for name in ("WARMUP_RATIO", "FINAL_LR_FRAC", "WEIGHT_DECAY"))
    scale = _number(config, "INIT_SCALE")
    weights = [
        scale * rng.standard_normal((5, width)) / math.sqrt(5), np.zeros(width),
        scale * rng.standard_normal(width) / math.sqrt(width), np.zeros(1),
    ]  # fmt: skip
    speeds = [np.zeros_like(weight) for weight in weights]
    steps = EPOCHS * (SAMPLES // batch)
    for step in range(steps):
        rows = rng.integers(SAMPLES, size=batch)
        hidden = np.tanh(inputs[rows] @ weights[0] + weights[1])
        error = (hidden @ weights[2] + weights[3] - values[rows]) / batch
        back = np.outer(error, weights[2]) * (1 - hidden**2)
        slopes = [inputs[rows].T @ back, back.sum(axis=0), hidden.T @ error, error.sum(keepdims=True)]
        share = step / steps
        now = rate * (share / warm if share < warm else 1 - (1 - last) * (share - warm) / max(1 - warm, 1e-9))
        speeds = [
            momentum * speed - now * (slope + decay * weight)
            for weight, speed, slope in zip(weights, speeds, slopes, strict=True)
        ]
        weights = [weight + speed for weight, speed in zip(weights, speeds, strict=True)]
    guesses = np.tanh(unseen @ weights[0] + weights[1]) @ weights[2] + weights[3]
    return float(((guesses - wanted) ** 2).mean() / wanted.var())


OBJECTIVES: dict[str, tuple[Space, Callable[[Config, int], float], float]] = {
    "digits": (DIGITS, train_digits, math.log(10)),
    "boosting": (BOOSTING, train_boosting, 1.0),
    "curve": (CURVE, train_curve, 1.0),
}
