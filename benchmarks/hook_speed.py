"""How fast an agent's hook answers, as a whole process, in an empty lab and at ten thousand runs.

    uv run python -m benchmarks.hook_speed [--sizes 0 10000] [--repeat 31]

Each event is what a client would send in the middle of a session, through `python -m nightlab hook codex`, in turn with
a bare `python -c pass`. Bar: at most twice a bare start and 60 ms, by the medians of wall-clock time on a quiet
machine; beside it stands what the process and its children took of the CPU, which a busy machine changes less.
`first` is a session's start after the ledger has changed, when what it is told must be reckoned anew; `Stop` asks to go
on. Neither has a bar: the first comes once a session, the second once a turn.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks import memory
from nightlab.config import load_settings
from nightlab.memory import open_ledger
from nightlab.types import Noted

FACTOR, MORE_S = 2.0, 0.060
TRAINING = "cd {root} && uv run train.py > run.log 2>&1; grep '^val_bpb:' run.log | tail -n 1"
TOOL = {"tool_name": "Bash", "tool_use_id": "call_1"}
BARRED = ("before a tool", "before a training run", "after a tool", "prompt", "start")

# As users have it: Python may keep what it has compiled.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def events(root: Path) -> dict[str, dict[str, object]]:
    """Name -> what the client sends."""
    before = {"hook_event_name": "PreToolUse", **TOOL}
    told: dict[str, dict[str, object]] = {
        "before a tool": {**before, "tool_input": {"command": "sed -n 1,40p train.py"}},
        "before a training run": {**before, "tool_input": {"command": TRAINING.format(root=root)}},
        "after a tool": {"hook_event_name": "PostToolUse", **TOOL, "tool_input": {"command": "ls"}},
        "prompt": {"hook_event_name": "UserPromptSubmit", "prompt": "what is the best so far?"},
        "start": {"hook_event_name": "SessionStart", "source": "resume"},
        "first": {"hook_event_name": "SessionStart", "source": "startup"},
        "stop": {"hook_event_name": "Stop", "stop_hook_active": False, "last_assistant_message": "done"},
    }
    return {name: {"session_id": "s1", "cwd": str(root), **one} for name, one in told.items()}


class Spent(NamedTuple):
    """Seconds of one process."""

    wall: float
    cpu: float


def seconds(words: Sequence[str], given: bytes, root: Path) -> Spent:
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(words, input=given, cwd=root, env=ENVIRONMENT, capture_output=True, check=True)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Spent(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def measure(root: Path, repeat: int) -> dict[str, Spent]:
    """Median seconds of each event and of a bare start, all taken in turn."""
    hook = [sys.executable, "-P", "-m", "nightlab", "hook", "codex"]
    bare = [sys.executable, "-P", "-c", "pass"]
    given = {name: json.dumps(told).encode() for name, told in events(root).items()}
    own = root / "results" / "nightlab" / "hooks"
    for data in given.values():
        seconds(hook, data, root)
    found: dict[str, list[Spent]] = {"bare": [], **{name: [] for name in given}}
    for turn in range(repeat):
        found["bare"].append(seconds(bare, b"", root))
        for name, data in given.items():
            if name in ("first", "stop") and turn % 5:
                continue
            if name == "first":
                (own / "sheet.json").unlink(missing_ok=True)
            if name == "stop":
                _progress(root)
            found[name].append(seconds(hook, data, root))
            for noted in own.glob("seen-*.json"):
                noted.unlink()
    return {
        name: Spent(statistics.median(s.wall for s in several), statistics.median(s.cpu for s in several))
        for name, several in found.items()
    }


def _progress(root: Path) -> None:
    """Let the budget of asks begin anew."""
    with open_ledger(load_settings(root)) as ledger:
        ledger.append(*next(memory.events(1, seed=ledger.seq, start=time.time())))


def build(root: Path, size: int) -> None:
    """A lab with so many runs whose user wants the loop to go on."""
    memory.build(root, size)
    subprocess.run(["git", "switch", "-q", "-c", "autoresearch/x"], cwd=root, check=True)
    with open_ledger(load_settings(root)) as ledger:
        ledger.append(Noted(topic="autonomy", text="on: never stop"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[0, 10_000])
    parser.add_argument("--repeat", type=int, default=31)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nightlab-hooks-") as scratch:
        ENVIRONMENT["HOME"] = scratch
        (Path(scratch) / ".cache" / "autoresearch").mkdir(parents=True)
        for size in args.sizes:
            root = Path(scratch) / str(size)
            build(root, size)
            told = measure(root, args.repeat)
            bar = FACTOR * told["bare"].wall + MORE_S
            print(f"\n{size} runs; bar {1e3 * bar:.0f} ms")
            for name, spent in told.items():
                word = "" if name not in BARRED else "  ok" if spent.wall <= bar else "  MISSED"
                print(f"  {name:22} {1e3 * spent.wall:6.0f} ms, {1e3 * spent.cpu:5.0f} ms of CPU{word}", flush=True)


if __name__ == "__main__":
    main()
