"""Follows Python code as `machine` follows a shell: what it would write, delete, start, and nothing else.

Straight-line values are folded (`pyvalues`), both sides of a branch are taken, loops over known items are gone through,
functions are followed where they are called. A file whose name cannot be worked out is let pass, unless the code names
something guarded; a command whose text cannot be worked out is not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable

from nightlab.agent.policy import pycalls
from nightlab.agent.policy.machine import Machine
from nightlab.agent.policy.nouns import Fetched, Opaque, Train
from nightlab.agent.policy.pyvalues import File, Name, Place, Value, added, bounded, joined, percent, repeated, text_of
from nightlab.agent.policy.state import Streams
from nightlab.agent.policy.values import FETCHED, TRAINED, UNKNOWN

MAX_STEPS = 5_000  # nodes of one program that are looked at
MAX_DEPTH = 40  # of calls and of nested expressions
MAX_ITEMS = 32  # of a loop


class TooLongError(Exception):
    """The code is longer or deeper than we follow."""


def follow(machine: Machine, code: str, io: Streams, argv: tuple[str, ...] = ("",)) -> None:
    """Note what `code` would do. Code that is no Python does nothing but fail."""
    if FETCHED in code:
        machine.note(Fetched("python"))
        return
    if TRAINED in code:
        machine.note(Train(io.out, io.err))
        return
    if code.strip() == UNKNOWN:
        machine.note(Opaque("the code that python would run"))
        return
    try:
        tree = ast.parse(code.replace(UNKNOWN, "_unknown_"))
    except (SyntaxError, ValueError, MemoryError):
        return
    reader = Reader(machine, io, argv)
    reader.names_guarded = any(
        isinstance(node, ast.Constant) and isinstance(node.value, str) and _named(machine, node.value)
        for node in ast.walk(tree)
    )
    try:
        reader.block(tree.body)
    except (TooLongError, RecursionError):
        machine.note(Opaque("Python code as long as this"))


def _named(machine: Machine, text: str) -> bool:
    return len(text) < 200 and "\n" not in text and machine.places.guarded(machine.path(text)) is not None


class Reader:
    def __init__(self, machine: Machine, io: Streams, argv: tuple[str, ...]) -> None:
        self.machine = machine
        self.io = io
        self.values: dict[str, Value] = {}
        self.functions: dict[str, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda] = {}
        self.argv = argv
        self.names_guarded = False
        self.steps = 0
        self.depth = 0

    # --- statements

    def block(self, body: Iterable[ast.stmt]) -> Value:
        """Follow statements; the value of the last `return`."""
        result: Value = None
        for statement in body:
            found = self.statement(statement)
            result = found if found is not None else result
        return result

    def statement(self, node: ast.stmt) -> Value:
        """Follow one statement; the value it returns, if it is or holds a `return`."""
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            self._import(node)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            self._assign(node)
        elif isinstance(node, (ast.For, ast.AsyncFor)):
            for item in self.items(self.value(node.iter)):
                self.bind(node.target, item)
                self.block(node.body)
            self.block(node.orelse)
        elif isinstance(node, (ast.With, ast.AsyncWith)):
            for one in node.items:
                entered = self.value(one.context_expr)
                if one.optional_vars is not None:
                    self.bind(one.optional_vars, entered)
            return self.block(node.body)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self.functions[node.name] = node
        elif isinstance(node, ast.Return):
            return self.value(node.value) if node.value is not None else None
        else:
            return self._children(node)
        return None

    def _assign(self, node: ast.Assign | ast.AnnAssign | ast.AugAssign) -> None:
        if isinstance(node, ast.AugAssign):
            before, value = self.value(node.target), self.value(node.value)
            self.bind(node.target, added(before, value) if isinstance(node.op, ast.Add) else None)
            return
        if node.value is None:
            return
        value = self.value(node.value)
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(node.value, ast.Lambda) and isinstance(target, ast.Name):
                self.functions[target.id] = node.value
            self.bind(target, value)

    def _children(self, node: ast.AST) -> Value:
        """Everything in it, in order: branches, `try`, classes, `match`."""
        result: Value = None
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.stmt):
                result = self.statement(child) or result
            elif isinstance(child, ast.expr):
                self.value(child)
            else:
                result = self._children(child) or result
        return result

    def _import(self, node: ast.Import | ast.ImportFrom) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                name = alias.name if alias.asname else alias.name.partition(".")[0]
                self.values[alias.asname or name] = Name(name)
                pycalls.imported(self, alias.name)
            return
        pycalls.imported(self, node.module or "")
        for alias in node.names:
            self.values[alias.asname or alias.name] = Name(f"{node.module}.{alias.name}")

    def bind(self, target: ast.expr, value: Value) -> None:
        if isinstance(target, ast.Name):
            self.values[target.id] = value
            if isinstance(value, Name) and value.dotted in self.functions:
                self.functions[target.id] = self.functions[value.dotted]
        elif isinstance(target, (ast.Tuple, ast.List)):
            items = value if isinstance(value, tuple) and len(value) == len(target.elts) else (None,) * len(target.elts)
            for part, item in zip(target.elts, items, strict=True):
                self.bind(part, item)
        elif isinstance(target, ast.Attribute):
            self.values[ast.unparse(target)] = value

    def items(self, value: Value) -> tuple[Value, ...]:
        """What a loop over `value` meets; one unknown thing where that is not known."""
        if isinstance(value, str) and not set(value) & {UNKNOWN, FETCHED}:
            return tuple(value[:MAX_ITEMS])
        if not isinstance(value, tuple) or len(value) > MAX_ITEMS:
            return (None,)
        return value

    # --- expressions

    def value(self, node: ast.expr) -> Value:
        self.steps += 1
        self.depth += 1
        if self.steps > MAX_STEPS or self.depth > MAX_DEPTH * 2:
            raise TooLongError
        try:
            return self._value(node)
        finally:
            self.depth -= 1

    def _value(self, node: ast.expr) -> Value:
        if isinstance(node, ast.Constant):
            if isinstance(node.value, bytes):
                return node.value.decode("utf-8", "replace")
            return node.value if isinstance(node.value, (str, int)) else None
        if isinstance(node, ast.Name):
            return self.values.get(node.id, Name(node.id))
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return tuple(self.elements(node.elts))
        if isinstance(node, ast.Call):
            return pycalls.call(self, node)
        if isinstance(node, ast.Attribute):
            return self._attribute(node)
        if isinstance(node, ast.Subscript):
            return self._subscript(node)
        if isinstance(node, (ast.ListComp, ast.GeneratorExp, ast.SetComp, ast.DictComp)):
            return self._comprehension(node)
        if isinstance(node, ast.NamedExpr):
            value = self.value(node.value)
            self.bind(node.target, value)
            return value
        return self._combined(node)

    def _combined(self, node: ast.expr) -> Value:
        """Values made of others: strings with fields, operations, choices. Anything else is only looked at."""
        if isinstance(node, ast.JoinedStr):
            return "".join(text_of(self.value(part)) for part in node.values)
        if isinstance(node, ast.FormattedValue):
            return text_of(self.value(node.value))
        if isinstance(node, ast.BinOp):
            return self._operation(node)
        if isinstance(node, ast.IfExp):
            self.value(node.test)
            first, second = self.value(node.body), self.value(node.orelse)
            return first if first is not None else second
        if isinstance(node, ast.BoolOp):
            return [self.value(part) for part in node.values][-1]
        if not isinstance(node, ast.Lambda):
            self._children(node)
        return None

    def elements(self, nodes: list[ast.expr]) -> list[Value]:
        out: list[Value] = []
        for node in nodes:
            if isinstance(node, ast.Starred):
                inner = self.value(node.value)
                out.extend(inner if isinstance(inner, tuple) else (None,))
            else:
                out.append(self.value(node))
        return out

    def _operation(self, node: ast.BinOp) -> Value:
        left, right = self.value(node.left), self.value(node.right)
        if isinstance(node.op, ast.Add):
            return added(left, right)
        if isinstance(node.op, ast.Div) and (isinstance(left, Place) or isinstance(right, Place)):
            return Place(joined(left, right))
        if isinstance(node.op, ast.Div) and left is None and isinstance(right, str):
            return Place(joined(UNKNOWN, right))
        if isinstance(node.op, ast.Mod) and isinstance(left, str):
            return percent(left, right)
        if isinstance(node.op, ast.Mult) and isinstance(left, str) and isinstance(right, int):
            return repeated(left, right)
        if isinstance(left, int) and isinstance(right, int):
            found = {ast.Sub: left - right, ast.Mult: left * right, ast.BitXor: left ^ right}.get(type(node.op))
            return None if found is None else bounded(found)
        return None

    def _attribute(self, node: ast.Attribute) -> Value:
        written = ast.unparse(node) if isinstance(node.value, ast.Name) else ""
        if written in self.values:
            return self.values[written]
        base = self.value(node.value)
        if isinstance(base, Name):
            return pycalls.constant(self, f"{base.dotted}.{node.attr}")
        if isinstance(base, Place):
            parent, _, name = base.path.rpartition("/")
            known: dict[str, Value] = {
                "parent": Place(parent or "."),
                "name": name,
                "stem": name.rpartition(".")[0] or name,
            }
            return known.get(node.attr)
        if isinstance(base, File) and node.attr == "name":
            return base.path
        return base if isinstance(base, str) and FETCHED in base else None

    def _subscript(self, node: ast.Subscript) -> Value:
        base = self.value(node.value)
        if isinstance(base, (str, tuple)):
            try:
                picked = (
                    ast.literal_eval(node.slice) if not isinstance(node.slice, ast.Slice) else self._slice(node.slice)
                )
                return self._picked(base, picked)
            except (ValueError, IndexError, TypeError, SyntaxError):
                return UNKNOWN if isinstance(base, str) else None
        key = self.value(node.slice)
        if isinstance(base, Name) and isinstance(key, str):
            return pycalls.item(self, base.dotted, key)
        return None

    def _picked(self, base: str | tuple[Value, ...], picked: object) -> Value:
        return base[picked] if isinstance(picked, (int, slice)) else None

    def _slice(self, node: ast.Slice) -> slice:
        parts = [None if part is None else ast.literal_eval(part) for part in (node.lower, node.upper, node.step)]
        return slice(*parts)

    def _comprehension(self, node: ast.ListComp | ast.GeneratorExp | ast.SetComp | ast.DictComp) -> Value:
        """Over its first loop; further loops and conditions are only looked at."""
        first = node.generators[0]
        out: list[Value] = []
        for item in self.items(self.value(first.iter)):
            self.bind(first.target, item)
            for more in node.generators[1:]:
                self.bind(
                    more.target, self.items(self.value(more.iter))[0] if self.items(self.value(more.iter)) else None
                )
            for condition in (test for generator in node.generators for test in generator.ifs):
                self.value(condition)
            out.append(self.value(node.value if isinstance(node, ast.DictComp) else node.elt))
        return tuple(out)

    def call_own(self, name: str, args: tuple[Value, ...]) -> Value:
        """Follow a function that the code itself defines."""
        function = self.functions[name]
        if self.depth > MAX_DEPTH:
            return None
        outer = dict(self.values)
        names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
        self.values.update(dict(zip(names, (*args, *(None,) * len(names)), strict=False)))
        self.depth += 5
        result = self.value(function.body) if isinstance(function, ast.Lambda) else self.block(function.body)
        self.depth -= 5
        self.values = outer
        return result
