import asyncio

import pytest

from sightline.runtime import tasks
from sightline.runtime.tasks import cancelled, end, in_background

pytestmark = pytest.mark.anyio


class Endless:
    """Works for ever; loses so many cancellations."""

    def __init__(self, *, losses: int = 0) -> None:
        self.losses, self.begun, self.ended = losses, asyncio.Event(), False

    async def run(self) -> None:
        try:
            await self._work()
        finally:
            self.ended = True

    async def _work(self) -> None:
        while True:
            self.begun.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                assert cancelled()
                self.losses -= 1
                if self.losses < 0:
                    raise


async def test_runs_as_long_as_the_block_lasts() -> None:
    endless = Endless()
    async with in_background(endless.run()):
        await endless.begun.wait()
        assert not endless.ended
    assert endless.ended


async def test_cancels_again_what_did_not_hear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "AGAIN_S", 0.01)
    deaf, hearing = Endless(losses=3), Endless()
    running = [asyncio.create_task(each.run()) for each in (deaf, hearing)]
    await deaf.begun.wait()
    await hearing.begun.wait()
    await end(*running)
    assert all(task.cancelled() for task in running)


async def test_tasks_that_failed_or_are_over_do_no_harm() -> None:
    async def fail() -> None:
        raise ValueError("a fault")

    failed, over = asyncio.create_task(fail()), asyncio.create_task(asyncio.sleep(0))
    await asyncio.wait([failed, over])
    await end(failed, over)
    await end()


async def test_tells_what_went_wrong_in_the_background() -> None:
    async def broken() -> None:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        async with in_background(broken()):
            await asyncio.sleep(0)


async def test_nobody_has_cancelled_this() -> None:
    assert not cancelled()
