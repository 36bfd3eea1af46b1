"""`nightlab agents`: what it prints, and its exit codes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from nightlab.agent.names import NAMES
from nightlab.agent.wiring import clients
from tests.agent.wiring.fakes import Bench
from tests.cli.shell import Shell


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench.make(tmp_path, monkeypatch)


def agents(bench: Bench) -> Shell:
    return Shell(bench.root)


def test_install_and_uninstall_name_every_file(bench: Bench) -> None:
    """One line a file on stdout, what to do next on stderr; a second time there is nothing to do."""
    (bench.root / "AGENTS.md").write_text("# Mine\n")
    shell = agents(bench)
    said = shell("agents", "install", "codex", "--lab", str(bench.root))
    written = [f"wrote {bench.root / path}" for path in (".codex/hooks.json", ".codex/config.toml", clients.DOOR)]
    assert (said.code, said.lines[:3]) == (0, written)
    assert f"changed {bench.root / 'AGENTS.md'}" in said.lines
    assert said.err == "next: nightlab agents doctor codex\n"
    again = shell("agents", "install", "codex", "--lab", str(bench.root))
    assert (again.code, again.out) == (0, "")
    assert again.err.startswith("codex is wired already\n")
    gone = shell("agents", "uninstall", "codex", "--lab", str(bench.root))
    assert f"removed {bench.root / '.codex/hooks.json'}" in gone.lines
    assert f"changed {bench.root / 'AGENTS.md'}" in gone.lines
    nothing = shell("agents", "uninstall", "codex", "--lab", str(bench.root))
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "nothing of codex is in this lab\n")


@pytest.mark.parametrize("command", ["install", "uninstall"])
def test_print_writes_nothing(bench: Bench, command: str) -> None:
    """A patch on stdout, and the lab as it was."""
    if command == "uninstall":
        bench.wiring.install(["gemini"])
    before = sorted(bench.root.rglob("*"))
    said = agents(bench)("agents", command, "gemini", "--print", "--lab", str(bench.root))
    assert said.code == 0
    assert ("+++ b/" if command == "install" else "--- a/") + ".gemini/settings.json" in said.lines
    assert sorted(bench.root.rglob("*")) == before


def test_a_setting_that_stays_the_users_is_told(bench: Bench) -> None:
    """On stderr, with its file."""
    (bench.root / ".gemini").mkdir()
    (bench.root / ".gemini/settings.json").write_text('{"mcpServers": {"nightlab": {"url": "mine"}}}')
    said = agents(bench)("agents", "install", "gemini", "--lab", str(bench.root))
    assert "note: .gemini/settings.json: `mcpServers.nightlab` is yours and stays as it is\n" in said.err


def test_a_refusal_is_an_error_with_a_hint(bench: Bench) -> None:
    """Exit code 1; the file and the line are named."""
    (bench.root / ".mcp.json").write_text("{\n  oops\n}")
    said = agents(bench)("agents", "install", "all", "--lab", str(bench.root))
    assert said.code == 1
    assert f"error: {bench.root / '.mcp.json'}, line 2: no JSON" in said.err
    assert "hint: mend that, then the same again" in said.err


def test_the_doctors_lines_and_exit_code(bench: Bench) -> None:
    """One line a check with what to do next; exit 1 if one failed, 0 if all is well."""
    shell = agents(bench)
    said = shell("agents", "doctor", "codex", "--lab", str(bench.root))
    assert said.code == 1
    line = "FAIL  codex program: `codex` is not on PATH; next: install it: npm install -g @openai/codex"
    assert line in said.lines
    bench.has_codex()
    bench.trusts_project()
    shell("agents", "install", "codex", "--lab", str(bench.root))
    said = shell("agents", "doctor", "--lab", str(bench.root))
    assert said.code == 0
    assert said.lines[:2] == [
        "ok    lab policy: shell commands of agents can be read",
        "ok    lab server: the MCP server answers",
    ]


def test_the_doctor_for_programs(bench: Bench) -> None:
    """--json: one object with every check."""
    said = agents(bench)("agents", "doctor", "--json", "--lab", str(bench.root))
    assert said.code == 1
    check = {
        "client": "lab",
        "what": "wiring",
        "status": "FAIL",
        "found": "no client is wired here",
        "next_step": "nightlab agents install codex|claude|gemini|opencode|cursor",
    }
    assert said.json == {"lab": str(bench.root), "ok": False, "checks": [check]}


def test_an_unknown_client_is_a_usage_error(bench: Bench) -> None:
    """Exit code 2, with those that are known."""
    said = agents(bench)("agents", "install", "emacs", "--lab", str(bench.root))
    assert said.code == 2
    assert all(name in said.err for name in NAMES)


def test_outside_a_repository_there_is_nothing_to_wire(tmp_path: Path) -> None:
    """The error that every command has."""
    said = Shell(tmp_path)("agents", "install", "codex", "--lab", str(tmp_path))
    assert said.code == 1
    assert "no git repository" in said.err


def test_nothing_is_written_that_could_not_be_remembered(bench: Bench) -> None:
    """Where the git directory cannot take the memory, the lab's files stay as they are."""
    (bench.root / ".git/nightlab-wiring.json").mkdir()
    said = agents(bench)("agents", "install", "codex", "--lab", str(bench.root))
    assert said.code == 1
    assert "nightlab-wiring.json" in said.err
    assert not (bench.root / ".codex").exists()


def test_the_repository_ships_what_install_writes(tmp_path: Path) -> None:
    """Its own wiring for Codex, Claude Code and Gemini is what this version would write, file by file."""
    from nightlab.agent.wiring.placing import State, Wiring

    root = Path(__file__).parents[2]
    files = {path for name in ("codex", "claude", "gemini") for path in clients.client(name).files}
    lab = tmp_path / "lab"
    for path in files:
        (lab / path).parent.mkdir(parents=True, exist_ok=True)
        (lab / path).write_bytes((root / path).read_bytes())
    subprocess.run(["git", "init", "-q", str(lab)], check=True)
    wiring = Wiring.of(lab)
    assert {state for name in wiring.wired() for state in wiring.states(name).values()} == {State.HERE}
    assert wiring.wired() == ("codex", "claude", "gemini")


@pytest.mark.parametrize("name", NAMES)
def test_the_page_tells_what_is_true_of_each_client(name: str) -> None:
    """docs/agents.md names every file, the version that was run or that none was, and how to install it."""
    page = (Path(__file__).parents[2] / "docs" / "agents.md").read_text(encoding="utf-8")
    one = clients.client(name)
    (row,) = (line for line in page.splitlines() if line.startswith(f"| [{one.title}]"))
    assert (one.tested if one.tested else "**never**") in row
    table = page.partition("## What is written")[2].partition("##")[0]
    assert all(f"`{path}`" in table for path in one.files)
    section = page.partition(f"\n## {one.title}\n")[2].partition("\n## ")[0]
    assert f"nightlab agents install {name}\n" in section
    assert f"nightlab agents doctor {name}" in section
    assert ("Measured with" in section) == bool(one.tested)
    assert section.partition("```\n")[2].partition("```")[0].count("\n") <= 5


def test_new_labs_are_told_of_agents(tmp_path: Path) -> None:
    """Whoever makes a lab learns how to let an agent work in it."""
    said = Shell(tmp_path)("new", str(tmp_path / "lab"))
    assert "nightlab agents install codex|claude|gemini|opencode|cursor" in said.err
