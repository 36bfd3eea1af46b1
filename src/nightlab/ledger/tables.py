"""Events into tables, and tables back into nouns.

`fold` brings the tables up to date with one event, inside that event's own transaction; `load` gives the history that
folding all events in memory would give. Nothing here judges: what a run's record says follows from the verdict that was
recorded.
"""

from __future__ import annotations

import gc
import hashlib
import re
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import msgspec

from nightlab.errors import LedgerDamagedError, LedgerError, LedgerUnreadableError
from nightlab.history import Consultation, ExperimentState, History, NightState, RunState
from nightlab.ledger import codec
from nightlab.types import (
    Adopted,
    Consulted,
    Crashed,
    Decision,
    Ended,
    Experiment,
    ExperimentId,
    Finished,
    Imported,
    Judged,
    Logged,
    NightBegan,
    NightEnded,
    Outcome,
    Proposed,
    Purpose,
    Recorded,
    Run,
    RunId,
    Started,
    StoppedEarly,
    Unranked,
    Verdict,
    is_infrastructure,
)

KEEP, DISCARD, CRASH = "keep", "discard", "crash"
STATUSES = (CRASH, DISCARD, KEEP)
LAB, HAND, IMPORT = "lab", "hand", "import"  # who a record is from
IN_LINES, IN_TABLE = 1, 2  # bits of a record's `mirrored`: it has its line in experiments.jsonl, in results.tsv
SHORT = 7  # hex digits of a commit that are shown, and by which records are told apart
_HEX = re.compile(r"[0-9a-f]{7,64}")
_LABEL = 40
_SETTLED = {Decision.KEEP: KEEP, Decision.DISCARD: DISCARD, Decision.CRASH: CRASH}
_COUNTS = (Purpose.BASELINE, Purpose.IDEA, Purpose.REPLICATE, Purpose.TRY)


class Tables:
    """The folded side of a ledger's file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self.deferred = False
        """Whether lineages are left for `relineage` to work out: with many records at once that is quicker."""

    # --- folding --------------------------------------------------------------------------------------------

    def fold(self, recorded: Recorded) -> None:
        """Bring the tables up to date.

        Raises:
            LedgerError: the event is about something that was never recorded.
        """
        event, seq, at = recorded.event, recorded.seq, recorded.at
        if isinstance(event, Proposed):
            self._propose(event.experiment, at)
        elif isinstance(event, Adopted):
            self._adopt(event)
        elif isinstance(event, Started):
            self._start(event.run, seq, at)
        elif isinstance(event, Ended):
            self._end(event, seq, at)
        elif isinstance(event, Logged):
            self._log(event)
        elif isinstance(event, Imported):
            self._import(event, seq)
        elif isinstance(event, Unranked):
            self._db.executemany("UPDATE _record SET ranked = 0 WHERE run = ?", ((run,) for run in event.runs))
        elif isinstance(event, Judged):
            self._judge(event.verdict, seq)
        elif isinstance(event, Consulted):
            self._consult(event, seq, at)
        elif isinstance(event, NightBegan):
            self._begin(event, at)
        elif isinstance(event, NightEnded):
            self._db.execute(
                "UPDATE _night SET ended_at = ?, reason = ?, ended = ? WHERE id = ?",
                (at, event.reason, _json(event), event.night),
            )

    def _propose(self, e: Experiment, at: float) -> None:
        night = self._tonight()
        self._db.execute(
            "INSERT INTO _experiment (id, number, proposed_at, source_hash, commit_id, parent, parent_commit, root,"
            " night, emitter, family, description, hypothesis, tags, changes, body)"
            " SELECT ?, COALESCE(MAX(number), 0) + 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM _experiment",
            (
                e.id, at, e.source_hash, e.commit, e.parent, e.parent_commit, self._root(e.id, e.parent),
                night, e.plan.emitter, e.family, e.description,
                e.hypothesis, _text(e.tags), _text(e.changes), _json(replace(e, patch="")),
            ),
        )  # fmt: skip
        if e.patch:
            self._db.execute("INSERT INTO _patch VALUES (?, ?)", (e.id, e.patch))
        if e.plan.proposer:
            self._db.execute(
                "UPDATE _consultation SET experiment = ? WHERE experiment IS NULL AND night = ? AND proposer = ?",
                (e.id, night, e.plan.proposer),
            )

    def _consult(self, event: Consulted, seq: int, at: float) -> None:
        self._db.execute(
            "INSERT INTO _consultation (seq, at, after, night, proposer, purpose, seconds, tokens_in, tokens_out,"
            " money, failure, note, body)"
            " SELECT ?, ?, COALESCE(MAX(number), 0), ?, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM _experiment",
            (
                seq, at, self._tonight(), event.proposer, event.purpose, event.seconds, event.tokens_in,
                event.tokens_out, event.money, event.failure, event.note, _json(event),
            ),
        )  # fmt: skip

    def _tonight(self) -> str | None:
        """The night that is going on."""
        night = self._db.execute("SELECT id, ended FROM _night ORDER BY number DESC LIMIT 1").fetchone()
        return str(night[0]) if night and night[1] is None else None

    def _root(self, experiment: str, parent: str | None) -> str:
        above = self._db.execute("SELECT root FROM _experiment WHERE id = ?", (parent,)).fetchone() if parent else None
        return experiment if above is None or above[0] is None else str(above[0])

    def _adopt(self, event: Adopted) -> None:
        found = self._db.execute("SELECT body FROM _experiment WHERE id = ?", (event.experiment,)).fetchone()
        if found is None:
            raise LedgerError(f"experiment {event.experiment} is not known, so it cannot be adopted")
        known = codec.stored(found[0], Experiment)
        known = replace(known, parent=event.parent, plan=event.plan, description=event.description)
        self._db.execute(
            "UPDATE _experiment SET parent = ?, root = ?, emitter = ?, description = ?, body = ? WHERE id = ?",
            (
                event.parent,
                self._root(event.experiment, event.parent),
                event.plan.emitter,
                event.description,
                _json(known),
                event.experiment,
            ),
        )

    def _start(self, r: Run, seq: int, at: float) -> None:
        self._db.execute(
            "INSERT INTO _run (seq, id, experiment, seed, purpose, slot, night, device, dirty, started_at, body)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                seq, r.id, r.experiment, r.seed, r.purpose, r.slot, r.night, r.environment.device, r.environment.dirty,
                at, _json(r),
            ),
        )  # fmt: skip

    def _end(self, event: Ended, seq: int, at: float) -> None:
        self._require("_run", event.run)
        finished = event.outcome.metrics if isinstance(event.outcome, Finished) else None
        self._db.execute(
            "UPDATE _run SET ended_at = ?, ended_seq = ?, outcome = ?, metric = ?, memory_mb = ?, wall_s = ?,"
            " cpu_s = ?, speed = ?, trouble = ?, ended = ? WHERE id = ?",
            (
                at, seq, codec.outcome_kind(event.outcome), finished.primary if finished else None,
                finished.memory_mb if finished else None, event.usage.wall_s, event.usage.cpu_s,
                event.conditions.speed if event.conditions else None, _trouble(event), codec.encode(event)[2],
                event.run,
            ),
        )  # fmt: skip
        self._record_of_lab("r.id = ?", event.run)

    def _judge(self, v: Verdict, seq: int) -> None:
        self._require("_experiment", v.experiment, v.champion, v.replicate or v.champion)
        self._db.execute(
            "INSERT INTO _verdict VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                seq, v.experiment, v.champion, v.decision, v.because, v.gain, v.low, v.high, v.probability, v.runs_used,
                _json(v),
            ),
        )  # fmt: skip
        self._db.execute(
            "UPDATE _experiment SET decision = ?, gain = ?, low = ?, high = ?, probability = ?, because = ?,"
            " judged_seq = ? WHERE id = ?",
            (v.decision, v.gain, v.low, v.high, v.probability, v.because, seq, v.experiment),
        )
        if v.decision.is_final:
            self._record_of_lab("r.experiment = ?", v.experiment)

    def _begin(self, event: NightBegan, at: float) -> None:
        self._require("_experiment", event.baseline)
        self._db.execute(
            "INSERT INTO _night (number, id, began_at, baseline, began)"
            " SELECT COALESCE(MAX(number), 0) + 1, ?, ?, ?, ? FROM _night",
            (event.night, at, event.baseline, _json(event)),
        )
        self._record_of_lab("r.experiment = ?", event.baseline)

    def _require(self, table: str, *names: str) -> None:
        """Refuse an event about something that was never recorded: nothing could be folded from it."""
        for name in names:
            if self._db.execute(f"SELECT 1 FROM {table} WHERE id = ?", (name,)).fetchone() is None:  # noqa: S608
                what = "never started" if table == "_run" else "was never proposed"
                raise LedgerError(f"{name} {what}", hint="nothing was recorded; `nightlab runs` lists what is there")

    # --- records --------------------------------------------------------------------------------------------

    def _record_of_lab(self, which: str, name: str) -> None:
        """Write the records of the lab's own runs that have become decided; what is written stays."""
        rows = self._db.execute(
            "SELECT r.seq, r.id, r.ended_at, r.experiment, r.ended, e.source_hash, e.commit_id,"  # noqa: S608
            " e.parent_commit, e.decision, e.because, e.description, e.hypothesis, e.family, e.tags,"
            " EXISTS (SELECT 1 FROM _night n WHERE n.baseline = e.id)"
            " FROM _run r JOIN _experiment e ON e.id = r.experiment"
            f" WHERE {which} AND r.ended IS NOT NULL AND r.purpose IN (?, ?, ?, ?)"
            " AND NOT EXISTS (SELECT 1 FROM _record o WHERE o.run = r.id) ORDER BY r.seq",
            (name, *_COUNTS),
        ).fetchall()
        for seq, run, at, experiment, ended, source, commit, parent, decision, because, *idea, is_baseline in rows:
            ending = ending_of(ended)
            outcome = ending.outcome
            status = _status(outcome, Decision(decision) if decision else None, is_baseline=bool(is_baseline))
            if status is None or _trouble(ending):
                continue
            finished = outcome.metrics if isinstance(outcome, Finished) and status != CRASH else None
            crash = outcome if isinstance(outcome, Crashed) else None
            why = crash.summary if crash else because or f"ended as {codec.outcome_kind(outcome)}"
            self._record(
                seq=seq, run=run, at=at, origin=LAB, experiment=experiment, source=source, commit=commit,
                parent=parent, branch="", status=status, value=finished.primary if finished else None,
                memory=finished.memory_mb if finished else None, ranked=True, crash=why if status == CRASH else "",
                signature=crash.signature if crash else "", idea=self._idea(*idea),
            )  # fmt: skip

    def _log(self, said: Logged) -> None:
        self._require("_run", said.run)
        self._db.execute("UPDATE _run SET logged = ? WHERE id = ?", (_json(said), said.run))
        seq, at, experiment, ended, source = self._db.execute(
            "SELECT r.seq, r.started_at, r.experiment, r.ended, e.source_hash"
            " FROM _run r JOIN _experiment e ON e.id = r.experiment WHERE r.id = ?",
            (said.run,),
        ).fetchone()
        outcome = ending_of(ended).outcome if ended is not None else None
        metrics = outcome.metrics if isinstance(outcome, Finished) else None
        crash = outcome if isinstance(outcome, Crashed) else None
        self._db.execute("DELETE FROM _record WHERE run = ?", (said.run,))  # the author's word goes before ours
        self._record(
            seq=seq, run=said.run, at=moment_of(said.run) or at, origin=HAND, experiment=experiment,
            source=source if said.sourced else "", commit=said.commit, parent=said.parent_commit, branch=said.branch,
            status=said.status, value=metrics.primary if metrics else None,
            memory=metrics.memory_mb if metrics else said.memory_mb, ranked=True,
            crash=crash.summary if crash else "", signature=crash.signature if crash else "",
            idea=self._idea(said.description, said.hypothesis, said.family, _text(said.tags)), in_table=True,
            advice=(said.action, said.priority, said.advice),
        )  # fmt: skip

    def _import(self, row: Imported, seq: int) -> None:
        self._record(
            seq=seq, run=row.run, at=row.at, origin=HAND if row.raw else IMPORT, experiment=None,
            source=row.source_hash, commit=row.commit, parent=row.parent_commit, branch=row.branch, status=row.status,
            value=row.metrics.primary if row.metrics else None,
            memory=row.metrics.memory_mb if row.metrics else None, ranked=row.ranked,
            crash=row.crash.summary if row.crash else "", signature=row.crash.signature if row.crash else "",
            idea=self._idea(row.description, row.hypothesis, row.family, _text(row.tags)), in_table=bool(row.raw),
            advice=(row.action, row.priority, row.advice), table_line="" if row.raw.startswith("{") else row.raw,
        )  # fmt: skip

    def _record(
        self,
        *,
        seq: int,
        run: str,
        at: float,
        origin: str,
        experiment: str | None,
        source: str,
        commit: str,
        parent: str | None,
        branch: str,
        status: str,
        value: float | None,
        memory: float | None,
        ranked: bool,
        crash: str,
        signature: str,
        idea: int,
        in_table: bool = False,
        advice: tuple[str, str, str] = ("", "", ""),
        table_line: str = "",
    ) -> None:
        commit, parent = short(commit), short(parent) if parent else None
        lineage = self._lineage(run, commit, parent)
        self._db.execute(
            "INSERT INTO _record (seq, run, at, origin, experiment, source_hash, commit_id, parent, branch, status,"
            " value, memory_mb, ranked, crash, signature, idea, lineage, action, priority, advice, in_table,"
            " table_line, mirrored)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (
                seq, run, at, origin, experiment, source, commit, parent, branch, status, value, memory, ranked, crash,
                signature, idea, lineage, *advice, in_table, table_line, 0 if in_table else IN_TABLE,
            ),
        )  # fmt: skip

    def _idea(self, description: str, hypothesis: str, family: str, tags: str) -> int:
        """The row of a text; one for all records that say the same."""
        key = hashlib.sha256("\0".join((description, hypothesis, family, tags)).encode()).digest()
        found = self._db.execute("SELECT id FROM _idea WHERE key = ?", (key,)).fetchone()
        if found is None:
            found = self._db.execute(
                "INSERT INTO _idea (key, description, hypothesis, family, tags) VALUES (?, ?, ?, ?, ?) RETURNING id",
                (key, description, hypothesis, family, tags),
            ).fetchone()
        return int(found[0])

    # --- lineages -------------------------------------------------------------------------------------------

    def _lineage(self, run: str, commit: str, parent: str | None) -> str:
        """The root of a new record's commit; roots of commits that descend from it follow."""
        if not commit:
            return run  # told without a commit: a line of its own
        known = self._db.execute("SELECT parent, root FROM _commit WHERE id = ?", (commit,)).fetchone()
        if known is not None and known[0] == parent:
            return str(known[1])
        if known is not None or self.deferred:
            self._db.execute("INSERT OR REPLACE INTO _commit VALUES (?, ?, ?)", (commit, parent, commit))
            if not self.deferred:  # a later record of the same commit names another parent, and the last one counts
                self.relineage()
            return str(self._db.execute("SELECT root FROM _commit WHERE id = ?", (commit,)).fetchone()[0])
        above = self._db.execute("SELECT root FROM _commit WHERE id = ?", (parent,)).fetchone() if parent else None
        root = str(above[0]) if above else parent or commit
        self._db.execute("INSERT INTO _commit VALUES (?, ?, ?)", (commit, parent, root))
        if root == commit:  # either its own beginning, or a circle of parents
            if parent is not None:
                self.relineage()
                return str(self._db.execute("SELECT root FROM _commit WHERE id = ?", (commit,)).fetchone()[0])
            return root
        moved = self._db.execute("UPDATE _commit SET root = ? WHERE root = ? AND id <> ?", (root, commit, commit))
        if moved.rowcount:  # they ended at this commit as long as it was not on record
            self._db.execute("UPDATE _record SET lineage = ? WHERE lineage = ?", (root, commit))
        return root

    def relineage(self) -> None:
        """Work out every root anew."""
        stored = {c: (parent, root) for c, parent, root in self._db.execute("SELECT id, parent, root FROM _commit")}
        roots = lineage_roots({commit: parent for commit, (parent, _) in stored.items()})
        news = [(root, commit) for commit, root in roots.items() if root != stored[commit][1]]
        self._db.executemany("UPDATE _commit SET root = ? WHERE id = ?", news)
        # As a whole, since a record has no index by its commit: it is asked for here only.
        self._db.execute(
            "UPDATE _record SET lineage = c.root FROM _commit c WHERE c.id = _record.commit_id AND lineage <> c.root"
        )


def short(commit: str) -> str:
    """A commit as it is shown; what another ledger calls one may be any word, and stays whole."""
    return commit[:SHORT] if _HEX.fullmatch(commit) else commit[:_LABEL]


def lineage_roots(parents: dict[str, str | None]) -> dict[str, str]:
    """For each commit the first ancestor that is not on record, else the last one that is.

    Args:
        parents: commit -> its parent, for every commit on record.
    """
    roots: dict[str, str] = {}
    for commit in parents:
        path: dict[str, None] = {}
        here = commit
        while here in parents and here not in roots and here not in path:
            path[here] = None
            here = parents[here] or here  # a commit without a parent is where its chain ends
        if here in path:
            _close(roots, list(path), here, ends=parents[here] is None)
        else:
            roots.update(dict.fromkeys(path, roots.get(here, here)))
    return roots


def _close(roots: dict[str, str], path: list[str], here: str, *, ends: bool) -> None:
    """The roots of a path that ends at `here` or comes back to it: in a circle each start reaches the one before it."""
    place = path.index(here)
    circle = path[place:]
    for index, commit in enumerate(circle):
        roots[commit] = commit if ends else circle[index - 1]
    roots.update(dict.fromkeys(path[:place], roots[here]))


def _status(outcome: Outcome, decision: Decision | None, *, is_baseline: bool) -> str | None:
    """What has become of one of the lab's own runs; None while that is open."""
    if is_infrastructure(outcome):
        return None
    if isinstance(outcome, StoppedEarly):
        return DISCARD
    if not isinstance(outcome, Finished):
        return CRASH
    if is_baseline:
        return KEEP
    return _SETTLED.get(decision) if decision else None


def _trouble(ending: Ended) -> str:
    """Why a run is not believed; no record is made of such a one."""
    return ending.conditions.trouble if ending.conditions is not None else ""


def moment_of(run: str) -> float | None:
    """The moment in a run's name (20260311T043000Z-abc1234), UTC seconds; None where it has none."""
    try:
        return datetime.strptime(run[:16], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None


# --- loading ----------------------------------------------------------------------------------------------------


_EXPERIMENTS = "SELECT id, number, proposed_at, judged_seq, night, root, body FROM _experiment"
_OWN_EXPERIMENTS = (
    _EXPERIMENTS + " WHERE emitter <> 'log' OR parent IS NOT NULL UNION " + _EXPERIMENTS + " WHERE id IN"  # noqa: S608
    " (SELECT baseline FROM _night UNION SELECT experiment FROM _run WHERE logged IS NULL AND purpose <> 'verify')"
)
"""All but those that were only logged by hand."""


def load(db: sqlite3.Connection, seq: int, *, own: bool = False, patches: bool = True) -> History:
    """The history up to the ledger's last event, as folding all events would give it.

    Args:
        own: leave out what was only logged by hand: it never steers.
        patches: whether experiments carry their patch; it is their largest part by far.
    """
    with _uncollected():
        return _load(db, seq, own=own, patches=patches)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of circles: it would look through every noun again and again while they are made."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _load(db: sqlite3.Connection, seq: int, *, own: bool, patches: bool) -> History:
    history = History(seq=seq)
    history.nights += [
        NightState(
            codec.stored(began, NightBegan),
            at,
            number=number,
            ended=codec.stored(ended, NightEnded) if ended is not None else None,
            ended_at=ended_at,
        )
        for number, at, ended_at, began, ended in db.execute(
            "SELECT number, began_at, ended_at, began, ended FROM _night ORDER BY number"
        )
    ]
    texts: dict[str, str] = dict(db.execute("SELECT experiment, patch FROM _patch")) if patches else {}
    for name, number, at, judged, night, root, body in db.execute(
        f"{_OWN_EXPERIMENTS if own else _EXPERIMENTS} ORDER BY number"
    ):
        experiment = codec.stored(body, Experiment)
        if patch := texts.get(name):
            experiment = replace(experiment, patch=patch)
        history.experiments[ExperimentId(name)] = ExperimentState(
            experiment, at, number=number, judged_seq=judged, night=night, root=root
        )
    logged = " WHERE logged IS NULL" if own else ""
    _load_runs(
        history,
        db.execute(
            f"SELECT seq, started_at, ended_at, ended_seq, body, ended, logged FROM _run{logged} ORDER BY seq"  # noqa: S608
        ),
    )
    for (body,) in db.execute("SELECT body FROM _verdict ORDER BY seq"):
        verdict = codec.stored(body, Verdict)
        history.experiments[verdict.experiment].verdicts.append(verdict)
        if verdict.decision is Decision.KEEP:
            history.promotions.append(verdict)
    history.consulted += [
        Consultation(codec.stored(body, Consulted), at, seq_, after=after, night=night, experiment=experiment)
        for seq_, at, after, night, experiment, body in db.execute(
            "SELECT seq, at, after, night, experiment, body FROM _consultation ORDER BY seq"
        )
    ]
    return history


def _load_runs(
    history: History, rows: Iterable[tuple[int, float, float | None, int | None, bytes, bytes | None, bytes | None]]
) -> None:
    for seq, started, ended_at, ended_seq, body, ended, logged in rows:
        run = codec.stored(body, Run)
        state = RunState(run, started, seq, ended_at=ended_at, ended_seq=ended_seq)
        if ended is None:
            history.running[run.id] = state
        else:
            ending = ending_of(ended)
            state.outcome, state.usage, state.conditions = ending.outcome, ending.usage, ending.conditions
        if logged is not None:
            state.logged = codec.stored(logged, Logged)
        experiment = history.experiments.get(run.experiment)
        if experiment is None:  # left out: somebody's own, which was only looked at once more
            history.running.pop(run.id, None)
            continue
        history.runs[RunId(run.id)] = state
        experiment.runs.append(state)


def ending_of(body: bytes) -> Ended:
    """How a run ended, as it lies in a table.

    Raises:
        LedgerDamagedError: it was changed since it was folded.
    """
    try:
        ended = codec.decode("ended", body)
    except LedgerUnreadableError as exc:
        raise LedgerDamagedError(str(exc.args[0]), hint="`nightlab doctor --repair` makes the tables anew") from exc
    assert isinstance(ended, Ended)
    return ended


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)


def _text(value: object) -> str:
    return msgspec.json.encode(value).decode()
