"""Other ledgers, read as what they say and no more: tables of any fork, our older JSON lines, other tools' JSON lines.

Pure: bytes in, rows out. A row becomes a `Foreign`, with the text that its author wrote and a metric only where its
number can be believed, or a `Refused` with the reason. Nothing is invented: a discard without a usable number is a
crash that says so, a row without a commit has none, and the first row has no parent.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache

from nightlab.config import KNOWN_BOUNDS, MetricSettings
from nightlab.ledger.cells import (
    NAME,
    NO_COMMIT,
    NO_NUMBER,
    NO_VALUE,
    NUMBER,
    TEXT,
    Line,
    Role,
    Word,
    clean,
    meaning_of,
    name_of,
)
from nightlab.ledger.records import CRASH, DISCARD, KEEP, SHORT
from nightlab.ledger.splitting import MAX_LINE, SHOWN, Format, Refused, json_lines, sniff, table_lines
from nightlab.types import Crashed, Direction, Imported, Metrics, RunId

__all__ = [
    "TEXT", "Foreign", "Format", "Read", "Refused", "direction_of", "read_jsonl", "read_table", "sniff",
]  # fmt: skip

SUMMARY = 300
TAIL_LINES = 8
VALUE = 8_192  # characters of JSON of one thing that a row says besides
MANY = 64  # things that a row says besides, tags, changes of a configuration


@dataclass(frozen=True, slots=True, kw_only=True)
class Foreign:
    """A row of another ledger. Everything that `Imported` has, but its run's name is a proposal ("" for none)."""

    line: int  # of the file, from one
    run: str
    origin: str
    digest: str
    status: str
    said: str  # the same by the row's own word, which a number that cannot be believed does not change
    at: float | None  # None where the row does not say
    branch: str = ""
    commit: str = ""
    parent_commit: str | None = None
    description: str = ""
    hypothesis: str = ""
    family: str = ""
    tags: tuple[str, ...] = ()
    notes: str = ""
    mode: str = ""
    metrics: Metrics | None = None
    metric: str = ""  # what its value is called there
    crash: Crashed | None = None
    error_source: str = ""
    read: Mapping[str, str] = field(default_factory=dict)
    source_hash: str = ""
    dirty: bool = False
    ranked: bool = True
    action: str = ""
    priority: str = ""
    advice: str = ""
    raw: str = ""

    def imported(self, *, run: RunId, now: float) -> Imported:
        """The event of this row, under a name that is free; `now` is when it happened if the row does not say."""
        return Imported(
            run=run,
            origin=self.origin,
            digest=self.digest,
            status=self.status,
            at=now if self.at is None else self.at,
            branch=self.branch,
            commit=self.commit,
            parent_commit=self.parent_commit,
            description=self.description,
            hypothesis=self.hypothesis,
            family=self.family,
            tags=self.tags,
            notes=self.notes,
            mode=self.mode,
            metrics=self.metrics,
            crash=self.crash,
            error_source=self.error_source,
            read=self.read,
            source_hash=self.source_hash,
            dirty=self.dirty,
            ranked=self.ranked,
            action=self.action,
            priority=self.priority,
            advice=self.advice,
            raw=self.raw,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a file holds, in its order."""

    rows: tuple[Foreign, ...]
    refused: tuple[Refused, ...]
    metric_seen: str  # which column or key was taken for the metric; "" where there was none


def read_table(data: bytes, *, name: str, metric: str, lab: MetricSettings | None = None) -> Read:
    """The rows of a tab or comma separated table, with or without a header.

    Args:
        data: the whole file.
        name: what the file is called.
        metric: the metric that is looked for; another one is taken where the table has only that, and not ranked.
        lab: bounds and direction of that metric, where they are not the usual ones.
    """
    refused: list[Refused] = []
    return _rows(list(table_lines(data, metric, refused)), refused, name=name, metric=metric, lab=lab)


def read_jsonl(data: bytes, *, name: str, metric: str, lab: MetricSettings | None = None) -> Read:
    """The rows of a file with one JSON object a line. Arguments as of `read_table`."""
    refused: list[Refused] = []
    return _rows(list(json_lines(data, metric, refused)), refused, name=name, metric=metric, lab=lab)


# --- from lines to rows -----------------------------------------------------------------------------------------


def _rows(lines: Sequence[Line], refused: list[Refused], *, name: str, metric: str, lab: MetricSettings | None) -> Read:
    seen = Counter(line.roles[Role.METRIC] for line in lines if Role.METRIC in line.roles)
    story = _Story(lines, name=clean(name, SUMMARY), metric=metric, lab=lab)
    rows: list[Foreign] = []
    for line in lines:
        try:
            found = story.row(line)
        except RecursionError:
            found = Refused(line=line.number, text=clean(line.text, SHOWN), why="it is nested too deep")
        if isinstance(found, Foreign):
            rows.append(found)
        else:
            refused.append(found)
    refused.sort(key=lambda r: r.line)
    return Read(rows=tuple(rows), refused=tuple(refused), metric_seen=next((n for n, _ in seen.most_common(1)), ""))


_HIGHER = re.compile(r"(?:^|_)(?:acc|accuracy|score|reward|return|f1|auc|bleu|rouge|r2|map|iou|throughput)(?:_|$)")
_LOSS = re.compile(r"(?:^|_)(?:loss|bpb|bpc|ppl|perplexity|nll)(?:_|$)")  # never zero: 0.000000 stands for no value


def direction_of(metric: str) -> Direction:
    """Which way a metric is better that only its name is known of."""
    return Direction.MAXIMIZE if _HIGHER.search(name_of(metric)) else Direction.MINIMIZE


_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_SAYS_KEPT = (Word.KEPT, Word.DROPPED)


class _Story:
    """A file's rows in their order: what was kept last, which configuration came first, how often a row stands."""

    def __init__(self, lines: Sequence[Line], *, name: str, metric: str, lab: MetricSettings | None) -> None:
        says = {tuple(line.cells) for line in lines if line.is_table and _word(line)[1] in _SAYS_KEPT}
        self._name, self._metric, self._lab = name, metric, lab
        self._says_kept = says  # columns of tables in which a status tells what was kept
        self._lines_say_kept = any(_word(line)[1] in _SAYS_KEPT for line in lines if not line.is_table)
        self._configs = _Configs()
        self._times: Counter[bytes] = Counter()
        self._best: dict[str, float] = {}  # by the metric's name
        self._last_keep = ""
        self._parents: dict[str, str | None] = {}  # of the commits so far

    def row(self, line: Line) -> Foreign | Refused:
        digest = self._digest(line)  # before anything is remembered: what is nested too deep ends here
        believed = self._settings(line.roles.get(Role.METRIC, ""))
        said, word = _word(line)
        value = _value(line, believed)
        change = self._configs.described(line.cell(Role.CONFIG))
        description = _description(line) or change
        commit = _commit(line)
        if why := _useless(line, said, word, value, description, commit):
            return Refused(line=line.number, text=clean(line.text, SHOWN), why=why)
        says_kept = tuple(line.cells) in self._says_kept if line.is_table else self._lines_say_kept
        is_untold = value is None and _is_untold(line, said)
        status = KEEP if is_untold else self._status(word, value, believed, says_kept=says_kept)
        metrics = _metrics(line, value) if status != CRASH and value is not None else None
        crash = _crash(line, said, word, believed.name) if metrics is None and not is_untold else None
        at = _moment(line)
        row = Foreign(
            line=line.number,
            run=_run_name(line, at, commit),
            origin=self._name,
            digest=digest,
            status=status,
            said=status if value is not None else _by_word(word, says_kept=says_kept),
            at=at,
            branch=line.said(Role.BRANCH, NAME * 4),
            commit=commit,
            parent_commit=self._parent(line, commit),
            description=description,
            hypothesis=line.said(Role.HYPOTHESIS),
            family=line.said(Role.FAMILY, NAME * 4),
            tags=_tags(line.cell(Role.TAGS)),
            notes=line.said(Role.NOTES) if line.said(Role.NOTES) not in NO_VALUE else "",
            mode=_inside(line, "novelty_guard", "mode", NAME) or line.said(Role.MODE, NAME),
            metrics=metrics,
            metric=line.roles.get(Role.METRIC, ""),
            crash=crash,
            error_source=_error_source(line) if crash else "",
            read=_read(line, taken=metrics is not None, at=at),
            source_hash=line.said(Role.SOURCE, NAME * 4),
            dirty=line.cell(Role.DIRTY) is True,
            ranked=metrics is None or (line.roles[Role.METRIC] == name_of(self._metric) and _is_ranked(line)),
            action=_inside(line, "decision_packet", "next_action", NAME),
            priority=_inside(line, "decision_packet", "priority", NAME),
            advice=_inside(line, "decision_packet", "summary", TEXT),
            raw=line.text if line.ours is not None else "",
        )
        if status == KEEP:
            self._last_keep = commit
        return row

    def _settings(self, seen: str) -> MetricSettings:
        """Which values of the metric are believed, and which way it is better."""
        if self._lab is not None and (not seen or name_of(self._lab.name) == seen):
            return self._lab
        low, high = KNOWN_BOUNDS.get(seen, (0.0 if _LOSS.search(seen) else None, None))
        return MetricSettings(name=seen or self._metric, direction=direction_of(seen), low=low, high=high)

    def _status(self, word: Word | None, value: float | None, believed: MetricSettings, *, says_kept: bool) -> str:
        """Keep, discard or crash. A table that never says what was kept tells it by the order of its values."""
        if word is Word.FAILED or value is None:
            return CRASH
        if word is Word.KEPT or (word is Word.ENDED and says_kept):
            return KEEP
        if word is Word.DROPPED:
            return DISCARD
        best = self._best.get(believed.name)
        if best is not None and believed.direction.sign * (best - value) <= 0:
            return DISCARD
        self._best[believed.name] = value
        return KEEP

    def _parent(self, line: Line, commit: str) -> str | None:
        """What the row says; else the commit that was kept last, to which a loop goes back before each idea."""
        if not commit:
            return None
        if Role.PARENT in line.roles:
            parent: str | None = line.said(Role.PARENT, NAME)
            parent = None if not parent or parent.lower() in NO_COMMIT else parent
        else:
            parent = self._parents.get(commit, self._last_keep or None)
            parent = None if parent == commit else parent
        self._parents.setdefault(commit, parent)
        return parent

    def _digest(self, line: Line) -> str:
        """Of what the row says, and of how many equal ones stand before it: not of the file nor of the place in it.

        A table's columns do not count either: without a header their names are guessed from the rows that are there.
        """
        content: object = line.ours
        if line.is_table:
            content = [clean(cell, MAX_LINE) for cell in line.cells.values() if isinstance(cell, str) and cell]
        elif line.ours is None:
            content = {name: cell for name, cell in line.cells.items() if cell not in ("", None)}
        digest = hashlib.sha256(_CANONICAL.encode(content).encode())
        self._times[digest.digest()] += 1
        digest.update(f"\0{self._times[digest.digest()]}".encode())
        return digest.hexdigest()


def _word(line: Line) -> tuple[str, Word | None]:
    """What the row says became of it: its own word, and what that means."""
    said, word = line.cell(Role.STATUS), meaning_of(line.cell(Role.STATUS))
    decision = line.cell(Role.DECISION)
    if word in (None, Word.ENDED) and (decided := meaning_of(decision)) is not None:
        said, word = decision, decided if word is None or decided is not Word.ENDED else word
    return clean(str(said), NAME) if isinstance(said, str | bool) else "", word


def _value(line: Line, believed: MetricSettings) -> float | None:
    """The row's metric, if it can be one."""
    value = line.number_in(Role.METRIC)
    if value is None or believed.reject(value) is not None:
        return None
    cell = line.cell(Role.METRIC)
    is_share = isinstance(cell, str) and "%" in cell
    return None if is_share and believed.name in KNOWN_BOUNDS else value


def _useless(line: Line, said: str, word: Word | None, value: float | None, description: str, commit: str) -> str:
    """Why a line is no row; "" if it is one."""
    if word is Word.OPEN:
        return f"it says {said}: there is no result yet"
    if word is None and said:
        return f"its status {said!r} says neither keep nor discard nor crash"
    if value is not None:
        return ""
    if not description and not (commit and word is Word.FAILED):
        return "it has neither a usable number nor a description"
    return "" if word is not None else "it has neither a usable number nor a status"


def _is_untold(line: Line, said: str) -> bool:
    """Whether a ledger of ours says that something was kept and not with which value: so are commits of a branch."""
    is_ours = line.ours is not None or Role.RANKED in line.roles
    return is_ours and said == KEEP and line.cell(Role.METRIC) in ("", None) and line.cell(Role.ERROR) in ("", None)


def _by_word(word: Word | None, *, says_kept: bool) -> str:
    """What became of a row without a usable number, by its own word."""
    if word is Word.KEPT or (word is Word.ENDED and says_kept):
        return KEEP
    return DISCARD if word is Word.DROPPED else CRASH


def _is_ranked(line: Line) -> bool:
    """Whether a ledger of ours does not say that the value stands apart."""
    return line.said(Role.RANKED, NAME).lower() != "false"


def _description(line: Line) -> str:
    if line.ours is not None:
        return line.said(Role.DESCRIPTION)
    for role in (Role.DESCRIPTION, Role.NOTES, Role.HYPOTHESIS):
        if (said := line.said(role)) and said.lower() not in NO_VALUE:
            return said
    trial = line.said(Role.TRIAL, NAME)
    return f"trial {trial}" if trial and line.cell(Role.CONFIG) in ("", None) else ""


def _commit(line: Line) -> str:
    said = line.said(Role.COMMIT, NAME)
    return "" if said.lower() in NO_COMMIT else said


# --- what else a row says ---------------------------------------------------------------------------------------


class _Configs:
    """Configurations in their order, each described by what it changes against the first."""

    def __init__(self) -> None:
        self._first: dict[str, str] | None = None
        self._last: dict[str, str] = {}

    def described(self, cell: object) -> str:
        """In words; "" where there is no configuration.

        What the first one does not name is said where it appears and where it changes: tools begin to write down
        what was the same before.
        """
        config = _config(cell)
        if config is None:
            return ""
        if self._first is None:
            self._first = self._last = config
            return "the first configuration"
        moved = [
            f"{name} {self._first[name]} -> {value}"
            for name, value in config.items()
            if name in self._first and value != self._first[name]
        ]
        named = [
            f"{name} = {value}"
            for name, value in config.items()
            if name not in self._first and value != self._last.get(name)
        ]
        same_names = config.keys() == self._first.keys()
        self._last = config
        if not moved and not named:
            return "the first configuration again" if same_names else "the first configuration, as far as it is told"
        more = f" and {len(moved) + len(named) - MANY} more" if len(moved) + len(named) > MANY else ""
        begin = "" if moved else "the first configuration with "
        return clean(begin + ", ".join((moved + named)[:MANY]), TEXT) + more


def _config(cell: object) -> dict[str, str] | None:
    config = _parsed(cell) if isinstance(cell, str) and cell.startswith("{") else cell
    if not isinstance(config, dict):
        return None
    return {_short(name[: 4 * NAME]): _setting(value) for name, value in sorted(config.items())}


@lru_cache(maxsize=16)
def _parsed(text: str) -> object:
    """A cell's JSON; None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


@lru_cache(maxsize=4096)
def _short(name: str) -> str:
    return clean(name, NAME)


def _setting(value: object) -> str:
    if type(value) in (int, float):
        return repr(value)[: 2 * NAME]
    return clean(value if isinstance(value, str) else json.dumps(value), NAME * 2)


def _metrics(line: Line, value: float) -> Metrics:
    steps, throughput = line.number_in(Role.STEPS), line.number_in(Role.THROUGHPUT)
    return Metrics(
        primary=value,
        memory_mb=_memory_mb(line),
        steps=int(steps) if steps is not None and 0 <= steps < 1e15 else None,
        throughput=throughput if throughput is not None and throughput > 0 else None,
        params_m=line.number_in(Role.PARAMS),
    )


def _memory_mb(line: Line) -> float | None:
    """In MB, as the column's name says."""
    memory = line.number_in(Role.MEMORY)
    if memory is None or memory < 0:
        return None
    return memory * 1024 if line.roles[Role.MEMORY].endswith("gb") else memory


_OUT_OF_MEMORY = re.compile(r"\b(?:oom|out[ _]of[ _]memory|outofmemory\w*|memoryerror|bad_alloc)\b", re.IGNORECASE)
_TIME_LIMIT = re.compile(r"\b(?:timeout|timed[ _-]?out|time limit)\b", re.IGNORECASE)
_DIVERGED = re.compile(r"\b(?:nan|inf|diverg\w+|exploded?|loss > ?\d+)\b", re.IGNORECASE)
_DIFFERS = (
    (re.compile(r"'[^']{0,200}'|\"[^\"]{0,200}\""), "<text>"),
    (re.compile(r"(?:[A-Za-z]:)?(?:~|\.{1,2})?(?:[\\/][\w.+@-]+)+[\\/]?"), "<path>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "<address>"),
    (re.compile(r"(?<![A-Za-z_])[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"), "<n>"),
)


_OWN_WORDS = re.compile(r"the row says .{1,80}? (?:and not why|(with .*: no usable number|and gives no \S+))")


def _crash(line: Line, said: str, word: Word | None, metric: str) -> Crashed:
    """Why there is no metric, as far as the row tells."""
    tail: tuple[str, ...] = ()
    error = line.cell(Role.ERROR)
    if isinstance(error, dict):
        lines = error.get("tail")
        if isinstance(lines, list):
            tail = tuple(clean(text, SUMMARY) for text in lines[-TAIL_LINES:] if isinstance(text, str))
        error = error.get("summary")
    summary = clean(error, SUMMARY) if isinstance(error, str) and error.lower() not in NO_VALUE else ""
    if word is not Word.FAILED:
        number = line.said(Role.METRIC, NAME)
        says = f"the row says {said or 'nothing of its status'}"
        told = f"{says} with {metric} {number}: no usable number" if number else f"{says} and gives no {metric}"
        return Crashed(summary=told, signature=NO_NUMBER, tail=tail)
    if again := _OWN_WORDS.fullmatch(summary):  # of a ledger of ours, which had read it elsewhere
        return Crashed(summary=summary, signature=NO_NUMBER if again[1] else "", tail=tail)
    told = summary or f"the row says {said} and not why"
    return Crashed(summary=told, signature=_signature(said, summary, tail, _description(line)), tail=tail)


def _signature(said: str, summary: str, tail: tuple[str, ...], description: str) -> str:
    """What this failure has in common with others; "" where the row does not say why it failed."""
    for texts in ((said, summary, *tail), (description,)):
        for pattern, name in (
            (_OUT_OF_MEMORY, "out of memory"),
            (_TIME_LIMIT, "over its time limit"),
            (_DIVERGED, "diverged"),
        ):
            if any(pattern.search(text) for text in texts):
                return name
    for pattern, name in _DIFFERS:
        summary = pattern.sub(name, summary)
    return clean(summary, SUMMARY // 2)


def _error_source(line: Line) -> str:
    error = line.cell(Role.ERROR)
    source = error.get("source") if isinstance(error, dict) else None
    return clean(source, NAME) if isinstance(source, str) else ""


_OWN_NAME = re.compile(r"(?=[^A-Za-z]*[A-Za-z])[0-9A-Za-z][\w.-]{0,63}", re.ASCII)
_RUN_NAME = re.compile(r"\d{8}T\d{6}Z-[0-9A-Za-z][\w.-]{0,63}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{4,64}")


def _run_name(line: Line, at: float | None, commit: str) -> str:
    """The row's own name for its run, else one of its moment and commit; "" if one is missing.

    In ledgers of ours a name is a name; elsewhere only what has our shape is: others call runs 1, 2, 3 in every file.
    """
    own = line.said(Role.RUN, 4 * NAME)
    if (_RUN_NAME if line.ours is None else _OWN_NAME).fullmatch(own):
        return own
    if at is None or not _HEX.fullmatch(commit.lower()):
        return ""
    return f"{datetime.fromtimestamp(at, UTC):%Y%m%dT%H%M%SZ}-{commit[:SHORT].lower()}"


_EARLIEST, _LATEST = 946_684_800.0, 4_102_444_800.0  # 2000 to 2100: what lies outside is a duration or a slip


def _moment(line: Line) -> float | None:
    """When the row says it happened: ISO 8601, or seconds or milliseconds since the epoch; without a zone it is UTC."""
    cell = line.cell(Role.AT)
    if isinstance(cell, str):
        text = cell.strip()[:NAME]
        value = float(text) if NUMBER.fullmatch(text) and not re.fullmatch(r"\d{8}", text) else _iso(text)
    else:
        value = line.number_in(Role.AT)
    if value is None:
        own = line.said(Role.RUN, NAME)
        value = _iso(own[:16]) if _RUN_NAME.fullmatch(own) else None
    if value is not None and value >= 1e3 * _EARLIEST:
        value /= 1e3
    return value if value is not None and _EARLIEST <= value < _LATEST else None


def _iso(text: str) -> float | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    try:
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (OverflowError, ValueError):
        return None


def _tags(cell: object) -> tuple[str, ...]:
    parts = cell.split(",") if isinstance(cell, str) else cell if isinstance(cell, list) else []
    cleaned = (clean(part, NAME) for part in parts[:MANY] if isinstance(part, str))
    return tuple(dict.fromkeys(tag for tag in cleaned if tag))


def _inside(line: Line, name: str, key: str, limit: int) -> str:
    """A text of one of the objects that a line of the older surface carries."""
    inner = line.ours.get(name) if line.ours is not None else None
    text = inner.get(key) if isinstance(inner, dict) else None
    return clean(text, limit) if isinstance(text, str) else ""


_ELSEWHERE = frozenset(Role) - {
    Role.METRIC, Role.MEMORY, Role.STEPS, Role.PARAMS, Role.THROUGHPUT, Role.STATUS, Role.DECISION, Role.AT,
    Role.ERROR, Role.CONFIG, Role.TRIAL,
}  # fmt: skip
_MEASURED = frozenset({Role.METRIC, Role.MEMORY, Role.STEPS, Role.PARAMS, Role.THROUGHPUT})


def _read(line: Line, *, taken: bool, at: float | None) -> dict[str, str]:
    """What the row says besides, as JSON texts: all that its fields do not repeat."""
    if line.ours is not None:
        metrics = line.ours["metrics"]
        assert isinstance(metrics, dict)
        pairs = [(clean(name, NAME), value) for name, value in metrics.items()]
    else:
        spent = {line.roles[role] for role in _ELSEWHERE if role in line.roles}
        if taken:
            spent |= {line.roles[role] for role in _MEASURED if role in line.roles}
        if at is not None:
            spent.add(line.roles.get(Role.AT, ""))
        if line.cell(Role.STATUS) in (KEEP, DISCARD, CRASH):
            spent.add(line.roles[Role.STATUS])
        config = line.roles.get(Role.CONFIG)
        cells = ((Role.CONFIG.value if name == config else name, cell) for name, cell in line.cells.items())
        pairs = [(name, cell) for name, cell in cells if name not in spent]
    return {name: _json(value, line.is_table) for name, value in pairs[:MANY] if name and value not in ("", None)}


def _json(value: object, is_table: bool) -> str:
    """A cell as JSON text of bounded length: what is too long becomes a text that ends in an ellipsis."""
    if isinstance(value, str):
        if is_table and len(value) <= 2 * NAME and NUMBER.fullmatch(value) and math.isfinite(float(value)):
            return json.dumps(float(value) if re.search("[.eE]", value) else int(value))
        if is_table and value.startswith("{") and len(value) <= VALUE and (parsed := _parsed(value)) is not None:
            return _json(parsed, is_table=False)
        return json.dumps(clean(value, VALUE // 8))
    if isinstance(value, float) and math.isfinite(value):
        return repr(value)
    try:
        text = json.dumps(value, allow_nan=False)
    except ValueError:  # JSON has no word for what is not finite
        text = json.dumps(clean(json.dumps(value), VALUE // 8))
    return text if len(text) <= VALUE else json.dumps(clean(text, VALUE // 8))
