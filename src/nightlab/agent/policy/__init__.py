"""May an agent run this shell command? The polite half of the lab's guards.

`judge` parses the command as bash would (`shell`), follows it through the programs that run others down to what it
would write, delete, install, publish or train (`machine` and the tables of programs), and holds that against the rules
(`rules`). What it cannot read in a place that matters it refuses with a way out. It runs nothing but the parser, and
that only where the command is more than a few plain words, and reads only what the ground lets it read. Whoever gets
past it still meets hashes of protected files and clean workspaces.
"""

from __future__ import annotations

from nightlab.agent.policy.builtins import BUILTINS
from nightlab.agent.policy.filing import FILING
from nightlab.agent.policy.foreign import FOREIGN
from nightlab.agent.policy.gitting import GIT
from nightlab.agent.policy.ground import ground_of
from nightlab.agent.policy.machine import Machine
from nightlab.agent.policy.nouns import CONTROL, Deny, Ground, Opaque, Refusal
from nightlab.agent.policy.packages import PACKAGES
from nightlab.agent.policy.pythons import PYTHONS
from nightlab.agent.policy.rules import Rules
from nightlab.agent.policy.runners import RUNNERS
from nightlab.agent.policy.shell import parse
from nightlab.agent.policy.state import Streams
from nightlab.agent.policy.syntax import ParserError, UnreadableError
from nightlab.agent.policy.values import cleaned

__all__ = ["CONTROL", "HANDLERS", "Deny", "Ground", "Refusal", "ground_of", "judge"]

HANDLERS = {**FILING, **FOREIGN, **PACKAGES, **GIT, **PYTHONS, **RUNNERS, **BUILTINS}


def judge(command: str, ground: Ground) -> Refusal | None:
    """Why `command` may not run on this ground, or None where it may. Never raises."""
    if not ground.enabled:
        return None
    machine = Machine(ground, HANDLERS)
    rules = Rules(ground, machine.places)
    try:
        machine.run(parse(cleaned(command)), Streams())
    except (UnreadableError, RecursionError) as exc:
        why = str(exc) if isinstance(exc, UnreadableError) else "it is nested too deeply"
        return rules.first([*machine.acts, Opaque(f"as a shell command, since {why}")])
    except ParserError as exc:
        return rules.first(machine.acts) or Refusal(
            "unreadable",
            f"The parser of shell commands, shfmt, {exc}, so only plain words can be judged.",
            "Run `nightlab agents doctor`, which says how to mend it.",
        )
    return rules.first(machine.acts)
