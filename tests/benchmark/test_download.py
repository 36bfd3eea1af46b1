"""Fetching shards: resumed, verified, and honest about an unreachable network. The server is real, on loopback."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import ModuleType

import pyarrow as pa
import pytest
from pyarrow import parquet

from tests.benchmark.fresh import ROOT


class Shop:
    """A file server with a hub's manners: ranges, and the SHA-256 as an entity tag."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.digest = hashlib.sha256(content).hexdigest()
        self.ranges: list[str | None] = []
        shop = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                wanted = self.headers["Range"]
                shop.ranges.append(wanted)
                start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
                body = shop.content[start:]
                self.send_response(206 if wanted else 200)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", f'"{shop.digest}"')
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Stay silent."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def shop(tmp_path: Path, environment: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Serves one parquet shard of three documents."""
    parquet.write_table(pa.table({"text": ["one", "two", "three"]}), tmp_path / "source.parquet")
    shop = Shop((tmp_path / "source.parquet").read_bytes())
    environment.setenv("AUTORESEARCH_DATA_URL", shop.url)
    yield shop
    shop.server.shutdown()
    shop.server.server_close()


def test_download_verifies_and_keeps(shop: Shop, prepare: ModuleType, tmp_path: Path) -> None:
    """A shard arrives whole, its documents are readable, and a second call fetches nothing."""
    path = prepare.download("shard_00000.parquet", tmp_path / "data")
    assert path.read_bytes() == shop.content
    assert [text for group in prepare.read_shard(path) for text in group] == ["one", "two", "three"]
    prepare.download("shard_00000.parquet", tmp_path / "data")
    assert len(shop.ranges) == 1


def test_download_resumes(shop: Shop, prepare: ModuleType, tmp_path: Path) -> None:
    """What an interrupted download left is completed by a range request, not fetched again."""
    (tmp_path / "shard_00001.parquet.part").write_bytes(shop.content[:100])
    path = prepare.download("shard_00001.parquet", tmp_path)
    assert shop.ranges == ["bytes=100-"]
    assert path.read_bytes() == shop.content
    assert not (tmp_path / "shard_00001.parquet.part").exists()


def test_bad_leftover_is_fetched_again(shop: Shop, prepare: ModuleType, tmp_path: Path) -> None:
    """A leftover with wrong bytes fails its SHA-256 and is replaced by a fresh, whole download."""
    (tmp_path / "shard_00002.parquet.part").write_bytes(b"x" * 100)
    assert prepare.download("shard_00002.parquet", tmp_path).read_bytes() == shop.content
    assert shop.ranges == ["bytes=100-", None]


def test_wrong_bytes_never_become_a_shard(shop: Shop, prepare: ModuleType, tmp_path: Path) -> None:
    """If the server's bytes never match its digest, the error says so and neither file nor leftover remains."""
    shop.digest = "0" * 64
    with pytest.raises(prepare.BenchmarkError, match="the server announced 0000"):
        prepare.download("shard_00003.parquet", tmp_path, attempts=1)
    assert not list(tmp_path.glob("shard_*"))


def test_unreadable_parquet_is_refused(shop: Shop, prepare: ModuleType, tmp_path: Path) -> None:
    """A complete page of something else is not a shard."""
    shop.content, shop.digest = b"<html>sorry</html>", "not a digest"
    with pytest.raises(prepare.BenchmarkError, match="not a readable parquet file"):
        prepare.download("shard_00004.parquet", tmp_path, attempts=1)


def test_no_network_is_a_clear_error(tmp_path: Path) -> None:
    """`prepare.py` without a reachable server exits 1, names address, folder and next step, and writes no shard."""
    environment = {**os.environ, "HOME": str(tmp_path), "AUTORESEARCH_PROFILE": "cuda"}
    environment["AUTORESEARCH_DATA_URL"] = "http://127.0.0.1:9"  # nothing listens on the discard port
    command = [sys.executable, str(ROOT / "prepare.py"), "--num-shards", "1"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    for part in ("http://127.0.0.1:9/shard_", str(tmp_path / ".cache/autoresearch/data"), "uv run prepare.py"):
        assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / ".cache").rglob("shard_*"))


def test_gpu_run_without_data_says_what_to_do(prepare: ModuleType, tmp_path: Path) -> None:
    """The GPU profile never downloads by itself: it names `uv run prepare.py`."""
    with pytest.raises(prepare.BenchmarkError, match=r"uv run prepare\.py"):
        prepare.load_cuda(tmp_path)
