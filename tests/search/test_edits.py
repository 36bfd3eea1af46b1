"""Edits are data: the applicator makes them exactly or refuses, and those we ship train."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nightlab.errors import EditError
from nightlab.search.catalogue import CATALOGUE
from nightlab.search.edits import Edit, Rewrite, apply_edit
from nightlab.search.source import parse, source_hash

ROOT = Path(__file__).parents[2]
SHIPPED = {"train.py": (ROOT / "train.py").read_text()}


def rewrite(text: str, *rewrites: Rewrite) -> str:
    return apply_edit({"t.py": text}, Edit(name="e", family="f", hypothesis="h", rewrites=rewrites))["t.py"]


@pytest.mark.parametrize(
    ("before", "match", "replacement", "after"),
    [
        ("y = F.relu( x+1 ).square()  # c\n", "F.relu($x).square()", "F.gelu($x)", "y = F.gelu(x + 1)  # c\n"),
        ("y = 2 * f(x)\n", "f($x)", "$x + 1", "y = 2 * (x + 1)\n"),
        ("y = f(x)\n", "f($x)", "$x + 1", "y = x + 1\n"),
        ("y = g(a, b, k=1, j=2)\n", "g($x, *$r, j=2, **$k)", "h(*$r, $x, **$k)", "y = h(b, a, k=1)\n"),
        ("y = d(a, a) + d(a, b)\n", "d($x, $x)", "$x", "y = a + d(a, b)\n"),
        ("if a:\n    x = 1\n    y = 2  # gone\n", "y = 2", "", "if a:\n    x = 1\n"),
        ("if a:\n    y = 2\n", "y = 2", "", "if a:\n    pass\n"),
        ("if a:\n    y = 2\n", "y = $v", "y = $v\nz = $v", "if a:\n    y = 2\n    z = 2\n"),
        ("x = 1; y = 2\n", "y = 2", "y = 3", "x = 1; y = 3\n"),
        ("s = 'a'\n", 's = "a"', "s = 'b'", "s = 'b'\n"),
    ],
)  # fmt: skip
def test_rewrites_exactly(before: str, match: str, replacement: str, after: str) -> None:
    """Holes catch code, brackets come where they are needed, and everything else keeps its form."""
    assert rewrite(before, Rewrite(match, replacement)) == after


@pytest.mark.parametrize(
    ("text", "edit", "reason"),
    [
        ("x = 1\n", Rewrite("y = $v", "y = 2"), "occurs 0 times"),
        ("y = 1\ny = 1\n", Rewrite("y = $v", "y = 2"), "occurs 2 times"),
        ("y = 1\n", Rewrite("y = $v", "y = $v"), "change nothing"),
        ("y = 1\n", Rewrite("y = $v", "y = $w"), "hole"),
        ("y = (\n", Rewrite("y = $v", "y = 2"), "does not parse"),
        ("class A:\n    y = 1\n", Rewrite("y = $v", "y = 2", where="B"), "in B"),
    ],
)
def test_refuses_with_a_reason(text: str, edit: Rewrite, reason: str) -> None:
    """An edit that does not fit, fits too often or changes nothing says so and leaves the source alone."""
    with pytest.raises(EditError, match=reason):
        rewrite(text, edit)


def test_all_rewrites_or_none() -> None:
    """Of an edit in several pieces, one that does not fit refuses the whole."""
    with pytest.raises(EditError):
        rewrite("a = 1\n", Rewrite("a = $v", "a = 2"), Rewrite("b = $v", "b = 2"))


def test_finds_its_scope() -> None:
    """`where` confines a match to one function of one class."""
    text = "class A:\n    def f(self): return g(1)\nclass B:\n    def f(self): return g(1)\n"
    assert rewrite(text, Rewrite("g($x)", "h($x)", where="B.f")) == text[:-5] + "h(1)\n"


@pytest.mark.parametrize("edit", CATALOGUE, ids=lambda edit: edit.name)
def test_shipped_edits_apply_to_the_shipped_benchmark(edit: Edit) -> None:
    """Each entry fits the train.py beside it, makes another experiment of it, and the result parses."""
    after = apply_edit(SHIPPED, edit)
    assert source_hash(after, "") != source_hash(SHIPPED, "")
    assert parse(after["train.py"]) is not None
    assert edit.hypothesis.endswith(".")
    assert edit.title


def test_names_are_unique() -> None:
    """An entry is known to the ledger by its name."""
    assert len({edit.name for edit in CATALOGUE}) == len(CATALOGUE) >= 10


STEPS = """
import sys, types, torch
torch.set_num_threads(1)
failed = []
for path in sys.argv[1:]:
    module = types.ModuleType("train_under_test")
    module.__file__ = path
    sys.modules["train_under_test"] = module
    try:
        exec(compile(open(path).read(), path, "exec"), module.__dict__)
        model = module.build_model()
        optimiser = module.Optimiser(model)
        generator = torch.Generator().manual_seed(0)
        tokens = torch.randint(0, 100, (2, module.SEQUENCE_LENGTH + 1), generator=generator)
        losses = []
        for step in range(4):
            with module.autocast():
                loss = model(tokens[:, :-1], tokens[:, 1:])
            loss.backward()
            optimiser.step(step, 0.2 * step)
            losses.append(float(loss))
        assert losses[-1] < losses[0], losses
        model.eval()
        with torch.no_grad(), module.autocast():
            assert model(tokens[:, :-1], tokens[:, 1:], reduction="none").numel() == tokens[:, 1:].numel()
    except Exception as error:
        failed.append(f"{path}: {type(error).__name__}: {error}")
print("\\n".join(failed))
sys.exit(bool(failed))
"""


def test_shipped_edits_train(tmp_path: Path) -> None:
    """Each entry's train.py builds its model, learns from four steps on the CPU, and can be judged."""
    pytest.importorskip("torch", reason="the benchmark's dependencies are not installed")
    for edit in CATALOGUE:
        (tmp_path / f"{edit.name}.py").write_text(apply_edit(SHIPPED, edit)["train.py"])
    environment = {**os.environ, "AUTORESEARCH_PROFILE": "demo", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", STEPS, *sorted(map(str, tmp_path.glob("*.py")))]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
