"""hillclimbanything 0.2.0: randomised blocks of baseline and candidate, an exact signed-rank test on their log ratios.

Driven: what `hca try` does between its build and its record (`hca.commands.try_._decide_blocks`: warm-up, blocks,
the two looks, the keep rule) and the A/A of `hca init` (`hca.measure.run_blocks`), with the command runner replaced by
one that writes the delivered value where the objective would. Not there: git worktrees, guards, and the limit of 1800 s
a try (22 runs of five minutes would never fit; a user raises it).

hca       as shipped. `hca init` runs the original against itself, 20 blocks and 2 warm-ups; its only use is to refuse
          a metric that is too noisy for the declared useful effect, and we go on as with `--force`. A try costs 22
          runs, or 42 when a promising one is extended.
screened  ours, in the rule's favour, for no night has room for many such tries: no A/A, and an idea gets its try only
          if its first run is better than the mean of the champion's known runs by the useful effect. That run counts as
          the candidate's warm-up.

The second argument is the useful effect, a percentage; an estimate below half of it is not kept.
"""

from __future__ import annotations

import math
import random
import shutil
from pathlib import Path
from statistics import fmean
from types import SimpleNamespace

from hca import measure, runner, spec, stats
from hca.commands import try_

from benchmarks.rival_servers.wire import Arm, Wire


class Player:
    def __init__(self, wire: Wire, scratch: Path, variant: str, useful: str) -> None:
        assert variant in {"hca", "screened"}, variant
        self._wire = wire
        self._screened = variant == "screened"
        self._spec = spec.parse_spec(
            {
                "task": {"name": "night", "editable": ["train.py"]},
                "objective": {"command": ["run"], "metric": "loss", "direction": "min", "useful_effect": useful},
            }
        )
        self.baseline_runs = 1 if self._screened else 2 * self._spec.limits.extend_to + 2
        self._out = scratch / "night"
        self._arms: dict[Path, Arm] = {}
        self._values: dict[Arm, list[float]] = {}
        self._dirs = scratch / "baseline", scratch / "candidate"
        runner.run = self._run

    def play(self) -> None:
        # The order of the arms in a block must not depend on the values; the same order every night does not.
        order = random.Random(0)
        self._values = {"baseline": [], "champion": [], "candidate": []}
        if self._screened:
            champion = [self._wire.value("baseline")]
        else:
            self._begin("baseline", "baseline")
            blocks = self._spec.limits.extend_to
            measure.run_blocks(self._spec, *self._dirs, blocks, order, {}, self._out, warmup=True)
            champion = self._values["baseline"]
        self._wire.answer("ok")
        while True:
            if self._screened:
                value = self._wire.value("candidate")
                if stats.log_ratio(fmean(champion), value, "min") < self._spec.objective.useful:
                    self._wire.answer("discard")
                    continue
                self._wire.hold(value)
            kept = self._try(order)
            champion = self._values["candidate"] if kept else champion + self._values["champion"]
            self._wire.answer("keep" if kept else "discard")

    def _begin(self, first: Arm, second: Arm) -> None:
        shutil.rmtree(self._out, ignore_errors=True)
        self._arms = dict(zip(self._dirs, (first, second), strict=True))
        self._values = {"baseline": [], "champion": [], "candidate": []}

    def _try(self, order: random.Random) -> bool:
        self._begin("champion", "candidate")
        session = SimpleNamespace(
            refresh=lambda: self._dirs, rng=order, adir=self._out, deadline=math.inf, prepare=None
        )
        return bool(try_._decide_blocks(self._spec, session, {})["verdict"] == "keep")

    def _run(
        self, argv: object, cwd: Path, out_dir: Path, name: str, timeout: float, env_extra: dict[str, str], **_: object
    ) -> runner.RunResult:
        """In the place of `hca.runner.run`."""
        arm = self._arms[cwd]
        value = self._wire.value(arm)
        if not name.startswith("warmup"):
            self._values[arm].append(value)
        Path(env_extra["HCA_RESULT_FILE"]).write_text(f"METRIC loss={value!r}\n", encoding="utf-8")
        return runner.RunResult((), 0, False, 1.0, out_dir / f"{name}.stdout", out_dir / f"{name}.stderr", "")


def player(wire: Wire, scratch: Path, arguments: list[str]) -> Player:
    variant, useful = arguments
    return Player(wire, scratch, variant, useful)
