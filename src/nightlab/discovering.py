"""The older control plane's files under results/discovery/, kept up to date with the ledger.

state.json, current_plan.json and last_review.md are replaced as wholes; events.jsonl only grows. All of it is a
rendering: whatever is lost comes back by the next command that writes. What an agent's user has said of autonomy is in
the ledger; what an older program wrote of it into state.json is kept as long as the ledger has no word of it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from nightlab import autonomy
from nightlab.config import Settings
from nightlab.discovery.plans import plan_id, plan_of
from nightlab.discovery.review import review_row, review_text
from nightlab.discovery.shapes import PlanRow, ReviewRow, StateRow
from nightlab.discovery.state import state_row
from nightlab.discovery.view import View, moment
from nightlab.errors import GitError
from nightlab.git import Git
from nightlab.ledger import mirrors as files
from nightlab.ledger.glance import ASK, AUTONOMY, PLAN, Glance
from nightlab.ledger.mirrors import Mirrors
from nightlab.search.archive import is_idea
from nightlab.types import EMITTERS, Noted

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


class _Preference(msgspec.Struct, kw_only=True):
    """An event: an agent's user has said whether it may go on by itself."""

    timestamp: str
    enabled: bool
    prompt: str
    event: str = "autonomy_preference"


class Ask(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A note: an agent was asked to go on instead of stopping."""

    session: str
    kind: str  # which of the few reasons to ask it was
    reason: str  # what it was told
    plan_id: str = ""


class _Continued(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The event that an older script knows of it."""

    timestamp: str
    reason: str
    plan_id: str = ""
    event: str = msgspec.field(default_factory=lambda: "stop_continue")


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
        autonomy=_autonomy(ledger.glance, Places(settings.root).state),
        promised=_promised(ledger.glance),
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


def _autonomy(glance: Glance, path: Path) -> autonomy.Autonomy:
    return autonomy.said(glance, _read(path))


def _promised(glance: Glance) -> PlanRow | None:
    """The plan that an agent was asked to carry out, if nothing was proposed or run since, and nobody called it off."""
    notes = glance.notes(PLAN)
    ended = [note.seq for note in glance.notes(AUTONOMY) if not autonomy.of_note(note.text).enabled]
    if not notes or notes[-1].seq < max(glance.activity(), *ended, 0):
        return None
    return msgspec.json.decode(notes[-1].text, type=PlanRow)


def keep_up(ledger: Ledger, settings: Settings, now: float, view: View | None = None) -> None:
    """Bring the files up to date; the caller holds the mirrors' lock (`Mirrors.locked`).

    A lab in which nothing was ever reviewed, and to which no agent's user said anything, gets none. `view` is the lab
    as it stands now, where the caller has it at hand.

    Raises:
        LedgerError: the disk refuses. What is recorded stays, and the next time mends the files.
    """
    view, places = view or view_of(ledger, settings), Places(settings.root)
    notes = list(_notes(ledger.glance))
    if not view.reviews and not notes and not places.directory.is_dir():
        return
    state = state_row(view, now)
    _replace(places.state, _text(state), _STAMP)
    _replace(places.plan, _text(state.current_plan) if state.current_plan else "{}\n")
    if view.reviews:
        _replace(places.review, review_text(view, view.reviews[-1]))
    written = _read(places.events)
    told = [*_lines(view, set(_names(written))), *_new(notes, written)]
    files.append(places.events, "".join(line for _, line in sorted(told, key=lambda pair: pair[0])))


def say(settings: Settings, said: autonomy.Autonomy, now: float, *, patience_s: float | None = None) -> None:
    """Record what a user said of an agent's going on by itself, and bring the files up to date with it.

    Raises:
        LedgerError: the disk refuses.
    """
    from nightlab.memory import open_ledger

    with open_ledger(settings) as ledger:
        ledger.append(Noted(topic=AUTONOMY, text=autonomy.text_of(said)))
    catch_up(settings, now, patience_s=patience_s)


def catch_up(settings: Settings, now: float, *, patience_s: float | None = None) -> None:
    """The same, by whoever holds no lock. Once the patience is used up that is left to the next command that writes.

    Raises:
        LedgerError: the disk refuses.
    """
    from nightlab.memory import open_ledger

    with Mirrors(settings.root).locked(patience_s=patience_s) as is_ours:
        if is_ours:
            with open_ledger(settings) as ledger:
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


def _read(path: Path) -> bytes:
    with files.reading(path):
        return path.read_bytes() if path.is_file() else b""


def _names(written: bytes) -> Iterator[tuple[str, str]]:
    """Plans and experiments that have an event already. Ours are looked for, whatever else lies there."""
    for name, value in _NAMES.findall(written):
        yield name.decode(), value.decode()


_Told = tuple[float, str]
"""The moment of an event, and its line."""


def _lines(view: View, known: set[tuple[str, str]]) -> Iterator[_Told]:
    """The events of experiments that are not written yet."""
    for state in view.history.experiments.values():
        made = state.experiment
        is_planned = is_idea(made) and made.plan.emitter in EMITTERS
        if is_planned and ("plan_id", plan_id(made.id)) not in known:
            event = _Selected(timestamp=moment(state.proposed_at), plan=plan_of(view, state))
            yield state.proposed_at, _line(event)
    for review in view.reviews:
        if ("experiment_id", str(review.experiment)[1:]) not in known:
            run = view.history.runs[review.run]
            row = review_row(view, review)
            yield run.ended_at or 0.0, _line(_Reviewed(timestamp=row.timestamp, experiment=row))


def _notes(glance: Glance) -> Iterator[_Told]:
    """What agents were told and what their users said, each as its event."""
    for note in glance.notes(AUTONOMY):
        said = autonomy.of_note(note.text)
        yield note.at, _line(_Preference(timestamp=moment(note.at), enabled=said.enabled, prompt=said.reason))
    for note in glance.notes(PLAN):
        plan = msgspec.json.decode(note.text, type=PlanRow)
        yield note.at, _line(_Selected(timestamp=moment(note.at), plan=plan))
    for note in glance.notes(ASK):
        ask = msgspec.json.decode(note.text, type=Ask)
        yield note.at, _line(_Continued(timestamp=moment(note.at), reason=ask.reason, plan_id=ask.plan_id))


def _new(notes: Sequence[_Told], written: bytes) -> Iterator[_Told]:
    """Those that are not written yet: a note never changes, so that its line is known by itself. Equal ones count."""
    there = Counter(written.split(b"\n"))
    for at, line in notes:
        there[key := line.rstrip("\n").encode()] -= 1
        if there[key] < 0:
            yield at, line


def _line(event: _Selected | _Reviewed | _Preference | _Continued) -> str:
    return msgspec.json.encode(event, order="sorted").decode() + "\n"
