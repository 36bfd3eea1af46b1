"""Who is asked for the next idea: the built-in search, models and agents share a night by one bandit.

Each is drawn by what its ideas have gained per minute of running and thinking (`search.credit`), a share of the draws
evenly. Who is out of tokens or money is not asked any more, who keeps failing rests for a while, and where nobody is
left the built-in search goes on. All of that is read from the ledger.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from random import Random

from nightlab.agent.proposing import accounts
from nightlab.agent.proposing.desk import Desk, Member, Question
from nightlab.agent.proposing.work import Pause, Steps, Work
from nightlab.history import History
from nightlab.search.commission import commission
from nightlab.search.credit import BUILT_IN, drawn_of, earned_by_proposers
from nightlab.types import Answer, Exhausted, ExperimentId, Failed, Files, Thinking

FIRST_WAIT_S, LONGEST_WAIT_S = 30.0, 600.0
"""Before one that fails is asked again where nobody can take over: doubled with each failure, so that a server may be
away for most of an hour before the night ends for it."""


class Mixed:
    """Several proposers as one (`loop.Proposer`).

    Args:
        desk: what they share.
        members: those that need time, each under a name of its own.
        with_built_in: whether the built-in search has its share; without, it only steps in.
        say: tells a person what has changed, once.
    """

    def __init__(
        self, desk: Desk, members: Sequence[Member], *, with_built_in: bool, say: Callable[[str], object]
    ) -> None:
        self._desk, self._members, self._with_built_in, self._say = desk, tuple(members), with_built_in, say
        self._told: set[str] = set()

    def propose(self, history: History, base: ExperimentId, files: Files, rng: Random) -> Answer | Thinking:
        """An answer of the built-in search, or somebody else's thinking."""
        state = rng.getstate()
        # What was asked in vain since changes the question, or the same draw would be met again and again.
        own = Random(f"{rng.random()}:{len(history.consulted)}")
        rng.setstate(state)  # so that the built-in search answers as it would alone
        plan = commission(history, base, own)

        def question(member: Member) -> Question:
            return Question(
                history=history,
                base=base,
                files=files,
                plan=plan,
                crashed=accounts.to_repair(history, base, member.name),
                is_probe=len(accounts.failures(history, member.name)) >= accounts.FAILURES,
            )

        solvent = [member for member in self._members if member.can_afford(question(member))]
        ready = [member for member in solvent if not accounts.rests(history, member.name)]
        self._tell(history, solvent, ready)
        mending = next((member for member in ready if question(member).crashed is not None), None)
        chosen = mending or self._drawn(history, base, ready, own)
        if chosen is not None:
            return Steps(self._asked(chosen, question(chosen)))
        answer = self._desk.built_in.propose(history, base, files, rng)
        others = ready or solvent
        if isinstance(answer, Exhausted) and others:
            member = own.choice(others)
            return self._insisting(member, question(member), answer)
        return answer

    def _drawn(self, history: History, base: ExperimentId, ready: Sequence[Member], rng: Random) -> Member | None:
        """Whose turn it is; None: the built-in search's."""
        by_name = {member.name: member for member in ready}
        names = [*([BUILT_IN] if self._with_built_in else []), *by_name]
        if not by_name:
            return None
        return by_name.get(drawn_of(earned_by_proposers(history, base, names), rng))

    def _asked(self, member: Member, question: Question, wait_s: float = 0.0) -> Generator[Work, None, Answer]:
        if wait_s > 0.0:
            yield Pause(wait_s, self._desk.clock)
        idea = yield from member.think(question)
        return Failed(reason=f"nothing came of asking {member.name}") if idea is None else idea

    def _insisting(self, member: Member, question: Question, nobody: Exhausted) -> Answer | Thinking:
        """Ask one that may be resting, because nobody else has anything: after a while, and not for ever."""
        count = len(accounts.failures(question.history, member.name))
        if count >= accounts.GIVEN_UP:
            return Exhausted(reason=f"{nobody.reason}; {member.name} failed {count} times in a row")
        over = count - accounts.FAILURES
        wait_s = min(FIRST_WAIT_S * 2.0**over, LONGEST_WAIT_S) if over >= 0 else 0.0
        return Steps(self._asked(member, question, wait_s))

    def _tell(self, history: History, solvent: Sequence[Member], ready: Sequence[Member]) -> None:
        """Say who is not asked any more and why, each thing once."""
        over = "the built-in search goes on" if not ready else "the others go on"
        for member in self._members:
            if member not in solvent:
                self._once(f"{member.name} has used what this night may cost; {over}", key=f"spent {member.name}")
            elif member not in ready:
                failed = accounts.failures(history, member.name)
                self._once(
                    f"{member.name} failed {len(failed)} times in a row and rests for "
                    f"{accounts.rests(history, member.name)} experiments; {over}. The last: {failed[-1].said.failure}",
                    key=f"rests {member.name} {len(failed)}",
                )

    def _once(self, text: str, *, key: str) -> None:
        if key not in self._told:
            self._told.add(key)
            self._say(text)
