"""The screens of `status`, `runs`, `show` and `diff`, as rich objects. Everything foreign goes through `text`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from nightlab.audit import Discovery
from nightlab.decide import EXPLORE
from nightlab.ledger.records import Record
from nightlab.report import words
from nightlab.report.chain import noise_in_words, strict_in_words
from nightlab.report.dossier import Dossier, RunSheet
from nightlab.report.early import in_words
from nightlab.report.nouns import Arm, Champion, Gain, LabSummary, Promotion
from nightlab.report.text import block, plain

if TYPE_CHECKING:
    from nightlab.ledger import RunRow

KEPT_SHOWN = 8
PATCH_LINES = 400  # of a patch on the screen; `nightlab diff` shows all of it
_COLOURS = {
    "keep": "green", "proven": "green", "finished": "green", "baseline": "cyan", "running": "cyan",
    "undecided": "yellow", "retest": "yellow", "provisional": "yellow", "interrupted": "yellow", "lost": "yellow",
    "stoppedearly": "yellow", "crash": "red", "crashed": "red", "timedout": "red", "voided": "red", "disputed": "red",
}  # fmt: skip


def _word(word: str | None) -> Text:
    return Text(word or "-", style=_COLOURS.get(word or "", "dim"))


def _facts() -> Table:
    """Two columns: a dim name, and what is known."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True, min_width=9)
    table.add_column(overflow="fold")
    return table


# --- status -----------------------------------------------------------------------------------------------------


def status_screen(lab: LabSummary) -> RenderableType:
    """One screen: where the night stands, what is best, and how sure that is."""
    better = "lower" if lab.metric.direction == "minimize" else "higher"
    head = Text.assemble(
        (f"{plain(lab.lab, 300)}  ", "bold"), (f"{plain(lab.metric.name, 40)}, {better} is better", "dim")
    )
    if lab.runs.total == 0 and lab.runs.imported == 0 and lab.night is None:
        return Group(head, Text("nothing has run yet"))
    facts = _facts()
    _night_rows(facts, lab)
    _arm_rows(facts, lab)
    if lab.noise is not None:
        digits = words.decimals(lab.noise.sd, None)
        repeated = words.count(lab.noise.runs, "repeated run")
        facts.add_row("noise", f"±{words.number(lab.noise.sd, digits)} from run to run, known from {repeated}")
    _count_rows(facts, lab)
    for line in noise_in_words(lab):
        facts.add_row("honesty", line)
    if lab.chain:
        facts.add_row("", strict_in_words(lab))
    for run in lab.active:
        gone = run.watched is False
        what = Text.assemble((f"#{run.number} ", "bold"), plain(run.description, 80))
        since = "nobody watches it any more" if gone else words.duration(60 * run.minutes)
        what.append(f"  {run.purpose}, seed {run.seed}, {plain(run.device, 20)}, {since}", "dim")
        facts.add_row("left open" if gone else "runs now", what)
    parts: list[RenderableType] = [head, Text(), facts]
    if lab.promotions:
        parts += [Text(), _promotions(lab.promotions)]
    return Group(*parts)


def _night_rows(facts: Table, lab: LabSummary) -> None:
    night = lab.night
    if night is None:
        return
    line = Text.assemble(f"{night.number} ", _word(night.state))
    if night.mode == EXPLORE:
        line.append(", exploring")
    if night.because:
        line.append(f": {plain(night.because)}")
    target = f" of {night.ideas_target}" if night.ideas_target is not None else ""
    hours = f" of {night.hours_target:g} h" if night.hours_target is not None else ""
    line.append(f" · {night.ideas_done}{target} ideas · {words.duration(60 * night.elapsed_minutes)}{hours}")
    if night.cost_target is not None:
        line.append(f" · may cost {night.cost_target:g}")
    facts.add_row("night", line)


def _arm_rows(facts: Table, lab: LabSummary) -> None:
    champion = lab.champion
    if lab.baseline is not None and (champion is None or champion.experiment != lab.baseline.experiment):
        facts.add_row("baseline", _arm(lab.baseline))
        facts.add_row("", level(lab.baseline))
    if champion is None:
        return
    is_baseline = lab.baseline is not None and champion.experiment == lab.baseline.experiment
    name = _arm(champion)
    name.append("  ")
    name.append_text(_word(champion.standing))
    if champion.standing == "provisional":
        name.append(f" ({words.lacking(champion.runs_needed, None)})", "dim")
    if is_baseline:
        name.append(" (the baseline: no idea is proven better)", "dim")
    facts.add_row("champion", name)
    facts.add_row("", level(champion))
    if not is_baseline and lab.night is not None:
        facts.add_row("", gain_line("in the search", champion.gain_in_search, "not known yet"))
        facts.add_row(
            "", gain_line("on fresh seeds", champion.gain_on_fresh_seeds, "not measured yet; the night's end does that")
        )
        facts.add_row("", Text(f"commit {champion.commit[:7]}, branch {plain(lab.branch, 80)}", "dim"))
    if lab.provisional is not None:
        facts.add_row("by hand", _arm(lab.provisional))
        told = Text.assemble(level(lab.provisional), ", ", _word("provisional"), ": its author's word")
        facts.add_row("", told)
        facts.add_row("", Text(words.lacking(lab.provisional.runs_needed, lab.provisional.probability)))


def _arm(arm: Arm) -> Text:
    return Text.assemble((f"{arm.name} ", "bold"), plain(arm.description, 100))


def level(arm: Arm | Champion | Dossier) -> Text:
    """The posterior mean, its interval and the runs behind it."""
    if arm.mean is None:
        return Text("no result yet", "dim")
    half = None if arm.low is None or arm.high is None else 0.5 * (arm.high - arm.low)
    digits = words.decimals(half, arm.mean)
    line = Text(words.number(arm.mean, digits), "bold")
    if arm.low is not None:
        line.append(f"  95 % interval {words.number(arm.low, digits)} to {words.number(arm.high, digits)}", "not bold")
    if isinstance(arm, Arm):
        line.append(f", {words.count(arm.runs, 'run')}", "not bold")
    return line


def gain_line(what: str, gain: Gain | None, otherwise: str) -> Text:
    if gain is None:
        return Text(f"{what}: {otherwise}", "dim")
    said = words.gain_in_words(gain.mean, gain.low, gain.high, gain.probability, "the baseline")
    style = "green" if gain.probability >= words.PROOF else "yellow"
    return Text.assemble((f"{what}: ", "dim"), (said, style))


def _count_rows(facts: Table, lab: LabSummary) -> None:
    ideas, runs = lab.ideas, lab.runs
    parts = {"kept": ideas.kept, "discarded": ideas.discarded, "crashed": ideas.crashed, "undecided": ideas.undecided}
    facts.add_row("ideas", f"{ideas.tried}{_listed(parts)}")
    by_outcome = {n: getattr(runs, n) for n in type(runs).__dataclass_fields__ if n != "total"}
    facts.add_row("runs", f"{runs.total}{_listed(by_outcome)}")
    if early := in_words(lab.early):
        facts.add_row("early", early)
    wall, cpu = words.duration(60 * lab.cost.wall_minutes), words.duration(60 * lab.cost.cpu_minutes)
    facts.add_row("cost", f"{wall} of running, {cpu} of CPU time")


def _listed(parts: dict[str, int]) -> str:
    found = ", ".join(f"{n} {name}" for name, n in parts.items() if n)
    return f": {found}" if found else ""


def _promotions(promotions: Sequence[Promotion]) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    table.add_column("kept", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, overflow="ellipsis", max_width=44)
    for name in ("gain", "95 % interval", "chance of noise"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in promotions[-KEPT_SHOWN:]:
        known = one.low is not None and one.high is not None
        digits = words.decimals(0.5 * (one.high - one.low) if one.high and one.low else None, one.gain)
        interval = f"{words.signed(one.low, digits)} to {words.signed(one.high, digits)}" if known else "-"
        chance = "-" if one.probability is None else words.odds(one.probability)
        table.add_row(
            f"#{one.number}", plain_text(one.description, 80), words.signed(one.gain, digits), interval, chance
        )
    if len(promotions) <= KEPT_SHOWN:
        return table
    return Group(Text(f"{len(promotions) - KEPT_SHOWN} earlier promotions, then:", "dim"), table)


def plain_text(text: str, limit: int) -> Text:
    """Foreign text as it may stand on a terminal; never read as rich's own markup."""
    return Text(plain(text, limit))


# --- runs -------------------------------------------------------------------------------------------------------


def runs_table(rows: Iterable[RunRow]) -> Table:
    """One line a run, oldest first; only descriptions are cut where the terminal is narrow."""
    names = ("run", "exp", "seed", "metric", "outcome", "purpose", "decision")
    lines = [(_run_cells(row), plain_text(row.description, 200)) for row in rows]
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for index, name in enumerate(names):
        width = max([len(name), *(len(cells[index]) for cells, _ in lines)])
        table.add_column(name, justify="right" if name in ("exp", "seed", "metric") else "left", min_width=width)
    table.add_column("description", no_wrap=True, overflow="ellipsis")
    for cells, description in lines:
        table.add_row(*cells, description)
    return table


def _run_cells(row: RunRow) -> tuple[Text, ...]:
    metric = "-" if row.metric is None else words.number(row.metric, 6)
    plain_cells = (Text(row.run), Text(f"#{row.number}"), Text(_seed(row.seed)), Text(metric))
    return (*plain_cells, _outcome(row.outcome, row.trouble), Text(row.purpose), _word(row.decision))


def _outcome(outcome: str, trouble: str) -> Text:
    return Text(f"{outcome}, not believed", "yellow") if trouble else _word(outcome)


# --- show -------------------------------------------------------------------------------------------------------


def show_screen(sheet: Dossier, tail: str) -> RenderableType:
    """Everything about one experiment; `tail` is the end of its last run's log."""
    title = Text.assemble((f"#{sheet.number} {plain(sheet.description)}", "bold"), "  ", _word(sheet.status))
    if sheet.is_champion:
        title.append("  champion", "bold green")
    parts: list[RenderableType] = [title, Text(), _identity(sheet), Text(), _run_lines(sheet)]
    if sheet.verdicts:
        parts.append(Text())
    for verdict in sheet.verdicts:
        line = Text.assemble(_word(verdict.decision), f" against #{verdict.champion_number}: {plain(verdict.because)}")
        parts.append(line)
    if sheet.strict is not None:
        parts += [Text(), _strict(sheet.strict)]
    if sheet.patch.strip():
        parts += [Text(), diff_text(sheet.patch, PATCH_LINES)]
    if tail.strip():
        parts += [Text(), Text("the end of the log", "dim"), Padding(Text(block(tail)), (0, 0, 0, 2))]
    return Group(*parts)


def _strict(found: Discovery) -> Text:
    """What the strict test says of one idea."""
    pairs = words.count(found.pairs, "pair") + " of runs side by side"
    word = "discovery" if found.passed else "no discovery"
    style = "green" if found.passed else "dim"
    value, needed = (f"{number:,.3g}" for number in (found.e_value, found.needed))
    return Text.assemble((word, style), f" in the strict test: e-value {value} of {needed} needed, from {pairs}")


def record_screen(record: Record) -> RenderableType:
    """A run that another ledger tells of."""
    title = Text.assemble((plain(record.description, 300), "bold"), "  ", _word(record.status))
    facts = _facts()
    facts.add_row("value", words.number(record.value, 6) if record.value is not None else "none")
    if not record.ranked:
        facts.add_row("", "remembered, not ranked: made under other conditions, or another metric")
    for name in ("run", "origin", "stamp", "commit", "parent", "branch", "lineage", "hypothesis", "family", "crash"):
        if text := getattr(record, name):
            facts.add_row(name, plain_text(str(text), 600))
    if record.tags:
        facts.add_row("tags", plain_text(", ".join(record.tags), 300))
    return Group(title, Text(), facts)


def _identity(sheet: Dossier) -> Table:
    facts = _facts()
    facts.add_row("level", level(sheet))
    if sheet.hypothesis:
        facts.add_row("because", plain_text(sheet.hypothesis, 600))
    if sheet.changes:
        facts.add_row("changes", plain_text("; ".join(sheet.changes), 600))
    came = Text(plain(sheet.emitter, 60))
    if sheet.brief:
        came.append(f": {plain(sheet.brief, 300)}")
    if (foretold := sheet.forecast) is not None:
        gain = f"gain {foretold.gain:.2g}, give or take {foretold.deviation:.2g}"
        facts.add_row("foretold", f"{gain}; {foretold.chance:.0%} likely better, {foretold.crash:.0%} to crash")
    if sheet.proposer:
        mended = f", mends {plain(sheet.repairs, 20)}" if sheet.repairs else ""
        facts.add_row("proposer", Text(f"{plain(sheet.proposer, 60)}{mended}"))
    facts.add_row("from", came)
    labels = [plain(word, 60) for word in (sheet.family, *sheet.tags) if word]
    if labels:
        facts.add_row("family", Text(", ".join(labels)))
    if sheet.parent_number is not None:
        facts.add_row("parent", f"#{sheet.parent_number} {sheet.parent}")
    facts.add_row("experiment", f"{sheet.experiment}, commit {sheet.commit[:12]}")
    facts.add_row("source", plain_text(sheet.source_hash, 100))
    return facts


def _seed(seed: int) -> str:
    return str(seed) if seed >= 0 else "-"


def _run_lines(sheet: Dossier) -> RenderableType:
    if not sheet.runs:
        return Text("it has not run yet", "dim")
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for name in ("run", "seed", "metric", "outcome", "purpose", "device", "time", "memory"):
        table.add_column(
            name, no_wrap=True, justify="right" if name in ("seed", "metric", "time", "memory") else "left"
        )
    for run in sheet.runs:
        mark = "bold" if run.run == sheet.asked_for else ""
        memory = "-" if run.memory_mb is None else f"{run.memory_mb / 1024:.1f} GB"
        wall = "-" if run.wall_s is None else words.duration(run.wall_s)
        outcome = _outcome(run.outcome, run.conditions.trouble if run.conditions else "")
        table.add_row(Text(run.run, mark), _seed(run.seed), _metric(run), outcome, run.purpose,
                      plain(run.device, 20), wall, memory)  # fmt: skip
    parts: list[RenderableType] = [table]
    parts += [Text(f"{run.run} {plain(run.because, 300)}", "red") for run in sheet.runs if run.because]
    for run in sheet.runs:
        if run.conditions is not None and run.conditions.trouble:
            parts.append(Text(f"{run.run} is not believed: {plain(run.conditions.trouble, 300)}", "yellow"))
    shown = next((r for r in sheet.runs if r.run == sheet.asked_for), sheet.runs[-1])
    if shown.conditions is not None:
        parts.append(Text(f"device: {words.conditions(shown.conditions)}", "dim"))
    return Group(*parts, Text(f"files: {shown.directory}", "dim", overflow="fold"))


def _metric(run: RunSheet) -> str:
    return "-" if run.metric is None else words.number(run.metric, 6)


# --- diffs ------------------------------------------------------------------------------------------------------


def diff_text(patch: str, lines: int | None = None) -> Text:
    """A unified diff in colours."""
    found = block(patch).rstrip("\n").split("\n")
    out = Text(no_wrap=False, overflow="fold")
    for line in found[:lines]:
        out.append(f"{line}\n", _style_of(line))
    if lines is not None and len(found) > lines:
        out.append(f"... {len(found) - lines} more lines: `nightlab diff` shows all of them\n", "dim")
    out.rstrip()
    return out


def _style_of(line: str) -> str:
    if line.startswith(("diff ", "--- ", "+++ ")):
        return "bold"
    if line.startswith("@@"):
        return "cyan"
    return {"+": "green", "-": "red"}.get(line[:1], "")
