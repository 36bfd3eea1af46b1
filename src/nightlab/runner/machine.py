"""What the machine has to offer, and what a run's record says of it. No process of Python's is started for it."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from nightlab.config import Settings
from nightlab.types import Environment

# Packages whose versions change results; the lab's own Python environment is asked, not ours.
PACKAGES = ("torch", "numpy", "kernels", "tiktoken", "rustbpe", "triton", "jax", "nightlab")


def places(settings: Settings) -> tuple[str, ...]:
    """Device of each parallel place of the lab: "cuda:0", "cuda:1", ... or "cpu:0", "cpu:1", ...

    GPUs are counted as far as CUDA_VISIBLE_DEVICES lets us see them. More slots than GPUs share them in turn.
    """
    gpus = len(visible_gpus())
    wanted = settings.budget.slots
    count = (gpus or cores()) if wanted == "auto" else wanted
    return tuple(f"cuda:{place % gpus}" if gpus else f"cpu:{place}" for place in range(count))


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def visible_gpus() -> tuple[str, ...]:
    """Model names of the GPUs that we may use."""
    installed = _installed_gpus()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(installed.values())
    names: list[str] = []
    for key in (part.strip() for part in visible.split(",")):
        name = next((name for known, name in installed.items() if key in known.split() or _is_uuid(key, known)), None)
        if name is None:
            break  # as CUDA does: what follows an unknown device is not seen
        names.append(name)
    return tuple(names)


def _is_uuid(key: str, known: str) -> bool:
    return key.startswith(("GPU-", "MIG-")) and known.split()[1].startswith(key)


@cache
def _installed_gpus() -> Mapping[str, str]:
    """ "<index> <uuid>" -> model, for every NVIDIA GPU of the machine."""
    try:
        asked = subprocess.run(
            ["nvidia-smi", "--query-gpu=index,uuid,name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return {}
    if asked.returncode != 0:
        return {}
    rows = (line.split(", ", 2) for line in asked.stdout.splitlines() if line.count(", ") >= 2)
    return {f"{index} {uuid}": name for index, uuid, name in rows}


def environment(device: str, env_dir: Path | None, *, dirty: bool = False) -> Environment:
    """Facts about what a run on `device` runs on.

    Args:
        device: one of `places`.
        env_dir: the lab's Python environment; None: that of the `python` on PATH.
        dirty: whether the source had uncommitted edits.
    """
    home = env_dir or _on_path()
    return Environment(
        device=device,
        machine=_machine(device),
        python=_python(home),
        platform=platform.platform(),
        versions=_versions(home),
        dirty=dirty,
    )


def _machine(device: str) -> str:
    kind, _, number = device.partition(":")
    gpus = visible_gpus()
    if kind == "cuda" and int(number or 0) < len(gpus):
        return gpus[int(number or 0)]
    return f"{_cpu()}, {cores()} cores"


@cache
def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.processor() or platform.machine()


def _on_path() -> Path:
    """The directory in which the `python` on PATH is installed."""
    found = shutil.which("python") or shutil.which("python3")
    return Path(os.path.realpath(found)).parents[1] if found else Path("/usr")


@cache
def _python(env_dir: Path) -> str:
    """Version of the environment's Python: from its pyvenv.cfg or conda's list, else as its interpreter is called."""
    try:
        text = (env_dir / "pyvenv.cfg").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    if found := re.search(r"^version(?:_info)?\s*=\s*(\d+\.\d+\.\d+)", text, re.MULTILINE):
        return found[1]
    listed = " ".join(path.name for path in env_dir.glob("conda-meta/python-*.json"))
    if found := re.search(r"\bpython-(\d+\.\d+\.\d+)", listed):
        return found[1]
    if env_dir.resolve() in (Path(sys.prefix).resolve(), Path(sys.base_prefix).resolve()):
        return platform.python_version()
    found = re.search(r"(\d+\.\d+(?:\.\d+)?)$", os.path.realpath(env_dir / "bin" / "python3"))
    return found[1] if found else "unknown"


@cache
def _versions(env_dir: Path) -> Mapping[str, str]:
    """Versions from the names of the environment's dist-info directories: nothing is imported."""
    found: dict[str, str] = {}
    for info in sorted(env_dir.glob("lib*/python*/site-packages/*.dist-info")):
        name, _, version = info.name.removesuffix(".dist-info").partition("-")
        if name.lower() in PACKAGES:
            found[name.lower()] = version
    return found


def has_package(env_dir: Path | None, name: str) -> bool:
    """Whether the distribution `name` is installed in an environment, by its directory: nothing is imported.

    Args:
        env_dir: from `workspace.lab_environment`; None: that of the `python` on PATH.
        name: as it is called on PyPI.
    """
    env_dir = env_dir or _on_path()
    wanted = name.lower().replace("-", "_")
    infos = env_dir.glob("lib*/python*/site-packages/*.dist-info")
    return any(info.name.partition("-")[0].lower() == wanted for info in infos)
