"""The novelty guard: what is a repeat, what is a step on, what is new, and what each mode says to it."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightlab.search.novelty import (
    Category,
    Guard,
    Likeness,
    Mode,
    Policy,
    Prior,
    Reading,
    Relation,
    Words,
    assess,
    cluster,
    index_terms,
    label,
    likeness,
    policy,
    query_terms,
)
from nightlab.search.words import NO_LEXICON, Lexicon
from nightlab.types import Change, ChangeKind


@dataclass(frozen=True)
class Knob:
    """A knob of a lab that these tests make up."""

    name: str
    value: bool | int | float | str


LAB = Lexicon.of([Knob("MATRIX_LR", 0.04), Knob("DEPTH", 8), Knob("CACHE_LINES", 64), Knob("N_PROBES", 3)])


def compare(new: str, old: str, lexicon: Lexicon = NO_LEXICON) -> Likeness:
    return likeness(Reading.of(new, lexicon), Reading.of(old, lexicon))


def prior(description: str, *, kept: bool = False, family: str = "", tags: tuple[str, ...] = ()) -> Prior[str]:
    words = Words(description=description, family=family, tags=tags)
    return Prior(item=description, words=words, kept=kept, loss=0.99)


def ask(
    description: str, *priors: Prior[str], mode: Mode = Mode.EXPLOIT, threshold: float = 0.62, family: str = ""
) -> Guard[str]:
    return assess(Words(description=description, family=family), priors, mode=mode, threshold=threshold)


SAME = [
    # the contract's own case
    ("increase muon learning rate and shorten warmdown", "raise muon step size and reduce cooldown"),
    # values, ratios and where they start
    ("bump the unembedding lr up to 0.006", "raise UNEMBEDDING_LR from 0.004 to 0.006"),
    ("cut the scalar lr in half", "SCALAR_LR 0.5 -> 0.25"),
    ("matrix lr -25%", "lower MATRIX_LR by a quarter"),
    ("triple the number of kv heads", "3x kv heads"),
    ("TOTAL_BATCH_SIZE = 2^20", "total batch of 1M tokens per step"),
    ("batch 128k", "TOTAL_BATCH_SIZE 131072"),
    ("warmup over the first 4% of training", "WARMUP_RATIO = 0.04"),
    ("decay over the last 35% of the run", "warmdown ratio 0.35"),
    ("final lr at 8% of peak", "FINAL_LR_FRAC 0.08"),
    ("halve 1 - gamma: 0.02 -> 0.01", "discount 0.98 -> 0.99"),
    ("(adam betas 0.85, 0.97)", "ADAM_BETAS = (0.85, 0.97)"),
    ("adam beta1 0.85", "ADAM_BETAS (0.8, 0.95) -> (0.85, 0.95)"),
    ("two more layers", "add 2 layers"),
    ("weight decay from 0.3 to 0", "no weight decay"),
    # order and layout
    ("device batch size 32 and depth 6", "depth 6 with device batch size 32"),
    ("DEPTH=6 HEAD_DIM=32", "head dim 32; depth 6"),
    # names of the field
    ("logits capped by tanh at 25", "softcap 25"),
    ("4 Newton-Schulz iterations", "ns_steps=4"),
    ("the lm_head shares its weights with wte", "weight tying"),
    ("switch from adamw to lion", "Lion instead of AdamW"),
    ("swap the squared relu for silu", "SiLU activation in the MLP"),
    ("1-sqrt cooldown", "sqrt decay instead of linear"),
    ("turn off gradient clipping", "remove grad clip"),
    ("rope theta 50k", "rotary base 50000"),
    ("multi-query attention", "one kv head"),
    ("layernorm -> rmsnorm", "RMSNorm rather than LayerNorm"),
    # what is no part of the change
    ("clip gradients at 0.7 to tame the spikes", "gradient clipping 0.7 (diverged before)"),
    ("gpu3: SOFTCAP=20 - val_bpb 1.02, worse", "softcap 20"),
    ("drop path 0.2 because deeper nets overfit", "stochastic depth of 0.2"),
    ("increse the embeding lr", "raise embedding learning rate"),
    # other fields
    ("500 boosting rounds", "n_estimators = 500"),
    ("16 worker threads", "num_threads 8 -> 16"),
    ("read-ahead off", "disable prefetching"),
]


@pytest.mark.parametrize(("new", "old"), SAME)
def test_same_change_in_other_words_is_the_same_idea(new: str, old: str) -> None:
    """A paraphrase of a failed idea is a repeat of the failure, and is said to be the same idea, in either order."""
    for one, other in ((new, old), (old, new)):
        guard = ask(one, prior(other))
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
        ("tie the embeddings", "untie embeddings"),
        ("prefetch on", "prefetching off"),
        ("-O2 -> -O3", "-O3 -> -O2"),
        ("raise lr by 10%", "lr -10%"),
        ("freeze the norm gains", "make the norm gains trainable"),
        ("fewer trees", "n_estimators 2x"),
    ],
)
@pytest.mark.parametrize("kept", [True, False])
@pytest.mark.parametrize("mode", [Mode.EXPLORE, Mode.EXPLOIT])
def test_opposite_is_never_a_repeat(new: str, old: str, kept: bool, mode: Mode) -> None:
    """The other direction is another idea: never blocked, whatever became of the first."""
    guard = ask(new, prior(old, kept=kept), mode=mode)
    assert guard.category is Category.NOVEL
    assert guard.policy is not Policy.BLOCK
    assert not any(match.same_idea for match in guard.matches)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("cosine warmdown", "depth 10"),
        ("increase UNEMBEDDING_LR to 0.008", "increase EMBEDDING_LR to 0.8"),
        ("larger matrix lr for attention layers", "larger matrix lr for mlp layers"),
        ("halve the number of layers", "halve the number of kv heads"),
        ("muon momentum 0.9", "adam beta1 0.9"),
        ("swap relu for gelu", "replace softcap with z-loss"),
        ("geglu", "swiglu"),
        ("eval batch size 32", "batch size 32"),
        ("dropout in attention 0.1", "dropout in the mlp 0.1"),
        ("norm the queries", "norm the values"),
        ("value embeddings in the first layer", "value embeddings in the last layer"),
        ("client timeout 5", "server timeout 5"),
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


@pytest.mark.parametrize(
    ("new", "old", "relation"),
    [
        ("softcap 25", "softcap 20", Relation.OTHER_VALUE),
        ("EMA 0.999", "EMA 0.9995", Relation.OTHER_VALUE),
        ("use mish", "use elu", Relation.OTHER_VALUE),
        ("remove softcap and add z-loss", "remove softcap", Relation.REFINEMENT),
        ("remove softcap", "remove softcap and add z-loss", Relation.REFINEMENT),
        ("label smoothing for the first half of training", "label smoothing", Relation.REFINEMENT),
        ("gradient clipping at 1.0", "gradient clipping", Relation.REFINEMENT),
        ("softcap 20 and rope base 50000", "softcap 20 and depth 10", Relation.OTHER),
    ],
)
def test_what_is_near_is_named_and_never_blocked_as_a_failure(new: str, old: str, relation: Relation) -> None:
    """Another value or a refinement of a failure is listed with its relation; it stays a new idea."""
    assert compare(new, old).relation is relation
    for mode in (Mode.EXPLORE, Mode.EXPLOIT):
        guard = ask(new, prior(old), mode=mode)
        assert guard.category is Category.NOVEL
        assert guard.policy is not Policy.BLOCK
        assert [match.relation for match in guard.matches] == [relation] * (relation is not Relation.OTHER)


def test_another_value_of_a_keep_is_a_new_idea() -> None:
    """What was kept says nothing of another value, so it is listed and explored freely."""
    guard = ask("depth 9", prior("depth 10", kept=True), mode=Mode.EXPLORE)
    assert (guard.category, guard.policy) == (Category.NOVEL, Policy.ALLOW)
    assert guard.matches[0].relation is Relation.OTHER_VALUE


@pytest.mark.parametrize(
    ("new", "old", "why"),
    [
        ("MATRIX_LR 0.06", "raise matrix lr to 0.06", "both set MATRIX_LR to 0.06"),
        ("DEPTH 12", "fewer layers", "moves DEPTH the other way"),
        ("DEPTH 12", "DEPTH 10", "moves DEPTH to 12, not to 10"),
        ("remove softcap", "disable the logit cap", "both do without softcap"),
        ("depth 9 and softcap 20", "depth 9", "the same and more: it adds softcap"),
    ],
)
def test_every_relation_says_why(new: str, old: str, why: str) -> None:
    """The reason names the knob and its values in plain words."""
    assert compare(new, old, LAB).why == why


def test_a_lab_says_what_its_words_mean() -> None:
    """A knob's name is understood in words, a ratio becomes a value, and the only fitting knob is the one meant."""
    assert compare("1.5x learning rate", "MATRIX_LR 0.06", LAB).relation is Relation.SAME
    assert compare("learning rate 1.5x", "matrix lr 0.04 -> 0.06", LAB).relation is Relation.SAME
    assert compare("twice as many probes", "N_PROBES = 6", LAB).relation is Relation.SAME
    assert compare("cache lines 128", "double CACHE_LINES", LAB).relation is Relation.SAME
    assert compare("depth 6", "depth 10", LAB).relation is Relation.OPPOSITE
    # a prior that says where it started is taken at its word
    assert compare("MATRIX_LR 0.075", "matrix lr 1.5x from 0.05", LAB).relation is Relation.SAME
    assert compare("1.5x learning rate", "MATRIX_LR 0.06").relation is not Relation.SAME


def test_a_lexicon_with_several_rates_leaves_the_word_open() -> None:
    """ "The learning rate" is not taken for one of several."""
    lab = Lexicon.of([Knob("MATRIX_LR", 0.04), Knob("SCALAR_LR", 0.5)])
    assert compare("learning rate 0.06", "MATRIX_LR 0.06", lab).relation is Relation.REFINEMENT


# --- from source ------------------------------------------------------------------------------------------------


def knob(name: str, old: str, new: str) -> Change:
    return Change(kind=ChangeKind.KNOB, name=name, old=old, new=new)


def from_source(
    ours: tuple[Change, ...], theirs: tuple[Change, ...], *, bases: tuple[str, str] = ("", ""), kept: bool = False
) -> Guard[int]:
    old = Prior(item=1, words=Words(description="tune it"), kept=kept, loss=1.0, changes=theirs, base=bases[1])
    idea = Words(description="another try")
    return assess(idea, [old], mode=Mode.EXPLOIT, threshold=0.62, changes=ours, base=bases[0])


def test_changes_of_source_decide_whatever_the_words_say() -> None:
    """The same knob at the same value is the same idea; another value, the other way, and more are told apart."""
    up = knob("LR", "0.04", "0.06")
    free = Change(kind=ChangeKind.FREE, name="Block.forward", new="abc")
    expected = [
        ((up,), Relation.SAME),
        ((knob("LR", "0.04", "6e-2"),), Relation.SAME),
        ((knob("LR", "0.04", "0.05"),), Relation.OTHER_VALUE),
        ((knob("LR", "0.04", "0.02"),), Relation.OPPOSITE),
        ((up, free), Relation.REFINEMENT),
    ]
    for ours, relation in expected:
        assert from_source(ours, (up,)).matches[0].relation is relation
    assert from_source((up,), (up,)).category is Category.REPEAT_FAILURE
    assert from_source((free,), (Change(kind=ChangeKind.FREE, name="other words", new="abc"),)).matches[0].same_idea
    assert not from_source((free,), (up,)).matches


def test_the_same_change_of_another_base_is_cautioned() -> None:
    """It is the same idea, but what it does there is not known: no block, unless another match asks for one."""
    up = knob("LR", "0.04", "0.06")
    guard = from_source((up,), (up,), bases=("b1", "b2"))
    assert (guard.category, guard.policy) == (Category.REPEAT_FAILURE, Policy.CAUTION)
    assert (guard.matches[0].relation, guard.matches[0].same_idea) == (Relation.NEW_BASE, True)
    assert from_source((up,), (up,), bases=("b1", "b1")).policy is Policy.BLOCK
    words = Words(description="tune it")
    priors = [
        Prior(item=i, words=words, kept=False, loss=1.0, changes=(up,), base=base)
        for i, base in enumerate(("b1", "b2"))
    ]
    idea = Words(description="x")
    assert assess(idea, priors, mode=Mode.EXPLOIT, threshold=0.62, changes=(up,), base="b1").policy is Policy.BLOCK


def test_source_on_one_side_is_compared_with_words_on_the_other() -> None:
    """A knob's change is read as if it were told."""
    ours = (knob("MATRIX_LR", "0.04", "0.06"),)
    told = prior("raise MATRIX_LR by half, from 0.04")
    guard = assess(Words(description="x"), [told], mode=Mode.EXPLOIT, threshold=0.62, changes=ours, lexicon=LAB)
    assert guard.matches[0].relation is Relation.SAME
    theirs = Prior(item=1, words=Words(description="x"), kept=False, loss=None, changes=ours)
    answer = assess(Words(description="matrix lr 0.06"), [theirs], mode=Mode.EXPLOIT, threshold=0.62)
    assert answer.matches[0].relation is Relation.SAME


def test_equal_words_over_different_changes_are_no_repeat() -> None:
    """Whoever calls everything "tune lr" is not blocked by the first of it, where the sources tell more."""
    words = Words(description="tune lr")
    old = Prior(item=1, words=words, kept=False, loss=None, changes=(knob("LR", "1", "2"),))
    guard = assess(words, [old], mode=Mode.EXPLOIT, threshold=0.62, changes=(knob("LR", "1", "3"),))
    assert guard.category is Category.NOVEL


# --- one run ----------------------------------------------------------------------------------------------------


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


# --- retrieval --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("new", "old"), [*SAME, ("softcap 25", "softcap 20"), ("learning rate 1.5x", "muon step size 0.06")]
)
def test_related_ideas_share_a_term(new: str, old: str) -> None:
    """What the guard would relate can be found, whatever the lexicon; terms are plain enough for any index."""
    kept = index_terms(Words(description=old))
    assert set(query_terms(Words(description=new), LAB)) & set(kept)
    assert all(re.fullmatch(r"[a-z0-9_.]+", term) for term in kept)


def test_equal_ideas_share_most_terms() -> None:
    """A ranking by shared terms puts a paraphrase above an idea about the same knob."""
    asked = set(query_terms(Words(description="matrix lr 0.04 to 0.06"), NO_LEXICON))
    same, near = (
        set(index_terms(Words(description=text))) for text in ("MATRIX_LR 0.06, up from 0.04", "MATRIX_LR 0.02")
    )
    assert len(asked & same) > len(asked & near) > 0


# --- any text ---------------------------------------------------------------------------------------------------

SAYINGS = (
    "raise lower double halve no add remove matrix lr embedding depth 0.06 2x 50% from to -> and with , ( ) softcap "
    "gelu instead of last two layers 2**18 = (0.9, 0.95) warmup for stability beta2 tie norm before after"
)
PHRASES = st.lists(st.sampled_from(SAYINGS.split()), max_size=14).map(" ".join)
TEXTS = st.one_of(PHRASES, st.text(max_size=80))


@given(TEXTS)
def test_an_idea_is_the_same_as_itself(text: str) -> None:
    """Any text that says anything is the same idea as itself, with and without a lexicon."""
    for lexicon in (NO_LEXICON, LAB):
        reading = Reading.of(text, lexicon)
        if reading.claims or reading.words:
            assert likeness(reading, reading).relation is Relation.SAME


@given(TEXTS, TEXTS)
def test_same_and_opposite_hold_both_ways(one: str, other: str) -> None:
    """Which of two ideas came first makes neither of them the same, nor the opposite."""
    for lexicon in (NO_LEXICON, LAB):
        there, back = compare(one, other, lexicon), compare(other, one, lexicon)
        for relation in (Relation.SAME, Relation.OPPOSITE):
            assert (there.relation is relation) == (back.relation is relation)
        assert 0.0 <= there.score <= 1.0


@given(
    st.sampled_from(
        [("raise", "lower"), ("increase", "decrease"), ("double", "halve"), ("add", "remove"), ("more", "less")]
    ),
    st.sampled_from(
        ["MATRIX_LR", "weight decay", "softcap", "dropout", "warmup", "cache lines", "frobnication", "value embeddings"]
    ),
)
def test_an_opposite_is_never_the_same(verbs: tuple[str, str], subject: str) -> None:
    """Whatever the subject, known or not."""
    for lexicon in (NO_LEXICON, LAB):
        assert compare(f"{verbs[0]} {subject}", f"{verbs[1]} {subject}", lexicon).relation is Relation.OPPOSITE


@given(TEXTS)
def test_terms_are_found_by_their_own_text(text: str) -> None:
    """Every text finds itself, by terms that any index takes."""
    words = Words(description=text)
    kept = index_terms(words)
    assert set(kept) & set(query_terms(words, LAB))
    assert all(re.fullmatch(r"[a-z0-9_.]+", term) for term in kept)
