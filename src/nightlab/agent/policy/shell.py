"""A shell command as a tree: the grammar of bash, as far as programs, words and redirections need it.

`parse` is strict: what it does not know is unreadable, never skipped. Connectors (`&&`, `||`, `;`, `&`) are dropped,
since each side may run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeVar

from nightlab.agent.policy.lexer import BREAKS, Lexer, UnreadableError
from nightlab.agent.policy.syntax import (
    Assignment,
    Branch,
    Function,
    Group,
    Literal,
    Loop,
    Node,
    Pipeline,
    Redirection,
    Sequence,
    Simple,
    Test,
    Word,
)

T = TypeVar("T")
MAX_LENGTH = 200_000  # characters; a whole source file in a here-document is a tenth of it
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(?:\[[^]]*\])?(\+?)=")
_REDIRECTION = re.compile(r"(\d+|\{\w+\})?(&>>|&>|<<<|<<-|<<|<>|<&|>>|>&|>\||<(?!\()|>(?!\())")
_RESERVED = re.compile(r"[^\s;&|<>()'\"\\$`]+")
DECLARING = frozenset({"declare", "export", "local", "readonly", "typeset"})
_CLOSERS = frozenset({"then", "elif", "else", "fi", "do", "done", "esac", "}"})


def parse(text: str) -> Node:
    """The tree of a command.

    Raises:
        UnreadableError: bash would refuse it, or it uses what this grammar does not know.
    """
    if len(text) > MAX_LENGTH:
        raise UnreadableError("it is too long")
    try:
        return _read(text, 0, Parser.whole)
    except RecursionError as exc:
        raise UnreadableError("it is nested too deeply") from exc


def _read(text: str, depth: int, reader: Callable[[Parser], T]) -> T:
    """What `reader` finds in the text, here-documents included.

    Their text comes after the line that they stand on, when that line's tree is made already. So a text that holds some
    is read twice, and the second time what they say is known by the place where they are announced.
    """
    parser = Parser(text, depth)
    found = reader(parser)
    if not parser.documents:
        return found
    return reader(Parser(text, depth, parser.documents))


def _expandable(parser: Parser) -> Word:
    """The whole text as a here-document without quotes reads it."""
    return Word(tuple(parser.parts(lambda _: False, quoted=True, plain=True)))


class Parser(Lexer):
    """Recursive descent; `pending` are the here-documents whose text comes after this line."""

    def __init__(self, text: str, depth: int = 0, documents: Mapping[int, Word] | None = None) -> None:
        super().__init__(text, depth)
        self.known = documents
        self.documents: dict[int, Word] = {}  # place of the word after `<<` -> the document
        self.pending: list[tuple[int, str, bool, bool]] = []  # place, its last line, quoted, without leading tabs

    def whole(self) -> Node:
        node = self.sequence()
        if self.at < len(self.text):
            raise UnreadableError(f"a {self.peek()!r} stands where none can")
        self._bodies()
        return node

    def script(self, closing: str) -> Node:
        self.deeper()
        outer, self.pending = self.pending, []
        node = self.sequence()
        self.blank()
        if self.peek() != closing:
            raise UnreadableError(f"a {closing!r} is missing")
        self.at += 1
        self.pending = outer
        self.depth -= 1
        return node

    def parse_apart(self, text: str) -> Node:
        return _read(text, self.depth + 1, Parser.whole)

    # --- blanks and lines

    def blank(self) -> None:
        while self.at < len(self.text):
            if self.peek() in {" ", "\t", "\r"}:
                self.at += 1
            elif self.peek(2) == "\\\n":
                self.at += 2
            elif self.peek() == "#":
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            else:
                return

    def lines(self) -> None:
        self.blank()
        while self.peek() == "\n":
            self.at += 1
            self._bodies()
            self.blank()

    def _bodies(self) -> None:
        for place, end, quoted, tabs in self.pending:
            lines: list[str] = []
            while self.at < len(self.text):
                stop = self.text.find("\n", self.at)
                stop = len(self.text) if stop < 0 else stop
                line = self.text[self.at : stop]
                self.at = min(stop + 1, len(self.text))
                line = line.lstrip("\t") if tabs else line
                if line == end:
                    break
                lines.append(line + "\n")
            body = "".join(lines)
            if self.known is not None:
                continue
            word = Word((Literal(body, quoted=True),))
            self.documents[place] = word if quoted else _read(body, self.depth + 1, _expandable)
        self.pending = []

    def reserved(self) -> str:
        """The bare word that stands here, or ""."""
        self.blank()
        match = _RESERVED.match(self.text, self.at)
        if match is None or (match.end() < len(self.text) and self.text[match.end()] not in BREAKS):
            return ""
        return match[0]

    def expect(self, *words: str) -> str:
        self.lines()
        word = self.reserved()
        if word not in words:
            raise UnreadableError(f"{' or '.join(words)} is missing")
        self.at += len(word)
        return word

    # --- lists

    def sequence(self) -> Sequence:
        items: list[Node] = []
        while True:
            self.lines()
            if not self.peek() or self.peek() == ")" or self.peek(2) == ";;" or self.peek(2) == ";&":
                break
            if self.reserved() in _CLOSERS:
                break
            items.extend(self._connected())
            self.blank()
            if self.peek(2) in {";;", ";&"}:
                break
            if self.peek() in {";", "&"}:
                self.at += 1
            elif self.peek() not in {"\n", ")", ""}:
                if self.reserved() in _CLOSERS:
                    break
                raise UnreadableError(f"a {self.peek()!r} stands where none can")
        return Sequence(tuple(items))

    def _connected(self) -> list[Node]:
        items = [self._pipeline()]
        self.blank()
        while self.peek(2) in {"&&", "||"}:
            self.at += 2
            self.lines()
            items.append(self._pipeline())
            self.blank()
        return items

    def _pipeline(self) -> Node:
        while (word := self.reserved()) in {"!", "time"}:
            self.at += len(word)
            if word == "time" and self.reserved() == "-p":
                self.at = self.text.index("-p", self.at) + 2
        stages = [self._command()]
        both: list[bool] = []
        self.blank()
        while self.peek() == "|" and self.peek(2) != "||":
            both.append(self.peek(2) == "|&")
            self.at += 1 + both[-1]
            self.lines()
            stages.append(self._command())
            self.blank()
        return Pipeline(tuple(stages), tuple(both)) if both else stages[0]

    # --- commands

    def _command(self) -> Node:
        self.blank()
        self.deeper()
        node = self._compound(self.reserved())
        if node is None:
            node = self._simple()
        elif not isinstance(node, Function) and (redirections := self._redirections()):
            node = Group(node, subshell=False, redirections=tuple(redirections))
        self.depth -= 1
        return node

    def _compound(self, word: str) -> Node | None:
        if self.peek(2) == "((":
            end = self.find("))")
            inner = Parser(self.text[self.at + 2 : end], self.depth + 1)
            self.at = end + 2
            return Test((Word(tuple(inner.parts(lambda _: False, quoted=True))),))
        if self.peek() == "(":
            self.at += 1
            return Group(self.script(")"), subshell=True)
        readers = {
            "{": self._braces,
            "if": self._if,
            "while": self._while,
            "until": self._while,
            "for": self._for,
            "select": self._for,
            "case": self._case,
            "function": self._function,
            "[[": self._test,
        }
        if word == "coproc":
            self.at += len(word)
            return self._command()
        if word not in readers:
            return None
        self.at += len(word)
        return readers[word]()

    def _braces(self) -> Node:
        body = self.sequence()
        self.expect("}")
        return Group(body, subshell=False)

    def _if(self) -> Node:
        tests: list[Node] = [self.sequence()]
        self.expect("then")
        arms: list[Node] = [self.sequence()]
        while (word := self.expect("elif", "else", "fi")) != "fi":
            if word == "elif":
                tests.append(self.sequence())
                self.expect("then")
            arms.append(self.sequence())
        return Branch(Sequence(tuple(tests)), tuple(arms))

    def _while(self) -> Node:
        test = self.sequence()
        return Loop(Sequence((test, self._body())))

    def _body(self) -> Node:
        self.lines()
        if self.peek() == ";":
            self.at += 1
        if self.reserved() == "{":
            self.at += 1
            return self._braces()
        self.expect("do")
        body = self.sequence()
        self.expect("done")
        return body

    def _for(self) -> Node:
        self.blank()
        if self.peek(2) == "((":
            test = self._compound("")
            assert test is not None
            return Loop(Sequence((test, self._body())))
        name = self.reserved()
        self.at += len(name)
        self.lines()
        values: list[Word] | None = None
        if self.reserved() == "in":
            self.at += 2
            values = self._words()
        return Loop(self._body(), name, None if values is None else tuple(values))

    def _words(self) -> list[Word]:
        words = []
        self.blank()
        while self.peek() and (self.peek() not in BREAKS or self.peek(2) in {"<(", ">("}):
            words.append(self.word())
            self.blank()
        return words

    def _case(self) -> Node:
        self.blank()
        subject = self.word()
        self.expect("in")
        arms: list[Node] = []
        self.lines()
        while self.reserved() != "esac":
            self.at += self.peek() == "("
            while self.peek() != ")":
                if not self._words() and self.peek() != "|":
                    raise UnreadableError("a case has no )")
                self.at += self.peek() == "|"
                self.blank()
            self.at += 1
            arms.append(self.sequence())
            self.lines()
            while self.peek() in {";", "&"}:
                self.at += 1
            self.lines()
        self.at += len("esac")
        return Branch(Test((subject,)), tuple(arms))

    def _function(self) -> Node:
        name = self.reserved()
        self.at += len(name)
        self.blank()
        if self.peek(2) == "()":
            self.at += 2
        self.lines()
        return Function(name, self._command())

    def _test(self) -> Node:
        words: list[Word] = []
        while True:
            self.lines()
            if not self.peek():
                raise UnreadableError("a [[ has no twin")
            if self.reserved() == "]]":
                self.at += 2
                return Test(tuple(words))
            if self.peek() in {"&", "|", "<", ">", "(", ")", ";"} and self.peek(2) not in {"<(", ">("}:
                self.at += 1
            else:
                words.append(self.word())

    def _simple(self) -> Node:
        assignments: list[Assignment] = []
        words: list[Word] = []
        redirections: list[Redirection] = []
        while True:
            self.blank()
            if self._redirection(redirections):
                continue
            if (not words or self._declared(words)) and (assignment := self._assignment()):
                assignments.append(assignment)
            elif self.peek() and (self.peek() not in BREAKS or self.peek(2) in {"<(", ">("}):
                start = self.at
                words.append(self.word())
                self.blank()
                if self.peek() == "(" and len(words) == 1:
                    name = self.text[start : self.at].strip()
                    self.at += 1
                    self.expect_closing()
                    self.lines()
                    return Function(name, self._command())
            else:
                break
        if not (assignments or words or redirections):
            raise UnreadableError(
                "a command is missing" if not self.peek() else f"a {self.peek()!r} stands where none can"
            )
        return Simple(tuple(assignments), tuple(words), tuple(redirections))

    def _declared(self, words: list[Word]) -> bool:
        """Whether `name=(...)` stands here behind `declare` or one of its kin."""
        match = _ASSIGNMENT.match(self.text, self.at)
        first = "".join(part.text for part in words[0].parts if isinstance(part, Literal))
        return match is not None and self.text[match.end() : match.end() + 1] == "(" and first in DECLARING

    def expect_closing(self) -> None:
        self.blank()
        if self.peek() != ")":
            raise UnreadableError("a ( stands where none can")
        self.at += 1

    def _assignment(self) -> Assignment | None:
        match = _ASSIGNMENT.match(self.text, self.at)
        if match is None:
            return None
        self.at = match.end()
        if self.peek() != "(":
            return Assignment(match[1], (self.word(),), append=bool(match[2]))
        self.at += 1
        values: list[Word] = []
        self.lines()
        while self.peek() != ")":
            found = self._words()
            values.extend(found)
            self.lines()
            if not found and self.peek() != ")":
                raise UnreadableError("an array has no )")
        self.at += 1
        return Assignment(match[1], tuple(values), array=True, append=bool(match[2]))

    # --- redirections

    def _redirections(self) -> list[Redirection]:
        found: list[Redirection] = []
        self.blank()
        while self._redirection(found):
            self.blank()
        return found

    def _redirection(self, found: list[Redirection]) -> bool:
        match = _REDIRECTION.match(self.text, self.at)
        if match is None:
            return False
        self.at = match.end()
        self.blank()
        if not self.peek() or (self.peek() in BREAKS and self.peek(2) not in {"<(", ">("}):
            raise UnreadableError(f"{match[2]} leads nowhere")
        start = self.at
        target = self.word()
        descriptor = int(match[1]) if match[1] and match[1].isdigit() and len(match[1]) < 4 else None
        op = match[2]
        if op in {"<<", "<<-"}:
            raw = self.text[start : self.at]
            end = "".join(part.text for part in target.parts if isinstance(part, Literal))
            self.pending.append((start, end, any(mark in raw for mark in "'\"\\"), op == "<<-"))
            op, target = "<<", (self.known or {}).get(start, Word())
        found.append(Redirection(op, target, descriptor))
        return True
