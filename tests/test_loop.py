"""Whole nights: what the lab runs, keeps, remembers and survives."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest

from nightlab import decide
from nightlab.config import JudgeSettings, Settings
from nightlab.decide import FINAL_SEEDS, FIRST_SEED, MAX_LOST, MAX_LOST_IN_A_ROW, Done
from nightlab.errors import (
    BackendError,
    BusyError,
    ConfigError,
    DirtyTreeError,
    GitError,
    LabError,
    NoRepositoryError,
    ShadowError,
)
from nightlab.history import History
from nightlab.ledger import Ledger
from nightlab.loop import lease
from nightlab.runner.fake import FakeBackend, FakeJob
from nightlab.sources import TRAILER
from nightlab.types import (
    Bounds,
    Conditions,
    Decision,
    Direction,
    Disputed,
    Idea,
    Lost,
    NightEnded,
    Outcome,
    Proposed,
    Purpose,
    Recorded,
    Run,
    Started,
    StoppedEarly,
    TimedOut,
    Voided,
)
from tests.builders import Repo, conditions, crashed
from tests.nights import BASELINE, Answer, Bench, story

WORSE, BETTER, HAIR, BROKEN, BEST = (f"LR = {n}\n" for n in range(1, 6))
TABLE: dict[str, Answer] = {
    BASELINE: 1.0,
    WORSE: 1.02,
    BETTER: 0.95,
    HAIR: 0.9502,
    BROKEN: crashed("ZeroDivisionError: division by zero"),
    BEST: 0.9,
}
BRANCH = "autoresearch/nightlab"


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "lab", TABLE)


def runs_of(history: History, *purposes: Purpose) -> list[Run]:
    return [state.run for state in history.runs.values() if state.run.purpose in purposes]


def decisions(bench: Bench) -> dict[str, str]:
    """Last verdict on each source."""
    return {f"{idea}\n": decision for idea, _, decision, _ in story(bench)}


def promoted(repo: Repo, branch: str = BRANCH) -> list[str]:
    """Subjects of the commits that the lab has put on its branch, oldest first."""
    return repo.git("log", "--reverse", "--format=%s", f"main..{branch}").splitlines()


# --- a night ----------------------------------------------------------------------------------------------------


def test_a_night(bench: Bench) -> None:
    """Baseline first and twice, each idea once, better ones run again and kept, the night ends and says why."""
    history = bench.night(ideas=5)
    assert [s.run.purpose for s in history.runs.values()][:2] == [Purpose.BASELINE] * 2
    assert [run.seed for run in runs_of(history, Purpose.BASELINE)] == [FIRST_SEED, FIRST_SEED + 1]
    assert decisions(bench) == {
        WORSE: "discard",
        BETTER: "keep",
        HAIR: "discard",
        BROKEN: "crash",
        BEST: "keep",
    }
    assert bench.source(history.champion) == BEST
    assert history.night is not None
    assert history.night.ended is not None
    assert history.night.ended.reason == "all ideas are tried"
    assert not history.running


def test_no_single_run_is_kept(bench: Bench) -> None:
    """Whatever is kept has run on two seeds at least."""
    history = bench.night(ideas=5)
    assert history.promotions
    for verdict in history.promotions:
        state = history.state(verdict.experiment)
        seeds = {r.run.seed for r in state.finished(Purpose.IDEA, Purpose.REPLICATE)}
        assert len(seeds) >= 2


def test_no_run_is_made_twice(bench: Bench) -> None:
    """An experiment meets each seed once: the same seed again would tell nothing new."""
    history = bench.night(ideas=5)
    pairs = Counter((s.run.experiment, s.run.seed) for s in history.runs.values())
    assert set(pairs.values()) == {1}


def test_the_final_block_uses_seeds_that_chose_nothing(bench: Bench) -> None:
    """At the end champion and baseline run side by side on fresh seeds, and no verdict counts those runs."""
    history = bench.night(ideas=5)
    final = runs_of(history, Purpose.FINAL)
    searched = {s.run.seed for s in history.runs.values() if s.run.purpose is not Purpose.FINAL}
    assert {run.seed for run in final}.isdisjoint(searched)
    assert min(run.seed for run in final) >= FINAL_SEEDS
    by_arm = {arm: sorted(r.seed for r in final if r.experiment == arm) for arm in {r.experiment for r in final}}
    assert history.night is not None
    assert set(by_arm) == {history.champion, history.night.began.baseline}
    assert [len(seeds) for seeds in by_arm.values()] == [4, 4]
    assert len(set(map(tuple, by_arm.values()))) == 1
    last = history.promotions[-1]
    assert last.runs_used == len(history.state(last.experiment).finished(Purpose.IDEA, Purpose.REPLICATE))


def test_no_final_block_without_a_promotion(tmp_path: Path) -> None:
    """A night that kept nothing has nothing to confirm."""
    history = Bench(tmp_path / "lab", {BASELINE: 1.0, WORSE: 1.02}).night(ideas=1)
    assert runs_of(history, Purpose.FINAL) == []


def test_the_branch_has_one_commit_per_promotion(bench: Bench) -> None:
    """Promotions lie on autoresearch/<tag>, in order, each with its experiment's name; the tip is the champion."""
    history = bench.night(ideas=5)
    assert promoted(bench.repo) == [BETTER.strip(), BEST.strip()]
    kept = [verdict.experiment for verdict in history.promotions]
    trailers = bench.repo.git("log", "--reverse", f"--format=%(trailers:key={TRAILER},valueonly)", f"main..{BRANCH}")
    assert trailers.split() == kept
    assert bench.repo.git("show", f"{BRANCH}:train.py") == BEST.strip()


def test_the_users_tree_is_not_touched(bench: Bench) -> None:
    """After a night HEAD, main and every file are what they were, and `git status` is clean of our outputs only."""
    bench.repo.write({"notes.txt": "mine"})
    head = bench.repo.git("rev-parse", "HEAD")
    bench.night(ideas=3)
    assert bench.repo.git("rev-parse", "HEAD", "main").split() == [head, head]
    assert bench.repo.git("symbolic-ref", "HEAD") == "refs/heads/main"
    assert (bench.root / "train.py").read_text() == BASELINE
    assert bench.repo.git("diff", "HEAD", "--stat") == ""


def test_a_checked_out_branch_is_left_alone(bench: Bench) -> None:
    """Where the branch of promotions is checked out they go to another name, and to yet another if need be."""
    bench.repo.git("checkout", "--quiet", "-b", BRANCH)
    bench.repo.git("worktree", "add", "--quiet", "-b", f"{BRANCH}-lab", str(bench.root.parent / "linked"))
    before = bench.repo.git("rev-parse", BRANCH, f"{BRANCH}-lab")
    bench.night(ideas=3)
    assert bench.repo.git("rev-parse", BRANCH, f"{BRANCH}-lab") == before
    assert promoted(bench.repo, f"{BRANCH}-lab-lab") == [BETTER.strip()]


def test_commits_that_somebody_adds_to_the_branch_stay(bench: Bench) -> None:
    """A promotion goes on top of whatever lies on the branch; nothing there is replaced or repeated."""
    bench.night(ideas=3)
    tip = bench.git.resolve(BRANCH)
    assert tip is not None
    mine = bench.git.commit(bench.git.tree_with(tip, {"notes.txt": "mine\n"}), tip, "my notes")
    assert bench.git.move(f"refs/heads/{BRANCH}", mine, tip)
    bench.night(ideas=2)
    assert promoted(bench.repo) == [BETTER.strip(), "my notes", BEST.strip()]
    assert bench.repo.git("show", f"{BRANCH}:notes.txt") == "mine"


def test_a_branch_that_cannot_be_made_is_an_error(bench: Bench) -> None:
    """Where git refuses the branch the night stops with git's words instead of trying for ever."""
    bench.repo.git("branch", "autoresearch")
    with pytest.raises(GitError, match="autoresearch"):
        bench.night(ideas=2)


def test_ideas_build_on_the_champion(bench: Bench) -> None:
    """Each idea's parent is the champion of the moment, and its random numbers are its own."""
    history = bench.night(ideas=5)
    by_source = {bench.source(name): state.experiment for name, state in history.experiments.items()}
    assert by_source[BETTER].parent == by_source[BASELINE].id
    assert by_source[BEST].parent == by_source[BETTER].id
    assert by_source[BEST].parent_commit == by_source[BETTER].commit
    assert len({number for _, number in bench.proposer.asked}) == 5


def test_several_seeds_before_the_first_verdict(tmp_path: Path) -> None:
    """An idea that asks for three seeds is judged when it has them."""
    bench = Bench(tmp_path / "lab", {BASELINE: 1.0, BETTER: 0.95}, seeds=3)
    history = bench.night(ideas=1)
    (verdict,) = history.promotions
    assert verdict.runs_used == 3
    assert [run.seed for run in runs_of(history, Purpose.IDEA)] == [FIRST_SEED + n for n in range(3)]


def test_an_idea_costs_no_more_than_its_steps(tmp_path: Path) -> None:
    """An idea as good as the champion is dropped after at most `max_steps` more runs, on either side."""
    table = {BASELINE: 1.0, **{f"LR = 0.{n}\n": 0.9995 for n in range(1, 9)}}
    bench = Bench(tmp_path / "lab", table, judge=JudgeSettings(max_steps=2, final_runs=0))
    bench.night(ideas=8)
    again = Counter(idea for idea, _, decision, _ in story(bench) if decision == "retest")
    assert again
    assert max(again.values()) <= 2
    history = bench.history()
    assert len(runs_of(history, Purpose.REPLICATE)) <= sum(again.values())


# --- the same decisions whatever the metric ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("direction", "scale"), [(Direction.MAXIMIZE, 1.0), (Direction.MINIMIZE, 1000.0), (Direction.MAXIMIZE, 0.001)]
)
def test_direction_and_scale_decide_nothing(tmp_path: Path, direction: Direction, scale: float) -> None:
    """Maximising -v, or v in other units, takes the very decisions of minimising v."""
    table: dict[str, Answer] = {**TABLE, **{f"LR = 0.{n}\n": 0.8995 + 0.0003 * n for n in range(1, 6)}}
    plain = Bench(tmp_path / "plain", table)
    other = Bench(tmp_path / "other", table, direction=direction, scale=scale)
    plain.night(ideas=10)
    other.night(ideas=10)
    assert story(plain) == story(other)
    assert Decision.RETEST in {decision for _, _, decision, _ in story(plain)}


# --- going on after an interruption -----------------------------------------------------------------------------


class Killed(BaseException):
    """The process dies here: nothing is tidied up."""


class Killer:
    """A listener that dies at a given place of the log."""

    def __init__(self, seq: int) -> None:
        self.seq = seq

    def told(self, recorded: Recorded, history: History) -> None:
        if recorded.seq >= self.seq:
            raise Killed

    def tick(self, history: History) -> None: ...


def proposals(bench: Bench) -> list[str]:
    with Ledger.read(bench.settings.database) as ledger:
        return [r.event.experiment.description for r in ledger.since() if isinstance(r.event, Proposed)]


@pytest.mark.parametrize("stride", [3, 7, 20])
def test_a_killed_night_goes_on(tmp_path: Path, stride: int) -> None:
    """Killed after every few events, the night goes on each time and ends with the champion it would have had."""
    bench = Bench(tmp_path / "lab", TABLE)
    seq, resumed = 0, []
    while (night := bench.history().night) is None or night.ended is None:
        seq += stride
        with bench.lab(listener=Killer(seq)) as lab, suppress(Killed):
            resumed.append(lab.begin(ideas=5, hours=None, seed=1))
            lab.run_night()
    history = bench.history()
    assert len(history.nights) == 1
    assert all(resumed[2:])
    assert proposals(bench) == ["baseline", *(source.strip() for source in TABLE if source != BASELINE)]
    assert bench.source(history.champion) == BEST
    assert promoted(bench.repo) == [BETTER.strip(), BEST.strip()]
    again = Counter((s.run.experiment, s.run.seed) for s in history.runs.values() if not isinstance(s.outcome, Lost))
    assert set(again.values()) == {1}
    assert not history.running


@pytest.mark.parametrize("moment", [1, 4, 9])
def test_ctrl_c_ends_the_runs_and_the_night_goes_on(tmp_path: Path, moment: int) -> None:
    """On Ctrl-C runs under way are ended and recorded as stopped, and the next start goes on with the same night."""
    bench = Bench(tmp_path / "lab", TABLE, places=("cpu:0", "cpu:1"))

    class Impatient:
        ticks = 0

        def told(self, recorded: Recorded, history: History) -> None: ...

        def tick(self, history: History) -> None:
            self.ticks += 1
            if history.running and self.ticks >= moment:
                raise KeyboardInterrupt

    with bench.lab(listener=Impatient()) as lab:
        lab.begin(ideas=5, hours=None, seed=1)
        with pytest.raises(KeyboardInterrupt):
            lab.run_night()
        assert not lab.history.running
        assert any(isinstance(s.outcome, StoppedEarly) for s in lab.history.runs.values())
        assert lab.history.night is not None
        assert lab.history.night.ended is None
    history = bench.night(ideas=99)
    assert len(history.nights) == 1
    assert bench.source(history.champion) == BEST
    assert len(proposals(bench)) == 6


def test_an_unfinished_night_keeps_its_own_targets(bench: Bench) -> None:
    """Going on says so, and another number of ideas asked for does not change the night under way."""
    with bench.lab() as lab:
        assert lab.begin(ideas=2, hours=None, seed=1) is False
    with bench.lab() as lab:
        assert lab.begin(ideas=9, hours=None, seed=2) is True
        lab.run_night()
    assert len(proposals(bench)) == 3


def test_a_second_night_starts_from_the_champion(bench: Bench) -> None:
    """The next night of the same source builds on what the first has proven."""
    first = bench.night(ideas=2).champion
    history = bench.night(ideas=3)
    assert len(history.nights) == 2
    bases = [base for base, _ in bench.proposer.asked]
    assert bases[2] == first
    assert bench.source(history.champion) == BEST


def test_a_new_commit_ends_the_old_night(bench: Bench) -> None:
    """When the committed source has changed the unfinished night is ended, and a new one measures the new source."""
    with bench.lab() as lab:
        lab.begin(ideas=5, hours=None, seed=1)
    bench.repo.commit({"train.py": HAIR})
    with bench.lab() as lab:
        assert lab.begin(ideas=0, hours=None, seed=1) is False
        lab.run_night()
        history = lab.history
    ends = [night.ended.reason for night in history.nights if night.ended]
    assert ends == ["the committed source changed", "all ideas are tried"]
    assert bench.source(history.champion) == HAIR


def test_white_space_is_no_new_source(bench: Bench) -> None:
    """A commit that changes comments only goes on with the same night."""
    with bench.lab() as lab:
        lab.begin(ideas=1, hours=None, seed=1)
    bench.repo.commit({"train.py": f"# a comment\n{BASELINE}\n"})
    with bench.lab() as lab:
        assert lab.begin(ideas=1, hours=None, seed=1) is True


def test_a_night_on_top_of_an_undecided_idea_ends(bench: Bench) -> None:
    """A person who commits an idea that the lab had not decided yet gets a night that builds on it, and ends."""
    with bench.lab() as lab:
        lab.begin(ideas=5, hours=None, seed=1)
        base = lab.history.state(lab.baseline()).experiment
        answer = bench.proposer.propose(lab.history, base.id, lab.sources.at(base.commit), Random(0))
        assert isinstance(answer, Idea)
        lab.propose(answer, base)
    bench.repo.commit({"train.py": WORSE})
    history = bench.night(ideas=2)
    assert history.night is not None
    assert history.night.ended is not None
    assert bench.source(history.night.began.baseline) == WORSE


# --- when runs go wrong -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outcome",
    [
        crashed(),
        TimedOut(limit_s=1800.0),
        Voided(paths=("prepare.py",)),
        Disputed(because="0.5 is not 0.9"),
    ],
    ids=lambda outcome: type(outcome).__name__,
)
def test_an_idea_that_fails_is_dropped_at_once(tmp_path: Path, outcome: Outcome) -> None:
    """A crash, a timeout, a touched file or a false receipt is the idea's own fault: no second run."""
    history = Bench(tmp_path / "lab", {BASELINE: 1.0, BROKEN: outcome, BETTER: 0.95}).night(ideas=2)
    broken = next(s for s in history.experiments.values() if s.experiment.description == BROKEN.strip())
    assert len(broken.runs) == 1
    assert broken.verdict is not None
    assert broken.verdict.decision is Decision.CRASH
    assert len(history.promotions) == 1


@pytest.mark.parametrize("seeds", [1, 3])
def test_lost_runs_are_repeated_and_then_given_up(tmp_path: Path, seeds: int) -> None:
    """An idea whose runs are lost is run again up to the limit and then dropped; the night goes on."""
    bench = Bench(tmp_path / "lab", {BASELINE: 1.0, BROKEN: Lost(reason="gone"), BETTER: 0.95}, seeds=seeds)
    history = bench.night(ideas=2)
    lost = next(s for s in history.experiments.values() if s.experiment.description == BROKEN.strip())
    assert len(lost.runs) == MAX_LOST
    assert lost.verdict is not None
    assert (lost.verdict.decision, lost.verdict.runs_used) == (Decision.DISCARD, 0)
    assert "lost again and again" in lost.verdict.because
    assert len(history.promotions) == 1


def test_replicates_that_are_lost_are_given_up_too(tmp_path: Path) -> None:
    """An idea whose first run looks good and whose further runs are all lost does not hold up the night."""

    def flaky(run: Run) -> Outcome | float:
        return 0.95 if run.purpose is Purpose.IDEA else Lost(reason="gone")

    history = Bench(tmp_path / "lab", {BASELINE: 1.0, BETTER: flaky}).night(ideas=1)
    idea = next(s for s in history.experiments.values() if s.experiment.description == BETTER.strip())
    assert len(idea.runs) == 1 + MAX_LOST
    assert idea.verdict is not None
    assert idea.verdict.decision is Decision.DISCARD


def test_a_run_lost_now_and_then_is_repeated(tmp_path: Path) -> None:
    """Losing a run here and there costs nothing but time: the seed is run again, and the verdict is the same."""
    seen: set[tuple[str, int]] = set()

    def once_lost(run: Run) -> Outcome | float:
        key = (run.experiment, run.seed)
        if key in seen:
            return 0.95
        seen.add(key)
        return Lost(reason="gone")

    history = Bench(tmp_path / "lab", {BASELINE: 1.0, BETTER: once_lost}).night(ideas=1)
    assert len(history.promotions) == 1


def night_done(bench: Bench, *, ideas: int = 3, backend: FakeBackend | None = None) -> tuple[Done, History]:
    with bench.lab(backend=backend) as lab:
        lab.begin(ideas=ideas, hours=None, seed=1)
        return lab.run_night(), lab.history


def test_a_baseline_that_crashes_ends_the_night(tmp_path: Path) -> None:
    """If the starting point does not run, nothing can be compared: the night has failed and says why."""
    done, history = night_done(Bench(tmp_path / "lab", {BASELINE: crashed("no such dataset"), BETTER: 0.9}))
    assert done.failed
    assert "no such dataset" in done.reason
    assert history.night is not None
    assert history.night.ended == NightEnded(night=history.night.began.night, reason=done.reason)
    assert len(history.runs) == 1


def test_a_baseline_is_tried_again_the_next_night(tmp_path: Path) -> None:
    """What was amiss with the machine may be mended: the same source gets a fresh chance, whatever failed before."""
    mended = False

    def patient(run: Run) -> Outcome | float:
        return 1.0 if mended else Lost(reason="gone") if run.night and run.night.endswith("n1") else crashed()

    bench = Bench(tmp_path / "lab", {BASELINE: patient, BETTER: 0.9})
    assert night_done(bench)[0].failed
    assert night_done(bench)[0].failed
    mended = True
    done, history = night_done(bench, ideas=1)
    assert not done.failed
    assert len(history.promotions) == 1


def test_a_baseline_that_is_lost_again_and_again_ends_the_night(tmp_path: Path) -> None:
    """A lab that cannot keep its baseline running stops."""
    done, history = night_done(Bench(tmp_path / "lab", {BASELINE: Lost(reason="gone")}))
    assert done == Done("the baseline's runs were lost again and again", failed=True)
    assert len(history.runs) == MAX_LOST


# --- devices that are not fit to be measured on -----------------------------------------------------------------


def test_a_run_that_is_not_believed_is_made_again(tmp_path: Path) -> None:
    """A lucky value from a contended device promotes nothing: the same seed runs again, and that value counts."""
    seen: set[tuple[str, int]] = set()

    def contended(run: Run) -> Conditions:
        first = run.purpose is not Purpose.BASELINE and (run.experiment, run.seed) not in seen
        seen.add((run.experiment, run.seed))
        return conditions("others used the GPU" if first else "")

    def lucky(run: Run) -> float:
        return 1.2 if (run.experiment, run.seed) in seen else 0.5

    bench = Bench(tmp_path / "lab", {BASELINE: 1.0, BETTER: lucky}, conditions=contended)
    history = bench.night(ideas=1)
    idea = next(s for s in history.experiments.values() if s.experiment.description == BETTER.strip())
    assert [(r.run.seed, r.is_believed) for r in idea.runs] == [(FIRST_SEED, False), (FIRST_SEED, True)]
    assert idea.verdict is not None
    assert (idea.verdict.decision, idea.verdict.runs_used) == (Decision.DISCARD, 1)
    assert not history.promotions


def test_an_eternally_contended_device_ends_the_night_with_its_reason(tmp_path: Path) -> None:
    """A baseline that never meets a device of its own is given up after a few runs, and the reason is the device's."""
    bench = Bench(
        tmp_path / "lab", {BASELINE: 1.0, BETTER: 0.9}, conditions=lambda run: conditions("others used the GPU")
    )
    done, history = night_done(bench)
    assert done == Done("the baseline's runs cannot be believed (others used the GPU)", failed=True)
    assert len(history.runs) == MAX_LOST


def test_a_device_that_goes_bad_in_mid_night_ends_it(tmp_path: Path) -> None:
    """Idea after idea is given up without a word against it, until so many runs in a row show whose fault it is."""
    ideas = {f"LR = {n}\n": 0.9 for n in range(1, 20)}

    def later(run: Run) -> Conditions:
        return conditions("" if run.purpose is Purpose.BASELINE else "the GPU was too hot")

    done, history = night_done(Bench(tmp_path / "lab", {BASELINE: 1.0, **ideas}, conditions=later), ideas=19)
    assert done.failed
    assert done.reason == (
        f"the last {MAX_LOST_IN_A_ROW} runs cannot be believed (the GPU was too hot), so the machine needs a look"
    )
    assert len(history.runs) == 2 + MAX_LOST_IN_A_ROW
    assert not history.promotions
    verdicts = [s.verdict for s in history.experiments.values() if s.verdict]
    assert all("the GPU was too hot" in v.because and "says nothing of the idea" in v.because for v in verdicts)


class Refusing(FakeBackend):
    """A backend that cannot start anything."""

    error: type[BackendError] | type[ConfigError] = BackendError

    def start(self, run: Run, commit: str, bounds: Bounds | None = None) -> FakeJob:
        raise self.error(f"no room for {run.id}")


def test_runs_that_cannot_be_started_are_lost(tmp_path: Path) -> None:
    """A backend that refuses every start gives lost runs with its reason, and the night ends."""
    done, history = night_done(Bench(tmp_path / "lab", TABLE), backend=Refusing(lambda *_: None, lambda _: None))
    assert done.failed
    for state in history.runs.values():
        assert isinstance(state.outcome, Lost)
        assert "no room" in state.outcome.reason


def test_a_lab_that_is_amiss_stops_the_night(tmp_path: Path) -> None:
    """An error that no other run would escape is passed on, and leaves no run that seems to go on."""
    bench = Bench(tmp_path / "lab", TABLE)
    backend = Refusing(lambda *_: None, lambda _: None)
    backend.error = ConfigError
    with pytest.raises(ConfigError, match="no room"):
        night_done(bench, backend=backend)
    assert not bench.history().running


# --- when it ends -----------------------------------------------------------------------------------------------


def test_an_exhausted_search_ends_the_night(bench: Bench) -> None:
    """When the search has nothing left the night ends with the search's own words, after the final block."""
    done, history = night_done(bench, ideas=99)
    assert done == Done("the list is at its end")
    assert runs_of(history, Purpose.FINAL)


def test_the_hours_limit_leaves_room_for_the_end(tmp_path: Path) -> None:
    """With hours given the night proposes until only the final runs fit, and is over in time."""
    table = {BASELINE: 1.0, BETTER: 0.95, **{f"LR = {n}\n": 1.1 for n in range(100, 160)}}
    bench = Bench(tmp_path / "lab", table)
    before = bench.clock.now
    history = bench.night(hours=0.5)
    assert history.night is not None
    assert history.night.ended is not None
    assert history.night.ended.reason == "the hours are over"
    assert len(runs_of(history, Purpose.FINAL)) == 8
    took = bench.clock.now - before
    assert 1500 < took < 1800
    assert 10 < len(proposals(bench)) < 25


def test_no_ideas_asked_none_tried(bench: Bench) -> None:
    """A night of no ideas measures the baseline and ends."""
    history = bench.night(ideas=0)
    assert [s.run.purpose for s in history.runs.values()] == [Purpose.BASELINE] * 2


# --- two places -------------------------------------------------------------------------------------------------


def overlaps(history: History) -> int:
    """The most runs under way at one moment."""
    moments = [(s.seq, 1) for s in history.runs.values()] + [(s.ended_seq or 0, -1) for s in history.runs.values()]
    now = most = 0
    for _, step in sorted(moments):
        now += step
        most = max(most, now)
    return most


def test_two_places_run_two_at_a_time(tmp_path: Path) -> None:
    """With two places two runs go side by side, each in its own, never three; the night takes half as long."""
    one, two = Bench(tmp_path / "one", TABLE), Bench(tmp_path / "two", TABLE, places=("cpu:0", "cpu:1"))
    slow, fast = one.night(ideas=5), two.night(ideas=5)
    assert (overlaps(slow), overlaps(fast)) == (1, 2)
    assert {s.run.slot for s in fast.runs.values()} == {0, 1}
    assert two.clock.now - one.clock.now < 0
    assert two.source(fast.champion) == one.source(slow.champion) == BEST


def test_ideas_in_flight_are_judged_against_the_new_champion(tmp_path: Path) -> None:
    """An idea that ends after another was promoted is compared with the new champion, not with its parent."""
    table: dict[str, Answer] = {BASELINE: 1.0, BETTER: 0.90, HAIR: 0.95}
    bench = Bench(tmp_path / "lab", table, places=("cpu:0", "cpu:1"))
    slow: dict[str, float] = {}

    def late(run: Run) -> Outcome | float | None:
        return 0.95 if bench.clock.now > slow.setdefault(run.id, bench.clock.now) + 200 else None

    table[HAIR] = late
    history = bench.night(ideas=2)
    last = story(bench)[-1]
    assert last[:3] == (HAIR.strip(), BETTER.strip(), "discard")
    assert bench.source(history.champion) == BETTER


def test_a_new_champion_costs_no_run_of_the_old_one(tmp_path: Path) -> None:
    """After a promotion undecided ideas are judged anew before anything is started: the old champion runs no more."""
    table: dict[str, Answer] = {
        BASELINE: 1.0,
        **{f"LR = 0.{n}\n": 0.9990 + 0.0002 * n for n in range(1, 5)},
        BEST: 0.9,
    }
    bench = Bench(tmp_path / "lab", table, places=tuple(f"cpu:{n}" for n in range(4)))
    history = bench.night(ideas=5)
    promotion = {v.experiment: history.state(v.experiment).judged_seq for v in history.promotions}
    assert history.night is not None
    champion = history.night.began.baseline
    for verdict in history.promotions:
        late = [
            r.run
            for r in history.state(champion).runs
            if r.seq > promotion[verdict.experiment] and r.run.purpose is not Purpose.FINAL
        ]
        assert late == []
        champion = verdict.experiment


class Eager(FakeBackend):
    """Starting a run takes a minute, in which others end."""

    def __init__(self, bench: Bench, ledger: Ledger) -> None:
        super().__init__(bench.measure, ledger.append, places=bench.places)
        self.clock, self.jobs = bench.clock, list[FakeJob]()

    def start(self, run: Run, commit: str, bounds: Bounds | None = None) -> FakeJob:
        self.clock.sleep(60)
        for job in self.jobs:
            job.poll()
        self.jobs.append(super().start(run, commit, bounds))
        return self.jobs[-1]


class Watchful:
    """A listener that sees to it that nothing is started while something waits to be judged."""

    def told(self, recorded: Recorded, history: History) -> None:
        if isinstance(recorded.event, Started):
            assert decide.due(history) == []

    def tick(self, history: History) -> None: ...


@pytest.mark.parametrize("eager", [False, True])
def test_all_news_are_judged_before_anything_starts(tmp_path: Path, eager: bool) -> None:
    """However many runs end at one moment, also while another starts: each is judged before the next step is taken."""
    table: dict[str, Answer] = {BASELINE: 1.0, **{f"LR = {n}\n": 0.9990 + 0.0002 * n for n in range(100, 106)}}
    bench = Bench(tmp_path / "lab", table, places=tuple(f"cpu:{n}" for n in range(4)))
    with Ledger.open(bench.settings.database, clock=bench.clock) as ledger:
        backend = Eager(bench, ledger) if eager else None
        with bench.lab(listener=Watchful(), backend=backend) as lab:
            lab.begin(ideas=6, hours=None, seed=1)
            lab.run_night()


# --- what is refused before a night -----------------------------------------------------------------------------


def refused(bench: Bench, error: type[Exception], match: str) -> None:
    with bench.lab() as lab, pytest.raises(error, match=match):
        lab.sources.check()


def test_a_clean_lab_is_accepted(bench: Bench) -> None:
    """Untracked files beside the editable one are no obstacle."""
    bench.repo.write({"notes.txt": "mine"})
    with bench.lab() as lab:
        lab.sources.check()


@pytest.mark.parametrize("name", ["train.py", "prepare.py"])
def test_uncommitted_changes_are_refused(bench: Bench, name: str) -> None:
    """A changed editable or protected file is named, with the three ways on."""
    bench.repo.commit({"prepare.py": "B = 1\n"})
    bench.repo.write({name: "changed = 1\n"})
    refused(bench, DirtyTreeError, name)


def test_a_module_that_hides_pythons_own_is_refused(bench: Bench) -> None:
    """A file like random.py beside train.py is named before it spoils every run."""
    bench.repo.commit({"random.py": ""})
    refused(bench, ShadowError, r"random\.py")


def test_no_editable_file_is_refused(bench: Bench) -> None:
    """If nothing committed matches `editable` there is nothing to work on."""
    bench.repo.git("rm", "--quiet", "train.py")
    bench.repo.commit({"other.py": ""})
    refused(bench, LabError, "no committed file matches")


def test_no_commit_is_refused(tmp_path: Path) -> None:
    """A repository without a commit is told to make one."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path / "lab")], check=True)
    refused(Bench(tmp_path / "lab", TABLE), NoRepositoryError, "no commit yet")


def test_an_editable_file_that_is_no_text(bench: Bench) -> None:
    """Bytes that are no UTF-8 are named: they cannot be edited."""
    (bench.root / "train.py").write_bytes(b"\xff\xfe")
    bench.repo.commit({})
    with bench.lab() as lab, pytest.raises(LabError, match=r"train\.py is no UTF-8"):
        lab.begin(ideas=1, hours=None, seed=1)


# --- the lease --------------------------------------------------------------------------------------------------

HOLD = """
import sys
from pathlib import Path
from nightlab.config import Settings
from nightlab.loop import lease
with lease(Settings(root=Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(root: Path) -> subprocess.Popen[str]:
    words: Sequence[str] = [sys.executable, "-c", HOLD, str(root)]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "held\n"
    return process


def test_one_process_decides(tmp_path: Path) -> None:
    """While a process holds the lease another is refused and told who it is; it is free again when the holder dies."""
    settings = Settings(root=tmp_path)
    process = holder(tmp_path)
    with pytest.raises(BusyError, match=f"pid {process.pid} since"), lease(settings):
        pass
    process.kill()
    process.communicate()
    with lease(settings):
        pass


def test_the_lease_comes_back(tmp_path: Path) -> None:
    """Given back, the lease can be taken again, also after an error inside."""
    settings = Settings(root=tmp_path)
    with pytest.raises(KeyError), lease(settings):
        raise KeyError
    with lease(settings), pytest.raises(BusyError), lease(settings):
        pass
