"""A shell command as a tree: mvdan/sh reads the grammar of bash (`shfmt`), `translate` makes our tree of what it found.

The policy once had a grammar of its own, since one for editors (tree-sitter-bash 0.25) gives a redirection to a whole
list instead of its last command and a second here-document to nobody. mvdan/sh reads those as bash does, and where it
differs it is stricter: what it refuses is unreadable, never skipped.
"""

from __future__ import annotations

import re
from functools import lru_cache

from nightlab.agent.policy.syntax import MAX_WORDS, Literal, Node, Sequence, Simple, UnreadableError, Word

MAX_LENGTH = 200_000  # characters; a whole source file in a here-document is a tenth of it
DECLARING = frozenset({"declare", "export", "local", "readonly", "typeset"})
_PLAIN = re.compile(r"[ \t]*[A-Za-z0-9_./:,@%+-]+(?:[ \t]+[A-Za-z0-9_./=:,@%+-]+)*[ \t]*")
_RESERVED = frozenset(
    {"if", "then", "elif", "else", "fi", "for", "select", "while", "until", "do", "done", "case", "esac"}
    | {"function", "time", "coproc", "let"}
)


def parse(text: str) -> Node:
    """The tree of a command.

    A few words without any character that means something to a shell are read here; for anything else a process is
    started, which takes milliseconds.

    Raises:
        UnreadableError: bash would refuse it, or it is too large, or it uses what we cannot follow.
        ParserError: the parser is missing or has failed.
    """
    if len(text) > MAX_LENGTH:
        raise UnreadableError("it is too long")
    if "\0" in text:
        raise UnreadableError("it holds a NUL character, which no command can")
    if _PLAIN.fullmatch(text) and (words := text.split())[0] not in _RESERVED and len(words) <= MAX_WORDS:
        return Sequence((Simple(words=tuple(Word((Literal(word, quoted=False),)) for word in words)),))
    return _asked(text)


@lru_cache(maxsize=64)  # loops are followed twice
def _asked(text: str) -> Node:
    from nightlab.agent.policy.translate import tree  # its structs cost time that plain words need not wait for

    try:
        return tree(text)
    except RecursionError as exc:
        raise UnreadableError("it is nested too deeply") from exc
