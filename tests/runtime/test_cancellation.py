import asyncio

import pytest

from sightline.runtime.tasks import cancellable

pytestmark = pytest.mark.anyio


async def test_a_cancellation_that_comes_with_the_result_is_not_lost() -> None:
    result = asyncio.get_running_loop().create_future()

    async def work() -> None:
        with cancellable():
            await asyncio.wait_for(result, timeout=60)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    result.set_result(None)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_task_that_cleans_up_after_its_cancellation_may_go_on() -> None:
    cleaned = asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            with cancellable():
                await asyncio.sleep(0)
            cleaned.set()

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cleaned.is_set()
