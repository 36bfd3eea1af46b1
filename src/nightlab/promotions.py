"""Promotions on git: one commit each, in order, on a branch that nobody has checked out."""

from __future__ import annotations

from nightlab.history import History
from nightlab.sources import TRAILER, Sources
from nightlab.types import Verdict


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
        done = git.trailers(tip, TRAILER)
        for verdict in steps:
            if verdict.experiment not in done:
                tip = _commit(history, sources, tip, verdict, base)
        if tip == old or git.move(ref, tip, old):
            return


def _commit(history: History, sources: Sources, tip: str, verdict: Verdict, base: str) -> str:
    """A commit on `tip` with the experiment's source; merges `base` where the branch has not followed it yet."""
    git, experiment = sources.git, history.state(verdict.experiment).experiment
    message = f"{experiment.description}\n\n{verdict.because}\n\n{TRAILER}: {experiment.id}\n"
    if not git.is_ancestor(base, tip):
        return git.commit(git.tree_of(experiment.commit), tip, message, merged=base)
    files = sources.at(experiment.commit)
    tree = git.tree_with(tip, files, removed=sorted(set(sources.at(tip)) - set(files)))
    return git.commit(tree, tip, message)
