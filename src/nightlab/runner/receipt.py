"""The receipt: what the evaluation itself wrote down about its value. Tamper evidence, not a seal."""

from __future__ import annotations

import math
from collections.abc import Collection

PLACES = 6  # decimals to which a receipt and a printout must agree

_TEXTS = ("profile", "script_sha256", "data_sha256", "tokenizer_sha256")


def dispute(
    receipt: object, *, metric: str, value: float, scripts: Collection[str], seed: int
) -> tuple[str, float | None]:
    """What speaks against a receipt.

    Args:
        receipt: the decoded JSON; None if there is no receipt though one is required.
        metric: the lab's metric.
        value: what the run reported.
        scripts: SHA-256 of the editable files that the lab started; the receipt must name one of them.
        seed: the seed that the run was given.

    Returns:
        The first contradiction ("" if there is none), and the receipt's value if it has one.
    """
    if receipt is None:
        return "the evaluation wrote no receipt, so nothing vouches for the value", None
    if not isinstance(receipt, dict):
        return "the receipt is no JSON object", None
    theirs = _number(receipt.get("value"))
    if theirs is None:
        return "the receipt has no finite value", None
    missing = [key for key in _TEXTS if not isinstance(receipt.get(key), str)]
    if missing or not isinstance(receipt.get("budget"), dict):
        return f"the receipt lacks {', '.join(missing) or 'budget'}", theirs
    checks = (
        (receipt.get("metric") == metric, f"the receipt is for another metric than {metric}"),
        (
            abs(theirs - value) <= 0.501 * 10.0**-PLACES,
            f"the run reports {metric} = {value:.{PLACES}f}, its receipt says {theirs:.{PLACES}f}",
        ),
        (receipt["script_sha256"] in scripts, "the receipt is from another script than the lab started"),
        (type(receipt.get("seed")) is int and receipt["seed"] == seed, f"the receipt is for another seed than {seed}"),
    )
    return next((because for holds, because in checks if not holds), ""), theirs


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:
        return None
