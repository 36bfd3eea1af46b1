"""The catalogue of edits at work: each trains, does something else than the shipped file, and keeps its word."""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from nightlab.search.catalogue import BY_NAME, CATALOGUE
from nightlab.search.edits import Edit, apply_edit
from nightlab.search.knobs import find_knobs, set_knobs
from nightlab.search.moves import moves
from nightlab.types import Files
from tests.benchmark.fresh import ROOT, load

SHIPPED: Files = {"train.py": (ROOT / "train.py").read_text()}

SCALE = 0.03
"""Of the demo's budget: four steps of the shipped file."""

Build = Callable[[Files], ModuleType]


@pytest.fixture(scope="module")
def build(home: Path) -> Iterator[Build]:
    """Executes a train.py in this process, on one `prepare` with a tiny budget, opened anew for each."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("HOME", str(home))
        environment.setenv("AUTORESEARCH_PROFILE", "demo")
        environment.setenv("AUTORESEARCH_BUDGET_SCALE", str(SCALE))
        prepare = load("prepare")

        def made(files: Files) -> ModuleType:
            module = ModuleType("train")
            # a new run: no budget is open, and what this process did before is not its hidden work
            vars(prepare).update(_opened=None, _CPU_AFTER_IMPORT=vars(prepare)["_run_cpu"]())
            sys.modules["prepare"] = prepare
            exec(compile(files["train.py"], "train.py", "exec"), vars(module))  # noqa: S102  our own benchmark
            module.prepare = prepare  # type: ignore[attr-defined]
            return module

        yield made
        sys.modules.pop("prepare", None)


@dataclass(frozen=True)
class Trace:
    """What a source does: training losses, judged losses by token, weights after late steps of the schedule."""

    losses: list[float]
    tokens: int
    judged: Tensor
    weights: list[Tensor]

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, Trace)
        return (
            (self.losses, self.tokens, len(self.weights)) == (other.losses, other.tokens, len(other.weights))
            and torch.equal(self.judged, other.judged)
            and all(torch.equal(*pair) for pair in zip(self.weights, other.weights, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]


def trained(module: Any) -> tuple[Any, list[float], int]:
    """The model after a whole tiny training run, its losses and the tokens it was charged."""
    losses: list[float] = []
    step = module.train_step

    def watched(*args: Any) -> float:
        losses.append(step(*args))
        return losses[-1]

    module.train_step = watched
    model = module.build_model()
    budget = module.prepare.Budget(model)
    module.train(model, model, budget, module.DEVICE_BATCH)
    return model, losses, budget.tokens


def judged(module: Any, model: Any, tokens: Tensor) -> Tensor:
    model.eval()
    with torch.no_grad(), module.autocast():
        out: Tensor = model(tokens[:, :-1], tokens[:, 1:], reduction="none")
    model.train()
    return out.view(tokens.shape[0], -1)


def trace(module: Any) -> Trace:
    """Train within the budget, be judged, then take two steps where schedules have turned."""
    model, losses, count = trained(module)
    tokens = torch.randint(0, 1000, (2, 257), generator=torch.Generator().manual_seed(1))
    seen = judged(module, model, tokens)
    tokens[:, 200:] = 7
    assert torch.equal(judged(module, model, tokens)[:, :199], seen[:, :199]), "a token's loss depends on later ones"
    optimiser = module.Optimiser(model)
    for step, fraction in ((200, 0.8), (400, 0.95)):
        with module.autocast():
            torch.autograd.backward(model(tokens[:, :-1], tokens[:, 1:]))
        optimiser.step(step, fraction)
    return Trace(losses, count, seen, [p.detach().clone() for p in model.parameters()])


@pytest.fixture(scope="module")
def shipped(build: Build) -> Trace:
    return trace(build(SHIPPED))


def test_a_trace_repeats_itself(build: Build, shipped: Trace) -> None:
    """The shipped file leaves the same trace twice, so that a difference is the edit's doing."""
    assert trace(build(SHIPPED)) == shipped
    assert len(shipped.losses) == 4


@pytest.mark.parametrize("edit", CATALOGUE, ids=lambda edit: edit.name)
def test_an_edit_trains_and_does_something_else(build: Build, shipped: Trace, edit: Edit) -> None:
    """Under a tiny budget the edited file's loss is finite and falls, it can be judged, and its run is another one."""
    edited = trace(build(apply_edit(SHIPPED, edit)))
    assert all(map(math.isfinite, edited.losses))
    assert edited.losses[-1] < edited.losses[0] - 0.1
    assert bool(edited.judged.isfinite().all())
    assert edited != shipped


# --- what single entries promise --------------------------------------------------------------------------------


def weights(model: Any) -> int:
    return sum(p.numel() for p in model.parameters())


def spread(module: Any) -> Tensor:
    """Mean of each row that `norm` gives for rows of mean 3."""
    out: Tensor = module.norm(3 + torch.randn(4, 64)).mean(dim=-1)
    return out


def turned(module: Any) -> Tensor:
    """Which of a head's 32 channels depend on the position."""
    cos, sin = module.rotary_tables(64, 32)
    ones = torch.ones(1, 64, 1, 32).to(module.COMPUTE)
    out: Tensor = (module.rotate(ones, cos, sin)[0, 1:, 0] != 1).any(dim=0).nonzero().flatten()
    return out


def muon_step(module: Any, slope: Tensor, momentum: Tensor | None = None) -> Tensor:
    """How far Muon moves a matrix of zeros."""
    param = torch.nn.Parameter(torch.zeros(slope.shape))
    param.grad = slope
    group = module.Muon([param], 1.0)
    if momentum is not None:
        group.momentum.copy_(momentum)
    with torch.no_grad():
        group.step(1.0, 0.9, 0.0)
    return param.detach()


SLOPE = torch.randn(64, 32, generator=torch.Generator().manual_seed(3))

Promise = Callable[[Any, Any], bool]

PROMISES: dict[str, Promise] = {
    "layer-norm": lambda old, new: (
        bool(spread(new).abs().max() < 0.01 < spread(old).abs().min())
        and new.norm(torch.ones(1, 8, dtype=torch.bfloat16)).dtype == torch.bfloat16
    ),
    "half-rotary": lambda old, new: len(turned(old)) == 32 and len(turned(new)) == 16,
    "grouped-heads": lambda old, new: weights(old.build_model()) - weights(new.build_model()) == 2 * 128 * 128,
    "no-x0": lambda old, new: weights(old.build_model()) - weights(new.build_model()) == 2,
    "no-resid-weights": lambda old, new: weights(old.build_model()) - weights(new.build_model()) == 2,
    "no-value-gate": lambda old, new: weights(old.build_model()) - weights(new.build_model()) == 4 * 32,
    "tied-head": lambda old, new: weights(old.build_model()) - weights(new.build_model()) == 1024 * 128,
    "bigram-embedding": lambda old, new: weights(new.build_model()) - weights(old.build_model()) == 8 * 1024 * 128,
    "learnt-sharpness": lambda old, new: weights(new.build_model()) - weights(old.build_model()) == 2 * 4,
    "orthogonal-init": lambda old, new: condition(new) < 1.1 < condition(old),
    "rate-by-longer-side": lambda old, new: (
        new.Muon([SLOPE.T], 1.0).lr == new.Muon([SLOPE], 1.0).lr
        and new.Muon([SLOPE], 1.0).lr == old.Muon([SLOPE], 1.0).lr > old.Muon([SLOPE.T], 1.0).lr
    ),
    "centred-gradients": lambda old, new: 4 * lean(new) < lean(old),
    "cautious-updates": lambda old, new: against(new) == 0 < against(old),
    "elementwise-normalisation": lambda old, new: 10 * uneven(new) < uneven(old),
    "sqrt-warmdown": lambda old, new: new.learning_rate_scale(0.75) == pytest.approx(1 - 0.5**0.5),
    "cosine-warmdown": lambda old, new: (
        new.learning_rate_scale(0.65) > old.learning_rate_scale(0.65)
        and new.learning_rate_scale(0.9) < old.learning_rate_scale(0.9)
    ),
    "constant-momentum": lambda old, new: (momenta(new), momenta(old)[0]) == ([0.95] * 3, 0.85),
    "momentum-cooldown": lambda old, new: momenta(new)[:2] == momenta(old)[:2] and momenta(new)[2] < momenta(old)[2],
    "decaying-embeddings": lambda old, new: (decayed(old), decayed(new)) == (False, True),
    "mixed-qk-norm": lambda old, new: offset(new) == pytest.approx(0.75 * offset(old), rel=0.03),
    "averaged-weights": lambda old, new: kept_average(new),
    "batch-warmup": lambda old, new: small_at_first(new),
    "shorter-rows": lambda old, new: (new.SEQUENCE_LENGTH, new.micro_steps(new.DEVICE_BATCH)) == (128, 1),
}


def lean(module: Any) -> float:
    """How much a constant added to a gradient changes Muon's step, as a share of it."""
    plain = muon_step(module, SLOPE)
    return float((muon_step(module, SLOPE + 5) - plain).norm() / plain.norm())


def offset(module: Any) -> float:
    """Mean size of the offset that a head's channels have in common, in queries and keys as attention sees them."""
    seen: list[Tensor] = []
    attention = module.build_model().layers[0].attention

    def attend(q: Tensor, k: Tensor, v: Tensor, *_: object) -> Tensor:
        seen.extend((q, k))
        return v

    module.attend = attend
    with torch.no_grad(), module.autocast():
        attention(torch.randn(2, 8, 128), None, *(table[:, :8] for table in module.rotary_tables(8, 32)), None)
    assert all(x.dtype == module.COMPUTE for x in seen)
    return float(torch.stack(seen).float().mean(dim=-1).abs().mean())


def small_at_first(module: Any) -> bool:
    """Whether a run's mean step has fewer tokens than its last."""
    _, losses, tokens = trained(module)
    return bool(tokens < module.TOTAL_BATCH * len(losses))


def kept_average(module: Any) -> bool:
    """Whether a run ends with weights that its optimiser has averaged."""
    made: list[Any] = []
    optimiser = module.Optimiser

    def watched(model: Any) -> Any:
        made.append(optimiser(model))
        return made[-1]

    module.Optimiser = watched
    model, _, _ = trained(module)
    average = getattr(made[0], "average", None)
    if average is None:
        return False
    moved = any(not torch.equal(*pair) for pair in zip(average, module.build_model().parameters(), strict=True))
    return moved and all(torch.equal(*pair) for pair in zip(average, model.parameters(), strict=True))


def condition(module: Any) -> float:
    """Largest singular value of an input projection over its smallest."""
    values = torch.linalg.svdvals(module.build_model().layers[0].mlp.up.weight.detach())
    return float(values.max() / values.min())


def against(module: Any) -> int:
    """Entries that Muon moves up the gradient, when its memory points elsewhere."""
    other = torch.randn(1, 64, 32, generator=torch.Generator().manual_seed(4))
    return int((muon_step(module, SLOPE, other) * SLOPE > 0).sum())


def uneven(module: Any) -> float:
    """How much the entries of a first Muon step differ in size, against their mean."""
    sizes = muon_step(module, SLOPE).abs()
    return float(sizes.std() / sizes.mean())


def momenta(module: Any) -> list[float]:
    """Muon's momentum at the start, in the middle and near the end."""
    model = module.build_model()
    optimiser, found = module.Optimiser(model), []
    for stack in optimiser.muon:
        stack.step = lambda lr_scale, momentum, decay: found.append(momentum)
    for group in optimiser.adam:
        group.step = lambda lr_scale: None
    for step, fraction in ((0, 0.0), (300, 0.5), (600, 0.95)):
        optimiser.step(step, fraction)
    return found[:: len(optimiser.muon)]


def decayed(module: Any) -> bool:
    """Whether AdamW shrinks a matrix that has no gradient, and leaves scalars alone."""
    matrix, scalars = torch.nn.Parameter(torch.ones(4, 4)), torch.nn.Parameter(torch.ones(4))
    for param in (matrix, scalars):
        param.grad = torch.zeros_like(param)
        with torch.no_grad():
            module.AdamW([param], 0.5).step(1.0)
    assert bool((scalars == 1).all())
    return bool((matrix < 1).all())


@pytest.mark.parametrize("name", sorted(PROMISES))
def test_an_edit_keeps_its_word(build: Build, name: str) -> None:
    """What an entry says of the model, the optimiser or the schedule holds of the edited file, not of the shipped."""
    torch.manual_seed(0)
    assert PROMISES[name](build(SHIPPED), build(apply_edit(SHIPPED, BY_NAME[name])))
    assert not PROMISES[name](build(SHIPPED), build(SHIPPED))


@pytest.mark.parametrize("edit", [edit for edit in CATALOGUE if "simplify" in edit.tags], ids=lambda edit: edit.name)
def test_a_simplification_leaves_less(build: Build, edit: Edit) -> None:
    """Entries marked as simplifications have less source than before, or fewer weights."""
    after = apply_edit(SHIPPED, edit)
    smaller = len(canonical(after)) < len(canonical(SHIPPED))
    assert smaller or weights(build(after).build_model()) < weights(build(SHIPPED).build_model())


def canonical(files: Files) -> str:
    return ast.dump(ast.parse(files["train.py"]))


RECIPE = {"TOTAL_BATCH": 2**17, "WEIGHT_DECAY": 0.109, "WARMUP_RATIO": 0.02, "DEVICE_BATCH": 64}
"""The knobs of the best recipe that autoresearch-evo published (0.985596 val_bpb there), besides its two norms."""


def test_the_published_recipe_is_a_stack_of_moves_and_edits(build: Build, shipped: Trace) -> None:
    """Two entries and four knob moves make all six differences of it, on the GPU's side, and what they make trains."""
    files = SHIPPED
    for name in ("layer-norm", "mixed-qk-norm"):
        files = apply_edit(files, BY_NAME[name])
    knobs = {knob.name: knob for knob in find_knobs(files, on_gpu=True)}
    coarse = {name: {move.value for move in moves(knobs[name])} for name in RECIPE}
    assert [name for name, value in RECIPE.items() if value not in coarse[name]] == ["WEIGHT_DECAY"]  # a fine move
    files = set_knobs(files, [(knobs[name], value) for name, value in RECIPE.items()])

    found: dict[str, Any] = {knob.name: knob.value for knob in find_knobs(files, on_gpu=True)}
    assert {name: found[name] for name in RECIPE} == RECIPE
    laptop = {knob.name: knob.value for knob in find_knobs(files, on_gpu=False)}
    assert (laptop["TOTAL_BATCH"], laptop["DEVICE_BATCH"]) == (2048, 8)
    assert RECIPE["TOTAL_BATCH"] % (RECIPE["DEVICE_BATCH"] * found["SEQUENCE_LENGTH"]) == 0

    old, new = build(SHIPPED), build(files)
    assert PROMISES["layer-norm"](old, new)
    assert PROMISES["mixed-qk-norm"](build(SHIPPED), build(files))
    assert new.learning_rate_scale(0.01) == pytest.approx(0.5)
    made = trace(build(files))
    assert made != shipped
    assert made.losses[-1] < made.losses[0] - 0.1
