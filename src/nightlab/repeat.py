"""A cited run executed once more: its own source, its own seed, a clean workspace; does its value hold?"""

from __future__ import annotations

import math
from dataclasses import dataclass

from nightlab import decide
from nightlab.errors import NotFoundError, UsageError
from nightlab.history import ExperimentState, RunState
from nightlab.ledger.records import IMPORT
from nightlab.loop import Lab, lease
from nightlab.report.dossier import look_up
from nightlab.report.levels import Levels
from nightlab.types import ExperimentId, Purpose, is_infrastructure

WIDE = 3.0  # standard deviations of the difference of two runs: by chance one in four hundred is farther off


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """A recorded value beside the one measured now."""

    run: str
    again: str  # the run that was made for it
    recorded: float
    measured: float | None
    allowed: float | None  # largest difference that the lab's noise explains; None: the noise is not known
    holds: bool
    because: str


def find(lab: Lab, name: str) -> tuple[ExperimentState, RunState]:
    """The run that `name` means, or the latest finished one of that experiment.

    Raises:
        NotFoundError: there is no such run, or it has no value.
        UsageError: the lab cannot run its source, or not as it was run.
    """
    if name.strip().lower() == "champion" and lab.history.champion is None:  # by somebody's word, then
        best = lab.ledger.records.champion(lab.settings.metric.direction.sign)
        name = best.run if best is not None else name
    refuse_imported(lab, name)
    state, asked = look_up(lab.history, name)
    finished = [asked] if asked is not None else [r for r in state.finished() if r.run.purpose is not Purpose.EXEC]
    run = finished[-1] if finished else None
    if run is None or run.value is None:
        raise NotFoundError(f"{name} has no value that could be compared", hint="`nightlab runs` lists those that do")
    if run.run.purpose is Purpose.EXEC:
        raise UsageError(
            f"{run.run.id} was another command in its caller's directory", hint="run it again with `nightlab exec`"
        )
    if run.logged is not None and not run.logged.sourced:
        raise UsageError(f"{run.run.id} was logged without an editable file, so that there is nothing to run")
    command = lab.settings.argv
    if run.run.command not in ((), command):
        raise UsageError(
            f"{run.run.id} ran `{' '.join(run.run.command)}`, and this lab runs `{' '.join(command)}` now",
            hint="set `command` in nightlab.toml as it was, then again",
        )
    return state, run


def refuse_imported(lab: Lab, name: str) -> None:
    """Raise the error that says why a run of another ledger cannot be made here, if `name` is one.

    Raises:
        UsageError: it is.
    """
    record = lab.ledger.records.get(name.strip())
    if record is not None and record.origin == IMPORT:
        raise UsageError(
            f"{record.run} was imported: what ran there is its author's word, and the lab has no source of it to run",
            hint="check its commit out and `nightlab try` it" if record.commit else "",
        )


def repeat(lab: Lab, name: str) -> Repeated:
    """Execute a run once more (see `find` for what `name` may mean) and compare.

    Raises:
        NotFoundError, UsageError: as `find` does.
        BusyError: a night is under way.
    """
    with lease(lab.settings):
        state, run = find(lab, name)
        assert run.value is not None
        # Nobody told the seed of a run that was logged by hand; then the first is as good as any.
        seed = run.run.seed if run.run.seed >= 0 else decide.FIRST_SEED
        done = lab.run_once(decide.Execute(experiment=state.experiment.id, seed=seed, purpose=Purpose.VERIFY))
    allowed = _allowed(lab, state.root)
    holds, because = _compared(lab.settings.metric.name, run, run.value, done, allowed)
    if run.run.seed < 0:
        because += f"; nobody told its seed, so seed {seed} was taken"
    return Repeated(
        run=run.run.id,
        again=done.run.id,
        recorded=run.value,
        measured=done.value,
        allowed=allowed,
        holds=holds,
        because=because,
    )


def _allowed(lab: Lab, root: ExperimentId | None) -> float | None:
    noise = Levels(lab.history, lab.settings, root).noise if root is not None else None
    return None if noise is None else WIDE * math.sqrt(2) * noise.sd


def _compared(metric: str, run: RunState, recorded: float, done: RunState, allowed: float | None) -> tuple[bool, str]:
    name, measured = run.run.id, done.value
    if done.trouble:
        return False, f"{name} could not be run again, which says nothing of it: not to be believed, {done.trouble}"
    if measured is None:
        why = decide.describe_failure(done)
        if done.outcome is not None and is_infrastructure(done.outcome):
            return False, f"{name} could not be run again, which says nothing of it: {why}"
        return False, f"{name} did not repeat: {why}"
    both = f"{name} recorded {metric} {recorded:.6g}, and {measured:.6g} now"
    if measured == recorded:
        return True, f"{both}: the same to the last digit"
    if allowed is None:
        return False, f"{both}; how much a run varies here is not known, so the difference cannot be weighed"
    if abs(measured - recorded) <= allowed:
        return True, f"{both}: within the noise of two runs (up to {allowed:.2g})"
    return False, f"{both}: farther apart than the noise of two runs explains ({allowed:.2g})"
