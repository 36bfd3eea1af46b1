"""JSON edited as text: what is asked for changes, and not a byte more."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from nightlab.agent.wiring import jsontext
from nightlab.agent.wiring.jsontext import Json, ShapeError

keys = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=6) | st.sampled_from(
    ["a", "//", "/*", '"', ","]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | keys,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(keys, values, max_size=4)
layouts = st.sampled_from([None, 1, 2, 4, "\t"])


def laid_out(value: object, indent: int | str | None, *, crlf: bool = False) -> str:
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return text.replace("\n", "\r\n") if crlf else text


@given(objects, layouts, st.booleans(), keys, values)
def test_a_member_put_in_is_there_and_all_else_is_as_it_was(
    before: dict[str, Json], indent: int | str | None, crlf: bool, key: str, value: Json
) -> None:
    """The text means the same plus the member, and what was there is still there letter by letter."""
    assume(key not in before)
    text = laid_out(before, indent, crlf=crlf)
    made = jsontext.set_member(text, (key,), value)
    assert jsontext.load(made) == {**before, key: value}
    assert "".join(text.split())[:-1] in "".join(made.split())


@given(objects, layouts, st.booleans(), keys, values)
def test_taking_out_what_was_put_in_gives_the_same_text(
    before: dict[str, Json], indent: int | str | None, crlf: bool, key: str, value: Json
) -> None:
    """Removing undoes inserting to the byte, whatever the layout."""
    assume(key not in before)
    text = laid_out(before, indent, crlf=crlf)
    assert jsontext.remove(jsontext.set_member(text, (key,), value), (key,)) == text


@given(st.dictionaries(keys, values, min_size=1, max_size=4), layouts, st.data())
def test_any_member_can_be_taken_out(before: dict[str, Json], indent: int | str | None, data: st.DataObject) -> None:
    """First, last or in the middle: the others keep their values."""
    key = data.draw(st.sampled_from(sorted(before)))
    left = {name: value for name, value in before.items() if name != key}
    assert jsontext.load(jsontext.remove(laid_out(before, indent), (key,))) == left


@given(st.lists(values, min_size=1, max_size=4), layouts, st.data(), values)
def test_elements_are_appended_replaced_and_taken_out(
    before: list[Json], indent: int | str | None, data: st.DataObject, value: Json
) -> None:
    """A list behaves as a list; a list that becomes empty goes, and so does what held nothing else."""
    text = laid_out({"x": {"y": before}, "z": 1}, indent)
    index = data.draw(st.integers(0, len(before) - 1))
    assert jsontext.find(jsontext.append(text, ("x", "y"), value), ("x", "y")) == [*before, value]
    replaced = [value if number == index else each for number, each in enumerate(before)]
    assert jsontext.find(jsontext.set_element(text, ("x", "y"), index, value), ("x", "y")) == replaced
    left = before[:index] + before[index + 1 :]
    expected = {"x": {"y": left}, "z": 1} if left else {"z": 1}
    assert jsontext.load(jsontext.remove(text, ("x", "y"), index)) == expected


COMMENTED = """\
// mine
{
    "a": 1, // one
    /* two, "b": 3 */
    "b": [1, 2,], // last
}
"""


def test_comments_and_trailing_commas_are_read_and_kept() -> None:
    """A member goes behind the last one and its comment; the comments stay where they were."""
    assert jsontext.load(COMMENTED) == {"a": 1, "b": [1, 2]}
    made = jsontext.set_member(COMMENTED, ("c", "d"), "//no comment")
    assert jsontext.load(made) == {"a": 1, "b": [1, 2], "c": {"d": "//no comment"}}
    assert all(line in made.splitlines() for line in COMMENTED.splitlines())
    assert jsontext.load(jsontext.remove(made, ("a",))) == {"b": [1, 2], "c": {"d": "//no comment"}}


def test_a_comment_behind_the_last_member_stays_behind_it() -> None:
    """The comma goes before the comment, the new member after it."""
    made = jsontext.set_member('{\n  "a": 1 // one\n}', ("b",), 2)
    assert made == '{\n  "a": 1, // one\n  "b": 2\n}'


def test_the_last_of_two_members_of_one_name_counts() -> None:
    """As parsers have it."""
    assert jsontext.load(jsontext.set_member('{"a": 1, "a": {}}', ("a", "b"), 2)) == {"a": {"b": 2}}


@pytest.mark.parametrize(
    ("text", "path", "line"), [('{\n "a": 1}', ("a", "b"), 2), ('{\n\n "a": []}', ("a", "b"), 3), ("[]", ("a",), 1)]
)
def test_what_is_no_object_takes_no_member(text: str, path: tuple[str, ...], line: int) -> None:
    """The line of what stands in the way is told."""
    with pytest.raises(ShapeError, match="is no object") as told:
        jsontext.set_member(text, path, 1)
    assert told.value.line == line


def test_what_is_no_list_takes_no_element() -> None:
    """Said with its name."""
    with pytest.raises(ShapeError, match=r"`a\.b` is no list"):
        jsontext.append('{"a": {"b": {}}}', ("a", "b"), 1)
