"""Where experiments stand: posterior means with 95 % intervals, never the luckiest run. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from nightlab import decide, judging
from nightlab.config import Settings
from nightlab.history import ExperimentState, History
from nightlab.judge import model, race
from nightlab.ledger.records import Record, Told
from nightlab.memory import FEWEST
from nightlab.report.nouns import Arm, Champion, Gain, NoiseOfRuns, Provisional
from nightlab.standing import weighed
from nightlab.types import Decision, ExperimentId, Purpose, Stand, Standing, Verdict

Level = tuple[float | None, float | None, float | None]
"""Posterior mean and 95 % interval, in units of the metric; None what is not known."""


@dataclass(frozen=True, slots=True)
class _Difference:
    """Champion minus baseline as a gain, with what its level needs of it."""

    gain: Gain
    half: float  # half the 95 % interval


class Levels:
    """Where experiments stand, with the lab's noise worked out once."""

    def __init__(
        self, history: History, settings: Settings, baseline: ExperimentId | None = None, told: Told | None = None
    ) -> None:
        """Work the noise out.

        Args:
            history: the lab's own.
            settings: the lab.
            baseline: what gains are measured against: that of the latest night, unless another is named.
            told: what is known by somebody's word only.
        """
        self._told = told or Told()
        self._history = history
        self._settings = settings
        self._sign = settings.metric.direction.sign
        self.baseline = baseline or (history.night.began.baseline if history.night else None)
        self._rows = judging.rows(history, settings, baseline=self.baseline)
        self._values: dict[ExperimentId, list[float]] = {}
        for row in self._rows:
            self._values.setdefault(row.arm, []).append(row.value)
        self._noise = model.noise(self._rows, settings.judge)

    @property
    def noise(self) -> NoiseOfRuns | None:
        if self._noise is None:
            return None
        counts = Counter(row.arm for row in model.distinct(self._rows))
        runs = sum(n for n in counts.values() if n > 1)
        return NoiseOfRuns(sd=self._noise.sd, low=self._noise.low, high=self._noise.high, runs=runs)

    def champion(self, steps: Sequence[Verdict]) -> Champion | None:
        """The proven champion; in a lab without a night the best hand-logged keep, which is provisional."""
        name = self._history.champion
        if name is None:
            best = self._best_told()
            if best is None:
                return None
            stand = self._by_word(best)
            return _as_champion(best, probability=stand.probability, needed=stand.runs_needed)
        promoted = steps[-1] if steps else None
        fresh = decide.headline(self._history, self._settings)
        difference, arm = self._over_baseline(name), self.arm(name)
        return _as_champion(
            arm,
            probability=promoted.probability if promoted else None,
            needed=0 if arm.standing == Standing.PROVEN else max(FEWEST - arm.runs, 1),
            because=promoted.because if promoted else "",
            search=difference.gain if difference else None,
            fresh=_from_comparison(fresh),
        )

    def provisional(self, champion: Champion | None) -> Provisional | None:
        """The best hand-logged keep, if its own value is better than the champion's level."""
        best = self._best_told()
        if best is None or champion is None or best.experiment == champion.experiment or champion.mean is None:
            return None
        assert best.mean is not None
        if self._sign * best.mean >= self._sign * champion.mean:
            return None
        stand = self._by_word(best)
        return Provisional(
            **{name: getattr(best, name) for name in Arm.__dataclass_fields__},
            probability=stand.probability,
            runs_needed=stand.runs_needed,
        )

    def _by_word(self, arm: Arm) -> Stand:
        """What would prove a keep by somebody's word."""
        assert arm.mean is not None
        name = ExperimentId(arm.experiment) if arm.experiment else None
        return weighed(self._history, self._settings, self._rows, name, self._sign * arm.mean)

    def arm(self, name: ExperimentId) -> Arm:
        """An experiment with its level over the runs that may steer; over its logged runs if it has no others."""
        state = self._history.state(name)
        values = self._values.get(name)
        if not values:
            logged = [r.value for r in state.finished(Purpose.LOG) if r.value is not None]
            level: Level = (sum(logged) / len(logged), None, None) if logged else (None, None, None)
            return self._arm(state, len(logged), Standing.PROVISIONAL, level)
        raced = (v.decision is Decision.KEEP and v.probability is not None for v in state.verdicts)
        promoted = self.baseline == name or any(raced)  # what a person made the champion has won no race
        proven = promoted and len(values) >= FEWEST
        return self._arm(state, len(values), Standing.PROVEN if proven else Standing.PROVISIONAL, self.level(name))

    def level(self, name: ExperimentId) -> Level:
        """Posterior mean and 95 % interval of an experiment's metric.

        With n own runs of mean y, m runs of the baseline of mean x, and the judge's shrunk difference d, the level
        given d is normal around (n y + m (x + d)) / (n + m): a value that was chosen for being low is pulled back
        towards the baseline as much as the judge pulls the gain.
        """
        values = self._values.get(name)
        if not values:
            return None, None, None
        n, y = len(values), sum(values) / len(values)
        difference = self._over_baseline(name)
        if difference is None or self.baseline is None:
            half = self._half_width(n)
        else:
            others = self._values[self.baseline]
            m, x = len(others), sum(others) / len(others)
            y = (n * y + m * (x - difference.gain.mean)) / (n + m)
            alone = self._half_width(n + m)
            half = None if alone is None else math.hypot(alone, m / (n + m) * difference.half)
        mean = self._sign * y
        return (mean, None, None) if half is None else (mean, mean - half, mean + half)

    def _over_baseline(self, name: ExperimentId) -> _Difference | None:
        """The gain over the night's baseline in the search, under the judge's prior."""
        base = self.baseline
        if base is None or base == name or name not in self._values or base not in self._values:
            return None
        belief = model.posterior(name, base, self._rows, self._settings.judge)
        if belief is None:
            return None
        counts = Counter(row.arm for row in model.distinct(self._rows))
        gain = Gain(
            mean=-belief.mean,
            low=-belief.high,
            high=-belief.low,
            probability=belief.better,
            runs=counts[name],
            runs_against=counts[base],
        )
        return _Difference(gain, 0.5 * (belief.high - belief.low))

    def _half_width(self, runs: int) -> float | None:
        """Half the 95 % interval of a mean of `runs` runs."""
        if self._noise is None:
            return None
        return student_975(self._noise.dof) * self._noise.sd / math.sqrt(runs)

    def stand(self, record: Record) -> Stand:
        """How far the experiment of a record with a value is proven."""
        name = ExperimentId(record.experiment) if record.experiment else None
        if name in self._history.experiments and name and self.arm(name).standing == Standing.PROVEN:
            verdict = self._history.state(name).verdict
            return Stand(standing=Standing.PROVEN, probability=verdict.probability if verdict else None)
        assert record.value is not None
        return weighed(self._history, self._settings, self._rows, name, self._sign * record.value)

    def _best_told(self) -> Arm | None:
        """The keep with the best value behind which there is somebody's word only: one run, so provisional."""
        best = self._told.best
        if best is None:
            return None
        return Arm(
            experiment=best.experiment or "",
            number=self._told.best_number,
            run=best.run,
            description=best.description,
            source_hash=best.source_hash,
            commit=best.commit,
            parent=None,
            runs=1,
            standing=Standing.PROVISIONAL.value,
            mean=best.value,
            low=None,
            high=None,
        )

    def _arm(
        self,
        state: ExperimentState,
        runs: int,
        standing: Standing,
        level: Level,
    ) -> Arm:
        experiment = state.experiment
        return Arm(
            experiment=experiment.id,
            number=state.number,
            run="",
            description=experiment.description,
            source_hash=experiment.source_hash,
            commit=experiment.commit,
            parent=experiment.parent,
            runs=runs,
            standing=standing.value,
            mean=level[0],
            low=level[1],
            high=level[2],
        )


def _as_champion(
    arm: Arm,
    *,
    probability: float | None = None,
    needed: int | None = 0,
    because: str = "",
    search: Gain | None = None,
    fresh: Gain | None = None,
) -> Champion:
    return Champion(
        **{name: getattr(arm, name) for name in Arm.__dataclass_fields__},
        probability=probability,
        runs_needed=needed,
        because=because,
        gain_in_search=search,
        gain_on_fresh_seeds=fresh,
    )


def _from_comparison(found: race.Comparison | None) -> Gain | None:
    if found is None:
        return None
    return Gain(
        mean=found.gain,
        low=found.low,
        high=found.high,
        probability=found.probability,
        runs=found.runs,
        runs_against=found.runs_against,
    )


def student_975(dof: float) -> float:
    """97.5 % point of Student's t: within 1 % for every dof >= 1 (Cornish-Fisher; exact at 1 and 2, drawn between)."""
    if dof <= 1.0:
        return 12.706
    if dof < 2.0:
        return float(12.706 ** (2.0 - dof) * 4.303 ** (dof - 1.0))
    if dof < 3.0:
        return float(4.303 ** (3.0 - dof) * 3.182 ** (dof - 2.0))
    z = 1.959964
    return (
        z
        + (z**3 + z) / (4 * dof)
        + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * dof**2)
        + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * dof**3)
    )
