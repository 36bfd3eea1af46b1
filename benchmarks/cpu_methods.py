"""The two methods of `cpu_nights` as nights of the simulator, on sources that really train."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace

import msgspec

from benchmarks.cpu_runs import DEVICE, DemoLab, Store
from nightlab import decide
from nightlab.history import History
from nightlab.removals import ablation_of
from nightlab.search.changes import changes_between
from nightlab.search.forecasts import Screen, mean_loss
from nightlab.search.knobs import find_knobs
from nightlab.search.propose import PARTS, Proposer
from nightlab.search.source import experiment_id, patch, source_hash
from nightlab.sim.night import BASELINE, Answer, Night, experiment
from nightlab.sources import Sources
from nightlab.types import (
    Again,
    Bounds,
    Decision,
    Direction,
    Exhausted,
    Experiment,
    ExperimentId,
    Files,
    Finished,
    Idea,
    Proposed,
    Purpose,
    Recorded,
    Run,
    Verdict,
)

OURS, GREEDY = "ours", "greedy"
METHODS = (OURS, GREEDY)


class NightRecord(msgspec.Struct, frozen=True):
    """One night as it is written down."""

    method: str
    seed: int
    runs: int  # that it had
    digest: str  # of what makes runs comparable
    values: list[float | None]  # of its runs, in their order; None: crashed
    champions: dict[int, str]  # after so many runs -> the source's name in the store
    believed: dict[int, str]  # the same of what the search's model holds best; empty for greedy
    path: list[str]  # what led to its last champion


class SpentError(Exception):
    """The night has had its runs."""


# --- the night's site ---------------------------------------------------------------------------------------------


class Held(Sources):
    """The lab's sources, those of this night's experiments among them, which have no commit."""

    def __init__(self, sources: Sources, files: Mapping[ExperimentId, Files]) -> None:
        super().__init__(sources.settings, sources.git)
        self.held = files

    def at(self, commit: str) -> dict[str, str]:
        return dict(self.held[ExperimentId(commit)])


@dataclass(slots=True)
class Site:
    """Where a night happens: sources by experiment, and runs that train them."""

    lab: DemoLab
    store: Store
    proposer: Proposer
    seed: int  # of the search
    budget: int  # runs
    say: Callable[[str], None]
    believes: bool = False  # whether to ask at the marks what the model holds best
    files: dict[ExperimentId, Files] = field(default_factory=dict)
    values: list[float | None] = field(default_factory=list)
    champions: list[ExperimentId] = field(default_factory=list)  # after each run
    believed: dict[int, ExperimentId] = field(default_factory=dict)
    _night: Night | None = None

    def join(self, night: Night) -> None:
        """Begin: the baseline's source counts as known."""
        self._night = night
        self.files[BASELINE] = self.lab.start
        digest = source_hash(self.lab.start, self.lab.digest)
        known = replace(experiment(experiment_id(digest), None, "known"), source_hash=digest)
        night.history.apply(Recorded(seq=night.history.seq + 1, at=night.at, event=Proposed(experiment=known)))

    @property
    def device(self) -> str:
        return DEVICE

    @property
    def history(self) -> History:
        assert self._night is not None
        return self._night.history

    def propose(self, base: ExperimentId) -> Experiment | Again | Exhausted:
        """One idea, with a generator made as the loop makes it."""
        rng = random.Random(f"{self.seed}:{decide.asked(self.history)}")
        answer = self.proposer.propose(self.history, base, self.files[base], rng)
        return self._experiment(answer, base) if isinstance(answer, Idea) else answer

    def without(self, link: ExperimentId, champion: ExperimentId) -> Experiment | None:
        """The champion without one of its links, merged as the loop merges it."""
        made = ablation_of(self.history, Held(self.lab.sources, self.files), link)
        return self._experiment(made, champion) if isinstance(made, Idea) else None

    def run(self, run: Run, at: float, bounds: Bounds | None) -> Answer:
        """Train, unless the runs are spent.

        Raises:
            SpentError: they are. The final block is none of a search.
        """
        self.mark()
        if len(self.values) == self.budget or run.purpose is Purpose.FINAL:
            raise SpentError
        outcome = self.store.run(self.files[run.experiment], run.seed)
        value = outcome.metrics.primary if isinstance(outcome, Finished) else None
        self.values.append(value)
        told = outcome.summary if not isinstance(outcome, Finished) else f"{value:.6f}"
        what = self.history.state(run.experiment).experiment.description
        self.say(f"run {len(self.values)}/{self.budget}: {run.purpose.value} seed {run.seed}: {told}  {what}")
        return Answer(outcome, 1.0)

    def mark(self) -> None:
        """Take down who is champion now that the latest run is judged."""
        champion = self.history.champion
        if champion is None or len(self.champions) == len(self.values):
            return
        self.champions.append(champion)
        if self.believes and len(self.champions) in marks(self.budget):
            self.believed[len(self.champions)] = self._best_believed(champion)

    def close(self) -> None:
        """The night is over: what it holds it holds to the end, though runs be left."""
        self.mark()
        left = self.budget - len(self.champions)
        self.champions += [self.champions[-1]] * left
        for at in marks(self.budget):
            if self.believes and at not in self.believed:
                self.believed[at] = self._best_believed(self.champions[-1])

    def path(self) -> list[str]:
        """What led to the last champion, oldest first."""
        found: list[str] = []
        name: ExperimentId | None = self.champions[-1]
        while name is not None and name != BASELINE:
            one = self.history.state(name).experiment
            found.insert(0, one.description)
            name = one.parent
        return found

    def _best_believed(self, champion: ExperimentId) -> ExperimentId:
        """The experiment with the lowest loss by the search's own model, among those that ran."""
        proposer, history = self.proposer, self.history
        tried = [s.experiment.id for s in history.line if mean_loss(s, Direction.MINIMIZE) is not None]
        knobs = find_knobs(self.files[champion], on_gpu=False)
        screen = Screen(history, champion, knobs, Direction.MINIMIZE, proposer.places, proposer.effects_of)
        outlook = screen.outlook([proposer.places.of(history, name) for name in tried])
        return min(zip(outlook.loss, tried, strict=True), default=(0.0, champion))[1]

    def _experiment(self, idea: Idea, base: ExperimentId) -> Experiment:
        digest = source_hash(idea.files, self.lab.digest)
        name = experiment_id(digest)
        assert name not in self.history.experiments, "a source that the lab has was proposed again"
        self.files[name] = idea.files
        before = self.files[base]
        return Experiment(
            id=name, source_hash=digest, commit=name, parent_commit=base, parent=base,
            description=idea.description, patch=patch(before, idea.files), plan=idea.plan, hypothesis=idea.hypothesis,
            family=idea.family, tags=idea.tags,
            changes=idea.changes or changes_between(before, idea.files, on_gpu=False),
        )  # fmt: skip


class GreedyNight(Night):
    """Hill climbing as it is done by hand: one run an idea on one seed, and what measures better is kept."""

    def _work(self) -> decide.Done:
        seed = decide.search_seed(0)
        self._execute(decide.Execute(experiment=BASELINE, seed=seed, purpose=Purpose.BASELINE))
        best, least = BASELINE, self._loss(BASELINE)
        if least is None:
            return decide.Done("the baseline crashed", failed=True)
        while True:
            idea = self._site.propose(best)
            if not isinstance(idea, Experiment):
                return decide.Done("nothing is left to propose")
            self._tell(Proposed(experiment=idea))
            self._execute(decide.Execute(experiment=idea.id, seed=seed, purpose=Purpose.IDEA))
            loss = self._loss(idea.id)
            decision = Decision.CRASH if loss is None else Decision.KEEP if loss < least else Decision.DISCARD
            gain = None if loss is None else least - loss
            self._rule(Verdict(experiment=idea.id, champion=best, decision=decision, because="its one run", gain=gain))
            if loss is not None and loss < least:
                best, least = idea.id, loss

    def _loss(self, name: ExperimentId) -> float | None:
        return self.history.state(name).runs[0].value


def marks(runs: int) -> tuple[int, int]:
    """After how many runs a night's champion is looked at."""
    return max(1, runs // 2), runs


def play(method: str, seed: int, runs: int, lab: DemoLab, store: Store, say: Callable[[str], None]) -> NightRecord:
    """One night from its baseline to its last run."""
    ours = method == OURS
    files: dict[ExperimentId, Files] = {}
    proposer = Proposer(
        settings_digest=lab.digest,
        on_gpu=False,
        files_at=lambda commit: files.get(ExperimentId(commit)),
        without=frozenset() if ours else frozenset(PARTS),
    )
    site = Site(lab, store, proposer, seed, runs, say, believes=ours, files=files)
    night = (Night if ours else GreedyNight)(site, lab.settings)
    site.join(night)
    with suppress(SpentError):
        night.play(runs)
    site.close()
    return NightRecord(
        method=method,
        seed=seed,
        runs=runs,
        digest=lab.digest,
        values=site.values,
        champions={at: store.name(files[site.champions[at - 1]]) for at in marks(runs)},
        believed={at: store.name(files[name]) for at, name in site.believed.items()},
        path=site.path(),
    )
