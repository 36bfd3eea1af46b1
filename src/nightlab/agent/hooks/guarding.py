"""The policy of `agent.policy` as the hooks ask it."""

from __future__ import annotations

from pathlib import Path

from nightlab.agent.hooks.place import Checkout, Place


class ParsedPolicy:
    """Judges commands by what their words say."""

    def refusal(self, command: str, place: Place, cwd: Path, here: Checkout) -> str:
        """Why it must not run, and what to do instead; "" if it may."""
        return ""

    def trains(self, command: str, place: Place, cwd: Path, here: Checkout) -> bool:
        """Whether it truly runs the lab's command, and no door of ours records that run already."""
        return command.split(" > ", maxsplit=1)[0].rsplit("=", maxsplit=1)[-1].endswith(place.command)
