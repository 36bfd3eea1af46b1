"""Leave-one-out over the chain of champions: which kept change is worth another look, and at what price. Pure.

At the end of a night each change that the champion rests on is left out once, and the source without it is raced
against the champion as any idea is. Where that source is no worse, the change is dead weight: it goes, and the
difference from the baseline becomes smaller.
"""

from __future__ import annotations

from collections.abc import Collection

from nightlab.history import ExperimentState, History
from nightlab.types import Experiment, ExperimentId, NightId, Verdict, is_infrastructure

ABLATION = "ablation"  # the emitter of removals that the lab proposes by itself
SHARE = 0.1  # of a night's ideas that may be spent on removals, in runs (issue: at most one in ten)
LEAST = 2  # runs below which nothing can be concluded: no source is kept on a single seed


def is_removal(experiment: Experiment) -> bool:
    """Whether an experiment is another one's source without one of its changes, and no idea."""
    return experiment.plan.without is not None


def is_stale(state: ExperimentState, champion: ExperimentId) -> bool:
    """Whether it was taken from a champion that has been replaced since: nobody asks the question any more."""
    return is_removal(state.experiment) and state.experiment.parent != champion


def runs_allowed(ideas: int) -> int:
    """Runs that a night of so many ideas may spend on removals."""
    return max(LEAST, int(SHARE * ideas))


def runs_spent(history: History, night: NightId) -> int:
    """Runs of removals that a night has started so far; one that was lost is made again and counts once."""
    states = (state for state in history.experiments.values() if is_removal(state.experiment))
    tonight = [run for state in states for run in state.runs if run.run.night == night and run.run.purpose.steers]
    return sum(run.outcome is None or not is_infrastructure(run.outcome) for run in tonight)


def next_link(history: History, unbuildable: Collection[ExperimentId] = ()) -> ExperimentId | None:
    """The link of the chain to leave out next; None if none is left.

    Not the last one: the champion without it is its parent, whose runs are there. Not one whose removal was run
    against this champion, or was clearly worse than an earlier one. The least certain first.

    Args:
        unbuildable: links that cannot be taken out alone, as far as is known.
    """
    night, champion = history.night, history.champion
    if night is None or champion is None:
        return None
    links = history.links(night.began.baseline)
    settled = {*unbuildable, *removed(history, links)}
    for state in history.experiments.values():
        link, verdict = state.experiment.plan.without, state.verdict
        clear = verdict is not None and verdict.high is not None and verdict.high < 0.0
        if link is not None and (state.experiment.parent == champion or clear):
            settled.add(link)
    open_links = [
        link
        for link in links[:-1]
        if link.probability is not None  # what a person decided is not for the lab to take back
        and not is_removal(history.state(link.experiment).experiment)
        and (link.gain is None or link.gain > 0.0)  # one that was kept for what it saves is not to be put back
        and link.experiment not in settled
    ]
    return min(open_links, key=_certainty).experiment if open_links else None


def removed(history: History, links: Collection[Verdict]) -> dict[ExperimentId, ExperimentId]:
    """Links whose change was taken out again by a later link -> that later link."""
    pairs = ((history.state(link.experiment).experiment.plan.without, link.experiment) for link in links)
    return {without: by for without, by in pairs if without is not None}


def margin(history: History, link: ExperimentId, noise: float) -> float:
    """By how much a source without the link may be worse, and still counts as no worse. Units of the metric.

    Half of the gain that the link was kept for: below that, most of the promise has gone. At most one standard
    deviation of a run (`noise`), since what exceeds it could be seen in a single run.
    """
    kept = [v for v in history.promotions if v.experiment == link and v.gain is not None and v.gain > 0.0]
    return min([noise, *(0.5 * v.gain for v in kept[:1] if v.gain is not None)])


def _certainty(link: Verdict) -> tuple[float, float]:
    return link.probability or 0.0, link.gain or 0.0
