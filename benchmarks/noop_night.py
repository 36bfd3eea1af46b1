"""What the lab itself costs: a night whose command does nothing but print a number.

    uv run python benchmarks/noop_night.py [--ideas 1000] [--random]

Prints wall-clock and CPU seconds per experiment for each tenth of the night, so that growth shows, beside the time of
a bare `python -c pass` taken in the same minutes. With --random the printed number is noise: some ideas are retested.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from nightlab.agent.workbench import open_lab
from nightlab.config import load_settings
from nightlab.history import History
from nightlab.types import Judged, Recorded

SCRIPT = """\
import hashlib, os
WIDTH = 128
DEPTH = 4
RATE = 0.02
DROPOUT = 0.1
WARM = True
text = open(__file__).read() + os.environ["AUTORESEARCH_SEED"]
noise = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32
print("loss:", {value})
"""
SETTINGS = """\
command = "python train.py"
editable = ["train.py"]
protected = []
[metric]
name = "loss"
[budget]
slots = "auto"
timeout_minutes = 1
"""


class Stopwatch:
    """A listener that notes when each experiment got its final verdict."""

    def __init__(self) -> None:
        self.marks: list[tuple[float, float]] = [(time.monotonic(), _cpu())]

    def told(self, recorded: Recorded, history: History) -> None:
        event = recorded.event
        if isinstance(event, Judged) and event.verdict.decision.is_final:
            self.marks.append((time.monotonic(), _cpu()))

    def tick(self, history: History) -> None: ...


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def bare_python(times: int = 20) -> float:
    """Median wall-clock seconds of `python -c pass`."""
    taken = []
    for _ in range(times):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "pass"], check=True)
        taken.append(time.monotonic() - began)
    return sorted(taken)[times // 2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ideas", type=int, default=1000)
    parser.add_argument("--random", action="store_true", help="print noise instead of one constant")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightlab-noop-") as scratch:
        root = Path(scratch)
        (root / "train.py").write_text(SCRIPT.format(value="1 + 0.01 * noise" if args.random else "1.5"))
        (root / "nightlab.toml").write_text(SETTINGS)
        git = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost"]
        for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "start"]):
            subprocess.run([*git, *command], cwd=root, check=True)
        watch = Stopwatch()
        with open_lab(load_settings(root), watch) as lab:
            lab.begin(ideas=args.ideas, hours=None, seed=0)
            done = lab.run_night()
            runs, experiments = len(lab.history.runs), len(lab.history.experiments)
    print(f"{done.reason}: {experiments} experiments, {runs} runs; bare python {bare_python():.3f} s\n")
    print("| experiments | wall s each | CPU s each |\n|---|---|---|")
    step = max(len(watch.marks) // 10, 1)
    for first in range(0, len(watch.marks) - step, step):
        (wall, cpu), (wall_end, cpu_end) = watch.marks[first], watch.marks[first + step]
        print(f"| {first + 1} to {first + step} | {(wall_end - wall) / step:.3f} | {(cpu_end - cpu) / step:.3f} |")


if __name__ == "__main__":
    main()
