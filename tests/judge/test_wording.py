"""Chances and what is lacking, in plain words."""

from __future__ import annotations

import pytest

from nightlab.judge import wording
from nightlab.types import Stand, Standing


@pytest.mark.parametrize(
    ("stand", "words"),
    [
        (Stand(standing=Standing.PROVEN), "proven"),
        (Stand(standing=Standing.PROVEN, probability=0.967), "proven, about 1 chance in 30 of being noise"),
        (Stand(standing=Standing.PROVISIONAL, runs_needed=2), "provisional, needs 2 more runs"),
        (
            Stand(standing=Standing.PROVISIONAL, runs_needed=1, probability=0.9),
            "provisional, needs 1 more run, about 1 chance in 10 of being noise",
        ),
        (
            Stand(standing=Standing.PROVISIONAL, runs_needed=None, probability=0.2),
            "provisional, needs more than 16 more runs, more likely noise than not",
        ),
    ],
)
def test_a_standing_in_words(stand: Stand, words: str) -> None:
    """What it is, what it lacks, how likely it is noise; below one half no odds are dressed up as a chance."""
    assert wording.stand(stand) == words
