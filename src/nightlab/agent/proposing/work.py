"""What goes on beside the loop while an idea is being had, and the thinking that is made of such steps.

A thinking is a generator. It yields what has to be waited for, a `Work`, and goes on in the loop's own thread when that
is over, with the history as it then stands; its return value is the answer. Nothing but a work's own inside happens in
another thread or process.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol

from nightlab.types import Answer


class Work(Protocol):
    """Something slow."""

    def is_over(self) -> bool:
        """Whether it is over, by itself or at its limit; returns at once."""
        ...

    def cancel(self) -> None:
        """End it now, with all that belongs to it."""
        ...


class Pause:
    """Time that has to pass.

    Args:
        seconds: how long.
        clock: the lab's, UTC seconds since the epoch.
    """

    def __init__(self, seconds: float, clock: Callable[[], float]) -> None:
        self._until, self._clock = clock() + seconds, clock

    def is_over(self) -> bool:
        return self._clock() >= self._until

    def cancel(self) -> None:
        """There is nothing to end."""


class Steps:
    """A thinking (`types.Thinking`) in steps: a generator of works, whose return value is the answer."""

    def __init__(self, steps: Generator[Work, None, Answer]) -> None:
        self._steps = steps
        self._work: Work | None = None

    def poll(self) -> Answer | None:
        """Go on as far as is possible without waiting; the answer, once there is one."""
        while self._work is None or self._work.is_over():
            try:
                self._work = next(self._steps)
            except StopIteration as end:
                answer: Answer = end.value
                return answer
        return None

    def cancel(self) -> None:
        """End the work under way, and let the steps write down what it has cost so far."""
        if self._work is not None:
            self._work.cancel()
        self._steps.close()
