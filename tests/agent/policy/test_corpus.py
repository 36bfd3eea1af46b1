"""Labelled commands: what must be refused is, what is harmless runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nightlab.agent.policy import Ground, Refusal, judge
from nightlab.agent.policy.noun import altered

DATA = Path(__file__).parent / "data"
SHARED = Path(__file__).parents[4] / "shared" / "data" / "policy_corpus.jsonl"
GROUND = Ground(root=Path("/work/lab"), cwd=Path("/work/lab"), home=Path("/home/user"), branch="autoresearch/mar5")
# What a refusal may call itself, where one command sins against several rules.
SAME = {"delete": {"delete", "protected", "control", "unreadable"}, "control": {"control", "delete"}}
SAME |= {"training": {"training", "unreadable"}, "protected": {"protected", "unreadable"}}


def lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def judged(case: dict[str, str]) -> Refusal | None:
    ground = altered(GROUND, branch=case.get("branch", GROUND.branch))
    return judge(case["command"], ground)


OWN = [case for name in ("corpus", "held_out", "unseen") for case in lines(DATA / f"{name}.jsonl")]


@pytest.mark.parametrize("case", [c for c in OWN if c["expected"] == "allow"], ids=lambda case: case["command"][:60])
def test_a_harmless_command_runs(case: dict[str, str]) -> None:
    """A command that only mentions, reads, uses files of its own or does the loop's work is not refused."""
    assert judged(case) is None


@pytest.mark.parametrize("case", [c for c in OWN if c["expected"] == "deny"], ids=lambda case: case["command"][:60])
def test_an_evasion_is_refused_for_what_it_does(case: dict[str, str]) -> None:
    """However it is spelt, the command is refused, under the rule that it is against and with a way out."""
    refusal = judged(case)
    assert refusal is not None
    allowed = SAME.get(case["intent"], {case["intent"]})
    assert refusal.rule in allowed or case["intent"] in {"unreadable", "mixed"}
    assert refusal.reason.endswith(".") and refusal.instead.endswith(".")


@pytest.mark.skipif(not SHARED.exists(), reason="the shared corpus is not beside the checkout")
def test_the_shared_corpus() -> None:
    """Each command of the shared corpus is judged as its label says."""
    wrong = [c["command"] for c in lines(SHARED) if ("deny" if judged(c) else "allow") != c["expected"]]
    assert wrong == []


@pytest.mark.parametrize("name", ["corpus", "held_out", "unseen"])
def test_the_corpora_are_large_and_have_no_twins(name: str) -> None:
    """Each of our corpora has at least 60 commands of either label, and none twice."""
    cases = lines(DATA / f"{name}.jsonl")
    assert len({case["command"] for case in cases}) == len(cases)
    for label in ("allow", "deny"):
        assert sum(case["expected"] == label for case in cases) >= 60
