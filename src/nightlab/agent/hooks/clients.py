"""Each client's dialect: a table of its names, a function that reads an event and one that writes an answer.

Codex refuses an answer with one field too many as a whole, so every writer names exactly what its client takes for the
event at hand. What was measured on real clients and what is from their documentation only, docs/hooks.md says.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from nightlab.agent.hooks.events import (
    EDIT,
    OTHER,
    SHELL,
    AfterTool,
    Answer,
    BeforeTool,
    Event,
    Prompted,
    SessionStarted,
    Speaker,
    Stopping,
    Tool,
)

Told = Mapping[str, object]
"""The JSON object of an event."""

_PATCH = "*** Begin Patch"
_PATCHED = ("*** Add File: ", "*** Update File: ", "*** Delete File: ", "*** Move to: ")


class Client(NamedTuple):
    """One client. `names` says what it calls our nouns; a noun that it has no word for is not in it."""

    name: str
    names: Mapping[str, str]
    before: frozenset[str]  # its names of events
    after: frozenset[str]
    shells: frozenset[str]  # its names of tools
    places: tuple[str, ...]  # fields of a shell's input that name the directory it works in
    edits: frozenset[str]
    paths: tuple[str, ...]  # fields of an edit's input that name files
    patches: tuple[str, ...]  # fields of an edit's input that hold a patch
    read: Callable[[Client, Told], Event | None]
    write: Callable[[Client, Told, Event, Answer], Told | None]


# --- reading ----------------------------------------------------------------------------------------------------


def _read(client: Client, told: Told) -> Event | None:
    """An event of a client that names it in a field; None for one that is nobody's business."""
    names, event = client.names, _text(told, client.names["event"])
    if event in client.before:
        return BeforeTool(_speaker(client, told), _tool(client, told))
    if event in client.after:
        return AfterTool(_speaker(client, told), _tool(client, told))
    if event == names["start"]:
        return SessionStarted(_speaker(client, told), _text(told, "source") or "startup")
    if event == names["prompted"]:
        return Prompted(_speaker(client, told), _text(told, names["prompt"]))
    if event == names["stop"]:
        return Stopping(_speaker(client, told), _text(told, names.get("last", "")))
    return None


def _read_cursor(client: Client, told: Told) -> Event | None:
    """Cursor: the shell has events of its own, whose command is no tool's input, and a turn that was broken off ends
    with the same event as one that is done.
    """
    event = _text(told, "hook_event_name")
    shell = Tool(kind=SHELL, name="Shell", call=_text(told, "generation_id"), command=_text(told, "command"))
    if event == "beforeShellExecution":
        return BeforeTool(_speaker(client, told), shell)
    if event == "afterShellExecution":
        return AfterTool(_speaker(client, told), shell, is_heard=False)
    found = _read(client, told)
    if isinstance(found, Stopping):
        return found._replace(is_willing=told.get("status", "completed") == "completed")
    return found


def _speaker(client: Client, told: Told) -> Speaker:
    cwd = _text(told, "cwd")
    if not cwd and isinstance(places := told.get("workspace_roots"), list) and places and isinstance(places[0], str):
        cwd = places[0]
    names = client.names
    return Speaker(session=_text(told, names["session"]), cwd=cwd, agent=_text(told, names.get("agent", "")))


def _tool(client: Client, told: Told) -> Tool:
    name = _text(told, client.names["tool"])
    given = told.get(client.names["input"])
    given = given if isinstance(given, Mapping) else {}
    call = _text(told, client.names.get("call", ""))
    if name in client.shells:
        command = _text(given, "command")
        place = next(filter(None, (_text(given, field) for field in client.places)), "")
        return Tool(kind=SHELL, name=name, call=call, command=command, cwd=place, paths=patched(command))
    if name in client.edits:
        named = [_text(given, field) for field in client.paths]
        found = [path for field in client.patches for path in patched(_text(given, field))]
        return Tool(kind=EDIT, name=name, call=call, paths=tuple(path for path in (*named, *found) if path))
    return Tool(kind=OTHER, name=name, call=call)


def patched(text: str) -> tuple[str, ...]:
    """The files that a patch in the format of `apply_patch` names; none where the text holds no such patch."""
    if _PATCH not in text:
        return ()
    lines = [line.strip() for line in text.splitlines()]
    return tuple(line.removeprefix(mark) for line in lines for mark in _PATCHED if line.startswith(mark))


def _text(told: Told, field: str) -> str:
    found = told.get(field)
    return found if isinstance(found, str) else ""


# --- writing ----------------------------------------------------------------------------------------------------


def _write_specific(client: Client, told: Told, event: Event, answer: Answer) -> Told | None:
    """Codex and Claude Code. After a tool there is context only: Codex would put a reason in the output's place."""
    name = _text(told, "hook_event_name")
    shown = {"systemMessage": answer.told} if answer.told else {}
    if isinstance(event, Stopping):
        return {"decision": "block", "reason": answer.ask, **shown} if answer.ask else None
    if isinstance(event, BeforeTool):
        decided = {"permissionDecision": "deny", "permissionDecisionReason": answer.deny}
        return {"hookSpecificOutput": {"hookEventName": name, **decided}, **shown} if answer.deny else None
    said = {"hookSpecificOutput": {"hookEventName": name, "additionalContext": answer.context}}
    return {**said, **shown} if answer.context else None


_TO_LOG, _IN_WORDS = " > run.log 2>&1", " (its whole output sent to run.log)"
"""Gemini CLI hands context on with `&gt;` for `>`: a command copied from there would run in the background."""


def _write_gemini(client: Client, told: Told, event: Event, answer: Answer) -> Told | None:
    """Gemini CLI: denials and continuations stand at the top."""
    if isinstance(event, BeforeTool):
        return {"decision": "deny", "reason": answer.deny} if answer.deny else None
    if isinstance(event, Stopping):
        return {"decision": "deny", "reason": answer.ask} if answer.ask else None
    context = answer.context.replace(_TO_LOG, _IN_WORDS)
    said = {"hookEventName": _text(told, "hook_event_name"), "additionalContext": context}
    return {"hookSpecificOutput": said} if context else None


def _write_cursor(client: Client, told: Told, event: Event, answer: Answer) -> Told | None:
    """Cursor: a prompt and a finished shell command take no words."""
    if isinstance(event, BeforeTool):
        words = {"user_message": answer.told or answer.deny, "agent_message": answer.deny}
        return {"permission": "deny", **words} if answer.deny else None
    if isinstance(event, Stopping):
        return {"followup_message": answer.ask} if answer.ask else {}
    if isinstance(event, SessionStarted) or (isinstance(event, AfterTool) and event.is_heard):
        return {"additional_context": answer.context} if answer.context else None
    return None


def _write_plain(client: Client, told: Told, event: Event, answer: Answer) -> Told | None:
    """Our own plugin (`opencode.js`), which puts each part where OpenCode wants it."""
    parts = {"deny": answer.deny, "context": answer.context, "ask": answer.ask}
    return {name: text for name, text in parts.items() if text} or None


# --- tables -----------------------------------------------------------------------------------------------------

_SPECIFIC = {
    "event": "hook_event_name",
    "session": "session_id",
    "agent": "agent_id",
    "tool": "tool_name",
    "input": "tool_input",
    "call": "tool_use_id",
    "prompt": "prompt",
    "last": "last_assistant_message",
    "start": "SessionStart",
    "prompted": "UserPromptSubmit",
    "stop": "Stop",
}

CODEX = Client(
    name="codex",
    names=_SPECIFIC,
    before=frozenset({"PreToolUse"}),
    after=frozenset({"PostToolUse"}),
    shells=frozenset({"Bash"}),
    places=("workdir",),
    edits=frozenset({"apply_patch", "Edit", "Write"}),
    paths=("file_path",),
    patches=("command", "patch", "input"),
    read=_read,
    write=_write_specific,
)
CLAUDE = Client(
    name="claude",
    names=_SPECIFIC,
    before=frozenset({"PreToolUse"}),
    after=frozenset({"PostToolUse", "PostToolUseFailure"}),
    shells=frozenset({"Bash"}),
    places=(),
    edits=frozenset({"Edit", "MultiEdit", "Write", "NotebookEdit"}),
    paths=("file_path", "notebook_path"),
    patches=(),
    read=_read,
    write=_write_specific,
)
GEMINI = Client(
    name="gemini",
    names={**_SPECIFIC, "last": "prompt_response", "prompted": "BeforeAgent", "stop": "AfterAgent"},
    before=frozenset({"BeforeTool"}),
    after=frozenset({"AfterTool"}),
    shells=frozenset({"run_shell_command"}),
    places=("dir_path", "directory"),
    edits=frozenset({"replace", "write_file", "edit"}),
    paths=("file_path",),
    patches=(),
    read=_read,
    write=_write_gemini,
)
CURSOR = Client(
    name="cursor",
    names={
        **_SPECIFIC,
        "session": "conversation_id",
        "call": "generation_id",
        "start": "sessionStart",
        "prompted": "beforeSubmitPrompt",
        "stop": "stop",
    },
    before=frozenset({"preToolUse"}),
    after=frozenset({"postToolUse", "postToolUseFailure"}),
    shells=frozenset({"Shell"}),
    places=("working_directory",),
    edits=frozenset({"Write", "Edit", "Delete"}),
    paths=("file_path", "path", "target_file"),
    patches=(),
    read=_read_cursor,
    write=_write_cursor,
)
OPENCODE = Client(
    name="opencode",
    names={
        "event": "event",
        "session": "session",
        "agent": "parent",
        "tool": "tool",
        "input": "args",
        "call": "call",
        "prompt": "prompt",
        "start": "start",
        "prompted": "prompt",
        "stop": "idle",
    },
    before=frozenset({"before"}),
    after=frozenset({"after"}),
    shells=frozenset({"bash"}),
    places=("workdir",),
    edits=frozenset({"edit", "write", "multiedit", "patch", "apply_patch"}),
    paths=("filePath",),
    patches=("patchText", "patch"),
    read=_read,
    write=_write_plain,
)

CLIENTS: Mapping[str, Client] = {client.name: client for client in (CODEX, CLAUDE, GEMINI, CURSOR, OPENCODE)}
