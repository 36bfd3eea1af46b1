"""Whether the Gemini CLI reads a lab's own settings: only in folders that it trusts, unless that is switched off."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from nightlab.agent.wiring import jsontext
from nightlab.agent.wiring.jsontext import Json
from nightlab.errors import BackendError


def asks_for_trust() -> bool:
    """Whether folder trust is on: unless the user's settings say no (0.61.0 run; its documentation has it off).

    Raises:
        BackendError: they cannot be read.
    """
    settings = _read(Path.home() / ".gemini" / "settings.json")
    for key in ("security", "folderTrust", "enabled"):
        settings = settings.get(key) if isinstance(settings, Mapping) else None
    return settings is not False


def trusts(lab: Path) -> bool:
    """Whether `lab` is a trusted folder, by its own entry, that of a directory above it, or this environment.

    Raises:
        BackendError: the list of trusted folders cannot be read.
    """
    if os.environ.get("GEMINI_CLI_TRUST_WORKSPACE") == "true":
        return True
    given = os.environ.get("GEMINI_CLI_TRUSTED_FOLDERS_PATH", "")
    folders = _read(Path(given) if given else Path.home() / ".gemini" / "trustedFolders.json")
    if not isinstance(folders, Mapping):
        return False
    for name, level in folders.items():
        trusted = Path(name).parent if level == "TRUST_PARENT" else Path(name)
        if level in {"TRUST_FOLDER", "TRUST_PARENT"} and lab.is_relative_to(trusted):
            return str(lab) not in folders or folders[str(lab)] != "DO_NOT_TRUST"
    return False


def _read(path: Path) -> Json:
    try:
        text = path.read_text(encoding="utf-8")
        return jsontext.load(text) if text.strip() else None
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as exc:
        why = exc.msg if isinstance(exc, json.JSONDecodeError) else exc
        raise BackendError(f"{path} cannot be read: {why}", hint="mend it") from exc
