"""A request that was put aside, to be read as if it came in now."""

from collections.abc import AsyncIterator

from starlette.requests import Request
from starlette.types import Message

from sightline.jobs.job import StoredRequest


def replay(stored: StoredRequest, body: AsyncIterator[bytes]) -> Request:
    """The request with its body in pieces, of which only what its reader keeps lies in memory."""
    scope = {
        "type": "http",
        "method": "POST",
        "path": stored.path,
        "query_string": stored.query.encode("latin-1"),
        "headers": [(b"content-type", stored.content_type.encode("latin-1"))] if stored.content_type else [],
    }

    async def receive() -> Message:
        piece = await anext(body, b"")
        return {"type": "http.request", "body": piece, "more_body": bool(piece)}

    return Request(scope, receive)
