"""The memory: events and the tables folded from them, in one SQLite file."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nightlab.ledger.store import Ledger, RunRow

__all__ = ["Ledger", "RunRow"]


def __getattr__(name: str) -> object:
    """Load the store when it is asked for: whoever only glances at the file (`glance`) needs none of it."""
    if name in __all__:
        from nightlab.ledger import store

        return getattr(store, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
