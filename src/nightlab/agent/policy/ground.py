"""The ground of a lab: what its settings guard, and what the policy may read of its disk."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.agent.policy.nouns import Deny, Ground

if TYPE_CHECKING:
    from nightlab.config import Settings

LARGEST = 64 * 1024  # bytes of a script or patch that is read along; longer ones are programs of their own


def ground_of(settings: Settings, cwd: Path, home: Path, branch: str) -> Ground:
    """Where a command of an agent would run.

    Args:
        settings: the lab's.
        cwd: the directory that the command starts in; need not exist.
        home: the home directory of whoever it runs as.
        branch: the branch that is checked out, "" where none is.
    """
    policy = settings.policy
    return Ground(
        root=settings.root,
        cwd=cwd,
        home=home,
        branch=branch,
        protected=(*settings.protected, *policy.protect),
        editable=settings.editable,
        command=settings.command,
        allow=tuple(tuple(shlex.split(command)) for command in policy.allow),
        deny=tuple(Deny(tuple(shlex.split(rule.command)), rule.reason) for rule in policy.deny),
        enabled=policy.enabled,
        read=_small_text,
        resolve=Path.resolve,
    )


def _small_text(path: Path) -> str | None:
    """The text of a small file; None where there is none or it is no text."""
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return None
        text = path.read_bytes().decode("utf-8")
    except (OSError, ValueError):
        return None
    return None if "\0" in text else text
