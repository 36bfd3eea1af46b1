"""The doctor finds what would make a night silently useless, and says what to do."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from nightlab.agent.policy import shfmt
from nightlab.agent.wiring import clients, talking
from nightlab.agent.wiring.doctor import Check, Status, examine
from nightlab.agent.wiring.placing import Wiring
from nightlab.errors import BackendError
from tests.agent.wiring.fakes import NIGHTLAB, Bench, script


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench.make(tmp_path, monkeypatch)


def of(bench: Bench, name: str, what: str) -> Check:
    """One check of a client that is asked for by name."""
    (found,) = (c for c in examine(bench.wiring, (name,)) if c.what == what)
    return found


def test_all_is_well(bench: Bench) -> None:
    """A wired, trusted client whose programs answer has no failure and no note."""
    bench.has_codex()
    bench.trusts_project()
    bench.wiring.install(["codex"])
    checks = examine(bench.wiring, ("codex",))
    assert {check.what: check.status for check in checks} == dict.fromkeys(
        ("policy", "server", "program", "wiring", "hooks", "project trust", "hook trust", "sandbox", "source"),
        Status.OK,
    )


def test_without_a_name_the_wired_clients_are_examined(bench: Bench) -> None:
    """Those of others who work on the repository may be missing here, which breaks nothing."""
    bench.wiring.install(["opencode", "cursor"])
    checks = examine(bench.wiring)
    assert list(dict.fromkeys(check.client for check in checks)) == ["lab", "opencode", "cursor"]
    assert {c.status for c in checks if c.what == "program"} == {Status.NOTE}
    assert Status.FAIL not in {check.status for check in checks}


def test_a_lab_without_any_client_is_told_how_to_get_one(bench: Bench) -> None:
    """That is a failure: no agent will know of the lab."""
    (check,) = examine(bench.wiring)
    assert check.status is Status.FAIL
    assert check.found == "no client is wired here"
    assert check.next_step == "nightlab agents install codex|claude|gemini|opencode|cursor"


def test_a_parser_that_is_missing_is_told(bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without it all but plain words is refused, which would look like a stubborn policy."""
    monkeypatch.setattr(shfmt, "program", lambda: str(tmp_path / "shfmt"))
    check = of(bench, "opencode", "policy")
    assert check.status is Status.FAIL
    assert "shfmt" in check.found
    assert "shfmt-py" in check.next_step


# --- program ----------------------------------------------------------------------------------------------------


def test_a_missing_program_fails_who_asked_for_it(bench: Bench) -> None:
    """And how to install it is said."""
    check = of(bench, "gemini", "program")
    assert (check.status, check.found) == (Status.FAIL, "`gemini` is not on PATH")
    assert "npm install -g @google/gemini-cli" in check.next_step


@pytest.mark.parametrize(
    ("version", "status", "words"),
    [
        ("0.171.0", Status.OK, "the version that our checks ran with"),
        ("0.999.1", Status.NOTE, "0.999.1 is newer than 0.171.0"),
        ("0.9.0", Status.NOTE, "0.9.0 is older than 0.171.0"),
        ("", Status.FAIL, "`codex --version` says no version"),
    ],
)
def test_a_version_is_held_against_the_tested_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, version: str, status: Status, words: str
) -> None:
    """Another one is worth a note: a client's dialect changes within weeks."""
    bench.has_codex()
    monkeypatch.setenv("FAKE_VERSION", version)
    check = of(bench, "codex", "program")
    assert check.status is status
    assert words in check.found


@pytest.mark.parametrize("name", ["claude", "cursor"])
def test_what_is_from_documentation_only_is_said(bench: Bench, name: str) -> None:
    """Nobody takes for measured what we have only read."""
    script(bench.bin / clients.client(name).program, "echo 2.1.0")
    assert of(bench, name, "program").found.endswith("2.1.0, which we have never run")
    source = of(bench, name, "source")
    assert source.status is Status.NOTE
    assert "from its documentation only" in source.found
    assert of(bench, name, "trust").status is Status.NOTE


# --- wiring and commands ----------------------------------------------------------------------------------------


def test_missing_and_changed_wiring_is_named(bench: Bench) -> None:
    """What is missing fails; what differs is a note, since it may be the user's wish."""
    assert ".codex/hooks.json" in of(bench, "codex", "wiring").found
    bench.wiring.install(["codex"])
    skill = bench.root / ".agents/skills/nightlab/SKILL.md"
    skill.write_text(skill.read_text() + "\nMore.\n")
    changed = of(bench, "codex", "wiring")
    assert (changed.status, changed.next_step) == (Status.NOTE, "nightlab agents install codex")
    assert changed.found == ".agents/skills/nightlab/SKILL.md: differs from what this version writes"
    skill.unlink()
    missing = of(bench, "codex", "wiring")
    assert (missing.status, missing.next_step) == (Status.FAIL, "nightlab agents install codex")
    assert missing.found == ".agents/skills/nightlab/SKILL.md: missing"


def test_a_setting_that_the_user_kept_is_a_note(bench: Bench) -> None:
    """Ours is not in force there."""
    (bench.root / ".gemini").mkdir()
    (bench.root / ".gemini/settings.json").write_text('{"context": {"fileName": "MINE.md"}}')
    bench.wiring.install(["gemini"])
    check = of(bench, "gemini", "wiring")
    assert check.status is Status.NOTE
    assert "`context.fileName` is yours and stays as it is" in check.found


def test_a_broken_file_is_a_failure_and_not_the_end(bench: Bench) -> None:
    """The other checks are still made."""
    bench.wiring.install(["gemini"])
    (bench.root / ".gemini/settings.json").write_text("{\n")
    checks = {check.what: check for check in examine(bench.wiring, ("gemini",))}
    assert checks["wiring"].status is Status.FAIL
    assert ".gemini/settings.json, line 2: no JSON" in checks["wiring"].found
    assert checks["hooks"].status is Status.OK


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("echo 'no such option' >&2; exit 2", "fails: no such option"),
        ("exit 3", "fails: exit code 1"),
        ("echo hello", "answers an empty event: hello"),
    ],
)
def test_hooks_that_do_not_work_fail(bench: Bench, body: str, words: str) -> None:
    """The very line is run through the very shell; it must succeed and say nothing to an empty event."""
    bench.wiring.install(["gemini"])
    script(bench.environment / "bin/nightlab", body)
    check = of(bench, "gemini", "hooks")
    assert check.status is Status.FAIL
    assert words in check.found
    assert check.next_step


def test_hooks_without_their_door_fail(bench: Bench) -> None:
    """As they do where somebody committed the settings without it."""
    bench.wiring.install(["gemini"])
    (bench.root / clients.DOOR).unlink()
    check = of(bench, "gemini", "hooks")
    assert (check.status, check.found) == (Status.FAIL, ".agents/nightlab.sh is missing, which they run")


def test_a_nightlab_that_is_nowhere_fails_both(bench: Bench) -> None:
    """With the places where it was looked for."""
    bench.wiring.install(["gemini"])
    (bench.environment / "bin/nightlab").unlink()
    for client, what in (("lab", "server"), ("gemini", "hooks")):
        (check,) = (c for c in examine(bench.wiring, ("gemini",)) if (c.client, c.what) == (client, what))
        assert check.status is Status.FAIL
        assert "from a clone of nightlab" in check.found
        assert clients.DOOR in check.next_step


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ("echo 'cannot import mcp' >&2; exit 1", Status.FAIL, "it ends without an answer: cannot import mcp"),
        ('read -r line; echo \'{"id":1,"result":3}\'', Status.FAIL, "the MCP server does not start: Expected `object`"),
        (NIGHTLAB.replace('"version":"', '"version":"9.'), Status.NOTE, "another nightlab answers clients (9."),
    ],
)
def test_a_server_that_does_not_answer_rightly_is_told(bench: Bench, body: str, status: Status, words: str) -> None:
    """It is greeted as clients greet it."""
    bench.wiring.install(["gemini"])
    script(bench.environment / "bin/nightlab", body)
    (check,) = (c for c in examine(bench.wiring, ("gemini",)) if c.what == "server")
    assert check.status is status
    assert words in check.found


# --- Codex ------------------------------------------------------------------------------------------------------


def test_an_untrusted_project_fails(bench: Bench) -> None:
    """And hook trust comes after it."""
    bench.has_codex()
    bench.wiring.install(["codex"])
    check = of(bench, "codex", "project trust")
    assert check.status is Status.FAIL
    assert "--trust" in check.next_step
    assert of(bench, "codex", "hook trust").found == "comes after that of the project"


@pytest.mark.parametrize(
    ("levels", "status"),
    [
        ({"lab": "untrusted"}, Status.FAIL),
        ({".": "trusted"}, Status.FAIL),
        ({"lab": "trusted"}, Status.OK),
        ({"lab": "trusted", "lab/below": "untrusted"}, Status.FAIL),
        ({"lab": "untrusted", "lab/below": "trusted"}, Status.OK),
    ],
)
def test_codex_trusts_a_project_by_lab_or_repository(bench: Bench, levels: dict[str, str], status: Status) -> None:
    """The nearest entry counts; one of a directory above the repository is none, as Codex itself has it."""
    below = bench.root / "below"
    below.mkdir()
    (below / "nightlab.toml").write_text("")
    (bench.home / ".codex").mkdir()
    lines = [f'[projects."{bench.root.parent / name}"]\ntrust_level = "{level}"' for name, level in levels.items()]
    (bench.home / ".codex/config.toml").write_text("\n".join(lines))
    (check,) = (c for c in examine(Wiring.of(below), ("codex",)) if c.what == "project trust")
    assert check.status is status


def test_codex_trusts_worktrees_of_a_trusted_repository(bench: Bench, tmp_path: Path) -> None:
    """An agent's worktree needs no trust of its own."""
    bench.trusts_project()
    tree = tmp_path / "tree"
    subprocess.run(["git", "worktree", "add", "-q", str(tree)], cwd=bench.root, check=True)
    (check,) = (c for c in examine(Wiring.of(tree), ("codex",)) if c.what == "project trust")
    assert check.status is Status.OK


def test_a_broken_configuration_of_codex_is_told(bench: Bench) -> None:
    """With its place."""
    (bench.home / ".codex").mkdir()
    (bench.home / ".codex/config.toml").write_text("[")
    check = of(bench, "codex", "project trust")
    assert check.status is Status.FAIL
    assert "config.toml cannot be read" in check.found


def test_codex_home_is_where_codex_looks(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not always ~/.codex."""
    bench.trusts_project()
    (bench.home / ".codex").rename(tmp_path / "elsewhere")
    monkeypatch.setenv("CODEX_HOME", str(tmp_path / "elsewhere"))
    assert of(bench, "codex", "project trust").status is Status.OK


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("FAKE_TRUST", "untrusted", "not trusted, so skipped without a word: PostToolUse, PreToolUse, SessionStart"),
        ("FAKE_TRUST", "modified", "not trusted, so skipped without a word"),
        ("FAKE_OFF", "1", "switched off: PostToolUse"),
        ("FAKE_NONE", "1", "Codex lists no hook of ours"),
        ("FAKE_ODD", "1", "answers hooks/list in other words than we know"),
    ],
)
def test_hooks_that_codex_would_skip_fail(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, words: str
) -> None:
    """Codex itself is asked, since `codex exec` says nothing of a hook that it skips."""
    bench.has_codex()
    bench.trusts_project()
    bench.wiring.install(["codex"])
    monkeypatch.setenv(variable, value)
    check = of(bench, "codex", "hook trust")
    assert check.status is Status.FAIL
    assert words in check.found


def test_a_codex_that_does_not_answer_is_told(bench: Bench) -> None:
    """An older one has no such method, or no such server."""
    bench.trusts_project()
    bench.wiring.install(["codex"])
    script(bench.bin / "codex", 'case $1 in app-server) echo "unknown command" >&2; exit 1 ;; *) echo 1.0 ;; esac')
    check = of(bench, "codex", "hook trust")
    assert check.status is Status.FAIL
    assert "`codex app-server` does not say" in check.found
    assert "unknown command" in check.found


def test_without_codex_what_it_alone_knows_is_left_open(bench: Bench) -> None:
    """A note, since its absence is a failure already."""
    bench.trusts_project()
    bench.wiring.install(["codex"])
    for what in ("hook trust", "sandbox"):
        assert of(bench, "codex", what).status is Status.NOTE


@pytest.mark.parametrize(
    ("said", "status", "words"),
    [
        ("read-only", Status.OK, "hooks and MCP server, which record and commit, run outside it"),
        ("writable", Status.NOTE, "leaves `.git` writable"),
        ("", Status.NOTE, "Codex's sandbox does not start on this machine"),
    ],
)
def test_the_sandbox_is_tried(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, said: str, status: Status, words: str
) -> None:
    """In it `.git` is read-only, and experiments are recorded all the same."""
    bench.has_codex()
    monkeypatch.setenv("FAKE_SANDBOX", said)
    check = of(bench, "codex", "sandbox")
    assert check.status is status
    assert words in check.found


def test_a_doctor_inside_a_sandbox_says_so(bench: Bench) -> None:
    """There nothing could be recorded, and what it finds is not what a night would find."""
    inside = Wiring(bench.root, "", bench.home / "no-such-git-directory")
    (check,) = (c for c in examine(inside, ("codex",)) if c.what == "sandbox")
    assert (check.status, check.next_step.partition(",")[0]) == (
        Status.FAIL,
        "ask the doctor outside of any sandbox",
    )


# --- Gemini -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "folders", "status"),
    [
        ('{"security": {"folderTrust": {"enabled": false}}}', None, Status.OK),
        (None, None, Status.FAIL),
        ("{}", None, Status.FAIL),
        ('{"security": {"folderTrust": {"enabled": true}}}', "DO_NOT_TRUST", Status.FAIL),
        ('// mine\n{"security": {"folderTrust": {"enabled": true}}}', "TRUST_FOLDER", Status.OK),
        ('{"security": {"folderTrust": {"enabled": true}}}', "TRUST_PARENT", Status.OK),
    ],
)
def test_gemini_reads_settings_of_trusted_folders(
    bench: Bench, settings: str | None, folders: str | None, status: Status
) -> None:
    """Unless folder trust is switched off."""
    (bench.home / ".gemini").mkdir()
    if settings is not None:
        (bench.home / ".gemini/settings.json").write_text(settings)
    if folders is not None:
        (bench.home / ".gemini/trustedFolders.json").write_text(json.dumps({str(bench.root): folders}))
    assert of(bench, "gemini", "folder trust").status is status


def test_geminis_environment_trusts_for_one_session(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is done where nobody can be asked."""
    assert of(bench, "gemini", "folder trust").status is Status.FAIL
    monkeypatch.setenv("GEMINI_CLI_TRUST_WORKSPACE", "true")
    assert of(bench, "gemini", "folder trust").status is Status.OK


def test_broken_settings_of_geminis_are_told(bench: Bench) -> None:
    """With their place."""
    (bench.home / ".gemini").mkdir()
    (bench.home / ".gemini/settings.json").write_text("{")
    check = of(bench, "gemini", "folder trust")
    assert check.status is Status.FAIL
    assert "settings.json cannot be read" in check.found


# --- patience ---------------------------------------------------------------------------------------------------


def test_a_program_that_does_not_end_is_ended(tmp_path: Path) -> None:
    """The doctor hangs on nobody."""
    with pytest.raises(BackendError, match="it does not end within 0 s"):
        talking.run(["sleep", "600"], tmp_path, patience=0.1)
    with pytest.raises(BackendError, match="it does not answer within 0 s"):
        talking.ask(["sleep", "600"], [], 1, tmp_path, patience=0.1)


def test_a_program_that_cannot_be_started_is_told(tmp_path: Path) -> None:
    """As one whose interpreter is gone."""
    broken = script(tmp_path / "broken", "")
    broken.write_text("#!/no/such/interpreter\n")
    with pytest.raises(BackendError, match="it cannot be started: No such file"):
        talking.run([str(broken)], tmp_path)
