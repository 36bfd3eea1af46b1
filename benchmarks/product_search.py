"""The product's own search and judge in a benchmark's space: the built-in proposer, played by the simulator's night.

The space is written as a tiny source of capitalised constants, and a run reads the knobs back from the source. As in
the other methods a number outside a knob's range is its end and one between the values of a grid is the nearest, so
the source of an idea is rewritten to what it means there. An idea that then is a configuration the lab has costs no
run: its source is recorded as known, so that it is not proposed again, and the next idea is asked for, as the loop
does with a source that is recorded already.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.spaces import Config, Sitting, Space, Value
from benchmarks.surrogate import EffectsOf, Surrogate
from nightlab import decide
from nightlab.ablation import ABLATION
from nightlab.config import EarlySettings, MetricSettings, Settings
from nightlab.errors import UsageError
from nightlab.search.changes import changes_between
from nightlab.search.forecasts import Screen, mean_loss
from nightlab.search.knobs import Knob, find_knobs, set_knobs
from nightlab.search.propose import PARTS, Proposer, nothing_known
from nightlab.search.source import experiment_id, patch, source_hash
from nightlab.sim.night import BASELINE, Answer, Night, experiment
from nightlab.types import (
    Again,
    Bounds,
    Crashed,
    Direction,
    Exhausted,
    Experiment,
    ExperimentId,
    Files,
    Finished,
    Idea,
    Metrics,
    Plan,
    Proposed,
    Purpose,
    Recorded,
    Run,
)

FILE = "train.py"
ASKED = 60  # proposals for one idea, before the search counts as exhausted here
DIGEST = "benchmark"


def search_believed(sitting: Sitting) -> None:
    """The same night, whose incumbent is what the search itself holds for the best, proven or not."""
    search_product(sitting, believed=True)


def search_product(sitting: Sitting, without: frozenset[str] = frozenset(), *, believed: bool = False) -> None:
    """A night of as many runs as the sitting has, all settings at their defaults; no curves, so no early stops.

    Args:
        sitting: what is spent; replicates and removals are runs like any other.
        without: parts of the proposer that are left out, of `PARTS`.
        believed: whether the incumbent is the lowest posterior mean of the search's model, instead of the champion.
    """
    settings = Settings(root=Path(), metric=MetricSettings(low=None, high=None), early=EarlySettings(enabled=False))
    known = sitting.objective.effects_of if isinstance(sitting.objective, Surrogate) else nothing_known
    site = Site(sitting, proposer(without, known), believed)
    night = Night(site, settings)
    site.night = night
    site.hold(site.files[BASELINE])  # the simulator's baseline has no source of its own
    night.play(sitting.budget)
    site.mark()
    sitting.stop()  # where the night ended before its runs were spent


def proposer(without: frozenset[str] = frozenset(), effects_of: EffectsOf = nothing_known) -> Proposer:
    """The built-in proposer with an empty catalogue: this source has no code to edit."""
    return Proposer(settings_digest=DIGEST, on_gpu=False, catalogue=(), effects_of=effects_of, without=without)


# --- the space as a source --------------------------------------------------------------------------------------


def rendered(space: Space, config: Config) -> Files:
    """The configuration as a source in which the product sees each axis as a knob."""
    lines = [f"{constant(name)} = {value!r}" for name, value in ((a.name, config[a.name]) for a in space.axes)]
    named = [f"    assert {constant(axis.name)} in {axis.choices!r}" for axis in space.axes if axis.choices]
    names = ", ".join(constant(axis.name) for axis in space.axes)
    body = [*named, f"    train({names})"]
    return {FILE: "\n".join([*lines, "", "", "def main():", *body, ""])}


def constant(name: str) -> str:
    return name.upper()


def read_back(space: Space, files: Files) -> dict[str, Value]:
    """The configuration that a source stands for, on the space's own values."""
    found = {knob.name: knob.value for knob in find_knobs(files, on_gpu=False)}
    return space.fit({axis.name: found[constant(axis.name)] for axis in space.axes})


def rewritten(space: Space, base: Files, new: Files) -> Files:
    """The new source with every value that the space does not have replaced by what it means there."""
    before, after = ({knob.name: knob for knob in find_knobs(files, on_gpu=False)} for files in (base, new))
    off: list[tuple[Knob, Value]] = []
    for axis in space.axes:
        old, knob = before[constant(axis.name)].value, after[constant(axis.name)]
        value = axis.moved(axis.fit(old), knob.value) if knob.value != old else knob.value
        if value != knob.value:
            off.append((knob, value))
    return set_knobs(new, off) if off else new


# --- the night's site -------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Site:
    """Where the night happens: sources by experiment, and runs that read their knobs back."""

    sitting: Sitting
    proposer: Proposer
    believed: bool = False
    night: Night | None = None
    refused: int = 0
    marked: int = 0  # runs whose incumbent is known
    files: dict[ExperimentId, Files] = field(default_factory=dict)
    known: dict[tuple[Value, ...], ExperimentId] = field(default_factory=dict)

    def __post_init__(self) -> None:
        space = self.sitting.objective.space
        source = rendered(space, space.start)
        unseen = {constant(a.name) for a in space.axes} - {knob.name for knob in find_knobs(source, on_gpu=False)}
        if unseen:
            raise UsageError(
                f"the product sees no knob in {', '.join(sorted(unseen))}", hint="give the knob another name"
            )
        self._remember(BASELINE, source)

    @property
    def device(self) -> str:
        return "cpu:0"

    def propose(self, base: ExperimentId) -> Experiment | Again | Exhausted:
        """One idea, with a generator made as the loop makes it."""
        assert self.night is not None
        history, files = self.night.history, self.files[base]
        for _ in range(ASKED):
            rng = random.Random(f"{self.sitting.seed}:{decide.asked(history) + self.refused}")
            answer = self.proposer.propose(history, base, files, rng)
            if isinstance(answer, Again | Exhausted):
                return answer
            made = self._experiment(answer, base, rewritten(self.sitting.objective.space, files, answer.files))
            if made is not None:
                return made
            self.refused += 1
            self.hold(answer.files)
        return Exhausted(reason=f"{ASKED} proposals in a row were configurations that the lab has")

    def without(self, link: ExperimentId, champion: ExperimentId) -> Experiment | None:
        """The champion with the knobs of one link as they were before it, where nothing has moved them since."""
        assert self.night is not None
        before = self.night.history.state(link).experiment.parent
        if before is None:
            return None
        space = self.sitting.objective.space
        now, kept, old = (read_back(space, self.files[name]) for name in (champion, link, before))
        names = [axis.name for axis in space.changed(old, kept)]
        if any(now[name] != kept[name] for name in names):
            return None
        knobs = {knob.name: knob for knob in find_knobs(self.files[champion], on_gpu=False)}
        files = set_knobs(self.files[champion], [(knobs[constant(name)], old[name]) for name in names])
        plan = Plan(emitter=ABLATION, without=link)
        return self._experiment(Idea(description=f"without {link}", files=files, plan=plan), champion, files)

    def run(self, run: Run, at: float, bounds: Bounds | None) -> Answer:
        """One run of the sitting. The final block chooses nothing and is none of its runs."""
        config = read_back(self.sitting.objective.space, self.files[run.experiment])
        self.mark()
        if run.purpose is Purpose.FINAL or self.sitting.spent:
            return Answer(Finished(metrics=Metrics(primary=self.sitting.best)), 1.0)
        result = self.sitting.measure(config)
        if result.value is None:
            return Answer(Crashed(summary=result.reason, signature=result.reason), 1.0)
        return Answer(Finished(metrics=Metrics(primary=result.value)), 1.0)

    def hold(self, files: Files) -> None:
        """Record a source that the lab is not to be offered (again): of no line of experiments, without runs."""
        assert self.night is not None
        history, digest = self.night.history, source_hash(files, DIGEST)
        name = experiment_id(digest)
        if name not in history.experiments:
            known = replace(experiment(name, None, "known"), source_hash=digest)
            history.apply(Recorded(seq=history.seq + 1, at=self.night.at, event=Proposed(experiment=known)))

    def mark(self) -> None:
        """The champion after the runs so far is the incumbent then, whatever was measured best."""
        assert self.night is not None
        champion, runs = self.night.history.champion, len(self.sitting.tried)
        if runs > self.marked and champion is not None:
            self.marked = runs
            best = self._believed(champion) if self.believed else champion
            self.sitting.incumbents[-1] = read_back(self.sitting.objective.space, self.files[best])

    def _believed(self, champion: ExperimentId) -> ExperimentId:
        """The experiment with the lowest loss by the search's own model, among those that ran."""
        assert self.night is not None
        history, proposer = self.night.history, self.proposer
        tried = [s.experiment.id for s in history.line if mean_loss(s, Direction.MINIMIZE) is not None]
        knobs = find_knobs(self.files[champion], on_gpu=False)
        screen = Screen(history, champion, knobs, Direction.MINIMIZE, proposer.places, proposer.effects_of)
        outlook = screen.outlook([proposer.places.of(history, name) for name in tried])
        return min(zip(outlook.loss, tried, strict=True), default=(0.0, champion))[1]

    def _experiment(self, idea: Idea, base: ExperimentId, files: Files) -> Experiment | None:
        """The idea as the lab would record it; None if the lab has this configuration."""
        digest = source_hash(files, DIGEST)
        name = experiment_id(digest)
        before = self.files[base]
        if not self._remember(name, files):
            return None
        return Experiment(
            id=name, source_hash=digest, commit=name, parent_commit=base, parent=base,
            description=idea.description, patch=patch(before, files), plan=idea.plan, hypothesis=idea.hypothesis,
            family=idea.family, tags=idea.tags, changes=changes_between(before, files, on_gpu=False),
        )  # fmt: skip

    def _remember(self, name: ExperimentId, files: Files) -> bool:
        key = self.sitting.objective.space.key(read_back(self.sitting.objective.space, files))
        if key in self.known:
            return False
        self.known[key] = name
        self.files[name] = files
        return True


def parts_of(method: str) -> frozenset[str]:
    """What `ours-no-X` leaves out.

    Raises:
        UsageError: there is no such part.
    """
    part = method.removeprefix("ours-no-")
    if part not in PARTS:
        raise UsageError(f"{method}: there is no part {part}", hint=f"parts: {', '.join(PARTS)}")
    return frozenset({part})
