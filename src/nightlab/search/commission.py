"""What a model or an agent is asked to propose: by the phases, emitters and claims of the built-in search, no idea yet.

Pure. The built-in search draws proposals itself; whoever writes code gets a plan instead: which way to go (emitter,
brief), where (niche), and what is known about it (conjectures, near misses, surprises).
"""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

from nightlab.history import History
from nightlab.search.archive import is_idea
from nightlab.search.conjectures import conjectures
from nightlab.search.credit import drawn, earned, tired
from nightlab.search.emitters import BY_NAME
from nightlab.search.niches import Survey
from nightlab.search.phases import near_misses, phase
from nightlab.search.propose import CITED
from nightlab.search.surprises import surprising
from nightlab.types import ExperimentId, Plan

EVERYWHERE = ("optimizer", "architecture", "attention", "batch", "normalization", "regularization", "schedule")
WHERE = {
    "optimizer_hacker": ("optimizer", "schedule", "regularization"),
    "architecture_mutator": ("architecture", "attention", "normalization"),
    "contrarian": EVERYWHERE,
}
"""Kinds of change that an emitter is sent to; others go where their brief leads them."""

NAMED = 4  # experiments that a brief names, the latest
DRAWS = 8  # of an emitter, until one comes that did not have the last ideas in a row


def commission(history: History, base: ExperimentId, rng: random.Random, survey: Survey | None = None) -> Plan:
    """A plan for one idea that somebody else will have.

    Args:
        history: folded up to now.
        base: the experiment that the idea changes.
        rng: of this question.
        survey: niches that were reckoned already, of the same history.
    """
    survey = survey or Survey(history)
    now = phase(history, base)
    credit, weary = earned(history, base), tired(history, base)
    name = next((n for n in (drawn(credit, now, rng) for _ in range(DRAWS)) if n != weary), weary or "contrarian")
    kind = _least_tried(history, base, survey, WHERE.get(name, ()))
    return Plan(
        emitter=name,
        brief=" ".join(part for part in (BY_NAME[name].brief, _material(history, base, name)) if part),
        niche=f"{kind}/{now.value}" if kind else "",
        phase=now.value,
        cites=_cited(history, base, survey, name, kind),
    )


def _least_tried(history: History, base: ExperimentId, survey: Survey, kinds: tuple[str, ...]) -> str:
    """The kind of change that the line has tried least; the first of equals, "" of none."""
    ideas = (state.experiment for state in history.line_of(base) if is_idea(state.experiment))
    tried = Counter(survey.niche(experiment.id).kind for experiment in ideas)
    return min(kinds, key=lambda kind: tried[kind], default="")


def _material(history: History, base: ExperimentId, emitter: str) -> str:
    """The experiments that a brief speaks of."""
    if emitter == "recombinator":
        found = [state.experiment.id for state in near_misses(history, base)][:NAMED]
        return f"Those that fell short of proof: {', '.join(found)}." if found else ""
    if emitter == "anomaly_chaser":
        found = list(islice(surprising(reversed(history.line_of(base))), NAMED))
        return f"What surprised: {', '.join(found)}." if found else ""
    return ""


def _cited(history: History, base: ExperimentId, survey: Survey, emitter: str, kind: str) -> tuple[str, ...]:
    """The conjectures to have in mind: of the kind and the emitter, then the strongest others."""
    claims = [claim for claim in conjectures(history, base, survey) if not claim.has_expired]
    near = [claim.id for claim in claims if claim.change in (f"{kind} changes", f"ideas by {emitter}")]
    return tuple(dict.fromkeys([*near, *(claim.id for claim in claims)]))[:CITED]
