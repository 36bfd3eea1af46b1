"""What one source changes in another: knobs by name and value, everything else as one signature.

The signature is the same for the same edit of another base: it is taken over the statements that went and came, not
over the files. Pure and total: source that does not parse counts by its lines.
"""

from __future__ import annotations

import ast
import hashlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator

from nightlab.search.knobs import Knob, find_knobs
from nightlab.search.source import canonical, parse
from nightlab.types import Change, ChangeKind, Files

MAX_PLACES = 3  # that the name of a free change tells
MAX_NODES = 200_000  # syntax nodes of a file beyond which it counts by its lines

_Statement = tuple[str, str]  # where it stands ("Block.forward"), its canonical form


def changes_between(before: Files, after: Files, *, on_gpu: bool = False) -> tuple[Change, ...]:
    """The changes that make `after` of `before`: first knobs in the order of their names, then what else changed.

    Args:
        before: the base's editable files.
        after: the idea's.
        on_gpu: which side of the device's conditions the knobs are read from.
    """
    if before == after:
        return ()
    old, new = _knobs(before, on_gpu), _knobs(after, on_gpu)
    moved = [
        Change(kind=ChangeKind.KNOB, name=name, old=old[name].text, new=new[name].text)
        for name in sorted(old.keys() & new.keys())
        if old[name].value != new[name].value or type(old[name].value) is not type(new[name].value)
    ]
    names = frozenset(name.partition("[")[0] for name in old.keys() & new.keys())
    free = _free(before, after, names)
    return (*moved, *([free] if free is not None else []))


def _knobs(files: Files, on_gpu: bool) -> dict[str, Knob]:
    try:
        return {knob.name: knob for knob in find_knobs(files, on_gpu)}
    except (RecursionError, MemoryError, ValueError):  # source that only a parser can love
        return {}


def _free(before: Files, after: Files, knobs: frozenset[str]) -> Change | None:
    """Everything but knobs that differs, as one change; None if nothing does."""
    gone: Counter[_Statement] = Counter()
    came: Counter[_Statement] = Counter()
    moved: list[str] = []  # files that hold the same statements in another order
    for path in sorted({*before, *after}):
        old, new = _statements(path, before.get(path), after.get(path), knobs)
        if old == new:
            continue
        less, more = Counter(old), Counter(new)
        if less == more:
            moved.append(path)
            less, more = Counter(_in_order(old)), Counter(_in_order(new))
        gone += less - more
        came += more - less
    if not gone and not came:
        return None
    digest = hashlib.sha256()
    for sign, side in (("-", gone), ("+", came)):
        for (place, form), count in sorted(side.items()):
            digest.update(f"{sign}{count}\0{place}\0{form}\0".encode("utf-8", "surrogatepass"))
    return Change(kind=ChangeKind.FREE, name=_name(gone, came, moved), new=digest.hexdigest()[:16])


def _in_order(statements: Iterable[_Statement]) -> list[_Statement]:
    """Each statement with the one before it, so that order counts."""
    pairs = itertools.pairwise([("", ""), *statements])
    return [(place, f"{last}\0{form}") for (_, last), (place, form) in pairs]


def _statements(
    path: str, old: str | None, new: str | None, knobs: frozenset[str]
) -> tuple[list[_Statement], list[_Statement]]:
    """The statements of a file's two versions, both in one form: syntax if both parse, lines otherwise."""
    sides = (old or "", new or "")
    if path.endswith(".py"):
        trees = [parse(text) for text in sides]
        try:
            if all(tree is not None and _is_small(tree) for tree in trees):
                left, right = (list(_walk(tree, "", knobs)) for tree in trees if tree is not None)
                return left, right
        except (RecursionError, MemoryError, ValueError):
            pass
    left, right = ([(path, line.rstrip()) for line in text.splitlines() if line.strip()] for text in sides)
    return left, right


def _is_small(tree: ast.AST) -> bool:
    return sum(1 for _ in itertools.islice(ast.walk(tree), MAX_NODES)) < MAX_NODES


def _walk(node: ast.AST, place: str, knobs: frozenset[str]) -> Iterator[_Statement]:
    """Statements with their place, compound ones without their bodies, which follow."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt):
            if not place and _sets_knob(child, knobs):
                continue
            if (
                isinstance(child, ast.Expr)
                and isinstance(child.value, ast.Constant)
                and isinstance(child.value.value, str)
            ):
                continue  # a docstring
            yield place, _head(child)
            inner = place
            if isinstance(child, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                inner = f"{place}.{child.name}" if place else child.name
            yield from _walk(child, inner, knobs)
        elif isinstance(child, ast.excepthandler | ast.match_case):
            yield place, _head(child)
            yield from _walk(child, place, knobs)


def _sets_knob(node: ast.stmt, knobs: frozenset[str]) -> bool:
    if isinstance(node, ast.Assign):
        return all(isinstance(target, ast.Name) and target.id in knobs for target in node.targets)
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.target.id in knobs


def _head(node: ast.AST) -> str:
    """As `source.canonical`, of the node's own fields only where they hold no statements."""
    parts = [type(node).__name__]
    for name in sorted(node._fields):
        value = getattr(node, name, None)
        if name in ("ctx", "type_comment", "kind") or value is None or value == []:
            continue
        if isinstance(value, list):
            if isinstance(value[0], ast.stmt | ast.excepthandler | ast.match_case):
                parts.append(f"{name}=...")
                continue
            parts.append(f"{name}=[{''.join(_form(item) for item in value)}]")
        else:
            parts.append(f"{name}={_form(value)}")
    return " ".join(parts)


def _form(value: object) -> str:
    return canonical(value) if isinstance(value, ast.AST) else ascii(value)


# --- what was touched, in words ---------------------------------------------------------------------------------


def _name(gone: Counter[_Statement], came: Counter[_Statement], moved: list[str]) -> str:
    """The places of the change, and names that came or went there: "Block.forward: norm"."""
    places = list(dict.fromkeys(place for place, _ in sorted({*gone, *came})))
    shown = [place or "top level" for place in places[:MAX_PLACES]]
    more = [f"{len(places) - MAX_PLACES} more"] if len(places) > MAX_PLACES else []
    differ = sorted(_identifiers(gone) ^ _identifiers(came))[:MAX_PLACES]
    text = ", ".join([*shown, *more]) + (f": {', '.join(differ)}" if differ else "")
    return (f"{text} (order)" if moved and not differ else text)[:200]


def _identifiers(side: Counter[_Statement]) -> set[str]:
    """Names of functions, attributes and variables in canonical forms."""
    found = set()
    for _, form in side:
        for mark in ("attr=", "id=", "name="):
            for piece in form.split(mark)[1:]:
                word = piece.split(" ", 1)[0].strip("'")
                if word.isidentifier():
                    found.add(word)
    return found
