"""benchmarks/cpu_nights.py: what the measurement of real nights rests on, with a pretended training."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from benchmarks import cpu_nights, cpu_runs
from benchmarks.cpu_methods import GREEDY, METHODS, OURS, NightRecord, marks, play
from benchmarks.cpu_nights import BELIEVED, Book, fresh_seeds, run_fresh, table, truth
from benchmarks.cpu_runs import DemoLab, Store, demo_lab, taken
from nightlab import decide
from nightlab.errors import BackendError
from nightlab.types import Crashed, Disputed, Files, Finished, Lost, Metrics, TimedOut, Voided

RUNS = 12
NAMED = {"a": 1.0, "b": 2.0, "c": 3.0}  # values of sources that are no Python


@dataclass
class Pretended:
    """A training whose value is drawn by source and seed, and which crashes one time in eight."""

    asked: list[tuple[str, int]] = field(default_factory=list)
    stop_at: int = 10**9

    def __call__(self, files: Files, seed: int) -> Finished | Crashed:
        if len(self.asked) == self.stop_at:
            raise KeyboardInterrupt
        source = files["train.py"]
        self.asked.append((source, seed))
        if source in NAMED:
            return Finished(metrics=Metrics(primary=NAMED[source] + 0.1 * (seed % 2)))
        draw = hashlib.sha256(source.encode()).digest()
        if draw[0] < 32:
            return Crashed(summary="ValueError: drawn", signature="ValueError: drawn")
        noise = hashlib.sha256(f"{source}{seed}".encode()).digest()[0] / 25_600
        return Finished(metrics=Metrics(primary=1.8 + draw[1] / 2_560 + noise))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> DemoLab:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cpu_runs, "visible_gpus", lambda: ())
        return demo_lab(tmp_path_factory.mktemp("nights") / "lab")


def silent(text: str) -> None:
    """Nobody listens."""


def night(method: str, lab: DemoLab, directory: Path, trainer: Pretended) -> tuple[NightRecord, Store]:
    store = Store(directory, trainer, lab.digest)
    return play(method, 3, RUNS, lab, store, silent), store


@pytest.mark.parametrize("method", METHODS)
def test_a_night_has_just_its_runs_whatever_they_are_for(method: str, lab: DemoLab, tmp_path: Path) -> None:
    """As many runs as --runs, no more, none made twice, none on a fresh seed; two of ours are the baseline's."""
    trainer = Pretended()
    record, _ = night(method, lab, tmp_path, trainer)
    assert len(record.values) == RUNS
    assert len(trainer.asked) == len(set(trainer.asked)) == RUNS
    assert set(record.champions) == set(marks(RUNS)) == {6, 12}
    assert not {seed for _, seed in trainer.asked} & set(fresh_seeds(20))
    sources = [source for source, _ in trainer.asked]
    start = lab.start["train.py"]
    assert sources.count(start) == (2 if method == OURS else 1)
    assert len(set(sources)) == RUNS or method == OURS, "greedy runs a source once"


def test_greedy_keeps_what_measured_best_on_the_first_seed(lab: DemoLab, tmp_path: Path) -> None:
    """Each source runs once, on the lab's first seed, and the champion after k runs has the lowest of k values."""
    trainer = Pretended()
    record, store = night(GREEDY, lab, tmp_path, trainer)
    assert {seed for _, seed in trainer.asked} == {decide.FIRST_SEED}
    for at in marks(RUNS):
        best = min((value, k) for k, value in enumerate(record.values[:at]) if value is not None)[1]
        assert record.champions[at] == store.name({"train.py": trainer.asked[best][0]})
    assert None in record.values, "a night without a crash says nothing about crashes"


def test_a_night_that_was_broken_off_goes_on_from_the_store(lab: DemoLab, tmp_path: Path) -> None:
    """The second try makes only the runs that are lacking, and is the night that it would have been."""
    whole, _ = night(OURS, lab, tmp_path / "whole", Pretended())
    with pytest.raises(KeyboardInterrupt):
        night(OURS, lab, tmp_path / "cut", Pretended(stop_at=7))
    rest = Pretended()
    again, _ = night(OURS, lab, tmp_path / "cut", rest)
    assert again == whole
    assert len(rest.asked) == RUNS - 7


def test_runs_are_shared_by_source_and_seed(tmp_path: Path) -> None:
    """One source and seed train once, for every store of the directory, crashes too; another digest is another run."""
    trainer = Pretended()
    files = {"train.py": "LR = 1\n"}
    first = Store(tmp_path, trainer, "x").run(files, 1)
    assert Store(tmp_path, trainer, "x").run({"train.py": "LR = 1  # said again\n"}, 1) == first
    assert len(trainer.asked) == 1
    Store(tmp_path, trainer, "x").run(files, 2)
    Store(tmp_path, trainer, "y").run(files, 1)
    assert len(trainer.asked) == 3


def test_a_crash_is_kept_as_it_was(tmp_path: Path) -> None:
    """What the search reads of a crash comes back from the store, tail and signature included."""
    crash = Crashed(summary="ValueError: x", exit_code=1, signature="ValueError", tail=("a", "b"))
    Store(tmp_path, lambda files, seed: crash, "x").run({"train.py": "a"}, 1)
    store = Store(tmp_path, Pretended(), "x")
    assert store.run({"train.py": "a"}, 1) == crash
    assert store.made == 0


def record_of(method: str, seed: int, half: str, whole: str, believed: str = "") -> NightRecord:
    return NightRecord(
        method=method, seed=seed, runs=2, digest="x", values=[], champions={1: half, 2: whole},
        believed={2: believed} if believed else {}, path=[],
    )  # fmt: skip


def test_the_table_pairs_nights_by_seed(tmp_path: Path) -> None:
    """Means, 95 % t-intervals and differences are of the nights whose champions have run, pair by pair."""
    store = Store(tmp_path, Pretended(), "x")
    names = {text: store.name({"train.py": text}) for text in NAMED}
    for text in NAMED:
        for seed in (1, 2):
            store.run({"train.py": text}, seed)
    nights = [
        record_of(OURS, 0, names["b"], names["a"], names["b"]),
        record_of(GREEDY, 0, names["c"], names["c"]),
        record_of(OURS, 1, names["b"], names["b"]),
        record_of(GREEDY, 1, names["c"], names["b"]),
        record_of(OURS, 2, "unknown", names["a"]),
    ]
    rows = {row.what: row for row in table(nights, store, names["c"], (1, 2), runs=2)}
    assert rows["baseline"].mean == pytest.approx(3.05)
    assert rows["ours@1"].nights == 2
    assert rows["ours@2"].each == pytest.approx((1.05, 2.05, 1.05))
    alone = rows[f"{BELIEVED}@2"]
    assert (alone.nights, alone.low, alone.high) == (1, None, None)
    assert alone.mean == pytest.approx(2.05)
    paired = rows["ours@2 - greedy@2"]
    assert paired.each == pytest.approx((-2.0, 0.0))
    assert paired.mean == pytest.approx(-1.0)
    assert paired.low == pytest.approx(-1 - 12.706)
    assert paired.high == pytest.approx(-1 + 12.706)
    assert rows["ours@1 - greedy@2"].each == pytest.approx((-1.0, 0.0))


def test_a_champion_that_crashes_on_a_fresh_seed_counts_as_the_baseline_there(tmp_path: Path) -> None:
    """Nobody would keep it, and a mean over the seeds on which it ran would flatter it."""

    def trainer(files: Files, seed: int) -> Finished | Crashed:
        if files["train.py"] == "bad" and seed == 2:
            return Crashed(summary="x")
        return Finished(metrics=Metrics(primary=3.0 if files["train.py"] == "start" else 1.0))

    store = Store(tmp_path, trainer, "x")
    bad, start = store.name({"train.py": "bad"}), store.name({"train.py": "start"})
    for seed in (1, 2):
        store.run({"train.py": "bad"}, seed)
    assert truth(store, bad, start, (1, 2)) is None, "the baseline has not run yet"
    store.run({"train.py": "start"}, 2)
    assert truth(store, bad, start, (1, 2)) == pytest.approx(2.0)


def test_the_later_line_on_a_night_holds_and_other_conditions_are_left_out(tmp_path: Path) -> None:
    """A night that was played again replaces its record; nights of another budget or profile are none of this table."""
    book = Book(tmp_path / "nights.jsonl", "x", 2)
    assert book.read() == []
    book.write(record_of(OURS, 0, "old", "old"))
    book.write(record_of(OURS, 0, "new", "new"))
    assert book.read() == [record_of(OURS, 0, "new", "new")]
    assert Book(book.path, "y", 2).read() == Book(book.path, "x", 3).read() == []


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [
        (TimedOut(limit_s=900.0), "no end within 900 s"),
        (Disputed(because="the receipt says 2", printed=1.0), "the receipt says 2"),
        (Voided(paths=("prepare.py",)), "prepare.py"),
    ],
)
def test_a_run_without_a_value_speaks_against_its_source(outcome: TimedOut | Disputed | Voided, kept: str) -> None:
    """As in the loop, whatever the source is to blame for is a crash of it."""
    found = taken(outcome)
    assert isinstance(found, Crashed)
    assert kept in found.summary


def test_a_lost_run_is_never_kept() -> None:
    """The machine's trouble ends the measurement with what to do, and nothing false lies in the store."""
    with pytest.raises(BackendError, match="was lost: killed by signal 9"):
        taken(Lost(reason="killed by signal 9"))


RUN = """\
import hashlib, json, os, pathlib
seed = int(os.environ["AUTORESEARCH_SEED"])
script = hashlib.sha256(pathlib.Path(__file__).read_bytes()).hexdigest()
receipt = {"metric": "val_bpb", "value": VALUE, "seed": seed, "script_sha256": script, "budget": {}}
receipt |= {"profile": "demo", "data_sha256": "", "tokenizer_sha256": ""}
pathlib.Path(os.environ["AUTORESEARCH_RECEIPT_PATH"]).write_text(json.dumps(receipt))
assert pathlib.Path("prepare.py").is_file()
print(f"val_bpb: {1.5 + seed / 100:.6f}")
"""


def test_a_real_run_is_read_as_the_lab_reads_it(lab: DemoLab) -> None:
    """The command runs beside prepare.py with its seed; a value needs its receipt, and a failure says what it was."""
    run = cpu_runs.OnCpu(lab)
    good = run({"train.py": RUN.replace("VALUE", "1.57")}, 7)
    assert isinstance(good, Finished)
    assert good.metrics.primary == pytest.approx(1.57)
    lied = run({"train.py": RUN.replace("VALUE", "1.4")}, 7)
    assert isinstance(lied, Crashed)
    assert "receipt says" in lied.summary
    failed = run({"train.py": "raise ValueError('no such layer')\n"}, 7)
    assert isinstance(failed, Crashed)
    assert failed.summary == "ValueError: no such layer"


@pytest.fixture
def pretended(lab: DemoLab, monkeypatch: pytest.MonkeyPatch) -> Pretended:
    trainer = Pretended()
    monkeypatch.setattr(cpu_nights, "demo_lab", lambda directory: lab)
    monkeypatch.setattr(cpu_nights, "prepare_data", lambda lab: None)
    monkeypatch.setattr(cpu_nights, "OnCpu", lambda lab: trainer)
    return trainer


def test_the_command_prints_the_table_and_makes_it_again_without_a_run(
    pretended: Pretended, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Methods take turns seed by seed; --table gives the same rows from what is there."""
    arguments = ["--nights", "2", "--runs", "4", "--fresh", "2", "--cache", str(tmp_path), "--json"]
    assert cpu_nights.main(arguments) == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"baseline", "ours@4", "greedy@4", "ours@4 - greedy@4", "ours@2 - greedy@4"} <= {r["what"] for r in rows}
    lines = [json.loads(line) for line in (tmp_path / "nights.jsonl").read_text().splitlines()]
    assert [(n["method"], n["seed"]) for n in lines] == [("ours", 0), ("greedy", 0), ("ours", 1), ("greedy", 1)]
    made = len(pretended.asked)
    assert cpu_nights.main([*arguments, "--table"]) == 0
    assert json.loads(capsys.readouterr().out) == rows
    assert len(pretended.asked) == made


def test_an_unknown_method_is_refused(pretended: Pretended, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """It says which there are, and nothing runs."""
    assert cpu_nights.main(["--methods", "ours,lucky", "--cache", str(tmp_path)]) == 2
    assert "no method lucky" in capsys.readouterr().err
    assert not pretended.asked


def test_a_machine_with_a_gpu_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """A run there is another one: the message says how to hide the GPU."""
    monkeypatch.setattr(cpu_runs, "visible_gpus", lambda: ("0",))
    assert cpu_nights.main(["--cache", str(tmp_path)]) == 2
    assert "there is a GPU" in capsys.readouterr().err


def test_data_that_cannot_be_prepared_ends_it(lab: DemoLab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without data every run would crash, and be kept as a crash."""
    monkeypatch.setattr("sys.executable", "false")
    with pytest.raises(BackendError, match=r"prepare\.py failed"):
        cpu_runs.prepare_data(lab)


def test_a_source_of_the_store_runs_on_the_fresh_seeds(lab: DemoLab, tmp_path: Path) -> None:
    """A champion of an earlier process is run by what the store has of it."""
    trainer = Pretended()
    store = Store(tmp_path, trainer, lab.digest)
    store.run({"train.py": "b"}, 1)
    run_fresh(Store(tmp_path, trainer, lab.digest), store.name({"train.py": "b"}), lab, (5, 6))
    assert trainer.asked == [("b", 1), ("b", 5), ("b", 6)]
