"""From names to proposers: `builtin`, `openai:MODEL`, or the command line of an agent."""

from __future__ import annotations

import shlex
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from nightlab.agent.proposing.agent import Agent, end_strays, names_of
from nightlab.agent.proposing.desk import Desk, Member
from nightlab.agent.proposing.endpoint import OWN, Endpoint
from nightlab.agent.proposing.mixed import Mixed
from nightlab.agent.proposing.model import PREFIX, Model
from nightlab.config import Settings
from nightlab.errors import UsageError
from nightlab.git import Git
from nightlab.ledger import Ledger
from nightlab.loop import Proposer
from nightlab.search.credit import BUILT_IN
from nightlab.search.propose import Proposer as BuiltIn
from nightlab.sources import Sources
from nightlab.types import Noted

_HINT = f"--proposer takes {BUILT_IN}, {PREFIX}MODEL or the command line of an agent; docs/models.md shows each"


def proposer_of(
    names: Sequence[str],
    settings: Settings,
    ledger: Ledger,
    git: Git,
    built_in: BuiltIn,
    *,
    on_gpu: bool,
    model_cost: float | None = None,
    clock: Callable[[], float] = time.time,
) -> Proposer:
    """Who has the ideas of a night; the built-in search itself where nobody else is named.

    The caller holds the loop's lease: agents that an earlier loop left behind are ended.

    Args:
        names: as they were given, in order; one that is given twice counts once.
        settings: the lab, with what makes runs comparable.
        ledger: of the lab, for writing.
        git: of the lab.
        built_in: the built-in search.
        on_gpu: whether runs see a GPU.
        model_cost: money that this night's tokens may cost, instead of the lab's own limit.
        clock: UTC seconds since the epoch.

    Raises:
        UsageError: a name is none of these, a command does not exist, a key is missing, or a limit has no meaning.
    """
    names = list(dict.fromkeys(name.strip() for name in names))
    models = [name for name in names if name.startswith(PREFIX)]
    commands = [name for name in names if name != BUILT_IN and name not in models]
    if model_cost is not None:
        if not models:
            raise UsageError("--model-cost limits what models cost, and none is asked", hint=_HINT)
        settings = replace(settings, model=replace(settings.model, max_cost=model_cost))
    if models:
        _check_models(models, settings)
    for command in commands:
        _check_command(command)
    if not models and not commands:
        return built_in
    desk = Desk(settings, ledger, built_in, on_gpu, clock, Sources(settings, git).at)
    labels = names_of(commands)
    members: list[Member] = []
    for name in names:
        if name in models:
            members.append(Model(desk, Endpoint(model=name.removeprefix(PREFIX), settings=settings.model)))
        elif name in labels:
            members.append(Agent(desk, git, name, labels[name]))
    if commands:
        end_strays(settings.root)
    return Mixed(
        desk,
        members,
        with_built_in=BUILT_IN in names,
        say=lambda text: ledger.append(Noted(topic="proposer", text=text)),
    )


def _check_models(models: Sequence[str], settings: Settings) -> None:
    asking = settings.model
    for name in models:
        if not name.removeprefix(PREFIX).strip():
            raise UsageError(f"{name} names no model", hint=_HINT)
    if asking.max_cost is not None and not asking.price_in + asking.price_out > 0:
        raise UsageError(
            "nobody knows what a token costs here, so that no limit of money could end anything",
            hint="set model.price_in and model.price_out (of a million tokens) in nightlab.toml, or limit "
            "model.max_tokens",
        )
    endpoint = Endpoint(model="", settings=asking)
    if endpoint.base_url.rstrip("/") == OWN and not endpoint.key:
        raise UsageError(
            f"{asking.key_variable} is not set, and {OWN} asks for a key",
            hint="set it, or name your own server: model.base_url in nightlab.toml, or OPENAI_BASE_URL",
        )


def _check_command(command: str) -> None:
    try:
        words = shlex.split(command)
    except ValueError:
        raise UsageError(f"{command!r} has a quotation mark without its twin", hint=_HINT) from None
    if not words:
        raise UsageError("--proposer '' names nobody", hint=_HINT)
    if "\0" in command or shutil.which(words[0]) is None:
        raise UsageError(f"there is no command {words[0]!r}", hint=_HINT)
