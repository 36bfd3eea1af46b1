"""What of a description tells the change, and what only surrounds it.

Purposes ("to stop the divergence"), results ("diverged", "val_bpb 1.02") and labels in front ("gpu0:") are taken out.
Remarks in parentheses and behind a dash are kept apart: they may repeat a change in other words, but add none.
"""

from __future__ import annotations

import re
import unicodedata

from nightlab.search.spelling import respelt

MAX_TEXT = 2_000  # characters of a description that are read

_END = r"(?:(?=[,;+\n])|(?=\s(?:with|plus|and then|then)\s)|$)"
_GOALS = (
    "stop|prevent|avoid|stabili[sz]e|keep|help|improve|speed|save|fit|allow|get|free|give|let|see|check|test|"
    "match|compensate|"
    "counter|counteract|reach|encourage|restore|smooth|recover|control|mitigate|fight|curb|tame|accelerate|gain|"
    "ensure|make|"
    "reduce|cut|lower|increase|boost|raise|limit|maximi[sz]e|minimi[sz]e|escape|handle|suppress|offset|spend|"
    "squeeze|explore|"
    "find|learn|promote|enable|preserve|maintain|combat|deal|buy|converge|train|trade|ease|tighten|sharpen|"
    "protect|lessen|"
    "regulari[sz]e|generali[sz]e|capture|use|exploit|leave|dampen|damp|break|settle|push|drive|cope|survive|"
    "retain|be|have|"
    "account|balance|better|offload|hide|overlap|lift|shrink|simplify|strengthen|weaken|support|provide|bring|"
    "run|burn|eliminate"
)
_WANTED = (
    "better|more|faster|less|improved|increased|greater|stability|speed|throughput|efficiency|convergence|"
    "generali[sz]ation|"
    "regulari[sz]ation|simplicity|safety|smoother|finer|quicker|robustness|memory|free|quality|numerical|cheap|"
    "cheaper|reduced|"
    "stable|training stability|fairness|fewer|lower (?:noise|memory|loss|variance|latency)|higher (?:throughput|"
    "quality)|good measure|"
    "latency|performance|hot|debugging|sample efficiency|extra|richer|deeper (?:supervision)|now|this run|"
    "longer-range|long-range"
)
_PURPOSE = re.compile(
    rf"(?:\b(?:so that|so (?:we|it|there|the|that|as|each|all|more|no|they|gradients?|every)|because|since|"
    rf"hoping|in order to|"
    rf"in (?:the )?hopes?|due to|given that|expecting|aiming|allowing|giving|leading|yielding|resulting|thereby|"
    rf"thus|hence|"
    rf"(?<!of )which (?:should|may|might|will|would|is|was|makes?|gives?|lets?|helps?|had|has)|(?:should|may|might|"
    rf"would|could) (?:help|be|give|improve|let)|"
    rf"as (?:it|this|we|they)|to see (?:if|whether)|making|hypothesis|evidence|idea being|rationale|reason|"
    rf"motivation|freeing|saving)\b"
    rf"|(?<!try)(?<!trying)(?<!want)(?<!going)(?<!need)(?<!attempt)(?<!plan)(?:(?<=^)|(?<=\s))to (?:{_GOALS})\b"
    rf"|\bfor (?:the sake of |the purpose of |a bit of |some )?(?:{_WANTED})\b"
    rf"|\b(?:keeping|holding|leaving)\b"
    rf"|\bwith (?:\S+ ){{1,3}}(?:unchanged|fixed|constant|as (?:is|before)|untouched)\b)"
    rf"[^,;+\n]*?{_END}",
    re.IGNORECASE,
)
_RESULT = re.compile(
    r"(?:\b(?:val|valid|validation|eval|test|train|training|final)[ _-]?(?:bpb|loss|acc|accuracy|ppl|perplexity|"
    r"error|score)\b\s*"
    r"(?:[=:]|is|was|went|of|from|\d|->|regress|improv|got|stuck|at\b)|\b(?:val_bpb|bpb|mfu)\b|\bloss (?:stuck|"
    r"exploded|spike[sd]?|went)\b"
    r"|\b(?:regress(?:ed|es)|diverge[sd]?|crash(?:ed|es)|exploded|failed|oom(?:ed|s)?|worse than|better than|"
    r"no improvement|no gain|"
    r"no effect|no change|no difference|did(?:n't| not)|does(?:n't| not)|hurts?|helped|was (?:worse|better|bad|"
    r"good)|is (?:worse|better)|got (?:worse|better)|"
    r"went nan|timed out|ran out of memory|out of memory|blew up|plateau(?:ed|s)?|beats|result(?:s|ed)?\b|"
    r"conclusion)\b)"
    rf"[^,;+\n]*?{_END}",
    re.IGNORECASE,
)
# What comes behind these is told of the run, to the end.
_TOLD = re.compile(
    r"(?<=\w|\)|\s)\s*(?:[:;,.\u2014-]\s*)?\b(?:val_bpb|val_loss|bpb|mfu|killed at|skipped|hung|"
    r"training completed)\b.*$"
    r"|(?<=\S):\s*(?:crash(?:ed)?|failed|killed|skipped|hung|oom|nan|worse|better|no improvement|loss)\b.*$",
    re.IGNORECASE | re.DOTALL,
)
_VERDICT = re.compile(
    r"\btoo (?:\w+)|(?:[-+]\d[\d.]*%?|\d[\d.]*\s*%|\d\.\d{2,})\s*(?:better|worse|improvement|bpb)\b|"
    r"\b\d+ (?:more |fewer )?steps(?= |$)(?! (?:of|per))"
    r"(?=[^.]*(?:worse|better|slow|only))|\(?\b(?:best|worse|new best|neutral)\)?(?=\s*$)",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"^\s*(?:(?:\[[^\]]{0,60}\]\s*)+|[\w/.-]{1,60}\.(?:py|rs|c|cc|cpp|h|go|toml|ya?ml|json)\s*:\s+|(?:gpu|agent|"
    r"exp|experiment|run|trial|worker|iter|iteration|idea|attempt|try|test|ablation|sweep|"
    r"hypothesis|bottleneck|change|plan|todo|next|proposal|followup|follow-up|variant|v)\s?#?\d*\s*[:.]\s+)",
    re.IGNORECASE,
)
_DASH = re.compile(r"(?<!\b1)\s(?:\u2014|\u2013|-{1,2})\s")
_BLANKS = re.compile(r"\s+")
_ODD = str.maketrans({
    "\u2212": "-", "\u2013": "\u2013", "\u00d7": "x", "\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"',
    "\u21d2": "\u2192", "\u27f6": "\u2192", "\u2794": "\u2192", "\u279c": "\u2192", "\u2248": " ", "~": " ", "`": " ",
    "*": "*",
})  # fmt: skip


def parts(text: str) -> tuple[str, tuple[str, ...]]:
    """The text that tells the change, and remarks (in parentheses, behind a dash) that may repeat it."""
    text = text[:MAX_TEXT]
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).translate(_ODD)
    else:
        text = text.replace("~", " ").replace("`", " ")
    text = _LABEL.sub("", text, count=1)
    remarks: list[str] = []
    if "(" in text:
        text = _lift(text, remarks)
    pieces = _DASH.split(text, maxsplit=1)
    if len(pieces) == 2 and pieces[0].strip():
        text = pieces[0]
        remarks.append(pieces[1])
    bare = _clean(text)
    if not bare and remarks:
        bare = _clean(remarks.pop(0))
    return bare or text.strip(), tuple(cleaned for remark in remarks[:4] if (cleaned := _clean(remark)))


def _clean(text: str) -> str:
    """Without purposes and results, if anything is left then."""
    low = text.lower()
    said = set(_LETTERS_ONLY.findall(low))
    bare = text = respelt(text, low, said)
    if said & _PURPOSE_BEGINS or any(word in said and said & rest for word, rest in _PURPOSE_PAIRS):
        bare = _PURPOSE.sub(" ", bare)
    if said & _RESULT_BEGINS:
        bare = _VERDICT.sub(" ", _RESULT.sub(" ", _TOLD.sub(" ", bare)))
    bare = _BLANKS.sub(" ", bare).strip(" .,;:!?-")
    return bare or text.strip()


_LETTERS_ONLY = re.compile(r"[a-z]+")
# Without one of these words there is neither a purpose nor a result to look for.
_PURPOSE_TEXT = (
    "so because since hoping due given expecting aiming allowing giving leading yielding resulting "
    "thereby thus hence which should may might would could making hypothesis evidence idea rationale "
    "reason motivation freeing saving keeping holding leaving "
)
_PURPOSE_BEGINS = frozenset(_PURPOSE_TEXT.split())


def _said_in(pattern: str) -> frozenset[str]:
    """The words of an alternation, in both spellings."""
    return frozenset(_LETTERS_ONLY.findall(pattern.replace("[sz]", "s") + " " + pattern.replace("[sz]", "z")))


_PURPOSE_PAIRS = (  # common words that begin a purpose only together with another one
    ("to", _said_in(_GOALS) | {"see"}),
    ("for", _said_in(_WANTED)),
    ("in", frozenset({"order", "hope", "hopes"})),
    ("as", frozenset({"it", "this", "we", "they"})),
    ("with", frozenset({"unchanged", "fixed", "constant", "is", "before", "untouched"})),
)
_RESULT_TEXT = (
    "killed skipped hung crash nan bpb mfu loss regress regressed regresses diverge diverged diverges "
    "crashed crashes exploded failed oom oomed ooms worse better did didn does doesn hurts hurt helped "
    "got went timed ran out blew plateau plateaued plateaus beats result results resulted conclusion too "
    "improvement best neutral gain effect change difference acc accuracy ppl perplexity error score bad "
    "good slow "
)
_RESULT_BEGINS = frozenset(_RESULT_TEXT.split())
_ROW = re.compile(r"[(\[]\s*[-+\d.][^()\[\]a-z]{0,60}[)\]]")


_NUMBER = re.compile(r"\s*[-+]?[\d.,_]+(?:e[-+]?\d+)?\s*")


_MOVES = re.compile(r"\b(?:by|to|halv|doubl|tripl|multipl|divid|twice|rais|low|increas|decreas|reduc)", re.IGNORECASE)


def _lift(text: str, remarks: list[str]) -> str:
    """The text without what stands in parentheses, rows of numbers left in."""
    out: list[str] = []
    depth, start = 0, 0
    for at, char in enumerate(text):
        if char == "(":
            row = _ROW.match(text, at) if depth == 0 else None
            if row is not None and "," in row[0]:
                continue
            if depth == 0:
                out.append(text[start:at])
                start = at + 1
            depth += 1
        elif char == ")" and depth:
            depth -= 1
            if depth == 0:
                inner = text[start:at]
                amid = _NUMBER.fullmatch(inner) and text[at + 1 :].strip(" .") and _MOVES.search(text)
                remarks.append(f"was {inner}" if amid else inner)  # "divide the std (0.02) by 4": where it stood
                start = at + 1
                out.append(" ")
    if depth:
        remarks.append(text[start:])
    else:
        out.append(text[start:])
    return "".join(out)
