"""The sections of the morning report that older scripts look for: records run by run, each with its own value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nightlab.config import Settings
from nightlab.history import History
from nightlab.judge.packets import ChampionRef, DecisionPacket, NoveltyClass, RunFacts, decide_next
from nightlab.ledger.records import CRASH, DISCARD, KEEP, Record, Standing, champion_of, records, standing
from nightlab.report.levels import Levels
from nightlab.report.text import code, markdown
from nightlab.report.words import count
from nightlab.search import novelty
from nightlab.types import Decision, RunId

QUEUE_ROWS, CHALLENGERS, LINEAGES, CLUSTERS, RECENT, EXAMPLES = 5, 3, 5, 5, 10, 3
CLUSTERED = 300  # newest failures that are compared with each other; bounds the work of a report
_LONG = 140


class Boards:
    """The records of a history and how they stand at one moment."""

    def __init__(self, history: History, settings: Settings, start: float) -> None:
        """`start`: where the report's window begins, UTC seconds."""
        self._history = history
        self._settings = settings
        self._sign = settings.metric.direction.sign
        self._metric = markdown(settings.metric.name, 40)
        self._all = records(history)
        self._before = [r for r in self._all if self._at(r) < start]
        self._window = [r for r in self._all if self._at(r) >= start]
        self._standing: Standing = standing(self._all, self._sign, challengers=CHALLENGERS, lineages=LINEAGES)

    def _at(self, record: Record) -> float:
        run = self._history.runs[record.run]
        return run.ended_at if run.ended_at is not None else run.started_at

    @property
    def champion(self) -> Record | None:
        return self._standing.champion

    def headline(self, levels: Levels) -> list[str]:
        """The bullet list of counts and the champion."""
        statuses = [r.status for r in self._window]
        lines = [
            f"- Experiments recorded overnight: {len(self._window)}",
            f"- Keep / discard / crash: {' / '.join(str(statuses.count(s)) for s in (KEEP, DISCARD, CRASH))}",
        ]
        champion, prior = self.champion, champion_of(self._before, self._sign)
        if champion is None:
            return [*lines, "- Current champion: none yet"]
        lines.append(
            f"- Current champion: run {code(champion.run)} on commit {code(champion.commit)} at "
            f"{_six(champion.value)}, {_gb(champion)} GB, {markdown(champion.description, _LONG)}"
        )
        standing = levels.arm(self._history.runs[champion.run].run.experiment).standing
        lines.append(f"- Standing of that champion: {standing}; the value is this one run's own")
        if prior is not None and prior.value is not None and champion.value is not None:
            lines.append(f"- Change vs prior champion: {champion.value - prior.value:+.6f} {self._metric}")
        return lines

    def queue(self) -> list[str]:
        """What the records of the window ask for."""
        rows = []
        for record, packet in self._packets():
            cells = (
                packet.priority.value,
                f"`{packet.action.value}`",
                code(record.run),
                record.status,
                _six(record.value),
                markdown(packet.summary, _LONG),
            )
            rows.append((packet.priority.rank, -record.seq, cells))
        rows.sort(key=lambda row: row[:2])
        header = ("priority", "next action", "run_id", "status", self._metric, "summary")
        return _table(header, [cells for *_, cells in rows[:QUEUE_ROWS]], "nothing to decide in this window")

    def _packets(self) -> list[tuple[Record, DecisionPacket]]:
        """The packet of the newest record of each experiment in the window, as things stood when it was recorded.

        The lab's own keeps are promoted already, so that only the present champion's is listed, and no baseline.
        """
        started = {night.began.baseline for night in self._history.nights}
        newest = {self._experiment(r): r.run for r in self._window}
        before: dict[str, Record | None] = {}  # champion before the lab's first run of an experiment
        found, prior = [], None
        for record in self._all:
            name = self._experiment(record)
            current = champion_of([*([prior] if prior else []), record], self._sign)
            other = prior if record.by_hand else before.setdefault(name, prior)
            past = record.status == KEEP and (name != self._history.champion or name in started)
            if newest.get(name) == record.run and (record.by_hand or not past):
                found.append((record, self._packet(record, other, current)))
            prior = current
        return found

    def _experiment(self, record: Record) -> str:
        return self._history.runs[record.run].run.experiment

    def _packet(self, record: Record, prior: Record | None, current: Record | None) -> DecisionPacket:
        logged = self._history.runs[record.run].logged
        crash = record.crash
        facts = RunFacts(
            run=record.run,
            status=Decision(record.status),
            novelty=NoveltyClass(logged.novelty) if logged else NoveltyClass.NOVEL,
            hypothesis=record.hypothesis,
            value=record.value,
            error=crash.summary if crash else "",
            prior=_reference(prior),
            current=_reference(current),
            metric=self._settings.metric.name,
            direction=self._settings.metric.direction,
        )
        return decide_next(facts)

    def board(self) -> list[str]:
        """The champion and the runs behind it."""
        best, rows = self.champion, []
        if best is not None and best.value is not None:
            for role, record in (("champion", best), *(("challenger", r) for r in self._standing.challengers)):
                delta = (record.value or 0.0) - best.value
                rows.append(
                    (
                        role,
                        code(record.run),
                        code(record.commit),
                        _six(record.value),
                        f"{delta:.6f}",
                        _gb(record),
                        code(self._standing.roots[record.run]),
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
                code(line.best.commit),
                _six(line.best.value),
                str(line.runs),
                str(line.commits),
                str(line.kept),
            )
            for line in self._standing.lineages
        ]
        best = f"best {self._metric}"
        header = ("lineage root", "best run_id", "best commit", best, "runs", "unique commits", "kept")
        return _table(header, rows, "no run with a value yet")

    def clusters(self) -> list[str]:
        """Failed ideas that resemble each other."""
        failed = [r for r in self._all if r.status != KEEP][-CLUSTERED:]
        groups = [[failed[i] for i in group] for group in novelty.cluster([r.description for r in failed])]
        groups.sort(key=lambda g: (-len(g), -sum(r.status == CRASH for r in g), self._best(g) or 999.0))
        lines = [self._cluster(group) for group in groups[:CLUSTERS]]
        return lines or ["- No failed idea on record."]

    def _cluster(self, group: Sequence[Record]) -> str:
        descriptions = [r.description for r in group]
        crashes = sum(r.status == CRASH for r in group)
        best = self._best(group)
        examples = "; ".join(markdown(d, 80) for d in dict.fromkeys(descriptions[:EXAMPLES]))
        value = _six(None if best is None else self._sign * best)
        return (
            f"- {code(novelty.label(descriptions), 60)}: {count(len(group), 'run')}, "
            f"{count(crashes, 'crash', 'crashes')}, best {self._metric} {value}. Examples: {examples}"
        )

    def _best(self, group: Iterable[Record]) -> float | None:
        return min((self._sign * r.value for r in group if r.value is not None), default=None)

    def recent(self) -> list[str]:
        """The newest records."""
        rows = [
            (
                r.stamp.replace("T", " ").rstrip("Z"),
                code(r.run),
                code(r.commit),
                r.status,
                _six(r.value),
                _gb(r),
                markdown(r.description, _LONG),
            )
            for r in self._all[-RECENT:][::-1]
        ]
        header = ("time (UTC)", "run_id", "commit", "status", self._metric, "mem_gb", "description")
        return _table(header, rows, "nothing recorded yet")


def _reference(record: Record | None) -> ChampionRef | None:
    if record is None or record.value is None:
        return None
    return ChampionRef(run=RunId(record.run), value=record.value)


def _six(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"


def _gb(record: Record) -> str:
    memory = record.metrics.memory_mb if record.metrics else None
    return "-" if memory is None else f"{memory / 1024:.1f}"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]], empty: str) -> list[str]:
    """A markdown table; a row that says so when there is nothing to show."""
    shown = rows or [("-",) * (len(header) - 1) + (empty,)]
    lines = [header, ["---"] * len(header), *shown]
    return [f"| {' | '.join(cells)} |" for cells in lines]
