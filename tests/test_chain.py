"""The chain of champions over whole nights: dead weight goes, a person's word counts, nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from nightlab import decide
from nightlab.config import JudgeSettings
from nightlab.errors import AlreadyRecordedError, NotFoundError, UsageError
from nightlab.history import History
from nightlab.ledger import Ledger
from nightlab.promotions import AGAIN
from nightlab.report.levels import Levels
from nightlab.types import Decision, Experiment, Finished, Judged, Metrics, Noted, Proposed, Purpose, Recorded, Run
from nightlab.undo import Undone, put_back, take_back
from tests.nights import BASELINE, Answer, Bench

BRANCH = "autoresearch/nightlab"
START = "A = 0\nB = 0\n"
WEIGHT = "A = 1\nB = 0\n"  # kept for luck
USEFUL = "A = 1\nB = 1\n"  # built on it
WITHOUT = "A = 0\nB = 1\n"  # the second without the first


def lucky() -> Callable[[Run], Finished]:
    """A source that measures well while it races, and no better than the baseline afterwards."""
    runs = [0]

    def answer(run: Run) -> Finished:
        runs[0] += 1
        # The bench adds no noise to an answer of ours: a hair that differs by seed.
        return Finished(metrics=Metrics(primary=(0.95 if runs[0] <= 2 else 1.0) + 1e-5 * (run.seed % 7)))

    return answer


def bench_of(root: Path, without: Answer = 0.89, *, judge: JudgeSettings | None = None) -> Bench:
    """A lab whose first keep is dead weight unless `without` says otherwise; what the source without it measures."""
    table: dict[str, Answer] = {START: 1.0, WEIGHT: lucky(), USEFUL: 0.9, WITHOUT: without, BASELINE: 1.0}
    bench = Bench(root, table, judge=judge or JudgeSettings())
    bench.repo.commit({"train.py": START}, "two knobs")
    bench.proposer.sources = [WEIGHT, USEFUL]
    return bench


def removals(history: History) -> list[Experiment]:
    return [s.experiment for s in history.experiments.values() if s.experiment.plan.without is not None]


def noted(bench: Bench, topic: str) -> list[str]:
    with Ledger.read(bench.settings.database) as ledger:
        return [r.event.text for r in ledger.since() if isinstance(r.event, Noted) and r.event.topic == topic]


# --- dead weight ------------------------------------------------------------------------------------------------


def test_dead_weight_is_taken_out_at_the_nights_end(tmp_path: Path) -> None:
    """The champion without its useless first change wins as the smaller difference, and the final block is about it."""
    bench = bench_of(tmp_path / "lab")
    history = bench.night(ideas=2)
    assert bench.source(history.champion) == WITHOUT
    (removal,) = removals(history)
    verdict = history.promotions[-1]
    assert verdict.experiment == removal.id
    assert verdict.because.startswith("no worse without it")
    assert removal.description == "without #2: A 1 -> 0"
    subjects = bench.repo.git("log", "--format=%s", "-1", BRANCH)
    assert subjects.startswith("without #2")
    assert bench.repo.git("show", f"{BRANCH}:train.py") + "\n" == WITHOUT
    final = {s.run.experiment for s in history.runs.values() if s.run.purpose is Purpose.FINAL}
    assert history.night is not None
    assert final == {removal.id, history.night.began.baseline}


def test_a_change_that_earns_its_place_stays(tmp_path: Path) -> None:
    """Where the source without it is worse, one run says so, and the champion is what it was."""
    bench = bench_of(tmp_path / "lab", 0.97)
    history = bench.night(ideas=2)
    assert bench.source(history.champion) == USEFUL
    (removal,) = removals(history)
    state = history.state(removal.id)
    assert state.verdict is not None
    assert state.verdict.because.startswith("it earns its place")
    assert len(state.runs) == 1


def test_removals_are_no_ideas_and_cost_little(tmp_path: Path) -> None:
    """They come on top of the ideas asked for, and a short night spends two runs on them at most."""
    bench = bench_of(tmp_path / "lab", 0.9005)
    history = bench.night(ideas=2)
    assert decide.ideas_tried(history) == 2
    (removal,) = removals(history)
    assert 1 <= len(history.state(removal.id).runs) <= 2
    assert not history.state(removal.id).is_open


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    """judge.ablate = false: no removal is proposed."""
    history = bench_of(tmp_path / "lab", judge=JudgeSettings(ablate=False)).night(ideas=2)
    assert removals(history) == []
    assert len(history.promotions) == 2


def test_changes_of_the_same_line_are_left_together(tmp_path: Path) -> None:
    """What later changes built on cannot be taken out alone: that is noted once, and the night goes on."""
    bench = Bench(tmp_path / "lab", {BASELINE: 1.0, "LR = 1\n": 0.95, "LR = 2\n": 0.9})
    history = bench.night(ideas=2)
    assert removals(history) == []
    assert noted(bench, "ablation") == ["#2 LR = 1 cannot be taken out alone: later changes touch the same lines"]
    assert history.night is not None
    assert history.night.ended is not None


def test_a_source_that_the_lab_knows_is_not_made_again(tmp_path: Path) -> None:
    """The champion without a change may have been an idea of its own: its runs are there."""
    bench = bench_of(tmp_path / "lab", 0.97)
    bench.proposer.sources = [WEIGHT, USEFUL, WITHOUT]
    history = bench.night(ideas=3)
    assert removals(history) == []
    assert noted(bench, "ablation") == ["without #2: A 1 -> 0: that source is #4 already"]


def test_a_removal_that_makes_the_difference_larger_is_not_raced(tmp_path: Path) -> None:
    """A link that took part of an earlier one back makes the difference smaller by being there."""
    first, back, last, without_first = (
        f"A = {a}\nB = {b}\nC = {c}\n" for a, b, c in ((1, 1, 0), (0, 1, 0), (0, 1, 1), (0, 0, 1))
    )
    start = "A = 0\nB = 0\nC = 0\n"
    table: dict[str, Answer] = {start: 1.0, first: 0.95, back: 0.9, last: 0.85, without_first: 0.99, BASELINE: 1.0}
    bench = Bench(tmp_path / "lab", table)
    bench.repo.commit({"train.py": start}, "three knobs")
    bench.proposer.sources = [first, back, last]
    history = bench.night(ideas=3)
    assert [bench.source(removal.id) for removal in removals(history)] == [without_first]
    (note,) = noted(bench, "ablation")
    assert note == "without #3: A 0 -> 1: the difference from the baseline would not become smaller"


class _KilledError(Exception):
    """A kill of the lab, right after something was recorded."""


class _Killer:
    """Dies the first time that an event of the removal is told."""

    def __init__(self, after: int) -> None:
        self.left = after
        self.armed = False

    def told(self, recorded: Recorded, history: History) -> None:
        event = recorded.event
        if isinstance(event, Proposed) and event.experiment.plan.without is not None:
            self.armed = True
        if self.armed:
            self.left -= 1
            if self.left == 0:
                raise _KilledError

    def tick(self, history: History) -> None: ...


@pytest.mark.parametrize("after", range(1, 8))
def test_a_night_killed_during_a_removal_goes_on(tmp_path: Path, after: int) -> None:
    """Wherever it dies, the same command ends with the same champion, one removal and one commit for it."""
    bench = bench_of(tmp_path / "lab")
    with bench.lab(listener=_Killer(after)) as lab:
        lab.begin(ideas=2, hours=None, seed=1)
        with pytest.raises(_KilledError):
            lab.run_night()
    with bench.lab() as lab:
        assert lab.begin(ideas=None, hours=None, seed=1)
        lab.run_night()
        history = lab.history
    assert bench.source(history.champion) == WITHOUT
    assert len(removals(history)) == 1
    assert len(bench.repo.git("log", "--format=%s", f"main..{BRANCH}").splitlines()) == 3


# --- undo -------------------------------------------------------------------------------------------------------


def undo(bench: Bench, name: str, *, back: bool = False) -> Undone:
    with bench.lab() as lab:
        return put_back(lab, name) if back else take_back(lab, name)


def kept(bench: Bench) -> list[str]:
    """Sources of the chain as it stands, without the baseline."""
    history = bench.history()
    assert history.night is not None
    return [bench.source(link.experiment) for link in history.links(history.night.began.baseline)]


def consistent(bench: Bench) -> bool:
    """Whether the tables tell the same history as the events."""
    with Ledger.read(bench.settings.database) as ledger:
        return ledger.history() == History.fold(ledger.since())


@pytest.fixture
def two_kept(tmp_path: Path) -> Bench:
    bench = bench_of(tmp_path / "lab", judge=JudgeSettings(ablate=False))
    bench.night(ideas=2)
    assert kept(bench) == [WEIGHT, USEFUL]
    return bench


def test_the_last_change_is_taken_back(two_kept: Bench) -> None:
    """The champion before it is the champion again, by a recorded verdict and one commit; the lab's promotions stay."""
    done = undo(two_kept, "champion")
    assert (done.change, done.champion, done.needs_runs) == (3, 2, False)
    assert kept(two_kept) == [WEIGHT]
    history = two_kept.history()
    assert history.promotions[-1].because == "#3 taken back by hand"
    assert history.promotions[-1].probability is None
    log = two_kept.repo.git("log", "--format=%s", f"main..{BRANCH}").splitlines()
    assert log == ["Back to: A = 1 B = 0", "A = 1 B = 1", "A = 1 B = 0"]
    assert two_kept.repo.git("show", f"{BRANCH}:train.py") + "\n" == WEIGHT
    assert consistent(two_kept)


def test_what_was_taken_back_is_put_back(two_kept: Bench) -> None:
    """And taken back once more: each time one commit, and the chain is what it was with the numbers of its race."""
    before = two_kept.history()
    undo(two_kept, "3")
    undo(two_kept, "3", back=True)
    assert kept(two_kept) == [WEIGHT, USEFUL]
    history = two_kept.history()
    assert history.night is not None
    assert history.links(history.night.began.baseline) == before.promotions
    undo(two_kept, "3")
    assert kept(two_kept) == [WEIGHT]
    again = two_kept.repo.git("log", "--reverse", f"--format=%(trailers:key={AGAIN},valueonly)", f"main..{BRANCH}")
    weight, useful = (verdict.experiment for verdict in before.promotions)
    assert [line for line in again.splitlines() if line] == [f"{weight} 2", f"{useful} 2", f"{weight} 3"]
    assert consistent(two_kept)


def test_all_changes_may_be_taken_back(two_kept: Bench) -> None:
    """Down to the baseline, which then is the champion; the next night searches from there."""
    undo(two_kept, "3")
    undo(two_kept, "2")
    assert kept(two_kept) == []
    assert two_kept.repo.git("show", f"{BRANCH}:train.py") + "\n" == START
    two_kept.proposer.sources = [WITHOUT]
    history = two_kept.night(ideas=1)
    assert two_kept.source(history.champion) == WITHOUT
    assert two_kept.source(history.state(history.promotions[-1].experiment).experiment.parent) == START


def test_an_earlier_change_is_taken_out_of_the_champion(two_kept: Bench) -> None:
    """It makes a new source, which has never run: the next night begins with its runs, then searches on top of it."""
    done = undo(two_kept, "2")
    assert done.needs_runs
    history = two_kept.history()
    champion = history.champion
    assert two_kept.source(champion) == WITHOUT
    assert not any(state.is_open for state in history.experiments.values())
    two_kept.table = {**two_kept.table, "A = 0\nB = 2\n": 0.8}
    two_kept.proposer.sources = ["A = 0\nB = 2\n"]
    history = two_kept.night(ideas=1)
    assert champion is not None
    assert len(history.state(champion).finished(Purpose.BASELINE)) == 2
    assert Levels(history, two_kept.settings).arm(champion).standing == "provisional"  # it has won no race
    assert kept(two_kept) == [WEIGHT, USEFUL, WITHOUT, "A = 0\nB = 2\n"]
    assert consistent(two_kept)


def test_an_earlier_change_is_put_back_too(two_kept: Bench) -> None:
    """By its own number, as it was taken out."""
    undo(two_kept, "2")
    undo(two_kept, "2", back=True)
    assert kept(two_kept) == [WEIGHT, USEFUL]


def test_a_removal_of_the_labs_own_can_be_taken_back(tmp_path: Path) -> None:
    """What the lab took out by itself comes back by the same command."""
    bench = bench_of(tmp_path / "lab")
    bench.night(ideas=2)
    undo(bench, "champion")
    assert kept(bench) == [WEIGHT, USEFUL]


def test_what_is_not_kept_cannot_be_taken_back(two_kept: Bench) -> None:
    """The baseline, and names that mean nothing, are refused in words; nothing is recorded."""
    before = two_kept.history().seq
    with pytest.raises(UsageError, match="#1 is no kept change"):
        undo(two_kept, "baseline")
    with pytest.raises(NotFoundError):
        undo(two_kept, "99")
    with pytest.raises(UsageError, match="not what was taken back last"):
        undo(two_kept, "2", back=True)
    assert two_kept.history().seq == before


def test_a_change_that_others_built_on_is_refused(tmp_path: Path) -> None:
    """Where later changes touch the same lines, the hint says which to take back first."""
    bench = Bench(tmp_path / "lab", {BASELINE: 1.0, "LR = 1\n": 0.95, "LR = 2\n": 0.9})
    bench.night(ideas=2)
    with pytest.raises(UsageError, match="later changes touch the same lines") as caught:
        undo(bench, "2")
    assert "#3" in caught.value.hint


def test_the_search_does_not_try_again_what_was_taken_back(two_kept: Bench) -> None:
    """Its source is known, so that no night proposes it once more."""
    undo(two_kept, "3")
    two_kept.proposer.sources = [WEIGHT, USEFUL]
    history = two_kept.night(ideas=1)
    assert kept(two_kept) == [WEIGHT]
    assert sum(s.experiment.parent is not None for s in history.experiments.values()) == 2


def test_verdicts_by_hand_are_told_from_verdicts_of_the_race(two_kept: Bench) -> None:
    """No numbers, and a sentence that says whose word it was."""
    undo(two_kept, "3")
    with Ledger.read(two_kept.settings.database) as ledger:
        last = [r.event.verdict for r in ledger.since() if isinstance(r.event, Judged)][-1]
    assert (last.decision, last.gain, last.probability) == (Decision.KEEP, None, None)
    with two_kept.lab() as lab, pytest.raises(AlreadyRecordedError):
        lab.ledger.append(Proposed(experiment=lab.history.state(last.experiment).experiment))
