"""One call of a model behind an endpoint that speaks Chat Completions: bounded in time and length whatever it sends.

The official SDK makes the request; what comes back is read here piece by piece, because an answer may never end. Plain
text is asked for and nothing else, so that small local servers do. The key is read when it is needed, goes into the
header, and is taken out of every text that leaves this module.
"""

from __future__ import annotations

import json
import math
import os
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit, urlunsplit

from nightlab.config import ModelSettings
from nightlab.report.text import plain

if TYPE_CHECKING:
    from openai import OpenAI
    from openai.types.chat import ChatCompletionMessageParam

LETTERS = 4.0  # characters of a token, where the server does not count (English text and code: 3 to 4.5)
LONGEST_LINE = 1 << 20  # bytes of one event of a stream: a whole answer that comes in one piece fits
SHARE = 24  # bytes of stream for each token that may be answered: an event's wrapping is some 200 bytes for 1 to 10
LATE_S = 1.0  # beyond its time, before a call is given up that its own thread has not ended
CONNECT_S = 30.0  # at most, for a connection to be made
OWN = "https://api.openai.com/v1"
_LOOPBACK = ("127.", "localhost", "[::1]", "::1")

Message = Mapping[str, str]
"""One message of a conversation: role and content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What a call brought."""

    text: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    estimated: bool = False
    seconds: float = 0.0
    failure: str = ""  # one line; "" where there is an answer
    again: bool = False  # whether the same call may well succeed later: a busy or broken server
    wait_s: float | None = None  # how long the server asked to wait before that


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where a model is asked."""

    model: str
    settings: ModelSettings

    @property
    def base_url(self) -> str:
        """The address: the lab's own, else the environment's, else OpenAI's."""
        return self.settings.base_url or os.environ.get("OPENAI_BASE_URL", "") or OWN

    @property
    def key(self) -> str:
        """The key; "" where there is none."""
        return os.environ.get(self.settings.key_variable, "").strip()

    def scrubbed(self, text: str, limit: int = 300) -> str:
        """One line of a message from outside, without the key and without what an address may hold of one."""
        parts = urlsplit(self.base_url)
        hidden = [self.key, parts.password or "", parts.username or ""]
        for secret in (each for each in hidden if len(each) > 3):
            text = text.replace(secret, "***")
        return plain(text, limit)

    def shown(self) -> str:
        """The address without a user's name or password."""
        parts = urlsplit(self.base_url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class Call:
    """A call under way, in a thread of its own (a `Work`).

    One that is given up is over at once; its thread, which may wait for a silent server, ends at the call's limit.
    """

    def __init__(self, endpoint: Endpoint, messages: Sequence[Message]) -> None:
        self._endpoint, self._messages = endpoint, messages
        self._began = time.monotonic()
        self._until = self._began + endpoint.settings.timeout_seconds
        self._client: OpenAI | None = None
        self._reply: Reply | None = None
        self._lock = threading.Lock()
        self._heard = _Heard(endpoint.settings.answer_tokens)
        self._is_charged = False  # whether somebody may send a bill for what was asked
        self._alarm = threading.Timer(endpoint.settings.timeout_seconds + LATE_S, self._expire)
        self._thread = threading.Thread(target=self._work, name="nightlab model call", daemon=True)
        self._alarm.daemon = True
        self._alarm.start()
        self._thread.start()

    def is_over(self) -> bool:
        """Whether there is a reply, or its time is up."""
        return self._reply is not None

    def cancel(self) -> None:
        """Give it up: the connection is closed, and `reply` says what has been paid for so far."""
        self._settle(self._failed("it was cut off"))

    @property
    def reply(self) -> Reply:
        """What it brought; only once it is over."""
        assert self._reply is not None
        return self._reply

    def _settle(self, reply: Reply) -> None:
        """The first reply holds; then nobody listens any more."""
        with self._lock:
            self._reply = self._reply or reply
        self._alarm.cancel()
        if self._client is not None:
            with suppress(Exception):  # another thread may be reading from it: that is the point
                self._client.close()

    def _expire(self) -> None:
        """Its time is up, and the thread is held by the server."""
        self._settle(self._failed(self._late(), again=True))

    # --- in the thread ------------------------------------------------------------------------------------------

    def _work(self) -> None:
        try:
            reply = self._ask()
        except Exception as exc:  # whatever an SDK, a proxy or a server comes up with ends no night
            reply = self._answered() if self._heard.has_ended else self._refused(exc)
        self._settle(reply)

    def _ask(self) -> Reply:
        settings = self._endpoint.settings
        self._client = client = _client(self._endpoint)
        # Reasoning models of OpenAI's refuse the older name, and most local servers know no other.
        is_own = urlsplit(self._endpoint.base_url).hostname == urlsplit(OWN).hostname
        self._is_charged = True
        with client.chat.completions.with_streaming_response.create(
            model=self._endpoint.model,
            messages=cast("list[ChatCompletionMessageParam]", [dict(message) for message in self._messages]),
            stream=True,
            stream_options={"include_usage": True},
            extra_body={"max_completion_tokens" if is_own else "max_tokens": settings.answer_tokens},
        ) as response:
            for data in response.iter_bytes():
                self._heard.feed(data)
                is_late = time.monotonic() > self._until
                if self._heard.is_complete or self._heard.is_too_long or is_late or self._reply is not None:
                    if is_late and not self._heard.has_ended:
                        return self._failed(self._late(), again=True)
                    break
        self._heard.finish()
        return self._answered()

    def _answered(self) -> Reply:
        heard = self._heard
        if heard.is_too_long:
            return self._failed(f"its answer had not ended after {heard.size:,} bytes and was cut off")
        if heard.error:
            return self._failed(f"the server said: {self._endpoint.scrubbed(heard.error)}", again=True)
        if not heard.text.strip():
            what = "it answered nothing" if heard.events else f"it sent no answer that can be read: {heard.start}"
            return self._failed(self._endpoint.scrubbed(what))
        if not heard.has_ended:
            return self._failed("its answer broke off before it ended", again=True)
        return self._counted(text=heard.text)

    # --- replies ------------------------------------------------------------------------------------------------

    def _late(self) -> str:
        return f"it had not answered after {self._endpoint.settings.timeout_seconds:g} seconds"

    def _failed(self, failure: str, *, again: bool = False, wait_s: float | None = None) -> Reply:
        return self._counted(failure=failure, again=again, wait_s=wait_s)

    def _counted(self, *, text: str = "", failure: str = "", again: bool = False, wait_s: float | None = None) -> Reply:
        """A reply with what it cost: as the server counts, else by the length of what was sent and heard.

        What was sent counts also where no answer came in time, for a server may charge it; not where it was refused.
        """
        heard = self._heard
        sent = math.ceil(sum(len(message["content"]) for message in self._messages) / LETTERS)
        told = heard.tokens_in is not None and heard.tokens_out is not None
        return Reply(
            text=text,
            tokens_in=heard.tokens_in if heard.tokens_in is not None else sent if self._is_charged else 0,
            tokens_out=heard.tokens_out if heard.tokens_out is not None else math.ceil(heard.letters / LETTERS),
            estimated=not told,
            seconds=time.monotonic() - self._began,
            failure=failure,
            again=again,
            wait_s=wait_s,
        )

    def _refused(self, exc: Exception) -> Reply:
        """What an exception means."""
        import openai

        if isinstance(exc, openai.APIStatusError | openai.APIConnectionError):
            self._is_charged = isinstance(exc, openai.APITimeoutError) or self._heard.size > 0
        scrubbed = self._endpoint.scrubbed
        if isinstance(exc, openai.APIStatusError):
            code = exc.status_code
            with suppress(Exception):
                exc.response.read()
            detail = scrubbed(_detail(exc), 200)
            text = f"HTTP {code}" + (f": {detail}" if detail else "")
            return self._failed(text, again=code in (408, 409, 425, 429) or code >= 500, wait_s=_asked_to_wait(exc))
        if isinstance(exc, openai.APITimeoutError):
            return self._failed(self._late(), again=True)
        if isinstance(exc, openai.APIConnectionError):
            cause = exc.__cause__ or exc
            return self._failed(scrubbed(f"{self._endpoint.shown()} cannot be reached: {cause}"), again=True)
        return self._failed(scrubbed(f"{type(exc).__name__}: {exc}"), again=True)


def _client(endpoint: Endpoint) -> OpenAI:
    from openai import DefaultHttpxClient, OpenAI, Timeout

    limit = endpoint.settings.timeout_seconds
    # A server on this machine is never behind a proxy, whatever the environment says of others.
    host = (urlsplit(endpoint.base_url).hostname or "").lower()
    web = DefaultHttpxClient(trust_env=False) if host.startswith(_LOOPBACK) else None
    return OpenAI(
        api_key=endpoint.key or "none",  # local servers ask for none, and the SDK for any
        base_url=endpoint.base_url,
        timeout=Timeout(limit, connect=min(limit, CONNECT_S)),
        max_retries=0,  # each attempt is in the ledger, so that they are ours to make
        http_client=web,
    )


def _detail(exc: object) -> str:
    """What the server says of its refusal."""
    body = getattr(exc, "body", None)
    if isinstance(body, Mapping):
        return str(body.get("message") or body)
    response = getattr(exc, "response", None)
    return str(body or getattr(response, "text", "") or "")[:2000]


def _asked_to_wait(exc: object) -> float | None:
    """Seconds that a Retry-After header asks for; a date in it is not worth a parser."""
    headers = getattr(getattr(exc, "response", None), "headers", {})
    with suppress(ValueError, TypeError):
        seconds = float(headers.get("retry-after", ""))
        return seconds if math.isfinite(seconds) and seconds >= 0 else None
    return None


# --- reading ----------------------------------------------------------------------------------------------------


class _Heard:
    """What has come of an answer so far: a stream of events, or one JSON object from a server that does not stream.

    Args:
        tokens: the longest answer that was asked for.
    """

    def __init__(self, tokens: int) -> None:
        self.text = ""
        self.letters = 0  # of the answer and of thoughts that were sent apart from it
        self.events = 0
        self.size = 0  # bytes
        self.tokens_in: int | None = None
        self.tokens_out: int | None = None
        self.error = ""
        self.is_too_long = False  # beyond anything that was asked for
        self.is_complete = False  # the server said that it is over
        self.has_ended = False  # the model had come to its end, though the server may not have
        self._longest = LONGEST_LINE + tokens * SHARE * 16
        self._letters = tokens * 16  # far beyond any token's length
        self._rest = b""
        self._body = b""  # while nothing in it was an event: an object over several lines, or no answer at all

    @property
    def start(self) -> str:
        """Of what was sent, for a server that sends no answer."""
        return self._body[:200].decode("utf-8", "replace")

    def feed(self, data: bytes) -> None:
        """Take in the next piece."""
        self.size += len(data)
        if not self.events and len(self._body) < LONGEST_LINE:
            self._body += data
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._line(line.strip())
        if self.size > self._longest or len(self._rest) > LONGEST_LINE or self.letters > self._letters:
            self.is_too_long = True

    def finish(self) -> None:
        """The stream is over."""
        self._line(self._rest.strip())
        self._rest = b""
        if not self.events:
            with suppress(ValueError, RecursionError):
                self._event(json.loads(self._body))

    def _line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            line = line[5:].strip()
        if line == b"[DONE]":
            self.is_complete = self.has_ended = True
        elif line.startswith(b"{"):
            with suppress(ValueError, RecursionError):
                self._event(json.loads(line))

    def _event(self, event: object) -> None:
        if not isinstance(event, dict):
            return
        self.events += 1
        usage = event.get("usage")
        if isinstance(usage, dict):
            self.tokens_in = _count(usage.get("prompt_tokens"), self.tokens_in)
            self.tokens_out = _count(usage.get("completion_tokens"), self.tokens_out)
        if event.get("error"):
            error = event["error"]
            self.error = str(error.get("message") or error) if isinstance(error, dict) else str(error)
        for choice in _dicts(event.get("choices"))[:1]:
            part = choice.get("delta") or choice.get("message")
            if isinstance(part, dict):
                said, thought = part.get("content"), part.get("reasoning_content") or part.get("reasoning")
                self.text += said if isinstance(said, str) else ""
                self.letters += sum(len(each) for each in (said, thought) if isinstance(each, str))
            self.has_ended = self.has_ended or isinstance(choice.get("finish_reason"), str)


def _dicts(value: object) -> list[dict[str, object]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _count(value: object, before: int | None) -> int | None:
    """A count of tokens, if it is one that can be believed."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and 0 <= value < 2**40 else before  # type: ignore[operator,return-value]
