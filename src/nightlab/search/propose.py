"""The built-in proposer: no model, no key, no network; a pure function of the history, the source and the seed.

Many cheap proposals are drawn, each by an emitter that the bandit chooses (`credit`, `emitters`); what is known,
settled or bound to crash is refused; the rest is screened by what the lab's own runs foretell (`forecasts`), under one
Thompson draw of its uncertainty, and the best becomes the next idea. A small share goes past the screen, so that the
forecasts are scored on more than their own favourites. A source that the lab has had is never proposed again.
"""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from nightlab.history import History
from nightlab.search.archive import archive, chance_of, is_idea, named
from nightlab.search.catalogue import CATALOGUE
from nightlab.search.conjectures import conjectures
from nightlab.search.credit import drawn, earned, tired
from nightlab.search.edits import Edit
from nightlab.search.effects import Effects, laid_over
from nightlab.search.emitters import BY_NAME as EMITTERS
from nightlab.search.emitters import Kit, Proposal, Stone, blocked, draw
from nightlab.search.evidence import Near, gather, label, reopened
from nightlab.search.forecasts import Outlook, Screen, mean_loss
from nightlab.search.knobs import Knob, find_knobs
from nightlab.search.lanes import Trial, asked, measured
from nightlab.search.moves import Move
from nightlab.search.niches import Survey, kind_of_changes
from nightlab.search.phases import phase, stall
from nightlab.search.phrases import hope
from nightlab.search.pieces import Graft, Piece, put_in
from nightlab.search.recipe import RECIPE
from nightlab.search.source import source_hash
from nightlab.search.space import Places
from nightlab.search.surprises import surprises
from nightlab.search.transfer import Transfer
from nightlab.types import (
    Again,
    Change,
    Decision,
    Direction,
    Exhausted,
    ExperimentId,
    Files,
    Forecast,
    Idea,
    Phase,
    Plan,
)

POOL = 60
"""Proposals that are screened for one idea. Twelve were used in the reference's experiments (statistics.md 5); more
cost nothing but arithmetic."""

ROUNDS = 24  # pools without anything new, each wilder than the one before, until a source counts as exhausted
POOR = 5  # pools with nothing worth its run until a night ends by that
BYPASS = 0.1  # share of ideas that nobody screened
SETTLED = 0.05  # distance to an experiment that was tried, in doublings, below which a proposal says nothing new
LIKELIER = 0.5  # chance of being better from which on a settled idea is run again
MOST_RUNS = 8  # of one idea, beyond which the search asks for no more
AGAIN_LOOK = 256  # settled ideas that are looked at for it, as many as a forecast rests on: the likeliest
AGAIN_SHARE = 0.25  # runs that the search may spend on settled ideas, as a share of its ideas
BARREN = 15
"""Ideas without a promotion from which on the numeric lane is open: statistics.md 5 has samplers win after the plateau,
and open from the start the lane cost more than it found (LOG.md)."""

QUESTIONS = 2  # to Optuna, for one idea: a tenth of a second each
CITED = 3  # conjectures that a plan names
REMEMBERED = 500  # changed sources that are kept between calls

PARTS = ("prescreen", "bandit", "archive", "stacking", "numeric", "public")
"""What can be left out, to measure what it is worth."""


def published(baseline: Mapping[str, str]) -> Effects | None:
    """The response surface of the published recipe, if the lab's baseline is that."""
    return laid_over(RECIPE, baseline)


def nothing_known(baseline: Mapping[str, str]) -> Effects | None:
    """No response surface, whatever the baseline."""
    return None


def nowhere(commit: str) -> Files | None:
    """No source but the base's own."""
    return None


@dataclass(frozen=True, slots=True)
class Made:
    """A changed source and its identity."""

    files: Files
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Appraisal:
    """What is foretold of changes."""

    forecast: Forecast | None  # None while nothing tells how far the metric moves here
    gain: float  # expected of running them and keeping them only if they are better, units of the metric
    is_settled: bool  # whether they lie so near to something that was tried that a run would say nothing new


class Proposer:
    """Chooses the next idea. Holds caches of what it has parsed; they never change what it answers.

    Args:
        settings_digest: of the lab's settings, part of every source hash.
        on_gpu: whether runs see a GPU: which side of a device's `if` holds the knobs.
        direction: which way the metric is better.
        catalogue: the structural edits to draw from.
        effects_of: the response surface for a baseline's constants, where one is known.
        files_at: the editable files of a commit, None where it is gone: for merging what was written by hand.
        worth: smallest gain that may be expected of one more run, units of the metric; 0: none is too small.
        without: parts of the search to leave out, of `PARTS`.
    """

    def __init__(
        self,
        *,
        settings_digest: str,
        on_gpu: bool,
        direction: Direction = Direction.MINIMIZE,
        catalogue: Sequence[Edit] = CATALOGUE,
        effects_of: Callable[[Mapping[str, str]], Effects | None] = published,
        files_at: Callable[[str], Files | None] = nowhere,
        worth: float = 0.0,
        without: Collection[str] = (),
    ) -> None:
        if unknown := set(without) - set(PARTS):
            raise ValueError(f"no part of the search: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
        self.direction = direction
        self.catalogue = tuple(catalogue)
        self.effects_of = effects_of if "public" not in without else nothing_known
        self.files_at = files_at
        self.worth = worth
        self.without = frozenset(without)
        self.knobs: tuple[Knob, ...] = ()  # of the files at hand
        self.places = Places()
        self._digest = settings_digest
        self._on_gpu = on_gpu
        self._files: Files = {}
        self._made: dict[tuple[str, ...], Made | None] = {}  # None: it cannot be made of these files

    def propose(
        self,
        history: History,
        base: ExperimentId,
        files: Files,
        rng: random.Random,
        running: Collection[ExperimentId] = (),
    ) -> Idea | Again | Exhausted:
        """The next idea: a change of `base`, whose editable files are `files`.

        `running` names experiments under way that the history does not show as running yet. Whatever lies in the
        history counts as tried. Instead of a new idea it may be a settled one that is worth another run.
        """
        self.look_at(files)
        names = ", ".join(sorted(files))
        if not any(path.endswith(".py") for path in files):
            return Exhausted(reason=f"{names}: no Python, so only agents and models can propose here")
        search = _Search(self, history, base, rng, running)
        poor: list[float] = []
        for attempt in range(ROUNDS):
            found = search.round(1.0 + (attempt - len(poor)) / 2)
            if isinstance(found, Idea | Again):
                return found
            if found is not None:
                poor.append(found)
            if len(poor) == POOR:
                break
        if poor:
            asks = f"search.worth asks for {self.worth:g}"
            return Exhausted(reason=f"another run is expected to gain {max(poor):.2g} at most, and {asks}")
        if not self.knobs:
            return Exhausted(
                reason=f"{names}: no constant in capitals to move, and no edit fits; only agents and models can propose"
            )
        return Exhausted(reason=f"{names}: {ROUNDS * POOL} draws from {len(self.knobs)} knobs gave no new source")

    def appraise(
        self, history: History, base: ExperimentId, files: Files, ideas: Sequence[Sequence[Change]]
    ) -> list[Appraisal]:
        """What the lab's own runs foretell of changes that somebody else thought of, in their order.

        Args:
            history: folded up to now.
            base: the experiment that they change.
            files: its editable files.
            ideas: the changes of each idea.
        """
        self.look_at(files)
        screen = Screen(history, base, self.knobs, self.direction, self.places, self.effects_of)
        here = self.places.of(history, base)
        outlook = screen.outlook([here.moved(changes) for changes in ideas])
        return [
            Appraisal(
                forecast=outlook.forecast(place),
                gain=outlook.expected_gain(place),
                is_settled=float(outlook.nearest[place]) < SETTLED,
            )
            for place in range(len(ideas))
        ]

    def look_at(self, files: Files) -> None:
        """Find the constants of these files."""
        if files != self._files:
            self._files = dict(files)
            self.knobs = find_knobs(files, self._on_gpu)
            self._made = {}

    def make(self, pieces: Sequence[Piece]) -> Made | None:
        """The base with the pieces put in, or None if an edit does not fit. Remembered, because parsing is slow."""
        name = tuple(f"{piece.change.name}={piece.change.new}" for piece in pieces)
        if name not in self._made:
            if len(self._made) >= REMEMBERED:
                self._made.clear()
            # an edit that does not fit the base itself is not worth trying in company: that is asked once
            edits = [piece for piece in pieces if isinstance(piece.what, Edit)] if len(pieces) > 1 else []
            fits = all(self.make((edit,)) is not None for edit in edits)
            files = put_in(self._files, pieces) if fits else None
            self._made[name] = None if files is None else Made(files, source_hash(files, self._digest))
        return self._made[name]


class _Search:
    """One call: all that the pools of it share."""

    def __init__(
        self,
        proposer: Proposer,
        history: History,
        base: ExperimentId,
        rng: random.Random,
        running: Collection[ExperimentId],
    ) -> None:
        self._proposer, self._history, self._base, self._rng = proposer, history, base, rng
        self._without, self._places = proposer.without, proposer.places
        knobs = proposer.knobs
        self._evidence = gather(history, base, running)
        self._phase = phase(history, base)
        self._credits = earned(history, base)
        self._tired = tired(history, base)
        self._here = self._places.of(history, base)
        self._survey = Survey(history)
        self._screen = Screen(history, base, knobs, proposer.direction, self._places, proposer.effects_of)
        self._trials: list[Trial] | None = None
        self._questions = QUESTIONS
        self._stall = stall(history, base)
        evidence = self._evidence
        self._transfer = Transfer(history, base, knobs, evidence.made, self._places, proposer.files_at)
        stones = self._stones() if "archive" not in self._without else []
        # from here one gets to the stone's changes on top of the base's edits, which the stone may lack
        reached = self._screen.outlook([self._here.moved(p.change for p in stone.pieces) for stone in stones])
        self._starts = list(zip(stones, reached.loss.tolist(), reached.deviation.tolist(), strict=True))
        self._kit = Kit(
            knobs=knobs,
            edits=[e for e in proposer.catalogue if e.name not in evidence.made | evidence.crashed_edits],
            evidence=evidence,
            near=self._near() if "stacking" not in self._without else (),
            stones=stones,
            start=self._start,
            surprises=self._transfer.stones(surprises(history, base)) if "archive" not in self._without else (),
            numeric=self._numeric if "numeric" not in self._without else tuple,
        )

    # --- what there is to draw from -----------------------------------------------------------------------------

    def _near(self) -> list[tuple[Near, tuple[Piece, ...]]]:
        """Near misses that can be made here, likeliest first."""
        usable = [
            (near, pieces)
            for near in self._evidence.near
            if (pieces := self._transfer.pieces(near.changes) or self._transfer.grafted(near.experiment))
        ]
        return sorted(usable, key=lambda pair: (-pair[0].probability, pair[0].experiment))

    def _stones(self) -> list[Stone]:
        """Elites that may be as good as the base, as what they have and it lacks."""
        if self._phase is Phase.BASELINE:
            return []
        return self._transfer.stones(archive(self._history, self._base, self._survey).stones)

    def _start(self) -> Stone | None:
        """The elite that draws best, unless that is the champion (Thompson sampling).

        Each draws by itself: they are few, and lie in different niches.
        """
        best, least = None, 0.0
        for stone, loss, deviation in self._starts:
            drawn_loss = self._rng.gauss(loss, deviation)
            if drawn_loss < least:
                best, least = stone, drawn_loss
        return best

    def _numeric(self) -> tuple[Piece, ...]:
        """What Optuna asks for, where steps find nothing any more, and a few times for one idea at most: it is slow."""
        if self._questions == 0 or self._stall < BARREN:
            return ()
        self._questions -= 1
        knobs = self._proposer.knobs
        if self._trials is None:
            self._trials = measured(self._history, self._base, knobs, self._places, self._proposer.direction)
        return asked(knobs, self._trials, self._rng)

    # --- a round ------------------------------------------------------------------------------------------------

    def round(self, wider: float) -> Idea | Again | float | None:
        """The best new idea of one pool, or a settled one that has come to look better; None if all is known.

        Where nothing in the pool is worth its run, the most that one of them is expected to gain.
        """
        pool, again = self._pool(wider), self._settled()
        if not pool:
            return None
        points = [self._here.moved(piece.change for piece in proposal.pieces) for proposal in pool]
        outlook = self._screen.outlook([*points, *(self._places.of(self._history, name) for name in again)])
        most = max(outlook.expected_gain(place) for place in range(len(points)))
        if outlook.model == "history" and most < self._proposer.worth:
            return most
        for place in self._order(outlook, len(pool)):
            if place >= len(pool):
                forecast = outlook.forecast(place)
                if forecast is not None and forecast.chance >= LIKELIER:
                    because = f"what was tried since makes it {forecast.chance:.0%} likely better"
                    return Again(experiment=again[place - len(pool)], because=because)
            elif outlook.nearest[place] >= SETTLED:
                idea = self._idea(pool[place], outlook.forecast(place))
                if idea is not None:
                    return idea
        return None

    def _settled(self) -> list[ExperimentId]:
        """Ideas that were dropped and may be run again: those that ran, and not too often already."""
        count = reopened(self._history.line_of(self._base))
        if "stacking" in self._without or count >= AGAIN_SHARE * sum(credit.tried for credit in self._credits.values()):
            return []
        chain = self._history.made_of(self._base)
        found = [
            (-chance_of(state.verdict), state.experiment.id)
            for state in self._history.line_of(self._base)
            if state.experiment.id not in chain
            and is_idea(state.experiment)
            and not state.is_open
            and state.verdict is not None
            and state.verdict.decision is Decision.DISCARD
            and state.verdict.gain is not None  # it was its numbers that it was dropped for
            and len(state.runs) < MOST_RUNS
            and mean_loss(state, self._proposer.direction) is not None
        ]
        likeliest = found if len(found) <= AGAIN_LOOK else heapq.nsmallest(AGAIN_LOOK, found)
        return [name for _, name in likeliest]

    def _pool(self, wider: float) -> list[Proposal]:
        """Different proposals, none of which is refused for what is on record."""
        pool: dict[frozenset[str], Proposal] = {}
        for _ in range(3 * POOL):
            name = self._rng.choice(list(EMITTERS)) if "bandit" in self._without else self._drawn()
            proposal = draw(EMITTERS[name], self._kit, self._rng, wider)
            if proposal is None or name == self._tired:
                continue
            key = label([piece.change for piece in proposal.pieces])
            if key not in self._evidence.tried and not blocked(proposal.pieces, self._evidence):
                pool.setdefault(key, proposal)
            if len(pool) == POOL:
                break
        return list(pool.values())

    def _drawn(self) -> str:
        return drawn(self._credits, self._phase, self._rng)

    def _order(self, outlook: Outlook, fresh: int) -> list[int]:
        """Places by one draw of what each may gain; those of new ideas as they were drawn, past the screen."""
        places = list(range(len(outlook.loss)))
        if "prescreen" in self._without or self._rng.random() < BYPASS:
            return places[:fresh]
        gains = outlook.drawn(self._rng)
        worth = [gain * (1.0 - float(outlook.crash[place])) if gain > 0 else gain for place, gain in enumerate(gains)]
        return sorted(places, key=lambda place: -worth[place])

    def _cited(self, emitter: str, changes: Sequence[Change], kind: str) -> tuple[str, ...]:
        """The conjectures that speak of these changes, surest first: of them alone, then of their kind or emitter."""
        claims = [claim for claim in conjectures(self._history, self._base, self._survey) if not claim.has_expired]
        names = {named(change) for change in changes}
        own = [claim.id for claim in claims if claim.change in names]
        lanes = [claim.id for claim in claims if claim.change in (f"{kind} changes", f"ideas by {emitter}")]
        return tuple(dict.fromkeys([*own, *lanes]))[:CITED]

    def _hope(self, piece: Piece) -> str:
        if isinstance(piece.what, Graft):
            return self._history.state(piece.what.experiment).experiment.hypothesis
        return piece.what.hypothesis if isinstance(piece.what, Edit) else hope(piece.what)

    # --- an idea ------------------------------------------------------------------------------------------------

    def _idea(self, proposal: Proposal, forecast: Forecast | None) -> Idea | None:
        """The idea, or None if its source is known or it cannot be made."""
        pieces = proposal.pieces
        made = self._proposer.make(pieces)
        if made is None or made.hash in self._evidence.hashes:
            return None
        changes = tuple(piece.change for piece in pieces)
        families = list(dict.fromkeys(piece.family for piece in pieces))
        edits = [piece.what for piece in pieces if isinstance(piece.what, Edit)]
        kinds = [piece.what.knob.kind.name for piece in pieces if isinstance(piece.what, Move)]
        hopes = [self._hope(piece) for piece in pieces]
        kind = kind_of_changes(changes)
        return Idea(
            description=" + ".join(piece.title for piece in pieces),
            files=made.files,
            plan=Plan(
                emitter=proposal.emitter,
                brief=proposal.brief,
                niche=f"{kind}/{self._phase.value}",
                phase=self._phase.value,
                forecast=forecast,
                parents=proposal.parents,
                cites=self._cited(proposal.emitter, changes, kind),
            ),
            hypothesis=" ".join(dict.fromkeys(hopes)),
            family=families[0] if len(families) == 1 else "mixed",
            tags=tuple(dict.fromkeys([*(tag for edit in edits for tag in edit.tags), *kinds])),
            changes=changes,
        )
