"""benchmarks/search_efficiency.py: what the measurement of the search rests on."""

from __future__ import annotations

import json
import math
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks import product_search, search_efficiency
from benchmarks.hpo_tables import load_table
from benchmarks.older_search import ControlPlane, search_ucb
from benchmarks.product_search import FILE, rendered, rewritten, search_product
from benchmarks.real_objectives import load_objective
from benchmarks.searchers import search_greedy, search_random, search_tpe
from benchmarks.spaces import Axis, Config, Result, Sitting, Space, luck
from benchmarks.surrogate import Surrogate, fit, read_tables
from nightlab.errors import ConfigError, UsageError
from nightlab.history import History
from nightlab.search.knobs import find_knobs
from nightlab.search.propose import PARTS, Proposer
from nightlab.search.source import source_hash
from nightlab.types import EMITTERS, Again, Exhausted, ExperimentId, Files, Idea, Plan

START: dict[str, int | float | str] = {"MATRIX_LR": 0.04, "DEPTH": 8, "WINDOW_PATTERN": "SSSL"}


def write_table(path: Path, seed: int, *, without: str = "", knobs: int = 3) -> Path:
    """A log of forty runs: the loss has its optimum at a higher rate; depths above twelve crash."""
    rng = random.Random(seed)
    names = [name for name in ("config", "val_bpb", "status") if name != without]
    lines = ["\t".join(names)]
    for number in range(40):
        config: dict[str, Any] = dict(START)
        if number:
            config = {"MATRIX_LR": 10 ** rng.uniform(-2.5, -0.5), "DEPTH": rng.randint(4, 16)}
            config["WINDOW_PATTERN"] = rng.choice(("SSSL", "LLLL"))
        config = dict(list(config.items())[:knobs])
        loss = 1.0 + 0.05 * abs(math.log10(config["MATRIX_LR"]) + 1.0)
        crashed = config.get("DEPTH", 8) > 12
        row = {"config": json.dumps(config), "val_bpb": "0" if crashed else f"{loss:.6f}"}
        row["status"] = "crash" if crashed else "ok"
        lines.append("\t".join(row[name] for name in names))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tables(tmp_path: Path) -> list[Path]:
    return [write_table(tmp_path / f"session{seed}.tsv", seed) for seed in range(3)]


@pytest.fixture
def world(tables: list[Path]) -> Surrogate:
    return fit("tables", read_tables(tables))


def test_the_command_gives_a_row_for_each_method_and_mark_with_its_paired_difference(
    tables: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """--json is one array of rows with value, standard error and the difference to greedy, for both surrogates."""
    first, second = [str(path) for path in tables[:2]], str(tables[2])
    arguments = ["--tables", *first, "--holdout", second, "--methods", "greedy,random", "ours", "--seeds", "2"]
    assert search_efficiency.main([*arguments, "--budget", "27", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    seen = {(row["objective"], row["method"], row["at"]) for row in rows}
    assert seen == {(o, m, k) for o in ("tables", "holdout") for m in ("greedy", "random", "ours") for k in (25, 27)}
    for row in rows:
        assert row["seeds"] == 2
        assert row["value"] > 0.9
        assert row["se"] >= 0
        assert (row["minus_greedy"] is None) == (row["method"] == "greedy")
    greedy, drawn = (next(r for r in rows if r["method"] == name and r["at"] == 27) for name in ("greedy", "random"))
    assert drawn["minus_greedy"] == pytest.approx(drawn["value"] - greedy["value"])


def test_a_screen_says_what_the_surrogate_rests_on(tables: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Rows, distinct configurations, sessions and the fit to unseen sessions stand above the table."""
    files = [str(path) for path in tables]
    assert search_efficiency.main(["--tables", *files, "--methods", "greedy", "--seeds", "1", "--budget", "3"]) == 0
    said = capsys.readouterr().out
    assert "120 runs" in said
    assert "118 distinct configurations, 3 sessions, 3 knobs" in said
    assert "R2 " in said
    assert "| greedy | " in said


def test_the_same_seed_gives_the_same_search(world: Surrogate) -> None:
    """Every method is a function of its seed alone."""
    for search in (search_random, search_greedy, search_ucb, search_tpe, search_product):
        first, again, other = (Sitting(world, seed, 12) for seed in (3, 3, 4))
        for sitting in (first, again, other):
            search(sitting)
        assert first.tried == again.tried
        assert first.tried != other.tried


def test_all_methods_meet_the_same_noise_at_the_same_run(world: Surrogate) -> None:
    """What a run adds to the truth depends on the search's seed and the run's number, whatever is tried."""
    noises: list[dict[int, float]] = []
    for search in (search_greedy, search_random, search_product):
        sitting = Sitting(world, 5, 15)
        search(sitting)
        noises.append(
            {
                number: result.value - world.truth(config)
                for number, (config, result) in enumerate(sitting.tried)
                if result.value is not None
            }
        )
    shared = set.intersection(*(set(noise) for noise in noises))
    assert len(shared) >= 3
    for number in shared:
        assert noises[0][number] == pytest.approx(noises[1][number], abs=1e-12)
        assert noises[0][number] == pytest.approx(noises[2][number], abs=1e-12)
    assert len({round(noise, 9) for noise in noises[0].values()}) == len(noises[0])


def test_a_table_without_a_column_is_named_with_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The message names the file, the column and what a table needs."""
    path = write_table(tmp_path / "bare.tsv", 0, without="status")
    assert search_efficiency.main(["--tables", str(path), "--methods", "greedy"]) == 1
    said = capsys.readouterr().err
    assert "bare.tsv has no column status" in said
    assert "hint: a table needs `config`" in said


def test_tables_that_cannot_be_used_are_refused(tmp_path: Path) -> None:
    """No such file, no configurations at all, and no knob in common are said, not searched in."""
    with pytest.raises(ConfigError, match=r"absent\.tsv cannot be read"):
        read_tables([tmp_path / "absent.tsv"])
    empty = tmp_path / "empty.tsv"
    empty.write_text("config\tval_bpb\tstatus\n\t1.0\tok\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no run with a `config`"):
        read_tables([empty])
    other = tmp_path / "other.tsv"
    other.write_text('config\tval_bpb\tstatus\n{"OTHER": 1}\t1.0\tok\n', encoding="utf-8")
    with pytest.raises(ConfigError, match="no knobs that all share"):
        read_tables([write_table(tmp_path / "one.tsv", 0), other])


def test_only_knobs_that_all_tables_have_are_searched(tmp_path: Path) -> None:
    """A knob that one session lacks is left out, and named."""
    read = read_tables([write_table(tmp_path / "a.tsv", 0), write_table(tmp_path / "b.tsv", 1, knobs=2)])
    assert [axis.name for axis in read.space.axes] == ["DEPTH", "MATRIX_LR"]
    assert read.left_out == ("WINDOW_PATTERN",)


def test_the_surrogate_starts_where_the_sessions_did_and_knows_what_crashes(world: Surrogate) -> None:
    """The start is the first row that most tables share; what ran out of memory in the logs does so always."""
    assert dict(world.space.start) == START
    assert [world.run({**START, "DEPTH": 16}, seed, 1).value for seed in range(5)] == [None] * 5
    assert world.truth({**START, "MATRIX_LR": 0.1}) < world.truth(START)


def test_a_batch_that_does_not_divide_crashes(tmp_path: Path) -> None:
    """As in training: the total batch is a multiple of the device's rows of 2,048 tokens."""
    path = tmp_path / "batches.tsv"
    rows = [(2**17, 64), (2**18, 64), (2**18, 128), (2**19, 128), (2**19, 32), (2**17, 32)]
    texts = [json.dumps({"TOTAL_BATCH_SIZE": total, "DEVICE_BATCH_SIZE": device}) for total, device in rows]
    path.write_text("\n".join(["config\tval_bpb\tstatus", *(f"{text}\t1.0\tok" for text in texts)]), encoding="utf-8")
    world = fit("batches", read_tables([path]))
    assert world.run({"TOTAL_BATCH_SIZE": 2**17, "DEVICE_BATCH_SIZE": 128}, 0, 1).reason.startswith("AssertionError")
    assert world.run({"TOTAL_BATCH_SIZE": 2**18, "DEVICE_BATCH_SIZE": 128}, 0, 1).value is not None


def test_ours_is_the_product_s_proposer_and_judge(world: Surrogate, monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in proposer is asked with the loop's generator, and the judge's replicates count as runs."""
    asked: list[float] = []
    honest = Proposer.propose

    def propose(
        self: Proposer, history: History, base: ExperimentId, files: Files, rng: random.Random
    ) -> Idea | Again | Exhausted:
        asked.append(random.Random(str(rng.getstate())).random())
        return honest(self, history, base, files, rng)

    monkeypatch.setattr(Proposer, "propose", propose)
    sitting = Sitting(world, 7, 20)
    search_product(sitting)
    wanted = [random.Random(str(random.Random(f"7:{k}").getstate())).random() for k in range(len(asked))]
    assert asked == wanted
    assert len(sitting.tried) + sitting.unused == len(sitting.incumbents) == 20
    assert sitting.unused <= 2  # a night keeps back a tenth of its ideas for removals
    configs = [world.space.key(config) for config, _ in sitting.tried]
    assert configs[:2] == [world.space.key(START)] * 2  # the baseline's two runs
    assert len(set(configs)) < 19  # and something was run again


@dataclass(frozen=True)
class Flat:
    """Where nothing matters but luck."""

    space: Space
    name: str = "flat"

    def run(self, config: Config, seed: int, number: int) -> Result:
        return Result(1.0 + 0.01 * luck(seed, number).gauss(0.0, 1.0))

    def truth(self, config: Config) -> float:
        return 1.0


def test_ours_is_worth_its_champion(world: Surrogate) -> None:
    """An idea that measured best by luck and was not proven is an incumbent of greedy, and none of ours."""
    lucky = 0
    for seed in range(4):
        greedy, ours = Sitting(Flat(world.space), seed, 8), Sitting(Flat(world.space), seed, 8)
        search_greedy(greedy)
        search_product(ours)
        assert ours.incumbents == [START] * 8
        lucky += greedy.incumbents[-1] != START
    assert lucky >= 2


def test_a_search_that_ends_early_keeps_what_it_has(world: Surrogate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nothing is left to propose, the champion stands to the last mark, and the unused runs are counted."""
    monkeypatch.setattr(Proposer, "propose", lambda *_: Exhausted(reason="nothing"))
    sitting = Sitting(world, 1, 9)
    search_product(sitting)
    assert sitting.incumbents == [START] * 9
    assert sitting.unused == 7


def test_an_idea_that_is_known_costs_no_run_and_is_not_offered_again(
    world: Surrogate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two rates beyond the end are one configuration: the second is refused, and lies in the history from then on."""
    top = next(axis.high for axis in world.space.axes if axis.name == "MATRIX_LR")
    offered: list[str] = []

    def propose(
        self: Proposer, history: History, base: ExperimentId, files: Files, rng: random.Random
    ) -> Idea | Exhausted:
        known = {state.experiment.source_hash for state in history.experiments.values()}
        assert source_hash(rendered(world.space, world.space.start), product_search.DIGEST) in known
        for rate in (3.0, 5.0):
            changed = rendered(world.space, {**START, "MATRIX_LR": rate})
            if f"{rate}" not in offered:
                offered.append(f"{rate}")
                return Idea(description=f"{rate}", files=changed, plan=Plan(emitter="local_tuner"))
        assert source_hash(changed, product_search.DIGEST) in known
        return Exhausted(reason="both were offered")

    monkeypatch.setattr(Proposer, "propose", propose)
    sitting = Sitting(world, 1, 9)
    search_product(sitting)
    assert offered == ["3.0", "5.0"]
    ideas = [config for config, _ in sitting.tried if config != world.space.start]
    assert ideas
    assert all(config["MATRIX_LR"] == pytest.approx(top, rel=1e-2) for config in ideas)


def test_an_ablation_is_told_to_the_proposer_or_refused(monkeypatch: pytest.MonkeyPatch, world: Surrogate) -> None:
    """`ours-no-X` reaches the proposer as `without`, for each of its parts; a part that is none is refused."""
    told: list[object] = []

    class Told(Proposer):
        def __init__(self, *, without: frozenset[str] = frozenset(), **more: Any) -> None:
            told.append(without)
            super().__init__(without=without, **more)

    monkeypatch.setattr(product_search, "Proposer", Told)
    for part in PARTS:
        search_efficiency.method(f"ours-no-{part}")(Sitting(Flat(world.space), 0, 3))
    search_efficiency.method("ours")(Sitting(Flat(world.space), 0, 3))
    assert told == [*(frozenset({part}) for part in PARTS), frozenset()]
    with pytest.raises(UsageError, match="there is no part luck"):
        search_efficiency.method("ours-no-luck")
    with pytest.raises(UsageError, match="there is no method tabu"):
        search_efficiency.method("tabu")


def test_what_the_product_writes_means_what_the_space_has() -> None:
    """Beyond an end is the end; between a grid's values is the nearest, but a move never ends where it began."""
    space = Space(
        (Axis("LR", 0.01, 1.0), Axis("UNITS", 16, 512, grid=(16, 32, 64, 512)), Axis("SCHEDULE", choices=("a", "b"))),
        {"LR": 0.5, "UNITS": 64, "SCHEDULE": "a"},
    )
    base = rendered(space, space.start)
    assert [knob.choices for knob in find_knobs(base, on_gpu=False) if knob.choices] == [("b",)]

    def meant(old: str, new: str) -> Config:
        changed = {FILE: base[FILE].replace(old, new)}
        assert changed != base
        return product_search.read_back(space, rewritten(space, base, changed))

    assert meant("LR = 0.5", "LR = 7.0")["LR"] == 1.0
    assert meant("UNITS = 64", "UNITS = 300")["UNITS"] == 512
    assert meant("UNITS = 64", "UNITS = 80")["UNITS"] == 512
    assert meant("UNITS = 64", "UNITS = 56")["UNITS"] == 32
    assert meant("SCHEDULE = 'a'", "SCHEDULE = 'b'")["SCHEDULE"] == "b"


def test_a_knob_that_the_product_cannot_see_stops_the_measurement() -> None:
    """A name that the product holds for part of the yardstick would silently never be searched."""

    space = Space((Axis("EVAL_TOKENS", 1.0, 2.0),), {"EVAL_TOKENS": 1.0})
    with pytest.raises(UsageError, match="sees no knob in EVAL_TOKENS"):
        search_product(Sitting(Flat(space), 0, 3))


def test_the_older_rule_has_its_phases_and_never_stays_for_a_fourth_time() -> None:
    """Two crashes of five stabilize; six runs without a gain and two near misses recombine; a streak of three ends."""
    plane = ControlPlane()
    assert plane.phase == "baseline"
    assert plane.choose() == EMITTERS[0]
    config: Config = {"LR": 0.1}
    plane.record("local_tuner", "optimizer/baseline", config, config, Result(1.0))
    for _ in range(2):
        plane.record("contrarian", "optimizer/explore", config, {"LR": 0.2}, Result(None, "CUDA out of memory"))
    assert plane.phase == "stabilize"
    for _ in range(6):
        plane.record("simplifier", "optimizer/explore", config, {"LR": 0.2}, Result(1.001))
    assert plane.phase == "recombine"
    plane.emitters["simplifier"].reward = 1000.0
    assert plane.streak == 6
    assert plane.choose() != "simplifier"


def test_the_older_rule_pays_a_first_crash_more_than_a_median_win() -> None:
    """Its rewards as they were measured: novelty, information and surprise swamp a gain of 0.0004."""
    config: Config = {"MATRIX_LR": 0.1}
    rewards = []
    for result in (Result(None, "CUDA out of memory"), Result(0.9996)):
        plane = ControlPlane()
        plane.record("optimizer_hacker", "optimizer/explore", config, config, Result(1.0))
        before = plane.emitters["optimizer_hacker"].reward
        plane.record("optimizer_hacker", "optimizer/explore", config, {"MATRIX_LR": 0.2}, result)
        rewards.append(plane.emitters["optimizer_hacker"].reward - before)
    # niche and emitter were seen once, the category never; one knob is one hunk
    common = (0.35 + 0.1) / math.sqrt(2) + 0.2 + 0.25 - 0.1
    assert rewards == pytest.approx([common + 0.2 + 0.15, common + 0.04])


def test_a_table_of_real_seeds_gives_one_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    """A run is one of the real seeds by the search's seed and the run's number; the regret of the best is zero."""
    table = load_table("car")
    known = table.losses["00000"]
    config = {axis.name: axis.grid[0] for axis in table.space.axes}
    values = [table.run(config, 0, number).value for number in range(40)]
    assert {value for value in values if value is not None} <= set(known)
    assert len(set(values)) > 1
    assert values == [table.run(config, 0, number).value for number in range(40)]
    assert table.truth(config) == pytest.approx(sum(known) / len(known))
    best = min(table.losses, key=lambda places: sum(table.losses[places]) / len(table.losses[places]))
    places = {axis.name: axis.grid[int(place)] for axis, place in zip(table.space.axes, best, strict=True)}
    assert table.regret(places) == 0.0
    with pytest.raises(UsageError, match="there is no table cars"):
        load_table("cars")


def test_several_tables_are_told_by_rank_and_a_paired_test(capsys: pytest.CaptureFixture[str]) -> None:
    """--hpo-bench adds mean ranks, which sum to those of a full order, and p-values of ours against TPE and UCB."""
    arguments = ["--hpo-bench", "car,nasbench201/cifar10", "--methods", "ours,tpe,ucb", "--seeds", "2", "--budget", "4"]
    assert search_efficiency.main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    ranks = [row["value"] for row in rows if row["objective"] == "mean rank"]
    assert sum(ranks) == pytest.approx(6.0)
    tests = {row["method"]: row for row in rows if row["p_tables"] is not None}
    assert set(tests) == {"ours - tpe", "ours - ucb"}
    assert all(0 <= row["p_nights"] <= 1 for row in tests.values())


def test_differences_are_tested_by_their_signed_ranks() -> None:
    """Five gaps to one side are as extreme as five can be: p = 2 / 32; nothing but zeros is no difference."""
    assert search_efficiency.signed_rank([-1.0, -2.0, -3.0, -4.0, -5.0, 0.0]) == pytest.approx(0.0625)
    assert search_efficiency.signed_rank([0.0, 0.0]) == 1.0


def test_a_small_training_has_real_noise_and_the_same_crashes_for_all() -> None:
    """Fresh seeds give different losses; injected crashes fall on the same runs of a search, never on its first two."""
    curve = load_objective("curve")
    start = curve.space.start
    values = [curve.run(start, 0, number).value for number in range(3)]
    assert len(set(values)) == 3
    curve.train = lambda config, seed: float(seed)
    first, second = ([curve.run(config, 0, k) for k in range(1, 201)] for config in (start, {**start, "LR": 0.1}))
    assert first == second
    assert 2 <= sum(result.value is None for result in first) <= 25
    assert all(curve.run(start, seed, number).value is not None for seed in range(60) for number in (1, 2))
    with pytest.raises(UsageError, match="there is no objective gpt"):
        load_objective("gpt")


def test_a_training_that_diverges_is_a_crash_and_a_constant_guess_in_the_truth() -> None:
    """No infinite loss reaches a mean."""
    boosting = load_objective("boosting")
    boosting.train = lambda config, seed: math.nan
    assert boosting.run(boosting.space.start, 0, 2).value is None
    assert boosting.truth(boosting.space.start) == 1.0


def test_without_the_logs_the_surrogates_are_skipped_and_said_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A user has no logs beside the checkout: one line says so and how to give some."""
    monkeypatch.setattr(search_efficiency, "HISTORIES", tmp_path / "absent")
    assert search_efficiency.main([]) == 0
    said = capsys.readouterr().out
    assert said.startswith("skipped: no logs of runs in ")
    assert said.count("\n") == 1


def test_the_command_line_refuses_what_makes_no_sense(tables: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    """Sessions held out of nothing and searches of no runs are refused by argparse, unknown methods by name."""
    for arguments, said in ((["--holdout", str(tables[0])], "--tables: give both"), (["--seeds", "0"], "at least 1")):
        with pytest.raises(SystemExit) as exit_:
            search_efficiency.main(arguments)
        assert exit_.value.code == 2
        assert said in capsys.readouterr().err
    assert search_efficiency.main(["--methods", "tabu"]) == 2
    assert "there is no method tabu" in capsys.readouterr().err


def test_the_file_runs_as_a_script() -> None:
    """`python benchmarks/search_efficiency.py` finds its neighbours from any directory."""
    root = Path(__file__).resolve().parents[1]
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    command = [sys.executable, str(root / "benchmarks" / "search_efficiency.py"), "--help"]
    done = subprocess.run(command, cwd=root.parent, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--tables" in done.stdout
