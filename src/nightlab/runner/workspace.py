"""Workspaces: a directory of its own for each run, outside the repository, with the files of one tree object.

Also what a command finds in its environment: the lab's Python, the workspace's code, and where to write results.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from nightlab.config import Settings
from nightlab.errors import BackendError, ConfigError
from nightlab.git import Git
from nightlab.root import CONFIG_NAME
from nightlab.runner import machine
from nightlab.runner.files import remove_tree
from nightlab.runner.hashes import matching
from nightlab.runner.order import RunFiles
from nightlab.runner.tree import RUN_VARIABLE
from nightlab.types import Run, RunId

_YOUNG_S = 600.0  # a workspace this new may belong to a run that is just being started


_PROSE = (".md", ".txt", ".rst")
_UNPINNED = frozenset({".gitignore", ".gitattributes", "LICENSE", CONFIG_NAME, ".mcp.json", "opencode.json"})
_CLIENTS = (".agents/", ".claude/", ".codex/", ".cursor/", ".gemini/", ".opencode/")  # where agents' settings lie
_OWN_PATHS = frozenset({"SEED", "SUMMARY_PATH", "PROGRESS_PATH", "RECEIPT_PATH"})


def pinned(settings: Settings, git: Git, commit: str | None = None) -> Settings:
    """The settings with everything counted in that makes two runs comparable beside the editable files of a commit.

    These are the other committed files (prose, settings of the lab and of agents left out), the kind of device, and
    what the environment tells the benchmark (AUTORESEARCH_PROFILE and the like): under another prepare.py, helper
    module, GPU or budget the same source is another experiment. Without a commit it is HEAD that counts.
    """
    return pinned_by(settings, git.blobs(commit or git.head()))


def pinned_by(settings: Settings, blobs: Mapping[str, str]) -> Settings:
    """The same by the files of a commit: path -> object id."""
    editable = set(matching(blobs, settings.editable))
    parts = [f"{path} {blob}" for path, blob in sorted(blobs.items()) if path not in editable and _matters(path)]
    prefix = "AUTORESEARCH_"
    told = {name: value for name, value in os.environ.items() if name.removeprefix(prefix) not in _OWN_PATHS}
    parts += [f"{name}={value}" for name, value in sorted(told.items()) if name.startswith(prefix)]
    parts.append(machine.places(settings)[0].partition(":")[0])
    return replace(settings, pinned=hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest())


def _matters(path: str) -> bool:
    return not path.endswith(_PROSE) and not path.startswith(_CLIENTS) and path.rpartition("/")[2] not in _UNPINNED


def make(git: Git, tree: str, run_id: RunId, settings: Settings) -> Path:
    """Check out the files of `tree` into a new workspace and link the lab's untracked inputs into it.

    A link is a symbolic link to the lab's own file or directory. It is read-only by agreement: nothing is copied,
    and what the file permissions let a run write, it can write. Inputs that must not change belong into `protected`
    (if tracked) or under permissions of the file system.

    Raises:
        ConfigError: an input to link does not exist, or git tracks a file of that name.
        BackendError: no place for workspaces can be written.
    """
    workspace = _base(settings.root) / run_id
    if os.path.lexists(workspace):
        remove_tree(workspace)
    git.checkout(tree, workspace)
    try:
        for name in settings.link:
            _link(settings.root / name, workspace / name, name)
    except (ConfigError, OSError):
        remove_tree(workspace)
        raise
    return workspace


def _link(source: Path, place: Path, name: str) -> None:
    if not source.exists():
        raise ConfigError(
            f"link names {name!r}, but {source} does not exist", hint="make it, or take it out of nightlab.toml"
        )
    if os.path.lexists(place):
        raise ConfigError(
            f"link names {name!r}, but git tracks it, so that every workspace has it already",
            hint="take it out of `link` in nightlab.toml",
        )
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(source.resolve())


def sweep(settings: Settings, alive: Collection[RunId]) -> tuple[Path, ...]:
    """Delete the lab's workspaces whose run is over; returns those that are gone. New ones are left alone."""
    gone = []
    for base in _candidates(settings.root):
        with contextlib.suppress(OSError):
            for workspace in base.iterdir():
                old = time.time() - workspace.lstat().st_mtime > _YOUNG_S
                if workspace.name not in alive and old and remove_tree(workspace):
                    gone.append(workspace)
    return tuple(gone)


def discard(settings: Settings, run_id: RunId) -> None:
    """Delete the workspace of one run, if it has one."""
    for base in _candidates(settings.root):
        remove_tree(base / run_id)


def _base(root: Path) -> Path:
    """The first place for workspaces that can be written."""
    problem: OSError | None = None
    for base in _candidates(root):
        try:
            base.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=base):
                return base
        except OSError as exc:
            problem = exc
    raise BackendError(
        f"no place for workspaces can be written: {problem}", hint="set XDG_CACHE_HOME to a directory with space"
    )


def _candidates(root: Path) -> tuple[Path, Path]:
    """Where workspaces of this lab may lie: the user's cache, else the temporary directory."""
    lab = hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]
    cache = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(cache) if os.path.isabs(cache) else Path(os.path.expanduser("~/.cache"))
    fallback = Path(tempfile.gettempdir()) / f"nightlab-{os.getuid()}"
    return home / "nightlab" / "work" / lab, fallback / "work" / lab


def lab_environment(settings: Settings) -> Path | None:
    """The Python environment that a lab's commands run with: its own .venv, else the active one, conda's too.

    None: there is none, and commands find what the caller's PATH finds. Only `uv run`, which would build one in every
    workspace, is then given the environment that nightlab itself lives in.
    """
    own = settings.root / ".venv"
    if (own / "pyvenv.cfg").is_file():
        return own
    for variable, mark in (("VIRTUAL_ENV", "pyvenv.cfg"), ("CONDA_PREFIX", "conda-meta")):
        place = os.environ.get(variable, "")
        if place and (Path(place) / mark).exists():
            return Path(place)
    return Path(sys.prefix) if _is_uv_run(settings.argv) else None


def _is_uv_run(words: Sequence[str]) -> bool:
    return bool(words) and os.path.basename(words[0]) == "uv" and "run" in words[1:]


def command_env(settings: Settings, run: Run, files: RunFiles, workspace: Path, env_dir: Path | None) -> dict[str, str]:
    """Variables for a run's command, on top of the supervisor's environment.

    Python imports the workspace's modules before any other copy, also before the lab's own where that is installed
    in editable mode. `uv run` uses the lab's environment as it is: it would otherwise build a second one for the
    workspace, or point the lab's at it. PYTHONDONTWRITEBYTECODE stays unset: uv compiles nothing when it installs, so
    each run would compile all of torch again.

    Args:
        settings: the lab; its `env` has the last word.
        run: what is run; its device picks the GPU.
        files: where the run keeps its files.
        workspace: the directory that the command runs in.
        env_dir: from `lab_environment`; None leaves PATH and uv as the caller has them.
    """
    return {
        RUN_VARIABLE: run.id,
        "PWD": str(workspace),  # some programs believe it, and would work in the lab's own tree
        "NIGHTLAB_RESULT_PATH": str(files.result),
        "AUTORESEARCH_SEED": str(run.seed),
        "AUTORESEARCH_SUMMARY_PATH": str(files.summary),
        "AUTORESEARCH_PROGRESS_PATH": str(files.progress),
        "AUTORESEARCH_RECEIPT_PATH": str(files.receipt),
        "PYTHONPATH": _python_path(settings.root, workspace),
        "PYTHONUNBUFFERED": "1",  # the log is read while the run goes on, and survives its being killed
        **(_activated(env_dir) if env_dir else {}),
        **_device(run.environment.device),
        **settings.env,
    }


def _activated(env_dir: Path) -> Mapping[str, str]:
    path = os.pathsep.join([str(env_dir / "bin"), os.environ.get("PATH", os.defpath)])
    found = {"PATH": path, "UV_NO_SYNC": "1", "UV_FROZEN": "1"}
    if (env_dir / "pyvenv.cfg").is_file():  # a system Python or conda's is no environment that uv would take
        found |= {"UV_PROJECT_ENVIRONMENT": str(env_dir), "VIRTUAL_ENV": str(env_dir)}
    return found


def import_roots(root: Path, paths: Iterable[str]) -> tuple[str, ...]:
    """Directories of the lab from which a run's Python imports, in order, relative to `root`; "." is `root` itself.

    Args:
        root: the lab.
        paths: the files of the commit that is run, relative to `root`.
    """
    source = ["src"] if any(path.startswith("src/") for path in paths) else []
    inside = [str(path.relative_to(root)) for path in _callers_path() if path.is_relative_to(root)]
    return tuple(dict.fromkeys([".", *source, *inside]))


def _python_path(root: Path, workspace: Path) -> str:
    """The workspace first; what the caller's path says of the lab means the workspace."""
    mine = [workspace, *([workspace / "src"] if (workspace / "src").is_dir() else [])]
    for path in _callers_path():
        inside = path.is_relative_to(root) and not path.is_relative_to(workspace)
        mine.append(workspace / path.relative_to(root) if inside else path)
    return os.pathsep.join(dict.fromkeys(str(path) for path in mine))


def _callers_path() -> tuple[Path, ...]:
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return tuple(Path(os.path.abspath(entry)) for entry in entries if entry)


def _device(device: str) -> Mapping[str, str]:
    """Which GPU the command sees: the n-th of those that we see ourselves."""
    kind, _, number = device.partition(":")
    if kind != "cuda":
        return {}
    visible = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    index = int(number or 0)
    return {"CUDA_VISIBLE_DEVICES": visible[index].strip() if index < len(visible) else str(index)}
