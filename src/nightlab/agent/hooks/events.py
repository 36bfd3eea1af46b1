"""The neutral event and the neutral answer. What a client calls them is in `clients` and nowhere else.

Named tuples, since a hook is a process start and making a frozen dataclass costs twenty times as much.
"""

from __future__ import annotations

from typing import NamedTuple

SHELL, EDIT, OTHER = "shell", "edit", "other"


class Speaker(NamedTuple):
    """Who tells of the event, and where."""

    session: str
    cwd: str  # as the client says it; it need not exist
    agent: str = ""  # of a subagent; "" for the one that the user speaks to


class Tool(NamedTuple):
    """A tool that is about to be used, or was."""

    kind: str  # SHELL, EDIT or OTHER
    name: str  # the client's
    call: str = ""  # by which the client knows this use again; "" where it does not say
    command: str = ""  # of a shell
    cwd: str = ""  # directory that a shell's call names for itself, relative to the speaker's; "" for the speaker's
    paths: tuple[str, ...] = ()  # of files that an edit names


class SessionStarted(NamedTuple):
    """A session begins, goes on, or was compacted: what the agent knew of the lab may be gone."""

    speaker: Speaker
    source: str = "startup"


class Prompted(NamedTuple):
    """A person, or whoever stands for one, said something."""

    speaker: Speaker
    prompt: str


class BeforeTool(NamedTuple):
    speaker: Speaker
    tool: Tool


class AfterTool(NamedTuple):
    speaker: Speaker
    tool: Tool
    is_heard: bool = True  # whether the client passes an answer to this event on to its agent


class Stopping(NamedTuple):
    """The agent would end its turn."""

    speaker: Speaker
    last_message: str = ""
    is_willing: bool = True  # False: somebody or an error ended it, so that going on is nobody's wish


Event = SessionStarted | Prompted | BeforeTool | AfterTool | Stopping


class Answer(NamedTuple):
    """What the hook has to say; all of it "" is nothing."""

    deny: str = ""  # the tool must not be used: the reason, and what to do instead
    context: str = ""  # for the agent to know
    ask: str = ""  # what the agent is to do instead of stopping
    told: str = ""  # one line for the person who looks on


NOTHING = Answer()

OURS = "The autoresearch loop goes on by itself."
"""How every ask begins, so that a client that hands it on as a prompt is known not to speak for its user."""
