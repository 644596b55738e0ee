"""Cancellation of work when the client disconnects or the deadline passes."""

import asyncio
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect
from starlette.types import Receive

from sightline.api.problems import Code, Problem

T = TypeVar("T")


async def cancel_on_disconnect(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """Returns the result of `work`, or cancels it when the client disconnects and raises ClientDisconnect.

    The body must have been read before.
    """
    task, disconnected = asyncio.create_task(work), asyncio.create_task(_wait_for_disconnect(receive))
    try:
        await asyncio.wait((task, disconnected), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise ClientDisconnect
    finally:
        disconnected.cancel()
        task.cancel()


@asynccontextmanager
async def enforce_deadline(deadline: float) -> AsyncIterator[None]:
    """Cancels the block at `deadline`, on the clock of `time.monotonic`.

    Raises Problem DEADLINE_EXCEEDED.
    """
    try:
        async with asyncio.timeout(max(0.0, deadline - time.monotonic())):
            yield
    except TimeoutError as error:
        raise Problem(
            Code.DEADLINE_EXCEEDED,
            "The result was not ready by the deadline; allow more time or send a smaller picture.",
        ) from error


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
