"""Who had the ideas and what that cost, as report and `--json` tell it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nightlab.config import Settings
from nightlab.ledger import Ledger
from nightlab.report.morning import render
from nightlab.report.proposers import proposer_lines, proposers_section
from nightlab.report.summary import summarise
from nightlab.types import (
    Consulted,
    Decision,
    Ended,
    Event,
    Judged,
    NightBegan,
    NightId,
    Proposed,
    Purpose,
    Started,
    Usage,
    Verdict,
)
from tests.builders import EPOCH, ended, experiment, experiment_name, finished, run
from tests.nights import fold

MODEL = "openai:small"


def idea(name: str, proposer: str, emitter: str = "local_tuner") -> list[Event]:
    made = experiment(name, parent="base", emitter=emitter)
    start = Started(run=run(f"r-{name}", name, purpose=Purpose.IDEA))
    end = Ended(run=start.run.id, outcome=finished(0.9), usage=Usage(wall_s=60.0, cpu_s=60.0))
    return [Proposed(experiment=replace(made, plan=replace(made.plan, proposer=proposer))), start, end]


def judged(name: str, decision: Decision, gain: float) -> Judged:
    verdict = Verdict(
        experiment=experiment_name(name), champion=experiment_name("base"), decision=decision, because="so", gain=gain
    )
    return Judged(verdict=verdict)


def call(**told: object) -> Consulted:
    return replace(Consulted(proposer=MODEL, purpose="ideas", seconds=30.0), **told)  # type: ignore[arg-type]


BEGINNING: list[Event] = [
    Proposed(experiment=experiment("base")),
    Started(run=run("r0", "base", purpose=Purpose.BASELINE)),
    ended("r0", finished(1.0)),
    NightBegan(night=NightId("n1"), seed=0, ideas=9, hours=None, baseline=experiment_name("base")),
]
STORY: list[Event] = [
    *BEGINNING,
    call(tokens_in=1000, tokens_out=200, money=0.25),
    call(failure="HTTP 500: | no *luck*", estimated=True),
    call(purpose="edit", tokens_in=2000, tokens_out=800, money=0.75),
    *idea("a", MODEL),
    judged("a", Decision.KEEP, 0.1),
    *idea("b", ""),
    judged("b", Decision.DISCARD, -0.1),
    *idea("c", MODEL),
    judged("c", Decision.DISCARD, -0.1),
    call(failure="it was cut off", cut_off=True),
    *idea("d", "", emitter="try"),
]


def test_each_proposer_s_account() -> None:
    """Ideas, runs, keeps, calls, tokens, money and time; per run and per keep; people's ideas are nobody's of these."""
    model, built_in = proposer_lines(fold(*STORY))
    assert (model.proposer, model.ideas, model.runs, model.kept, model.keeps) == (MODEL, 2, 2, 1, (2,))
    assert (model.calls, model.failures, model.tokens_in, model.tokens_out) == (4, 1, 3000, 1000)
    assert model.gain == pytest.approx(0.1)
    assert (model.money, model.money_per_run, model.money_per_keep) == (1.0, 0.5, 1.0)
    assert (model.tokens_per_run, model.tokens_per_keep) == (2000.0, 4000.0)
    assert model.minutes == 2.0
    assert not model.estimated  # what was reckoned came to nothing
    assert (built_in.proposer, built_in.ideas, built_in.kept, built_in.money_per_keep) == ("builtin", 1, 0, None)


def test_a_lab_of_the_search_alone_says_nothing_of_it() -> None:
    """Without a model or an agent there is no section and no account."""
    history = fold(*BEGINNING, *idea("b", ""))
    assert proposer_lines(history) == ()
    assert proposers_section(history) == []


def test_what_failed_is_told_and_what_was_cut_off_is_not() -> None:
    """The latest failures are quoted as words, without markup of their own; one row each above them."""
    section = "\n".join(proposers_section(fold(*STORY)))
    assert "| openai:small | 2 | 1 (#2) | 4 | 1 | 4,000 | 1.00 | 2 min | 0.50 | 1.00 |" in section
    assert "| builtin | 1 | 0 | - | - | - | - | - | - | - |" in section
    assert r"HTTP 500: \| no \*luck\*" in section
    assert "cut off" not in section


def test_a_model_that_never_had_an_idea_is_told_of() -> None:
    """What it cost stands there though nothing ran."""
    (line,) = proposer_lines(fold(*BEGINNING, call(failure="HTTP 401: no", tokens_in=10, estimated=True)))
    assert (line.ideas, line.failures, line.money_per_run, line.estimated) == (0, 1, None, True)


def test_report_and_json_tell_the_same(tmp_path: Path) -> None:
    """The section stands in the morning report, the account in what `status --json` prints."""
    history, settings = fold(*STORY), Settings(root=tmp_path)
    with Ledger.open(settings.database) as ledger:
        text = render(history, ledger.records, settings, EPOCH + 7200)
    assert "## Who Had The Ideas" in text
    assert summarise(history, settings, EPOCH + 7200).proposers == proposer_lines(history)
