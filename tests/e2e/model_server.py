"""A model that follows a script, on loopback: enough of three wire formats to lead real coding agents.

`POST .../responses` is OpenAI's Responses API (Codex), `POST .../chat/completions` its older one (OpenCode and most
others), `POST .../models/NAME:generateContent` and `:streamGenerateContent` Gemini's. No key is asked for.

Each request that offers tools takes the next turn of the script. Two things are done as a real model would do them
without being told: a command that the agent left running is polled until it has ended, and a request that offers no
tools (a title for the session, say) is answered with a word and takes no turn. After the last turn the model only says
that it has nothing left.

Run as a program it serves around one command, so that both can live in a network namespace of their own:
`python model_server.py --port P --script S --record R [--alone] -- COMMAND`. It needs nothing but Python.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NOTHING_LEFT = "I have nothing left to try."
POLL_MS = 5_000
"""How long the agent is asked to wait for a command that it left running; it answers earlier when the command ends."""


@dataclass(frozen=True)
class Turn:
    """One answer of the model: a sentence, a call, or both.

    Attributes:
        say: what it says; without a call that ends its turn.
        run: a command for whichever shell tool the request offers.
        tool: the name of a tool to call, as the agent offers it or as its server named it.
        arguments: of that tool.
        patience_ms: how long Codex waits for the command before it leaves it running; 0 for as long as it likes.
    """

    say: str = ""
    run: str = ""
    tool: str = ""
    patience_ms: int = 0
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Call:
    """A tool call as it goes over the wire."""

    name: str
    arguments: dict[str, Any]
    namespace: str = ""


@dataclass(frozen=True)
class Reply:
    """What one request is answered with."""

    text: str
    call: Call | None = None


@dataclass(frozen=True)
class Request:
    """What the agent sent: the path it asked for and the body, as they came, and the turn that answered it."""

    path: str
    body: dict[str, Any]
    turn: int  # place in the script; -1 where none was used

    @property
    def text(self) -> str:
        """All that the model is told in it (instructions, messages, results of tools), one string a line."""
        told = {name: part for name, part in self.body.items() if name not in {"tools", "model"}}
        return "\n".join(_strings(told))

    @property
    def tools(self) -> dict[str, str]:
        """Name of each tool offered -> the namespace it lies in, or ""."""
        return _offered(self.body)


class Script:
    """The turns, and how far the model is; asked by several threads."""

    def __init__(self, turns: list[Turn], record: Path) -> None:
        self._turns = turns
        self._record = record
        self._next = 0
        self._asked = 0
        self._lock = threading.Lock()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Reply]:
        """The number of the request, from 1, and its answer; both the request and the turn are recorded."""
        tools = _offered(body)
        with self._lock:
            self._asked += 1
            place, turn = -1, Turn(say=NOTHING_LEFT)
            running = left_running(body) if "write_stdin" in tools else None
            if running is not None:
                turn = Turn(
                    tool="write_stdin", arguments={"session_id": running, "chars": "", "yield_time_ms": POLL_MS}
                )
            elif not tools:
                turn = Turn(say="A session")
            elif self._next < len(self._turns):
                place, turn = self._next, self._turns[self._next]
                self._next += 1
            with self._record.open("a") as file:
                file.write(json.dumps(asdict(Request(path, body, place))) + "\n")
            return self._asked, Reply(turn.say, _call(turn, tools))


def read_requests(record: Path) -> list[Request]:
    """What a `Script` recorded, in order."""
    lines = record.read_text().splitlines() if record.exists() else []
    return [Request(**json.loads(line)) for line in lines]


def _strings(part: object) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for value in part.values():
            yield from _strings(value)
    elif isinstance(part, list):
        for value in part:
            yield from _strings(value)


def _offered(body: dict[str, Any]) -> dict[str, str]:
    """Name -> namespace of each tool of a request, in any of the three formats."""
    found: dict[str, str] = {}
    for tool in body.get("tools") or []:
        if "functionDeclarations" in tool:
            found.update(dict.fromkeys((each["name"] for each in tool["functionDeclarations"]), ""))
        elif tool.get("type") == "namespace":
            found.update(dict.fromkeys((each["name"] for each in tool["tools"]), tool["name"]))
        elif "function" in tool:
            found[tool["function"]["name"]] = ""
        else:
            found[tool.get("name") or tool["type"]] = ""
    return found


def left_running(body: dict[str, Any]) -> int | None:
    """The number of the command that Codex says it left running, if that is the last thing it says."""
    items = body.get("input") or []
    outputs = [item for item in items if item.get("type") == "function_call_output"]
    if not outputs:
        return None
    found = re.search(r"Process running with session ID (\d+)", "\n".join(_strings(outputs[-1])))
    return int(found[1]) if found else None


def _call(turn: Turn, tools: dict[str, str]) -> Call | None:
    if turn.run:
        spoken: dict[str, dict[str, Any]] = {
            # Codex, in two forms
            "exec_command": {"cmd": turn.run} | ({"yield_time_ms": turn.patience_ms} if turn.patience_ms else {}),
            "shell_command": {"command": turn.run},
            "run_shell_command": {"command": turn.run, "description": "as planned"},  # Gemini CLI
            "bash": {"command": turn.run, "description": "as planned"},  # OpenCode
        }
        name = next(name for name in spoken if name in tools)
        return Call(name, spoken[name], tools[name])
    if turn.tool:
        # Agents offer a server's tool under a longer name: `mcp_lab_wait`, `lab_wait`.
        names = [name for name in tools if name == turn.tool] or [name for name in tools if name.endswith(turn.tool)]
        name = names[0] if names else turn.tool
        return Call(name, turn.arguments, tools.get(name, ""))
    return None


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    script: Script

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name in the base class
        """Nothing on the screen."""

    def do_GET(self) -> None:
        # Asked for a list of models: one in OpenAI's form, none in Codex's own.
        self._send(json.dumps({"object": "list", "data": [{"id": "scripted", "object": "model"}], "models": []}))

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
        path = self.path.partition("?")[0]
        number, reply = self.script.answer(path, body)
        if path.endswith("/responses"):
            self._stream(_responses(number, reply))
        elif path.endswith("/chat/completions"):
            if body.get("stream"):
                self._stream(_chat_stream(number, reply))
            else:
                self._send(json.dumps(_chat(number, reply)))
        elif path.endswith(":streamGenerateContent"):
            self._stream(iter([f"data: {json.dumps(_gemini(number, reply))}\n\n"]))
        elif path.endswith(":generateContent"):
            self._send(json.dumps(_gemini(number, reply)))
        else:
            self._send("{}", status=404)

    def _send(self, text: str, *, status: int = 200) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _stream(self, events: Iterator[str]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        for event in events:
            self.wfile.write(event.encode())
            self.wfile.flush()


def _responses(number: int, reply: Reply) -> Iterator[str]:
    """The events of OpenAI's Responses API that make up one answer."""
    items: list[dict[str, Any]] = []
    if reply.text:
        content = {"type": "output_text", "text": reply.text, "annotations": []}
        items.append({"type": "message", "id": f"msg_{number}", "role": "assistant", "content": [content]})
    if reply.call is not None:
        items.append(
            {
                "type": "function_call",
                "id": f"fc_{number}",
                "call_id": f"call_{number}",
                "name": reply.call.name,
                "arguments": json.dumps(reply.call.arguments),
                **({"namespace": reply.call.namespace} if reply.call.namespace else {}),
            }
        )
    answer = {"id": f"resp_{number}", "object": "response", "model": "scripted", "output": items, "usage": _USAGE}
    events: list[dict[str, Any]] = [{"type": "response.created", "response": {**answer, "output": []}}]
    for place, item in enumerate(items):
        events.append({"type": "response.output_item.added", "output_index": place, "item": item})
        if item["type"] == "message":
            delta = {"item_id": item["id"], "output_index": place, "content_index": 0, "delta": reply.text}
            events.append({"type": "response.output_text.delta", **delta})
        events.append({"type": "response.output_item.done", "output_index": place, "item": item})
    events.append({"type": "response.completed", "response": {**answer, "status": "completed"}})
    return (f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)


_USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens": 5,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 15,
}


def _chat(number: int, reply: Reply) -> dict[str, Any]:
    """One answer of OpenAI's Chat Completions API."""
    message: dict[str, Any] = {"role": "assistant", "content": reply.text or None}
    if reply.call is not None:
        function = {"name": reply.call.name, "arguments": json.dumps(reply.call.arguments)}
        message["tool_calls"] = [{"index": 0, "id": f"call_{number}", "type": "function", "function": function}]
    reason = "stop" if reply.call is None else "tool_calls"
    return {
        "id": f"chat_{number}",
        "object": "chat.completion",
        "model": "scripted",
        "choices": [{"index": 0, "message": message, "finish_reason": reason}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }


def _chat_stream(number: int, reply: Reply) -> Iterator[str]:
    """The same in two chunks and an end."""
    whole = _chat(number, reply)
    choice = whole["choices"][0]
    for delta, reason in ((choice["message"], None), ({}, choice["finish_reason"])):
        chunk = {
            **whole,
            "object": "chat.completion.chunk",
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }
        yield f"data: {json.dumps(chunk)}\n\n"
    yield "data: [DONE]\n\n"


def _gemini(number: int, reply: Reply) -> dict[str, Any]:
    """One answer of Gemini's API; streamed, it comes in one piece."""
    parts: list[dict[str, Any]] = [{"text": reply.text}] if reply.text else []
    if reply.call is not None:
        called = {"id": f"call_{number}", "name": reply.call.name, "args": reply.call.arguments}
        parts.append({"functionCall": called})
    return {
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15},
        "modelVersion": "scripted",
    }


def serve(port: int, turns: list[Turn], record: Path) -> ThreadingHTTPServer:
    """Answer on 127.0.0.1 until `shutdown` is called on what is returned; a port of 0 takes any free one."""
    handler = type("Handler", (_Handler,), {"script": Script(turns, record)})
    server = ThreadingHTTPServer(("127.0.0.1", port), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--script", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--alone", action="store_true", help="this is a new network namespace: bring loopback up")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()
    if args.alone:
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    serve(args.port, [Turn(**turn) for turn in json.loads(args.script.read_text())], args.record)
    return subprocess.run(args.command, stdin=subprocess.DEVNULL, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
