"""Fresh copies of the benchmark's two modules: each test gets a process-wide state of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]

Runner = Callable[..., subprocess.CompletedProcess[str]]  # runs an edited copy of train.py


def load(name: str) -> ModuleType:
    """Execute ROOT/<name>.py anew, under the environment of this moment."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    if name == "prepare":
        vars(module)["_CPU_BEFORE_IMPORT"] = 0.0  # what pytest did so far is not this run's hidden work
    return module
