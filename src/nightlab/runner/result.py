"""From what a run left behind to its outcome. Reads files, changes none, decides once.

In this order: a touched file voids the run; a failed command has crashed; a value must be there, be one number and
be believable; and what the run reports must not contradict itself or its receipt.
"""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

from nightlab.runner.files import read_small
from nightlab.runner.hashes import changed
from nightlab.runner.log import Printed
from nightlab.runner.order import Order
from nightlab.runner.receipt import PLACES, dispute
from nightlab.runner.tend import Cause, Finish
from nightlab.runner.trouble import clean, last_lines, signature, signature_of, summarize
from nightlab.types import Crashed, Disputed, Finished, Lost, Metrics, Outcome, StoppedEarly, TimedOut, Voided

_LIMIT = 1 << 20  # bytes of a result, summary or receipt
_EXTRA = 64  # numbers beside the metric that are kept
_KILLED = (-signal.SIGKILL, 128 + signal.SIGKILL)  # the second is what `uv run` and shells say of their child
_LAST_WORDS = 16 << 10  # bytes of the log's end in which a traceback makes it the command's own failure


def read_outcome(order: Order, finish: Finish, printed: Printed, log_end: bytes) -> Outcome:
    """How the run ended.

    Args:
        order: what was to be done.
        finish: how the command was over.
        printed: what was found in its output.
        log_end: the last bytes of its output.
    """
    if finish.cause is Cause.STOPPED:
        return StoppedEarly(reason=clean(finish.why))
    if touched := changed(order.root or order.cwd, order.guarded):
        return Voided(paths=touched)
    if finish.cause is Cause.LIMIT:
        return TimedOut(limit_s=order.run.limit_s)
    if finish.cause is Cause.GUARD_LOST or (finish.cause is Cause.ENDED and finish.code is None):
        return Lost(reason="the process that guards the command was killed")
    if finish.code in _KILLED and b"Traceback (most recent call last)" not in log_end[-_LAST_WORDS:]:
        return Lost(reason="killed by signal 9 (out of memory, or by hand)")
    return _ended(order, finish, printed, last_lines(log_end))


def _ended(order: Order, finish: Finish, printed: Printed, tail: tuple[str, ...]) -> Outcome:
    """Outcome of a command that ended by itself, or could not even be started."""
    if finish.code is None:
        summary = clean(finish.why)
        return Crashed(summary=summary, exit_code=finish.exit_code, signature=signature_of(summary))
    if finish.code != 0:
        code = finish.code
        return Crashed(summary=summarize(code, tail), exit_code=code, signature=signature(code, tail), tail=tail)
    try:
        return _measured(order, printed)
    except _NoMetricError as exc:
        summary = clean(str(exc))
        return Crashed(summary=summary, exit_code=0, signature=signature_of(summary), tail=tail)


class _NoMetricError(Exception):
    """Why there is no metric in what the run left behind."""


@dataclass(frozen=True, slots=True)
class _Value:
    """A metric as it was reported."""

    value: float
    text: str
    decimals: int  # to which it was reported
    where: str

    def agrees(self, other: _Value) -> bool:
        """Whether both are the same number, but for the rounding of the shorter one."""
        return abs(self.value - other.value) <= 0.501 * 10.0 ** -min(self.decimals, other.decimals)


def _measured(order: Order, printed: Printed) -> Outcome:
    files, name = order.files, order.metric.name
    result = _read_object(files.result, lambda value: {name: value})
    summary = _read_object(files.summary)
    reported = [
        _value(name, source[name], path.name)
        for source, path in ((result, files.result), (summary, files.summary))
        if source is not None and name in source
    ]
    if result is not None and name not in result:
        raise _NoMetricError(f"{files.result.name} has no {name}")
    # The run's own file says which of several printed values is meant; a summary only repeats one that is plain.
    if not reported or printed.count == 1:
        reported.append(_printed(name, printed))
    elif printed.count and name not in (result or {}):
        reported.append(_printed_alike(name, printed))
    first = reported[0]
    if reason := order.metric.reject(first.value):
        raise _NoMetricError(reason)
    for other in reported[1:]:
        if not first.agrees(other):
            return Disputed(
                because=f"{first.where} says {name} = {first.text}, {other.where} says {other.text}",
                printed=other.value if math.isfinite(other.value) else None,
            )
    if (disputed := _check_receipt(order, first)) is not None:
        return disputed
    numbers = _numbers(printed.numbers) | _numbers(summary or {}) | _numbers(result or {})
    return Finished(metrics=_metrics(first.value, name, numbers))


def _check_receipt(order: Order, first: _Value) -> Disputed | None:
    try:
        data = read_small(order.files.receipt, _LIMIT)
        receipt = None if data is None else json.loads(data)
    except (ValueError, RecursionError) as exc:
        return Disputed(because=f"the receipt cannot be read: {clean(str(exc))}", printed=first.value)
    if data is None and not order.metric.receipt:
        return None
    because, value = dispute(
        receipt, metric=order.metric.name, value=first.value, scripts=order.scripts, seed=order.run.seed
    )
    return Disputed(because=because, printed=first.value, receipt=value) if because else None


def _read_object(
    path: Path, bare: Callable[[object], Mapping[str, object]] | None = None
) -> Mapping[str, object] | None:
    """A JSON object that the run has written; None if there is no file. `bare` makes an object of anything else."""
    try:
        data = read_small(path, _LIMIT)
        if data is None:
            return None
        value: object = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise _NoMetricError(f"{path.name} cannot be read: {exc}") from exc
    if isinstance(value, dict):
        return value
    if bare is None:
        raise _NoMetricError(f"{path.name} is no JSON object")
    return bare(value)


def _value(name: str, value: object, where: str) -> _Value:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _NoMetricError(f"{where} says {name} = {clean(json.dumps(value), 80)}, which is no number")
    try:
        # JSON drops the zeros at the end: 0.99 may well be 0.990000.
        return _Value(float(value), repr(value), max(PLACES, _decimals(repr(value))), where)
    except (OverflowError, ValueError) as exc:  # an integer beyond every float, or with too many digits to print
        raise _NoMetricError(f"{where} says {name} is a number too large to be one") from exc


def _printed(name: str, printed: Printed) -> _Value:
    if printed.count > 1:
        raise _NoMetricError(
            f"{name} was printed {printed.count} times: print `{name}: <value>` exactly once, "
            "or write the value to the file that NIGHTLAB_RESULT_PATH names"
        )
    if printed.count == 0:
        odd = f" (the output says {clean(printed.odd, 40)!r} there, which is no number)" if printed.odd else ""
        raise _NoMetricError(f"the command ended well but printed no {name}{odd}")
    text = printed.values[0]
    return _Value(float(text), text, _decimals(text), "the output")


def _printed_alike(name: str, printed: Printed) -> _Value:
    """The one number that was printed several times."""
    if len(printed.values) > 1:
        raise _NoMetricError(
            f"{name} was printed {printed.count} times with different values ({' and '.join(printed.values)}): "
            "print it once, or write the value to the file that NIGHTLAB_RESULT_PATH names"
        )
    return _Value(float(printed.values[0]), printed.values[0], _decimals(printed.values[0]), "the output")


def _decimals(text: str) -> int:
    try:
        exponent = Decimal(text).as_tuple().exponent
    except InvalidOperation:
        return 0
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _numbers(source: Mapping[str, object]) -> dict[str, float]:
    """The finite numbers of `source`, at most _EXTRA of them: texts as printed, or JSON values."""
    found: dict[str, float] = {}
    for key, value in source.items():
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            continue
        try:
            number = float(value)
        except (ValueError, OverflowError):
            continue
        if math.isfinite(number) and len(found) < _EXTRA:
            found[clean(key, 64)] = number
    return found


def _metrics(primary: float, name: str, numbers: dict[str, float]) -> Metrics:
    """The noun of what was measured; keys are those that the benchmark's summary has always had."""
    numbers.pop(name, None)
    memory = numbers.pop("peak_vram_mb", None)
    steps = numbers.pop("num_steps", None)
    params = numbers.pop("num_params_M", None)
    tokens, seconds = numbers.get("total_tokens_M"), numbers.get("training_seconds")
    return Metrics(
        primary=primary,
        memory_mb=memory if memory is not None and memory >= 0 else None,
        steps=int(steps) if steps is not None and steps >= 0 else None,
        params_m=params,
        throughput=tokens * 1e6 / seconds if tokens is not None and seconds is not None and seconds > 0 else None,
        extra=dict(list(numbers.items())[-_EXTRA:]),
    )
