"""A lab is wired and unwired: nothing of the user's is lost, and nothing of ours is left behind."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nightlab.agent.hooks.clients import CLIENTS
from nightlab.agent.names import NAMES
from nightlab.agent.wiring import clients, jsontext
from nightlab.agent.wiring.placing import State, Wiring
from nightlab.errors import ConfigError, UsageError
from nightlab.git import Git
from nightlab.runner.workspace import pinned
from tests.agent.wiring.test_jsontext import laid_out, objects, values
from tests.builders import Repo

names = st.lists(st.sampled_from(NAMES), min_size=1, unique=True).map(tuple)


@st.composite
def settings_files(draw: st.DrawFn) -> bytes:
    """JSON as people and programs leave it, with what our own parts meet in it."""
    found: dict[str, object] = dict(draw(objects))
    events = st.sampled_from(["Stop", "SessionStart", "AfterAgent", "stop", "Other"])
    if draw(st.booleans()):
        found["hooks"] = draw(st.dictionaries(events, st.lists(values, min_size=1, max_size=2), min_size=1))
    if draw(st.booleans()):
        found[draw(st.sampled_from(["mcpServers", "mcp"]))] = draw(st.fixed_dictionaries({"other": values}))
    if draw(st.booleans()):
        found |= {"version": draw(st.sampled_from([1, 2])), "context": {"fileName": "MINE.md"}}
    text = laid_out(found, draw(st.sampled_from([None, 2, 4, "\t"])), crlf=draw(st.booleans()))
    return (draw(st.sampled_from(["", "\ufeff", "// mine\n"])) + text + draw(st.sampled_from(["", "\n"]))).encode()


toml_files = (
    st.lists(
        st.sampled_from(['model = "x"', "# mine", "", "[mcp_servers.other]\ncommand = 'x' # keep", "[[list]]\na = 1"]),
        unique=True,
    )
    .map(lambda lines: "\n".join(sorted(lines, key=lambda line: line.startswith("["))))
    .map(str.encode)
)
prose = st.lists(st.text("ab #@-\r", max_size=5)).map("\n".join).map(str.encode)


@st.composite
def labs(draw: st.DrawFn) -> Mapping[str, bytes]:
    """Files that a lab may have where ours go."""
    every = {path for name in NAMES for path in clients.client(name).files}
    chosen = draw(st.sets(st.sampled_from(sorted(every))))
    kinds = {".json": settings_files(), ".toml": toml_files, ".md": prose}
    return {
        path: draw(kinds[Path(path).suffix])
        for path in sorted(chosen)
        if Path(path).suffix in kinds and not path.endswith("SKILL.md")
    }


@contextmanager
def lab(files: Mapping[str, bytes], prefix: str = "") -> Iterator[Wiring]:
    """A lab with these files; its git directory is one in name only, which is all that wiring needs."""
    with tempfile.TemporaryDirectory() as place:
        root, git_dir = Path(place, "lab"), Path(place, "git")
        git_dir.mkdir()
        root.mkdir()
        for name, data in files.items():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(data)
        yield Wiring(root.resolve(), prefix, git_dir)


def tree(wiring: Wiring) -> dict[str, bytes | None]:
    """Everything in the lab: directories (None), and files with their bytes."""
    found = sorted(wiring.root.rglob("*"))
    return {str(p.relative_to(wiring.root)): p.read_bytes() if p.is_file() else None for p in found}


# --- there and back ---------------------------------------------------------------------------------------------


@given(labs(), names)
def test_uninstall_gives_every_byte_back(files: Mapping[str, bytes], chosen: tuple[str, ...]) -> None:
    """Whatever was there: after install and uninstall the lab is the same, and so is the git directory."""
    with lab(files) as wiring:
        before = tree(wiring)
        wiring.install(chosen)
        wiring.uninstall(chosen)
        assert tree(wiring) == before
        assert not list(wiring.git_dir.iterdir())


@given(labs(), names)
def test_installing_twice_is_installing_once(files: Mapping[str, bytes], chosen: tuple[str, ...]) -> None:
    """The second time changes nothing, and uninstall still gives every byte back."""
    with lab(files) as wiring:
        before = tree(wiring)
        wiring.install(chosen)
        once = tree(wiring)
        assert not any(change.is_one for change in wiring.install(chosen))
        assert tree(wiring) == once
        wiring.uninstall(chosen)
        assert tree(wiring) == before


@given(labs(), names, names)
def test_clients_come_and_go_one_by_one(
    files: Mapping[str, bytes], first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    """What clients share is there as long as one of them is, whatever the order; at the end nothing is left."""
    with lab(files) as wiring:
        before = tree(wiring)
        wiring.install(first)
        wiring.install(second)
        for index, name in enumerate(first):
            wiring.uninstall([name])
            left = set(second) | set(first[index + 1 :])
            left -= set(first[: index + 1])
            assert all(State.MISSING not in wiring.states(other).values() for other in left)
        wiring.uninstall(second)
        assert tree(wiring) == before


@given(labs(), names)
def test_a_clone_is_unwired_by_what_is_in_its_files(files: Mapping[str, bytes], chosen: tuple[str, ...]) -> None:
    """Without the memory of what was there, our part goes and everything else keeps its meaning.

    What a format asks of everybody who writes such a file (Cursor's version) stays with what is left in it.
    """
    with lab(files) as wiring:
        wiring.install(chosen)
        (wiring.git_dir / "nightlab-wiring.json").unlink(missing_ok=True)
        wiring.uninstall(chosen)
        assert wiring.wired() == ()
        after = {path: data for path, data in tree(wiring).items() if data is not None}
        for path, data in files.items():
            if path.endswith(".json"):
                then, now = (_told(each) for each in (data, after.get(path) or b"{}"))
                assert now == then
            elif not path.endswith(".json") and data.strip():
                assert (after[path] or b"").split() == data.split()
        assert set(after) <= set(files)


def _told(data: bytes) -> dict[str, object]:
    found = jsontext.load(data.decode())
    assert isinstance(found, dict)
    return {key: value for key, value in found.items() if (key, value) != ("version", 1) and key != "$schema"}


def test_an_empty_lab_is_empty_again(tmp_path: Path) -> None:
    """No file, no directory, nothing in git."""
    repo = Repo.make(tmp_path / "lab", {"train.py": "LR = 0.1\n"})
    wiring = Wiring.of(repo.root)
    wiring.install(NAMES)
    assert wiring.wired() == NAMES
    assert len(tree(wiring)) > len(NAMES)
    wiring.uninstall(NAMES)
    assert subprocess.run(["git", "status", "--short"], cwd=repo.root, capture_output=True, check=True).stdout == b""
    assert sorted(p.name for p in repo.root.iterdir()) == [".git", "train.py"]
    assert not (repo.root / ".git" / "nightlab-wiring.json").exists()


def test_what_was_edited_since_keeps_its_edits() -> None:
    """A file that is no longer what we wrote loses our part only."""
    with lab({".claude/settings.json": b'{"model": "a"}\n', "AGENTS.md": b"# Mine\n"}) as wiring:
        wiring.install(["claude"])
        settings, agents = wiring.root / ".claude/settings.json", wiring.root / "AGENTS.md"
        settings.write_text(jsontext.set_member(settings.read_text(), ("model",), "b"))
        agents.write_text(agents.read_text() + "\n# Later\n")
        wiring.uninstall(["claude"])
        assert settings.read_text() == '{"model": "b"}\n'
        assert agents.read_text() == "# Mine\n\n# Later\n"


def test_what_was_edited_before_a_second_install_is_what_comes_back() -> None:
    """The memory is of the last state without us, not of the first."""
    with lab({"AGENTS.md": b"# Mine\n"}) as wiring:
        wiring.install(["codex"])
        agents = wiring.root / "AGENTS.md"
        agents.write_text(agents.read_text().replace("# Mine", "# Ours").replace("lab of nightlab", "lab"))
        wiring.install(["codex"])
        assert "lab of nightlab" in agents.read_text()
        wiring.uninstall(["codex"])
        assert agents.read_text() == "# Ours\n"


def test_a_directory_that_others_use_stays() -> None:
    """Directories that we made go only when they are empty."""
    with lab({}) as wiring:
        wiring.install(["gemini"])
        (wiring.root / ".agents/skills/other").mkdir()
        wiring.uninstall(["gemini"])
        assert set(tree(wiring)) == {".agents", ".agents/skills", ".agents/skills/other"}
        assert not list(wiring.git_dir.iterdir())


def test_an_empty_directory_of_the_users_stays() -> None:
    """What was there before us is there after us."""
    with lab({}) as wiring:
        (wiring.root / ".codex").mkdir()
        wiring.install(["codex"])
        wiring.uninstall(["codex"])
        assert tree(wiring) == {".codex": None}


def test_a_file_keeps_its_permissions() -> None:
    """Private settings stay private, there and back."""
    with lab({".gemini/settings.json": b"{}"}) as wiring:
        path = wiring.root / ".gemini/settings.json"
        path.chmod(0o600)
        for change in (wiring.install, wiring.uninstall):
            change(["gemini"])
            assert path.stat().st_mode & 0o777 == 0o600


def test_what_the_user_deleted_stays_deleted() -> None:
    """Uninstall brings back no file that somebody has taken away meanwhile."""
    with lab({"AGENTS.md": b"# Mine\n"}) as wiring:
        wiring.install(["codex"])
        (wiring.root / "AGENTS.md").unlink()
        wiring.uninstall(["codex"])
        assert tree(wiring) == {}


def test_a_broken_memory_is_no_memory() -> None:
    """Our part is told by itself."""
    with lab({"AGENTS.md": b"# Mine\n"}) as wiring:
        wiring.install(["codex"])
        (wiring.git_dir / "nightlab-wiring.json").write_text("{")
        wiring.uninstall(["codex"])
        assert tree(wiring) == {"AGENTS.md": b"# Mine\n"}


# --- refusals ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "data", "message"),
    [
        (".codex/hooks.json", b'{\n"hooks": 1}', ".codex/hooks.json, line 2: `hooks` is no object"),
        (".codex/hooks.json", b"{\n", ".codex/hooks.json, line 2: no JSON"),
        (".codex/config.toml", b"a = 1\na = 2\n", ".codex/config.toml, line 2: no TOML: Cannot overwrite a value"),
        (".codex/config.toml", b"mcp_servers = {}\n", "no table can be added to `mcp_servers` as it is written"),
        ("AGENTS.md", b"\n\xff", "AGENTS.md, line 2: not UTF-8"),
        ("AGENTS.md", b"a" * 2**21, "AGENTS.md: AGENTS.md is larger than 1048576 bytes"),
        ("AGENTS.md/x", b"", "AGENTS.md: Is a directory"),
        (".agents", b"", ".agents/nightlab.sh: nightlab.sh cannot be read: Not a directory"),
        (".agents/nightlab.sh", b"echo", ".agents/nightlab.sh: another file of that name is there"),
    ],
)
def test_a_file_that_cannot_take_our_part_stops_the_whole(path: str, data: bytes, message: str) -> None:
    """It is named, with its line where there is one, and nothing is written anywhere."""
    with lab({path: data, ".gemini/settings.json": b"{}"}) as wiring:
        before = tree(wiring)
        with pytest.raises(ConfigError) as told:
            wiring.install(NAMES)
        assert message in str(told.value.args[0])
        assert told.value.hint
        assert tree(wiring) == before
        assert not list(wiring.git_dir.iterdir())


@given(labs(), names, st.sampled_from([b"{", b'{"hooks": "x"}', b"\xff"]))
def test_a_refusal_changes_nothing(files: Mapping[str, bytes], chosen: tuple[str, ...], broken: bytes) -> None:
    """Whatever else could have been written."""
    assume("gemini" in chosen)
    with lab({**files, ".gemini/settings.json": broken}) as wiring:
        before = tree(wiring)
        with pytest.raises(ConfigError):
            wiring.install(chosen)
        assert tree(wiring) == before


def test_a_broken_file_of_one_client_does_not_hold_up_another() -> None:
    """Codex is unwired beside broken settings of Gemini, and what they may share stays."""
    with lab({}) as wiring:
        wiring.install(["codex", "gemini"])
        (wiring.root / ".gemini/settings.json").write_text("{")
        wiring.uninstall(["codex"])
        assert ".codex" not in tree(wiring)
        assert clients.DOOR in tree(wiring)
        with pytest.raises(ConfigError, match="no JSON"):
            wiring.uninstall(["gemini"])


def test_a_link_out_of_the_lab_is_refused(tmp_path: Path) -> None:
    """Settings that several projects share are not ours to change for one of them."""
    outside = tmp_path / "shared.md"
    outside.write_text("# Shared\n")
    with lab({}) as wiring:
        (wiring.root / "AGENTS.md").symlink_to(outside)
        with pytest.raises(ConfigError, match=r"is a link to .*shared\.md, outside the lab"):
            wiring.install(["codex"])
    assert outside.read_text() == "# Shared\n"


@pytest.mark.parametrize(("link", "target"), [("CLAUDE.md", "AGENTS.md"), ("AGENTS.md", "CLAUDE.md")])
def test_two_names_of_one_file_get_one_section(link: str, target: str) -> None:
    """CLAUDE.md is often a link to AGENTS.md, or the other way round; it stays one, and imports no file into itself."""
    with lab({target: b"# Mine\n"}) as wiring:
        (wiring.root / link).symlink_to(target)
        wiring.install(["claude", "codex"])
        text = (wiring.root / target).read_text()
        assert text.count("nightlab:begin") == 1
        assert "@AGENTS.md" not in text
        assert os.readlink(wiring.root / link) == target
        wiring.uninstall(["claude"])
        assert (wiring.root / target).read_text() == text
        wiring.uninstall(["codex"])
        assert (wiring.root / target).read_text() == "# Mine\n"


def test_an_unknown_client_is_named() -> None:
    """With those that are known."""
    with pytest.raises(UsageError, match="no client is called 'emacs'") as told:
        clients.client("emacs")
    assert all(name in told.value.hint for name in NAMES)


# --- what is written --------------------------------------------------------------------------------------------


def test_a_patch_that_is_shown_is_what_would_be_written(tmp_path: Path) -> None:
    """`git apply` of it gives the same files as installing."""
    files = {"train.py": "LR = 0.1\n", "AGENTS.md": "# Mine", ".codex/config.toml": 'model = "x"\n'}
    repo, other = Repo.make(tmp_path / "a", files), Repo.make(tmp_path / "b", files)
    patch = "".join(change.diff() for change in Wiring.of(repo.root).installing(NAMES))
    subprocess.run(["git", "apply", "-"], cwd=repo.root, input=patch, text=True, check=True)
    Wiring.of(other.root).install(NAMES)
    shown, written = tree(Wiring.of(repo.root)), tree(Wiring.of(other.root))
    assert {p: d for p, d in shown.items() if ".git/" not in p} == {
        p: d for p, d in written.items() if ".git/" not in p
    }


def test_wiring_makes_no_new_baseline(tmp_path: Path) -> None:
    """Committing it changes no experiment's identity: runs before and after are comparable."""
    repo = Repo.make(tmp_path / "lab", {"train.py": "LR = 0.1\n"})
    from nightlab.config import load_settings

    before = pinned(load_settings(repo.root), Git(repo.root))
    Wiring.of(repo.root).install(NAMES)
    subprocess.run(["git", "add", "-A"], cwd=repo.root, check=True)
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, "commit", "-qm", "wiring"], cwd=repo.root, check=True)
    assert pinned(load_settings(repo.root), Git(repo.root)).pinned == before.pinned


def test_a_lab_below_its_repository_has_its_place_in_every_command(tmp_path: Path) -> None:
    """Hooks find the door from wherever in the repository they start, with the oddest directory name."""
    repo = Repo.make(tmp_path / "repo", {"a.py": ""})
    place = repo.root / 'odd $(x) "name"'
    place.mkdir()
    (place / "nightlab.toml").write_text("")
    wiring = Wiring.of(place)
    wiring.install(["codex"])
    hooks = json.loads((place / ".codex/hooks.json").read_text())["hooks"]
    command = hooks["Stop"][0]["hooks"][0]["command"].replace("hook codex", "--where")
    (place / clients.DOOR).write_text('echo "$0"\n')
    said = subprocess.run(["sh", "-c", command], cwd=repo.root, capture_output=True, text=True, check=True).stdout
    assert Path(said.strip()).resolve() == (place / clients.DOOR).resolve()


def test_opencodes_plugin_goes_through_the_same_door() -> None:
    """Wherever nightlab lives, as every hook does; the path leads from the plugin to the door."""
    with lab({}) as wiring:
        wiring.install(["opencode"])
        plugin = wiring.root / ".opencode/plugins/nightlab.js"
        (found,) = re.findall(r'new URL\("([^"]+)", import\.meta\.url\)\), "hook", "opencode"', plugin.read_text())
        assert (plugin.parent / found).resolve() == wiring.root / clients.DOOR


def test_one_skill_for_all_clients() -> None:
    """The copy that Claude Code reads is the same file, and its head has name and description only."""
    with lab({}) as wiring:
        wiring.install(NAMES)
        skill = (wiring.root / ".agents/skills/nightlab/SKILL.md").read_text()
        assert (wiring.root / ".claude/skills/nightlab/SKILL.md").read_text() == skill
        head = skill.split("---\n")[1].splitlines()
        assert [line.partition(":")[0] for line in head] == ["name", "description"]
        assert head[0] == "name: nightlab"


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("codex", ".codex/hooks.json"),
        ("claude", ".claude/settings.json"),
        ("gemini", ".gemini/settings.json"),
        ("cursor", ".cursor/hooks.json"),
    ],
)
def test_hooks_are_asked_what_they_answer(name: str, path: str) -> None:
    """Each event and tool that a client is told to ask about is one that our hooks know, and none is left out."""
    known = CLIENTS[name]
    with lab({}) as wiring:
        wiring.install([name])
        told = json.loads((wiring.root / path).read_text())["hooks"]
    matched = {event: {tool for group in groups for tool in group.get("matcher", "").split("|")} - {""}
               for event, groups in told.items()}  # fmt: skip
    shell_events = {"beforeShellExecution"}  # Cursor's own, which names no tool
    assert set(told) - known.before - known.after - shell_events == {
        known.names[noun] for noun in ("start", "prompted", "stop")
    }
    assert set().union(*(matched[event] for event in set(told) & known.before)) >= known.edits
    assert {frozenset(matched[event]) for event in set(told) & known.after} == {known.shells}
    assert known.after <= set(told)
