"""What the lab remembers, put to the search and the judge: has this been tried, and what does a run mean.

The ledger retrieves, search compares, the judge decides what next; here the three meet. The loop, `log`, `check` and
the report ask the same functions.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from nightlab.config import Settings
from nightlab.ledger import Ledger, journal
from nightlab.ledger.mirrors import Mirrors
from nightlab.ledger.records import KEEP, Record, Records
from nightlab.ledger.store import is_present
from nightlab.search import novelty
from nightlab.search.novelty import Category, Guard, Mode, Prior, Reading, Words, assess, index_terms, query_terms
from nightlab.search.words import Lexicon
from nightlab.types import Change, Decision, RunId, Stand, Standing

if TYPE_CHECKING:
    from nightlab.judge.packets import ChampionRef, DecisionPacket, RunFacts


class IdeaIndex:
    """How the ledger indexes ideas (`ledger.text.TextIndex`): by the terms that the search reads in them."""

    version = novelty.TERMS_VERSION

    def terms(self, description: str, hypothesis: str, family: str, tags: Sequence[str]) -> Sequence[str]:
        return index_terms(Words(description=description, hypothesis=hypothesis, family=family, tags=tuple(tags)))

    def joins(self, description: str, groups: Sequence[str]) -> int | None:
        """The group that the failure is most alike, if it is alike enough."""
        here = Reading.of(description)
        scores = [novelty.likeness(here, Reading.of(text)).score for text in groups]
        best = max(range(len(groups)), key=scores.__getitem__, default=None)
        return best if best is not None and scores[best] >= novelty.CLUSTER else None


INDEX = IdeaIndex()


def open_ledger(settings: Settings) -> Ledger:
    """The lab's ledger for writing, with ideas indexed as they come; one that was lost is made anew first.

    That is said on stderr, whichever command does it: what was told by others than the database may be less, or wrong.

    Raises:
        LedgerError: the file or the disk refuses.
    """
    if is_lost(settings):
        from nightlab import remains

        found = remains.make_anew(settings, INDEX)
        if found is not None:
            print(f"note: {settings.database} was lost and was made anew: {found.text}", file=sys.stderr)
    return Ledger.open(settings.database, index=INDEX)


def is_lost(settings: Settings) -> bool:
    """Whether the lab's database is gone and something else tells what was in it."""
    if is_present(settings.database):
        return False
    told = (settings.runs, Mirrors(settings.root).run(RunId("")))
    return journal.last(journal.path_of(settings.database)) is not None or any(map(_has_entries, told))


def _has_entries(directory: Path) -> bool:
    with suppress(OSError):
        return next(directory.iterdir(), None) is not None
    return False


class Constant(NamedTuple):
    """A knob by name and value, which is all that words need of it."""

    name: str
    value: bool | int | float | str


def lexicon_of(settings: Settings, ledger: Ledger) -> Lexicon:
    """The lab's knobs as its editable files stand in the working tree, so that words can be understood as them.

    Finding them costs more than a look-up, so that the last ones found are kept in the ledger (`learn`).
    """
    files = _digests(settings)
    known = ledger.note(_noted(files))
    constants = msgspec.json.decode(known, type=list[Constant]) if known else _constants(settings, files)
    return Lexicon.of(constants)


def learn(settings: Settings, ledger: Ledger) -> None:
    """Keep the knobs of the working tree for the next look at the same source."""
    files = _digests(settings)
    if ledger.note(_noted(files)) is None:
        found = msgspec.json.encode(_constants(settings, files)).decode()
        ledger.set_note(_noted(files), found, instead_of=_KNOBS)


_KNOBS = "knobs "


def _noted(files: Mapping[str, str]) -> str:
    return _KNOBS + " ".join(f"{path}:{digest}" for path, digest in files.items())


def _digests(settings: Settings) -> dict[str, str]:
    from nightlab.runner.hashes import hash_files

    return hash_files(settings.root, settings.editable)


def _constants(settings: Settings, files: Iterable[str]) -> list[Constant]:
    from nightlab.search.knobs import find_knobs

    found = {}
    for path in files:
        with suppress(OSError, UnicodeDecodeError):  # gone in between, or no text: then it has no knobs
            found[path] = (settings.root / path).read_text(encoding="utf-8")
    return [Constant(k.name, k.value) for k in find_knobs(found, on_gpu=Path("/dev/nvidia0").exists())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """An idea that somebody wants to try, or has tried."""

    words: Words
    mode: str = str(Mode.EXPLOIT)
    threshold: float = 0.62
    source: str = ""  # hash of its source, if there is one
    changes: tuple[Change, ...] = ()  # what that source changes


def guard(records: Records, question: Question, settings: Settings, lexicon: Lexicon) -> Guard[Record]:
    """Whether the idea, or one like it, is on record, and what its mode says to that."""
    terms = query_terms(question.words, lexicon)
    found = records.nearest(terms, question.source)
    return assess(
        question.words,
        [_prior(record, settings.metric.direction.sign) for record in found],
        mode=Mode(question.mode),
        threshold=question.threshold,
        source=question.source,
        changes=question.changes,
        lexicon=lexicon,
    )


def _prior(record: Record, sign: int) -> Prior[Record]:
    return Prior(
        item=record,
        words=Words(
            description=record.description, family=record.family, tags=record.tags, hypothesis=record.hypothesis
        ),
        kept=record.status == KEEP,
        loss=None if record.value is None or not record.ranked else sign * record.value,
        source=record.source_hash,
        changes=record.changes,
    )


# --- what a run means -------------------------------------------------------------------------------------------


def reference(record: Record | None) -> ChampionRef | None:
    """A record as the champion that others are compared with."""
    from nightlab.judge.packets import ChampionRef

    return None if record is None or record.value is None else ChampionRef(run=record.run, value=record.value)


def packet(
    settings: Settings,
    *,
    run: str,
    status: str,
    value: float | None,
    error: str,
    hypothesis: str,
    novelty_class: str,
    prior: ChampionRef | None,
    current: ChampionRef | None,
    stand: Stand | None = None,
) -> tuple[RunFacts, DecisionPacket]:
    """What happened, what it means and what next.

    Args:
        settings: the lab.
        run: its name.
        status: keep, discard or crash.
        value: the metric, None for a crash.
        error: why it crashed, in a line.
        hypothesis: why it should have helped; "" if nobody said.
        novelty_class: what the guard made of the idea.
        prior: champion before the run.
        current: champion including it.
        stand: how far a kept run is proven.
    """
    from nightlab.judge.packets import NoveltyClass, RunFacts, decide_next

    facts = RunFacts(
        run=run,
        status=Decision(status),
        novelty=NoveltyClass(novelty_class),
        hypothesis=hypothesis,
        value=value,
        error=error,
        prior=prior,
        current=current,
        metric=settings.metric.name,
        direction=settings.metric.direction,
        stand=stand,
    )
    return facts, decide_next(facts)


def packet_of_lab(records: Records, record: Record, settings: Settings) -> tuple[RunFacts, DecisionPacket]:
    """The packet of one of the lab's own runs, as things stood when it was recorded."""
    sign = settings.metric.direction.sign
    prior = records.champion(sign, before=record.seq)
    return packet(
        settings,
        run=record.run,
        status=record.status,
        value=record.value,
        error=record.crash,
        hypothesis=record.hypothesis,
        novelty_class=Category.NOVEL,
        prior=reference(prior),
        current=reference(crowned(prior, record, sign)),
        stand=stand_of_lab(records, record) if record.status == KEEP else None,
    )


FEWEST = 2  # distinct seeds without which nothing is proven (`judge.race.MIN_SEEDS`, which costs loading numpy)


def stand_of_lab(records: Records, record: Record) -> Stand:
    """How far one of the lab's own kept runs is proven.

    A keep has won its race. A night's baseline has beaten nobody: it is proven when its value is known from two seeds.
    """
    proof = records.proof(record.experiment) if record.experiment else None
    if proof is not None and proof.decision == KEEP:
        return Stand(standing=Standing.PROVEN, probability=proof.probability)
    seeds = proof.seeds if proof is not None else 0
    if proof is not None and proof.is_baseline and seeds >= FEWEST:
        return Stand(standing=Standing.PROVEN)
    return Stand(standing=Standing.PROVISIONAL, runs_needed=max(FEWEST - seeds, 1))


def crowned(prior: Record | None, record: Record, sign: int) -> Record | None:
    """The champion once `record` is on record too: the best keep, and the best of all while nothing is kept."""
    if record.value is None or not record.ranked:
        return prior
    if prior is None or prior.value is None:
        return record
    if record.status == KEEP and prior.status != KEEP:
        return record
    if (record.status == KEEP) == (prior.status == KEEP) and sign * record.value < sign * prior.value:
        return record
    return prior
