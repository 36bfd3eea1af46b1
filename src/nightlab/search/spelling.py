"""Ways of writing put into the words that the tokenizer knows: "4-bit" is int4, "start at the full rate" has no warmup.

A pattern is compiled when a text first has the words that it needs, and looked for in no other.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from functools import cache


def _any(words: str) -> frozenset[str]:
    """One of these words must be said."""
    return frozenset(words.split())


_PARTS = _any("third quarter half fifth tenth eighth sixth")
_COUNTS = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8, "ten": 10, "sixteen": 16}
_TIMES = rf"\b({'|'.join(_COUNTS)}) times\b(?= (?:the|as|more|fewer|less|its|current|\w+er)\b)"
_STARTS_AT = (
    r"\b(?:start|begin)(?:ning|ing|s)? (?:the |to )?(?:lr |learning rate )?(?:warm ?down|cool ?down|decay(?:ing)?)"
    r"(?: the (?:lr|learning rate))? (?:at|after) (?:the )?(?:first )?(\d+)\s?%(?: of (?:the )?(?:training|run|steps))?"
)
_PER = r"\b(?:of|for|in|on|give) (?:each|every) (?:attention )?(head|channel)s?\b(?: (?:its|their) own\b)?"
_FULL = (
    r"\b(?:start|begin)\w* (?:training |the run |right |directly |immediately |straight )*(?:at|with|from) (?:the )?"
    r"(?:peak|full|maximum|max) "
)
_NEVER = (
    r"\b(?:don'?t|dont|do not|never|without) (?:decay|anneal|drop|let)\w*(?: the)?(?: lr| learning rate)?"
    r"(?: go| fall| drop)? "
)
_IN_TENS = {"five": 5, "ten": 10, "fifteen": 15, "twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60,
            "seventy": 70, "eighty": 80, "ninety": 90}  # fmt: skip
_TENS = rf"\b({'|'.join(_IN_TENS)}) percent\b"

# What must be there (letters, or one of several words), what to look for, what to read instead.
_SPELLINGS: tuple[tuple[str | frozenset[str], str, str | Callable[[re.Match[str]], str]], ...] = (
    ("x", r"\b(\d{1,4}) ?x ?\1\b(?! ?x)", r"\1"),
    ("n't", r"n't\b", "nt"),
    ("top", r"\btop[- ]?(?=\d)", "topk "),
    (_any("every"), r"\bevery (?=\d)", ""),
    (_any("now"), r"^\s*([-\d.e]+) now\s*$", r"was \1"),
    (_any("current currently"), r"\bcurrent(?:ly)? (?=[\d.])", "was "),
    (_any("default"), r"\bdefault(?: is| of)? (?=[\d.])", "was "),
    (_any("relu"), r"\brelu\s?(?:\^|\*\*)\s?2", "relu2"),
    ("'s", r"(?<=[a-z])'s\b", ""),
    (_any("beta betas"), r"\bbetas?\s*(?:=|of|to|:)?\s*(0?\.\d+)\s*(?:,|/|\s|and)\s*(0?\.\d+)\b", r"betas (\1, \2)"),
    (_any("between"), r"\bbetween (-?[\d.]+) and (-?[\d.]+)", r"(\1, \2)"),
    (_any("each"), r"\bfor each\b", "per"),
    (_any("unchanged"), r"\b(?:[\w-]+ ){1,2}unchanged\b", ""),
    (_any("stay stays"), r"\b[\w-]+ stays?(?: at)? (?:the same|fixed|constant|put|as is|[\d.]+)", ""),
    (_any("constant fixed equal same matched"), r"\bat (?:a )?(?:constant|fixed|equal|the same|matched) [a-z]\w*", ""),
    ("-free", r"\b(?!scale|lock|schedule|param|parameter|learning)(\w+)-free\b", r"without \1"),
    ("un", r"\bun(gated|clipped|normali[sz]ed|masked|shuffled|scaled|fused|windowed)\b", r"without \1"),
    ("*=", r"\*=\s?", "x"),
    (
        _any("skip skipping"),
        r"((?:^|[,;+]|\band\b) ?)skip(?:ping)? (?!conn|path|link|branch|from|around|every|the skip)",
        r"\1without ",
    ),
    (_any("uncapped"), r"\buncapped\b", "without cap"),
    (
        _any("projections"),
        r"\b(?:(?:attention|attn) (?:and|&) (?:mlp|ffn|feed-forward) |(?:mlp|ffn) (?:and|&) (?:attention|attn) "
        r"|residual |block |branch )?(?:out|output) projections\b",
        "residualprojections",
    ),
    (_any("values"), r"\b(?:layers?|blocks?)(?:'s|s')? values\b", "layer attention values"),
    (
        _any("values"),
        r"\bvalues (?=(?:of|in|from|into) (?:every|each|all|later|the|subsequent|deeper) )",
        "attention values ",
    ),
    (_any("decouple"), r"\bdecouple weight decay\b", "decoupled weight decay"),
    (
        _any("rate"),
        _FULL + r"(?:learning )?rate\b",
        "no warmup",
    ),
    (
        _any("lr"),
        _FULL + r"lr\b",
        "no warmup",
    ),
    (_any("muon"), r"^muon with (?=beta|momentum|ns)", "muon "),
    (_any("drop"), r"\bdrop (\d+\s?%) of (?:the )?((?:\w+ )?)(?:activations|units|neurons)\b", r"dropout \1 \2"),
    (_any("drop"), r"\bdrop (\d+\s?%) of (?:the )?(?:attention) (?:weights|probabilities)\b", r"dropout \1 attention"),
    (
        _any("initial starting original first"),
        r"\bat (?:its|the|their) (?:initial|starting|original|first) (?:value|level)s?\b",
        "constant",
    ),
    (_any("output outputs"), r"\bnormali[sz](?:e|ing) (?:the )?(attention|attn|mlp|ffn) outputs?\b", r"norm after \1"),
    (_any("residual"), r"\bbefore (?:it is |they are )?(?:added|adding)[\w ]* to the residual(?: stream)?\b", ""),
    (
        _any("one ones"),
        r"(?<=[a-z2] )(?<!by )(?<!to )(?<!at )(?<!of )(?<!only )(?<!from )(?<!than )(?<!minus )ones?"
        r"(?=\s*$|\s*[,;.)])",
        "",
    ),
    (_any("constant flat"), r"\b((?:constant|flat) (?:lr|learning rate)) (?:after|past) (?:the )?warm ?up\b", r"\1"),
    (_any("each"), r"\b(in|to|into|at) each (?:layer|block)s?\b", r"\1 all layers"),
    (_any("warm warming"), r"\bwarm(?:ing)? (?:the )?((?:[\w']+ ){1,3})up\b", r"warmup \1"),
    (_any("every"), r"\bevery third\b", "every 3rd"),
    (_any("every"), r"\bevery fourth\b", "every 4th"),
    (_any("decay"), r"\b(?:do not|don't|dont|never) decay (?:the )?weight decay\b", "constant weight decay"),
    (
        _any("stop"),
        r"\bstop (?:the )?(?:lr |learning rate )?decay(?:ing)?(?: the (?:lr|learning rate))? (?:at|when it reaches) "
        r"(?=[\d.])",
        "decay lr to ",
    ),
    (_any("leave"), r"\bleave (?=\w)", ""),
    (_any("let"), r"^let (?:the |all )?[\w ]{3,40}? (?=without\b)", ""),
    (
        _any("later subsequent"),
        r"\b(to|into|of) (?:every |each |all |the )?(?:later|subsequent) (layer|block)s?\b",
        r"\1 all \2s",
    ),
    (_any("including"), r"\bincluding (?:the )?\w+ (?:one|layer|block)s?\b", ""),
    (_any("heads"), r"\bheads (?:with|of) (\d+) (?:channels|dims|dimensions|units)(?: each)?\b", r"head dim \1"),
    (
        _any("over"),
        r"^((?!.*cosine).*\b(?:decay|warm ?down|cool ?down|anneal)\w*.*) over the (?:whole|entire|full) "
        r"(?:run|training|schedule)\b",
        r"\1 over 100%",
    ),
    (
        _any("start starts starting begin begins beginning"),
        _STARTS_AT,
        lambda match: f"warmdown {100 - float(match[1]):g}%",
    ),
    (_any("over"), r"\b(decay\w*|anneal\w*|warm ?down|cool ?down) (?:linearly )?(?:down )?to zero (?=over)", r"\1 "),
    (_any("below under"), rf"{_NEVER}(?:below|under) ", "decay lr to "),
    (_any("percent"), _TENS, lambda match: f"{_IN_TENS[match[1].lower()]} percent"),
    (_any("million"), r"\bhalf a million\b", "0.5M"),
    (_any("million"), r"\b(?:(?:a|one) )?million\b", "1M"),
    (
        _any("head"),
        r"\b(\d+) (?:dims|dimensions|channels) (?:per|in each|for each) (?:attention )?head\b",
        r"head dim \1",
    ),
    (_any("values"), r"\b(on|into|to|in|normali[sz]e|gate|mix) (?:the )?values\b", r"\1 v"),
    (
        _any("output outputs"),
        r"\b(?:rms ?norm|layer ?norm|norm|normali[sz]ation) (?:to|on) (?:the )?(attention|attn|mlp|ffn) outputs?\b",
        r"norm after \1",
    ),
    (_any("each every"), _PER, r"per \1"),
    (_any("out"), r"\b(?:take|get|leave|pull)s? (.{3,60}?) out of ", r"remove \1 from "),
    (_any("take leave rip throw"), r"\b(?:take|leave|rip|throw) (.{3,40}) out\b", r"remove \1"),
    (_any("just only merely"), r",?\s*\bnot (?:just|only|merely)\b[^,;+\n]*", ""),
    (_any("times"), _TIMES, lambda match: f"{_COUNTS[match[1].lower()]}x"),
    (
        _any("rope softcap dropout depth momentum"),
        r"^\s*(rope (?:base|theta)|softcap|dropout|depth|momentum) of (?=[\d.])",
        r"\1 ",
    ),
    ("w/", r"\bw/o\b", "without"),
    ("w/", r"\bw/(?=\s|\w)", "with "),
    (_any("feed feedforward"), r"\bfeed-?forward\b", "ffn"),
    ("bit", r"\b(?:8|eight)-?bit floats?\b", "fp8"),
    ("bit", r"\b8-?bits?\b", "int8"),
    ("bit", r"\b4-?bits?\b", "int4"),
    (_any("magnitude"), r"\borders? of magnitude\b", "10x"),
    (_any("mqa"), r"\bmqa\b", "1 kv heads"),
    (_any("multi"), r"\bmulti[- ]query(?: attention)?\b", "1 kv heads"),
    (_any("thirds quarters fifths"), r"\b(two|three|four|five)[- ](thirds|quarters|fifths)\b", r"\1\2"),
    (
        _any("q query queries"),
        r"\b(?:q|query|queries)\s?[,/]\s?(?:k|keys?)(?:\s?(?:,|/|&|and)\s?){1,2}(?:v|values?)\b",
        "qkv",
    ),
    ("/", r"\b(?:k ?/ ?v|key ?/ ?value)\b", "kv"),
    ("nn.", r"\bnn\.linears?\b", "linear layer"),
    (_any("level"), r"\boptimi[sz]ation level (?=\d)", "o"),
    ("1", r"\b1 ?- ?(?=[a-z])", "complementof "),
    (_any("minus"), r"\bone minus (?=[a-z])", "complementof "),
    (_PARTS, r"\b(?:one|a) (?=(?:third|quarter|half|fifth|tenth|eighth|sixth)\b)", ""),
)


_BY_LETTERS = tuple((needs, place) for place, (needs, _, _) in enumerate(_SPELLINGS) if isinstance(needs, str))
_BY_WORD: dict[str, list[int]] = {}
for _place, _entry in enumerate(_SPELLINGS):
    for _word in () if isinstance(_entry[0], str) else _entry[0]:
        _BY_WORD.setdefault(_word, []).append(_place)


def respelt(text: str, low: str, said: AbstractSet[str]) -> str:
    """The text with what would mislead in other words; `low` and `said` are it in lower case, and its words."""
    fitting = {place for letters, place in _BY_LETTERS if letters in low}
    for word in said & _BY_WORD.keys():
        fitting.update(_BY_WORD[word])
    for place in sorted(fitting):
        _, pattern, new = _SPELLINGS[place]
        text = _compiled(pattern).sub(new, text)
    return text


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)
