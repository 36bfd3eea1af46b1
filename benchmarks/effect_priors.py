"""How often do ideas help, and how far do they reach? The prior that the five-minute GPU profile ships, from histories.

    uv run python benchmarks/effect_priors.py DIR

DIR holds run histories as TSVs (`config`, `val_bpb`, `status`); sessions of agents that edit code on H200 machines are
used. An idea's difference is its value minus the best value before it in its session; repeats of an earlier
configuration are no ideas. The density of the true effect is a mixture of normals around zero whose scales double,
weighted by expectation maximisation with the measured noise taken into account (a deconvolution), smoothed at each step
(EMS: Silverman and others, J. R. Stat. Soc. B 52, 1990); the share below zero is fitted with it. The H100 sessions that
the simulator's reference world is made of are not read.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from nightlab.judge.mixture import FloatArray, normal_cdf

SESSIONS = ("karpathy_agent_Qwen",)  # in a file's name: agents that edit code, as here; the others tune a list of knobs
SCALES = 0.0001 * 2.0 ** np.arange(10)  # bpb
LARGEST = 0.1  # bpb; beyond, a run is broken rather than worse
ROUNDS = 400


def differences(path: Path) -> Iterator[tuple[float, int]]:
    """(value minus the best one before it, runs of that best configuration) for each new configuration."""
    best, runs, known = np.inf, 1, set()
    champion = ""
    with path.open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            value, config = float(row["val_bpb"] or 0), row["config"]
            if row["status"] == "crash" or value <= 0:
                continue
            if config in known:
                runs += config == champion
                continue
            known.add(config)
            if np.isfinite(best) and abs(value - best) < LARGEST:
                yield value - best, runs
            if value < best:
                best, champion, runs = value, config, 1


def repeat_noise(paths: list[Path]) -> float:
    """Standard deviation of one run, pooled over configurations that a session ran at least three times."""
    squares, freedom = 0.0, 0
    for path in paths:
        groups: dict[str, list[float]] = {}
        with path.open(encoding="utf-8") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                if row["status"] != "crash" and float(row["val_bpb"] or 0) > 0:
                    groups.setdefault(row["config"], []).append(float(row["val_bpb"]))
        for values in groups.values():
            if len(values) >= 3:
                middle = np.median(values)
                spread = 1.4826 * float(np.median(np.abs(np.array(values) - middle)))
                squares, freedom = squares + (len(values) - 1) * spread**2, freedom + len(values) - 1
    return float(np.sqrt(squares / freedom))


def fit(deltas: FloatArray, errors: FloatArray) -> tuple[float, FloatArray, float]:
    """(share below zero, weights of SCALES, log likelihood) by expectation maximisation."""
    helps, weights = 0.1, np.full(len(SCALES), 1.0 / len(SCALES))
    total = SCALES**2 + errors[:, None] ** 2
    density = np.exp(-0.5 * deltas[:, None] ** 2 / total) / np.sqrt(2 * np.pi * total)
    below = normal_cdf(-(deltas[:, None] * SCALES / np.sqrt(total)) / errors[:, None])
    score = 0.0
    for _ in range(ROUNDS):
        better, worse = 2 * helps * weights * density * below, 2 * (1 - helps) * weights * density * (1 - below)
        whole = (better + worse).sum(axis=1, keepdims=True)
        score = float(np.log(whole).sum())
        helps = float((better.sum(axis=1, keepdims=True) / whole).mean())
        plain = np.pad(((better + worse) / whole).mean(axis=0), 1, mode="edge")
        weights = 0.25 * plain[:-2] + 0.5 * plain[1:-1] + 0.25 * plain[2:]
        weights /= weights.sum()
    return helps, weights, score


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the prior of the five-minute GPU profile.")
    parser.add_argument("histories", type=Path)
    options = parser.parse_args()
    paths = [p for p in sorted(options.histories.glob("*.tsv")) if any(s in p.name for s in SESSIONS)]
    noise = repeat_noise(paths)
    found = [(path, list(differences(path))) for path in paths]
    deltas = np.array([d for _, rows in found for d, _ in rows])
    errors = np.array([noise * np.sqrt(1 + 1 / n) for _, rows in found for _, n in rows])
    helps, weights, _ = fit(deltas, errors)
    print(f"{len(paths)} sessions, {len(deltas)} new configurations, noise of one run {noise:.6f}")
    print("quartiles of the differences:", np.quantile(deltas, [0.05, 0.25, 0.5, 0.75, 0.95]).round(5))
    print(f"share that truly helps: {helps:.4f}")
    for scale, weight in zip(SCALES, weights, strict=True):
        print(f"  scale {scale:.4f}  weight {weight:.4f}")
    for path, rows in found:
        if len(rows) >= 10:
            own = np.array([d for d, _ in rows])
            each, _, _ = fit(own, noise * np.sqrt(1 + 1 / np.array([n for _, n in rows])))
            print(f"  {path.stem.split('__')[2]:45} n {len(rows):4d} median {np.median(own):+.5f} helps {each:.3f}")


if __name__ == "__main__":
    main()
