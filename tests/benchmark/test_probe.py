"""`prepare.py --probe`: one number, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from itertools import count
from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmark.fresh import ROOT


def test_the_probe_prints_one_number_and_touches_nothing(tmp_path: Path) -> None:
    """In a home without any data: no profile line, no building, a positive number."""
    environment = {"HOME": str(tmp_path), "AUTORESEARCH_PROFILE": "demo", "PATH": "/usr/bin:/bin"}
    done = subprocess.run(
        [sys.executable, ROOT / "prepare.py", "--probe"], env=environment, cwd=tmp_path, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert len(done.stdout.splitlines()) == 1
    assert float(done.stdout) > 0
    assert list(tmp_path.rglob("autoresearch")) == []


def test_the_gpu_probe_counts_its_products(prepare: ModuleType) -> None:
    """A clock of a tenth of a second a look: as many products as fit half a second, over the time that they took.

    On the CPU, with small matrices, its clock and its waiting made up: what it cannot show here is CUDA itself.
    """
    looks = count()
    waits: list[None] = []
    rate = prepare._probe_gpu("cpu", 8, lambda: 0.1 * next(looks), lambda: waits.append(None))
    # Looks: the start, one before each batch and one after the last; 0.5 s lie between the first and the sixth.
    batches = 4
    assert rate == pytest.approx(batches * prepare.PROBE_BATCH / 0.6 * 2 * 8**3 / 1e12)
    assert len(waits) == 2 * (1 + batches)  # the warm-up as well, and never a look while work is under way


def test_a_faster_cpu_has_a_larger_number(prepare: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work per second, not seconds."""
    monkeypatch.setattr(prepare, "_probe", lambda: (0.005, 1e-9))
    assert prepare.measure_speed() == pytest.approx(200.0)
