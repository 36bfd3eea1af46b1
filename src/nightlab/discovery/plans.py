"""Plans as the older surface states them, and the prompt for an agent."""

from __future__ import annotations

import hashlib
from collections import Counter

from nightlab.discovery.review import best_text
from nightlab.discovery.shapes import PlanRow
from nightlab.discovery.view import CATEGORIES, View, category, moment
from nightlab.history import ExperimentState
from nightlab.search.phases import stall
from nightlab.search.reviews import PREDICTED
from nightlab.types import EMITTERS, Phase, Plan

ORDER = ("optimizer", "architecture", "attention", "batch", "normalization", "regularization", "simplification")
UNSAID = "It was not said."


def plan_row(view: View, plan: Plan, *, hypothesis: str, kind: str, at: float, why: str, key: str = "") -> PlanRow:
    """A plan as the older surface states it.

    Args:
        view: of the lab, when it was planned.
        plan: of the search.
        hypothesis: why it should help.
        kind: of change, as the archive has it.
        at: the moment, UTC seconds since the epoch.
        why: the rationale.
        key: by which the plan is known again; "" for one that is shown and not kept.
    """
    emitter = plan.emitter if plan.emitter in EMITTERS else EMITTERS[0]
    where = plan.phase or view.phase
    niche = plan.niche or f"{CATEGORIES.get(kind, kind)}/{where}"
    told = key or f"{moment(at)}|{where}|{emitter}|{niche}|{len(view.reviews)}"
    forecast = plan.forecast
    unchanged = "flat" if where == Phase.BASELINE else ""  # nothing is changed by it
    likely = None if forecast is None else "likely improve" if forecast.chance >= 0.5 else "uncertain"
    return PlanRow(
        plan_id=plan_id(told),
        phase=where,
        emitter=emitter,
        niche=niche,
        hypothesis=hypothesis or UNSAID,
        predicted_direction=unchanged or likely or PREDICTED[emitter],
        rationale=why,
        created_at=moment(at),
    )


def preview(view: View, plan: Plan, *, hypothesis: str, kind: str, at: float) -> PlanRow:
    """A plan that is being made now, with the reasons of the moment."""
    emitter = plan.emitter if plan.emitter in EMITTERS else EMITTERS[0]
    why = rationale(view, plan.phase or view.phase, emitter, plan)
    return plan_row(view, plan, hypothesis=hypothesis, kind=kind, at=at, why=why)


def rationale(view: View, where: str, emitter: str, plan: Plan) -> str:
    """Why that plan: phase, emitter, what was tried least, the best value, the stall, and what the search says."""
    tried = Counter(category(found.niche) for found in view.reviews)
    least = sorted(ORDER, key=lambda name: tried[name])[:3]
    best = "none" if view.best is None or view.best.value is None else f"{view.best.value:.6f}"
    text = f"Phase={where}; emitter={emitter}; underexplored={least}; best={best}; stall_count={stall(view.history)}."
    return " ".join(part for part in (text, _said(plan)) if part)


def _said(plan: Plan) -> str:
    """What the search said of its plan when it made it."""
    cited = f"Conjectures: {', '.join(plan.cites)}." if plan.cites else ""
    return " ".join(part for part in (plan.brief, cited) if part)


def pending_plan(view: View) -> PlanRow | None:
    """The plan of the newest idea that has not been reviewed yet, else what an agent was asked to carry out."""
    return view.promised if view.pending is None else plan_of(view, view.pending)


def plan_id(told: str) -> str:
    """Twelve hex digits of what a plan is known by: the experiment that was proposed by it, once there is one."""
    return hashlib.sha1(told.encode(), usedforsecurity=False).hexdigest()[:12]


def plan_of(view: View, state: ExperimentState) -> PlanRow:
    """The plan that an experiment was proposed by; it stays the same for ever."""
    made = state.experiment
    return plan_row(
        view,
        made.plan,
        hypothesis=made.hypothesis,
        kind=view.survey.niche(made.id).kind,
        at=state.proposed_at,
        why=_said(made.plan) or UNSAID,
        key=made.id,
    )


def prompt(view: View, plan: PlanRow) -> str:
    """What an agent is asked to do next, with the labels that scripts look for."""
    is_baseline = plan.phase == Phase.BASELINE
    todo = "the committed source, unchanged" if is_baseline else "one change of the editable files"
    lines = [
        f"Go on with the search: {todo}, run as one experiment.",
        f"Phase: {plan.phase}",
        f"Emitter: {plan.emitter}",
        f"Niche: {plan.niche}",
        f"Hypothesis: {plan.hypothesis}",
        f"Predicted effect: {plan.predicted_direction}",
        f"Current best: {best_text(view)}",
    ]
    active = [pattern for pattern in view.archive.no_fly if not pattern.has_expired]
    lines += [f"Avoid: {pattern.change} ended in {pattern.signature}." for pattern in active[:2]]
    return "\n".join(lines)
