"""How far a kept run is proven, and how many runs of the lab's are lacking. Loads no numpy before there is something
to weigh.

A value that its author wrote down is a word, however good: the lab does not know its seed or its machine, so it is
never evidence in the race, and only the lab's own runs prove it. What is said of it meanwhile follows one rule:

1. Proven: the lab has kept it in a race, or a night began with it and its value is known from two seeds.
2. With runs of the lab's own, of it and of the proven champion: what the race reckons from them.
3. Else, where the noise is known and the champion has runs: its author's value is taken for one run on a seed that
   nobody else has, which gives the probability. The race counts the lab's own runs alone, so one more run than it asks
   for beyond that one is needed: the author's run has to be made again.
4. Else nobody can say. There is no probability, and the runs needed are the fewest that prove anything at all: two
   seeds of its own. Those of the starting point that it is compared with come on top, once per lab.

"Needed" means: if its value is right. It is a forecast, as `judge.race.runs_needed` says, and no promise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nightlab.config import Settings
from nightlab.ledger import Ledger
from nightlab.ledger.records import Record
from nightlab.memory import FEWEST, stand_of_lab
from nightlab.types import ExperimentId, Stand, Standing

if TYPE_CHECKING:
    from nightlab.history import History
    from nightlab.judge.model import Row

_BY_WORD = ExperimentId("its author's word")
_NO_SEED = -1  # of a run whose seed nobody shares


def stand_of(ledger: Ledger, settings: Settings, record: Record) -> Stand:
    """How far a record is proven, by the rule above.

    Args:
        ledger: of the lab.
        settings: the lab.
        record: a run with a value, on record or about to be.
    """
    known = stand_of_lab(ledger.records, record)
    if known.standing is Standing.PROVEN or record.value is None or not ledger.records.has_evidence():
        return known
    from nightlab import decide

    history = ledger.history(own=True, patches=False)
    rows = decide.rows(history, settings)
    name = ExperimentId(record.experiment) if record.experiment else None
    return weighed(history, settings, rows, name, settings.metric.direction.sign * record.value)


def weighed(history: History, settings: Settings, rows: Sequence[Row], name: ExperimentId | None, loss: float) -> Stand:
    """The standing of something unproven beside the proven champion: rules 2 to 4.

    Args:
        history: the lab's own.
        settings: the lab.
        rows: the judge's evidence (`decide.rows`).
        name: its experiment, if the lab knows it.
        loss: what its author says that it gave, as a loss; used where the lab has not run it.
    """
    from nightlab import decide
    from nightlab.judge import model, race

    champion, known = history.champion, {row.arm for row in rows}
    seeds = {row.seed for row in rows if row.arm == name}
    fewest = Stand(standing=Standing.PROVISIONAL, runs_needed=max(FEWEST - len(seeds), 1))
    if champion is None or champion == name or champion not in known:
        return fewest
    arm = name if name in known and name is not None else _BY_WORD
    evidence = [*rows]
    if arm == _BY_WORD:
        evidence.append(model.Row(arm=arm, seed=_NO_SEED, slot=len(rows), value=loss))
    judge = decide.thresholds(history, settings)
    belief = model.posterior(arm, champion, evidence, judge)
    if belief is None:
        return fewest
    needed = race.runs_needed(arm, champion, evidence, judge)
    if needed is not None and arm == _BY_WORD:
        needed += 1
    return Stand(standing=Standing.PROVISIONAL, probability=belief.better, runs_needed=needed)
