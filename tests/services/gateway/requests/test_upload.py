import hashlib
from collections.abc import AsyncIterator

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from services.gateway.requests.upload import WHOLE_BYTES, RequestBody
from sightline.api.problems import Code, Problem

pytestmark = pytest.mark.anyio


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
