"""A fake nvidia-smi that answers from a file, and notes what it was asked."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_TOOL = """#!{python} -S
import json, sys
place = {place!r}
with open(place + "/asked", "a") as file:
    file.write(" ".join(sys.argv[1:]) + chr(10))
answers = json.load(open(place + "/answers"))
query = next(a for a in sys.argv if a.startswith("--query"))
if "compute-apps" in query:
    pieces = answers["apps"]
else:
    if any(field in query for field in answers["unknown"]):
        print("Field is not a valid field to query.")
        sys.exit(2)
    pieces = answers["gpu"]
piece = pieces[0]
if len(pieces) > 1:
    answers["apps" if "compute-apps" in query else "gpu"] = pieces[1:]
    json.dump(answers, open(place + "/answers", "w"))
print(piece)
"""


class Smi:
    """What the fake says: `gpu` and `apps` are answers in turn, the last one for ever."""

    def __init__(self, place: Path) -> None:
        self.place = place
        tool = place / "nvidia-smi"
        tool.write_text(_TOOL.format(python=sys.executable, place=str(place)))
        tool.chmod(0o755)
        self.say()

    def say(
        self,
        gpu: Sequence[str] = ("1980, 0, 81559, 0x0000000000000000",),
        apps: Sequence[str] = ("",),
        unknown: Sequence[str] = (),
    ) -> None:
        (self.place / "answers").write_text(json.dumps({"gpu": gpu, "apps": apps, "unknown": unknown}))

    @property
    def asked(self) -> list[str]:
        path = self.place / "asked"
        return path.read_text().splitlines() if path.exists() else []

    @classmethod
    def installed(cls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Smi:
        """First on PATH, also for processes that are started from here."""
        place = tmp_path / "smi"
        place.mkdir()
        monkeypatch.setenv("PATH", f"{place}{os.pathsep}{os.environ['PATH']}")
        return cls(place)
