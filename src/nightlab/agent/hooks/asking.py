"""What an agent that would stop is asked to do instead, and when it is asked no more (surface contract 2.7).

The budget lies in the ledger: each ask is a note there, and only a proposed experiment or an ended run makes the count
begin anew. No file that is lost, no restart of the client and no second hook at the same time gives an ask back.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import msgspec

from nightlab.agent.hooks import sheet
from nightlab.agent.hooks.events import OURS, Stopping
from nightlab.agent.hooks.place import AUTORESEARCH, Place, checkout, has_noted
from nightlab.config import Settings, load_settings
from nightlab.discovering import Ask, keep_up, view_of
from nightlab.discovery.plans import prompt
from nightlab.discovery.shapes import PlanRow
from nightlab.discovery.view import View
from nightlab.errors import NightlabError
from nightlab.git import Git
from nightlab.ledger import Ledger
from nightlab.ledger.glance import ASK, PLAN
from nightlab.ledger.mirrors import Mirrors
from nightlab.ledger.tables import short
from nightlab.memory import open_ledger
from nightlab.report.text import block
from nightlab.runner import lock
from nightlab.runner.order import RunFiles
from nightlab.sources import Sources
from nightlab.takeover import adopt
from nightlab.types import Noted

BUDGET = 5
"""Asks in one session without progress. A turn can hold a whole experiment, so one without any is a slip. Claude Code
ends a turn by itself after eight in a row and Cursor after five; Codex never does (169 model calls in a minute)."""

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


def ask(place: Place, event: Stopping, now: float) -> str:
    """What the agent is asked to do instead of stopping; "" to let it stop. The caller holds the hooks' lock.

    Raises:
        NightlabError: the ledger or the disk refuses.
    """
    settings = load_settings(place.root)
    adopt(settings, now)
    key = sheet.key_of(place)
    with Mirrors(settings.root).locked(), open_ledger(settings) as ledger:
        told = _asked(ledger, event.speaker.session)
        since = [one for seq, one in told if seq > ledger.glance.progress()]
        if len(since) >= BUDGET:
            return ""
        view = view_of(ledger, settings)
        if not view.autonomy[0] or _night_goes_on(view, settings):
            return ""
        wanted = _wanted(place, settings, view, event, now)
        if wanted is None or (wanted.kind in _HOPELESS and any(one.kind == wanted.kind for _, one in told)):
            return ""
        text = plainly(f"{OURS}\n{wanted.text}")
        view = _remember(ledger, view, event.speaker.session, wanted, text)
        keep_up(ledger, settings, now, view)
    sheet.keep(place, view, key)
    return text


def plainly(text: str) -> str:
    """The same in words that Codex does not spell anew: it hands the reason on as XML."""
    text = block(text)
    for sign, word in _WORDS:
        text = text.replace(sign, word)
    return text


def _asked(ledger: Ledger, session: str) -> list[tuple[int, Ask]]:
    """What that session was asked, with the places in the log."""
    found = []
    for note in ledger.glance.notes(ASK):
        with suppress(msgspec.DecodeError):
            found.append((note.seq, msgspec.json.decode(note.text, type=Ask)))
    return [(seq, one) for seq, one in found if one.session == session]


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
        return _Wanted(BRANCH, _SET_UP.format(branch=here.branch or "no branch"))
    if _lacks_data(place):
        text = f"The data cache ~/.cache/autoresearch is missing: {_PREPARE} first, then go on."
        return None if _PREPARE in event.last_message else _Wanted(CACHE, text)
    if not view.rows and not any(run.value is not None for run in view.history.runs.values()):
        return _Wanted(BASELINE, _BASELINE)
    return _in_flight(place, settings, view) or _next(settings, view, now)


def _lacks_data(place: Place) -> bool:
    """Whether the shipped benchmark's data was never fetched on this machine."""
    is_benchmark = (place.root / "prepare.py").is_file() or "train.py" in place.command
    home = Path(os.path.expanduser("~"))
    return is_benchmark and not (home / ".cache" / "autoresearch").is_dir()


def _in_flight(place: Place, settings: Settings, view: View) -> _Wanted | None:
    """What has begun and is not decided yet."""
    text = "There is an existing in-flight experiment: "
    if has_noted(place):
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
        return _Wanted(FLIGHT, f"{commit}`nightlab exec -- {settings.command}` runs and records it.")
    return None


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


_SET_UP = """\
This is {branch}, and the loop works on a branch of its own only. Set it up:
1. Make a fresh branch: git switch -c autoresearch/TAG, with a short TAG of yours.
2. See that the data lie in ~/.cache/autoresearch.
3. See that results.tsv begins with its header: nightlab init.
4. Run the baseline: nightlab try --description "baseline"."""
_BASELINE = """\
Nothing is measured yet: run the committed source unchanged first, as the baseline of all that follows.
nightlab try --description "baseline\""""
