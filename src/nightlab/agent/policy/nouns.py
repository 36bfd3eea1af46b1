"""What the policy is asked about and what it answers, and the acts in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from nightlab.agent.policy.noun import noun

# What an agent may not edit: the rules it works under and the record it is judged by. Names of directories cover all
# that lies in them; names that do not exist cost nothing.
CONTROL = (
    ".agents",
    ".claude",
    ".codex",
    ".cursor",
    ".gemini",
    ".git",
    ".mcp.json",
    ".opencode",
    "memorylab.py",
    "nightlab.toml",
    "opencode.json",
    "research",
    "results/discovery",
    "results/memorylab/champion_challenger.json",
    "results/memorylab/experiments.jsonl",
    "results/memorylab/runs",
    "results/nightlab",
    "scripts/modal_gpu.py",
    "scripts/run_experiment.py",
    "src/nightlab",
)


@noun
class Deny:
    """A rule of the lab's own: commands that begin with these words are refused."""

    words: tuple[str, ...]
    reason: str


@noun
class Ground:
    """Where a command would run, and what is guarded there.

    `protected`, `editable` and `control` are relative to `root` and written as nightlab.toml writes paths: a file, a
    directory with all that is in it, or a pattern. What is editable is never guarded.
    """

    root: Path  # of the lab
    cwd: Path
    home: Path
    branch: str  # "" where none is checked out
    protected: tuple[str, ...] = ("prepare.py",)
    editable: tuple[str, ...] = ("train.py",)
    command: str = "uv run train.py"
    metric: str = "val_bpb"  # as the run prints it; "" where that is not known
    control: tuple[str, ...] = CONTROL
    allow: tuple[tuple[str, ...], ...] = ()  # commands, word for word, that no rule about programs touches
    deny: tuple[Deny, ...] = ()
    enabled: bool = True
    read: Callable[[Path], str | None] | None = None  # text of a small file, if it exists
    resolve: Callable[[Path], Path] | None = None  # follows links


@noun
class Refusal:
    """Why a command may not run, and what to do instead; both are sentences."""

    rule: str
    reason: str
    instead: str

    @property
    def text(self) -> str:
        return f"{self.reason} {self.instead}"


# --- acts: what a command would do, as far as a rule asks -----------------------------------------------------------


@noun
class Write:
    path: str  # absolute, with holes; see `values`


@noun
class Remove:
    path: str
    recursive: bool
    moved: bool = False


@noun
class Install:
    what: str


@noun
class Publish:
    what: str
    pull_request: bool = False


@noun
class Fetched:
    what: str  # the program that would run what came from the network


@noun
class Reset:
    """Commits of a branch are thrown away or the branch is moved by force."""

    branch: str


@noun
class Wiped:
    """Something is destroyed that is no single path."""

    what: str


@noun
class Opaque:
    """What would run or be changed cannot be read."""

    what: str


@noun
class Unguarded:
    """The agent's own rules would be switched off."""

    what: str


@noun
class Forbidden:
    """A rule of the lab's own."""

    rule: Deny


@noun
class Sink:
    """Where a stream of output ends: "screen", "file", "pipe" or "kept" (in a variable)."""

    kind: str = "screen"
    path: str = ""
    readers: tuple[str, ...] = ()  # programs at the other end of a pipe
    words: tuple[str, ...] = ()  # those and their arguments, since one may run another


@noun
class Train:
    """The lab's run command, with where its two streams go."""

    out: Sink
    err: Sink


@noun
class Show:
    """A whole file goes to `out`, or is followed there for as long as it grows."""

    path: str
    out: Sink


Act = Write | Remove | Install | Publish | Fetched | Reset | Wiped | Opaque | Unguarded | Forbidden | Train | Show
