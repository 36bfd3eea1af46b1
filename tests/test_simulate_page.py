"""docs/simulate.md says of worlds and policies what the code has."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

import msgspec
import pytest

from nightlab.sim import policies
from nightlab.sim.world import Luck, World, load_world, shipped
from nightlab.types import Direction

PAGE = (Path(__file__).parents[1] / "docs" / "simulate.md").read_text(encoding="utf-8")
UNITS = {"none", "runs", "metric", "share", "world"}


def keys(struct: type[msgspec.Struct] = World, before: str = "") -> Iterator[tuple[str, object, object]]:
    """(key, type, default) of everything that a world's file may hold, in the file's order."""
    hints = get_type_hints(struct)
    for field in msgspec.structs.fields(struct):
        hint = hints[field.name]
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            yield from keys(hint, f"{before}{field.name}.")
        else:
            yield f"{before}{field.name}", hint, field.default


KEYS = {key: (hint, default) for key, hint, default in keys()}


def rows() -> dict[str, tuple[str, str, str, str]]:
    """Key -> (type, default, unit, meaning), as the page tells it."""
    found = re.findall(r"^\| `([\w.]+)` \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE, re.MULTILINE)
    return {key: (kind, default, unit, meaning) for key, kind, default, unit, meaning in found}


def described(hint: object) -> str:
    """A type as the page writes it."""
    if get_origin(hint) in (Union, UnionType):  # TOML has no null, so a file cannot say "none"
        (hint,) = (part for part in get_args(hint) if part is not type(None))
    plain: dict[object, str] = {str: "text", int: "number", float: "number", tuple[float, ...]: "list of numbers"}
    return '`"minimize"` or `"maximize"`' if hint is Direction else plain[hint]


def spelt(default: object) -> str:
    """A default as the page writes it."""
    if default is msgspec.NODEFAULT:
        return "required"
    if isinstance(default, str):
        return f'`"{default}"`'
    return f"`{list(default)}`" if isinstance(default, tuple) else f"`{default}`"


def test_the_page_lists_every_key_of_a_world() -> None:
    """Each key has a line, in the order of the file, and nothing else has."""
    assert list(rows()) == list(KEYS)


@pytest.mark.parametrize("key", KEYS)
def test_type_default_and_unit_are_those_of_the_code(key: str) -> None:
    """Type and default on the page are the code's, the unit is one that it explains, and the meaning says something."""
    kind, default, unit, meaning = rows()[key]
    assert (kind, default) == (described(KEYS[key][0]), spelt(KEYS[key][1]))
    assert unit in UNITS
    assert len(meaning) > len(key)


def test_the_pages_world_is_one(tmp_path: Path) -> None:
    """The example of the page is accepted, and says what it seems to say."""
    (example,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    path = tmp_path / "world.toml"
    path.write_text(example, encoding="utf-8")
    world = load_world(str(path))
    assert (world.direction, world.probe.r2, world.noise.seed) == (Direction.MAXIMIZE, 0.8, 0.3)


def test_gains_may_never_shrink(tmp_path: Path) -> None:
    """`headroom = inf`, as the page has it, is a world in which the hundredth gain is as large as the first."""
    path = tmp_path / "world.toml"
    path.write_text('name = "w"\neffects.helps = 1.0\neffects.headroom = inf\n', encoding="utf-8")
    world = load_world(str(path))
    luck = Luck(world, 0, 0)
    draw = luck.idea(0)
    assert draw.effect < 0.0
    assert luck.moved(-5.0, draw) == pytest.approx(-5.0 + draw.effect)


def test_every_policy_is_told() -> None:
    """The page's table names the policies that can be played, and no other."""
    table = PAGE.partition("## Policies")[2].partition("## ")[0]
    told = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert told == ["greedy", "threshold", "discovery", "memorylab", "nightlab"]
    assert all(callable(getattr(policies, name)) for name in told)


def test_every_shipped_world_is_told() -> None:
    """A world that travels with nightlab is named on the page."""
    assert shipped()
    assert all(f"`{name}`" in PAGE for name in shipped())
