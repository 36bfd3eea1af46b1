"""What the older surface is made of, and its vocabulary."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from nightlab.config import Settings
from nightlab.discovery.shapes import SETUP, PlanRow
from nightlab.history import ExperimentState, History
from nightlab.ledger.records import Record
from nightlab.search.archive import Archive, archive
from nightlab.search.conjectures import conjectures
from nightlab.search.niches import Survey, emitter_of
from nightlab.search.phases import phase
from nightlab.search.reviews import moved, reviews
from nightlab.types import EMITTERS, Conjecture, Experiment, ExperimentId, Niche, Phase, Review

CATEGORIES = {"schedule": "optimizer", "other": "mixed", "baseline": "mixed"}
"""Kinds of change that the older vocabulary has other names for."""


@dataclass(frozen=True, kw_only=True)
class View:
    """What the older surface is made of. What follows from it is reckoned once, when it is asked for.

    Args:
        history: the lab's own runs.
        settings: the lab.
        best: the champion of all that is on record, imported rows included; None before there is one.
        rows: of results.tsv.
        last_row: the newest of them.
        branch: that is checked out.
        head: its commit.
        subject: the first line of that commit's message.
        autonomy: whether an agent may go on by itself, and the words that said so.
        promised: the plan that an agent was asked to carry out, as long as it has not begun.
    """

    history: History
    settings: Settings
    best: Record | None = None
    rows: int = 0
    last_row: Record | None = None
    branch: str = ""
    head: str = ""
    subject: str = ""
    autonomy: tuple[bool, str] = (False, "")
    promised: PlanRow | None = None

    @cached_property
    def survey(self) -> Survey:
        return Survey(self.history)

    @cached_property
    def archive(self) -> Archive:
        return archive(self.history, self.base, self.survey)

    @cached_property
    def claims(self) -> tuple[Conjecture, ...]:
        return conjectures(self.history, self.base, self.survey)

    @cached_property
    def reviews(self) -> tuple[Review, ...]:
        """Oldest first, without the claims that they moved."""
        return tuple(reviews(self.history, self.settings, self.survey))

    @cached_property
    def by_experiment(self) -> dict[ExperimentId, Review]:
        return {found.experiment: found for found in self.reviews}

    def promising(self, plan: PlanRow) -> View:
        """The same lab once an agent was asked to carry out that plan; what was reckoned already is kept."""
        made = copy(self)
        made.__dict__["promised"] = plan
        return made

    @property
    def base(self) -> ExperimentId | None:
        return self.history.champion

    @cached_property
    def moved(self) -> dict[ExperimentId, tuple[Conjecture, ...]]:
        """Experiment -> at most three claims that it speaks of."""
        return moved(self.claims)

    @cached_property
    def phase(self) -> str:
        if self.base is None:
            return SETUP if not self.reviews else Phase.EXPLORE
        return phase(self.history, self.base)

    @cached_property
    def pending(self) -> ExperimentState | None:
        """The newest idea of the search that has no review yet."""
        newest = next(reversed(self.history.experiments.values()), None)
        is_pending = newest is not None and newest.is_open and newest.experiment.id not in self.by_experiment
        return newest if is_pending else None

    def experiment(self, name: ExperimentId) -> Experiment:
        return self.history.state(name).experiment


def emitter_name(experiment: Experiment) -> str:
    """The emitter as the older surface knows it: one of its seven."""
    name = emitter_of(experiment)
    return name if name in EMITTERS else EMITTERS[0]


def category(niche: Niche) -> str:
    """The category of a niche, in the older vocabulary."""
    return "simplification" if niche.code == "shrinking" else CATEGORIES.get(niche.kind, niche.kind)


def moment(at: float) -> str:
    """UTC seconds since the epoch as the mirrors spell them."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def experiment_id(name: ExperimentId) -> str:
    """Twelve hex digits, as the older surface names an experiment."""
    return str(name)[1:]
