"""The numeric lane: the champion's numbers handed to Optuna, with all that this lab has measured.

TPE (Bergstra et al. 2011, multivariate) and CMA-ES warm-started from the lab's runs (Nomura et al. 2021). Each asks
for one configuration; where it differs from the base it becomes moves of constants. In the published comparison on
the five-minute recipe they overtake hand-made moves after about a hundred runs (statistics.md, section 5), so the lane
is one mechanism among others, and the screen decides whether what it asks for is tried.
"""

from __future__ import annotations

import math
import random
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from nightlab.history import History
from nightlab.search.forecasts import mean_loss
from nightlab.search.kinds import Scale
from nightlab.search.knobs import Knob, Value, literal, written
from nightlab.search.moves import is_power_of_two, move_to
from nightlab.search.pieces import Piece
from nightlab.search.space import Places, origin
from nightlab.types import Direction, ExperimentId

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

REACHES = 8.0  # ratio to the base's value within which a number is sought
MIN_TRIALS = 10  # measured configurations before the lane opens: TPE's own number of random ones
MAX_TRIALS = 250  # the latest that are handed over
EXACT = 2**53  # integers up to here are exact as floats, which the samplers reckon with
SAME = 0.02  # ratio by which a number must differ from the base's to count as moved

Trial = tuple[dict[str, Value], float]
"""Values of constants, and the loss measured with them."""


def asked(knobs: Sequence[Knob], trials: Sequence[Trial], rng: random.Random) -> tuple[Piece, ...]:
    """The moves to what a sampler asks for; empty if it has nothing to go by, or nothing new.

    Args:
        knobs: the base's constants.
        trials: what was measured, oldest first; values outside the range are passed over.
        rng: chooses the sampler and seeds it.
    """
    # a range of one value is no question, and CMA-ES refuses runs that were told with one
    space = {k.name: found for k in knobs if (found := _distribution(k)) is not None and not found.single()}
    if len(space) < 2 or len(trials) < MIN_TRIALS:
        return ()
    powers = {knob.name for knob in knobs if is_power_of_two(knob)}  # sought, and told, by their exponents
    told = [(_numbers(values, space, powers), loss) for values, loss in trials[-MAX_TRIALS:]]
    answer = _ask(space, told, rng)
    wanted = {n: 2 ** int(v) if n in powers else v for n, v in answer.items()}
    pieces = []
    for knob in knobs:
        if knob.name in wanted and not _is_same(knob.value, wanted[knob.name]):
            text = written(knob, wanted[knob.name])
            move = move_to(knob, text, wanted[knob.name])
            if move is not None:
                pieces.append(Piece(move))
    return tuple(pieces)


def measured(
    history: History, base: ExperimentId, knobs: Sequence[Knob], places: Places, direction: Direction
) -> list[Trial]:
    """Numbers of the experiments on the base's line, as its constants have them, with their losses."""
    before = origin(history, base)
    trials: list[Trial] = []
    for state in history.line_of(base):
        loss = mean_loss(state, direction)
        if loss is None or state.experiment.plan.without is not None:
            continue
        point = places.of(history, state.experiment.id)
        texts = {knob.name: point.values.get(knob.name, before.get(knob.name, knob.text)) for knob in knobs}
        values: dict[str, Value] = {name: value for name, text in texts.items() if (value := literal(text)) is not None}
        trials.append((values, loss))
    return trials


def _numbers(values: dict[str, Value], space: Collection[str], powers: Collection[str]) -> dict[str, Value]:
    """What was sought, as the samplers are told it; a text where the base has a number is none of it."""
    numbers = {n: v for n, v in values.items() if n in space and not isinstance(v, bool | str)}
    return {n: _exponent(v) if n in powers else v for n, v in numbers.items()}


def _ask(space: dict[str, BaseDistribution], trials: Sequence[Trial], rng: random.Random) -> dict[str, Value]:
    import warnings

    import optuna
    from optuna.samplers import BaseSampler, CmaEsSampler, TPESampler
    from optuna.trial import FrozenTrial, create_trial

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    known: list[FrozenTrial] = []
    for values, loss in trials:
        inside = {n: v for n, v in values.items() if _is_inside(space[n], v)}
        if len(inside) == len(space):
            known.append(create_trial(params=inside, distributions=space, value=loss))
    if len(known) < MIN_TRIALS:
        return {}
    seed = rng.getrandbits(31)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # both are marked experimental
        sampler: BaseSampler
        if rng.random() < 0.5:
            sampler, told = TPESampler(seed=seed, multivariate=True, n_startup_trials=MIN_TRIALS), known
        else:
            sampler, told = CmaEsSampler(seed=seed, source_trials=known, n_startup_trials=0), []
        study = optuna.create_study(sampler=sampler)
        study.add_trials(told)
        if not told:  # the first generation needs a space to sample from, which only a finished trial tells
            study.add_trial(known[-1])
        try:
            return dict(study.ask(space).params)
        except ValueError:  # a sampler that cannot make anything of these runs has nothing to ask for
            return {}


def _is_inside(distribution: BaseDistribution, value: Value) -> bool:
    try:
        return distribution._contains(distribution.to_internal_repr(value))
    except ValueError:  # zero and what is below have no place on a logarithmic scale
        return False


def _distribution(knob: Knob) -> BaseDistribution | None:
    """The range of a number; None for what is no number, or has no scale."""
    from optuna.distributions import FloatDistribution, IntDistribution

    value = knob.value
    if isinstance(value, bool | str) or value < 0:
        return None
    if is_power_of_two(knob):
        exponent, reach = _exponent(value), _exponent(int(REACHES))
        return IntDistribution(max(0, exponent - reach), exponent + reach)
    if isinstance(value, int):
        if not 2 <= value <= EXACT / REACHES:
            return None
        return IntDistribution(max(1, math.ceil(value / REACHES)), math.floor(value * REACHES), log=True)
    if knob.kind.scale is Scale.COMPLEMENT and 0.5 <= value < 1:
        return FloatDistribution(max(0.0, 1 - (1 - value) * REACHES), 1 - (1 - value) / REACHES)
    if knob.kind.scale is Scale.COMPLEMENT and value < 0.5:  # below one as well, whatever the ratio
        high = min(value * REACHES, 1 - 0.5 / REACHES) if value else 1 - 0.5 / REACHES
        return FloatDistribution(0.0 if knob.kind.off or not value else value / REACHES, high)
    if knob.kind.off or knob.kind.scale is Scale.FRACTION:
        high = value * REACHES if value else 2 * max(knob.kind.enable)
        return FloatDistribution(0.0, min(1.0, high) if knob.kind.scale is Scale.FRACTION and value <= 1 else high)
    return FloatDistribution(value / REACHES, value * REACHES, log=True) if value > 0 else None


def _exponent(value: Value) -> int:
    """Of the nearest power of two."""
    assert not isinstance(value, bool | str)
    return round(math.log2(max(value, 1)))


def _is_same(old: Value, new: Value) -> bool:
    if isinstance(old, bool | str) or isinstance(new, bool | str):
        return old == new
    return math.isclose(old, new, rel_tol=SAME, abs_tol=1e-12)
