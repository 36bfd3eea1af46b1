"""Every client's events through the door: only what that client takes for the event comes out."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from nightlab.agent.hooks.clients import CLIENTS, patched
from nightlab.agent.hooks.door import answer
from nightlab.agent.hooks.place import PATIENCE_S, Checkout, Place, locked, place_at
from nightlab.agent.names import NAMES as AT_THE_DOOR
from nightlab.config import Settings, load_settings
from nightlab.ledger.mirrors import Mirrors
from nightlab.memory import open_ledger
from tests.agent.hooks.agents import COMMAND, Agent, Listed, make
from tests.builders import Repo
from tests.search.histories import Story, knob

OURS = Path(__file__).parent / "payloads"
REAL = Path(__file__).parents[4] / "shared" / "reference" / "hook-payloads"
TEXT = "any text"  # in a shape
SAID = {"hookEventName": TEXT, "additionalContext": TEXT}
DENIED = {"hookEventName": TEXT, "permissionDecision": "deny", "permissionDecisionReason": TEXT}

CONTEXT: dict[str, object] = {"hookSpecificOutput": SAID}
Shape = dict[str, object]
SPECIFIC: dict[str, Shape] = {
    "SessionStart": CONTEXT,
    "UserPromptSubmit": CONTEXT,
    "PreToolUse": {"hookSpecificOutput": DENIED},
    "PostToolUse": CONTEXT,
    "Stop": {"decision": "block", "reason": TEXT},
}
TAKES: dict[str, dict[str, Shape]] = {
    "codex": {event: {**shape, "systemMessage?": TEXT} for event, shape in SPECIFIC.items()},
    "claude": {
        event: {**shape, "systemMessage?": TEXT} for event, shape in {**SPECIFIC, "PostToolUseFailure": CONTEXT}.items()
    },
    "gemini": {
        "SessionStart": CONTEXT,
        "BeforeAgent": CONTEXT,
        "BeforeTool": {"decision": "deny", "reason": TEXT},
        "AfterTool": CONTEXT,
        "AfterAgent": {"decision": "deny", "reason": TEXT},
    },
    "cursor": {
        "sessionStart": {"additional_context": TEXT},
        "beforeShellExecution": {"permission": "deny", "user_message": TEXT, "agent_message": TEXT},
        "preToolUse": {"permission": "deny", "user_message": TEXT, "agent_message": TEXT},
        "postToolUse": {"additional_context": TEXT},
        "stop": {"followup_message?": TEXT},
    },
    "opencode": {
        "start": {"context": TEXT},
        "prompt": {"context": TEXT},
        "before": {"deny": TEXT},
        "after": {"context": TEXT},
        "idle": {"ask": TEXT},
    },
}
"""Client -> event -> every field that it takes from us; "?" marks one that may be missing. Others say nothing."""


def fits(said: object, shape: object) -> bool:
    """Whether an answer has exactly the fields of a shape."""
    if isinstance(shape, Mapping):
        names = {name.rstrip("?"): name for name in shape}
        whole = {name for name in shape if not name.endswith("?")}
        return (
            isinstance(said, dict)
            and whole <= said.keys() <= names.keys()
            and all(fits(value, shape[names[name]]) for name, value in said.items())
        )
    return isinstance(said, str) and bool(said) if shape == TEXT else said == shape


def ours() -> list[tuple[str, dict[str, Any]]]:
    """Client and event, of our own recording."""
    return [(path.stem, told) for path in sorted(OURS.glob("*.json")) for told in json.loads(path.read_text())]


def event_of(client: str, told: Mapping[str, Any]) -> str:
    return str(told.get(CLIENTS[client].names["event"]))


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """In a lab that has something to say at every event: a history, autonomy on, and runs that were not told of."""
    (tmp_path / "home" / ".cache" / "autoresearch").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    made = make(tmp_path / "lab")
    with open_ledger(load_settings(made.root)) as ledger:
        ledger.append(*Story().keep("b", knob("MATRIX_LR", "0.04", "0.05")).events)
    made.prompts("never stop")
    return made


def at_lab(told: object, root: Path) -> Any:
    """A payload as if the lab were where it says."""
    return json.loads(json.dumps(told).replace("/repo", str(root)).replace('"/lab', f'"{root}'))


def say(client: str, told: object) -> bytes:
    return answer(client, json.dumps(told).encode(), lambda: Listed(("git push", "FORBIDDEN")))


def test_every_client_is_at_the_door() -> None:
    """The clients that the command line names are those that have a dialect."""
    assert set(AT_THE_DOOR) == set(CLIENTS)


def heard(client: str, told: object, root: Path) -> bool:
    """Whether the client takes what it is answered; silence is always taken."""
    moved = at_lab(told, root)
    said = say(client, moved)
    shape = TAKES[client].get(event_of(client, moved))
    return not said or (shape is not None and fits(json.loads(said), shape))


@pytest.mark.parametrize("client", CLIENTS)
def test_answers_hold_what_the_client_takes_and_nothing_else(client: str, agent: Agent) -> None:
    """Recorded events: an answer has exactly the fields of that event, and an event that takes none gets none."""
    told = [one for name, one in ours() if name == client]
    assert told
    assert [one for one in told if not heard(client, one, agent.root)] == []


@pytest.mark.skipif(not REAL.is_dir(), reason="the recordings of real clients do not lie beside this checkout")
@pytest.mark.parametrize("client", ["codex", "gemini", "opencode"])
def test_recordings_of_real_clients(client: str, agent: Agent) -> None:
    """The same for what real clients were seen to send. OpenCode's plugin speaks for it: its own events are none."""
    told = [json.loads(path.read_text()) for path in sorted((REAL / client).glob("[!_]*.json"))]
    assert told
    assert [one for one in told if not heard(client, one, agent.root)] == []
    if client == "opencode":
        assert not any(say(client, at_lab(one, agent.root)) for one in told)


EXPECTED = {
    ("codex", "PreToolUse", "deny"): 3,
    ("claude", "PreToolUse", "deny"): 2,
    ("gemini", "BeforeTool", "deny"): 2,
    ("cursor", "beforeShellExecution", "deny"): 1,
    ("opencode", "before", "deny"): 3,
}


@pytest.mark.parametrize("key", EXPECTED)
def test_what_must_be_refused_is_refused_in_every_dialect(key: tuple[str, str, str], agent: Agent) -> None:
    """A push, an edit of a protected file by the client's own tools, and a patch of it through the shell."""
    client, event, _ = key
    told = [one for name, one in ours() if name == client and event_of(name, one) == event]
    assert sum(b"deny" in say(client, at_lab(one, agent.root)) for one in told) == EXPECTED[key]


@pytest.mark.parametrize("client", CLIENTS)
def test_each_client_hears_of_start_and_is_asked_at_the_end(client: str, agent: Agent) -> None:
    """Start and stop have an answer in every dialect; a subagent's have none."""
    names = CLIENTS[client].names
    start, *_ = [one for name, one in ours() if name == client and event_of(name, one) == names["start"]]
    stop, *_ = [one for name, one in ours() if name == client and event_of(name, one) == names["stop"]]
    assert b"Autoresearch discovery state:" in say(client, at_lab(start, agent.root))
    assert b"Hypothesis: " in say(client, at_lab(stop, agent.root))
    if "agent" in names and client != "cursor":
        assert say(client, at_lab({**stop, names["agent"]: "a-1"}, agent.root)) == b""


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize(
    "given",
    [b"", b"{", b"[]", b"null", b'"x"', b"{}", b'{"hook_event_name": 7}', b'{"hook_event_name": "Unheard"}', b"\xff",
     b'{"hook_event_name": "PreToolUse", "tool_input": 3, "cwd": ["x"], "session_id": null}', b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_event_gets_silence(client: str, given: bytes) -> None:
    """Empty, broken, foreign and hostile input: nothing is printed and nothing is raised."""
    assert answer(client, given, Listed) == b""


@pytest.mark.parametrize("client", CLIENTS)
def test_a_run_that_ended_is_told_after_a_tool_and_once(client: str, agent: Agent) -> None:
    """Whatever recorded it: context in every dialect, in no event whose answer the client drops, and no second time."""
    names, after = CLIENTS[client].names, sorted(CLIENTS[client].after)[0]
    told = {names["event"]: after, names["session"]: "s1", "cwd": str(agent.root), names["tool"]: "other"}
    assert say(client, told) == b""
    with open_ledger(load_settings(agent.root)) as ledger:
        ledger.append(*Story().idea("z", knob("DEPTH", "8", "9")).events[len(Story().events) :])
    if client == "cursor":
        shell = {"hook_event_name": "afterShellExecution", "conversation_id": "s1", "cwd": str(agent.root)}
        assert say(client, {**shell, "command": "ls"}) == b""
    said = say(client, told)
    assert b"Discovery review:" in said
    assert fits(json.loads(said), TAKES[client][after])
    assert say(client, told) == b""


def test_gemini_is_given_no_command_that_it_spells_anew(agent: Agent) -> None:
    """It hands context on with `&gt;` for `>`; others get the command as it has to be typed."""
    event = {"session_id": "s1", "cwd": str(agent.root), "prompt": "hello"}
    told = say("gemini", {**event, "hook_event_name": "BeforeAgent"}).decode()
    assert "nightlab exec" in told and ">" not in told
    assert "> run.log 2>&1" in say("codex", {**event, "hook_event_name": "UserPromptSubmit"}).decode()


def test_a_byte_order_mark_does_no_harm(agent: Agent) -> None:
    """Cursor on Windows begins with one."""
    told = {"conversation_id": "c", "hook_event_name": "sessionStart", "workspace_roots": [str(agent.root)]}
    assert b"additional_context" in answer("cursor", b"\xef\xbb\xbf" + json.dumps(told).encode(), Listed)


def test_without_a_lab_nothing_is_said_and_nothing_is_made(tmp_path: Path) -> None:
    """In a directory that is no lab every event is silent, and no file appears."""
    (tmp_path / "work").mkdir()
    for client, told in ours():
        moved = json.loads(json.dumps(told).replace('"/lab', f'"{tmp_path}/work'))
        said = answer(client, json.dumps(moved).encode(), Listed)
        assert said in (b"", b"{}\n")
    assert list((tmp_path / "work").iterdir()) == []


def test_a_place_that_does_not_exist_is_judged_from_here(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """The policy judges all the same, from the hook's own directory; other events are silent (contract, part 4)."""
    monkeypatch.chdir(agent.root)
    gone = {"session_id": "s", "cwd": "/nowhere/at/all"}
    tool = {"tool_name": "Bash", "tool_input": {"command": "git push"}, "tool_use_id": "c"}
    assert b"deny" in say("codex", {**gone, **tool, "hook_event_name": "PreToolUse"})
    assert say("codex", {**gone, "hook_event_name": "SessionStart", "source": "startup"}) == b""


@pytest.mark.parametrize(
    ("client", "given"),
    [
        ("gemini", {"hook_event_name": "BeforeTool", "tool_name": "run_shell_command", "tool_input": "dir_path"}),
        ("gemini", {"hook_event_name": "BeforeTool", "tool_name": "run_shell_command", "tool_input": "directory"}),
        ("codex", {"hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_input": "workdir"}),
        ("cursor", {"hook_event_name": "preToolUse", "tool_name": "Shell", "tool_input": "working_directory"}),
        ("opencode", {"event": "before", "tool": "bash", "args": "workdir"}),
    ],
)
@pytest.mark.parametrize("is_whole", [True, False])
def test_a_shell_works_where_its_call_says(client: str, given: Mapping[str, str], is_whole: bool, agent: Agent) -> None:
    """The directory that the call itself names, whole or relative to the session's, is where the command is judged."""
    seen: list[Path] = []

    class Looks(Listed):
        def refusal(self, command: str, place: Place, cwd: Path, here: Checkout) -> str:
            seen.append(cwd)
            return ""

        def training(self, command: str, place: Place, cwd: Path, here: Checkout) -> str | None:
            seen.append(cwd)
            return None

    where = str(agent.root / "results") if is_whole else "results"
    name = CLIENTS[client].names["input"]
    told = {**given, name: {"command": "rm -rf nightlab", given[name]: where}, "cwd": str(agent.root)}
    assert answer(client, json.dumps(told).encode(), Looks) == b""
    assert seen == [agent.root / "results"] * 2


BEFORE = {"session_id": "s", "hook_event_name": "PreToolUse", "tool_name": "Bash", "tool_use_id": "c"}
PUSH = {**BEFORE, "tool_input": {"command": "git push"}}


def test_outside_the_lab_the_hooks_own_lab_judges(
    agent: Agent, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Elsewhere, and in a repository within the lab, the policy is that of the hook's own lab; all else is silent."""
    elsewhere, nested = tmp_path / "elsewhere", agent.root / "vendor" / "x"
    elsewhere.mkdir()
    Repo.make(nested, {"train.py": "print()\n"})
    assert say("codex", {**PUSH, "cwd": str(elsewhere)}) == b""
    monkeypatch.setenv("NIGHTLAB_LAB", str(agent.root))
    for place in (elsewhere, nested):
        assert b"deny" in say("codex", {**PUSH, "cwd": str(place)})
    started = {"session_id": "s", "hook_event_name": "SessionStart", "source": "startup", "cwd": str(elsewhere)}
    assert say("codex", started) == b""
    (nested / "nightlab.toml").write_text("[policy]\nenabled = true\n")
    seen: list[Path] = []

    class Looks(Listed):
        def refusal(self, command: str, place: Place, cwd: Path, here: Checkout) -> str:
            seen.append(place.root)
            return "no"

    answer("codex", json.dumps({**PUSH, "cwd": str(nested)}).encode(), Looks)
    assert seen == [nested]


@pytest.mark.parametrize("is_kept", [True, False])
def test_a_broken_nightlab_toml_leaves_the_policy_on(is_kept: bool, agent: Agent) -> None:
    """What it said when it could last be read still holds for what an agent may do; else what an empty one says."""
    if not is_kept:
        (agent.root / "results" / "nightlab" / "hooks" / "lab.json").unlink()
    toml = agent.root / "nightlab.toml"
    toml.write_text(toml.read_text() + "\nbogus = [\n")
    seen: list[str] = []

    class Looks(Listed):
        def refusal(self, command: str, place: Place, cwd: Path, here: Checkout) -> str:
            seen.append(place.command)
            return "no"

    assert b"deny" in answer("codex", json.dumps({**PUSH, "cwd": str(agent.root)}).encode(), Looks)
    assert seen == ["python train.py" if is_kept else Settings(root=agent.root).command]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hooks that wait a twentieth of a second for a lock."""
    for module in ("place", "respond", "asking", "reviewing"):
        monkeypatch.setattr(f"nightlab.agent.hooks.{module}.PATIENCE_S", 0.05)
    monkeypatch.setattr("nightlab.agent.hooks.place.locked.__wrapped__.__defaults__", (0.05,))
    monkeypatch.setattr("nightlab.agent.hooks.respond.Responder._settle.__defaults__", (0.05,))


@pytest.mark.usefixtures("impatient")
def test_mirrors_that_somebody_writes_for_ever_stop_no_hook(agent: Agent) -> None:
    """Every event has its answer while the mirrors' lock is held; what was said is in the ledger all the same."""
    Agent(agent.root).starts()
    with Mirrors(agent.root).locked() as is_ours:
        assert is_ours
        with Mirrors(agent.root).locked(patience_s=0.0) as other:
            assert not other
        assert "Hypothesis: " in agent.stops()
        assert agent.before("ls") == ""
        assert agent.before("git push")
        assert agent.does(COMMAND)
        assert "Autoresearch discovery state:" in agent.starts()
        assert "OFF" in agent.prompts("pause")
    assert agent.stops() == ""


@pytest.mark.usefixtures("impatient")
def test_another_hook_that_never_ends_stops_no_hook(agent: Agent) -> None:
    """While the hooks' own lock is held the policy and the state are told; what would be remembered is not."""
    new = Agent(agent.root, session="new")
    place = place_at(agent.root)
    assert place is not None
    with locked(place):
        before = sorted(place.own.iterdir())
        assert new.before("ls") == ""
        assert new.before("git push")
        assert new.before(COMMAND) == ""
        assert new.stops() == ""
        assert "Autoresearch discovery state:" in new.starts()
        assert sorted(path for path in place.own.iterdir() if path.name != "sheet.json") == [
            path for path in before if path.name != "sheet.json"
        ]
    assert new.stops() != ""


def test_a_plain_command_waits_for_no_lock_at_all(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is lost by it: only a training run is worth the patience."""
    asked: list[float | None] = []

    def refuse(handle: int, patience_s: float | None = None) -> bool:
        asked.append(patience_s)
        return False

    monkeypatch.setattr("nightlab.agent.hooks.place.lock", refuse)
    Agent(agent.root, session="new").before("ls")
    Agent(agent.root, session="new").before(COMMAND)
    assert asked == [0.0, PATIENCE_S]


def test_an_error_goes_into_a_bounded_log_and_not_to_the_client(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lab whose settings are broken: silence, and the reason in hooks.log, which does not grow without end."""
    monkeypatch.setattr("nightlab.agent.hooks.door.LOG_SIZE", 4000)
    (agent.root / "nightlab.toml").write_text("command = 7\n")
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    for _ in range(20):
        assert agent.tell("SessionStart", source="startup") is None
    results = agent.root / "results" / "nightlab"
    text = (results / "hooks.log").read_text()
    assert "ConfigError" in text
    assert "hunter2" not in text
    assert sum(path.stat().st_size for path in results.glob("hooks.log*")) < 4 * 4000


def test_context_is_bounded(agent: Agent) -> None:
    """However much there is to say, it fits what clients pass on whole."""
    toml = agent.root / "nightlab.toml"
    toml.write_text(
        toml.read_text().replace('protected = ["prepare.py"]', f"protected = {[f'f{n}' * 9 for n in range(400)]}")
    )
    assert len(agent.prompts("hello")) <= 9000


def test_a_patch_names_its_files() -> None:
    """Added, changed, deleted and moved files of a patch; none of a text that is no patch."""
    text = "*** Begin Patch\n*** Add File: a.py\n+*** Delete File: no.py\n*** Update File: b.py\n*** Move to: c.py\n"
    assert patched(text + "*** Delete File: d.py\n*** End Patch") == ("a.py", "b.py", "c.py", "d.py")
    assert patched("*** Update File: b.py") == ()
