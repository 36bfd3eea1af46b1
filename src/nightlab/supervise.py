"""The supervisor process: `python -P -m nightlab.supervise ORDER.json [LOCK]` runs one order and records its ending.

LOCK is the descriptor of the locked `supervisor.lock` that the starter hands over; without it the lock is taken here.
The exit code is the command's: 128 + n if signal n ended it, 124 after the limit, 127 if it could not be started.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nightlab.errors import AlreadyRecordedError, BackendError, LedgerError
from nightlab.runner import lock
from nightlab.runner.order import Order, read_order, write_ended
from nightlab.runner.supervisor import supervise
from nightlab.runner.tend import StopSignals
from nightlab.types import Ended

PAUSES_S = (0.2, 0.5, 1.0, 2.0)  # between attempts to write an ending: a full disk may be being cleared


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of the process.

    Returns:
        The command's exit code; 1 if there was nothing to supervise.
    """
    given = sys.argv[1:] if arguments is None else arguments
    try:
        order = read_order(Path(given[0]))
        held = int(given[1]) if len(given) > 1 else None
        return run(order, held)
    except BackendError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 1


def run(order: Order, held: int | None = None) -> int:
    """Run an order in this process (its main thread) and record how it ended; returns the command's exit code.

    Args:
        order: what to do.
        held: descriptor that holds the run's lock; None: take the lock here, as `nightlab exec` does.

    Raises:
        BackendError: somebody else is in charge of the run, or it has ended before.
    """
    order.run_dir.mkdir(parents=True, exist_ok=True)
    if held is None:
        held = lock.take(order.files.lock)
    os.set_inheritable(held, False)  # the guard shares the lock, the command does not
    try:
        if order.files.ended.exists():
            raise BackendError(f"run {order.run.id} has ended before", hint="each run is started once")
        with StopSignals() as signals:
            ending = supervise(order, signals)
            # From here on a signal changes nothing any more: the ending is known and gets written.
            ended = Ended(run=order.run.id, outcome=ending.outcome, usage=ending.usage, conditions=ending.conditions)
            problems = (*ending.remarks, *record(order, ended))
        for problem in problems:
            print(f"nightlab: {problem}", file=sys.stderr)
        return ending.exit_code
    finally:
        os.close(held)


def record(order: Order, ended: Ended) -> tuple[str, ...]:
    """Write an ending into the run directory and the ledger, patiently; returns what did not work."""
    problems = []
    if problem := _patiently(lambda: write_ended(order.files, ended)):
        problems.append(f"{order.files.ended} was not written: {problem}")
    if order.database is not None and (problem := _patiently(lambda: _append(order.database, ended))):
        problems.append(f"the ending was not recorded in {order.database}: {problem}")
    return tuple(problems)


def _append(database: Path | None, ended: Ended) -> None:
    from nightlab.ledger import Ledger  # not before the command has started: it costs as much as all the rest

    assert database is not None
    if not database.exists():  # one that we made would know nothing of the run
        raise LedgerError(f"{database} is gone", hint="the next command makes it anew and takes the ending in")
    try:
        with Ledger.open(database) as ledger:
            ledger.append(ended)
    except AlreadyRecordedError:
        return  # somebody took us for dead, and what was recorded first holds


def _patiently(write: Callable[[], None]) -> str:
    problem = ""
    for pause_s in (*PAUSES_S, None):
        try:
            write()
        except (OSError, LedgerError) as exc:
            problem = str(exc)
            if pause_s is not None:
                time.sleep(pause_s)
        else:
            return ""
    return problem


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # all is written; taking the interpreter down in order would cost more than the whole run's tending
