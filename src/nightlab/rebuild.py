"""A lab whose memory is damaged or at odds with itself, made whole again from what else is there.

Sources, in this order: what can still be read of the damaged file, the journal beside it, what supervisors left in the
runs' directories, and the text mirrors. Nothing is deleted: a damaged file is kept beside the new one.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nightlab import remains
from nightlab.config import Settings
from nightlab.discovering import keep_up
from nightlab.errors import AlreadyRecordedError, BackendError, LedgerDamagedError
from nightlab.ledger import Ledger, journal, restore
from nightlab.ledger.mirrors import Mirrors, writing
from nightlab.ledger.restore import Restored
from nightlab.ledger.store import chain, is_present
from nightlab.ledger.verify import Beside
from nightlab.loop import lease
from nightlab.memory import INDEX, open_ledger
from nightlab.mirroring import Unseen, bring_up
from nightlab.runner.order import RunFiles, read_ended
from nightlab.takeover import take_in_dated


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """What was done."""

    aside: Path | None  # where the damaged file lies now; None: it was none
    events: int  # on record now
    log: Restored  # what became of the events of a damaged database and its journal
    journal: Path | None  # where a journal lies now that told something else than the database; None: it did not
    runs: int  # of the lab's own that only their directory told of
    endings: int  # of runs whose ending was found in their directory
    unseen: Unseen  # what the mirrors held besides


def is_damaged(database: Path) -> bool:
    """Whether the file is there and is not, as a whole, what was recorded."""
    if not is_present(database):
        return False
    try:
        with Ledger.read(database) as ledger:
            return not (ledger.is_sound() and _is_unbroken(ledger.lines())) or restore.is_behind(database)
    except LedgerDamagedError:
        return True


def _is_unbroken(lines: Iterable[journal.Line]) -> bool:
    """Whether each event fits its predecessor."""
    before = b""
    for place, x in enumerate(lines, 1):
        fits = x.digest == chain(before, seq=x.seq, at=x.at, kind=x.kind, key=x.key, body=x.body)
        if x.seq != place or not fits:
            return False
        before = x.digest
    return True


def repair(settings: Settings, now: float) -> Repaired:
    """Make the lab's memory whole: database, tables, mirrors.

    Raises:
        BusyError: a night is under way; it has the file open.
        LedgerError: the disk refuses.
    """
    with lease(settings), Mirrors(settings.root).locked():
        aside, log = None, Restored(left_out=0, unsure=0)
        if is_damaged(settings.database):
            aside, log = _make_anew(settings, now)
        with open_ledger(settings) as ledger:
            if aside is None:
                ledger.refold()
            rotten = _mend_journal(ledger, now)
        with restore.past(settings.database, INDEX, durable=True) as past:
            runs = remains.add_runs(past, settings)
        with open_ledger(settings) as ledger:
            endings = _endings(ledger, settings)
            unseen = take_in_dated(ledger, settings, now)
            bring_up(ledger, settings, now)
            keep_up(ledger, settings, now)
            return Repaired(
                aside=aside,
                events=ledger.seq,
                log=log,
                journal=rotten,
                endings=endings,
                runs=runs,
                unseen=unseen,
            )


def _mend_journal(ledger: Ledger, now: float) -> Path | None:
    """Write the journal anew where it is not what the database tells.

    Returns:
        Where the old one lies now; None where it was right as far as it went.
    """
    path = journal.path_of(ledger.path)
    beside = Beside(path)
    for line in ledger.lines():
        beside.compare(line)
    aside = _beside(path, now) if beside.problem else None
    if beside.problem or beside.last < ledger.seq:
        journal.write_anew(path, ledger.lines())
    return aside


def _make_anew(settings: Settings, now: float) -> tuple[Path | None, Restored]:
    """A new database of all that can be found, in the place of the damaged one, which lies beside it from then on."""
    database = settings.database
    with writing(database), restore.alone(database):
        if not is_damaged(database):  # another process has done it meanwhile
            return None, Restored(left_out=0, unsure=0)
        aside = _beside(database, now)
        lines = [*restore.salvage(database), *journal.read(journal.path_of(database))]
        with restore.in_place_of(database, INDEX) as made:
            log = remains.fill(made, settings, lines, f"the database was damaged and lies in {aside.name}")
    return aside, log


def _beside(path: Path, now: float) -> Path:
    """A copy of a damaged file, with what belongs to it, under a name of its own."""
    aside = path.with_name(f"{path.name}.damaged-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}")
    while aside.exists():
        aside = aside.with_name(aside.name + "-2")
    for part in restore.PARTS:
        with suppress(FileNotFoundError):
            shutil.copyfile(f"{path}{part}", f"{aside}{part}")
    return aside


def _endings(ledger: Ledger, settings: Settings) -> int:
    """Record endings that supervisors left in their runs' directories and the ledger lacks."""
    count = 0
    for run in ledger.open_runs():
        with suppress(BackendError, AlreadyRecordedError):  # a damaged file says nothing
            ended = read_ended(RunFiles(settings.runs / run))
            if ended is not None:
                ledger.append(ended)
                count += 1
    return count
