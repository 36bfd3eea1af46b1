"""Who is asked: one bandit over gain per minute, read from the ledger."""

from __future__ import annotations

import shlex
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest

from nightlab.agent.proposing.fake import Refuse, ScriptedEndpoint
from nightlab.agent.proposing.team import proposer_of
from nightlab.config import ModelSettings, Settings
from nightlab.errors import UsageError
from nightlab.git import Git
from nightlab.history import History
from nightlab.ledger import Ledger
from nightlab.planned import built_in
from nightlab.search.commission import commission
from nightlab.search.credit import BUILT_IN, FLOOR, drawn_of, earned_by_proposers
from nightlab.types import (
    EMITTERS,
    Consulted,
    Decision,
    Ended,
    Event,
    Judged,
    NightBegan,
    NightId,
    Proposed,
    Started,
    Usage,
    Verdict,
)
from tests.agent.proposing.asking import MODEL, Writer, bench, who
from tests.builders import Repo, ended, experiment, experiment_name, finished, run
from tests.nights import fold

RICH = "LR = 0.1\nDEPTH = 8\nWIDTH = 64\nDECAY = 0.5\nBATCH = 32\nprint(LR, DEPTH, WIDTH, DECAY, BATCH)\n"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither key nor address of whoever runs the tests."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def story(*ideas: tuple[str, float, float]) -> History:
    """A night in which proposers had ideas: who, the chance that it is better, and the seconds that having it took."""
    events: list[Event] = [
        Proposed(experiment=experiment("base")),
        Started(run=run("r", "base")),
        ended("r", finished(1.0)),
        NightBegan(night=NightId("n"), seed=0, ideas=None, hours=9.0, baseline=experiment_name("base")),
    ]
    for number, (name, chance, seconds) in enumerate(ideas):
        made = experiment(f"i{number}", parent="base", emitter="local_tuner")
        proposer = "" if name == BUILT_IN else name
        if seconds:
            events.append(Consulted(proposer=proposer, purpose="ideas", seconds=seconds))
        verdict = Verdict(
            experiment=made.id,
            champion=experiment_name("base"),
            decision=Decision.DISCARD,
            because="so",
            gain=0.1 if chance > 0.5 else -0.1,
            low=-0.3,
            high=0.3,
            probability=chance,
        )
        start = Started(run=run(f"r{number}", f"i{number}"))
        end = Ended(run=start.run.id, outcome=finished(1.0), usage=Usage(wall_s=60.0, cpu_s=60.0))
        events += [
            Proposed(experiment=replace(made, plan=replace(made.plan, proposer=proposer))),
            start,
            end,
            Judged(verdict=verdict),
        ]
    return fold(*events)


def draws(history: History, *names: str) -> Counter[str]:
    known = earned_by_proposers(history, experiment_name("base"), names)
    return Counter(drawn_of(known, Random(f"{seed}")) for seed in range(600))


def test_who_gains_more_a_minute_is_asked_more() -> None:
    """After twenty ideas each, the better half of two equals in cost has most of the draws, and the other its floor."""
    found = draws(story(*[(MODEL, 0.9, 0.0), (BUILT_IN, 0.1, 0.0)] * 20), BUILT_IN, MODEL)
    assert found[MODEL] > 4 * found[BUILT_IN]
    assert found[BUILT_IN] >= 0.5 * FLOOR / 2 * 600


def test_time_spent_thinking_counts() -> None:
    """Of two that gain alike, the one that thinks ten minutes an idea is asked less than the one that needs none."""
    found = draws(story(*[(MODEL, 0.6, 600.0), (BUILT_IN, 0.6, 0.0)] * 20), BUILT_IN, MODEL)
    assert found[BUILT_IN] > 4 * found[MODEL]


def test_time_that_brought_nothing_counts_too() -> None:
    """Fruitless calls of this night make a proposer's minutes dearer before it has had a single idea."""
    history = story(*[(BUILT_IN, 0.6, 0.0)] * 5)
    free = earned_by_proposers(history, experiment_name("base"), (BUILT_IN, MODEL))[MODEL]
    call = Consulted(proposer=MODEL, purpose="ideas", seconds=600.0, failure="HTTP 500")
    for recorded in fold(call).consulted:
        recorded.night = NightId("n")
        history.consulted.append(recorded)
    assert earned_by_proposers(history, experiment_name("base"), (BUILT_IN, MODEL))[MODEL].rate < free.rate / 3


def test_a_mixed_night_has_ideas_of_each(tmp_path: Path) -> None:
    """Built-in search and model share a night, and the built-in search's ideas carry no other name."""
    with ScriptedEndpoint(Writer(anchor="LR = 0.1")) as server:
        lab = bench(tmp_path / "lab", server.base_url)
        lab.repo.commit({"train.py": RICH})
        lab.proposers = (BUILT_IN, MODEL)
        history = lab.night(ideas=12)
    assert set(who(history)) == {"", MODEL}


def test_one_that_is_dead_leaves_the_night_to_the_others(tmp_path: Path) -> None:
    """A model that always fails beside an agent that works: the agent and the built-in search have all ideas."""
    (tmp_path / "agent.py").write_text(
        "import os, pathlib\npath = pathlib.Path('train.py')\n"
        "path.write_text(path.read_text() + f'X{os.getpid()} = 1\\n')\n"
    )
    with ScriptedEndpoint(lambda _: Refuse(500)) as server:
        lab = bench(tmp_path / "lab", server.base_url)
        lab.repo.commit({"train.py": RICH})
        lab.proposers = (MODEL, shlex.join([sys.executable, str(tmp_path / "agent.py")]))
        history = lab.night(ideas=5)
    assert set(who(history)) == {Path(sys.executable).name}


def test_the_built_in_search_answers_in_a_mix_as_it_would_alone(tmp_path: Path) -> None:
    """Asked in company, with the same generator, it has the very idea that `nightlab next` shows."""
    lab = bench(tmp_path / "lab", "http://127.0.0.1:9/v1")
    lab.repo.commit({"train.py": RICH})
    lab.proposers = (BUILT_IN, MODEL)
    with lab.lab() as opened:
        opened.begin(ideas=9, hours=None, seed=1)
        base = opened.history.state(opened.baseline()).experiment
        files = opened.sources.at(base.commit)
        search = built_in(lab.settings, lab.git, on_gpu=False)
        same = 0
        for number in range(8):
            alone = search.propose(opened.history, base.id, files, Random(f"1:{number}"))
            found = opened.proposer.propose(opened.history, base.id, files, Random(f"1:{number}"))
            if hasattr(found, "cancel"):
                found.cancel()
            else:
                same += found == alone
                assert found == alone
        assert same


def test_a_plan_for_others_is_a_function_of_ledger_and_seed() -> None:
    """The same history and generator give the same plan: an emitter with its brief, a phase, claims that exist."""
    history = story(*[(MODEL, 0.9, 1.0), (BUILT_IN, 0.1, 0.0)] * 6)
    plans = [commission(history, experiment_name("base"), Random(seed)) for seed in range(40)]
    assert plans == [commission(history, experiment_name("base"), Random(seed)) for seed in range(40)]
    assert {plan.emitter for plan in plans} <= set(EMITTERS)
    assert len({plan.emitter for plan in plans}) > 3
    assert all(plan.brief and plan.phase and plan.cites for plan in plans)
    assert {p.niche.partition("/")[0] for p in plans if p.emitter == "optimizer_hacker"} <= {
        "optimizer",
        "schedule",
        "regularization",
    }


# --- names ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "model", "problem"),
    [
        (["openai:"], {}, "names no model"),
        (["openai:gpt"], {}, "OPENAI_API_KEY is not set"),
        (["openai:gpt"], {"key_variable": "MINE"}, "MINE is not set"),
        (["bultin"], {}, "there is no command 'bultin'"),
        (["sh 'x"], {}, "quotation mark"),
        ([""], {}, "names nobody"),
        (["openai:m"], {"max_cost": 1.0, "base_url": "http://127.0.0.1:9/v1"}, "what a token costs"),
    ],
)
def test_names_that_are_none(tmp_path: Path, names: list[str], model: dict[str, str], problem: str) -> None:
    """What cannot be asked is refused before the night begins, with what to do instead."""
    settings = Settings(root=tmp_path / "lab", model=ModelSettings(**model))  # type: ignore[arg-type]
    Repo.make(settings.root)
    git = Git(settings.root)
    with Ledger.open(settings.database) as ledger, pytest.raises(UsageError, match=problem) as caught:
        proposer_of(names, settings, ledger, git, built_in(settings, git, on_gpu=False), on_gpu=False)
    assert caught.value.hint


def test_a_limit_on_models_needs_a_model(tmp_path: Path) -> None:
    """--model-cost beside the built-in search alone would mean nothing, so that it is refused."""
    settings = Settings(root=tmp_path / "lab")
    Repo.make(settings.root)
    git = Git(settings.root)
    search = built_in(settings, git, on_gpu=False)
    with Ledger.open(settings.database) as ledger:
        assert proposer_of([BUILT_IN, BUILT_IN], settings, ledger, git, search, on_gpu=False) is search
        with pytest.raises(UsageError, match="none is asked"):
            proposer_of([BUILT_IN], settings, ledger, git, search, on_gpu=False, model_cost=1.0)
