"""A lab opened to work in, for whoever asks: the command line, a night, an agent's call."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from nightlab.config import IGNORED, Settings
from nightlab.errors import BusyError, GitError, LedgerError
from nightlab.root import refuse_second_lab

if TYPE_CHECKING:
    from nightlab.loop import Lab, Listener

_LOG_LIMIT = 1 << 20  # bytes of background.log, at which it is begun anew; the one before is kept


@contextmanager
def open_lab(settings: Settings, listener: Listener | None = None) -> Iterator[Lab]:
    """A lab that can work, with the built-in proposer and this machine as its backend.

    Raises:
        NightlabError: whatever makes the directory unusable, by name.
    """
    refuse_second_lab(settings.root)
    from nightlab.git import Git
    from nightlab.loop import Lab
    from nightlab.memory import open_ledger
    from nightlab.planned import built_in
    from nightlab.runner.local import LocalBackend
    from nightlab.runner.workspace import pinned, sweep

    git = Git(settings.root)
    git.ignore(IGNORED)
    settings = pinned(settings, git)
    backend = LocalBackend(settings, git)
    on_gpu = backend.places[0].startswith("cuda")
    with open_ledger(settings) as ledger:
        lab = Lab(settings, ledger, git, backend, built_in(settings, git, on_gpu=on_gpu), listener=listener)
        sweep(settings, alive=lab.history.running)
        yield lab


@contextmanager
def mirrored(settings: Settings) -> Iterator[None]:
    """Take in what others wrote into the mirrors, and bring them up to date when the work is done.

    A mirror that cannot be written ends no night: the next command mends it.

    Raises:
        LabError: another lab's night asked this process for an idea.
    """
    refuse_second_lab(settings.root)
    from nightlab.discovering import catch_up
    from nightlab.takeover import adopt

    adopt(settings, time.time())
    yield
    try:
        adopt(settings, time.time())
        catch_up(settings, time.time())
    except (GitError, LedgerError) as exc:
        print(f"note: {exc.args[0]}; the next command mends it", file=sys.stderr)


def see_through(lab: Lab, settings: Settings) -> bool:
    """Work until every open idea is decided; while another process works on this lab, look on. False if it failed."""
    from nightlab.loop import lease

    while True:
        try:
            with lease(settings):
                lab.begin(ideas=0, hours=None, seed=0)
                return not lab.settle().failed
        except BusyError:
            if lab.look_on(seconds=5.0):
                return True


def start_in_background(settings: Settings, *words: str) -> None:
    """Start a command on this lab that goes on when this process ends; what it says lies in background.log."""
    import subprocess

    path = settings.results / "background.log"
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_name("background.log.1"))
    with path.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "nightlab", *words, "--lab", str(settings.root)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    process.returncode = 0  # nobody waits for it: without an ending it would be warned of when it is forgotten
