"""Rows of other ledgers: taken in as what they say, refused with a reason, never invented."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nightlab.config import MetricSettings
from nightlab.ledger.foreign import Foreign, Format, Read, read_jsonl, read_table, sniff
from nightlab.ledger.splitting import MAX_LINE
from nightlab.report.text import clean as without_controls
from nightlab.types import Direction, RunId

HEADER = "commit\tval_bpb\tmemory_gb\tstatus\tdescription\n"
HISTORIES = Path(__file__).parents[2].parent / "shared" / "data" / "histories"


def table(text: str | bytes, metric: str = "val_bpb") -> Read:
    return read_table(text if isinstance(text, bytes) else text.encode(), name="results.tsv", metric=metric)


def lines(*objects: object, metric: str = "val_bpb") -> Read:
    text = "\n".join(one if isinstance(one, str) else json.dumps(one) for one in objects)
    return read_jsonl(text.encode("utf-8", "replace"), name="log.jsonl", metric=metric)


def only(found: Read) -> Foreign:
    assert found.refused == ()
    [row] = found.rows
    return row


def value(row: Foreign) -> float | None:
    return row.metrics.primary if row.metrics else None


# --- tables -----------------------------------------------------------------------------------------------------


def test_a_table_of_the_usual_shape_is_read_as_it_stands() -> None:
    """Commit, value, memory in MB, status and description; a discard's parent is what was kept before it."""
    first, second = table(HEADER + "aaaaaaa\t0.99\t44.5\tkeep\tbaseline\nbbbbbbb\t1.0\t44\tdiscard\tdepth 9\n").rows
    assert (first.line, first.commit, value(first), first.status, first.description) == (
        2, "aaaaaaa", 0.99, "keep", "baseline",
    )  # fmt: skip
    assert first.metrics is not None
    assert first.metrics.memory_mb == 44.5 * 1024
    assert first.parent_commit is None
    assert first.at is None
    assert first.run == ""
    assert second.parent_commit == "aaaaaaa"
    assert second.ranked


@pytest.mark.parametrize(
    "text",
    [
        "aaaaaaa\t0.99\t44\tkeep\tbaseline\n",
        "\ufeff" + HEADER + "aaaaaaa\t0.99\t44\tkeep\tbaseline\n",
        (HEADER + "aaaaaaa\t0.99\t44\tkeep\tbaseline\n").replace("\n", "\r\n"),
        (HEADER + "aaaaaaa\t0.99\t44\tkeep\tbaseline\n").replace("\n", "\r"),
        "# my runs\n\n" + HEADER + "\n# so far\naaaaaaa\t0.99\t44\tkeep\tbaseline\n\n" + HEADER,
        "commit,val_bpb,memory_gb,status,description\naaaaaaa,0.99,44,keep,baseline",
        "status,description,val_bpb,commit\nKEEP,baseline,0.99,aaaaaaa",
        "status,description,val_bpb,commit\nkept,\"baseline\",\"0.99\",aaaaaaa",
        "Commit\tVal BPB\tPeak VRAM MB\tStatus\tDescription\naaaaaaa\t0.99\t45056\taccepted\tbaseline",
        "#commit\tval_bpb\tstatus\tdescription\naaaaaaa\t0.99\tkeep\tbaseline",
    ],
)  # fmt: skip
def test_the_same_row_in_other_dress(text: str) -> None:
    """Header or none, order of columns, separator, byte order mark, line ends and comments make no difference."""
    row = only(table(text))
    assert (row.commit, value(row), row.status, row.description) == ("aaaaaaa", 0.99, "keep", "baseline")
    assert row.metrics is not None
    assert row.metrics.memory_mb in (44 * 1024, None)


def test_utf_16_of_a_spreadsheet_is_read() -> None:
    """A table that was exported with a UTF-16 mark is the same table."""
    text = (HEADER + "aaaaaaa\t0.99\t44\tkeep\tbaseline\n").encode("utf-16")
    assert value(only(table(text))) == 0.99


def test_a_quote_swallows_nothing() -> None:
    """An unbalanced quotation mark is a character: the rows after it are rows."""
    text = HEADER + 'a1b2c3d\t0.99\t1\tkeep\t"wide\nb1b2c3d\t0.98\t1\tkeep\tb\n'
    assert [r.description for r in table(text).rows] == ['"wide', "b"]
    text = "commit,val_bpb,status,description\na1b2c3d,0.99,keep,5\" window\nb1b2c3d,0.98,keep,\"a, b\"\n"  # fmt: skip
    assert [r.description for r in table(text).rows] == ['5" window', "a, b"]


def test_separators_in_the_description_belong_to_it() -> None:
    """A tab too many in the free text neither loses the row nor moves its columns."""
    assert only(table(HEADER + "aaaaaaa\t0.99\t1\tkeep\tA\tand B\n")).description == "A and B"
    text = "commit,val_bpb,status,description\naaaaaaa,0.99,keep,lr up, depth down\n"
    assert only(table(text)).description == "lr up depth down"
    text = "commit\tval_bpb\tstatus\tdescription\twhy\naaaaaaa\t0.99\tkeep\tA\tB\tno reason\n"
    row = only(table(text))
    assert (row.description, row.read["why"]) == ("A B", '"no reason"')


@pytest.mark.parametrize(
    ("word", "status"),
    [("keep", "keep"), ("KEPT", "keep"), ("promoted", "keep"), ("baseline", "keep"), ("keep (borderline)", "keep"),
     ("discard", "discard"), ("Reverted", "discard"), ("no improvement", "discard"),
     ("crash", "crash"), ("OOM", "crash"), ("timed out", "crash"), ("failed: nan", "crash")],
)  # fmt: skip
def test_words_of_a_status(word: str, status: str) -> None:
    """What others call keep, discard and crash is understood; a crash has no metric."""
    row = only(table(HEADER + f"aaaaaaa\t0.99\t1\t{word}\tx\n"))
    assert row.status == status
    assert (row.metrics is None) == (status == "crash")
    assert (row.crash is not None) == (status == "crash")


def test_what_is_no_row_is_refused_with_the_reason() -> None:
    """A status nobody knows, a run that is not over, a line that cannot be split: the line's number says where."""
    text = HEADER + "aaaaaaa\t0.99\t1\tmaybe\tx\naaaaaaa\t0.99\t1\trunning\tx\nfree words\naaaaaaa\t\t\tkeep\t\n"
    found = table(text + "bbbbbbb\t0.99\t1\tkeep\ty\n")
    assert [r.line for r in found.rows] == [6]
    assert [(r.line, r.why.split(":")[0]) for r in found.refused] == [
        (2, "its status 'maybe' says neither keep nor discard nor crash"),
        (3, "it says running"),
        (4, "it has one cell only"),
        (5, "it has neither a usable number nor a description"),
    ]


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "", "-", "0.000000", "-0.99", "1e12", "1e-9", "99%", "n/a",
                                    "\u0660.\u0669", "1_0", "0x1", "9" * 200])  # fmt: skip
def test_a_number_that_cannot_be_believed_is_no_value(number: str) -> None:
    """The row is on record as a crash that quotes the number; nothing is ranked and nothing invented."""
    row = only(table(HEADER + f"aaaaaaa\t{number}\t1\tdiscard\tdepth 9\n"))
    assert row.status == "crash"
    assert row.metrics is None
    assert row.crash is not None
    assert "the row says discard" in row.crash.summary
    assert "val_bpb" in row.crash.summary
    assert row.crash.signature == "no usable number"


@pytest.mark.parametrize(
    ("text", "number"),
    [("0.99", 0.99), ("+.99", 0.99), ("9.9e-1", 0.99), ("1,234.5", 1234.5), ("0,99", 0.99), ("45.5%", 0.455),
     ("0.99 (avg of 3)", 0.99), ("0.99 ± 0.01", 0.99), ("0.99*", 0.99), ("-3", -3.0)],
)  # fmt: skip
def test_numbers_as_people_write_them(text: str, number: float) -> None:
    """Thousands, decimal commas, percents and remarks behind a number are read."""
    row = only(table(f"commit\tscore\tstatus\tdescription\naaaaaaa\t{text}\tkeep\tx\n", metric="score"))
    assert value(row) == pytest.approx(number)


def test_another_metric_is_read_but_not_ranked() -> None:
    """A table of val_loss tells of val_loss: its values stand beside no val_bpb."""
    found = table("commit\tval_loss\tstatus\tdescription\naaaaaaa\t3.7\tkeep\tx\nbbbbbbb\t0\tkeep\ty\n")
    assert found.metric_seen == "val_loss"
    first, second = found.rows
    assert (value(first), first.ranked) == (3.7, False)
    assert second.status == "crash"


def test_the_labs_own_bounds_and_direction_count() -> None:
    """A lab that says what it believes of its metric is followed."""
    lab = MetricSettings(name="hits", direction=Direction.MAXIMIZE, low=0.0, high=None)
    data = b"trial\thits\tstatus\tconfig\n0\t5\tok\t{}\n1\t7\tok\t{}\n2\t6\tok\t{}\n3\t-1\tok\t{}\n"
    found = read_table(data, name="t", metric="hits", lab=lab)
    assert [r.status for r in found.rows] == ["keep", "keep", "discard", "crash"]


def test_other_columns_are_kept_as_json() -> None:
    """What no field repeats stands in `read`: numbers as numbers, words as words, objects as objects."""
    text = (
        'commit\tval_bpb\tmfu\tworst_test\tconfig\tstatus\tdescription\naaaaaaa\t0.99\t45.5\tedge\t{"A": 1}\tkeep\tx\n'
    )
    read = {name: json.loads(text) for name, text in only(table(text)).read.items()}
    assert read == {"mfu": 45.5, "worst_test": "edge", "config": {"A": 1}}


def test_reasons_and_moments() -> None:
    """A reason to reject becomes a note, an error the crash's summary, a time stamp the moment and the run's name."""
    text = (
        "commit\tval_bpb\tstatus\tdescription\treject_reason\terror\ttimestamp\n"
        "aaaaaaa\t0.99\tdiscard\tx\tworse\t\t2026-03-11T04:30:00Z\n"
        "bbbbbbb\t0\tcrash\ty\t-\tCUDA out of memory at 0x7f\t1773203400\n"
        "ccccccc\t0\tcrash\tz\t-\tKeyError: 'a' in /x/y.py line 5\t300\n"
    )
    first, second, third = table(text).rows
    assert (first.notes, first.at, first.run) == ("worse", 1773203400.0, "20260311T043000Z-aaaaaaa")
    assert second.crash is not None
    assert (second.crash.summary, second.crash.signature) == ("CUDA out of memory at 0x7f", "out of memory")
    assert (second.notes, second.at) == ("", 1773203400.0)
    assert third.crash is not None
    assert third.crash.signature == "KeyError: <text> in <path> line <n>"
    assert (third.at, third.read["timestamp"]) == (None, "300")


def test_a_parent_is_what_was_kept_before_and_never_invented() -> None:
    """The loop goes back to its last keep. A row without a commit has no parent, a repeat keeps its first one's."""
    text = HEADER + (
        "a1a1a1a\t0.99\t1\tdiscard\tfirst\nb1b1b1b\t0.98\t1\tkeep\tb\nc1c1c1c\t0.97\t1\tdiscard\tc\n"
        "\t0.97\t1\tkeep\tno commit\nd1d1d1d\t0.96\t1\tkeep\td\ne1e1e1e\t0.97\t1\tdiscard\te\n"
        "d1d1d1d\t0.96\t1\tkeep\td\n"
    )
    rows = table(text).rows
    assert [r.parent_commit for r in rows] == [None, None, "b1b1b1b", None, None, "d1d1d1d", None]
    assert rows[3].commit == ""
    explicit = "commit\tparent\tval_bpb\tstatus\tdescription\na1a1a1a\t\t0.99\tkeep\tx\nb1b1b1b\tffff\t0.9\tkeep\ty\n"
    assert [r.parent_commit for r in table(explicit).rows] == [None, "ffff"]


def test_a_table_of_configurations_is_told_in_changes() -> None:
    """Without a description it is what the configuration changes; and the best so far counts as kept."""
    configs = ['{"A": 1, "B": "x"}', '{"A": 2, "B": "x"}', '{"A": 1, "B": "x"}', '{"A": 1, "B": "y", "C": true}']
    values = ["0.99", "0.98", "0.985", "0"]
    words = ["ok", "ok", "ok", "crash"]
    body = "".join(
        f"{i}\t{v}\t{w}\t1773927277\t\t{c}\n" for i, (v, w, c) in enumerate(zip(values, words, configs, strict=True))
    )
    rows = table("trial\tval_bpb\tstatus\ttimestamp\terror\tconfig\n" + body).rows
    assert [r.description for r in rows] == [
        "the first configuration", "A 1 -> 2", "the first configuration again", "B x -> y, C = true",
    ]  # fmt: skip
    assert [r.status for r in rows] == ["keep", "keep", "discard", "crash"]
    assert all(r.commit == "" and r.parent_commit is None and r.at == 1773927277.0 for r in rows)
    mixed = table(HEADER + "aaaaaaa\t0.99\t1\tok\tx\nbbbbbbb\t1.0\t1\tdiscard\ty\nccccccc\t1.1\t1\tok\tz\n").rows
    assert [r.status for r in mixed] == ["keep", "discard", "keep"]


def test_hostile_text_becomes_harmless_and_short() -> None:
    """Escape codes, invisible characters and bytes that are no UTF-8 are taken out, and nothing is too long."""
    text = (
        HEADER.encode() + b"aaaaaaa\t0.99\t1\tkeep\t\x1b[31mred\x1b[0m \xff\xfe \xe2\x80\xaex" + b"y" * 100_000 + b"\n"
    )
    row = only(table(text))
    assert row.description.startswith("red \ufffd\ufffd xyyy")
    assert len(row.description) == 4000
    assert row.description.isprintable()


def test_a_line_of_fifty_megabytes_is_refused_unread() -> None:
    """It costs no memory of its own, and the rows around it are read."""
    data = HEADER.encode() + b"a" * (50 << 20) + b"\naaaaaaa\t0.99\t1\tkeep\tx\n"
    found = table(data)
    assert len(found.rows) == 1
    assert [(r.line, len(r.text) <= 120) for r in found.refused] == [(2, True)]
    assert len(read_jsonl(b'{"a": "' + b"a" * MAX_LINE + b'"}', name="x", metric="val_bpb").refused) == 1


# --- JSON lines -------------------------------------------------------------------------------------------------

OURS = {
    "run_id": "20260311T043000Z-abc1234", "timestamp_utc": "2026-03-11T04:30:00Z", "branch": "autoresearch/x",
    "commit": "abc1234", "parent_commit": "def5678", "family": "optimizer", "status": "keep", "description": "raise lr",
    "hypothesis": "faster", "tags": ["lr", "muon"], "notes": "n", "error": None, "artifacts": {"run_dir": "r"},
    "metrics": {"val_bpb": 0.99, "peak_vram_mb": 1024.0, "num_steps": 50, "num_params_M": 50.3, "total_tokens_M": 9.5},
    "novelty_guard": {"mode": "explore"},
    "decision_packet": {"next_action": "promote", "priority": "high", "summary": "s"},
    "lineage_root": "def5678", "dirty": True,
}  # fmt: skip


def test_a_line_of_the_older_ledger_keeps_every_field() -> None:
    """Its words, numbers and names are taken in, and the line itself is kept."""
    row = only(lines(OURS))
    assert (row.run, row.at, row.branch, row.commit, row.parent_commit) == (
        "20260311T043000Z-abc1234", 1773203400.0, "autoresearch/x", "abc1234", "def5678",
    )  # fmt: skip
    assert (row.family, row.hypothesis, row.tags, row.notes, row.mode, row.dirty) == (
        "optimizer", "faster", ("lr", "muon"), "n", "explore", True,
    )  # fmt: skip
    assert (row.action, row.priority, row.advice) == ("promote", "high", "s")
    assert row.metrics is not None
    assert (row.metrics.primary, row.metrics.memory_mb, row.metrics.steps) == (0.99, 1024.0, 50)
    assert json.loads(row.read["total_tokens_M"]) == 9.5
    assert json.loads(row.raw) == OURS
    event = row.imported(run=RunId(row.run), now=0.0)
    assert (event.at, event.digest, event.raw) == (row.at, row.digest, row.raw)


def test_an_empty_field_of_the_older_ledger_stays_empty() -> None:
    """Its notes are no description."""
    row = only(lines({**OURS, "description": "", "notes": "n"}))
    assert (row.description, row.notes) == ("", "n")


def test_a_crash_of_the_older_ledger_keeps_its_error() -> None:
    """Summary, last lines and their source stay."""
    error = {"summary": "RuntimeError: CUDA out of memory", "tail": ["a", "b"], "source": "run.log"}
    metrics = {"val_bpb": None, "peak_vram_mb": 80_000.0}
    row = only(lines({**OURS, "status": "crash", "error": error, "metrics": metrics, "parent_commit": None}))
    assert row.crash is not None
    assert (row.crash.summary, row.crash.tail, row.crash.signature) == (error["summary"], ("a", "b"), "out of memory")
    assert (row.error_source, row.metrics, row.parent_commit) == ("run.log", None, None)
    assert json.loads(row.read["peak_vram_mb"]) == 80_000.0


@pytest.mark.parametrize("odd", ["0.99", True, [1], {"a": 1}, -1, 1e300, 10**400, float("nan"), float("inf")])
def test_what_is_no_number_in_json_is_none_here(odd: object) -> None:
    """A numeric string, a boolean, NaN: on record as a crash that says so."""
    row = only(lines({**OURS, "metrics": {"val_bpb": odd, "peak_vram_mb": 1.0}}))
    assert (row.status, row.metrics) == ("crash", None)
    assert row.crash is not None
    assert row.crash.signature == "no usable number"


def test_a_keep_that_nobody_measured_is_no_crash() -> None:
    """A ledger of ours gives such a commit neither value nor error, in lines and in CSV; all else is a crash."""
    untold = {**OURS, "metrics": {"val_bpb": None, "peak_vram_mb": None}}
    csv = table("run,commit,status,val_bpb,ranked,crash,description\n20260311T043000Z-abc1234,abc1234,keep,,true,,lr\n")
    for row in (only(lines(untold)), only(csv)):
        assert (row.status, row.said, row.metrics, row.crash) == ("keep", "keep", None, None)
    failed = {"summary": "killed", "tail": [], "source": "x"}
    for odd in ({**untold, "error": failed}, {**untold, "status": "discard"}, {**untold, "metrics": {"val_bpb": "-"}}):
        row = only(lines(odd))
        assert (row.status, row.said) == ("crash", odd["status"])


@pytest.mark.parametrize(
    ("name", "run"),
    [("run-a", "run-a"), ("7", "20260311T043000Z-abc1234"), ("../x", "20260311T043000Z-abc1234"), ("a b", None)],
)
def test_a_run_of_the_older_ledger_keeps_its_name(name: str, run: str | None) -> None:
    """Any name that a directory may have and that is more than a number; whether its value can be believed or not."""
    for metrics in (OURS["metrics"], {"val_bpb": float("nan")}):
        assert only(lines({**OURS, "run_id": name, "metrics": metrics})).run == (run or "20260311T043000Z-abc1234")
    assert only(lines({"run": "run-a", "val_bpb": 0.9, "description": "lr", "status": "keep"})).run == ""


def test_json_lines_of_other_tools() -> None:
    """A commit or id, a metric, a status and a description are found under the names they usually go by."""
    found = lines(
        {"sha": "abc1234", "results": {"val_bpb": 0.99}, "outcome": "accepted", "message": "deeper"},
        {"id": "exp7", "val_bpb": 0.98, "kept": False, "title": "wider"},
        {"type": "experiment_recorded", "experiment": {"commit": "abc1235", "metrics": {"val_bpb": 0.97},
         "status": "ok", "recommendation": "keep", "description": "longer", "category": "schedule"}},
        {"trial": 3, "val_bpb": 0.96, "status": "ok", "config": {"A": 1}, "timestamp": 1773927277},
    )  # fmt: skip
    assert [(r.commit, value(r), r.status, r.description) for r in found.rows] == [
        ("abc1234", 0.99, "keep", "deeper"), ("exp7", 0.98, "discard", "wider"), ("abc1235", 0.97, "keep", "longer"),
        ("", 0.96, "keep", "the first configuration"),
    ]  # fmt: skip
    assert found.rows[2].family == "schedule"
    assert not any(r.raw for r in found.rows)


def test_lines_that_are_no_rows_are_refused() -> None:
    """Torn, no object, nested without end, a key twice, an event without a result: each with its reason."""
    torn = json.dumps(OURS)[:-20]
    found = lines(torn, [1, 2], "[" * 100_000, '{"a":' * 100_000, '{"val_bpb": 1, "val_bpb": 2}', {"event": "began"})
    assert found.rows == ()
    assert [r.line for r in found.refused] == [1, 2, 3, 4, 5, 6]
    why = [r.why for r in found.refused]
    assert why[1] == "it is no object"
    assert "too deep" in why[2]
    assert "too deep" in why[3]
    assert "'val_bpb' stands twice" in why[4]
    assert "neither a usable number nor a description" in why[5]


def test_lone_surrogates_do_no_harm() -> None:
    """Half a pair is shown as a mark of its loss and can be stored."""
    row = only(read_jsonl(b'{"commit": "a", "val_bpb": 1.5, "status": "keep", "description": "x\\ud800y"}', name="x",
                          metric="val_bpb"))  # fmt: skip
    assert row.description == "x\ufffdy"
    row.description.encode()


def test_the_kind_of_file_is_seen() -> None:
    """An object on the first line that says something makes JSON lines; everything else is a table."""
    assert sniff(b'\xef\xbb\xbf\n# c\n  {"a": 1}\n') is Format.JSON_LINES
    assert sniff(HEADER.encode()) is Format.TABLE
    assert sniff(b"") is Format.TABLE


# --- twice the same ---------------------------------------------------------------------------------------------


def test_a_row_is_the_same_wherever_it_stands() -> None:
    """The digest is of what a row says: neither the file's name, its line ends nor the place in it count."""
    body = "aaaaaaa\t0.99\t1\tkeep\tx\nbbbbbbb\t0.98\t1\tkeep\ty\n"
    there = {r.digest for r in table(HEADER + body).rows}
    assert there == {r.digest for r in read_table(("# new\n" + HEADER + body).replace("\n", "\r\n").encode(),
                                                  name="other", metric="val_bpb").rows}  # fmt: skip
    longer = table(HEADER + body + "ccccccc\t0.97\t1\tkeep\tz\n")
    assert there < {r.digest for r in longer.rows}


def test_equal_rows_of_one_file_are_told_apart() -> None:
    """A row that stands twice is two runs, and importing the file again finds both known."""
    text = HEADER + "aaaaaaa\t0.99\t1\tkeep\tx\n" * 2
    first, second = table(text).rows
    assert first.digest != second.digest
    assert [r.digest for r in table(text).rows] == [first.digest, second.digest]


def rows_of_tables() -> st.SearchStrategy[bytes]:
    cell = st.sampled_from(["", "a1b2c3d", "0.99", "nan", "keep", "discard", "crash", "ok", "x, y", '"', "# c", "{}",
                            "commit", "status", "val_bpb", "\u202e", "5%", "1,000"]) | st.text(max_size=8)  # fmt: skip
    line = st.lists(cell, max_size=7).map("\t".join) | st.lists(cell, max_size=7).map(",".join)
    return st.lists(line | st.just(HEADER.strip()), max_size=12).map(
        lambda ls: "\n".join(ls).encode("utf-8", "replace")
    )


def rows_of_json() -> st.SearchStrategy[bytes]:
    leaf = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6)
    tree = st.recursive(leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner))
    name = st.sampled_from([*OURS, "val_bpb", "id", "config", "trial", "experiment", "kept", "timestamp", ""])
    line = st.dictionaries(name, tree | st.sampled_from(list(OURS.values())), max_size=8).map(json.dumps)
    return st.lists(line | st.text(max_size=9), max_size=6).map(lambda ls: "\n".join(ls).encode("utf-8", "replace"))


@given(st.binary(max_size=300) | rows_of_tables() | rows_of_json())
@settings(max_examples=300, deadline=None)
@example(b"commit\tval_bpb\tstatus\tdescription\n\t\t\t\n")
@example(b'{"experiment": {"experiment": {}}, "config": "{"}')
def test_any_bytes_are_accepted(data: bytes) -> None:
    """No file is so odd that reading it fails; what is taken in is finite, safe to show, and the same each time."""
    for read in (read_table, read_jsonl):
        found = read(data, name="any", metric="val_bpb")
        assert found == read(data, name="any", metric="val_bpb")
        digests = [r.digest for r in found.rows]
        assert len(set(digests)) == len(digests)
        for row in found.rows:
            assert (row.metrics is None) == (row.status == "crash") == (row.crash is not None)
            assert row.description == without_controls(row.description)
            for text in row.read.values():
                json.loads(text)
    sniff(data)


@given(rows_of_tables(), rows_of_tables())
@settings(max_examples=100, deadline=None)
def test_a_longer_version_of_a_file_has_all_its_rows(data: bytes, more: bytes) -> None:
    """Importing a table, and later the table that grew from it, takes in each row once."""
    head = HEADER.encode()
    before = [r.digest for r in table(head + data + b"\n").rows]
    after = {r.digest for r in table(head + data + b"\n" + more).rows}
    assert set(before) <= after


@pytest.mark.skipif(not HISTORIES.is_dir(), reason="the shared histories are not here")
def test_every_row_of_the_public_histories_is_taken_in() -> None:
    """Fifty histories of forks: no line is refused, and the counts are those of their index."""
    with (HISTORIES / "index.csv").open(encoding="utf-8") as file:
        index = list(csv.DictReader(file))
    for entry in index:
        found = table((HISTORIES / entry["file"]).read_bytes())
        assert found.refused == (), entry["file"]
        assert len(found.rows) == int(entry["rows"])
        assert found.metric_seen == entry["metric"]
        if int(entry["keep"]):
            assert sum(r.status == "keep" for r in found.rows) == int(entry["keep"])
