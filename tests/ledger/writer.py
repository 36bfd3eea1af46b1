"""A process that writes to a ledger: `python -m tests.ledger.writer DATABASE NAME COUNT`.

Prints each event's place in the log as soon as it is acknowledged, so that a killer knows what was promised.
"""

from __future__ import annotations

import sys
from pathlib import Path

from nightlab.ledger import Ledger
from nightlab.types import Noted, Proposed, Started
from tests.builders import ended, experiment, run


def main(database: Path, name: str, count: int) -> None:
    with Ledger.open(database) as ledger:
        for index in range(count):
            label = f"{name}-{index}"
            for events in (
                (Proposed(experiment=experiment(label)), Started(run=run(f"r-{label}", label))),
                (ended(f"r-{label}"),),
                (Noted(topic=name, text=str(index)),),
            ):
                recorded = ledger.append(*events)
                sys.stdout.write(" ".join(str(one.seq) for one in recorded) + "\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
