"""The older control plane's files under results/discovery/, kept up to date with the ledger.

state.json, current_plan.json and last_review.md are replaced as wholes; events.jsonl only grows. All of it is a
rendering: whatever is lost comes back by the next command that writes. What an agent's user has said of autonomy is
read from state.json and kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from nightlab.config import Settings
from nightlab.discovery.plans import plan_id, plan_of
from nightlab.discovery.review import review_row, review_text
from nightlab.discovery.shapes import PlanRow, ReviewRow, StateRow
from nightlab.discovery.state import state_row
from nightlab.discovery.view import View, moment
from nightlab.errors import GitError
from nightlab.git import Git
from nightlab.ledger import mirrors as files
from nightlab.ledger.mirrors import Mirrors
from nightlab.search.archive import is_idea
from nightlab.types import EMITTERS

if TYPE_CHECKING:
    from nightlab.ledger import Ledger

_STAMP = '"updated_at"'  # the one line of state.json that changes by itself
_NAMES = re.compile(rb'"(experiment_id|plan_id)":"([^"]+)"')


@dataclass(frozen=True, slots=True)
class Places:
    """Where the files lie."""

    root: Path

    @property
    def directory(self) -> Path:
        return self.root / "results" / "discovery"

    @property
    def state(self) -> Path:
        return self.directory / "state.json"

    @property
    def events(self) -> Path:
        return self.directory / "events.jsonl"

    @property
    def plan(self) -> Path:
        return self.directory / "current_plan.json"

    @property
    def review(self) -> Path:
        return self.directory / "last_review.md"


class _Selected(msgspec.Struct, kw_only=True):
    """An event: a plan was made."""

    timestamp: str
    plan: PlanRow
    event: str = "plan_selected"


class _Reviewed(msgspec.Struct, kw_only=True):
    """An event: an experiment's first run has ended."""

    timestamp: str
    experiment: ReviewRow
    event: str = "experiment_recorded"


class _Autonomy(msgspec.Struct, kw_only=True):
    """What is read of an existing state.json."""

    autonomy_enabled: bool = False
    autonomy_reason: str = ""


def view_of(ledger: Ledger, settings: Settings) -> View:
    """The lab as the older surface is made of it.

    Raises:
        LedgerError: state.json cannot be read.
    """
    records = ledger.records
    rows, last = 0, None
    for rows, last in enumerate(records.of_table(), start=1):  # noqa: B007  the last one is what is asked for
        pass
    branch, head, subject = _head(settings)
    return View(
        history=ledger.history(),
        settings=settings,
        best=records.champion(settings.metric.direction.sign),
        rows=rows,
        last_row=last,
        branch=branch,
        head=head,
        subject=subject,
        autonomy=_autonomy(Places(settings.root).state),
    )


def _head(settings: Settings) -> tuple[str, str, str]:
    """Branch, commit and subject of what is checked out; "" each where git does not say."""
    try:
        git = Git(settings.root)
        head = git.head()
        facts = git.known([head]).get(head)
        return git.branch(), head, facts.message.partition("\n")[0] if facts else ""
    except GitError:
        return "", "", ""


def _autonomy(path: Path) -> tuple[bool, str]:
    with files.reading(path):
        data = path.read_bytes() if path.is_file() else b""
    try:
        found = msgspec.json.decode(data, type=_Autonomy) if data else _Autonomy()
    except (msgspec.DecodeError, UnicodeDecodeError):  # torn, or another program's: it is written anew
        found = _Autonomy()
    return found.autonomy_enabled, found.autonomy_reason


def keep_up(ledger: Ledger, settings: Settings, now: float) -> None:
    """Bring the files up to date; the caller holds the mirrors' lock (`Mirrors.locked`).

    A lab in which nothing was ever proposed or reviewed gets none.

    Raises:
        LedgerError: the disk refuses. What is recorded stays, and the next time mends the files.
    """
    view, places = view_of(ledger, settings), Places(settings.root)
    if not view.reviews and not places.directory.is_dir():
        return
    state = state_row(view, now)
    _replace(places.state, _text(state), _STAMP)
    _replace(places.plan, _text(state.current_plan) if state.current_plan else "{}\n")
    if view.reviews:
        _replace(places.review, review_text(view, view.reviews[-1]))
    known = _written(places.events)
    files.append(places.events, "".join(_lines(view, known)))


def catch_up(settings: Settings, now: float) -> None:
    """The same, by whoever holds no lock.

    Raises:
        LedgerError: the disk refuses.
    """
    from nightlab.memory import open_ledger

    with Mirrors(settings.root).locked(), open_ledger(settings) as ledger:
        keep_up(ledger, settings, now)


def _text(row: StateRow | PlanRow) -> str:
    return msgspec.json.format(msgspec.json.encode(row, order="sorted"), indent=2).decode() + "\n"


def _replace(path: Path, text: str, *but: str) -> None:
    """Write a whole file, unless it says the same already in all lines without one of `but`."""
    told, ours = (
        [line for line in lines if not any(word in line for word in but)]
        for lines in (files.lines(path), text.removesuffix("\n").split("\n"))
    )
    if told != ours:
        files.replace(path, text)


def _written(path: Path) -> set[tuple[str, str]]:
    """Plans and experiments that have an event already. Ours are looked for, whatever else lies there."""
    with files.reading(path):
        data = path.read_bytes() if path.is_file() else b""
    return {(name.decode(), value.decode()) for name, value in _NAMES.findall(data)}


def _lines(view: View, known: set[tuple[str, str]]) -> Iterator[str]:
    """The events that are not written yet, in the order in which they happened."""
    found: list[tuple[float, str]] = []
    for state in view.history.experiments.values():
        made = state.experiment
        is_planned = is_idea(made) and made.plan.emitter in EMITTERS
        if is_planned and ("plan_id", plan_id(made.id)) not in known:
            event = _Selected(timestamp=moment(state.proposed_at), plan=plan_of(view, state))
            found.append((state.proposed_at, _line(event)))
    for review in view.reviews:
        if ("experiment_id", str(review.experiment)[1:]) not in known:
            run = view.history.runs[review.run]
            row = review_row(view, review)
            found.append((run.ended_at or 0.0, _line(_Reviewed(timestamp=row.timestamp, experiment=row))))
    yield from (line for _, line in sorted(found, key=lambda pair: pair[0]))


def _line(event: _Selected | _Reviewed) -> str:
    return msgspec.json.encode(event, order="sorted").decode() + "\n"
