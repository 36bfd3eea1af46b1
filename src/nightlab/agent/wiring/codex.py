"""What the Codex CLI itself says of a lab: which hooks it would run, and whether it trusts them."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from nightlab import __version__
from nightlab.agent.wiring import talking
from nightlab.errors import BackendError


class Hook(msgspec.Struct, frozen=True, rename="camel"):
    """One hook as Codex lists it."""

    event_name: str
    trust_status: str  # untrusted, modified, trusted or managed
    command: str | None = None
    enabled: bool = True


class _Listed(msgspec.Struct, frozen=True):
    hooks: list[Hook]


class _Hooks(msgspec.Struct, frozen=True):
    data: list[_Listed]


class _Answer(msgspec.Struct, frozen=True):
    result: _Hooks


def hooks_of(program: str, lab: Path) -> Sequence[Hook]:
    """The hooks that Codex would run in `lab` if it trusted them; none at all where it does not trust the project.

    Raises:
        BackendError: Codex does not answer, or not in the words that we know.
    """
    about = {"clientInfo": {"name": "nightlab", "title": "nightlab", "version": __version__}}
    messages = (
        {"id": 1, "method": "initialize", "params": about},
        {"method": "initialized"},
        {"id": 2, "method": "hooks/list", "params": {"cwds": [str(lab)]}},
    )
    try:
        answer = msgspec.json.decode(talking.ask([program, "app-server"], messages, 2, lab), type=_Answer)
    except BackendError as exc:
        raise BackendError(f"`codex app-server` does not say what it thinks of our hooks: {exc.args[0]}") from exc
    except msgspec.MsgspecError as exc:
        raise BackendError(f"`codex app-server` answers hooks/list in other words than we know: {exc}") from exc
    return [hook for listed in answer.result.data for hook in listed.hooks]


def home() -> Path:
    """The directory of Codex's own configuration."""
    given = os.environ.get("CODEX_HOME", "")
    return Path(given) if given else Path.home() / ".codex"


def trusts(places: Iterable[Path]) -> bool:
    """Whether the user's configuration trusts a project: by the first of these directories that it names.

    Raises:
        BackendError: the configuration cannot be read.
    """
    path = home() / "config.toml"
    try:
        projects = tomllib.loads(path.read_text(encoding="utf-8")).get("projects", {})
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as exc:
        raise BackendError(f"{path} cannot be read: {exc}", hint="mend it") from exc
    levels = {name: project.get("trust_level") for name, project in projects.items() if isinstance(project, dict)}
    return next((levels[str(place)] for place in places if str(place) in levels), None) == "trusted"
