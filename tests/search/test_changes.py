"""What a source changes in its base: knobs by value, all else by a signature that travels between bases."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nightlab.search.changes import changes_between
from nightlab.types import Change, ChangeKind

BASE = '''
DEPTH = 8
BATCH = 2**18
BETAS = (0.8, 0.95)


class Block:
    """A layer."""

    def forward(self, x):
        x = x + self.attention(norm(x))
        return x + self.mlp(norm(x))


def train():
    use(DEPTH, BATCH, BETAS)
    for step in range(10):
        run(step)
'''


def changes(new: str, old: str = BASE) -> tuple[Change, ...]:
    return changes_between({"train.py": old}, {"train.py": new})


def test_nothing_changed() -> None:
    """Equal source, and source that differs in layout, comments and docstrings alone, change nothing."""
    assert changes(BASE) == ()
    assert changes(BASE.replace('"""A layer."""', '"""Another text."""') + "\n\n# a comment\n") == ()
    assert changes(BASE.replace("2**18", "262144")) == ()


def test_each_moved_knob_is_a_change_as_it_is_written() -> None:
    """Name, old and new text; an element of a row is a knob of its own."""
    new = BASE.replace("2**18", "2**17").replace("0.95", "0.99").replace("DEPTH = 8", "DEPTH = 12")
    assert changes(new) == (
        Change(kind=ChangeKind.KNOB, name="BATCH", old="2**18", new="2**17"),
        Change(kind=ChangeKind.KNOB, name="BETAS[1]", old="0.95", new="0.99"),
        Change(kind=ChangeKind.KNOB, name="DEPTH", old="8", new="12"),
    )


def test_everything_else_is_one_change_that_says_where() -> None:
    """A structural edit names the place and what came or went there."""
    (change,) = changes(BASE.replace("self.mlp(norm(x))", "self.mlp(x)"))
    assert change.kind is ChangeKind.FREE
    assert change.name == "Block.forward: norm"
    knob, free = changes(BASE.replace("self.mlp(norm(x))", "self.mlp(x)").replace("= 8", "= 9"))
    assert (knob.name, free) == ("DEPTH", change)


def test_the_signature_is_the_same_on_another_base() -> None:
    """The same edit of a base that differs elsewhere is the same change; another edit is not."""
    other = BASE.replace("DEPTH = 8", "DEPTH = 12").replace("range(10)", "range(99)").replace("run(step)", "walk(step)")

    def edit(text: str) -> str:
        return text.replace("x + self.attention(norm(x))", "x + gate(self.attention(norm(x)))")

    assert changes(edit(BASE)) == changes(edit(other), other)
    assert changes(edit(BASE)) != changes(BASE.replace("self.mlp(norm(x))", "self.mlp(x)"))
    assert changes(edit(BASE)) != changes(BASE, edit(BASE))


def test_order_of_statements_counts() -> None:
    """Two statements that change places are a change."""
    first, second = "        x = x + self.attention(norm(x))\n", "        x = x + 1\n"
    old = BASE.replace(first, first + second)
    assert len(changes(BASE.replace(first, second + first), old)) == 1


def test_what_is_no_python_counts_by_its_lines() -> None:
    """Broken source, other files, and files that come or go are one free change each way; nothing is raised."""
    (broken,) = changes(BASE + "\ndef broken(:\n")
    assert broken.kind is ChangeKind.FREE
    (text,) = changes_between({"a.toml": "x = 1\n"}, {"a.toml": "x = 2\n"})
    assert (text.kind, text.name) == (ChangeKind.FREE, "a.toml")
    assert changes_between({"a.toml": "x = 1\r\n"}, {"a.toml": "x = 1\n"}) == ()
    assert len(changes_between({}, {"new.py": "X = 1\n"})) == 1


def test_a_knob_that_comes_is_a_free_change() -> None:
    """There is no old value to move from."""
    (change,) = changes(BASE + "\nWARMUP = 0.1\nuse(WARMUP)\n")
    assert change.kind is ChangeKind.FREE


@given(st.text(max_size=200), st.text(max_size=200))
def test_any_files_can_be_compared(old: str, new: str) -> None:
    """Whatever the files hold, there is an answer, and it depends on nothing else."""
    for path in ("a.py", "a.txt"):
        found = changes_between({path: old}, {path: new})
        assert found == changes_between({path: old}, {path: new})
        assert changes_between({path: old}, {path: old}) == ()
