"""Bits per byte, and the receipt that goes with it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn


class Uniform(nn.Module):
    """Knows nothing: every token is as likely as any other; `scale` makes it worse, or not a number."""

    def __init__(self, vocabulary: int, scale: float = 1.0) -> None:
        super().__init__()
        self.loss = scale * math.log(vocabulary)
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, tokens: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        """The same loss for every target."""
        assert tokens.shape == targets.shape
        assert reduction == "none"
        return torch.full((targets.numel(),), self.loss)


def trained(prepare: ModuleType, model: nn.Module) -> object:
    """A budget with one step used."""
    budget = prepare.Budget(model)
    with budget.step(tokens=7):
        torch.ones(10) + 1
    return budget


def test_bits_per_byte_against_a_sum_by_hand(prepare: ModuleType) -> None:
    """The score is total nats over total bytes in bits; BOS targets, which stand for no bytes, count for nothing."""
    data = prepare.load_data()
    model = Uniform(1024)
    targets = data.validation[:, 1:].astype(int)
    sizes = data.token_bytes[targets]
    assert (targets == 1023).any()  # there are BOS targets to leave out
    expected = (sizes > 0).sum() * 10 / sizes.sum()  # ten bits for every token of 1,024
    assert prepare.evaluate_bpb(model, trained(prepare, model)) == pytest.approx(expected, abs=1e-6)


def test_rows_per_pass_do_not_matter(prepare: ModuleType) -> None:
    """The score does not depend on how many rows go through the model at a time."""
    data = prepare.load_data()
    sizes = torch.from_numpy(data.token_bytes)
    scores = [prepare._measure_bpb(Uniform(1024), data.validation, sizes, rows) for rows in (1, 5, 128)]
    assert scores == pytest.approx([scores[0]] * 3)


def test_receipt_says_what_ran(prepare: ModuleType, environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The receipt names metric, value, profile, budget, script, data, tokenizer and seed, and nothing else."""
    environment.setenv("AUTORESEARCH_RECEIPT_PATH", str(tmp_path / "deep" / "receipt.json"))
    model = Uniform(1024)
    value = prepare.evaluate_bpb(model, trained(prepare, model))
    receipt = json.loads((tmp_path / "deep" / "receipt.json").read_text())
    assert set(receipt) == {
        "metric", "value", "profile", "budget", "script_sha256", "data_sha256", "tokenizer_sha256", "seed",
    }  # fmt: skip
    assert receipt["value"] == value == round(value, 6)
    assert (receipt["metric"], receipt["profile"], receipt["seed"]) == ("val_bpb", "demo", 42)
    assert receipt["data_sha256"] == prepare.CPU_DIGESTS["validation"]
    assert receipt["tokenizer_sha256"] == prepare.CPU_DIGESTS["tokenizer"]
    budget = receipt["budget"]
    assert set(budget) == {"kind", "limit", "used", "tokens"}
    assert (budget["kind"], budget["limit"], budget["tokens"]) == ("compute", prepare.PROFILE.budget, 7)
    assert 0 < budget["used"] < budget["limit"]
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["receipt.json"]


def test_a_run_is_judged_once(prepare: ModuleType) -> None:
    """A second evaluation is refused: it would be tuning on the validation text."""
    model = Uniform(1024)
    budget = trained(prepare, model)
    prepare.evaluate_bpb(model, budget)
    with pytest.raises(prepare.BudgetError, match="already"):
        prepare.evaluate_bpb(model, budget)


def test_no_score_without_training_in_the_budget(prepare: ModuleType) -> None:
    """A budget without a step, or one that this run did not open, earns no score."""
    model = Uniform(1024)
    with pytest.raises(prepare.BudgetError, match="inside the budget"):
        prepare.evaluate_bpb(model, prepare.Budget(model))
    with pytest.raises(prepare.BudgetError, match="inside the budget"):
        prepare.evaluate_bpb(model, object())


@pytest.mark.parametrize("scale", [math.nan, math.inf])
def test_no_receipt_for_a_diverged_model(
    prepare: ModuleType, environment: pytest.MonkeyPatch, tmp_path: Path, scale: float
) -> None:
    """A score that is no number raises, and leaves no receipt."""
    environment.setenv("AUTORESEARCH_RECEIPT_PATH", str(tmp_path / "receipt.json"))
    model = Uniform(1024, scale)
    with pytest.raises(prepare.BenchmarkError, match="diverged"):
        prepare.evaluate_bpb(model, trained(prepare, model))
    assert not (tmp_path / "receipt.json").exists()


def test_changed_validation_tokens_are_noticed(prepare: ModuleType) -> None:
    """Validation tokens that differ from the benchmark's, even in memory, earn no score."""
    model = Uniform(1024)
    budget = trained(prepare, model)
    data = prepare.load_data()
    data.validation[3, 3] ^= np.uint16(1)
    with pytest.raises(prepare.BenchmarkError, match="validation of this run is not the benchmark's"):
        prepare.evaluate_bpb(model, budget)


class Oracle(Uniform):
    """Sees the token that comes next, and is rewarded for every one that is even."""

    def forward(self, tokens: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        """Losses that depend on the whole row."""
        share = (tokens % 2 == 0).float().mean(dim=1, keepdim=True)
        return (self.loss * share.expand_as(targets)).reshape(-1)


def test_a_model_that_sees_the_future_is_refused(prepare: ModuleType) -> None:
    """If later tokens change earlier losses there is no score and no receipt."""
    model = Oracle(1024)
    with pytest.raises(prepare.BenchmarkError, match="sees what it should predict"):
        prepare.evaluate_bpb(model, trained(prepare, model))


class Neighbourly(Uniform):
    """Reads a token's neighbours from `first` to `last` places away, and is rewarded for small ones."""

    def __init__(self, first: int, last: int, stride: int = 1) -> None:
        super().__init__(1024)
        self.reach = range(first, last + 1)
        self.stride = stride  # of the positions that look around; the others see themselves

    def forward(self, tokens: Tensor, targets: Tensor, reduction: str = "mean") -> Tensor:
        """Losses that depend on the mean of the neighbours."""
        x = tokens.float() / 1024
        padded = torch.nn.functional.pad(x, (3, 3))
        around = torch.stack([padded[:, 3 + d : 3 + d + x.shape[1]] for d in self.reach]).mean(dim=0)
        looking = torch.arange(x.shape[1]) % self.stride == 0
        return (self.loss + torch.where(looking, around, x)).reshape(-1)


@pytest.mark.parametrize("stride", [1, 2], ids=["everywhere", "at even positions"])
@pytest.mark.parametrize(("first", "last"), [(1, 1), (-1, 1)], ids=["one token ahead", "centred convolution"])
def test_a_look_ahead_of_one_token_is_refused(prepare: ModuleType, first: int, last: int, stride: int) -> None:
    """A model that sees the very token it is to predict, and nothing beyond, is caught."""
    model = Neighbourly(first, last, stride)
    with pytest.raises(prepare.BenchmarkError, match="sees what it should predict"):
        prepare._check_causality(model, prepare.load_data().validation, 8)


def test_honest_models_pass_the_causality_check(prepare: ModuleType, train: ModuleType) -> None:
    """A model that looks only back passes, and so does the shipped one once it has something to say."""
    validation = prepare.load_data().validation
    prepare._check_causality(Neighbourly(-3, 0), validation, 8)
    model = train.build_model()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    with torch.no_grad(), train.autocast():
        prepare._check_causality(model, validation, 8)
