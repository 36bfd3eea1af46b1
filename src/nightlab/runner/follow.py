"""Following a run while it goes on: is it still worth its time?

Some runs can come to nothing, whatever they are compared with, and end at once as crashed:

- its loss is no number, `STEADY` points (or printed losses) in a row: weights that are NaN stay so;
- its loss has diverged: `STEADY` points in a row above `Bounds.ceiling`, and above its own beginning as well;
- memory ran out and the command hangs on: it said so, and has been silent since for `SILENT_S`;
- it stands still: it told of its progress before, and has not for `STALL_S`, nor for `STALL_GAPS` times its own longest
  pause, nor for a quarter of what a run of the champion takes;
- it is hopelessly slow: it has had the time of a run of the champion, and at its pace it would need more than its limit
  allows, or `SLOW` times the champion's time. A budget in seconds is never slow: its share follows the clock. While
  the machine has more to do than it can, the pace is the machine's and not the run's, and nothing is said of it.

A run that is merely worse is ended by the looks of its bounds, and that is no crash.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

from nightlab.runner.log import Printed
from nightlab.runner.progress import Point, ProgressFile
from nightlab.types import Bounds, Crashed, Curve, Outcome, StoppedEarly

STEADY = 3  # a single odd number may be a slip of the reporting
SILENT_S = 120.0  # a command that makes do with less memory says something, or goes on, by then
STALL_S = 120.0  # no compilation between two steps that we know of takes longer
STALL_GAPS = 20.0
STALL_SHARE = 0.25  # of the champion's time
TRAINED = 0.98  # share of the budget from which silence may be the evaluation
SLOW = 10.0  # one idea is not worth ten runs
PATIENCE_S = 30.0  # before any word on the pace
PACE_POINTS = 5  # points that tell a pace
CROWDED = 1.5  # processes that want to run, for each core, from which a pace says nothing of the run


def is_crowded() -> bool:
    """Whether the machine has had more to do than it can in the last minute."""
    return os.getloadavg()[0] > CROWDED * (os.cpu_count() or 1)


@dataclass(slots=True)
class _Pulse:
    """Signs of life, in seconds since the start."""

    first: tuple[float, float] | None = None  # (seconds, share of the budget) of the first point
    last: tuple[float, float] | None = None
    gap_s: float = 0.0  # the longest pause between two points so far
    points: int = 0

    def beat(self, seconds: float, fraction: float) -> None:
        if self.last is not None:
            self.gap_s = max(self.gap_s, seconds - self.last[0])
        self.first = self.first or (seconds, fraction)
        self.last = (seconds, fraction)
        self.points += 1

    def total_s(self, now: float) -> float | None:
        """How long the run would take at its pace so far; None where that cannot be told."""
        if self.first is None or self.last is None or self.points < PACE_POINTS:
            return None
        seconds, share = now - self.first[0], self.last[1] - self.first[1]
        if seconds <= 0.0:
            return None
        return math.inf if share <= 0.0 else now + (1.0 - self.last[1]) * seconds / share


class Follower:
    """One run under way.

    Args:
        progress: where it tells of its progress.
        bounds: what it is held against.
        limit_s: wall-clock seconds that it may take.
        printed: what was read from its output so far; filled by others.
        clock: seconds, only differences count.
        crowded: whether the machine is too busy for a pace to say anything of the run.
    """

    def __init__(
        self,
        progress: ProgressFile,
        bounds: Bounds,
        limit_s: float,
        printed: Printed,
        clock: Callable[[], float] = time.monotonic,
        crowded: Callable[[], bool] = is_crowded,
    ) -> None:
        self.outcome: Outcome | None = None  # how it ends, once `look` has asked for its end
        self.spared: StoppedEarly | None = None  # what a look said of a run that is let finish
        self._progress, self._bounds, self._limit_s, self._printed = progress, bounds, limit_s, printed
        self._clock, self._began, self._crowded = clock, clock(), crowded
        self._points: list[Point] = []
        self._looks_taken = 0
        self._pulse = _Pulse()
        self._bad = 0  # points in a row that are no numbers
        self._high = 0  # points in a row that lie above the ceiling
        self._said = -1  # pieces of output when memory had run out, or when something was said since
        self._silent_since = math.inf

    def look(self) -> str | None:
        """Read what is new. A text is the reason to end the run now; `outcome` then says how it has ended."""
        if self.outcome is not None:
            return None
        now = self._clock() - self._began
        for fraction, loss in self._progress.read():
            self._take(fraction, loss, now)
        reason = self._trouble(now)
        if reason:
            self.outcome = Crashed(summary=f"ended early: {reason[0]}", signature=reason[1])
            return reason[0]
        found = self._curve()
        if found is None:
            return None
        if self._bounds.spared:
            self.spared = found
            return None
        self.outcome = found
        return found.reason

    def _take(self, fraction: float, loss: float, now: float) -> None:
        ceiling = self._bounds.ceiling
        self._bad = 0 if math.isfinite(loss) else self._bad + 1
        self._points.append((fraction, loss))
        first = next((y for _, y in self._points if math.isfinite(y)), math.inf)
        is_high = ceiling is not None and math.isfinite(loss) and loss > max(ceiling, first)
        self._high = self._high + 1 if is_high else 0
        self._pulse.beat(now, fraction)

    def _curve(self) -> StoppedEarly | None:
        """What the looks that are due now say."""
        reached = self._points[-1][0] if self._points else 0.0
        due = sum(look.fraction <= reached for look in self._bounds.looks)
        if due == self._looks_taken or self.spared is not None:
            return None
        self._looks_taken = due
        return self._bounds.given_up(Curve.of(self._points))

    def _trouble(self, now: float) -> tuple[str, str] | None:
        """What is amiss, for people, and what it has in common with others of its kind."""
        where = f"at {self._points[-1][0]:.0%} of its budget" if self._points else "before its first point"
        if self._bad >= STEADY or self._printed.bad_losses >= STEADY:
            return f"its loss was no number any more {where}", "loss is no number"
        if self._high >= STEADY:
            return f"its loss had diverged to {self._points[-1][1]:.4g} {where}", "loss diverged"
        if self._hangs_without_memory(now):
            return f"memory ran out {where}, and it hung on without a word", "out of memory"
        return self._standstill(now, where)

    def _hangs_without_memory(self, now: float) -> bool:
        if not self._printed.out_of_memory:
            return False
        signs = self._printed.pieces + len(self._points)
        if signs != self._said:
            self._said, self._silent_since = signs, now
        return now - self._silent_since >= SILENT_S

    def _standstill(self, now: float, where: str) -> tuple[str, str] | None:
        pulse, usual = self._pulse, self._bounds.usual_s or 0.0
        if pulse.last is None or pulse.last[1] >= TRAINED:
            return None
        quiet = now - pulse.last[0]
        if quiet > max(STALL_S, STALL_GAPS * pulse.gap_s, STALL_SHARE * usual):
            return f"it stood still for {quiet:.0f} s {where}", "no progress"
        total = pulse.total_s(now)
        most = min(self._limit_s, SLOW * usual or math.inf)
        if total is not None and now > max(PATIENCE_S, usual) and total > most and not self._crowded():
            whose = "its limit" if most == self._limit_s else f"{SLOW:.0f} times what the champion takes"
            return f"at its pace it would have run for more than {most / 60:.3g} minutes, {whose}", "too slow"
        return None
