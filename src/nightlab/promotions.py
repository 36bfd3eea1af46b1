"""Promotions on git: one commit each, in order, on a branch that nobody has checked out."""

from __future__ import annotations

from collections import Counter

from nightlab.history import History
from nightlab.sources import TRAILER, Sources
from nightlab.types import ExperimentId, Verdict

AGAIN = "Nightlab-Again"  # in the message of a commit that brings an earlier champion back: experiment, how many times


def sync(history: History, sources: Sources) -> None:
    """Bring the branch of promotions up to date; what is there stays.

    The branch begins at the baseline's commit. A lab that was killed between verdict and commit catches up here.
    """
    steps = history.steps(history.night.began.baseline) if history.night else []
    if not steps:
        return
    git = sources.git
    ref = f"refs/heads/{git.free_branch(sources.settings.branch)}"
    base = history.state(steps[0].champion).experiment.commit
    while True:
        old = git.resolve(ref)
        tip = old or base
        done = {*git.trailers(tip, TRAILER), *git.trailers(tip, AGAIN)}
        times: Counter[ExperimentId] = Counter([steps[0].champion])
        for verdict in steps:
            times[verdict.experiment] += 1
            if _mark(verdict, times[verdict.experiment]) not in done:
                tip = _commit(history, sources, tip, verdict, times[verdict.experiment], base)
        if tip == old or git.move(ref, tip, old):
            return


def _mark(verdict: Verdict, times: int) -> str:
    """What names the commit of a promotion among all of the branch."""
    return verdict.experiment if times == 1 else f"{verdict.experiment} {times}"


def _commit(history: History, sources: Sources, tip: str, verdict: Verdict, times: int, base: str) -> str:
    """A commit on `tip` with the experiment's source; merges `base` where the branch has not followed it yet."""
    git, experiment = sources.git, history.state(verdict.experiment).experiment
    back, trailer = ("", TRAILER) if times == 1 else ("Back to: ", AGAIN)
    message = f"{back}{experiment.description}\n\n{verdict.because}\n\n{trailer}: {_mark(verdict, times)}\n"
    if not git.is_ancestor(base, tip):
        return git.commit(git.tree_of(experiment.commit), tip, message, merged=base)
    files = sources.at(experiment.commit)
    tree = git.tree_with(tip, files, removed=sorted(set(sources.at(tip)) - set(files)))
    return git.commit(tree, tip, message)
