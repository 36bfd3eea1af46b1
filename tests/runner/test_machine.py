"""Places and facts of the machine."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nightlab.config import BudgetSettings, Settings
from nightlab.runner import machine


def test_places_follow_the_settings(tmp_path: Path) -> None:
    """One device for each parallel place."""
    settings = Settings(root=tmp_path)
    for slots in (1, 3):
        places = machine.places(replace(settings, budget=BudgetSettings(slots=slots)))
        assert len(places) == slots
        assert all(place.startswith(("cpu:", "cuda:")) for place in places)
    assert len(machine.places(replace(settings, budget=BudgetSettings(slots="auto")))) == (
        len(machine.visible_gpus()) or machine.cores()
    )


@pytest.mark.parametrize(
    ("visible", "devices", "model"),
    [
        (None, "cuda:0 cuda:1 cuda:2", "NVIDIA H100"),
        ("2,1", "cuda:0 cuda:1", "NVIDIA L4"),
        ("GPU-c", "cuda:0", "NVIDIA L4"),
        ("1,9,0", "cuda:0", "NVIDIA A100"),
        ("", "cpu:0", ""),
        ("-1", "cpu:0", ""),
    ],
)
def test_gpus_are_counted_as_far_as_we_may_see_them(
    tmp_path: Path, visible: str | None, devices: str, model: str
) -> None:
    """By nvidia-smi and CUDA_VISIBLE_DEVICES, which may hold indices or identifiers."""
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho '0, GPU-a, NVIDIA H100\n1, GPU-b, NVIDIA A100\n2, GPU-c, NVIDIA L4'\n")
    tool.chmod(0o755)
    env = {k: v for k, v in os.environ.items() if k != "CUDA_VISIBLE_DEVICES"} | {"PATH": f"{tmp_path}:/bin:/usr/bin"}
    code = (
        "from pathlib import Path\nfrom nightlab.config import *\nfrom nightlab.runner.machine import *\n"
        "found = places(Settings(root=Path(), budget=BudgetSettings(slots='auto')))\n"
        "print(*found[:1] if found[0] == 'cpu:0' else found)\n"
        "print(environment(found[0], Path()).machine)"
    )
    env |= {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    asked = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    places, machine_line = asked.stdout.splitlines()
    assert places == devices
    assert machine_line.startswith(model)


def test_facts_come_from_the_labs_environment(tmp_path: Path) -> None:
    """Versions are read from names of directories, of a short list of packages."""
    site = tmp_path / "lib" / "python3.12" / "site-packages"
    for info in ("torch-2.9.1+cu128.dist-info", "numpy-2.3.0.dist-info", "secret_plugin-1.0.dist-info"):
        (site / info).mkdir(parents=True)
    (tmp_path / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.12.4\n")
    facts = machine.environment("cpu:1", tmp_path, dirty=True)
    assert facts.versions == {"torch": "2.9.1+cu128", "numpy": "2.3.0"}
    assert (facts.device, facts.python, facts.dirty) == ("cpu:1", "3.12.4", True)
    assert "cores" in facts.machine
    assert machine.has_package(tmp_path, "torch")
    assert not machine.has_package(tmp_path, "jax")
