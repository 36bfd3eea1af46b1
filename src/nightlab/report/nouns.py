"""The nouns of a summary: frozen, and the keys of `nightlab status --json`."""

from __future__ import annotations

from dataclasses import dataclass

from nightlab.audit import Discovery, Keeps


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    name: str
    direction: str  # minimize or maximize


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCounts:
    """Runs by how they ended; the names are those of `Outcome`."""

    total: int = 0
    running: int = 0
    finished: int = 0
    crashed: int = 0
    timedout: int = 0
    stoppedearly: int = 0
    lost: int = 0
    voided: int = 0
    disputed: int = 0
    imported: int = 0  # runs of other ledgers; not in the total


@dataclass(frozen=True, slots=True, kw_only=True)
class IdeaCounts:
    """Ideas (experiments that are no baseline) by their latest verdict, or their author's word."""

    tried: int = 0
    kept: int = 0
    discarded: int = 0
    crashed: int = 0
    undecided: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """By how much one experiment is better than another: units of the metric, positive is better."""

    mean: float
    low: float  # 95 % interval
    high: float
    probability: float  # P(better)
    runs: int
    runs_against: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """An experiment with its level."""

    experiment: str
    number: int  # 0 where it is none of the lab's: a run that another ledger tells of
    run: str  # of one that is known by somebody's word only; "" for the lab's own
    description: str
    source_hash: str
    commit: str
    parent: str | None
    runs: int  # finished runs behind the level; those of the final block are not among them
    standing: str  # proven or provisional
    mean: float | None
    low: float | None  # 95 % interval of the mean; None while nothing is known of the noise
    high: float | None

    @property
    def name(self) -> str:
        """What to call it: #12, or its run."""
        return f"#{self.number}" if self.number else self.run


@dataclass(frozen=True, slots=True, kw_only=True)
class Champion(Arm):
    probability: float | None  # P(better than the champion before it), when it was promoted
    runs_needed: int | None  # of the lab's that would prove it; 0: proven; None: too many to tell
    because: str  # the sentence with which it was promoted
    gain_in_search: Gain | None  # over the night's baseline; shrunk, since these runs chose it
    gain_on_fresh_seeds: Gain | None  # over the night's baseline, on seeds that chose nothing


@dataclass(frozen=True, slots=True, kw_only=True)
class Provisional(Arm):
    """A keep by somebody's word, with what would prove it."""

    probability: float | None  # P(better than the champion) if its author's value is right; None: the noise is unknown
    runs_needed: int | None  # as for a champion


@dataclass(frozen=True, slots=True, kw_only=True)
class NoiseOfRuns:
    sd: float  # standard deviation of one run, units of the metric
    low: float  # 95 % interval
    high: float
    runs: int  # replicated runs that it rests on


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    night: str
    number: int
    state: str  # running, ended; `status` says interrupted when nobody holds the loop's lease
    because: str  # why it ended
    seed: int
    mode: str  # explore or exploit
    ideas_done: int
    ideas_target: int | None
    hours_target: float | None
    cost_target: float | None
    began_at: str
    ended_at: str | None
    elapsed_minutes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """A step of the champion, as judged when it was taken."""

    experiment: str
    number: int
    description: str
    commit: str
    gain: float | None
    low: float | None
    high: float | None
    probability: float | None
    runs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainLink(Promotion):
    """The same step as it is known now."""

    now: Gain | None  # over the champion before it, from all runs that chose; None: not known
    worth: str  # kept, earns its place, dead weight, no longer likely better, removal, by hand
    without_gain: float | None  # of the champion without this step over the champion; negative: it is worth having
    without_low: float | None  # 95 % interval
    without_high: float | None
    removed_by: int | None  # number of the step that took it out again
    discovery: Discovery | None  # what the strict test says of it


@dataclass(frozen=True, slots=True, kw_only=True)
class ActiveRun:
    """A run without an ending so far."""

    run: str
    experiment: str
    number: int
    description: str
    seed: int
    purpose: str
    device: str
    started_at: str
    minutes: float
    watched: bool | None = None  # whether its supervisor lives; None: not looked at, or this system does not say


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLine:
    """One run of `nightlab runs --json`."""

    run: str
    experiment: str
    number: int
    seed: int
    metric: float | None
    outcome: str
    purpose: str
    decision: str | None  # latest verdict on its experiment
    description: str
    source_hash: str
    commit: str
    parent: str | None
    parent_commit: str | None
    emitter: str
    family: str
    device: str
    night: str | None
    started_at: str
    ended_at: str | None
    wall_s: float | None
    cpu_s: float | None
    speed: float | None
    trouble: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlyStops:
    """What giving runs up by their curves has saved, and what the runs that were let finish say of it."""

    stopped: int = 0
    minutes_saved: float = 0.0  # against the median run that finished in the same night
    audited: int = 0  # runs that a look would have ended, and that were let finish
    audited_kept: int = 0  # of those: winners that would have been lost


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    runs: int
    wall_minutes: float
    cpu_minutes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposerLine:
    """One who has had ideas, over all nights: what they cost and what came of them."""

    proposer: str  # openai:MODEL, an agent's name, or builtin
    ideas: int
    runs: int  # of these ideas, replicates included
    kept: int
    keeps: tuple[int, ...]  # their numbers, oldest first
    gain: float  # of what was kept, each over the champion of its moment; units of the metric
    calls: int
    failures: int  # calls that brought nothing
    tokens_in: int
    tokens_out: int
    estimated: bool  # whether some of the tokens were reckoned from lengths
    money: float  # at the prices of each moment
    minutes: float  # of asking and thinking
    money_per_run: float | None  # None: nothing ran
    money_per_keep: float | None  # None: nothing was kept
    tokens_per_run: float | None
    tokens_per_keep: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LabSummary:
    lab: str
    generated_at: str
    metric: Metric
    runs: RunCounts
    ideas: IdeaCounts
    baseline: Arm | None
    champion: Champion | None
    provisional: Provisional | None  # a hand-logged keep that would beat the champion, if it is proven
    noise: NoiseOfRuns | None
    night: Night | None
    branch: str
    promotions: tuple[Promotion, ...]  # of the latest night's line, oldest first, without those taken back by hand
    chain: tuple[ChainLink, ...]  # the same, looked at again
    expected_false_keeps: float  # among `keeps`
    keeps: Keeps  # of all nights
    keeps_tonight: Keeps  # of the latest night's ideas
    cost: Cost
    active: tuple[ActiveRun, ...]  # what runs now
    early: EarlyStops = EarlyStops()
    proposers: tuple[ProposerLine, ...] = ()  # empty: only the built-in search has had ideas
