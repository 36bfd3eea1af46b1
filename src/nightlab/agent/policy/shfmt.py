"""mvdan/sh's parser of bash, asked as a program: `shfmt --to-json` reads a script and prints its tree.

The structs below are the parts of that tree that we use, under its own names and in its own nesting; what it leaves out
is empty. They are decoded here and go no further than `translate`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
from functools import cache

import msgspec

from nightlab.agent.policy.syntax import ParserError, UnreadableError

PATIENCE_S = 5.0  # people write what takes milliseconds; 60 000 commands in one text take two seconds
MAX_ANSWER = 8_000_000  # bytes; 5 000 commands of one word, or 15 000 words of one command
SYNTAX_ERROR = 1  # the exit status for a text that bash would refuse too; others are the program's own trouble


class _Node(msgspec.Struct, frozen=True, rename="pascal"):
    pass


class _Tagged(_Node, frozen=True, tag_field="Type", tag=True):
    pass


# --- words


class Lit(_Tagged, frozen=True):
    value: str = ""


class SglQuoted(_Tagged, frozen=True):
    value: str = ""
    dollar: bool = False


class DblQuoted(_Tagged, frozen=True):
    parts: tuple[WordPart, ...] = ()


class Slice(_Node, frozen=True):
    offset: Arithm | None = None
    length: Arithm | None = None


class Replace(_Node, frozen=True):
    orig: Word | None = None
    with_: Word | None = msgspec.field(default=None, name="With")
    all: bool = False


class Expansion(_Node, frozen=True):
    op: str
    word: Word | None = None


class ParamExp(_Tagged, frozen=True):
    param: Lit | None = None
    short: bool = False
    excl: bool = False
    length: bool = False
    index: Arithm | None = None
    slice: Slice | None = None
    repl: Replace | None = None
    names: str = ""
    exp: Expansion | None = None


class CmdSubst(_Tagged, frozen=True):
    stmts: tuple[Stmt, ...] = ()


class ProcSubst(_Tagged, frozen=True):
    op: str
    stmts: tuple[Stmt, ...] = ()


class ArithmExp(_Tagged, frozen=True):
    x: Arithm | None = None


class ExtGlob(_Tagged, frozen=True):
    op: str
    pattern: Lit


WordPart = Lit | SglQuoted | DblQuoted | ParamExp | CmdSubst | ProcSubst | ArithmExp | ExtGlob


class Word(_Tagged, frozen=True):
    parts: tuple[WordPart, ...] = ()


# --- arithmetic and tests


class BinaryArithm(_Tagged, frozen=True):
    op: str
    x: Arithm
    y: Arithm


class UnaryArithm(_Tagged, frozen=True):
    op: str
    x: Arithm
    post: bool = False


class ParenArithm(_Tagged, frozen=True):
    x: Arithm


Arithm = BinaryArithm | UnaryArithm | ParenArithm | Word


class BinaryTest(_Tagged, frozen=True):
    x: TestExpr
    y: TestExpr


class UnaryTest(_Tagged, frozen=True):
    x: TestExpr


class ParenTest(_Tagged, frozen=True):
    x: TestExpr


TestExpr = BinaryTest | UnaryTest | ParenTest | Word


# --- commands


class ArrayElem(_Node, frozen=True):
    index: Arithm | None = None
    value: Word | None = None


class ArrayExpr(_Node, frozen=True):
    elems: tuple[ArrayElem, ...] = ()


class Assign(_Node, frozen=True):
    append: bool = False
    naked: bool = False
    name: Lit | None = None
    index: Arithm | None = None
    value: Word | None = None
    array: ArrayExpr | None = None


class Redirect(_Node, frozen=True):
    op: str
    word: Word
    n: Lit | None = None
    hdoc: Word | None = None


class CallExpr(_Tagged, frozen=True):
    assigns: tuple[Assign, ...] = ()
    args: tuple[Word, ...] = ()


class DeclClause(_Tagged, frozen=True):
    variant: Lit
    args: tuple[Assign, ...] = ()


class LetClause(_Tagged, frozen=True):
    exprs: tuple[Arithm, ...] = ()


class Subshell(_Tagged, frozen=True):
    stmts: tuple[Stmt, ...] = ()


class Block(_Tagged, frozen=True):
    stmts: tuple[Stmt, ...] = ()


class Arm(_Node, frozen=True):
    """`if`, `elif` or `else`: the same shape three times."""

    cond: tuple[Stmt, ...] = ()
    then: tuple[Stmt, ...] = ()
    else_: Arm | None = msgspec.field(default=None, name="Else")


class IfClause(_Tagged, frozen=True):
    cond: tuple[Stmt, ...] = ()
    then: tuple[Stmt, ...] = ()
    else_: Arm | None = msgspec.field(default=None, name="Else")


class WhileClause(_Tagged, frozen=True):
    cond: tuple[Stmt, ...] = ()
    do: tuple[Stmt, ...] = ()


class Place(_Node, frozen=True):
    offset: int = 0


class WordIter(_Tagged, frozen=True):
    name: Lit
    in_pos: Place | None = None
    items: tuple[Word, ...] = ()


class CStyleLoop(_Tagged, frozen=True):
    init: Arithm | None = None
    cond: Arithm | None = None
    post: Arithm | None = None


class ForClause(_Tagged, frozen=True):
    loop: WordIter | CStyleLoop
    do: tuple[Stmt, ...] = ()


class CaseItem(_Node, frozen=True):
    patterns: tuple[Word, ...] = ()
    stmts: tuple[Stmt, ...] = ()


class CaseClause(_Tagged, frozen=True):
    word: Word
    items: tuple[CaseItem, ...] = ()


class FuncDecl(_Tagged, frozen=True):
    name: Lit
    body: Stmt


class ArithmCmd(_Tagged, frozen=True):
    x: Arithm | None = None


class TestClause(_Tagged, frozen=True):
    x: TestExpr


class TimeClause(_Tagged, frozen=True):
    stmt: Stmt | None = None


class CoprocClause(_Tagged, frozen=True):
    stmt: Stmt


class BinaryCmd(_Tagged, frozen=True):
    op: str
    x: Stmt
    y: Stmt


Command = (
    CallExpr
    | DeclClause
    | LetClause
    | Subshell
    | Block
    | IfClause
    | WhileClause
    | ForClause
    | CaseClause
    | FuncDecl
    | ArithmCmd
    | TestClause
    | TimeClause
    | CoprocClause
    | BinaryCmd
)


class Stmt(_Node, frozen=True):
    cmd: Command | None = None
    redirs: tuple[Redirect, ...] = ()


class File(_Node, frozen=True):
    stmts: tuple[Stmt, ...] = ()


@cache
def program() -> str:
    """Where shfmt lies: beside this Python, among its scripts, or on PATH.

    Raises:
        ParserError: nowhere.
    """
    name = "shfmt.exe" if os.name == "nt" else "shfmt"
    places = [os.path.dirname(sys.executable), sysconfig.get_path("scripts"), *os.get_exec_path()]
    for place in places:
        path = os.path.join(place, name)
        if place and os.access(path, os.X_OK):
            return path
    raise ParserError("is not installed")


def read(text: str) -> File:
    """The tree of `text`, as bash would parse it.

    Raises:
        UnreadableError: bash would refuse the text, or the tree is too large or too deep.
        ParserError: there is no parser, or it has failed.
    """
    try:
        done = subprocess.run(
            [program(), "-ln", "bash", "--to-json"],
            input=text.encode(),
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise ParserError(f"took longer than {PATIENCE_S:g} s") from exc
    except OSError as exc:
        raise ParserError(f"cannot be started ({exc.strerror or exc})") from exc
    said = done.stderr.decode("utf-8", "replace").strip()
    if done.returncode == SYNTAX_ERROR:
        raise UnreadableError(f"the parser stops at {said[:200]}")
    if done.returncode:
        raise ParserError(f"ended with status {done.returncode}")
    if len(done.stdout) > MAX_ANSWER:
        raise UnreadableError("it has too many words")
    try:
        return msgspec.json.decode(done.stdout, type=File)
    except RecursionError as exc:
        raise UnreadableError("it is nested too deeply") from exc
    except msgspec.DecodeError as exc:
        raise ParserError(f"answers in a form that this nightlab does not know ({exc})") from exc
