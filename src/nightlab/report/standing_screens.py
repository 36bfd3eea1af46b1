"""The screens of `next` and `compare`, as rich objects. Everything foreign goes through `text`."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from nightlab.report import words
from nightlab.report.outlook import NextIdea, Outlook, Todo
from nightlab.report.pairwise import Pairwise, Side
from nightlab.report.text import plain


def outlook_screen(outlook: Outlook) -> RenderableType:
    """Each thing to do with its reason and its command, the most urgent first."""
    parts: list[RenderableType] = []
    for place, todo in enumerate(outlook.todo, start=1):
        parts += [_head(place, todo), Text(f"   {todo.why}"), Text(f"   {todo.command}", "bold cyan")]
    return Group(*parts, *(_idea(outlook.idea) if outlook.idea is not None else ()))


def _idea(idea: NextIdea) -> list[Text]:
    """What the search would try, who says so and what is foretold of it."""
    asks = "would run again" if idea.again else "would try"
    lines = [Text(), Text.assemble(f"the search {asks}: ", (plain(idea.description, 160), "bold"))]
    if idea.emitter:
        lines.append(Text(f"   {idea.emitter}, phase {idea.phase}, niche {idea.niche}", "dim"))
    lines += [Text(f"   {plain(text, 300)}") for text in (idea.brief, idea.hypothesis) if text]
    if idea.forecast is not None:
        told = idea.forecast
        lines.append(
            Text(
                f"   foretold: gain {told.gain:+.2g} ± {told.deviation:.2g}, {told.chance:.0%} likely better, "
                f"{told.crash:.0%} likely to crash"
            )
        )
    if idea.conjectures:
        lines.append(Text(f"   speaks to {', '.join(idea.conjectures)} (`nightlab conjectures`)"))
    return lines


def _head(place: int, todo: Todo) -> Text:
    head = Text.assemble(f"{place}. ", (todo.what, "bold"))
    if todo.number:
        head.append(f" #{todo.number}", "bold")
    if todo.description:
        head.append(f" {plain(todo.description, 80)}")
    if todo.seeds:
        head.append(f"  seed {', '.join(map(str, todo.seeds))}", "dim")
    return head


def pairwise_screen(found: Pairwise) -> RenderableType:
    """Pairs by seed, runs alone, means, the difference and what it means."""
    better = "lower" if found.direction == "minimize" else "higher"
    parts: list[RenderableType] = [
        _side("A", found.a),
        _side("B", found.b),
        Text(f"{plain(found.metric, 40)}, {better} is better", "dim"),
        Text(),
    ]
    step = None if found.low is None or found.high is None else 0.5 * (found.high - found.low)
    parts += [_pairs(found, words.decimals(step, found.a.mean)), Text()]
    digits = words.decimals(step, found.difference)
    line = Text.assemble(("difference A - B  ", "dim"), (words.signed(found.difference, digits), "bold"))
    if found.low is not None and found.high is not None:
        line.append(f"  95 % interval {words.signed(found.low, digits)} to {words.signed(found.high, digits)}")
        line.append("  (not shrunk: what the runs say, neither side favoured)", "dim")
    parts.append(line)
    if found.probability is not None:
        parts.append(Text.assemble(("P(A is better)  ", "dim"), f"{found.probability:.3f}"))
    return Group(*parts, Text(plain(found.sentence, 400), "bold"))


def _side(name: str, side: Side) -> Text:
    line = Text.assemble((f"{name}  #{side.number} ", "bold"), plain(side.description, 100))
    line.append(f"  mean {side.mean:.6g}, {words.count(side.runs, 'run')}", "dim")
    return line


def _pairs(found: Pairwise, digits: int) -> RenderableType:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for name in ("seed", "A", "B", "A - B"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, style="dim")
    sign = 1 if found.direction == "minimize" else -1
    for pair in found.pairs:
        style = "green" if sign * pair.difference < 0 else "red" if sign * pair.difference > 0 else ""
        difference = Text(words.signed(pair.difference, digits), style)
        table.add_row(str(pair.seed), f"{pair.a:.6g}", f"{pair.b:.6g}", difference, "")
    for run in found.unpaired:
        cells = (f"{run.value:.6g}", "-") if run.side == "a" else ("-", f"{run.value:.6g}")
        note = f"not counted: {run.uncounted}" if run.uncounted else ""
        table.add_row(str(run.seed) if run.seed >= 0 else "-", *cells, "-", note)
    return table
