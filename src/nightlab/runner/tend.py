"""Staying with a command until all of it is over: output, limit, signals, requests to stop."""

from __future__ import annotations

import contextlib
import enum
import math
import os
import resource
import select
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import FrameType, TracebackType

from nightlab.runner.guard import INTERRUPT, TERMINATE, WAIT, Guard, Launch, Report
from nightlab.runner.log import BoundedLog, LineReader
from nightlab.runner.tree import UNKILLABLE_S, children, end_tree, reap_children, set_subreaper

_PIECE = 65536  # bytes read at once
_TICK_S = 0.5  # how often requests to stop are looked for
_DRAIN_S = 1.0  # how long a pipe that somebody holds open is waited for when all is over


class Cause(enum.Enum):
    """Why a command is over."""

    ENDED = "it ended by itself"
    LIMIT = "its time was over"
    STOPPED = "its end was asked for"
    NOT_STARTED = "it could not be started"
    GUARD_LOST = "its guard was killed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """How a command was over."""

    cause: Cause
    code: int | None  # exit code, negative for a signal; None if nobody saw it
    wall_s: float
    cpu_s: float  # of the whole tree, as far as its processes were waited for
    why: str = ""  # for NOT_STARTED what was wrong, for STOPPED the reason
    signal: int | None = None  # for STOPPED: the signal that we got
    clean: bool = True  # whether nothing of the tree is left

    @property
    def exit_code(self) -> int:
        """Exit code by the customs of shells: 128 + signal, 124 after a timeout, 127 if it never started."""
        if self.cause is Cause.LIMIT:
            return 124
        if self.cause is Cause.NOT_STARTED:
            return 127
        if self.cause is Cause.STOPPED:
            return 128 + (self.signal or signal.SIGTERM)
        if self.code is None:
            return 1
        return self.code if self.code >= 0 else 128 - self.code


class StopSignals:
    """While entered, SIGINT, SIGTERM and SIGHUP are noted instead of obeyed. For the main thread."""

    def __init__(self) -> None:
        self.got: signal.Signals | None = None
        self.wake = -1
        self._waker = -1
        self._old_wakeup = -1
        self._old: dict[int, signal._HANDLER] = {}

    def __enter__(self) -> StopSignals:
        self.wake, self._waker = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self._waker, False)
        self._old_wakeup = signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                self._old[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        os.close(self.wake)
        os.close(self._waker)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.got = self.got or signal.Signals(number)


@dataclass(slots=True, kw_only=True)
class Stream:
    """One pipe that the command writes to."""

    source: int
    log: BoundedLog
    reader: LineReader
    echo: int | None = None  # descriptor that the output is passed on to
    pending: bytes = b""  # waits for the other side of the echo to read

    @property
    def watched(self) -> tuple[int, int]:
        """What to poll for next: (descriptor, poll flag)."""
        if self.pending and self.echo is not None:
            return self.echo, select.POLLOUT
        return self.source, select.POLLIN

    def move(self) -> bool:
        """Do what was polled for; False at the end of the stream."""
        if self.pending and self.echo is not None:
            self._pass_on()
            return True
        data = os.read(self.source, _PIECE)
        if not data:
            self.reader.finish()
            return False
        self.log.write(data)
        self.reader.feed(data)
        if self.echo is not None:
            self.pending = data
        return True

    def _pass_on(self) -> None:
        assert self.echo is not None
        try:  # not more than PIPE_BUF: that much a pipe takes without making us wait
            self.pending = self.pending[os.write(self.echo, self.pending[: select.PIPE_BUF]) :]
        except OSError:  # nobody reads any more; the run goes on
            self.pending, self.echo = b"", None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """Within what bounds a command runs."""

    limit_s: float | None = None  # wall-clock seconds after which the tree is ended
    stop_requested: Callable[[], str | None] = lambda: None  # asked twice a second; a text is the reason to stop


def tend(launch: Launch, connect: Callable[[], Sequence[Stream]], signals: StopSignals, terms: Terms) -> Finish:
    """Start the command, stay with it, and return when nothing of it is left.

    Args:
        launch: what to start.
        connect: called after the start, when our copies of the command's ends of the pipes may be closed; returns
            the streams to read.
        signals: entered; a signal ends the command.
        terms: the bounds.
    """
    strangers = children(os.getpid())  # whoever calls this inside a larger process keeps the other children
    set_subreaper(on=True)
    cpu_before = _children_cpu_s()
    began = time.monotonic()
    watch = _Watch(launch, Guard.start(launch), signals, terms, began)
    watch.streams = list(connect())
    try:
        report = watch.until_over()
        clean = end_tree(  # if the guard was killed, its orphans have fallen to us
            os.getpid(),
            first=signal.SIGTERM,
            grace_s=launch.grace_s,
            spare=strangers,
            reap=lambda: discard(reap_children(spare=strangers)),
        )
        watch.drain()
    finally:
        set_subreaper(on=False)
    return watch.finish(report, clean=clean, cpu_s=_children_cpu_s() - cpu_before)


def discard(_: object) -> None:
    """Where only the effect is wanted."""


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class _Watch:
    """One command under way."""

    def __init__(self, launch: Launch, guard: Guard, signals: StopSignals, terms: Terms, began: float) -> None:
        self.streams: list[Stream] = []
        self._launch, self._guard, self._signals, self._terms = launch, guard, signals, terms
        self._began = began
        self._deadline = began + terms.limit_s if terms.limit_s is not None else math.inf
        self._next_look = began  # for a request to stop
        self._patience_ends = math.inf  # when a guard that does not answer is killed
        self._cause: Cause | None = None
        self._why = ""

    def until_over(self) -> Report | None:
        """Work until the guard has gone; None if it was killed."""
        while True:
            events = self._poll(self._guard.report, self._signals.wake)
            self._move(events)
            if self._guard.report in events and not self._guard.listen():
                return self._guard.close()
            self._decide(time.monotonic())

    def drain(self) -> None:
        """Read what still lies in the pipes; whoever holds one open beyond the end of the tree is not waited for."""
        got = self._signals.got
        quiet_since = time.monotonic()
        while self.streams and time.monotonic() < quiet_since + _DRAIN_S and self._signals.got is got:
            if self._move(self._poll()) or any(stream.pending for stream in self.streams):
                quiet_since = time.monotonic()

    def finish(self, report: Report | None, *, clean: bool, cpu_s: float) -> Finish:
        code, why = None, self._why
        if report is None:
            cause = Cause.GUARD_LOST
        elif report.problem:
            cause, why = Cause.NOT_STARTED, report.problem
        else:
            cause = (self._cause or Cause.STOPPED) if report.asked else Cause.ENDED
            code = None if report.status is None else os.waitstatus_to_exitcode(report.status)
        return Finish(
            cause=cause,
            code=code,
            wall_s=time.monotonic() - self._began,
            cpu_s=cpu_s,
            why=why,
            signal=self._signals.got,
            clean=clean and (report is None or report.clean),
        )

    def _poll(self, *others: int) -> dict[int, int]:
        """Wait for something to do, at most one tick."""
        poll = select.poll()
        for handle in others:
            poll.register(handle, select.POLLIN)
        for stream in self.streams:
            poll.register(*stream.watched)
        wait_s = min(_TICK_S, max(0.0, self._deadline - time.monotonic())) if self._cause is None else _TICK_S
        return dict(poll.poll(math.ceil(wait_s * 1000)))

    def _move(self, events: Mapping[int, int]) -> bool:
        """Let the streams flow; whether any had something to do."""
        ready = [stream for stream in self.streams if stream.watched[0] in events]
        for stream in ready:
            if not stream.move():
                os.close(stream.source)
                self.streams.remove(stream)
        return bool(ready)

    def _decide(self, now: float) -> None:
        """Whether the command has to end now."""
        if self._cause is not None:
            if now > self._patience_ends:
                self._patience_ends = math.inf
                os.kill(self._guard.pid, signal.SIGKILL)  # the kernel ends the command, we the rest
        elif self._signals.got is not None or now >= self._next_look:
            self._next_look = now + _TICK_S
            reason = self._terms.stop_requested()
            if self._signals.got is not None or reason is not None:
                self._end(Cause.STOPPED, reason or "stopped by the operator", now)
        if self._cause is None and now >= self._deadline:
            self._end(Cause.LIMIT, "", now)

    def _end(self, cause: Cause, why: str, now: float) -> None:
        self._cause, self._why = cause, why
        self._patience_ends = now + self._launch.grace_s + UNKILLABLE_S + 5.0
        how = TERMINATE
        if self._signals.got is signal.SIGINT and self._launch.foreground:
            how = WAIT if _terminal_is_ours() else INTERRUPT
        self._guard.ask(how)


def _terminal_is_ours() -> bool:
    """Whether a Ctrl-C that reached us has reached the command too, which shares our process group."""
    for handle in (0, 1, 2):
        with contextlib.suppress(OSError):
            return os.tcgetpgrp(handle) == os.getpgrp()
    return False
