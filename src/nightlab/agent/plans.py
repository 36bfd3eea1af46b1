"""The plan for the next experiment, as every way of asking shows it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from nightlab.config import Settings
from nightlab.discovery.plans import pending_plan, preview
from nightlab.discovery.shapes import PlanRow
from nightlab.errors import GitError
from nightlab.search.niches import emitter_of, kind_of_changes
from nightlab.types import EMITTERS, Again, Exhausted, Idea, Phase, Plan

if TYPE_CHECKING:
    from nightlab.discovery.view import View


def next_plan(view: View, settings: Settings, now: float) -> PlanRow:
    """The plan that waits for its run, else what the search would answer now, else the baseline. Keeps nothing.

    Args:
        view: of the lab.
        settings: of the lab, as its files say.
        now: UTC seconds since the epoch.
    """
    from nightlab.git import Git
    from nightlab.planned import planned

    pending = pending_plan(view)
    if pending is not None:
        return pending
    try:
        idea = planned(view.history, settings, Git(settings.root))
    except GitError as exc:
        print(f"note: {exc.args[0]}", file=sys.stderr)
        idea = None
    if isinstance(idea, Idea):
        kind = kind_of_changes(idea.changes)
        why = idea.hypothesis or idea.description
        return preview(view, idea.plan, hypothesis=f"{idea.description}: {why}", kind=kind, at=now)
    if isinstance(idea, Again):
        state = view.history.state(idea.experiment)
        plan = Plan(emitter=emitter_of(state.experiment), brief=idea.because)
        text, kind = f"Run #{state.number} again: {idea.because}", view.survey.niche(idea.experiment).kind
        return preview(view, plan, hypothesis=text, kind=kind, at=now)
    if isinstance(idea, Exhausted):
        plan = Plan(emitter=EMITTERS[0], brief="The built-in search has nothing left to propose.")
        return preview(view, plan, hypothesis=idea.reason, kind="other", at=now)
    text = "Run the committed source unchanged first: everything else is measured against it."
    return preview(view, Plan(emitter=EMITTERS[0], phase=Phase.BASELINE), hypothesis=text, kind="other", at=now)
