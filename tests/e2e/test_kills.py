"""Kill -9 of the lab, of a supervisor, of a training process, at random moments of a night."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from pathlib import Path

import psutil
import pytest

from tests.e2e.labs import UserLab, make

VICTIMS = ("lab", "supervisor", "training")


def tagged(lab: UserLab) -> list[psutil.Process]:
    """Training processes of this lab that are alive, by the run that their environment names."""
    found = []
    for process in psutil.process_iter():
        try:
            is_ours = process.environ().get("NIGHTLAB_RESULT_PATH", "").startswith(str(lab.root))
            if is_ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):  # it ends while it is looked at
            continue
    return found


def supervisors(lab: UserLab) -> list[psutil.Process]:
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if "nightlab.supervise" in (words := process.info["cmdline"] or []) and any(str(lab.root) in w for w in words)
    ]


def kill_something(lab: UserLab, victim: str, night: int) -> None:
    if victim == "lab":
        os.kill(night, signal.SIGKILL)
        return
    for process in (supervisors if victim == "supervisor" else tagged)(lab)[:1]:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            return


def play(root: Path, victim: str, seed: int) -> None:
    """One night of four ideas with three kills, taken up again after each; then look at what is left."""
    rng = random.Random(f"{victim}{seed}")
    lab = make(root, seconds=0.2)
    night = lab.start("run", "--runs", "4")
    for _ in range(3):
        time.sleep(rng.uniform(0.1, 3.0))
        kill_something(lab, victim, night.pid)
        if victim == "lab":
            night.wait(timeout=60)
            night = lab.start("run", "--runs", "4")
    assert night.wait(timeout=120) == 0
    with sqlite3.connect(lab.root / "results/nightlab/lab.db") as db:
        started = db.execute("SELECT key FROM events WHERE kind = 'started' ORDER BY key").fetchall()
        ended = db.execute("SELECT key FROM events WHERE kind = 'ended' ORDER BY key").fetchall()
        nights = db.execute("SELECT COUNT(*) FROM events WHERE kind = 'night_ended'").fetchone()[0]
        # Whether a change is kept, to be left out again later, is a matter of when runs ran; it is no idea.
        removals = {name for (name,) in db.execute("SELECT id FROM experiments WHERE emitter = 'ablation'")}
    assert started == ended  # each once: the schema holds that
    ideas = {run["experiment"] for run in lab.runs() if run["purpose"] == "idea"} - removals
    assert len(ideas) == 4 * nights  # a night that was over before a kill is followed by another
    for _ in range(50):
        if not tagged(lab) and not supervisors(lab):
            break
        time.sleep(0.1)
    assert tagged(lab) == []
    assert supervisors(lab) == []


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_night_survives_kills(tmp_path: Path, victim: str) -> None:
    """Every started run ends exactly once, the night goes on to its end, and no process is left."""
    play(tmp_path / "lab", victim, seed=0)


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(1, 8))
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_night_survives_many_kills(tmp_path: Path, victim: str, seed: int) -> None:
    """The same at twenty more moments of each kind."""
    play(tmp_path / "lab", victim, seed)
