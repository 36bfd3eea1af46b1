"""A known experiment on further seeds, through the loop, and the verdict that they give.

What its author logged by hand becomes an idea on top of the proven champion and is judged by the lab's own runs alone.
That needs one yardstick: the same command, metric, environment, device and other files for both, which is what an
experiment's identity holds. Where the champion is measured alike the night's line goes on, whatever is committed now.
"""

from __future__ import annotations

from dataclasses import dataclass

from nightlab import decide
from nightlab.errors import NotFoundError, UsageError
from nightlab.history import ExperimentState, RunState
from nightlab.loop import Lab
from nightlab.repeat import refuse_imported
from nightlab.report.dossier import look_up
from nightlab.types import Experiment, ExperimentId, Plan, Purpose, Verdict

PROVISIONAL = "provisional"  # the name of the best keep behind which there is somebody's word only


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicated:
    """What came of it."""

    experiment: ExperimentId
    runs: tuple[RunState, ...]  # that were made for it
    failed: str  # why they are fewer than were wanted; "" if they are not
    verdict: Verdict | None
    unjudged: str  # why there is no verdict, in words; "" if there is one


def find(lab: Lab, name: str) -> ExperimentState:
    """The experiment that `name` means: as for `show`, or `provisional`, or the run of a hand-logged keep.

    Raises:
        NotFoundError: there is none, or several.
        UsageError: the lab has no source of it.
    """
    asked, sign = name.strip(), lab.settings.metric.direction.sign
    if asked.lower() == PROVISIONAL:
        best = lab.ledger.records.told(sign).best
        if best is None:
            raise NotFoundError(
                "no keep stands on its author's word only", hint="`nightlab status` shows what is best now"
            )
        asked = best.run
    elif asked.lower() == "champion" and lab.history.champion is None:
        best = lab.ledger.records.champion(sign)
        asked = best.run if best is not None else asked
    refuse_imported(lab, asked)
    state, _ = look_up(lab.history, asked)
    if state.runs and all(run.logged is not None and not run.logged.sourced for run in state.runs):
        raise UsageError(
            f"{state.runs[-1].run.id} was logged without an editable file, so that there is nothing to run"
        )
    return state


def replicate(lab: Lab, name: str, count: int) -> Replicated:
    """Run an experiment on `count` further seeds and judge it. The caller holds the lease.

    Args:
        lab: at rest.
        name: of the experiment, see `find`.
        count: runs, at least one.

    Raises:
        NotFoundError: as `find` does.
        UsageError: as `find` does, or its runs could not be compared with the champion's.
    """
    state = find(lab, name)
    _take_place(lab, state, count)
    since = lab.history.seq
    done = lab.replicate(state.experiment.id, count)
    state = lab.history.state(state.experiment.id)
    made = tuple(r for r in state.runs if r.seq > since and r.run.purpose is Purpose.REPLICATE)
    unjudged = "" if state.judged_seq > since else _unjudged(lab, state)
    return Replicated(
        experiment=state.experiment.id,
        runs=made,
        failed=done.reason if done.failed else "",
        verdict=None if unjudged else state.verdict,
        unjudged=unjudged,
    )


def _take_place(lab: Lab, state: ExperimentState, count: int) -> None:
    """Be in a night in whose line the experiment can be judged, and bring it into that line."""
    experiment, history = state.experiment, lab.history
    if not _is_measured_alike(lab, experiment):
        raise UsageError(
            f"#{state.number} was made under other conditions than the lab has now (command, metric, environment, "
            "device, or another committed file), so that its source would be another experiment",
            hint="set them back, or take its source into the working tree and `nightlab try` it",
        )
    champion = history.champion
    goes_on = champion is not None and _is_measured_alike(lab, history.state(champion).experiment)
    night = history.night
    base = night.began.baseline if goes_on and night is not None else lab.baseline()
    stranger = lab.history.state(experiment.id).root != lab.history.state(base).root
    if stranger and not _is_free(lab, state):
        raise UsageError(
            f"#{state.number} belongs to another line of parents than #{lab.history.state(base).number}, "
            "from which the lab works now, and the runs of one line never judge the other",
            hint="take its source into the working tree and `nightlab try` it",
        )
    if goes_on:
        lab.go_on()
    else:
        lab.begin(ideas=0, hours=None, seed=0)
    if stranger:
        parent = lab.history.champion
        assert parent is not None
        lab.adopt(experiment.id, parent, Plan(emitter=decide.TRY, seeds=count), experiment.description)


def _is_measured_alike(lab: Lab, experiment: Experiment) -> bool:
    """Whether its source would be the same experiment today."""
    return lab.sources.identify(lab.sources.at(experiment.commit)) == experiment.id


def _is_free(lab: Lab, state: ExperimentState) -> bool:
    """Whether the lab knows it by `log` or `exec` only, so that it belongs to no line yet."""
    history, name = lab.history, state.experiment.id
    begun = any(night.began.baseline == name for night in history.nights)
    bore = any(other.experiment.parent == name for other in history.experiments.values())
    return state.experiment.parent is None and not state.verdicts and not begun and not bore


def _unjudged(lab: Lab, state: ExperimentState) -> str:
    history, name = lab.history, state.experiment.id
    if history.night is not None and history.night.began.baseline == name:
        return "it is what the night is measured against, so that it has nothing to beat"
    if history.champion == name:
        return "it is the champion itself"
    if name in history.chain:
        return "it was kept, and a better one has followed it"
    return "its runs did not get that far"
