"""How much of the machine does `train.py` use, and what do budget, data and progress cost it?

    uv run python benchmarks/train_speed.py [--rounds 3] [--steps 150]

Three figures, each a ratio of medians over alternating subprocesses in CPU seconds, so that a busy machine blurs them
little: tokens per second of the shipped loop against a bare one (same model and optimiser, batches ready in memory, no
budget, no loss read back, nothing printed); the share of this machine's bf16 matrix peak that the shipped loop's
model FLOP make; and the time to the first step against `import torch` alone. CPU profiles only.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import time
from itertools import islice
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def shipped(steps: int) -> dict[str, float]:
    """CPU time of the real loop: budget, packing, divergence check, progress."""
    import prepare
    import train

    model = train.build_model()
    budget = prepare.Budget(model)
    prepare.load_data()
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        train.train(model, model, budget, train.DEVICE_BATCH)
    seconds = time.process_time() - start
    if budget.steps != steps:
        raise SystemExit(f"the budget gave {budget.steps} steps instead of {steps}")
    return {"tokens": budget.tokens, "seconds": seconds, "flop": model.flop_per_token() * budget.tokens}


def bare(steps: int) -> dict[str, float]:
    """CPU time of the least that trains the same model: forward, backward, update."""
    import torch

    import prepare
    import train

    model = train.build_model()
    optimiser = train.Optimiser(model)
    batches = list(islice(prepare.batches(train.DEVICE_BATCH, train.SEQUENCE_LENGTH), steps))
    start = time.process_time()
    for step, (inputs, targets) in enumerate(batches):
        with train.autocast():
            loss = model(inputs, targets)
        torch.autograd.backward(loss)
        optimiser.step(step, step / steps)
    seconds = time.process_time() - start
    return {"tokens": steps * train.TOTAL_BATCH, "seconds": seconds, "flop": 0.0}


def peak(_: int) -> dict[str, float]:
    """CPU time of bf16 products of 2048 x 2048 matrices: the fastest of twenty is the machine's peak."""
    import torch

    import prepare  # noqa: F401  pins the threads

    square = torch.randn(2048, 2048).bfloat16()
    times = []
    for _ in range(20):
        start = time.process_time()
        square @ square
        times.append(time.process_time() - start)
    return {"tokens": 0, "seconds": min(times), "flop": 2.0 * 2048**3}


def first_step(_: int) -> dict[str, float]:
    """CPU time from the start of the process to the moment the first step could begin."""
    import prepare
    import train

    model = train.build_model()
    prepare.Budget(model)
    train.Optimiser(model)
    next(prepare.batches(train.DEVICE_BATCH, train.SEQUENCE_LENGTH))
    return {"tokens": 0, "seconds": time.process_time(), "flop": 0.0}


def import_torch(_: int) -> dict[str, float]:
    """CPU time from the start of the process to the end of `import torch`."""
    import torch  # noqa: F401

    return {"tokens": 0, "seconds": time.process_time(), "flop": 0.0}


ARMS = {arm.__name__: arm for arm in (shipped, bare, peak, first_step, import_torch)}


def measure(arm: str, steps: int) -> dict[str, float]:
    """Run one arm in a process of its own."""
    scale = str(steps / 150)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "AUTORESEARCH_PROFILE": "demo"}
    environment |= {"AUTORESEARCH_BUDGET_SCALE": scale, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, __file__, "--arm", arm, "--steps", str(steps)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return result


def main() -> None:
    """Alternate the arms, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=150, help="of training per round; 150 is a whole demo run")
    parser.add_argument("--arm", choices=ARMS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.arm:
        print(json.dumps(ARMS[arguments.arm](arguments.steps)))
        return
    results: dict[str, list[dict[str, float]]] = {arm: [] for arm in ARMS}
    for _ in range(arguments.rounds):
        for arm in ARMS:
            results[arm].append(measure(arm, arguments.steps))
    seconds = {arm: statistics.median(result["seconds"] for result in rows) for arm, rows in results.items()}
    speed = {arm: results[arm][0]["tokens"] / seconds[arm] for arm in ("shipped", "bare")}
    achieved = results["shipped"][0]["flop"] / seconds["shipped"]
    highest = results["peak"][0]["flop"] / seconds["peak"]
    print(f"shipped loop   {speed['shipped']:9,.0f} tokens per CPU second")
    print(f"bare loop      {speed['bare']:9,.0f} tokens per CPU second   ratio {speed['shipped'] / speed['bare']:.3f}")
    print(f"model FLOP     {achieved / 1e9:9.1f} GF/s of {highest / 1e9:.0f}      share {achieved / highest:.1%}")
    ratio = seconds["first_step"] / seconds["import_torch"]
    print(f"first step     {seconds['first_step']:9.2f} CPU seconds after process start")
    print(f"import torch   {seconds['import_torch']:9.2f} CPU seconds              ratio {ratio:.2f}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
