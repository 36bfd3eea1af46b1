"""From mvdan/sh's tree of a script (`shfmt`) to ours (`syntax`).

Connectors (`&&`, `||`, `;`, `&`), `!` and `time` are dropped, since what they join may run. Where mvdan/sh is known to
read otherwise than bash, the text is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from nightlab.agent.policy import shfmt
from nightlab.agent.policy.escapes import ansi
from nightlab.agent.policy.syntax import (
    MAX_WORDS,
    Arithmetic,
    Assignment,
    Branch,
    Function,
    Group,
    Literal,
    Loop,
    Node,
    Part,
    Pipeline,
    Redirection,
    Sequence,
    Simple,
    Substitution,
    Test,
    UnreadableError,
    Variable,
    Word,
)

MAX_DEPTH = 40  # of nesting; people write three or four
# A carriage return is a character like others to bash; mvdan/sh ends lines with it, here-documents too. So it gets to
# see another one. Outside quotes it is dropped afterwards: whoever writes `git push\r` means to push.
_RETURN = "\uf8ff"
_LONE = re.compile("[\ud800-\udfff]")  # halves of a character, which no UTF-8 can hold
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
# What a backslash quotes: in double quotes, in `${...}` within them, in a here-document. Elsewhere everything.
_QUOTES, _BRACES, _DOCUMENT = '$`"\\', '$`"\\}', "$`\\"
_DEFAULTS = frozenset({"-", ":-", "=", ":=", "?", ":?", "+", ":+"})


def tree(text: str) -> Node:
    """The tree of a script.

    Raises:
        UnreadableError: bash would refuse it, or it uses what we cannot follow.
        ParserError: the parser is missing or has failed.
    """
    return _Translator().sequence(shfmt.read(_LONE.sub("\ufffd", text.replace("\r", _RETURN))).stmts)


class _Translator:
    """One script; it counts words and nesting."""

    def __init__(self) -> None:
        self.depth = 0
        self.words = 0

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError("it is nested too deeply")

    # --- commands

    def sequence(self, stmts: tuple[shfmt.Stmt, ...]) -> Sequence:
        return Sequence(tuple(node for stmt in stmts for node in self._connected(stmt)))

    def _script(self, stmts: tuple[shfmt.Stmt, ...]) -> Sequence:
        self._deeper()
        found = self.sequence(stmts)
        self.depth -= 1
        return found

    def _connected(self, stmt: shfmt.Stmt) -> Iterator[Node]:
        """The sides of `&&` and `||`; their chain hangs to the left."""
        rights: list[shfmt.Stmt] = []
        while isinstance(stmt.cmd, shfmt.BinaryCmd) and stmt.cmd.op in {"&&", "||"}:
            rights.append(stmt.cmd.y)
            stmt = stmt.cmd.x
        yield self._node(stmt)
        for right in reversed(rights):
            yield from self._connected(right)

    def _single(self, stmt: shfmt.Stmt) -> Node:
        nodes = tuple(self._connected(stmt))
        return nodes[0] if len(nodes) == 1 else Sequence(nodes)

    def _node(self, stmt: shfmt.Stmt) -> Node:
        self._deeper()
        redirections = tuple(self._redirection(one) for one in stmt.redirs)
        node: Node
        if stmt.cmd is None:
            node = Simple(redirections=redirections)
        elif isinstance(stmt.cmd, shfmt.CallExpr):
            node = self._call(stmt.cmd, redirections)
        elif isinstance(stmt.cmd, shfmt.DeclClause):
            node = self._declaration(stmt.cmd, redirections)
        else:
            node = self._compound(stmt.cmd)
            if redirections:
                node = Group(node, subshell=False, redirections=redirections)
        self.depth -= 1
        return node

    def _compound(self, cmd: shfmt.Command) -> Node:
        if isinstance(cmd, shfmt.BinaryCmd):
            return self._pipeline(cmd)
        if isinstance(cmd, shfmt.Subshell):
            return Group(self._script(cmd.stmts), subshell=True)
        if isinstance(cmd, shfmt.Block):
            return Group(self.sequence(cmd.stmts), subshell=False)
        if isinstance(cmd, shfmt.IfClause):
            return self._if(cmd)
        if isinstance(cmd, shfmt.WhileClause):
            return Loop(Sequence((self.sequence(cmd.cond), self.sequence(cmd.do))))
        if isinstance(cmd, shfmt.ForClause):
            return self._for(cmd)
        if isinstance(cmd, shfmt.CaseClause):
            words = [cmd.word, *(word for item in cmd.items for word in item.patterns)]
            return Branch(
                Test(tuple(self._word(word) for word in words)), tuple(self.sequence(item.stmts) for item in cmd.items)
            )
        if isinstance(cmd, shfmt.FuncDecl):
            return Function(cmd.name.value, self._single(cmd.body))
        if isinstance(cmd, shfmt.TimeClause):
            return Sequence() if cmd.stmt is None else self._single(cmd.stmt)
        if isinstance(cmd, shfmt.CoprocClause):
            return self._coprocess(cmd.stmt)
        return self._test(cmd)

    def _coprocess(self, stmt: shfmt.Stmt) -> Node:
        """Behind `coproc`, mvdan/sh takes an assignment or the number of a redirection for the program."""
        if isinstance(stmt.cmd, shfmt.CallExpr) and stmt.cmd.args:
            first, *more = stmt.cmd.args[0].parts
            if more or not isinstance(first, shfmt.Lit) or not re.fullmatch(r"[\w./-]*[A-Za-z][\w./-]*", first.value):
                raise UnreadableError("a coproc begins with something else than the name of a program")
        return self._single(stmt)

    def _test(self, cmd: shfmt.Command) -> Test:
        if isinstance(cmd, shfmt.TestClause):
            return Test(tuple(self._word(word) for word in _operands(cmd.x)))
        if isinstance(cmd, shfmt.LetClause):
            return Test(tuple(self._number(one) for one in cmd.exprs))
        assert isinstance(cmd, shfmt.ArithmCmd)
        return Test((self._number(cmd.x),))

    def _pipeline(self, cmd: shfmt.BinaryCmd) -> Pipeline:
        stages, both = [cmd.y], [cmd.op == "|&"]
        left = cmd.x
        while isinstance(left.cmd, shfmt.BinaryCmd) and left.cmd.op in {"|", "|&"}:
            stages.append(left.cmd.y)
            both.append(left.cmd.op == "|&")
            left = left.cmd.x
        return Pipeline(tuple(self._single(one) for one in (left, *reversed(stages))), tuple(reversed(both)))

    def _if(self, cmd: shfmt.IfClause) -> Branch:
        tests, arms = [self.sequence(cmd.cond)], [self.sequence(cmd.then)]
        arm = cmd.else_
        while arm is not None:
            if arm.cond:
                tests.append(self.sequence(arm.cond))
            arms.append(self.sequence(arm.then))
            arm = arm.else_
        return Branch(Sequence(tuple(tests)), tuple(arms))

    def _for(self, cmd: shfmt.ForClause) -> Loop:
        loop = cmd.loop
        if isinstance(loop, shfmt.CStyleLoop):
            test = Test(tuple(self._number(one) for one in (loop.init, loop.cond, loop.post)))
            return Loop(Sequence((test, self.sequence(cmd.do))))
        values = None if loop.in_pos is None else tuple(self._word(word) for word in loop.items)
        return Loop(self.sequence(cmd.do), loop.name.value, values)

    def _call(self, cmd: shfmt.CallExpr, redirections: tuple[Redirection, ...]) -> Simple:
        if cmd.args and isinstance(cmd.args[0].parts[0], shfmt.ExtGlob):
            raise UnreadableError("a command begins with a pattern, or with a ! that has no blank behind it")
        assignments = tuple(self._assignment(one) for one in cmd.assigns)
        return Simple(assignments, tuple(self._word(word) for word in cmd.args), redirections)

    def _declaration(self, cmd: shfmt.DeclClause, redirections: tuple[Redirection, ...]) -> Simple:
        """`export` and its kin: only arrays are assignments to us, the rest are words that the machine reads."""
        assignments = []
        words = [self._word(shfmt.Word((cmd.variant,)))]
        for one in cmd.args:
            if one.array is not None:
                assignments.append(self._assignment(one))
                continue
            head = one.name.value if one.name else ""
            if one.index is not None:
                head += f"[{self._index(one.index)}]"
            if not one.naked:
                head += "+=" if one.append else "="
            word = self._word(one.value)
            words.append(Word(tuple(_joined([Literal(head, quoted=False), *word.parts])) if head else word.parts))
        return Simple(tuple(assignments), tuple(words), redirections)

    def _assignment(self, one: shfmt.Assign) -> Assignment:
        name = one.name.value if one.name else ""
        if one.index is not None:
            self._index(one.index)
        if one.array is None:
            return Assignment(name, (self._word(one.value),), append=one.append)
        for place, elem in enumerate(one.array.elems):
            index = "" if elem.index is None else self._index(elem.index)
            if index.isdigit() and int(index) != place:
                raise UnreadableError("an array's elements are out of order")
        return Assignment(
            name, tuple(self._word(elem.value) for elem in one.array.elems), array=True, append=one.append
        )

    def _redirection(self, one: shfmt.Redirect) -> Redirection:
        number = one.n.value if one.n else ""
        descriptor = int(number) if number.isdigit() and len(number) < 4 else None
        if one.op not in {"<<", "<<-"}:
            return Redirection(one.op, self._word(one.word), descriptor)
        quoted = False
        for part in one.word.parts:
            if not isinstance(part, shfmt.Lit | shfmt.SglQuoted | shfmt.DblQuoted):
                raise UnreadableError("a here-document's last line is no plain word")
            quoted = quoted or not isinstance(part, shfmt.Lit) or "\\" in part.value
        parts = () if one.hdoc is None else one.hdoc.parts
        if one.op == "<<-":
            parts = _without_tabs(parts)
        if quoted:
            text = "".join(part.value for part in parts if isinstance(part, shfmt.Lit))
            return Redirection("<<", Word((Literal(text.replace(_RETURN, "\r"), quoted=True),)), descriptor)
        return Redirection("<<", Word(tuple(self._parts(parts, _DOCUMENT))), descriptor)

    # --- words

    def _word(self, word: shfmt.Word | None) -> Word:
        self.words += 1
        if self.words > MAX_WORDS:
            raise UnreadableError("it has too many words")
        return Word() if word is None else Word(tuple(self._parts(word.parts)))

    def _parts(self, parts: tuple[shfmt.WordPart, ...], escaped: str | None = None) -> list[Part]:
        """`escaped`: what a backslash quotes where quotation marks are open already, or None where none are."""
        return _joined([one for part in parts for one in self._part(part, escaped)])

    def _part(self, part: shfmt.WordPart, escaped: str | None) -> list[Part]:
        quoted = escaped is not None
        if isinstance(part, shfmt.Lit):
            return _bare(part.value) if escaped is None else [_within(part.value, escaped)]
        if isinstance(part, shfmt.SglQuoted):
            text = part.value.replace(_RETURN, "\r")
            return [Literal(ansi(text) if part.dollar else text, quoted=True)]
        if isinstance(part, shfmt.DblQuoted):
            return [Literal("", quoted=True), *self._parts(part.parts, _QUOTES)]
        if isinstance(part, shfmt.ParamExp):
            return [self._variable(part, quoted=quoted)]
        if isinstance(part, shfmt.CmdSubst):
            return [Substitution(self._script(part.stmts), quoted)]
        if isinstance(part, shfmt.ProcSubst):
            return [Substitution(self._script(part.stmts), quoted=False, file=part.op[0])]
        if isinstance(part, shfmt.ArithmExp):
            return [Arithmetic(self._number(part.x))]
        if "$" in part.pattern.value or "`" in part.pattern.value:
            raise UnreadableError("a pattern holds a variable or a command")
        return [Literal("*", quoted=False)]  # `@(a|b)` and its kin match what they like

    def _variable(self, part: shfmt.ParamExp, *, quoted: bool) -> Variable:
        if part.param is None:
            raise UnreadableError("a ${...} has no name")
        name = part.param.value
        index = "" if part.index is None else self._index(part.index)
        if part.short:
            return Variable(name, quoted, index=index)
        self._deeper()
        op, operand = "", Word()
        if part.slice is not None:
            ends = [self._number(end).parts for end in (part.slice.offset, part.slice.length) if end is not None]
            op, operand = ":", Word((*ends[0], *((Literal(":", quoted=True), *ends[1]) if ends[1:] else ())))
        elif part.repl is not None:
            op, operand = self._replacement(part.repl, quoted=quoted)
        elif part.exp is not None:
            op, operand = part.exp.op, self._operand(part.exp.word, quoted=quoted, default=part.exp.op in _DEFAULTS)
        elif part.names:
            operand = Word((Literal(part.names, quoted=quoted),))
        self.depth -= 1
        return Variable(name, quoted, op="!" if part.excl else "#" if part.length else op, operand=operand, index=index)

    def _replacement(self, repl: shfmt.Replace, *, quoted: bool) -> tuple[str, Word]:
        """`/old/new`, whose operator may hold the edge that `old` is looked for at."""
        old = self._operand(repl.orig, quoted=quoted).parts
        op = "//" if repl.all else "/"
        if old and isinstance(first := old[0], Literal) and first.text[:1] in {"#", "%"}:
            op += first.text[0]
            old = (Literal(first.text[1:], first.quoted), *old[1:])
        if repl.with_ is None:
            return op, Word(old)
        return op, Word((*old, Literal("/", quoted=quoted), *self._operand(repl.with_, quoted=quoted).parts))

    def _operand(self, word: shfmt.Word | None, *, quoted: bool, default: bool = False) -> Word:
        """What stands behind the operator in `${name...}`.

        In double quotes, `'` is no quotation mark in a default value; mvdan/sh takes it for one.
        """
        found: list[Part] = []
        for part in () if word is None else word.parts:
            if quoted and default and isinstance(part, shfmt.SglQuoted):
                if part.dollar or set(part.value) & set('$`"\\}'):
                    raise UnreadableError("a default value has quotes in quotes")
                found.append(Literal(f"'{part.value}'", quoted=True))
            else:
                found.extend(self._part(part, _BRACES if quoted else None))
        return Word(tuple(_joined(found)))

    # --- arithmetic

    def _number(self, expr: shfmt.Arithm | None) -> Word:
        return Word() if expr is None else Word(tuple(_joined(self._arithmetic(expr))))

    def _arithmetic(self, expr: shfmt.Arithm) -> list[Part]:
        if isinstance(expr, shfmt.BinaryArithm):
            return [*self._arithmetic(expr.x), Literal(expr.op, quoted=True), *self._arithmetic(expr.y)]
        if isinstance(expr, shfmt.UnaryArithm):
            sides = (self._arithmetic(expr.x), [Literal(expr.op, quoted=True)])
            return [*sides[0], *sides[1]] if expr.post else [*sides[1], *sides[0]]
        if isinstance(expr, shfmt.ParenArithm):
            return [Literal("(", quoted=True), *self._arithmetic(expr.x), Literal(")", quoted=True)]
        return self._parts(expr.parts, _QUOTES)

    def _index(self, expr: shfmt.Arithm) -> str:
        """The text in `name[...]`, "$" where it depends on a variable."""
        word = self._number(expr)
        if any(_runs(part) for part in word.parts):
            raise UnreadableError("an index runs a command")
        return "".join(part.text if isinstance(part, Literal) else "$" for part in word.parts)


def _runs(part: Part) -> bool:
    """Whether a command runs when the part is expanded."""
    inner = part.operand if isinstance(part, Variable) else part.inner if isinstance(part, Arithmetic) else None
    return isinstance(part, Substitution) or (inner is not None and any(_runs(one) for one in inner.parts))


def _operands(expr: shfmt.TestExpr) -> Iterator[shfmt.Word]:
    if isinstance(expr, shfmt.Word):
        yield expr
    elif isinstance(expr, shfmt.BinaryTest):
        yield from _operands(expr.x)
        yield from _operands(expr.y)
    else:
        yield from _operands(expr.x)


def _without_tabs(parts: tuple[shfmt.WordPart, ...]) -> tuple[shfmt.WordPart, ...]:
    """A here-document of `<<-` without the tabs that lines begin with."""
    found: list[shfmt.WordPart] = []
    start = True
    for part in parts:
        if isinstance(part, shfmt.Lit):
            text = re.sub(r"\n\t+", "\n", part.value)
            found.append(shfmt.Lit(text.lstrip("\t") if start else text))
            start = text.endswith("\n")
        else:
            found.append(part)
            start = False
    return tuple(found)


def _bare(text: str) -> list[Part]:
    """Text outside quotes, where a backslash quotes what follows it."""
    found: list[Part] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        found.append(Literal(text[at : match.start()].replace(_RETURN, ""), quoted=False))
        found.append(Literal(match[1].replace(_RETURN, "\r") or "\\", quoted=True))
        at = match.end()
    found.append(Literal(text[at:].replace(_RETURN, ""), quoted=False))
    return [part for part in found if not isinstance(part, Literal) or part.text or part.quoted]


def _within(text: str, escaped: str) -> Literal:
    """Text in quotes, where a backslash quotes only some characters."""
    plain = _ESCAPE.sub(lambda match: match[1] if match[1] and match[1] in escaped else match[0], text)
    return Literal(plain.replace(_RETURN, "\r"), quoted=True)


def _joined(parts: list[Part]) -> list[Part]:
    """Neighbours that are quoted alike as one."""
    found: list[Part] = []
    for part in parts:
        last = found[-1] if found else None
        if isinstance(part, Literal) and isinstance(last, Literal) and part.quoted == last.quoted:
            found[-1] = Literal(last.text + part.text, part.quoted)
        else:
            found.append(part)
    return found
