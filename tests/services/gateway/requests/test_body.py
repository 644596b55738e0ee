import hashlib
import json
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from services.gateway.requests.body import MAX_JSON_BYTES, WHOLE_BYTES, RequestBody
from sightline.api.problems import Code, Problem
from tests.services.gateway.conftest import MakeService, OpenGateway, Server, Start

pytestmark = pytest.mark.anyio
TEXT = json.dumps({"url": "https://a.org/", "secret": "x"})


def upload_of(*chunks: bytes, keep_bytes: int = 1000, hangs_up: bool = False, room_bytes: int = 10**9) -> RequestBody:
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages += [{"type": "http.disconnect"}] if hangs_up else []
    if not hangs_up:
        messages[-1]["more_body"] = False

    async def receive() -> Message:
        return messages.pop(0)

    def reserve(count: int) -> None:
        nonlocal room_bytes
        room_bytes -= count
        if room_bytes < 0:
            raise Problem(Code.OVERLOADED, "There is no room.")

    return RequestBody(receive, keep_bytes=keep_bytes, reserve=reserve)


async def drain(upload: RequestBody) -> bytes:
    body = upload.content()
    if not isinstance(body, AsyncIterator):
        return body or b""
    return b"".join([chunk async for chunk in body])


async def test_counts_and_hashes_what_goes_by() -> None:
    upload = upload_of(b"ab", b"", b"cde")
    assert upload.sha256 is None
    assert await drain(upload) == b"abcde"
    assert upload.complete
    assert upload.size_bytes == 5
    assert upload.sha256 == hashlib.sha256(b"abcde").hexdigest()


async def test_begins_with_what_was_read_before() -> None:
    upload = upload_of(b"ab", b"cde")
    assert await upload.read() == b"ab"
    assert await drain(upload) == b"abcde"


async def test_a_small_body_can_be_sent_again() -> None:
    upload = upload_of(b"ab", b"cde")
    assert await drain(upload) == b"abcde"
    assert upload.replayable
    assert upload.content() == b"abcde"


async def test_a_body_can_be_sent_again_after_a_part_of_it_was_sent() -> None:
    upload = upload_of(b"ab", b"cde", b"f")
    body = upload.content()
    assert isinstance(body, AsyncIterator)
    assert await anext(body) == b"ab"
    assert await drain(upload) == b"abcdef"


async def test_a_large_body_is_not_kept() -> None:
    upload = upload_of(b"ab", b"cde", keep_bytes=4)
    assert await drain(upload) == b"abcde"
    assert not upload.replayable


async def test_what_was_read_ahead_is_kept_until_more_is_sent() -> None:
    upload = upload_of(b"ab", b"cde", b"f", keep_bytes=1)
    await upload.read()
    await upload.read()
    assert upload.replayable
    assert await drain(upload) == b"abcdef"
    assert not upload.replayable


async def test_a_large_complete_body_goes_out_in_pieces() -> None:
    upload = upload_of(bytes(WHOLE_BYTES), b"x", keep_bytes=2 * WHOLE_BYTES)
    await upload.read()
    await upload.read()
    assert not isinstance(upload.content(), bytes)
    assert await drain(upload) == bytes(WHOLE_BYTES) + b"x"


async def test_no_body_is_none() -> None:
    upload = upload_of(b"")
    await upload.read()
    assert upload.content() is None
    assert upload.sha256 is None


async def test_remembers_that_the_client_hung_up() -> None:
    upload = upload_of(b"ab", hangs_up=True)
    with pytest.raises(ClientDisconnect):
        await drain(upload)
    assert isinstance(upload.failure, ClientDisconnect)
    assert not upload.complete


async def test_remembers_that_there_was_no_room() -> None:
    upload = upload_of(b"ab", b"cde", room_bytes=4)
    with pytest.raises(Problem):
        await drain(upload)
    assert isinstance(upload.failure, Problem)


@pytest.fixture
def gateway(start: Start, open_gateway: OpenGateway, make_service: MakeService) -> Server:
    return open_gateway({"echo": [start(make_service()).url]}, max_bytes=200_000)


def pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]


@pytest.mark.parametrize("path", ["/v1/webhooks/test", "/v2/repository/index", "/v1/other"])
@pytest.mark.parametrize("chunked", [True, False])
def test_json_for_the_gateway_itself_is_limited(gateway: Server, path: str, chunked: bool) -> None:
    body = TEXT.ljust(MAX_JSON_BYTES + 1).encode()
    reply = httpx2.post(
        f"{gateway.url}{path}",
        content=pieces(body) if chunked else body,
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 413
    assert reply.json()["limit_bytes"] == MAX_JSON_BYTES
    assert reply.headers["content-type"] == "application/problem+json"


def test_as_much_as_is_allowed_is_read(gateway: Server) -> None:
    body = TEXT.ljust(MAX_JSON_BYTES).encode()
    headers = {"Content-Type": "application/json"}
    reply = httpx2.post(f"{gateway.url}/v1/webhooks/test", content=pieces(body), headers=headers)
    assert reply.status_code == 400
    assert "secret" in reply.json()["detail"]


def test_bodies_for_services_are_larger(gateway: Server) -> None:
    url, headers, body = f"{gateway.url}/v1/echo/more", {"Content-Type": "text/plain"}, bytes(150_000)
    assert httpx2.post(url, content=body, headers=headers).content == body
    assert httpx2.post(url, content=bytes(250_000), headers=headers).status_code == 413


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b"9" * 60_000,
        b'{"url": %b}' % (b"9" * 50_000),
        b"[" + b"{}," * 20_000,
        b"\xff",
    ],
)
@pytest.mark.parametrize("path", ["/v1/webhooks/test", "/v2/repository/index"])
def test_hostile_json_is_refused_in_few_words(gateway: Server, path: str, body: bytes) -> None:
    reply = httpx2.post(f"{gateway.url}{path}", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert reply.json()["code"] == "invalid_request"
    assert len(reply.content) < 10_000
