"""`exec` inside a lab: the caller's command in the caller's directory and terminal, as a recorded run.

The supervisor is this very process. What ran is the working tree as it lay there, so such a run is remembered but
never decides anything: only clean workspaces do.
"""

from __future__ import annotations

import os
import shlex
import time
from dataclasses import replace
from pathlib import Path

from nightlab import supervise
from nightlab.config import Settings
from nightlab.decide import FIRST_SEED
from nightlab.errors import AlreadyRecordedError, BackendError, UsageError
from nightlab.git import Git
from nightlab.history import run_names
from nightlab.ledger import Ledger
from nightlab.memory import open_ledger
from nightlab.root import refuse_second_lab
from nightlab.runner import lock, machine
from nightlab.runner.hashes import hash_files
from nightlab.runner.order import Order, RunFiles, write_order
from nightlab.runner.workspace import lab_environment, pinned
from nightlab.sources import Sources
from nightlab.types import NO_SLOT, Experiment, Idea, Plan, Proposed, Purpose, Run, Started


def record_command(settings: Settings, words: tuple[str, ...], *, limit_s: float) -> int:
    """Run `words` here and now, record it, and return the command's exit code.

    Args:
        settings: the lab that the current directory lies in.
        words: program and arguments.
        limit_s: wall-clock seconds after which the process tree is ended (exit code 124).

    Raises:
        NightlabError: the lab cannot record it; then nothing was run.
    """
    refuse_second_lab(settings.root)
    # A command of another wording is another experiment: its number says nothing of the lab's own command.
    git = Git(settings.root)
    settings = pinned(replace(settings, command=shlex.join(words)), git)
    with open_ledger(settings) as ledger:
        experiment = source_here(settings, git, ledger)
        order, held = _started(settings, ledger, experiment, words, limit_s)
    return supervise.run(order, held)


def source_here(settings: Settings, git: Git, ledger: Ledger, *, subject: str = "") -> Experiment:
    """The working tree's source as an experiment; recorded if the lab does not know it.

    Args:
        settings: the lab, with what makes runs comparable (`runner.workspace.pinned`).
        git: of the lab.
        ledger: of the lab.
        subject: what a new experiment is called if it is the committed source; "": by the command, as any other.
    """
    sources, head = Sources(settings, git), git.head()
    files = sources.working()
    name = sources.identify(files)
    known = ledger.experiment(name)
    if known is not None:
        return known
    before = sources.at(head)
    is_clean = before == files
    commit = head if is_clean else git.commit(git.tree_with(head, files), head, f"Working tree for {name}\n")
    called = (subject if is_clean else "") or f"{settings.command} in the working tree"
    idea = Idea(description=called, files=files, plan=Plan(emitter="exec"), family="exec")
    experiment = sources.experiment(idea, commit=commit, before=None if is_clean else before)
    try:
        ledger.append(Proposed(experiment=experiment))
    except AlreadyRecordedError:
        known = ledger.experiment(name)
        assert known is not None
        return known
    return experiment


def _started(
    settings: Settings, ledger: Ledger, experiment: Experiment, words: tuple[str, ...], limit_s: float
) -> tuple[Order, int]:
    """Record the run as started, its lock taken beforehand so that nobody takes it for dead."""
    here = Path.cwd()
    device = machine.places(replace(settings, budget=replace(settings.budget, slots=1)))[0]
    environment = machine.environment(device, lab_environment(settings), dirty=True)
    settings.runs.mkdir(parents=True, exist_ok=True)
    for name in run_names(time.time(), experiment.commit):
        run = Run(
            id=name,
            experiment=experiment.id,
            seed=_seed(),
            purpose=Purpose.EXEC,
            slot=NO_SLOT,
            limit_s=limit_s,
            command=words,
            environment=environment,
        )
        order = _order(settings, run, here)
        try:
            held = _claim(order)
        except (FileExistsError, BackendError):
            continue
        try:
            ledger.append(Started(run=run))
            write_order(order)  # nobody reads it now; it tells of the run if the ledger is lost
        except AlreadyRecordedError:
            os.close(held)
        except BackendError:
            os.close(held)
            raise
        else:
            return order, held
    raise AssertionError("names never run out")


def _claim(order: Order) -> int:
    """Make the run's directory and take its lock; whoever makes the directory has the name.

    Raises:
        FileExistsError: another process was faster.
        BackendError: the same.
    """
    order.run_dir.mkdir()
    return lock.take(order.files.lock)


def _order(settings: Settings, run: Run, here: Path) -> Order:
    files = RunFiles(settings.runs / run.id)
    env = {
        "NIGHTLAB_RUN_ID": run.id,
        "AUTORESEARCH_SEED": str(run.seed),
        "NIGHTLAB_RESULT_PATH": str(files.result),
        "AUTORESEARCH_RECEIPT_PATH": str(files.receipt),
        "AUTORESEARCH_PROGRESS_PATH": str(files.progress),
        "AUTORESEARCH_SUMMARY_PATH": str(files.summary),
    }
    return Order(
        run=run,
        cwd=here,
        run_dir=files.directory,
        database=settings.database,
        # Where the caller says himself where the summary goes, it goes there.
        env={name: value for name, value in env.items() if name.startswith("NIGHTLAB") or name not in os.environ},
        grace_s=settings.budget.grace_seconds,
        metric=settings.metric,
        root=settings.root,
        editable=tuple(hash_files(settings.root, settings.editable)),
        guarded=hash_files(settings.root, (*settings.editable, *settings.protected)),
        echo=True,
    )


def _seed() -> int:
    text = os.environ.get("AUTORESEARCH_SEED", str(FIRST_SEED))
    try:
        return int(text)
    except ValueError as exc:
        raise UsageError(f"AUTORESEARCH_SEED is {text!r}, which is no whole number", hint="unset it") from exc
