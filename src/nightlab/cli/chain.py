"""`undo`: a person's word against the judge's."""

from __future__ import annotations

import argparse

from nightlab.agent.workbench import open_lab
from nightlab.cli.compose import add_lab_option, settings_of
from nightlab.cli.views import hint, print_json
from nightlab.report.text import plain
from nightlab.root import refuse_second_lab

_UNDO = """\
Take a kept change out of the champion, whatever the judge says of it: NAME is its number (`nightlab report` lists
them under "The Chain"), or `champion` for the last one. Also a removal that the lab has made by itself. The verdict is
recorded as yours, the branch gets one commit, and the search goes on from there. Nothing is lost: --back undoes it.

examples:
  nightlab undo champion
  nightlab undo 7
  nightlab undo 7 --back
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    undo = commands.add_parser(
        "undo",
        help="take a kept change back",
        description=_UNDO,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_lab_option(undo)
    undo.add_argument("name", metavar="NAME", help="number, champion, or the beginning of an id")
    undo.add_argument("--back", action="store_true", help="put back what was taken back last")
    undo.add_argument("--json", action="store_true", help="one JSON object")
    undo.set_defaults(handler=cmd_undo)


def cmd_undo(args: argparse.Namespace) -> int:
    from nightlab.loop import Silent, lease
    from nightlab.undo import put_back, take_back

    settings = settings_of(args.lab)
    refuse_second_lab(settings.root)
    with lease(settings), open_lab(settings, Silent()) as lab:
        done = put_back(lab, args.name) if args.back else take_back(lab, args.name)
    if args.json:
        print_json(done)
        return 0
    what = "put back" if args.back else "taken back"
    print(f"#{done.change} is {what}: the champion is #{done.champion} {plain(done.description, 100)}")
    if done.needs_runs:
        hint("this source has never run: the next night begins with its runs")
    elif not args.back:
        hint(f"`nightlab undo {done.change} --back` puts it back")
    return 0
