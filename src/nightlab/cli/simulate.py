"""`simulate`: policies over worlds, thousands of nights in memory."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.cli.compose import add_lab_option, settings_of
from nightlab.errors import UsageError

if TYPE_CHECKING:
    from nightlab.sim.policies import Played
    from nightlab.sim.replay import Replay
    from nightlab.sim.tally import Estimate, Row
    from nightlab.sim.world import World

NIGHTLAB = "nightlab"
POLICIES = ("greedy", "threshold", "discovery", "memorylab", NIGHTLAB)
NIGHTS = 200
CHUNK = 5  # nights that a worker plays before it reports

_DESCRIPTION = """\
Play whole nights in memory, over a world whose truth is known, and count what each way of keeping gets right: how
many of its promotions are false, what it truly gained, and how far its own report is from that.

The lab in it is the real one with its default settings, and is told nothing of the world. docs/simulate.md says what
a world's file holds, and what the columns mean.

examples:
  nightlab simulate --world reference --policies greedy,nightlab --nights 400
  nightlab simulate --world my-gpu.toml --slots 60 --seed 3 --json
  nightlab simulate --world ledger --figure forecast.svg
  nightlab simulate --convert reruns.tsv replay.tsv
"""


def register(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "simulate",
        help="play nights over a world whose truth is known: false promotions, true gain, honesty",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--world", default="reference", metavar="NAME", help="reference, ledger, a world's .toml or a replay's .tsv"
    )
    parser.add_argument("--policies", default=",".join(POLICIES), metavar="LIST", help="separated by commas")
    parser.add_argument(
        "--nights", type=_nights, default=NIGHTS, metavar="N", help=f"of each policy (default {NIGHTS})"
    )
    parser.add_argument("--slots", type=_slots, metavar="N", help="full runs in a night, instead of the world's")
    parser.add_argument("--seed", type=_seed, default=0, metavar="S", help="of all luck (default 0)")
    parser.add_argument("--figure", type=Path, metavar="FILE", help="draw the result (svg, png or pdf)")
    parser.add_argument("--json", action="store_true", help="a list of rows for programs")
    add_lab_option(parser)
    parser.add_argument(
        "--convert",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="make a replay, the last FILE, of reruns that count their steps",
    )
    parser.set_defaults(handler=cmd_simulate)


def _nights(text: str) -> int:
    value = _whole(text)
    if value < 2:
        raise argparse.ArgumentTypeError("at least 2 nights, or nothing is known of the error")
    return value


def _seed(text: str) -> int:
    value = _whole(text)
    if value < 0:
        raise argparse.ArgumentTypeError("a seed is 0 or more")
    return value


def _whole(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None


def _slots(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 3 <= value <= 10_000:
        raise argparse.ArgumentTypeError("between 3 and 10000 slots")
    return value


def cmd_simulate(args: argparse.Namespace) -> int:
    if args.convert is not None:
        from nightlab.sim.replay import convert

        *sources, target = args.convert
        if not sources:
            raise UsageError("--convert needs what to read and where to write", hint="--convert reruns.tsv replay.tsv")
        print(f"Wrote {convert(sources, target)} runs to {target}")
        return 0
    names = [name.strip() for name in args.policies.split(",") if name.strip()]
    unknown = [name for name in names if name not in POLICIES]
    if unknown or not names:
        raise UsageError(
            f"no policy is called {', '.join(unknown) or '(none)'}", hint=f"there are {', '.join(POLICIES)}"
        )
    if args.figure is not None:
        _check_figure(args.figure)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each night is one thread's work, on every core one night
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    scene = _scene(args)
    from nightlab.sim.tally import tally

    rows = [tally(name, played) for name, played in _play(scene, names, args.nights, args.seed)]
    if args.json:
        print(json.dumps([_object(row) for row in rows], indent=1))
    else:
        _show(rows, scene.world, args.nights)
    if args.figure is not None:
        from nightlab.sim.figure import draw

        draw(rows, scene.world, args.figure)
        print(f"Wrote {args.figure}", file=sys.stderr)
    return 0


def _check_figure(path: Path) -> None:
    """Before the nights: to learn of it after them would be late."""
    if path.suffix not in (".svg", ".png", ".pdf"):
        raise UsageError(f"{path} names no kind of figure", hint="end it in .svg, .png or .pdf")
    if not path.parent.is_dir():
        raise UsageError(f"there is no directory {path.parent} to draw in", hint="make it first")


@dataclass(frozen=True, slots=True)
class Scene:
    """Where the nights happen: a world, or a replay in it."""

    world: World
    replay: Replay | None = None


def _scene(args: argparse.Namespace) -> Scene:
    import msgspec

    from nightlab.sim.world import load_world

    if args.world.endswith(".tsv"):
        from nightlab.sim.replay import read_replay

        replay = read_replay(Path(args.world), args.slots)
        return Scene(replay.world, replay)
    if args.world == "ledger":
        from nightlab.ledger import Ledger
        from nightlab.sim.own import world_of

        settings = settings_of(args.lab)
        with Ledger.read(settings.database) as ledger:
            world = world_of(ledger.history(), settings)
    else:
        world = load_world(args.world)
    return Scene(msgspec.structs.replace(world, slots=args.slots) if args.slots else world)


def _one(scene: Scene, seed: int, job: tuple[str, int]) -> Played:
    """One night of one policy, in a worker."""
    from nightlab.config import JudgeSettings
    from nightlab.sim.policies import BY_NAME, nightlab
    from nightlab.sim.replay import Replayed
    from nightlab.sim.world import Luck

    name, night = job
    luck = Luck(scene.world, night, seed) if scene.replay is None else Replayed(scene.replay, night, seed)
    policy = nightlab(JudgeSettings()) if name == NIGHTLAB else BY_NAME[name]
    return policy(scene.world, luck)


def _play(scene: Scene, names: list[str], nights: int, seed: int) -> Iterator[tuple[str, list[Played]]]:
    """Each policy's nights, on all cores, with a bar on stderr."""
    import multiprocessing

    from nightlab.runner.machine import cores

    jobs = [(name, night) for name in names for night in range(nights)]
    done: list[Played] = []
    with multiprocessing.get_context("spawn").Pool(cores()) as pool, _bar(len(jobs)) as advance:
        for played in pool.imap(partial(_one, scene, seed), jobs, chunksize=CHUNK):
            done.append(played)
            advance()
    for place, name in enumerate(names):
        yield name, done[place * nights : (place + 1) * nights]


class _bar:  # noqa: N801  used like a function
    """A progress bar on stderr; nothing where stderr is no terminal."""

    def __init__(self, total: int) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
        self._task = self._progress.add_task("nights", total=total)

    def __enter__(self) -> Callable[[], None]:
        self._progress.start()
        return lambda: self._progress.advance(self._task)

    def __exit__(self, *_: object) -> None:
        self._progress.stop()


COLUMNS = ("policy", "ideas", "promotions", "false", "nights with one", "true gain", "reported - true", "95 % holds")
FIELDS = ("ideas", "promotions", "false_share", "nights_with_false", "true_gain", "optimism", "coverage",
          "late_false_share", "repeats", "stopped", "lost")  # fmt: skip


def _object(row: Row) -> dict[str, object]:
    """A row as JSON: each number with its standard error as NAME_se, both null where nothing of the kind happened."""
    found: dict[str, object] = {"policy": row.policy, "nights": row.nights}
    for name in FIELDS:
        estimate: Estimate | None = getattr(row, name)
        found[name] = None if estimate is None else estimate.value
        found[f"{name}_se"] = None if estimate is None else estimate.se
    return found


def _show(rows: list[Row], world: World, nights: int) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{world.name}: {nights} nights of {world.slots:g} slots", title_justify="left")
    for name in COLUMNS:
        table.add_column(name, justify="left" if name == "policy" else "right")
    scale = max((abs(row.true_gain.value) + abs(row.optimism.value) for row in rows), default=0.0)
    for row in rows:
        table.add_row(
            row.policy,
            _number(row.ideas, 1),
            _number(row.promotions, 2),
            _percent(row.false_share),
            _percent(row.nights_with_false),
            _gain(row.true_gain, scale),
            _gain(row.optimism, scale),
            _percent(row.coverage),
        )
    Console(width=None if sys.stdout.isatty() else 140).print(table)


def _number(estimate: Estimate, digits: int) -> str:
    return f"{estimate.value:.{digits}f} ± {estimate.se:.{digits}f}"


def _percent(estimate: Estimate | None) -> str:
    return "-" if estimate is None else f"{100 * estimate.value:.1f} ± {100 * estimate.se:.1f} %"


def _gain(estimate: Estimate, scale: float) -> str:
    """Three significant digits of the largest gain."""
    from math import floor, log10

    digits = 6 if scale == 0.0 else min(max(2 - floor(log10(scale)), 0), 12)
    return f"{estimate.value:+.{digits}f} ± {estimate.se:.{digits}f}"
