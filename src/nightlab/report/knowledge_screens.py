"""The screens of `archive`, `conjectures` and `review`, as rich objects. Everything foreign goes through `text`."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nightlab.report import words
from nightlab.report.knowledge import ArchiveSheet, ConjectureLine, Named, ReviewSheet
from nightlab.report.text import plain

NAMES_SHOWN = 6
_COLOURS = {"keep": "green", "discard": "red", "investigate": "yellow"}


def archive_screen(sheet: ArchiveSheet) -> RenderableType:
    """Elites by niche, then near misses, stepping stones and what crashes."""
    head = f"{sheet.phase} phase, {words.count(sheet.stall, 'experiment')} since the last promotion"
    parts: list[RenderableType] = [Text(head, "bold"), Text()]
    if sheet.elites:
        table = _table("niche", "tried", "best", "gain over baseline", "P(better)", "by", "idea")
        for one in sheet.elites:
            gain = "-" if one.gain is None else f"{one.gain:+.3g}"
            table.add_row(
                one.niche,
                str(one.count),
                f"#{one.number}{' *' if one.is_champion else ''}",
                gain,
                f"{one.probability:.2f}",
                plain(one.emitter, 24),
                plain(one.description, 80),
            )
        parts += [table, Text("* the champion; P(better) is against the champion of its moment", "dim")]
    else:
        parts.append(Text("no niche has an elite yet: nothing was judged"))
    for title, names in (("near misses", sheet.near_misses), ("stepping stones", sheet.stones)):
        if names:
            parts += [Text(), Text(title, "bold"), *(Text(f"  #{n.number} {plain(n.description, 100)}") for n in names)]
    if sheet.no_fly:
        table = _table("crashes", "change", "signature", "example", "")
        for pattern in sheet.no_fly:
            note = "expired: the base has changed" if pattern.has_expired else ""
            row = (plain(pattern.change, 60), plain(pattern.signature, 80), f"#{pattern.example.number}", note)
            table.add_row(str(pattern.count), *row)
        parts += [Text(), Text("no-fly patterns", "bold"), table]
    return Group(*parts)


def conjectures_screen(lines: Sequence[ConjectureLine]) -> RenderableType:
    """One claim a row: what it says, its effect with interval, and who supports or contradicts it."""
    table = _table("id", "claim", "effect", "95 % interval", "for", "against", "where")
    for line in lines:
        claim = line.claim
        effect, interval = "-", "-"
        if claim.gain is not None and claim.low is not None and claim.high is not None:
            digits = words.decimals(0.5 * (claim.high - claim.low), claim.gain)
            effect = words.signed(claim.gain, digits)
            interval = f"{words.signed(claim.low, digits)} to {words.signed(claim.high, digits)}"
        change = plain(claim.change, 100) + (" (expired)" if claim.has_expired else "")
        where = plain(claim.context, 80)
        table.add_row(claim.id, change, effect, interval, _names(line.support), _names(line.against), where)
    return Group(table, Text("effects in units of the metric, positive is better; shrunk to no effect", "dim"))


def review_screen(sheet: ReviewSheet) -> RenderableType:
    """One experiment: what it did, where it lies, its terms, what it moved."""
    found = sheet.review
    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True, min_width=12)
    facts.add_column(overflow="fold")
    value = (
        f"crashed: {plain(found.crash, 120)}" if found.crash else "-" if found.value is None else f"{found.value:.6g}"
    )
    facts.add_row("changes", plain(found.summary, 300))
    facts.add_row("by", plain(found.emitter, 40) + (f" in the {found.phase} phase" if found.phase else ""))
    facts.add_row("niche", str(found.niche))
    facts.add_row("value", value)
    facts.add_row("to the best", _delta(found.gain_vs_best))
    facts.add_row("to baseline", _delta(found.gain_vs_baseline))
    terms = found.terms
    facts.add_row(
        "score",
        f"{sheet.score:.3f} = fitness {terms.fitness:.3f} + novelty {terms.novelty:.3f} + information "
        f"{terms.information:.3f} + surprise {terms.surprise:.3f} - complexity {terms.complexity:.3f} - memory "
        f"{terms.memory:.3f}",
    )
    advice = Text(found.recommendation, _COLOURS.get(found.recommendation, ""))
    facts.add_row("advice", advice)
    if found.verdict is not None:
        facts.add_row("verdict", f"{found.verdict.decision}: {plain(found.verdict.because, 300)}")
    for place, sentence in enumerate(sheet.sentences):
        facts.add_row("moved" if place == 0 else "", plain(sentence, 300))
    return Group(Text(f"#{sheet.number} {plain(sheet.description, 200)}", "bold"), facts)


def _delta(gain: float | None) -> str:
    if gain is None:
        return "nothing to compare with"
    return f"{gain:+.4g} (one run's value; positive is better)"


def _names(names: Sequence[Named]) -> str:
    shown = " ".join(f"#{one.number}" for one in names[-NAMES_SHOWN:])
    more = len(names) - NAMES_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown or "-"


def _table(*names: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for name in names:
        table.add_column(name, overflow="fold")
    return table
