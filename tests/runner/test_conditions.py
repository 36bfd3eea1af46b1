"""How a run finds its device and leaves it, under a real supervisor, and which values are then believed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nightlab.config import BudgetSettings, MetricSettings, ProbeSettings, Settings
from nightlab.git import Git
from nightlab.ledger import Ledger
from nightlab.runner.conditions import RULES, Seen, conclude, depends_on_speed, gpu_key
from nightlab.runner.local import LocalBackend, launch
from nightlab.runner.order import Inspection, Order, RunFiles, read_ended, read_order, write_order
from nightlab.types import (
    Conditions,
    Crashed,
    Disputed,
    Ended,
    Finished,
    Lost,
    Metrics,
    Outcome,
    Proposed,
    Reading,
    Started,
    StoppedEarly,
    TimedOut,
    Voided,
)
from tests.builders import Repo, experiment
from tests.runner.orders import make_run, order_for, outcome_of, script, wait_until
from tests.runner.smi import Smi

FINISHED = Finished(metrics=Metrics(primary=1.0))
OUT_OF_MEMORY = Crashed(summary="CUDA out of memory", exit_code=1, signature="out of memory")


def inspected(order: Order, **inspection: object) -> Order:
    return replace(order, inspection=Inspection(**inspection))  # type: ignore[arg-type]


def on_gpu(order: Order, device: str = "cuda:1") -> Order:
    """The same order for a GPU place, told to its command as the lab tells it."""
    run = replace(order.run, environment=replace(order.run.environment, device=device))
    return replace(order, run=run, env={**order.env, "CUDA_VISIBLE_DEVICES": device.partition(":")[2]})


def ending(order: Order) -> Ended:
    outcome_of(order)
    ended = read_ended(order.files)
    assert ended is not None
    return ended


def conditions_of(order: Order) -> Conditions:
    found = ending(order).conditions
    assert found is not None
    return found


def program(tmp_path: Path, source: str) -> tuple[str, ...]:
    """A probe command."""
    (tmp_path / "probe.py").write_text(source)
    return (sys.executable, "-S", str(tmp_path / "probe.py"))


# --- readings ---------------------------------------------------------------------------------------------------


def test_a_cpu_run_has_a_speed_before_and_after(tmp_path: Path) -> None:
    """By the built-in probe, and recorded with the ending; who does not ask for it is not looked at."""
    order = order_for(tmp_path, "echo", "val_bpb: 1.0")
    found = conditions_of(inspected(order))
    assert found.before.speed is not None
    assert found.after.speed is not None
    assert (found.timed, found.trouble) == (None, "")
    (tmp_path / "other").mkdir()
    assert ending(order_for(tmp_path / "other", "echo", "val_bpb: 1.0")).conditions is None


def test_the_order_carries_what_is_looked_at(tmp_path: Path) -> None:
    """Written and read back."""
    order = inspected(order_for(tmp_path, "true"), probe=("a", "b"), probe_limit_s=3.0, timed=False, neighbours=2)
    assert read_order(write_order(order)).inspection == order.inspection


@pytest.mark.parametrize(("slots", "neighbours"), [(1, 0), (3, 2)])
def test_a_labs_settings_reach_its_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, slots: int, neighbours: int
) -> None:
    """The probe, its limit, whether speed matters, and how many places share the CPU."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    repo = Repo.make(tmp_path / "lab", {"train.py": "print('val_bpb: 1.0')\n", "prepare.py": "print(12)\n"})
    settings = Settings(
        root=repo.root,
        command="python train.py",
        metric=MetricSettings(timed=True),
        budget=BudgetSettings(slots=slots),
        probe=ProbeSettings(command="python prepare.py", timeout_seconds=30.0),
    )
    run = make_run("r1", settings.argv)
    with Ledger.open(settings.database) as ledger:
        ledger.append(Proposed(experiment=experiment("a")), Started(run=run))
    wait_until(LocalBackend(settings, Git(repo.root)).start(run, repo.git("rev-parse", "HEAD")).poll)
    files = RunFiles(settings.runs / run.id)
    inspection = read_order(files.order).inspection
    assert inspection == Inspection(
        probe=("python", "prepare.py"), probe_limit_s=30.0, timed=True, neighbours=neighbours
    )
    with Ledger.read(settings.database) as ledger:
        state = ledger.history().runs[run.id]
    assert state.speed == 12.0


def test_the_labs_own_probe_goes_before_the_built_in_one(tmp_path: Path) -> None:
    """In the run's directory and environment, before the command and after it; its last line is the number."""
    source = "import os\nprint('warming up')\nprint(len(os.listdir()) + 40 * (os.environ['NIGHTLAB_RUN_ID'] != ''))\n"
    order = inspected(script(tmp_path, "open('left', 'w')\nprint('val_bpb: 1.0')"), probe=program(tmp_path, source))
    found = conditions_of(order)
    assert (found.before.speed, found.after.speed) == (41.0, 42.0)
    assert order.files.supervisor_log.read_text() == ""


def test_nothing_of_the_probe_is_the_runs(tmp_path: Path) -> None:
    """Not its CPU time, not what it prints, not the files it writes, not what it has left running."""
    source = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n    os.setsid()\n    time.sleep(60)\n"
        "while time.process_time() < 0.4: pass\n"
        "open(os.environ['NIGHTLAB_RESULT_PATH'], 'w').write('7.0')\n"
        "print('val_bpb: 9.0'); print(5)\n"
    )
    ended = ending(inspected(order_for(tmp_path, "echo", "val_bpb: 1.0"), probe=program(tmp_path, source)))
    assert isinstance(ended.outcome, Finished)
    assert ended.outcome.metrics.primary == 1.0
    assert ended.usage.cpu_s < 0.4
    assert ended.conditions is not None
    assert ended.conditions.speed == 5.0


@pytest.mark.parametrize(
    ("source", "remark"),
    [
        pytest.param("print('fast')", "printed 'fast' last, which is no speed", id="a word"),
        pytest.param("print(-1)", "printed '-1' last, which is no speed", id="negative"),
        pytest.param("print('nan')", "printed 'nan' last, which is no speed", id="nan"),
        pytest.param("pass", "printed 'nothing' last, which is no speed", id="nothing"),
        pytest.param("print(3); raise SystemExit(4)", "the probe command failed: 3", id="failed"),
        pytest.param("import time; time.sleep(60)", "took longer than 0.5 s", id="hangs"),
        pytest.param("import os; os.kill(os.getpid(), 9)", "the probe command failed", id="killed"),
    ],
)
def test_a_probe_that_gives_no_number_costs_the_run_nothing(tmp_path: Path, source: str, remark: str) -> None:
    """The run goes on, its speed is not known, and the supervisor says why, once."""
    order = inspected(order_for(tmp_path, "echo", "val_bpb: 1.0"), probe=program(tmp_path, source), probe_limit_s=0.5)
    ended = ending(order)
    assert isinstance(ended.outcome, Finished)
    assert ended.conditions is not None
    assert ended.conditions.speed is None
    said = order.files.supervisor_log.read_text()
    assert remark in said
    assert said.count("the probe command") == 1


def test_a_probe_that_does_not_exist_is_named(tmp_path: Path) -> None:
    """The remark says which command."""
    order = inspected(order_for(tmp_path, "echo", "val_bpb: 1.0"), probe=("no-such-probe",))
    assert conditions_of(order).speed is None
    assert "no-such-probe" in order.files.supervisor_log.read_text()


def test_a_value_that_does_not_depend_on_speed_is_not_probed_by_command(tmp_path: Path) -> None:
    """It would cost time and tell nothing; the built-in probe costs next to nothing."""
    mark = tmp_path / "mark"
    order = inspected(
        order_for(tmp_path, "echo", "val_bpb: 1.0"), probe=program(tmp_path, f"open({str(mark)!r}, 'w')"), timed=False
    )
    assert conditions_of(order).timed is False
    assert not mark.exists()


def test_a_stop_does_not_wait_for_the_probe(tmp_path: Path) -> None:
    """Asked for while the probe runs, it ends both, and no second probe is made."""
    source = "import time; print('up', flush=True); time.sleep(60)"
    order = inspected(order_for(tmp_path, "sleep", "60"), probe=program(tmp_path, source))
    job = launch(order)
    wait_until(lambda: order.files.probe_log.exists() and order.files.probe_log.read_bytes())
    job.cancel("enough")
    wait_until(job.poll)
    ended = read_ended(order.files)
    assert ended is not None
    assert ended.outcome == StoppedEarly(reason="enough")


# --- a GPU ------------------------------------------------------------------------------------------------------


def test_a_gpu_run_on_a_quiet_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clock under the probe's load and right after the run, nobody else there, speed by the lab's probe; believed."""
    smi = Smi.installed(tmp_path, monkeypatch)
    smi.say(gpu=["345, 0, 81559, 0x1", "1980, 100, 81559, 0x4", "1755, 0, 81559, 0x4"])
    order = inspected(on_gpu(order_for(tmp_path, "echo", "val_bpb: 1.0")), probe=program(tmp_path, "print(700)"))
    assert conditions_of(order) == Conditions(
        before=Reading(speed=700.0, clock_mhz=1980.0, busy=0.0),
        after=Reading(speed=700.0, clock_mhz=1755.0, busy=0.0),
        timed=True,
    )
    assert all("--id=1 " in asked for asked in smi.asked)


@pytest.mark.parametrize(
    ("gpu", "trouble"),
    [
        (["1980, 0, 81559, 0x0", "1980, 90, 81559, 0x0"], "others used the GPU"),
        (["1980, 80, 81559, 0x0", "1980, 80, 81559, 0x0", "1980, 0, 81559, 0x0"], "others used the GPU"),
        (["1980, 0, 81559, 0x0", "1200, 0, 81559, 0x40"], "the GPU was too hot"),
        (["1980, 0, 81559, 0x40", "1980, 0, 81559, 0x0"], ""),  # before the run, and no longer after it
    ],
)
def test_a_gpu_in_trouble_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpu: list[str], trouble: str
) -> None:
    """Others before or after the run, or clocks that were held down at its end; without a probe too."""
    Smi.installed(tmp_path, monkeypatch).say(gpu=gpu)
    assert conditions_of(inspected(on_gpu(order_for(tmp_path, "echo", "val_bpb: 1.0")))).trouble == trouble


def test_a_gpu_of_which_nothing_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No nvidia-smi: nothing is known, and the value is believed."""
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    found = conditions_of(inspected(on_gpu(order_for(tmp_path, "echo", "val_bpb: 1.0"))))
    assert found == Conditions(before=Reading(), after=Reading(), timed=True)


@pytest.mark.parametrize(
    ("told", "ours", "key"),
    [("GPU-b", "", "GPU-b"), ("2", "0,1", "2"), (None, "3,1", "3"), (None, "", "1")],
)
def test_the_card_that_is_asked_for_is_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: str | None, ours: str, key: str
) -> None:
    """What the command is told, else the first that we see, else the place's number."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", ours)
    order = on_gpu(order_for(tmp_path, "true"))
    assert gpu_key(replace(order, env={} if told is None else {"CUDA_VISIBLE_DEVICES": told})) == key


# --- rules ------------------------------------------------------------------------------------------------------


def seen(before: float | None = 10.0, after: float | None = 10.0, **more: object) -> Seen:
    return Seen(before=Reading(speed=before), after=Reading(speed=after), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("what", "words"),
    [
        pytest.param(seen(), "", id="nothing"),
        pytest.param(seen(None, None), "", id="nothing known"),
        pytest.param(seen(10.0, None), "", id="one speed"),
        pytest.param(seen(10.0, 0.0), "", id="no speed"),
        pytest.param(seen(10.0, 8.5), "", id="a card that has come to its power cap"),
        pytest.param(seen(10.0, 6.7), "", id="just less than a third"),
        pytest.param(seen(10.0, 6.6), "the device was much slower after the run than before it", id="a third lost"),
        pytest.param(seen(6.6, 10.0), "the device was much slower before the run than after it", id="a third won"),
        pytest.param(seen(crowded="others used the GPU"), "others used the GPU", id="crowded"),
        pytest.param(seen(slowed="the GPU was too hot"), "the GPU was too hot", id="slowed"),
    ],
)
def test_rules(what: Seen, words: str) -> None:
    """A value that depends on speed is doubted for what the device did, in words; one that does not never is."""
    assert conclude(what, FINISHED, timed=True).trouble == words
    assert conclude(what, FINISHED, timed=False).trouble == ""
    assert conclude(what, FINISHED, timed=None).trouble == ""
    assert any(rule(what) for rule in RULES) == bool(words)


@pytest.mark.parametrize(
    ("outcome", "is_doubted"),
    [
        (TimedOut(limit_s=60.0), True),  # on a device of its own it might have been in time
        (Crashed(summary="NameError: x", exit_code=1, signature="NameError: x"), False),
        (Voided(paths=("prepare.py",)), False),
        (Disputed(because="1 is not 2"), False),
        (StoppedEarly(reason="enough"), False),
        (Lost(reason="gone"), False),
    ],
)
def test_only_what_a_slow_device_can_cause_is_doubted(outcome: Outcome, is_doubted: bool) -> None:
    """Late, yes; a bug, a touched file or a false receipt are nobody else's fault."""
    assert bool(conclude(seen(crowded="others used the GPU", held=0.9), outcome, timed=True).trouble) is is_doubted


@pytest.mark.parametrize(("held", "is_doubted"), [(None, False), (0.02, False), (0.4, True)])
def test_memory_that_others_hold_is_not_the_ideas_fault(held: float | None, is_doubted: bool) -> None:
    """Out of memory on a card that others filled is void, whether or not the lab's value depends on speed."""
    for timed in (True, False):
        assert bool(conclude(seen(held=held), OUT_OF_MEMORY, timed=timed).trouble) is is_doubted


@pytest.mark.parametrize(
    ("setting", "receipt", "cpu", "gpu"),
    [
        pytest.param(None, None, None, True, id="nobody says"),
        pytest.param(None, {"budget": {"kind": "wall"}}, True, True, id="a budget in seconds"),
        pytest.param(None, {"budget": {"kind": "compute"}}, False, False, id="a budget of counted work"),
        pytest.param(None, {"budget": {"kind": "dollars"}}, None, True, id="a budget that we do not know"),
        pytest.param(None, {"budget": 3}, None, True, id="another receipt"),
        pytest.param(None, [1], None, True, id="no receipt of ours"),
        pytest.param(False, {"budget": {"kind": "wall"}}, False, False, id="the settings have the first word"),
        pytest.param(True, {"budget": {"kind": "compute"}}, True, True, id="also the other way"),
    ],
)
def test_whether_speed_matters(
    tmp_path: Path, setting: bool | None, receipt: object, cpu: bool | None, gpu: bool | None
) -> None:
    """Settings, then the receipt, then the kind of device."""
    order = inspected(order_for(tmp_path, "true"), timed=setting)
    order.run_dir.mkdir()
    if receipt is not None:
        order.files.receipt.write_text(json.dumps(receipt))
    assert depends_on_speed(order) is cpu
    assert depends_on_speed(on_gpu(order)) is gpu


def test_a_busy_cpu_is_told_where_the_value_depends_on_time(tmp_path: Path) -> None:
    """Others that keep every core busy during a run make a timed value void, and leave a counted one alone."""
    burn = "import os, time\nprint('up', flush=True)\nwhile os.getppid() == PARENT: pass\n"
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores > 8 or not Path("/proc/stat").exists():
        pytest.skip("too many cores to fill, or a kernel that does not count them")
    source = burn.replace("PARENT", str(os.getpid()))
    others = [subprocess.Popen([sys.executable, "-S", "-c", source], stdout=subprocess.PIPE) for _ in range(cores)]
    try:
        for process in others:
            assert process.stdout is not None
            process.stdout.readline()
        work = "import time\nend = time.monotonic() + 2\nwhile time.monotonic() < end: pass\nprint('val_bpb: 1.0')"
        timed = conditions_of(inspected(script(tmp_path, work), timed=True))
        (tmp_path / "b").mkdir()
        counted = conditions_of(inspected(script(tmp_path / "b", work), timed=False))
    finally:
        for process in others:
            process.kill()
            process.wait()
            assert process.stdout is not None
            process.stdout.close()
    assert timed.trouble == "others used the CPU, and no core was free"
    assert timed.after.busy is not None
    assert timed.after.busy > 0.1
    assert counted.trouble == ""
    assert counted.after.busy is not None
