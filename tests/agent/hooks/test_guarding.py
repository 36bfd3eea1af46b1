"""The real policy at the real door: what is refused, what counts as a run in the open, and what a hook loads."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nightlab.agent.hooks.guarding import ParsedPolicy, writes_log
from nightlab.agent.hooks.place import Checkout, Place, checkout, place_at
from tests.agent.hooks.agents import COMMAND, Agent, make
from tests.builders import Repo
from tests.e2e.labs import environment

HERE = Checkout("autoresearch/x", "0" * 40)
RUN = "uv run train.py > run.log 2>&1"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    root = Repo.make(tmp_path_factory.mktemp("guarding") / "lab").root
    found = place_at(root)
    assert found is not None
    return found


def training(place: Place, command: str, cwd: Path | None = None) -> str | None:
    return ParsedPolicy().training(command, place, cwd or place.root, HERE)


@pytest.mark.parametrize(
    "command",
    [
        RUN,
        f"git commit -qam 'exp: x' && {RUN}; grep '^val_bpb:' run.log",
        f"AUTORESEARCH_SUMMARY_PATH=results/s.json {RUN}",
        f"time {RUN}",
        f"bash -c '{RUN}'",
        f"nohup {RUN} &",
        "uv run train.py &> run.log",
        f"timeout 600 {RUN} || true",
        f"nohup {RUN} & PID=$!; echo $PID; wait $PID; tail -n 3 run.log | grep val_bpb >&2",
        f"export CUDA_VISIBLE_DEVICES=1; env PYTHONUNBUFFERED=1 nice -n 5 {RUN}",
        f"git add -A; git commit -qm \"$(cat <<'EOF'\nexp: x\nEOF\n)\" && {RUN}; git log -1",
    ],
)
def test_the_labs_own_command_in_the_open(command: str, place: Place) -> None:
    """The command word for word, in the root, into run.log: however it is wrapped, the shell runs just that."""
    assert training(place, command) == ""


@pytest.mark.parametrize(
    "command",
    [
        f"grep '{RUN}' program.md",
        f"echo {RUN.replace('>', '')}",
        f"cat <<'EOF' > notes.md\n{RUN}\nEOF",
        "nightlab exec -- uv run train.py > run.log 2>&1",
        "uv run nightlab exec -- uv run train.py > run.log 2>&1",
        "python scripts/run_experiment.py --backend local -- uv run train.py > run.log 2>&1",
        "python -m nightlab exec --timeout 3 -- uv run train.py > run.log 2>&1",
        "nightlab try --description 'uv run train.py'",
        "ls",
        "sed -n 1,20p train.py",
    ],
)
def test_words_and_doors_are_no_run_in_the_open(command: str, place: Place) -> None:
    """What mentions the command runs nothing, and what our own doors run they record themselves."""
    assert training(place, command) is None


@pytest.mark.parametrize(
    "command",
    [
        "uv run train.py --lr 3 > run.log 2>&1",
        "python train.py > run.log 2>&1",
        "uv run train.py > other.log 2>&1",
        "cd sub && uv run train.py > run.log 2>&1",
        "uv run train.py > run.log",
    ],
)
def test_another_wording_is_told_how_to_be_recorded(command: str, place: Place) -> None:
    """Other arguments, another interpreter, place or log make another experiment, which nobody vouches for."""
    (place.root / "sub").mkdir(exist_ok=True)
    assert "word for word" in (training(place, command) or "")


@pytest.mark.parametrize(
    ("command", "named"),
    [
        (f"if false; then {RUN}; fi; echo 'val_bpb: 0.5' > run.log", "a branch"),
        (f"for i in 1 2; do {RUN}; done", "a loop"),
        (f"({RUN})", "a group"),
        (f"false && {RUN}; echo 'val_bpb: 0.5' > run.log", "`false`"),
        (f"{RUN}; echo x > run.log", "`echo`"),
        (f"{RUN}; sed -i s/1/0/ run.log", "`sed`"),
        (f"{RUN}; echo $(sed -i s/1/0/ run.log)", "`echo`"),
        (f"{RUN}; cat prepare.py | tee run.log", "a pipeline"),
        (f"{RUN}; git log --output=run.log", "`git`"),
        (f"{RUN} && {RUN}", "`uv`"),
        (f"alias uv=echo; {RUN}", "`alias`"),
        (f"f() {{ true; }}; {RUN}", "a function"),
        (f"PATH=/evil:$PATH {RUN}", "PATH=..."),
        (f"PATH=/evil:$PATH; {RUN}", "PATH=..."),
        (f"FAST=0.1 {RUN}", "FAST=..."),
        (f"export FAST=0.1; {RUN}", "`export`"),
        (f"env FAST=0.1 {RUN}", "`env`"),
        (f"AUTORESEARCH_SEED=7 {RUN}", "AUTORESEARCH_SEED=..."),
        (f"read AUTORESEARCH_SEED <<< 7; export AUTORESEARCH_SEED; {RUN}", "`read`"),
        (f"bash -c 'FAST=1 {RUN}'", "FAST=..."),
    ],
)
def test_a_command_that_could_fake_its_run_is_not_vouched_for(command: str, named: str, place: Place) -> None:
    """What may skip the training, run another program, change its environment or write its log is named."""
    assert f"it holds {named}" in (training(place, command) or "")


def test_a_function_named_like_the_program_is_no_run(place: Place) -> None:
    """The shell would run the function, so nothing is vouched for."""
    assert training(place, f"uv() {{ echo 'val_bpb: 0.5'; }}; {RUN}") != ""


@pytest.mark.parametrize(
    ("command", "is_written"),
    [
        ("echo 'val_bpb: 0.5' > run.log", True),
        ("sed -i s/1/0/ run.log", True),
        ("cp old.log ./sub/../run.log", True),
        ("echo x > $SOMEWHERE", True),
        ("tail -n 3 run.log > last.txt", False),
        ("ls", False),
        ("echo 'x > run.log", False),
    ],
)
def test_who_writes_the_log_is_seen(command: str, is_written: bool, place: Place) -> None:
    """A command that may write the lab's run.log, by any name that it has there; reading it is no writing."""
    assert writes_log(command, place, place.root) is is_written


@pytest.mark.parametrize(
    ("path", "is_refused"),
    [
        ("prepare.py", True),
        ("./sub/../prepare.py", True),
        ("nightlab.toml", True),
        ("results/nightlab/lab.db", True),
        (".codex/hooks.json", True),
        ("train.py", False),
        ("notes.md", False),
        ("../elsewhere/prepare.py", False),
    ],
)
def test_tools_that_edit_are_held_to_the_same_rules(path: str, is_refused: bool, place: Place) -> None:
    """Protected files and the control plane are refused to every tool, named relatively or absolutely."""
    for name in (path, str(place.root / path)):
        assert bool(ParsedPolicy().edit([name], place, place.root, HERE)) is is_refused


def test_what_the_settings_say_of_the_policy_reaches_it(tmp_path: Path) -> None:
    """[policy] is kept with the rest of the lab, and a changed nightlab.toml counts at once."""
    root = Repo.make(tmp_path / "lab").root
    for text, is_refused in (
        ("", False),
        ('[policy]\nprotect = ["notes.md"]\n[[policy.deny]]\ncommand = "make all"\nreason = "Too slow."\n', True),
        ("[policy]\nenabled = false\n", False),
    ):
        (root / "nightlab.toml").write_text(text)
        for _ in range(2):  # read, then as it was kept
            found = place_at(root)
            assert found is not None
            assert bool(ParsedPolicy().refusal("make all -j", found, root, HERE)) is is_refused
            assert bool(ParsedPolicy().edit(["notes.md"], found, root, HERE)) is is_refused


def test_a_branch_and_commit_are_read_from_gits_own_files(tmp_path: Path) -> None:
    """Loose, packed, detached, in a worktree and without a commit: as git says it, without asking git."""
    repo = Repo.make(tmp_path / "lab")
    head = repo.git("rev-parse", "HEAD")
    assert checkout(repo.root) == Checkout("main", head)
    repo.git("pack-refs", "--all")
    assert checkout(repo.root) == Checkout("main", head)
    repo.git("worktree", "add", "-q", "-b", "autoresearch/w", str(tmp_path / "w"))
    assert checkout(tmp_path / "w") == Checkout("autoresearch/w", head)
    repo.git("switch", "-q", "--detach")
    assert checkout(repo.root) == Checkout("HEAD", head)
    (tmp_path / "new").mkdir()
    Repo(tmp_path / "new").git("init", "-q", "-b", "first")
    assert checkout(tmp_path / "new") == Checkout("first", "")
    assert checkout(tmp_path) == Checkout()


# --- processes --------------------------------------------------------------------------------------------------


def hook(
    agent: Agent, client: str, told: dict[str, object], *python: str, **variables: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-P", *(python or ("-m", "nightlab")), "hook", client],
        input=json.dumps({"session_id": "s", "cwd": str(agent.root), **told}).encode(),
        cwd=agent.root,
        env=environment() | variables,
        capture_output=True,
        check=False,
    )


def test_the_command_answers_in_the_clients_dialect(tmp_path: Path) -> None:
    """`nightlab hook codex` as a process: one object for what is refused, nothing otherwise, and always exit 0."""
    agent = make(tmp_path / "lab")
    tool = {"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_use_id": "c"}
    refused = hook(agent, "codex", {**tool, "tool_input": {"command": "git push origin main"}})
    assert (refused.returncode, refused.stderr) == (0, b"")
    said = json.loads(refused.stdout)["hookSpecificOutput"]
    assert said["permissionDecision"] == "deny"
    assert "local" in said["permissionDecisionReason"]
    allowed = hook(agent, "codex", {**tool, "tool_input": {"command": "ls"}})
    assert (allowed.returncode, allowed.stdout, allowed.stderr) == (0, b"", b"")


@pytest.mark.parametrize("words", [(), ("emacs",), ("codex", "more"), ("codex", "--verbose"), ("--lab", "."), ("-x",)])
def test_no_wrong_word_after_hook_is_a_veto(words: tuple[str, ...], tmp_path: Path) -> None:
    """Clients take exit code 2 for a veto: an unknown or extra word is told on stderr, and the agent goes on."""
    said = subprocess.run(
        [sys.executable, "-P", "-m", "nightlab", "hook", *words],
        input=b"{}",
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        check=False,
    )
    assert (said.returncode, said.stdout) == (0, b"")
    assert b"codex" in said.stderr


def test_a_hook_without_streams_goes_on(tmp_path: Path) -> None:
    """A client that closes stdin and stdout gets exit code 0."""
    words = f"'{sys.executable}' -P -m nightlab hook codex <&- >&-"
    assert subprocess.run(["sh", "-c", words], cwd=tmp_path, env=environment(), check=False).returncode == 0


def test_a_session_from_start_to_stop(tmp_path: Path) -> None:
    """The whole way by processes: a start, a wish, a run in the open, its review, and the ask to go on."""
    agent = make(tmp_path / "lab")
    tool = {"tool_name": "Bash", "tool_input": {"command": COMMAND}, "tool_use_id": "c"}
    (tmp_path / ".cache" / "autoresearch").mkdir(parents=True)
    context = {}
    for name, more in (
        ("SessionStart", {"source": "startup"}),
        ("UserPromptSubmit", {"prompt": "never stop"}),
        ("PreToolUse", tool),
        ("PostToolUse", tool),
        ("Stop", {"stop_hook_active": False}),
    ):
        said = hook(agent, "codex", {"hook_event_name": name, **more}, HOME=str(tmp_path)).stdout
        context[name] = said.decode()
        if name == "PreToolUse":
            agent.shell(COMMAND)
    assert "Autoresearch discovery state:" in context["SessionStart"]
    assert "Autonomy was just enabled" in context["UserPromptSubmit"]
    assert context["PreToolUse"] == ""
    assert "Discovery review:" in context["PostToolUse"]
    assert "Phase: baseline" in json.loads(context["Stop"])["reason"]
    assert agent.values() == [1.1]


def test_hooks_at_the_same_time_count_a_run_once(tmp_path: Path) -> None:
    """Four processes that settle one command at once: one run is on record, and one of them tells of it."""
    agent = make(tmp_path / "lab")
    agent.starts()
    agent.before(COMMAND)
    agent.shell(COMMAND)
    tool = {"tool_name": "Bash", "tool_input": {"command": COMMAND}, "tool_use_id": "call_1"}
    told = {"session_id": "s1", "cwd": str(agent.root), "hook_event_name": "PostToolUse", **tool}
    words = [sys.executable, "-P", "-m", "nightlab", "hook", "codex"]
    running = [
        subprocess.Popen(words, cwd=agent.root, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    for process in running:
        assert process.stdin is not None
        process.stdin.write(json.dumps(told).encode())
        process.stdin.close()
    said = [process.stdout.read() for process in running if process.stdout is not None]
    for process in running:
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
    assert agent.values() == [1.1]
    assert sum(b"Discovery review:" in text for text in said) == 1


_LOADED = """
import runpy, sys
try:
    runpy.run_module("nightlab", run_name="__main__")
except SystemExit:
    pass
print(sorted({name.partition(".")[0] for name in sys.modules} | {n for n in sys.modules if n.startswith("nightlab.")}))
"""
HEAVY = ("numpy", "msgspec", "libcst", "mcp", "openai", "rich", "sqlite3", "nightlab.config", "nightlab.ledger.store")


@pytest.mark.parametrize(
    "told",
    [
        {"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "c"},
        {"hook_event_name": "PostToolUse", "tool_name": "Bash", "tool_input": {"command": "ls"}, "tool_use_id": "c"},
        {"hook_event_name": "UserPromptSubmit", "prompt": "hello"},
        {"hook_event_name": "SessionStart", "source": "resume"},
        {"hook_event_name": "Stop", "last_assistant_message": ""},
    ],
)
def test_a_hook_loads_next_to_nothing(told: dict[str, object], tmp_path: Path) -> None:
    """Once a session goes, no event loads what takes longer than the hook may: a process start is all it is."""
    agent = make(tmp_path / "lab")
    agent.starts()
    agent.before("ls")
    done = hook(agent, "codex", told, "-c", _LOADED)
    loaded = done.stdout.decode().splitlines()[-1]
    allowed = ("sqlite3",) if told["hook_event_name"] != "PreToolUse" else ()
    assert [name for name in HEAVY if f"'{name}'" in loaded and name not in allowed] == []
