"""Other ledgers' files split into lines that say something, and lines that do not. Pure: bytes in, cells out."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from nightlab.ledger.cells import (
    NAME,
    NO_VALUE,
    NUMBER,
    Line,
    Role,
    Roles,
    cell_number,
    clean,
    meaning_of,
    name_of,
    roles_of,
)

MAX_LINE = 1 << 20  # bytes of one line; a longer one is refused unread
MAX_LINES = 200_000  # lines of one file that are read
COLUMNS = 256
SAMPLE = 50  # rows of a table without a header that are looked at to tell what its columns are
SHOWN = 120  # characters of a refused line


class Format(StrEnum):
    TABLE = "table"
    JSON_LINES = "json lines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A line that is no row."""

    line: int
    text: str  # its beginning, made safe to show
    why: str


def sniff(data: bytes) -> Format:
    """JSON lines if the first line that is neither empty nor a comment begins an object; else a table."""
    for _, line in _lines(data):
        text = line.lstrip()
        if not text.startswith(b"#"):
            return Format.JSON_LINES if text.startswith(b"{") else Format.TABLE
    return Format.TABLE


_EMPTY_LINES = re.compile(rb"[ \t\r\n]+")


def _lines(data: bytes, *, old_ends: bool = False) -> Iterator[tuple[int, bytes]]:
    """Numbered lines that are not empty, without their ends; of one that is too long MAX_LINE + 1 bytes.

    Args:
        data: the file.
        old_ends: whether a carriage return ends a line where there is no newline at all.
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):  # spreadsheets export UTF-16
        data = data.decode("utf-16", "replace").encode("utf-8", "replace")
    data = data.removeprefix(b"\xef\xbb\xbf")
    end = b"\r" if old_ends and b"\n" not in data else b"\n"
    start, number = 0, 1
    while start < len(data):
        if (blank := _EMPTY_LINES.match(data, start)) and (last := data.rfind(end, start, blank.end())) >= 0:
            number += data.count(end, start, last + 1)
            start = last + 1
            continue
        stop = data.find(end, start)
        stop = len(data) if stop < 0 else stop
        if line := data[start : min(stop, start + MAX_LINE + 1)].rstrip(b"\r"):
            yield number, line
        start, number = stop + 1, number + 1


def _texts(data: bytes, refused: list[Refused], *, old_ends: bool = False) -> Iterator[tuple[int, str]]:
    """Lines as text, as many and as long as are read."""
    for count, (number, line) in enumerate(_lines(data, old_ends=old_ends)):
        text = line.decode("utf-8", "replace")
        if count == MAX_LINES:
            why = f"only the first {MAX_LINES:,} lines of a file are read: split it"
            refused.append(Refused(line=number, text=clean(text, SHOWN), why=why))
            return
        if len(line) > MAX_LINE:
            refused.append(Refused(line=number, text=clean(text, SHOWN), why=f"longer than {MAX_LINE >> 20} MiB"))
        else:
            yield number, text


# --- tables -----------------------------------------------------------------------------------------------------


def table_lines(data: bytes, metric: str, refused: list[Refused]) -> Iterator[Line]:
    lines = list(_texts(data, refused, old_ends=True))
    separator = _separator([text for _, text in lines[:SAMPLE]], metric)
    names: tuple[str, ...] = ()
    for index, (number, text) in enumerate(lines):
        cells = _split(text, separator)
        if (header := _header(cells, metric)) is not None:  # also in the middle of a table that was put together
            names = header
            continue
        is_comment = text.lstrip().startswith("#")
        if not names and is_comment:
            continue
        if not names:
            names = _guessed([_split(text, separator) for _, text in lines[index : index + SAMPLE]], metric)
        roles = roles_of(names, metric)
        row, why = _fitted(cells, names, roles)
        if is_comment and (why or meaning_of(row.get(roles.get(Role.STATUS, ""))) is None):
            continue
        if why:
            refused.append(Refused(line=number, text=clean(text, SHOWN), why=why))
        else:
            yield Line(number, text, row, roles, is_table=True)


def _separator(sample: Sequence[str], metric: str) -> str:
    """What the header is written with; without one, tabs if half of the lines have some."""
    begin = next((text for text in sample if not text.lstrip().startswith("#")), "")
    for separator in ("\t", ","):
        if _header(_split(begin, separator), metric) is not None:
            return separator
    return "\t" if 2 * sum("\t" in text for text in sample) >= len(sample) else ","


def _split(text: str, separator: str) -> list[str]:
    """The cells of a line. A quote is a character like any other, unless a comma file's line has them in pairs."""
    if separator == "," and '"' in text and text.count('"') % 2 == 0:
        try:
            return [cell.strip() for cell in next(csv.reader([text], skipinitialspace=True), [])]
        except csv.Error:
            pass
    return [cell.strip() for cell in text.split(separator, 4 * COLUMNS)]


def _header(cells: Sequence[str], metric: str) -> tuple[str, ...] | None:
    """The names of a header line: two at least that mean something, one of them essential, and no number."""
    if not 2 <= len(cells) <= COLUMNS or not name_of(cells[0]) or any(NUMBER.fullmatch(cell) for cell in cells):
        return None
    names = _distinct([name_of(cell) for cell in cells])
    roles = roles_of(names, metric)
    essential = {Role.METRIC, Role.STATUS, Role.DESCRIPTION} & roles.keys()
    return names if len(roles) >= 2 and len(essential) >= (1 if len(roles) > 2 else 2) else None


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    seen: Counter[str] = Counter()
    found = []
    for place, name in enumerate(names, 1):
        seen[name] += 1
        found.append(f"column_{place}" if not name else name if seen[name] == 1 else f"{name}_{seen[name]}")
    return tuple(found)


def _guessed(sample: Sequence[Sequence[str]], metric: str) -> tuple[str, ...]:
    """Names for a table without a header: the status by its words, what stands before and behind it by the custom.

    The custom is commit, metric, memory in GB, status, description.
    """
    width = min(Counter(len(cells) for cells in sample).most_common(1)[0][0], COLUMNS)
    columns = [[cells[place] for cells in sample if len(cells) > place] for place in range(width)]
    words = [sum(meaning_of(cell) is not None for cell in column) for column in columns]
    status = max(range(width), key=words.__getitem__) if any(words) else min(3, width - 1)
    numbers = [
        place
        for place, column in enumerate(columns[:status])
        if 2 * sum(cell_number(cell) is not None or cell.lower() in NO_VALUE for cell in column) > len(column)
        and any(cell_number(cell) is not None for cell in column)
    ]
    if status >= 2:  # a commit of digits is a number too
        numbers = [place for place in numbers if place > 0]
    names = [f"column_{place}" for place in range(1, width + 1)]
    if 0 not in numbers:
        names[0] = "commit"
    for place, name in zip(numbers, (name_of(metric) or "metric", "memory_gb"), strict=False):
        names[place] = name
    names[status] = "status"
    if status + 1 < width:
        names[-1] = "description"
    return tuple(names)


def _fitted(cells: list[str], names: Sequence[str], roles: Roles) -> tuple[dict[str, object], str]:
    """Cells by name, and why they do not fit. Separators too many belong to the free text, wherever it stands."""
    surplus = len(cells) - len(names)
    if len(cells) == 1 and len(names) > 1:
        return {}, "it has one cell only: the columns cannot be told apart"
    if surplus > 0:
        place = names.index(roles.get(Role.DESCRIPTION, names[-1]))
        cells = [*cells[:place], " ".join(cells[place : place + surplus + 1]), *cells[place + surplus + 1 :]]
    row: dict[str, object] = dict(zip(names, cells, strict=False))
    if surplus and Role.STATUS in roles and meaning_of(row.get(roles[Role.STATUS], "")) is None:
        return row, f"it has {len(names) + surplus} cells where the table has {len(names)} columns"
    return row, ""


# --- JSON lines -------------------------------------------------------------------------------------------------

_NESTED = ("metrics", "results", "scores", "eval")  # objects whose keys count as the line's own
_OURS = frozenset({"run_id", "timestamp_utc", "commit", "status", "description", "metrics"})


class _TwiceError(ValueError):
    """A key stands twice in one object."""


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise _TwiceError(f"{clean(twice, NAME)!r} stands twice in it: which one is meant is not known")
    return found


def json_lines(data: bytes, metric: str, refused: list[Refused]) -> Iterator[Line]:
    for number, text in _texts(data, refused):
        value: object = None
        try:
            value = json.loads(text, object_pairs_hook=_unique)
            why = "" if isinstance(value, dict) else "it is no object"
        except _TwiceError as exc:
            why = str(exc)
        except RecursionError:
            why = "it is nested too deep"
        except ValueError as exc:
            why = f"no JSON: {clean(str(exc), 80)}"
        if isinstance(value, dict) and not why:
            cells = _flat(value)
            ours = value if value.keys() >= _OURS and isinstance(value["metrics"], dict) else None
            yield Line(number, text, cells, roles_of(tuple(cells), metric), is_table=False, ours=ours)
        else:
            refused.append(Refused(line=number, text=clean(text, SHOWN), why=why))


def _flat(value: Mapping[str, object]) -> dict[str, object]:
    """The line's keys in one spelling, with those of its metrics; an event's experiment stands for the event."""
    inner = value.get("experiment")
    if isinstance(inner, dict):
        value = {**{key: item for key, item in value.items() if key != "experiment"}, **inner}
    groups = [{key: item for key, item in value.items() if key not in _NESTED or not isinstance(item, dict)}]
    groups += [items for nested in _NESTED if isinstance(items := value.get(nested), dict)]
    found: dict[str, object] = {}
    for group in groups:
        for key, item in group.items():
            found.setdefault(name_of(key), item)
    return found
