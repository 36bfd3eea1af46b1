"""What cells of other ledgers mean: names of columns and keys, words for a status, numbers as people write them."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

TEXT = 4_000  # characters of a description, as of one that is written down by hand
NAME = 64  # characters of a column's name, a tag, a commit
NO_NUMBER = "no usable number"  # signature of a row that counts as a crash for that and not by its own word

_ANSI = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?")
_CONTROLS = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\U000e0000-\U000e007f]+"
)
_SURROGATES = re.compile("[\ud800-\udfff]")


def clean(text: str, limit: int) -> str:
    """One line without control characters, invisible or direction-changing ones, of at most `limit` characters."""
    text = text[: 4 * limit + 4096]
    if not text.isprintable():
        text = _SURROGATES.sub("\ufffd", _CONTROLS.sub(" ", _ANSI.sub("", text)))
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "\u2026"


class Role(StrEnum):
    """What a column or key tells."""

    METRIC = "metric"
    COMMIT = "commit"
    PARENT = "parent"
    BRANCH = "branch"
    RUN = "run"
    STATUS = "status"
    DECISION = "decision"
    DESCRIPTION = "description"
    HYPOTHESIS = "hypothesis"
    FAMILY = "family"
    TAGS = "tags"
    NOTES = "notes"
    ERROR = "error"
    AT = "at"
    CONFIG = "config"
    TRIAL = "trial"
    MEMORY = "memory"
    STEPS = "steps"
    PARAMS = "params"
    THROUGHPUT = "throughput"
    SOURCE = "source"
    MODE = "mode"
    DIRTY = "dirty"
    RANKED = "ranked"


ALIASES: Mapping[Role, tuple[str, ...]] = {  # names that a role goes by, the plainest first
    role: tuple(names.split())
    for role, names in {
        Role.METRIC: "val_bpb bpb eval_bpb val_loss valid_loss validation_loss eval_loss test_loss loss val_ppl "
        "perplexity val_accuracy val_acc test_accuracy accuracy acc val_score score metric metric_value value "
        "objective reward result",
        Role.COMMIT: "commit commit_hash commit_sha commit_id git_commit git_sha sha hash revision rev id exp_id "
        "experiment_id",
        Role.PARENT: "parent_commit commit_parent parent parent_sha parent_hash",
        Role.BRANCH: "branch git_branch",
        Role.RUN: "run_id run",
        Role.STATUS: "status state outcome result_status",
        Role.DECISION: "decision verdict recommendation kept keep accepted is_kept action",
        Role.DESCRIPTION: "description desc idea change changes message subject title experiment name what summary",
        Role.HYPOTHESIS: "hypothesis rationale",
        Role.FAMILY: "family category group",
        Role.TAGS: "tags labels",
        Role.NOTES: "notes note comment comments reject_reason reason",
        Role.ERROR: "error error_message exception crash_signature crash failure",
        Role.AT: "timestamp_utc timestamp datetime created_at started_at ended_at finished_at date time at",
        Role.CONFIG: "config configuration hyperparameters hparams params parameters knobs settings",
        Role.TRIAL: "trial trial_id iteration iter number",
        Role.MEMORY: "peak_vram_mb peak_memory_mb memory_mb vram_mb mem_mb max_memory_mb memory_gb peak_memory_gb "
        "peak_vram_gb vram_gb mem_gb max_memory_gb",
        Role.STEPS: "num_steps steps n_steps",
        Role.PARAMS: "num_params_m params_m n_params_m",
        Role.THROUGHPUT: "tokens_per_s tok_per_sec tokens_per_sec tokens_per_second throughput",
        Role.SOURCE: "source_hash",
        Role.MODE: "mode",
        Role.DIRTY: "dirty",
        Role.RANKED: "ranked",
    }.items()
}
_NOT_A_NAME = re.compile(r"[^0-9a-z]+")

Roles = Mapping[Role, str]


def name_of(text: str) -> str:
    """A column's, key's or status's name in one spelling."""
    return _spelled(text[: 4 * NAME])


@lru_cache(maxsize=4096)
def _spelled(text: str) -> str:
    return _NOT_A_NAME.sub("_", text.lower()).strip("_")[:NAME]


@lru_cache(maxsize=256)
def roles_of(names: tuple[str, ...], metric: str) -> Roles:
    """Which name plays which part. Each name plays one, the metric that is looked for its own."""
    known, taken, used = set(names), dict[Role, str](), set[str]()
    for role in Role:
        wanted = (name_of(metric), *ALIASES[role]) if role is Role.METRIC else ALIASES[role]
        if (found := next((name for name in wanted if name in known and name not in used), None)) is not None:
            taken[role] = found
            used.add(found)
    return taken


class Word(StrEnum):
    """What a status says."""

    KEPT = "kept"
    DROPPED = "dropped"
    FAILED = "failed"
    ENDED = "ended"  # that it came to its end, and nothing of what became of it
    OPEN = "open"


_MEANING = {
    word: meaning
    for meaning, words in {
        Word.KEPT: "keep keeps kept keeping accept accepted promote promoted baseline improved improvement best "
        "winner adopted merged",
        Word.DROPPED: "discard discarded discards reject rejected revert reverted drop dropped worse regressed "
        "regression no_improvement not_kept neutral inconclusive investigate retest abandon abandoned",
        Word.FAILED: "crash crashed oom out_of_memory fail failed failure error errored timeout timed_out timedout "
        "killed exception nan diverged invalid aborted abort",
        Word.ENDED: "ok okay done success successful succeeded finished complete completed pass passed ran valid",
        Word.OPEN: "running pending queued started planned skipped todo in_progress",
    }.items()
    for word in words.split()
}


def meaning_of(said: object) -> Word | None:
    """What a status says; None where it says nothing that we know."""
    if isinstance(said, bool):
        return Word.KEPT if said else Word.DROPPED
    if not isinstance(said, str) or len(said) > TEXT:
        return None
    word = name_of(said)
    return _MEANING.get(word) or _MEANING.get(word.partition("_")[0])


NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_GROUPED = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+(?:\.[0-9]+)?")
_COMMA = re.compile(r"[+-]?0,[0-9]+")  # a comma for a point, where it cannot be anything else
_REMARK = re.compile(r"\s*(?:\(.*\)|(?:±|\+/-|\+-).*|\*+)$")  # what people put behind a number
NO_VALUE = frozenset({"", "-", "--", "none", "null", "n/a", "na", "nan", "inf", "?"})
NO_COMMIT = NO_VALUE | {"uncommitted", "tbd"}


def cell_number(text: str) -> float | None:
    """The number that a table's cell says; percents are hundredths."""
    if len(text) > 2 * NAME:
        return None
    text, scale = _REMARK.sub("", text.strip()), 1.0
    if text.endswith("%"):
        text, scale = text[:-1].rstrip(), 0.01
    if _GROUPED.fullmatch(text):
        text = text.replace(",", "")
    elif _COMMA.fullmatch(text):
        text = text.replace(",", ".")
    return float(text) * scale if NUMBER.fullmatch(text) else None


@dataclass(frozen=True, slots=True)
class Line:
    """One line that could be split: what it says under which names, and what the names mean."""

    number: int
    text: str
    cells: Mapping[str, object]  # texts of a table, values of JSON
    roles: Roles
    is_table: bool
    ours: Mapping[str, object] | None = None  # the whole object, where it is a line of the older surface

    def cell(self, role: Role) -> object:
        return self.cells.get(self.roles[role]) if role in self.roles else None

    def said(self, role: Role, limit: int = TEXT) -> str:
        """The words of a cell, safe and bounded."""
        cell = self.cell(role)
        if isinstance(cell, str):
            return clean(cell, limit)
        return "" if cell is None or isinstance(cell, dict | list) else clean(str(cell), limit)

    def number_in(self, role: Role) -> float | None:
        """The finite number of a cell. In JSON a text that looks like one is none."""
        cell = self.cell(role)
        if isinstance(cell, str):
            value = cell_number(cell) if self.is_table else None
        elif isinstance(cell, bool) or not isinstance(cell, int | float):
            return None
        else:
            value = math.inf if isinstance(cell, int) and cell.bit_length() > 1000 else float(cell)
        return value if value is not None and math.isfinite(value) else None
