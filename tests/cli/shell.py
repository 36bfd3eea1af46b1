"""A lab, and what somebody types there, in this very process."""

from __future__ import annotations

import json
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from nightlab.cli.main import main
from tests.builders import Repo


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> object:
        found: object = json.loads(self.out)
        return found


@dataclass(frozen=True)
class Shell:
    root: Path

    @classmethod
    def make(cls, root: Path, toml: str = "") -> Shell:
        files = {"train.py": "LR = 0.1\n", **({"nightlab.toml": toml} if toml else {})}
        return cls(Repo.make(root, files).root)

    def __call__(self, *words: str) -> Said:
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                code = main(words)
            except SystemExit as exc:
                code = exc.code if isinstance(exc.code, int) else 1
        return Said(code, out.getvalue(), err.getvalue())

    def at_lab(self, command: str, *words: str) -> Said:
        """A command told where the lab is."""
        return self(command, "--lab", str(self.root), *words)

    def log(self, description: str, status: str, value: float | None = None, *words: str) -> Said:
        """Log a run by hand."""
        summary = self.root / "summary.json"
        summary.write_text(json.dumps({"val_bpb": value, "peak_vram_mb": 2048.5}))
        given = () if status == "crash" else ("--summary", str(summary))
        return self.at_lab("log", "--description", description, "--status", status, *given, *words)

    @property
    def database(self) -> Path:
        return self.root / "results" / "nightlab" / "lab.db"
