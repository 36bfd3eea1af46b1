"""What is known by somebody's word only, for the report: runs logged by hand and rows of other ledgers."""

from __future__ import annotations

from nightlab.config import Settings
from nightlab.judge.packets import CLOSE, CLOSE_SLACK
from nightlab.ledger.records import Record, Records
from nightlab.report.text import code, markdown
from nightlab.report.words import count

SHOWN = 5
_SHORT = 120


class Others:
    """The records of a window that are no runs of the lab's own."""

    def __init__(self, records: Records, settings: Settings, start: float) -> None:
        """`start`: where the window begins, UTC seconds."""
        self._records = records
        self._sign = settings.metric.direction.sign
        self._metric = markdown(settings.metric.name, 40)
        self._start = start

    def kept(self) -> list[str]:
        """The newest keeps, each with what it gained over the champion of its moment."""
        lines = []
        for record in self._records.kept_by_word(self._start, SHOWN):
            prior = self._records.champion(self._sign, before=record.seq)
            gain = "the first that was kept"
            if prior is not None and prior.value is not None and record.value is not None:
                better = self._sign * (prior.value - record.value)
                gain = f"{abs(better):.6f} {'better' if better > 0 else 'worse'} than the champion before it"
            lines.append(f"- {self._named(record)}: {gain}; one run, by its author's word, so not proven")
        return lines

    def near(self, champion: Record | None) -> list[str]:
        """Discards that came so close to the champion that one run cannot tell them apart."""
        if champion is None or champion.value is None:
            return []
        close = self._records.near(self._sign, champion.value, CLOSE + CLOSE_SLACK, self._start, SHOWN)
        return [
            f"- {self._named(record)}: {(record.value or 0.0) - champion.value:+.6f} {self._metric} to the champion, "
            "closer than one run can tell"
            for record in close
            if record.run != champion.run
        ]

    def tried(self) -> list[str]:
        """What came of each family of ideas."""
        return [
            f"- {code(family, 60)}: {count(tries, 'run')}, {kept} kept, {crashed} crashed"
            + ("" if best is None else f", best {self._metric} {best:.6f}")
            for family, tries, kept, crashed, best in self._records.families_since(self._sign, self._start, SHOWN)
        ]

    def failures(self) -> list[str]:
        """What went wrong most."""
        return [
            f"- {count(times, 'run')} by their author's word: {code(signature, 160)} (the latest: {code(run)})"
            for signature, times, run in self._records.signatures_since(self._start, SHOWN)
        ]

    def _named(self, record: Record) -> str:
        value = "-" if record.value is None else f"{record.value:.6f}"
        return f"{markdown(record.description, _SHORT)} at {value} ({code(record.run)})"
