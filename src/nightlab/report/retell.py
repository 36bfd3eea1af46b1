"""Lessons in sentences, one a line, safe to print. Nothing is called proven."""

from __future__ import annotations

from collections.abc import Iterator

from nightlab.report.taught import MANY_CHANGES, TWICE, Best, Gains, Lessons, Mark, Noise, Subject
from nightlab.report.text import plain
from nightlab.report.words import count, decimals, duration, number
from nightlab.types import Direction

PLATEAU = 20  # runs without a keep from which it is one
FEW = 3  # runs without a keep that are worth no line


def render(found: Lessons) -> list[str]:
    """One sentence a line, safe to print."""
    if not found.rows:
        return ["There are no rows: this history tells nothing yet.", *_next(found)]
    return [
        *_what_it_is(found),
        *_how_good(found),
        *_how_sure(found),
        *_since_when(found),
        *_what_was_tried(found),
        *_what_fails(found),
        *_what_was_repeated(found),
        *_next(found),
    ]


def _what_it_is(found: Lessons) -> Iterator[str]:
    told = f"{found.kept:,} kept, {found.discarded:,} discarded, {found.crashed:,} crashed"
    untold = f", {found.untold:,} with no value told" if found.untold else ""
    yield f"{count(found.rows, 'row')}: {told}{untold}."
    if found.told_by_order:
        yield "The rows say how runs ended, not what was kept: a run counts as kept here if it was the best so far."
    if found.no_number:
        yield (
            f"{count(found.no_number, 'row counts', 'rows count')} as crashed for want of a usable number, "
            "whatever the status says."
        )
    if found.other_metric:
        yield f"{count(found.other_metric, 'value is', 'values are')} of another metric and left aside."


def _how_good(found: Lessons) -> Iterator[str]:
    best, better = found.best, "lower" if found.direction is Direction.MINIMIZE else "higher"
    if best is None:
        yield f"No row with a value of {plain(found.metric, 60)} was kept, so there is no best kept value."
        return
    value = f"Best kept {plain(found.metric, 60)} ({better} is better): {_marked(best.mark, found)}"
    if best.first is None or best.gain is None:
        yield f"{value}, which is the first value there is."
    elif best.gain > 0:
        yield f"{value}, better by {number(best.gain, found.digits)} than the first, {_value(best.first, found)}."
    else:
        yield f"{value}, no better than the first, {_value(best.first, found)}."


def _how_sure(found: Lessons) -> Iterator[str]:
    noise, best = found.noise, found.best
    if found.copies:
        yield (
            f"{count(found.copies, 'repeat')} gave the very same number: copied rows or deterministic runs, "
            "which say nothing of the noise."
        )
    if noise is None:
        yield "Nothing was run twice with different results, so the noise is unknown: small gains may be luck."
    else:
        yield _noise_in_words(noise, found)
    if best is not None:
        yield from _best_against(best, noise, found)
    if found.gains is not None:
        yield from _gains_in_words(found.gains, noise, found)


def _noise_in_words(noise: Noise, found: Lessons) -> str:
    digits = decimals(noise.sd, None)
    interval = (
        "too few to know it well"
        if noise.low is None or noise.high is None
        else f"95 % interval {number(noise.low, digits)} to {number(noise.high, digits)}"
    )
    strays = f"; {count(noise.strays, 'run')} much farther off left out" if noise.strays else ""
    told = "the best configurations, as far as they are told" if found.told_by_order else "the same thing"
    return (
        f"Noise of one run: {number(noise.sd, digits)} (standard deviation, from {count(noise.repeats, 'repeat')} of "
        f"{told}; {interval}{strays})."
    )


def _best_against(best: Best, noise: Noise | None, found: Lessons) -> Iterator[str]:
    thing = "configuration, as far as it is told" if found.told_by_order else "thing"
    mean = number(best.mean, found.digits)
    once = "measured once" if best.runs == 1 else f"the best of {best.runs} runs of the same {thing} (mean {mean})"
    if best.rivals is None or noise is None:
        if best.next_best is not None:
            gap = found.direction.sign * (best.next_best.value - best.mark.value)
            size = number(abs(gap), found.digits)
            lead = f"{size} {'ahead of' if gap > 0 else 'behind'}" if float(size.replace(",", "")) else "level with"
            yield f"The best kept value was {once}, {lead} the next idea, and nobody knows if that is more than noise."
    elif best.rivals:
        yield (
            f"The best kept value was {once}, and {count(best.rivals, 'other idea lies', 'other ideas lie')} within "
            f"twice the noise of it or beyond: which of them is best is not known."
        )
    elif best.next_best is not None:
        yield f"The best kept value was {once}, and lies farther from every other idea than twice the noise."
    elif best.runs > 1:
        yield f"The best kept value was {once}."


def _gains_in_words(gains: Gains, noise: Noise | None, found: Lessons) -> Iterator[str]:
    after = "the one keep" if gains.keeps == 1 else f"{gains.keeps:,} keeps"
    if noise is not None and gains.small is not None:
        bar, share = TWICE * noise.sd, 100 * gains.small / gains.keeps
        yield (
            f"Of {after} after the first, {gains.small:,} ({share:.0f} %) gained less than twice the noise "
            f"({number(bar, decimals(bar, None))}): two runs of the same thing differ by more one time in six."
        )
    elif gains.middle is not None and gains.least is not None:
        middle, least = number(gains.middle, found.digits), number(gains.least, found.digits)
        spread = f"half of them by more than {middle}, the least by {least}" if gains.better > 1 else f"by {middle}"
        is_all = gains.better == gains.keeps > 1
        who = f"All {after} after the first" if is_all else f"Of {after} after the first, {gains.better:,}"
        yield f"{who} improved on the keep before: {spread}."
    if worse := gains.keeps - gains.better:
        yield (
            f"{count(worse, 'keep was', 'keeps were')} no better than the keep before: a fresh start, "
            "or kept for another reason."
        )


def _since_when(found: Lessons) -> Iterator[str]:
    plateau = found.plateau
    if plateau.since is None or plateau.runs < FEW:
        return
    time = f" in {duration(plateau.seconds)}" if plateau.seconds else ""
    yield f"Since the last keep (row {plateau.since.row}) {count(plateau.runs, 'run')}{time} brought no other."


def _what_was_tried(found: Lessons) -> Iterator[str]:
    if found.subjects and found.changes <= MANY_CHANGES:
        yield "Tried most:"
        yield from (f"  - {_subject_in_words(s, found)}" for s in found.subjects)
    if len(found.families) > 1:
        yield "By family:"
        yield from (f"  - {_subject_in_words(s, found)}" for s in found.families)
    if found.changes > MANY_CHANGES:
        yield (
            f"Most runs change several things at once (the median is {found.changes:.0f}): none can be credited alone."
        )
    for leanings, runs in ((found.in_best, "the best tenth of the runs"), (found.in_crashes, "the crashes")):
        for lean in leanings:
            way = "raised" if lean.raised else "lowered"
            yield (
                f"Among {runs} {plain(lean.knob, 40)} was {way} in {100 * lean.share:.0f} %, "
                f"among the others in {100 * lean.others:.0f} %."
            )
    if found.in_best or found.in_crashes:
        yield "Such shares go together, which does not make one the cause of the other."


def _subject_in_words(subject: Subject, found: Lessons) -> str:
    crashed = f", {subject.crashed} crashed" if subject.crashed else ""
    told = f"{plain(subject.name, 40)}: {count(subject.tries, 'try', 'tries')}{crashed}"
    gain = subject.best_gain
    if subject.kept:
        best = f", the best gained {number(gain, found.digits)}" if gain is not None and gain > 0 else ""
        return f"{told}, {subject.kept} kept{best}."
    if gain is None:
        return f"{told}, none kept."
    near = "better by" if gain > 0 else "worse by"
    return f"{told}, none kept, the nearest {near} {number(abs(gain), found.digits)}."


def _what_fails(found: Lessons) -> Iterator[str]:
    if found.failures:
        kinds = ", ".join(f"{plain(f.what, 80) or 'no error named'} {f.runs:,}" for f in found.failures)
        yield f"Crashes by kind: {kinds}."
    if found.hopeless:
        names = ", ".join(f"{plain(s.name, 40)} ({s.tries} tries)" for s in found.hopeless)
        yield f"Tried again and again and never kept: {names}."


def _what_was_repeated(found: Lessons) -> Iterator[str]:
    repeats = found.repeats
    if not repeats.runs:
        return
    share = 100 * repeats.runs / found.rows
    if found.told_by_order:
        again = f"a configuration that had run (as far as it is told), {repeats.kept:,} of them kept"
    else:
        again = f"an idea that had not been kept, {repeats.kept:,} of them kept, {repeats.later:,} on another base"
    yield f"{count(repeats.runs, 'run')} ({share:.0f} %) repeated {again}; most often:"
    for one in repeats.worst:
        yield f"  - {_quoted(one.description)}: {count(one.again, 'more run')}, {one.kept} kept."


def _next(found: Lessons) -> Iterator[str]:
    yield "What to do next:"
    yield from (f"  {place}. {step}" for place, step in enumerate(found.steps, 1))


def steps(found: Lessons) -> Iterator[str]:
    """What to do next, the most telling first. There are always three."""
    best, noise, runs = found.best, found.noise, found.rows
    if best is None:
        yield "Get one run of the unchanged source to its end and keep it: everything else is measured against it."
    elif noise is None:
        yield (
            f"Run the best source ({_named_mark(best.mark)}) on three more seeds: that tells the noise, and with it "
            "which of the other gains are worth anything."
        )
    elif best.rivals:
        yield (
            f"Run the best source ({_named_mark(best.mark)}) and its nearest rivals on fresh seeds before building on "
            "one of them."
        )
    elif best.runs == 1:
        yield f"Run the best source ({_named_mark(best.mark)}) once more on a fresh seed: one value is partly luck."
    if found.failures and 10 * found.crashed >= runs:
        yield _about_crashes(found)
    # On another base an idea may well be tried again; a configuration has no base.
    again = found.repeats.runs - (0 if found.told_by_order else found.repeats.later)
    if 10 * again >= runs and again > 1:
        share = f"{100 * again / runs:.0f} % of the runs here were repeats"
        if found.told_by_order:
            yield f"Look up each configuration before it runs, and judge repeated ones by their mean: {share}."
        else:
            yield f"Ask `nightlab check --description ...` before each run: {share} on the same base."
    gains = found.gains
    if gains is not None and gains.small is not None and 2 * gains.small >= gains.keeps > 1:
        yield (
            f"Ask for two runs before keeping a gain below twice the noise: {gains.small:,} of {gains.keeps:,} keeps "
            "here may be luck."
        )
    if found.plateau.since is not None and found.plateau.runs >= PLATEAU:
        yield (
            f"Try something bolder: {count(found.plateau.runs, 'run')} since the last keep say that small steps from "
            "here are used up, or drown in the noise."
        )
    yield from _about_subjects(found)
    if found.nameless == runs:
        yield "Commit each idea before it runs, and write the commit down: none of these sources can be found again."
    yield "Write down the seed of each run, so that a repeat is not taken for a new idea nor luck for a gain."
    yield "Run the best source and the first one side by side on fresh seeds: that is the gain to report."
    yield "Go on from the best source with `nightlab run`, which measures it twice before it tries anything."


def _about_subjects(found: Lessons) -> Iterator[str]:
    missed, least = found.missed, found.gains.least if found.gains else None
    bar = TWICE * found.noise.sd if found.noise else least
    if missed is not None and bar is not None and missed.gain > -bar:
        idea = f"{_quoted(missed.mark.description)} ({_named_mark(missed.mark)})"
        gap = number(abs(missed.gain), found.digits)
        small = "twice the noise" if found.noise else "the smallest gain that was kept"
        if not float(gap.replace(",", "")):
            yield f"Run {idea} again: it was as good as what was kept then."
        elif missed.gain > 0:
            yield f"Look why {idea} was not kept: it was better by {gap} than what was kept then."
        else:
            yield f"Run {idea} again: it fell short of what was kept then by {gap}, less than {small}."
    if found.changes > MANY_CHANGES:
        yield "Change one thing at a time near the best configuration: that tells which of the changes carries it."
        return
    if found.hopeless:
        yield f"Leave {plain(found.hopeless[0].name, 40)} alone: {found.hopeless[0].tries} tries, none kept."
    paid = max(found.subjects, key=lambda s: (s.kept, s.best_gain or 0.0), default=None)
    if paid is not None and paid.kept > 1:
        yield f"Look once more at {plain(paid.name, 40)}: {paid.kept} of {paid.tries} tries were kept."


def _about_crashes(found: Lessons) -> str:
    first, share = found.failures[0], 100 * found.crashed / found.rows
    told = f"most of them: {plain(first.what, 60)}" if first.what else "mostly no error named"
    if found.in_crashes:
        lean = found.in_crashes[0]
        way = "raised" if lean.raised else "lowered"
        cure = f"look first at {plain(lean.knob, 40)}, which {100 * lean.share:.0f} % of them {way}"
    elif first.what == "out of memory":
        cure = "estimate the memory before a run"
    else:
        cure = "run a few steps as a test before a run"
    return f"Save the {share:.0f} % of runs that crash ({told}): {cure}."


def _value(mark: Mark, found: Lessons) -> str:
    return number(mark.value, found.digits)


def _marked(mark: Mark, found: Lessons) -> str:
    return f"{_value(mark, found)}, {_quoted(mark.description)} ({_named_mark(mark)})"


def _named_mark(mark: Mark) -> str:
    return f"row {mark.row}, {plain(mark.commit, 12)}" if mark.commit else f"row {mark.row}"


def _quoted(text: str) -> str:
    return f'"{plain(text, 90)}"' if text.strip() else "no description"
