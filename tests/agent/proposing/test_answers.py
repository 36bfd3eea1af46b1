"""Lists of ideas, read."""

from __future__ import annotations

import pytest

from nightlab.agent.proposing.answers import LONGEST, MOST, ideas_of, settings_in, without_thoughts
from nightlab.search.knobs import find_knobs

KNOBS = find_knobs({"train.py": "LR = 0.1\nDEPTH = 4\nNAME = 'a'\nprint(LR, DEPTH, NAME)\n"}, on_gpu=False)


@pytest.mark.parametrize(
    "answer",
    [
        "1. raise LR | it is low\n2. fewer layers | faster\n",
        "Here are my ideas:\n\n1) **raise LR** | it is low\n2) `fewer layers` | faster\n\nGood luck!",
        "- raise LR | it is low\n* fewer layers | faster",
        "1. raise LR - it is low\n2. fewer layers \u2014 faster",
        '```json\n["raise LR | it is low", "fewer layers | faster"]\n```',
        '[{"idea": "raise LR", "why": "it is low"}, {"idea": "fewer layers", "why": "faster"}]',
    ],
)
def test_lists_that_are_understood(answer: str) -> None:
    """Numbers, bullets or JSON: the same ideas with the same reasons."""
    assert [(line.text, line.reason) for line in ideas_of(answer)] == [
        ("raise LR", "it is low"),
        ("fewer layers", "faster"),
    ]


@pytest.mark.parametrize("answer", ["", "I cannot help with that.", "[1, 2]", "{", "[" * 100_000, "\x00\x1b"])
def test_what_is_no_list_has_no_ideas(answer: str) -> None:
    """Prose is never taken for ideas."""
    assert ideas_of(answer) == ()


def test_ideas_are_bounded_and_harmless() -> None:
    """At most so many, each once, on one line of bounded length without control characters."""
    answer = "\n".join(f"{n}. idea {n % 20}\x1b[31m \u202e{'x' * 500}" for n in range(1, 60))
    found = ideas_of(answer)
    assert len(found) == MOST == len({line.text for line in found})
    assert all(len(line.text) <= LONGEST and line.text.isprintable() for line in found)


def test_thoughts_are_left_out() -> None:
    """What a model thinks aloud before its answer is none of it, ended or not."""
    assert without_thoughts("<think>1. no\n2. no</think>\n1. yes") == "1. yes"
    assert without_thoughts("<think>1. no") == ""


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("LR = 0.2", {"LR": "0.2"}),
        ("LR 0.1 -> 0.2", {"LR": "0.2"}),
        ("raise LR from 0.1 to 0.2, DEPTH = 6", {"LR": "0.2", "DEPTH": "6"}),
        ("set DEPTH to 6", {"DEPTH": "6"}),
        ("LR = 2e-1.", {"LR": "2e-1"}),
        ("LR = 0.2 and use swiglu", {}),
        ("WIDTH = 5", {}),
        ("LR = 0.2, WIDTH = 5", {}),
        ("LR = high", {}),
        ("use swiglu", {}),
        ("", {}),
    ],
)
def test_ideas_that_only_set_constants(text: str, settings: dict[str, str]) -> None:
    """Only what does nothing else is foretold as a move of constants."""
    assert {change.name: change.new for change in settings_in(text, KNOBS)} == settings
