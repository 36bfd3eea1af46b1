"""A lab's memory used through its command line, in this process, and what has to be true of it at any time."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from nightlab.cli.main import main
from nightlab.ledger import Ledger, surface
from nightlab.ledger.records import Record
from nightlab.ledger.verify import verify
from tests.builders import Repo

HEADER = surface.TSV_HEADER.rstrip("\n")


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def run(self) -> str:
        """The run that `log` says it has recorded; "" if it says nothing."""
        line = next((line for line in self.out.splitlines() if line.startswith("Logged run=")), "")
        return line.removeprefix("Logged run=").split(" ")[0]


@dataclass(frozen=True)
class Memory:
    """A lab, and what somebody types there."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> Memory:
        Repo.make(root, {"train.py": "LR = 0.1\n"})
        (root / "summary.json").write_text('{"val_bpb": 0.99, "peak_vram_mb": 2048}')
        return cls(root)

    @property
    def database(self) -> Path:
        return self.root / "results" / "nightlab" / "lab.db"

    @property
    def journal(self) -> Path:
        return self.database.with_name("events.jsonl")

    @property
    def store(self) -> Path:
        return self.root / "results" / "memorylab"

    @property
    def lines(self) -> Path:
        return self.store / "experiments.jsonl"

    @property
    def registry(self) -> Path:
        return self.store / "champion_challenger.json"

    @property
    def table(self) -> Path:
        return self.root / "results.tsv"

    def __call__(self, *words: str) -> Said:
        out, err = StringIO(), StringIO()
        with _inside(self.root), redirect_stdout(out), redirect_stderr(err):
            try:
                code = main(words)
            except SystemExit as exc:
                code = exc.code if isinstance(exc.code, int) else 1
        return Said(code, out.getvalue(), err.getvalue())

    def log(self, description: str, status: str = "keep", value: object = 0.99, *words: str) -> Said:
        (self.root / "summary.json").write_text(json.dumps({"val_bpb": value, "peak_vram_mb": 2048.0}))
        return self("log", "--description", description, "--status", status, "--summary", "summary.json", *words)

    def fill(self, count: int) -> list[str]:
        """Some runs of each status; returns their names."""
        statuses = ("keep", "discard", "crash")
        return [self.log(f"idea {n}", statuses[n % 3], 1.2 - n / 1000).run for n in range(count)]

    # --- what is there --------------------------------------------------------------------------------------

    def records(self) -> list[Record]:
        with Ledger.read(self.database) as ledger:
            return list(ledger.records.all())

    def told(self) -> dict[str, tuple[str, float | None, str]]:
        """Run -> status, value, description."""
        return {r.run: (r.status, r.value, r.description) for r in self.records()}

    def check(self) -> None:
        """Chain and tables agree; each record has one line in each mirror it belongs to; the registry knows all."""
        with Ledger.read(self.database) as ledger:
            found = verify(ledger)
            assert found.is_sound, found.problem
            records = list(ledger.records.all())
            table = [surface.tsv_row(r) for r in ledger.records.of_table()]
        rows = Counter(_run_of(line) for line in self.lines.read_bytes().splitlines())
        known = [r.run for r in records if not r.table_line or rows[r.run]]
        assert {run: rows[run] for run in known} == dict.fromkeys(known, 1)
        lines = Counter(_bare(line) for line in self.table.read_text(errors="replace").splitlines())
        assert {row: lines[_bare(row)] for row in table} == {
            row: Counter(map(_bare, table))[_bare(row)] for row in table
        }
        registry = json.loads(self.registry.read_bytes())
        assert registry["num_experiments"] == len(records)
        assert registry["status_counts"] == {"crash": 0, "discard": 0, "keep": 0} | Counter(r.status for r in records)


def _bare(line: str) -> tuple[str, ...]:
    """A line of results.tsv without its memory, which the mirrors round in their own ways."""
    commit, *rest = line.split("\t", 4)
    return (commit, *rest[:1], *rest[2:])


def _run_of(line: bytes) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return ""
    return str(row.get("run_id", "")) if isinstance(row, dict) else ""


@contextmanager
def _inside(directory: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)
