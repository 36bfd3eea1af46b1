"""A coding agent in a lab, as its hooks see it: events go through the very bytes that a client writes and reads."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightlab.agent.hooks.door import answer
from nightlab.agent.hooks.place import Checkout, Place
from nightlab.config import load_settings
from nightlab.history import History
from nightlab.memory import open_ledger
from tests.builders import Repo

TRAIN = "import prepare\nRATE = 0.1\nprint('loss:', prepare.BASE + RATE)\n"
PREPARE = "BASE = 1.0\n"
TOML = 'command = "python train.py"\nprotected = ["prepare.py"]\ntag = "x"\n[metric]\nname = "loss"\n'
COMMAND = "python train.py > run.log 2>&1"


@dataclass
class Listed:
    """Refuses what contains a word of its list; takes for training what begins as the lab's command does."""

    refuses: tuple[str, ...] = ("git push",)

    def refusal(self, command: str, place: Place, cwd: Path, here: Checkout) -> str:
        return "nothing is published: keep it local" if any(word in command for word in self.refuses) else ""

    def edit(self, paths: Sequence[str], place: Place, cwd: Path, here: Checkout) -> str:
        return "prepare.py is protected" if any(path.endswith("prepare.py") for path in paths) else ""

    def training(self, command: str, place: Place, cwd: Path, here: Checkout) -> str | None:
        words = [word for word in command.split() if not word.startswith("AUTORESEARCH_")]
        return "" if " ".join(words).startswith(place.command) else None


@dataclass
class Agent:
    """One session of a client that speaks Codex's dialect."""

    root: Path
    session: str = "s1"
    client: str = "codex"
    policy: Listed = field(default_factory=Listed)
    calls: int = 0
    now: float | None = None  # None: the machine's clock

    def tell(self, event: str, **more: object) -> Any:
        """What the hook prints, decoded; None for nothing."""
        told = {"session_id": self.session, "cwd": str(self.root), "hook_event_name": event, **more}
        clock = time.time if self.now is None else lambda: self.now or 0.0
        said = answer(self.client, json.dumps(told).encode(), lambda: self.policy, clock)
        return json.loads(said) if said else None

    def starts(self, source: str = "startup") -> str:
        found: str = self.tell("SessionStart", source=source)["hookSpecificOutput"]["additionalContext"]
        return found

    def prompts(self, text: str, **more: object) -> str:
        said = self.tell("UserPromptSubmit", prompt=text, **more)
        return said["hookSpecificOutput"]["additionalContext"] if said else ""

    def before(self, command: str) -> str:
        """Reason of the denial; "" if it may run. The next `after` is of the same call."""
        self.calls += 1
        said = self._tool("PreToolUse", command)
        return said["hookSpecificOutput"]["permissionDecisionReason"] if said else ""

    def after(self, command: str) -> str:
        said = self._tool("PostToolUse", command, tool_response="loss: 0.000001\n")
        return said["hookSpecificOutput"]["additionalContext"] if said else ""

    def _tool(self, event: str, command: str, **more: object) -> Any:
        given = {"tool_name": "Bash", "tool_input": {"command": command}, "tool_use_id": f"call_{self.calls}"}
        return self.tell(event, **given, **more)

    def does(self, command: str) -> str:
        """Run a shell command with the hooks around it; what the agent is told afterwards."""
        assert self.before(command) == ""
        self.shell(command)
        return self.after(command)

    def shell(self, command: str) -> None:
        python = f'python() {{ {sys.executable} "$@"; }}\n'
        subprocess.run(["bash", "-c", python + command], cwd=self.root, check=False)

    def stops(self, last: str = "done") -> str:
        said = self.tell("Stop", stop_hook_active=False, last_assistant_message=last)
        return said["reason"] if said else ""

    def history(self) -> History:
        with open_ledger(load_settings(self.root)) as ledger:
            return ledger.history()

    def values(self) -> list[float | None]:
        """Of the runs on record, oldest first."""
        return [run.value for run in self.history().runs.values()]


def make(root: Path) -> Agent:
    """An agent in a committed lab on a branch of its own, with the output of runs ignored."""
    repo = Repo.make(root, {"train.py": TRAIN, "prepare.py": PREPARE, "nightlab.toml": TOML})
    repo.git("switch", "-q", "-c", "autoresearch/x")
    (root / ".git" / "info" / "exclude").write_text("results/\nresults.tsv\nrun.log\n__pycache__\n")
    return Agent(root)
