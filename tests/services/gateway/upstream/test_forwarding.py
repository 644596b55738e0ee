"""Forwarding of requests and replies between clients and replicas."""

import gzip
import hashlib
import socket
import threading
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from yarl import URL

from services.gateway.auth.api_keys import Caller
from services.gateway.upstream.forwarding import LinkRewriter, reply_headers, upstream_headers
from sightline.api.problems import Code, Problem
from sightline.jobs.job import Priority
from tests.services.gateway.conftest import (
    PATIENCE_S,
    Endpoint,
    Eventually,
    MakeService,
    OpenGateway,
    Server,
    Start,
    event_set,
    hang_up,
)

TEXT = {"Content-Type": "text/plain"}  # which the gateway does not look into
CALLER = Caller("desk")
SAID = {"X-Sightline-Caller": "desk", "X-Sightline-Priority": "interactive"}
LINKS = LinkRewriter(URL("http://10.0.0.7:8000/v1/echo"), prefix="")


def retries(gateway: Server, reason: str) -> float:
    lines = httpx2.get(f"{gateway.url}/metrics").text.splitlines()
    wanted = f'sightline_gateway_retries_total{{model="echo",reason="{reason}"}}'
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(wanted))


def in_flight(gateway: Server) -> int:
    count: int = httpx2.get(f"{gateway.url}/v1/capacity").json()["in_flight"]
    return count


class Recorder:
    """An endpoint that records requests and bodies."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.requests: list[Request] = []
        self.bodies: list[bytes] = []

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        self.bodies.append(await request.body())
        return Response(f"answered {self.status}", self.status)

    @property
    def endpoint(self) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            return await self(request)

        return endpoint


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def gateway(start: Start, make_service: MakeService, open_gateway: OpenGateway, recorder: Recorder) -> Server:
    return open_gateway({"echo": [start(make_service(recorder.endpoint)).url]})


def test_request_is_forwarded_unchanged(gateway: Server, recorder: Recorder) -> None:
    body = bytes(range(256)) * 4000
    headers = {**TEXT, "X-Request-Id": "one", "traceparent": "00-ab-cd-01", "Accept": "image/webp;q=0.5"}
    reply = httpx2.post(f"{gateway.url}/v1/echo/sub?a=1&b=%2F", content=body, headers=headers)
    (request,) = recorder.requests
    assert recorder.bodies == [body]
    assert request.url.path == "/v1/echo/sub"
    assert request.url.query == "a=1&b=%2F"
    assert {name: request.headers[name] for name in headers} == headers
    assert request.headers["content-length"] == str(len(body))
    assert reply.headers["x-request-id"] == "one"
    assert reply.headers["x-sightline-body-sha256"] == hashlib.sha256(body).hexdigest()
    assert reply.headers.get_list("date")[1:] == []


def test_forwarded_deadline_is_the_time_left(gateway: Server, recorder: Recorder) -> None:
    httpx2.post(f"{gateway.url}/v1/echo", content=b"x", headers={**TEXT, "X-Sightline-Deadline-Ms": "9000"})
    assert 0 < int(recorder.requests[0].headers["x-sightline-deadline-ms"]) <= 9000


def test_chunked_body_is_forwarded_chunked(gateway: Server, recorder: Recorder) -> None:
    pieces = [b"a" * 40_000] * 10
    httpx2.post(f"{gateway.url}/v1/echo", content=iter(pieces), headers=TEXT)
    assert recorder.bodies == [b"".join(pieces)]
    assert "content-length" not in recorder.requests[0].headers


def test_compressed_body_is_forwarded_unchanged(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    async def endpoint(request: Request) -> Response:
        return Response(await request.body(), headers={"Content-Encoding": request.headers["content-encoding"]})

    gateway = open_gateway({"echo": [start(make_service(endpoint)).url]})
    headers = {**TEXT, "Content-Encoding": "gzip", "Accept-Encoding": "gzip"}
    reply = httpx2.post(f"{gateway.url}/v1/echo", content=gzip.compress(b"packed"), headers=headers)
    assert reply.headers["content-encoding"] == "gzip"
    assert reply.content == b"packed"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_request_without_body_is_forwarded(gateway: Server, recorder: Recorder, method: str) -> None:
    reply = httpx2.request(method, f"{gateway.url}/v1/echo")
    assert reply.status_code == 200
    assert reply.headers["content-length"] == str(len("answered 200"))
    assert recorder.bodies == [b""]


def test_body_is_streamed_to_the_service(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, png: bytes
) -> None:
    begun = threading.Event()

    async def endpoint(request: Request) -> Response:
        size_bytes = 0
        async for chunk in request.stream():
            size_bytes += len(chunk)
            begun.set()
        return JSONResponse(size_bytes)

    def body() -> Iterator[bytes]:
        yield png
        assert begun.wait(PATIENCE_S)
        yield b"the end"

    gateway = open_gateway({"echo": [start(make_service(endpoint)).url]})
    reply = httpx2.post(f"{gateway.url}/v1/echo", content=body(), headers={"Content-Type": "image/png"})
    assert reply.json() == len(png) + len(b"the end")


def test_reply_is_streamed_to_the_client(start: Start, make_service: MakeService, open_gateway: OpenGateway) -> None:
    read = threading.Event()

    async def pieces() -> AsyncIterator[bytes]:
        yield b"beginning"
        await event_set(read)
        yield b"end"

    async def endpoint(request: Request) -> Response:
        return StreamingResponse(pieces())

    gateway = open_gateway({"echo": [start(make_service(endpoint)).url]})
    with httpx2.stream("POST", f"{gateway.url}/v1/echo", timeout=PATIENCE_S) as reply:
        chunks = reply.iter_bytes()
        assert next(chunks).startswith(b"beginning")
        read.set()
        assert b"".join(chunks).endswith(b"end")


def test_requests_are_spread_over_the_replicas(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    held, release, seen = threading.Semaphore(0), threading.Event(), []

    def replica(name: str) -> str:
        async def endpoint(request: Request) -> Response:
            seen.append(name)
            held.release()
            await event_set(release)
            return Response(name)

        return start(make_service(endpoint)).url

    gateway = open_gateway({"echo": [replica("one"), replica("two"), replica("three")]})
    eventually(lambda: httpx2.get(f"{gateway.url}/v1/models/echo").json()["ready_replicas"] == 3)
    clients = [threading.Thread(target=httpx2.post, args=[f"{gateway.url}/v1/echo"]) for _ in range(3)]
    for client in clients:
        client.start()
        assert held.acquire(timeout=PATIENCE_S)
    release.set()
    for client in clients:
        client.join()
    assert sorted(seen) == ["one", "three", "two"]


def test_refused_connection_is_retried_at_another_replica(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, recorder: Recorder, eventually: Eventually
) -> None:
    dead, live = start(make_service(recorder.endpoint)), start(make_service(recorder.endpoint))
    # It is asked once, so that it is still held to be ready when it has gone.
    gateway = open_gateway({"echo": [dead.url, live.url]}, poll_interval_s=3600)
    eventually(lambda: httpx2.get(f"{gateway.url}/v1/models/echo").json()["ready_replicas"] == 2)
    dead.stop()
    body = b"x" * 3_000_000
    replies = [httpx2.post(f"{gateway.url}/v1/echo", content=body, headers=TEXT) for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200] * 3
    assert recorder.bodies == [body] * 3
    assert retries(gateway, "connect") == 1
    assert httpx2.get(f"{gateway.url}/v1/models/echo").json()["ready_replicas"] == 1


def test_request_without_a_replica_left_is_refused_with_retry_after(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    service = start(make_service())
    gateway = open_gateway({"echo": [service.url]}, poll_interval_s=3600)
    service.stop()
    reply = httpx2.post(f"{gateway.url}/v1/echo")
    assert reply.status_code == 503
    assert reply.json()["code"] == Code.NOT_READY
    assert int(reply.headers["retry-after"]) > 0


@pytest.mark.parametrize(("replay_bytes", "status"), [(1_000_000, 200), (0, 503)], ids=["kept", "gone"])
def test_503_is_retried_only_while_the_body_is_replayable(
    start: Start,
    make_service: MakeService,
    open_gateway: OpenGateway,
    eventually: Eventually,
    replay_bytes: int,
    status: int,
) -> None:
    busy, idle = Recorder(503), Recorder(200)
    urls = [start(make_service(recorder.endpoint)).url for recorder in (busy, idle)]
    gateway = open_gateway({"echo": urls}, replay_bytes=replay_bytes)
    eventually(lambda: httpx2.get(f"{gateway.url}/v1/models/echo").json()["ready_replicas"] == 2)
    body = bytes(700_000)
    reply = httpx2.post(f"{gateway.url}/v1/echo", content=body, headers=TEXT)
    assert (reply.status_code, reply.text) == (status, f"answered {status}")
    assert busy.bodies == [body]
    assert idle.bodies == ([body] if status == 200 else [])
    assert retries(gateway, "unavailable") == len(idle.bodies)


def test_503_of_the_only_replica_is_passed_on(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    gateway = open_gateway({"echo": [start(make_service(Recorder(503).endpoint)).url]})
    reply = httpx2.post(f"{gateway.url}/v1/echo", content=b"x", headers=TEXT)
    assert (reply.status_code, reply.text) == (503, "answered 503")


@pytest.fixture
def breaking_service() -> Iterator[str]:
    """A service that is ready, but closes the connection of every POST after its first bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=_break_off, args=[listener])
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def _break_off(listener: socket.socket) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            if connection.recv(65536).startswith(b"GET"):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}")


def test_request_that_a_replica_has_read_is_not_retried(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, recorder: Recorder, breaking_service: str
) -> None:
    gateway = open_gateway({"echo": [breaking_service]})
    reply = httpx2.post(f"{gateway.url}/v1/echo", content=b"x", headers=TEXT)
    assert reply.status_code == 502
    assert reply.json()["code"] == Code.UPSTREAM_FAILED
    assert retries(gateway, "connect") == 0


def test_reply_is_cut_off_where_the_service_cuts_it_off(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    async def endpoint(request: Request) -> Response:
        return StreamingResponse(iter([b"half"]), headers={"Content-Length": "8"})

    gateway = open_gateway({"echo": [start(make_service(endpoint)).url]})
    with pytest.raises(httpx2.RemoteProtocolError):
        httpx2.post(f"{gateway.url}/v1/echo")


def test_disconnect_while_waiting_frees_the_permit(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    begun, gone = threading.Event(), threading.Event()

    async def endpoint(request: Request) -> Response:
        await request.body()
        begun.set()
        await hang_up(request)
        gone.set()
        return Response()

    gateway = open_gateway({"echo": [start(make_service(endpoint)).url]})
    with socket.create_connection(gateway.address) as client:
        client.sendall(b"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\nhi")
        assert begun.wait(PATIENCE_S)
    assert gone.wait(PATIENCE_S)
    eventually(lambda: in_flight(gateway) == 0)


def test_disconnect_during_upload_frees_the_permit(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    begun, gone = threading.Event(), threading.Event()

    async def endpoint(request: Request) -> Response:
        try:
            async for _ in request.stream():
                begun.set()
        except ClientDisconnect:
            gone.set()
        return Response()

    gateway = open_gateway({"echo": [start(make_service(endpoint)).url]})
    with socket.create_connection(gateway.address) as client:
        client.sendall(
            b"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nContent-Type: a/b\r\n\r\nhalf"
        )
        assert begun.wait(PATIENCE_S)
    assert gone.wait(PATIENCE_S)
    eventually(lambda: in_flight(gateway) == 0)


def test_passed_deadline_is_504(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    gone = threading.Event()

    async def endpoint(request: Request) -> Response:
        await hang_up(request)
        gone.set()
        return Response()

    gateway = open_gateway({"echo": [start(make_service(endpoint)).url]})
    reply = httpx2.post(f"{gateway.url}/v1/echo", headers={"X-Sightline-Deadline-Ms": "100"})
    assert reply.status_code == 504
    assert reply.json()["code"] == Code.DEADLINE_EXCEEDED
    assert gone.wait(PATIENCE_S)


def test_upload_that_stalls_is_408(start: Start, make_service: MakeService, open_gateway: OpenGateway) -> None:
    gateway = open_gateway({"echo": [start(make_service()).url]}, upload_timeout_s=0.1)
    with socket.create_connection(gateway.address) as client:
        client.sendall(b"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n")
        assert client.recv(1000).startswith(b"HTTP/1.1 408 ")


def test_default_deadline_does_not_count_the_upload(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    def slow() -> Iterator[bytes]:
        for _ in range(3):
            threading.Event().wait(0.2)
            yield b"x"

    gateway = open_gateway({"echo": [start(make_service()).url]}, deadline_s=0.5)
    assert httpx2.post(f"{gateway.url}/v1/echo", content=slow(), headers=TEXT).text == "xxx"


def test_problems_of_the_service_are_passed_on_unchanged(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    problem = {"code": "bad_mask", "status": 400, "detail": "The mask is empty.", "request_id": "theirs"}

    async def endpoint(request: Request) -> Response:
        return JSONResponse(problem, 400, media_type="application/problem+json")

    gateway = open_gateway({"echo": [start(make_service(endpoint)).url]})
    reply = httpx2.post(f"{gateway.url}/v1/echo", content=b"x", headers=TEXT)
    assert (reply.status_code, reply.json()) == (400, problem)
    assert reply.headers["content-type"] == "application/problem+json"


def test_reply_before_the_end_of_the_body_is_passed_on(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually
) -> None:
    async def endpoint(request: Request) -> Response:
        return Response("not acceptable", 406)

    gateway = open_gateway({"echo": [start(make_service(endpoint)).url]})
    with socket.create_connection(gateway.address) as client:
        client.sendall(
            b"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\nContent-Type: a/b\r\n\r\nhalf"
        )
        assert client.recv(1000).startswith(b"HTTP/1.1 406 ")
        eventually(lambda: in_flight(gateway) == 0)


def test_request_over_the_concurrency_limit_is_refused(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    begun, release = threading.Event(), threading.Event()

    async def endpoint(request: Request) -> Response:
        begun.set()
        await event_set(release)
        return Response()

    gateway = open_gateway({"echo": [start(make_service(endpoint)).url]}, max_requests=1)
    first = threading.Thread(target=httpx2.post, args=[f"{gateway.url}/v1/echo"])
    first.start()
    assert begun.wait(PATIENCE_S)
    reply = httpx2.post(f"{gateway.url}/v1/echo")
    release.set()
    first.join()
    assert reply.status_code == 503
    assert reply.json()["code"] == Code.OVERLOADED
    assert int(reply.headers["retry-after"]) > 0


@pytest.mark.parametrize("target", [b"/v1/echo/\xff\xfe", b"/v1/echo/%ff?q=%zz&\xe4", b"/v1/echo/../%2e%2e/x?#"])
def test_malformed_targets_are_no_server_error(gateway: Server, target: bytes) -> None:
    with socket.create_connection(gateway.address) as client:
        client.sendall(b"POST " + target + b" HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
        assert client.recv(1000).split()[1][:1] in (b"2", b"4")


def test_upstream_headers_have_no_hop_by_hop_headers() -> None:
    headers = Headers(
        {"Host": "x", "Connection": "keep-alive, X-Hop", "X-Hop": "1", "Transfer-Encoding": "chunked", "Accept": "*/*"}
    )
    forwarded = upstream_headers(headers, caller=CALLER, request_id="abc", left_s=1.5)
    assert dict(forwarded) == {"accept": "*/*", "X-Request-Id": "abc", "X-Sightline-Deadline-Ms": "1500", **SAID}


def test_upstream_headers_replace_the_clients_id_and_deadline() -> None:
    headers = Headers({"x-request-id": "theirs", "x-sightline-deadline-ms": "9"})
    forwarded = upstream_headers(headers, caller=CALLER, request_id="ours", left_s=0.004)
    assert forwarded.getall("X-Request-Id") == ["ours"]
    assert forwarded.getall("X-Sightline-Deadline-Ms") == ["4"]


def test_upstream_headers_keep_repeated_and_tracing_headers() -> None:
    raw = [(b"accept", b"image/png"), (b"accept", b"image/jpeg"), (b"traceparent", b"00-ab-cd-01")]
    forwarded = upstream_headers(Headers(raw=raw), caller=CALLER, request_id="abc", left_s=1)
    assert forwarded.getall("accept") == ["image/png", "image/jpeg"]
    assert forwarded["traceparent"] == "00-ab-cd-01"


def test_reply_headers_keep_end_to_end_headers() -> None:
    raw = [
        (b"Server", b"uvicorn"),
        (b"Date", b"now"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Inference-Header-Content-Length", b"12"),
        (b"Content-Encoding", b"gzip"),
    ]
    assert reply_headers(raw, links=LINKS, body_sha256="ab") == [
        (b"inference-header-content-length", b"12"),
        (b"content-encoding", b"gzip"),
        (b"x-sightline-body-sha256", b"ab"),
    ]


def test_reply_headers_without_a_request_body_have_no_digest() -> None:
    assert reply_headers([], links=LINKS, body_sha256=None) == []


def test_upstream_headers_have_no_secrets() -> None:
    headers = Headers({"Authorization": "Bearer a", "X-Api-Key": "a", "X-Sightline-Webhook-Secret": "whsec_a"})
    assert set(upstream_headers(headers, caller=CALLER, request_id="abc", left_s=1)) == {
        "X-Request-Id",
        "X-Sightline-Deadline-Ms",
        *SAID,
    }


def test_upstream_headers_name_the_authenticated_caller() -> None:
    archive = Caller("archive", highest=Priority.BULK)
    forwarded = upstream_headers(Headers({"X-Sightline-Caller": "desk"}), caller=archive, request_id="abc", left_s=1)
    assert forwarded.getall("X-Sightline-Caller") == ["archive"]
    assert forwarded.getall("X-Sightline-Priority") == ["bulk"]
    asked = Headers({"X-Sightline-Priority": "interactive"})
    with pytest.raises(Problem, match="bulk"):
        upstream_headers(asked, caller=archive, request_id="abc", left_s=1)
