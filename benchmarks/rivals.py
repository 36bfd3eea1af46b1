"""The acceptance rules of three packages on PyPI, behind one protocol, for simulated nights beside ours.

    for name in autojudge==1.0.1 labloop==1.0.5 hillclimbanything==0.2.0; do
        uv venv ../rivals/${name%==*} && uv pip install --python ../rivals/${name%==*}/bin/python $name
    done
    uv run python benchmarks/rivals.py --demo --python autojudge=../rivals/autojudge/bin/python \\
        --python labloop=../rivals/labloop/bin/python \\
        --python hillclimbanything=../rivals/hillclimbanything/bin/python

They are installed apart, each with a Python (3.11 or later) of its own, and run there as child processes: the files in
`benchmarks/rival_servers/` drive the packages' own code, and each says at its top how, and what is left out. A package
that is missing is skipped with the command that installs it.

--demo plays one short night through each rule and prints what it decided; then its speed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Literal, Protocol, cast

ROOT = Path(__file__).resolve().parents[1]

Event = Literal["baseline", "candidate", "candidate_again", "champion_again"]
Answer = Literal["keep", "discard", "rerun_candidate", "rerun_champion", "more_baseline", "ok"]


class RivalError(Exception):
    """A rule cannot go on: its process died, or it was told of a run that it had not asked for."""


class MissingRivalError(RivalError):
    """The package is not there, or not in the version that the adapter drives; says how to install it."""


class Acceptor(Protocol):
    """A rule that decides about one run after another of a night."""

    @property
    def name(self) -> str: ...

    def begin(self) -> None:
        """Begin a night; forget everything."""

    def baseline_runs(self) -> int:
        """How many runs of the original it wants before the first idea."""

    def decide(self, event: Event, value: float) -> Answer:
        """Tell the newest run's value, a positive loss (lower is better), and learn what to do next.

        A night is `baseline` until it answers `ok`, then for each idea `candidate`, and whichever run is asked for
        until it answers `keep` or `discard`. Crashed runs are not told: each of the packages discards them.
        A night may end anywhere.
        """


@dataclass(frozen=True)
class Rival:
    """One rule of one package; what the arguments mean stands at the top of its server."""

    name: str
    package: str
    version: str
    arguments: tuple[str, ...]


# The useful effect is a user's choice in hillclimbanything and has no default. 0.1 % is the 0.001 bpb (of about 1) that
# a public fork of autoresearch asks of a keep. Between 0.02 % and 0.2 % the screened rule gained 39 to 53 % of what
# greedy keeping gained in a world of the same figures as the reference world (150 nights), so nothing hangs on it.
USEFUL_EFFECT = "0.1%"

RIVALS = (
    Rival("autojudge, exit code", "autojudge", "1.0.1", ("exit-code",)),
    Rival("autojudge, suggestions", "autojudge", "1.0.1", ("suggestions",)),
    Rival("autojudge, KEEP only", "autojudge", "1.0.1", ("keep-only",)),
    Rival("labloop", "labloop", "1.0.5", ("default",)),
    Rival("labloop --confirm", "labloop", "1.0.5", ("confirm",)),
    Rival("labloop, its advice", "labloop", "1.0.5", ("advice",)),
    Rival("hillclimbanything", "hillclimbanything", "0.2.0", ("hca", USEFUL_EFFECT)),
    Rival("hillclimbanything, screened", "hillclimbanything", "0.2.0", ("screened", USEFUL_EFFECT)),
)


class PackagedAcceptor:
    """An `Acceptor` in a child process. Not to be shared between processes: each worker makes its own.

    Args:
        rival: the rule.
        python: of the environment that holds the package.

    Raises:
        MissingRivalError: no such Python, or not the package in this version.
    """

    def __init__(self, rival: Rival, python: Path) -> None:
        self.rival = rival
        self._scratch = tempfile.TemporaryDirectory(prefix="rival-")
        self._errors = Path(self._scratch.name) / "stderr"
        command = [str(python.absolute()), "-m", "benchmarks.rival_servers.serve", rival.package, self._scratch.name]
        try:
            with self._errors.open("wb") as errors:
                self._process = subprocess.Popen(
                    [*command, *rival.arguments],
                    cwd=ROOT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    # Lock files and the like go where they are removed with the rest; no bytecode into this repository.
                    env={"TMPDIR": self._scratch.name, "HOME": self._scratch.name, "PYTHONDONTWRITEBYTECODE": "1"},
                )
        except OSError as error:
            self._scratch.cleanup()
            raise MissingRivalError(_missing(rival, f"{python} cannot be run ({error.strerror})")) from error
        try:
            version = self._read()["version"]
            if version != rival.version:
                found = f"{python} has {version}" if version else f"{python} does not have it"
                raise MissingRivalError(_missing(rival, found))
            self._baseline_runs = int(cast("int", self._read()["baseline_runs"]))
        except RivalError:
            self.close()
            raise

    @property
    def name(self) -> str:
        return self.rival.name

    def baseline_runs(self) -> int:
        return self._baseline_runs

    def begin(self) -> None:
        self._tell({"event": "begin"})

    def decide(self, event: Event, value: float) -> Answer:
        assert math.isfinite(value), value
        return cast("Answer", self._tell({"event": event, "value": value}))

    def close(self) -> None:
        """End the child process."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._scratch.cleanup()

    def _tell(self, message: Mapping[str, str | float]) -> object:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # reading says why
            self._process.stdin.write(json.dumps(message) + "\n")
            self._process.stdin.flush()
        return self._read()["answer"]

    def _read(self) -> dict[str, object]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            said = self._errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise RivalError(f"{self.name} gave no answer: {said[-1] if said else 'its process has ended'}")
        return cast("dict[str, object]", json.loads(line))


def _missing(rival: Rival, found: str) -> str:
    where = f"../rivals/{rival.package}"
    return (
        f"{rival.package}: skipped, {found}; install it with: "
        f"uv venv {where} && uv pip install --python {where}/bin/python {rival.package}=={rival.version}, "
        f"then give --python {rival.package}={where}/bin/python"
    )


@contextlib.contextmanager
def acceptors(
    pythons: Mapping[str, Path], rivals: Sequence[Rival] = RIVALS
) -> Iterator[tuple[list[PackagedAcceptor], list[str]]]:
    """The rules that can be driven here, and for each package that is missing a line that says how to get it.

    Args:
        pythons: by package, the Python of its environment.
        rivals: which rules.
    """
    found: list[PackagedAcceptor] = []
    skipped: dict[str, str] = {}  # by package; its rules share the reason
    try:
        for rival in rivals:
            try:
                if rival.package not in pythons:
                    raise MissingRivalError(_missing(rival, "no Python given"))
                found.append(PackagedAcceptor(rival, pythons[rival.package]))
            except MissingRivalError as error:
                skipped[rival.package] = str(error)
        yield found, list(skipped.values())
    finally:
        for acceptor in found:
            acceptor.close()


def python_option(text: str) -> tuple[str, Path]:
    """`PACKAGE=PATH`, for `argparse`."""
    package, equals, path = text.partition("=")
    known = sorted({rival.package for rival in RIVALS})
    if not equals or package not in known:
        raise argparse.ArgumentTypeError(f"{text!r} is not PACKAGE=PATH with one of {', '.join(known)}")
    return package, Path(path)


# --- the demonstration ------------------------------------------------------------------------------------------

# Noise of a run (loss), in a fixed order; its standard deviation is 0.0005. Eleven values, so that blocks of two runs
# meet it in every position.
NOISE = (0.0003, -0.0004, 0.0001, 0.0007, -0.0002, -0.0009, 0.0005, 0.0002, -0.0006, 0.0004, -0.0001)

# Ideas by what they truly do to a loss of 1.
IDEAS = (
    ("worse by 0.01", 0.01),
    ("no effect", 0.0),
    ("better by 0.0004", -0.0004),
    ("no effect", 0.0),
    ("better by 0.002", -0.002),
    ("no effect", 0.0),
    ("better by 0.01", -0.01),
)


@dataclass(frozen=True)
class Decided:
    idea: str
    kept: bool
    candidate_runs: int
    champion_runs: int


def night(acceptor: Acceptor, ideas: Sequence[tuple[str, float]]) -> tuple[int, list[Decided]]:
    """Play a night of these ideas, however many runs each takes; also the number of baseline runs."""
    noise = cycle(NOISE)
    champion = 1.0
    acceptor.begin()
    baseline_runs = 1
    while (answer := acceptor.decide("baseline", champion + next(noise))) == "more_baseline":
        baseline_runs += 1
    decided = []
    for idea, effect in ideas:
        of_candidate, of_champion = 1, 0
        answer = acceptor.decide("candidate", champion + effect + next(noise))
        while answer not in ("keep", "discard"):
            if answer == "rerun_candidate":
                of_candidate += 1
                answer = acceptor.decide("candidate_again", champion + effect + next(noise))
            else:
                of_champion += 1
                answer = acceptor.decide("champion_again", champion + next(noise))
        if answer == "keep":
            champion += effect
        decided.append(Decided(idea, answer == "keep", of_candidate, of_champion))
    return baseline_runs, decided


def demonstrate(acceptor: PackagedAcceptor) -> None:
    """Print what one rule decides, then how fast."""
    baseline_runs, decided = night(acceptor, IDEAS)
    print(f"\n{acceptor.name} ({acceptor.rival.package} {acceptor.rival.version}): {baseline_runs} baseline run(s)")
    for idea in decided:
        runs = f"{idea.candidate_runs} of the idea, {idea.champion_runs} of the champion"
        print(f"  {idea.idea:17} {'keep' if idea.kept else 'discard':8} after {runs}")
    began, count = time.perf_counter(), 0
    for _ in range(5):
        runs_before, decided = night(acceptor, IDEAS * 14)
        count += runs_before + sum(idea.candidate_runs + idea.champion_runs for idea in decided)
    speed = count / (time.perf_counter() - began)
    print(f"  {speed:,.0f} decisions a second, over 5 nights of {14 * len(IDEAS)} ideas")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", default=[], type=python_option, metavar="PACKAGE=PATH")
    parser.add_argument("--demo", action="store_true", required=True, help="play one short night through each rule")
    options = parser.parse_args()
    with acceptors(dict(options.python)) as (found, skipped):
        for acceptor in found:
            demonstrate(acceptor)
        for line in skipped:
            print(line, file=sys.stderr)


if __name__ == "__main__":
    main()
