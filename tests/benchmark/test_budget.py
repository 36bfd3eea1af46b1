"""The compute budget: what it counts, when it counts, and whom it stops."""

from __future__ import annotations

import time
from itertools import pairwise
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.benchmark.fresh import Runner, load


def count(prepare: ModuleType, work: Any) -> int:
    """FLOP-equivalents of one call."""
    with prepare.OperationCounter() as counter:
        work()
    total: int = counter.total
    return total


def test_a_linear_layer_costs_what_the_formula_says(prepare: ModuleType) -> None:
    """Forward and backward of x @ w.T in fp32, and a sum: three wide products, the sum, and filling its gradient."""
    x, w = torch.randn(32, 16, requires_grad=True), torch.randn(8, 16, requires_grad=True)
    products = 3 * 2 * 32 * 16 * 8 * prepare.WIDE_PRODUCT
    forward = count(prepare, lambda: nn.functional.linear(x, w))
    assert forward == products // 3 + prepare.CALL
    whole = count(prepare, lambda: torch.autograd.backward(nn.functional.linear(x, w).sum()))
    rest = whole - products - 3 * prepare.CALL
    operations, elements = divmod(rest, prepare.CALL)
    assert operations >= 2  # the sum and the ones that backward starts from
    assert elements % prepare.ELEMENT == 0
    assert 32 * 8 <= elements // prepare.ELEMENT <= 2 * 32 * 8


def test_operations_of_many_passes_cost_more_than_one(prepare: ModuleType) -> None:
    """Recurrent layers, bilinear ones, distances, Fourier transforms and sorts are charged for the work inside them."""
    x = torch.randn(16, 8, 32)
    lstm, gru, bilinear = nn.LSTM(32, 32), nn.GRU(32, 32), nn.Bilinear(32, 32, 32)
    weights = 16 * 8 * 2 * 4 * 32 * 32  # of the LSTM's four gates, per token
    price = {
        "lstm": count(prepare, lambda: lstm(x)),
        "gru": count(prepare, lambda: gru(x)),
        "bilinear": count(prepare, lambda: bilinear(x, x)),
        "distance": count(prepare, lambda: torch.cdist(x, x)),
        "city blocks": count(prepare, lambda: torch.cdist(x, x, p=1)),
        "fourier": count(prepare, lambda: torch.fft.rfft(x)),
        "sort": count(prepare, x.sort),
        "best": count(prepare, lambda: x.topk(2)),
    }
    assert price["lstm"] > 2 * weights * prepare.WIDE_PRODUCT
    assert price["gru"] > 1.5 * weights * prepare.WIDE_PRODUCT
    assert price["bilinear"] > 16 * 8 * 32**3 * prepare.ELEMENT
    assert price["distance"] < price["city blocks"]
    assert price["city blocks"] > 16 * 8 * 8 * 32 * prepare.ELEMENT
    one_pass = prepare.ELEMENT * x.numel() + prepare.CALL
    assert all(price[name] > one_pass + prepare.ELEMENT * x.numel() for name in ("fourier", "sort", "best"))
    assert price["sort"] > price["best"]


def test_a_backward_pass_through_a_recurrent_layer_is_counted(prepare: ModuleType) -> None:
    """Backward costs about twice the forward pass, whatever kernel torch chooses for the layer."""
    x, lstm = torch.randn(64, 8, 32), nn.LSTM(32, 32)
    forward = count(prepare, lambda: lstm(x))
    whole = count(prepare, lambda: torch.autograd.backward(lstm(x)[0].sum()))
    assert 2 * forward < whole < 6 * forward


def test_an_unknown_operation_is_priced_high_and_named_once(
    prepare: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    """What has no price costs ten passes over all it touches, and one line says so; known ones say nothing."""
    edges, x = torch.linspace(0, 1, 64), torch.rand(1000)
    cost = count(prepare, lambda: torch.bucketize(x, edges))
    assert cost == prepare.CALL + prepare.UNKNOWN_ELEMENT * (64 + 1000 + 1000)
    count(prepare, lambda: torch.bucketize(x, edges))
    count(prepare, lambda: (torch.erfinv(x).lgamma().cumsum(0), torch.add(x, x, out=torch.empty(1000))))
    assert capsys.readouterr().err.count("bucketize") == 1
    assert prepare._announced == {"bucketize"}


@pytest.mark.parametrize("causal", [True, False])
def test_attention_has_its_own_formula(prepare: ModuleType, causal: bool) -> None:
    """Attention is charged by query-key pairs; causality halves them; backward is five times forward."""
    q = torch.randn(2, 3, 64, 16, requires_grad=True)

    def attend() -> Tensor:
        return nn.functional.scaled_dot_product_attention(q, q, q, is_causal=causal)

    pairs = 2 * 3 * 64 * 64 // (2 if causal else 1)
    forward = pairs * (4 * 16 + prepare.ATTENTION_SCORE)
    assert count(prepare, attend) == forward + prepare.CALL
    whole = count(prepare, lambda: torch.autograd.backward(attend(), torch.ones(2, 3, 64, 16)))
    assert whole >= 6 * forward


def test_fused_and_foreach_updates_are_counted(prepare: ModuleType) -> None:
    """Optimiser kernels over lists of tensors are charged for every element in the lists."""
    tensors = [torch.randn(100), torch.randn(50)]
    assert count(prepare, lambda: torch._foreach_mul_(tensors, 2.0)) == prepare.CALL + prepare.ELEMENT * 150
    state = [[torch.zeros_like(t) for t in tensors] for _ in range(3)]
    steps = [torch.zeros(()) for _ in tensors]

    def adam() -> None:
        torch._fused_adamw_(
            tensors, state[0], state[1], state[2], [], steps,
            lr=0.1, beta1=0.9, beta2=0.9, weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False,
        )  # fmt: skip

    assert count(prepare, adam) == prepare.CALL + prepare.ADAM_ELEMENT * 150


def test_inference_mode_hides_nothing(prepare: ModuleType) -> None:
    """Composite operations, which inference mode shows whole, cost the same as their parts."""
    x, w = torch.randn(8, 16).bfloat16(), torch.randn(4, 16).bfloat16()
    with torch.inference_mode():
        assert count(prepare, lambda: nn.functional.linear(x, w)) == 2 * 8 * 16 * 4 + prepare.CALL


def train_some(prepare: ModuleType, train: ModuleType, steps: int) -> list[float]:
    """What each of the first steps is charged."""
    model = train.build_model()
    optimiser, budget = train.Optimiser(model), prepare.Budget(model)
    data = prepare.batches(train.DEVICE_BATCH, train.SEQUENCE_LENGTH)
    used = [0.0]
    for step in range(steps):
        with budget.step(tokens=train.TOTAL_BATCH):
            train.train_step(model, data, train.micro_steps(train.DEVICE_BATCH))
            optimiser.step(step, budget.fraction)
        used.append(budget.statement()["used"])
    return [after - before for before, after in pairwise(used)]


def test_the_untouched_recipe_gets_exactly_150_steps(prepare: ModuleType, train: ModuleType) -> None:
    """The demo budget is 150 times what a step of the shipped train.py is counted as, on every machine."""
    assert train_some(prepare, train, 3) == [prepare.DEMO_STEP] * 3
    assert prepare.PROFILES["demo"].budget == 150 * prepare.DEMO_STEP
    assert prepare.PROFILES["long"].budget == 500 * prepare.DEMO_STEP


@pytest.mark.parametrize(
    ("knobs", "low", "high"),
    [
        ({"TOTAL_BATCH": 1024, "DEVICE_BATCH": 4}, 0.50, 0.60),  # half the tokens, but a whole optimiser step
        ({"TOTAL_BATCH": 4096}, 1.85, 1.98),  # two micro-steps share one optimiser step
        ({"HEAD_SIZE": 64}, 0.70, 0.95),  # half the query-key pairs
        ({"MLP_RATIO": 2}, 0.80, 0.95),
        ({"MUON_STEPS": 1}, 0.80, 0.98),
        ({"WINDOW_PATTERN": "L"}, 0.80, 0.95),  # the causal kernel skips half of what a mask only hides
        ({"ASPECT_RATIO": 96}, 1.40, 1.90),  # width 192
        ({"DEPTH": 3}, 1.70, 2.60),  # three layers of width 192
    ],
)
def test_a_change_of_recipe_is_charged_for_what_it_costs(
    prepare: ModuleType, train: ModuleType, knobs: dict[str, Any], low: float, high: float
) -> None:
    """Cheaper steps are charged less and dearer ones more, in plausible proportion to the untouched recipe."""
    for name, value in knobs.items():
        assert hasattr(train, name)
        setattr(train, name, value)  # the knobs are module constants: this is an edit of the file
    assert low < train_some(prepare, train, 1)[0] / prepare.DEMO_STEP < high


def test_steps_that_change_are_counted_anew(prepare: ModuleType) -> None:
    """A step with other tokens or other parameters is counted at once, not charged like the one before."""
    model = nn.Linear(64, 64, bias=False)
    budget = prepare.Budget(model)
    used = []
    for rows in (8, 8, 16):
        with budget.step(tokens=rows):
            model(torch.ones(rows, 64))
        used.append(budget.statement()["used"])
    model.weight = nn.Parameter(torch.ones(128, 64))
    with budget.step(tokens=16):
        model(torch.ones(16, 64))
    used.append(budget.statement()["used"])
    first, second, third, fourth = (after - before for before, after in pairwise([0, *used]))
    assert first == second < third < fourth


def test_uncounted_steps_are_charged_like_the_last_counted_one(prepare: ModuleType) -> None:
    """Most steps run at full speed and are charged all the same; a seeded sample of later ones is counted."""
    model = nn.Linear(64, 64, bias=False)
    budget = prepare.Budget(model)
    charges = []
    for step in range(200):
        before = budget.statement()["used"]
        with budget.step(tokens=1):
            for _ in range(1 if step < 2 else 3):  # becomes dearer without any outward sign
                model(torch.ones(8, 64))
        charges.append(budget.statement()["used"] - before)
    assert charges[0] == charges[1] == charges[2]
    assert charges[-1] > 2 * charges[0]
    assert 0 < charges.count(charges[0]) < 60


def test_steps_that_turn_out_dearer_are_paid_for_in_part(prepare: ModuleType) -> None:
    """When a sample finds a dearer step, the uncounted ones before it are charged the mean of both counts."""
    model = nn.Linear(64, 64, bias=False)
    budget = prepare.Budget(model)
    charges = []
    for step in range(60):
        before = budget.statement()["used"]
        with budget.step(tokens=1):
            for _ in range(1 if step < 2 else 3):
                model(torch.ones(8, 64))
        charges.append(budget.statement()["used"] - before)
    found = next(step for step, charge in enumerate(charges) if charge != charges[0])
    assert charges[found] == charges[found + 1] + (found - 2) * (charges[found + 1] - charges[0]) // 2
    assert set(charges[found + 1 :]) == {charges[found + 1]}


@pytest.mark.parametrize("steps", [7.9, 19.6, 150.0, 500.0])
def test_the_last_step_ends_the_schedule(prepare: ModuleType, steps: float) -> None:
    """However many steps fit, the last begins one step before the end of the schedule, not earlier."""
    step = 10**9
    limit, used, seen = round(steps * step), 0, []
    while prepare._whole_steps(limit, used, step) >= 1:
        seen.append(prepare._share(limit, used, step))
        used += step
    assert len(seen) == int(steps)
    assert seen == [k / int(steps) for k in range(int(steps))]
    assert prepare._share(limit, used, step) == 1.0


def test_own_work_inside_a_step_is_not_the_runs(prepare: ModuleType) -> None:
    """Data built in the first step counts neither inside the steps nor outside them."""
    model = nn.Linear(8, 8)
    budget = prepare.Budget(model)
    with budget.step(tokens=1):
        model(torch.ones(1, 8))
        with prepare._own_work():
            start = time.process_time()
            while time.process_time() < start + 0.5:
                pass
    assert budget._meter._inside < 0.4
    assert prepare._own_cpu >= 0.5


class FakeGpu:
    """A clock that the test moves by hand, and a budget on it."""

    def __init__(self, prepare: ModuleType, limit: float = 100.0) -> None:
        self.now = 0.0
        self.meter = prepare.WallMeter(limit, began=0.0, clock=lambda: self.now, wait=lambda: None)

    def step(self, seconds: float, tokens: int = 524_288) -> float:
        """What the meter charges for one step."""
        before: float = self.meter.used
        with self.meter.measure(tokens):
            self.now += seconds
        after: float = self.meter.used
        return after - before


def test_ten_ordinary_gpu_steps_are_free(prepare: ModuleType) -> None:
    """Warm-up costs nothing whatever it takes; then steps and the breaks between them are charged."""
    gpu = FakeGpu(prepare)
    assert [gpu.step(20) for _ in range(10)] == [0] * 10
    assert gpu.meter.warm
    gpu.now += 3
    assert gpu.step(2) == 5
    gpu.meter.audit()


def test_large_warmup_steps_are_charged_beyond_the_allowance(prepare: ModuleType) -> None:
    """Free are the tokens of ten reference steps: a warm-up step is charged for the share that lies beyond."""
    gpu = FakeGpu(prepare)
    tokens = 4 * 524_288
    assert [gpu.step(10, tokens) for _ in range(4)] == pytest.approx([0, 0, 5, 10])


def test_a_gpu_run_stops_before_the_step_that_would_overrun(prepare: ModuleType) -> None:
    """The last step is the last that is expected to fit."""
    gpu = FakeGpu(prepare, limit=100.0)
    meter = gpu.meter
    for _ in range(10):
        gpu.step(1)
    while prepare._whole_steps(meter.limit, meter.used, meter.price() or meter.limit) >= 1:
        gpu.step(7)
    assert meter.used == 98
    assert prepare._share(meter.limit, meter.used, meter.price()) == 1.0


@pytest.mark.parametrize("where", ["before the first step", "between warm-up steps", "after the last step"])
def test_gpu_work_outside_the_steps_ends_the_run(prepare: ModuleType, where: str) -> None:
    """Half a minute may pass outside the steps, no more; the judge's own time is not held against the run."""
    gpu = FakeGpu(prepare)
    for moment in ("before the first step", "between warm-up steps", "after the last step"):
        gpu.now += 31 if moment == where else 1
        if moment != "after the last step":
            gpu.step(5)
    gpu.meter.audit(judged=True)
    with pytest.raises(prepare.BudgetError, match="outside the budget's steps"):
        gpu.meter.audit()


@pytest.mark.parametrize(
    ("gigabytes", "rows"), [(12.6, 16), (17.1, 32), (25.4, 32), (34.2, 64), (42.4, 64), (51.0, 64), (84.9, 128)]
)
def test_rows_leave_headroom_on_the_card(prepare: ModuleType, gigabytes: float, rows: int) -> None:
    """The reference recipe takes at most 80 % of what a card reports."""
    assert prepare._fit_rows(128, gigabytes) == rows
    assert rows / 128 * prepare.RECIPE_GIGABYTES <= 0.8 * gigabytes


def test_fraction_and_end(environment: pytest.MonkeyPatch) -> None:
    """The fraction climbs to 1 and the budget is spent when another step would not fit."""
    environment.setenv("AUTORESEARCH_BUDGET_SCALE", "1e-6")
    prepare = load("prepare")
    model = nn.Linear(64, 64, bias=False)
    budget = prepare.Budget(model)
    seen = [budget.fraction]
    while not budget.spent:
        with budget.step(tokens=8):
            model(torch.ones(8, 64))
        seen.append(budget.fraction)
    statement = budget.statement()
    assert seen[0] == 0.0
    assert seen == sorted(seen)
    assert statement["limit"] == round(prepare.PROFILE.budget * 1e-6)
    assert statement["used"] <= statement["limit"] * (1 + prepare.STEP_SLACK)
    assert seen[-1] == 1.0
    assert budget.tokens == 8 * budget.steps


def test_one_budget_without_nesting(prepare: ModuleType) -> None:
    """A second budget, or a step inside a step, is an error."""
    model = nn.Linear(2, 2)
    budget = prepare.Budget(model)
    with pytest.raises(prepare.BudgetError, match="already open"):
        prepare.Budget(model)
    with pytest.raises(prepare.BudgetError, match="nest"), budget.step(tokens=1), budget.step(tokens=1):
        pass


CHEAT = """
import prepare
import numpy, threading, torch
model = torch.nn.Linear(8, 8)
budget = prepare.Budget(model)
a = numpy.ones((400, 400), dtype=numpy.float32)
def hidden():
    for _ in range(100):
        a @ a
while not budget.spent:
    {before}
    with budget.step(tokens=1):
        model(torch.ones(1, 8))
        {inside}
"""


@pytest.mark.parametrize(
    ("before", "inside", "said"),
    [
        ("hidden()", "", "outside the budget's steps"),
        ("", "t = threading.Thread(target=hidden); t.start(); t.join()", "the steps burnt"),
    ],
    ids=["between steps", "inside, in another thread"],
)
def test_work_hidden_from_the_counter_ends_the_run(run_copy: Runner, before: str, inside: str, said: str) -> None:
    """CPU time that the count does not explain stops the run, wherever it was burnt."""
    done = run_copy(script=CHEAT.format(before=before or "pass", inside=inside or "pass"))
    assert done.returncode == 1
    assert said in done.stderr
