"""Which acts may not be, why, and what to do instead."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatchmethod

from nightlab.agent.policy.nouns import (
    Act,
    Fetched,
    Forbidden,
    Ground,
    Install,
    Opaque,
    Publish,
    Refusal,
    Remove,
    Reset,
    Show,
    Sink,
    Train,
    Unguarded,
    Wiped,
    Write,
)
from nightlab.agent.policy.places import Kind, Places, is_device
from nightlab.agent.policy.values import shown

LOG = "run.log"
_PLAINLY = "Write the command out in plain words, one step at a time, or use the lab's own (`nightlab --help`)."


class Rules:
    """The rules over one ground."""

    def __init__(self, ground: Ground, places: Places) -> None:
        self.ground = ground
        self.places = places
        self.trained = False
        self.logged = f"{ground.command} > {LOG} 2>&1"

    def first(self, acts: Iterable[Act]) -> Refusal | None:
        """The refusal of the first act that may not be."""
        for act in acts:
            if (refusal := self.judge(act)) is not None:
                return refusal
        return None

    @singledispatchmethod
    def judge(self, act: Act) -> Refusal | None:
        raise NotImplementedError(type(act))

    @judge.register
    def _(self, act: Install) -> Refusal | None:
        return Refusal(
            "dependency",
            f"`{act.what}` would change the dependencies, and runs are only comparable while those stay as they are.",
            "Work with what is installed; if the idea needs a package, say so in your notes and ask the person.",
        )

    @judge.register
    def _(self, act: Publish) -> Refusal | None:
        if act.pull_request:
            reason = "An agent opens, changes or merges no pull request."
        else:
            reason = f"`{act.what}` would publish; what the lab finds stays local until a person has looked at it."
        return Refusal("publish", reason, "Commit locally; the report names what is worth publishing.")

    @judge.register
    def _(self, act: Fetched) -> Refusal | None:
        return Refusal(
            "fetched",
            f"Code from the network would be run by {act.what}, unread.",
            "Save it to a file outside the repository, read it, and ask the person before running it.",
        )

    @judge.register
    def _(self, act: Reset) -> Refusal | None:
        where = f"the branch {act.branch}" if act.branch else "no branch"
        return Refusal(
            "reset",
            f"Commits would be thrown away on {where}; that is only done on autoresearch/ branches.",
            "Make a branch first: `git switch -c autoresearch/<tag>`.",
        )

    @judge.register
    def _(self, act: Wiped) -> Refusal | None:
        return Refusal(
            "delete",
            f"`{act.what}` would delete more than named files.",
            "Name the files or the one folder to delete (`git clean -n` lists what is untracked).",
        )

    @judge.register
    def _(self, act: Opaque) -> Refusal | None:
        return Refusal("unreadable", f"It cannot be read from the command: {act.what}.", _PLAINLY)

    @judge.register
    def _(self, act: Unguarded) -> Refusal | None:
        return Refusal(
            "control",
            f"`{act.what}` would change the rules you work under.",
            "Ask the person to do it, if it is needed.",
        )

    @judge.register
    def _(self, act: Forbidden) -> Refusal | None:
        reason = act.rule.reason or f"This lab forbids `{' '.join(act.rule.words)}`."
        return Refusal(
            "lab", reason, "The rule is in nightlab.toml under [policy]; ask the person if it is in the way."
        )

    @judge.register
    def _(self, act: Write) -> Refusal | None:
        if is_device(act.path):
            return Refusal("delete", f"{shown(act.path)} is a device; writing to it destroys what it holds.", _PLAINLY)
        return self._guarded(act.path)

    @judge.register
    def _(self, act: Remove) -> Refusal | None:
        path = act.path
        if act.moved:
            found = self._guarded(path)
            return found or (self._delete(path) if self.places.holds_guarded(path) else None)
        if self.places.precious(path, recursive=act.recursive) and not self._single(path):
            return self._delete(path)
        return self._guarded(path)

    def _single(self, path: str) -> bool:
        """Whether deleting `path` is an edit of one guarded thing, which says more than that it is a deletion."""
        found = self.places.guarded(path)
        return found is not None and found[0] in {Kind.PROTECTED, Kind.DEPENDENCY}

    def _delete(self, path: str) -> Refusal:
        return Refusal(
            "delete",
            f"Deleting {shown(path)} would take the repository, the home directory, the system or parts of them along.",
            "Delete by name: a folder of your own outside the repository, or a cache such as __pycache__.",
        )

    def _guarded(self, path: str) -> Refusal | None:
        found = self.places.guarded(path)
        if found is None:
            return None
        kind, name = found
        editable = ", ".join(self.ground.editable)
        if kind is Kind.UNKNOWN:
            return Refusal("unreadable", "It cannot be read from the command which file it would change.", _PLAINLY)
        if kind is Kind.DEPENDENCY:
            reason = f"{name} declares the dependencies, and runs are only comparable while those stay as they are."
            return Refusal("dependency", reason, f"Experiments change {editable} only.")
        if kind is Kind.CONTROL:
            reason = f"{name} belongs to the control plane (the lab's rules, hooks and record), which no agent edits."
            return Refusal(
                "control", reason, "Read it as you like; `nightlab` and memorylab.py write what there is to write."
            )
        reason = f"{name} is read-only: it is protected in this lab, and a run with a changed one is void."
        return Refusal("protected", reason, f"Experiments change {editable} only; copy it elsewhere to try things.")

    @judge.register
    def _(self, act: Train) -> Refusal | None:
        self.trained = True
        if _is_log(act.out) and act.out == act.err:
            return None
        if "tee" in (*act.out.words, *act.err.words):
            reason = f"With tee the training output still floods your context; it belongs in {LOG} alone."
        elif _is_log(act.out):
            reason = f"Errors would not reach {LOG}: 2>&1 is missing, or stands before the redirection."
        else:
            reason = f"A training run sends its whole output to {LOG}, not to your context or elsewhere."
        return Refusal("training", reason, f"Run `{self.logged}`, then read it with grep or `tail -n 50 {LOG}`.")

    @judge.register
    def _(self, act: Show) -> Refusal | None:
        if not self.trained or not act.path.endswith(f"/{LOG}") or act.out.kind not in {"screen", "pipe"}:
            return None
        if act.out.kind == "pipe" and not set(act.out.readers) <= {"cat", "tee", "less", "more"}:
            return None
        found = f'`grep "^{self.ground.metric}:" {LOG}` or ' if self.ground.metric else ""
        return Refusal(
            "training",
            f"All of {LOG} would land in your context after the run.",
            f"Read what counts: {found}`tail -n 50 {LOG}`.",
        )


def _is_log(sink: Sink) -> bool:
    return sink.kind == "file" and sink.path.rpartition("/")[2] == LOG
