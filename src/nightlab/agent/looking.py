"""A lab looked at as it is now, with what only this machine knows: who works on it, and on which branch."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.config import Settings
from nightlab.errors import LedgerError, NightlabError

if TYPE_CHECKING:
    from nightlab.history import History
    from nightlab.ledger.records import Told
    from nightlab.report.nouns import LabSummary


def summary_of(settings: Settings, history: History, told: Told | None = None) -> LabSummary:
    """The lab as it is now, with what only this machine knows: who works on it, what still runs, on which branch."""
    from dataclasses import replace

    from nightlab.report.summary import summarise

    now = time.time()
    lab = summarise(history, settings, now, told)
    alive = {run.run: _is_watched(settings, run.run) for run in lab.active}
    lab = replace(
        lab, branch=branch_of(settings), active=tuple(replace(run, watched=alive[run.run]) for run in lab.active)
    )
    idle = is_worked(settings) is False and not any(alive.values())
    if lab.night is not None and lab.night.state == "running" and idle:
        moments = [m for r in history.runs.values() for m in (r.started_at, r.ended_at) if m is not None]
        assert history.night is not None
        worked = max(moments, default=now) - history.night.at
        lab = replace(lab, night=replace(lab.night, state="interrupted", elapsed_minutes=max(worked, 0.0) / 60))
    return lab


def branch_of(settings: Settings) -> str:
    """Where promotions go."""
    from nightlab.git import Git

    try:
        return Git(settings.root).free_branch(settings.branch)
    except NightlabError:
        return settings.branch  # no git here: the ledger still has everything to show


def _is_watched(settings: Settings, run: str) -> bool | None:
    """Whether a run's supervisor lives; None if its lock may not be looked at."""
    from nightlab.runner.lock import is_held
    from nightlab.runner.order import RunFiles

    try:
        return is_held(RunFiles(settings.runs / run).lock)
    except OSError:
        return None


def is_worked(settings: Settings) -> bool | None:
    """Whether a process holds the loop lease; None if that may not be looked at."""
    from nightlab.runner.lock import is_held

    try:
        return is_held(settings.results / "loop.lock")
    except OSError:
        return None


def write_reports(
    settings: Settings, since_hours: float, *, output: str = "", form: str = "md", figures: bool = False
) -> tuple[Path, ...]:
    """Write latest and a stamped copy into results/memorylab/reports, or one named file only.

    Returns:
        The reports, and behind the first two the figures that were drawn.
    """
    from nightlab.mirroring import reading
    from nightlab.report.morning import render, write_report

    now = time.time()
    with reading(settings, now) as ledger:
        history, branch = ledger.history(own=True), branch_of(settings)
        if output:
            report = render(history, ledger.records, settings, now, since_hours, branch=branch, form=form)
            return (_write(Path(output).absolute(), report),)
        return write_report(
            history,
            ledger.records,
            settings,
            now=now,
            since_hours=since_hours,
            branch=branch,
            form=form,
            figures=figures,
        )


def _write(path: Path, text: str) -> Path:
    from nightlab.runner.files import write_atomic

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode())
    except OSError as exc:
        raise LedgerError(f"{path} cannot be written: {exc.strerror}", hint="name another file") from exc
    return path
