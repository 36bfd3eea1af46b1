"""Whatever is asked, there is an answer, and soon."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightlab.agent.policy import Ground, Refusal, judge

GROUND = Ground(root=Path("/work/lab"), cwd=Path("/work/lab"), home=Path("/home/user"), branch="autoresearch/x")
COMMANDS = [
    json.loads(line)["command"]
    for line in (Path(__file__).parent / "data" / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
]
MARKS = (
    *("$(", "`", "${", "}", ")", "((", "[[", "'", '"', "\\", "\n", "|", "&&", ";;", "<<E", "<(", "2>&1", "if", "do"),
    *("case x in", "{a,", "a=(", "\ue000", "\x00", "\ud800", "*", "~", "eval ", "python -c "),
)


def answered(command: str) -> None:
    refusal = judge(command, GROUND)
    assert refusal is None or isinstance(refusal, Refusal)


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    """No text raises."""
    answered(text)


@given(st.binary())
def test_any_bytes_are_answered(data: bytes) -> None:
    """Nor do bytes that were decoded with replacement or with surrogates."""
    answered(data.decode("utf-8", "replace"))
    answered(data.decode("utf-8", "surrogateescape"))


@settings(max_examples=300)
@given(st.sampled_from(COMMANDS), st.sampled_from(COMMANDS), st.data())
def test_broken_commands_are_answered(one: str, other: str, data: st.DataObject) -> None:
    """Commands cut, joined and sprinkled with the shell's own marks raise nothing either."""
    text = one[: data.draw(st.integers(0, len(one)))] + other[data.draw(st.integers(0, len(other))) :]
    for mark in data.draw(st.lists(st.sampled_from(MARKS), max_size=4)):
        place = data.draw(st.integers(0, len(text)))
        text = text[:place] + mark + text[place:]
    answered(text)


@given(st.text(max_size=200))
def test_any_python_is_answered(code: str) -> None:
    """Python code that is none, or odd, raises nothing."""
    answered("python - <<'END OF CODE'\n" + code + "\nEND OF CODE")


ENDLESS = {
    "parentheses": "(" * 100_000,
    "substitutions": "$(" * 50_000,
    "braces": "echo " + "{a,b}" * 2000,
    "a long pipeline": "ls|" * 60_000 + "ls",
    "many commands": "ls;" * 60_000,
    "loops in loops": "for a in 1 2; do " * 30 + "ls; " + "done; " * 30,
    "a function that calls itself": "f() { f; f; }; f",
    "an alias of itself": "git config alias.x '!git x; git x'; git x",
    "evals": "eval " * 20_000 + "ls",
    "a value that grows": "x=a; " + "x=$x$x; " * 60 + "echo $x",
    "a text that grows in Python": 'python -c \'\nx="a"*100\n' + "x=x*100\n" * 1000 + "'",
    "Python that calls itself": "python -c '\ndef f(x):\n f(x);f(x);f(x)\nf(1)'",
    "loops in Python": 'python -c \'[[[a for a in "x"*30] for b in "x"*30] for c in "x"*30]\'',
    "brackets in Python": "python -c '" + "[" * 5000 + "'",
    "sums in Python": "python -c 'x=" + "1+" * 20_000 + "1'",
    "patterns": "rm " + "?" * 5000 + "*" * 3000,
    "many files": "rm " + " ".join(f"*{i}*a?*b*c*d" for i in range(2000)),
    "here-documents": "cat <<A\n" + "$(cat <<A\n" * 100,
}


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ENDLESS)
def test_what_could_go_on_for_ever_is_answered(name: str) -> None:
    """Nesting, repetition and growth end in an answer."""
    answered(ENDLESS[name])


def test_a_command_that_is_too_long_is_refused_with_a_way_out() -> None:
    """What is longer than we read is refused, and the refusal says what to do."""
    refusal = judge("echo " + "a" * 300_000, GROUND)
    assert refusal is not None and refusal.rule == "unreadable" and "too long" in refusal.reason and refusal.instead


def test_a_whole_source_file_in_a_here_document_is_read() -> None:
    """Writing a long train.py is no reason to refuse."""
    body = "x = 1  # git push $(rm -rf /)\n" * 3000
    assert judge(f"cat > train.py <<'EOF'\n{body}EOF", GROUND) is None


def test_the_policy_loads_nothing_heavy() -> None:
    """A hook asks the policy before each command: it loads neither numpy nor what models and servers need."""
    code = "import sys, nightlab.agent.policy; print(*sys.modules)"
    src = str(Path(__file__).parents[3] / "src")
    out = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": src}, capture_output=True, text=True, check=True
    )
    assert not {"numpy", "libcst", "mcp", "openai", "rich", "asyncio"} & set(out.stdout.split())
