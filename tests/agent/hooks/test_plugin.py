"""OpenCode's plugin, run by node with a door that answers from a script."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

NODE = shutil.which("node")
DRIVE = """
import { Nightlab } from "./.opencode/plugins/plugin.mjs"
const prompts = []
const client = { session: { promptAsync: async (given) => { prompts.push(given) } } }
const hooks = await Nightlab({ client, directory: "/lab" })
const out = {}
await hooks.event({ event: { type: "session.created", properties: { info: { id: "child", parentID: "s" } } } })
const said = [{ type: "text", text: "hello" }, { type: "text", text: "no", synthetic: true }]
await hooks["chat.message"]({ sessionID: "s" }, { parts: said })
await hooks["chat.message"]({ sessionID: "s" }, { parts: [] })
out.system = ["first"]
await hooks["experimental.chat.system.transform"]({ sessionID: "s" }, out)
await hooks["tool.execute.before"]({ tool: "bash", sessionID: "s", callID: "c1" }, { args: { command: "ls" } })
try {
  await hooks["tool.execute.before"]({ tool: "bash", sessionID: "child", callID: "c2" }, { args: { command: "bad" } })
} catch (error) { out.denied = error.message }
const ran = { output: "train.py" }
await hooks["tool.execute.after"]({ tool: "bash", sessionID: "s", callID: "c1", args: { command: "ls" } }, ran)
out.output = ran.output
await hooks["tool.execute.after"]({ tool: "lab_try", sessionID: "s", callID: "c3" }, { content: [] })
await hooks.event({ event: { type: "session.idle", properties: { sessionID: "s" } } })
await hooks.event({ event: { type: "session.compacted", properties: { sessionID: "s" } } })
await hooks.event({ event: { type: "session.status", properties: { sessionID: "s" } } })
out.prompts = prompts
console.log(JSON.stringify(out))
"""
DOOR = """\
import json, sys
told = json.load(sys.stdin)
with open({log!r}, "a") as file:
    file.write(json.dumps(told) + "\\n")
answers = {{"start": {{"context": "state"}}, "prompt": {{"context": "mode"}}, "after": {{"context": "review"}},
           "idle": {{"ask": "go on"}}}}
said = {{"deny": "no"}} if told.get("args", {{}}).get("command") == "bad" else answers.get(told["event"])
print(json.dumps(said) if said else "", end="")
"""


def run(tmp_path: Path, door: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """What the plugin did, and what it told the door."""
    plugin = resources.files("nightlab") / "agent" / "hooks" / "opencode.js"
    placed, command = tmp_path / ".opencode" / "plugins" / "plugin.mjs", tmp_path / ".agents" / "nightlab.sh"
    for path in (placed, command):
        path.parent.mkdir(parents=True, exist_ok=True)
    placed.write_text(plugin.read_text(encoding="utf-8"))
    (tmp_path / "drive.mjs").write_text(DRIVE)
    log = tmp_path / "log.jsonl"
    log.touch()
    script = tmp_path / "door.py"
    script.write_text(door.format(log=str(log)))
    command.write_text(f'exec "{sys.executable}" "{script}"\n')
    assert NODE is not None
    done = subprocess.run([NODE, "drive.mjs"], cwd=tmp_path, capture_output=True, check=True)
    return json.loads(done.stdout), [json.loads(line) for line in log.read_text().splitlines()]


@pytest.mark.skipif(NODE is None, reason="there is no node to run the plugin with")
def test_the_plugin_passes_everything_on_and_decides_nothing(tmp_path: Path) -> None:
    """Each hook tells the door once, and each part of the answer lands where OpenCode wants it."""
    out, told = run(tmp_path, DOOR)
    assert out["system"] == ["first", "state", "mode"]
    assert out["denied"] == "no"
    assert out["output"] == "train.py\n\nreview"
    assert out["prompts"] == [{"path": {"id": "s"}, "body": {"parts": [{"type": "text", "text": "go on"}]}}]
    events = [(one["event"], one["session"], one["parent"]) for one in told]
    assert events == [
        ("start", "s", ""), ("prompt", "s", ""), ("prompt", "s", ""), ("before", "s", ""), ("before", "child", "s"),
        ("after", "s", ""), ("after", "s", ""), ("idle", "s", ""), ("start", "s", ""),
    ]  # fmt: skip
    assert told[1]["prompt"] == "hello"
    assert {one["cwd"] for one in told} == {"/lab"}


@pytest.mark.skipif(NODE is None, reason="there is no node to run the plugin with")
@pytest.mark.parametrize("door", ["raise SystemExit(1)", "print('no json')", "import sys; sys.stdin.close()"])
def test_a_door_that_fails_stops_nothing(door: str, tmp_path: Path) -> None:
    """An exit code, nonsense or a closed pipe: the tool runs and nothing is added."""
    out, _ = run(tmp_path, door)
    assert out == {"system": ["first"], "output": "train.py", "prompts": []}
