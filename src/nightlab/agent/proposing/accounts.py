"""What proposers have cost and how they fare, as the ledger has it: who may be asked now. Pure.

Every answer is a function of the history, so that a night that was killed goes on with the same accounts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from nightlab.config import ModelSettings
from nightlab.history import Consultation, ExperimentState, History
from nightlab.types import Consulted, Crashed, Decision, ExperimentId

TRIES = 2  # repairs of one idea: an edit that does not fit, or a crash
FAILURES = 3
"""Fruitless calls in a row from which on a proposer rests. One thought alone can fail that often (an edit and its two
repairs, a request and its two retries), so that with fewer a single bad thought would count as a broken proposer."""

REST = 3
"""Experiments for which it rests then, and for as many more with each further failure: a server that is restarted is
missed for a few ideas, and a dead one is asked again ever more rarely."""

LONGEST = 24  # experiments that it rests at most: some two hours of the five-minute recipe
GIVEN_UP = 12  # failures in a row, after which one that has nobody to take over is not waited for any longer

_ERROR = re.compile(r"^(?:[\w.]+\.)?(?P<name>[A-Z]\w*(?:Error|Exception))\b")
_NO_SLIP = re.compile(r"(?i)memory|FloatingPoint|\bnan\b|\binf\b|diverge|KeyboardInterrupt")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What models have used in one night."""

    tokens: int = 0
    money: float = 0.0


def tonight(history: History) -> list[Consultation]:
    """The consultations of the night that goes on, oldest first."""
    night = history.night
    if night is None:
        return []
    return [call for call in history.consulted if call.night == night.began.night]


def spent(history: History) -> Spent:
    """What this night's calls have used so far, all models together."""
    calls = tonight(history)
    return Spent(
        tokens=sum(call.said.tokens_in + call.said.tokens_out for call in calls),
        money=sum(call.said.money for call in calls),
    )


def price(settings: ModelSettings, tokens_in: int, tokens_out: int) -> float:
    """What a call costs at the lab's prices."""
    return (tokens_in * settings.price_in + tokens_out * settings.price_out) / 1e6


def fits(settings: ModelSettings, used: Spent, tokens_in: int, tokens_out: int) -> bool:
    """Whether a call that may use so many tokens stays within the night's caps, whatever it is answered."""
    if used.tokens + tokens_in + tokens_out > settings.max_tokens:
        return False
    most = settings.max_cost
    return most is None or used.money + price(settings, tokens_in, tokens_out) <= most


def failures(history: History, proposer: str) -> list[Consultation]:
    """Its fruitless calls of this night since its last idea, oldest first."""
    found: list[Consultation] = []
    for call in reversed(tonight(history)):
        if call.said.proposer == proposer:
            if call.experiment is not None:
                break
            if call.said.failure and not call.said.cut_off:
                found.append(call)
    return found[::-1]


def rests(history: History, proposer: str) -> int:
    """For how many more experiments a proposer is not asked; 0: it may be."""
    failed = failures(history, proposer)
    if len(failed) < FAILURES:
        return 0
    length = min(REST * (len(failed) - FAILURES + 1), LONGEST)
    return max(0, failed[-1].after + length - len(history.experiments))


def to_repair(history: History, base: ExperimentId, proposer: str) -> ExperimentState | None:
    """Its latest idea of this night that crashed by a slip and is to be mended: on this very base, and not too often.

    A slip is an exception in the program, other than one that says that memory or numbers gave out.
    """
    night = history.night
    ours = [
        state
        for state in history.line_of(base)
        if night is not None and state.night == night.began.night and state.experiment.plan.proposer == proposer
    ]
    mended = {state.experiment.plan.repairs for state in ours}
    for state in reversed(ours):
        experiment, verdict = state.experiment, state.verdict
        if verdict is None or verdict.decision is not Decision.CRASH or experiment.parent != base:
            continue
        if experiment.id in mended or not _slipped(state) or _generation(history, state) >= TRIES:
            continue
        tried = [c for c in tonight(history) if c.said.proposer == proposer and c.after >= state.number]
        if sum(_is_try(call.said) for call in tried) < TRIES:
            return state
    return None


def _is_try(said: Consulted) -> bool:
    return said.purpose in (REPAIR, AGENT_REPAIR) and not said.cut_off


def _slipped(state: ExperimentState) -> bool:
    """Whether its first run ended in an error of the program itself."""
    first = state.runs[0].outcome if state.runs else None
    if not isinstance(first, Crashed) or (first.exit_code or 0) <= 0:
        return False
    return _ERROR.match(first.summary) is not None and _NO_SLIP.search(first.summary) is None


def _generation(history: History, state: ExperimentState) -> int:
    """How many repairs lie behind it already."""
    count = 0
    before = state.experiment.plan.repairs
    while before is not None and before in history.experiments and count < TRIES:
        count += 1
        before = history.state(before).experiment.plan.repairs
    return count


IDEAS, EDIT, MEND, REPAIR = "ideas", "edit", "mend", "repair"
AGENT, AGENT_REPAIR = "agent", "agent repair"
"""What a consultation was for (`Consulted.purpose`)."""
