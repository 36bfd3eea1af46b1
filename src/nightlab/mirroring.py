"""The lab's text mirrors and its ledger, brought together: what others wrote there comes in, what they lack goes out.

Mirrors serve people and older scripts, and both write to them. A well-formed row that the ledger lacks is taken in as
what it is, another's word; one that is no row is set aside in a file beside the mirror. A mirror that is as we left it
is not read at all, and one that has grown only at its end is read from there.
"""

from __future__ import annotations

import codecs
import io
import itertools
import math
import os
import re
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from nightlab import older
from nightlab.config import MetricSettings, Settings
from nightlab.errors import LedgerError
from nightlab.history import run_names
from nightlab.ledger import Ledger, journal, restore, surface
from nightlab.ledger import mirrors as files
from nightlab.ledger.connection import damaged
from nightlab.ledger.mirrors import Mirrors
from nightlab.ledger.records import HAND, IN_LINES, IN_TABLE, LAB, Record
from nightlab.ledger.store import Mirrored
from nightlab.ledger.surface import Detail
from nightlab.ledger.tables import short
from nightlab.memory import INDEX, is_lost, packet_of_lab
from nightlab.search.novelty import label
from nightlab.standing import stand_of
from nightlab.types import Crashed, Finished, Imported, RunId, Stand

if TYPE_CHECKING:
    from nightlab.judge.packets import DecisionPacket
    from nightlab.ledger.foreign import Foreign, Refused
    from nightlab.ledger.surface import ExperimentRow

LINES, TABLE = "experiments.jsonl", "results.tsv"
_TAIL = 256  # bytes by which the end of a file is known again
_STAMP = '"updated_at"'  # the one line of the registry that changes by itself
_FORECAST = (
    '"standing"',
    '"probability"',
    '"runs_needed"',
)  # those that a run of the lab's may change without a record
_BEGIN = 1 << 16  # bytes by which a file's spelling is known
_NO_VALUE = "0.000000"  # what results.tsv says where there is no number
_CHUNK = 500  # rows written at a time
_COMMIT = re.compile(r"[0-9a-f]{7,64}")

Locate = Callable[[Path, "Sequence[Foreign]"], "Sequence[Foreign]"]
"""Adds to a mirror's rows what is known of them from elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """What the mirrors hold that the ledger does not know."""

    rows: tuple[Imported, ...] = ()
    refused: tuple[tuple[str, Refused], ...] = ()  # the mirror, and the line that is no row


@dataclass(slots=True, kw_only=True)
class _Look:
    """One mirror as it was read."""

    name: str
    bit: int
    path: Path
    whole: bool  # whether all of it was read
    rows: list[Foreign] = field(default_factory=list)
    refused: list[tuple[str, Refused]] = field(default_factory=list)  # the whole line, and what is wrong with it
    present: list[str] = field(default_factory=list)  # runs that have a line among those that were read
    torn: int | None = None  # where a last, torn line begins


# --- in ---------------------------------------------------------------------------------------------------------


@contextmanager
def reading(settings: Settings, now: float) -> Iterator[Ledger]:
    """The lab's ledger for reading, with what its mirrors hold besides; nothing is written in the lab.

    Raises:
        LedgerUnreadableError: the database is damaged.
    """
    with tempfile.TemporaryDirectory(prefix="nightlab-reading-") as name:
        scratch = Path(name) / "lab.db"
        with _standing(settings, scratch) as ledger:
            unseen = look(ledger, settings, now)
            if not unseen.rows:
                yield ledger
                return
            if not scratch.exists():
                ledger.copy(scratch)
        with Ledger.open(scratch, index=INDEX, durable=False) as merged:
            merged.append(*unseen.rows)
            yield merged


@contextmanager
def reading_alone(settings: Settings) -> Iterator[Ledger]:
    """The lab's ledger for reading as it stands, without what its mirrors hold besides; nothing is written in the lab.

    Raises:
        LedgerUnreadableError: the database is damaged.
    """
    with (
        tempfile.TemporaryDirectory(prefix="nightlab-reading-") as name,
        _standing(settings, Path(name) / "lab.db") as ledger,
    ):
        yield ledger


def _standing(settings: Settings, scratch: Path) -> Ledger:
    """The database; where it is lost, or an older copy took its place, what can be made of the rest, at `scratch`."""
    if is_lost(settings):
        from nightlab import remains

        with restore.past(scratch, INDEX, durable=False) as made:
            found = remains.fill_lost(made, settings, "")
        print(f"note: {settings.database} is lost; the rest of the lab tells of {found.text}", file=sys.stderr)
    elif restore.is_behind(settings.database):
        from nightlab import remains

        lines = [*restore.salvage(settings.database), *journal.read(journal.path_of(settings.database))]
        with restore.past(scratch, INDEX, durable=False) as made:
            remains.fill(made, settings, lines, "")
    return Ledger.read(scratch if scratch.exists() else settings.database)


def look(ledger: Ledger, settings: Settings, now: float) -> Unseen:
    """What the mirrors hold that the ledger does not know. Reads only."""
    return _unseen(ledger, _looks(ledger, settings), now)


def take_in(ledger: Ledger, settings: Settings, now: float, locate: Locate) -> Unseen:
    """Record what others wrote into the mirrors; the caller holds the mirrors' lock.

    Raises:
        LedgerError: the disk refuses.
    """
    looks = _looks(ledger, settings)
    for one in looks:
        one.rows = list(locate(one.path, one.rows) if one.rows else one.rows)
    unseen = _unseen(ledger, looks, now)
    if unseen.rows:
        ledger.append(*unseen.rows)
    names: dict[str, list[str]] = {one.name: list(one.present) for one in looks}
    for row in unseen.rows:
        names[LINES if row.raw.startswith("{") else TABLE].append(row.run)
    for one in looks:
        _set_aside(one)
        _mend(one)
        ledger.set_mirrored(one.name, _state(one.path), one.bit, names[one.name], only=one.whole)
    return unseen


def _mend(one: _Look) -> None:
    """Take a torn last line out, and give the file our spelling, so that what is appended fits what is there."""
    if not one.whole and one.torn is None:
        return
    with files.reading(one.path), one.path.open("rb") as file:
        text = _respelt(file) if one.whole else None
    if text is not None:
        files.replace(one.path.resolve(), text[: one.torn])
    elif one.torn is not None:
        with files.writing(one.path):
            os.truncate(one.path, one.torn)


def _set_aside(one: _Look) -> None:
    """Keep the lines that are no rows in a file of their own, each once."""
    if not one.refused:
        return
    path = one.path.with_name(f"{one.path.name}.refused")
    known = set(files.lines(path))
    new = dict.fromkeys(text for text, _ in one.refused if text not in known)
    files.append(path, "".join(f"{text}\n" for text in new))


def _unseen(ledger: Ledger, looks: Sequence[_Look], now: float) -> Unseen:
    rows = named((row for one in looks for row in one.rows), ledger, now)
    return Unseen(rows=tuple(rows), refused=tuple((one.name, refused) for one in looks for _, refused in one.refused))


def named(rows: Iterable[Foreign], ledger: Ledger, now: float) -> list[Imported]:
    """Rows of another ledger as events, each under a name that is free; `now` stands for moments that are not told."""
    names = _Names(ledger)
    return [row.imported(run=names.free(row, now), now=now) for row in rows]


class _Names:
    """Names for runs, each given once."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._given: set[str] = set()
        self._series: dict[tuple[int, str], Iterator[RunId]] = {}  # each goes on where it was: they may get long

    def free(self, row: Foreign, now: float) -> RunId:
        """The row's own name; if another run has it, one of its moment and commit."""
        moment = now if row.at is None else row.at
        word = row.commit if _COMMIT.fullmatch(row.commit) else row.digest  # a commit may be called anything
        series = self._series.setdefault((int(moment), word[:7]), run_names(moment, word))
        own = [RunId(row.run)] if row.run else []
        for name in itertools.chain(own, series):
            if name not in self._given and not self._ledger.has_run(name):
                self._given.add(name)
                return name
        raise AssertionError("names never run out")


def _looks(ledger: Ledger, settings: Settings) -> list[_Look]:
    mirrors = Mirrors(settings.root)
    lines = _look_at_lines(ledger, mirrors, settings)
    table = _look_at_table(ledger, mirrors, settings, lines.rows if lines else ())
    return [one for one in (lines, table) if one is not None]


def _look_at_lines(ledger: Ledger, mirrors: Mirrors, settings: Settings) -> _Look | None:
    start = _start(mirrors.ledger, ledger.mirror(LINES))
    if start is None:
        return None
    from nightlab.ledger import foreign  # not before there is something to read: `check` is a process start

    known = ledger.records.names() if start == 0 else None
    look = _Look(name=LINES, bit=IN_LINES, path=mirrors.ledger, whole=start == 0)
    unknown: list[bytes] = []
    for offset, line in _lines(mirrors.ledger, start):
        run = files.run_of(line)
        if run and (run in known if known is not None else ledger.records.get(run) is not None):
            look.present.append(run)
        elif run and _is_own(ledger, run):
            continue  # its verdict is lost, and the next night gives it
        elif line.strip():
            if not run and not line.endswith(b"\n"):
                look.torn = offset
            unknown.append(line.rstrip(b"\r\n"))
    metric = _metric(settings)
    found = foreign.read_jsonl(b"\n".join(unknown), name=LINES, metric=metric.name, lab=metric)
    rows = (replace(row, raw=_text(unknown[row.line - 1])) for row in found.rows)
    look.rows += (row for row in rows if not ledger.records.has_digest(row.digest))
    look.refused += ((_text(unknown[refused.line - 1]), refused) for refused in found.refused)
    return look


def _is_own(ledger: Ledger, run: str) -> bool:
    """Whether a run without a record is one of the lab's own.

    Raises:
        LedgerDamagedError: it was written down by hand, which makes a record: the tables are not what they were.
    """
    told = ledger.records.parts(run)
    if told is not None and told[2] is not None:
        raise damaged(ledger.path, f"run {run} was logged and has no record")
    return told is not None


def _look_at_table(
    ledger: Ledger, mirrors: Mirrors, settings: Settings, told: Sequence[Foreign], *, whole: bool = False
) -> _Look | None:
    """results.tsv; `told` are rows that experiments.jsonl holds and the ledger does not know yet."""
    start = _start(mirrors.tsv, None if whole else ledger.mirror(TABLE))
    if start is None:
        return None
    from nightlab.ledger import foreign

    look = _Look(name=TABLE, bit=IN_TABLE, path=mirrors.tsv, whole=start == 0)
    ours: dict[tuple[str, ...], list[str]] = {}
    begun = []
    for record in ledger.records.of_table() if look.whole else ledger.records.unmirrored(IN_TABLE):
        begun.append(surface.tsv_row(record))
        ours.setdefault(_key(begun[-1]), []).append(record.run)
    for row in told:
        value = f"{row.metrics.primary:.6f}" if row.metrics else _NO_VALUE
        ours.setdefault((short(row.commit), value, row.said, row.description), []).append(row.run)
    lines = list(_lines(mirrors.tsv, start))
    texts = [_text(line.rstrip(b"\r\n")) for _, line in lines]
    if texts and not lines[-1][1].endswith(b"\n") and _key(texts[-1]) not in ours and _begins_one(texts[-1], begun):
        look.torn = lines.pop()[0]  # the beginning of a line of ours, which is written again
        texts.pop()
    unknown = set()
    if look.whole and texts and _key(texts[0]) not in ours and _ends_one(texts[0], begun):
        why = "it is the end of a line whose beginning was lost"
        look.refused.append((texts[0], foreign.Refused(line=1, text=texts[0], why=why)))
        lines[0], texts[0] = (0, b"\n"), ""  # and no row: the whole of it is written again
    for place, text in enumerate(texts):
        if runs := ours.get(_key(text)):
            look.present.append(runs.pop(0))
        else:
            unknown.add(place)
    head = [] if look.whole else _header(mirrors.tsv)
    data = b"".join([*head, *(line for _, line in lines), b"\n"])
    metric = _metric(settings)
    found = foreign.read_table(data, name=TABLE, metric=metric.name, lab=metric)
    places = ((row.line - 1 - len(head), row) for row in found.rows)
    rows = [replace(row, raw=texts[place]) for place, row in places if place in unknown]
    news = [row for row in rows if not ledger.records.has_digest(row.digest)]
    if len(news) < len(rows) and not look.whole:  # a row once more: which time it is, only the whole file tells
        return _look_at_table(ledger, mirrors, settings, told, whole=True)
    look.rows += news
    wrong = ((refused.line - 1 - len(head), refused) for refused in found.refused)
    look.refused += ((texts[place], refused) for place, refused in wrong if place in unknown)
    return look


def _metric(settings: Settings) -> MetricSettings:
    """The lab's metric under the name that the mirrors have for any."""
    return replace(settings.metric, name=surface.METRIC)


def _begins_one(text: str, begun: Iterable[str]) -> bool:
    return any(line.startswith(text) for line in begun)


def _ends_one(text: str, begun: Iterable[str]) -> bool:
    return bool(text) and any(line.endswith(text) for line in begun)


def _key(line: str) -> tuple[str, ...]:
    """What a line of results.tsv is known by: all but the memory, which the two mirrors may round in their own ways."""
    commit, *rest = line.split("\t", 4)
    if len(rest) != 4:
        return (line,)
    return (short(commit), _NO_VALUE if _is_useless(rest[0]) else rest[0], *rest[2:])


def _is_useless(text: str) -> bool:
    """Whether a cell holds no number that could be one: NaN, infinity, nothing."""
    try:
        return not math.isfinite(float(text))
    except ValueError:
        return True


def _start(path: Path, left: Mirrored | None) -> int | None:
    """From which byte on a mirror is to be read: 0 for the whole of it, None if it is as we left it or not there."""
    now = _state(path)
    if now is None or now == left:
        return None
    if left is not None and now.inode == left.inode and now.size >= left.size and _tail(path, left.size) == left.tail:
        return left.size
    return 0


def _state(path: Path) -> Mirrored | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as exc:
        raise LedgerError(f"{path} cannot be read: {exc.strerror}", hint="make it readable") from exc
    if not stat.S_ISREG(found.st_mode):
        raise LedgerError(f"{path} is no file that can be read", hint="move it away: `nightlab log` writes a new one")
    return Mirrored(found.st_size, found.st_mtime_ns, found.st_ino, _tail(path, found.st_size))


def _tail(path: Path, end: int) -> bytes:
    with files.reading(path), path.open("rb") as file:
        file.seek(max(0, end - _TAIL))
        return file.read(min(end, _TAIL))


def _lines(path: Path, start: int) -> Iterator[tuple[int, bytes]]:
    """Offset and bytes of each line from `start` on, its end included."""
    with files.reading(path), path.open("rb") as file:
        if start == 0 and (text := _respelt(file)) is not None:
            lines: Iterable[bytes] = io.BytesIO(text)
        else:
            file.seek(start)
            lines = file
        offset = start
        for line in lines:
            yield offset, line
            offset += len(line)


def _respelt(file: BinaryIO) -> bytes | None:
    """All of a file that an editor has saved in a spelling of its own, in ours; None where it is in ours already.

    Such spellings are UTF-16, a mark at the beginning that says UTF-8, and carriage returns as the only ends of lines.
    """
    begin = file.read(_BEGIN)
    wide = begin.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if not wide and not begin.startswith(codecs.BOM_UTF8) and (b"\n" in begin or b"\r" not in begin):
        return None
    data = begin + file.read()
    text = data.decode("utf-16", "replace") if wide else data.decode("utf-8-sig", "surrogateescape")
    if "\n" not in text:
        text = text.replace("\r", "\n")
    found = text.encode("utf-8", "surrogateescape")
    return None if found == data else found


def _header(path: Path) -> list[bytes]:
    """The first line of a table, by which the rest of it is understood."""
    return [line if line.endswith(b"\n") else line + b"\n" for _, line in itertools.islice(_lines(path, 0), 1)]


def _text(line: bytes) -> str:
    return line.decode("utf-8", "replace").strip("\r\n")


# --- out --------------------------------------------------------------------------------------------------------


def bring_up(ledger: Ledger, settings: Settings, now: float) -> None:
    """Write what the mirrors lack, and the registry; the caller holds the mirrors' lock and has taken in the rest.

    Raises:
        LedgerError: the disk refuses. What is recorded stays, and the next time mends the files.
    """
    mirrors = Mirrors(settings.root)
    for name, bit, path, head in (
        (LINES, IN_LINES, mirrors.ledger, ""),
        (TABLE, IN_TABLE, mirrors.tsv, surface.TSV_HEADER),
    ):
        if not path.exists():
            ledger.set_mirrored(name, None, bit, (), only=True)
            files.append(path, head)
        lacking = ledger.records.unmirrored(bit)
        for start in range(0, len(lacking), _CHUNK):
            part = lacking[start : start + _CHUNK]
            write = _line if bit == IN_LINES else _table_line
            files.append(path, "".join(write(ledger, record, settings, mirrors) for record in part))
            ledger.set_mirrored(name, _state(path), bit, (record.run for record in part))
        if (state := _state(path)) != ledger.mirror(name):
            ledger.set_mirrored(name, state, bit, ())
    _write_registry(ledger, settings, mirrors, now)


def _write_registry(ledger: Ledger, settings: Settings, mirrors: Mirrors, now: float) -> None:
    """Replace the registry, unless it says the same already."""
    text = _registry_text(ledger, settings, now, remember=True)
    if not _says(mirrors.registry, text):
        files.replace(mirrors.registry, text)


def _registry_text(ledger: Ledger, settings: Settings, now: float, *, remember: bool = False) -> str:
    stamp = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}"
    sign = settings.metric.direction.sign

    def stand(record: Record) -> Stand:
        return stand_of(ledger, settings, record, remember=remember)

    row = surface.registry_row(ledger.records, stamp, sign, label, stand)
    if not row.num_experiments:
        row.updated_at = None
    return surface.dumps(row, indent=2) + "\n"


def _says(path: Path, text: str, *but: str) -> bool:
    """Whether a registry says the same, whenever it was written, and whatever it says in lines with one of `but`."""
    passed = (_STAMP, *but)
    both = (files.lines(path), text.removesuffix("\n").split("\n"))
    told, ours = ([line for line in lines if not any(word in line for word in passed)] for lines in both)
    return told == ours


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How the mirrors stand to the ledger."""

    are_there: bool  # or were once
    wrong: tuple[str, ...]  # what is gone, or was changed by others, in words
    rows: dict[str, int]  # by mirror, that others wrote there and nobody has taken in yet
    refused: int  # lines that are no rows
    lacking: int  # lines that are still to be written


def compare(ledger: Ledger, settings: Settings, now: float) -> Compared:
    """Hold the mirrors against the ledger. Reads only.

    Raises:
        LedgerError: a mirror cannot be read.
    """
    mirrors, records = Mirrors(settings.root), ledger.records
    looks = {one.name: one for one in _looks(ledger, settings)}
    wrong: list[str] = []
    lacking, is_written, are_there = 0, False, mirrors.registry.exists()
    for name, bit, path in ((LINES, IN_LINES, mirrors.ledger), (TABLE, IN_TABLE, mirrors.tsv)):
        unwritten = {record.run for record in records.unmirrored(bit)}
        present = set(looks[name].present) if name in looks else set()
        lacking += len(unwritten - present)
        was_written = ledger.mirror(name) is not None
        is_written |= was_written
        are_there |= was_written or path.exists()
        if was_written and not path.exists():
            wrong.append(f"{name} is gone")
        elif was_written and name in looks and looks[name].whole:
            ours = records.names() if bit == IN_LINES else {record.run for record in records.of_table()}
            if gone := ours - unwritten - present:
                wrong.append(f"{len(gone)} line(s) of {name} are gone or were changed")
    if is_written and not mirrors.registry.exists():
        wrong.append(f"{mirrors.registry.name} is gone")
    elif is_written and not lacking and not _says(mirrors.registry, _registry_text(ledger, settings, now), *_FORECAST):
        wrong.append(f"{mirrors.registry.name} says something else than the ledger")
    return Compared(
        are_there=are_there,
        wrong=tuple(wrong),
        rows={name: len(one.rows) for name, one in looks.items() if one.rows},
        refused=sum(len(one.refused) for one in looks.values()),
        lacking=lacking,
    )


def _table_line(ledger: Ledger, record: Record, settings: Settings, mirrors: Mirrors) -> str:
    return surface.tsv_row(record) + "\n"


def _line(ledger: Ledger, record: Record, settings: Settings, mirrors: Mirrors, *, leave_packet: bool = True) -> str:
    """The record's line of experiments.jsonl: as it was written at its moment, or made of what is known."""
    if record.origin == HAND and (told := ledger.records.parts(record.run)) and told[2] and told[2].row:
        return told[2].row + "\n"
    if record.experiment is None and (event := ledger.records.imported(record.seq)) and event.raw.startswith("{"):
        return event.raw + "\n"
    return surface.dumps(_row(ledger, record, settings, mirrors, leave_packet=leave_packet)) + "\n"


def json_lines(ledger: Ledger, settings: Settings) -> Iterator[str]:
    """Every record as a line of experiments.jsonl, oldest first; writes nothing."""
    mirrors = Mirrors(settings.root)
    for record in ledger.records.all():
        yield _line(ledger, record, settings, mirrors, leave_packet=False)


def _row(ledger: Ledger, record: Record, settings: Settings, mirrors: Mirrors, *, leave_packet: bool) -> ExperimentRow:
    """A record as the older surface states it; one of the lab's own carries its packet, and may leave it as files."""
    detail = detail_of(ledger, record)
    packet = None
    if record.origin == LAB:
        facts, decided = packet_of_lab(ledger.records, record, settings)
        packet = older.packet_row(record, detail, None, decided, facts)
        if leave_packet:
            write_packet(mirrors.run(record.run), packet, decided)
    row = older.experiment_row(record, detail, mirrors)
    if packet is not None:
        row.decision_packet = packet
    return row


def write_packet(directory: Path, packet: surface.PacketRow, decided: DecisionPacket) -> None:
    """decision_packet.json and decision_packet.md of a run."""
    from nightlab.judge import wording

    stand = wording.stand(decided.stand) if decided.stand else ""
    files.replace(directory / older.PACKET_JSON, surface.dumps(packet, indent=2) + "\n")
    files.replace(directory / older.PACKET_MD, surface.packet_markdown(packet, stand))


def detail_of(ledger: Ledger, record: Record) -> Detail:
    """What is known of a record beyond its row."""
    if record.experiment is None:
        event = ledger.records.imported(record.seq)
        assert event is not None
        return Detail(
            metrics=event.metrics,
            crash=event.crash,
            read=event.read,
            notes=event.notes,
            error_source=event.error_source,
            dirty=event.dirty,
        )
    told = ledger.records.parts(record.run)
    assert told is not None
    run, ended, said = told
    outcome = ended.outcome if ended else None
    return Detail(
        metrics=outcome.metrics if isinstance(outcome, Finished) and record.value is not None else None,
        crash=outcome if isinstance(outcome, Crashed) else None,
        read=said.read if said else {},
        notes=said.notes if said else "",
        log=said.log if said else "",
        summary=said.summary if said else "",
        error_source=said.error_source if said else "",
        dirty=run.environment.dirty,
    )
