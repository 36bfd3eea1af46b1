"""What a history teaches: no more than its rows tell, in sentences that are safe to print."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from nightlab.ledger.foreign import read_table
from nightlab.report.lessons import Lessons, lessons, render
from nightlab.report.text import clean
from nightlab.types import Crashed, Direction, Imported, Metrics, RunId

HISTORIES = Path(__file__).parents[2].parent / "shared" / "data" / "histories"


def row(value: float | None, status: str = "discard", description: str = "", **more: str) -> Imported:
    crash = Crashed(summary="x", signature=more.pop("signature", "")) if value is None else None
    return Imported(
        run=RunId("r"),
        origin=more.get("origin", "results.tsv"),
        digest="",
        status="crash" if value is None else status,
        at=0.0,
        commit=more.get("commit", ""),
        source_hash=more.get("source", ""),
        description=description,
        metrics=None if value is None else Metrics(primary=value),
        crash=crash,
        read={"config": more["config"]} if "config" in more else {},
    )


def learn(rows: Sequence[Imported], direction: Direction = Direction.MINIMIZE) -> Lessons:
    return lessons(rows, direction=direction, metric="val_bpb")


def told(rows: Sequence[Imported], direction: Direction = Direction.MINIMIZE) -> str:
    return "\n".join(render(learn(rows, direction)))


# --- noise ------------------------------------------------------------------------------------------------------


def test_without_repeats_the_noise_is_unknown_and_said_to_be() -> None:
    """Two different ideas tell nothing of the noise; the first thing to do is to measure it."""
    text = told([row(1.0, "keep", "baseline"), row(0.99, "keep", "depth 9")])
    assert "the noise is unknown" in text
    assert "1. Run the best source (row 2) on three more seeds" in text


def test_repeats_of_one_source_give_the_noise() -> None:
    """Runs of one source are pooled: here 1 % off the true deviation is within what so many repeats allow."""
    rng = random.Random(1)
    rows = [row(1.0 + group / 10 + rng.gauss(0, 0.01), source=f"s{group}") for group in range(2) for _ in range(200)]
    noise = learn(rows).noise
    assert noise is not None
    assert noise.repeats == 199  # of the better one: that is enough
    assert noise.low is not None
    assert noise.high is not None
    assert noise.low < 0.01 < noise.high


@pytest.mark.parametrize(
    ("rows", "repeats"),
    [
        ([row(1.0, "keep", "x", commit="abc1234"), row(1.1, "keep", "x", commit="abc1234")], 1),
        ([row(1.0, config='{"A": 1, "B": 2}'), row(1.1, config='{"B": 2, "A": 1}')], 1),
        ([row(1.0, "keep", "baseline"), row(0.9, "keep", "depth 9"), row(1.1, "discard", "baseline again")], 1),
        ([row(1.0, "keep", "baseline"), row(0.9, "keep", "depth 9"), row(0.8, "discard", "rerun of best")], 1),
        ([row(1.0, "keep", "a"), row(1.1, "discard", "halve it"), row(1.2, "discard", "halve it")], 1),
        # What follows tells of two things, or may:
        ([row(1.0, "keep", "halve it"), row(0.9, "keep", "halve it")], 0),
        ([row(1.0, "keep", "a"), row(1.1, "discard", "b"), row(0.9, "keep", "c"), row(0.8, "discard", "b")], 0),
        ([row(1.0, "keep", "x", commit="abc1234"), row(1.1, "keep", "y", commit="abc1234")], 0),
        ([row(1.0, "keep", "x", commit="run_a"), row(1.1, "keep", "x", commit="run_b")], 0),
        ([row(1.0, "keep", "baseline", commit="abc1234"), row(1.1, "keep", "baseline", commit="fff1234")], 0),
        ([row(1.0, "keep", "a", source="s"), row(1.1, "keep", "a", source="t")], 0),
        ([row(1.0, "keep", "a", commit="abc1234"), row(1.1, "keep", "a", commit="abc1234", origin="other")], 0),
    ],
)
def test_what_counts_as_a_repeat(rows: list[Imported], repeats: int) -> None:
    """Equal source, configuration, commit and words, or the same words on the same base: nothing else does."""
    noise = learn(rows).noise
    assert (noise.repeats if noise else 0) == repeats


def test_copies_say_nothing_of_the_noise() -> None:
    """The very same number twice is a copied row or a deterministic run: no noise of zero is made of it."""
    found = learn([row(1.0, "keep", "a", source="s"), row(1.0, "keep", "a", source="s")])
    assert (found.noise, found.copies) == (None, 1)


def test_a_stray_run_does_not_make_the_noise() -> None:
    """One run out of many that went wrong is left out and mentioned."""
    rng = random.Random(2)
    rows = [row(1.0 + rng.gauss(0, 0.001), source="s") for _ in range(60)]
    found = learn([*rows, row(1.5, source="s")])
    assert found.noise is not None
    assert found.noise.strays == 1
    assert found.noise.sd < 0.0015
    assert "1 run much farther off left out" in "\n".join(render(found))


def test_where_many_runs_stray_that_is_the_noise() -> None:
    """A fifth of all runs far off is how these runs scatter: nothing is left out."""
    rows = [row(1.0 + 0.001 * (n % 3) + 0.5 * (n % 5 == 0), source="s") for n in range(60)]
    noise = learn(rows).noise
    assert noise is not None
    assert noise.strays == 0
    assert noise.sd > 0.1


# --- the best value and the keeps -------------------------------------------------------------------------------


def noisy(sd: float) -> list[Imported]:
    """Rows that make the noise known without being good."""
    return [row(2.0 - sd, "discard", "x", source="old"), row(2.0 + sd, "discard", "x", source="old")]


def test_rivals_within_the_noise_are_counted() -> None:
    """A best value that others reach within twice the noise is not known to be the best."""
    rows = [*noisy(0.01), row(1.0, "keep", "a", source="a"), row(1.01, "discard", "b"), row(1.5, "discard", "c")]
    found = learn(rows)
    assert found.best is not None
    assert (found.best.mark.value, found.best.runs, found.best.rivals) == (1.0, 1, 1)
    assert "1 other idea lies within twice the noise" in "\n".join(render(found))


def test_a_lead_is_never_called_proven() -> None:
    """Even far ahead of all others one run is one run."""
    text = told([*noisy(0.01), row(1.0, "keep", "a", source="a")])
    assert "lies farther from every other idea than twice the noise" in text
    assert "once more on a fresh seed" in text
    assert "proven" not in text


def test_the_mean_of_a_repeated_best_is_told() -> None:
    """The best of several runs flatters itself: their mean stands beside it."""
    text = told([row(1.0, "keep", "a", source="s"), row(1.2, "discard", "a", source="s")])
    assert "the best of 2 runs of the same thing (mean 1.1)" in text


def test_small_keeps_are_counted_with_their_share() -> None:
    """A keep that gained less than twice the noise may be luck, one that gained nothing is told apart."""
    sd = 0.01 * 2**0.5
    values = [1.0, 0.99, 0.9, 0.89, 0.95]
    rows = [*noisy(0.01), *(row(v, "keep", f"idea {n}", source=f"s{n}") for n, v in enumerate(values))]
    found = learn(rows)
    assert found.noise is not None
    assert found.noise.sd == pytest.approx(sd)
    assert found.gains is not None
    assert (found.gains.keeps, found.gains.small, found.gains.better) == (4, 2, 3)
    text = "\n".join(render(found))
    assert "Of 4 keeps after the first, 2 (50 %) gained less than twice the noise (0.028)" in text
    assert "1 keep was no better than the keep before" in text


def test_small_values_keep_their_digits() -> None:
    """A value of a hundred-thousandth is not shown as nothing."""
    assert ": 0.00001, " in told([row(0.00002, "keep", "a"), row(0.00001, "keep", "b")])


def test_larger_may_be_better() -> None:
    """With the other direction the same history turned over gives the same lessons."""
    rows = [*noisy(0.01), row(1.0, "keep", "a"), row(0.9, "keep", "b"), row(0.95, "discard", "c"), row(None)]
    turned = [replace(r, metrics=Metrics(primary=-r.metrics.primary) if r.metrics else None) for r in rows]
    here, there = learn(rows), learn(turned, Direction.MAXIMIZE)
    assert (here.noise, here.gains, here.subjects, here.steps) == (
        there.noise,
        there.gains,
        there.subjects,
        there.steps,
    )
    assert here.best is not None
    assert there.best is not None
    assert (here.best.gain, here.best.rivals) == (there.best.gain, there.best.rivals)
    assert "(higher is better)" in "\n".join(render(there))


def test_keeps_that_were_read_from_the_order_of_values_are_said_to_be() -> None:
    """A ledger that only says how runs ended has kept nothing by its own word."""
    rows = [replace(row(1.0, "keep", "a", config='{"A": 1}'), read={"status": '"ok"', "config": '{"A": 1}'})]
    assert "a run counts as kept here if it was the best so far" in told(rows)
    assert "best so far" not in told([row(1.0, "keep", "a")])
    own_word = [replace(row(1.0 - n, "keep", f"idea {n}"), read={"status": '"ok"'}) for n in range(3)]
    assert "best so far" not in told([*own_word, row(1.0, "discard", "b")])


def test_families_are_counted_too() -> None:
    """Where rows name a family, what came of each is told."""
    rows = [
        replace(row(1.0 - n / 10, "keep" if n % 2 else "discard", f"idea {n}"), family="ab"[n % 2]) for n in range(4)
    ]
    text = told(rows)
    assert "By family:" in text
    assert "  - b: 2 tries, 2 kept, the best gained 0.2." in text


def test_values_of_another_metric_are_left_aside() -> None:
    """A loss among bits per byte is never the best."""
    odd = replace(row(0.1, "keep", "other file"), ranked=False)
    found = learn([row(1.0, "keep", "a"), odd])
    assert found.best is not None
    assert (found.best.mark.value, found.other_metric) == (1.0, 1)
    alone = learn([odd])
    assert alone.best is not None
    assert alone.other_metric == 0


# --- what was tried ---------------------------------------------------------------------------------------------


def test_what_was_tried_most_and_what_came_of_it() -> None:
    """One thing under its several spellings is one subject; combined changes count for each of their parts."""
    rows = [
        row(1.0, "keep", "baseline"),
        row(0.9, "keep", "increase MATRIX_LR to 0.05"),
        row(0.95, "discard", "matrix learning rate 0.06 (too high)"),
        row(0.97, "discard", "lower matrix lr and raise warmup"),
        row(0.93, "discard", "WARMUP_RATIO 0.1"),
        row(None, "crash", "warmup 0.2 - oom"),
        row(0.96, "discard", "shorter warmup"),
    ]
    first, second = learn(rows).subjects
    assert (first.name, first.tries, first.kept, first.crashed) == ("warmup", 4, 0, 1)
    assert first.best_gain == pytest.approx(-0.03)
    assert (second.name, second.tries, second.kept) == ("matrix lr", 3, 1)
    assert second.best_gain == pytest.approx(0.1)
    text = told(rows)
    assert "  - warmup: 4 tries, 1 crashed, none kept, the nearest worse by 0.03." in text
    assert "Tried again and again and never kept: warmup (4 tries)." in text


def test_what_nobody_measured_is_no_try() -> None:
    """A commit whose value nobody told is counted apart: it is no keep of what it changes, nor a run on a plateau."""
    untold = [replace(row(None), status="keep", crash=None, description=f"warmup 0.{n}") for n in range(1, 4)]
    found = learn([row(1.0, "keep", "baseline"), row(1.1, "discard", "warmup 0.1"), *untold])
    assert (found.kept, found.discarded, found.untold, found.plateau.runs) == (1, 1, 3, 1)
    assert (found.subjects, found.repeats.runs) == ((), 0)
    assert "5 rows: 1 kept, 1 discarded, 0 crashed, 3 with no value told." in "\n".join(render(found))


def test_a_thing_is_called_as_the_rows_call_it() -> None:
    """In one word or two, in full; what nobody has heard of by the rows' own word."""
    rows = [row(1.0, "keep", "baseline")]
    for text in ("raise warmup to 0.{}", "WEIGHT_DECAY 0.{}", "quirkiness 0.{}"):
        rows += [row(1.1, "discard", text.format(n)) for n in (1, 2)]
    assert {one.name for one in learn(rows).subjects} == {"warmup", "weight decay", "quirkiness"}


def test_failures_are_counted_by_kind() -> None:
    """Crashes of one signature are one kind; a row that calls itself no crash is told apart."""
    rows = [row(1.0, "keep"), *(row(None, signature="out of memory") for _ in range(3)), row(None),
            row(None, signature="no usable number")]  # fmt: skip
    text = told(rows)
    assert "Crashes by kind: out of memory 3, no error named 1." in text
    assert "1 row counts as crashed for want of a usable number" in text
    assert "Save the 83 % of runs that crash" in text


def test_knobs_that_go_with_good_values_and_with_crashes() -> None:
    """Where runs change many things at once, shares tell which ways lean to good values and to crashes."""
    rows = [row(1.0, "keep", "the first configuration", config='{"A": 1, "B": 1, "C": 1, "D": 1}')]
    for n in range(300):
        good, crash = n % 10 == 0, n % 3 == 1 and n % 10 != 0
        config = f'{{"A": {2 if good else 0}, "B": {2 if crash else 0}, "C": {n}, "D": {n // 10 % 2}}}'
        text = "A 1 -> 2, B 1 -> 2, C 1 -> 9, D 1 -> 0"
        rows.append(row(None if crash else 0.5 + n / 1e4 if good else 2.0 + n, "discard", text, config=config))
    found = learn(rows)
    assert [(lean.knob, lean.raised) for lean in found.in_best] == [("A", True)]
    assert [(lean.knob, lean.raised) for lean in found.in_crashes] == [("B", True)]
    text = "\n".join(render(found))
    assert "none can be credited alone" in text
    assert "Among the crashes B was raised in 100 %, among the others in 0 %." in text
    assert "look first at B, which 100 % of them raised" in text
    assert "does not make one the cause" in text


def test_repeats_of_what_failed_are_found_in_other_words() -> None:
    """An idea that was not kept and comes again costs a run; a step on from a keep, or the opposite, is no repeat."""
    rows = [
        row(1.0, "keep", "baseline"),
        row(1.1, "discard", "raise MATRIX_LR to 0.06"),
        row(1.2, "discard", "increase matrix learning rate to 0.06"),
        row(1.2, "discard", "set MATRIX_LR = 0.06"),
        row(1.1, "discard", "lower MATRIX_LR to 0.02"),
        row(0.9, "keep", "halve the batch size"),
        row(0.8, "keep", "halve the batch size"),
        row(1.3, "discard", "Raise MATRIX_LR to 0.06"),
        row(1.3, "discard", "baseline"),
    ]
    repeats = learn(rows).repeats
    assert (repeats.runs, repeats.kept, repeats.later) == (3, 0, 1)
    assert [(one.description, one.again) for one in repeats.worst] == [("raise MATRIX_LR to 0.06", 3)]
    assert "nightlab check" in told(rows)


def test_a_plateau_is_named() -> None:
    """Since when nothing was kept is counted in runs, and in time where the rows know theirs."""
    rows = [replace(row(1.0 + n, "discard" if n else "keep", f"idea {n}"), at=3600.0 * n) for n in range(31)]
    text = told(rows)
    assert "Since the last keep (row 1) 30 runs in 30 h brought no other." in text
    assert "Try something bolder" in text
    assert "Since the last keep (row 1) 30 runs brought no other." in told([replace(r, at=5.0) for r in rows])


# --- any history ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [[], [row(1.0, "keep", "a")], [row(1.0, "discard", "a")], [row(None)], [row(1.0, "discard"), row(2.0, "discard")]],
)
def test_short_histories(rows: list[Imported]) -> None:
    """No row, one row, no keep: what there is is told, and three things to do are named."""
    lines = render(learn(rows))
    assert lines[-4:][0] == "What to do next:"
    assert [line[:5] for line in lines[-3:]] == ["  1. ", "  2. ", "  3. "]
    assert len(set(lines)) == len(lines)


def test_hostile_text_is_inert() -> None:
    """Escape codes and endless words of a history reach no terminal."""
    evil = "\x1b[31mred\u202e " + "x" * 10_000
    rows = [
        replace(row(1.0, "keep", evil, commit=evil), family=evil),
        row(None, signature=evil),
        row(1.0, "discard", evil),
    ]
    for line in render(lessons(rows * 3, direction=Direction.MINIMIZE, metric=evil)):
        assert clean(line) == line
        assert "\n" not in line
        assert len(line) < 700


def any_rows() -> st.SearchStrategy[list[Imported]]:
    text = st.sampled_from(["baseline", "raise lr", "raise lr to 0.1", "halve batch", "A 1 -> 2", "", "\x1b[0m"])
    words = text | st.text(max_size=20)
    one = st.builds(
        lambda value, keep, description, commit, config, moment: replace(
            row(value, "keep" if keep else "discard", description, commit=commit, config=config), at=moment
        ),
        st.none() | st.floats(-1e100, 1e100) | st.sampled_from([1.0, 0.99, 0.98]),
        st.booleans(),
        words,
        st.sampled_from(["", "abc1234", "x"]),
        st.sampled_from(["", "{", '{"A": 1}', '{"A": 2, "B": []}', "[1]"]),
        st.floats(0, 4e9),
    )
    return st.lists(one, max_size=40)


@given(any_rows(), st.sampled_from(Direction))
@settings(max_examples=200, deadline=None)
@example([row(1e100, "keep", "a", source="s"), row(-1e100, "keep", "a", source="s")], Direction.MINIMIZE)
def test_any_history_is_told(rows: list[Imported], direction: Direction) -> None:
    """Whatever the rows say there are lessons, the same each time, one safe line each, ending in three steps."""
    found = learn(rows, direction)
    assert found == learn(rows, direction)
    assert found.kept + found.discarded + found.crashed + found.untold == found.rows == len(rows)
    assert len(found.steps) == len(set(found.steps)) == 3
    for line in render(found):
        assert clean(line) == line
        assert line.strip()


@pytest.mark.skipif(not HISTORIES.is_dir(), reason="the shared histories are not here")
def test_the_public_histories_are_told() -> None:
    """Fifty histories of forks: each has a best value, none is called proven, and every line can be printed."""
    for path in sorted(HISTORIES.glob("*.tsv")):
        read = read_table(path.read_bytes(), name=path.name, metric="val_bpb")
        rows = [r.imported(run=RunId("r"), now=0.0) for r in read.rows]
        found = lessons(rows, direction=Direction.MINIMIZE, metric=read.metric_seen)
        assert found.best is not None, path.name
        assert found.other_metric == 0
        lines = render(found)
        assert all(clean(line) == line and len(line) < 500 for line in lines)
