"""`nightlab quick`: any command that prints a number, anywhere, with nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from nightlab.cli.quick import Measured, Progress, Wanted, measure
from nightlab.judge.repeats import Behaviour
from nightlab.report.quick import Quick, QuickRun, first_estimate, lines, quick
from nightlab.runner.log import LineReader, Printed
from nightlab.runner.numbers import Found, Kind, Output
from nightlab.runner.sample import Sample
from nightlab.runner.tend import Cause, Finish
from tests.cli.shell import Shell
from tests.e2e.labs import Answer, command, environment
from tests.runner.orders import wait_until

SEEDED = "import os, random; print('loss:', random.Random(int(os.environ['AUTORESEARCH_SEED'])).random())"


def at(place: Path, *words: str, **variables: str) -> Answer:
    """`nightlab quick WORDS` in `place`, with a temporary directory of its own below it."""
    (place / "tmp").mkdir(exist_ok=True)
    done = subprocess.run(
        command("quick", *words),
        cwd=place,
        env=environment() | {"TMPDIR": str(place / "tmp")} | variables,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Answer(done.returncode, done.stdout, done.stderr)


# --- as a user has it -------------------------------------------------------------------------------------------


def test_any_command_anywhere_and_nothing_left_behind(tmp_path: Path) -> None:
    """No repository, no settings: the answer is on stdout, the runs on stderr, and no file is left."""
    answer = at(tmp_path, "--runs", "4", "--", sys.executable, "-S", "-c", SEEDED)
    assert answer.code == 0, answer.err
    assert answer.out.startswith("loss: 0.")
    assert "noise: 0." in answer.out and "deterministic given it" in answer.out
    assert "nightlab init --command" in answer.out
    assert "taking loss from a line" in answer.err
    assert "run 4  seed 44  loss 0." in answer.err
    assert "first estimate: noise about" in answer.err
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["tmp"]


def test_the_first_seed_runs_twice(tmp_path: Path) -> None:
    """The seeds are 42, 42, 43, ...; a program gets all runs and every figure as one object."""
    answer = at(tmp_path, "--json", "--runs", "3", "--", "sh", "-c", 'echo "loss: $AUTORESEARCH_SEED"')
    said = json.loads(answer.out)
    assert [run["value"] for run in said["runs"]] == [42.0, 42.0, 43.0]
    assert (said["behaviour"], said["mean"], len(said["rules"])) == ("seeded", 42.5, 4)
    assert said["noise"]["low"] < said["noise"]["sd"] < said["noise"]["high"]


def test_the_command_gets_places_for_its_files(tmp_path: Path) -> None:
    """What a lab's run would write is read from a directory that exists while the command runs."""
    script = 'echo 0.5 > "$NIGHTLAB_RESULT_PATH"; echo {} > "$AUTORESEARCH_SUMMARY_PATH"; echo loss: 9'
    said = json.loads(at(tmp_path, "--json", "--runs", "2", "--", "sh", "-c", script).out)
    assert (said["mean"], said["behaviour"]) == (0.5, "constant")
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (("no-such-program",), "run 1 (seed 42): the command no-such-program cannot be run", "sh -c"),
        (("sh", "-c", "echo why; echo because >&2; exit 3"), "exit code 3\n  | why\n  | because", "by itself"),
        (("sh", "-c", "kill -9 $$"), "killed by SIGKILL, and nothing was printed", "by itself"),
        (("echo", "hello"), "printed no number that can be told from others; its last line is 'hello'", "NAME: value"),
        (("echo", "loss: nan"), "loss is nan, which is no finite number", "by itself"),
    ],
)
def test_what_gives_no_number_says_why(tmp_path: Path, words: tuple[str, ...], message: str, hint: str) -> None:
    """Exit code 1, one sentence with the run, what to do next, nothing on stdout and nothing left behind."""
    answer = at(tmp_path, "--", *words)
    assert (answer.code, answer.out) == (1, "")
    assert message in answer.err
    assert hint in answer.err.partition("hint: ")[2]
    assert list((tmp_path / "tmp").iterdir()) == []


def test_the_limit_of_a_run_is_kept(tmp_path: Path) -> None:
    """A run that takes too long is ended and named."""
    answer = at(tmp_path, "--timeout", "0.005", "--", "sleep", "60")
    assert answer.code == 1
    assert "run 1 (seed 42): ended after" in answer.err and "--timeout" in answer.err


@pytest.mark.parametrize(
    ("runs", "code", "on_stdout", "on_stderr"),
    [(2, 130, "loss: ", "run 2"), (1, 130, "", "stopped before two runs were done")],
)
def test_ctrl_c_tells_what_is_known(tmp_path: Path, runs: int, code: int, on_stdout: str, on_stderr: str) -> None:
    """After two runs there is a report, before them a sentence; the command under way is ended, nothing is left."""
    (tmp_path / "tmp").mkdir()
    script = f"echo run >> {tmp_path}/count; [ $(wc -l < {tmp_path}/count) -le {runs} ] || sleep 60; echo loss: $$"
    process = subprocess.Popen(
        command("quick", "--", "sh", "-c", script),
        cwd=tmp_path,
        env=environment() | {"TMPDIR": str(tmp_path / "tmp")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    count = tmp_path / "count"
    wait_until(lambda: count.exists() and len(count.read_text().splitlines()) > runs, "the run that takes its time")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate()
    assert process.returncode == code
    assert on_stderr in err
    assert out.startswith(on_stdout) and bool(out) == bool(on_stdout)
    assert ("somebody stopped it" in out) == bool(on_stdout)
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("words", [(), ("--runs", "1", "--", "true"), ("--timeout", "0", "--", "true")])
def test_impossible_words_are_usage_errors(tmp_path: Path, words: tuple[str, ...]) -> None:
    """Exit code 2, before anything runs."""
    assert Shell(tmp_path)("quick", *words).code == 2


# --- how often it runs ------------------------------------------------------------------------------------------


def outputs(*texts: str, code: int = 0) -> Iterator[Sample]:
    """Runs that print `texts`; the last one ends with `code`."""
    for place, text in enumerate(texts):
        pairs = Printed()
        reader = LineReader("val_bpb", pairs)
        reader.feed(text.encode())
        reader.finish()
        finish = Finish(cause=Cause.ENDED, code=code if place == len(texts) - 1 else 0, wall_s=1.0, cpu_s=1.0)
        yield Sample(
            finish=finish, output=Output(out=text, out_pairs=pairs, err_pairs=Printed()), end=f"{text}\n".encode()
        )


def measured(*texts: str, wanted: Wanted, code: int = 0, seconds: float = 0.0) -> Measured:
    """What is made of runs that print `texts`, if the clock goes on by `seconds` whenever it is looked at."""
    runs = outputs(*texts, code=code)
    clock = iter(seconds * k for k in range(1000))
    return measure(lambda _: next(runs), Progress(), wanted, clock=lambda: next(clock))


VALUES = ["0.5", "0.1", "0.7", "0.4", "0.9", "0.2", "0.6", "0.3", "0.8", "0.55", "0.35", "0.15", "0.75", "0.45"]
VALUES += ["0.25", "0.65", "0.38", "0.85", "0.12", "0.52", "0.72", "0.28", "0.48", "0.62"]


def test_it_stops_when_the_noise_is_known() -> None:
    """Within a factor of two: some nine runs where a value follows its seed, more if not, never all of them."""
    follows = measured(VALUES[0], *VALUES, wanted=Wanted())
    free = measured(*VALUES, wanted=Wanted())
    assert 8 <= len(follows.runs) <= 11
    assert 14 <= len(free.runs) <= 20
    assert follows.ended == free.ended == "the noise is known within a factor of two"


def test_it_stops_when_the_time_is_spent_but_never_before_three_runs() -> None:
    """A run that would end beyond the time is not begun."""
    assert len(measured(*VALUES, wanted=Wanted(seconds=1.0), seconds=100.0).runs) == 3
    done = measured(*VALUES, wanted=Wanted(seconds=60.0), seconds=10.0)
    assert (len(done.runs), done.ended) == (4, "the time for them was over")


def test_it_stops_when_nothing_ever_changes() -> None:
    """Five equal values on four seeds are enough to say so."""
    done = measured(*["0.5"] * 9, wanted=Wanted())
    assert (len(done.runs), done.ended) == (5, "the value never changes")


def test_so_many_runs_as_are_asked_for() -> None:
    """--runs is exact, and two runs take two seeds, which tell of the noise, instead of one seed twice."""
    assert [run.seed for run in measured(*VALUES, wanted=Wanted(runs=2)).runs] == [42, 43]
    assert [run.seed for run in measured(*VALUES, wanted=Wanted(runs=12)).runs] == [42, 42, *range(43, 53)]


def test_a_number_that_is_missing_later_is_an_error_after_what_is_known() -> None:
    """The run is named, and the earlier runs are still there to be told of."""
    done = measured("loss: 1", "loss: 2", "acc: 3", wanted=Wanted())
    assert [run.value for run in done.runs] == [1.0, 2.0]
    assert done.problem is not None
    assert str(done.problem.args[0]) == (
        "run 3 (seed 43): the first run printed loss, this one did not (it printed: acc)"
    )


def test_a_failure_after_two_runs_still_tells_what_is_known(tmp_path: Path) -> None:
    """The report is on stdout, the failure on stderr, and the exit code is 1."""
    script = f"echo >> {tmp_path}/count; [ $(wc -l < {tmp_path}/count) -le 2 ] || exit 7; echo loss: $$"
    answer = at(tmp_path, "--", "sh", "-c", script)
    assert answer.code == 1
    assert answer.out.startswith("loss: ") and "a run failed" in answer.out
    assert "run 3 (seed 43): the command failed, exit code 7" in answer.err


# --- what it says -----------------------------------------------------------------------------------------------


def told(values: Sequence[float], seeds: Sequence[int] | None = None, seconds: float = 60.0) -> Quick:
    found = Found(name="loss", text=repr(values[0]), kind=Kind.LINE)
    runs = [
        QuickRun(seed=seed, value=value, text=repr(value), seconds=seconds)
        for seed, value in zip(seeds or range(42, 42 + len(values)), values, strict=True)
    ]
    return quick(("python", "train.py"), found, (), runs, "so many were asked for")


def test_the_figures_follow_the_units() -> None:
    """A metric a thousand times larger has gains a thousand times larger, the same share of it, the same night."""
    values = [0.51, 0.49, 0.502, 0.495]
    small, large = told(values), told([1000.0 * value for value in values])
    for one, other in zip(small.rules, large.rules, strict=True):
        assert other.smallest_gain == pytest.approx(1000.0 * one.smallest_gain, rel=1e-6)
        assert other.percent == pytest.approx(one.percent, rel=1e-6)
        assert (other.ideas, other.minutes_per_idea) == (one.ideas, one.minutes_per_idea)
    assert [rule.ideas for rule in small.rules[1:]] == [(480 - k - 8) // k for k in (2, 4, 8)]


def test_constant_values_are_no_success() -> None:
    """No noise, no table: it says that repeats cannot show any, and what to do."""
    found = told([0.5] * 5, seeds=[42, 42, 43, 44, 45])
    text = "\n".join(lines(found, "train.py"))
    assert (found.behaviour, found.noise, found.rules, found.greedy) == (Behaviour.CONSTANT, None, (), None)
    assert "none that repeats can show" in text and "AUTORESEARCH_SEED" in text
    assert "smallest gain" not in text


def test_one_seed_alone_tells_nothing_of_the_noise() -> None:
    """Two equal runs of one seed, as after Ctrl-C, are not called noiseless."""
    text = "\n".join(lines(told([0.5, 0.5], seeds=[42, 42]), "train.py"))
    assert "not known yet" in text and "too few runs" in text


def test_few_runs_are_said_to_be_few() -> None:
    """Three runs give a wide interval and gains as unsure, and both are called so; twenty do not."""
    few = "\n".join(lines(told([0.5, 0.6, 0.4]), "train.py"))
    assert "wide, since 3 runs are few" in few and "known so roughly" in few
    many = "\n".join(lines(told([0.5 + 0.01 * (k % 7) * (-1) ** k for k in range(20)]), "train.py"))
    assert "wide" not in many and "roughly" not in many


def test_greed_is_warned_of_in_one_sentence() -> None:
    """480 one-minute runs: about 5.8 records of pure noise, and a gain of 3 standard deviations that is not there."""
    found = told([0.5, 0.6, 0.4, 0.45])
    assert found.greedy is not None
    assert found.greedy.false_keeps == pytest.approx(sum(1 / k for k in range(2, 481)))
    (line,) = (line for line in lines(found, "train.py") if "not there" in line)
    assert '"find" 5.8 improvements' in line


def test_drift_is_told_with_its_step() -> None:
    """Values that fall from run to run on their own, where the same seed has given different ones."""
    values = [1.0 - 0.01 * k for k in range(9)]
    text = "\n".join(lines(told(values, seeds=[42, 42, *range(43, 50)]), "train.py"))
    assert "drift: the values fall from run to run, by 0.01" in text


def test_the_next_step_is_a_command_that_can_be_typed() -> None:
    """With the command, its metric, and the noise as a first guess; a number without a name has to get one."""
    text = "\n".join(lines(told([0.5, 0.6, 0.4]), "train.py"))
    assert "nightlab init --command 'python train.py' --editable train.py --metric loss --direction minimize" in text
    assert "`noise = 0." in text
    nameless = Found(name="", text="0.5", kind=Kind.LAST, line="0.5")
    runs = [QuickRun(seed=42 + k, value=0.5 + 0.1 * k, text="", seconds=1.0) for k in range(2)]
    text = "\n".join(lines(quick(("./a b",), nameless, (), runs, ""), "FILE"))
    assert "--command ''\"'\"'./a b'\"'\"'' --editable FILE --metric NAME" in text
    assert "let the command print one" in text


def test_the_first_estimate_comes_with_its_doubt() -> None:
    """One line after three runs: the noise, what four runs would show, and that it is rough."""
    runs = [QuickRun(seed=42 + k, value=v, text="", seconds=1.0) for k, v in enumerate((0.5, 0.6, 0.4))]
    assert "very rough" in first_estimate(runs) and "4 runs an idea" in first_estimate(runs)


def test_a_terminal_gets_no_escape_codes_from_the_command(tmp_path: Path) -> None:
    """What a command prints cannot steer the terminal of who asks."""
    answer = at(tmp_path, "--runs", "2", "--", "printf", r"\033]0;title\007 the end \033[31m0.5\033[0m\n")
    assert answer.code == 0
    assert "\x1b" not in answer.out + answer.err
    assert os.listdir(tmp_path / "tmp") == []
