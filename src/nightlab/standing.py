"""How far a kept run is proven, and how many runs of the lab's are lacking. Loads no numpy before there is something
to weigh.

A value that its author wrote down is a word, however good: the lab does not know its seed or its machine, so it is
never evidence in the race, and only the lab's own runs prove it. What is said of it meanwhile follows one rule:

1. Proven: the lab has kept it in a race, or a night began with it and its value is known from two seeds.
2. With runs of the lab's own, of it and of the proven champion: what the race reckons from them.
3. Else, where the noise is known and the champion has runs: the probability is what the judge would say if the author's
   value were one run on a seed that nobody shares. The runs needed are those after which the judge would keep it, if
   its value is right and new runs scatter around it as neighbouring runs of this lab do; the author's own run is none
   of them.
4. Else nobody can say. There is no probability, and the runs needed are the fewest that prove anything at all: two
   seeds of its own. Those of the starting point that it is compared with come on top, once per lab.

All of them are forecasts, and no promise.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from nightlab.config import Settings
from nightlab.ledger import Ledger
from nightlab.ledger.records import Record
from nightlab.memory import FEWEST, stand_of_lab
from nightlab.types import ExperimentId, Stand, Standing

if TYPE_CHECKING:
    from nightlab.history import History
    from nightlab.judge.model import Row

_BY_WORD = ExperimentId("its author's word")
_REMEMBERED = "stand "


def stand_of(ledger: Ledger, settings: Settings, record: Record, *, remember: bool = False) -> Stand:
    """How far a record is proven, by the rule above.

    Args:
        ledger: of the lab.
        settings: the lab.
        record: a run with a value, on record or about to be.
        remember: keep the answer in the ledger, which has to be open for writing, until there is new evidence.
    """
    known = stand_of_lab(ledger.records, record)
    if known.standing is Standing.PROVEN or record.value is None:
        return known
    evidence = ledger.records.evidence()
    if evidence is None:
        return known
    asked = f"{record.run} {record.value!r} {evidence} {settings.judge!r} {settings.metric.direction}"
    note = f"{_REMEMBERED}{hashlib.sha256(asked.encode()).hexdigest()}"
    told = ledger.note(note)
    if told is not None:
        return msgspec.json.decode(told, type=Stand)
    found = _weighed(ledger, settings, record, record.value)
    if remember:
        ledger.set_note(note, msgspec.json.encode(found).decode(), instead_of=_REMEMBERED)
    return found


def _weighed(ledger: Ledger, settings: Settings, record: Record, value: float) -> Stand:
    from nightlab import judging

    history = ledger.history(own=True, patches=False)
    rows = judging.rows(history, settings)
    name = ExperimentId(record.experiment) if record.experiment else None
    return weighed(history, settings, rows, name, settings.metric.direction.sign * value)


def weighed(history: History, settings: Settings, rows: Sequence[Row], name: ExperimentId | None, loss: float) -> Stand:
    """The standing of something unproven beside the proven champion: rules 2 to 4.

    Args:
        history: the lab's own.
        settings: the lab.
        rows: the judge's evidence (`judging.rows`).
        name: its experiment, if the lab knows it.
        loss: what its author says that it gave, as a loss; used where the lab has not run it.
    """
    from statistics import fmean

    from nightlab import decide, judging
    from nightlab.judge import model, planning, race

    champion, known = history.champion, {row.arm for row in rows}
    seeds = {row.seed for row in rows if row.arm == name}
    fewest = Stand(standing=Standing.PROVISIONAL, runs_needed=max(FEWEST - len(seeds), 1))
    if champion is None or champion == name or champion not in known:
        return fewest
    arm, evidence = name, list(rows)
    if arm is None or arm not in known:
        arm = _BY_WORD
        evidence += planning.made_up(rows, [(arm, loss)])
    judge = decide.thresholds(history, settings)
    prior = judging.prior(history, settings, list(rows))
    belief = model.posterior(arm, champion, evidence, judge, prior)
    if belief is None:
        return fewest
    if arm == _BY_WORD:
        gain = fmean(row.value for row in rows if row.arm == champion) - loss
        needed = planning.runs_until_kept(arm, champion, rows, gain, judge, prior, point=belief.point, fewest=FEWEST)
    else:
        needed = race.runs_needed(arm, champion, rows, judge, prior=prior)
    return Stand(standing=Standing.PROVISIONAL, probability=belief.better, runs_needed=needed)
