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
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, stdev

import msgspec

from benchmarks.cpu_methods import GREEDY, METHODS, OURS, NightRecord, marks, play
from benchmarks.cpu_runs import DemoLab, OnCpu, Store, demo_lab, prepare_data
from nightlab import decide
from nightlab.errors import NightlabError, UsageError
from nightlab.report.levels import student_975
from nightlab.types import Finished

BELIEVED = "ours believed"
FRESH_NIGHT = 1  # whose final seeds the fresh ones are: no search meets those of any night


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
