"""Fair sharing: one caller that takes all it can leaves room for others."""

import hashlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response

from sightline.api.problems import Code
from sightline.jobs.settings import JobSettings
from tests.services.gateway.conftest import Eventually, MakeService, ManualWorker, OpenGateway, Server, Start, event_set

KEYS = {
    name: {"sha256": hashlib.sha256(name.encode()).hexdigest(), **more}
    for name, more in (("few", {}), ("many", {}), ("limited", {"max_running": 2}))
}
FEW, MANY, LIMITED = ({"X-Api-Key": name} for name in KEYS)
LATER = {"Prefer": "respond-async"}


def start_upload(gateway: Server, *, key: str, more: str = "", address: str = "127.0.0.1") -> socket.socket:
    """Sends the head and the first bytes of a request, and no more of its body."""
    upload = socket.create_connection(gateway.address, source_address=(address, 0))
    upload.sendall(
        f"POST /v1/echo HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Api-Key: {key}\r\n{more}"
        "Content-Type: application/octet-stream\r\nContent-Length: 100000\r\n\r\nabc".encode()
    )
    return upload


def in_flight(gateway: Server, headers: dict[str, str]) -> int:
    return int(httpx2.get(f"{gateway.url}/v1/capacity", headers=headers).json()["in_flight"])


@pytest.fixture
def uploads() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("more", ["", "Prefer: respond-async\r\n"])
def test_slow_uploads_of_one_caller_leave_room_for_others(
    start: Start,
    make_service: MakeService,
    open_gateway: OpenGateway,
    jobs: JobSettings,
    eventually: Eventually,
    uploads: ExitStack,
    png: bytes,
    more: str,
) -> None:
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=jobs, keys=KEYS, max_requests=16)
    slow = [uploads.enter_context(closing(start_upload(gateway, key="many", more=more))) for _ in range(20)]
    eventually(lambda: in_flight(gateway, FEW) == 12)
    refused = [one for one in slow if b" 429 " in _head(one)]
    assert len(refused) == 8

    assert httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=FEW).content == png
    assert httpx2.post(f"{gateway.url}/v1/echo", content=png, headers={**FEW, **LATER}).status_code == 202
    reply = httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=MANY)
    assert (reply.status_code, reply.json()["code"]) == (429, Code.TOO_MANY_REQUESTS)
    assert reply.headers["retry-after"]


def _head(upload: socket.socket) -> bytes:
    upload.settimeout(0.2)
    try:
        return upload.recv(64)
    except TimeoutError:
        return b""


def test_without_keys_each_address_is_a_caller(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, eventually: Eventually, uploads: ExitStack
) -> None:
    gateway = open_gateway({"echo": [start(make_service()).url]}, max_requests=16)
    for _ in range(20):
        uploads.enter_context(closing(start_upload(gateway, key="", address="127.0.0.2")))
    eventually(lambda: in_flight(gateway, {}) == 12)
    assert httpx2.post(f"{gateway.url}/v1/echo", content=b"GIF89a").status_code == 200


def test_event_streams_of_one_caller_leave_room_for_others(
    start: Start,
    make_service: MakeService,
    open_gateway: OpenGateway,
    jobs: JobSettings,
    png: bytes,
    uploads: ExitStack,
) -> None:
    gateway = open_gateway({"echo": [start(make_service()).url]}, jobs=jobs, keys=KEYS, max_event_streams=4)
    paths = {
        name: httpx2.post(f"{gateway.url}/v1/echo", content=png, headers={**headers, **LATER}).headers["location"]
        for name, headers in (("few", FEW), ("many", MANY))
    }

    heard: list[Iterator[bytes]] = []  # a stream closes with the last reference to its iterator

    def listen(name: str, headers: dict[str, str]) -> int:
        stream = uploads.enter_context(httpx2.stream("GET", f"{gateway.url}{paths[name]}/events", headers=headers))
        if stream.status_code == 200:
            heard.append(stream.iter_raw())
            next(heard[-1])
        return stream.status_code

    assert [listen("many", MANY) for _ in range(4)] == [200, 200, 200, 429]
    assert listen("few", FEW) == 200


def test_limit_of_running_jobs_holds_for_requests_too(
    start: Start,
    make_service: MakeService,
    open_gateway: OpenGateway,
    jobs: JobSettings,
    worker: ManualWorker,
    png: bytes,
    eventually: Eventually,
) -> None:
    going_on, running = threading.Event(), threading.Semaphore(0)

    async def slow(request: Request) -> Response:
        running.release()
        await event_set(going_on)
        return Response(await request.body())

    gateway = open_gateway({"echo": [start(make_service(slow)).url]}, jobs=jobs, keys=KEYS)

    def ask(headers: dict[str, str]) -> httpx2.Response:
        return httpx2.post(f"{gateway.url}/v1/echo", content=png, headers=headers, timeout=30)

    with ThreadPoolExecutor() as pool:
        assert ask({**LIMITED, **LATER}).status_code == 202
        lease = worker.take()
        first = pool.submit(ask, LIMITED)
        assert running.acquire(timeout=20)
        refused = ask(LIMITED)
        assert (refused.status_code, refused.json()["code"]) == (429, Code.TOO_MANY_REQUESTS)
        assert refused.json()["max_running"] == 2

        worker.finish(lease, {"image/png": png})
        second, others = pool.submit(ask, LIMITED), pool.submit(ask, FEW)
        assert all(running.acquire(timeout=20) for _ in range(2))
        assert ask(LIMITED).status_code == 429
        going_on.set()
        assert {each.result().status_code for each in (first, second, others)} == {200}
    eventually(lambda: ask(LIMITED).status_code == 200)
