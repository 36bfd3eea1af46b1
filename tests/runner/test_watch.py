"""`nightlab exec` outside a lab: a command with our terminal, within bounds, and nothing left behind."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import uuid

import pytest

from nightlab.runner.tree import with_variable
from tests.runner.orders import wait_until

WATCH = (
    "import sys\nfrom nightlab.runner.watch import watch\n"
    "sys.exit(watch(sys.argv[2:], limit_s=float(sys.argv[1]), grace_s=0.5))"
)


def start(limit_s: float, *command: str, marker: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WATCH, str(limit_s), *command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | ({"MARKER": marker} if marker else {}),
        start_new_session=True,
    )


def test_stdin_stdout_stderr_and_exit_code_pass_through() -> None:
    """As if nobody were watching."""
    out, err = (process := start(60, "sh", "-c", "read x; echo out $x; echo err >&2; exit 7")).communicate("in\n")
    assert (out, err, process.returncode) == ("out in\n", "err\n", 7)


@pytest.mark.parametrize(("command", "code"), [("kill -9 $$", 137), ("exit 0", 0), ("exit 130", 130)])
def test_exit_codes_follow_the_customs_of_shells(command: str, code: int) -> None:
    """128 + n for signal n."""
    process = start(60, "sh", "-c", command)
    process.communicate()
    assert process.returncode == code


def test_the_limit_is_kept_and_said() -> None:
    """124, like timeout(1), and daemons go too."""
    marker = uuid.uuid4().hex
    process = start(0.5, "sh", "-c", "setsid sleep 60 & sleep 60", marker=marker)
    _, err = process.communicate()
    assert process.returncode == 124
    assert "0.5 s" in err
    assert with_variable("MARKER", marker) == []


def test_a_missing_command_is_named() -> None:
    """127, with a sentence."""
    process = start(60, "no-such-program")
    _, err = process.communicate()
    assert process.returncode == 127
    assert "no-such-program" in err


@pytest.mark.parametrize(
    ("number", "code", "to_group"),
    [(signal.SIGINT, 130, False), (signal.SIGINT, 130, True), (signal.SIGTERM, 143, False)],
)
def test_signals_end_the_command(number: signal.Signals, code: int, to_group: bool) -> None:
    """The command gets the signal that we got, and time to clean up."""
    marker = uuid.uuid4().hex
    source = (
        # os.write: a second signal during a print would be an error of print's own
        "import os, signal, time\ndef stop(n, _): os.write(1, f'got {n}\\n'.encode())\n"
        "signal.signal(2, stop); signal.signal(15, stop)\nprint('up', flush=True)\ntime.sleep(60)\n"
    )
    process = start(60, sys.executable, "-S", "-c", source, marker=marker)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    if to_group:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    out, _ = process.communicate()
    assert process.returncode == code
    assert f"got {int(number)}\n" in out
    wait_until(lambda: with_variable("MARKER", marker) == [], "the end of all")


def test_ctrl_c_at_a_terminal_reaches_the_command_once() -> None:
    """The terminal has sent it to the command already, so nobody sends it again."""
    count = "import signal, time\ngot = []\nsignal.signal(2, lambda *_: got.append(2))\nprint('up', flush=True)\n"
    wait = (
        "until = time.monotonic() + 0.3\nwhile time.monotonic() < until: time.sleep(0.01)\n"
        "print('got', len(got), flush=True)"
    )
    loop = "while not got: time.sleep(0.01)\n"
    pid, terminal = pty.fork()
    if pid == 0:
        try:
            source = count + loop + wait
            os.execv(sys.executable, [sys.executable, "-c", WATCH, "60", sys.executable, "-S", "-c", source])  # noqa: S606
        finally:
            os._exit(1)
    said = b""
    while not said.endswith((b"got 1\r\n", b"got 2\r\n")):
        said += os.read(terminal, 1000)
        if said == b"up\r\n":
            os.write(terminal, b"\x03")
    assert said.endswith(b"got 1\r\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 130


def test_a_killed_watcher_takes_the_command_along() -> None:
    """Kill -9 of `nightlab exec` leaves nothing running."""
    marker = uuid.uuid4().hex
    process = start(60, "sh", "-c", "setsid sleep 60 & echo up; sleep 60", marker=marker)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.kill()
    process.communicate()
    wait_until(lambda: with_variable("MARKER", marker) == [], "the end of all")


def test_only_what_is_needed_is_loaded() -> None:
    """Nothing optional: no psutil, no numpy, no database."""
    code = "import sys, nightlab.runner.watch; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"psutil", "numpy", "sqlite3", "rich", "nightlab.ledger", "msgspec", "asyncio"} & set(loaded)
