"""The parser is a program of others: what happens where it is missing or fails, and where bash reads otherwise."""

from __future__ import annotations

import json
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from nightlab.agent.policy import Ground, judge, shell, shfmt
from nightlab.agent.policy.shell import parse
from nightlab.agent.policy.syntax import ParserError

DATA = Path(__file__).parent / "data"
CORPORA = ("corpus", "held_out", "unseen")
GROUND = Ground(root=Path("/work/lab"), cwd=Path("/work/lab"), home=Path("/home/user"), branch="autoresearch/mar5")
HARMLESS = "grep -c x train.py | tail -1"
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="the stand-ins are shell scripts")


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A directory of programs that is the only one on PATH; neither Python nor its scripts have shfmt beside them."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python" / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path / "scripts"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin").mkdir()
    shfmt.program.cache_clear()
    shell._asked.cache_clear()
    yield tmp_path / "bin"
    shfmt.program.cache_clear()
    shell._asked.cache_clear()


def stand_in(folder: Path, script: str) -> None:
    """A program named shfmt that does what the script says."""
    (folder / "shfmt").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (folder / "shfmt").chmod(0o755)


def rule(command: str, ground: Ground = GROUND) -> str | None:
    refusal = judge(command, ground)
    return refusal.rule if refusal else None


def test_without_the_parser_only_plain_words_run(nowhere: Path) -> None:
    """Where shfmt is missing, what needs it is refused and the refusal says how to mend it; plain words are judged."""
    refusal = judge(HARMLESS, GROUND)
    assert refusal is not None and refusal.rule == "unreadable"
    assert "shfmt" in refusal.reason and "not installed" in refusal.reason
    assert "nightlab agents doctor" in refusal.instead
    for command in ("git status", "nightlab agents doctor", "uv run prepare.py"):
        assert rule(command) is None
    assert rule("git push") == "publish"
    assert rule("cp /tmp/x prepare.py") == "protected"


def test_without_the_parser_no_script_passes_unread(nowhere: Path, tmp_path: Path) -> None:
    """A script that is started by plain words is not let pass because nobody can read it."""
    (tmp_path / "ship.sh").write_text("cd x && git push\n", encoding="utf-8")
    ground = Ground(root=tmp_path, cwd=tmp_path, home=Path("/home/user"), branch="x", read=Path.read_text)
    assert rule("bash ship.sh", ground) == "unreadable"


@posix_only
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("kill -9 $$", "status -9"),
        ("exit 2", "status 2"),
        ("exec sleep 20", "longer than"),
        ("echo '{'", "form"),
        ('echo \'{"Stmts": [{"Cmd": {"Type": "NewClause"}}]}\'', "form"),
    ],
)
def test_a_parser_that_fails_lets_nothing_pass(
    nowhere: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str
) -> None:
    """Killed, in trouble, too slow, or of another form: the command is refused, and the reason says which it was."""
    monkeypatch.setenv("PATH", f"{nowhere}:/bin:/usr/bin")
    monkeypatch.setattr(shfmt, "PATIENCE_S", 0.5)
    stand_in(nowhere, script)
    refusal = judge(HARMLESS, GROUND)
    assert refusal is not None and words in refusal.reason and "nightlab agents doctor" in refusal.instead


@posix_only
def test_a_parser_that_cannot_be_started_lets_nothing_pass(nowhere: Path) -> None:
    """A file that is no program is a failure like others."""
    (nowhere / "shfmt").write_bytes(b"\x7fELF nonsense")
    (nowhere / "shfmt").chmod(0o755)
    with pytest.raises(ParserError, match="cannot be started"):
        parse(HARMLESS)


@posix_only
def test_the_parser_is_found_on_path(nowhere: Path) -> None:
    """A shfmt on PATH is taken where Python's environment has none."""
    stand_in(nowhere, "echo '{}'")
    assert shfmt.program() == str(nowhere / "shfmt")


def plain_commands() -> list[str]:
    """The commands of our corpora that are a few plain words."""
    lines = [line for name in CORPORA for line in (DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
    commands = [json.loads(line)["command"] for line in lines]
    return [one for one in commands if shell._PLAIN.fullmatch(one) and one.split()[0] not in shell._RESERVED]


def test_plain_words_start_no_process(nowhere: Path) -> None:
    """The usual command of a few words is read where there is no parser to start."""
    commands = plain_commands()
    assert len(commands) > 300
    for command in commands:
        parse(command)


@pytest.mark.parametrize("word", sorted(shell._RESERVED))
def test_reserved_words_are_not_plain(word: str, nowhere: Path) -> None:
    """A command that begins with a word of the grammar is left to the parser."""
    with pytest.raises(ParserError):
        parse(f"{word} x")


def test_plain_words_read_as_the_parser_reads_them() -> None:
    """The short way makes the very tree that the long one makes."""
    for command in (" git  log --oneline\t-5 ", "x a=b +c", "export A=1 B+=2 -x", "in x", *plain_commands()[::10]):
        assert parse(command) == shell._asked(command)


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("!(git push)", "unreadable"),  # a pattern to mvdan/sh, `! (git push)` to bash
        ("if !(git push); then ls; fi", "unreadable"),
        ("echo \"${X:-'$(git push)'}\"", "unreadable"),  # no quotation marks there, to bash
        ("coproc X=1 git push", "unreadable"),  # the program is `X=1`, to mvdan/sh
        ("coproc 2>/dev/null git push", "unreadable"),
        ("cat <<'A'\nA\r\ncat <<'B'\nA\ngit push\nB", "publish"),  # mvdan/sh drops the carriage return and ends there
        ("git push\r", "publish"),
        ("case x in $(git push)) ;; esac", "publish"),
        ("A=(x); echo ${A[$(git push)]}", "unreadable"),
        ("A[$(git push)]=1", "unreadable"),
        ("ls @($(git push)|b)", "unreadable"),
        ("A=([0]=git [1]=push); ${A[@]}", "publish"),
        ("A=([1]=push [0]=git); ${A[@]}", "unreadable"),
        ("git push\0", "unreadable"),
        ("python - <<-E\n\tp = 'prepare.py'\n\topen(p, 'w')\n\tE", "protected"),  # tabs are no indentation there
    ],
)
def test_nothing_hides_where_bash_reads_otherwise(command: str, expected: str) -> None:
    """Where mvdan/sh and bash differ, or our tree has no place, the command is read as bash does or refused."""
    assert rule(command) == expected


@pytest.mark.parametrize(
    "command",
    [
        "echo \"${X:-'none'}\"",
        "cat > notes.md <<'EOF'\r\nline\r\nEOF\r\n",
        "declare -A m=([a]=1 [b]=2); echo ${m[a]}",
        "case $X in a|b) ls;; *) echo no;; esac",
        "echo ${A[$i+1]} ${A[-1]}",
    ],
)
def test_harmless_forms_of_the_same_run(command: str) -> None:
    """The care for those differences does not cost their harmless kin."""
    assert rule(command) is None


def test_a_here_document_without_an_end_is_refused_by_its_name() -> None:
    """Bash takes the rest of the text with a warning; we say which last line is missing."""
    refusal = judge("cat > train.py <<'EOF'\nprint(1)\n", GROUND)
    assert refusal is not None and refusal.rule == "unreadable" and "EOF" in refusal.reason


def test_scripts_in_scripts_end() -> None:
    """Each text that a command starts may cost a process, so there is a bound on them, and beyond it a refusal."""
    assert rule(";".join(f"eval 'echo {place}'" for place in range(20))) is None
    refusal = judge(";".join(f"eval 'echo {place}'" for place in range(300)), GROUND)
    assert refusal is not None and "too many scripts" in refusal.reason
