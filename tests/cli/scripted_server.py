"""An HTTP server with scripted replies, for faults that real servers show rarely."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

Step = tuple[int, Mapping[str, str], Any]


@dataclass(frozen=True, slots=True)
class ReceivedRequest:
    """One request that the server received."""

    method: str
    path: str
    headers: Message
    body: bytes

    @property
    def pictures(self) -> int:
        return self.body.count(b'name="image"')


class ScriptedServer(ThreadingHTTPServer):
    """A server that replies to each request with the next step of its script; bodies other than bytes become JSON."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[Step] = []
        self.requests: list[ReceivedRequest] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedServer

    def do_GET(self) -> None:
        self._answer(b"")

    def do_DELETE(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        self.server.requests.append(ReceivedRequest(self.command, self.path, self.headers, body))
        status, headers, reply = self.server.script.pop(0)
        data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
        self.send_response(status)
        media_type = {} if isinstance(reply, bytes) else {"Content-Type": "application/json"}
        for name, value in {"Content-Length": str(len(data)), **media_type, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the terminal clean."""


@contextmanager
def scripted_server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
