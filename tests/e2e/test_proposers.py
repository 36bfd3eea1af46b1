"""`nightlab run --proposer` as a user has it: real runs, a scripted endpoint, agents that are scripts, and kill -9."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from nightlab.agent.proposing.fake import Deed, Request, Say, ScriptedEndpoint, Silent
from nightlab.root import FOR_LAB
from nightlab.runner.tree import with_variable
from tests.agent.proposing.asking import edit, wants_ideas
from tests.e2e.labs import TOML, UserLab, make


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither key nor address of whoever runs the tests."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def until(holds: Callable[[], object]) -> None:
    """Wait, for a minute at most, until something holds."""
    for _ in range(6000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


def rates(request: Request) -> Deed:
    """A model that walks the rate up."""
    if wants_ideas(request):
        return Say(text="\n".join(f"{n}. RATE = {0.02 + 0.003 * n:.3f} | too low" for n in range(1, 9)))
    (line,) = (line for line in request.last.split("\n") if line.startswith("| RATE"))
    now = next(line for line in request.everything.split("\n") if line.startswith("RATE = "))
    return Say(text=edit(now, line.removeprefix("| ")))


def lab_of(root: Path, address: str) -> UserLab:
    toml = TOML.format(minutes=1.0) + f'[model]\nbase_url = "{address}"\nprice_in = 1.0\nprice_out = 8.0\n'
    return make(root, toml=toml)


def test_a_night_of_a_model_with_real_runs(tmp_path: Path) -> None:
    """Its ideas run under supervisors; report, show, status and query say who had them and what they cost."""
    with ScriptedEndpoint(rates) as server:
        lab = lab_of(tmp_path / "lab", server.base_url)
        done = lab.nightlab("run", "--runs", "2", "--proposer", "openai:small")
    assert done.code == 0, done.err
    (line,) = (one for one in lab.json("status")["proposers"] if one["proposer"] == "openai:small")
    assert (line["ideas"], line["failures"], line["tokens_in"]) == (2, 0, 1000 * len(server.requests))
    assert line["money"] == pytest.approx(len(server.requests) * 0.0026)
    assert lab.json("show", "2")["proposer"] == "openai:small"
    assert "openai:small" in lab.nightlab("show", "2").out
    assert "## Who Had The Ideas" in (lab.root / "results/memorylab/reports/latest.md").read_text()
    asked = lab.nightlab("query", "SELECT COUNT(*) FROM consultations WHERE experiment IS NOT NULL")
    assert str(len(server.requests)) in asked.out


def test_a_loop_killed_within_a_call_goes_on(tmp_path: Path) -> None:
    """kill -9 while the endpoint is silent: the same command finishes the night, with as many ideas as were ordered."""
    silent = [True]

    def answer(request: Request) -> Deed:
        return Silent() if silent else rates(request)

    with ScriptedEndpoint(answer) as server:
        lab = lab_of(tmp_path / "lab", server.base_url)
        loop = lab.start("run", "--runs", "2", "--proposer", "openai:small")
        until(lambda: server.requests)
        loop.kill()
        loop.wait()
        silent.clear()
        done = lab.nightlab("run", "--proposer", "openai:small")
    assert done.code == 0, done.err
    status = lab.json("status")
    assert (status["night"]["number"], status["night"]["ideas_done"]) == (1, 2)
    assert status["proposers"][0]["ideas"] == 2


def test_an_agent_dies_with_the_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """kill -9 of the loop ends the agent that was at work, and everything that it had started."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "agent.py").write_text(
        "import subprocess, time\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\ntime.sleep(600)\n"
    )
    lab = make(tmp_path / "lab")
    loop = lab.start("run", "--runs", "2", "--proposer", shlex.join([sys.executable, str(tmp_path / "agent.py")]))
    root = os.path.realpath(lab.root)
    until(lambda: len(with_variable(FOR_LAB, root)) >= 3)  # warden, agent and what it started
    loop.kill()
    loop.wait()
    until(lambda: not with_variable(FOR_LAB, root))


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--proposer", "openai:"), "names no model"),
        (("--proposer", "openai:gpt"), "OPENAI_API_KEY is not set"),
        (("--proposer", "no-such-agent exec"), "there is no command 'no-such-agent'"),
        (("--model-cost", "3"), "none is asked"),
        (("--model-cost", "3", "--proposer", "sh"), "none is asked"),
    ],
)
def test_what_cannot_be_asked_is_refused_before_the_night(tmp_path: Path, words: tuple[str, ...], problem: str) -> None:
    """Exit code 2, a reason and what to do instead; no night has begun."""
    lab = make(tmp_path / "lab")
    done = lab.nightlab("run", "--runs", "1", *words)
    assert (done.code, done.out) == (2, "")
    assert problem in done.err and "hint:" in done.err
    assert lab.json("status")["night"] is None
