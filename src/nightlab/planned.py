"""What the search would propose now, without proposing it: what `next` and an agent's session show."""

from __future__ import annotations

from random import Random

from nightlab import decide
from nightlab.config import Settings
from nightlab.errors import GitError, LabError
from nightlab.git import Git
from nightlab.history import History
from nightlab.runner import machine
from nightlab.runner.workspace import pinned
from nightlab.search.evidence import reopened
from nightlab.search.propose import Proposer, nothing_known, published
from nightlab.sources import Sources
from nightlab.types import Again, Exhausted, Files, Idea

SEED = 0  # of a night's search where nobody names another
RECIPE_METRIC = "val_bpb"  # which the published recipe's response surface is measured in: of others it says nothing


def built_in(settings: Settings, git: Git, *, on_gpu: bool) -> Proposer:
    """The built-in search as this lab's loop uses it.

    Args:
        settings: the lab, with what makes runs comparable.
        git: of the lab, for the sources of its experiments.
        on_gpu: whether runs see a GPU.
    """
    sources = Sources(settings, git)

    def files_at(commit: str) -> Files | None:
        try:
            return sources.at(commit)
        except (GitError, LabError):  # a commit that is gone, or no text, is merged with nothing
            return None

    return Proposer(
        settings_digest=settings.digest,
        files_at=files_at,
        on_gpu=on_gpu,
        direction=settings.metric.direction,
        effects_of=published if settings.metric.name == RECIPE_METRIC else nothing_known,
        worth=settings.search.worth,
    )


def planned(history: History, settings: Settings, git: Git) -> Idea | Again | Exhausted | None:
    """What the loop would be answered next on this history; None before a night has made a base.

    After the end of a night that is what the next one begins with, if it is begun with the usual seed.

    Args:
        history: folded up to now, patches included.
        settings: the lab, as its files say; what makes runs comparable is added here.
        git: of the lab.

    Raises:
        GitError: the base's commit cannot be read.
    """
    night, base = history.night, history.champion
    if night is None or base is None:
        return None
    settings = pinned(settings, git)
    on_gpu = machine.places(settings)[0].startswith("cuda")
    proposer = built_in(settings, git, on_gpu=on_gpu)
    if night.ended is None:
        seed, asked = night.began.seed, decide.asked(history)
    else:  # the next one has tried nothing yet
        seed, asked = SEED, reopened(history.line)
    rng = Random(f"{seed}:{asked}")  # as the loop's: the same idea follows
    return proposer.propose(history, base, Sources(settings, git).at(history.state(base).experiment.commit), rng)
