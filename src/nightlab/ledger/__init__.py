"""The memory: events and the tables folded from them, in one SQLite file."""

from nightlab.ledger.store import Ledger, RunRow

__all__ = ["Ledger", "RunRow"]
