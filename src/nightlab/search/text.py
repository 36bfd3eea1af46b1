"""Where a syntax node stands in its text, and replacing it there without touching anything else."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable


class Text:
    """A source text that knows the byte offsets of its syntax tree's nodes.

    `ast` counts lines from one, ending at any of the three newlines, and columns in UTF-8 bytes.
    """

    def __init__(self, text: str) -> None:
        self.data = text.encode("utf-8", "surrogatepass")
        mark = 3 if self.data.startswith(b"\xef\xbb\xbf") else 0
        self._starts = [mark, *(end.end() for end in re.finditer(rb"\r\n|\r|\n", self.data))]

    def span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        """Byte offsets of the node's first character and of the one after its last."""
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self.offset(node.lineno, node.col_offset), self.offset(node.end_lineno, node.end_col_offset)

    def offset(self, line: int, column: int) -> int:
        return self._starts[line - 1] + column

    def slice(self, start: int, end: int) -> str:
        return self.data[start:end].decode("utf-8", "surrogatepass")

    def of(self, node: ast.expr | ast.stmt) -> str:
        return self.slice(*self.span(node))

    def line_end(self, node: ast.expr | ast.stmt) -> str:
        """What follows the node on its last line."""
        match = re.compile(rb"[^\r\n]*").match(self.data, self.span(node)[1])
        return match.group().decode("utf-8", "surrogatepass") if match else ""

    def replaced(self, changes: Iterable[tuple[int, int, str]]) -> str:
        """The text with each (start, end) replaced. Spans must not overlap."""
        out, at = [], 0
        for start, end, new in sorted(changes):
            out += [self.data[at:start], new.encode("utf-8", "surrogatepass")]
            at = end
        return b"".join([*out, self.data[at:]]).decode("utf-8", "surrogatepass")

    def next_line(self, node: ast.expr | ast.stmt) -> int:
        """Byte offset of the line after the node's last."""
        assert node.end_lineno is not None
        return self._starts[node.end_lineno] if node.end_lineno < len(self._starts) else len(self.data)

    @property
    def newline(self) -> str:
        """How the text ends its lines."""
        return "\r\n" if b"\r\n" in self.data else "\n"
