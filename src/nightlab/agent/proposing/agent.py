"""Any command as a proposer: an agent works in a clean checkout of its own for each idea, and its diff is taken.

The plan is its prompt. Only the editable files are read afterwards: what else it changed is thrown away with the
workspace, and named in the ledger. What it prints goes into a bounded log and is read by nobody here.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import nightlab
from nightlab.agent.proposing import context, prompts, warden
from nightlab.agent.proposing.accounts import AGENT, AGENT_REPAIR
from nightlab.agent.proposing.answers import LONGEST, REASON
from nightlab.agent.proposing.desk import Desk, Question
from nightlab.agent.proposing.edits import MAX_FILE, checked
from nightlab.agent.proposing.work import Work
from nightlab.errors import BackendError, EditError, NightlabError
from nightlab.git import Git
from nightlab.report.text import plain
from nightlab.root import FOR_LAB
from nightlab.runner import workspace
from nightlab.runner.files import read_small, write_atomic
from nightlab.runner.hashes import hash_files
from nightlab.runner.tree import kill_marked
from nightlab.search.niches import Survey
from nightlab.types import Consulted, Files, Idea, RunId

PLAN_VARIABLE = "NIGHTLAB_PLAN"  # the file that holds its prompt
PLACEHOLDER = "{prompt}"  # in a command line: where the prompt goes; without it, it is the last argument
NOTE = ".nightlab-idea"  # in its workspace: what it says of its change
KEPT = 100  # latest logs and plans that are kept
NAMED = 6  # files that are named, of those that were changed and left out
_ELSEWHERE = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
_PATIENCE_S = warden.GRACE_S + 12.0  # for a warden to end its agent, before it is left alone with it
_EDITABLE_LIMIT = 4 * MAX_FILE  # bytes of a file that is read back


class Process:
    """An agent at work, under its warden (a `Work`)."""

    def __init__(self, process: subprocess.Popen[bytes], place: Path) -> None:
        self._process, self._place = process, place
        self.began = time.monotonic()

    def is_over(self) -> bool:
        """Whether it and all that it started have ended."""
        with suppress(OSError):
            os.utime(self._place)  # a workspace that looks old is swept away by the next opener of the lab
        return self._process.poll() is not None

    def cancel(self) -> None:
        """End it with its whole process tree."""
        self._let_go()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_PATIENCE_S)

    def _let_go(self) -> None:
        """Close the warden's input, by which it knows that nobody wants the agent any more."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()

    @property
    def code(self) -> int:
        """Its exit code, as its warden gives it; only once it is over."""
        self._let_go()
        return self._process.wait()


class Agent:
    """A command line that is given a plan.

    Args:
        desk: what proposers share.
        git: of the lab.
        command: the command line; split into words, no shell reads it.
        name: by which the ledger knows it.
    """

    def __init__(self, desk: Desk, git: Git, command: str, name: str) -> None:
        self._desk, self._git, self._words, self._name = desk, git, shlex.split(command), name

    @property
    def name(self) -> str:
        return self._name

    def can_afford(self, question: Question) -> bool:
        """Always: what an agent pays is not known here."""
        return True

    def think(self, question: Question) -> Generator[Work, None, Idea | None]:
        """Let it work in a workspace, and take what it made of the editable files."""
        name = RunId(f"agent-{_stamp(self._desk.clock())}-{len(question.history.consulted) + 1}")
        purpose = AGENT if question.crashed is None else AGENT_REPAIR
        began = time.monotonic()
        try:
            place, before = self._workspace(question, name)
            process = self._start(question, name, place)
        except (NightlabError, OSError) as exc:
            workspace.discard(self._desk.settings, name)
            self._record(purpose, name, began, failure=plain(f"it could not be set to work: {exc.args[0]}", 300))
            return None
        try:
            yield process
            return self._taken(question, name, place, before, process, purpose)
        except GeneratorExit:
            process.cancel()
            self._record(purpose, name, began, failure="it was cut off", cut_off=True)
            raise
        finally:
            workspace.discard(self._desk.settings, name)

    # --- before -------------------------------------------------------------------------------------------------

    def _workspace(self, question: Question, name: RunId) -> tuple[Path, Mapping[str, str]]:
        """A clean checkout with a git of its own, for agents that want one, and the digests of its files."""
        source = question.crashed.experiment.commit if question.crashed is not None else None
        commit = source or question.history.state(question.base).experiment.commit
        place = workspace.make(self._git, self._git.tree_of(commit), name, self._desk.settings)
        env = {**_surroundings(), "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        who = ("-c", "user.name=nightlab", "-c", "user.email=nightlab@localhost")
        steps = (("init", "--quiet"), ("add", "--all"), (*who, "commit", "--quiet", "--no-verify", "--message", name))
        for step in steps:
            done = subprocess.run(["git", *step], cwd=place, env=env, capture_output=True, check=False)
            if done.returncode:
                raise BackendError(f"git {step[0]} failed: {plain(done.stderr.decode(errors='replace'), 200)}")
        return place, hash_files(place, ("**",))

    def _start(self, question: Question, name: RunId, place: Path) -> Process:
        directory = logs_of(self._desk.settings.results)
        directory.mkdir(parents=True, exist_ok=True)
        _forget_old(directory)
        plan = directory / f"{name}.md"
        prompt = self._prompt(question)
        write_atomic(plan, prompt.encode("utf-8", "replace"))
        words = [word.replace(PLACEHOLDER, prompt) for word in self._words]
        if words == self._words:
            words.append(prompt)
        seconds = 60 * self._desk.settings.proposer.agent_minutes
        with (directory / f"{name}.warden").open("ab") as said:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", warden.__name__, str(self._log(name)), str(seconds), *words],
                cwd=place,
                env=self._environment(plan, place),
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        return Process(process, place)

    def _environment(self, plan: Path, place: Path) -> dict[str, str]:
        """Ours, with its keys; the agent is told for whom it works, and where.

        OpenCode believes PWD before it looks where it is: left as it was, it edits the lab's own working tree.
        """
        env = {**_surroundings(), FOR_LAB: str(self._desk.settings.root), PLAN_VARIABLE: str(plan), "PWD": str(place)}
        home = os.path.dirname(os.path.dirname(os.path.abspath(nightlab.__file__)))
        paths = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]
        if home in map(os.path.abspath, paths):  # nightlab itself is found only through it
            env["PYTHONPATH"] = home
        else:
            env.pop("PYTHONPATH", None)
        return env

    def _prompt(self, question: Question) -> str:
        history, settings, survey = question.history, self._desk.settings, Survey(question.history)
        if question.crashed is None:
            task = context.task(history, question.base, question.plan, survey)
        else:
            made = question.crashed.experiment
            task = prompts.agent_repair(made.id, made.description, context.crash(question.crashed))
        return prompts.plan(
            task,
            context.facts(history, settings, question.base, survey),
            editable=context.listed(settings.editable),
            note=NOTE,
            minutes=settings.proposer.agent_minutes,
        )

    # --- after --------------------------------------------------------------------------------------------------

    def _taken(
        self, question: Question, name: RunId, place: Path, before: Mapping[str, str], process: Process, purpose: str
    ) -> Idea | None:
        """The idea that lies in the workspace."""
        code = process.code
        ending = self._ending(code)
        note = "; ".join(part for part in (ending, self._left_out(place, before)) if part)
        try:
            files = self._read(place)
            if files == dict(self._desk.source_to_change(question)):
                raise EditError(f"it changed no editable file{'' if not ending else ': ' + ending}")
            checked(dict(files), question.files)
            description, hypothesis = _said(place)
            idea = self._desk.idea(
                question,
                files,
                proposer=self.name,
                description=description,
                hypothesis=hypothesis,
            )
        except EditError as exc:
            self._record(purpose, name, process.began, failure=plain(str(exc.args[0]), 300), note=note)
            return None
        self._record(purpose, name, process.began, note=note)
        return idea

    def _ending(self, code: int) -> str:
        """What is to be said of how it ended."""
        if code == warden.LATE:
            return f"it was ended at its limit of {self._desk.settings.proposer.agent_minutes:g} minutes"
        if code == warden.NO_COMMAND:
            return f"{plain(self._words[0], 60)} could not be started"
        return f"it ended with exit code {code}" if code else ""

    def _read(self, place: Path) -> Files:
        """The editable files as it left them.

        Raises:
            EditError: one is a link, no text, or too large.
        """
        found: dict[str, str] = {}
        for path in hash_files(place, self._desk.settings.editable):
            whole = place / path
            if whole.is_symlink() or not whole.resolve().is_relative_to(place.resolve()):
                raise EditError(f"{path} was made a link, which would run what nobody recorded")
            try:
                data = read_small(whole, _EDITABLE_LIMIT)
                found[path] = (data or b"").decode("utf-8")
            except (ValueError, UnicodeDecodeError) as exc:
                raise EditError(f"{path} cannot be read as text: {exc}") from exc
        if not found:
            raise EditError("it deleted all that may be edited")
        return found

    def _left_out(self, place: Path, before: Mapping[str, str]) -> str:
        """Files that it changed, made or deleted though they are not editable."""
        after = hash_files(place, ("**",))
        changed = sorted(
            path
            for path in {*before, *after}
            if before.get(path) != after.get(path) and path != NOTE and not self._desk.may_edit(path)
        )
        more = f" and {len(changed) - NAMED} more" if len(changed) > NAMED else ""
        return f"changed and left out: {context.listed(changed[:NAMED])}{more}" if changed else ""

    # --- records ------------------------------------------------------------------------------------------------

    def _log(self, name: RunId) -> Path:
        return logs_of(self._desk.settings.results) / f"{name}.log"

    def _record(
        self, purpose: str, name: RunId, began: float, *, failure: str = "", note: str = "", cut_off: bool = False
    ) -> None:
        log = self._log(name)
        self._desk.record(
            Consulted(
                proposer=self.name,
                purpose=purpose,
                seconds=time.monotonic() - began,
                failure=failure,
                cut_off=cut_off,
                note=note,
                log=str(log.relative_to(self._desk.settings.root)) if log.exists() else "",
            )
        )


def _surroundings() -> dict[str, str]:
    """Our environment without what would lead a git in the workspace to another repository."""
    return {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}


def end_strays(root: Path) -> int:
    """Kill agents of a lab that outlived loop and warden; returns how many processes that were. Needs the lease."""
    return kill_marked(FOR_LAB, str(root))


def logs_of(results: Path) -> Path:
    """Where agents' logs and plans lie."""
    return results / "agents"


def _forget_old(directory: Path) -> None:
    """Delete all but the latest logs and plans."""
    stems = sorted({path.stem for path in directory.iterdir()})
    for stem in stems[:-KEPT]:
        for path in directory.glob(f"{stem}.*"):
            with suppress(OSError):
                path.unlink()


def _said(place: Path) -> tuple[str, str]:
    """What an agent says of its change, and why it should help; "" where it says nothing that can be read."""
    note = place / NOTE
    try:
        data = b"" if note.is_symlink() else read_small(note, 16_384) or b""
    except ValueError:
        return "", ""
    lines = [line for line in data.decode("utf-8", "replace").splitlines() if line.strip()]
    first, second, *_ = [re.sub(r"^[#*\-\s]+", "", line) for line in (*lines, "", "")]
    return plain(first, LONGEST), plain(second, REASON)


def names_of(commands: Sequence[str]) -> dict[str, str]:
    """Command line -> a short name: its first words, without options and values, which may hold what is secret."""
    names: dict[str, str] = {}
    for command in commands:
        first, *rest = shlex.split(command)
        word = next(iter(rest), "")
        plain_word = word if re.fullmatch(r"[a-z][a-z-]{0,15}", word) else ""
        name = " ".join(part for part in (plain(os.path.basename(first), 40), plain_word) if part)
        taken = sum(other == name or other.startswith(f"{name} #") for other in names.values())
        names[command] = name if not taken else f"{name} #{taken + 1}"
    return names


def _stamp(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}"
