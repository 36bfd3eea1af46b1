"""The shapes of the older MemoryLab surface: every field name that its scripts know, and nothing of how it is found.

The ledger is the truth; these are renderings of it. `mirrors` says where they lie and writes them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from nightlab.ledger.mirrors import Mirrors, replace, writing
from nightlab.ledger.records import CRASH, STATUSES, Record, Records
from nightlab.types import Crashed, Metrics, Stand

METRIC = "val_bpb"  # the name that the older surface has for a lab's metric, whatever it is
UNRANKED = "value"  # and that a value has there which does not compare with the lab's
TSV_HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
CHALLENGERS, LINEAGES, CLUSTERS, EXAMPLES = 3, 5, 5, 3


class Row(msgspec.Struct, kw_only=True):
    """Base of all shapes; written with sorted keys."""


class ErrorRow(Row):
    summary: str
    tail: tuple[str, ...]
    source: str


class MatchRow(Row):
    category: str
    score: float
    commit: str
    run_id: str
    family: str
    status: str
    val_bpb: float | None
    description: str
    tags: tuple[str, ...] = ()


class PolicyRow(Row):
    mode: str
    decision: str
    rationale: str


class GuardRow(Row):
    classification: str
    probe_text: str
    threshold: float
    match_count: int
    counts: dict[str, int]
    top_matches: list[MatchRow]
    mode: str
    effective_threshold: float
    policy: PolicyRow


class PacketRun(Row):
    run_id: str
    commit: str
    status: str
    family: str
    description: str
    hypothesis: str
    val_bpb: float | None
    memory_gb: float | None


class PacketMatch(Row):
    run_id: str
    commit: str
    category: str
    status: str
    score: float
    family: str
    description: str
    val_bpb: float | None


class PacketNovelty(Row):
    classification: str
    mode: str
    policy_decision: str
    policy_rationale: str
    top_match: PacketMatch | None


class PacketComparison(Row):
    is_new_champion: bool
    prior_champion_run_id: str | None
    prior_champion_val_bpb: float | None
    current_champion_run_id: str | None
    current_champion_val_bpb: float | None
    delta_to_prior_champion: float | None
    delta_to_current_champion: float | None


class PacketRow(Row):
    version: int
    summary: str
    next_action: str
    priority: str
    rationale: str
    hypothesis_status: str
    run: PacketRun
    novelty: PacketNovelty
    comparison: PacketComparison
    error: ErrorRow | None
    standing: str | None = None  # proven or provisional; None: the run was not kept
    probability: float | None = None
    runs_needed: int | None = None


class ExperimentRow(Row):
    run_id: str
    timestamp_utc: str
    branch: str
    commit: str
    parent_commit: str | None
    family: str
    status: str
    description: str
    hypothesis: str
    tags: tuple[str, ...]
    notes: str
    metrics: dict[str, object]
    error: ErrorRow | None
    artifacts: dict[str, str]
    lineage_root: str
    dirty: bool = False
    novelty_guard: GuardRow | dict[str, str] = msgspec.field(default_factory=dict)  # {}: a run of the lab's own
    decision_packet: PacketRow | dict[str, str] = msgspec.field(default_factory=dict)


class RankedRow(Row):
    run_id: str
    commit: str
    lineage_root: str
    family: str
    status: str
    val_bpb: float | None
    memory_gb: float
    description: str


class ChampionRow(RankedRow):
    standing: str
    probability: float | None
    runs_needed: int | None


class ChallengerRow(RankedRow):
    delta_to_champion: float


class LineageRow(Row):
    lineage_root: str
    best_run_id: str
    best_commit: str
    best_val_bpb: float | None
    num_runs: int
    num_unique_commits: int
    kept_runs: int


class ClusterRow(Row):
    label: str
    size: int
    crashes: int
    best_val_bpb: float | None
    examples: list[str]


class RegistryRow(Row):
    updated_at: str | None = None
    num_experiments: int = 0
    status_counts: dict[str, int] = msgspec.field(default_factory=lambda: dict.fromkeys(STATUSES, 0))
    champion: ChampionRow | None = None
    challengers: list[ChallengerRow] = msgspec.field(default_factory=list)
    best_lineages: list[LineageRow] = msgspec.field(default_factory=list)
    failure_clusters: list[ClusterRow] = msgspec.field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Detail:
    """What a record's row says beyond the record itself."""

    metrics: Metrics | None = None
    crash: Crashed | None = None
    read: Mapping[str, str] = field(default_factory=dict)  # all that was read of the run: name -> JSON text
    notes: str = ""
    log: str = ""
    summary: str = ""
    error_source: str = ""
    dirty: bool = False

    @property
    def memory_mb(self) -> float | None:
        """Peak memory; for a crash what its log said of it."""
        if self.metrics is not None:
            return self.metrics.memory_mb
        value: object = json.loads(self.read.get("peak_vram_mb", "null"))
        return float(value) if isinstance(value, int | float) else None


def gigabytes(megabytes: float | None) -> float | None:
    """Peak memory of a run as the older surface states it."""
    return None if megabytes is None else round(megabytes / 1024, 1)


def metrics_row(record: Record, detail: Detail) -> dict[str, object]:
    """All numbers and words that were read of a run, under the names that older scripts know."""
    row: dict[str, object] = {name: json.loads(text) for name, text in detail.read.items()}
    if record.status == CRASH:
        return {**row, "val_bpb": None, "peak_vram_mb": detail.memory_mb}
    if detail.metrics is not None:
        m = detail.metrics
        named = {"num_steps": m.steps, "num_params_M": m.params_m}
        row = {**m.extra, **{name: value for name, value in named.items() if value is not None}, **row}
        # What may not be ranked is not called by the lab's metric: older scripts would crown it.
        row |= {METRIC if record.ranked else UNRANKED: m.primary, "peak_vram_mb": m.memory_mb}
    return row


def registry_row(
    records: Records,
    stamp: str,
    sign: int,
    label: Callable[[Sequence[str]], str],
    stand: Callable[[Record], Stand],
) -> RegistryRow:
    """The registry's content, of all that is on record.

    Args:
        records: of the lab.
        stamp: the moment, as the registry spells it.
        sign: of the metric's direction.
        label: the words that failures share.
        stand: how far a run is proven; asked of the champion.
    """
    counts, best = records.counts(), records.champion(sign)
    lines = [
        LineageRow(
            lineage_root=line.root,
            best_run_id=line.best.run,
            best_commit=line.best.commit,
            best_val_bpb=line.best.value,
            num_runs=line.runs,
            num_unique_commits=line.commits,
            kept_runs=line.kept,
        )
        for line in records.lineages(sign, LINEAGES)
    ]
    return RegistryRow(
        updated_at=stamp,
        num_experiments=sum(counts.values()),
        status_counts=counts,
        champion=_champion_row(best, stand(best)) if best else None,
        challengers=[
            ChallengerRow(**msgspec.structs.asdict(_ranked_row(r)), delta_to_champion=_delta(r, best))
            for r in records.challengers(sign, best, CHALLENGERS)
        ],
        best_lineages=lines,
        failure_clusters=[
            ClusterRow(
                label=label([r.description for r in cluster.members]),
                size=cluster.size,
                crashes=cluster.crashes,
                best_val_bpb=cluster.best,
                examples=[r.description for r in cluster.members[:EXAMPLES]],
            )
            for cluster in records.clusters(sign, CLUSTERS)
        ],
    )


def _champion_row(record: Record, stand: Stand) -> ChampionRow:
    return ChampionRow(
        **msgspec.structs.asdict(_ranked_row(record)),
        standing=stand.standing,
        probability=rounded(stand.probability),
        runs_needed=stand.runs_needed,
    )


def rounded(probability: float | None) -> float | None:
    """A probability as files state it: what is beyond the sixth digit differs from one machine to the next."""
    return None if probability is None else round(probability, 6)


def _ranked_row(record: Record) -> RankedRow:
    return RankedRow(
        run_id=record.run,
        commit=record.commit,
        lineage_root=record.lineage,
        family=record.family,
        status=record.status,
        val_bpb=record.value,
        memory_gb=gigabytes(record.memory_mb) or 0.0,
        description=record.description,
    )


def _delta(record: Record, champion: Record | None) -> float:
    assert champion is not None
    assert champion.value is not None
    assert record.value is not None
    return round(record.value - champion.value, 9)


# --- texts ------------------------------------------------------------------------------------------------------


def dumps(row: Row, *, indent: int | None = None) -> str:
    """JSON with sorted keys, in ASCII; half a surrogate pair, which no reader would take, becomes a question mark."""
    told: object = msgspec.to_builtins(row)
    text = json.dumps(told, sort_keys=True, ensure_ascii=True, indent=indent, allow_nan=False)
    if "\\ud" in text:
        told = json.loads(json.dumps(told, ensure_ascii=False).encode("utf-8", "replace"))
        text = json.dumps(told, sort_keys=True, ensure_ascii=True, indent=indent, allow_nan=False)
    return text


def tsv_row(record: Record) -> str:
    """One line of results.tsv, without its end."""
    if record.table_line:
        return record.table_line
    value = 0.0 if record.value is None else record.value
    words = " ".join(record.description.split())
    memory = gigabytes(record.memory_mb) or 0.0
    return f"{record.commit}\t{value:.6f}\t{memory:.1f}\t{record.status}\t{words}"


def make(mirrors: Mirrors) -> None:
    """The empty files; what exists stays as it is."""
    with mirrors.locked(), writing(mirrors.directory):
        for path, text in (
            (mirrors.ledger, ""),
            (mirrors.registry, dumps(RegistryRow(), indent=2) + "\n"),
            (mirrors.tsv, TSV_HEADER),
        ):
            if not path.exists():
                replace(path, text)


def packet_markdown(packet: PacketRow, words: str) -> str:
    """decision_packet.md; `words` says how far the run is proven, "" of one that was not kept."""
    run, novelty, comparison = packet.run, packet.novelty, packet.comparison
    lines = [
        "# Decision Packet",
        "",
        f"- Summary: {packet.summary}",
        f"- Next action: `{packet.next_action}` ({packet.priority})",
        f"- Hypothesis status: {packet.hypothesis_status}",
        f"- Rationale: {packet.rationale}",
        f"- Standing: {words or '-'}",
        "",
        "## Run",
        "",
        f"- Run: `{run.run_id}`",
        f"- Commit: `{run.commit}`",
        f"- Status: {run.status}",
        f"- Family: {run.family or '-'}",
        f"- Description: {run.description or '-'}",
        f"- Hypothesis: {run.hypothesis or '-'}",
        f"- val_bpb: {number(run.val_bpb, 6)}",
        f"- mem_gb: {number(run.memory_gb, 1)}",
        "",
        "## Context",
        "",
        f"- Novelty classification: {novelty.classification}",
        f"- Mode: {novelty.mode or '-'}",
        f"- Policy decision: {novelty.policy_decision or '-'}",
        f"- Delta to prior champion: {signed(comparison.delta_to_prior_champion)}",
        f"- Delta to current champion: {signed(comparison.delta_to_current_champion)}",
    ]
    if top := novelty.top_match:
        lines.append(f"- Top history match: `{top.run_id}` ({top.category}, score {top.score:.3f}): {top.description}")
    if packet.error:
        lines += ["", "## Error", "", f"- Summary: {packet.error.summary}"]
    return "\n".join(lines) + "\n"


def number(value: float | None, digits: int) -> str:
    """A number with fixed digits; a dash where there is none."""
    return "-" if value is None else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.6f}"
