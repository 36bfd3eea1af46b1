"""Kill -9 of anything at any moment: nothing survives, and the lock is free."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest

from nightlab.runner.local import end_strays, launch
from nightlab.runner.lock import is_held
from nightlab.runner.order import read_ended
from nightlab.types import Finished, Lost
from tests.runner.orders import script, survivors, wait_until
from tests.runner.test_supervisor import kill

# A tree with a child, a grandchild that ignores SIGTERM, and a daemon in a session of its own.
TREE = """
import os, signal, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        time.sleep(60)
    os._exit(0)
if os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if os.fork() == 0:
        time.sleep(60)
    time.sleep(60)
print('val_bpb: 1.0', flush=True)
time.sleep({seconds})
"""


def strike(tmp_path: Path, seed: int) -> None:
    """Start the tree, kill one of the three at a moment drawn from `seed`, and look at what is left."""
    rng = random.Random(seed)
    order = script(tmp_path, TREE.format(seconds=rng.choice([0.0, 60.0])), limit_s=20.0, grace_s=0.1)
    job = launch(order)
    time.sleep(rng.uniform(0.0, 0.5))
    victim = ("supervisor", "guard", "command")[seed % 3]
    kill(job, victim)
    if job.poll() or victim == "supervisor":
        wait_until(job.poll, "the end")
    else:
        while not job.poll():  # it may not have been there yet
            kill(job, victim)
            time.sleep(0.05)
    assert survivors(order) == []
    assert not is_held(order.files.lock)
    ended = read_ended(order.files)
    assert ended is None or isinstance(ended.outcome, Finished | Lost)
    assert ended is not None or victim == "supervisor"


@pytest.mark.parametrize("seed", range(12))
def test_nothing_survives_a_kill(tmp_path: Path, seed: int) -> None:
    """Whoever of supervisor, guard and command is killed, at whatever moment."""
    strike(tmp_path, seed)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(100, 160))
def test_nothing_survives_many_kills(tmp_path: Path, seed: int) -> None:
    """The same, for minutes."""
    strike(tmp_path, seed)


def test_what_two_kills_at_once_leave_is_found(tmp_path: Path) -> None:
    """Supervisor and guard killed in the same moment: the command goes with them, and its daemons are cleared."""
    order = script(tmp_path, TREE.format(seconds=60))
    job = launch(order)
    wait_until(lambda: order.files.log.exists() and order.files.log.read_bytes())
    # The supervisor is stopped first, so that it cannot clean up after the guard.
    job._process.send_signal(19)
    kill(job, "guard")
    job._process.kill()
    wait_until(job.poll, "the end")
    wait_until(lambda: survivors(order), "the survival of a daemon")
    assert end_strays(order.run.id) >= 1
    wait_until(lambda: not survivors(order), "their end")
