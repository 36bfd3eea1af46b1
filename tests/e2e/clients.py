"""Real coding agents from npm, in a lab of their own: a fresh home, a scripted model on loopback, a time limit.

Nothing of the caller's environment reaches an agent but its search path, so that no key, proxy or setting of a person
who runs these tests can. Where the system lets a test have its own network namespace, an agent reaches nothing but the
scripted model.
"""

from __future__ import annotations

import functools
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import psutil
import pytest

from tests.e2e import model_server, opencode_session
from tests.e2e.labs import UserLab
from tests.e2e.model_server import Request, Turn

MARK = "NIGHTLAB_E2E"
"""A variable that everything which a visit starts inherits, with the visit's home: what is left over is found by it."""
LIMIT_S = 180
SOURCE = Path(__file__).resolve().parents[2] / "src"

TRAIN = """\
import os, random
RATE = 0.02
WIDTH = 64
DECAY = 0.1
seed = int(os.environ.get("AUTORESEARCH_SEED", "42"))
noise = random.Random(f"{RATE} {WIDTH} {DECAY} {seed}").gauss(0, 1e-3) + random.Random(seed).gauss(0, 1e-3)
print("val_bpb:", round(1 + abs(RATE - 0.05) + abs(WIDTH - 256) / 512 + abs(DECAY - 0.1) + noise, 6))
"""
TOML = """\
command = "{python} train.py"
protected = ["prepare.py"]
tag = "e2e"
[metric]
name = "val_bpb"
[budget]
slots = 1
timeout_minutes = 1
grace_seconds = 0.2
[judge]
final_runs = 2
"""


def agents_home() -> Path:
    """Where the agents' packages lie: made by `just e2e`."""
    return Path(os.environ.get("NIGHTLAB_E2E_AGENTS", Path.home() / ".cache" / "nightlab-e2e"))


def binary(name: str) -> Path:
    """The program of that name from the agents' packages; skips the test where it is not there."""
    found = agents_home() / "node_modules" / ".bin" / name
    if not found.exists():
        pytest.skip(f"no {name} in {agents_home()}: `just e2e` installs it where npm is")
    return found


def version(name: str) -> str:
    """What the installed package calls itself: recorded with what was found, since agents change weekly."""
    package = (agents_home() / "node_modules" / ".bin" / name).resolve()
    for directory in package.parents:
        manifest = directory / "package.json"
        if manifest.exists() and "version" in (told := json.loads(manifest.read_text())):
            return f"{told['name']} {told['version']}"
    return f"{name}, version unknown"


@functools.cache
def can_be_alone() -> bool:
    """Whether a process may have a network namespace of its own here."""
    words = ["unshare", "-n", "ip", "link", "set", "lo", "up"]
    return all(map(shutil.which, ("unshare", "ip"))) and _succeeds(words)


def _succeeds(words: list[str]) -> bool:
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class Visit:
    """What came of one start of an agent."""

    code: int | None  # None: it was ended at its limit
    out: str
    err: str
    requests: tuple[Request, ...] = field(repr=False)

    @property
    def told(self) -> str:
        """All that the model was ever told."""
        return "\n".join(request.text for request in self.requests)

    def news(self, turn: int) -> str:
        """What the model was told, and did not know before, after turn `turn` of the script: what that turn led to."""
        asked = self.asking(turn)
        later = [each for each in self.requests[self.requests.index(asked) + 1 :] if each.tools and not _polls(each)]
        assert later, f"nothing came after turn {turn}\n{self.out[-2000:]}\n{self.err[-2000:]}"
        before, now = (request.text.splitlines() for request in (asked, later[0]))
        return "\n".join((Counter(now) - Counter(before)).elements())

    def asking(self, turn: int) -> Request:
        """The request that turn `turn` of the script answered."""
        found = [request for request in self.requests if request.turn == turn]
        assert found, f"the script was left before turn {turn}\n{self.out[-2000:]}\n{self.err[-2000:]}"
        return found[0]


def _polls(request: Request) -> bool:
    return request.turn < 0 and model_server.left_running(request.body) is not None


class Agent(Protocol):
    """How one agent is set up and started."""

    @property
    def program(self) -> str:
        """Its name among the programs of the packages."""
        ...

    def set_up(self, home: Path, lab: UserLab, url: str) -> dict[str, str]:
        """Write its settings; what is returned is added to its environment."""
        ...

    def command(self, program: Path, lab: UserLab, prompt: str) -> list[str]:
        """What gives it `prompt` and ends when it has nothing more to do."""
        ...


def make_lab(root: Path) -> UserLab:
    """A committed lab on `autoresearch/e2e` whose runs take the time of a Python start and carry seed noise."""
    root.mkdir(parents=True)
    (root / "train.py").write_text(TRAIN)
    (root / "prepare.py").write_text("# frozen\n")
    (root / "nightlab.toml").write_text(TOML.format(python=sys.executable))
    (root / ".gitignore").write_text("results/\nresults.tsv\nrun.log\n")
    lab = UserLab(root)
    lab.git("init", "-q", "-b", "main")
    lab.git("add", "-A")
    lab.git("commit", "-qm", "start")
    lab.git("switch", "-qc", "autoresearch/e2e")
    return lab


def tried(lab: UserLab) -> dict[str, str]:
    """Description -> verdict of each experiment but the baseline.

    It holds for any lab here that the ledger's chain is whole and that every run of it ended by itself with a value.
    """
    assert lab.nightlab("wait").code == 0
    told = lab.nightlab("verify")
    assert told.code == 0, told.out + told.err
    runs = [run for run in lab.runs() if run["description"] != "baseline"]
    odd = [run for run in lab.runs() if run["outcome"] != "finished"]
    assert not odd, odd
    return {run["description"]: run["decision"] for run in runs}


def make_home(root: Path) -> Path:
    """A user's directory with nothing in it but a `nightlab` that is found by every shell."""
    programs = root / ".local" / "bin"
    programs.mkdir(parents=True)
    nightlab = programs / "nightlab"
    nightlab.write_text(f'#!/bin/sh\nPYTHONPATH="{SOURCE}" exec "{sys.executable}" -P -m nightlab "$@"\n')
    nightlab.chmod(0o755)
    # Agents run commands in login shells, whose system-wide profile may set the path anew.
    (root / ".profile").write_text(f'PATH="{programs}:$PATH"\n')
    return root


def environment(home: Path) -> dict[str, str]:
    """All that an agent's process sees, but for what its own set-up adds."""
    scratch = home / "tmp"
    scratch.mkdir(exist_ok=True)
    return {
        "PATH": f"{home}/.local/bin:{os.environ['PATH']}",
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": "dumb",
    }


def visit(agent: Agent, lab: UserLab, home: Path, prompt: str, turns: list[Turn]) -> Visit:
    """Start the agent in the lab with a model that follows `turns`; `end_all` ends what it leaves."""
    program, port = binary(agent.program), _free_port()
    record, script = home / f"requests-{uuid.uuid4().hex}.jsonl", home / "script.json"
    script.write_text(json.dumps([vars(turn) for turn in turns]))
    variables = environment(home) | agent.set_up(home, lab, f"http://127.0.0.1:{port}") | {MARK: str(home)}
    alone = can_be_alone()
    words = [
        *(["unshare", "-n"] if alone else []),
        *(sys.executable, "-P", model_server.__file__, "--port", str(port)),
        *("--script", str(script), "--record", str(record)),
        *(["--alone"] if alone else []),
        *("--", *agent.command(program, lab, prompt)),
    ]
    with (home / "out").open("w+") as out, (home / "err").open("w+") as err:
        process = subprocess.Popen(
            words, cwd=lab.root, env=variables, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True
        )
        code: int | None = None
        try:
            code = process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        out.seek(0)
        err.seek(0)
        return Visit(code, out.read(), err.read(), tuple(model_server.read_requests(record)))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def end_all(place: Path) -> None:
    """Kill what visits from homes below `place` left; not at a visit's end, since what works on the lab outlives it."""
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK, "").startswith(f"{place}{os.sep}"):
                process.kill()
        except psutil.Error:
            continue


class Codex:
    """OpenAI's Codex CLI, in its `workspace-write` sandbox: the lab may be written, `.git` and the network may not."""

    program = "codex"

    def __init__(self, *, sandbox: str = "workspace-write", trusts: bool = True) -> None:
        self.sandbox, self.trusts = sandbox, trusts

    def set_up(self, home: Path, lab: UserLab, url: str) -> dict[str, str]:
        own = home / ".codex"
        own.mkdir(exist_ok=True)
        (own / "config.toml").write_text(f"""\
model = "scripted"
model_provider = "scripted"
approval_policy = "never"
check_for_update_on_startup = false
[model_providers.scripted]
name = "scripted"
base_url = "{url}/v1"
env_key = "SCRIPTED_KEY"
wire_api = "responses"
request_max_retries = 0
stream_max_retries = 0
[analytics]
enabled = false
[projects."{lab.root}"]
trust_level = "trusted"
""")
        variables = {"CODEX_HOME": str(own), "SCRIPTED_KEY": "none"}
        if self.trusts:
            self._trust(own / "config.toml", lab, environment(home) | variables)
        return variables

    def _trust(self, config: Path, lab: UserLab, variables: dict[str, str]) -> None:
        """Trust the lab's hooks by the digests of their commands, as a person does on Codex's own screen."""
        about = {"clientInfo": {"name": "e2e", "title": "e2e", "version": "0"}}
        asked = [
            {"id": 1, "method": "initialize", "params": about},
            {"method": "initialized"},
            {"id": 2, "method": "hooks/list", "params": {"cwds": [str(lab.root)]}},
        ]
        words = [*(["unshare", "-n"] if can_be_alone() else []), str(binary(self.program)), "app-server"]
        with subprocess.Popen(
            words,
            cwd=lab.root,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as server:
            assert server.stdin is not None and server.stdout is not None
            server.stdin.write("".join(json.dumps(each) + "\n" for each in asked))
            server.stdin.flush()
            answer = next(told for line in server.stdout if (told := json.loads(line)).get("id") == 2)
            server.stdin.close()
        with config.open("a") as file:
            for hook in answer["result"]["data"][0]["hooks"]:
                file.write(
                    f"[hooks.state.{json.dumps(hook['key'])}]\ntrusted_hash = {json.dumps(hook['currentHash'])}\n"
                )

    def command(self, program: Path, lab: UserLab, prompt: str) -> list[str]:
        return [str(program), "exec", "--json", "--color", "never", "-s", self.sandbox, prompt]


class Gemini:
    """Google's Gemini CLI, its tools in bubblewrap where that is installed."""

    program = "gemini"

    def __init__(self, *, sandbox: bool | None = None) -> None:
        self.sandbox = shutil.which("bwrap") is not None if sandbox is None else sandbox

    def set_up(self, home: Path, lab: UserLab, url: str) -> dict[str, str]:
        own = home / ".gemini"
        own.mkdir(exist_ok=True)
        settings = {
            "security": {
                "auth": {"selectedType": "gemini-api-key"},
                "folderTrust": {"enabled": False},
                "toolSandboxing": self.sandbox,
            },
            "privacy": {"usageStatisticsEnabled": False},
            "general": {"enableAutoUpdate": False},
        }
        (own / "settings.json").write_text(json.dumps(settings))
        return {
            "GEMINI_API_KEY": "none",
            "GOOGLE_GEMINI_BASE_URL": url,
            "GEMINI_CLI_TRUST_WORKSPACE": "true",
        }

    def command(self, program: Path, lab: UserLab, prompt: str) -> list[str]:
        return [str(program), "--yolo", "-m", "gemini-2.5-flash", "--output-format", "stream-json", "-p", prompt]


class OpenCode:
    """OpenCode; `opencode run` ends when the model is done, its server does not."""

    program = "opencode"

    def __init__(self, *, serves: bool = False) -> None:
        self.serves = serves

    def set_up(self, home: Path, lab: UserLab, url: str) -> dict[str, str]:
        own = home / ".config" / "opencode"
        own.mkdir(parents=True, exist_ok=True)
        settings = {
            "$schema": "https://opencode.ai/config.json",
            "model": "scripted/scripted",
            "autoupdate": False,
            "share": "disabled",
            "provider": {
                "scripted": {
                    "npm": "@ai-sdk/openai-compatible",
                    "options": {"baseURL": f"{url}/v1", "apiKey": "none"},
                    "models": {"scripted": {}},
                }
            },
        }
        (own / "opencode.json").write_text(json.dumps(settings))
        switches = ("OPENCODE_DISABLE_AUTOUPDATE", "OPENCODE_DISABLE_LSP_DOWNLOAD", "OPENCODE_DISABLE_MODELS_FETCH")
        # It fetches types for plugins, which nobody needs here, and tries for a minute where there is no network.
        return {**dict.fromkeys(switches, "1"), "npm_config_offline": "true"}

    def command(self, program: Path, lab: UserLab, prompt: str) -> list[str]:
        if self.serves:
            return [sys.executable, "-P", opencode_session.__file__, str(program), prompt]
        return [str(program), "run", "--format", "json", prompt]


class Night:
    """`nightlab run`, with another agent to have the ideas."""

    def __init__(self, inner: Agent, *, ideas: int) -> None:
        self.inner, self.ideas = inner, ideas
        self.program = inner.program

    def set_up(self, home: Path, lab: UserLab, url: str) -> dict[str, str]:
        return self.inner.set_up(home, lab, url)

    def command(self, program: Path, lab: UserLab, prompt: str) -> list[str]:
        words = shlex.join(self.inner.command(program, lab, "{prompt}"))
        return ["nightlab", "run", "--runs", str(self.ideas), "--proposer", words]
