"""Edits: structural changes of source as entries of data, and the one applicator that runs them.

A rewrite is written in Python with holes. `$x` stands for any expression, `*$some` for any number of positional
arguments or elements in a row (as few as fit), `**$more` for any further keyword arguments; a hole that appears twice
must hold the same code.

    Rewrite("F.relu($x).square()", "F.gelu($x)", where="MLP.forward")

Code is compared as syntax, so white space, comments, quotes, brackets and the order of keyword arguments do not matter.
What replaces it is spliced into the text; everything else stays byte for byte as it was.
"""

from __future__ import annotations

import ast
import copy
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from nightlab.errors import EditError
from nightlab.search.source import canonical, parse
from nightlab.search.text import Text
from nightlab.types import Files


@dataclass(frozen=True, slots=True)
class Rewrite:
    """One piece of an edit.

    Args:
        match: an expression, or one or more consecutive statements, with holes.
        replacement: of the same sort, with the same holes. Statements may be replaced by nothing.
        where: the function or class that the match must lie in, dotted: "MLP.forward". Empty: anywhere.
        times: how often the match must occur there; None for once or more.
    """

    match: str
    replacement: str
    where: str = ""
    times: int | None = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """One entry of a catalogue. All of its rewrites must fit, in one file, or it does not apply."""

    name: str
    family: str
    hypothesis: str
    rewrites: tuple[Rewrite, ...]
    tags: tuple[str, ...] = ()
    title: str = ""  # what a person reads: "replace squared ReLU by GELU"


def apply_edit(files: Files, edit: Edit) -> Files:
    """The files with the edit made.

    Raises:
        EditError: some rewrite does not fit, fits too often, changes nothing, or would break the file; says which.
    """
    reasons: list[str] = []
    for path in sorted(files):
        if path.endswith(".py"):
            try:
                return {**files, path: _edited(files[path], edit)}
            except EditError as error:
                reasons.append(f"{path}: {error.args[0]}")
    raise EditError(f"edit {edit.name} does not apply: {'; '.join(reasons) or 'no Python file'}")


def _edited(text: str, edit: Edit) -> str:
    untouched = text
    if _tree(text) is None:
        raise EditError("it does not parse")
    for rewrite in edit.rewrites:
        text = _rewritten(text, rewrite)
    after = _tree(text)
    if after is None or canonical(after) == _shape(untouched):
        raise EditError("it would change nothing" if after else "the result would not parse")
    return text


@lru_cache(maxsize=8)
def _tree(text: str) -> ast.Module | None:
    """The syntax tree, kept: a whole catalogue is matched against one text. Nobody may change it."""
    return parse(text)


@lru_cache(maxsize=8)
def _shape(text: str) -> str:
    tree = _tree(text)
    return canonical(tree) if tree is not None else ""


def _rewritten(text: str, rewrite: Rewrite) -> str:
    tree = _tree(text)
    assert tree is not None  # each step is checked before the next
    pattern, replacement = snippet(rewrite.match), snippet(rewrite.replacement)
    if isinstance(pattern, ast.expr) and isinstance(replacement, list):  # a call that stands alone is a statement
        pattern = [ast.Expr(pattern)]
    found = list(_matches(pattern, tree, rewrite.where))
    if len(found) != rewrite.times and (rewrite.times is not None or not found):
        place = f" in {rewrite.where}" if rewrite.where else ""
        raise EditError(f"`{rewrite.match.strip()}` occurs {len(found)} times{place}, not {rewrite.times or 'at all'}")
    source = Text(text)
    plain = source.replaced([_splice(source, match, replacement, wrap=False) for match in found])
    atoms = ast.Name | ast.Attribute | ast.Call | ast.Subscript | ast.Constant
    if isinstance(pattern, list) or isinstance(replacement, atoms):
        return _checked(plain)
    # An expression can land where its operators bind more loosely than their surroundings. Brackets cure that; the
    # two readings of the text tell whether they are needed.
    wrapped = _checked(source.replaced([_splice(source, match, replacement, wrap=True) for match in found]))
    return plain if _shape(plain) == _shape(wrapped) else wrapped


def _checked(text: str) -> str:
    if _tree(text) is None:
        raise EditError("the result would not parse")
    return text


# --- patterns ---------------------------------------------------------------------------------------------------

Pattern = ast.expr | list[ast.stmt]
Bindings = dict[str, "ast.expr | list[ast.expr] | list[ast.keyword]"]

_HOLE = "nightlab_hole_"


@lru_cache(maxsize=1024)
def snippet(code: str) -> Pattern:
    """A piece of an entry, parsed: an expression, or a list of statements.

    Raises:
        EditError: the entry is no Python.
    """
    tree = parse(textwrap.dedent(re.sub(r"\$(?=[A-Za-z_])", _HOLE, code)).strip())
    if tree is None:
        raise EditError(f"an entry of the catalogue is no Python: {code.strip()!r}")
    if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
        return tree.body[0].value
    return tree.body


def _hole(node: object) -> str | None:
    """The name of the hole that a pattern's node is."""
    if isinstance(node, ast.Name) and node.id.startswith(_HOLE):
        return node.id.removeprefix(_HOLE)
    return None


def _rest(node: object) -> str | None:
    """The name of the `*$rest` or `**$rest` that a pattern's node is."""
    if isinstance(node, ast.Starred):
        return _hole(node.value)
    return _hole(node.value) if isinstance(node, ast.keyword) and node.arg is None else None


@dataclass(frozen=True, slots=True)
class _Match:
    nodes: list[ast.expr] | list[ast.stmt]  # one expression, or consecutive statements
    body: list[ast.stmt] | None  # the whole block that the statements stand in
    bindings: Bindings


def _matches(pattern: Pattern, tree: ast.Module, where: str) -> Iterator[_Match]:
    """All places that fit, outermost first, none within another."""
    todo: list[ast.AST] = list(_scopes(tree, where))
    while todo:
        node = todo.pop()
        if isinstance(pattern, ast.expr):
            bindings: Bindings = {}
            if isinstance(node, ast.expr) and _fits(pattern, node, bindings):
                yield _Match([node], None, bindings)
                continue
            todo.extend(ast.iter_child_nodes(node))
        else:
            here = list(_in_blocks(pattern, node))
            yield from here
            taken = {id(inner) for match in here for inner in match.nodes}
            todo.extend(child for child in ast.iter_child_nodes(node) if id(child) not in taken)


def _in_blocks(pattern: list[ast.stmt], node: ast.AST) -> Iterator[_Match]:
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if not isinstance(block, list):
            continue
        at = 0
        while at + len(pattern) <= len(block):
            bindings: Bindings = {}
            part = block[at : at + len(pattern)]
            if all(_fits(p, n, bindings) for p, n in zip(pattern, part, strict=True)):
                yield _Match(part, block, bindings)
                at += len(pattern)
            else:
                at += 1


def _scopes(tree: ast.Module, where: str) -> Iterator[ast.AST]:
    scopes: list[ast.AST] = [tree]
    for name in where.split(".") if where else ():
        scopes = [
            child
            for scope in scopes
            for child in ast.iter_child_nodes(scope)
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and child.name == name
        ]
    yield from scopes


def _fits(pattern: object, node: object, bindings: Bindings) -> bool:
    """Whether the code is the pattern's, filling the holes on the way."""
    if (name := _hole(pattern)) is not None:
        return isinstance(node, ast.expr) and _bind(name, node, bindings)
    if isinstance(pattern, list) and isinstance(node, list):
        return _lists_fit(pattern, node, bindings)
    if not isinstance(pattern, ast.AST) or not isinstance(node, ast.AST):
        return type(pattern) is type(node) and pattern == node
    if type(pattern) is not type(node):
        return False
    skipped = ("ctx", "type_comment", "kind")
    return all(
        _fits(_ordered(getattr(pattern, name, None)), _ordered(getattr(node, name, None)), bindings)
        for name in pattern._fields
        if name not in skipped
    )


def _ordered(value: object) -> object:
    """Keyword arguments by name, unpacked ones last; anything else as it is."""
    if isinstance(value, list) and value and all(isinstance(item, ast.keyword) for item in value):
        return sorted(value, key=lambda keyword: (keyword.arg is None, keyword.arg or ""))
    return value


def _lists_fit(pattern: list[ast.AST], nodes: list[ast.AST], bindings: Bindings) -> bool:
    if pattern and isinstance(pattern[-1], ast.keyword) and (rest := _rest(pattern[-1])) is not None:
        return _keywords_fit(pattern[:-1], rest, nodes, bindings)
    for at, item in enumerate(pattern):
        if (rest := _rest(item)) is not None:
            for end in range(at, len(nodes) + 1):
                trial = dict(bindings)  # a longer run may fit where a shorter one filled holes in vain
                taken = [node for node in nodes[at:end] if isinstance(node, ast.expr)]
                if _bind(rest, taken, trial) and _lists_fit(pattern[at + 1 :], nodes[end:], trial):
                    bindings.update(trial)
                    return True
            return False
        if at >= len(nodes) or not _fits(item, nodes[at], bindings):
            return False
    return len(pattern) == len(nodes)


def _keywords_fit(named: list[ast.AST], rest: str, nodes: list[ast.AST], bindings: Bindings) -> bool:
    """Keyword arguments of which only some are named: those may stand anywhere among the others."""
    wanted = {item.arg for item in named if isinstance(item, ast.keyword)}
    nodes = sorted(nodes, key=lambda item: not (isinstance(item, ast.keyword) and item.arg in wanted))
    head, tail = nodes[: len(named)], nodes[len(named) :]
    if len(head) != len(named) or not all(_fits(p, n, bindings) for p, n in zip(named, head, strict=True)):
        return False
    return _bind(rest, [item for item in tail if isinstance(item, ast.keyword)], bindings)


def _bind(name: str, value: ast.expr | list[ast.expr] | list[ast.keyword], bindings: Bindings) -> bool:
    known = bindings.setdefault(name, value)
    return known is value or _key(known) == _key(value)


def _key(value: ast.expr | list[ast.expr] | list[ast.keyword]) -> str:
    return "".join(map(canonical, value)) if isinstance(value, list) else canonical(value)


# --- replacing --------------------------------------------------------------------------------------------------


class _Filler(ast.NodeTransformer):
    """Puts what the holes caught into a replacement."""

    def __init__(self, bindings: Bindings) -> None:
        self.bindings = bindings

    def visit_Name(self, node: ast.Name) -> ast.expr:
        name = _hole(node)
        value = self._bound(name) if name is not None else node
        if not isinstance(value, ast.expr):
            raise EditError(f"the hole ${name} holds several arguments and must be written *${name}")
        return value

    def visit_Starred(self, node: ast.Starred) -> ast.expr | list[ast.expr]:
        value = self._bound(rest) if (rest := _rest(node)) is not None else None
        if isinstance(value, list):
            return [item for item in value if isinstance(item, ast.expr)]
        node.value = self.visit(node.value)
        return node

    def visit_keyword(self, node: ast.keyword) -> ast.keyword | list[ast.keyword]:
        value = self._bound(rest) if (rest := _rest(node)) is not None else None
        if isinstance(value, list):
            return [item for item in value if isinstance(item, ast.keyword)]
        node.value = self.visit(node.value)
        return node

    def _bound(self, name: str) -> ast.expr | list[ast.expr] | list[ast.keyword]:
        if name not in self.bindings:
            raise EditError(f"the replacement has a hole ${name} that the match has not")
        return copy.deepcopy(self.bindings[name])


def _splice(source: Text, match: _Match, replacement: Pattern, *, wrap: bool) -> tuple[int, int, str]:
    """The span of the match and what comes to stand there."""
    start, end = source.span(match.nodes[0])[0], source.span(match.nodes[-1])[1]
    filler = _Filler(match.bindings)
    if isinstance(replacement, ast.expr):
        if match.body is not None:
            replacement = [ast.Expr(replacement)]
            return _splice(source, match, replacement, wrap=False)
        if not _stands_at(source.slice(start, end), match.nodes[0]):
            raise EditError("it occurs within an f-string, which cannot be edited")
        code = ast.unparse(filler.visit(copy.deepcopy(replacement)))
        return start, end, f"({code})" if wrap else code
    statements = [ast.unparse(ast.fix_missing_locations(filler.visit(copy.deepcopy(s)))) for s in replacement]
    if not statements:
        return _removal(source, match, start, end)
    first = match.nodes[0]
    margin = source.slice(source.offset(first.lineno, 0), start)
    if margin.strip():  # it stands behind something else on its line
        return start, end, "; ".join(statements)
    return start, end, textwrap.indent("\n".join(statements), margin)[len(margin) :].replace("\n", source.newline)


def _stands_at(text: str, node: ast.AST) -> bool:
    """Whether the node's place is true: Python 3.11 misplaces what lies within f-strings."""
    tree = parse(f"({text})")
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return False
    return canonical(tree.body[0].value) == canonical(node)


def _removal(source: Text, match: _Match, start: int, end: int) -> tuple[int, int, str]:
    """Take whole lines away, with the comment behind the statement; leave `pass` where a block would be empty."""
    assert match.body is not None
    if len(match.nodes) == len(match.body):
        return start, end, "pass"
    line = source.offset(match.nodes[0].lineno, 0)
    behind = source.line_end(match.nodes[-1])
    if source.slice(line, start).strip() or behind.partition("#")[0].strip():
        return start, end, "pass"  # it shares its line with another statement
    return line, source.next_line(match.nodes[-1]), ""
