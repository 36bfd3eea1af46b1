"""One prompt to OpenCode's own server, which lives on after the model is done, as its terminal does: only so can a
plugin send a session on.

Run as a program: `python opencode_session.py OPENCODE PROMPT`. It ends with code 0 when the session has been at rest
for a while, and takes the server with it. It needs nothing but Python.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import sys
import time
from typing import Any

REST_S = 15.0
"""At rest for so long, nobody sends the session on any more: a hook that does takes a second or two."""
START_S = 60.0
_LOOK_S = 0.5


def main() -> int:
    opencode, prompt = sys.argv[1:]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    server = subprocess.Popen([opencode, "serve", "--hostname", "127.0.0.1", "--port", str(port)])
    try:
        _wait_until_up(port)
        session = _ask(port, "/session", {})["id"]
        _ask(port, f"/session/{session}/prompt_async", {"parts": [{"type": "text", "text": prompt}]})
        rested = 0.0
        while rested < REST_S:
            time.sleep(_LOOK_S)
            is_busy = _ask(port, "/session/status").get(session, {}).get("type", "idle") != "idle"
            rested = 0.0 if is_busy else rested + _LOOK_S
    finally:
        server.terminate()
        server.wait()
    return 0


def _wait_until_up(port: int) -> None:
    """Its first answers may be lost while it still starts."""
    until = time.monotonic() + START_S
    while True:
        try:
            _ask(port, "/session/status", patience_s=5.0)
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(_LOOK_S)
        else:
            return


def _ask(port: int, path: str, body: dict[str, Any] | None = None, *, patience_s: float = START_S) -> Any:
    """What the server answers; posted where there is a body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=patience_s)
    try:
        if body is None:
            connection.request("GET", path)
        else:
            connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        text = connection.getresponse().read()
    finally:
        connection.close()
    return json.loads(text) if text else None


if __name__ == "__main__":
    sys.exit(main())
