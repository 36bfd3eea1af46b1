"""Programs that answer as clients and as nightlab do, for a test to put on PATH."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab import __version__
from nightlab.agent.wiring.placing import Wiring
from tests.builders import Repo

if TYPE_CHECKING:
    import pytest

NIGHTLAB = f"""\
case $1 in
    hook) cat >/dev/null ;;
    mcp) read -r line
         echo '{{"jsonrpc":"2.0","id":1,"result":{{"serverInfo":{{"name":"nightlab","version":"{__version__}"}}}}}}' ;;
    *) echo "$0 $* in $(pwd)" ;;
esac
"""

CODEX = f"""\
case $1 in
    --version) echo "codex-cli ${{FAKE_VERSION-0.171.0}}" ;;
    sandbox) echo "${{FAKE_SANDBOX-read-only}}" ;;
    app-server) exec {sys.executable} "$0.py" ;;
esac
"""

# What `codex app-server` answers to hooks/list: the hooks of the file, each with the trust that the test wants.
CODEX_SERVER = """\
import json, os, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked.get("method") != "hooks/list":
        print(json.dumps({"id": asked.get("id"), "result": {"userAgent": "fake"}}), flush=True)
        continue
    print("not a message", flush=True)
    print(json.dumps({"method": "configWarning", "params": {}}), flush=True)
    lab = asked["params"]["cwds"][0]
    events = json.load(open(lab + "/.codex/hooks.json"))["hooks"]
    hooks = [
        {
            "key": event, "eventName": event, "command": handler["command"],
            "trustStatus": os.environ.get("FAKE_TRUST", "trusted"), "enabled": "FAKE_OFF" not in os.environ,
        }
        for event, groups in events.items() for group in groups for handler in group["hooks"]
    ]
    answer = {"result": {"data": [{"cwd": lab, "hooks": [] if "FAKE_NONE" in os.environ else hooks}]}}
    print(json.dumps({"id": asked["id"], **(answer if "FAKE_ODD" not in os.environ else {"result": 1})}), flush=True)
"""


def script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}")
    path.chmod(0o755)
    return path


@dataclass(frozen=True)
class Bench:
    """A lab, a home, and programs that only this test has."""

    root: Path
    home: Path
    bin: Path
    environment: Path  # the active one, in which nightlab lives

    @classmethod
    def make(cls, place: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
        repo = Repo.make(place / "lab", {"train.py": "LR = 0.1\n"})
        bench = cls(repo.root.resolve(), place / "home", place / "bin", place / "env")
        bench.home.mkdir()
        script(bench.environment / "bin" / "nightlab", NIGHTLAB)
        for name in [name for name in os.environ if name.startswith(("GEMINI_", "CODEX_", "FAKE_", "CONDA_"))]:
            monkeypatch.delenv(name)
        monkeypatch.setenv("HOME", str(bench.home))
        monkeypatch.setenv("SHELL", "/bin/sh")
        monkeypatch.setenv("VIRTUAL_ENV", str(bench.environment))
        monkeypatch.setenv("PATH", f"{bench.bin}:/usr/bin:/bin")
        return bench

    @property
    def wiring(self) -> Wiring:
        return Wiring.of(self.root)

    def has_codex(self) -> None:
        script(self.bin / "codex", CODEX)
        (self.bin / "codex.py").write_text(CODEX_SERVER)

    def trusts_project(self) -> None:
        (self.home / ".codex").mkdir()
        (self.home / ".codex" / "config.toml").write_text(f'[projects."{self.root}"]\ntrust_level = "trusted"\n')
