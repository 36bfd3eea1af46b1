"""Where an experiment lies in the archive: the kind of its change, and what it costs, as measured. Pure.

The kind is that of what separates the experiment from the proven source below it: its own changes and those of unproven
parents. (Against the lab's baseline every idea would be "mixed" as soon as two promotions of different kinds were made,
and the axis would tell nothing.) The costs are measured, and relative to the baseline of the line.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import median

from nightlab.history import ExperimentState, History
from nightlab.search.catalogue import BY_NAME
from nightlab.search.kinds import OTHER, kind_of
from nightlab.search.source import code_lines
from nightlab.types import (
    EMITTERS,
    Change,
    ChangeKind,
    Experiment,
    ExperimentId,
    Finished,
    Niche,
)

MIXED, UNCLEAR = "mixed", "other"

KINDS = {
    "learning-rate": "optimizer",
    "optimizer": "optimizer",
    "schedule": "schedule",
    "regularization": "regularization",
    "loss": "regularization",
    "numerics": "regularization",
    "batch-size": "batch",
    "model-size": "architecture",
    "architecture": "architecture",
    "activation": "architecture",
    "initialization": "architecture",
    "attention": "attention",
    "normalization": "normalization",
}
"""Family of a knob or an edit -> kind of change: coarse, so that a night of a hundred runs fills a few cells well."""

BAND = 0.05
"""Share by which a cost must differ from the baseline's to count: allocators and clocks differ by a few percent from
run to run (the judge prices memory from the same share on), and what differs by less changes nobody's plans."""

MEMORY, SIZE, PACE = ("leaner", "same", "heavier"), ("smaller", "same", "larger"), ("slower", "same", "faster")
CODE = ("shrinking", "same", "growing")
UNKNOWN = "unknown"

_WORDS = {
    "attention": "attention attn attend qk kv rope rotary rotate window windows mask flash causal heads head_dim",
    "normalization": "norm norms rms layernorm rmsnorm normalise normalize normalised normalized",
    "schedule": "warmup warmdown cooldown schedule scheduler cosine anneal lr_scale learning_rate_scale get_lr",
    "regularization": "dropout decay smoothing regularisation regularization softcap cap loss cross entropy",
    "batch": "batch batches accumulation accum micro microbatch rows sequence loader",
    "optimizer": "optimizer optimiser muon adam adamw sgd momentum nesterov beta betas grad grads gradient gradients "
    "lr learning rate orthogonalise update eps clip clip_grad_norm",
    "architecture": "mlp ffn block blocks residual embedding embeddings embed linear relu gelu silu swish gate depth "
    "width layer layers unembedding init bias",
}
"""Words of names in source -> the kind of change they speak of. The head of the loss is no head of attention."""

_KIND_OF_WORD = {word: kind for kind, words in _WORDS.items() for word in words.split()}
_NAME = re.compile(r"[A-Za-z_]\w*")
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_TEXT = re.compile(r"#.*|\"[^\"]*\"|'[^']*'")
_EMITTER = re.compile(r"\[emitter=(\w+)\]")


def emitter_of(experiment: Experiment) -> str:
    """Who gets the credit: an emitter that the description names as `[emitter=NAME]`, else the plan's."""
    named = _EMITTER.search(experiment.description)
    return named[1] if named is not None and named[1] in EMITTERS else experiment.plan.emitter


# --- the kind of a change ---------------------------------------------------------------------------------------


def kind_of_changes(changes: Iterable[Change], patch: str = "") -> str:
    """The kind of several changes together: "mixed" where they are of several, "other" where nothing tells.

    Args:
        changes: what separates two sources, by their syntax trees.
        patch: the same as a unified diff, for changes that no name explains.
    """
    found = {kind_of_change(change, patch) for change in changes} or {_kind_of_patch(patch)}
    named = found - {UNCLEAR}
    return MIXED if len(named) > 1 else next(iter(named), UNCLEAR)


def kind_of_change(change: Change, patch: str = "") -> str:
    """The kind of one change: by its constant's name, its family in the catalogue, or what a free one touches."""
    if change.kind is ChangeKind.KNOB:
        return _kind_of_knob(change.name)
    if change.kind is ChangeKind.EDIT:
        edit = BY_NAME.get(change.name)
        return KINDS.get(edit.family, UNCLEAR) if edit is not None else UNCLEAR
    places, _, names = change.name.partition(": ")
    return _vote(f"{names} {places} {places}") or _kind_of_patch(patch)  # a place says more than one name in it


@lru_cache(maxsize=4096)
def _kind_of_knob(name: str) -> str:
    return KINDS.get(kind_of(name).family, UNCLEAR)


def _kind_of_patch(patch: str) -> str:
    """By the names in the lines that went and came."""
    lines = (line[1:] for line in patch.splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---"))
    return _vote(" ".join(_TEXT.sub("", line) for line in lines)) or UNCLEAR


def _vote(text: str, places: str = "") -> str:
    """The kind that most names in a piece of source speak of; "mixed" for a tie, "" where none speaks.

    The names of the places that the source stands in have a vote each too, and decide ties.
    """
    votes, of_places = _votes(text), _votes(places)
    if not votes:
        return ""
    votes += of_places
    most = max(votes.values())
    first = [kind for kind, count in votes.items() if count == most]
    settled = [kind for kind in first if of_places[kind]] if len(first) > 1 else first
    return settled[0] if len(settled) == 1 else MIXED


def _votes(text: str) -> Counter[str]:
    return Counter(kind for name in _NAME.findall(text) for kind in _kinds_of_name(name))


def _kinds_of_name(name: str) -> Iterator[str]:
    if name.isupper() and kind_of(name) is not OTHER:
        yield KINDS.get(kind_of(name).family, MIXED)
        return
    whole = _KIND_OF_WORD.get(name.lower().strip("_"))
    if whole is not None:
        yield whole
        return
    parts = [part.lower() for part in _PART.findall(name)]
    yield from dict.fromkeys(_KIND_OF_WORD[part] for part in parts if part in _KIND_OF_WORD)


# --- the cell ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What an experiment takes, as its runs measured it; None where they did not."""

    params_m: float | None
    memory_mb: float | None
    throughput: float | None


@dataclass(slots=True)
class Survey:
    """The niches of a history's experiments, each reckoned once."""

    history: History
    _promoted: set[ExperimentId] = field(default_factory=set)
    _baselines: dict[ExperimentId, Costs] = field(default_factory=dict)
    _niches: dict[ExperimentId, Niche] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._promoted = {verdict.experiment for verdict in self.history.promotions}

    def niche(self, experiment: ExperimentId) -> Niche:
        """The cell of an experiment; costs are "unknown" where its runs or the baseline's did not measure them."""
        if experiment not in self._niches:
            self._niches[experiment] = self._reckon(self.history.state(experiment))
        return self._niches[experiment]

    def _reckon(self, state: ExperimentState) -> Niche:
        steps = list(self._steps(state))
        changes = [change for step in steps for change in step.changes]
        patch = "".join(step.patch for step in steps)
        lines = sum(code_lines(step.patch) for step in steps)
        own, base = typical(state), self.baseline(state)
        return Niche(
            kind=kind_of_changes(changes, patch) if steps else "baseline",
            size=_against(own.params_m, base.params_m, SIZE),
            memory=_against(own.memory_mb, base.memory_mb, MEMORY),
            pace=_against(own.throughput, base.throughput, PACE),
            code=CODE[1 + (lines > 0) - (lines < 0)],
        )

    def _steps(self, state: ExperimentState) -> Iterator[Experiment]:
        """The experiment and the unproven ones below it, newest first; what people ran by hand has none below it."""
        seen: set[ExperimentId] = set()
        if state.experiment.parent is None and state.experiment.changes:
            yield state.experiment
        while state.experiment.parent is not None and state.experiment.id not in seen:
            yield state.experiment
            seen.add(state.experiment.id)
            if state.experiment.parent in self._promoted or state.experiment.parent not in self.history.experiments:
                return
            state = self.history.state(state.experiment.parent)

    def baseline(self, state: ExperimentState) -> Costs:
        """What the baseline of an experiment's line takes."""
        root = state.root or state.experiment.id
        if root not in self._baselines:
            self._baselines[root] = typical(self.history.state(root))
        return self._baselines[root]


def typical(state: ExperimentState) -> Costs:
    """Medians of what an experiment's believed runs measured."""
    found = [run.outcome.metrics for run in state.finished() if isinstance(run.outcome, Finished)]
    return Costs(
        params_m=_median(m.params_m for m in found),
        memory_mb=_median(m.memory_mb for m in found),
        throughput=_median(m.throughput for m in found),
    )


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value]
    return median(known) if known else None


def _against(own: float | None, base: float | None, words: tuple[str, str, str]) -> str:
    """Less, the same or more than the baseline's."""
    if not own or not base:
        return UNKNOWN
    ratio = own / base
    return words[1 + (ratio > 1.0 + BAND) - (ratio < 1.0 - BAND)]
