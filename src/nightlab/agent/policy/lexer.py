"""Words of the shell: quotes, backslashes, `$`, backquotes, braces. The half of the parser that reads characters.

A grammar for editors (tree-sitter-bash 0.25) was measured first: it gives a redirection to a whole list instead of its
last command, `|` the precedence of `&&`, a second here-document to nobody, and errors where bash has none
(`cmd > f <<< word`, `{a,b}`, `cmd <<X arg`). What decides whether a command may run has to read it as bash does.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from nightlab.agent.policy.syntax import Arithmetic, Literal, Node, Part, Substitution, Variable, Word

MAX_DEPTH = 40  # of nesting; people write three or four
MAX_WORDS = 5_000  # of one text, here-documents not counted; a long list of files is a tenth of it
_NAME = re.compile(r"[A-Za-z_]\w*|\d+|[@*#?$!-]")
_BARE = re.compile(r"[A-Za-z_]\w*|[\d@*#?$!-]")
_OPERATOR = re.compile(r":?[-=+?]|##?|%%?|//?[#%]?|\^\^?|,,?|:|@")
_ANSI = re.compile(
    r"\\(?:x([0-9a-fA-F]{1,2})|([0-7]{1,3})|u([0-9a-fA-F]{1,4})|U([0-9a-fA-F]{1,8})|c(.)|(.))", re.DOTALL
)
_ANSI_NAMED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "e": "\x1b", "E": "\x1b", "f": "\f", "v": "\v"}
_PLAIN = re.compile(r"[\w./:%,-]+")  # nothing that any of our ends could be
BREAKS = frozenset(" \t\n;&|<>()")


class UnreadableError(Exception):
    """The text is no shell command that we can follow; the message says why."""


def ansi(text: str) -> str:
    """What `$'text'` stands for."""

    def one(match: re.Match[str]) -> str:
        two, octal, four, eight, control, named = match.groups()
        if control:
            return chr(ord(control) & 31)
        if named:
            return _ANSI_NAMED.get(named, named)
        code = int(octal, 8) & 255 if octal else int(two or four or eight, 16)
        return chr(code) if code < 0x110000 else ""

    return _ANSI.sub(one, text)


class Lexer:
    """A text, a place in it, and the words that begin there. `script` and `restart` come from the grammar above."""

    def __init__(self, text: str, depth: int = 0) -> None:
        if depth > MAX_DEPTH:
            raise UnreadableError("it is nested too deeply")
        self.text = text
        self.at = 0
        self.depth = depth
        self.words = 0

    def script(self, closing: str) -> Node:
        """A whole script up to `closing`, which is consumed."""
        raise NotImplementedError

    def parse_apart(self, text: str) -> Node:
        """A script that was cut out of the text, as backquotes do."""
        raise NotImplementedError

    def peek(self, length: int = 1) -> str:
        return self.text[self.at : self.at + length]

    def deeper(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError("it is nested too deeply")

    def find(self, what: str) -> int:
        """Where `what` comes next.

        Raises:
            UnreadableError: nowhere.
        """
        place = self.text.find(what, self.at)
        if place < 0:
            raise UnreadableError(f"a {what} has no twin")
        return place

    def word(self) -> Word:
        """The word that begins here, up to the next unquoted blank or operator."""
        self.words += 1
        if self.words > MAX_WORDS:
            raise UnreadableError("it has too many words")
        return Word(tuple(self.parts(lambda char: char in BREAKS, quoted=False)))

    def parts(self, ends: Callable[[str], bool], *, quoted: bool, plain: bool = False) -> list[Part]:
        """Parts up to a character that `ends` names. `plain`: quotation marks mean nothing, as in a here-document."""
        found: list[Part] = []
        start = self.at
        while self.at < len(self.text):
            char = self.text[self.at]
            quote = not plain and ((char == "'" and not quoted) or (char == '"' and not (quoted and ends(char))))
            special = quote or char in "\\$`"
            files = not quoted and char in "<>" and self.peek(2)[1:] == "(" and start == self.at
            if not special and not files and not self._pattern_group(quoted) and ends(char):
                break
            if files:
                self.at += 2
                found.append(Substitution(self.script(")"), quoted=False, file=char))
            elif char == "\\":
                found.extend(self._backslash(quoted or plain, plain=plain))
            elif char in "$`":
                found.extend(self._dollar(quoted=quoted) if char == "$" else [self._backquotes(quoted=quoted)])
            elif quote and char == "'":
                self.at += 1
                end = self.find("'")
                found.append(Literal(self.text[self.at : end], quoted=True))
                self.at = end + 1
            elif quote:
                found.extend(self._double())
            else:
                run = self._run(char, quoted=quoted)
                if found and isinstance(last := found[-1], Literal) and last.quoted == quoted:
                    found[-1] = Literal(last.text + run.text, quoted)
                else:
                    found.append(run)
        return found

    def _run(self, char: str, *, quoted: bool) -> Literal:
        if self._pattern_group(quoted):  # `@(a|b)` and its kin match what they like
            self.at += 2
            level = 1
            while level and self.at < len(self.text):
                level += {"(": 1, ")": -1}.get(self.text[self.at], 0)
                self.at += 1
            return Literal("*", quoted=False)
        run = _PLAIN.match(self.text, self.at)
        self.at = run.end() if run else self.at + 1
        return Literal(run[0] if run else char, quoted=quoted)

    def _pattern_group(self, quoted: bool) -> bool:
        return not quoted and self.peek() in {"@", "?", "*", "+", "!"} and self.peek(2)[1:] == "("

    def _backslash(self, inside: bool, *, plain: bool) -> list[Part]:
        pair = self.peek(2)
        self.at += 2
        if pair == "\\\n":
            return []
        if inside and pair[1:] not in ({"$", "`", "\\"} if plain else {"$", "`", "\\", '"'}):
            return [Literal(pair, quoted=True)]
        return [Literal(pair[1:] or "\\", quoted=True)]

    def _double(self) -> list[Part]:
        self.at += 1
        inner = self.parts(lambda char: char == '"', quoted=True)
        if self.peek() != '"':
            raise UnreadableError('a " has no twin')
        self.at += 1
        return [Literal("", quoted=True), *inner]

    def _dollar(self, *, quoted: bool) -> list[Part]:
        two = self.peek(2)[1:]
        if self.peek(3) == "$((" and (arithmetic := self._arithmetic()):
            return [arithmetic]
        if two == "(":
            self.at += 2
            return [Substitution(self.script(")"), quoted=quoted)]
        if two == "{":
            return [self._braced(quoted=quoted)]
        if two == "'" and not quoted:
            self.at += 2
            match = re.compile(r"(?:[^'\\]|\\.)*", re.DOTALL).match(self.text, self.at)
            assert match is not None
            self.at = match.end() + 1
            if self.at > len(self.text):
                raise UnreadableError("a $' has no twin")
            return [Literal(ansi(match[0]), quoted=True)]
        if two == '"' and not quoted:
            self.at += 1
            return []
        self.at += 1
        if name := _BARE.match(self.text, self.at):
            self.at = name.end()
            return [Variable(name[0], quoted)]
        return [Literal("$", quoted=True)]

    def _arithmetic(self) -> Arithmetic | None:
        """`$((...))`, or None (and nothing consumed) where it is `$( (...) ...)`."""
        level, end = 0, self.at + 1
        while end < len(self.text):
            level += {"(": 1, ")": -1}.get(self.text[end], 0)
            end += 1
            if level == 0:
                break
        if level or self.text[end - 2 : end] != "))":
            return None
        inner = type(self)(self.text[self.at + 3 : end - 2], self.depth + 1)
        self.at = end
        return Arithmetic(Word(tuple(inner.parts(lambda _: False, quoted=True))))

    def _braced(self, *, quoted: bool) -> Variable:
        self.at += 2
        self.deeper()
        lead = self.peek() if self.peek() in {"!", "#"} and self.peek(2)[1:] not in {"}", ""} else ""
        self.at += len(lead)
        name = _NAME.match(self.text, self.at)
        if name is None:
            raise UnreadableError("a ${...} has no name")
        self.at = name.end()
        index = ""
        if self.peek() == "[":
            end = self.find("]")
            index = self.text[self.at + 1 : end]
            self.at = end + 1
        op = ""
        if self.peek() != "}" and (match := _OPERATOR.match(self.text, self.at)):
            op = match[0]
            self.at = match.end()
        operand = Word(tuple(self.parts(lambda char: char == "}", quoted=quoted)))
        if self.peek() != "}":
            raise UnreadableError("a ${ has no twin")
        self.at += 1
        self.depth -= 1
        return Variable(name[0], quoted, op=lead or op, operand=operand, index=index)

    def _backquotes(self, *, quoted: bool) -> Substitution:
        match = re.compile(r"`((?:[^`\\]|\\.)*)`", re.DOTALL).match(self.text, self.at)
        if match is None:
            raise UnreadableError("a ` has no twin")
        self.at = match.end()
        inner = re.sub(r'\\([$`\\"])' if quoted else r"\\([$`\\])", r"\1", match[1])
        return Substitution(self.parse_apart(inner), quoted)
