"""Limits of the server on real sockets, against clients that speak HTTP by hand."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from sightline.http.server import GracefulServer, connection_limits, limited_server
from sightline.http.transport.connections import RateWindow, max_connections_within
from sightline.serving.settings import ServiceSettings

PATIENCE_S = 20.0
MIB = 1024 * 1024


@dataclass
class Seen:
    """What reached the application."""

    headers: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    cut_off: int = 0


@dataclass
class Running:
    port: int
    seen: Seen
    server: GracefulServer

    @contextmanager
    def connect(self, address: str = "127.0.0.1") -> Iterator[socket.socket]:
        with socket.socket() as client:
            client.settimeout(PATIENCE_S)
            client.bind((address, 0))
            client.connect(("127.0.0.1", self.port))
            yield client

    def ask(self, *pieces: bytes) -> bytes:
        with self.connect() as client:
            return exchange(client, *pieces)


Serve = Callable[..., Running]


def exchange(client: socket.socket, *pieces: bytes) -> bytes:
    """All that comes back until the server closes; what it does not take is not sent."""
    try:
        for piece in pieces:
            client.sendall(piece)
    except (BrokenPipeError, ConnectionResetError):
        pass
    return rest(client)


def rest(client: socket.socket) -> bytes:
    received = bytearray()
    try:
        while block := client.recv(65_536):
            received += block
    except ConnectionResetError:
        pass
    return bytes(received)


def make_app(seen: Seen) -> Starlette:
    async def echo(request: Request) -> Response:
        try:
            seen.bodies.append(await request.body())
        except ClientDisconnect:
            seen.cut_off += 1
            raise
        seen.headers.append(list(request.scope["headers"]))
        return JSONResponse({"bytes": len(seen.bodies[-1])})

    async def large(_: Request) -> Response:
        return Response(b"x" * 32 * MIB)

    async def streamed(_: Request) -> Response:
        async def blocks() -> AsyncIterator[bytes]:
            for _ in range(64):
                yield b"x" * MIB

        return StreamingResponse(blocks())

    async def waiting(request: Request) -> Response:
        while not await request.is_disconnected():
            await asyncio.sleep(0.01)
        seen.cut_off += 1
        return Response()

    async def slow(_: Request) -> Response:
        await asyncio.sleep(1)
        return JSONResponse({"slow": True})

    return Starlette(
        routes=[
            Route("/", echo, methods=["GET", "POST"]),
            Route("/large", large),
            Route("/streamed", streamed),
            Route("/waiting", waiting),
            Route("/slow", slow),
        ]
    )


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def serve(**settings: float) -> Running:
            seen = Seen()
            server = limited_server(
                make_app(seen), ServiceSettings.model_validate({"port": 0, "drain_s": 1, **settings})
            )
            thread = threading.Thread(target=server.run)
            thread.start()

            def stop() -> None:
                server.should_exit = True
                thread.join()

            stack.callback(stop)
            wait_until(lambda: server.started)
            return Running(server.servers[0].sockets[0].getsockname()[1], seen, server)

        yield serve


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.01)


def get(*lines: bytes, path: bytes = b"/") -> bytes:
    return b"\r\n".join((b"GET " + path + b" HTTP/1.1", b"Host: x", *lines, b"", b""))


def post(*lines: bytes) -> bytes:
    return b"\r\n".join((b"POST / HTTP/1.1", b"Host: x", *lines, b"", b""))


CLOSE = b"Connection: close"
CHUNKED = b"Transfer-Encoding: chunked"


def status(reply: bytes) -> int:
    return int(reply[9:12]) if reply else 0


def code(reply: bytes) -> str:
    return str(json.loads(reply.partition(b"\r\n\r\n")[2])["code"])


LARGE_HEADS = {
    "one long value": get(b"X-Long: " + b"a" * 70_000),
    "one long name": get(b"X" * 70_000 + b": a"),
    "many headers": get(*(b"X-%d: a" % number for number in range(101))),
    "many nameless values": get(*(b"X: " for _ in range(5_000))),
    "long request line": get(path=b"/?" + b"a" * 70_000),
    "long method": b"G" * 70_000,
    "a value of 8 MiB": get(b"X-Long: " + b"a" * 8 * MIB),
    "a request line of 8 MiB": get(path=b"/" + b"a" * 8 * MIB),
    "many medium values": get(*(b"X-%d: " % number + b"a" * 2_000 for number in range(60))),
}


@pytest.mark.parametrize("head", LARGE_HEADS.values(), ids=LARGE_HEADS.keys())
def test_large_heads_are_refused(serve: Serve, head: bytes) -> None:
    running = serve()
    reply = running.ask(head)
    assert status(reply) in (431, 400)
    assert status(reply) == 431 or not head.startswith(b"GET ")
    assert code(reply) in ("headers_too_large", "invalid_request")
    assert not running.seen.headers
    assert status(running.ask(get(CLOSE))) == 200


def test_large_head_in_small_pieces_is_refused_before_its_end(serve: Serve) -> None:
    running = serve()
    with running.connect() as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ")
        reply = exchange(client, *(b"a" * 4_096 for _ in range(64)))
    assert status(reply) == 431
    assert code(reply) == "headers_too_large"


def test_heads_up_to_the_limit_pass(serve: Serve) -> None:
    running = serve()
    assert status(running.ask(get(CLOSE, b"X-Long: " + b"a" * 60_000))) == 200
    assert status(running.ask(get(CLOSE, *(b"X-%d: a" % number for number in range(98))))) == 200


def test_head_limit_applies_to_each_request_of_a_connection(serve: Serve) -> None:
    running = serve()
    with running.connect() as client:
        for _ in range(4):
            client.sendall(get(b"X-Long: " + b"a" * 40_000))
            assert status(client.recv(4_096)) == 200
        assert status(exchange(client, get(b"X-Long: " + b"a" * 70_000))) == 431


def test_trailers_are_not_passed_as_headers(serve: Serve) -> None:
    running = serve()
    body = b"3\r\nabc\r\n0\r\nX-Api-Key: secret\r\nContent-Type: image/png\r\n\r\n"
    reply = running.ask(post(CHUNKED, b"Trailer: X-Api-Key") + body + get(CLOSE))
    assert reply.count(b"HTTP/1.1 200") == 2
    assert running.seen.bodies == [b"abc", b""]
    names = {name for headers in running.seen.headers for name, _ in headers}
    assert names == {b"host", b"transfer-encoding", b"trailer", b"connection"}


ENDLESS_FRAMING = {
    "trailer": b"3\r\nabc\r\n0\r\nX-Long: " + b"a" * 4 * MIB,
    "many trailers": b"3\r\nabc\r\n0\r\n" + b"X: a\r\n" * 1_000_000,
    "chunk extension": b"3;" + b"a" * 4 * MIB,
    "many chunk extensions": b"".join(b"1;" + b"a" * 4_000 + b"\r\nb\r\n" for _ in range(1_000)),
    "chunks of one byte": b"1\r\na\r\n" * 100_000,
    "quoted chunk extension": b'3;a="' + b"a" * 4 * MIB,
}


@pytest.mark.parametrize("framing", ENDLESS_FRAMING.values(), ids=ENDLESS_FRAMING.keys())
def test_endless_framing_is_refused(serve: Serve, framing: bytes) -> None:
    running = serve()
    assert status(running.ask(post(CHUNKED) + framing)) == 400
    assert not running.seen.bodies


@pytest.mark.parametrize(("chunk_bytes", "chunks"), [(1, 3_000), (16, 20_000), (100, 20_000)])
def test_body_in_small_chunks_is_accepted(serve: Serve, chunk_bytes: int, chunks: int) -> None:
    running = serve()
    chunk = b"%x\r\n" % chunk_bytes + b"a" * chunk_bytes + b"\r\n"
    assert status(running.ask(post(CHUNKED, CLOSE), chunk * chunks, b"0\r\n\r\n")) == 200
    assert running.seen.bodies == [b"a" * chunk_bytes * chunks]


MALFORMED = {
    "folded header": get(b"X-Folded: a", b"  b"),
    "NUL in a value": get(b"X-Nul: a\0b"),
    "NUL in a name": get(b"X-\0Nul: a"),
    "bare line feed in a value": get(b"X-Bare: a\nX-Api-Key: b\rc"),
    "two lengths": post(b"Content-Length: 3", b"Content-Length: 4") + b"abcd",
    "two equal lengths": post(b"Content-Length: 3", b"Content-Length: 3") + b"abc",
    "length and chunks": post(b"Content-Length: 3", CHUNKED) + b"0\r\n\r\n",
    "negative length": post(b"Content-Length: -1"),
    "length beyond 64 bits": post(b"Content-Length: " + b"9" * 30),
    "chunk size beyond 64 bits": post(CHUNKED) + b"f" * 30 + b"\r\n",
    "space before the colon": get(b"X-Api-Key : a"),
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "absurd version": b"GET / HTTP/9.7\r\nHost: x\r\n\r\n",
}


@pytest.mark.parametrize("request_bytes", MALFORMED.values(), ids=MALFORMED.keys())
def test_malformed_requests_are_refused(serve: Serve, request_bytes: bytes) -> None:
    running = serve()
    reply = running.ask(request_bytes)
    assert status(reply) == 400
    assert reply.count(b"HTTP/1.1 ") == 1
    assert not running.seen.headers


def test_request_is_answered_before_malformed_bytes_after_it(serve: Serve) -> None:
    running = serve()
    reply = running.ask(get(path=b"/slow") + b"\0\0\0 nonsense \r\n\r\n" + get())
    assert reply.count(b"HTTP/1.1 ") == 1
    assert status(reply) == 200
    assert not running.seen.headers


def test_too_long_pipeline_ends_the_connection(serve: Serve) -> None:
    running = serve()
    reply = running.ask(get(path=b"/slow") + get() * 5_000)
    assert reply.count(b"HTTP/1.1 200") < 100


def test_bytes_after_an_upgrade_are_not_a_request(serve: Serve) -> None:
    running = serve()
    body = get(b"X-Api-Key: smuggled")
    length = b"Content-Length: %d" % len(body)
    reply = running.ask(post(b"Connection: Upgrade", b"Upgrade: h2c", length) + body, get(b"X-Api-Key: smuggled"))
    assert reply.count(b"HTTP/1.1 ") == 1
    assert not any(name == b"x-api-key" for headers in running.seen.headers for name, _ in headers)


@pytest.mark.parametrize("sent", [b"G", b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: a"])
def test_slow_heads_are_refused(serve: Serve, sent: bytes) -> None:
    running = serve(head_timeout_s=0.5)
    reply = running.ask(sent)
    assert status(reply) == 408
    assert code(reply) == "request_timeout"


def test_trickling_head_is_refused(serve: Serve) -> None:
    running = serve(head_timeout_s=0.5)
    with running.connect() as client:
        client.settimeout(0.1)
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        reply, deadline = b"", time.monotonic() + PATIENCE_S
        while not reply:
            assert time.monotonic() < deadline
            client.sendall(b"X: a\r\n")
            try:
                reply = client.recv(4_096)
            except TimeoutError:
                continue
    assert status(reply) == 408


@pytest.mark.parametrize("sent", [b"", b"\r\n\r\n"])
def test_connections_without_a_request_are_closed(serve: Serve, sent: bytes) -> None:
    running = serve(head_timeout_s=0.5)
    assert status(running.ask(sent)) in (0, 408)


def test_idle_connections_are_closed_after_a_while(serve: Serve) -> None:
    running = serve(keep_alive_s=1)
    assert running.ask(get()).count(b"HTTP/1.1 200") == 1


def test_second_head_of_a_connection_has_the_same_timeout(serve: Serve) -> None:
    running = serve(head_timeout_s=0.5)
    with running.connect() as client:
        client.sendall(get())
        assert status(client.recv(4_096)) == 200
        assert status(exchange(client, b"GET / HTTP/1.1\r\n")) == 408


@pytest.mark.parametrize("head", [post(b"Content-Length: 1000000"), post(CHUNKED) + b"ffff\r\n"])
def test_slow_bodies_are_refused(serve: Serve, head: bytes) -> None:
    running = serve(rate_window_s=1)
    reply = running.ask(head, b"abc")
    assert status(reply) == 408
    assert code(reply) == "request_timeout"
    wait_until(lambda: running.seen.cut_off == 1)
    assert not running.seen.bodies


def test_bodies_at_the_minimum_rate_pass(serve: Serve) -> None:
    running = serve(rate_window_s=1, min_bytes_per_s=100)
    with running.connect() as client:
        client.sendall(post(b"Content-Length: 6000", CLOSE))
        for _ in range(30):
            client.sendall(b"x" * 200)
            time.sleep(0.1)
        assert status(rest(client)) == 200


def test_clients_that_do_not_take_a_reply_are_cut_off(serve: Serve) -> None:
    running = serve(rate_window_s=1)
    with running.connect() as client:
        client.sendall(get(path=b"/large"))
        wait_until(lambda: refused(running, "download_too_slow") == 1)
        wait_until(lambda: len(running.server.connections) == 0)
        assert len(rest(client)) < 32 * MIB


@pytest.mark.parametrize("pipelined", [1, 2, 20])
def test_reply_to_a_client_that_was_cut_off_raises_no_error(
    serve: Serve, caplog: pytest.LogCaptureFixture, pipelined: int
) -> None:
    running = serve(rate_window_s=1)
    with running.connect() as client:
        client.sendall(get(path=b"/streamed") * pipelined)
        wait_until(lambda: refused(running, "download_too_slow") == 1)
        wait_until(lambda: not running.server.server_state.tasks)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_handlers_see_the_disconnect_of_a_pipelining_client(serve: Serve) -> None:
    running = serve()
    with running.connect() as client:
        client.sendall(post(b"Content-Length: 9") + b"body")
        wait_until(lambda: len(running.server.server_state.tasks) == 1)
        client.sendall(b"12345" + get(path=b"/waiting") + get() * 3)
        wait_until(lambda: len(running.seen.bodies) == 1)
    wait_until(lambda: not running.server.server_state.tasks)
    assert running.seen.cut_off == 1


def test_too_long_pipeline_logs_no_error(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    running = serve()
    running.ask(get(path=b"/slow") + get() * 100)
    wait_until(lambda: not running.server.server_state.tasks)
    assert refused(running, "pipeline_too_long") == 1
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


def test_clients_that_take_a_reply_steadily_get_all_of_it(serve: Serve) -> None:
    running = serve(rate_window_s=1, min_bytes_per_s=10_000)
    received = 0
    with running.connect() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        client.sendall(get(CLOSE, path=b"/large"))
        while block := client.recv(1 * MIB):
            received += len(block)
            time.sleep(0.02)
    assert received > 32 * MIB


def refused(running: Running, reason: str) -> float:
    registry = CollectorRegistry()
    registry.register(running.server.connections.metrics.refused)
    return registry.get_sample_value("sightline_http_connections_refused_total", {"reason": reason}) or 0.0


def test_one_address_cannot_hold_every_connection(serve: Serve) -> None:
    running = serve(max_connections_per_address=3)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(running.connect("127.0.0.2"))
        wait_until(lambda: len(running.server.connections) == 3)
        with running.connect("127.0.0.2") as client:
            reply = rest(client)
        assert status(reply) == 429
        assert code(reply) == "too_many_requests"
        assert b"retry-after: 1" in reply
        assert status(running.ask(get(CLOSE))) == 200
    wait_until(lambda: len(running.server.connections) == 0)
    with running.connect("127.0.0.2") as client:
        assert status(exchange(client, get(CLOSE))) == 200


def test_idle_connections_of_many_addresses_make_room(serve: Serve) -> None:
    running = serve(max_connections=8)
    with ExitStack() as stack:
        for number in range(40):
            stack.enter_context(running.connect(f"127.0.1.{number + 1}"))
        assert status(running.ask(get(CLOSE))) == 200
    assert refused(running, "made_room") >= 32


def test_busy_connections_are_not_ended_to_make_room(serve: Serve) -> None:
    running = serve(max_connections=2)
    with running.connect("127.0.0.2") as first, running.connect("127.0.0.3") as second:
        first.sendall(post(b"Content-Length: 3", CLOSE))
        second.sendall(post(b"Content-Length: 3", CLOSE))
        wait_until(lambda: sum(not one.idle for one in running.server.connections) == 2)
        with running.connect("127.0.0.4") as third:
            assert status(rest(third)) == 503
        assert status(exchange(first, b"abc")) == 200
        assert status(exchange(second, b"abc")) == 200


def test_connection_limit_leaves_descriptors_free() -> None:
    assert max_connections_within(65_536) == 64_512
    assert max_connections_within(1024) == 512
    limits = connection_limits(ServiceSettings(max_connections=10_000), descriptors=1024)
    assert limits.max_connections == 512
    assert limits.max_per_address == 256


def test_rates_are_judged_over_a_whole_window() -> None:
    window = RateWindow(min_bytes_per_s=100, window_s=10)
    window.moved_bytes = 1_000
    assert not any(window.is_too_slow(1) for _ in range(10))
    assert [window.is_too_slow(1) for _ in range(10)] == [False] * 9 + [True]


def test_stopping_server_answers_a_new_connection(serve: Serve) -> None:
    running = serve(drain_s=3)
    with running.connect() as client:
        wait_until(lambda: bool(running.server.server_state.connections))
        running.server.should_exit = True
        wait_until(lambda: not running.server.servers[0].is_serving())
        time.sleep(0.2)  # in which a server ends the connections that are idle

        reply = exchange(client, get())

    assert reply.startswith(b"HTTP/1.1 200")


def test_stopping_server_closes_idle_connections(serve: Serve) -> None:
    running = serve(drain_s=30)
    with running.connect() as client:
        client.sendall(get())
        assert client.recv(65_536).startswith(b"HTTP/1.1 200")
        running.server.should_exit = True

        assert rest(client) == b""
