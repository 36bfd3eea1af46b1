"""Recorded runs played back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from nightlab.errors import ConfigError
from nightlab.sim.replay import LEAST, Replayed, convert, read_replay

RUNS = [0.9 + 0.001 * place for place in range(LEAST + 5)]


def tsv(path: Path, head: str, rows: Sequence[Sequence[object]]) -> Path:
    lines = [head, *("\t".join(map(str, row)) for row in rows)]
    path.write_text("\n".join(lines).replace(" ", "\t") + "\n", encoding="utf-8")
    return path


def whole(path: Path) -> Path:
    rows = [(value, 100 + place, "a" if place < 10 else "b") for place, value in enumerate(RUNS)]
    return tsv(path, "metric probe session", rows)


def test_a_replay_is_read(tmp_path: Path) -> None:
    """Runs, probes and sessions in their order; the world has no effects and the runs' mean as its start."""
    replay = read_replay(whole(tmp_path / "r.tsv"))
    assert replay.metrics == tuple(RUNS)
    assert replay.probes[:2] == (100.0, 101.0)
    assert replay.sessions == ("a",) * 10 + ("b",) * (len(RUNS) - 10)
    assert (replay.world.name, replay.world.slots, replay.world.effects.helps) == ("r", len(RUNS), 0.0)
    assert replay.world.start == pytest.approx(sum(RUNS) / len(RUNS))
    assert read_replay(tmp_path / "r.tsv", 12.0).world.slots == 12.0


def test_only_the_metric_is_needed(tmp_path: Path) -> None:
    """Without probe and session there is no speed to correct by, and one session."""
    replay = read_replay(tsv(tmp_path / "r.tsv", "metric", [(value,) for value in RUNS]))
    luck = Replayed(replay, 0, 0)
    luck.noise("a", 0, 0.0, 0)
    assert luck.conditions(0.0) is None
    assert {luck.device(turn) for turn in range(50)} == {""}


def test_a_missing_probe_is_no_speed(tmp_path: Path) -> None:
    """A row may leave it empty, or end before it."""
    rows: list[Sequence[object]] = [(value, 100) for value in RUNS[:-2]]
    path = tsv(tmp_path / "r.tsv", "metric probe", [*rows, (RUNS[-2], ""), (RUNS[-1],)])
    assert read_replay(path).probes[-3:] == (100.0, None, None)


def test_whatever_is_asked_for_takes_the_next_run(tmp_path: Path) -> None:
    """From a place by lot on, round at the end, with its own probe and session; the arm and the seed do not matter."""
    replay = read_replay(whole(tmp_path / "r.tsv"))
    luck = Replayed(replay, 3, 0)
    seen = []
    for turn in range(len(RUNS)):
        device = luck.device(turn)
        value = luck.noise(f"arm{turn}", turn, float(turn), turn) + luck.world.start
        found = luck.conditions(float(turn))
        assert found is not None
        seen.append((round(value, 6), found.speed, device))
    begin = round((seen[0][0] - 0.9) / 0.001)
    table = [(round(v, 6), 100.0 + p, "a" if p < 10 else "b") for p, v in enumerate(RUNS)]
    assert seen == [*table[begin:], *table[:begin]]
    assert len({Replayed(replay, night, 0).noise("a", 0, 0.0, 0) for night in range(20)}) > 5


def test_nothing_differs_from_anything(tmp_path: Path) -> None:
    """An idea changes nothing, so every promotion is false."""
    luck = Replayed(read_replay(whole(tmp_path / "r.tsv")), 0, 0)
    draw = luck.idea(5)
    assert (draw.effect, draw.crashes) == (0.0, False)
    assert luck.moved(-0.25, draw) == -0.25


@pytest.mark.parametrize(
    ("head", "rows", "said"),
    [
        pytest.param("value", [(1.0,)] * LEAST, "lacks the column metric", id="column"),
        pytest.param("metric", [(1.0,)] * (LEAST - 1), f"a night needs {LEAST}", id="few"),
        pytest.param("metric", [(1.0,)] * LEAST + [("x",)], f"line {LEAST + 2}: metric is 'x'", id="word"),
        pytest.param("metric", [(1.0,)] * LEAST + [("nan",)], "which is no number", id="nan"),
        pytest.param("probe metric", [(1.0, 1.0)] * LEAST + [(1.0,)], "metric is None", id="short"),
        pytest.param("metric probe", [(1.0, 1.0)] * LEAST + [(1.0, "fast")], "probe is 'fast'", id="probe"),
        pytest.param("metric probe", [(1.0, 0.0)] * LEAST, "must be positive", id="still"),
    ],
)
def test_what_is_no_replay_is_refused(tmp_path: Path, head: str, rows: list[Sequence[object]], said: str) -> None:
    """With what is amiss and where."""
    path = tsv(tmp_path / "r.tsv", head, rows)
    with pytest.raises(ConfigError, match=said) as caught:
        read_replay(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("data", [None, b"metric\n\xff\n"], ids=["missing", "no text"])
def test_what_cannot_be_read_is_said(tmp_path: Path, data: bytes | None) -> None:
    """A file that is not there, or no text."""
    path = tmp_path / "r.tsv"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(ConfigError, match="cannot be read"):
        read_replay(path)


# --- converting -------------------------------------------------------------------------------------------------


def test_converting_takes_the_commonest_configuration(tmp_path: Path) -> None:
    """Its finished runs in order, steps as probe, each file a session of its own, whatever the files are called."""
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    head = "val_bpb num_steps config status"
    first = tsv(
        tmp_path / "x" / "runs.tsv",
        head,
        [*((value, 900, "A", "keep") for value in RUNS), (0.5, 800, "B", "keep"), (0.0, 10, "A", "crash")],
    )
    second = tsv(tmp_path / "y" / "runs.tsv", head, [(0.91, 950, "A", "discard"), (0.92, "", "A", "discard")])
    target = tmp_path / "replay.tsv"
    assert convert([first, second], target) == len(RUNS) + 1
    replay = read_replay(target)
    assert replay.metrics == (*RUNS, 0.91)
    assert replay.probes == (*(900.0,) * len(RUNS), 950.0)
    assert len(set(replay.sessions)) == 2
    assert replay.sessions[-1] != replay.sessions[-2]


def test_one_configuration_needs_no_name(tmp_path: Path) -> None:
    """Without a column `config` all runs are of one."""
    source = tsv(tmp_path / "a.tsv", "val_bpb num_steps", [(value, 900) for value in RUNS])
    assert convert([source], tmp_path / "b.tsv") == len(RUNS)


@pytest.mark.parametrize(
    ("head", "rows", "said"),
    [
        pytest.param("val_bpb", [(1.0,)], "lacks the column num_steps", id="steps"),
        pytest.param("num_steps", [(1,)], "lacks the column val_bpb", id="metric"),
        pytest.param("val_bpb num_steps status", [(0.0, 5, "crash")], "no finished run", id="crashes"),
    ],
)
def test_what_cannot_be_converted_is_refused(
    tmp_path: Path, head: str, rows: list[Sequence[object]], said: str
) -> None:
    """And nothing is written."""
    with pytest.raises(ConfigError, match=said):
        convert([tsv(tmp_path / "a.tsv", head, rows)], tmp_path / "b.tsv")
    assert not (tmp_path / "b.tsv").exists()


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    """Who forgets the target does not lose his last history."""
    one, two = (tsv(tmp_path / name, "val_bpb num_steps", [(1.0, 9)]) for name in ("a.tsv", "b.tsv"))
    before = two.read_bytes()
    with pytest.raises(ConfigError, match=r"b\.tsv is there already"):
        convert([one], two)
    assert two.read_bytes() == before


def test_a_target_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A directory that is not there."""
    source = tsv(tmp_path / "a.tsv", "val_bpb num_steps", [(1.0, 9)])
    with pytest.raises(ConfigError, match="cannot be written"):
        convert([source], tmp_path / "none" / "b.tsv")
