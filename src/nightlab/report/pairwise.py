"""Two experiments side by side, seed by seed: for `nightlab compare`. Pure.

The difference is not shrunk and neither side is favoured (`judge.race.compare`): it is what the runs say, with the
noise of all of the lab's. The judge is stricter with an idea, since most ideas do not help.
"""

from __future__ import annotations

from dataclasses import dataclass

from nightlab import judging
from nightlab.config import Settings
from nightlab.errors import NotFoundError, UsageError
from nightlab.history import ExperimentState, History, RunState
from nightlab.judge import race
from nightlab.report import words
from nightlab.types import Purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One of the two."""

    experiment: str
    number: int
    description: str
    runs: int  # behind the mean
    mean: float  # of its runs' values, units of the metric


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One run a side on one seed; `difference` is a's value minus b's."""

    seed: int
    a: float
    b: float
    difference: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Single:
    """A run whose seed the other side has not had."""

    side: str  # a or b
    run: str
    seed: int  # -1: nobody told it
    value: float
    uncounted: str  # why it does not count; "" if it does


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairwise:
    """The keys of `nightlab compare --json`."""

    metric: str
    direction: str
    a: Side
    b: Side
    pairs: tuple[Pair, ...]  # by seed
    unpaired: tuple[Single, ...]  # a's first
    difference: float  # a's level minus b's, units of the metric; without noise that is known, of the means
    low: float | None  # 95 % interval of it; None: nothing is known of the noise
    high: float | None
    probability: float | None  # P(a is better), both having been equally likely beforehand
    sentence: str  # all that in plain words


def compare(history: History, settings: Settings, a: ExperimentState, b: ExperimentState) -> Pairwise:
    """Put two experiments side by side.

    Raises:
        UsageError: they are one, or of different lines of parents, whose values may mean different things.
        NotFoundError: one has no run of the lab's own with a value.
    """
    if a.experiment.id == b.experiment.id:
        raise UsageError(f"#{a.number} cannot be compared with itself", hint="name two experiments")
    for state in (a, b):
        if not _counted(state):
            raise NotFoundError(
                f"#{state.number} has no run of the lab's own with a value that is believed",
                hint=f"make some: `nightlab replicate {state.number} --seeds 2`",
            )
    if a.root != b.root:
        raise UsageError(
            f"#{a.number} and #{b.number} belong to different lines of parents, so that their values may have been "
            "measured under different conditions",
            hint="take one source into the working tree and `nightlab try` it on the other's line",
        )
    found = _belief(history, settings, a, b)
    sign = settings.metric.direction.sign
    sides = [_side(state) for state in (a, b)]
    difference = sides[0].mean - sides[1].mean if found is None else -sign * found.gain
    ends = () if found is None else sorted((-sign * found.low, -sign * found.high))
    pairs, unpaired = _paired(a, b)
    return Pairwise(
        metric=settings.metric.name,
        direction=settings.metric.direction.value,
        a=sides[0],
        b=sides[1],
        pairs=pairs,
        unpaired=unpaired,
        difference=difference,
        low=ends[0] if ends else None,
        high=ends[1] if ends else None,
        probability=found.probability if found else None,
        sentence=_sentence(a, b, found, settings.metric.name),
    )


def _counted(state: ExperimentState) -> list[RunState]:
    """Runs that say something of a level: those of the search, and of the final block."""
    return [
        r
        for r in state.runs
        if r.value is not None and r.is_believed and (r.run.purpose.steers or r.run.purpose is Purpose.FINAL)
    ]


def _belief(history: History, settings: Settings, a: ExperimentState, b: ExperimentState) -> race.Comparison | None:
    assert a.root is not None
    pair = {a.experiment.id, b.experiment.id}
    evidence = [row for row in judging.rows(history, settings, final=None, baseline=a.root) if row.arm in pair]
    others = [row for row in judging.rows(history, settings, baseline=a.root) if row.arm not in pair]
    return race.compare(a.experiment.id, b.experiment.id, evidence, settings.judge, noise_rows=others)


def _side(state: ExperimentState) -> Side:
    values = [r.value for r in _counted(state) if r.value is not None]
    return Side(
        experiment=state.experiment.id,
        number=state.number,
        description=state.experiment.description,
        runs=len(values),
        mean=sum(values) / len(values),
    )


def _paired(a: ExperimentState, b: ExperimentState) -> tuple[tuple[Pair, ...], tuple[Single, ...]]:
    """The first run of each side on each seed that both have had; every other run alone, oldest first."""
    first: list[dict[int, RunState]] = []
    for state in (a, b):
        by_seed: dict[int, RunState] = {}
        for r in _counted(state):
            by_seed.setdefault(r.run.seed, r)
        first.append(by_seed)
    pairs, used = [], set()
    for seed in sorted(first[0].keys() & first[1].keys()):
        one, other = first[0][seed], first[1][seed]
        assert one.value is not None
        assert other.value is not None
        pairs.append(Pair(seed=seed, a=one.value, b=other.value, difference=one.value - other.value))
        used |= {one.run.id, other.run.id}
    singles = []
    for name, state in (("a", a), ("b", b)):
        counted = {r.run.id for r in _counted(state)}
        for r in state.runs:
            shown = r.run.id in counted or r.run.purpose is Purpose.LOG or r.run.purpose.steers
            if shown and r.value is not None and r.run.id not in used:
                why = (
                    "its author's word" if r.run.purpose is Purpose.LOG else "the device was not fit to be measured on"
                )
                uncounted = "" if r.run.id in counted else why
                singles.append(Single(side=name, run=r.run.id, seed=r.run.seed, value=r.value, uncounted=uncounted))
    return tuple(pairs), tuple(singles)


def _sentence(a: ExperimentState, b: ExperimentState, found: race.Comparison | None, metric: str) -> str:
    if found is None:
        return "nothing is known of the noise, so that the difference may be all noise: run one of the two again"
    first, second = f"#{a.number}", f"#{b.number}"
    gain, low, high, probability = found.gain, found.low, found.high, found.probability
    if probability < 0.5:
        first, second = second, first
        gain, low, high, probability = -gain, -high, -low, 1.0 - probability
    digits = words.decimals(0.5 * (high - low), gain)
    by = f"{words.number(gain, digits)} {metric} (95 % interval {words.number(low, digits)} to"
    by = f"{by} {words.number(high, digits)})"
    verb = "is" if probability >= words.PROOF else "looks"
    return f"{first} {verb} better than {second} by {by}, {words.chance_of_noise(probability)}"
