"""Real nights on a CPU at equal compute: the product's search against greedy keeping with the same edits.

    python -m benchmarks.cpu_nights --nights 5 --runs 30 --fresh 3 --cache DIR

Both play the simulator's night on the shipped recipe, every run of which really trains (`cpu_runs`): the baseline's
runs, replicates and removals count as any idea's, and a night is over when --runs are spent. No run is ended early.

`ours` is the built-in proposer and the judge with the settings of `nightlab demo`. `greedy` draws from the same
proposer with all its parts left out, that is the same emitters' mechanisms, knobs and catalogue unscreened, on top of
its best; each idea runs once, on the lab's first seed, and is kept if its value is lower than the best's. Neither
proposes what it has had, nor an edit that crashed.

What a night holds after half of its runs and after all is then run on --fresh seeds that no search meets: `ours` is its
proven champion, `ours believed` what its own model holds best. A champion that crashes there counts as the baseline.
Each night is a line of DIR/nights.jsonl; a night that is broken off goes on from DIR. With --table nothing runs: the
table is made of the nights that are there.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import msgspec

from benchmarks.cpu_runs import DEVICE, DemoLab, OnCpu, Store, demo_lab, prepare_data
from nightlab import decide
from nightlab.errors import NightlabError, UsageError
from nightlab.history import History
from nightlab.removals import ablation_of
from nightlab.report.levels import student_975
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

OURS, GREEDY, BELIEVED = "ours", "greedy", "ours believed"
METHODS = (OURS, GREEDY)
FRESH_NIGHT = 1  # whose final seeds the fresh ones are: no search meets those of any night


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


# --- what it came to ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """A mean over nights, of val_bpb on fresh seeds or of a paired difference, with its 95 % t-interval."""

    what: str
    nights: int
    mean: float
    low: float | None  # None: of one night
    high: float | None
    each: tuple[float, ...]  # by the search's seed


def fresh_seeds(count: int) -> tuple[int, ...]:
    """Seeds that no search meets."""
    return tuple(decide.final_seed(FRESH_NIGHT, index) for index in range(count))


def truth(store: Store, name: str, start: str, seeds: Sequence[int]) -> float | None:
    """Mean value of a source on those seeds, the baseline's where it crashes; None while runs are lacking."""
    found = []
    for seed in seeds:
        outcome = store.find(name, seed)
        if outcome is not None and not isinstance(outcome, Finished):
            outcome = store.find(start, seed)
        if not isinstance(outcome, Finished):
            return None
        found.append(outcome.metrics.primary)
    return fmean(found)


def table(nights: Sequence[NightRecord], store: Store, start: str, seeds: Sequence[int], runs: int) -> list[Row]:
    """Each method at both marks, and the paired differences, of the nights whose champions have run."""
    found: dict[tuple[str, int], dict[int, float]] = {}
    for night in nights:
        held = {night.method: night.champions, BELIEVED: night.believed}
        for label, sources in held.items():
            for at, name in sources.items():
                value = truth(store, name, start, seeds)
                if value is not None:
                    found.setdefault((label, at), {})[night.seed] = value
    half, whole = marks(runs)
    rows = []
    base = truth(store, start, start, seeds)
    if base is not None:
        rows.append(Row("baseline", 1, base, None, None, (base,)))
    keys = [(label, at) for label in (OURS, BELIEVED, GREEDY) for at in (half, whole)]
    rows += [_row(f"{label}@{at}", found[label, at]) for label, at in keys if (label, at) in found]
    pairs = [((label, at), (GREEDY, against)) for at, against in ((whole, whole), (half, half), (half, whole))
             for label in (OURS, BELIEVED)]  # fmt: skip
    for (label, at), other in pairs:
        mine, theirs = found.get((label, at), {}), found.get(other, {})
        both = {seed: mine[seed] - theirs[seed] for seed in mine if seed in theirs}
        if both:
            rows.append(_row(f"{label}@{at} - {GREEDY}@{other[1]}", both))
    return rows


def _row(what: str, by_seed: Mapping[int, float]) -> Row:
    values = [by_seed[seed] for seed in sorted(by_seed)]
    mean = fmean(values)
    if len(values) == 1:
        return Row(what, 1, mean, None, None, tuple(values))
    half = student_975(len(values) - 1) * stdev(values) / math.sqrt(len(values))
    return Row(what, len(values), mean, mean - half, mean + half, tuple(values))


def printed(rows: Sequence[Row]) -> Iterator[str]:
    """The table's lines."""
    yield f"{'':<30}{'nights':>7}{'val_bpb':>10}{'95 % interval':>22}"
    for row in rows:
        interval = "" if row.low is None or row.high is None else f"{row.low:.4f} to {row.high:.4f}"
        each = " ".join(f"{value:.4f}" for value in row.each) if len(row.each) > 1 else ""
        yield f"{row.what:<30}{row.nights:>7}{row.mean:>10.4f}{interval:>22}  {each}".rstrip()


# --- the command --------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Book:
    """The nights that were played, a line each; of two lines on one night the later one holds."""

    path: Path
    digest: str
    runs: int

    def write(self, record: NightRecord) -> None:
        with self.path.open("ab") as file:
            file.write(msgspec.json.encode(record) + b"\n")

    def read(self) -> list[NightRecord]:
        """Nights of as many runs under the same conditions."""
        lines = self.path.read_bytes().splitlines() if self.path.is_file() else []
        records = [msgspec.json.decode(line, type=NightRecord) for line in lines]
        mine = [one for one in records if (one.digest, one.runs) == (self.digest, self.runs)]
        return list({(one.method, one.seed): one for one in mine}.values())


def measure(options: argparse.Namespace, lab: DemoLab, store: Store, book: Book) -> None:
    """Play the nights, one of each method in turn, and run what they hold on the fresh seeds."""
    seeds = fresh_seeds(options.fresh)
    for seed in range(options.nights):
        for method in options.methods:
            label = f"{method} night {seed}"
            record = play(method, seed, options.runs, lab, store, partial(_say, label))
            book.write(record)
            for name in dict.fromkeys([store.name(lab.start), *record.champions.values()]):
                run_fresh(store, name, lab, seeds)
            _say(f"{label} is over: {' + '.join(record.path) or 'the baseline'}; {store.made} runs made so far")
            for line in printed(table(book.read(), store, store.name(lab.start), seeds, options.runs)):
                _say(line)
    for record in book.read():  # last, since the comparison does without it
        for name in record.believed.values():
            run_fresh(store, name, lab, seeds)


def run_fresh(store: Store, name: str, lab: DemoLab, seeds: Sequence[int]) -> None:
    """Run a source on seeds that chose nothing."""
    files = lab.start if name == store.name(lab.start) else store.files(name)
    for seed in seeds:
        store.run(files, seed)


def _say(*words: str) -> None:
    print(*words, file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and say how it ended: 0, or the exit code of the error."""
    options = _options(arguments)
    try:
        if unknown := sorted(set(options.methods) - set(METHODS)):
            raise UsageError(f"there is no method {', '.join(unknown)}", hint=f"methods: {', '.join(METHODS)}")
        with tempfile.TemporaryDirectory(prefix="nightlab-cpu-nights-") as scratch:
            lab = demo_lab(Path(scratch) / "lab")
            store = Store(options.cache, OnCpu(lab), lab.digest)
            book = Book(options.cache / "nights.jsonl", lab.digest, options.runs)
            if not options.table:
                prepare_data(lab)
                measure(options, lab, store, book)
            rows = table(book.read(), store, store.name(lab.start), fresh_seeds(options.fresh), options.runs)
    except NightlabError as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    if options.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        print("\n".join(printed(rows)))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Real CPU nights of the product and of greedy keeping.")
    parser.add_argument("--nights", type=_count, default=5, help="search seeds")
    parser.add_argument("--runs", type=_count, default=30, help="of a night, whatever they are for")
    parser.add_argument("--fresh", type=_count, default=3, help="seeds that a champion is measured on")
    parser.add_argument(
        "--cache", type=Path, default=Path("results/cpu-nights"), metavar="DIR", help="where runs are kept"
    )
    parser.add_argument("--methods", default=",".join(METHODS), metavar="LIST", help="with commas")
    parser.add_argument("--table", action="store_true", help="run nothing: the table of what is there")
    parser.add_argument("--json", action="store_true", help="rows as one array")
    options = parser.parse_args(arguments)
    options.methods = list(dict.fromkeys(word for word in options.methods.split(",") if word))
    return options


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
