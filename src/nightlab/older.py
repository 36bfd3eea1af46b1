"""Our nouns as the rows of MemoryLab's surface: the guard's answer, the decision packet, the line of its mirror.

A rendering layer: the shapes are `ledger.surface`'s, and nothing is decided here. Pure but for looking which files lie
in a run's directory.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from nightlab.ledger import surface
from nightlab.ledger.mirrors import COPIED_LOG, Mirrors
from nightlab.ledger.records import Record
from nightlab.ledger.surface import Detail, ErrorRow, ExperimentRow, GuardRow, MatchRow, PacketRow
from nightlab.search.novelty import Category, Guard, Match

if TYPE_CHECKING:
    from nightlab.judge.packets import DecisionPacket, RunFacts

TOP = 5  # matches that a record keeps
COUNTED = [category for category in Category if category is not Category.NOVEL]
LOG, SUMMARY, PATCH, UNCOMMITTED = COPIED_LOG, "summary.json", "train.patch", "uncommitted.patch"
PACKET_JSON, PACKET_MD = "decision_packet.json", "decision_packet.md"
_ARTIFACTS = {
    "archived_log_path": LOG,
    "archived_summary_path": SUMMARY,
    "train_diff_path": PATCH,
    "decision_packet_json_path": PACKET_JSON,
    "decision_packet_md_path": PACKET_MD,
}


# --- rows -------------------------------------------------------------------------------------------------------


def match_row(match: Match[Record]) -> MatchRow:
    record = match.prior.item
    return MatchRow(
        category=match.category,
        score=match.score,
        commit=record.commit,
        run_id=record.run,
        family=record.family,
        status=record.status,
        val_bpb=record.value,
        description=record.description,
        tags=record.tags,
    )


def guard_row(record: Record, guard: Guard[Record]) -> GuardRow:
    parts = (record.description, record.hypothesis, record.family, " ".join(record.tags))
    return GuardRow(
        classification=guard.category,
        probe_text=" ".join(part for part in parts if part),
        threshold=guard.threshold,
        match_count=len(guard.matches),
        counts={category: guard.count(category) for category in COUNTED},
        top_matches=[match_row(match) for match in guard.matches[:TOP]],
        mode=guard.mode,
        effective_threshold=guard.threshold,
        policy=surface.PolicyRow(mode=guard.mode, decision=guard.policy, rationale=guard.rationale),
    )


def packet_row(
    record: Record, detail: Detail, guard: Guard[Record] | None, packet: DecisionPacket, facts: RunFacts
) -> PacketRow:
    """The decision packet; `guard` is None for the lab's own runs, whose source was new by construction."""
    top = match_row(guard.matches[0]) if guard and guard.matches else None
    prior, current = facts.prior, facts.current
    return PacketRow(
        version=1,
        summary=packet.summary,
        next_action=packet.action,
        priority=packet.priority,
        rationale=packet.rationale,
        hypothesis_status=packet.hypothesis,
        run=surface.PacketRun(
            run_id=record.run,
            commit=record.commit,
            status=record.status,
            family=record.family,
            description=record.description,
            hypothesis=record.hypothesis,
            val_bpb=record.value,
            memory_gb=surface.gigabytes(detail.memory_mb),
        ),
        novelty=surface.PacketNovelty(
            classification=facts.novelty,
            mode=guard.mode if guard else "",
            policy_decision=guard.policy if guard else "",
            policy_rationale=guard.rationale if guard else "",
            top_match=_top_row(top) if top else None,
        ),
        comparison=surface.PacketComparison(
            is_new_champion=packet.is_new_champion,
            prior_champion_run_id=prior.run if prior else None,
            prior_champion_val_bpb=prior.value if prior else None,
            current_champion_run_id=current.run if current else None,
            current_champion_val_bpb=current.value if current else None,
            delta_to_prior_champion=_rounded(packet.delta_to_prior),
            delta_to_current_champion=_rounded(packet.delta_to_current),
        ),
        error=error_row(record, detail),
        standing=packet.stand.standing if packet.stand else None,
        probability=surface.rounded(packet.stand.probability) if packet.stand else None,
        runs_needed=packet.stand.runs_needed if packet.stand else None,
    )


def _top_row(top: MatchRow) -> surface.PacketMatch:
    return surface.PacketMatch(
        run_id=top.run_id,
        commit=top.commit,
        category=top.category,
        status=top.status,
        score=top.score,
        family=top.family,
        description=top.description,
        val_bpb=top.val_bpb,
    )


def _rounded(delta: float | None) -> float | None:
    """Without the dust of floating point: deltas are read by people and compared by scripts."""
    return None if delta is None else round(delta, 9)


def error_row(record: Record, detail: Detail) -> ErrorRow | None:
    if detail.crash is None and not record.crash:
        return None
    tail = detail.crash.tail if detail.crash else ()
    return ErrorRow(summary=record.crash, tail=tail, source=detail.error_source or "nightlab")


def experiment_row(record: Record, detail: Detail, mirrors: Mirrors) -> ExperimentRow:
    """The line of the mirror, without the guard's answer and the packet."""
    return ExperimentRow(
        run_id=record.run,
        timestamp_utc=record.stamp,
        branch=record.branch,
        commit=record.commit,
        parent_commit=record.parent,
        family=record.family,
        status=record.status,
        description=record.description,
        hypothesis=record.hypothesis,
        tags=record.tags,
        notes=detail.notes,
        metrics=surface.metrics_row(record, detail),
        error=error_row(record, detail),
        artifacts=_artifacts(record, detail, mirrors),
        lineage_root=record.lineage,
        dirty=detail.dirty,
    )


def _artifacts(record: Record, detail: Detail, mirrors: Mirrors) -> dict[str, str]:
    directory = mirrors.run(record.run)
    named = {"source_log_path": detail.log, "source_summary_path": detail.summary}
    found = {key: path for key, path in named.items() if path}
    if directory.is_dir():
        found["run_dir"] = relative(directory, mirrors.root)
        files = {key: directory / name for key, name in _ARTIFACTS.items()}
        found |= {key: relative(path, mirrors.root) for key, path in files.items() if path.is_file()}
    return found


def relative(path: Path, root: Path) -> str:
    """Relative to the lab inside it, absolute outside."""
    path = path.absolute().parent.resolve() / path.name
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
