"""What runs' directories, kept commits and mirrors still tell of a lab whose database is lost, as events.

A run's directory holds its order and its ending, `refs/nightlab/experiments/` the source it ran and what that was built
on, a mirror or the run's packet what became of it. Together they make every recorded run anew, under its own name.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime

import msgspec

from nightlab.config import Settings
from nightlab.errors import BackendError, NightlabError
from nightlab.git import CommitFacts, Git
from nightlab.history import History
from nightlab.ledger import foreign, journal, restore
from nightlab.ledger.mirrors import Mirrors, run_of, writing
from nightlab.ledger.records import DISCARD, KEEP, SHORT
from nightlab.ledger.restore import Past, Restored, Told
from nightlab.ledger.store import is_present
from nightlab.ledger.surface import METRIC
from nightlab.ledger.tables import moment_of
from nightlab.ledger.text import TextIndex
from nightlab.runner.hashes import matching
from nightlab.runner.order import Order, RunFiles, read_ended, read_order
from nightlab.runner.workspace import pinned
from nightlab.search.changes import changes_between
from nightlab.search.source import ALGORITHM, experiment_id, patch, source_hash
from nightlab.types import (
    Decision,
    Ended,
    Experiment,
    ExperimentId,
    Files,
    Judged,
    NightBegan,
    NightEnded,
    NightId,
    Plan,
    Proposed,
    Purpose,
    RunId,
    Started,
    Verdict,
)

_TRAILER = "Nightlab-Experiment:"  # in the message of a commit that was made on top of another experiment's
_PACKET = "decision_packet.json"
_LARGEST = 1 << 20  # bytes of a packet
_SETTLED = {KEEP: Decision.KEEP, DISCARD: Decision.DISCARD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the rest of a lab told of a database that is lost."""

    events: int  # on record now
    lines: int  # of the journal; 0: it is lost too
    log: Restored  # what became of the journal's events
    unreadable: int  # lines of the journal that are none, torn by a killed writer or changed

    @property
    def text(self) -> str:
        """In one line, with what had to be left out."""
        if not self.lines:
            return f"{self.events} events, without its journal, which is lost too"
        wrong = {
            "could not be read": self.unreadable,
            "told of events that do not fit and were left out": self.log.left_out,
            "told of events that could not be checked, what came before them being gone": self.log.unsure,
        }
        said = "; ".join(f"{count} line(s) of its journal {what}" for what, count in wrong.items() if count)
        return f"{self.events} events{f'; {said}' if said else ''}"


def make_anew(settings: Settings, index: TextIndex) -> Found | None:
    """Make a lost database anew in its place; nothing where it is not lost.

    Raises:
        LedgerError: the disk refuses.
    """
    database = settings.database
    with writing(database):
        database.parent.mkdir(parents=True, exist_ok=True)
        with restore.alone(database):
            if is_present(database):  # another process has done it meanwhile
                return None
            with restore.in_place_of(database, index) as made:
                return fill_lost(made, settings, "the database was lost")


def fill_lost(made: Past, settings: Settings, why: str) -> Found:
    """Record what the journal of a lost database tells and, beside it, the lab's runs and files."""
    rows = list(journal.rows(journal.path_of(settings.database)))
    log = fill(made, settings, [row.line for row in rows if row.line is not None], why)
    unreadable = sum(row.line is None for row in rows)
    return Found(events=made.ledger.seq, lines=len(rows), log=log, unreadable=unreadable)


def fill(made: Past, settings: Settings, lines: Iterable[journal.Line], why: str) -> Restored:
    """Record what lines of a log and, beside them, the lab's runs and files tell."""
    restored = restore.restore(made, lines, f"{why}; the ledger was made anew from its events")
    has_log = made.ledger.seq > 0
    add_runs(made, settings)
    if not has_log:  # else a packet without a record is what a killed command has left, and no run
        _add_packets(made, settings)
    return restored


# --- the lab's own runs -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Left:
    """A run as its directory tells it."""

    order: Order
    at: float  # UTC seconds, as all moments here
    ended: Ended | None
    ended_at: float

    @property
    def experiment(self) -> ExperimentId:
        return self.order.run.experiment


def add_runs(made: Past, settings: Settings) -> int:
    """Record the lab's own runs that the ledger lacks, from what their directories hold.

    A run is believed if the commit that is kept for its experiment has that experiment's source, by the hash of it or
    by the digests that were taken of the files before the run began.

    Returns:
        How many there were.
    """
    history = made.ledger.history(patches=False)
    left = [one for one in _left(settings) if one.order.run.id not in history.runs]
    if not left:
        return 0
    try:
        experiments = _Experiments(settings, Git(settings.root), left, history)
    except NightlabError:  # without the repository there is no source, and without a source there is no run
        return 0
    left = [one for one in left if experiments.find(one.experiment) or one.experiment in history.experiments]
    before = len(history.runs)
    made.record(_Retold(settings, left, experiments, history).events())
    return len(made.ledger.history(patches=False).runs) - before


def _left(settings: Settings) -> list[_Left]:
    found = []
    with suppress(OSError):
        for directory in sorted(settings.runs.iterdir()):
            files = RunFiles(directory)
            with suppress(BackendError, OSError):  # what is damaged says nothing
                order = read_order(files.order)
                if order.run.id != directory.name:
                    continue
                ended = read_ended(files)
                begun = files.order.stat().st_mtime
                at = moment_of(order.run.id)
                at = begun if at is None or at <= begun < at + 1 else at  # copied files have other times
                ended_at = max(at, files.ended.stat().st_mtime) if ended else at
                found.append(_Left(order=order, at=at, ended=ended, ended_at=ended_at))
    return sorted(found, key=lambda one: one.at)


class _Experiments:
    """Experiments as the commits that are kept for them tell."""

    def __init__(self, settings: Settings, git: Git, left: Iterable[_Left], history: History) -> None:
        self._settings, self._git = settings, git
        self._orders: dict[ExperimentId, list[Order]] = {}
        for one in left:
            self._orders.setdefault(one.experiment, []).append(one.order)
        kept = git.kept()
        self._commits = self._chosen(kept)
        self._names = {commit: name for name, commit in self._commits.items()}
        self._names |= {s.experiment.commit: name for name, s in history.experiments.items()}
        self._facts = git.known(kept.values())
        self._known = {name: state.experiment for name, state in history.experiments.items()}
        self._found: dict[ExperimentId, Experiment | None] = {}

    def _chosen(self, kept: Mapping[str, str]) -> dict[ExperimentId, str]:
        """The commit of each experiment; where several have its source, the one that its runs are named after."""
        chosen: dict[ExperimentId, str] = {}
        for ref, commit in kept.items():
            name = ExperimentId(ref.partition("-")[0])
            named = any(order.run.id[17 : 17 + SHORT] == commit[:SHORT] for order in self._orders.get(name, ()))
            if name not in chosen or named:
                chosen[name] = commit
        return chosen

    def find(self, name: ExperimentId) -> Experiment | None:
        """The experiment, if its source is what its name says; those that it was built on are found before it."""
        todo = [name]
        while todo:
            here = todo[-1]
            above = self._above(here)
            if here not in self._found and above is not None and above not in self._found and above not in todo:
                todo.append(above)
                continue
            if here not in self._found:
                self._found[here] = self._read(here, above)
            todo.pop()
        return self._found[name]

    def _above(self, name: ExperimentId) -> ExperimentId | None:
        fact = self._fact(name)
        if fact is None or fact.parent is None or _TRAILER not in fact.message:
            return None
        return self._names.get(fact.parent)

    def _fact(self, name: ExperimentId) -> CommitFacts | None:
        return self._facts.get(self._commits.get(name, ""))

    def _read(self, name: ExperimentId, above: ExperimentId | None) -> Experiment | None:
        fact = self._fact(name)
        if name in self._known or fact is None:
            return self._known.get(name)
        orders = self._orders.get(name, ())
        parent = self._found.get(above) or self._known.get(above) if above is not None else None
        try:
            files = self._files(fact.id)
            before: Files = self._files(parent.commit) if parent is not None else {}
        except (NightlabError, UnicodeDecodeError):
            return None
        digest = self._digest(name, fact.id, files)
        if digest is None:  # made under other settings: then the files themselves have to vouch for it
            if not any(_vouches(order, files) for order in orders):
                return None
            digest = f"{ALGORITHM}:{name[1:]}"
        description, hypothesis = _said(fact.message)
        family, emitter = "", "rebuilt"
        if any(order.run.purpose is Purpose.BASELINE for order in orders):
            description = family = emitter = "baseline"
        elif orders and all(order.run.purpose is Purpose.EXEC for order in orders):
            description = f"{shlex.join(orders[0].run.command)} in the working tree"
            family = emitter = "exec"
        return Experiment(
            id=name,
            source_hash=digest,
            commit=fact.id,
            parent_commit=fact.parent,
            parent=parent.id if parent is not None else None,
            description=description,
            patch=patch(before, files),
            plan=Plan(emitter=emitter),
            hypothesis=hypothesis if parent is not None else "",
            family=family,
            changes=changes_between(before, files) if parent is not None else (),
        )

    def _digest(self, name: ExperimentId, commit: str, files: Files) -> str | None:
        """The hash of the source, if the name was made of it; `exec` gives each command experiments of its own."""
        try:
            settings = pinned(self._settings, self._git, commit)
        except NightlabError:  # this machine has not what the lab asks for
            return None
        words = {order.run.command for order in self._orders.get(name, ()) if order.run.purpose is Purpose.EXEC}
        for one in (settings, *(replace(settings, command=shlex.join(command)) for command in words)):
            digest = source_hash(files, one.digest)
            if experiment_id(digest) == name:
                return digest
        return None

    def _files(self, commit: str) -> dict[str, str]:
        paths = matching(self._git.files(commit), self._settings.editable)
        return {path: self._git.read(commit, path).decode("utf-8") for path in paths}


def _vouches(order: Order, files: Files) -> bool:
    """Whether these are the editable files whose digests were taken before the run began."""
    digests = {path: hashlib.sha256(text.encode()).hexdigest() for path, text in files.items()}
    return bool(digests) and digests == {path: order.guarded.get(path) for path in order.editable}


def _said(message: str) -> tuple[str, str]:
    """Description and hypothesis in a commit's message."""
    parts = message.split(f"\n{_TRAILER}", maxsplit=1)[0].strip("\n").split("\n\n", 1)
    return parts[0].strip(), parts[1].strip() if len(parts) > 1 else ""


class _Retold:
    """A lab's runs with the nights that they were part of, and what was said of them."""

    def __init__(self, settings: Settings, left: list[_Left], experiments: _Experiments, history: History) -> None:
        self._left, self._experiments, self._history = left, experiments, history
        self._statuses = dict(_statuses(settings))
        self._champions: dict[ExperimentId, ExperimentId] = {}  # root of a line -> who leads it
        self._told: list[Told] = []
        self._proposed = set(history.experiments)
        self._nights = {night.began.night for night in history.nights}

    def events(self) -> list[Told]:
        """In the order in which they happened."""
        until: dict[NightId, float] = {}
        for one in self._left:
            run = one.order.run
            self._propose(one.experiment, one.at)
            if run.night is not None and run.night not in self._nights:
                baseline = self._root(one.experiment)
                began = NightBegan(night=run.night, seed=0, ideas=None, hours=None, baseline=baseline)
                until.setdefault(run.night, one.at)
                self._nights.add(run.night)
                self._told.append((one.at, began))
            self._told.append((one.at, Started(run=run)))
            if one.ended is not None:
                self._told.append((one.ended_at, one.ended))
            if run.night in until:
                until[run.night] = max(until[run.night], one.ended_at)
        self._judge()
        why = "its runs were made anew from their directories"
        self._told += ((at, NightEnded(night=night, reason=why)) for night, at in until.items())
        return sorted(self._told, key=lambda told: told[0])  # stable: what belongs together stays in its order

    def _propose(self, name: ExperimentId, at: float) -> None:
        line = [name]
        while (found := self._experiments.find(line[-1])) is not None and found.parent is not None:
            line.append(found.parent)
        for each in reversed(line):
            found = self._experiments.find(each)
            if each not in self._proposed and found is not None:
                self._proposed.add(each)
                self._told.append((at, Proposed(experiment=found)))

    def _root(self, name: ExperimentId) -> ExperimentId:
        while (found := self._experiments.find(name)) is not None and found.parent is not None:
            name = found.parent
        return name

    def _judge(self) -> None:
        """What the mirrors say became of an idea stands as its verdict; of what they do not tell none is made up."""
        last: dict[ExperimentId, _Left] = {}
        for one in sorted(self._left, key=lambda one: one.ended_at):
            if self._statuses.get(one.order.run.id) in _SETTLED:
                last[one.experiment] = one
        judged = {name for name, state in self._history.experiments.items() if state.verdicts}
        for name, one in sorted(last.items(), key=lambda item: item[1].ended_at):
            root = self._root(name)
            if name in judged or name == root:
                continue
            decision = _SETTLED[self._statuses[one.order.run.id]]
            verdict = Verdict(
                experiment=name,
                champion=self._champions.get(root, root),
                decision=decision,
                because="as it was written down before the ledger was lost",
                runs_used=sum(one.experiment == name for one in self._left),
            )
            self._told.append((one.ended_at, Judged(verdict=verdict)))
            if decision is Decision.KEEP:
                self._champions[root] = name


# --- what mirrors and packets say -------------------------------------------------------------------------------


class _Row(msgspec.Struct):
    run_id: str
    status: str


class _Packet(msgspec.Struct):
    run: dict[str, object]


def _statuses(settings: Settings) -> Iterator[tuple[str, str]]:
    """What became of each run, by its packet and by its line of experiments.jsonl, which comes last."""
    for packet in _packets(settings):
        with suppress(msgspec.ValidationError):
            row = msgspec.convert(packet.run, _Row)
            yield row.run_id, row.status
    with suppress(OSError), Mirrors(settings.root).ledger.open("rb") as file:
        for line in file:
            with suppress(msgspec.DecodeError, UnicodeDecodeError):
                row = msgspec.json.decode(line, type=_Row)
                yield row.run_id, row.status


def _packets(settings: Settings) -> Iterator[_Packet]:
    with suppress(OSError):
        for directory in sorted(Mirrors(settings.root).run(RunId("")).iterdir()):
            path = directory / _PACKET
            with suppress(OSError, msgspec.DecodeError, UnicodeDecodeError):
                if path.is_file() and path.stat().st_size <= _LARGEST:
                    yield msgspec.json.decode(path.read_bytes(), type=_Packet)


def _add_packets(made: Past, settings: Settings) -> None:
    """Record hand-logged runs that are told by their packet alone, experiments.jsonl being lost too."""
    named: set[str] = set()
    with suppress(OSError), Mirrors(settings.root).ledger.open("rb") as file:
        named = {run_of(line) for line in file}
    lines = []
    for packet in _packets(settings):
        run = packet.run.get("run_id")
        if isinstance(run, str) and run not in named and not made.ledger.has_run(run):
            lines.append(_line_of(packet, run))
    metric = replace(settings.metric, name=METRIC)
    read = foreign.read_jsonl("\n".join(lines).encode(), name="decision packets", metric=METRIC, lab=metric)
    told: list[Told] = []
    for row in read.rows:
        at = moment_of(row.run) if row.at is None else row.at
        if row.run and at is not None:
            told.append((at, replace(row, raw=lines[row.line - 1]).imported(run=RunId(row.run), now=at)))
    made.record(told)


def _line_of(packet: _Packet, run: str) -> str:
    """The line of experiments.jsonl that a packet stands for."""
    said = packet.run
    gigabytes = said.get("memory_gb")
    megabytes = gigabytes * 1024 if isinstance(gigabytes, int | float) and not isinstance(gigabytes, bool) else None
    at = moment_of(run)
    row = {
        "run_id": run,
        "timestamp_utc": f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}" if at is not None else "",
        "metrics": {METRIC: said.get("val_bpb"), "peak_vram_mb": megabytes},
        **{name: said.get(name, "") for name in ("commit", "status", "description", "hypothesis", "family")},
    }
    return json.dumps(row, sort_keys=True)
