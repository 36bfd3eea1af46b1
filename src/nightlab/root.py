"""Where a lab lies, without loading anything else: every hook of an agent asks that first."""

from __future__ import annotations

import os
from pathlib import Path

from nightlab.errors import LabError, NoRepositoryError

CONFIG_NAME = "nightlab.toml"
OWN_LAB = "NIGHTLAB_LAB"  # in the environment of a hook: the lab whose door was knocked at (`.agents/nightlab.sh`)
FOR_LAB = "NIGHTLAB_AGENT"  # in the environment of an agent that a night asks for an idea: the lab it works for


def find_root(start: Path) -> Path:
    """The lab that `start` lies in: the nearest directory with a nightlab.toml, else the git top level.

    Raises:
        NoRepositoryError: neither exists, or the nightlab.toml lies outside any git repository.
    """
    start = start.resolve()
    top = _git_top(start)
    for directory in (start, *start.parents):
        if (directory / CONFIG_NAME).is_file():
            if top is None:
                raise NoRepositoryError(
                    f"{directory} has a {CONFIG_NAME} but lies in no git repository",
                    hint="run `git init` there and commit the files, or make a lab with `nightlab new DIR`",
                )
            return directory
        if directory == top:
            return directory
    raise NoRepositoryError(
        f"no git repository at {start}",
        hint="change to your experiment's repository, or make a lab with `nightlab new DIR`",
    )


def refuse_second_lab(root: Path) -> None:
    """Let an agent that a night asked for an idea change no other lab, such as its checkout, which looks like one.

    Raises:
        LabError: it would; whatever it ran there would train beside the night's runs and be thrown away.
    """
    asked = os.environ.get(FOR_LAB, "")
    if asked and os.path.realpath(asked) != os.path.realpath(root):
        raise LabError(
            f"a night of {asked} asked you for one idea: edit the files, run nothing",
            hint=f"the night runs and judges the idea when you end; who is no such agent unsets {FOR_LAB}",
        )


def _git_top(start: Path) -> Path | None:
    """Top level of the repository around `start`, or None. No process: this runs in every command."""
    return next((d for d in (start, *start.parents) if (d / ".git").exists()), None)
