"""The novelty guard: what is a repeat, what is a step on, what is new, and what each mode says to it."""

from __future__ import annotations

import pytest

from nightlab.search.novelty import (
    Category,
    Guard,
    Mode,
    Policy,
    Prior,
    Reading,
    Relation,
    Words,
    assess,
    cluster,
    label,
    likeness,
    policy,
)
from nightlab.search.words import Way, read


def prior(description: str, *, kept: bool = False, family: str = "", tags: tuple[str, ...] = ()) -> Prior[str]:
    words = Words(description=description, family=family, tags=tags)
    return Prior(item=description, words=words, kept=kept, loss=0.99)


def ask(
    description: str, *priors: Prior[str], mode: Mode = Mode.EXPLOIT, threshold: float = 0.62, family: str = ""
) -> Guard[str]:
    return assess(Words(description=description, family=family), priors, mode=mode, threshold=threshold)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("increase muon learning rate and shorten warmdown", "raise muon step size and reduce cooldown"),
        ("bump the matrix lr up to 0.06", "raise MATRIX_LR from 0.04 to 0.06"),
        ("halve the unembedding lr", "UNEMBEDDING_LR 0.004 -> 0.002"),
        ("device batch size 64 and depth 10", "depth 10 with device batch size 64"),
        ("set the weight decay to 10%", "WEIGHT_DECAY = 0.1"),
        ("disable gradient clipping", "remove grad clip"),
    ],
)
def test_same_change_in_other_words_is_the_same_idea(new: str, old: str) -> None:
    """A paraphrase of a failed idea is a repeat of the failure, and is said to be the same idea."""
    guard = ask(new, prior(old))
    assert guard.category is Category.REPEAT_FAILURE
    assert guard.matches[0].same_idea


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("decrease weight decay", "increase weight decay"),
        ("halve total batch size", "double total batch size"),
        ("shorter warmdown", "longer warmdown"),
        ("disable gradient clipping", "enable gradient clipping"),
        ("lower MATRIX_LR from 0.06 to 0.04", "raise MATRIX_LR from 0.04 to 0.06"),
        ("norm after attention", "norm before attention"),
        ("linear decay instead of cosine", "cosine decay instead of linear"),
        ("change the tail from cosine to linear", "change the tail from linear to cosine"),
    ],
)
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("mode", [Mode.EXPLORE, Mode.EXPLOIT])
def test_opposite_is_never_a_repeat(new: str, old: str, kept: bool, mode: Mode) -> None:
    """The other direction is another idea: never blocked, whatever became of the first."""
    guard = ask(new, prior(old, kept=kept), mode=mode)
    assert guard.category is Category.NOVEL
    assert guard.policy is not Policy.BLOCK


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("cosine warmdown", "depth 10"),
        ("increase UNEMBEDDING_LR to 0.008", "increase EMBEDDING_LR to 0.8"),
        ("larger matrix lr for attention layers", "larger matrix lr for mlp layers"),
        ("halve the number of layers", "halve the number of kv heads"),
        ("muon momentum 0.9", "adam beta1 0.9"),
        ("swap relu for gelu", "replace softcap with z-loss"),
    ],
)
@pytest.mark.parametrize("threshold", [0.62, 0.0])
def test_unrelated_is_never_held_against_an_idea(new: str, old: str, threshold: float) -> None:
    """Another knob is another idea, even if the threshold asks for everything."""
    assert ask(new, prior(old), threshold=threshold).category is Category.NOVEL


def test_a_step_on_from_a_keep_is_told_apart_from_a_repeat_of_it() -> None:
    """The same and more follows up a keep: of its family or not; another value does too; a failure's does not."""
    keep, failure = prior("increase matrix lr", kept=True, family="Sweep"), prior("increase matrix lr")
    more = "raise matrix learning rate and reduce cooldown"
    assert ask(more, keep, family="sweep").category is Category.INCREMENTAL_FOLLOWUP
    assert ask(more, keep, family="other").category is Category.KNOWN_SUCCESS
    assert not ask(more, keep).matches[0].same_idea
    assert ask(more, failure).category is Category.NOVEL
    assert ask("depth 9", prior("depth 10", kept=True)).matches[0].relation is Relation.FOLLOWUP
    assert ask("depth 9", prior("depth 10")).category is Category.NOVEL


def test_duplicate_run_needs_the_same_text_family_and_tags_or_the_same_source() -> None:
    """Only equal texts, or equal sources under whatever name, are the same run again."""
    old = Prior(
        item=1, words=Words(description="Depth  10", family="Shape", tags=("a", "b")), kept=True, loss=1.0, source="s"
    )

    def category(words: Words, source: str = "") -> Category:
        return assess(words, [old], mode=Mode.EXPLOIT, threshold=0.62, source=source).category

    assert category(Words(description="depth 10", family="shape", tags=("b", "a"))) is Category.DUPLICATE_RUN
    assert category(Words(description="depth 10", family="shape", tags=("a",))) is Category.INCREMENTAL_FOLLOWUP
    assert category(Words(description="depth 10", tags=("a", "b"))) is Category.KNOWN_SUCCESS
    assert category(Words(description="something else"), source="s") is Category.DUPLICATE_RUN


def test_a_hypothesis_tells_ideas_apart_only_where_it_is_given() -> None:
    """Without a hypothesis two ideas that differ in it alone are the same run; with another one they are not."""
    old = Prior(item=1, words=Words(description="depth 10", hypothesis="deeper helps"), kept=False, loss=None)

    def category(hypothesis: str) -> Category:
        idea = Words(description="depth 10", hypothesis=hypothesis)
        return assess(idea, [old], mode=Mode.EXPLOIT, threshold=0.62).category

    assert category("") is Category.DUPLICATE_RUN
    assert category("Deeper helps") is Category.DUPLICATE_RUN
    assert category("a different reason") is Category.REPEAT_FAILURE


def test_policy_table() -> None:
    """Every mode answers every category, as the contract's table says, with a reason of its own."""
    order = [
        Category.NOVEL,
        Category.DUPLICATE_RUN,
        Category.REPEAT_FAILURE,
        Category.INCREMENTAL_FOLLOWUP,
        Category.KNOWN_SUCCESS,
    ]
    table = {mode: " ".join(policy(mode, category)[0] for category in order) for mode in Mode}
    assert table == {
        Mode.EXPLORE: "allow block block block block",
        Mode.EXPLOIT: "caution block block allow allow",
        Mode.REPLICATE: "block allow block allow allow",
    }
    assert len({policy(mode, category)[1] for mode in Mode for category in order}) >= 12


def test_mode_moves_the_threshold_and_it_stays_in_bounds() -> None:
    """Explore and replicate look further; no threshold leaves [0, 0.99]."""
    assert ask("x", mode=Mode.EXPLORE).threshold == pytest.approx(0.57)
    assert ask("x", mode=Mode.REPLICATE).threshold == pytest.approx(0.54)
    assert ask("x", threshold=7.0).threshold == 0.99
    assert ask("x", threshold=-1.0, mode=Mode.EXPLORE).threshold == 0.0


def test_matches_come_by_weight_then_likeness_then_value() -> None:
    """The overall answer is the weightiest match, and better values come first among equals."""
    words = Words(description="depth 10")
    worse = Prior(item="worse", words=Words(description="DEPTH = 10"), kept=True, loss=1.0)
    better = Prior(item="better", words=Words(description="DEPTH = 10"), kept=True, loss=0.9)
    failed = Prior(item="failed", words=Words(description="DEPTH = 10"), kept=False, loss=None)
    guard = assess(words, [worse, better, failed], mode=Mode.EXPLOIT, threshold=0.62)
    assert [match.prior.item for match in guard.matches] == ["failed", "better", "worse"]
    assert guard.category is Category.REPEAT_FAILURE
    assert (guard.count(Category.REPEAT_FAILURE), guard.count(Category.KNOWN_SUCCESS)) == (1, 2)


def test_reading_takes_direction_value_and_factor() -> None:
    """What a text says of a knob is read from verbs, arrows and numbers, whatever the order."""
    (raised,) = read("MATRIX_LR 0.04 -> 0.06")
    assert (raised.subject, raised.way, raised.value) == (frozenset({"matrix", "lr"}), Way.UP, 0.06)
    assert raised.factor == pytest.approx(1.5)
    assert [claim.way for claim in read("increase matrix lr and embedding lr")] == [Way.UP, Way.UP]
    (share,) = read("reduce lr by 20%")
    assert share.factor == pytest.approx(0.8)
    (power,) = read("TOTAL_BATCH_SIZE 2**18")
    assert power.value == 262144


@pytest.mark.parametrize(
    "text", ["", "   ", "to to to", "-> -> 1", "1e999 2**99999 x", "\x00\u202e", "学习率 提高", "+" * 999]
)
def test_any_text_can_be_asked(text: str) -> None:
    """No text is too odd to be compared, and the score stays in [0, 1]."""
    for other in (text, "increase matrix lr to 0.06"):
        assert 0.0 <= likeness(Reading.of(text), Reading.of(other)).score <= 1.0
    assert ask(text, prior("depth 10")).category in Category


def test_clusters_join_failures_about_the_same_thing() -> None:
    """Paraphrases and other values of one failure fall together; the label is what they share."""
    texts = ["increase matrix lr to 0.1", "add dropout", "raise MATRIX_LR to 0.2", "bump matrix learning rate to 0.1"]
    assert cluster(texts) == [[0, 2, 3], [1]]
    assert set(label([texts[0], texts[2], texts[3]]).split(", ")) == {"lr", "matrix"}
    assert label(["to  be"]) == "to be"
