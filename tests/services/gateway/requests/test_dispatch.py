"""Checks before a request is forwarded, and the decision between a synchronous reply and a job."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from services.gateway.jobs.options import JobOptions, Preferences
from services.gateway.requests.dispatch import JobDecision
from sightline.api.problems import Code
from sightline.jobs.job import JobReason, Priority
from tests.services.gateway.conftest import Eventually, MakeService, OpenGateway, Server, Start, encode_png

SETTINGS: dict[str, Any] = {"max_bytes": 200_000, "max_pixels": 64 * 32, "peek_bytes": 50_000}


class Bodies(list[bytes]):
    """An endpoint that records the bodies that it read to their end."""

    cut_short = 0

    async def endpoint(self, request: Request) -> Response:
        try:
            self.append(await request.body())
        except ClientDisconnect:
            self.cut_short += 1
        return Response("answered")


@pytest.fixture
def bodies() -> Bodies:
    return Bodies()


@pytest.fixture
def gateway(start: Start, make_service: MakeService, open_gateway: OpenGateway, bodies: Bodies) -> Server:
    return open_gateway({"echo": [start(make_service(bodies.endpoint)).url]}, **SETTINGS)


def test_picture_within_the_limits_is_forwarded(gateway: Server, bodies: Bodies, png: bytes) -> None:
    assert httpx2.post(f"{gateway.url}/v1/echo", files={"image": png}).text == "answered"
    assert httpx2.post(f"{gateway.url}/v1/echo", content=png).text == "answered"
    assert bodies[1] == png


def test_picture_is_refused_by_its_header(gateway: Server, bodies: Bodies, png: bytes) -> None:
    broken = png[:16] + bytes(4) + png[20:]
    text = b"GIF? No: text, and enough of it."
    for picture, status, code in (
        (encode_png(65, 32), 413, Code.TOO_MANY_PIXELS),
        (text, 415, Code.UNSUPPORTED_FORMAT),
        (broken, 400, Code.UNREADABLE_IMAGE),
    ):
        for reply in (
            httpx2.post(f"{gateway.url}/v1/echo", content=picture),
            httpx2.post(f"{gateway.url}/v1/echo", files={"mask": png, "image": picture}),
        ):
            assert (reply.status_code, reply.json()["code"]) == (status, code)
    assert bodies == []


def test_refusal_names_the_pixel_limit(gateway: Server) -> None:
    assert (
        httpx2.post(f"{gateway.url}/v1/echo", content=encode_png(65, 32)).json()["max_pixels"] == SETTINGS["max_pixels"]
    )


def test_declared_body_over_the_limit_is_refused_before_it_is_sent(gateway: Server, bodies: Bodies) -> None:
    with socket.create_connection(gateway.address) as client:
        client.sendall(
            b"POST /v1/echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 200001\r\nExpect: 100-continue\r\n\r\n"
        )
        reply = b""
        while not reply.endswith(b"}") and (part := client.recv(10_000)):
            reply += part
    assert reply.startswith(b"HTTP/1.1 413 ")
    assert b'"code":"too_many_bytes"' in reply
    assert bodies == []


def test_chunked_body_over_the_limit_is_cut_off(gateway: Server, bodies: Bodies, eventually: Eventually) -> None:
    def endless() -> Iterator[bytes]:
        for _ in range(100):
            yield bytes(50_000)

    reply = httpx2.post(f"{gateway.url}/v1/echo", content=endless(), headers={"Content-Type": "text/plain"})
    assert (reply.status_code, reply.json()["code"]) == (413, Code.TOO_MANY_BYTES)
    assert bodies == []
    eventually(lambda: bodies.cut_short == 1)


def test_picture_whose_header_comes_late_is_left_to_the_service(gateway: Server, bodies: Bodies) -> None:
    files = {"mask": bytes(150_000), "image": encode_png(65, 32)}
    assert httpx2.post(f"{gateway.url}/v1/echo", files=files).text == "answered"
    assert len(bodies[0]) > 150_000


@pytest.mark.parametrize("size_bytes", [0, 1, 11])
def test_file_too_short_for_a_header_is_left_to_the_service(gateway: Server, png: bytes, size_bytes: int) -> None:
    for reply in (
        httpx2.post(f"{gateway.url}/v1/echo", content=png[:size_bytes]),
        httpx2.post(f"{gateway.url}/v1/echo", files={"image": png[:size_bytes]}),
    ):
        assert reply.text == "answered"


def test_bytes_in_flight_over_the_limit_are_refused(
    start: Start, make_service: MakeService, open_gateway: OpenGateway
) -> None:
    gateway = open_gateway({"echo": [start(make_service()).url]}, max_inflight_bytes=1000)
    reply = httpx2.post(f"{gateway.url}/v1/echo", content=bytes(1001), headers={"Content-Type": "text/plain"})
    assert (reply.status_code, reply.json()["code"]) == (503, Code.OVERLOADED)
    assert httpx2.get(f"{gateway.url}/v1/capacity").json()["in_flight_bytes"] == 0


def test_pixels_of_all_pictures_of_a_request_are_limited(
    start: Start, make_service: MakeService, open_gateway: OpenGateway, bodies: Bodies
) -> None:
    gateway = open_gateway({"echo": [start(make_service(bodies.endpoint)).url]}, max_request_pixels=64 * 64)
    small, large = encode_png(8, 8), encode_png(64, 60)
    for further in ([("mask", large)], [("image", large)]):
        assert httpx2.post(f"{gateway.url}/v1/echo", files=[("image", small), *further]).text == "answered"
        reply = httpx2.post(f"{gateway.url}/v1/echo", files=[("image", small), *further, ("image", large)])
        assert (reply.status_code, reply.json()["code"]) == (413, Code.TOO_MANY_PIXELS)
        assert reply.json()["max_request_pixels"] == 64 * 64


def test_compressed_pictures_are_refused(gateway: Server, bodies: Bodies) -> None:
    large = encode_png(65, 32)
    for encoding, status in (("gzip", 415), ("br", 415), ("identity", 413)):
        reply = httpx2.post(f"{gateway.url}/v1/echo", content=large, headers={"Content-Encoding": encoding})
        assert reply.status_code == status, encoding
    assert not bodies


def options(*, asks: bool = False, key: str | None = None) -> JobOptions:
    return JobOptions("public", "caller", Preferences(respond_async=asks), Priority.INTERACTIVE, key, webhook=None)


@pytest.mark.parametrize(
    ("asks", "key", "size_bytes", "reason"),
    [
        (False, None, 100, None),
        (False, None, 101, JobReason.BYTES),
        (False, "k", 100, JobReason.KEY),
        (False, "k", 101, JobReason.BYTES),
        (True, "k", 101, JobReason.ASKED),
    ],
)
def test_reason_of_a_job_by_its_headers(asks: bool, key: str | None, size_bytes: int, reason: JobReason | None) -> None:
    decision = JobDecision(options(asks=asks, key=key), takes_jobs=True, max_bytes=100, sync_pixels=1000)
    assert decision.from_headers(size_bytes) is reason
    assert replace(decision, takes_jobs=False).from_headers(size_bytes) is None


@pytest.mark.parametrize(
    ("before", "pixels", "after"),
    [
        (None, 1000, None),
        (None, 1001, JobReason.PIXELS),
        (JobReason.KEY, 1000, JobReason.KEY),
        (JobReason.KEY, 1001, JobReason.PIXELS),
        (JobReason.ASKED, 1001, JobReason.ASKED),
        (JobReason.BYTES, 1001, JobReason.BYTES),
    ],
)
def test_reason_of_a_job_by_its_pixels(before: JobReason | None, pixels: int, after: JobReason | None) -> None:
    decision = JobDecision(options(), takes_jobs=True, max_bytes=100, sync_pixels=1000)
    assert decision.from_pixels(before, pixels) is after
    assert replace(decision, takes_jobs=False).from_pixels(None, pixels) is None
