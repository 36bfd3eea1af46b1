"""How far a kept run is proven, and what is said to be lacking."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nightlab import judging, memory, standing
from nightlab.config import JudgeSettings, MetricSettings, Settings
from nightlab.judge import race
from nightlab.judge.model import Row
from nightlab.ledger import Ledger
from nightlab.ledger.records import Record
from nightlab.memory import stand_of_lab
from nightlab.standing import stand_of, weighed
from nightlab.types import (
    Conditions,
    Decision,
    Direction,
    Ended,
    ExperimentId,
    Finished,
    Metrics,
    Purpose,
    Reading,
    Stand,
    Standing,
    Usage,
)
from tests.report.stories import Story

SETTINGS = Settings(root=Path("/lab"))
BASE = (0.9980, 0.9985, 0.9982)


def logged(story: Story, value: float, status: str = "keep") -> None:
    story.log(f"by hand {value}", Finished(metrics=Metrics(primary=value)), status)


def stands(story: Story, run: int = -1, settings: Settings = SETTINGS) -> Stand:
    """How the last record (or another one) stands."""
    with story.ledger as ledger:
        return stand_of(ledger, settings, list(ledger.records.all())[run])


def test_the_fewest_are_those_of_the_race() -> None:
    """The constant that loads no numpy is the race's own."""
    assert memory.FEWEST == race.MIN_SEEDS


def test_where_nothing_has_run_nobody_can_say() -> None:
    """No probability is made up, and two seeds are the fewest that prove anything."""
    story = Story(SETTINGS)
    logged(story, 0.99)
    assert stands(story) == Stand(standing=Standing.PROVISIONAL, probability=None, runs_needed=2)


def test_where_the_noise_is_unknown_nobody_can_say() -> None:
    """One run of the champion gives a level and no noise."""
    story = Story(SETTINGS)
    story.night(0.998)
    logged(story, 0.99)
    assert stands(story) == Stand(standing=Standing.PROVISIONAL, probability=None, runs_needed=2)


def test_a_value_is_weighed_against_the_proven_champion() -> None:
    """The larger the gain its author saw, the likelier and the fewer runs; his own is none of them, so two at least."""
    found = []
    for value in (0.90, 0.9965, 0.9974):
        story = Story(SETTINGS)
        story.night(*BASE)
        logged(story, value)
        found.append(stands(story))
    assert [one.standing for one in found] == [Standing.PROVISIONAL] * 3
    sure, likely, unsure = (one.probability or 0.0 for one in found)
    assert sure > 0.95 > likely > unsure > 0.0
    few, more, many = (one.runs_needed or 99 for one in found)
    assert few == 2 < more < many


def test_a_value_behind_the_champion_has_no_number() -> None:
    """If it is right no number of runs proves it better."""
    story = Story(SETTINGS)
    story.night(*BASE)
    logged(story, 1.01)
    found = stands(story)
    assert found.runs_needed is None
    assert found.probability is not None
    assert found.probability < 0.05


def test_the_direction_is_respected() -> None:
    """Where more is better the mirror image of a history says the same."""
    found = []
    for sign, direction in ((1, Direction.MINIMIZE), (-1, Direction.MAXIMIZE)):
        settings = replace(SETTINGS, metric=MetricSettings(name="x", direction=direction, low=None, high=None))
        story = Story(settings)
        story.night(*(sign * value for value in BASE))
        logged(story, sign * 0.9965)
        found.append(stands(story, settings=settings))
    assert found[0].runs_needed == found[1].runs_needed
    assert found[0].probability == pytest.approx(found[1].probability)


def test_the_forecast_holds_if_the_value_is_right() -> None:
    """As many runs as were said, around its author's value and as noisy as the lab, and the judge keeps it."""
    story = Story(SETTINGS)
    story.night(*BASE, *BASE)
    logged(story, 0.9965)
    needed = stands(story).runs_needed
    assert needed == 2
    rows, champion = judging.rows(story.own, SETTINGS), story.history.champion
    assert champion is not None
    name = ExperimentId("mine")
    newest = rows[-1].slot
    news = [
        Row(arm=name, seed=500 + n, slot=newest + 1 + n, value=0.9965 + n * 0.0003 - 0.00015) for n in range(needed)
    ]
    assert race.judge(name, champion, [*rows, *news], SETTINGS.judge).decision is Decision.KEEP
    assert race.judge(name, champion, [*rows, *news[:1]], SETTINGS.judge).decision is not Decision.KEEP


def test_runs_of_the_lab_go_before_the_word() -> None:
    """Once the lab has run it the author's number says nothing any more."""
    story = Story(SETTINGS)
    story.night(*BASE)
    name = story.idea("mine", 0.9979, judged=False)
    rows = judging.rows(story.history, SETTINGS)
    found = [weighed(story.history, SETTINGS, rows, name, loss) for loss in (0.5, 2.0)]
    assert found[0] == found[1]
    assert found[0].probability is not None


def test_a_kept_idea_is_proven_with_the_probability_of_its_race() -> None:
    """What the judge said when it was kept; nothing more is needed."""
    story = Story(SETTINGS)
    story.night(*BASE)
    story.idea("wins", 0.98, 0.981)
    verdict = story.history.promotions[-1]
    assert stands(story) == Stand(standing=Standing.PROVEN, probability=verdict.probability, runs_needed=0)


@pytest.mark.parametrize(("values", "stand"), [
    ((0.998,), Stand(standing=Standing.PROVISIONAL, runs_needed=1)),
    ((0.998, 0.9981), Stand(standing=Standing.PROVEN)),
])  # fmt: skip
def test_a_baseline_is_known_from_two_seeds(values: tuple[float, ...], stand: Stand) -> None:
    """It has beaten nobody, so that it has no probability."""
    story = Story(SETTINGS)
    story.night(*values)
    with story.ledger as ledger:
        record = next(iter(ledger.records.all()))
        assert stand_of_lab(ledger.records, record) == stand
        assert stand_of(ledger, SETTINGS, record) == stand


def test_a_run_that_may_not_be_believed_proves_nothing() -> None:
    """A baseline whose second run met a contended device is known from one seed."""
    story = Story(SETTINGS)
    base = story.night(0.998)
    run = story.start(base, Purpose.BASELINE)
    trouble = Conditions(before=Reading(), after=Reading(), trouble="contended")
    usage = Usage(wall_s=1.0, cpu_s=1.0)
    story.tell(Ended(run=run, outcome=Finished(metrics=Metrics(primary=0.998)), usage=usage, conditions=trouble))
    assert stands(story, 0) == Stand(standing=Standing.PROVISIONAL, runs_needed=1)


def test_a_night_that_explores_asks_for_less() -> None:
    """The forecast knows the night's threshold."""
    needed = []
    for mode in ("exploit", "explore"):
        story = Story(replace(SETTINGS, judge=JudgeSettings(explore=0.6)))
        story.night(*BASE)
        assert story.history.night is not None
        story.history.night.began = replace(story.history.night.began, mode=mode)
        rows = judging.rows(story.history, story.settings)
        needed.append(weighed(story.history, story.settings, rows, None, 0.9972).runs_needed or 99)
    assert needed[1] < needed[0]


def test_an_answer_is_remembered_until_there_is_new_evidence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same question is answered from memory; after another run of the lab it is worked out again."""
    story = Story(SETTINGS)
    story.night(*BASE)
    logged(story, 0.9974)
    asked: list[Record] = []
    real = standing._weighed

    def counting(ledger: Ledger, settings: Settings, record: Record, value: float) -> Stand:
        asked.append(record)
        return real(ledger, settings, record, value)

    monkeypatch.setattr(standing, "_weighed", counting)
    before = len(story.recorded)
    with Ledger.open(tmp_path / "lab.db", clock=lambda: story.now) as ledger:
        ledger.append(*(one.event for one in story.recorded))
        record = list(ledger.records.all())[-1]
        first = stand_of(ledger, SETTINGS, record, remember=True)
        assert stand_of(ledger, SETTINGS, record) == first
        assert len(asked) == 1
        story.idea("another", 1.2)
        ledger.append(*(one.event for one in story.recorded[before:]))
        stand_of(ledger, SETTINGS, record)
        assert len(asked) == 2
