"""Whether the loss curve of a changed source can be held against the old one's, share by share of the budget.

Not if the change moves when things happen (schedules), what a step is (batch, length of rows, data), or what the
reported loss measures (loss functions, regularisers, smoothing). Such runs may lie far behind and end in front. What
cannot be told is not comparable.
"""

from __future__ import annotations

import re
from functools import lru_cache

from nightlab.search.kinds import kind_of
from nightlab.types import Change, ChangeKind, Experiment

FAMILIES = {
    "schedule": "it changes the schedule",
    "batch-size": "it changes what a step is",
    "loss": "it changes what the loss is",
    "regularization": "it regularises, which costs early and pays late",
    "data": "it changes the data",
    "tokenizer": "it changes the tokens",
}
"""Families of changes after which curves cannot be compared, and why."""

TAGS = {"warmup": "schedule", "warmdown": "schedule", "context": "batch-size", "regularization": "regularization"}

_WORDS = {
    "schedule": r"schedul\w*|warm\w*|cool\w*|decay\w*|anneal\w*|cosine|cyclic\w*|fraction|frac|progress|curriculum|"
    r"epochs?|steps?|iters?|iterations?|lr_(scale|mult\w*|lambda)|lambdalr|freeze\w*",
    "batch-size": r"batch\w*|micro\w*|accum\w*|seq|sequence\w*|context\w*|ctx\w*|block_size|rows|tokens?_per\w*|bsz|"
    r"max_len\w*",
    "loss": r"\w*loss\w*|criterion|cross_entropy|nll\w*|ignore_index|reduction|ema|average\w*|smooth\w*|targets?|"
    r"labels?|backward|grad_?scal\w*|gradscaler|amp|autocast",
    "regularization": r"drop\w*|regulari\w*|weight_decay|wd|l2|penalty|noise|augment\w*|mixup|stochastic\w*",
    "data": r"data\w*|dataset\w*|loader\w*|shuffle\w*|shard\w*|corpus|sampl\w*|pack\w*",
    "tokenizer": r"token(izer|ize)\w*|vocab\w*|bpe|encode\w*",
}
"""Names in free code that speak of such a change. `\\b` is of no use in snake_case: names are matched part by part."""

_KNOB_WORDS = {family: _WORDS[family] for family in ("loss", "data", "tokenizer")}
_PARTS = re.compile(r"[A-Za-z_]\w*")
MAX_LINES = 120
"""Changed lines of free code beyond which nobody says what they touch: more than any single idea of the catalogue."""


def incomparable(experiment: Experiment) -> str:
    """Why its curve cannot be held against its parent's; "" if it can."""
    return _judge(experiment.changes, experiment.family, experiment.tags, experiment.patch)


@lru_cache(maxsize=4096)
def _judge(changes: tuple[Change, ...], family: str, tags: tuple[str, ...], patch: str) -> str:
    if not changes:
        return "nobody knows what it changes"
    families = [family, *(TAGS[tag] for tag in tags if tag in TAGS)]
    for change in changes:
        if change.kind is ChangeKind.KNOB:
            families += [kind_of(change.name).family, _spoken(change.name, _KNOB_WORDS)]
        elif change.kind is ChangeKind.FREE:
            said = _free(change, patch)
            if said not in FAMILIES and said:
                return said
            families.append(said)
    return next((FAMILIES[name] for name in families if name in FAMILIES), "")


def _free(change: Change, patch: str) -> str:
    """The family that free code belongs to, "" if it can be told that it is none of them, else why it cannot."""
    lines = [line[1:] for line in patch.splitlines() if re.match(r"[-+](?![-+]{2} )", line)]
    if not lines:
        return "nobody knows what it changes"
    if len(lines) > MAX_LINES or re.search(r"\d+ more\b", change.name):
        return "it changes too much to tell what it touches"
    return _spoken(" ".join((change.name, *lines)), _WORDS)


def _spoken(text: str, vocabulary: dict[str, str]) -> str:
    """The first family of the vocabulary that some name in the text belongs to."""
    names = {name.lower().strip("_") for name in _PARTS.findall(text)}
    parts = names | {part for name in names for part in name.split("_")}
    for family, pattern in vocabulary.items():
        if any(re.fullmatch(pattern, part) for part in parts):
            return family
    return ""
