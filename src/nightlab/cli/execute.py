"""`exec -- CMD`: a command under supervision; inside a lab a recorded run, elsewhere only watched."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from nightlab.cli.amounts import minutes
from nightlab.errors import NoRepositoryError, UsageError

DEFAULT_MINUTES = 10.0


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "exec",
        help="run a command under supervision; inside a lab it is a recorded run",
        usage="nightlab exec [--timeout MINUTES] -- COMMAND...",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--backend", choices=("local",), default="local", help="where it runs (default local)")
    parser.add_argument(
        "--timeout", type=minutes, default=DEFAULT_MINUTES, metavar="MINUTES", help="fractions allowed (default 10)"
    )
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="-- COMMAND", help="the command and its arguments")
    parser.set_defaults(handler=cmd_exec)


def cmd_exec(args: argparse.Namespace) -> int:
    """Pass on the command's exit code; 124 after the time limit, 2 without a command."""
    words: list[str] = args.words[1:] if args.words[:1] == ["--"] else args.words
    if not words:
        raise UsageError("no command after --", hint="nightlab exec --timeout 10 -- uv run train.py > run.log 2>&1")
    from nightlab.cli.compose import settings_of

    try:
        settings = settings_of(Path())
    except NoRepositoryError:
        settings = None
    if settings is None or not any(any(settings.root.glob(glob)) for glob in settings.editable):
        from nightlab.runner.watch import watch

        print("nightlab: no lab here, so the command is watched but not recorded", file=sys.stderr)
        return watch(words, limit_s=60 * args.timeout)
    from nightlab.foreground import record_command

    return record_command(settings, tuple(words), limit_s=60 * args.timeout)


_DESCRIPTION = """\
Run COMMAND here, with its whole process tree ended at the time limit and its exit code passed on.

Inside a lab the run is recorded: source, output, metric, exit. It happens in the working tree as it is, so it
informs you and the search's memory, but only runs in a clean workspace can make a champion.
"""
