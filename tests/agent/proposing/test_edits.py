"""Edits as models write them: lenient in form, strict in meaning."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightlab.agent.proposing.edits import MAX_FILE, edited
from nightlab.errors import EditError
from nightlab.search.source import patch

TRAIN = "import math\n\nLR = 0.1\nDEPTH = 4\n\n\ndef main():\n    return LR * DEPTH\n\n\ndef other():\n    return LR\n"
FILES = {"train.py": TRAIN}
WANTED = {"train.py": TRAIN.replace("LR = 0.1", "LR = 0.2")}


def may_edit(path: str) -> bool:
    return path in ("train.py", "model/net.py")


def block(old: str, new: str, name: str = "train.py") -> str:
    return f"{name}\n<<<<<<< SEARCH\n{old}\n=======\n{new}\n>>>>>>> REPLACE\n"


DIFF = """\
--- a/train.py
+++ b/train.py
@@ -1,5 +1,5 @@
 import math

-LR = 0.1
+LR = 0.2
 DEPTH = 4
"""

FORMS = {
    "a block": block("LR = 0.1", "LR = 0.2"),
    "a block without a name": block("LR = 0.1", "LR = 0.2", ""),
    "a block in a fence under its name": "Here it is:\n\n**train.py**\n```python\n"
    + block("LR = 0.1", "LR = 0.2", "")
    + "```",
    "a block with a/ before the name": block("LR = 0.1", "LR = 0.2", "a/train.py"),
    "a block with white space at its ends": block("LR = 0.1   \nDEPTH = 4\t", "LR = 0.2\nDEPTH = 4"),
    "two blocks": block("LR = 0.1", "LR = 0.3") + "and\n" + block("LR = 0.3", "LR = 0.2", ""),
    "a block with windows' line ends": block("LR = 0.1", "LR = 0.2").replace("\n", "\r\n"),
    "a diff": DIFF,
    "a diff in a fence": f"```diff\ndiff --git a/train.py b/train.py\nindex 1..2 100644\n{DIFF}```\nDone.",
    "a diff with wrong numbers": DIFF.replace("-1,5 +1,5", "-40,9 +41,2"),
    "a diff without numbers": DIFF.replace("@@ -1,5 +1,5 @@", "@@ ... @@"),
    "a diff without a/ and b/": DIFF.replace("a/", "").replace("b/", ""),
    "a diff with its file's last line remarked": DIFF + "\\ No newline at end of file\n",
    "the whole file": f"train.py\n```python\n{WANTED['train.py']}```",
    "the whole file without its name": f"Sure!\n```\n{WANTED['train.py']}```\nThat is all.",
    "the whole file after an example": f"Run:\n```bash\npython train.py\n```\nIt:\n```python\n{WANTED['train.py']}```",
}


@pytest.mark.parametrize("answer", FORMS.values(), ids=FORMS.keys())
def test_forms_that_are_understood(answer: str) -> None:
    """The same edit in every form that models use gives the same file."""
    assert edited(answer, FILES, may_edit) == WANTED


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("I would rather raise the learning rate.", "holds no edit"),
        ("", "holds no edit"),
        (block("LR = 0.5", "LR = 0.2"), "'LR = 0.5' does not stand in train.py"),
        (block("    return", "    yield"), "does not stand in train.py"),
        (block("\n", "X = 1"), "searches for nothing"),
        ("train.py\n<<<<<<< SEARCH\nLR = 0.1\n=======\nLR = 0.2\n", "no line of >>>>>>> REPLACE"),
        ("train.py\n<<<<<<< SEARCH\nLR = 0.1\n", "no line of ======="),
        (block("import math\n", "import math\n\n\n\n\n\n\n\n"), "stands in train.py 2 times"),
        (block("LR = 0.1", "LR = 0.1"), "changes nothing"),
        (block("LR = 0.1", "LR = (0.2"), "does not parse after the edit: line"),
        (block("LR = 0.1", "LR = 0.2", "prepare.py"), "prepare.py may not be edited"),
        (block("LR = 0.1", "LR = 0.2", "tests/train.py"), "tests/train.py may not be edited"),
        (block("LR = 0.1", "LR = 0.2", "../train.py"), "may not be edited"),
        (block("LR = 0.1", "LR = 0.2", "/lab/train.py"), "may not be edited"),
        (DIFF.replace("train.py", "prepare.py"), "prepare.py may not be edited"),
        (DIFF + DIFF.replace("train.py", "nightlab.toml"), "nightlab.toml may not be edited"),
        (DIFF.replace("-LR = 0.1", "-LR = 0.7"), "does not stand in train.py"),
        (DIFF.replace("+++ b/train.py", "+++ /dev/null"), "may not be deleted"),
        ("--- a/train.py\n+++ b/train.py\n@@\n+X = 1\n", "does not say where"),
        ("--- a/train.py\n+++ b/train.py\nno hunk\n@@ -1 +1 @@\n-LR = 0.1\n", "no hunk"),
        ("```python\nLR = 0.2\n```", "is not the whole of train.py"),
        ("train.py\n```python\nLR = 0.2\n```", "is not the whole of train.py"),
        (f"```python\n{TRAIN}", "it was cut off"),
        (block("LR = 0.1", "LR = 0.2\x00"), "characters that no source file may hold"),
        (block("LR = 0.1", "LR = '\ud800'"), "characters that no source file may hold"),
        (block("LR = 0.1", "LR = '" + "x" * MAX_FILE + "'"), "are the most"),
    ],
)
def test_what_is_refused(answer: str, problem: str) -> None:
    """No guess is made where an edit is not clear, and the message tells a model what to mend."""
    files = {"train.py": TRAIN + "\nimport math\n\n"} if problem.startswith("stands") else dict(FILES)
    with pytest.raises(EditError, match=re.escape(problem)):
        edited(answer, files, may_edit)


def test_of_several_places_a_diff_means_the_nearest() -> None:
    """Where a hunk's lines stand twice, its line number decides, and a block must be longer."""
    files = {"train.py": "A = 1\nB = 2\n\nA = 1\nC = 3\n"}
    diff = "--- a/train.py\n+++ b/train.py\n@@ -4,1 +4,1 @@\n-A = 1\n+A = 5\n"
    assert edited(diff, files, may_edit)["train.py"] == "A = 1\nB = 2\n\nA = 5\nC = 3\n"
    with pytest.raises(EditError, match="2 times"):
        edited(block("A = 1", "A = 5"), files, may_edit)


def test_a_new_file_may_be_made_where_one_may_be_edited() -> None:
    """A diff from nothing, a block that searches for nothing, or a fence makes a file where the lab lets one be."""
    new = {**FILES, "model/net.py": "X = 1\n"}
    assert edited("--- /dev/null\n+++ b/model/net.py\n@@ -0,0 +1 @@\n+X = 1\n", FILES, may_edit) == new
    assert edited(block("", "X = 1", "model/net.py"), FILES, may_edit) == new
    assert edited("model/net.py\n```python\nX = 1\n```", FILES, may_edit) == new
    with pytest.raises(EditError, match=r"json\.py may not be edited"):
        edited("--- /dev/null\n+++ b/json.py\n@@ -0,0 +1 @@\n+X = 1\n", FILES, may_edit)


def test_of_several_files_one_must_be_named() -> None:
    """An edit that could mean any of several files is sent back."""
    files = {**FILES, "model/net.py": "X = 1\n"}
    with pytest.raises(EditError, match="names no file"):
        edited(block("LR = 0.1", "LR = 0.2", ""), files, may_edit)


def test_files_that_are_no_python_need_not_parse() -> None:
    """Text is text."""
    files = {"notes.txt": "rate (low\n"}
    assert edited(block("rate (low", "rate (high", ""), files, lambda _: True) == {"notes.txt": "rate (high\n"}


lines = st.lists(st.sampled_from(["a = 1", "b = 2", "", "c = 3", "if a:", "    d = 4", "# note"]), max_size=12)


@given(before=lines, after=lines)
def test_the_lab_s_own_diffs_fit(before: list[str], after: list[str]) -> None:
    """What `nightlab diff` prints is understood, byte for byte, whatever was changed."""
    old, new = ({"notes.txt": "".join(f"{line}\n" for line in side)} for side in (before, after))
    if old == new or not after:
        return
    assert edited(patch(old, new), old, lambda _: True) == new


@given(
    st.text(max_size=300)
    | st.lists(st.sampled_from([*FORMS.values(), "```", "@@", "+++ b/x", "=======", "\n", "---"])).map("\n".join)
)
def test_no_answer_does_harm(answer: str) -> None:
    """Whatever is answered, either an editable file is changed or the edit is refused."""
    try:
        found = edited(answer, FILES, may_edit)
    except EditError:
        return
    assert all(may_edit(path) for path in found)
    assert found != FILES
