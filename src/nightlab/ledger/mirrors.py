"""Text mirrors of the ledger: where they lie, and writing them. What they say is in `surface`.

Rows are append-only and grow by one flushed write; whole files are replaced atomically. Whoever writes holds the
mirrors' lock, so that two commands at once neither interleave nor overwrite newer with older.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from nightlab.errors import LedgerError
from nightlab.types import RunId
from nightlab.waiting import lock

COPIED_LOG = "run.log"  # in the directory of a run that was written down by hand


@dataclass(frozen=True, slots=True)
class Mirrors:
    """Where everything of the older surface lies."""

    root: Path

    @property
    def directory(self) -> Path:
        return self.root / "results" / "memorylab"

    @property
    def ledger(self) -> Path:
        return self.directory / "experiments.jsonl"

    @property
    def registry(self) -> Path:
        return self.directory / "champion_challenger.json"

    @property
    def reports(self) -> Path:
        return self.directory / "reports"

    @property
    def tsv(self) -> Path:
        return self.root / "results.tsv"

    def run(self, run: RunId) -> Path:
        return self.directory / "runs" / run

    @contextmanager
    def locked(self, *, patience_s: float | None = None) -> Iterator[bool]:
        """Be the only one who writes mirrors; also makes their directory.

        Args:
            patience_s: seconds to wait for whoever else writes them; None waits for as long as it takes.

        Yields:
            Whether it is so: False only once the patience was used up, and then the mirrors are left alone.

        Raises:
            LedgerError: the directory cannot be written.
        """
        with writing(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.directory / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            yield lock(handle, patience_s)
        finally:
            os.close(handle)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """The file system's refusals as ours."""
    try:
        yield
    except OSError as exc:
        where = exc.filename or path
        raise LedgerError(
            f"{where} cannot be written: {exc.strerror}", hint="free disk space or make the directory writable"
        ) from exc


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """The file system's refusals to be read as ours."""
    try:
        yield
    except OSError as exc:
        raise LedgerError(f"{path} cannot be read: {exc.strerror}", hint="make it readable, then go on") from exc


def replace(path: Path, content: str | bytes) -> None:
    """Put `content` at `path` so that a reader sees the old file or the new one."""
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with scratch.open("wb") as file:
                file.write(content.encode("utf-8", "replace") if isinstance(content, str) else content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)


def append(path: Path, text: str) -> None:
    """Add whole lines by one flushed write; a last line without its end gets one first."""
    if not text:
        return
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(-1, os.SEEK_END)
                text = text if file.read(1) == b"\n" else "\n" + text
            try:
                file.write(text.encode("utf-8", "replace"))
                file.flush()
            except OSError:  # a disk that is full in the midst of a line: half a line is worse than none
                os.truncate(file.fileno(), end)
                raise
            os.fsync(file.fileno())


def lines(path: Path) -> list[str]:
    """The lines of a text, without their ends; none where there is no file."""
    with reading(path):
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
    return text.removesuffix("\n").split("\n") if text else []


class _Named(msgspec.Struct):
    run_id: str = ""


def run_of(line: bytes) -> str:
    """The run that a row names; "" where it is no row."""
    try:
        return msgspec.json.decode(line, type=_Named).run_id if line.strip() else ""
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
