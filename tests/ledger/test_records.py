"""Records as the database answers for them, against the contract's rules read literally."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightlab.ledger import Ledger
from nightlab.ledger.records import Record
from nightlab.ledger.tables import lineage_roots
from nightlab.memory import INDEX, crowned
from nightlab.types import Crashed, Imported, Metrics, RunId

COMMITS = ["aaaaaaa", "bbbbbbb", "ccccccc", "ddddddd", "eeeeeee", "fffffff"]


def told(number: int, status: str, value: float | None, commit: str, parent: str | None, text: str) -> Imported:
    return Imported(
        run=RunId(f"run-{number}"),
        origin="test",
        digest=str(number),
        status=status,
        at=1000.0 + number,
        commit=commit,
        parent_commit=parent,
        description=text,
        metrics=None if value is None else Metrics(primary=value),
        crash=Crashed(summary="out of memory", signature="out of memory") if status == "crash" else None,
    )


@st.composite
def histories(draw: st.DrawFn) -> list[Imported]:
    rows = []
    for number in range(draw(st.integers(0, 14))):
        status = draw(st.sampled_from(["keep", "discard", "crash"]))
        value = None if status == "crash" else draw(st.sampled_from([0.9, 0.95, 1.0, 1.05]))
        parent = draw(st.none() | st.sampled_from(COMMITS))
        text = draw(st.sampled_from(["raise MATRIX_LR to 0.1", "MATRIX_LR 0.1", "depth 10", "add dropout", "x"]))
        rows.append(told(number, status, value, draw(st.sampled_from(COMMITS)), parent, text))
    return rows


def root_of(commit: str, parents: dict[str, str | None]) -> str:
    """The contract: follow parents that are on record; the first that is not, else the last commit reached."""
    path, here = [commit], commit
    while (parent := parents.get(here)) is not None and parent not in path:
        here = parent
        path.append(here)
    return here


@settings(max_examples=60, deadline=None)
@given(rows=histories(), at_once=st.booleans())
def test_records_stand_to_each_other_as_the_contract_says(rows: list[Imported], at_once: bool) -> None:
    """Champion, challengers, counts, lineages: the same however the rows came in, one by one or together."""
    with Ledger.open(Path(":memory:"), index=INDEX, durable=False) as ledger:
        if at_once:
            ledger.append(*rows)
        else:
            for row in rows:
                ledger.append(row)
        records = ledger.records
        parents = {row.commit: row.parent_commit for row in rows}  # the last record of a commit counts
        assert {r.run: r.lineage for r in records.all()} == {r.run: root_of(r.commit, parents) for r in rows}
        for sign in (1, -1):
            valued = sorted(
                ((sign * r.metrics.primary, r.at, r) for r in rows if r.metrics is not None), key=lambda one: one[:2]
            )
            ranked = [r for *_, r in valued]
            best = next((r for r in ranked if r.status == "keep"), ranked[0] if ranked else None)
            champion = records.champion(sign)
            assert (champion.run if champion else None) == (best.run if best else None)
            behind = [r.run for r in ranked if best is not None and r.run != best.run][:3]
            assert [r.run for r in records.challengers(sign, champion, 3)] == behind
            lines = {line.root: line for line in records.lineages(sign, 9)}
            assert set(lines) == {root_of(r.commit, parents) for r in ranked}
            assert sum(line.runs for line in lines.values()) == len(ranked)
        assert records.counts() == {s: sum(r.status == s for r in rows) for s in ("crash", "discard", "keep")}
        failed = [r for r in rows if r.status != "keep"]
        assert sum(cluster.size for cluster in records.clusters(1, 99)) == len(failed)


@settings(max_examples=40, deadline=None)
@given(rows=histories())
def test_the_champion_told_beforehand_is_the_champion_afterwards(rows: list[Imported]) -> None:
    """What `log` says of the champion before a run is on record is what the ledger says once it is."""
    with Ledger.open(Path(":memory:"), index=INDEX, durable=False) as ledger:
        for row in rows:
            prior = ledger.records.champion(1)
            ledger.append(row)
            record = ledger.records.get(row.run)
            assert isinstance(record, Record)
            after = ledger.records.champion(1)
            expected = crowned(prior, record, 1)
            assert (expected.run if expected else None) == (after.run if after else None)


@given(parents=st.dictionaries(st.sampled_from("abcdefg"), st.none() | st.sampled_from("abcdefgh"), max_size=7))
def test_lineage_roots_are_what_following_parents_one_by_one_gives(parents: dict[str, str | None]) -> None:
    """Chains, trees and circles alike, without walking any part twice."""
    assert lineage_roots(parents) == {commit: root_of(commit, parents) for commit in parents}


def test_an_idea_that_nobody_has_indexed_is_found_all_the_same() -> None:
    """A writer without an index leaves ideas to the next one; readers take them as candidates."""
    row = told(1, "discard", 1.0, "aaaaaaa", None, "raise MATRIX_LR to 0.1")
    with Ledger.open(Path(":memory:"), durable=False) as ledger:
        ledger.append(row)
        assert [r.run for r in ledger.records.nearest(["nothing"])] == ["run-1"]


@pytest.mark.parametrize("status", ["discard", "crash"])
def test_failures_of_one_kind_fall_together_across_sittings(status: str) -> None:
    """Paraphrases join the group of the first; the group knows its size, its crashes and its best value."""
    value = None if status == "crash" else 1.0
    with Ledger.open(Path(":memory:"), index=INDEX, durable=False) as ledger:
        ledger.append(told(1, status, value, "aaaaaaa", None, "raise MATRIX_LR to 0.1"))
        ledger.append(told(2, status, value, "bbbbbbb", None, "bump the matrix learning rate up to 0.1"))
        ledger.append(told(3, status, value, "ccccccc", None, "tie the embeddings"))
        first, second = ledger.records.clusters(1, 5)
        assert (first.size, first.crashes, first.best) == (2, 2 if status == "crash" else 0, value)
        assert [r.run for r in first.members] == ["run-1", "run-2"]
        assert second.size == 1
