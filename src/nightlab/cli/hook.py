"""`hook CLIENT`: the door that coding agents knock at."""

from __future__ import annotations

import argparse
import sys

CLIENTS = ("claude", "codex", "gemini", "cursor", "opencode")

_DESCRIPTION = """\
Answer one event of a coding agent: a JSON object on stdin, that client's own dialect on stdout. Nothing is printed
where there is nothing to say, and the exit code is always 0: a hook that fails must not stop an agent. What went wrong
is in results/nightlab/hooks.log. `nightlab agents install CLIENT` writes the few lines that make a client ask.
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "hook",
        help="answer an event of a coding agent (stdin: JSON)",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("client", choices=CLIENTS, metavar="CLIENT", help=", ".join(CLIENTS))
    parser.set_defaults(handler=cmd_hook)


def cmd_hook(args: argparse.Namespace) -> int:
    """Print the answer, if there is one."""
    from nightlab.agent.hooks.door import answer
    from nightlab.agent.hooks.guarding import ParsedPolicy

    said = answer(args.client, sys.stdin.buffer.read(), ParsedPolicy())
    if said:
        sys.stdout.buffer.write(said)
        sys.stdout.buffer.flush()
    return 0
