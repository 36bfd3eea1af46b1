"""A text cut into tokens: concepts of the field, directions, numbers with their units, and what joins them."""

from __future__ import annotations

import math
import re

from nightlab.search.book import ARTICLES, LONG, NOTHING, Kind, Token, book, mended, stem

MAX_TOKENS = 120

_PLAIN = r"(?:\d{1,3}(?:,\d{3})+(?!\d)|\d[\d_]*)?(?:\.\d+)?"
_TOKEN = re.compile(
    rf"""
    (?P<row>[(\[]\s*[-+]?[\d.]+(?:e-?\d+)?(?:\s*[,/]\s*[-+]?[\d.]+(?:e-?\d+)?)+\s*[)\]] | \b\d*\.\d+/\d*\.\d+\b)
    | (?P<arrow>-+> | => | \u2192)
    | (?P<times>(?<!\w)[x*]\s?(?=[\d.])(?!0(?![\d.])))
    | (?P<part>(?<![\w./])\d{{1,3}}/\d{{1,3}}(?![\w./]))
    | (?P<sign>(?<![\w.)])[-+])?(?P<number>(?<![^\W_xX])(?=[\d.]){_PLAIN}(?:e[-+]?\d+)?
        (?:\s?(?:\*\*|\^|<<)\s?[-+]?\d+(?:\.\d+)?)?)
      (?P<unit>\s?% | \s?percent\b | (?:ki?b?|mi?b?|gi?b?)\b | \s(?:ki?b|mi?b|gi?b)\b | -?\s?bytes?\b
        | \s?x\b | -?fold\b | (?:st|nd|rd|th)\b
        | \s?times\b(?=\s+(?:the|as|more|fewer|less|its|current|\w+er)\b)
        | (?:ms|s|h)\b | \s?(?:msecs?|secs?|seconds?|mins?|minutes?|hrs?|hours?)\b)?
    | (?P<equals>:=|==|=|:(?=\s*[-+.\d]))
    | (?P<join>[,;&+|]|:|\.(?=\s|$)|/)
    | (?P<text>"[^"]{{1,40}}"|'[^']{{1,40}}')
    | (?P<word>[^\W\d]\w*)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_LETTERS = re.compile(r"[SLG]{2,12}")  # SSSL: a pattern of short and long windows
_PATTERN = re.compile(r"[SLG]{1,12}")  # in quotes one letter is a pattern too
_LETTER = re.compile(r"[SLG]+$")
_JOINS = {
    ",": Kind.COMMA, ";": Kind.COMMA, ".": Kind.COMMA, "|": Kind.COMMA, "&": Kind.AND, "/": Kind.AND, "+": Kind.PLUS,
    ":": Kind.COLON,
}  # fmt: skip
_KILO = {"k": 1, "m": 2, "g": 3}


def tokens(text: str) -> list[Token]:
    """The tokens of a text from which purposes and results were taken."""
    out: list[Token] = []
    run: list[tuple[str, str]] = []  # words not looked up yet: lower case, and the constant's name it begins
    times = False
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup
        if kind == "word":
            letters = match["word"][0] in "SLG" and _LETTER.match(match["word"]) is not None
            if letters and run:
                _look_up(run, out)
                run = []
            if not (letters and _is_pattern_after(out, match["word"])):
                _take_word(match["word"], run)
                continue
        if kind == "text" and not _PATTERN.fullmatch(match["text"][1:-1].strip()):
            for word in match["text"][1:-1].split():
                _take_word(word, run)
            continue
        if run:
            _look_up(run, out)
            run = []
        if kind in ("number", "unit"):
            out.append(_number(match, times))
        elif kind != "times":
            out.append(_sign(match, kind or ""))
        times = kind == "times"
        if len(out) > MAX_TOKENS:
            break
    if run:
        _look_up(run, out)
    return out[:MAX_TOKENS]


def words_as_tokens(text: str) -> list[Token]:
    """The tokens of plain words, without numbers and signs: quick, for tables."""
    out: list[Token] = []
    _look_up([(word, "") for word in text.split()], out)
    return out


def _is_pattern_after(out: list[Token], word: str) -> bool:
    """Whether the word is a pattern of letters because of what leads to it: "SSSL -> S", "WINDOW_PATTERN = L"."""
    if not _LETTER.match(word) or not out:
        return False
    before = out[-2] if out[-1].kind in (Kind.TO, Kind.EQUALS) and len(out) > 1 else out[-1]
    return before.name[:1] == "=" or before.name == "windowpattern"


def _sign(match: re.Match[str], kind: str) -> Token:
    """Everything but words and numbers."""
    text = match[0].strip()
    if kind == "arrow":
        return Token(Kind.TO, "->")
    if kind == "equals":
        return Token(Kind.EQUALS, "=")
    if kind == "join":
        return Token(_JOINS[text], text)
    if kind == "part":
        above, _, below = text.partition("/")
        value = int(above) / int(below) if int(below) else 0.0
        return Token(Kind.NUMBER, text, (value,), "/" if value < 1 else "")
    if kind == "row":
        return Token(Kind.ROW, text, tuple(_float(n) for n in re.findall(r"[-+]?[\d.]+(?:e-?\d+)?", text)))
    return Token(Kind.CHOICE, "=" + text.strip("\"'").strip().lower())


def _take_word(word: str, run: list[tuple[str, str]]) -> None:
    """The words of a name: MATRIX_LR and matrixLr are two."""
    if len(word) > 2 and set(word) == {"L"}:
        run.append(("fullattention", ""))  # a pattern of long windows only
        return
    if len(word) >= 2 and _LETTERS.fullmatch(word) and (len(word) > 2 or "S" in word) and word not in ("LG", "GS"):
        run.append(("=" + word.lower(), ""))
        return
    whole = word.lower()
    if whole == "replacing" and run:
        run.append(("insteadof", ""))  # "B replacing A" has them the other way round than "replacing A with B"
        return
    if "_" not in word:
        if word[0].islower() and not word.islower() and whole not in book().phrases:
            pieces = _CAMEL.sub(" ", word).lower().split()
            run += [(piece, "" if i else word) for i, piece in enumerate(pieces)]
        else:
            run.append((whole, word if len(word) > 1 and word.isupper() else ""))
        return
    pieces = [piece for piece in whole.split("_") if piece]
    run += [(piece, "" if i else word) for i, piece in enumerate(pieces)]


def _look_up(run: list[tuple[str, str]], out: list[Token]) -> None:
    """Phrases of the book, the longest first; other words as they are."""
    run = [item for item in run if item[0] not in ARTICLES]
    stems = [stem(word) for word, _ in run]
    at = 0
    while at < len(stems):
        shown = run[at][1]
        token, step = _phrase_at(stems, at, bool(shown))
        if token is not NOTHING:
            out.append(token._replace(shown=shown) if shown else token)
        at += step


def _phrase_at(stems: list[str], at: int, is_name: bool) -> tuple[Token, int]:
    """What stands there, and how many words it takes."""
    first = stems[at]
    entries = book().phrases.get(first)
    if entries is None and len(first) >= LONG - 1 and not is_name:
        entries = book().phrases.get(mended(first))
    for tail, token in entries or ():
        if not tail or _fits(tail, stems, at + 1):
            return token, 1 + len(tail)
    if first[0] == "=":
        return Token(Kind.CHOICE, first), 1
    if first.isdecimal():
        return Token(Kind.NUMBER, first, (float(first[:18]),)), 1
    return Token(Kind.WORD, first[:40]), 1


def _fits(tail: tuple[str, ...], stems: list[str], at: int) -> bool:
    if at + len(tail) > len(stems):
        return False
    for offset, word in enumerate(tail):
        here = stems[at + offset]
        if here != word and (len(here) < LONG - 1 or mended(here) != word):
            return False
    return True


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _number(match: re.Match[str], times: bool) -> Token:
    text = match["number"].replace(",", "").replace("_", "").replace(" ", "").lower()
    value = _value(text)
    unit = (match["unit"] or "").strip().lower().lstrip("-")
    sign = match["sign"] or ""
    if unit in ("st", "nd", "rd", "th"):
        return Token(Kind.MARK, f"{text[:9]}th")
    if unit in ("x", "fold", "times") or times:
        return Token(Kind.NUMBER, match[0].strip(), (value,), "x")
    if unit in ("%", "percent"):
        return Token(Kind.NUMBER, match[0].strip(), ((-1 if sign == "-" else 1) * value / 100,), f"{sign}%")
    if (seconds := _seconds(unit)) is not None:
        return Token(Kind.NUMBER, match[0].strip(), (value * seconds,))
    values: tuple[float, ...] = (value,)
    if unit and unit[0] != "b":
        power = _KILO[unit[0]]
        binary, decimal = value * 1024**power, value * 1000**power
        exact = binary.is_integer() and int(binary) & (int(binary) - 1) == 0 if binary < 2**60 else False
        values = (binary, decimal) if exact else (decimal, binary, *_rounded(value, power))
    if sign == "-":
        values = tuple(-v for v in values)
    return Token(Kind.NUMBER, match[0].strip(), values, sign)


def _rounded(value: float, power: int) -> tuple[float, ...]:
    """The power of two that is rounded when it is told in thousands: 65k is 65536, 33k is 32768."""
    if not 0 < value < 1e6 or not value.is_integer():
        return ()
    near = 2.0 ** round(math.log2(value * 1000**power))
    return (near,) if abs(near - value * 1000**power) < 1000**power else ()


def _seconds(unit: str) -> float | None:
    """How long a unit of time is."""
    if unit.startswith("ms"):
        return 0.001
    return (
        {"s": 1.0, "m": 60.0, "h": 3600.0}.get(unit[0]) if unit[:1] == "h" or unit[:3] in ("s", "sec", "min") else None
    )


def _value(text: str) -> float:
    """The value of digits, perhaps with a power; infinite where nothing can hold it."""
    base, operator, power = text, "", ""
    for sign in ("**", "^", "<<"):
        base, operator, power = text.partition(sign)
        if operator:
            break
    try:
        if not operator:
            return float(base[:40])
        number, exponent = float(base[:40]), float(power[:40])
        if operator == "<<":
            return float(number * 2.0**exponent) if exponent < 1000 else float("inf")
        return float(number**exponent)
    except (ValueError, OverflowError, ZeroDivisionError):
        return float("inf")
