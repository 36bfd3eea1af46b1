"""Event in, answer out: what each hook does. Heavy rooms are imported by the few events that need them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from nightlab import autonomy
from nightlab.agent.hooks import memo
from nightlab.agent.hooks.events import (
    NOTHING,
    OURS,
    SHELL,
    AfterTool,
    Answer,
    BeforeTool,
    Event,
    Prompted,
    SessionStarted,
    Stopping,
    Tool,
)
from nightlab.agent.hooks.memo import Memo
from nightlab.agent.hooks.place import (
    PATIENCE_S,
    Checkout,
    Place,
    checkout,
    guarded_place,
    has_noted,
    locked,
    place_at,
    root_of,
)
from nightlab.agent.hooks.sheet import Sheet, sheet
from nightlab.autonomy import Autonomy
from nightlab.ledger.glance import Glance
from nightlab.root import FOR_LAB

LONGEST = 9000  # characters of context: Codex passes 9,900 on whole and Claude Code 10,000
_HANDED_ON = ("hook_context", "hook_prompt", "system-reminder")  # elements in which clients put others' words
_RULES = (
    "Rules: edit {files} only, {guarded}. Run `nightlab try --description ...` (or the nightlab server's tool "
    "try) for an experiment that is judged, or `nightlab exec -- {command} > run.log 2>&1` for a run that is only "
    "recorded. Install nothing, publish nothing."
)


class Policy(Protocol):
    """Judges an agent's shell commands."""

    def refusal(self, command: str, place: Place, cwd: Path, here: Checkout) -> str:
        """Why it must not run, and what to do instead; "" if it may."""
        ...

    def edit(self, paths: Sequence[str], place: Place, cwd: Path, here: Checkout) -> str:
        """The same of a tool that would write those files; relative ones are relative to `cwd`."""
        ...

    def training(self, command: str, place: Place, cwd: Path, here: Checkout) -> str | None:
        """Whether it truly runs the lab's training, and no door of ours records that run already: None if not.

        "" if it is one that can be vouched for; else what is amiss.
        """
        ...


class Responder:
    """Answers one event after another."""

    def __init__(self, policy: Callable[[], Policy], clock: Callable[[], float]) -> None:
        self._policy = policy  # made when it is asked for: most events are no command
        self._clock = clock

    def answer(self, event: Event) -> Answer:
        """The answer to an event; NOTHING where there is no lab.

        Raises:
            NightlabError, OSError: the lab cannot be read. Whoever calls lets the agent go on.
        """
        cwd = event.speaker.cwd
        if isinstance(event, BeforeTool):
            if not os.path.isdir(cwd):
                cwd = os.getcwd()  # the policy judges all the same (surface contract, part 4)
            place = guarded_place(cwd)
            cwd = os.path.join(cwd, os.path.expanduser(event.tool.cwd))
        else:
            root = root_of(cwd)
            place = place_at(root) if root is not None else None
        if place is None:
            return NOTHING
        if os.environ.get(FOR_LAB):  # a night asked it for one idea: it is kept from harm, and led by nobody else
            refused = isinstance(event, BeforeTool) and self._refusal(
                place, event.tool, Path(cwd), checkout(place.root)
            )
            return Answer(deny=refused, told=refused) if refused else NOTHING
        if isinstance(event, BeforeTool):
            return self._before(place, event, Path(cwd))
        if isinstance(event, AfterTool):
            return self._after(place, event)
        if event.speaker.agent:  # what a subagent begins, is told or ends is its parent's affair
            return NOTHING
        if isinstance(event, SessionStarted):
            return self._started(place, event)
        if isinstance(event, Prompted):
            return self._prompted(place, event)
        return self._stopping(place, event)

    # --- session and prompt ---------------------------------------------------------------------------------

    def _started(self, place: Place, event: SessionStarted) -> Answer:
        """The state of the search, at the start of a session and whenever the client has compacted it."""
        self._settle(place, event)
        here, said = checkout(place.root), autonomy.look(place.database, place.state)
        found = sheet(place, here, self._clock(), is_whole=True)
        unsaid = self._heard(place, event)
        text = _live(found.summary, here, said)
        return Answer(context=_bounded("\n".join((f"Session source: {event.source}", text, *unsaid))))

    def _prompted(self, place: Place, event: Prompted) -> Answer:
        """The mode, where the search stands, and the rules; and what the prompt changes of the mode."""
        said = autonomy.look(place.database, place.state)
        words = spoken(event.prompt)
        wanted = None if words.startswith(OURS) else autonomy.wish(words)
        lines = []
        if wanted is not None:
            if wanted or said.enabled or not said.reason:  # said once more it begins the count of asks anew
                said = Autonomy(wanted, " ".join(words.split())[: autonomy.WORDS])
                from nightlab.config import load_settings
                from nightlab.discovering import say

                say(load_settings(place.root), said, self._clock(), patience_s=PATIENCE_S)
            lines.append(f"Autonomy was just {'enabled' if wanted else 'disabled'} by this prompt.")
            if wanted:
                place.stop.unlink(missing_ok=True)
        here = checkout(place.root)
        found = sheet(place, here, self._clock(), is_whole=False)
        return Answer(context=_bounded("\n".join((*_mode(place, found, here, said), *lines))))

    # --- tools ----------------------------------------------------------------------------------------------

    def _before(self, place: Place, event: BeforeTool, cwd: Path) -> Answer:
        """Refuse what the policy refuses; note the source of a run that is about to begin."""
        here = checkout(place.root)
        refused = self._refusal(place, event.tool, cwd, here)
        if refused:
            return Answer(deny=refused, told=refused)
        is_shell = event.tool.kind == SHELL
        trains = self._policy().training(event.tool.command, place, cwd, here) if is_shell else None
        patience_s = 0.0 if trains is None else PATIENCE_S  # nothing is lost by a plain command that waits for nobody
        self._settle(place, event, patience_s)
        known = memo.read(place, event.speaker.session)
        if trains is not None or known.told is None:
            with locked(place, patience_s) as is_ours:
                if not is_ours:
                    return NOTHING
                if trains is not None:
                    from nightlab.agent.hooks import witness

                    witness.note(place, event.speaker, event.tool, int(self._clock() * 1e9), trains)
                if known.told is None:
                    memo.keep(place, event.speaker.session, Memo(_seq(place), known.unsaid))
        return NOTHING

    def _refusal(self, place: Place, tool: Tool, cwd: Path, here: Checkout) -> str:
        refused = ""
        if tool.kind == SHELL:
            refused = self._policy().refusal(tool.command, place, cwd, here)
        if tool.paths and not refused:
            refused = self._policy().edit(tool.paths, place, cwd, here)
        return refused

    def _after(self, place: Place, event: AfterTool) -> Answer:
        """Take in what the tool ran, and tell of each run that has ended since."""
        if has_noted(place):
            from nightlab.agent.hooks import witness

            with locked(place) as is_ours:
                if is_ours:
                    witness.returned(place, event.speaker, event.tool)
            self._settle(place, event)
        if not event.is_heard:
            return NOTHING
        known = memo.read(place, event.speaker.session)
        with Glance(place.database) as glance:
            is_news = known.told is not None and glance.ended_since(known.told)
        if not is_news and not known.unsaid and known.told is not None:
            return NOTHING
        with locked(place) as is_ours:  # two tools of one session may come back at once: each run is told of once
            if not is_ours:
                return NOTHING
            known = memo.read(place, event.speaker.session)
            parts, told = list(known.unsaid), ""
            if known.told is None:
                known = known._replace(told=_seq(place))
            elif is_news:
                from nightlab.agent.hooks.reviewing import review_since

                found = review_since(place, known.told, self._clock())
                known = known._replace(told=found.seq)
                parts += [found.text] if found.text else []
                told = f"Experiment analyzed: {found.recommendation}" if found.recommendation else ""
            memo.keep(place, event.speaker.session, known._replace(unsaid=()))
        return Answer(context=_bounded("\n".join(parts)), told=told)

    # --- stop -----------------------------------------------------------------------------------------------

    def _stopping(self, place: Place, event: Stopping) -> Answer:
        """Ask the agent to go on, while its user wants that and it gets anywhere."""
        self._settle(place, event)
        if not event.is_willing or place.stop.exists() or not autonomy.look(place.database, place.state).enabled:
            return NOTHING
        from nightlab.agent.hooks.asking import ask

        with locked(place) as is_ours:
            return ask(place, event, self._clock()) if is_ours else NOTHING

    # --- runs that agents make themselves -------------------------------------------------------------------

    def _settle(self, place: Place, event: Event, patience_s: float = PATIENCE_S) -> None:
        """Record or refuse what was noted and is over; what there is to say of it is kept for its session."""
        if not has_noted(place):
            return
        from nightlab.agent.hooks import witness

        with locked(place, patience_s) as is_ours:
            for one in witness.settle(place, self._clock(), event.speaker) if is_ours else ():
                known = memo.read(place, one.note.session)
                if known.told is None:
                    known = known._replace(told=_seq(place) - 1 if one.run else _seq(place))
                text = _recorded(place, one.run) if one.run else _unrecorded(place, one.refused)
                memo.keep(place, one.note.session, known._replace(unsaid=(*known.unsaid, text)))

    def _heard(self, place: Place, event: SessionStarted) -> tuple[str, ...]:
        """What was still to be said to a session that begins or goes on; from here on it is told of what ends."""
        with locked(place) as is_ours:
            if not is_ours:
                return ()
            memo.forget(place)
            known = memo.read(place, event.speaker.session)
            memo.keep(place, event.speaker.session, Memo(_seq(place)))
        return known.unsaid


def _seq(place: Place) -> int:
    with Glance(place.database) as glance:
        return glance.seq()


def spoken(prompt: str) -> str:
    """A prompt without what hooks put into it: no word of ours is taken for the user's."""
    for element in _HANDED_ON:
        while (start := prompt.find(f"<{element}")) >= 0:
            end = prompt.find(f"</{element}>", start)
            prompt = prompt[:start] + (prompt[end + len(element) + 3 :] if end >= 0 else "")
    return prompt.strip()


# --- words ------------------------------------------------------------------------------------------------------


def _live(summary: str, here: Checkout, said: Autonomy) -> str:
    """A summary with the branch and the mode of this moment."""
    now = {"- Branch: ": here.branch or "unknown", "- Autonomy enabled: ": "yes" if said.enabled else "no"}
    lines = []
    for line in summary.splitlines():
        label = next((label for label in now if line.startswith(label)), None)
        lines.append(line if label is None else label + now[label])
    return "\n".join(lines)


def _mode(place: Place, found: Sheet, here: Checkout, said: Autonomy) -> tuple[str, ...]:
    mode = "ON: it goes on until its user says otherwise" if said.enabled else "OFF until the user starts it"
    files = ", ".join(place.editable)
    guarded = f"never {', '.join(place.protected)}" if place.protected else "and no other file"
    return (
        f"Autoresearch loop: {mode}",
        f"Branch: {here.branch or 'unknown'}",
        f"Best: {found.best}",
        f"Search phase: {found.phase}",
        _RULES.format(files=files, guarded=guarded, command=place.command),
    )


def _recorded(place: Place, run: str) -> str:
    return f"nightlab: the training command is on record as run {run}; it is remembered and judges nothing."


def _unrecorded(place: Place, why: str) -> str:
    return (
        f"nightlab: that training command is not on record: {why}. "
        f"The one command that records such a run: nightlab exec -- {place.command} > run.log 2>&1"
    )


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "\u2026"
