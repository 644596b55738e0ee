"""The events of a job as server-sent events."""

import json
from collections.abc import AsyncIterator

import structlog

from services.gateway.desk import EventStreams
from sightline.api.problems import Problem
from sightline.jobs.events import Event

log = structlog.get_logger()

MEDIA_TYPE = "text/event-stream"
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
RETRY_MS = 3000
_KEEP_ALIVE = ": keep-alive\n\n"


async def event_stream(events: AsyncIterator[Event | None], streams: EventStreams) -> AsyncIterator[str]:
    """Ends early when Redis is lost: the client comes again, and goes on where it was."""
    with streams.place():
        yield f"retry: {RETRY_MS}\n\n"
        try:
            async for event in events:
                yield _KEEP_ALIVE if event is None else encode(event)
        except Problem as problem:
            log.info("events_cut_short", code=problem.code)


def encode(event: Event) -> str:
    # JSON has no line breaks of its own, which would end the event.
    return f"id: {event.id}\nevent: {event.name}\ndata: {json.dumps(event.data)}\n\n"
