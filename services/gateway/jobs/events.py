"""The events of a job as server-sent events."""

import json
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing

import structlog
from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from services.gateway.jobs.backend import EventStreams
from sightline.api.problems import Problem
from sightline.jobs.events import Event

log = structlog.get_logger()

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
RETRY_MS = 3000
_KEEP_ALIVE = ": keep-alive\n\n"
_EVENT_ID = re.compile(r"(\d{1,20})-(\d{1,20})", re.ASCII)
_LARGEST = 2**64 - 1  # of either half of an id


def cursor_of(last_event_id: str | None) -> str | None:
    """An id that is not ours is as good as none: then everything is told again."""
    match = _EVENT_ID.fullmatch(last_event_id or "")
    return last_event_id if match and max(map(int, match.groups())) <= _LARGEST else None


class EventStreamResponse(StreamingResponse):
    """Closes its events when the client leaves, in this task: left to the garbage collector, both generators would be
    closed at once and each while the other runs."""

    def __init__(self, events: AsyncGenerator[Event | None], streams: EventStreams, caller: str) -> None:
        self._chunks = event_stream(events, streams, caller)
        super().__init__(self._chunks, headers=HEADERS, media_type=MEDIA_TYPE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._chunks):
            await super().__call__(scope, receive, send)


async def event_stream(events: AsyncGenerator[Event | None], streams: EventStreams, caller: str) -> AsyncGenerator[str]:
    """Ends early when Redis is lost: the client comes again, and goes on where it was."""
    async with aclosing(events):
        with streams.place(caller):
            yield f"retry: {RETRY_MS}\n\n"
            try:
                async for event in events:
                    yield _KEEP_ALIVE if event is None else encode(event)
            except Problem as problem:
                log.info("events_cut_short", code=problem.code)


def encode(event: Event) -> str:
    # JSON has no line breaks of its own, which would end the event.
    return f"id: {event.id}\nevent: {event.name}\ndata: {json.dumps(event.data)}\n\n"
