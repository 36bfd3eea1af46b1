"""Who had the ideas, what having them cost, and what came of it; shown where the search was not alone.

Money and tokens are as the ledger has them: what an endpoint counted, or what was reckoned from lengths where it did
not count; what an agent pays is not known here. A confirmed gain is a keep.
"""

from __future__ import annotations

from collections.abc import Iterable

from nightlab.history import Consultation, ExperimentState, History
from nightlab.report.nouns import ProposerLine
from nightlab.report.text import markdown
from nightlab.report.words import count, duration
from nightlab.search.credit import BUILT_IN, proposer_of
from nightlab.types import Decision

LATEST = 3  # failures that the report quotes
SHOWN = 5  # keeps that a row names


def proposer_lines(history: History) -> tuple[ProposerLine, ...]:
    """Each proposer's account over all nights, in the order of their first ideas; empty if only the search had any.

    Args:
        history: the lab's own.
    """
    ideas: dict[str, list[ExperimentState]] = {}
    calls: dict[str, list[Consultation]] = {}
    for state in history.experiments.values():
        if name := proposer_of(state):
            ideas.setdefault(name, []).append(state)
    for call in history.consulted:
        calls.setdefault(call.said.proposer, []).append(call)
    names = dict.fromkeys([*ideas, *calls])
    if set(names) <= {BUILT_IN}:
        return ()
    return tuple(_line(name, ideas.get(name, ()), calls.get(name, ())) for name in names)


def _line(name: str, ideas: Iterable[ExperimentState], calls: Iterable[Consultation]) -> ProposerLine:
    states, said = list(ideas), [call.said for call in calls]
    kept = [state for state in states if state.verdict is not None and state.verdict.decision is Decision.KEEP]
    runs = sum(1 for state in states for run in state.runs if run.run.purpose.steers)
    money, tokens = sum(one.money for one in said), sum(one.tokens_in + one.tokens_out for one in said)
    return ProposerLine(
        proposer=name,
        ideas=len(states),
        runs=runs,
        kept=len(kept),
        keeps=tuple(state.number for state in kept),
        gain=sum(state.verdict.gain or 0.0 for state in kept if state.verdict is not None),
        calls=len(said),
        failures=sum(bool(one.failure) and not one.cut_off for one in said),
        tokens_in=sum(one.tokens_in for one in said),
        tokens_out=sum(one.tokens_out for one in said),
        estimated=any(one.estimated for one in said if one.tokens_in or one.tokens_out),
        money=money,
        minutes=sum(one.seconds for one in said) / 60,
        money_per_run=money / runs if runs else None,
        money_per_keep=money / len(kept) if kept else None,
        tokens_per_run=tokens / runs if runs else None,
        tokens_per_keep=tokens / len(kept) if kept else None,
    )


def proposers_section(history: History) -> list[str]:
    """The report's section: one row each, the totals in a sentence, the latest failures."""
    lines = proposer_lines(history)
    if not lines:
        return []
    table = [
        "| proposer | ideas | kept | calls | failed | tokens | money | thinking | per run | per keep |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
        *(_row(line) for line in lines),
    ]
    failed = [call.said for call in history.consulted if call.said.failure and not call.said.cut_off]
    quoted = [f"- {markdown(f'{one.proposer}, {one.purpose}: {one.failure}', 200)}" for one in failed[-LATEST:]]
    legend = "Tokens are sent and answered, ~ where reckoned from lengths. Per run and per keep: money, else tokens."
    more = ["", f"{count(len(failed), 'call')} brought nothing, the last of them:", "", *quoted] if quoted else []
    return [*table, "", legend, *more]


def _row(line: ProposerLine) -> str:
    asked = line.calls > 0
    cells = (
        markdown(line.proposer, 60),
        str(line.ideas),
        f"{line.kept} ({', '.join(f'#{number}' for number in line.keeps[-SHOWN:])})" if line.kept else "0",
        str(line.calls) if asked else "-",
        str(line.failures) if asked else "-",
        _tokens(line.tokens_in + line.tokens_out, estimated=line.estimated),
        _money(line.money),
        duration(60 * line.minutes) if asked else "-",
        _each(line.money_per_run, line.tokens_per_run),
        _each(line.money_per_keep, line.tokens_per_keep),
    )
    return f"| {' | '.join(cells)} |"


def _each(money: float | None, tokens: float | None) -> str:
    if money:
        return _money(money)
    return _tokens(round(tokens), estimated=False) if tokens else "-"


def _money(value: float) -> str:
    """In the lab's money, which has no name."""
    return "-" if not value else f"{value:.2f}" if value >= 0.1 else f"{value:.2g}"


def _tokens(value: int, *, estimated: bool) -> str:
    return "-" if not value else f"{'~' if estimated else ''}{value:,}"
