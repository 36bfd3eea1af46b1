"""What the lab has learnt, as nouns for screens, JSON and the report: niches, claims, crashes, reviews."""

from __future__ import annotations

from dataclasses import dataclass

from nightlab.config import Settings
from nightlab.history import History
from nightlab.report.text import code, markdown
from nightlab.report.words import count
from nightlab.search.archive import Archive, archive
from nightlab.search.calibration import Calibration, calibration
from nightlab.search.claims_in_words import in_words
from nightlab.search.conjectures import conjectures
from nightlab.search.niches import Survey, emitter_of
from nightlab.search.phases import phase, stall
from nightlab.search.reviews import review
from nightlab.types import Conjecture, ExperimentId, Review

SHOWN = 4  # of each in the report


@dataclass(frozen=True, slots=True, kw_only=True)
class EliteLine:
    """The best experiment of a niche."""

    niche: str
    experiment: ExperimentId
    number: int
    description: str
    emitter: str
    gain: float | None  # over the baseline, posterior mean, units of the metric, positive is better
    probability: float  # that it is better than the champion that it was judged against
    count: int  # experiments of the niche
    is_champion: bool
    is_open: bool  # no part of the champion, and may be as good as it is: a stepping stone
    is_kept: bool  # part of what the champion was made of


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """An experiment by its number and words."""

    experiment: ExperimentId
    number: int
    description: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoFlyLine:
    """A way to crash."""

    signature: str
    change: str
    kind: str
    count: int
    last_seen: float  # UTC seconds since the epoch
    example: Named
    has_expired: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveSheet:
    """The archive as `nightlab archive` shows it."""

    phase: str  # "" before a night
    stall: int  # experiments since the last promotion
    elites: tuple[EliteLine, ...]  # best first
    near_misses: tuple[Named, ...]  # oldest first
    stones: tuple[Named, ...]  # stepping stones, best first
    no_fly: tuple[NoFlyLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConjectureLine:
    """A claim, and the sentence that says it."""

    claim: Conjecture
    sentence: str
    support: tuple[Named, ...]
    against: tuple[Named, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReviewSheet:
    """A review as `nightlab review` shows it."""

    review: Review
    number: int
    description: str
    score: float
    sentences: tuple[str, ...]  # the claims that it moved


def archive_sheet(history: History, found: Archive | None = None) -> ArchiveSheet:
    """The archive of the champion's line."""
    found = found or archive(history)
    if found.base is None:
        return ArchiveSheet(phase="", stall=0, elites=(), near_misses=(), stones=(), no_fly=())
    chain = history.made_of(found.base)
    return ArchiveSheet(
        phase=phase(history, found.base),
        stall=stall(history, found.base),
        elites=tuple(
            EliteLine(
                niche=str(elite.niche),
                experiment=elite.experiment,
                number=history.state(elite.experiment).number,
                description=history.state(elite.experiment).experiment.description,
                emitter=emitter_of(history.state(elite.experiment).experiment),
                gain=elite.gain,
                probability=elite.probability,
                count=elite.count,
                is_champion=elite.experiment == found.base,
                is_open=elite.experiment in found.stones,
                is_kept=elite.experiment in chain,
            )
            for elite in found.elites
        ),
        near_misses=tuple(_named(history, name) for name in found.near_misses),
        stones=tuple(_named(history, name) for name in found.stones),
        no_fly=tuple(
            NoFlyLine(
                signature=pattern.signature,
                change=pattern.change,
                kind=pattern.kind,
                count=pattern.count,
                last_seen=pattern.last_seen,
                example=_named(history, pattern.example),
                has_expired=pattern.has_expired,
            )
            for pattern in found.no_fly
        ),
    )


def conjecture_lines(history: History) -> tuple[ConjectureLine, ...]:
    """The claims of the champion's line, surest first."""
    return tuple(
        ConjectureLine(
            claim=claim,
            sentence=in_words(claim),
            support=tuple(_named(history, name) for name in claim.support),
            against=tuple(_named(history, name) for name in claim.against),
        )
        for claim in conjectures(history)
    )


def review_sheet(history: History, settings: Settings, experiment: ExperimentId) -> ReviewSheet:
    """The review of an experiment.

    Raises:
        NotFoundError: none of its runs has ended with something to review.
    """
    found, state = review(history, settings, experiment), history.state(experiment)
    return ReviewSheet(
        review=found,
        number=state.number,
        description=state.experiment.description,
        score=found.terms.score,
        sentences=tuple(in_words(claim) for claim in found.conjectures),
    )


def review_lines(sheet: ReviewSheet) -> list[str]:
    """The review in a few lines, for a model to read."""
    found = sheet.review
    value = f"crashed: {found.crash}" if found.crash else f"value {found.value:.6g}" if found.value is not None else ""
    against = [
        f"{gain:+.6f} against {what}"
        for gain, what in ((found.gain_vs_best, "the best before it"), (found.gain_vs_baseline, "the baseline"))
        if gain is not None
    ]
    return [
        f"#{sheet.number} changed {found.summary}",
        ", ".join(part for part in (value, *against) if part) + " (positive is better, one run)",
        f"niche {found.niche}; score {sheet.score:.3f}; advice: {found.recommendation}",
        *(f"moved: {sentence}" for sentence in sheet.sentences),
    ]


def _named(history: History, name: ExperimentId) -> Named:
    state = history.state(name)
    return Named(experiment=name, number=state.number, description=state.experiment.description)


# --- the report -------------------------------------------------------------------------------------------------


def learnt_lines(history: History) -> list[str]:
    """The report's section on niches, claims and crashes, in plain words; empty before there is something to say."""
    survey = Survey(history)
    sheet = archive_sheet(history, archive(history, survey=survey))
    claims = [claim for claim in conjectures(history, survey=survey) if not claim.is_no_fly]
    lines: list[str] = []
    worth = [one for one in sheet.elites if one.is_kept or one.is_open]
    if worth:
        lines += ["The best of each niche, where it was kept or may be as good as the champion, over the baseline:", ""]
        lines += [_elite(one) for one in worth[:SHOWN]]
        lines += _more(len(worth), "niche")
    if claims:
        lines += [*_gap(lines), *_claims(claims)]
    active = [pattern for pattern in sheet.no_fly if not pattern.has_expired]
    if active:
        lines += [*_gap(lines), "What crashes on this champion:", ""]
        for pattern in active[:SHOWN]:
            what = f"{code(pattern.change, 80)} ends in {code(pattern.signature, 120)}"
            lines.append(f"- {count(pattern.count, 'experiment')}: {what} (last: #{pattern.example.number})")
        lines += _more(len(active), "pattern")
    held = calibration(history.line)
    if held:
        lines += [*_gap(lines), *_forecasts(held)]
    return lines


def _forecasts(held: tuple[Calibration, ...]) -> list[str]:
    """What was foretold before the runs, and how it came."""
    lines = [
        "Forecasts stored before the runs (the Brier score is lower where they knew more; beside it that of always "
        "saying the mean):",
        "",
        "| emitter | ideas | foretold better | came better | Brier | gains within what was foretold |",
        "|---|---|---|---|---|---|",
    ]
    for row in held:
        inside = "-" if row.inside is None else f"{row.inside:.0%}"
        lines.append(
            f"| {row.emitter or 'all'} | {row.scored} | {row.foretold:.0%} | {row.better:.0%} "
            f"| {row.brier:.3f} ({row.even:.3f}) | {inside} |"
        )
    return lines


def _claims(claims: list[Conjecture]) -> list[str]:
    """The clear claims; what leans somewhere only is counted."""
    clear = [c for c in claims if c.low is None or c.high is None or not c.low <= 0.0 <= c.high]
    vague = len(claims) - len(clear)
    rest = f"{count(vague, 'conjecture')} not clear yet: `nightlab conjectures` lists all" if vague else ""
    if not clear:
        return [f"{rest}."]
    lines = ["What the runs claim:", "", *(f"- {markdown(in_words(claim), 300)}" for claim in clear[:SHOWN])]
    return [*lines, *_more(len(clear), "conjecture"), *([f"- {rest}"] if rest else [])]


def _gap(lines: list[str]) -> list[str]:
    return [""] if lines else []


def _more(total: int, noun: str) -> list[str]:
    return [f"- and {count(total - SHOWN, f'other {noun}')}"] if total > SHOWN else []


def _elite(one: EliteLine) -> str:
    gain = "gain unknown" if one.gain is None else f"{one.gain:+.3g}"
    role = "the champion" if one.is_champion else "kept" if one.is_kept else "open"
    tried = f"{count(one.count, 'experiment')}, {role}"
    return f"- {one.niche}: #{one.number} {markdown(one.description, 120)}, {gain} ({tried})"
