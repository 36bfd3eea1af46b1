"""The scripted model is understood by a client that we did not write, in the formats that this client speaks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import openai
import pytest

from tests.e2e.model_server import NOTHING_LEFT, Turn, read_requests, serve

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionToolParam, ChatCompletionUserMessageParam
    from openai.types.responses import FunctionToolParam
    from openai.types.responses.response_input_param import FunctionCallOutput

SHELL: FunctionToolParam = {
    "type": "function",
    "name": "exec_command",
    "strict": False,
    "parameters": {"type": "object", "properties": {"cmd": {"type": "string"}}},
}
BASH: ChatCompletionToolParam = {
    "type": "function",
    "function": {"name": "bash", "parameters": {"type": "object", "properties": {"command": {"type": "string"}}}},
}
TURNS = [Turn(say="First I look.", run="ls"), Turn(say="Done.")]


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return tmp_path / "requests.jsonl"


@pytest.fixture
def model(record: Path) -> Iterator[openai.OpenAI]:
    server = serve(0, TURNS, record)
    with openai.OpenAI(base_url=f"http://127.0.0.1:{server.server_port}/v1", api_key="none", max_retries=0) as client:
        yield client
    server.shutdown()
    server.server_close()


def test_responses(model: openai.OpenAI, record: Path) -> None:
    """A sentence and a call come through a stream of the Responses API, and the request is on record with its turn."""
    with model.responses.stream(model="scripted", input="look around", tools=[SHELL]) as stream:
        answer = stream.get_final_response()
    assert answer.output_text == "First I look."
    assert [item.arguments for item in answer.output if item.type == "function_call"] == ['{"cmd": "ls"}']
    (request,) = read_requests(record)
    assert (request.turn, request.tools) == (0, {"exec_command": ""})
    assert "look around" in request.text


def test_chat(model: openai.OpenAI, record: Path) -> None:
    """The same in Chat Completions; a request without tools takes no turn; after the last turn nothing is left."""
    asked: list[ChatCompletionUserMessageParam] = [{"role": "user", "content": "look"}]
    titled = model.chat.completions.create(model="scripted", messages=asked)
    assert titled.choices[0].message.tool_calls is None
    told = []
    for _ in range(3):
        with model.chat.completions.stream(model="scripted", messages=asked, tools=[BASH]) as stream:
            message = stream.get_final_completion().choices[0].message
        told.append((message.content, len(message.tool_calls or ())))
    assert told == [("First I look.", 1), ("Done.", 0), (NOTHING_LEFT, 0)]
    assert [request.turn for request in read_requests(record)] == [-1, 0, 1, -1]


def test_a_command_that_runs_on_is_polled(model: openai.OpenAI, record: Path) -> None:
    """What Codex left running is looked after before the script goes on."""
    left: FunctionCallOutput = {
        "type": "function_call_output",
        "call_id": "call_1",
        "output": "Process running with session ID 4711\n",
    }
    poll: FunctionToolParam = {"type": "function", "name": "write_stdin", "strict": False, "parameters": {}}
    with model.responses.stream(model="scripted", input=[left], tools=[SHELL, poll]) as stream:
        (call,) = [item for item in stream.get_final_response().output if item.type == "function_call"]
    assert (call.name, "4711" in call.arguments) == ("write_stdin", True)
    assert [request.turn for request in read_requests(record)] == [-1]
