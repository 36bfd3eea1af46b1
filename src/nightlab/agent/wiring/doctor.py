"""What is right and wrong with a client in a lab, one line a check: program, wiring, commands, trust, sandbox."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import msgspec

from nightlab import __version__
from nightlab.agent.names import NAMES
from nightlab.agent.policy import shfmt
from nightlab.agent.policy.syntax import ParserError
from nightlab.agent.wiring import clients, codex, gemini, talking
from nightlab.agent.wiring.clients import Client
from nightlab.agent.wiring.placing import State, Wiring
from nightlab.errors import BackendError, NightlabError
from nightlab.git import Git
from nightlab.report import text as safe


class Status(StrEnum):
    """How a check went."""

    OK = "ok"
    NOTE = "note"  # worth knowing; nothing is broken
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at.

    Args:
        client: whose.
        what: what was looked at.
        status: how it went.
        found: what was found.
        next_step: what to do about it; empty where there is nothing to do.
    """

    client: str
    what: str
    status: Status
    found: str
    next_step: str = ""


_Found = tuple[Status, str, str]


def examine(wiring: Wiring, names: tuple[str, ...] = ()) -> tuple[Check, ...]:
    """Look at these clients, or at all that are wired in the lab.

    A program that is not installed is a failure where one client was asked for by name, and else a note: a repository
    may be wired for the clients of everybody who works on it.
    """
    chosen = names or wiring.wired()
    if not chosen:
        some = f"nightlab agents install {'|'.join(NAMES)}"
        return (_check("lab", "wiring", lambda: (Status.FAIL, "no client is wired here", some)),)
    found = [_check("lab", "policy", _policy)]
    if (wiring.root / clients.DOOR).is_file():
        found.append(_check("lab", "server", lambda: _server(wiring)))
    for name in chosen:
        looks = _looks(wiring, wiring.client(name), is_named=len(names) == 1)
        found += [_check(name, what, look) for what, look in looks.items()]
    return tuple(found)


def _check(client: str, what: str, look: Callable[[], _Found]) -> Check:
    try:
        status, found, next_step = look()
    except NightlabError as exc:
        status, found, next_step = Status.FAIL, str(exc.args[0]), exc.hint
    return Check(client=client, what=what, status=status, found=safe.block(found), next_step=safe.block(next_step))


def _looks(wiring: Wiring, client: Client, *, is_named: bool) -> Mapping[str, Callable[[], _Found]]:
    """What is looked at, in the order in which one needs the other."""
    program = shutil.which(client.program)
    trust: dict[str, Callable[[], _Found]] = {}
    if client.name == "codex":
        trust["project trust"] = lambda: _project_trust(wiring)
        trust["hook trust"] = lambda: _hook_trust(wiring, program)
        trust["sandbox"] = lambda: _sandbox(wiring, program)
    elif client.name == "gemini":
        trust["folder trust"] = lambda: _folder_trust(wiring)
    else:
        trust["trust"] = lambda: (Status.NOTE, *_TOLD_TRUST[client.name])
    return {
        "program": lambda: _program(wiring, client, program, is_named=is_named),
        "wiring": lambda: _wiring(wiring, client),
        "hooks": lambda: _hooks(wiring, client),
        **trust,
        "source": lambda: _source(client),
    }


# --- every client -----------------------------------------------------------------------------------------------


def _program(wiring: Wiring, client: Client, program: str | None, *, is_named: bool) -> _Found:
    if program is None:
        missing = Status.FAIL if is_named else Status.NOTE
        return missing, f"`{client.program}` is not on PATH", f"install it: {client.install}"
    said = talking.run([program, "--version"], wiring.root)
    number = re.search(r"\d+(?:\.\d+)+", said.out)
    if said.code or number is None:
        return Status.FAIL, f"`{client.program} --version` says no version: {said.complaint}", "install it again"
    version = number[0]
    if not client.tested:
        return Status.NOTE, f"{client.title} {version}, which we have never run", ""
    if _parts(version) == _parts(client.tested):
        return Status.OK, f"{client.title} {version}, the version that our checks ran with", ""
    than = "newer" if _parts(version) > _parts(client.tested) else "older"
    return Status.NOTE, f"{client.title} {version} is {than} than {client.tested}, which our checks ran with", ""


def _parts(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _wiring(wiring: Wiring, client: Client) -> _Found:
    states = wiring.states(client.name)
    install = f"nightlab agents install {client.name}"
    for state, status in ((State.MISSING, Status.FAIL), (State.OTHER, Status.NOTE)):
        named = [path for path, found in states.items() if found is state]
        if named:
            return status, f"{', '.join(named)}: {state}", install
    kept = [f"{change.path}: {why}" for change in wiring.installing([client.name]) for why in change.kept]
    if kept:
        return Status.NOTE, "; ".join(kept), "see docs/agents.md for what we would have written"
    return Status.OK, f"{len(states)} files {State.HERE}", ""


def _hooks(wiring: Wiring, client: Client) -> _Found:
    """The very line that the client runs, with an event that says nothing: it must succeed and be silent."""
    if not (wiring.root / clients.DOOR).is_file():
        return Status.FAIL, f"{clients.DOOR} is missing, which they run", f"nightlab agents install {client.name}"
    line = clients.hook_command(client.name, wiring.prefix)
    shell = [os.environ.get("SHELL") or "/bin/sh", "-lc"] if client.starts_login_shell else ["sh", "-c"]
    said = talking.run([*shell, line], wiring.root, b"{}")
    told = f"`{Path(shell[0]).name} {shell[1]} '{line}'`"
    if said.code:
        return Status.FAIL, f"{told} fails: {said.complaint}", _install_nightlab(wiring)
    if said.out.strip():
        return Status.FAIL, f"{told} answers an empty event: {safe.plain(said.out)}", "report it: that is a defect"
    return Status.OK, f"their command answers through `{Path(shell[0]).name} {shell[1]}`", ""


class _ServerInfo(msgspec.Struct, frozen=True):
    name: str
    version: str = ""


class _Greeting(msgspec.Struct, frozen=True, rename="camel"):
    server_info: _ServerInfo


class _Initialized(msgspec.Struct, frozen=True):
    result: _Greeting


def _server(wiring: Wiring) -> _Found:
    """The MCP server as clients start it, greeted with the handshake that today's clients use."""
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "nightlab-doctor", "version": __version__},
    }
    greeting = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": params}
    try:
        line = talking.ask(clients.server_command(wiring.prefix), [greeting], 1, wiring.root)
        server = msgspec.json.decode(line, type=_Initialized).result.server_info
    except (BackendError, msgspec.MsgspecError) as exc:
        return Status.FAIL, f"the MCP server does not start: {exc.args[0]}", _install_nightlab(wiring)
    if server.version and server.version != __version__:
        found = f"another nightlab answers clients ({server.version}) than you run ({__version__})"
        return Status.NOTE, found, "make them one, or ask that one's doctor"
    return Status.OK, "the MCP server answers", ""


def _policy() -> _Found:
    """The parser that agents' commands are judged by, asked for something that needs it."""
    try:
        shfmt.read("ls | cat")
    except ParserError as exc:
        mend = "install it again: it comes with nightlab, as the package shfmt-py"
        return Status.FAIL, f"the parser of shell commands, shfmt, {exc}: all but plain words is refused", mend
    return Status.OK, "shell commands of agents can be read", ""


def _install_nightlab(wiring: Wiring) -> str:
    return f"see what `sh {wiring.root / clients.DOOR} --version` says: that must be this nightlab"


def _source(client: Client) -> _Found:
    if client.tested:
        return Status.OK, f"what we say of {client.title} was measured with {client.tested}", ""
    return Status.NOTE, f"what we say of {client.title} is from its documentation only: we have never run it", ""


_TOLD_TRUST: Mapping[str, tuple[str, str]] = {
    "claude": (
        "not looked at; its documentation says that it asks, once for the workspace and once for the MCP server",
        "start `claude` in the lab once and answer, then `/hooks` and `/mcp` list ours",
    ),
    "cursor": (
        "not looked at; it may ask before it starts an MCP server of a project",
        "open the lab in Cursor; its settings list hooks and MCP servers",
    ),
    "opencode": ("OpenCode asks nothing: what lies in the lab is loaded", ""),
}


# --- Codex ------------------------------------------------------------------------------------------------------


def _trusted_places(wiring: Wiring) -> tuple[Path, ...]:
    """The lab, the top of its working tree, and the main checkout: trust of each counts, of no directory above them."""
    git = Git(wiring.root)
    depth = len(Path(git.prefix).parts)
    top = wiring.root.parents[depth - 1] if depth else wiring.root
    return wiring.root, top, git.common_dir.parent


def _project_trust(wiring: Wiring) -> _Found:
    if codex.trusts(_trusted_places(wiring)):
        return Status.OK, f"{codex.home() / 'config.toml'} trusts this project", ""
    found = "Codex does not trust this project, so it runs neither hooks nor MCP server of it"
    return Status.FAIL, found, f"start `codex` in {wiring.root} and accept, or pass `--trust` to `codex exec` once"


def _hook_trust(wiring: Wiring, program: str | None) -> _Found:
    if program is None:
        return Status.NOTE, "cannot be asked for without Codex", ""
    if not codex.trusts(_trusted_places(wiring)):
        return Status.NOTE, "comes after that of the project", ""
    ours = [hook for hook in codex.hooks_of(program, wiring.root) if clients.DOOR in (hook.command or "")]
    if not ours:
        return Status.FAIL, "Codex lists no hook of ours", "see that no configuration says `[features] hooks = false`"
    off = sorted({hook.event_name for hook in ours if not hook.enabled})
    if off:
        return Status.FAIL, f"switched off: {', '.join(off)}", "start `codex`, enter /hooks, and switch them on"
    doubted = sorted({hook.event_name for hook in ours if hook.trust_status not in {"trusted", "managed"}})
    if doubted:
        how = "start `codex` here, enter /hooks and trust them; or `codex exec --dangerously-bypass-hook-trust`"
        return Status.FAIL, f"not trusted, so skipped without a word: {', '.join(doubted)}", how
    return Status.OK, f"all {len(ours)} hooks are trusted", ""


_IS_WRITABLE = 'if test -w "$1"; then echo writable; else echo read-only; fi'


def _sandbox(wiring: Wiring, program: str | None) -> _Found:
    """Whether the agent's shell may commit, and whether we may."""
    if not os.access(wiring.git_dir, os.W_OK):
        found = f"{wiring.git_dir} cannot be written from here"
        return Status.FAIL, found, "ask the doctor outside of any sandbox, or get the permission to write there"
    if program is None:
        return Status.NOTE, "cannot be asked for without Codex", ""
    try_it = ("-c", "sandbox_mode=workspace-write", "sh", "-c", _IS_WRITABLE, "sh", str(wiring.git_dir))
    said = talking.run([program, "sandbox", *try_it], wiring.root)
    if said.out.strip() == "read-only":
        found = (
            "workspace-write leaves `.git` read-only to the agent's shell, as it should; hooks and MCP server, which"
        )
        return Status.OK, f"{found} record and commit, run outside it", ""
    if said.out.strip() == "writable":
        return Status.NOTE, "the sandbox leaves `.git` writable to the agent's shell on this machine", ""
    inside = "in a container of its own: `codex exec --dangerously-bypass-approvals-and-sandbox`"
    return Status.NOTE, f"Codex's sandbox does not start on this machine: {said.complaint}", inside


# --- Gemini -----------------------------------------------------------------------------------------------------


def _folder_trust(wiring: Wiring) -> _Found:
    if not gemini.asks_for_trust():
        return Status.OK, "folder trust is off, so that settings of the lab are read", ""
    if gemini.trusts(wiring.root):
        return Status.OK, "the lab is a trusted folder", ""
    found = "folder trust is on and this is no trusted folder: settings, hooks and MCP server of the lab are skipped"
    return Status.FAIL, found, f"start `gemini` in {wiring.root} and trust it, or pass `--skip-trust`"
