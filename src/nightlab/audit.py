"""Kept changes looked at again: what each link of the chain is worth now, and which gains are discoveries.

Nothing of this is stored: it is worked out anew from the ledger. It steers nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from nightlab import ablation, judging
from nightlab.config import Settings
from nightlab.history import ExperimentState, History
from nightlab.judge import discoveries, model, race
from nightlab.types import Decision, ExperimentId, NightId, Verdict

IN_DOUBT = 0.5  # probability below which a link is held for noise by now


class Worth(StrEnum):
    """What is known of a link of the chain."""

    KEPT = "kept"
    EARNS = "earns its place"  # leaving it out was clearly worse
    REMOVED = "dead weight, taken out"
    DOUBTFUL = "no longer likely better"
    REMOVAL = "removal"  # the link itself takes an earlier change out
    BY_HAND = "by hand"  # somebody's decision, no race


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """An idea as a hypothesis of the strict test: it is a discovery if `e_value` reaches `needed`."""

    experiment: ExperimentId
    champion: ExperimentId
    place: int  # in the order in which the ideas of this line were decided, from 1
    pairs: int  # of runs side by side with its champion
    e_value: float
    needed: float
    passed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Link:
    """A step of the champion's chain as it is known now."""

    verdict: Verdict  # with which it was kept
    worth: Worth
    now: race.Comparison | None  # over its predecessor, from all runs that may steer; None: the noise is not known
    removal: Verdict | None  # the champion without it, against the champion: the latest verdict that is final
    removed_by: ExperimentId | None
    discovery: Discovery | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeps:
    """Changes that the race has kept, and how many of them are expected to be noise: the sum of 1 - P(better)."""

    kept: int
    expected_false: float


def keeps(history: History, night: NightId | None = None) -> Keeps:
    """Of all nights, or of the ideas of one."""
    doubts = [
        1.0 - verdict.probability
        for verdict in history.promotions
        if verdict.probability is not None
        and not ablation.is_removal(history.state(verdict.experiment).experiment)
        and (night is None or history.state(verdict.experiment).night == night)
    ]
    return Keeps(kept=len(doubts), expected_false=sum(doubts, 0.0))


def chain(history: History, settings: Settings, found: dict[ExperimentId, Discovery] | None = None) -> list[Link]:
    """The links of the latest night's chain, oldest first. `found`: the `strict_test`, if it is worked out already."""
    night = history.night
    links = history.links(night.began.baseline) if night is not None else []
    if not links:
        return []
    found = strict_test(history, settings) if found is None else found
    rows = judging.rows(history, settings)
    gone = ablation.removed(history, links)
    return [
        _link(history, settings, verdict, rows, gone.get(verdict.experiment), found.get(verdict.experiment))
        for verdict in links
    ]


def _link(
    history: History,
    settings: Settings,
    verdict: Verdict,
    rows: list[model.Row],
    removed_by: ExperimentId | None,
    discovery: Discovery | None,
) -> Link:
    state = history.state(verdict.experiment)
    arms = {row.arm for row in rows}
    measured = {verdict.experiment, verdict.champion} <= arms
    now = race.standing(verdict.experiment, verdict.champion, rows, settings.judge) if measured else None
    removal = _removal(history, verdict.experiment)
    worth = Worth.KEPT
    if ablation.is_removal(state.experiment):
        worth = Worth.REMOVAL if verdict.probability is not None else Worth.BY_HAND
    elif verdict.probability is None:
        worth = Worth.BY_HAND
    elif removed_by is not None:
        worth = Worth.REMOVED
    elif removal is not None and removal.high is not None and removal.high < 0.0:
        worth = Worth.EARNS
    elif now is not None and now.probability < IN_DOUBT:
        worth = Worth.DOUBTFUL
    return Link(verdict=verdict, worth=worth, now=now, removal=removal, removed_by=removed_by, discovery=discovery)


def _removal(history: History, link: ExperimentId) -> Verdict | None:
    """What the latest race of the champion without that link came to."""
    verdicts = [
        state.verdict
        for state in history.experiments.values()
        if state.experiment.plan.without == link and state.verdict and state.verdict.decision.is_final
    ]
    told = [verdict for verdict in verdicts if verdict.gain is not None]
    return told[-1] if told else None


# --- the strict test --------------------------------------------------------------------------------------------


def strict_test(history: History, settings: Settings) -> dict[ExperimentId, Discovery]:
    """Every idea of the latest night's line that the race has looked at, with its place among all that were proposed.

    An idea has its place from the moment it is proposed, so that no later verdict moves another one's level. Final
    runs count: what chose nothing is evidence all the same. Runs of two nights are never side by side, since hours lie
    between them.
    """
    if history.night is None:
        return {}
    runs = discoveries.SideBySide(_rows(history, settings))
    ideas = [s for s in history.line if s.experiment.parent is not None and not ablation.is_removal(s.experiment)]
    verdicts = [_by_race(state) for state in ideas]
    pairs = [
        discoveries.Pairs(gains=(), noise=()) if v is None else runs.pairs(v.experiment, v.champion) for v in verdicts
    ]
    values = [discoveries.e_value(found) for found in pairs]
    levels = discoveries.e_lond(values)
    return {
        verdict.experiment: Discovery(
            experiment=verdict.experiment,
            champion=verdict.champion,
            place=place,
            pairs=len(found.gains),
            e_value=value,
            needed=level.needed,
            passed=level.passed,
        )
        for place, (verdict, found, value, level) in enumerate(zip(verdicts, pairs, values, levels, strict=True), 1)
        if verdict is not None
    }


def _by_race(state: ExperimentState) -> Verdict | None:
    """The last verdict for which runs were compared; a promotion by the race before anything that came after it."""
    told = [v for v in state.verdicts if v.probability is not None]
    kept = [v for v in told if v.decision is Decision.KEEP]
    compared = kept or told
    return compared[-1] if compared else None


def _rows(history: History, settings: Settings) -> list[model.Row]:
    """Every finished run of the line, in the order of time."""
    return sorted(judging.rows(history, settings, final=None), key=lambda row: row.slot)
