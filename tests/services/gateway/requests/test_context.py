import hashlib
import json
from collections.abc import AsyncIterator, Iterator

import httpx2
import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from services.gateway.auth.api_keys import Caller
from services.gateway.requests.context import MAX_JSON_BYTES, WHOLE_BYTES, RequestBody, RequestContext
from services.gateway.settings import GatewaySettings
from sightline.api.problems import Code, Problem
from sightline.http.concurrency import ConcurrencyLimiter, Permit
from tests.services.gateway.conftest import MakeService, OpenGateway, Server, Start

pytestmark = pytest.mark.anyio
TEXT = json.dumps({"url": "https://a.org/", "secret": "x"})


def body_of(
    *chunks: bytes, keep_bytes: int = 1000, disconnects: bool = False, room_bytes: int = 10**9, limit_bytes: int = 10**9
) -> RequestBody:
    messages: list[Message] = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages += [{"type": "http.disconnect"}] if disconnects else []
    if not disconnects:
        messages[-1]["more_body"] = False

    async def receive() -> Message:
        return messages.pop(0)

    permit = Permit(ConcurrencyLimiter(max_requests=1, max_bytes=room_bytes), "caller")
    return RequestBody(receive, permit, limit_bytes=limit_bytes, keep_bytes=keep_bytes)


async def drain(body: RequestBody) -> bytes:
    content = body.content()
    if not isinstance(content, AsyncIterator):
        return content or b""
    return b"".join([chunk async for chunk in content])


@pytest.fixture
def gateway(start: Start, open_gateway: OpenGateway, make_service: MakeService) -> Server:
    return open_gateway({"echo": [start(make_service()).url]}, max_bytes=200_000)


def pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 10_000):
        yield body[start : start + 10_000]


async def test_body_is_counted_and_hashed() -> None:
    body = body_of(b"ab", b"", b"cde")
    assert body.sha256 is None
    assert await drain(body) == b"abcde"
    assert body.complete
    assert body.size_bytes == 5
    assert body.sha256 == hashlib.sha256(b"abcde").hexdigest()


async def test_content_begins_with_bytes_read_before() -> None:
    body = body_of(b"ab", b"cde")
    assert await body.read() == b"ab"
    assert await drain(body) == b"abcde"


async def test_small_body_is_replayable() -> None:
    body = body_of(b"ab", b"cde")
    assert await drain(body) == b"abcde"
    assert body.replayable
    assert body.content() == b"abcde"


async def test_partly_sent_body_is_replayable() -> None:
    body = body_of(b"ab", b"cde", b"f")
    content = body.content()
    assert isinstance(content, AsyncIterator)
    assert await anext(content) == b"ab"
    assert await drain(body) == b"abcdef"


async def test_large_body_is_not_replayable() -> None:
    body = body_of(b"ab", b"cde", keep_bytes=4)
    assert await drain(body) == b"abcde"
    assert not body.replayable


async def test_bytes_read_ahead_are_kept_until_more_is_sent() -> None:
    body = body_of(b"ab", b"cde", b"f", keep_bytes=1)
    await body.read()
    await body.read()
    assert body.replayable
    assert await drain(body) == b"abcdef"
    assert not body.replayable


async def test_large_complete_body_is_sent_in_pieces() -> None:
    body = body_of(bytes(WHOLE_BYTES), b"x", keep_bytes=2 * WHOLE_BYTES)
    await body.read()
    await body.read()
    assert not isinstance(body.content(), bytes)
    assert await drain(body) == bytes(WHOLE_BYTES) + b"x"


async def test_request_without_body_has_neither_content_nor_sha256() -> None:
    body = body_of(b"")
    await body.read()
    assert body.content() is None
    assert body.sha256 is None


async def test_failure_is_the_disconnect_of_the_client() -> None:
    body = body_of(b"ab", disconnects=True)
    with pytest.raises(ClientDisconnect):
        await drain(body)
    assert isinstance(body.failure, ClientDisconnect)
    assert not body.complete


async def test_body_over_its_limit_is_refused_with_the_hint() -> None:
    body = body_of(b"ab", b"cde", limit_bytes=4)
    body.limit_hint = " Send less."
    with pytest.raises(Problem, match=r"4 bytes\. Send less\.") as caught:
        await drain(body)
    assert caught.value.code is Code.TOO_MANY_BYTES
    assert body.failure is caught.value
    assert body.size_bytes == 2


async def test_failure_is_the_problem_when_there_is_no_room() -> None:
    body = body_of(b"ab", b"cde", room_bytes=4)
    with pytest.raises(Problem):
        await drain(body)
    assert isinstance(body.failure, Problem)


def context_of(**headers: str) -> RequestContext:
    async def receive() -> Message:
        raise AssertionError

    async def send(_: Message) -> None:
        raise AssertionError

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "headers": raw, "sightline.caller": Caller("public")}
    limiter = ConcurrencyLimiter(max_requests=9, max_bytes=10**9)
    return RequestContext(GatewaySettings(max_deadline_s=60, max_bytes=1000), limiter, scope, receive, send)


@pytest.mark.parametrize(("deadline_ms", "most_s"), [("1500", 1.5), ("99999999", 60.0), ("0", 0.0)])
def test_requested_deadline_counts_from_arrival_and_has_an_upper_limit(deadline_ms: str, most_s: float) -> None:
    context = context_of(x_sightline_deadline_ms=deadline_ms)
    with context.admitted():
        assert most_s - 1 < context.left_s() <= most_s


def test_default_deadline_applies_without_the_header() -> None:
    context = context_of()
    with context.admitted():
        assert context.left_s() == GatewaySettings().deadline_s


def test_declared_body_over_the_limit_is_refused_unless_it_is_a_job() -> None:
    context = context_of(content_length="1001")
    with pytest.raises(Problem) as caught, context.admitted():
        pass
    assert caught.value.code is Code.TOO_MANY_BYTES
    context.convert_to_job()
    with context.admitted():
        pass


@pytest.mark.parametrize("path", ["/v1/webhooks/test", "/v2/repository/index", "/v1/other/more"])
@pytest.mark.parametrize("chunked", [True, False])
def test_bodies_of_own_routes_are_limited(gateway: Server, path: str, chunked: bool) -> None:
    body = TEXT.ljust(MAX_JSON_BYTES + 1).encode()
    reply = httpx2.post(
        f"{gateway.url}{path}",
        content=pieces(body) if chunked else body,
        headers={"Content-Type": "application/json"},
    )
    assert reply.status_code == 413
    assert reply.json()["limit_bytes"] == MAX_JSON_BYTES
    assert reply.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("chunked", [True, False])
def test_photo_for_an_unknown_model_is_refused_by_name(gateway: Server, chunked: bool) -> None:
    body = bytes(3_000_000)
    reply = httpx2.post(f"{gateway.url}/v1/other", content=pieces(body) if chunked else body)
    assert (reply.status_code, reply.json()["code"]) == (404, "not_found")
    assert reply.json()["routes"] == ["/v1/echo"]


def test_own_route_accepts_a_body_of_the_largest_size(gateway: Server) -> None:
    body = TEXT.ljust(MAX_JSON_BYTES).encode()
    headers = {"Content-Type": "application/json"}
    reply = httpx2.post(f"{gateway.url}/v1/webhooks/test", content=pieces(body), headers=headers)
    assert reply.status_code == 400
    assert "secret" in reply.json()["detail"]


def test_bodies_for_services_have_a_larger_limit(gateway: Server) -> None:
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
def test_hostile_json_is_refused_with_a_short_reply(gateway: Server, path: str, body: bytes) -> None:
    reply = httpx2.post(f"{gateway.url}{path}", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == 400
    assert reply.json()["code"] == "invalid_request"
    assert len(reply.content) < 10_000
