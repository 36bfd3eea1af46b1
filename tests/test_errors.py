"""Errors say what happened and what to do, and the tree in the docstring is the tree in the code."""

from __future__ import annotations

import re

import pytest

from nightlab import errors
from nightlab.errors import AlreadyRecordedError, NightlabError, UsageError

CLASSES = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, NightlabError)]


def drawn_parents() -> dict[str, str]:
    """Each class of the docstring's tree with the class it hangs on."""
    parents: dict[str, str] = {}
    above: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        match = re.match(r"([│ ├└─]*)(\w+Error)\b", line)
        if match is None:
            continue
        depth = len(match[1]) // 4
        above[depth] = match[2]
        parents[match[2]] = above[depth - 1] if depth else "Exception"
    return parents


def test_the_drawn_tree_is_the_tree() -> None:
    """The docstring draws every error under its base class, and nothing that does not exist."""
    assert drawn_parents() == {cls.__name__: cls.__bases__[0].__name__ for cls in CLASSES}


def test_a_hint_follows_the_message() -> None:
    """A hint is printed on a line of its own after the message."""
    assert str(NightlabError("the disk is full", hint="make room")) == "the disk is full\nhint: make room"


def test_no_hint_no_line() -> None:
    """Without a hint the message stands alone."""
    assert str(NightlabError("the disk is full")) == "the disk is full"


@pytest.mark.parametrize("cls", CLASSES)
def test_exit_codes(cls: type[NightlabError]) -> None:
    """Wrong usage and an idea that the lab has had leave with 2, everything else that fails with 1."""
    assert cls("what happened").exit_code == (2 if issubclass(cls, UsageError | AlreadyRecordedError) else 1)
