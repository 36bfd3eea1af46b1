"""`hook CLIENT`: the door that coding agents knock at."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nightlab.agent.names import NAMES

if TYPE_CHECKING:
    import argparse

    from nightlab.agent.hooks.respond import Policy

_DESCRIPTION = """\
Answer one event of a coding agent: a JSON object on stdin, that client's own dialect on stdout. Nothing is printed
where there is nothing to say, and the exit code is always 0: a hook that fails must not stop an agent. What went wrong
is in results/nightlab/hooks.log. `nightlab agents install CLIENT` writes the few lines that make a client ask.
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    from argparse import RawDescriptionHelpFormatter

    parser = commands.add_parser(
        "hook",
        help="answer an event of a coding agent (stdin: JSON)",
        description=_DESCRIPTION,
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument("client", choices=NAMES, metavar="CLIENT", help=", ".join(NAMES))
    parser.set_defaults(handler=cmd_hook)


def at_once(words: Sequence[str]) -> int:
    """Answer if the words are a client's name and nothing else; the exit code, which is 0 whatever they are.

    Clients take 2, the code of every other wrong command line, for a veto.
    """
    if len(words) != 1 or words[0] not in NAMES:
        print(f"nightlab hook takes one of {', '.join(NAMES)}, and nothing else", file=sys.stderr)
        return 0
    _answer(words[0])
    return 0


def cmd_hook(args: argparse.Namespace) -> int:
    """Print the answer, if there is one."""
    _answer(args.client)
    return 0


def _answer(client: str) -> None:
    from nightlab.agent.hooks.door import answer

    try:
        said = answer(client, sys.stdin.buffer.read(), _policy)
        if said:
            sys.stdout.buffer.write(said)
            sys.stdout.buffer.flush()
    except (OSError, AttributeError) as exc:  # a stream that is closed, or none at all
        print(f"nightlab hook: {exc}", file=sys.stderr)


def _policy() -> Policy:
    """The policy, which only a shell command needs to be loaded for."""
    from nightlab.agent.hooks.guarding import ParsedPolicy

    return ParsedPolicy()
