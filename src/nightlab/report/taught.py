"""What a history teaches, as nouns: made by `lessons`, told by `retell`."""

from __future__ import annotations

from dataclasses import dataclass

from nightlab.types import Direction

TWICE = 2.0  # standard deviations of one run; two equal runs differ by more one time in six
MANY_CHANGES = 3  # changes a run beyond which no single one can be credited


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """One row with its value."""

    row: int  # from one, in the order of the history
    value: float
    description: str
    commit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Standard deviation of one run, pooled over runs of the same thing."""

    sd: float
    low: float | None  # 95 % interval; None where there are too few repeats for one
    high: float | None
    repeats: int  # degrees of freedom: runs beyond the first of their group
    groups: int
    strays: int  # runs too far from their group to be noise, left out


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    mark: Mark
    runs: int  # of the same thing, as far as the rows tell
    mean: float  # of these runs
    gain: float | None  # over the first value of its file, positive is better
    first: Mark | None
    rivals: int | None  # other ideas within twice the noise of it, or better; None where the noise is unknown
    next_best: Mark | None  # the best value of another idea, kept or not


@dataclass(frozen=True, slots=True, kw_only=True)
class Gains:
    """Keeps, each against the keep before it."""

    keeps: int
    better: int  # than the keep before; the others are a fresh start, or kept for another reason
    small: int | None  # better by less than twice the noise; None where the noise is unknown
    middle: float | None  # median of those that were better
    least: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Something that was changed again and again."""

    name: str
    tries: int
    kept: int
    crashed: int
    best_gain: float | None  # over what was kept before; negative: how far the nearest try fell short


@dataclass(frozen=True, slots=True, kw_only=True)
class Missed:
    """A run that was not kept, for the least."""

    mark: Mark
    gain: float  # over what was kept then


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaning:
    """A knob that was moved one way more often in some runs than in others."""

    knob: str
    raised: bool
    share: float  # of those runs
    others: float  # of all others


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    what: str  # "" where the rows do not say
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeated:
    """An idea that was not kept, or a configuration that had been run, and was run again."""

    description: str
    again: int
    kept: int  # of the repeats


@dataclass(frozen=True, slots=True, kw_only=True)
class Repeats:
    runs: int
    kept: int
    later: int  # of the repeats: something else was kept in between, so that the answer may differ
    worst: tuple[Repeated, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau:
    """The end of the history, after its last keep."""

    since: Mark | None  # the last keep; None: nothing was kept
    runs: int
    seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lessons:
    metric: str
    direction: Direction
    rows: int
    kept: int
    discarded: int
    crashed: int
    untold: int  # rows without a value that are no crash: nobody tells whether they were ever measured
    no_number: int  # of the crashes: rows that say they were no crash and have no usable number
    other_metric: int  # rows whose value is of another metric, left aside
    told_by_order: bool  # whether the other ledger never says what was kept
    nameless: int  # rows without a commit
    best: Best | None
    noise: Noise | None
    copies: int  # repeats with the very same number, which say nothing of noise
    gains: Gains | None
    changes: float  # median number of things that a run changes
    subjects: tuple[Subject, ...]
    families: tuple[Subject, ...]  # as the rows name them
    hopeless: tuple[Subject, ...]
    missed: Missed | None
    in_best: tuple[Leaning, ...]
    in_crashes: tuple[Leaning, ...]
    failures: tuple[Failure, ...]
    repeats: Repeats
    plateau: Plateau
    digits: int  # after the point that mean something
    steps: tuple[str, ...]
