"""Tokens cut into clauses: the pieces of a description that each tell one change."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nightlab.search.book import Kind, Token

DIRECTIONS = frozenset({Kind.UP, Kind.DOWN, Kind.ON, Kind.OFF})
SUBJECT = frozenset({Kind.PROPERTY, Kind.PART, Kind.CHOICE, Kind.WORD})
JOIN = frozenset({Kind.AND, Kind.COMMA, Kind.WITH, Kind.PLUS, Kind.COLON})
AMOUNT = frozenset({Kind.NUMBER, Kind.ROW})
LINKS = frozenset({Kind.TO, Kind.EQUALS, Kind.FROM, Kind.BY, Kind.INSTEAD})
PLACES = frozenset({"first", "last", "middle"})
_BEGINS = frozenset({"no", "without", "disable", "enable", "not", "dont"})  # in the middle of a clause they begin one
# What is there where the other is not: having the one is doing without the other.
INSTEAD = {
    "fullattn": "window", "longwindow": "window", "nope": "rope", "heavyball": "nesterov",
    "untieembeddings": "tieembeddings",
}  # fmt: skip
_PERIODS = frozenset({"step", "trainsteps", "epochs", "update"})


def placed(found: Sequence[Token]) -> list[Token]:
    """Tokens with places and periods made marks: "last two layers", "last 30% of training", "per head"."""
    out: list[Token] = []
    found = _traded(found)
    at = 0
    while at < len(found):
        token, after = found[at], found[at + 1 : at + 4]
        mark, used = _mark(token, after) if token.kind is Kind.MARK and after else (None, 1)
        if mark is not None:
            out.append(mark)
        elif not (token.kind is Kind.ON and token.name == "tail" and after and after[0].kind not in JOIN):
            out.append(token)  # "on" in the middle is a preposition
        at += used
    return out


def _traded(found: Sequence[Token]) -> Sequence[Token]:
    """ "Drop relu squared for relu" is an exchange."""
    for at in range(2, len(found) - 1):
        if found[at].kind is Kind.FOR and found[at + 1].kind is Kind.CHOICE and found[at - 1].kind is Kind.CHOICE:
            start = next((i for i in range(at - 1, -1, -1) if found[i].kind is Kind.OFF), None)
            if start is not None:
                return [*found[:start], Token(Kind.SWITCH, "replace"), *found[start + 1 :]]
    return found


def _mark(token: Token, after: Sequence[Token]) -> tuple[Token | None, int]:
    """A mark with the number or thing that belongs to it, and how many tokens that takes."""
    first = after[0]
    if token.name in PLACES and first.kind is Kind.NUMBER and first.unit in ("", "%", "/"):
        used = 3 if len(after) > 1 and after[1].name in _PERIODS else 2
        return Token(Kind.MARK, token.name, first.values, first.unit), used
    if token.name == "until":  # "until step 500" is "for the first 500 steps"
        place = 1 if first.name in _PERIODS else 0
        if place < len(after) and after[place].kind is Kind.NUMBER:
            return Token(Kind.MARK, "first", after[place].values), place + 2
    if token.name == "per" and first.kind in SUBJECT:
        return Token(Kind.MARK, f"per{first.name}"), 2
    return None, 1


def clauses(found: Sequence[Token]) -> list[tuple[Kind, list[Token]]]:
    """The tokens cut at joins, where what follows has a change of its own; with the join in front of each piece."""
    merged: list[tuple[Kind, list[Token]]] = []
    for join, clause in _pieces(found):
        before = merged[-1][1] if merged else None
        if before is not None and join is Kind.COLON and all(token.kind is Kind.PART for token in before):
            before.extend(clause)  # "attention: dropout 0.1"
        elif before is not None and join not in (Kind.PLUS, Kind.COLON) and _is_part(clause, before, join):
            if join is not Kind.COMMA or not has(before, AMOUNT) or has(clause, AMOUNT):
                before.extend(clause)
        else:
            if before is not None and join in (Kind.AND, Kind.COMMA):
                _lend(before, clause)
            merged.append((join, clause))
    return [(join if i == 0 else Kind.PLUS, piece) for join, clause in merged for i, piece in enumerate(_split(clause))]


def _pieces(found: Sequence[Token]) -> list[tuple[Kind, list[Token]]]:
    """The tokens between joins."""
    out: list[tuple[Kind, list[Token]]] = [(Kind.PLUS, [])]
    for token in found:
        clause = out[-1][1]
        if token.kind in (Kind.FOR, Kind.WITH, Kind.AND) and _awaits(clause):
            clause.append(Token(Kind.TO, "with"))
        elif token.kind in JOIN:
            out.append((token.kind, []))
        elif token.name == "not" and not clause and out[-1][0] is Kind.COMMA and len(out) > 1:
            out.pop()  # "relu, not squared": a contrast belongs to what it contrasts with
            out[-1][1].append(Token(Kind.INSTEAD, "rather than"))
        elif token.kind is Kind.OFF and token.name in _BEGINS and has(clause, SUBJECT):
            out.append((Kind.PLUS, [token]))
        elif token.kind is not Kind.FOR:
            clause.append(token)
    return [(join, clause) for join, clause in out if clause]


def has(clause: Iterable[Token], kinds: frozenset[Kind]) -> bool:
    """Whether a token of one of the kinds is there. A plain loop: it is asked many times of every text."""
    for token in clause:  # noqa: SIM110 - a generator costs as much as the whole question
        if token.kind in kinds:
            return True
    return False


_OWN = frozenset({*DIRECTIONS, Kind.SWITCH, Kind.CHOICE, Kind.PROPERTY, Kind.SCALE})


def _awaits(clause: Sequence[Token]) -> bool:
    """Whether "with" or "and" still belongs to the verb: replace A with B, swap A and B."""
    switches = any(token.kind is Kind.SWITCH for token in clause)
    return switches and has(clause, SUBJECT) and not has(clause, frozenset({Kind.TO}))


def _is_part(clause: Sequence[Token], before: Sequence[Token], join: Kind) -> bool:
    """Whether a piece has no change of its own: the second half of "norm before and after attention"."""
    if join is Kind.COMMA and not INSTEAD.keys().isdisjoint([token.name for token in clause]):
        return False  # "drop the windows, full attention in all layers"
    ties = any(token.name == "tie" for token in before)
    if ties and not has(clause, frozenset({*DIRECTIONS, Kind.SWITCH, *AMOUNT, Kind.PROPERTY})):
        return True
    if not has(clause, SUBJECT) and has(clause, AMOUNT) and not has(clause, DIRECTIONS):
        moves = any(token.kind is Kind.TO for token in clause) and not has(before, frozenset({Kind.TO}))
        return moves or join is Kind.AND or not any(t.kind in AMOUNT and t.unit not in ("x", "/") for t in before)
    if join is Kind.AND and has(clause, frozenset({Kind.FROM})) and not has(clause, AMOUNT | DIRECTIONS):
        return not has(before, AMOUNT)  # "exclude norms and biases from weight decay"
    if has(clause, _OWN) or has(clause, AMOUNT):
        return False
    return not (join is Kind.WITH and has(before, AMOUNT))


def _lend(before: list[Token], clause: Sequence[Token]) -> None:
    """ "embedding and unembedding lr 2x": the first half shares measure and size with the second."""
    bare = all(token.kind in (Kind.PART, *DIRECTIONS, Kind.SCALE, Kind.CHOICE) for token in before)
    whole = not has(clause, frozenset({*DIRECTIONS, Kind.SWITCH})) and has(clause, frozenset({Kind.PROPERTY}))
    one = sum(token.kind in (Kind.PART, Kind.CHOICE) for token in before) == 1
    if bare and whole and one and has(clause, frozenset({Kind.PART, Kind.CHOICE})):
        before.extend(token for token in clause if token.kind not in (Kind.PART, Kind.CHOICE))


def _split(clause: Sequence[Token]) -> list[list[Token]]:
    """Several settings in one row: "DEPTH=12 ASPECT_RATIO=80", "5% warmup 30% warmdown"."""
    out: list[list[Token]] = [[]]
    for at, token in enumerate(clause):
        if _begins(clause, at, out[-1]):
            out.append([])
        out[-1].append(token)
    return out


def _begins(clause: Sequence[Token], at: int, before: Sequence[Token]) -> bool:
    """Whether a setting begins there: the one before has its value, and another measure with a value follows."""
    if len(before) < 2 or not _is_whole(before):
        return False
    token = clause[at]
    known = {t.name for t in before if t.kind is Kind.PROPERTY}
    if token.kind is Kind.PROPERTY or (token.shown and token.kind in (*SUBJECT, Kind.WEAK)):
        ends = token.name == "finallr" and clause[at - 1].kind in AMOUNT  # "10% of peak"
        return token.name not in known and not ends and has(clause[at : at + 4], AMOUNT)
    follows = at + 1 < len(clause) and clause[at + 1].kind is Kind.PROPERTY and clause[at + 1].name not in known
    return token.kind is Kind.NUMBER and follows and clause[at - 1].kind not in LINKS


def _is_whole(before: Sequence[Token]) -> bool:
    """Whether a setting has a subject and a value; "double" in front of the subject is none yet."""
    subjects = amounts = 0
    for token in before:
        amounts += token.kind in AMOUNT and (subjects > 0 or token.unit not in ("x", "/"))
        subjects += token.kind in SUBJECT
    return bool(subjects and amounts)
