"""What people wrote by hand, put together by the built-in search in a real lab with git."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pytest

from nightlab.decide import Execute
from nightlab.loop import Lab
from nightlab.planned import built_in, planned
from nightlab.search.propose import nothing_known, published
from nightlab.types import Decision, Experiment, Idea, Judged, Verdict
from tests.builders import Repo
from tests.nights import Bench

SOURCE = "def step(x):\n    x = norm(x)\n    return x\n\n\ndef rate(t):\n    t = warm(t)\n    return t\n"
NORM = SOURCE.replace("norm(x)", "rms(x)")
RATE = SOURCE.replace("warm(t)", "cosine(t)")
BOTH = NORM.replace("warm(t)", "cosine(t)")
OTHER = SOURCE.replace("norm(x)", "layer(x)")  # of the same line as NORM


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A lab whose source holds no constant, and nothing that an edit of the catalogue fits."""
    Repo.make(tmp_path / "lab", {"train.py": SOURCE})
    made = Bench(tmp_path / "lab", dict.fromkeys((SOURCE, NORM, RATE, OTHER, BOTH), 1.0))
    made.proposer = built_in(made.settings, made.git, on_gpu=False)  # type: ignore[assignment]
    return made


def missed(lab: Lab, text: str) -> Experiment:
    """Somebody tries a source that he wrote, and it falls short of proof."""
    (lab.settings.root / "train.py").write_text(text)
    made = lab.take_working_tree(description=text.splitlines()[1].strip(), hypothesis="by hand", seeds=1)
    lab.settle()
    champion = lab.history.champion
    assert champion is not None
    verdict = Verdict(
        experiment=made.id, champion=champion, decision=Decision.DISCARD, because="its steps are used up",
        gain=0.0004, low=-0.001, high=0.002, probability=0.8,
    )  # fmt: skip
    lab.record(Judged(verdict=verdict))
    return made


def after(bench: Bench, *texts: str, ideas: int = 1) -> tuple[list[Experiment], list[Experiment], str]:
    """The near misses, what the night proposed after them, and why it ended."""
    with bench.lab() as lab:
        lab.begin(ideas=ideas, hours=None, seed=1)
        near = [missed(lab, text) for text in texts]
        done = lab.run_night()
        own = [s.experiment for s in lab.history.experiments.values() if s.experiment.plan.emitter == "recombinator"]
        return near, own, done.reason


def test_two_ideas_written_by_hand_are_put_together(bench: Bench) -> None:
    """The night proposes the three-way merge of both, says so, names both as parents, runs it and judges it."""
    near, own, _ = after(bench, NORM, RATE)
    (idea,) = own
    assert bench.source(idea.id) == BOTH
    assert set(idea.plan.parents) == {one.id for one in near}
    assert "both at once" in idea.plan.brief
    assert idea.hypothesis == "by hand"
    assert {change.name for change in idea.changes} == {change.name for one in near for change in one.changes}
    assert bench.history().state(idea.id).verdict is not None


def test_ideas_that_changed_the_same_line_are_not(bench: Bench) -> None:
    """A conflict leaves nothing to propose, and the night says that nothing is left."""
    _, own, reason = after(bench, NORM, OTHER)
    assert own == []
    assert "only agents and models can propose" in reason


def test_what_is_gone_from_git_is_merged_with_nothing(bench: Bench) -> None:
    """A commit that cannot be read any more is no source to merge, and no error either."""
    git = bench.git
    assert built_in(bench.settings, git, on_gpu=False).files_at("0" * 40) is None
    Repo(bench.root).write({"train.py": "x"})
    (bench.root / "train.py").write_bytes(b"\xff\xfe")
    Repo(bench.root).git("commit", "--quiet", "--all", "--message", "no text")
    assert built_in(bench.settings, git, on_gpu=False).files_at(git.head()) is None


def test_the_recipe_s_surface_is_asked_only_of_its_own_metric(bench: Bench) -> None:
    """What public runs measured in bits per byte foretells no other metric, whatever the constants are."""

    def effects(name: str) -> object:
        settings = replace(bench.settings, metric=replace(bench.settings.metric, name=name))
        return built_in(settings, bench.git, on_gpu=False).effects_of

    assert effects("val_bpb") is published
    assert effects("accuracy") is nothing_known


@pytest.fixture
def numbers(tmp_path: Path) -> Bench:
    """A lab with constants to move, where nothing is any better."""
    Repo.make(tmp_path / "lab", {"train.py": "LR = 0.1\nWIDTH = 48\nDECAY = 0.3\nprint(LR, WIDTH, DECAY)\n"})
    made = Bench(tmp_path / "lab", defaultdict(lambda: 1.0))
    made.proposer = built_in(made.settings, made.git, on_gpu=False)  # type: ignore[assignment]
    return made


def test_next_shows_what_the_night_then_proposes(numbers: Bench) -> None:
    """The idea of `planned` is the one that the loop is answered on the same history."""
    with numbers.lab() as lab:
        lab.begin(ideas=1, hours=None, seed=7)
        while isinstance(step := lab._step(), Execute):
            lab.run_once(step)  # the baseline's own runs
        answer = planned(lab.history, numbers.settings, numbers.git)
        lab.run_night()
        last = list(lab.history.experiments)[-1]
    assert isinstance(answer, Idea)
    assert numbers.source(last) == answer.files["train.py"]


def test_next_after_a_night_is_what_the_next_one_begins_with(numbers: Bench) -> None:
    """The last night's seed and count are gone; the usual seed is taken, and nothing that it has tried yet."""
    with numbers.lab() as lab:
        lab.begin(ideas=2, hours=None, seed=7)
        lab.run_night()
    answer = planned(numbers.history(), numbers.settings, numbers.git)
    assert isinstance(answer, Idea)
    with numbers.lab() as lab:
        lab.begin(ideas=1, hours=None, seed=0)
        lab.run_night()
        last = list(lab.history.experiments)[-1]
    assert numbers.source(last) == answer.files["train.py"]
