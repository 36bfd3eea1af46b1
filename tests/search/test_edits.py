"""Edits are data: the applicator makes them exactly or refuses, and those we ship train."""

from __future__ import annotations

import ast
import difflib
import io
import tokenize
from collections import Counter
from functools import lru_cache
from itertools import islice
from pathlib import Path

import pytest

from nightlab.errors import EditError
from nightlab.search import priors
from nightlab.search.catalogue import CATALOGUE
from nightlab.search.edits import Edit, Rewrite, apply_edit
from nightlab.search.source import parse, source_hash
from nightlab.search.text import Text
from nightlab.types import Files

ROOT = Path(__file__).parents[2]
SHIPPED: Files = {"train.py": (ROOT / "train.py").read_text()}


def rewrite(text: str, *rewrites: Rewrite) -> str:
    return apply_edit({"t.py": text}, Edit(name="e", family="f", hypothesis="h", rewrites=rewrites))["t.py"]


@pytest.mark.parametrize(
    ("before", "match", "replacement", "after"),
    [
        ("y = F.relu( x+1 ).square()  # c\n", "F.relu($x).square()", "F.gelu($x)", "y = F.gelu(x + 1)  # c\n"),
        ("y = 2 * f(x)\n", "f($x)", "$x + 1", "y = 2 * (x + 1)\n"),
        ("y = f(x)\n", "f($x)", "$x + 1", "y = x + 1\n"),
        ("y = g(a, b, k=1, j=2)\n", "g($x, *$r, j=2, **$k)", "h(*$r, $x, **$k)", "y = h(b, a, k=1)\n"),
        ("y = d(a, a) + d(a, b)\n", "d($x, $x)", "$x", "y = a + d(a, b)\n"),
        ("if a:\n    x = 1\n    y = 2  # gone\n", "y = 2", "", "if a:\n    x = 1\n"),
        ("if a:\n    y = 2\n", "y = 2", "", "if a:\n    pass\n"),
        ("if a:\n    y = 2\n", "y = $v", "y = $v\nz = $v", "if a:\n    y = 2\n    z = 2\n"),
        ("x = 1; y = 2\n", "y = 2", "y = 3", "x = 1; y = 3\n"),
        ("s = 'a'\n", 's = "a"', "s = 'b'", "s = 'b'\n"),
        ("s = [a, b, f(c), d]\n", "[*$before, f($x), *$after]", "[*$after, *$before]", "s = [d, a, b]\n"),
        ("s = [a, f(c)]\n", "[*$before, f($x), *$after]", "[*$before, *$after, $x]", "s = [a, c]\n"),
        ("s = g(a, b, c, c)\n", "g(*$some, $x, $x)", "h(*$some, $x)", "s = h(a, b, c)\n"),
    ],
)  # fmt: skip
def test_rewrites_exactly(before: str, match: str, replacement: str, after: str) -> None:
    """Holes catch code, brackets come where they are needed, and everything else keeps its form."""
    assert rewrite(before, Rewrite(match, replacement)) == after


@pytest.mark.parametrize(
    ("text", "edit", "reason"),
    [
        ("x = 1\n", Rewrite("y = $v", "y = 2"), "occurs 0 times"),
        ("y = 1\ny = 1\n", Rewrite("y = $v", "y = 2"), "occurs 2 times"),
        ("y = 1\n", Rewrite("y = $v", "y = $v"), "change nothing"),
        ("y = 1\n", Rewrite("y = $v", "y = $w"), "hole"),
        ("y = [a, b]\n", Rewrite("[*$before, f($x), *$after]", "[*$before]"), "occurs 0 times"),
        ("y = (\n", Rewrite("y = $v", "y = 2"), "does not parse"),
        ("class A:\n    y = 1\n", Rewrite("y = $v", "y = 2", where="B"), "in B"),
    ],
)
def test_refuses_with_a_reason(text: str, edit: Rewrite, reason: str) -> None:
    """An edit that does not fit, fits too often or changes nothing says so and leaves the source alone."""
    with pytest.raises(EditError, match=reason):
        rewrite(text, edit)


def test_all_rewrites_or_none() -> None:
    """Of an edit in several pieces, one that does not fit refuses the whole."""
    with pytest.raises(EditError):
        rewrite("a = 1\n", Rewrite("a = $v", "a = 2"), Rewrite("b = $v", "b = 2"))


def test_finds_its_scope() -> None:
    """`where` confines a match to one function of one class."""
    text = "class A:\n    def f(self): return g(1)\nclass B:\n    def f(self): return g(1)\n"
    assert rewrite(text, Rewrite("g($x)", "h($x)", where="B.f")) == text[:-5] + "h(1)\n"


@pytest.mark.parametrize("edit", CATALOGUE, ids=lambda edit: edit.name)
def test_shipped_edits_apply_to_the_shipped_benchmark(edit: Edit) -> None:
    """Each entry fits the train.py beside it, makes another experiment of it, and the result parses."""
    after = apply_edit(SHIPPED, edit)
    assert source_hash(after, "") != source_hash(SHIPPED, "")
    assert parse(after["train.py"]) is not None
    assert edit.hypothesis.endswith(".")
    assert edit.title


def test_names_are_unique() -> None:
    """An entry is known to the ledger by its name, and there are enough of them for a long night."""
    assert len({edit.name for edit in CATALOGUE}) == len(CATALOGUE) >= 40


FAMILIES = {
    "activation", "architecture", "attention", "batch-size", "initialization", "loss", "normalization", "optimizer",
    "regularization", "schedule",
}  # fmt: skip
TAGS = {
    "context", "embedding", "head", "mlp", "muon", "norm", "optimizer", "regularization", "residual", "rope",
    "simplify", "stability", "warmdown", "warmup",
}  # fmt: skip


def test_families_and_tags_are_words_in_use() -> None:
    """Priors, emitters and curve comparison know an entry by its family and tags: no word is used that they miss."""
    assert {edit.family for edit in CATALOGUE} == FAMILIES
    assert {tag for edit in CATALOGUE for tag in edit.tags} == TAGS
    assert sum("simplify" in edit.tags for edit in CATALOGUE) >= 8
    assert {family for family, way in priors.TABLE if way == "edit"} == FAMILIES


@lru_cache
def applied(edit: Edit) -> Files:
    return apply_edit(SHIPPED, edit)


@lru_cache
def leaves(text: str) -> dict[str, str]:
    """Each simple statement's syntax, and how it is written."""
    source = Text(text)
    found = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.stmt) and not hasattr(node, "body"))
    return {ast.dump(node): source.of(node) for node in found}


def comments(text: str) -> Counter[str]:
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return Counter(token.string for token in tokens if token.type == tokenize.COMMENT)


@lru_cache
def touched(edit: Edit) -> frozenset[int]:
    """Lines of the shipped file that an edit replaces, or behind which it puts something."""
    before, after = SHIPPED["train.py"].splitlines(), applied(edit)["train.py"].splitlines()
    blocks = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    return frozenset(n for tag, i, j, _, _ in blocks if tag != "equal" for n in range(i - (tag == "insert"), j))


@pytest.mark.parametrize("edit", CATALOGUE, ids=lambda edit: edit.name)
def test_shipped_edits_leave_the_rest_alone(edit: Edit) -> None:
    """Every statement whose syntax an entry keeps is written as before, and comments go only with their lines."""
    before, after = SHIPPED["train.py"], applied(edit)["train.py"]
    written = leaves(before)
    assert [text for syntax, text in leaves(after).items() if text != written.get(syntax, text)] == []
    lines = before.splitlines()
    gone = comments(before) - comments(after)
    assert gone <= Counter(comment for line in touched(edit) for comment in comments_on(lines[line]))


def comments_on(line: str) -> list[str]:
    return [f"#{line.partition('#')[2]}"] if "#" in line else []


@pytest.mark.parametrize("number", range(len(CATALOGUE)), ids=[edit.name for edit in CATALOGUE])
def test_shipped_edits_can_be_stacked(number: int) -> None:
    """Two entries that touch different lines apply one after the other, in either order, with one result.

    Each entry is stacked with the next three that stand apart from it: all pairs would take a minute.
    """
    edit = CATALOGUE[number]
    others = (CATALOGUE[(number + step) % len(CATALOGUE)] for step in range(1, len(CATALOGUE)))
    apart = list(islice((other for other in others if not touched(other) & touched(edit)), 3))
    assert len(apart) == 3
    for other in apart:
        both = apply_edit(applied(edit), other)
        assert both == apply_edit(applied(other), edit)
        assert parse(both["train.py"]) is not None
