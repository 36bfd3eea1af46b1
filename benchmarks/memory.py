"""How fast the memory answers, as whole processes, from a hundred to a hundred thousand runs.

    uv run python benchmarks/memory.py [--sizes 100 1000 10000] [--repeat 7] [--figure PATH]

Each size is a lab of its own: a git repository, hand-logged runs recorded as `log` records them (proposed, started,
ended, logged), mirrors brought up to date. `check`, `log`, `log --report`, `report` and `status` run in turn with a
bare `python -c pass`, so that the multiples hold on a busy machine too. Bars: at 10,000 runs `check` 0.25 s or 8 bare
starts, `report` and `log --report` 0.6 s or 20; at 100,000 at most three times that; 300 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from nightlab.config import load_settings
from nightlab.history import run_names
from nightlab.memory import open_ledger
from nightlab.takeover import adopt
from nightlab.types import (
    Crashed,
    Ended,
    Environment,
    Event,
    Experiment,
    ExperimentId,
    Finished,
    Logged,
    Metrics,
    Plan,
    Proposed,
    Purpose,
    Run,
    Started,
    Usage,
)

ROOT = Path(__file__).resolve().parents[1]
BARS = {"check": (0.25, 8.0), "report": (0.6, 20.0), "log --report": (0.6, 20.0)}
MEMORY_BAR = 300.0  # MB
CHUNK = 2000

# As users have it: Python may keep what it has compiled.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

VERBS = ("raise", "lower", "halve", "double", "increase", "reduce", "set", "try", "shorten", "extend")
KNOBS = (
    "MATRIX_LR", "EMBEDDING_LR", "UNEMBEDDING_LR", "SCALAR_LR", "WEIGHT_DECAY", "WARMDOWN_RATIO", "WARMUP_RATIO",
    "DEPTH", "HEAD_DIM", "TOTAL_BATCH", "DEVICE_BATCH", "ADAM_BETAS", "softcap", "rope base", "window pattern",
    "value embeddings", "qk norm", "muon momentum", "gradient clipping", "mlp width",
)  # fmt: skip
TAILS = ("", "", "", " with warmup 0.05", " and z-loss 1e-4", " for the first layers only", " plus cosine warmdown")


@dataclass(frozen=True, slots=True)
class Measured:
    seconds: float
    megabytes: float


def events(count: int, seed: int, start: float) -> Iterator[list[Event]]:
    """Hand-logged runs, one list of events each."""
    rng = Random(seed)
    level, parent, taken = 1.0, None, set()
    for index in range(count):
        commit = f"{rng.getrandbits(160):040x}"
        text = f"{rng.choice(VERBS)} {rng.choice(KNOBS)} to {rng.choice((0.01, 0.02, 0.05, 0.1, 2, 4, 8, 64))}"
        text += rng.choice(TAILS)
        fate = rng.random()
        value = level + rng.gauss(0.001, 0.002)
        status = "crash" if fate < 0.07 else "keep" if value < level else "discard"
        at = start + 300 * index
        name = next(n for n in run_names(at, commit) if n not in taken)
        taken.add(name)
        experiment = ExperimentId(f"e{commit[:12]}")
        metrics = Metrics(primary=value, memory_mb=44000.0)
        outcome = Crashed(summary=f"RuntimeError: size {index}", signature="RuntimeError: size <n>")
        yield [
            Proposed(
                experiment=Experiment(
                    id=experiment, source_hash=f"nl1:{commit}", commit=commit, parent_commit=parent, parent=None,
                    description=text, patch=f"-LR = {index}\n+LR = {index + 1}\n", plan=Plan(emitter="log"),
                )
            ),
            Started(
                run=Run(
                    id=name, experiment=experiment, seed=-1, purpose=Purpose.LOG, slot=0, limit_s=0.0, command=(),
                    environment=Environment(device="unknown", machine="m", python="3.11", platform="linux"),
                )
            ),
            Ended(
                run=name, outcome=outcome if status == "crash" else Finished(metrics=metrics),
                usage=Usage(wall_s=300.0, cpu_s=0.0),
            ),
            Logged(run=name, status=status, branch="main", commit=commit, parent_commit=parent, description=text,
                   family=rng.choice(("", "optimizer", "architecture"))),
        ]  # fmt: skip
        if status == "keep":
            level, parent = value, commit


def build(root: Path, count: int) -> float:
    """A lab with that many runs; returns seconds per run that it took to record them."""
    root.mkdir()
    for name in ("train.py", "prepare.py"):
        (root / name).write_bytes((ROOT / name).read_bytes())
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-qm", "start"]):
        subprocess.run([*git, *words], cwd=root, check=True)
    settings = load_settings(root)
    began = time.perf_counter()
    with open_ledger(settings) as ledger:
        chunk: list[Event] = []
        for told in events(count, seed=count, start=time.time() - 300 * count):
            chunk += told
            if len(chunk) >= CHUNK:
                ledger.append(*chunk)
                chunk = []
        ledger.append(*chunk)
    spent = time.perf_counter() - began
    adopt(settings, time.time())
    (root / "s.json").write_text(json.dumps({"val_bpb": 1.5, "peak_vram_mb": 1.0}))
    return spent / max(count, 1)


_WATCH = """
import os, sys, time
began = time.perf_counter()
quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
process = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=quiet)
_, state, usage = os.wait4(process, 0)
print(time.perf_counter() - began, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(state))
"""
"""A small process that starts the command: a large one would lend it its own peak of memory."""


def run(words: Sequence[str], cwd: Path) -> Measured:
    """One whole process: wall-clock seconds and peak memory."""
    watched = [sys.executable, "-S", "-c", _WATCH, *words]
    done = subprocess.run(watched, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    seconds, megabytes, code = done.stdout.split()
    if int(code) not in (0, 2):
        raise SystemExit(f"{words} failed with exit code {code}")
    return Measured(float(seconds), float(megabytes))


def commands() -> dict[str, list[str]]:
    python, door = sys.executable, str(ROOT / "memorylab.py")
    idea = ["--description", "raise MATRIX_LR to 0.05 and shorten the warmdown", "--family", "optimizer"]
    log = [python, door, "log", *idea, "--status", "discard", "--summary", "s.json"]
    return {
        "bare": [python, "-c", "pass"],
        "check": [python, door, "check", *idea],
        "log": log,
        "log --report": [*log, "--report"],
        "report": [python, door, "report"],
        "status": [python, "-m", "nightlab", "status"],
    }


def measure(root: Path, repeat: int) -> dict[str, tuple[float, float]]:
    """Median seconds and largest memory of each command."""
    found: dict[str, list[Measured]] = {name: [] for name in commands()}
    for _ in range(repeat):
        for name, words in commands().items():
            found[name].append(run(words, root))
    return {
        name: (statistics.median(m.seconds for m in several), max(m.megabytes for m in several))
        for name, several in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 1000, 10_000, 100_000])
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--figure", type=Path, help="draw the growth curve there")
    args = parser.parse_args()
    curves: dict[int, dict[str, tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="nightlab-memory-") as scratch:
        for size in args.sizes:
            each = build(Path(scratch) / str(size), size)
            curves[size] = measure(Path(scratch) / str(size), args.repeat)
            bare = curves[size]["bare"][0]
            print(f"\n{size} runs (recorded in {1e6 * each:.0f} us each); bare start {1e3 * bare:.0f} ms")
            for name, (seconds, megabytes) in curves[size].items():
                bar = BARS.get(name) if size in (10_000, 100_000) else None
                factor = 1 if size <= 10_000 else 3
                ok = bar is None or seconds <= factor * bar[0] or seconds <= factor * bar[1] * bare
                word = "" if bar is None else ("  ok" if ok and megabytes <= MEMORY_BAR else "  MISSED")
                print(f"  {name:13} {seconds:6.3f} s  {seconds / bare:5.1f} x  {megabytes:5.0f} MB{word}", flush=True)
    if args.figure:
        draw(curves, args.figure)


def draw(curves: dict[int, dict[str, tuple[float, float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6.4, 3.6), layout="constrained")
    sizes = list(curves)
    for name in ("log --report", "report", "status", "log", "check", "bare"):
        axes.plot(sizes, [curves[size][name][0] for size in sizes], marker="o", markersize=3, label=name)
    axes.set(xscale="log", xlabel="runs on record", ylabel="seconds, whole process", ylim=(0, None))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
