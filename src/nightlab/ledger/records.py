"""Runs as one flat list, each with what its author or the judge said of it, and how they stand to each other.

This is the view that hand-kept ledgers have always had: one row a run, the best kept value is the champion. It decides
nothing here: the loop builds on its own, proven champion. Every question is answered by the database, so that a memory
of a hundred thousand runs costs no more than a look at the few that matter.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from nightlab.ledger import codec
from nightlab.ledger.tables import (
    CRASH,
    DISCARD,
    HAND,
    IMPORT,
    IN_LINES,
    IN_TABLE,
    KEEP,
    LAB,
    SHORT,
    STATUSES,
    ending_of,
    short,
)
from nightlab.ledger.text import match_any, tags_of
from nightlab.types import Change, Ended, Imported, Logged, Purpose, Run, RunId

__all__ = [
    "CRASH", "DISCARD", "HAND", "IMPORT", "IN_LINES", "IN_TABLE", "KEEP", "LAB", "SHORT", "STATUSES",
    "Cluster", "Lineage", "Proof", "Record", "Records", "Told",
]  # fmt: skip

NEAREST = 200  # distinct ideas that a new one is compared with; the same one was never below place 79 of 615
UNINDEXED = 500  # of those that nobody has indexed yet, the newest
CANDIDATES = 2000  # runs of these ideas
LABELLED = 30  # members of a group of failures whose words make its label


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One run with a result that somebody stands for."""

    run: RunId
    seq: int
    at: float  # UTC seconds since the epoch
    origin: str  # lab, hand or import
    experiment: str | None
    source_hash: str  # "" where the source is not known
    commit: str  # short; "" where none was told
    parent: str | None  # short
    branch: str
    status: str
    value: float | None
    memory_mb: float | None
    ranked: bool  # whether its value may be compared with this lab's
    crash: str  # why it crashed, in a line
    signature: str
    description: str
    hypothesis: str
    family: str
    tags: tuple[str, ...]
    lineage: str  # root of its commit's line of parents
    action: str = ""  # what its packet said to do next; "" for a run that carries none
    priority: str = ""
    advice: str = ""
    table_line: str = ""  # its line of results.tsv, where it came from there
    changes: tuple[Change, ...] = ()  # what it changed, where its source is known

    @property
    def by_hand(self) -> bool:
        """Whether an author's word is all that stands behind it."""
        return self.origin != LAB

    @property
    def stamp(self) -> str:
        """When it was recorded: 2026-03-11T04:30:00Z, as the run's name says where it has that shape."""
        day, mark, time = self.run[:8], self.run[8:9], self.run[9:15]
        if mark == "T" and day.isdecimal() and time.isdecimal() and self.run[15:16] == "Z":
            return f"{day[:4]}-{day[4:6]}-{day[6:]}T{time[:2]}:{time[2:4]}:{time[4:]}Z"
        return f"{datetime.fromtimestamp(self.at, UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Runs whose commits descend from one root."""

    root: str
    best: Record
    runs: int
    commits: int
    kept: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Failed ideas that resemble each other, the first one first."""

    size: int
    crashes: int
    best: float | None
    members: tuple[Record, ...]  # the first ones


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What the lab itself has found of an experiment."""

    decision: str | None  # the latest verdict
    probability: float | None  # P(better than the champion of its moment), as that verdict said
    is_baseline: bool  # of some night
    seeds: int  # distinct ones of finished, believed runs that may steer


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a lab knows by somebody's word only."""

    by_hand: Mapping[str, int] = field(default_factory=dict)  # status -> runs written down by hand
    judged: Mapping[str, int] = field(default_factory=dict)  # those of them whose idea the lab has judged itself
    imported: int = 0  # runs of other ledgers
    best: Record | None = None  # the best keep among them that the lab has not judged itself
    best_number: int = 0  # of its experiment; 0 where it is none of the lab's


_COLUMNS = (
    "r.run, r.seq, r.at, r.origin, r.experiment, r.source_hash, r.commit_id, r.parent, r.branch, r.status, r.value,"
    " r.memory_mb, r.ranked, r.crash, r.signature, i.description, i.hypothesis, i.family, i.tags, r.lineage,"
    " r.action, r.priority, r.advice, r.table_line"
)
_FROM = " FROM _record r JOIN _idea i ON i.id = r.idea"
_VALID = "r.ranked AND r.value IS NOT NULL"
_BY_WORD = f"{_VALID} AND r.status = '{KEEP}' AND r.origin <> '{LAB}'"
_JUDGED = (
    f"(EXISTS (SELECT 1 FROM _experiment e WHERE e.id = r.experiment AND e.decision IN {STATUSES})"  # noqa: S608
    " OR EXISTS (SELECT 1 FROM _night n WHERE n.baseline = r.experiment))"
)
_STEERING = ", ".join(f"'{purpose}'" for purpose in Purpose if purpose.steers)
_PARTS = 900  # parameters of one statement


class Records:
    """Questions to the records of a ledger."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def _select(self, rest: str, *given: object) -> list[Record]:
        return [_record(row) for row in self._db.execute(f"SELECT {_COLUMNS}{_FROM} {rest}", given)]

    # --- one by one -----------------------------------------------------------------------------------------

    def get(self, run: str) -> Record | None:
        found = self._select("WHERE r.run = ?", run)
        return found[0] if found else None

    def beginning(self, name: str) -> list[Record]:
        """Records of runs whose name or commit begins like that, the exact one alone if there is one; two at most."""
        exact = self.get(name)
        if exact is not None:
            return [exact]
        of_commit = "(r.commit_id <> '' AND r.commit_id = substr(?2, 1, length(r.commit_id)))"
        return self._select(f"WHERE substr(r.run, 1, ?1) = ?2 OR {of_commit} LIMIT 2", len(name), name)

    def recent(self, count: int) -> list[Record]:
        """The newest ones, the newest first."""
        return self._select("ORDER BY r.seq DESC LIMIT ?", count)

    def since(self, start: float) -> list[Record]:
        """Records of runs from `start` (UTC seconds) on, oldest first."""
        return self._select("WHERE r.at >= ? ORDER BY r.seq", start)

    def advised_since(self, start: float, priorities: Sequence[str], count: int) -> list[Record]:
        """Records from `start` on that carry a packet, by priority, the newest first within."""
        found: list[Record] = []
        for priority in priorities:
            found += self._select(
                "WHERE r.priority = ? AND r.at >= ? AND r.priority <> '' ORDER BY r.seq DESC LIMIT ?",
                priority,
                start,
                count - len(found),
            )
        return found

    def of_lab_since(self, start: float, count: int) -> list[Record]:
        """Records of the lab's own runs from `start` on, the newest first."""
        return self._select(f"WHERE r.at >= ? AND r.origin = '{LAB}' ORDER BY r.seq DESC LIMIT ?", start, count)

    def all(self) -> Iterable[Record]:
        """Every record, oldest first, one after another."""
        for row in self._db.execute(f"SELECT {_COLUMNS}{_FROM} ORDER BY r.seq"):
            yield _record(row)

    def parts(self, run: str) -> tuple[Run, Ended | None, Logged | None] | None:
        """A run of the lab's, or one logged by hand, with its ending and what its author said."""
        found = self._db.execute("SELECT body, ended, logged FROM _run WHERE id = ?", (run,)).fetchone()
        if found is None:
            return None
        body, ended, logged = found
        return (
            codec.stored(body, Run),
            ending_of(ended) if ended is not None else None,
            codec.stored(logged, Logged) if logged is not None else None,
        )

    def root_of(self, commit: str, parent: str | None) -> str:
        """The lineage that a record of that commit would belong to."""
        commit, parent = short(commit), short(parent) if parent else None
        for known, above in ((commit, parent), (parent, None)):
            found = self._db.execute("SELECT root, parent FROM _commit WHERE id = ?", (known,)).fetchone()
            if found is not None and (known == parent or found[1] == above):
                return str(found[0])
        return parent or commit

    def imported(self, seq: int) -> Imported | None:
        """What another ledger said of a run."""
        found = self._db.execute("SELECT body FROM events WHERE seq = ? AND kind = 'imported'", (seq,)).fetchone()
        return codec.stored(found[0], Imported) if found else None

    def has_digest(self, digest: str) -> bool:
        """Whether a row of another ledger was taken in already."""
        asked = "SELECT 1 FROM events WHERE kind = 'imported' AND key = ?"
        return self._db.execute(asked, (digest,)).fetchone() is not None

    def proof(self, experiment: str) -> Proof | None:
        """What the lab itself has found of an experiment; None of one that it does not know."""
        found = self._db.execute(
            "SELECT decision, probability, EXISTS (SELECT 1 FROM _night n WHERE n.baseline = e.id)"
            " FROM _experiment e WHERE e.id = ?",
            (experiment,),
        ).fetchone()
        if found is None:
            return None
        decision, probability, is_baseline = found
        runs = self._db.execute(
            f"SELECT seed, ended FROM _run WHERE experiment = ? AND metric IS NOT NULL AND purpose IN ({_STEERING})",  # noqa: S608
            (experiment,),
        )
        seeds = {seed for seed, ended in runs if _is_believed(ending_of(ended))}
        return Proof(decision=decision, probability=probability, is_baseline=bool(is_baseline), seeds=len(seeds))

    def evidence(self) -> str | None:
        """A word that changes when the lab has run, judged or begun something; None as long as it has run nothing."""
        asked = (
            f"SELECT MAX(ended_seq) FROM _run WHERE logged IS NULL AND metric IS NOT NULL AND purpose IN ({_STEERING})"  # noqa: S608
        )
        (ended,) = self._db.execute(asked).fetchone()
        if ended is None:
            return None
        (judged,) = self._db.execute("SELECT MAX(seq) FROM _verdict").fetchone()
        (nights,) = self._db.execute("SELECT COUNT(*) FROM _night").fetchone()
        return f"{ended} {judged} {nights}"

    # --- counts ---------------------------------------------------------------------------------------------

    def counts(self) -> dict[str, int]:
        """How many there are of each status."""
        found = dict(self._db.execute("SELECT status, COUNT(*) FROM _record GROUP BY status"))
        return {status: found.get(status, 0) for status in STATUSES}

    def counts_since(self, start: float) -> dict[str, int]:
        """The same from `start` (UTC seconds) on."""
        found = dict(self._db.execute("SELECT status, COUNT(*) FROM _record WHERE at >= ? GROUP BY status", (start,)))
        return {status: found.get(status, 0) for status in STATUSES}

    def signatures_since(self, start: float, count: int) -> list[tuple[str, int, str]]:
        """What went wrong most from `start` on, by somebody's word: signature, how often, the latest run."""
        rows = self._db.execute(  # of a group SQLite takes the bare `run` from the row that MAX names
            "SELECT signature, COUNT(*), run, MAX(seq) FROM _record"
            " WHERE at >= ? AND signature <> '' AND origin <> ? GROUP BY signature ORDER BY 2 DESC, MIN(seq) LIMIT ?",
            (start, LAB, count),
        )
        return [(signature, times, run) for signature, times, run, _ in rows]

    def families_since(self, sign: int, start: float, count: int) -> list[tuple[str, int, int, int, float | None]]:
        """What came of each named family by somebody's word: runs, kept, crashed, best value; the most tried first."""
        best = "MIN" if sign > 0 else "MAX"
        return self._db.execute(
            "SELECT i.family, COUNT(*), SUM(r.status = 'keep'), SUM(r.status = 'crash'),"  # noqa: S608
            f" {best}(CASE WHEN r.ranked THEN r.value END) FROM _record r JOIN _idea i ON i.id = r.idea"
            " WHERE r.at >= ? AND i.family <> '' AND r.origin <> ?"
            " GROUP BY i.family ORDER BY 2 DESC, MIN(r.seq) LIMIT ?",
            (start, LAB, count),
        ).fetchall()

    # --- standing -------------------------------------------------------------------------------------------

    def champion(self, sign: int, *, before: int | None = None, until: float | None = None) -> Record | None:
        """The best value among kept runs, else among all that have one; the earliest of equals.

        Args:
            sign: of the metric's direction, as in `Direction.sign`.
            before: only records before that place in the log.
            until: only runs before that moment, UTC seconds.
        """
        order = _order(sign)
        when = " AND (?1 IS NULL OR r.seq < ?1) AND (?2 IS NULL OR r.at < ?2)"
        for which in (f"{_VALID} AND r.status = '{KEEP}'", _VALID):
            if found := self._select(f"WHERE {which}{when} ORDER BY {order} LIMIT 1", before, until):
                return found[0]
        return None

    def ranking(self, sign: int, count: int) -> list[Record]:
        """The best values of any status, the best first."""
        return self._select(f"WHERE {_VALID} ORDER BY {_order(sign)} LIMIT ?", count)

    def challengers(self, sign: int, champion: Record | None, count: int) -> list[Record]:
        """The runs behind the champion, the best first."""
        ranked = self.ranking(sign, count + 1)
        return [r for r in ranked if champion is None or r.run != champion.run][:count]

    def lineages(self, sign: int, count: int) -> list[Lineage]:
        """The lines of parents with the best values."""
        best = "MIN" if sign > 0 else "MAX"
        rows = self._db.execute(
            f"SELECT r.lineage, COUNT(*), COUNT(DISTINCT r.commit_id), SUM(r.status = '{KEEP}') FROM _record r"  # noqa: S608
            f" WHERE {_VALID} AND r.commit_id <> '' GROUP BY r.lineage"
            f" ORDER BY ? * {best}(r.value), COUNT(*) DESC, MIN(r.seq) LIMIT ?",
            (sign, count),
        ).fetchall()
        found = []
        for root, runs, commits, kept in rows:
            (first,) = self._select(f"WHERE {_VALID} AND r.lineage = ? ORDER BY {_order(sign)} LIMIT 1", root)
            found.append(Lineage(root=root, best=first, runs=runs, commits=commits, kept=kept))
        return found

    def clusters(self, sign: int, count: int) -> list[Cluster]:
        """The largest groups of failures that resemble each other."""
        best = "MIN" if sign > 0 else "MAX"
        far = "9e999"
        rows = self._db.execute(
            f"SELECT cluster, COUNT(*), SUM(status = '{CRASH}'), {best}(CASE WHEN ranked THEN value END) FROM _record"  # noqa: S608
            f" WHERE cluster IS NOT NULL GROUP BY cluster"
            f" ORDER BY 2 DESC, 3 DESC, COALESCE(? * {best}(CASE WHEN ranked THEN value END), {far}), MIN(seq) LIMIT ?",
            (sign, count),
        ).fetchall()
        return [
            Cluster(
                size=size,
                crashes=crashes,
                best=value,
                members=tuple(self._select("WHERE r.cluster = ? ORDER BY r.seq LIMIT ?", name, LABELLED)),
            )
            for name, size, crashes, value in rows
        ]

    def told(self, sign: int) -> Told:
        """What people and other ledgers have told of, beside the lab's own runs."""
        best = self._select(f"WHERE {_BY_WORD} AND NOT {_JUDGED} ORDER BY {_order(sign)} LIMIT 1")
        asked = "SELECT status, COUNT(*) FROM _record WHERE origin = ? GROUP BY status"
        numbered = None
        if best and best[0].experiment:
            numbered = self._db.execute("SELECT number FROM _experiment WHERE id = ?", (best[0].experiment,)).fetchone()
        return Told(
            by_hand=dict(self._db.execute(asked, (HAND,))),
            judged=dict(
                self._db.execute(
                    "SELECT r.status, COUNT(*) FROM _experiment e JOIN _run n ON n.experiment = e.id"  # noqa: S608
                    " JOIN _record r ON r.seq = n.seq WHERE (e.emitter <> 'log' OR e.parent IS NOT NULL)"
                    f" AND e.decision IN {STATUSES} AND n.logged IS NOT NULL GROUP BY r.status"
                )
            ),
            imported=sum(count for _, count in self._db.execute(asked, (IMPORT,))),
            best=best[0] if best else None,
            best_number=numbered[0] if numbered else 0,
        )

    def kept_by_word(self, start: float, count: int) -> list[Record]:
        """The newest keeps from `start` on behind which there is somebody's word only: the lab has not judged them."""
        return self._select(
            f"WHERE {_BY_WORD} AND r.at >= ? AND NOT {_JUDGED} ORDER BY r.seq DESC LIMIT ?",
            start,
            count,
        )

    def near(self, sign: int, value: float, margin: float, start: float, count: int) -> list[Record]:
        """Discards from `start` on by somebody's word that are at most `margin` worse than a value, the best first."""
        low, high = sorted((value - sign * 1e300, value + sign * margin))
        return self._select(
            f"WHERE {_VALID} AND r.value BETWEEN ? AND ? AND r.at >= ? AND r.status = ? AND r.origin <> ?"
            f" ORDER BY {_order(sign)} LIMIT ?",
            low,
            high,
            start,
            DISCARD,
            LAB,
            count,
        )

    # --- ideas like another ---------------------------------------------------------------------------------

    def nearest(self, terms: Sequence[str], source_hash: str = "", *, before: int | None = None) -> list[Record]:
        """Runs whose idea shares terms with another, or that had the very source; the search says what they are to it.

        Args:
            terms: of the idea, as the index spells them.
            source_hash: its source, if known.
            before: only records before that place in the log.
        """
        ideas = [row[0] for row in self._db.execute(
            "SELECT id FROM _idea WHERE indexed = '' ORDER BY id DESC LIMIT ?", (UNINDEXED,)
        )]  # fmt: skip
        if terms:
            ideas += [row[0] for row in self._db.execute(
                "SELECT rowid FROM _idea_text WHERE _idea_text MATCH ? ORDER BY rank LIMIT ?",
                (match_any(terms), NEAREST),
            )]  # fmt: skip
        seqs: list[int] = []
        if source_hash:
            asked = "SELECT seq FROM _record WHERE source_hash = ?1 AND source_hash <> ''"
            seqs += [row[0] for row in self._db.execute(asked, (source_hash,))]
        for start in range(0, len(ideas), _PARTS):
            part = ideas[start : start + _PARTS]
            marks = ",".join("?" * len(part))
            seqs += [row[0] for row in self._db.execute(f"SELECT seq FROM _record WHERE idea IN ({marks})", part)]  # noqa: S608
        wanted = sorted({seq for seq in seqs if before is None or seq < before}, reverse=True)[:CANDIDATES]
        return self._with_changes(sorted(wanted))

    def _with_changes(self, seqs: Sequence[int]) -> list[Record]:
        found = []
        for start in range(0, len(seqs), _PARTS):
            part = seqs[start : start + _PARTS]
            marks = ",".join("?" * len(part))
            rows = self._db.execute(
                f"SELECT {_COLUMNS}, e.changes{_FROM} LEFT JOIN _experiment e ON e.id = r.experiment"
                f" WHERE r.seq IN ({marks}) ORDER BY r.seq",
                part,
            )
            found += [_record(row[:-1], _changes(row[-1])) for row in rows]
        return found

    # --- mirrors --------------------------------------------------------------------------------------------

    def unmirrored(self, bit: int) -> list[Record]:
        """Records that a mirror has no line of, oldest first; `bit`: IN_LINES or IN_TABLE."""
        return self._select("WHERE r.mirrored < 3 AND r.mirrored & ? = 0 ORDER BY r.seq", bit)

    def of_table(self) -> Iterable[Record]:
        """Records that have, or ought to have, a line of results.tsv."""
        for row in self._db.execute(f"SELECT {_COLUMNS}{_FROM} WHERE r.in_table"):
            yield _record(row)

    def names(self) -> set[str]:
        """The names of all recorded runs."""
        return {row[0] for row in self._db.execute("SELECT run FROM _record")}


def _is_believed(ended: Ended) -> bool:
    return ended.conditions is None or not ended.conditions.trouble


def _order(sign: int) -> str:
    return "r.value, r.at, r.seq" if sign > 0 else "r.value DESC, r.at, r.seq"


def _record(row: Sequence[object], changes: tuple[Change, ...] = ()) -> Record:
    (
        run, seq, at, origin, experiment, source, commit, parent, branch, status, value, memory, ranked, crash,
        signature, description, hypothesis, family, tags, lineage, action, priority, advice, table_line,
    ) = row  # fmt: skip
    return Record(
        run=run, seq=seq, at=at, origin=origin, experiment=experiment, source_hash=source, commit=commit,  # type: ignore[arg-type]  # columns are typed by the STRICT table
        parent=parent, branch=branch, status=status, value=value, memory_mb=memory, ranked=bool(ranked), crash=crash,  # type: ignore[arg-type]
        signature=signature, description=description, hypothesis=hypothesis, family=family, tags=tags_of(str(tags)),  # type: ignore[arg-type]
        lineage=lineage, action=action, priority=priority, advice=advice, table_line=table_line, changes=changes,  # type: ignore[arg-type]
    )  # fmt: skip


def _changes(stored: object) -> tuple[Change, ...]:
    return codec.stored(str(stored), tuple[Change, ...]) if stored not in (None, "[]") else ()
