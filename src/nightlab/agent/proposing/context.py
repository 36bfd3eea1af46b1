"""What a model or an agent is told of the lab: compact, bounded, by ids; what others wrote is quoted as data.

Everything that came from a run's output, a model or another person stands behind `| ` at the beginning of its line, in
a block that says what that means. Control characters are gone and lengths are bounded, so that no quoted text can leave
its line, and no history can crowd out the source.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from nightlab.config import Settings
from nightlab.history import ExperimentState, History
from nightlab.report.text import clean, plain
from nightlab.search.archive import archive, is_idea
from nightlab.search.claims_in_words import in_words
from nightlab.search.conjectures import conjectures
from nightlab.search.forecasts import steering
from nightlab.search.niches import Survey
from nightlab.search.reviews import reviews
from nightlab.types import Conjecture, Crashed, Direction, ExperimentId, Files, Plan

MOST = 12_000  # characters of facts about the lab: some 3,000 tokens, which the smallest local models still hold
SOURCE = 60_000  # characters of editable source that a model is shown: 15,000 tokens
RECENT = 12  # experiments
CLAIMS = 8  # conjectures, besides those that the plan cites
CRASHES = 5  # no-fly patterns
REVIEWED = 4  # latest reviews
TAIL = 20  # lines of a crash's output
WIDE = 200  # characters of a quoted line

QUOTED = "| "


def quoted(lines: Iterable[str]) -> str:
    """Text from outside, as data: each line behind a mark that nothing in it can forge."""
    return "\n".join(QUOTED + plain(line, WIDE) for line in lines)


def facts(history: History, settings: Settings, base: ExperimentId, survey: Survey | None = None) -> str:
    """The lab in brief: what counts, what is best, what was tried, what is believed, what crashes.

    Args:
        history: folded up to now.
        settings: the lab.
        base: the experiment that an idea is to change.
        survey: niches that were reckoned already, of the same history.
    """
    survey = survey or Survey(history)
    parts = [
        _rules(settings),
        _champion(history, settings, base),
        _block("Tried lately, newest first (experiment, verdict, gain on its champion):", _tried(history, base)),
        _block("What was learnt from the latest:", _reviewed(history, settings, survey)),
        _block("Conjectures of this lab, by id:", _claims(history, base, survey)),
        _block("These crashed on this very base; do not do them again:", _crashes(history, base, survey)),
    ]
    text = "\n\n".join(part for part in parts if part)
    return text if len(text) <= MOST else text[: MOST - 1].rpartition("\n")[0] + "\n…"


def task(history: History, base: ExperimentId, plan: Plan, survey: Survey | None = None) -> str:
    """What is asked for: emitter, brief, niche and phase of a plan, with the claims that it cites."""
    claims = {claim.id: claim for claim in conjectures(history, base, survey)} if plan.cites else {}
    lines = [
        f"Way of proposing: {plan.emitter}. {plan.brief}",
        f"Phase of the search: {plan.phase or 'unknown'}.",
        f"Kind of change wanted: {plan.niche.partition('/')[0]}." if plan.niche else "",
        *(f"Have in mind {in_words(claims[name])}" for name in plan.cites if name in claims),
    ]
    return "\n".join(plain(line, 600) for line in lines if line)


def source(files: Files, most: int = SOURCE) -> str:
    """The editable files in fences, each under its name; what does not fit is left out, and said to be."""
    parts = []
    for path in sorted(files):
        text = clean(files[path])
        shown = text if len(text) <= most else text[:most].rpartition("\n")[0]
        most -= len(shown)
        left = "" if shown == text else f"\n(the last {len(text) - len(shown):,} characters are not shown)"
        parts.append(f"{path}\n```\n{shown.rstrip()}\n```{left}")
    return "\n\n".join(parts)


def crash(state: ExperimentState) -> str:
    """What a crashed experiment said, quoted."""
    ended = next((run.outcome for run in state.runs if isinstance(run.outcome, Crashed)), None)
    return quoted([] if ended is None else [ended.summary, *ended.tail[-TAIL:]])


def listed(names: Sequence[str]) -> str:
    """Paths or patterns in a row."""
    return ", ".join(plain(name, 80) for name in names) or "none"


# --- parts ------------------------------------------------------------------------------------------------------


def _block(title: str, lines: Sequence[str]) -> str:
    """Quoted lines under a title; empty without lines."""
    return f"{title}\n{quoted(lines)}" if lines else ""


def _rules(settings: Settings) -> str:
    metric = settings.metric
    way = "lower" if metric.direction is Direction.MINIMIZE else "higher"
    return "\n".join(
        (
            f"Metric: {plain(metric.name, 60)}, {way} is better.",
            f"One run: `{plain(settings.command, 200)}`, ended after {settings.budget.timeout_minutes:g} minutes.",
            f"Editable files: {listed(settings.editable)}. No other file may change.",
            f"Protected files, which a run must leave as they are: {listed(settings.protected)}.",
            "No new dependency, no network, nothing that reads the evaluation's answers, no change of the seed.",
        )
    )


def _champion(history: History, settings: Settings, base: ExperimentId) -> str:
    state = history.state(base)
    values = steering(state)
    level = f"{_number(sum(values) / len(values))} over {len(values)} runs" if values else "not measured yet"
    walls = [r.usage.wall_s for r in state.runs if r.usage is not None and r.value is not None]
    took = f", {sorted(walls)[len(walls) // 2]:.0f} s a run" if walls else ""
    return f"Champion, which the idea changes: {base}, {plain(settings.metric.name, 60)} {level}{took}."


def _tried(history: History, base: ExperimentId) -> list[str]:
    """The line's latest ideas, one line each."""
    chain = history.made_of(base)
    ideas = [state for state in history.line_of(base) if is_idea(state.experiment)]
    return [_one(state, is_kept=state.experiment.id in chain) for state in reversed(ideas[-RECENT:])]


def _one(state: ExperimentState, *, is_kept: bool) -> str:
    experiment, verdict = state.experiment, state.verdict
    text = plain(experiment.description, 110)
    if verdict is None:
        return f"{experiment.id}: {text}: under way"
    gain = ""
    if verdict.gain is not None and verdict.low is not None and verdict.high is not None:
        gain = f", {verdict.gain:+.3g} ({verdict.low:+.3g} to {verdict.high:+.3g})"
    part = ", part of the champion" if is_kept else ""
    return f"{experiment.id}: {text}: {verdict.decision.value}{gain}{part}"


def _reviewed(history: History, settings: Settings, survey: Survey) -> list[str]:
    found = list(reviews(history, settings, survey))[-REVIEWED:]
    return [
        f"{review.experiment} ({review.niche}): {plain(review.summary, 90)}; {review.recommendation}"
        + (f"; crashed: {plain(review.crash, 60)}" if review.crash else "")
        for review in reversed(found)
    ]


def _claims(history: History, base: ExperimentId, survey: Survey) -> list[str]:
    found: list[Conjecture] = [c for c in conjectures(history, base, survey) if not c.has_expired and not c.is_no_fly]
    return [in_words(claim) for claim in found[:CLAIMS]]


def _crashes(history: History, base: ExperimentId, survey: Survey) -> list[str]:
    active = [pattern for pattern in archive(history, base, survey).no_fly if not pattern.has_expired]
    return [f"{plain(p.change, 80)}: {plain(p.signature, 80)} ({p.example})" for p in active[:CRASHES]]


def _number(value: float) -> str:
    return f"{value:.6g}" if math.isfinite(value) else "no number"
