"""The clients, one entry of data each: which files they read, what of ours is in them, what we know and how we know it.

Every command of ours names one file of the lab, `.agents/nightlab.sh`, and nothing else that could change. Codex trusts
a hook by the hash of its command, so that a line which names an interpreter or an option would ask for trust again
whenever that moves, and would be wrong on the next machine. `nightlab` alone is not found where it lives in the lab's
own environment, since clients start hooks through login shells that forget an activated one. `uv run` would make a
second environment in every worktree, and is missing where nightlab was installed by pip. So the search for nightlab is
in that file, and the line stays.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources

from nightlab.agent.names import NAMES
from nightlab.agent.wiring.jsontext import Json
from nightlab.agent.wiring.parts import Element, JsonPart, Member, Part, SectionPart, TomlPart, WholePart
from nightlab.errors import UsageError
from nightlab.root import FOR_LAB

DOOR = ".agents/nightlab.sh"
_SECONDS = 60  # a hook has so long: reading a run's log and judging it takes two at 10,000 runs


_PASSED_ON = (
    "AUTORESEARCH_PROFILE",
    "CONDA_PREFIX",
    "CUDA_VISIBLE_DEVICES",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "LD_LIBRARY_PATH",
    FOR_LAB,
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "PYTHONPATH",
    "UV_PROJECT_ENVIRONMENT",
    "VIRTUAL_ENV",
    "XDG_CACHE_HOME",
)
"""Variables that say where and on what a run happens, and which night asked for an idea. A server that lacks them would
run on other GPUs than a command in the same shell, under another profile, which makes another experiment, or beside
that night. None of them is a secret.
"""


@dataclass(frozen=True, slots=True)
class Hook:
    """One event that a client tells us of.

    Args:
        event: the client's name for it.
        matcher: which of its cases, as the client writes it; empty for all.
        says: what a person is shown meanwhile, where the client can.
    """

    event: str
    matcher: str = ""
    says: str = ""


@dataclass(frozen=True, slots=True)
class Client:
    """A coding agent's client.

    Args:
        name: as our commands have it.
        title: as its makers write it.
        program: what is started in a terminal.
        install: the command that brings it.
        tested: the version that our checks ran with; empty if it was never run by us.
        files: path in the lab -> our part of it, those that only this client reads first.
        starts_login_shell: whether it runs hooks through `$SHELL -lc` instead of `sh -c`.
        one_shot: the command that does one task and ends.
    """

    name: str
    title: str
    program: str
    install: str
    tested: str
    files: Mapping[str, Part]
    one_shot: str
    starts_login_shell: bool = False

    @property
    def own(self) -> Mapping[str, Part]:
        """The files that no other client's wiring shares."""
        return {path: part for path, part in self.files.items() if path not in SHARED}


SHARED = (DOOR, "AGENTS.md", ".agents/skills/nightlab/SKILL.md")
"""What several clients read: the door, the instructions, the skill."""


def client(name: str, prefix: str = "") -> Client:
    """The entry of one client.

    Args:
        name: one of `names.NAMES`.
        prefix: where in its repository the lab lies, with a slash at the end; empty at the top.

    Raises:
        UsageError: there is no such client.
    """
    if name not in NAMES:
        raise UsageError(f"no client is called {name!r}", hint=f"known are {', '.join(NAMES)}")
    return {"codex": _codex, "claude": _claude, "gemini": _gemini, "opencode": _opencode, "cursor": _cursor}[name](
        prefix
    )


def hook_command(name: str, prefix: str = "") -> str:
    """The line that a client's shell runs at each event, in whatever directory of the repository.

    Where the door is not found (outside the lab's repository, or in one within it), dash ends with 2, by which every
    client understands a veto; so each failure becomes 1, which is none. A denial is an answer, and ends with 0.
    """
    return f"sh {_door(prefix)} hook {name} || exit 1"


def server_command(prefix: str = "") -> tuple[str, ...]:
    """The words that start our MCP server, in whatever directory of the repository."""
    return "sh", "-c", f"exec sh {_door(prefix)} mcp"


def _door(prefix: str) -> str:
    inside = re.sub(r'([\\"$`])', r"\\\1", prefix)
    return f'"$(git rev-parse --show-toplevel)/{inside}{DOOR}"'


@cache
def _text(name: str) -> str:
    return (resources.files("nightlab.agent.wiring") / "texts" / name).read_text(encoding="utf-8")


@cache
def _shared() -> Mapping[str, Part]:
    door = WholePart(_text("nightlab.sh"), "nightlab's door for coding agents")
    return dict(zip(SHARED, (door, SectionPart(_text("AGENTS.md")), _skill()), strict=True))


def _skill() -> WholePart:
    return WholePart(_text("SKILL.md"), "name: nightlab\n")


# --- hooks in the three dialects that have them in a settings file ------------------------------------------------

_CODEX_HOOKS = (
    Hook("SessionStart", "startup|resume|clear|compact", "nightlab: where the lab stands"),
    Hook("UserPromptSubmit", "", "nightlab: what was asked"),
    Hook("PreToolUse", "Bash|apply_patch|Edit|Write", "nightlab: may this be"),
    Hook("PostToolUse", "Bash", "nightlab: what the run taught"),
    Hook("Stop", "", "nightlab: what comes next"),
)
_CLAUDE_HOOKS = (
    *_CODEX_HOOKS[:2],
    Hook("PreToolUse", "Bash|Edit|MultiEdit|Write|NotebookEdit", "nightlab: may this be"),
    Hook("PostToolUse", "Bash", "nightlab: what the run taught"),
    Hook("PostToolUseFailure", "Bash", "nightlab: what the run taught"),
    _CODEX_HOOKS[-1],
)
_GEMINI_HOOKS = (
    Hook("SessionStart"),
    Hook("BeforeAgent"),
    Hook("BeforeTool", "run_shell_command|replace|write_file|edit"),
    Hook("AfterTool", "run_shell_command"),
    Hook("AfterAgent"),
)
_CURSOR_HOOKS = (
    Hook("sessionStart"),
    Hook("beforeSubmitPrompt"),
    Hook("beforeShellExecution"),
    Hook("preToolUse", "Write|Edit|Delete"),
    Hook("postToolUse", "Shell"),
    Hook("postToolUseFailure", "Shell"),
    Hook("stop"),
)


def _group(hook: Hook, handler: Mapping[str, Json]) -> Json:
    return {**({"matcher": hook.matcher} if hook.matcher else {}), "hooks": [handler]}


def _codex(prefix: str) -> Client:
    line = hook_command("codex", prefix)
    groups = [
        Element(
            ("hooks", hook.event),
            _group(hook, {"type": "command", "command": line, "timeout": _SECONDS, "statusMessage": hook.says}),
        )
        for hook in _CODEX_HOOKS
    ]
    program, *words = server_command(prefix)
    # A server that is not required is not up yet when the first question of `codex exec` goes out, and a tool that asks
    # for approval is refused there: the tools' own descriptions say which of them write, and nobody is there to ask.
    server = [
        f'command = "{program}"',
        f"args = [{', '.join(_toml_string(word) for word in words)}]",
        "required = true",
        'default_tools_approval_mode = "approve"',
        "startup_timeout_sec = 30",
        # Codex hands on HOME, PATH and a few more only.
        "\n".join(["env_vars = [", *(f"    {_toml_string(name)}," for name in _PASSED_ON), "]"]),
    ]
    return Client(
        name="codex",
        title="Codex CLI",
        program="codex",
        install="npm install -g @openai/codex",
        tested="0.171.0",
        files={
            ".codex/hooks.json": JsonPart(groups, DOOR),
            ".codex/config.toml": TomlPart(
                {"project_doc_fallback_filenames": '["program.md"]'}, {"mcp_servers.nightlab": "\n".join(server)}
            ),
            **_shared(),
        },
        one_shot="codex exec",
        starts_login_shell=True,
    )


def _toml_string(text: str) -> str:
    if "'" not in text and ('"' in text or "\\" in text):
        return f"'{text}'"
    escaped = re.sub(r'([\\"])', r"\\\1", text)
    return f'"{escaped}"'


def _claude(prefix: str) -> Client:
    line = hook_command("claude", prefix)
    groups = [
        Element(
            ("hooks", hook.event),
            _group(hook, {"type": "command", "command": line, "timeout": _SECONDS, "statusMessage": hook.says}),
        )
        for hook in _CLAUDE_HOOKS
    ]
    program, *words = server_command(prefix)
    server: Json = {"type": "stdio", "command": program, "args": words}
    return Client(
        name="claude",
        title="Claude Code",
        program="claude",
        install="npm install -g @anthropic-ai/claude-code",
        tested="",
        files={
            ".claude/settings.json": JsonPart(groups, DOOR),
            ".mcp.json": JsonPart([Member(("mcpServers", "nightlab"), server)], DOOR),
            "CLAUDE.md": SectionPart("@AGENTS.md", unless="@AGENTS.md"),
            ".claude/skills/nightlab/SKILL.md": _skill(),
            **_shared(),
        },
        one_shot="claude -p",
    )


def _gemini(prefix: str) -> Client:
    line = hook_command("gemini", prefix)
    groups = [
        Element(
            ("hooks", hook.event),
            _group(hook, {"type": "command", "command": line, "name": "nightlab", "timeout": _SECONDS * 1000}),
        )
        for hook in _GEMINI_HOOKS
    ]
    program, *words = server_command(prefix)
    return Client(
        name="gemini",
        title="Gemini CLI",
        program="gemini",
        install="npm install -g @google/gemini-cli",
        tested="0.61.0",
        files={
            ".gemini/settings.json": JsonPart(
                [
                    Member(("context", "fileName"), ["AGENTS.md", "GEMINI.md"]),
                    Member(("mcpServers", "nightlab"), {"command": program, "args": words}),
                    *groups,
                ],
                DOOR,
            ),
            **_shared(),
        },
        one_shot="gemini --yolo -p",
    )


def _opencode(prefix: str) -> Client:
    server: Json = {"type": "local", "command": list(server_command(prefix)), "enabled": True, "timeout": 30_000}
    plugin = (resources.files("nightlab.agent.hooks") / "opencode.js").read_text(encoding="utf-8")
    return Client(
        name="opencode",
        title="OpenCode",
        program="opencode",
        install="npm install -g opencode-ai",
        tested="1.18.33",
        files={
            ".opencode/plugins/nightlab.js": WholePart(plugin, "nightlab"),
            "opencode.json": JsonPart(
                [
                    Member(("$schema",), "https://opencode.ai/config.json", common=True),
                    Member(("mcp", "nightlab"), server),
                ],
                DOOR,
            ),
            **_shared(),
        },
        one_shot="opencode run",
    )


def _cursor(prefix: str) -> Client:
    line = hook_command("cursor", prefix)
    entries = [
        Element(
            ("hooks", hook.event),
            {"command": line, "timeout": _SECONDS, **({"matcher": hook.matcher} if hook.matcher else {})},
        )
        for hook in _CURSOR_HOOKS
    ]
    # Its servers start anywhere; by its documentation this stands for the directory that .cursor lies in.
    server: Json = {"command": "sh", "args": [f"${{workspaceFolder}}/{DOOR}", "mcp"]}
    return Client(
        name="cursor",
        title="Cursor",
        program="cursor-agent",
        install="see cursor.com",
        tested="",
        files={
            ".cursor/hooks.json": JsonPart([Member(("version",), 1, common=True), *entries], DOOR),
            ".cursor/mcp.json": JsonPart([Member(("mcpServers", "nightlab"), server)], DOOR),
            **_shared(),
        },
        one_shot="cursor-agent -p",
    )
