"""Orders, endings and locks survive the way from one process to the next."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from nightlab.config import MetricSettings
from nightlab.errors import BackendError
from nightlab.runner import lock
from nightlab.runner.files import read_small, remove_tree, write_atomic
from nightlab.runner.order import RunFiles, read_ended, read_order, write_ended, write_order
from nightlab.types import (
    OUTCOMES,
    Bounds,
    Crashed,
    Disputed,
    Ended,
    Finished,
    Look,
    Lost,
    Metrics,
    Outcome,
    RunId,
    StoppedEarly,
    TimedOut,
    Usage,
    Voided,
)
from tests.runner.orders import order_for

ONE_OF_EACH: tuple[Outcome, ...] = (
    Finished(metrics=Metrics(primary=0.99, memory_mb=1.5, steps=3, extra={"depth": 8.0})),
    Crashed(summary="boom \u2026", exit_code=-9, signature="boom", tail=("a", "b")),
    Finished(metrics=Metrics(primary=0.99), spared=StoppedEarly(reason="behind", fraction=0.6, behind=0.25)),
    TimedOut(limit_s=1.5),
    StoppedEarly(reason="plateau"),
    Lost(reason="power"),
    Voided(paths=("prepare.py",)),
    Disputed(because="differs", printed=1.0, receipt=None),
)


def test_an_order_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Whole, and for the user's eyes only: it holds variables of his environment."""
    order = order_for(tmp_path, "python", "a b", files={"train.py": ""}, metric=MetricSettings(low=0.0, receipt=True))
    looks = (Look(fraction=0.4, champion=3.5, margin=0.02),)
    order = replace(order, bounds=Bounds(looks=looks, because="", spared=True, ceiling=9.0, usual_s=300.0))
    path = write_order(order)
    assert read_order(path) == order
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b"\xff", b'{"run": 3}'])
def test_a_damaged_order_is_refused(tmp_path: Path, text: bytes) -> None:
    """By an error of ours that names the file."""
    (tmp_path / "order.json").write_bytes(text)
    with pytest.raises(BackendError, match=r"order\.json"):
        read_order(tmp_path / "order.json")
    with pytest.raises(BackendError, match="no order"):
        read_order(tmp_path / "other.json")


def test_every_outcome_is_read_as_it_was_written(tmp_path: Path) -> None:
    """A run's own directory suffices to know how it ended."""
    assert {type(outcome) for outcome in ONE_OF_EACH} == set(OUTCOMES)
    files = RunFiles(tmp_path)
    assert read_ended(files) is None
    for outcome in ONE_OF_EACH:
        ended = Ended(run=RunId("r1"), outcome=outcome, usage=Usage(wall_s=1.5, cpu_s=2.5))
        write_ended(files, ended)
        assert read_ended(files) == ended


@pytest.mark.parametrize(
    "text", [b"{", b'{"run": "r", "outcome": {"type": "Won"}, "usage": {"wall_s": 1, "cpu_s": 1}}']
)
def test_a_damaged_ending_is_no_ending(tmp_path: Path, text: bytes) -> None:
    """Nobody guesses how a run ended."""
    files = RunFiles(tmp_path)
    files.ended.write_bytes(text)
    with pytest.raises(BackendError, match="damaged"):
        read_ended(files)


def test_a_lock_has_one_holder(tmp_path: Path) -> None:
    """It is free again when the holder's last descriptor is closed; looking at it disturbs nobody."""
    path = tmp_path / "lock"
    assert not lock.is_held(path)
    held = lock.take(path)
    assert lock.is_held(path)
    with pytest.raises(BackendError):
        lock.take(path, patience_s=0.0)
    os.close(held)
    assert not lock.is_held(path)
    os.close(lock.take(path))


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    """A write that fails leaves the old file and no rubbish."""
    write_atomic(tmp_path / "a", b"old")
    (tmp_path / "b").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomic(tmp_path / "b", b"new")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    assert read_small(tmp_path / "a", 3) == b"old"
    with pytest.raises(ValueError, match="larger"):
        read_small(tmp_path / "a", 2)


def test_deleting_a_tree_follows_no_link(tmp_path: Path) -> None:
    """What links lead to stays; read-only directories go."""
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "file").write_text("")
    tree = tmp_path / "tree"
    (tree / "locked" / "deep").mkdir(parents=True)
    (tree / "link").symlink_to(tmp_path / "kept")
    (tree / "dangling").symlink_to(tmp_path / "nowhere")
    (tree / "locked").chmod(0o500)
    assert remove_tree(tree)
    assert (tmp_path / "kept" / "file").exists()
