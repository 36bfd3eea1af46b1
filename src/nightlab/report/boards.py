"""The sections of the morning report that older scripts look for: records run by run, each with its own value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nightlab.config import Settings
from nightlab.history import History
from nightlab.judge import wording
from nightlab.judge.packets import Priority
from nightlab.ledger.records import CRASH, DISCARD, KEEP, Cluster, Record, Records
from nightlab.memory import packet_of_lab
from nightlab.report.levels import Levels
from nightlab.report.text import code, markdown
from nightlab.report.words import count
from nightlab.search import novelty

QUEUE_ROWS, CHALLENGERS, LINEAGES, CLUSTERS, RECENT, EXAMPLES = 5, 3, 5, 5, 10, 3
PACKETS = 300  # newest records of the lab's own whose packets are worked out; bounds the work of a report
_LONG = 140


class Boards:
    """The records of a lab and how they stand at one moment."""

    def __init__(self, history: History, records: Records, settings: Settings, start: float) -> None:
        """`start`: where the report's window begins, UTC seconds."""
        self._history = history
        self._records = records
        self._settings = settings
        self._start = start
        self._sign = settings.metric.direction.sign
        self._metric = markdown(settings.metric.name, 40)
        self.champion = records.champion(self._sign)

    def headline(self, levels: Levels) -> list[str]:
        """The bullet list of counts and the champion."""
        counts = self._records.counts_since(self._start)
        lines = [
            f"- Experiments recorded overnight: {sum(counts.values())}",
            f"- Keep / discard / crash: {' / '.join(str(counts[s]) for s in (KEEP, DISCARD, CRASH))}",
        ]
        champion, prior = self.champion, self._records.champion(self._sign, until=self._start)
        if champion is None:
            return [*lines, "- Current champion: none yet"]
        lines.append(
            f"- Current champion: run {code(champion.run)} on commit {code(champion.commit)} at "
            f"{_six(champion.value)}, {_gb(champion)} GB, {markdown(champion.description, _LONG)}"
        )
        standing = wording.stand(levels.stand(champion))
        lines.append(f"- Standing of that champion: {standing}; the value is this one run's own")
        if prior is not None and prior.value is not None and champion.value is not None:
            lines.append(f"- Change vs prior champion: {champion.value - prior.value:+.6f} {self._metric}")
        return lines

    def queue(self) -> list[str]:
        """What the records of the window ask for."""
        rows = []
        for record in [*self._advised(), *self._advised_of_lab()]:
            cells = (
                record.priority,
                f"`{record.action}`",
                code(record.run),
                record.status,
                _six(record.value),
                markdown(record.advice, _LONG),
            )
            rows.append((Priority(record.priority).rank, -record.seq, cells))
        rows.sort(key=lambda row: row[:2])
        header = ("priority", "next action", "run_id", "status", self._metric, "summary")
        return _table(header, [cells for *_, cells in rows[:QUEUE_ROWS]], "nothing to decide in this window")

    def _advised(self) -> list[Record]:
        """Records with a packet of their own: those that somebody wrote down."""
        return self._records.advised_since(self._start, list(Priority), QUEUE_ROWS)

    def _advised_of_lab(self) -> list[Record]:
        """The newest record of each of the lab's own experiments in the window, with the packet of its moment.

        The lab's own keeps are promoted already, so that only the present champion's is listed, and no baseline.
        """
        started = {night.began.baseline for night in self._history.nights}
        newest: dict[str | None, Record] = {}
        for record in self._records.of_lab_since(self._start, PACKETS):  # the newest first
            newest.setdefault(record.experiment, record)
        found = []
        for record in newest.values():
            past = record.status == KEEP and (
                record.experiment != self._history.champion or record.experiment in started
            )
            if not past:
                _, packet = packet_of_lab(self._records, record, self._settings)
                found.append(replace(record, action=packet.action, priority=packet.priority, advice=packet.summary))
        return found

    def board(self) -> list[str]:
        """The champion and the runs behind it."""
        best, rows = self.champion, []
        if best is not None and best.value is not None:
            behind = self._records.challengers(self._sign, best, CHALLENGERS)
            for role, record in (("champion", best), *(("challenger", r) for r in behind)):
                delta = (record.value or 0.0) - best.value
                rows.append(
                    (
                        role,
                        code(record.run),
                        _commit(record),
                        _six(record.value),
                        f"{delta:.6f}",
                        _gb(record),
                        code(record.lineage),
                        markdown(record.description, _LONG),
                    )
                )
        header = ("role", "run_id", "commit", self._metric, "delta", "mem_gb", "lineage", "description")
        return _table(header, rows, "no run with a value yet")

    def lineages(self) -> list[str]:
        rows = [
            (
                code(line.root),
                code(line.best.run),
                _commit(line.best),
                _six(line.best.value),
                str(line.runs),
                str(line.commits),
                str(line.kept),
            )
            for line in self._records.lineages(self._sign, LINEAGES)
        ]
        best = f"best {self._metric}"
        header = ("lineage root", "best run_id", "best commit", best, "runs", "unique commits", "kept")
        return _table(header, rows, "no run with a value yet")

    def clusters(self) -> list[str]:
        """Failed ideas that resemble each other."""
        lines = [self._cluster(cluster) for cluster in self._records.clusters(self._sign, CLUSTERS)]
        return lines or ["- No failed idea on record."]

    def _cluster(self, cluster: Cluster) -> str:
        descriptions = [r.description for r in cluster.members]
        examples = "; ".join(markdown(d, 80) for d in dict.fromkeys(descriptions[:EXAMPLES]))
        return (
            f"- {code(novelty.label(descriptions), 60)}: {count(cluster.size, 'run')}, "
            f"{count(cluster.crashes, 'crash', 'crashes')}, best {self._metric} {_six(cluster.best)}. "
            f"Examples: {examples}"
        )

    def recent(self) -> list[str]:
        """The newest records."""
        rows = [
            (
                r.stamp.replace("T", " ").rstrip("Z"),
                code(r.run),
                _commit(r),
                r.status,
                _six(r.value),
                _gb(r),
                markdown(r.description, _LONG),
            )
            for r in self._records.recent(RECENT)
        ]
        header = ("time (UTC)", "run_id", "commit", "status", self._metric, "mem_gb", "description")
        return _table(header, rows, "nothing recorded yet")


def _commit(record: Record) -> str:
    return code(record.commit) if record.commit else "-"


def _six(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"


def _gb(record: Record) -> str:
    return "-" if record.memory_mb is None or record.value is None else f"{record.memory_mb / 1024:.1f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> list[str]:
    """A markdown table; a row that says so when there is nothing to show."""
    shown = rows or [("-",) * (len(header) - 1) + (empty,)]
    lines = [header, ["---"] * len(header), *shown]
    return [f"| {' | '.join(cells)} |" for cells in lines]
