"""Writing a hand-made run down: the source it stands for, its files, one transaction, then the mirrors."""

from __future__ import annotations

import platform
import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from nightlab.cli.compose import IGNORED
from nightlab.cli.dossier import (
    LOG,
    PACKET_JSON,
    PACKET_MD,
    PATCH,
    SUMMARY,
    UNCOMMITTED,
    Dossier,
    compare,
    dossier,
    experiment_row,
    missing,
    registry,
    relative,
)
from nightlab.cli.handwritten import Left, existing, read_crash, read_result
from nightlab.config import Settings
from nightlab.errors import AlreadyRecordedError, LedgerError
from nightlab.git import Git
from nightlab.history import History, run_names
from nightlab.ledger import Ledger, surface
from nightlab.ledger import mirrors as files
from nightlab.ledger.mirrors import Mirrors
from nightlab.ledger.records import CRASH, Record, lineage_roots, records
from nightlab.ledger.surface import ExperimentRow
from nightlab.runner.workspace import pinned
from nightlab.search.novelty import Words
from nightlab.search.source import patch
from nightlab.sources import Sources, text_of
from nightlab.types import (
    Crashed,
    Ended,
    Environment,
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
    Started,
    Usage,
)

EMITTER = "log"  # of experiments that the lab first heard of by hand
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
    told: Dossier
    foreign: int  # lines of the mirror that are not of this ledger


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
        MetricError: its numbers cannot be believed. Nothing is recorded in either case.
        LedgerError: the disk refuses; says whether the run is recorded.
    """
    git, mirrors = Git(settings.root), Mirrors(settings.root)
    settings = pinned(settings, git)
    tree = _tree(git, settings)
    if written.status == CRASH:
        left = read_crash(written.error, written.log)
    else:
        left = read_result(settings.metric, written.summary, written.log)
    git.ignore(IGNORED)
    with mirrors.locked(), Ledger.open(settings.database) as ledger:
        while True:
            history = ledger.history()
            experiment = _experiment(git, settings, tree, written, history)
            run = _name(history, mirrors, now, tree.head)
            said = _logged(run, written, left, tree, settings.root)
            said = replace(said, novelty=_novelty(history, settings, written, experiment))
            try:
                if archive:
                    _archive(mirrors.run(run), written, tree)
                ledger.append(*_events(history, experiment, said, left, tree))
            except AlreadyRecordedError:  # the loop has taken the name, or proposed the source, since we looked
                shutil.rmtree(mirrors.run(run), ignore_errors=True)
                continue
            except LedgerError:
                shutil.rmtree(mirrors.run(run), ignore_errors=True)
                raise
            return _mirror(ledger.history(), run, settings, mirrors, now)


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


def _experiment(git: Git, settings: Settings, tree: Tree, written: Written, history: History) -> Experiment:
    """The experiment of the source that was run: a known one, or a new one with a commit that is kept alive."""
    sources = Sources(settings, git)
    name = sources.identify(tree.files)
    if name in history.experiments:
        return history.state(name).experiment
    commit, changed = tree.head, {path: text for path, text in tree.files.items() if tree.committed[path] != text}
    if changed:
        commit = git.commit(git.tree_with(tree.head, changed), tree.head, f"{written.description}\n\nas it was run\n")
    idea = Idea(
        description=written.description,
        files=tree.files,
        plan=Plan(emitter=EMITTER),
        hypothesis=written.hypothesis,
        family=written.family,
        tags=written.tags,
    )
    # No parent: it was not proposed on top of one of the lab's, and the loop must not take it for an open idea.
    return sources.experiment(idea, commit=commit)


# --- events -----------------------------------------------------------------------------------------------------


def _name(history: History, mirrors: Mirrors, now: float, commit: str) -> RunId:
    """A name that neither a run nor a run directory has."""
    names = run_names(now, commit)
    return next(name for name in names if name not in history.runs and not mirrors.run(name).exists())


def _novelty(history: History, settings: Settings, written: Written, experiment: Experiment) -> str:
    idea = Words(
        description=written.description, family=written.family, tags=written.tags, hypothesis=written.hypothesis
    )
    source = experiment.source_hash if experiment.patch else ""
    found = records(history)
    guard = compare(idea, found, settings, mode=written.mode, threshold=written.threshold, source=source)
    return guard.category


def _logged(run: RunId, written: Written, left: Left, tree: Tree, root: Path) -> Logged:
    named = [relative(Path(name), root) if name else "" for name in (written.log, written.summary)]
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


def _events(history: History, experiment: Experiment, said: Logged, left: Left, tree: Tree) -> list[Event]:
    """What is recorded in one transaction. The source is proposed only if the lab does not know it."""
    run = Run(
        id=said.run,
        experiment=experiment.id,
        seed=UNKNOWN_SEED,
        purpose=Purpose.LOG,
        slot=0,
        limit_s=0.0,
        command=(),
        environment=Environment(
            device="unknown",
            machine=platform.node(),
            python=platform.python_version(),
            platform=platform.platform(terse=True),
            dirty=bool(tree.uncommitted),
        ),
    )
    seconds = left.metrics.extra.get("total_seconds", 0.0) if left.metrics else 0.0
    outcome = Finished(metrics=left.metrics) if left.metrics else left.crash or Crashed(summary="crashed")
    proposed: list[Event] = [] if experiment.id in history.experiments else [Proposed(experiment=experiment)]
    ended = Ended(run=run.id, outcome=outcome, usage=Usage(wall_s=max(seconds, 0.0), cpu_s=0.0))
    return [*proposed, Started(run=run), ended, said]


# --- files ------------------------------------------------------------------------------------------------------


def _archive(directory: Path, written: Written, tree: Tree) -> None:
    """Copy what the run has left before anything is recorded, so that no record is ever without its log."""
    with files.writing(directory):
        directory.mkdir(parents=True)
        for name, copy in ((written.log, LOG), (written.summary, SUMMARY)):
            if source := existing(name):
                shutil.copyfile(source, directory / copy)
    for text, name in ((patch(tree.before, tree.committed), PATCH), (tree.uncommitted, UNCOMMITTED)):
        if text:
            files.replace(directory / name, text)


def _mirror(history: History, run: RunId, settings: Settings, mirrors: Mirrors, now: float) -> Entry:
    """Bring the mirrors up to date with the ledger, this run and any that they lack."""
    found = records(history)
    index = next(i for i, r in enumerate(found) if r.run == run)
    record = found[index]
    told, roots = dossier(record, found[:index], settings), lineage_roots(found)
    try:
        present = {files.run_of(line) for line in files.mend(mirrors.ledger, lambda line: not files.run_of(line))} - {
            ""
        }
        lacking = missing(found, present, settings)
        for one, its in lacking:
            if its is not None and (directory := mirrors.run(one.run)).is_dir():
                files.replace(directory / PACKET_JSON, surface.dumps(its.row, indent=2) + "\n")
                files.replace(directory / PACKET_MD, surface.packet_markdown(its.row))
        rows = [experiment_row(one, roots[one.run], its, mirrors) for one, its in lacking]
        files.append(mirrors.ledger, "".join(surface.dumps(row) + "\n" for row in rows))
        files.append(mirrors.tsv, "".join(surface.lacking_tsv(found, _table(found, mirrors))))
        stamp = f"{datetime.fromtimestamp(now, UTC):%Y-%m-%dT%H:%M:%SZ}"
        files.replace(mirrors.registry, surface.dumps(registry(found, settings, stamp), indent=2) + "\n")
    except LedgerError as exc:
        hint = f"run {run} is recorded all the same, and the next `log` mends the files"
        raise LedgerError(str(exc.args[0]), hint=hint) from exc
    row = experiment_row(record, roots[run], told, mirrors)
    return Entry(record=record, row=row, told=told, foreign=len(present - {r.run for r in found}))


def _table(found: list[Record], mirrors: Mirrors) -> list[str]:
    """Lines of results.tsv; a torn last one is told by being the beginning of one of ours."""
    ours = {surface.tsv_row(record).rstrip("\n") for record in found if record.by_hand}
    return files.mend(mirrors.tsv, lambda last: last not in ours and any(line.startswith(last) for line in ours))
