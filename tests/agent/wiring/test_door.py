"""The door that clients call finds nightlab wherever it lives, and fails in ways that block nobody."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from nightlab.agent.wiring import clients
from tests.agent.wiring.fakes import Bench, script


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    bench = Bench.make(tmp_path, monkeypatch)
    (bench.environment / "bin/nightlab").unlink()
    bench.wiring.install(["codex"])
    return bench


def door(
    bench: Bench, *words: str, cwd: Path | None = None, variables: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(bench.root / clients.DOOR), *words]
    env = {"PATH": "/usr/bin:/bin", "HOME": str(bench.home), **(variables or {})}
    return subprocess.run(command, cwd=cwd or bench.root, env=env, capture_output=True, text=True, check=False)


def say(name: str) -> str:
    return f'echo "{name} $*"'


def test_the_places_are_asked_in_order(bench: Bench) -> None:
    """The active environment, PATH, the lab's own environment and those above it, then the user's programs."""
    upper = bench.root.parent / ".venv"
    places = {
        "user": bench.home / ".local",
        "above": upper,
        "own": bench.root / ".venv",
        "path": bench.bin.parent,
        "conda": bench.environment.parent / "conda",
        "active": bench.environment,
    }
    told = {"VIRTUAL_ENV": str(bench.environment), "CONDA_PREFIX": str(places["conda"])}
    told["PATH"] = f"{bench.bin.parent}/bin:/usr/bin:/bin"
    for name, place in places.items():
        script(place / "bin/nightlab", say(name))
        assert door(bench, "next", "--json", variables=told).stdout == f"{name} next --json\n"


def test_a_linked_worktree_uses_the_main_checkouts_environment(bench: Bench, tmp_path: Path) -> None:
    """Agents like worktrees, and nobody makes an environment for each."""
    script(bench.root / ".venv/bin/nightlab", say("main"))
    tree = tmp_path / "elsewhere" / "tree"
    subprocess.run(["git", "worktree", "add", "-q", str(tree)], cwd=bench.root, check=True)
    (tree / ".agents").mkdir()
    (tree / clients.DOOR).write_bytes((bench.root / clients.DOOR).read_bytes())
    env = {"PATH": "/usr/bin:/bin", "HOME": str(bench.home)}
    command = ["sh", str(tree / clients.DOOR), "x"]
    said = subprocess.run(command, cwd=tree, env=env, capture_output=True, text=True, check=True)
    assert said.stdout == "main x\n"


def test_a_directory_of_that_name_is_no_program(bench: Bench) -> None:
    """Nor is a file that cannot be run."""
    (bench.root / ".venv/bin/nightlab").mkdir(parents=True)
    script(bench.home / ".local/bin/nightlab", say("user"))
    assert door(bench, "x").stdout == "user x\n"


def test_a_nightlab_that_is_nowhere_is_told_and_blocks_nothing(bench: Bench) -> None:
    """Clients take exit code 2 for a veto; this is none."""
    said = door(bench, "hook", "codex")
    assert said.returncode == 1
    assert said.stdout == ""
    assert "nightlab is not installed where" in said.stderr
    assert "from a clone of nightlab run `uv tool install .`" in said.stderr  # no such package is published


@pytest.mark.parametrize(("words", "code"), [(("hook", "codex"), 1), (("check",), 2)])
def test_a_usage_error_of_an_older_nightlab_is_no_veto(bench: Bench, words: tuple[str, ...], code: int) -> None:
    """It would forbid the agent everything; other commands keep their exit codes."""
    script(bench.root / ".venv/bin/nightlab", "exit 2")
    assert door(bench, *words).returncode == code


def test_a_server_starts_in_the_lab_wherever_the_client_is(bench: Bench, tmp_path: Path) -> None:
    """Some clients start servers in the home directory; hooks and commands stay where they are called."""
    script(bench.root / ".venv/bin/nightlab", "pwd")
    assert door(bench, "mcp", cwd=tmp_path).stdout.strip() == os.path.realpath(bench.root)
    assert door(bench, "hook", "codex", cwd=tmp_path).stdout.strip() == os.path.realpath(tmp_path)


def test_what_is_said_to_a_hook_reaches_it(bench: Bench) -> None:
    """Standard input passes through."""
    script(bench.root / ".venv/bin/nightlab", "cat")
    command = ["sh", "-c", clients.hook_command("codex")]
    below = bench.root / "sub"
    below.mkdir()
    said = subprocess.run(command, cwd=below, input='{"a": 1}', capture_output=True, text=True, check=True)
    assert said.stdout == '{"a": 1}'


@pytest.mark.parametrize("shell", ["sh", "dash", "bash"])
@pytest.mark.parametrize("where", ["outside git", "in a repository within", "without its door", "as it should"])
def test_no_failure_of_the_line_is_a_veto(bench: Bench, tmp_path: Path, shell: str, where: str) -> None:
    """dash ends with 2 where it finds no script, and 2 forbids; the line ends with 1 then. An answer ends with 0."""
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    script(bench.root / ".venv/bin/nightlab", "cat")
    cwd = bench.root
    if where == "outside git":
        cwd = tmp_path / "out"
        cwd.mkdir()
    elif where == "in a repository within":
        cwd = bench.root / "within"
        subprocess.run(["git", "init", "-q", str(cwd)], check=True)
    elif where == "without its door":
        shutil.rmtree(bench.root / ".agents")
    env = {"PATH": os.environ["PATH"], "HOME": str(bench.home), "GIT_CEILING_DIRECTORIES": str(tmp_path)}
    line = clients.hook_command("codex")
    said = subprocess.run(
        [shell, "-c", line], cwd=cwd, env=env, input="{}", capture_output=True, text=True, check=False
    )
    assert (said.returncode, said.stdout) == ((0, "{}") if where == "as it should" else (1, ""))


def test_a_hook_is_told_which_lab_it_is(bench: Bench, tmp_path: Path) -> None:
    """Its agent may be in another directory by then; other commands go by where they are called, as ever."""
    script(bench.root / ".venv/bin/nightlab", 'echo "lab $NIGHTLAB_LAB"')
    assert door(bench, "hook", "codex", cwd=tmp_path).stdout == f"lab {os.path.realpath(bench.root)}\n"
    assert door(bench, "status", cwd=tmp_path).stdout == "lab \n"
