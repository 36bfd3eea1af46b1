"""Which number of a command's output is its metric, where nobody has set anything up.

In this order: the file that NIGHTLAB_RESULT_PATH names; `name: value` lines as a lab reads them, and the numbers of
JSON objects that fill a line or the whole output; the number on the last line that has exactly one. stderr counts
where stdout has none. What is taken is chosen once, from the first run; the later ones must have it too.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nightlab.config import MetricSettings
from nightlab.errors import MetricError
from nightlab.runner.log import Printed
from nightlab.runner.trouble import clean

_LINE = 4096  # characters; what is longer is no line that somebody wrote to be read
_SHOWN = 120  # characters of a line that a message quotes
_NAMED = 12  # names that a message lists
_UNIT = r"(?:%|[A-Za-zµ]{1,3})?"  # 91.3%, 0.53s, 12ms, 1.5x
_NUMBER = r"(?<![\w.])[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?" + _UNIT + r"|nan|inf(?:inity)?)(?!\w|\.\d)"
_IS_NUMBER = re.compile(_NUMBER, re.IGNORECASE)
_ENDS_IN_UNIT = re.compile(r"(?<=[\d.])" + _UNIT + "$")
_MEASURES = frozenset(
    {"bpb", "loss", "perplexity", "ppl", "accuracy", "acc", "error", "score", "auc", "f1", "reward", "mse"}
)  # words that the names of metrics have, whatever else is printed beside them
_HELD_OUT = frozenset({"val", "valid", "validation", "test", "eval", "dev"})


class Kind(StrEnum):
    """Where a number was found."""

    RESULT = "the file that NIGHTLAB_RESULT_PATH names"
    LINE = "a line `name: value`"
    JSON = "a JSON object"
    TEXT = "the words before it"
    LAST = "the last line that has exactly one number"


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a command has left: the kept ends of its streams, the pairs read from all of them, its result file."""

    out: str = ""
    err: str = ""
    out_pairs: Printed
    err_pairs: Printed
    result: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A number in the output."""

    name: str  # "" for one without a name
    text: str  # as it was printed, without its unit
    kind: Kind
    again: bool = False  # whether the name was printed more than once; the last value counts
    line: str = ""  # of a number without a name: its line

    @property
    def value(self) -> float:
        return float(self.text)

    @property
    def label(self) -> str:
        return self.name or "the number"


def choose(output: Output, metric: str | None = None) -> tuple[Found, tuple[str, ...]]:
    """The number to take, and the names of the others that might have been meant.

    Args:
        output: of the first run.
        metric: the name that the user asks for; it may also stand before its number inside a line.

    Raises:
        MetricError: there is none, or it is not finite.
    """
    named = _named(output)
    if metric is not None:
        found = named.get(metric) or _after(metric, output)
        if found is None:
            raise MetricError(f"the command printed no {metric}{_instead(named)}", hint=_PRINT)
        return _finite(found), ()
    results = {name: one for name, one in named.items() if one.kind is Kind.RESULT}
    if candidates := results or named:
        name = _likeliest(tuple(candidates))
        return _finite(candidates[name]), tuple(other for other in named if other != name)
    found = _last(output)
    if found is None:
        said = next(iter(_lines(output.out, output.err)), "")
        last = f"; its last line is {clean(said, _SHOWN)!r}" if said else ""
        raise MetricError(f"the command printed no number that can be told from others{last}", hint=_PRINT)
    return _finite(found), ()


def same(output: Output, first: Found) -> Found:
    """The same number in the output of a later run.

    Raises:
        MetricError: it is missing, stands on a line that reads differently, or is not finite.
    """
    named = _named(output)
    if first.kind is Kind.LAST:
        found = _last(output)
        if found is not None and _lead(found) != _lead(first):
            raise MetricError(
                f"the last line with one number reads {clean(found.line, _SHOWN)!r}, "
                f"and in the first run {clean(first.line, _SHOWN)!r}: they are not the same thing",
                hint=_PRINT,
            )
    elif first.kind is Kind.TEXT:
        found = _after(first.name, output)
    else:
        found = named.get(first.name)
    if found is None:
        raise MetricError(f"the first run printed {first.label}, this one did not{_instead(named)}", hint=_PRINT)
    return _finite(found)


_PRINT = "print the metric as `NAME: value` on a line of its own, or name one of those printed: `--metric NAME`"


def _finite(found: Found) -> Found:
    name = found.label
    if because := MetricSettings(name=name, low=None, high=None).reject(found.value):
        raise MetricError(
            because, hint="let the command run by itself and see why; the noise of what is no number cannot be measured"
        )
    return found


def _instead(named: Mapping[str, Found]) -> str:
    shown = [name for name in named if name][-_NAMED:]
    return f" (it printed: {', '.join(shown)})" if shown else ""


def _likeliest(names: Sequence[str]) -> str:
    """The name that looks most like a metric's; the last of those that look alike."""
    if (usual := MetricSettings().name) in names:
        return usual

    def looks(name: str) -> int:
        words = set(re.split(r"[^a-z0-9]+", name.lower()))
        return 2 * bool(words & _MEASURES) + bool(words & _HELD_OUT)

    best = max(map(looks, names))
    return [name for name in names if looks(name) == best][-1]


# --- reading ----------------------------------------------------------------------------------------------------


def _named(output: Output) -> dict[str, Found]:
    """Every number with a name; where one has several, that of the more deliberate place."""
    found = {one.name: one for one in _results(output.result)}
    for text, pairs in ((output.out, output.out_pairs), (output.err, output.err_pairs)):
        for name, value in pairs.numbers.items():
            if _IS_NUMBER.fullmatch(value):
                found.setdefault(name, Found(name=name, text=value, kind=Kind.LINE, again=name in pairs.again))
        for one in _from_json(text):
            found.setdefault(one.name, one)
        if found or _last_of(text) is not None:
            break
    return found


def _results(data: bytes | None) -> Iterator[Found]:
    if data is None:
        return
    try:
        value: object = json.loads(data)
    except (ValueError, RecursionError) as exc:
        raise MetricError(f"the file that NIGHTLAB_RESULT_PATH names cannot be read: {exc}", hint="write JSON") from exc
    for name, number in _numbers_of(value if isinstance(value, dict) else {"": value}):
        yield Found(name=name, text=number, kind=Kind.RESULT)


def _from_json(text: str) -> Iterator[Found]:
    """Numbers of the objects that fill a line each, or together the whole text."""
    found: dict[str, Found] = {}
    for part in (text, *text.splitlines()):
        try:
            value: object = json.loads(part) if part.lstrip().startswith("{") and part.rstrip().endswith("}") else None
        except (ValueError, RecursionError):
            continue
        for name, number in _numbers_of(value):
            found[name] = Found(name=name, text=number, kind=Kind.JSON, again=name in found)
        if part is text and value is not None:
            break
    return iter(found.values())


def _numbers_of(value: object) -> Iterator[tuple[str, str]]:
    for key, number in value.items() if isinstance(value, dict) else ():
        if isinstance(number, int | float) and not isinstance(number, bool):
            try:
                yield clean(str(key), 64), repr(float(number))
            except OverflowError:  # an integer beyond every float
                yield clean(str(key), 64), "inf"


def _after(name: str, output: Output) -> Found | None:
    """The last number that stands right behind `name`, inside a line."""
    pattern = re.compile(rf"(?<![\w]){re.escape(name)}[\"']?\s*[:=]?\s*({_NUMBER})", re.IGNORECASE)
    for line in _lines(output.out, output.err):
        if found := pattern.findall(line):
            return Found(name=name, text=_bare(found[-1]), kind=Kind.TEXT)
    return None


def _last(output: Output) -> Found | None:
    return _last_of(output.out) or _last_of(output.err)


def _last_of(text: str) -> Found | None:
    for line in _lines(text):
        numbers = _IS_NUMBER.findall(line)
        if len(numbers) == 1:
            return Found(name="", text=_bare(numbers[0]), kind=Kind.LAST, line=line)
    return None


def _lines(*texts: str) -> Iterable[str]:
    """Lines from the last to the first; those of the first text first."""
    for text in texts:
        for line in reversed(re.split(r"[\r\n]+", text)):
            if line.strip() and len(line) <= _LINE:
                yield clean(line, _LINE)


def _bare(text: str) -> str:
    return text if text.lower().lstrip("+-").startswith(("nan", "inf")) else _ENDS_IN_UNIT.sub("", text)


def _lead(found: Found) -> str:
    """What stands before the number, counters aside."""
    number = _IS_NUMBER.search(found.line)
    assert number is not None
    return re.sub(r"\d+", "#", found.line[: number.start()])
