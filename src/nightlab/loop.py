"""The lab at work: ask -> run -> judge -> tell. The rooms meet here, and decisions are taken nowhere else.

One process at a time holds the loop lease and decides. Everything it knows is in the ledger, so it may be killed at
any moment: the next one folds the same history and goes on.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from random import Random
from typing import NamedTuple, Protocol

from nightlab import decide, early, promotions
from nightlab.config import Settings
from nightlab.errors import (
    AlreadyRecordedError,
    BackendError,
    BusyError,
    NightlabError,
    ShadowError,
    UsageError,
)
from nightlab.git import Git
from nightlab.history import History, RunState, run_names
from nightlab.ledger import Ledger
from nightlab.removals import ablation_of
from nightlab.runner.order import RunFiles, read_ended
from nightlab.runner.progress import read_curve
from nightlab.search.changes import changes_between
from nightlab.sources import Sources
from nightlab.types import (
    NO_SLOT,
    STOP,
    Adopted,
    Again,
    Answer,
    Backend,
    Curve,
    Decision,
    Ended,
    Event,
    Exhausted,
    Experiment,
    ExperimentId,
    Failed,
    Files,
    Idea,
    Job,
    Judged,
    Lost,
    NightBegan,
    NightEnded,
    NightId,
    Noted,
    Plan,
    Proposed,
    Purpose,
    Recorded,
    Run,
    RunId,
    Started,
    Thinking,
    Usage,
    Verdict,
)

_PATIENCE_S = 60.0  # beyond the grace that a run has to end, before we leave its supervisor alone with it
MAX_REFUSED = 20  # unusable proposals in one sitting before the search is said to be exhausted
MAX_FAILED = 50
"""Fruitless answers in a row before the search is said to be exhausted. Proposers that fail rest of their own accord
long before; this only keeps one that does not from being asked for ever."""

_POLL_SHARE, _POLL_MIN_S, _POLL_MAX_S = 0.02, 0.01, 0.25  # look again after 2 % of the youngest run's age


class Proposer(Protocol):
    """A source of ideas."""

    def propose(self, history: History, base: ExperimentId, files: Files, rng: Random) -> Answer | Thinking:
        """One idea on top of `base`, whose editable files are `files`; never a source that `history` knows.

        Or a settled experiment that is worth another run, the reason why there is nothing more, or that nothing came of
        it this time. One that needs more than moments gives its thinking, which is looked at until it has an answer;
        `history` goes on growing meanwhile.
        """
        ...


class Listener(Protocol):
    """Whoever shows the night to a person."""

    def told(self, recorded: Recorded, history: History) -> None:
        """An event was taken into `history`."""
        ...

    def tick(self, history: History) -> None:
        """Time has passed; called some fifty times a second."""
        ...


class Silent:
    """A listener that shows nothing."""

    def told(self, recorded: Recorded, history: History) -> None: ...

    def tick(self, history: History) -> None: ...


@contextmanager
def lease(settings: Settings) -> Iterator[None]:
    """Hold the right to decide for this lab; the kernel gives it back however the holder ends.

    Raises:
        BusyError: another process holds it.
    """
    path = settings.results / "loop.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        if not _locked(file.fileno()):
            file.seek(0)
            raise BusyError(
                f"another process ({file.read().strip() or 'unknown'}) runs this lab",
                hint="watch it with `nightlab status`, or end it first: `nightlab stop`, or Ctrl-C where it runs",
            )
        file.truncate(0)
        file.write(f"pid {os.getpid()} since {datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC")
        file.flush()
        yield


def _locked(handle: int) -> bool:
    """Take the lock, with some patience: `nightlab status` may hold it for a moment to see whether anybody does."""
    for attempt in range(20):
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(0.05 if attempt < 19 else 0)
        else:
            return True
    return False


class _Thought(NamedTuple):
    """An idea that is being thought about."""

    thinking: Thinking
    base: Experiment  # which it changes
    since: float


class Lab:
    """A lab with its rooms: settings, memory, git, a way to run, a way to propose."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        git: Git,
        backend: Backend,
        proposer: Proposer,
        *,
        listener: Listener | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.settings = settings
        self.ledger = ledger
        self.git = git
        self.sources = Sources(settings, git)
        self.backend = backend
        self.proposer = proposer
        self.listener = listener or Silent()
        self.history = ledger.history()
        self._clock = clock
        self._sleep = sleep
        self._jobs: dict[RunId, Job] = {}
        self._curves: dict[RunId, Curve | None] = {}  # of runs that have ended, read once
        self._exhausted: Exhausted | None = None
        self._refused = 0
        self._told_to_stop = False  # since this lab was opened
        self._failed = 0  # answers in a row that nothing came of
        self._thinking: _Thought | None = None
        self._unbuildable: set[ExperimentId] = set()  # links that cannot be taken out of the present champion alone

    @property
    def on_gpu(self) -> bool:
        """Whether runs see a GPU."""
        return self.backend.places[0].startswith("cuda")

    # --- beginning ------------------------------------------------------------------------------------------

    def begin(
        self,
        *,
        ideas: int | None,
        hours: float | None,
        seed: int,
        mode: str = decide.EXPLOIT,
        cost: float | None = None,
    ) -> bool:
        """Go on with the unfinished night, or begin a new one from the committed source.

        Args:
            ideas: how many to try, None for no limit.
            hours: of wall-clock, None for no limit.
            seed: of the search.
            mode: of a new night, explore or exploit: how boldly it keeps ideas.
            cost: money that its runs may cost, None for no limit.

        Returns:
            Whether an unfinished night goes on (its own targets stay).

        Raises:
            UsageError: there is nothing to go on with, and the night is given no end; or it is to end by money, and
                an hour has no price.
        """
        self._fold_news()  # another process may have worked here since this lab was opened
        base = self.baseline()
        night = self.history.night
        chain = self.history.chain
        if night is not None and night.ended is None:
            asked = any(limit is not None for limit in (ideas, hours, cost))
            spent = night.began.hours is not None and self._clock() >= night.at + 3600 * night.began.hours
            if base in chain and not (spent and asked):
                self._refuse_without_price(night.began.cost)
                return True
            if not asked:
                raise UsageError(
                    "the committed source has changed since the unfinished night began",
                    hint="say --runs N, --hours H or --cost MONEY to begin a new one from it",
                )
            why = "its hours were over" if base in chain else "the committed source changed"
            self._tell(NightEnded(night=night.began.night, reason=why))
        if ideas is None and hours is None and cost is None:
            raise UsageError("a night needs an end", hint="say --runs N (ideas to try), --hours H or --cost MONEY")
        self._refuse_without_price(cost)
        start = night.began.baseline if night is not None and base in chain else base
        self._begin_night(start, ideas=ideas, hours=hours, seed=seed, mode=mode, cost=cost)
        return False

    def _refuse_without_price(self, cost: float | None) -> None:
        """A night that is to end by money would never end where an hour costs nothing."""
        if cost is not None and not self.settings.budget.hour_price > 0:
            raise UsageError(
                "nobody knows what an hour costs here", hint="set budget.hour_price in nightlab.toml, then say --cost"
            )

    def go_on(self) -> None:
        """Be in a night of the latest line, whatever is committed now: the unfinished one, or one without ideas.

        The caller knows that the line's champion and what he means to run are measured alike.
        """
        self._fold_news()
        night = self.history.night
        assert night is not None
        if night.ended is not None:
            self._begin_night(night.began.baseline, ideas=0, hours=None, seed=0, mode=decide.EXPLOIT)

    def _begin_night(
        self,
        baseline: ExperimentId,
        *,
        ideas: int | None,
        hours: float | None,
        seed: int,
        mode: str,
        cost: float | None = None,
    ) -> None:
        name = NightId(f"{_stamp(self._clock())}-n{len(self.history.nights) + 1}")
        began = NightBegan(night=name, seed=seed, ideas=ideas, hours=hours, baseline=baseline, mode=mode, cost=cost)
        self._tell(began)

    def baseline(self) -> ExperimentId:
        """The experiment of HEAD's own source, recorded if it is new."""
        head = self.git.head()
        files = self.sources.at(head)
        name = self.sources.identify(files)
        if name not in self.history.experiments:
            idea = Idea(description="baseline", files=files, plan=Plan(emitter="baseline"), family="baseline")
            self._tell(Proposed(experiment=self.sources.experiment(idea, commit=head)))
        return name

    def propose(self, idea: Idea, parent: Experiment) -> Experiment:
        """Record an idea on top of `parent` as an experiment with a commit of its own.

        Raises:
            ShadowError: it brings a file that hides a module of Python's.
            AlreadyRecordedError: the lab knows this very source.
        """
        experiment = self.sources.commit(idea, parent)
        self._tell(Proposed(experiment=experiment))
        return experiment

    def record(self, event: Event) -> None:
        """Record what a person has decided. The caller holds the lease."""
        self._tell(event)

    def take_working_tree(
        self, *, description: str, hypothesis: str, seeds: int, files: Files | None = None
    ) -> Experiment:
        """Record the working tree's editable files as an idea on top of the champion's commit.

        Untouched committed source is the baseline, and is given as such.

        Args:
            description: what was changed, in one line.
            hypothesis: why it should help.
            seeds: runs before the first verdict.
            files: editable files to take instead of the working tree's.

        Raises:
            DirtyTreeError: a protected file was changed.
            AlreadyRecordedError: the lab knows this very source.
        """
        if files is None:
            self.sources.refuse_protected_edits()
            files = self.sources.working()
        name = self.sources.identify(files)
        if name == self.baseline():
            return self.history.state(name).experiment
        plan = Plan(emitter=decide.TRY, seeds=max(seeds, 1))
        text = description or f"working tree of {self.git.branch()}"
        base, champion = self.baseline(), self.history.champion
        on_line = champion is not None and base in self.history.chain
        parent = self.history.state(champion if on_line and champion is not None else base).experiment
        known = self.history.experiments.get(name)
        if known is not None and known.experiment.parent is None and not known.verdicts:
            # Seen by `exec` or `log` so far, which decide nothing: now it is to be judged.
            return self.adopt(name, parent.id, plan, text)
        if known is not None:
            raise AlreadyRecordedError(
                f"this very source is {name} already: {self.history.state(name).experiment.description}",
                hint=f"`nightlab show {name}` says how it did",
            )
        changes = changes_between(self.sources.at(parent.commit), files, on_gpu=self.on_gpu)
        idea = Idea(description=text, hypothesis=hypothesis, files=files, plan=plan, changes=changes)
        return self.propose(idea, parent)

    def adopt(self, name: ExperimentId, parent: ExperimentId, plan: Plan, description: str) -> Experiment:
        """Take a source that the lab knows by somebody's word for an idea on top of `parent`, to be judged."""
        self._tell(Adopted(experiment=name, parent=parent, plan=plan, description=description))
        return self.history.state(name).experiment

    def look_on(self, seconds: float) -> bool:
        """Follow another process's work for a while; whether every idea of this line is decided."""
        until = self._clock() + seconds
        while any(state.is_open for state in self.history.line) and self._clock() < until:
            self._fold_news()
            self.listener.tick(self.history)
            self._sleep(_POLL_MAX_S)
        return not any(state.is_open for state in self.history.line)

    # --- the night ------------------------------------------------------------------------------------------

    def run_night(self) -> decide.Done:
        """Work until the night is over. On KeyboardInterrupt the runs under way are ended and recorded first."""
        return self._finish(self._work(self._step))

    def settle(self) -> decide.Done:
        """Work until no idea is open, proposing nothing; an unfinished night stays unfinished."""
        return self._settled(self._work(lambda: self._step(only_open=True)))

    def replicate(self, experiment: ExperimentId, count: int) -> decide.Done:
        """Run an experiment of this line on `count` further seeds, and judge it by all of its runs.

        The caller holds the lease, and a night has begun. Champion and baseline are not judged by their own runs.
        """
        since = self.history.seq

        def step() -> decide.Step:
            return decide.replicate_step(self.history, self.settings, experiment, since=since, count=count)

        done = self._work(step)
        if decide.wants_verdict(self.history, experiment):  # also one that had its last word already
            self._judge(experiment)
            self._judge_news()
        return self._settled(done)

    def _settled(self, done: decide.Done) -> decide.Done:
        """After work for somebody who asked for it: a night that was begun for that alone ends."""
        self._stop()
        promotions.sync(self.history, self.sources)
        night = self.history.night
        if night is not None and night.ended is None and night.began.ideas == 0:
            self._tell(NightEnded(night=night.began.night, reason=done.reason))
        return done

    def _step(self, *, only_open: bool = False) -> decide.Step:
        return decide.next_step(
            self.history,
            self.settings,
            now=self._clock(),
            exhausted=self._exhausted is not None,
            only_open=only_open,
            unbuildable=self._unbuildable,
        )

    def _work(self, next_step: Callable[[], decide.Step]) -> decide.Done:
        """Start what `next_step` asks for and judge what comes, until it says that it is done."""
        try:
            while True:
                self._take_in()
                if self._told_to_stop:
                    raise KeyboardInterrupt
                self._judge_news()
                done = self._fill(next_step)
                if done is not None:
                    return done
                self.listener.tick(self.history)
                self._sleep(self._pause())
        except KeyboardInterrupt:
            self._stop()
            raise
        finally:
            self._forget()

    def _pause(self) -> float:
        """Seconds until the next look: often while runs are short, seldom while they are long."""
        now = self._clock()
        began = [state.started_at for state in self.history.running.values()]
        if self._thinking is not None:
            began.append(self._thinking.since)
        youngest = now - max(began, default=now)
        return min(max(_POLL_SHARE * youngest, _POLL_MIN_S), _POLL_MAX_S)

    def _fill(self, next_step: Callable[[], decide.Step]) -> decide.Done | None:
        """Start runs until every place is taken or there is nothing to start."""
        while (slot := self._free_slot()) is not None:
            self._judge_news()  # recording takes in what others wrote, and no step is right before all news are judged
            step = next_step()
            if isinstance(step, decide.Done):
                return step
            if isinstance(step, decide.Wait):
                return None
            if isinstance(step, decide.Propose):
                if not self._ask():
                    return None
            elif isinstance(step, decide.Ablate):
                self._forget()
                self._leave_out(step.link)
            else:
                if step.purpose is Purpose.FINAL:
                    self._forget()  # nobody works beside the runs of the headline
                self._execute(step, slot)
        return None

    def _ask(self) -> bool:
        """Ask the search for one idea and record it; False while it is being thought about."""
        if self._thinking is None:
            night, champion = self.history.night, self.history.champion
            assert night is not None
            assert champion is not None
            base = self.history.state(champion).experiment
            # A fresh generator for each proposal: what is proposed depends on the night's seed and the ledger only.
            rng = Random(f"{night.began.seed}:{decide.asked(self.history) + self._refused}")
            answer = self.proposer.propose(self.history, base.id, self.sources.at(base.commit), rng)
        else:
            base = self._thinking.base
            found = self._thinking.thinking.poll()
            if found is None:
                return False
            self._thinking, answer = None, found
            self._fold_news()  # what it has cost and why it failed is part of the next question
        if not isinstance(answer, Idea | Again | Exhausted | Failed):
            self._thinking = _Thought(answer, base, self._clock())
            return True
        self._failed = self._failed + 1 if isinstance(answer, Failed) else 0
        if self._failed == MAX_FAILED and isinstance(answer, Failed):
            answer = Exhausted(reason=f"{MAX_FAILED} questions in a row brought nothing, the last: {answer.reason}")
        if not isinstance(answer, Failed):
            self._take(answer, base)
        return True

    def _forget(self) -> None:
        """Drop what is being thought about: its answer would come too late."""
        if self._thinking is not None:
            thought, self._thinking = self._thinking, None
            thought.thinking.cancel()
            self._fold_news()

    def _take(self, answer: Idea | Again | Exhausted, base: Experiment) -> None:
        """Record an answer."""
        if isinstance(answer, Exhausted):
            self._exhausted = answer
            self._tell(Noted(topic="exhausted", text=answer.reason))
            return
        if isinstance(answer, Again):
            self._rule(decide.retest(self.history, self.settings, answer.experiment, answer.because))
            return
        try:
            self.propose(answer, base)
        except (AlreadyRecordedError, ShadowError) as exc:
            self._refused += 1
            self._tell(Noted(topic="refused", text=f"{answer.description}: {exc.args[0]}"))
            if self._refused >= MAX_REFUSED:
                self._exhausted = Exhausted(reason=f"{MAX_REFUSED} proposals in this night could not be used")

    def _leave_out(self, link: ExperimentId) -> None:
        """Record the champion without one of its links as an experiment; note why, where that cannot be."""
        champion = self.history.champion
        assert champion is not None
        made = ablation_of(self.history, self.sources, link, on_gpu=self.on_gpu)
        if isinstance(made, Idea):
            self.propose(made, self.history.state(champion).experiment)
        else:
            self._unbuildable.add(link)
            self._tell(Noted(topic="ablation", text=made.reason))

    def run_once(self, step: decide.Execute) -> RunState:
        """Run a known experiment now and wait for its ending; nothing is judged by it. On Ctrl-C it is ended first.

        The caller holds the lease.
        """
        self._take_in()
        slot = self._free_slot()
        if slot is None:
            raise BusyError("every place of this lab is taken", hint="wait until `nightlab status` shows a free one")
        name = self._execute(step, slot)
        try:
            while name in self.history.running:
                self.listener.tick(self.history)
                self._sleep(self._pause())
                self._take_in()
        except KeyboardInterrupt:
            self._stop()
            raise
        return self.history.runs[name]

    def _execute(self, step: decide.Execute, slot: int) -> RunId:
        experiment = self.history.state(step.experiment).experiment
        run = self._new_run(step, slot, experiment)
        try:
            self._write_patch(run.id, experiment)
            bounds = early.bounds(self.history, self.settings, experiment.id, step.seed, step.purpose, self._curve)
            self._jobs[run.id] = self.backend.start(run, experiment.commit, bounds)
        except NightlabError as exc:
            lost = Lost(reason=f"could not be started: {exc.args[0]}")
            self._tell(Ended(run=run.id, outcome=lost, usage=Usage(wall_s=0.0, cpu_s=0.0)))
            if not isinstance(exc, BackendError):  # the lab itself is amiss: no other run would fare better
                raise
        return run.id

    def _curve(self, name: RunId) -> Curve | None:
        """The curve of a run that has ended."""
        if name not in self._curves:
            self._curves[name] = read_curve(RunFiles(self.settings.runs / name).progress)
        return self._curves[name]

    def _write_patch(self, run: RunId, experiment: Experiment) -> None:
        path = RunFiles(self.settings.runs / run).patch
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(experiment.patch, encoding="utf-8")
        except OSError as exc:
            raise BackendError(f"{path} cannot be written: {exc.strerror}", hint="free some disk space") from exc

    def _new_run(self, step: decide.Execute, slot: int, experiment: Experiment) -> Run:
        """Record the run as started under an identity that no other run has."""
        night = self.history.night
        for name in run_names(self._clock(), experiment.commit):
            run = Run(
                id=name,
                experiment=experiment.id,
                seed=step.seed,
                purpose=step.purpose,
                slot=slot,
                limit_s=60 * self.settings.budget.timeout_minutes,
                command=self.settings.argv,
                environment=self.backend.environment(slot),
                night=night.began.night if night else None,
            )
            with suppress(AlreadyRecordedError):
                self._tell(Started(run=run))
                return run
        raise AssertionError("names never run out")

    def _free_slot(self) -> int | None:
        taken = {state.run.slot for state in self.history.running.values()}
        return next((slot for slot in range(len(self.backend.places)) if slot not in taken), None)

    def _judge_news(self) -> None:
        while names := decide.due(self.history):  # a new champion makes other ideas due again
            self._judge(names[0])

    def _judge(self, experiment: ExperimentId) -> None:
        self._rule(decide.judge(self.history, self.settings, experiment))

    def _rule(self, verdict: Verdict) -> None:
        self._tell(Judged(verdict=verdict))
        if verdict.decision is Decision.KEEP:
            self._unbuildable.clear()
            self._exhausted = None  # of the champion before: this one's source has other things to change
            promotions.sync(self.history, self.sources)

    def _finish(self, done: decide.Done) -> decide.Done:
        night = self.history.night
        assert night is not None
        self._stop()
        promotions.sync(self.history, self.sources)
        reason = self._exhausted.reason if self._exhausted and not done.failed else done.reason
        self._tell(NightEnded(night=night.began.night, reason=reason))
        return decide.Done(reason, failed=done.failed)

    def _stop(self) -> None:
        """End the lab's own runs, whoever started them, and wait for their endings."""
        until = self._clock() + self.settings.budget.grace_seconds + _PATIENCE_S
        for name in self._own_runs():
            with suppress(NightlabError):  # one that cannot be asked is no reason not to ask the others
                self.backend.stop(name, "stopped by the operator")
        while self._own_runs() and self._clock() < until:
            self._take_in()
            self._sleep(_POLL_MIN_S)

    def _own_runs(self) -> list[RunId]:
        return [name for name, state in self.history.running.items() if state.run.slot != NO_SLOT]

    # --- memory ---------------------------------------------------------------------------------------------

    def _tell(self, event: Event) -> None:
        self.ledger.append(event)
        self._fold_news()  # and no reaping: a run just recorded as started has no watcher yet

    def _take_in(self) -> None:
        """Fold what is new in the ledger, whoever wrote it, and give up runs that nobody watches any more."""
        for job in self._jobs.values():
            job.poll()
        self._fold_news()
        for name in [n for n in self.history.running if not self.backend.is_alive(n)]:
            # The ending may have been written between our look at the ledger and our look at its writer.
            self._fold_news()
            if name in self.history.running:
                self.backend.clear(name)
                self._lose(name)

    def _fold_news(self) -> None:
        for recorded in self.ledger.since(self.history.seq):
            self.history.apply(recorded)
            self._told_to_stop |= isinstance(recorded.event, Noted) and recorded.event.topic == STOP
            self.listener.told(recorded, self.history)
        for name in [n for n, job in self._jobs.items() if n not in self.history.running and job.poll()]:
            del self._jobs[name]

    def _lose(self, name: RunId) -> None:
        """Record the ending of a run that nobody watches: the one its supervisor left in its directory, or none."""
        wall = self._clock() - self.history.runs[name].started_at
        lost = Lost(reason="its supervisor was gone before it had recorded an ending")
        ended = Ended(run=name, outcome=lost, usage=Usage(wall_s=max(wall, 0.0), cpu_s=0.0))
        with suppress(BackendError):  # a damaged file says nothing: then it is lost
            ended = read_ended(RunFiles(self.settings.runs / name)) or ended
        with suppress(AlreadyRecordedError):  # a supervisor thought dead was quicker: its record stands
            self.ledger.append(ended)
        self._fold_news()


def _stamp(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}"
