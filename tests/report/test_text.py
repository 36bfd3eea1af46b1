"""Foreign text on terminals and in markdown."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightlab.report.text import MAX_LINE, block, clean, code, markdown, plain

HOSTILE = (
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07x",
    "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "\x1bP+q544e\x1b\\x",
    "\x9b2Jx",
    "a\x00b\x08c\x7f",
    "\u202eevil\u202c",
    "\ud800half",
    "tab\tline\nnext\r\nlast",
    "\x1b[",
    "\x1b",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    """No escape, control or direction character survives, and the result can be printed."""
    for safe in (clean(text), plain(text), markdown(text), code(text)):
        assert not {unicodedata.category(c) for c in safe.replace("\n", "").replace("\t", "")} & {"Cc", "Cf", "Cs"}
        safe.encode("utf-8")


@given(st.text())
def test_plain_is_one_bounded_line(text: str) -> None:
    """Whatever comes in, out comes one line within the limit."""
    line = plain(text, 40)
    assert len(line) <= 40
    assert "\n" not in line


def test_escape_sequences_vanish_and_words_stay() -> None:
    """Colours go, the words they coloured stay; a window title goes with its text."""
    assert plain("\x1b[1;31mloss\x1b[0m is \x1b]0;owned\x07low") == "loss is low"


def test_progress_bar_shows_what_a_terminal_would() -> None:
    """Of what a carriage return prints over itself only the last is left."""
    assert clean("step 1\rstep 2\rstep 3\ndone\r\n") == "step 3\ndone\n"


@pytest.mark.parametrize("piece", ["\r", "x\r", "\x1b", "\x1b]", "\x1b[", "\x1b[0", "\x9b;"])
def test_no_text_takes_for_ever(piece: str) -> None:
    """Megabytes of what a careless pattern would look at again and again."""
    clean(piece * 400_000)
    clean("\r" + piece[-1] * 2_000_000)


def test_an_unfinished_sequence_hides_one_line_at_most() -> None:
    """A title that never ends does not swallow the log."""
    assert clean("\x1b]0;title\nthe error") == "\nthe error"


def test_huge_text_is_not_read_to_its_end() -> None:
    """A description of many megabytes costs no more than its beginning."""
    assert plain("a" * 50_000_000, 20) == "a" * 19 + "…"


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("a|b", "a\\|b"),
        ("`x`", "\\`x\\`"),
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("![x](http://evil.example/p.png)", "!\\[x\\](http&#58;//evil.example/p.png)"),
        ("see www.evil.example", "see www&#46;evil.example"),
        ("**bold** _it_ val_bpb", "\\*\\*bold\\*\\* \\_it\\_ val_bpb"),
        ("a & b", "a &amp; b"),
        ("two\nlines", "two lines"),
        ("# no heading", "# no heading"),
    ],
)
def test_markdown_reads_as_its_words(text: str, safe: str) -> None:
    """Markup, HTML, links and images of other people's making are shown, not obeyed."""
    assert markdown(text) == safe


def test_code_spans_cannot_be_left() -> None:
    """A backtick in it does not end the span, a pipe does not end its table cell, and an empty one stays one."""
    assert code("a`b|c") == "`a'b¦c`"
    assert code("") == "` `"


def test_block_keeps_the_last_lines_and_bounds_each() -> None:
    """The tail of a log: its last lines, none of them endless."""
    text = "\n".join(["first", "x" * (MAX_LINE + 50), "last"])
    assert block(text, 2).split("\n")[1] == "last"
    assert all(len(line) <= MAX_LINE for line in block(text).split("\n"))
