"""Agents as commands: one process an idea, in a checkout of its own; only its diff of the editable files is taken."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from nightlab.agent.proposing.agent import NOTE, PLAN_VARIABLE, end_strays, logs_of, names_of
from nightlab.config import ProposerSettings
from nightlab.root import FOR_LAB
from nightlab.runner import workspace
from nightlab.runner.tree import with_variable
from nightlab.types import Decision
from tests.agent.proposing.asking import Asking, Table, calls, who
from tests.builders import crashed
from tests.nights import BASELINE, Answer

APPEND = """
import os, pathlib, sys
n = 1 + len(list(pathlib.Path(os.environ["COUNT"]).iterdir()))
(pathlib.Path(os.environ["COUNT"]) / str(n)).touch()
path = pathlib.Path("train.py")
path.write_text(path.read_text() + f"X{n} = 1\\n")
"""


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an agent's script is to be written; each counts how often it was called."""
    (tmp_path / "count").mkdir()
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "agent.py"


def lab_of(
    agent: Path, script: str, *, minutes: float = 5.0, arguments: str = "", table: dict[str, Answer] | None = None
) -> Asking:
    """A lab whose ideas come from a Python script."""
    agent.write_text(script, encoding="utf-8")
    lab = Asking(agent.parent / "lab", Table(table or {BASELINE: 1.0}))
    lab.settings = lab.settings.__class__(
        root=lab.root,
        command=lab.settings.command,
        metric=lab.settings.metric,
        proposer=ProposerSettings(agent_minutes=minutes),
    )
    lab.proposers = (shlex.join([sys.executable, str(agent)]) + (f" {arguments}" if arguments else ""),)
    return lab


NAME = os.path.basename(sys.executable)


def test_a_night_of_an_agent(agent: Path) -> None:
    """Each idea is what one process made of train.py, under its own words; its workspace is gone afterwards."""
    script = APPEND + f"pathlib.Path({NOTE!r}).write_text('# Add X' + str(n) + '\\n\\nIt may help.\\nmore')\n"
    good = f"{BASELINE}X2 = 1\n"
    lab = lab_of(agent, script, table={BASELINE: 1.0, good: 0.9})
    history = lab.night(ideas=3)
    assert who(history) == [NAME] * 3
    ideas = [s.experiment for s in history.experiments.values() if s.experiment.plan.proposer]
    assert [(i.description, i.hypothesis) for i in ideas] == [(f"Add X{n}", "It may help.") for n in (1, 2, 3)]
    assert [verdict.decision for verdict in history.promotions] == [Decision.KEEP]
    assert lab.source(history.champion) == good
    assert [(c.purpose, c.failure, c.note) for c in calls(lab)] == [("agent", "", "")] * 3
    assert not list((agent.parent / "cache").rglob("agent-*"))


def test_an_agent_is_told_its_plan(agent: Path) -> None:
    """The prompt is the last argument, and lies in a file; it names way, rules, limit and where to say what it did."""
    script = APPEND + (
        "assert sys.argv[-1] == pathlib.Path(os.environ['NIGHTLAB_PLAN']).read_text()\n"
        "assert pathlib.Path('.git').is_dir() and not pathlib.Path('results').exists()\n"
        "print(sys.argv[-1])\n"
    )
    lab = lab_of(agent, script)
    assert who(lab.night(ideas=1)) == [NAME]
    (log,) = logs_of(lab.settings.results).glob("*.log")
    assert str(log.relative_to(lab.root)) == calls(lab)[0].log
    told = log.read_text()
    for part in ("Way of proposing", "Editable files: train.py", "5 minutes", NOTE, "Metric: loss, lower is better"):
        assert part in told


def test_an_agent_is_told_where_it_is(agent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PWD names its workspace, wherever the night was started: there are agents that believe it."""
    monkeypatch.setenv("PWD", str(agent.parent / "lab"))
    lab = lab_of(agent, APPEND + "assert os.path.samefile(os.environ['PWD'], os.getcwd())\n")
    assert who(lab.night(ideas=1)) == [NAME]
    assert not calls(lab)[0].note


def test_a_placeholder_says_where_the_prompt_goes(agent: Path) -> None:
    """With {prompt} in the command line nothing is appended to it."""
    script = APPEND + "assert sys.argv[1] == '--do' and sys.argv[3] == '--fast' and 'Metric' in sys.argv[2]\n"
    lab = lab_of(agent, script, arguments="--do {prompt} --fast")
    assert who(lab.night(ideas=1)) == [NAME]
    assert not calls(lab)[0].note


def test_other_files_are_left_as_they_are(agent: Path) -> None:
    """A changed prepare.py and new files are thrown away and named; the edit of train.py is taken."""
    script = APPEND + (
        "pathlib.Path('prepare.py').write_text('BUDGET = 99\\n')\npathlib.Path('notes.md').write_text('hi')\n"
    )
    lab = lab_of(agent, script)
    lab.repo.commit({"prepare.py": "BUDGET = 1\n"})
    history = lab.night(ideas=1)
    (idea,) = (s.experiment for s in history.experiments.values() if s.experiment.plan.proposer)
    assert calls(lab)[0].note == "changed and left out: notes.md, prepare.py"
    assert lab.git.read(idea.commit, "prepare.py") == b"BUDGET = 1\n"
    assert "notes.md" not in lab.git.files(idea.commit)


@pytest.mark.parametrize(
    ("script", "failure"),
    [
        ("print('nothing to do')\n", "it changed no editable file"),
        ("import sys\nsys.exit(3)\n", "it changed no editable file: it ended with exit code 3"),
        (APPEND.replace("X{n} = 1", "X = ("), "train.py does not parse after the edit"),
        ("import os\nos.remove('train.py')\n", "it deleted all that may be edited"),
        ("import os\nos.remove('train.py')\nos.symlink('/etc/hostname', 'train.py')\n", "was made a link"),
        ("open('train.py', 'wb').write(b'\\xff\\xfe')\n", "cannot be read as text"),
        ("open('train.py', 'a').write('# a remark\\n')\n", "very source of"),
        ("open('prepare.py', 'w').write('x = 1')\n", "it changed no editable file"),
    ],
)
def test_what_an_agent_leaves_may_be_of_no_use(agent: Path, script: str, failure: str) -> None:
    """No edit, a broken one, a link to somewhere else: a failure on record, and the built-in search goes on."""
    lab = lab_of(agent, script)
    history = lab.night(ideas=2)
    assert who(history) == ["", ""]
    assert all(failure in call.failure for call in calls(lab))
    assert len(calls(lab)) == 3


def test_an_agent_is_ended_at_its_limit_with_all_it_started(agent: Path) -> None:
    """A daemon in a session of its own dies with it; what it had changed by then is taken."""
    daemon = (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(600)\n"
        "    os._exit(0)\n"
    )
    lab = lab_of(agent, APPEND + daemon + "time.sleep(600)\n", minutes=0.05)
    history = lab.night(ideas=1)
    assert who(history) == [NAME]
    assert calls(lab)[0].note == "it was ended at its limit of 0.05 minutes"
    assert with_variable(FOR_LAB, str(lab.root)) == []


def test_an_agent_s_output_is_bounded_and_obeyed_by_nobody(agent: Path) -> None:
    """Megabytes of it end in a log of bounded size, and none of it in the ledger."""
    lab = lab_of(agent, APPEND + "for _ in range(40_000):\n    print('loss: 0.0001 ' + 'x' * 200)\n")
    lab.night(ideas=1)
    (log,) = logs_of(lab.settings.results).glob("*.log")
    assert 100_000 < log.stat().st_size < 1_000_000
    assert b"loss: 0.0001" not in lab.settings.database.read_bytes()


class _WhileItWorks:
    """Ctrl-C once an agent is at work."""

    def __init__(self, lab: Asking) -> None:
        self.lab = lab

    def told(self, recorded: object, history: object) -> None: ...

    def tick(self, history: object) -> None:
        if any(self.lab.root.parent.joinpath("count").iterdir()):
            raise KeyboardInterrupt


def test_ctrl_c_ends_an_agent(agent: Path) -> None:
    """It and what it started are gone, its workspace too, and it is on record as cut off."""
    lab = lab_of(agent, APPEND + "import time\ntime.sleep(600)\n")
    with lab.lab(listener=_WhileItWorks(lab)) as opened:
        opened.begin(ideas=1, hours=None, seed=1)
        with pytest.raises(KeyboardInterrupt):
            opened.run_night()
        (call,) = opened.history.consulted
    assert call.said.cut_off
    assert with_variable(FOR_LAB, str(lab.root)) == []
    assert not list((agent.parent / "cache").rglob("agent-*"))


def test_what_an_earlier_loop_left_behind_is_ended(agent: Path) -> None:
    """An agent whose warden was killed dies when the next night begins."""
    lab = lab_of(agent, APPEND)
    words = [sys.executable, "-c", "import time; time.sleep(600)"]
    with subprocess.Popen(words, env={**os.environ, FOR_LAB: str(lab.root)}) as stray:
        while stray.pid not in with_variable(FOR_LAB, str(lab.root)):
            time.sleep(0.01)
        lab.night(ideas=1)
        assert stray.wait(30.0) == -signal.SIGKILL
    assert end_strays(lab.root) == 0


def test_a_crash_is_repaired_where_it_lies(agent: Path) -> None:
    """The agent is given the source that crashed and the error as data; the repair says what it repairs."""
    script = (
        "import os, pathlib, sys\npath = pathlib.Path('train.py')\ntext = path.read_text()\n"
        "if 'Find the slip' in sys.argv[-1]:\n"
        "    assert '| NameError: ln' in sys.argv[-1]\n"
        "    path.write_text(text.replace('X = 1', 'X = 2'))\n"
        "elif 'X' not in text:\n    path.write_text(text + 'X = 1\\n')\n"
    )
    lab = lab_of(agent, script, table={BASELINE: 1.0, f"{BASELINE}X = 1\n": crashed("NameError: ln")})
    history = lab.night(ideas=2)
    first, second = (s.experiment for s in history.experiments.values() if s.experiment.plan.proposer)
    assert second.plan.repairs == first.id
    assert lab.source(second.id) == f"{BASELINE}X = 2\n"
    assert [call.purpose for call in calls(lab)] == ["agent", "agent repair"]


def test_a_workspace_at_work_is_not_swept_away(agent: Path) -> None:
    """Another opener of the lab leaves the place of an agent alone, however long it has been at work."""
    hours_ago = time.time() - 7200
    script = APPEND + f"import time\nos.utime('.', ({hours_ago}, {hours_ago}))\ntime.sleep(0.5)\n"
    lab = lab_of(agent, script)

    class Sweeping(_WhileItWorks):
        def tick(self, history: object) -> None:
            workspace.sweep(lab.settings, alive=())

    with lab.lab(listener=Sweeping(lab)) as opened:
        opened.begin(ideas=1, hours=None, seed=1)
        opened.run_night()
        assert who(opened.history) == [NAME]


def test_names_hold_no_secrets() -> None:
    """A command is known by its first words; options and values, where keys may stand, are in no record."""
    commands = ["/opt/bin/codex exec --key sk-1234 -", "claude -p", "claude -p --model large", "./run.sh TOKEN=abc"]
    assert list(names_of(commands).values()) == ["codex exec", "claude", "claude #2", "run.sh"]


def test_the_plan_s_variable_is_the_documented_one() -> None:
    """docs/models.md names the variables that an agent finds."""
    page = (Path(__file__).parents[3] / "docs" / "models.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in page for name in (PLAN_VARIABLE, FOR_LAB, NOTE))
