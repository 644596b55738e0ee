"""A reverse proxy with faults between a client and a real fleet: lost connections, refusals, slow and cut replies."""

import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection, HTTPResponse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock, Thread
from urllib.parse import urlsplit

BLOCK_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of one request; without a member that is set, the request passes.

    reset_after: length of the request's body after which the connection is reset, and nothing is forwarded; lose_reply:
    forward the request and reset the connection instead of replying; status, headers, body: reply so without
    forwarding; add_headers: to the forwarded request; cut_after: length of the reply's body after which the connection
    is closed; pause_s: wait before each block of `block_bytes` of the reply's body.
    """

    reset_after: int | None = None
    lose_reply: bool = False
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    add_headers: Mapping[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    pause_s: float = 0.0
    block_bytes: int = BLOCK_BYTES


PASS = Fault()


@dataclass(frozen=True, slots=True)
class PassedRequest:
    """One request that reached the proxy, and the status of its reply; None if it got none."""

    path: str
    idempotency_key: str | None
    status: int | None


class FaultyProxy(ThreadingHTTPServer):
    """Forwards requests below the path `/prefix` to `upstream`; each request takes the next of its `faults`."""

    daemon_threads = True

    def __init__(self, upstream: str, prefix: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.upstream, self.prefix = urlsplit(upstream), prefix
        self.faults: list[Fault] = []
        self.passed: list[PassedRequest] = []
        self.lock = Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}{self.prefix}"

    def next_fault(self) -> Fault:
        with self.lock:
            return self.faults.pop(0) if self.faults else PASS

    def handle_error(self, request: object, client_address: object) -> None:
        """Keeps the terminal clean: clients go away in these tests."""


class _Handler(BaseHTTPRequestHandler):
    server: FaultyProxy
    protocol_version = "HTTP/1.1"

    def handle_one_request(self) -> None:
        self.raw_requestline = self.rfile.readline(BLOCK_BYTES)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        self._handle(self.server.next_fault())

    def _handle(self, fault: Fault) -> None:
        if fault.reset_after is not None:
            self.rfile.read(min(fault.reset_after, self._body_bytes))
            self._reset()
            return
        body = self.rfile.read(self._body_bytes)
        if fault.status is not None:
            self._reply(fault.status, {"Content-Length": str(len(fault.body)), **fault.headers}, [fault.body], fault)
        else:
            self._forward(fault, body)

    def _forward(self, fault: Fault, body: bytes) -> None:
        upstream = HTTPConnection(str(self.server.upstream.hostname), self.server.upstream.port, timeout=120)
        try:
            path = self.path.removeprefix(self.server.prefix)
            upstream.request(self.command, path, body or None, {**dict(self.headers.items()), **fault.add_headers})
            reply = upstream.getresponse()
            if fault.lose_reply:
                reply.read()
                self._reset()
            else:
                self._reply(reply.status, dict(reply.getheaders()), _blocks(reply, fault.block_bytes), fault)
        finally:
            upstream.close()

    def _reply(self, status: int, headers: Mapping[str, str], blocks: Iterable[bytes], fault: Fault) -> None:
        self._record(status)
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "transfer-encoding"):
                self.send_header(name, value)
        chunked = "content-length" not in {name.lower() for name in headers} and status != HTTPStatus.NO_CONTENT
        if chunked:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._send(blocks, fault, chunked=chunked)

    def _send(self, blocks: Iterable[bytes], fault: Fault, *, chunked: bool) -> None:
        sent = 0
        for block in blocks:
            time.sleep(fault.pause_s)
            piece = block if fault.cut_after is None else block[: fault.cut_after - sent]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if chunked and piece else piece)
            sent += len(piece)
            if len(piece) < len(block):
                self.close_connection = True
                return
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _reset(self) -> None:
        """Closes the connection as a crashed peer does, without the end of the stream."""
        self._record(None)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def _record(self, status: int | None) -> None:
        self.server.passed.append(PassedRequest(self.path, self.headers["Idempotency-Key"], status))

    @property
    def _body_bytes(self) -> int:
        return int(self.headers.get("Content-Length", 0))


def _blocks(reply: HTTPResponse, block_bytes: int) -> Iterator[bytes]:
    while block := reply.read1(block_bytes):
        yield block


@contextmanager
def faulty_proxy(upstream: str, prefix: str) -> Iterator[FaultyProxy]:
    with FaultyProxy(upstream, prefix) as proxy:
        thread = Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield proxy
        proxy.shutdown()
        thread.join()
