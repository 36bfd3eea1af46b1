"""Runs that were given up by their curves: what that saved, and whether it was right."""

from __future__ import annotations

from statistics import median

from nightlab.history import History
from nightlab.report.nouns import EarlyStops
from nightlab.report.words import count, duration
from nightlab.types import Decision, Finished, NightId, StoppedEarly


def early_stops(history: History) -> EarlyStops:
    """The counts, over all nights."""
    walls: dict[NightId | None, list[float]] = {}
    stopped, saved, audited, kept = 0, 0.0, 0, 0
    for run in history.runs.values():
        if isinstance(run.outcome, Finished) and run.usage is not None:
            walls.setdefault(run.run.night, []).append(run.usage.wall_s)
    for run in history.runs.values():
        outcome = run.outcome
        if isinstance(outcome, StoppedEarly) and outcome.fraction is not None:
            stopped += 1
            usual = walls.get(run.run.night)
            if usual and run.usage is not None:
                saved += max(median(usual) - run.usage.wall_s, 0.0)
        elif isinstance(outcome, Finished) and outcome.spared is not None:
            audited += 1
            verdict = history.state(run.run.experiment).verdict
            kept += verdict is not None and verdict.decision is Decision.KEEP
    return EarlyStops(stopped=stopped, minutes_saved=saved / 60, audited=audited, audited_kept=kept)


def in_words(early: EarlyStops) -> str:
    """The counts in a sentence or two; "" if there is nothing to tell."""
    said = []
    if early.stopped:
        said.append(
            f"{count(early.stopped, 'run')} ended early, too far behind the champion's curve to become its equal: "
            f"about {duration(60 * early.minutes_saved)} saved, and nothing measured."
        )
    if early.audited:
        kept = f"{early.audited_kept} of {early.audited} kept" if early.audited_kept else "none kept"
        said.append(f"Let finish as an audit, though as far behind: {count(early.audited, 'run')}, {kept} in the end.")
    return " ".join(said)
