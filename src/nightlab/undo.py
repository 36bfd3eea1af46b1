"""Taking a kept change back by hand, and putting it back again: a recorded verdict like any other, without a race."""

from __future__ import annotations

from dataclasses import dataclass

from nightlab import promotions
from nightlab.errors import UsageError
from nightlab.history import ExperimentState
from nightlab.loop import Lab
from nightlab.removals import Refusal, removal
from nightlab.report.dossier import look_up
from nightlab.types import Adopted, Decision, ExperimentId, Judged, Verdict

UNDO = "undo"  # the emitter of a source that somebody made by taking a change back


@dataclass(frozen=True, slots=True, kw_only=True)
class Undone:
    """What is the champion now, and what was it before."""

    change: int  # number of the kept experiment that was taken back, or put back
    champion: int
    before: int
    description: str  # of the champion
    needs_runs: bool  # whether its source has never run: the next night begins with that


def take_back(lab: Lab, name: str) -> Undone:
    """Take a kept change out of the champion, whatever the judge says of it. The caller holds the lease.

    The last one gives back the champion before it; an earlier one makes a new source, the champion without it.

    Raises:
        NotFoundError: no experiment is called so.
        UsageError: it is no kept change of the present champion, or later changes touch the same lines.
    """
    history = lab.history
    state, _ = look_up(history, name)
    champion = history.champion
    links = history.links(history.night.began.baseline) if history.night else []
    step = next((link for link in links if link.experiment == state.experiment.id), None)
    if step is None or champion is None:
        listed = ", ".join(f"#{history.state(link.experiment).number}" for link in links) or "none"
        raise UsageError(
            f"#{state.number} is no kept change that the champion rests on, so there is nothing to take back",
            hint=f"those are: {listed}",
        )
    if step is links[-1]:
        return _crown(lab, step.champion, state, f"#{state.number} taken back by hand")
    made = removal(history, lab.sources, step.experiment, on_gpu=lab.on_gpu, emitter=UNDO)
    if isinstance(made, Refusal):
        later = history.state(links[links.index(step) + 1].experiment).number
        raise UsageError(made.reason, hint=f"take back what came after it first, from the last on (next: #{later})")
    source = lab.sources.identify(made.files)
    known = history.experiments.get(source)
    if known is None:
        lab.propose(made, history.state(champion).experiment)
    elif known not in history.line:  # seen by `exec` or `log` so far: from now on it is compared with this line
        lab.record(
            Adopted(experiment=source, parent=champion, plan=made.plan, description=known.experiment.description)
        )
    return _crown(lab, source, state, f"#{state.number} taken back by hand")


def put_back(lab: Lab, name: str) -> Undone:
    """Undo `take_back`: the champion that somebody replaced by hand is the champion again.

    Raises:
        NotFoundError: no experiment is called so.
        UsageError: it was not taken back, or another champion has been found since.
    """
    state, _ = look_up(lab.history, name)
    night = lab.history.night
    steps = lab.history.steps(night.began.baseline) if night else []
    last = steps[-1] if steps else None
    dropped = state.experiment.id
    if last is not None and lab.history.state(last.experiment).experiment.plan.without == dropped:
        dropped = last.champion  # it went by a new source without it: what comes back is the champion that had it
    if last is None or last.probability is not None or last.champion != dropped:
        raise UsageError(
            f"#{state.number} is not what was taken back last, so it cannot be put back",
            hint=f"`nightlab diff {state.number}` shows its change; make it again and run `nightlab try`",
        )
    return _crown(lab, dropped, state, f"#{state.number} put back by hand")


def _crown(lab: Lab, experiment: ExperimentId, change: ExperimentState, reason: str) -> Undone:
    """Record it as the champion, with one commit on the branch."""
    before = lab.history.champion
    assert before is not None
    runs = len(lab.history.state(experiment).finished())
    lab.record(
        Judged(
            verdict=Verdict(
                experiment=experiment, champion=before, decision=Decision.KEEP, because=reason, runs_used=runs
            )
        )
    )
    promotions.sync(lab.history, lab.sources)
    state = lab.history.state(experiment)
    return Undone(
        change=change.number,
        champion=state.number,
        before=lab.history.state(before).number,
        description=state.experiment.description,
        needs_runs=not runs,
    )
