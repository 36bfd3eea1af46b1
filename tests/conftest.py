"""What every test gets: a git that knows nothing of this machine's user, and hypothesis without a stopwatch."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "nightlab",
    deadline=None,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.differing_executors],
)
settings.load_profile("nightlab")


@pytest.fixture(scope="session", autouse=True)
def nobodys_git() -> Iterator[None]:
    """No identity, no hooks, no aliases: what a fresh container has."""
    before = dict(os.environ)
    os.environ.update(GIT_CONFIG_GLOBAL=os.devnull, GIT_CONFIG_NOSYSTEM="1", GIT_TERMINAL_PROMPT="0")
    yield
    os.environ.clear()
    os.environ.update(before)
