"""What every proposer promises, over every proposer."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from nightlab.agent.proposing.fake import ScriptedEndpoint
from nightlab.loop import Lab
from nightlab.root import FOR_LAB
from nightlab.runner.tree import with_variable
from nightlab.search.source import parse
from nightlab.types import Again, Answer, Exhausted, Failed, Idea, Thinking
from tests.agent.proposing.asking import MODEL, Asking, Writer, bench

AGENT = """
import os, pathlib
path = pathlib.Path("train.py")
path.write_text(path.read_text() + f"X{len(os.listdir(os.environ['COUNT']))} = 1\\n")
(pathlib.Path(os.environ["COUNT"]) / str(os.getpid())).touch()
pathlib.Path("prepare.py").write_text("cheat = 1\\n")
"""


@pytest.fixture(params=["builtin", "model", "command", "mixed"])
def lab(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asking]:
    """A lab whose ideas come from that kind of proposer."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("COUNT", str(tmp_path / "count"))
    (tmp_path / "count").mkdir()
    (tmp_path / "agent.py").write_text(AGENT, encoding="utf-8")
    command = shlex.join([sys.executable, str(tmp_path / "agent.py")])
    names = {"builtin": ("builtin",), "model": (MODEL,), "command": (command,), "mixed": ("builtin", MODEL, command)}
    with ScriptedEndpoint(Writer(anchor="LR = 0.1")) as server:
        made = bench(tmp_path / "lab", server.base_url)
        made.proposers = names[request.param]
        made.repo.commit({"train.py": "LR = 0.1\nDEPTH = 8\nprint(LR, DEPTH)\n", "prepare.py": "BUDGET = 1\n"})
        yield made


def asked(lab: Lab, number: int) -> Answer | Thinking:
    base = lab.history.state(lab.baseline()).experiment
    return lab.proposer.propose(lab.history, base.id, lab.sources.at(base.commit), Random(f"1:{number}"))


def answered(lab: Lab, asking: Asking, number: int) -> Answer:
    """The answer, however long it takes."""
    found = asked(lab, number)
    while not isinstance(found, Idea | Again | Exhausted | Failed):
        said = found.poll()
        if said is not None:
            return said
        asking.clock.sleep(1.0)
    return found


def test_an_idea_is_an_edit_of_editable_files_only(lab: Asking) -> None:
    """Another source than any on record, in files that may be edited, that parses; planned, described and signed."""
    with lab.lab() as opened:
        opened.begin(ideas=9, hours=None, seed=1)
        for number in range(3):
            idea = answered(opened, lab, number)
            assert isinstance(idea, Idea)
            assert set(idea.files) == {"train.py"}
            assert parse(idea.files["train.py"]) is not None
            assert opened.sources.identify(idea.files) not in opened.history.experiments
            assert idea.description.isprintable() and idea.plan.emitter and idea.plan.brief and idea.plan.phase
            assert idea.changes
            opened.propose(idea, opened.history.state(opened.baseline()).experiment)


def test_asking_changes_no_history(lab: Asking) -> None:
    """What a proposer is shown stays as it was; what asking costs goes into the ledger."""
    with lab.lab() as opened:
        opened.begin(ideas=9, hours=None, seed=1)
        before = (opened.history.seq, dict(opened.history.experiments), list(opened.history.consulted))
        answered(opened, lab, 0)
        assert (opened.history.seq, dict(opened.history.experiments), list(opened.history.consulted)) == before


def test_an_idea_that_is_not_wanted_any_more_leaves_nothing(lab: Asking) -> None:
    """Cancelled, a thinking has no process, no workspace and no answer; the next question is answered."""
    with lab.lab() as opened:
        opened.begin(ideas=9, hours=None, seed=1)
        found = asked(opened, 0)
        if not isinstance(found, Idea | Again | Exhausted | Failed):
            assert found.poll() is None
            found.cancel()
            assert with_variable(FOR_LAB, str(lab.root)) == []
            assert not list((lab.root.parent / "cache").rglob("agent-*"))
        assert isinstance(answered(opened, lab, 1), Idea)


def test_a_whole_night(lab: Asking) -> None:
    """As many ideas as were ordered are run and judged, and the night ends well."""
    history = lab.night(ideas=4)
    assert history.night is not None and history.night.ended is not None
    assert history.night.ended.reason == "all ideas are tried"
    ideas = [s for s in history.experiments.values() if s.experiment.parent is not None]
    assert len(ideas) == 4
    assert all(not state.is_open for state in ideas)
