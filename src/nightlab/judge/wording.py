"""What packets and reports say of chances and of what is still to be shown, in the same plain words. Loads no numpy."""

from __future__ import annotations

import math

from nightlab.types import Stand, Standing

SURE = 10_000  # odds beyond which "1 chance in ..." is not spelled out
FAR = 16  # runs beyond which nobody says how many would prove a thing; `race.runs_needed` looks no farther


def chance(probability: float) -> str:
    """The chance that a gain is none, to two digits: "about 1 chance in 40"."""
    wrong = 1.0 - probability
    if wrong * SURE < 1.0:
        return f"less than 1 chance in {SURE:,}"
    odds = 1.0 / wrong
    step = 10 ** max(math.floor(math.log10(odds)) - 1, 0)
    return f"about 1 chance in {round(odds / step) * step:,}"


def more_runs(needed: int | None) -> str:
    """How many runs are lacking: "1 more run", "2 more runs", "more than 16 more runs"."""
    if needed is None:
        return f"more than {FAR} more runs"
    return f"{needed} more run" if needed == 1 else f"{needed} more runs"


def chance_of_noise(probability: float) -> str:
    """What a probability means for whoever reads it: never more than it says."""
    if probability > 0.5:
        return f"{chance(probability)} of being noise"
    return "more likely noise than not"


def stand(of: Stand) -> str:
    """A standing in words: "proven, about 1 chance in 30 of being noise"; "provisional, needs 2 more runs"."""
    noise = "" if of.probability is None else f", {chance_of_noise(of.probability)}"
    if of.standing is Standing.PROVEN:
        return f"proven{noise}"
    return f"provisional, needs {more_runs(of.runs_needed)}{noise}"
