"""The lab as an MCP server: over the SDK's own client, in both of its handshakes, in memory and as a process."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Literal

import pytest
from mcp import Client, MCPError, StdioServerParameters, stdio_client

from nightlab.agent.mcp import build
from tests.e2e.labs import UserLab, environment, make

TOOLS = {"context", "plan", "check", "try", "wait", "get", "log", "report", "champion", "conjectures", "stop"}
RESOURCES = {f"nightlab://{name}" for name in ("champion", "plan", "report", "ledger")}
MODES: tuple[Literal["legacy", "auto"], ...] = ("legacy", "auto")
EDIT = {"path": "train.py", "old": "WIDTH = 128", "new": "WIDTH = 256"}


def ask(directory: Path, talk: Callable[[Client], Awaitable[None]], mode: Literal["legacy", "auto"] = "auto") -> None:
    async def session() -> None:
        async with Client(build(directory), mode=mode) as client:
            await talk(client)

    asyncio.run(session())


async def call(client: Client, name: str, /, **arguments: object) -> dict[str, Any]:
    answer = await client.call_tool(name, arguments)
    assert not answer.is_error, answer.content
    assert isinstance(answer.structured_content, dict)
    return answer.structured_content


async def refused(client: Client, name: str, /, **arguments: object) -> str:
    answer = await client.call_tool(name, arguments)
    assert answer.is_error
    return str(getattr(answer.content[0], "text", ""))


@pytest.mark.parametrize("mode", MODES)
def test_all_calls_are_tools_that_say_what_they_do(tmp_path: Path, mode: Literal["legacy", "auto"]) -> None:
    """Each call of the service is a tool with a schema of its answer and a truthful hint; none claims to destroy."""

    async def talk(client: Client) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert set(tools) == TOOLS
        for name, tool in tools.items():
            assert tool.output_schema, name
            assert tool.description, name
            assert tool.annotations is not None
            assert tool.annotations.open_world_hint is False
            assert tool.annotations.read_only_hint is (name not in {"try", "wait", "log", "stop"})
        assert {str(one.uri) for one in (await client.list_resources()).resources} == RESOURCES

    ask(make(tmp_path / "lab").root, talk, mode)


@pytest.mark.parametrize("mode", MODES)
def test_an_experiment_from_plan_to_verdict(tmp_path: Path, mode: Literal["legacy", "auto"]) -> None:
    """Plan, check, try, wait with progress, read the verdict and the champion: the loop of program.md."""
    heard: list[str | None] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        heard.append(message)

    async def talk(client: Client) -> None:
        assert (await call(client, "plan"))["phase"] == "baseline"
        assert (await call(client, "check", description="twice the width"))["classification"] == "novel"
        begun = await call(client, "try", description="twice the width", edits=[EDIT])
        answer = await client.call_tool("wait", {"name": str(begun["number"])}, progress_callback=progress)
        done = answer.structured_content
        assert done is not None
        assert (done["state"], done["decision"]) == ("decided", "keep")
        best = await call(client, "champion", files=True)
        assert "WIDTH = 256" in best["files"]["train.py"]
        assert (await call(client, "get", name="champion"))["number"] == begun["number"]
        context = await call(client, "context")
        assert context["champion"]["description"] == "twice the width"
        assert len((await call(client, "conjectures"))["result"]) >= 1

    ask(make(tmp_path / "lab", seconds=0.2).root, talk, mode)
    assert any("running" in (message or "") for message in heard)


def test_errors_say_what_to_do(tmp_path: Path) -> None:
    """A mistake of the agent's comes back as a tool's error with the hint, and the server goes on."""

    async def talk(client: Client) -> None:
        assert "hint: " in await refused(client, "get", name="nothing")
        assert "occurs 0 times" in await refused(client, "try", description="x", edits=[{**EDIT, "old": "nowhere"}])
        assert "needs a description" in await refused(client, "try", description=" ")
        assert "description" in await refused(client, "try")
        assert (await call(client, "context"))["experiments"] >= 0

    ask(make(tmp_path / "lab").root, talk)


def test_a_directory_that_is_no_lab_is_told_of_by_each_call(tmp_path: Path) -> None:
    """The server starts anywhere, so that the client shows why it cannot help."""

    async def talk(client: Client) -> None:
        assert "nightlab new" in await refused(client, "context")

        with pytest.raises(MCPError, match="nightlab new"):
            await client.read_resource("nightlab://plan")

    ask(tmp_path, talk)


def test_the_server_as_clients_start_it(tmp_path: Path) -> None:
    """Over stdio: nothing but the protocol on stdout, resources that can be read, and what was begun outlives it."""
    lab = make(tmp_path / "lab", seconds=0.3)

    async def session() -> int:
        words = ["-P", "-m", "nightlab", "mcp", "--lab", str(lab.root)]
        server = StdioServerParameters(command=sys.executable, args=words, env=environment())
        async with Client(stdio_client(server)) as client:
            begun = await call(client, "try", description="twice the width", edits=[EDIT])
            for uri in sorted(RESOURCES - {"nightlab://report"}):
                read = (await client.read_resource(uri)).contents[0]
                json.loads(str(getattr(read, "text", "")))
        return int(begun["number"])

    number = asyncio.run(session())
    assert verdict_of(lab, number) == "keep"


def verdict_of(lab: UserLab, number: int) -> str:
    lab.nightlab("wait")
    return str(lab.json("show", str(number))["verdicts"][-1]["decision"])
