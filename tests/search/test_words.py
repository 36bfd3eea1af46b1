"""Reading: what a description moves, which way, to what value."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightlab.search.book import stem
from nightlab.search.words import Claim, Way, normalise, read, setting, subject_of


def only(text: str) -> Claim:
    (claim,) = read(text)
    return claim


def test_reading_takes_direction_value_and_factor() -> None:
    """What a text says of a knob is read from verbs, arrows and numbers, whatever the order."""
    raised = only("MATRIX_LR 0.04 -> 0.06")
    assert (raised.subject, raised.way, raised.value) == (frozenset({"matrix", "lr"}), Way.UP, 0.06)
    assert raised.factor == pytest.approx(1.5)
    assert [claim.way for claim in read("increase matrix lr and embedding lr")] == [Way.UP, Way.UP]
    assert only("reduce lr by 20%").factor == pytest.approx(0.8)
    assert only("TOTAL_BATCH_SIZE 2**18").value == 262144


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("lr = 3e-4", 3e-4), ("lr of 0.0003", 3e-4), ("set lr to 3e-4", 3e-4), ("lr: 3e-4", 3e-4), ("3e-4 lr", 3e-4),
        ("batch 2^16", 65536), ("batch 1<<16", 65536), ("batch 64K", 65536), ("batch 65,536", 65536),
        ("batch 65_536", 65536), ("rope base 50k", 50000), ("batch 1M", 2**20), ("warmdown 70%", 0.7),
        ("warmdown 70 percent", 0.7), ("depth twelve", 12), ("twelve layers", 12), ("depth 8 vs 6", 8),
        ("depth 8 instead of 6", 8), ("depth from 6 to 8", 8), ("depth 6 => 8", 8), ("weight decay .1", 0.1),
        ("dropout one eighth", 0.125), ("MLP 4x -> 3x", 3), ("lr 0.2, down by 75%", pytest.approx(0.05)),
        ("quadruple the 64-byte cache", 256), ("divide the init std (0.02) by 4", pytest.approx(0.005)),
    ],
)  # fmt: skip
def test_values_in_every_spelling(text: str, value: float) -> None:
    """Powers, suffixes, percents, words: the value is the same."""
    assert only(text).value == value


@pytest.mark.parametrize(
    ("text", "factor"),
    [
        ("2x lr", 2), ("lr x1.5", 1.5), ("double lr", 2), ("lr twice as large", 2), ("halve lr", 0.5),
        ("half the lr", 0.5),
        ("cut lr in half", 0.5), ("cut lr by a third", pytest.approx(2 / 3)), ("lr to a third", pytest.approx(1 / 3)),
        ("raise lr by 20%", 1.2), ("lr +20%", 1.2), ("lr -20%", 0.8), ("20% lower lr", 0.8), ("10x lower lr", 0.1),
        ("lower lr by a factor of 4", 0.25), ("scale lr by 0.7", 0.7), ("multiply lr by 3", 3),
        ("divide lr by 4", 0.25),
        ("remove one quarter of the layers", 0.75), ("lr up 30%", 1.3), ("lr *= 2", 2), ("tenfold lr", 10),
        ("lr an order of magnitude lower", 0.1),
    ],
)  # fmt: skip
def test_ratios_in_every_spelling(text: str, factor: float) -> None:
    """What a knob is multiplied with, however it is told."""
    assert only(text).factor == factor


@pytest.mark.parametrize(
    ("text", "way"),
    [
        ("no warmup", Way.OFF), ("without softcap", Way.OFF), ("turn off value embeddings", Way.OFF),
        ("dropout 0", Way.OFF),
        ("VALUE_EMBEDDINGS = False", Way.OFF), ("skip warmup", Way.OFF), ("bias-free linear layers", Way.OFF),
        ("grad clip on", Way.ON), ("enable ema", Way.ON), ("add qk norm", Way.ON), ("untie embeddings", Way.OFF),
        ("longer warmup", Way.UP), ("fewer heads", Way.DOWN), ("tighter softcap", Way.DOWN), ("deeper", Way.UP),
        ("shrinking the width", Way.DOWN), ("raised dropout", Way.UP), ("depth 8 -> 6", Way.DOWN), ("lr", Way.UNSAID),
    ],
)  # fmt: skip
def test_directions_in_every_spelling(text: str, way: Way) -> None:
    """Verbs, comparatives, negations, and numbers where they tell."""
    assert only(text).way is way


@pytest.mark.parametrize(
    "text",
    [
        "softcap 20 to stop the divergence", "softcap 20 for stability", "softcap 20 so that logits stay small",
        "softcap 20 because 30 was worse", "softcap 20 (val_bpb 1.02)", "softcap 20 diverged", "softcap 20 - regressed",
        "softcap 20 \u2014 val_bpb 1.02->1.03, gap 3", "[night 2] softcap 20", "gpu1: softcap 20",
        "softcap 20 (too tight)",
        "softcap 20: val_bpb 1.2 WORSE (+0.01). Depth 12 is next", "softcap 20 was worse", "softcap 20 worse",
        "train.py: softcap 20",
    ],
)  # fmt: skip
def test_purposes_and_results_are_no_part_of_a_change(text: str) -> None:
    """Why something is tried, and what came of it, does not make it another idea."""
    assert read(text)[0].value == 20
    assert [claim.subject for claim in read(text)] == [frozenset({"softcap"})]


@pytest.mark.parametrize(
    ("text", "subjects"),
    [
        ("depth 10, softcap 20; no warmup", ["depth", "softcap", "warmup"]),
        ("DEPTH=10 SOFTCAP=20", ["depth", "softcap"]),
        ("5% warmup 30% warmdown", ["warmup", "warmdown"]),
        ("dropout 0.1 plus ema 0.99 with depth 3", ["dropout", "ema", "depth"]),
        ("widen the model: aspect ratio 96", ["aspect"]),
        ("CACHE_LINES=64 N_PROBES=8", ["cache lin", "probe"]),
    ],
)
def test_a_list_of_changes_is_taken_apart(text: str, subjects: list[str]) -> None:
    """Commas, "with", "plus" and a mere row of settings join changes; what only explains one adds none."""
    told = [" ".join(sorted(claim.subject | claim.extra)) for claim in read(text)]
    assert told == subjects


def test_a_shared_measure_is_lent() -> None:
    """ "Embedding and unembedding lr" are two rates."""
    assert [claim.subject for claim in read("embedding and unembedding lr 2x")] == [
        frozenset({"embedding", "lr"}),
        frozenset({"unembedding", "lr"}),
    ]


def test_a_row_of_values_names_its_places() -> None:
    """The second of Adam's betas is beta2; a change that shows both rows moves only what differs."""
    first, second = read("ADAM_BETAS = (0.8, 0.99)")
    assert (first.subject, second.subject, second.value) == (frozenset({"beta1"}), frozenset({"beta2"}), 0.99)
    assert only("ADAM_BETAS (0.8, 0.95) -> (0.9, 0.95)").subject == {"beta1"}


@pytest.mark.parametrize(
    ("text", "new", "old"),
    [
        ("replace relu with mish", {"mish"}, {"relu"}), ("mish instead of relu", {"mish"}, {"relu"}),
        ("relu -> mish", {"mish"}, {"relu"}), ("switch from relu to mish", {"mish"}, {"relu"}),
        ("swap relu for mish", {"mish"}, {"relu"}), ("use mish", {"mish"}, set()),
        ("WINDOW_PATTERN SSSL -> SL", {"=sl"}, {"=sssl"}), ("mish replacing relu", {"mish"}, {"relu"}),
    ],
)  # fmt: skip
def test_a_choice_knows_what_it_replaces(text: str, new: set[str], old: set[str]) -> None:
    """What comes and what goes, however the sentence is turned."""
    assert set(only(text).choice) == new
    assert set(only(text).former) == old


def test_names_of_constants_are_read_as_words() -> None:
    """A constant's name and what people call it are one subject."""
    assert subject_of("MATRIX_LR") == only("matrix learning rate 1").subject
    assert subject_of("N_PROBES") == only("number of probes 3").subject
    assert subject_of("ADAM_BETAS[1]") == {"beta2"}
    assert subject_of("MUON_MOMENTUM") != subject_of("MUON_MOMENTUM_STEPS")


def test_settings_are_claims() -> None:
    """A knob's change says what words would."""
    assert (setting("LR", 0.04, 0.06).way, setting("LR", 0.04, 0.06).value) == (Way.UP, 0.06)
    assert setting("VALUE_EMBEDDINGS", True, False).way is Way.OFF
    assert setting("WINDOW_PATTERN", "SSSL", "SL").choice == {"=sl"}


def test_stems_bring_inflections_together() -> None:
    """Plural, past, present participle and British spelling are one word; different words stay apart."""
    for family in (
        "clip clips clipped clipping",
        "tie ties tied tying",
        "scale scaled scaling",
        "normalise normalized",
    ):
        assert len({stem(word) for word in family.split()}) == 1
    apart = ["loss", "bias", "axis", "class", "focus", "lens", "eps", "embed", "speed"]
    assert len({stem(word) for word in apart}) == len(apart)


def test_normalised_text_is_compared_as_text() -> None:
    """Case, spaces, hyphens and a full stop do not make another text."""
    assert normalise("  Z-loss\t1e-4. ") == normalise("z loss 1e 4")


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "to to to", "-> -> 1", "1e999 2**99999 x", "\x00\u202e", "\u5b66\u4e60\u7387 \u63d0\u9ad8",
        "+" * 999,
        "(" * 5000, "((((1,2),3),4)", "a" * 100_000, "to stop " * 5000, "for better " * 3000, "lr 0.1, " * 9000,
        "\ud800 lr",
        "2^" * 2000, "9" * 5000, "x" * 50 + " " * 50_000 + ":", "1/0 lr", "0/0", "lr 1/0", "per " * 500, "last " * 500,
    ],
)  # fmt: skip
def test_any_text_is_read_quickly(text: str) -> None:
    """No text is too odd or too long to be read, and none takes long."""
    began = time.process_time()
    assert len(read(text)) <= 16
    assert time.process_time() - began < 5  # a pattern that backtracks would take minutes


@given(st.text(max_size=300))
def test_reading_never_fails(text: str) -> None:
    """Whatever is written is read to something, twice to the same."""
    claims = read(text)
    read.__globals__["told"].cache_clear()
    assert read(text) == claims
