"""One run from its order to its outcome: the body of the supervisor process."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from nightlab.runner import conditions
from nightlab.runner.files import read_small, remove_tree
from nightlab.runner.follow import Follower
from nightlab.runner.guard import Launch
from nightlab.runner.log import RECENT, BoundedLog, LineReader, Printed
from nightlab.runner.order import Order, RunFiles
from nightlab.runner.progress import ProgressFile
from nightlab.runner.result import read_outcome
from nightlab.runner.tend import Cause, Finish, StopSignals, Stream, Terms, tend
from nightlab.runner.tree import RUN_VARIABLE, kill_marked
from nightlab.runner.trouble import clean, last_lines
from nightlab.types import Conditions, Crashed, Finished, Outcome, Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a run ended."""

    outcome: Outcome
    usage: Usage
    conditions: Conditions | None = None
    exit_code: int  # by the customs of shells: 124 after a timeout, 128 + signal, 127 if the command never started
    remarks: tuple[str, ...] = ()  # what went wrong around the run and did not change its outcome


def supervise(order: Order, signals: StopSignals) -> Ending:
    """Run the order's command to its end and say how it ended. For the main thread of a process.

    Nothing that descends from the command is alive afterwards, except what the kernel itself refuses to kill
    (`remarks` says so then).

    Args:
        order: what to do; its run directory must exist.
        signals: entered; a signal ends the run early.
    """
    files = order.files
    remarks: list[str] = []
    watch = conditions.watch(order, lambda: _probe(order, signals, remarks))
    if watch is not None:
        watch.before()
    for stale in (files.result, files.summary, files.receipt):
        with contextlib.suppress(OSError):
            stale.unlink(missing_ok=True)
    log, printed = BoundedLog(files.log), Printed()
    launch, connect = _pipes(order, order.run.command, log, printed, echo=order.echo)
    follower: Follower | None = None
    if order.bounds is not None:
        follower = Follower(ProgressFile(files.progress), order.bounds, order.run.limit_s, printed)

    def stop_requested() -> str | None:
        return stop_reason(files) or (follower.look() if follower is not None else None)

    try:
        limit_s = order.run.limit_s if math.isfinite(order.run.limit_s) else None
        finish = tend(launch, connect, signals, Terms(limit_s=limit_s, stop_requested=stop_requested))
    finally:
        log.close()
    if finish.cause is Cause.GUARD_LOST:  # where the kernel does not end the command with its guard (macOS)
        kill_marked(RUN_VARIABLE, order.run.id)
    if watch is not None:
        watch.ended(finish.cpu_s)
    outcome = _outcome(order, finish, follower, printed, bytes(log.recent[-RECENT:]))
    found = None
    if watch is not None:
        timed = conditions.depends_on_speed(order)
        seen = watch.seen(probing=isinstance(outcome, Finished) and signals.got is None)
        found = conditions.conclude(seen, outcome, timed=timed)
    if not finish.clean:
        remarks.append("some processes of the run could not be killed")
    if log.problem:
        remarks.append(log.problem)
    if order.workspace is not None and not remove_tree(order.workspace):
        remarks.append(f"{order.workspace} could not be deleted")
    usage = Usage(wall_s=round(finish.wall_s, 3), cpu_s=round(finish.cpu_s, 3))
    return Ending(
        outcome=outcome,
        usage=usage,
        conditions=found,
        exit_code=finish.exit_code,
        remarks=tuple(dict.fromkeys(remarks)),
    )


def _probe(order: Order, signals: StopSignals, remarks: list[str]) -> float | None:
    """The number that the lab's own probe command prints, in work per second; None, and a remark, if it does not.

    It runs where the run does, within its own limit, and nothing of it is left when it is over.
    """
    assert order.inspection is not None
    log = BoundedLog(order.files.probe_log)
    launch, connect = _pipes(order, order.inspection.probe, log, Printed(), echo=False)
    terms = Terms(limit_s=order.inspection.probe_limit_s, stop_requested=lambda: stop_reason(order.files))
    try:
        finish = tend(launch, connect, signals, terms)
    finally:
        log.close()
    if finish.cause is Cause.STOPPED:
        return None
    words = last_lines(bytes(log.recent))[-1:]
    said = words[0] if words else "nothing"
    if finish.cause is Cause.LIMIT:
        remarks.append(f"the probe command took longer than {order.inspection.probe_limit_s:g} s")
    elif finish.code != 0:
        remarks.append(f"the probe command failed: {finish.why or said}")
    else:
        try:
            speed = float(said)
        except ValueError:
            speed = math.nan
        if math.isfinite(speed) and speed > 0:
            return speed
        remarks.append(f"the probe command printed {clean(said, 60)!r} last, which is no speed")
    return None


def _outcome(order: Order, finish: Finish, follower: Follower | None, printed: Printed, log_end: bytes) -> Outcome:
    """How the run ended: as its follower says if that ended it, else as what it left behind says."""
    if follower is not None and follower.outcome is not None and finish.cause is Cause.STOPPED:
        found = follower.outcome
        return replace(found, tail=last_lines(log_end)) if isinstance(found, Crashed) else found
    outcome = read_outcome(order, finish, printed, log_end)
    if follower is not None and isinstance(outcome, Finished):
        return replace(outcome, spared=follower.spared)
    return outcome


def _pipes(
    order: Order, command: tuple[str, ...], log: BoundedLog, printed: Printed, *, echo: bool
) -> tuple[Launch, Callable[[], Sequence[Stream]]]:
    """How a command is connected: a pipe each for stdout and stderr, so that neither cuts into the other's lines."""
    ends = [os.pipe() for _ in range(2)]
    stdin = 0 if echo else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    launch = Launch(
        command=command,
        cwd=order.cwd,
        env=os.environ | dict(order.env),
        stdin=stdin,
        stdout=ends[0][1],
        stderr=ends[-1][1],
        grace_s=order.grace_s,
        foreground=echo,
    )

    def connect() -> Sequence[Stream]:
        for _, theirs in ends:
            os.close(theirs)
        if stdin != 0:
            os.close(stdin)
        return [
            Stream(source=ours, log=log, reader=LineReader(order.metric.name, printed), echo=there)
            for (ours, _), there in zip(ends, (1, 2) if echo else (None, None), strict=True)
        ]

    return launch, connect


def request_stop(files: RunFiles, reason: str) -> None:
    """Ask whoever supervises the run to end it early; seen within half a second, by any process on the machine.

    Raises:
        OSError: the run directory cannot be written.
    """
    files.stop.write_text(reason, encoding="utf-8")


def stop_reason(files: RunFiles) -> str | None:
    """Why the run was asked to end early; None if it was not."""
    try:
        data = read_small(files.stop, 4096)
    except ValueError:
        return "stopped by the operator"
    return None if data is None else data.decode("utf-8", "replace") or "stopped by the operator"
