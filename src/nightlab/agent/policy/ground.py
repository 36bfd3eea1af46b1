"""The ground of a lab: what its settings guard, and what the policy may read of its disk."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from nightlab.agent.policy.nouns import Deny, Ground

LARGEST = 64 * 1024  # bytes of a script or patch that is read along; longer ones are programs of their own


class Rule(Protocol):
    """A rule of the lab's own (`config.DenyRule`)."""

    @property
    def command(self) -> str: ...
    @property
    def reason(self) -> str: ...


class Rulebook(Protocol):
    """What nightlab.toml says under [policy] (`config.PolicySettings`)."""

    @property
    def enabled(self) -> bool: ...
    @property
    def protect(self) -> Sequence[str]: ...
    @property
    def allow(self) -> Sequence[str]: ...
    @property
    def deny(self) -> Sequence[Rule]: ...


class Lab(Protocol):
    """What is asked of a lab: its settings, or as much of them as a hook keeps at hand, where loading them is dear."""

    @property
    def root(self) -> Path: ...
    @property
    def command(self) -> str: ...
    @property
    def editable(self) -> tuple[str, ...]: ...
    @property
    def protected(self) -> tuple[str, ...]: ...
    @property
    def policy(self) -> Rulebook: ...


def ground_of(settings: Lab, cwd: Path, home: Path, branch: str) -> Ground:
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
        metric=str(getattr(getattr(settings, "metric", None), "name", "")),  # hooks do not keep it at hand
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
