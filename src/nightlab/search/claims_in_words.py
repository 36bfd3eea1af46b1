"""Conjectures as sentences: one wording for the terminal, the report, plans and prompts. Pure."""

from __future__ import annotations

from nightlab.types import Conjecture


def in_words(claim: Conjecture) -> str:
    """One sentence, with the claim's id, what it rests on and what contradicts it."""
    return f"[{claim.id}] {_claimed(claim)}{_rests_on(claim)}."


def _claimed(claim: Conjecture) -> str:
    if claim.is_no_fly:
        what = claim.change.removeprefix("crash: ")
        again = "; the base has changed since, so it may fly again" if claim.has_expired else ""
        return f"crashes with {what}{again}"
    if claim.gain is None or claim.low is None or claim.high is None:
        return f"nothing was promoted on this base for {len(claim.support)} experiments: look further afield or combine"
    interval = f"{_number(claim.gain)}, 95 % interval {_number(claim.low)} to {_number(claim.high)}"
    if claim.low > 0.0:
        return f"{claim.change} help ({interval})" if _is_plural(claim) else f"{claim.change} helps ({interval})"
    if claim.high < 0.0:
        return f"{claim.change} hurt ({interval})" if _is_plural(claim) else f"{claim.change} hurts ({interval})"
    lean = "lean to help" if claim.gain > 0.0 else "lean to hurt"
    verb = lean if _is_plural(claim) else lean.replace("lean", "leans")
    return f"{claim.change} {verb}, not clear yet ({interval})"


def _is_plural(claim: Conjecture) -> bool:
    return claim.change.endswith(" changes") or claim.change.startswith("ideas by ")


def _rests_on(claim: Conjecture) -> str:
    against = f", {len(claim.against)} against" if claim.against else ""
    return "" if claim.change == "plateau" else f"; {len(claim.support)} for{against}"


def _number(value: float) -> str:
    return f"{value:+.3g}"
