"""What counts as a measurement, and what a run's leftovers are called otherwise."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightlab.config import MetricSettings
from nightlab.runner.log import LineReader, Printed
from nightlab.runner.order import Order
from nightlab.runner.result import read_outcome
from nightlab.runner.tend import Cause, Finish
from nightlab.types import Crashed, Disputed, Finished, Lost, Outcome
from tests.runner.orders import order_for

SOURCE = "print('train')\n"
BOUNDED = MetricSettings(low=0.1, high=10.0)
RECEIPTED = replace(BOUNDED, receipt=True)


def ordered(tmp_path: Path, metric: MetricSettings = BOUNDED) -> Order:
    order = order_for(tmp_path, "true", files={"train.py": SOURCE}, metric=metric)
    order.run_dir.mkdir()
    return order


def outcome(order: Order, output: str = "", *, code: int = 0) -> Outcome:
    printed = Printed()
    reader = LineReader(order.metric.name, printed)
    reader.feed(output.encode())
    reader.finish()
    finish = Finish(cause=Cause.ENDED, code=code, wall_s=1.0, cpu_s=1.0)
    return read_outcome(order, finish, printed, output.encode())


def receipt(**changes: object) -> str:
    whole = {
        "metric": "val_bpb",
        "value": 0.993123,
        "profile": "cpu",
        "budget": {"kind": "tokens", "limit": 100, "used": 100, "tokens": 100},
        "script_sha256": hashlib.sha256(SOURCE.encode()).hexdigest(),
        "data_sha256": "d",
        "tokenizer_sha256": "t",
        "seed": 42,
    }
    return json.dumps({**whole, **changes})


def crash_summary(result: Outcome) -> str:
    assert isinstance(result, Crashed), result
    assert result.exit_code == 0
    return result.summary


# --- printed ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["val_bpb: 0.5", "val_bpb:          5e-1", "val_bpb = 0.5", "  val_bpb=+.5\r", "\x1b[1mval_bpb:\x1b[0m 0.5"]
)
def test_forms_of_a_printed_metric(tmp_path: Path, line: str) -> None:
    """`name: value` and `name = value` count, alone on a line, coloured or not."""
    result = outcome(ordered(tmp_path), f"step 1\n{line}\nbye\n")
    assert isinstance(result, Finished)
    assert result.metrics.primary == 0.5


@pytest.mark.parametrize(
    "line", ["best val_bpb: 0.5", "VAL_BPB: 0.5", "val_bpb: 0.5 (final)", "val_bpb 0.5", "xval_bpb: 0.5"]
)
def test_what_only_looks_like_a_metric(tmp_path: Path, line: str) -> None:
    """A name in other case or in the middle of a sentence is no metric."""
    assert "printed no val_bpb" in crash_summary(outcome(ordered(tmp_path), line))


def test_no_metric_is_a_crash(tmp_path: Path) -> None:
    """A command that ends well without a number has measured nothing; the tail says what it did print."""
    result = outcome(ordered(tmp_path), "hello\nval_bpb: pending\n")
    assert "printed no val_bpb" in crash_summary(result)
    assert "pending" in crash_summary(result)
    assert isinstance(result, Crashed)
    assert result.tail[0] == "hello"


def test_a_metric_printed_twice_is_no_metric(tmp_path: Path) -> None:
    """Nobody guesses which one is meant; the summary says how to make it plain."""
    summary = crash_summary(outcome(ordered(tmp_path), "val_bpb: 0.5\nval_bpb: 0.5\n"))
    assert "printed 2 times" in summary
    assert "NIGHTLAB_RESULT_PATH" in summary


def test_a_result_file_says_which_of_many_is_meant(tmp_path: Path) -> None:
    """With a file, a metric may be printed at every evaluation."""
    order = ordered(tmp_path)
    order.files.result.write_text('{"val_bpb": 0.5}')
    result = outcome(order, "val_bpb: 0.9\nval_bpb: 0.5\n")
    assert isinstance(result, Finished)
    assert result.metrics.primary == 0.5


def test_a_summary_does_not_choose_among_printed_values(tmp_path: Path) -> None:
    """Beside a summary one number may be printed again and again; two different ones are no metric."""
    order = ordered(tmp_path)
    order.files.summary.write_text('{"val_bpb": 0.5}')
    assert isinstance(outcome(order, "val_bpb: 0.5\nval_bpb: 0.50\n"), Finished)
    summary = crash_summary(outcome(order, "val_bpb: 0.5\nval_bpb: 0.9\nval_bpb: 0.5\n"))
    assert "printed 3 times with different values (0.5 and 0.9)" in summary
    assert isinstance(outcome(order, "val_bpb: 0.6\nval_bpb: 0.6\n"), Disputed)
    order.files.result.write_text("0.5")
    assert isinstance(outcome(order, "val_bpb: 0.9\nval_bpb: 0.6\n"), Finished)


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "-0.5", "0.1", "10", "1e12", "1e-9", "1e999"])
def test_values_that_nobody_believes(tmp_path: Path, text: str) -> None:
    """NaN, infinities and values at or beyond the lab's bounds are crashes, printed or in a file."""
    order = ordered(tmp_path)
    assert "val_bpb is" in crash_summary(outcome(order, f"val_bpb: {text}"))
    order.files.summary.write_text(json.dumps({"val_bpb": float(text)}))
    assert "val_bpb is" in crash_summary(outcome(order))


# --- files ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"val_bpb": 0.5}', "0.5", " 0.5\n", '{"val_bpb": 5e-1, "other": null}'])
def test_forms_of_a_result_file(tmp_path: Path, text: str) -> None:
    """An object with the metric's key, or the bare number."""
    order = ordered(tmp_path)
    order.files.result.write_text(text)
    result = outcome(order)
    assert isinstance(result, Finished)
    assert result.metrics.primary == 0.5


@pytest.mark.parametrize(
    "text",
    [
        *[
            '"0.5"',
            "true",
            "null",
            "[0.5]",
            '{"val_bpb": "0.5"}',
            '{"val_bpb": true}',
            '{"val_bpb": null}',
            '{"loss": 0.5}',
        ],
        *["", "{", "[" * 100_000, "9" * 5000, '{"val_bpb": 1' + "0" * 400 + "}", "\x00\xff", "0.5" + " " * 2_000_000],
    ],
)
def test_result_files_without_a_number(tmp_path: Path, text: str) -> None:
    """Strings, booleans, other keys, broken, bottomless and huge files are crashes with a reason, never a guess."""
    order = ordered(tmp_path)
    order.files.result.write_bytes(text.encode("latin-1"))
    assert "val_bpb" in (summary := crash_summary(outcome(order, "val_bpb: 0.5"))) or "result.json" in summary
    assert len(summary) <= 300


def test_a_result_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    """A run cannot make the lab hang by what it leaves behind."""
    order = ordered(tmp_path)
    os.mkfifo(order.files.result)
    assert "no regular file" in crash_summary(outcome(order))


def test_a_summary_measures_more_than_the_metric(tmp_path: Path) -> None:
    """Known keys become fields with their units; other numbers are kept by name, the rest is not."""
    order = ordered(tmp_path)
    summary = {"val_bpb": 0.99, "peak_vram_mb": 0, "num_steps": 953, "num_params_M": 50.3, "total_tokens_M": 499.6}
    more = {"training_seconds": 300.0, "depth": 8, "mfu_percent": 39.8, "name": "x", "ok": True, "bad": float("nan")}
    order.files.summary.write_text(json.dumps(summary | more))
    result = outcome(order, "val_bpb: 0.990000\ndepth: 7\n")
    assert isinstance(result, Finished)
    metrics = result.metrics
    assert (metrics.memory_mb, metrics.steps, metrics.params_m) == (0.0, 953, 50.3)
    assert metrics.throughput == pytest.approx(499.6e6 / 300)
    assert metrics.extra == {"depth": 8.0, "total_tokens_M": 499.6, "training_seconds": 300.0, "mfu_percent": 39.8}


def test_printed_numbers_stand_in_for_a_summary(tmp_path: Path) -> None:
    """The `key: value` block at the end of a log tells the same, however much was printed before it."""
    noise = "".join(f"k{i}: {i}\n" for i in range(500))
    result = outcome(ordered(tmp_path), noise + "val_bpb: 0.99\npeak_vram_mb: 1024.5\nnum_params_M: 50.3\n")
    assert isinstance(result, Finished)
    assert result.metrics.memory_mb == 1024.5
    assert result.metrics.params_m == 50.3
    assert len(result.metrics.extra) <= 64


def test_a_summary_that_contradicts_the_printout_is_disputed(tmp_path: Path) -> None:
    """Rounding is no contradiction, another number is."""
    order = ordered(tmp_path)
    order.files.summary.write_text('{"val_bpb": 0.993123}')
    assert isinstance(outcome(order, "val_bpb: 0.9931\n"), Finished)
    disputed = outcome(order, "val_bpb: 0.9941\n")
    assert isinstance(disputed, Disputed)
    assert "0.993123" in disputed.because
    assert "0.9941" in disputed.because
    order.files.summary.write_text('{"val_bpb": 0.99}')
    assert isinstance(outcome(order, "val_bpb: 0.991234\n"), Disputed)


# --- receipts ---------------------------------------------------------------------------------------------------


def test_a_receipt_that_agrees(tmp_path: Path) -> None:
    """Same value to six decimals, same script, same seed: a measurement."""
    order = ordered(tmp_path, RECEIPTED)
    order.files.receipt.write_text(receipt(value=0.9931232))
    assert isinstance(outcome(order, "val_bpb: 0.993123\n"), Finished)


@pytest.mark.parametrize(
    ("text", "because"),
    [
        (None, "no receipt"),
        ("{", "cannot be read"),
        ("3", "no JSON object"),
        (receipt(value=0.991), "its receipt says 0.991000"),
        (receipt(value="0.993123"), "no finite value"),
        (receipt(value=float("nan")), "no finite value"),
        (receipt(script_sha256="0" * 64), "another script"),
        (receipt(seed=43), "another seed"),
        (receipt(seed=True), "another seed"),
        (receipt(metric="loss"), "another metric"),
        (receipt(budget=None), "lacks budget"),
        (receipt(data_sha256=None), "lacks data_sha256"),
        ("null", "no receipt"),
    ],
)
def test_a_receipt_that_does_not(tmp_path: Path, text: str | None, because: str) -> None:
    """A missing, broken or contradicting receipt is an outcome of its own, and carries no metric."""
    order = ordered(tmp_path, RECEIPTED)
    if text is not None:
        order.files.receipt.write_text(text)
    result = outcome(order, "val_bpb: 0.993123\n")
    assert isinstance(result, Disputed), result
    assert because in result.because
    assert result.printed == 0.993123


def test_a_receipt_is_looked_at_where_none_is_required(tmp_path: Path) -> None:
    """Without one the run counts; with a contradicting one it does not."""
    order = ordered(tmp_path)
    assert isinstance(outcome(order, "val_bpb: 0.993123\n"), Finished)
    order.files.receipt.write_text(receipt(value=0.5))
    assert isinstance(outcome(order, "val_bpb: 0.993123\n"), Disputed)


# --- crashes ----------------------------------------------------------------------------------------------------


def test_the_line_that_says_what_was_wrong(tmp_path: Path) -> None:
    """The last line that is not empty, without control characters, bounded; not UTF-8 is no obstacle."""
    log = "epoch 1\nTraceback (most recent call last):\n  File x\n\x1b[31mRuntimeError: boom\x07 at 0xff\x1b[0m\n\n \n"
    result = outcome(ordered(tmp_path), log, code=1)
    assert isinstance(result, Crashed)
    assert result.summary == "RuntimeError: boom at 0xff"
    assert result.signature == "RuntimeError: boom at <address>"
    assert outcome(ordered_again(tmp_path), "x" * 10_000, code=1).summary.endswith("\u2026")  # type: ignore[union-attr]


def ordered_again(tmp_path: Path) -> Order:
    (tmp_path / "again").mkdir()
    return ordered(tmp_path / "again")


@pytest.mark.parametrize(
    ("last", "is_memory"),
    [
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", True),
        ("RuntimeError: CUDA out of memory", True),
        ("MemoryError", True),
        ("RuntimeError: boom", False),
        ("room is out of memoryless things", False),
    ],
)
def test_running_out_of_memory_is_recognized(tmp_path: Path, last: str, is_memory: bool) -> None:
    """By whole words; "boom" is not out of memory."""
    result = outcome(ordered(tmp_path), last, code=1)
    assert isinstance(result, Crashed)
    assert (result.signature == "out of memory") == is_memory


def test_a_signal_is_named(tmp_path: Path) -> None:
    """A command that a signal ended says nothing itself, so the summary does."""
    result = outcome(ordered(tmp_path), "step 9\n", code=-11)
    assert isinstance(result, Crashed)
    assert result.summary == "killed by SIGSEGV; last line: step 9"
    assert result.exit_code == -11


@pytest.mark.parametrize("code", [-9, 137])
def test_who_was_killed_is_lost_and_not_to_blame(tmp_path: Path, code: int) -> None:
    """Signal 9 comes from outside, also as a wrapper (`uv run`) reports it; a traceback makes it the command's own."""
    result = outcome(ordered(tmp_path), "step 9\n", code=code)
    assert result == Lost(reason="killed by signal 9 (out of memory, or by hand)")
    log = "Traceback (most recent call last):\n  File x\nRuntimeError: boom\n"
    assert isinstance(outcome(ordered_again(tmp_path), log, code=code), Crashed)


@given(st.binary(max_size=400), st.lists(st.integers(1, 50), max_size=30))
def test_a_stream_may_be_cut_anywhere(noise: bytes, cuts: list[int]) -> None:
    """What is read does not depend on how the output arrives."""
    data = noise + b"\nval_bpb: 0.75\nnum_steps: 3\n" + noise
    whole, pieces = Printed(), Printed()
    reader = LineReader("val_bpb", whole)
    reader.feed(data)
    reader.finish()
    reader, rest = LineReader("val_bpb", pieces), data
    for cut in cuts:
        reader.feed(rest[:cut])
        rest = rest[cut:]
    reader.feed(rest)
    reader.finish()
    assert pieces == whole
    assert whole.count >= 1
