"""How the published five-minute recipe answers to its constants: a response surface from public runs.

Second order in the coordinates of `space.coordinate`, relative to the recipe: lines, squares and products of two
constants. `benchmarks/knob_effects.py` derives the numbers by ridge regression on the runs of public sessions on one
H200 (arXiv 2603.24647, MIT) that came out below 1.0 bpb; between halves of the sessions it ranks unseen runs with a
Spearman correlation of 0.8. It is where forecasts begin in a lab whose baseline is that recipe, and used nowhere
else; the lab's own runs correct it from the first one on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median

from nightlab.search.kinds import kind_of
from nightlab.search.knobs import literal
from nightlab.search.space import coordinate

ENOUGH = 0.75
"""Share of the recipe's constants that a baseline must have to be taken for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Surface:
    """Loss against the recipe's, by kind of constant."""

    recipe: Mapping[str, float]  # kind -> value
    lines: Mapping[str, float]  # kind -> bpb per doubling
    products: Mapping[tuple[str, str], float]  # two kinds, or one twice -> bpb per doubling squared


@dataclass(frozen=True, slots=True)
class Effects:
    """A surface laid over the constants of a lab."""

    surface: Surface
    kinds: Mapping[str, str]  # constant -> its kind, of those that stand as in the recipe

    @property
    def slope(self) -> float:
        """By how much a doubling usually moves the metric: the median over the constants, bpb; 0.0 where none does."""
        return median([abs(w) for kind, w in self.surface.lines.items() if kind in self.kinds.values()] or [0.0])

    def loss(self, values: Mapping[str, str]) -> float:
        """What the constants' values are expected to cost, bpb; negative is better. Others are passed over."""
        moved: dict[str, float] = {}
        for name, kind in self.kinds.items():
            value = literal(values[name]) if name in values else None
            if value is not None and not isinstance(value, bool | str):
                known = kind_of(name)
                moved[kind] = coordinate(known, value) - coordinate(known, self.surface.recipe[kind])
        straight = sum(self.surface.lines.get(kind, 0.0) * x for kind, x in moved.items())
        pairs = self.surface.products.items()
        return straight + sum(w * moved[a] * moved[b] for (a, b), w in pairs if a in moved and b in moved)


def laid_over(surface: Surface, baseline: Mapping[str, str]) -> Effects | None:
    """The surface for a lab whose baseline has those constants (name -> text); None if it is not the recipe."""
    kinds: dict[str, str] = {}
    for name, text in baseline.items():
        kind, value = kind_of(name).name, literal(text)
        wanted = surface.recipe.get(kind)
        if wanted is None or kind in kinds.values() or value is None or isinstance(value, bool | str):
            continue
        if math.isclose(value, wanted, rel_tol=1e-6):
            kinds[name] = kind
    return Effects(surface, kinds) if len(kinds) >= ENOUGH * len(surface.recipe) else None
