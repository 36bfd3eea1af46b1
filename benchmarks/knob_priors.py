"""How often each sort of change paid in the public histories: derives the tables in `nightlab.search.priors`.

    .venv/bin/python benchmarks/knob_priors.py > /tmp/tables.py     (writes the module's tables to standard output)

Reads `../shared/data/histories` (50 logs of autoresearch nights, 12,664 runs); says so and ends where it is absent.

A *case* is a run that changes at most three things from the best configuration so far of its own log; each thing
gets an equal share of the case. It pays if it beats that best value (logs of numbers) or was kept (logs in words).
Logs differ in how easily anything pays, from 1 to 90 %, so a cell (kind x way) is described by how far it shifts the
log-odds of its logs' own rates. Shifts are shrunk towards 0 by a normal prior whose spread maximises the marginal
likelihood over all cells.

How far a change moves the metric, for better or worse, is told apart from whether it pays: the *reach* of a kind is the
mean logarithm of |difference to the best so far| over its log's own median, from cases that changed one thing, shrunk
towards the mean of all kinds by the variance between kinds (method of moments). Nothing is set by hand.
"""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, median

from nightlab.search.kinds import OTHER, kind_of
from nightlab.search.knobs import Value
from nightlab.search.moves import way_of

HISTORIES = Path(__file__).resolve().parents[2] / "shared" / "data" / "histories"
MOST_CHANGES = 3

FAMILIES = (  # structural changes in words, first hit wins; the names are the catalogue's families
    ("activation", r"gelu|silu|swish|swiglu|geglu|glu\b|relu|activation|mish"),
    ("loss", r"z-?loss|label smooth|soft-?cap|logit cap|auxiliary|aux loss|mtp\b"),
    ("normalization", r"rmsnorm|rms norm|layer-?norm|qk-?norm|\bnorm\b|normali[sz]"),
    ("initialization", r"\binit\b|initiali[sz]"),
    ("schedule", r"cosine|sqrt|linear decay|wsd|trapez|schedule"),
    ("attention", r"gqa|mqa|kv head|rope|rotary|sliding|full attention|differential|value embed|\bve\b|gate"),
    ("optimizer", r"nesterov|lion|adamw?\b|muon|newton|ns iter|polar|cautious|clip|ema\b|momentum"),
    ("regularization", r"dropout|regulari[sz]|weight decay"),
    ("architecture", r"skip|residual|parallel|u-?net|weight ty|tied|tying|x0|smear|shift|share"),
    ("batch-size", r"seq|context|accum|batch"),
)
UP = r"\b(increase|raise|higher|double|more|longer|bigger|larger|wider|deeper|up|add|2x|3x|4x|stronger)\b"
DOWN = (
    r"\b(decrease|reduce|lower|halve|half|quarter|eighth|less|shorter|smaller|narrower|down|remove|drop|no|disable|"
    r"fewer|weaker)\b"
)
NUMBER = r"(\d+\^\d+|\d+\*\*\d+|\d+(?:\.\d+)?(?:e-?\d+)?)"


@dataclass(frozen=True)
class Case:
    log: str
    cell: tuple[str, str]
    weight: float
    paid: bool
    size: float | None = None  # |difference to the best so far|, where one thing was changed and the run gave a value


def numbers_log(path: Path) -> Iterator[Case]:
    """Cases of a log whose rows carry their configuration."""
    best_value, best_config = math.inf, None
    for row in csv.DictReader(path.open(), delimiter="\t"):
        raw = json.loads(row["config"]).items()
        config: dict[str, Value] = {
            k: v for k, v in raw if isinstance(v, int | float | str) and kind_of(k) is not OTHER
        }
        value = float(row["val_bpb"]) if row["status"] == "ok" else math.inf
        if best_config is not None:
            changed = [k for k in config if k in best_config and config[k] != best_config[k]]
            for name in changed if len(changed) <= MOST_CHANGES else ():
                old, new = best_config[name], config[name]
                cell = (kind_of(name).name, way_of(old, new).value)
                size = abs(value - best_value) if len(changed) == 1 and math.isfinite(value) else None
                yield Case(path.name, cell, 1 / len(changed), value < best_value, size)
        if value < best_value:
            best_value, best_config = value, config


def words_log(path: Path) -> Iterator[Case]:
    """Cases of a log whose rows are told in words."""
    known: dict[str, float] = {}  # the last value heard of each kind, for rows that name only the new one
    best = math.inf
    for row in csv.DictReader(path.open(), delimiter="\t", quoting=csv.QUOTE_NONE):
        paid = (row["status"] or "").strip().lower() == "keep"
        text = re.sub(r"^(\[[^]]*\]|\w+:)\s*", "", (row["description"] or "").lower())
        head = re.split(r" — |\(hyp|: val|\bhypothesis", text)[0].strip() or text
        case = _told(head, known)
        value = _metric(row)
        if case is not None and "baseline" not in head:
            yield Case(path.name, case, 1.0, paid, abs(value - best) if math.isfinite(value - best) else None)
        best = min(best, value)


def _metric(row: Mapping[str, str | None]) -> float:
    """Value of a row; infinite where it has none (a crash is written as zero, nan or nothing)."""
    text = row.get("val_bpb") or row.get("val_loss") or ""
    try:
        value = float(text)
    except ValueError:
        return math.inf
    return value if value > 0 else math.inf


def _told(text: str, known: dict[str, float]) -> tuple[str, str] | None:
    """The cell of a change told in words, and what it says of values, into `known`."""
    kind = kind_of(re.sub(r"[^a-z0-9]+", "_", text))
    pair = re.search(NUMBER + r"[a-z]*\s*(?:->|→)\s*" + NUMBER, text)
    single = re.search(r"(?:=|\bto )\s*" + NUMBER, text)
    old, new = known.get(kind.name), _number(single[1]) if single else None
    if pair:
        old, new = _number(pair[1]), _number(pair[2])
    if new is not None:
        known[kind.name] = new
    way = ""
    if old is not None and new is not None and old != new:
        way = way_of(old, new).value
    elif re.search(UP, text) or re.search(DOWN, text):
        way = "up" if re.search(UP, text) else "down"
    structural = next((name for name, pattern in FAMILIES if re.search(pattern, text)), None)
    if kind is not OTHER and way and (pair or single or structural is None):
        return kind.name, way
    return (structural, "edit") if structural else None


def _number(text: str) -> float:
    base, _, exponent = text.replace("**", "^").partition("^")
    return float(base) ** float(exponent) if exponent else float(base)


Trial = tuple[float, float, bool]  # log-odds of its log's own rate, weight, whether it paid
SPREADS = tuple(0.05 * 2 ** (i / 4) for i in range(25))  # 0.05 to 3.2, in log-odds


def fit(trials: Sequence[Trial], spread: float, mean: float = 0.0) -> tuple[float, float, float]:
    """Most likely shift of the log-odds under a normal prior, its standard deviation, and the log marginal likelihood.

    Newton's method on a concave function; the marginal by Laplace's approximation.
    """
    shift = mean
    for _ in range(50):
        chances = [(w, paid, 1 / (1 + math.exp(-(odds + shift)))) for odds, w, paid in trials]
        slope = sum(w * (paid - p) for w, paid, p in chances) - (shift - mean) / spread**2
        curve = sum(w * p * (1 - p) for w, _, p in chances) + 1 / spread**2
        shift += max(-1.0, min(1.0, slope / curve))
    chances = [(w, paid, 1 / (1 + math.exp(-(odds + shift)))) for odds, w, paid in trials]
    fitted = sum(w * math.log(p if paid else 1 - p) for w, paid, p in chances)
    curve = sum(w * p * (1 - p) for w, _, p in chances) + 1 / spread**2
    return shift, curve**-0.5, fitted - ((shift - mean) / spread) ** 2 / 2 - math.log(spread) - math.log(curve) / 2


def main() -> int:
    if not HISTORIES.is_dir():
        print(f"{HISTORIES} is absent: nothing to derive from", file=sys.stderr)
        return 0
    cases: list[Case] = []
    for path in sorted(HISTORIES.glob("*.tsv")):
        with path.open() as stream:
            header = stream.readline()
        cases += numbers_log(path) if "config" in header else words_log(path)
    rate = log_rates(cases)
    overall = sum(rate.values()) / len(rate)
    cells = grouped(cases, rate, lambda case: case.cell)
    spread = max(SPREADS, key=lambda s: sum(fit(trials, s)[2] for trials in cells.values()))
    print(f"CASES = {len(cases)}\nLOGS = {len(rate)}\nOVERALL = {overall:.4f}")
    print(f"SPREAD = {spread:.3f}\n")
    print("TABLE: dict[tuple[str, str], Cell] = {")
    for cell in sorted(cells):
        print(f'    ("{cell[0]}", "{cell[1]}"): {_row(cells[cell], spread)},')
    print("}\n")
    print("REACH: dict[str, Reach] = {")
    for kind, (count, mean, factor) in sorted(reaches(cases).items()):
        print(f'    "{kind}": Reach({count}, {mean:+.2f}, {factor:.2f}),')
    print("}")
    return 0


FEWEST_SIZES = 8  # cases of a log below which its median says little


def reaches(cases: Sequence[Case]) -> dict[str, tuple[int, float, float]]:
    """Of each kind: cases, mean log size against its logs' medians, and the shrunk factor against the average kind."""
    by_log: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for case in cases:
        if case.size:
            kind, way = case.cell
            by_log[case.log].append((f"{kind}/edit" if way == "edit" else kind, case.size))
    found: dict[str, list[float]] = defaultdict(list)
    for sizes in by_log.values():
        if len(sizes) >= FEWEST_SIZES:
            middle = median(size for _, size in sizes)
            for kind, size in sizes:
                found[kind].append(math.log(size / middle))
    means = {kind: fmean(values) for kind, values in found.items()}
    freedom = sum(len(values) - 1 for values in found.values())
    within = sum((x - means[kind]) ** 2 for kind, values in found.items() for x in values) / freedom
    overall = fmean(means.values())
    noise = fmean(within / len(values) for values in found.values())
    between = max(0.0, fmean((mean - overall) ** 2 for mean in means.values()) - noise)
    return {
        kind: (len(values), means[kind], math.exp(between / (between + within / len(values)) * (means[kind] - overall)))
        for kind, values in found.items()
    }


def _row(trials: Sequence[Trial], spread: float) -> str:
    shift, deviation, _ = fit(trials, spread)
    shares, paid = sum(w for _, w, _ in trials), sum(w for _, w, p in trials if p)
    expected = sum(w / (1 + math.exp(-odds)) for odds, w, _ in trials)
    return f"Cell({len(trials)}, {shares:.1f}, {paid:.1f}, {expected:.1f}, {shift:+.2f}, {deviation:.2f})"


def log_rates(cases: list[Case]) -> dict[str, float]:
    """Share of the cases of each log that paid; with half a case added each way, so that none is 0 or 1."""
    paid: dict[str, float] = defaultdict(float)
    all_: dict[str, float] = defaultdict(float)
    for case in cases:
        paid[case.log] += case.weight * case.paid
        all_[case.log] += case.weight
    return {log: (paid[log] + 0.5) / (all_[log] + 1) for log in all_}


def grouped(
    cases: Iterable[Case], rate: Mapping[str, float], key: Callable[[Case], tuple[str, ...]]
) -> dict[tuple[str, ...], list[Trial]]:
    """The cases by key, each against its own log's rate."""
    out: dict[tuple[str, ...], list[Trial]] = defaultdict(list)
    for case in cases:
        own = rate[case.log]
        out[key(case)].append((math.log(own / (1 - own)), case.weight, case.paid))
    return out


if __name__ == "__main__":
    sys.exit(main())
