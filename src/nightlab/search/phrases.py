"""Sentences for people: what a move is called, and what it is hoped to do."""

from __future__ import annotations

import math

from nightlab.search.moves import Move, Way

HOPES: dict[str, tuple[str, str]] = {  # kind -> what more, and what less of it may do
    "batch": ("A larger batch averages out gradient noise.", "A smaller batch buys more optimiser steps."),
    "device-batch": ("More rows at a time use the device better.", "Fewer rows at a time fit caches better."),
    "accumulation": ("A larger batch averages out gradient noise.", "A smaller batch buys more optimiser steps."),
    "sequence": ("Longer rows let tokens see further back.", "Shorter rows make attention cheaper per token."),
    "depth": ("More layers represent more.", "Fewer layers leave budget for more steps."),
    "width": ("A wider model represents more.", "A narrower model leaves budget for more steps."),
    "mlp": ("A wider MLP represents more.", "A narrower MLP leaves budget for more steps."),
    "heads": ("Larger or more heads can attend to more.", "Smaller or fewer heads cost less and specialise."),
    "warmup": ("A gentler start avoids early damage.", "A short budget has no steps to spare for a slow start."),
    "warmdown": ("A longer decay settles the loss further.", "More of the budget at the full rate learns more."),
    "final-lr": ("A floor keeps the last steps useful.", "Ending at a smaller rate settles the loss further."),
    "weight-decay": ("Stronger decay keeps weights small and updates large.", "A short run hardly overfits."),
    "momentum": ("Longer memory averages out gradient noise.", "Shorter memory follows the gradient sooner."),
    "beta1": ("Longer memory averages out gradient noise.", "Shorter memory follows the gradient sooner."),
    "beta2": ("A longer average of squares is steadier.", "A shorter average of squares adapts sooner."),
    "eps": ("A larger epsilon tames rare, tiny gradients.", "A smaller epsilon adapts rare parameters fully."),
    "softcap": ("A looser cap lets confident predictions through.", "A tighter cap regularises the logits."),
    "rope": ("Longer wavelengths tell distant positions apart.", "Shorter wavelengths tell near positions apart."),
    "init": ("A larger start breaks symmetry sooner.", "A smaller start leaves more to the data."),
    "orthogonalise": ("More iterations make a truer direction.", "Fewer iterations leave budget for more steps."),
    "grad-clip": ("A looser clip keeps the gradient's size.", "A tighter clip holds rare large gradients back."),
    "dropout": ("Dropout regularises.", "A short run hardly overfits."),
}
RATES = ("The rate may be too small for this budget.", "The rate may be too large to settle.")


def describe(move: Move) -> str:
    """One short line: "halve TOTAL_BATCH: 2048 -> 1024"."""
    return f"{_verb(move)} {move}"


def _verb(move: Move) -> str:
    if move.way is Way.SWITCH:
        return "switch"
    if move.value == 0:
        return "turn off"
    if move.knob.value == 0:
        return "turn on"
    up = move.way is Way.UP
    old, new = move.knob.value, move.value
    if isinstance(old, int | float) and isinstance(new, int | float) and old * new > 0:
        for ratio, verbs in ((2, ("double", "halve")), (4, ("quadruple", "quarter"))):
            if math.isclose(max(new / old, old / new), ratio, rel_tol=0.01):
                return verbs[0] if abs(new) > abs(old) else verbs[1]
    return "raise" if up else "lower"


def hope(move: Move) -> str:
    """Why the move may pay: one sentence."""
    if move.way is Way.SWITCH:
        return f"Nothing says that {move.text} is worse for {move.knob.name} than {move.knob.text}."
    kind = move.knob.kind.name
    more, less = HOPES.get(kind) or (RATES if kind.endswith("lr") else ("", ""))
    fallback = f"{move.knob.name} may lie too {'low' if move.way is Way.UP else 'high'} for this budget."
    return (more if move.way is Way.UP else less) or fallback
