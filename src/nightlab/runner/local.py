"""The local backend: a workspace and one supervisor process for each run, detached from whoever starts it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import nightlab
from nightlab.config import Settings
from nightlab.errors import BackendError, NightlabError
from nightlab.git import Git
from nightlab.runner import lock, machine, workspace
from nightlab.runner.hashes import hash_files
from nightlab.runner.order import Inspection, Order, RunFiles, write_order
from nightlab.runner.supervisor import request_stop
from nightlab.runner.tree import RUN_VARIABLE, kill_marked
from nightlab.types import Bounds, Environment, Run, RunId


class LocalBackend:
    """Runs on this machine. They outlive the process that starts them, and record their own endings."""

    def __init__(self, settings: Settings, git: Git) -> None:
        self._settings, self._git = settings, git
        self._env_dir = workspace.lab_environment(settings)
        self._places = machine.places(settings)

    @property
    def places(self) -> tuple[str, ...]:
        """Devices on which one run each can go at a time."""
        return self._places

    def environment(self, slot: int) -> Environment:
        """What a run in that place will run on."""
        return machine.environment(self._places[slot], self._env_dir)

    def start(self, run: Run, commit: str, bounds: Bounds | None = None) -> LocalJob:
        """Start `run`, which the ledger knows as started, in a workspace of its own with the files of `commit`.

        Its supervisor holds it against `bounds`, also when we are gone.

        Raises:
            BackendError: the run directory or workspace cannot be written, or the run is under way already.
            ConfigError: an input to link is not there.
            GitError: there is no such commit.
        """
        with _charge(self._files(run.id)) as held:
            try:
                place = workspace.make(self._git, self._git.tree_of(commit), run.id, self._settings)
                return _launch(self._order(run, place, bounds), held)
            except NightlabError:
                workspace.discard(self._settings, run.id)
                raise

    def is_alive(self, run: RunId) -> bool:
        """Whether the run's supervisor, or the guard that cleans up after it, is alive. Any process may ask."""
        return lock.is_held(self._files(run).lock)

    def clear(self, run: RunId) -> None:
        """End and remove whatever a run without a supervisor has left behind."""
        end_strays(run)
        workspace.discard(self._settings, run)

    def stop(self, run: RunId, reason: str) -> None:
        """Ask for an early end of a run that any process on this machine has started; seen within half a second.

        Raises:
            BackendError: the request cannot be written.
        """
        try:
            request_stop(self._files(run), reason)
        except FileNotFoundError:
            return  # it was never started here
        except OSError as exc:
            raise BackendError(
                f"run {run} cannot be asked to stop: {self._files(run).stop}: {exc.strerror}",
                hint="free some disk space; the run ends at its limit anyway",
            ) from exc

    def _files(self, run: RunId) -> RunFiles:
        return RunFiles(self._settings.runs / run)

    def _order(self, run: Run, place: Path, bounds: Bounds | None) -> Order:
        settings, files = self._settings, self._files(run.id)
        return Order(
            run=run,
            cwd=place,
            run_dir=files.directory,
            database=settings.database,
            env=workspace.command_env(settings, run, files, place, self._env_dir),
            grace_s=settings.budget.grace_seconds,
            metric=settings.metric,
            editable=tuple(hash_files(place, settings.editable)),
            guarded=hash_files(place, (*settings.editable, *settings.protected)),
            workspace=place,
            inspection=self._inspection(),
            bounds=bounds,
        )

    def _inspection(self) -> Inspection:
        settings = self._settings
        on_cpu = self._places[0].startswith("cpu")
        return Inspection(
            probe=settings.probe.argv,
            probe_limit_s=settings.probe.timeout_seconds,
            timed=None if settings.metric.timed == "auto" else settings.metric.timed,
            neighbours=len(self._places) - 1 if on_cpu else 0,
        )


class LocalJob:
    """A run whose supervisor is a child of this process."""

    def __init__(self, run: RunId, files: RunFiles, process: subprocess.Popen[bytes]) -> None:
        self._run, self._files, self._process = run, files, process

    def __del__(self) -> None:
        if self._process.poll() is None:  # a supervisor outlives whoever started it: that is nothing to warn of
            self._process.returncode = 0

    @property
    def run(self) -> RunId:
        return self._run

    def poll(self) -> bool:
        """Whether nothing more will happen: the supervisor has gone, and its guard with it."""
        return self._process.poll() is not None and not lock.is_held(self._files.lock)

    def cancel(self, reason: str = "stopped by the operator") -> None:
        """Ask for an early end; returns at once, and does nothing if the run is over."""
        try:
            request_stop(self._files, reason)
            is_written = True
        except OSError:  # a full disk: the signal alone must do, and the reason is lost
            is_written = False
        # Only once it can take a signal, which it shows by opening the log; before that it finds the request itself.
        if self._process.poll() is None and (self._files.log.exists() or not is_written):
            self._process.send_signal(signal.SIGTERM)


def launch(order: Order) -> LocalJob:
    """Start a supervisor for an order, in a session of its own.

    Raises:
        BackendError: the run directory cannot be written, or the run is under way already or over.
    """
    with _charge(order.files) as held:
        return _launch(order, held)


@contextlib.contextmanager
def _charge(files: RunFiles) -> Iterator[int]:
    """Be in charge of a run: its lock is held from before anything of it exists, and handed to its supervisor."""
    try:
        files.directory.mkdir(parents=True, exist_ok=True)
        held = lock.take(files.lock, patience_s=0.2)
    except OSError as exc:
        raise BackendError(f"{files.directory} cannot be written: {exc.strerror}", hint="free some space") from exc
    try:
        if files.ended.exists():
            raise BackendError(f"the run of {files.directory} is over", hint="each run is started once")
        yield held
    finally:
        os.close(held)  # the supervisor has its own copy


def _launch(order: Order, held: int) -> LocalJob:
    files = order.files
    try:
        path = write_order(order)
        with files.supervisor_log.open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "nightlab.supervise", str(path), str(held)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=files.directory,
                env=_own_environment(),
                pass_fds=(held,),
                start_new_session=True,
            )
    except OSError as exc:
        raise BackendError(f"no supervisor could be started: {exc}", hint="`nightlab doctor` looks deeper") from exc
    return LocalJob(order.run.id, files, process)


def end_strays(run: RunId) -> int:
    """Kill what is left of a run whose supervisor is dead; returns how many processes that were.

    They are known by NIGHTLAB_RUN_ID in the environment that they were started with. Needed only where supervisor and
    guard were killed at the same moment.
    """
    return kill_marked(RUN_VARIABLE, run)


def _own_environment() -> dict[str, str]:
    """The supervisor's environment: ours, but no PYTHONPATH through which a lab's json.py could get at it."""
    env = dict(os.environ)
    path = env.pop("PYTHONPATH", "").split(os.pathsep)
    home = os.path.dirname(os.path.dirname(os.path.abspath(nightlab.__file__)))
    if home in (os.path.abspath(entry) for entry in path if entry):  # nightlab itself is found only through it
        env["PYTHONPATH"] = home
    return env
