"""What a run that somebody made by hand has left behind, read and checked: metrics, and why it crashed."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from nightlab.config import MetricSettings
from nightlab.errors import MetricError, NotFoundError
from nightlab.runner.trouble import clean, signature
from nightlab.types import Crashed, Metrics

BENCHMARK = "val_bpb"  # the metric that the older system knows
MEMORY = "peak_vram_mb"
_INTEGERS = ("num_steps", "depth")
_ENTRIES = 256  # different names that are taken from one log or summary
_TEXT = 400  # characters of a value that is no number
_END = 8 << 20  # bytes of a log that are looked at, from its end
_SUMMARY_LIMIT = 1 << 20
_TAIL = 8
_LINE = 300

_PAIR = re.compile(r"([a-z_]+):\s+(.+?)\s*")

Read = Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """All that was read of one run."""

    metrics: Metrics | None  # None for a crash
    crash: Crashed | None = None
    error_source: str = ""
    read: Mapping[str, str] = field(default_factory=dict)  # name -> JSON text


def read_result(metric: MetricSettings, summary_name: str, log_name: str) -> Left:
    """The metrics of a run that ended well: the summary's, and the log's where the summary lacks what is needed.

    Args:
        metric: the lab's.
        summary_name: a JSON file, or ""; relative to the working directory.
        log_name: what the run printed, or "".

    Raises:
        MetricError: there is no metric, or it is no number that can be believed; says which file was read.
        NotFoundError: a file that was named cannot be read.
    """
    summary, log = existing(summary_name), existing(log_name)
    wanted = (metric.name, MEMORY) if metric.name == BENCHMARK else (metric.name,)
    values = dict(_from_summary(summary)) if summary else {}
    if metric.name not in values:
        values |= _from_log(log)
    elif any(name not in values for name in wanted):
        values = {**_from_log(log), **values}
    missing = [name for name in wanted if name not in values]
    if missing:
        given = [name if existing(name) else f"{name} (no such file)" for name in (summary_name, log_name) if name]
        raise MetricError(
            f"a run that did not crash needs {' and '.join(wanted)}; {' and '.join(missing)} not found in: "
            + (", ".join(given) or "nothing, as neither --summary nor --log was given"),
            hint="name the files that the run wrote with --summary and --log, or use --status crash",
        )
    primary = _number(metric.name, values[metric.name])
    if problem := metric.reject(primary):
        raise MetricError(problem, hint="nothing was recorded; use --status crash if the run diverged")
    memory = _memory(values[MEMORY]) if values.get(MEMORY) is not None else None
    known = {metric.name, MEMORY, "num_steps", "num_params_M"}
    numbers = {name: number for name, value in values.items() if (number := _finite(value)) is not None}
    steps = numbers.get("num_steps")
    metrics = Metrics(
        primary=primary,
        memory_mb=memory,
        steps=int(steps) if steps is not None else None,
        params_m=numbers.get("num_params_M"),
        extra={name: number for name, number in numbers.items() if name not in known},
    )
    return Left(metrics=metrics, read=_as_json(values))


def read_crash(said: str, log_name: str) -> Left:
    """Why a run crashed: what its author says, else what its log says. A summary is not believed."""
    log = existing(log_name)
    values = _from_log(log)
    memory = _finite(values.get(MEMORY))
    read = _as_json({**values, MEMORY: memory if memory is not None and memory >= 0 else None})
    if words := one_line(said):
        return Left(metrics=None, crash=_crash(words, ()), error_source="cli", read=read)
    text = _end_of(log)
    lines = [line for raw in re.split(r"[\r\n]+", text or "") if (line := one_line(raw, _LINE))]
    if text is None:
        why = f"its log {log_name} is no file that exists" if log_name else "no log of it was given"
        crash, source = _crash(f"The run crashed, and {why}.", ()), "missing-log"
    else:
        # With or without a traceback before it, the last line says what went wrong.
        last = lines[-1] if lines else "The run crashed without a word: its log is empty."
        crash, source = _crash(last, tuple(lines[-_TAIL:])), "run.log"
    return Left(metrics=None, crash=crash, error_source=source, read=read)


def _crash(summary: str, tail: tuple[str, ...]) -> Crashed:
    return Crashed(summary=summary, signature=signature(1, (summary,)), tail=tail)


def one_line(text: str, limit: int = 4000) -> str:
    """White space collapsed, control characters and bytes that are no text gone, bounded."""
    return clean(text.encode("utf-8", "replace").decode("utf-8"), limit)


def existing(name: str) -> Path | None:
    """The file that a flag names, if it exists; relative names are the caller's."""
    path = Path(name) if name else None
    return path if path is not None and path.is_file() else None


# --- numbers ----------------------------------------------------------------------------------------------------


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise MetricError(
            f"{name} is {value!r}, which is no number", hint="nothing was recorded; mend the file, or log a crash"
        )
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _memory(value: object) -> float:
    number = _number(MEMORY, value)
    if not math.isfinite(number) or number < 0:
        raise MetricError(f"{MEMORY} is {value}, but memory is a finite number from 0 on", hint="nothing was recorded")
    return number


def _finite(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None


def _as_json(values: Read) -> dict[str, str]:
    return {name: _json(value) for name, value in values.items()}


def _json(value: object) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return "null"  # JSON has no such number
    try:
        text = json.dumps(value, sort_keys=True, allow_nan=False)
    except (ValueError, RecursionError):
        return "null"
    return text if len(text) <= _TEXT else json.dumps(text[:_TEXT])


# --- files ------------------------------------------------------------------------------------------------------


def _from_summary(path: Path) -> Read:
    try:
        with path.open("rb") as file:
            data = file.read(_SUMMARY_LIMIT + 1)
        if len(data) > _SUMMARY_LIMIT:
            raise MetricError(f"{path} is larger than a summary can be ({_SUMMARY_LIMIT >> 20} MiB)")
        found: object = json.loads(data)
    except OSError as exc:
        raise NotFoundError(f"{path} cannot be read: {exc.strerror}") from exc
    except (ValueError, RecursionError) as exc:
        raise MetricError(
            f"{path} is no JSON: {exc}", hint="nothing was recorded; leave --summary out to take the log's numbers"
        ) from exc
    if not isinstance(found, dict):
        raise MetricError(f"{path} holds no JSON object", hint="nothing was recorded")
    return dict(list(found.items())[:_ENTRIES])


def _from_log(path: Path | None) -> dict[str, object]:
    """`key: value` lines, the last of each key."""
    values: dict[str, object] = {}
    for line in re.split(r"[\r\n]+", _end_of(path) or ""):
        if len(line) <= 4096 and (pair := _PAIR.fullmatch(clean(line, 4096))):
            values.pop(pair[1], None)
            values[pair[1]] = _value(pair[1], pair[2])
    return dict(list(values.items())[-_ENTRIES:])


def _value(name: str, text: str) -> object:
    try:
        number = float(text)
    except ValueError:
        return text[:_TEXT]
    return int(number) if name in _INTEGERS and math.isfinite(number) else number


def _end_of(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _END))
            return file.read(_END).decode("utf-8", "replace")
    except OSError as exc:
        raise NotFoundError(f"{path} cannot be read: {exc.strerror}") from exc
