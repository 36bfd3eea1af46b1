"""A recorded command in the caller's own terminal: everything passes through, and is recorded as well."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nightlab.runner.order import Order, read_ended, write_order
from nightlab.types import Crashed, Finished, Outcome, StoppedEarly, Voided
from tests.runner.orders import order_for, survivors, wait_until

RUN = (
    "import sys\nfrom pathlib import Path\nfrom nightlab.runner.order import read_order\n"
    "from nightlab.supervise import run\nsys.exit(run(read_order(Path(sys.argv[1]))))"
)


def start(order: Order) -> subprocess.Popen[bytes]:
    """`nightlab exec` in a lab: the supervisor is the process that the user started."""
    path = write_order(replace(order, echo=True))
    return subprocess.Popen(
        [sys.executable, "-c", RUN, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def test_output_passes_through_apart_and_is_logged_together(tmp_path: Path) -> None:
    """stdin reaches the command, stdout stays stdout, stderr stays stderr, the exit code is the command's."""
    order = order_for(tmp_path, "sh", "-c", "read x; echo $x; echo oops >&2; exit 3")
    process = start(order)
    assert process.communicate(b"hello\n") == (b"hello\n", b"oops\n")
    assert process.returncode == 3
    assert sorted(order.files.log.read_bytes().splitlines()) == [b"hello", b"oops"]
    ended = read_ended(order.files)
    assert ended is not None
    assert isinstance(ended.outcome, Crashed)


def test_a_metric_is_found_though_a_progress_bar_cuts_into_it(tmp_path: Path) -> None:
    """The two streams are read apart."""
    order = order_for(tmp_path, "sh", "-c", "printf 'val_'; printf '50%%|##\\n' >&2; sleep 0.1; echo 'bpb: 1.5'")
    assert start(order).communicate()[0] == b"val_bpb: 1.5\n"
    ended = read_ended(order.files)
    assert ended is not None
    assert isinstance(ended.outcome, Finished)


@pytest.mark.parametrize(("deed", "outcome"), [("true", Finished), ("echo >> ../train.py", Voided)])
def test_files_are_guarded_wherever_the_command_runs(tmp_path: Path, deed: str, outcome: type[Outcome]) -> None:
    """A command started in a subdirectory of the lab may not touch the lab's files either."""
    order = order_for(tmp_path, "sh", "-c", f"{deed}; echo val_bpb: 1.5", files={"train.py": "", "prepare.py": ""})
    (order.cwd / "below").mkdir()
    start(replace(order, cwd=order.cwd / "below", root=order.cwd)).communicate()
    ended = read_ended(order.files)
    assert ended is not None
    assert isinstance(ended.outcome, outcome)


def test_a_reader_who_leaves_does_not_end_the_run(tmp_path: Path) -> None:
    """`nightlab exec ... | head` sees the head; the run goes on to its end."""
    order = order_for(tmp_path, "sh", "-c", "seq 100000; echo val_bpb: 1.5")
    with start(order) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"1\n"
        process.stdout.close()
    assert process.returncode == 0
    ended = read_ended(order.files)
    assert ended is not None
    assert isinstance(ended.outcome, Finished)


def test_a_slow_reader_gets_everything(tmp_path: Path) -> None:
    """What is in flight when the command ends is still passed on, and the limit is kept meanwhile."""
    order = order_for(tmp_path, "sh", "-c", "seq 60000")
    process = start(order)
    wait_until(lambda: order.files.log.exists() and order.files.log.stat().st_size)
    assert process.communicate()[0] == b"".join(b"%d\n" % number for number in range(1, 60001))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_stops_the_run_and_is_recorded(tmp_path: Path, number: signal.Signals) -> None:
    """128 + n, nothing survives, and the run was stopped early: no failure of the idea."""
    order = order_for(tmp_path, "sh", "-c", "setsid sleep 60 & echo up; sleep 60")
    process = start(order)
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    os.kill(process.pid, number)
    process.communicate()
    assert process.returncode == 128 + number
    assert survivors(order) == []
    ended = read_ended(order.files)
    assert ended is not None
    assert ended.outcome == StoppedEarly(reason="stopped by the operator")
