"""The night as a person watches it: what is best, what runs now and why, and a line for each thing that happened."""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from nightlab import decide
from nightlab.errors import LedgerError
from nightlab.history import ExperimentState, History, RunState
from nightlab.ledger.glance import OF_AGENTS
from nightlab.report import text as safe
from nightlab.runner.order import RunFiles
from nightlab.types import (
    Consulted,
    Decision,
    Ended,
    Experiment,
    Finished,
    Judged,
    NightBegan,
    NightEnded,
    Noted,
    Proposed,
    Purpose,
    Recorded,
    StoppedEarly,
    Verdict,
)

if TYPE_CHECKING:
    from nightlab.config import Settings
    from nightlab.loop import Lab

_REFRESH_S = 0.25
_UNSEEN = (OSError, ValueError)  # what writing raises when stderr is gone, closed, or a file on a full disk
_MARKS = {Decision.KEEP: ("kept", "bold green"), Decision.DISCARD: ("discarded", "dim"),
          Decision.RETEST: ("again", "yellow"), Decision.CRASH: ("crashed", "red")}  # fmt: skip
_WHY = {Purpose.BASELINE: "to know the noise", Purpose.REPLICATE: "another seed, to be sure",
        Purpose.FINAL: "fresh seed for the headline"}  # fmt: skip


class _Output(Console):
    """A console whose reader may leave (`| tee` that dies): nothing more is said then, and the night goes on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stderr.fileno())
            os.close(nowhere)


class Screen:
    """A listener that shows the night: live on a terminal, as plain lines elsewhere. Everything goes to stderr.

    What cannot be shown is left out: a screen never ends a night.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._console = _Output(stderr=True, highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._quiet_until = 0.0
        self._folding = True  # the past is folded silently: only what happens from now on is news
        self._tails: dict[Path, _Tail] = {}
        self._levelled: tuple[int, float | None] = (0, None)

    def __enter__(self) -> Self:
        with suppress(*_UNSEEN):
            if self._console.is_terminal:
                self._live.start()
        self._folding = False
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hide()

    def _hide(self) -> None:
        with suppress(*_UNSEEN):
            self._live.stop()

    # --- listening ------------------------------------------------------------------------------------------

    def told(self, recorded: Recorded, history: History) -> None:
        line = self._line(recorded, history)
        if line is not None:
            self._say(line)

    def tick(self, history: History) -> None:
        now = time.monotonic()
        if self._live.is_started and now >= self._quiet_until:
            self._quiet_until = now + _REFRESH_S
            with suppress(*_UNSEEN):
                self._live.update(self._picture(history), refresh=True)

    def _say(self, line: Text) -> None:
        with suppress(*_UNSEEN):
            self._console.print(line, soft_wrap=not self._console.is_terminal)

    def _line(self, recorded: Recorded, history: History) -> Text | None:
        event = recorded.event
        if isinstance(event, NightBegan):
            return Text(f"night {len(history.nights)} begins: {_limits(event)}, search seed {event.seed}", style="bold")
        if isinstance(event, Proposed) and event.experiment.parent is not None:
            return _stamped(history, event.experiment, "idea", "cyan", safe.plain(event.experiment.hypothesis))
        if isinstance(event, Ended):
            return self._ended_line(history.runs[event.run], history)
        if isinstance(event, Judged):
            word, style = _MARKS[event.verdict.decision]
            experiment = history.state(event.verdict.experiment).experiment
            return _stamped(history, experiment, word, style, safe.plain(event.verdict.because))
        if isinstance(event, Noted) and event.topic in OF_AGENTS:
            return None
        if isinstance(event, Consulted) and event.failure and not event.cut_off:
            what = safe.plain(f"{event.proposer}, {event.purpose}: {event.failure}", 300)
            return Text(f"no idea from {what}", style="yellow")
        if isinstance(event, Noted | NightEnded):
            words = event.text if isinstance(event, Noted) else f"the night is over: {event.reason}"
            return Text(safe.plain(words), style="bold")
        return None

    def _ended_line(self, state: RunState, history: History) -> Text | None:
        experiment = history.state(state.run.experiment).experiment
        if state.trouble:
            return _stamped(history, experiment, "doubted", "yellow", f"not believed: {safe.plain(state.trouble)}")
        if isinstance(state.outcome, Finished):
            spent = f"{state.usage.wall_s:.0f} s" if state.usage else ""
            return _stamped(
                history, experiment, "ran", "", f"{self._value(state.value)} on seed {state.run.seed}, {spent}"
            )
        if isinstance(state.outcome, StoppedEarly):
            return _stamped(history, experiment, "stopped", "yellow", safe.plain(state.outcome.reason))
        return _stamped(history, experiment, "failed", "red", safe.plain(decide.describe_failure(state)))

    def resumed(self, history: History) -> None:
        """Say that an unfinished night goes on, and which end it has."""
        night = history.night
        assert night is not None
        began = night.began
        target = _limits(began)
        self._say(Text(f"going on with night {night.number}, whose own end holds: {target}", style="bold"))

    # --- the live picture -----------------------------------------------------------------------------------

    def _picture(self, history: History) -> RenderableType:
        return Group(Text(), self._where(history), *self._best(history), self._running(history))

    def _where(self, history: History) -> Text:
        night = history.night
        if night is None:
            return Text("starting ...")
        minutes = (time.time() - night.at) / 60
        target = f" of {night.began.ideas}" if night.began.ideas is not None else ""
        return Text(
            f"night {night.number}  {decide.ideas_tried(history)}{target} ideas  {minutes:.0f} min", style="bold"
        )

    def _best(self, history: History) -> list[Text]:
        champion = history.champion
        if champion is None:
            return []
        state = history.state(champion)
        line = Text(f"champion  #{state.number} {safe.plain(state.experiment.description)}")
        line.append(f"  {self._value(self._level(history))} over {len(state.finished())} runs", style="green")
        verdict = state.verdict
        if verdict and verdict.gain is not None:
            line.append(f"  gained {verdict.gain:.4f} ({verdict.low:.4f} to {verdict.high:.4f}) on the one before")
        return [line]

    def _level(self, history: History) -> float | None:
        """The champion's level as `status` shows it; worked out again only when something has happened."""
        from nightlab.report.levels import Levels

        if self._levelled[0] != history.seq and history.champion is not None:
            self._levelled = (history.seq, Levels(history, self.settings).arm(history.champion).mean)
        return self._levelled[1]

    def _running(self, history: History) -> RenderableType:
        table = Table.grid(padding=(0, 1), expand=True)
        table.add_column(no_wrap=True)
        table.add_column(ratio=2, no_wrap=True, overflow="ellipsis")
        table.add_column(width=16)
        table.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        for state in sorted(history.running.values(), key=lambda r: r.run.slot):
            idea = history.state(state.run.experiment)
            why = _WHY.get(state.run.purpose) or safe.plain(idea.experiment.plan.brief or idea.experiment.plan.emitter)
            fraction, loss = self._tail(state).last
            what = Text(f"#{idea.number} {safe.plain(idea.experiment.description)}")
            what.append(f"  {why}", style="dim")
            table.add_row(
                Text(state.run.environment.device, style="dim"),
                what,
                ProgressBar(total=1.0, completed=fraction, width=16),
                self._against(history, state, fraction, loss),
            )
        return table

    def _against(self, history: History, state: RunState, fraction: float, loss: float | None) -> Text:
        """The run's loss beside the champion's at the same share of the budget."""
        if loss is None:
            return Text("starting", style="dim")
        words = Text(f"{fraction:4.0%} loss {loss:.3f}")
        champion = history.champion
        if champion is not None and champion != state.run.experiment:
            other = next((r for r in history.state(champion).runs if r.value is not None), None)
            theirs = self._tail(other).at(fraction) if other else None
            if theirs is not None:
                words.append(f" (champion {theirs:.3f})", style="green" if loss < theirs else "dim")
        return words

    def _tail(self, state: RunState) -> _Tail:
        path = RunFiles(self.settings.runs / state.run.id).progress
        tail = self._tails.setdefault(path, _Tail(path))
        tail.read()
        return tail

    def _value(self, value: float | None) -> str:
        return "no value" if value is None else f"{self.settings.metric.name} {value:.6g}"

    # --- the last screen ------------------------------------------------------------------------------------

    def stopped(self, lab: Lab) -> None:
        """What to say after Ctrl-C."""
        self._hide()
        self._say(Text("stopped; everything so far is recorded", style="bold"))
        self._say(Text(f"go on with: nightlab run --lab {self.settings.root}"))

    def finished(self, lab: Lab, done: decide.Done) -> None:
        """What is best now and by how much, and where to look."""
        from nightlab.report.morning import write_report

        self._hide()
        if done.failed:
            self._say(Text(f"the night could not be worked: {safe.plain(done.reason)}", style="bold red"))
            return
        branch = lab.git.free_branch(self.settings.branch)
        try:
            report = write_report(
                lab.history, lab.ledger.records, self.settings, now=time.time(), branch=branch, figures=True
            )[0]
            where = Text(f"report: {report}")
        except LedgerError as exc:  # a full disk: the night itself is recorded, and what it found can still be said
            where = Text(f"{exc.args[0]}; `nightlab report` writes it later", style="red")
        for line in self._summary(lab.history):
            self._say(line)
        if lab.history.champion != (lab.history.night and lab.history.night.began.baseline):
            self._say(Text(f"the champion is the tip of {branch}: git diff {lab.git.head()[:7]} {branch}"))
        self._say(where)
        self._say(Text(f"more: nightlab status --lab {self.settings.root}, also runs, show 3, diff, report"))

    def _summary(self, history: History) -> list[Text]:
        night, champion = history.night, history.champion
        assert night is not None
        assert champion is not None
        state = history.state(champion)
        if champion == night.began.baseline:
            return [Text("no idea is proven better than the baseline", style="bold")]
        lines = [Text(f"champion: #{state.number} {safe.plain(state.experiment.description)}", style="bold green")]
        headline = decide.headline(history, self.settings)
        if headline is not None:
            lines.append(
                Text(
                    f"gain on fresh seeds: {headline.gain:.4f} {self.settings.metric.name} "
                    f"(95 % interval {headline.low:.4f} to {headline.high:.4f})",
                    style="bold green",
                )
            )
        return lines

    def verdict(self, lab: Lab, experiment: Experiment) -> int:
        """The end of `nightlab try`: 0 if the lab has a verdict."""
        self._hide()
        state: ExperimentState = lab.history.state(experiment.id)
        verdict: Verdict | None = state.verdict
        if experiment.parent is None and state.finished():
            values = ", ".join(f"{run.value:.6g}" for run in state.finished())
            print(f"{experiment.id} is the committed source itself: {self.settings.metric.name} {values}")
            return 0
        if verdict is None:
            print("no verdict: the runs did not get that far", file=sys.stderr)
            return 1
        print(f"{experiment.id} {verdict.decision}: {safe.plain(verdict.because)}")
        return 0


class _Tail:
    """The progress that a run has written so far."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._points: list[tuple[float, float]] = []

    def read(self) -> None:
        try:
            with self._path.open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    self._take(line)
        except OSError:
            return  # not begun yet, or cleared away: there is nothing to show

    def _take(self, line: bytes) -> None:
        try:
            point = json.loads(line)
            self._points.append((float(point["fraction"]), float(point["loss"])))
        except (ValueError, KeyError, TypeError):
            return  # a command may write what it likes there; what we cannot read is not shown

    @property
    def last(self) -> tuple[float, float | None]:
        return self._points[-1] if self._points else (0.0, None)

    def at(self, fraction: float) -> float | None:
        """Loss at a share of the budget, by the nearest point before it."""
        before = [loss for share, loss in self._points if share <= fraction]
        return before[-1] if before else None


def _stamped(history: History, experiment: Experiment, word: str, style: str, rest: str) -> Text:
    line = Text(f"{time.strftime('%H:%M')} ", style="dim")
    line.append(f"{word:<9}", style=style)
    line.append(f" #{history.state(experiment.id).number} {safe.plain(experiment.description)}", style="bold")
    line.append(f"  {rest}")
    return line


def _limits(began: NightBegan) -> str:
    """What ends the night, whichever comes first."""
    limits = [f"{began.ideas} ideas"] if began.ideas is not None else []
    limits += [f"{began.hours:g} hours"] if began.hours is not None else []
    limits += [f"a cost of {began.cost:g}"] if began.cost is not None else []
    return " or ".join(limits)
