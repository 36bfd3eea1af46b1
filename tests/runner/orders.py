"""Orders for small commands, and a way to wait for their end."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from nightlab.config import MetricSettings
from nightlab.runner.hashes import hash_files
from nightlab.runner.local import LocalJob, launch
from nightlab.runner.order import Order, read_ended
from nightlab.runner.tree import with_variable
from nightlab.types import Environment, ExperimentId, Outcome, Purpose, Run, RunId

PATIENCE_S = 60.0  # after which a test is stuck; no promise about speed


def make_run(name: str, command: tuple[str, ...], *, limit_s: float = 60.0, seed: int = 42) -> Run:
    return Run(
        id=RunId(name),
        experiment=ExperimentId("e-a"),
        seed=seed,
        purpose=Purpose.IDEA,
        slot=0,
        limit_s=limit_s,
        command=command,
        environment=Environment(device="cpu:0", machine="test", python="3", platform="linux"),
    )


def order_for(
    tmp_path: Path,
    *command: str,
    files: Mapping[str, str] | None = None,
    limit_s: float = 60.0,
    grace_s: float = 0.3,
    metric: MetricSettings | None = None,
    database: Path | None = None,
) -> Order:
    """An order to run `command` in a directory with `files`, all of them guarded, train.py editable."""
    cwd = tmp_path / "cwd"
    cwd.mkdir(exist_ok=True)
    for path, text in (files or {}).items():
        (cwd / path).write_text(text)
    run = make_run(f"{tmp_path.parent.name}-{tmp_path.name}", command, limit_s=limit_s)
    run_dir = tmp_path / "run"
    return Order(
        run=run,
        cwd=cwd,
        run_dir=run_dir,
        database=database,
        env={
            "NIGHTLAB_RUN_ID": run.id,
            "NIGHTLAB_RESULT_PATH": str(run_dir / "result.json"),
            "AUTORESEARCH_SUMMARY_PATH": str(run_dir / "summary.json"),
        },
        grace_s=grace_s,
        metric=metric or MetricSettings(),
        editable=("train.py",),
        guarded=hash_files(cwd, files or {}),
    )


def script(tmp_path: Path, source: str, **settings: object) -> Order:
    """An order to run a Python script called train.py."""
    return order_for(tmp_path, sys.executable, "-S", "train.py", files={"train.py": source}, **settings)  # type: ignore[arg-type]


def wait_until(true: Callable[[], object], what: str = "it") -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until, f"{what} did not happen"
        time.sleep(0.01)


def finish(job: LocalJob, order: Order) -> Outcome:
    """Wait for the end, and check what every ending promises: it is written down and nothing is left alive."""
    wait_until(job.poll, "the end of the run")
    assert survivors(order) == []
    ended = read_ended(order.files)
    assert ended is not None, order.files.supervisor_log.read_text()
    assert ended.run == order.run.id
    return ended.outcome


def outcome_of(order: Order) -> Outcome:
    return finish(launch(order), order)


def survivors(order: Order) -> list[int]:
    """Processes of the run that are still alive."""
    return with_variable("NIGHTLAB_RUN_ID", order.run.id)
