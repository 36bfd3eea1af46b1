"""Which number of an output is the metric, where nobody has set anything up."""

from __future__ import annotations

import pytest

from nightlab.errors import MetricError
from nightlab.runner.log import LineReader, Printed
from nightlab.runner.numbers import Kind, Output, choose, same


def output(out: str = "", err: str = "", result: bytes | None = None) -> Output:
    """As `sample` makes it."""
    pairs = []
    for text in (out, err):
        pairs.append(Printed())
        reader = LineReader("val_bpb", pairs[-1])
        reader.feed(text.encode())
        reader.finish()
    return Output(out=out, err=err, out_pairs=pairs[0], err_pairs=pairs[1], result=result)


@pytest.mark.parametrize(
    ("out", "name", "value", "others"),
    [
        ("loss: 0.5\n", "loss", 0.5, ()),
        ("epoch: 3\nval_loss = 0.25\nloss: 0.5\nseconds: 1.5\n", "val_loss", 0.25, ("epoch", "loss", "seconds")),
        ("val_bpb: 1.5\ntest_loss: 2\n", "val_bpb", 1.5, ("test_loss",)),
        ("width: 3\ndepth: 4\n", "depth", 4.0, ("width",)),
        ('{"acc": 0.5, "ok": true}\n{"acc": 0.75, "step": 2}\n', "acc", 0.75, ("step",)),
        ('{\n "acc": 0.5,\n "step": 2\n}\n', "acc", 0.5, ("step",)),
        ("step 1 of 10: 0.9\nFinal accuracy: 91.3%\nsaved to out/model_7\n", "", 91.3, ()),
        ("took 0.53s\n", "", 0.53, ()),
        ("\x1b[32m-1.5e-3\x1b[0m", "", -0.0015, ()),
        ("50%|##\r100%|##\r0.25", "", 0.25, ()),
    ],
)
def test_the_number_that_is_taken(out: str, name: str, value: float, others: tuple[str, ...]) -> None:
    """Named ones before others, those that read like a metric first, the last print of each; what else is told."""
    found, also = choose(output(out))
    assert (found.name, found.value, also) == (name, value, others)


def test_a_result_file_is_the_most_deliberate() -> None:
    """What is written to NIGHTLAB_RESULT_PATH counts before anything printed, as an object or bare."""
    assert choose(output("loss: 2\n", result=b'{"time": 1.5}'))[0].value == 1.5
    found, _ = choose(output("loss: 2\n", result=b"0.125"))
    assert (found.value, found.kind) == (0.125, Kind.RESULT)
    with pytest.raises(MetricError, match="cannot be read"):
        choose(output("loss: 2\n", result=b"{"))


def test_stderr_counts_only_where_stdout_has_no_number() -> None:
    """A progress bar or a warning on stderr is never taken for the result."""
    assert choose(output("0.5\n", err="loss: 3\n"))[0].value == 0.5
    assert choose(output("done\n", err="loss: 3\n"))[0].value == 3.0


def test_a_name_that_is_asked_for_may_stand_inside_a_line() -> None:
    """--metric finds `NAME: value` lines first, then the last place where NAME stands before a number."""
    text = "step 1 loss 0.9 acc 0.1\nstep 2 loss 0.5 acc 0.7\n"
    assert choose(output(text), "acc")[0].value == 0.7
    assert choose(output(text + "acc: 0.6\n"), "acc")[0].value == 0.6
    with pytest.raises(MetricError, match=r"printed no auc \(it printed: loss\)"):
        choose(output("loss: 1\n"), "auc")


def test_a_name_printed_again_is_told() -> None:
    """The last value counts, and it is known that there were others."""
    found, _ = choose(output("loss: 2\nloss: 1\n"))
    assert (found.value, found.again) == (1.0, True)
    assert not choose(output("loss: 2\n"))[0].again


@pytest.mark.parametrize("text", ["", "done\n", "1 2 3\n", "v1.2.3 abc123\n"])
def test_no_number_is_an_error_that_says_what_to_print(text: str) -> None:
    """Nothing is guessed from lines with several numbers, versions or names."""
    with pytest.raises(MetricError, match="no number") as raised:
        choose(output(text))
    assert "NAME: value" in raised.value.hint


@pytest.mark.parametrize("text", ["loss: nan\n", "epoch: 3\nloss: nan\n", "nan", '{"loss": NaN}', "loss: inf\n"])
def test_what_is_not_finite_is_an_error(text: str) -> None:
    """A NaN is not passed over for some other number."""
    with pytest.raises(MetricError, match="no finite number"):
        choose(output(text))


def test_a_later_run_must_print_the_same_thing() -> None:
    """Missing, under another lead, or not finite: an error, never another number in its place."""
    first, _ = choose(output("loss: 2\nacc: 1\n"), "loss")
    assert same(output("loss: 3\n"), first).value == 3.0
    with pytest.raises(MetricError, match=r"the first run printed loss, this one did not \(it printed: acc\)"):
        same(output("acc: 1\n"), first)
    with pytest.raises(MetricError, match="no finite number"):
        same(output("loss: nan\n"), first)
    line, _ = choose(output("error of run 0.5\n"))
    assert same(output("error of run 0.75\n"), line).value == 0.75
    with pytest.raises(MetricError, match="not the same thing"):
        same(output("checkpoint 7\n"), line)
    inside, _ = choose(output("step 2 loss 0.5\n"), "loss")
    assert same(output("step 2 loss 0.25\n"), inside).value == 0.25
