"""Nights with a scripted model or agents: a tiny lab whose ideas come from outside."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from nightlab.agent.proposing.fake import Deed, Request, Say
from nightlab.agent.proposing.team import proposer_of
from nightlab.config import ModelSettings
from nightlab.history import History
from nightlab.ledger import Ledger
from nightlab.loop import Lab, Listener
from nightlab.planned import built_in
from nightlab.types import Backend, Consulted, Noted
from tests.builders import Clock
from tests.nights import BASELINE, Answer, Bench

MODEL = "openai:small"


class Waking(Clock):
    """The tests' clock, which gives what really goes on beside the loop a moment too."""

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        time.sleep(0.001)


class Table(dict[str, Answer]):
    """What sources measure; a little worse than the baseline where nothing is said, as most ideas are."""

    def __missing__(self, source: str) -> Answer:
        return 1.01


def edit(old: str, new: str, path: str = "train.py") -> str:
    return f"{path}\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"


def wants_ideas(request: Request) -> bool:
    return "different ideas" in request.last


@dataclass
class Writer:
    """A model that proposes lines of its own, each once, and writes what was chosen; `spoil` may take its place."""

    lines: Sequence[str] = tuple(f"append the line X{n} to the file" for n in range(1, 40))
    spoil: Callable[[int, Request], Deed | None] = lambda number, request: None
    anchor: str = "LR = 0"  # the line that it writes below
    count: int = 0

    def __call__(self, request: Request) -> Deed:
        self.count += 1
        spoilt = self.spoil(self.count, request)
        if spoilt is not None:
            return spoilt
        if wants_ideas(request):
            fresh = [line for line in self.lines if line not in request.everything]
            return Say(text="\n".join(f"{n}. {line} | it may help" for n, line in enumerate(fresh[:5], 1)))
        found = re.findall(r"line (X\d+)", request.last) or re.findall(r"line (X\d+)", request.everything) or ["X99"]
        return Say(text=edit(self.anchor, f"{self.anchor}\n{found[0]} = 1"))


@dataclass
class Asking(Bench):
    """A bench whose ideas come from named proposers."""

    proposers: Sequence[str] = (MODEL,)
    model: ModelSettings = field(default_factory=lambda: ModelSettings(timeout_seconds=20.0))
    clock: Clock = field(default_factory=Waking)

    @contextmanager
    def lab(self, *, listener: Listener | None = None, backend: Backend | None = None) -> Iterator[Lab]:
        self.settings = replace(self.settings, model=self.model)
        with super().lab(listener=listener, backend=backend) as lab:
            search = built_in(self.settings, self.git, on_gpu=False)
            lab.proposer = proposer_of(
                self.proposers, self.settings, lab.ledger, self.git, search, on_gpu=False, clock=self.clock
            )
            yield lab


def bench(root: Path, address: str = "", *, table: Mapping[str, Answer] | None = None, **settings: object) -> Asking:
    """A lab whose model is asked at `address`; `settings` are of the model's."""
    chosen = replace(ModelSettings(timeout_seconds=20.0, base_url=address), **settings)  # type: ignore[arg-type]
    return Asking(root, Table(table or {BASELINE: 1.0}), model=chosen)


def calls(bench: Bench) -> list[Consulted]:
    """What the ledger says of those who were asked, oldest first."""
    return [call.said for call in bench.history().consulted]


def notes(bench: Bench) -> list[str]:
    with Ledger.read(bench.settings.database) as ledger:
        return [one.event.text for one in ledger.since() if isinstance(one.event, Noted)]


def who(history: History) -> list[str]:
    """Who had each idea of the night, in order; "" is the built-in search."""
    return [
        state.experiment.plan.proposer
        for state in history.experiments.values()
        if state.experiment.parent is not None and state.experiment.plan.without is None
    ]
