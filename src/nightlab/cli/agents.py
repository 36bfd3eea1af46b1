"""`agents install`, `doctor` and `uninstall`: the wiring of coding agents' clients."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import asdict
from typing import TYPE_CHECKING

from nightlab.agent.names import NAMES
from nightlab.cli.compose import add_lab_option
from nightlab.report import text as safe

if TYPE_CHECKING:
    from nightlab.agent.wiring.placing import Change, Wiring


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    agents = commands.add_parser("agents", help="wire a coding agent's client to the lab, and say whether that works")
    inner = agents.add_subparsers(dest="agents_command", metavar="COMMAND", required=True)
    for name, handler, says in (
        ("install", cmd_install, "write what a client needs into the lab; what is there stays"),
        ("uninstall", cmd_uninstall, "take it out again and leave nothing behind"),
    ):
        parser = inner.add_parser(name, help=says)
        parser.add_argument("client", choices=(*NAMES, "all"), metavar="CLIENT", help=f"{', '.join(NAMES)}, all")
        add_lab_option(parser)
        parser.add_argument("--print", action="store_true", dest="is_shown", help="only show it, as a patch")
        parser.set_defaults(handler=handler)
    doctor = inner.add_parser("doctor", help="check program, wiring, commands, trust and sandbox; exit 1 if one fails")
    doctor.add_argument("client", choices=(*NAMES, "all"), nargs="?", metavar="CLIENT", help="default: those wired")
    add_lab_option(doctor)
    doctor.add_argument("--json", action="store_true", help="for programs")
    doctor.set_defaults(handler=cmd_doctor)


def cmd_install(args: argparse.Namespace) -> int:
    wiring, names = _wiring(args), _names(args.client)
    if args.is_shown:
        return _show(wiring.installing(names))
    changes = wiring.install(names)
    _tell(wiring, changes)
    if not any(change.is_one for change in changes):
        print(f"{args.client} is wired already", file=sys.stderr)
    print(f"next: nightlab agents doctor {args.client}", file=sys.stderr)
    return 0


def cmd_uninstall(args: argparse.Namespace) -> int:
    wiring, names = _wiring(args), _names(args.client)
    if args.is_shown:
        return _show(wiring.uninstalling(names))
    changes = wiring.uninstall(names)
    _tell(wiring, changes)
    if not any(change.is_one for change in changes):
        print(f"nothing of {args.client} is in this lab", file=sys.stderr)
    return 0


def cmd_doctor(args: argparse.Namespace) -> int:
    """Print one line for each check; exit 1 if one of them failed."""
    from nightlab.agent.wiring.doctor import Status, examine

    wiring = _wiring(args)
    checks = examine(wiring, _names(args.client) if args.client else ())
    failed = any(check.status is Status.FAIL for check in checks)
    if args.json:
        print(json.dumps({"lab": str(wiring.root), "ok": not failed, "checks": [asdict(each) for each in checks]}))
        return int(failed)
    for check in checks:
        then = f"; next: {safe.block(check.next_step)}" if check.next_step else ""
        print(f"{check.status:5} {check.client} {check.what}: {check.found}{then}")
    return int(failed)


def _wiring(args: argparse.Namespace) -> Wiring:
    from nightlab.agent.wiring.placing import Wiring
    from nightlab.root import find_root

    return Wiring.of(find_root(args.lab))


def _names(client: str) -> tuple[str, ...]:
    return NAMES if client == "all" else (client,)


def _show(changes: Iterable[Change]) -> int:
    for change in changes:
        print(change.diff(), end="")
        _say_kept(change)
    return 0


def _tell(wiring: Wiring, changes: Iterable[Change]) -> None:
    for change in changes:
        if change.is_one:
            done = "removed" if change.after is None else "wrote" if change.before is None else "changed"
            print(f"{done} {wiring.root / change.path}")
        _say_kept(change)


def _say_kept(change: Change) -> None:
    for why in change.kept:
        print(f"note: {change.path}: {why}", file=sys.stderr)
