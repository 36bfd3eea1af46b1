"""`mcp`, the lab as a server for agents, and `stop`, which ends whoever works on it."""

from __future__ import annotations

import argparse

from nightlab.cli.compose import add_lab_option, settings_of
from nightlab.root import refuse_second_lab

_Raw = argparse.RawDescriptionHelpFormatter
_MCP = """\
Serve the lab to an agent over standard input and output (Model Context Protocol). Agents start it themselves;
`nightlab agents install CLIENT` tells them how. docs/agents.md has a page per client.

Tools: context, plan, check, try, wait, get, log, report, champion, conjectures, stop.
Resources: nightlab://champion, nightlab://plan, nightlab://report, nightlab://ledger.
"""
_STOP = """\
Ask whoever works on this lab, a night or an agent's experiment, to end as cleanly as by Ctrl-C: runs under way are
ended and recorded. `nightlab run` goes on with the night, `nightlab wait` with what is undecided.
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    mcp = commands.add_parser("mcp", help="serve the lab to an agent (MCP)", description=_MCP, formatter_class=_Raw)
    add_lab_option(mcp)
    mcp.set_defaults(handler=cmd_mcp)

    stop = commands.add_parser("stop", help="end whoever works on the lab", description=_STOP, formatter_class=_Raw)
    add_lab_option(stop)
    stop.set_defaults(handler=cmd_stop)


def cmd_mcp(args: argparse.Namespace) -> int:
    """Serve until the client goes. A directory that is no lab (yet) is told of by each call."""
    from nightlab.agent.mcp import serve

    serve(args.lab)
    return 0


def cmd_stop(args: argparse.Namespace) -> int:
    """Ask for an end and say what that meant."""
    from nightlab.agent.service import Service

    settings = settings_of(args.lab)
    refuse_second_lab(settings.root)
    told = Service(settings=settings).stop("a person at the command line")
    if told.was_worked:
        print(f"asked to stop; {told.running} run(s) under way are ended and recorded")
    print(told.next)
    return 0
