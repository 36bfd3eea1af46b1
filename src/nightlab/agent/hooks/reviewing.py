"""What ended since a session was told last, reviewed for it; the older control plane's files are brought up to date."""

from __future__ import annotations

from typing import NamedTuple

from nightlab.agent.hooks import sheet
from nightlab.agent.hooks.place import PATIENCE_S, Place
from nightlab.config import load_settings
from nightlab.discovering import keep_up, view_of
from nightlab.discovery.review import review_text
from nightlab.discovery.view import View
from nightlab.history import RunState
from nightlab.ledger.mirrors import Mirrors
from nightlab.memory import open_ledger
from nightlab.report.text import block, plain
from nightlab.types import ExperimentId, Finished


class Reviewed(NamedTuple):
    """What a session is told, and up to which event."""

    seq: int
    text: str = ""
    recommendation: str = ""


def review_since(place: Place, seq: int, now: float) -> Reviewed:
    """The review of the newest experiment whose run has ended after that event; "" if none did.

    Raises:
        NightlabError: the ledger or the disk refuses.
    """
    settings, key = load_settings(place.root), sheet.key_of(place)
    with Mirrors(settings.root).locked(patience_s=PATIENCE_S) as is_ours, open_ledger(settings) as ledger:
        view = view_of(ledger, settings)
        if is_ours:
            keep_up(ledger, settings, now, view)
    sheet.keep(place, view, key)
    ended = [run for run in view.history.runs.values() if (run.ended_seq or 0) > seq]
    if not ended:
        return Reviewed(view.history.seq)
    newest = max(ended, key=lambda run: run.ended_seq or 0)
    found = view.by_experiment.get(newest.run.experiment)
    if found is not None and (view.history.runs[found.run].ended_seq or 0) > seq:
        parts, recommendation = [review_text(view, found).rstrip("\n")], found.recommendation
    else:  # it was reviewed by an earlier run of it, or says nothing of the idea
        parts, recommendation = [_line(view, newest)], ""
    parts += _verdict(view, newest.run.experiment)
    others = len({run.run.experiment for run in ended}) - 1
    if others:
        parts.append(f"{others} more experiment(s) had runs that ended: `nightlab runs` lists them.")
    return Reviewed(view.history.seq, block("\n".join(parts)), recommendation)


def _line(view: View, run: RunState) -> str:
    number = view.history.state(run.run.experiment).number
    if isinstance(run.outcome, Finished):
        return f"Run {run.run.id} of experiment #{number} ended: {view.settings.metric.name} {run.value:.6f}."
    return f"Run {run.run.id} of experiment #{number} ended without a value: `nightlab show {number}` says why."


def _verdict(view: View, experiment: ExperimentId) -> list[str]:
    state = view.history.state(experiment)
    if state.verdict is None:
        return []
    return [f"Verdict on #{state.number}: {state.verdict.decision}, {plain(state.verdict.because, 300)}"]
