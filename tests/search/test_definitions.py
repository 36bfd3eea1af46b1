"""Techniques told by what is said of them, and claims in the one form that several ways of saying them share."""

from __future__ import annotations

import subprocess
import sys

import pytest

from nightlab.search.book import Kind
from nightlab.search.definitions import named
from nightlab.search.likeness import Reading, Relation, likeness
from nightlab.search.tokens import tokens


def relation(new: str, old: str) -> Relation:
    there, back = (likeness(Reading.of(a), Reading.of(b)).relation for a, b in ((new, old), (old, new)))
    assert (there is Relation.SAME) == (back is Relation.SAME)
    return there


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("use one matrix for the input embedding and the output head", "tie embeddings"),
        ("spread 5% of the target mass uniformly over the vocabulary", "label smoothing 0.05"),
        ("penalise the squared log-partition of the softmax with weight 1e-3", "z-loss 1e-3"),
        ("blend every token with the previous one", "token shift"),
        ("attention and MLP read the same input", "parallel attention and mlp"),
        ("evaluate a moving average of the parameters", "EMA of weights"),
        ("attention only within the same document", "document masking"),
        ("recompute the activations in the backward pass", "activation checkpointing"),
        ("a sigmoid gate on the attention output", "attention output gate"),
        ("RMSNorm with a learnable gain per channel", "learnable rmsnorm weights"),
        ("average the last checkpoints", "SWA"),
        ("rotary on half of the head dims", "partial rope"),
    ],
)
def test_definition_is_the_technique(told: str, name: str) -> None:
    """What a text book's sentence says of a technique is the technique."""
    assert relation(told, name) is Relation.SAME


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("turn dropout off", "DROPOUT = 0"),
        ("leave the logits uncapped", "softcap 0"),
        ("take the rotary embeddings out of attention", "no positional encoding"),
        ("classical momentum in Muon instead of Nesterov", "nesterov = False"),
        ("no sliding windows, all layers see the full sequence", "WINDOW_PATTERN = LLLL"),
        ("short windows in all layers", 'WINDOW_PATTERN "S"'),
        ("keep weight decay fixed over training", "do not anneal weight decay"),
        ("no lr decay", "hold the learning rate constant"),
        ("start training at the full learning rate", "WARMUP_RATIO 0"),
        ("start the warmdown at 80% of training", "WARMDOWN_RATIO 0.2"),
        ("halve the number of heads", "HEAD_DIM 64 -> 128"),
        ("head size 32 (four times as many heads)", "HEAD_DIM 128 -> 32"),
        ("a narrower model (ASPECT_RATIO 64 -> 48)", "aspect ratio 48"),
        ("value embeddings in every layer, not just in some", "value embeddings in all layers"),
        ("GELU in the MLP, not squared ReLU", "replace relu^2 by gelu"),
        ("drop relu squared for silu", "SiLU instead of ReLU^2"),
        ("remove the RMSNorm after the token embedding", "no norm after embedding"),
    ],
)
def test_ways_of_saying_one_thing(one: str, other: str) -> None:
    """Switching off, holding steady, contrasts, quantifiers and sums change the words, not the idea."""
    assert relation(one, other) is Relation.SAME


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("full attention in all layers", "full attention in the last two layers"),
        ("keep weight decay constant", "keep weight decay constant on the embeddings"),
        ("zero init of the output projections", "zero init of lm_head"),
        ("untied embeddings", "tied embeddings"),
        ("share kv across layers", "share kv across heads"),
        ("twice as many heads", "half as many heads"),
        ("no weight decay", "no lr decay"),
        ("average the gradients over micro-batches", "average the weights over checkpoints"),
        ("start the warmdown at 80% of training", "WARMDOWN_RATIO 0.8"),
        ("token shift", "token shift on the values only"),
        ("nesterov off", "nesterov off and momentum 0.97"),
        ("norm on the values", "norm on the queries and keys"),
    ],
)
def test_near_is_not_the_same(one: str, other: str) -> None:
    """What restricts, adds, or moves something else is another idea, however alike the words are."""
    assert relation(one, other) is not Relation.SAME


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("WINDOW_PATTERN = L", "WINDOW_PATTERN = S"),
        ("anneal weight decay to zero", "keep weight decay constant"),
        ("use rope", "no positional encoding"),
        ("freeze the residual lambdas", "make the residual lambdas trainable"),
        ("decay the lr for longer", "no lr decay"),
        ("smaller window", "full attention everywhere"),
    ],
)
def test_opposites_in_other_words(one: str, other: str) -> None:
    """A thing and doing without it are opposites, whatever name either goes by."""
    assert relation(one, other) is Relation.OPPOSITE


def test_wider_window_is_not_against_none() -> None:
    """Without a window everything is seen, which is where a wider one leads."""
    assert relation("larger window", "full attention") is not Relation.OPPOSITE


def test_what_is_moved_inside_is_no_definition() -> None:
    """Words of a definition around a measure tell that the measure is moved."""
    found, told = named(tokens("separate lr for embedding and unembedding"))
    assert not told
    assert any(token.kind is Kind.PROPERTY and token.name == "lr" for token in found)


def test_reading_words_loads_no_parser_of_source() -> None:
    """A `check` in words is a process start: what parses source is not loaded."""
    code = "import sys, nightlab.search.novelty; print([m for m in sys.modules if m.startswith('nightlab.search.k')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
