"""Where `nightlab` begins: what agents ask by the hundred is answered before the command line is even loaded."""

from __future__ import annotations

import sys

_HELP = (["--help"], ["-h"])


def main() -> int:
    """The exit code of the command that was typed."""
    words = sys.argv[1:]
    if words[:1] == ["hook"] and words[1:] not in _HELP:
        from nightlab.cli.hook import at_once

        return at_once(words[1:])
    from nightlab.cli.main import main as command_line

    return command_line(words)
