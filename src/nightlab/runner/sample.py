"""One run of a command that no lab knows: where the caller is, output read, nothing kept."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightlab.config import MetricSettings
from nightlab.errors import BackendError, MetricError
from nightlab.runner.files import read_small, remove_tree
from nightlab.runner.guard import Launch
from nightlab.runner.log import BoundedLog, LineReader, Printed
from nightlab.runner.numbers import Output
from nightlab.runner.order import RunFiles
from nightlab.runner.tend import Finish, StopSignals, Stream, Terms, tend

_RESULT = 1 << 20  # bytes of a result file


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """How a run was over, and what it printed."""

    finish: Finish
    output: Output
    end: bytes  # the last bytes of stdout, then of stderr: where a failure says why


def sample(
    command: Sequence[str],
    *,
    seed: int,
    env: Mapping[str, str],
    signals: StopSignals,
    limit_s: float,
    tick: Callable[[], None],
    grace_s: float = 5.0,
) -> Sample:
    """Run a command once in the current directory, with its whole process tree ended afterwards. For the main thread.

    Args:
        command: program and arguments, not empty.
        seed: what AUTORESEARCH_SEED says.
        env: the command's environment but for that, and for the files that a lab would read (they lie in a directory
            that is deleted afterwards).
        signals: entered; a signal ends the command.
        limit_s: wall-clock seconds after which the process tree is ended.
        tick: called about twice a second meanwhile.
        grace_s: seconds between asking the tree to end and killing it.

    Raises:
        BackendError: there is no place for temporary files.
        MetricError: the result file that the command has written is none.
    """

    def stop_requested() -> None:
        tick()  # the only moment at which a caller can do something while the command runs

    try:
        files = RunFiles(Path(tempfile.mkdtemp(prefix="nightlab-quick-")))
    except OSError as exc:
        raise BackendError(f"no temporary directory can be made: {exc.strerror}", hint="free some disk space") from exc
    try:
        logs = [BoundedLog(files.directory / name) for name in ("out", "err")]
        pairs = [Printed() for _ in logs]
        try:
            launch, connect = _pipes(command, _environment(env, files, seed), grace_s, logs, pairs)
            finish = tend(launch, connect, signals, Terms(limit_s=limit_s, stop_requested=stop_requested))
        finally:
            for log in logs:
                log.close()
        out, err = (bytes(log.recent) for log in logs)
        output = Output(
            out=out.decode(errors="replace"),
            err=err.decode(errors="replace"),
            out_pairs=pairs[0],
            err_pairs=pairs[1],
            result=_result(files),
        )
        return Sample(finish=finish, output=output, end=out + b"\n" + err)
    finally:
        remove_tree(files.directory)


def _environment(env: Mapping[str, str], files: RunFiles, seed: int) -> dict[str, str]:
    return {
        **env,
        "AUTORESEARCH_SEED": str(seed),
        "NIGHTLAB_RESULT_PATH": str(files.result),
        "AUTORESEARCH_RECEIPT_PATH": str(files.receipt),
        "AUTORESEARCH_PROGRESS_PATH": str(files.progress),
        "AUTORESEARCH_SUMMARY_PATH": str(files.summary),
    }


def _pipes(
    command: Sequence[str], env: Mapping[str, str], grace_s: float, logs: Sequence[BoundedLog], pairs: Sequence[Printed]
) -> tuple[Launch, Callable[[], Sequence[Stream]]]:
    """A pipe each for stdout and stderr; nothing on stdin, since the next run would find it empty."""
    ends = [os.pipe() for _ in logs]
    stdin = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    launch = Launch(
        command=tuple(command),
        cwd=Path.cwd(),
        env=env,
        stdin=stdin,
        stdout=ends[0][1],
        stderr=ends[1][1],
        grace_s=grace_s,
        foreground=False,
    )

    def connect() -> Sequence[Stream]:
        for _, theirs in ends:
            os.close(theirs)
        os.close(stdin)
        name = MetricSettings().name  # the reader looks at all pairs; a name of its own it must have
        return [
            Stream(source=ours, log=log, reader=LineReader(name, printed))
            for (ours, _), log, printed in zip(ends, logs, pairs, strict=True)
        ]

    return launch, connect


def _result(files: RunFiles) -> bytes | None:
    try:
        return read_small(files.result, _RESULT)
    except ValueError as exc:
        raise MetricError(f"what lies at NIGHTLAB_RESULT_PATH is no result: {exc}", hint="write a JSON file") from exc
