"""Numbers in plain words: values, gains, chances, durations."""

from __future__ import annotations

import math
from datetime import UTC, datetime

from nightlab.judge.wording import SURE, chance, chance_of_noise, more_runs
from nightlab.types import Conditions

__all__ = [
    "PROOF", "SURE", "ago", "chance", "chance_of_noise", "count", "decimals", "duration", "gain_in_words", "iso",
    "lacking", "more_runs", "number", "odds", "signed",
]  # fmt: skip

PROOF = 0.95  # probability from which "better" is said without a "looks"


def iso(at: float) -> str:
    """A moment as machines and people read it: 2026-03-11T04:30:00Z."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def decimals(step: float | None, value: float | None) -> int:
    """Digits after the point that mean something: two of the step (noise, half an interval), else six of the value."""
    if step is not None and math.isfinite(step) and step > 0:
        return min(max(1 - math.floor(math.log10(step)), 0), 10)
    if value is not None and math.isfinite(value) and value != 0:
        return min(max(5 - math.floor(math.log10(abs(value))), 0), 10)
    return 6


def number(value: float | None, digits: int) -> str:
    """A value with fixed digits; a dash when there is none, and no negative zero."""
    if value is None:
        return "-"
    rounded = round(value, digits) + 0.0
    return f"{rounded:,.{digits}f}" if abs(rounded) >= 1e5 else f"{rounded:.{digits}f}"


def signed(value: float | None, digits: int) -> str:
    """As `number`, with its sign."""
    if value is None:
        return "-"
    rounded = round(value, digits) + 0.0
    return f"{'-' if rounded < 0 else '+'}{number(abs(rounded), digits)}"


def odds(probability: float) -> str:
    """The same for a table: 1 in 40."""
    return chance(probability).replace("about ", "").replace("less than", "under").replace(" chance", "")


def count(number_of: int, noun: str, plural: str = "") -> str:
    """A number with its noun: 1 run, 3 runs."""
    return f"{number_of:,} {noun if number_of == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """A length of time in at most two units."""
    seconds = max(seconds, 0.0)
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    if minutes < 90:
        return f"{minutes:.0f} min"
    hours = minutes / 60
    if hours < 48:
        whole, rest = divmod(round(minutes), 60)
        return f"{whole} h {rest} min" if rest else f"{whole} h"
    return f"{hours / 24:.0f} days"


def ago(seconds: float) -> str:
    """How long ago something was."""
    return "just now" if seconds < 5 else f"{duration(seconds)} ago"


def conditions(found: Conditions) -> str:
    """How a run found its device and left it: speed of the probe, clock, what others used."""
    before, after = found.before, found.after
    speeds = [f"{speed:.4g} {when}" for speed, when in ((before.speed, "before"), (after.speed, "after")) if speed]
    parts = [f"speed of the probe {', '.join(speeds)}"] if speeds else []
    clocks = dict.fromkeys(f"{clock:.0f}" for clock in (before.clock_mhz, after.clock_mhz) if clock is not None)
    if clocks:
        parts.append(f"clock {' and '.join(clocks)} MHz")
    busy = [reading.busy for reading in (before, after) if reading.busy is not None]
    if busy:
        parts.append(f"others used {max(busy):.0%} of it")
    if found.timed is not None:
        parts.append("the value depends on its speed" if found.timed else "the value does not depend on its speed")
    return "; ".join(parts) or "nothing could be read"


def gain_in_words(mean: float, low: float, high: float, probability: float, than: str = "") -> str:
    """A gain as one clause, with no more confidence than it has; `than` names what it is over."""
    better = f"better than {than} by" if than else "better by"
    digits = decimals(0.5 * (high - low), mean)
    interval = f"95 % interval {number(low, digits)} to {number(high, digits)}"
    if probability >= PROOF:
        return f"{better} {number(mean, digits)} ({interval}), {chance(probability)} of being noise"
    if probability > 0.5:
        return f"looks {better} {number(mean, digits)} ({interval}), not proven: {chance(probability)} of being noise"
    return f"no evidence of a gain ({signed(mean, digits)}, {interval})"


def lacking(needed: int | None, probability: float | None) -> str:
    """What something provisional lacks: needs 2 more runs; if its value is right, about 1 chance in 30 of noise."""
    told = f"needs {more_runs(needed)}"
    return told if probability is None else f"{told}; if its value is right, {chance_of_noise(probability)}"
