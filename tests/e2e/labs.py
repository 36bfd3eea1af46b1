"""Small labs and the real command line, as a user has them: processes, exit codes, printed lines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPT = """\
import os, time
WIDTH = 128
RATE = 0.02
DECAY = 0.1
time.sleep({seconds})
loss = abs(WIDTH - 300) / 300 + abs(RATE - 0.05) + int(os.environ["AUTORESEARCH_SEED"]) % 7 * 1e-4
print("loss:", 1 + loss)
"""
TOML = """\
command = "python train.py"
protected = []
[metric]
name = "loss"
[budget]
slots = 2
timeout_minutes = {minutes}
grace_seconds = 0.2
[judge]
final_runs = 2
"""


@dataclass(frozen=True)
class Answer:
    code: int
    out: str
    err: str


@dataclass(frozen=True)
class UserLab:
    """A repository, and what somebody types there."""

    root: Path

    def nightlab(self, *words: str, **variables: str) -> Answer:
        done = subprocess.run(
            command(*words),
            cwd=self.root,
            env=environment() | variables,
            capture_output=True,
            timeout=120,
            check=False,
        )
        return Answer(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command(*words), cwd=self.root, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def json(self, *words: str) -> Any:
        answer = self.nightlab(*words, "--json")
        assert answer.code == 0, answer.err
        return json.loads(answer.out)

    def runs(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.json("runs")
        return found

    def git(self, *words: str) -> str:
        identity = ["-c", "user.name=x", "-c", "user.email=x@localhost"]
        return subprocess.run(
            ["git", *identity, *words], cwd=self.root, capture_output=True, text=True, check=True
        ).stdout


def command(*words: str) -> list[str]:
    return [sys.executable, "-P", "-m", "nightlab", *words]


def environment() -> dict[str, str]:
    """The tests' own, with the package found wherever the tests found it."""
    source = Path(__file__).resolve().parents[2] / "src"
    return {**os.environ, "PYTHONPATH": str(source), "COLUMNS": "120"}


def make(root: Path, *, script: str = "", toml: str = "", seconds: float = 0.0, minutes: float = 1.0) -> UserLab:
    """A committed lab with a script that sleeps and prints a loss which depends on its knobs."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "train.py").write_text(script or SCRIPT.format(seconds=seconds))
    (root / "nightlab.toml").write_text(toml or TOML.format(minutes=minutes))
    lab = UserLab(root)
    lab.git("init", "-q", "-b", "main")
    lab.git("add", "-A")
    lab.git("commit", "-qm", "start")
    return lab
