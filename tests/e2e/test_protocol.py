"""`nightlab mcp` as clients that we did not write use it: the SDK's, over stdio, and the inspector."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp import Client, StdioServerParameters, stdio_client

from tests.e2e import labs
from tests.e2e.clients import LIMIT_S, binary, environment, make_home, make_lab, tried, version

IDEAS = ({"RATE = 0.02": "RATE = 0.05"}, {"WIDTH = 64": "WIDTH = 256"}, {"DECAY = 0.1": "DECAY = 0.9"})
"""Two gains far above the noise of the lab, then a loss."""
VERDICTS = ["keep", "keep", "discard"]


def edits(idea: dict[str, str]) -> list[dict[str, str]]:
    return [{"path": "train.py", "old": old, "new": new} for old, new in idea.items()]


pytestmark = pytest.mark.e2e


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_three_experiments_by_the_sdk(tmp_path: Path, mode: Literal["auto", "legacy"]) -> None:
    """In the newest handshake and in the older one of most clients: three ideas get their verdicts, nothing else."""
    lab = make_lab(tmp_path / "lab")
    told = asyncio.run(_three(lab, mode))
    assert [each["decision"] for each in told] == VERDICTS
    assert [each["state"] for each in told] == ["decided"] * 3
    _holds_three(lab)


async def _three(lab: labs.UserLab, mode: Literal["auto", "legacy"]) -> list[dict[str, Any]]:
    words = labs.command("mcp")
    server = StdioServerParameters(
        command=words[0], args=words[1:], cwd=lab.root, env={**labs.environment(), "GIT_CONFIG_NOSYSTEM": "1"}
    )
    heard: list[str] = []
    told: list[dict[str, Any]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message or "")

    async with Client(stdio_client(server), mode=mode, read_timeout_seconds=LIMIT_S) as client:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert {"context", "plan", "check", "try", "wait", "get", "log", "report", "champion", "stop"} <= set(tools)
        assert all(tool.annotations is not None and tool.output_schema for tool in tools.values())
        for place, idea in enumerate(IDEAS, start=2):
            given = {"description": f"idea {place}", "hypothesis": "it is nearer", "edits": edits(idea)}
            started = await client.call_tool("try", given)
            assert not started.is_error, started.content
            number = str((started.structured_content or {})["number"])
            for _ in range(LIMIT_S):
                answer = await client.call_tool("wait", {"name": number, "seconds": 20}, progress_callback=hear)
                assert not answer.is_error, answer.content
                now = answer.structured_content or {}
                if now["state"] == "decided":
                    break
            told.append(now)
        listed = {str(resource.uri) for resource in (await client.list_resources()).resources}
        for uri in sorted(listed):
            assert (await client.read_resource(uri)).contents, uri
    assert heard
    return told


def _holds_three(lab: labs.UserLab) -> None:
    """Those three are on record and nothing else; the working tree, which nobody edited, is as it was."""
    assert tried(lab) == {"idea 2": "keep", "idea 3": "keep", "idea 4": "discard"}
    assert (lab.root / "train.py").read_text() == lab.git("show", "main:train.py")


def test_three_experiments_by_the_inspector(tmp_path: Path) -> None:
    """The inspector, which starts a server for each call, lists tools and resources and sees three ideas through."""
    program = binary("mcp-inspector")
    print(version("mcp-inspector"))
    lab, home = make_lab(tmp_path / "lab"), make_home(tmp_path / "home")

    def ask(method: str, *words: str) -> dict[str, Any]:
        done = subprocess.run(
            [str(program), "--cli", str(home / ".local/bin/nightlab"), "mcp", "--method", method, *words],
            cwd=lab.root,
            env=environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer

    def call(tool: str, **given: object) -> dict[str, Any]:
        words = [word for name, value in given.items() for word in ("--tool-arg", f"{name}={value}")]
        answer = ask("tools/call", "--tool-name", tool, *words)
        assert not answer.get("isError"), answer
        found: dict[str, Any] = answer["structuredContent"]
        return found

    assert {"try", "wait"} <= {tool["name"] for tool in ask("tools/list")["tools"]}
    uris = [resource["uri"] for resource in ask("resources/list")["resources"]]
    assert uris and all(ask("resources/read", "--uri", uri)["contents"] for uri in uris)
    verdicts = []
    for place, idea in enumerate(IDEAS, start=2):
        started = call("try", description=f"idea {place}", edits=json.dumps(edits(idea)))
        now = started
        while now["state"] != "decided":
            now = call("wait", name=started["number"], seconds=20)
        verdicts.append(now["decision"])
    assert verdicts == VERDICTS
    _holds_three(lab)
