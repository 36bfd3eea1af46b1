"""Moves: the values a knob could take next, on a scale that suits it.

Sizes are always ratios: of the value, or of its distance to one for momenta and averages. `up` and `down` are the
direction of the value itself, so that "momentum up" means more momentum.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from nightlab.search.kinds import Scale
from nightlab.search.knobs import Knob, Value, written

STEPS = (2.0, 1.5, 4.0, 1.25)
"""Ratios that a knob is moved by, before finer ones."""

WIDEST = 8.0
"""No single random move is larger than this ratio."""

FARTHEST = 32.0  # the same for rates and other real numbers, whose baseline may lie an order of magnitude off
DRAWS = 4  # of a move's size before a knob is left alone: integers often round to where they are
OFF_SHARE = 0.15  # of the moves of a knob that may be zero go there


class Way(StrEnum):
    UP = "up"
    DOWN = "down"
    SWITCH = "switch"  # another value without an order


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One knob, one new value."""

    knob: Knob
    value: Value
    text: str  # the new value as it will be written
    way: Way
    size: float  # the ratio moved by, above one; infinite to or from zero, one for a switch

    def __str__(self) -> str:
        return f"{self.knob.name}: {self.knob.text} -> {self.text}"


def way_of(old: Value, new: Value) -> Way:
    """The direction of a change."""
    if isinstance(old, bool | str) or isinstance(new, bool | str) or old == new:
        return Way.SWITCH
    return Way.UP if new > old else Way.DOWN


def size_of(knob_scale: Scale, old: Value, new: Value) -> float:
    """The ratio between two numbers on the scale; one for what has no order, infinite to, from or across zero."""
    if isinstance(old, bool | str) or isinstance(new, bool | str):
        return 1.0
    a, b = (1.0 - old, 1.0 - new) if _on_complement(knob_scale, old) else (float(old), float(new))
    return math.inf if a * b <= 0 else max(a / b, b / a)


def moves(knob: Knob) -> tuple[Move, ...]:
    """The coarse moves of a knob, most ordinary first. None of them is out of the knob's own range."""
    value = knob.value
    if isinstance(value, bool):
        return _made(knob, [not value])
    if isinstance(value, str):
        return _made(knob, knob.choices or _patterns(value, knob.alphabet))
    if value == 0:
        return _made(knob, [1] if _is_count(knob) else list(knob.kind.enable))
    targets = [_scaled(knob, factor) for step in STEPS for factor in (step, 1 / step)]
    if _is_count(knob) and abs(value) < 32 and not is_power_of_two(knob):
        targets = [value + 1, value - 1, *targets]
    if knob.kind.off and not _is_count(knob):
        targets.append(0.0)
    return _made(knob, targets)


def drawn_move(knob: Knob, rng: random.Random, width: float) -> Move | None:
    """A move of a size drawn on the knob's scale; None if none came of a few draws.

    Args:
        knob: what moves.
        rng: of this draw.
        width: standard deviation of the step, in doublings.
    """
    value = knob.value
    if isinstance(value, bool | str):
        coarse = moves(knob)
        return rng.choice(coarse) if coarse else None
    for _ in range(DRAWS):
        made = _made(knob, [_drawn_target(knob, rng, width)])
        if made:
            return made[0]
    return None


def _drawn_target(knob: Knob, rng: random.Random, width: float) -> Value:
    value = knob.value
    assert not isinstance(value, bool | str)
    if not _is_count(knob) and value == 0:
        low, high = min(knob.kind.enable), max(knob.kind.enable)
        return math.exp(rng.uniform(math.log(low / 2), math.log(high * 2)))
    if not _is_count(knob) and knob.kind.off and rng.random() < OFF_SHARE:
        return 0.0
    # Student's t with two degrees of freedom: most steps are ordinary, some reach for another order of magnitude
    step = width * rng.gauss(0.0, 1.0) / math.sqrt(rng.expovariate(1.0) + 1e-9)
    widest = math.log2(WIDEST if _is_count(knob) else FARTHEST)
    step = min(max(step, -widest), widest)
    if _is_count(knob) and (is_power_of_two(knob) or abs(value) < 32):
        whole = math.ceil(abs(step))  # at least the next one
        if is_power_of_two(knob):
            return _scaled(knob, 2.0 ** math.copysign(whole, step))
        return value + int(math.copysign(whole, step))
    return _scaled(knob, 2.0**step if value > 0 else 2.0**-step, fine=True)


def switched_off(knob: Knob) -> Move | None:
    """The move that does without what the constant stands for; None where zero or False does not mean that."""
    value = knob.value
    if value is True:
        return next(iter(_made(knob, [False])), None)
    if isinstance(value, bool | str) or value == 0 or not knob.kind.off or _is_count(knob):
        return None
    return next(iter(_made(knob, [0.0])), None)


def halfway(move: Move) -> Move | None:
    """The move half as far on the knob's scale; None where there is nothing between."""
    old, new = move.knob.value, move.value
    if isinstance(old, bool | str) or isinstance(new, bool | str) or old * new <= 0:
        return None
    if _on_complement(move.knob.kind.scale, old):
        target: Value = 1.0 - math.sqrt((1.0 - old) * (1.0 - new)) if new < 1 else new
    else:
        middle = math.copysign(math.sqrt(old * new), old)
        target = round(middle) if _is_count(move.knob) else middle
    return next((half for half in _made(move.knob, [target]) if half.text != move.text), None)


def move_to(knob: Knob, text: str, value: Value) -> Move | None:
    """The move to that very value; None if it is where the knob stands."""
    if text == knob.text or value == knob.value:
        return None
    size = size_of(knob.kind.scale, knob.value, value)
    return Move(knob=knob, value=value, text=text, way=way_of(knob.value, value), size=size)


def _made(knob: Knob, targets: Iterable[Value]) -> tuple[Move, ...]:
    """Moves to those targets that are within range and are written differently from what stands there."""
    out: dict[str, Move] = {}
    for target in targets:
        text = written(knob, target)
        value = _read(text, target)
        if text != knob.text and value != knob.value and _allowed(knob, value):
            size = size_of(knob.kind.scale, knob.value, value)
            out.setdefault(text, Move(knob=knob, value=value, text=text, way=way_of(knob.value, value), size=size))
    return tuple(out.values())


def _read(text: str, target: Value) -> Value:
    """What the written text really says: three digits, not sixteen."""
    return float(text) if isinstance(target, float) else target


def _allowed(knob: Knob, value: Value) -> bool:
    old = knob.value
    if isinstance(value, bool | str) or isinstance(old, bool | str):
        return True
    if _is_count(knob):
        return (value >= 1) if old > 0 else (value != 0)
    if value == 0:
        return knob.kind.off
    inside = _is_fraction(knob) or (knob.kind.scale is Scale.COMPLEMENT and isinstance(old, float) and 0 <= old < 1)
    return (value > 0) == (old >= 0) and (not inside or abs(value) <= (1.0 if _is_fraction(knob) else 0.9999))


def _scaled(knob: Knob, factor: float, *, fine: bool = False) -> Value:
    """The knob's value times `factor` on its scale, in the numbers that suit it."""
    value = knob.value
    assert not isinstance(value, bool | str)
    if _on_complement(knob.kind.scale, value):
        return 1.0 - (1.0 - value) / factor
    target = value * factor
    if not _is_count(knob):
        return float(target)
    size = abs(int(value))
    if is_power_of_two(knob) or (size >= 32 and size & (size - 1) == 0 and not fine):
        exponent = max(0, round(math.log2(max(1.0, abs(target)))))
        return int(math.copysign(2**exponent, value))
    grain = _grain(size)
    return int(math.copysign(max(grain, round(abs(target) / grain) * grain), value))


def _grain(size: int) -> int:
    """What an integer's finer values are multiples of: an eighth of its largest power of two, so that shapes divide."""
    return max(1, (size & -size) // 8)


def _is_count(knob: Knob) -> bool:
    """An integer that counts something. `WEIGHT_DECAY = 0` and `WARMDOWN_RATIO = 1` are floats written short."""
    if not isinstance(knob.value, int):
        return False
    return abs(knob.value) > 1 or not (knob.kind.off or knob.kind.scale is not Scale.LOG)


def _is_fraction(knob: Knob) -> bool:
    value = knob.value
    unit = not isinstance(value, bool | str) and 0 <= value <= 1
    return unit and (knob.kind.scale is Scale.FRACTION or knob.kind.name == "fraction")


def _on_complement(scale: Scale, value: Value) -> bool:
    return scale is Scale.COMPLEMENT and isinstance(value, float) and 0.5 <= value < 1


def is_power_of_two(knob: Knob) -> bool:
    """Written as `2**k`, or a batch or sequence that is one: the loaders and kernels expect it to stay one."""
    value = knob.value
    if not isinstance(value, int) or value <= 0 or value & (value - 1):
        return False
    return "**" in knob.text or "<<" in knob.text or knob.kind.family == "batch-size"


def _patterns(value: str, alphabet: str) -> list[str]:
    """Neighbours of a pattern such as "SSSL": one letter changed, added or dropped, turned round, all one letter."""
    out = [value[:i] + letter + value[i + 1 :] for i in range(len(value)) for letter in alphabet]
    out += [letter * len(value) for letter in alphabet]
    out += [value[:i] + value[i + 1 :] for i in range(len(value)) if len(value) > 1]
    out += [letter + value for letter in alphabet] + [value[1:] + value[:1], value[::-1]]
    return list(dict.fromkeys(out))
