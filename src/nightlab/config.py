"""nightlab.toml and the directory it lies in, as one frozen `Settings`.

Every key has a default, so a repository with a `train.py` and no nightlab.toml is a lab too. Unknown keys, wrong types
and values that make no sense are refused by name: an option that is silently ignored costs somebody a night.
"""

from __future__ import annotations

import hashlib
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NewType

import msgspec

from nightlab.errors import ConfigError
from nightlab.root import CONFIG_NAME
from nightlab.types import Direction

IGNORED = ("results/", "results.tsv", "run.log")  # what we and our users' commands leave in a lab, never committed
LARGEST = 1e100  # squares of metrics must be finite too
KNOWN_BOUNDS = {"val_bpb": (0.01, 100.0)}  # bits per byte: a uniform guess costs 8, and text is never free


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSettings:
    """Which number is the metric, and what values of it are believed."""

    name: str = "val_bpb"
    direction: Direction = Direction.MINIMIZE
    low: float | None = 0.01  # believed only strictly above
    high: float | None = 100.0  # believed only strictly below
    receipt: bool = False  # whether a printed value without a receipt is disputed
    timed: bool | Literal["auto"] = "auto"  # whether it depends on how fast the device is (`runner.conditions`)

    def reject(self, value: float) -> str | None:
        """Why `value` cannot be this metric, or None when it can."""
        if not math.isfinite(value):
            return f"{self.name} is {value}, which is no finite number"
        if abs(value) > LARGEST:
            return f"{self.name} is {value:g}, which is too large to reckon with"
        if self.low is not None and value <= self.low:
            return f"{self.name} is {value:g}, but this lab believes only values above {self.low:g}"
        if self.high is not None and value >= self.high:
            return f"{self.name} is {value:g}, but this lab believes only values below {self.high:g}"
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    timeout_minutes: float = 30.0  # of one run; the run's own budget ends it long before
    slots: int | Literal["auto"] = 1  # runs at a time; "auto": one per GPU, else one per core
    grace_seconds: float = 5.0  # between asking a process tree to end and killing it
    hour_price: float = 0.0  # what an hour of one run costs, in your money: for nights with a limit on it


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeSettings:
    """The lab's own measure of how fast a device is."""

    command: str = ""  # prints one number, in work per second; "": there is none
    timeout_seconds: float = 60.0

    @property
    def argv(self) -> tuple[str, ...]:
        return tuple(shlex.split(self.command))


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeSettings:
    """Thresholds of the race; their sources are in judge/."""

    promote: float = 0.95  # P(better) that proves a challenger
    explore: float = 0.90  # the same in a night that explores
    discard: float = 0.50  # P(better) below which an idea is dropped
    max_steps: int = 4  # extra runs that one idea may cost
    baseline_runs: int = 2
    final_runs: int = 4  # fresh seeds a side at the end of a night; 0: no final block
    ablate: bool = True  # whether a night's end re-tests what the champion rests on, change by change
    noise: float | None = None  # first guess of the standard deviation of one run, in units of the metric
    noise_runs: float = 3.0  # how many runs that guess is worth
    prior: Literal["generic", "gpu-5min"] = "generic"  # what is believed of ideas before they run (judge/prior.py)
    speed_effect: float = 0.0  # first guess of the loss that a log of the probe's speed saves, units of the metric
    useful_gain: float = 0.0  # smallest gain worth having, units of the metric
    line_price: float = 0.1  # what each line of code must bring, in standard deviations of one run
    memory_price: float = 1.0  # what each tenth more of memory must bring, in the same


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """When the search has enough."""

    worth: float = 0.0  # smallest expected gain that one more run is worth, units of the metric; 0: none is too small


@dataclass(frozen=True, slots=True, kw_only=True)
class ProposerSettings:
    """Who has ideas in a night."""

    use: tuple[str, ...] = ("builtin",)  # builtin, openai:MODEL, or an agent's command; several share a night
    agent_minutes: float = 20.0  # of wall-clock that an agent has for one idea


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings:
    """Where models are asked, and what that may cost."""

    base_url: str = ""  # of an endpoint that speaks Chat Completions; "": OPENAI_BASE_URL, else OpenAI's own
    key_variable: str = "OPENAI_API_KEY"  # environment variable that holds the key; local servers need none
    price_in: float = 0.0  # of a million tokens that are sent, in your money
    price_out: float = 0.0  # of a million tokens that are answered
    max_tokens: int = 5_000_000  # a night's, sent and answered: a hundred ideas at 25,000 each, twice over
    max_cost: float | None = None  # money that a night's tokens may cost; None: no limit
    timeout_seconds: float = 300.0  # of one call; a small model on a CPU needs minutes for a whole file
    answer_tokens: int = 16_000  # longest answer that is asked for: an edit, and the thoughts before it


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlySettings:
    """Ending runs before their budget is spent; the rule and its sources are in judge/curves.py."""

    enabled: bool = True  # the looks at the curve, and the end of runs that can come to nothing
    first: float = 0.4  # shares of the budget at which an idea's loss is held against the champion's
    main: float = 0.6
    audit: float = 0.05  # share of the runs that are let finish whatever the looks say


CommandLine = NewType("CommandLine", str)


class DenyRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Commands that begin with the words of `command` are refused to agents."""

    command: CommandLine
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """What agents may not do in a shell, beyond the rules that always hold (`agent.policy`)."""

    enabled: bool = True
    protect: tuple[str, ...] = ()  # further files that no agent may edit; a run may
    allow: tuple[CommandLine, ...] = ()  # commands that are let pass, word for word
    deny: tuple[DenyRule, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One lab. Paths are relative to `root` except `root` itself."""

    root: Path
    command: str = "uv run train.py"
    editable: tuple[str, ...] = ("train.py",)
    protected: tuple[str, ...] = ("prepare.py",)
    link: tuple[str, ...] = ()  # untracked inputs that each workspace sees read-only
    tag: str = "nightlab"  # promotions go to autoresearch/<tag>
    env: Mapping[str, str] = field(default_factory=dict)  # added to each run's environment
    metric: MetricSettings = field(default_factory=MetricSettings)
    budget: BudgetSettings = field(default_factory=BudgetSettings)
    judge: JudgeSettings = field(default_factory=JudgeSettings)
    probe: ProbeSettings = field(default_factory=ProbeSettings)
    early: EarlySettings = field(default_factory=EarlySettings)
    search: SearchSettings = field(default_factory=SearchSettings)
    policy: PolicySettings = field(default_factory=PolicySettings)
    proposer: ProposerSettings = field(default_factory=ProposerSettings)
    model: ModelSettings = field(default_factory=ModelSettings)
    pinned: str = ""  # digest of the lab's other files, device and profile (`runner.workspace.pinned`)

    @property
    def results(self) -> Path:
        return self.root / "results" / "nightlab"

    @property
    def database(self) -> Path:
        return self.results / "lab.db"

    @property
    def runs(self) -> Path:
        return self.results / "runs"

    @property
    def branch(self) -> str:
        return f"autoresearch/{self.tag}"

    @property
    def argv(self) -> tuple[str, ...]:
        """The command as words; no shell reads it."""
        return tuple(shlex.split(self.command))

    @property
    def digest(self) -> str:
        """Digest of the settings that make two runs comparable; part of the source hash."""
        parts = (
            self.command,
            self.metric.name,
            self.metric.direction,
            *sorted(f"{k}={v}" for k, v in self.env.items()),
            self.pinned,
        )
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


class _Metric(msgspec.Struct, forbid_unknown_fields=True):
    name: str = "val_bpb"
    direction: Direction = Direction.MINIMIZE
    low: float | None = None
    high: float | None = None
    receipt: bool = False
    timed: bool | Literal["auto"] = "auto"


class _Budget(msgspec.Struct, forbid_unknown_fields=True):
    timeout_minutes: float = 30.0
    slots: int | Literal["auto"] = 1
    grace_seconds: float = 5.0
    hour_price: float = 0.0


class _Probe(msgspec.Struct, forbid_unknown_fields=True):
    command: str = ""
    timeout_seconds: float = 60.0


class _Judge(msgspec.Struct, forbid_unknown_fields=True):
    promote: float = 0.95
    explore: float = 0.90
    discard: float = 0.50
    max_steps: int = 4
    baseline_runs: int = 2
    final_runs: int = 4
    ablate: bool = True
    noise: float | None = None
    noise_runs: float = 3.0
    prior: Literal["generic", "gpu-5min"] = "generic"
    speed_effect: float = 0.0
    useful_gain: float = 0.0
    line_price: float = 0.1
    memory_price: float = 1.0


class _Early(msgspec.Struct, forbid_unknown_fields=True):
    enabled: bool = True
    first: float = 0.4
    main: float = 0.6
    audit: float = 0.05


class _Search(msgspec.Struct, forbid_unknown_fields=True):
    worth: float = 0.0


class _Policy(msgspec.Struct, forbid_unknown_fields=True):
    enabled: bool = True
    protect: tuple[str, ...] = ()
    allow: tuple[CommandLine, ...] = ()
    deny: tuple[DenyRule, ...] = ()


class _Proposer(msgspec.Struct, forbid_unknown_fields=True):
    use: tuple[str, ...] = ("builtin",)
    agent_minutes: float = 20.0


class _Model(msgspec.Struct, forbid_unknown_fields=True):
    base_url: str = ""
    key_variable: str = "OPENAI_API_KEY"
    price_in: float = 0.0
    price_out: float = 0.0
    max_tokens: int = 5_000_000
    max_cost: float | None = None
    timeout_seconds: float = 300.0
    answer_tokens: int = 16_000


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """The shape of nightlab.toml."""

    command: str = "uv run train.py"
    editable: tuple[str, ...] = ("train.py",)
    protected: tuple[str, ...] = ("prepare.py",)
    link: tuple[str, ...] = ()
    tag: str = "nightlab"
    env: dict[str, str] = msgspec.field(default_factory=dict)
    metric: _Metric = msgspec.field(default_factory=_Metric)
    budget: _Budget = msgspec.field(default_factory=_Budget)
    judge: _Judge = msgspec.field(default_factory=_Judge)
    probe: _Probe = msgspec.field(default_factory=_Probe)
    early: _Early = msgspec.field(default_factory=_Early)
    search: _Search = msgspec.field(default_factory=_Search)
    policy: _Policy = msgspec.field(default_factory=_Policy)
    proposer: _Proposer = msgspec.field(default_factory=_Proposer)
    model: _Model = msgspec.field(default_factory=_Model)


def load_settings(root: Path) -> Settings:
    """Read the lab's nightlab.toml; defaults where it says nothing or is absent.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or holds a key or value we cannot use.
    """
    path = root / CONFIG_NAME
    if not path.is_file():
        return Settings(root=root)
    import tomllib  # not needed by supervisors, which import this module too

    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ConfigError(f"{path} cannot be read: {exc}", hint="mend the file; `nightlab doctor` checks it") from exc
    try:
        file = msgspec.convert(raw, _File)
    except msgspec.ValidationError as exc:
        raise ConfigError(
            f"{path}: {exc}", hint="docs/nightlab-toml.md lists every key with its type and default"
        ) from exc
    settings = Settings(
        root=root,
        command=file.command,
        editable=file.editable,
        protected=file.protected,
        link=file.link,
        tag=file.tag,
        env=file.env,
        metric=_metric(file.metric),
        budget=BudgetSettings(**msgspec.structs.asdict(file.budget)),
        judge=JudgeSettings(**msgspec.structs.asdict(file.judge)),
        probe=ProbeSettings(**msgspec.structs.asdict(file.probe)),
        early=EarlySettings(**msgspec.structs.asdict(file.early)),
        search=SearchSettings(**msgspec.structs.asdict(file.search)),
        policy=PolicySettings(**msgspec.structs.asdict(file.policy)),
        proposer=ProposerSettings(**msgspec.structs.asdict(file.proposer)),
        model=ModelSettings(**msgspec.structs.asdict(file.model)),
    )
    _check(settings, path)
    return settings


def _metric(file: _Metric) -> MetricSettings:
    low, high = KNOWN_BOUNDS.get(file.name, (None, None))
    return MetricSettings(
        name=file.name,
        direction=file.direction,
        low=low if file.low is None else file.low,
        high=high if file.high is None else file.high,
        receipt=file.receipt,
        timed=file.timed,
    )


def _check(settings: Settings, path: Path) -> None:
    metric, budget, judge = settings.metric, settings.budget, settings.judge
    probe, early = settings.probe, settings.early
    who, asking = settings.proposer, settings.model
    slots_ok = budget.slots == "auto" or budget.slots >= 1
    bounds_ok = metric.low is None or metric.high is None or metric.low < metric.high
    paths = (*settings.editable, *settings.protected, *settings.link, *settings.policy.protect)
    ruled = (*settings.policy.allow, *(rule.command for rule in settings.policy.deny))
    outside = [p for p in paths if _leaves_root(p)]
    odd = [p for p in paths if p not in outside and (str(Path(p)) != p or p == ".")]
    spoken = (settings.command, probe.command, *who.use, *settings.env, *settings.env.values())
    prices = (judge.useful_gain, judge.line_price, judge.memory_price)
    spans = (budget.timeout_minutes, budget.grace_seconds, probe.timeout_seconds)
    shares = (early.first, early.main, early.audit)
    numbers = (metric.low, metric.high, *spans, judge.noise, judge.noise_runs, judge.speed_effect, *prices, *shares)
    problems = {
        # JSON, in which runs are recorded, has no word for it.
        "a number is infinite or NaN": not all(math.isfinite(n) for n in numbers if n is not None),
        "command, probe.command, proposer.use or env holds a zero byte": any("\0" in text for text in spoken),
        'a name in env is empty or holds "="': any(not name or "=" in name for name in settings.env),
        "command is empty": not settings.command.strip(),
        "command has a quotation mark without its twin": not _is_shell_words(settings.command),
        "probe.command has a quotation mark without its twin": not _is_shell_words(probe.command),
        "probe.timeout_seconds is not positive": not probe.timeout_seconds > 0,
        "editable names no file": not settings.editable,
        "metric.name is empty": not metric.name.strip(),
        "metric.low is not below metric.high": not bounds_ok,
        "budget.timeout_minutes is not positive": not budget.timeout_minutes > 0,
        "budget.grace_seconds is negative": budget.grace_seconds < 0,
        'budget.slots is neither a positive number nor "auto"': not slots_ok,
        "judge.promote must lie above judge.discard, both between 0 and 1": not (0 < judge.discard < judge.promote < 1),
        "judge.explore must lie above judge.discard, and below 1": not (judge.discard < judge.explore < 1),
        "judge.baseline_runs must be at least 2, or the noise cannot be known": judge.baseline_runs < 2,
        "judge.max_steps must be at least 1, or nothing can be proven": judge.max_steps < 1,
        "judge.final_runs must lie between 0 and 1000": not 0 <= judge.final_runs <= 1000,
        "judge.noise is not positive": judge.noise is not None and not judge.noise > 0,
        "judge.noise_runs is below 0.1": not judge.noise_runs >= 0.1,
        "judge.useful_gain, line_price and memory_price must not be negative": any(price < 0 for price in prices),
        "budget.hour_price and search.worth must be finite and not negative": not all(
            0 <= price < math.inf for price in (settings.budget.hour_price, settings.search.worth)
        ),
        "early.first must not lie after early.main, both between 0 and 1": not 0 < early.first <= early.main < 1,
        "early.audit must lie between 0 and 1": not 0 <= early.audit <= 1,
        "policy.allow or policy.deny holds a command that is empty or has a quotation mark without its twin": any(
            not command.strip() or not _is_shell_words(command) for command in ruled
        ),
        "proposer.use is empty, or a name in it is": not all(name.strip() for name in who.use or ("",)),
        "proposer.agent_minutes must be positive, and less than a day": not 0 < who.agent_minutes < 24 * 60,
        "model.base_url is no http address": not re.fullmatch(r"(https?://[^\s/]\S*)?", asking.base_url),
        "model.key_variable is no name of a variable": not re.fullmatch(r"[A-Za-z_]\w*", asking.key_variable),
        "model.price_in, price_out and max_cost must be finite and not negative": not all(
            0 <= price < math.inf for price in (asking.price_in, asking.price_out, asking.max_cost or 0.0)
        ),
        "model.max_tokens must be at least 1": asking.max_tokens < 1,
        "model.timeout_seconds must be positive and finite": not 0 < asking.timeout_seconds < math.inf,
        "model.answer_tokens must be at least 256": asking.answer_tokens < 256,
        f"a path leaves the lab: {', '.join(outside)}": bool(outside),
        f"a path is not written as git writes it (src/train.py): {', '.join(map(repr, odd))}": bool(odd),
        "tag is no part of a branch name": not re.fullmatch(r"(?!.*\.lock$)\w[\w-]*(\.[\w-]+)*", settings.tag),
    }
    for problem, found in problems.items():
        if found:
            raise ConfigError(f"{path}: {problem}", hint="docs/nightlab-toml.md lists every key with its meaning")


def _leaves_root(pattern: str) -> bool:
    return pattern.startswith("/") or ".." in Path(pattern).parts


def _is_shell_words(command: str) -> bool:
    try:
        shlex.split(command)
    except ValueError:
        return False
    return True
