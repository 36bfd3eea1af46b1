"""Programs asked for a word: a command run to its end, and a server of one JSON object a line. Both within a limit."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import msgspec

from nightlab.errors import BackendError
from nightlab.report import text as safe

_COMPLAINT = 120  # characters; argparse lists every choice behind the point
PATIENCE = 30.0  # seconds; each of them answers within two on two busy cores


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed, and how it ended; a negative code is the signal that ended it."""

    code: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The last line that it wrote to its standard error, or how it ended."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        return safe.plain(lines[-1], _COMPLAINT) if lines else f"exit code {self.code}"


class _Id(msgspec.Struct, frozen=True):
    id: int | str | None = None


def run(command: Sequence[str], cwd: Path, stdin: bytes = b"", patience: float = PATIENCE) -> Said:
    """Run a command to its end. What it leaves running in the background is not waited for.

    Raises:
        BackendError: it cannot be started, or it does not end in time; the message says so without naming it.
    """
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with _started(command, cwd, out, err) as process:
            try:
                process.communicate(stdin, patience)
            except subprocess.TimeoutExpired as exc:
                raise BackendError(f"it does not end within {patience:.0f} s") from exc
        return Said(process.returncode, _read(out), _read(err))


def ask(
    command: Sequence[str], messages: Sequence[Mapping[str, object]], last: int, cwd: Path, patience: float = PATIENCE
) -> bytes:
    """Start a server, send it these messages, and return its answer to the one with the id `last`.

    Its standard input stays open until then: some end at its end, answered or not.

    Raises:
        BackendError: it cannot be started, or ends or is silent without an answer; the message does not name it.
    """
    with tempfile.TemporaryFile() as err, _started(command, cwd, subprocess.PIPE, err) as process:
        timer = threading.Timer(patience, _end, [process])
        timer.start()
        try:
            for line in _answers(process, messages):
                with contextlib.suppress(msgspec.MsgspecError):  # something that is no message of the protocol
                    if msgspec.json.decode(line, type=_Id).id == last:
                        return line
        finally:
            timer.cancel()
        if process.wait() == -signal.SIGKILL:
            raise BackendError(f"it does not answer within {patience:.0f} s")
        raise BackendError(f"it ends without an answer: {Said(process.wait(), '', _read(err)).complaint}")


def _answers(process: subprocess.Popen[bytes], messages: Sequence[Mapping[str, object]]) -> Iterator[bytes]:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):  # it has ended: what it said is read all the same
        process.stdin.write(b"".join(json.dumps(message).encode() + b"\n" for message in messages))
        process.stdin.flush()
    yield from process.stdout


@contextlib.contextmanager
def _started(
    command: Sequence[str], cwd: Path, out: int | IO[bytes], err: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a group of its own, all of which is ended when we are done with it."""
    try:
        process = subprocess.Popen(
            command, cwd=cwd, stdin=subprocess.PIPE, stdout=out, stderr=err, start_new_session=True
        )
    except OSError as exc:
        raise BackendError(f"it cannot be started: {exc.strerror}") from exc
    try:
        yield process
    finally:
        _end(process)
        process.wait()
        for pipe in filter(None, (process.stdin, process.stdout)):
            with contextlib.suppress(BrokenPipeError):  # what it did not read is nobody's loss
                pipe.close()


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _read(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode("utf-8", "replace")
