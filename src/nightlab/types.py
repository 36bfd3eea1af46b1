"""The nouns of nightlab: frozen, typed, no I/O. Start reading here.

An *experiment* is one idea as exact source. A *run* is one execution of it with a seed. How a run ended is an
*outcome*; what that means for the experiment against the champion is a *verdict*. All facts reach the ledger as
*events*; everything else is folded from them (see `history.py`).
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NewType, Protocol

ExperimentId = NewType("ExperimentId", str)  # "e" + 12 hex digits of the source hash
NO_SLOT = -1  # of a run that happens in its caller's own place

RunId = NewType("RunId", str)  # 20260311T043000Z-abc1234: UTC second, commit; "-2" if taken
NightId = NewType("NightId", str)

Files = Mapping[str, str]
"""Editable files: path relative to the lab's root (POSIX separators) -> text."""


class Direction(StrEnum):
    """Which way the metric is better."""

    MINIMIZE = "minimize"
    MAXIMIZE = "maximize"

    @property
    def sign(self) -> int:
        """Factor that turns a metric into a loss (lower is better)."""
        return 1 if self is Direction.MINIMIZE else -1


# --- ideas ------------------------------------------------------------------------------------------------------


class ChangeKind(StrEnum):
    KNOB = "knob"  # one named constant, old value -> new value
    EDIT = "edit"  # a structural edit of the catalogue, by name
    FREE = "free"  # source written by a person, a model or an agent


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One difference between an experiment and its parent."""

    kind: ChangeKind
    name: str
    old: str = ""
    new: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.old} -> {self.new}" if self.kind is ChangeKind.KNOB else self.name


EMITTERS = (
    "local_tuner",
    "optimizer_hacker",
    "architecture_mutator",
    "simplifier",
    "contrarian",
    "recombinator",
    "anomaly_chaser",
)
"""The ways of proposing, in the order that decides ties. Each is a weighting over the same few mechanisms."""


class Phase(StrEnum):
    """What the search is about at the moment."""

    BASELINE = "baseline"  # nothing is known yet
    EXPLORE = "explore"
    EXPLOIT = "exploit"  # what was tried lately pays: go on
    RECOMBINE = "recombine"  # nothing pays, and near misses wait to be put together
    STABILIZE = "stabilize"  # too much crashes


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What the search's model expects of an idea; stored before its run, scored after it."""

    gain: float  # expected, against the champion of the moment; units of the metric, positive is better
    deviation: float  # standard deviation of that gain as the model sees it
    chance: float  # P(better than the champion)
    crash: float = 0.0  # P(it crashes)
    model: str = ""  # what the forecast rests on: "history", the lab's own runs


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the search asked for when the experiment was proposed."""

    emitter: str
    brief: str = ""
    niche: str = ""  # the niche wanted, not the one measured afterwards
    phase: str = ""  # of the search when it was planned
    forecast: Forecast | None = None
    cites: tuple[str, ...] = ()  # conjectures that speak of it, for or against
    parents: tuple[ExperimentId, ...] = ()  # stepping stones whose changes it takes over, besides its parent
    seeds: int = 1  # runs wanted before the first verdict
    without: ExperimentId | None = None  # of a removal: the link of the champion's chain whose change is left out
    proposer: str = ""  # who had the idea: a model or an agent by its name; "": the built-in search, or a person
    repairs: ExperimentId | None = None  # an idea of the same proposer that crashed by a slip, mended here


@dataclass(frozen=True, slots=True, kw_only=True)
class Idea:
    """A proposal with its source, before the lab has given it a commit."""

    description: str
    files: Files
    plan: Plan
    hypothesis: str = ""
    family: str = ""
    tags: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One idea as exact source. Its identity is the source hash."""

    id: ExperimentId
    source_hash: str  # "<algorithm>:<hex>"
    commit: str  # full commit id, kept alive under refs/nightlab/
    parent_commit: str | None
    parent: ExperimentId | None  # None for a baseline
    description: str
    patch: str  # unified diff of the editable files from the parent; from nothing for a baseline
    plan: Plan
    hypothesis: str = ""
    family: str = ""
    tags: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()


# --- runs -------------------------------------------------------------------------------------------------------


class Purpose(StrEnum):
    """Why a run was started."""

    BASELINE = "baseline"
    IDEA = "idea"  # first run of a proposed experiment
    REPLICATE = "replicate"  # another seed, because the race asked for it
    FINAL = "final"  # fresh seeds for the headline number; never used to choose
    TRY = "try"  # the working tree, asked for by a person or an agent
    EXEC = "exec"  # a recorded command in the caller's own directory
    VERIFY = "verify"  # a recorded run once more, to see whether its value holds
    LOG = "log"  # run elsewhere and written down by hand: its author's word

    @property
    def steers(self) -> bool:
        """Whether the run's value may decide what is kept."""
        return self not in (Purpose.FINAL, Purpose.EXEC, Purpose.VERIFY, Purpose.LOG)


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What the run ran on: an allow-list, never the whole environment."""

    device: str  # "cpu:0", "cuda:1"
    machine: str
    python: str
    platform: str
    versions: Mapping[str, str] = field(default_factory=dict)  # package -> version
    dirty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    id: RunId
    experiment: ExperimentId
    seed: int
    purpose: Purpose
    slot: int  # which of the lab's parallel places
    limit_s: float  # wall-clock seconds after which the whole process tree is ended
    command: tuple[str, ...]
    environment: Environment
    night: NightId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics:
    primary: float  # the lab's metric, in its own units and direction
    memory_mb: float | None = None
    steps: int | None = None
    throughput: float | None = None  # tokens (or samples) per second
    params_m: float | None = None  # millions of parameters
    extra: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The only ending that carries a metric: finite, in bounds, tied to the source that ran."""

    metrics: Metrics
    spared: StoppedEarly | None = None  # what would have ended it, had it not been let finish to audit the rule


@dataclass(frozen=True, slots=True, kw_only=True)
class Crashed:
    """The command failed, or ended well without a usable metric."""

    summary: str  # one line
    exit_code: int | None = None  # negative: the signal that ended it
    signature: str = ""  # the summary with paths, numbers and addresses taken out
    tail: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedOut:
    limit_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppedEarly:
    """Ended on purpose before its budget was spent: never a measurement.

    With a `fraction` its own curve was the reason, which speaks against the idea (a censored run); without one
    somebody wanted it to end, which says nothing of it.
    """

    reason: str
    fraction: float | None = None  # of the budget, where its curve was given up
    behind: float | None = None  # loss there minus the champion's, in units of the loss that the run reports


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Nothing is known of the idea: the supervisor died, or somebody or the kernel killed the command."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Voided:
    """A file that the run may not touch was changed."""

    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Disputed:
    """What the run printed is not what the receipt says."""

    because: str
    printed: float | None = None
    receipt: float | None = None


Outcome = Finished | Crashed | TimedOut | StoppedEarly | Lost | Voided | Disputed

OUTCOMES: tuple[type[Outcome], ...] = (Finished, Crashed, TimedOut, StoppedEarly, Lost, Voided, Disputed)


def is_infrastructure(outcome: Outcome) -> bool:
    """Whether the ending says nothing about the idea, so that it may be run again."""
    return isinstance(outcome, Lost) or (isinstance(outcome, StoppedEarly) and outcome.fraction is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The device at one moment, as it was found without the run; None what could not be read."""

    speed: float | None = None  # of a fixed probe, in work per second: only ratios mean anything
    clock_mhz: float | None = None
    busy: float | None = None  # share of the device that others were using


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """How a run found its device, and how it left it. Never anything that the run itself measured."""

    before: Reading
    after: Reading
    timed: bool | None = None  # whether the value depends on how fast the device is; None: nobody says
    trouble: str = ""  # why the run's ending is not believed: a contended or throttled device

    @property
    def speed(self) -> float | None:
        """Speed around the run: the geometric mean of both readings, or the one there is."""
        known = [r.speed for r in (self.before, self.after) if r.speed is not None and r.speed > 0.0]
        return math.prod(known) ** (1.0 / len(known)) if known else None


# --- curves -----------------------------------------------------------------------------------------------------

CURVE_BIN = 0.005  # share of the budget whose points are taken together: 200 of them tell all that a look needs
CURVE_WINDOW = 0.05  # share of the budget before a moment over which the loss is averaged


@dataclass(frozen=True, slots=True)
class Curve:
    """A run's loss while it went on, as the run itself reports it; lower is better, in whatever unit."""

    points: tuple[tuple[float, float], ...]  # (share of the budget, loss), shares rising

    @classmethod
    def of(cls, points: Iterable[tuple[float, float]]) -> Curve:
        """Of points as they were reported: those that are no numbers or go back are left out, near ones averaged."""
        bins: dict[int, list[tuple[float, float]]] = {}
        last = 0.0
        for fraction, loss in points:
            if math.isfinite(loss) and last <= fraction <= 1.0:
                bins.setdefault(math.ceil(fraction / CURVE_BIN - 1e-9), []).append((fraction, loss))
                last = fraction
        return cls(tuple((sum(x for x, _ in b) / len(b), sum(y for _, y in b) / len(b)) for b in bins.values()))

    @property
    def reached(self) -> float:
        """The share of the budget that it tells of."""
        return self.points[-1][0] if self.points else 0.0

    def at(self, fraction: float) -> float | None:
        """The loss over the last twentieth of the budget before `fraction`; None outside its points.

        Where no point lies in that window, the line between the points around it.
        """
        if not self.points or not self.points[0][0] <= fraction <= self.reached + 0.5 * CURVE_WINDOW:
            return None
        place = bisect_right(self.points, (fraction, math.inf))
        start = bisect_right(self.points, (fraction - CURVE_WINDOW, math.inf))
        if start < place:
            return sum(loss for _, loss in self.points[start:place]) / (place - start)
        (x0, y0), (x1, y1) = self.points[place - 1], self.points[place]
        return y0 + (y1 - y0) * (fraction - x0) / (x1 - x0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A moment at which a run is given up if its loss lies further above the champion's than `margin`."""

    fraction: float  # of the budget
    champion: float  # the champion's loss there, on the same seed
    margin: float  # in units of that loss


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a run is held against while it goes on."""

    looks: tuple[Look, ...] = ()  # earliest first; none: its curve is no reason to end it
    because: str = ""  # why there are none
    spared: bool = False  # let finish whatever a look says, and say afterwards what it would have said
    ceiling: float | None = None  # a loss from which on it has diverged
    usual_s: float | None = None  # wall-clock seconds that a run of the champion takes

    def given_up(self, curve: Curve) -> StoppedEarly | None:
        """What the first look that `curve` fails says; None if it passes all those that it has reached."""
        for look in self.looks:
            loss = curve.at(look.fraction) if curve.reached >= look.fraction else None
            if loss is not None and loss - look.champion > look.margin:
                behind = loss - look.champion
                return StoppedEarly(
                    reason=f"its loss at {look.fraction:.0%} of its budget was {behind:.3g} above the champion's, and "
                    f"a run as good would hardly be more than {look.margin:.3g} behind there",
                    fraction=look.fraction,
                    behind=behind,
                )
        return None


# --- judgements -------------------------------------------------------------------------------------------------


class Decision(StrEnum):
    KEEP = "keep"  # proven better: the new champion
    DISCARD = "discard"
    RETEST = "retest"  # not proven yet: another run would tell more
    CRASH = "crash"

    @property
    def is_final(self) -> bool:
        return self is not Decision.RETEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the judge says of an experiment against the champion of the moment."""

    experiment: ExperimentId
    champion: ExperimentId
    decision: Decision
    because: str  # one sentence in plain words
    gain: float | None = None  # posterior mean, units of the metric, positive is better
    low: float | None = None  # 95 % interval of the gain
    high: float | None = None
    probability: float | None = None  # P(better than the champion)
    runs_used: int = 0
    replicate: ExperimentId | None = None  # for RETEST: the side to run again


class Standing(StrEnum):
    PROVISIONAL = "provisional"
    PROVEN = "proven"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """How far a kept run is proven, and what is lacking."""

    standing: Standing
    probability: float | None = None  # P(better than the champion that it has to beat); None: nothing to reckon with
    runs_needed: int | None = 0  # more runs of the lab's that prove it if its value is right; None: too many to tell


# --- what the search remembers ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Niche:
    """A cell of the archive, on measured axes: the kind of change against the proven source below it, and its costs.

    Costs are in words relative to the baseline's of its line, "unknown" where a run did not measure them.
    """

    kind: str  # of change, by the syntax tree: optimizer, schedule, architecture, attention, batch, ...
    size: str  # parameters: smaller, same, larger
    memory: str  # leaner, same, heavier
    pace: str  # throughput: slower, same, faster
    code: str  # lines of source: shrinking, same, growing

    def __str__(self) -> str:
        return "/".join((self.kind, self.size, self.memory, self.pace, self.code))


@dataclass(frozen=True, slots=True, kw_only=True)
class Elite:
    """The best experiment of a niche."""

    niche: Niche
    experiment: ExperimentId
    probability: float  # P(better than the champion it was judged against), the judge's
    gain: float | None  # posterior mean against the baseline of its line, units of the metric, positive is better
    count: int  # experiments of the niche


@dataclass(frozen=True, slots=True, kw_only=True)
class Conjecture:
    """A claim about changes of one kind: change, context -> effect. Updated by every verdict, cited by its id."""

    id: str  # "c" + six hex digits of change and context
    change: str  # "MATRIX_LR up", "swiglu", "optimizer changes", "ideas by simplifier", "crash: ... (DEPTH up)"
    context: str  # where it was seen: device kind, and the baseline, whose identity holds budget and profile
    gain: float | None  # effect: mean over its evidence, units of the metric, positive is better; None for crashes
    low: float | None  # 95 % interval
    high: float | None
    support: tuple[ExperimentId, ...]  # oldest first
    against: tuple[ExperimentId, ...]  # what contradicts it
    is_no_fly: bool = False  # such changes crash: avoid them, as long as the base is the one they crashed on
    has_expired: bool = False  # the base has changed since

    @property
    def weight(self) -> int:
        """Experiments that speak of it, either way."""
        return len(self.support) + len(self.against)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a run taught, in the terms of the older control plane. They describe; credit is expected gain per minute."""

    fitness: float
    novelty: float
    information: float
    surprise: float
    complexity: float
    memory: float

    @property
    def score(self) -> float:
        return self.fitness + self.novelty + self.information + self.surprise - self.complexity - self.memory


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """What an experiment did and taught, once its first run has ended. Derived from the history, never stored."""

    experiment: ExperimentId
    run: RunId
    emitter: str
    phase: str
    niche: Niche
    summary: str  # what changed, one line
    crash: str  # signature; "" if it ran
    value: float | None  # of this run, units of the metric
    gain_vs_best: float | None  # this run's value against the best value before it, positive is better
    gain_vs_baseline: float | None
    terms: Terms
    recommendation: str  # keep, discard or investigate: advice; the verdict decides
    verdict: Verdict | None
    conjectures: tuple[Conjecture, ...]  # those that this experiment moved, at most three


STOP = "stop"
"""Topic of a note by which whoever holds the lease is asked to end as cleanly as by Ctrl-C."""

# --- events -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposed:
    experiment: Experiment


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """A source that the lab knows from elsewhere (`exec`, `log`) is to be judged as an idea on top of `parent`."""

    experiment: ExperimentId
    parent: ExperimentId
    plan: Plan
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    run: RunId
    outcome: Outcome
    usage: Usage
    conditions: Conditions | None = None  # None: nobody looked at the device


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    verdict: Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class NightBegan:
    """A night is one order to search: so many ideas, hours of wall-clock or money, whichever ends first."""

    night: NightId
    seed: int
    ideas: int | None
    hours: float | None
    baseline: ExperimentId
    mode: str = "exploit"  # explore: an idea is kept from `judge.explore` on instead of `judge.promote`
    cost: float | None = None  # money that its runs may cost, at `budget.hour_price`


@dataclass(frozen=True, slots=True, kw_only=True)
class NightEnded:
    night: NightId
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """What the author of a hand-logged run says of it. One source may be logged again in other words and commits."""

    run: RunId
    status: str  # keep, discard or crash
    branch: str = ""
    commit: str = ""  # HEAD when the run was written down
    parent_commit: str | None = None
    description: str = ""
    hypothesis: str = ""
    family: str = ""
    tags: tuple[str, ...] = ()
    notes: str = ""
    mode: str = "exploit"  # how its author meant to work: explore, exploit, replicate
    novelty: str = "novel"  # what the guard made of it at the time
    threshold: float = 0.0  # the guard's, before the mode's adjustment
    log: str = ""  # files that were named, as they were named
    summary: str = ""
    read: Mapping[str, str] = field(default_factory=dict)  # all that was read from them: name -> JSON text
    error_source: str = ""  # of a crash: who said what went wrong
    memory_mb: float | None = None  # of a crash: what its log said
    sourced: bool = True  # whether the lab had an editable file that the run stands for
    action: str = ""  # what the judge said to do next, at its moment
    priority: str = ""
    advice: str = ""  # the sentence that says so
    row: str = ""  # what was written of it for older scripts at its moment, as it was written


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A run that another ledger tells of: its author's word, on record without a source that the lab could run."""

    run: RunId  # its own name there, else one made of its moment and commit
    origin: str  # where it was read: a file's name, or a branch
    digest: str  # of what was read, so that the same row is taken in once
    status: str  # keep, discard or crash
    at: float  # UTC seconds since the epoch, as the other ledger says; else when it was taken in
    branch: str = ""
    commit: str = ""
    parent_commit: str | None = None
    description: str = ""
    hypothesis: str = ""
    family: str = ""
    tags: tuple[str, ...] = ()
    notes: str = ""
    mode: str = ""
    metrics: Metrics | None = None  # None for a crash, and where the row's number cannot be believed
    crash: Crashed | None = None
    error_source: str = ""
    read: Mapping[str, str] = field(default_factory=dict)  # everything else that the row says: name -> JSON text
    source_hash: str = ""  # if its source is known
    dirty: bool = False
    ranked: bool = True  # whether its value may be ranked beside this lab's own: same metric, same yardstick
    action: str = ""  # what its own ledger said to do next
    priority: str = ""
    advice: str = ""
    raw: str = ""  # the row itself, where it is a line of one of the lab's own mirrors


@dataclass(frozen=True, slots=True, kw_only=True)
class Unranked:
    """Imported runs that turned out to be made under other conditions: remembered, and ranked no longer."""

    runs: tuple[RunId, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """Something worth remembering that decides nothing; of topic `STOP`: whoever works on the lab shall end."""

    topic: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Consulted:
    """A model was asked once, or an agent worked once, for an idea: what that cost, and why nothing came of it.

    What came of it follows from the log: the proposer's next idea in the same night.
    """

    proposer: str  # its name, as in `Plan.proposer`
    purpose: str  # ideas, edit, mend (an edit that does not apply), repair (a crash), agent
    seconds: float  # wall-clock
    tokens_in: int = 0
    tokens_out: int = 0
    estimated: bool = False  # whether the tokens were reckoned from lengths, because the answer did not tell them
    money: float = 0.0  # at the lab's prices of that moment
    failure: str = ""  # why it brought nothing, in one line; "" if it did
    cut_off: bool = False  # it was ended with the night, which says nothing of the proposer
    note: str = ""  # what else is worth knowing: ideas that were refused, files that were changed and left out
    log: str = ""  # where an agent's output lies, relative to the lab


Event = (
    Proposed
    | Adopted
    | Started
    | Ended
    | Judged
    | NightBegan
    | NightEnded
    | Logged
    | Imported
    | Unranked
    | Noted
    | Consulted
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """An event with its place in the log."""

    seq: int
    at: float  # UTC, seconds since the epoch
    event: Event


# --- seams ------------------------------------------------------------------------------------------------------


class Job(Protocol):
    """A run under way. Its ending is read from the ledger, never from here."""

    @property
    def run(self) -> RunId: ...

    def poll(self) -> bool:
        """Whether nothing more will happen by itself: the ending is written, or its writer is dead."""
        ...

    def cancel(self, reason: str) -> None:
        """Ask for an early end; the ending follows in the ledger."""
        ...


class Backend(Protocol):
    """A way of making runs happen."""

    @property
    def places(self) -> tuple[str, ...]:
        """Devices on which one run each can go at a time; a run's `slot` is an index into them."""
        ...

    def environment(self, slot: int) -> Environment:
        """What a run in that place will run on."""
        ...

    def start(self, run: Run, commit: str, bounds: Bounds | None = None) -> Job:
        """Start `run`, which the ledger knows as started, on the source of `commit`.

        While it goes on it is held against `bounds`: a look that it fails ends it as stopped early with that look's
        fraction, or, if it is spared, is told with its metric; None: only its limit counts.

        Raises:
            BackendError: it cannot be started; nothing is left behind.
        """
        ...

    def is_alive(self, run: RunId) -> bool:
        """Whether somebody still watches over the run and will write its ending."""
        ...

    def stop(self, run: RunId, reason: str) -> None:
        """Ask for an early end of a run, whoever started it; the ending follows in the ledger."""
        ...

    def clear(self, run: RunId) -> None:
        """End and remove whatever a run without a watcher has left behind."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """Instead of a new idea: a settled one is worth another run, because what was tried since speaks for it."""

    experiment: ExperimentId
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhausted:
    """The search has nothing more to propose."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Nothing came of asking this time; ask again, as the ledger then stands."""

    reason: str


Answer = Idea | Again | Exhausted | Failed
"""What a proposer says when it is asked for an idea."""


class Thinking(Protocol):
    """A proposer that needs time: something slow goes on beside the loop."""

    def poll(self) -> Answer | None:
        """The answer, or None while there is none yet; returns at once, and is not called again after an answer."""
        ...

    def cancel(self) -> None:
        """End what goes on, at once and with all its processes; nothing is asked of it afterwards."""
        ...
