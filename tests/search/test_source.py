"""Identity of a source, differences between sources, and names that hide Python's own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nightlab.search.source import experiment_id, patch, shadowed, source_hash

ROOT = Path(__file__).parents[2]
OTHERS = [Path.home() / ".pyenv/versions" / version / "bin/python" for version in ("3.12.1", "3.13.0")]

SAMPLE = '''"""A docstring."""
def f(x: int = 3, *rest, key=None, **more) -> str:
    "Another."
    try:
        y = {**more, "a": None, 1: ...}
    except* ValueError:
        pass
    return f"{x!r:>{key}} {{}}" "tail" f"{x=}" f"{y:}" + "\\u1e9e\\U0001fac8"
'''


def digest(text: str) -> str:
    return source_hash({"train.py": text}, "settings")


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("x = 1  # one\n", "x=1"),
        ('def f():\n    """Doc."""\n    return 1\n', "def f():\n\n  return (1)\n"),
        ("s = 'a'\n", 's = "a"\n'),
        ("x = 1\r\ny = 2\r\n", "x = 1\ny = 2\n"),
        ("s = f'a{x}' 'b'\n", "s = f'a{x}b'\n"),
        ("s = f'{x:}'\n", "s = f'{x}'\n"),
        ("\ufeffx = 1\n", "x = 1\n"),
    ],
)
def test_looks_do_not_count(a: str, b: str) -> None:
    """White space, comments, docstrings, quotes, brackets and newlines leave the identity alone."""
    assert digest(a) == digest(b)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("x = 1\n", "x = 1.0\n"),
        ("x = 1\n", "x = True\n"),
        ("x = 'a'\n", "x = b'a'\n"),
        ("def f(): return\n", "def f(): return None\n"),
        ("x = a - (b - c)\n", "x = a - b - c\n"),
        ("f(a, *b)\n", "f(*b, a)\n"),
        ("x = {**a, 'b': 1}\n", "x = {'b': 1, **a}\n"),
        ("s = f'{x!r}'\n", "s = f'{x!s}'\n"),
        ("x = (\n", "x = ( \n"),
    ],
)
def test_meaning_counts(a: str, b: str) -> None:
    """What could change a result changes the identity; what does not parse counts byte by byte."""
    assert digest(a) != digest(b)


def test_paths_and_settings_count_but_order_does_not() -> None:
    """The same text under another name, or under other settings, is another experiment."""
    one, two = {"a.py": "x = 1\n", "b.txt": "hi\n"}, {"b.txt": "hi\n", "a.py": "x = 1\n"}
    assert source_hash(one, "s") == source_hash(two, "s")
    assert source_hash(one, "s") != source_hash(one, "t")
    assert source_hash({"a.py": "x = 1\n"}, "s") != source_hash({"c.py": "x = 1\n"}, "s")
    assert experiment_id("nl1:0123456789abcdef") == "e0123456789ab"


@pytest.mark.parametrize("python", OTHERS, ids=lambda path: path.parts[-3])
def test_every_python_agrees(python: Path) -> None:
    """The hash is the same under every Python that nightlab supports."""
    if not python.exists():
        pytest.skip(f"{python} is not installed here")
    texts = {
        "sample.py": SAMPLE,
        **{str(path.relative_to(ROOT)): path.read_text() for path in (ROOT / "src").rglob("*.py")},
    }
    code = (
        "import json, sys; sys.path.insert(0, 'src'); from nightlab.search.source import source_hash\n"
        "print(json.dumps({p: source_hash({p: t}, '') for p, t in json.load(sys.stdin).items()}))"
    )
    command, text = [str(python), "-c", code], json.dumps(texts)
    done = subprocess.run(command, cwd=ROOT, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {path: source_hash({path: text}, "") for path, text in texts.items()}


def test_deep_nesting_has_a_hash() -> None:
    """Generated source deeper than Python's own stack is hashed, not refused."""
    assert digest("x = " + "-" * 3000 + "1\n").startswith("nl1:")


LINES = st.lists(st.sampled_from(["a", "b", "", " c", "d\x0ce", "\\ No newline", "-- x", "é\r"]), max_size=8)
TEXTS = st.builds(lambda lines, end: "\n".join(lines) + end, LINES, st.sampled_from(["", "\n"]))
FILES = st.dictionaries(st.sampled_from(["a.py", "d/b c.py", 'q"é.py']), TEXTS, max_size=3)


@settings(max_examples=25, deadline=None)
@given(old=FILES, new=FILES)
def test_git_applies_the_patch(
    tmp_path_factory: pytest.TempPathFactory, old: dict[str, str], new: dict[str, str]
) -> None:
    """`git apply` turns the old files into the new ones byte for byte: new, deleted, empty, oddly named, unended."""
    folder = tmp_path_factory.mktemp("patch")
    for path, text in old.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_bytes(text.encode())
    difference = patch(old, new)
    if difference:
        command = ["git", "apply", "--whitespace=nowarn", "-"]
        done = subprocess.run(command, cwd=folder, input=difference.encode(), capture_output=True, check=False)
        assert done.returncode == 0, (done.stderr.decode(), difference)
    found = {str(p.relative_to(folder)): p.read_bytes().decode() for p in folder.rglob("*") if p.is_file()}
    assert found == new


def test_no_difference_no_patch() -> None:
    """Equal files have an empty patch."""
    assert patch({"a.py": "x\n"}, {"a.py": "x\n"}) == ""


def test_shadowed_modules_are_named() -> None:
    """Modules that a script beside them would import instead of Python's own are found; those in packages are not."""
    paths = ["random.py", "train.py", "pkg/__init__.py", "pkg/types.py", "scripts/json.py", "queue/__init__.py"]
    assert shadowed(paths) == ("queue/__init__.py", "random.py", "scripts/json.py")
    assert "random" in sys.stdlib_module_names
