"""Frozen classes of named fields, as `dataclass(frozen=True)` makes them, at a fraction of its cost.

A dataclass is written as source and compiled, class by class, and the module that does it takes inspect along: for the
policy's forty that is a quarter of the time in which a hook has to answer, process start included.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar, dataclass_transform

_T = TypeVar("_T")


@dataclass_transform(frozen_default=True)
def noun(kind: type[_T]) -> type[_T]:
    """Give a class with annotated fields its constructor, equality, hash and text; a default is never mutable."""
    names = tuple(kind.__annotations__)
    defaults = {name: kind.__dict__[name] for name in names if name in kind.__dict__}

    def begin(self: _T, *given: object, **named: object) -> None:
        values = self.__dict__
        values.update(defaults)
        values.update(zip(names, given, strict=False))
        values.update(named)
        if len(given) > len(names) or len(values) != len(names) or not named.keys().isdisjoint(names[: len(given)]):
            raise TypeError(f"{kind.__name__} takes {', '.join(names)}")

    def same(self: _T, other: object) -> bool:
        return type(other) is kind and self.__dict__ == other.__dict__

    def digest(self: _T) -> int:
        return hash((kind, *map(self.__dict__.__getitem__, names)))

    def text(self: _T) -> str:
        return f"{kind.__name__}({', '.join(f'{name}={self.__dict__[name]!r}' for name in names)})"

    def refuse(self: _T, name: str, value: object) -> NoReturn:
        raise AttributeError(f"{kind.__name__}.{name} cannot be changed")

    members: Mapping[str, Any] = {
        "__init__": begin,
        "__eq__": same,
        "__hash__": digest,
        "__repr__": text,
        "__setattr__": refuse,
        "__match_args__": names,
    }
    for name, member in members.items():
        setattr(kind, name, member)
    return kind


def altered(one: _T, **changes: object) -> _T:
    """The same with other values of some fields."""
    return type(one)(**{**one.__dict__, **changes})
