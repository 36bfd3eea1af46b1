"""The shell as bash reads it: what is a command, and what its words become."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from nightlab.agent.policy import Ground
from nightlab.agent.policy.machine import Handler, Machine
from nightlab.agent.policy.shell import parse
from nightlab.agent.policy.state import Call, Streams
from nightlab.agent.policy.syntax import UnreadableError
from nightlab.agent.policy.values import PIECE, UNKNOWN

DATA = Path(__file__).parent / "data"
BASH = shutil.which("bash")
needs_bash = pytest.mark.skipif(BASH is None, reason="bash is not installed")


def calls(command: str) -> list[tuple[str, ...]]:
    """The arguments of each call of `show` that the command makes."""
    found: list[tuple[str, ...]] = []

    def show(_: Machine, call: Call) -> str:
        found.append(call.args)
        return ""

    from nightlab.agent.policy import HANDLERS

    handlers: dict[str, Handler] = {**HANDLERS, "show": show}
    ground = Ground(root=Path("/lab"), cwd=Path("/lab"), home=Path("/home/user"), branch="")
    Machine(ground, handlers).run(parse(command), Streams())
    return found


SCRIPTS = [
    "show a 'b c' \"d e\" f\\ g ''",
    "show a\"b\"'c'd",
    "show $'a\\x41\\n\\102' $\"x\"",
    "X=ab; show $X \"${X}c\" ${X}d '$X'",
    "X='a  b'; show $X \"$X\"",
    'X=; show $X "$X" end',
    "show {a,b}c x{1,2}{3,4} {} {x} a{b 'q{a,b}'",
    "show {a,{b,c}}d",
    "X=train.py; show ${X%.py} ${X%%r*} ${X#tr} ${X##*i} ${X/train/eval} ${X//i/I} ${X^^} ${X:1:3} ${X: -2}",
    'show ${UNSET_A:-x y} "${UNSET_A:-x y}" ${UNSET_A-z}',
    "X=1; show ${X:+set}",
    'A=(a \'b c\' d); show "${A[@]}" ${A[1]} "${A[*]}" ${A[0]}',
    'A=(a); A+=(b); show "${A[@]}"',
    "X=a; X+=b; show $X",
    'set -- p \'q r\'; show "$@" $2 "$*"',
    "set -- p q; shift; show $1",
    'show $(echo a b) "$(echo a b)" `echo c`',
    "show \"$(printf '%s-%s' a b)\"",
    "show $(echo '$(x)')",
    'X=$(echo hi); show "$X"',
    "Y=X; X=v; show ${!Y}",
    "for i in a 'b c'; do show \"$i\"; done",
    'f() { show "$1"; }; f a',
    'cat <<EOF >/dev/null; show after\ntext $(show inside) "quoted"\nEOF',
    "cat <<'EOF' >/dev/null\n$(show inside)\nEOF\nshow after",
    "cat <<A <<B >/dev/null; show x\n1\nA\n2\nB\nshow y",
    "cat <<-EOF >/dev/null\n\ttext\n\tEOF\nshow z",
    "show a # comment\n# show b\nshow c#d",
    "show a \\\n  b",
    "if true; then show a; elif false; then :; fi; case x in (x|y) show b;; esac",
    "[[ a == a && $(show in) ]]; show $((1+2))",
    "{ show a; } > /dev/null 2>&1; (show b) | cat",
    'read -r a b <<< \'x y z\'; show "$a" "$b"',
    "eval 'show a' \"show\" b",
    "printf -v V '%s' q; show $V",
    'show ~/x ~ a~ "~"',
    "! show a; time show b",
    "show a& show b; wait",
    "while true; do show a; break; done",
    'select_me() ( show "$*" ); select_me 1 2',
    "show 2>/dev/null a >/dev/null b",
    "export E=1 F='a b'; show $E \"$F\"",
    "x='show a'; $x",
    "show 'é ü' \"日本\"",
]


@needs_bash
@pytest.mark.parametrize("script", SCRIPTS)
def test_words_become_what_bash_makes_of_them(script: str, tmp_path: Path) -> None:
    """Quotes, variables, braces, substitutions and here-documents expand as in bash."""
    log = tmp_path / "log"
    prologue = f"HOME=/home/user; show() {{ {{ printf '%s\\0' \"$@\"; printf '\\1\\0'; }} >> {log}; }}\n"
    assert BASH is not None
    subprocess.run([BASH, "-c", prologue + script], check=False, timeout=20, capture_output=True, cwd=tmp_path)
    text = log.read_text(encoding="utf-8")
    real = {tuple(one.split("\0")[:-1]) for one in text.split("\1\0")[:-1]}
    ours = {tuple(arg.replace(PIECE, "3") for arg in args) for args in calls(script)}
    assert ours == real


@needs_bash
def test_bash_and_the_parser_agree_on_what_is_a_command() -> None:
    """Every command of the corpora that bash can parse is parsed, and none that it cannot."""
    assert BASH is not None
    for name in ("corpus", "held_out", "unseen"):
        for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines():
            command = json.loads(line)["command"]
            accepted = subprocess.run([BASH, "-n", "-c", command], check=False, capture_output=True).returncode == 0
            try:
                parse(command)
                ours = True
            except UnreadableError:
                ours = False
            assert ours == accepted, command


@pytest.mark.parametrize(
    "command",
    [
        "echo 'a",
        'echo "a',
        "echo $(ls",
        "echo `ls",
        "echo ${x",
        "if true; then ls",
        "ls |",
        "ls > ",
        "ls )",
        "case x in a",
        "(ls",
        "{ ls",
        "a=(1",
        "&& ls",
        "ls ;; ls",
        "for x in a; ls",
        "$'a",
    ],
)
def test_what_bash_refuses_is_unreadable(command: str) -> None:
    """Text that is no command raises the one error, whose message says what is missing."""
    with pytest.raises(UnreadableError) as caught:
        parse(command)
    assert str(caught.value)


def test_either_value_of_a_variable_is_followed() -> None:
    """After a branch, a variable may have what either arm gave it."""
    assert calls("if x; then V=a; else V=b; fi; show $V") == [("a",), ("b",)]


def test_what_is_not_known_is_a_hole() -> None:
    """A variable of the environment and the output of a program we do not know are holes, not empty text."""
    assert calls('show "$FROM_OUTSIDE" $(some-program)') == [(UNKNOWN, UNKNOWN)]


def test_a_subshell_keeps_its_changes() -> None:
    """Directory and variables set in a subshell or a pipeline are gone behind it."""
    assert calls("(cd /x; X=1; show $PWD $X); show $PWD") == [("/x", "1"), ("/lab",)]
