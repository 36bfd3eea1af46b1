"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence

from nightlab import __version__
from nightlab.cli import execute, labs, memory, night, views
from nightlab.errors import NightlabError

_DESCRIPTION = """\
Run experiments on one file, one metric, one fixed budget, all night.

first steps:
  nightlab demo            a night in miniature on this machine, no set-up
  nightlab new DIR         a lab with the shipped benchmark
  nightlab init            make the repository you are in a lab
  nightlab run --runs 50   work on it; Ctrl-C stops cleanly, `nightlab run` goes on
"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nightlab", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"nightlab {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for module in (night, labs, views, memory, execute):
        module.register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 ok, 1 it failed and says why, 2 usage or a blocked idea."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal in another encoding shows "?" where it has no letter
    args = build_parser().parse_args(argv)
    handler: Callable[[argparse.Namespace], int] = args.handler
    try:
        return handler(args)
    except NightlabError as exc:
        print(f"error: {exc.args[0]}", file=sys.stderr)
        if exc.hint:
            print(f"\nhint: {exc.hint}", file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output has gone (`| head`): nothing is wrong, and nothing more can be said.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
