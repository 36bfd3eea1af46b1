"""How good are the decisions of a night? Every way of keeping in the same nights, over worlds whose truth is known.

    uv run python -m benchmarks.decisions [--nights 400] [--seed 11] [--replay FILE.tsv] [--cells NAME,...]
        [--python autojudge=PATH ...]

A cell is a world and a policy. The nights of all cells share ideas, drift and seeds (common random numbers). `told` is
the first guess of one run's standard deviation that the lab is given, relative to the true one; "blind" is given none.
FILE is a replay of reruns of one unchanged source, by `nightlab simulate --convert`. With --python the acceptance
rules of other packages play the reference world too (see benchmarks/rivals.py for how to install them).
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each night is one thread's work
os.environ.setdefault("OMP_NUM_THREADS", "1")

import msgspec

from benchmarks.rivals import Acceptor, acceptors, python_option
from nightlab.config import JudgeSettings
from nightlab.sim.night import BASELINE
from nightlab.sim.policies import BY_NAME, Chain, Played, Policy, nightlab
from nightlab.sim.replay import Replay, Replayed, read_replay
from nightlab.sim.tally import Estimate, Row, mean, tally
from nightlab.sim.world import Luck, World, load_world
from nightlab.types import ExperimentId

REFERENCE = load_world("reference")
SIGMA = math.hypot(REFERENCE.noise.drift, REFERENCE.noise.white, REFERENCE.noise.seed)  # of one run
SPEED = 0.058  # bpb for a log of speed: what a five-minute lab is told (docs/nightlab-toml.md)


def _with(**changes: dict[str, object]) -> World:
    """The reference world with some of its numbers changed."""
    parts = {name: msgspec.structs.replace(getattr(REFERENCE, name), **values) for name, values in changes.items()}
    return msgspec.structs.replace(REFERENCE, **parts)


def _scaled(factor: float) -> World:
    noise = REFERENCE.noise
    return _with(noise={"drift": factor * noise.drift, "white": factor * noise.white, "seed": factor * noise.seed})


WORLDS = {
    "reference": REFERENCE,
    "probe": _with(probe={"r2": 0.8}),
    "half": _scaled(0.5),
    "double": _scaled(2.0),
    "seeds": _with(noise={"seed": 2.0 * REFERENCE.noise.seed}),
    "rare": _with(effects={"helps": 0.25 * REFERENCE.effects.helps}),
    "removals": REFERENCE,
}


def told(factor: float = 1.0, **other: object) -> JudgeSettings:
    """A lab that is told `factor` times the reference world's noise."""
    return msgspec.convert({"noise": factor * SIGMA, "ablate": False, **other}, JudgeSettings)


LABS = {
    "blind": JudgeSettings(ablate=False),
    "told": told(),
    "told half": told(0.5),
    "told double": told(2.0),
    "told, gpu-5min": told(prior="gpu-5min"),
    "told, explore": told(promote=0.9),
    "told, probe": told(speed_effect=SPEED),
    "blind, removals": JudgeSettings(),
}
EARLY = " + early"

CELLS = (
    *(("reference", name) for name in ("greedy", "threshold", "discovery", "memorylab", "blind", "told", "told half")),
    *(("reference", name) for name in ("told double", "told, gpu-5min", "told, explore", "told + early")),
    *(("probe", name) for name in ("greedy", "told, probe", "told, probe + early")),
    *(("A/A raw", name) for name in ("greedy", "blind")),
    ("A/A probe", "blind"),
    *((world, name) for world in ("half", "double", "seeds", "rare") for name in ("greedy", "told")),
    ("removals", "greedy"),
    ("removals", "blind, removals"),
)


def rival_night(acceptor: Acceptor, world: World, luck: Luck) -> Played:
    """A night that keeps what a rule of another package keeps. A run that is made again takes a fresh seed."""
    acceptor.begin()
    chain, at, turn, tried, again = Chain([0.0], []), 0.0, 0, 0, 0
    seeds: dict[str, int] = {}
    champion = BASELINE

    def run(arm: str, truth: float) -> float:
        nonlocal at, turn
        seed = seeds[arm] = seeds.get(arm, -1) + 1
        value = world.start + truth + luck.noise(arm, seed, at, turn)
        at, turn = at + 1.0, turn + 1
        return round(value, 6)

    first = run(champion, 0.0)
    answer, wanted = acceptor.decide("baseline", first), 1
    while answer == "more_baseline" and at + 1.0 <= world.slots:
        answer, wanted = acceptor.decide("baseline", run(champion, 0.0)), wanted + 1
    best = first
    while at + 1.0 <= world.slots + 1e-9:
        draw = luck.idea(tried)
        tried += 1
        if draw.crashes:
            at += world.crashes.cost
            continue
        arm, truth = ExperimentId(f"idea{tried}"), luck.moved(chain.truths[-1], draw)
        value = run(arm, truth)
        answer = acceptor.decide("candidate", value)
        while answer in ("rerun_candidate", "rerun_champion") and at + 1.0 <= world.slots + 1e-9:
            again += 1
            if answer == "rerun_candidate":
                answer = acceptor.decide("candidate_again", run(arm, truth))
            else:
                answer = acceptor.decide("champion_again", run(champion, chain.truths[-1]))
        if answer == "keep":
            chain.truths.append(truth)
            chain.at.append(at)
            champion, best = arm, min(best, value)
    return chain.played(world, ideas=tried, reported=first - best, repeats=again + wanted - 1)


@dataclass(frozen=True)
class Setting:
    """What all workers know."""

    seed: int
    replay: Replay | None


def _policy(name: str) -> Policy:
    if name in BY_NAME:
        return BY_NAME[name]
    return nightlab(LABS[name.removesuffix(EARLY)], early=name.endswith(EARLY))


def _one(setting: Setting, job: tuple[str, str, int]) -> Played:
    where, name, night = job
    if where.startswith("A/A"):
        assert setting.replay is not None
        replay = setting.replay
        if where == "A/A raw":
            replay = Replay(replay.world, replay.metrics, (None,) * len(replay.metrics), replay.sessions)
        return _policy(name)(replay.world, Replayed(replay, night, setting.seed))
    return _policy(name)(WORLDS[where], Luck(WORLDS[where], night, setting.seed))


HEADER = (
    "| world | policy | ideas | promotions | false | after 10 slots | nights with one | true gain x1e4 "
    "| reported - true x1e4 | 95 % holds | repeats | stopped (lost) |\n" + "|---" * 12 + "|"
)


def _cells(where: str, row: Row, base: float | None) -> str:
    def number(estimate: Estimate | None, factor: float = 1.0, digits: int = 1) -> str:
        return "-" if estimate is None else f"{factor * estimate.value:.{digits}f} ± {factor * estimate.se:.{digits}f}"

    of_greedy = f" ({100 * row.true_gain.value / base:.0f} %)" if base else ""
    columns = (
        where,
        row.policy,
        number(row.ideas),
        number(row.promotions, digits=2),
        number(row.false_share, 100) + " %",
        number(row.late_false_share, 100) + " %",
        number(row.nights_with_false, 100) + " %",
        number(row.true_gain, 1e4) + of_greedy,
        number(row.optimism, 1e4, 2),
        number(row.coverage, 100) + " %",
        number(row.repeats),
        f"{row.stopped.value:.1f} ({row.lost.value:.2f})",
    )
    return "| " + " | ".join(columns) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the decisions of simulated nights.")
    parser.add_argument("--nights", type=int, default=400)
    parser.add_argument("--seed", type=int, default=11)
    parser.add_argument("--replay", type=Path)
    parser.add_argument("--cells", default="", help="worlds to play, separated by commas; all by default")
    parser.add_argument("--python", action="append", default=[], type=python_option, metavar="PACKAGE=PATH")
    options = parser.parse_args()
    replay = read_replay(options.replay) if options.replay else None
    wanted = options.cells.split(",") if options.cells else []
    cells = [c for c in CELLS if (replay or not c[0].startswith("A/A")) and (not wanted or c[0] in wanted)]
    print(HEADER, flush=True)
    greedy: dict[str, list[Played]] = {}
    with get_context("spawn").Pool() as pool:
        for where, name in cells:
            jobs = [(where, name, night) for night in range(options.nights)]
            nights = pool.map(partial(_one, Setting(options.seed, replay)), jobs, chunksize=5)
            if name == "greedy":
                greedy[where] = nights
            against = greedy.get(where)
            base = mean([n.true_gain for n in against]).value if against else None
            print(_cells(where, tally(name, nights), base), flush=True)
            if against is not None and name != "greedy":
                ideas = mean([a.ideas - b.ideas for a, b in zip(nights, against, strict=True)])
                gain = mean([a.true_gain - b.true_gain for a, b in zip(nights, against, strict=True)])
                share = 100 * (1 + ideas.value / mean([n.ideas for n in against]).value)
                print(
                    f"|  | *minus greedy, night by night* | {ideas.value:+.1f} ± {ideas.se:.1f} ({share:.1f} %) |  |  |"
                    f"  |  | {1e4 * gain.value:+.1f} ± {1e4 * gain.se:.1f} |  |  |  |  |",
                    flush=True,
                )
    with acceptors(dict(options.python)) as (found, skipped):
        for acceptor in found:
            nights = [rival_night(acceptor, REFERENCE, Luck(REFERENCE, k, options.seed)) for k in range(options.nights)]
            base = mean([n.true_gain for n in greedy["reference"]]).value if "reference" in greedy else None
            print(_cells("reference", tally(acceptor.name, nights), base), flush=True)
    if options.python:
        for line in skipped:
            print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
