"""What an agent that would stop is asked to do instead, and when it is asked no more (surface contract 2.7).

The budget lies in the ledger: each ask is a note there, and only a proposed experiment, its first run, or a person's
word makes the count begin anew. No file that is lost, no restart of the client and no second hook at the same time
gives an ask back.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from nightlab.agent.hooks import sheet
from nightlab.agent.hooks.events import NOTHING, OURS, Answer, Stopping
from nightlab.agent.hooks.place import AUTORESEARCH, PATIENCE_S, Place, checkout, has_noted
from nightlab.autonomy import of_note
from nightlab.config import Settings, load_settings
from nightlab.discovering import Ask, keep_up, view_of
from nightlab.discovery.plans import prompt
from nightlab.discovery.shapes import PlanRow
from nightlab.discovery.view import View
from nightlab.errors import NightlabError
from nightlab.git import Git
from nightlab.ledger import Ledger
from nightlab.ledger.glance import ASK, AUTONOMY, PLAN, Note
from nightlab.ledger.mirrors import Mirrors
from nightlab.ledger.tables import short
from nightlab.memory import open_ledger
from nightlab.mirroring import bring_up
from nightlab.report.text import block
from nightlab.runner import lock
from nightlab.runner.order import RunFiles
from nightlab.sources import Sources
from nightlab.takeover import take_in_dated
from nightlab.types import Noted, Phase

BUDGET = 5
"""Asks in one session without progress. A turn can hold a whole experiment, so one without any is a slip. Claude Code
ends a turn by itself after eight in a row and Cursor after five; Codex never does (169 model calls in a minute)."""
HOURS = 24.0
"""Hours from a session's first ask to its last: a whole night and the day after it. A search that nobody looked at for
longer has most likely been forgotten, and what it costs is not in this ledger."""
MOST = 300
"""Asks in one session, progress or not: what those hours can hold of the shipped benchmark's five-minute runs, one turn
each (288). A client whose turns end faster than experiments do must not go on for ever."""

BRANCH, CACHE, BASELINE, FLIGHT, NEXT = "branch", "cache", "baseline", "in-flight", "plan"
_HOPELESS = (BRANCH, CACHE)  # what an agent may be unable to bring about: asked once in a session
_PREPARE = "run `uv run prepare.py`"
_WORDS = ((" -> ", " to "), ("->", " to "), ("<=", "at most "), (">=", "at least "), ("<", " below "), (">", " above "),
          ("&", "and"))  # fmt: skip


class _Wanted(NamedTuple):
    """What is to be asked."""

    kind: str
    text: str
    plan: PlanRow | None = None


def ask(place: Place, event: Stopping, now: float) -> Answer:
    """What the agent is asked to do instead of stopping; NOTHING to let it stop. The caller holds the hooks' lock.

    Mirrors that somebody else is writing for longer than a hook can wait are neither read nor written.

    Raises:
        NightlabError: the ledger or the disk refuses.
    """
    settings = load_settings(place.root)
    with Mirrors(settings.root).locked(patience_s=PATIENCE_S) as is_ours, open_ledger(settings) as ledger:
        if is_ours:
            take_in_dated(ledger, settings, now)
            bring_up(ledger, settings, now)
        key = sheet.key_of(place)
        told = _asked(ledger, event.speaker.session)
        left = _left(told, ledger.glance.progress(), now)
        if left.asks <= 0:
            return NOTHING
        view = view_of(ledger, settings)
        if not view.autonomy[0] or _night_goes_on(view, settings):
            return NOTHING
        wanted = _wanted(place, settings, view, event, now)
        if wanted is None or (wanted.kind in _HOPELESS and any(one.kind == wanted.kind for _, one in told)):
            return NOTHING
        last = "" if left.asks > 1 else left.why
        text = plainly("\n".join(part for part in (OURS, wanted.text, last and _LAST.format(why=last)) if part))
        view = _remember(ledger, view, event.speaker.session, wanted, text)
        if is_ours:
            keep_up(ledger, settings, now, view)
    sheet.keep(place, view, key)
    return Answer(ask=text, told=f"{_GOES_ON} {_LAST_TOLD.format(why=last)}" if last else _GOES_ON)


def plainly(text: str) -> str:
    """The same in words that Codex does not spell anew: it hands the reason on as XML."""
    text = block(text)
    for sign, word in _WORDS:
        text = text.replace(sign, word)
    return text


def _asked(ledger: Ledger, session: str) -> list[tuple[Note, Ask]]:
    """What that session was asked since a person last said that the loop shall go on."""
    said = (note.seq for note in ledger.glance.notes(AUTONOMY) if of_note(note.text).enabled)
    since, found = max(said, default=0), []
    for note in ledger.glance.notes(ASK):
        with suppress(msgspec.DecodeError):
            found.append((note, msgspec.json.decode(note.text, type=Ask)))
    return [(note, one) for note, one in found if one.session == session and note.seq > since]


class _Left(NamedTuple):
    """How many asks a session has left, and what bounds them."""

    asks: int
    why: str


def _left(told: Sequence[tuple[Note, Ask]], progress: int, now: float) -> _Left:
    """Of the three bounds the narrowest. The first ask after the hours are over is the last one, so that it is said."""
    idle = sum(note.seq > progress for note, _ in told)
    bounds = [_Left(BUDGET - idle, f"{BUDGET} without a new experiment"), _Left(MOST - len(told), f"{MOST} in all")]
    if told and now >= (end := told[0][0].at + HOURS * 3600.0):
        bounds.append(_Left(int(all(note.at < end for note, _ in told)), f"{HOURS:g} hours are over"))
    return min(bounds)


def _remember(ledger: Ledger, view: View, session: str, wanted: _Wanted, text: str) -> View:
    """Record the ask, and the plan if it is a new one, in one transaction."""
    plan = wanted.plan
    name = plan.plan_id if plan is not None else ""
    notes = [Noted(topic=ASK, text=_json(Ask(session=session, kind=wanted.kind, reason=text, plan_id=name)))]
    if plan is not None and plan != view.promised and view.pending is None:
        notes.append(Noted(topic=PLAN, text=_json(plan)))
        view = view.promising(plan)
    ledger.append(*notes)
    return view


def _json(row: Ask | PlanRow) -> str:
    return msgspec.json.encode(row).decode()


# --- what there is to do ----------------------------------------------------------------------------------------


def _wanted(place: Place, settings: Settings, view: View, event: Stopping, now: float) -> _Wanted | None:
    """The first of the five that applies; None if the agent knows already what it waits for."""
    here = checkout(place.root)
    if not here.branch.startswith(AUTORESEARCH):
        return _Wanted(BRANCH, _set_up(place, here.branch))
    if _lacks_data(place):
        text = f"The data cache ~/.cache/autoresearch is missing: {_PREPARE} first, then go on. {_ONCE}"
        return None if _PREPARE in event.last_message else _Wanted(CACHE, text)
    if not view.rows and not any(run.value is not None for run in view.history.runs.values()):
        return _Wanted(BASELINE, _BASELINE)
    return _in_flight(place, settings, view, event.speaker.session) or _next(settings, view, now)


def _lacks_data(place: Place) -> bool:
    """Whether the shipped benchmark's data was never fetched on this machine."""
    home = Path(os.path.expanduser("~"))
    return _is_benchmark(place) and not (home / ".cache" / "autoresearch").is_dir()


def _is_benchmark(place: Place) -> bool:
    """Whether it is the lab that we ship, or one that began as it."""
    return (place.root / "prepare.py").is_file() or "train.py" in place.command


def _in_flight(place: Place, settings: Settings, view: View, session: str) -> _Wanted | None:
    """What has begun and is not decided yet."""
    text = "There is an existing in-flight experiment: "
    if has_noted(place) and _still_runs(place, session):
        return _Wanted(FLIGHT, text + "the training command of yours still runs. Wait for its end before the next one.")
    running = (name for name in view.history.running if lock.is_held(RunFiles(settings.runs / name).lock))
    if name := next(running, None):
        return _Wanted(FLIGHT, f"{text}run {name} still goes on. Wait for its end before the next one.")
    state = next((state for state in reversed(view.history.line) if state.is_open), None)
    if state is not None:
        called = f"#{state.number} ({short(state.experiment.commit)})"
        return _Wanted(FLIGHT, f"{text}{called} has no verdict yet. `nightlab wait` sees it through.")
    if view.subject.lower().startswith("exp:") and not _is_recorded(settings, view):
        commit = f"{text}commit {short(view.head)} was not run yet. "
        return _Wanted(FLIGHT, commit + _JUDGE.format(what=_in_quotes(view.subject) or "what you changed"))
    return None


def _in_quotes(subject: str) -> str:
    """What a commit says of its idea, harmless between double quotes in a shell."""
    said = subject.partition(":")[2].partition("[")[0]
    return " ".join("".join(sign if sign.isalnum() or sign in "_-+.,:=/()" else " " for sign in said).split())


def _still_runs(place: Place, session: str) -> bool:
    """Whether a training command of this very session goes on: it was noted, has begun its log, and is not settled."""
    from nightlab.agent.hooks import witness

    mine = [one for _, one in witness.pending(place) if one.session == session]
    return any(witness.look_at(place.root / witness.LOG) != one.log for one in mine)


def _is_recorded(settings: Settings, view: View) -> bool:
    """Whether what is committed was run, whatever commit it was run from."""
    from nightlab.runner.workspace import pinned

    if view.last_row is not None and view.last_row.commit and view.head.startswith(view.last_row.commit):
        return True
    logged = (run.logged for run in view.history.runs.values())
    if any(one is not None and one.commit == view.head for one in logged):
        return True
    try:
        git = Git(settings.root)
        sources = Sources(pinned(settings, git), git)
        state = view.history.experiments.get(sources.identify(sources.at(view.head)))
    except NightlabError:
        return False
    return state is not None and bool(state.runs)


def _next(settings: Settings, view: View, now: float) -> _Wanted:
    from nightlab.agent.plans import next_plan

    plan = next_plan(view, settings, now)
    if plan.phase == Phase.BASELINE:
        return _Wanted(NEXT, f"{prompt(view, plan)}\n{_BASELINE}", plan)
    files = ", ".join(settings.editable)
    todo = (
        f'Edit {files}, then: nightlab try --description "what you changed, and from what to what". In a sandbox that '
        "keeps the shell from writing .git, the nightlab server's tool try does it."
    )
    return _Wanted(NEXT, f"{prompt(view, plan)}\n{todo}", plan)


def _night_goes_on(view: View, settings: Settings) -> bool:
    """Whether another process works a night on this lab: then the loop goes on without the agent."""
    night = view.history.night
    if night is None or night.ended is not None or night.began.ideas == 0:
        return False
    return lock.is_held(settings.results / "loop.lock")


def _set_up(place: Place, branch: str) -> str:
    where = f"The branch that is checked out is {branch}" if branch not in ("", "HEAD") else "No branch is checked out"
    data = ["See that the data lie in ~/.cache/autoresearch."] if _is_benchmark(place) else []
    steps = (
        "Make a fresh branch: git switch -c autoresearch/TAG, with a short TAG of yours.",
        *data,
        "See that results.tsv begins with its header: nightlab init.",
        'Run the baseline: nightlab try --description "baseline".',
    )
    told = [f"{number}. {step}" for number, step in enumerate(steps, start=1)]
    return "\n".join((f"{where}; the loop works on a branch autoresearch/TAG only. Set it up:", *told, _ONCE))


_ONCE = "This is asked once: if you cannot, tell your user why."
_BASELINE = """\
Nothing is measured yet that counts: run the committed source unchanged first, as the baseline of all that follows.
nightlab try --description "baseline\""""
_JUDGE = """\
Have its idea judged: what is committed already would count as the baseline, so take the commit back, not the edit.
git reset --soft HEAD~1
nightlab try --description "{what}\""""
_GOES_ON = "Autoresearch loop continuing."
_LAST = """\
This is the last ask ({why}). If nothing comes of it the loop is over: tell your user where the search stands, and \
that a word of theirs begins it anew."""
_LAST_TOLD = 'For the last time ({why}); say "continue autonomously" to begin anew.'
