"""A real HTTP server of one file that misbehaves as it is told to."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


@dataclass(slots=True)
class Behaviour:
    """cuts: bytes that each reply sends before it closes the connection, first to last; then replies are whole.

    claimed_bytes: a wrong total size. skew: added to the first position of a partial reply.
    """

    data: bytes
    etag: str | None = '"v1"'
    cuts: list[int] = field(default_factory=list)
    knows_ranges: bool = True
    claimed_bytes: int | None = None
    tells_length: bool = True
    skew: int = 0
    statuses: list[int] = field(default_factory=list)
    content_type: str = "application/octet-stream"
    redirect_to: str | None = None


class FileServer(ThreadingHTTPServer):
    """Serves `behaviour.data` at every path; `ranges` has the Range header of each request."""

    daemon_threads = True

    def __init__(self, data: bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.behaviour = Behaviour(data)
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.onnx"


class _Handler(BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        how, wanted = self.server.behaviour, self.headers["Range"]
        self.server.ranges.append(wanted)
        self.close_connection = True
        if how.statuses:
            self._start(how.statuses.pop(0), {"Content-Length": "0"})
        elif how.redirect_to is not None:
            self._start(302, {"Location": how.redirect_to, "Content-Length": "0"})
        elif wanted and how.knows_ranges and self.headers["If-Range"] in (None, how.etag):
            self._send_part(int(re.findall(r"\d+", wanted)[0]))
        else:
            self._send(200, how.data, {})

    def _send_part(self, first: int) -> None:
        how, total = self.server.behaviour, len(self.server.behaviour.data)
        if first >= total:
            self._start(416, {"Content-Range": f"bytes */{total}", "Content-Length": "0"})
            return
        told = f"bytes {first + how.skew}-{total - 1}/{how.claimed_bytes or total}"
        self._send(206, how.data[first:], {"Content-Range": told})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        how = self.server.behaviour
        if how.tells_length:
            headers["Content-Length"] = str(how.claimed_bytes or len(body))
        if how.etag:
            headers["ETag"] = how.etag
        self._start(status, headers | {"Content-Type": how.content_type, "Connection": "close"})
        self.wfile.write(body[: how.cuts.pop(0)] if how.cuts else body)

    def _start(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the terminal clean."""


@contextmanager
def file_server(data: bytes) -> Iterator[FileServer]:
    with FileServer(data) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
