"""Where `nightlab` begins: what agents ask by the hundred is answered before the command line is even loaded."""

from __future__ import annotations

import sys


def main() -> int:
    """The exit code of the command that was typed."""
    words = sys.argv[1:]
    if words[:1] == ["hook"]:
        from nightlab.cli.hook import at_once

        if at_once(words[1:]):
            return 0
    from nightlab.cli.main import main as command_line

    return command_line(words)
