"""Our part of a file: put in once however often, taken out whole, and never at the cost of what is somebody else's."""

from __future__ import annotations

import json
import tomllib

import pytest

from nightlab.agent.wiring import jsontext
from nightlab.agent.wiring.parts import Element, JsonPart, Member, Part, RefusedError, SectionPart, TomlPart, WholePart

MARK = "lab.sh"
JSON = JsonPart(
    [
        Member(("version",), 1, common=True),
        Member(("servers", "lab"), {"command": "lab.sh mcp"}),
        Element(("hooks", "Stop"), {"command": "lab.sh hook"}),
    ],
    MARK,
)
PLAIN = JsonPart([entry for entry in JSON.entries if not (isinstance(entry, Member) and entry.common)], MARK)
TOML = TomlPart({"names": '["program.md"]'}, {"servers.lab": 'command = "lab.sh"'})
SECTION = SectionPart("## Lab\n\nRead this.\n")
WHOLE = WholePart("# lab's own\nnew\n", "lab's own")
PARTS: dict[str, Part] = {"json": JSON, "toml": TOML, "section": SECTION, "whole": WHOLE}


@pytest.mark.parametrize("part", PARTS.values(), ids=PARTS)
def test_a_file_that_did_not_exist_is_ours_alone(part: Part) -> None:
    """Put into nothing and taken out, nothing is left; put in twice is put in once."""
    made = part.put(None)
    assert part.put(made.text) == made
    assert made.kept == ()
    assert part.take(made.text) is None


@pytest.mark.parametrize(
    ("part", "text"),
    [
        (PLAIN, '{"a": 1}\n'),
        (PLAIN, '{\n    // mine\n    "hooks": {"Stop": [{"command": "theirs"}]}\n}\n'),
        (TOML, "a = 1\n"),
        (TOML, '# mine\na = 1\n\n[servers.other]\ncommand = "x"  # keep\n'),
        (TOML, "\ufeffa = 1\r\n[t]\r\nb = 2\r\n"),
        (SECTION, "# Mine\n\nWords.\n"),
        (SECTION, "# Mine\r\n\r\nWords.\r\n\r\n"),
    ],
)
def test_a_file_of_the_users_comes_back(part: Part, text: str) -> None:
    """Taken out again, the text is the very one of before; meanwhile it is all there."""
    made = part.put(text)
    assert made.text != text
    assert part.put(made.text) == made
    assert part.take(made.text) == text
    assert "\r\n" not in text or "\n" not in made.text.replace("\r\n", "")


def test_what_others_put_around_our_part_stays() -> None:
    """Before, behind and between; our part stays where it is while it is right."""
    section = SECTION.put("# A\n").text + "\n# B\n"
    assert SECTION.put(section).text == section
    assert SECTION.take(section) == "# A\n\n# B\n"
    toml = TOML.put("a = 1\n").text + "\n[more]\nb = 2\n"
    assert TOML.put(toml).text == toml
    assert TOML.take(toml) == "a = 1\n\n[more]\nb = 2\n"
    both = jsontext.append(JSON.put('{"mine": 1}').text, ("hooks", "Stop"), {"command": "theirs"})
    assert JSON.put(both).text == both
    left = JSON.take(both)
    assert left is not None
    assert json.loads(left) == {"mine": 1, "version": 1, "hooks": {"Stop": [{"command": "theirs"}]}}


def test_an_older_part_of_ours_is_brought_up_to_date_in_its_place() -> None:
    """Codex knows a hook by its position, so that a hook of ours is not moved behind others."""
    old = '{"hooks": {"Stop": [{"command": "lab.sh old"}, {"command": "theirs"}, {"command": "lab.sh older"}]}}'
    found = jsontext.find(JSON.put(old).text, ("hooks", "Stop"))
    assert found == [{"command": "lab.sh hook"}, {"command": "theirs"}]
    section = SECTION.put("# A\n").text.replace("Read this.", "Read that.")
    assert SECTION.put(section).text == SECTION.put("# A\n").text
    toml = TOML.put("a = 1\n").text.replace("lab.sh", "old.sh")
    assert TOML.put(toml).text == TOML.put("a = 1\n").text
    assert WHOLE.put("# lab's own\nold\n").text == WHOLE.text


def test_what_is_the_users_stays_and_is_told() -> None:
    """A setting of the user's under our name is not ours to change, nor to take out."""
    text = '{"servers": {"lab": {"command": "my own"}}}'
    made = JSON.put(text)
    assert made.kept == ("`servers.lab` is yours and stays as it is",)
    assert jsontext.find(made.text, ("servers", "lab")) == {"command": "my own"}
    left = JSON.take(made.text)
    assert left is not None
    assert json.loads(left)["servers"] == {"lab": {"command": "my own"}}
    toml = TOML.put('names = ["x"]\n[servers.lab]\ncommand = "y"\n')
    assert toml.text == 'names = ["x"]\n[servers.lab]\ncommand = "y"\n'
    assert toml.kept == ("`names` is yours and stays as it is", "`servers.lab` is yours and stays as it is")


def test_toml_means_what_both_wrote() -> None:
    """Keys of the top stay keys of the top, though the file ends with a table."""
    assert tomllib.loads(TOML.put('a = 1\n[t]\nb = 2\n[servers.other]\nc = "d"').text) == {
        "names": ["program.md"],
        "a": 1,
        "t": {"b": 2},
        "servers": {"other": {"c": "d"}, "lab": {"command": "lab.sh"}},
    }


def test_a_line_can_make_a_section_needless() -> None:
    """A CLAUDE.md that imports AGENTS.md needs no second import, and one of ours goes when it is there."""
    part = SectionPart("@AGENTS.md", unless="@AGENTS.md")
    assert part.put("# Mine\n@AGENTS.md\n").text == "# Mine\n@AGENTS.md\n"
    assert part.put(part.put("# Mine\n").text + "@AGENTS.md\n").text == "# Mine\n\n@AGENTS.md\n"


@pytest.mark.parametrize("text", ["", "  \n", "\ufeff"])
def test_an_empty_file_is_as_good_as_none(text: str) -> None:
    """It gets our part, and does not count as broken."""
    for part in PARTS.values():
        assert part.take(part.put(text).text) is None
        assert part.take(text) == text


@pytest.mark.parametrize(
    ("part", "text", "message", "line"),
    [
        (JSON, '{\n"a": 1,\n"b"\n}', "no JSON: Expecting ':' delimiter", 4),
        (JSON, "[1]", "no JSON object", 1),
        (JSON, "[" * 100_000, "nested too deeply", 0),
        (JSON, '{\n"hooks": []}', "`hooks` is no object", 2),
        (JSON, '{\n"hooks":\n{"Stop": {}}}', "`hooks.Stop` is no list", 3),
        (TOML, "a = 1\nb = \n", "no TOML: Invalid value", 2),
        (TOML, "# nightlab:begin\nc = 1\n# nightlab:end\n\nb = \n", "no TOML: Invalid value", 5),
        (TOML, "a = 1\nservers = {x = 1}\n", "no table can be added to `servers` as it is written", 2),
        (SECTION, "a\n<!-- nightlab:begin -->\nb\n", "`<!-- nightlab:begin -->` has lost its other half", 2),
        (SECTION, "a\n\n<!-- nightlab:end -->\n", "`<!-- nightlab:end -->` has lost its other half", 3),
        (TOML, "# nightlab:begin\n# nightlab:begin\n# nightlab:end\n", "`# nightlab:begin` has lost", 2),
        (WHOLE, "somebody else's\n", "another file of that name is there", 0),
    ],
)
def test_what_cannot_be_merged_is_refused_with_its_line(part: Part, text: str, message: str, line: int) -> None:
    """Nobody's file is broken further; the hint says what to do."""
    with pytest.raises(RefusedError) as told:
        part.put(text)
    assert message in str(told.value)
    assert told.value.line == line
    assert told.value.hint


@pytest.mark.parametrize("part", [JSON, SECTION])
def test_what_cannot_be_told_apart_is_not_taken_out_either(part: Part) -> None:
    """A broken file is left for its owner to mend."""
    with pytest.raises(RefusedError):
        part.take('{"a"' if part is JSON else "<!-- nightlab:end -->")


def test_a_file_of_somebody_elses_is_not_taken_away() -> None:
    """Only a file with our mark is ours."""
    assert WHOLE.take("somebody else's\n") == "somebody else's\n"
