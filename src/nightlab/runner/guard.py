"""The guard: a process between supervisor and command that outlives neither.

    supervisor --control pipe--> guard --parent-death signal--> command and all below it
        ^------- report pipe -------'

- The supervisor is killed: the control pipe closes, the guard kills the whole tree and goes.
- The guard is killed: the kernel kills the command with it, orphans fall to the supervisor, which kills them.
- The command ends or is killed: the guard ends what the command left behind, and reports.

Both are subreapers, so "the whole tree" includes daemons that detached themselves. The guard is a plain fork of the
supervisor: it costs no interpreter start and shares its memory. Both are single-threaded.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nightlab.runner.tree import die_with_parent, end_tree, reap_children, set_subreaper

# What the supervisor may ask for, one byte each: how the command is asked to end.
TERMINATE = b"T"
INTERRUPT = b"I"
WAIT = b"W"  # the terminal has sent the interrupt already

_FIRST: Mapping[bytes, int | None] = {TERMINATE: signal.SIGTERM, INTERRUPT: signal.SIGINT, WAIT: None}
_STOPPERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """A command and what it is started with."""

    command: tuple[str, ...]
    cwd: Path
    env: Mapping[str, str]  # the whole environment
    stdin: int  # file descriptors
    stdout: int
    stderr: int
    grace_s: float
    foreground: bool  # stay in the caller's process group, so that the terminal reaches the command


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the guard has to say when all is over."""

    status: int | None  # wait status of the command; None if it was never started
    asked: bool  # whether it ended because it was asked to
    problem: str = ""  # why it could not be started
    clean: bool = True  # whether nothing of the tree is left


@dataclass(slots=True, kw_only=True)
class Guard:
    """The supervisor's end of the two pipes."""

    pid: int
    control: int
    report: int
    heard: bytes = b""

    @classmethod
    def start(cls, launch: Launch) -> Guard:
        """Fork the guard, which starts the command."""
        their_control, control = os.pipe()
        report, their_report = os.pipe()
        supervisor = os.getpid()
        pid = os.fork()
        if pid == 0:
            _child(launch, supervisor, their_control, their_report, (control, report))
        os.close(their_control)
        os.close(their_report)
        return cls(pid=pid, control=control, report=report)

    def ask(self, how: bytes) -> None:
        """Ask for the end of the tree: TERMINATE, INTERRUPT or WAIT; SIGKILL follows after the grace."""
        with contextlib.suppress(BrokenPipeError):  # it has ended meanwhile: the report says how
            os.write(self.control, how)

    def listen(self) -> bool:
        """Read from the report pipe, which must be readable; False once the guard has said its last word."""
        data = os.read(self.report, 65536)
        self.heard += data
        return bool(data)

    def close(self) -> Report | None:
        """Collect the dead guard; None if it was killed before it could report."""
        os.close(self.control)
        os.close(self.report)
        with contextlib.suppress(ChildProcessError):  # somebody has collected it for us
            os.waitpid(self.pid, 0)
        status, asked, clean, problem = [*self.heard.decode(errors="replace").split(" ", 3), "", "", "", ""][:4]
        if not self.heard.endswith(b"\n"):
            return None
        return Report(
            status=int(status) if status != "-" else None, asked=asked == "1", clean=clean == "1", problem=problem[:-1]
        )


def _child(launch: Launch, supervisor: int, control: int, report: int, not_ours: tuple[int, ...]) -> None:
    """The life of the guard. Never returns: what belongs to the supervisor must not run twice."""
    try:
        for handle in not_ours:
            os.close(handle)
        _guard(launch, supervisor, control, report)
        os._exit(0)
    finally:  # only on a defect of ours: the supervisor hears no report and says so
        traceback.print_exc(file=sys.__stderr__)
        os._exit(70)


def _guard(launch: Launch, supervisor: int, control: int, report: int) -> None:
    set_subreaper(on=True)
    ignored = {number for number in _STOPPERS if signal.getsignal(number) is signal.SIG_IGN}
    for number in _STOPPERS:
        signal.signal(number, signal.SIG_IGN)
    wake, waker = os.pipe()
    os.set_blocking(waker, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    if not launch.foreground:
        os.setsid()
    command, problem = _spawn(launch, ignored)
    for handle in {launch.stdin, launch.stdout, launch.stderr} - {0, 1, 2}:
        os.close(handle)  # or the pipes would never close
    status, how = _wait(command, control, wake) if command else (None, TERMINATE)
    dead: dict[int, int] = {}
    clean = end_tree(
        os.getpid(),
        first=_FIRST.get(how, signal.SIGTERM),
        grace_s=launch.grace_s if how else 0.0,
        reap=lambda: dead.update(reap_children()),
        hurry=lambda: how == b"" or _is_closed(control),
    )
    asked = command is not None and status is None
    status = status if status is not None else dead.get(command or 0)
    words = (
        "-" if problem or status is None else str(status),
        "1" if asked else "0",
        "1" if clean else "0",
        problem,
    )
    with contextlib.suppress(BrokenPipeError):  # nobody is left to hear it
        os.write(report, (" ".join(words) + "\n").encode())


def _wait(command: int, control: int, wake: int) -> tuple[int | None, bytes]:
    """Wait until the command ends or its end is asked for.

    Returns:
        The wait status, or None; and how to end what is left: b"" when the supervisor has died.
    """
    while True:
        for pid, status in reap_children():
            if pid == command:
                return status, TERMINATE
        ready, _, _ = select.select([control, wake], [], [])
        if wake in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(wake, 4096)
        if control in ready:
            return None, os.read(control, 1)


def _is_closed(control: int) -> bool:
    ready, _, _ = select.select([control], [], [], 0)
    return bool(ready) and os.read(control, 1) == b""


def _spawn(launch: Launch, ignored: set[signal.Signals]) -> tuple[int | None, str]:
    """Start the command; returns its process id, or None and why not."""
    failed, failure = os.pipe()
    guard = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(launch, guard, failure, ignored)
    os.close(failure)
    said = b""
    while piece := os.read(failed, 4096):
        said += piece
    os.close(failed)
    if not said:
        return pid, ""
    os.waitpid(pid, 0)
    return None, said.decode(errors="replace")


def _become(launch: Launch, guard: int, failure: int, ignored: set[signal.Signals]) -> None:
    """Turn this process into the command. Never returns."""
    problem = "the command could not be started"
    try:
        signal.set_wakeup_fd(-1)
        for number in (*_STOPPERS, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_IGN if number in ignored else signal.SIG_DFL)
        if not launch.foreground:
            os.setpgid(0, 0)
        die_with_parent()
        if os.getppid() != guard:
            os._exit(1)  # the guard died before the kernel knew that we go with it
        for handle, place in ((launch.stdin, 0), (launch.stdout, 1), (launch.stderr, 2)):
            os.dup2(handle, place)
        problem = f"the working directory {launch.cwd} cannot be entered"
        os.chdir(launch.cwd)
        problem = f"the command {launch.command[0]} cannot be run"
        os.execvpe(launch.command[0], launch.command, launch.env)  # noqa: S606  (no shell is what we want)
    except OSError as exc:
        os.write(failure, f"{problem}: {exc.strerror}".encode())
    finally:
        os._exit(127)
