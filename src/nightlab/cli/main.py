"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import errno
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TextIO

from nightlab import __version__
from nightlab.cli import execute, labs, memory, night, views
from nightlab.errors import NightlabError
from nightlab.report import text as safe

_HINTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some disk space (`df -h`), then the same again"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "get the permission to read and write there"),
}
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
    code = 0
    try:
        code = handler(args)
        sys.stdout.flush()  # here, where a reader who has gone and a full disk are known for what they are
    except NightlabError as exc:
        _complain(str(exc.args[0]), exc.hint)
        return exc.exit_code
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        _drop(
            sys.stdout
        )  # the reader of our output has gone (`| head`): nothing is wrong, and nothing more can be said
    except OSError as exc:  # a disk that is full or may not be written, wherever nobody had more to say of it
        named = f": {os.fsdecode(exc.filename)}" if isinstance(exc.filename, str | bytes) else ""
        _complain(f"{exc.strerror or exc}{named}", _HINTS.get(exc.errno or 0, ""))
        _drop(sys.stdout)
        return 1
    finally:
        try:
            sys.stderr.flush()
        except (OSError, ValueError):
            _drop(sys.stderr)
    return code


def _complain(message: str, hint: str) -> None:
    """Say what is wrong. Messages quote files, commits and agents, so what could steer a terminal is taken out."""
    with suppress(OSError, ValueError):  # nobody reads it: the exit code has to do
        print(f"error: {safe.block(message)}", file=sys.stderr)
        if hint:
            print(f"\nhint: {safe.block(hint)}", file=sys.stderr)


def _drop(stream: TextIO) -> None:
    """What is still to be written there goes nowhere, instead of failing once more when Python ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


if __name__ == "__main__":
    sys.exit(main())
