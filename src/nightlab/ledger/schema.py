"""The ledger's tables. `events` is the truth; everything else is folded from it and can be made again at any time.

Names with an underscore are ours and may change with any version; the views are for people (docs/memory.md,
`nightlab query`).
"""

from __future__ import annotations

VERSION = 5

EVENTS = """
CREATE TABLE IF NOT EXISTS events (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, key TEXT, body BLOB NOT NULL, digest BLOB NOT NULL,
    UNIQUE (kind, key)
) STRICT;
"""

TABLES = """
CREATE TABLE _experiment (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, proposed_at REAL NOT NULL, source_hash TEXT NOT NULL UNIQUE,
    commit_id TEXT NOT NULL, parent TEXT, parent_commit TEXT, root TEXT, night TEXT, emitter TEXT NOT NULL,
    family TEXT NOT NULL, description TEXT NOT NULL, hypothesis TEXT NOT NULL, tags TEXT NOT NULL,
    changes TEXT NOT NULL, body BLOB NOT NULL, decision TEXT, gain REAL, low REAL, high REAL, probability REAL,
    because TEXT, judged_seq INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX _experiment_own ON _experiment (number) WHERE emitter <> 'log' OR parent IS NOT NULL;
CREATE TABLE _patch (experiment TEXT PRIMARY KEY, patch TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE _run (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, experiment TEXT NOT NULL REFERENCES _experiment(id),
    seed INTEGER NOT NULL, purpose TEXT NOT NULL, slot INTEGER NOT NULL, night TEXT, device TEXT NOT NULL,
    dirty INTEGER NOT NULL, started_at REAL NOT NULL, ended_at REAL, ended_seq INTEGER, outcome TEXT, metric REAL,
    memory_mb REAL, wall_s REAL, cpu_s REAL, speed REAL, trouble TEXT NOT NULL DEFAULT '', body BLOB NOT NULL,
    ended BLOB, logged BLOB
) STRICT;
CREATE INDEX _run_own ON _run (seq) WHERE logged IS NULL;
CREATE INDEX _run_of_experiment ON _run (experiment, seq);
CREATE TABLE _verdict (
    seq INTEGER PRIMARY KEY, experiment TEXT NOT NULL, champion TEXT NOT NULL, decision TEXT NOT NULL,
    because TEXT NOT NULL, gain REAL, low REAL, high REAL, probability REAL, runs_used INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;
CREATE TABLE _night (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, began_at REAL NOT NULL, baseline TEXT NOT NULL,
    ended_at REAL, reason TEXT, began BLOB NOT NULL, ended BLOB
) STRICT;
CREATE TABLE _consultation (
    seq INTEGER PRIMARY KEY, at REAL NOT NULL, after INTEGER NOT NULL, night TEXT, proposer TEXT NOT NULL,
    purpose TEXT NOT NULL, experiment TEXT, seconds REAL NOT NULL, tokens_in INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL, money REAL NOT NULL, failure TEXT NOT NULL, note TEXT NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX _consultation_open ON _consultation (night, proposer) WHERE experiment IS NULL;
CREATE TABLE _record (
    seq INTEGER PRIMARY KEY, run TEXT NOT NULL UNIQUE, at REAL NOT NULL, origin TEXT NOT NULL, experiment TEXT,
    source_hash TEXT NOT NULL, commit_id TEXT NOT NULL, parent TEXT, branch TEXT NOT NULL, status TEXT NOT NULL,
    value REAL, memory_mb REAL, ranked INTEGER NOT NULL, crash TEXT NOT NULL, signature TEXT NOT NULL,
    idea INTEGER NOT NULL REFERENCES _idea(id), lineage TEXT NOT NULL, cluster TEXT, action TEXT NOT NULL,
    priority TEXT NOT NULL, advice TEXT NOT NULL, in_table INTEGER NOT NULL, table_line TEXT NOT NULL,
    mirrored INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX _record_at ON _record (at);
CREATE INDEX _record_status ON _record (status);
CREATE INDEX _record_best ON _record (value, at, seq) WHERE ranked AND value IS NOT NULL;
CREATE INDEX _record_kept ON _record (value, at, seq) WHERE ranked AND value IS NOT NULL AND status = 'keep';
CREATE INDEX _record_source ON _record (source_hash) WHERE source_hash <> '';
CREATE INDEX _record_idea ON _record (idea);
CREATE INDEX _record_lineage ON _record (lineage, value, status, commit_id) WHERE ranked AND value IS NOT NULL;
CREATE INDEX _record_cluster ON _record (cluster, status, value) WHERE cluster IS NOT NULL;
CREATE INDEX _record_failed ON _record (seq) WHERE cluster IS NULL AND status <> 'keep';
CREATE INDEX _record_advised ON _record (priority, seq) WHERE priority <> '';
CREATE INDEX _record_unmirrored ON _record (mirrored) WHERE mirrored < 3;
CREATE TABLE _commit (
    id TEXT PRIMARY KEY, parent TEXT, root TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX _commit_root ON _commit (root);
CREATE TABLE _idea (
    id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, description TEXT NOT NULL, hypothesis TEXT NOT NULL,
    family TEXT NOT NULL, tags TEXT NOT NULL, indexed TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX _idea_unindexed ON _idea (id) WHERE indexed = '';
CREATE VIRTUAL TABLE _idea_text USING fts5 (terms, content='', tokenize="ascii tokenchars '_.'");
CREATE VIRTUAL TABLE _cluster_text USING fts5 (terms, content='', tokenize="ascii tokenchars '_.'");
CREATE TABLE _meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE _mirror (
    name TEXT PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, inode INTEGER NOT NULL, tail BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE VIEW experiments AS SELECT
    id, number, proposed_at, source_hash, commit_id, parent, parent_commit, night, emitter, family, description,
    hypothesis, tags, changes, decision, gain, low, high, probability, because FROM _experiment;
CREATE VIEW runs AS SELECT
    id, seq, experiment, seed, purpose, slot, night, device, dirty, started_at, ended_at, outcome, metric, memory_mb,
    wall_s, cpu_s, speed, trouble FROM _run;
CREATE VIEW verdicts AS SELECT
    seq, experiment, champion, decision, gain, low, high, probability, runs_used, because FROM _verdict;
CREATE VIEW nights AS SELECT number, id, began_at, baseline, ended_at, reason FROM _night;
CREATE VIEW consultations AS SELECT
    seq, at, night, proposer, purpose, experiment, seconds, tokens_in, tokens_out, money, failure, note
    FROM _consultation;
CREATE VIEW records AS SELECT
    r.seq, r.run, r.at, r.origin, r.experiment, r.source_hash, r.commit_id, r.parent, r.branch, r.status, r.value,
    r.memory_mb, r.ranked, r.crash, r.signature, i.description, i.hypothesis, i.family, i.tags, r.lineage, r.cluster
    FROM _record r JOIN _idea i ON i.id = r.idea;
"""

STATEMENTS = tuple(part for part in (EVENTS + TABLES).split(";\n") if part.strip())

VIEWS = ("events", "experiments", "runs", "verdicts", "nights", "consultations", "records")
"""What `nightlab query` and docs/memory.md speak of."""
