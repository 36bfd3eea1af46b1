"""What the benchmark's tests share: a prepared home, fresh modules, and a way to run an edited train.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.benchmark.fresh import ROOT, Runner, load


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home directory whose cache holds the CPU profile's data."""
    folder = tmp_path_factory.mktemp("home")
    environment = {**os.environ, "HOME": str(folder), "AUTORESEARCH_PROFILE": "demo"}
    subprocess.run([sys.executable, ROOT / "prepare.py"], env=environment, check=True, capture_output=True)
    return folder


@pytest.fixture
def environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """The demo profile in a prepared home, with modules forgotten afterwards."""
    for variable in list(os.environ):
        if variable.startswith("AUTORESEARCH_"):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AUTORESEARCH_PROFILE", "demo")
    yield monkeypatch
    for name in ("prepare", "train"):
        sys.modules.pop(name, None)


@pytest.fixture
def prepare(environment: pytest.MonkeyPatch) -> ModuleType:
    """A fresh `prepare`."""
    return load("prepare")


@pytest.fixture
def train(prepare: ModuleType) -> ModuleType:
    """A fresh `train`, on the fresh `prepare`."""
    assert sys.modules["prepare"] is prepare
    return load("train")


@pytest.fixture
def run_copy(home: Path, tmp_path: Path) -> Runner:
    """Run a copy of train.py in a folder of its own, with lines replaced and extra environment."""

    def run(
        edits: dict[str, str] | None = None, script: str | None = None, **extra: str
    ) -> subprocess.CompletedProcess[str]:
        shutil.copy(ROOT / "prepare.py", tmp_path)
        source = (ROOT / "train.py").read_text() if script is None else script
        for old, new in (edits or {}).items():
            assert source.count(old) == 1, f"{old!r} is not there exactly once"
            source = source.replace(old, new)
        (tmp_path / "train.py").write_text(source)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("AUTORESEARCH_")}
        environment = {**kept, "HOME": str(home), "AUTORESEARCH_PROFILE": "demo", **extra}
        return subprocess.run(
            [sys.executable, "train.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    return run
