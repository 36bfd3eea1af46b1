"""Real agents from npm, led by a scripted model: what the wiring of nightlab does in them.

Each is wired by `nightlab agents install` as a user would do it. Its model is told to start the loop, is refused what
it may not do, makes three experiments, says after each that it is done, and is sent on by the hook until it has nothing
left and the hook's budget is spent.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from nightlab.agent.hooks.asking import BUDGET
from tests.e2e.clients import (
    LIMIT_S,
    Agent,
    Codex,
    Gemini,
    Night,
    OpenCode,
    Visit,
    agents_home,
    binary,
    end_all,
    environment,
    make_home,
    make_lab,
    tried,
    version,
    visit,
)
from tests.e2e.labs import UserLab
from tests.e2e.model_server import Turn

pytestmark = pytest.mark.e2e

PROMPT = "Read the brief, then start the autonomous research loop."
IDEAS = {
    "a higher rate": "s/RATE = 0.02/RATE = 0.05/",
    "a wider model": "s/WIDTH = 64/WIDTH = 256/",
    "ten times the decay": "s/DECAY = 0.1/DECAY = 0.9/",
}
VERDICTS = {"a higher rate": "keep", "a wider model": "keep", "ten times the decay": "discard"}
PUSH = Turn(run="git push origin HEAD")
FORBIDDEN = Turn(run="echo '# mine' >> prepare.py")
REASONS = ("would publish", "is void")
SENT_ON = "The autoresearch loop goes on by itself."


@dataclass(frozen=True)
class Play:
    """A script, and what some of its turns are for."""

    turns: list[Turn]
    refused: tuple[int, ...]
    decided: tuple[int, ...]  # what they lead to tells the verdict
    done: tuple[int, ...]  # the model would stop


def play(refused: Sequence[Turn], trying: Callable[[int, str, str], Sequence[Turn]]) -> Play:
    """Refusals first, then each idea as `trying(number of the experiment, description, sed script)` has it."""
    turns, decided, done = [*refused], [], []
    for number, (description, edit) in enumerate(IDEAS.items(), start=2):  # the baseline is the first
        turns += trying(number, description, edit)
        decided.append(len(turns) - 1)
        turns.append(Turn(say=f"Experiment {number} is done."))
        done.append(len(turns) - 1)
    return Play(turns, tuple(range(len(refused))), tuple(decided), tuple(done))


def by_shell(number: int, description: str, edit: str) -> Sequence[Turn]:
    return [Turn(run=f"sed -i '{edit}' train.py && nightlab try --description '{description}'")]


def by_tools(number: int, description: str, edit: str) -> Sequence[Turn]:
    """Edit in the shell, slower than the agent has patience for; run and wait outside of its sandbox."""
    return [
        Turn(run=f"sleep 2; sed -i '{edit}' train.py", patience_ms=500),
        Turn(tool="try", arguments={"description": description, "hypothesis": "it is nearer"}),
        Turn(tool="wait", arguments={"name": str(number)}),
    ]


@pytest.fixture
def place() -> Iterator[Path]:
    """Away from the system's scratch space, which sandboxes hide or open."""
    agents_home().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=agents_home(), prefix="lab-", ignore_cleanup_errors=True) as made:
        yield Path(made).resolve()
        end_all(Path(made).resolve())


def wired(agent: Agent, client: str, place: Path) -> tuple[UserLab, Path]:
    """A lab with the wiring for that client, and a home; skips where the client is not installed."""
    binary(agent.program)
    print(version(agent.program))
    lab, home = make_lab(place / "lab"), make_home(place / "home")
    (home / ".cache" / "autoresearch").mkdir(parents=True)  # as after `uv run prepare.py`
    answer = lab.nightlab("agents", "install", client)
    assert answer.code == 0, answer.err
    return lab, home


def holds(seen: Visit, lab: UserLab, script: Play) -> None:
    """The session went as promised, and the lab knows three experiments, each with its verdict."""
    assert seen.code == 0, seen.err[-2000:]
    refuses(seen, lab, script)
    first = seen.asking(0).text
    assert "Session source: startup" in first and "Branch: autoresearch/e2e" in first
    assert "Autonomy was just enabled by this prompt." in first
    for turn in script.done:
        assert SENT_ON in seen.news(turn), seen.news(turn)
    assert seen.requests[-1].text.count(SENT_ON) == len(script.done) - 1 + BUDGET


def refuses(seen: Visit, lab: UserLab, script: Play) -> None:
    """What is forbidden was refused with a reason; what was tried is on record, and nothing else."""
    for turn in script.refused:
        assert any(reason in seen.news(turn) for reason in REASONS), seen.news(turn)
    assert (lab.root / "prepare.py").read_text() == lab.git("show", "main:prepare.py")
    for turn, verdict in zip(script.decided, VERDICTS.values(), strict=True):
        assert verdict in seen.news(turn), seen.news(turn)
    assert tried(lab) == VERDICTS
    assert lab.git("rev-parse", "HEAD") == lab.git("rev-parse", "main")


def test_codex_in_its_sandbox(place: Path) -> None:
    """Codex under `workspace-write`, where its shell cannot write .git; hooks and the tools of the server can."""
    agent = Codex()
    lab, home = wired(agent, "codex", place)
    lines = ("*** Begin Patch", "*** Update File: prepare.py", "@@", "-# frozen", "+# thawed", "*** End Patch")
    patch = Turn(run="apply_patch <<'EOF'\n" + "\n".join(lines) + "\nEOF")
    script = play([PUSH, FORBIDDEN, patch], by_tools)
    seen = visit(agent, lab, home, PROMPT, script.turns)
    holds(seen, lab, script)


def test_codex_is_told_the_way_out_of_its_sandbox(place: Path) -> None:
    """`nightlab try` in the shell cannot work there, and says what does; nothing is on record."""
    agent = Codex()
    lab, home = wired(agent, "codex", place)
    seen = visit(agent, lab, home, "one experiment, please", [*by_shell(2, "a higher rate", "s/0.02/0.05/")])
    assert seen.code == 0, seen.err[-2000:]
    assert "MCP server `nightlab`" in seen.news(0)
    assert SENT_ON not in seen.told  # nobody asked for the loop
    assert lab.runs() == []


def test_codex_runs_no_hook_that_it_was_not_told_to_trust(place: Path) -> None:
    """Until then it skips them without a word, and the doctor is who says so; from then on it finds nothing wrong."""
    program = binary("codex")
    for agent in (Codex(trusts=False), Codex()):
        lab, home = wired(agent, "codex", place / str(agent.trusts))
        seen = visit(agent, lab, home, PROMPT, [Turn(say="Done.")])
        assert seen.code == 0, seen.err[-2000:]
        assert (SENT_ON in seen.told) is agent.trusts
        variables = environment(home) | {"CODEX_HOME": str(home / ".codex")}
        told = subprocess.run(
            ["nightlab", "agents", "doctor", "codex"],
            cwd=lab.root,
            env=variables | {"PATH": f"{variables['PATH']}:{program.parent}"},
            capture_output=True,
            text=True,
            timeout=LIMIT_S,
            check=False,
        )
        assert (told.returncode == 0) is agent.trusts, told.stdout + told.stderr
        assert ("FAIL  codex hook trust" in told.stdout) is not agent.trusts, told.stdout


def test_a_run_that_codex_makes_itself(place: Path) -> None:
    """A training command in its shell, which it leaves running and looks after, is on record with the value of its log,
    and judges nothing; the same with its output on the screen is refused.
    """
    agent = Codex()
    lab, home = wired(agent, "codex", place)
    training = f"{sys.executable} train.py"
    turns = [Turn(run=training), Turn(run=f"sleep 2 && {training} > run.log 2>&1", patience_ms=500), Turn(say="Done.")]
    seen = visit(agent, lab, home, "train it once", turns)
    assert seen.code == 0, seen.err[-2000:]
    assert "to run.log" in seen.news(0)
    assert "is on record as run" in seen.news(1)
    (run,) = lab.runs()
    assert (run["purpose"], run["outcome"], run["decision"]) == ("exec", "finished", None)
    assert f"val_bpb: {run['metric']}" in (lab.root / "run.log").read_text()


def test_codex_without_a_sandbox(place: Path) -> None:
    """The same by the command line, as in a container."""
    agent = Codex(sandbox="danger-full-access")
    lab, home = wired(agent, "codex", place)
    script = play([PUSH, FORBIDDEN], by_shell)
    holds(visit(agent, lab, home, PROMPT, script.turns), lab, script)


def test_gemini(place: Path) -> None:
    """Gemini CLI as it is after the install, without a sandbox: the command line, the hooks, its own file tools."""
    agent = Gemini(sandbox=False)
    lab, home = wired(agent, "gemini", place)
    overwrite = Turn(tool="write_file", arguments={"file_path": str(lab.root / "prepare.py"), "content": "# mine\n"})
    script = play([PUSH, FORBIDDEN, overwrite], by_shell)
    seen = visit(agent, lab, home, PROMPT, script.turns)
    holds(seen, lab, script)
    assert "&gt; run.log" not in seen.told  # it spells a redirection anew


def test_gemini_in_its_sandbox(place: Path) -> None:
    """Gemini CLI with its tools in bubblewrap: by the tools of the server, which stand outside."""
    if shutil.which("bwrap") is None:
        pytest.skip("no bwrap on PATH: Gemini CLI needs bubblewrap for its sandbox on Linux")
    agent = Gemini(sandbox=True)
    lab, home = wired(agent, "gemini", place)
    script = play([PUSH, FORBIDDEN], by_tools)
    holds(visit(agent, lab, home, PROMPT, script.turns), lab, script)


def test_opencode(place: Path) -> None:
    """OpenCode by the plugin, where it lives on after its model is done: in its server, as in its terminal."""
    agent = OpenCode(serves=True)
    lab, home = wired(agent, "opencode", place)
    overwrite = Turn(tool="write", arguments={"filePath": str(lab.root / "prepare.py"), "content": "# mine\n"})
    script = play([PUSH, FORBIDDEN, overwrite], by_shell)
    holds(visit(agent, lab, home, PROMPT, script.turns), lab, script)


def test_opencode_that_ends_with_its_model(place: Path) -> None:
    """`opencode run` has the same context, refusals and reviews, but nothing sends it on: a night drives it instead."""
    agent = OpenCode()
    lab, home = wired(agent, "opencode", place)
    idea = next(iter(IDEAS.items()))
    seen = visit(agent, lab, home, PROMPT, [PUSH, *by_shell(2, *idea), Turn(say="Done.")])
    assert seen.code == 0, seen.err[-2000:]
    assert "Branch: autoresearch/e2e" in seen.requests[-1].text
    assert "would publish" in seen.news(0) and "keep" in seen.news(1)
    assert tried(lab) == {idea[0]: "keep"}


def test_two_agents_at_once(place: Path) -> None:
    """Codex and Gemini CLI on one lab, each with ideas of its own: every idea is tried once and has its verdict."""
    codex, gemini = Codex(), Gemini()
    lab, home = wired(codex, "codex", place)
    binary(gemini.program)
    assert lab.nightlab("agents", "install", "gemini").code == 0
    others = make_home(place / "other-home")
    (others / ".cache" / "autoresearch").mkdir(parents=True)

    def turns(who: str, values: Sequence[int]) -> list[Turn]:
        made: list[Turn] = []
        for value in values:
            edit = {"path": "train.py", "old": "DECAY = 0.1", "new": f"DECAY = {value}"}
            made += [
                Turn(tool="try", arguments={"description": f"{who} decays {value}", "edits": [edit]}),
                Turn(tool="wait", arguments={"name": "champion"}),
            ]
        return [*made, Turn(say="Done.")]

    with ThreadPoolExecutor() as pool:
        visits = [
            pool.submit(visit, codex, lab, home, "three, please", turns("Codex", (2, 3, 4))),
            pool.submit(visit, gemini, lab, others, "three, please", turns("Gemini", (5, 6, 7))),
        ]
    for each in visits:
        assert each.result().code == 0, each.result().err[-2000:]
    expected = [f"Codex decays {value}" for value in (2, 3, 4)] + [f"Gemini decays {value}" for value in (5, 6, 7)]
    assert tried(lab) == dict.fromkeys(expected, "discard")


@pytest.mark.parametrize("inner", [Codex(), Gemini(sandbox=False), OpenCode()], ids=lambda agent: agent.program)
def test_a_night_with_an_agent_that_has_the_ideas(place: Path, inner: Agent) -> None:
    """`nightlab run --proposer 'AGENT ...'` starts the agent once an idea, takes its edit of the editable file, and
    goes on until the night's ideas are spent: so those agents go on too that nobody can send on.
    """
    binary(inner.program)
    print(version(inner.program))
    lab, home = make_lab(place / "lab"), make_home(place / "home")
    turns = []
    for edit in IDEAS.values():
        turns += [Turn(run=f"sed -i '{edit}' train.py; echo '# mine' >> prepare.py"), Turn(say="Done.")]
    seen = visit(Night(inner, ideas=len(IDEAS)), lab, home, "", turns)
    assert seen.code == 0, seen.err[-2000:]
    # What the night tries besides, at its end, is to leave a kept change out again.
    ideas = {name: verdict for name, verdict in tried(lab).items() if not name.startswith("without #")}
    # An edit that only sets constants is described by them, whatever its author says of it.
    assert ideas == {"RATE 0.02 -> 0.05": "keep", "WIDTH 64 -> 256": "keep", "DECAY 0.1 -> 0.9": "discard"}
    assert all("train.py" in seen.asking(turn).text for turn in range(0, len(turns), 2))
    assert lab.git("status", "--porcelain") == ""
