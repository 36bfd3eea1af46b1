"""A world made of a lab's own history: its noise, how often its ideas helped and how far they reached."""

from __future__ import annotations

import math
from statistics import median

import numpy as np

from nightlab import judging
from nightlab.ablation import is_removal
from nightlab.config import Settings
from nightlab.errors import NotFoundError
from nightlab.history import History
from nightlab.judge import model
from nightlab.sim.world import Crashes, Effects, Noise, World
from nightlab.types import Decision

LEAST = 10  # judged ideas, or nothing is known of what ideas do here
POINTS = 5  # of the losses' distribution


def world_of(history: History, settings: Settings) -> World:
    """The world that the lab's latest line of experiments looks like.

    Effects are the judge's estimates, which are pulled towards zero: a cautious world rather than a hopeful one.

    Raises:
        NotFoundError: too little has happened to say.
    """
    rows = judging.rows(history, settings) if history.night is not None else []
    noise = model.noise(rows, settings.judge) if rows else None
    judged = [s for s in history.line if s.verdict is not None and s.verdict.decision.is_final]
    ideas = [s for s in judged if not is_removal(s.experiment)]
    gains = [s.verdict.gain for s in ideas if s.verdict is not None and s.verdict.gain is not None]
    if noise is None or len(gains) < LEAST or history.night is None:
        raise NotFoundError(
            f"this lab has judged {len(gains)} ideas, too few to simulate it",
            hint=f"run at least {LEAST} first, or simulate --world reference",
        )
    baseline = history.night.began.baseline
    values = [r.value for r in history.state(baseline).finished() if r.value is not None]
    kept = [s.verdict.gain for s in ideas if s.verdict is not None and s.verdict.decision is Decision.KEEP]
    helped = [gain for gain in kept if gain is not None and gain > 0.0]
    losses = sorted(max(-gain, 0.0) for gain in gains if gain <= 0.0) or [0.0]
    crashed = [s for s in ideas if s.verdict is not None and s.verdict.decision is Decision.CRASH]
    shares = np.linspace(0.0, 1.0, POINTS)
    drift, steady = noise.drift_share, 1.0 - noise.drift_share
    return World(
        name=settings.root.name or "this lab",
        start=median(values) if values else 0.0,
        direction=settings.metric.direction,
        decimals=None,
        effects=Effects(
            helps=len(helped) / len(gains),
            gain=sum(helped) / len(helped) if helped else 0.0,
            headroom=None,
            loss_shares=tuple(float(share) for share in shares),
            losses=tuple(float(loss) for loss in np.quantile(losses, shares)),
        ),
        noise=Noise(drift=noise.sd * math.sqrt(drift), seed=noise.sd * math.sqrt(steady), shared=noise.seed_share),
        crashes=Crashes(share=len(crashed) / len(ideas)),
    )
