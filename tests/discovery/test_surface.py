"""The older control plane's state, review, plan and summary, of our nouns."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from nightlab.config import Settings
from nightlab.discovery.plans import pending_plan, preview, prompt
from nightlab.discovery.review import review_row, review_text
from nightlab.discovery.shapes import ReviewRow, StateRow
from nightlab.discovery.state import archive_rows, sentences, session_summary, state_row
from nightlab.discovery.view import View, category
from nightlab.types import Finished, Forecast, Metrics, Niche, Plan
from tests.builders import EPOCH
from tests.search.histories import Story, crash, edit, knob, metrics

LR = knob("MATRIX_LR", "0.04", "0.05")
DEEPER = knob("DEPTH", "8", "9")
DIFF = "--- a/train.py\n+++ b/train.py\n@@ -1 +1 @@\n-DEPTH = 8\n+DEPTH = 9\n"
STATE = {
    "schema_version", "autonomy_enabled", "autonomy_reason", "phase", "experiment_count", "stall_count", "best_val_bpb",
    "best_commit", "best_peak_vram_mb", "baseline_val_bpb", "baseline_commit", "baseline_peak_vram_mb",
    "recent_experiments", "near_misses", "archive", "last_emitter", "current_emitter_streak", "recent_emitters",
    "emitter_stats", "category_stats", "crash_signatures", "conjectures", "current_plan", "last_experiment_id",
    "last_results_commit", "last_exp_commit", "state_warnings", "ingested_results_tsv_rows", "results_tsv_exists",
    "updated_at",
}  # fmt: skip
RECORD = {
    "experiment_id", "timestamp", "branch", "commit", "commit_parent", "description", "status", "category", "niche",
    "phase", "emitter", "recommendation", "diff_summary", "metrics", "fitness", "novelty", "information", "surprise",
    "complexity", "vram", "discovery_score", "improvement_vs_best", "improvement_vs_baseline", "crash_signature",
    "conjecture_updates",
}  # fmt: skip


def view(story: Story, **more: object) -> View:
    return View(history=story.told(), settings=Settings(root=Path("/lab")), **more)  # type: ignore[arg-type]


def test_the_shapes_have_the_fields_that_scripts_know() -> None:
    """state.json and an experiment's record have the older surface's fields, none more and none less."""
    assert set(StateRow.__struct_fields__) == STATE
    assert set(ReviewRow.__struct_fields__) == RECORD


def test_an_empty_lab_has_the_state_of_the_first_day() -> None:
    """Before anything ran the state is the older surface's first one, and nothing divides by zero."""
    state = state_row(View(history=Story().told(1), settings=Settings(root=Path("/lab"))), EPOCH)
    assert (state.phase, state.experiment_count, state.stall_count, state.best_val_bpb) == ("setup", 0, 0, None)
    assert not state.archive
    assert not state.recent_experiments
    assert state.current_plan is None


def test_depth_eight_to_nine_is_architecture_and_the_tag_beats_the_plan() -> None:
    """Contract, acceptance cases 8 and 9: category by what changed, emitter by the tag in the commit's subject."""
    story = Story().idea("b [emitter=contrarian]", DEEPER, patch=DIFF, plan=Plan(emitter="local_tuner"))
    shown = view(story)
    row = review_row(shown, shown.reviews[-1])
    assert (row.category, row.emitter) == ("architecture", "contrarian")
    assert row.diff_summary == "categories=architecture; +1/-1; +DEPTH = 9 | -DEPTH = 8"
    assert state_row(shown, EPOCH).emitter_stats["contrarian"].attempts == 1


def test_an_emitter_that_is_none_of_the_seven_is_the_local_tuner() -> None:
    """What a person tried or logged counts for the first of the seven, as the older surface has it."""
    story = Story().idea("b", LR, plan=Plan(emitter="try"))
    assert state_row(view(story), EPOCH).last_emitter == "local_tuner"


@pytest.mark.parametrize(
    ("kind", "code", "name"),
    [
        ("schedule", "same", "optimizer"),
        ("other", "growing", "mixed"),
        ("attention", "growing", "attention"),
        ("attention", "shrinking", "simplification"),
    ],
)
def test_categories_are_the_older_words(kind: str, code: str, name: str) -> None:
    """Kinds that the older vocabulary lacks have a word of it, and less code is a simplification."""
    assert category(Niche(kind=kind, size="same", memory="same", pace="same", code=code)) == name


def test_the_review_has_its_labels_and_leaves_out_what_was_not_measured() -> None:
    """Every label in its place; a log without mfu or parameters is no error, and its numbers are just not there."""
    story = Story().idea("b", DEEPER, patch=DIFF, outcome=Finished(metrics=metrics(0.9979, memory_mb=45056.0)))
    shown = view(story)
    lines = review_text(shown, shown.reviews[-1]).splitlines()
    labels = [line.partition(":")[0] for line in lines]
    assert labels[:8] == [
        "Discovery review", "- Metrics", "- Delta vs best before run", "- Delta vs baseline", "- Classification",
        "- Diff summary", "- Discovery score", "- Recommendation",
    ]  # fmt: skip
    assert lines[1] == "- Metrics: val_bpb=0.997900, peak_vram_gb=44.0."
    assert lines[2] == "- Delta vs best before run: +0.002100 bpb."
    assert re.fullmatch(
        r"- Classification: emitter=local_tuner, phase=explore, category=architecture, niche=architecture/.*\.",
        lines[4],
    )
    number = r"-?\d+\.\d{3}"
    assert re.fullmatch(
        rf"- Discovery score: {number} = fitness {number} \+ novelty {number} \+ info {number} \+ surprise {number} "
        rf"- complexity {number} - vram {number}",
        lines[6],
    )
    assert lines[7] == "- Recommendation: DISCARD."
    assert lines[-1] == "- Current best: no baseline/best yet."


def test_all_that_a_full_log_tells_is_in_the_review() -> None:
    """mfu, parameters and depth are told where the run measured them."""
    full = Metrics(primary=0.9979, memory_mb=1024.0, params_m=50.31, extra={"mfu_percent": 39.8, "depth": 8.0})
    shown = view(Story().idea("b", LR, outcome=Finished(metrics=full)))
    told = review_text(shown, shown.reviews[-1]).splitlines()[1]
    assert told == "- Metrics: val_bpb=0.997900, peak_vram_gb=1.0, mfu=39.80, params_M=50.3, depth=8."


def test_a_crash_is_told_by_its_signature() -> None:
    """A crash has no metrics and no deltas, its signature, and is discarded."""
    shown = view(Story().idea("b", LR, outcome=crash("CUDA out of memory")))
    lines = review_text(shown, shown.reviews[-1]).splitlines()
    assert lines[1] == "- Result: crash (CUDA out of memory)."
    assert lines[2] == "- Delta vs best before run: unknown."
    assert "- Recommendation: DISCARD." in lines
    assert state_row(shown, EPOCH).crash_signatures["CUDA out of memory"].count == 1


def test_sentences_come_in_their_order_and_are_four_at_most() -> None:
    """Strongest lane, underperforming lane, simplifying, no-fly zone, plateau: as far as there is evidence."""
    shrinks = "--- a/t\n+++ b/t\n@@ -1,2 +1 @@\n-x = 1\n y = 1\n"
    story = Story()
    for name in "bc":
        story.idea(name, LR, gain=0.02, probability=0.6)
        story.idea(f"{name}2", DEEPER, gain=-0.02)
        story.idea(f"{name}3", edit("no-qk-norm"), gain=0.01, plan=Plan(emitter="simplifier"), patch=shrinks)
        story.idea(f"{name}4", DEEPER, outcome=crash("out of memory"))
    found = [text.partition(":")[0] for text in sentences(view(story))]
    assert found == ["Strongest lane so far", "Underperforming", "Simplifying pays", "No-fly zone"]
    assert sentences(view(Story())) == []


def test_the_archive_lists_the_best_value_first() -> None:
    """Elites by the own value of their run, with niche, commit, emitter, description and count."""
    story = Story()
    story.idea("b", LR, gain=-0.02).idea("c", DEEPER, gain=-0.01).idea("d", DEEPER, gain=-0.04)
    rows = archive_rows(view(story))
    assert [(row.niche.partition("/")[0], row.best_val_bpb, row.count) for row in rows] == [
        ("architecture", 1.01, 2),
        ("optimizer", 1.02, 1),
    ]


def test_one_emitter_in_six_of_eight_is_a_collapse() -> None:
    """Six of the last eight by one emitter are warned of; five are not."""
    story = Story()
    for number in range(8):
        name = "contrarian" if number < 6 else "simplifier"
        story.idea(f"x{number}", LR, plan=Plan(emitter=name))
    (warning,) = state_row(view(story), EPOCH).state_warnings
    assert warning.startswith("Emitter collapse: contrarian made 6")
    story.idea("y", LR, plan=Plan(emitter="simplifier"))
    assert not state_row(view(story), EPOCH).state_warnings


def test_an_experiment_that_is_not_in_the_table_is_warned_of() -> None:
    """HEAD with a subject that begins with `exp:` and has no row is told, and is `last_exp_commit`."""
    state = state_row(view(Story(), subject="EXP: deeper", head="abcdef1234567"), EPOCH)
    assert state.last_exp_commit == "abcdef1"
    assert any("abcdef1" in warning for warning in state.state_warnings)


def test_the_summary_has_its_lines() -> None:
    """What a session begins with: the labels in their order, and the closing line."""
    story = Story().idea("b", LR, gain=-0.02).idea("c", LR, outcome=crash("out of memory"))
    lines = session_summary(view(story, branch="autoresearch/mar5")).splitlines()
    labels = [line.partition(":")[0] for line in lines if not line.startswith("  ")]
    assert labels == [
        "Autoresearch discovery state", "- Branch", "- Autonomy enabled", "- Baseline", "- Best",
        "- Experiments recorded by hooks", "- Search phase", "- Archive elites", "- No-fly patterns",
        "The state lies in results/discovery/; do not commit it.",
    ]  # fmt: skip
    assert "- Baseline: 1.000000 @ 6100000" in lines
    assert "  - out of memory (1x)" in lines
    assert "- Best: no baseline/best yet" in session_summary(view(Story())).splitlines()


def test_a_plan_follows_the_forecast_and_says_why() -> None:
    """The prediction is the forecast's where there is one, else the emitter's nature; the prompt has its labels."""
    shown = view(Story().idea("b", LR))
    sure = Plan(emitter="contrarian", forecast=Forecast(gain=0.01, deviation=0.01, chance=0.8), cites=("cabc123",))
    plan = preview(shown, sure, hypothesis="Deeper helps.", kind="schedule", at=EPOCH)
    assert (plan.phase, plan.emitter, plan.niche) == ("explore", "contrarian", "optimizer/explore")
    assert plan.predicted_direction == "likely improve"
    assert plan.rationale.startswith("Phase=explore; emitter=contrarian; underexplored=[")
    assert "cabc123" in plan.rationale
    assert re.fullmatch("[0-9a-f]{12}", plan.plan_id)
    risky = preview(shown, Plan(emitter="architecture_mutator"), hypothesis="", kind="attention", at=EPOCH)
    assert risky.predicted_direction == "risky"
    told = prompt(shown, plan)
    assert all(f"\n{label}: " in told for label in ("Phase", "Emitter", "Niche", "Hypothesis"))


def test_a_plan_is_pending_until_its_run_has_ended() -> None:
    """The newest open idea's plan is the current one; a review clears it."""
    story = Story().idea("b", LR, decision=None)
    proposed = [place for place, event in enumerate(story.events, 1) if "experiment=Experiment" in repr(event)][-1]
    before = View(history=story.told(proposed), settings=Settings(root=Path("/lab")))
    found = pending_plan(before)
    assert found is not None and found.emitter == "local_tuner"
    assert pending_plan(view(story)) is None
