"""Pretrain a small GPT on a fixed budget. The one file to edit; `prepare.py` holds the data, the budget and the judge.

    uv run train.py

Read it from top to bottom: the knobs, the model, the optimisers, the loop, the report. The score is `val_bpb`, bits per
byte on held-out text, lower is better; the last lines print it.

Environment: AUTORESEARCH_SEED (42) · AUTORESEARCH_PROFILE (cuda, demo, long) · AUTORESEARCH_SUMMARY_PATH (the printed
summary as JSON) · AUTORESEARCH_PROGRESS_PATH (JSON lines while it trains).
"""

import prepare  # first of all: it pins the number of threads, which must happen before torch wakes up

# isort: split
import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# ----------------------------------------------------------------------------------------------------------------------
# Knobs. Only DEPTH, the batches and some learning rates depend on the machine; the rest is one recipe.
# Shapes in comments: B rows, T tokens per row, C width, H heads, D head size, V vocabulary.
# ----------------------------------------------------------------------------------------------------------------------

ON_GPU = prepare.PROFILE.device == "cuda"

if ON_GPU:
    DEPTH = 8  # layers; the width follows from it
    HEAD_SIZE = 128  # channels per head: what FlashAttention-3 likes best
    TOTAL_BATCH = 524288  # tokens per optimiser step
    DEVICE_BATCH = 128  # rows per forward pass on an 80 GB card; smaller cards take fewer by themselves
    SEQUENCE_LENGTH = 2048  # tokens per training row
    EMBEDDING_LR = 0.6  # AdamW, token and value embeddings, at width 768
    UNEMBEDDING_LR = 0.004  # AdamW, output head, at width 768
    MATRIX_LR = 0.04  # Muon, all matrices inside the blocks
    SCALAR_LR = 0.5  # AdamW, the per-layer mixing scalars
else:
    DEPTH = 2  # layers; 0.8M parameters learn most from half a minute of one core
    HEAD_SIZE = 32  # channels per head: four heads
    TOTAL_BATCH = 2048  # tokens per optimiser step: small, so that a short budget still has 150 of them
    DEVICE_BATCH = 8  # rows per forward pass
    SEQUENCE_LENGTH = 256  # tokens per training row
    EMBEDDING_LR = 0.3  # AdamW, token and value embeddings, at width 768
    UNEMBEDDING_LR = 0.008  # AdamW, output head, at width 768
    MATRIX_LR = 0.02  # Muon, all matrices inside the blocks
    SCALAR_LR = 0.5  # AdamW, the per-layer mixing scalars

# Shape of the model
ASPECT_RATIO = 64  # channels of width per layer of depth
MLP_RATIO = 4  # hidden units per channel
WINDOW_PATTERN = "SSSL"  # one letter per layer, repeated: S sees half a row back, L all of it; the last layer is L
VALUE_EMBEDDINGS = True  # every second layer, the last included, mixes a per-token embedding into its values
GATE_CHANNELS = 32  # leading channels that decide how much of the value embedding each head takes
ROPE_BASE = 10000.0  # longest rotary wavelength, in tokens over 2 pi
SOFTCAP = 15.0  # logits are squashed into (-15, 15), so no token is ever ruled out; 0 leaves them alone
NORM_EPS = 1e-6  # added to the mean square in every norm

# Initial weights
EMBEDDING_STD = 1.0  # the embedding is normalised on entry, so its scale only sets how fast it turns
UNEMBEDDING_STD = 0.001  # near zero: the first predictions are uniform
MATRIX_INIT = 1.0  # standard deviation of input projections, in units of width ** -0.5; output projections start at 0
RESID_INIT = 1.0  # weight of the residual stream on entering a layer
X0_INIT = 0.1  # weight of the token's own embedding on entering a layer

# Optimisation
ADAM_BETA1 = 0.8  # memory of the gradient's mean, short for short runs
ADAM_BETA2 = 0.95  # memory of its square
ADAM_EPS = 1e-10  # far below any gradient that matters here
RESID_LR_RATIO = 0.01  # residual weights act on all layers at once: a hundredth of SCALAR_LR
MUON_MOMENTUM = 0.95  # memory of the gradient, once warm
MUON_MOMENTUM_START = 0.85  # ... and at the first step, when early gradients are soon stale
MUON_MOMENTUM_STEPS = 300  # steps from the one to the other
MUON_BETA2 = 0.95  # memory of each output row's mean square
MUON_STEPS = 5  # iterations of the orthogonalisation: singular values end within 13 % of 1
WEIGHT_DECAY = 0.2  # of the matrices, per unit of learning rate, falling to 0 with the budget
REFERENCE_WIDTH = 768  # where the AdamW rates were chosen; they scale with (width / 768) ** -0.5

# Schedule, in shares of the budget
WARMUP_RATIO = 0.0  # rising from 0: not needed, the output projections start at zero
WARMDOWN_RATIO = 0.5  # falling, linearly, over the second half
FINAL_LR_FRAC = 0.0  # of the peak rate, at the end

# Watching
LOSS_LIMIT = 100.0  # nats per token: above it, or not a number, the run has failed
EMA_DECAY = 0.9  # smoothing of the loss that is shown

# ----------------------------------------------------------------------------------------------------------------------
# Model
# ----------------------------------------------------------------------------------------------------------------------

DEVICE = torch.device(prepare.PROFILE.device)
COMPUTE = torch.bfloat16  # type of activations and matrix products; parameters and optimiser state stay fp32
LONGEST = max(SEQUENCE_LENGTH, prepare.PROFILE.context)  # tokens: the judge may read longer rows than we train on


def autocast() -> AbstractContextManager[object]:
    """Matrix products in bf16, here and when the judge runs the model."""
    return torch.autocast(DEVICE.type, dtype=COMPUTE)


FLASH_ATTENTION = prepare.load_attention()  # FlashAttention-3 on Hopper cards, where it is fastest; elsewhere nothing


def norm(x: Tensor) -> Tensor:
    """Scale the last axis to a root mean square of 1; no learnt gain."""
    return F.rms_norm(x, (x.shape[-1],), eps=NORM_EPS).to(x.dtype)  # autocast may have widened it


def window_sizes(pattern: str, depth: int, length: int) -> list[int]:
    """How many tokens, itself included, each layer lets a token see."""
    if not pattern or set(pattern) - set("SL"):
        raise ValueError(f"WINDOW_PATTERN={pattern!r} must be made of the letters S and L")
    sizes = {"S": length // 2, "L": length}
    return [sizes[pattern[layer % len(pattern)]] for layer in range(depth - 1)] + [length]


def rotary_tables(length: int, head_size: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every position's angles, each (1, T, 1, D/2)."""
    frequency = ROPE_BASE ** -(torch.arange(0, head_size, 2, dtype=torch.float32, device=DEVICE) / head_size)
    angle = torch.outer(torch.arange(length, dtype=torch.float32, device=DEVICE), frequency)[None, :, None, :]
    return angle.cos().to(COMPUTE), angle.sin().to(COMPUTE)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn channel pairs (i, i + D/2) of x, (B, T, H, D), by their position's angles."""
    left, right = x.chunk(2, dim=-1)
    return torch.cat((left * cos + right * sin, right * cos - left * sin), dim=-1)


def band_mask(length: int, window: int) -> Tensor | None:
    """(T, T), 0 where a token may look and -inf elsewhere; None if plain causality says it all."""
    if window >= length:
        return None
    age = torch.arange(length, device=DEVICE)[:, None] - torch.arange(length, device=DEVICE)[None, :]
    return torch.zeros(length, length, dtype=COMPUTE, device=DEVICE).masked_fill((age < 0) | (age >= window), -math.inf)


def attend(q: Tensor, k: Tensor, v: Tensor, window: int, mask: Tensor | None) -> Tensor:
    """Causal attention over the last `window` tokens; all of it (B, T, H, D)."""
    length = q.shape[1]
    if FLASH_ATTENTION is not None:
        return FLASH_ATTENTION(q, k, v, causal=True, window_size=(window - 1, 0))
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)  # (B, H, T, D)
    if mask is None or window >= length:  # the causal kernel skips the future: half the work of a masked one
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:length, :length])
    return y.transpose(1, 2)


class Attention(nn.Module):
    """Causal self-attention with rotary positions, normalised queries and keys, and gated value embeddings."""

    def __init__(self, width: int, head_size: int, window: int, has_value_embedding: bool) -> None:
        super().__init__()
        self.heads, self.head_size, self.window = width // head_size, head_size, window
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.gate = nn.Linear(min(GATE_CHANNELS, width), self.heads, bias=False) if has_value_embedding else None

    def forward(self, x: Tensor, ve: Tensor | None, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, T, C), ve (B, T, C) or None -> (B, T, C)."""
        shape = (*x.shape[:2], self.heads, self.head_size)
        q, k, v = self.query(x).view(shape), self.key(x).view(shape), self.value(x).view(shape)  # (B, T, H, D)
        if ve is not None and self.gate is not None:
            gate = 2 * torch.sigmoid(self.gate(x[..., : self.gate.in_features]))  # (B, T, H), 1 at the start
            v = v + gate.unsqueeze(-1) * ve.view(shape)
        q, k = norm(rotate(q, cos, sin)), norm(rotate(k, cos, sin))  # unit scale: logits cannot blow up
        y: Tensor = self.out(attend(q, k, v, self.window, mask).reshape(x.shape))
        return y


class MLP(nn.Module):
    """Two matrices with a squared ReLU between them: sparse like ReLU, smooth at zero."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up = nn.Linear(width, int(MLP_RATIO * width), bias=False)
        self.down = nn.Linear(int(MLP_RATIO * width), width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        y: Tensor = self.down(F.relu(self.up(x)).square())
        return y


class Block(nn.Module):
    """Attention, then MLP, each on a normalised copy of the stream and added back to it."""

    def __init__(self, width: int, head_size: int, window: int, has_value_embedding: bool) -> None:
        super().__init__()
        self.attention = Attention(width, head_size, window, has_value_embedding)
        self.mlp = MLP(width)

    def forward(self, x: Tensor, ve: Tensor | None, cos: Tensor, sin: Tensor, mask: Tensor | None) -> Tensor:
        """(B, T, C) -> (B, T, C)."""
        x = x + self.attention(norm(x), ve, cos, sin, mask)
        y: Tensor = x + self.mlp(norm(x))
        return y


class GPT(nn.Module):
    """A decoder-only transformer. Called with targets it returns their loss in nats, without them the logits."""

    def __init__(self, vocabulary: int, depth: int, width: int, head_size: int) -> None:
        super().__init__()
        if width % head_size or head_size % 2:
            raise ValueError(f"width {width} (DEPTH x ASPECT_RATIO) is no multiple of an even HEAD_SIZE, {head_size}")
        self.width = width
        windows = window_sizes(WINDOW_PATTERN, depth, SEQUENCE_LENGTH)
        embedded = [VALUE_EMBEDDINGS and (depth - 1 - layer) % 2 == 0 for layer in range(depth)]
        self.layers = [Block(width, head_size, windows[i], embedded[i]) for i in range(depth)]
        self.tables = {i: nn.Embedding(vocabulary, width) for i in range(depth) if embedded[i]}
        self.embedding = nn.Embedding(vocabulary, width)
        self.value_embeddings = nn.ModuleList(self.tables.values())
        self.blocks = nn.ModuleList(self.layers)
        self.resid_weights = nn.Parameter(torch.empty(depth))
        self.x0_weights = nn.Parameter(torch.empty(depth))
        self.unembedding = nn.Linear(width, vocabulary, bias=False)

        self.cos, self.sin = rotary_tables(LONGEST, head_size)
        self.masks = {size: None if FLASH_ATTENTION else band_mask(LONGEST, size) for size in set(windows)}
        self.initialise()

    @torch.no_grad()
    def initialise(self) -> None:
        """Random where a layer reads the stream, zero where it writes to it: every block starts as the identity."""
        reach = MATRIX_INIT * (3 / self.width) ** 0.5  # a uniform of this reach has standard deviation width ** -0.5
        nn.init.normal_(self.embedding.weight, std=EMBEDDING_STD)
        nn.init.normal_(self.unembedding.weight, std=UNEMBEDDING_STD)
        for table in self.tables.values():
            nn.init.uniform_(table.weight, -reach, reach)
        for block in self.layers:
            for reader in (block.attention.query, block.attention.key, block.attention.value, block.mlp.up):
                nn.init.uniform_(reader.weight, -reach, reach)
            for writer in (block.attention.out, block.mlp.down, block.attention.gate):
                if writer is not None:
                    nn.init.zeros_(writer.weight)
        nn.init.constant_(self.resid_weights, RESID_INIT)
        nn.init.constant_(self.x0_weights, X0_INIT)

    def forward(self, tokens: Tensor, targets: Tensor | None = None, reduction: str = "mean") -> Tensor:
        """tokens (B, T) -> logits (B, T, V); with targets (B, T) -> the loss, one number, or (B * T,) if "none"."""
        length = tokens.shape[1]
        cos, sin = self.cos[:, :length], self.sin[:, :length]
        x = norm(self.embedding(tokens).to(COMPUTE))  # (B, T, C)
        x0 = x
        for i, block in enumerate(self.layers):
            x = self.resid_weights[i].to(COMPUTE) * x + self.x0_weights[i].to(COMPUTE) * x0
            ve = self.tables[i](tokens).to(COMPUTE) if i in self.tables else None  # (B, T, C)
            x = block(x, ve, cos, sin, self.masks[block.attention.window])
        logits: Tensor = self.unembedding(norm(x)).float()  # (B, T, V); fp32, for the softmax
        if SOFTCAP:
            logits = SOFTCAP * torch.tanh(logits / SOFTCAP)
        if targets is None:
            return logits
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1), reduction=reduction)

    def flop_per_token(self) -> float:
        """Matrix FLOP of a training token, forward and backward: 6 per weight, 12 C per visible token and layer."""
        weights: int = sum(matrix.numel() for matrix in self.blocks.parameters()) + self.unembedding.weight.numel()
        seen = sum(block.attention.window for block in self.layers)
        return 6 * weights + 12 * self.width * seen


# ----------------------------------------------------------------------------------------------------------------------
# Optimisers. Both are written out: torch.optim would cost two seconds of imports, a tenth of the CPU budget.
# ----------------------------------------------------------------------------------------------------------------------


def gradient(param: Tensor) -> Tensor:
    """The gradient that backward left."""
    assert param.grad is not None, f"a parameter of shape {tuple(param.shape)} took no part in the loss"
    return param.grad


class AdamW:
    """Adam for embeddings and scalars: one group of parameters, one rate, torch's fused kernel."""

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        self.params: list[Tensor] = list(params)
        self.lr = lr
        self.mean = [torch.zeros_like(p) for p in self.params]
        self.square = [torch.zeros_like(p) for p in self.params]
        self.steps = [torch.zeros((), dtype=torch.float32, device=p.device) for p in self.params]

    def step(self, lr_scale: float) -> None:
        """Apply the gradients at `lr_scale` times the group's rate."""
        torch._foreach_add_(self.steps, 1.0)
        torch._fused_adamw_(
            self.params,
            [gradient(p) for p in self.params],
            self.mean,
            self.square,
            [],  # the maximum of squares that only AMSGrad keeps
            self.steps,
            lr=self.lr * lr_scale,
            beta1=ADAM_BETA1,
            beta2=ADAM_BETA2,
            weight_decay=0.0,
            eps=ADAM_EPS,
            amsgrad=False,
            maximize=False,
        )


# Best odd quintics a x + b x^3 + c x^5 for pulling singular values towards 1 in turn, computed with the Remez exchange
# for values that begin in [0.001, 1] and may each time be 1 % over because of bf16 (the idea is Polar Express, Amsel
# et al. 2025). After five, everything lies within 1 +- 0.13; the sixth makes it 0.0014.
POLAR_QUINTICS = (
    (8.3869, -24.3713, 17.7264),
    (4.1430, -3.0186, 0.5527),
    (3.9312, -2.8741, 0.5367),
    (3.2828, -2.4166, 0.4865),
    (2.2850, -1.6324, 0.4031),
    (1.8823, -1.2485, 0.3666),
)


def orthogonalise(matrices: Tensor, steps: int) -> Tensor:
    """Replace all singular values of each matrix, (K, M, N), by about 1: the direction without the magnitude."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x: Tensor = (matrices.transpose(-2, -1) if tall else matrices).to(COMPUTE)  # wide: products are of the short side
    x = x / (x.norm(dim=(-2, -1), keepdim=True) * 1.01 + 1e-7)  # Frobenius norm bounds the largest singular value
    for a, b, c in (*POLAR_QUINTICS, *POLAR_QUINTICS[-1:] * steps)[:steps]:
        gram = x @ x.transpose(-2, -1)
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.transpose(-2, -1) if tall else x


class Muon:
    """Momentum, orthogonalised, for matrices of one shape stacked into (K, M, N).

    Then, as in NorMuon, each output row is divided by its running root mean square, so that no neuron learns much
    faster than another, and the whole is scaled back to the length it had. Weight decay is cautious: it acts only
    where it pulls the same way as the update.
    """

    def __init__(self, params: Iterable[Tensor], lr: float) -> None:
        self.params: list[Tensor] = list(params)
        rows, columns = self.params[0].shape
        self.lr = lr * max(1.0, rows / columns) ** 0.5  # an update of equal effect is larger where outputs outnumber
        self.momentum = torch.zeros(len(self.params), rows, columns, device=DEVICE)
        self.row_square = torch.zeros(len(self.params), rows, 1, device=DEVICE)

    def step(self, lr_scale: float, momentum: float, decay: float) -> None:
        """Apply the gradients at `lr_scale` times the group's rate."""
        slope = torch.stack([gradient(p) for p in self.params])  # (K, M, N)
        self.momentum.lerp_(slope, 1 - momentum)
        update = orthogonalise(slope.lerp(self.momentum, momentum), MUON_STEPS).float()  # Nesterov's look ahead

        square = update.square().mean(dim=-1, keepdim=True)  # (K, M, 1)
        self.row_square.lerp_(square, 1 - MUON_BETA2)
        scale = self.row_square.clamp_min(1e-10).rsqrt()
        length, scaled = (s.sum(dim=-2, keepdim=True) for s in (square, square * scale.square()))
        update *= scale * (length / scaled.clamp_min(1e-10)).sqrt()

        lr = self.lr * lr_scale
        weights = torch.stack([p.detach() for p in self.params])
        update += decay * weights * (update * weights >= 0)
        torch._foreach_add_(self.params, list(update.unbind(0)), alpha=-lr)


class Optimiser:
    """Muon for the matrices inside blocks, AdamW for everything else, on one schedule."""

    def __init__(self, model: GPT) -> None:
        self.params = list(model.parameters())
        scale = (model.width / REFERENCE_WIDTH) ** -0.5
        self.adam = [
            AdamW(model.unembedding.parameters(), UNEMBEDDING_LR * scale),
            AdamW([model.embedding.weight, *model.value_embeddings.parameters()], EMBEDDING_LR * scale),
            AdamW([model.resid_weights], SCALAR_LR * RESID_LR_RATIO),
            AdamW([model.x0_weights], SCALAR_LR),
        ]
        by_shape: dict[torch.Size, list[nn.Parameter]] = {}
        for matrix in model.blocks.parameters():
            by_shape.setdefault(matrix.shape, []).append(matrix)
        self.muon = [Muon(matrices, MATRIX_LR) for matrices in by_shape.values()]

    @torch.no_grad()
    def step(self, step: int, fraction: float) -> None:
        """Apply the gradients and clear them. `fraction` of the budget is used up."""
        lr_scale = learning_rate_scale(fraction)
        warmth = min(1.0, step / MUON_MOMENTUM_STEPS)
        momentum = MUON_MOMENTUM_START + warmth * (MUON_MOMENTUM - MUON_MOMENTUM_START)
        for group in self.adam:
            group.step(lr_scale)
        for stack in self.muon:
            stack.step(lr_scale, momentum, WEIGHT_DECAY * (1 - fraction))
        for param in self.params:
            param.grad = None


def learning_rate_scale(fraction: float) -> float:
    """Share of the peak learning rate after this share of the budget: rise, stay, fall."""
    if fraction < WARMUP_RATIO:
        return fraction / WARMUP_RATIO
    if fraction <= 1 - WARMDOWN_RATIO:
        return 1.0
    left = (1 - fraction) / WARMDOWN_RATIO  # of the warm-down
    return FINAL_LR_FRAC + left * (1 - FINAL_LR_FRAC)


# ----------------------------------------------------------------------------------------------------------------------
# Training
# ----------------------------------------------------------------------------------------------------------------------


class DivergedError(RuntimeError):
    """The loss is not a number, or absurd: no use going on."""


def build_model() -> GPT:
    """The model that the knobs describe, with the seed's initial weights."""
    torch.manual_seed(prepare.SEED)
    return GPT(prepare.PROFILE.vocabulary, DEPTH, DEPTH * ASPECT_RATIO, HEAD_SIZE).to(DEVICE)


def micro_steps(device_batch: int) -> int:
    """Forward passes per optimiser step."""
    tokens = device_batch * SEQUENCE_LENGTH
    if TOTAL_BATCH % tokens:
        raise ValueError(f"TOTAL_BATCH {TOTAL_BATCH} is no multiple of {device_batch} rows x {SEQUENCE_LENGTH} tokens")
    return TOTAL_BATCH // tokens


def train_step(model: Callable[..., Tensor], data: Iterator[tuple[Tensor, Tensor]], count: int) -> float:
    """Accumulate gradients over `count` micro-batches; returns their mean loss in nats per token."""
    total = torch.zeros((), device=DEVICE)
    for _ in range(count):
        inputs, targets = next(data)
        with autocast():
            loss = model(inputs, targets) / count
        torch.autograd.backward(loss)
        total += loss.detach()
    return float(total)


def train(model: GPT, forward: Callable[..., Tensor], budget: prepare.Budget, device_batch: int) -> None:
    """Spend the budget."""
    optimiser = Optimiser(model)
    count = micro_steps(device_batch)
    data = prepare.batches(device_batch, SEQUENCE_LENGTH)
    progress = Progress(budget)
    while not budget.spent:
        with budget.step(tokens=TOTAL_BATCH):
            loss = train_step(forward, data, count)
            if not loss <= LOSS_LIMIT:  # written so that NaN fails too
                raise DivergedError(f"the loss is {loss:.4g} nats at step {budget.steps}")
            optimiser.step(budget.steps, budget.fraction)
        progress.update(loss)
    progress.close()


# ----------------------------------------------------------------------------------------------------------------------
# Reporting
# ----------------------------------------------------------------------------------------------------------------------

PEAK_TFLOPS = {"H100": 989, "H200": 989, "B200": 2250, "A100": 312, "L40S": 362, "4090": 165}  # dense bf16, as sold


class Progress:
    """Shows a smoothed loss: on the terminal in place, in a log every tenth of the budget, and as JSON lines."""

    INTERVAL = 0.25  # seconds between JSON lines, at least

    def __init__(self, budget: prepare.Budget) -> None:
        self.budget = budget
        self.average, self.weight = 0.0, 0.0
        self.next_share, self.next_time = 0.0, 0.0
        self.live = sys.stdout.isatty()
        path = os.environ.get("AUTORESEARCH_PROGRESS_PATH")
        self.stream = Path(path).open("a") if path else None  # noqa: SIM115  closed by `close`

    def update(self, loss: float) -> None:
        """Take in one step's loss and show what is due."""
        self.average = EMA_DECAY * self.average + (1 - EMA_DECAY) * loss
        self.weight = EMA_DECAY * self.weight + (1 - EMA_DECAY)  # what a constant loss of 1 would have come to
        fraction, last = self.budget.fraction, self.budget.spent
        if self.live or last or fraction >= self.next_share:
            self.next_share = math.floor(fraction * 10 + 1) / 10
            print("\r" * self.live + self.line(), end="" if self.live else "\n", flush=True)
        if self.stream and (last or time.monotonic() >= self.next_time):
            self.next_time = time.monotonic() + self.INTERVAL
            self.stream.write(json.dumps(self.record()) + "\n")
            self.stream.flush()

    def record(self) -> dict[str, float]:
        """Where the run is, for programs."""
        return {
            "step": self.budget.steps,
            "fraction": round(self.budget.fraction, 6),
            "loss": round(self.average / self.weight, 6),
            "tokens_per_second": round(self.budget.tokens_per_second, 1),
        }

    def line(self) -> str:
        """Where the run is, for people."""
        now = self.record()
        return (
            f"step {now['step']:5d} · {now['fraction']:6.1%} of the budget · loss {now['loss']:.4f} · "
            f"{now['tokens_per_second']:,.0f} tokens/s · {self.budget.training_seconds:.0f} s"
        )

    def close(self) -> None:
        """End the terminal's line and the stream."""
        if self.live:
            print()
        if self.stream:
            self.stream.close()


def summarise(model: GPT, budget: prepare.Budget, val_bpb: float, seconds: float) -> dict[str, float]:
    """The run in nine numbers."""
    name = torch.cuda.get_device_name() if ON_GPU else ""
    peak = next((1e12 * tflops for card, tflops in PEAK_TFLOPS.items() if card in name), math.inf)  # unknown: 0 %
    return {
        "val_bpb": val_bpb,
        "training_seconds": round(budget.training_seconds, 1),
        "total_seconds": round(seconds, 1),
        "peak_vram_mb": round(torch.cuda.max_memory_allocated() / 2**20, 1) if ON_GPU else 0.0,
        "mfu_percent": round(100 * model.flop_per_token() * budget.tokens_per_second / peak, 2),
        "total_tokens_M": round(budget.tokens / 1e6, 1),
        "num_steps": budget.steps,
        "num_params_M": round(sum(p.numel() for p in model.parameters()) / 1e6, 1),
        "depth": DEPTH,
    }


def report(summary: dict[str, float]) -> None:
    """Print the summary, one `key: value` a line, and write it where the environment asks."""
    print("---")
    for key, value in summary.items():
        print(f"{key + ':':<18}" + (f"{value:.6f}" if key == "val_bpb" else f"{value}"))
    if path := os.environ.get("AUTORESEARCH_SUMMARY_PATH"):
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f".{target.name}.{os.getpid()}")
        draft.write_text(json.dumps(summary, indent=2) + "\n")
        draft.replace(target)  # readers never see half a file


def main() -> int:
    """Build, train, judge, report."""
    try:
        model = build_model()
        device_batch = prepare.fit_to_memory(DEVICE_BATCH)
        runner: Any = torch.compile(model, dynamic=False) if ON_GPU else model  # compiling would not pay on a CPU
        print(f"{prepare.PROFILE.name} profile, seed {prepare.SEED}: {DEPTH} layers of width {model.width}")
        budget = prepare.Budget(model)
        train(model, runner, budget, device_batch)
        with autocast():
            val_bpb = prepare.evaluate_bpb(runner, budget, device_batch)
    except (DivergedError, prepare.BenchmarkError) as error:
        print(f"\nFAIL: {error}", flush=True)
        return 1
    report(summarise(model, budget, val_bpb, time.perf_counter() - prepare.STARTED))
    return 0


if __name__ == "__main__":
    sys.exit(main())
