"""A model behind an endpoint as a proposer: several ideas in a line each, then the edit of the one that the lab chose.

Two calls an idea where all goes well. What is known is refused between them, before it costs anything more; an edit
that does not fit is sent back twice at most; an idea that crashed by a slip is mended as an experiment of its own.
Answers are not deterministic; what is done with them is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from nightlab.agent.proposing import accounts, context, prompts
from nightlab.agent.proposing.accounts import EDIT, IDEAS, MEND, REPAIR, TRIES
from nightlab.agent.proposing.answers import Line, ideas_of, settings_in, without_thoughts
from nightlab.agent.proposing.desk import Desk, Question
from nightlab.agent.proposing.edits import edited
from nightlab.agent.proposing.endpoint import LETTERS, Call, Endpoint, Message, Reply
from nightlab.agent.proposing.work import Pause, Work
from nightlab.errors import EditError
from nightlab.report.text import plain
from nightlab.search.niches import Survey
from nightlab.types import Consulted, Idea

PREFIX = "openai:"
RETRIES = 2  # of a request that a busy or broken server refused
WAITS_S = (2.0, 8.0)  # before them, where the server asks for nothing else
LONGEST_WAIT_S = 60.0  # that a server may ask for; one that wants more is asked again as another thought, later
CALLS = 2  # that an idea needs; what they may cost at most must be left for one to be begun
KEPT = 60_000  # characters of an answer that are sent back to be mended
SHOWN = 100  # characters of an answer that a failure quotes

_T = TypeVar("_T")


class UnreadableError(Exception):
    """An answer is not what was asked for. It stays in this module: every failure ends as an event."""


class Model:
    """One model at one endpoint."""

    def __init__(self, desk: Desk, endpoint: Endpoint) -> None:
        self._desk, self._endpoint = desk, endpoint
        self._said = ""  # the last answer

    @property
    def name(self) -> str:
        return PREFIX + self._endpoint.model

    def can_afford(self, question: Question) -> bool:
        """Whether the night's caps leave enough for one more idea, whatever it is answered."""
        settings = self._endpoint.settings
        letters = sum(map(len, self._desk.source_to_change(question).values()))
        prompt = math.ceil((min(letters, context.SOURCE) + context.MOST) / LETTERS) + settings.answer_tokens
        used = self._desk.used(question.history)
        return accounts.fits(settings, used, CALLS * prompt, CALLS * settings.answer_tokens)

    def think(self, question: Question) -> Generator[Work, None, Idea | None]:
        """Have an idea, or mend the one that crashed."""
        desk, survey = self._desk, Survey(question.history)
        start = desk.source_to_change(question)
        known = prompts.lab(
            context.facts(question.history, desk.settings, question.base, survey), context.source(start)
        )
        chat: list[Message] = [_says("system", prompts.SYSTEM)]
        path = sorted(question.files)[0]
        if question.crashed is not None:
            crashed = question.crashed
            asked = prompts.repair(crashed.experiment.id, crashed.experiment.description, context.crash(crashed), path)
            chosen = Line(text=crashed.experiment.description, reason=crashed.experiment.hypothesis)
            return (yield from self._edit(question, [*chat, _says("user", f"{known}\n\n{asked}")], chosen, REPAIR))
        asked = prompts.ideas(context.task(question.history, question.base, question.plan, survey))
        chat.append(_says("user", f"{known}\n\n{asked}"))
        found = yield from self._ask(question, chat, IDEAS, lambda answer: self._chosen(question, answer))
        if not isinstance(found, Line):
            return None
        chat += [_says("assistant", self._said), _says("user", prompts.edit(found, path))]
        return (yield from self._edit(question, chat, found, EDIT))

    # --- ideas --------------------------------------------------------------------------------------------------

    def _chosen(self, question: Question, answer: str) -> tuple[Line, str]:
        """The best new idea of a list, and what is to be noted of the others."""
        lines = ideas_of(answer)
        if not lines:
            raise UnreadableError(f"no list of ideas in the answer: {plain(answer, SHOWN)!r}")
        fresh: list[Line] = []
        refused: list[str] = []
        for line in lines:
            why = self._desk.refusal(line, question.history, question.files)
            if why:
                refused.append(f"{line.text}: {why}")
            else:
                fresh.append(line)
        ranked, settled = self._ranked(question, fresh)
        refused += settled
        note = f"{len(refused)} of {len(lines)} refused: {plain('; '.join(refused), 600)}" if refused else ""
        if not ranked:
            raise UnreadableError(f"no idea is new; {note}")
        return ranked[0], note

    def _ranked(self, question: Question, lines: Sequence[Line]) -> tuple[list[Line], list[str]]:
        """The ideas in order, and why some are left out.

        The model's order holds; but of those that only set constants, for which the lab's own runs foretell something,
        the places are given by what is expected of them.
        """
        desk = self._desk
        desk.built_in.look_at(question.files)
        changes = {line: sets for line in lines if (sets := settings_in(line.text, desk.built_in.knobs))}
        if not changes:
            return list(lines), []
        found = desk.built_in.appraise(question.history, question.base, question.files, list(changes.values()))
        told = dict(zip(changes, found, strict=True))
        left_out = [f"{line.text}: too near to what was tried" for line, one in told.items() if one.is_settled]
        left = [line for line in lines if line not in told or not told[line].is_settled]
        best = iter(sorted((line for line in left if line in told), key=lambda line: -told[line].gain))
        return [next(best) if line in told else line for line in left], left_out

    # --- the edit -----------------------------------------------------------------------------------------------

    def _edit(
        self, question: Question, chat: list[Message], chosen: Line, purpose: str
    ) -> Generator[Work, None, Idea | None]:
        """Ask for the edit, and send it back while it does not fit."""
        path = sorted(question.files)[0]
        for attempt in range(1 + TRIES):
            found = yield from self._ask(
                question,
                chat,
                purpose if attempt == 0 else MEND,
                lambda answer: (self._read(question, answer, chosen), ""),
            )
            if found is None or isinstance(found, Idea):
                return found
            chat = [*chat, _says("assistant", self._said), _says("user", prompts.mend(str(found), path))]
        return None

    def _read(self, question: Question, answer: str, chosen: Line) -> Idea:
        """The idea of an answer with an edit."""
        files = edited(answer, self._desk.source_to_change(question), self._desk.may_edit)
        return self._desk.idea(
            question,
            files,
            proposer=self.name,
            description=chosen.text,
            hypothesis=chosen.reason,
        )

    # --- calls --------------------------------------------------------------------------------------------------

    def _ask(
        self, question: Question, chat: Sequence[Message], purpose: str, read: Callable[[str], tuple[_T, str]]
    ) -> Generator[Work, None, _T | EditError | UnreadableError | None]:
        """One answer, read; what is wrong with it; or None where there is none to be had."""
        for wait_s in (*WAITS_S, None) if not question.is_probe else (None,):
            if not self._fits(question, chat):
                self._record(purpose, Reply(failure="what is left of the night's tokens or money is not enough for it"))
                return None
            call = Call(self._endpoint, chat)
            try:
                yield call
            except GeneratorExit:
                call.cancel()
                self._record(purpose, call.reply, cut_off=True)
                raise
            reply = call.reply
            if not reply.failure:
                return self._answered(purpose, reply, read)
            self._record(purpose, reply)
            asked_s = reply.wait_s if reply.wait_s is not None else wait_s
            if not reply.again or wait_s is None or asked_s is None or asked_s > LONGEST_WAIT_S:
                return None
            yield Pause(asked_s, self._desk.clock)
        return None

    def _answered(
        self, purpose: str, reply: Reply, read: Callable[[str], tuple[_T, str]]
    ) -> _T | EditError | UnreadableError:
        answer = without_thoughts(reply.text)
        self._said = answer[:KEPT]
        try:
            found, note = read(answer)
        except (EditError, UnreadableError) as exc:
            self._record(purpose, reply, failure=plain(str(exc.args[0]), 600))
            return exc
        self._record(purpose, reply, note=note)
        return found

    def _fits(self, question: Question, chat: Sequence[Message]) -> bool:
        letters = sum(len(message["content"]) for message in chat)
        settings = self._endpoint.settings
        used = self._desk.used(question.history)
        return accounts.fits(settings, used, math.ceil(letters / LETTERS), settings.answer_tokens)

    def _record(self, purpose: str, reply: Reply, *, failure: str = "", note: str = "", cut_off: bool = False) -> None:
        self._desk.record(
            Consulted(
                proposer=self.name,
                purpose=purpose,
                seconds=reply.seconds,
                tokens_in=reply.tokens_in,
                tokens_out=reply.tokens_out,
                estimated=reply.estimated,
                money=self._desk.cost(reply.tokens_in, reply.tokens_out),
                failure=failure or reply.failure,
                cut_off=cut_off,
                note=note,
            )
        )


def _says(role: str, content: str) -> Message:
    return {"role": role, "content": content}
