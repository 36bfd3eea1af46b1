"""How many evasions the command policy refuses, how many harmless commands it lets run, and how fast.

    .venv/bin/python benchmarks/policy.py [CORPUS.jsonl ...] [--show]

A corpus holds one object a line: command, expected ("deny" or "allow"), and if it matters branch and cwd. Without any
named, `../shared/data/policy_corpus.jsonl` and our own under tests/agent/policy/data are measured, as far as they are
there. The ground is bare: no file is read, no link followed.

The baseline is the older policy as its contract describes it: tests for substrings, the first that hits decides.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import statistics
import sys
import time
from pathlib import Path

from nightlab.agent.policy import Ground, judge

ROOT = Path(__file__).parents[1]
DEFAULT = (
    ROOT.parent / "shared" / "data" / "policy_corpus.jsonl",
    *(ROOT / "tests" / "agent" / "policy" / "data" / f"{name}.jsonl" for name in ("held_out", "corpus", "unseen")),
)
GROUND = Ground(root=Path("/work/lab"), cwd=Path("/work/lab"), home=Path("/home/user"), branch="autoresearch/mar5")
_EDITS = ("sed -i", "> prepare.py", ">> prepare.py", "mv ", "cp ", "perl -pi", "python - <<")
_CONTROL_EDITS = ("sed -i", "perl -pi", ">", "mv ", "cp ", "rm ")


def older(command: str, branch: str) -> bool:
    """Whether the older policy refuses the command."""
    low = command.lower()
    banned = (" tee ", "| tee", "pip install", "uv add", "poetry add", "git push", "gh pr")
    bare = "uv run train.py" in command and not (re.search(r">\s*run\.log\b", command) and "2>&1" in command)
    return (
        any(words in low for words in banned)
        or bare
        or ("prepare.py" in low and any(words in low for words in _EDITS))
        or ((".codex/hooks" in low or "research/" in low) and any(words in low for words in _CONTROL_EDITS))
        or ("git reset --hard" in low and not branch.startswith("autoresearch/"))
        or re.search(r"rm\s+-rf\s+(/|~)", low) is not None
    )


def measure(path: Path, *, show: bool) -> None:
    """Print one corpus' line."""
    right = {("ours", "deny"): 0, ("ours", "allow"): 0, ("older", "deny"): 0, ("older", "allow"): 0}
    total = {"deny": 0, "allow": 0}
    times = []
    for line in path.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        command, expected = case["command"], case["expected"]
        ground = dataclasses.replace(
            GROUND, branch=case.get("branch", GROUND.branch), cwd=Path(case.get("cwd", GROUND.cwd))
        )
        began = time.perf_counter()
        refusal = judge(command, ground)
        times.append(time.perf_counter() - began)
        total[expected] += 1
        right["ours", expected] += (refusal is not None) == (expected == "deny")
        right["older", expected] += older(command, ground.branch) == (expected == "deny")
        if show and (refusal is not None) != (expected == "deny"):
            print(f"  {expected} expected: {command!r}", file=sys.stderr)
    shares = [f"{right[who, what]:4d} {right[who, what] / max(total[what], 1):6.1%}" for who, what in right]
    ms = f"{statistics.median(times) * 1e3:9.2f} {max(times) * 1e3:8.1f}"
    print(f"{path.stem:16}{total['deny']:6d}{total['allow']:9d}   {'   '.join(shares)}   {ms}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("corpus", nargs="*", type=Path)
    parser.add_argument(
        "--show", action="store_true", help="print each command that is judged otherwise than its label"
    )
    options = parser.parse_args()
    print(f"{'':34}refused and let run as they should")
    heads = ("ours: evasions", "harmless", "older: evasions", "harmless")
    print(f"{'corpus':14}evasions harmless   {'  '.join(heads)}   median ms  max ms")
    for path in options.corpus or [path for path in DEFAULT if path.exists()]:
        measure(path, show=options.show)


if __name__ == "__main__":
    main()
