"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import argparse
import errno
import importlib
import io
import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TextIO

from nightlab import __version__
from nightlab.cli.compose import settings_of
from nightlab.errors import LedgerDamagedError, NightlabError
from nightlab.report import text as safe

_HINTS = {
    **dict.fromkeys((errno.ENOSPC, errno.EDQUOT, errno.EFBIG), "free some disk space (`df -h`), then the same again"),
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "get the permission to read and write there"),
}
_DESCRIPTION = """\
Run experiments on one file, one metric, one fixed budget, all night.

first steps:
  nightlab quick -- CMD    how noisy is the number that CMD prints, and what could a night show? no set-up
  nightlab demo            a night in miniature on this machine, no set-up
  nightlab new DIR         a lab with the shipped benchmark
  nightlab init            make the repository you are in a lab
  nightlab run --runs 50   work on it; Ctrl-C stops cleanly, `nightlab run` goes on
"""


_MODULES = {
    **dict.fromkeys(("demo", "run", "try", "wait"), "night"),
    **dict.fromkeys(("new", "init", "doctor"), "labs"),
    **dict.fromkeys(("status", "runs", "show", "diff", "report"), "views"),
    **dict.fromkeys(("check", "log", "memory"), "memory"),
    **dict.fromkeys(("import", "export"), "exchange"),
    **dict.fromkeys(("query", "verify"), "care"),
    **dict.fromkeys(("next", "replicate", "compare"), "standing"),
    **dict.fromkeys(("archive", "conjectures", "review", "research"), "discovery"),
    "agents": "agents",
    **dict.fromkeys(("mcp", "stop"), "mcp"),
    "undo": "chain",
    "exec": "execute",
    "quick": "quick",
    "hook": "hook",
    "simulate": "simulate",
}
"""Command -> the module that has it. A door is a process start, so only the module that is asked for is imported."""


def build_parser(command: str = "") -> argparse.ArgumentParser:
    """The whole command line, or as much of it as one command needs."""
    parser = argparse.ArgumentParser(
        prog="nightlab", description=_DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"nightlab {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name in dict.fromkeys(_MODULES.values()) if command not in _MODULES else (_MODULES[command],):
        importlib.import_module(f"nightlab.cli.{name}").register(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code: 0 ok, 1 it failed and says why, 2 usage or a blocked idea."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal in another encoding shows "?" where it has no letter
    words = sys.argv[1:] if argv is None else argv
    args = build_parser(words[0] if words else "").parse_args(words)
    code = 0
    try:
        code = _handle(args)
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


def _handle(args: argparse.Namespace) -> int:
    """Run the command; where it meets a damaged database, have that made anew and run it once more."""
    handler: Callable[[argparse.Namespace], int] = args.handler
    try:
        return handler(args)
    except LedgerDamagedError as exc:
        damage = exc
    from nightlab.rebuild import repair

    try:
        done = repair(settings_of(args.lab), time.time())
    except NightlabError:  # a night is under way, or the disk refuses: what was met first is what is told
        raise damage from None
    lost = f", {done.log.left_out} could not be saved" if done.log.left_out else ""
    unsure = f", {done.log.unsure} could not be checked" if done.log.unsure else ""
    where = f"; the damaged file lies in {done.aside}" if done.aside is not None else ""
    _complain(f"{damage.args[0]}", f"it was made anew ({done.events} events{lost}{unsure}){where}", "note")
    return handler(args)


def _complain(message: str, hint: str, kind: str = "error") -> None:
    """Say what is wrong. Messages quote files, commits and agents, so what could steer a terminal is taken out."""
    with suppress(OSError, ValueError):  # nobody reads it: the exit code has to do
        print(f"{kind}: {safe.block(message)}", file=sys.stderr)
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
