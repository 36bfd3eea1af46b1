"""An endpoint that answers by a script: for tests, and for trying out a night without a model.

It speaks Chat Completions over HTTP on loopback, well or as badly as it is told to.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

PIECE = 200  # characters of an answer that go out at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Say:
    """A good answer, streamed."""

    text: str
    usage: tuple[int, int] | None = (1000, 200)  # tokens in and out; None: it does not count
    thought: str = ""  # sent apart, as reasoning models do
    finish: str = "stop"


@dataclass(frozen=True, slots=True)
class SayWhole:
    """A good answer of a server that does not stream: one JSON object, over several lines."""

    text: str


@dataclass(frozen=True, slots=True)
class Truncated:
    """A stream that breaks off within an event."""

    text: str


@dataclass(frozen=True, slots=True)
class Garbage:
    """Bytes that are no answer."""

    body: bytes = b"<html>\x00\xff\x1b[31mBad Gateway</html>"


@dataclass(frozen=True, slots=True)
class Refuse:
    """An HTTP error."""

    status: int
    retry_after: str = ""
    message: str = "no"


@dataclass(frozen=True, slots=True)
class Endless:
    """A stream without an end: words for ever, or with `in_lines` off one line for ever."""

    in_lines: bool = True


@dataclass(frozen=True, slots=True)
class Silent:
    """Takes the request and says nothing until the client goes away."""


Deed = Say | SayWhole | Truncated | Garbage | Refuse | Endless | Silent


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What the endpoint was asked."""

    path: str
    key: str  # of the authorization header
    body: Mapping[str, object]

    @property
    def last(self) -> str:
        """The last message."""
        messages = self.body["messages"]
        assert isinstance(messages, list)
        return str(messages[-1]["content"])

    @property
    def everything(self) -> str:
        """All messages."""
        messages = self.body["messages"]
        assert isinstance(messages, list)
        return "\n\n".join(str(message["content"]) for message in messages)


class ScriptedEndpoint:
    """A server whose answers are decided by a function of what it is asked.

    Args:
        answer: called in the server's thread with each request, in their order.
    """

    def __init__(self, answer: Callable[[Request], Deed]) -> None:
        self.requests: list[Request] = []
        self._closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler(answer))
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)

    @property
    def base_url(self) -> str:
        """To be named as `model.base_url`."""
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self, answer: Callable[[Request], Deed]) -> type[BaseHTTPRequestHandler]:
        requests, closing = self.requests, self._closing

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                key = (self.headers["Authorization"] or "").removeprefix("Bearer ")
                request = Request(path=self.path, key=key, body=body)
                requests.append(request)
                with suppress(OSError):  # the client has gone, which some deeds wait for
                    _do(self, answer(request), closing)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Nothing is printed."""

        return Handler


def _do(http: BaseHTTPRequestHandler, deed: Deed, closing: threading.Event) -> None:
    if isinstance(deed, Refuse):
        body = json.dumps({"error": {"message": deed.message}}).encode()
        extra = {"Retry-After": deed.retry_after} if deed.retry_after else {}
        _begin(http, deed.status, "application/json", extra)
        http.wfile.write(body)
    elif isinstance(deed, Silent):
        closing.wait()
    elif isinstance(deed, Garbage):
        _begin(http, 200, "text/html")
        http.wfile.write(deed.body)
    elif isinstance(deed, SayWhole):
        _begin(http, 200, "application/json")
        message = {"role": "assistant", "content": deed.text}
        whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        http.wfile.write(json.dumps(whole, indent=2).encode())
    else:
        _begin(http, 200, "text/event-stream")
        _stream(http, deed, closing)


def _stream(http: BaseHTTPRequestHandler, deed: Say | Truncated | Endless, closing: threading.Event) -> None:
    if isinstance(deed, Endless):
        while not closing.is_set():
            http.wfile.write(_event("word " * 200) if deed.in_lines else b"data: " + b"x" * 4096)
        return
    if isinstance(deed, Say) and deed.thought:
        http.wfile.write(_event("", thought=deed.thought))
    for start in range(0, len(deed.text), PIECE):
        http.wfile.write(_event(deed.text[start : start + PIECE]))
    if isinstance(deed, Truncated):
        http.wfile.write(_event("and so on")[:-20])
        return
    http.wfile.write(_event("", finish=deed.finish))
    if deed.usage is not None:
        used = {"prompt_tokens": deed.usage[0], "completion_tokens": deed.usage[1]}
        http.wfile.write(b"data: " + json.dumps({"choices": [], "usage": used}).encode() + b"\n\n")
    http.wfile.write(b"data: [DONE]\n\n")


def _begin(http: BaseHTTPRequestHandler, status: int, kind: str, extra: Mapping[str, str] | None = None) -> None:
    http.send_response(status)
    for name, value in {"Content-Type": kind, "Connection": "close", **(extra or {})}.items():
        http.send_header(name, value)
    http.end_headers()


def _event(text: str, *, thought: str = "", finish: str | None = None) -> bytes:
    delta = {"content": text} | ({"reasoning_content": thought} if thought else {})
    return (
        b"data: " + json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode() + b"\n\n"
    )
