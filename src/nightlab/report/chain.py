"""The chain of champions in words: what each kept change is worth now, how many may be noise, which are discoveries."""

from __future__ import annotations

from nightlab.judge.discoveries import FALSE_SHARE
from nightlab.report.nouns import ChainLink, LabSummary
from nightlab.report.text import markdown
from nightlab.report.words import chance, count, decimals, signed

_SHORT = 80


def noise_in_words(lab: LabSummary) -> list[str]:
    """How many of the kept changes are expected to be noise: of the latest night, and of all if there are more."""
    lines: list[str] = []
    for keeps, when in ((lab.keeps_tonight, "of this night"), (lab.keeps, "over all nights")):
        if keeps.kept and (not lines or keeps != lab.keeps_tonight):
            about = share(keeps.expected_false)
            lines.append(f"Of {count(keeps.kept, 'kept change')} {when} {about} are expected to be noise.")
    return lines


def share(expected: float) -> str:
    """A number of false keeps as it is told: two digits, and no more precision than there is."""
    return f"about {expected:.2g}" if expected >= 0.001 else "fewer than 0.001"


def chain_lines(lab: LabSummary) -> list[str]:
    """The section of the report; nothing where nothing was kept."""
    if not lab.chain:
        return []
    lines = [
        "| # | change | gain when kept | gain now | chance of noise now | without it | worth |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for link in lab.chain:
        now = link.now
        cells = (
            str(link.number),
            markdown(link.description, _SHORT),
            _measure(link.gain, link.low, link.high),
            "-" if now is None else _measure(now.mean, now.low, now.high),
            "-" if now is None else chance(now.probability).replace("about ", "").replace(" chance", ""),
            _measure(link.without_gain, link.without_low, link.without_high),
            worth_in_words(link),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, "", *_notes(lab), "", strict_in_words(lab)]


def _notes(lab: LabSummary) -> list[str]:
    notes = ["Gains are over the champion before each; now means from all runs since."]
    if any(link.without_gain is not None for link in lab.chain):
        notes.append("Without it: the champion without this change against the champion, so that minus is a loss.")
    return [" ".join(notes)]


def worth_in_words(link: ChainLink) -> str:
    """What is known of a step in a few words."""
    if link.removed_by is not None:
        return f"{link.worth} by #{link.removed_by}"
    return f"{link.worth}; discovery" if _is_discovery(link) else link.worth


def _is_discovery(link: ChainLink) -> bool:
    return link.removed_by is None and link.discovery is not None and link.discovery.passed


def strict_in_words(lab: LabSummary) -> str:
    """Which kept changes may be claimed, and what that means."""
    found = [f"#{link.number}" for link in lab.chain if _is_discovery(link)]
    meaning = f"of all that this lab ever calls so, at most {100 * FALSE_SHARE:.0f} % are expected to be false"
    if not found:
        return f"No kept change is a discovery yet ({meaning}): good enough to build on, not to claim."
    named = "is a discovery" if len(found) == 1 else "are discoveries"
    return f"{', '.join(found)} {named} ({meaning}); what else is kept is good enough to build on, not to claim."


def _measure(gain: float | None, low: float | None, high: float | None) -> str:
    if gain is None:
        return "-"
    if low is None or high is None:
        return signed(gain, decimals(None, gain))
    digits = decimals(0.5 * (high - low), gain)
    return f"{signed(gain, digits)} ({signed(low, digits)} to {signed(high, digits)})"
