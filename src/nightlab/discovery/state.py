"""state.json, the list of the archive, and what an agent is told when its session begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from nightlab.discovery.plans import pending_plan
from nightlab.discovery.review import best_text, review_row, rounded
from nightlab.discovery.shapes import (
    ArchiveRow,
    CategoryRow,
    CrashRow,
    EliteRow,
    EmitterRow,
    NearMissRow,
    StateRow,
)
from nightlab.discovery.view import View, category, emitter_name, experiment_id, moment
from nightlab.ledger.records import KEEP
from nightlab.ledger.tables import short
from nightlab.search.claims_in_words import in_words
from nightlab.search.phases import stall
from nightlab.types import EMITTERS, Decision, ExperimentId, Finished, Review

RECENT, LATEST_EMITTERS, WARNINGS, CLAIMS = 20, 8, 6, 4  # how many of each are told
COLLAPSE = 6  # of the latest emitters: one and the same


def state_row(view: View, now: float) -> StateRow:
    """state.json, of all that the lab knows."""
    found = view.reviews
    emitters = [emitter_name(view.experiment(one.experiment)) for one in found]
    first = next((one for one in found if one.value is not None), None)
    streak = next((n for n, name in enumerate(reversed(emitters)) if name != emitters[-1]), len(emitters))
    on, why = view.autonomy
    best = view.best if view.best is not None and view.best.value is not None else None
    return StateRow(
        autonomy_enabled=on,
        autonomy_reason=why,
        phase=view.phase,
        experiment_count=len(found),
        stall_count=stall(view.history),
        best_val_bpb=best.value if best else None,
        best_commit=best.commit if best else None,
        best_peak_vram_mb=best.memory_mb if best else None,
        baseline_val_bpb=first.value if first else None,
        baseline_commit=short(view.experiment(first.experiment).commit) if first else None,
        baseline_peak_vram_mb=_peak(view, first) if first else None,
        recent_experiments=[review_row(view, one) for one in found[-RECENT:]],
        near_misses=[_near_miss(view, name) for name in view.archive.near_misses],
        archive=_elites(view),
        last_emitter=emitters[-1] if emitters else None,
        current_emitter_streak=streak,
        recent_emitters=emitters[-LATEST_EMITTERS:],
        emitter_stats=_emitter_stats(view, emitters),
        category_stats=_category_stats(view),
        crash_signatures=_crashes(view),
        conjectures=sentences(view),
        current_plan=pending_plan(view),
        last_experiment_id=experiment_id(found[-1].experiment) if found else None,
        last_results_commit=view.last_row.commit if view.last_row else None,
        last_exp_commit=short(view.head) if view.subject.lower().startswith("exp:") else None,
        state_warnings=warnings(view, emitters),
        ingested_results_tsv_rows=view.rows,
        results_tsv_exists=view.rows > 0,
        updated_at=moment(now),
    )


def _peak(view: View, found: Review) -> float | None:
    outcome = view.history.runs[found.run].outcome
    return outcome.metrics.memory_mb if isinstance(outcome, Finished) else None


def _near_miss(view: View, name: ExperimentId) -> NearMissRow:
    found, experiment = view.by_experiment.get(name), view.experiment(name)
    niche = view.survey.niche(name)
    return NearMissRow(
        commit=short(experiment.commit),
        category=category(niche),
        niche=str(niche),
        val_bpb=found.value if found else None,
        description=experiment.description,
    )


def _elites(view: View) -> dict[str, EliteRow]:
    rows: dict[str, EliteRow] = {}
    for elite in view.archive.elites:
        found, experiment = view.by_experiment.get(elite.experiment), view.experiment(elite.experiment)
        rows[str(elite.niche)] = EliteRow(
            count=elite.count,
            best_val_bpb=found.value if found else None,
            commit=short(experiment.commit),
            emitter=emitter_name(experiment),
            category=category(elite.niche),
            description=experiment.description,
            discovery_score=round(found.terms.score, 4) if found else 0.0,
        )
    return rows


def archive_rows(view: View) -> list[ArchiveRow]:
    """What `archive` lists: elites by their run's own value, the best first."""
    sign = view.settings.metric.direction.sign
    rows = [
        ArchiveRow(
            niche=niche,
            best_val_bpb=row.best_val_bpb,
            commit=row.commit,
            emitter=row.emitter,
            description=row.description,
            count=row.count,
        )
        for niche, row in _elites(view).items()
    ]
    return sorted(rows, key=lambda row: (row.best_val_bpb is None, sign * (row.best_val_bpb or 0.0), row.niche))


def _emitter_stats(view: View, emitters: Sequence[str]) -> dict[str, EmitterRow]:
    stats = {name: EmitterRow() for name in EMITTERS}
    for index, (found, name) in enumerate(zip(view.reviews, emitters, strict=True), start=1):
        row = stats[name]
        row.attempts += 1
        row.crashes += bool(found.crash)
        row.improvements += _improved(view, found)
        row.total_reward = round(row.total_reward + found.terms.score, 4)
        row.last_used_index = index
    return stats


def _category_stats(view: View) -> dict[str, CategoryRow]:
    stats: dict[str, CategoryRow] = {}
    for found in view.reviews:
        row = stats.setdefault(category(found.niche), CategoryRow())
        row.attempts += 1
        row.improvements += _improved(view, found)
        row.total_reward = round(row.total_reward + found.terms.score, 4)
        row.avg_reward = round(row.total_reward / row.attempts, 4)
        known = [delta for delta in (row.best_delta, rounded(found.gain_vs_best)) if delta is not None]
        row.best_delta = max(known, default=None)
    return stats


def _improved(view: View, found: Review) -> bool:
    """By the judge's word, or by its author's where a run was logged by hand; a single better value is none."""
    logged = view.history.runs[found.run].logged
    by_judge = found.verdict is not None and found.verdict.decision is Decision.KEEP
    return by_judge or (logged is not None and logged.status == KEEP)


def _crashes(view: View) -> dict[str, CrashRow]:
    rows: dict[str, CrashRow] = {}
    for found in view.reviews:
        if found.crash:
            run = view.history.runs[found.run]
            before = rows.get(found.crash)
            rows[found.crash] = CrashRow(
                count=before.count + 1 if before else 1,
                last_seen=moment(run.ended_at or run.started_at),
                category=category(found.niche),
                example_commit=short(view.experiment(found.experiment).commit),
            )
    return rows


def sentences(view: View) -> list[str]:
    """The claims that the older surface tells, at most four, in its order: each is one of ours in words."""
    lanes = [c for c in view.claims if c.change.endswith(" changes") and c.gain is not None and c.weight >= 2]
    lanes.sort(key=lambda c: (-(c.gain or 0.0), -c.weight, c.id))
    found: list[str] = []
    if lanes:
        found.append(f"Strongest lane so far: {in_words(lanes[0])}")
    if len(lanes) >= 2 and (lanes[-1].gain or 0.0) < 0.0:
        found.append(f"Underperforming: {in_words(lanes[-1])}")
    simpler = next((c for c in view.claims if c.change in ("ideas by simplifier", "less code") and c.weight >= 2), None)
    if simpler is not None and (simpler.gain or 0.0) > 0.0:
        found.append(f"Simplifying pays: {in_words(simpler)}")
    zone = next((c for c in view.claims if c.is_no_fly and not c.has_expired), None)
    if zone is not None:
        found.append(f"No-fly zone: {in_words(zone)}")
    plateau = next((c for c in view.claims if c.change == "plateau"), None)
    if plateau is not None:
        found.append(f"Plateau: {in_words(plateau)}")
    return found[:CLAIMS]


def warnings(view: View, emitters: Sequence[str]) -> list[str]:
    """What does not fit together, in words."""
    found: list[str] = []
    latest = Counter(emitters[-LATEST_EMITTERS:])
    name, most = max(latest.items(), key=lambda pair: pair[1], default=("", 0))
    if most >= COLLAPSE:
        found.append(f"Emitter collapse: {name} made {most} of the last {LATEST_EMITTERS} experiments.")
    is_experiment = view.subject.lower().startswith("exp:")
    if is_experiment and (view.last_row is None or not view.head.startswith(view.last_row.commit)):
        found.append(f"HEAD {short(view.head)} is an experiment that is not the last row of results.tsv.")
    return found[:WARNINGS]


def session_summary(view: View) -> str:
    """What an agent is told when its session begins."""
    first = next((one for one in view.reviews if one.value is not None), None)
    commit = short(view.experiment(first.experiment).commit) if first else ""
    baseline = f"{first.value:.6f} @ {commit}" if first and first.value is not None else "no baseline/best yet"
    lines = [
        "Autoresearch discovery state:",
        f"- Branch: {view.branch or 'unknown'}",
        f"- Autonomy enabled: {'yes' if view.autonomy[0] else 'no'}",
        f"- Baseline: {baseline}",
        f"- Best: {best_text(view)}",
        f"- Experiments recorded by hooks: {len(view.reviews)}",
        f"- Search phase: {view.phase}",
    ]
    plan = pending_plan(view)
    if plan is not None:
        lines.append(f"- Pending plan: {plan.emitter} in {plan.niche}: {plan.hypothesis}")
    sections = (
        ("Current conjectures", sentences(view)),
        ("Archive elites", [_elite_text(row) for row in archive_rows(view)[:4]]),
        ("No-fly patterns", [f"{name} ({row.count}x)" for name, row in _frequent(view)[:3]]),
        ("State warnings", warnings(view, [emitter_name(view.experiment(r.experiment)) for r in view.reviews])[:4]),
    )
    for label, items in sections:
        if items:
            lines += [f"- {label}:", *(f"  - {item}" for item in items)]
    lines.append("The state lies in results/discovery/; do not commit it.")
    return "\n".join(lines)


def _frequent(view: View) -> list[tuple[str, CrashRow]]:
    return sorted(_crashes(view).items(), key=lambda pair: (-pair[1].count, pair[0]))


def _elite_text(row: ArchiveRow) -> str:
    value = "no value" if row.best_val_bpb is None else f"{row.best_val_bpb:.6f}"
    return f"{row.niche}: {value} @ {row.commit} ({row.emitter}) {row.description}"
