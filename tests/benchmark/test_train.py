"""The training script: its parts, and whole runs of a few steps."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch

from tests.benchmark.fresh import ROOT, Runner

SUMMARY_KEYS = [
    "val_bpb", "training_seconds", "total_seconds", "peak_vram_mb", "mfu_percent",
    "total_tokens_M", "num_steps", "num_params_M", "depth",
]  # fmt: skip


def test_window_pattern(train: ModuleType) -> None:
    """The pattern repeats over the layers, S is half a row, and the last layer always sees all of it."""
    assert train.window_sizes("SSSL", 8, 2048) == [1024, 1024, 1024, 2048] * 2
    assert train.window_sizes("SSSL", 2, 256) == [128, 256]
    assert train.window_sizes("S", 3, 64) == [32, 32, 64]
    with pytest.raises(ValueError, match="WINDOW_PATTERN"):
        train.window_sizes("SXL", 4, 64)


def test_a_window_hides_what_is_older(train: ModuleType) -> None:
    """With a window of 4, a token's output ignores what lies 4 or more back, and all that is to come."""
    q, k, v = torch.randn(3, 1, 16, 2, 8).to(train.COMPUTE).unbind(0)
    mask = train.band_mask(16, 4)
    before = train.attend(q, k, v, 4, mask)
    v = v.clone()
    v[:, 5] += 1
    changed = (train.attend(q, k, v, 4, mask) != before).any(dim=-1).any(dim=-1)[0]
    assert changed.nonzero().flatten().tolist() == [5, 6, 7, 8]


def test_rotation_keeps_length_and_encodes_distance(train: ModuleType) -> None:
    """Rotary positions turn vectors without stretching them; products depend on distance alone."""
    cos, sin = (table.float() for table in train.rotary_tables(64, 16))
    x = torch.ones(1, 64, 1, 16)
    turned = train.rotate(x, cos, sin)
    assert torch.allclose(turned.norm(dim=-1), x.norm(dim=-1), rtol=0.01)
    products = turned[0, :, 0] @ turned[0, :, 0].T
    assert torch.allclose(products[10, 7], products[40, 37], atol=0.1)
    assert products[10, 10] > products[10, 7] + 1


@pytest.mark.parametrize("shape", [(2, 128, 128), (1, 512, 128), (3, 128, 512)])
def test_orthogonalise_sets_singular_values_near_one(train: ModuleType, shape: tuple[int, ...]) -> None:
    """After five quintics a random gradient's singular values lie near 1; only those near 0 stay behind."""
    torch.manual_seed(0)
    values = torch.linalg.svdvals(train.orthogonalise(torch.randn(shape) * 37, 5).float())
    assert values.quantile(0.02) > 0.8
    assert values.max() < 1.2
    assert abs(values.mean() - 1) < 0.1


def test_muon_moves_rows_alike_and_decays_with_caution(train: ModuleType) -> None:
    """Each output row moves by about the same amount, and decay never pushes a weight away from zero or against it."""
    torch.manual_seed(0)
    params = [torch.nn.Parameter(torch.randn(64, 32)) for _ in range(2)]
    gradients = [torch.randn(64, 32) * torch.linspace(0.1, 10, 64)[:, None] for _ in params]
    moved = {}
    for decay in (0.0, 0.5):
        copies = [torch.nn.Parameter(p.detach().clone()) for p in params]
        for copy, slope in zip(copies, gradients, strict=True):
            copy.grad = slope
        with torch.no_grad():
            train.Muon(copies, lr=0.01).step(1.0, momentum=0.9, decay=decay)
        moved[decay] = torch.stack([copy.detach() - p.detach() for copy, p in zip(copies, params, strict=True)])
    rows = moved[0.0].norm(dim=-1)
    assert rows.max() / rows.min() < 1.3
    extra = moved[0.5] - moved[0.0]
    weights = torch.stack([p.detach() for p in params])
    decayed = extra.abs() > 1e-6
    assert decayed.any()
    assert not decayed.all()
    assert (extra * weights <= 1e-6).all()  # only towards zero
    assert (moved[0.0] * weights)[decayed].max() <= 1e-6  # and only where the update goes there too


def test_schedule(train: ModuleType) -> None:
    """Flat without a warm-up, then straight down to nothing over the second half."""
    rates = [train.learning_rate_scale(fraction) for fraction in (0.0, 0.5, 0.75, 1.0)]
    assert rates == pytest.approx([1.0, 1.0, 0.5, 0.0])


def test_an_untrained_model_is_uniform(train: ModuleType) -> None:
    """At initialisation the loss is that of guessing, and every block is the identity."""
    model = train.build_model()
    tokens = torch.randint(0, 1023, (2, 256))
    with torch.no_grad(), train.autocast():
        loss = model(tokens, tokens)
        single = model(tokens, tokens, reduction="none")
        logits = model(tokens)
    assert float(loss) == pytest.approx(math.log(1024), abs=0.02)
    assert single.shape == (512,)
    assert logits.shape == (2, 256, 1024)


def test_every_parameter_learns(prepare: ModuleType, train: ModuleType) -> None:
    """After a few steps each parameter has moved, so no knob belongs to a dead branch."""
    model = train.build_model()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimiser, data = train.Optimiser(model), prepare.batches(2, 256)
    for step in range(3):
        train.train_step(model, data, 1)
        optimiser.step(step, 0.0)
    assert [name for name, p in model.named_parameters() if torch.equal(p, before[name])] == []


def test_accumulation_equals_one_large_batch(prepare: ModuleType, train: ModuleType) -> None:
    """Four micro-steps of two rows give the gradient of one pass over eight."""
    gradients = []
    for rows, count in ((8, 1), (2, 4)):
        model = train.build_model()
        torch.nn.init.normal_(model.unembedding.weight, std=0.02)
        train.train_step(model, prepare.batches(rows, 256), count)
        gradients.append(model.unembedding.weight.grad)
    assert torch.nn.functional.cosine_similarity(gradients[0].ravel(), gradients[1].ravel(), dim=0) > 0.99
    assert gradients[0].norm() == pytest.approx(float(gradients[1].norm()), rel=0.02)


def test_indivisible_batch_is_explained(train: ModuleType) -> None:
    """A total batch that micro-batches cannot make up is an error that names both."""
    with pytest.raises(ValueError, match=r"TOTAL_BATCH 2048 .* 3 rows"):
        train.micro_steps(3)


def test_every_knob_is_one_literal_assignment_a_line() -> None:
    """Tools edit the knobs, so each is NAME = literal with a comment, the same names on either machine."""
    source = (ROOT / "train.py").read_text()
    block = source[source.index("if ON_GPU:") : source.index("# Model\n")]
    lines = [line for line in block.splitlines() if re.match(r"\s*[A-Z]", line)]
    assert len(lines) > 40
    for line in lines:
        assert re.fullmatch(r'\s*[A-Z][A-Z0-9_]* = (\d[\d.e-]*|"[SL]+"|True)  # .+', line), line
    names = [line.split()[0] for line in lines]
    gpu, cpu = (block[block.index(word) :].split("\n\n")[0] for word in ("if ON_GPU", "else:"))
    arms = [re.findall(r"^    ([A-Z0-9_]+) =", arm.split("\nelse")[0], re.MULTILINE) for arm in (gpu, cpu)]
    assert arms[0] == arms[1]
    assert all(len(re.findall(rf"\b{name}\b", source)) > names.count(name) for name in names)  # each is used


SHORT = {"AUTORESEARCH_BUDGET_SCALE": "0.02"}  # three steps


def test_a_run_reports_and_repeats_itself(run_copy: Runner, tmp_path: Path) -> None:
    """Two equal runs end in the same bits; the summary has each key once, and receipt, JSON and printout agree."""
    outputs = []
    for name in ("first", "second"):
        files = {f"AUTORESEARCH_{kind}_PATH": str(tmp_path / f"{name}.{kind}") for kind in ("SUMMARY", "PROGRESS")}
        done = run_copy(**SHORT, **files, AUTORESEARCH_RECEIPT_PATH=str(tmp_path / f"{name}.RECEIPT"))
        assert done.returncode == 0, done.stderr
        outputs.append(done.stdout)
    printed = re.findall(r"^([A-Za-z_]+):\s+(\S+)$", outputs[0].split("---\n")[1], re.MULTILINE)
    assert [key for key, _ in printed] == SUMMARY_KEYS
    assert all(outputs[0].count(f"{key}:") == 1 for key in SUMMARY_KEYS)
    summary = json.loads((tmp_path / "first.SUMMARY").read_text())
    assert list(summary) == SUMMARY_KEYS
    receipt, again = (json.loads((tmp_path / f"{name}.RECEIPT").read_text()) for name in ("first", "second"))
    assert receipt == again
    assert receipt["value"] == summary["val_bpb"] == float(dict(printed)["val_bpb"])
    assert receipt["script_sha256"] == hashlib.sha256((ROOT / "train.py").read_bytes()).hexdigest()
    assert receipt["budget"]["tokens"] == 3 * 2048 == summary["num_steps"] * 2048
    progress = [json.loads(line) for line in (tmp_path / "first.PROGRESS").read_text().splitlines()]
    assert all(set(line) == {"step", "fraction", "loss", "tokens_per_second"} for line in progress)
    assert progress[-1]["step"] == 3
    assert 5 < progress[-1]["loss"] < 8


def test_a_diverged_run_fails_at_once(run_copy: Runner, tmp_path: Path) -> None:
    """A loss that is no number ends the run with FAIL and exit code 1, without summary or receipt."""
    edit = {"SOFTCAP = 15.0": "SOFTCAP = math.nan"}
    done = run_copy(edit, **SHORT, AUTORESEARCH_RECEIPT_PATH=str(tmp_path / "receipt.json"))
    assert done.returncode == 1
    assert "FAIL: the loss is nan nats at step 0" in done.stdout
    assert "val_bpb:" not in done.stdout
    assert not (tmp_path / "receipt.json").exists()


@pytest.mark.parametrize("loss", [math.nan, math.inf, 100.5])
def test_an_absurd_loss_is_an_error(prepare: ModuleType, train: ModuleType, loss: float) -> None:
    """A loss above the limit, infinite or not a number stops training at that step."""
    model = train.build_model()

    def forward(*_: torch.Tensor) -> torch.Tensor:
        constant: torch.Tensor = model.x0_weights.sum() * 0 + loss
        return constant

    with pytest.raises(train.DivergedError, match="step 0"):
        train.train(model, forward, prepare.Budget(model), train.DEVICE_BATCH)


def broken(*_: object) -> object:
    """A hub client on a bad day: not an OSError."""
    raise LookupError("no such kernel")


def test_the_attention_kernel_is_chosen_once(prepare: ModuleType, tmp_path: Path) -> None:
    """prepare.py records which attention runs use; a later try with a better network changes nothing."""
    record = tmp_path / "attention.txt"
    assert prepare.choose_attention(record, broken) == "torch"
    assert prepare.choose_attention(record, lambda: None) == "torch"
    assert prepare.load_attention(record, broken) is None
    record.unlink()
    assert prepare.choose_attention(record, lambda: None) == "flash-attention-3"
    with pytest.raises(prepare.BenchmarkError, match="earlier runs used the kernel"):
        prepare.choose_attention(record, broken)
    assert record.read_text() == "flash-attention-3\n"


def test_a_prepared_kernel_is_loaded_offline_or_not_at_all(
    prepare: ModuleType, environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Training reads the kernel from the disk, and ends with a hint rather than taking another one in silence."""
    record = tmp_path / "attention.txt"
    environment.setenv("HF_HUB_OFFLINE", "0")
    with pytest.raises(SystemExit, match=r"run `uv run prepare\.py`"):
        prepare.load_attention(record, lambda: print)
    record.write_text("flash-attention-3\n")
    assert prepare.load_attention(record, lambda: print) is print
    assert os.environ["HF_HUB_OFFLINE"] == "1"
    with pytest.raises(SystemExit, match="no such kernel"):
        prepare.load_attention(record, broken)


def test_machines_without_a_hopper_card_use_torchs_attention(train: ModuleType) -> None:
    """Where FlashAttention-3 does not run nothing is loaded and no record is needed."""
    assert train.FLASH_ATTENTION is None
