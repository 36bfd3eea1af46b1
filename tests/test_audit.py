"""Kept changes looked at again: their worth now, how many may be noise, which are discoveries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nightlab import audit
from nightlab.audit import Keeps, Worth
from nightlab.config import Settings
from nightlab.history import History
from nightlab.ledger import Ledger
from nightlab.types import (
    Decision,
    ExperimentId,
    Finished,
    Judged,
    Metrics,
    NightBegan,
    NightId,
    Purpose,
    Verdict,
)
from tests.report.stories import Story

SETTINGS = Settings(root=Path("/lab"))
BASE = (0.9980, 0.9985, 0.9982)


def story() -> Story:
    """A baseline (1), two keeps (2, 3) on top of each other, a discard (4)."""
    told = Story(SETTINGS)
    told.night(*BASE)
    told.idea("first", 0.98, 0.981)
    told.idea("second", 0.96, 0.961)
    told.idea("worse", 1.2)
    assert [told.history.state(v.experiment).number for v in told.history.promotions] == [2, 3]
    return told


def named(told: Story, description: str) -> ExperimentId:
    return next(n for n, s in told.history.experiments.items() if s.experiment.description == description)


def leave_out(told: Story, link: str, *values: float) -> ExperimentId:
    """The removal of a link, run and judged."""
    assert told.history.champion is not None
    name = told.experiment(
        f"without {link}", parent=told.history.champion, emitter="ablation", without=named(told, link)
    )
    for value in values:
        told.runs(name, value)
        told.judge()
    return name


def by_hand(told: Story, experiment: str) -> None:
    assert told.history.champion is not None
    told.verdict(
        Verdict(
            experiment=named(told, experiment), champion=told.history.champion, decision=Decision.KEEP, because="undone"
        )
    )


def worth(told: Story) -> dict[int, Worth]:
    return {
        told.history.state(link.verdict.experiment).number: link.worth for link in audit.chain(told.history, SETTINGS)
    }


# --- the chain --------------------------------------------------------------------------------------------------


def test_links_have_their_gain_as_of_now() -> None:
    """More runs since the promotion change the estimate of now, not the record of then."""
    told = story()
    before = audit.chain(told.history, SETTINGS)
    told.runs(named(told, "second"), 0.979, 0.980, 0.9795, purpose=Purpose.REPLICATE)
    after = audit.chain(told.history, SETTINGS)
    assert [link.verdict for link in after] == [link.verdict for link in before]
    assert before[1].now is not None
    assert after[1].now is not None
    assert after[1].now.gain < before[1].now.gain
    assert worth(told)[2] is Worth.KEPT


def test_a_link_that_no_longer_looks_better_is_in_doubt() -> None:
    """When later runs say the opposite the chain says so."""
    told = story()
    told.runs(named(told, "second"), 0.999, 0.998, 0.999, 0.9985, 0.999, purpose=Purpose.REPLICATE)
    assert worth(told)[3] is Worth.DOUBTFUL


def test_leaving_out_tells_dead_weight_from_what_earns_its_place() -> None:
    """A removal that was worse stands beside its link; one that was kept has taken it out."""
    told = story()
    leave_out(told, "first", 0.975)
    assert worth(told) == {2: Worth.EARNS, 3: Worth.KEPT}
    (link, _) = audit.chain(told.history, SETTINGS)
    assert link.removal is not None
    assert link.removal.high is not None
    assert link.removal.high < 0
    told = story()
    gone = leave_out(told, "first", 0.958, 0.9585)
    assert told.history.champion == gone
    assert worth(told) == {2: Worth.REMOVED, 3: Worth.KEPT, 5: Worth.REMOVAL}
    assert audit.chain(told.history, SETTINGS)[0].removed_by == gone


def test_what_was_taken_back_is_no_link() -> None:
    """And what came back is the link that it was."""
    told = story()
    by_hand(told, "first")
    assert worth(told) == {2: Worth.KEPT}
    by_hand(told, "second")
    assert worth(told) == {2: Worth.KEPT, 3: Worth.KEPT}
    by_hand(told, "baseline")
    assert worth(told) == {}


def test_a_lab_without_a_night_has_no_chain() -> None:
    """Nothing was kept, nothing is claimed."""
    assert audit.chain(History(), SETTINGS) == []
    assert audit.strict_test(History(), SETTINGS) == {}
    assert audit.keeps(History()) == Keeps(kept=0, expected_false=0.0)


# --- noise among the keeps --------------------------------------------------------------------------------------


def test_expected_noise_is_the_sum_of_the_doubts() -> None:
    """One minus the probability at promotion, over all nights and over the latest one; a person's word is no odds."""
    told = story()
    first = [1 - (v.probability or 0.0) for v in told.history.promotions]
    night = told.history.night
    assert night is not None
    told.dawn()
    told.tell(NightBegan(night=NightId("n2"), seed=0, ideas=9, hours=None, baseline=night.began.baseline))
    told.idea("third", 0.94, 0.941)
    third = 1 - (told.history.promotions[-1].probability or 0.0)
    by_hand(told, "second")
    ever, tonight = audit.keeps(told.history), audit.keeps(told.history, NightId("n2"))
    assert (ever.kept, tonight.kept) == (3, 1)
    assert ever.expected_false == pytest.approx(sum(first) + third)
    assert tonight.expected_false == pytest.approx(third)
    assert audit.keeps(told.history, night.began.night).kept == 2


# --- the strict test --------------------------------------------------------------------------------------------


def test_places_are_taken_when_ideas_are_proposed() -> None:
    """What is undecided holds its place, a removal has none, and no later event moves a level."""
    told = Story(SETTINGS)
    told.night(*BASE)
    told.experiment("waiting", parent=told.history.champion)
    told.idea("first", 0.98, 0.981)
    before = audit.strict_test(told.history, SETTINGS)
    assert {told.history.state(name).number: found.place for name, found in before.items()} == {3: 2}
    told.idea("second", 0.96, 0.961)
    leave_out(told, "first", 0.975)
    told.idea("third", 1.2)
    by_hand(told, "first")
    after = audit.strict_test(told.history, SETTINGS)
    assert {told.history.state(name).number: found.place for name, found in after.items()} == {3: 2, 4: 3, 6: 4}
    (mine,) = before.values()
    assert after[mine.experiment].needed == mine.needed
    assert after[mine.experiment].champion == mine.champion


def test_final_runs_side_by_side_make_a_discovery() -> None:
    """A gain far beyond the noise, measured again on fresh seeds beside the baseline, may be claimed; not before."""
    told = Story(SETTINGS)
    base = told.night(*BASE)
    idea = told.idea("wins", 0.98, 0.981)
    assert not audit.strict_test(told.history, SETTINGS)[idea].passed
    for index in range(4):
        told.runs(idea, 0.9805 + 1e-4 * index, purpose=Purpose.FINAL)
        told.runs(base, 0.9981 + 1e-4 * (index % 2), purpose=Purpose.FINAL)
    found = audit.strict_test(told.history, SETTINGS)[idea]
    assert found.passed
    assert found.e_value >= found.needed
    assert found.pairs > 4


def test_runs_of_two_nights_are_never_side_by_side() -> None:
    """Hours lie between the last run of a night and the first of the next."""

    def pairs(*, between: bool) -> int:
        told = Story(SETTINGS)
        base = told.night(0.998)
        if between:
            told.dawn()
            told.now += 8 * 3600
            told.tell(NightBegan(night=NightId("n2"), seed=0, ideas=9, hours=None, baseline=base))
        idea = told.experiment("idea", parent=base)
        told.runs(idea, 0.98)
        told.tell(
            Judged(
                verdict=Verdict(
                    experiment=idea, champion=base, decision=Decision.RETEST, because="again", probability=0.9
                )
            )
        )
        return audit.strict_test(told.history, SETTINGS)[idea].pairs

    assert pairs(between=False) == 1
    assert pairs(between=True) == 0


def test_another_baseline_is_another_life() -> None:
    """Ideas of another line of parents are other hypotheses, and their runs no evidence."""
    told = story()
    told.dawn()
    told.night(*(value + 1 for value in BASE), description="new")
    assert audit.strict_test(told.history, SETTINGS) == {}
    assert audit.chain(told.history, SETTINGS) == []


def test_a_made_up_metric_far_away_changes_nothing() -> None:
    """Values of any size give a finite number or none."""
    told = Story(SETTINGS)
    base = told.night(1e80, 1.1e80)
    idea = told.experiment("idea", parent=base)
    told.end(told.start(idea), Finished(metrics=Metrics(primary=-1e90)))
    told.judge()
    found = audit.strict_test(told.history, SETTINGS).get(idea)
    assert found is not None
    assert 0 < found.e_value < float("inf")


def test_the_ledger_keeps_the_link(tmp_path: Path) -> None:
    """A removal read back from the tables still says what it left out, as folding its events does."""
    told = story()
    name = leave_out(told, "first", 0.975)
    with Ledger.open(tmp_path / "lab.db") as ledger:
        ledger.append(*(recorded.event for recorded in told.recorded))
        assert ledger.history().state(name).experiment.plan.without == named(told, "first")
        assert replace(ledger.history(), seq=0).experiments == History.fold(ledger.since()).experiments
