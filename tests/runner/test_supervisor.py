"""Real commands under a real supervisor process: whatever they do, the run ends, once, and nothing survives."""

from __future__ import annotations

import gc
import os
import resource
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from nightlab.errors import BackendError
from nightlab.ledger import Ledger
from nightlab.runner.local import LocalJob, launch
from nightlab.runner.log import HEAD, TAIL
from nightlab.runner.order import Order, read_ended, write_order
from nightlab.types import (
    Bounds,
    Crashed,
    Ended,
    Finished,
    Look,
    Lost,
    Proposed,
    Started,
    StoppedEarly,
    TimedOut,
    Voided,
)
from tests.builders import experiment
from tests.runner.orders import finish, order_for, outcome_of, script, survivors, wait_until


def test_a_printed_metric_finishes_the_run(tmp_path: Path) -> None:
    """One `name: value` line is enough."""
    order = order_for(tmp_path, "echo", "val_bpb: 0.993200")
    outcome = outcome_of(order)
    assert isinstance(outcome, Finished)
    assert outcome.metrics.primary == 0.9932
    assert order.files.log.read_text() == "val_bpb: 0.993200\n"
    assert order.files.supervisor_log.read_text() == ""


def test_the_ending_reaches_the_ledger_once(tmp_path: Path) -> None:
    """The supervisor appends the one `Ended` event, and a second supervisor refuses the same run."""
    database = tmp_path / "lab.db"
    order = order_for(tmp_path, "echo", "val_bpb: 1.25", database=database)
    with Ledger.open(database) as ledger:
        ledger.append(Proposed(experiment=experiment("a")), Started(run=order.run))
    outcome = outcome_of(order)
    with pytest.raises(BackendError, match="is over"):
        launch(order)
    again = subprocess.run(
        [sys.executable, "-P", "-m", "nightlab.supervise", order.files.order], capture_output=True, check=False
    )
    assert again.returncode == 1
    assert b"has ended before" in again.stderr
    with Ledger.open(database) as ledger:
        endings = [recorded.event for recorded in ledger.since() if isinstance(recorded.event, Ended)]
    assert [ended.outcome for ended in endings] == [outcome]


def test_a_job_that_is_forgotten_goes_on_and_warns_nobody(tmp_path: Path) -> None:
    """Whoever started a run may forget it: its supervisor records the ending all the same."""
    order = script(tmp_path, "import time\ntime.sleep(1)\nprint('val_bpb: 1.5')\n")
    job = launch(order)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del job
        gc.collect()
    wait_until(order.files.ended.exists, "the ending")


def test_a_run_that_is_under_way_cannot_be_started_again(tmp_path: Path) -> None:
    """The lock admits one supervisor."""
    order = order_for(tmp_path, "sleep", "60")
    job = launch(order)
    with pytest.raises(BackendError, match="another supervisor"):
        launch(order)
    job.cancel("enough")
    assert finish(job, order) == StoppedEarly(reason="enough")


def test_a_request_to_stop_is_honoured_at_any_moment(tmp_path: Path) -> None:
    """Also before the supervisor is up, and with the reason given."""
    order = order_for(tmp_path, "sleep", "60")
    job = launch(order)
    job.cancel("plateau")
    assert finish(job, order) == StoppedEarly(reason="plateau")


def test_a_stop_reaches_a_run_though_its_reason_cannot_be_written(tmp_path: Path) -> None:
    """On a full disk the signal alone does it."""
    order = script(tmp_path, "import time; print('up', flush=True); time.sleep(60)")
    job = launch(order)
    wait_until(lambda: order.files.log.exists() and order.files.log.read_bytes())
    order.files.stop.symlink_to(tmp_path / "nowhere" / "stop")
    job.cancel("plateau")
    assert finish(job, order) == StoppedEarly(reason="stopped by the operator")


def test_a_metric_is_found_behind_an_unfinished_progress_bar(tmp_path: Path) -> None:
    """A bar on stderr that has not ended its line does not cut into stdout; the one log has both."""
    bar = "import sys\nprint('\\r50%|##', end='', file=sys.stderr, flush=True)\n"
    outcome = outcome_of(order := script(tmp_path, bar + "print('val_bpb: 1.5', flush=True)"))
    assert isinstance(outcome, Finished)
    log = order.files.log.read_bytes()
    assert b"50%|##" in log
    assert b"val_bpb: 1.5" in log


@pytest.mark.parametrize("there", [1, 2])
def test_a_metric_counts_from_either_stream(tmp_path: Path, there: int) -> None:
    """Some commands say their results on stderr."""
    outcome = outcome_of(order_for(tmp_path, "sh", "-c", f"echo val_bpb: 1.5 >&{there}"))
    assert isinstance(outcome, Finished)


def test_a_terminated_supervisor_says_that_it_was_stopped(tmp_path: Path) -> None:
    """SIGTERM from anybody ends the whole tree and is recorded as an operator's stop."""
    order = script(tmp_path, "import time; print('up', flush=True); time.sleep(60)")
    job = launch(order)
    wait_until(lambda: order.files.log.exists() and order.files.log.read_bytes())
    job._process.terminate()
    assert finish(job, order) == StoppedEarly(reason="stopped by the operator")
    assert job._process.returncode == 143


@pytest.mark.parametrize(
    "source",
    [
        pytest.param("import time; time.sleep(60)", id="hangs"),
        pytest.param("import os, time\nfor _ in range(5): os.fork()\ntime.sleep(60)", id="forks and hangs"),
        pytest.param(
            "import signal, time\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)",
            id="ignores SIGTERM",
        ),
        pytest.param("import os, time\nos.close(1); os.close(2)\ntime.sleep(60)", id="closes its output and runs on"),
        pytest.param("while True: print('x' * 1000)", id="prints for ever"),
    ],
)
def test_the_limit_holds(tmp_path: Path, source: str) -> None:
    """Whatever a command does to stay, its time is over when it is over."""
    order = script(tmp_path, source, limit_s=0.6)
    assert outcome_of(order) == TimedOut(limit_s=0.6)


def test_daemons_are_ended_with_the_run(tmp_path: Path) -> None:
    """A grandchild in a session of its own, which holds the output open, neither survives nor delays the end."""
    daemon = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0:\n        time.sleep(60)\n"
    order = script(tmp_path, daemon + "    os._exit(0)\nos.wait()\nprint('val_bpb: 1.5')")
    assert isinstance(outcome_of(order), Finished)


def test_a_flood_is_kept_within_bounds(tmp_path: Path) -> None:
    """Of 50 MB the first and last megabytes are kept, and a metric in the part left out still counts."""
    flood = "row = 'step 1 of many\\n' * 50_000\nfor i in range(56):\n    print(row, end='')\n"
    order = script(tmp_path, "print('first')\n" + flood + "    if i == 20: print('val_bpb: 0.75')\nprint('last')")
    outcome = outcome_of(order)
    assert isinstance(outcome, Finished)
    assert outcome.metrics.primary == 0.75
    log = order.files.log.read_bytes()
    assert HEAD + TAIL < len(log) < HEAD + 2 * TAIL + 70_000
    assert log.startswith(b"first\n")
    assert log.endswith(b"last\n")
    assert log.count(b"bytes left out here") == 1


def test_one_huge_line_does_no_harm(tmp_path: Path) -> None:
    """50 MB without a newline, and bytes that are no UTF-8, pass through; the metric after them counts."""
    source = (
        "import sys\nfor _ in range(50): sys.stdout.buffer.write(b'\\xff' * 1_000_000)\nprint('\\nval_bpb: 2.5')\n"
        "import resource\nprint('peak:', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    order = script(tmp_path, source)
    outcome = outcome_of(order)
    assert isinstance(outcome, Finished)
    assert outcome.metrics.primary == 2.5
    assert order.files.log.read_bytes().startswith(b"\xff" * 1000)


def test_a_crash_tells_its_last_words(tmp_path: Path) -> None:
    """Exit code, the line that says what was wrong, and a signature without what differs from run to run."""
    order = script(tmp_path, "raise ValueError('no file /tmp/a1/b at 0x7f00 after 3 tries')")
    outcome = outcome_of(order)
    assert isinstance(outcome, Crashed)
    assert outcome.exit_code == 1
    assert outcome.summary == "ValueError: no file /tmp/a1/b at 0x7f00 after 3 tries"
    assert outcome.signature == "ValueError: no file <path> at <address> after <n> tries"
    assert outcome.tail[-1] == outcome.summary


def test_a_command_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """The summary says which command is missing."""
    outcome = outcome_of(order_for(tmp_path, "no-such-program", "train.py"))
    assert isinstance(outcome, Crashed)
    assert outcome.exit_code == 127
    assert "no-such-program" in outcome.summary


def test_a_working_directory_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """Nothing runs, and the summary names the directory."""
    order = order_for(tmp_path, "true")
    shutil.rmtree(order.cwd)
    outcome = outcome_of(order)
    assert isinstance(outcome, Crashed)
    assert str(order.cwd) in outcome.summary


def test_a_working_directory_that_vanishes_voids_the_run(tmp_path: Path) -> None:
    """Its guarded files are gone with it."""
    source = "import os, shutil\nshutil.rmtree(os.getcwd())\nprint('val_bpb: 1.0')"
    assert outcome_of(script(tmp_path, source)) == Voided(paths=("train.py",))


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param("open('prepare.py', 'a').write('#')", id="edits"),
        pytest.param("import os; os.unlink('prepare.py')", id="removes"),
        pytest.param("import os; os.rename('prepare.py', 'p'); os.mkfifo('prepare.py')", id="puts a pipe in its place"),
        pytest.param(
            "import os; os.unlink('prepare.py'); os.symlink('/etc/hostname', 'prepare.py')", id="links it away"
        ),
    ],
)
def test_touching_a_protected_file_voids_the_run(tmp_path: Path, deed: str) -> None:
    """Even a fine metric is worth nothing then."""
    files = {"prepare.py": "BUDGET = 1\n", "train.py": deed + "\nprint('val_bpb: 1.0')"}
    order = order_for(tmp_path, sys.executable, "-S", "train.py", files=files)
    assert outcome_of(order) == Voided(paths=("prepare.py",))


def test_a_script_that_rewrites_itself_is_void(tmp_path: Path) -> None:
    """What ran must be what was recorded, also when the run crashes afterwards."""
    source = "open('train.py', 'w').write('print()')\nraise SystemExit(3)"
    assert outcome_of(script(tmp_path, source)) == Voided(paths=("train.py",))


def test_modules_beside_the_script_do_not_reach_the_supervisor(tmp_path: Path) -> None:
    """A lab may have a json.py, a signal.py and a sitecustomize.py of its own."""
    trap = "raise SystemExit('the wrong module was imported')"
    files = dict.fromkeys(["json.py", "signal.py", "sitecustomize.py", "nightlab.py", "msgspec.py"], trap)
    order = order_for(tmp_path, "echo", "val_bpb: 1.0", files=files)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(order.cwd)
    here = Path.cwd()
    os.chdir(order.cwd)
    try:
        job = launch(order)
    finally:
        os.chdir(here)
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
    assert isinstance(finish(job, order), Finished)


def test_a_full_disk_does_not_end_the_run(tmp_path: Path) -> None:
    """The log stops growing, a remark says so, and the metric printed after that counts."""
    source = "print('x' * 70 + '\\n' * 1)\n" * 3 + "for _ in range(10_000): print('y' * 70)\nprint('val_bpb: 0.5')"
    order = script(tmp_path, source)
    write_order(order)
    subprocess.run(
        [sys.executable, "-P", "-m", "nightlab.supervise", str(order.files.order)],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        stderr=(said := (tmp_path / "said").open("w+b")),
        check=True,
    )
    said.seek(0)
    assert b"out.log could not be written on" in said.read()
    said.close()
    ended = read_ended(order.files)
    assert ended is not None
    assert isinstance(ended.outcome, Finished)
    assert order.files.log.stat().st_size <= 100_000


def test_a_ledger_out_of_reach_is_no_excuse(tmp_path: Path) -> None:
    """The ending is then in the run directory, and the supervisor says what did not work."""
    (tmp_path / "file").write_text("")
    order = order_for(tmp_path, "echo", "val_bpb: 1.0", database=tmp_path / "file" / "lab.db")
    assert isinstance(outcome_of(order), Finished)
    assert "was not recorded" in order.files.supervisor_log.read_text()


def test_cpu_time_of_the_whole_tree_counts(tmp_path: Path) -> None:
    """Work done by a detached grandchild is paid for too."""
    burn = "os.setsid()\n    while time.process_time() < 0.3: pass\n    os._exit(0)\n"
    order = script(tmp_path, f"import os, time\nif os.fork() == 0:\n    {burn}os.wait()\nprint('val_bpb: 1.0')")
    outcome_of(order)
    ended = read_ended(order.files)
    assert ended is not None
    assert ended.usage.cpu_s >= 0.3


@pytest.mark.parametrize("victim", ["supervisor", "guard", "command"])
def test_whoever_is_killed_the_others_follow(tmp_path: Path, victim: str) -> None:
    """Kill -9 of the supervisor, its guard or the command ends all three and the command's daemons."""
    daemon = "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n"
    order = script(tmp_path, daemon + "print('up', flush=True)\ntime.sleep(60)")
    job = launch(order)
    wait_until(lambda: order.files.log.exists() and b"up" in order.files.log.read_bytes())
    kill(job, victim)
    wait_until(job.poll, "the end")
    assert survivors(order) == []
    ended = read_ended(order.files)
    if victim == "supervisor":
        assert ended is None
        return
    assert ended is not None
    assert isinstance(ended.outcome, Lost)  # nobody knows what it would have measured


def kill(job: LocalJob, victim: str) -> None:
    """SIGKILL to one of the three, if it is there."""
    chain = [job._process.pid]
    for _ in range(2):
        below = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(chain[-1])], capture_output=True, text=True, check=False
        )
        chain += [int(pid) for pid in below.stdout.split()[:1]]
        if len(chain) == 1:
            break
    names = ["supervisor", "guard", "command"][: len(chain)]
    if victim in names:
        try:
            os.kill(chain[names.index(victim)], 9)
        except ProcessLookupError:
            return


# --- followed while it goes on ----------------------------------------------------------------------------------

TELLING = """
import json, time
for step in range(1, 101):
    with open({path!r}, "a") as file:
        file.write(json.dumps({{"fraction": step / 100, "loss": {loss}}}) + "\\n")
    if step == {pause}:
        time.sleep(60)
print("val_bpb: 1.25")
"""


def telling(tmp_path: Path, loss: str, bounds: Bounds | None, *, pause: int = 50) -> Order:
    """A run that tells of its progress; it would take a minute in the middle."""
    path = str(tmp_path / "run" / "progress.jsonl")
    order = script(tmp_path, TELLING.format(path=path, loss=loss, pause=pause))
    return replace(order, bounds=bounds)


LOOKS = (Look(fraction=0.4, champion=3.0, margin=0.5),)


def test_a_run_too_far_behind_is_stopped(tmp_path: Path) -> None:
    """Its ending names the look and the distance; the bounds travel with the order."""
    outcome = outcome_of(telling(tmp_path, "3.6", Bounds(looks=LOOKS)))
    assert isinstance(outcome, StoppedEarly)
    assert outcome.fraction == 0.4
    assert outcome.behind == pytest.approx(0.6)


def test_an_audited_run_finishes_and_says_what_it_was_spared(tmp_path: Path) -> None:
    """It has its metric, and the look that would have ended it."""
    outcome = outcome_of(telling(tmp_path, "3.6", Bounds(looks=LOOKS, spared=True), pause=0))
    assert isinstance(outcome, Finished)
    if outcome.spared is not None:  # a run as short as this may be over before it is looked at
        assert outcome.spared.fraction == 0.4


def test_a_loss_that_is_no_number_ends_the_run_as_crashed(tmp_path: Path) -> None:
    """Also a baseline's, which has no looks; the end of its output is kept."""
    outcome = outcome_of(telling(tmp_path, "float('nan')", Bounds()))
    assert isinstance(outcome, Crashed)
    assert outcome.signature == "loss is no number"
    assert outcome.summary.startswith("ended early: ")


def test_without_bounds_nobody_looks(tmp_path: Path) -> None:
    """Where early ends are switched off, the same run finishes."""
    outcome = outcome_of(telling(tmp_path, "float('nan')", None, pause=0))
    assert isinstance(outcome, Finished)
