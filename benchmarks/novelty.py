"""How well the novelty guard tells repeats from new ideas, and how fast.

    .venv/bin/python benchmarks/novelty.py [PAIRS.jsonl ...] [--show]
    .venv/bin/python benchmarks/novelty.py --histories ../shared/data/histories
    .venv/bin/python benchmarks/novelty.py --recall ../shared/data/histories
    .venv/bin/python benchmarks/novelty.py --speed

Pairs files hold one object a line: prior, new, relation (duplicate, followup, different), subtype. Without any named,
`../shared/data/novelty_pairs.jsonl` and `tests/data/novelty_pairs.jsonl` are measured, as far as they are there.
Nothing of the lab's own is given to the guard: no lexicon, no source.

The baseline is the older guard's score as its contract describes it, with its threshold: at 0.62 a failed prior blocks.
"""

from __future__ import annotations

import argparse
import csv
import difflib
import json
import re
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightlab.search import words as reading
from nightlab.search.novelty import (
    Mode,
    Policy,
    Prior,
    Reading,
    Relation,
    Words,
    assess,
    index_terms,
    likeness,
    query_terms,
)
from nightlab.search.words import NO_LEXICON

HERE = Path(__file__).resolve().parents[1]
DEFAULT = (HERE.parent / "shared/data/novelty_pairs.jsonl", HERE / "tests/data/novelty_pairs.jsonl")
THRESHOLD = 0.62
TOP = 400  # ideas that the ledger hands to the guard


@dataclass(frozen=True)
class Pair:
    prior: str
    new: str
    relation: str
    subtype: str


def pairs_of(path: Path) -> list[Pair]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    return [Pair(row["prior"], row["new"], row["relation"], row.get("subtype", "")) for row in rows]


# --- the two guards ---------------------------------------------------------------------------------------------


def ours(prior: str, new: str) -> bool:
    return likeness(Reading.of(new), Reading.of(prior)).relation.is_same_idea


def ours_blocks(prior: str, new: str, mode: Mode) -> bool:
    """Whether a failed prior blocks the new idea."""
    failed = Prior(item=0, words=Words(description=prior), kept=False, loss=None)
    return assess(Words(description=new), [failed], mode=mode, threshold=THRESHOLD).policy is Policy.BLOCK


PHRASES = {
    "learning rate": "lr", "step size": "lr", "matrix learning rate": "matrix_lr", "matrix lr": "matrix_lr",
    "embedding learning rate": "embedding_lr", "unembedding learning rate": "unembedding_lr",
    "scalar learning rate": "scalar_lr", "value embeddings": "value_embedding", "value embedding": "value_embedding",
    "warm down": "warmdown", "cool down": "warmdown", "gradient accumulation": "grad_accum", "batch size": "batch_size",
    "window pattern": "window_pattern", "attention window": "window_pattern", "head dimension": "head_dim",
    "model width": "width",
}  # fmt: skip
TOKENS = {
    **dict.fromkeys(["increase", "increasing", "raise", "higher", "boost", "larger", "bigger"], "up"),
    **dict.fromkeys(["decrease", "decreasing", "lower", "reduce", "reducing", "shorten", "smaller"], "down"),
    "cooldown": "warmdown", "schedule": "sched", "optimizer": "optim", "activation": "act",
    **dict.fromkeys(["geglu", "swiglu", "glu"], "gated_act"),
}  # fmt: skip
STOP_TEXT = "a an and are as at baseline be by for from if in into is it keep of on or the to try up use with"
STOP = frozenset(STOP_TEXT.split())
SHORT = frozenset(["lr", "kv", "ve", "fa", "mlp", "oom"])
CONCEPTS = {
    "lr": "matrix_lr embedding_lr unembedding_lr scalar_lr lr", "schedule": "warmup warmdown sched",
    "memory": "oom memory vram",
    "architecture": "width depth head_dim heads attention window_pattern act mlp value_embedding",
    "batching": "batch_size grad_accum tokens sequence context", "optimizer": "muon adamw optim weight_decay beta",
}  # fmt: skip


def older_text(text: str) -> str:
    text = text.lower().replace("-", " ")
    for phrase in sorted(PHRASES, key=len, reverse=True):
        text = text.replace(phrase, PHRASES[phrase])
    return " ".join(TOKENS.get(token, token) for token in re.findall(r"[a-z0-9_]+", text))


def older_score(prior: str, new: str) -> float:
    """The older guard's score, by its contract's description."""
    a, b = older_text(new), older_text(prior)
    if not a or not b:
        return 0.0
    seq = difflib.SequenceMatcher(None, a, b).ratio()
    views: tuple[Callable[[str], set[str]], ...] = (_content, _concepts, _numbers)
    shares = [_jaccard(view(a), view(b)) for view in views]
    return round(0.30 * seq + 0.35 * shares[0] + 0.25 * shares[1] + 0.10 * shares[2], 3)


def _content(text: str) -> set[str]:
    return {t for t in older_text(text).split() if t not in STOP and (len(t) > 2 or t in SHORT)}


def _concepts(text: str) -> set[str]:
    found = {name for name, words in CONCEPTS.items() if set(words.split()) & set(text.split())}
    return found | {f"num:{number}" for number in _numbers(text)}


def _numbers(text: str) -> set[str]:
    return set(re.findall(r"\b\d+(?:\.\d+)?\b", text))


def _jaccard(a: set[str], b: set[str]) -> float:
    return len(a & b) / len(a | b) if a | b else 0.0


def older(prior: str, new: str) -> bool:
    return older_score(prior, new) >= THRESHOLD


# --- measures ---------------------------------------------------------------------------------------------------


def measure(pairs: Sequence[Pair], says_same: Callable[[str, str], bool]) -> str:
    said = [(pair, says_same(pair.prior, pair.new)) for pair in pairs]
    hits = sum(same and pair.relation == "duplicate" for pair, same in said)
    false = sum(same and pair.relation != "duplicate" for pair, same in said)
    missed = sum(not same and pair.relation == "duplicate" for pair, same in said)
    precision, recall = hits / max(1, hits + false), hits / max(1, hits + missed)
    f1 = 2 * precision * recall / max(1e-9, precision + recall)
    opposites = [(pair, same) for pair, same in said if pair.subtype == "opposite"]
    return (
        f"F1 {f1:.3f}  precision {precision:.3f}  recall {recall:.3f}  "
        f"(same: {hits} right, {false} wrong, {missed} missed)  "
        f"opposites taken for repeats {sum(same for _, same in opposites)} of {len(opposites)}"
    )


def blocked(pairs: Sequence[Pair], blocks: Callable[[str, str, Mode], bool], mode: Mode) -> str:
    other = [pair for pair in pairs if pair.relation == "different"]
    return f"{sum(blocks(pair.prior, pair.new, mode) for pair in other)} of {len(other)}"


def lopsided(pairs: Sequence[Pair]) -> int:
    """Pairs that are the same, or opposite, in one order only."""
    count = 0
    for pair in pairs:
        there = likeness(Reading.of(pair.new), Reading.of(pair.prior)).relation
        back = likeness(Reading.of(pair.prior), Reading.of(pair.new)).relation
        count += any((there is kind) != (back is kind) for kind in (Relation.SAME, Relation.OPPOSITE))
    return count


def report(path: Path, show: bool) -> None:
    pairs = pairs_of(path)
    print(f"{path.name}: {len(pairs)} pairs")
    print(f"  ours   {measure(pairs, ours)}")
    print(f"  older  {measure(pairs, older)}")
    for mode in (Mode.EXPLOIT, Mode.EXPLORE):
        bar = THRESHOLD + mode.adjustment

        def older_blocks(prior: str, new: str, _: Mode, bar: float = bar) -> bool:
            return older_score(prior, new) >= bar

        theirs = blocked(pairs, older_blocks, mode)
        print(f"  different ideas blocked, {mode}: ours {blocked(pairs, ours_blocks, mode)}, older {theirs}")
    print(f"  judged differently when prior and new change places: {lopsided(pairs)}")
    for pair in pairs if show else ():
        found = likeness(Reading.of(pair.new), Reading.of(pair.prior))
        if found.relation.is_same_idea != (pair.relation == "duplicate"):
            print(f"    {pair.relation:9} taken for {found.relation:11} {pair.prior!r} / {pair.new!r}: {found.why}")


# --- histories --------------------------------------------------------------------------------------------------


def histories(folder: Path) -> Iterable[tuple[str, list[str]]]:
    """Name and descriptions of each history that is told in words."""
    for path in sorted(folder.glob("*.tsv")):
        with path.open(encoding="utf-8", errors="replace", newline="") as file:
            rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
            told = [text for row in rows if (text := (row.get("description") or "").strip())]
        if told:
            yield path.name, told


def list_repeats(folder: Path) -> None:
    """Every pair of runs of one history that the guard takes for the same idea, or for opposites."""
    total = 0
    for name, told in histories(folder):
        print(f"== {name} ({len(told)} runs)")
        for j, new in enumerate(told):
            for i, prior in enumerate(told[:j]):
                found = likeness(Reading.of(new), Reading.of(prior))
                if found.relation in (Relation.SAME, Relation.OPPOSITE):
                    total += 1
                    print(f"{found.relation:9} {i:3} {prior[:110]!r}\n          {j:3} {new[:110]!r}: {found.why}")
    print(f"{total} pairs")


def recall(folder: Path, files: Sequence[Path]) -> None:
    """How often the same idea is among the TOP that share most query terms, in a pool of all descriptions."""
    pool = list(dict.fromkeys(text for _, told in histories(folder) for text in told))
    labelled = [pair for path in files for pair in pairs_of(path)]
    pool += [pair.prior for pair in labelled if pair.prior not in pool]
    terms = [frozenset(index_terms(Words(description=text))) for text in pool]
    wanted: list[tuple[str, int]] = []
    for index, prior in enumerate(pool):
        for new in [pair.new for pair in labelled if pair.prior == prior] + pool[:index]:
            relation = likeness(Reading.of(new), Reading.of(prior)).relation
            if relation is not Relation.OTHER and new != prior:
                wanted.append((new, index))
    rarity = {term: 1 / sum(term in own for own in terms) for own in terms for term in own}
    found = reached = 0
    ranks = []
    for new, index in wanted:
        asked = set(query_terms(Words(description=new), NO_LEXICON))
        reached += bool(asked & terms[index])
        score = sum(rarity[term] for term in asked & terms[index])
        rank = sum(sum(rarity[term] for term in asked & own) > score for own in terms)
        ranks.append(rank)
        found += rank < TOP
    print(
        f"pool {len(pool)}, related pairs {len(wanted)}: {reached} share a term, {found} within the first {TOP}, "
        f"median rank {statistics.median(ranks):.0f}, worst {max(ranks)}"
    )


def speed(folder: Path) -> None:
    """Median time to read one description, and to compare an idea with 500 unread ones."""
    told = [text for _, texts in histories(folder) for text in texts]
    texts = list(dict.fromkeys(text for text in told if len(text) <= 100))
    times, rounds = [], []
    idea = Words(description="raise matrix lr 1.5x and halve the batch")
    priors = [Prior(item=i, words=Words(description=f"{t} {i}"), kept=False, loss=1.0) for i, t in enumerate(texts * 2)]
    reading.told("warm the tables")
    for _ in range(7):
        reading.told.cache_clear()
        for text in texts:
            began = time.perf_counter()
            Reading.of(text)
            times.append(time.perf_counter() - began)
        reading.told.cache_clear()
        began = time.perf_counter()
        assess(idea, priors[:500], mode=Mode.EXPLOIT, threshold=THRESHOLD)
        rounds.append(time.perf_counter() - began)
    print(f"reading a description: median {statistics.median(times) * 1e6:.0f} us of {len(texts)} texts")
    print(f"assess over 500 unread priors: median {statistics.median(rounds) * 1e3:.0f} ms")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("pairs", nargs="*", type=Path)
    parser.add_argument("--show", action="store_true", help="print every pair that is judged wrongly")
    parser.add_argument("--histories", type=Path, help="list the repeats inside each history of this folder")
    parser.add_argument("--recall", type=Path, help="measure retrieval over the histories of this folder")
    parser.add_argument("--speed", action="store_true")
    asked = parser.parse_args()
    files = asked.pairs or [path for path in DEFAULT if path.exists()]
    folder = HERE.parent / "shared/data/histories"
    if asked.histories:
        list_repeats(asked.histories)
    elif asked.recall:
        recall(asked.recall, files)
    elif asked.speed:
        speed(folder)
    elif not files:
        print("no pairs to measure: name a file", file=sys.stderr)
        return 1
    else:
        for path in files:
            report(path, asked.show)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
