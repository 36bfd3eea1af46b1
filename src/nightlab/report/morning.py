"""The morning report: what a person wants to know over coffee, then the tables that older scripts read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nightlab.config import Settings
from nightlab.errors import LedgerError
from nightlab.history import History
from nightlab.ledger.mirrors import Mirrors
from nightlab.ledger.records import Records
from nightlab.report.advice import advise
from nightlab.report.boards import Boards
from nightlab.report.chain import chain_lines, noise_in_words
from nightlab.report.early import in_words
from nightlab.report.figures import PROGRESS, addresses, draw_figures, fresh_figures
from nightlab.report.findings import SHOWN, Finding, Findings, find
from nightlab.report.knowledge import learnt_lines
from nightlab.report.levels import Levels
from nightlab.report.nouns import Champion, LabSummary
from nightlab.report.others import Others
from nightlab.report.page import page
from nightlab.report.proposers import proposers_section
from nightlab.report.text import code, markdown
from nightlab.report.words import ago, count, decimals, duration, gain_in_words, lacking, number, odds, signed
from nightlab.runner.files import write_atomic

LATEST = "latest"
MARKDOWN = "md"
_SHORT = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContents:
    """What the report says, for `nightlab report --json`."""

    findings: Findings
    next_steps: tuple[str, ...]


def write_report(
    history: History,
    records: Records,
    settings: Settings,
    *,
    now: float,
    since_hours: float = 16.0,
    branch: str | None = None,
    figures: bool = False,
    form: str = MARKDOWN,
) -> tuple[Path, ...]:
    """Write latest.md and the same under the moment's name, and the figures beside them if they are asked for.

    Args:
        history: the lab's own runs.
        records: all that is on record.
        settings: the lab.
        now: UTC seconds since the epoch.
        since_hours: length of the night that the report is about.
        branch: where promotions really go, if that is not the settings' branch.
        figures: whether to draw the figures. Without, those are shown that are as new as the newest event.
        form: md or html.

    Returns:
        The report's two names, and if figures were drawn progress.png and all others.

    Raises:
        LedgerError: the directory cannot be written.
    """
    place = Mirrors(settings.root).reports
    drawn: tuple[Path, ...] = ()
    paths = (place / f"{LATEST}.{form}", place / f"{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}.{form}")
    try:
        place.mkdir(parents=True, exist_ok=True)
        if figures:
            drawn = draw_figures(history, settings, place)
        shown = addresses() if figures else fresh_figures(place, history, records)
        report = render(history, records, settings, now, since_hours, branch=branch, figures=shown, form=form)
        for path in paths:
            write_atomic(path, report.encode("utf-8"))
    except OSError as exc:
        raise LedgerError(
            f"the report cannot be written into {place}: {exc.strerror}",
            hint="make it writable, or name another file with `nightlab report --output PATH`",
        ) from exc
    return (*paths, *drawn)


def render(
    history: History,
    records: Records,
    settings: Settings,
    now: float,
    since_hours: float = 16.0,
    *,
    branch: str | None = None,
    figures: Mapping[str, str] | None = None,
    form: str = MARKDOWN,
) -> str:
    """The report as markdown, or as one HTML page.

    Args:
        now: UTC seconds since the epoch.
        figures: address as seen from the report -> what it shows, of those to show; the progress chart is shown at
            the top.
    """
    start = now - 3600 * since_hours
    told = records.told(settings.metric.direction.sign)
    levels = Levels(history, settings, told=told)
    found = find(history, settings, now, since_hours, branch, told, levels)
    boards = Boards(history, records, settings, start)
    others = Others(records, settings, start)
    moment = datetime.fromtimestamp(now, UTC).isoformat(timespec="seconds")
    title = ["# Morning Report", "", f"Generated: {moment}", "", f"Window: last {since_hours:g} hours"]
    sections: list[tuple[str, Sequence[str]]] = [
        ("Headline", boards.headline(levels)),
        ("In Short", _in_short(found, now, figures or {})),
        ("Kept", _parted(_kept(found), others.kept())),
        ("The Chain", chain_lines(found.summary)),
        ("Not Proven Yet", [*_open(found), *others.near(boards.champion)]),
        ("What Was Tried", others.tried()),
        ("What Did Not Help", _worse(found)),
        ("What Failed", [*_failures(found), *others.failures()]),
        ("What To Do Next", [f"- {step}" for step in advise(found)]),
        ("Who Had The Ideas", proposers_section(history)),
        ("Figures", _figures(found, figures or {})),
        ("Decision Queue", boards.queue()),
        ("Champion Board", boards.board()),
        ("Best Lineages", boards.lineages()),
        ("Failure Clusters", boards.clusters()),
        ("Recent Ledger", boards.recent()),
        ("What The Search Has Learnt", learnt_lines(history)),
    ]
    lines = [*title]
    for heading, body in sections:
        if body:
            lines += ["", f"## {heading}", "", *body]
    text = "\n".join(lines) + "\n"
    return text if form == MARKDOWN else page(text)


def _parted(first: list[str], second: list[str]) -> list[str]:
    """Two blocks with a line between them, if there are two."""
    return [*first, "", *second] if first and second else first or second


# --- in short ---------------------------------------------------------------------------------------------------


def _in_short(found: Findings, now: float, figures: Mapping[str, str]) -> list[str]:
    lab = found.summary
    lines = [f"**{_verdict_of_the_night(lab)}**"]
    facts = _facts(found, now)
    if facts:
        lines += ["", *(f"- {fact}" for fact in facts)]
    if PROGRESS in figures and lab.runs.total:
        lines += ["", f"![{figures[PROGRESS]}]({PROGRESS})"]
    return lines


def _figures(found: Findings, figures: Mapping[str, str]) -> list[str]:
    """The others, each in a paragraph of its own."""
    others = [(address, words) for address, words in figures.items() if address != PROGRESS]
    if not others or not found.summary.runs.total:
        return []
    return "\n\n".join(f"![{words}]({address})" for address, words in others).split("\n")


def _verdict_of_the_night(lab: LabSummary) -> str:
    """The one sentence to read if no other is."""
    champion, metric = lab.champion, markdown(lab.metric.name, 40)
    if lab.runs.total == 0 and champion is None:
        return "Nothing has run yet."
    if champion is None:
        return "Nothing is known to be good yet: no baseline has run and no run was kept."
    if champion.mean is None:
        failed = lab.runs.total - lab.runs.finished - lab.runs.running
        return "The baseline has given no result." if failed else "The baseline is running; nothing is known yet."
    if lab.night is None:
        what = f"{code(champion.name)} {markdown(champion.description, 80)}"
        return (
            f"Best so far by its author's word: {what}, {metric} {_level(champion)}. Provisional: one run, not proven."
        )
    if not lab.promotions:
        return _without_promotion(lab, f"{metric} {_level(champion)}")
    gain = champion.gain_on_fresh_seeds or champion.gain_in_search
    words = (
        gain_in_words(gain.mean, gain.low, gain.high, gain.probability, "the baseline")
        if gain
        else f"{_level(champion)}"
    )
    return f"#{champion.number} {markdown(champion.description, 80)}: {metric} {words}."


def _without_promotion(lab: LabSummary, level: str) -> str:
    if lab.ideas.tried and lab.ideas.crashed == lab.ideas.tried:
        return f"All {count(lab.ideas.tried, 'idea')} crashed; the baseline stands at {level}."
    if lab.ideas.tried == lab.ideas.undecided:
        return f"The baseline stands at {level}; no idea is decided yet."
    return f"No idea was proven better than the baseline ({level}); {count(lab.ideas.tried, 'idea')} tried."


def _level(arm: Champion) -> str:
    digits = decimals(None if arm.low is None or arm.high is None else 0.5 * (arm.high - arm.low), arm.mean)
    if arm.low is None:
        return number(arm.mean, digits)
    return f"{number(arm.mean, digits)} (95 % interval {number(arm.low, digits)} to {number(arm.high, digits)})"


def _facts(found: Findings, now: float) -> list[str]:
    lab = found.summary
    facts = []
    champion = lab.champion
    if champion is not None and lab.promotions:
        fresh = champion.gain_on_fresh_seeds
        if fresh is not None:
            facts.append(f"That is on {count(fresh.runs, 'fresh seed')} a side, which chose nothing.")
        else:
            facts.append("That is from the search itself, shrunk for having been chosen; fresh seeds have not run yet.")
        facts.append(
            f"Best now: {markdown(lab.metric.name, 40)} {_level(champion)} over {count(champion.runs, 'run')}, "
            f"{champion.standing}; the source is `{champion.commit[:7]}` on {code(lab.branch, 80)}."
        )
    if lab.provisional is not None:
        facts.append(
            f"Known by its author's word and not proven: {code(lab.provisional.name)} "
            f"{markdown(lab.provisional.description, 80)} at {_level_of(lab.provisional.mean)}; "
            f"{lacking(lab.provisional.runs_needed, lab.provisional.probability)}."
        )
    if lab.runs.imported:
        facts.append(f"{count(lab.runs.imported, 'run')} of other ledgers are remembered; none of them was run here.")
    facts += _night_facts(found, now)
    if early := in_words(lab.early):
        facts.append(early)
    if lab.noise is not None:
        digits = decimals(lab.noise.sd, None)
        facts.append(
            f"One run varies by ±{number(lab.noise.sd, digits)} (one standard deviation, from "
            f"{count(lab.noise.runs, 'repeated run')}): smaller differences mean nothing alone."
        )
    return [*facts, *noise_in_words(lab)]


def _level_of(value: float | None) -> str:
    return number(value, decimals(None, value))


def _night_facts(found: Findings, now: float) -> list[str]:
    lab, night = found.summary, found.summary.night
    facts = []
    if night is not None:
        target = f" of {night.ideas_target}" if night.ideas_target is not None else ""
        state = f"ended: {markdown(night.because)}" if night.state == "ended" else "not over yet"
        facts.append(
            f"Night {night.number} {state}. {night.ideas_done}{target} ideas in "
            f"{duration(60 * night.elapsed_minutes)}; all in all {count(lab.cost.runs, 'run')}, "
            f"{duration(60 * lab.cost.wall_minutes)} of running."
        )
    if found.doubts:
        why = "; ".join(f"{doubt.why} ({doubt.runs})" for doubt in found.doubts)
        total = sum(doubt.runs for doubt in found.doubts)
        facts.append(f"{count(total, 'run')} not believed, counted as no try and made again: {markdown(why, 300)}.")
    if not found.tried and found.last_activity is not None and lab.ideas.tried:
        gone = ago(now - found.last_activity)
        facts.append(f"Nothing new in the last {found.since_hours:g} hours; the last run ended {gone}.")
    return facts


# --- what was learned -------------------------------------------------------------------------------------------


def _kept(found: Findings) -> list[str]:
    if not found.kept:
        return []
    lines = ["| # | idea | gain | 95 % interval | chance of noise | runs |", "| --- | --- | --- | --- | --- | --- |"]
    for one in found.kept:
        noise = "-" if one.probability is None else odds(one.probability)
        lines.append(
            f"| {one.number} | {markdown(one.description, _SHORT)} | {_gain(one)} | {_interval(one)} | {noise} "
            f"| {one.runs} |"
        )
    return [*lines, "", "Each gain is over the champion of its moment."]


def _digits(one: Finding) -> int:
    half = None if one.low is None or one.high is None else 0.5 * (one.high - one.low)
    return decimals(half, one.gain)


def _gain(one: Finding) -> str:
    return signed(one.gain, _digits(one))


def _interval(one: Finding) -> str:
    if one.low is None or one.high is None:
        return "unknown"
    return f"{signed(one.low, _digits(one))} to {signed(one.high, _digits(one))}"


def _open(found: Findings) -> list[str]:
    lines = []
    for one in found.open[:SHOWN]:
        chance = "its chance is unknown" if one.probability is None else f"{one.probability:.0%} likely better"
        if not one.against_is_champion:
            needs = f"it ran against #{one.against}, since replaced: worth another try on the champion"
        elif one.runs_needed:
            needs = f"needs {count(one.runs_needed, 'more run')} if the estimate is right"
        else:
            needs = "more runs than are worth it would be needed"
        lines.append(
            f"- #{one.number} {markdown(one.description, _SHORT)}: {_gain(one)} ({_interval(one)}), {chance}; {needs}."
        )
    return lines


def _worse(found: Findings) -> list[str]:
    lines = [
        f"- #{one.number} {markdown(one.description, _SHORT)}: {_gain(one)} ({_interval(one)})" for one in found.worse
    ]
    if lines:
        lines += ["", "Clearly worse than the champion of their moment, the largest effects first."]
    return lines


def _failures(found: Findings) -> list[str]:
    lines = []
    for failure in found.failures[:SHOWN]:
        numbers = ", ".join(f"#{n}" for n in failure.experiments[:SHOWN])
        more = len(failure.experiments) - SHOWN
        rest = f" and {count(more, 'other')}" if more > 0 else ""
        lines.append(f"- {count(failure.runs, 'run')}: {code(failure.what, 160)} ({numbers}{rest})")
    if len(found.failures) > SHOWN:
        lines.append(f"- and {count(len(found.failures) - SHOWN, 'other kind')} of failure")
    return lines
