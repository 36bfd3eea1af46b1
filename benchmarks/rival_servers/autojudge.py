"""autojudge 1.0.1: a verdict on the newest row of results.tsv. Driven: `auto_judge.analyze`, all its command calls.

Its noise floor is the standard deviation of the steps between the last five kept values, from the third keep on;
before that, fixed percentages. A verdict is advice, so what a person makes of it is the variant:

exit-code    the README's script: commit when the command exits with 0, which is every verdict but DISCARD and CRASH
keep-only    KEEP and STRONG_KEEP are kept, everything else is discarded
suggestions  MARGINAL is kept too ("consider keeping"), and RETEST runs the idea again ("run the experiment again to
             verify"); the second run is judged as a row of its own, and a second RETEST is a discard, for the package
             names no end to retesting
"""

from __future__ import annotations

from pathlib import Path

import auto_judge
from auto_judge import Experiment, Status, Verdict

from benchmarks.rival_servers.wire import Wire

SURE = {Verdict.STRONG_KEEP, Verdict.KEEP}
KEPT = {
    "exit-code": SURE | {Verdict.MARGINAL, Verdict.RETEST},
    "keep-only": SURE,
    "suggestions": SURE | {Verdict.MARGINAL},
}


class Player:
    baseline_runs = 1

    def __init__(self, wire: Wire, variant: str) -> None:
        self._wire = wire
        self._kept = KEPT[variant]
        self._retests = variant == "suggestions"
        self._rows: list[Experiment] = []

    def play(self) -> None:
        self._rows = []
        self._judge(self._wire.value("baseline"))
        self._wire.answer("ok")
        while True:
            verdict = self._judge(self._wire.value("candidate"))
            if verdict is Verdict.RETEST and self._retests:
                verdict = self._judge(self._wire.value("candidate"))
            self._wire.answer("keep" if verdict in self._kept else "discard")

    def _judge(self, value: float) -> Verdict:
        """Append a row and judge it; a row that is not kept becomes a discard.

        While it is judged its status is `keep`, as the brief of autoresearch has an agent write for a better value (a
        worse one is discarded whatever its status), so that its own step counts in the noise floor. Other readings did
        not serve the package better in a world of the same figures as the reference world (200 nights each; judged as
        `discard`, three or five baseline rows as keeps, every better value recorded as a keep): none gained more than
        this one by more than a standard error, and none promoted less noise.
        """
        index = len(self._rows) + 1
        row = Experiment(index, f"{index:07x}", value, 1.0, Status.KEEP, "")
        verdict: Verdict = auto_judge.analyze([*self._rows, row]).value.verdict
        status = Status.KEEP if verdict in self._kept else Status.DISCARD
        self._rows.append(Experiment(index, row.commit, value, 1.0, status, ""))
        return verdict


def player(wire: Wire, scratch: Path, arguments: list[str]) -> Player:
    (variant,) = arguments
    return Player(wire, variant)
