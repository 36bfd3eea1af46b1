"""The pictures of docs/statistics.md, and the races that it tells of.

    uv run python benchmarks/statistics_figures.py [--into docs]

Draws statistics-reruns.svg, statistics-race.svg and statistics-variance.svg, and prints the races as the page quotes
them (a test holds the page to it). Everything comes from one night of the simulator's reference world and from the
judge itself; the shares of the H200 reruns alone are published ones. A second or two.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from nightlab import judging
from nightlab.config import JudgeSettings, MetricSettings, Settings
from nightlab.history import History
from nightlab.judge import model
from nightlab.judge.covariance import Grid, Row, variance_of_difference
from nightlab.judge.mixture import FloatArray, Mixture, normal_density
from nightlab.sim.night import BASELINE, Answer, Night
from nightlab.sim.policies import Site
from nightlab.sim.world import Luck, World, load_world
from nightlab.types import Bounds, Experiment, ExperimentId, Run, Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WORLD, NIGHT, SEED = "reference", 0, 11  # the first night of the seed with which statistics.md, section 3, was made
LUCKY, REAL = ExperimentId("idea35"), ExperimentId("idea36")  # two neighbours of that night: worth nothing, worth a bit
SETTINGS = Settings(
    root=Path(), metric=MetricSettings(low=None, high=None), judge=JudgeSettings(ablate=False)
)  # the page tells of the search; ideas have no source here that a change could be left out of

INK, MUTED, FAINT, GOOD, BAD = "#1f2933", "#6b7785", "#b4bdc9", "#0f766e", "#dc2626"
SHADES = (FAINT, "#6ba8a3", GOOD, INK)  # of one race, from its first verdict on


@dataclass(frozen=True)
class Look:
    """A verdict of a race and the belief behind it."""

    verdict: Verdict
    belief: Mixture  # challenger minus champion, as a loss


@dataclass(frozen=True)
class Race:
    """One idea's race from its first verdict to its last."""

    truth: float  # its true gain over the champion, units of the metric
    looks: tuple[Look, ...]


class Watched(Site):
    """The world's site, which takes down each verdict on some ideas before the night goes on."""

    def __init__(self, luck: Luck, ideas: Sequence[ExperimentId]) -> None:
        super().__init__(luck.world, luck)
        self.looks: dict[ExperimentId, list[Look]] = {idea: [] for idea in ideas}
        self._history: History | None = None

    def watch(self, history: History) -> None:
        self._history = history

    def propose(self, base: ExperimentId) -> Experiment:
        self._take_down()
        return super().propose(base)

    def run(self, run: Run, at: float, bounds: Bounds | None) -> Answer:
        self._take_down()
        return super().run(run, at, bounds)

    def _take_down(self) -> None:
        history = self._history
        assert history is not None
        for idea, looks in self.looks.items():
            state = history.experiments.get(idea)
            if state is None or len(state.verdicts) == len(looks):
                continue
            verdict = state.verdicts[-1]
            rows = judging.rows(history, SETTINGS)
            prior = judging.prior(history, SETTINGS, rows)
            belief = model.posterior(idea, verdict.champion, rows, SETTINGS.judge, prior)
            assert belief is not None
            looks.append(Look(verdict, belief.mixture))


def races() -> tuple[Race, Race]:
    """The races of the two ideas in the night that the page tells of."""
    world = load_world(WORLD)
    site = Watched(Luck(world, NIGHT, SEED), (LUCKY, REAL))
    night = Night(site, SETTINGS)
    site.watch(night.history)
    night.play(world.slots)
    found = []
    for idea in (LUCKY, REAL):
        looks = site.looks[idea]
        if not looks or not looks[-1].verdict.decision.is_final:
            raise SystemExit(f"{idea} has no whole race in this night any more: choose others, and tell of those")
        gain = site.truths[looks[-1].verdict.champion] - site.truths[idea]
        found.append(Race(gain * world.unit, tuple(looks)))
    return found[0], found[1]


def told(race: Race) -> list[str]:
    """The race's verdicts as rows of a table: runs, P(better), sentence."""
    lines = []
    for look in race.looks:
        verdict = look.verdict
        sentence, _, runs = verdict.because.rpartition("; ")
        assert verdict.probability is not None
        lines.append(f"| {runs} | {verdict.probability:.2f} | {sentence} |")
    return lines


# --- pictures ---------------------------------------------------------------------------------------------------


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--into", type=Path, default=Path(__file__).parents[1] / "docs", help="directory")
    parser.add_argument("--format", choices=("svg", "png"), default="svg")
    args = parser.parse_args()
    lucky, real = races()
    for race in (lucky, real):
        sys.stdout.write(f"true gain {race.truth:+.5f}\n" + "\n".join(told(race)) + "\n\n")
    import matplotlib

    with matplotlib.rc_context({"font.family": "DejaVu Sans", "font.size": 9, "svg.hashsalt": "nightlab"}):
        for name, figure in (("reruns", _reruns()), ("race", _race(lucky, real)), ("variance", _variance())):
            path = args.into / f"statistics-{name}.{args.format}"
            figure.savefig(path, dpi=110, metadata={"Date": None} if args.format == "svg" else {})


def _panels(widths: Sequence[float], size: tuple[float, float]) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, facecolor="white", layout="constrained")
    grid = figure.add_gridspec(1, len(widths), width_ratios=widths)
    axes = [figure.add_subplot(grid[0, place]) for place in range(len(widths))]
    for one in axes:
        for side in ("top", "right"):
            one.spines[side].set_visible(False)
        for side in ("bottom", "left"):
            one.spines[side].set_color(FAINT)
        one.tick_params(colors=MUTED, labelsize=8)
    return figure, axes


def _reruns() -> Figure:
    """One unchanged source, run all night on one seed, and what keeping the best so far makes of it."""
    world = load_world(WORLD)
    calm = msgspec.structs.replace(world, noise=msgspec.structs.replace(world.noise, white=0.0))
    slots = np.arange(world.slots)

    def night(of: World) -> FloatArray:
        luck = Luck(of, NIGHT, SEED)
        return np.array([of.start + luck.noise(BASELINE, 0, float(at), int(at)) for at in slots])

    values, machine = night(world), night(calm)
    best = np.minimum.accumulate(values)
    found = np.flatnonzero(values[1:] < best[:-1]) + 1
    figure, (axes,) = _panels([1.0], (7.2, 2.9))
    axes.plot(slots, machine, color=FAINT, lw=4, solid_capstyle="round", label="where the machine was")
    axes.scatter(slots, values, s=9, color=MUTED, lw=0, zorder=3, label="runs of one unchanged source")
    axes.step(slots, best, where="post", color=BAD, lw=1.4, zorder=4, label="the best so far")
    axes.scatter(slots[found], values[found], s=34, facecolors="none", edgecolors=BAD, zorder=5,
                 label=f'{len(found)} "improvements", {values[0] - values.min():.4f} in all')  # fmt: skip
    axes.ticklabel_format(axis="y", useOffset=False)
    axes.set_xlabel("run of the night", color=MUTED)
    axes.set_ylabel("val_bpb (lower is better)", color=MUTED)
    axes.legend(frameon=False, fontsize=8, labelcolor=INK, ncols=2, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    return figure


def _race(lucky: Race, real: Race) -> Figure:
    """Belief in the gain of two ideas after each verdict, and where the thresholds lie."""
    figure, (left, middle, right) = _panels([1.0, 1.0, 0.8], (9.6, 3.1))
    gains = np.linspace(-0.0016, 0.0024, 401)
    for axes, race, title in ((left, lucky, "lucky at first, worth nothing"), (middle, real, "truly better")):
        for look, shade in zip(race.looks, SHADES[-len(race.looks) :], strict=True):
            axes.plot(1e4 * gains, 1e-4 * _density(look.belief, -gains), color=shade, lw=1.6, label=_runs(look))
        axes.axvline(0.0, color=MUTED, lw=0.8)
        axes.axvline(1e4 * race.truth, color=BAD, lw=1.0, ls=(0, (4, 2)), label="the truth")
        axes.set_title(title, fontsize=9, color=INK, loc="left")
        axes.set_xlabel("gain over the champion, 0.0001 val_bpb", color=MUTED)
        axes.set_yticks([])
        axes.legend(frameon=False, fontsize=7, labelcolor=INK, loc="upper right", handlelength=1.4)
    left.set_ylabel("belief (density)", color=MUTED)
    top = max(axes.get_ylim()[1] for axes in (left, middle))
    for axes in (left, middle):
        axes.set_ylim(0.0, 1.25 * top)
    judge = SETTINGS.judge
    right.axhspan(judge.promote, 1.03, color=GOOD, alpha=0.12, lw=0)
    right.axhspan(0.0, judge.discard, color=BAD, alpha=0.07, lw=0)
    for race, colour in ((lucky, BAD), (real, GOOD)):
        chances = [look.verdict.probability or 0.0 for look in race.looks]
        right.plot(range(1, len(chances) + 1), chances, color=colour, marker="o", ms=4, lw=1.4)
    for height, words in ((0.965, "kept"), (0.5 * (judge.promote + judge.discard), "run again"), (0.25, "dropped")):
        right.text(0.62, height, words, color=MUTED, size=8, va="bottom" if words == "kept" else "center")
    right.set_xlim(0.55, max(len(lucky.looks), len(real.looks)) + 0.3)
    right.set_ylim(0.0, 1.03)
    right.set_xticks(range(1, max(len(lucky.looks), len(real.looks)) + 1))
    right.set_yticks([0.0, judge.discard, judge.promote])
    right.set_xlabel("verdict", color=MUTED)
    right.set_title("P(better)", fontsize=9, color=INK, loc="left")
    return figure


def _runs(look: Look) -> str:
    ours, _, theirs = look.verdict.because.rpartition("; ")[2].partition(" against ")
    return f"{ours} against {theirs}"


def _density(belief: Mixture, points: FloatArray) -> FloatArray:
    """Of a tilted mixture at points (N,) of its own axis."""
    z = (points[:, None] - belief.means) / belief.sds
    plain = normal_density(z) @ (belief.weights / belief.sds)
    tilted = plain * np.where(points < 0.0, belief.below, 1.0 - belief.below)
    whole = belief.below_zero()
    below = belief.below * float(np.sum(plain[points < 0.0]))
    above = (1.0 - belief.below) * float(np.sum(plain[points >= 0.0]))
    assert abs(below / (below + above) - whole) < 0.02  # the axis shows nearly all of it, tilted the right way
    return np.asarray(tilted / ((below + above) * abs(float(points[1] - points[0]))))


PARTS = (("the machine's drift", FAINT), ("the seed", GOOD), ("what is left", INK))
KINDS = (
    ("reruns on H200s,\none seed", (0.96, 0.0, 0.04)),  # statistics.md, 2b, finding 1
    ("the reference world", None),
    ("a CPU lab that\ncounts work", (0.0, 1.0, 0.0)),  # the same seed repeats to the last digit
)


def _variance() -> Figure:
    """What the variance of a run is made of, and how well two arms compare across time."""
    figure, (left, right) = _panels([1.0, 1.1], (7.6, 2.9))
    noise = load_world(WORLD).noise
    squares = np.array([noise.drift, noise.seed, noise.white]) ** 2
    for place, (name, known) in enumerate(KINDS):
        shares = np.array(known) if known else squares / squares.sum()
        start = 0.0
        for share, (part, colour) in zip(shares, PARTS, strict=True):
            left.barh(-place, share, left=start, color=colour, height=0.55, label=part if place == 0 else None)
            start += share
        left.text(-0.02, -place, name, ha="right", va="center", size=8, color=INK)
    left.set_yticks([])
    left.spines["left"].set_visible(False)
    left.set_xlim(0.0, 1.0)
    left.set_xlabel("share of the variance of one run", color=MUTED)
    left.legend(frameon=False, fontsize=7.5, ncols=3, loc="lower center", bbox_to_anchor=(0.3, 1.0), handlelength=1.0,
                columnspacing=1.0)  # fmt: skip
    away = np.linspace(1.0, 60.0, 119)
    looks = (("nothing drifts", 0.0, 0.0, False, MUTED), ("80 % drifts", 0.8, 0.0, False, BAD),
             ("80 % drifts, same seed, half in common", 0.8, 0.5, True, GOOD))  # fmt: skip
    for name, drift, shared, paired, colour in looks:
        errors = [_error(float(gap), drift, shared, paired=paired) for gap in away]
        right.plot(away, errors, color=colour, lw=1.6, label=name)
    right.set_xlabel("runs since the champion last ran", color=MUTED)
    right.set_ylabel("error of the gain, in sigma", color=MUTED)
    right.set_ylim(0.0, 1.55)
    right.legend(frameon=False, fontsize=7.5, labelcolor=INK, loc="lower right")
    return figure


def _error(gap: float, drift: float, shared: float, *, paired: bool) -> float:
    """Standard error of the difference of one run to two runs of the champion, side by side and `gap` before it."""
    point = Grid(*(np.array([value]) for value in (shared, drift, 20.0, 0.0, 1.0)))
    champion, idea = ExperimentId("champion"), ExperimentId("idea")
    theirs = [Row(champion, seed, -gap - seed, 0.0) for seed in (0, 1)]
    ours = Row(idea, 0 if paired else 2, 0.0, 0.0)
    return float(variance_of_difference([*((False, row) for row in theirs), (True, ours)], point) ** 0.5)


if __name__ == "__main__":
    main()
