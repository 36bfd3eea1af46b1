"""The shapes of the older control plane: every field name that its scripts know."""

from __future__ import annotations

import msgspec

SCHEMA = 1
SETUP = "setup"  # the phase before there is anything


class PlanRow(msgspec.Struct, kw_only=True):
    """current_plan.json, and a plan in an event."""

    plan_id: str
    phase: str
    emitter: str
    niche: str
    hypothesis: str
    predicted_direction: str
    rationale: str
    created_at: str


class ReviewRow(msgspec.Struct, kw_only=True):
    """One experiment, as events.jsonl and `recent_experiments` have it."""

    experiment_id: str
    timestamp: str
    branch: str
    commit: str
    commit_parent: str | None
    description: str
    status: str  # ok, crash
    category: str
    niche: str
    phase: str
    emitter: str
    recommendation: str
    diff_summary: str
    metrics: dict[str, float | None] | None
    fitness: float
    novelty: float
    information: float
    surprise: float
    complexity: float
    vram: float
    discovery_score: float
    improvement_vs_best: float | None
    improvement_vs_baseline: float | None
    crash_signature: str | None
    conjecture_updates: list[str]


class NearMissRow(msgspec.Struct, kw_only=True):
    commit: str
    category: str
    niche: str
    val_bpb: float | None
    description: str


class EliteRow(msgspec.Struct, kw_only=True):
    count: int
    best_val_bpb: float | None
    commit: str
    emitter: str
    category: str
    description: str
    discovery_score: float


class ArchiveRow(msgspec.Struct, kw_only=True):
    """One entry of `archive`."""

    niche: str
    best_val_bpb: float | None
    commit: str
    emitter: str
    description: str
    count: int


class EmitterRow(msgspec.Struct, kw_only=True):
    attempts: int = 0
    improvements: int = 0
    crashes: int = 0
    total_reward: float = 0.0
    last_used_index: int = 0


class CategoryRow(msgspec.Struct, kw_only=True):
    attempts: int = 0
    improvements: int = 0
    total_reward: float = 0.0
    avg_reward: float = 0.0
    best_delta: float | None = None


class CrashRow(msgspec.Struct, kw_only=True):
    count: int
    last_seen: str
    category: str
    example_commit: str


class StateRow(msgspec.Struct, kw_only=True):
    """state.json."""

    schema_version: int = SCHEMA
    autonomy_enabled: bool = False
    autonomy_reason: str = ""
    phase: str = SETUP
    experiment_count: int = 0
    stall_count: int = 0
    best_val_bpb: float | None = None
    best_commit: str | None = None
    best_peak_vram_mb: float | None = None
    baseline_val_bpb: float | None = None
    baseline_commit: str | None = None
    baseline_peak_vram_mb: float | None = None
    recent_experiments: list[ReviewRow] = msgspec.field(default_factory=list)
    near_misses: list[NearMissRow] = msgspec.field(default_factory=list)
    archive: dict[str, EliteRow] = msgspec.field(default_factory=dict)
    last_emitter: str | None = None
    current_emitter_streak: int = 0
    recent_emitters: list[str] = msgspec.field(default_factory=list)
    emitter_stats: dict[str, EmitterRow] = msgspec.field(default_factory=dict)
    category_stats: dict[str, CategoryRow] = msgspec.field(default_factory=dict)
    crash_signatures: dict[str, CrashRow] = msgspec.field(default_factory=dict)
    conjectures: list[str] = msgspec.field(default_factory=list)
    current_plan: PlanRow | None = None
    last_experiment_id: str | None = None
    last_results_commit: str | None = None
    last_exp_commit: str | None = None
    state_warnings: list[str] = msgspec.field(default_factory=list)
    ingested_results_tsv_rows: int = 0
    results_tsv_exists: bool = False
    updated_at: str | None = None
