"""The rooms put together: from a directory to a lab that can work."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.config import Settings, load_settings
from nightlab.root import find_root

if TYPE_CHECKING:
    from nightlab.loop import Lab, Listener

IGNORED = ("results/", "results.tsv", "run.log")  # what we and our users' commands leave in a lab, never committed


def add_lab_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--lab", type=Path, default=Path(), metavar="DIR", help="the lab (default: here)")


def settings_of(directory: Path) -> Settings:
    """Settings of the lab that `directory` lies in."""
    return load_settings(find_root(directory))


@contextmanager
def open_lab(settings: Settings, listener: Listener | None = None) -> Iterator[Lab]:
    """A lab that can work, with the built-in proposer and this machine as its backend.

    Raises:
        NightlabError: whatever makes the directory unusable, by name.
    """
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
