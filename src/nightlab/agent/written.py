"""Writing a hand-made run down: the source it stands for, its files, one transaction, then the mirrors."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from nightlab import older
from nightlab.agent.handwritten import Left, existing, read_crash, read_result
from nightlab.config import IGNORED, Settings
from nightlab.errors import AlreadyRecordedError, LedgerError
from nightlab.git import Git
from nightlab.history import run_names
from nightlab.judge.packets import DecisionPacket
from nightlab.ledger import Ledger, surface
from nightlab.ledger import mirrors as files
from nightlab.ledger.mirrors import Mirrors
from nightlab.ledger.records import CRASH, HAND, KEEP, SHORT, Record
from nightlab.ledger.surface import Detail, ExperimentRow
from nightlab.ledger.tables import moment_of
from nightlab.memory import Question, crowned, guard, learn, lexicon_of, open_ledger, packet, reference
from nightlab.mirroring import Unseen, bring_up, write_packet
from nightlab.root import refuse_second_lab
from nightlab.runner import machine
from nightlab.runner.workspace import lab_environment, pinned
from nightlab.search.changes import changes_between
from nightlab.search.novelty import Guard, Words
from nightlab.search.source import patch
from nightlab.sources import Sources, text_of
from nightlab.standing import stand_of
from nightlab.takeover import take_in_dated
from nightlab.types import (
    Crashed,
    Ended,
    Event,
    Experiment,
    Finished,
    Idea,
    Logged,
    Plan,
    Proposed,
    Purpose,
    Run,
    RunId,
    Stand,
    Started,
    Usage,
)

EMITTER = "log"  # of experiments that the lab first heard of by hand
_DEVICE = 80
UNKNOWN_SEED = -1  # nobody has said with which seed it was run


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What the author of a run says of it."""

    status: str
    description: str
    hypothesis: str
    family: str
    tags: tuple[str, ...]
    notes: str
    error: str
    mode: str
    threshold: float
    log: str
    summary: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A run that is on record now."""

    record: Record
    row: ExperimentRow
    guard: Guard[Record]
    packet: DecisionPacket
    champion: Record | None  # including this run
    stand: Stand | None  # of the champion
    unseen: Unseen  # what the mirrors held besides, and is recorded now too


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """The source that a run stands for: HEAD, with what was edited and not committed."""

    head: str
    parent: str | None
    branch: str
    before: dict[str, str]  # editable files of the parent commit; {} at a root commit
    committed: dict[str, str]  # editable files of HEAD
    files: dict[str, str]  # the same as they lie in the working tree
    uncommitted: str  # patch of all that differs from HEAD, protected files included


def write_down(settings: Settings, written: Written, *, archive: bool, now: float) -> Entry:
    """Record a run.

    Raises:
        NoRepositoryError: there is no commit that it could belong to.
        LabError: another lab's night asked this process for an idea.
        MetricError: its numbers cannot be believed. Nothing is recorded in either case.
        LedgerError: the disk refuses; says whether the run is recorded.
    """
    refuse_second_lab(settings.root)
    git, mirrors = Git(settings.root), Mirrors(settings.root)
    settings = pinned(settings, git)
    tree = _tree(git, settings)
    if written.status == CRASH:
        left = read_crash(written.error, written.log)
    else:
        left = read_result(settings.metric, written.summary, written.log)
    git.ignore(IGNORED)
    with mirrors.locked(), open_ledger(settings) as ledger:
        unseen = take_in_dated(ledger, settings, now)
        while True:
            experiment = _experiment(git, settings, tree, written, ledger)
            run = _name(ledger, mirrors, now, tree.head)
            try:
                entry, events = _entry(ledger, settings, written, tree, left, experiment, run, mirrors, archive=archive)
                ledger.append(*events)
            except AlreadyRecordedError:  # the loop has taken the name, or proposed the source, since we looked
                shutil.rmtree(mirrors.run(run), ignore_errors=True)
                continue
            except LedgerError:
                shutil.rmtree(mirrors.run(run), ignore_errors=True)
                raise
            break
        try:
            bring_up(ledger, settings, now)
            learn(settings, ledger)
        except LedgerError as exc:
            hint = f"run {run} is recorded all the same, and the next `log` mends the files"
            raise LedgerError(str(exc.args[0]), hint=hint) from exc
        stand = stand_of(ledger, settings, entry.champion) if entry.champion else None
        return replace(entry, stand=stand, unseen=unseen)


def _entry(
    ledger: Ledger,
    settings: Settings,
    written: Written,
    tree: Tree,
    left: Left,
    experiment: Experiment,
    run: RunId,
    mirrors: Mirrors,
    *,
    archive: bool,
) -> tuple[Entry, list[Event]]:
    """What is to be said of the run and recorded of it; its files are copied on the way."""
    sign = settings.metric.direction.sign
    prior = ledger.records.champion(sign)
    record = _record(ledger, written, tree, left, experiment, run)
    question = Question(
        words=Words(
            description=written.description, family=written.family, tags=written.tags, hypothesis=written.hypothesis
        ),
        mode=written.mode,
        threshold=written.threshold,
        source=record.source_hash,  # and not its changes: what its author says of a run goes before what a diff shows
    )
    told = guard(ledger.records, question, settings, lexicon_of(settings, ledger))
    champion = crowned(prior, record, sign)
    facts, decided = packet(
        settings,
        run=run,
        status=written.status,
        value=record.value,
        error=record.crash,
        hypothesis=written.hypothesis,
        novelty_class=told.category,
        prior=reference(prior),
        current=reference(champion),
        stand=stand_of(ledger, settings, record, remember=True) if written.status == KEEP else None,
    )
    said = _logged(run, written, left, tree, settings.root)
    detail = Detail(
        metrics=left.metrics,
        crash=left.crash,
        read=left.read,
        notes=written.notes,
        log=said.log,
        summary=said.summary,
        error_source=left.error_source,
        dirty=bool(tree.uncommitted),
    )
    packet_row = older.packet_row(record, detail, told, decided, facts)
    if archive:
        _archive(mirrors.run(run), written, tree)
        write_packet(mirrors.run(run), packet_row, decided)
    row = older.experiment_row(record, detail, mirrors)
    row.novelty_guard = older.guard_row(record, told)
    row.decision_packet = packet_row
    said = replace(
        said,
        novelty=told.category,
        memory_mb=record.memory_mb,
        sourced=bool(tree.files),
        action=decided.action,
        priority=decided.priority,
        advice=decided.summary,
        row=surface.dumps(row),
    )
    entry = Entry(record=record, row=row, guard=told, packet=decided, champion=champion, stand=None, unseen=Unseen())
    return entry, _events(ledger, settings, experiment, said, left, tree)


def _record(ledger: Ledger, written: Written, tree: Tree, left: Left, experiment: Experiment, run: RunId) -> Record:
    """The run as the ledger will have it."""
    detail = Detail(metrics=left.metrics, read=left.read)
    return Record(
        run=run,
        seq=ledger.seq + 1,
        at=moment_of(run) or 0.0,
        origin=HAND,
        experiment=experiment.id,
        source_hash=experiment.source_hash if tree.files else "",
        commit=tree.head[:SHORT],
        parent=tree.parent[:SHORT] if tree.parent else None,
        branch=tree.branch,
        status=written.status,
        value=left.metrics.primary if left.metrics else None,
        memory_mb=detail.memory_mb,
        ranked=True,
        crash=left.crash.summary if left.crash else "",
        signature=left.crash.signature if left.crash else "",
        description=written.description,
        hypothesis=written.hypothesis,
        family=written.family,
        tags=written.tags,
        lineage=ledger.records.root_of(tree.head, tree.parent),
    )


# --- source -----------------------------------------------------------------------------------------------------


def _tree(git: Git, settings: Settings) -> Tree:
    head = git.head()
    parent = git.parent(head)
    sources = Sources(settings, git)
    committed = sources.at(head)
    files = _working(settings.root, committed) if git.dirty(tuple(committed)) else committed
    guarded = sources.protected(head)
    beside = _working(settings.root, guarded) if git.dirty(tuple(guarded)) else guarded
    return Tree(
        head=head,
        parent=parent,
        branch=git.branch(),
        before=sources.at(parent) if parent else {},
        committed=committed,
        files=files,
        uncommitted=patch({**guarded, **committed}, {**beside, **files}),
    )


def _working(root: Path, committed: dict[str, str]) -> dict[str, str]:
    """The files as they lie there; one that is gone, or is no text for now, counts as committed."""
    return {
        path: text_of(path, (root / path).read_bytes()) if (root / path).is_file() else text
        for path, text in committed.items()
    }


def _experiment(git: Git, settings: Settings, tree: Tree, written: Written, ledger: Ledger) -> Experiment:
    """The experiment of the source that was run: a known one, or a new one with a commit that is kept alive."""
    sources = Sources(settings, git)
    known = ledger.experiment(sources.identify(tree.files))
    if known is not None:
        return known
    commit, changed = tree.head, {path: text for path, text in tree.files.items() if tree.committed[path] != text}
    if changed:
        commit = git.commit(git.tree_with(tree.head, changed), tree.head, f"{written.description}\n\nas it was run\n")
    before = tree.committed if changed else tree.before
    idea = Idea(
        description=written.description,
        files=tree.files,
        plan=Plan(emitter=EMITTER),
        hypothesis=written.hypothesis,
        family=written.family,
        tags=written.tags,
        changes=changes_between(before, tree.files) if before else (),
    )
    # No parent: it was not proposed on top of one of the lab's, and the loop must not take it for an open idea.
    return sources.experiment(idea, commit=commit, before=before)


# --- events -----------------------------------------------------------------------------------------------------


def _name(ledger: Ledger, mirrors: Mirrors, now: float, commit: str) -> RunId:
    """A name that neither a run nor a run directory has."""
    return next(name for name in run_names(now, commit) if not ledger.has_run(name) and not mirrors.run(name).exists())


def _logged(run: RunId, written: Written, left: Left, tree: Tree, root: Path) -> Logged:
    named = [older.relative(Path(name), root) if name else "" for name in (written.log, written.summary)]
    return Logged(
        run=run,
        status=written.status,
        branch=tree.branch,
        commit=tree.head,
        parent_commit=tree.parent,
        description=written.description,
        hypothesis=written.hypothesis,
        family=written.family,
        tags=written.tags,
        notes=written.notes,
        mode=written.mode,
        threshold=written.threshold,
        log=named[0],
        summary=named[1],
        read=left.read,
        error_source=left.error_source,
    )


def _events(
    ledger: Ledger, settings: Settings, experiment: Experiment, said: Logged, left: Left, tree: Tree
) -> list[Event]:
    """What is recorded in one transaction. The source is proposed only if the lab does not know it.

    Seed and device are the run's own word, where its log or summary tells them; versions are those of the lab's
    environment at this moment.
    """
    run = Run(
        id=said.run,
        experiment=experiment.id,
        seed=_told_seed(left),
        purpose=Purpose.LOG,
        slot=0,
        limit_s=0.0,
        command=(),
        environment=machine.environment(_told_device(left), lab_environment(settings), dirty=bool(tree.uncommitted)),
    )
    seconds = left.metrics.extra.get("total_seconds", 0.0) if left.metrics else 0.0
    outcome = Finished(metrics=left.metrics) if left.metrics else left.crash or Crashed(summary="crashed")
    proposed: list[Event] = [] if ledger.experiment(experiment.id) else [Proposed(experiment=experiment)]
    ended = Ended(run=run.id, outcome=outcome, usage=Usage(wall_s=max(seconds, 0.0), cpu_s=0.0))
    return [*proposed, Started(run=run), ended, said]


def _told_seed(left: Left) -> int:
    told: object = json.loads(left.read.get("seed", "null"))
    whole = not isinstance(told, bool) and isinstance(told, int | float) and 0 <= told < 2**53 and told == int(told)
    return int(told) if whole and isinstance(told, int | float) else UNKNOWN_SEED


def _told_device(left: Left) -> str:
    told: object = json.loads(left.read.get("device", "null"))
    return told[:_DEVICE] if isinstance(told, str) and told else "unknown"


# --- files ------------------------------------------------------------------------------------------------------


def _archive(directory: Path, written: Written, tree: Tree) -> None:
    """Copy what the run has left before anything is recorded, so that no record is ever without its log."""
    with files.writing(directory):
        directory.mkdir(parents=True)
        for name, copy in ((written.log, older.LOG), (written.summary, older.SUMMARY)):
            if source := existing(name):
                shutil.copyfile(source, directory / copy)
    for text, name in ((patch(tree.before, tree.committed), older.PATCH), (tree.uncommitted, older.UNCOMMITTED)):
        if text:
            files.replace(directory / name, text)
