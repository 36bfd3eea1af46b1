"""The rival's end of the pipe: a package asks for runs, the benchmark delivers their values.

The packages are loops that run things; the benchmark wants to be asked what to run next. So nothing is turned inside
out: the package's own loop runs, and where it would start a training run it calls `Wire.value`, which answers the
benchmark's last event by what the package wants now and waits for that run's value.

One JSON object a line: `{"event": "candidate", "value": 0.99}` is answered by `{"answer": "rerun_champion"}`, and
`{"event": "begin"}` by `{"answer": "ok"}` at any time.
"""

from __future__ import annotations

import json
from typing import Literal, TextIO

Arm = Literal["baseline", "candidate", "champion"]

WANTED: dict[Arm, str] = {
    "baseline": "more_baseline",
    "candidate": "rerun_candidate",
    "champion": "rerun_champion",
}
AGAIN: dict[Arm, str] = {"baseline": "baseline", "candidate": "candidate_again", "champion": "champion_again"}


class NewNight(BaseException):  # as KeyboardInterrupt: it must pass through a package's `except Exception`
    """The benchmark has begun another night: leave the package's loop, wherever it is."""


class ProtocolError(Exception):
    """The benchmark told of another run than the one that the package had asked for."""


class Wire:
    def __init__(self, events: TextIO, answers: TextIO) -> None:
        self._events = events
        self._answers = answers
        self._owed = False  # an event has been told and not yet answered
        self._held: float | None = None

    def value(self, arm: Arm) -> float:
        """The value of the run that the package starts now.

        An idea always comes with its first run. Where a package runs the champion first, that value waits until the
        package runs the candidate.

        Raises:
            NewNight: the night is over.
            ProtocolError: told of a run that was not asked for.
        """
        if arm == "candidate" and self._held is not None:
            value, self._held = self._held, None
            return value
        if not self._owed and arm == "champion":
            self._held = self._next("candidate")
        if not self._owed:
            return self._next(arm)
        self.answer(WANTED[arm])
        return self._next(AGAIN[arm])

    def hold(self, value: float) -> None:
        """Let this value be the next that `value("candidate")` returns, without another run."""
        self._held = value

    def answer(self, text: str) -> None:
        """Answer the event that was told last."""
        assert self._owed, "nothing was asked"
        self._owed = False
        self.send({"answer": text})

    def begin(self) -> None:
        """Wait for the first night."""
        try:
            self._next("begin")
        except NewNight:
            return

    def send(self, message: dict[str, str | int | None]) -> None:
        print(json.dumps(message), file=self._answers, flush=True)

    def _next(self, expected: str) -> float:
        line = self._events.readline()
        if not line:  # the benchmark has gone
            raise SystemExit(0)
        message = json.loads(line)
        if message["event"] == "begin":
            self._owed, self._held = False, None
            self.send({"answer": "ok"})
            raise NewNight
        if message["event"] != expected:
            raise ProtocolError(f"told of a run {message['event']!r} where {expected!r} was asked for")
        self._owed = True
        return float(message["value"])
