"""What `quick` has to say, as nouns for a program and as plain lines for a person."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from nightlab.config import JudgeSettings
from nightlab.judge import power
from nightlab.judge.repeats import KNOWN_WITHIN, Behaviour, Drift, repeats
from nightlab.report import words
from nightlab.report.text import plain
from nightlab.runner.numbers import Found, Kind

FEW = 5  # runs up to which the interval of the noise is called wide: beyond, it is less than a factor of ten wide
_NAMES = 8  # other numbers that are listed

_BEHAVIOUR = {
    Behaviour.SEEDED: "the same seed gave the same value twice, other seeds other values: "
    "it obeys AUTORESEARCH_SEED and is deterministic given it",
    Behaviour.FREE: "the same seed gave different values: not all of it follows AUTORESEARCH_SEED",
    Behaviour.UNKNOWN: "too few runs to say what AUTORESEARCH_SEED does",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickRun:
    seed: int
    value: float
    text: str  # as it was printed
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """Which number of the output was taken."""

    name: str  # "" for a number without a name
    where: str
    others: tuple[str, ...]  # names that might have been meant
    repeated: bool  # printed more than once a run; the last one counts


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickNoise:
    """Standard deviation of one run, units of the metric."""

    sd: float
    low: float  # 95 % interval
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What a way of spending runs shows, in units of the metric."""

    name: str
    runs_per_idea: float
    most_runs: int
    smallest_gain: float  # that is proven in 80 of 100 cases
    low: float  # the same at the ends of the noise's interval
    high: float
    percent: float | None  # of the mean value; None where that is zero
    ideas: int  # that the night holds
    minutes_per_idea: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Greedy:
    """What keeping every best-so-far makes of a night of pure noise."""

    false_keeps: float
    false_gain: float  # units of the metric
    false_gain_sd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Quick:
    """Everything that `quick` has found out."""

    command: tuple[str, ...]
    metric: Taken
    runs: tuple[QuickRun, ...]
    ended: str  # why no more runs were made
    mean: float
    run_seconds: float  # median
    behaviour: Behaviour
    noise: QuickNoise | None  # None where repeats show none
    drift: Drift | None
    night_hours: float
    night_runs: int
    rules: tuple[Rule, ...]  # empty without noise
    greedy: Greedy | None


def quick(command: Sequence[str], found: Found, others: tuple[str, ...], runs: Sequence[QuickRun], ended: str) -> Quick:
    """Reckon what the runs (at least one) say."""
    settings = JudgeSettings()
    said = repeats([(run.seed, run.value) for run in runs])
    seconds = max(median(run.seconds for run in runs), 1e-3)
    noise = None if said.noise is None else QuickNoise(sd=said.noise.sd, low=said.noise.low, high=said.noise.high)
    night_runs = math.floor(power.NIGHT_HOURS * 3600.0 / seconds)
    return Quick(
        command=tuple(command),
        metric=Taken(name=found.name, where=str(found.kind), others=others, repeated=found.again),
        runs=tuple(runs),
        ended=ended,
        mean=said.mean,
        run_seconds=seconds,
        behaviour=said.behaviour,
        noise=noise,
        drift=said.drift,
        night_hours=power.NIGHT_HOURS,
        night_runs=night_runs,
        rules=() if noise is None else _rules(noise, said.mean, seconds, settings),
        greedy=None if noise is None else _greedy(noise, night_runs),
    )


def _rules(noise: QuickNoise, mean: float, seconds: float, settings: JudgeSettings) -> tuple[Rule, ...]:
    reaches = [power.raced(settings), *(power.fixed(runs, settings) for runs in (2, 4, 8))]
    return tuple(
        Rule(
            name=reach.name,
            runs_per_idea=reach.runs,
            most_runs=reach.most,
            smallest_gain=reach.gain * noise.sd,
            low=reach.gain * noise.low,
            high=reach.gain * noise.high,
            percent=_percent(reach.gain * noise.sd, mean),
            ideas=power.night(reach, seconds, settings).ideas,
            minutes_per_idea=reach.runs * seconds / 60.0,
        )
        for reach in reaches
    )


def _greedy(noise: QuickNoise, runs: int) -> Greedy | None:
    if runs < 2:
        return None
    luck = power.luck(runs - 1)
    return Greedy(false_keeps=luck.keeps, false_gain=luck.gain * noise.sd, false_gain_sd=luck.gain)


def _percent(gain: float, mean: float) -> float | None:
    return None if mean == 0.0 else 100.0 * gain / abs(mean)


# --- words ------------------------------------------------------------------------------------------------------


def first_estimate(runs: Sequence[QuickRun]) -> str:
    """What is known so far, in one line."""
    said = repeats([(run.seed, run.value) for run in runs])
    if said.noise is None:
        return "first look: every run gave the same value"
    digits = words.decimals(said.noise.sd, None)
    gain = power.fixed(4, JudgeSettings()).gain * said.noise.sd
    return (
        f"first estimate: noise about {words.number(said.noise.sd, digits)} from run to run, so 4 runs an idea would "
        f"show gains from about {words.number(gain, digits)} on ({len(runs)} runs: very rough)"
    )


def taken_line(found: Found, others: Sequence[str]) -> str:
    """Which number is taken, and which others there are."""
    where = f"on the line {plain(found.line, 100)!r}" if found.kind is Kind.LAST else f"from {found.kind}"
    line = f"taking {plain(found.label, 64)} {where}"
    if found.again:
        line += ", printed more than once: the last one counts"
    if others:
        listed = ", ".join(plain(name, 64) for name in others[:_NAMES])
        more = f" and {len(others) - _NAMES} more" if len(others) > _NAMES else ""
        line += f"; also printed: {listed}{more} (--metric NAME chooses)"
    return line


def lines(found: Quick, editable: str) -> Iterator[str]:
    """The whole answer, for a person; `editable` is what a lab of this command would change."""
    digits = words.decimals(found.noise.sd if found.noise else None, found.mean)
    name = plain(found.metric.name, 64) or "the number"
    yield f"{name}: {words.number(found.mean, digits)} on average"
    yield f"runs:  {len(found.runs)}, of {_seconds(found.run_seconds)} each, and no more since {found.ended}"
    yield from _noise_lines(found, digits)
    if found.drift is not None:
        way = "rise" if found.drift.step > 0 else "fall"
        yield (
            f"drift: the values {way} from run to run, by {words.number(abs(found.drift.step), digits)} "
            f"({words.chance(1.0 - found.drift.p)} of being noise): warm-up, or a machine that changes; "
            "the noise above contains it"
        )
    yield from _night_lines(found, digits)
    yield ""
    yield from _next_lines(found, editable)


def _noise_lines(found: Quick, digits: int) -> Iterator[str]:
    noise = found.noise
    if found.behaviour is Behaviour.CONSTANT:
        seeds = len({run.seed for run in found.runs})
        yield (
            f"noise: none that repeats can show. All {len(found.runs)} runs, on {seeds} seeds, gave the same value. "
            "Either the command does not read AUTORESEARCH_SEED, or the value is printed too coarsely to differ."
        )
        yield (
            "A gain measured this way may be the luck of the one seed that the command always uses. "
            "Let it take its seed from AUTORESEARCH_SEED, print more digits, and ask again."
        )
        return
    if noise is None:
        yield "noise: not known yet, for that the command has to run on another seed"
        yield f"seeds: {_BEHAVIOUR[found.behaviour]}"
        return
    share = _percent(noise.sd, found.mean)
    of_value = "" if share is None else f" ({_share(share)} of the value)"
    yield f"noise: {words.number(noise.sd, digits)} from run to run{of_value}"
    low, high = words.number(noise.low, digits), words.number(noise.high, digits)
    few = f": wide, since {len(found.runs)} runs are few" if len(found.runs) <= FEW else ""
    yield f"       95 % interval {low} to {high}{few}"
    yield f"seeds: {_BEHAVIOUR[found.behaviour]}"


def _night_lines(found: Quick, digits: int) -> Iterator[str]:
    night = f"a night of {found.night_hours:g} h holds {words.count(found.night_runs, 'such run')}, one at a time"
    yield ""
    if not found.rules:
        yield night
        return
    yield f"{night}. The smallest gain that it can prove:"
    yield ""
    yield _row("", "runs an idea", "smallest gain", "of the value", "ideas a night", "an idea takes")
    for rule in found.rules:
        varies = rule.runs_per_idea != rule.most_runs
        yield _row(
            rule.name if varies else "",
            f"{rule.runs_per_idea:.2f}" if varies else f"{rule.most_runs}",
            words.number(rule.smallest_gain, digits),
            _share(rule.percent),
            f"{rule.ideas:,}",
            _seconds(60.0 * rule.minutes_per_idea),
        )
    race = found.rules[0]
    yield ""
    yield (
        f"Proven: a probability of {JudgeSettings().promote:g} under the lab's prior, reached in 8 of 10 cases. "
        f"The race runs most ideas once and promising ones up to {race.most_runs} times."
    )
    noise = found.noise
    if noise is not None and noise.high > KNOWN_WITHIN * noise.sd:
        yield (
            f"The noise is known so roughly that every gain above may really be {noise.low / noise.sd:.2g} to "
            f"{noise.high / noise.sd:.2g} times as large: more runs tell."
        )
    if found.greedy is not None:
        yield (
            f'Keeping whatever beats the best so far would "find" {found.greedy.false_keeps:.1f} improvements a night '
            f"in pure noise, and end up believing in a gain of {words.number(found.greedy.false_gain, digits)} "
            f"({found.greedy.false_gain_sd:.1f} standard deviations) that is not there."
        )


def _next_lines(found: Quick, editable: str) -> Iterator[str]:
    metric = found.metric
    name = metric.name or "NAME"
    words_of = ["nightlab", "init", "--command", shlex.join(found.command), "--editable", editable, "--metric", name]
    yield "next: a lab that tries ideas all night, in a git repository (--direction maximize where more is better):"
    yield f"  {plain(shlex.join([*words_of, '--direction', 'minimize']), 1000)}"
    if metric.where not in (Kind.LINE, Kind.RESULT):
        yield f"  a lab reads its metric from a line `{plain(name, 64)}: value`: let the command print one"
    elif metric.repeated:
        yield f"  a lab wants {plain(name, 64)} printed once a run"
    if found.noise is not None:
        yield f"  and `noise = {found.noise.sd:.2g}` under [judge] in its nightlab.toml, a first guess"


def _row(name: str, *cells: str) -> str:
    return f"{name:<15}" + "".join(f"{cell:>15}" for cell in cells)


def _share(percent: float | None) -> str:
    if percent is None:
        return "-"
    return f"{percent:.2g} %" if percent < 10.0 else f"{percent:,.0f} %"


def _seconds(seconds: float) -> str:
    return f"{seconds:.2g} s" if seconds < 10 else words.duration(seconds)
