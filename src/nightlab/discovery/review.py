"""A review as a row of the older surface, and as its text."""

from __future__ import annotations

from nightlab.discovery.shapes import ReviewRow
from nightlab.discovery.view import View, category, emitter_name, experiment_id, moment
from nightlab.ledger.tables import short
from nightlab.search.claims_in_words import in_words
from nightlab.types import Experiment, Finished, Metrics, Review

SUMMARY_CHARACTERS = 280
_MB_IN_GB = 1024.0


def review_row(view: View, found: Review) -> ReviewRow:
    """A review as a row, with at most three of the claims that it moved."""
    state = view.history.state(found.experiment)
    experiment, terms = state.experiment, found.terms
    run = view.history.runs[found.run]
    logged = run.logged  # of a run by hand: its author's words, and the commit and branch that were checked out
    commit, parent = (logged.commit, logged.parent_commit) if logged else (experiment.commit, experiment.parent_commit)
    return ReviewRow(
        experiment_id=experiment_id(found.experiment),
        timestamp=moment(run.ended_at or run.started_at),
        branch=logged.branch if logged else view.settings.branch,
        commit=short(commit),
        commit_parent=short(parent) if parent else None,
        description=(logged.description or experiment.description) if logged else experiment.description,
        status="crash" if found.crash else "ok",
        category=category(found.niche),
        niche=str(found.niche),
        phase=found.phase or view.phase,
        emitter=emitter_name(experiment),
        recommendation=found.recommendation,
        diff_summary=diff_summary(found, experiment),
        metrics=_metrics(view, found),
        fitness=round(terms.fitness, 4),
        novelty=round(terms.novelty, 4),
        information=round(terms.information, 4),
        surprise=round(terms.surprise, 4),
        complexity=round(terms.complexity, 4),
        vram=round(terms.memory, 4),
        discovery_score=round(terms.score, 4),
        improvement_vs_best=rounded(found.gain_vs_best),
        improvement_vs_baseline=rounded(found.gain_vs_baseline),
        crash_signature=found.crash or None,
        conjecture_updates=[in_words(claim) for claim in view.moved.get(found.experiment, ())],
    )


def diff_summary(found: Review, experiment: Experiment) -> str:
    """`categories=..; +a/-d; line | line`, no longer than the older surface has it."""
    lines = [line for line in experiment.patch.splitlines() if line[:3] not in ("+++", "---")]
    added = [line for line in lines if line.startswith("+")]
    gone = [line for line in lines if line.startswith("-")]
    shown = " | ".join(" ".join(line.split()) for line in (*added, *gone)[:3]) or found.summary
    return f"categories={category(found.niche)}; +{len(added)}/-{len(gone)}; {shown}"[:SUMMARY_CHARACTERS]


def review_text(view: View, found: Review) -> str:
    """last_review.md: a review in the labels that scripts and agents know."""
    row = review_row(view, found)
    if found.crash or row.metrics is None:
        result = f"- Result: crash ({row.crash_signature or 'no signature'})."
    else:
        result = f"- Metrics: {_metrics_text(row.metrics)}."
    lines = [
        "Discovery review:",
        result,
        f"- Delta vs best before run: {_signed(row.improvement_vs_best)}.",
        f"- Delta vs baseline: {_signed(row.improvement_vs_baseline)}.",
        f"- Classification: emitter={row.emitter}, phase={row.phase}, category={row.category}, niche={row.niche}.",
        f"- Diff summary: {row.diff_summary}",
        f"- Discovery score: {row.discovery_score:.3f} = fitness {row.fitness:.3f} + novelty {row.novelty:.3f} + info "
        f"{row.information:.3f} + surprise {row.surprise:.3f} - complexity {row.complexity:.3f} - vram {row.vram:.3f}",
        f"- Recommendation: {row.recommendation.upper()}.",
    ]
    if row.conjecture_updates:
        lines.append(f"- Updated conjectures: {' '.join(row.conjecture_updates)}")
    lines.append(f"- Current best: {best_text(view)}.")
    return "\n".join(lines) + "\n"


def _metrics(view: View, found: Review) -> dict[str, float | None] | None:
    outcome = view.history.runs[found.run].outcome
    return metrics_row(outcome.metrics) if isinstance(outcome, Finished) else None


def metrics_row(metrics: Metrics) -> dict[str, float | None]:
    """Numbers of a run under the names that its log has them."""
    named = {
        "val_bpb": metrics.primary,
        "peak_vram_mb": metrics.memory_mb,
        "num_steps": metrics.steps,
        "num_params_M": metrics.params_m,
    }
    return {**metrics.extra, **{name: value for name, value in named.items() if value is not None}}


def _metrics_text(metrics: dict[str, float | None]) -> str:
    """What a run measured; what it did not is left out."""
    peak = metrics.get("peak_vram_mb")
    parts = [f"val_bpb={metrics['val_bpb']:.6f}"]
    if peak is not None:
        parts.append(f"peak_vram_gb={peak / _MB_IN_GB:.1f}")
    for name, label, digits in (("mfu_percent", "mfu", 2), ("num_params_M", "params_M", 1), ("depth", "depth", 0)):
        value = metrics.get(name)
        if value is not None:
            parts.append(f"{label}={value:.{digits}f}")
    return ", ".join(parts)


def rounded(gain: float | None) -> float | None:
    return None if gain is None else round(gain, 6)


def _signed(delta: float | None) -> str:
    return "unknown" if delta is None else f"{delta:+.6f} bpb"


def best_text(view: View) -> str:
    best = view.best
    return "no baseline/best yet" if best is None or best.value is None else f"{best.value:.6f} @ {best.commit}"
