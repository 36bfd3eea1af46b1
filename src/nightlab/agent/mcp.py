"""The lab as an MCP server over stdio: the service's calls as tools, and what is worth reading as resources.

Clients give a call up after a minute or so, and kill their servers when they end: so nothing runs inside this process,
`wait` returns within 50 seconds whatever the state, and what it waits for lives on without it. Tools say truthfully
what they do; Codex runs those that declare themselves harmless without asking (docs/agents.md).
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

import msgspec
from mcp.server.mcpserver import Context as Call
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ToolError
from mcp_types import ToolAnnotations

from nightlab import __version__
from nightlab.agent.answers import (
    ChampionNow,
    Checked,
    Claim,
    Context,
    Edit,
    Morning,
    PlanNow,
    Progress,
    Sheet,
    Stopped,
    WrittenDown,
)
from nightlab.agent.service import LONGEST_S, Service
from nightlab.agent.written import Written
from nightlab.config import load_settings
from nightlab.errors import NightlabError
from nightlab.report.text import block
from nightlab.root import find_root

INSTRUCTIONS = """\
A lab that runs experiments on one file, one metric, one fixed budget, and says honestly what the numbers mean.
The loop: `plan` (what to try and why), edit one editable file, `check` (was it tried?), `try` (starts it, returns at
once), `wait` until it is decided, read the verdict, go on. A keep is the new champion; a discard: put the file back to
the champion (`champion` with files=true tells it). `try` with `edits` needs no write access to the repository.
Runs happen in clean workspaces under their own supervisors; the lab makes the commits. Never edit protected files.
"""
_READS = ToolAnnotations(read_only_hint=True, open_world_hint=False)
_ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=False, open_world_hint=False)
_SAME = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=False)

P = ParamSpec("P")
R = TypeVar("R")


def serve(directory: Path) -> None:
    """Serve the lab that `directory` lies in until the client goes."""
    build(directory).run()


def build(directory: Path) -> MCPServer:
    """The server. The lab is looked up anew for each call: it may be made, moved or set otherwise meanwhile."""
    server = MCPServer("nightlab", title="nightlab", instructions=INSTRUCTIONS, version=__version__)

    def lab() -> Service:
        return Service(settings=load_settings(find_root(directory)))

    _add_looking(server, lab)
    _add_doing(server, lab)
    _add_resources(server, lab)
    return server


def _told(call: Callable[P, R], shown: type[ToolError] | type[ResourceError] = ToolError) -> Callable[P, R]:
    """Errors of ours as the client shows them: what happened and what to do next. Others are hidden by the server."""

    @functools.wraps(call)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except NightlabError as exc:
            raise shown(block(str(exc))) from exc

    return wrapped


def _read(call: Callable[P, R]) -> Callable[P, R]:
    """The same for what is read as a resource."""
    return _told(call, ResourceError)


def _add_looking(server: MCPServer, lab: Callable[[], Service]) -> None:
    @server.tool(annotations=_READS)
    @_told
    def context() -> Context:
        """Where the lab stands: metric, files, champion, what runs, what was learnt. Call it first."""
        return lab().context()

    @server.tool(annotations=_READS)
    @_told
    def plan() -> PlanNow:
        """What the search asks for next: phase, emitter, niche, hypothesis, what to avoid. Starts nothing."""
        return lab().plan()

    @server.tool(annotations=_READS)
    @_told
    def check(
        description: str, hypothesis: str = "", family: str = "", tags: list[str] | None = None, mode: str = "exploit"
    ) -> Checked:
        """Whether this idea, or one like it, was tried before. mode: explore, exploit or replicate."""
        return lab().check(description, hypothesis=hypothesis, family=family, tags=tags or (), mode=mode)

    @server.tool(annotations=_READS)
    @_told
    def get(name: str) -> Sheet:
        """One experiment or run: its patch, runs, verdict, review, end of its log. name: 12, champion, an id."""
        return lab().get(name)

    @server.tool(annotations=_READS)
    @_told
    def champion(files: bool = False) -> ChampionNow:
        """What is best now, how sure that is, and its patch from the baseline; files=true adds its source."""
        return lab().champion(files=files)

    @server.tool(annotations=_READS)
    @_told
    def conjectures() -> list[Claim]:
        """What the runs say of each kind of change, with intervals, support and contradictions."""
        return list(lab().conjectures())

    @server.tool(annotations=_READS)
    @_told
    def report(since_hours: float = 16.0) -> Morning:
        """The morning report as it would be written now, in markdown."""
        return lab().report(since_hours=since_hours)


def _add_doing(server: MCPServer, lab: Callable[[], Service]) -> None:
    @server.tool(name="try", annotations=_ADDS)
    @_told
    def start(description: str, hypothesis: str = "", seeds: int = 1, edits: list[Edit] | None = None) -> Progress:
        """Record an edit as one experiment and start it; returns at once. Then call `wait` with its number.

        Without edits the editable files are taken as they lie in the working tree. With edits, pieces of the
        champion's source are replaced instead: `old` has to occur exactly once.
        """
        return lab().start(description, hypothesis=hypothesis, seeds=seeds, edits=edits or ())

    @server.tool(annotations=_SAME)
    async def wait(name: str, call: Call, seconds: float = LONGEST_S) -> Progress:
        """Look on until an experiment has its verdict, at most 50 seconds; then call it again if it is not decided.

        Where nobody works on it any more, somebody is started who does.
        """
        loop = asyncio.get_running_loop()

        def tell(now: Progress) -> None:
            text = ", ".join(f"{run.run} {run.state}" for run in now.runs[-2:]) or now.state
            share = next((run.share for run in reversed(now.runs) if run.share is not None), 0.0)
            done = len([run for run in now.runs if run.state != "running"]) + share
            asyncio.run_coroutine_threadsafe(call.report_progress(done, message=text), loop)

        return await asyncio.to_thread(_told(lambda: lab().wait(name, seconds=seconds, told=tell)))

    @server.tool(annotations=_ADDS)
    @_told
    def log(
        status: str,
        description: str,
        hypothesis: str = "",
        family: str = "",
        tags: list[str] | None = None,
        notes: str = "",
        error: str = "",
        mode: str = "exploit",
        log: str = "",
        summary: str = "",
    ) -> WrittenDown:
        """Write down a run that was made by hand. status: keep, discard or crash; log and summary: its files' paths."""
        return lab().log(
            Written(
                status=status,
                description=description,
                hypothesis=hypothesis,
                family=family,
                tags=tuple(tags or ()),
                notes=notes,
                error=error,
                mode=mode,
                threshold=0.62,
                log=log,
                summary=summary,
            )
        )

    @server.tool(annotations=_SAME)
    @_told
    def stop(by: str = "an agent") -> Stopped:
        """End what goes on in the lab now, cleanly: runs under way are ended and recorded, nothing is lost.

        It goes on by `nightlab run` or `nightlab wait`. The person's word to go on by yourself stays.
        """
        return lab().stop(by)


def _add_resources(server: MCPServer, lab: Callable[[], Service]) -> None:
    @server.resource("nightlab://champion", mime_type="application/json")
    @_read
    def champion_resource() -> str:
        """What is best now."""
        return _json(lab().champion(files=True))

    @server.resource("nightlab://plan", mime_type="application/json")
    @_read
    def plan_resource() -> str:
        """What the search asks for next."""
        return _json(lab().plan())

    @server.resource("nightlab://report", mime_type="text/markdown")
    @_read
    def report_resource() -> str:
        """The morning report as it would be written now."""
        return lab().report().markdown

    @server.resource("nightlab://ledger", mime_type="application/json")
    @_read
    def ledger_resource() -> str:
        """The latest runs of the lab, oldest first."""
        return _json(lab().runs())


def _json(data: object) -> str:
    return msgspec.json.format(msgspec.json.encode(data), indent=1).decode()
