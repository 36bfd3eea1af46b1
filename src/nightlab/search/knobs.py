"""Knobs: the named constants of the editable files, found in the source and moved in place."""

from __future__ import annotations

import ast
import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeGuard

from nightlab.errors import EditError
from nightlab.search.kinds import Kind, is_fixed, kind_of
from nightlab.search.source import parse
from nightlab.search.text import Text
from nightlab.types import Files

Value = bool | int | float | str

_CONSTANT = re.compile(r"[A-Z][A-Z0-9_]*")
_DEVICE = re.compile(r"gpu|cuda", re.IGNORECASE)
_FARTHEST = 100  # powers of ten from one: no setting of a training lies beyond, and its steps would leave the floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Knob:
    """A constant that an idea may move.

    An element of a tuple is a knob of its own: `ADAM_BETAS[1]`.
    """

    name: str
    path: str
    value: Value
    kind: Kind
    text: str  # the value as it is written: "2**19"
    start: int  # byte offsets of that text in the file
    end: int
    comment: str = ""  # what stands behind it on the line
    choices: tuple[str, ...] = ()  # for a string: the other values that the source compares it with
    alphabet: str = ""  # for a pattern such as "SSSL": the letters it may be made of


def find_knobs(files: Files, on_gpu: bool) -> tuple[Knob, ...]:
    """The constants of the Python files that can be moved on the device at hand.

    A knob is a name in capitals that a module assigns exactly once, at its top level, a literal number, truth value
    or string, or arithmetic of numbers. In `if ON_GPU: ... else: ...`, and `X = a if ON_GPU else b`, the device's
    side counts; under any other condition, in a loop or in a `try`, an assignment hides the name. A number that
    nothing reads, and what is fixed by nature (`kinds.is_fixed`), is left out, as are strings with no visible
    alternative.
    """
    trees = {path: tree for path in sorted(files) if path.endswith(".py") and (tree := parse(files[path])) is not None}
    nodes = [node for tree in trees.values() for node in ast.walk(tree)]  # walked once: it is most of the work
    strings = _strings(nodes)
    read = set(_reads(nodes))
    found: list[Knob] = []
    for path, tree in trees.items():
        here = list(_module_knobs(path, tree, Text(files[path]), on_gpu, strings))
        live = [knob for knob in here if knob.name.partition("[")[0] in read]
        found += live or here  # a file of mere settings may be read by a file we do not see
    names = Counter(knob.name for knob in found)
    return tuple(knob for knob in found if names[knob.name] == 1)


def set_knob(files: Files, knob: Knob, new_value: Value) -> Files:
    """The files with the knob's value replaced, everything else as it was, its style of writing kept.

    Raises:
        EditError: the file is not the one the knob was found in.
    """
    return set_knobs(files, [(knob, new_value)])


def set_knobs(files: Files, values: Iterable[tuple[Knob, Value]]) -> Files:
    """Several knobs of the same source at once: offsets are those of `files`. As `set_knob` otherwise."""
    changes: dict[str, list[tuple[int, int, str]]] = {}
    for knob, value in values:
        changes.setdefault(knob.path, []).append((knob.start, knob.end, written(knob, value)))
        if Text(files.get(knob.path, "")).slice(knob.start, knob.end) != knob.text:
            raise EditError(
                f"{knob.name} = {knob.text} no longer stands in {knob.path}",
                hint="find the knobs of this source again",
            )
    return {**files, **{path: Text(files[path]).replaced(spans) for path, spans in changes.items()}}


# --- finding ----------------------------------------------------------------------------------------------------


def _module_knobs(path: str, tree: ast.Module, text: Text, on_gpu: bool, strings: _Strings) -> Iterator[Knob]:
    plain = list(_assignments(tree.body, on_gpu))
    taken = Counter(name for name, _ in plain) + Counter(_hidden(tree.body, on_gpu))
    for name, node in plain:
        if taken[name] != 1 or is_fixed(name, _comment(text, node)):
            continue
        value = _device_side(node, on_gpu)
        if isinstance(value, ast.Tuple | ast.List):
            items = [(f"{name}[{i}]", item) for i, item in enumerate(value.elts)]
        else:
            items = [(name, value)]
        for item_name, item in items:
            literal = evaluate(item)
            if literal is None:
                continue
            knob = Knob(
                name=item_name, path=path, value=literal, kind=kind_of(item_name), text=text.of(item),
                start=text.span(item)[0], end=text.span(item)[1], comment=_comment(text, node),
                choices=strings.choices(name, literal), alphabet=strings.alphabet(name, literal),
            )  # fmt: skip
            if not isinstance(literal, str) or knob.choices or knob.alphabet:
                yield knob


def _assignments(body: Iterable[ast.stmt], on_gpu: bool) -> Iterator[tuple[str, ast.expr]]:
    """Plain assignments to one constant, in the order of the module, on this device."""
    for node in body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            if _CONSTANT.fullmatch(node.targets[0].id):
                yield node.targets[0].id, node.value
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
            if _CONSTANT.fullmatch(node.target.id):
                yield node.target.id, node.value
        elif isinstance(node, ast.If) and (asks := _asks_for_gpu(node.test)) is not None:
            yield from _assignments(node.body if asks == on_gpu else node.orelse, on_gpu)


def _hidden(body: Iterable[ast.stmt], on_gpu: bool) -> Iterator[str]:
    """Names that the module sets in other ways: by a condition, a loop, an import, `x += 1`, or `global` in a function.

    Plain assignments are left out, and so is the side of a device's `if` that does not run.
    """
    for node in body:
        if isinstance(node, ast.If) and (asks := _asks_for_gpu(node.test)) is not None:
            yield from _hidden(node.body if asks == on_gpu else node.orelse, on_gpu)
        elif not _is_plain(node):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Global):
                    yield from inner.names
                elif isinstance(inner, ast.alias):
                    yield inner.asname or inner.name
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                for inner in ast.walk(node):
                    if isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                        yield inner.id


def _is_plain(node: ast.stmt) -> bool:
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name)
    return isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name)


def _asks_for_gpu(test: ast.expr) -> bool | None:
    """What the condition is on a GPU; None if it does not ask for the device."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        asks = _asks_for_gpu(test.operand)
        return None if asks is None else not asks
    words = [n.id for n in ast.walk(test) if isinstance(n, ast.Name)]
    words += [n.attr for n in ast.walk(test) if isinstance(n, ast.Attribute)]
    words += [n.value for n in ast.walk(test) if isinstance(n, ast.Constant) and isinstance(n.value, str)]
    if not any(_DEVICE.search(word) for word in words):
        return None
    return not (isinstance(test, ast.Compare) and isinstance(test.ops[0], ast.NotEq | ast.IsNot))


def _device_side(node: ast.expr, on_gpu: bool) -> ast.expr:
    if isinstance(node, ast.IfExp) and (asks := _asks_for_gpu(node.test)) is not None:
        return _device_side(node.body if asks == on_gpu else node.orelse, on_gpu)
    return node


def _reads(nodes: Iterable[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.alias):
            yield node.name


def _comment(text: Text, node: ast.expr) -> str:
    return text.line_end(node).partition("#")[2].strip()


def evaluate(node: ast.expr) -> Value | None:
    """The value of a literal or of arithmetic of literal numbers; None for anything else, as for 1e300."""
    if isinstance(node, ast.Constant):
        value = node.value
        return value if isinstance(value, bool | str) or _is_usable(value) else None
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        inner = evaluate(node.operand)
        if isinstance(inner, bool | str) or inner is None:
            return None
        return -inner if isinstance(node.op, ast.USub) else inner
    if isinstance(node, ast.BinOp):
        return _arithmetic(node.op, evaluate(node.left), evaluate(node.right))
    return None


_OPERATORS: dict[type[ast.operator], Callable[[int | float, int | float], int | float | complex]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
    ast.LShift: lambda a, b: int(a) << int(b),
}


def _arithmetic(op: ast.operator, a: Value | None, b: Value | None) -> Value | None:
    if isinstance(a, bool | str | None) or isinstance(b, bool | str | None) or type(op) not in _OPERATORS:
        return None
    if isinstance(op, ast.Pow | ast.LShift) and (abs(a) > 1000 or abs(b) > 64):  # somebody's 9**9**9
        return None
    try:
        result = _OPERATORS[type(op)](a, b)
    except (ArithmeticError, ValueError, TypeError):
        return None
    return result if _is_usable(result) else None


def _is_usable(value: object) -> TypeGuard[int | float]:
    """Whether it is a number that can be reckoned with: neither infinite nor so large or small that its steps are."""
    if not isinstance(value, int | float):
        return False
    return value == 0 or 10.0**-_FARTHEST <= abs(value) <= 10.0**_FARTHEST


@lru_cache(maxsize=4096)
def literal(text: str) -> Value | None:
    """The value that a knob's text stands for; None if it is no literal."""
    tree = parse(text.strip())
    if tree is None or len(tree.body) != 1 or not isinstance(tree.body[0], ast.Expr):
        return None
    return evaluate(tree.body[0].value)


@dataclass(frozen=True, slots=True)
class _Strings:
    """Which strings the source compares names with, and which sets of letters it knows."""

    compared: dict[str, tuple[str, ...]]
    letters: tuple[str, ...]

    def choices(self, name: str, value: Value) -> tuple[str, ...]:
        known = self.compared.get(name, ())
        return tuple(dict.fromkeys(c for c in known if c != value)) if isinstance(value, str) else ()

    def alphabet(self, name: str, value: Value) -> str:
        """Letters of a pattern: its own if it has two to four, or a larger set of which the source speaks."""
        if not isinstance(value, str) or not re.fullmatch(r"[A-Z]{1,24}", value) or self.choices(name, value):
            return ""
        sets = [letters for letters in self.letters if set(value) <= set(letters)]
        own = "".join(sorted(set(value)))
        best = max([own, *sets], key=len) if sets else own
        return best if 2 <= len(best) <= 4 and len(value) > len(best) - 2 else ""


def _strings(nodes: Iterable[ast.AST]) -> _Strings:
    compared: dict[str, tuple[str, ...]] = {}
    letters: list[str] = []
    for node in nodes:
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            texts = tuple(text for side in sides for text in _texts(side))
            for side in sides:
                if isinstance(side, ast.Name):
                    compared[side.id] = compared.get(side.id, ()) + texts
            letters += [text for text in texts if isinstance(node.ops[0], ast.In | ast.NotIn)]
        elif isinstance(node, ast.Dict):
            keys = [k.value for k in node.keys if isinstance(k, ast.Constant) and isinstance(k.value, str)]
            if keys and all(len(key) == 1 for key in keys):
                letters.append("".join(sorted(keys)))
    known = tuple("".join(sorted(set(text))) for text in letters if re.fullmatch(r"[A-Z]{2,4}", text))
    return _Strings(compared, known)


def _texts(node: ast.expr) -> tuple[str, ...]:
    items = node.elts if isinstance(node, ast.Tuple | ast.List | ast.Set) else [node]
    return tuple(i.value for i in items if isinstance(i, ast.Constant) and isinstance(i.value, str))


# --- writing ----------------------------------------------------------------------------------------------------


def written(knob: Knob, value: Value) -> str:
    """`value` in the knob's style: `2**k` stays one, one factor of a product changes, floats have three digits."""
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str):
        quote = "'" if knob.text.startswith("'") else '"'
        return repr(value) if quote == "'" or "'" in value else f'"{value}"'
    return _int_text(knob.text, value) if isinstance(value, int) else _float_text(knob.text, value)


def _int_text(style: str, value: int) -> str:
    if (power := re.fullmatch(r"2(\s*)\*\*(\s*)\d+", style)) and value > 0 and value & (value - 1) == 0:
        return f"2{power[1]}**{power[2]}{value.bit_length() - 1}"
    if re.fullmatch(r"1\s*<<\s*\d+", style) and value > 0 and value & (value - 1) == 0:
        return f"1 << {value.bit_length() - 1}"
    if product := re.fullmatch(r"(\d+)(\s*\*\s*)(\d+)", style):
        left, times, right = int(product[1]), product[2], int(product[3])
        if right and value % right == 0:
            return f"{value // right}{times}{right}"
        if left and value % left == 0:
            return f"{left}{times}{value // left}"
    return f"{value:_}" if "_" in style and abs(value) >= 1000 else str(value)


def _float_text(style: str, value: float) -> str:
    # next to one it is the distance that counts: 0.9995 is not 1.0
    short = f"{1 - float(f'{1 - value:.3g}'):.12g}" if 0.99 < value < 1 else f"{value:.3g}"
    if re.search(r"\de[-+]?\d", style.lower()) and value and "e" not in short:
        exponent = math.floor(math.log10(abs(value)))
        return f"{round(value / 10**exponent, 2):g}e{exponent}"
    if "e" in short:
        mantissa, _, exponent_text = short.partition("e")
        return f"{mantissa}e{int(exponent_text)}"
    return short if "." in short else f"{short}.0"
