"""What all proposers share: the lab's rooms as they need them, and the steps that every idea goes through."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Protocol

from nightlab.agent.proposing.accounts import Spent, price, spent
from nightlab.agent.proposing.answers import Line
from nightlab.agent.proposing.work import Work
from nightlab.config import Settings
from nightlab.errors import EditError
from nightlab.history import ExperimentState, History
from nightlab.ledger import Ledger
from nightlab.memory import Question as Asked
from nightlab.memory import guard
from nightlab.runner.hashes import matching
from nightlab.search.changes import changes_between
from nightlab.search.kinds import kind_of
from nightlab.search.likeness import Reading, likeness
from nightlab.search.novelty import Category, Policy, Words
from nightlab.search.propose import Proposer as BuiltIn
from nightlab.search.source import source_hash
from nightlab.search.words import Lexicon
from nightlab.types import ChangeKind, Consulted, ExperimentId, Files, Idea, Plan, Recorded

MIXED = "mixed"  # the family of changes of several


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """One idea that is wanted."""

    history: History  # goes on growing while it is thought about
    base: ExperimentId
    files: Files  # of the base
    plan: Plan
    crashed: ExperimentState | None = None  # an idea of the proposer's that is to be mended, instead of a new one
    is_probe: bool = False  # whether it is only asked to see if it works again: once, without retries


class Member(Protocol):
    """One who proposes and needs time."""

    @property
    def name(self) -> str:
        """By which the ledger knows it."""
        ...

    def can_afford(self, question: Question) -> bool:
        """Whether the night's caps leave enough for one more idea."""
        ...

    def think(self, question: Question) -> Generator[Work, None, Idea | None]:
        """Have the idea; None if nothing came of it. Each call and each failure is recorded on the way."""
        ...


@dataclass(slots=True)
class Desk:
    """The rooms that proposers use.

    Args:
        settings: the lab, with what makes runs comparable.
        ledger: for what is on record, and to record what asking costs.
        built_in: the built-in search: its screen, and the constants that it finds.
        on_gpu: whether runs see a GPU.
        clock: UTC seconds since the epoch.
        source_of: the editable files of a commit.
    """

    settings: Settings
    ledger: Ledger
    built_in: BuiltIn
    on_gpu: bool
    clock: Callable[[], float]
    source_of: Callable[[str], Files]
    _fresh: list[Recorded] = field(default_factory=list)

    def record(self, said: Consulted) -> None:
        """Put a call into the ledger, whatever came of it."""
        self._fresh += self.ledger.append(said)

    def used(self, history: History) -> Spent:
        """What models have used in this night, calls included that the history does not show yet."""
        self._fresh = [one for one in self._fresh if one.seq > history.seq]
        before = spent(history)
        new = [one.event for one in self._fresh if isinstance(one.event, Consulted)]
        return Spent(
            tokens=before.tokens + sum(said.tokens_in + said.tokens_out for said in new),
            money=before.money + sum(said.money for said in new),
        )

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        """Of a model's call, in the lab's money."""
        return price(self.settings.model, tokens_in, tokens_out)

    def may_edit(self, path: str) -> bool:
        """Whether ideas may change, or make, the file."""
        return bool(matching([path], self.settings.editable))

    # --- what is known ------------------------------------------------------------------------------------------

    def refusal(self, line: Line, history: History, files: Files) -> str:
        """Why an idea in words is not worth an edit: it is on record, or under way; "" if it may be tried."""
        self.built_in.look_at(files)
        lexicon = Lexicon.of(self.built_in.knobs)
        words = Words(description=line.text, hypothesis=line.reason)
        told = guard(self.ledger.records, Asked(words=words), self.settings, lexicon)
        if told.policy is Policy.BLOCK and told.category in (Category.DUPLICATE_RUN, Category.REPEAT_FAILURE):
            match = told.matches[0]
            return f"{told.rationale} ({match.prior.item.experiment or match.prior.item.run})"
        here = Reading.of(line.text, lexicon)
        for state in history.line:
            description = state.experiment.description
            if state.is_open and likeness(here, Reading.of(description, lexicon)).relation.is_same_idea:
                return f"it is under way ({state.experiment.id})"
        return ""

    def idea(self, question: Question, files: Files, *, proposer: str, description: str, hypothesis: str) -> Idea:
        """The idea of an edited source, with its changes and what is foretold of them.

        What only sets constants is described by them: words that do not fit would mislead whoever reads the ledger.

        Raises:
            EditError: the lab knows this source.
        """
        history, base = question.history, question.base
        digest = source_hash(files, self.settings.digest)
        known = next((s for s in history.experiments.values() if s.experiment.source_hash == digest), None)
        if known is not None:
            raise EditError(f"that is the very source of {known.experiment.id}, which is on record")
        changes = changes_between(question.files, files, on_gpu=self.on_gpu)
        if not changes:
            raise EditError("the edit changes nothing that a run could tell")
        families = {kind_of(c.name).family if c.kind is ChangeKind.KNOB else "" for c in changes}
        repairs = question.crashed.experiment.id if question.crashed is not None else None
        foretold = self.built_in.appraise(history, base, question.files, [changes])[0].forecast
        if not description or all(change.kind is ChangeKind.KNOB for change in changes):
            description = "; ".join(map(str, changes))  # what was done, whatever was said to be done
        return Idea(
            description=_signed(question, description),
            hypothesis=hypothesis,
            files=files,
            plan=replace(question.plan, proposer=proposer, repairs=repairs, forecast=foretold),
            family=families.pop() if len(families) == 1 else MIXED,
            changes=changes,
        )

    def source_to_change(self, question: Question) -> Files:
        """The files that an edit starts from: the base's, or those that crashed."""
        return question.files if question.crashed is None else self.source_of(question.crashed.experiment.commit)


def _signed(question: Question, description: str) -> str:
    """A description; a repair's is that of what it repairs, and says so."""
    if question.crashed is None:
        return description
    crashed = question.crashed.experiment
    plainly = crashed.description.partition(REPAIRED)[0]
    return f"{plainly}{REPAIRED}{crashed.id}"


REPAIRED = ", repaired after the crash of "
