"""Other histories taken over: tables, JSON lines, and branches of experiment commits, each row once.

A row is another's word. Where its commit is in this repository, its source, parent and moment are known too, so that
the same source is one experiment however it came here.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from nightlab.config import MetricSettings, Settings
from nightlab.errors import LedgerError, NoRepositoryError, NotFoundError
from nightlab.git import CommitFacts, Git
from nightlab.ledger import Ledger, foreign, surface
from nightlab.ledger import mirrors as files
from nightlab.ledger.cells import NO_NUMBER, TEXT, clean, name_of
from nightlab.ledger.foreign import Foreign, Format, Read, Refused
from nightlab.ledger.mirrors import Mirrors
from nightlab.ledger.records import IMPORT, KEEP, Record
from nightlab.ledger.tables import short
from nightlab.memory import open_ledger
from nightlab.mirroring import LINES, TABLE, Unseen, bring_up, named, take_in
from nightlab.runner.hashes import matching
from nightlab.runner.workspace import pinned_by
from nightlab.search.source import source_hash
from nightlab.types import Direction, Imported, Metrics, RunId, Unranked

WEEK = 7 * 86_400.0  # how far back rows lie of which nobody tells when they happened: they are none of tonight's
LARGEST = 256 << 20  # bytes of a history: a million rows, and what memory holds several times over
SOURCES = 1000  # distinct sources that are hashed, the last ones told: some fifteen seconds
_HASHED_AT_ONCE = 200  # sources that are in memory together
_TRUNKS = ("origin/HEAD", "origin/main", "origin/master", "main", "master")  # what experiment branches leave
_REF = "refs/heads/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What came of one import."""

    name: str
    rows: tuple[Imported, ...]  # in their order; a name of a run is told only where the row tells it
    new: int  # of them taken in now; the rest was on record already
    refused: tuple[Refused, ...]
    metric: str  # "" where there was none
    direction: Direction  # which way that is better
    unranked: Mapping[str, int] = field(default_factory=dict)  # what values are called that cannot be ranked: how many
    taken_back: int = 0  # rows that an earlier import had ranked, and this one no longer does
    no_number: int = 0  # of the new rows: they are no crash by their own word, and count as one
    first: float | None = None  # of its values that are ranked here
    best: float | None = None  # of the new ones among them
    stood: float | None = None  # the best value that the lab had before

    @property
    def known(self) -> int:
        return len(self.rows) - self.new


def take_over(settings: Settings, places: Sequence[str], *, ranked: bool, now: float) -> list[Taken]:
    """Read histories and record what is new in them.

    Args:
        settings: the lab.
        places: files, or branches of the lab's repository.
        ranked: whether their values may be ranked beside this lab's own.
        now: UTC seconds since the epoch.

    Raises:
        NotFoundError: there is no such file or branch; nothing was recorded of any of them.
        LedgerError: a file cannot be read, or the disk refuses.
    """
    commits = _Commits(settings, now)
    histories = [_open(settings, commits, place, now) for place in dict.fromkeys(places)]
    with Mirrors(settings.root).locked(), open_ledger(settings) as ledger:
        unseen = _adopt(ledger, settings, commits, now)
        best = next((record.value for record in ledger.records.ranking(settings.metric.direction.sign, 1)), None)
        taken = [_record(ledger, settings, one, unseen, ranked=ranked, stood=best, now=now) for one in histories]
        bring_up(ledger, settings, now)
    return taken


def adopt(settings: Settings, now: float) -> Unseen:
    """Bring the lab's own mirrors and its ledger together, with what the repository knows of the commits in them.

    Raises:
        LedgerError: the disk refuses.
    """
    with Mirrors(settings.root).locked(), open_ledger(settings) as ledger:
        unseen = _adopt(ledger, settings, _Commits(settings, now), now)
        bring_up(ledger, settings, now)
    return unseen


def take_in_dated(ledger: Ledger, settings: Settings, now: float) -> Unseen:
    """What others wrote into the mirrors, on record with the parents, sources and moments that the repository tells.

    The caller holds the mirrors' lock.
    """
    return _adopt(ledger, settings, _Commits(settings, now), now)


def _adopt(ledger: Ledger, settings: Settings, commits: _Commits, now: float) -> Unseen:
    mirrors = Mirrors(settings.root)
    seen = {p for p, name in ((mirrors.ledger, LINES), (mirrors.tsv, TABLE)) if ledger.mirror(name) is not None}

    def locate(path: Path, rows: Sequence[Foreign]) -> Sequence[Foreign]:
        with files.reading(path):
            latest = min(path.stat().st_mtime, now)
        return commits.located(rows, latest, are_news=path in seen)  # then they were written since we last looked

    return take_in(ledger, settings, now, locate)


# --- reading ----------------------------------------------------------------------------------------------------


_Key = tuple[str, str, str, str]
"""What a run is known by across all forms of a ledger: commit, value, status, description."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _History:
    name: str
    read: Read
    mirror: Path | None = None  # the lab's own file that it is
    as_ours: Mapping[int, _Key] = field(default_factory=dict)  # line -> what it would be in a copy of the lab's files


def _open(settings: Settings, commits: _Commits, place: str, now: float) -> _History:
    if os.path.exists(place) and not os.path.isdir(place):
        return _read_file(settings, commits, Path(place), now)
    git = commits.git
    tip = git.resolve(place) if git is not None and not place.startswith("-") else None
    if git is not None and tip is not None:
        return _read_branch(settings, git, commits, place.removeprefix(_REF), tip, now)
    if os.path.isdir(place):
        raise NotFoundError(f"{place} is a directory, and no branch of {settings.root}", hint="name the file in it")
    raise NotFoundError(
        f"{place} is neither a file nor a branch of {settings.root}",
        hint="name a results.tsv, a file of JSON lines, or a branch of experiment commits",
    )


def _read_file(settings: Settings, commits: _Commits, path: Path, now: float) -> _History:
    data, told_at = _bytes(path)
    parse = foreign.read_jsonl if foreign.sniff(data) is Format.JSON_LINES else foreign.read_table
    mirrors = Mirrors(settings.root)
    mirror = next((own for own in (mirrors.ledger, mirrors.tsv) if own.resolve() == path.resolve()), None)
    of_mirrors = replace(settings.metric, name=surface.METRIC)
    metric = settings.metric if mirror is None else of_mirrors
    read = parse(data, name=path.name, metric=metric.name, lab=metric)
    as_ours = {}
    if read.metric_seen == surface.METRIC != metric.name:  # a copy of the lab's own, perhaps
        copied = parse(data, name=path.name, metric=of_mirrors.name, lab=of_mirrors)
        as_ours = {row.line: _key_of(row) for row in copied.rows}
    read = replace(read, rows=tuple(commits.located(read.rows, min(now, told_at or now))))
    return _History(name=str(path), read=read, mirror=mirror, as_ours=as_ours)


def _bytes(path: Path) -> tuple[bytes, float | None]:
    """A file's content, and when it was written; None of a pipe, which is written now.

    Raises:
        LedgerError: it cannot be read, or is too large.
    """
    with files.reading(path), path.open("rb") as file:
        found = os.fstat(file.fileno())
        data = file.read(LARGEST + 1) if found.st_size <= LARGEST else b""
    if found.st_size > LARGEST or len(data) > LARGEST:
        raise LedgerError(f"{path} is larger than {LARGEST >> 20} MiB", hint="cut it into parts, each with the header")
    return data, found.st_mtime if os.path.isfile(path) else None


# --- commits ----------------------------------------------------------------------------------------------------


_Blobs = tuple[tuple[str, str], ...]
"""Path and object id of each editable file of a commit."""


@dataclass(frozen=True, slots=True)
class _Source:
    """The editable files of a commit: as git knows them, and as experiments are known by."""

    blobs: _Blobs
    digest: str  # "" where it was not worked out, or is no text


class _Commits:
    """What the lab's repository knows of the commits that histories name."""

    def __init__(self, settings: Settings, now: float) -> None:
        self._settings = settings
        self._now = now
        self._digests: dict[tuple[str, _Blobs], str] = {}
        self.git: Git | None = None
        with suppress(NoRepositoryError):  # a lab may do without, and so may a history
            self.git = Git(settings.root)

    def located(self, rows: Sequence[Foreign], latest: float, *, are_news: bool = False) -> list[Foreign]:
        """The rows with parent, moment and source of those commits that are known.

        Args:
            rows: of one file, in its order.
            latest: no row happened after that.
            are_news: whether rows happened just then that do not tell when; else they are as old as others make them.
        """
        facts = self.git.known(row.commit for row in rows) if self.git is not None else {}
        sources = self.sources([fact.id for fact in facts.values()])
        told = [facts[row.commit].at if row.at is None and row.commit in facts else row.at for row in rows]
        told = [moment if moment is None else min(moment, latest) for moment in told]
        oldest = min([latest, self._now - WEEK, *(moment for moment in told if moment is not None)])
        found = []
        for row, moment in zip(rows, told, strict=True):
            fact = facts.get(row.commit)
            oldest = oldest if moment is None else moment  # the next row that does not tell is no older than this one
            found.append(
                replace(
                    row,
                    at=latest if are_news and moment is None else oldest,
                    parent_commit=fact.parent if fact is not None else row.parent_commit,
                    source_hash=row.source_hash or (sources[fact.id].digest if fact is not None else ""),
                )
            )
        return found

    def sources(self, commits: Sequence[str]) -> dict[str, _Source]:
        """Commit -> its editable source. Of more than SOURCES distinct ones the last are hashed."""
        if self.git is None:
            return {}
        wanted: dict[str, tuple[str, _Blobs]] = {}
        settled: dict[_Blobs, str] = {}  # all else that makes runs comparable -> its digest
        for commit, tree in self.git.blobs_of(commits):
            editable = set(matching(tree, self._settings.editable))
            beside = tuple(item for item in sorted(tree.items()) if item[0] not in editable)
            if beside not in settled:
                settled[beside] = pinned_by(self._settings, tree).digest
            wanted[commit] = settled[beside], tuple((path, tree[path]) for path in sorted(editable))
        new = [w for w in dict.fromkeys(wanted.values()) if w[1] and w not in self._digests]
        self._digests.update(_hashed(self.git, new[-SOURCES:]))
        return {commit: _Source(source[1], self._digests.get(source, "")) for commit, source in wanted.items()}


def _hashed(git: Git, wanted: Sequence[tuple[str, _Blobs]]) -> Iterator[tuple[tuple[str, _Blobs], str]]:
    for start in range(0, len(wanted), _HASHED_AT_ONCE):
        part = wanted[start : start + _HASHED_AT_ONCE]
        contents = git.contents(blob for _, source in part for _, blob in source)
        for settled, source in part:
            with suppress(UnicodeDecodeError, KeyError):  # no text, or lost: then its source is not known
                yield (settled, source), source_hash({p: contents[b].decode("utf-8") for p, b in source}, settled)


# --- branches ---------------------------------------------------------------------------------------------------


def _read_branch(settings: Settings, git: Git, commits: _Commits, branch: str, tip: str, now: float) -> _History:
    """The experiments of a branch: its baseline, and each commit after it that changes an editable file.

    Values are those of the branch's own results.tsv, else of the lab's, else what the commit's message states. A table
    also tells of runs whose commits the branch no longer holds.
    """
    line = git.line(tip)
    places = {fact.id: place for place, fact in enumerate(line)}
    read = _told(settings, git, commits, tip, places, min(line[-1].at, now))
    start = _start(git, tip, places)
    sources = commits.sources([fact.id for fact in line[start:]])
    experiments = list(_experiments(line, sources, start))
    told = {row.commit for row in read.rows}
    untold = [place for place in experiments if line[place].id not in told]
    baseline = experiments[0] if experiments else None
    rows: list[Foreign] = []
    for row in read.rows:
        while untold and untold[0] < places.get(row.commit, 0):  # commits that no table speaks of stand where they are
            rows.append(_of_commit(line[place := untold.pop(0)], is_first=place == baseline, metric=settings.metric))
        rows.append(row)
    rows += [_of_commit(line[place], is_first=place == baseline, metric=settings.metric) for place in untold]
    known = [
        replace(
            row,
            line=number,
            branch=branch,
            origin=clean(branch, foreign.SUMMARY),
            source_hash=row.source_hash or (sources[row.commit].digest if row.commit in sources else ""),
        )
        for number, row in enumerate(rows, 1)
    ]
    is_foreign = any(not row.ranked for row in read.rows)
    seen = read.metric_seen if is_foreign else settings.metric.name if any(row.metrics for row in rows) else ""
    return _History(name=branch, read=replace(read, rows=tuple(known), metric_seen=seen))


def _start(git: Git, tip: str, places: Mapping[str, int]) -> int:
    """Place of the commit that a branch's experiments begin from: where it left the trunk; 0 if it left none."""
    forks = (places.get(git.fork(trunk, tip) or "", 0) for trunk in _TRUNKS)
    return max(place for place in (0, *forks) if place < len(places) - 1 or place == 0)


def _experiments(line: Sequence[CommitFacts], sources: Mapping[str, _Source], start: int) -> Iterator[int]:
    """Places of the baseline, which is the first source, and of the commits after it that change it."""
    before: _Source | None = None
    for place in range(start, len(line)):
        here = sources[line[place].id]
        is_same = before is not None and (here.blobs == before.blobs or here.digest == before.digest != "")
        if here.blobs and not is_same:
            yield place
        before = here


def _told(settings: Settings, git: Git, commits: _Commits, tip: str, places: Mapping[str, int], at: float) -> Read:
    """What the branch's own results.tsv says, else what the lab's says of the branch's commits; with full ids."""
    path = Mirrors(settings.root).tsv
    own = path.name in git.files(tip)
    read = _read_ours(git.read(tip, path.name) if own else _bytes(path)[0] if path.is_file() else b"", settings.metric)
    facts = git.known(row.commit for row in read.rows)
    rows = [
        replace(row, commit=facts[row.commit].id if row.commit in facts else row.commit)
        for row in commits.located(read.rows, at)
    ]
    if own:
        return replace(read, rows=tuple(rows))
    return replace(read, rows=tuple(row for row in rows if row.commit in places), refused=())  # the rest is the lab's


def _read_ours(data: bytes, metric: MetricSettings) -> Read:
    """A results.tsv of this very lab: its metric goes by its own name there, or by the one that mirrors give to any."""
    read = foreign.read_table(data, name="", metric=metric.name, lab=metric)
    if read.metric_seen == surface.METRIC != metric.name:
        read = foreign.read_table(data, name="", metric=surface.METRIC, lab=replace(metric, name=surface.METRIC))
    return read


def _of_commit(fact: CommitFacts, *, is_first: bool, metric: MetricSettings) -> Foreign:
    """A commit that only its message speaks of. Its author kept it: a loop takes back what it does not keep."""
    subject, _, rest = fact.message.partition("\n")
    return Foreign(
        line=0,
        run="",
        origin="",
        digest=hashlib.sha256(f"commit {fact.id}".encode()).hexdigest(),
        status=KEEP,
        said=KEEP,
        at=fact.at,
        commit=fact.id,
        parent_commit=fact.parent,
        description="baseline" if is_first else clean(subject, TEXT),
        notes=clean(fact.message if is_first else rest, TEXT),
        metrics=_stated(fact.message, metric),
    )


_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"


def _stated(message: str, metric: MetricSettings) -> Metrics | None:
    """The metric, where a commit's message states it: `val_bpb: 0.9931`, `val_bpb=0.9931`, `val_bpb: 0.9979 -> 0.9931`.

    None where it states several: which one was measured is not known.
    """
    stated = rf"(?<!\w){re.escape(metric.name)}\s*[:=]\s*({_NUMBER})(?:\s*(?:->|\u2192)\s*({_NUMBER}))?(?![\w%])"
    values = {float(last or first) for first, last in re.findall(stated, message)}
    if len(values) != 1 or metric.reject(value := values.pop()) is not None:
        return None
    return Metrics(primary=value)


# --- recording --------------------------------------------------------------------------------------------------


def _record(
    ledger: Ledger,
    settings: Settings,
    history: _History,
    unseen: Unseen,
    *,
    ranked: bool,
    stood: float | None,
    now: float,
) -> Taken:
    """Record what is new in a history; of one of the lab's own mirrors all of it is on record by now."""
    read, sign = history.read, settings.metric.direction.sign
    new: Sequence[Imported]
    if history.mirror is not None:
        is_table = history.mirror == Mirrors(settings.root).tsv
        new = [row for row in unseen.rows if row.raw.startswith("{") != is_table]
        taken_back: list[RunId] = []
        is_ours = read.metric_seen in ("", surface.METRIC)
        seen = settings.metric.name if is_ours and read.metric_seen else read.metric_seen
    else:
        taken_back = [] if ranked else _ranked_already(ledger, history)
        if taken_back:
            ledger.append(Unranked(runs=tuple(taken_back)))
        fresh = _news(ledger, history)
        if new := named((replace(row, ranked=row.ranked and ranked, raw="") for row in fresh), ledger, now):
            ledger.append(*new)
        seen = read.metric_seen
    is_labs = not seen or name_of(seen) == name_of(settings.metric.name)
    values = [row.metrics.primary for row in read.rows if row.metrics and row.ranked and ranked]
    better = sorted((row.metrics.primary for row in new if row.metrics and row.ranked), key=lambda value: sign * value)
    return Taken(
        name=history.name,
        rows=tuple(row.imported(run=RunId(row.run), now=now) for row in read.rows),
        new=len(new),
        refused=read.refused,
        metric=settings.metric.name if seen and is_labs else seen,
        direction=settings.metric.direction if is_labs else foreign.direction_of(seen),
        unranked=Counter(row.metric for row in read.rows if row.metrics and not row.ranked),
        taken_back=len(taken_back),
        no_number=sum(row.crash is not None and row.crash.signature == NO_NUMBER for row in new),
        first=next(iter(values), None),
        best=next(iter(better), None) if history.mirror is None else None,
        stood=stood,
    )


def _news(ledger: Ledger, history: _History) -> list[Foreign]:
    """The rows that are not on record: neither as this very row, nor as its run, nor as one that says the same.

    A run that was made twice stands in a history twice: of equal rows as many are known as there are equal records.
    """
    runs: dict[str, _Key] = {}
    sources: set[str] = set()
    for record in ledger.records.all():
        runs[record.run] = _key_of_record(record)
        sources.add(record.source_hash)
    left = Counter(runs.values())
    unknown = []
    for row in history.read.rows:
        keys = _keys_of(row, history)
        on_record = runs.get(row.run) if row.raw else None  # a line that carries its run's own name
        if on_record is not None and any(_is_of(key, on_record) for key in keys):
            left[on_record] -= 1
        elif ledger.records.has_digest(row.digest):
            left[keys[0]] -= 1
        elif row.status == KEEP and row.metrics is None and row.source_hash and row.source_hash in sources:
            continue  # a commit without a number, whose source is on record: it says nothing new
        else:
            unknown.append((row, keys))
    fresh = []
    for row, keys in unknown:
        if same := [key for key in keys if left[key] > 0]:
            left[same[0]] -= 1
        else:
            fresh.append(row)
    return fresh


def _ranked_already(ledger: Ledger, history: _History) -> list[RunId]:
    """The runs of a history that an earlier import took in as ranked."""
    known: dict[_Key, list[RunId]] = {}
    for record in ledger.records.all():
        if record.origin == IMPORT and record.ranked and record.value is not None:
            known.setdefault(_key_of_record(record), []).append(record.run)
    found = []
    for row in history.read.rows:
        runs = next((known[key] for key in _keys_of(row, history) if known.get(key)), None)
        if runs:
            found.append(runs.pop(0))
    return found


def _keys_of(row: Foreign, history: _History) -> list[_Key]:
    """What a row may be known by: as it is read, as it would be in a copy of the lab's files, and by its own word."""
    keys = [_key_of(row)]
    if row.line in history.as_ours:
        keys.append(history.as_ours[row.line])
    if row.metrics is None and row.said != row.status:
        keys.append(_key(row.commit, None, row.said, row.description))
    return keys


def _is_of(key: _Key, on_record: _Key) -> bool:
    """Whether a row under the name of a run says nothing else than its record: the same value, or none."""
    return key[1:3] == on_record[1:3] or (key[1] == _NO_VALUE and (key[0], *key[2:]) == (on_record[0], *on_record[2:]))


def _key_of(row: Foreign) -> _Key:
    return _key(row.commit, row.metrics.primary if row.metrics else None, row.status, row.description)


def _key_of_record(record: Record) -> _Key:
    return _key(record.commit, record.value, record.status, record.description)


def _key(commit: str, value: float | None, status: str, description: str) -> _Key:
    """As far as every form tells it: a table states six digits and no line breaks."""
    return short(commit), surface.number(value, 6), status, clean(description, TEXT)


_NO_VALUE = surface.number(None, 6)
