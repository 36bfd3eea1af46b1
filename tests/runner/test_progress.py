"""A run's progress file: read as it grows, whatever stands in it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import pytest

from nightlab.runner.progress import ProgressFile, read_curve
from nightlab.types import Curve


def test_points_come_once_as_the_file_grows(tmp_path: Path) -> None:
    """A line that is not whole yet is read when it is; nothing is read twice."""
    path = tmp_path / "progress.jsonl"
    file = ProgressFile(path)
    assert file.read() == []
    path.write_text('{"fraction": 0.1, "loss": 5}\n{"fraction": 0.2, "lo')
    assert file.read() == [(0.1, 5.0)]
    with path.open("a") as more:
        more.write('ss": 4.5, "step": 7}\n')
    assert file.read() == [(0.2, 4.5)]
    assert file.read() == []


@pytest.mark.parametrize("spelling", ["NaN", "-Infinity", '"nan"'])
def test_a_loss_that_is_no_number_is_told(tmp_path: Path, spelling: str) -> None:
    """However it is spelt: it is the news that matters most."""
    path = tmp_path / "progress.jsonl"
    path.write_text(f'{{"fraction": 0.1, "loss": {spelling}}}\n')
    ((fraction, loss),) = ProgressFile(path).read()
    assert fraction == 0.1
    assert not math.isfinite(loss)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        '{"fraction": "x", "loss": 1}',
        '{"loss": 1}',
        '{"fraction": 0.1, "loss": null}',
        '{"fraction": NaN, "loss": 1}',
        '{"fraction": 0.1, "loss": []}',
        "[" * 5000,
        "\udcff",
    ],
)
def test_what_is_no_point_is_left_out(tmp_path: Path, line: str) -> None:
    """The file belongs to the run."""
    path = tmp_path / "progress.jsonl"
    path.write_bytes(line.encode("utf-8", "surrogateescape") + b'\n{"fraction": 0.5, "loss": 1}\n')
    assert ProgressFile(path).read() == [(0.5, 1.0)]


def test_a_pipe_or_a_directory_is_no_progress(tmp_path: Path) -> None:
    """Neither is waited for."""
    os.mkfifo(tmp_path / "pipe")
    assert ProgressFile(tmp_path / "pipe").read() == []
    assert ProgressFile(tmp_path).read() == []


def test_a_finished_run_has_its_curve(tmp_path: Path) -> None:
    """The same that its points make; None without any."""
    path = tmp_path / "progress.jsonl"
    points = [(step / 400, 4.0 - step / 400) for step in range(1, 401)]
    path.write_text("".join(json.dumps({"fraction": f, "loss": loss}) + "\n" for f, loss in points))
    assert read_curve(path) == Curve.of(points)
    assert read_curve(tmp_path / "none") is None
