"""What to do next, from what is known: at most a handful of plain sentences with commands to copy. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from nightlab.audit import Worth
from nightlab.memory import FEWEST
from nightlab.report.findings import SHOWN, Findings
from nightlab.report.nouns import Champion, LabSummary, Provisional
from nightlab.report.words import count

SAME_FAILURE = 2  # failures of one kind from which they are worth a look of their own
MANY_IDEAS = 20  # ideas without a single keep after which the search itself should be questioned


def advise(found: Findings) -> tuple[str, ...]:
    """The next steps, the most urgent first. Commands stand in backticks; the texts hold nothing of a run's own."""
    return tuple(_steps(found))[:SHOWN]


def _steps(found: Findings) -> Iterator[str]:
    lab = found.summary
    if lab.runs.total == 0:
        if lab.champion is not None:
            yield _prove(lab.champion)
        yield "Start a night: `nightlab run --runs 20`."
        return
    if lab.baseline is not None and lab.baseline.runs == 0 and not lab.runs.running:
        yield f"Mend the baseline first: `nightlab show {lab.baseline.number} --log` says why it gave no result."
    yield from _about_champion(lab)
    yield from _about_night(found)
    for failure in found.failures[:1]:
        if failure.runs >= SAME_FAILURE:
            yield (
                f"Look at what failed most, {count(failure.runs, 'time')} in the same way: "
                f"`nightlab show {failure.experiments[-1]} --log`."
            )
    if found.worse:
        first = found.worse[0]
        yield f"What hurt most marks something that matters: `nightlab show {first.number}`; is its opposite tried?"


def _about_champion(lab: LabSummary) -> Iterator[str]:
    champion = lab.champion
    if champion is None:
        if lab.night is None:
            yield "Let the lab measure it: `nightlab run --runs 20` starts from the committed source."
        return
    if lab.night is None:
        yield _prove(champion)
    elif lab.promotions:
        yield f"Read what is better now with `nightlab diff`, and take it with `git merge {lab.branch}`."
        if not _is_confirmed(champion) and lab.night.state == "ended":
            yield "The gain is not confirmed on fresh seeds: run a few more ideas, the night's end measures it again."
    for link in lab.chain[-1:]:
        if link.worth == Worth.DOUBTFUL:
            what = f"#{link.number} no longer looks better than what it replaced"
            yield f"{what}: `nightlab undo {link.number}` takes it back."
    if lab.provisional is not None:
        yield _prove(lab.provisional)


def _prove(arm: Champion | Provisional) -> str:
    if arm.experiment:
        seeds = arm.runs_needed or FEWEST
        return f"Prove {arm.name}, which stands on one run: `nightlab replicate {arm.number} --seeds {seeds}`."
    where = f"check out {arm.commit[:7]}" if arm.commit else "make that edit"
    return f"Prove {arm.name}, which stands on one run: {where} and run `nightlab try --seeds 2`."


def _is_confirmed(champion: Champion) -> bool:
    fresh = champion.gain_on_fresh_seeds
    return fresh is not None and fresh.low > 0


def _about_night(found: Findings) -> Iterator[str]:
    lab = found.summary
    if lab.night is None:
        return
    if lab.night.state != "ended":
        yield "The night is not over; if nothing runs, `nightlab run` goes on where it was."
    promising = [f for f in found.open if f.against_is_champion and f.runs_needed]
    if promising and lab.night.state == "ended":
        yield (
            f"#{promising[0].number} may be better: {count(promising[0].runs_needed or 0, 'more run')} would prove it "
            f"if its estimate is right: `nightlab replicate {promising[0].number} --seeds {promising[0].runs_needed}`."
        )
    if lab.ideas.tried >= MANY_IDEAS and not lab.promotions:
        yield (
            f"None of {lab.ideas.tried} ideas was proven better. Gains may be smaller than the noise of a run: "
            "a longer budget per run, or bolder ideas, would tell."
        )
    if lab.night.state == "ended" and (lab.runs.finished or lab.ideas.tried):
        yield "Go on from here: `nightlab run --runs 50`."
