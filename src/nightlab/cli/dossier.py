"""All that the older surface says of one run: the guard's answer, the decision packet, the row of its mirror.

Pure but for looking which files lie in the run's directory. Search and judge are asked here; the shapes are the
ledger's (`ledger.surface`).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from nightlab.config import Settings
from nightlab.judge.packets import ChampionRef, DecisionPacket, NoveltyClass, RunFacts, decide_next
from nightlab.ledger import surface
from nightlab.ledger.mirrors import Mirrors
from nightlab.ledger.records import KEEP, Record, champion_of, standing
from nightlab.ledger.surface import ErrorRow, ExperimentRow, GuardRow, MatchRow, PacketRow
from nightlab.search.novelty import Category, Guard, Match, Mode, Prior, Words, assess, cluster, label
from nightlab.types import Decision

TOP = 5  # matches that a record keeps
COUNTED = [category for category in Category if category is not Category.NOVEL]
LOG, SUMMARY, PATCH, UNCOMMITTED = "run.log", "summary.json", "train.patch", "uncommitted.patch"
PACKET_JSON, PACKET_MD = "decision_packet.json", "decision_packet.md"
_ARTIFACTS = {
    "archived_log_path": LOG,
    "archived_summary_path": SUMMARY,
    "train_diff_path": PATCH,
    "decision_packet_json_path": PACKET_JSON,
    "decision_packet_md_path": PACKET_MD,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dossier:
    guard: Guard[Record]
    packet: DecisionPacket
    row: PacketRow
    champion: Record | None  # including this run


def compare(
    idea: Words, found: Iterable[Record], settings: Settings, *, mode: str, threshold: float, source: str = ""
) -> Guard[Record]:
    """The guard's answer to an idea, given all that is on record."""
    sign = settings.metric.direction.sign
    priors = [
        Prior(
            item=r,
            words=words_of(r),
            kept=r.status == KEEP,
            loss=None if r.value is None else sign * r.value,
            source=r.source_hash,
        )
        for r in found
    ]
    return assess(idea, priors, mode=Mode(mode), threshold=threshold, source=source)


def words_of(record: Record) -> Words:
    return Words(description=record.description, family=record.family, tags=record.tags, hypothesis=record.hypothesis)


def dossier(record: Record, before: Sequence[Record], settings: Settings) -> Dossier:
    """What was to be said of a hand-logged run at its moment.

    Args:
        record: the run.
        before: all that was on record when it was written down.
        settings: the lab.
    """
    sign = settings.metric.direction.sign
    guard = compare(
        words_of(record), before, settings, mode=record.mode, threshold=record.threshold, source=record.source_hash
    )
    prior, current = champion_of(before, sign), champion_of((*before, record), sign)
    facts = RunFacts(
        run=record.run,
        status=Decision(record.status),
        novelty=NoveltyClass(guard.category),
        hypothesis=record.hypothesis,
        value=record.value,
        error=record.crash.summary if record.crash else "",
        prior=_reference(prior),
        current=_reference(current),
        metric=settings.metric.name,
        direction=settings.metric.direction,
    )
    packet = decide_next(facts)
    return Dossier(guard=guard, packet=packet, row=_packet_row(record, guard, packet, facts), champion=current)


def _reference(champion: Record | None) -> ChampionRef | None:
    if champion is None or champion.value is None:
        return None
    return ChampionRef(run=champion.run, value=champion.value)


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


def _packet_row(record: Record, guard: Guard[Record], packet: DecisionPacket, facts: RunFacts) -> PacketRow:
    top = match_row(guard.matches[0]) if guard.matches else None
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
            memory_gb=surface.memory_gb(record),
        ),
        novelty=surface.PacketNovelty(
            classification=guard.category,
            mode=guard.mode,
            policy_decision=guard.policy,
            policy_rationale=guard.rationale,
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
        error=error_row(record),
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


def error_row(record: Record) -> ErrorRow | None:
    if record.crash is None:
        return None
    return ErrorRow(summary=record.crash.summary, tail=record.crash.tail, source=record.error_source or "nightlab")


def experiment_row(record: Record, root: str, told: Dossier | None, mirrors: Mirrors) -> ExperimentRow:
    """The line of the mirror; `told` is None for the lab's own runs, `root` is the run's lineage."""
    row = ExperimentRow(
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
        notes=record.notes,
        metrics=surface.metrics_row(record),
        error=error_row(record),
        artifacts=_artifacts(record, mirrors),
        lineage_root=root,
        dirty=record.dirty,
    )
    if told is not None:
        row.novelty_guard = guard_row(record, told.guard)
        row.decision_packet = told.row
    return row


def _artifacts(record: Record, mirrors: Mirrors) -> dict[str, str]:
    directory = mirrors.run(record.run)
    named = {"source_log_path": record.log, "source_summary_path": record.summary}
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


def missing(found: Sequence[Record], present: set[str], settings: Settings) -> list[tuple[Record, Dossier | None]]:
    """Runs that the mirror has no line of, oldest first, with what was to be said of those logged by hand."""
    return [
        (record, dossier(record, found[:index], settings) if record.by_hand else None)
        for index, record in enumerate(found)
        if record.run not in present
    ]


def registry(found: Sequence[Record], settings: Settings, stamp: str) -> surface.RegistryRow:
    """The registry of all that is on record."""
    sign = settings.metric.direction.sign
    now = standing(found, sign, challengers=surface.CHALLENGERS, lineages=surface.LINEAGES)
    failed = [r for r in found if r.status != KEEP]
    groups = [[failed[index] for index in group] for group in cluster([r.description for r in failed])]
    clusters = [(label([r.description for r in group]), group) for group in groups]
    return surface.registry_row(found, now, clusters, stamp, sign)
