"""Where an experiment lies in the archive."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightlab.search.catalogue import CATALOGUE
from nightlab.search.changes import changes_between
from nightlab.search.edits import apply_edit
from nightlab.search.niches import KINDS, Survey, emitter_of, kind_of_changes
from nightlab.search.source import patch
from nightlab.types import Change, Finished, Plan
from tests import builders
from tests.builders import experiment_name
from tests.search.histories import Story, edit, free, knob, metrics

TRAIN = Path(__file__).parents[2] / "train.py"
ONE_LINE = "--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-DEPTH = 8\n+DEPTH = 9\n"


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ((knob("DEPTH", "8", "9"),), "architecture"),
        ((knob("MATRIX_LR", "0.04", "0.05"),), "optimizer"),
        ((knob("WARMDOWN_RATIO", "0.4", "0.5"),), "schedule"),
        ((knob("TOTAL_BATCH", "2**15", "2**16"), knob("DEVICE_BATCH", "8", "16")), "batch"),
        ((knob("DEPTH", "8", "9"), knob("MATRIX_LR", "0.04", "0.05")), "mixed"),
        ((edit("swiglu"),), "architecture"),
        ((edit("z-loss"),), "regularization"),
        ((free("Muon.step: momentum"),), "optimizer"),
        ((free("Attention.forward: rotate"),), "attention"),
        ((knob("PURPLE", "1", "2"),), "other"),
    ],
    ids=lambda value: value if isinstance(value, str) else "+".join(change.name for change in value),
)
def test_the_kind_of_a_change_is_what_it_touches(changes: tuple[Change, ...], kind: str) -> None:
    """Knobs by their names, edits by their family, code by the names that came or went; several kinds are mixed."""
    assert kind_of_changes(changes) == kind


def test_a_patch_without_changes_is_read_from_its_lines() -> None:
    """DEPTH 8 -> 9 is architecture also where only the patch is on record (contract, acceptance case 9)."""
    assert kind_of_changes((), ONE_LINE) == "architecture"


def test_most_of_the_catalogue_is_known_by_its_code_alone() -> None:
    """An edit that nobody named lies, in three of four cases, where its family says: free changes are filed by code."""
    files = {"train.py": TRAIN.read_text()}
    edited = {entry: apply_edit(files, entry) for entry in CATALOGUE}
    right = [
        kind_of_changes(changes_between(files, after), patch(files, after)) == KINDS[entry.family]
        for entry, after in edited.items()
    ]
    assert sum(right) >= 0.75 * len(right)


def test_costs_are_measured_against_the_baseline() -> None:
    """Five percent more parameters, memory or speed are another cell, three percent are not; unmeasured is unknown."""
    story = Story(baseline=metrics(1.0, params_m=10.0, memory_mb=1000.0, throughput=100.0))
    small = metrics(1.0, params_m=10.3, memory_mb=970.0, throughput=103.0)
    large = metrics(1.0, params_m=12.0, memory_mb=1200.0, throughput=80.0)
    story.idea("b", knob("DEPTH", "8", "9"), outcome=Finished(metrics=small), patch=ONE_LINE)
    story.idea("c", knob("DEPTH", "8", "10"), outcome=Finished(metrics=large), patch=ONE_LINE + "+x = 1\n")
    story.idea("d", knob("DEPTH", "8", "7"), patch=ONE_LINE + "-x = 1\n")
    survey = Survey(story.told())
    assert str(survey.niche(experiment_name("b"))) == "architecture/same/same/same/same"
    assert str(survey.niche(experiment_name("c"))) == "architecture/larger/heavier/slower/growing"
    assert str(survey.niche(experiment_name("d"))) == "architecture/unknown/unknown/unknown/shrinking"


def test_the_changes_of_unproven_parents_count_and_those_of_champions_do_not() -> None:
    """On a champion an idea is what it changes there; on an unproven parent it is both changes together."""
    story = Story().keep("b", knob("MATRIX_LR", "1", "2")).idea("c", edit("swiglu"))
    story.idea("d", edit("no-qk-norm"), parent="c")
    survey = Survey(story.told())
    assert survey.niche(experiment_name("c")).kind == "architecture"
    assert survey.niche(experiment_name("d")).kind == "mixed"


def test_an_emitter_named_in_the_description_beats_the_plan() -> None:
    """`[emitter=contrarian]` in a commit's subject beats the plan's local_tuner (case 8); an unknown name does not."""
    made = builders.experiment("b", parent="a", emitter="local_tuner")
    told = {text: emitter_of(_described(text)) for text in ("x [emitter=contrarian]", "x [emitter=nobody]", "x")}
    assert made.plan == Plan(emitter="local_tuner")
    assert list(told.values()) == ["contrarian", "local_tuner", "local_tuner"]


def _described(text: str):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(builders.experiment("b", parent="a", emitter="local_tuner"), description=text)
