"""The child process that benchmarks/rivals.py starts in a package's own environment.

    PYTHON -m benchmarks.rival_servers.serve PACKAGE SCRATCH [VARIANT ...]

First line out: `{"version": ...}`, null where the package is not installed. Second: `{"baseline_runs": ...}`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
from pathlib import Path
from typing import Protocol

from benchmarks.rival_servers.wire import NewNight, Wire


class Player(Protocol):
    """Made by each server's `player(wire, scratch, arguments)`."""

    baseline_runs: int

    def play(self) -> None:
        """A night; it ends when the wire raises `NewNight`."""


def main() -> None:
    package, scratch, *arguments = sys.argv[1:]
    wire = Wire(sys.stdin, sys.stdout)
    sys.stdout = sys.stderr  # what a package prints must not get between the answers
    try:
        version = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        wire.send({"version": None})
        return
    wire.send({"version": version})
    server = importlib.import_module(f"benchmarks.rival_servers.{package}")
    player: Player = server.player(wire, Path(scratch), arguments)
    wire.send({"baseline_runs": player.baseline_runs})
    wire.begin()
    while True:
        try:
            player.play()
        except NewNight:
            continue


if __name__ == "__main__":
    main()
