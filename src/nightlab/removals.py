"""The champion's source without one of the changes that led to it, made by a three-way merge of its files."""

from __future__ import annotations

from dataclasses import dataclass

from nightlab.ablation import ABLATION
from nightlab.git import Git
from nightlab.history import History
from nightlab.search.changes import changes_between
from nightlab.search.source import patch
from nightlab.sources import Sources
from nightlab.types import ChangeKind, ExperimentId, Files, Idea, Plan


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a change cannot be taken out."""

    reason: str


def removal(
    history: History, sources: Sources, link: ExperimentId, *, on_gpu: bool = False, emitter: str = ABLATION
) -> Idea | Refusal:
    """The champion without the change that `link` made of its predecessor, as an idea on top of the champion.

    Args:
        link: a champion of the present chain, not its first.
        on_gpu: which side of the device's conditions knobs are read from.
        emitter: who asks for it.
    """
    night, champion = history.night, history.champion
    assert night is not None
    assert champion is not None
    step = next(v for v in history.links(night.began.baseline) if v.experiment == link)
    state = history.state(link)
    name = f"#{state.number} {state.experiment.description}"
    with_it, before, now = (sources.at(history.state(one).experiment.commit) for one in (link, step.champion, champion))
    files = _merged(sources.git, with_it, now, before)
    if files is None:
        return Refusal(f"{name} cannot be taken out alone: later changes touch the same lines")
    if files == now:
        return Refusal(f"nothing is left of {name} in the champion")
    changes = changes_between(now, files, on_gpu=on_gpu)
    knobs = ", ".join(str(change) for change in changes if change.kind is ChangeKind.KNOB)
    return Idea(
        # Not in the words of what is left out: the memory reads descriptions, and would hold that for what was tried.
        description=f"without #{state.number}" + (f": {knobs}" if knobs else ""),
        files=files,
        plan=Plan(emitter=emitter, brief=f"the champion without {name}", without=link),
        family=emitter,
        changes=changes,
    )


def ablation_of(history: History, sources: Sources, link: ExperimentId, *, on_gpu: bool = False) -> Idea | Refusal:
    """The same, if it is worth a race: its source is new, and its difference from the baseline is the smaller one."""
    made = removal(history, sources, link, on_gpu=on_gpu)
    night, champion = history.night, history.champion
    if isinstance(made, Refusal) or night is None or champion is None:
        return made
    known = history.experiments.get(sources.identify(made.files))
    if known is not None:
        return Refusal(f"{made.description}: that source is #{known.number} already")
    start, now = (sources.at(history.state(one).experiment.commit) for one in (night.began.baseline, champion))
    if _size(start, made.files) >= _size(start, now):
        return Refusal(f"{made.description}: the difference from the baseline would not become smaller")
    return made


def _merged(git: Git, base: Files, ours: Files, theirs: Files) -> dict[str, str] | None:
    """`ours` with what leads from `base` to `theirs`; None where the two overlap."""
    merged: dict[str, str] = {}
    for path in sorted({*base, *ours, *theirs}):
        old, mine, yours = base.get(path), ours.get(path), theirs.get(path)
        text: str | None
        if yours in (mine, old):
            text = mine
        elif mine == old:
            text = yours
        elif old is None or mine is None or yours is None or (text := git.merge(old, mine, yours)) is None:
            return None
        if text is not None:
            merged[path] = text
    return merged


def _size(before: Files, after: Files) -> int:
    """Lines that come or go from one source to another."""
    lines = patch(before, after).splitlines()
    return sum(line.startswith(("+", "-")) and not line.startswith(("+++ ", "--- ")) for line in lines)
