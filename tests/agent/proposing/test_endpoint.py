"""One call of a model: what a good answer brings, and that no server can make it long, large or loud."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from nightlab.agent.proposing.endpoint import Call, Endpoint, Reply
from nightlab.agent.proposing.fake import (
    Deed,
    Endless,
    Garbage,
    Refuse,
    Say,
    SayWhole,
    ScriptedEndpoint,
    Silent,
    Truncated,
)
from nightlab.config import ModelSettings

ASKED = ({"role": "user", "content": "x" * 400},)
KEY = "sk-very-secret-1234"


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither key nor address of whoever runs the tests."""
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)


def asked(deed: Deed, settings: ModelSettings | None = None) -> tuple[Reply, ScriptedEndpoint]:
    """What a call brings from an endpoint that does this."""
    with ScriptedEndpoint(lambda _: deed) as server:
        chosen = replace(settings or ModelSettings(timeout_seconds=20.0), base_url=server.base_url)
        call = Call(Endpoint(model="small", settings=chosen), ASKED)
        while not call.is_over():
            time.sleep(0.005)
        return call.reply, server


def test_a_good_answer() -> None:
    """Text, and the tokens as the server counts them; the model and a bound on the answer are asked for, no more."""
    reply, server = asked(Say(text="one\ntwo " * 200, thought="hm " * 50))
    assert (reply.text, reply.failure) == ("one\ntwo " * 200, "")
    assert (reply.tokens_in, reply.tokens_out, reply.estimated) == (1000, 200, False)
    (request,) = server.requests
    assert request.path == "/v1/chat/completions"
    assert set(request.body) == {"model", "messages", "stream", "stream_options", "max_tokens"}
    assert (request.body["model"], request.body["max_tokens"]) == ("small", ModelSettings().answer_tokens)


def test_tokens_are_estimated_where_nobody_counts() -> None:
    """A server without usage costs four letters a token, thoughts included, and the reply says that it is reckoned."""
    reply, _ = asked(Say(text="y" * 40, thought="z" * 80, usage=None))
    assert (reply.tokens_in, reply.tokens_out, reply.estimated) == (100, 30, True)


def test_a_server_that_does_not_stream() -> None:
    """One JSON object over several lines is an answer too."""
    assert asked(SayWhole("whole"))[0].text == "whole"


@pytest.mark.parametrize(
    ("deed", "failure", "again"),
    [
        (Garbage(), "it sent no answer that can be read: <html>", False),
        (Garbage(b""), "it sent no answer", False),
        (Truncated("a" * 500), "broke off", True),
        (Say(text=""), "it answered nothing", False),
        (Say(text="  \n "), "it answered nothing", False),
        (Refuse(429, "7"), "HTTP 429: no", True),
        (Refuse(500), "HTTP 500: no", True),
        (Refuse(401), "HTTP 401: no", False),
        (Refuse(404, message="model 'small' not found"), "HTTP 404: model 'small' not found", False),
        (Endless(), "had not ended after", False),
        (Endless(in_lines=False), "had not ended after", False),
    ],
)
def test_what_goes_wrong_is_said_in_one_line(deed: Deed, failure: str, again: bool) -> None:
    """Every failure has its words, is one line without control characters, and says whether to ask again."""
    reply, _ = asked(deed, ModelSettings(timeout_seconds=20.0, answer_tokens=256))
    assert failure in reply.failure
    assert (reply.text, reply.again) == ("", again)
    assert reply.failure.isprintable()


def test_what_was_heard_of_an_endless_answer_is_paid_for() -> None:
    """Money that is gone counts, though nothing came of it."""
    reply, _ = asked(Endless(), ModelSettings(timeout_seconds=20.0, answer_tokens=256))
    assert reply.estimated
    assert reply.tokens_out > 256


def test_what_was_sent_is_paid_for_unless_it_was_refused() -> None:
    """A server that keeps silent may charge all the same, and a cap must hold; a refusal costs nothing."""
    assert asked(Silent(), ModelSettings(timeout_seconds=0.5))[0].tokens_in == 100
    assert asked(Truncated("a"))[0].tokens_in == 100
    assert asked(Refuse(500))[0].tokens_in == 0


def test_a_retry_after_is_heard() -> None:
    """Seconds are taken as they are, anything else as nothing."""
    assert asked(Refuse(429, "7"))[0].wait_s == 7.0
    assert asked(Refuse(429, "Wed, 21 Oct 2026 07:28:00 GMT"))[0].wait_s is None
    assert asked(Refuse(429, "nan"))[0].wait_s is None


@pytest.mark.parametrize("deed", [Silent(), Endless()])
def test_time_is_bounded(deed: Deed) -> None:
    """A server that says nothing, or never stops, is left at the limit, whatever it does."""
    reply, _ = asked(deed, ModelSettings(timeout_seconds=0.5, answer_tokens=10_000_000))
    assert "after 0.5 seconds" in reply.failure
    assert reply.again


def test_nobody_there() -> None:
    """A refused connection is a failure like any other, and names the address."""
    with ScriptedEndpoint(lambda _: Silent()) as server:
        address = server.base_url
    call = Call(Endpoint(model="small", settings=ModelSettings(base_url=address)), ASKED)
    while not call.is_over():
        time.sleep(0.005)
    assert f"{address} cannot be reached" in call.reply.failure
    assert call.reply.again


def test_a_call_can_be_given_up() -> None:
    """Cancelled, it is over at once, and no thread outlives its limit though the server still holds the line."""
    before = set(threading.enumerate())
    with ScriptedEndpoint(lambda _: Silent()) as server:
        settings = ModelSettings(base_url=server.base_url, timeout_seconds=2.0)
        call = Call(Endpoint(model="small", settings=settings), ASKED)
        while not server.requests:
            time.sleep(0.005)
        call.cancel()
        assert call.is_over()
        assert call.reply.failure == "it was cut off"
        for thread in set(threading.enumerate()) - before:
            if thread.name == "nightlab model call":
                thread.join(10.0)
                assert not thread.is_alive()


# --- keys and addresses -----------------------------------------------------------------------------------------


def test_no_key_is_needed_and_none_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A local server without keys is sent a word that is none; with one, the variable's value goes into the header."""
    assert asked(Say(text="a"))[1].requests[0].key == "none"
    monkeypatch.setenv("OTHER_KEY", KEY)
    assert asked(Say(text="a"), ModelSettings(key_variable="OTHER_KEY"))[1].requests[0].key == KEY


def test_a_server_that_repeats_the_key_is_not_believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the key nor a password in the address ever stands in a failure."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert "***" in asked(Refuse(401, message=f"bad key {KEY}"))[0].failure
    assert KEY not in asked(Refuse(401, message=f"bad key {KEY}"))[0].failure
    assert KEY not in asked(Garbage(f"key {KEY}".encode()))[0].failure
    endpoint = Endpoint(model="m", settings=ModelSettings(base_url="http://ann:hunter2@127.0.0.1:1/v1"))
    assert endpoint.shown() == "http://127.0.0.1:1/v1"
    assert endpoint.scrubbed("to http://ann:hunter2@x") == "to http://ann:***@x"


def test_the_lab_s_address_comes_before_the_environment_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """nightlab.toml, then OPENAI_BASE_URL, then OpenAI's own."""
    assert Endpoint(model="m", settings=ModelSettings()).base_url == "https://api.openai.com/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
    assert Endpoint(model="m", settings=ModelSettings()).base_url == "http://127.0.0.1:1/v1"
    assert Endpoint(model="m", settings=ModelSettings(base_url="http://127.0.0.1:2")).base_url == "http://127.0.0.1:2"


def test_a_local_server_is_asked_past_any_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says of proxies does not hold for this machine itself."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert asked(Say(text="here"))[0].text == "here"
