"""Values of Python expressions, as far as they can be worked out without running anything."""

from __future__ import annotations

import base64
import binascii
import codecs
import re

from nightlab.agent.policy.noun import noun
from nightlab.agent.policy.values import FETCHED, MAX_TEXT, UNKNOWN, holes

MAX_ITEMS = 1000  # of one list


@noun
class Name:
    """Something that is known by its dotted name: a module, a function, a class."""

    dotted: str


@noun
class Place:
    """A `pathlib` path."""

    path: str


@noun
class File:
    """An open file."""

    path: str


Value = str | int | Name | Place | File | tuple["Value", ...] | None  # bytes are text; None is not known


def text_of(value: Value) -> str:
    """The value as the text that a path or a command is made from."""
    if isinstance(value, (Place, File)):
        return value.path
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) else UNKNOWN


def bounded(number: int) -> Value:
    """The number, unless it is so large that reckoning with it takes long."""
    return number if abs(number) < 1 << 64 else None


def repeated(text: str, times: int) -> str:
    return text * max(0, min(times, 100)) if len(text) * min(times, 100) <= MAX_TEXT else UNKNOWN


def added(left: Value, right: Value) -> Value:
    if isinstance(left, tuple) and isinstance(right, tuple):
        return (*left, *right)[:MAX_ITEMS]
    if isinstance(left, int) and isinstance(right, int):
        return bounded(left + right)
    if isinstance(left, str) or isinstance(right, str):
        return (text_of(left) + text_of(right))[:MAX_TEXT]
    return None


def joined(*parts: Value) -> str:
    """`os.path.join` and `Path / part`."""
    out = ""
    for part in parts:
        text = text_of(part)
        out = text if text.startswith("/") or not out else f"{out.rstrip('/')}/{text}"
    return out


def formatted(form: str, values: tuple[Value, ...], named: dict[str, Value]) -> str:
    """`form.format(...)`."""
    left = list(values)

    def one(match: re.Match[str]) -> str:
        key = re.split(r"[.!:\[]", match[1])[0]
        if not key:
            return text_of(left.pop(0)) if left else UNKNOWN
        if key.isdigit():
            return text_of(values[int(key)]) if int(key) < len(values) else UNKNOWN
        return text_of(named.get(key))

    return re.sub(r"\{([^{}]*)\}", one, form)


def percent(form: str, value: Value) -> str:
    """`form % value`."""
    left = list(value) if isinstance(value, tuple) else [value]
    return re.sub(r"%[-+ #0-9.]*[a-zA-Z]", lambda _: text_of(left.pop(0)) if left else UNKNOWN, form)


def decoded(text: str, how: str) -> str:
    """Text that was hidden by `how` ("b64", "hex", "rot13" ...)."""
    if holes(text):
        return FETCHED if FETCHED in text else UNKNOWN
    try:
        if how == "hex":
            return bytes.fromhex(text).decode("utf-8", "replace")
        if how == "rot13":
            return codecs.decode(text, "rot13")
        if how == "b64":
            return base64.b64decode(text).decode("utf-8", "replace")
        if how == "b32":
            return base64.b32decode(text).decode("utf-8", "replace")
        return base64.b85decode(text).decode("utf-8", "replace") if how == "b85" else UNKNOWN
    except (binascii.Error, ValueError):
        return UNKNOWN


def method(base: str, name: str, args: tuple[Value, ...], named: dict[str, Value]) -> Value:
    """A method of a text."""
    if name == "join" and args and isinstance(args[0], tuple):
        return base.join(text_of(item) for item in args[0])[:MAX_TEXT]
    if name == "join" and args and isinstance(args[0], str):
        return base.join(args[0])[:MAX_TEXT]
    if name == "format":
        return formatted(base, args, named)
    texts = [text_of(arg) for arg in args]
    if name == "replace" and len(texts) >= 2:
        return base.replace(texts[0], texts[1])[:MAX_TEXT] if texts[0] else UNKNOWN
    if name in {"strip", "lstrip", "rstrip", "lower", "upper", "swapcase", "title", "capitalize"} and not texts:
        return str(getattr(base, name)())
    if name in {"removeprefix", "removesuffix"} and len(texts) == 1:
        return base.removeprefix(texts[0]) if name == "removeprefix" else base.removesuffix(texts[0])
    if name in {"split", "rsplit", "splitlines"}:
        return tuple(base.split(texts[0]) if texts and texts[0] else base.split())
    if name in {"encode", "decode", "read", "text", "expandtabs", "readlines", "hex"}:
        return base
    return FETCHED if FETCHED in base else UNKNOWN if name in {"translate", "strip", "format_map"} else None
