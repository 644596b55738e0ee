import asyncio
import time

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import Message

from sightline.api.problems import Code, Problem
from sightline.http.deadlines import cancel_on_disconnect, enforce_deadline

pytestmark = pytest.mark.anyio


class Client:
    """Says that it has gone when told to."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()

    async def receive(self) -> Message:
        await self.gone.wait()
        return {"type": "http.disconnect"}


async def test_work_finishes_while_the_client_waits() -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 7

    assert await cancel_on_disconnect(Client().receive, work()) == 7


async def test_errors_of_the_work_pass() -> None:
    async def work() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await cancel_on_disconnect(Client().receive, work())


async def test_work_is_cancelled_when_the_client_disconnects() -> None:
    client, cancelled = Client(), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    asyncio.get_running_loop().call_soon(client.gone.set)
    with pytest.raises(ClientDisconnect):
        await cancel_on_disconnect(client.receive, work())
    await asyncio.wait_for(cancelled.wait(), 10)


async def test_work_is_cancelled_at_its_deadline() -> None:
    with pytest.raises(Problem) as caught:
        async with enforce_deadline(time.monotonic() + 0.01):
            await asyncio.sleep(60)
    assert caught.value.code is Code.DEADLINE_EXCEEDED
